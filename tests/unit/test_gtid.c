/* test_gtid: GTIDs and sets of them: text, bytes as servers sent them, what is refused, and every operation
 * against a model that is too simple to be wrong. */
#include "protocol/gtid.h"
#include "protocol/gtid_lack.h"
#include "protocol/gtid_set.h"
#include "tests/unit/sample.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID_A "3e11fa47-71ca-11e1-9e33-c80aa9429562"
#define UUID_B "741e758a-e524-11f1-b8d6-02fc00000001"

enum { BUF_MAX = 64 << 20 };

static struct gtid_set *set_of(enum flavour flavour, const char *text)
{
    struct errmsg em = {""};
    struct gtid_set *set = gtid_set_new(flavour);
    if (gtid_set_parse(set, text, strlen(text), &em)) {
        UNIT_STR(em.text, "");
    }
    return set;
}

/* The text of a set in a buffer that the next call but three overwrites. */
static const char *text_of(const struct gtid_set *set)
{
    static char texts[4][4096];
    static size_t turn;
    struct buf b;
    buf_init(&b, BUF_MAX);
    gtid_set_print(set, &b);
    char *text = texts[turn++ % 4];
    snprintf(text, sizeof texts[0], "%s", buf_cstr(&b));
    buf_free(&b);
    return text;
}

static struct gtid gtid_named(enum flavour flavour, const char *text)
{
    struct gtid g = {.flavour = FLAVOUR_NONE};
    UNIT_INT(gtid_parse(&g, flavour, text, NULL), 0);
    return g;
}

static void check_text(enum flavour flavour, const char *text, const char *want)
{
    struct gtid_set *set = set_of(flavour, text);
    UNIT_STR(text_of(set), want);
    gtid_set_free(set);
}

static void refuse_text(enum flavour flavour, const char *text)
{
    struct errmsg em = {""};
    struct gtid_set *set = gtid_set_new(flavour);
    if (!UNIT_INT(gtid_set_parse(set, text, strlen(text), &em), E_INVALID)) {
        printf("# accepted: %s\n", text);
    }
    UNIT_TRUE(em.text[0] != 0 && gtid_set_is_empty(set));
    gtid_set_free(set);
}

/* ---- one GTID ------------------------------------------------------------------------------------------ */

static void one_gtid_reads_and_prints(void)
{
    static const char *const mysql[] = {UUID_A ":1", UUID_A ":9223372036854775806", UUID_B ":mytag:7",
                                        UUID_B ":_abcdefghijklmnopqrstuvwxyz01234:1"};
    static const char *const mariadb[] = {"0-1-5", "4294967295-4294967295-18446744073709551615"};
    char text[GTID_TEXT_SIZE];
    for (size_t i = 0; i < sizeof mysql / sizeof *mysql; i++) {
        struct gtid g = gtid_named(FLAVOUR_MYSQL, mysql[i]);
        gtid_text(&g, text, sizeof text);
        UNIT_STR(text, mysql[i]);
    }
    for (size_t i = 0; i < sizeof mariadb / sizeof *mariadb; i++) {
        struct gtid g = gtid_named(FLAVOUR_MARIADB, mariadb[i]);
        gtid_text(&g, text, sizeof text);
        UNIT_STR(text, mariadb[i]);
    }
    struct gtid none = {.flavour = FLAVOUR_NONE};
    gtid_text(&none, text, sizeof text);
    UNIT_STR(text, "ANONYMOUS");
    struct gtid upper = gtid_named(FLAVOUR_MYSQL, "741E758AE52411F1B8D602FC00000001:MyTag:7");
    gtid_text(&upper, text, sizeof text);
    UNIT_STR(text, UUID_B ":mytag:7");
}

static void one_gtid_refuses(void)
{
    static const char *const mysql[] = {"",
                                        UUID_A,
                                        UUID_A ":",
                                        UUID_A ":0",
                                        UUID_A ":9223372036854775807",
                                        UUID_A ":1-2",
                                        UUID_A ":tag",
                                        UUID_A ":tag:",
                                        UUID_A ":1 ",
                                        UUID_A ":99999999999999999999",
                                        UUID_A ":abcdefghijklmnopqrstuvwxyz0123456:1",
                                        "0-1-5",
                                        UUID_A ":1tag:1"};
    static const char *const mariadb[] = {
        "", "0", "0-1", "0-1-", "0-1-5-", "4294967296-1-1", "0-1-18446744073709551616", "-1-1-1", "0-1-5,"};
    struct gtid g = {.gno = 77};
    for (size_t i = 0; i < sizeof mysql / sizeof *mysql; i++) {
        UNIT_INT(gtid_parse(&g, FLAVOUR_MYSQL, mysql[i], NULL), E_INVALID);
    }
    for (size_t i = 0; i < sizeof mariadb / sizeof *mariadb; i++) {
        UNIT_INT(gtid_parse(&g, FLAVOUR_MARIADB, mariadb[i], NULL), E_INVALID);
    }
    UNIT_INT(gtid_parse(&g, FLAVOUR_NONE, "0-1-5", NULL), E_INVALID);
    UNIT_UINT(g.gno, 77);
    uint8_t uuid[16];
    UNIT_INT(uuid_parse(uuid, UUID_A "0"), E_INVALID);
    UNIT_INT(uuid_parse(uuid, "3e11fa47-71ca-11e1-9e33c80aa9429562"), E_INVALID);
}

