/* install.c: see install.h.
 *
 * Happy path: each file in fetch/ERA that the list names is renamed to binlog/ERA, and its index to index/ERA (where there is none what stood there is
 * unlinked: it is made again when it is wanted), the lists of names are written, then the list of files, then the checkpoint that names it: from then on it is done. What the list does not name is
 * unlinked afterwards by a purge, which a start goes on with.
 *
 * Failure modes: after a crash part of the files has been renamed; the rest follows. Without the mark nothing in fetch/ is used. */
#include "storage/install.h"

#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "storage/checkpoint.h"
#include "storage/dirs.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <stdlib.h>
#include <string.h>

#define MARK_MAGIC "HFIN"
#define INDEX_SUFFIX ".idx"

enum { MARK_SIZE = 16 };

/* ---- paths and directories ----------------------------------------------------------------------------- */

char *install_path(const char *data_dir, uint64_t era, const char *name)
{
    return mem_printf("%s/fetch/%llu/%s", data_dir, (unsigned long long)era, name);
}

static char *era_dir(const char *data_dir, const char *part, uint64_t era)
{
    return mem_printf("%s/%s/%llu", data_dir, part, (unsigned long long)era);
}

/* Calls each() for the eras that have a directory in fetch/. */
static int each_era(struct env *env, const char *data_dir, int (*each)(void *arg, uint64_t era, struct errmsg *em), void *arg, struct errmsg *em)
{
    struct dirs_names names;
    char *dir = mem_printf("%s/fetch", data_dir);
    int rv = dirs_list(env, dir, &names, em);
    for (size_t i = 0; i < names.n && !rv; i++) {
        uint64_t era = strtoull(names.name[i], NULL, 10);
        rv = era ? each(arg, era, em) : 0;
    }
    dirs_names_free(&names);
    mem_free(dir);
    return rv;
}

/* ---- the mark ------------------------------------------------------------------------------------------ */

struct place {
    struct env *env;
    const char *data_dir;
    const struct install *install;
};

static int sync_era(void *arg, uint64_t era, struct errmsg *em)
{
    const struct place *p = arg;
    char *dir = era_dir(p->data_dir, "fetch", era);
    int rv = env_sync_dir(p->env, dir, em);
    mem_free(dir);
    return rv;
}

int install_mark(struct env *env, const char *data_dir, uint64_t index, struct errmsg *em)
{
    struct place place = {.env = env, .data_dir = data_dir};
    struct buf b;
    int rv = env_make_dir(env, data_dir, "fetch", em);
    rv = rv ? rv : each_era(env, data_dir, sync_era, &place, em);
    if (rv) {
        return rv;
    }
    char *dir = mem_printf("%s/fetch", data_dir);
    buf_init(&b, MARK_SIZE);
    buf_str(&b, MARK_MAGIC);
    buf_u64(&b, index);
    buf_u32(&b, crc32c_of(0, b.data, b.len));
    rv = env_replace_file(env, dir, "ready", b.data, b.len, em);
    buf_free(&b);
    mem_free(dir);
    return rv;
}

int install_marked(struct env *env, const char *data_dir, uint64_t *index, struct errmsg *em)
{
    struct buf b;
    char *path = mem_printf("%s/fetch/ready", data_dir);
    *index = 0;
    buf_init(&b, MARK_SIZE);
    int rv = env_read_file(env, path, &b, em);
    if (!rv && b.len == MARK_SIZE && !memcmp(b.data, MARK_MAGIC, 4)) {
        struct cur c = cur_of(b.data + 4, b.len - 4);
        uint64_t found = cur_u64(&c);
        *index = cur_u32(&c) == crc32c_of(0, b.data, MARK_SIZE - 4) ? found : 0;
    }
    buf_free(&b);
    mem_free(path);
    return rv == E_NOTFOUND || rv == E_TOOBIG ? 0 : rv;
}

/* ---- dropping ------------------------------------------------------------------------------------------ */

