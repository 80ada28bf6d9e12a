/* admin_sim.h: a simulated operator: root at the local socket of a node, who runs statements one after the
 * other until each has succeeded.
 *
 * Owner: the test; it outlives the process that runs it, which ends when all is done. */
#ifndef HOLDFAST_SIM_ADMIN_SIM_H
#define HOLDFAST_SIM_ADMIN_SIM_H

#include "tests/sim/env_sim.h"

struct admin_sim;

/* `statements` ends with NULL and stays valid. `host` stands beside the node's (sim_host_beside). */
struct admin_sim *admin_sim_new(struct sim_host *host, const char *socket, const char *const *statements);
/* After each failure it goes to the next of these machines. `machines` stays valid. */
void admin_sim_roam(struct admin_sim *admin, struct sim_host *const *machines, size_t n);
void admin_sim_free(struct admin_sim *admin); /* after sim_free */
void admin_sim_start(struct admin_sim *admin);
void admin_sim_repeat(struct admin_sim *admin); /* all of it once more; not while it is at it */
void admin_sim_again(struct admin_sim *admin); /* from the first statement; nothing of it runs */
bool admin_sim_done(void *admin);
/* Told of each answer to a statement. `error` NULL: it was OK. */
void admin_sim_watch(struct admin_sim *admin, void (*answered)(void *arg, const char *error), void *arg);

#endif
