/* test_store_faults: what calls that fail do to the files: the daemon ends, or does not start, with a message that
 * names the file and the reason; and when the disk is well again, nothing is lost. Also how many calls a start
 * makes. */
#include "storage/store.h"

#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct store_options fine = {.index_step = 150, .index_block = 512};

enum { OPEN_FAILED = 90, WRONG_MESSAGE = 91, NOT_REACHED = 92, TEXT_MAX = 2000 };

/* ---- errors at each call ------------------------------------------------------------------------------- */

static struct binlog *files[3];

static void load_files(void)
{
    for (unsigned i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i + 1);
        files[i] = binlog_load("mysql-9.7-all-events", name);
    }
}

/* Three files in two eras, in pieces, with cuts and checkpoints: the same each time. */
static void replay(struct env *loop, struct store *store)
{
    uint64_t index = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct binlog *b = files[i];
        store_file(store, ++index, 0, 1 + i / 2, b->name, b->state_before);
        for (uint64_t at = 4, round = 0; at < b->n; round++) {
            uint64_t n = 100 + (at * 7919 + round * 31) % 900;
            n = n < b->n - at ? n : b->n - at;
            uint64_t boundary = binlog_boundary(b, at + n);
            struct store_txns txns = binlog_txns(b, at, at + n);
            store_write_txns(store, ++index, at, b->bytes + at, n, boundary, &txns, NULL, NULL);
            at += n;
            if (round % 4 == 0) {
                store_checkpoint(store, index, NULL, NULL);
            }
            if (at > boundary && round % 3 == 0) {
                store_cut(store, ++index, boundary);
                at = boundary;
            }
            test_env_run(loop);
        }
    }
    test_env_run(loop);
}

struct fault {
    uint64_t at; /* 0: none */
    int errnum;
    bool for_good;
};

/* In a child: the exit code says how it ended; messages go to the descriptor. */
static void live(const char *dir, const struct fault *fault, int fd)
{
    struct errmsg em = {""};
    struct store *store;
    struct env *loop = test_env_new(1);
    test_env_fatal_to(loop, fd);
    test_env_fail(loop, fault->at, fault->errnum, fault->for_good);
    if (store_open_with(loop, dir, &fine, &store, &em)) {
        dprintf(fd, "%s\n", em.text);
        _exit(OPEN_FAILED);
    }
    replay(loop, store);
    _exit(test_env_failed(loop) ? 0 : NOT_REACHED);
}