/* ---- text of sets -------------------------------------------------------------------------------------- */

static void mysql_text(void)
{
    check_text(FLAVOUR_MYSQL, "", "");
    check_text(FLAVOUR_MYSQL, " \n ", "");
    check_text(FLAVOUR_MYSQL, UUID_A ":1-3:5", UUID_A ":1-3:5");
    check_text(FLAVOUR_MYSQL, UUID_A ":5:1-3:4", UUID_A ":1-5");
    check_text(FLAVOUR_MYSQL, UUID_A ":1-3:4-5:7", UUID_A ":1-5:7");
    check_text(FLAVOUR_MYSQL, UUID_A ":1-10:2-3:9-12", UUID_A ":1-12");
    check_text(FLAVOUR_MYSQL, UUID_B ":1:mytag:1-4,\n" UUID_A ":7", UUID_A ":7," UUID_B ":1:mytag:1-4");
    check_text(FLAVOUR_MYSQL, " " UUID_B " : TagB : 2 : taga : 1 - 2 ,\n " UUID_B ":1, ",
               UUID_B ":1:taga:1-2:tagb:2");
    check_text(FLAVOUR_MYSQL, UUID_A ":9223372036854775806", UUID_A ":9223372036854775806");
    static const char *const bad[] = {UUID_A,
                                      UUID_A ":",
                                      UUID_A ":0",
                                      UUID_A ":3-1",
                                      UUID_A ":1-",
                                      UUID_A ":tag",
                                      UUID_A ":tag:",
                                      "," UUID_A ":1",
                                      UUID_A ":1 2",
                                      UUID_A ":1,,",
                                      UUID_A ":9223372036854775807",
                                      UUID_A ":1x",
                                      "0-1-5",
                                      "garbage",
                                      UUID_A ":1" UUID_B ":1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refuse_text(FLAVOUR_MYSQL, bad[i]);
    }
}

static void mariadb_text(void)
{
    check_text(FLAVOUR_MARIADB, "", "");
    check_text(FLAVOUR_MARIADB, "0-31-1023,5-31-1,5-77-2", "0-31-1023,5-31-1,5-77-2");
    check_text(FLAVOUR_MARIADB, "5-31-1, 5-77-2,\n0-41-31,0-31-1015", "0-41-31,0-31-1015,5-31-1,5-77-2");
    check_text(FLAVOUR_MARIADB, "0-3-1,0-1-9,0-2-4", "0-1-9,0-3-1,0-2-4");
    check_text(FLAVOUR_MARIADB, "0-1-9,0-2-4,0-1-3", "0-2-4,0-1-9");
    static const char *const bad[] = {"0-1", "0-1-5,", ",0-1-5", "0-1-5 0-1-6", "0--1-5", "x", UUID_A ":1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refuse_text(FLAVOUR_MARIADB, bad[i]);
    }
    struct gtid_set *set = set_of(FLAVOUR_MARIADB, "5-31-1,5-77-2,0-41-31,0-31-1015");
    struct buf b;
    buf_init(&b, BUF_MAX);
    gtid_set_print_position(set, &b);
    UNIT_STR(buf_cstr(&b), "0-31-1015,5-77-2");
    buf_free(&b);
    gtid_set_free(set);
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

static void check_bytes(enum flavour flavour, const void *bytes, size_t n, const char *text)
{
    struct errmsg em = {""};
    struct gtid_set *set = gtid_set_new(flavour);
    uint8_t *exact = sample_exact(bytes, n);
    struct cur c = cur_of(exact, n);
    UNIT_INT(gtid_set_decode(set, &c, &em), 0);
    UNIT_TRUE(cur_done(&c));
    UNIT_STR(text_of(set), text);
    struct buf b;
    buf_init(&b, BUF_MAX);
    gtid_set_encode(set, &b);
    if (UNIT_UINT(b.len, n)) {
        UNIT_MEM(b.data, bytes, n);
    }
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *shorter = sample_exact(bytes, cut);
        c = cur_of(shorter, cut);
        int rc = gtid_set_decode(set, &c, &em);
        UNIT_TRUE(rc == E_MALFORMED ? gtid_set_is_empty(set) : !rc && flavour == FLAVOUR_MARIADB && cut >= 4);
        free(shorter);
    }
    buf_free(&b);
    free(exact);
    gtid_set_free(set);
}

