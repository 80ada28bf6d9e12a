/* io.h: libraft's `struct raft_io`, ours: write-ahead log, term and vote, snapshots, ticks (and, with several nodes, the peers' network).
 *
 * Owner: raft/cluster.c; loop env. The log is written on an env of its own ("wal"): what is appended during a write goes into the next
 * one, one write in flight. An I/O error is never reported to libraft: the process ends with the file and the reason. */
#ifndef HOLDFAST_RAFT_IO_H
#define HOLDFAST_RAFT_IO_H

#include "protocol/base/env.h"
#include "raft/snapshot.h"
#include "raft/wal.h"
#include "storage/store.h"

#include <raft.h>

struct rio;

struct rio_handler {
    void (*turned)(void *owner); /* libraft has been called (tick, message, completion): roles and commits may have changed */
    /* A message for a member; n_entries of an append may be sent. How many entries it took, at most n_entries; -1: not sent. It is
     * copied; NULL: there are no others. */
    int (*send)(void *owner, const struct raft_message *m);
};

/* Blocks (start). Reads what is on disk; `dir` exists. */
int rio_open(struct env *loop, const char *dir, const struct rio_handler *handler, void *owner, struct rio **rio,
             struct errmsg *em);

struct raft_io *rio_raft_io(struct rio *rio);
bool rio_is_empty(const struct rio *rio);            /* nothing was ever stored: it may be bootstrapped */
uint64_t rio_last_index(const struct rio *rio);      /* of the log, or of the snapshot when that reaches further */
uint64_t rio_snapshot_index(const struct rio *rio);  /* of the snapshot on disk; 0: none */
uint64_t rio_first_index(const struct rio *rio);     /* of the log */
void rio_set_store(struct rio *rio, struct store *store); /* brought to its checkpoint before a snapshot counts; NULL: it is closing */
uint64_t rio_term(const struct rio *rio);            /* as stored */

/* Before libraft is started: the log as it was read, and entries put behind it, in a term of their own, at once. Their terms and indexes are
 * set here. */
const struct wal_found *rio_found(const struct rio *rio);
void rio_extend(struct rio *rio, struct wal_record *records, size_t n);

/* A member's message; its entries are taken. */
void rio_receive(struct rio *rio, struct raft_message *m);

/* The snapshot that is on disk; NULL: none. Valid until the loop goes on. */
const struct snapshot *rio_snapshot(const struct rio *rio);

/* ---- a leader's snapshot is installed (raft/fetch.h) ---- */

/* That leader is told nothing of our log while the files that it offers are being fetched; 0: nobody. */
void rio_fetching(struct rio *rio, uint64_t leader, uint64_t term);
/* Follower, and nothing is being written. */
bool rio_may_install(const struct rio *rio);
/* Gives the message to libraft, takes its content. True: the files (storage/install.h, marked; storage has written and synced all that was applied) are put in
 * place, then the state machine is restored; `install` stays until then. False: libraft has all of it in the log. */
bool rio_install(struct rio *rio, struct raft_message *m, const struct install *install);

/* The first entry of the term we lead in was proposed: until it is stored here no result counts (raft/guard.h). */
void rio_noop(struct rio *rio, uint64_t term, uint64_t index);

/* The leader's process has ended: the election may begin now, not after a timeout. False: not now, entries are being written; or
 * this node leads. */
bool rio_hasten(struct rio *rio);
/* From now on vote requests are heard although we had a leader, until we hear of one. */
void rio_leader_gone(struct rio *rio);
void rio_leave(struct rio *rio); /* the node is about to end: as a follower it does not take the lead any more */
uint64_t rio_heard(const struct rio *rio); /* when a leader was heard last, ns of the loop's clock; 0: never */

uint64_t rio_stored_at(const struct rio *rio); /* when the last write of the log was done; the same clock */

/* After raft_start: a change of members that is in the log and may not be committed is taken for what it is. */
void rio_change_started(struct rio *rio);

/* While we lead: up to here that member's log is ours; 0: it has said nothing yet. */
uint64_t rio_matched(const struct rio *rio, uint64_t id, const char *address);
/* What is committed, and that member has told us, or as our leader shown us, that it has it: up to here. */
uint64_t rio_held(const struct rio *rio, uint64_t id, const char *address);

/* What is remembered of the others (raft/memory.h); written on an env of raft_io's. NULL before it was asked for. */
int rio_remember(struct rio *rio, struct errmsg *em);
struct memory *rio_memory(const struct rio *rio);

/* After raft_close's callback, or when raft was never started: ends the wal env and frees everything. */
void rio_free(struct rio *rio);

#endif
