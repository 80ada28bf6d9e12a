/* latency.c: see latency.h. A time is counted in units of 128 ns; below eight of them each has its bucket, above there are eight buckets to a
 * power of two. What is longer than the last bucket is counted there. */
#include "protocol/base/latency.h"

#include <stddef.h>

enum { UNIT_BITS = 7, STEP_BITS = 3, STEPS = 1 << STEP_BITS };

static size_t bucket_of(uint64_t ns)
{
    uint64_t v = ns >> UNIT_BITS;
    if (v < STEPS) {
        return (size_t)v;
    }
    unsigned power = 63u - (unsigned)__builtin_clzll(v);
    size_t bucket = ((size_t)(power - STEP_BITS) + 1) * STEPS + ((v >> (power - STEP_BITS)) & (STEPS - 1));
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The middle of it. */
static uint64_t time_of(size_t bucket)
{
    if (bucket < STEPS) {
        return ((uint64_t)bucket << UNIT_BITS) + (1u << UNIT_BITS) / 2;
    }
    unsigned shift = (unsigned)(bucket / STEPS) - 1 + UNIT_BITS;
    return ((uint64_t)(STEPS + bucket % STEPS) << shift) + (1ull << shift) / 2;
}

void latency_add(struct latency *l, uint64_t ns)
{
    l->count++;
    l->sum += ns;
    l->buckets[bucket_of(ns)]++;
}

uint64_t latency_quantile(const struct latency *l, unsigned per_mille)
{
    uint64_t wanted = (l->count * per_mille + 999) / 1000, seen = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS && l->count; i++) {
        seen += l->buckets[i];
        if (seen >= wanted && seen) {
            return time_of(i);
        }
    }
    return 0;
}
