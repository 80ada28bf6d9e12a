/* command.c: reads and builds the commands of a client; the dump's stream and semi-sync are in
 * command_dump.c.
 *
 * Happy path: one cursor over the packet, fields in order, and the packet ends where the last field ends.
 * Failure modes: anything else is E_MALFORMED with the command's name; texts that are too long for a
 * replica's registration are E_TOOBIG with the words that MySQL answers. */
#include "protocol/command.h"

#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/wire.h"

#include <string.h>

const char *command_name(unsigned byte)
{
    switch (byte) {
#define COMMAND_CASE(name, byte_, text)                                                                      \
    case byte_:                                                                                              \
        return text;
        COMMANDS(COMMAND_CASE)
#undef COMMAND_CASE
    default:
        return NULL;
    }
}

static int malformed(struct errmsg *em, const char *what)
{
    return err_set(em, E_MALFORMED, "malformed %s packet", what);
}

/* A cursor behind the command byte, which the caller's dispatch has seen. */
static struct cur body(const struct packet *p)
{
    struct cur c = cur_of(p->data, p->len);
    cur_skip(&c, 1);
    return c;
}

int command_put(struct wire *w, enum command command)
{
    uint8_t byte = (uint8_t)command;
    wire_seq_reset(w);
    return wire_put(w, &byte, 1);
}

/* ---- COM_QUERY ---- */

/* Passes over the value of a query attribute in binary form. */
static void skip_value(struct cur *c, unsigned type)
{
    size_t n;
    switch (type) {
    case TYPE_NULL:
        break;
    case TYPE_TINY:
        cur_skip(c, 1);
        break;
    case TYPE_SHORT:
    case TYPE_YEAR:
        cur_skip(c, 2);
        break;
    case TYPE_LONG:
    case TYPE_INT24:
    case TYPE_FLOAT:
        cur_skip(c, 4);
        break;
    case TYPE_LONGLONG:
    case TYPE_DOUBLE:
        cur_skip(c, 8);
        break;
    case TYPE_DATE:
    case TYPE_DATETIME:
    case TYPE_TIMESTAMP:
    case TYPE_TIME:
        cur_skip(c, cur_u8(c));
        break;
    default: /* texts and all that is sent like one */
        (void)cur_lenenc_bytes(c, &n);
        break;
    }
}

/* null bitmap, 01, (type:2 name)*, values: passed over, they say nothing that Holdfast listens to. */
static void skip_attributes(struct cur *c, uint64_t count)
{
    enum { SMALLEST = 3 }; /* bytes of a parameter's type and name */
    if (count > cur_left(c) / SMALLEST) {
        cur_fail(c);
        return;
    }
    const uint8_t *nulls = cur_bytes(c, (count + 7) / 8);
    if (cur_u8(c) != 1) {
        cur_fail(c);
    }
    struct cur types = *c;
    size_t n;
    for (uint64_t i = 0; i < count && cur_ok(c); i++) {
        cur_skip(c, 2);
        (void)cur_lenenc_bytes(c, &n);
    }
    for (uint64_t i = 0; i < count && cur_ok(c); i++) {
        unsigned type = cur_u16(&types) & 0xff;
        (void)cur_lenenc_bytes(&types, &n);
        if (!(nulls[i / 8] >> (i % 8) & 1)) {
            skip_value(c, type);
        }
    }
}

int command_query(const struct packet *p, uint32_t caps, const char **text, size_t *n, struct errmsg *em)
{
    struct cur c = body(p);
    if (caps & CAP_QUERY_ATTRIBUTES) {
        uint64_t count = cur_lenenc(&c);
        uint64_t sets = cur_lenenc(&c);
        if (sets != 1) {
            cur_fail(&c);
        }
        if (count) {
            skip_attributes(&c, count);
        }
    }
    *text = (const char *)cur_rest(&c, n);
    return cur_ok(&c) ? 0 : malformed(em, "COM_QUERY");
}

int command_put_query(struct wire *w, uint32_t caps, const char *text, size_t n)
{
    static const uint8_t head[] = {COM_QUERY, 0, 1}; /* no attributes */
    wire_seq_reset(w);
    return wire_put2(w, head, caps & CAP_QUERY_ATTRIBUTES ? 3 : 1, text, n);
}

/* ---- small ones ---- */

int command_init_db(const struct packet *p, char *db, size_t size, struct errmsg *em)
{
    struct cur c = body(p);
    cur_text(&c, cur_left(&c), db, size);
    return cur_done(&c) ? 0 : malformed(em, "COM_INIT_DB");
}

int command_kill(const struct packet *p, uint32_t *thread_id, struct errmsg *em)
{
    struct cur c = body(p);
    *thread_id = cur_u32(&c);
    return cur_done(&c) ? 0 : malformed(em, "COM_PROCESS_KILL");
}

