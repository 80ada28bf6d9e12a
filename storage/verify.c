/* verify.c: see verify.h.
 *
 * Happy path: a scan walks over the file and makes its index again in memory; that is compared with the one
 * on disk, record by record. A hash that differs says that these bytes are not those that were written, even
 * where each event's own checksum is right or there are none. Each step is followed by a message to the loop. Where it
 * is asked for, the index made here replaces one that is damaged.
 *
 * Failure modes: a file that is damaged is reported, and the next one is looked at. No binlog file is changed here. */
#include "storage/verify.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/impl.h"
#include "storage/scan.h"

#include <stdio.h>
#include <string.h>

enum { STEP = 1 << 20 };

/* One file under way. */
struct look {
    struct env *env;
    const struct store_options *options;
    const char *index_dir;
    const struct verify_file *file;
    bool rebuild;
    char *path;
    struct index_builder *builder;
    struct scan *scan;
};

struct verify_report {
    struct env_msg msg;
    struct verify *verify;
    bool has_result, last;
    uint64_t bytes;
    size_t file;
    uint64_t events;
    enum verify_verdict verdict;
    struct errmsg em;
};

struct verify {
    struct env *loop, *env;
    const struct verify_handler *handler;
    void *owner;
    char *binlog_dir, *index_dir;
    struct store_options options;
    struct verify_file *files;
    size_t n;
    uint64_t rate, of;
    unsigned reports; /* loop: those that have not come are counted with `sent` */
    bool dropped;     /* loop */
    /* the verify env's */
    struct env_msg step_msg, stop_msg;
    struct env_timer pause;
    struct look look;
    size_t at;
    uint64_t bytes_before; /* of files that are done */
    uint64_t began;
    bool over;
    unsigned sent;
};

/* ---- one file ------------------------------------------------------------------------------------------ */

static int look_begin(struct look *l, const char *binlog_dir, struct errmsg *em)
{
    const struct verify_file *f = l->file;
    l->path = mem_printf("%s/%llu/%s", binlog_dir, (unsigned long long)f->era, f->name);
    l->builder = index_builder_new(f->era, f->name, l->options->index_step, l->options->index_block);
    return scan_open(l->env, l->path, l->builder, STORE_MAGIC, f->size, &l->scan, em);
}

static void look_end(struct look *l)
{
    scan_close(l->scan);
    index_builder_free(l->builder);
    mem_free(l->path);
    l->scan = NULL;
    l->builder = NULL;
    l->path = NULL;
}

/* Both are whole indexes of the same file, or beginnings of one. */
static enum verify_verdict compare(const struct look *l, const struct buf *have, struct errmsg *em)
{
    const struct verify_file *f = l->file;
    const struct buf *want = index_builder_out(l->builder);
    struct index_walk a, b;
    struct index_record x, y;
    size_t n = have->len < want->len ? have->len : want->len;
    if ((!f->sealed || have->len == want->len) && memcmp(have->data, want->data, n) == 0) {
        return VERIFY_SOUND;
    }
    CHECK(index_walk_begin(&b, want->data, want->len, f->era, f->name, NULL) == 0);
    if (index_walk_begin(&a, have->data, have->len, f->era, f->name, em) == 0 && a.block == b.block) {
        while (index_walk_next(&a, &x, NULL) == 1 && index_walk_next(&b, &y, NULL) == 1) {
            uint64_t from = (b.hashes - (y.kind == INDEX_HASH)) * b.block;
            if (x.hash && y.hash && x.kind == y.kind && memcmp(x.hash, y.hash, INDEX_HASH_SIZE) != 0) {
                (void)err_set(em, E_CORRUPT,
                              "%s: the bytes from %llu on are not those that were written; replace the member", l->path,
                              (unsigned long long)from);
                return VERIFY_DAMAGED;
            }
        }
    }
    return VERIFY_INDEX_DAMAGED;
}

/* The file may have been purged while it was read: then nobody else removes its index. */
static int drop_if_purged(const struct look *l, const char *path, struct errmsg *em)
{
    struct env_file *file;
    int rv = env_open(l->env, l->path, ENV_READ, &file, em);
    if (!rv) {
        env_close(file);
    }
    return rv == E_NOTFOUND ? env_unlink(l->env, path, em) : rv;
}

/* Puts the index that the scan has made in place of the one on disk; beside the storage env, which may do the same
 * under another temporary name: both have the same bytes. */
static int put_index(const struct look *l, const char *path, struct errmsg *em)
{
    struct env_file *file;
    const struct buf *index = index_builder_out(l->builder);
    char *made = mem_printf("%s.verify", path), *dir = mem_printf("%.*s", (int)(strrchr(path, '/') - path), path);
    int rv = index->err ? err_set(em, index->err, "%s: %s", path, err_text(index->err))
                        : env_open(l->env, made, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_TRUNC, &file, em);
    if (!rv) {
        rv = env_pwrite(file, index->data, index->len, 0, em);
        rv = rv ? rv : env_sync(file, em);
        env_close(file);
        rv = rv ? rv : env_rename(l->env, made, path, em);
        rv = rv ? rv : env_sync_dir(l->env, dir, em);
        rv = rv ? rv : drop_if_purged(l, path, em);
    }
    mem_free(made);
    mem_free(dir);
    return rv;
}

