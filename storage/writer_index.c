/* writer_index.c: the index of the newest file, written as its bytes come.
 *
 * Happy path: each write gives its bytes and transaction ends to the builder; what the builder has made is
 * appended behind the bytes' own write and before they become visible. It is synced where the bytes are: at a
 * checkpoint and when the file is sealed. At a checkpoint the hashes of an open transaction go out too. At the start
 * the part that lies below the checkpoint is kept, cut there, and what the file has beyond is looked at again: less
 * than a step and a block, when nothing was lost, however large the transactions are.
 *
 * Failure modes: a failed call on the index is fatal, as on the file itself. An index that is missing, torn
 * or does not fit its file is made again at the start. A file in which events cannot be followed has no
 * index; that is logged, its readers walk and come to the damage themselves. A read that fails is none of these: the
 * start fails. */
#include "protocol/base/mem.h"
#include "storage/impl.h"
#include "storage/scan.h"

#include <stdio.h>

enum { LONG_LOOK = 256 << 20 };

static void die_if(struct writer *w, int rv, const char *doing, const struct errmsg *em)
{
    if (rv) {
        env_fatal(w->env, "storage: cannot %s %s: %s", doing, w->index.path, em->text);
    }
}

void writer_index_close(struct writer *w)
{
    struct writer_index *x = &w->index;
    if (x->file) {
        env_close(x->file);
    }
    index_builder_free(x->builder);
    mem_free(x->path);
    *x = (struct writer_index){.builder = NULL};
}

/* ---- while the file grows ------------------------------------------------------------------------------ */

static void open_file(struct writer *w)
{
    struct errmsg em;
    if (!w->index.file) {
        int rv = env_open(w->env, w->index.path, ENV_READ | ENV_WRITE | ENV_CREATE, &w->index.file, &em);
        die_if(w, rv, "open", &em);
    }
}

void writer_index_flush(struct writer *w)
{
    struct errmsg em;
    struct writer_index *x = &w->index;
    struct buf *out = x->builder ? index_builder_out(x->builder) : NULL;
    if (!out || (out->len == 0 && !out->err)) {
        return;
    }
    open_file(w);
    int rv = out->err ? err_set(&em, out->err, "%s", err_text(out->err))
                      : env_pwrite(x->file, out->data, out->len, x->at, &em);
    die_if(w, rv, "write to", &em);
    x->at += out->len;
    x->dirty = true;
    buf_reset(out);
}

void writer_index_checkpoint(struct writer *w)
{
    if (w->index.builder) {
        index_builder_put_hashes(w->index.builder);
        writer_index_flush(w);
    }
}

void writer_index_sync(struct writer *w)
{
    struct errmsg em;
    if (w->index.builder && w->index.dirty) {
        open_file(w);
        die_if(w, env_sync(w->index.file, &em), "sync", &em);
        w->index.dirty = false;
    }
}

static int sync_dir(struct writer *w, struct env *env, const char *era, struct errmsg *em)
{
    char *dir = mem_printf("%s/%s", w->store->index_dir, era);
    int rv = env_sync_dir(env, dir, em);
    mem_free(dir);
    return rv;
}

void writer_index_begin(struct writer *w, const struct catalog_file *file, const uint8_t *bytes, size_t n)
{
    struct errmsg em;
    char era[32];
    const struct store *store = w->store;
    struct writer_index *x = &w->index;
    writer_index_close(w);
    x->path = index_path(store->index_dir, file->era, file->name);
    x->builder =
        index_builder_new(file->era, file->name, store->options.index_step, store->options.index_block);
    snprintf(era, sizeof era, "%llu", (unsigned long long)file->era);
    die_if(w, env_make_dir(w->env, store->index_dir, era, &em), "make the directory of", &em);
    int rv = env_open(w->env, x->path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_TRUNC, &x->file, &em);
    die_if(w, rv, "create", &em);
    die_if(w, sync_dir(w, w->env, era, &em), "sync the directory of", &em);
    index_builder_bytes(x->builder, bytes, n);
    index_builder_settle(x->builder);
    writer_index_flush(w);
}

void writer_index_bytes(struct writer *w, const struct store_job *job)
{
    struct index_builder *b = w->index.builder;
    struct cur list = job->txns.list;
    struct store_txn txn = {.end = job->offset};
    if (!b) {
        return;
    }
    index_builder_bytes(b, job->bytes, job->n);
    while (job->txns.next && job->txns.next(&list, &txn)) {
        if (txn.end <= job->offset || txn.end > job->boundary) {
            env_fatal(w->env,
                      "storage: the log lets a transaction end at %llu of %s at index %llu; expected %llu to "
                      "%llu",
                      (unsigned long long)txn.end, w->index.path, (unsigned long long)job->index,
                      (unsigned long long)job->offset, (unsigned long long)job->boundary);
        }
        index_builder_txn(b, &txn);
    }
    index_builder_settle(b);
}

