/* replica_sim.h: a simulated replica: logs in, asks what a real one of its flavour asks, dumps, and compares
 * every event with the truth (tests/sim/history.h): the same bytes at the same place, every transaction once
 * and in order, none cut, none that the source does not have. A breach is a sim_fail. Whatever ends a
 * connection, it comes back and goes on where it is.
 *
 * Owner: the test; it outlives the process that runs it. */
#ifndef HOLDFAST_SIM_REPLICA_SIM_H
#define HOLDFAST_SIM_REPLICA_SIM_H

#include "tests/sim/env_sim.h"
#include "tests/sim/history.h"

struct replica_sim;

struct replica_sim_options {
    enum flavour flavour;
    uint32_t server_id;
    const char *target; /* "node1:3307" */
    const char *const *targets; /* NULL: only that one; else some of these, one after the other */
    size_t n_targets;
    const char *user, *password;
    bool by_position; /* COM_BINLOG_DUMP where it stands, else GTIDs */
    bool semi_sync;   /* asks for semi-sync and acknowledges */
    unsigned slow;    /* percent of the reads after which it does not read for a while */
    size_t (*ceiling)(
        void *arg); /* transactions beyond these nobody can have committed yet; NULL: not known */
    void *ceiling_arg;
    size_t (*oldest)(void *arg); /* the oldest file that was not purged. A replica that is refused since it lacks what was is set up
                                    again with all before it; it must have forgotten something. NULL: nothing is purged */
    void *oldest_arg;
    uint64_t grace; /* seconds that it may be away */
    bool forced; /* purges spare no replica: one may be refused that has forgotten nothing */
    /* Set: it follows over the loss of sources, by GTID. expects() tells the GTID of its n-th transaction as things stand; false: nobody may send it
     * one. Places and bytes are not compared then, GTIDs are: each once, in that order. */
    bool (*expects)(void *arg, size_t n, struct gtid *gtid);
    void *expects_arg;
    bool tolerate_1236; /* else that error is a breach: it would be the end of a real replica */
};

struct replica_sim *replica_sim_new(struct sim_host *host, struct history *truth,
                                    const struct replica_sim_options *options);
void replica_sim_free(struct replica_sim *replica); /* after sim_free */
void replica_sim_start(struct replica_sim *replica);

/* It has the first `n` of what it expects. While it is down. */
void replica_sim_has(struct replica_sim *replica, size_t n);
unsigned replica_sim_refusals(const struct replica_sim *replica); /* error 1236, where that is tolerated */

size_t replica_sim_received(const struct replica_sim *replica); /* it has the first so many transactions */
size_t replica_sim_seen(void *replica); /* the most it ever had (for source_sim_floor) */
uint64_t replica_sim_connects(const struct replica_sim *replica);
unsigned replica_sim_set_ups(const struct replica_sim *replica); /* how often it was set up again */
uint64_t replica_sim_dumps(const struct replica_sim *replica);

/* The replica loses what it received last, as one that did not sync its relay log: `n` transactions. While it
 * is down. */
void replica_sim_forget(struct replica_sim *replica, size_t n);

#endif
