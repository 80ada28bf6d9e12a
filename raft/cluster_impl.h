/* cluster_impl.h: what cluster.c (proposals, state machine) and cluster_net.c (the other members) share. */
#ifndef HOLDFAST_RAFT_CLUSTER_IMPL_H
#define HOLDFAST_RAFT_CLUSTER_IMPL_H

#include "raft/cluster.h"
#include "raft/fetch.h"
#include "raft/formation.h"
#include "raft/io.h"
#include "raft/join.h"
#include "raft/net.h"

enum { HEARTBEAT_MS = 20, ELECTION_MS = 1000, CATCH_UP_MS = 20000 /* for one round of a standby that becomes a voter */, KEEP_MARKS = 64 };

struct proposal {
    struct proposal *next;
    struct buf entry;
    uint64_t seq; /* once proposed */
    bool noop;    /* the first one of a term */
    void (*done)(void *arg, int status);
    void *arg;
};

struct member_report {
    uint64_t id; /* 0: none */
    uint64_t incarnation;
    uint64_t at;
    char version[64];
    uint32_t level;
    uint64_t term, applied, stored, leader_id;
    char note[256];
    struct cluster_need need;
    enum cluster_reach reach;
    uint64_t round;    /* the last one that it has opened: it is answered with the next report */
    uint64_t answered; /* the last one of ours that it had heard of when it wrote this */
};

struct question { /* that the leader was asked */
    struct question *next;
    uint64_t ticket;
    uint64_t leader; /* who was asked; 0: nobody yet */
    uint64_t until;
    struct buf frame; /* while nobody was asked */
    void (*done)(void *arg, int status, struct cur *answer);
    void *arg;
};

struct poll { /* somebody who wants the others' reports as they are now */
    struct poll *next;
    uint64_t until;
    void (*done)(void *arg);
    void *arg;
};

struct member_claim { /* an empty data directory that asked to be the one that is waited for */
    uint64_t id, random;
    uint64_t counter; /* of the plan: an older one is about another directory */
    uint64_t at;
};

