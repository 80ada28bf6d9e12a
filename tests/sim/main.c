/* main.c: the simulator: a production node between a simulated source and a simulated replica, and a script
 * that crashes, restarts and cuts them off, all from one seed.
 *
 *     sim [--seed] N [--count K] [--flavour mysql|mariadb] [--transactions T] [-v]
 *
 * Happy path of a run: root sets the source and an account; clients commit on the source and wait for ACKs;
 * misfortune strikes; then all is healed and left alone until the replica has every transaction. Then the
 * node's files must equal the source's, and still after the source is gone and the node has lost its power
 * once more. All along source and replica check what they are told (source_sim.h, replica_sim.h). Failure:
 * the last lines of the log, the seed, exit 1. */
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "tests/sim/admin_sim.h"
#include "tests/sim/node_sim.h"
#include "tests/sim/replica_sim.h"
#include "tests/sim/source_sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_SECONDS = 300, OPERATOR_SECONDS = 60 };

struct options {
    uint64_t seed, count;
    enum flavour flavour; /* FLAVOUR_NONE: by the seed */
    size_t transactions;  /* 0: by the seed */
    bool verbose;
};

struct world {
    struct sim *sim;
    struct sim_host *db, *node_host, *app, *tool;
    struct source_sim *source;
    struct node_sim *node;
    struct replica_sim *replica;
    struct admin_sim *admin;
    struct errmsg em;
    unsigned node_crashes, source_crashes, cuts;
};

static const char *const statements[] = {
    "CREATE USER 'replica' IDENTIFIED BY 'secret of the node'", "GRANT REPLICATION SLAVE ON *.* TO 'replica'",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3306, SOURCE_USER='" SOURCE_SIM_USER
    "', SOURCE_PASSWORD='" SOURCE_SIM_PASSWORD "', SOURCE_SSL_MODE='disabled'",
    "START REPLICA", NULL};

/* ---- the world ----------------------------------------------------------------------------------------- */

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
    w->node = node_sim_new(w->node_host, 1, rng_chance(rng, 50) ? rng_between(rng, 64, 1024) << 10 : 0);
    w->replica = replica_sim_new(w->app, source_sim_history(w->source), &ro);
    w->admin = admin_sim_new(w->tool, NODE_SIM_SOCKET, statements);
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
    enum sim_crash kind = rng_chance(rng, 60) ? SIM_POWER : SIM_KILL;
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

static void misfortune(struct world *w)
{
    switch (rng_below(sim_rng(w->sim), 10)) {
    case 0: cut(w, w->db, w->node_host); break;
    case 1: cut(w, w->app, w->node_host); break;
    case 2:
        w->source_crashes++;
        crash(w, w->db);
        break;
    case 3: crash(w, w->app); break;
    default: w->node_crashes++; crash(w, w->node_host);
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
    for (int i = 0; i < 100; i++) {
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
    sim_crash(w->db, SIM_POWER);
    sim_crash(w->node_host, SIM_POWER);
    sim_run(w->sim, ENV_S);
    node_sim_start(w->node);
    sim_run(w->sim, 5 * ENV_S);
    if (!files_are_whole(w)) {
        sim_fail(w->sim, "after a loss of power, and without its source, the node's files differ: %s",
                 w->em.text);
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
    size_t transactions = options->transactions ? options->transactions : (size_t)rng_between(rng, 50, 3000);
    set_up(&w);
    source_sim_load(w.source, transactions);
    for (uint64_t n = rng_below(rng, 12); n > 0; n--) {
        sim_run(w.sim, rng_between(rng, 1, rng_chance(rng, 30) ? 2 * ENV_S : 100 * ENV_MS));
        misfortune(&w);
    }
    struct history *h = source_sim_history(w.source);
    if (h->n_txns > 50 && !options->transactions) {
        source_sim_load(w.source, h->n_txns); /* it is enough */
    }
    check_end(&w);
    printf("ok seed=%" PRIu64 " flavour=%s transactions=%zu files=%zu acks=%" PRIu64 " dumps=%" PRIu64
           " node_crashes=%u source_crashes=%u cuts=%u loop_file_calls=%" PRIu64 " virtual_s=%" PRIu64
           " events=%" PRIu64 " hash=%016" PRIx64 "\n",
           seed, flavour_name(h->flavour), h->n_txns, h->n_files, source_sim_acks(w.source),
           source_sim_dumps(w.source), w.node_crashes, w.source_crashes, w.cuts,
           sim_loop_file_calls(w.node_host), (uint64_t)(sim_now(w.sim) / ENV_S), sim_events(w.sim),
           sim_hash(w.sim));
    fflush(stdout);
    world_free(&w);
}

/* ---- options ------------------------------------------------------------------------------------------- */

static void usage(FILE *to)
{
    fprintf(to, "usage: sim [--seed] N [--count K] [--flavour mysql|mariadb] [--transactions T] [-v]\n"
                "Runs the simulated world of seed N (1), or of K seeds from N on. Exit 1: a property does "
                "not hold.\n");
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

static struct options read_options(int argc, char **argv)
{
    static const struct option names[] = {{"seed", required_argument, NULL, 's'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"nodes", required_argument, NULL, 'n'},
                                          {"flavour", required_argument, NULL, 'f'},
                                          {"transactions", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct options o = {.seed = 1, .count = 1};
    for (int c; (c = getopt_long(argc, argv, "s:c:n:f:t:vh", names, NULL)) != -1;) {
        switch (c) {
        case 's': o.seed = number(optarg); break;
        case 'c': o.count = number(optarg); break;
        case 'f': o.flavour = flavour_of(optarg); break;
        case 't': o.transactions = (size_t)number(optarg); break;
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
    for (uint64_t i = 0; i < options.count; i++) {
        run(options.seed + i, &options);
    }
    return 0;
}
