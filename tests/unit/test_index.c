/* test_index.c: the index of a file is what its bytes say, whatever happened on the way; readers that start
 * with it show what readers that walk show; and no damage of an index makes a start wrong. */
#include "storage/index.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/reader.h"
#include "storage/verify.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct store_options fine = {.index_step = 1, .index_block = 1024, .walk_max = 1};
static const struct store_options coarse = {.index_step = 1 << 30, .walk_max = 1 << 30}; /* never used */

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

/* ---- a store with a subscriber ------------------------------------------------------------------------- */

struct fix {
    struct env *loop, *worker;
    char *dir;
    struct store *store;
    struct store_sub sub;
    uint64_t index;
    struct binlog *b[2]; /* the first one is sealed */
    char *path;          /* of the first one's index */
    unsigned changes;
    bool left;
};

static void changed(struct store_sub *sub)
{
    ((struct fix *)sub->owner)->changes++;
}

static void gone(struct store_sub *sub)
{
    ((struct fix *)sub->owner)->left = true;
}

static void open_fix(struct fix *f, const char *name, const struct store_options *options, const char *dir,
                     unsigned first)
{
    *f = (struct fix){.loop = test_env_new(unit_seed())};
    f->worker = test_env_worker(f->loop, "serve0");
    f->dir = binlog_dir(name);
    f->store = binlog_store_with(f->loop, f->dir, options);
    f->sub.owner = f;
    store_subscribe(f->store, &f->sub, f->worker, changed);
    for (unsigned i = 0; i < 2; i++) {
        char file[32];
        snprintf(file, sizeof file, "mysql-bin.%06u", first + i);
        f->b[i] = binlog_load(dir, file);
        UNIT_REQUIRE(f->b[i] != NULL);
        binlog_put(f->store, f->b[i], 1, 1777, &f->index);
    }
    f->path = mem_printf("%s/index/1/%s.idx", f->dir, f->b[0]->name);
    test_env_run(f->loop);
}

static void close_fix(struct fix *f)
{
    store_unsubscribe(&f->sub, gone);
    test_env_run(f->loop);
    UNIT_TRUE(f->left);
    binlog_store_close(f->loop, f->store);
    UNIT_UINT(test_env_open_files(f->loop), 0);
    binlog_free(f->b[0]);
    binlog_free(f->b[1]);
    mem_free(f->path);
    mem_free(f->dir);
    test_env_free(f->loop);
}

/* ---- the index is what the bytes say ------------------------------------------------------------------- */

static void whatever_pieces_come_the_index_is_the_same(void)
{
    static const struct {
        const char *dir, *name;
    } samples[] = {{"mysql-9.7-all-events", "mysql-bin.000001"},
                   {"mysql-9.7-all-events", "mysql-bin.000012"},
                   {"mysql-5.6-all-events", "mysql-bin.000001"},
                   {"mariadb-10.11-all-events", "mysql-bin.000001"},
                   {"mariadb-11.8-all-events", "mysql-bin.000001"}};
    random_state = unit_seed() * 31 + 7;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct binlog *b = binlog_load(samples[i].dir, samples[i].name);
        for (unsigned round = 0; round < 4; round++) {
            struct store_options o = {.index_step = (uint32_t)(1 + below(700)),
                                      .index_block = (uint32_t)(64 + below(3000))};
            char name[32];
            snprintf(name, sizeof name, "same%zu-%u", i, round);
            struct env *loop = test_env_new(unit_seed());
            char *dir = binlog_dir(name);
            struct store *store = binlog_store_with(loop, dir, &o);
            uint64_t index = 1;
            store_file(store, index, 0, 1, b->name, b->state_before);
            for (uint64_t at = 4; at < b->n;) {
                uint64_t n = 1 + below(below(3) ? 100 : 6000);
                n = n < b->n - at ? n : b->n - at;
                uint64_t boundary = binlog_boundary(b, at + n);
                struct store_txns txns = binlog_txns(b, at, at + n);
                store_write_txns(store, ++index, at, b->bytes + at, n, boundary, &txns, NULL, NULL);
                at += n;
                if (at > boundary && below(2)) {
                    store_cut(store, ++index, boundary);
                    at = boundary;
                }
                if (below(2)) {
                    test_env_run(loop);
                }
            }
            test_env_run(loop);
            UNIT_TRUE(binlog_index_same(loop, dir, 1, b, &o, false));
            store_file(store, ++index, 0, 1, "mysql-bin.900000", NULL);
            binlog_store_close(loop, store);
            UNIT_TRUE(binlog_index_same(loop, dir, 1, b, &o, true));
            mem_free(dir);
            test_env_free(loop);
        }
        binlog_free(b);
    }
}

