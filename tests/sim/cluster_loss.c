/* cluster_loss.c: the cluster's sources die for good, one after the other; what was acknowledged must not.
 *
 * Happy path of a run: clients commit, misfortune strikes the nodes, and at some moment the source loses its power for good, with commits that
 * the cluster has not got (its errant tail). A replica of it is promoted: one that lacks something that the cluster holds, one that has just
 * that, or one that has a part of the tail too. One that lacks something is not followed, is asked for nothing, and gets no
 * acknowledgement; then it is brought what it lacks, by a node. It is followed, clients commit on it, nodes die and connections end. Then the
 * old source returns: as the cluster's source it is refused, as a replica too when it has what nobody else has. Maybe the next one
 * dies the same way.
 *
 * All along the log is as in cluster_check.c: what is committed is on a majority of disks. A new leader has every transaction that was acknowledged by any of them, or given to a replica; replicas (by GTID) get each
 * transaction once, in order, over all eras. In the end the GTID state of every node is that of the last source, and its files equal
 * those of the sources that they came from. Failure: as in cluster.c. */
#include "tests/sim/cluster_world.h"
#include "tests/sim/env_sim.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SOURCES = 3, CROSSING = 2, TEXT = 120, WALL_SECONDS = 1790000000, LEADER_S = 30, SETTLE_S = 200, STALL_S = 300, IN_USE_OFFSET = EVENT_MAGIC_SIZE + 17 };

/* Whose transactions a replica expects. */
struct expectation {
    struct history *history;
    size_t most; /* 0: all of them */
};

struct loss {
    struct world w;
    struct sim_host *hosts[SOURCES]; /* from the second on */
    struct source_sim *sources[SOURCES];
    size_t common[SOURCES]; /* so many transactions did it have when it was promoted */
    size_t now;             /* the one that is followed */
    struct expectation expect, heirs;
    struct expectation old[SOURCES];
    struct replica_sim *crossing[CROSSING], *heir, *early, *returned[SOURCES];
    struct sim_host *heir_host, *early_host, *returned_hosts[SOURCES], *tool;
    struct admin_sim *admin;
    char change[TEXT];
    const char *statements[4];
    struct gtid_set *promised; /* acknowledged to clients */
    size_t acked;              /* of the source that is followed, in it */
    unsigned refused, lacked, ahead, tails, errants, earlies;
};

/* ---- what must hold after each event ---- */

static struct source_sim *source_now(const struct loss *l)
{
    return l->sources[l->now];
}

static bool expects(void *arg, size_t n, struct gtid *gtid)
{
    const struct expectation *e = arg;
    if (n >= e->history->n_txns || (e->most && n >= e->most)) {
        return false;
    }
    *gtid = e->history->txns[n].gtid;
    return true;
}

static void note_promises(struct loss *l)
{
    const struct history *h = source_sim_history(source_now(l));
    for (; l->acked < source_sim_acked(source_now(l)); l->acked++) {
        int rv = gtid_set_add(l->promised, &h->txns[l->acked].gtid);
        CHECK(rv == 0);
    }
}

static void check_leader(struct loss *l, struct world_node *node)
{
    const struct gtid_set *held = cluster_state(node->cluster)->executed;
    if (!held ? !gtid_set_is_empty(l->promised) : !gtid_set_subset(l->promised, held)) {
        sim_fail(l->w.sim, "lost: %s leads in term %" PRIu64 " without transactions that were acknowledged", sim_host_name(node->host),
                 cluster_term(node->cluster));
    }
    for (size_t i = 0; i < CROSSING; i++) {
        size_t n = replica_sim_seen(l->crossing[i]);
        struct gtid gtid;
        if (n > 0 && expects(&l->expect, n - 1, &gtid) && !(held && gtid_set_contains(held, &gtid))) {
            sim_fail(l->w.sim, "lost: a replica has seen %zu transactions, %s leads without the last one", n, sim_host_name(node->host));
        }
    }
}

