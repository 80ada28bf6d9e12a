/* fetch_disk.c: see fetch_disk.h.
 *
 * Happy path: a file is prepared: what an earlier attempt left in fetch/ is read for its sum, or what binlog/ has is copied. Pieces are
 * written behind it and summed. When it is whole it is synced, and its sum must be the manifest's.
 *
 * Failure modes: a wrong sum: the file is removed, and the next attempt takes nothing from here but from the members. A failed call ends the process, but one
 * on a file that another member asks for: that one is told. */
#include "raft/fetch_disk.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "raft/message.h"
#include "storage/filelist.h"
#include "storage/install.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 20, SYNC_BYTES = 32 << 20 /* most of them went past the kernel's memory */, STRIDE_MAX = 4 << 20 };

enum task_kind { TASK_KEEP, TASK_PREPARE, TASK_WRITE, TASK_FINISH, TASK_INDEX, TASK_MARK, TASK_DROP, TASK_READ };

/* Made on the loop, done on the disk env, answered and freed on the loop. */
struct task {
    struct env_msg msg;
    struct fetch_disk *disk;
    enum task_kind kind;
    struct fetch_file file; /* PREPARE, INDEX, READ: the name */
    struct buf data;
    struct fetch_piece *piece; /* WRITE */
    struct filelist *files; /* KEEP: these, */
    size_t from;            /* from this one on */
    uint64_t index;
    uint64_t peer, ticket, offset;
    size_t n;
    int status;
    uint64_t at;
};

struct fetch_disk {
    struct env *loop, *env;
    const struct fetch_disk_handler *handler;
    void *owner;
    char *data_dir;
    uint64_t tasks; /* loop: not answered */
    bool closed;    /* loop */
    atomic_bool stop;
    /* the disk env's */
    struct env_file *handle;
    struct fetch_file file; /* that is open or was */
    char *path;
    uint64_t at, unsynced;
    uint32_t sum;
    bool distrust; /* the sum was wrong: take nothing that is here */
    bool right;    /* all that was written was compared with a manifest's sum */
    uint8_t *block;
    struct env_file *serving; /* the last one that was read for another member */
    char *serving_path;
    uint64_t served_at; /* of it: there */
};

struct fetch_piece *fetch_piece_new(void)
{
    struct fetch_piece *p = mem_new(sizeof *p);
    p->bytes = aligned_alloc(ENV_BLOCK, MESSAGE_PIECE_MAX);
    CHECK(p->bytes);
    return p;
}

void fetch_piece_free(struct fetch_piece *p)
{
    if (p) {
        free(p->bytes);
        mem_free(p);
    }
}

static void die_if(struct fetch_disk *d, int rv, const char *doing, const struct errmsg *em)
{
    if (rv) {
        env_fatal(d->env, "raft: cannot %s of files that are fetched: %s; this node stops", doing, em->text);
    }
}

/* What could not be written may stand in the kernel's memory as if it had been, and the next life would take it from there. */
static void die_if_unwritten(struct fetch_disk *d, int rv, const char *doing, const struct errmsg *em)
{
    struct errmsg ignored;
    if (rv) {
        (void)env_unlink(d->env, d->path, &ignored);
    }
    die_if(d, rv, doing, em);
}

/* ---- on the disk env ------------------------------------------------------------------------------------ */

static void close_file(struct fetch_disk *d)
{
    if (d->handle) {
        env_close(d->handle);
        d->handle = NULL;
    }
    mem_free(d->path);
    d->path = NULL;
}

static void make_dirs(struct fetch_disk *d, uint64_t era)
{
    struct errmsg em;
    char *dir = mem_printf("%s/fetch", d->data_dir), *name = mem_printf("%llu", (unsigned long long)era);
    int rv = env_make_dir(d->env, d->data_dir, "fetch", &em);
    die_if(d, rv ? rv : env_make_dir(d->env, dir, name, &em), "make the directory", &em);
    mem_free(dir);
    mem_free(name);
}

