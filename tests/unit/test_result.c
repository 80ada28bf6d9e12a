/*
 * test_result: what is written is read back, with and without CAP_DEPRECATE_EOF; answers of real servers are
 * read; errors have the bytes and the cut that MySQL's have; nothing cut, changed or endless gets past the
 * reader.
 */
#include "protocol/result.h"
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t unhex(const char *text, uint8_t *out, size_t size)
{
    size_t n = 0;
    for (; text[0] && text[1] && n < size; text += 2) {
        unsigned byte;
        if (sscanf(text, "%2x", &byte) != 1) {
            break;
        }
        out[n++] = (uint8_t)byte;
    }
    return n;
}

#define TIME_COLUMN "0364656600000010554e49585f54494d455354414d502829000c3f000b000000088100000000"

static int hears(struct result *r, uint32_t caps, const char *hex, struct errmsg *em)
{
    uint8_t data[1024];
    struct packet p = {.data = data, .len = unhex(hex, data, sizeof(data))};
    return result_packet(r, caps, &p, em);
}

static void expect_output(struct wire *w, const char *hex)
{
    uint8_t want[1024];
    size_t n = unhex(hex, want, sizeof(want));
    struct buf *out = wire_output(w);
    if (UNIT_UINT(out->len, n)) {
        UNIT_MEM(out->data, want, n);
    }
    out->len = 0;
}

/* ---- writing ---- */

static void single_packets(void)
{
    struct wire *w = wire_new(1000);
    wire_seq_set(w, 1);
    put_ok(w, CAPS_SERVER);
    expect_output(w, "0700000100000002000000");
    put_ok_info(w, CAPS_SERVER,
                &(struct ok_info){.affected = 300, .insert_id = 5, .status = 3, .warnings = 1, .info = "hi"});
    expect_output(w, "0b00000200fc2c0105030001006869");
    put_eof(w, STATUS_AUTOCOMMIT, 0);
    expect_output(w, "05000003fe00000200");
    put_err(w, ER_UNKNOWN_VARIABLE, NULL, "Unknown system variable '%s'", "GTID_MODE");
    expect_output(w, "2c000004ffa904234859303030556e6b6e6f776e2073797374656d207661726961626c65202747544"
                     "9445f4d4f444527");
    put_err_text(w, ER_SP_DOES_NOT_EXIST, NULL, "FUNCTION binlog_gtid_pos does not exist");
    expect_output(w, "30000005ff190523343230303046554e4354494f4e2062696e6c6f675f677469645f706f7320646f"
                     "6573206e6f74206578697374");
    put_err_text(w, 1999, "XA100", "%s");
    expect_output(w, "0b000006ffcf07235841313030" "2573");
    wire_free(w);
}

static size_t err_text_length(const char *text, bool formatted)
{
    struct wire *w = wire_new(1000);
    if (formatted) {
        put_err(w, 1236, NULL, "%s", text);
    } else {
        put_err_text(w, 1236, NULL, text);
    }
    size_t n = wire_output(w)->len - PACKET_HEADER - 9;
    wire_free(w);
    return n;
}

static void long_errors_are_cut(void)
{
    char text[1200];
    memset(text, 'x', sizeof(text));
    text[1199] = 0;
    for (int formatted = 0; formatted < 2; formatted++) {
        UNIT_UINT(err_text_length(text, formatted), 511);
        text[511] = 0;
        UNIT_UINT(err_text_length(text, formatted), 511);
        text[511] = 'x';
        memcpy(text + 509, "\xe2\x82\xac", 3); /* a character of three bytes across the cut */
        UNIT_UINT(err_text_length(text, formatted), 509);
        memcpy(text + 508, "\xe2\x82\xac", 3);
        text[511] = 'x';
        UNIT_UINT(err_text_length(text, formatted), 511);
        memset(text, 0x80, 600); /* not text at all: cut somewhere */
        UNIT_TRUE(err_text_length(text, formatted) >= 500);
        memset(text, 'x', 600);
    }
}

