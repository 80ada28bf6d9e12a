/* fetch_index.h: the indexes of files that are being fetched, made on an env of its own while the files come, so that putting them in place makes
 * nobody wait and their first readers find them.
 *
 * Owner: raft/fetch.c. Each call is made on the loop, done in the order of the calls. */
#ifndef HOLDFAST_RAFT_FETCH_INDEX_H
#define HOLDFAST_RAFT_FETCH_INDEX_H

#include "protocol/base/buf.h"
#include "raft/fetch_disk.h"

struct fetch_index;

struct fetch_index_handler {
    /* The answer to fetch_index_end, on the loop, never inside the call; an empty index: there is none. */
    void (*made)(void *owner, const struct fetch_file *file, struct buf *index);
    void (*passed)(void *owner, struct fetch_piece *piece); /* to fetch_index_there, also inside the call; takes it back */
};

int fetch_index_open(struct env *loop, const char *data_dir, const struct fetch_index_handler *handler, void *owner, struct fetch_index **index);
void fetch_index_close(struct fetch_index *index); /* waits for what is being done */

void fetch_index_begin(struct fetch_index *index, const struct fetch_file *file, uint64_t there); /* it is prepared; so much of it is there */
void fetch_index_there(struct fetch_index *index, struct fetch_piece *piece); /* it is there, up to this one's end; takes it */
void fetch_index_end(struct fetch_index *index, uint64_t boundary); /* it is whole and right; its last transaction ends there */
void fetch_index_drop(struct fetch_index *index); /* nothing of it is wanted; what was asked for is not answered any more */

#endif
