/*
 * test_wire: packets come out of the wire as they were put, however they are cut on the way: in one piece,
 * byte by byte, as fragments at and around 16 MiB, in clear and through TLS. What is too large or out of
 * sequence ends the connection.
 */
#include "protocol/base/mem.h"
#include "protocol/tls.h"
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

enum { MAX = 64 * 1024 * 1024 };

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static uint8_t *filled(size_t n)
{
    uint8_t *data = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        data[i] = pattern(i);
    }
    return data;
}

/* Everything that `from` has to send goes into `to`, in pieces of `piece` bytes (0: whole). */
static int move(struct wire *from, struct wire *to, size_t piece, struct errmsg *em)
{
    struct buf out;
    buf_init(&out, 0);
    buf_move(&out, wire_output(from));
    int rc = 0;
    for (size_t at = 0; at < out.len && !rc;) {
        size_t n = piece && piece < out.len - at ? piece : out.len - at;
        rc = wire_feed(to, out.data + at, n, em);
        at += n;
    }
    buf_free(&out);
    return rc;
}

static void many_packets_in_one_feed(void)
{
    struct wire *a = wire_new(MAX);
    struct wire *b = wire_new(MAX);
    struct packet p;
    struct errmsg em;
    for (int i = 0; i < 1000; i++) {
        uint8_t text[16] = {(uint8_t)i, (uint8_t)(i >> 8)};
        UNIT_INT(wire_put(a, text, (size_t)(i % 17)), 0);
    }
    for (size_t piece = 0; piece < 3; piece++) {
        struct buf copy;
        buf_init(&copy, MAX);
        buf_bytes(&copy, wire_output(a)->data, wire_output(a)->len);
        int seen = 0;
        wire_seq_set(b, 0);
        for (size_t at = 0; at < copy.len;) {
            size_t n = piece ? piece : copy.len;
            n = n < copy.len - at ? n : copy.len - at;
            UNIT_INT(wire_feed(b, copy.data + at, n, &em), 0);
            at += n;
            while (wire_next(b, &p, &em) == 1) {
                UNIT_REQUIRE(p.len == (size_t)(seen % 17));
                UNIT_REQUIRE(p.seq == (uint8_t)seen);
                UNIT_REQUIRE(p.len < 2 || p.data[0] + 256 * p.data[1] == seen);
                seen++;
            }
        }
        UNIT_INT(seen, 1000);
        UNIT_UINT(wire_pending(b), 0);
        buf_free(&copy);
    }
    wire_free(a);
    wire_free(b);
}

/* One packet of n bytes, put in three ways, gives the same bytes; read back it is what it was. */
static void round_trip(size_t n, size_t fragments)
{
    uint8_t *data = filled(n);
    struct wire *put = wire_new(MAX);
    struct wire *put2 = wire_new(MAX);
    struct wire *built = wire_new(MAX);
    struct wire *reader = wire_new(MAX);
    struct packet p;
    struct errmsg em;
    wire_seq_set(put, 254);
    wire_seq_set(put2, 254);
    wire_seq_set(built, 254);
    wire_seq_set(reader, 254);
    UNIT_INT(wire_put(put, data, n), 0);
    size_t head = n < 100 ? n / 2 : n - 50;
    UNIT_INT(wire_put2(put2, data, head, data + head, n - head), 0);
    buf_bytes(wire_begin(built), data, n);
    UNIT_INT(wire_end(built), 0);
    struct buf *out = wire_output(put);
    UNIT_UINT(out->len, n + fragments * PACKET_HEADER);
    UNIT_UINT(wire_output(put2)->len, out->len);
    UNIT_REQUIRE(wire_output(built)->len == out->len);
    UNIT_TRUE(memcmp(wire_output(put2)->data, out->data, out->len) == 0);
    UNIT_TRUE(memcmp(wire_output(built)->data, out->data, out->len) == 0);
    uint8_t after[] = {7, 8, 9};
    UNIT_INT(wire_put(put, after, sizeof(after)), 0);
    UNIT_INT(move(put, reader, 65536, &em), 0);
    UNIT_INT(wire_next(reader, &p, &em), 1);
    UNIT_UINT(p.seq, 254);
    UNIT_REQUIRE(p.len == n);
    UNIT_TRUE(n == 0 || memcmp(p.data, data, n) == 0);
    UNIT_INT(wire_next(reader, &p, &em), 1);
    UNIT_UINT(p.seq, (uint8_t)(254 + fragments));
    UNIT_MEM(p.data, after, sizeof(after));
    UNIT_INT(wire_next(reader, &p, &em), 0);
    wire_free(put);
    wire_free(put2);
    wire_free(built);
    wire_free(reader);
    free(data);
}

