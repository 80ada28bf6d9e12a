/* cluster.c: libraft, our raft_io, the state machine and the store, put together.
 *
 * Happy path: cluster_propose queues; when no entry of ours is in flight the first one goes into raft_apply; the log is written; libraft
 * applies it here: the state changes, storage gets its jobs, the proposer is told. A leader's first entry is a NOOP of its own: when
 * that is applied, everything before it is, and leading(true) is called.
 *
 * Failure: an entry that this program cannot read, or libraft's own failure, ends the process. Leadership lost: what was in flight has an
 * unknown outcome (E_CANCELED), what waited was never proposed (E_NOTLEADER). */
#include "raft/cluster.h"

#include "raft/io.h"
#include "raft/snapshot.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { HEARTBEAT_MS = 20, ELECTION_MS = 1000, PATH_BYTES = 4096, WAL_BLOCK = 4096 };

#define SNAPSHOT_BYTES (16ull << 20)

struct proposal {
    struct proposal *next;
    struct buf entry;
    uint64_t seq; /* once proposed */
    void (*done)(void *arg, int status);
    void *arg;
};

struct cluster {
    struct env *loop;
    uint64_t id;
    const struct cluster_handler *handler;
    void *owner;
    struct raft raft;
    struct raft_fsm fsm;
    struct rio *rio;
    struct store *store;
    struct state *state;
    struct raft_apply apply; /* libraft's request for the entry in flight */
    struct proposal *in_flight;
    struct proposal *first, **tail;
    struct env_msg pump_msg;
    bool pump_posted;
    uint64_t seq;
    uint64_t noop_term; /* term in which we proposed our NOOP */
    bool leading;
    bool closing;
    uint64_t snapshot_bytes;
    uint64_t bytes_since, entries_since; /* the last snapshot */
    void (*closed)(void *arg);
    void *closed_arg;
};

/* ---- proposals ---- */

static void pump(struct cluster *c);

static void pump_run(struct env_msg *msg)
{
    struct cluster *c = CONTAINER_OF(msg, struct cluster, pump_msg);
    c->pump_posted = false;
    pump(c);
}

static void pump_later(struct cluster *c)
{
    if (!c->pump_posted) {
        c->pump_posted = true;
        c->pump_msg.run = pump_run;
        env_post(c->loop, &c->pump_msg);
    }
}

static void finish(struct proposal *p, int status)
{
    if (p->done) {
        p->done(p->arg, status);
    }
    buf_free(&p->entry);
    mem_free(p);
}

/* What is not begun yet fails: it will never be proposed. */
static void fail_waiting(struct cluster *c)
{
    struct proposal *p = c->first;
    c->first = NULL;
    c->tail = &c->first;
    while (p) {
        struct proposal *next = p->next;
        finish(p, c->closing ? E_CANCELED : E_NOTLEADER);
        p = next;
    }
}

static void fail_in_flight(struct cluster *c)
{
    struct proposal *p = c->in_flight;
    c->in_flight = NULL;
    if (p) {
        finish(p, E_CANCELED);
    }
}

void cluster_propose(struct cluster *c, struct buf *entry, void (*done)(void *arg, int status), void *arg)
{
    struct proposal *p = mem_new(sizeof *p);
    p->done = done;
    p->arg = arg;
    buf_init(&p->entry, ENTRY_MAX);
    buf_move(&p->entry, entry);
    *c->tail = p;
    c->tail = &p->next;
    pump_later(c);
}

static void begin(struct cluster *c, struct proposal *p)
{
    struct raft_buffer buf;
    p->seq = ++c->seq;
    entry_own(&p->entry, c->id, c->raft.current_term, p->seq);
    if (p->entry.err) { /* larger than an entry may be */
        finish(p, p->entry.err);
        pump_later(c);
        return;
    }
    buf.base = p->entry.data; /* libraft frees it (raft_free is free) when the log drops the entry */
    buf.len = p->entry.len;
    c->in_flight = p;
    int rv = raft_apply(&c->raft, &c->apply, &buf, 1, NULL);
    if (rv) {
        c->in_flight = NULL;
        finish(p, E_NOTLEADER);
        return;
    }
    p->entry.data = NULL;
    buf_free(&p->entry);
}

static void propose_noop(struct cluster *c)
{
    struct proposal *p = mem_new(sizeof *p);
    c->noop_term = c->raft.current_term;
    buf_init(&p->entry, ENTRY_MAX);
    entry_noop(&p->entry);
    p->next = c->first;
    c->first = p;
    if (c->tail == &c->first) {
        c->tail = &p->next;
    }
}

