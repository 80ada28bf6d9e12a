/*
 * test_command: commands as real clients sent them are read as what they are, and built to the same bytes;
 * the dump's stream with and without semi-sync; nothing cut or changed is read beyond its end.
 */
#include "protocol/command.h"
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_97 "03000153454c45435420554e49585f54494d455354414d502829"
#define QUERY_56 "0353454c45435420554e49585f54494d455354414d502829"
#define REGISTER_97 "150c000000000000800e0000000000000000"
#define DUMP_97 "127705000002000c0000006d7973716c2d62696e2e303030303032"
#define DUMP_GTID_97                                                                                         \
    "1e02000c0000000000000004000000000000003000000001000000000000"                                           \
    "0085a05a83e51f11f1a45c02fc00000001010000000000000001000000000000000900000000000000"
#define ACK_97 "efda010000000000006d7973716c2d62696e2e303030303033"
#define EVENT_ASKS "00ef0160af006b100b0000001f000000da01000000006f00000000000000737054fd"
#define EVENT_PLAIN "0060af006b100b0000001f000000da01000000006f00000000000000737054fd"
#define DUMP_ERROR                                                                                           \
    "ffd404234859303030436f756c64206e6f742066696e64206669727374206c6f672066696c65206e616d6520696e2062"       \
    "696e617279206c6f6720696e6465782066696c65"

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

static uint8_t bytes[4096];

static struct packet packet_of(const char *hex)
{
    return (struct packet){.data = bytes, .len = unhex(hex, bytes, sizeof(bytes))};
}

/* The wire's output is one packet with this number and this payload. */
static void expect_output(struct wire *w, uint8_t seq, const char *hex)
{
    uint8_t want[512];
    size_t n = unhex(hex, want, sizeof(want));
    struct buf *out = wire_output(w);
    if (UNIT_UINT(out->len, PACKET_HEADER + n)) {
        UNIT_UINT(out->data[3], seq);
        UNIT_MEM(out->data + PACKET_HEADER, want, n);
    }
    out->len = 0;
}

static void names(void)
{
    UNIT_STR(command_name(COM_BINLOG_DUMP_GTID), "Binlog Dump GTID");
    UNIT_STR(command_name(0x03), "Query");
    UNIT_TRUE(command_name(0) == NULL);
    UNIT_TRUE(command_name(0xff) == NULL);
}

static void query_with_and_without_attributes(void)
{
    const char *text;
    size_t n;
    struct packet p = packet_of(QUERY_97);
    UNIT_INT(command_query(&p, CAP_QUERY_ATTRIBUTES, &text, &n, NULL), 0);
    UNIT_UINT(n, 23);
    UNIT_MEM(text, "SELECT UNIX_TIMESTAMP()", 23);
    p = packet_of(QUERY_56);
    UNIT_INT(command_query(&p, 0, &text, &n, NULL), 0);
    UNIT_UINT(n, 23);
    UNIT_MEM(text, "SELECT UNIX_TIMESTAMP()", 23);
    p = packet_of("03");
    UNIT_INT(command_query(&p, 0, &text, &n, NULL), 0);
    UNIT_UINT(n, 0);
    UNIT_INT(command_query(&p, CAP_QUERY_ATTRIBUTES, &text, &n, NULL), E_MALFORMED);
    p = packet_of("03000253454c");
    UNIT_INT(command_query(&p, CAP_QUERY_ATTRIBUTES, &text, &n, NULL), E_MALFORMED);

    struct wire *w = wire_new(1000);
    UNIT_INT(command_put_query(w, CAP_QUERY_ATTRIBUTES, "SELECT UNIX_TIMESTAMP()", 23), 0);
    expect_output(w, 0, QUERY_97);
    UNIT_INT(command_put_query(w, 0, "SELECT UNIX_TIMESTAMP()", 23), 0);
    expect_output(w, 0, QUERY_56);
    UNIT_INT(command_put(w, COM_PING), 0);
    expect_output(w, 0, "0e");
    wire_free(w);
}