static int drop_era(void *arg, uint64_t era, struct errmsg *em)
{
    const struct place *p = arg;
    struct dirs_names names;
    char *dir = era_dir(p->data_dir, "fetch", era);
    int rv = dirs_list(p->env, dir, &names, em);
    for (size_t i = 0; i < names.n && !rv; i++) {
        rv = dirs_unlink(p->env, mem_printf("%s/%s", dir, names.name[i]), em);
    }
    dirs_names_free(&names);
    mem_free(dir);
    return rv;
}

int install_drop(struct env *env, const char *data_dir, struct errmsg *em)
{
    struct place place = {.env = env, .data_dir = data_dir};
    char *dir = mem_printf("%s/fetch", data_dir);
    int rv = dirs_unlink(env, mem_printf("%s/ready", dir), em);
    if (!rv) {
        rv = env_sync_dir(env, dir, em);
        rv = rv == E_NOTFOUND ? 0 : rv;
    }
    mem_free(dir);
    return rv ? rv : each_era(env, data_dir, drop_era, &place, em);
}

/* ---- what is to be put in place --------------------------------------------------------------------------- */

int install_put_index(struct env *env, const char *data_dir, uint64_t era, const char *name, const struct buf *index, struct errmsg *em)
{
    char *dir = era_dir(data_dir, "fetch", era), *file = mem_printf("%s" INDEX_SUFFIX, name);
    int rv = index->len ? env_replace_file(env, dir, file, index->data, index->len, em) : dirs_unlink(env, mem_printf("%s/%s", dir, file), em);
    mem_free(dir);
    mem_free(file);
    return rv;
}

/* The list has the file, or that whose index it is, at or behind `from`. */
static bool is_of(const struct filelist *files, uint64_t era, const char *name, size_t from, bool *is_index)
{
    size_t n = strlen(name), k = strlen(INDEX_SUFFIX), at = 0;
    *is_index = n > k && !strcmp(name + n - k, INDEX_SUFFIX);
    char *file = mem_printf("%.*s", (int)(*is_index ? n - k : n), name);
    bool found = checkpoint_name_ok(file) && filelist_find(files, era, file, &at) && at >= from;
    mem_free(file);
    return found;
}

struct keep {
    struct place place;
    const struct filelist *files;
    size_t from;
};

static int keep_era(void *arg, uint64_t era, struct errmsg *em)
{
    const struct keep *k = arg;
    struct dirs_names names;
    bool is_index;
    char *dir = era_dir(k->place.data_dir, "fetch", era);
    int rv = dirs_list(k->place.env, dir, &names, em);
    for (size_t i = 0; i < names.n && !rv; i++) {
        if (!is_of(k->files, era, names.name[i], k->from, &is_index)) {
            rv = dirs_unlink(k->place.env, mem_printf("%s/%s", dir, names.name[i]), em);
        }
    }
    dirs_names_free(&names);
    mem_free(dir);
    return rv;
}

int install_keep(struct env *env, const char *data_dir, const struct filelist *files, size_t from, struct errmsg *em)
{
    struct keep keep = {.place = {.env = env, .data_dir = data_dir}, .files = files, .from = from};
    return each_era(env, data_dir, keep_era, &keep, em);
}

/* ---- putting in place ---------------------------------------------------------------------------------- */

static int move_index(const struct place *p, uint64_t era, const char *name, struct errmsg *em)
{
    char *from = install_path(p->data_dir, era, name), *to = mem_printf("%s/index/%llu/%s", p->data_dir, (unsigned long long)era, name);
    int rv = env_rename(p->env, from, to, em);
    mem_free(from);
    mem_free(to);
    return rv;
}

static int move_file(const struct place *p, uint64_t era, const char *name, struct errmsg *em)
{
    char *index_dir = mem_printf("%s/index", p->data_dir);
    char *from = install_path(p->data_dir, era, name), *to = mem_printf("%s/binlog/%llu/%s", p->data_dir, (unsigned long long)era, name);
    int rv = dirs_unlink(p->env, index_path(index_dir, era, name), em); /* of what stood there before */
    rv = rv ? rv : env_rename(p->env, from, to, em);
    mem_free(index_dir);
    mem_free(from);
    mem_free(to);
    return rv;
}