/* ---- COM_REGISTER_SLAVE ---- */

static int short_text(struct cur *c, char *to, size_t size, const char *name, struct errmsg *em)
{
    uint8_t n = cur_u8(c);
    if (cur_left(c) >= n && n >= size) {
        return err_set(em, E_TOOBIG, "Failed to register replica: too long '%s'", name);
    }
    cur_text(c, n, to, size);
    return 0;
}

int command_register_slave(const struct packet *p, struct register_slave *r, struct errmsg *em)
{
    struct cur c = body(p);
    memset(r, 0, sizeof(*r));
    r->server_id = cur_u32(&c);
    int rc = short_text(&c, r->host, sizeof(r->host), "report-host", em);
    if (!rc) {
        rc = short_text(&c, r->user, sizeof(r->user), "report-user", em);
    }
    if (!rc) {
        rc = short_text(&c, r->password, sizeof(r->password), "report-password", em);
    }
    if (rc) {
        return rc;
    }
    r->port = cur_u16(&c);
    r->rank = cur_u32(&c);
    r->master_id = cur_u32(&c);
    return cur_done(&c) ? 0 : malformed(em, "COM_REGISTER_SLAVE");
}

static void put_short_text(struct buf *b, const char *text)
{
    size_t n = strnlen(text, 255);
    buf_u8(b, (uint8_t)n);
    buf_bytes(b, text, n);
}

int command_put_register_slave(struct wire *w, const struct register_slave *r)
{
    wire_seq_reset(w);
    struct buf *b = wire_begin(w);
    buf_u8(b, COM_REGISTER_SLAVE);
    buf_u32(b, r->server_id);
    put_short_text(b, r->host);
    put_short_text(b, r->user);
    put_short_text(b, r->password);
    buf_u16(b, r->port);
    buf_u32(b, r->rank);
    buf_u32(b, r->master_id);
    return wire_end(w);
}

/* ---- COM_BINLOG_DUMP, COM_BINLOG_DUMP_GTID ---- */

/* A file name of n bytes; some clients count a NUL at its end, and a 5.6 replica that connects again sends as many NULs as the name that it
 * had before is long. */
static void file_name(struct cur *c, uint64_t n, char to[DUMP_FILE_MAX + 1])
{
    struct cur name = cur_sub(c, n);
    size_t left = cur_left(&name);
    while (left && name.p[left - 1] == 0) {
        left--;
    }
    cur_text(&name, left, to, DUMP_FILE_MAX + 1);
    if (!cur_ok(&name)) {
        cur_fail(c);
    }
}

static void dump_by_gtid(struct cur *c, struct binlog_dump *d)
{
    d->by_gtid = true;
    d->flags = cur_u16(c);
    d->server_id = cur_u32(c);
    file_name(c, cur_u32(c), d->file);
    d->pos = cur_u64(c);
    uint32_t n = cur_u32(c);
    d->gtids = cur_bytes(c, n);
    d->ngtids = d->gtids ? n : 0;
}

int command_binlog_dump(const struct packet *p, struct binlog_dump *d, struct errmsg *em)
{
    struct cur c = body(p);
    memset(d, 0, sizeof(*d));
    if (packet_kind(p) == COM_BINLOG_DUMP_GTID) {
        dump_by_gtid(&c, d);
    } else {
        d->pos = cur_u32(&c);
        d->flags = cur_u16(&c);
        d->server_id = cur_u32(&c);
        file_name(&c, cur_left(&c), d->file);
    }
    return cur_done(&c) ? 0 : malformed(em, d->by_gtid ? "COM_BINLOG_DUMP_GTID" : "COM_BINLOG_DUMP");
}

int command_put_binlog_dump(struct wire *w, const struct binlog_dump *d)
{
    if ((!d->by_gtid && d->pos > UINT32_MAX) || d->ngtids > UINT32_MAX) {
        return E_INVALID;
    }
    size_t nfile = strnlen(d->file, DUMP_FILE_MAX);
    wire_seq_reset(w);
    struct buf *b = wire_begin(w);
    if (d->by_gtid) {
        buf_u8(b, COM_BINLOG_DUMP_GTID);
        buf_u16(b, d->flags);
        buf_u32(b, d->server_id);
        buf_u32(b, (uint32_t)nfile);
        buf_bytes(b, d->file, nfile);
        buf_u64(b, d->pos);
        buf_u32(b, (uint32_t)d->ngtids);
        buf_bytes(b, d->gtids, d->ngtids);
    } else {
        buf_u8(b, COM_BINLOG_DUMP);
        buf_u32(b, (uint32_t)d->pos);
        buf_u16(b, d->flags);
        buf_u32(b, d->server_id);
        buf_bytes(b, d->file, nfile);
    }
    return wire_end(w);
}
