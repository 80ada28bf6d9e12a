/* main.c: the simulator: a production node between a simulated source and a simulated replica, and a script
 * that crashes, restarts and cuts them off, all from one seed.
 *
 *     sim [--seed] N [--count K] [--profile mixed|power|disk] [--flavour mysql|mariadb] [--transactions T] [-v]
 *     sim [--seed N] --sweep STRIDE [--step K] [--fault KIND]
 *
 * Happy path of a run: root sets the source and an account; clients commit on the source and wait for ACKs;
 * misfortune strikes; then all is healed and left alone until the replica has every transaction. Then the
 * node's files must equal the source's, and still after the source is gone and the node has lost its power
 * once more. All along source and replica check what they are told (source_sim.h, replica_sim.h). Failure:
 * the last lines of the log, the seed, exit 1.
 *
 * A sweep is a short run again and again: a fault of the disk (faults.h) at the first call, at the one STRIDE
 * behind it, and so on until the run has no such call; for each kind of fault. */
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "tests/sim/admin_sim.h"
#include "tests/sim/faults.h"
#include "tests/sim/node_sim.h"
#include "tests/sim/replica_sim.h"
#include "tests/sim/source_sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SETTLE_SECONDS = 300, OPERATOR_SECONDS = 60, PURGE_SECONDS = 75, SWEEP_STRUCK = 3 };

/* What happens how often, of all that happens. */
struct profile {
    const char *name;
    unsigned transactions[2], misfortunes[2];
    unsigned cuts, source_crashes, app_crashes, node_crashes, bad_disks, rots;
    unsigned power; /* percent of the crashes */
};

static const struct profile profiles[] = {
    {"mixed", {50, 3000}, {0, 11}, 2, 1, 1, 7, 2, 1, 60},
    {"power", {10, 150}, {3, 16}, 1, 1, 1, 20, 1, 0, 95}, /* short: many seeds in little time */
    {"disk", {10, 150}, {2, 9}, 0, 1, 1, 3, 7, 4, 60},
};

struct options {
    uint64_t seed, count;
    const struct profile *profile;
    const struct fault_kind *fault; /* of a sweep; NULL: all */
    uint64_t sweep, step;
    enum flavour flavour; /* FLAVOUR_NONE: by the seed */
    size_t transactions;  /* 0: by the seed */
    bool verbose;
};

struct world {
    struct sim *sim;
    const struct profile *profile;
    struct sim_host *db, *node_host, *app, *tool, *janitor_host;
    struct source_sim *source;
    struct node_sim *node;
    struct replica_sim *replica;
    struct admin_sim *admin, *janitor; /* janitor: purges; NULL for some seeds */
    struct rng purge_rng;
    struct errmsg em;
    struct rot rot; /* the one bit that is wrong now */
    unsigned node_crashes, source_crashes, cuts, faults, refusals, rots, found;
};

static const char *const statements[] = {
    "SET GLOBAL holdfast_log_compression = on", /* left out for some seeds */
    "CREATE USER 'replica' IDENTIFIED BY 'secret of the node'", "GRANT REPLICATION SLAVE ON *.* TO 'replica'",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3306, SOURCE_USER='" SOURCE_SIM_USER
    "', SOURCE_PASSWORD='" SOURCE_SIM_PASSWORD "', SOURCE_SSL_MODE='disabled'",
    "START REPLICA", NULL};

/* Of all purges of a seed. With a small margin there are files to purge at all. */
static const char *const purges[] = {"SET GLOBAL holdfast_replica_margin = '1M'", "SET GLOBAL holdfast_replica_grace = 2", "PURGE BINARY LOGS BEFORE NOW()", NULL};
static const char *const forced_purges[] = {"PURGE MASTER LOGS BEFORE NOW() FORCE", NULL};

/* ---- the world ----------------------------------------------------------------------------------------- */

static size_t oldest_file(void *arg)
{
    const struct world *w = arg;
    return sim_oldest_file(w->node_host, source_sim_history(w->source));
}

/* Somebody purges now and then, with some seeds. */
static void make_janitor(struct world *w, uint64_t seed, struct replica_sim_options *ro)
{
    if (seed / 4 % 2 == 0) {
        return;
    }
    rng_init(&w->purge_rng, seed, 31);
    ro->grace = 2;
    ro->forced = rng_chance(&w->purge_rng, 40);
    ro->oldest = oldest_file;
    ro->oldest_arg = w;
    w->janitor_host = sim_host_new(w->sim, "janitor1");
    sim_host_beside(w->janitor_host, w->node_host);
    w->janitor = admin_sim_new(w->janitor_host, NODE_SIM_SOCKET, ro->forced ? forced_purges : purges);
}

