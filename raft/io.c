/* io.c: the raft_io of one member.
 *
 * Happy path: libraft's calls go to the parts that do them: appends and truncations to io_write.c, snapshots to io_snapshot.c; term and
 * vote are stored here, at once. Messages of other members pass the guard on their way in and out; a TimeoutNow waits until nothing is
 * being written.
 *
 * Failures: any error of the disk is fatal here, on the env where it happened. On close, what was not begun is canceled newest first
 * (the other order would make libraft truncate twice), what is in flight is waited for. */
#include "raft/io_impl.h"

#include "raft/configuration.h"
#include "raft/message.h"
#include "raft/mutation.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- term and vote: libraft wants them stored on return -------------------------------------------------------- */

static int io_set_term(struct raft_io *io, raft_term term)
{
    struct errmsg em;
    if (vote_set_term(rio_of(io)->vote, term, &em)) {
        env_fatal(rio_of(io)->loop, "%s; this node stops", em.text);
    }
    return 0;
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
    struct errmsg em;
    if (vote_set(rio_of(io)->vote, id, &em)) {
        env_fatal(rio_of(io)->loop, "%s; this node stops", em.text);
    }
    return 0;
}

/* ---- other members ---------------------------------------------------------------------------------------------- */

struct sent {
    struct env_msg msg;
    struct rio *rio;
    struct raft_io_send *req;
    raft_io_send_cb cb; /* NULL: the request may be gone before this is */
    int status;
};

static void send_finished(struct env_msg *msg)
{
    struct sent *sent = CONTAINER_OF(msg, struct sent, msg);
    struct rio *rio = sent->rio;
    rio->sends--;
    if (sent->cb) {
        sent->cb(sent->req, rio->closing ? RAFT_CANCELED : sent->status);
    }
    mem_free(sent);
    if (rio->closing) {
        rio_finish_close(rio);
    }
}

/* libraft's address of a leader it has forgotten is NULL: an answer to nobody. An append that was cut short, or not sent, counts as sent: the
 * member refuses the next one and says what it has. (After an error libraft would go back to what it knows of the member, and a new
 * leader knows nothing: it would offer a snapshot to a member that lacks one entry.) A leader that does know tries again from there at its next heartbeat,
 * and does not hand over, if the guard has kept something back. */
static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message, raft_io_send_cb cb)
{
    struct rio *rio = rio_of(io);
    struct sent *sent = mem_new(sizeof *sent);
    struct raft_message copy = *message;
    *sent = (struct sent){.msg.run = send_finished, .rio = rio, .req = req, .cb = cb};
    guard_send(&rio->guard, &copy);
    if (copy.type == RAFT_IO_APPEND_ENTRIES && copy.append_entries.n_entries < message->append_entries.n_entries && rio_matched(rio, copy.server_id, copy.server_address)) {
        sent->status = RAFT_IOERR;
    }
    if (copy.server_address && rio->handler->send && !rio->closing) {
        (void)rio->handler->send(rio->owner, &copy);
    }
    rio->sends++;
    env_post(rio->loop, &sent->msg);
    return 0;
}

/* What waited for our first entry of this term to be stored. */
static void release_held(struct rio *rio)
{
    struct raft_message held;
    while (guard_release(&rio->guard, &held)) {
        rio->recv(&rio->io, &held);
    }
}

/* Another data directory knows nothing of what the one before it had. Who is no member any more gives its place to the next one. */
static struct rio_matched *matched_of(struct rio *rio, const struct raft_message *m)
{
    const struct raft *raft = rio->io.data;
    struct rio_matched *place = NULL;
    for (size_t i = 0; i < GUARD_PEERS && (!place || place->id != m->server_id); i++) {
        uint64_t id = rio->matched[i].id;
        if (id == m->server_id || (!place && !configuration_find(&raft->configuration, id))) {
            place = &rio->matched[i];
        }
    }
    if (place && (place->id != m->server_id || strcmp(place->address, m->server_address) != 0)) {
        *place = (struct rio_matched){.id = m->server_id};
        snprintf(place->address, sizeof place->address, "%s", m->server_address);
    }
    return place;
}

