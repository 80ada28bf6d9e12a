/* env_test.c: see env_test.h. Streams and listeners are not there: a call through their NULL entry stops a test at once. A timer that runs is
 * one more thing that may come next, whatever its time. */
#include "tests/unit/env_test.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct test_env {
    struct env env;
    struct world *world;
    struct test_env *next;
    struct env_msg *head, **tail;
    bool worker, held;
};

struct timer {
    struct timer *next;
    struct env_timer *timer;
    bool runs;
};

struct world {
    struct test_env *envs; /* the root is the last */
    struct timer *timers;
    uint64_t random;
    uint64_t now;
    uint64_t changes;
    uint64_t calls, fail_at;
    int fail_with;
    bool fail_for_good, failed;
    unsigned open_files;
    int fatal_fd;
};

struct env_file {
    struct env_stream_head head;
    int fd;
    char *path;
};

static struct world *world_of(struct env *env)
{
    return ((struct test_env *)env->impl)->world;
}

static uint64_t next_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

/* ---- the disk ------------------------------------------------------------------------------------------ */

/* Each call begins with it. 0, or how it fails. */
static int attempt(struct env *env, bool changes, const char *path, struct errmsg *em)
{
    struct world *w = world_of(env);
    w->calls++;
    if (w->calls == w->fail_at || (w->failed && w->fail_for_good && changes)) {
        w->failed = true;
        return err_errno(em, w->fail_with, "%s", path);
    }
    return 0;
}

