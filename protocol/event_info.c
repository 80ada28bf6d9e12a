/* event_info.c: an event in the words of SHOW BINLOG EVENTS, as the servers put them.
 *
 * Happy path: each type that says something has a function; the others have an empty text, as at the servers. Failure
 * modes: an event whose body cannot be read is told by what is wrong with it; nothing is left out for that. */
#include "protocol/event.h"

#include <inttypes.h>
#include <string.h>

enum { QUERY_SUPPRESS_USE = 0x8, ROWS_STMT_END = 1, ROWS_SQL_FOREIGN_KEY = 0x10, TEXT_MAX = 1 << 20 };

static void put_text(struct buf *out, const void *text, size_t n)
{
    buf_bytes(out, text, n < TEXT_MAX ? n : TEXT_MAX);
}

static uint64_t table_id(const struct event_format *f, uint8_t type, struct cur *body)
{
    return cur_le(body, f->post_header[type] == 6 ? 4 : 6);
}

static int put_table_map(const struct event_format *f, uint8_t type, struct cur *body, struct buf *out)
{
    uint64_t id = table_id(f, type, body);
    cur_skip(body, 2);
    size_t n_db = cur_u8(body);
    const uint8_t *db = cur_bytes(body, n_db);
    cur_skip(body, 1);
    size_t n_table = cur_u8(body);
    const uint8_t *table = cur_bytes(body, n_table);
    if (!cur_ok(body)) {
        return E_MALFORMED;
    }
    buf_printf(out, "table_id: %" PRIu64 " (", id);
    put_text(out, db, n_db);
    buf_str(out, ".");
    put_text(out, table, n_table);
    buf_str(out, ")");
    return 0;
}

static int put_rows(const struct event_format *f, uint8_t type, struct cur *body, struct buf *out)
{
    uint64_t id = table_id(f, type, body);
    uint16_t flags = cur_u16(body);
    buf_printf(out, "table_id: %" PRIu64 "%s%s%s", id, flags & (ROWS_STMT_END | ROWS_SQL_FOREIGN_KEY) ? " flags:" : "",
               flags & ROWS_STMT_END ? " STMT_END_F" : "", flags & ROWS_SQL_FOREIGN_KEY ? " USE_SQL_FOREIGN_KEY_F" : "");
    return cur_ok(body) ? 0 : E_MALFORMED;
}

/* Bytes behind the code of a status variable of MySQL's QUERY; what has a length itself is 0 here. */
static const uint8_t status_sizes[] = {4, 8, 0, 4, 6, 0, 0, 2, 2, 8, 4, 0, 0, 3, 8, 8, 1, 8, 2, 1, 1};

enum { STATUS_CATALOG = 2, STATUS_INVOKER = 11, STATUS_DB_NAMES = 12, STATUS_DDL_XID = 17, DB_NAMES_OVER = 254 };

/* False: an unknown one, behind which nothing can be found. */
static bool skip_status(struct cur *c, uint8_t code)
{
    size_t n;
    if (code >= sizeof status_sizes) {
        return false;
    }
    if (status_sizes[code]) {
        cur_skip(c, status_sizes[code]);
        return true;
    }
    if (code == STATUS_DB_NAMES) {
        uint8_t count = cur_u8(c);
        for (; count != DB_NAMES_OVER && count > 0 && cur_ok(c); count--) {
            (void)cur_str_nul(c, &n);
        }
        return true;
    }
    cur_skip(c, cur_u8(c));
    if (code == STATUS_INVOKER) {
        cur_skip(c, cur_u8(c));
    }
    cur_skip(c, code == STATUS_CATALOG);
    return true;
}

/* MySQL's number of a DDL statement's transaction; 0: none. */
static uint64_t ddl_xid(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct cur body;
    if (f->flavour != FLAVOUR_MYSQL || event[4] != EVENT_QUERY || event_body(f, event, n, &body, NULL)) {
        return 0;
    }
    cur_skip(&body, 4 + 4 + 1 + 2);
    struct cur status = cur_sub(&body, cur_u16(&body));
    while (cur_left(&status) > 0) {
        uint8_t code = cur_u8(&status);
        if (code == STATUS_DDL_XID) {
            return cur_u64(&status);
        }
        if (!skip_status(&status, code)) {
            return 0;
        }
    }
    return 0;
}

static int put_query(const struct event_format *f, const uint8_t *event, size_t n, uint16_t flags, struct buf *out,
                     struct errmsg *em)
{
    struct event_query q;
    int rv = event_query_read(f, event, n, &q, em);
    if (rv) {
        return rv;
    }
    if (!(flags & QUERY_SUPPRESS_USE) && q.db_len > 0) {
        buf_str(out, "use `");
        put_text(out, q.db, q.db_len);
        buf_str(out, "`; ");
    }
    if (event[4] == EVENT_QUERY_COMPRESSED) {
        buf_printf(out, "(compressed statement, %zu bytes)", q.text_len);
    } else {
        put_text(out, q.text, q.text_len);
    }
    uint64_t xid = ddl_xid(f, event, n);
    if (xid) {
        buf_printf(out, " /* xid=%" PRIu64 " */", xid);
    }
    return 0;
}

