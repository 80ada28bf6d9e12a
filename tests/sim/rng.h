/* rng.h: the simulator's random numbers. One seed makes as many independent streams as are asked for, so that
 * what one node draws never shifts what another one gets. Not for secrets. */
#ifndef HOLDFAST_SIM_RNG_H
#define HOLDFAST_SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n);               /* 0 to n - 1; n > 0 */
uint64_t rng_between(struct rng *rng, uint64_t a, uint64_t b); /* both ends included */
bool rng_chance(struct rng *rng, unsigned percent);
void rng_bytes(struct rng *rng, void *data, size_t n);

#endif
