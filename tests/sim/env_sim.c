/* env_sim.c: the simulated table: clocks, random, log, spawned envs, posts, timers. Files are in files.c,
 * streams in net.c.
 *
 * An env is a thread that is never preempted: sim_env_run runs one event on it. If the env is still busy with
 * an earlier one (its clock is ahead of the world's), the event waits until then. env_fatal leaves the
 * running callback by longjmp to sim_env_run: nothing of that process runs ever again. What it had allocated stays; a copy
 * of the stack that is left so keeps in reach what only that knew of, for who looks for leaks. */
#include "tests/sim/sim_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

#define US 1000ull
#define WALL_BEGIN_US 1790000000000000ull /* some day in 2026 */

static struct sim_env *env_of(struct env *env)
{
    return (struct sim_env *)env;
}

/* ---- running ------------------------------------------------------------------------------------------- */

/* A callback takes a little time even when it does nothing, so that a loop of posts cannot stop the world. */
static void spend(struct sim_env *env)
{
    env->clock += rng_between(&env->process->sched, 200, 3 * US);
}

void sim_env_run(struct sim *sim, struct event *event)
{
    struct sim_env *env = event->env;
    void (*fn)(void *) = event->fn;
    void *arg = event->arg;
    jmp_buf unwind;
    if (env->process->abandoned) {
        events_park(&sim->events, event);
        return;
    }
    if (env->clock > event->time || (env->held && env->held != event)) {
        events_wait(&sim->events, event);
        return;
    }
    env->held = NULL;
    env->clock = event->time;
    sim_hash_add(sim, event->time ^ (uint64_t)env->process->host->id << 56 ^ (uint64_t)env->id << 48 ^
                          (uint64_t)event->kind << 40);
    mem_free(event);
    sim->n_events++;
    sim->current = env;
    sim->unwind = &unwind;
    sim->base = __builtin_frame_address(0);
    if (setjmp(unwind) == 0) {
        fn(arg);
    }
    env = sim->current; /* not through a variable that longjmp may have spoiled; a join in between gave it
                           back */
    sim->current = NULL;
    sim->unwind = NULL;
    spend(env);
    events_next(&sim->events, env);
}

/* Word by word: what lies there is of functions that a sanitizer guards. */
__attribute__((noinline, no_sanitize("address", "undefined"))) static void copy_words(void **to, void *const *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
    }
}

static void keep_stack(struct sim_process *p)
{
    __builtin_unwind_init(); /* registers go onto it too */
    void **top = __builtin_frame_address(0), **base = p->sim->base;
    p->last_stack = mem_array((size_t)(base - top), sizeof *top);
    copy_words(p->last_stack, top, (size_t)(base - top));
}

static void op_fatal(struct env *env, const char *line)
{
    struct sim_process *p = env_of(env)->process;
    struct sim *sim = p->sim;
    char text[LOG_LINE_BYTES];
    snprintf(text, sizeof text, "FATAL (seed %llu) %.340s", (unsigned long long)sim->seed, line);
    sim_log_line(sim, env_of(env), ENV_ERROR, text);
    CHECK(sim->unwind && sim->current && sim->current->process == p);
    if (!p->ghost) {
        snprintf(p->host->last_words, sizeof p->host->last_words, "%.390s", line);
        process_die(p, SIM_KILL, sim_time(sim));
    }
    keep_stack(p);
    p->abandoned = true; /* its events stay where they are, what they hold can be reached so */
    longjmp(*sim->unwind, 1);
}

/* ---- clocks, random, log ------------------------------------------------------------------------------- */

static uint64_t op_now(struct env *env)
{
    struct sim_env *e = env_of(env);
    struct sim *sim = e->process->sim;
    uint64_t now = sim->current == e ? e->clock : sim_time(sim);
    return now + e->process->now_offset;
}

static uint64_t op_wall(struct env *env)
{
    struct sim_process *p = env_of(env)->process;
    return WALL_BEGIN_US + (uint64_t)p->host->wall_us + sim_time(p->sim) / US;
}

static void op_random(struct env *env, void *data, size_t n)
{
    rng_bytes(&env_of(env)->process->rng, data, n);
}

static void op_log(struct env *env, enum env_level level, const char *line)
{
    sim_log_line(env_of(env)->process->sim, env_of(env), level, line);
}

/* ---- envs ---------------------------------------------------------------------------------------------- */

struct sim_env *sim_env_new(struct sim_process *process, const char *name)
{
    struct sim_env *env = mem_new(sizeof *env);
    env->name = mem_str(name);
    env->env =
        (struct env){.ops = &sim_env_ops, .name = env->name, .level = process->sim->level, .impl = env};
    env->process = process;
    env->id = (unsigned)process->n_envs;
    env->clock = sim_time(process->sim);
    process->envs = mem_grow(process->envs, process->n_envs + 1, sizeof *process->envs);
    process->envs[process->n_envs++] = env;
    return env;
}

void sim_env_free(struct sim_env *env)
{
    mem_free(env->last_from);
    mem_free(env->name);
    mem_free(env);
}

static int op_spawn(struct env *env, const char *name, struct env **child)
{
    struct sim_env *parent = env_of(env);
    CHECK(parent->process->sim->current == parent);
    *child = &sim_env_new(parent->process, name)->env;
    return 0;
}

