/* verdict.h: is what the source commits safe? The first thing that status says.
 *
 * Pure: facts in, a verdict and its reason out. Called on the loop. */
#ifndef HOLDFAST_NODE_VERDICT_H
#define HOLDFAST_NODE_VERDICT_H

#include "node/source.h"
#include "raft/state.h"

struct monitor_report;

struct verdict_facts {
    size_t voters;
    uint64_t self, leader; /* leader 0: nobody known */
    const char *quorum;    /* no leader: in words; NULL: nothing more is known */
    const struct state *state;
    const struct source_status *source; /* this node's link: it follows while this node leads */
    const struct monitor_report *report; /* what the source says of itself; NULL: nobody asks it */
};

/* True: protected. Else `reason` says all that is missing, separated by "; ". */
bool verdict(const struct verdict_facts *facts, char *reason, size_t size);

#endif
