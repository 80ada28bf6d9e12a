/* cluster.h: what node/ sees of raft: propose an entry, learn its outcome, read the replicated state.
 *
 * Owner: the daemon; everything on the loop env. A proposal has succeeded when our own state machine applies it while we lead in the term
 * it was proposed in; libraft's own callbacks are not relied on. One entry is uncommitted at a time; further proposals wait in order. */
#ifndef HOLDFAST_RAFT_CLUSTER_H
#define HOLDFAST_RAFT_CLUSTER_H

#include "protocol/base/env.h"
#include "raft/peers.h"
#include "raft/state.h"
#include "storage/store.h"

struct cluster;

enum { CLUSTER_MEMBERS_MAX = 16 };

struct cluster_member {
    uint64_t id;
    char address[300]; /* host:port */
};

enum cluster_role { CLUSTER_VOTER, CLUSTER_STANDBY, CLUSTER_SPARE, CLUSTER_INVITED /* it has not come yet */ };

/* The oldest binlog file that a member's replicas need, and whose need it is. */
struct cluster_need {
    uint64_t era; /* 0: none */
    char name[FILE_NAME_SIZE];
    char who[128];
};
/* Can a member reach the source, as far as it has tried. */
enum cluster_reach { CLUSTER_REACH_UNKNOWN, CLUSTER_REACH_YES, CLUSTER_REACH_NO };

/* What this node knows of a member: from the configuration, its connection, and its last report. */
struct cluster_member_info {
    uint64_t id;
    char address[300];
    enum cluster_role role;
    bool self, leader;
    bool up;           /* reachable from here */
    char trouble[256]; /* why not */
    bool reported;     /* the rest is known */
    uint64_t age;      /* of the report, ns */
    char version[64];
    uint32_t level;
    uint64_t term, applied, stored, leader_id;
    char note[256];    /* its own trouble, in words; "" */
    struct cluster_need need;
    bool polled; /* its report is later than the beginning of the newest cluster_poll */
    enum cluster_reach reach;
    enum member_goal goal; /* what it is to become; 0: what it is */
    char wait[256];        /* on the leader: what the way there waits for; "" */
};

struct cluster_options {
    struct env *loop;
    const char *data_dir;
    uint64_t id;
    uint64_t incarnation; /* of the data directory, its random part; never 0 in production */
    const char *version;  /* of this program, told to the others */
    uint32_t level;       /* feature level of this program; 0: MESSAGE_LEVEL */
    struct env_addr listen; /* port 0: where `initial` has this node */
    struct peers_tls tls;
    struct cluster_member initial[CLUSTER_MEMBERS_MAX];
    size_t n_initial;
    const char *join[CLUSTER_MEMBERS_MAX]; /* host:port of members to ask, when the data directory is empty; instead of `initial` */
    size_t n_join;
    uint64_t snapshot_bytes; /* log bytes between two snapshots; 0: the default */
    bool forgets;            /* what the members had is not kept for the next start: tests that count draws */
    uint64_t keep_bytes;     /* of log for a member that is behind; 0: the default */
};

/* Callbacks on the loop env. They may propose; the proposal is begun after they returned. */
struct cluster_handler {
    /* true: we lead, and everything before is applied; false: we do not lead any more. */
    void (*leading)(void *owner, bool leading);
    /* An entry was applied (by any proposer), state and storage have it. */
    void (*applied)(void *owner, const struct state_effect *effect);
    /* May be NULL. The state is another one: that of a leader's snapshot. Storage has what belongs to it. */
    void (*restored)(void *owner);
    /* May be NULL. Another leader is known, or none (0). */
    void (*led_by)(void *owner, uint64_t id);
    /* May be NULL (the process ends then). This node cannot be part of the cluster, or could not become one: the text says why and what to do. */
    void (*refused)(void *owner, const char *text);
    /* May be NULL. A member asks this node, which leads, to do something; answer with cluster_answer, now or later. */
    void (*asked)(void *owner, uint64_t from, uint64_t ticket, struct cur *body);
    /* May be NULL. What this node tells the others of its troubles, at most `size` bytes. */
    void (*note)(void *owner, char *text, size_t size);
    /* May be NULL. What this node tells the others of its replicas' needs. */
    void (*need)(void *owner, struct cluster_need *need);
    /* May be NULL. */
    enum cluster_reach (*reach)(void *owner);
};