static void note_matched(struct rio *rio, const struct raft_message *m)
{
    const struct raft *raft = rio->io.data;
    if (raft->state != RAFT_LEADER || m->append_entries_result.term != raft->current_term || m->append_entries_result.rejected) {
        return;
    }
    for (size_t i = 0; i < GUARD_PEERS && rio->matched_term != raft->current_term; i++) {
        rio->matched[i].index = 0;
    }
    rio->matched_term = raft->current_term;
    struct rio_matched *place = matched_of(rio, m);
    if (place && m->append_entries_result.last_log_index > place->index) {
        place->index = m->append_entries_result.last_log_index;
    }
}

/* A leader commits nothing that it has not stored. */
static void note_leader(struct rio *rio, const struct raft_message *m)
{
    const struct raft *raft = rio->io.data;
    if (m->append_entries.term >= raft->current_term) {
        struct rio_matched *place = matched_of(rio, m);
        if (place && m->append_entries.leader_commit > place->held) {
            place->held = m->append_entries.leader_commit;
        }
    }
}

/* While we lead, and only then, what a member told us of its log is what will be committed there. */
static void note_held(struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    for (size_t i = 0; i < GUARD_PEERS && raft->state == RAFT_LEADER && rio->matched_term == raft->current_term; i++) {
        struct rio_matched *m = &rio->matched[i];
        uint64_t both = m->index < raft->commit_index ? m->index : raft->commit_index;
        m->held = both > m->held ? both : m->held;
    }
}

static const struct rio_matched *find_matched(const struct rio *rio, uint64_t id, const char *address)
{
    for (size_t i = 0; i < GUARD_PEERS; i++) {
        if (rio->matched[i].id == id && !strcmp(rio->matched[i].address, address)) {
            return &rio->matched[i];
        }
    }
    return NULL;
}

uint64_t rio_matched(const struct rio *rio, uint64_t id, const char *address)
{
    const struct raft *raft = rio->io.data;
    const struct rio_matched *m = find_matched(rio, id, address);
    return m && raft && raft->state == RAFT_LEADER && rio->matched_term == raft->current_term ? m->index : 0;
}

uint64_t rio_held(const struct rio *rio, uint64_t id, const char *address)
{
    const struct rio_matched *m = find_matched(rio, id, address);
    return m ? m->held : 0;
}

static void deliver(struct rio *rio, struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
        note_matched(rio, m);
    }
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        note_leader(rio, m);
    }
    guard_before(&rio->guard, m);
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        rio_change_before(rio, &m->append_entries);
    }
    struct raft_message seen = *m; /* libraft frees the entries */
    rio->recv(&rio->io, m);
    guard_after(&rio->guard, &seen);
}

static bool is_follower(const struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    return raft->state == RAFT_FOLLOWER;
}

/* A leader's snapshot is being stored: libraft holds it for stored already, and must not become a candidate with it. */
static bool installing(const struct rio *rio)
{
    return rio->put.busy && rio->put.replaces_log;
}

/* A follower must not become a candidate while entries are being written: libraft would miss a change of members among them. */
static bool keep_timeout_now(struct rio *rio, const struct raft_message *m)
{
    if (m->type != RAFT_IO_TIMEOUT_NOW || (!installing(rio) && (!rio_writing(rio) || MUTATED(TICK_DRAIN)))) {
        return false;
    }
    rio->timeout_now_waits = true;
    rio->timeout_now = m->timeout_now;
    rio->timeout_now_from = m->server_id;
    return true;
}

static void release_timeout_now(struct rio *rio)
{
    if (rio->timeout_now_waits && !rio_writing(rio) && !installing(rio)) {
        struct raft_message m = {.type = RAFT_IO_TIMEOUT_NOW, .server_id = rio->timeout_now_from, .server_address = ""};
        m.timeout_now = rio->timeout_now;
        rio->timeout_now_waits = false;
        deliver(rio, &m);
    }
}

