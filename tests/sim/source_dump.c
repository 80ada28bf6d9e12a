/* source_dump.c: what a simulated source streams, and what it makes of ACKs.
 *
 * Happy path: fake ROTATE, the file's format description, events as they stand in the file, fake ROTATE at
 * the next file, heartbeats when there is nothing else. With semi-sync the last event of a transaction (in
 * MySQL: of a group commit) asks for an ACK, unless it is old or covered already. Failure: a request that a
 * real source refuses is answered with its error; an ACK or a request that could make a real source forget to
 * wait is a sim_fail. */
#include "tests/sim/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <string.h>

static struct source_sim *source_of(struct session *s)
{
    return s->run->source;
}

static void refuse(struct session *s, unsigned code, const char *text)
{
    env_log(s->run->env, ENV_INFO, "dump refused code=%u: %s", code, text);
    put_err_text(s->wire, code, NULL, text);
    s->over = true;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static void put(struct session *s, bool ask, const void *event, size_t n)
{
    stream_put_event(s->wire, s->semi_sync, ask, event, n);
}

static void put_built(struct session *s, struct buf *event)
{
    CHECK(!event->err);
    put(s, false, event->data, event->len);
    buf_free(event);
}

static void put_rotate(struct session *s, uint64_t pos)
{
    struct source_sim *source = source_of(s);
    struct buf event;
    buf_init(&event, 1024);
    event_build_rotate(&event, source->options.server_id, CHECKSUM_CRC32,
                       source->history->files[s->file]->name, pos);
    put_built(s, &event);
}

static void put_format(struct session *s, unsigned how)
{
    const struct buf *bytes = &source_of(s)->history->files[s->file]->bytes;
    struct event_header header;
    struct buf event;
    buf_init(&event, EVENT_FORMAT_MAX);
    int rv = event_peek(bytes->data + EVENT_MAGIC_SIZE, bytes->len - EVENT_MAGIC_SIZE, &header, NULL);
    CHECK(rv == 0);
    rv = event_build_format(&event, bytes->data + EVENT_MAGIC_SIZE, header.size, how, NULL);
    CHECK(rv == 0);
    put_built(s, &event);
}

/* For a start in the middle: that of the file, with log_pos 0. */
static void put_encryption(struct session *s)
{
    const struct buf *bytes = &source_of(s)->history->files[s->file]->bytes;
    struct event_header format, header;
    struct buf event;
    buf_init(&event, EVENT_FORMAT_MAX);
    int rv = event_peek(bytes->data + EVENT_MAGIC_SIZE, bytes->len - EVENT_MAGIC_SIZE, &format, NULL);
    size_t at = EVENT_MAGIC_SIZE + format.size;
    rv = rv ? rv : event_peek(bytes->data + at, bytes->len - at, &header, NULL);
    CHECK(rv == 0 && header.type == EVENT_START_ENCRYPTION);
    buf_bytes(&event, bytes->data + at, header.size);
    buf_put_u32(&event, 13, 0);
    event_crc_set(event.data, event.len);
    put_built(s, &event);
}

/* MySQL: the end of a part that was left out, or a sign of life. MariaDB: a sign of life. */
static void put_heartbeat(struct session *s)
{
    struct source_sim *source = source_of(s);
    const char *name = source->history->files[s->file]->name;
    struct buf event;
    buf_init(&event, 1024);
    if (source->options.flavour == FLAVOUR_MYSQL && (s->dump_flags & DUMP_HEARTBEAT_V2)) {
        event_build_heartbeat_v2(&event, source->options.server_id, CHECKSUM_CRC32, name, s->pos);
    } else {
        event_build_heartbeat(&event, source->options.server_id, CHECKSUM_CRC32, name, s->pos);
    }
    put_built(s, &event);
}

/* MariaDB: the state where a GTID reader's stream really begins. */
static void put_state(struct session *s)
{
    struct source_sim *source = source_of(s);
    struct history *h = source->history;
    struct gtid_set *state = gtid_set_copy(h->files[s->file]->before);
    struct buf event;
    for (size_t i = h->files[s->file]->first_txn; i < s->next_txn; i++) {
        gtid_set_add(state, &h->txns[i].gtid);
    }
    buf_init(&event, 4096);
    event_build_gtid_list(&event, source->options.server_id, CHECKSUM_CRC32, state, 0, s->pos);
    put_built(s, &event);
    gtid_set_free(state);
}

static void end_of_skipped(struct session *s)
{
    if (s->skipped && s->have && source_of(s)->options.flavour == FLAVOUR_MARIADB) {
        if (!s->started) {
            put_state(s);
        }
    } else if (s->skipped) {
        put_heartbeat(s);
    }
    s->skipped = false;
}

/* Does this event, which ends transaction `txn`, ask for an acknowledgement? */
static bool asks(struct session *s, size_t txn)
{
    struct source_sim *source = source_of(s);
    const struct history_txn *t = &source->history->txns[txn];
    bool last = t->group_end || source->options.flavour == FLAVOUR_MARIADB;
    return s->semi_sync && last && txn >= source->acked && txn >= s->run->first_txn;
}

static void note_asked(struct session *s, size_t txn)
{
    if (s->n_asked % 64 == 0) {
        s->asked = mem_grow(s->asked, s->n_asked + 64, sizeof *s->asked);
    }
    s->asked[s->n_asked++] = txn;
}

static void put_event_at_pos(struct session *s)
{
    struct history *h = source_of(s)->history;
    const struct buf *bytes = &h->files[s->file]->bytes;
    struct event_header header;
    int rv = event_peek(bytes->data + s->pos, bytes->len - (size_t)s->pos, &header, NULL);
    CHECK(rv == 0 && s->pos + header.size <= bytes->len);
    const uint8_t *event = bytes->data + s->pos;
    if (header.type == EVENT_FORMAT_DESCRIPTION) {
        put_format(s, s->created_0 ? EVENT_FDE_CREATED_0 : EVENT_FDE_AS_IS);
    } else {
        const struct history_txn *t = s->next_txn < h->n_txns ? &h->txns[s->next_txn] : NULL;
        bool ends = t && t->file == s->file && t->end == s->pos + header.size;
        bool ask = ends && asks(s, s->next_txn);
        if (t && t->file == s->file && t->start == s->pos) {
            s->started = true;
        }
        if (ask) {
            note_asked(s, s->next_txn);
        }
        if (header.type != EVENT_ANNOTATE_ROWS || (s->dump_flags & DUMP_ANNOTATE_ROWS)) {
            put(s, ask, event, header.size);
        }
        s->next_txn += ends;
        if (s->next_txn > source_of(s)->sent) {
            source_of(s)->sent = s->next_txn;
        }
    }
    s->pos += header.size;
}

/* GTID mode: leaves out what the reader has. */
static bool skip_txn(struct session *s)
{
    struct history *h = source_of(s)->history;
    const struct history_txn *t = s->next_txn < h->n_txns ? &h->txns[s->next_txn] : NULL;
    if (!s->have || !t || t->file != s->file || t->start != s->pos || !gtid_set_contains(s->have, &t->gtid)) {
        return false;
    }
    s->pos = t->end;
    s->next_txn++;
    s->skipped = true;
    return true;
}

void sim_dump_pump(struct session *s)
{
    struct history *h = source_of(s)->history;
    if (!run_lives(s->run) || s->over) {
        return;
    }
    while (env_stream_pending(s->stream) + wire_output(s->wire)->len < SOURCE_OUT_MOST) {
        if (s->pos < h->files[s->file]->bytes.len) {
            if (!skip_txn(s)) {
                end_of_skipped(s);
                put_event_at_pos(s);
            }
        } else if (s->file + 1 < h->n_files) {
            end_of_skipped(s);
            s->file++;
            s->pos = EVENT_MAGIC_SIZE;
            put_rotate(s, s->pos);
        } else {
            end_of_skipped(s);
            if (s->heartbeat_ns) {
                env_timer_start(&s->heartbeat, s->heartbeat_ns);
            }
            break;
        }
    }
    sim_session_send(s);
}

void sim_dump_heartbeat(struct session *s)
{
    if (run_lives(s->run) && !s->over) {
        put_heartbeat(s);
    }
}

/* ---- the request --------------------------------------------------------------------------------------- */

/* One that comes while another dump goes on, of another uuid, is there to acknowledge: what was acknowledged meanwhile may lie behind it. So it
 * is when the other one has just ended. */
static bool is_beside_another(const struct session *s)
{
    if (s->run->source->acker[0] && strcmp(s->run->source->acker, s->uuid) != 0) {
        return true;
    }
    for (const struct session *o = s->run->sessions; o; o = o->next) {
        if (o != s && o->state == SESSION_DUMP && strcmp(o->uuid, s->uuid) != 0) {
            return true;
        }
    }
    return false;
}

/* A request with semi-sync acknowledges all that is before its position. */
static void judge_request(struct session *s)
{
    struct source_sim *source = source_of(s);
    struct history *h = source->history;
    size_t before = history_txns_before(h, s->file, s->pos),
           floor = source->floor ? source->floor(source->floor_arg) : 0;
    const char *name = h->files[s->file]->name;
    if (!history_is_boundary(h, s->file, s->pos)) {
        sim_fail(source->sim, "a dump is asked for from within a transaction: %s %" PRIu64, name, s->pos);
    }
    bool beside = is_beside_another(s);
    if (before < source->acked && !beside) {
        sim_fail(source->sim,
                 "lost: %zu transactions were acknowledged, a dump is asked for from %s %" PRIu64
                 " behind %zu",
                 source->acked, name, s->pos, before);
    }
    if (before < floor && !beside) {
        sim_fail(source->sim,
                 "lost: a replica has seen %zu transactions, a dump is asked for from %s %" PRIu64
                 " behind %zu",
                 floor, name, s->pos, before);
    }
    source_acked(source, before, "position");
}

static void start_by_position(struct session *s, const struct binlog_dump *d)
{
    struct history *h = source_of(s)->history;
    bool mysql = h->flavour == FLAVOUR_MYSQL;
    if (d->file[0] && !history_find(h, d->file, &s->file)) {
        refuse(s, ER_DUMP_FATAL, "Could not find first log file name in binary log index file");
        return;
    }
    if (d->pos < EVENT_MAGIC_SIZE || d->pos > h->files[s->file]->bytes.len) {
        refuse(s, ER_DUMP_FATAL,
               !mysql ? "Client requested master to start replication from impossible position"
               : d->pos < EVENT_MAGIC_SIZE
                   ? "Client requested source to start replication from position < 4"
                   : "Client requested source to start replication from position > file size");
        return;
    }
    s->pos = d->pos;
    if (s->semi_sync) {
        judge_request(s);
    }
    s->next_txn = history_txns_before(h, s->file, s->pos);
    put_rotate(s, s->pos);
    if (s->pos > EVENT_MAGIC_SIZE) {
        put_format(s, EVENT_FDE_CREATED_0 | EVENT_FDE_LOG_POS_0);
        if (h->encrypted && !mysql) {
            put_encryption(s);
        }
    }
}

static bool begins_behind(struct session *s, const struct history_file *f)
{
    const struct source_sim *source = source_of(s);
    return source->history->flavour == FLAVOUR_MARIADB ? gtid_set_within_position(f->before, s->have)
                                                       : gtid_set_subset(source->options.heads_tell ? f->said : f->before, s->have);
}

static void start_by_gtid(struct session *s, const char *file)
{
    struct history *h = source_of(s)->history;
    bool mysql = h->flavour == FLAVOUR_MYSQL;
    s->file = h->n_files - 1;
    while (!file[0] && s->file > 0 && !begins_behind(s, h->files[s->file])) {
        s->file--;
    }
    if (file[0] && !history_find(h, file, &s->file)) {
        refuse(s, ER_DUMP_FATAL, "Could not find first log file name in binary log index file");
        return;
    }
    s->pos = EVENT_MAGIC_SIZE;
    s->next_txn = h->files[s->file]->first_txn;
    s->created_0 = mysql && s->next_txn < h->n_txns && gtid_set_contains(s->have, &h->txns[s->next_txn].gtid);
    put_rotate(s, s->pos);
}

static bool read_set(struct session *s, const struct binlog_dump *d)
{
    struct errmsg em;
    int rv;
    s->have = gtid_set_new(source_of(s)->options.flavour);
    if (d->by_gtid) {
        struct cur c = cur_of(d->gtids, d->ngtids);
        rv = gtid_set_decode(s->have, &c, &em);
        rv = rv || !cur_done(&c);
    } else {
        rv = gtid_set_parse(s->have, s->connect_state, strlen(s->connect_state), &em);
    }
    if (rv) {
        refuse(s, d->by_gtid ? ER_MALFORMED_GTID_ENCODING : ER_BAD_GTID_LIST, "Malformed GTID set encoding.");
    }
    return !rv;
}

/* A dump of the same reader that is still there ends. */
static void end_older(struct session *s)
{
    bool mysql = source_of(s)->options.flavour == FLAVOUR_MYSQL;
    for (struct session *o = s->run->sessions, *next; o; o = next) {
        next = o->next;
        bool same = mysql && s->uuid[0] ? strcmp(o->uuid, s->uuid) == 0 : o->server_id == s->server_id;
        if (o != s && o->state == SESSION_DUMP && same) {
            sim_dump_end(o, true);
            sim_session_free(o);
        }
    }
}

void sim_dump_begin(struct session *s, const struct packet *p)
{
    struct source_sim *source = source_of(s);
    bool mysql = source->options.flavour == FLAVOUR_MYSQL;
    struct binlog_dump d;
    struct errmsg em;
    if (!run_lives(s->run)) {
        s->over = true;
        return;
    }
    if (command_binlog_dump(p, &d, &em)) {
        refuse(s, ER_MALFORMED_PACKET, "Malformed communication packet.");
        return;
    }
    source->dumps++;
    s->state = SESSION_DUMP;
    s->server_id = d.server_id;
    s->dump_flags = d.flags;
    end_older(s);
    wire_seq_apart(s->wire, true);
    env_log(s->run->env, ENV_INFO, "dump server_id=%u file=%s pos=%" PRIu64 " gtid=%s semi_sync=%s",
            (unsigned)d.server_id, d.file, d.pos, d.by_gtid || s->has_connect_state ? "yes" : "no",
            s->semi_sync ? "yes" : "no");
    if (!s->checksum_set) {
        refuse(
            s, ER_DUMP_FATAL,
            "Replica can not handle replication events with the checksum that source is configured to log");
        return;
    }
    if (!mysql && s->capability < 4) {
        sim_fail(source->sim, "a replica without capability 4 would get rewritten events");
        s->over = true;
        return;
    }
    if (d.by_gtid || s->has_connect_state) {
        if (!read_set(s, &d)) {
            return;
        }
        start_by_gtid(s, d.by_gtid ? d.file : "");
    } else {
        start_by_position(s, &d);
    }
    sim_dump_pump(s);
}

void sim_dump_end(struct session *s, bool error)
{
    bool mysql = source_of(s)->options.flavour == FLAVOUR_MYSQL;
    if (s->state != SESSION_DUMP || !run_lives(s->run)) {
        return;
    }
    if (error) {
        put_err_text(
            s->wire, mysql ? ER_DUMP_FATAL : ER_SAME_SLAVE, NULL,
            "A replica with the same server_uuid/server_id as this replica has connected to the source");
    } else if (mysql) {
        put_eof(s->wire, STATUS_AUTOCOMMIT, 0);
    }
    sim_session_send(s);
}

/* ---- ACKs ---------------------------------------------------------------------------------------------- */

static bool was_asked(const struct session *s, size_t txn)
{
    size_t low = 0, high = s->n_asked;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->asked[mid] == txn) {
            return true;
        }
        if (s->asked[mid] < txn) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return false;
}

