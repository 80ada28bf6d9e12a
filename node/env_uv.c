/* env_uv.c: the table of env.h for the real world, and the main env.
 *
 * Happy path: main.c makes the main env, adds signals, opens what it needs, runs the loop; a signal's
 * callback closes everything and stops it. Clocks, random and log lines are here too: they may be used from
 * any thread.
 *
 * Failure: without a clock or random numbers the process ends. A log line that cannot be written is lost;
 * nobody waits for it. */
#include "node/env_uv.h"

#include "node/env_uv_impl.h"
#include "protocol/base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_BYTES = 4096 };

static uint64_t clock_now(struct env *env)
{
    struct timespec t;
    (void)env;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * ENV_S + (uint64_t)t.tv_nsec;
}

static uint64_t clock_wall(struct env *env)
{
    struct timespec t;
    (void)env;
    CHECK(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void random_bytes(struct env *env, void *data, size_t n)
{
    uint8_t *to = data;
    (void)env;
    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);
        CHECK(got > 0 || (got < 0 && errno == EINTR));
        if (got > 0) {
            to += got;
            n -= (size_t)got;
        }
    }
}

/* One write, so that lines of several threads do not mix. Control characters become spaces: what a peer sent
 * cannot forge a line. */
static void log_line(struct env *env, enum env_level level, const char *line)
{
    static const char *const names[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};
    char out[LOG_LINE_BYTES];
    uint64_t wall = clock_wall(env);
    time_t seconds = (time_t)(wall / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    int n = snprintf(out, sizeof out - 1, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ %s %s: %s", tm.tm_year + 1900,
                     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     (unsigned)(wall / 1000 % 1000), names[level], env->name, line);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len > sizeof out - 2) {
        len = sizeof out - 2;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)out[i] < ' ' || out[i] == 0x7f) {
            out[i] = ' ';
        }
    }
    out[len++] = '\n';
    while (write(STDERR_FILENO, out, len) < 0 && errno == EINTR) {
    }
}

static void fatal_line(struct env *env, const char *line)
{
    log_line(env, ENV_ERROR, line);
    fflush(stdout);
    _exit(1);
}

const struct env_ops env_uv_ops = {
    .now = clock_now,
    .wall = clock_wall,
    .random = random_bytes,
    .log = log_line,
    .fatal = fatal_line,
    .spawn = loop_spawn,
    .join = loop_join,
    .post = loop_post,
    .post_lazily = loop_post_lazily,
    .background = loop_background,
    .timer_open = timer_open,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_close = timer_close,
    .connect = stream_connect,
    .listen = listener_open,
    .listener_close = listener_close,
    .listener_addr = listener_addr,
    .attach = stream_attach,
    .socket_close = socket_close,
    .socket_peer = socket_peer,
    .stream_write = stream_write,
    .stream_pending = stream_pending,
    .stream_pause = stream_pause,
    .stream_close = stream_close,
    .open = file_open,
    .pread = file_pread,
    .pwrite = file_pwrite,
    .hint = file_hint,
    .sync = file_sync,
    .truncate = file_truncate,
    .size = file_size,
    .close = file_close,
    .rename = file_rename,
    .unlink = file_unlink,
    .mkdir = file_mkdir,
    .sync_dir = file_sync_dir,
    .list_dir = file_list_dir,
};

/* ---- the main env ---------------------------------------------------------------------------- */

struct env *env_uv_main(enum env_level level)
{
    signal(SIGPIPE, SIG_IGN); /* a peer that went away is an error of its stream, not of the process */
    struct loop *l = mem_new(sizeof *l);
    int error = loop_init(l, "main", level);
    if (error) {
        mem_free(l);
        errno = error;
        return NULL;
    }
    loop_take(l);
    return &l->env;
}

void env_uv_run(struct env *env)
{
    struct loop *l = loop_of(env);
    loop_check(l);
    while (!l->stopped) {
        uv_run(&l->uv, UV_RUN_DEFAULT);
    }
    l->stopped = false;
}

void env_uv_stop(struct env *env)
{
    struct loop *l = loop_of(env);
    loop_check(l);
    l->stopped = true;
    uv_stop(&l->uv);
}

void env_uv_free(struct env *env)
{
    struct loop *l = loop_of(env);
    CHECK(!l->parent);
    loop_end(l);
    mem_free(l);
}

static void signal_arrived(uv_signal_t *handle, int signum)
{
    struct loop_signal *s = CONTAINER_OF(handle, struct loop_signal, handle);
    s->cb(s->arg, signum);
}

int env_uv_signal(struct env *env, int signum, void (*cb)(void *arg, int signum), void *arg)
{
    struct loop *l = loop_of(env);
    loop_check(l);
    struct loop_signal *s = mem_new(sizeof *s);
    s->cb = cb;
    s->arg = arg;
    if (uv_signal_init(&l->uv, &s->handle)) {
        mem_free(s);
        return E_NOMEM;
    }
    s->next = l->signals; /* closed in loop_end, also if the start fails */
    l->signals = s;
    int rv = uv_signal_start(&s->handle, signal_arrived, signum);
    return rv ? err_errno(NULL, -rv, "signal") : 0;
}
