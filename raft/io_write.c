/* io_write.c: raft_io's appends and truncations.
 *
 * Happy path: libraft calls append, the request is queued; when the wal env is idle everything queued goes to it as one batch, is written,
 * and comes back as completions, in order. Truncations are queued between appends. Files for segments to come are zeroed on an env of
 * their own, so that an append need not wait for it.
 *
 * Failures: an error of the log is fatal, on the wal env. That no file could be made ahead is none: the append that needs one says so. */
#include "raft/io_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

/* On the wal env. */
static void write_items(struct rio *rio, struct item *items)
{
    struct errmsg em;
    struct wal_record *records = NULL;
    size_t n = 0;
    int rv = 0;
    for (struct item *item = items; item && !rv; item = item->next) {
        if (item->kind == ITEM_TRUNCATE) {
            rv = wal_append(rio->wal, records, n, &em);
            n = 0;
            rv = rv ? rv : wal_truncate(rio->wal, item->index, &em);
            continue;
        }
        records = mem_grow(records, n + item->n, sizeof *records);
        for (unsigned i = 0; i < item->n; i++) {
            records[n++] = (struct wal_record){.index = item->index + i,
                                               .term = item->entries[i].term,
                                               .type = item->entries[i].type,
                                               .data = item->entries[i].buf.base,
                                               .len = item->entries[i].buf.len};
        }
    }
    rv = rv ? rv : wal_append(rio->wal, records, n, &em);
    mem_free(records);
    if (rv) {
        env_fatal(rio->wal_env, "cannot append to the write-ahead log: %s; this node stops, so that nothing is acknowledged "
                                "that is not on its disk",
                  em.text);
    }
}

static void spare_made(struct env_msg *msg);

static void spare_run(struct env_msg *msg)
{
    struct spare *spare = CONTAINER_OF(msg, struct spare, msg);
    wal_spare_make(&spare->file);
    msg->run = spare_made;
    env_post(spare->rio->wal_env, msg);
}

/* On the wal env, when the log may have used a file or is idle. */
static void want_spare(struct rio *rio)
{
    if (wal_spare_begin(rio->wal, &rio->spare.file)) {
        rio->spare.msg.run = spare_run;
        env_post(rio->spare_env, &rio->spare.msg);
    }
}

static void spare_made(struct env_msg *msg)
{
    struct spare *spare = CONTAINER_OF(msg, struct spare, msg);
    struct rio *rio = spare->rio;
    if (spare->file.rv) { /* no harm yet: the append that needs one fails, if there still is no room */
        env_log(rio->wal_env, ENV_WARN, "wal: no file could be made ahead for the log: %s", spare->file.em.text);
    }
    if (rio->wal) { /* else it was closed meanwhile; the next start finds the file */
        wal_spare_take(rio->wal, &spare->file);
    }
}

static void batch_written(struct env_msg *msg)
{
    struct rio *rio = CONTAINER_OF(msg, struct batch, msg)->rio;
    struct item *item = rio->batch.items;
    rio->batch.busy = false;
    rio->batch.items = NULL;
    rio->stored_at = env_now(rio->loop);
    while (item) {
        struct item *next = item->next;
        if (item->kind == ITEM_APPEND) {
            item->req->cb(item->req, 0);
        }
        mem_free(item);
        item = next;
    }
    if (rio->closing) {
        rio_finish_close(rio);
        return;
    }
    rio_written(rio);
}

static void batch_run(struct env_msg *msg)
{
    struct batch *batch = CONTAINER_OF(msg, struct batch, msg);
    write_items(batch->rio, batch->items);
    want_spare(batch->rio);
    msg->run = batch_written;
    env_post(batch->rio->loop, msg);
}

void rio_start_batch(struct rio *rio)
{
    if (rio->batch.busy || !rio->first) {
        return;
    }
    rio->batch.items = rio->first;
    rio->batch.busy = true;
    rio->batch.msg.run = batch_run;
    rio->first = NULL;
    rio->tail = &rio->first;
    env_post(rio->wal_env, &rio->batch.msg);
}

static void queue_item(struct rio *rio, struct item item)
{
    struct item *copy = mem_dup(&item, sizeof item);
    *rio->tail = copy;
    rio->tail = &copy->next;
    rio_start_batch(rio);
}

int rio_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
               raft_io_append_cb cb)
{
    struct rio *rio = rio_of(io);
    req->cb = cb;
    queue_item(rio, (struct item){.kind = ITEM_APPEND, .req = req, .entries = entries, .n = n, .index = rio->next_index});
    for (unsigned i = 0; i < n; i++) {
        rio_log_append(rio, rio->next_index + i, entries[i].term, entries[i].type, entries[i].buf.base, entries[i].buf.len);
    }
    rio->next_index += n;
    return 0;
}

int rio_truncate(struct raft_io *io, raft_index index)
{
    struct rio *rio = rio_of(io);
    if (index < rio->next_index) { /* some versions call it before each append, with nothing to cut */
        rio->next_index = index;
        rio_log_truncate(rio, index);
        queue_item(rio, (struct item){.kind = ITEM_TRUNCATE, .index = index});
    }
    return 0;
}

bool rio_writing(const struct rio *rio)
{
    return rio->batch.busy || rio->first;
}

static void cancel_newest_first(struct item *item)
{
    if (item) {
        cancel_newest_first(item->next);
        if (item->kind == ITEM_APPEND) {
            item->req->cb(item->req, RAFT_CANCELED);
        }
        mem_free(item);
    }
}

void rio_cancel_queued(struct rio *rio)
{
    struct item *items = rio->first;
    rio->first = NULL;
    rio->tail = &rio->first;
    cancel_newest_first(items);
}
