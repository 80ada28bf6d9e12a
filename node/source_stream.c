/* source_stream.c: events from the source into entries, acknowledgements back.
 *
 * Happy path: each event is checked (checksum, its place in the file, transaction grammar) and its bytes are added to the batch exactly as
 * they stand in the source's file. When nothing of ours is in flight and the batch holds a transaction end, or it has reached its target
 * size, it becomes an EVENTS entry. When that is applied in the term it was proposed in, a quorum has it on disk: the last position in it
 * that the source asked about is acknowledged.
 *
 * A new file is announced by an artificial ROTATE. Its FILE entry carries the GTID state before it, which stands in the file's head: so the
 * entry is proposed when the event behind the format description is known.
 *
 * A MariaDB source that crashed while it wrote a transaction leaves the torn rest in its file for ever, and cannot send past it: it ends
 * with an error, or falls silent. All before it is held here then, so the next connection begins in the source's next file, without
 * semi-sync (a dump request acknowledges what lies before it), and goes on only if the GTID state in that file's head is
 * exactly what is held.
 *
 * A MariaDB source with encrypt_binlog sends its files decrypted (take_encryption); MySQL's are in clear on the wire in any case.
 *
 * Failure: what does not fit ends the connection; what was not proposed is forgotten, and the next connection begins at the committed
 * end. Back-pressure: while too much is in flight, the socket is not read. */
#include "node/settings.h"
#include "node/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

struct flight { /* an entry of events that was proposed */
    struct source *source;
    uint64_t connection;
    char file[FILE_NAME_SIZE];
    uint64_t ack, asked_at;
    size_t bytes;
    uint64_t transactions;
    bool progress; /* more than a part of a transaction, which a loss of the connection takes away again */
};

/* ---- batches and proposals ---- */

static void begin_batch(struct source *s)
{
    buf_reset(&s->batch.bytes);
    buf_reset(&s->batch.txns);
    s->batch.offset = s->position;
    s->batch.last = (struct entry_txn){.end = s->position};
    s->batch.ack = s->batch.asked_at = 0;
    s->batch.complete = false;
}

/* Where the others may have it before this node's own log does, that log's time is nothing. */
static void measure(struct source *s, const struct flight *f)
{
    struct cluster_times t = cluster_times(s->cluster);
    uint64_t now = env_now(s->loop), stored = t.stored > t.begun ? t.stored : t.begun;
    latency_add(&s->latency[STAGE_RECEIVE], t.begun - f->asked_at);
    latency_add(&s->latency[STAGE_WAL], stored - t.begun);
    latency_add(&s->latency[STAGE_PEERS], t.applied - stored);
    latency_add(&s->latency[STAGE_ACK], now - t.applied);
    latency_add(&s->latency[STAGE_TOTAL], now - f->asked_at);
}

static void acknowledge(struct source *s, const struct flight *f)
{
    if (!f->ack || s->connection != f->connection || s->status.phase != SOURCE_STREAMING || !s->peer.semi_sync) {
        return;
    }
    if (semisync_ack_put(s->wire, f->file, f->ack)) {
        return; /* the wire's error shows at the next read */
    }
    source_send(s);
    measure(s, f);
    source_nudge_ack(s, f->file, f->ack);
    s->status.acks++;
    s->status.acked = f->ack;
    snprintf(s->status.acked_file, sizeof s->status.acked_file, "%s", f->file);
    env_log(s->loop, ENV_DEBUG, "source: acknowledged file=%s position=%llu", f->file, (unsigned long long)f->ack);
}

struct contradiction {
    struct env_msg msg;
    struct source *source;
    uint64_t connection;
    int status;
};

static void contradicted(struct env_msg *msg)
{
    struct contradiction *c = CONTAINER_OF(msg, struct contradiction, msg);
    if (c->source->connection != c->connection) {
        mem_free(c);
        return;
    }
    if (c->status == E_CONTRADICTION) {
        source_refused(c->source, "what it sends does not continue the history held here: a file begins with other GTIDs than those held, has a name "
                                  "that cannot be or is held already, or a GTID is given a second time. Was it reset, or did it lose the end of its "
                                  "binlog in a crash?");
    } else if (c->status == E_TOOBIG) {
        source_refused(c->source, "its GTID state is larger than an entry of the log may be (%u bytes)", (unsigned)ENTRY_MAX);
    } else {
        source_failed(c->source, 0, "what was received could not be stored: %s", err_text(c->status));
    }
    mem_free(c);
}

