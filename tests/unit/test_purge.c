/* test_purge: the oldest files go, and nothing else; whatever happens in the middle is mended at the next start; readers of files
 * that go read on, and those who come later are told. */
#include "storage/store.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "storage/reader.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/lives.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { N = 6, STAY = 4 };

static struct binlog *files[N];

static uint64_t era_of(size_t i)
{
    return 1 + i / 3;
}

static void load_files(void)
{
    for (unsigned i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i % 3 + 1);
        files[i] = binlog_load("mysql-9.7-all-events", name);
    }
}

static void drop_files(void)
{
    for (unsigned i = 0; i < N; i++) {
        binlog_free(files[i]);
    }
}

/* Before file i is written: the files before this one are purged (0: none). */
static const size_t purge_before[N] = {0, 0, 1, 0, 2, STAY};

/* Six files in two eras of the same names, with checkpoints, cuts and three purges. */
static int step(struct telling *t, struct errmsg *em)
{
    (void)em;
    bool more = lives_put(t, files[t->part], era_of(t->part), 1000);
    if (t->round == 2 && purge_before[t->part]) {
        size_t to = purge_before[t->part];
        store_purge(t->store, ++t->index, era_of(to), files[to]->name);
    }
    if (!more) {
        t->part++;
        t->at = t->round = 0;
    }
    return t->part < N;
}

/* What was purged is gone, with all that belongs to it; the others hold what was written. */
static bool as_it_should(struct env *env, const char *dir)
{
    bool right = true;
    for (size_t i = 0; i < N; i++) {
        char file[128], index[128];
        snprintf(file, sizeof file, "binlog/%u/%s", (unsigned)era_of(i), files[i]->name);
        snprintf(index, sizeof index, "index/%u/%s.idx", (unsigned)era_of(i), files[i]->name);
        if (i < STAY) {
            right = right && !binlog_is_there(env, dir, file) && !binlog_is_there(env, dir, index);
        } else {
            right = right && binlog_same(env, dir, era_of(i), files[i]) &&
                    binlog_index_same(env, dir, era_of(i), files[i], &lives_options, i + 1 < N);
        }
    }
    right = right && binlog_names_are(env, dir, 2, "./mysql-bin.000002\n./mysql-bin.000003\n") &&
            !binlog_is_there(env, dir, "binlog/1/mysql-bin.index");
    for (unsigned list = 1; list < 8; list++) { /* three purges: the fourth list */
        char name[32];
        snprintf(name, sizeof name, "binlog/files.%u", list);
        right = right && binlog_is_there(env, dir, name) == (list == 4);
    }
    return right;
}

/* ---- crashes and failures ------------------------------------------------------------------------------ */

static const struct story purges = {.name = "purges", .step = step, .right = as_it_should};

static void a_crash_anywhere_is_mended(void)
{
    struct lives_tally tally;
    load_files();
    UNIT_TRUE(lives_crash(&purges, &tally));
    UNIT_TRUE(tally.crashed > 1200);
    drop_files();
}

/* A call that fails ends the daemon, or its start, with a reason; then the disk is well again. */
static void a_failed_call_is_said_and_mended(void)
{
    struct lives_tally once, for_good;
    load_files();
    UNIT_TRUE(lives_fail(&purges, EIO, false, 1, 3, &once));
    UNIT_TRUE(lives_fail(&purges, ENOSPC, true, 2, 3, &for_good));
    UNIT_TRUE(once.ended > 40 && for_good.ended > 40);
    drop_files();
}

/* ---- readers ------------------------------------------------------------------------------------------- */

struct fix {
    struct env *loop, *worker;
    char *dir;
    struct store *store;
    struct store_sub sub;
    uint64_t index;
    bool left;
};

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void gone(struct store_sub *sub)
{
    ((struct fix *)sub->owner)->left = true;
}

static void open_fix(struct fix *f, const char *name, size_t n)
{
    load_files();
    *f = (struct fix){.loop = test_env_new(unit_seed())};
    f->worker = test_env_worker(f->loop, "serve0");
    f->dir = binlog_dir(name);
    f->store = binlog_store_with(f->loop, f->dir, &lives_options);
    f->sub.owner = f;
    store_subscribe(f->store, &f->sub, f->worker, changed);
    for (size_t i = 0; i < n; i++) {
        binlog_put(f->store, files[i], era_of(i), 3000, &f->index);
    }
    test_env_run(f->loop);
}

static void close_fix(struct fix *f)
{
    store_unsubscribe(&f->sub, gone);
    test_env_run(f->loop);
    UNIT_TRUE(f->left);
    binlog_store_close(f->loop, f->store);
    UNIT_UINT(test_env_open_files(f->loop), 0);
    mem_free(f->dir);
    test_env_free(f->loop);
    drop_files();
}