static int put_gtid(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out, struct errmsg *em)
{
    struct event_gtid g;
    char text[GTID_TEXT_SIZE];
    int rv = event_gtid_read(f, event, n, &g, em);
    if (rv) {
        return rv;
    }
    gtid_text(&g.gtid, text, sizeof text);
    if (g.gtid.flavour != FLAVOUR_MARIADB) {
        buf_printf(out, "SET @@SESSION.GTID_NEXT= '%s'", text);
        return 0;
    }
    buf_printf(out, "%sGTID %s", g.flags & GTID_STANDALONE ? "" : "BEGIN ", text);
    if (g.flags & GTID_GROUP_COMMIT_ID) {
        buf_printf(out, " cid=%" PRIu64, g.commit_id);
    }
    return 0;
}

/* Lists of GTIDs as the servers print them here: MySQL one UUID a line, MariaDB in brackets, [] when empty. */
static int put_list(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out, struct errmsg *em)
{
    bool mariadb = event[4] == EVENT_GTID_LIST;
    struct gtid_set *set = gtid_set_new(mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL);
    struct buf text;
    int rv = mariadb ? event_gtid_list_read(f, event, n, set, NULL, em) : event_previous_gtids_read(f, event, n, set, em);
    buf_init(&text, TEXT_MAX);
    if (!rv) {
        gtid_set_print(set, &text);
        buf_str(out, mariadb ? "[" : "");
        for (size_t i = 0; i < text.len; i++) {
            buf_u8(out, text.data[i]);
            buf_str(out, text.data[i] == ',' ? (mariadb ? " " : "\n") : "");
        }
        buf_str(out, mariadb ? "]" : "");
    }
    buf_free(&text);
    gtid_set_free(set);
    return rv;
}

static int put_rotate(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out, struct errmsg *em)
{
    struct event_rotate r;
    int rv = event_rotate_read(f, event, n, &r, em);
    if (!rv) {
        buf_printf(out, "%s;pos=%" PRIu64, r.name, r.pos);
    }
    return rv;
}

static int put_xid(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out, struct errmsg *em)
{
    uint64_t xid;
    int rv = event_xid_read(f, event, n, &xid, em);
    if (!rv) {
        buf_printf(out, "COMMIT /* xid=%" PRIu64 " */", xid);
    }
    return rv;
}

static void put_hex(struct buf *out, const uint8_t *p, size_t n)
{
    buf_str(out, "X'");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%02x", p[i]);
    }
    buf_str(out, "'");
}

static int put_xa(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out, struct errmsg *em)
{
    struct event_xa xa;
    int rv = event_xa_prepare_read(f, event, n, &xa, em);
    if (!rv) {
        buf_str(out, xa.one_phase ? "XA COMMIT " : "XA PREPARE ");
        put_hex(out, xa.gtrid, xa.gtrid_len);
        buf_str(out, ",");
        put_hex(out, xa.bqual, xa.bqual_len);
        buf_printf(out, ",%lu%s", (unsigned long)xa.format_id, xa.one_phase ? " ONE PHASE" : "");
    }
    return rv;
}

static int put_incident(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out, struct errmsg *em)
{
    struct event_incident i;
    int rv = event_incident_read(f, event, n, &i, em);
    if (!rv) {
        buf_printf(out, "#%u (%s)%s", (unsigned)i.number, i.number == 1 ? "LOST_EVENTS" : "NOTHING", i.text_len ? ": " : "");
        put_text(out, i.text, i.text_len);
    }
    return rv;
}

static int put_payload(struct cur *body, struct buf *out)
{
    uint64_t kind = 0, size = 0;
    for (uint64_t field = cur_lenenc(body); cur_ok(body) && field; field = cur_lenenc(body)) {
        struct cur value = cur_sub(body, cur_lenenc(body));
        uint64_t v = cur_lenenc(&value);
        kind = field == 2 ? v : kind;
        size = field == 3 ? v : size;
    }
    buf_printf(out, "compression='%s', decompressed_size=%" PRIu64 " bytes", kind == 0 ? "ZSTD" : "NONE", size);
    return cur_ok(body) ? 0 : E_MALFORMED;
}

/* Text and decimals as bytes, without the name of their character set. */
static void put_user_var(struct cur *body, struct buf *out)
{
    enum { TYPE_REAL = 1, TYPE_INT = 2 };
    size_t n = cur_u32(body);
    const uint8_t *name = cur_bytes(body, n);
    bool null = cur_u8(body);
    uint8_t type = null ? 0 : cur_u8(body);
    cur_skip(body, null ? 0 : 4);
    size_t len = null ? 0 : cur_u32(body);
    struct cur value = cur_sub(body, len);
    bool is_unsigned = cur_peek_u8(body) & 1;
    buf_str(out, "@`");
    put_text(out, name, name ? n : 0);
    buf_str(out, "`=");
    if (null) {
        buf_str(out, "NULL");
    } else if (type == TYPE_INT) {
        uint64_t v = cur_u64(&value);
        buf_printf(out, is_unsigned ? "%" PRIu64 : "%" PRId64, v);
    } else if (type == TYPE_REAL) {
        uint64_t v = cur_u64(&value);
        double real;
        memcpy(&real, &v, sizeof real);
        buf_printf(out, "%.14g", real);
    } else {
        const uint8_t *bytes = cur_rest(&value, &n);
        buf_str(out, "0x");
        for (size_t i = 0; i < n && i < TEXT_MAX / 2; i++) {
            buf_printf(out, "%02X", bytes[i]);
        }
    }
}

