/* io.c: the raft_io of one member.
 *
 * Happy path of an append: libraft calls append, the request is queued; when the wal env is idle everything queued goes to it as one
 * batch, is written, and comes back as completions, in order. Truncations are queued between appends. A snapshot waits until storage has
 * written its checkpoint, is stored on the wal env, then the log gives back what it covers. Messages of other members pass the guard on
 * their way in and out; a TimeoutNow waits until nothing is being written.
 *
 * Failures: any error of the disk is fatal here, on the env where it happened. On close, what was not begun is canceled newest first
 * (the other order would make libraft truncate twice), what is in flight is waited for. */
#include "raft/io.h"

#include "raft/guard.h"
#include "raft/message.h"
#include "raft/mutation.h"
#include "raft/snapshot.h"
#include "raft/vote.h"
#include "raft/wal.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum item_kind { ITEM_APPEND, ITEM_TRUNCATE };

struct item {
    struct item *next;
    enum item_kind kind;
    struct raft_io_append *req;
    const struct raft_entry *entries;
    unsigned n;
    uint64_t index; /* of the first entry, or where to truncate */
};

struct batch { /* what the wal env works on; one */
    struct env_msg msg;
    struct rio *rio;
    struct item *items;
    bool busy;
};

struct put { /* the snapshot being stored; one */
    struct env_msg msg;
    struct rio *rio;
    struct raft_io_snapshot_put *req;
    struct snapshot snapshot;
    uint64_t compact_to;
    bool replaces_log;
    bool busy;
};

struct spare { /* a file for the log to come; one */
    struct env_msg msg;
    struct rio *rio;
    struct wal_spare file;
};

struct rio {
    struct raft_io io;
    struct env *loop;
    struct env *wal_env;
    struct env *spare_env; /* zeroes files for segments to come, so that the wal env does not have to */
    char *dir;
    const struct rio_handler *handler;
    void *owner;
    struct store *store;
    struct vote *vote;
    struct wal *wal;
    struct wal_found found; /* until load */
    struct snapshot snapshot;
    bool has_snapshot;
    uint64_t next_index;
    struct item *first, **tail; /* queued */
    struct batch batch;
    struct put put;
    struct spare spare; /* the wal env's */
    struct env_timer ticker;
    uint64_t tick_ns;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb closed;
    struct env_msg closed_msg, wal_close_msg;
    bool closing, finished;
    struct guard guard;
    uint64_t hastened_ms;  /* libraft's clock is ahead by so much; it only grows */
    uint64_t heard;
    bool leader_gone;
    bool timeout_now_waits;
    struct raft_timeout_now timeout_now;
    uint64_t timeout_now_from;
    uint64_t sends; /* not finished */
};

static struct rio *of(const struct raft_io *io)
{
    return io->impl;
}

/* ---- appends and truncations --------------------------------------------------------------------------------- */

/* On the wal env. */
static void write_items(struct rio *rio, struct item *items)
{
    struct errmsg em;
    struct wal_record *records = NULL;
    size_t n = 0;
    int rv = 0;
    for (struct item *item = items; item && !rv; item = item->next) {
        if (item->kind == ITEM_TRUNCATE) {
            rv = wal_append(rio->wal, records, n, &em);
            n = 0;
            rv = rv ? rv : wal_truncate(rio->wal, item->index, &em);
            continue;
        }
        records = mem_grow(records, n + item->n, sizeof *records);
        for (unsigned i = 0; i < item->n; i++) {
            records[n++] = (struct wal_record){.index = item->index + i,
                                               .term = item->entries[i].term,
                                               .type = item->entries[i].type,
                                               .data = item->entries[i].buf.base,
                                               .len = item->entries[i].buf.len};
        }
    }
    rv = rv ? rv : wal_append(rio->wal, records, n, &em);
    mem_free(records);
    if (rv) {
        env_fatal(rio->wal_env, "cannot append to the write-ahead log: %s; this node stops, so that nothing is acknowledged "
                                "that is not on its disk",
                  em.text);
    }
}

