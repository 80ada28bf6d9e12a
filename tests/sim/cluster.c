/* cluster.c: the simulator of a whole cluster: production nodes, a source, replicas, an operator, all that may happen to them, one seed.
 *
 *     cluster [--seed] N [--count K] [--nodes 3|5] [--flavour mysql|mariadb] [--transactions T] [--calm] [--fate F] [-v]
 *     cluster ... --loss                               (another kind of run: sources die for good, see cluster_loss.c)
 *     cluster ... --members [--old]                    (members come and go, see cluster_members.c; their old machines live on, see cluster_old.c)
 *     mutant  ... [--mutations] [--mutate NAME]      (the same with guards that can be switched off: raft/mutation.h)
 *
 * Happy path of a run: the nodes form their cluster, the operator sets the source and an account, clients commit and wait for ACKs;
 * misfortune strikes (cluster_fate.c); then all is healed and left alone until every replica and every node has everything. Then the
 * source is gone, all nodes lose their power at once, and a new replica gets everything from any of them. All along the invariants of
 * cluster_check.c, source_sim.h and replica_sim.h hold. Failure: the last lines of the log, the seed, exit 1. */
#include "raft/mutation.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/node_sim.h"

#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPERATOR_SECONDS = 60,
    LEADER_SECONDS = 20,
    SETTLE_SECONDS = 120,
    STALL_SECONDS = 250 /* a file call begun on the slowest disk goes on for so long after it is healed */
};

/* ---- one run ---- */

static bool operator_done(struct world *w)
{
    return admin_sim_done(w->admin);
}

static bool has_leader(struct world *w)
{
    return world_leader(w) != NULL;
}

static bool all_received(struct world *w)
{
    for (unsigned i = 0; i < w->n_replicas; i++) {
        if (replica_sim_received(w->replicas[i]) < w->history->n_txns) {
            return false;
        }
    }
    return source_sim_idle(w->source);
}

static void set_up(struct world *w, bool calm)
{
    source_sim_start(w->source);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        world_node_start(w, i);
    }
    if (!calm && rng_chance(w->rng, 30)) { /* nodes die while the cluster is being formed */
        for (uint64_t n = rng_between(w->rng, 1, 4); n > 0; n--) {
            size_t i = (size_t)rng_below(w->rng, w->n_nodes);
            enum sim_crash kind = rng_chance(w->rng, 70) ? SIM_POWER : SIM_KILL;
            w->node_crashes++;
            sim_crash_after(w->node_hosts[i], rng_between(w->rng, 1, 120), kind);
            world_run(w, rng_between(w->rng, ENV_MS, ENV_S));
            sim_crash_after(w->node_hosts[i], 0, kind);
            if (!sim_host_process(w->node_hosts[i])) {
                world_node_start(w, i);
            }
        }
    }
    admin_sim_start(w->admin);
    if (!world_until(w, operator_done, OPERATOR_SECONDS * ENV_S)) {
        sim_fail(w->sim, "the operator did not get his statements through");
    }
    for (unsigned i = 0; i < w->n_replicas; i++) {
        replica_sim_start(w->replicas[i]);
    }
}

static void check_whole(struct world *w, const char *when)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        struct errmsg em;
        bool whole = false;
        for (unsigned n = 0; n < 10 * STALL_SECONDS && !whole; n++) { /* a removal may still be on its way */
            whole = (w->members && !world_is_member(w, i, false)) || cluster_files_are_whole(w, i, &em);
            if (!whole) {
                world_run(w, 100 * ENV_MS);
            }
        }
        if (!whole) {
            sim_fail(w->sim, "%s the files of node%u differ from the source's: %s", when, i + 1, em.text);
        }
    }
    cluster_check_files(w);
}

/* All nodes have the same oldest file, and nothing of those before it. */
static void check_purged(struct world *w)
{
    size_t oldest = world_oldest(w);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        struct errmsg em;
        size_t mine = sim_oldest_file(w->node_hosts[i], w->history);
        if (w->members && !world_is_member(w, i, false)) { /* it may be away, or have an old disk */
            continue;
        }
        if (mine != oldest) {
            sim_fail(w->sim, "the oldest file of node%u is %s, of another one %s", i + 1, w->history->files[mine]->name,
                     w->history->files[oldest]->name);
        }
        if (!sim_purged_are_gone(w->node_hosts[i], w->history, &em)) {
            sim_fail(w->sim, "node%u: something is left of what was purged: %s", i + 1, em.text);
        }
    }
}

static void settle(struct world *w)
{
    cluster_heal(w);
    if (!world_until(w, has_leader, LEADER_SECONDS * ENV_S)) {
        sim_fail(w->sim, "nobody leads %d s after all was healed", LEADER_SECONDS);
    }
    cluster_settle_role(w);
    if (w->members) {
        cluster_settle_members(w);
    }
    if (!world_until(w, all_received, SETTLE_SECONDS * ENV_S)) {
        sim_fail(w->sim, "%d s after the last misfortune: %zu transactions, %zu acknowledged, received by the replicas: %zu %zu", SETTLE_SECONDS,
                 w->history->n_txns, source_sim_acked(w->source), replica_sim_received(w->replicas[0]), replica_sim_received(w->replicas[1]));
    }
    check_whole(w, "in the end");
}

