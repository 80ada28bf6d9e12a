/* test_traps: traps of the replication protocol that peers of ours fell into, in the bytes on the wire and in the events: one test each, named
 * after what goes wrong when it is missed. */
#include "tests/unit/unit.h"

#include "protocol/auth_client.h"
#include "protocol/auth_server.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/result.h"
#include "protocol/txn.h"
#include "protocol/wire.h"
#include "tests/unit/sample.h"

#include <stdio.h>
#include <string.h>

/* Moves all output of one wire into the other. */
static void pass(struct wire *from, struct wire *to)
{
    struct errmsg em = {""};
    struct buf *out = wire_output(from);
    UNIT_INT(wire_feed(to, out->data, out->len, &em), 0);
    buf_reset(out);
}

static uint8_t seq_of(struct wire *w)
{
    struct buf *out = wire_output(w);
    uint8_t seq = out->len > 3 ? out->data[3] : 0xff;
    buf_reset(out);
    return seq;
}

/* After each event that asks for an ACK the next packet is number 1, at once: a MySQL replica drops the connection otherwise. */
static void trap_01_numbers_restart_after_asking(void)
{
    struct wire *w = wire_new(1 << 20);
    wire_seq_apart(w, true);
    wire_seq_set(w, 1);
    static const bool asks[] = {false, false, true, false, true, true, false};
    static const uint8_t want[] = {1, 2, 3, 1, 2, 1, 1};
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        UNIT_INT(stream_put_event(w, true, asks[i], "0123456789012345678", 19), 0);
        UNIT_UINT(seq_of(w), want[i]);
    }
    wire_free(w);
}

/* The source goes deaf for a replica whose ACK has another number than 0. */
static void trap_02_an_ack_is_packet_0(void)
{
    struct wire *w = wire_new(1 << 20);
    wire_seq_apart(w, true);
    for (unsigned i = 0; i < 5; i++) {
        UNIT_INT(semisync_ack_put(w, "mysql-bin.000003", 474), 0);
        UNIT_UINT(seq_of(w), 0);
    }
    static const uint8_t body[] = "\xef\xda\x01\0\0\0\0\0\0mysql-bin.000003";
    struct packet p = {.data = body, .len = sizeof body - 1, .seq = 0};
    struct semisync_ack ack;
    struct errmsg em;
    UNIT_INT(semisync_ack_parse(&p, &ack, &em), 0);
    UNIT_UINT(ack.pos, 474);
    UNIT_STR(ack.file, "mysql-bin.000003");
    p.seq = 1;
    UNIT_INT(semisync_ack_parse(&p, &ack, &em), E_MALFORMED);
    wire_free(w);
}

/* MariaDB 11 writes log_pos 0 inside transactions: places come from adding sizes, and 0 does not mean artificial. */
static void trap_06_log_pos_may_be_0(void)
{
    const struct sample *s = sample_named("mariadb-11.8-all-events/mysql-bin.000001");
    UNIT_REQUIRE(s != NULL);
    size_t at = EVENT_MAGIC_SIZE;
    unsigned zero = 0;
    while (at < s->size) {
        struct event_header h;
        struct errmsg em;
        UNIT_REQUIRE(event_peek(s->data + at, s->size - at, &h, &em) == 0);
        if (h.log_pos == 0) {
            zero++;
            UNIT_TRUE(!(h.flags & EVENT_FLAG_ARTIFICIAL));
        } else {
            UNIT_UINT(h.log_pos, at + h.size);
        }
        at += h.size;
    }
    UNIT_TRUE(zero > 20);
    UNIT_UINT(at, s->size);
}

/* A 9.x client sets bits that the server did not offer: what counts is the intersection. */
static void trap_10_capabilities_are_the_intersection(void)
{
    static const char text[] = "SELECT 1";
    struct wire *client = wire_new(1 << 20), *server = wire_new(1 << 20);
    struct packet p;
    struct errmsg em = {""};
    const char *got;
    size_t n;
    UNIT_INT(command_put_query(client, CAPS_CLIENT & ~(uint32_t)CAP_QUERY_ATTRIBUTES, text, sizeof text - 1), 0);
    pass(client, server);
    UNIT_REQUIRE(wire_next(server, &p, &em) == 1);
    UNIT_UINT(p.len, sizeof text); /* without the two bytes more */
    UNIT_INT(command_query(&p, CAPS_SERVER & ~(uint32_t)CAP_QUERY_ATTRIBUTES, &got, &n, &em), 0);
    UNIT_UINT(n, sizeof text - 1);
    UNIT_INT(command_put_query(client, CAPS_CLIENT, text, sizeof text - 1), 0);
    wire_seq_reset(server);
    pass(client, server);
    UNIT_REQUIRE(wire_next(server, &p, &em) == 1);
    UNIT_UINT(p.len, sizeof text + 2);
    UNIT_INT(command_query(&p, CAPS_SERVER, &got, &n, &em), 0);
    UNIT_UINT(n, sizeof text - 1);
    UNIT_MEM(got, text, n);
    wire_free(client);
    wire_free(server);
}