static void purge_to(struct fix *f, size_t file)
{
    store_purge(f->store, ++f->index, era_of(file), files[file]->name);
    test_env_run(f->loop);
}

/* Events up to the end of a file; what the reader said then. */
static int read_to_end_of(struct reader *r, const char *name, unsigned *shown)
{
    struct reader_event ev;
    struct errmsg em;
    int rv;
    *shown = 0;
    while ((rv = reader_next(r, &ev, &em)) == 1 && strcmp(ev.file, name) == 0) {
        ++*shown;
    }
    return rv;
}

/* It reads its file to the end; what comes behind that is gone too, or not. */
static void a_reader_of_a_purged_file_reads_on(void)
{
    struct fix f;
    struct reader *whole, *last, *empty;
    struct errmsg em;
    unsigned shown;
    struct gtid_set *none = gtid_set_new(FLAVOUR_MYSQL);
    open_fix(&f, "reads-on", 3);
    UNIT_REQUIRE(reader_open_position(&f.sub, 1, files[0]->name, 4, &whole, &em) == 0);
    UNIT_REQUIRE(reader_open_position(&f.sub, 1, files[1]->name, 4, &last, &em) == 0);
    UNIT_REQUIRE(reader_open_gtid(&f.sub, none, &empty, &em) == 0);
    purge_to(&f, 2);
    UNIT_INT(read_to_end_of(whole, files[0]->name, &shown), READER_PURGED);
    UNIT_UINT(shown, files[0]->n_events);
    UNIT_INT(read_to_end_of(empty, files[0]->name, &shown), READER_PURGED);
    UNIT_UINT(shown, files[0]->n_events);
    UNIT_INT(read_to_end_of(last, files[1]->name, &shown), 1); /* goes on with the next file */
    UNIT_UINT(shown, files[1]->n_events);
    reader_close(whole);
    reader_close(last);
    reader_close(empty);
    gtid_set_free(none);
    close_fix(&f);
}

/* Those that come later. */
static void a_start_in_a_purged_file_is_refused(void)
{
    struct fix f;
    struct reader *r = NULL, *at_end;
    struct errmsg em;
    struct gtid_set *none = gtid_set_new(FLAVOUR_MYSQL);
    uint64_t era, offset;
    const char *file;
    unsigned shown;
    open_fix(&f, "refused", 6);
    UNIT_REQUIRE(reader_open_position(&f.sub, 1, files[0]->name, files[0]->n, &at_end, &em) == 0);
    purge_to(&f, 4);
    UNIT_INT(reader_open_position(&f.sub, 1, files[0]->name, 4, &r, &em), READER_UNKNOWN_FILE);
    UNIT_INT(read_to_end_of(at_end, "", &shown), READER_PURGED);
    reader_close(at_end);
    UNIT_UINT(f.sub.catalog->first, 5);
    UNIT_UINT(f.sub.catalog->n, 2);
    purge_to(&f, 5);
    UNIT_INT(reader_open_position(&f.sub, 2, files[4]->name, 4, &r, &em), READER_UNKNOWN_FILE);
    UNIT_INT(reader_open_gtid(&f.sub, none, &r, &em), READER_PURGED);
    UNIT_REQUIRE(reader_open_position(&f.sub, 0, "", 4, &r, &em) == 0);
    reader_where(r, &era, &file, &offset);
    UNIT_TRUE(era == 2 && strcmp(file, files[5]->name) == 0);
    reader_close(r);
    UNIT_REQUIRE(reader_open_gtid(&f.sub, files[5]->state_before, &r, &em) == 0);
    reader_close(r);
    gtid_set_free(none);
    close_fix(&f);
}

/* The catalog of the purge is in the mail before a file is unlinked: a reader with an older one looks there. */
static void a_purge_between_two_looks_is_no_damage(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct errmsg em;
    bool refused = false;
    struct gtid_set *none = gtid_set_new(FLAVOUR_MYSQL);
    open_fix(&f, "two-looks", 3);
    store_purge(f.store, ++f.index, 1, files[2]->name);
    do { /* after each message, as it comes, the worker is asked */
        int rv = reader_open_position(&f.sub, 1, files[0]->name, 4, &r, &em);
        UNIT_TRUE(refused ? rv == READER_UNKNOWN_FILE : rv == 0 || rv == READER_UNKNOWN_FILE);
        reader_close(r);
        r = NULL;
        refused = refused || rv;
        rv = reader_open_gtid(&f.sub, none, &r, &em);
        UNIT_INT(rv, refused ? READER_PURGED : 0);
        reader_close(r);
        r = NULL;
    } while (test_env_step(f.loop));
    UNIT_TRUE(refused);
    gtid_set_free(none);
    close_fix(&f);
}