static void purge_sometimes(struct world *w)
{
    if (w->janitor && rng_chance(&w->purge_rng, 60)) {
        admin_sim_repeat(w->janitor);
    }
}

static struct source_sim_options choose_source(struct rng *rng, enum flavour flavour)
{
    struct source_sim_options o = source_sim_defaults(flavour);
    o.clients = (unsigned)rng_between(rng, 1, 12);
    o.think_ns =
        (1ull << rng_below(rng, 8)) * ENV_MS; /* up to 128 ms: so that misfortune finds work being done */
    o.rotate = (unsigned)rng_below(rng, 5);
    o.large = rng_chance(rng, 30) ? 20 : 1;
    o.huge = rng_chance(rng, 3) ? 17000000 : 0;
    return o;
}

static void world_make(struct world *w, uint64_t seed, const struct options *options)
{
    enum flavour flavour = options->flavour;
    w->sim = sim_new(seed);
    w->profile = options->profile;
    struct rng *rng = sim_rng(w->sim);
    if (flavour == FLAVOUR_NONE) {
        flavour = seed % 2 ? FLAVOUR_MYSQL : FLAVOUR_MARIADB;
    }
    if (options->verbose) {
        sim_verbose(w->sim, stdout);
        sim_log_level(w->sim, ENV_DEBUG);
    }
    sim_catch_abort(w->sim);
    w->db = sim_host_new(w->sim, "db1");
    w->node_host = sim_host_new(w->sim, "node1");
    w->app = sim_host_new(w->sim, "app1");
    w->tool = sim_host_new(w->sim, "tool1");
    sim_host_beside(w->tool, w->node_host);
    struct source_sim_options so = choose_source(rng, flavour);
    uint64_t snapshot = rng_chance(rng, 50) ? rng_between(rng, 64, 1024) << 10 : 0;
    if (options->sweep) { /* a little of everything */
        so.rotate = 25;
        so.large = 50;
        so.huge = 0;
        snapshot = 64 << 10;
    }
    struct replica_sim_options ro = {.flavour = flavour,
                                     .server_id = 500,
                                     .target = "node1:3307",
                                     .user = "replica",
                                     .password = "secret of the node",
                                     .slow = (unsigned)rng_below(rng, 4),
                                     .by_position = rng_chance(rng, 20),
                                     .semi_sync = rng_chance(rng, 30),
                                     .ceiling = source_sim_sent};
    w->source = source_sim_new(w->db, &so);
    ro.ceiling_arg = w->source;
    w->node = node_sim_new(w->node_host, 1, snapshot);
    if (!options->sweep) {
        make_janitor(w, seed, &ro);
    }
    w->replica = replica_sim_new(w->app, source_sim_history(w->source), &ro);
    w->admin = admin_sim_new(w->tool, NODE_SIM_SOCKET, seed / 2 % 2 ? statements : statements + 1);
    source_sim_floor(w->source, replica_sim_seen, w->replica);
    sim_note(w->sim, "seed=%" PRIu64 " flavour=%s clients=%u rotate=%u large=%u huge=%zu replica=%s%s", seed,
             flavour_name(flavour), so.clients, so.rotate, so.large, so.huge,
             ro.by_position ? "position" : "gtid", ro.semi_sync ? ",semi_sync" : "");
}

static void world_free(struct world *w)
{
    sim_free(w->sim);
    sim_catch_abort(NULL);
    source_sim_free(w->source);
    node_sim_free(w->node);
    replica_sim_free(w->replica);
    admin_sim_free(w->admin);
    admin_sim_free(w->janitor);
}

/* ---- misfortune ---------------------------------------------------------------------------------------- */

static void start_if_down(struct world *w, struct sim_host *host)
{
    if (sim_host_process(host)) {
        return;
    }
    if (host == w->db) {
        source_sim_start(w->source);
    } else if (host == w->node_host) {
        node_sim_start(w->node);
    } else if (host == w->app) {
        replica_sim_start(w->replica);
    }
}

