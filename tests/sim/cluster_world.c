/* cluster_world.c: see cluster_world.h. */
#include "tests/sim/cluster_world.h"

#include "tests/sim/node_sim.h"

#include "node/daemon.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/configuration.h"
#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DATA_DIR "/data"
#define SOCKET "/run/holdfast.sock"

static const char *const statements[] = {
    "CREATE USER 'replica' IDENTIFIED BY 'secret of the nodes'", "GRANT REPLICATION SLAVE ON *.* TO 'replica'",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3306, SOURCE_USER='" SOURCE_SIM_USER
    "', SOURCE_PASSWORD='" SOURCE_SIM_PASSWORD "', SOURCE_SSL_MODE='disabled'",
    "START REPLICA", NULL};
static const char *const purge_statements[] = {"SET GLOBAL holdfast_replica_margin = '1M'", "SET GLOBAL holdfast_replica_grace = 2", "PURGE BINARY LOGS BEFORE NOW()", NULL};
static const char *const forced_statements[] = {"PURGE MASTER LOGS BEFORE NOW() FORCE", NULL};

/* ---- a node's process ---- */

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct world_node *node = arg;
    struct daemon *daemon = NULL;
    struct errmsg em;
    if (daemon_start(env, &node->config, &daemon, &em)) {
        bool may_end = node->may_fail || strstr(em.text, "was removed from cluster") || strstr(em.text, "was replaced: this data directory");
        if (!sim_process_is_ghost(process) && !may_end) {
            sim_fail(node->world->sim, "%s does not start: %s", sim_host_name(node->host), em.text);
        }
        env_fatal(env, "the node does not start: %s", em.text);
    }
    sim_process_set(process, daemon);
    if (!sim_process_is_ghost(process)) {
        node->cluster = daemon_cluster(daemon);
        node->committed = 0;
        node->state = -1;
        ledger_started(node->world->ledger, node->number);
    }
}

static void stopped(void *arg)
{
    sim_exit(arg);
}

static void stop(struct sim_process *process, void *arg)
{
    struct world_node *node = arg;
    if (!sim_process_is_ghost(process)) {
        node->cluster = NULL;
        node->led = false;
    }
    daemon_stop(sim_process_get(process), stopped, process);
}

static void forget(struct world_node *node)
{
    node->cluster = NULL;
    node->led = false;
    node->n_checked = node->n_counted = 0;
    node->index = 0;
    gtid_set_free(node->counted);
    node->counted = NULL;
    ledger_crashed(node->world->ledger, node->number);
}

/* A process that dies while it is busy is heard of late: another one may live there already. */
static void gone(struct sim_host *host, bool crashed, void *arg)
{
    (void)crashed;
    if (!sim_host_process(host)) {
        forget(arg);
    }
}

static const struct sim_program program = {start, stop, gone};

void world_node_start(struct world *w, size_t i)
{
    forget(&w->nodes[i]);
    sim_start(w->nodes[i].host, &program, &w->nodes[i]);
}

static void configure(struct world *w, struct world_node *node)
{
    char text[2048];
    struct errmsg em;
    bool joins = w->members && (node->number >= w->n_first || node->id != node->number + 1);
    int n = snprintf(text, sizeof text,
                     "[node]\nid = %" PRIu64 "\ndata_dir = " DATA_DIR "\n[mysql]\nlisten = 0.0.0.0:3307\nsocket = " SOCKET
                     "\n[raft]\nlisten = %s:4307\n%s = ",
                     node->id, sim_host_name(node->host), joins ? "join" : "initial_cluster");
    bool first = true;
    for (unsigned i = 0; i < (joins ? w->n_nodes : w->n_first); i++) {
        if (joins && i != node->number) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s:4307", first ? "" : ", ", sim_host_name(w->node_hosts[i]));
            first = false;
        } else if (!joins) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%u@%s:4307", i ? ", " : "", i + 1, sim_host_name(w->node_hosts[i]));
        }
    }
    snprintf(text + n, sizeof text - (size_t)n, "\n");
    config_defaults(&node->config);
    int rv = config_parse(sim_host_name(node->host), text, &node->config, &em);
    CHECK(rv == 0);
    node->config.forgets = !w->memory;
    node->config.tls_off = true; /* keys are made with OpenSSL's own random, which no seed repeats */
}

/* As holdfastd's main does, before it takes its lock. */
static void make_data_dir(struct sim_host *host)
{
    int rv = disk_mkdir(sim_host_disk(host), DATA_DIR, 0);
    rv = rv ? rv : disk_sync_dir(sim_host_disk(host), "/", 0);
    CHECK(rv == 0);
}

void world_node_wipe(struct world *w, size_t i)
{
    sim_wipe(w->nodes[i].host);
    make_data_dir(w->nodes[i].host);
    ledger_wiped(w->ledger, i);
    w->nodes[i].term = w->nodes[i].vote = 0;
}