/* Whoever came across it says so when the file is gone already. */
static void damage_of_a_purged_file_is_no_news(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct errmsg em;
    const struct store_damage *damages;
    open_fix(&f, "no-news", 3);
    char *path = mem_printf("%s/binlog/1/%s", f.dir, files[0]->name);
    UNIT_INT(unlink(path), 0);
    UNIT_INT(reader_open_position(&f.sub, 1, files[0]->name, 4, &r, &em), READER_CORRUPT);
    purge_to(&f, 1);
    UNIT_UINT(store_damages(f.store, &damages), 0);
    mem_free(path);
    path = mem_printf("%s/binlog/1/%s", f.dir, files[1]->name);
    UNIT_INT(unlink(path), 0);
    UNIT_INT(reader_open_position(&f.sub, 1, files[1]->name, 4, &r, &em), READER_CORRUPT);
    test_env_run(f.loop);
    UNIT_UINT(store_damages(f.store, &damages), 1); /* that one was not purged */
    mem_free(path);
    close_fix(&f);
}

/* ---- names, times, what waits -------------------------------------------------------------------------- */

/* A name that was purged may come again at once: the new file stays. */
static void a_name_may_come_again(void)
{
    struct fix f;
    open_fix(&f, "again", 5);
    store_purge(f.store, ++f.index, 2, files[4]->name);
    binlog_put(f.store, files[3], 2, 3000, &f.index); /* before its namesake is unlinked */
    test_env_run(f.loop);
    UNIT_TRUE(binlog_same(f.loop, f.dir, 2, files[3]));
    UNIT_TRUE(binlog_names_are(f.loop, f.dir, 2, "./mysql-bin.000002\n./mysql-bin.000001\n"));
    UNIT_TRUE(!binlog_is_there(f.loop, f.dir, "binlog/1/mysql-bin.000001"));
    close_fix(&f);
}

/* A store that closes in the middle leaves the rest to the next start. */
static void a_purge_goes_on_after_a_stop(void)
{
    struct fix f;
    open_fix(&f, "stop", 6);
    store_purge(f.store, ++f.index, 2, files[5]->name);
    close_fix(&f);
    load_files();
    struct env *env = test_env_new(1);
    char *dir = binlog_dir("stop");
    struct store *store = binlog_store_with(env, dir, &lives_options);
    UNIT_TRUE(!binlog_is_there(env, dir, "binlog/1/mysql-bin.000001") && !binlog_is_there(env, dir, "binlog/2/mysql-bin.000002"));
    UNIT_TRUE(binlog_same(env, dir, 2, files[5]));
    UNIT_TRUE(!binlog_is_there(env, dir, "binlog/files.1") && binlog_is_there(env, dir, "binlog/files.2"));
    binlog_store_close(env, store);
    mem_free(dir);
    test_env_free(env);
    drop_files();
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

/* A file is older when the one behind it had begun before. */
static void old_files_are_found(void)
{
    struct fix f;
    unsigned done = 0;
    open_fix(&f, "older", 0);
    for (unsigned i = 0; i < 3; i++) {
        files[i]->bytes[4] = (uint8_t)(10 * i);
        memset(files[i]->bytes + 5, 0, 3);
        binlog_put(f.store, files[i], 1, 3000, &f.index);
    }
    static const struct {
        uint32_t time;
        size_t first;
    } looks[] = {{1, 0}, {10, 0}, {11, 1}, {20, 1}, {21, 2}, {UINT32_MAX, 2}};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        struct store_older older = {.time = looks[i].time};
        store_find_older(f.store, &older, count, &done);
        test_env_run(f.loop);
        UNIT_UINT(done, i + 1);
        UNIT_TRUE(older.era == 1 && !older.more && !older.em.text[0]);
        UNIT_STR(older.name, files[looks[i].first]->name);
    }
    close_fix(&f);
}

UNIT_MAIN("purge", UNIT_TEST(a_crash_anywhere_is_mended), UNIT_TEST(a_failed_call_is_said_and_mended), UNIT_TEST(a_reader_of_a_purged_file_reads_on),
          UNIT_TEST(a_start_in_a_purged_file_is_refused), UNIT_TEST(a_purge_between_two_looks_is_no_damage),
          UNIT_TEST(damage_of_a_purged_file_is_no_news), UNIT_TEST(a_name_may_come_again), UNIT_TEST(a_purge_goes_on_after_a_stop), UNIT_TEST(old_files_are_found))
