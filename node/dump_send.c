/* dump_send.c: what a source puts between the events of its files, and what it leaves out of them.
 *
 * Stored events leave as they are; the format description alone is altered, where a replica must not think
 * that the source was restarted or that it stands at the start of a file. Before each file a ROTATE of our
 * own names it. Where transactions were left out, the replica's position is moved past them: by a heartbeat
 * (MySQL) or a GTID_LIST (MariaDB). Events of our own carry the checksum that the last format description
 * announced. */
#include "node/dump_impl.h"

#include "protocol/base/check.h"

#include <stdio.h>
#include <string.h>

void dump_put(struct dump *d, const uint8_t *event, size_t n)
{
    /* An error is sticky in the wire's output: session_flush ends the session. */
    (void)stream_put_event(d->session->wire, d->semi_sync, false, event, n);
    d->put += n;
    d->last_sent = env_now(d->session->env);
}

void dump_put_stored(struct dump *d, const struct reader_event *ev)
{
    if (!ev->in_pieces) {
        dump_put(d, ev->bytes, ev->n);
        return;
    }
    (void)stream_open_event(d->session->wire, d->semi_sync, ev->n);
    d->left = ev->n;
    d->ends = ev->ends_transaction;
}

int dump_put_piece(struct dump *d, size_t max, struct errmsg *em)
{
    const uint8_t *bytes;
    size_t n;
    int rv = reader_more(d->reader, max, &bytes, &n, em);
    if (rv) {
        return rv;
    }
    (void)wire_more(d->session->wire, bytes, n);
    d->put += n;
    d->left -= n;
    d->last_sent = env_now(d->session->env);
    if (d->left == 0 && d->ends) {
        dump_until_look(d);
    }
    return 0;
}

static uint32_t own_id(const struct dump *d)
{
    return d->session->worker->view->server_id;
}

/* ---- events of our own ---- */

static void put_scratch(struct dump *d)
{
    if (d->scratch.err) {
        struct errmsg em;
        (void)err_set(&em, d->scratch.err, "cannot build an event: %s", err_text(d->scratch.err));
        dump_drop(d, d->scratch.err, &em);
        return;
    }
    dump_put(d, d->scratch.data, d->scratch.len);
}

void dump_put_rotate(struct dump *d, const char *file, uint64_t position)
{
    buf_reset(&d->scratch);
    event_build_rotate(&d->scratch, own_id(d), d->checksum, file, position);
    put_scratch(d);
}

void dump_put_heartbeat(struct dump *d, const char *file, uint64_t position)
{
    buf_reset(&d->scratch);
    if (d->heartbeat_v2 && !d->old_format) {
        event_build_heartbeat_v2(&d->scratch, own_id(d), d->checksum, file, position);
    } else {
        event_build_heartbeat(&d->scratch, own_id(d), d->checksum, file, position);
    }
    put_scratch(d);
}

void dump_put_format(struct dump *d, const struct event_format *format, const uint8_t *event, size_t n,
                     unsigned how)
{
    struct errmsg em = {""};
    if (format->checksum != CHECKSUM_NONE && !d->knows_checksums) {
        dump_fail(d, DUMP_ERROR_CHECKSUM);
        return;
    }
    if (d->created_0) {
        how |= EVENT_FDE_CREATED_0;
        d->created_0 = d->gtid_flavour == FLAVOUR_MYSQL; /* MariaDB: the first one only */
    }
    buf_reset(&d->scratch);
    int rv = event_build_format(&d->scratch, event, n, how, &em);
    if (rv) {
        dump_drop(d, rv, &em);
        return;
    }
    put_scratch(d);
    d->old_format = format->post_header_count < EVENT_HEARTBEAT_V2;
    d->checksum = format->checksum == CHECKSUM_NONE ? CHECKSUM_NONE : CHECKSUM_CRC32;
}

/* ---- what was left out ---- */

void dump_take_skipped(struct dump *d, const char *file, uint64_t end)
{
    d->skipped = true;
    snprintf(d->skipped_file, sizeof d->skipped_file, "%s", file);
    d->skipped_end = end;
}

/* The state here is the binlog's, which the replica's position is a part of by now. */
static void put_gtid_list(struct dump *d)
{
    gtid_set_union(d->state, d->have);
    buf_reset(&d->scratch);
    event_build_gtid_list(&d->scratch, own_id(d), d->checksum, d->state, 0, d->skipped_end);
    put_scratch(d);
}

void dump_put_until_reached(struct dump *d)
{
    buf_reset(&d->scratch);
    event_build_gtid_list(&d->scratch, own_id(d), d->checksum, d->until_all, GTID_LIST_UNTIL_REACHED, d->at);
    put_scratch(d);
}