static void change(struct env *env)
{
    world_of(env)->changes++;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static int file_open(struct env *env, const char *path, int flags, struct env_file **out, struct errmsg *em)
{
    int how = flags & ENV_WRITE ? O_RDWR : O_RDONLY;
    int rv = attempt(env, flags & ENV_WRITE, path, em);
    if (rv) {
        return rv;
    }
    how |= (flags & ENV_CREATE ? O_CREAT : 0) | (flags & ENV_EXCL ? O_EXCL : 0) |
           (flags & ENV_TRUNC ? O_TRUNC : 0);
    if (flags & (ENV_CREATE | ENV_TRUNC)) {
        change(env);
    }
    int fd = open(path, how | O_CLOEXEC, 0600);
    if (fd < 0) {
        return err_errno(em, errno, "%s", path);
    }
    struct env_file *f = mem_new(sizeof *f);
    f->head.env = env;
    f->fd = fd;
    f->path = mem_str(path);
    world_of(env)->open_files++;
    *out = f;
    return 0;
}

static int file_pread(struct env_file *f, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em)
{
    int rv = attempt(f->head.env, false, f->path, em);
    *got = 0;
    if (rv) {
        return rv;
    }
    while (*got < n) {
        ssize_t k = pread(f->fd, (char *)data + *got, n - *got, (off_t)(at + *got));
        if (k < 0) {
            return err_errno(em, errno, "%s", f->path);
        }
        if (k == 0) {
            break;
        }
        *got += (size_t)k;
    }
    return 0;
}

/* Zeros behind the end become a hole: a file of gigabytes for tests. */
static bool make_hole(int fd, const uint8_t *data, size_t n, uint64_t at)
{
    struct stat st;
    return n >= 1 << 20 && data[0] == 0 && memcmp(data, data + 1, n - 1) == 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size <= at &&
           ftruncate(fd, (off_t)(at + n)) == 0;
}

static int file_pwrite(struct env_file *f, const void *data, size_t n, uint64_t at, struct errmsg *em)
{
    int rv = attempt(f->head.env, true, f->path, em);
    change(f->head.env);
    if (rv) {
        CHECK(pwrite(f->fd, data, n / 2, (off_t)at) == (ssize_t)(n / 2));
        return rv;
    }
    return make_hole(f->fd, data, n, at) || pwrite(f->fd, data, n, (off_t)at) == (ssize_t)n ? 0 : err_errno(em, errno, "%s", f->path);
}

static int file_sync(struct env_file *f, struct errmsg *em)
{
    int rv = attempt(f->head.env, true, f->path, em);
    if (rv) {
        return rv;
    }
    change(f->head.env);
    return 0;
}

static int file_truncate(struct env_file *f, uint64_t size, struct errmsg *em)
{
    int rv = attempt(f->head.env, true, f->path, em);
    if (rv) {
        return rv;
    }
    change(f->head.env);
    return ftruncate(f->fd, (off_t)size) ? err_errno(em, errno, "%s", f->path) : 0;
}

static int file_size(struct env_file *f, uint64_t *size, struct errmsg *em)
{
    struct stat st;
    int rv = attempt(f->head.env, false, f->path, em);
    if (rv) {
        return rv;
    }
    if (fstat(f->fd, &st)) {
        return err_errno(em, errno, "%s", f->path);
    }
    *size = (uint64_t)st.st_size;
    return 0;
}

static void file_close(struct env_file *f)
{
    world_of(f->head.env)->open_files--;
    close(f->fd);
    mem_free(f->path);
    mem_free(f);
}

static int file_rename(struct env *env, const char *from, const char *to, struct errmsg *em)
{
    int rv = attempt(env, true, from, em);
    if (rv) {
        return rv;
    }
    change(env);
    if (rename(from, to)) {
        return err_errno(em, errno, "%s", from);
    }
    return 0;
}

static int file_unlink(struct env *env, const char *path, struct errmsg *em)
{
    int rv = attempt(env, true, path, em);
    if (rv) {
        return rv;
    }
    change(env);
    return unlink(path) ? err_errno(em, errno, "%s", path) : 0;
}

static int dir_make(struct env *env, const char *path, struct errmsg *em)
{
    int rv = attempt(env, true, path, em);
    if (rv) {
        return rv;
    }
    change(env);
    return mkdir(path, 0700) ? err_errno(em, errno, "%s", path) : 0;
}

static int dir_sync(struct env *env, const char *path, struct errmsg *em)
{
    int rv = attempt(env, true, path, em);
    if (rv) {
        return rv;
    }
    change(env);
    return 0;
}

static int dir_list(struct env *env, const char *path, void (*entry)(void *, const char *), void *arg,
                    struct errmsg *em)
{
    struct dirent **found;
    int rv = attempt(env, false, path, em);
    if (rv) {
        return rv;
    }
    int n = scandir(path, &found, NULL, alphasort);
    if (n < 0) {
        return err_errno(em, errno, "%s", path);
    }
    for (int i = 0; i < n; i++) {
        if (strcmp(found[i]->d_name, ".") != 0 && strcmp(found[i]->d_name, "..") != 0) {
            world_of(env)->calls++;
            entry(arg, found[i]->d_name);
        }
        free(found[i]);
    }
    free(found);
    return 0;
}

/* ---- the rest of the table ----------------------------------------------------------------------------- */

static uint64_t world_now(struct env *env)
{
    return world_of(env)->now += ENV_MS;
}

static uint64_t world_wall(struct env *env)
{
    return world_now(env) / 1000;
}

static void world_random(struct env *env, void *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)data)[i] = (uint8_t)next_random(world_of(env));
    }
}

static void world_log(struct env *env, enum env_level level, const char *line)
{
    if (getenv("TEST_ENV_LOG")) {
        fprintf(stderr, "%s %d %s\n", env->name, (int)level, line);
    }
}

static void world_fatal(struct env *env, const char *line)
{
    int fd = world_of(env)->fatal_fd;
    dprintf(fd < 0 ? 2 : fd, "%s\n", line);
    _exit(TEST_ENV_FATAL);
}

static void env_post_msg(struct env *to, struct env_msg *msg)
{
    struct test_env *t = to->impl;
    msg->next = NULL;
    *t->tail = msg;
    t->tail = &msg->next;
}

static int timer_open(struct env_timer *timer)
{
    struct world *w = world_of(timer->env);
    struct timer *t = mem_new(sizeof *t);
    *t = (struct timer){.next = w->timers, .timer = timer};
    w->timers = t;
    timer->impl = t;
    return 0;
}

static void timer_start(struct env_timer *timer, uint64_t ns)
{
    (void)ns;
    ((struct timer *)timer->impl)->runs = true;
}

static void timer_stop(struct env_timer *timer)
{
    ((struct timer *)timer->impl)->runs = false;
}

static void timer_close(struct env_timer *timer)
{
    struct timer **at = &world_of(timer->env)->timers;
    while (*at != timer->impl) {
        at = &(*at)->next;
    }
    *at = (*at)->next;
    mem_free(timer->impl);
}

