/* env_test.h: an env for tests: real files, no clock, no streams, one thread.
 *
 * Each env is a queue of messages; test_env_run takes from a queue chosen by the seed (or lets a timer fire) until all are empty, so
 * a test sees many orders and each of them again. For crashes see lives.h. */
#ifndef TESTS_UNIT_ENV_TEST_H
#define TESTS_UNIT_ENV_TEST_H

#include "protocol/base/env.h"

enum {
    TEST_ENV_FATAL = 78 /* exit code of the process (fork first) */
};

/* The root of a world of envs. Those spawned from it end with env_join. */
struct env *test_env_new(uint64_t seed);
void test_env_free(struct env *root);

/* One more env beside the root, for workers; freed with test_env_free. */
struct env *test_env_worker(struct env *root, const char *name);

void test_env_run(struct env *root);  /* until nothing is queued */
bool test_env_step(struct env *root); /* one message; false when none is queued */

/* What is posted to the envs of this name waits until they are not held any more. */
void test_env_hold(struct env *root, const char *name, bool hold);

/* Calls that changed a file or a directory so far. */
uint64_t test_env_changes(struct env *root);

/* Calls for files and directories so far, also those that only look; each name that a listing gave counts too. */
uint64_t test_env_calls(struct env *root);

/* Call number `at`, counted from 1 over all, fails with this errno; `for_good`: all that change something after it,
 * too. A write that fails has written half. False from test_env_failed: it was not reached. */
void test_env_fail(struct env *root, uint64_t at, int errnum, bool for_good);
bool test_env_failed(struct env *root);

/* Files open now: 0 at the end of a test. */
unsigned test_env_open_files(struct env *root);

/* env_fatal ends the process with TEST_ENV_FATAL after writing the line to this descriptor (-1: stderr). */
void test_env_fatal_to(struct env *root, int fd);

#endif
