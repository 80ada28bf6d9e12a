/* env_uv_thread.c: loops and their threads, and the posts between them.
 *
 * A post pushes onto a stack of one atomic word. A loop runs the whole stack, turned round, so each sender's messages run in the order of
 * their posts: after the turn's sockets and timers, and before it goes to sleep again and again, until there are none or the sockets have
 * waited long enough. So what a loop posts to itself, and what others post while it is awake, costs no system call. A loop that goes to sleep
 * says so (`asleep`), then looks once more; who posts looks at `asleep` after the push, and the one who finds it set takes it away and writes
 * to the eventfd: one of the two sees the other.
 * (Not libuv's uv_async: its receiver spins, then yields the processor, while the sender is still inside its call, which on a busy machine is the rule.)
 *
 * The end: join posts a last message and waits for the thread. The thread runs what is left, waits for the
 * lingering streams and frees the loop. A poster may have been interrupted between its push and its wake-up
 * while its message ran already and led to the join; so the end waits until nobody is inside post.
 *
 * Failure: no thread or descriptors left: loop_spawn's code. A timer, stream or child that is still open at
 * the end is a CHECK. */
#include "node/env_uv.h"
#include "node/env_uv_impl.h"
#include "protocol/base/mem.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ROUNDS = 16,          /* of messages in a turn, before it is the sockets' again, */
    TURN_NS = 50000,      /* and none begins after so long */
    BACKGROUND_NICE = 10, /* more than the others */
    NICE_MAX = 19
};

static _Thread_local struct loop *current; /* what this thread runs */

/* ---- posts ----------------------------------------------------------------------------------- */

static void wake_up(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(l->wake_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    CHECK(n == sizeof one || errno == EAGAIN); /* full: it will wake */
}

static void post(struct loop *l, struct env_msg *msg, bool wake)
{
    atomic_fetch_add_explicit(&l->posting, 1, memory_order_relaxed);
    struct env_msg *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do {
        msg->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&l->inbox, &head, msg, memory_order_seq_cst,
                                                    memory_order_relaxed));
    /* the loop's own thread is awake, and looks before it sleeps */
    if (wake && l != current && atomic_load(&l->asleep) && atomic_exchange(&l->asleep, false)) {
        wake_up(l);
    }
    atomic_fetch_sub_explicit(&l->posting, 1, memory_order_release);
}

void loop_post(struct env *to, struct env_msg *msg)
{
    post(loop_of(to), msg, true);
}

void loop_post_lazily(struct env *to, struct env_msg *msg)
{
    post(loop_of(to), msg, false);
}

/* Runs what is there now; false when there was nothing. What these messages post comes with the next call. */
static bool inbox_run(struct loop *l)
{
    struct env_msg *msg = atomic_exchange_explicit(&l->inbox, NULL, memory_order_seq_cst);
    struct env_msg *first = NULL;
    while (msg) {
        struct env_msg *next = msg->next;
        msg->next = first;
        first = msg;
        msg = next;
    }
    bool any = first != NULL;
    while (first) {
        struct env_msg *next = first->next; /* run() may free or post it again */
        first->run(first);
        first = next;
    }
    return any;
}

/* From now on nobody needs to wake it. */
void loop_awake(struct loop *l)
{
    if (atomic_load_explicit(&l->asleep, memory_order_relaxed)) {
        atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
    }
}