static void check_step(struct loss *l)
{
    note_promises(l);
    for (unsigned i = 0; i < l->w.n_nodes; i++) {
        struct world_node *node = &l->w.nodes[i];
        bool leads = cluster_check_raft(&l->w, node) && cluster_leading(node->cluster);
        if (leads && !node->led) {
            l->w.elections++;
            check_leader(l, node);
        }
        node->led = leads;
    }
}

struct waiting {
    struct loss *l;
    bool (*done)(struct loss *l);
};

static bool after_event(void *arg)
{
    struct waiting *waiting = arg;
    check_step(waiting->l);
    return waiting->done && waiting->done(waiting->l);
}

static bool until(struct loss *l, bool (*done)(struct loss *l), uint64_t ns)
{
    struct waiting waiting = {l, done};
    return sim_run_until(l->w.sim, after_event, &waiting, ns);
}

static void pass(struct loss *l, uint64_t ns)
{
    uint64_t end = sim_now(l->w.sim) + ns;
    until(l, NULL, ns);
    if (sim_now(l->w.sim) < end) {
        sim_run(l->w.sim, end - sim_now(l->w.sim));
    }
}

static bool has_leader(struct loss *l)
{
    return world_leader(&l->w) != NULL;
}

static void need_leader(struct loss *l)
{
    if (!until(l, has_leader, LEADER_S * ENV_S)) {
        sim_fail(l->w.sim, "nobody leads %d s after all was healed", LEADER_S);
    }
}

/* ---- misfortune of the nodes ---- */

static void strike(struct loss *l)
{
    struct world *w = &l->w;
    size_t i = cluster_any_node(w), k = (size_t)rng_below(w->rng, w->n_nodes);
    switch (rng_below(w->rng, 4)) {
    case 0:
        sim_reset(w->sim, w->node_hosts[i], l->now ? l->hosts[l->now] : w->db);
        break;
    case 1:
        if (i != k) {
            sim_cut(w->sim, w->node_hosts[i], w->node_hosts[k]);
            sim_cut(w->sim, w->node_hosts[k], w->node_hosts[i]);
        }
        w->cuts++;
        pass(l, rng_between(w->rng, ENV_MS, 3 * ENV_S));
        sim_heal_all(w->sim);
        w->connected_at = sim_now(w->sim);
        break;
    default:
        w->node_crashes++;
        sim_crash(w->node_hosts[i], cluster_any_crash(w));
        pass(l, rng_between(w->rng, ENV_MS, rng_chance(w->rng, 30) ? 4 * ENV_S : 300 * ENV_MS));
        cluster_start_again(w, i);
    }
}

static void strike_sometimes(struct loss *l, unsigned most)
{
    for (uint64_t n = rng_below(l->w.rng, most + 1); n > 0; n--) {
        pass(l, rng_between(l->w.rng, 1, rng_chance(l->w.rng, 30) ? ENV_S : 100 * ENV_MS));
        strike(l);
    }
}

static void heal(struct loss *l)
{
    sim_heal_all(l->w.sim);
    for (unsigned i = 0; i < l->w.n_nodes; i++) {
        cluster_start_again(&l->w, i);
    }
    need_leader(l);
}

/* ---- the operator ---- */

static bool operator_done(struct loss *l)
{
    return admin_sim_done(l->admin);
}

static void point_at(struct loss *l, const char *host)
{
    snprintf(l->change, sizeof l->change, "CHANGE REPLICATION SOURCE TO SOURCE_HOST='%s'", host);
    sim_crash(l->tool, SIM_KILL);
    pass(l, ENV_MS);
    admin_sim_again(l->admin);
    admin_sim_start(l->admin);
    if (!until(l, operator_done, 60 * ENV_S)) {
        sim_fail(l->w.sim, "the operator cannot point the cluster at %s", host);
    }
}

static bool set_up_done(struct loss *l)
{
    return admin_sim_done(l->w.admin);
}

