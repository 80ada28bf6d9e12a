/* store.c: the loop's side of the store: start, jobs, end.
 *
 * Happy path at the start: read the checkpoint, look whether the newest file that it names is there and long
 * enough, cut what was written after it, bring its index there too, remove files that came after it, write the
 * list of names (.index) anew where it differs, spawn the storage env. Files that were sealed, and eras that
 * ended, are not touched: their readers see whether they are whole. Everything after the checkpoint comes again
 * from the log. Then each call makes a job, posts it, and its done() runs when it returns.
 *
 * Failure modes: the newest file that the checkpoint names is missing or shorter, or the checkpoint is missing
 * although there are eras: this node's data is damaged, the daemon must not start, and nothing is changed.
 * (The checkpoint is written when binlog/ is made, before any era, so its absence is never the state after a
 * crash.) */
#include "storage/store.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/gtid.h"
#include "storage/impl.h"

#include <stdlib.h>
#include <string.h>

enum { INDEX_FILE_MAX = 64 << 20 };

/* ---- recovery ------------------------------------------------------------------------------------------ */

struct names {
    size_t n;
    char **names;
};

static void names_add(void *arg, const char *name)
{
    struct names *names = arg;
    names->names = mem_grow(names->names, names->n + 1, sizeof *names->names);
    names->names[names->n++] = mem_str(name);
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        mem_free(names->names[i]);
    }
    mem_free(names->names);
    *names = (struct names){0};
}

/* 0 when it is no era's directory. */
static uint64_t era_of(const char *name)
{
    char *end;
    if (name[0] < '1' || name[0] > '9') {
        return 0;
    }
    unsigned long long era = strtoull(name, &end, 10);
    return *end ? 0 : era;
}

/* Directories are listed in the order of the names, which is mostly that of the checkpoint: *at is where to
 * look first. */
static bool has_file(const struct checkpoint *cp, uint64_t era, const char *name, size_t *at)
{
    for (size_t i = 0; i < cp->n; i++, ++*at) {
        const struct checkpoint_file *file = &cp->files[*at % cp->n];
        if (file->era == era && strcmp(file->name, name) == 0) {
            *at = *at % cp->n + 1;
            return true;
        }
    }
    return false;
}

/* Is the file there with at least its size? Then it is made exactly that long. */
static int check_file(struct env *env, const char *binlog_dir, const struct checkpoint_file *file,
                      struct errmsg *em)
{
    struct env_file *f;
    uint64_t size = 0;
    char *path = mem_printf("%s/%llu/%s", binlog_dir, (unsigned long long)file->era, file->name);
    int rv = env_open(env, path, ENV_READ | ENV_WRITE, &f, em);
    if (rv) {
        rv = rv == E_NOTFOUND
                 ? err_set(em, E_CORRUPT, "%s is missing; the checkpoint names it with %llu bytes", path,
                           (unsigned long long)file->size)
                 : rv;
        mem_free(path);
        return rv;
    }
    rv = env_size(f, &size, em);
    if (!rv && size < file->size) {
        rv = err_set(em, E_CORRUPT, "%s has %llu bytes; the checkpoint names it with %llu", path,
                     (unsigned long long)size, (unsigned long long)file->size);
    } else if (!rv && size > file->size) {
        env_log(env, ENV_INFO, "binlog file cut to the checkpoint file=%s from=%llu to=%llu", path,
                (unsigned long long)size, (unsigned long long)file->size);
        rv = env_truncate(f, file->size, em);
        rv = rv ? rv : env_sync(f, em);
    }
    env_close(f);
    mem_free(path);
    return rv;
}

/* The newest file only: what was sealed is looked at when it is first used, so that the start does not take
 * longer with each file. */
static int check_newest(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em)
{
    return cp->n > 0 ? check_file(env, binlog_dir, &cp->files[cp->n - 1], em) : 0;
}

/* The list of names as the servers keep it beside their files. */
static int write_index(struct env *env, const char *dir, uint64_t era, const struct checkpoint *cp,
                       struct errmsg *em)
{
    struct buf want, have;
    const char *base = NULL;
    buf_init(&want, INDEX_FILE_MAX);
    buf_init(&have, INDEX_FILE_MAX);
    for (size_t i = 0; i < cp->n; i++) {
        if (cp->files[i].era == era) {
            base = base ? base : cp->files[i].name;
            buf_printf(&want, "./%s\n", cp->files[i].name);
        }
    }
    int rv = 0;
    if (base) {
        char *name = mem_printf("%.*s.index", (int)(strrchr(base, '.') - base), base);
        char *path = mem_printf("%s/%s", dir, name);
        rv = env_read_file(env, path, &have, NULL);
        if (rv || have.len != want.len || memcmp(have.data, want.data, want.len) != 0) {
            rv = want.err ? err_set(em, want.err, "%s: %s", path, err_text(want.err))
                          : env_replace_file(env, dir, name, want.data, want.len, em);
        }
        mem_free(path);
        mem_free(name);
    }
    buf_free(&have);
    buf_free(&want);
    return rv;
}

