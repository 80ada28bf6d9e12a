/* test_store_flips: a flipped bit in any file of storage: the start refuses it, or a reader does, by the file's name and
 * with what to do; or it is harmless (what can be made again is). Other bytes than those that were written are never
 * shown. */
#include "storage/reader.h"
#include "storage/store.h"

#include "protocol/base/mem.h"
#include "raft/snapshot.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FLIPS = 150, FDE_FLAGS = 4 + 17 };

static const struct store_options fine = {.index_step = 150, .index_block = 512};

/* What a flip in it may do. */
enum fate {
    REFUSED,  /* the store does not open */
    UNREAD,   /* a reader refuses it, at the latest; verify finds it */
    HARMLESS, /* all is read as it was */
};

static const struct {
    const char *path;
    enum fate fate;
} kinds[] = {{"binlog/1/mysql-bin.000001", UNREAD},       {"binlog/2/mysql-bin.000003", UNREAD},
             {"index/1/mysql-bin.000001.idx", HARMLESS},  {"index/2/mysql-bin.000003.idx", HARMLESS},
             {"binlog/checkpoint", REFUSED},              {"binlog/files.1", REFUSED},
             {"binlog/2/mysql-bin.index", HARMLESS},      {"binlog/1/mysql-bin.index", HARMLESS},
             {"binlog/1/mysql-bin.000002", UNREAD},       {"index/1/mysql-bin.000002.idx", HARMLESS}};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const char newest[] = "binlog/2/mysql-bin.000003";

struct rig {
    struct env *loop, *worker;
    char *dir;
    struct binlog *b[3];
    struct buf was[KINDS];
    uint64_t random;
};

static uint64_t below(struct rig *rig, uint64_t n)
{
    rig->random ^= rig->random << 13;
    rig->random ^= rig->random >> 7;
    rig->random ^= rig->random << 17;
    return rig->random % n;
}

static void begin(struct rig *rig, const char *name, bool bare)
{
    uint64_t index = 0;
    *rig = (struct rig){.loop = test_env_new(unit_seed()), .dir = binlog_dir(name), .random = unit_seed() * 977 + 5};
    rig->worker = test_env_worker(rig->loop, "serve0");
    struct store *store = binlog_store_with(rig->loop, rig->dir, &fine);
    for (unsigned i = 0; i < 3; i++) {
        static const unsigned numbers[2][3] = {{1, 2, 3}, {1, 2, 4}};
        char file[32];
        snprintf(file, sizeof file, "mysql-bin.%06u", numbers[bare][i]);
        rig->b[i] = bare ? binlog_load_bare("mysql-5.6-all-events", file) : binlog_load("mysql-9.7-all-events", file);
        snprintf(rig->b[i]->name, sizeof rig->b[i]->name, "mysql-bin.%06u", i + 1);
        binlog_put(store, rig->b[i], 1 + i / 2, 1000, &index);
    }
    store_checkpoint(store, index, NULL, NULL);
    binlog_store_close(rig->loop, store);
    for (size_t i = 0; i < KINDS; i++) {
        UNIT_TRUE(binlog_read(rig->loop, &rig->was[i], "%s/%s", rig->dir, kinds[i].path));
    }
}

static void put_back(struct rig *rig)
{
    for (size_t i = 0; i < KINDS; i++) {
        char *path = mem_printf("%s/%s", rig->dir, kinds[i].path);
        FILE *f = fopen(path, "wb");
        UNIT_REQUIRE(f && fwrite(rig->was[i].data, 1, rig->was[i].len, f) == rig->was[i].len && fclose(f) == 0);
        mem_free(path);
    }
}

