/* replica_stream.c: a simulated replica compares what it is sent with the truth. See replica_sim.h.
 *
 * Happy path: ROTATE says where; from there on each event is the one that stands there in the source's file.
 * Parts may be left out only when the replica has all transactions in them, and (MySQL) a heartbeat says so.
 * A transaction counts when its last event is in. */
#include "tests/sim/replica_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int breach(struct replica_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int breach(struct replica_run *run, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    const struct history *h = run->replica->truth;
    run->placed = run->placed && !run->replica->options.expects;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (replica_lives(run)) {
        sim_fail(run->replica->sim, "%s, at %s %" PRIu64 ": %s", sim_host_name(run->replica->host),
                 run->placed ? h->files[run->file]->name : "(nowhere)", run->pos, text);
    }
    replica_again(run, "%s", text);
    return E_CORRUPT;
}

void replica_stream_begin(struct replica_run *run)
{
    run->state = REPLICA_STREAM;
    run->seq = 1;
    run->has_format = run->placed = run->in_txn = false;
    event_format_init(&run->format, run->replica->options.flavour, CHECKSUM_CRC32);
    txn_init(&run->txn);
    wire_seq_apart(run->wire, true);
    env_timer_start(&run->timer, 5 * ENV_S);
}

/* The server leaves out all that stands before `pos`. */
static int skip_to(struct replica_run *run, uint64_t pos)
{
    struct replica_sim *r = run->replica;
    if (pos == run->pos) {
        return 0;
    }
    if (run->in_txn) {
        return breach(run, "a jump to %" PRIu64 " within a transaction", pos);
    }
    if (pos < run->pos || pos > r->truth->files[run->file]->bytes.len ||
        !history_is_boundary(r->truth, run->file, pos)) {
        return breach(run, "a jump to %" PRIu64 ", where nothing begins", pos);
    }
    size_t before = history_txns_before(r->truth, run->file, pos);
    if (before > r->received) {
        return breach(run, "gap: a jump to %" PRIu64 " leaves out transactions %zu to %zu", pos, r->received,
                      before - 1);
    }
    run->pos = pos;
    return 0;
}

static int take_rotate(struct replica_run *run, const uint8_t *event, size_t n)
{
    struct replica_sim *r = run->replica;
    struct event_rotate rotate;
    struct errmsg em;
    size_t file;
    if (event_rotate_read(&run->format, event, n, &rotate, &em)) {
        return breach(run, "an artificial ROTATE that cannot be read: %s", em.text);
    }
    if (run->in_txn) {
        return breach(run, "a ROTATE to %s within a transaction", rotate.name);
    }
    if (!history_find(r->truth, rotate.name, &file)) {
        return breach(run, "a ROTATE to %s, which does not exist", rotate.name);
    }
    if (run->placed && file != run->file) {
        size_t before = history_txns_before(r->truth, file, 0);
        if (file < run->file || before > r->received) {
            return breach(run, "gap: a ROTATE to %s with %zu of %zu transactions received", rotate.name,
                          r->received, before);
        }
    }
    run->placed = true;
    run->file = file;
    run->pos = rotate.pos;
    if (replica_lives(run) && file > r->from && r->received >= history_txns_before(r->truth, file, 0)) {
        r->from = file; /* it does not come back for the end of the file before */
    }
    run->has_format = false;
    return 0;
}

static int take_format(struct replica_run *run, const struct event_header *header, const uint8_t *event,
                       size_t n)
{
    const struct buf *bytes = &run->replica->truth->files[run->file]->bytes;
    uint8_t mine[EVENT_FORMAT_MAX], theirs[EVENT_FORMAT_MAX];
    struct errmsg em;
    if (n > sizeof mine || bytes->len < EVENT_MAGIC_SIZE + n) {
        return breach(run, "a format description of %zu bytes", n);
    }
    if (event_format_read(event, n, &run->format, &em)) {
        return breach(run, "a format description that cannot be read: %s", em.text);
    }
    if (header->flags & EVENT_FLAG_IN_USE) {
        return breach(run, "a format description with the in-use bit");
    }
    memcpy(mine, event, n);
    memcpy(theirs, bytes->data + EVENT_MAGIC_SIZE, n);
    memset(mine + 17, 0, 2); /* flags */
    memset(theirs + 17, 0, 2);
    bool middle = header->log_pos == 0;
    if (run->format.created == 0 || middle) { /* created, checksum */
        memset(theirs + 71, 0, 4);
        memcpy(theirs + n - 4, mine + n - 4, 4);
    }
    if (middle) { /* one of another file may stand in for it while this one is waited for */
        memset(theirs + 13, 0, 4);
        memset(mine, 0, 4);
        memset(theirs, 0, 4);
    }
    if (memcmp(mine, theirs, n) != 0) {
        return breach(run, "a format description that differs from the source's");
    }
    if (!middle && run->pos != EVENT_MAGIC_SIZE) {
        return breach(run, "a format description with log_pos=%u", (unsigned)header->log_pos);
    }
    run->pos += middle ? 0 : n;
    run->has_format = true;
    return 0;
}

