/* cluster_fetch.c: a leader's snapshot, from its offer to the state machine that goes on behind it.
 *
 * Happy path: the offer goes to raft/fetch.c, which says when all files are here. Then storage writes and syncs what is applied, and if nothing
 * happened meanwhile libraft gets the offer with its manifest: raft_io puts the files in place, and the state machine is restored.
 *
 * Failure modes: leadership changed, or an entry was applied meanwhile: tried again soon. A crash between the snapshot and the last file's
 * renaming: the next start goes on with it. */
#include "raft/cluster_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>

enum { SEND_MAX = 1 << 20 }; /* bytes under way to a member beyond which it gets no pieces: its heartbeats must not wait behind them */

/* ---- what fetch.c asks ---------------------------------------------------------------------------------- */

static bool send_frame(void *owner, uint64_t peer, struct buf *frame)
{
    struct cluster *c = owner;
    return !c->closing && net_pending(c->net, peer) < SEND_MAX && net_send_frame(c->net, peer, frame);
}

static size_t peers(void *owner, uint64_t *ids, size_t max)
{
    return net_others(((struct cluster *)owner)->net, ids, max);
}

static const struct state *applied(void *owner)
{
    return ((struct cluster *)owner)->state;
}

static const struct snapshot *own_snapshot(void *owner)
{
    return rio_snapshot(((struct cluster *)owner)->rio);
}

static void fetching(void *owner, uint64_t leader, uint64_t term)
{
    rio_fetching(((struct cluster *)owner)->rio, leader, term);
}

/* ---- handing over ---------------------------------------------------------------------------------------- */

/* libraft copies the address when it takes a new leader. */
static const char *address_of(const struct cluster *c, uint64_t id)
{
    for (unsigned i = 0; i < c->raft.configuration.n; i++) {
        if (c->raft.configuration.servers[i].id == id) {
            return c->raft.configuration.servers[i].address;
        }
    }
    return "";
}

static bool may_install(const struct cluster *c)
{
    return !c->closing && c->started && rio_may_install(c->rio);
}

/* Storage has all that was applied when it was asked. */
static void checkpointed(void *arg)
{
    struct cluster *c = arg;
    const struct install *install;
    struct raft_message m;
    c->install_waits = false;
    if (!may_install(c) || c->state->index != c->install_after || !fetch_take(c->fetch, c->raft.current_term, &m, &install)) {
        return;
    }
    char *address = mem_str(address_of(c, m.server_id));
    m.server_address = address;
    if (!rio_install(c->rio, &m, install)) {
        fetch_installed(c->fetch);
    }
    mem_free(address);
}

static void whole(void *owner)
{
    struct cluster *c = owner;
    if (may_install(c) && !c->install_waits) {
        c->install_waits = true;
        c->install_after = c->state->index;
        store_checkpoint(c->store, c->state->index, checkpointed, c);
    }
}

static const struct fetch_handler fetch_handler = {
    .send = send_frame, .peers = peers, .state = applied, .snapshot = own_snapshot, .fetching = fetching, .whole = whole};

/* The members may be others, too. */
static void restored(struct env_msg *msg)
{
    struct cluster *c = CONTAINER_OF(msg, struct cluster, restored_msg);
    c->restored_posted = false;
    if (c->closing) {
        return;
    }
    fetch_installed(c->fetch);
    c->members_changed = true;
    cluster_members_turn(c);
    env_log(c->loop, ENV_INFO, "raft: the fetched files are in place index=%llu", (unsigned long long)c->state->index);
    if (c->handler->restored) {
        c->handler->restored(c->owner);
    }
}

/* ---- what the others call -------------------------------------------------------------------------------- */

int cluster_fetch_open(struct cluster *c, const char *data_dir, struct errmsg *em)
{
    c->restored_msg.run = restored;
    return fetch_open(c->loop, data_dir, &fetch_handler, c, &c->fetch, em);
}

void cluster_fetch_restored(struct cluster *c)
{
    if (c->fetch && fetch_progress(c->fetch).active && !c->restored_posted) { /* else it is the start */
        c->restored_posted = true;
        env_post(c->loop, &c->restored_msg);
    }
}

static void take_offer(struct cluster *c, uint64_t from, struct cur *body)
{
    struct raft_message m;
    uint32_t sum;
    if (message_offer_get(body, &m, &sum)) {
        env_log(c->loop, ENV_ERROR, "raft: node %llu sent an offer that cannot be read; it was dropped", (unsigned long long)from);
        return;
    }
    bool held = c->state->index >= m.install_snapshot.last_index;
    if (!c->started || m.install_snapshot.term < c->raft.current_term || (held && !rio_may_install(c->rio))) { /* it comes again */
        raft_configuration_close(&m.install_snapshot.conf);
        return;
    }
    if (held) { /* libraft tells the leader, who may not have heard of it */
        char *address = mem_str(address_of(c, from));
        m.server_id = from;
        m.server_address = address;
        m.install_snapshot.data.len = 0;
        rio_receive(c->rio, &m);
        mem_free(address);
        return;
    }
    fetch_offered(c->fetch, from, &m, sum);
}

void cluster_fetch_heard(struct cluster *c, uint64_t from, enum message_kind kind, struct cur *body)
{
    struct message_fetch f;
    struct message_piece p;
    if (!c->fetch || c->closing) {
        return;
    }
    if (kind == MESSAGE_OFFER) {
        take_offer(c, from, body);
    } else if (kind == MESSAGE_FETCH && !message_fetch_get(body, &f)) {
        fetch_asked(c->fetch, from, &f);
    } else if (kind == MESSAGE_PIECE && !message_piece_get(body, &p)) {
        fetch_came(c->fetch, from, &p);
    }
}

/* Fetched files that a snapshot was stored for, and that were not all in place when the process ended. */
int cluster_fetch_resume(struct cluster *c, const char *data_dir, struct errmsg *em)
{
    const struct snapshot *s = rio_snapshot(c->rio);
    struct state *state;
    uint64_t marked;
    int rv = install_marked(c->loop, data_dir, &marked, em);
    if (rv || !s || !marked || marked != s->index) {
        return rv;
    }
    struct cur cur = cur_of(s->data.data, s->data.len);
    rv = state_decode(&cur, &state);
    if (rv) {
        return err_set(em, rv, "%s: the manifest in the snapshot cannot be read: %s; replace the member", data_dir, err_text(rv));
    }
    bool any = filelist_count(state->files) > 0;
    struct install install = {
        .index = s->index, .boundary = any ? state->boundary : 0, .size = any ? state->file.size : 0, .files = state->files};
    rv = install_resume(c->loop, data_dir, &install, em);
    state_free(state);
    return rv;
}

void cluster_fetch_note(const struct cluster *c, char *text, size_t size)
{
    struct fetch_progress p = c->fetch ? fetch_progress(c->fetch) : (struct fetch_progress){.active = false};
    if (p.active && !text[0]) {
        snprintf(text, size, "fetches files it lacks: %llu of %llu MiB", (unsigned long long)(p.done >> 20), (unsigned long long)(p.of >> 20));
    }
}