static struct replica_sim *crossing_new(struct loss *l, struct sim_host *host, uint32_t id, struct expectation *expect, bool refused)
{
    struct replica_sim_options o = {.flavour = l->w.history->flavour,
                                    .server_id = id,
                                    .targets = l->w.targets,
                                    .n_targets = l->w.n_nodes,
                                    .user = "replica",
                                    .password = "secret of the nodes",
                                    .expects = expects,
                                    .expects_arg = expect,
                                    .tolerate_1236 = refused};
    return replica_sim_new(host, l->w.history, &o);
}

static void make(struct loss *l, uint64_t seed, const struct world_options *options)
{
    struct world *w = &l->w;
    world_make(w, seed, options);
    source_sim_witness(w->source, cluster_check_ack, w);
    source_sim_floor(w->source, NULL, NULL);
    l->sources[0] = w->source;
    l->expect.history = w->history;
    l->promised = gtid_set_new(w->history->flavour);
    for (unsigned i = 0; i < CROSSING; i++) {
        char name[16];
        snprintf(name, sizeof name, "cross%u", i + 1);
        l->crossing[i] = crossing_new(l, sim_host_new(w->sim, name), 700 + i, &l->expect, false);
    }
    l->heir_host = sim_host_new(w->sim, "heir1");
    l->heir = crossing_new(l, l->heir_host, 800, &l->heirs, false);
    l->early_host = sim_host_new(w->sim, "early1");
    l->early = crossing_new(l, l->early_host, 801, &l->expect, false);
    l->tool = sim_host_new(w->sim, "tool3");
    l->statements[0] = "STOP REPLICA";
    l->statements[1] = l->change;
    l->statements[2] = "START REPLICA";
    l->admin = admin_sim_new(l->tool, "/run/holdfast.sock", l->statements);
    admin_sim_roam(l->admin, w->node_hosts, w->n_nodes);
}

static bool some_acked(struct loss *l)
{
    return source_sim_acked(l->w.source) >= 10;
}

static void set_up(struct loss *l)
{
    struct world *w = &l->w;
    source_sim_start(w->source);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        world_node_start(w, i);
    }
    admin_sim_start(w->admin);
    if (!until(l, set_up_done, 60 * ENV_S)) {
        sim_fail(w->sim, "the operator did not get his statements through");
    }
    for (unsigned i = 0; i < CROSSING; i++) {
        replica_sim_start(l->crossing[i]);
    }
    source_sim_load(w->source, (size_t)rng_between(w->rng, 30, 400));
    if (!until(l, some_acked, 60 * ENV_S)) {
        sim_fail(w->sim, "nothing is acknowledged");
    }
}

/* ---- a source dies, a replica of it is promoted ---- */

/* Transactions [from, n) of the old source, with its GTIDs. */
static void replicate(struct loss *l, struct history *to, const struct history *from, size_t first, size_t n)
{
    uint8_t uuid[16];
    uint32_t server_id = to->server_id;
    uint64_t gno = to->next_gno, wall = (uint64_t)WALL_SECONDS * 1000000;
    memcpy(uuid, to->uuid, sizeof uuid);
    if (!to->n_files) {
        history_begin_file(to, wall, true);
    }
    for (size_t i = first; i < n; i++) {
        const struct gtid *g = &from->txns[i].gtid;
        memcpy(to->uuid, g->uuid, sizeof to->uuid);
        to->server_id = to->flavour == FLAVOUR_MARIADB ? g->server : server_id;
        to->next_gno = g->gno;
        (void)history_txn(to, HISTORY_ROWS, (size_t)rng_between(l->w.rng, 1, 300), wall, true);
        if (rng_chance(l->w.rng, 2)) {
            history_begin_file(to, wall, false);
        }
    }
    memcpy(to->uuid, uuid, sizeof uuid);
    to->server_id = server_id;
    to->next_gno = to->flavour == FLAVOUR_MYSQL ? gno : to->txns[to->n_txns - 1].gtid.gno + 1; /* MariaDB's numbers count on */
}

