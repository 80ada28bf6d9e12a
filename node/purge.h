/* purge.h: how far the oldest binlog files may be removed: not those that a replica reads, or has read a while ago, on any node.
 *
 * Loop env. Nothing is kept here: what replicas read is the serving part's (node/serve.h); the other members are asked for theirs
 * (cluster_poll), just before. */
#ifndef HOLDFAST_NODE_PURGE_H
#define HOLDFAST_NODE_PURGE_H

#include "node/control.h"

/* What may go. */
struct purge_plan {
    size_t wanted; /* files that were to go: [0, wanted) */
    size_t n;      /* files that may: [0, n) */
    char file[FILE_NAME_SIZE]; /* n < wanted: the one that stays, and why */
    char why[400];
};

/* `wanted` < the number of files; `force`: all of them may. Else the members were asked a moment ago, and what did not answer counts as such. */
void purge_plan(const struct control *control, size_t wanted, bool force, struct purge_plan *plan);

/* The entry that removes the first n files; n is not 0. */
void purge_entry(const struct state *state, size_t n, struct buf *entry);

/* The oldest file that this node's own replicas need; era 0: none. For the report to the other members. */
void purge_own_need(const struct control *control, struct cluster_need *need);

#endif
