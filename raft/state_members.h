/* state_members.h: the part of the replicated state that says who is to be a member. Who is one stands in libraft's configuration; the leader
 * brings that nearer to the plans, step by step (raft/cluster_members.c), whoever leads.
 *
 * Owner: raft/state.c. */
#ifndef HOLDFAST_RAFT_STATE_MEMBERS_H
#define HOLDFAST_RAFT_STATE_MEMBERS_H

#include "raft/entry.h"

enum { MEMBER_PLANS_MAX = 16 };

struct member_plan {
    uint64_t id;
    enum member_goal goal;
    uint64_t counter; /* of the data directory that is to be the member; 0: the one that is */
    bool again;       /* the id was a member's before */
    char address[MEMBER_ADDRESS_SIZE]; /* with a counter */
};

struct state_members {
    uint32_t level;    /* feature level that entries may have */
    uint64_t counter;  /* the last one that was given to a data directory; none is given twice */
    uint64_t *retired; /* ids that were members, and never are again */
    size_t n_retired;
    struct member_plan plans[MEMBER_PLANS_MAX];
    size_t n_plans;
};

void state_members_free(struct state_members *m);
/* E_MALFORMED, E_VERSION; *status: E_CONTRADICTION when it changes nothing. */
int state_members_apply(struct state_members *m, struct cur *body, int *status);
void state_members_encode(const struct state_members *m, struct buf *b);
void state_members_decode(struct cur *c, struct state_members *m);

const struct member_plan *state_members_plan(const struct state_members *m, uint64_t id); /* NULL: none */
bool state_members_retired(const struct state_members *m, uint64_t id);
int state_members_may_grow(const struct state_members *m, struct errmsg *em); /* E_TOOBIG: no data directory gets a counter any more */

#endif