/* Every node alone serves everything. */
static void without_source(struct world *w)
{
    sim_crash(w->db, SIM_POWER);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        sim_crash(w->node_hosts[i], SIM_POWER);
    }
    world_run(w, ENV_S);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        cluster_start_again(w, i);
    }
    if (!world_until(w, has_leader, LEADER_SECONDS * ENV_S)) {
        sim_fail(w->sim, "nobody leads %d s after all nodes had lost their power", LEADER_SECONDS);
    }
    check_whole(w, "after a loss of power, and without a source,");
    world_run(w, 2 * ENV_S);
    check_purged(w);
    size_t before = w->history->n_txns;
    sim_crash(w->apps[0], SIM_KILL);
    world_run(w, ENV_MS);
    replica_sim_forget(w->replicas[0], before);
    replica_sim_start(w->replicas[0]);
    unsigned patience = w->members ? 3 * SETTLE_SECONDS : SETTLE_SECONDS; /* it tries all nodes, of which one may be a member; the others let it wait longer each time */
    for (unsigned s = 0; s < patience && replica_sim_received(w->replicas[0]) < before; s++) {
        world_run(w, ENV_S);
    }
    if (replica_sim_received(w->replicas[0]) < before) {
        sim_fail(w->sim, "without the source the nodes served %zu of %zu transactions", replica_sim_received(w->replicas[0]), before);
    }
}

static bool all_live(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (!sim_host_process(w->node_hosts[i])) {
            return false;
        }
    }
    return true;
}

static bool one_is_dead(struct world *w)
{
    return !all_live(w);
}

/* A member that comes back with an empty disk must not vote: it says why, and ends. */
static void wiped(struct world *w)
{
    size_t i = (size_t)rng_below(w->rng, w->n_nodes);
    sim_crash(w->node_hosts[i], SIM_POWER);
    world_run(w, ENV_S);
    world_node_wipe(w, i);
    sim_forget_words(w->node_hosts[i]);
    world_node_start(w, i);
    world_run(w, 10 * ENV_MS);
    if (!world_until(w, one_is_dead, 10 * ENV_S) || !strstr(sim_last_words(w->node_hosts[i]), "is empty but cluster")) {
        sim_fail(w->sim, "node%zu came back with an empty disk and was not refused: %s", i + 1, sim_last_words(w->node_hosts[i]));
    }
    if (w->nodes[i].vote) {
        sim_fail(w->sim, "node%zu came back with an empty disk and has voted", i + 1);
    }
}

/* The loops never wait for a disk: when nothing happens but commits, all that is written is written elsewhere. */
static void check_loops(struct world *w, const uint64_t *before)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        uint64_t n = sim_loop_file_calls(w->node_hosts[i]) - before[i];
        if (n) {
            sim_fail(w->sim, "node%u: %" PRIu64 " file calls on its loop while nothing happened but commits", i + 1, n);
        }
    }
}

static void run(uint64_t seed, const struct world_options *options)
{
    struct world w;
    uint64_t loop_calls[WORLD_NODES];
    world_make(&w, seed, options);
    size_t transactions = options->transactions ? options->transactions : (size_t)rng_between(w.rng, 50, 2000);
    set_up(&w, options->calm);
    for (unsigned i = 0; i < w.n_nodes; i++) {
        loop_calls[i] = sim_loop_file_calls(w.node_hosts[i]);
    }
    source_sim_load(w.source, transactions);
    for (uint64_t n = options->calm ? 0 : rng_below(w.rng, w.members ? 20 : 12) + (w.old ? 6 : 0); n > 0; n--) {
        world_run(&w, rng_between(w.rng, 1, rng_chance(w.rng, 30) ? 2 * ENV_S : 100 * ENV_MS));
        cluster_purge(&w);
        if (w.members) {
            cluster_change_members(&w);
        }
        if (!w.members || rng_chance(w.rng, 60)) {
            cluster_misfortune(&w);
        }
    }
    cluster_purge(&w);
    if (!options->transactions && !options->calm) { /* it is enough; some more show that things go on. (All of it would take few clients too long.) */
        size_t enough = w.history->n_txns > 50 ? w.history->n_txns + 20 : 70;
        source_sim_load(w.source, enough < transactions ? enough : transactions);
    }
    settle(&w);
    if (options->calm) {
        check_loops(&w, loop_calls);
    }
    without_source(&w);
    if (!w.members) {
        wiped(&w);
    }
    printf("ok seed=%" PRIu64 " nodes=%u flavour=%s transactions=%zu files=%zu acks=%" PRIu64 " dumps=%" PRIu64
           " writes=%" PRIu64 " purged=%zu elections=%u node_crashes=%u source_crashes=%u cuts=%u changes=%u switchovers=%u/%u moved=%u/%u faults=%u rots=%u refusals=%u installs=%u orders=%u configurations=%u wipes=%u old_machines=%u/%u/%u virtual_s=%" PRIu64
           " events=%" PRIu64 " hash=%016" PRIx64 "\n",
           seed, w.n_nodes, flavour_name(w.history->flavour), w.history->n_txns, w.history->n_files, source_sim_acks(w.source), source_sim_dumps(w.source),
           w.writes, world_oldest(&w), w.elections, w.node_crashes, w.source_crashes, w.cuts, w.changes, w.planned, w.switchovers, w.moved, w.moved + w.not_moved, w.faults, w.rots, w.refusals, w.installs,
           w.orders_given, w.configurations, w.wipes, w.moves_away, w.meetings, w.untold,
           (uint64_t)(sim_now(w.sim) / ENV_S), sim_events(w.sim), sim_hash(w.sim));
    fflush(stdout);
    world_free(&w);
}