/* Sums the file's bytes from `at` to `end` onto d->sum; those that are there. */
static int sum_up(struct fetch_disk *d, struct env_file *f, uint64_t end, struct env_file *copy_to, struct errmsg *em)
{
    d->block = d->block ? d->block : mem_array(BLOCK, 1);
    while (d->at < end && !atomic_load(&d->stop)) {
        size_t got, n = end - d->at < BLOCK ? (size_t)(end - d->at) : BLOCK;
        int rv = env_pread(f, d->block, n, d->at, &got, em);
        if (!rv && copy_to) {
            die_if_unwritten(d, env_pwrite(copy_to, d->block, got, d->at, em), "write to one", em);
            d->unsynced += got;
        }
        if (rv || got == 0) {
            return rv;
        }
        d->sum = crc32c_of(d->sum, d->block, got);
        d->at += got;
    }
    return 0;
}

static void cut_to(struct fetch_disk *d, uint64_t size)
{
    struct errmsg em;
    die_if(d, env_truncate(d->handle, size, &em), "cut one", &em);
}

/* What binlog/ has of it. A wrong sum: that one is damaged, and the members have it all. */
static void copy_kept(struct fetch_disk *d)
{
    struct errmsg em;
    struct env_file *from;
    char *path = mem_printf("%s/binlog/%llu/%s", d->data_dir, (unsigned long long)d->file.era, d->file.name);
    d->at = d->sum = 0;
    cut_to(d, 0);
    int rv = env_open(d->env, path, ENV_READ, &from, &em);
    if (!rv) {
        rv = sum_up(d, from, d->file.keep, d->handle, &em);
        env_close(from);
    }
    if (!rv && d->at == d->file.keep && d->sum != d->file.keep_sum) {
        rv = err_set(&em, E_CORRUPT, "%s does not hold what was written", path);
    }
    if (rv || d->at < d->file.keep) {
        env_log(d->env, ENV_WARN, "raft: all of a file is fetched anew, what is here cannot be used file=%s why=\"%s\"", path, rv ? em.text : "too short");
        d->at = d->sum = 0;
        cut_to(d, 0);
    }
    mem_free(path);
}

/* What an earlier attempt left. */
static void take_left(struct fetch_disk *d)
{
    struct errmsg em;
    uint64_t size;
    die_if(d, env_size(d->handle, &size, &em), "look at one", &em);
    if (size > d->file.size) {
        size = d->file.size;
        cut_to(d, size);
    }
    if (d->distrust) {
        cut_to(d, 0);
        size = 0;
    }
    d->at = d->sum = 0;
    die_if(d, sum_up(d, d->handle, size, NULL, &em), "read one", &em);
    d->unsynced = d->at;
    if (d->at < d->file.keep && !d->distrust) {
        copy_kept(d);
    }
}

/* It is open, and goes on; but where it ended in a transaction that may have been cut since. */
static bool goes_on(struct fetch_disk *d, const struct fetch_file *f)
{
    if (!d->handle || d->file.era != f->era || strcmp(d->file.name, f->name) != 0 || d->distrust) {
        return false;
    }
    d->file = *f;
    if (f->safe && d->at > f->safe) {
        cut_to(d, f->safe);
        if (!d->right) { /* the manifest's sum up to there may not be that of these bytes: they are read */
            return false;
        }
        d->at = f->safe;
        d->sum = f->safe_sum;
        d->unsynced++; /* the cut, too, is on the disk before all is marked */
    }
    return d->at <= f->size;
}

static void prepare(struct fetch_disk *d, struct task *t)
{
    struct errmsg em;
    if (!goes_on(d, &t->file)) {
        close_file(d);
        d->file = t->file;
        d->path = install_path(d->data_dir, t->file.era, t->file.name);
        make_dirs(d, t->file.era);
        die_if(d, env_open(d->env, d->path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_PAST, &d->handle, &em), "open one", &em);
        d->right = false;
        take_left(d);
    }
    t->at = d->at;
}

static void sync_file(struct fetch_disk *d)
{
    struct errmsg em;
    if (d->unsynced) {
        die_if_unwritten(d, env_sync(d->handle, &em), "sync one", &em);
        d->unsynced = 0;
    }
}

static void write_piece(struct fetch_disk *d, const struct task *t)
{
    struct errmsg em;
    if (!d->handle && atomic_load(&d->stop)) { /* it was not begun any more */
        return;
    }
    CHECK(d->handle);
    die_if_unwritten(d, env_pwrite(d->handle, t->piece->bytes, t->piece->n, d->at, &em), "write to one", &em);
    d->sum = crc32c_of(d->sum, t->piece->bytes, t->piece->n);
    d->at += t->piece->n;
    d->right = false;
    d->unsynced += t->piece->n;
    if (d->unsynced >= SYNC_BYTES) { /* not all at the end */
        sync_file(d);
    }
}