static int take_heartbeat(struct replica_run *run, const uint8_t *event, size_t n)
{
    struct event_rotate at;
    struct errmsg em;
    if (event_heartbeat_read(&run->format, event, n, &at, &em)) {
        return breach(run, "a heartbeat that cannot be read: %s", em.text);
    }
    if (!run->placed || strcmp(at.name, run->replica->truth->files[run->file]->name) != 0) {
        return breach(run, "a heartbeat of file %s", at.name);
    }
    if (run->in_txn) {
        return breach(run, "a heartbeat within a transaction");
    }
    return skip_to(run, at.pos);
}

/* An event that stands in the file. */
static int take_event(struct replica_run *run, const struct event_header *header, const uint8_t *event,
                      size_t n)
{
    struct replica_sim *r = run->replica;
    struct history *h = r->truth;
    const struct buf *bytes = &h->files[run->file]->bytes;
    size_t next = r->received;
    if (r->options.flavour == FLAVOUR_MARIADB && header->log_pos >= n && skip_to(run, header->log_pos - n)) {
        return E_CORRUPT;
    }
    if (run->pos > bytes->len || n > bytes->len - run->pos || memcmp(bytes->data + run->pos, event, n) != 0) {
        return breach(run, "%s of %zu bytes differs from what the source has there",
                      event_type_name(header->type), n);
    }
    if (event_is_gtid(header->type)) {
        if (run->in_txn) {
            return breach(run, "a transaction begins within another");
        }
        if (next >= h->n_txns || h->txns[next].file != run->file || h->txns[next].start != run->pos) {
            size_t got = history_txns_before(h, run->file, run->pos);
            return breach(run, "%s: transaction %zu comes where %zu is next",
                          got < next ? "duplicate" : "gap", got, next);
        }
        if (r->options.ceiling && next >= r->options.ceiling(r->options.ceiling_arg)) {
            return breach(run, "transaction %zu comes before the node can have all of it", next);
        }
        run->in_txn = true;
    }
    run->pos += n;
    if (run->in_txn && run->pos == h->txns[next].end) {
        run->in_txn = false;
        if (replica_lives(run)) {
            r->received++;
            r->seen = r->received > r->seen ? r->received : r->seen;
        }
    }
    return 0;
}

static int judge_event(struct replica_run *run, const uint8_t *event, size_t n)
{
    struct event_header header;
    struct errmsg em;
    if (event_header_read(event, n, &header, &em) || event_crc_check(&run->format, event, n, &em)) {
        return breach(run, "an event that cannot be read: %s", em.text);
    }
    if (header.type == EVENT_ROTATE && (header.flags & EVENT_FLAG_ARTIFICIAL)) {
        return take_rotate(run, event, n);
    }
    if (!run->placed) {
        return breach(run, "%s before any ROTATE", event_type_name(header.type));
    }
    if (header.type == EVENT_FORMAT_DESCRIPTION) {
        return take_format(run, &header, event, n);
    }
    bool heartbeat = header.type == EVENT_HEARTBEAT || header.type == EVENT_HEARTBEAT_V2;
    if (!run->has_format) {
        return breach(run, "%s before the format description", event_type_name(header.type));
    }
    if (heartbeat) {
        return take_heartbeat(run, event, n);
    }
    if (header.type == EVENT_GTID_LIST && (header.flags & EVENT_FLAG_ARTIFICIAL)) {
        return skip_to(run, header.log_pos);
    }
    if (header.flags & EVENT_FLAG_ARTIFICIAL) {
        return breach(run, "an artificial %s", event_type_name(header.type));
    }
    return take_event(run, &header, event, n);
}