/* How many of the source's transactions the cluster holds. */
static size_t held_of(struct loss *l, const struct history *h)
{
    struct world_node *leader = world_leader(&l->w);
    const struct gtid_set *held = leader ? cluster_state(leader->cluster)->executed : NULL;
    size_t n = 0;
    while (held && n < h->n_txns && gtid_set_contains(held, &h->txns[n].gtid)) {
        n++;
    }
    return n;
}

/* Part, all, or more of what the cluster holds. */
static size_t choose_part(struct loss *l, size_t held, size_t all)
{
    struct rng *rng = l->w.rng;
    if (all > held && rng_chance(rng, 30)) {
        l->ahead++;
        return (size_t)rng_between(rng, held + 1, all);
    }
    return rng_chance(rng, 60) ? (size_t)rng_between(rng, 1, held) : held;
}

static void make_next(struct loss *l, size_t part)
{
    struct world *w = &l->w;
    char name[16];
    const struct history *old = source_sim_history(source_now(l));
    struct source_sim_options o = source_sim_defaults(old->flavour);
    size_t next = l->now + 1;
    o.server_id += (uint32_t)next;
    o.clients = (unsigned)rng_between(w->rng, 1, 6);
    o.rotate = (unsigned)rng_below(w->rng, 6);
    o.large = rng_chance(w->rng, 20) ? 8 : 0;
    snprintf(name, sizeof name, "db%zu", next + 1);
    l->hosts[next] = sim_host_new(w->sim, name);
    l->sources[next] = source_sim_new(l->hosts[next], &o);
    replicate(l, source_sim_history(l->sources[next]), old, 0, part);
    source_sim_start(l->sources[next]);
}

static bool heir_has_all(struct loss *l)
{
    return replica_sim_received(l->heir) >= l->heirs.most;
}

/* A node gives it what it lacks. */
static void compensate(struct loss *l, size_t part, size_t held)
{
    struct source_sim *next = l->sources[l->now + 1];
    const struct history *old = source_sim_history(source_now(l));
    sim_crash(l->hosts[l->now + 1], SIM_KILL);
    l->heirs = (struct expectation){.history = source_sim_history(source_now(l)), .most = held};
    replica_sim_has(l->heir, part);
    replica_sim_start(l->heir);
    if (!until(l, heir_has_all, SETTLE_S * ENV_S)) {
        sim_fail(l->w.sim, "a node brings a replica %zu of %zu transactions", replica_sim_received(l->heir), held);
    }
    sim_crash(l->heir_host, SIM_KILL);
    pass(l, ENV_MS);
    replicate(l, source_sim_history(next), old, part, held);
    source_sim_start(next);
}

/* What lacks something is asked for nothing. */
static void refuses(struct loss *l, struct source_sim *source, uint64_t dumps, uint64_t acks, const char *who)
{
    strike_sometimes(l, 1);
    heal(l);
    pass(l, 10 * ENV_S);
    if (source_sim_dumps(source) != dumps || source_sim_acks(source) != acks) {
        sim_fail(l->w.sim, "%s lacks something that the cluster holds, and was asked for %" PRIu64 " dumps, and sent %" PRIu64 " acknowledgements", who,
                 source_sim_dumps(source) - dumps, source_sim_acks(source) - acks);
    }
    l->refused++;
}

static bool all_acked(struct loss *l)
{
    return source_sim_idle(source_now(l)) && source_sim_acked(source_now(l)) == source_sim_history(source_now(l))->n_txns;
}

static bool is_followed(struct loss *l)
{
    return source_sim_acked(source_now(l)) > l->common[l->now];
}

static bool early_is_level(struct loss *l)
{
    return replica_sim_received(l->early) >= source_sim_history(source_now(l))->n_txns;
}