/* ---- starts -------------------------------------------------------------------------------------------- */

/* A sum over the events of transactions that come; the number of all events in *n. E_… when it cannot be
 * read. */
static int sum_of(struct reader *r, uint32_t *crc, unsigned *n)
{
    struct reader_event ev;
    int rv;
    bool inside = false;
    *crc = 0;
    *n = 0;
    while ((rv = reader_next(r, &ev, NULL)) == 1) {
        inside = inside || event_is_gtid(ev.type);
        if (inside) {
            *crc = crc32c_of(*crc, ev.bytes, ev.n);
        }
        inside = inside && !ev.ends_transaction;
        ++*n;
    }
    return rv;
}

/* What a replica with the first n transactions of the first file asks with. */
static struct gtid_set *having(const struct binlog *b, size_t n)
{
    struct buf text;
    struct gtid_set *state = gtid_set_copy(b->state_before), *sent = gtid_set_new(gtid_set_flavour(state));
    for (size_t i = 0; i < n; i++) {
        if (b->txns[i].gtid.flavour != FLAVOUR_NONE) {
            UNIT_INT(gtid_set_add(state, &b->txns[i].gtid), 0);
        }
    }
    buf_init(&text, 1 << 20);
    gtid_set_print_position(state, &text);
    UNIT_INT(gtid_set_parse(sent, buf_cstr(&text), text.len, NULL), 0);
    buf_free(&text);
    gtid_set_free(state);
    return sent;
}

/* Readers of the same files with a fine index and without one show the same transactions. */
static void same_starts(const char *dir, unsigned first, const char *name)
{
    struct fix with, without;
    char other[64];
    snprintf(other, sizeof other, "%s-without", name);
    open_fix(&with, name, &fine, dir, first);
    open_fix(&without, other, &coarse, dir, first);
    const struct binlog *b = with.b[0];
    bool right = true;
    for (size_t n = 0; n <= b->n_txns && right; n++) {
        struct gtid_set *have = having(b, n);
        struct reader *x = NULL, *y = NULL;
        uint32_t x_crc, y_crc;
        unsigned x_n, y_n;
        right = reader_open_gtid(&with.sub, have, &x, NULL) == 0 &&
                reader_open_gtid(&without.sub, have, &y, NULL) == 0;
        UNIT_REQUIRE(right);
        right = sum_of(x, &x_crc, &x_n) == 0 && sum_of(y, &y_crc, &y_n) == 0 && x_crc == y_crc &&
                x_n <= y_n; /* what stands between transactions that are passed over is not shown */
        if (!right) {
            fprintf(stderr, "%s: with the first %zu of %zu\n", dir, n, b->n_txns);
        }
        reader_close(x);
        reader_close(y);
        gtid_set_free(have);
    }
    for (size_t i = 0; i < b->n_events && right; i++) {
        struct reader *x = NULL, *y = NULL;
        uint32_t x_crc, y_crc;
        unsigned x_n, y_n;
        uint64_t at = b->events[i].start;
        right = reader_open_position(&with.sub, 1, b->name, at, &x, NULL) == 0 &&
                reader_open_position(&without.sub, 1, b->name, at, &y, NULL) == 0;
        UNIT_REQUIRE(right);
        right = sum_of(x, &x_crc, &x_n) == 0 && sum_of(y, &y_crc, &y_n) == 0 && x_crc == y_crc && x_n == y_n;
        reader_close(x);
        reader_close(y);
        right = right && reader_open_position(&with.sub, 1, b->name, at + 1, &x, NULL) == READER_BAD_POSITION;
    }
    UNIT_TRUE(right);
    UNIT_TRUE(b->n_txns > 2);
    close_fix(&with);
    close_fix(&without);
}

static void starts_with_an_index_are_those_without(void)
{
    same_starts("mysql-9.7-all-events", 3, "starts97");
    same_starts("mysql-5.6-all-events", 1, "starts56");
    same_starts("mariadb-10.11-all-events", 1, "starts1011");
    same_starts("mariadb-11.8-all-events", 1, "starts118");
}

static void flip(const char *path, uint64_t at, int with)
{
    FILE *file = fopen(path, "r+b");
    UNIT_REQUIRE(file != NULL);
    fseek(file, (long)at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, (long)at, SEEK_SET);
    fputc(c ^ with, file);
    fclose(file);
}