static void crash(struct world *w, struct sim_host *host)
{
    struct rng *rng = sim_rng(w->sim);
    enum sim_crash kind = rng_chance(rng, w->profile->power) ? SIM_POWER : SIM_KILL;
    if (rng_chance(rng, 20)) {
        sim_stop(host); /* in order */
        sim_run(w->sim, rng_between(rng, ENV_MS, 3 * ENV_S));
        sim_crash(host, kind); /* or not */
    } else if (host == w->node_host && rng_chance(rng, 60)) {
        sim_crash_after(host, rng_between(rng, 1, 60), kind);
        sim_run(w->sim, rng_between(rng, 10 * ENV_MS, ENV_S));
        sim_crash_after(host, 0, kind);
        sim_crash(host, kind);
    } else {
        sim_crash(host, kind);
    }
    sim_run(w->sim, rng_between(rng, ENV_MS, rng_chance(rng, 20) ? 5 * ENV_S : 200 * ENV_MS));
    if (host == w->app && rng_chance(rng, 50)) {
        replica_sim_forget(w->replica, (size_t)rng_below(rng, 20));
    }
    start_if_down(w, host);
    if (host == w->node_host && rng_chance(rng, 30)) { /* and once more, while it starts */
        w->node_crashes++;
        sim_crash_after(host, rng_between(rng, 1, 40), kind);
        sim_run(w->sim, ENV_S);
        sim_crash_after(host, 0, kind);
        start_if_down(w, host);
    }
}

static void cut(struct world *w, struct sim_host *a, struct sim_host *b)
{
    struct rng *rng = sim_rng(w->sim);
    w->cuts++;
    if (rng_chance(rng, 40)) {
        sim_reset(w->sim, a, b);
        return;
    }
    sim_cut(w->sim, a, b);
    if (rng_chance(rng, 70)) {
        sim_cut(w->sim, b, a);
    }
    sim_run(w->sim, rng_between(rng, ENV_MS, rng_chance(rng, 20) ? 12 * ENV_S : 300 * ENV_MS));
    sim_heal_all(w->sim);
}

/* The node's disk fails; it is mended, and the node started again if it has ended. */
static void bad_disk(struct world *w)
{
    struct rng *rng = sim_rng(w->sim);
    const struct fault_kind *kind = &fault_kinds[rng_below(rng, fault_kinds_n)];
    const char *file = rng_chance(rng, 30) ? NULL : fault_files[rng_below(rng, fault_files_n)];
    uint64_t k = rng_between(rng, 1, file ? 8 : 60);
    sim_note(w->sim, "fault: %s of %s at call %" PRIu64, kind->name, file ? file : "any file", k);
    node_sim_may_fail(w->node, true);
    fault_plan(w->node_host, kind, file, k);
    if (rng_chance(rng, 30)) { /* while it starts */
        w->node_crashes++;
        sim_crash(w->node_host, rng_chance(rng, 50) ? SIM_POWER : SIM_KILL);
        sim_run(w->sim, rng_between(rng, ENV_MS, 100 * ENV_MS));
        start_if_down(w, w->node_host);
    }
    sim_run(w->sim, rng_between(rng, 10 * ENV_MS, 2 * ENV_S));
    fault_check_told(w->node_host);
    if (!sim_host_process(w->node_host) && rng_chance(rng, 30)) { /* too early: the disk is still bad */
        start_if_down(w, w->node_host);
        sim_run(w->sim, rng_between(rng, 10 * ENV_MS, ENV_S));
        fault_check_told(w->node_host);
    }
    w->faults += sim_struck(w->node_host)->times > 0;
    sim_fault(w->node_host, NULL);
    if (rng_chance(rng, 40)) { /* what a failed sync promised for later is not there */
        w->node_crashes++;
        sim_crash(w->node_host, SIM_POWER);
        sim_run(w->sim, rng_between(rng, ENV_MS, 100 * ENV_MS));
    }
    node_sim_may_fail(w->node, false);
    start_if_down(w, w->node_host);
}

static bool told(void *arg)
{
    return sim_struck(arg)->told;
}

/* A replica that wants everything makes the node read the wrong byte: it must say so (and not serve it: the replica looks at all). */
static void read_rot(struct world *w)
{
    sim_crash(w->app, SIM_KILL);
    sim_run(w->sim, 10 * ENV_MS);
    replica_sim_forget(w->replica, source_sim_history(w->source)->n_txns);
    replica_sim_start(w->replica);
    start_if_down(w, w->node_host);
    sim_watch(w->node_host, w->rot.path);
    if (w->rot.at >= EVENT_MAGIC_SIZE && !sim_run_until(w->sim, told, w->node_host, 60 * ENV_S)) {
        sim_fail(w->sim, "the wrong bit of %s at %" PRIu64 " was read, and nothing was said", w->rot.path, w->rot.at);
    }
    w->found++;
}

