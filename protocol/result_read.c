/* result_read.c: reads what a server answers, packet by packet, and keeps it.
 *
 * Happy path: OK is an answer by itself; else a column count, that many definitions, [EOF], rows, the end.
 * Names and values stand in one text buffer, each with a NUL behind it; an index of cells says where, columns
 * first, then the rows one after the other. Failure modes: the server's ERR, at any place (E_PEER, E_DENIED);
 * a packet that does not fit the place where it came or does not end where its last field ends (E_MALFORMED);
 * more than the maximum (E_TOOBIG). After the last two the connection is useless. */
#include "protocol/base/check.h"
#include "protocol/base/cursor.h"
#include "protocol/result.h"

#include <string.h>
#include <strings.h>

enum state { FIRST, COLUMNS, COLUMNS_END, ROWS, COMPLETE };

/* Where a name or value is in `text`. */
struct result_cell {
    size_t at;
    uint32_t n;
    uint8_t type; /* of a column */
    bool null;
};

enum { EOF_MAX = 8 };

void result_init(struct result *r, size_t max)
{
    memset(r, 0, sizeof(*r));
    buf_init(&r->text, max);
    buf_init(&r->index, max);
}

void result_reset(struct result *r)
{
    struct buf text = r->text;
    struct buf index = r->index;
    buf_reset(&text);
    buf_reset(&index);
    memset(r, 0, sizeof(*r));
    r->text = text;
    r->index = index;
}

void result_free(struct result *r)
{
    buf_free(&r->text);
    buf_free(&r->index);
    size_t max = r->text.max;
    result_init(r, max);
}

/* ---- packets ---- */

static int malformed(struct errmsg *em, const char *what)
{
    return err_set(em, E_MALFORMED, "malformed result: %s", what);
}

int err_packet_parse(const struct packet *p, unsigned *code, char sqlstate[6], char *message, size_t size)
{
    CHECK(size > 0);
    struct cur c = cur_of(p->data, p->len);
    uint8_t kind = cur_u8(&c);
    *code = cur_u16(&c);
    memcpy(sqlstate, "HY000", 6);
    message[0] = 0;
    if (cur_peek_u8(&c) == '#') {
        cur_skip(&c, 1);
        cur_copy(&c, sqlstate, 5);
    }
    size_t n;
    const uint8_t *text = cur_rest(&c, &n);
    if (!cur_ok(&c) || kind != 0xff) {
        return E_MALFORMED;
    }
    n = n < size - 1 ? n : size - 1;
    memcpy(message, text, n);
    message[n] = 0;
    return 0;
}

static int on_error(struct result *r, const struct packet *p, struct errmsg *em)
{
    if (err_packet_parse(p, &r->code, r->sqlstate, r->message, sizeof(r->message))) {
        return malformed(em, "error packet");
    }
    bool denied = r->code == ER_ACCESS_DENIED || r->code == ER_DBACCESS_DENIED ||
                  r->code == ER_SPECIFIC_ACCESS_DENIED;
    r->state = COMPLETE;
    return err_set(em, denied ? E_DENIED : E_PEER, "%s (%u)", r->message, r->code);
}

/* An OK packet, or what stands in EOF's place. What follows the warnings is for people or for session
 * tracking. */
static int on_ok(struct result *r, const struct packet *p, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    cur_skip(&c, 1);
    uint64_t affected = cur_lenenc(&c);
    uint64_t insert_id = cur_lenenc(&c);
    r->status = cur_u16(&c);
    r->warnings = cur_u16(&c);
    if (!cur_ok(&c)) {
        return malformed(em, "OK packet");
    }
    r->affected = affected;
    r->insert_id = insert_id;
    r->state = COMPLETE;
    return RESULT_DONE;
}

static int on_eof(struct result *r, const struct packet *p, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    cur_skip(&c, 1);
    r->warnings = cur_u16(&c);
    r->status = cur_u16(&c);
    if (!cur_done(&c)) {
        return malformed(em, "EOF packet");
    }
    return 0;
}

static bool is_eof(const struct packet *p)
{
    return packet_kind(p) == 0xfe && p->len <= EOF_MAX;
}

/* ---- cells ---- */

static struct result_cell *cell_at(const struct result *r, size_t i)
{
    size_t count = r->index.len / sizeof(struct result_cell);
    return i < count ? (struct result_cell *)(void *)r->index.data + i : NULL;
}

static void add_cell(struct result *r, const void *data, size_t n, uint8_t type, bool null)
{
    if (n > UINT32_MAX) {
        r->text.err = E_TOOBIG;
        return;
    }
    struct result_cell cell = {.at = r->text.len, .n = (uint32_t)n, .type = type, .null = null};
    if (!null) {
        buf_bytes(&r->text, data, n);
        buf_u8(&r->text, 0);
    }
    if (!r->text.err) { /* a cell in the index can be read, whatever came of the result */
        buf_bytes(&r->index, &cell, sizeof(cell));
    }
}