static void captured_bytes(void)
{
    static const uint8_t one[] =
        "\x01\0\0\0\0\0\0\0\x85\xa0\x5a\x83\xe5\x1f\x11\xf1\xa4\x5c\x02\xfc\0\0\0\x01"
        "\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0";
    check_bytes(FLAVOUR_MYSQL, one, sizeof one - 1, "85a05a83-e51f-11f1-a45c-02fc00000001:1-5");
    static const uint8_t tagged[] =
        "\x01\x02\0\0\0\0\0\x01"
        "\x74\x1e\x75\x8a\xe5\x24\x11\xf1\xb8\xd6\x02\xfc\0\0\0\x01\0"
        "\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0"
        "\x74\x1e\x75\x8a\xe5\x24\x11\xf1\xb8\xd6\x02\xfc\0\0\0\x01\x0a"
        "mytag\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0";
    check_bytes(FLAVOUR_MYSQL, tagged, sizeof tagged - 1, UUID_B ":1-3:mytag:1");
    check_bytes(FLAVOUR_MYSQL, "\0\0\0\0\0\0\0", 8, "");
    check_bytes(FLAVOUR_MARIADB, "\0\0\0\0\0", 6, "");
    check_bytes(FLAVOUR_MARIADB, "\x01\0\0\0\0\0\0\0\x1f\0\0\0\x05\0\0\0\0\0\0", 20, "0-31-5");
}

static void put_sid(struct buf *b, uint64_t n, ...) __attribute__((sentinel));

/* A uuid, a count, then start and end pairs up to a NULL. */
static void put_sid(struct buf *b, uint64_t n, ...)
{
    va_list ap;
    buf_bytes(b, "0123456789abcdef", 16);
    buf_u64(b, n);
    va_start(ap, n);
    for (const char *v = va_arg(ap, const char *); v; v = va_arg(ap, const char *)) {
        buf_u64(b, strtoull(v, NULL, 0));
    }
    va_end(ap);
}

static void decode_is(struct buf *b, int want)
{
    struct errmsg em = {""};
    struct gtid_set *set = set_of(FLAVOUR_MYSQL, UUID_A ":1");
    uint8_t *exact = sample_exact(b->data, b->len);
    struct cur c = cur_of(exact, b->len);
    UNIT_INT(gtid_set_decode(set, &c, &em), want);
    UNIT_TRUE(!want || gtid_set_is_empty(set));
    free(exact);
    gtid_set_free(set);
    buf_reset(b);
}

static void hostile_bytes(void)
{
    struct buf b;
    buf_init(&b, BUF_MAX);
    buf_u64(&b, 1);
    put_sid(&b, 2, "1", "5", "7", "9", NULL);
    decode_is(&b, 0);
    static const char *const bad[][4] = {{"7", "9", "1", "5"},
                                         {"1", "5", "4", "9"},
                                         {"1", "5", "5", "9"},
                                         {"0", "5", "7", "9"},
                                         {"1", "1", "7", "9"},
                                         {"5", "1", "7", "9"},
                                         {"1", "5", "7", "0x8000000000000000"},
                                         {"1", "0xffffffffffffffff", "7", "9"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_u64(&b, 1);
        put_sid(&b, 2, bad[i][0], bad[i][1], bad[i][2], bad[i][3], NULL);
        decode_is(&b, E_MALFORMED);
    }
    static const char *const counts[] = {"3", "0x1000000000000000", "0xffffffffffffffff",
                                         "0x00ffffffffffffff"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts;
         i++) { /* more than the bytes hold: of sids, then of intervals */
        buf_u64(&b, strtoull(counts[i], NULL, 0));
        put_sid(&b, 1, "1", "5", NULL);
        decode_is(&b, E_MALFORMED);
        buf_u64(&b, 1);
        put_sid(&b, strtoull(counts[i], NULL, 0), "1", "5", NULL);
        decode_is(&b, E_MALFORMED);
    }
    buf_bytes(&b, "\x02\x01\0\0\0\0\0\x01", 8); /* tagged, but the first byte does not say so */
    put_sid(&b, 0, NULL);
    decode_is(&b, E_MALFORMED);
    static const char *const tags[] = {"\x04"
                                       "Ab",
                                       "\x02"
                                       "1",
                                       "\x02-", "\x02\0", "\x44 0123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        buf_bytes(&b,
                  "\x01\x01\0\0\0\0\0\x01"
                  "0123456789abcdef",
                  24);
        buf_bytes(&b, tags[i], 1 + (size_t)((uint8_t)tags[i][0] >> 1));
        buf_u64(&b, 0);
        decode_is(&b, E_MALFORMED);
    }
    buf_u64(&b, 2); /* unsorted and equal sids are fine */
    put_sid(&b, 1, "5", "9", NULL);
    put_sid(&b, 1, "1", "5", NULL);
    decode_is(&b, 0);
    buf_free(&b);
    struct gtid_set *state = gtid_set_new(FLAVOUR_MARIADB);
    struct cur c = cur_of("\xff\xff\xff\x0f"
                          "0123456789abcdef",
                          20);
    UNIT_INT(gtid_set_decode(state, &c, NULL), E_MALFORMED);
    gtid_set_free(state);
}

