/* test_traps_source: traps on the link to the source, with the production node in the simulator: one test each, named after what goes wrong
 * when it is missed. The simulated source checks every dump request and every ACK itself (tests/sim/source_sim.h); what it finds fails the
 * test. */
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"
#include "tests/sim/admin_sim.h"
#include "tests/sim/node_sim.h"
#include "tests/sim/source_sim.h"

#include <stdio.h>
#include <string.h>

struct rig {
    struct sim *sim;
    struct sim_host *db, *node_host, *tool;
    struct source_sim *source;
    struct node_sim *node;
    struct admin_sim *admin;
};

static void failure(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
}

static bool all_acknowledged(void *arg)
{
    struct rig *rig = arg;
    return source_sim_idle(rig->source) && source_sim_acked(rig->source) == source_sim_history(rig->source)->n_txns;
}

/* A source and a node that follows it, until everything is acknowledged. */
static struct rig follow_as(const struct source_sim_options *options, size_t transactions, unsigned crashes)
{
    static const char *const statements[] = {
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3306, SOURCE_USER='" SOURCE_SIM_USER
        "', SOURCE_PASSWORD='" SOURCE_SIM_PASSWORD "', SOURCE_SSL_MODE='disabled', SOURCE_START='oldest'",
        "START REPLICA", NULL};
    struct rig rig = {.sim = sim_new(unit_seed())};
    sim_on_failure(rig.sim, failure, NULL);
    rig.db = sim_host_new(rig.sim, "db1");
    rig.node_host = sim_host_new(rig.sim, "node1");
    rig.tool = sim_host_new(rig.sim, "tool1");
    sim_host_beside(rig.tool, rig.node_host);
    rig.source = source_sim_new(rig.db, options);
    rig.node = node_sim_new(rig.node_host, 1, 0);
    rig.admin = admin_sim_new(rig.tool, NODE_SIM_SOCKET, statements);
    source_sim_start(rig.source);
    node_sim_start(rig.node);
    admin_sim_start(rig.admin);
    UNIT_TRUE(sim_run_until(rig.sim, admin_sim_done, rig.admin, 60 * ENV_S));
    source_sim_load(rig.source, transactions);
    for (unsigned i = 0; i < crashes; i++) {
        sim_run(rig.sim, 300 * ENV_MS);
        sim_crash(rig.node_host, SIM_POWER);
        sim_run(rig.sim, 2 * ENV_S); /* its ghost ends */
        node_sim_start(rig.node);
    }
    source_sim_load(rig.source, transactions + 50); /* the ones before may all have been there at the first crash */
    UNIT_TRUE(sim_run_until(rig.sim, all_acknowledged, &rig, 600 * ENV_S));
    return rig;
}

static struct rig follow(enum flavour flavour, unsigned clients, size_t transactions, unsigned crashes)
{
    struct source_sim_options options = source_sim_defaults(flavour);
    options.clients = clients;
    options.think_ns = ENV_MS / 10;
    options.rotate = 2;
    return follow_as(&options, transactions, crashes);
}

static void done(struct rig *rig)
{
    struct errmsg em = {""};
    sim_run(rig->sim, 2 * ENV_S);
    if (!UNIT_TRUE(node_sim_same_files(rig->node, source_sim_history(rig->source), true, &em))) {
        printf("# %s\n", em.text);
    }
    UNIT_TRUE(!sim_failed(rig->sim));
    sim_free(rig->sim);
    source_sim_free(rig->source);
    node_sim_free(rig->node);
    admin_sim_free(rig->admin);
}

/* An ACK names an end that the source asked about on this connection, never one beyond: that would switch its semi-sync off silently. Also
 * over reconnects, where the position of the dump request acknowledges too. */
static void trap_03_no_ack_beyond_what_was_asked(void)
{
    struct rig rig = follow(FLAVOUR_MYSQL, 6, 600, 4);
    UNIT_TRUE(source_sim_acks(rig.source) > 0);
    UNIT_TRUE(source_sim_dumps(rig.source) >= 5);
    done(&rig);
}

/* Only the last transaction of a MySQL commit group asks; the ones before it are covered by its ACK and must be kept like it. */
static void trap_04_the_last_of_a_group_asks_for_all(void)
{
    struct rig rig = follow(FLAVOUR_MYSQL, 16, 800, 0);
    UNIT_UINT(source_sim_acked(rig.source), source_sim_history(rig.source)->n_txns);
    UNIT_TRUE(source_sim_acks(rig.source) < source_sim_history(rig.source)->n_txns);
    done(&rig);
    rig = follow(FLAVOUR_MARIADB, 16, 300, 0); /* there each one asks */
    UNIT_UINT(source_sim_acked(rig.source), source_sim_history(rig.source)->n_txns);
    done(&rig);
}

