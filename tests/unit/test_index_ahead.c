/* test_index_ahead: the index of a file that is made while the file comes is the one that is made of the whole file, in whatever pieces it came, wherever
 * it ended for a while, and also when its open transaction was cut and became another one. */
#include "storage/index_ahead.h"

#include "protocol/base/mem.h"
#include "storage/scan.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

enum { STEP = 150, BLOCK = 512, ROUNDS = 60 };

static const struct {
    const char *dir, *name;
} samples[] = {{"mysql-9.7-all-events", "mysql-bin.000001"},
               {"mysql-9.7-all-events", "mysql-bin.000012"},
               {"mysql-5.6-all-events", "mysql-bin.000001"},
               {"mariadb-10.11-all-events", "mysql-bin.000001"},
               {"mariadb-11.8-all-events", "mysql-bin.000001"}};

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

struct rig {
    struct env *env;
    struct binlog *b;
    char *path;
    struct env_file *file;
    struct index_ahead *ahead;
    uint64_t there;
    uint8_t *other; /* the same events at another time */
};

static void make_other(struct rig *r)
{
    r->other = mem_array(r->b->n, 1);
    memcpy(r->other, r->b->bytes, r->b->n);
    for (size_t i = 1; i < r->b->n_events; i++) {
        uint8_t *event = r->other + r->b->events[i].start;
        size_t n = (size_t)(r->b->events[i].end - r->b->events[i].start);
        event_crc_set(event, n);
        bool has_sum = !memcmp(event, r->b->bytes + r->b->events[i].start, n);
        memcpy(event, r->b->bytes + r->b->events[i].start, n);
        event[0] ^= 1;
        if (has_sum) {
            event_crc_set(event, n);
        }
    }
}

static void open_rig(struct rig *r, const char *dir, size_t sample)
{
    *r = (struct rig){.env = test_env_new(1), .b = binlog_load(samples[sample].dir, samples[sample].name)};
    r->path = mem_printf("%s/%s", dir, r->b->name);
    UNIT_REQUIRE(env_open(r->env, r->path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_TRUNC, &r->file, NULL) == 0);
    r->ahead = index_ahead_new(r->env, r->path, 7, r->b->name, STEP, BLOCK);
    make_other(r);
}

static void close_rig(struct rig *r)
{
    index_ahead_free(r->ahead);
    env_close(r->file);
    UNIT_UINT(test_env_open_files(r->env), 0);
    binlog_free(r->b);
    mem_free(r->other);
    mem_free(r->path);
    test_env_free(r->env);
}

/* What a walk over the file makes. */
static void want(struct rig *r, uint64_t boundary, uint64_t size, bool sealed, struct buf *out)
{
    struct errmsg em;
    struct scan *scan;
    struct index_builder *b = index_builder_new(7, r->b->name, STEP, BLOCK);
    UNIT_REQUIRE(scan_open(r->env, r->path, b, STORE_MAGIC, boundary, &scan, &em) == 0);
    UNIT_INT(scan_step(scan, UINT64_MAX, &em), 0);
    scan_close(scan);
    UNIT_INT(scan_raw(r->file, r->path, b, size, &em), 0);
    if (sealed) {
        index_builder_seal(b);
    } else {
        index_builder_put_hashes(b);
    }
    buf_move(out, index_builder_out(b));
    index_builder_free(b);
}

static void come(struct rig *r, const uint8_t *bytes, uint64_t to, uint64_t piece)
{
    struct errmsg em;
    int rv = 0;
    while (r->there < to && rv >= 0) {
        uint64_t n = to - r->there < piece ? to - r->there : piece;
        UNIT_REQUIRE(env_pwrite(r->file, bytes + r->there, n, r->there, &em) == 0);
        r->there += n;
        uint8_t *given = below(4) ? mem_dup(bytes + r->there - n, n) : NULL; /* else it reads them */
        while ((rv = index_ahead_step(r->ahead, r->there, given, given ? n : 0, 1 + below(400), &em)) == 1) {
        }
        mem_free(given);
        UNIT_INT(rv, 0);
    }
}

