/*
 * test_compress: what is packed comes out the same, in one piece or in many, with zlib and with zstd, also
 * through a wire; frames as a real server sends them are read; and a frame that is cut, changed or lies about
 * its length ends the connection, never more, and never costs more memory than a frame may have.
 */
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static const struct compress_choice CHOICES[] = {{COMPRESS_ZLIB, 0}, {COMPRESS_ZSTD, 1}, {COMPRESS_ZSTD, 19}};
enum { N_CHOICES = sizeof CHOICES / sizeof CHOICES[0] };

static uint64_t state;

static uint32_t noise(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static void words(void)
{
    static const struct {
        const char *text;
        int rc;
        enum compress_kind kind;
        int level;
    } table[] = {
        {"", 0, COMPRESS_NONE, 0},       {"none", 0, COMPRESS_NONE, 0},
        {"ZLIB", 0, COMPRESS_ZLIB, 0},   {"zstd", 0, COMPRESS_ZSTD, 3},
        {"zstd:1", 0, COMPRESS_ZSTD, 1}, {"zstd:22", 0, COMPRESS_ZSTD, 22},
        {"zstd:0", E_INVALID, 0, 0},     {"zstd:23", E_INVALID, 0, 0},
        {"zstd:", E_INVALID, 0, 0},      {"zstd:999999999999", E_INVALID, 0, 0},
        {"zstd:-1", E_INVALID, 0, 0},    {"zlib:6", E_INVALID, 0, 0},
        {"zst", E_INVALID, 0, 0},        {"zstdx", E_INVALID, 0, 0},
        {"lz4", E_INVALID, 0, 0},        {":", E_INVALID, 0, 0},
        {"none:1", E_INVALID, 0, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct compress_choice c;
        UNIT_INT(compress_parse(table[i].text, &c), table[i].rc);
        if (!table[i].rc) {
            UNIT_INT(c.kind, table[i].kind);
            UNIT_INT(c.level, table[i].level);
        }
    }
}

/* ---- frames ---- */

static void fill(uint8_t *data, size_t n, int kind)
{
    for (size_t i = 0; i < n; i++) {
        data[i] = kind == 0 ? 0 : kind == 1 ? (uint8_t)(i % 61) : (uint8_t)noise();
    }
}

static void frames_come_back(void)
{
    static const size_t sizes[] = {1, 49, 50, 51, 1000, 1 << 20, (1 << 20) + 1, 3500000};
    uint8_t *data = malloc(3500000);
    UNIT_REQUIRE(data != NULL);
    for (size_t k = 0; k < N_CHOICES; k++) {
        struct compress *c = compress_new(&CHOICES[k]);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (int kind = 0; kind < 3; kind++) {
                struct buf packed, plain;
                uint8_t seq = 250, at_seq = 0;
                size_t used = 0, at = 0, count = 0;
                buf_init(&packed, 64 << 20);
                buf_init(&plain, 64 << 20);
                fill(data, sizes[i], kind);
                UNIT_INT(compress_pack(c, data, sizes[i], &seq, &packed), 0);
                while (at < packed.len && compress_unpack(c, packed.data + at, packed.len - at, &used,
                                                          &at_seq, &plain, NULL) == 1) {
                    UNIT_UINT(at_seq, (uint8_t)(250 + count));
                    at += used;
                    count++;
                }
                UNIT_UINT(at, packed.len);
                UNIT_UINT(plain.len, sizes[i]);
                UNIT_TRUE(plain.len == sizes[i] && memcmp(plain.data, data, sizes[i]) == 0);
                UNIT_UINT(seq, (uint8_t)(250 + count));
                UNIT_TRUE(kind == 2 || sizes[i] < 1000 || packed.len < sizes[i] / 4);
                UNIT_TRUE(packed.len <= sizes[i] + count * COMPRESS_HEAD);
                buf_free(&packed);
                buf_free(&plain);
            }
        }
        compress_free(c);
    }
    free(data);
}

static void cut_frames_wait_and_changed_ones_fail(void)
{
    uint8_t data[600];
    for (size_t k = 0; k < N_CHOICES; k++) {
        struct compress *c = compress_new(&CHOICES[k]);
        struct buf packed, plain;
        uint8_t seq = 0;
        size_t used;
        size_t wrong = 0;
        buf_init(&packed, 1 << 20);
        buf_init(&plain, 1 << 25);
        fill(data, sizeof(data), 1);
        UNIT_INT(compress_pack(c, data, sizeof(data), &seq, &packed), 0);
        for (size_t cut = 0; cut < packed.len; cut++) {
            uint8_t *exact = malloc(cut ? cut : 1); /* so that a sanitizer sees a read behind the end */
            UNIT_REQUIRE(exact != NULL);
            memcpy(exact, packed.data, cut);
            UNIT_INT(compress_unpack(c, exact, cut, &used, &seq, &plain, NULL), 0);
            /* the head says that this is all */
            if (cut >= COMPRESS_HEAD) {
                le_put(exact, cut - COMPRESS_HEAD, 3);
                UNIT_INT(compress_unpack(c, exact, cut, &used, &seq, &plain, NULL), E_MALFORMED);
            }
            free(exact);
            UNIT_UINT(plain.len, 0);
        }
        for (size_t at = 0; at < packed.len; at++) {
            for (int bit = 0; bit < 8; bit++) {
                struct errmsg em = {""};
                packed.data[at] ^= (uint8_t)(1u << bit);
                buf_reset(&plain);
                int rc = compress_unpack(c, packed.data, packed.len, &used, &seq, &plain, &em);
                UNIT_TRUE(rc == 0 || rc == 1 || (rc == E_MALFORMED && em.text[0] && plain.len == 0));
                UNIT_TRUE(plain.cap <= (1u << 25));
                wrong += rc == E_MALFORMED;
                packed.data[at] ^= (uint8_t)(1u << bit);
            }
        }
        UNIT_TRUE(wrong > packed.len); /* most changes are noticed; zstd's frames have no checksum */
        buf_reset(&plain);
        UNIT_INT(compress_unpack(c, packed.data, packed.len, &used, &seq, &plain, NULL), 1); /* works on */
        UNIT_MEM(plain.data, data, sizeof(data));
        buf_free(&packed);
        buf_free(&plain);
        compress_free(c);
    }
}

static void pure_noise(void)
{
    uint8_t data[64];
    for (size_t k = 0; k < N_CHOICES; k++) {
        struct compress *c = compress_new(&CHOICES[k]);
        struct buf plain;
        buf_init(&plain, 1 << 25);
        for (int i = 0; i < 20000; i++) {
            uint8_t seq;
            size_t used = 0;
            fill(data, sizeof(data), 2);
            data[0] = (uint8_t)(noise() % 60);
            data[1] = data[2] = 0;
            if (i % 2) {
                data[6] = 0;
            }
            buf_reset(&plain);
            int rc = compress_unpack(c, data, sizeof(data), &used, &seq, &plain, NULL);
            UNIT_TRUE(rc == E_MALFORMED || (rc == 1 && used <= sizeof(data)) || rc == 0);
        }
        buf_free(&plain);
        compress_free(c);
    }
}

/* ---- through a wire ---- */

struct pair {
    struct wire *a;
    struct wire *b;
};

static struct pair pair_new(const struct compress_choice *choice, size_t max_packet)
{
    struct pair p = {wire_new(max_packet), wire_new(max_packet)};
    UNIT_INT(wire_start_compress(p.a, choice, NULL), 0);
    UNIT_INT(wire_start_compress(p.b, choice, NULL), 0);
    UNIT_INT(wire_compression(p.a), choice->kind);
    wire_seq_reset(p.a);
    wire_seq_reset(p.b);
    return p;
}

static void pair_free(struct pair *p)
{
    wire_free(p->a);
    wire_free(p->b);
}

/* Everything that a has to send goes to b in pieces; *packets counts what comes whole, `bytes` adds it up. */
static int carry(struct wire *a, struct wire *b, size_t piece, size_t *packets, uint64_t *bytes)
{
    struct buf *out = wire_output(a);
    int rc = 0;
    for (size_t at = 0; at < out->len && rc >= 0;) {
        struct packet p;
        size_t n = piece < out->len - at ? piece : out->len - at;
        rc = wire_feed(b, out->data + at, n, NULL);
        while (rc >= 0 && (rc = wire_next(b, &p, NULL)) == 1) {
            ++*packets;
            *bytes += p.len;
        }
        at += n;
    }
    buf_reset(out);
    return rc;
}

static void through_a_wire(void)
{
    static const size_t pieces[] = {1, 7, 4096, 1 << 30};
    uint8_t data[5000];
    fill(data, sizeof(data), 1);
    for (size_t k = 0; k < N_CHOICES; k++) {
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            struct pair p = pair_new(&CHOICES[k], 1 << 20);
            size_t packets = 0;
            uint64_t bytes = 0;
            wire_put(p.a, "\x03SELECT 1", 9);
            UNIT_INT(carry(p.a, p.b, pieces[i], &packets, &bytes), 0);
            UNIT_UINT(packets, 1);
            for (size_t n = 0; n < 40; n++) { /* an answer of several frames */
                wire_put(p.b, data, n * 100);
                if (n % 7 == 0) {
                    UNIT_INT(carry(p.b, p.a, pieces[i], &packets, &bytes), 0);
                }
            }
            UNIT_INT(carry(p.b, p.a, pieces[i], &packets, &bytes), 0);
            UNIT_UINT(packets, 41);
            UNIT_UINT(bytes, 9 + 100 * 39 * 40 / 2);
            UNIT_UINT(wire_pending(p.a), 0);
            wire_seq_reset(p.a); /* the next command */
            wire_seq_reset(p.b);
            wire_put(p.a, "\x0e", 1);
            UNIT_INT(carry(p.a, p.b, pieces[i], &packets, &bytes), 0);
            UNIT_UINT(packets, 42);
            pair_free(&p);
        }
    }
}

