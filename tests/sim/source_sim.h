/* source_sim.h: a simulated MySQL or MariaDB source: clients that commit, a binlog (tests/sim/history.h),
 * semi-sync that waits for ever, and dumps to whoever logs in.
 *
 * It keeps account of what was promised: a commit returns to its client when an ACK (or the position of a
 * dump request) covers it, and from then on must never be lost. Each ACK is checked: it names the end of a
 * transaction that asked for one on that connection, and nothing else; each dump request with semi-sync is
 * checked: it begins between transactions, behind everything that was ever acknowledged or seen by a replica.
 * A breach is a sim_fail.
 *
 * Owner: the test; it outlives the process that runs it (source_sim_start, sim_stop, sim_crash of its host;
 * then start again). */
#ifndef HOLDFAST_SIM_SOURCE_SIM_H
#define HOLDFAST_SIM_SOURCE_SIM_H

#include "tests/sim/env_sim.h"
#include "tests/sim/history.h"

struct source_sim;

#define SOURCE_SIM_USER "repl"
#define SOURCE_SIM_PASSWORD "secret of the source"

enum { SOURCE_SIM_PORT = 3306 };

struct source_sim_options {
    enum flavour flavour;
    uint32_t server_id;
    unsigned clients;  /* that commit at the same time */
    uint64_t think_ns; /* at most, between two commits of one client */
    unsigned rotate;   /* percent of the commit groups that a rotation follows */
    unsigned large;    /* per mille of the transactions that are large (up to 3 MB) */
    size_t huge;       /* one transaction in 500 has a row of this size; 0: none */
    bool encrypted;    /* encrypt_binlog, binlog_encryption; the history holds what it sends */
    bool no_semi_sync; /* commits return at once */
    bool heads_tell;   /* in which file a dump by GTID begins, as with MySQL: what one lacks may be passed by */
};

struct source_sim_options source_sim_defaults(enum flavour flavour);

struct source_sim *source_sim_new(struct sim_host *host, const struct source_sim_options *options);
void source_sim_free(struct source_sim *source); /* after sim_free */
void source_sim_start(struct source_sim *source);

/* Clients commit until so many transactions have been written in all; then they rest. */
void source_sim_load(struct source_sim *source, size_t transactions);

/* One transaction right now (no client waits for it); false when the source is not running. */
bool source_sim_commit(struct source_sim *source, enum history_kind kind, size_t bytes);
bool source_sim_rotate(struct source_sim *source);

/* Called at each dump request with semi-sync: how many transactions must have been kept (they were seen by a
 * replica). */
void source_sim_floor(struct source_sim *source, size_t (*floor)(void *arg), void *arg);

/* Called before each acknowledgement counts: the first `txns` transactions are acknowledged by it. */
void source_sim_witness(struct source_sim *source, void (*witness)(void *arg, size_t txns, const char *how), void *arg);

struct history *source_sim_history(struct source_sim *source);
size_t source_sim_acked(
    const struct source_sim *source); /* the first so many transactions are acknowledged */
size_t source_sim_sent(
    void *source); /* the first so many transactions have been handed to some dump, whole */
bool source_sim_idle(const struct source_sim *source);      /* the load is written and no client waits */
uint64_t source_sim_acks(const struct source_sim *source);  /* packets */
uint64_t source_sim_dumps(const struct source_sim *source); /* dump requests */

#endif