static void woken(uv_poll_t *wake, int status, int events)
{
    struct loop *l = CONTAINER_OF(wake, struct loop, wake);
    uint64_t count;
    (void)events;
    CHECK(status == 0);
    loop_awake(l);
    while (read(l->wake_fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

/* Behind the sockets. */
static void turned(uv_check_t *after)
{
    struct loop *l = CONTAINER_OF(after, struct loop, after);
    loop_awake(l);
    inbox_run(l);
}

/* Before it sleeps, if it will: libuv has called timers and what waits for the next turn. */
static void before_sleep(uv_prepare_t *before)
{
    struct loop *l = CONTAINER_OF(before, struct loop, before);
    uint64_t began = uv_hrtime();
    for (int i = 0; i < ROUNDS && inbox_run(l) && uv_hrtime() - began < TURN_NS; i++) {
    }
    atomic_store(&l->asleep, true);
    if (atomic_load(&l->inbox) && atomic_exchange(&l->asleep, false)) {
        wake_up(l);
    }
}

/* ---- next turn ------------------------------------------------------------------------------- */

static void later_run(uv_idle_t *idle)
{
    struct loop *l = CONTAINER_OF(idle, struct loop, idle);
    uint64_t turn = ++l->turn; /* what is added from here on has to wait */
    struct loop_later *later;
    while ((later = TAILQ_FIRST(&l->later)) && later->turn < turn) {
        loop_later_cancel(l, later);
        later->run(later);
    }
}

void loop_later(struct loop *l, struct loop_later *later, void (*run)(struct loop_later *))
{
    if (!later->queued) {
        if (TAILQ_EMPTY(&l->later)) {
            uv_idle_start(&l->idle, later_run);
        }
        TAILQ_INSERT_TAIL(&l->later, later, link);
        later->queued = true;
        later->turn = l->turn;
    }
    later->run = run;
}

void loop_later_cancel(struct loop *l, struct loop_later *later)
{
    if (later->queued) {
        TAILQ_REMOVE(&l->later, later, link);
        later->queued = false;
        if (TAILQ_EMPTY(&l->later)) {
            uv_idle_stop(&l->idle);
        }
    }
}

/* ---- the life of a loop ---------------------------------------------------------------------- */

int loop_init(struct loop *l, const char *name, enum env_level level)
{
    snprintf(l->name, sizeof l->name, "%s", name);
    l->env = (struct env){.ops = &env_uv_ops, .name = l->name, .level = level, .impl = l};
    TAILQ_INIT(&l->later);
    int rv = uv_loop_init(&l->uv);
    if (rv) {
        return -rv;
    }
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    rv = l->wake_fd < 0 ? -errno : uv_poll_init(&l->uv, &l->wake, l->wake_fd);
    if (rv) {
        if (l->wake_fd >= 0) {
            close(l->wake_fd);
        }
        CHECK(uv_loop_close(&l->uv) == 0);
        return -rv;
    }
    uv_idle_init(&l->uv, &l->idle);
    uv_prepare_init(&l->uv, &l->before);
    uv_check_init(&l->uv, &l->after);
    uv_unref((uv_handle_t *)&l->before); /* what keeps the loop alive is `wake` */
    uv_unref((uv_handle_t *)&l->after);
    CHECK(!uv_poll_start(&l->wake, UV_READABLE, woken) && !uv_prepare_start(&l->before, before_sleep) &&
          !uv_check_start(&l->after, turned));
    l->read_buf = mem_new(LOOP_READ_BYTES);
    return 0;
}

void loop_take(struct loop *l)
{
    l->owner = pthread_self();
    current = l;
}

static void signal_freed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF(handle, struct loop_signal, handle));
}

/* Runs all that was posted, until nobody is inside post any more. */
static void loop_drain_all(struct loop *l)
{
    while (inbox_run(l) || atomic_load_explicit(&l->posting, memory_order_acquire) > 0 ||
           atomic_load_explicit(&l->inbox, memory_order_relaxed)) {
        sched_yield();
    }
}

void loop_end(struct loop *l)
{
    loop_check(l);
    loop_drain_all(l);
    CHECK(l->children == 0);
    CHECK(l->open == 0);
    while (l->signals) {
        struct loop_signal *s = l->signals;
        l->signals = s->next;
        uv_close((uv_handle_t *)&s->handle, signal_freed);
    }
    uv_unref((uv_handle_t *)&l->wake);
    while (uv_run(&l->uv,
                  UV_RUN_DEFAULT)) { /* until the last stream has lingered; a uv_stop may still be in force */
    }
    loop_drain_all(l);
    CHECK(TAILQ_EMPTY(&l->later));
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->before, NULL);
    uv_close((uv_handle_t *)&l->after, NULL);
    while (uv_run(&l->uv, UV_RUN_DEFAULT)) {
    }
    CHECK(uv_loop_close(&l->uv) == 0);
    close(l->wake_fd);
    current = current == l ? NULL : current;
    mem_free(l->read_buf);
}

static void stop_arrived(struct env_msg *msg)
{
    struct loop *l = CONTAINER_OF(msg, struct loop, stop_msg);
    l->stopped = true;
    uv_stop(&l->uv);
}

static void *thread_main(void *arg)
{
    struct loop *l = arg;
    loop_take(l);
    char name[16]; /* the kernel's limit */
    snprintf(name, sizeof name, "%.15s", l->name);
    pthread_setname_np(pthread_self(), name);
    while (!l->stopped) {
        uv_run(&l->uv, UV_RUN_DEFAULT);
    }
    loop_end(l);
    return NULL;
}

int loop_spawn(struct env *env, const char *name, struct env **child)
{
    struct loop *parent = loop_of(env);
    loop_check(parent);
    *child = NULL;
    struct loop *l = mem_new(sizeof *l);
    int error = loop_init(l, name, env->level);
    if (error) {
        mem_free(l);
        return err_errno(NULL, error, "spawn");
    }
    l->parent = parent;
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&l->handle, NULL, thread_main, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        struct loop *mine = current;
        loop_take(l);
        loop_end(l);
        current = mine;
        mem_free(l);
        return err_errno(NULL, error, "spawn");
    }
    parent->children++;
    l->sibling = parent->first_child;
    parent->first_child = l;
    *child = &l->env;
    return 0;
}

static void step_back(struct env_msg *msg)
{
    int nice = getpriority(PRIO_PROCESS, 0) + BACKGROUND_NICE; /* the thread's, on Linux */
    (void)setpriority(PRIO_PROCESS, 0, nice < NICE_MAX ? nice : NICE_MAX);
    mem_free(msg);
}

void loop_background(struct env *child)
{
    struct env_msg *msg = mem_new(sizeof *msg);
    msg->run = step_back;
    loop_post(child, msg);
}

void loop_join(struct env *child)
{
    struct loop *l = loop_of(child);
    CHECK(l->parent);
    loop_check(l->parent);
    l->stop_msg.run = stop_arrived;
    loop_post(child, &l->stop_msg);
    CHECK(pthread_join(l->handle, NULL) == 0);
    struct loop **at = &l->parent->first_child;
    while (*at != l) {
        at = &(*at)->sibling;
    }
    *at = l->sibling;
    l->parent->children--;
    mem_free(l);
}

/* ---- the log's level, on all loops ---- */

struct level_order {
    struct env_msg msg;
    struct env *env;
    enum env_level level;
};

static void level_arrived(struct env_msg *msg)
{
    struct level_order *order = CONTAINER_OF(msg, struct level_order, msg);
    env_uv_set_level(order->env, order->level);
    mem_free(order);
}

void env_uv_set_level(struct env *env, enum env_level level)
{
    struct loop *l = loop_of(env);
    loop_check(l);
    env->level = level;
    for (struct loop *child = l->first_child; child; child = child->sibling) {
        struct level_order *order = mem_new(sizeof *order);
        *order = (struct level_order){.msg.run = level_arrived, .env = &child->env, .level = level};
        loop_post(&child->env, &order->msg);
    }
}