static void spare_made(struct env_msg *msg);
static void start_batch(struct rio *rio);
static void release_held(struct rio *rio);
static void release_timeout_now(struct rio *rio);
static void finish_close(struct rio *rio);

static void spare_run(struct env_msg *msg)
{
    struct spare *spare = CONTAINER_OF(msg, struct spare, msg);
    wal_spare_make(&spare->file);
    msg->run = spare_made;
    env_post(spare->rio->wal_env, msg);
}

/* On the wal env, when the log may have used a file or is idle. */
static void want_spare(struct rio *rio)
{
    if (wal_spare_begin(rio->wal, &rio->spare.file)) {
        rio->spare.msg.run = spare_run;
        env_post(rio->spare_env, &rio->spare.msg);
    }
}

static void spare_made(struct env_msg *msg)
{
    struct spare *spare = CONTAINER_OF(msg, struct spare, msg);
    struct rio *rio = spare->rio;
    if (spare->file.rv) { /* no harm yet: the append that needs one fails, if there still is no room */
        env_log(rio->wal_env, ENV_WARN, "wal: no file could be made ahead for the log: %s", spare->file.em.text);
    }
    if (rio->wal) { /* else it was closed meanwhile; the next start finds the file */
        wal_spare_take(rio->wal, &spare->file);
    }
}

static void batch_written(struct env_msg *msg)
{
    struct rio *rio = CONTAINER_OF(msg, struct batch, msg)->rio;
    struct item *item = rio->batch.items;
    rio->batch.busy = false;
    rio->batch.items = NULL;
    while (item) {
        struct item *next = item->next;
        if (item->kind == ITEM_APPEND) {
            item->req->cb(item->req, 0);
        }
        mem_free(item);
        item = next;
    }
    if (rio->closing) {
        finish_close(rio);
        return;
    }
    release_held(rio);
    rio->handler->turned(rio->owner);
    start_batch(rio);
    release_timeout_now(rio);
}

static void batch_run(struct env_msg *msg)
{
    struct batch *batch = CONTAINER_OF(msg, struct batch, msg);
    write_items(batch->rio, batch->items);
    want_spare(batch->rio);
    msg->run = batch_written;
    env_post(batch->rio->loop, msg);
}

static void start_batch(struct rio *rio)
{
    if (rio->batch.busy || !rio->first) {
        return;
    }
    rio->batch.items = rio->first;
    rio->batch.busy = true;
    rio->batch.msg.run = batch_run;
    rio->first = NULL;
    rio->tail = &rio->first;
    env_post(rio->wal_env, &rio->batch.msg);
}

static void queue_item(struct rio *rio, struct item item)
{
    struct item *copy = mem_dup(&item, sizeof item);
    *rio->tail = copy;
    rio->tail = &copy->next;
    start_batch(rio);
}

static int io_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
                     raft_io_append_cb cb)
{
    struct rio *rio = of(io);
    req->cb = cb;
    queue_item(rio, (struct item){.kind = ITEM_APPEND, .req = req, .entries = entries, .n = n, .index = rio->next_index});
    rio->next_index += n;
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct rio *rio = of(io);
    if (index < rio->next_index) { /* some versions call it before each append, with nothing to cut */
        rio->next_index = index;
        queue_item(rio, (struct item){.kind = ITEM_TRUNCATE, .index = index});
    }
    return 0;
}

/* ---- term and vote: libraft wants them stored on return -------------------------------------------------------- */

static int io_set_term(struct raft_io *io, raft_term term)
{
    struct errmsg em;
    if (vote_set_term(of(io)->vote, term, &em)) {
        env_fatal(of(io)->loop, "%s; this node stops", em.text);
    }
    return 0;
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
    struct errmsg em;
    if (vote_set(of(io)->vote, id, &em)) {
        env_fatal(of(io)->loop, "%s; this node stops", em.text);
    }
    return 0;
}

/* ---- snapshots ------------------------------------------------------------------------------------------------ */

