/* faults.h: what a disk may do to a node: it is full, out of inodes, read-only, fails a write, a sync or a read; a bit of a file
 * changes while nobody looks. With what the node must make of it.
 *
 * A call that failed must be told of: a line of the log (the last one, when it ends the node) names the file. What else must hold is
 * checked by all the others: no ACK for what is lost, no wrong byte to a replica, all of it there in the end.
 * A bit that changed must be found at start (the node refuses, names the file, says what to do, and leaves the disk as it is: the
 * bit is turned back and the node started again), or when it is read, or have no meaning any more. */
#ifndef HOLDFAST_SIM_FAULTS_H
#define HOLDFAST_SIM_FAULTS_H

#include "tests/sim/node_sim.h"

struct fault_kind {
    const char *name;
    unsigned calls;
    int code;
    bool creating, forever;
};

extern const struct fault_kind fault_kinds[];
extern const unsigned fault_kinds_n;

const struct fault_kind *fault_kind_find(const char *name); /* NULL: there is no such kind */

/* Part of the paths of one kind of file. */
extern const char *const fault_files[];
extern const unsigned fault_files_n;

/* The k-th call from now on that the kind and the file (NULL: any) are about. */
void fault_plan(struct sim_host *host, const struct fault_kind *kind, const char *file, uint64_t k);

/* What struck was told of; else a sim_fail. Gives the node a moment for it. */
void fault_check_told(struct sim_host *host);

struct rot {
    char path[128];
    uint64_t at;
    uint8_t bits, was;
    bool done; /* false: there was nothing to turn */
};

/* Turns a bit of some file. No process lives there. */
void rot_strike(struct sim_host *host, struct rot *rot);
bool rot_is_there(struct sim_host *host, const struct rot *rot); /* the byte is still the wrong one */
/* Turns it back, if the byte is still the wrong one. True when it was. */
bool rot_mend(struct sim_host *host, struct rot *rot);
/* The node refused to start: for this reason, with a word on what to do; else a sim_fail. */
void rot_check_refusal(struct sim_host *host, const struct rot *rot);

#endif
