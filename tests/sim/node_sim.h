/* node_sim.h: the production node (node/daemon.h) on a simulated host, and what its disk must hold.
 *
 * Owner: the test; it outlives the processes that run it. The node listens for clients on "<host>:3307" and
 * on NODE_SIM_SOCKET. A node that ends by itself (env_fatal, a start that fails) is a sim_fail. */
#ifndef HOLDFAST_SIM_NODE_SIM_H
#define HOLDFAST_SIM_NODE_SIM_H

#include "tests/sim/env_sim.h"
#include "tests/sim/history.h"

struct node_sim;

#define NODE_SIM_SOCKET "/run/holdfast.sock"

enum { NODE_SIM_PORT = 3307 };

struct node_sim *node_sim_new(struct sim_host *host, uint64_t id, uint64_t snapshot_bytes);
void node_sim_free(struct node_sim *node); /* after sim_free */
void node_sim_start(struct node_sim *node);
/* A start that fails is no sim_fail from now on (its disk is bad); the text is in sim_last_words. */
void node_sim_may_fail(struct node_sim *node, bool may);

/* Do the node's binlog files equal the source's, all of them? With `whole` false a node's newest file may be
 * shorter. False and a text that says where not. */
bool node_sim_same_files(struct node_sim *node, const struct history *truth, bool whole, struct errmsg *em);
/* Those of a later era, which begins with the source's file number `from` (counted from 0). */
bool node_sim_same_era(struct node_sim *node, unsigned era, const struct history *truth, size_t from, bool whole, struct errmsg *em);

/* The first file of a node's list of names (.index), by its place in the truth; 0 while there is none. */
size_t sim_oldest_file(struct sim_host *host, const struct history *truth);
/* Is nothing left of the files before it? Else a text that says what. */
bool sim_purged_are_gone(struct sim_host *host, const struct history *truth, struct errmsg *em);

#endif