static bool is_index(const char *name)
{
    size_t n = strlen(name);
    return n > 6 && strcmp(name + n - 6, ".index") == 0;
}

/* Removes what came after the checkpoint. What does not look like a binlog file is not ours to remove. */
static int clean_era(struct env *env, const char *binlog_dir, const char *index_dir, const char *era_name,
                     const struct checkpoint *cp, struct errmsg *em)
{
    struct names names = {0};
    bool removed = false, any = false;
    size_t at = 0;
    uint64_t era = era_of(era_name);
    char *dir = mem_printf("%s/%s", binlog_dir, era_name);
    for (size_t i = 0; i < cp->n; i++) {
        any = any || cp->files[i].era == era;
    }
    int rv = env_list_dir(env, dir, names_add, &names, em);
    for (size_t i = 0; i < names.n && !rv; i++) {
        bool ours = checkpoint_name_ok(names.names[i]) ? !has_file(cp, era, names.names[i], &at)
                                                       : !any && is_index(names.names[i]);
        if (ours) {
            char *path = mem_printf("%s/%s", dir, names.names[i]);
            env_log(env, ENV_INFO, "binlog file newer than the checkpoint removed file=%s", path);
            char *sidecar = index_path(index_dir, era, names.names[i]);
            rv = env_unlink(env, path, em);
            (void)env_unlink(env, sidecar, NULL); /* there or not: a new file of that name begins a new one */
            removed = true;
            mem_free(sidecar);
            mem_free(path);
        }
    }
    if (!rv) {
        rv = write_index(env, dir, era, cp, em);
    }
    if (!rv && removed) {
        rv = env_sync_dir(env, dir, em);
    }
    names_free(&names);
    mem_free(dir);
    return rv;
}

static int load_checkpoint(struct env *env, const char *binlog_dir, const struct names *eras,
                           struct checkpoint *cp, struct errmsg *em)
{
    int rv = checkpoint_load(env, binlog_dir, cp, em);
    if (rv != E_NOTFOUND) {
        return rv;
    }
    for (size_t i = 0; i < eras->n; i++) {
        if (era_of(eras->names[i])) {
            return err_set(em, E_CORRUPT, "%s/checkpoint is missing, but there are binlog files", binlog_dir);
        }
    }
    return checkpoint_save(env, binlog_dir, cp, em);
}

static int recover(struct env *env, const char *data_dir, const char *binlog_dir, const char *index_dir,
                   struct checkpoint *cp, struct errmsg *em)
{
    struct names eras = {0};
    *cp = (struct checkpoint){0};
    int rv = env_make_dir(env, data_dir, "binlog", em);
    rv = rv ? rv : env_make_dir(env, data_dir, "index", em);
    rv = rv ? rv : env_sync_dir(env, data_dir, em); /* a crash may have come between making and syncing */
    rv = rv ? rv : env_list_dir(env, binlog_dir, names_add, &eras, em);
    rv = rv ? rv : load_checkpoint(env, binlog_dir, &eras, cp, em);
    rv = rv ? rv : check_newest(env, binlog_dir, cp, em);
    uint64_t newest = cp->n > 0 ? cp->files[cp->n - 1].era : 1;
    for (size_t i = 0; i < eras.n && !rv; i++) {
        if (era_of(eras.names[i]) >= newest) {
            rv = clean_era(env, binlog_dir, index_dir, eras.names[i], cp, em);
        }
    }
    names_free(&eras);
    return rv;
}

/* ---- open ---------------------------------------------------------------------------------------------- */

static void start_writer(struct store *store, const struct checkpoint *cp)
{
    struct writer *w = &store->writer;
    w->env = store->env;
    w->store = store;
    w->waiting_tail = &w->waiting;
    w->rebuilds_tail = &w->rebuilds;
    w->opened_index = w->checkpoint_index = cp->index;
    w->catalog = catalog_load(w->binlog_dir, cp);
    if (cp->n > 0) {
        w->end = cp->files[cp->n - 1].size;
        w->boundary = cp->boundary;
        w->checkpoint_ordinal = catalog_newest(w->catalog)->file->ordinal;
        w->checkpoint_size = w->end;
        atomic_store(&store->watermark, watermark_of(w->checkpoint_ordinal, w->boundary));
    }
    store->checkpoint_index = cp->index;
}

static void take_options(struct store *store, const struct store_options *options)
{
    store->options = options ? *options : (struct store_options){0};
    struct store_options *o = &store->options;
    o->index_step = o->index_step ? o->index_step : INDEX_STEP;
    o->index_block = o->index_block ? o->index_block : INDEX_BLOCK;
    o->walk_max = o->walk_max ? o->walk_max : STORE_WALK_MAX;
}

static void store_free(struct store *store)
{
    mem_free(store->writer.binlog_dir);
    mem_free(store->index_dir);
    mem_free(store);
}

