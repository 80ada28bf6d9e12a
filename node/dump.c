/* dump.c: a dump's life: read, send, wait; for the replica, for more, for a heartbeat's time.
 *
 * Happy path: events go from the reader to the wire until its share of memory waits for the replica;
 * drained() goes on. The share is what one may have, or less where many do not read: an eighth of what is left for
 * all, so that slow ones cannot take it from the others. A large event goes in pieces, each as large as there is
 * room; until the last one nothing else can be said, so an end in between comes without a word. A slow one gives
 * back its read buffer as well. At the watermark it waits for changed(). While nothing comes a heartbeat tells the
 * replica that we live. What it asked for may not be here yet: then it waits in the same way, and opens its reader at
 * changed().
 *
 * Failure: dump_error.c. A replica that vanishes is found by its stream (TCP keepalive, or the next
 * heartbeat). */
#include "node/dump_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/result.h"
#include "storage/filelist.h"

#include <stdio.h>
#include <string.h>

/* ---- sending ---- */

/* Bytes written that have not left; past it nothing is read. */
static size_t share(const struct dump *d)
{
    const struct serve_anchor *anchor = d->session->worker->anchor;
    size_t each = anchor->queue_each, all = anchor->queue_all, others = anchor->queued - d->queued;
    size_t part = others < all ? (all - others) / 8 : 0;
    each = each < part ? each : part;
    return each > DUMP_QUEUE_MIN ? each : DUMP_QUEUE_MIN;
}

/* After what was put has left, or has not. */
static void account(struct dump *d)
{
    size_t queued = dump_is_over(d) ? 0 : env_stream_pending(d->session->stream);
    atomic_fetch_add(&d->session->worker->anchor->queued, queued - d->queued);
    d->queued = queued;
}

/* Bytes that may be put now; 0: too few for an event, or a piece of one. */
static size_t room(const struct dump *d)
{
    size_t used = env_stream_pending(d->session->stream) + d->put, all = share(d);
    return used + DUMP_EVENT < all ? all - used : 0;
}

static void flush(struct dump *d)
{
    d->put = 0;
    session_flush(d->session);
    account(d);
}

static void at_end(struct dump *d)
{
    const char *file;
    uint64_t end;
    if (reader_take_skipped(d->reader, &file, &end)) {
        dump_take_skipped(d, file, end);
    }
    dump_until_look(d);
    if (dump_is_over(d)) {
        return;
    }
    dump_settle_skipped(d);
    d->moved = d->moved || !d->level;
    d->level = true;
    if (d->non_block && !dump_is_over(d)) {
        dump_finish(d);
    }
}

/* A reader by position came to the end of what its source wrote: it goes on at the first transaction of the next era that it has not seen
 * yet. Until that is there it stays where it is. */
static int cross_era(struct dump *d)
{
    struct errmsg em = {""};
    if (d->era) { /* it takes the next one's files whole, into an era of its own: it has to ask anew */
        (void)err_set(&em, E_CLOSED, "the era ends here, and the next one has another source");
        dump_drop(d, E_CLOSED, &em);
        return 0;
    }
    int rv = d->next_era ? 0 : reader_open_next_era(d->reader, &d->next_era, &em);
    rv = rv ? rv : reader_find_new(d->next_era, &em);
    if (rv < 0) {
        dump_drop(d, rv, &em);
    } else if (rv > 0) {
        reader_close(d->reader);
        d->reader = d->next_era;
        d->next_era = NULL;
        reader_cut_large(d->reader, DUMP_EVENT);
        d->announced = false;
    }
    return rv;
}

static void reader_failed(struct dump *d, int rv, const struct errmsg *em)
{
    if (rv == READER_DIVERGED && d->ahead) {
        dump_drop(d, rv, em); /* by what is here; the leader has not said so. It comes again */
    } else if (rv == READER_DIVERGED || rv == READER_HOLE) {
        dump_fail_gtid(d, rv, reader_asked(d->reader));
    } else if (rv == READER_PURGED && d->gtid_flavour == FLAVOUR_NONE) {
        dump_fail(d, DUMP_ERROR_NO_NEXT); /* by GTID it may lack nothing (it was ahead of this node, which has fetched files): it comes again */
    } else {
        dump_drop(d, rv, em);
    }
}