static void varints(void)
{
    static const struct {
        const char *bytes;
        size_t n;
        uint64_t value;
    } known[] = {{"\x85\x05", 2, 353},
                 {"\x83\x12\x0b", 3, 90704},
                 {"\xe8", 1, 0x74},
                 {"\0", 1, 0},
                 {"\x7f\xbf\xc1\xbc\x74\xbb\x60\x06", 8, UINT64_C(0x0660bb74bcc1bf)}};
    struct buf b;
    buf_init(&b, 64);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct cur c = cur_of(known[i].bytes, known[i].n);
        uint64_t v = gtid_read_varint(&c);
        UNIT_TRUE(cur_done(&c));
        UNIT_UINT(v, known[i].value);
        buf_reset(&b);
        gtid_write_varint(&b, v);
        UNIT_UINT(b.len, known[i].n);
    }
    for (unsigned shift = 0; shift < 64; shift++) {
        for (int64_t d = -1; d <= 1; d++) {
            uint64_t v = (UINT64_C(1) << shift) + (uint64_t)d;
            buf_reset(&b);
            gtid_write_varint(&b, v);
            struct cur c = cur_of(b.data, b.len);
            UNIT_UINT(gtid_read_varint(&c), v);
            UNIT_TRUE(cur_done(&c));
        }
    }
    buf_free(&b);
}

/* ---- MySQL sets against a model ------------------------------------------------------------------------ */

enum { SIDS = 3, NUMBERS = 40 };

struct model {
    bool has[SIDS][NUMBERS + 1];
};

static struct gtid model_gtid(size_t sid, uint64_t number)
{
    static const char *const names[SIDS] = {UUID_A ":1", UUID_A ":tag:1", UUID_B ":1"};
    struct gtid g = gtid_named(FLAVOUR_MYSQL, names[sid]);
    g.gno = number;
    return g;
}

static bool model_agrees(const struct gtid_set *set, const struct model *m)
{
    uint64_t count = 0;
    size_t intervals = 0;
    for (size_t s = 0; s < SIDS; s++) {
        for (uint64_t i = 1; i <= NUMBERS; i++) {
            struct gtid g = model_gtid(s, i);
            count += m->has[s][i];
            intervals += m->has[s][i] && !m->has[s][i - 1];
            if (gtid_set_contains(set, &g) != m->has[s][i]) {
                return false;
            }
        }
    }
    return gtid_set_count(set) == count && gtid_set_intervals(set) == intervals &&
           gtid_set_is_empty(set) == (count == 0);
}

static void random_set(uint64_t *seed, struct gtid_set *set, struct model *m)
{
    uint64_t adds = sample_random(seed) % 60;
    memset(m, 0, sizeof *m);
    gtid_set_clear(set);
    for (uint64_t i = 0; i < adds; i++) {
        size_t s = sample_random(seed) % SIDS;
        uint64_t start = 1 + sample_random(seed) % NUMBERS;
        uint64_t end = start + sample_random(seed) % 4;
        for (uint64_t n = start; n <= end && n <= NUMBERS; n++) {
            struct gtid g = model_gtid(s, n);
            UNIT_INT(gtid_set_add(set, &g), 0);
            m->has[s][n] = true;
        }
    }
}

/* Text and bytes, there and back. */
static void round_trip(const struct gtid_set *set)
{
    struct buf b;
    struct gtid_set *back = gtid_set_new(gtid_set_flavour(set));
    buf_init(&b, BUF_MAX);
    gtid_set_print(set, &b);
    UNIT_INT(gtid_set_parse(back, (const char *)b.data, b.len, NULL), 0);
    UNIT_TRUE(gtid_set_equal(back, set));
    buf_reset(&b);
    gtid_set_encode(set, &b);
    struct cur c = cur_of(b.data, b.len);
    UNIT_INT(gtid_set_decode(back, &c, NULL), 0);
    UNIT_TRUE(cur_done(&c) && gtid_set_equal(back, set));
    buf_free(&b);
    gtid_set_free(back);
}