/* A replica that goes by position counts in events: only a ROTATE moves it. */
static void put_place(struct dump *d)
{
    const uint8_t *fde;
    size_t n;
    const struct event_format *format = reader_format(d->reader, &fde, &n);
    dump_put_rotate(d, d->skipped_file, d->skipped_end);
    if (format && !dump_is_over(d)) {
        dump_put_format(d, format, fde, n, EVENT_FDE_CREATED_0 | EVENT_FDE_LOG_POS_0);
    }
}

void dump_settle_skipped(struct dump *d)
{
    if (!d->skipped) {
        return;
    }
    d->skipped = false;
    if (d->gtid_flavour == FLAVOUR_MARIADB) {
        put_gtid_list(d);
    } else if (d->mode == DUMP_BY_POSITION) {
        put_place(d);
    } else {
        dump_put_heartbeat(d, d->skipped_file, d->skipped_end);
    }
    uint64_t era, offset;
    const char *file;
    reader_where(d->reader, &era, &file, &offset);
    d->at_era = strcmp(file, d->skipped_file) == 0 ? era : d->at_era;
    snprintf(d->at_file, sizeof d->at_file, "%s", d->skipped_file);
    d->at = d->skipped_end;
}

/* ---- stored events ---- */

/* Transactions that this dump leaves out by itself: those that the replica has, where the reader goes by
 * position; tagged ones for a replica that does not know tags; what stands behind UNTIL. True: the event
 * belongs to one. */
static bool leaves_out(struct dump *d, const struct reader_event *ev)
{
    if (event_is_gtid(ev->type) && (d->mode == DUMP_BY_POSITION_AND_GTIDS || d->skip_tagged || d->until)) {
        const uint8_t *fde;
        size_t n;
        struct event_gtid g;
        const struct event_format *format = reader_format(d->reader, &fde, &n);
        if (format && event_gtid_read(format, ev->bytes, ev->n, &g, NULL) == 0) {
            bool has = d->mode == DUMP_BY_POSITION_AND_GTIDS && g.gtid.flavour == FLAVOUR_MYSQL &&
                       gtid_set_contains(d->have, &g.gtid);
            d->leaving_out = has || (d->skip_tagged && g.gtid.tag[0]) ||
                             (d->until && dump_until_leaves_out(d, &g.gtid));
        }
    }
    if (!d->leaving_out) {
        return false;
    }
    if (ev->ends_transaction) {
        d->leaving_out = false;
        dump_take_skipped(d, ev->file, ev->end);
    }
    return true;
}

static void follow_state(struct dump *d, const struct reader_event *ev, const struct event_format *format)
{
    struct event_gtid g;
    if (ev->type == EVENT_GTID_LIST) {
        (void)event_gtid_list_read(format, ev->bytes, ev->n, d->state, NULL, NULL);
    } else if (ev->type == EVENT_MARIADB_GTID && event_gtid_read(format, ev->bytes, ev->n, &g, NULL) == 0) {
        (void)gtid_set_add(d->state, &g.gtid);
    }
}

static void announce(struct dump *d, const struct reader_event *ev, const struct event_format *format,
                     const uint8_t *fde, size_t n)
{
    /* a reader that opened at the very end of a file may show the next one first: that is news */
    bool known = d->announced && strcmp(ev->file, d->at_file) == 0;
    d->announced = false;
    if (known) {
        return;
    }
    dump_put_rotate(d, ev->file, ev->start);
    if (ev->type != EVENT_FORMAT_DESCRIPTION && format) {
        dump_put_format(d, format, fde, n, EVENT_FDE_CREATED_0 | EVENT_FDE_LOG_POS_0);
    }
}

void dump_put_event(struct dump *d, const struct reader_event *ev)
{
    const uint8_t *fde;
    size_t n;
    const struct event_format *format = reader_format(d->reader, &fde, &n);
    CHECK(format); /* no event is shown before it */
    if (ev->skipped) {
        dump_take_skipped(d, ev->skipped_file, ev->skipped_end);
    }
    if (d->until && event_is_gtid(ev->type)) {
        dump_until_look(d);
    }
    if (dump_is_over(d) || leaves_out(d, ev)) {
        return;
    }
    dump_settle_skipped(d);
    if (!dump_is_over(d) && ev->new_file) {
        announce(d, ev, format, fde, n);
    }
    if (dump_is_over(d)) {
        return;
    }
    d->at = ev->end;
    d->at_era = ev->era;
    snprintf(d->at_file, sizeof d->at_file, "%s", ev->file);
    d->events++;
    d->moved = true;
    d->inside = ev->inside;
    if (ev->type == EVENT_FORMAT_DESCRIPTION) {
        dump_put_format(d, format, ev->bytes, ev->n, EVENT_FDE_AS_IS);
    } else if (ev->type == EVENT_ANONYMOUS_GTID && d->gtid_flavour == FLAVOUR_MYSQL) {
        dump_fail_anonymous(d, ev);
    } else {
        if (d->state) {
            follow_state(d, ev, format);
        }
        dump_put_known(d, ev, format);
        if (ev->ends_transaction && !d->left && !dump_is_over(d)) {
            dump_until_look(d);
        }
    }
}