/* On failure the process is to end with the message, and what was opened (*cluster) with it. */
int cluster_open(const struct cluster_options *options, const struct cluster_handler *handler, void *owner,
                 struct cluster **cluster, struct errmsg *em);

/* Ends everything in order, frees the cluster, then closed(arg). Readers and subscribers of the store have left before. */
void cluster_close(struct cluster *cluster, void (*closed)(void *arg), void *arg);

bool cluster_leading(const struct cluster *cluster);
uint64_t cluster_leader(const struct cluster *cluster); /* id; 0: nobody known */
uint64_t cluster_term(const struct cluster *cluster);
uint64_t cluster_id(const struct cluster *cluster);
size_t cluster_members(const struct cluster *cluster, struct cluster_member *members, size_t max);
size_t cluster_infos(const struct cluster *cluster, struct cluster_member_info *infos, size_t max);
uint64_t cluster_leaderless_since(const struct cluster *cluster); /* wall clock, microseconds; 0: a leader is known */
size_t cluster_voters(const struct cluster *cluster);
const char *cluster_name(const struct cluster *cluster); /* its id as text; "" while it is being formed */
bool cluster_formed(const struct cluster *cluster);

/* Moves the leadership to another voter, or to the best one (to = 0). E_NOTLEADER, E_NOTFOUND (no such voter, or none that is up), E_BUSY. It has happened
 * when leading(false) is called; when it fails nothing changes. */
int cluster_transfer(struct cluster *cluster, uint64_t to);
void cluster_leave(struct cluster *cluster); /* this node is about to end: it does not take the lead any more. One that leads goes on, or hands over */
bool cluster_transferring(const struct cluster *cluster); /* it is under way; it ends after an election timeout */

/* On the leader: may this be planned (`wish`: verb PLAN, id, goal, fresh, address)? 0: *plan is what to propose (entry_put_member). Else why not, for the
 * operator. What is planned is done by whoever leads, step by step; cluster_infos tells how far it is. */
int cluster_plan_member(const struct cluster *cluster, const struct entry_member *wish, struct entry_member *plan, struct errmsg *em);
uint32_t cluster_level(const struct cluster *cluster); /* feature level that entries may have */

/* Asks the leader; while there is none, or it is not ready, waits some seconds for one. done(arg, status, answer): 0; E_AGAIN: this node leads by now;
 * E_NOTLEADER: nobody was asked; E_TOOBIG; E_RESET, E_TIMEOUT: it may or may not have done it. Never inside the call. */
void cluster_ask(struct cluster *cluster, struct buf *body, void (*done)(void *arg, int status, struct cur *answer), void *arg);
/* body NULL: this node does not lead, and has done nothing. */
void cluster_answer(struct cluster *cluster, uint64_t to, uint64_t ticket, const struct buf *body);

/* Asks all other members for a report as of now. done(arg): each one that is up has given it (cluster_infos: polled), or CLUSTER_POLL_S are over, or the
 * cluster is closing. Never inside the call. */
enum { CLUSTER_POLL_S = 2 };
void cluster_poll(struct cluster *cluster, void (*done)(void *arg), void *arg);

/* Of the entries applied since the start: as proposed, and as they lie in the log (setting log_compression). */
struct cluster_log_bytes {
    uint64_t raw, stored;
};
struct cluster_log_bytes cluster_log_bytes(const struct cluster *cluster);

/* Of the proposal whose success is being told (inside its done()): when it was begun, stored in the own log, and applied, which is when a quorum
 * had it. ns of the loop's clock. */
struct cluster_times {
    uint64_t begun, stored, applied;
};
struct cluster_times cluster_times(const struct cluster *cluster);

const struct state *cluster_state(const struct cluster *cluster);
struct store *cluster_store(const struct cluster *cluster);

/* Takes the entry (raft/entry.h; `entry` is empty afterwards). done(arg, status) follows, never inside the call:
 * 0 applied; E_CONTRADICTION applied without effect; E_NOTLEADER not proposed; E_CANCELED leadership was lost (or the node is closing)
 * and the outcome is unknown; E_TOOBIG the entry could not be built. On success it is called from within the state machine, before applied(). */
void cluster_propose(struct cluster *cluster, struct buf *entry, void (*done)(void *arg, int status), void *arg);

#endif