/* ---- options ---- */

static void usage(FILE *to)
{
    fprintf(to, "usage: cluster [--seed] N [--count K] [--nodes 3|5] [--flavour mysql|mariadb] [--transactions T] [--calm] [--loss]\n"
                "               [--members] [--old] [--memory] [-v]\n"
                "Runs the simulated cluster of seed N (1), or of K seeds from N on. Exit 1: a property does not hold.\n");
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
    if (strcmp(text, "mysql") && strcmp(text, "mariadb")) {
        usage(stderr);
        exit(2);
    }
    return strcmp(text, "mysql") ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
}

#ifdef HOLDFAST_MUTATIONS
unsigned mutations;

static void mutate(const char *name)
{
#define MUTATION_NAMED(id, bit, text) mutations |= strcmp(name, #id) ? 0 : MUTATION_##id;
    MUTATIONS(MUTATION_NAMED)
#undef MUTATION_NAMED
    if (!mutations) {
        fprintf(stderr, "cluster: there is no mutation %s (raft/mutation.h)\n", name);
        exit(2);
    }
}

static void list_mutations(void)
{
#define MUTATION_LISTED(id, bit, text) printf("%s\t%s\n", #id, text);
    MUTATIONS(MUTATION_LISTED)
#undef MUTATION_LISTED
}
#else
static void mutate(const char *name)
{
    fprintf(stderr, "cluster: %s: no guard can be switched off in this program\n", name);
    exit(2);
}

static void list_mutations(void)
{
}
#endif

struct plan {
    uint64_t seed, count;
    struct world_options world;
    bool loss;
};

static struct plan read_options(int argc, char **argv)
{
    static const struct option names[] = {{"seed", required_argument, NULL, 's'},
                                          {"count", required_argument, NULL, 'c'},
                                          {"nodes", required_argument, NULL, 'n'},
                                          {"flavour", required_argument, NULL, 'f'},
                                          {"transactions", required_argument, NULL, 't'},
                                          {"calm", no_argument, NULL, 'q'},
                                          {"members", no_argument, NULL, 'j'},
                                          {"memory", no_argument, NULL, 'y'},
                                          {"old", no_argument, NULL, 'e'},
                                          {"fate", required_argument, NULL, 'k'},
                                          {"loss", no_argument, NULL, 'o'},
                                          {"mutate", required_argument, NULL, 'm'},
                                          {"mutations", no_argument, NULL, 'l'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct plan p = {.seed = 1, .count = 1};
    for (int c; (c = getopt_long(argc, argv, "s:c:n:f:t:vh", names, NULL)) != -1;) {
        switch (c) {
        case 's': p.seed = number(optarg); break;
        case 'c': p.count = number(optarg); break;
        case 'n': p.world.nodes = (unsigned)number(optarg); break;
        case 'f': p.world.flavour = flavour_of(optarg); break;
        case 't': p.world.transactions = (size_t)number(optarg); break;
        case 'q': p.world.calm = true; break;
        case 'j': p.world.members = true; break;
        case 'y': p.world.memory = true; break;
        case 'e': p.world.old = true; break;
        case 'v': p.world.verbose = true; break;
        case 'k': p.world.fate = (unsigned)number(optarg) + 1; break;
        case 'o': p.loss = true; break;
        case 'm': mutate(optarg); break;
        case 'l': list_mutations(); exit(0);
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    }
    if (optind < argc) {
        p.seed = number(argv[optind++]);
    }
    if (optind < argc || p.world.nodes > WORLD_NODES || (p.world.old && !p.world.members)) {
        usage(stderr);
        exit(2);
    }
    return p;
}

int main(int argc, char **argv)
{
    struct plan plan = read_options(argc, argv);
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* nodes that start read whole log segments: the same memory serves them all */
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
    for (uint64_t i = 0; i < plan.count; i++) {
        (plan.loss ? cluster_loss_run : run)(plan.seed + i, &plan.world);
    }
    return 0;
}