/* The index differs from what the file says. */
static enum verify_verdict mend_index(struct look *l, const char *path, struct errmsg *em)
{
    struct errmsg why = {""};
    if (!l->file->sealed) {
        (void)err_set(em, E_CORRUPT, "%s is damaged or missing; it is made again at the next start", path);
        return VERIFY_INDEX_DAMAGED;
    }
    if (!l->rebuild) {
        (void)err_set(em, E_CORRUPT, "%s is damaged or missing; a replica that wants it, or CHECK BINARY LOGS REBUILD, "
                                     "makes it again", path);
        return VERIFY_INDEX_DAMAGED;
    }
    if (put_index(l, path, &why)) {
        (void)err_set(em, E_CORRUPT, "%s is damaged or missing and cannot be made again: %s", path, why.text);
        return VERIFY_INDEX_DAMAGED;
    }
    (void)err_set(em, E_CORRUPT, "%s was damaged or missing and was made again", path);
    return VERIFY_INDEX_MADE;
}

static enum verify_verdict look_at_index(struct look *l, struct errmsg *em)
{
    struct buf have;
    char *path = index_path(l->index_dir, l->file->era, l->file->name);
    enum verify_verdict verdict;
    if (l->file->sealed) {
        index_builder_seal(l->builder);
    }
    buf_init(&have, INDEX_MAX);
    int rv = env_read_file(l->env, path, &have, em);
    if (rv) {
        verdict = rv == E_NOTFOUND ? VERIFY_INDEX_DAMAGED : VERIFY_UNREADABLE;
    } else {
        verdict = compare(l, &have, em);
    }
    if (verdict == VERIFY_INDEX_DAMAGED) {
        verdict = mend_index(l, path, em);
    }
    buf_free(&have);
    mem_free(path);
    return verdict;
}

/* What is found when scan_open or scan_step gave `rv`, not 1. */
static enum verify_verdict judge(struct look *l, int rv, struct errmsg *em)
{
    uint64_t size = 0;
    if (rv == E_CORRUPT || rv == E_NOTFOUND) {
        char *what = mem_str(em->text);
        (void)err_set(em, rv, "%s; it is not served beyond that: replace the member", what);
        mem_free(what);
        return VERIFY_DAMAGED;
    }
    if (rv) {
        return VERIFY_UNREADABLE;
    }
    struct env_file *file;
    rv = l->file->sealed ? env_open(l->env, l->path, ENV_READ, &file, em) : 0;
    if (!rv && l->file->sealed) {
        rv = env_size(file, &size, em);
        env_close(file);
    }
    if (!rv && l->file->sealed && size != l->file->size) {
        (void)err_set(em, E_CORRUPT, "%s has %llu bytes, expected %llu; replace the member", l->path, (unsigned long long)size,
                      (unsigned long long)l->file->size);
        return VERIFY_DAMAGED;
    }
    if (!rv && l->file->sealed && l->file->sum && l->file->sum != scan_sum(l->scan)) {
        (void)err_set(em, E_CORRUPT, "%s: its bytes have not the sum that the cluster agreed on; replace the member", l->path);
        return VERIFY_DAMAGED;
    }
    return rv ? VERIFY_UNREADABLE : look_at_index(l, em);
}

enum verify_verdict verify_file_now(struct env *env, struct store *store, const struct verify_file *file,
                                    bool rebuild, uint64_t *events, struct errmsg *em)
{
    struct look l = {.env = env,
                     .options = &store->options,
                     .index_dir = store->index_dir,
                     .file = file,
                     .rebuild = rebuild};
    em->text[0] = '\0';
    int rv = look_begin(&l, store->writer.binlog_dir, em);
    while (!rv && (rv = scan_step(l.scan, STEP, em)) == 1) {
        rv = 0;
    }
    enum verify_verdict verdict = judge(&l, rv, em);
    *events = l.scan ? scan_events(l.scan) : 0;
    look_end(&l);
    return verdict;
}

/* ---- on the loop --------------------------------------------------------------------------------------- */

static void verify_free(struct verify *v)
{
    for (size_t i = 0; i < v->n; i++) {
        mem_free((char *)v->files[i].name);
    }
    mem_free(v->files);
    mem_free(v->binlog_dir);
    mem_free(v->index_dir);
    mem_free(v);
}

