/* test_sim_ledger: what the simulated cluster's ledger reads from a disk is what the node's own recovery finds there, and what counts of it. */
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"
#include "raft/wal.h"
#include "raft/wal_format.h"
#include "tests/sim/cluster_ledger.h"
#include "tests/sim/env_sim.h"

#include <string.h>

enum { TERM = 7, TYPE = 2 /* its data is nobody's concern here */, RECORDS_MAX = 3, LONGEST = 5 * ENV_BLOCK };

/* One node's log: records of zeros, in one write. */
struct written {
    size_t n, len[RECORDS_MAX];
    size_t found; /* by the node, when it starts again */
};

static const uint8_t zeros[LONGEST];

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct written *w = arg;
    struct wal_record records[RECORDS_MAX];
    struct wal *wal = NULL;
    struct wal_found found;
    struct errmsg em = {""};
    UNIT_INT(env_make_dir(env, "/", "data", &em), 0);
    UNIT_INT(env_make_dir(env, "/data", "raft", &em), 0);
    UNIT_INT(wal_open(env, "/data/raft", &wal, &found, &em), 0);
    w->found = found.n;
    for (size_t i = 0; i < w->n; i++) {
        records[i] = (struct wal_record){.index = i + 1, .term = TERM, .type = TYPE, .data = zeros, .len = w->len[i]};
    }
    if (wal && !found.n) {
        UNIT_INT(wal_append(wal, records, w->n, &em), 0);
    }
    wal_found_free(&found);
    wal_close(wal);
    sim_stop(sim_process_host(process));
}

static void stop(struct sim_process *process, void *arg)
{
    (void)arg;
    sim_exit(process);
}

static const struct sim_program program = {.start = start, .stop = stop};

/* The simulated disk keeps no page of zeros: where the last record ends in one, the log seems to end before it. */
static void a_record_may_end_in_zeros(void)
{
    struct written logs[] = {
        {.n = 1, .len = {8}},
        {.n = 1, .len = {ENV_BLOCK - WAL_RECORD_HEAD}},
        {.n = 1, .len = {ENV_BLOCK - WAL_RECORD_HEAD + 8}},
        {.n = 1, .len = {LONGEST}},
        {.n = 3, .len = {100, 200, ENV_BLOCK}},
        {.n = 2, .len = {ENV_BLOCK - 2 * WAL_RECORD_HEAD + 4, 0}}, /* the page ends in the last one's head */
        {.n = 2, .len = {ENV_BLOCK - 2 * WAL_RECORD_HEAD + 4, LONGEST}},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        struct sim *sim = sim_new(unit_seed());
        struct sim_host *host = sim_host_new(sim, "node");
        struct ledger *ledger = ledger_new(sim, &host, 1, NULL);
        for (unsigned starts = 0; starts < 2; starts++) {
            sim_start(host, &program, &logs[i]);
            sim_run(sim, 100 * ENV_S);
        }
        UNIT_UINT(logs[i].found, logs[i].n);
        ledger_started(ledger, 0);
        for (size_t k = 1; k <= logs[i].n; k++) {
            UNIT_UINT(ledger_term(ledger, 0, k), TERM);
            UNIT_TRUE(ledger_has_entry(ledger, k, TERM));
        }
        UNIT_UINT(ledger_term(ledger, 0, logs[i].n + 1), 0);
        ledger_free(ledger);
        sim_free(sim);
    }
}

/* A leader that was told by a member what it has counts that, though the member's disk is given up in this moment. */
static void what_a_disk_had_that_was_given_up_counts(void)
{
    enum { NODES = 3 };
    static const char *const names[NODES] = {"node1", "node2", "node3"};
    struct written first = {.n = 2, .len = {8, 8}}, second = {.n = 3, .len = {8, 8, 8}};
    struct sim *sim = sim_new(unit_seed());
    struct sim_host *hosts[NODES];
    for (size_t i = 0; i < NODES; i++) {
        hosts[i] = sim_host_new(sim, names[i]);
    }
    struct ledger *ledger = ledger_new(sim, hosts, NODES, NULL);
    sim_start(hosts[0], &program, &first);
    sim_run(sim, 100 * ENV_S);
    ledger_started(ledger, 0);
    ledger_wiped(ledger, 0);
    UNIT_UINT(ledger_term(ledger, 0, 1), 0);
    UNIT_TRUE(!ledger_has_entry(ledger, 2, TERM));
    sim_start(hosts[1], &program, &second);
    sim_run(sim, 100 * ENV_S);
    ledger_started(ledger, 1);
    UNIT_TRUE(ledger_has_entry(ledger, 2, TERM));
    UNIT_TRUE(!ledger_has_entry(ledger, 2, TERM + 1));
    UNIT_TRUE(!ledger_has_entry(ledger, 3, TERM));
    ledger_free(ledger);
    sim_free(sim);
}

UNIT_MAIN("sim_ledger", UNIT_TEST(a_record_may_end_in_zeros), UNIT_TEST(what_a_disk_had_that_was_given_up_counts))
