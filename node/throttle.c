/* throttle.c: a small table of who failed to log in. A failure counts twice: for the account from its address,
 * and for the address, whatever names it tries. The wait doubles with each failure up to WAIT_MAX; a minute
 * without one forgets half of them. */
#include "node/throttle.h"

#include "protocol/base/env.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

#define WAIT_FIRST (100 * ENV_MS)
#define WAIT_MAX (3 * ENV_S)
#define HALVED_AFTER (60 * ENV_S)

enum { NAME_SIZE = 200, FAILURES_MAX = 64 };

struct entry {
    char name[NAME_SIZE]; /* user@address, @address; "" for a free one */
    unsigned failures;
    uint64_t last;
};

struct throttle {
    struct entry entries[THROTTLE_ENTRIES];
};

struct throttle *throttle_new(void)
{
    return mem_new(sizeof(struct throttle));
}

void throttle_free(struct throttle *t)
{
    mem_free(t);
}

static struct entry *find(struct throttle *t, const char *name)
{
    for (size_t i = 0; i < THROTTLE_ENTRIES; i++) {
        if (strcmp(t->entries[i].name, name) == 0) {
            return &t->entries[i];
        }
    }
    return NULL;
}

/* A free one, or the one that failed longest ago. */
static struct entry *take(struct throttle *t, const char *name)
{
    struct entry *e = &t->entries[0];
    for (size_t i = 1; i < THROTTLE_ENTRIES && e->name[0]; i++) {
        if (!t->entries[i].name[0] || t->entries[i].last < e->last) {
            e = &t->entries[i];
        }
    }
    *e = (struct entry){0};
    snprintf(e->name, sizeof e->name, "%s", name);
    return e;
}

static uint64_t count(struct throttle *t, const char *name, uint64_t now)
{
    struct entry *e = find(t, name);
    if (!e) {
        e = take(t, name);
        e->last = now;
    }
    for (; e->failures && now - e->last >= HALVED_AFTER; e->last += HALVED_AFTER) {
        e->failures /= 2;
    }
    e->last = now;
    e->failures += e->failures < FAILURES_MAX;
    if (e->failures <= THROTTLE_FREE) {
        return 0;
    }
    unsigned doublings = e->failures - THROTTLE_FREE - 1;
    return doublings > 5 || WAIT_FIRST << doublings > WAIT_MAX ? WAIT_MAX : WAIT_FIRST << doublings;
}

uint64_t throttle_failed(struct throttle *t, const char *user, const char *address, uint64_t now)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%.96s@%.96s", user, address);
    uint64_t wait = count(t, name, now);
    snprintf(name, sizeof name, "@%.96s", address);
    uint64_t other = count(t, name, now);
    return wait > other ? wait : other;
}

void throttle_passed(struct throttle *t, const char *user, const char *address)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%.96s@%.96s", user, address);
    struct entry *e = find(t, name);
    if (e) {
        *e = (struct entry){0};
    }
}
