/* test_filelist: the packed list of files says what was put in, from its bytes too; no damage of them is taken for a
 * list; and it stays small however long the GTID sets are. */
#include "storage/filelist.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/patch.h"
#include "tests/sim/rng.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- patches ------------------------------------------------------------------------------------------- */

static bool patch_works(const struct buf *from, const struct buf *to, size_t *size)
{
    struct buf patch, out;
    buf_init(&patch, 1 << 20);
    buf_init(&out, 1 << 20);
    patch_make(from->data, from->len, to->data, to->len, &patch);
    int rv = patch_apply(from->data, from->len, cur_of(patch.data, patch.len), &out);
    bool same = !rv && out.len == to->len && (out.len == 0 || memcmp(out.data, to->data, out.len) == 0);
    *size = patch.len;
    buf_free(&patch);
    buf_free(&out);
    return same;
}

static void edit(struct rng *rng, const struct buf *from, struct buf *to)
{
    buf_reset(to);
    for (size_t i = 0; i < from->len; i++) {
        switch (rng_below(rng, 60)) {
        case 0: break;
        case 1: buf_u8(to, (uint8_t)(from->data[i] + 1)); break;
        case 2:
            for (uint64_t n = rng_below(rng, 40); n > 0; n--) {
                buf_u8(to, (uint8_t)rng_below(rng, 4));
            } /* fall through */
        default: buf_u8(to, from->data[i]);
        }
    }
}

static void a_patch_makes_what_it_was_made_of(void)
{
    struct rng rng;
    struct buf from, to;
    bool all = true;
    size_t size;
    rng_init(&rng, unit_seed(), 3);
    buf_init(&from, 1 << 20);
    buf_init(&to, 1 << 20);
    UNIT_TRUE(patch_works(&from, &to, &size) && size == 0);
    buf_str(&to, "x");
    UNIT_TRUE(patch_works(&from, &to, &size));
    for (unsigned i = 0; i < 400; i++) {
        buf_reset(&from);
        for (uint64_t n = rng_below(&rng, 2000), values = 1 + rng_below(&rng, 255); n > 0; n--) {
            buf_u8(&from, (uint8_t)rng_below(&rng, values));
        }
        edit(&rng, &from, &to);
        all = all && patch_works(&from, &to, &size) && patch_works(&to, &from, &size);
        all = all && patch_works(&from, &from, &size) && size == 0;
    }
    UNIT_TRUE(all);
    buf_free(&from);
    buf_free(&to);
}

static void a_patch_that_does_not_fit_is_refused(void)
{
    static const uint8_t beyond[] = {5, 0, 0}, drops[] = {1, 4, 0}, lacks[] = {1, 0, 3, 'x'}, null[] = {0xfb};
    struct buf out;
    buf_init(&out, 100);
    UNIT_INT(patch_apply("abcd", 4, cur_of(beyond, sizeof beyond), &out), E_CORRUPT);
    UNIT_INT(patch_apply("abcd", 4, cur_of(drops, sizeof drops), &out), E_CORRUPT);
    UNIT_INT(patch_apply("abcd", 4, cur_of(lacks, sizeof lacks), &out), E_CORRUPT);
    UNIT_INT(patch_apply("abcd", 4, cur_of(null, sizeof null), &out), E_CORRUPT);
    buf_free(&out);
}

/* ---- lists against what was put in ------------------------------------------------------------------------ */

struct model {
    struct filelist_file *files;
    struct gtid_set **before;
    size_t n;
    struct gtid_set *held;
    struct filelist *list;
};

static void grow(struct rng *rng, struct gtid_set *set, unsigned members)
{
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        struct gtid g = {.flavour = gtid_set_flavour(set)};
        unsigned who = (unsigned)rng_below(rng, members);
        if (g.flavour == FLAVOUR_MYSQL) {
            memset(g.uuid, (int)(who * 7 + 1), sizeof g.uuid);
            snprintf(g.tag, sizeof g.tag, "%s", who % 5 == 0 ? "tag" : "");
            g.gno = 1 + rng_below(rng, 1000) * (1 + rng_below(rng, 100));
        } else {
            g.domain = who % 3;
            g.server = who;
            g.gno = gtid_set_count(set) + 1 + rng_below(rng, 1u << 20);
        }
        (void)gtid_set_add(set, &g);
    }
}

