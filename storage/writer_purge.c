/* writer_purge.c: removes the oldest files, on the storage env.
 *
 * Happy path: a list without them is put beside the old one, the checkpoint names it, the names (.index) follow, readers get
 * a catalog without them; then they are unlinked, some at a time between other jobs (storage/purge.h). Who has one of them open
 * reads on.
 *
 * Failure modes: every failed call is fatal; the next start goes on with it. */
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "storage/impl.h"
#include "storage/store.h"

#include <stdio.h>
#include <string.h>

enum { TIMESTAMP_AT = STORE_MAGIC, TIMESTAMP_SIZE = 4 };

/* ---- unlinking ----------------------------------------------------------------------------------------- */

static void run_free(struct purge_run *run)
{
    purge_end(&run->purge);
    mem_free(run);
}

static void take_step(struct writer *w, size_t max)
{
    struct errmsg em;
    int rv = purge_step(&w->purging->purge, max, &em);
    writer_die_if(w, rv < 0 ? rv : 0, "remove purged files in", w->binlog_dir, &em);
    if (rv == 0) {
        purge_end(&w->purging->purge);
    }
}

static void step(struct env_msg *msg)
{
    struct purge_run *run = CONTAINER_OF(msg, struct purge_run, msg);
    struct writer *w = &run->store->writer;
    if (!w->closing && run->purge.old) {
        take_step(w, PURGE_STEP);
    }
    if (!w->closing && run->purge.old) {
        env_post(w->env, &run->msg);
        return;
    }
    if (w->purging == run) {
        w->purging = NULL;
    }
    run_free(run);
}

void writer_purge_finish(struct writer *w)
{
    if (w->purging && w->purging->purge.old) {
        take_step(w, SIZE_MAX);
    }
    w->purging = NULL; /* its message frees it */
}

void writer_purge_drop(struct writer *w)
{
    w->purging = NULL;
}

/* What `old` has and the writer's catalog has not will go. */
static struct purge_run *run_new(struct writer *w, const struct catalog *old)
{
    struct purge_run *run = mem_new(sizeof *run);
    run->msg.run = step;
    run->store = w->store;
    purge_begin(&run->purge, w->env, w->binlog_dir, w->store->index_dir, filelist_ref(old->files), w->list,
                w->catalog->files);
    return run;
}

/* ---- the job ------------------------------------------------------------------------------------------- */

void writer_purge(struct writer *w, const struct store_job *job)
{
    struct errmsg em;
    size_t at, first = 0;
    if (!filelist_find(w->catalog->files, job->file->era, job->file->name, &at)) {
        env_fatal(w->env, "storage: the log purges the files before %s at index %llu, but it is not there", job->file->path,
                  (unsigned long long)job->index);
    }
    if (at == 0) {
        return;
    }
    writer_flush(w);
    writer_purge_finish(w);
    struct catalog *old = w->catalog;
    int rv = catalog_purge(old, at, &w->catalog, &em);
    writer_die_if(w, rv, "shorten the list of files in", w->binlog_dir, &em);
    rv = checkpoint_put_list(w->env, w->binlog_dir, w->list + 1, w->catalog->files, &em);
    writer_die_if(w, rv, "write the list of files in", w->binlog_dir, &em);
    struct purge_run *run = run_new(w, old);
    w->list++;
    writer_checkpoint(w, job->index);
    writer_die_if(w, purge_names(w->env, w->binlog_dir, w->catalog->files, &first, &em), "write the list of names in",
                  w->binlog_dir, &em);
    catalog_unref(old);
    catalog_mail(w);
    w->purging = run;
    env_post(w->env, &run->msg);
}

void writer_install(struct writer *w, const struct install *in)
{
    struct errmsg em;
    struct checkpoint cp = {.index = in->index, .boundary = in->boundary, .size = in->size};
    struct catalog *old = w->catalog;
    writer_purge_finish(w);
    writer_die_if(w, install_apply(w->env, w->data_dir, in, w->list, &em), "put fetched files in place in", w->binlog_dir, &em);
    writer_die_if(w, catalog_install(old, in->files, &w->catalog, &em), "read the fetched list of files of", w->binlog_dir, &em);
    struct purge_run *run = run_new(w, old);
    w->list++;
    w->end = in->size;
    w->boundary = in->boundary;
    w->dirty = false;
    checkpoint_name_files(&cp, w->list, w->catalog->files);
    if (cp.n) {
        int rv = writer_index_resume(w, w->env, catalog_newest(w->catalog)->file, &cp, &em);
        writer_die_if(w, rv, "make the index of the newest file in", w->binlog_dir, &em);
    }
    catalog_unref(old);
    catalog_mail(w);
    w->purging = run;
    env_post(w->env, &run->msg);
}

/* ---- which files are old ------------------------------------------------------------------------------- */

/* When the file was begun; 0: not known. */
static int time_of(struct writer *w, const struct filelist_file *file, uint32_t *time, struct errmsg *em)
{
    struct env_file *f;
    uint8_t bytes[TIMESTAMP_SIZE];
    size_t got = 0;
    char *path = mem_printf("%s/%llu/%s", w->binlog_dir, (unsigned long long)file->era, file->name);
    *time = 0;
    int rv = env_open(w->env, path, ENV_READ, &f, em);
    if (!rv) {
        rv = env_pread(f, bytes, sizeof bytes, TIMESTAMP_AT, &got, em);
        env_close(f);
    }
    if (!rv && got == sizeof bytes) {
        struct cur c = cur_of(bytes, sizeof bytes);
        *time = cur_u32(&c);
    }
    mem_free(path);
    return rv;
}

static void take_file(struct store_older *older, const struct filelist_file *file)
{
    older->era = file->era;
    memcpy(older->name, file->name, sizeof older->name);
}

void writer_find_older(struct writer *w, struct store_older *older)
{
    const struct filelist *files = w->catalog->files;
    struct filelist_walk walk;
    size_t at = 0;
    older->more = false;
    older->em.text[0] = '\0';
    writer_flush(w);
    if (older->name[0] && !filelist_find(files, older->era, older->name, &at)) {
        at = 0; /* purged meanwhile */
    }
    filelist_walk_begin(&walk, files, at);
    if (!filelist_walk_next(&walk)) {
        older->name[0] = '\0';
        return;
    }
    take_file(older, &walk.file);
    for (unsigned i = 0; filelist_walk_next(&walk); i++) {
        uint32_t time;
        if (i == OLDER_MAX) {
            older->more = true;
            return;
        }
        if (time_of(w, &walk.file, &time, &older->em)) {
            env_log(w->env, ENV_ERROR, "binlog file cannot be looked at, nothing from it on is old why=\"%s\"", older->em.text);
            return;
        }
        if (time == 0 || time >= older->time) {
            return;
        }
        take_file(older, &walk.file);
    }
}