static void put_finished(struct env_msg *msg)
{
    struct put *put = CONTAINER_OF(msg, struct put, msg);
    struct rio *rio = put->rio;
    snapshot_free(&rio->snapshot);
    rio->snapshot = put->snapshot;
    rio->has_snapshot = true;
    put->snapshot = (struct snapshot){0};
    put->busy = false;
    if (put->replaces_log) {
        guard_snapshot(&rio->guard, rio->snapshot.index);
    }
    put->req->cb(put->req, 0);
    if (rio->closing) {
        finish_close(rio);
        return;
    }
    rio->handler->turned(rio->owner);
}

/* On the wal env. */
static void put_store(struct env_msg *msg)
{
    struct put *put = CONTAINER_OF(msg, struct put, msg);
    struct rio *rio = put->rio;
    struct errmsg em;
    int rv = snapshot_write(rio->wal_env, rio->dir, &put->snapshot, &em);
    if (!rv && put->replaces_log) {
        rv = wal_reset(rio->wal, put->snapshot.index + 1, &em);
    } else if (!rv) {
        rv = wal_compact(rio->wal, put->compact_to, &em);
    }
    if (rv) {
        env_fatal(rio->wal_env, "cannot store the snapshot: %s; this node stops", em.text);
    }
    msg->run = put_finished;
    env_post(rio->loop, msg);
}

static void put_checkpointed(void *arg)
{
    struct put *put = arg;
    put->msg.run = put_store;
    env_post(put->rio->wal_env, &put->msg);
}

static void copy_snapshot(struct snapshot *to, const struct raft_snapshot *from)
{
    *to = (struct snapshot){.index = from->index, .term = from->term, .configuration_index = from->configuration_index};
    CHECK(from->configuration.n <= SNAPSHOT_SERVERS_MAX);
    to->servers = mem_array(from->configuration.n, sizeof *to->servers);
    to->n_servers = from->configuration.n;
    for (size_t i = 0; i < to->n_servers; i++) {
        const struct raft_server *server = &from->configuration.servers[i];
        to->servers[i].id = server->id;
        to->servers[i].role = server->role;
        snprintf(to->servers[i].address, sizeof to->servers[i].address, "%s", server->address);
    }
    buf_init(&to->data, SNAPSHOT_MAX);
    for (unsigned i = 0; i < from->n_bufs; i++) {
        buf_bytes(&to->data, from->bufs[i].base, from->bufs[i].len);
    }
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct rio *rio = of(io);
    struct put *put = &rio->put;
    CHECK(!put->busy && rio->store);
    put->busy = true;
    put->req = req;
    req->cb = cb;
    copy_snapshot(&put->snapshot, snapshot);
    if (put->snapshot.data.err) {
        env_fatal(rio->loop, "the manifest does not fit into a snapshot (%u bytes at most); this node stops", SNAPSHOT_MAX);
    }
    put->replaces_log = put->snapshot.replaces_log = trailing == 0;
    put->compact_to = snapshot->index > trailing ? snapshot->index - trailing : 0;
    if (put->replaces_log) {
        rio->next_index = snapshot->index + 1;
    }
    store_checkpoint(rio->store, snapshot->index, put_checkpointed, put);
    return 0;
}

/* To libraft's form: all of it from raft_malloc. */
static struct raft_snapshot *snapshot_for_raft(const struct snapshot *s)
{
    struct raft_snapshot *to = raft_malloc(sizeof *to);
    struct raft_buffer *data = raft_malloc(sizeof *data);
    CHECK(to && data);
    *to = (struct raft_snapshot){.index = s->index, .term = s->term, .configuration_index = s->configuration_index};
    raft_configuration_init(&to->configuration);
    for (size_t i = 0; i < s->n_servers; i++) {
        int rv = raft_configuration_add(&to->configuration, s->servers[i].id, s->servers[i].address, s->servers[i].role);
        CHECK(rv == 0);
    }
    data->len = s->data.len;
    data->base = raft_malloc(data->len ? data->len : 1);
    CHECK(data->base);
    memcpy(data->base, s->data.data, data->len);
    to->bufs = data;
    to->n_bufs = 1;
    return to;
}

struct get {
    struct env_msg msg;
    struct rio *rio;
    struct raft_io_snapshot_get *req;
};

