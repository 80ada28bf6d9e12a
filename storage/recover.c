/* recover.c: brings the files to the checkpoint, at the start.
 *
 * Happy path: read the checkpoint and the list of files, look whether the newest file is there and long enough, cut
 * what was written after it, remove the files that the list names behind the checkpoint's part, mend the lists of
 * names (.index) where they differ; a purge that was under way is ended. Files that were sealed are not touched, and no
 * directory is read (but see storage/sweep.c): the number of calls does not depend on how many files there are. Readers see
 * whether sealed files are whole. Everything after the checkpoint comes again from the log.
 *
 * Failure modes: the newest file that the checkpoint names is missing or shorter, the list is damaged, or the
 * checkpoint is missing although there are eras: this node's data is damaged, the daemon must not start, and nothing
 * is changed. (The checkpoint is written when binlog/ is made, before any era, so its absence is never the state
 * after a crash.) */
#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/dirs.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_MAX = 1 << 30 };

/* ---- the checkpoint ------------------------------------------------------------------------------------ */

static void see_era(void *arg, const char *name)
{
    bool *any = arg;
    *any = *any || (name[0] >= '1' && name[0] <= '9');
}

static int load(struct env *env, const char *binlog_dir, struct checkpoint *cp, struct filelist **files,
                struct filelist **later, bool *torn, struct errmsg *em)
{
    bool any = false;
    int rv = checkpoint_load(env, binlog_dir, cp, files, later, torn, em);
    if (rv != E_NOTFOUND) {
        return rv;
    }
    rv = env_list_dir(env, binlog_dir, see_era, &any, em);
    if (!rv && any) {
        rv = err_set(em, E_CORRUPT, "%s/checkpoint is missing, but there are binlog files", binlog_dir);
    }
    if (!rv) {
        *cp = (struct checkpoint){.list = CHECKPOINT_FIRST_LIST};
        *files = filelist_new();
        *later = filelist_new();
        rv = checkpoint_save(env, binlog_dir, cp, em);
    }
    return rv;
}

/* Is the newest file there with at least its size? Then it is made exactly that long. */
static int check_newest(struct env *env, const char *path, uint64_t expected, struct errmsg *em)
{
    struct env_file *f;
    uint64_t size = 0;
    int rv = env_open(env, path, ENV_READ | ENV_WRITE, &f, em);
    if (rv == E_NOTFOUND) {
        return err_set(em, E_CORRUPT, "%s is missing; the checkpoint names it with %llu bytes", path,
                       (unsigned long long)expected);
    }
    if (rv) {
        return rv;
    }
    rv = env_size(f, &size, em);
    if (!rv && size < expected) {
        rv = err_set(em, E_CORRUPT, "%s has %llu bytes; the checkpoint names it with %llu", path,
                     (unsigned long long)size, (unsigned long long)expected);
    } else if (!rv && size > expected) {
        env_log(env, ENV_INFO, "binlog file cut to the checkpoint file=%s from=%llu to=%llu", path,
                (unsigned long long)size, (unsigned long long)expected);
        rv = env_truncate(f, expected, em);
        rv = rv ? rv : env_sync(f, em);
    }
    env_close(f);
    return rv;
}

/* ---- files that came later ----------------------------------------------------------------------------- */

static int remove_if_there(struct env *env, char *path, struct errmsg *em)
{
    int rv = env_unlink(env, path, em);
    if (!rv) {
        env_log(env, ENV_INFO, "file newer than the checkpoint removed file=%s", path);
    }
    mem_free(path);
    return rv == E_NOTFOUND ? 0 : rv;
}

/* The file, its index, and in an era that only now begins the list of names too. */
static int remove_later(struct env *env, const char *binlog_dir, const char *index_dir, bool new_era,
                        const struct filelist_file *file, struct errmsg *em)
{
    char *dir = mem_printf("%s/%llu", binlog_dir, (unsigned long long)file->era);
    int rv = remove_if_there(env, mem_printf("%s/%s", dir, file->name), em);
    rv = rv ? rv : remove_if_there(env, index_path(index_dir, file->era, file->name), em);
    if (!rv && new_era) {
        rv = remove_if_there(env, writer_names_path(dir, file->name), em);
    }
    rv = rv ? rv : dirs_sync(env, mem_str(dir), em);
    mem_free(dir);
    if (rv) {
        return rv;
    }
    /* the log may not bring it again, but files that were fetched take its place */
    return dirs_sync(env, mem_printf("%s/%llu", index_dir, (unsigned long long)file->era), em);
}

static int remove_all_later(struct env *env, const char *binlog_dir, const char *index_dir,
                            const struct filelist *files, const struct filelist *later, struct errmsg *em)
{
    struct filelist_walk w;
    struct filelist_file newest = {.era = 0};
    size_t n = filelist_count(files), at;
    int rv = 0;
    if (n > 0) {
        filelist_get(files, n - 1, &newest);
    }
    filelist_walk_begin(&w, later, n);
    while (!rv && filelist_walk_next(&w)) {
        if (!filelist_find(files, w.file.era, w.file.name, &at)) {
            rv = remove_later(env, binlog_dir, index_dir, w.file.era != newest.era, &w.file, em);
        }
    }
    return rv;
}

