/* test_base: buffers, cursor, checksums, messages and addresses. */
#include "tests/unit/unit.h"

#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/env.h"
#include "protocol/base/err.h"
#include "protocol/base/latency.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

static void buf_keeps_its_maximum(void)
{
    struct buf b;
    buf_init(&b, 10);
    buf_bytes(&b, "0123456789", 10);
    UNIT_INT(b.err, 0);
    buf_u8(&b, 1);
    UNIT_INT(b.err, E_TOOBIG);
    UNIT_UINT(b.len, 10);
    buf_reset(&b);
    UNIT_INT(b.err, 0);
    buf_u64(&b, 1);
    buf_u32(&b, 1); /* does not fit: nothing of it is written */
    UNIT_UINT(b.len, 8);
    UNIT_INT(b.err, E_TOOBIG);
    buf_bytes(&b, NULL, SIZE_MAX);
    UNIT_UINT(b.len, 8);
    buf_free(&b);
}

static void buf_writes_what_cursor_reads(void)
{
    static const uint64_t values[] = {0, 1, 250, 251, 65535, 65536, 0xffffff, 0x1000000, UINT64_MAX};
    struct buf b;
    buf_init(&b, 1000);
    buf_u8(&b, 0xab);
    buf_u16(&b, 0xabcd);
    buf_u24(&b, 0xabcdef);
    buf_u32(&b, 0xabcdef01);
    buf_u48(&b, 0xabcdef012345);
    buf_u64(&b, 0xabcdef0123456789);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        buf_lenenc(&b, values[i]);
    }
    buf_lenenc_str(&b, "text");
    buf_str_nul(&b, "nul");
    UNIT_INT(b.err, 0);
    struct cur c = cur_of(b.data, b.len);
    UNIT_UINT(cur_u8(&c), 0xab);
    UNIT_UINT(cur_u16(&c), 0xabcd);
    UNIT_UINT(cur_u24(&c), 0xabcdef);
    UNIT_UINT(cur_u32(&c), 0xabcdef01);
    UNIT_UINT(cur_u48(&c), 0xabcdef012345);
    UNIT_UINT(cur_u64(&c), 0xabcdef0123456789);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        UNIT_UINT(cur_lenenc(&c), values[i]);
    }
    size_t n;
    const uint8_t *text = cur_lenenc_bytes(&c, &n);
    UNIT_REQUIRE(text && n == 4);
    UNIT_MEM(text, "text", 4);
    UNIT_STR(cur_str_nul(&c, &n), "nul");
    UNIT_TRUE(cur_done(&c));
    /* cut anywhere, every read stays inside and the cursor says so */
    for (size_t cut = 0; cut < b.len; cut++) {
        struct cur s = cur_of(b.data, cut);
        cur_skip(&s, 24);
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            (void)cur_lenenc(&s);
        }
        (void)cur_lenenc_bytes(&s, &n);
        (void)cur_str_nul(&s, &n);
        UNIT_TRUE(!cur_ok(&s));
    }
    buf_free(&b);
}

static void cursor_errors_stick(void)
{
    struct cur c = cur_of("\x05" "ab", 3);
    size_t n;
    UNIT_TRUE(cur_lenenc_bytes(&c, &n) == NULL);
    UNIT_UINT(n, 0);
    UNIT_TRUE(!cur_ok(&c));
    UNIT_UINT(cur_u8(&c), 0);
    UNIT_UINT(cur_left(&c), 0);
    c = cur_of("\xfb", 1);
    (void)cur_lenenc(&c);
    UNIT_TRUE(!cur_ok(&c));
    c = cur_of("abc", 3);
    UNIT_TRUE(cur_bytes(&c, UINT64_MAX) == NULL);
    UNIT_TRUE(!cur_ok(&c));
    c = cur_of(NULL, 0);
    UNIT_TRUE(cur_done(&c));
    char text[4];
    c = cur_of("abcd", 4);
    cur_text(&c, 4, text, sizeof text);
    UNIT_TRUE(!cur_ok(&c));
    UNIT_STR(text, "");
    c = cur_of("a\0c", 3);
    cur_text(&c, 3, text, sizeof text);
    UNIT_TRUE(!cur_ok(&c));
}

static uint32_t crc32c_by_bits(uint32_t seed, const uint8_t *p, size_t n)
{
    uint32_t crc = ~seed;
    for (size_t i = 0; i < 8 * n; i++) {
        crc ^= i % 8 ? 0 : p[i / 8];
        crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
    }
    return ~crc;
}