static void applied(void *arg, int status)
{
    struct flight *f = arg;
    struct source *s = f->source;
    s->in_flight -= f->bytes;
    s->flights--;
    if (status == 0) {
        if (f->progress && s->connection == f->connection) {
            source_well(s);
        }
        s->status.transactions += f->transactions;
        acknowledge(s, f);
    } else if (s->connection == f->connection) {
        struct contradiction c = {.msg.run = contradicted, .source = s, .connection = f->connection, .status = status}, *copy;
        copy = mem_dup(&c, sizeof c);
        env_post(s->loop, &copy->msg); /* the connection is not ended from within the state machine */
    }
    bool here = s->connection == f->connection;
    mem_free(f);
    if (here && status == 0) {
        source_stream_flush(s);
    }
}

static void fly(struct source *s, struct buf *entry, size_t bytes, uint64_t transactions, bool progress)
{
    struct flight *f = mem_new(sizeof *f);
    *f = (struct flight){.source = s,
                         .connection = s->connection,
                         .ack = s->batch.ack,
                         .asked_at = s->batch.asked_at,
                         .bytes = bytes,
                         .transactions = transactions,
                         .progress = progress};
    snprintf(f->file, sizeof f->file, "%s", s->file);
    s->in_flight += bytes;
    s->flights++;
    cluster_propose(s->cluster, entry, applied, f);
}

static void propose_batch(struct source *s)
{
    struct source_batch *b = &s->batch;
    struct entry_events e = {.era = s->era, .offset = b->offset, .boundary = b->boundary, .ack = b->ack, .timestamp = b->timestamp};
    struct buf entry;
    struct cur txns = cur_of(b->txns.data, b->txns.len);
    struct entry_txn at = {.end = b->offset};
    uint64_t transactions = 0;
    if (!b->bytes.len) {
        return;
    }
    while (entry_txn_next(&txns, &at)) {
        transactions++;
    }
    snprintf(e.name, sizeof e.name, "%s", s->file);
    buf_init(&entry, ENTRY_MAX);
    entry_put_events(&entry, &e, &b->txns, b->bytes.data, b->bytes.len);
    size_t n = b->bytes.len;
    fly(s, &entry, n, transactions, b->complete);
    b->offset += n;
    buf_reset(&b->bytes);
    buf_reset(&b->txns);
    b->last = (struct entry_txn){.end = b->offset};
    b->ack = b->asked_at = 0;
    b->complete = false;
}

/* An event may be larger than an entry: its bytes then go into several. Only with its last byte it counts as received. */
static void add_bytes(struct source *s, const uint8_t *event, size_t n)
{
    while (n) {
        size_t room = ENTRY_EVENTS_TARGET - s->batch.bytes.len;
        size_t part = n < room ? n : room;
        buf_bytes(&s->batch.bytes, event, part);
        event += part;
        n -= part;
        if (n) {
            propose_batch(s);
        }
    }
}

/* ---- a new file ---- */

/* `before`: the GTID state in the file's head; NULL: what was executed when the entry is applied. */
static void propose_file(struct source *s, struct gtid_set *before)
{
    struct entry_file f = {.era = s->era, .origin = s->peer.origin, .before = before};
    struct buf entry;
    snprintf(f.name, sizeof f.name, "%s", s->file);
    buf_init(&entry, ENTRY_MAX);
    entry_put_file(&entry, &f);
    fly(s, &entry, 0, 0, true);
    gtid_set_free(before);
    s->file_pending = false;
    env_log(s->loop, ENV_INFO, "source: new file=%s era=%llu", s->file, (unsigned long long)s->era);
}

