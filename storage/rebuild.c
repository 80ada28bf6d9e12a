/* rebuild.c: makes the index of a sealed file again, in steps between the storage env's jobs.
 *
 * Happy path: a reader that finds the index of a sealed file missing, torn or wrong asks for it. The storage
 * env walks over the file, REBUILD_STEP bytes at a time so that a job never waits long, checks every event,
 * and the sum of the whole file where the cluster knows it, puts the index in place of the old one (a temporary file, renamed) and
 * wakes all subscribers: the reader tries again. One file at a time.
 *
 * Failure modes: a file in which events cannot be followed, or which does not have its sum, has no index. That is logged with file and offset,
 * and remembered (of the last DAMAGED_MAX): its readers walk, and come to the damage themselves. The same when the new index cannot be
 * written: nothing is lost by it. */
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "storage/impl.h"
#include "storage/scan.h"

#include <stdio.h>

static bool is_damaged(struct store *store, uint64_t ordinal)
{
    for (size_t i = 0; i < DAMAGED_MAX; i++) {
        if (atomic_load(&store->damaged[i]) == ordinal) {
            return true;
        }
    }
    return false;
}

static void drop(struct rebuild *job)
{
    scan_close(job->scan);
    index_builder_free(job->builder);
    catalog_file_unref(job->file);
    mem_free(job);
}

void rebuild_drop_all(struct writer *w)
{
    /* The first one's message may be under way: it drops itself when that comes. */
    struct rebuild *job = w->rebuilds ? w->rebuilds->next : NULL;
    while (job) {
        struct rebuild *next = job->next;
        drop(job);
        job = next;
    }
}

static int begin(struct rebuild *job, struct errmsg *em)
{
    const struct store_options *o = &job->store->options;
    const struct catalog_file *file = job->file;
    job->builder = index_builder_new(file->era, file->name, o->index_step, o->index_block);
    env_log(job->store->env, ENV_INFO, "index is made again file=%s bytes=%llu", file->path,
            (unsigned long long)job->size);
    return scan_open(job->store->env, file->path, job->builder, STORE_MAGIC, job->size, &job->scan, em);
}

static int put_in_place(struct rebuild *job, struct errmsg *em)
{
    char era[32];
    struct env *env = job->store->env;
    index_builder_seal(job->builder);
    struct buf *out = index_builder_out(job->builder);
    snprintf(era, sizeof era, "%llu", (unsigned long long)job->file->era);
    char *dir = mem_printf("%s/%s", job->store->index_dir, era);
    char *name = mem_printf("%s.idx", job->file->name);
    int rv = out->err ? err_set(em, out->err, "%s/%s: %s", dir, name, err_text(out->err))
                      : index_check_sealed(out->data, out->len, job->file->era, job->file->name,
                                           job->size, em);
    rv = rv ? rv : env_make_dir(env, job->store->index_dir, era, em);
    rv = rv ? rv : env_replace_file(env, dir, name, out->data, out->len, em);
    mem_free(name);
    mem_free(dir);
    return rv;
}

/* An index must not make damage look sound. */
static int check_sum(struct writer *w, const struct rebuild *job, struct errmsg *em)
{
    struct filelist_file file;
    filelist_get(w->catalog->files, (size_t)(job->file->ordinal - w->catalog->first), &file);
    if (file.sum && file.sum != scan_sum(job->scan)) {
        return err_set(em, E_CORRUPT, "%s: its bytes have not the sum that the cluster agreed on", job->file->path);
    }
    return 0;
}

static void run(struct env_msg *msg);

static void run_later(struct rebuild *job)
{
    job->msg.run = run;
    env_post(job->store->env, &job->msg);
}

static void end(struct writer *w, struct rebuild *job, int rv, const struct errmsg *em)
{
    if (rv) {
        env_log(w->env, ENV_ERROR, "index cannot be made file=%s why=\"%s\"", job->file->path, em->text);
        if (rv == E_CORRUPT) {
            damage_found(w->store, job->file->era, job->file->name, em);
        }
        atomic_store(&w->store->damaged[w->store->next_damaged++ % DAMAGED_MAX], job->file->ordinal);
    }
    w->rebuilds = job->next;
    if (w->rebuilds) {
        run_later(w->rebuilds);
    } else {
        w->rebuilds_tail = &w->rebuilds;
    }
    drop(job);
    catalog_wake(w);
}

static void run(struct env_msg *msg)
{
    struct rebuild *job = CONTAINER_OF(msg, struct rebuild, msg);
    struct writer *w = &job->store->writer;
    struct errmsg em = {""};
    int rv;
    if (w->closing) {
        drop(job);
        return;
    }
    if (job->file->ordinal < w->catalog->first) { /* purged */
        end(w, job, 0, &em);
        return;
    }
    rv = job->scan ? 0 : begin(job, &em);
    rv = rv ? rv : scan_step(job->scan, REBUILD_STEP, &em);
    if (rv == 1) {
        run_later(job);
        return;
    }
    rv = rv ? rv : check_sum(w, job, &em);
    end(w, job, rv ? rv : put_in_place(job, &em), &em);
}

static bool is_waiting(const struct writer *w, uint64_t ordinal)
{
    const struct rebuild *job = w->rebuilds;
    while (job && job->file->ordinal != ordinal) {
        job = job->next;
    }
    return job != NULL;
}

static void asked(struct env_msg *msg)
{
    struct rebuild *job = CONTAINER_OF(msg, struct rebuild, msg);
    struct writer *w = &job->store->writer;
    bool first = !w->rebuilds;
    CHECK(!w->closing); /* subscribers have left before */
    bool known = is_damaged(job->store, job->file->ordinal);
    if (known || is_waiting(w, job->file->ordinal)) {
        drop(job);
        if (known) {
            catalog_wake(w); /* the asker may have missed the one that told so */
        }
        return;
    }
    *w->rebuilds_tail = job;
    w->rebuilds_tail = &job->next;
    if (first) {
        run_later(job);
    }
}

bool rebuild_ask(struct store *store, struct catalog_file *file, uint64_t size)
{
    if (is_damaged(store, file->ordinal)) {
        return false;
    }
    struct rebuild *job = mem_new(sizeof *job);
    job->msg.run = asked;
    job->store = store;
    job->file = catalog_file_ref(file);
    job->size = size;
    env_post(store->env, &job->msg);
    return true;
}