static void lost_leadership(struct cluster *c)
{
    bool was = c->leading;
    c->leading = false;
    c->noop_term = 0;
    fail_in_flight(c);
    fail_waiting(c);
    if (was) {
        env_log(c->loop, ENV_INFO, "raft: leadership lost term=%llu", c->raft.current_term);
        c->handler->leading(c->owner, false);
    }
}

/* Libraft may have changed role or committed: looks, and goes on. Never inside libraft. */
static void pump(struct cluster *c)
{
    if (c->closing) {
        return;
    }
    int role = raft_state(&c->raft);
    if (role == RAFT_UNAVAILABLE) {
        env_fatal(c->loop, "raft has stopped: %s; this node ends", raft_errmsg(&c->raft));
    }
    if (role != RAFT_LEADER) {
        if (c->noop_term) {
            lost_leadership(c);
        }
        if (c->first) {
            fail_waiting(c);
        }
        return;
    }
    if (c->noop_term != c->raft.current_term) {
        if (c->noop_term) { /* deposed and elected again between two looks */
            lost_leadership(c);
        }
        propose_noop(c);
    }
    if (!c->in_flight && c->first) {
        struct proposal *p = c->first;
        c->first = p->next;
        if (!c->first) {
            c->tail = &c->first;
        }
        begin(c, p);
    }
}

static void rio_turned(void *owner)
{
    pump(owner);
}

/* ---- birth of a cluster: one identity towards every source ---- */

static void settle(struct cluster *c)
{
    c->leading = true;
    env_log(c->loop, ENV_INFO, "raft: leading term=%llu index=%llu", c->raft.current_term,
            (unsigned long long)c->state->index);
    c->handler->leading(c->owner, true);
}

static void propose_setting(struct cluster *c, const char *name, const char *value, void (*done)(void *, int))
{
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    entry_put_setting(&b, name, value);
    cluster_propose(c, &b, done, c);
}

static void identity_stored(void *arg, int status)
{
    struct cluster *c = arg;
    if (!status) {
        settle(c);
    }
}

