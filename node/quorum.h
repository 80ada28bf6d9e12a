/* quorum.h: in words, for people: does a majority of the voters answer, and who does not. */
#ifndef HOLDFAST_NODE_QUORUM_H
#define HOLDFAST_NODE_QUORUM_H

#include "protocol/base/env.h"
#include "raft/cluster.h"

/* While no leader is known: "quorum lost since 03:12:07: 1 of 3 voters answers (2 10.0.0.2:4307 connection refused; …)", or that an election is on. */
void quorum_text(const struct cluster *cluster, struct env *loop, char *text, size_t size);

#endif
