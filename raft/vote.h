/* vote.h: the current term and the vote given in it, durably, in two slots of one file.
 *
 * Each change is written to both slots, one after the other, each durable before the next, so that a torn write leaves the other one
 * whole. At open the slot with the higher number counts. Blocking; on the loop env, for libraft wants it done on return. */
#ifndef HOLDFAST_RAFT_VOTE_H
#define HOLDFAST_RAFT_VOTE_H

#include "protocol/base/env.h"

struct vote;

int vote_open(struct env *env, const char *dir, struct vote **vote, struct errmsg *em);
void vote_close(struct vote *vote);
uint64_t vote_term(const struct vote *vote);
uint64_t vote_for(const struct vote *vote); /* 0: nobody */

/* A new term forgets the vote; the term that is stored already keeps it. */
int vote_set_term(struct vote *vote, uint64_t term, struct errmsg *em);
int vote_set(struct vote *vote, uint64_t id, struct errmsg *em);

#endif