void rio_written(struct rio *rio)
{
    release_held(rio);
    note_held(rio);
    rio->handler->turned(rio->owner);
    rio_start_batch(rio);
    release_timeout_now(rio);
}

/* Raft lets everyone vote who is asked; the candidate knows who counts. libraft refuses where our own configuration does not call us a voter: the
 * second voter that lost its promotion with the power could then be neither elected nor help the first one, which has it, to be. */
static void deliver_vote(struct rio *rio, struct raft_message *m)
{
    struct raft *raft = rio->io.data;
    const struct raft_server *self = configuration_find(&raft->configuration, raft->id);
    if (!self || self->role != RAFT_STANDBY) {
        deliver(rio, m);
        return;
    }
    int *role = &raft->configuration.servers[self - raft->configuration.servers].role;
    *role = RAFT_VOTER;
    deliver(rio, m); /* it changes no configuration */
    *role = RAFT_STANDBY;
}

void rio_receive(struct rio *rio, struct raft_message *m)
{
    const struct raft *raft = rio->io.data;
    if (rio->closing || !rio->recv) {
        message_raft_free(m);
        return;
    }
    if (m->type == RAFT_IO_TIMEOUT_NOW && rio->leaving) { /* it would lead for a moment only */
        return;
    }
    if (m->type == RAFT_IO_REQUEST_VOTE && rio->leader_gone) {
        m->request_vote.disrupt_leader = true;
    }
    if (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.term >= raft->current_term) {
        rio->heard = env_now(rio->loop);
        rio->leader_gone = false;
    }
    if (m->type == RAFT_IO_REQUEST_VOTE) {
        deliver_vote(rio, m);
    } else if (!keep_timeout_now(rio, m)) {
        deliver(rio, m);
    }
    note_held(rio);
    rio->handler->turned(rio->owner);
}

void rio_fetching(struct rio *rio, uint64_t leader, uint64_t term)
{
    rio->guard.fetch_leader = leader;
    rio->guard.fetch_term = term;
}

bool rio_may_install(const struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    return !rio->closing && rio->recv && rio->store && is_follower(rio) && !rio_writing(rio) && !rio->put.busy && !raft->snapshot.pending.term &&
           !raft->snapshot.put.data;
}

bool rio_install(struct rio *rio, struct raft_message *m, const struct install *install)
{
    rio->put.install = install;
    rio->heard = env_now(rio->loop);
    deliver(rio, m);
    bool begun = rio->put.busy;
    rio->put.install = begun ? install : NULL;
    rio->handler->turned(rio->owner);
    return begun;
}

void rio_noop(struct rio *rio, uint64_t term, uint64_t index)
{
    guard_noop(&rio->guard, term, index);
}

void rio_leave(struct rio *rio)
{
    rio->leaving = true;
}

void rio_leader_gone(struct rio *rio)
{
    rio->leader_gone = true;
}

uint64_t rio_heard(const struct rio *rio)
{
    return rio->heard;
}

uint64_t rio_stored_at(const struct rio *rio)
{
    return rio->stored_at;
}

bool rio_hasten(struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    bool waits = installing(rio) || (rio_writing(rio) && !MUTATED(TICK_DRAIN));
    if (rio->closing || !rio->tick || waits || raft->state == RAFT_LEADER || raft->state == RAFT_UNAVAILABLE || rio->leaving) {
        return false;
    }
    if (MUTATED(WAKE)) {
        return true;
    }
    rio->hastened_ms += 2u * raft->election_timeout;
    rio->tick(&rio->io);
    rio->handler->turned(rio->owner);
    return true;
}

/* ---- start, time, close ----------------------------------------------------------------------------------------- */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

/* libraft lets the only voter lead at once, in the term that is stored. A standby may have entries of that term that were lost here, unwritten, and would
 * take what follows for their continuation: so it is another term. */