static void check_pair(struct gtid_set *a, const struct model *ma, struct gtid_set *b, const struct model *mb)
{
    struct model both = *ma, left = *ma, common = *ma;
    bool subset = true, equal = true;
    for (size_t s = 0; s < SIDS; s++) {
        for (size_t i = 1; i <= NUMBERS; i++) {
            both.has[s][i] |= mb->has[s][i];
            left.has[s][i] &= !mb->has[s][i];
            common.has[s][i] &= mb->has[s][i];
            subset &= !ma->has[s][i] || mb->has[s][i];
            equal &= ma->has[s][i] == mb->has[s][i];
        }
    }
    UNIT_TRUE(gtid_set_subset(a, b) == subset);
    UNIT_TRUE(gtid_set_equal(a, b) == equal);
    struct gtid_set *c = gtid_set_copy(a);
    UNIT_TRUE(gtid_set_equal(a, c));
    UNIT_INT(gtid_set_union(c, b), 0);
    UNIT_TRUE(model_agrees(c, &both) && gtid_set_subset(a, c) && gtid_set_subset(b, c));
    round_trip(c);
    UNIT_INT(gtid_set_subtract(c, b), 0);
    UNIT_TRUE(model_agrees(c, &left));
    UNIT_TRUE(gtid_set_subset(c, a));
    gtid_set_free(c);
    c = gtid_set_copy(a);
    UNIT_INT(gtid_set_intersect(c, b), 0);
    UNIT_TRUE(model_agrees(c, &common) && gtid_set_subset(c, a) && gtid_set_subset(c, b));
    gtid_set_free(c);
}

static void mysql_sets_are_as_the_model(void)
{
    uint64_t seed = unit_seed();
    struct gtid_set *a = gtid_set_new(FLAVOUR_MYSQL), *b = gtid_set_new(FLAVOUR_MYSQL);
    struct model ma, mb;
    for (int round = 0; round < 400; round++) {
        random_set(&seed, a, &ma);
        random_set(&seed, b, &mb);
        if (!UNIT_TRUE(model_agrees(a, &ma))) {
            printf("# round %d: %s\n", round, text_of(a));
        }
        check_pair(a, &ma, b, &mb);
    }
    UNIT_INT(gtid_set_subtract(a, a), 0);
    UNIT_TRUE(gtid_set_is_empty(a));
    UNIT_INT(gtid_set_union(b, b), 0);
    UNIT_INT(gtid_set_intersect(b, b), 0);
    UNIT_TRUE(model_agrees(b, &mb));
    gtid_set_free(a);
    gtid_set_free(b);
}

static void wrong_flavour(void)
{
    struct gtid_set *a = set_of(FLAVOUR_MYSQL, UUID_A ":1"), *b = set_of(FLAVOUR_MARIADB, "0-1-1");
    struct gtid g = gtid_named(FLAVOUR_MARIADB, "0-1-1"), none = {.flavour = FLAVOUR_NONE};
    struct gtid zero = gtid_named(FLAVOUR_MYSQL, UUID_A ":1");
    zero.gno = 0;
    UNIT_INT(gtid_set_add(a, &g), E_INVALID);
    UNIT_INT(gtid_set_add(a, &none), E_INVALID);
    UNIT_INT(gtid_set_add(a, &zero), E_INVALID);
    UNIT_TRUE(!gtid_set_contains(a, &g) && !gtid_set_equal(a, b) && !gtid_set_subset(a, b));
    UNIT_INT(gtid_set_union(a, b), E_INVALID);
    UNIT_INT(gtid_set_subtract(a, b), E_INVALID);
    UNIT_INT(gtid_set_intersect(a, b), E_INVALID);
    UNIT_STR(text_of(a), UUID_A ":1");
    gtid_set_free(a);
    gtid_set_free(b);
    gtid_set_free(NULL);
}

