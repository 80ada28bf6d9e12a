/* sweep.c: removes what the list of files does not name, at a start that cannot trust the list's end.
 *
 * Happy path: normally the list itself says which files came after the checkpoint, and no directory is read. Where its
 * end is torn or damaged, files may be there that nothing names; they would lie there for ever, and be taken for whole by
 * who looks. So the directories are read, once: every binlog file that the checkpoint does not name goes, with its index,
 * and so does the list of names of an era without files. What the log holds of them comes again.
 *
 * Failure modes: those of the calls; the next start tries again, since the list is mended last. What does not look like a
 * binlog file is left alone. */
#include "protocol/base/mem.h"
#include "storage/dirs.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n > k && strcmp(name + n - k, end) == 0;
}

static bool has_era(const struct filelist *files, uint64_t era)
{
    size_t at = 0;
    struct filelist_file file = {.era = 0};
    if (filelist_count(files) > 0 && (era == 1 || filelist_after_era(files, era - 1, &at))) {
        filelist_get(files, at, &file);
    }
    return file.era == era;
}

/* In the directory of an era; `end` is what stands behind a binlog file's name. */
static bool is_left_over(const struct filelist *files, uint64_t era, const char *name, const char *end)
{
    size_t at;
    if (ends_with(name, ".index")) {
        return !has_era(files, era);
    }
    if (*end && !ends_with(name, end)) {
        return false;
    }
    char *file = mem_printf("%.*s", (int)(strlen(name) - strlen(end)), name);
    bool left = checkpoint_name_ok(file) && !filelist_find(files, era, file, &at);
    mem_free(file);
    return left;
}

static int sweep_era(struct env *env, const char *parent, uint64_t era, const struct filelist *files, const char *end,
                     struct errmsg *em)
{
    struct dirs_names names;
    char *dir = mem_printf("%s/%llu", parent, (unsigned long long)era);
    bool any = false;
    int rv = dirs_list(env, dir, &names, em);
    for (size_t i = 0; i < names.n && !rv; i++) {
        if (is_left_over(files, era, names.name[i], end)) {
            char *path = mem_printf("%s/%s", dir, names.name[i]);
            env_log(env, ENV_WARN, "a file that the checkpoint does not name is removed file=%s", path);
            rv = env_unlink(env, path, em);
            any = true;
            mem_free(path);
        }
    }
    if (!rv && any) {
        rv = env_sync_dir(env, dir, em);
    }
    dirs_names_free(&names);
    mem_free(dir);
    return rv;
}

static int sweep_all(struct env *env, const char *parent, const struct filelist *files, const char *end, struct errmsg *em)
{
    struct dirs_names eras;
    int rv = dirs_list(env, parent, &eras, em);
    for (size_t i = 0; i < eras.n && !rv; i++) {
        char *rest;
        uint64_t era = strtoull(eras.name[i], &rest, 10);
        if (eras.name[i][0] >= '1' && eras.name[i][0] <= '9' && !*rest) {
            rv = sweep_era(env, parent, era, files, end, em);
        }
    }
    dirs_names_free(&eras);
    return rv;
}

int sweep(struct env *env, const char *binlog_dir, const char *index_dir, const struct filelist *files, struct errmsg *em)
{
    env_log(env, ENV_WARN, "the list of files is torn or damaged behind what the checkpoint names; looking for files that came later");
    int rv = sweep_all(env, binlog_dir, files, "", em);
    return rv ? rv : sweep_all(env, index_dir, files, ".idx", em);
}