/* Ends the node, with its wrong bit if there is one, and mends that. */
static void mend(struct world *w)
{
    if (w->janitor) { /* the wrong byte is to be read, not purged */
        sim_crash(w->janitor_host, SIM_KILL);
        sim_run(w->sim, 200 * ENV_MS);
    }
    if (rot_is_there(w->node_host, &w->rot)) {
        read_rot(w);
    }
    if (w->rot.done) {
        sim_crash(w->node_host, SIM_KILL);
        sim_run(w->sim, 10 * ENV_MS);
        rot_mend(w->node_host, &w->rot);
        node_sim_may_fail(w->node, false);
        start_if_down(w, w->node_host);
    }
}

/* A bit changes while the node is down. One that does not keep it from starting stays wrong until the next. */
static void rot(struct world *w)
{
    struct rng *rng = sim_rng(w->sim);
    mend(w);
    if (rng_chance(rng, 50)) {
        sim_stop(w->node_host);
        sim_run(w->sim, 2 * ENV_S);
    }
    sim_crash(w->node_host, rng_chance(rng, 50) ? SIM_POWER : SIM_KILL);
    sim_run(w->sim, rng_between(rng, ENV_MS, 100 * ENV_MS));
    w->node_crashes++;
    rot_strike(w->node_host, &w->rot);
    w->rots += w->rot.done;
    node_sim_may_fail(w->node, true);
    sim_forget_words(w->node_host);
    start_if_down(w, w->node_host);
    sim_run(w->sim, rng_between(rng, 100 * ENV_MS, 2 * ENV_S));
    if (!sim_host_process(w->node_host)) {
        rot_check_refusal(w->node_host, &w->rot);
        w->refusals++;
        if (!rot_mend(w->node_host, &w->rot)) {
            sim_fail(w->sim, "the node refused to start, and has changed %s", w->rot.path);
        }
        node_sim_may_fail(w->node, false);
        start_if_down(w, w->node_host);
    } else if (!strstr(w->rot.path, "/binlog/1/mysql-bin") || strstr(w->rot.path, ".index")) { /* it is used, or was written anew: stays */
        w->rot.done = false;
        node_sim_may_fail(w->node, false);
    }
}

static void misfortune(struct world *w)
{
    const struct profile *p = w->profile;
    unsigned all = p->cuts + p->source_crashes + p->app_crashes + p->node_crashes + p->bad_disks + p->rots;
    unsigned which = (unsigned)rng_below(sim_rng(w->sim), all);
    if (which < p->cuts) {
        cut(w, which % 2 ? w->app : w->db, w->node_host);
    } else if ((which -= p->cuts) < p->source_crashes) {
        w->source_crashes++;
        crash(w, w->db);
    } else if ((which -= p->source_crashes) < p->app_crashes) {
        crash(w, w->app);
    } else if ((which -= p->app_crashes) < p->bad_disks) {
        bad_disk(w);
    } else if ((which -= p->bad_disks) < p->rots) {
        rot(w);
    } else {
        w->node_crashes++;
        crash(w, w->node_host);
    }
}

/* ---- one run ------------------------------------------------------------------------------------------- */

static bool all_received(void *arg)
{
    struct world *w = arg;
    return source_sim_idle(w->source) &&
           replica_sim_received(w->replica) == source_sim_history(w->source)->n_txns;
}

static bool files_are_whole(struct world *w)
{
    for (int i = 0; i < 300; i++) { /* it may take the node 10 s to see that a source has lost its power */
        if (node_sim_same_files(w->node, source_sim_history(w->source), true, &w->em)) {
            return true;
        }
        sim_run(w->sim, 100 * ENV_MS);
    }
    return false;
}

static void set_up(struct world *w)
{
    source_sim_start(w->source);
    node_sim_start(w->node);
    admin_sim_start(w->admin);
    if (!sim_run_until(w->sim, admin_sim_done, w->admin, OPERATOR_SECONDS * ENV_S)) {
        sim_fail(w->sim, "the operator did not get his statements through");
    }
    replica_sim_start(w->replica);
}

