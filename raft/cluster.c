/* cluster.c: libraft, our raft_io, the state machine and the store, put together.
 *
 * Happy path: cluster_propose queues; when no entry of ours is in flight the first one goes into raft_apply; the log is written; libraft
 * applies it here: the state changes, storage gets its jobs, the proposer is told. A leader's first entry is a NOOP of its own: when
 * that is applied, everything before it is, and leading(true) is called.
 *
 * Failure: an entry that this program cannot read, or libraft's own failure, ends the process. Leadership lost: what was in flight has an
 * unknown outcome (E_CANCELED), what waited was never proposed (E_NOTLEADER). */
#include "raft/cluster_impl.h"

#include "raft/level.h"
#include "raft/mutation.h"
#include "raft/recover.h"
#include "raft/snapshot.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, WAL_BLOCK = 4096 };

#define SNAPSHOT_BYTES (16ull << 20)
#define KEEP_BYTES (64ull << 20) /* of log for a member that is behind, it is in memory as well; who lacks more fetches files */
#define OFFER_MS 1000             /* from one offer of a snapshot to the next */
#define RENEW_MS 1000             /* from one attempt to have a new manifest to the next */

/* ---- proposals ---- */

static void pump(struct cluster *c);

static void pump_run(struct env_msg *msg)
{
    struct cluster *c = CONTAINER_OF(msg, struct cluster, pump_msg);
    c->pump_posted = false;
    pump(c);
}

void cluster_pump_later(struct cluster *c)
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
    cluster_pump_later(c);
}

static void begin(struct cluster *c, struct proposal *p)
{
    struct raft_buffer buf;
    const char *compression = state_setting(c->state, "log_compression");
    if (compression && !strcmp(compression, "on")) { /* once, here: all others carry and read what they get */
        entry_pack(&p->entry);
    }
    p->seq = ++c->seq;
    entry_own(&p->entry, c->id, c->raft.current_term, p->seq);
    entry_set_level(&p->entry, cluster_level(c));
    if (p->entry.err) { /* larger than an entry may be */
        finish(p, p->entry.err);
        cluster_pump_later(c);
        return;
    }
    buf.base = p->entry.data; /* libraft frees it (raft_free is free) when the log drops the entry */
    buf.len = p->entry.len;
    c->in_flight = p;
    c->times.begun = env_now(c->loop);
    if (p->noop) {
        rio_noop(c->rio, c->raft.current_term, raft_last_index(&c->raft) + 1);
    }
    int rv = raft_apply(&c->raft, &c->apply[MUTATED(PACE) ? c->seq % 2 : 0], &buf, 1, NULL);
    if (rv) {
        c->in_flight = NULL;
        finish(p, E_NOTLEADER);
        return;
    }
    p->entry.data = NULL;
    buf_free(&p->entry);
    if (MUTATED(ACK_AT_PROPOSAL) && !p->noop && c->leading && p->done) {
        p->done(p->arg, 0);
        p->done = NULL;
    }
}