/* a: text "x", b: NULL, c: 8 bytes, d: 4 bytes of a time */
static void query_attributes_are_passed_over(void)
{
    static const char hex[] = "03"
                              "0401"     /* four, one set */
                              "02"       /* b is NULL */
                              "01"       /* types follow */
                              "fd000161" /* VAR_STRING a */
                              "06000162" /* NULL b */
                              "08800163" /* LONGLONG UNSIGNED c */
                              "0c000164" /* DATETIME d */
                              "0178"
                              "1122334455667788"
                              "04e9070101"
                              "53454c4543542031";
    const char *text;
    size_t n;
    struct packet p = packet_of(hex);
    UNIT_INT(command_query(&p, CAP_QUERY_ATTRIBUTES, &text, &n, NULL), 0);
    UNIT_UINT(n, 8);
    UNIT_MEM(text, "SELECT 1", 8);
    p = packet_of("03fefffffffffffffffe01ff");
    UNIT_INT(command_query(&p, CAP_QUERY_ATTRIBUTES, &text, &n, NULL), E_MALFORMED);
}

static void register_slave(void)
{
    struct register_slave r;
    struct errmsg em = {""};
    struct packet p = packet_of(REGISTER_97);
    UNIT_INT(command_register_slave(&p, &r, &em), 0);
    UNIT_UINT(r.server_id, 12);
    UNIT_UINT(r.port, 3712);
    UNIT_STR(r.host, "");
    struct wire *w = wire_new(1000);
    UNIT_INT(command_put_register_slave(w, &r), 0);
    expect_output(w, 0, REGISTER_97);
    struct register_slave full = {.server_id = 1, .host = "db2", .user = "u", .password = "p", .port = 9,
                                  .rank = 7, .master_id = 5};
    UNIT_INT(command_put_register_slave(w, &full), 0);
    struct packet back = {.data = wire_output(w)->data + 4, .len = wire_output(w)->len - 4};
    UNIT_INT(command_register_slave(&back, &r, &em), 0);
    UNIT_TRUE(memcmp(&r, &full, sizeof(r)) == 0);
    wire_free(w);
    p = packet_of(REGISTER_97 "00");
    UNIT_INT(command_register_slave(&p, &r, &em), E_MALFORMED);
    uint8_t long_user[200] = {0x15, 1, 0, 0, 0, 0, 97};
    p = (struct packet){.data = long_user, .len = sizeof(long_user)};
    UNIT_INT(command_register_slave(&p, &r, &em), E_TOOBIG);
    UNIT_STR(em.text, "Failed to register replica: too long 'report-user'");
}

static void binlog_dump(void)
{
    struct binlog_dump d;
    struct packet p = packet_of(DUMP_97);
    UNIT_INT(command_binlog_dump(&p, &d, NULL), 0);
    UNIT_TRUE(!d.by_gtid);
    UNIT_UINT(d.pos, 1399);
    UNIT_UINT(d.flags, DUMP_HEARTBEAT_V2);
    UNIT_UINT(d.server_id, 12);
    UNIT_STR(d.file, "mysql-bin.000002");
    struct wire *w = wire_new(1000);
    UNIT_INT(command_put_binlog_dump(w, &d), 0);
    expect_output(w, 0, DUMP_97);
    d.pos = 1ull << 32;
    UNIT_INT(command_put_binlog_dump(w, &d), E_INVALID);
    wire_free(w);
    p = packet_of("1204000000000001000000");
    UNIT_INT(command_binlog_dump(&p, &d, NULL), 0);
    UNIT_STR(d.file, "");
    p = packet_of("120400000000000100000061006200");
    UNIT_INT(command_binlog_dump(&p, &d, NULL), E_MALFORMED);
    p = packet_of("1204000000000001000000616200");
    UNIT_INT(command_binlog_dump(&p, &d, NULL), 0);
    UNIT_STR(d.file, "ab");
}

