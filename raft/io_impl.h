/* io_impl.h: what io.c (messages, time, open and close), io_write.c (appends and truncations) and io_snapshot.c share. */
#ifndef HOLDFAST_RAFT_IO_IMPL_H
#define HOLDFAST_RAFT_IO_IMPL_H

#include "raft/guard.h"
#include "raft/io.h"
#include "raft/memory.h"
#include "raft/snapshot.h"
#include "raft/vote.h"
#include "raft/wal.h"

enum item_kind { ITEM_APPEND, ITEM_TRUNCATE };

struct item {
    struct item *next;
    enum item_kind kind;
    struct raft_io_append *req;
    const struct raft_entry *entries;
    unsigned n;
    uint64_t index; /* of the first entry, or where to truncate */
};

struct batch { /* what the wal env works on; one */
    struct env_msg msg;
    struct rio *rio;
    struct item *items;
    bool busy;
};

struct put { /* the snapshot being stored; one */
    struct env_msg msg;
    struct rio *rio;
    struct raft_io_snapshot_put *req;
    struct snapshot snapshot;
    uint64_t compact_to;
    bool replaces_log;
    const struct install *install; /* with it: the owner's */
    bool busy;
    int status;
};

struct spare { /* a file for the log to come; one */
    struct env_msg msg;
    struct rio *rio;
    struct wal_spare file;
};

struct rio_term { /* from this entry on */
    uint64_t first, term;
};

struct rio_change { /* of members: an entry's bytes */
    uint64_t index;
    void *data;
    size_t n;
};

struct rio_matched { /* what is known of a member's log */
    uint64_t id;    /* 0: free */
    uint64_t index; /* up to here it is ours, in the term we lead in */
    uint64_t held;  /* up to here it has what is committed, since whenever */
    char address[GUARD_ADDRESS];
};

struct rio {
    struct raft_io io;
    struct env *loop;
    struct env *wal_env;
    struct env *spare_env; /* zeroes files for segments to come, so that the wal env does not have to */
    char *dir;
    const struct rio_handler *handler;
    void *owner;
    struct store *store;
    struct vote *vote;
    struct wal *wal;
    struct memory *memory;
    struct wal_found found; /* until load */
    struct snapshot snapshot;
    bool has_snapshot;
    uint64_t next_index;
    struct item *first, **tail; /* queued */
    struct batch batch;
    struct put put;
    struct spare spare; /* the wal env's */
    struct env_timer ticker;
    uint64_t tick_ns;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    raft_io_close_cb closed;
    struct env_msg closed_msg, wal_close_msg;
    bool closing, finished;
    struct guard guard;
    uint64_t hastened_ms;  /* libraft's clock is ahead by so much; it only grows */
    uint64_t heard;
    uint64_t stored_at; /* when the last write was done */
    bool leader_gone, leaving;
    bool timeout_now_waits;
    struct raft_timeout_now timeout_now;
    uint64_t timeout_now_from;
    uint64_t sends; /* not finished */
    struct rio_term *terms; /* of the log, each with its first entry; io_change.c's */
    struct rio_change *changes;
    uint64_t first_index; /* of the log */
    size_t n_terms, n_changes;
    uint64_t matched_term;
    struct rio_matched matched[GUARD_PEERS];
};

static inline struct rio *rio_of(const struct raft_io *io)
{
    return io->impl;
}

/* io.c */
void rio_finish_close(struct rio *rio); /* closing: done, unless something is still under way */
void rio_written(struct rio *rio);      /* a batch is on disk and its completions were called; the next one is begun here */

/* io_write.c */
int rio_append(struct raft_io *io, struct raft_io_append *req, const struct raft_entry entries[], unsigned n,
               raft_io_append_cb cb);
int rio_truncate(struct raft_io *io, raft_index index);
void rio_start_batch(struct rio *rio);   /* if none is being written and something is queued */
bool rio_writing(const struct rio *rio); /* entries are being written, or wait for it */
void rio_cancel_queued(struct rio *rio); /* newest first: the other order would make libraft truncate twice */

/* io_change.c: what is remembered of the log */
void rio_log_append(struct rio *rio, uint64_t index, uint64_t term, unsigned short type, const void *data, size_t n);
void rio_log_truncate(struct rio *rio, uint64_t index);
void rio_log_covered(struct rio *rio, uint64_t index); /* by a snapshot */
void rio_log_free(struct rio *rio);
bool rio_leads_alone(const struct rio *rio); /* the only voter of the log as it is */
void rio_change_installed(struct rio *rio, bool installed); /* a snapshot is stored, in place of the log or not */
void rio_change_before(struct rio *rio, const struct raft_append_entries *a); /* before libraft gets it */

/* io_snapshot.c */
int rio_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                     const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
int rio_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req, raft_io_snapshot_get_cb cb);
struct raft_snapshot *rio_snapshot_for_raft(const struct snapshot *s); /* in libraft's form: all of it from raft_malloc */

#endif