static void add(struct model *m, struct rng *rng)
{
    struct filelist_file f = {.at = m->n, .era = 1}, *last = m->n ? &m->files[m->n - 1] : NULL;
    if (last) {
        f.era = last->era + (rng_below(rng, 150) == 0 ? 1 + rng_below(rng, 2) : 0);
        f.follows_era = f.era != last->era;
        last->size = 4 + rng_next(rng) % (rng_below(rng, 3) ? 1u << 30 : 1u << 9);
        last->sum = (uint32_t)rng_next(rng);
    }
    bool jump = rng_below(rng, 300) == 0;
    unsigned long long number = 1;
    if (last) {
        number = strtoull(strrchr(last->name, '.') + 1, NULL, 10) + 1 + (jump ? rng_below(rng, 1000) : 0);
    }
    snprintf(f.name, sizeof f.name, "%s.%05llu", m->n % 1000 < 500 ? "mysql-bin" : "bin.9", number + (m->n ? 0 : 99700));
    struct filelist *list =
        filelist_add(m->list, last ? last->size : 0, last ? last->sum : 0, f.era, f.name, m->n % 97 == 5 ? NULL : m->held);
    filelist_unref(m->list);
    m->list = list;
    m->files = mem_grow(m->files, m->n + 1, sizeof *m->files);
    m->before = mem_grow(m->before, m->n + 1, sizeof(struct gtid_set *));
    m->files[m->n] = f;
    m->before[m->n] = m->n % 97 == 5 ? NULL : gtid_set_copy(m->held);
    m->n++;
}

static void make(struct model *m, enum flavour flavour, size_t n, unsigned members, struct rng *rng)
{
    *m = (struct model){.held = gtid_set_new(flavour), .list = filelist_new()};
    while (m->n < n) {
        add(m, rng);
        grow(rng, m->held, members);
    }
}

static void drop(struct model *m)
{
    for (size_t i = 0; i < m->n; i++) {
        gtid_set_free(m->before[i]);
    }
    mem_free(m->before);
    mem_free(m->files);
    gtid_set_free(m->held);
    filelist_unref(m->list);
}

static bool same_file(const struct filelist_file *a, const struct filelist_file *b)
{
    return a->at == b->at && a->era == b->era && a->follows_era == b->follows_era && a->size == b->size && a->sum == b->sum &&
           strcmp(a->name, b->name) == 0;
}

static bool says(const struct filelist *list, const struct model *m, size_t at)
{
    struct filelist_file f;
    struct gtid_set *before;
    size_t found;
    filelist_get(list, at, &f);
    bool ok = same_file(&f, &m->files[at]) && filelist_before(list, at, &before, NULL) == 0;
    ok = ok && !before == !m->before[at] && (!before || gtid_set_equal(before, m->before[at]));
    gtid_set_free(before);
    return ok && filelist_find(list, f.era, f.name, &found) && found == at;
}