/* The replica has had all of it for so long that nothing is under way: all but the newest file goes. */
static void purge_in_the_end(struct world *w)
{
    const struct history *h = source_sim_history(w->source);
    sim_run(w->sim, PURGE_SECONDS * ENV_S);
    if (!sim_run_until(w->sim, admin_sim_done, w->janitor, OPERATOR_SECONDS * ENV_S)) {
        sim_fail(w->sim, "a purge does not get through");
    }
    sim_run(w->sim, ENV_S);
    admin_sim_repeat(w->janitor);
    if (!sim_run_until(w->sim, admin_sim_done, w->janitor, OPERATOR_SECONDS * ENV_S)) {
        sim_fail(w->sim, "the last purge does not get through");
    }
    sim_run(w->sim, ENV_S);
    if (sim_oldest_file(w->node_host, h) + 1 != h->n_files) {
        sim_fail(w->sim, "the last purge leaves %zu files", h->n_files - sim_oldest_file(w->node_host, h));
    }
}

static void check_end(struct world *w)
{
    struct history *h = source_sim_history(w->source);
    if (!sim_run_until(w->sim, all_received, w, SETTLE_SECONDS * ENV_S)) {
        sim_fail(
            w->sim,
            "%d s after the last misfortune: %zu transactions, %zu acknowledged, %zu received by the replica",
            SETTLE_SECONDS, h->n_txns, source_sim_acked(w->source), replica_sim_received(w->replica));
    }
    if (!files_are_whole(w)) {
        sim_fail(w->sim, "the node's files differ from the source's: %s", w->em.text);
    }
    if (w->janitor) {
        purge_in_the_end(w);
    }
    sim_crash(w->db, SIM_POWER);
    sim_crash(w->node_host, SIM_POWER);
    sim_run(w->sim, ENV_S);
    node_sim_start(w->node);
    sim_run(w->sim, 5 * ENV_S);
    if (!files_are_whole(w)) {
        sim_fail(w->sim, "after a loss of power, and without its source, the node's files differ: %s",
                 w->em.text);
    }
    if (!w->rots && !sim_purged_are_gone(w->node_host, h, &w->em)) {
        sim_fail(w->sim, "something is left of what was purged: %s", w->em.text);
    }
    sim_crash(w->app, SIM_KILL); /* a new replica gets all of it from the node alone */
    sim_run(w->sim, ENV_S);
    replica_sim_forget(w->replica, h->n_txns);
    replica_sim_start(w->replica);
    for (int i = 0; i < SETTLE_SECONDS && replica_sim_received(w->replica) < h->n_txns; i++) {
        sim_run(w->sim, ENV_S);
    }
    if (replica_sim_received(w->replica) < h->n_txns) {
        sim_fail(w->sim, "without its source the node served %zu of %zu transactions",
                 replica_sim_received(w->replica), h->n_txns);
    }
    if (sim_loop_file_calls(w->node_host) > 0) {
        sim_note(w->sim, "note: %" PRIu64 " file calls on the node's loop",
                 sim_loop_file_calls(w->node_host));
    }
}

static void run(uint64_t seed, const struct options *options)
{
    struct world w = {0};
    world_make(&w, seed, options);
    struct rng *rng = sim_rng(w.sim);
    size_t transactions = options->transactions ? options->transactions : (size_t)rng_between(rng, w.profile->transactions[0], w.profile->transactions[1]);
    set_up(&w);
    source_sim_load(w.source, transactions);
    for (uint64_t n = rng_between(rng, w.profile->misfortunes[0], w.profile->misfortunes[1]); n > 0; n--) {
        sim_run(w.sim, rng_between(rng, 1, rng_chance(rng, 30) ? 2 * ENV_S : 100 * ENV_MS));
        purge_sometimes(&w);
        misfortune(&w);
    }
    mend(&w);
    if (w.janitor) { /* now that there are most files */
        admin_sim_repeat(w.janitor);
    }
    struct history *h = source_sim_history(w.source);
    if (h->n_txns > 50 && !options->transactions) {
        source_sim_load(w.source, h->n_txns); /* it is enough */
    }
    check_end(&w);
    printf("ok seed=%" PRIu64 " flavour=%s transactions=%zu files=%zu acks=%" PRIu64 " dumps=%" PRIu64
           " purged=%zu set_ups=%u node_crashes=%u source_crashes=%u cuts=%u faults=%u rots=%u refusals=%u found=%u loop_file_calls=%" PRIu64 " virtual_s=%" PRIu64
           " events=%" PRIu64 " hash=%016" PRIx64 "\n",
           seed, flavour_name(h->flavour), h->n_txns, h->n_files, source_sim_acks(w.source),
           source_sim_dumps(w.source), sim_oldest_file(w.node_host, h), replica_sim_set_ups(w.replica), w.node_crashes, w.source_crashes, w.cuts, w.faults, w.rots, w.refusals, w.found,
           sim_loop_file_calls(w.node_host), (uint64_t)(sim_now(w.sim) / ENV_S), sim_events(w.sim),
           sim_hash(w.sim));
    fflush(stdout);
    world_free(&w);
}

