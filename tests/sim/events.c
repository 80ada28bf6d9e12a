/* events.c: the one heap of events. A binary heap over (time, due, seq): the order is total and owes nothing
 * to addresses. An event whose env is busy comes back with a later time and its old `due`, so that what
 * arrived first is served first. */
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

static void sift_up(struct events *events, size_t i)
{
    struct event *event = events->heap[i];
    while (i > 0 && before(event, events->heap[(i - 1) / 2])) {
        events->heap[i] = events->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    events->heap[i] = event;
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
        events->heap[i] = events->heap[child];
        i = child;
    }
    events->heap[i] = event;
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
        events->heap[i] = events->heap[events->n];
        sift_down(events, i);
        sift_up(events, i);
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

void events_again(struct events *events, struct event *event, uint64_t time)
{
    event->time = time;
    insert(events, event);
}

/* Those that were canceled go when they come to the top. */
static void drop_canceled(struct events *events)
{
    while (events->n > 0 && events->heap[0]->canceled) {
        mem_free(take_at(events, 0));
    }
}

struct event *events_take(struct events *events)
{
    drop_canceled(events);
    return events->n > 0 ? take_at(events, 0) : NULL;
}

const struct event *events_first(struct events *events)
{
    drop_canceled(events);
    return events->n > 0 ? events->heap[0] : NULL;
}

struct event *events_take_for(struct events *events, const struct sim_env *env)
{
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < events->n; i++) {
        const struct event *event = events->heap[i];
        if (event->env == env && !event->canceled &&
            (best == SIZE_MAX || before(event, events->heap[best]))) {
            best = i;
        }
    }
    return best == SIZE_MAX ? NULL : take_at(events, best);
}

void events_drop_for(struct events *events, const struct sim_env *env)
{
    for (size_t i = 0; i < events->n; i++) {
        if (events->heap[i]->env == env) {
            events->heap[i]->canceled = true;
        }
    }
}

void events_free(struct events *events)
{
    for (size_t i = 0; i < events->n; i++) {
        mem_free(events->heap[i]);
    }
    mem_free(events->heap);
    *events = (struct events){0};
}