static int secret_of(void *arg, const char *user, struct account_secret *out)
{
    (void)user;
    *out = *(struct account_secret *)arg;
    return 0;
}

/* Each plugin as the greeting's against a client that knows both: the login ends well, by a switch where needed, and after
 * 01 03 the OK follows without a packet of the client's. */
static void trap_11_no_native_password_in_9(void)
{
    static const enum auth_plugin plugins[] = {AUTH_SHA2, AUTH_NATIVE};
    struct account_secret secret;
    account_secret_set(&secret, "secret", 6);
    for (size_t i = 0; i < 2; i++) {
        struct wire *cw = wire_new(1 << 20), *sw = wire_new(1 << 20);
        struct client_auth_opts copts = {.user = "repl", .password = "secret"};
        struct server_auth_opts sopts = {.version = "9.7.4-holdfast", .thread_id = 1, .plugin = plugins[i], .peer_host = "h", .lookup = secret_of,
                                         .lookup_arg = &secret};
        memset(sopts.salt, 'a', sizeof sopts.salt);
        struct client_auth *ca = client_auth_new(&copts);
        struct server_auth *sa = server_auth_new(&sopts);
        struct errmsg em = {""};
        struct packet p;
        bool client_done = false, server_done = false;
        UNIT_INT(server_auth_start(sa, sw), 0);
        for (unsigned turn = 0; turn < 8 && !(client_done && server_done); turn++) {
            pass(sw, cw);
            while (!client_done && wire_next(cw, &p, &em) == 1) {
                int rv = client_auth_packet(ca, cw, &p, &em);
                UNIT_REQUIRE(rv >= 0);
                client_done = rv == CLIENT_AUTH_DONE;
            }
            pass(cw, sw);
            while (!server_done && wire_next(sw, &p, &em) == 1) {
                int rv = server_auth_packet(sa, sw, &p, &em);
                UNIT_REQUIRE(rv >= 0);
                server_done = rv == SERVER_AUTH_DONE;
            }
        }
        UNIT_TRUE(client_done && server_done);
        client_auth_free(ca);
        server_auth_free(sa);
        wire_free(cw);
        wire_free(sw);
    }
}

/* Every sample file splits into its transactions, whatever ends them, and none ends inside another: the end that the GTID event
 * promised is the end found. */
static void trap_16_many_things_end_a_transaction(void)
{
    static const char *const files[] = {"mysql-9.7-all-events/mysql-bin.000001", "mysql-9.7-all-events/mysql-bin.000003",
                 "mysql-9.7-all-events/mysql-bin.000004", "mysql-9.7-all-events/mysql-bin.000005",
                 "mysql-5.6-all-events/mysql-bin.000001", "mariadb-10.11-all-events/mysql-bin.000001",
                 "mariadb-10.11-all-events/mysql-bin.000005", "mariadb-11.8-all-events/mysql-bin.000001"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const struct sample *s = sample_named(files[i]);
        struct event_format f;
        struct txn t;
        unsigned ends = 0;
        UNIT_REQUIRE(s != NULL);
        event_format_init(&f, FLAVOUR_NONE, CHECKSUM_CRC32);
        txn_init(&t);
        for (size_t at = EVENT_MAGIC_SIZE; at < s->size;) {
            struct event_header h;
            struct errmsg em = {""};
            UNIT_REQUIRE(event_peek(s->data + at, s->size - at, &h, &em) == 0);
            if (h.type == EVENT_FORMAT_DESCRIPTION) {
                UNIT_REQUIRE(event_format_read(s->data + at, h.size, &f, &em) == 0);
            }
            int place = txn_feed(&t, &f, s->data + at, h.size, &em);
            UNIT_REQUIRE(place >= 0);
            ends += place == TXN_END;
            UNIT_TRUE(place != TXN_END || !t.length || t.length == t.size);
            at += h.size;
        }
        UNIT_TRUE(!txn_is_open(&t));
        UNIT_TRUE(ends > 0);
        }
}

