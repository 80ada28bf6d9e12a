/* memory_env.h: an env whose files lie in memory: fast enough for a fuzzer.
 *
 * Directories are there when something stands in them or when they were made. Zeros at the end of a file take
 * no memory. Envs spawned from it share one queue, which memory_env_run empties. Timers and streams: see
 * memory_net.h. env_fatal ends the process: for a fuzzer that is a finding. */
#ifndef TESTS_FUZZ_MEMORY_ENV_H
#define TESTS_FUZZ_MEMORY_ENV_H

#include "protocol/base/env.h"

struct env *memory_env_new(void);
void memory_env_free(struct env *env); /* all files are closed, all children joined (CHECKed) */
void memory_env_run(struct env *env);

/* A file of `size` bytes: the n given, then zeros. */
void memory_env_put(struct env *env, const char *path, const void *data, size_t n, uint64_t size);

/* Its bytes without the zeros at its end; NULL when it is not there. */
const uint8_t *memory_env_get(struct env *env, const char *path, size_t *n);

/* A checksum over the names, sizes and bytes of all files whose names hold `part`. */
uint32_t memory_env_digest(struct env *env, const char *part);

#endif