/* What is passed over is not even looked at: neither by GTIDs nor by position. */
static void what_is_passed_over_is_not_read(void)
{
    static const char *const dirs[] = {"mysql-9.7-all-events", "mariadb-10.11-all-events"};
    for (unsigned i = 0; i < 2; i++) {
        struct fix f;
        struct reader *r = NULL;
        struct reader_event ev;
        open_fix(&f, i ? "unread-mariadb" : "unread-mysql", &fine, dirs[i], 1);
        const struct binlog *b = f.b[0];
        char *path = mem_printf("%s/binlog/1/%s", f.dir, b->name);
        size_t n = b->n_txns - 3;
        flip(path, b->txns[4].end + 9, 0x40); /* the length of the event after the fifth */
        UNIT_INT(reader_open_position(&f.sub, 1, b->name, 4, &r, NULL), 0);
        int rv = 1;
        while (rv == 1) {
            rv = reader_next(r, &ev, NULL);
        }
        UNIT_INT(rv, READER_CORRUPT);
        reader_close(r);
        UNIT_INT(reader_open_position(&f.sub, 1, b->name, b->txns[n].end, &r, NULL), 0);
        UNIT_INT(reader_next(r, &ev, NULL), 1);
        UNIT_UINT(ev.start, b->txns[n].end);
        reader_close(r);
        struct gtid_set *have = having(b, n);
        UNIT_INT(reader_open_gtid(&f.sub, have, &r, NULL), 0);
        bool skipped = false;
        while ((rv = reader_next(r, &ev, NULL)) == 1 && !event_is_gtid(ev.type)) {
            skipped = skipped || ev.skipped;
        }
        UNIT_INT(rv, 1);
        UNIT_UINT(ev.start, b->txns[n - 1].end);
        UNIT_TRUE(skipped || ev.skipped);
        reader_close(r);
        gtid_set_free(have);
        mem_free(path);
        close_fix(&f);
    }
}

/* ---- damage -------------------------------------------------------------------------------------------- */

/* A start by GTIDs and one by position both come out right now or after the index was made again. */
static bool starts_right(struct fix *f, size_t n, uint32_t want, unsigned *waits)
{
    const struct binlog *b = f->b[0];
    struct gtid_set *have = having(b, n);
    struct reader *r = NULL;
    uint32_t crc = 0;
    unsigned events;
    int rv = reader_open_gtid(&f->sub, have, &r, NULL);
    if (rv == READER_INDEXING) {
        unsigned before = f->changes;
        ++*waits;
        test_env_run(f->loop);
        rv = f->changes > before ? reader_open_gtid(&f->sub, have, &r, NULL) : rv;
    }
    gtid_set_free(have);
    bool right = rv == 0 && sum_of(r, &crc, &events) == 0 && crc == want;
    reader_close(rv == 0 ? r : NULL);
    uint64_t at = b->txns[n - 1].end;
    rv = right ? reader_open_position(&f->sub, 1, b->name, at, &r, NULL) : rv;
    if (rv == READER_INDEXING) {
        test_env_run(f->loop);
        rv = reader_open_position(&f->sub, 1, b->name, at, &r, NULL);
    }
    right = right && rv == 0 && sum_of(r, &crc, &events) == 0 && crc == want;
    reader_close(rv == 0 ? r : NULL);
    return right;
}

static uint32_t sum_behind(const struct fix *f, size_t n)
{
    uint32_t crc = 0;
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < f->b[k]->n_events; i++) {
            const struct binlog_event *e = &f->b[k]->events[i];
            if (e->in_txn && (k > 0 || e->start >= f->b[0]->txns[n - 1].end)) {
                crc = crc32c_of(crc, f->b[k]->bytes + e->start, e->end - e->start);
            }
        }
    }
    return crc;
}