static void sizes_around_the_limits(void)
{
    round_trip(0, 1);
    round_trip(1, 1);
    round_trip(65536, 1);
    round_trip(0xfffffe, 1);
    round_trip(0xffffff, 2); /* and an empty one behind it */
    round_trip(0x1000000, 2);
    round_trip(0xffffff * 2, 3);
    round_trip(0xffffff * 2 + 5, 3);
}

static void cancelled_packet_leaves_nothing(void)
{
    struct wire *w = wire_new(MAX);
    UNIT_INT(wire_put(w, "ab", 2), 0);
    buf_zero(wire_begin(w), 1000);
    wire_cancel(w);
    UNIT_INT(wire_put(w, "c", 1), 0);
    UNIT_UINT(wire_output(w)->len, 11);
    UNIT_MEM(wire_output(w)->data, "\x02\0\0\0ab\x01\0\0\x01" "c", 11);
    wire_free(w);
}

static int feed_hex(struct wire *w, const void *data, size_t n, struct packet *p, struct errmsg *em)
{
    int rc = wire_feed(w, data, n, em);
    return rc ? rc : wire_next(w, p, em);
}

static void too_large_is_refused_early(void)
{
    struct packet p;
    struct errmsg em;
    struct wire *w = wire_new(100);
    UNIT_INT(feed_hex(w, "\x64\0\0\0", 4, &p, &em), 0);
    wire_free(w);
    w = wire_new(100);
    UNIT_INT(feed_hex(w, "\x01\0\0\0z\x65\0\0\x01", 9, &p, &em), 1);
    UNIT_MEM(p.data, "z", 1);
    UNIT_INT(wire_next(w, &p, &em), E_TOOBIG);
    UNIT_INT(wire_next(w, &p, &em), E_TOOBIG);
    UNIT_INT(wire_feed(w, "x", 1, &em), E_TOOBIG);
    UNIT_STR(em.text, "packet larger than allowed");
    wire_free(w);

    /* two fragments that are too large together */
    uint8_t *data = filled(0xffffff + 20);
    struct wire *from = wire_new(MAX);
    wire_put(from, data, 0xffffff + 20);
    w = wire_new(0xffffff + 19);
    UNIT_INT(move(from, w, 0, &em), 0);
    UNIT_INT(wire_next(w, &p, &em), E_TOOBIG);
    wire_free(w);
    wire_free(from);
    free(data);

    /* bytes without end and nobody who reads them */
    static uint8_t flood[1 << 20];
    w = wire_new(100);
    int rc = 0;
    for (int i = 0; i < 64 && !rc; i++) {
        rc = wire_feed(w, flood, sizeof(flood), &em);
    }
    UNIT_INT(rc, E_TOOBIG);
    wire_free(w);
}

static void sequence_together(void)
{
    struct packet p;
    struct errmsg em;
    struct wire *w = wire_new(MAX);
    UNIT_INT(feed_hex(w, "\x01\0\0\0q", 5, &p, &em), 1);
    wire_put(w, "a", 1);
    wire_put(w, "b", 1);
    UNIT_MEM(wire_output(w)->data, "\x01\0\0\x01" "a\x01\0\0\x02" "b", 10);
    UNIT_INT(feed_hex(w, "\x01\0\0\x03q", 5, &p, &em), 1);
    wire_seq_reset(w);
    UNIT_INT(feed_hex(w, "\x01\0\0\0q\x01\0\0\0q", 10, &p, &em), 1);
    UNIT_INT(wire_next(w, &p, &em), E_MALFORMED);
    UNIT_INT(wire_feed(w, "", 0, &em), E_MALFORMED);
    wire_free(w);

    w = wire_new(MAX);
    wire_seq_check(w, false);
    UNIT_INT(feed_hex(w, "\x01\0\0\x09q\x01\0\0\x04q", 10, &p, &em), 1);
    UNIT_INT(wire_next(w, &p, &em), 1);
    UNIT_UINT(p.seq, 4);
    wire_free(w);
}