void writer_index_cut(struct writer *w)
{
    struct errmsg em;
    struct writer_index *x = &w->index;
    struct index_builder *b = x->builder;
    if (b) {
        uint64_t stays = index_builder_cut(b, w->end);
        if (stays < x->at) {
            open_file(w);
            die_if(w, env_truncate(x->file, stays, &em), "truncate", &em);
            x->at = stays;
            x->dirty = true;
        }
        die_if(w, scan_raw(w->newest, x->path, b, w->end, &em), "read the file of", &em);
    }
}

void writer_index_seal(struct writer *w)
{
    if (w->index.builder) {
        index_builder_seal(w->index.builder);
        writer_index_flush(w);
        writer_index_sync(w);
    }
    writer_index_close(w);
}

/* ---- at the start -------------------------------------------------------------------------------------- */

/* What can be used of it, else a new one. */
static struct index_builder *load(struct writer *w, struct env *env, const struct catalog_file *file,
                                  const struct checkpoint *cp, struct env_file *bytes, size_t *kept)
{
    const struct store_options *o = &w->store->options;
    struct buf data;
    struct index_builder *b = NULL;
    *kept = 0;
    buf_init(&data, INDEX_MAX);
    if (env_read_file(env, w->index.path, &data, NULL) == 0) {
        b = index_builder_load(data.data, data.len, file->era, file->name, o->index_step, o->index_block,
                               cp->boundary, cp->size, kept);
    }
    struct index_place place = {.offset = b ? index_builder_place(b) : 0,
                                .tail = b ? index_builder_tail(b) : 0};
    if (place.offset > STORE_MAGIC && !index_place_fits(bytes, &place)) {
        env_log(env, ENV_WARN, "index is made again: the file has something else there, or cannot be read file=%s position=%llu", file->path,
                (unsigned long long)place.offset);
        index_builder_free(b);
        b = NULL;
    }
    if (!b) {
        *kept = 0;
        b = index_builder_new(file->era, file->name, o->index_step, o->index_block);
    }
    if (data.len > *kept) {
        env_log(env, ENV_INFO, "index cut to the checkpoint file=%s from=%zu to=%zu", w->index.path, data.len,
                *kept);
    }
    buf_free(&data);
    return b;
}

static int look_again(struct env *env, const char *path, struct env_file *file, struct index_builder *b,
                      uint64_t boundary, uint64_t size, struct errmsg *em)
{
    struct scan *scan;
    uint64_t bytes = boundary - index_builder_place(b) + (size - index_builder_at(b));
    if (bytes > LONG_LOOK) { /* it may take a while */
        env_log(env, ENV_INFO, "index is made again file=%s bytes=%llu", path, (unsigned long long)bytes);
    }
    int rv = scan_open(env, path, b, index_builder_place(b), boundary, &scan, em);
    while (!rv && (rv = scan_step(scan, UINT64_MAX, em)) == 1) {
        rv = 0;
    }
    scan_close(scan);
    return rv ? rv : scan_raw(file, path, b, size, em);
}

/* Cuts the index to what was kept and appends what was found. */
static int bring_up(struct writer *w, struct env *env, const char *era, uint64_t kept, struct errmsg *em)
{
    struct env_file *file;
    struct buf *out = index_builder_out(w->index.builder);
    int rv = env_open(env, w->index.path, ENV_READ | ENV_WRITE | ENV_CREATE, &file, em);
    if (rv) {
        return rv;
    }
    rv = env_truncate(file, kept, em);
    if (!rv && out->len > 0) {
        rv = env_pwrite(file, out->data, out->len, kept, em);
    }
    env_close(file);
    rv = rv ? rv : sync_dir(w, env, era, em);
    w->index.at = kept + out->len;
    w->index.dirty = true;
    buf_reset(out);
    return rv;
}

static void damaged(struct store *store, const struct catalog_file *file, const struct errmsg *em)
{
    struct store_damage damage = {.era = file->era};
    snprintf(damage.name, sizeof damage.name, "%s", file->name);
    snprintf(damage.text, sizeof damage.text, "%s", em ? em->text : "");
    store_add_damage(store, &damage);
}

int writer_index_resume(struct writer *w, struct env *env, const struct catalog_file *file,
                        const struct checkpoint *cp, struct errmsg *em)
{
    struct writer_index *x = &w->index;
    struct env_file *bytes;
    char era[32];
    size_t kept;
    snprintf(era, sizeof era, "%llu", (unsigned long long)file->era);
    x->path = index_path(w->store->index_dir, file->era, file->name);
    int rv = env_make_dir(env, w->store->index_dir, era, em);
    rv = rv ? rv : env_open(env, file->path, ENV_READ, &bytes, em);
    if (!rv) {
        x->builder = load(w, env, file, cp, bytes, &kept);
        rv = look_again(env, file->path, bytes, x->builder, cp->boundary, cp->size, em);
        if (rv == E_CORRUPT) {
            damaged(w->store, file, em);
            index_builder_free(x->builder);
            x->builder = NULL;
            rv = 0;
        }
        env_close(bytes);
    }
    if (!rv && x->builder) {
        rv = bring_up(w, env, era, kept, em);
    }
    if (rv) {
        writer_index_close(w);
    }
    return rv;
}