static bool end_is_right(struct rig *r, uint64_t boundary, bool sealed)
{
    struct buf have, right;
    struct errmsg em = {""};
    buf_init(&have, INDEX_MAX);
    buf_init(&right, INDEX_MAX);
    int rv = index_ahead_end(r->ahead, boundary, r->there, sealed, &have, &em);
    want(r, boundary, r->there, sealed, &right);
    bool same = rv == 0 && have.len == right.len && !memcmp(have.data, right.data, have.len);
    same = same && (!sealed || index_check_sealed(have.data, have.len, 7, r->b->name, r->there, &em) == 0);
    if (!same) {
        fprintf(stderr, "%s up to %llu, sealed %d: %zu bytes of index, expected %zu; %s\n", r->path, (unsigned long long)r->there, sealed, have.len, right.len, em.text);
    }
    buf_free(&have);
    buf_free(&right);
    return same;
}

static void in_pieces_it_is_the_same(void)
{
    char *dir = binlog_dir("ahead-pieces");
    random_state = unit_seed() * 31 + 7;
    bool same = true;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        for (uint64_t piece = 1; piece < 100000 && same; piece = piece * 7 + below(5)) {
            struct rig r;
            open_rig(&r, dir, i);
            come(&r, r.b->bytes, r.b->n, piece);
            same = end_is_right(&r, r.b->n, true);
            close_rig(&r);
        }
    }
    UNIT_TRUE(same);
    mem_free(dir);
}

/* It ends anywhere for a while, its open transaction is cut sometimes, and what comes is another one. */
static void it_grows_and_is_cut(void)
{
    char *dir = binlog_dir("ahead-grows");
    struct errmsg em;
    unsigned cuts = 0, inside = 0;
    bool same = true;
    random_state = unit_seed() * 31 + 11;
    for (unsigned round = 0; round < ROUNDS && same; round++) {
        struct rig r;
        open_rig(&r, dir, round % (sizeof samples / sizeof *samples));
        while (same && r.there < r.b->n) {
            uint64_t more = 1 + below(4000), size = r.b->n - r.there < more ? r.b->n : r.there + more;
            size = size < STORE_MAGIC ? STORE_MAGIC : size;
            uint64_t boundary = binlog_boundary(r.b, size);
            bool cut = size > boundary && boundary > r.there && below(2);
            come(&r, r.b->bytes, cut ? boundary : size, 1 + below(900));
            if (size == r.b->n) {
                break;
            }
            if (cut) {
                come(&r, r.other, size, 1 + below(900));
            }
            same = end_is_right(&r, boundary, false);
            if (cut) { /* what comes after it is not what was there before */
                UNIT_REQUIRE(env_truncate(r.file, boundary, &em) == 0);
                r.there = boundary;
                cuts++;
            }
            inside += size > boundary;
            UNIT_INT(index_ahead_again(r.ahead, &em), 0);
            UNIT_UINT(index_ahead_boundary(r.ahead), 0);
        }
        same = same && end_is_right(&r, r.b->n, true);
        close_rig(&r);
    }
    UNIT_TRUE(same);
    printf("# %u ends inside a transaction, %u cuts\n", inside, cuts);
    UNIT_TRUE(cuts > 20 && inside > 40);
    mem_free(dir);
}

/* Who writes the file has its bytes at hand: of the file nothing is read but its magic. */
static void what_is_given_is_not_read(void)
{
    char *dir = binlog_dir("ahead-given");
    struct rig r;
    struct errmsg em;
    uint64_t calls = 0, n = 0;
    open_rig(&r, dir, 0);
    for (; r.there < r.b->n; r.there += n) {
        n = r.b->n - r.there < 300 ? r.b->n - r.there : 300;
        UNIT_REQUIRE(env_pwrite(r.file, r.b->bytes + r.there, n, r.there, &em) == 0);
        calls -= test_env_calls(r.env);
        UNIT_INT(index_ahead_step(r.ahead, r.there + n, r.b->bytes + r.there, n, UINT64_MAX, &em), 0);
        calls += test_env_calls(r.env);
    }
    UNIT_UINT(calls, 3); /* open, and the magic, for the walk and for the index */
    UNIT_TRUE(end_is_right(&r, r.b->n, true));
    close_rig(&r);
    mem_free(dir);
}