static void sequence_apart(void)
{
    struct packet p;
    struct errmsg em;
    struct wire *w = wire_new(MAX);
    UNIT_INT(feed_hex(w, "\x01\0\0\0d", 5, &p, &em), 1);
    wire_seq_apart(w, true);
    wire_put(w, "1", 1);
    wire_put(w, "2", 1);
    UNIT_INT(feed_hex(w, "\x01\0\0\0k\x01\0\0\0k", 10, &p, &em), 1);
    UNIT_INT(wire_next(w, &p, &em), 1);
    wire_put(w, "3", 1);
    wire_seq_set(w, 1);
    wire_put(w, "4", 1);
    UNIT_MEM(wire_output(w)->data, "\1\0\0\1" "1\1\0\0\2" "2\1\0\0\3" "3\1\0\0\1" "4", 20);
    wire_free(w);
}

static void fragments_must_follow_each_other(void)
{
    struct packet p;
    struct errmsg em;
    uint8_t *data = filled(0x1000000);
    struct wire *from = wire_new(MAX);
    struct wire *to = wire_new(MAX);
    wire_put(from, data, 0x1000000);
    wire_output(from)->data[0xffffff + 4 + 3] = 5; /* the second fragment's number */
    wire_seq_apart(to, true);
    UNIT_INT(move(from, to, 0, &em), 0);
    UNIT_INT(wire_next(to, &p, &em), E_MALFORMED);
    wire_free(from);
    wire_free(to);
    free(data);
}

static void output_has_a_maximum(void)
{
    struct wire *w = wire_new(MAX);
    uint8_t byte = 1;
    UNIT_INT(wire_put(w, &byte, 1), 0);
    UNIT_INT(wire_put2(w, &byte, 1, &byte, WIRE_OUTPUT_MAX), E_TOOBIG);
    UNIT_INT(wire_put(w, &byte, 1), E_TOOBIG);
    UNIT_INT(wire_output(w)->err, E_TOOBIG);
    UNIT_UINT(wire_output(w)->len, 5);
    wire_free(w);
}

/* ---- TLS ---- */

struct tls_pair {
    struct tls_ctx *server_ctx;
    struct tls_ctx *client_ctx;
    struct wire *server;
    struct wire *client;
};

static bool tls_pair_open(struct tls_pair *t)
{
    static const char *const names[] = {"db.example", "127.0.0.1"};
    struct errmsg em = {""};
    struct buf cert;
    struct buf key;
    buf_init(&cert, 1 << 16);
    buf_init(&key, 1 << 16);
    UNIT_INT(tls_self_signed(names, 2, 1700000000, 42, &cert, &key, &em), 0);
    struct tls_files files = {.cert = buf_cstr(&cert), .key = buf_cstr(&key)};
    struct tls_files none = {0};
    t->server_ctx = tls_server_ctx(&files, &em);
    t->client_ctx = tls_client_ctx(TLS_REQUIRED, &none, &em);
    buf_free(&cert);
    buf_free(&key);
    t->server = wire_new(MAX);
    t->client = wire_new(MAX);
    return UNIT_TRUE(t->server_ctx != NULL) && UNIT_TRUE(t->client_ctx != NULL);
}

static void tls_pair_close(struct tls_pair *t)
{
    wire_free(t->server);
    wire_free(t->client);
    tls_ctx_free(t->server_ctx);
    tls_ctx_free(t->client_ctx);
}

/* Client and server switch to TLS after one clear packet each; the client's first TLS bytes arrive together
 * with its clear ones. */
static int tls_begin(struct tls_pair *t, size_t piece, struct errmsg *em)
{
    struct packet p;
    wire_put(t->server, "greeting", 8);
    move(t->server, t->client, 0, em);
    UNIT_INT(wire_next(t->client, &p, em), 1);
    wire_put(t->client, "ssl", 3);
    UNIT_INT(wire_start_tls(t->client, tls_client_new(t->client_ctx, "db.example", em), em), 0);
    wire_put(t->client, "secret", 6);
    UNIT_INT(move(t->client, t->server, 0, em), 0);
    UNIT_INT(wire_next(t->server, &p, em), 1);
    UNIT_MEM(p.data, "ssl", 3);
    UNIT_INT(wire_start_tls(t->server, tls_server_new(t->server_ctx, em), em), 0);
    int rc = 0;
    for (int i = 0; i < 6 && !rc; i++) {
        rc = i % 2 ? move(t->client, t->server, piece, em) : move(t->server, t->client, piece, em);
    }
    return rc;
}