/* Called for the event behind the format description, before it is added. */
static void settle_file(struct source *s, const struct event_header *h, const uint8_t *event, size_t n)
{
    struct gtid_set *before = NULL;
    struct errmsg em;
    int rv = 0;
    if (h->type == EVENT_PREVIOUS_GTIDS) {
        before = gtid_set_new(FLAVOUR_MYSQL);
        rv = event_previous_gtids_read(&s->format, event, n, before, &em);
    } else if (h->type == EVENT_GTID_LIST) {
        before = gtid_set_new(FLAVOUR_MARIADB);
        rv = event_gtid_list_read(&s->format, event, n, before, NULL, &em);
    }
    if (rv) {
        gtid_set_free(before);
        source_failed(s, 0, "the GTID state at the head of %s cannot be read: %s", s->file, em.text);
        return;
    }
    if (source_torn(s) && !(before && gtid_set_equal(before, state_logged(cluster_state(s->cluster))))) {
        gtid_set_free(before);
        s->torn_file[0] = 0; /* no torn rest, then */
        source_failed(s, 0, "the source does not go on in %s behind position %llu, and the GTID state at the head of %s says that more "
                            "transactions are in it",
                      state_file(cluster_state(s->cluster))->name, (unsigned long long)cluster_state(s->cluster)->boundary, s->file);
        return;
    }
    propose_file(s, before);
}

/* An artificial ROTATE tells which file the following events are from. */
static void take_place(struct source *s, const uint8_t *event, size_t n)
{
    struct event_rotate r;
    struct errmsg em;
    if (event_rotate_read(&s->format, event, n, &r, &em)) {
        source_failed(s, 0, "an event cannot be read: %s", em.text);
        return;
    }
    const struct state_file *held = state_file(cluster_state(s->cluster));
    bool same = !strcmp(r.name, s->file) && held && (s->located || (held->era == s->era && !strcmp(held->name, r.name)));
    if (same && s->located) {
        return;
    }
    if (same) {
        s->located = true;
        if (r.pos != s->position) {
            source_failed(s, 0, "asked for position %llu of %s, the source sends from %llu", (unsigned long long)s->position, s->file,
                          (unsigned long long)r.pos);
        }
        return;
    }
    if (r.pos != EVENT_MAGIC_SIZE || strlen(r.name) >= sizeof s->file) {
        source_failed(s, 0, "the source goes on in %.200s at position %llu, but a file must be taken from its begin", r.name,
                      (unsigned long long)r.pos);
        return;
    }
    if (s->file_pending && s->located) {
        propose_file(s, NULL);
    }
    propose_batch(s);
    if (txn_is_open(&s->txn)) {
        env_log(s->loop, ENV_WARN, "source: %s ends inside a transaction (the source crashed); the unfinished part is dropped", s->file);
        txn_reset(&s->txn);
    }
    s->located = true;
    snprintf(s->file, sizeof s->file, "%s", r.name);
    s->file_pending = true;
    s->status.encrypted = s->peer.encrypted;
    s->position = EVENT_MAGIC_SIZE;
    s->batch.boundary = EVENT_MAGIC_SIZE;
    begin_batch(s);
}

/* ---- events ---- */

/* Adds an event that stands in the source's file. */
static void add_event(struct source *s, const struct event_header *h, const uint8_t *event, size_t n, bool wants_ack)
{
    struct errmsg em;
    uint64_t end = s->position + n;
    if (h->log_pos && h->log_pos != (uint32_t)end) {
        source_failed(s, 0, "%s: an event at %llu of %zu bytes says that it ends at %u; events are missing or changed", s->file,
                      (unsigned long long)s->position, n, (unsigned)h->log_pos);
        return;
    }
    int place = txn_feed(&s->txn, &s->format, event, n, &em);
    if (place < 0) {
        source_failed(s, 0, "%s at %llu: %s", s->file, (unsigned long long)s->position, em.text);
        return;
    }
    s->batch.timestamp = h->timestamp;
    add_bytes(s, event, n);
    s->position = end;
    s->status.events++;
    s->status.bytes += n;
    s->status.behind -= s->status.behind < n ? s->status.behind : n;
    if (place != TXN_INSIDE) {
        s->batch.boundary = end;
        s->batch.complete = true;
    }
    if (place == TXN_END) {
        struct entry_txn txn = {.end = end, .gtid = s->txn.gtid};
        entry_txn_put(&s->batch.txns, &s->batch.last, &txn);
    }
    if (wants_ack) {
        s->batch.ack = end;
        s->batch.asked_at = s->batch.asked_at ? s->batch.asked_at : s->read_at;
        s->status.semi_sync = true; /* maybe it was off when we connected */
    }
    if (s->batch.bytes.len >= ENTRY_EVENTS_TARGET) {
        propose_batch(s);
    }
}