static void begin_term_alone(struct rio *rio)
{
    io_set_term(&rio->io, vote_term(rio->vote) + 1);
    io_set_vote(&rio->io, ((const struct raft *)rio->io.data)->id);
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                   raft_index *start_index, struct raft_entry *entries[], size_t *n_entries)
{
    struct rio *rio = rio_of(io);
    struct wal_found *found = &rio->found;
    *snapshot = rio->has_snapshot ? rio_snapshot_for_raft(&rio->snapshot) : NULL;
    *start_index = found->n ? found->first : rio->next_index;
    *n_entries = found->n;
    rio->first_index = *start_index;
    *entries = NULL;
    if (rio->has_snapshot && (!found->n || found->first > rio->snapshot.index)) {
        rio_log_append(rio, rio->snapshot.index, rio->snapshot.term, RAFT_COMMAND, NULL, 0);
    }
    if (found->n) {
        *entries = raft_malloc(found->n * sizeof **entries);
        CHECK(*entries);
    }
    for (size_t i = 0; i < found->n; i++) { /* the data goes over to libraft */
        (*entries)[i] = (struct raft_entry){.term = found->records[i].term,
                                            .type = found->records[i].type,
                                            .buf.base = (void *)(uintptr_t)found->records[i].data,
                                            .buf.len = found->records[i].len};
        rio_log_append(rio, found->first + i, found->records[i].term, found->records[i].type, found->records[i].data, found->records[i].len);
        found->records[i].data = NULL;
    }
    wal_found_free(found);
    if (rio_leads_alone(rio) && !MUTATED(ALONE)) {
        begin_term_alone(rio);
    }
    *term = vote_term(rio->vote);
    *voted_for = vote_for(rio->vote);
    return 0;
}

static void ticked(struct env_timer *timer)
{
    struct rio *rio = CONTAINER_OF(timer, struct rio, ticker);
    env_timer_start(timer, rio->tick_ns);
    bool waits = rio_writing(rio) && !MUTATED(TICK_DRAIN);
    if (!installing(rio) && (!is_follower(rio) || !(waits || rio->leaving))) {
        rio->tick(&rio->io);
    }
    rio->handler->turned(rio->owner);
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct rio *rio = rio_of(io);
    rio->tick = tick;
    rio->recv = recv;
    rio->guard.raft = io->data;
    rio->tick_ns = msecs * ENV_MS;
    env_timer_start(&rio->ticker, rio->tick_ns);
    return 0;
}

/* Before the loop runs: written at once, and kept for load. */
static int io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
    struct rio *rio = rio_of(io);
    struct raft_buffer buf;
    struct errmsg em;
    if (!rio_is_empty(rio)) {
        return RAFT_CANTBOOTSTRAP;
    }
    int rv = raft_configuration_encode(configuration, &buf);
    if (rv) {
        return rv;
    }
    struct wal_record record = {.index = 1, .term = 1, .type = RAFT_CHANGE, .data = buf.base, .len = buf.len};
    rv = vote_set_term(rio->vote, 1, &em);
    rv = rv ? rv : wal_append(rio->wal, &record, 1, &em);
    if (rv) {
        env_fatal(rio->loop, "cannot store the first configuration: %s", em.text);
    }
    record.data = mem_dup(buf.base, buf.len);
    raft_free(buf.base);
    rio->found.records = mem_dup(&record, sizeof record);
    rio->found.first = 1;
    rio->found.n = 1;
    rio->next_index = 2;
    return 0;
}

const struct wal_found *rio_found(const struct rio *rio)
{
    return &rio->found;
}

void rio_extend(struct rio *rio, struct wal_record *records, size_t n)
{
    struct wal_found *found = &rio->found;
    struct errmsg em;
    uint64_t term = vote_term(rio->vote) + 1;
    for (size_t i = 0; i < n; i++) {
        records[i].index = rio->next_index + i;
        records[i].term = term;
    }
    int rv = vote_set_term(rio->vote, term, &em);
    rv = rv ? rv : wal_append(rio->wal, records, n, &em);
    if (rv) {
        env_fatal(rio->loop, "cannot extend the log: %s; this node stops", em.text);
    }
    found->records = mem_grow(found->records, found->n + n, sizeof *found->records);
    found->first = found->n ? found->first : rio->next_index;
    for (size_t i = 0; i < n; i++) {
        found->records[found->n] = records[i];
        found->records[found->n++].data = mem_dup(records[i].data, records[i].len);
    }
    rio->next_index += n;
}