static void born(struct cluster *c)
{
    uint8_t uuid[16];
    char text[UUID_TEXT_SIZE], number[16];
    uint32_t server_id;
    if (state_setting(c->state, "cluster_server_id")) {
        settle(c);
        return;
    }
    env_random(c->loop, uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    uuid_text(uuid, text);
    env_random(c->loop, &server_id, sizeof server_id);
    server_id = 0x10000000u + server_id % 0x60000000u;
    snprintf(number, sizeof number, "%u", server_id);
    propose_setting(c, "cluster_uuid", text, NULL);
    propose_setting(c, "cluster_server_id", number, identity_stored);
}

/* ---- the state machine ---- */

/* The entry's list as storage reads it, on its own env. */
static bool next_txn(struct cur *list, struct store_txn *last)
{
    struct entry_txn txn = {.end = last->end, .gtid = last->gtid};
    bool found = entry_txn_next(list, &txn);
    *last = (struct store_txn){.end = txn.end, .gtid = txn.gtid};
    return found;
}

static void give_to_store(struct cluster *c, uint64_t index, const struct state_effect *effect)
{
    if (effect->cut) {
        store_cut(c->store, index, effect->cut_to);
    }
    if (effect->new_file) {
        store_file(c->store, index, effect->new_file->era, effect->new_file->name, effect->new_file->before);
    }
    if (effect->events.n) {
        /* the bytes stay in libraft's log until a snapshot, and that waits for storage (raft/io.c) */
        struct store_txns txns = {.list = effect->events.txns, .next = next_txn};
        store_write_txns(c->store, index, effect->events.offset, effect->events.bytes, effect->events.n, c->state->boundary,
                         &txns, NULL, NULL);
    }
}

/* When enough bytes came in, the next look of libraft takes a snapshot; what trails it is about half as many bytes. */
static void count_for_snapshot(struct cluster *c, size_t n)
{
    c->entries_since++;
    c->bytes_since += n < WAL_BLOCK ? WAL_BLOCK : n;
    if (c->bytes_since >= c->snapshot_bytes) {
        uint64_t trailing = c->entries_since / 2;
        raft_set_snapshot_trailing(&c->raft, (unsigned)(trailing < 1 ? 1 : trailing > INT_MAX ? INT_MAX : trailing));
        raft_set_snapshot_threshold(&c->raft, 1);
    }
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct cluster *c = fsm->data;
    struct state_effect effect;
    uint64_t index = raft_last_applied(&c->raft) + 1;
    *result = NULL;
    int rv = state_apply(c->state, index, buf->base, buf->len, &effect);
    if (rv) {
        env_fatal(c->loop, "entry %llu of the log cannot be applied: %s; is this holdfastd older than the other members'?",
                  (unsigned long long)index, err_text(rv));
    }
    if (c->closing) { /* storage has ended; the entry is applied again at the next start */
        return 0;
    }
    if (effect.status) {
        env_log(c->loop, ENV_ERROR, "raft: an entry does not continue the files and was left out index=%llu node=%llu",
                (unsigned long long)index, (unsigned long long)effect.head.node);
    }
    give_to_store(c, index, &effect);
    count_for_snapshot(c, buf->len);
    struct proposal *p = c->in_flight;
    bool ours = p && effect.head.node == c->id && effect.head.term == c->raft.current_term && effect.head.seq == p->seq &&
                raft_state(&c->raft) == RAFT_LEADER;
    if (ours) {
        c->in_flight = NULL;
        finish(p, effect.status);
        if (effect.head.kind == ENTRY_NOOP && effect.head.term == c->noop_term && !c->leading) {
            born(c);
        }
    }
    c->handler->applied(c->owner, &effect);
    pump_later(c);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct cluster *c = fsm->data;
    struct buf b;
    c->bytes_since = c->entries_since = 0;
    raft_set_snapshot_threshold(&c->raft, UINT_MAX);
    buf_init(&b, SNAPSHOT_DATA_MAX);
    state_encode(c->state, &b);
    *bufs = raft_malloc(sizeof **bufs);
    if (b.err || !*bufs) { /* tried again after as many bytes as between two snapshots */
        env_log(c->loop, ENV_ERROR, "raft: no snapshot could be taken, the log is not compacted: %s", err_text(b.err ? b.err : E_NOMEM));
        raft_free(*bufs);
        buf_free(&b);
        return RAFT_BUSY;
    }
    (*bufs)[0] = (struct raft_buffer){.base = b.data, .len = b.len}; /* libraft frees it (raft_free is free) */
    *n_bufs = 1;
    return 0;
}

static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct cluster *c = fsm->data;
    struct state *state;
    struct cur cur = cur_of(buf->base, buf->len);
    int rv = state_decode(&cur, &state);
    if (rv) {
        env_fatal(c->loop, "the manifest in the snapshot cannot be read: %s", err_text(rv));
    }
    state_free(c->state);
    c->state = state;
    raft_free(buf->base);
    return 0;
}

/* ---- open and close ---- */

static const struct rio_handler rio_handler = {.turned = rio_turned};

static int bootstrap(struct cluster *c, const struct cluster_options *o, struct errmsg *em)
{
    struct raft_configuration configuration;
    raft_configuration_init(&configuration);
    int rv = 0;
    for (size_t i = 0; i < o->n_initial && !rv; i++) {
        rv = raft_configuration_add(&configuration, o->initial[i].id, o->initial[i].address, RAFT_VOTER);
    }
    rv = rv ? rv : raft_bootstrap(&c->raft, &configuration);
    raft_configuration_close(&configuration);
    return rv ? err_set(em, E_INVALID, "cannot form the cluster from initial_cluster: %s", raft_strerror(rv)) : 0;
}

static int open_parts(struct cluster *c, const struct cluster_options *o, struct errmsg *em)
{
    char dir[PATH_BYTES];
    int rv = env_make_dir(c->loop, o->data_dir, "raft", em);
    if (rv) {
        return rv;
    }
    snprintf(dir, sizeof dir, "%s/raft", o->data_dir);
    rv = rio_open(c->loop, dir, &rio_handler, c, &c->rio, em);
    rv = rv ? rv : store_open(c->loop, o->data_dir, &c->store, em);
    if (rv) {
        return rv;
    }
    rio_set_store(c->rio, c->store);
    if (rio_last_index(c->rio) < store_checkpoint_index(c->store)) {
        return err_set(em, E_CORRUPT, "%s: the log ends with entry %llu, but the binlog files hold entry %llu: the log has lost entries; replace the member",
                       o->data_dir, (unsigned long long)rio_last_index(c->rio), (unsigned long long)store_checkpoint_index(c->store));
    }
    if (store_checkpoint_index(c->store) < rio_snapshot_index(c->rio)) {
        return err_set(em, E_CORRUPT, "%s: the snapshot is at entry %llu, but the binlog files' checkpoint only at %llu; replace the member",
                       o->data_dir, (unsigned long long)rio_snapshot_index(c->rio),
                       (unsigned long long)store_checkpoint_index(c->store));
    }
    return 0;
}