/* A handshake of two sessions alone: 0 when both are ready, else the error of whoever ended it. */
static int shake_hands(struct tls_ctx *client_ctx, struct tls_ctx *server_ctx)
{
    struct errmsg em = {""};
    struct tls *client = tls_client_new(client_ctx, NULL, &em), *server = tls_server_new(server_ctx, &em);
    struct buf to_server, to_client, plain;
    buf_init(&to_server, MAX);
    buf_init(&to_client, MAX);
    buf_init(&plain, MAX);
    int rv = tls_feed(client, NULL, 0, &plain, &to_server, &em);
    for (int i = 0; i < 4 && !rv; i++) {
        rv = tls_feed(server, to_server.data, to_server.len, &plain, &to_client, &em);
        buf_reset(&to_server);
        int back = tls_feed(client, to_client.data, to_client.len, &plain, &to_server, &em);
        buf_reset(&to_client);
        rv = rv ? rv : back;
    }
    rv = rv ? rv : tls_ready(client) && tls_ready(server) ? 0 : E_AGAIN;
    tls_free(client);
    tls_free(server);
    buf_free(&to_server);
    buf_free(&to_client);
    buf_free(&plain);
    return rv;
}

/* Who does not know the key gets in nowhere; neither does a certificate in its place. */
static void shared_key_is_proven(void)
{
    static const uint8_t key[TLS_PSK_BYTES] = "one key", other[TLS_PSK_BYTES] = "another key";
    struct errmsg em = {""};
    struct tls_pair certificates;
    struct tls_ctx *server = tls_psk_ctx(true, key, &em), *client = tls_psk_ctx(false, key, &em), *stranger = tls_psk_ctx(false, other, &em);
    UNIT_REQUIRE(server && client && stranger && tls_pair_open(&certificates));
    UNIT_INT(shake_hands(client, server), 0);
    UNIT_TRUE(shake_hands(stranger, server) != 0);
    UNIT_TRUE(shake_hands(certificates.client_ctx, server) != 0);
    UNIT_TRUE(shake_hands(client, certificates.server_ctx) != 0);
    UNIT_INT(shake_hands(certificates.client_ctx, certificates.server_ctx), 0);
    tls_ctx_require_peer(certificates.server_ctx);
    UNIT_TRUE(shake_hands(certificates.client_ctx, certificates.server_ctx) != 0);
    tls_pair_close(&certificates);
    tls_ctx_free(server);
    tls_ctx_free(client);
    tls_ctx_free(stranger);
}

static void tls_carries_packets(size_t piece)
{
    struct tls_pair t;
    struct packet p;
    struct errmsg em = {""};
    if (!tls_pair_open(&t)) {
        return;
    }
    UNIT_INT(tls_begin(&t, piece, &em), 0);
    UNIT_TRUE(wire_has_tls(t.server));
    UNIT_INT(wire_next(t.server, &p, &em), 1);
    UNIT_UINT(p.seq, 2);
    UNIT_MEM(p.data, "secret", 6);
    size_t n = piece ? 100000 : 0x1000005;
    uint8_t *data = filled(n);
    wire_put(t.server, data, n);
    struct buf *out = wire_output(t.server);
    UNIT_TRUE(out->len > n);
    UNIT_TRUE(memmem(out->data, out->len, data + 1000, 64) == NULL);
    UNIT_INT(move(t.server, t.client, piece ? piece : 50000, &em), 0);
    UNIT_INT(wire_next(t.client, &p, &em), 1);
    UNIT_REQUIRE(p.len == n);
    UNIT_TRUE(memcmp(p.data, data, n) == 0);
    free(data);
    tls_pair_close(&t);
}

static void tls_whole(void)
{
    tls_carries_packets(0);
}

static void tls_byte_by_byte(void)
{
    tls_carries_packets(1);
}

