/* test_memory: what is remembered of the other members' logs is there at the next start, whatever moment this one ended at; a damaged memory is none. */
#include "raft/memory.h"

#include "protocol/base/mem.h"
#include "tests/unit/env_test.h"
#include "tests/unit/sim_life.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 6, STEPS_MAX = 40 };

struct fix {
    struct env *loop, *writer;
    struct memory *memory;
};

static char dir[400];
static unsigned dirs;

static void new_dir(void)
{
    snprintf(dir, sizeof dir, "%s/%u", unit_tmpdir(), ++dirs);
    UNIT_TRUE(mkdir(dir, 0700) == 0);
}

static int open_in(struct fix *f, struct errmsg *em)
{
    f->writer = test_env_worker(f->loop, "writer");
    return memory_open(f->loop, dir, f->writer, &f->memory, em);
}

static void fix_open(struct fix *f)
{
    struct errmsg em = {""};
    f->loop = test_env_new(unit_seed());
    if (!UNIT_INT(open_in(f, &em), 0)) {
        printf("# %s\n", em.text);
    }
}

static void fix_close(struct fix *f)
{
    test_env_run(f->loop);
    memory_close(f->memory);
    UNIT_UINT(test_env_open_files(f->loop), 0);
    test_env_free(f->loop);
}

static void learn(struct memory *m, uint64_t id, uint64_t incarnation, uint64_t held, uint64_t term)
{
    struct memory_row row = {.id = id, .incarnation = incarnation, .held = held, .term = term};
    memory_take(m, &row, 1);
}

static uint64_t held(const struct memory *m, uint64_t id, uint64_t incarnation)
{
    const struct memory_row *row = memory_of(m, id, incarnation);
    return row ? row->held : 0;
}

static void it_is_there_at_the_next_start(void)
{
    struct fix f;
    size_t n;
    new_dir();
    fix_open(&f);
    UNIT_TRUE(memory_rows(f.memory, &n) && n == 0);
    struct memory_row rows[2] = {{.id = 2, .incarnation = 7, .held = 100, .term = 3}, {.id = 3, .incarnation = 8, .held = 90, .term = 4}};
    memory_take(f.memory, rows, 2);
    memory_store(f.memory);
    fix_close(&f);
    fix_open(&f);
    UNIT_TRUE(memory_rows(f.memory, &n) && n == 2);
    UNIT_UINT(held(f.memory, 2, 7), 100);
    UNIT_UINT(memory_of(f.memory, 3, 8)->term, 4);
    UNIT_TRUE(memory_of(f.memory, 3, 7) == NULL); /* another data directory */
    fix_close(&f);
}

/* Only more is news; a member that is none any more is forgotten, and so is its old data directory. */
static void less_is_no_news(void)
{
    struct fix f;
    new_dir();
    fix_open(&f);
    learn(f.memory, 2, 7, 100, 3);
    memory_store(f.memory);
    test_env_run(f.loop);
    uint64_t before = test_env_changes(f.loop);
    learn(f.memory, 2, 7, 50, 2); /* after a restart nothing has been heard yet */
    memory_store(f.memory);
    test_env_run(f.loop);
    UNIT_UINT(test_env_changes(f.loop), before);
    UNIT_UINT(held(f.memory, 2, 7), 100);
    UNIT_UINT(memory_of(f.memory, 2, 7)->term, 3);
    learn(f.memory, 2, 7, 100, 4);
    memory_store(f.memory);
    test_env_run(f.loop);
    UNIT_TRUE(test_env_changes(f.loop) > before);
    learn(f.memory, 2, 9, 5, 4);
    memory_store(f.memory);
    fix_close(&f);
    fix_open(&f);
    UNIT_UINT(held(f.memory, 2, 9), 5);
    UNIT_TRUE(memory_of(f.memory, 2, 7) == NULL);
    fix_close(&f);
}