/* ---- a sweep ------------------------------------------------------------------------------------------- */

struct awaited {
    struct world *w;
    bool (*done)(void *arg);
    void *arg;
};

static bool done_or_gone(void *arg)
{
    struct awaited *a = arg;
    return a->done(a->arg) || !sim_host_process(a->w->node_host);
}

/* As long as the node ends of its fault the disk is mended and the node started again. */
static void await(struct world *w, bool (*done)(void *), void *arg, const char *what)
{
    struct awaited a = {.w = w, .done = done, .arg = arg};
    uint64_t end = sim_now(w->sim) + SETTLE_SECONDS * ENV_S;
    while (!done(arg)) {
        if (sim_now(w->sim) >= end) {
            sim_fail(w->sim, "%s: not within %d s", what, SETTLE_SECONDS);
        }
        sim_run_until(w->sim, done_or_gone, &a, ENV_S);
        if (sim_struck(w->node_host)->times > 0) { /* it may have gone on: then the disk is well again after a second */
            fault_check_told(w->node_host);
            sim_fault(w->node_host, NULL);
        }
        start_if_down(w, w->node_host);
    }
}

static bool all_idle(void *arg)
{
    struct world *w = arg;
    return all_received(w) && source_sim_idle(w->source);
}

static void restart(struct world *w, bool in_order)
{
    if (in_order) {
        sim_stop(w->node_host);
        sim_run(w->sim, 2 * ENV_S);
    }
    sim_crash(w->node_host, SIM_POWER); /* if it is still there */
    sim_run(w->sim, 100 * ENV_MS);
    start_if_down(w, w->node_host);
}

/* Did the fault strike? */
static bool sweep_step(const struct options *options, const struct fault_kind *kind, uint64_t k)
{
    struct world w = {0};
    world_make(&w, options->seed, options);
    sim_note(w.sim, "fault: %s at call %" PRIu64, kind->name, k);
    node_sim_may_fail(w.node, true);
    fault_plan(w.node_host, kind, NULL, k);
    source_sim_start(w.source);
    node_sim_start(w.node);
    admin_sim_start(w.admin);
    await(&w, admin_sim_done, w.admin, "the operator's statements");
    replica_sim_start(w.replica);
    source_sim_load(w.source, 25);
    await(&w, all_idle, &w, "the first load");
    restart(&w, true);
    source_sim_load(w.source, 35);
    await(&w, all_idle, &w, "the load after an end in order");
    restart(&w, false);
    source_sim_load(w.source, 40);
    await(&w, all_idle, &w, "the load after a loss of power");
    if (sim_struck(w.node_host)->times > 0) {
        fault_check_told(w.node_host);
    }
    sim_fault(w.node_host, NULL);
    node_sim_may_fail(w.node, false);
    start_if_down(&w, w.node_host);
    check_end(&w);
    bool struck = sim_struck(w.node_host)->times > 0;
    world_free(&w);
    return struck;
}

/* In a process of its own: what env_fatal leaves behind goes with it. */
static bool step_apart(const struct options *options, const struct fault_kind *kind, uint64_t k)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        bool struck = sweep_step(options, kind, k);
        fflush(stdout);
        _exit(struck ? SWEEP_STRUCK : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != SWEEP_STRUCK)) {
        fprintf(stderr, "failed; again: sim --seed %" PRIu64 " --flavour %s --sweep 1 --fault %s --step %" PRIu64 "\n", options->seed,
                options->flavour == FLAVOUR_MARIADB ? "mariadb" : "mysql", kind->name, k);
        exit(1);
    }
    return WEXITSTATUS(status) == SWEEP_STRUCK;
}