static void tls_damage_is_noticed(void)
{
    struct tls_pair t;
    struct packet p;
    struct errmsg em = {""};
    if (!tls_pair_open(&t)) {
        return;
    }
    UNIT_INT(tls_begin(&t, 0, &em), 0);
    UNIT_INT(wire_next(t.server, &p, &em), 1);
    wire_put(t.server, "answer", 6);
    struct buf *out = wire_output(t.server);
    out->data[out->len - 1] ^= 1;
    UNIT_INT(move(t.server, t.client, 0, &em), E_TLS);
    UNIT_INT(wire_next(t.client, &p, &em), E_TLS);
    UNIT_TRUE(strncmp(em.text, "TLS", 3) == 0);
    UNIT_TRUE(wire_output(t.client)->len > 0); /* the alert */
    UNIT_INT(move(t.client, t.server, 0, &em), E_TLS);
    tls_pair_close(&t);
}

static void tls_refuses_clear_text(void)
{
    struct tls_pair t;
    struct errmsg em = {""};
    if (!tls_pair_open(&t)) {
        return;
    }
    UNIT_INT(wire_start_tls(t.server, tls_server_new(t.server_ctx, &em), &em), 0);
    UNIT_INT(wire_feed(t.server, "\x05\0\0\x02hello there", 15, &em), E_TLS);
    tls_pair_close(&t);
}

static void tls_texts_are_checked(void)
{
    struct errmsg em;
    struct tls_files junk = {.cert = "junk", .key = "junk"};
    struct tls_files half = {.cert = "junk"};
    struct tls_files no_ca = {.ca = "junk"};
    UNIT_TRUE(tls_server_ctx(&junk, &em) == NULL);
    UNIT_TRUE(strstr(em.text, "certificate") != NULL);
    UNIT_TRUE(tls_client_ctx(TLS_REQUIRED, &half, &em) == NULL);
    UNIT_TRUE(tls_client_ctx(TLS_VERIFY_CA, &no_ca, &em) == NULL);
    enum tls_mode mode;
    UNIT_INT(tls_mode_parse("Verify-Identity", &mode), 0);
    UNIT_INT(mode, TLS_VERIFY_IDENTITY);
    UNIT_INT(tls_mode_parse("verify", &mode), E_INVALID);
    UNIT_INT(tls_mode_parse("", &mode), E_INVALID);
    UNIT_STR(tls_mode_name(TLS_DISABLED), "disabled");
}

/* Random bytes, cut at random: never a crash, and after an error nothing but that error. */
static void noise(void)
{
    uint64_t x = unit_seed() * 0x9e3779b97f4a7c15ull + 1;
    long packets = 0;
    for (int run = 0; run < 300; run++) {
        struct wire *w = wire_new(run % 2 ? 300 : 70000);
        struct packet p;
        struct errmsg em;
        wire_seq_check(w, run % 3 == 0);
        int rc = 0;
        for (int i = 0; i < 50 && rc >= 0; i++) {
            uint8_t data[512];
            for (size_t k = 0; k < sizeof(data); k++) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                data[k] = k % 4 == 1 || k % 4 == 2 ? (uint8_t)(x % 40 == 0) : (uint8_t)(x >> 8);
            }
            rc = wire_feed(w, data, x % sizeof(data), &em);
            while (rc >= 0 && (rc = wire_next(w, &p, &em)) == 1) {
                packets += p.len ? p.data[0] | p.data[p.len - 1] | 1 : 1;
            }
        }
        if (rc < 0) {
            UNIT_INT(wire_feed(w, "", 0, &em), rc);
        }
        wire_free(w);
    }
    UNIT_TRUE(packets > 0);
}

UNIT_MAIN("wire", UNIT_TEST(many_packets_in_one_feed), UNIT_TEST(sizes_around_the_limits),
          UNIT_TEST(cancelled_packet_leaves_nothing), UNIT_TEST(too_large_is_refused_early),
          UNIT_TEST(sequence_together), UNIT_TEST(sequence_apart),
          UNIT_TEST(fragments_must_follow_each_other),
          UNIT_TEST(output_has_a_maximum), UNIT_TEST(tls_whole), UNIT_TEST(tls_byte_by_byte),
          UNIT_TEST(tls_damage_is_noticed), UNIT_TEST(tls_refuses_clear_text),
          UNIT_TEST(tls_texts_are_checked), UNIT_TEST(shared_key_is_proven),
          UNIT_TEST(noise))