static void checksums_agree(void)
{
    uint8_t data[300];
    UNIT_UINT(crc32_of(0, "123456789", 9), 0xcbf43926);
    UNIT_UINT(crc32c_of(0, "123456789", 9), 0xe3069283);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 31 + unit_seed());
    }
    for (size_t n = 0; n < sizeof data; n++) {
        UNIT_UINT(crc32_of(7, data, n), (uint32_t)crc32_z(7, data, n));
        UNIT_UINT(crc32c_of(7, data, n), crc32c_by_bits(7, data, n));
        UNIT_UINT(crc32c_of(crc32c_of(0, data, n), data + n, sizeof data - n), crc32c_of(0, data, sizeof data));
    }
}

static void messages_grow_on_the_way_up(void)
{
    struct errmsg em;
    UNIT_INT(err_errno(&em, ENOSPC, "cannot write %s", "x"), E_NOSPACE);
    UNIT_STR(em.text, "cannot write x: No space left on device");
    UNIT_INT(err_wrap(&em, E_NOSPACE, "node %d", 1), E_NOSPACE);
    UNIT_STR(em.text, "node 1: cannot write x: No space left on device");
    for (int i = 0; i < 300; i++) {
        err_wrap(&em, E_IO, "0123456789");
    }
    UNIT_UINT(strlen(em.text), sizeof em.text - 1);
    UNIT_INT(err_set(NULL, E_IO, "nobody reads this"), E_IO);
    UNIT_STR(err_name(E_NOSPACE), "NOSPACE");
    UNIT_STR(err_text(-9999), "unknown error");
}

static void addresses(void)
{
    static const struct {
        const char *text, *host, *again;
        unsigned port;
        bool ok;
    } cases[] = {
        {"db1:3306", "db1", "db1:3306", 3306, true},     {"db1", "db1", "db1:99", 99, true},
        {"[::1]:5", "::1", "[::1]:5", 5, true},          {"::1", "::1", "[::1]:99", 99, true},
        {"/run/x.sock", "/run/x.sock", "/run/x.sock", 0, true},
        {"db1:", "", "", 0, false},   {":3306", "", "", 0, false},  {"db1:0", "", "", 0, false},
        {"db1:65536", "", "", 0, false}, {"db1:3x", "", "", 0, false}, {"[::1]x", "", "", 0, false},
        {"", "", "", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct env_addr addr;
        struct errmsg em;
        char text[400];
        int rv = env_addr_parse(cases[i].text, 99, &addr, &em);
        UNIT_INT(rv, cases[i].ok ? 0 : E_INVALID);
        if (!rv) {
            UNIT_STR(addr.host, cases[i].host);
            UNIT_UINT(addr.port, cases[i].port);
            env_addr_format(&addr, text, sizeof text);
            UNIT_STR(text, cases[i].again);
        }
    }
}

static void latencies(void)
{
    static struct latency l;
    UNIT_UINT(latency_quantile(&l, 500), 0);
    for (uint64_t ns = 0; ns < (uint64_t)1 << 62; ns = ns < 100 ? ns + 1 : ns + ns / 97) { /* alone, each is found again */
        static struct latency one;
        memset(&one, 0, sizeof one);
        latency_add(&one, ns);
        uint64_t found = latency_quantile(&one, 990), off = found > ns ? found - ns : ns - found;
        UNIT_TRUE(off <= ns / 16 + 64 || ns > (uint64_t)1 << 40);
        UNIT_UINT(one.sum, ns);
    }
    for (unsigned i = 1; i <= 1000; i++) {
        latency_add(&l, i * 1000);
    }
    UNIT_UINT(l.count, 1000);
    UNIT_TRUE(latency_quantile(&l, 500) > 460000 && latency_quantile(&l, 500) < 540000);
    UNIT_TRUE(latency_quantile(&l, 990) > 920000 && latency_quantile(&l, 990) < 1060000);
    UNIT_TRUE(latency_quantile(&l, 0) < 1100);
    latency_add(&l, UINT64_MAX);
    UNIT_TRUE(latency_quantile(&l, 1000) > (uint64_t)1 << 40);
}

UNIT_MAIN("base", UNIT_TEST(latencies), UNIT_TEST(buf_keeps_its_maximum), UNIT_TEST(buf_writes_what_cursor_reads), UNIT_TEST(cursor_errors_stick),
          UNIT_TEST(checksums_agree), UNIT_TEST(messages_grow_on_the_way_up), UNIT_TEST(addresses))
