/* test_purge: the oldest files go, and nothing else; whatever happens in the middle is mended at the next start; readers of files
 * that go read on, and those who come later are told. */
#include "storage/store.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "storage/reader.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 6, STAY = 4, TEXT_MAX = 2000, OPEN_FAILED = 90, NOT_REACHED = 92 };

static const struct store_options fine = {.index_step = 150, .index_block = 512};

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

/* Six files in two eras of the same names, with checkpoints, cuts and three purges: the same each time. */
static void replay(struct env *loop, struct store *store)
{
    uint64_t index = 0;
    for (size_t i = 0; i < N; i++) {
        const struct binlog *b = files[i];
        store_file(store, ++index, 0, era_of(i), b->name, b->state_before);
        for (uint64_t at = 4, round = 0; at < b->n; round++) {
            uint64_t n = 1000 + (at * 7919 + round * 31) % 900;
            n = n < b->n - at ? n : b->n - at;
            uint64_t boundary = binlog_boundary(b, at + n);
            struct store_txns txns = binlog_txns(b, at, at + n);
            store_write_txns(store, ++index, at, b->bytes + at, n, boundary, &txns, NULL, NULL);
            at += n;
            if (round % 4 == 3) {
                store_checkpoint(store, index, NULL, NULL);
            }
            if (at > boundary && round % 3 == 0) {
                store_cut(store, ++index, boundary);
                at = boundary;
            }
            if (round == 1 && purge_before[i]) {
                const struct binlog *to = files[purge_before[i]];
                store_purge(store, ++index, era_of(purge_before[i]), to->name);
            }
            if (round % 2) {
                test_env_run(loop);
            }
        }
    }
    test_env_run(loop);
}

static bool is_there(struct env *env, const char *dir, const char *what)
{
    struct buf have;
    bool there = binlog_read(env, &have, "%s/%s", dir, what);
    buf_free(&have);
    return there;
}

static bool index_is(struct env *env, const char *dir, unsigned era, const char *want)
{
    struct buf have;
    bool same = binlog_read(env, &have, "%s/binlog/%u/mysql-bin.index", dir, era) && strcmp(buf_cstr(&have), want) == 0;
    buf_free(&have);
    return same;
}

/* What was purged is gone, with all that belongs to it; the others hold what was written. */
static bool as_it_should(const char *dir)
{
    struct env *env = test_env_new(1);
    bool right = true;
    for (size_t i = 0; i < N; i++) {
        char file[128], index[128];
        snprintf(file, sizeof file, "binlog/%u/%s", (unsigned)era_of(i), files[i]->name);
        snprintf(index, sizeof index, "index/%u/%s.idx", (unsigned)era_of(i), files[i]->name);
        if (i < STAY) {
            right = right && !is_there(env, dir, file) && !is_there(env, dir, index);
        } else {
            right = right && binlog_same(env, dir, era_of(i), files[i]) &&
                    binlog_index_same(env, dir, era_of(i), files[i], &fine, i + 1 < N);
        }
    }
    right = right && index_is(env, dir, 2, "./mysql-bin.000002\n./mysql-bin.000003\n") &&
            !is_there(env, dir, "binlog/1/mysql-bin.index");
    for (unsigned list = 1; list < 8; list++) { /* three purges: the fourth list */
        char name[32];
        snprintf(name, sizeof name, "binlog/files.%u", list);
        right = right && is_there(env, dir, name) == (list == 4);
    }
    test_env_free(env);
    return right;
}

/* ---- crashes and failures ------------------------------------------------------------------------------ */

struct accident {
    uint64_t crash_at;
    bool power_loss;
    uint64_t fail_at;
    int errnum;
    bool for_good;
};