/* A replica has read the source itself, before the nodes, whose disks are slow, have acknowledged; then it goes to a node. It waits there. */
static void reads_ahead(struct loss *l)
{
    struct world *w = &l->w;
    unsigned slow = (unsigned)rng_between(w->rng, 50, 1000);
    source_sim_load(source_now(l), source_sim_history(source_now(l))->n_txns + 200);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        sim_slow_disk(w->node_hosts[i], slow);
    }
    pass(l, rng_between(w->rng, 100 * ENV_MS, ENV_S));
    replica_sim_has(l->early, source_sim_history(source_now(l))->n_txns);
    replica_sim_start(l->early);
    pass(l, rng_between(w->rng, ENV_S, 6 * ENV_S));
    for (unsigned i = 0; i < w->n_nodes; i++) {
        sim_slow_disk(w->node_hosts[i], 1);
    }
    heal(l);
    if (!until(l, early_is_level, SETTLE_S * ENV_S)) {
        sim_fail(w->sim, "a replica that was ahead has %zu of %zu transactions", replica_sim_received(l->early), source_sim_history(source_now(l))->n_txns);
    }
    sim_crash(l->early_host, SIM_KILL);
    l->earlies++;
}

static bool all_is_committed(struct loss *l)
{
    struct world_node *leader = world_leader(&l->w);
    return leader && raft_last_index(&leader->cluster->raft) == leader->cluster->raft.commit_index;
}

/* Its end comes while clients commit; often when it has not reached the cluster any more for a moment. */
static void last_commits(struct loss *l)
{
    struct world *w = &l->w;
    struct sim_host *host = l->now ? l->hosts[l->now] : w->db;
    source_sim_load(source_now(l), source_sim_history(source_now(l))->n_txns + 500);
    pass(l, rng_between(w->rng, 1, 300 * ENV_MS));
    bool cut = rng_chance(w->rng, 60);
    for (unsigned i = 0; cut && i < w->n_nodes; i++) {
        sim_cut(w->sim, host, w->node_hosts[i]);
    }
    pass(l, rng_between(w->rng, 1, 300 * ENV_MS));
}

static void fail_over(struct loss *l)
{
    struct world *w = &l->w;
    char name[16];
    const struct history *old = source_sim_history(source_now(l));
    if (!until(l, is_followed, SETTLE_S * ENV_S)) {
        sim_fail(w->sim, "source %zu is not followed", l->now + 1);
    }
    last_commits(l);
    sim_crash(l->now ? l->hosts[l->now] : w->db, SIM_POWER);
    strike_sometimes(l, 2);
    heal(l);
    pass(l, 2 * ENV_S); /* what is still on its way arrives or does not */
    if (!until(l, all_is_committed, STALL_S * ENV_S)) { /* a call that was begun on a slow disk takes its time */
        sim_fail(w->sim, "the leader has entries that are not committed %d s after all was healed", STALL_S);
    }
    size_t held = held_of(l, old), part = choose_part(l, held, old->n_txns);
    sim_note(w->sim, "loss: source %zu died with %zu transactions, %zu acknowledged, %zu held; one with %zu is promoted", l->now + 1, old->n_txns,
             source_sim_acked(source_now(l)), held, part);
    make_next(l, part);
    snprintf(name, sizeof name, "db%zu", l->now + 2);
    point_at(l, name);
    if (part < held) {
        l->lacked++;
        refuses(l, l->sources[l->now + 1], 0, 0, "the promoted server");
        compensate(l, part, held);
        part = held;
    }
    l->tails += old->n_txns > part;
    note_promises(l);
    l->now++;
    l->acked = 0;
    l->common[l->now] = part;
    l->expect.history = source_sim_history(source_now(l));
    source_sim_load(source_now(l), l->expect.history->n_txns + (size_t)rng_between(w->rng, 10, 150));
    strike_sometimes(l, 4);
    heal(l);
}

/* ---- the old one returns ---- */

static bool old_was_refused(struct loss *l)
{
    return replica_sim_refusals(l->returned[l->now - 1]) > 0;
}

static bool old_caught_up(struct loss *l)
{
    return replica_sim_received(l->returned[l->now - 1]) >= source_sim_history(source_now(l))->n_txns;
}