/* A hundred thousand holes: quadratic work anywhere would take minutes. */
static void large_sets(void)
{
    enum { N = 100000 };
    struct buf b;
    struct gtid g = gtid_named(FLAVOUR_MYSQL, UUID_A ":1");
    struct gtid_set *set = gtid_set_new(FLAVOUR_MYSQL), *other = gtid_set_new(FLAVOUR_MYSQL);
    buf_init(&b, BUF_MAX);
    buf_str(&b, UUID_A);
    for (uint64_t i = N; i > 0; i--) {
        buf_printf(&b, ":%llu", (unsigned long long)(2 * i)); /* in the worst order */
    }
    UNIT_INT(gtid_set_parse(set, (const char *)b.data, b.len, NULL), 0);
    for (uint64_t i = 1; i <= N; i++) {
        g.gno = 2 * i;
        gtid_set_add(other, &g);
        UNIT_REQUIRE(gtid_set_contains(set, &g));
        g.gno++;
        UNIT_REQUIRE(!gtid_set_contains(set, &g));
    }
    UNIT_TRUE(gtid_set_equal(set, other) && gtid_set_intervals(set) == N);
    round_trip(set);
    for (uint64_t i = 1; i < N; i++) { /* closes each hole, from the end */
        g.gno = 2 * (N - i) + 1;
        gtid_set_add(other, &g);
    }
    UNIT_UINT(gtid_set_intervals(other), 1);
    UNIT_INT(gtid_set_subtract(other, set), 0);
    UNIT_UINT(gtid_set_count(other), N - 1);
    UNIT_INT(gtid_set_union(other, set), 0);
    UNIT_UINT(gtid_set_intervals(other), 1);
    buf_reset(&b);
    for (uint32_t i = N; i > 0; i--) { /* many uuids, in the worst order */
        buf_printf(&b, "%08x-71ca-11e1-9e33-c80aa9429562:1,", i);
    }
    UNIT_INT(gtid_set_parse(set, (const char *)b.data, b.len, NULL), 0);
    UNIT_UINT(gtid_set_count(set), N);
    buf_reset(&b);
    for (uint32_t i = N; i > 0; i--) {
        buf_printf(&b, "%s%u-%u-7", i == N ? "" : ",", i % 1000, i);
    }
    struct gtid_set *state = gtid_set_new(FLAVOUR_MARIADB);
    UNIT_INT(gtid_set_parse(state, (const char *)b.data, b.len, NULL), 0);
    UNIT_UINT(gtid_set_count(state), N);
    round_trip(state);
    buf_free(&b);
    gtid_set_free(state);
    gtid_set_free(set);
    gtid_set_free(other);
}

/* ---- MariaDB states ------------------------------------------------------------------------------------ */

enum { DOMAINS = 3, SERVERS = 3 };

struct state_model {
    uint64_t seq[DOMAINS][SERVERS]; /* 0: no pair */
    int newest[DOMAINS];            /* -1: none */
};

static bool state_agrees(const struct gtid_set *set, const struct state_model *m)
{
    size_t pairs = 0;
    for (uint32_t d = 0; d < DOMAINS; d++) {
        struct gtid g;
        if (gtid_set_newest(set, d, &g) != (m->newest[d] >= 0)) {
            return false;
        }
        if (m->newest[d] >= 0 && ((int)g.server != m->newest[d] || g.gno != m->seq[d][m->newest[d]])) {
            return false;
        }
        for (uint32_t s = 0; s < SERVERS; s++) {
            pairs += m->seq[d][s] != 0;
            bool found = gtid_set_last(set, d, s, &g);
            if (found != (m->seq[d][s] != 0) || (found && g.gno != m->seq[d][s])) {
                return false;
            }
        }
    }
    return gtid_set_count(set) == pairs;
}

static void random_state(uint64_t *seed, struct gtid_set *set, struct state_model *m)
{
    uint64_t adds = sample_random(seed) % 12;
    memset(m, 0, sizeof *m);
    memset(m->newest, -1, sizeof m->newest);
    gtid_set_clear(set);
    for (uint64_t i = 0; i < adds; i++) {
        uint32_t d = (uint32_t)(sample_random(seed) % DOMAINS), s = (uint32_t)(sample_random(seed) % SERVERS);
        struct gtid g = {
            .flavour = FLAVOUR_MARIADB, .domain = d, .server = s, .gno = 1 + sample_random(seed) % 6};
        UNIT_INT(gtid_set_add(set, &g), 0);
        m->seq[d][s] = g.gno;
        m->newest[d] = (int)s;
    }
}

/* What is left of a domain chooses its newest as gtid.h says. */
static void model_settle(struct state_model *m)
{
    for (size_t d = 0; d < DOMAINS; d++) {
        if (m->newest[d] >= 0 && m->seq[d][m->newest[d]]) {
            continue;
        }
        m->newest[d] = -1;
        for (int s = 0; s < SERVERS; s++) {
            if (m->seq[d][s] && (m->newest[d] < 0 || m->seq[d][s] > m->seq[d][m->newest[d]])) {
                m->newest[d] = s;
            }
        }
    }
}