/* Types whose bodies are simple. */
static int put_body(const struct event_format *f, uint8_t type, struct cur *body, struct buf *out)
{
    size_t n;
    const uint8_t *rest;
    switch (type) {
    case EVENT_TABLE_MAP: return put_table_map(f, type, body, out);
    case EVENT_WRITE_ROWS_V1: case EVENT_UPDATE_ROWS_V1: case EVENT_DELETE_ROWS_V1:
    case EVENT_WRITE_ROWS: case EVENT_UPDATE_ROWS: case EVENT_DELETE_ROWS: case EVENT_PARTIAL_UPDATE_ROWS:
    case EVENT_WRITE_ROWS_COMPRESSED: case EVENT_UPDATE_ROWS_COMPRESSED: case EVENT_DELETE_ROWS_COMPRESSED:
        return put_rows(f, type, body, out);
    case EVENT_TRANSACTION_PAYLOAD: return put_payload(body, out);
    case EVENT_INTVAR:
        buf_str(out, cur_u8(body) == 1 ? "LAST_INSERT_ID=" : "INSERT_ID=");
        buf_printf(out, "%" PRIu64, cur_u64(body));
        break;
    case EVENT_RAND: {
        uint64_t seed1 = cur_u64(body), seed2 = cur_u64(body);
        buf_printf(out, "rand_seed1=%" PRIu64 ",rand_seed2=%" PRIu64, seed1, seed2);
        break;
    }
    case EVENT_USER_VAR:
        put_user_var(body, out);
        break;
    case EVENT_BINLOG_CHECKPOINT:
        n = cur_u32(body);
        rest = cur_bytes(body, n);
        put_text(out, rest, rest ? n : 0);
        break;
    case EVENT_ROWS_QUERY: /* one byte of length, which longer texts do not fit in */
        cur_skip(body, 1);
        buf_str(out, "# ");
        rest = cur_rest(body, &n);
        put_text(out, rest, n);
        break;
    case EVENT_ANNOTATE_ROWS:
        rest = cur_rest(body, &n);
        put_text(out, rest, n);
        break;
    case EVENT_BEGIN_LOAD_QUERY: case EVENT_APPEND_BLOCK: {
        uint32_t id = cur_u32(body);
        buf_printf(out, ";file_id=%lu;block_len=%zu", (unsigned long)id, cur_left(body));
        break;
    }
    case EVENT_DELETE_FILE:
        buf_printf(out, ";file_id=%lu", (unsigned long)cur_u32(body));
        break;
    default: break;
    }
    return cur_ok(body) ? 0 : E_MALFORMED;
}

void event_info(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out)
{
    struct event_header h;
    struct event_format own;
    struct errmsg em = {"its body cannot be read"};
    struct cur body;
    size_t start = out->len;
    int rv = event_header_read(event, n, &h, &em);
    rv = rv ? rv : event_body(f, event, n, &body, &em);
    switch (rv ? EVENT_STOP : h.type) {
    case EVENT_FORMAT_DESCRIPTION:
        rv = event_format_read(event, n, &own, &em);
        if (!rv) {
            buf_printf(out, "Server ver: %s, Binlog ver: 4", own.version);
        }
        break;
    case EVENT_QUERY: case EVENT_EXECUTE_LOAD_QUERY: case EVENT_QUERY_COMPRESSED:
        rv = put_query(f, event, n, h.flags, out, &em);
        break;
    case EVENT_GTID: case EVENT_ANONYMOUS_GTID: case EVENT_GTID_TAGGED: case EVENT_MARIADB_GTID:
        rv = put_gtid(f, event, n, out, &em);
        break;
    case EVENT_PREVIOUS_GTIDS: case EVENT_GTID_LIST: rv = put_list(f, event, n, out, &em); break;
    case EVENT_ROTATE: rv = put_rotate(f, event, n, out, &em); break;
    case EVENT_XID: rv = put_xid(f, event, n, out, &em); break;
    case EVENT_XA_PREPARE: rv = put_xa(f, event, n, out, &em); break;
    case EVENT_INCIDENT: rv = put_incident(f, event, n, out, &em); break;
    default: rv = rv ? rv : put_body(f, h.type, &body, out); break;
    }
    if (rv && start <= out->len) {
        out->len = start;
        buf_printf(out, "(%s)", em.text);
    }
}