/* As a replica. Refused until it is made anew, or served like any other. */
static void returns_as_replica(struct loss *l, size_t i)
{
    const struct history *h = source_sim_history(l->sources[i]);
    bool errant = h->n_txns > l->common[l->now];
    char name[16];
    snprintf(name, sizeof name, "old%zu", i + 1);
    l->returned_hosts[i] = sim_host_new(l->w.sim, name);
    l->old[i] = (struct expectation){.history = errant ? source_sim_history(l->sources[i]) : l->expect.history, .most = errant ? h->n_txns : 0};
    l->returned[i] = crossing_new(l, l->returned_hosts[i], 900 + (uint32_t)i, &l->old[i], errant);
    replica_sim_has(l->returned[i], h->n_txns);
    replica_sim_start(l->returned[i]);
    if (errant && !until(l, old_was_refused, SETTLE_S * ENV_S)) {
        sim_fail(l->w.sim, "an old source with %zu transactions that nobody else has is not refused as a replica", h->n_txns - l->common[l->now]);
    }
    if (!errant && !until(l, old_caught_up, SETTLE_S * ENV_S)) {
        sim_fail(l->w.sim, "an old source without transactions of its own got %zu of %zu transactions", replica_sim_received(l->returned[i]),
                 source_sim_history(source_now(l))->n_txns);
    }
    l->errants += errant;
    sim_crash(l->returned_hosts[i], SIM_KILL);
}

static void returns(struct loss *l)
{
    size_t i = l->now - 1;
    char name[16];
    if (rng_chance(l->w.rng, 50)) {
        uint64_t dumps = source_sim_dumps(l->sources[i]), acks = source_sim_acks(l->sources[i]);
        source_sim_load(l->sources[i], 0);
        source_sim_start(l->sources[i]);
        snprintf(name, sizeof name, "db%zu", i + 1);
        point_at(l, name);
        refuses(l, l->sources[i], dumps, acks, "the old source");
        snprintf(name, sizeof name, "db%zu", l->now + 1);
        point_at(l, name);
        sim_crash(i ? l->hosts[i] : l->w.db, SIM_POWER);
    }
    returns_as_replica(l, i);
}

/* ---- the end ---- */

static bool all_received(struct loss *l)
{
    for (unsigned i = 0; i < CROSSING; i++) {
        if (replica_sim_received(l->crossing[i]) < source_sim_history(source_now(l))->n_txns) {
            return false;
        }
    }
    return all_acked(l);
}

static bool same_states(struct loss *l)
{
    for (unsigned i = 0; i < l->w.n_nodes; i++) {
        const struct cluster *c = l->w.nodes[i].cluster;
        const struct gtid_set *held = c ? cluster_state(c)->executed : NULL;
        if (!held || !gtid_set_equal(held, source_sim_history(source_now(l))->executed)) {
            return false;
        }
    }
    return true;
}

static void settle(struct loss *l)
{
    const struct history *h = source_sim_history(source_now(l));
    heal(l);
    if (!until(l, all_received, SETTLE_S * ENV_S)) {
        sim_fail(l->w.sim, "%d s after the last misfortune: source %zu has %zu transactions, %zu acknowledged, received by the replicas: %zu %zu", SETTLE_S,
                 l->now + 1, h->n_txns, source_sim_acked(source_now(l)), replica_sim_received(l->crossing[0]), replica_sim_received(l->crossing[1]));
    }
    if (!until(l, same_states, SETTLE_S * ENV_S)) {
        sim_fail(l->w.sim, "a node's GTID state is not that of source %zu", l->now + 1);
    }
}

/* A part of the source's file, or (whole) all of it. `there`: whether the node has it. */
static int compare_file(struct loss *l, size_t node, size_t era, const struct history_file *truth, bool whole, bool *there, struct errmsg *em)
{
    char path[128];
    struct buf mine;
    uint64_t size = 0;
    size_t n = truth->bytes.len;
    buf_init(&mine, (size_t)1 << 32);
    snprintf(path, sizeof path, "/data/binlog/%zu/%s", era + 1, truth->name);
    *there = sim_host_read_part(l->w.node_hosts[node], path, 0, false, &mine, &size) == 0;
    int rv = 0;
    if (*there && (mine.len > n || (whole && mine.len < n))) {
        rv = err_set(em, E_CORRUPT, "%s has %zu bytes, the source's %zu", path, mine.len, n);
    }
    for (size_t k = 0; !rv && *there && k < mine.len; k++) {
        uint8_t truly = k == IN_USE_OFFSET ? truth->bytes.data[k] & 0xfe : truth->bytes.data[k];
        if (mine.data[k] != truly) {
            rv = err_set(em, E_CORRUPT, "%s differs from the source's file at %zu", path, k);
        }
    }
    buf_free(&mine);
    return rv;
}

