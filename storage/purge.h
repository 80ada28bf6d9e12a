/* purge.h: unlinks the files that a checkpoint does not name any more, a few at a time.
 *
 * Owner: the storage env; at the start, while there is none, the loop. Blocking calls. What is to be unlinked stands in the
 * list of files from before the purge, which is unlinked last: so a start goes on with it. */
#ifndef HOLDFAST_STORAGE_PURGE_H
#define HOLDFAST_STORAGE_PURGE_H

#include "protocol/base/env.h"
#include "protocol/base/err.h"

struct filelist;

struct purge {
    struct env *env;
    const char *binlog_dir, *index_dir;
    struct filelist *old; /* what there was */
    uint64_t list;        /* number of its file */
    size_t next, n;       /* files of it that go: [next, n) */
};

/* Takes the reference to `old`; `files` are those that stay. When the first of them is a new one, all old ones go. */
void purge_begin(struct purge *purge, struct env *env, const char *binlog_dir, const char *index_dir,
                 struct filelist *old, uint64_t list, const struct filelist *files);
void purge_end(struct purge *purge); /* what is left is left to the next start */

/* Unlinks at most `max` files. 1: there are more; 0: all are gone, durably, and so is the list. */
int purge_step(struct purge *purge, size_t max, struct errmsg *em);

/* Has a file of that name still to go? */
bool purge_holds(const struct purge *purge, uint64_t era, const char *name);

/* Writes the list of names (.index) of the era of file *at, the first of its era that is there; *at is then that of the next era. */
int purge_names(struct env *env, const char *binlog_dir, const struct filelist *files, size_t *at, struct errmsg *em);

/* At the start: ends what was begun before the checkpoint that names `list` and these files. *torn: but for what the damaged end of
 * the list from before named. */
int purge_resume(struct env *env, const char *binlog_dir, const char *index_dir, uint64_t list,
                 const struct filelist *files, bool *torn, struct errmsg *em);

#endif