static int kept(const struct result *r, struct errmsg *em)
{
    int err = r->text.err ? r->text.err : r->index.err;
    return err ? err_set(em, err, "result larger than %zu bytes", r->text.max) : RESULT_MORE;
}

static int on_column(struct result *r, uint32_t caps, const struct packet *p, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    const uint8_t *name = NULL;
    size_t nname = 0;
    for (int field = 0; field < 6; field++) { /* catalog, schema, table, its own name, name, its own name */
        size_t n;
        const uint8_t *text = cur_lenenc_bytes(&c, &n);
        if (field == 4) {
            name = text;
            nname = n;
        }
    }
    struct cur fixed = cur_sub(&c, cur_lenenc(&c));
    cur_skip(&fixed, 6); /* character set, length */
    uint8_t type = cur_u8(&fixed);
    if (!cur_done(&c) || !cur_ok(&fixed)) {
        return malformed(em, "column definition");
    }
    add_cell(r, name, nname, type, false);
    if (++r->seen_cols == r->ncols) {
        r->state = caps & CAP_DEPRECATE_EOF ? ROWS : COLUMNS_END;
    }
    return kept(r, em);
}

static int on_row(struct result *r, uint32_t caps, const struct packet *p, struct errmsg *em)
{
    if (caps & CAP_DEPRECATE_EOF && packet_kind(p) == 0xfe && p->len < PACKET_FRAGMENT) {
        return on_ok(r, p, em);
    }
    if (!(caps & CAP_DEPRECATE_EOF) && is_eof(p)) {
        int rc = on_eof(r, p, em);
        r->state = COMPLETE;
        return rc ? rc : RESULT_DONE;
    }
    struct cur c = cur_of(p->data, p->len);
    for (size_t i = 0; i < r->ncols && cur_ok(&c); i++) {
        if (cur_peek_u8(&c) == 0xfb) {
            cur_skip(&c, 1);
            add_cell(r, NULL, 0, 0, true);
        } else {
            size_t n;
            const uint8_t *value = cur_lenenc_bytes(&c, &n);
            if (value) {
                add_cell(r, value, n, 0, false);
            }
        }
    }
    if (!cur_done(&c)) {
        return malformed(em, "row");
    }
    int rc = kept(r, em);
    r->nrows += rc == RESULT_MORE; /* whole rows only */
    return rc;
}

static int on_first(struct result *r, const struct packet *p, struct errmsg *em)
{
    if (packet_kind(p) == 0x00) {
        return on_ok(r, p, em);
    }
    struct cur c = cur_of(p->data, p->len);
    uint64_t n = cur_lenenc(&c);
    if (!cur_done(&c) || n == 0 || n > RESULT_COLUMNS_MAX) {
        return malformed(em, "column count");
    }
    r->has_rows = true;
    r->ncols = (size_t)n;
    r->state = COLUMNS;
    return RESULT_MORE;
}

int result_packet(struct result *r, uint32_t caps, const struct packet *p, struct errmsg *em)
{
    if (p->len == 0) {
        return malformed(em, "empty packet");
    }
    if (packet_kind(p) == 0xff && r->state != COMPLETE) {
        return on_error(r, p, em);
    }
    switch ((enum state)r->state) {
    case FIRST:
        return on_first(r, p, em);
    case COLUMNS:
        return on_column(r, caps, p, em);
    case COLUMNS_END:
        if (!is_eof(p)) {
            return malformed(em, "no EOF behind the columns");
        }
        r->state = ROWS;
        return on_eof(r, p, em);
    case ROWS:
        return on_row(r, caps, p, em);
    case COMPLETE:
        break;
    }
    return malformed(em, "packet behind its end");
}

/* ---- access ---- */

const char *result_column_name(const struct result *r, size_t col)
{
    const struct result_cell *cell = col < r->seen_cols ? cell_at(r, col) : NULL;
    return cell ? (const char *)r->text.data + cell->at : NULL;
}

uint8_t result_column_type(const struct result *r, size_t col)
{
    const struct result_cell *cell = col < r->seen_cols ? cell_at(r, col) : NULL;
    return cell ? cell->type : 0;
}

int result_column(const struct result *r, const char *name)
{
    for (size_t i = 0; i < r->seen_cols; i++) {
        const char *have = result_column_name(r, i);
        if (have && strcasecmp(have, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

const char *result_value(const struct result *r, size_t row, size_t col, size_t *n)
{
    if (n) {
        *n = 0;
    }
    if (row >= r->nrows || col >= r->ncols) {
        return NULL;
    }
    const struct result_cell *cell = cell_at(r, r->ncols * (row + 1) + col);
    if (!cell || cell->null) {
        return NULL;
    }
    if (n) {
        *n = cell->n;
    }
    return (const char *)r->text.data + cell->at;
}

const char *result_get(const struct result *r, size_t row, const char *column)
{
    int col = result_column(r, column);
    return col < 0 ? NULL : result_value(r, row, (size_t)col, NULL);
}
