/* latency.h: how long something took, counted in buckets that are an eighth of their power of two wide: median and 99th percentile to within
 * a sixteenth, for the cost of a shift.
 *
 * Owner: whoever measures; zeros are a good beginning. Not to be shared between threads. */
#ifndef HOLDFAST_BASE_LATENCY_H
#define HOLDFAST_BASE_LATENCY_H

#include <stdint.h>

enum { LATENCY_BUCKETS = 264 };

struct latency {
    uint64_t count, sum; /* ns */
    uint64_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *latency, uint64_t ns);
/* The time that so many in a thousand did not exceed, ns; 0 when nothing was counted. */
uint64_t latency_quantile(const struct latency *latency, unsigned per_mille);

#endif