static void no_flipped_bit_makes_a_start_wrong(void)
{
    static const struct {
        const char *dir;
        unsigned first;
    } logs[] = {{"mysql-9.7-all-events", 3}, {"mariadb-10.11-all-events", 1}};
    for (unsigned i = 0; i < 2; i++) {
        struct fix f;
        struct buf index;
        struct store_options o = fine;
        bool right = true, mended = true;
        unsigned waits = 0;
        o.index_step = 600;
        open_fix(&f, i ? "flip-mariadb" : "flip-mysql", &o, logs[i].dir, logs[i].first);
        UNIT_TRUE(binlog_read(f.loop, &index, "%s", f.path));
        size_t n = f.b[0]->n_txns - 2;
        uint32_t want = sum_behind(&f, n);
        UNIT_TRUE(starts_right(&f, n, want, &waits) && waits == 0);
        for (uint64_t at = 0; at < index.len && right && mended; at++) {
            flip(f.path, at, 1 << at % 8);
            right = starts_right(&f, n, want, &waits);
            test_env_run(f.loop);
            mended = binlog_index_same(f.loop, f.dir, 1, f.b[0], &o, true);
            if (!right || !mended) {
                fprintf(stderr, "bit flipped at %llu of %s\n", (unsigned long long)at, f.path);
            }
        }
        for (size_t len = 0; len < index.len && right && mended; len += 13) {
            UNIT_REQUIRE(truncate(f.path, (off_t)len) == 0);
            right = starts_right(&f, n, want, &waits);
            mended = binlog_index_same(f.loop, f.dir, 1, f.b[0], &o, true);
        }
        UNIT_TRUE(right);
        UNIT_TRUE(mended);
        UNIT_TRUE(waits >= index.len);
        UNIT_REQUIRE(unlink(f.path) == 0);
        UNIT_TRUE(starts_right(&f, n, want, &waits));
        UNIT_TRUE(binlog_index_same(f.loop, f.dir, 1, f.b[0], &o, true));
        buf_free(&index);
        close_fix(&f);
    }
}

/* Sums that are right do not help an index that is of another history under the same name. */
static void an_index_of_other_bytes_is_not_used(void)
{
    struct fix f;
    struct env *env = test_env_new(1);
    struct store_options o = fine;
    unsigned waits = 0;
    struct buf index;
    open_fix(&f, "other", &o, "mysql-9.7-all-events", 3);
    struct index_builder *b = index_builder_new(1, f.b[0]->name, o.index_step, o.index_block);
    uint8_t *bytes = mem_dup(f.b[0]->bytes, f.b[0]->n);
    size_t n = f.b[0]->n_txns - 2;
    memset(bytes + f.b[0]->txns[n - 1].end - 10, 7, 5);
    index_builder_bytes(b, bytes, f.b[0]->n);
    for (size_t i = 0; i < f.b[0]->n_txns; i++) {
        index_builder_txn(b, &f.b[0]->txns[i]);
    }
    index_builder_settle(b);
    index_builder_seal(b);
    buf_init(&index, INDEX_MAX);
    buf_move(&index, index_builder_out(b));
    FILE *file = fopen(f.path, "wb");
    UNIT_REQUIRE(file != NULL);
    UNIT_TRUE(fwrite(index.data, 1, index.len, file) == index.len);
    fclose(file);
    UNIT_INT(index_check_sealed(index.data, index.len, 1, f.b[0]->name, f.b[0]->n, NULL), 0);
    UNIT_INT(index_check_sealed(index.data, index.len, 2, f.b[0]->name, f.b[0]->n, NULL), E_CORRUPT);
    UNIT_INT(index_check_sealed(index.data, index.len, 1, "mysql-bin.000007", f.b[0]->n, NULL), E_CORRUPT);
    UNIT_INT(index_check_sealed(index.data, index.len, 1, f.b[0]->name, f.b[0]->n + 1, NULL), E_CORRUPT);
    UNIT_TRUE(starts_right(&f, n, sum_behind(&f, n), &waits));
    UNIT_UINT(waits, 1);
    UNIT_TRUE(binlog_index_same(f.loop, f.dir, 1, f.b[0], &o, true));
    buf_free(&index);
    index_builder_free(b);
    mem_free(bytes);
    close_fix(&f);
    test_env_free(env);
}

/* A file that is damaged itself has no index: its readers walk to the damage and tell it. */
static void a_damaged_file_gets_no_index(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct reader_event ev;
    open_fix(&f, "damaged", &fine, "mysql-9.7-all-events", 3);
    char *path = mem_printf("%s/binlog/1/%s", f.dir, f.b[0]->name);
    struct gtid_set *have = having(f.b[0], 1);
    flip(path, f.b[0]->txns[6].end + 30, 1);
    UNIT_REQUIRE(unlink(f.path) == 0);
    UNIT_INT(reader_open_gtid(&f.sub, have, &r, NULL), READER_INDEXING);
    test_env_run(f.loop);
    UNIT_INT(access(f.path, F_OK), -1);
    UNIT_INT(reader_open_gtid(&f.sub, have, &r, NULL), 0);
    int rv = 1;
    uint64_t end = 0;
    while (rv == 1) {
        rv = reader_next(r, &ev, NULL);
        end = rv == 1 ? ev.end : end;
    }
    UNIT_INT(rv, READER_CORRUPT);
    UNIT_UINT(end, f.b[0]->txns[6].end);
    reader_close(r);
    gtid_set_free(have);
    mem_free(path);
    close_fix(&f);
}