/* Of an era the files from the first one on that the node has; of the newest one all there are. */
static int compare_files(struct loss *l, size_t node, struct errmsg *em)
{
    int rv = 0;
    for (size_t era = 0; !rv && era <= l->now; era++) {
        const struct history *h = source_sim_history(l->sources[era]);
        bool begun = false, last = era == l->now;
        for (size_t i = 0; !rv && i < h->n_files; i++) {
            bool there;
            rv = compare_file(l, node, era, h->files[i], last && begun, &there, em);
            if (!rv && begun && last && !there) {
                rv = err_set(em, E_NOTFOUND, "%s of era %zu is not there", h->files[i]->name, era + 1);
            }
            begun = begun || there;
        }
        rv = rv || begun ? rv : err_set(em, E_NOTFOUND, "there is no file of era %zu", era + 1);
    }
    return rv;
}

static void check_files(struct loss *l, size_t node)
{
    struct errmsg em = {""};
    int rv = compare_files(l, node, &em);
    for (unsigned s = 0; rv && s < STALL_S; s++) { /* it may still write what it holds */
        pass(l, ENV_S);
        rv = compare_files(l, node, &em);
    }
    if (rv) {
        sim_fail(l->w.sim, "the files of node%zu: %s", node + 1, em.text);
    }
}

static void release(struct loss *l)
{
    world_free(&l->w);
    for (size_t i = 1; i <= l->now; i++) {
        source_sim_free(l->sources[i]);
    }
    for (size_t i = 0; i < SOURCES; i++) {
        replica_sim_free(l->returned[i]);
    }
    for (unsigned i = 0; i < CROSSING; i++) {
        replica_sim_free(l->crossing[i]);
    }
    replica_sim_free(l->heir);
    replica_sim_free(l->early);
    admin_sim_free(l->admin);
    gtid_set_free(l->promised);
}

void cluster_loss_run(uint64_t seed, const struct world_options *options)
{
    struct loss l = {.now = 0};
    make(&l, seed, options);
    set_up(&l);
    strike_sometimes(&l, 3);
    pass(&l, rng_between(l.w.rng, 1, 500 * ENV_MS));
    heal(&l);
    if (rng_chance(l.w.rng, 30)) {
        reads_ahead(&l);
    }
    for (uint64_t n = rng_chance(l.w.rng, 30) ? SOURCES - 1 : 1; n > 0; n--) {
        fail_over(&l);
        if (rng_chance(l.w.rng, 50) || n == 1) {
            settle(&l);
            returns(&l);
        }
    }
    settle(&l);
    pass(&l, 3 * ENV_S);
    for (size_t i = 0; i < l.w.n_nodes; i++) {
        check_files(&l, i);
    }
    printf("ok seed=%" PRIu64 " nodes=%u flavour=%s sources=%zu transactions=%zu lacked=%u ahead=%u tails=%u errants=%u earlies=%u refused=%u elections=%u node_crashes=%u "
           "cuts=%u virtual_s=%" PRIu64 " events=%" PRIu64 " hash=%016" PRIx64 "\n",
           seed, l.w.n_nodes, flavour_name(l.w.history->flavour), l.now + 1, source_sim_history(source_now(&l))->n_txns, l.lacked, l.ahead, l.tails, l.errants,
           l.earlies, l.refused, l.w.elections, l.w.node_crashes, l.w.cuts, (uint64_t)(sim_now(l.w.sim) / ENV_S), sim_events(l.w.sim), sim_hash(l.w.sim));
    fflush(stdout);
    release(&l);
}