static void large_packets(void)
{
    enum { N = 40000000 };
    uint8_t *data = malloc(N);
    UNIT_REQUIRE(data != NULL);
    fill(data, N, 1);
    for (size_t k = 0; k < 2; k++) {
        struct pair p = pair_new(&CHOICES[k], N);
        size_t packets = 0;
        uint64_t bytes = 0;
        UNIT_INT(wire_put(p.a, data, N), 0);
        UNIT_INT(carry(p.a, p.b, 65536, &packets, &bytes), 0);
        UNIT_UINT(packets, 1);
        UNIT_UINT(bytes, N);
        UNIT_UINT(wire_pending(p.b), 0);
        pair_free(&p);
    }
    free(data);
}

static void in_a_dump(void)
{
    struct pair p = pair_new(&CHOICES[0], 1 << 20);
    size_t packets = 0;
    uint64_t bytes = 0;
    wire_seq_apart(p.a, true);
    wire_seq_apart(p.b, true);
    wire_seq_set(p.b, 77);
    for (int i = 0; i < 300; i++) {
        wire_put(p.b, "event", 5);
        UNIT_INT(carry(p.b, p.a, 100, &packets, &bytes), 0);
        wire_seq_set(p.a, 0);
        wire_put(p.a,
                 "\xef"
                 "ack",
                 4);
        struct buf *out = wire_output(p.a);
        UNIT_UINT(out->data[3], 0); /* the frame's number, as the packet's in it */
        UNIT_UINT(out->data[COMPRESS_HEAD + 3], 0);
        UNIT_INT(carry(p.a, p.b, 100, &packets, &bytes), 0);
    }
    UNIT_UINT(packets, 600);
    pair_free(&p);
}