/* ---- at the start -------------------------------------------------------------------------------------- */

/* The newest file's index is brought to its file at each start, however it was left. */
static void the_newest_index_is_mended_at_the_start(void)
{
    struct fix f;
    struct buf index;
    open_fix(&f, "restart", &fine, "mysql-9.7-all-events", 2);
    store_checkpoint(f.store, f.index, NULL, NULL);
    test_env_run(f.loop);
    char *path = mem_printf("%s/index/1/%s.idx", f.dir, f.b[1]->name);
    UNIT_TRUE(binlog_read(f.loop, &index, "%s", path));
    UNIT_TRUE(binlog_index_same(f.loop, f.dir, 1, f.b[1], &fine, false));
    store_unsubscribe(&f.sub, gone);
    test_env_run(f.loop);
    binlog_store_close(f.loop, f.store);
    bool mended = true;
    for (size_t at = 0; at <= index.len && mended; at += 7) {
        if (at + 7 > index.len) {
            UNIT_REQUIRE(unlink(path) == 0);
        } else if (at % 2) {
            UNIT_REQUIRE(truncate(path, (off_t)at) == 0);
        } else {
            flip(path, at, 4);
        }
        f.store = binlog_store_with(f.loop, f.dir, &fine);
        mended = binlog_index_same(f.loop, f.dir, 1, f.b[1], &fine, false);
        binlog_store_close(f.loop, f.store);
        mended = mended && binlog_index_same(f.loop, f.dir, 1, f.b[1], &fine, false);
    }
    UNIT_TRUE(mended);
    buf_free(&index);
    mem_free(path);
    f.store = binlog_store_with(f.loop, f.dir, &fine);
    store_subscribe(f.store, &f.sub, f.worker, changed);
    f.left = false;
    test_env_run(f.loop);
    close_fix(&f);
}

/* ---- searches ------------------------------------------------------------------------------------------ */

enum { TXNS = 300, TXN_BYTES = 100 };

static struct index_builder *build(const struct store_txn *txns, size_t n)
{
    static uint8_t bytes[STORE_MAGIC + TXNS * TXN_BYTES];
    struct index_builder *b = index_builder_new(3, "b.000001", 1, 4096);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 >> 3);
    }
    index_builder_bytes(b, bytes, sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        index_builder_txn(b, &txns[i]);
    }
    index_builder_settle(b);
    index_builder_seal(b);
    return b;
}

static bool is_subset(void *have, const struct gtid_set *set)
{
    return gtid_set_subset(set, have);
}

/* With the first n transactions the place is their end, whatever their numbers, and a later limit or less
 * than all of a place's transactions changes nothing. */
static void each_place_is_found(enum flavour flavour)
{
    struct store_txn txns[TXNS];
    random_state = unit_seed() + 5;
    uint64_t gno[4] = {0, 0, 0, 0};
    for (size_t i = 0; i < TXNS; i++) {
        unsigned who = (unsigned)below(4);
        gno[who] += 1 + (below(5) == 0);
        txns[i] = (struct store_txn){.end = STORE_MAGIC + (i + 1) * TXN_BYTES,
                                     .gtid = {.flavour = flavour, .gno = gno[who]}};
        txns[i].gtid.uuid[0] = flavour == FLAVOUR_MYSQL ? (uint8_t)who : 0;
        txns[i].gtid.domain = flavour == FLAVOUR_MARIADB ? who % 2 : 0;
        txns[i].gtid.server = flavour == FLAVOUR_MARIADB ? who : 0;
    }
    struct index_builder *b = build(txns, TXNS);
    const struct buf *index = index_builder_out(b);
    struct gtid_set *have = gtid_set_new(flavour), *state;
    bool right = true;
    struct index_place place;
    for (size_t n = 0; n < TXNS; n++) {
        uint64_t want = n ? txns[n - 1].end : 0;
        index_find_gtid(index->data, index->len, 3, "b.000001", UINT64_MAX, flavour, is_subset, have, &place,
                        &state);
        right = right && place.offset == want;
        right = right && (flavour == FLAVOUR_MYSQL ? !state : gtid_set_equal(state, have));
        gtid_set_free(state);
        index_find_gtid(index->data, index->len, 3, "b.000001", want ? want - 1 : 0, flavour, is_subset, have,
                        &place, &state);
        right = right && place.offset == (n > 1 ? txns[n - 2].end : 0);
        gtid_set_free(state);
        index_find_position(index->data, index->len, 3, "b.000001", want + 50, &place);
        right = right && place.offset == want;
        UNIT_INT(gtid_set_add(have, &txns[n].gtid), 0);
    }
    UNIT_TRUE(right);
    gtid_set_free(have);
    index_builder_free(b);
}

