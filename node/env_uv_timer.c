/* env_uv_timer.c: timers.
 *
 * libuv counts milliseconds from a time that it reads once a turn. So that a timer never fires before its
 * time, the moment it is due is computed from the true clock and rounded up; it is late by a millisecond or
 * two, and by whatever the loop was busy with. The uv_timer_t outlives timer_close until libuv has let go of
 * it; its callback finds no owner by then. Nothing here fails. */
#include "node/env_uv_impl.h"
#include "protocol/base/mem.h"

struct timer_impl {
    uv_timer_t handle;
    struct env_timer *timer; /* NULL when closed */
};

static struct loop *timer_loop(const struct env_timer *timer)
{
    struct loop *l = loop_of(timer->env);
    CHECK(timer->impl);
    loop_check(l);
    return l;
}

int timer_open(struct env_timer *timer)
{
    struct loop *l = loop_of(timer->env);
    loop_check(l);
    struct timer_impl *t = mem_new(sizeof *t);
    uv_timer_init(&l->uv, &t->handle); /* cannot fail */
    t->timer = timer;
    timer->impl = t;
    l->open++;
    return 0;
}

static void timer_fired(uv_timer_t *handle)
{
    struct timer_impl *t = CONTAINER_OF(handle, struct timer_impl, handle);
    if (t->timer) {
        t->timer->fired(t->timer);
    }
}

void timer_start(struct env_timer *timer, uint64_t delay_ns)
{
    struct loop *l = timer_loop(timer);
    struct timer_impl *t = timer->impl;
    uint64_t now = env_now(timer->env);
    if (delay_ns > UINT64_MAX / 2) {
        delay_ns = UINT64_MAX / 2; /* never, without an overflow */
    }
    uint64_t due = (now + delay_ns + ENV_MS - 1) / ENV_MS;
    uv_timer_start(&t->handle, timer_fired, due - uv_now(&l->uv), 0);
}

void timer_stop(struct env_timer *timer)
{
    timer_loop(timer);
    struct timer_impl *t = timer->impl;
    uv_timer_stop(&t->handle);
}

static void timer_freed(uv_handle_t *handle)
{
    mem_free(CONTAINER_OF(handle, struct timer_impl, handle));
}

void timer_close(struct env_timer *timer)
{
    struct loop *l = timer_loop(timer);
    struct timer_impl *t = timer->impl;
    t->timer = NULL;
    l->open--;
    timer->impl = NULL;
    uv_close((uv_handle_t *)&t->handle, timer_freed);
}