static struct test_env *add_env(struct world *w, const char *name);

static int env_spawn_child(struct env *env, const char *name, struct env **child)
{
    *child = &add_env(world_of(env), name)->env;
    return 0;
}

static void run_one(struct test_env *t)
{
    struct env_msg *msg = t->head;
    t->head = msg->next;
    if (!t->head) {
        t->tail = &t->head;
    }
    msg->run(msg);
}

static void env_join_child(struct env *child)
{
    struct test_env *t = child->impl;
    while (t->head) {
        run_one(t);
    }
    struct test_env **at = &t->world->envs;
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    mem_free(t);
}

static const struct env_ops ops = {
    .now = world_now,
    .wall = world_wall,
    .random = world_random,
    .log = world_log,
    .fatal = world_fatal,
    .spawn = env_spawn_child,
    .join = env_join_child,
    .post = env_post_msg,
    .timer_open = timer_open,
    .timer_start = timer_start,
    .timer_stop = timer_stop,
    .timer_close = timer_close,
    .open = file_open,
    .pread = file_pread,
    .pwrite = file_pwrite,
    .sync = file_sync,
    .truncate = file_truncate,
    .size = file_size,
    .close = file_close,
    .rename = file_rename,
    .unlink = file_unlink,
    .mkdir = dir_make,
    .sync_dir = dir_sync,
    .list_dir = dir_list,
};

static struct test_env *add_env(struct world *w, const char *name)
{
    struct test_env *t = mem_new(sizeof *t);
    t->env = (struct env){.ops = &ops, .name = name, .level = ENV_DEBUG, .impl = t};
    t->world = w;
    t->tail = &t->head;
    t->next = w->envs;
    w->envs = t;
    return t;
}

/* ---- the test's side ----------------------------------------------------------------------------------- */

struct env *test_env_new(uint64_t seed)
{
    struct world *w = mem_new(sizeof *w);
    w->random = seed * 0x9e3779b97f4a7c15u + 1;
    w->fatal_fd = -1;
    return &add_env(w, "loop")->env;
}

void test_env_free(struct env *root)
{
    struct world *w = world_of(root);
    CHECK(!w->timers);
    while (w->envs) {
        struct test_env *t = w->envs;
        CHECK(!t->head && (t->worker || !t->next)); /* all messages ran, all children were joined */
        w->envs = t->next;
        mem_free(t);
    }
    mem_free(w);
}

struct env *test_env_worker(struct env *root, const char *name)
{
    struct test_env *t = add_env(world_of(root), name);
    t->worker = true;
    return &t->env;
}

void test_env_hold(struct env *root, const char *name, bool hold)
{
    for (struct test_env *t = world_of(root)->envs; t; t = t->next) {
        t->held = strcmp(t->env.name, name) ? t->held : hold;
    }
}

bool test_env_step(struct env *root)
{
    struct world *w = world_of(root);
    struct test_env *ready[16];
    size_t n = 0;
    for (struct test_env *t = w->envs; t && n < 16; t = t->next) {
        if (t->head && !t->held) {
            ready[n++] = t;
        }
    }
    struct timer *due = NULL;
    for (struct timer *t = w->timers; t && !due; t = t->next) {
        due = t->runs ? t : NULL;
    }
    size_t pick = n || due ? next_random(w) % (n + (due != NULL)) : 0;
    if (pick < n) {
        run_one(ready[pick]);
    } else if (due) {
        due->runs = false;
        due->timer->fired(due->timer);
    }
    return n || due;
}

void test_env_run(struct env *root)
{
    while (test_env_step(root)) {
    }
}

uint64_t test_env_changes(struct env *root)
{
    return world_of(root)->changes;
}

uint64_t test_env_calls(struct env *root)
{
    return world_of(root)->calls;
}

void test_env_fail(struct env *root, uint64_t at, int errnum, bool for_good)
{
    world_of(root)->fail_at = at;
    world_of(root)->fail_with = errnum;
    world_of(root)->fail_for_good = for_good;
}

bool test_env_failed(struct env *root)
{
    return world_of(root)->failed;
}

unsigned test_env_open_files(struct env *root)
{
    return world_of(root)->open_files;
}

void test_env_fatal_to(struct env *root, int fd)
{
    world_of(root)->fatal_fd = fd;
}