/* Tagged GTIDs have an event, integers and a set encoding of their own, used as soon as one member has a tag. */
static void trap_17_tagged_gtids_change_the_encoding(void)
{
    static const char text[] = "741e758a-e524-11f1-b8d6-02fc00000001:1-3:mytag:1";
    struct gtid_set *set = gtid_set_new(FLAVOUR_MYSQL), *again = gtid_set_new(FLAVOUR_MYSQL);
    struct errmsg em = {""};
    struct buf b, printed;
    buf_init(&b, 1000);
    buf_init(&printed, 1000);
    UNIT_INT(gtid_set_parse(set, text, sizeof text - 1, &em), 0);
    gtid_set_encode(set, &b);
    static const uint8_t head[] = {1, 2, 0, 0, 0, 0, 0, 1};
    UNIT_MEM(b.data, head, sizeof head);
    struct cur c = cur_of(b.data, b.len);
    UNIT_INT(gtid_set_decode(again, &c, &em), 0);
    UNIT_TRUE(cur_done(&c) && gtid_set_equal(set, again));
    gtid_set_print(again, &printed);
    UNIT_STR(buf_cstr(&printed), text);
    gtid_set_free(set);
    gtid_set_free(again);
    buf_free(&b);
    buf_free(&printed);
}

/* What is there leaves before the rest comes. */
static void put_in_pieces(struct wire *a, struct wire *b, const uint8_t *bytes, size_t n)
{
    enum { PIECE = 5000011 };
    UNIT_INT(stream_open_event(a, true, n), 0);
    for (size_t at = 0; at < n; at += PIECE) {
        UNIT_TRUE(wire_is_open(a));
        UNIT_INT(wire_more(a, bytes + at, n - at < PIECE ? n - at : PIECE), 0);
        pass(a, b);
    }
    UNIT_TRUE(!wire_is_open(a));
}

/* 16 MiB: fragments, one header in the first alone, an empty packet after an exact multiple, each fragment counted. */
static void trap_18_packets_of_16_mib_are_split(void)
{
    static const size_t sizes[] = {PACKET_FRAGMENT - 1, PACKET_FRAGMENT, PACKET_FRAGMENT + 1, 2 * (size_t)PACKET_FRAGMENT};
    static const uint8_t fragments[] = {1, 2, 2, 3};
    uint8_t *bytes = mem_new(2 * (size_t)PACKET_FRAGMENT);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        bool in_pieces = i % 2;
        struct wire *a = wire_new((size_t)1 << 30), *b = wire_new((size_t)1 << 30);
        struct packet p;
        struct errmsg em = {""};
        size_t n = sizes[i / 2] - 3; /* 00 ef 00 counts too */
        bytes[n - 1] = 77;
        wire_seq_apart(a, true);
        wire_seq_set(a, 1);
        wire_seq_apart(b, true);
        if (in_pieces) {
            put_in_pieces(a, b, bytes, n);
        } else {
            UNIT_INT(stream_put_event(a, true, false, bytes, n), 0);
        }
        UNIT_INT(wire_put(a, "x", 1), 0);
        pass(a, b);
        UNIT_REQUIRE(wire_next(b, &p, &em) == 1);
        UNIT_UINT(p.len, n + 3);
        UNIT_UINT(p.seq, 1);
        UNIT_TRUE(p.data[1] == SEMISYNC_MAGIC && !memcmp(p.data + 3, bytes, n));
        UNIT_REQUIRE(wire_next(b, &p, &em) == 1);
        UNIT_UINT(p.seq, 1 + fragments[i / 2]);
        UNIT_UINT(p.len, 1);
        wire_free(a);
        wire_free(b);
    }
    mem_free(bytes);
}

UNIT_MAIN("traps", UNIT_TEST(trap_01_numbers_restart_after_asking), UNIT_TEST(trap_02_an_ack_is_packet_0),
          UNIT_TEST(trap_06_log_pos_may_be_0), UNIT_TEST(trap_10_capabilities_are_the_intersection),
          UNIT_TEST(trap_11_no_native_password_in_9), UNIT_TEST(trap_16_many_things_end_a_transaction),
          UNIT_TEST(trap_17_tagged_gtids_change_the_encoding), UNIT_TEST(trap_18_packets_of_16_mib_are_split))