static void each_place_of_mysql_is_found(void)
{
    each_place_is_found(FLAVOUR_MYSQL);
}

static void each_place_of_mariadb_is_found(void)
{
    each_place_is_found(FLAVOUR_MARIADB);
}

/* Behind a transaction without GTID, or numbers that go back, no start by GTIDs is offered. */
static void what_gtids_cannot_tell_is_not_guessed(void)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        enum flavour flavour = kind == 2 ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
        struct store_txn txns[TXNS];
        struct gtid_set *have = gtid_set_new(flavour), *state;
        struct index_place place;
        for (size_t i = 0; i < TXNS; i++) {
            txns[i] = (struct store_txn){.end = STORE_MAGIC + (i + 1) * TXN_BYTES,
                                         .gtid = {.flavour = flavour, .gno = i + 1}};
            UNIT_INT(gtid_set_add(have, &txns[i].gtid), 0);
        }
        switch (kind) {
        case 0: txns[100].gtid = (struct gtid){.flavour = FLAVOUR_NONE}; break;
        case 1: txns[100].gtid.flavour = FLAVOUR_MARIADB; break;
        default: txns[100].gtid.gno = 50;
        }
        struct index_builder *b = build(txns, TXNS);
        const struct buf *index = index_builder_out(b);
        index_find_gtid(index->data, index->len, 3, "b.000001", UINT64_MAX, flavour, is_subset, have, &place,
                        &state);
        UNIT_UINT(place.offset, txns[99].end);
        gtid_set_free(state);
        index_find_position(index->data, index->len, 3, "b.000001", UINT64_MAX, &place);
        UNIT_UINT(place.offset, txns[TXNS - 1].end);
        UNIT_INT(
            index_check_sealed(index->data, index->len, 3, "b.000001", STORE_MAGIC + TXNS * TXN_BYTES, NULL),
            0);
        index_builder_free(b);
        gtid_set_free(have);
    }
}

/* ---- verify -------------------------------------------------------------------------------------------- */

static struct verify_file whole(const struct binlog *b, bool sealed)
{
    return (struct verify_file){.era = 1, .name = b->name, .size = b->n, .sealed = sealed};
}

static enum verify_verdict verdict_on(struct fix *f, size_t file, struct errmsg *em)
{
    uint64_t events;
    struct verify_file v = whole(f->b[file], file == 0);
    enum verify_verdict verdict = verify_file_now(f->worker, f->store, &v, false, &events, em);
    UNIT_TRUE(verdict != VERIFY_SOUND || events == f->b[file]->n_events);
    return verdict;
}

static void verify_finds_every_flipped_bit(void)
{
    struct fix f;
    struct errmsg em;
    open_fix(&f, "verify", &fine, "mysql-9.7-all-events", 3);
    char *path = mem_printf("%s/binlog/1/%s", f.dir, f.b[0]->name);
    UNIT_INT(verdict_on(&f, 0, &em), VERIFY_SOUND);
    UNIT_INT(verdict_on(&f, 1, &em), VERIFY_SOUND);
    bool found = true;
    for (uint64_t at = 0; at < f.b[0]->n && found; at += 5) {
        flip(path, at, 1 << at % 8);
        found = verdict_on(&f, 0, &em) == VERIFY_DAMAGED && strstr(em.text, path);
        flip(path, at, 1 << at % 8);
    }
    UNIT_TRUE(found);
    struct buf index;
    UNIT_TRUE(binlog_read(f.loop, &index, "%s", f.path));
    for (uint64_t at = 0; at < index.len && found; at++) {
        flip(f.path, at, 1 << at % 8);
        found = verdict_on(&f, 0, &em) == VERIFY_INDEX_DAMAGED;
        flip(f.path, at, 1 << at % 8);
    }
    UNIT_TRUE(found);
    buf_free(&index);
    /* a change that a right checksum covers up */
    const struct binlog_event *e = &f.b[0]->events[f.b[0]->n_events / 2];
    uint8_t *event = mem_dup(f.b[0]->bytes + e->start, e->end - e->start);
    event[0] ^= 1; /* the time */
    event_crc_set(event, e->end - e->start);
    FILE *file = fopen(path, "r+b");
    UNIT_REQUIRE(file != NULL);
    fseek(file, (long)e->start, SEEK_SET);
    UNIT_TRUE(fwrite(event, 1, e->end - e->start, file) == e->end - e->start);
    fclose(file);
    UNIT_INT(verdict_on(&f, 0, &em), VERIFY_DAMAGED);
    UNIT_TRUE(strstr(em.text, "are not those that were written") != NULL);
    UNIT_REQUIRE(truncate(path, (off_t)f.b[0]->n - 1) == 0);
    UNIT_INT(verdict_on(&f, 0, &em), VERIFY_DAMAGED);
    UNIT_REQUIRE(unlink(path) == 0);
    UNIT_INT(verdict_on(&f, 0, &em), VERIFY_DAMAGED);
    mem_free(event);
    mem_free(path);
    close_fix(&f);
}