/* Without capability 4 and flag 2 MariaDB rewrites events: GTIDs would be gone and ANNOTATE events missing from the files. */
static void trap_07_mariadb_rewrites_for_the_incapable(void)
{
    struct rig rig = follow(FLAVOUR_MARIADB, 3, 200, 1);
    done(&rig); /* files equal, with every event */
}

/* A source with encrypted files sends them decrypted, and START_ENCRYPTION as well: at the head of a file, where it is an event like any
 * other, and behind the format description of a start in the middle, where it is none of the file. */
static void trap_22_start_encryption_once_in_a_file(void)
{
    struct source_sim_options options = source_sim_defaults(FLAVOUR_MARIADB);
    options.clients = 3;
    options.think_ns = ENV_MS / 10;
    options.rotate = 2;
    options.encrypted = true;
    struct rig rig = follow_as(&options, 200, 3);
    UNIT_TRUE(source_sim_dumps(rig.source) >= 4);
    done(&rig);
}

/* Far behind an encrypted MySQL source: it adds 512 bytes to the size of each of its files, and the end that a node waits for, so that it may
 * take part in semi-sync, would not come before a small commit that waits for it. */
static void far_behind_an_encrypted_mysql(void)
{
    struct source_sim_options options = source_sim_defaults(FLAVOUR_MYSQL);
    options.clients = 1;
    options.encrypted = true;
    struct rig rig = follow_as(&options, 50, 0);
    size_t n = source_sim_history(rig.source)->n_txns;
    sim_crash(rig.node_host, SIM_POWER);
    sim_run(rig.sim, 120 * ENV_S); /* what it holds is old then */
    UNIT_TRUE(source_sim_commit(rig.source, HISTORY_ROWS, 20 << 20));
    sim_run(rig.sim, ENV_S);
    UNIT_UINT(source_sim_history(rig.source)->n_txns, n + 1);
    node_sim_start(rig.node);
    sim_run(rig.sim, 30 * ENV_S);
    UNIT_TRUE(source_sim_commit(rig.source, HISTORY_DDL, 0));
    UNIT_TRUE(sim_run_until(rig.sim, all_acknowledged, &rig, 60 * ENV_S));
    done(&rig);
}

/* ---- another source ---- */

/* The first `n` transactions of the old source, by its GTIDs, and one of its own after every `own` of them (0: none). */
static void replicate(struct history *to, const struct history *from, size_t n, size_t own)
{
    uint8_t uuid[16];
    uint32_t server_id = to->server_id;
    uint64_t mine = 1;
    memcpy(uuid, to->uuid, sizeof uuid);
    history_begin_file(to, 1790000000000000, true);
    for (size_t i = 0; i < n; i++) {
        memcpy(to->uuid, from->uuid, sizeof uuid);
        to->server_id = from->server_id;
        to->next_gno = from->txns[i].gtid.gno;
        (void)history_txn(to, HISTORY_ROWS, 200, 1790000000000000, true);
        memcpy(to->uuid, uuid, sizeof uuid);
        to->server_id = server_id;
        if (own && i % own == own - 1) {
            to->next_gno = mine++;
            (void)history_txn(to, HISTORY_ROWS, 200, 1790000000000000, true);
        }
        if (i % 60 == 59) {
            history_begin_file(to, 1790000000000000, false);
        }
    }
    to->next_gno = to->flavour == FLAVOUR_MYSQL ? mine : from->txns[n - 1].gtid.gno + 1;
}

struct promotion {
    struct rig rig;
    struct sim_host *db, *tool;
    struct source_sim *source;
    struct admin_sim *admin;
};

static bool all_acknowledged_there(void *arg)
{
    struct promotion *p = arg;
    return source_sim_idle(p->source) && source_sim_acked(p->source) == source_sim_history(p->source)->n_txns;
}