/* A piece that nobody gave is read; those behind it are not. */
static void after_a_gap_it_is_given_again(void)
{
    enum { EVENT = 900 << 10, EVENTS = 6, PIECE = 256 << 10 };
    char *dir = binlog_dir("ahead-gap");
    struct rig r;
    struct errmsg em;
    open_rig(&r, dir, 0);
    size_t head = r.b->events[0].end, n = head + (size_t)EVENT * EVENTS;
    uint8_t *bytes = mem_array(n, 1);
    memcpy(bytes, r.b->bytes, head);
    for (size_t at = head; at < n; at += EVENT) { /* each is longer than what is read at once */
        const uint32_t size = EVENT, end = (uint32_t)(at + EVENT);
        bytes[at + 4] = EVENT_IGNORABLE;
        memcpy(bytes + at + 9, &size, 4);
        memcpy(bytes + at + 13, &end, 4);
    }
    UNIT_REQUIRE(env_pwrite(r.file, bytes, n, 0, &em) == 0);
    index_ahead_trust(r.ahead, true);
    uint64_t calls = 0;
    for (size_t there = PIECE; there <= n; there += PIECE) {
        bool given = there != 2 * PIECE;
        calls = there == 3 * PIECE ? test_env_calls(r.env) : calls;
        UNIT_INT(index_ahead_step(r.ahead, there, given ? bytes + there - PIECE : NULL, given ? PIECE : 0, UINT64_MAX, &em), 0);
    }
    UNIT_UINT(test_env_calls(r.env) - calls, 0);
    mem_free(bytes);
    close_rig(&r);
    mem_free(dir);
}

/* An event whose size is wrong is not waited for in memory. */
static void an_event_without_end_is_not_kept(void)
{
    enum { PIECE = 1 << 20, PIECES = 64 };
    char *dir = binlog_dir("ahead-endless");
    struct rig r;
    struct errmsg em;
    uint8_t *piece = mem_array(PIECE, 1);
    open_rig(&r, dir, 0);
    memcpy(piece, r.b->bytes, 64);
    memset(piece + STORE_MAGIC + 9, 0xf0, 4); /* the size of its first event */
    UNIT_REQUIRE(env_pwrite(r.file, piece, PIECE, 0, &em) == 0);
    index_ahead_trust(r.ahead, true);
    struct mallinfo2 before = mallinfo2();
    for (uint64_t i = 1; i <= PIECES; i++) {
        UNIT_INT(index_ahead_step(r.ahead, i * PIECE, piece, PIECE, UINT64_MAX, &em), 0);
    }
    struct mallinfo2 after = mallinfo2();
    UNIT_TRUE(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + (20 << 20));
    mem_free(piece);
    close_rig(&r);
    mem_free(dir);
}

static void damage_has_no_index(void)
{
    char *dir = binlog_dir("ahead-damage");
    struct rig r;
    struct buf out;
    struct errmsg em;
    random_state = 5;
    open_rig(&r, dir, 0);
    r.b->bytes[r.b->n / 2] ^= 1;
    UNIT_REQUIRE(env_pwrite(r.file, r.b->bytes, r.b->n, 0, &em) == 0);
    int rv = 1;
    while ((rv = index_ahead_step(r.ahead, r.b->n, NULL, 0, 1000, &em)) == 1) {
    }
    UNIT_INT(rv, E_CORRUPT);
    close_rig(&r);

    open_rig(&r, dir, 0); /* somebody else looks for damage */
    r.b->bytes[r.b->n - 10] ^= 1;
    index_ahead_trust(r.ahead, true);
    come(&r, r.b->bytes, r.b->n, 1000);
    UNIT_INT(index_ahead_step(r.ahead, r.b->n, NULL, 0, UINT64_MAX, &em), 0);
    close_rig(&r);

    open_rig(&r, dir, 0); /* sealed where no transaction ends, or where no event does */
    buf_init(&out, INDEX_MAX);
    come(&r, r.b->bytes, r.b->txns[1].end - 1, 100);
    UNIT_INT(index_ahead_end(r.ahead, r.there, r.there, true, &out, &em), E_CORRUPT);
    UNIT_INT(index_ahead_end(r.ahead, r.there, r.there, false, &out, &em), E_CORRUPT);
    buf_free(&out);
    close_rig(&r);
    mem_free(dir);
}

UNIT_MAIN("index_ahead", UNIT_TEST(in_pieces_it_is_the_same), UNIT_TEST(it_grows_and_is_cut),
          UNIT_TEST(what_is_given_is_not_read), UNIT_TEST(after_a_gap_it_is_given_again),
          UNIT_TEST(an_event_without_end_is_not_kept), UNIT_TEST(damage_has_no_index))
