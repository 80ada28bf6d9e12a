/* events.c: the one heap of events. A binary heap over (time, due, seq): the order is total and owes nothing
 * to addresses. An event whose env is busy comes back with a later time and its old `due`, so that what
 * arrived first is served first; of those that wait for one env only the first stands in the heap. Each event knows
 * its place, so that one that is canceled leaves at once: timers are set anew far more often than they fire. */
#include "tests/sim/sim_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

static bool before(const struct event *a, const struct event *b)
{
    if (a->time != b->time) {
        return a->time < b->time;
    }
    return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void put(struct events *events, size_t i, struct event *event)
{
    events->heap[i] = event;
    event->place = i;
}

static void sift_up(struct events *events, size_t i)
{
    struct event *event = events->heap[i];
    while (i > 0 && before(event, events->heap[(i - 1) / 2])) {
        put(events, i, events->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(events, i, event);
}

static void sift_down(struct events *events, size_t i)
{
    struct event *event = events->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= events->n) {
            break;
        }
        if (child + 1 < events->n && before(events->heap[child + 1], events->heap[child])) {
            child++;
        }
        if (!before(events->heap[child], event)) {
            break;
        }
        put(events, i, events->heap[child]);
        i = child;
    }
    put(events, i, event);
}

static void insert(struct events *events, struct event *event)
{
    if (events->n == events->cap) {
        events->cap = events->cap ? events->cap * 2 : 64;
        events->heap = mem_grow(events->heap, events->cap, sizeof *events->heap);
    }
    events->heap[events->n++] = event;
    sift_up(events, events->n - 1);
}

static struct event *take_at(struct events *events, size_t i)
{
    struct event *event = events->heap[i];
    events->n--;
    if (i < events->n) {
        struct event *last = events->heap[events->n];
        put(events, i, last);
        sift_down(events, i);
        sift_up(events, last->place);
    }
    return event;
}

struct event *events_add(struct events *events, uint64_t time, enum event_kind kind, struct sim_env *env,
                         void (*fn)(void *), void *arg)
{
    struct event *event = mem_new(sizeof *event);
    *event = (struct event){
        .time = time, .due = time, .seq = ++events->seq, .kind = kind, .env = env, .fn = fn, .arg = arg};
    insert(events, event);
    return event;
}

static void hold(struct events *events, struct event *event, uint64_t time)
{
    event->time = time;
    event->env->held = event;
    insert(events, event);
}

/* The one in the heap has left it: the first that waits behind it takes its place. */
static void hold_next(struct events *events, struct sim_env *env, uint64_t time)
{
    env->held = NULL;
    while (env->waiting && !env->held) {
        struct event *event = env->waiting;
        env->waiting = event->next;
        if (event->canceled) {
            mem_free(event);
        } else {
            hold(events, event, time);
        }
    }
}

void events_wait(struct events *events, struct event *event)
{
    struct sim_env *env = event->env;
    if (env->held == event || !env->held) {
        hold(events, event, env->clock);
        return;
    }
    event->place = SIZE_MAX; /* they come in the order in which they were due */
    event->next = NULL;
    if (env->waiting) {
        env->waiting_last->next = event;
    } else {
        env->waiting = event;
    }
    env->waiting_last = event;
}

void events_next(struct events *events, struct sim_env *env)
{
    if (!env->held) {
        hold_next(events, env, env->clock);
    }
}

void events_park(struct events *events, struct event *event)
{
    event->next = events->parked;
    events->parked = event;
}

void events_cancel(struct events *events, struct event *event)
{
    struct sim_env *env = event->env;
    uint64_t time = event->time;
    if (event->place == SIZE_MAX) {
        event->canceled = true;
        return;
    }
    CHECK(event->place < events->n && events->heap[event->place] == event);
    mem_free(take_at(events, event->place));
    if (env && env->held == event) {
        hold_next(events, env, time);
    }
}

struct event *events_take(struct events *events)
{
    return events->n > 0 ? take_at(events, 0) : NULL;
}

const struct event *events_first(struct events *events)
{
    return events->n > 0 ? events->heap[0] : NULL;
}

/* What waits behind the one that is held was due later. */
struct event *events_take_for(struct events *events, struct sim_env *env)
{
    size_t best = env->held ? env->held->place : SIZE_MAX; /* what was due before, and waits */
    for (size_t i = 0; i < events->n && !env->held; i++) {
        if (events->heap[i]->env == env && (best == SIZE_MAX || before(events->heap[i], events->heap[best]))) {
            best = i;
        }
    }
    struct event *event = best == SIZE_MAX ? NULL : take_at(events, best);
    if (event && env->held == event) {
        hold_next(events, env, event->time);
    }
    return event;
}

static void free_list(struct event *event)
{
    while (event) {
        struct event *next = event->next;
        mem_free(event);
        event = next;
    }
}

void events_drop_for(struct events *events, struct sim_env *env)
{
    size_t n = 0;
    for (size_t i = 0; i < events->n; i++) {
        if (events->heap[i]->env == env) {
            mem_free(events->heap[i]);
        } else {
            put(events, n++, events->heap[i]);
        }
    }
    events->n = n;
    for (size_t i = n / 2; i > 0; i--) {
        sift_down(events, i - 1);
    }
    free_list(env->waiting);
    env->held = env->waiting = NULL;
}

void events_free(struct events *events)
{
    for (size_t i = 0; i < events->n; i++) {
        mem_free(events->heap[i]);
    }
    free_list(events->parked);
    mem_free(events->heap);
    *events = (struct events){0};
}