static void binlog_dump_gtid(void)
{
    struct binlog_dump d;
    struct packet p = packet_of(DUMP_GTID_97);
    UNIT_INT(command_binlog_dump(&p, &d, NULL), 0);
    UNIT_TRUE(d.by_gtid);
    UNIT_UINT(d.pos, 4);
    UNIT_UINT(d.server_id, 12);
    UNIT_UINT(d.ngtids, 48);
    UNIT_TRUE(d.gtids == bytes + 23);
    struct wire *w = wire_new(1000);
    UNIT_INT(command_put_binlog_dump(w, &d), 0);
    expect_output(w, 0, DUMP_GTID_97);
    d = (struct binlog_dump){.by_gtid = true, .pos = 5ull << 32, .file = "b.000001"};
    UNIT_INT(command_put_binlog_dump(w, &d), 0);
    struct packet back = {.data = wire_output(w)->data + 4, .len = wire_output(w)->len - 4};
    struct binlog_dump again;
    UNIT_INT(command_binlog_dump(&back, &again, NULL), 0);
    UNIT_UINT(again.pos, 5ull << 32);
    UNIT_STR(again.file, "b.000001");
    UNIT_UINT(again.ngtids, 0);
    wire_free(w);
    p = packet_of(DUMP_GTID_97 "00");
    UNIT_INT(command_binlog_dump(&p, &d, NULL), E_MALFORMED);
    p = packet_of("1e02000c000000ffffffff04");
    UNIT_INT(command_binlog_dump(&p, &d, NULL), E_MALFORMED);
}

static void small_commands(void)
{
    char db[8];
    uint32_t id;
    struct packet p = packet_of("0273686f70");
    UNIT_INT(command_init_db(&p, db, sizeof(db), NULL), 0);
    UNIT_STR(db, "shop");
    p = packet_of("0273686f7073686f70");
    UNIT_INT(command_init_db(&p, db, sizeof(db), NULL), E_MALFORMED);
    p = packet_of("0c01020000");
    UNIT_INT(command_kill(&p, &id, NULL), 0);
    UNIT_UINT(id, 513);
    p = packet_of("0c010200");
    UNIT_INT(command_kill(&p, &id, NULL), E_MALFORMED);
}

static void stream_packets(void)
{
    struct stream_packet s;
    struct errmsg em = {""};
    struct packet p = packet_of(EVENT_ASKS);
    UNIT_INT(stream_parse(&p, true, &s, &em), 0);
    UNIT_INT(s.kind, STREAM_EVENT);
    UNIT_TRUE(s.wants_ack);
    UNIT_UINT(s.n, 31);
    UNIT_TRUE(s.event == bytes + 3);
    p = packet_of(EVENT_PLAIN);
    UNIT_INT(stream_parse(&p, false, &s, &em), 0);
    UNIT_TRUE(!s.wants_ack);
    UNIT_UINT(s.n, 31);
    UNIT_INT(stream_parse(&p, true, &s, &em), E_MALFORMED);
    p = packet_of("fe00000200");
    UNIT_INT(stream_parse(&p, true, &s, &em), 0);
    UNIT_INT(s.kind, STREAM_END);
    p = packet_of(DUMP_ERROR);
    UNIT_INT(stream_parse(&p, true, &s, &em), 0);
    UNIT_INT(s.kind, STREAM_ERROR);
    UNIT_UINT(s.code, 1236);
    UNIT_STR(s.sqlstate, "HY000");
    UNIT_STR(s.message, "Could not find first log file name in binary log index file");
    p = packet_of("0000000000");
    UNIT_INT(stream_parse(&p, false, &s, &em), E_MALFORMED);
    p = packet_of("00ef02" "60af006b100b0000001f000000da01000000006f00000000000000737054fd");
    UNIT_INT(stream_parse(&p, true, &s, &em), E_MALFORMED);
    p.len = 0;
    UNIT_INT(stream_parse(&p, false, &s, &em), E_MALFORMED);
    p = packet_of("0500");
    UNIT_INT(stream_parse(&p, false, &s, &em), E_MALFORMED);
}

static void stream_numbers_restart_after_asking(void)
{
    uint8_t event[64];
    size_t n = unhex(&EVENT_PLAIN[2], event, sizeof(event));
    struct wire *w = wire_new(1000);
    wire_seq_apart(w, true);
    wire_seq_set(w, 7);
    UNIT_INT(stream_put_event(w, false, true, event, n), 0);
    expect_output(w, 7, EVENT_PLAIN);
    UNIT_INT(stream_put_event(w, true, true, event, n), 0);
    expect_output(w, 8, EVENT_ASKS);
    UNIT_INT(stream_put_event(w, true, false, event, n), 0);
    UNIT_UINT(wire_output(w)->data[3], 1);
    UNIT_UINT(wire_output(w)->data[6], 0);
    wire_free(w);
}

