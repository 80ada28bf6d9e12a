/* cluster.h: what node/ sees of raft: propose an entry, learn its outcome, read the replicated state.
 *
 * Owner: the daemon; everything on the loop env. A proposal has succeeded when our own state machine applies it while we lead in the term
 * it was proposed in; libraft's own callbacks are not relied on. One entry is uncommitted at a time; further proposals wait in order. */
#ifndef HOLDFAST_RAFT_CLUSTER_H
#define HOLDFAST_RAFT_CLUSTER_H

#include "protocol/base/env.h"
#include "raft/state.h"
#include "storage/store.h"

struct cluster;

enum { CLUSTER_MEMBERS_MAX = 16 };

struct cluster_member {
    uint64_t id;
    char address[300]; /* host:port */
};

struct cluster_options {
    struct env *loop;
    const char *data_dir;
    uint64_t id;
    struct cluster_member initial[CLUSTER_MEMBERS_MAX];
    size_t n_initial;
    uint64_t snapshot_bytes; /* log bytes between two snapshots; 0: the default */
};

/* Callbacks on the loop env. They may propose; the proposal is begun after they returned. */
struct cluster_handler {
    /* true: we lead, and everything before is applied; false: we do not lead any more. */
    void (*leading)(void *owner, bool leading);
    /* An entry was applied (by any proposer), state and storage have it. */
    void (*applied)(void *owner, const struct state_effect *effect);
};

int cluster_open(const struct cluster_options *options, const struct cluster_handler *handler, void *owner,
                 struct cluster **cluster, struct errmsg *em);

/* Ends everything in order, frees the cluster, then closed(arg). Readers and subscribers of the store have left before. */
void cluster_close(struct cluster *cluster, void (*closed)(void *arg), void *arg);

bool cluster_leading(const struct cluster *cluster);
uint64_t cluster_leader(const struct cluster *cluster); /* id; 0: nobody known */
uint64_t cluster_term(const struct cluster *cluster);
uint64_t cluster_id(const struct cluster *cluster);
size_t cluster_members(const struct cluster *cluster, struct cluster_member *members, size_t max);
const struct state *cluster_state(const struct cluster *cluster);
struct store *cluster_store(const struct cluster *cluster);

/* Takes the entry (raft/entry.h; `entry` is empty afterwards). done(arg, status) follows, never inside the call:
 * 0 applied; E_CONTRADICTION applied without effect; E_NOTLEADER not proposed; E_CANCELED leadership was lost (or the node is closing)
 * and the outcome is unknown; E_TOOBIG the entry could not be built. On success it is called from within the state machine, before applied(). */
void cluster_propose(struct cluster *cluster, struct buf *entry, void (*done)(void *arg, int status), void *arg);

#endif