static int io_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
    (void)io;
    (void)configuration;
    return RAFT_INVALID;
}

static raft_time io_time(struct raft_io *io)
{
    return env_now(rio_of(io)->loop) / ENV_MS + rio_of(io)->hastened_ms;
}

static int io_random(struct raft_io *io, int min, int max)
{
    uint32_t v;
    env_random(rio_of(io)->loop, &v, sizeof v);
    return max > min ? min + (int)(v % (uint32_t)(max - min)) : min;
}

static void close_done(struct env_msg *msg)
{
    struct rio *rio = CONTAINER_OF(msg, struct rio, closed_msg);
    rio->closed(&rio->io);
}

void rio_finish_close(struct rio *rio)
{
    if (rio->batch.busy || rio->put.busy || rio->sends || rio->finished) {
        return;
    }
    rio->finished = true;
    rio_cancel_queued(rio);
    rio->closed_msg.run = close_done;
    env_post(rio->loop, &rio->closed_msg);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct rio *rio = rio_of(io);
    rio->closing = true;
    rio->closed = cb;
    env_timer_stop(&rio->ticker);
    rio_finish_close(rio);
}

/* ---- open ------------------------------------------------------------------------------------------------------- */

static int check_continuity(struct rio *rio, struct errmsg *em)
{
    const struct wal_found *found = &rio->found;
    uint64_t last = found->n ? found->first + found->n - 1 : 0;
    uint64_t covered = rio->has_snapshot ? rio->snapshot.index : 0;
    rio->next_index = (last > covered ? last : covered) + 1;
    if (found->n && found->first > covered + 1) {
        return err_set(em, E_CORRUPT, "%s: the log begins with entry %llu, but the snapshot ends with %llu; replace the member",
                       rio->dir, (unsigned long long)found->first, (unsigned long long)covered);
    }
    bool other = found->n && covered >= found->first && covered <= last && found->records[covered - found->first].term != rio->snapshot.term;
    if (other && rio->snapshot.replaces_log) { /* it was not reached yet: this is the log from before it */
        wal_found_free(&rio->found);
        rio->next_index = covered + 1;
        return wal_reset(rio->wal, rio->next_index, em);
    }
    if (last < covered) { /* the snapshot replaced a log, and the node stopped in between; nothing else may be the reason */
        if (!rio->snapshot.replaces_log) {
            return err_set(em, E_CORRUPT, "%s: the log ends with entry %llu, but the snapshot with %llu: entries are missing; replace the member",
                           rio->dir, (unsigned long long)last, (unsigned long long)covered);
        }
        wal_found_free(&rio->found);
        return wal_reset(rio->wal, rio->next_index, em);
    }
    return 0;
}

static int open_files(struct rio *rio, struct errmsg *em)
{
    int rv = snapshot_read(rio->loop, rio->dir, &rio->snapshot, em);
    rio->has_snapshot = rv == 0;
    if (rv && rv != E_NOTFOUND) {
        return rv;
    }
    rv = vote_open(rio->loop, rio->dir, &rio->vote, em);
    rv = rv ? rv : env_timer_open(rio->loop, &rio->ticker, ticked);
    rv = rv ? rv : env_spawn(rio->loop, "wal", &rio->wal_env);
    rv = rv ? rv : env_spawn(rio->loop, "wal-spare", &rio->spare_env);
    rio->spare.file.env = rio->spare_env;
    rv = rv ? rv : wal_open(rio->wal_env, rio->dir, &rio->wal, &rio->found, em);
    if (!rv && vote_term(rio->vote) == 0 && (rio->found.n || rio->has_snapshot)) {
        rv = err_set(em, E_CORRUPT, "%s: term and vote are missing beside a log; a vote may have been given that is forgotten: replace the member",
                     rio->dir);
    }
    return rv ? rv : check_continuity(rio, em);
}