static void check_states(const struct gtid_set *a, const struct state_model *ma, const struct gtid_set *b,
                         const struct state_model *mb)
{
    struct state_model both = *ma, left = *ma, common = *ma;
    bool subset = true;
    for (size_t d = 0; d < DOMAINS; d++) {
        int theirs = mb->newest[d];
        if (theirs >= 0 && ma->seq[d][theirs] < mb->seq[d][theirs]) {
            both.newest[d] = theirs;
        }
        for (size_t s = 0; s < SERVERS; s++) {
            uint64_t x = ma->seq[d][s], y = mb->seq[d][s];
            both.seq[d][s] = x > y ? x : y;
            left.seq[d][s] = x > y ? x : 0;
            common.seq[d][s] = x < y ? x : y;
            subset &= x <= y;
        }
    }
    model_settle(&left);
    model_settle(&common);
    UNIT_TRUE(gtid_set_subset(a, b) == subset);
    struct gtid_set *c = gtid_set_copy(a);
    UNIT_INT(gtid_set_union(c, b), 0);
    UNIT_TRUE(state_agrees(c, &both));
    round_trip(c);
    gtid_set_free(c);
    c = gtid_set_copy(a);
    UNIT_INT(gtid_set_subtract(c, b), 0);
    UNIT_TRUE(state_agrees(c, &left));
    gtid_set_free(c);
    c = gtid_set_copy(a);
    UNIT_INT(gtid_set_intersect(c, b), 0);
    UNIT_TRUE(state_agrees(c, &common));
    gtid_set_free(c);
}

static void states_are_as_the_model(void)
{
    uint64_t seed = unit_seed();
    struct gtid_set *a = gtid_set_new(FLAVOUR_MARIADB), *b = gtid_set_new(FLAVOUR_MARIADB);
    struct state_model ma, mb;
    for (int round = 0; round < 2000; round++) {
        random_state(&seed, a, &ma);
        random_state(&seed, b, &mb);
        if (!UNIT_TRUE(state_agrees(a, &ma))) {
            printf("# round %d: %s\n", round, text_of(a));
        }
        check_states(a, &ma, b, &mb);
    }
    gtid_set_free(a);
    gtid_set_free(b);
}

static bool within(const char *state, const char *position)
{
    struct gtid_set *s = set_of(FLAVOUR_MARIADB, state), *p = set_of(FLAVOUR_MARIADB, position);
    bool result = gtid_set_within_position(s, p);
    gtid_set_free(s);
    gtid_set_free(p);
    return result;
}

static void positions(void)
{
    UNIT_TRUE(within("", ""));
    UNIT_TRUE(within("", "0-1-5"));
    UNIT_TRUE(!within("0-1-5", ""));
    UNIT_TRUE(within("0-1-5", "0-1-5"));
    UNIT_TRUE(within("0-1-5", "0-1-6"));
    UNIT_TRUE(!within("0-1-5", "0-1-4"));
    UNIT_TRUE(within("0-2-9,0-1-5", "0-1-5"));
    UNIT_TRUE(!within("0-1-5,0-2-9", "0-1-5")); /* 0-2-9 came after it */
    UNIT_TRUE(within("0-1-5", "0-2-6"));        /* it comes later, or nowhere */
    UNIT_TRUE(!within("0-1-5,1-1-1", "0-1-5"));
    UNIT_TRUE(within("0-1-5,1-1-1", "0-1-5,1-1-2"));
    struct gtid_set *state = set_of(FLAVOUR_MARIADB, "0-41-31,0-31-1015");
    struct gtid g = gtid_named(FLAVOUR_MARIADB, "0-31-1015");
    UNIT_TRUE(gtid_set_contains(state, &g));
    g.gno = 7;
    UNIT_TRUE(gtid_set_contains(state, &g));
    g.gno = 1016;
    UNIT_TRUE(!gtid_set_contains(state, &g));
    g = gtid_named(FLAVOUR_MARIADB, "0-9-1");
    UNIT_TRUE(!gtid_set_contains(state, &g));
    gtid_set_free(state);
}

/* ---- what a server lacks ---- */

static void lacks(enum flavour flavour, const char *held, const char *has, const char *applied, uint64_t count, const char *want)
{
    struct gtid_set *a = set_of(flavour, held), *b = set_of(flavour, has), *c = applied ? set_of(flavour, applied) : NULL;
    struct gtid_set *lacking = gtid_lacking(a, b, c);
    struct buf text;
    buf_init(&text, BUF_MAX);
    gtid_lacking_print(lacking, b, 60, &text);
    UNIT_STR(buf_cstr(&text), want);
    UNIT_UINT(gtid_lacking_count(lacking, b), count);
    UNIT_TRUE(gtid_set_is_empty(lacking) == (count == 0));
    buf_free(&text);
    gtid_set_free(a);
    gtid_set_free(b);
    gtid_set_free(c);
    gtid_set_free(lacking);
}