static void get_answer(struct env_msg *msg)
{
    struct get *get = CONTAINER_OF(msg, struct get, msg);
    bool there = get->rio->has_snapshot && !get->rio->closing;
    get->req->cb(get->req, there ? snapshot_for_raft(&get->rio->snapshot) : NULL, there ? 0 : RAFT_CANCELED);
    mem_free(get);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb)
{
    struct get *get = mem_new(sizeof *get);
    req->cb = cb;
    *get = (struct get){.msg.run = get_answer, .rio = of(io), .req = req};
    env_post(of(io)->loop, &get->msg);
    return 0;
}

/* ---- other members ---------------------------------------------------------------------------------------------- */

struct sent {
    struct env_msg msg;
    struct rio *rio;
    struct raft_io_send *req;
    raft_io_send_cb cb; /* NULL: the request may be gone before this is */
    bool failed;        /* never; see io_send */
};

static void send_finished(struct env_msg *msg)
{
    struct sent *sent = CONTAINER_OF(msg, struct sent, msg);
    struct rio *rio = sent->rio;
    rio->sends--;
    if (sent->cb) {
        sent->cb(sent->req, rio->closing ? RAFT_CANCELED : sent->failed ? RAFT_NOCONNECTION : 0);
    }
    mem_free(sent);
    if (rio->closing) {
        finish_close(rio);
    }
}

/* libraft's address of a leader it has forgotten is NULL: an answer to nobody. An append that was cut short, or not sent, counts as sent: the
 * member refuses the next one and says what it has. (After an error libraft would go back to what it knows of the member, and a new
 * leader knows nothing: it would offer a snapshot to a member that lacks one entry.) */
