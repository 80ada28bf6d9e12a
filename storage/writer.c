/* writer.c: does the jobs, on the storage env.
 *
 * Happy path of a write: its offset is the end of the newest file; its bytes go behind the run of adjacent
 * bytes (one copy, so that a burst of small entries costs one system call), which is written when it is 1 MiB
 * large or no job waits behind it. Then the watermark moves to the last transaction end, subscribers are
 * woken, the jobs go back to the loop. No sync: the log has the bytes durably. A checkpoint syncs what was
 * written since the last one, then replaces the checkpoint file.
 *
 * A cut below the size in the checkpoint would, after a crash, look like a file that lost bytes. So it puts a
 * checkpoint with the smaller size (and the index before its own) in place first.
 *
 * Failure modes: every failed call and every contradiction between a job and the file is fatal: env_fatal
 * with file and reason. */
#include "storage/store.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <stdio.h>
#include <string.h>

void writer_die_if(struct writer *w, int rv, const char *doing, const char *what, const struct errmsg *em)
{
    if (rv) {
        env_fatal(w->env, "storage: cannot %s %s: %s", doing, what, em->text);
    }
}

static struct catalog_file *newest_file(struct writer *w)
{
    const struct catalog_entry *entry = catalog_newest(w->catalog);
    return entry ? entry->file : NULL;
}