/* By GTID alone, whatever file it comes from. */
static int judge_crossing(struct replica_run *run, const uint8_t *event, size_t n)
{
    struct replica_sim *r = run->replica;
    struct event_header header;
    struct event_gtid g;
    struct gtid wanted;
    struct errmsg em;
    char text[GTID_TEXT_SIZE];
    if (event_header_read(event, n, &header, &em) || event_crc_check(&run->format, event, n, &em) ||
        (header.type == EVENT_FORMAT_DESCRIPTION && event_format_read(event, n, &run->format, &em))) {
        return breach(run, "an event that cannot be read: %s", em.text);
    }
    if (header.type == EVENT_ROTATE || header.type == EVENT_FORMAT_DESCRIPTION || header.type == EVENT_HEARTBEAT || header.type == EVENT_HEARTBEAT_V2 ||
        (header.flags & EVENT_FLAG_ARTIFICIAL)) {
        return txn_is_open(&run->txn) ? breach(run, "%s within a transaction", event_type_name(header.type)) : 0;
    }
    if (event_is_gtid(header.type)) {
        if (event_gtid_read(&run->format, event, n, &g, &em)) {
            return breach(run, "a GTID that cannot be read: %s", em.text);
        }
        gtid_text(&g.gtid, text, sizeof text);
        if (!r->options.expects(r->options.expects_arg, r->received, &wanted) || !gtid_equal(&g.gtid, &wanted)) {
            return breach(run, "%s is not its transaction %zu: it has it, or lacks one before it, or nobody may send it", text, r->received);
        }
    }
    int rv = txn_feed(&run->txn, &run->format, event, n, &em);
    if (rv < 0) {
        return breach(run, "a transaction that is none: %s", em.text);
    }
    if (rv == TXN_END && replica_lives(run)) {
        r->received++;
        r->seen = r->received > r->seen ? r->received : r->seen;
    }
    return 0;
}

/* After an event that asks for an ACK the server counts from 1 again. */
static int judge_sequence(struct replica_run *run, const struct packet *p, bool asks)
{
    if (p->seq != run->seq) {
        return breach(run, "a packet with sequence number %u where %u is next", (unsigned)p->seq,
                      (unsigned)run->seq);
    }
    run->seq = (uint8_t)(run->seq + 1 + p->len / PACKET_FRAGMENT);
    if (asks) {
        run->seq = 1;
    }
    return 0;
}

int replica_stream_packet(struct replica_run *run, const struct packet *p)
{
    struct replica_sim *r = run->replica;
    struct stream_packet s;
    struct errmsg em;
    if (stream_parse(p, run->semi_sync, &s, &em)) {
        return breach(run, "a packet that cannot be read: %s", em.text);
    }
    if (judge_sequence(run, p, s.kind == STREAM_EVENT && s.wants_ack)) {
        return E_CORRUPT;
    }
    if (s.kind == STREAM_EVENT) {
        r->served = sim_now(r->sim);
    }
    if (s.kind == STREAM_ERROR) {
        if (s.code == ER_DUMP_FATAL && replica_lives(run) && replica_set_up(r)) {
            replica_again(run, "set up again: %.200s", s.message);
            return E_PEER;
        }
        r->refusals += s.code == ER_DUMP_FATAL && replica_lives(run);
        if (s.code == ER_DUMP_FATAL && !r->options.tolerate_1236) {
            return breach(run, "error 1236, which ends a replica for good: %s", s.message);
        }
        replica_again(run, "error %u: %s", s.code, s.message);
        return E_PEER;
    }
    if (s.kind == STREAM_END) {
        replica_again(run, "the stream ended");
        return E_CLOSED;
    }
    int rv = r->options.expects ? judge_crossing(run, s.event, s.n) : judge_event(run, s.event, s.n);
    if (rv == 0 && s.wants_ack) {
        if (run->in_txn) {
            return breach(run, "an ACK is asked for within a transaction");
        }
        semisync_ack_put(run->wire, r->truth->files[run->file]->name, run->pos);
    }
    return rv;
}
