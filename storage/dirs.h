/* dirs.h: private to storage/: what a start and a change of many files need beyond protocol/base/env.h: that a thing may be gone already,
 * since an earlier attempt got so far. Blocking calls, on any env. */
#ifndef HOLDFAST_STORAGE_DIRS_H
#define HOLDFAST_STORAGE_DIRS_H

#include "protocol/base/env.h"
#include "protocol/base/err.h"

/* Both free the path. What is not there is no error. */
int dirs_unlink(struct env *env, char *path, struct errmsg *em);
int dirs_sync(struct env *env, char *path, struct errmsg *em);

/* The names in a directory; none when it is not there. To be freed also after an error. */
struct dirs_names {
    char **name;
    size_t n;
};
int dirs_list(struct env *env, const char *dir, struct dirs_names *names, struct errmsg *em);
void dirs_names_free(struct dirs_names *names);

#endif