void world_node_anew(struct world *w, size_t i, uint64_t id)
{
    uint64_t snapshot_bytes = w->nodes[i].config.snapshot_bytes;
    world_node_wipe(w, i);
    sim_forget_words(w->nodes[i].host);
    w->nodes[i].id = id;
    w->nodes[i].lost = w->nodes[i].asked = w->nodes[i].replaced = w->nodes[i].away = false;
    w->nodes[i].successor = NULL;
    configure(w, &w->nodes[i]);
    w->nodes[i].config.snapshot_bytes = snapshot_bytes;
}

/* By its address, too: another machine may have its old id. */
const struct raft_server *world_member(const struct world_node *node, const struct cluster *c)
{
    const struct raft_server *s = configuration_find(&c->raft.configuration, node->id);
    size_t n = strlen(sim_host_name(node->host));
    return s && !strncmp(s->address, sim_host_name(node->host), n) && s->address[n] == ':' ? s : NULL;
}

bool world_is_member(struct world *w, size_t i, bool voter)
{
    struct world_node *leader = world_leader(w);
    const struct raft_server *s = leader ? world_member(&w->nodes[i], leader->cluster) : NULL;
    return s && (!voter || s->role == RAFT_VOTER);
}

/* ---- the world ---- */

size_t world_oldest(void *arg)
{
    struct world *w = arg;
    size_t newest = 0;
    for (unsigned i = 0; i < w->n_nodes; i++) {
        size_t at = sim_oldest_file(w->node_hosts[i], w->history);
        newest = at > newest ? at : newest;
    }
    return newest;
}

/* With every other sixteen seeds, and where no kind of misfortune is asked for: mutations.test knows its seeds. */
static bool purges(const struct world *w)
{
    return !w->fate && w->seed / 16 % 2 == 1;
}

static size_t durable_by_majority(void *arg)
{
    struct world *w = arg;
    return ledger_transactions(w->ledger);
}

static size_t seen_by_replicas(void *arg)
{
    struct world *w = arg;
    size_t most = 0;
    for (unsigned i = 0; i < w->n_replicas; i++) {
        size_t seen = replica_sim_seen(w->replicas[i]);
        most = seen > most ? seen : most;
    }
    return most;
}

static void make_source(struct world *w, const struct world_options *options)
{
    enum flavour flavour = options->flavour != FLAVOUR_NONE ? options->flavour : w->seed % 2 ? FLAVOUR_MYSQL : FLAVOUR_MARIADB;
    struct source_sim_options o = source_sim_defaults(flavour);
    o.clients = (unsigned)rng_between(w->rng, 1, 12);
    o.think_ns = (1ull << rng_below(w->rng, 8)) * ENV_MS; /* up to 128 ms: so that misfortune finds work being done */
    o.rotate = (unsigned)rng_below(w->rng, 5);
    o.large = rng_chance(w->rng, 25) ? 8 : 0;
    w->db = sim_host_new(w->sim, "db1");
    w->source = source_sim_new(w->db, &o);
    w->history = source_sim_history(w->source);
    source_sim_witness(w->source, cluster_check_ack, w);
    source_sim_floor(w->source, seen_by_replicas, w);
    sim_note(w->sim, "seed=%" PRIu64 " nodes=%u flavour=%s clients=%u rotate=%u large=%u", w->seed, w->n_nodes, flavour_name(flavour), o.clients,
             o.rotate, o.large);
}

static void saw_write(void *arg, struct sim_host *host, const char *path, const void *data, size_t n, uint64_t at, uint64_t durable)
{
    struct world *w = arg;
    ledger_write(w->ledger, host, path, data, n, at, durable);
    cluster_check_write(w, host, path, data, n, at);
}

static void make_nodes(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        char name[16];
        snprintf(name, sizeof name, "node%u", i + 1);
        w->node_hosts[i] = sim_host_new(w->sim, name);
        make_data_dir(w->node_hosts[i]);
        snprintf(w->target_texts[i], sizeof w->target_texts[i], "%s:3307", name);
        w->targets[i] = w->target_texts[i];
    }
    uint64_t snapshot_bytes = rng_chance(w->rng, 50) ? rng_between(w->rng, 64, 1024) << 10 : 0;
    uint64_t keep_bytes = w->seed / 2 % 4 ? snapshot_bytes / 4 : 0; /* who was away for a moment fetches files */
    for (unsigned i = 0; i < w->n_nodes; i++) {
        w->nodes[i] = (struct world_node){.world = w, .number = i, .id = i + 1, .host = w->node_hosts[i]};
        configure(w, &w->nodes[i]);
        w->nodes[i].config.snapshot_bytes = snapshot_bytes;
        w->nodes[i].config.keep_bytes = keep_bytes;
    }
    w->ledger = ledger_new(w->sim, w->node_hosts, w->n_nodes, w->history);
    sim_see_writes(w->sim, saw_write, w);
}

