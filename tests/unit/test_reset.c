/* test_reset: the history is put away: the files are moved, whole, whatever call fails and wherever the process ends; what comes next
 * begins with nothing; and who reads the old files is told. */
#include "storage/reader.h"
#include "storage/store.h"

#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_MAX = 2048, OPEN_FAILED = 70, NOT_REACHED = 71 };

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

static bool there(const char *dir, const char *name)
{
    char *path = mem_printf("%s/%s", dir, name);
    bool is = access(path, F_OK) == 0;
    mem_free(path);
    return is;
}

static void put(struct env *loop, struct store *store, unsigned i, uint64_t era, uint64_t *index)
{
    binlog_put(store, files[i], era, 3000, index);
    test_env_run(loop);
}

/* What raft applies, the same each time: two eras, the end of them, a third one. */
static void replay(struct env *loop, struct store *store)
{
    uint64_t index = 0;
    put(loop, store, 0, 1, &index);
    store_checkpoint(store, index, NULL, NULL);
    put(loop, store, 1, 1, &index);
    put(loop, store, 2, 2, &index);
    store_reset(store, ++index, "kept");
    test_env_run(loop);
    put(loop, store, 0, 3, &index);
    store_checkpoint(store, index, NULL, NULL);
    test_env_run(loop);
}

static bool same_as(const char *dir, const char *name, const struct binlog *b)
{
    struct env *env = test_env_new(1);
    struct buf have;
    bool same = binlog_read(env, &have, "%s/%s", dir, name) && have.len == b->n && memcmp(have.data, b->bytes, b->n) == 0;
    if (!same) {
        fprintf(stderr, "%s/%s is not what it was\n", dir, name);
    }
    buf_free(&have);
    test_env_free(env);
    return same;
}

static bool is_put_away(const char *dir)
{
    bool kept = same_as(dir, "binlog/old/kept/1/mysql-bin.000001", files[0]) && same_as(dir, "binlog/old/kept/1/mysql-bin.000002", files[1]) &&
                same_as(dir, "binlog/old/kept/2/mysql-bin.000003", files[2]) && there(dir, "binlog/old/kept/1/mysql-bin.index");
    bool left = there(dir, "binlog/1") || there(dir, "binlog/2") || there(dir, "binlog/reset") || there(dir, "binlog/files.1") ||
                there(dir, "index/1/mysql-bin.000001.idx") || there(dir, "index/2/mysql-bin.000003.idx");
    return kept && !left && same_as(dir, "binlog/3/mysql-bin.000001", files[0]);
}

static void files_are_put_away(void)
{
    load_files();
    char *dir = binlog_dir("away");
    struct env *loop = test_env_new(unit_seed());
    struct store *store = binlog_store(loop, dir);
    replay(loop, store);
    UNIT_TRUE(is_put_away(dir));
    binlog_store_close(loop, store);
    store = binlog_store(loop, dir);
    replay(loop, store); /* all of it is behind the checkpoint */
    binlog_store_close(loop, store);
    UNIT_TRUE(is_put_away(dir));
    UNIT_UINT(test_env_open_files(loop), 0);
    test_env_free(loop);
    mem_free(dir);
    free_files();
}

/* ---- calls that fail ----------------------------------------------------------------------------------- */

static void live(const char *dir, uint64_t fail_at, int fd)
{
    struct errmsg em = {""};
    struct store *store;
    struct env *loop = test_env_new(1);
    test_env_fatal_to(loop, fd);
    test_env_fail(loop, fail_at, EIO, true);
    if (store_open(loop, dir, &store, &em)) {
        dprintf(fd, "%s\n", em.text);
        _exit(OPEN_FAILED);
    }
    replay(loop, store);
    _exit(test_env_failed(loop) ? 0 : NOT_REACHED);
}

static int life(const char *dir, uint64_t fail_at, char text[TEXT_MAX])
{
    int fds[2], status = -1;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        live(dir, fail_at, fds[1]);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Each call of the replay fails once, and then one of the start that follows: the next start ends it. */
static void a_crash_anywhere_loses_nothing(void)
{
    load_files();
    bool right = true;
    unsigned ended = 0, refused = 0;
    for (uint64_t at = 1; right; at++) {
        char name[32], text[TEXT_MAX];
        snprintf(name, sizeof name, "crash%llu", (unsigned long long)at);
        char *dir = binlog_dir(name);
        int end = life(dir, at, text);
        if (end == NOT_REACHED) {
            mem_free(dir);
            break;
        }
        ended += end == TEST_ENV_FATAL;
        right = end == OPEN_FAILED || end == TEST_ENV_FATAL;
        for (uint64_t again = 1 + at % 9; right && again < 30; again += 9) {
            int rv = life(dir, again, text);
            refused += rv == OPEN_FAILED;
            right = rv == OPEN_FAILED || rv == TEST_ENV_FATAL || rv == NOT_REACHED;
        }
        int last = life(dir, 0, text);
        right = right && last == NOT_REACHED && is_put_away(dir);
        if (!right) {
            fprintf(stderr, "call %llu: %d, then %d '%s'\n", (unsigned long long)at, end, last, text);
        }
        mem_free(dir);
    }
    UNIT_TRUE(right);
    UNIT_TRUE(ended > 50 && refused > 50);
    free_files();
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

UNIT_MAIN("reset", UNIT_TEST(files_are_put_away), UNIT_TEST(a_crash_anywhere_loses_nothing), UNIT_TEST(readers_are_told),
          UNIT_TEST(a_file_that_is_missing_is_damage), UNIT_TEST(names_to_keep_files_under))