static const char *newest_path(struct writer *w)
{
    struct catalog_file *file = newest_file(w);
    return file ? file->path : "(no file yet)";
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

static void open_newest(struct writer *w)
{
    struct errmsg em;
    if (!w->newest) {
        writer_die_if(w, env_open(w->env, newest_path(w), ENV_READ | ENV_WRITE, &w->newest, &em), "open",
               newest_path(w), &em);
    }
}

static void write_at(struct writer *w, const uint8_t *bytes, size_t n, uint64_t at)
{
    struct errmsg em;
    open_newest(w);
    writer_die_if(w, env_pwrite(w->newest, bytes, n, at, &em), "write to", newest_path(w), &em);
    w->dirty = true;
}

static void sync_newest(struct writer *w)
{
    struct errmsg em;
    writer_index_sync(w);
    if (w->dirty) {
        writer_die_if(w, env_sync(w->newest, &em), "sync", newest_path(w), &em);
        w->dirty = false;
    }
}

static void close_newest(struct writer *w)
{
    if (w->newest) {
        env_close(w->newest);
        w->newest = NULL;
    }
}

void writer_close_files(struct writer *w)
{
    close_newest(w);
    writer_index_close(w);
}

static void publish(struct writer *w)
{
    struct catalog_file *file = newest_file(w);
    uint64_t watermark = file ? watermark_of(file->ordinal, w->boundary) : 0;
    if (atomic_exchange(&w->store->watermark, watermark) != watermark) {
        catalog_wake(w);
    }
}

/* The job, and those chained to it. */
static void finish(struct writer *w, struct store_job *job)
{
    bool awaited = job->kind != JOB_WRITE;
    for (const struct store_job *j = job; j; j = j->next) {
        awaited = awaited || j->done;
    }
    job->msg.run = store_job_done;
    (awaited ? env_post : env_post_lazily)(w->store->loop, &job->msg);
}

/* Bytes, then their index, then visibility, then the answers. */
void writer_flush(struct writer *w)
{
    if (w->run_len > 0) {
        write_at(w, w->run, w->run_len, w->end - w->run_len);
        w->run_len = 0;
    }
    writer_index_flush(w);
    publish(w);
    struct store_job *written = w->waiting;
    w->waiting = NULL;
    w->waiting_tail = &w->waiting;
    if (written) {
        finish(w, written);
    }
}

/* ---- checkpoint ---------------------------------------------------------------------------------------- */

/* `size` is the newest file's: what lies below it is synced. */
static void save_checkpoint(struct writer *w, uint64_t index, uint64_t size)
{
    struct errmsg em;
    struct checkpoint cp = {.index = index};
    checkpoint_name_files(&cp, w->list, w->catalog->files);
    cp.size = cp.n ? size : 0;
    cp.boundary = cp.n ? w->boundary : 0;
    writer_die_if(w, checkpoint_save(w->env, w->binlog_dir, &cp, &em), "write the checkpoint in", w->binlog_dir,
           &em);
    w->checkpoint_index = index;
    w->checkpoint_ordinal = cp.n ? newest_file(w)->ordinal : 0;
    w->checkpoint_size = size;
}

void writer_checkpoint(struct writer *w, uint64_t index)
{
    writer_flush(w);
    writer_index_checkpoint(w);
    sync_newest(w);
    save_checkpoint(w, index, w->end);
}

/* ---- a new file ---------------------------------------------------------------------------------------- */

char *writer_names_path(const char *dir, const char *name)
{
    return mem_printf("%s/%.*s.index", dir, (int)(strrchr(name, '.') - name), name);
}

/* The list of names as the servers keep it beside their files. */
static void append_name(struct writer *w, const char *dir, const char *name)
{
    struct errmsg em;
    struct env_file *f;
    uint64_t size = 0;
    char *path = writer_names_path(dir, name);
    char *line = mem_printf("./%s\n", name);
    writer_die_if(w, env_open(w->env, path, ENV_WRITE | ENV_CREATE, &f, &em), "open", path, &em);
    writer_die_if(w, env_size(f, &size, &em), "look at", path, &em);
    writer_die_if(w, env_pwrite(f, line, strlen(line), size, &em), "write to", path, &em);
    writer_die_if(w, env_sync(f, &em), "sync", path, &em);
    env_close(f);
    mem_free(line);
    mem_free(path);
}

static void create_file(struct writer *w, const struct catalog_file *file)
{
    struct errmsg em;
    char era[32];
    snprintf(era, sizeof era, "%llu", (unsigned long long)file->era);
    char *dir = mem_printf("%s/%s", w->binlog_dir, era);
    writer_die_if(w, env_make_dir(w->env, w->binlog_dir, era, &em), "make", dir, &em);
    writer_die_if(w, env_open(w->env, file->path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_TRUNC, &w->newest, &em),
           "create", file->path, &em);
    writer_die_if(w, env_pwrite(w->newest, EVENT_MAGIC, EVENT_MAGIC_SIZE, 0, &em), "write to", file->path, &em);
    append_name(w, dir, file->name);
    writer_index_begin(w, file, (const uint8_t *)EVENT_MAGIC, EVENT_MAGIC_SIZE);
    writer_die_if(w, env_sync_dir(w->env, dir, &em), "sync", dir, &em);
    mem_free(dir);
}

/* Before the file is made: so a start knows what to remove. */
static void extend_list(struct writer *w, const struct catalog *next)
{
    struct errmsg em;
    int rv = checkpoint_extend_list(w->env, w->binlog_dir, w->list, filelist_size(w->catalog->files), next->files, &em);
    writer_die_if(w, rv, "write the list of files in", w->binlog_dir, &em);
}

static void do_file(struct writer *w, struct store_job *job)
{
    size_t at;
    writer_flush(w);
    if (!checkpoint_name_ok(job->file->name) || job->file->era == 0) {
        env_fatal(w->env, "storage: the log asks for a file %s at index %llu, which cannot be",
                  job->file->path, (unsigned long long)job->index);
    }
    if (filelist_find(w->catalog->files, job->file->era, job->file->name, &at)) {
        env_fatal(w->env, "storage: the log makes %s at index %llu, but it is there already", job->file->path,
                  (unsigned long long)job->index);
    }
    if (w->end != w->boundary) {
        env_fatal(
            w->env,
            "storage: %s ends in an unfinished transaction (%llu of %llu bytes are whole) when %s begins",
            newest_path(w), (unsigned long long)w->boundary, (unsigned long long)w->end, job->file->path);
    }
    if (w->purging && purge_holds(&w->purging->purge, job->file->era, job->file->name)) {
        writer_purge_finish(w); /* else it would be unlinked with what had that name */
    }
    writer_index_seal(w);
    sync_newest(w);
    close_newest(w);
    struct catalog *next = catalog_extend(w->catalog, w->end, job->sum, job->file);
    extend_list(w, next);
    create_file(w, job->file);
    job->file = NULL;
    catalog_unref(w->catalog);
    w->catalog = next;
    w->end = w->boundary = EVENT_MAGIC_SIZE;
    w->dirty = true;
    CHECK(newest_file(w)->ordinal >> (64 - WATERMARK_OFFSET_BITS) == 0);
    catalog_mail(w);
    publish(w);
}

/* ---- writes and cuts ----------------------------------------------------------------------------------- */

static void check_write(struct writer *w, const struct store_job *job)
{
    if (!newest_file(w) || job->offset != w->end) {
        env_fatal(w->env,
                  "storage: the log writes %zu bytes at %llu of %s at index %llu, but the file ends at %llu",
                  job->n, (unsigned long long)job->offset, newest_path(w), (unsigned long long)job->index,
                  (unsigned long long)w->end);
    }
    if (job->n >= (UINT64_C(1) << WATERMARK_OFFSET_BITS) - w->end) {
        env_fatal(w->env, "storage: %s would pass the largest size that can be", newest_path(w));
    }
    if (job->boundary < w->boundary || job->boundary > w->end + job->n) {
        env_fatal(
            w->env,
            "storage: the log names %llu as a transaction end of %s at index %llu; expected %llu to %llu",
            (unsigned long long)job->boundary, newest_path(w), (unsigned long long)job->index,
            (unsigned long long)w->boundary, (unsigned long long)(w->end + job->n));
    }
}

static void do_write(struct writer *w, struct store_job *job)
{
    check_write(w, job);
    if (w->run_len + job->n > STORE_RUN) {
        writer_flush(w);
    }
    if (job->n >= STORE_RUN / 2) {
        writer_flush(w);
        write_at(w, job->bytes, job->n, w->end);
    } else {
        if (!w->run) {
            w->run = mem_array(STORE_RUN, 1);
        }
        memcpy(w->run + w->run_len, job->bytes, job->n);
        w->run_len += job->n;
    }
    w->end += job->n;
    w->boundary = job->boundary;
    writer_index_bytes(w, job);
    *w->waiting_tail = job;
    w->waiting_tail = &job->next;
    if (atomic_load(&w->store->queued) == 0) { /* else a job follows, and it or one after it will */
        writer_flush(w);
    }
}

static void do_cut(struct writer *w, const struct store_job *job)
{
    struct errmsg em;
    writer_flush(w);
    if (!newest_file(w) || job->boundary < w->boundary || job->boundary > w->end) {
        env_fatal(w->env,
                  "storage: the log cuts %s to %llu at index %llu; its last transaction ends at %llu, the "
                  "file at %llu",
                  newest_path(w), (unsigned long long)job->boundary, (unsigned long long)job->index,
                  (unsigned long long)w->boundary, (unsigned long long)w->end);
    }
    w->boundary = job->boundary;
    if (job->boundary < w->end) {
        open_newest(w);
        if (w->checkpoint_ordinal == newest_file(w)->ordinal && w->checkpoint_size > job->boundary) {
            sync_newest(w);
            save_checkpoint(w, job->index - 1, job->boundary);
        }
        writer_die_if(w, env_truncate(w->newest, job->boundary, &em), "truncate", newest_path(w), &em);
        w->dirty = true;
        w->end = job->boundary;
        writer_index_cut(w);
    }
    publish(w);
}

static void do_install(struct writer *w, const struct install *install)
{
    writer_flush(w);
    close_newest(w);
    writer_index_close(w);
    writer_install(w, install);
    w->checkpoint_index = install->index;
    w->checkpoint_ordinal = newest_file(w) ? newest_file(w)->ordinal : 0;
    w->checkpoint_size = install->size;
    publish(w);
}

static void do_close(struct writer *w)
{
    writer_flush(w);
    CHECK(!w->subs);
    close_newest(w);
    writer_index_close(w);
    w->closing = true;
    rebuild_drop_all(w);
    writer_purge_drop(w);
    catalog_unref(w->catalog);
    w->catalog = NULL;
    mem_free(w->run);
    w->run = NULL;
}

/* ---- all jobs ------------------------------------------------------------------------------------------ */

/* Was it done before the checkpoint that this process started from? */
static bool is_done_already(struct writer *w, const struct store_job *job)
{
    bool late = job->index < w->last_index;
    if (job->index > w->opened_index) {
        late = late || job->index < w->checkpoint_index ||
               (job->index == w->checkpoint_index && job->kind != JOB_CHECKPOINT);
    }
    if (late) {
        env_fatal(w->env, "storage: a job of index %llu comes after one of %llu (checkpoint %llu)",
                  (unsigned long long)job->index, (unsigned long long)w->last_index,
                  (unsigned long long)w->checkpoint_index);
    }
    w->last_index = job->index;
    return job->index <= w->opened_index;
}

void writer_run_job(struct env_msg *msg)
{
    struct store_job *job = CONTAINER_OF(msg, struct store_job, msg);
    struct writer *w = &job->store->writer;
    job->next = NULL;
    atomic_fetch_sub(&job->store->queued, 1);
    bool indexed = job->kind != JOB_DRAIN && job->kind != JOB_OLDER && job->kind != JOB_CLOSE;
    if (job->kind == JOB_CHECKPOINT && job->index < w->last_index) {
        job->index = w->last_index; /* the files hold more already, so this is what it can say */
    }
    if (!(indexed && is_done_already(w, job))) {
        switch (job->kind) {
        case JOB_FILE: do_file(w, job); break;
        case JOB_WRITE: do_write(w, job); return; /* it waits for its run */
        case JOB_CUT: do_cut(w, job); break;
        case JOB_PURGE: writer_purge(w, job); break;
        case JOB_INSTALL: do_install(w, job->install); break;
        case JOB_RESET: writer_reset(w, job); break;
        case JOB_CHECKPOINT: writer_checkpoint(w, job->index); break;
        case JOB_DRAIN: writer_flush(w); break;
        case JOB_OLDER: writer_find_older(w, job->older); break;
        case JOB_CLOSE: do_close(w); break;
        }
    }
    catalog_file_unref(job->file);
    job->file = NULL;
    finish(w, job);
}