static void reported(struct env_msg *msg)
{
    struct verify_report *r = CONTAINER_OF(msg, struct verify_report, msg);
    struct verify *v = r->verify;
    v->reports++;
    if (v->dropped) {
        if (v->reports == v->sent) { /* its env has ended */
            verify_free(v);
        }
        mem_free(r);
        return;
    }
    if (r->has_result) {
        struct verify_result result = {
            .file = &v->files[r->file], .events = r->events, .verdict = r->verdict, .text = r->em.text};
        v->handler->result(v->owner, &result);
    } else if (!r->last && v->handler->progress) {
        v->handler->progress(v->owner, r->bytes, v->of);
    }
    if (r->last && !v->dropped) {
        const struct verify_handler *handler = v->handler;
        void *owner = v->owner;
        env_join(v->env);
        verify_free(v);
        handler->done(owner);
    }
    mem_free(r);
}

/* ---- on the verify env --------------------------------------------------------------------------------- */

static struct verify_report *report_new(struct verify *v)
{
    struct verify_report *r = mem_new(sizeof *r);
    r->msg.run = reported;
    r->verify = v;
    return r;
}

static void report(struct verify *v, struct verify_report *r)
{
    v->sent++;
    env_post(v->loop, &r->msg);
}

static void end(struct verify *v)
{
    v->over = true;
    env_timer_close(&v->pause);
    look_end(&v->look);
}

static void next_step(struct verify *v)
{
    uint64_t bytes = v->bytes_before + (v->look.scan ? scan_at(v->look.scan) : 0);
    uint64_t due = v->rate ? (uint64_t)((double)bytes / (double)v->rate * (double)ENV_S) : 0;
    uint64_t spent = v->rate ? env_now(v->env) - v->began : 0;
    if (due > spent + ENV_MS) {
        env_timer_start(&v->pause, due - spent);
    } else {
        env_post(v->env, &v->step_msg);
    }
}

static void step(struct verify *v)
{
    struct look *l = &v->look;
    struct verify_report *r = report_new(v);
    int rv = 0;
    if (v->at == v->n) {
        r->last = true;
        end(v);
        report(v, r);
        return;
    }
    if (!l->file) {
        l->file = &v->files[v->at];
        rv = look_begin(l, v->binlog_dir, &r->em);
    }
    rv = rv ? rv : scan_step(l->scan, STEP, &r->em);
    if (rv == 1) {
        r->bytes = v->bytes_before + scan_at(l->scan);
    } else {
        r->has_result = true;
        r->file = v->at++;
        r->verdict = judge(l, rv, &r->em);
        r->events = l->scan ? scan_events(l->scan) : 0;
        v->bytes_before += l->file->size;
        look_end(l);
        l->file = NULL;
    }
    report(v, r);
    next_step(v);
}

static void run_step(struct env_msg *msg)
{
    struct verify *v = CONTAINER_OF(msg, struct verify, step_msg);
    if (!v->began && v->rate) {
        v->began = env_now(v->env);
        CHECK(env_timer_open(v->env, &v->pause, v->pause.fired) == 0);
    }
    if (!v->over) {
        step(v);
    }
}

static void paused(struct env_timer *timer)
{
    step(CONTAINER_OF(timer, struct verify, pause));
}

static void stop_now(struct env_msg *msg)
{
    struct verify *v = CONTAINER_OF(msg, struct verify, stop_msg);
    if (!v->over) {
        end(v);
    }
}

/* ---- begin and stop ------------------------------------------------------------------------------------ */

int verify_begin(struct env *loop, struct store *store, const struct verify_file *files, size_t n,
                 uint64_t rate, bool rebuild, const struct verify_handler *handler, void *owner, struct verify **out,
                 struct errmsg *em)
{
    struct verify *v = mem_new(sizeof *v);
    *out = NULL;
    v->loop = loop;
    v->handler = handler;
    v->owner = owner;
    v->binlog_dir = mem_str(store->writer.binlog_dir);
    v->index_dir = mem_str(store->index_dir);
    v->options = store->options;
    v->rate = rate;
    v->files = mem_array(n + 1, sizeof *v->files);
    for (; v->n < n; v->n++) {
        v->files[v->n] = files[v->n];
        v->files[v->n].name = mem_str(files[v->n].name);
        v->of += files[v->n].size;
    }
    v->step_msg.run = run_step;
    v->stop_msg.run = stop_now;
    v->pause.fired = paused;
    int rv = env_spawn(loop, "verify", &v->env);
    if (rv) {
        verify_free(v);
        return err_set(em, rv, "cannot start a thread: %s", err_text(rv));
    }
    v->look =
        (struct look){.env = v->env, .options = &v->options, .index_dir = v->index_dir, .rebuild = rebuild};
    env_post(v->env, &v->step_msg);
    *out = v;
    return 0;
}

void verify_stop(struct verify *v)
{
    env_post(v->env, &v->stop_msg);
    env_join(v->env);
    v->dropped = true;
    if (v->reports == v->sent) {
        verify_free(v);
    }
}