static void write_table(struct wire *w, uint32_t caps)
{
    static const struct column columns[] = {
        COLUMN_TEXT("Name", 64), COLUMN_U64("Size"), COLUMN_I64("Delta"), COLUMN_TEXT("Remark", 10)};
    struct rowset rs;
    wire_seq_set(w, 1);
    rowset_begin(&rs, w, caps, columns, 4);
    rowset_row(&rs);
    rowset_str(&rs, "a");
    rowset_u64(&rs, UINT64_MAX);
    rowset_i64(&rs, INT64_MIN);
    rowset_str(&rs, NULL);
    rowset_row(&rs);
    rowset_bytes(&rs, "b\0c", 3);
    rowset_u64(&rs, 0);
    rowset_null(&rs);
    rowset_printf(&rs, "%0300d", 7);
    rowset_row(&rs);
    rowset_str(&rs, "");
    rowset_u64(&rs, 1);
    rowset_i64(&rs, 2);
    rowset_str(&rs, "x");
    UNIT_INT(rowset_end(&rs), 0);
    UNIT_UINT(rs.nrows, 3);
}

static int read_all(struct wire *w, struct result *r, uint32_t caps, struct errmsg *em)
{
    struct packet p;
    int rc;
    while ((rc = wire_next(w, &p, em)) == 1) {
        rc = result_packet(r, caps, &p, em);
        if (rc != RESULT_MORE) {
            return rc;
        }
    }
    return rc;
}

static void table_round_trip(uint32_t caps, uint8_t packets)
{
    struct wire *w = wire_new(1 << 20);
    struct wire *reader = wire_new(1 << 20);
    struct errmsg em = {""};
    struct result r;
    result_init(&r, 1 << 16);
    write_table(w, caps);
    wire_seq_set(reader, 1);
    wire_feed(reader, wire_output(w)->data, wire_output(w)->len, &em);
    UNIT_INT(read_all(reader, &r, caps, &em), RESULT_DONE);
    UNIT_UINT(wire_pending(reader), 0);
    wire_output(w)->len = 0;
    wire_put(w, "", 0);
    UNIT_UINT(wire_output(w)->data[3], packets + 1);
    UNIT_UINT(r.nrows, 3);
    UNIT_UINT(r.ncols, 4);
    UNIT_TRUE(r.has_rows);
    UNIT_UINT(r.status, STATUS_AUTOCOMMIT);
    UNIT_STR(result_column_name(&r, 0), "Name");
    UNIT_STR(result_column_name(&r, 3), "Remark");
    UNIT_TRUE(result_column_name(&r, 4) == NULL);
    UNIT_INT(result_column(&r, "sIzE"), 1);
    UNIT_INT(result_column(&r, "none"), -1);
    UNIT_INT(result_column_type(&r, 1), TYPE_LONGLONG);
    UNIT_STR(result_get(&r, 0, "Name"), "a");
    UNIT_STR(result_get(&r, 0, "Size"), "18446744073709551615");
    UNIT_STR(result_get(&r, 0, "Delta"), "-9223372036854775808");
    UNIT_TRUE(result_get(&r, 0, "Remark") == NULL);
    size_t n;
    UNIT_MEM(result_value(&r, 1, 0, &n), "b\0c", 4);
    UNIT_UINT(n, 3);
    UNIT_TRUE(result_value(&r, 1, 2, &n) == NULL);
    UNIT_UINT(strlen(result_get(&r, 1, "remark")), 300);
    UNIT_STR(result_get(&r, 2, "Name"), "");
    UNIT_TRUE(result_value(&r, 3, 0, NULL) == NULL);
    UNIT_TRUE(result_value(&r, 0, 4, NULL) == NULL);
    result_reset(&r);
    UNIT_UINT(r.nrows, 0);
    UNIT_TRUE(result_column_name(&r, 0) == NULL);
    result_free(&r);
    wire_free(w);
    wire_free(reader);
}