/* Takes a step, of at most `max` bytes if it can: > 0, 0 at the end of what is visible, an error. */
static int advance(struct dump *d, size_t max, struct errmsg *em)
{
    struct reader_event ev;
    if (d->left) {
        int rv = dump_put_piece(d, max, em);
        return rv ? rv : 1;
    }
    int rv = reader_next(d->reader, &ev, em);
    if (rv > 0) {
        d->level = false;
        dump_put_event(d, &ev);
    }
    return rv;
}

static void pump(struct dump *d)
{
    struct errmsg em = {""};
    if (dump_is_over(d) || d->judging || (!d->reader && !dump_open(d))) {
        if (!dump_is_over(d)) {
            flush(d);
        }
        return;
    }
    int rv = 1;
    size_t max;
    while (!dump_is_over(d) && rv != 0 && (max = room(d)) > 0) {
        rv = advance(d, max, &em);
        rv = rv == READER_ERA_END ? cross_era(d) : rv;
        if (dump_is_over(d)) {
            break;
        }
        if (rv == READER_INDEXING) { /* changed() comes when it is there */
            rv = 0;
            break;
        }
        if (rv < 0) {
            reader_failed(d, rv, &em);
        } else if (rv == 0) {
            at_end(d);
        }
        if (d->last && !d->left && !d->inside && !dump_is_over(d)) {
            session_stop(d->session, END_SHUTDOWN);
        }
    }
    if (dump_is_over(d)) {
        return;
    }
    d->stalled = rv != 0;
    if (rv == 0) {
        reader_rest(d->reader);
    }
    flush(d);
    if (d->moved && !dump_is_over(d)) {
        worker_dump_moved(d);
    }
}

void dump_changed(struct dump *d)
{
    if (!d->stalled) {
        pump(d);
    }
}

void dump_rest(struct dump *d)
{
    if (d->stalled && d->reader) {
        reader_rest(d->reader);
    }
}

void dump_drained(struct dump *d)
{
    account(d);
    if (d->stalled) {
        d->stalled = false;
        pump(d);
    }
}

/* ---- heartbeats ---- */

static void beat(struct dump *d)
{
    if (d->reader) { /* not where the reader stands: it may be in a file that was not announced yet */
        if (d->at > EVENT_MAGIC_SIZE) { /* never before a file's format description, which may not have come yet */
            dump_put_heartbeat(d, d->at_file, d->at);
        }
    } else if (d->announced_asked && dump_put_stand_in(d)) {
        dump_put_heartbeat(d, d->file, d->position);
    }
    if (!dump_is_over(d)) {
        flush(d);
    }
}

/* Only while waiting: what is queued is a sign of life too, and would be cut through in the middle of a
 * transaction. */
static void timer_fired(struct env_timer *timer)
{
    struct dump *d = CONTAINER_OF(timer, struct dump, timer);
    uint64_t now = env_now(d->session->env), due = d->last_sent + d->period;
    if (dump_is_over(d)) {
        return;
    }
    if (now >= due) {
        if (!d->stalled && env_stream_pending(d->session->stream) == 0) {
            beat(d);
        }
        due = now + d->period;
    }
    if (!dump_is_over(d)) {
        env_timer_start(&d->timer, due - now);
    }
}

/* ---- life ---- */

/* Called by dump_command with all that was asked for filled in. */
void dump_begin(struct dump *d)
{
    struct session *s = d->session;
    char who[400];
    int rv = env_timer_open(s->env, &d->timer, timer_fired);
    s->dump = d;
    s->state = SESSION_DUMPING;
    if (rv) {
        struct errmsg em;
        (void)err_set(&em, rv, "cannot start a timer: %s", err_text(rv));
        dump_drop(d, rv, &em);
        return;
    }
    wire_seq_apart(s->wire, true);
    d->since_wall = env_wall(s->env);
    d->last_sent = env_now(s->env);
    if (d->period) {
        env_timer_start(&d->timer, d->period);
    }
    session_name(s, who, sizeof who);
    env_log(s->env, ENV_INFO,
            "dump begins id=%lu who=%s server_id=%lu uuid=%s mode=%s file=%s position=%llu semi_sync=%d",
            (unsigned long)s->sql.connection_id, who, (unsigned long)d->server_id, d->uuid[0] ? d->uuid : "-",
            d->mode == DUMP_BY_POSITION ? "position" : "gtid", d->file[0] ? d->file : "-",
            (unsigned long long)d->position, (int)d->semi_sync);
    worker_dump_begins(d);
    if (d->mode == DUMP_BY_GTIDS && s->worker->control->errant && !gtid_set_is_empty(d->have) && d->server_id) {
        d->judging = true;
        worker_dump_has(d, d->have);
    }
    pump(d);
}