static void finish(struct fetch_disk *d, struct task *t)
{
    struct errmsg em;
    t->status = d->at == d->file.size && (d->sum == d->file.sum || !d->file.sum) ? 0 : E_CORRUPT;
    d->distrust = t->status != 0;
    d->right = !d->distrust && d->file.sum;
    if (t->status) {
        env_log(d->env, ENV_ERROR, "raft: a fetched file is not what the manifest says, it is fetched anew file=%s bytes=%llu", d->path,
                (unsigned long long)d->at);
        int rv = env_unlink(d->env, d->path, &em);
        die_if(d, rv == E_NOTFOUND ? 0 : rv, "remove one", &em);
        close_file(d);
        return;
    }
    sync_file(d);
    if (!d->file.newest) {
        close_file(d);
    }
}

static void put_index(struct fetch_disk *d, const struct task *t)
{
    struct errmsg em;
    int rv = install_put_index(d->env, d->data_dir, t->file.era, t->file.name, &t->data, &em);
    die_if(d, rv, "write the index", &em);
}

/* A file that is open goes on only if it is one of them. */
static void keep_only(struct fetch_disk *d, const struct task *t)
{
    struct errmsg em;
    size_t at;
    if (d->handle && (!filelist_find(t->files, d->file.era, d->file.name, &at) || at < t->from)) {
        close_file(d);
    }
    die_if(d, install_keep(d->env, d->data_dir, t->files, t->from, &em), "remove what is left", &em);
}

/* Who asks several members in turn asks each for pieces that are equally far apart; the disk may begin with the next one. */
static void hint_next(struct fetch_disk *d, const struct task *t)
{
    uint64_t stride = t->offset - d->served_at;
    if (t->offset > d->served_at && stride <= STRIDE_MAX) {
        env_hint(d->serving, t->n, t->offset + stride);
    }
    d->served_at = t->offset;
}

static void read_for_peer(struct fetch_disk *d, struct task *t)
{
    struct errmsg em;
    size_t got = 0;
    char *path = mem_printf("%s/binlog/%llu/%s", d->data_dir, (unsigned long long)t->file.era, t->file.name);
    if (!d->serving || strcmp(path, d->serving_path) != 0) {
        if (d->serving) {
            env_close(d->serving);
            d->serving = NULL;
        }
        mem_free(d->serving_path);
        d->serving_path = mem_str(path);
        t->status = env_open(d->env, path, ENV_READ, &d->serving, &em);
        if (t->status) {
            d->serving = NULL;
        }
    }
    if (!t->status) {
        uint8_t *to = message_piece_room(&t->data, t->ticket, t->n);
        hint_next(d, t);
        t->status = to ? env_pread(d->serving, to, t->n, t->offset, &got, &em) : t->data.err;
        if (!t->status && got) {
            message_piece_filled(&t->data, got); /* its sum is made here: the loop has others to serve */
        } else {
            buf_reset(&t->data);
        }
    }
    if (t->status && t->status != E_NOTFOUND) {
        env_log(d->env, ENV_ERROR, "raft: a file that another member lacks cannot be read for it, it asks the others: %s", em.text);
    }
    if (d->serving && got < t->n) { /* another one may have taken its place */
        env_close(d->serving);
        d->serving = NULL;
    }
    mem_free(path);
}

static void answer(struct env_msg *msg);

static void run(struct env_msg *msg)
{
    struct task *t = CONTAINER_OF(msg, struct task, msg);
    struct fetch_disk *d = t->disk;
    struct errmsg em;
    switch (t->kind) {
    case TASK_KEEP: keep_only(d, t); break;
    case TASK_PREPARE: prepare(d, t); break;
    case TASK_WRITE: write_piece(d, t); break;
    case TASK_FINISH: finish(d, t); break;
    case TASK_INDEX: put_index(d, t); break;
    case TASK_MARK: die_if(d, install_mark(d->env, d->data_dir, t->index, &em), "mark the directory", &em); break;
    case TASK_DROP:
        close_file(d);
        die_if(d, install_drop(d->env, d->data_dir, &em), "empty the directory", &em);
        break;
    case TASK_READ: read_for_peer(d, t); break;
    }
    msg->run = answer;
    env_post(d->loop, msg);
}

