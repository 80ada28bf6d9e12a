/* test_reset: the history is put away: the files are moved, whole, whatever call fails and wherever the process ends; what comes next
 * begins with nothing; and who reads the old files is told. */
#include "storage/reader.h"
#include "storage/store.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/lives.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct binlog *files[3];

static void load_files(void)
{
    for (unsigned i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i + 1);
        files[i] = binlog_load("mysql-9.7-all-events", name);
    }
}

static void free_files(void)
{
    for (unsigned i = 0; i < 3; i++) {
        binlog_free(files[i]);
    }
}

static void put(struct env *loop, struct store *store, unsigned i, uint64_t era, uint64_t *index)
{
    binlog_put(store, files[i], era, 3000, index);
    test_env_run(loop);
}

/* What raft applies: two eras, the end of them, a third one. */
static int step(struct telling *t, struct errmsg *em)
{
    (void)em;
    switch (t->part++) {
    case 0: binlog_put(t->store, files[0], 1, 3000, &t->index); break;
    case 1: store_checkpoint(t->store, t->index, NULL, NULL); break;
    case 2: binlog_put(t->store, files[1], 1, 3000, &t->index); break;
    case 3: binlog_put(t->store, files[2], 2, 3000, &t->index); break;
    case 4: store_reset(t->store, ++t->index, "kept"); break;
    case 5: binlog_put(t->store, files[0], 3, 3000, &t->index); break;
    default: store_checkpoint(t->store, t->index, NULL, NULL); return 0;
    }
    return 1;
}

static void replay(struct env *loop, struct store *store)
{
    struct telling t = {.loop = loop, .store = store};
    while (step(&t, NULL)) {
        test_env_run(loop);
    }
    test_env_run(loop);
}

static bool same_as(struct env *env, const char *dir, const char *name, const struct binlog *b)
{
    struct buf have;
    bool same = binlog_read(env, &have, "%s/%s", dir, name) && have.len == b->n && memcmp(have.data, b->bytes, b->n) == 0;
    if (!same) {
        fprintf(stderr, "%s/%s is not what it was\n", dir, name);
    }
    buf_free(&have);
    return same;
}

static bool is_put_away(struct env *env, const char *dir)
{
    static const char *const gone[] = {"binlog/1/mysql-bin.000001",    "binlog/1/mysql-bin.index",     "binlog/2/mysql-bin.000003", "binlog/reset", "binlog/files.1",
                                       "index/1/mysql-bin.000001.idx", "index/1/mysql-bin.000002.idx", "index/2/mysql-bin.000003.idx"};
    bool right = same_as(env, dir, "binlog/old/kept/1/mysql-bin.000001", files[0]) && same_as(env, dir, "binlog/old/kept/1/mysql-bin.000002", files[1]) &&
                 same_as(env, dir, "binlog/old/kept/2/mysql-bin.000003", files[2]) && binlog_is_there(env, dir, "binlog/old/kept/1/mysql-bin.index");
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        if (binlog_is_there(env, dir, gone[i])) {
            fprintf(stderr, "%s/%s is still there\n", dir, gone[i]);
            right = false;
        }
    }
    return right && same_as(env, dir, "binlog/3/mysql-bin.000001", files[0]);
}

static void files_are_put_away(void)
{
    load_files();
    char *dir = binlog_dir("away");
    struct env *loop = test_env_new(unit_seed());
    struct store *store = binlog_store(loop, dir);
    replay(loop, store);
    UNIT_TRUE(is_put_away(loop, dir));
    binlog_store_close(loop, store);
    store = binlog_store(loop, dir);
    replay(loop, store); /* all of it is behind the checkpoint */
    binlog_store_close(loop, store);
    UNIT_TRUE(is_put_away(loop, dir));
    UNIT_UINT(test_env_open_files(loop), 0);
    test_env_free(loop);
    mem_free(dir);
    free_files();
}

/* ---- crashes and failures ------------------------------------------------------------------------------ */

static const struct story story = {.name = "reset", .step = step, .right = is_put_away};

static void a_crash_anywhere_loses_nothing(void)
{
    struct lives_tally tally;
    load_files();
    UNIT_TRUE(lives_crash(&story, &tally));
    UNIT_TRUE(tally.crashed > 800);
    free_files();
}

static void a_failed_call_is_said_and_loses_nothing(void)
{
    struct lives_tally once, for_good;
    load_files();
    UNIT_TRUE(lives_fail(&story, EIO, false, 1, 2, &once));
    UNIT_TRUE(lives_fail(&story, ENOSPC, true, 2, 2, &for_good));
    UNIT_TRUE(once.ended > 50 && once.refused > 10 && for_good.ended > 50);
    free_files();
}

static void put_note(struct env *env, const char *dir, const struct buf *note)
{
    char *binlog = mem_printf("%s/binlog", dir);
    UNIT_INT(env_replace_file(env, binlog, "reset", note->data, note->len, NULL), 0);
    mem_free(binlog);
}

/* The note says where the files go: nothing is done by a damaged one, nor by one whose checkpoint was not written. */
static void a_damaged_note_stops_the_start(void)
{
    struct buf note;
    struct errmsg em = {""};
    struct store *store;
    char *dir = binlog_dir("note");
    struct env *loop = test_env_new(1);
    binlog_store_close(loop, binlog_store(loop, dir));
    buf_init(&note, 100);
    buf_str(&note, "HFRS");
    buf_u32(&note, 1);
    buf_u64(&note, 2);
    buf_lenenc_str(&note, "kept");
    buf_u32(&note, crc32c_of(0, note.data, note.len));
    for (size_t bit = 0; bit < note.len * 8; bit++) {
        note.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put_note(loop, dir, &note);
        note.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        UNIT_INT(store_open(loop, dir, &store, &em), E_CORRUPT);
    }
    UNIT_TRUE(strstr(em.text, "binlog/reset is damaged") && strstr(em.text, "replace the member"));
    put_note(loop, dir, &note);
    binlog_store_close(loop, binlog_store(loop, dir));
    UNIT_TRUE(!binlog_is_there(loop, dir, "binlog/reset"));
    UNIT_UINT(test_env_open_files(loop), 0);
    buf_free(&note);
    test_env_free(loop);
    mem_free(dir);
}