void dump_judged(struct dump *d, enum serve_verdict verdict, const struct gtid_set *gtids)
{
    d->ahead = verdict != SERVE_LEVEL;
    if (verdict == SERVE_ERRANT) {
        if (wire_is_open(d->session->wire)) {
            session_end(d->session); /* in the middle of an event nothing else can be said */
        } else {
            dump_fail_errant(d, gtids);
        }
    } else if (d->judging) {
        d->judging = false;
        pump(d);
    }
}

bool dump_finish_transaction(struct dump *d)
{
    d->last = d->left || d->inside;
    return d->last;
}

void dump_stop(struct dump *d, enum session_end_reason why)
{
    if (wire_is_open(d->session->wire)) {
        return; /* it would be taken for a part of the event */
    }
    if (why == END_DUPLICATE) {
        dump_put_error(d, DUMP_ERROR_DUPLICATE);
    } else if (why == END_SHUTDOWN && d->session->worker->view->flavour != FLAVOUR_MARIADB) {
        put_eof(d->session->wire, STATUS_AUTOCOMMIT, 0); /* as MySQL's sources do */
    }
}

void dump_unlink(struct dump *d)
{
    if (d->link) {
        *d->link = d->next;
        if (d->next) {
            d->next->link = d->link;
        }
        d->link = NULL;
    }
    account(d);
    env_timer_close(&d->timer);
    reader_close(d->reader);
    reader_close(d->next_era);
    d->reader = d->next_era = NULL;
    env_log(d->session->env, ENV_INFO,
            "dump ends id=%lu peer=%s server_id=%lu file=%s position=%llu events=%llu",
            (unsigned long)d->session->sql.connection_id, d->session->peer, (unsigned long)d->server_id,
            d->at_file[0] ? d->at_file : "-", (unsigned long long)d->at, (unsigned long long)d->events);
}

void dump_link(struct dump *d, struct dump **head)
{
    d->next = *head;
    d->link = head;
    if (d->next) {
        d->next->link = &d->next;
    }
    *head = d;
}

struct dump *dump_next(struct dump *d)
{
    return d->next;
}

struct session *dump_session(struct dump *d)
{
    return d->session;
}

void dump_free(struct dump *d)
{
    if (d) {
        gtid_set_free(d->have);
        gtid_set_free(d->state);
        gtid_set_free(d->until_all);
        mem_free(d->until);
        buf_free(&d->scratch);
        mem_free(d);
    }
}

bool dump_take_moved(struct dump *d)
{
    bool moved = d->moved;
    d->moved = false;
    return moved;
}

void dump_report(const struct dump *d, struct serve_replica *r)
{
    const struct session *s = d->session;
    *r = (struct serve_replica){.connection_id = s->sql.connection_id,
                                .server_id = d->server_id,
                                .gtid = d->mode != DUMP_BY_POSITION,
                                .position = d->at_file[0] ? d->at : d->position,
                                .level = d->level,
                                .since_wall = d->since_wall};
    snprintf(r->uuid, sizeof r->uuid, "%s", d->uuid);
    snprintf(r->user, sizeof r->user, "%s", s->sql.user);
    snprintf(r->peer, sizeof r->peer, "%s", s->peer);
    snprintf(r->file, sizeof r->file, "%.255s", d->at_file[0] ? d->at_file : d->file);
    r->era = d->at_era;
    r->waits = !r->era && d->announced_asked;
    if (s->registered) {
        r->registered = true;
        snprintf(r->host, sizeof r->host, "%.63s", s->registered->host);
        r->port = s->registered->port;
    }
}