int store_open(struct env *loop, const char *data_dir, struct store **out, struct errmsg *em)
{
    return store_open_with(loop, data_dir, NULL, out, em);
}

int store_open_with(struct env *loop, const char *data_dir, const struct store_options *options,
                    struct store **out, struct errmsg *em)
{
    struct checkpoint cp;
    struct store *store = mem_new(sizeof *store);
    *out = NULL;
    store->loop = loop;
    store->writer.store = store;
    store->writer.binlog_dir = mem_printf("%s/binlog", data_dir);
    store->index_dir = mem_printf("%s/index", data_dir);
    take_options(store, options);
    int rv = recover(loop, data_dir, store->writer.binlog_dir, store->index_dir, &cp, em);
    if (!rv && cp.n > 0) {
        rv = writer_index_resume(&store->writer, loop, &cp, em);
    }
    if (!rv) {
        rv = env_spawn(loop, "storage", &store->env);
        if (rv) {
            err_set(em, rv, "cannot start the storage thread: %s", err_text(rv));
            writer_index_close(&store->writer);
        }
    }
    if (rv) {
        store_free(store);
    } else {
        start_writer(store, &cp);
        *out = store;
    }
    checkpoint_free(&cp);
    return rv;
}

uint64_t store_checkpoint_index(const struct store *store)
{
    return store->checkpoint_index;
}

uint64_t store_pending(const struct store *store)
{
    return store->pending;
}

bool store_name_ok(const char *name)
{
    return checkpoint_name_ok(name);
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

static struct store_job *job_new(struct store *store, enum job_kind kind, uint64_t index,
                                 void (*done)(void *arg), void *arg)
{
    CHECK(!store->closing);
    struct store_job *job = mem_new(sizeof *job);
    job->msg.run = writer_run_job;
    job->store = store;
    job->kind = kind;
    job->index = index;
    job->done = done;
    job->arg = arg;
    return job;
}

static void job_post(struct store_job *job)
{
    atomic_fetch_add(&job->store->queued,
                     1); /* before the post: the writer must not see fewer than there are */
    env_post(job->store->env, &job->msg);
}

void store_file(struct store *store, uint64_t index, uint64_t era, const char *name,
                const struct gtid_set *state_before)
{
    struct store_job *job = job_new(store, JOB_FILE, index, NULL, NULL);
    job->file = catalog_file_new(store->writer.binlog_dir, era, name, state_before);
    job_post(job);
}

void store_write(struct store *store, uint64_t index, uint64_t offset, const uint8_t *bytes, size_t n,
                 uint64_t boundary, void (*done)(void *arg), void *arg)
{
    store_write_txns(store, index, offset, bytes, n, boundary, NULL, done, arg);
}

void store_write_txns(struct store *store, uint64_t index, uint64_t offset, const uint8_t *bytes, size_t n,
                      uint64_t boundary, const struct store_txns *txns, void (*done)(void *arg), void *arg)
{
    CHECK(n <= STORE_WRITE_MAX);
    struct store_job *job = job_new(store, JOB_WRITE, index, done, arg);
    job->offset = offset;
    job->bytes = bytes;
    job->n = n;
    job->boundary = boundary;
    job->txns = txns ? *txns : (struct store_txns){.next = NULL};
    store->pending += n;
    job_post(job);
}

void store_cut(struct store *store, uint64_t index, uint64_t boundary)
{
    struct store_job *job = job_new(store, JOB_CUT, index, NULL, NULL);
    job->boundary = boundary;
    job_post(job);
}

void store_checkpoint(struct store *store, uint64_t index, void (*done)(void *arg), void *arg)
{
    job_post(job_new(store, JOB_CHECKPOINT, index, done, arg));
}

void store_drain(struct store *store, void (*done)(void *arg), void *arg)
{
    job_post(job_new(store, JOB_DRAIN, 0, done, arg));
}

void store_close(struct store *store, void (*closed)(void *arg), void *arg)
{
    struct store_job *job = job_new(store, JOB_CLOSE, 0, closed, arg);
    store->closing = true;
    job_post(job);
}

/* The storage env has dropped what belongs to it; nothing is in its queue any more. */
static void finish_close(struct store *store)
{
    CHECK(store->pending == 0 && atomic_load(&store->queued) == 0);
    env_join(store->env);
    store_free(store);
}

void store_job_done(struct env_msg *msg)
{
    struct store_job *job = CONTAINER_OF(msg, struct store_job, msg);
    struct store *store = job->store;
    if (job->kind == JOB_CHECKPOINT && job->index > store->checkpoint_index) {
        store->checkpoint_index = job->index;
    } else if (job->kind == JOB_WRITE) {
        store->pending -= job->n;
    } else if (job->kind == JOB_CLOSE) {
        finish_close(store);
    }
    if (job->done) {
        job->done(job->arg);
    }
    mem_free(job);
}