static void a_list_says_what_was_put_in(void)
{
    struct rng rng;
    rng_init(&rng, unit_seed(), 4);
    for (unsigned round = 0; round < 6; round++) {
        struct model m;
        struct filelist *again;
        struct filelist_walk w;
        struct buf bytes, tail;
        bool all = true;
        size_t n = 0, at;
        make(&m, round % 2 ? FLAVOUR_MARIADB : FLAVOUR_MYSQL, 300 + 300 * round, 1 + 12 * round, &rng);
        buf_init(&bytes, 1 << 26);
        buf_init(&tail, 1 << 26);
        filelist_bytes(m.list, 0, &bytes);
        UNIT_UINT(bytes.len, filelist_size(m.list));
        UNIT_REQUIRE(filelist_load(bytes.data, bytes.len, false, &again, NULL) == 0);
        UNIT_UINT(filelist_sum(again), filelist_sum(m.list));
        UNIT_UINT(filelist_count(again), m.n);
        for (unsigned i = 0; i < 150; i++) {
            at = i < 3 ? (size_t)i * (m.n - 1) / 2 : (size_t)rng_below(&rng, m.n);
            all = all && says(m.list, &m, at) && says(again, &m, at);
        }
        for (filelist_walk_begin(&w, again, 7); filelist_walk_next(&w); n++) {
            all = all && same_file(&w.file, &m.files[n + 7]);
        }
        UNIT_TRUE(all);
        UNIT_UINT(n + 7, m.n);
        UNIT_TRUE(!filelist_find(again, 0, "mysql-bin.00001", &at) && !filelist_find(again, 0, "other.00001", &at));
        size_t from = (size_t)rng_below(&rng, bytes.len);
        filelist_bytes(again, from, &tail);
        UNIT_TRUE(tail.len == bytes.len - from && memcmp(tail.data, bytes.data + from, tail.len) == 0);
        at = filelist_newest_era(again);
        UNIT_TRUE(m.files[at].era == m.files[m.n - 1].era && (at == 0 || m.files[at - 1].era != m.files[at].era));
        buf_free(&bytes);
        buf_free(&tail);
        filelist_unref(again);
        drop(&m);
    }
}

/* Without its oldest files it says of the others what it said, and grows as it did. */
static void a_list_can_lose_its_oldest_files(void)
{
    struct rng rng;
    rng_init(&rng, unit_seed(), 9);
    for (unsigned round = 0; round < 8; round++) {
        struct model m;
        bool all = true;
        size_t from;
        make(&m, round % 2 ? FLAVOUR_MARIADB : FLAVOUR_MYSQL, 40 + 250 * round, 1 + 6 * round, &rng);
        while (m.n > 1) {
            struct filelist *rest, *again;
            struct buf bytes;
            from = rng_below(&rng, 4) ? (size_t)rng_below(&rng, m.n / 2 + 1) : m.n - 1;
            UNIT_REQUIRE(filelist_from(m.list, from, &rest, NULL) == 0);
            for (size_t i = 0; i < from; i++) {
                gtid_set_free(m.before[i]);
            }
            m.n -= from;
            memmove(m.files, m.files + from, m.n * sizeof *m.files);
            memmove(m.before, m.before + from, m.n * sizeof *m.before);
            for (size_t i = 0; i < m.n; i++) {
                m.files[i].at = i;
            }
            filelist_unref(m.list);
            m.list = rest;
            buf_init(&bytes, 1 << 26);
            filelist_bytes(rest, 0, &bytes);
            UNIT_REQUIRE(filelist_load(bytes.data, bytes.len, false, &again, NULL) == 0);
            buf_free(&bytes);
            for (unsigned i = 0; i < 40; i++) {
                size_t at = i < 3 ? (size_t)i * (m.n - 1) / 2 : (size_t)rng_below(&rng, m.n);
                all = all && says(rest, &m, at) && says(again, &m, at);
            }
            UNIT_TRUE(filelist_count(rest) == m.n && filelist_sum(again) == filelist_sum(rest));
            filelist_unref(again);
            if (rng_below(&rng, 3) == 0) {
                add(&m, &rng);
                all = all && says(m.list, &m, m.n - 1) && says(m.list, &m, m.n - 2);
            }
            if (m.n == 2) {
                break;
            }
        }
        UNIT_TRUE(all);
        drop(&m);
    }
}

/* One that is held does not change when files are added. */
static void a_list_that_is_held_stays(void)
{
    struct filelist *lists[300];
    bool all = true;
    lists[0] = filelist_new();
    for (unsigned i = 1; i < 300; i++) {
        char name[32];
        snprintf(name, sizeof name, "b.%04u", i);
        lists[i] = filelist_add(lists[i - 1], 10 + i, 0, 1, name, NULL);
    }
    for (unsigned i = 0; i < 300; i++) {
        struct filelist_file f = {.size = 0};
        all = all && filelist_count(lists[i]) == i;
        if (i > 0) {
            filelist_get(lists[i], i - 1, &f);
            all = all && f.size == 0 && strtoul(f.name + 2, NULL, 10) == i;
        }
    }
    UNIT_TRUE(all);
    for (unsigned i = 0; i < 300; i++) {
        filelist_unref(lists[i]);
    }
}