/* By command: the index of a sealed file is as it was; that of the newest stays for the next start, and a damaged
 * file's is left alone. */
static void verify_makes_indexes_again(void)
{
    struct fix f;
    struct errmsg em;
    uint64_t events;
    open_fix(&f, "mend", &fine, "mysql-9.7-all-events", 3);
    struct verify_file sealed = whole(f.b[0], true), newest = whole(f.b[1], false);
    struct buf before, after;
    UNIT_TRUE(binlog_read(f.loop, &before, "%s", f.path));
    for (unsigned how = 0; how < 3; how++) {
        switch (how) {
        case 0: UNIT_REQUIRE(unlink(f.path) == 0); break;
        case 1: UNIT_REQUIRE(truncate(f.path, (off_t)before.len / 2) == 0); break;
        default: flip(f.path, before.len / 3, 4);
        }
        UNIT_INT(verify_file_now(f.worker, f.store, &sealed, false, &events, &em), VERIFY_INDEX_DAMAGED);
        UNIT_TRUE(strstr(em.text, f.path) && strstr(em.text, "REBUILD"));
        UNIT_INT(verify_file_now(f.worker, f.store, &sealed, true, &events, &em), VERIFY_INDEX_MADE);
        UNIT_TRUE(strstr(em.text, f.path) && strstr(em.text, "made again"));
        UNIT_INT(verify_file_now(f.worker, f.store, &sealed, true, &events, &em), VERIFY_SOUND);
        UNIT_TRUE(binlog_read(f.loop, &after, "%s", f.path));
        UNIT_TRUE(after.len == before.len && memcmp(after.data, before.data, after.len) == 0);
        buf_free(&after);
    }
    char *path = mem_printf("%s/index/1/%s.idx", f.dir, f.b[1]->name);
    UNIT_REQUIRE(unlink(path) == 0);
    UNIT_INT(verify_file_now(f.worker, f.store, &newest, true, &events, &em), VERIFY_INDEX_DAMAGED);
    UNIT_TRUE(strstr(em.text, path) && strstr(em.text, "next start"));
    UNIT_INT(access(path, F_OK), -1);
    mem_free(path);
    path = mem_printf("%s/binlog/1/%s", f.dir, f.b[0]->name);
    flip(path, 300, 1);
    flip(f.path, 100, 1);
    UNIT_INT(verify_file_now(f.worker, f.store, &sealed, true, &events, &em), VERIFY_DAMAGED);
    UNIT_TRUE(strstr(em.text, path) && strstr(em.text, "replace the member"));
    UNIT_TRUE(binlog_read(f.loop, &after, "%s", f.path));
    UNIT_TRUE(after.len == before.len && memcmp(after.data, before.data, after.len) != 0);
    buf_free(&after);
    buf_free(&before);
    mem_free(path);
    close_fix(&f);
}

struct verifying {
    struct verify *verify;
    unsigned results, sound, progresses;
    uint64_t last;
    bool done, stop;
};

static void verify_progress(void *owner, uint64_t bytes, uint64_t of)
{
    struct verifying *v = owner;
    UNIT_TRUE(bytes >= v->last && bytes <= of);
    v->last = bytes;
    v->progresses++;
}

