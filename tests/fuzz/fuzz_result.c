/* fuzz_result: what a server answers, read by our client side.
 *
 * Input: flags (1: without EOF packets; 2: a small maximum), then the packets, each with its length (two
 * bytes). Properties: memory stays within what was allowed; every value can be read; a whole result set,
 * written again by our server side, is read the same. */
#include "protocol/base/buf.h"
#include "protocol/result.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"

enum { SMALL = 512, LARGE = 1 << 20, REWRITE_MAX = 64 };

static void look(const struct result *r)
{
    for (size_t col = 0; col < r->ncols + 1; col++) {
        const char *name = result_column_name(r, col);
        (void)result_column_type(r, col);
        if (name) {
            int found = result_column(r, name);
            MUST(found >= 0 && (size_t)found <= col);
        }
    }
    for (size_t row = 0; row < r->nrows + 1; row++) {
        for (size_t col = 0; col < r->ncols + 1; col++) {
            size_t n;
            const char *value = result_value(r, row, col, &n);
            MUST(!value || (value[n] == '\0' && row < r->nrows && col < r->ncols));
        }
    }
    MUST(strnlen(r->message, sizeof r->message) < sizeof r->message);
    MUST(strnlen(r->sqlstate, sizeof r->sqlstate) < sizeof r->sqlstate);
}

static void write_again(const struct result *r, struct wire *w, uint32_t caps)
{
    struct column columns[REWRITE_MAX];
    struct rowset rs;
    for (size_t i = 0; i < r->ncols; i++) {
        columns[i] = (struct column)COLUMN_TEXT(result_column_name(r, i), 16);
    }
    rowset_begin(&rs, w, caps, columns, r->ncols);
    for (size_t row = 0; row < r->nrows; row++) {
        rowset_row(&rs);
        for (size_t col = 0; col < r->ncols; col++) {
            size_t n;
            const char *value = result_value(r, row, col, &n);
            if (value) {
                rowset_bytes(&rs, value, n);
            } else {
                rowset_null(&rs);
            }
        }
    }
    MUST(rowset_end(&rs) == 0);
}

static void same(const struct result *a, const struct result *b)
{
    MUST(a->ncols == b->ncols && a->nrows == b->nrows && b->has_rows);
    for (size_t col = 0; col < a->ncols; col++) {
        MUST(strcmp(result_column_name(a, col), result_column_name(b, col)) == 0);
        for (size_t row = 0; row < a->nrows; row++) {
            size_t n, m;
            const char *x = result_value(a, row, col, &n);
            const char *y = result_value(b, row, col, &m);
            MUST(!x == !y && n == m && (!x || memcmp(x, y, n) == 0));
        }
    }
}

static void round_trip(const struct result *r, uint32_t caps)
{
    struct result again;
    struct packet p;
    int rc = RESULT_MORE;
    struct wire *out = wire_new(1 << 24), *in = wire_new(1 << 24);
    write_again(r, out, caps);
    result_init(&again, 4 * LARGE);
    MUST(wire_feed(in, wire_output(out)->data, wire_output(out)->len, NULL) == 0);
    while (rc == RESULT_MORE && wire_next(in, &p, NULL) == 1) {
        rc = result_packet(&again, caps, &p, NULL);
    }
    MUST(rc == RESULT_DONE && wire_pending(in) == 0);
    same(r, &again);
    result_free(&again);
    wire_free(in);
    wire_free(out);
}

static int feed(struct result *r, uint32_t caps, struct cur *in)
{
    int rc = RESULT_MORE;
    while (rc == RESULT_MORE && cur_left(in)) {
        size_t n;
        struct errmsg em = {.text = ""};
        const uint8_t *p = fuzz_piece(in, &n);
        uint8_t *exact = fuzz_exact(p, n);
        rc = result_packet(r, caps, &(struct packet){.data = exact, .len = n}, &em);
        MUST(rc >= 0 || em.text[0]);
        free(exact);
        MUST(r->text.len <= r->text.max && r->index.len <= r->index.max);
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    uint32_t caps = CAP_PROTOCOL_41 | (flags & 1 ? CAP_DEPRECATE_EOF : 0);
    struct result r;
    result_init(&r, flags & 2 ? SMALL : LARGE);
    for (bool more = true; more && cur_left(&in);) {
        int rc = feed(&r, caps, &in);
        look(&r);
        if (rc == RESULT_DONE && r.has_rows && r.ncols <= REWRITE_MAX) {
            round_trip(&r, caps);
        }
        more = rc == RESULT_DONE && r.status & STATUS_MORE_RESULTS;
        result_reset(&r);
    }
    result_free(&r);
    return 0;
}