int rio_open(struct env *loop, const char *dir, const struct rio_handler *handler, void *owner, struct rio **out,
             struct errmsg *em)
{
    struct rio *rio = mem_new(sizeof *rio);
    rio->loop = loop;
    rio->dir = mem_str(dir);
    rio->handler = handler;
    rio->owner = owner;
    rio->tail = &rio->first;
    rio->batch.rio = rio;
    rio->put.rio = rio;
    rio->spare.rio = rio;
    rio->io = (struct raft_io){.version = 1,
                               .impl = rio,
                               .init = io_init,
                               .close = io_close,
                               .load = io_load,
                               .start = io_start,
                               .bootstrap = io_bootstrap,
                               .recover = io_recover,
                               .set_term = io_set_term,
                               .set_vote = io_set_vote,
                               .send = io_send,
                               .append = rio_append,
                               .truncate = rio_truncate,
                               .snapshot_put = rio_snapshot_put,
                               .snapshot_get = rio_snapshot_get,
                               .time = io_time,
                               .random = io_random};
    int rv = open_files(rio, em);
    if (rv) {
        rio_free(rio);
        return rv;
    }
    if (rio->found.torn) {
        env_log(loop, ENV_WARN, "wal: an unfinished last write was cut (it was never acknowledged) last_index=%llu",
                (unsigned long long)rio->next_index - 1);
    }
    *out = rio;
    return 0;
}

struct raft_io *rio_raft_io(struct rio *rio)
{
    return &rio->io;
}

bool rio_is_empty(const struct rio *rio)
{
    /* a crash while the cluster was formed may have left the first term without the first entry */
    return !rio->has_snapshot && rio->next_index == 1 && vote_term(rio->vote) <= 1 && vote_for(rio->vote) == 0;
}

uint64_t rio_last_index(const struct rio *rio)
{
    return rio->next_index - 1;
}

int rio_remember(struct rio *rio, struct errmsg *em)
{
    return memory_open(rio->loop, rio->dir, rio->spare_env, &rio->memory, em);
}

struct memory *rio_memory(const struct rio *rio)
{
    return rio->memory;
}

uint64_t rio_first_index(const struct rio *rio)
{
    return rio->first_index;
}

uint64_t rio_term(const struct rio *rio)
{
    return vote_term(rio->vote);
}

const struct snapshot *rio_snapshot(const struct rio *rio)
{
    return rio->has_snapshot ? &rio->snapshot : NULL;
}

uint64_t rio_snapshot_index(const struct rio *rio)
{
    return rio->has_snapshot ? rio->snapshot.index : 0;
}

void rio_set_store(struct rio *rio, struct store *store)
{
    rio->store = store;
}

/* On the wal env, whose file it is, behind all else that was posted there. */
static void close_wal(struct env_msg *msg)
{
    struct rio *rio = CONTAINER_OF(msg, struct rio, wal_close_msg);
    if (rio->wal) {
        wal_close(rio->wal);
        rio->wal = NULL;
    }
}

void rio_free(struct rio *rio)
{
    env_timer_close(&rio->ticker);
    if (rio->spare_env) { /* what it has to tell the wal env is heard there */
        env_join(rio->spare_env);
    }
    memory_close(rio->memory);
    if (rio->wal_env) {
        rio->wal_close_msg.run = close_wal;
        env_post(rio->wal_env, &rio->wal_close_msg);
        env_join(rio->wal_env);
    }
    if (rio->vote) {
        vote_close(rio->vote);
    }
    wal_found_free(&rio->found);
    snapshot_free(&rio->snapshot);
    snapshot_free(&rio->put.snapshot);
    rio_log_free(rio);
    mem_free(rio->dir);
    mem_free(rio);
}