/* One life of the process; what it said, in `text`. */
static int life(const char *dir, const struct accident *a, uint64_t seed, char text[TEXT_MAX])
{
    int fds[2], status = -1;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct errmsg em = {""};
        struct store *store;
        struct env *loop = test_env_new(seed);
        close(fds[0]);
        test_env_fatal_to(loop, fds[1]);
        test_env_crash(loop, a->crash_at, a->power_loss);
        test_env_fail(loop, a->fail_at, a->errnum, a->for_good);
        if (store_open_with(loop, dir, &fine, &store, &em)) {
            dprintf(fds[1], "%s\n", em.text);
            _exit(OPEN_FAILED);
        }
        replay(loop, store);
        _exit(a->fail_at && !test_env_failed(loop) ? NOT_REACHED : 0);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void crash_everywhere(bool power_loss)
{
    static const struct accident none = {.crash_at = 0};
    unsigned crashes = 0;
    bool right = true;
    uint64_t at = 1 + power_loss;
    char text[TEXT_MAX];
    load_files();
    for (int end = TEST_ENV_CRASHED; end == TEST_ENV_CRASHED && right; at += 2) {
        char name[64];
        struct accident a = {.crash_at = at, .power_loss = power_loss};
        snprintf(name, sizeof name, "purge-crash%d-%llu", power_loss, (unsigned long long)at);
        char *dir = binlog_dir(name);
        end = life(dir, &a, at, text);
        crashes += end == TEST_ENV_CRASHED;
        for (unsigned again = 0; again < 2 && end == TEST_ENV_CRASHED; again++) { /* in recovery too */
            a.crash_at = 1 + (at * 7 + again * 3) % 17;
            int rv = life(dir, &a, at + again, text);
            right = right && (rv == TEST_ENV_CRASHED || rv == 0);
            crashes += rv == TEST_ENV_CRASHED;
        }
        right = right && life(dir, &none, at, text) == 0 && as_it_should(dir);
        if (!right) {
            fprintf(stderr, "crash before change %llu, see %s: %s\n", (unsigned long long)at, dir, text);
        }
        mem_free(dir);
    }
    UNIT_TRUE(right);
    UNIT_TRUE(at > 150);
    UNIT_TRUE(crashes > 250);
    drop_files();
}

static void a_crash_anywhere_is_mended(void)
{
    crash_everywhere(false);
}

static void a_power_loss_anywhere_is_mended(void)
{
    crash_everywhere(true);
}

/* A call that fails ends the daemon, or its start, with a reason; then the disk is well again. */
static void fail_everywhere(int errnum, bool for_good, uint64_t first)
{
    static const struct accident none = {.crash_at = 0};
    bool right = true;
    unsigned ended = 0;
    char text[TEXT_MAX], again[TEXT_MAX];
    struct accident a = {.fail_at = first, .errnum = errnum, .for_good = for_good};
    load_files();
    for (int end = 0; end != NOT_REACHED && right; a.fail_at += 3) {
        char name[64];
        snprintf(name, sizeof name, "purge-fail%d-%llu", errnum, (unsigned long long)a.fail_at);
        char *dir = binlog_dir(name);
        end = life(dir, &a, 1, text);
        bool told = strstr(text, strerror(errnum)) != NULL;
        ended += end == TEST_ENV_FATAL;
        right = right && (end == OPEN_FAILED || end == TEST_ENV_FATAL ? told : end == 0 || end == NOT_REACHED);
        right = right && life(dir, &none, 1, again) == 0 && as_it_should(dir);
        if (!right) {
            fprintf(stderr, "call %llu fails: ends with %d '%s', then '%s', see %s\n", (unsigned long long)a.fail_at, end, text,
                    again, dir);
        }
        mem_free(dir);
    }
    UNIT_TRUE(right);
    UNIT_TRUE(ended > 40);
    drop_files();
}

static void a_failed_call_is_said_and_mended(void)
{
    fail_everywhere(EIO, false, 1);
    fail_everywhere(ENOSPC, true, 2);
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
    f->store = binlog_store_with(f->loop, f->dir, &fine);
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
    UNIT_TRUE(index_is(f.loop, f.dir, 2, "./mysql-bin.000002\n./mysql-bin.000001\n"));
    UNIT_TRUE(!is_there(f.loop, f.dir, "binlog/1/mysql-bin.000001"));
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
    struct store *store = binlog_store_with(env, dir, &fine);
    UNIT_TRUE(!is_there(env, dir, "binlog/1/mysql-bin.000001") && !is_there(env, dir, "binlog/2/mysql-bin.000002"));
    UNIT_TRUE(binlog_same(env, dir, 2, files[5]));
    UNIT_TRUE(!is_there(env, dir, "binlog/files.1") && is_there(env, dir, "binlog/files.2"));
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

UNIT_MAIN("purge", UNIT_TEST(a_crash_anywhere_is_mended), UNIT_TEST(a_power_loss_anywhere_is_mended),
          UNIT_TEST(a_failed_call_is_said_and_mended), UNIT_TEST(a_reader_of_a_purged_file_reads_on),
          UNIT_TEST(a_start_in_a_purged_file_is_refused), UNIT_TEST(a_purge_between_two_looks_is_no_damage),
          UNIT_TEST(a_name_may_come_again), UNIT_TEST(a_purge_goes_on_after_a_stop), UNIT_TEST(old_files_are_found))
