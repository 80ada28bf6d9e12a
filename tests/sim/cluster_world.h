/* cluster_world.h: a simulated cluster: production nodes on hosts of their own, a source, replicas that use any node, an operator.
 *
 * Owner: the test; one world at a time. */
#ifndef HOLDFAST_SIM_CLUSTER_WORLD_H
#define HOLDFAST_SIM_CLUSTER_WORLD_H

#include "raft/cluster_impl.h"
#include "tests/sim/admin_sim.h"
#include "tests/sim/cluster_ledger.h"
#include "tests/sim/replica_sim.h"
#include "tests/sim/source_sim.h"

#include "node/config.h"

enum { WORLD_NODES = 5, WORLD_REPLICAS = 3, WORLD_TERMS = 4096 };

struct world_options {
    unsigned nodes;       /* 0: by the seed */
    enum flavour flavour; /* FLAVOUR_NONE: by the seed */
    size_t transactions;  /* 0: by the seed */
    bool calm;            /* no misfortune */
    bool members;         /* nodes join, leave, are replaced */
    bool old;             /* ... and the machine of one that is replaced lives on beside its successor */
    bool memory;          /* what they know of each other outlives a restart of all (raft/memory.h) */
    bool verbose;
    unsigned fate; /* 0: any; else this kind of misfortune, and no other */
};

struct world_node {
    struct world *world;
    size_t number; /* from 0 */
    uint64_t id;   /* another one each time that it begins anew as another member */
    bool lost;     /* its disk is given up: it is to be replaced */
    bool old;      /* ... and has less than it acknowledged, or was replaced, and nobody is left to tell it: nobody starts it again */
    bool asked;    /* to be a member under this id: it may become one late */
    struct world_node *successor; /* the machine that its member has moved to, or is to; NULL: none */
    bool replaced;                /* ... that stands in the log: this is the old one, and is heard by nobody */
    bool away;                    /* ... cut off from the other nodes, for longer than any other misfortune takes */
    struct sim_host *host;
    struct config config;
    struct cluster *cluster; /* NULL: none runs, or it is being stopped */
    /* seen in any of its lives */
    uint64_t term, vote;
    uint64_t committed; /* in this life */
    uint64_t reached_since; /* the leader's log reaches back to what it knows to be here; 0: not */
    bool fetches;           /* files that it lacks */
    uint64_t needless;      /* the entry that it had then, if the leader's log reached back to it */
    uint64_t installed; /* the last snapshot of another member's that was taken over: its index */
    bool snapshot;      /* one is being stored */
    uint64_t change;    /* the last change of members in its log, and that change's bytes: looked at */
    const void *change_data;
    int state;          /* libraft's, when last looked at; -1: not yet */
    bool led;
    bool may_fail; /* a start that fails is no breach: its disk is bad */
    size_t *checked; /* bytes of each file that were compared already */
    size_t n_checked;
    struct gtid_set *counted; /* the GTIDs of the first so many transactions of the source; NULL: none were counted yet */
    size_t n_counted;
    uint64_t index; /* the last entry of its state that was looked at */
};

struct world {
    struct sim *sim;
    struct rng *rng;
    uint64_t seed;
    unsigned n_nodes, n_replicas, fate;
    bool members, memory, old;
    unsigned n_first;  /* so many form the cluster */
    uint64_t next_id;
    bool apart;            /* somebody is cut off, both ways */
    uint64_t connected_at; /* when that was over, or a connection was reset */
    bool told; /* the operator's statement was carried out */
    char order[128];
    const char *orders[2];
    struct admin_sim *steward; /* who changes the members */
    size_t watched;
    struct rng member_rng;
    unsigned orders_given, configurations /* committed */, wipes, moves_away, meetings, untold;
    uint64_t last_change;
    size_t deposed, moved_to; /* the leader that was cut off last; who is to lead */
    struct sim_host *db, *tool, *tool2, *node_hosts[WORLD_NODES], *apps[WORLD_REPLICAS];
    const char *targets[WORLD_NODES];
    char target_texts[WORLD_NODES][32];
    struct source_sim *source;
    struct history *history;
    struct world_node nodes[WORLD_NODES];
    struct replica_sim *replicas[WORLD_REPLICAS];
    struct admin_sim *admin, *janitor; /* janitor: purges; NULL for some seeds */
    struct sim_host *janitor_host;
    struct rng purge_rng;
    struct admin_sim *mover; /* who moves the lead */
    uint64_t demoted; /* a member that is to be a voter again; 0: none */
    unsigned changes;
    uint64_t moved_after; /* the highest term with a leader when he asked */
    unsigned moved, not_moved; /* answers */
    char move[64];
    const char *moves[2];
    struct ledger *ledger;
    uint64_t leaders[WORLD_TERMS]; /* id, by term */
    size_t leader_numbers[WORLD_TERMS]; /* ... and machine */
    uint64_t writes; /* to binlog files */
    unsigned elections, node_crashes, source_crashes, cuts, checks, switchovers, planned, faults, rots, refusals, installs;
};