/* A new era has no directories yet. */
static int make_dirs(const struct place *p, uint64_t era, struct errmsg *em)
{
    static const char *const parts[] = {"binlog", "index"};
    int rv = 0;
    for (size_t i = 0; i < 2 && !rv; i++) {
        char *dir = mem_printf("%s/%s", p->data_dir, parts[i]), *name = mem_printf("%llu", (unsigned long long)era);
        rv = env_make_dir(p->env, dir, name, em);
        rv = rv ? rv : env_sync_dir(p->env, dir, em); /* it may be there since a moment before a crash */
        mem_free(dir);
        mem_free(name);
    }
    return rv;
}

static int sync_dirs(const struct place *p, uint64_t era, struct errmsg *em)
{
    char *binlog = era_dir(p->data_dir, "binlog", era), *index = era_dir(p->data_dir, "index", era);
    int rv = env_sync_dir(p->env, binlog, em);
    rv = rv ? rv : env_sync_dir(p->env, index, em);
    mem_free(binlog);
    mem_free(index);
    return rv;
}

static int move_era(void *arg, uint64_t era, struct errmsg *em)
{
    const struct place *p = arg;
    struct dirs_names names;
    bool is_index;
    char *dir = era_dir(p->data_dir, "fetch", era);
    int rv = dirs_list(p->env, dir, &names, em);
    rv = rv || !names.n ? rv : make_dirs(p, era, em);
    for (size_t i = 0; i < names.n && !rv; i++) {
        if (is_of(p->install->files, era, names.name[i], 0, &is_index) && !is_index) {
            rv = move_file(p, era, names.name[i], em);
        }
    }
    for (size_t i = 0; i < names.n && !rv; i++) { /* behind the files: a file's move takes away what stood there */
        if (is_of(p->install->files, era, names.name[i], 0, &is_index) && is_index) {
            rv = move_index(p, era, names.name[i], em);
        }
    }
    rv = rv || !names.n ? rv : sync_dirs(p, era, em);
    dirs_names_free(&names);
    mem_free(dir);
    return rv;
}

int install_apply(struct env *env, const char *data_dir, const struct install *in, uint64_t list, struct errmsg *em)
{
    struct place place = {.env = env, .data_dir = data_dir, .install = in};
    struct checkpoint cp = {.index = in->index, .boundary = in->boundary, .size = in->size};
    char *binlog_dir = mem_printf("%s/binlog", data_dir);
    int rv = env_make_dir(env, data_dir, "binlog", em);
    rv = rv ? rv : env_make_dir(env, data_dir, "index", em);
    rv = rv ? rv : each_era(env, data_dir, move_era, &place, em);
    for (size_t at = 0; at < filelist_count(in->files) && !rv;) {
        rv = purge_names(env, binlog_dir, in->files, &at, em);
    }
    rv = rv ? rv : checkpoint_put_list(env, binlog_dir, list + 1, in->files, em);
    checkpoint_name_files(&cp, list + 1, in->files);
    rv = rv ? rv : checkpoint_save(env, binlog_dir, &cp, em);
    mem_free(binlog_dir);
    return rv ? rv : install_drop(env, data_dir, em);
}

int install_resume(struct env *env, const char *data_dir, const struct install *in, struct errmsg *em)
{
    struct checkpoint cp;
    struct filelist *files, *later;
    bool torn = false; /* recover.c sees to it */
    char *binlog_dir = mem_printf("%s/binlog", data_dir);
    int rv = checkpoint_load(env, binlog_dir, &cp, &files, &later, &torn, em);
    mem_free(binlog_dir);
    if (rv == E_NOTFOUND) {
        cp = (struct checkpoint){.list = CHECKPOINT_FIRST_LIST};
        files = later = NULL;
        rv = 0;
    }
    filelist_unref(files);
    filelist_unref(later);
    if (!rv && cp.index < in->index) {
        env_log(env, ENV_INFO, "fetched files are put in place, which was begun before the start index=%llu", (unsigned long long)in->index);
        return install_apply(env, data_dir, in, cp.list, em);
    }
    return rv ? rv : install_drop(env, data_dir, em);
}