static void make_replicas(struct world *w)
{
    for (unsigned i = 0; i < w->n_replicas; i++) {
        char name[16];
        struct replica_sim_options o = {.flavour = w->history->flavour,
                                        .server_id = 500 + i,
                                        .targets = w->targets,
                                        .n_targets = w->n_nodes,
                                        .user = "replica",
                                        .password = "secret of the nodes",
                                        .slow = (unsigned)rng_below(w->rng, 4),
                                        .by_position = rng_chance(w->rng, 20),
                                        .semi_sync = rng_chance(w->rng, 30),
                                        .ceiling = durable_by_majority,
                                        .ceiling_arg = w,
                                        .oldest = purges(w) ? world_oldest : NULL,
                                        .oldest_arg = w,
                                        .forced = true}; /* nodes that die forget who was here */
        snprintf(name, sizeof name, "app%u", i + 1);
        w->apps[i] = sim_host_new(w->sim, name);
        w->replicas[i] = replica_sim_new(w->apps[i], w->history, &o);
    }
}

void world_make(struct world *w, uint64_t seed, const struct world_options *options)
{
    *w = (struct world){.seed = seed, .sim = sim_new(seed), .fate = options->fate};
    w->rng = sim_rng(w->sim);
    w->members = options->members;
    w->memory = options->memory;
    w->old = options->old;
    w->n_nodes = w->members ? WORLD_NODES : options->nodes ? options->nodes : rng_chance(w->rng, 70) ? 3 : 5;
    w->n_first = w->old ? 3 : w->members ? (unsigned)rng_between(w->rng, 1, 3) : w->n_nodes; /* 3: one may be replaced at once */
    w->next_id = w->n_nodes;
    w->n_replicas = (unsigned)rng_between(w->rng, 2, WORLD_REPLICAS);
    if (options->verbose) {
        sim_verbose(w->sim, stdout);
        sim_log_level(w->sim, ENV_DEBUG);
    }
    sim_catch_abort(w->sim);
    make_source(w, options);
    make_nodes(w);
    make_replicas(w);
    w->tool = sim_host_new(w->sim, "tool1");
    w->admin = admin_sim_new(w->tool, SOCKET, statements);
    admin_sim_roam(w->admin, w->node_hosts, w->n_nodes);
    if (purges(w)) {
        rng_init(&w->purge_rng, seed, 31);
        w->janitor_host = sim_host_new(w->sim, "janitor1");
        w->janitor = admin_sim_new(w->janitor_host, SOCKET, rng_chance(&w->purge_rng, 50) ? purge_statements : forced_statements);
        admin_sim_roam(w->janitor, w->node_hosts, w->n_nodes);
    }
    w->moves[0] = w->move;
    w->tool2 = sim_host_new(w->sim, "tool2");
    w->mover = admin_sim_new(w->tool2, SOCKET, w->moves);
    admin_sim_roam(w->mover, w->node_hosts, w->n_nodes);
    if (w->members) {
        rng_init(&w->member_rng, seed, 37);
        w->orders[0] = w->order;
        w->steward = admin_sim_new(w->tool2, SOCKET, w->orders);
        admin_sim_roam(w->steward, w->node_hosts, w->n_nodes);
        admin_sim_watch(w->steward, cluster_was_told, w);
    }
    admin_sim_watch(w->mover, cluster_check_moved, w);
}

void world_free(struct world *w)
{
    admin_sim_free(w->steward);
    sim_see_writes(w->sim, NULL, NULL);
    ledger_free(w->ledger);
    sim_free(w->sim);
    sim_catch_abort(NULL);
    source_sim_free(w->source);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        mem_free(w->nodes[i].checked);
        gtid_set_free(w->nodes[i].counted);
    }
    for (unsigned i = 0; i < w->n_replicas; i++) {
        replica_sim_free(w->replicas[i]);
    }
    admin_sim_free(w->admin);
    admin_sim_free(w->janitor);
    admin_sim_free(w->mover);
}

struct world_node *world_leader(struct world *w)
{
    struct world_node *leader = NULL;
    for (unsigned i = 0; i < w->n_nodes; i++) {
        struct world_node *node = &w->nodes[i];
        if (node->cluster && cluster_leading(node->cluster) &&
            (!leader || cluster_term(node->cluster) > cluster_term(leader->cluster))) {
            leader = node;
        }
    }
    return leader;
}

/* ---- time ---- */

struct waiting {
    struct world *world;
    bool (*done)(struct world *w);
};

static bool after_event(void *arg)
{
    struct waiting *waiting = arg;
    cluster_check_step(waiting->world);
    return waiting->done && waiting->done(waiting->world);
}

bool world_until(struct world *w, bool (*done)(struct world *w), uint64_t ns)
{
    struct waiting waiting = {w, done};
    return sim_run_until(w->sim, after_event, &waiting, ns);
}

void world_run(struct world *w, uint64_t ns)
{
    uint64_t end = sim_now(w->sim) + ns;
    world_until(w, NULL, ns);
    sim_run(w->sim, end - sim_now(w->sim));
}