void sim_dump_ack(struct session *s, const struct packet *p)
{
    struct source_sim *source = source_of(s);
    struct history *h = source->history;
    struct semisync_ack ack;
    struct errmsg em;
    size_t file;
    if (!run_lives(s->run)) {
        return;
    }
    if (packet_kind(p) == COM_QUIT && p->len == 1) {
        s->over = true;
        return;
    }
    if (!s->semi_sync || semisync_ack_parse(p, &ack, &em)) {
        sim_fail(source->sim, "a packet during a dump that is no ACK: %s",
                 s->semi_sync ? em.text : "no semi-sync");
        s->over = true;
        return;
    }
    source->acks++;
    if (!history_find(h, ack.file, &file)) {
        sim_fail(source->sim, "ACK of a file that does not exist: %s %" PRIu64, ack.file, ack.pos);
        return;
    }
    size_t n = history_txns_before(h, file, ack.pos);
    const struct history_txn *t = n > 0 ? &h->txns[n - 1] : NULL;
    if (!t || t->file != file || t->end != ack.pos || !was_asked(s, n - 1)) {
        sim_fail(source->sim, "ACK of a position that did not ask for it: %s %" PRIu64, ack.file, ack.pos);
        return;
    }
    memcpy(source->acker, s->uuid, sizeof source->acker);
    source_acked(source, n, "ACK");
}
