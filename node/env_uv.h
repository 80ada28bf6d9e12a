/* env_uv.h: the real implementation of env.h, with libuv and POSIX.
 *
 * env_uv_main makes the env of the calling thread; all others come from env_spawn. Owner: the caller, who
 * ends it with env_uv_free when every timer, stream and listener of it is closed and every child joined. All
 * calls here on the main env's thread. */
#ifndef HOLDFAST_NODE_ENV_UV_H
#define HOLDFAST_NODE_ENV_UV_H

#include "protocol/base/env.h"

/* Ignores SIGPIPE from here on. NULL when the system has no descriptors or memory left (errno says which). */
struct env *env_uv_main(enum env_level level);

/* Runs the loop until env_uv_stop is called (before or during the run, from the env's thread). May be run
 * again. */
void env_uv_run(struct env *env);
void env_uv_stop(struct env *env);

/* Runs what was posted, waits for closed streams whose last bytes are still leaving (a second at most; longer
 * only for a name whose resolution cannot be called off), frees the env. */
void env_uv_free(struct env *env);

/* The log's level, of this env and of all that it spawned, also later. */
void env_uv_set_level(struct env *env, enum env_level level);

/* cb runs on the loop each time the process gets `signum`, until the env is freed. */
int env_uv_signal(struct env *env, int signum, void (*cb)(void *arg, int signum), void *arg);

#endif