/* ---- the list of names --------------------------------------------------------------------------------- */

/* Cuts it behind the newest file's line. E_CORRUPT: up to there it is not what it should be. */
static int cut_names(struct env *env, const char *path, const struct buf *want, struct errmsg *em)
{
    struct env_file *f;
    struct buf have;
    buf_init(&have, NAMES_MAX);
    int rv = env_read_file(env, path, &have, em);
    rv = rv == E_NOTFOUND || rv == E_TOOBIG ? E_CORRUPT : rv;
    if (!rv && (have.len < want->len || memcmp(have.data, want->data, want->len) != 0)) {
        rv = E_CORRUPT;
    }
    if (!rv && have.len > want->len) {
        rv = env_open(env, path, ENV_WRITE, &f, em);
        if (!rv) {
            rv = env_truncate(f, want->len, em);
            rv = rv ? rv : env_sync(f, em);
            env_close(f);
        }
    }
    buf_free(&have);
    return rv;
}

/* `names`: those of the era, as the servers keep them beside their files; `last` is the last one. */
static int mend_names_of(struct env *env, const char *binlog_dir, const struct filelist_file *last,
                         const struct buf *names, struct errmsg *em)
{
    char *dir = mem_printf("%s/%llu", binlog_dir, (unsigned long long)last->era);
    char *path = writer_names_path(dir, last->name);
    int rv = names->err ? err_set(em, names->err, "%s: %s", path, err_text(names->err)) : cut_names(env, path, names, em);
    if (rv == E_CORRUPT) {
        env_log(env, ENV_WARN, "the list of names was missing or damaged and is written again file=%s", path);
        rv = env_replace_file(env, dir, strrchr(path, '/') + 1, names->data, names->len, em);
    }
    mem_free(path);
    mem_free(dir);
    return rv;
}

static int mend_names(struct env *env, const char *binlog_dir, const struct filelist *files, struct errmsg *em)
{
    struct filelist_walk w;
    struct filelist_file last = {.era = 0};
    struct buf names;
    int rv = 0;
    buf_init(&names, NAMES_MAX);
    filelist_walk_begin(&w, files, 0);
    for (bool more = true; more && !rv;) {
        more = filelist_walk_next(&w);
        if (last.era && (!more || w.file.era != last.era)) {
            rv = mend_names_of(env, binlog_dir, &last, &names, em);
            buf_reset(&names);
        }
        if (more) {
            buf_printf(&names, "./%s\n", w.file.name);
            last = w.file;
        }
    }
    buf_free(&names);
    return rv;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int bring_to(struct env *env, const char *binlog_dir, const char *index_dir, const struct checkpoint *cp,
                    const struct filelist *files, const struct filelist *later, bool torn, struct errmsg *em)
{
    struct filelist_file newest;
    int rv = 0;
    if (cp->n > 0) {
        filelist_get(files, cp->n - 1, &newest);
        char *path = mem_printf("%s/%llu/%s", binlog_dir, (unsigned long long)newest.era, newest.name);
        rv = check_newest(env, path, cp->size, em);
        mem_free(path);
    }
    rv = rv ? rv : remove_all_later(env, binlog_dir, index_dir, files, later, em);
    rv = rv ? rv : reset_resume(env, binlog_dir, index_dir, cp->list, em);
    rv = rv ? rv : purge_resume(env, binlog_dir, index_dir, cp->list, files, &torn, em);
    if (!rv && torn) {
        rv = sweep(env, binlog_dir, index_dir, files, em);
    }
    rv = rv ? rv : mend_names(env, binlog_dir, files, em);
    return rv ? rv : checkpoint_cut_list(env, binlog_dir, cp, em); /* last: it tells what is to be removed */
}

int recover(struct env *env, const char *data_dir, const char *binlog_dir, const char *index_dir,
            struct checkpoint *cp, struct filelist **files, struct errmsg *em)
{
    struct filelist *later = NULL;
    bool torn = false;
    *cp = (struct checkpoint){0};
    *files = NULL;
    int rv = env_make_dir(env, data_dir, "binlog", em);
    rv = rv ? rv : env_make_dir(env, data_dir, "index", em);
    rv = rv ? rv : env_sync_dir(env, data_dir, em); /* a crash may have come between making and syncing */
    rv = rv ? rv : load(env, binlog_dir, cp, files, &later, &torn, em);
    rv = rv ? rv : env_sync_dir(env, binlog_dir, em); /* the same: the checkpoint's name may not be durable */
    rv = rv ? rv : bring_to(env, binlog_dir, index_dir, cp, *files, later, torn, em);
    if (rv) {
        filelist_unref(*files);
        *files = NULL;
    }
    filelist_unref(later);
    return rv;
}
