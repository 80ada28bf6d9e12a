/* source_reach.h: when the leader cannot reach the source and another member can, that one leads.
 *
 * Owner: the daemon; loop env. */
#ifndef HOLDFAST_NODE_SOURCE_REACH_H
#define HOLDFAST_NODE_SOURCE_REACH_H

#include "node/source.h"

struct source_reach;

int source_reach_new(struct env *loop, struct cluster *cluster, struct source *source, struct source_reach **reach, struct errmsg *em);
void source_reach_free(struct source_reach *reach); /* NULL is fine */
enum cluster_reach source_reach_now(const struct source_reach *reach);

#endif