static void close_all(struct env_msg *msg)
{
    struct task *t = CONTAINER_OF(msg, struct task, msg);
    struct fetch_disk *d = t->disk;
    close_file(d);
    if (d->serving) {
        env_close(d->serving);
    }
    mem_free(d->serving_path);
    mem_free(d->block);
    mem_free(t);
}

/* ---- on the loop ---------------------------------------------------------------------------------------- */

static void disk_free(struct fetch_disk *d)
{
    mem_free(d->data_dir);
    mem_free(d);
}

static void answer(struct env_msg *msg)
{
    struct task *t = CONTAINER_OF(msg, struct task, msg);
    struct fetch_disk *d = t->disk;
    d->tasks--;
    if (!d->closed) {
        switch (t->kind) {
        case TASK_PREPARE: d->handler->prepared(d->owner, t->at); break;
        case TASK_WRITE:
            d->handler->written(d->owner, t->piece);
            t->piece = NULL;
            break;
        case TASK_FINISH: d->handler->finished(d->owner, !t->status); break;
        case TASK_MARK: d->handler->marked(d->owner); break;
        case TASK_KEEP: case TASK_INDEX: case TASK_DROP: break;
        case TASK_READ: d->handler->read(d->owner, t->peer, t->ticket, t->status, &t->data); break;
        }
    }
    filelist_unref(t->files);
    buf_free(&t->data);
    fetch_piece_free(t->piece);
    mem_free(t);
    if (d->closed && !d->tasks) {
        disk_free(d);
    }
}

static struct task *task_new(struct fetch_disk *d, enum task_kind kind)
{
    struct task *t = mem_new(sizeof *t);
    t->msg.run = run;
    t->disk = d;
    t->kind = kind;
    buf_init(&t->data, BLOCK);
    d->tasks++;
    return t;
}

static void post(struct task *t)
{
    env_post(t->disk->env, &t->msg);
}

int fetch_disk_open(struct env *loop, const char *data_dir, const struct fetch_disk_handler *handler, void *owner, struct fetch_disk **out)
{
    struct fetch_disk *d = mem_new(sizeof *d);
    d->loop = loop;
    d->handler = handler;
    d->owner = owner;
    d->data_dir = mem_str(data_dir);
    int rv = env_spawn(loop, "fetch", &d->env);
    if (rv) {
        disk_free(d);
        return rv;
    }
    env_background(d->env); /* commits go first */
    *out = d;
    return 0;
}

void fetch_disk_close(struct fetch_disk *d)
{
    struct task *t = mem_new(sizeof *t);
    t->msg.run = close_all;
    t->disk = d;
    d->closed = true;
    atomic_store(&d->stop, true);
    post(t);
    env_join(d->env);
    if (!d->tasks) { /* else the last answer that is in the loop's queue does it */
        disk_free(d);
    }
}

void fetch_disk_prepare(struct fetch_disk *d, const struct fetch_file *file)
{
    struct task *t = task_new(d, TASK_PREPARE);
    t->file = *file;
    post(t);
}

void fetch_disk_write(struct fetch_disk *d, struct fetch_piece *piece)
{
    struct task *t = task_new(d, TASK_WRITE);
    t->piece = piece;
    post(t);
}

void fetch_disk_finish(struct fetch_disk *d)
{
    post(task_new(d, TASK_FINISH));
}

void fetch_disk_index(struct fetch_disk *d, const struct fetch_file *file, struct buf *index)
{
    struct task *t = task_new(d, TASK_INDEX);
    t->file = *file;
    buf_move(&t->data, index);
    post(t);
}

void fetch_disk_keep(struct fetch_disk *d, const struct filelist *files, size_t from)
{
    struct task *t = task_new(d, TASK_KEEP);
    t->files = filelist_ref(files);
    t->from = from;
    post(t);
}

void fetch_disk_mark(struct fetch_disk *d, uint64_t index)
{
    struct task *t = task_new(d, TASK_MARK);
    t->index = index;
    post(t);
}

void fetch_disk_drop(struct fetch_disk *d)
{
    post(task_new(d, TASK_DROP));
}

void fetch_disk_read(struct fetch_disk *d, uint64_t peer, uint64_t ticket, uint64_t era, const char *name, uint64_t offset, size_t n)
{
    struct task *t = task_new(d, TASK_READ);
    t->peer = peer;
    t->ticket = ticket;
    t->file.era = era;
    snprintf(t->file.name, sizeof t->file.name, "%s", name);
    t->offset = offset;
    t->n = n;
    post(t);
}