static void propose_noop(struct cluster *c)
{
    struct proposal *p = mem_new(sizeof *p);
    c->noop_term = c->raft.current_term;
    p->noop = true;
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

static void look_for_leader(struct cluster *c)
{
    uint64_t id = cluster_leader(c);
    if (id != c->led_by) {
        c->led_by = id;
        cluster_net_led_by(c, id);
        if (c->handler->led_by) {
            c->handler->led_by(c->owner, id);
        }
    }
}

/* A snapshot would have members that nobody agreed on. */
static bool change_is_open(const struct cluster *c)
{
    return !MUTATED(CHANGE_SNAPSHOT) && (c->raft.configuration_uncommitted_index || c->raft.configuration_index > raft_last_applied((struct raft *)(uintptr_t)&c->raft) + 1);
}

/* libraft looks whether a snapshot is due when it has applied something. Who fetches by a manifest that names what is gone waits for that: so where
 * nothing is written, an entry that changes nothing (a NOOP, while no transaction is open). */
static void renew_manifest(struct cluster *c)
{
    uint64_t now = env_now(c->loop);
    if (c->state->boundary != c->state->file.size || c->raft.snapshot.pending.term || change_is_open(c) || now < c->renewed_at + RENEW_MS * ENV_MS) {
        return;
    }
    struct buf b;
    c->renewed_at = now;
    buf_init(&b, ENTRY_MAX);
    entry_noop(&b);
    cluster_propose(c, &b, NULL, NULL);
}

/* Libraft may have changed role or committed: looks, and goes on. Never inside libraft. */
static void pump(struct cluster *c)
{
    if (c->closing || !c->started) {
        if (c->first && !c->closing) { /* nobody leads yet */
            fail_waiting(c);
        }
        return;
    }
    int role = raft_state(&c->raft);
    if (role == RAFT_UNAVAILABLE) {
        env_fatal(c->loop, "raft has stopped: %s; this node ends", raft_errmsg(&c->raft));
    }
    look_for_leader(c);
    cluster_members_turn(c);
    if (role != RAFT_LEADER) {
        cluster_net_look(c);
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
    if ((c->in_flight && !MUTATED(PACE)) || cluster_members_changing(c) || cluster_members_begin(c)) {
        return;
    }
    if (c->manifest_old && c->leading && !c->first) {
        renew_manifest(c);
    }
    if (c->first && !c->raft.transfer) { /* while the lead is handed over libraft takes nothing */
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

static int rio_sends(void *owner, const struct raft_message *m)
{
    return cluster_net_send(owner, m);
}

/* ---- birth of a cluster: one identity towards every source ---- */

static void settle(struct cluster *c)
{
    c->leading = true;
    env_log(c->loop, ENV_INFO, "raft: leading term=%llu index=%llu", c->raft.current_term,
            (unsigned long long)c->state->index);
    c->handler->leading(c->owner, true);
    cluster_members_wake(c);
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
    char number[16];
    uint32_t server_id;
    const char *name = state_setting(c->state, "cluster_uuid"); /* another one: this cluster was made of what was left of that (raft/recover.h) */
    if (name && !strcmp(name, c->formation.cluster) && state_setting(c->state, "cluster_server_id")) {
        settle(c);
        return;
    }
    env_random(c->loop, &server_id, sizeof server_id);
    server_id = 0x10000000u + server_id % 0x60000000u;
    snprintf(number, sizeof number, "%u", server_id);
    propose_setting(c, "cluster_uuid", c->formation.cluster, NULL);
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
        store_file(c->store, index, effect->sealed_sum, effect->new_file->era, effect->new_file->name, effect->new_file->before);
    }
    if (effect->reset) {
        store_reset(c->store, index, effect->reset_to.keep);
    }
    if (effect->purge) {
        store_purge(c->store, index, effect->purge_to.era, effect->purge_to.name);
    }
    if (effect->events.n) {
        /* what lies in the entry stays in libraft's log until a snapshot, and that waits for storage (raft/io.c); what was unpacked is
         * storage's from here on, and gone when it is written, not before this callback is over */
        struct store_txns txns = {.list = effect->events.txns, .next = next_txn};
        uint8_t *unpacked = effect->events.unpacked;
        store_write_txns(c->store, index, effect->events.offset, effect->events.bytes, effect->events.n, c->state->boundary,
                         &txns, unpacked ? mem_free : NULL, unpacked);
    }
}

/* From here on the log stays: for members that have not applied it yet, as far back as keep_bytes. */
static uint64_t first_to_keep(struct cluster *c)
{
    uint64_t keep = cluster_net_keep(c), applied = c->state->index;
    for (size_t i = c->n_marks < KEEP_MARKS ? 0 : c->n_marks - KEEP_MARKS; i < c->n_marks; i++) {
        size_t at = i % KEEP_MARKS;
        if (c->bytes_total - c->marks[at].bytes <= c->keep_bytes) {
            break;
        }
        keep = keep > c->marks[at].index ? keep : c->marks[at].index;
    }
    c->marks[c->n_marks % KEEP_MARKS].index = applied;
    c->marks[c->n_marks % KEEP_MARKS].bytes = c->bytes_total;
    c->n_marks++;
    return keep < applied ? keep : applied;
}

/* When enough bytes came in, the next look of libraft takes a snapshot. */
static void count_for_snapshot(struct cluster *c, size_t n)
{
    n = n < WAL_BLOCK ? WAL_BLOCK : n;
    c->entries_since++;
    c->bytes_since += n;
    c->bytes_total += n;
    if (c->bytes_since >= c->snapshot_bytes && !change_is_open(c) && !c->raft.snapshot.pending.term) {
        raft_set_snapshot_threshold(&c->raft, 1);
    }
}

/* What trails a snapshot that is being taken now, at the last entry applied: about half as many bytes as between two of them. It includes the
 * last entry that a member behind has, whose term goes before those it gets; and it stays as it is while the snapshot is being stored. */
static void set_trailing(struct cluster *c)
{
    uint64_t trailing = c->entries_since / 2, behind = raft_last_applied(&c->raft) - first_to_keep(c) + 1;
    trailing = trailing > behind ? trailing : behind;
    raft_set_snapshot_trailing(&c->raft, (unsigned)(trailing < 1 ? 1 : trailing > INT_MAX ? INT_MAX : trailing));
    c->bytes_since = c->entries_since = 0;
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
        entry_events_free(&effect.events);
        return 0;
    }
    if (effect.head.kind == ENTRY_MEMBER) {
        c->members_changed = true;
        cluster_members_wake(c);
    } else if (effect.status) {
        env_log(c->loop, ENV_ERROR, "raft: an entry does not continue the files and was left out index=%llu node=%llu",
                (unsigned long long)index, (unsigned long long)effect.head.node);
    }
    give_to_store(c, index, &effect);
    size_t raw = effect.events.unpacked ? buf->len - effect.events.packed + effect.events.n : buf->len;
    if (effect.purge || effect.reset || effect.cut) { /* a snapshot at once: the last one's manifest names what is gone */
        c->bytes_since += c->snapshot_bytes;
        c->manifest_old = true;
    }
    count_for_snapshot(c, raw); /* what waits for storage is unpacked */
    c->log_bytes.raw += raw;
    c->log_bytes.stored += buf->len;
    struct proposal *p = c->in_flight;
    bool ours = p && effect.head.node == c->id && effect.head.term == c->raft.current_term && effect.head.seq == p->seq &&
                raft_state(&c->raft) == RAFT_LEADER;
    if (ours) {
        c->in_flight = NULL;
        c->times.stored = rio_stored_at(c->rio);
        c->times.applied = env_now(c->loop);
        finish(p, effect.status);
        if (effect.head.kind == ENTRY_NOOP && effect.head.term == c->noop_term && !c->leading) {
            born(c);
        }
    }
    c->handler->applied(c->owner, &effect);
    cluster_pump_later(c);
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct cluster *c = fsm->data;
    struct buf b;
    raft_set_snapshot_threshold(&c->raft, UINT_MAX);
    if (c->raft.configuration_uncommitted_index && !MUTATED(CHANGE_SNAPSHOT)) {
        return RAFT_BUSY; /* the next entry asks again */
    }
    set_trailing(c);
    c->manifest_old = false;
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
    c->bytes_since = c->entries_since = 0;
    cluster_fetch_restored(c);
    return 0;
}

/* ---- open and close ---- */

static const struct rio_handler rio_handler = {.turned = rio_turned, .send = rio_sends};

/* The first entry: the same bytes on every member. */
static int bootstrap(struct cluster *c, struct errmsg *em)
{
    struct raft_configuration configuration;
    const struct formation *f = &c->formation;
    raft_configuration_init(&configuration);
    int rv = 0;
    for (size_t i = 0; i < f->n && !rv; i++) {
        char address[FORMATION_ADDRESS + 32];
        formation_address(&f->members[i], address, sizeof address);
        rv = raft_configuration_add(&configuration, f->members[i].id, address, RAFT_VOTER);
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
    rv = rv || o->forgets ? rv : rio_remember(c->rio, em);
    rv = rv ? rv : cluster_fetch_resume(c, o->data_dir, em);
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

static int init_raft(struct cluster *c, struct errmsg *em)
{
    char address[FORMATION_ADDRESS + 32] = "";
    for (size_t i = 0; i < c->formation.n; i++) {
        if (c->formation.members[i].id == c->id) {
            formation_address(&c->formation.members[i], address, sizeof address);
        }
    }
    c->fsm = (struct raft_fsm){.version = 2, .data = c, .apply = fsm_apply, .snapshot = fsm_snapshot, .restore = fsm_restore};
    int rv = raft_init(&c->raft, rio_raft_io(c->rio), &c->fsm, c->id, address);
    if (rv) {
        return err_set(em, E_INVALID, "raft cannot start: %s", raft_strerror(rv));
    }
    raft_set_heartbeat_timeout(&c->raft, HEARTBEAT_MS);
    raft_set_election_timeout(&c->raft, ELECTION_MS);
    raft_set_pre_vote(&c->raft, true);
    raft_set_max_catch_up_round_duration(&c->raft, CATCH_UP_MS);
    raft_set_snapshot_threshold(&c->raft, UINT_MAX);
    raft_set_install_snapshot_timeout(&c->raft, OFFER_MS);
    return 0;
}

int cluster_start_raft(struct cluster *c, struct errmsg *em)
{
    int rv = rio_is_empty(c->rio) && c->formation.phase != FORMATION_JOINED ? bootstrap(c, em) : 0;
    if (rv) {
        return rv;
    }
    if (!formation_is_member(&c->formation)) {
        if (c->net) {
            net_formed(c->net);
        } else {
            formation_formed(&c->formation);
        }
    }
    rv = raft_start(&c->raft);
    if (rv) {
        return err_set(em, E_CORRUPT, "raft cannot start: %s (%s)", raft_errmsg(&c->raft), raft_strerror(rv));
    }
    rio_change_started(c->rio);
    c->started = true;
    cluster_members_turn(c);
    cluster_pump_later(c);
    return 0;
}

/* What the formation's file says must fit to what the log holds. */
static int check_formation(struct cluster *c, const struct cluster_options *o, struct errmsg *em)
{
    if (c->formation.phase == FORMATION_JOINED && rio_last_index(c->rio)) {
        formation_formed(&c->formation);
    }
    if (c->formation.phase == FORMATION_FORMED && !rio_last_index(c->rio)) {
        return err_set(em, E_CORRUPT, "%s: the log of a member of cluster %s is missing; replace the member", o->data_dir, c->formation.cluster);
    }
    if (c->formation.phase == FORMATION_EMPTY && !rio_is_empty(c->rio)) {
        return err_set(em, E_CORRUPT, "%s: raft/cluster is missing beside a log; replace the member", o->data_dir);
    }
    return 0;
}

static int open_formation(struct cluster *c, const struct cluster_options *o, struct errmsg *em)
{
    struct formation_member initial[FORMATION_MEMBERS_MAX];
    char dir[PATH_BYTES];
    memset(initial, 0, sizeof initial);
    for (size_t i = 0; i < o->n_initial; i++) {
        initial[i].id = o->initial[i].id;
        snprintf(initial[i].address, sizeof initial[i].address, "%s", o->initial[i].address);
    }
    snprintf(dir, sizeof dir, "%s/raft", o->data_dir);
    int rv = formation_open(o->loop, dir, o->id, o->incarnation ? o->incarnation : 1, initial, o->n_initial, &c->formation, em);
    if (!rv && c->formation.phase == FORMATION_REMOVED) {
        return err_set(em, E_INVALID, "%s: %s", o->data_dir, c->formation.removed);
    }
    rv = rv ? rv : level_check(c->rio, o->data_dir, c->level, em);
    rv = rv ? rv : recover_finish(c->rio, &c->formation, em);
    return rv ? rv : check_formation(c, o, em);
}

/* A cluster of one is formed at once; in a larger one the others must be heard first, unless the first entry is there already. */
static bool may_start(struct cluster *c)
{
    return formation_is_member(&c->formation) || !rio_is_empty(c->rio) || formation_step(&c->formation);
}

/* Whom to ask, should this node have to be taken in: those it was given, or those that it took for the others. */
static void take_join(struct cluster *c, const struct cluster_options *o)
{
    for (size_t i = 0; i < o->n_join; i++) {
        snprintf(c->ask[c->n_ask++], sizeof *c->ask, "%s", o->join[i]);
    }
    for (size_t i = 0; i < o->n_initial && c->n_ask < CLUSTER_MEMBERS_MAX; i++) {
        if (o->initial[i].id != c->id) {
            snprintf(c->ask[c->n_ask++], sizeof *c->ask, "%s", o->initial[i].address);
        }
    }
    c->join_tls = o->tls.client ? tls_ctx_ref(o->tls.client) : NULL;
}

int cluster_open(const struct cluster_options *o, const struct cluster_handler *handler, void *owner, struct cluster **out,
                 struct errmsg *em)
{
    struct cluster *c = *out = mem_new(sizeof *c);
    c->loop = o->loop;
    c->id = o->id;
    c->level = o->level ? o->level : MESSAGE_LEVEL;
    c->version = o->version ? o->version : "";
    c->handler = handler;
    c->owner = owner;
    c->tail = &c->first;
    c->state = state_new();
    c->snapshot_bytes = o->snapshot_bytes ? o->snapshot_bytes : SNAPSHOT_BYTES;
    c->keep_bytes = o->keep_bytes ? o->keep_bytes : KEEP_BYTES;
    int rv = open_parts(c, o, em);
    rv = rv ? rv : open_formation(c, o, em);
    rv = rv ? rv : init_raft(c, em);
    bool start = !rv && may_start(c);
    rv = rv ? rv : cluster_net_open(c, o, em);
    rv = rv ? rv : cluster_fetch_open(c, o->data_dir, em);
    rv = rv || !start ? rv : cluster_start_raft(c, em);
    take_join(c, o);
    if (!rv && (c->formation.phase == FORMATION_JOINING || (c->formation.phase == FORMATION_JOINED && !c->raft.configuration.n))) {
        cluster_join_begin(c);
    }
    return rv;
}

static void raft_closed(struct raft *raft)
{
    struct cluster *c = raft->data;
    void (*closed)(void *arg) = c->closed;
    void *arg = c->closed_arg;
    rio_free(c->rio);
    formation_close(&c->formation);
    state_free(c->state);
    mem_free(c);
    closed(arg);
}

static void net_closed(void *arg)
{
    struct cluster *c = arg;
    c->raft.data = c;
    raft_close(&c->raft, raft_closed);
}

static void store_closed(void *arg)
{
    struct cluster *c = arg;
    fetch_close(c->fetch); /* what storage was putting in place was its */
    c->fetch = NULL;
    cluster_net_close(c, net_closed, c);
}

void cluster_close(struct cluster *c, void (*closed)(void *arg), void *arg)
{
    c->closing = true;
    c->closed = closed;
    c->closed_arg = arg;
    fail_in_flight(c);
    fail_waiting(c);
    raft_set_snapshot_threshold(&c->raft, UINT_MAX); /* a snapshot needs the store */
    cluster_members_remember(c);
    rio_set_store(c->rio, NULL);
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
    if (!c->started) {
        return 0;
    }
    raft_leader((struct raft *)(uintptr_t)&c->raft, &id, &address);
    return id ? id : cluster_net_reported_leader(c);
}

uint64_t cluster_term(const struct cluster *c)
{
    return c->raft.current_term;
}

uint64_t cluster_id(const struct cluster *c)
{
    return c->id;
}

struct cluster_times cluster_times(const struct cluster *c)
{
    return c->times;
}

struct cluster_log_bytes cluster_log_bytes(const struct cluster *c)
{
    return c->log_bytes;
}

const struct state *cluster_state(const struct cluster *c)
{
    return c->state;
}

struct store *cluster_store(const struct cluster *c)
{
    return c->store;
}