/* ---- hostile ---- */

static size_t frame(uint8_t *to, uint8_t seq, const void *plain, size_t n)
{
    uLongf len = 70000;
    UNIT_INT(compress2(to + COMPRESS_HEAD, &len, plain, n, 9), Z_OK);
    le_put(le_put(le_put(to, len, 3), seq, 1), n, 3);
    return COMPRESS_HEAD + len;
}

static void out_of_sequence(void)
{
    uint8_t packet[] = {4, 0, 0, 99, 'a', 'b', 'c', 'd'};
    uint8_t packed[256];
    struct packet p;
    struct pair w = pair_new(&CHOICES[0], 1000);
    size_t n = frame(packed, 0, packet, sizeof(packet));
    UNIT_INT(wire_feed(w.a, packed, n, NULL), 0);
    UNIT_INT(wire_next(w.a, &p, NULL), 1); /* the packet's own number does not count */
    n = frame(packed, 3, packet, sizeof(packet));
    UNIT_INT(wire_feed(w.a, packed, n, NULL), 0);
    UNIT_INT(wire_next(w.a, &p, NULL), E_MALFORMED);
    UNIT_INT(wire_next(w.a, &p, NULL), E_MALFORMED);
    UNIT_INT(wire_feed(w.a, packed, n, NULL), E_MALFORMED);
    pair_free(&w);
}

/* Hundreds of frames of 16 MiB in a few kilobytes each: one at a time is unpacked, and the first large packet
 * in them that is not allowed ends it. */
