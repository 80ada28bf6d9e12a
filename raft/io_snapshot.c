/* io_snapshot.c: raft_io's snapshots.
 *
 * A leader's snapshot comes only when all its files are here (raft/fetch.h).
 *
 * Happy path: a snapshot waits until storage has written its checkpoint, is stored on the wal env, then the log gives back what it covers.
 * Who asks for it gets it from memory.
 *
 * Failures: an error of the disk is fatal, on the wal env: the log may only give back what a stored snapshot covers. */
#include "raft/io_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/install.h"

#include <stdio.h>
#include <string.h>

static void put_finished(struct env_msg *msg)
{
    struct put *put = CONTAINER_OF(msg, struct put, msg);
    struct rio *rio = put->rio;
    snapshot_free(&rio->snapshot);
    rio->snapshot = put->snapshot;
    rio->has_snapshot = true;
    put->snapshot = (struct snapshot){0};
    put->busy = false;
    put->install = NULL;
    if (put->replaces_log && !put->status) {
        rio_log_free(rio);
        rio_log_append(rio, rio->snapshot.index, rio->snapshot.term, RAFT_COMMAND, NULL, 0); /* its term goes before what follows */
        rio->first_index = rio->snapshot.index + 1;
        guard_snapshot(&rio->guard, rio->snapshot.index);
    } else if (!put->replaces_log) {
        rio_log_covered(rio, rio->snapshot.index);
        rio->first_index = put->compact_to + 1 > rio->first_index ? put->compact_to + 1 : rio->first_index;
    }
    bool installed = put->replaces_log && !put->status;
    put->req->cb(put->req, put->status);
    rio_change_installed(rio, installed);
    if (rio->closing) {
        rio_finish_close(rio);
        return;
    }
    rio->handler->turned(rio->owner);
}

static void put_decided(struct env_msg *msg);

/* On the wal env. */
static void put_store(struct env_msg *msg)
{
    struct put *put = CONTAINER_OF(msg, struct put, msg);
    struct rio *rio = put->rio;
    struct errmsg em;
    int rv = snapshot_write(rio->wal_env, rio->dir, &put->snapshot, &em);
    if (!rv && !put->replaces_log) {
        rv = wal_compact(rio->wal, put->compact_to, &em);
    }
    if (rv) {
        env_fatal(rio->wal_env, "cannot store the snapshot: %s; this node stops", em.text);
    }
    msg->run = put->replaces_log ? put_decided : put_finished;
    env_post(rio->loop, msg);
}

/* ---- a leader's snapshot: stored, then its files are put in place, then the log before it goes; a start ends what was begun ---- */

/* On the wal env. */
static void put_reset(struct env_msg *msg)
{
    struct put *put = CONTAINER_OF(msg, struct put, msg);
    struct errmsg em;
    if (wal_reset(put->rio->wal, put->snapshot.index + 1, &em)) {
        env_fatal(put->rio->wal_env, "cannot begin the log anew behind the snapshot: %s; this node stops", em.text);
    }
    msg->run = put_finished;
    env_post(put->rio->loop, msg);
}

static void put_installed(void *arg)
{
    struct put *put = arg;
    put->msg.run = put_reset;
    env_post(put->rio->wal_env, &put->msg);
}

static void put_decided(struct env_msg *msg)
{
    struct put *put = CONTAINER_OF(msg, struct put, msg);
    if (!put->rio->store) { /* the node is closing: its next start does the rest */
        put->status = RAFT_CANCELED;
        put_finished(msg);
        return;
    }
    store_install(put->rio->store, put->install, put_installed, put);
}

static void put_begin(struct put *put)
{
    put->msg.run = put_store;
    env_post(put->rio->wal_env, &put->msg);
}

static void put_checkpointed(void *arg)
{
    put_begin(arg);
}

static void copy_snapshot(struct snapshot *to, const struct raft_snapshot *from)
{
    *to = (struct snapshot){.index = from->index, .term = from->term, .configuration_index = from->configuration_index};
    CHECK(from->configuration.n <= SNAPSHOT_SERVERS_MAX);
    to->servers = mem_array(from->configuration.n, sizeof *to->servers);
    to->n_servers = from->configuration.n;
    for (size_t i = 0; i < to->n_servers; i++) {
        const struct raft_server *server = &from->configuration.servers[i];
        to->servers[i].id = server->id;
        to->servers[i].role = server->role;
        snprintf(to->servers[i].address, sizeof to->servers[i].address, "%s", server->address);
    }
    buf_init(&to->data, SNAPSHOT_MAX);
    for (unsigned i = 0; i < from->n_bufs; i++) {
        buf_bytes(&to->data, from->bufs[i].base, from->bufs[i].len);
    }
}

int rio_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                     const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    struct rio *rio = rio_of(io);
    struct put *put = &rio->put;
    CHECK(!put->busy && rio->store);
    put->busy = true;
    put->status = 0;
    put->req = req;
    req->cb = cb;
    copy_snapshot(&put->snapshot, snapshot);
    if (put->snapshot.data.err) {
        env_fatal(rio->loop, "the manifest does not fit into a snapshot (%u bytes at most); this node stops", SNAPSHOT_MAX);
    }
    put->replaces_log = put->snapshot.replaces_log = trailing == 0;
    put->compact_to = snapshot->index > trailing ? snapshot->index - trailing : 0;
    if (put->replaces_log) {
        CHECK(put->install && put->install->index == snapshot->index);
        rio->next_index = snapshot->index + 1;
        put_begin(put);
    } else {
        store_checkpoint(rio->store, snapshot->index, put_checkpointed, put);
    }
    return 0;
}

struct raft_snapshot *rio_snapshot_for_raft(const struct snapshot *s)
{
    struct raft_snapshot *to = raft_malloc(sizeof *to);
    struct raft_buffer *data = raft_malloc(sizeof *data);
    CHECK(to && data);
    *to = (struct raft_snapshot){.index = s->index, .term = s->term, .configuration_index = s->configuration_index};
    raft_configuration_init(&to->configuration);
    for (size_t i = 0; i < s->n_servers; i++) {
        int rv = raft_configuration_add(&to->configuration, s->servers[i].id, s->servers[i].address, s->servers[i].role);
        CHECK(rv == 0);
    }
    data->len = s->data.len;
    data->base = raft_malloc(data->len ? data->len : 1);
    CHECK(data->base);
    memcpy(data->base, s->data.data, data->len);
    to->bufs = data;
    to->n_bufs = 1;
    return to;
}

struct get {
    struct env_msg msg;
    struct rio *rio;
    struct raft_io_snapshot_get *req;
};

static void get_answer(struct env_msg *msg)
{
    struct get *get = CONTAINER_OF(msg, struct get, msg);
    bool there = get->rio->has_snapshot && !get->rio->closing;
    get->req->cb(get->req, there ? rio_snapshot_for_raft(&get->rio->snapshot) : NULL, there ? 0 : RAFT_CANCELED);
    mem_free(get);
}

int rio_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb)
{
    struct get *get = mem_new(sizeof *get);
    req->cb = cb;
    *get = (struct get){.msg.run = get_answer, .rio = rio_of(io), .req = req};
    env_post(rio_of(io)->loop, &get->msg);
    return 0;
}