static void tables_round_trip(void)
{
    table_round_trip(CAPS_SERVER, 1 + 4 + 3 + 1);
    table_round_trip(CAPS_SERVER & ~(uint32_t)CAP_DEPRECATE_EOF, 1 + 4 + 1 + 3 + 1);
}

static void empty_table(void)
{
    static const struct column column = COLUMN_TEXT("File", 20);
    struct wire *w = wire_new(1000);
    struct rowset rs;
    rowset_begin(&rs, w, CAPS_SERVER, &column, 1);
    UNIT_INT(rowset_end_with(&rs, STATUS_AUTOCOMMIT, 3), 0);
    expect_output(w, "01000000011a0000010364656600000004" "46696c65000c2d0050000000fd00001f0000"
                     "07000002fe000002000300");
    wire_free(w);
}

/* ---- reading what real servers sent ---- */

static void recorded_answers(void)
{
    struct errmsg em = {""};
    struct result r;
    result_init(&r, 1000);
    UNIT_INT(hears(&r, CAP_DEPRECATE_EOF, "01", &em), RESULT_MORE);
    UNIT_INT(hears(&r, CAP_DEPRECATE_EOF,
                   "036465660000001740736f757263655f62696e6c6f675f636865636b73756d000c"
                   "ff00f4ffff0bfb00001f0000",
                   &em),
             RESULT_MORE);
    UNIT_INT(hears(&r, CAP_DEPRECATE_EOF, "054352433332", &em), RESULT_MORE);
    UNIT_INT(hears(&r, CAP_DEPRECATE_EOF, "fe000002000000", &em), RESULT_DONE);
    UNIT_STR(result_get(&r, 0, "@source_binlog_checksum"), "CRC32");
    UNIT_INT(hears(&r, CAP_DEPRECATE_EOF, "fe000002000000", &em), E_MALFORMED);

    result_reset(&r);
    UNIT_INT(hears(&r, 0, "01", &em), RESULT_MORE);
    UNIT_INT(hears(&r, 0, TIME_COLUMN, &em), RESULT_MORE);
    UNIT_INT(hears(&r, 0, "fe00000200", &em), RESULT_MORE);
    UNIT_INT(hears(&r, 0, "0a31373935323036393532", &em), RESULT_MORE);
    UNIT_INT(hears(&r, 0, "fe00002200", &em), RESULT_DONE);
    UNIT_STR(result_value(&r, 0, 0, NULL), "1795206952");
    UNIT_UINT(r.status, 0x22);

    result_reset(&r);
    UNIT_INT(hears(&r, 0, "00000002000000", &em), RESULT_DONE);
    UNIT_TRUE(!r.has_rows);

    result_reset(&r);
    UNIT_INT(hears(&r, 0, "ffa904234859303030556e6b6e6f776e2073797374656d207661726961626c65202747544944"
                          "5f4d4f444527",
                   &em),
             E_PEER);
    UNIT_UINT(r.code, 1193);
    UNIT_STR(r.sqlstate, "HY000");
    UNIT_STR(r.message, "Unknown system variable 'GTID_MODE'");
    UNIT_STR(em.text, "Unknown system variable 'GTID_MODE' (1193)");

    result_reset(&r);
    UNIT_INT(hears(&r, 0, "ffcb04233432303030" "6e6f", &em), E_DENIED);
    result_free(&r);
}

