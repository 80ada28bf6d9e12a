/* index_ahead.h: the index of a file that is not in its place yet, made while the file comes: from its bytes, which are read behind
 * who writes them, or given by him. What comes out is what writer_index.c or rebuild.c would have made.
 *
 * Owner: whoever made it; one thread at a time. Blocking reads, some of them as large as an event. */
#ifndef HOLDFAST_STORAGE_INDEX_AHEAD_H
#define HOLDFAST_STORAGE_INDEX_AHEAD_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"
#include "storage/index.h"

struct index_ahead;

struct index_ahead *index_ahead_new(struct env *env, const char *path, uint64_t era, const char *name, uint32_t step, uint32_t block);
/* The file is compared with its sum before the index is used: its events are not looked at one by one. */
void index_ahead_trust(struct index_ahead *a, bool trust);
void index_ahead_free(struct index_ahead *a); /* NULL is fine */

/* So much of the file is there, and stays; its last `n` bytes, for who has them at hand (0: they are read). 1: more can be done with it, 0: not now. On
 * an error it is of no use any more. */
int index_ahead_step(struct index_ahead *a, uint64_t there, const uint8_t *last, size_t n, uint64_t bytes, struct errmsg *em);

/* The file is whole for now, all steps for its size are done; the last transaction in it ends at `boundary`. The index is appended to `out`. */
int index_ahead_end(struct index_ahead *a, uint64_t boundary, uint64_t size, bool sealed, struct buf *out, struct errmsg *em);

/* After an end that did not seal it: the file grows from there, or from the boundary. */
int index_ahead_again(struct index_ahead *a, struct errmsg *em);
uint64_t index_ahead_boundary(const struct index_ahead *a); /* of the last end; 0: none, or it was sealed */

#endif
