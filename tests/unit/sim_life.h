/* sim_life.h: one function as the whole life of a process on a simulated host, where any of its file calls may be the last one
 * (sim_crash_after). One thread; the host is its world's. */
#ifndef TESTS_UNIT_SIM_LIFE_H
#define TESTS_UNIT_SIM_LIFE_H

#include "tests/sim/env_sim.h"

struct sim_life {
    struct env *env;
    struct sim_process *process; /* sim_process_is_ghost: what follows happens nowhere */
};

/* Runs it to its end. What it opened it has to close: it runs on as a ghost when it is killed. True: it was not. */
bool sim_life(struct sim_host *host, void (*run)(const struct sim_life *life, void *arg), void *arg);

#endif