/* ---- readers ------------------------------------------------------------------------------------------- */

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void left(struct store_sub *sub)
{
    *(bool *)sub->owner = true;
}

static int read_all(struct reader *r, uint64_t *bytes)
{
    struct reader_event ev;
    int rv;
    while ((rv = reader_next(r, &ev, NULL)) == 1) {
        *bytes += ev.n;
    }
    return rv;
}

static void readers_are_told(void)
{
    load_files();
    char *dir = binlog_dir("readers");
    struct env *loop = test_env_new(unit_seed()), *worker = test_env_worker(loop, "serve0");
    struct store *store = binlog_store(loop, dir);
    bool gone = false;
    uint64_t index = 0, bytes = 0, era;
    const char *name;
    struct store_sub sub = {.owner = &gone};
    struct reader *by_position, *by_gtid, *none;
    store_subscribe(store, &sub, worker, changed);
    put(loop, store, 0, 1, &index);
    put(loop, store, 1, 2, &index);
    UNIT_REQUIRE(reader_open_position(&sub, 2, files[1]->name, 4, &by_position, NULL) == 0);
    UNIT_REQUIRE(reader_open_gtid(&sub, files[1]->state_before, &by_gtid, NULL) == 0);
    store_reset(store, ++index, "kept");
    test_env_run(loop);
    UNIT_INT(read_all(by_position, &bytes), 0); /* what it has open it can read */
    UNIT_UINT(bytes, 0);                        /* but nothing is visible any more */
    UNIT_INT(reader_open_position(&sub, 0, files[1]->name, 4, &none, NULL), READER_NOT_YET);
    UNIT_INT(reader_open_gtid(&sub, files[1]->state_before, &none, NULL), READER_NOT_YET);
    put(loop, store, 0, 3, &index);
    UNIT_INT(read_all(by_position, &bytes), READER_PURGED); /* the new history is not the next part of the old one */
    UNIT_INT(read_all(by_gtid, &bytes), READER_PURGED);
    reader_where(by_position, &era, &name, &bytes);
    UNIT_UINT(era, 2);
    UNIT_UINT(bytes, files[1]->n);
    UNIT_INT(reader_open_position(&sub, 0, files[1]->name, 4, &none, NULL), READER_UNKNOWN_FILE);
    UNIT_REQUIRE(reader_open_position(&sub, 0, files[0]->name, 4, &none, NULL) == 0);
    reader_where(none, &era, &name, &bytes);
    UNIT_UINT(era, 3);
    reader_close(none);
    reader_close(by_position);
    reader_close(by_gtid);
    store_unsubscribe(&sub, left);
    test_env_run(loop);
    UNIT_TRUE(gone);
    binlog_store_close(loop, store);
    UNIT_UINT(test_env_open_files(loop), 0);
    test_env_free(loop);
    mem_free(dir);
    free_files();
}

/* Where a file of the log has gone without anybody having said so, it is damage, and shown. */
static void a_file_that_is_missing_is_damage(void)
{
    load_files();
    char *dir = binlog_dir("missing");
    struct env *loop = test_env_new(unit_seed()), *worker = test_env_worker(loop, "serve0");
    struct store *store = binlog_store(loop, dir);
    bool gone = false;
    uint64_t index = 0;
    struct errmsg em;
    struct store_sub sub = {.owner = &gone};
    struct reader *r;
    const struct store_damage *damages;
    store_subscribe(store, &sub, worker, changed);
    put(loop, store, 0, 1, &index);
    put(loop, store, 1, 1, &index);
    char *path = mem_printf("%s/binlog/1/%s", dir, files[0]->name);
    UNIT_INT(unlink(path), 0);
    UNIT_INT(reader_open_position(&sub, 1, files[0]->name, 4, &r, &em), READER_CORRUPT);
    UNIT_TRUE(strstr(em.text, "a file of the log is missing") && strstr(em.text, path));
    test_env_run(loop);
    UNIT_UINT(store_damages(store, &damages), 1);
    UNIT_STR(damages[0].name, files[0]->name);
    store_purge(store, ++index, 1, files[1]->name); /* then nobody needs it */
    UNIT_UINT(store_damages(store, &damages), 0);
    store_unsubscribe(&sub, left);
    test_env_run(loop);
    binlog_store_close(loop, store);
    test_env_free(loop);
    mem_free(path);
    mem_free(dir);
    free_files();
}

static void names_to_keep_files_under(void)
{
    static const char *const good[] = {"a", "2026-11-21.before_reset", "X"};
    static const char *const bad[] = {"", ".", "..", "-a", "a/b", "a b", "\303\244",
                                      "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        UNIT_TRUE(store_keep_ok(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        UNIT_TRUE(!store_keep_ok(bad[i]));
    }
}

UNIT_MAIN("reset", UNIT_TEST(files_are_put_away), UNIT_TEST(a_crash_anywhere_loses_nothing), UNIT_TEST(a_failed_call_is_said_and_loses_nothing), UNIT_TEST(a_damaged_note_stops_the_start),
          UNIT_TEST(readers_are_told),
          UNIT_TEST(a_file_that_is_missing_is_damage), UNIT_TEST(names_to_keep_files_under))
