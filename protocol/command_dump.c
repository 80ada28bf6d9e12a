/* command_dump.c: the packets of a running dump: events with or without the semi-sync bytes, its end, and
 * ACKs.
 *
 * Happy path: 00 event, or 00 ef 00|01 event between two that agreed on semi-sync; fe ends a dump that does
 * not block, ff is the source's error. The replica's ACK is ef pos:8 file with sequence number 0.
 * Failure modes: a packet of another kind, or an event without the bytes that were agreed on: E_MALFORMED. */
#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/command.h"
#include "protocol/result.h"
#include "protocol/wire.h"

#include <string.h>

enum { EVENT_HEADER_MIN = 19 };

static int parse_event(const struct packet *p, bool semisync, struct stream_packet *s, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    cur_skip(&c, 1);
    if (semisync) {
        uint8_t magic = cur_u8(&c);
        uint8_t ask = cur_u8(&c);
        if (!cur_ok(&c) || magic != SEMISYNC_MAGIC || ask > 1) {
            return err_set(em, E_MALFORMED, "event without the semi-sync header");
        }
        s->wants_ack = ask == 1;
    }
    s->event = cur_rest(&c, &s->n);
    if (!cur_ok(&c) || s->n < EVENT_HEADER_MIN) {
        return err_set(em, E_MALFORMED, "event shorter than its header");
    }
    s->kind = STREAM_EVENT;
    return 0;
}

int stream_parse(const struct packet *p, bool semisync, struct stream_packet *s, struct errmsg *em)
{
    enum { END_MAX = 64 }; /* an EOF packet, or an OK packet in its place */
    *s = (struct stream_packet){.kind = STREAM_EVENT};
    if (p->len == 0) {
        return err_set(em, E_MALFORMED, "empty packet in the stream");
    }
    switch (packet_kind(p)) {
    case 0x00:
        return parse_event(p, semisync, s, em);
    case 0xff:
        s->kind = STREAM_ERROR;
        if (err_packet_parse(p, &s->code, s->sqlstate, s->message, sizeof(s->message))) {
            return err_set(em, E_MALFORMED, "malformed error packet");
        }
        return 0;
    case 0xfe:
        if (p->len <= END_MAX) {
            s->kind = STREAM_END;
            return 0;
        }
        /* fall through */
    default:
        return err_set(em, E_MALFORMED, "unexpected packet 0x%02x in the stream", packet_kind(p));
    }
}

int stream_put_event(struct wire *w, bool semisync, bool ask, const void *event, size_t n)
{
    uint8_t head[] = {0, SEMISYNC_MAGIC, ask};
    int rc = wire_put2(w, head, semisync ? sizeof(head) : 1, event, n);
    if (!rc && semisync && ask) {
        wire_seq_set(w, 1);
    }
    return rc;
}

int stream_open_event(struct wire *w, bool semisync, size_t n)
{
    static const uint8_t head[] = {0, SEMISYNC_MAGIC, 0};
    size_t nhead = semisync ? sizeof head : 1;
    int rc = wire_open(w, nhead + n);
    return rc ? rc : wire_more(w, head, nhead);
}

int semisync_ack_parse(const struct packet *p, struct semisync_ack *ack, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    uint8_t magic = cur_u8(&c);
    ack->pos = cur_u64(&c);
    size_t n = cur_left(&c);
    if (n && c.p[n - 1] == 0) {
        n--; /* real sources take a NUL at the end too */
        c.end--;
    }
    cur_text(&c, n, ack->file, sizeof(ack->file));
    if (!cur_done(&c) || magic != SEMISYNC_MAGIC || n == 0 || p->seq != 0) {
        return err_set(em, E_MALFORMED, "malformed semi-sync acknowledgement");
    }
    return 0;
}

int semisync_ack_put(struct wire *w, const char *file, uint64_t pos)
{
    wire_seq_set(w, 0);
    struct buf *b = wire_begin(w);
    buf_u8(b, SEMISYNC_MAGIC);
    buf_u64(b, pos);
    buf_str(b, file);
    return wire_end(w);
}
