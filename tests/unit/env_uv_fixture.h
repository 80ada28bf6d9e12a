/* env_uv_fixture.h: a main env for one test at a time, for the tests of env_uv.
 *
 * begin() makes it, run() runs it until env_uv_stop, end() frees it and asserts that no descriptor is left. A
 * test that hangs is ended by a timer and fails. To be included once in a program. */
#ifndef TESTS_UNIT_ENV_UV_FIXTURE_H
#define TESTS_UNIT_ENV_UV_FIXTURE_H

#include "node/env_uv.h"
#include "tests/unit/unit.h"

#include <dirent.h>

enum { PATIENCE_S = 20 };

static struct env *env;
static struct env_timer watchdog;
static bool timed_out;
static size_t fds_before;

static inline size_t fd_count(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir)) {
        n++;
    }
    closedir(dir);
    return n;
}

static inline void gave_up(struct env_timer *timer)
{
    (void)timer;
    timed_out = true;
    env_uv_stop(env);
}

static inline void begin(void)
{
    static bool warm;
    if (!warm) { /* libuv keeps a few descriptors of its own for the whole process */
        struct env *first = env_uv_main(ENV_WARN);
        env_uv_free(first);
        warm = true;
    }
    fds_before = fd_count();
    timed_out = false;
    env = env_uv_main(ENV_WARN);
    UNIT_REQUIRE(env != NULL);
    env_timer_open(env, &watchdog, gave_up);
}

static inline void run(void)
{
    env_timer_start(&watchdog, PATIENCE_S * ENV_S);
    env_uv_run(env);
    UNIT_TRUE(!timed_out);
}

static inline void end(void)
{
    env_timer_close(&watchdog);
    env_uv_free(env);
    UNIT_UINT(fd_count(), fds_before);
}

/* Lets the loop run for a while. */
static inline void after_pause(struct env_timer *timer)
{
    (void)timer;
    env_uv_stop(env);
}

static inline void run_for(uint64_t ns)
{
    struct env_timer t;
    env_timer_open(env, &t, after_pause);
    env_timer_start(&t, ns);
    run();
    env_timer_close(&t);
}

/* Runs the loop until cond holds, with patience. */
#define WAIT_FOR(cond)                                                                                       \
    do {                                                                                                     \
        uint64_t wait_end = env_now(env) + PATIENCE_S * ENV_S;                                               \
        while (!(cond) && env_now(env) < wait_end) {                                                         \
            run_for(ENV_MS);                                                                                 \
        }                                                                                                    \
        UNIT_TRUE(cond);                                                                                     \
    } while (0)

#endif