/* The env stays, marked, until its process is freed: a later use is caught. */
static void op_join(struct env *env)
{
    struct sim_env *child = env_of(env);
    struct sim *sim = child->process->sim;
    struct sim_env *parent = sim->current;
    struct event *event;
    CHECK(parent && parent != child && parent->process == child->process && !child->joined);
    if (child->clock < parent->clock) {
        child->clock = parent->clock;
    }
    sim->current = child;
    while ((event = events_take_for(&sim->events, child)) != NULL) {
        void (*fn)(void *) = event->fn;
        void *arg = event->arg;
        if (child->clock < event->time) {
            child->clock = event->time;
        }
        sim_hash_add(sim, child->clock ^ (uint64_t)child->id << 48 ^ (uint64_t)event->kind << 40);
        mem_free(event);
        fn(arg);
        spend(child);
    }
    sim->current = parent;
    CHECK(child->timers == 0 && child->streams == 0);
    child->joined = true;
    if (parent->clock < child->clock) {
        parent->clock = child->clock;
    }
}

static void run_msg(void *arg)
{
    struct env_msg *msg = arg;
    msg->next = NULL;
    msg->run(msg);
}

/* Mostly a few microseconds; now and then the other thread does not get a processor at once. In order per
 * sender. */
static uint64_t arrival(struct sim_env *to, size_t from, uint64_t now)
{
    struct rng *rng = &to->process->sched;
    uint64_t at = now + rng_between(rng, 1 * US, 20 * US);
    if (rng_chance(rng, 2)) {
        at += rng_between(rng, 50 * US, 3 * ENV_MS);
    }
    if (from >= to->last_from_n) {
        to->last_from = mem_grow(to->last_from, from + 1, sizeof *to->last_from);
        memset(to->last_from + to->last_from_n, 0, (from + 1 - to->last_from_n) * sizeof *to->last_from);
        to->last_from_n = from + 1;
    }
    if (at < to->last_from[from]) {
        at = to->last_from[from];
    }
    to->last_from[from] = at;
    return at;
}

static void op_post(struct env *env, struct env_msg *msg)
{
    struct sim_env *to = env_of(env);
    struct sim *sim = to->process->sim;
    CHECK(!to->joined);
    CHECK(!sim->current || sim->current->process == to->process);
    size_t from = sim->current ? sim->current->id + 1 : 0;
    CHECK(msg->next != msg); /* not while it is on its way: real loops keep it in a list */
    msg->next = msg;
    events_add(&sim->events, arrival(to, from, sim_time(sim)), EV_POST, to, run_msg, msg);
}

/* ---- timers -------------------------------------------------------------------------------------------- */

struct sim_timer {
    struct env_timer *timer;
    struct event *event; /* pending */
};

static int op_timer_open(struct env_timer *timer)
{
    struct sim_timer *t = mem_new(sizeof *t);
    CHECK(!env_of(timer->env)->joined);
    t->timer = timer;
    timer->impl = t;
    env_of(timer->env)->timers++;
    return 0;
}

static void timer_due(void *arg)
{
    struct sim_timer *t = arg;
    t->event = NULL;
    t->timer->fired(t->timer);
}

static void op_timer_stop(struct env_timer *timer)
{
    struct sim_timer *t = timer->impl;
    if (t->event) {
        events_cancel(&env_of(timer->env)->process->sim->events, t->event);
        t->event = NULL;
    }
}

static void op_timer_start(struct env_timer *timer, uint64_t delay)
{
    struct sim_timer *t = timer->impl;
    struct sim_env *env = env_of(timer->env);
    struct sim *sim = env->process->sim;
    CHECK(!sim->current || sim->current == env);
    op_timer_stop(timer);
    uint64_t late = rng_between(&env->process->sched, 0, 100 * US);
    t->event = events_add(&sim->events, sim_time(sim) + delay + late, EV_TIMER, env, timer_due, t);
}

static void op_timer_close(struct env_timer *timer)
{
    struct sim_env *env = env_of(timer->env);
    op_timer_stop(timer);
    CHECK(env->timers > 0);
    env->timers--;
    mem_free(timer->impl);
}

const struct env_ops sim_env_ops = {
    .now = op_now,
    .wall = op_wall,
    .random = op_random,
    .log = op_log,
    .fatal = op_fatal,
    .spawn = op_spawn,
    .join = op_join,
    .post = op_post,
    .timer_open = op_timer_open,
    .timer_start = op_timer_start,
    .timer_stop = op_timer_stop,
    .timer_close = op_timer_close,
    .connect = sim_connect,
    .listen = sim_listen,
    .listener_close = sim_listener_close,
    .listener_addr = sim_listener_addr,
    .attach = sim_attach,
    .socket_close = sim_socket_close,
    .socket_peer = sim_socket_peer,
    .stream_write = sim_stream_write,
    .stream_pending = sim_stream_pending,
    .stream_pause = sim_stream_pause,
    .stream_close = sim_stream_close,
    .open = sim_open,
    .pread = sim_pread,
    .pwrite = sim_pwrite,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .size = sim_size,
    .close = sim_close,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .sync_dir = sim_sync_dir,
    .list_dir = sim_list_dir,
};
