/* recover.h: a node that is all that is left of its cluster becomes a cluster of its own.
 *
 * For when a majority of the voters is gone for good. The node must not run. What it holds stays; what only the others held is lost. The new cluster has
 * another name, so that whoever comes back from the old one is refused, and another identity towards the source.
 *
 * The decision is one file, replaced whole (raft/formation.h, ALONE): before it the old cluster is there, behind it the new one, whatever happens. What
 * follows in the log (a configuration of this node alone, with a new incarnation) is written by recover_finish, at once or at the next start.
 *
 * Owner: node/recover.c, and raft/cluster.c for recover_finish; blocking, on the loop env before it runs. */
#ifndef HOLDFAST_RAFT_RECOVER_H
#define HOLDFAST_RAFT_RECOVER_H

#include "raft/configuration.h"
#include "raft/formation.h"
#include "raft/io.h"
#include "raft/state.h"

struct recover {
    struct env *loop;
    struct rio *rio;
    struct formation formation;
    struct state *state; /* all entries of the log applied */
    struct raft_configuration configuration; /* the last one in it */
    uint64_t last_index, last_term; /* of the log */
};

/* Reads the data directory of node `id`; what a crash tore is cut, as at each start. E_INVALID: this node cannot be made a cluster (em says why), but may be looked
 * at: close it. All other failures leave nothing to close. */
int recover_open(struct env *loop, const char *data_dir, uint64_t id, uint64_t incarnation, struct recover *r, struct errmsg *em);
void recover_close(struct recover *r);

/* Makes it so, durably: r->formation has the new name. A failure of the disk ends the process. */
int recover_force(struct recover *r, struct errmsg *em);

/* Of one that was decided: what has to stand in the log. Nothing happens otherwise. */
int recover_finish(struct rio *rio, struct formation *f, struct errmsg *em);

#endif
