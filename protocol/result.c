/* result.c: writes what a server answers.
 *
 * Happy path: a packet is built in the wire's own output, numbers follow by themselves. A result set: column
 * count, definitions, [EOF], rows, EOF or an OK packet that begins with fe when both sides have
 * CAP_DEPRECATE_EOF. Failure modes: only a full output, which is sticky in the wire. Too many or too few
 * values in a row is our own mistake: CHECK. Reading is in result_read.c. */
#include "protocol/result.h"

#include "protocol/base/check.h"
#include "protocol/wire.h"

#include <stdio.h>
#include <string.h>

/* ---- single packets ---- */

static int put_ok_kind(struct wire *w, uint32_t caps, uint8_t kind, const struct ok_info *info)
{
    struct buf *b = wire_begin(w);
    buf_u8(b, kind);
    buf_lenenc(b, info->affected);
    buf_lenenc(b, info->insert_id);
    buf_u16(b, info->status);
    buf_u16(b, info->warnings);
    if (info->info && caps & CAP_SESSION_TRACK) {
        buf_lenenc_str(b, info->info);
    } else if (info->info) {
        buf_str(b, info->info);
    }
    return wire_end(w);
}

int put_ok(struct wire *w, uint32_t caps)
{
    return put_ok_kind(w, caps, 0x00, &(struct ok_info){.status = STATUS_AUTOCOMMIT});
}

int put_ok_info(struct wire *w, uint32_t caps, const struct ok_info *info)
{
    return put_ok_kind(w, caps, 0x00, info);
}

/* Where to cut so that not more than max bytes stay and no UTF-8 character is torn. */
static size_t cut_text(const char *text, size_t max)
{
    size_t n = strnlen(text, max + 1);
    if (n <= max) {
        return n;
    }
    n = max;
    while (n > 0 && max - n < 4 && ((unsigned char)text[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

int put_err_text(struct wire *w, unsigned code, const char *sqlstate, const char *text)
{
    const char *state = sqlstate ? sqlstate : packet_sqlstate(code);
    CHECK(strlen(state) == 5 && code <= UINT16_MAX);
    struct buf *b = wire_begin(w);
    buf_u8(b, 0xff);
    buf_u16(b, (uint16_t)code);
    buf_u8(b, '#');
    buf_str(b, state);
    buf_bytes(b, text, cut_text(text, ERR_TEXT_MAX));
    return wire_end(w);
}

int put_err(struct wire *w, unsigned code, const char *sqlstate, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX + 8]; /* a little more, so that the cut sees whether it tears a character */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return put_err_text(w, code, sqlstate, text);
}

int put_eof(struct wire *w, uint16_t status, uint16_t warnings)
{
    struct buf *b = wire_begin(w);
    buf_u8(b, 0xfe);
    buf_u16(b, warnings);
    buf_u16(b, status);
    return wire_end(w);
}

/* ---- result sets ---- */

static bool is_text(uint8_t type)
{
    return type == TYPE_VAR_STRING || type == TYPE_STRING || type == TYPE_BLOB || type == TYPE_LONG_BLOB;
}

static void put_column(struct wire *w, const struct column *col)
{
    uint16_t charset = is_text(col->type) ? CHARSET_UTF8MB4_GENERAL : CHARSET_BINARY;
    struct buf *b = wire_begin(w);
    buf_lenenc_str(b, "def");
    buf_lenenc_str(b, ""); /* schema */
    buf_lenenc_str(b, col->table ? col->table : "");
    buf_lenenc_str(b, col->table ? col->table : "");
    buf_lenenc_str(b, col->name);
    buf_lenenc_str(b, ""); /* the column's name in its table */
    buf_lenenc(b, 12);     /* bytes that follow */
    buf_u16(b, col->charset ? col->charset : charset);
    buf_u32(b, col->length);
    buf_u8(b, col->type);
    buf_u16(b, col->flags);
    buf_u8(b, col->decimals);
    buf_zero(b, 2);
    wire_end(w);
}

void rowset_begin(struct rowset *rs, struct wire *w, uint32_t caps, const struct column *columns,
                  size_t ncols)
{
    CHECK(ncols > 0 && ncols <= RESULT_COLUMNS_MAX);
    *rs = (struct rowset){.w = w, .caps = caps, .ncols = ncols};
    buf_lenenc(wire_begin(w), ncols);
    wire_end(w);
    for (size_t i = 0; i < ncols; i++) {
        put_column(w, &columns[i]);
    }
    if (!(caps & CAP_DEPRECATE_EOF)) {
        put_eof(w, STATUS_AUTOCOMMIT, 0);
    }
}

static void end_row(struct rowset *rs)
{
    if (rs->in_row) {
        CHECK(rs->at == rs->ncols);
        wire_end(rs->w);
        rs->in_row = false;
        rs->nrows++;
    }
}

void rowset_row(struct rowset *rs)
{
    end_row(rs);
    rs->row = wire_begin(rs->w);
    rs->at = 0;
    rs->in_row = true;
}

/* The place for the next value. */
static struct buf *next_value(struct rowset *rs)
{
    CHECK(rs->in_row && rs->at < rs->ncols);
    rs->at++;
    return rs->row;
}

void rowset_null(struct rowset *rs)
{
    buf_u8(next_value(rs), 0xfb);
}

void rowset_bytes(struct rowset *rs, const void *data, size_t n)
{
    buf_lenenc_bytes(next_value(rs), data, n);
}

void rowset_str(struct rowset *rs, const char *s)
{
    if (s) {
        rowset_bytes(rs, s, strlen(s));
    } else {
        rowset_null(rs);
    }
}

void rowset_u64(struct rowset *rs, uint64_t v)
{
    rowset_printf(rs, "%llu", (unsigned long long)v);
}

void rowset_i64(struct rowset *rs, int64_t v)
{
    rowset_printf(rs, "%lld", (long long)v);
}

void rowset_printf(struct rowset *rs, const char *fmt, ...)
{
    struct buf *b = next_value(rs);
    va_list ap;
    va_list again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    buf_lenenc(b, n > 0 ? (uint64_t)n : 0);
    if (n > 0) {
        buf_vprintf(b, fmt, ap);
    }
    va_end(ap);
}

int rowset_end(struct rowset *rs)
{
    return rowset_end_with(rs, STATUS_AUTOCOMMIT, 0);
}

int rowset_end_with(struct rowset *rs, uint16_t status, uint16_t warnings)
{
    end_row(rs);
    if (rs->caps & CAP_DEPRECATE_EOF) {
        return put_ok_kind(rs->w, rs->caps, 0xfe, &(struct ok_info){.status = status, .warnings = warnings});
    }
    return put_eof(rs->w, status, warnings);
}
