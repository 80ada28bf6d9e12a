/*
 * unit: a thin layer over CUnit. A test program is one file that lists its tests:
 *
 *     static void parses_empty_set(void)
 *     {
 *         UNIT_INT(parse(""), 0);
 *     }
 *
 *     UNIT_MAIN("gtid", UNIT_TEST(parses_empty_set), UNIT_TEST(refuses_garbage))
 *
 * It prints the lines that tests/run reads (described there) and takes part of a name as its only argument,
 * or in the environment as T: only the tests whose names contain it run. "-l" lists the names.
 *
 * All of CUnit's CU_ASSERT_* macros work too. Those here say what the values were. A test that asserts
 * nothing fails. One thread; assertions from other threads are not counted. Strings returned belong to the
 * layer.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <CUnit/CUnit.h>

struct unit_test {
    const char *name;
    void (*run)(void);
};

#define UNIT_TEST(fn) {#fn, fn}

#define UNIT_MAIN(suite, ...)                                                                      \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct unit_test unit_tests[] = {__VA_ARGS__};                                \
        return unit_run(suite, unit_tests, sizeof(unit_tests) / sizeof(unit_tests[0]), argc, argv); \
    }

/* Each gives true if the assertion held; the REQUIRE forms leave the test if it did not. */
#define UNIT_TRUE(cond) unit_true((cond), #cond, __FILE__, __LINE__, false)
#define UNIT_REQUIRE(cond) unit_true((cond), #cond, __FILE__, __LINE__, true)
#define UNIT_INT(got, want) unit_int((got), (want), #got, __FILE__, __LINE__)
#define UNIT_UINT(got, want) unit_uint((got), (want), #got, __FILE__, __LINE__)
#define UNIT_STR(got, want) unit_str((got), (want), #got, __FILE__, __LINE__)
#define UNIT_MEM(got, want, len) unit_mem((got), (want), (len), #got, __FILE__, __LINE__)

/* Leaves the test, which counts as skipped: what it needs is not there. */
#define UNIT_SKIP(reason)                                                                          \
    do {                                                                                           \
        unit_skip(reason);                                                                         \
        return;                                                                                    \
    } while (0)

int unit_run(const char *suite, const struct unit_test *tests, size_t n, int argc, char **argv);
void unit_skip(const char *reason);

/* The seed of this run (SEED, else 1): random tests start from it. */
uint64_t unit_seed(void);

/* The root of the source tree (HOLDFAST_SRCDIR, else "."), for data that tests read. */
const char *unit_srcdir(void);

/* An empty directory of this program's own, made by the first call. The name is short enough for a socket in
 * it. tests/run removes it; a program run by hand leaves it under /tmp if it is not empty. */
const char *unit_tmpdir(void);

bool unit_true(bool held, const char *what, const char *file, unsigned line, bool fatal);
bool unit_int(long long got, long long want, const char *what, const char *file, unsigned line);
bool unit_uint(unsigned long long got, unsigned long long want, const char *what, const char *file,
               unsigned line);
bool unit_str(const char *got, const char *want, const char *what, const char *file, unsigned line);
bool unit_mem(const void *got, const void *want, size_t len, const char *what, const char *file,
              unsigned line);

#endif