static int start_raft(struct cluster *c, const struct cluster_options *o, struct errmsg *em)
{
    char address[320] = "";
    for (size_t i = 0; i < o->n_initial; i++) {
        if (o->initial[i].id == o->id) {
            snprintf(address, sizeof address, "%s", o->initial[i].address);
        }
    }
    c->fsm = (struct raft_fsm){.version = 2, .data = c, .apply = fsm_apply, .snapshot = fsm_snapshot, .restore = fsm_restore};
    int rv = raft_init(&c->raft, rio_raft_io(c->rio), &c->fsm, o->id, address);
    if (rv) {
        return err_set(em, E_INVALID, "raft cannot start: %s", raft_strerror(rv));
    }
    raft_set_heartbeat_timeout(&c->raft, HEARTBEAT_MS);
    raft_set_election_timeout(&c->raft, ELECTION_MS);
    raft_set_pre_vote(&c->raft, true);
    raft_set_snapshot_threshold(&c->raft, UINT_MAX);
    if (rio_is_empty(c->rio)) {
        if (o->n_initial != 1 || o->initial[0].id != o->id) {
            return err_set(em, E_UNSUPPORTED, "initial_cluster must name this node alone: clusters of several nodes cannot be formed yet");
        }
        rv = bootstrap(c, o, em);
        if (rv) {
            return rv;
        }
    }
    rv = raft_start(&c->raft);
    if (rv) {
        return err_set(em, E_CORRUPT, "raft cannot start: %s (%s)", raft_errmsg(&c->raft), raft_strerror(rv));
    }
    pump_later(c);
    return 0;
}

int cluster_open(const struct cluster_options *o, const struct cluster_handler *handler, void *owner, struct cluster **out,
                 struct errmsg *em)
{
    struct cluster *c = mem_new(sizeof *c);
    c->loop = o->loop;
    c->id = o->id;
    c->handler = handler;
    c->owner = owner;
    c->tail = &c->first;
    c->state = state_new();
    c->snapshot_bytes = o->snapshot_bytes ? o->snapshot_bytes : SNAPSHOT_BYTES;
    int rv = open_parts(c, o, em);
    rv = rv ? rv : start_raft(c, o, em);
    if (rv) { /* the process ends with the message: what was opened goes with it */
        return rv;
    }
    *out = c;
    return 0;
}

static void raft_closed(struct raft *raft)
{
    struct cluster *c = raft->data;
    void (*closed)(void *arg) = c->closed;
    void *arg = c->closed_arg;
    rio_free(c->rio);
    state_free(c->state);
    mem_free(c);
    closed(arg);
}

static void store_closed(void *arg)
{
    struct cluster *c = arg;
    c->raft.data = c;
    raft_close(&c->raft, raft_closed);
}

void cluster_close(struct cluster *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    fail_in_flight(c);
    fail_waiting(c);
    raft_set_snapshot_threshold(&c->raft, UINT_MAX); /* a snapshot needs the store */
    store_close(c->store, store_closed, c);
}

/* ---- questions ---- */

bool cluster_leading(const struct cluster *c)
{
    return c->leading;
}

uint64_t cluster_leader(const struct cluster *c)
{
    raft_id id;
    const char *address;
    raft_leader((struct raft *)(uintptr_t)&c->raft, &id, &address);
    return id;
}

uint64_t cluster_term(const struct cluster *c)
{
    return c->raft.current_term;
}

uint64_t cluster_id(const struct cluster *c)
{
    return c->id;
}

size_t cluster_members(const struct cluster *c, struct cluster_member *members, size_t max)
{
    size_t n = 0;
    for (; n < c->raft.configuration.n && n < max; n++) {
        members[n].id = c->raft.configuration.servers[n].id;
        snprintf(members[n].address, sizeof members[n].address, "%s", c->raft.configuration.servers[n].address);
    }
    return n;
}

const struct state *cluster_state(const struct cluster *c)
{
    return c->state;
}

struct store *cluster_store(const struct cluster *c)
{
    return c->store;
}