static void verify_result(void *owner, const struct verify_result *result)
{
    struct verifying *v = owner;
    v->results++;
    v->sound += result->verdict == VERIFY_SOUND && result->events > 0;
    if (v->stop) {
        verify_stop(v->verify);
    }
}

static void verify_done(void *owner)
{
    ((struct verifying *)owner)->done = true;
}

static const struct verify_handler verify_handler = {
    .progress = verify_progress, .result = verify_result, .done = verify_done};

static void verify_runs_beside_the_rest(void)
{
    struct fix f;
    struct errmsg em;
    open_fix(&f, "verifying", &fine, "mariadb-10.11-all-events", 1);
    struct verify_file files[] = {whole(f.b[0], true), whole(f.b[1], false)};
    for (unsigned round = 0; round < 20; round++) {
        struct verifying v = {.stop = round % 2};
        UNIT_INT(verify_begin(f.loop, f.store, files, 2, 0, false, &verify_handler, &v, &v.verify, &em), 0);
        UNIT_UINT(v.results, 0);
        if (round == 10) {
            verify_stop(v.verify);
        }
        test_env_run(f.loop);
        UNIT_UINT(v.results, round == 10 ? 0 : v.stop ? 1 : 2);
        UNIT_UINT(v.sound, v.results);
        UNIT_TRUE(v.done == (!v.stop && round != 10));
    }
    close_fix(&f);
}

/* ---- the state at a place ------------------------------------------------------------------------------ */

static bool state_is(struct fix *f, const struct binlog *b, uint64_t at, const struct gtid_set *want)
{
    struct gtid_set *got;
    struct errmsg em = {""};
    if (reader_gtids_at(&f->sub, b->name, at, &got, &em)) {
        fprintf(stderr, "%s %llu: %s\n", b->name, (unsigned long long)at, em.text);
        return false;
    }
    bool same = gtid_set_equal(got, want);
    gtid_set_free(got);
    return same;
}

/* At each event of a MariaDB's file, with a fine index and with none: what stands before it, and nothing else. */
static void the_state_at_each_place_is_known(void)
{
    static const char *const dirs[] = {"mariadb-10.11-all-events", "mariadb-11.8-all-events"};
    for (size_t i = 0; i < 4; i++) {
        struct fix f;
        char name[32];
        struct gtid_set *none = NULL;
        bool right = true;
        snprintf(name, sizeof name, "state%zu", i);
        open_fix(&f, name, i % 2 ? &fine : &coarse, dirs[i / 2], 1);
        const struct binlog *b = f.b[0];
        struct gtid_set *want = b->state_before ? gtid_set_copy(b->state_before) : gtid_set_new(FLAVOUR_MARIADB);
        for (size_t j = 0; j < b->n_events; j++) {
            right = right && state_is(&f, b, b->events[j].start, want);
            if (b->events[j].type == EVENT_MARIADB_GTID) {
                UNIT_INT(gtid_set_add(want, &b->events[j].gtid), 0);
            }
        }
        UNIT_TRUE(right && state_is(&f, b, b->n, want));
        UNIT_INT(reader_gtids_at(&f.sub, b->name, b->events[3].start + 1, &none, NULL), READER_BAD_POSITION);
        UNIT_INT(reader_gtids_at(&f.sub, b->name, b->n + 1, &none, NULL), READER_BEYOND);
        UNIT_INT(reader_gtids_at(&f.sub, "mysql-bin.000099", 4, &none, NULL), READER_UNKNOWN_FILE);
        UNIT_TRUE(none == NULL);
        gtid_set_free(want);
        close_fix(&f);
    }
}

UNIT_MAIN("index", UNIT_TEST(whatever_pieces_come_the_index_is_the_same),
          UNIT_TEST(starts_with_an_index_are_those_without), UNIT_TEST(what_is_passed_over_is_not_read),
          UNIT_TEST(no_flipped_bit_makes_a_start_wrong), UNIT_TEST(an_index_of_other_bytes_is_not_used),
          UNIT_TEST(a_damaged_file_gets_no_index), UNIT_TEST(the_newest_index_is_mended_at_the_start),
          UNIT_TEST(each_place_of_mysql_is_found), UNIT_TEST(each_place_of_mariadb_is_found),
          UNIT_TEST(what_gtids_cannot_tell_is_not_guessed), UNIT_TEST(verify_finds_every_flipped_bit), UNIT_TEST(verify_makes_indexes_again),
          UNIT_TEST(verify_runs_beside_the_rest), UNIT_TEST(the_state_at_each_place_is_known))