static int life(const char *dir, const struct fault *fault, char text[TEXT_MAX])
{
    int fds[2], status = -1;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        live(dir, fault, fds[1]);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Do the files hold what was written? */
static bool all_there(const char *dir)
{
    struct env *env = test_env_new(1);
    bool same = true;
    for (size_t i = 0; i < 3; i++) {
        same = same && binlog_same(env, dir, 1 + i / 2, files[i]) &&
               binlog_index_same(env, dir, 1 + i / 2, files[i], &fine, i < 2);
    }
    test_env_free(env);
    return same;
}

struct tally {
    unsigned refused, ended, passed; /* not started; ended; went on without what the call was for */
};

/* False at the end of the calls. */
static bool fail_at(const struct fault *fault, const char *name, struct tally *tally, bool *right)
{
    char text[TEXT_MAX], dirname[64];
    static const struct fault none = {.at = 0};
    snprintf(dirname, sizeof dirname, "%s%llu", name, (unsigned long long)fault->at);
    char *dir = binlog_dir(dirname);
    int end = life(dir, fault, text);
    bool told = strstr(text, dir) != NULL && strstr(text, strerror(fault->errnum)) != NULL;
    tally->refused += end == OPEN_FAILED;
    tally->ended += end == TEST_ENV_FATAL;
    tally->passed += end == 0;
    bool ok = (end == OPEN_FAILED || end == TEST_ENV_FATAL) ? told : end == 0 || end == NOT_REACHED;
    if (ok && end != NOT_REACHED) {
        int again = life(dir, &none, text);
        ok = again == NOT_REACHED && all_there(dir);
        if (again != NOT_REACHED) {
            fprintf(stderr, "the next start: %d %s\n", again, text);
        }
    }
    if (!ok) {
        fprintf(stderr, "call %llu fails with '%s': ends with %d '%s', see %s\n", (unsigned long long)fault->at,
                strerror(fault->errnum), end, text, dir);
        *right = false;
    }
    mem_free(dir);
    return end != NOT_REACHED && *right;
}

static void fails_at_any_call(const char *name, int errnum, bool for_good, uint64_t first)
{
    struct tally tally = {0};
    bool right = true;
    struct fault fault = {.at = first, .errnum = errnum, .for_good = for_good};
    load_files();
    while (fail_at(&fault, name, &tally, &right)) {
        fault.at += 3;
    }
    printf("# %s: to call %llu: %u not started, %u ended, %u went on\n", strerror(errnum),
           (unsigned long long)fault.at, tally.refused, tally.ended, tally.passed);
    UNIT_TRUE(right);
    UNIT_TRUE(fault.at > 150);
    UNIT_TRUE(tally.refused >= 2 && tally.ended > 40);
    for (unsigned i = 0; i < 3; i++) {
        binlog_free(files[i]);
    }
}

static void a_full_disk_is_said_and_loses_nothing(void)
{
    fails_at_any_call("full", ENOSPC, true, 1);
}

static void an_io_error_is_said_and_loses_nothing(void)
{
    fails_at_any_call("eio", EIO, false, 2);
}

static void a_read_only_disk_is_said_and_loses_nothing(void)
{
    fails_at_any_call("rofs", EROFS, true, 3);
}

/* A start behind a crash has more to do: files of later, a torn list, names. Each of its calls fails once. */
static void a_start_that_fails_can_be_repeated(void)
{
    static const struct fault none = {.at = 0};
    char text[TEXT_MAX];
    bool right = true;
    struct tally tally = {0};
    load_files();
    for (uint64_t at = 1; at < 40 && right; at++) {
        char name[32];
        snprintf(name, sizeof name, "start%llu", (unsigned long long)at);
        char *dir = binlog_dir(name);
        struct fault late = {.at = 190, .errnum = EIO, .for_good = true}, early = {.at = at, .errnum = EIO};
        UNIT_INT(life(dir, &late, text), TEST_ENV_FATAL);
        int end = life(dir, &early, text);
        tally.refused += end == OPEN_FAILED;
        right = right && (end == OPEN_FAILED || end == TEST_ENV_FATAL || end == 0);
        right = right && (end == 0 || strstr(text, strerror(EIO)) != NULL);
        right = right && life(dir, &none, text) == NOT_REACHED && all_there(dir);
        mem_free(dir);
    }
    UNIT_TRUE(right);
    UNIT_TRUE(tally.refused > 10);
    for (unsigned i = 0; i < 3; i++) {
        binlog_free(files[i]);
    }
}

/* ---- the number of calls ------------------------------------------------------------------------------- */

static uint64_t calls_of_a_start(unsigned n, uint64_t *reads)
{
    char name[32];
    uint64_t index = 0;
    struct env *loop = test_env_new(1);
    snprintf(name, sizeof name, "calls%u", n);
    char *dir = binlog_dir(name);
    struct store *store = binlog_store(loop, dir);
    struct gtid_set *held = gtid_set_new(FLAVOUR_MYSQL);
    struct gtid g = {.flavour = FLAVOUR_MYSQL};
    for (unsigned i = 1; i <= n; i++) {
        g.gno = i;
        UNIT_INT(gtid_set_add(held, &g), 0);
        snprintf(name, sizeof name, "mysql-bin.%06u", i);
        store_file(store, ++index, 0, 1 + i / (n / 2 + 1), name, held);
    }
    store_checkpoint(store, index, NULL, NULL);
    test_env_run(loop);
    store_file(store, ++index, 0, 3, "later.000001", held); /* is to be removed */
    binlog_store_close(loop, store);
    uint64_t before = test_env_calls(loop);
    store = binlog_store(loop, dir);
    uint64_t calls = test_env_calls(loop) - before;
    binlog_store_close(loop, store);
    before = test_env_calls(loop);
    store = binlog_store(loop, dir);
    *reads = test_env_calls(loop) - before;
    binlog_store_close(loop, store);
    gtid_set_free(held);
    mem_free(dir);
    test_env_free(loop);
    return calls;
}

static void a_start_makes_as_many_calls_whatever_there_is(void)
{
    uint64_t clean[2];
    uint64_t few = calls_of_a_start(10, &clean[0]), many = calls_of_a_start(1000, &clean[1]);
    printf("# calls of a start: %llu, %llu when there is nothing to mend\n", (unsigned long long)few,
           (unsigned long long)clean[0]);
    UNIT_UINT(many, few);
    UNIT_UINT(clean[1], clean[0]);
    UNIT_TRUE(clean[0] < 50);
}

UNIT_MAIN("store_faults", UNIT_TEST(a_full_disk_is_said_and_loses_nothing),
          UNIT_TEST(an_io_error_is_said_and_loses_nothing), UNIT_TEST(a_read_only_disk_is_said_and_loses_nothing),
          UNIT_TEST(a_start_that_fails_can_be_repeated), UNIT_TEST(a_start_makes_as_many_calls_whatever_there_is))
