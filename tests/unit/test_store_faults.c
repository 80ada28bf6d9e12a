/* test_store_faults: what crashes and calls that fail do to the files: the daemon ends, or does not start, with a message that
 * names the file and the reason; and when the disk is well again, nothing is lost. Also how many calls a start
 * makes. */
#include "storage/store.h"

#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/lives.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

/* ---- crashes, and errors at each call ------------------------------------------------------------------------------- */

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

/* Three files in two eras. */
static int step(struct telling *t, struct errmsg *em)
{
    (void)em;
    if (!lives_put(t, files[t->part], 1 + t->part / 2, 100)) {
        t->part++;
        t->at = t->round = 0;
    }
    return t->part < 3;
}

static bool all_there(struct env *env, const char *dir)
{
    bool same = binlog_names_are(env, dir, 1, "./mysql-bin.000001\n./mysql-bin.000002\n") && binlog_names_are(env, dir, 2, "./mysql-bin.000003\n");
    for (size_t i = 0; i < 3; i++) {
        same = same && binlog_same(env, dir, 1 + i / 2, files[i]) &&
               binlog_index_same(env, dir, 1 + i / 2, files[i], &lives_options, i < 2);
    }
    return same;
}

static const struct story story = {.name = "files", .step = step, .right = all_there};

static void a_crash_anywhere_is_mended(void)
{
    struct lives_tally tally;
    load_files();
    UNIT_TRUE(lives_crash(&story, &tally));
    UNIT_TRUE(tally.crashed > 1200);
    free_files();
}

static void fails_at_any_call(int errnum, bool for_good, uint64_t first)
{
    struct lives_tally tally;
    load_files();
    UNIT_TRUE(lives_fail(&story, errnum, for_good, first, 3, &tally));
    UNIT_TRUE(tally.calls > 150);
    UNIT_TRUE(tally.refused > 10 && tally.ended > 40);
    free_files();
}

static void a_full_disk_is_said_and_loses_nothing(void)
{
    fails_at_any_call(ENOSPC, true, 1);
}

static void an_io_error_is_said_and_loses_nothing(void)
{
    fails_at_any_call(EIO, false, 2);
}

static void a_read_only_disk_is_said_and_loses_nothing(void)
{
    fails_at_any_call(EROFS, true, 3);
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

UNIT_MAIN("store_faults", UNIT_TEST(a_crash_anywhere_is_mended), UNIT_TEST(a_full_disk_is_said_and_loses_nothing),
          UNIT_TEST(an_io_error_is_said_and_loses_nothing), UNIT_TEST(a_read_only_disk_is_said_and_loses_nothing),
          UNIT_TEST(a_start_makes_as_many_calls_whatever_there_is))