static void sweep(struct options options)
{
    static const struct profile calm = {"calm", {0, 0}, {0, 0}, 0, 0, 0, 0, 0, 0, 100};
    options.profile = &calm;
    if (options.flavour == FLAVOUR_NONE) {
        options.flavour = options.seed % 2 ? FLAVOUR_MYSQL : FLAVOUR_MARIADB;
    }
    for (unsigned i = 0; i < fault_kinds_n; i++) {
        uint64_t k = options.step, n = 0;
        if (options.fault && options.fault != &fault_kinds[i]) {
            continue;
        }
        for (; step_apart(&options, &fault_kinds[i], k); k += options.sweep) {
            n++;
        }
        printf("ok sweep seed=%" PRIu64 " flavour=%s fault=%s first=%" PRIu64 " stride=%" PRIu64 " runs=%" PRIu64 "\n", options.seed,
               flavour_name(options.flavour), fault_kinds[i].name, options.step, options.sweep, n);
    }
}

/* ---- options ------------------------------------------------------------------------------------------- */

static void usage(FILE *to)
{
    fprintf(to, "usage: sim [--seed] N [--count K] [--profile mixed|power|disk] [--flavour mysql|mariadb] [--transactions T] [-v]\n"
                "       sim [--seed N] [--flavour F] --sweep STRIDE [--step K] [--fault KIND] [-v]\n"
                "Runs the simulated world of seed N (1), or of K seeds from N on; or a short one with a fault of the disk at\n"
                "every STRIDE-th call from the K-th (1) on. Exit 1: a property does not hold.\n");
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end) {
        usage(stderr);
        exit(2);
    }
    return v;
}

static enum flavour flavour_of(const char *text)
{
    if (strcmp(text, "mysql") == 0) {
        return FLAVOUR_MYSQL;
    }
    if (strcmp(text, "mariadb") == 0) {
        return FLAVOUR_MARIADB;
    }
    usage(stderr);
    exit(2);
}

static const struct profile *profile_of(const char *text)
{
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        if (strcmp(text, profiles[i].name) == 0) {
            return &profiles[i];
        }
    }
    usage(stderr);
    exit(2);
}

static const struct fault_kind *fault_of(const char *text)
{
    const struct fault_kind *kind = fault_kind_find(text);
    if (!kind) {
        fprintf(stderr, "sim: the kinds of fault are");
        for (unsigned i = 0; i < fault_kinds_n; i++) {
            fprintf(stderr, " %s", fault_kinds[i].name);
        }
        fprintf(stderr, "\n");
        exit(2);
    }
    return kind;
}

static struct options read_options(int argc, char **argv)
{
    static const struct option names[] = {{"seed", required_argument, NULL, 's'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"nodes", required_argument, NULL, 'n'},
                                          {"flavour", required_argument, NULL, 'f'},
                                          {"profile", required_argument, NULL, 'p'},
                                          {"sweep", required_argument, NULL, 'w'},
                                          {"step", required_argument, NULL, 'k'},
                                          {"fault", required_argument, NULL, 'x'},
                                          {"transactions", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options o = {.seed = 1, .count = 1, .step = 1, .profile = &profiles[0]};
    for (int c; (c = getopt_long(argc, argv, "s:c:n:f:t:p:w:k:x:vh", names, NULL)) != -1;) {
        switch (c) {
        case 's': o.seed = number(optarg); break;
        case 'c': o.count = number(optarg); break;
        case 'f': o.flavour = flavour_of(optarg); break;
        case 't': o.transactions = (size_t)number(optarg); break;
        case 'p': o.profile = profile_of(optarg); break;
        case 'w': o.sweep = number(optarg); break;
        case 'k': o.step = number(optarg); break;
        case 'x': o.fault = fault_of(optarg); break;
        case 'v': o.verbose = true; break;
        case 'h': usage(stdout); exit(0);
        case 'n':
            if (number(optarg) == 1) {
                break;
            }
            fprintf(stderr, "sim: one node is all that there is so far\n");
            exit(2);
        default: usage(stderr); exit(2);
        }
    }
    if (optind < argc) {
        o.seed = number(argv[optind++]);
    }
    if (optind < argc) {
        usage(stderr);
        exit(2);
    }
    return o;
}

int main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    if (options.sweep) {
        sweep(options);
        return 0;
    }
    for (uint64_t i = 0; i < options.count; i++) {
        run(options.seed + i, &options);
    }
    return 0;
}