void world_make(struct world *w, uint64_t seed, const struct world_options *options);
void world_free(struct world *w);

void world_node_start(struct world *w, size_t i);
void world_node_wipe(struct world *w, size_t i); /* an empty disk; nothing lives there */
struct world_node *world_leader(struct world *w); /* that knows it, of the highest term; NULL: none */
void world_run(struct world *w, uint64_t ns);     /* with cluster_check_step after each event */
bool world_until(struct world *w, bool (*done)(struct world *w), uint64_t ns);

/* cluster_check.c: each breach is a sim_fail */
void cluster_check_step(struct world *w);
bool cluster_check_raft(struct world *w, struct world_node *node); /* its part that knows no source; false: the node is not up */
void cluster_check_write(struct world *w, struct sim_host *host, const char *path, const void *data, size_t n, uint64_t at); /* of any node's disk */
void cluster_check_files(struct world *w);                              /* what the nodes have is a part of the truth, and agrees with their GTID state */
bool cluster_files_are_whole(struct world *w, size_t i, struct errmsg *em); /* ... and is all of it */
void cluster_check_ack(void *arg, size_t txns, const char *how);        /* the source's witness */

void world_node_anew(struct world *w, size_t i, uint64_t id); /* an empty disk, to join */
/* The member that lives on this machine, as that node's log has it; NULL: none. */
const struct raft_server *world_member(const struct world_node *node, const struct cluster *c);
bool world_is_member(struct world *w, size_t i, bool voter); /* as the leader knows it */

size_t world_oldest(void *world); /* of all nodes' oldest files the newest */

/* cluster_fate.c */
void cluster_settle_role(struct world *w); /* whom a misfortune demoted votes again */
void cluster_purge(struct world *w); /* now and then, with some seeds */
void cluster_misfortune(struct world *w);
void cluster_check_moved(void *world, const char *error); /* the answer to the one who moves the lead */
void cluster_heal(struct world *w); /* everything is up again, and stays */
void cluster_split(struct world *w, const bool *side); /* two groups that do not hear of each other */
void cluster_heal_network(struct world *w);            /* but who is away stays so */
size_t cluster_any_node(struct world *w); /* the leader more often than chance has it */
enum sim_crash cluster_any_crash(struct world *w);
void cluster_start_again(struct world *w, size_t i); /* if nothing lives there */

/* cluster_loss.c: a run of its own, in which sources die for good */
void cluster_loss_run(uint64_t seed, const struct world_options *options);
/* cluster_members.c: the operator changes who is a member */
void cluster_change_members(struct world *w);
void cluster_settle_members(struct world *w); /* what was begun is brought to its end */
void cluster_was_told(void *arg, const char *error); /* the operator's statement was answered */
void cluster_check_members(struct world *w);  /* after each event */
bool cluster_was_removed(struct world *w, size_t i); /* its id is retired */
bool cluster_may_be_given_up(struct world *w, size_t *i); /* the disk of some member */

/* cluster_old.c: the machine of a member that was replaced lives on */
void cluster_old_machine(struct world *w); /* one more, or something happens to one */
bool cluster_is_done_with(struct world *w, size_t i); /* it is no member any more, and knows it, or is told at once */
void cluster_has_moved(struct world *w, size_t i); /* that stands in the log */
bool cluster_remembers(const struct world *w, size_t i); /* it was told, and has said so at a start: no other start is of use */
void cluster_settle_old(struct world *w); /* it was told, and has ended */

/* cluster_disk.c: misfortunes of one node's disk, and how they are mended */
void cluster_bad_disk(struct world *w); /* full, read-only, failing */
void cluster_rot(struct world *w);      /* a bit changes while nobody looks */

#endif
