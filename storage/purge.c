/* purge.c: see purge.h.
 *
 * Happy path: the checkpoint names a list without the oldest files. Each of these is unlinked, with its index; the list
 * of names of an era that is gone as well; then the directories are synced, and the list from before is unlinked.
 *
 * Failure modes: a crash leaves the old list, which says what is to go; what is gone already is no error. An unlink that fails
 * is the caller's to die of: the disk is not what it seems. */
#include "storage/purge.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/checkpoint.h"
#include "storage/dirs.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <string.h>

enum { NAMES_MAX = 1 << 30, OLD_LIST_MAX = 1 << 30 };

void purge_begin(struct purge *p, struct env *env, const char *binlog_dir, const char *index_dir,
                 struct filelist *old, uint64_t list, const struct filelist *files)
{
    struct filelist_file first;
    *p = (struct purge){.env = env, .binlog_dir = binlog_dir, .index_dir = index_dir, .old = old, .list = list};
    if (filelist_count(files) > 0) {
        filelist_get(files, 0, &first);
        if (!filelist_find(old, first.era, first.name, &p->n)) {
            p->n = filelist_count(old);
        }
    }
}

void purge_end(struct purge *p)
{
    filelist_unref(p->old);
    p->old = NULL;
}

bool purge_holds(const struct purge *p, uint64_t era, const char *name)
{
    size_t at;
    return filelist_find(p->old, era, name, &at) && at >= p->next && at < p->n;
}

/* Those of an era are unlinked as far as they go for now. */
static int settle_era(const struct purge *p, uint64_t era, struct errmsg *em)
{
    int rv = dirs_sync(p->env, mem_printf("%s/%llu", p->binlog_dir, (unsigned long long)era), em);
    return rv ? rv : dirs_sync(p->env, mem_printf("%s/%llu", p->index_dir, (unsigned long long)era), em);
}

static int unlink_one(const struct purge *p, const struct filelist_file *file, struct errmsg *em)
{
    char *dir = mem_printf("%s/%llu", p->binlog_dir, (unsigned long long)file->era);
    size_t after;
    int rv = dirs_unlink(p->env, mem_printf("%s/%s", dir, file->name), em);
    rv = rv ? rv : dirs_unlink(p->env, index_path(p->index_dir, file->era, file->name), em);
    bool gone = filelist_after_era(p->old, file->era, &after) && after <= p->n; /* all of that era goes */
    if (!rv && gone && file->at + 1 == after) {
        rv = dirs_unlink(p->env, writer_names_path(dir, file->name), em);
    }
    if (!rv) {
        env_log(p->env, ENV_INFO, "binlog file purged file=%s/%s", dir, file->name);
    }
    mem_free(dir);
    return rv;
}

int purge_step(struct purge *p, size_t max, struct errmsg *em)
{
    struct filelist_walk w;
    uint64_t era = 0;
    int rv = 0;
    filelist_walk_begin(&w, p->old, p->next);
    while (!rv && p->next < p->n && max-- > 0 && filelist_walk_next(&w)) {
        if (era && w.file.era != era) {
            rv = settle_era(p, era, em);
        }
        era = w.file.era;
        rv = rv ? rv : unlink_one(p, &w.file, em);
        p->next += !rv;
    }
    if (!rv && era) {
        rv = settle_era(p, era, em);
    }
    if (rv || p->next < p->n) {
        return rv ? rv : 1;
    }
    rv = dirs_unlink(p->env, checkpoint_list_path(p->binlog_dir, p->list), em);
    return rv ? rv : env_sync_dir(p->env, p->binlog_dir, em);
}

int purge_names(struct env *env, const char *binlog_dir, const struct filelist *files, size_t *at, struct errmsg *em)
{
    struct filelist_file first, last = {.era = 0};
    struct filelist_walk w;
    struct buf names;
    filelist_get(files, *at, &first);
    buf_init(&names, NAMES_MAX);
    filelist_walk_begin(&w, files, *at);
    while (filelist_walk_next(&w) && w.file.era == first.era) {
        buf_printf(&names, "./%s\n", w.file.name);
        last = w.file;
    }
    *at = last.at + 1;
    char *dir = mem_printf("%s/%llu", binlog_dir, (unsigned long long)first.era);
    char *path = writer_names_path(dir, last.name);
    int rv = names.err ? err_set(em, names.err, "%s: %s", path, err_text(names.err))
                       : env_replace_file(env, dir, strrchr(path, '/') + 1, names.data, names.len, em);
    buf_free(&names);
    mem_free(path);
    mem_free(dir);
    return rv;
}

/* Of a purge that was over before its checkpoint was there. */
static int unlink_unused_list(struct env *env, const char *binlog_dir, uint64_t list, struct errmsg *em)
{
    return dirs_unlink(env, checkpoint_list_path(binlog_dir, list), em);
}

static int load_old(struct env *env, const char *binlog_dir, uint64_t list, struct filelist **old, bool *torn, struct errmsg *em)
{
    struct buf data;
    char *path = checkpoint_list_path(binlog_dir, list);
    *old = NULL;
    buf_init(&data, OLD_LIST_MAX);
    int rv = env_read_file(env, path, &data, em);
    rv = rv ? rv : filelist_load(data.data, data.len, true, old, em);
    *torn = *torn || (!rv && filelist_size(*old) < data.len);
    buf_free(&data);
    mem_free(path);
    return rv;
}

int purge_resume(struct env *env, const char *binlog_dir, const char *index_dir, uint64_t list,
                 const struct filelist *files, bool *torn, struct errmsg *em)
{
    struct purge p;
    struct filelist *old;
    size_t first = 0;
    int rv = unlink_unused_list(env, binlog_dir, list + 1, em);
    rv = rv || list == CHECKPOINT_FIRST_LIST ? rv : load_old(env, binlog_dir, list - 1, &old, torn, em);
    if (rv || list == CHECKPOINT_FIRST_LIST) {
        return rv == E_NOTFOUND ? 0 : rv;
    }
    env_log(env, ENV_INFO, "a purge is ended that was begun before the start");
    purge_begin(&p, env, binlog_dir, index_dir, old, list - 1, files);
    rv = filelist_count(files) ? purge_names(env, binlog_dir, files, &first, em) : 0;
    rv = rv ? rv : purge_step(&p, SIZE_MAX, em);
    purge_end(&p);
    return rv;
}
