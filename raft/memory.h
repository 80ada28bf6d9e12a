/* memory.h: what this node remembers of the other members' logs, also when all of them are restarted: raft/peers.
 *
 * A member that comes back with less than it once acknowledged (an old image of its disk) is refused by those who know better. While a node runs it knows
 * from what the others told and showed it; here it keeps that for its next start. It is written when the node ends in order, and every few seconds while there is
 * news: after a crash of all nodes at once, what was acknowledged in those last seconds is not remembered.
 *
 * Owner: raft/io.c; loop env, the writes on `writer`. */
#ifndef HOLDFAST_RAFT_MEMORY_H
#define HOLDFAST_RAFT_MEMORY_H

#include "protocol/base/env.h"

enum { MEMORY_ROWS = 16 };

struct memory_row {
    uint64_t id, incarnation;
    uint64_t held; /* up to here it has what is committed */
    uint64_t term; /* it had at least */
};

struct memory;

/* Reads it, or makes it. One that is damaged, or of a newer version, counts as none and is told of. */
int memory_open(struct env *loop, const char *dir, struct env *writer, struct memory **memory, struct errmsg *em);
void memory_close(struct memory *memory); /* the writer has ended; NULL is fine */

/* What the members are known to have now; what is remembered already and is more stays. Others are forgotten. */
void memory_take(struct memory *memory, const struct memory_row *rows, size_t n);
void memory_store(struct memory *memory); /* if there is news; it is on stable storage when the writer has done it. A failure is fatal */

const struct memory_row *memory_of(const struct memory *memory, uint64_t id, uint64_t incarnation); /* NULL: nothing */
const struct memory_row *memory_rows(const struct memory *memory, size_t *n);

#endif