static void take_format(struct source *s, const struct event_header *h, const uint8_t *event, size_t n)
{
    struct errmsg em;
    if (event_format_read(event, n, &s->format, &em)) {
        source_failed(s, 0, "the format description of %s cannot be read: %s", s->file, em.text);
        return;
    }
    if (s->format.flavour != s->peer.origin.flavour) {
        source_failed(s, 0, "%s is a binlog of %s, but the server seems to be %s", s->file, flavour_name(s->format.flavour),
                      flavour_name(s->peer.origin.flavour));
        return;
    }
    if (s->format.version[0]) {
        snprintf(s->peer.origin.version, sizeof s->peer.origin.version, "%s", s->format.version);
    }
    if (!source_is_copy(s, h)) {
        add_event(s, h, event, n, false);
    }
}

/* For a start in the middle MariaDB 11.8 sends a changed copy of the format description, and where the file has no checksums it leaves the old
 * sum in it. The copy is not stored. */
int source_check_event(const struct source *s, const uint8_t *event, size_t n, struct event_header *h, struct errmsg *em)
{
    int rv = event_header_read(event, n, h, em);
    if (rv) {
        return rv;
    }
    if (source_is_copy(s, h) && n > EVENT_HEADER_SIZE + EVENT_CRC_SIZE && event[n - EVENT_CRC_SIZE - 1] == CHECKSUM_NONE) {
        return 0;
    }
    return event_crc_check(&s->format, event, n, em);
}

/* The source's file is encrypted; it sends the events in clear, each in its place. The event that says so comes with the ignorable flag, and is
 * kept with it: so the file here can be read without the key, and all positions are the source's. */
static void take_encryption(struct source *s, const struct event_header *h, const uint8_t *event, size_t n)
{
    s->status.encrypted = true;
    if (!h->log_pos) {
        return; /* a copy for a start in the middle */
    }
    if (!(h->flags & EVENT_FLAG_IGNORABLE)) {
        source_failed(s, 0, "%s at %llu: the source says that encrypted events follow; it should send them decrypted", s->file,
                      (unsigned long long)s->position);
        return;
    }
    add_event(s, h, event, n, false);
}

static void take_event(struct source *s, const uint8_t *event, size_t n, bool wants_ack)
{
    struct event_header h;
    struct errmsg em;
    int rv = source_check_event(s, event, n, &h, &em);
    if (rv) {
        source_failed(s, 0, "%s at %llu: %s", s->file, (unsigned long long)s->position, em.text);
        return;
    }
    s->status.last_event_wall = env_wall(s->loop);
    if (h.type == EVENT_HEARTBEAT || h.type == EVENT_HEARTBEAT_V2) { /* all that it has was sent */
        source_well(s);
        return;
    }
    if (h.flags & EVENT_FLAG_ARTIFICIAL) {
        if (h.type == EVENT_ROTATE) {
            take_place(s, event, n);
        }
        return;
    }
    if (!s->located) {
        source_failed(s, 0, "the source sends an event before it says from which file");
        return;
    }
    if (h.type == EVENT_FORMAT_DESCRIPTION) {
        take_format(s, &h, event, n);
        return;
    }
    if (h.type == EVENT_START_ENCRYPTION) {
        take_encryption(s, &h, event, n);
        return;
    }
    if (s->file_pending) {
        uint64_t connection = s->connection;
        settle_file(s, &h, event, n);
        if (s->connection != connection) {
            return;
        }
    }
    add_event(s, &h, event, n, wants_ack);
}

/* ---- the stream ---- */

