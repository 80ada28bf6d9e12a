/* install.h: files that were fetched from another member take the place of those that are here.
 *
 * They lie in fetch/ERA/NAME, whole and synced, each with its index beside it (NAME.idx) where there is one; those that are here already do not. Once install_mark has returned, the owner may
 * decide for them (in a place of its own: a snapshot of that index), and from then on install_apply must come to its end, after a crash
 * too: at the next start, before store_open. It may be called again and again.
 *
 * Blocking calls, on any env that may. */
#ifndef HOLDFAST_STORAGE_INSTALL_H
#define HOLDFAST_STORAGE_INSTALL_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"
#include "protocol/base/err.h"

struct filelist;

/* All files there will be, and what a checkpoint says of the newest one. */
struct install {
    uint64_t index;
    uint64_t boundary, size;
    struct filelist *files;
};

/* "data_dir/fetch/ERA/NAME", to be freed with mem_free. */
char *install_path(const char *data_dir, uint64_t era, const char *name);

/* The index of a file that lies there and will not change any more before it is put in place; an empty one: there is to be none. */
int install_put_index(struct env *env, const char *data_dir, uint64_t era, const char *name, const struct buf *index, struct errmsg *em);

/* Removes from fetch/ what is not one of these files from `from` on, or of their indexes: what lies there would take a place. */
int install_keep(struct env *env, const char *data_dir, const struct filelist *files, size_t from, struct errmsg *em);

/* Makes fetch/ and what is in it durable, and says that it is whole: for this index. */
int install_mark(struct env *env, const char *data_dir, uint64_t index, struct errmsg *em);
/* The index that it is whole for; 0: none. */
int install_marked(struct env *env, const char *data_dir, uint64_t *index, struct errmsg *em);

/* Puts the files in place; `list` is the number of the list of files so far, the new one has the next. Then removes fetch/'s content. */
int install_apply(struct env *env, const char *data_dir, const struct install *install, uint64_t list, struct errmsg *em);

/* At the start: the same, if the checkpoint is older. */
int install_resume(struct env *env, const char *data_dir, const struct install *install, struct errmsg *em);

/* What is in fetch/ is not wanted any more; the mark goes first. Its directories stay. */
int install_drop(struct env *env, const char *data_dir, struct errmsg *em);

#endif