static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *message, raft_io_send_cb cb)
{
    struct rio *rio = of(io);
    struct sent *sent = mem_new(sizeof *sent);
    struct raft_message copy = *message;
    *sent = (struct sent){.msg.run = send_finished, .rio = rio, .req = req, .cb = cb};
    guard_send(&rio->guard, &copy);
    if (copy.type == RAFT_IO_INSTALL_SNAPSHOT) {
        env_log(rio->loop, ENV_WARN, "raft: node %llu lacks entries that this leader's log has no more: it needs a snapshot",
                copy.server_id);
    } else if (copy.server_address && rio->handler->send && !rio->closing) {
        sent->failed = rio->handler->send(rio->owner, &copy) < 0 && MUTATED(SEND_ERROR);
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

static void deliver(struct rio *rio, struct raft_message *m)
{
    guard_before(&rio->guard, m);
    struct raft_message seen = *m; /* libraft frees the entries */
    rio->recv(&rio->io, m);
    guard_after(&rio->guard, &seen);
}

static bool is_follower(const struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    return raft->state == RAFT_FOLLOWER;
}

static bool writing(const struct rio *rio)
{
    return rio->batch.busy || rio->first;
}

/* A follower must not become a candidate while entries are being written: libraft would miss a change of members among them. */
static bool keep_timeout_now(struct rio *rio, const struct raft_message *m)
{
    if (m->type != RAFT_IO_TIMEOUT_NOW || !writing(rio) || MUTATED(TICK_DRAIN)) {
        return false;
    }
    rio->timeout_now_waits = true;
    rio->timeout_now = m->timeout_now;
    rio->timeout_now_from = m->server_id;
    return true;
}

static void release_timeout_now(struct rio *rio)
{
    if (rio->timeout_now_waits && !writing(rio)) {
        struct raft_message m = {.type = RAFT_IO_TIMEOUT_NOW, .server_id = rio->timeout_now_from, .server_address = ""};
        m.timeout_now = rio->timeout_now;
        rio->timeout_now_waits = false;
        deliver(rio, &m);
    }
}

void rio_receive(struct rio *rio, struct raft_message *m)
{
    const struct raft *raft = rio->io.data;
    if (rio->closing || !rio->recv) {
        message_raft_free(m);
        return;
    }
    if (m->type == RAFT_IO_REQUEST_VOTE && rio->leader_gone) {
        m->request_vote.disrupt_leader = true;
    }
    if (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.term >= raft->current_term) {
        rio->heard = env_now(rio->loop);
        rio->leader_gone = false;
    }
    if (!keep_timeout_now(rio, m)) {
        deliver(rio, m);
    }
    rio->handler->turned(rio->owner);
}

void rio_noop(struct rio *rio, uint64_t term, uint64_t index)
{
    guard_noop(&rio->guard, term, index);
}

void rio_leader_gone(struct rio *rio)
{
    rio->leader_gone = true;
}

uint64_t rio_heard(const struct rio *rio)
{
    return rio->heard;
}

bool rio_hasten(struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    if (rio->closing || !rio->tick || (writing(rio) && !MUTATED(TICK_DRAIN)) || raft->state == RAFT_LEADER || raft->state == RAFT_UNAVAILABLE) {
        return false;
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

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
                   raft_index *start_index, struct raft_entry *entries[], size_t *n_entries)
{
    struct rio *rio = of(io);
    struct wal_found *found = &rio->found;
    *term = vote_term(rio->vote);
    *voted_for = vote_for(rio->vote);
    *snapshot = rio->has_snapshot ? snapshot_for_raft(&rio->snapshot) : NULL;
    *start_index = found->n ? found->first : rio->next_index;
    *n_entries = found->n;
    *entries = NULL;
    if (found->n) {
        *entries = raft_malloc(found->n * sizeof **entries);
        CHECK(*entries);
    }
    for (size_t i = 0; i < found->n; i++) { /* the data goes over to libraft */
        (*entries)[i] = (struct raft_entry){.term = found->records[i].term,
                                            .type = found->records[i].type,
                                            .buf.base = (void *)(uintptr_t)found->records[i].data,
                                            .buf.len = found->records[i].len};
        found->records[i].data = NULL;
    }
    wal_found_free(found);
    return 0;
}

static void ticked(struct env_timer *timer)
{
    struct rio *rio = CONTAINER_OF(timer, struct rio, ticker);
    env_timer_start(timer, rio->tick_ns);
    if (is_follower(rio) && writing(rio) && !MUTATED(TICK_DRAIN)) {
        return;
    }
    rio->tick(&rio->io);
    rio->handler->turned(rio->owner);
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    struct rio *rio = of(io);
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
    struct rio *rio = of(io);
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

static int io_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
    (void)io;
    (void)configuration;
    return RAFT_INVALID;
}

static raft_time io_time(struct raft_io *io)
{
    return env_now(of(io)->loop) / ENV_MS + of(io)->hastened_ms;
}

static int io_random(struct raft_io *io, int min, int max)
{
    uint32_t v;
    env_random(of(io)->loop, &v, sizeof v);
    return max > min ? min + (int)(v % (uint32_t)(max - min)) : min;
}

static void close_done(struct env_msg *msg)
{
    struct rio *rio = CONTAINER_OF(msg, struct rio, closed_msg);
    rio->closed(&rio->io);
}

static void cancel_newest_first(struct item *item)
{
    if (item) {
        cancel_newest_first(item->next);
        if (item->kind == ITEM_APPEND) {
            item->req->cb(item->req, RAFT_CANCELED);
        }
        mem_free(item);
    }
}

static void finish_close(struct rio *rio)
{
    if (rio->batch.busy || rio->put.busy || rio->sends || rio->finished) {
        return;
    }
    rio->finished = true;
    struct item *items = rio->first;
    rio->first = NULL;
    rio->tail = &rio->first;
    cancel_newest_first(items);
    rio->closed_msg.run = close_done;
    env_post(rio->loop, &rio->closed_msg);
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct rio *rio = of(io);
    rio->closing = true;
    rio->closed = cb;
    env_timer_stop(&rio->ticker);
    finish_close(rio);
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
                               .append = io_append,
                               .truncate = io_truncate,
                               .snapshot_put = io_snapshot_put,
                               .snapshot_get = io_snapshot_get,
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

uint64_t rio_term(const struct rio *rio)
{
    return vote_term(rio->vote);
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
    mem_free(rio->dir);
    mem_free(rio);
}
