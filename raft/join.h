/* join.h: how an empty node asks to be taken in: any member, one after the other, until one says yes, or no for good.
 *
 * Who is asked need not lead: the answers say who does, and who else there is. Nothing is stored here.
 *
 * Owner: raft/cluster_join.c; loop env. */
#ifndef HOLDFAST_RAFT_JOIN_H
#define HOLDFAST_RAFT_JOIN_H

#include "protocol/base/env.h"
#include "protocol/tls.h"
#include "raft/message.h"

enum { JOIN_ADDRESSES_MAX = 32 };

struct join;

struct join_options {
    struct env *loop;
    struct tls_ctx *tls; /* as a client; NULL: in clear. It is referenced */
    struct message_join request;
    const char *addresses[JOIN_ADDRESSES_MAX]; /* host:port; copied */
    size_t n;
    unsigned pause_ms; /* between two questions */
};

/* On the loop env. It may close the join: it is not touched afterwards. */
typedef void join_answered(void *owner, const struct message_join_answer *answer);

int join_open(const struct join_options *options, join_answered *answered, void *owner, struct join **join, struct errmsg *em);
void join_also(struct join *join, const char *address); /* somebody else who may be asked */
void join_close(struct join *join); /* NULL is fine; not from a stream's callback of its own, `answered` is none */

#endif