void source_stream_begin(struct source *s)
{
    source_phase(s, SOURCE_STREAMING);
    wire_set_max_packet(s->wire, SOURCE_EVENT_MAX);
    wire_seq_apart(s->wire, true);
    event_format_init(&s->format, s->peer.origin.flavour, s->peer.checksum);
    txn_init(&s->txn);
    s->located = false;
    s->file_pending = false;
    s->paused = false;
    s->batch.boundary = cluster_state(s->cluster)->boundary;
    begin_batch(s);
    s->status.semi_sync = s->peer.semi_sync && s->peer.semi_sync_on;
    s->status.encrypted = s->peer.encrypted; /* MariaDB: its stream tells */
    s->status.catching_up = s->peer.behind > setting_number(cluster_state(s->cluster), SETTING_ID_semi_sync_within) || source_torn(s);
    s->status.behind = s->peer.behind;
    env_timer_start(&s->timer, SOURCE_SILENCE_S * ENV_S);
}

bool source_torn(const struct source *s)
{
    const struct state_file *file = state_file(cluster_state(s->cluster));
    return s->torn_file[0] && file && !strcmp(file->name, s->torn_file) && !source_is_another(s);
}

void source_stream_stuck(struct source *s)
{
    const struct state_file *held = state_file(cluster_state(s->cluster));
    if (s->peer.origin.flavour == FLAVOUR_MARIADB && held && !strcmp(held->name, s->file) && !s->file_pending) {
        snprintf(s->torn_file, sizeof s->torn_file, "%s", s->file);
    }
}

static void stream_error(struct source *s, const struct stream_packet *sp)
{
    if (!s->located && source_permanent(sp)) {
        source_refused(s, "it cannot give %s from position %llu on: %s", s->file[0] ? s->file : "its oldest file",
                       (unsigned long long)s->position, sp->message);
        return;
    }
    if (sp->code == 1236 && strstr(sp->message, "binlog truncated in the middle of event")) {
        source_stream_stuck(s);
    }
    source_failed(s, (uint16_t)sp->code, "the source refuses to go on: %s (%u)", sp->message, sp->code);
}

void source_stream_packet(struct source *s, const struct packet *p)
{
    struct stream_packet sp;
    struct errmsg em;
    if (stream_parse(p, s->peer.semi_sync, &sp, &em)) {
        source_failed(s, 0, "a packet of the binlog stream cannot be read: %s", em.text);
        return;
    }
    switch (sp.kind) {
    case STREAM_END:
        source_failed(s, 0, "the source ended the stream (it is shutting down, or another replica has our identity)");
        break;
    case STREAM_ERROR:
        stream_error(s, &sp);
        break;
    case STREAM_EVENT:
        take_event(s, sp.event, sp.n, sp.wants_ack);
        break;
    }
}

static void throttle(struct source *s);

static void store_drained(void *arg)
{
    struct source *s = arg;
    s->draining = false;
    if (s->status.phase == SOURCE_STREAMING) {
        throttle(s);
    }
}

/* The socket is not read while too much waits, for the log or (a disk that is slower than the log's) for the binlog files. */
static void throttle(struct source *s)
{
    struct store *store = cluster_store(s->cluster);
    bool slow = store_pending(store) > SOURCE_STORE_MAX;
    bool pause = s->in_flight > SOURCE_IN_FLIGHT_MAX || slow;
    if (slow && !s->draining) {
        s->draining = true;
        store_drain(store, store_drained, s);
    }
    if (s->stream && pause != s->paused) {
        s->paused = pause;
        env_stream_pause(s->stream, pause);
    }
}

/* File names grow: a longer name is newer, of equal ones the greater. */
static bool reached_the_end(const struct source *s)
{
    size_t a = strlen(s->file), b = strlen(s->peer.end_file);
    int order = a != b ? (a < b ? -1 : 1) : strcmp(s->file, s->peer.end_file);
    return order > 0 || (order == 0 && s->position >= s->peer.end_position);
}

void source_stream_flush(struct source *s)
{
    if (s->status.catching_up && reached_the_end(s) && !txn_is_open(&s->txn) && !s->batch.bytes.len && !s->flights) {
        env_log(s->loop, ENV_INFO, "source: caught up file=%s position=%llu; connecting with semi-sync", s->file,
                (unsigned long long)s->position);
        source_again(s);
        return;
    }
    if (s->status.phase == SOURCE_STREAMING && !s->flights && s->batch.complete && !s->file_pending) {
        propose_batch(s);
    }
    throttle(s);
}

void source_stream_end(struct source *s)
{
    begin_batch(s);
    s->file_pending = false;
    s->located = false;
    s->paused = false;
    s->peer.semi_sync = false;
}