static void end(struct rig *rig)
{
    for (size_t i = 0; i < KINDS; i++) {
        buf_free(&rig->was[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        binlog_free(rig->b[i]);
    }
    mem_free(rig->dir);
    test_env_free(rig->loop);
}

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void left(struct store_sub *sub)
{
    *(bool *)sub->owner = true;
}

/* Is it what was written there? The in-use bit of a format description is not counted (and never sent). */
static bool as_written(const struct rig *rig, const struct reader_event *ev)
{
    for (unsigned i = 0; i < 3; i++) {
        const struct binlog *b = rig->b[i];
        if (ev->era != 1 + i / 2 || strcmp(ev->file, b->name) != 0) {
            continue;
        }
        for (uint64_t at = ev->start; at < ev->end && ev->end <= b->n; at++) {
            uint8_t mask = at == FDE_FLAGS ? 0xfe : 0xff;
            if ((ev->bytes[at - ev->start] & mask) != (b->bytes[at] & mask)) {
                return false;
            }
        }
        return ev->end <= b->n;
    }
    return false;
}

/* Reads to the end: how much, and the reader's last word. Era ends are passed. */
static int read_on(struct rig *rig, struct reader *r, uint64_t *bytes, bool *same, struct errmsg *em)
{
    struct reader_event ev;
    int rv;
    for (;;) {
        rv = reader_next(r, &ev, em);
        for (unsigned i = 0; i < 3 && rv == READER_INDEXING; i++) { /* it waits for an index, and goes on */
            test_env_run(rig->loop);
            rv = reader_next(r, &ev, em);
        }
        if (rv != 1) {
            return rv;
        }
        *same = *same && as_written(rig, &ev);
        *bytes += ev.n;
    }
}

static int read_by_position(struct rig *rig, struct store_sub *sub, uint64_t *bytes, bool *same, struct errmsg *em)
{
    int rv = 0;
    for (uint64_t era = 1; era <= 2 && !rv; era++) {
        struct reader *r;
        rv = reader_open_position(sub, era, rig->b[era == 1 ? 0 : 2]->name, 4, &r, em);
        if (!rv) {
            rv = read_on(rig, r, bytes, same, em);
            rv = rv == READER_ERA_END ? 0 : rv;
            reader_close(r);
        }
    }
    return rv;
}

/* Events in pieces, of a sealed file: not even a piece is other than what was written. */
static bool pieces_are_as_written(const struct rig *rig, struct store_sub *sub, size_t file)
{
    struct reader *r;
    struct reader_event ev;
    const struct binlog *b = rig->b[file];
    const uint8_t *bytes;
    size_t n;
    bool same = true;
    if (reader_open_position(sub, 1, b->name, 4, &r, NULL)) {
        return true;
    }
    reader_cut_large(r, 40);
    for (int rv = reader_next(r, &ev, NULL); rv == 1; rv = rv ? rv : reader_next(r, &ev, NULL)) {
        rv = strcmp(ev.file, b->name) ? -1 : 0;
        for (uint64_t at = ev.start; ev.in_pieces && at < ev.end && !rv; at += n) {
            rv = reader_more(r, 16, &bytes, &n, NULL);
            same = same && (rv || memcmp(bytes, b->bytes + at, n) == 0);
        }
    }
    reader_close(r);
    return same;
}

/* From the middle of the log by GTIDs and by position: jumps by indexes. */
static int read_from_middle(struct rig *rig, struct store_sub *sub, size_t file, bool *same, struct errmsg *em)
{
    struct reader *r;
    const struct binlog *b = rig->b[file];
    uint64_t bytes = 0, place = binlog_boundary(b, b->n / 2);
    struct gtid_set *have = gtid_set_copy(b->state_before);
    for (size_t i = 0; i < b->n_txns && b->txns[i].end <= place; i++) {
        if (b->txns[i].gtid.flavour) {
            (void)gtid_set_add(have, &b->txns[i].gtid);
        }
    }
    int rv = READER_INDEXING;
    for (unsigned i = 0; i < 3 && rv == READER_INDEXING; i++) {
        rv = reader_open_gtid(sub, have, &r, em);
        test_env_run(rig->loop);
    }
    gtid_set_free(have);
    if (!rv) {
        rv = read_on(rig, r, &bytes, same, em);
        reader_close(r);
    }
    if (!rv && !(rv = reader_open_position(sub, 1 + file / 2, b->name, place, &r, em))) {
        rv = read_on(rig, r, &bytes, same, em);
        reader_close(r);
    }
    return rv == READER_ERA_END ? 0 : rv;
}

/* What was found is shown, with the file. */
static bool is_known(struct rig *rig, size_t kind, struct store *store)
{
    const struct store_damage *damages;
    test_env_run(rig->loop);
    size_t n = store_damages(store, &damages);
    if (kinds[kind].fate == HARMLESS) {
        return n == 0;
    }
    return n == 1 && strstr(kinds[kind].path, damages[0].name) && strstr(damages[0].text, kinds[kind].path);
}

static bool judge(struct rig *rig, size_t kind, struct store *store)
{
    struct errmsg em = {""}, middle = {""};
    bool same = true, gone = false, ok;
    uint64_t bytes = 0, all = rig->b[0]->n + rig->b[1]->n + rig->b[2]->n - 12;
    struct store_sub sub = {.owner = &gone};
    store_subscribe(store, &sub, rig->worker, changed);
    test_env_run(rig->loop);
    int rv = read_by_position(rig, &sub, &bytes, &same, &em), from_middle = 0;
    for (size_t i = 0; i < 3 && !from_middle; i++) {
        from_middle = read_from_middle(rig, &sub, i, &same, &middle);
    }
    if (kinds[kind].fate == HARMLESS) {
        ok = rv == 0 && from_middle == 0 && bytes == all;
    } else {
        ok = rv == READER_CORRUPT && strstr(em.text, kinds[kind].path);
        ok = ok && (from_middle == 0 || strstr(middle.text, kinds[kind].path));
    }
    same = same && pieces_are_as_written(rig, &sub, 0) && pieces_are_as_written(rig, &sub, 1);
    ok = ok && is_known(rig, kind, store);
    store_unsubscribe(&sub, left);
    test_env_run(rig->loop);
    if (!same || !ok) {
        fprintf(stderr, "same=%d read %d '%s', from the middle %d '%s', bytes %llu\n", same, rv, em.text, from_middle,
                middle.text, (unsigned long long)bytes);
    }
    return same && ok && gone;
}

static bool flip_once(struct rig *rig, size_t kind, uint64_t at, unsigned bit)
{
    struct errmsg em = {""};
    struct store *store;
    char *path = mem_printf("%s/%s", rig->dir, kinds[kind].path);
    uint8_t byte = rig->was[kind].data[at] ^ (uint8_t)(1 << bit);
    bool ok;
    put_back(rig);
    FILE *f = fopen(path, "r+b");
    CU_ASSERT_TRUE_FATAL(f && fseek(f, (long)at, SEEK_SET) == 0 && fwrite(&byte, 1, 1, f) == 1 && fclose(f) == 0);
    int rv = store_open_with(rig->loop, rig->dir, &fine, &store, &em);
    if (rv) {
        ok = kinds[kind].fate == REFUSED && strstr(em.text, kinds[kind].path);
        ok = ok && (rv == E_CORRUPT ? strstr(em.text, "replace the member") != NULL : rv == E_VERSION);
    } else {
        ok = kinds[kind].fate != REFUSED && judge(rig, kind, store);
        binlog_store_close(rig->loop, store);
    }
    if (!ok) {
        fprintf(stderr, "bit %u at %llu of %s: open %d '%s'\n", bit, (unsigned long long)at, kinds[kind].path, rv, em.text);
    }
    mem_free(path);
    return ok;
}

static void flip_all(bool bare)
{
    struct rig rig;
    begin(&rig, bare ? "bare" : "flips", bare);
    for (size_t kind = 0; kind < KINDS; kind++) {
        if (bare && strcmp(kinds[kind].path, newest) == 0) {
            continue; /* nothing vouches for its last block */
        }
        unsigned wrong = 0;
        uint64_t n = rig.was[kind].len;
        for (unsigned i = 0; i < FLIPS && wrong < 5; i++) {
            uint64_t at = i < 40 && i < n ? i : below(&rig, n); /* the head, then anywhere */
            unsigned bit = (unsigned)below(&rig, 8);
            bool counts = !(kinds[kind].fate == UNREAD && at == FDE_FLAGS && bit == 0);
            wrong += counts && !flip_once(&rig, kind, at, bit);
        }
        UNIT_UINT(wrong, 0);
    }
    UNIT_UINT(test_env_open_files(rig.loop), 0);
    end(&rig);
}

static void no_flipped_bit_is_served(void)
{
    flip_all(false);
}

/* Events without checksums: the hashes tell. */
static void no_flipped_bit_is_served_where_events_have_no_checksum(void)
{
    flip_all(true);
}

/* The snapshot with the manifest: every bit, every end. */
static void no_flipped_bit_of_a_snapshot_is_taken(void)
{
    struct env *env = test_env_new(1);
    struct errmsg em;
    struct buf file;
    char *dir = binlog_dir("snapshot"), *path = mem_printf("%s/snapshot", dir);
    struct snapshot s = {.index = 7, .term = 2, .configuration_index = 1, .n_servers = 1}, back;
    s.servers = mem_array(1, sizeof *s.servers);
    s.servers[0] = (struct snapshot_server){.id = 1, .role = 1, .address = "10.0.0.1:4307/1"};
    buf_init(&s.data, 1000);
    buf_str(&s.data, "the manifest");
    UNIT_REQUIRE(snapshot_write(env, dir, &s, &em) == 0);
    UNIT_TRUE(binlog_read(env, &file, "%s", path));
    unsigned taken = 0, untold = 0;
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        UNIT_REQUIRE(env_replace_file(env, dir, "snapshot", file.data, file.len, &em) == 0);
        file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rv = snapshot_read(env, dir, &back, &em);
        taken += rv != E_CORRUPT && rv != E_VERSION;
        untold += strstr(em.text, path) == NULL || (rv == E_CORRUPT && !strstr(em.text, "replace the member"));
    }
    for (size_t n = 0; n < file.len; n += 3) {
        UNIT_REQUIRE(env_replace_file(env, dir, "snapshot", file.data, n, &em) == 0);
        taken += snapshot_read(env, dir, &back, &em) != E_CORRUPT;
    }
    UNIT_UINT(taken, 0);
    UNIT_UINT(untold, 0);
    snapshot_free(&s);
    buf_free(&file);
    mem_free(path);
    mem_free(dir);
    test_env_free(env);
}

UNIT_MAIN("store_flips", UNIT_TEST(no_flipped_bit_is_served), UNIT_TEST(no_flipped_bit_is_served_where_events_have_no_checksum),
          UNIT_TEST(no_flipped_bit_of_a_snapshot_is_taken))