static void what_does_not_belong_is_refused(void)
{
    struct errmsg em = {""};
    struct result r;
    result_init(&r, 1000);
    static const char *const first[] = {"", "fb", "fe", "0100", "fc0020", "0000", "ff01"};
    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
        result_reset(&r);
        UNIT_INT(hears(&r, CAP_DEPRECATE_EOF, first[i], &em), E_MALFORMED);
    }
    result_reset(&r);
    hears(&r, 0, "01", &em);
    UNIT_INT(hears(&r, 0, TIME_COLUMN, &em), RESULT_MORE);
    UNIT_INT(hears(&r, 0, "0131", &em), E_MALFORMED); /* no EOF */
    static const char *const rows[] = {"0231", "01310131", "fb00", ""};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        result_reset(&r);
        hears(&r, CAP_DEPRECATE_EOF, "01", &em);
        hears(&r, CAP_DEPRECATE_EOF, TIME_COLUMN, &em);
        UNIT_INT(hears(&r, CAP_DEPRECATE_EOF, rows[i], &em), E_MALFORMED);
    }
    result_free(&r);
}

static void endless_results_end(void)
{
    struct errmsg em = {""};
    struct result r;
    static const char *const rows[] = {"fb", "00", "0a31373935323036393532"};
    for (size_t i = 0; i < 3; i++) {
        result_init(&r, 10000);
        hears(&r, CAP_DEPRECATE_EOF, "01", &em);
        hears(&r, CAP_DEPRECATE_EOF, TIME_COLUMN, &em);
        int rc = RESULT_MORE;
        int count = 0;
        while (rc == RESULT_MORE && count < 100000) {
            rc = hears(&r, CAP_DEPRECATE_EOF, rows[i], &em);
            count++;
        }
        UNIT_INT(rc, E_TOOBIG);
        UNIT_TRUE(count > 100 && count < 10000);
        result_free(&r);
    }
}

/* ---- hostile ---- */

/* A whole answer in which one packet is cut or changed. */
static void survives(const struct buf *stream, uint32_t caps, size_t change, bool cut, uint64_t x)
{
    struct errmsg em = {""};
    struct result r;
    result_init(&r, 1 << 16);
    size_t i = 0;
    int rc = RESULT_MORE;
    for (size_t at = 0; at < stream->len && rc == RESULT_MORE; i++) {
        size_t n = stream->data[at] | (size_t)stream->data[at + 1] << 8;
        uint8_t *exact = malloc(n ? n : 1);
        memcpy(exact, stream->data + at + PACKET_HEADER, n);
        at += PACKET_HEADER + n;
        if (i == change && n) {
            if (cut) {
                exact = realloc(exact, x % n + 1);
                n = x % n;
            } else {
                exact[x % n] = (uint8_t)(x >> 32);
            }
        }
        struct packet p = {.data = exact, .len = n};
        rc = result_packet(&r, caps, &p, &em);
        free(exact);
    }
    UNIT_TRUE(rc >= 0 || em.text[0]);
    for (size_t row = 0; row < r.nrows; row++) {
        for (size_t col = 0; col < r.ncols; col++) {
            size_t n;
            const char *value = result_value(&r, row, col, &n);
            UNIT_REQUIRE(!value || value[n] == 0);
        }
    }
    result_free(&r);
}

static void cuts_and_mutations(void)
{
    uint64_t x = unit_seed() * 0x9e3779b97f4a7c15ull + 1;
    for (int k = 0; k < 6000; k++) {
        uint32_t caps = k & 1 ? CAPS_SERVER : CAPS_SERVER & ~(uint32_t)CAP_DEPRECATE_EOF;
        struct wire *w = wire_new(1 << 20);
        write_table(w, caps);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        survives(wire_output(w), caps, (x >> 50) % 10, k & 2, x);
        wire_free(w);
    }
}

UNIT_MAIN("result", UNIT_TEST(single_packets), UNIT_TEST(long_errors_are_cut), UNIT_TEST(tables_round_trip),
          UNIT_TEST(empty_table), UNIT_TEST(recorded_answers), UNIT_TEST(what_does_not_belong_is_refused),
          UNIT_TEST(endless_results_end), UNIT_TEST(cuts_and_mutations))