static void what_a_server_lacks(void)
{
    lacks(FLAVOUR_MYSQL, UUID_A ":1-117", UUID_A ":1-100," UUID_B ":1-5", NULL, 17, UUID_A ":101-117");
    lacks(FLAVOUR_MYSQL, UUID_A ":1-117", UUID_A ":1-117," UUID_B ":1-5", NULL, 0, "");
    lacks(FLAVOUR_MYSQL, UUID_A ":1-117," UUID_B ":7", "", NULL, 118, UUID_A ":1-117,741e758a-e524-11f...");
    lacks(FLAVOUR_MARIADB, "0-1-100", "0-1-90", NULL, 10, "0-1-91 to 0-1-100");
    lacks(FLAVOUR_MARIADB, "0-1-100", "0-1-90,0-2-150", NULL, 10, "0-1-91 to 0-1-100"); /* promoted too early */
    lacks(FLAVOUR_MARIADB, "0-1-100", "0-1-100,0-2-101", NULL, 0, "");
    lacks(FLAVOUR_MARIADB, "0-1-100,0-2-632", "0-1-103", NULL, 529, "0-2-104 to 0-2-632"); /* an old master */
    lacks(FLAVOUR_MARIADB, "0-1-100,1-1-5", "0-1-99", NULL, 6, "0-1-100, 1-1-1 to 1-1-5");
    lacks(FLAVOUR_MARIADB, "0-1-100", "", "0-1-100", 0, ""); /* it does not log what it replicates */
    lacks(FLAVOUR_MARIADB, "0-1-100", "", "0-1-99", 100, "0-1-1 to 0-1-100");
    lacks(FLAVOUR_MARIADB, "0-1-100", "", "0-2-150", 100, "0-1-1 to 0-1-100"); /* higher, but on another way */
    lacks(FLAVOUR_MARIADB, "0-1-100,1-1-5", "0-1-50", "0-1-100,1-1-4", 5, "1-1-1 to 1-1-5");
}

/* ---- what comes from the same servers ---- */

static void related(enum flavour flavour, const char *set, const char *other, const char *want)
{
    struct gtid_set *a = set_of(flavour, set), *b = set_of(flavour, other), *c = set_of(flavour, want);
    UNIT_UINT(gtid_set_keep_related(a, b), 0);
    UNIT_TRUE(gtid_set_equal(a, c));
    gtid_set_free(a);
    gtid_set_free(b);
    gtid_set_free(c);
}

static void keeps_what_is_related(void)
{
    static const char A[] = "3e11fa47-71ca-11e1-9e33-c80aa9429562", B[] = "4e11fa47-71ca-11e1-9e33-c80aa9429562";
    char both[200], a[100], b[100], tagged[100];
    snprintf(both, sizeof both, "%s:8-9,%s:3", A, B);
    snprintf(a, sizeof a, "%s:1-5", A);
    snprintf(b, sizeof b, "%s:3", B);
    snprintf(tagged, sizeof tagged, "%s:night:1-5", B);
    related(FLAVOUR_MYSQL, both, tagged, b);
    related(FLAVOUR_MYSQL, tagged, b, tagged);
    related(FLAVOUR_MYSQL, both, "", "");
    related(FLAVOUR_MYSQL, b, a, "");
    related(FLAVOUR_MARIADB, "0-1-5,1-1-7,2-1-1", "0-2-4,2-3-9", "0-1-5,2-1-1");
    related(FLAVOUR_MARIADB, "0-1-5", "", "");
    struct gtid_set *one = set_of(FLAVOUR_MYSQL, a), *other = set_of(FLAVOUR_MARIADB, "0-1-5");
    UNIT_TRUE(gtid_set_keep_related(one, other) == E_INVALID);
    gtid_set_free(one);
    gtid_set_free(other);
}

UNIT_MAIN("gtid", UNIT_TEST(keeps_what_is_related), UNIT_TEST(what_a_server_lacks), UNIT_TEST(one_gtid_reads_and_prints), UNIT_TEST(one_gtid_refuses), UNIT_TEST(mysql_text),
          UNIT_TEST(mariadb_text), UNIT_TEST(captured_bytes), UNIT_TEST(hostile_bytes), UNIT_TEST(varints),
          UNIT_TEST(mysql_sets_are_as_the_model), UNIT_TEST(wrong_flavour), UNIT_TEST(large_sets),
          UNIT_TEST(states_are_as_the_model), UNIT_TEST(positions))