static void bombs(void)
{
    enum { FULL = COMPRESS_FRAME_MAX, COUNT = 100 };
    uint8_t *zeros = calloc(1, FULL);
    uint8_t *packed = malloc(70000 + COMPRESS_HEAD);
    struct packet p;
    struct errmsg em;
    UNIT_REQUIRE(zeros && packed);
    struct pair w = pair_new(&CHOICES[0], 1000);
    size_t n = frame(packed, 0, zeros, FULL);
    UNIT_TRUE(n < 20000);
    for (int i = 0; i < COUNT; i++) {
        packed[3] = (uint8_t)i;
        UNIT_INT(wire_feed(w.a, packed, n, &em), 0);
    }
    UNIT_UINT(wire_pending(w.a), n * COUNT); /* nothing is unpacked before it is asked for */
    size_t empty = 0;
    for (int rc = 1, i = 0; rc == 1 && i < 5000000; i++) {
        rc = wire_next(w.a, &p, &em); /* packets of no bytes: headers of zeros */
        empty += rc == 1 && p.len == 0;
        if (rc < 0) {
            UNIT_INT(rc, E_MALFORMED);
        }
        UNIT_TRUE(wire_pending(w.a) <= n * COUNT + FULL);
    }
    UNIT_TRUE(empty > 1000000);
    pair_free(&w);
    w = pair_new(&CHOICES[0], 1000);
    memset(zeros, 1, FULL); /* packets of 65793 bytes */
    n = frame(packed, 0, zeros, FULL);
    UNIT_INT(wire_feed(w.a, packed, n, &em), 0);
    UNIT_INT(wire_next(w.a, &p, &em), E_TOOBIG);
    UNIT_INT(wire_next(w.a, &p, &em), E_TOOBIG);
    pair_free(&w);
    free(zeros);
    free(packed);
}

static void too_many_frames_wait(void)
{
    struct pair w = pair_new(&CHOICES[1], 1000);
    uint8_t *data = calloc(1, 1 << 20);
    int rc = 0;
    size_t fed = 0;
    UNIT_REQUIRE(data != NULL);
    le_put(data, 0xffffff, 3);
    for (int i = 0; i < 100 && !rc; i++, fed++) {
        rc = wire_feed(w.a, data, 1 << 20, NULL); /* nobody calls wire_next */
    }
    UNIT_INT(rc, E_TOOBIG);
    UNIT_TRUE(fed < 40);
    pair_free(&w);
    free(data);
}

static void mutated_streams(void)
{
    uint8_t data[3000];
    fill(data, sizeof(data), 1);
    state ^= unit_seed();
    for (size_t k = 0; k < 2; k++) {
        struct pair source = pair_new(&CHOICES[k], 1 << 20);
        for (size_t n = 0; n < 10; n++) {
            wire_put(source.b, data, n * 290);
            wire_output(source.b);
        }
        struct buf *sent = wire_output(source.b);
        for (int i = 0; i < 3000; i++) {
            struct wire *w = wire_new(4000);
            struct packet p;
            uint8_t *bad = malloc(sent->len);
            UNIT_REQUIRE(bad != NULL);
            UNIT_INT(wire_start_compress(w, &CHOICES[k], NULL), 0);
            memcpy(bad, sent->data, sent->len);
            for (uint32_t c = noise() % 4; c-- > 0;) {
                bad[noise() % sent->len] ^= (uint8_t)(1u << noise() % 8);
            }
            size_t n = noise() % 3 ? sent->len : noise() % sent->len;
            int rc = wire_feed(w, bad, n, NULL);
            size_t count = 0;
            while (rc >= 0 && (rc = wire_next(w, &p, NULL)) == 1) {
                UNIT_TRUE(p.len <= 4000);
                count++;
            }
            UNIT_TRUE(count <= 4000 && (rc == 0 || rc == E_MALFORMED || rc == E_TOOBIG));
            free(bad);
            wire_free(w);
        }
        pair_free(&source);
    }
}

UNIT_MAIN("compress", UNIT_TEST(words), UNIT_TEST(frames_come_back),
          UNIT_TEST(cut_frames_wait_and_changed_ones_fail), UNIT_TEST(pure_noise), UNIT_TEST(through_a_wire),
          UNIT_TEST(large_packets), UNIT_TEST(in_a_dump), UNIT_TEST(out_of_sequence), UNIT_TEST(bombs),
          UNIT_TEST(too_many_frames_wait), UNIT_TEST(mutated_streams))
