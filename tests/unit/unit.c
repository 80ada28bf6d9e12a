/*
 * unit: runs the tests of one program through CUnit and prints the lines that tests/run reads.
 *
 * Happy path: for each test "start NAME", then "ok NAME"; the exit status is 0.
 * Failure: what failed, as file:line, and "not ok NAME"; the other tests still run and the status is 1. A
 * crash leaves a "start" without an outcome, by which tests/run names the test. Wrong use (no test matches,
 * CUnit cannot start): 2.
 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <CUnit/TestRun.h>

#define SHOWN_BYTES 16 /* of a buffer, on each side of the first difference */

static const char *skip_reason; /* of the test that runs now */
static char own_tmpdir[64];     /* empty: none made */

void unit_skip(const char *reason)
{
    skip_reason = reason;
}

uint64_t unit_seed(void)
{
    const char *seed = getenv("SEED");

    return seed != NULL && *seed != '\0' ? strtoull(seed, NULL, 0) : 1;
}

const char *unit_srcdir(void)
{
    const char *dir = getenv("HOLDFAST_SRCDIR");

    return dir != NULL && *dir != '\0' ? dir : ".";
}

static void drop_own_tmpdir(void)
{
    rmdir(own_tmpdir); /* stays, on purpose, if a test left something in it */
}

const char *unit_tmpdir(void)
{
    const char *given = getenv("HOLDFAST_TEST_TMP");

    if (given != NULL && *given != '\0') {
        return given;
    }
    if (own_tmpdir[0] == '\0') {
        snprintf(own_tmpdir, sizeof(own_tmpdir), "/tmp/holdfast-test.XXXXXX");
        if (mkdtemp(own_tmpdir) == NULL) {
            perror(own_tmpdir);
            abort();
        }
        atexit(drop_own_tmpdir);
    }
    return own_tmpdir;
}

/* ---- assertions ---------------------------------------------------------------------------------------- */

static bool settle(bool held, const char *text, const char *file, unsigned line, bool fatal)
{
    CU_assertImplementation(held ? CU_TRUE : CU_FALSE, line, text, file, "", fatal ? CU_TRUE : CU_FALSE);
    return held;
}

bool unit_true(bool held, const char *what, const char *file, unsigned line, bool fatal)
{
    return settle(held, what, file, line, fatal);
}

bool unit_int(long long got, long long want, const char *what, const char *file, unsigned line)
{
    char text[512];

    snprintf(text, sizeof(text), "%s: got %lld, want %lld", what, got, want);
    return settle(got == want, text, file, line, false);
}

bool unit_uint(unsigned long long got, unsigned long long want, const char *what, const char *file,
               unsigned line)
{
    char text[512];

    snprintf(text, sizeof(text), "%s: got %llu (0x%llx), want %llu (0x%llx)", what, got, got, want, want);
    return settle(got == want, text, file, line, false);
}

bool unit_str(const char *got, const char *want, const char *what, const char *file, unsigned line)
{
    bool held = got == NULL || want == NULL ? got == want : strcmp(got, want) == 0;
    char text[1024];

    snprintf(text, sizeof(text), "%s: got \"%s\", want \"%s\"", what, got != NULL ? got : "(NULL)",
             want != NULL ? want : "(NULL)");
    return settle(held, text, file, line, false);
}

static void show_bytes(char *out, size_t size, const unsigned char *bytes, size_t from, size_t to)
{
    size_t used = 0;

    for (size_t i = from; i < to && used + 4 <= size; i++) {
        used += (size_t)snprintf(out + used, size - used, " %02x", bytes[i]);
    }
}

bool unit_mem(const void *got, const void *want, size_t len, const char *what, const char *file,
              unsigned line)
{
    const unsigned char *a = got;
    const unsigned char *b = want;
    char text[512], left[128] = "", right[128] = "";
    size_t at = 0, from, to;

    if (a == NULL || b == NULL) {
        snprintf(text, sizeof(text), "%s: %s is NULL", what, a == NULL ? "what we got" : "what we want");
        return settle(len == 0, text, file, line, false);
    }
    while (at < len && a[at] == b[at]) {
        at++;
    }
    from = at > SHOWN_BYTES ? at - SHOWN_BYTES : 0;
    to = len - at > SHOWN_BYTES ? at + SHOWN_BYTES : len;
    show_bytes(left, sizeof(left), a, from, to);
    show_bytes(right, sizeof(right), b, from, to);
    snprintf(text, sizeof(text), "%s: differs at byte %zu of %zu; from byte %zu: got%s, want%s", what, at,
             len, from, left, right);
    return settle(at == len, text, file, line, false);
}

/* ---- running ------------------------------------------------------------------------------------------- */

/* Runs one test; true if it passed or was skipped. */
static bool run_one(CU_pSuite suite, CU_pTest test)
{
    const char *name = test->pName;
    bool failed;

    printf("start %s\n", name);
    fflush(stdout);
    skip_reason = NULL;
    if (CU_run_test(suite, test) != CUE_SUCCESS) {
        printf("not ok %s %s\n", name, CU_get_error_msg());
        return false;
    }
    for (CU_pFailureRecord f = CU_get_failure_list(); f != NULL; f = f->pNext) {
        printf("%s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
    }
    failed = CU_get_number_of_failures() != 0;
    if (failed) {
        printf("not ok %s\n", name);
    } else if (skip_reason != NULL) {
        printf("skip %s %s\n", name, skip_reason);
    } else if (CU_get_number_of_asserts() == 0) {
        printf("not ok %s asserts nothing\n", name);
        failed = true;
    } else {
        printf("ok %s\n", name);
    }
    fflush(stdout);
    return !failed;
}

static CU_pTest add_test(CU_pSuite suite, const struct unit_test *test)
{
    CU_pTest added = CU_add_test(suite, test->name, test->run);

    if (added == NULL || CU_get_error() != CUE_SUCCESS) { /* a name given twice comes back as an error */
        fprintf(stderr, "cannot add test %s: %s\n", test->name, CU_get_error_msg());
        return NULL;
    }
    return added;
}

int unit_run(const char *suite_name, const struct unit_test *tests, size_t n, int argc, char **argv)
{
    const char *filter = argc > 1 ? argv[1] : getenv("T");
    CU_pSuite suite;
    size_t ran = 0;
    bool all_ok = true;

    if (CU_initialize_registry() != CUE_SUCCESS ||
        (suite = CU_add_suite(suite_name, NULL, NULL)) == NULL) {
        fprintf(stderr, "CUnit does not start: %s\n", CU_get_error_msg());
        return 2;
    }
    CU_set_error_action(CUEA_IGNORE);
    for (size_t i = 0; i < n; i++) {
        if (filter != NULL && strcmp(filter, "-l") == 0) {
            puts(tests[i].name);
            ran++;
        } else if (filter == NULL || strstr(tests[i].name, filter) != NULL) {
            CU_pTest test = add_test(suite, &tests[i]);

            if (test == NULL) {
                return 2;
            }
            all_ok = run_one(suite, test) && all_ok;
            ran++;
        }
    }
    CU_cleanup_registry();
    if (ran == 0 && filter != NULL) {
        fprintf(stderr, "%s: no test matches %s\n", suite_name, filter);
        return 2;
    }
    return all_ok ? 0 : 1;
}