/* The source of a cluster is lost; another one, which has all but the last `lacks` of its transactions, is named. */
static struct promotion promote(enum flavour flavour, size_t lacks, size_t own)
{
    static const char *const statements[] = {"STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db2'", "START REPLICA", NULL};
    struct promotion p = {.rig = follow(flavour, 3, 200, 0)};
    struct source_sim_options options = source_sim_defaults(flavour);
    const struct history *old = source_sim_history(p.rig.source);
    options.server_id += 1;
    options.clients = 2;
    options.rotate = 5;
    sim_crash(p.rig.db, SIM_POWER);
    p.db = sim_host_new(p.rig.sim, "db2");
    p.tool = sim_host_new(p.rig.sim, "tool2");
    sim_host_beside(p.tool, p.rig.node_host);
    p.source = source_sim_new(p.db, &options);
    replicate(source_sim_history(p.source), old, old->n_txns - lacks, own);
    p.admin = admin_sim_new(p.tool, NODE_SIM_SOCKET, statements);
    source_sim_start(p.source);
    admin_sim_start(p.admin);
    UNIT_TRUE(sim_run_until(p.rig.sim, admin_sim_done, p.admin, 60 * ENV_S));
    return p;
}

static void promotion_done(struct promotion *p)
{
    struct errmsg em = {""};
    if (!UNIT_TRUE(node_sim_same_files(p->rig.node, source_sim_history(p->rig.source), true, &em))) {
        printf("# %s\n", em.text); /* of the first era nothing is lost */
    }
    UNIT_TRUE(!sim_failed(p->rig.sim));
    sim_free(p->rig.sim);
    source_sim_free(p->rig.source);
    source_sim_free(p->source);
    node_sim_free(p->rig.node);
    admin_sim_free(p->rig.admin);
    admin_sim_free(p->admin);
}

/* It lacks one transaction: it is not even asked for its binlog, and gets no ACK. */
static void trap_23_a_source_that_lacks_something_is_not_followed(void)
{
    for (enum flavour flavour = FLAVOUR_MYSQL; flavour <= FLAVOUR_MARIADB; flavour++) {
        struct promotion p = promote(flavour, 1, 0);
        source_sim_load(p.source, source_sim_history(p.source)->n_txns + 20);
        sim_run(p.rig.sim, 30 * ENV_S);
        UNIT_UINT(source_sim_dumps(p.source), 0);
        UNIT_UINT(source_sim_acks(p.source), 0);
        promotion_done(&p);
    }
}

/* It has all, and transactions of its own among them: its files are held from the first one on that has one of these, whole. */
static void trap_24_a_promoted_replica_is_followed_from_what_is_new(void)
{
    for (enum flavour flavour = FLAVOUR_MYSQL; flavour <= FLAVOUR_MARIADB; flavour++) {
        for (size_t own = 0; own <= 130; own += 130) {
            struct promotion p = promote(flavour, 0, flavour == FLAVOUR_MYSQL ? own : 0);
            const struct history *h = source_sim_history(p.source);
            struct errmsg em = {""};
            size_t from = h->n_files - 1;
            if (flavour == FLAVOUR_MYSQL && own) {
                from = 2; /* transactions 121 to 180 and the first of its own */
            }
            source_sim_load(p.source, h->n_txns + 60);
            UNIT_TRUE(sim_run_until(p.rig.sim, all_acknowledged_there, &p, 300 * ENV_S));
            UNIT_TRUE(source_sim_acks(p.source) > 0);
            sim_crash(p.rig.node_host, SIM_POWER);
            sim_run(p.rig.sim, 2 * ENV_S);
            node_sim_start(p.rig.node);
            source_sim_load(p.source, h->n_txns + 30);
            UNIT_TRUE(sim_run_until(p.rig.sim, all_acknowledged_there, &p, 300 * ENV_S));
            sim_run(p.rig.sim, 5 * ENV_S);
            if (!UNIT_TRUE(node_sim_same_era(p.rig.node, 2, h, from, true, &em))) {
                printf("# %s\n", em.text);
            }
            promotion_done(&p);
        }
    }
}

UNIT_MAIN("traps_source", UNIT_TEST(trap_03_no_ack_beyond_what_was_asked), UNIT_TEST(trap_04_the_last_of_a_group_asks_for_all),
          UNIT_TEST(trap_07_mariadb_rewrites_for_the_incapable), UNIT_TEST(trap_22_start_encryption_once_in_a_file),
          UNIT_TEST(far_behind_an_encrypted_mysql),
          UNIT_TEST(trap_23_a_source_that_lacks_something_is_not_followed),
          UNIT_TEST(trap_24_a_promoted_replica_is_followed_from_what_is_new))