static void damage(off_t at)
{
    char path[500];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/peers", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    UNIT_TRUE(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 0x10;
    UNIT_TRUE(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static void what_is_damaged_is_not_used(void)
{
    struct fix f;
    size_t n;
    new_dir();
    fix_open(&f);
    learn(f.memory, 2, 7, 100, 3); /* write 3, as two were made at the start: in slot 1 */
    memory_store(f.memory);
    learn(f.memory, 2, 7, 200, 3); /* write 4, in slot 0 */
    memory_store(f.memory);
    fix_close(&f);
    damage(40);
    fix_open(&f);
    UNIT_UINT(held(f.memory, 2, 7), 100);
    fix_close(&f);
    damage(ENV_BLOCK + 40);
    fix_open(&f);
    UNIT_TRUE(memory_rows(f.memory, &n) && n == 0);
    learn(f.memory, 2, 7, 300, 3); /* and it is mended */
    memory_store(f.memory);
    fix_close(&f);
    fix_open(&f);
    UNIT_UINT(held(f.memory, 2, 7), 300);
    fix_close(&f);
}

/* In a process of its own, whose call `fail_at` fails. *rounds: so many were done. */
static int life(uint64_t fail_at, unsigned *rounds)
{
    int fds[2], status = -1, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    char byte;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct fix f = {.loop = test_env_new(1)};
        struct errmsg em;
        test_env_fatal_to(f.loop, null);
        test_env_fail(f.loop, fail_at, EIO, true);
        if (open_in(&f, &em)) {
            _exit(1);
        }
        for (unsigned i = 1; i <= ROUNDS; i++) {
            learn(f.memory, 2, 7, i * 100, i);
            memory_store(f.memory);
            test_env_run(f.loop);
            if (write(fds[1], "x", 1) != 1) {
                _exit(2);
            }
        }
        _exit(0);
    }
    close(fds[1]);
    close(null);
    for (*rounds = 0; read(fds[0], &byte, 1) == 1;) {
        ++*rounds;
    }
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_call_that_fails_ends_the_node(void)
{
    unsigned rounds, failed = 0;
    for (uint64_t at = 1; at < 20; at++) {
        struct fix f;
        new_dir();
        int end = life(at, &rounds);
        failed += end == 1 || end == TEST_ENV_FATAL;
        UNIT_TRUE(end == 1 || end == TEST_ENV_FATAL || (end == 0 && rounds == ROUNDS));
        fix_open(&f);
        uint64_t is = held(f.memory, 2, 7);
        UNIT_TRUE(is == rounds * 100 || is == (rounds + 1) * 100);
        fix_close(&f);
    }
    UNIT_TRUE(failed > ROUNDS);
}

/* ---- on the simulator's disk ---- */

struct sim_rounds {
    unsigned done;
    uint64_t held;
};

static struct memory *sim_open(const struct sim_life *life, struct env **writer)
{
    struct memory *m = NULL;
    struct errmsg em = {""};
    UNIT_INT(env_make_dir(life->env, "/", "d", &em), 0);
    UNIT_INT(env_spawn(life->env, "writer", writer), 0);
    UNIT_INT(memory_open(life->env, "/d", *writer, &m, &em), 0);
    return m;
}

static void sim_round(const struct sim_life *life, void *arg)
{
    struct sim_rounds *rounds = arg;
    struct env *writer;
    struct memory *m = sim_open(life, &writer);
    learn(m, 2, 7, 100 * (rounds->done + 1), 1);
    memory_store(m);
    env_join(writer);
    memory_close(m);
    rounds->done += !sim_process_is_ghost(life->process);
}

static void sim_look(const struct sim_life *life, void *arg)
{
    struct env *writer;
    struct memory *m = sim_open(life, &writer);
    ((struct sim_rounds *)arg)->held = held(m, 2, 7);
    env_join(writer);
    memory_close(m);
}

static void a_crash_forgets_nothing_that_was_stored(void)
{
    unsigned crashed = 0;
    for (uint64_t at = 1; at < STEPS_MAX; at++) {
        struct sim *sim = sim_new(unit_seed() + at);
        struct sim_host *host = sim_host_new(sim, "a");
        struct sim_rounds rounds = {0};
        sim_crash_after(host, at, at % 2 ? SIM_POWER : SIM_KILL);
        for (unsigned i = 0; i < ROUNDS; i++) {
            crashed += !sim_life(host, sim_round, &rounds);
        }
        sim_crash_after(host, 0, SIM_KILL);
        sim_crash(host, SIM_POWER);
        UNIT_TRUE(sim_life(host, sim_look, &rounds));
        UNIT_TRUE(rounds.held == rounds.done * 100 || rounds.held == (rounds.done + 1) * 100); /* the last round's may have come before the crash */
        UNIT_TRUE(rounds.done >= ROUNDS - 1 && !sim_failed(sim));
        sim_free(sim);
    }
    UNIT_TRUE(crashed > STEPS_MAX / 2);
}

UNIT_MAIN("memory", UNIT_TEST(it_is_there_at_the_next_start), UNIT_TEST(less_is_no_news), UNIT_TEST(what_is_damaged_is_not_used),
          UNIT_TEST(a_crash_forgets_nothing_that_was_stored), UNIT_TEST(a_call_that_fails_ends_the_node))