struct cluster {
    struct env *loop;
    uint64_t id;
    uint32_t level; /* feature level of this program */
    const char *version;
    const struct cluster_handler *handler;
    void *owner;
    struct raft raft;
    struct raft_fsm fsm;
    struct rio *rio;
    struct net *net;
    struct formation formation;
    bool started; /* raft_start was called */
    struct store *store;
    struct state *state;
    struct raft_apply apply[2]; /* libraft's request for the entry in flight: the first one */
    struct proposal *in_flight;
    struct proposal *first, **tail;
    struct env_msg pump_msg;
    bool pump_posted;
    uint64_t seq;
    uint64_t noop_term; /* term in which we proposed our NOOP */
    bool leading;
    bool closing;
    uint64_t led_by;
    uint64_t leaderless_since;
    uint64_t snapshot_bytes, keep_bytes;
    uint64_t bytes_since, entries_since; /* the last snapshot */
    bool manifest_old;                   /* it names bytes that have been cut, or purged, since */
    uint64_t renewed_at;
    struct { /* how much log there is behind an index, at each snapshot; a ring */
        uint64_t index, bytes;
    } marks[KEEP_MARKS];
    size_t n_marks;
    uint64_t bytes_total;
    struct cluster_log_bytes log_bytes;
    struct cluster_times times; /* of the entry in flight, or the last one that was */
    struct raft_transfer transfer;
    /* cluster_net.c's */
    struct member_report reports[CLUSTER_MEMBERS_MAX];
    struct env_timer wake; /* the leader's process has ended, or is silent: an election without waiting for libraft's timeout */
    uint64_t gone_leader, gone_at;
    unsigned wake_tries;
    uint64_t looked_at, looks_since; /* without a break */
    struct question *questions;
    uint64_t ticket;
    struct env_timer patience; /* of questions */
    /* cluster_poll.c's */
    struct poll *polls;
    uint64_t round; /* the newest; 0: none yet */
    struct env_timer polling;
    /* cluster_members.c's */
    struct raft_change change;
    uint64_t seen_index, seen_uncommitted; /* libraft's configuration, as the network was told */
    bool members_changed;                  /* the plans were, or something asks for a new look */
    struct env_timer members;              /* while there is something to do */
    bool members_on;
    bool settling;                         /* a DONE or LEVEL of ours is on its way */
    uint64_t look_index, level_index;      /* the log's end at the last look, and at the one before */
    struct member_claim claims[CLUSTER_MEMBERS_MAX];
    struct env_timer remember; /* every few seconds: what the others have (raft/memory.h) */
    /* cluster_join.c's */
    struct join *join;
    struct tls_ctx *join_tls;
    char ask[CLUSTER_MEMBERS_MAX][MESSAGE_ADDRESS_SIZE]; /* whom to ask */
    size_t n_ask;
    struct env_msg invited_msg;
    bool invited_posted;
    /* cluster_fetch.c's */
    struct fetch *fetch;
    bool install_waits; /* for storage, which has applied so much: */
    uint64_t install_after;
    struct env_msg restored_msg;
    bool restored_posted;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* cluster.c */
int cluster_start_raft(struct cluster *c, struct errmsg *em); /* the formation is over: the first entry is there, or is written now */

/* Proposes an entry of the cluster's own. */
void cluster_pump_later(struct cluster *c);

/* cluster_members.c */
int cluster_members_open(struct cluster *c);
void cluster_members_close(struct cluster *c);
void cluster_members_turn(struct cluster *c);   /* libraft's configuration, or the plans, may be others: tells the network */
bool cluster_members_changing(const struct cluster *c); /* while we lead: a change is on its way, nothing else may be begun */
bool cluster_members_begin(struct cluster *c);  /* the next change, if there is one; true: it is on its way */
void cluster_members_wake(struct cluster *c);   /* there may be something to do */
bool cluster_members_admit(void *owner, const struct message_hello *h, struct message_refusal *why);
void cluster_members_claimed(void *owner, const struct message_hello *h);
void cluster_members_join(void *owner, struct cur *body, struct buf *answer);
void cluster_members_wait(const struct cluster *c, uint64_t id, char *text, size_t size); /* what a plan waits for */
void cluster_members_remember(struct cluster *c);       /* what the others have, for the next start */
uint64_t cluster_members_incarnation(const struct cluster *c, uint64_t id); /* as libraft's configuration has it; 0: none */

/* cluster_poll.c */
int cluster_poll_open(struct cluster *c);
void cluster_poll_close(struct cluster *c); /* answers all */
void cluster_poll_heard(struct cluster *c); /* a report has come */

/* cluster_join.c */
void cluster_join_begin(struct cluster *c); /* asks to be taken in */
void cluster_join_invited(void *owner, const char *address);
void cluster_join_end(struct cluster *c);
/* cluster_fetch.c */
int cluster_fetch_resume(struct cluster *c, const char *data_dir, struct errmsg *em); /* before storage is opened */
int cluster_fetch_open(struct cluster *c, const char *data_dir, struct errmsg *em);
void cluster_fetch_heard(struct cluster *c, uint64_t from, enum message_kind kind, struct cur *body);
void cluster_fetch_restored(struct cluster *c); /* the state machine was, from within libraft */
void cluster_fetch_note(const struct cluster *c, char *text, size_t size); /* how far it is; an empty text is filled */

/* cluster_net.c */
uint64_t cluster_net_reported_leader(const struct cluster *c); /* for one that libraft tells nothing: who says that it leads; 0 */
const char *cluster_net_note(const struct cluster *c, uint64_t id); /* its own trouble, as reported; "" */
uint64_t cluster_net_stored(const struct cluster *c, uint64_t id); /* as it was reported last; 0 */
uint32_t cluster_net_level(const struct cluster *c, uint64_t id, uint64_t incarnation); /* feature level, as reported; 0: not yet */
uint64_t cluster_net_applied(const struct cluster *c, uint64_t id, uint64_t incarnation, uint64_t *term); /* as it was reported last; 0 */
int cluster_net_open(struct cluster *c, const struct cluster_options *o, struct errmsg *em);
void cluster_net_close(struct cluster *c, void (*closed)(void *arg), void *arg); /* closed: never inside the call */
void cluster_net_led_by(struct cluster *c, uint64_t id); /* another leader, or none */
void cluster_net_look(struct cluster *c); /* often, while this node does not lead: is the leader silent? */
int cluster_net_send(struct cluster *c, const struct raft_message *m);
uint64_t cluster_net_keep(const struct cluster *c); /* every member has applied up to here: nobody needs the log before it */

#endif
