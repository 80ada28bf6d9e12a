/* upstream.h: for other clusters that follow this node: the era that they read next.
 *
 * Pure; loop env, as the state. */
#ifndef HOLDFAST_NODE_UPSTREAM_H
#define HOLDFAST_NODE_UPSTREAM_H

#include "raft/state.h"

/* What the other cluster says of itself; each may be NULL: it said nothing. */
struct upstream_asker {
    const char *origin; /* "SERVER_ID UUID" of the source whose files are its newest ones; "0 ": it holds nothing */
    const char *at;     /* "FILE:POSITION", its end there */
    const char *start;  /* where it wants to begin when it holds nothing: oldest, now, a file, a GTID set */
};

/* NULL: nothing is held here yet. */
const struct state_era *upstream_era(const struct state *state, const struct upstream_asker *asker);

#endif
