/* store.c: the loop's side of the store: start, jobs, end.
 *
 * Happy path: the files are brought to the checkpoint (storage/recover.c), then the index of the newest one, and the
 * storage env is spawned. Then each call makes a job, posts it, and its done() runs when it returns. Small writes that come one after the
 * other are held for a millisecond: acknowledgements do not wait for them, and the storage env (and all whom it wakes) would
 * run once for each, on processors that the next acknowledgement needs. Failure modes: those of the start are said with
 * what to do; nothing is changed then. */
#include "storage/store.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/gtid.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <string.h>

#define HOLD_NS ENV_MS
enum { HOLD_BYTES = 64 << 10 };

/* ---- open ---------------------------------------------------------------------------------------------- */

static void start_writer(struct store *store, const struct checkpoint *cp)
{
    struct writer *w = &store->writer;
    w->env = store->env;
    w->waiting_tail = &w->waiting;
    w->rebuilds_tail = &w->rebuilds;
    w->opened_index = w->checkpoint_index = cp->index;
    w->list = cp->list;
    if (cp->n > 0) {
        w->end = cp->size;
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
    catalog_unref(store->writer.catalog);
    mem_free(store->writer.data_dir);
    mem_free(store->writer.binlog_dir);
    mem_free(store->index_dir);
    mem_free(store);
}

/* Says what to do about it. */
static int damaged(int rv, struct errmsg *em)
{
    if (rv == E_CORRUPT && em) {
        char *what = mem_str(em->text);
        (void)err_set(em, rv, "%s; this node's data is damaged: replace the member (holdfast member replace)", what);
        mem_free(what);
    }
    return rv;
}

static int open_files(struct store *store, const char *data_dir, struct checkpoint *cp, struct errmsg *em)
{
    struct writer *w = &store->writer;
    struct filelist *files;
    int rv = recover(store->loop, data_dir, w->binlog_dir, store->index_dir, cp, &files, em);
    if (!rv) {
        rv = catalog_load(w->binlog_dir, files, &w->catalog, em);
        filelist_unref(files);
    }
    if (!rv && cp->n > 0) {
        rv = writer_index_resume(w, store->loop, catalog_newest(w->catalog)->file, cp, em);
    }
    return damaged(rv, em);
}

static void held_long_enough(struct env_timer *timer);

static int start_env(struct store *store)
{
    int rv = env_timer_open(store->loop, &store->hold, held_long_enough);
    if (!rv) {
        rv = env_spawn(store->loop, "storage", &store->env);
        if (rv) {
            env_timer_close(&store->hold);
        }
    }
    return rv;
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
    store->held_tail = &store->held;
    store->writer.store = store;
    store->writer.data_dir = mem_str(data_dir);
    store->writer.binlog_dir = mem_printf("%s/binlog", data_dir);
    store->index_dir = mem_printf("%s/index", data_dir);
    take_options(store, options);
    int rv = open_files(store, data_dir, &cp, em);
    if (!rv) {
        rv = start_env(store);
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

static void post_held(struct store *store)
{
    struct store_job *job = store->held, *next;
    uint64_t n = 0;
    for (next = job; next; next = next->next) {
        n++;
    }
    atomic_fetch_add(&store->queued, n); /* before the post: the writer must not see fewer than there are */
    for (; job; job = next) {
        next = job->next;
        env_post(store->env, &job->msg);
    }
    store->held = NULL;
    store->held_tail = &store->held;
    store->held_bytes = 0;
    store->posted_at = env_now(store->loop);
    env_timer_stop(&store->hold);
    store->holding = false;
}

static void held_long_enough(struct env_timer *timer)
{
    post_held(CONTAINER_OF(timer, struct store, hold));
}

/* Only writes are held; another job takes along what came before it. */
static void job_post(struct store_job *job)
{
    struct store *store = job->store;
    job->next = NULL;
    *store->held_tail = job;
    store->held_tail = &job->next;
    store->held_bytes += job->n;
    if (job->kind != JOB_WRITE || store->held_bytes >= HOLD_BYTES) {
        post_held(store);
    } else if (!store->holding) {
        uint64_t since = env_now(store->loop) - store->posted_at;
        store->holding = true;
        env_timer_start(&store->hold, since < HOLD_NS ? HOLD_NS - since : 0);
    }
}

void store_file(struct store *store, uint64_t index, uint32_t sum, uint64_t era, const char *name,
                const struct gtid_set *state_before)
{
    struct store_job *job = job_new(store, JOB_FILE, index, NULL, NULL);
    job->sum = sum;
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

void store_purge(struct store *store, uint64_t index, uint64_t era, const char *name)
{
    struct store_job *job = job_new(store, JOB_PURGE, index, NULL, NULL);
    damage_purge(store, era, name);
    job->file = catalog_file_new(store->writer.binlog_dir, era, name, NULL);
    job_post(job);
}

void store_install(struct store *store, const struct install *install, void (*done)(void *arg), void *arg)
{
    struct store_job *job = job_new(store, JOB_INSTALL, install->index, done, arg);
    job->install = install;
    job_post(job);
}

void store_reset(struct store *store, uint64_t index, const char *keep)
{
    CHECK(store_keep_ok(keep));
    struct store_job *job = job_new(store, JOB_RESET, index, NULL, NULL);
    store->n_damages = 0;
    memcpy(job->keep, keep, strlen(keep) + 1);
    job_post(job);
}

void store_find_older(struct store *store, struct store_older *older, void (*done)(void *arg), void *arg)
{
    struct store_job *job = job_new(store, JOB_OLDER, 0, done, arg);
    job->older = older;
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
    env_timer_close(&store->hold);
}

/* The storage env has dropped what belongs to it; nothing is in its queue any more. */
static void finish_close(struct store *store)
{
    CHECK(store->pending == 0 && atomic_load(&store->queued) == 0 && atomic_load(&store->damage_reports) == 0);
    env_join(store->env);
    store_free(store);
}

static void job_done(struct store_job *job)
{
    struct store *store = job->store;
    if ((job->kind == JOB_CHECKPOINT || job->kind == JOB_INSTALL) && job->index > store->checkpoint_index) {
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

void store_job_done(struct env_msg *msg)
{
    struct store_job *job = CONTAINER_OF(msg, struct store_job, msg), *next;
    for (; job; job = next) { /* a run of writes comes as one */
        next = job->next;
        job_done(job);
    }
}