/* ---- searches ------------------------------------------------------------------------------------------ */

static unsigned asked;

static bool has_it(void *arg, const struct gtid_set *before)
{
    asked++;
    return !before || gtid_set_subset(before, arg);
}

static bool is_this(void *arg, const struct gtid_set *before)
{
    return before && gtid_set_equal(before, arg);
}

static void a_search_finds_the_newest_that_is_admitted(void)
{
    struct rng rng;
    struct model m;
    bool all = true;
    size_t at;
    unsigned most = 0;
    rng_init(&rng, unit_seed(), 5);
    make(&m, FLAVOUR_MYSQL, 3000, 20, &rng);
    for (unsigned i = 0; i < 200; i++) {
        size_t want = (size_t)rng_below(&rng, m.n), n = want + 1 + (size_t)rng_below(&rng, m.n - want);
        while (!m.before[want]) {
            want--;
        }
        struct gtid_set *have = gtid_set_copy(m.before[want]);
        asked = 0;
        int rv = filelist_search(m.list, n, has_it, have, &at, NULL);
        all = all && rv == 0 && at < n && (!m.before[at] || gtid_set_subset(m.before[at], have));
        all = all && (!m.before[at] || at + 1 == n || !m.before[at + 1] || !gtid_set_subset(m.before[at + 1], have));
        most = asked > most ? asked : most;
        gtid_set_free(have);
    }
    UNIT_TRUE(all);
    UNIT_TRUE(most < 60); /* of 3000 */
    /* states that do not grow: what there is is found all the same */
    UNIT_INT(filelist_search(m.list, m.n, is_this, m.before[1234], &at, NULL), 0);
    UNIT_TRUE(m.before[at] && gtid_set_equal(m.before[at], m.before[1234]));
    struct gtid_set *none = gtid_set_new(FLAVOUR_MYSQL);
    UNIT_INT(gtid_set_parse(none, "ffffffff-ffff-ffff-ffff-ffffffffffff:1", 38, NULL), 0);
    UNIT_INT(filelist_search(m.list, m.n, is_this, none, &at, NULL), E_NOTFOUND);
    gtid_set_free(none);
    drop(&m);
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static void no_flipped_bit_and_no_torn_end_is_taken(void)
{
    struct rng rng;
    struct model m;
    struct buf bytes;
    struct filelist *list;
    struct errmsg em;
    bool refused = true, prefix = true, told = true;
    rng_init(&rng, unit_seed(), 6);
    make(&m, FLAVOUR_MYSQL, 200, 5, &rng);
    buf_init(&bytes, 1 << 24);
    filelist_bytes(m.list, 0, &bytes);
    for (size_t bit = 0; bit < bytes.len * 8; bit += 1 + rng_below(&rng, 9)) {
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused = refused && filelist_load(bytes.data, bytes.len, false, &list, &em) == E_CORRUPT && !list;
        told = told && strstr(em.text, "is damaged") != NULL;
        if (filelist_load(bytes.data, bytes.len, true, &list, NULL) == 0) {
            size_t n = filelist_count(list);
            prefix = prefix && n < m.n && filelist_size(list) <= bit / 8 &&
                     (n == 0 || strcmp(m.files[n - 1].name, "") != 0);
            filelist_unref(list);
        }
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < bytes.len; n += 1 + (size_t)rng_below(&rng, 7)) {
        prefix = prefix && filelist_load(bytes.data, n, true, &list, NULL) == 0 && filelist_size(list) <= n;
        prefix = prefix && (filelist_count(list) == 0 || says(m.list, &m, filelist_count(list) - 1));
        filelist_unref(list);
    }
    UNIT_TRUE(refused);
    UNIT_TRUE(told);
    UNIT_TRUE(prefix);
    buf_free(&bytes);
    drop(&m);
}

/* A right sum over a name that leads elsewhere, an era that goes back, a size that cannot be, a set that is none. */
static void what_cannot_be_is_refused_behind_a_right_sum(void)
{
    static const struct {
        const char *name;
        uint64_t era, size;
        uint8_t flags;
        bool set_bad;
    } cases[] = {{"../b.000002", 1, 9, 1, false}, {"b.000002", 1, 3, 1, false}, {"b.000002", 0, 9, 1, false},
                 {"b.000002", 1, 9, 3, false},    {"b.000002", 1, 9, 9, false}, {"b.000002", 2, 9, 9, true},
                 {"b.000002", 1, 9, 0x41, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct filelist *list = filelist_new(), *one = filelist_add(list, 0, 0, 1, "b.000001", NULL), *two;
        struct gtid_set *before;
        struct errmsg em;
        struct buf b;
        buf_init(&b, 1000);
        filelist_bytes(one, 0, &b);
        size_t at = b.len;
        buf_lenenc(&b, cases[i].size);
        buf_u32(&b, 77);
        buf_u8(&b, cases[i].flags);
        buf_lenenc(&b, cases[i].era);
        buf_lenenc_str(&b, cases[i].name);
        buf_lenenc_str(&b, cases[i].set_bad ? "\001xyz" : "");
        buf_u32(&b, crc32c_of(filelist_sum(one), b.data + at, b.len - at));
        int rv = filelist_load(b.data, b.len, false, &two, &em);
        UNIT_INT(rv, cases[i].set_bad ? 0 : E_CORRUPT);
        if (!rv) {
            UNIT_INT(filelist_before(two, 1, &before, &em), E_CORRUPT);
            UNIT_TRUE(strstr(em.text, "b.000002") != NULL);
        }
        buf_free(&b);
        filelist_unref(list);
        filelist_unref(one);
        filelist_unref(two);
    }
}

/* ---- size ---------------------------------------------------------------------------------------------- */

/* Bytes of memory for one of 10,000 files whose state has 100 UUIDs, of which `active` write. */
static double bytes_per_file(unsigned active)
{
    struct gtid_set *held = gtid_set_new(FLAVOUR_MYSQL);
    struct filelist *list = filelist_new();
    struct gtid g = {.flavour = FLAVOUR_MYSQL};
    uint64_t gno[100];
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        for (unsigned u = 0; u < (i ? active : 100); u++) {
            memset(g.uuid, (int)(u * 2 + 1), sizeof g.uuid);
            gno[u] = i ? gno[u] : 1000000 + u;
            for (unsigned k = 0; k < (i ? 20 : 1); k++) {
                g.gno = gno[u]++;
                (void)gtid_set_add(held, &g);
            }
        }
        snprintf(name, sizeof name, "mysql-bin.%06u", i + 1);
        struct filelist *next = filelist_add(list, UINT64_C(1) << 30, 0, 1, name, held);
        filelist_unref(list);
        list = next;
    }
    double each = (double)filelist_memory(list) / 10000;
    filelist_unref(list);
    gtid_set_free(held);
    return each;
}

static void ten_thousand_files_are_small(void)
{
    double one = bytes_per_file(1), all = bytes_per_file(100);
    printf("# bytes a file, 100 UUIDs in its set: %.1f when one writes, %.1f when all do\n", one, all);
    UNIT_TRUE(one < 40);
    UNIT_TRUE(all < 800);
}

UNIT_MAIN("filelist", UNIT_TEST(a_patch_makes_what_it_was_made_of), UNIT_TEST(a_patch_that_does_not_fit_is_refused),
          UNIT_TEST(a_list_says_what_was_put_in), UNIT_TEST(a_list_can_lose_its_oldest_files), UNIT_TEST(a_list_that_is_held_stays),
          UNIT_TEST(a_search_finds_the_newest_that_is_admitted), UNIT_TEST(no_flipped_bit_and_no_torn_end_is_taken),
          UNIT_TEST(what_cannot_be_is_refused_behind_a_right_sum), UNIT_TEST(ten_thousand_files_are_small))