static void acknowledgements(void)
{
    struct semisync_ack ack;
    struct packet p = packet_of(ACK_97);
    UNIT_INT(semisync_ack_parse(&p, &ack, NULL), 0);
    UNIT_UINT(ack.pos, 474);
    UNIT_STR(ack.file, "mysql-bin.000003");
    struct wire *w = wire_new(1000);
    wire_seq_apart(w, true);
    wire_seq_set(w, 99);
    UNIT_INT(semisync_ack_put(w, "mysql-bin.000003", 474), 0);
    expect_output(w, 0, ACK_97);
    wire_free(w);
    p.seq = 1;
    UNIT_INT(semisync_ack_parse(&p, &ack, NULL), E_MALFORMED);
    p = packet_of(ACK_97 "00");
    UNIT_INT(semisync_ack_parse(&p, &ack, NULL), 0);
    UNIT_STR(ack.file, "mysql-bin.000003");
    p = packet_of("efda01000000000000");
    UNIT_INT(semisync_ack_parse(&p, &ack, NULL), E_MALFORMED);
    p = packet_of("ee" "da0100000000000061");
    UNIT_INT(semisync_ack_parse(&p, &ack, NULL), E_MALFORMED);
    p = packet_of("efda0100000000000061006200");
    UNIT_INT(semisync_ack_parse(&p, &ack, NULL), E_MALFORMED);
}

/* ---- hostile ---- */

/* All parsers over one packet that ends where its memory ends. */
static int parse_all(const uint8_t *data, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    memcpy(exact, data, n);
    struct packet p = {.data = exact, .len = n};
    const char *text;
    size_t len;
    uint32_t id;
    char db[10];
    struct register_slave r;
    struct binlog_dump d;
    struct stream_packet s;
    struct semisync_ack ack;
    int good = 0;
    for (uint32_t caps = 0; caps <= CAP_QUERY_ATTRIBUTES; caps += CAP_QUERY_ATTRIBUTES) {
        if (command_query(&p, caps, &text, &len, NULL) == 0) {
            UNIT_TRUE(len <= n);
            good += len && text[0] && text[len - 1];
        }
    }
    good += command_register_slave(&p, &r, NULL) == 0;
    if (command_binlog_dump(&p, &d, NULL) == 0) {
        UNIT_TRUE(d.ngtids <= n && strlen(d.file) <= n);
        good++;
    }
    good += command_init_db(&p, db, sizeof(db), NULL) == 0;
    good += command_kill(&p, &id, NULL) == 0;
    for (int semisync = 0; semisync < 2; semisync++) {
        if (stream_parse(&p, semisync, &s, NULL) == 0 && s.kind == STREAM_EVENT) {
            UNIT_TRUE(s.n < n);
            good += s.event[0] | s.event[s.n - 1] | 1;
        }
    }
    good += semisync_ack_parse(&p, &ack, NULL) == 0;
    free(exact);
    return good;
}

static void prefixes_and_mutations(void)
{
    static const char *const samples[] = {
        QUERY_97, QUERY_56, REGISTER_97, DUMP_97, DUMP_GTID_97, ACK_97, EVENT_ASKS, EVENT_PLAIN, DUMP_ERROR,
        "0304010201fd00016106000162088001630c00016401781122334455667788"};
    uint64_t x = unit_seed() * 0x9e3779b97f4a7c15ull + 1;
    int good = 0;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        uint8_t data[256];
        size_t n = unhex(samples[i], data, sizeof(data));
        for (size_t k = 0; k <= n; k++) {
            good += parse_all(data, k);
        }
        for (int k = 0; k < 3000; k++) {
            uint8_t changed[256];
            memcpy(changed, data, n);
            for (int m = 0; m < 3; m++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                changed[(x >> 8) % n] = (uint8_t)(x >> 40);
            }
            good += parse_all(changed, n);
        }
    }
    UNIT_TRUE(good > 0);
}

UNIT_MAIN("command", UNIT_TEST(names), UNIT_TEST(query_with_and_without_attributes),
          UNIT_TEST(query_attributes_are_passed_over), UNIT_TEST(register_slave), UNIT_TEST(binlog_dump),
          UNIT_TEST(binlog_dump_gtid), UNIT_TEST(small_commands), UNIT_TEST(stream_packets),
          UNIT_TEST(stream_numbers_restart_after_asking), UNIT_TEST(acknowledgements),
          UNIT_TEST(prefixes_and_mutations))
