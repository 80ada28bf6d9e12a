/* cluster_fate.c: what may happen to a cluster, one misfortune at a time, and how it ends.
 *
 * Crashes of a node, of the leader, of several and of all, by loss of power or of the process; of the source and the replicas; partitions
 * of each kind, also one way; connections that are reset; slow disks and networks; wall clocks that jump; leads that are moved. Disks that
 * fail are in cluster_disk.c. (Nothing is delivered twice: members speak over streams, and what is said again after a new
 * connection is said by libraft.) */
#include "tests/sim/cluster_world.h"

#include "raft/io_impl.h"
#include "tests/sim/env_sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Without the hastened elections it takes 1000 to 2000 ms after a leader was heard last, and more when one attempt is not enough. */
enum { ROLE_TRIES = 4, ROLE_S = 30, DEAD_MS = 600, SILENT_MS = 2400 /* what was on its way in a slow network still arrives */ };
enum { FATES = 24, SWITCHOVER_SECONDS = 3, SWITCHOVER_TRIES = 5 };

enum sim_crash cluster_any_crash(struct world *w)
{
    return rng_chance(w->rng, 60) ? SIM_POWER : SIM_KILL;
}

static uint64_t any_pause(struct world *w)
{
    return rng_between(w->rng, ENV_MS, rng_chance(w->rng, 25) ? 5 * ENV_S : 300 * ENV_MS);
}

/* The leader twice as often as chance has it. */
size_t cluster_any_node(struct world *w)
{
    struct world_node *leader = world_leader(w);
    return leader && rng_chance(w->rng, 50) ? leader->number : (size_t)rng_below(w->rng, w->n_nodes);
}

static struct sim_host *any_host(struct world *w)
{
    uint64_t n = rng_below(w->rng, 10);
    return n == 0 ? w->db : n <= 2 ? w->apps[rng_below(w->rng, w->n_replicas)] : w->node_hosts[cluster_any_node(w)];
}

void cluster_start_again(struct world *w, size_t i)
{
    if (!sim_host_process(w->node_hosts[i]) && !w->nodes[i].old && !cluster_remembers(w, i)) {
        world_node_start(w, i);
    }
}

/* ---- crashes ---- */

static void crash_node(struct world *w, size_t i)
{
    struct sim_host *host = w->node_hosts[i];
    enum sim_crash kind = cluster_any_crash(w);
    w->node_crashes++;
    if (rng_chance(w->rng, 15)) {
        sim_stop(host); /* in order */
        world_run(w, rng_between(w->rng, ENV_MS, 3 * ENV_S));
    } else if (rng_chance(w->rng, 50)) {
        sim_crash_after(host, rng_between(w->rng, 1, 60), kind);
        world_run(w, rng_between(w->rng, 10 * ENV_MS, ENV_S));
        sim_crash_after(host, 0, kind);
    }
    sim_crash(host, kind);
}

static void one_node(struct world *w)
{
    size_t i = cluster_any_node(w);
    crash_node(w, i);
    world_run(w, any_pause(w));
    cluster_start_again(w, i);
    if (rng_chance(w->rng, 30)) { /* and once more, while it starts */
        w->node_crashes++;
        sim_crash_after(w->node_hosts[i], rng_between(w->rng, 1, 40), cluster_any_crash(w));
        world_run(w, ENV_S);
        sim_crash_after(w->node_hosts[i], 0, SIM_KILL);
        cluster_start_again(w, i);
    }
}

static void several_nodes(struct world *w, bool all)
{
    bool at_once = rng_chance(w->rng, 50);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (all || rng_chance(w->rng, 60)) {
            w->node_crashes++;
            sim_crash(w->node_hosts[i], cluster_any_crash(w));
            if (!at_once) {
                world_run(w, rng_between(w->rng, 1, 300 * ENV_MS));
            }
        }
    }
    world_run(w, any_pause(w));
    unsigned first = (unsigned)rng_below(w->rng, w->n_nodes);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        cluster_start_again(w, (first + i) % w->n_nodes);
        if (rng_chance(w->rng, 50)) {
            world_run(w, rng_between(w->rng, 1, 2 * ENV_S));
        }
    }
}

static void source_or_replica(struct world *w)
{
    unsigned n = (unsigned)rng_below(w->rng, w->n_replicas + 2);
    struct sim_host *host = n < w->n_replicas ? w->apps[n] : w->db;
    w->source_crashes += host == w->db;
    if (rng_chance(w->rng, 30)) {
        sim_stop(host);
        world_run(w, rng_between(w->rng, ENV_MS, 3 * ENV_S));
    }
    sim_crash(host, cluster_any_crash(w));
    world_run(w, any_pause(w));
    if (host == w->db) {
        source_sim_start(w->source);
        return;
    }
    if (rng_chance(w->rng, 50)) {
        replica_sim_forget(w->replicas[n], (size_t)rng_below(w->rng, 20));
    }
    replica_sim_start(w->replicas[n]);
}

/* ---- the network ---- */

static void cut(struct world *w, struct sim_host *a, struct sim_host *b, bool one_way)
{
    sim_cut(w->sim, a, b);
    if (!one_way) {
        sim_cut(w->sim, b, a);
        w->apart = true;
    }
}

void cluster_split(struct world *w, const bool *side)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        for (unsigned k = 0; k < i; k++) {
            if (side[i] != side[k]) {
                cut(w, w->node_hosts[i], w->node_hosts[k], false);
            }
        }
    }
}

void cluster_heal_network(struct world *w)
{
    sim_heal_all(w->sim);
    w->connected_at = w->apart ? sim_now(w->sim) : w->connected_at;
    w->apart = false;
    for (unsigned i = 0; i < w->n_nodes; i++) {
        bool side[WORLD_NODES] = {false};
        side[i] = w->nodes[i].away;
        cluster_split(w, side);
    }
}

/* One node cannot speak, or hear, or both, with some or all of the others. */
static void isolate(struct world *w)
{
    size_t i = cluster_any_node(w);
    bool one_way = rng_chance(w->rng, 40), speaks = rng_chance(w->rng, 50);
    unsigned share = rng_chance(w->rng, 60) ? 100 : 50;
    for (unsigned k = 0; k < w->n_nodes; k++) {
        if (k != i && rng_chance(w->rng, share)) {
            cut(w, w->node_hosts[speaks ? k : i], w->node_hosts[speaks ? i : k], one_way);
        }
    }
    if (rng_chance(w->rng, 30)) {
        cut(w, w->node_hosts[i], w->db, one_way);
    }
    for (unsigned k = 0; k < w->n_replicas; k++) {
        if (rng_chance(w->rng, 30)) {
            cut(w, w->node_hosts[i], w->apps[k], one_way);
        }
    }
}

static void split(struct world *w)
{
    bool side[WORLD_NODES];
    for (unsigned i = 0; i < w->n_nodes; i++) {
        side[i] = rng_chance(w->rng, 50);
    }
    cluster_split(w, side);
}

static void partition(struct world *w)
{
    w->cuts++;
    switch (rng_below(w->rng, 4)) {
    case 0: split(w); break;
    case 1: cut(w, any_host(w), w->db, rng_chance(w->rng, 40)); break;
    default: isolate(w);
    }
    world_run(w, rng_between(w->rng, ENV_MS, rng_chance(w->rng, 40) ? 8 * ENV_S : 1500 * ENV_MS));
    if (rng_chance(w->rng, 30)) { /* meanwhile */
        size_t i = cluster_any_node(w);
        crash_node(w, i);
        world_run(w, any_pause(w));
        cluster_start_again(w, i);
    }
    cluster_heal_network(w);
}

static void resets(struct world *w)
{
    w->cuts++;
    for (uint64_t n = rng_between(w->rng, 1, 10); n > 0; n--) {
        struct sim_host *a = any_host(w), *b = any_host(w);
        if (a != b) {
            sim_reset(w->sim, a, b);
            w->connected_at = sim_now(w->sim);
        }
        world_run(w, rng_between(w->rng, 1, 50 * ENV_MS));
    }
}

/* ---- slowness ---- */

static void slow(struct world *w)
{
    if (rng_chance(w->rng, 30)) {
        uint64_t most = rng_between(w->rng, 1, 80) * ENV_MS;
        sim_latency(w->sim, 50 * ENV_MS / 1000, most);
        world_run(w, rng_between(w->rng, 10 * ENV_MS, 4 * ENV_S));
        sim_latency(w->sim, 50 * ENV_MS / 1000, 300 * ENV_MS / 1000);
        return;
    }
    size_t i = cluster_any_node(w);
    sim_note(w->sim, "slow disk of node%zu", i + 1);
    sim_slow_disk(w->node_hosts[i], (unsigned)rng_between(w->rng, 2, rng_chance(w->rng, 30) ? 2000 : 50));
    world_run(w, rng_between(w->rng, 10 * ENV_MS, 3 * ENV_S));
    if (rng_chance(w->rng, 50)) { /* what it holds back is lost, or it takes the lead while it does */
        crash_node(w, cluster_any_node(w));
        world_run(w, any_pause(w));
    }
    sim_slow_disk(w->node_hosts[i], 1);
    for (unsigned k = 0; k < w->n_nodes; k++) {
        cluster_start_again(w, k);
    }
}

static void clock_jumps(struct world *w)
{
    sim_host_wall(any_host(w), (int64_t)rng_below(w->rng, 200 * 86400) * 1000000 - (int64_t)100 * 86400 * 1000000);
}

/* ---- histories that certain rules are there for ---- */

static bool all_level(struct world *w)
{
    struct world_node *leader = world_leader(w);
    for (unsigned i = 0; leader && i < w->n_nodes; i++) {
        struct cluster *c = w->nodes[i].cluster;
        if (!c || !sim_host_process(w->node_hosts[i]) || cluster_term(c) != cluster_term(leader->cluster) || c->raft.last_stored + 8 < leader->cluster->raft.last_stored) {
            return false;
        }
    }
    return leader && cluster_voters(leader->cluster) == w->n_nodes;
}

static bool another_leads(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (i != w->deposed && w->nodes[i].cluster && w->nodes[i].cluster->raft.state == RAFT_LEADER) {
            return true;
        }
    }
    return false;
}

/* All follow the leader, all have heard of each other just now (a connection to a process that is long gone may still be up), and no write is
 * still under way on a disk that was slow when it began. */
static bool all_well(struct world *w)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    if (w->members) { /* some are none */
        return false;
    }
    for (unsigned i = 0; i < w->n_nodes; i++) {
        struct cluster *c = w->nodes[i].cluster;
        if (!c || rio_writing(c->rio)) {
            return false;
        }
        size_t n = cluster_infos(c, infos, CLUSTER_MEMBERS_MAX);
        for (size_t k = 0; k < n; k++) {
            if (!infos[k].up || (!infos[k].self && (!infos[k].reported || infos[k].age > 1100 * ENV_MS))) {
                return false;
            }
        }
    }
    return all_level(w);
}

/* All was well when the leader was lost: how long was there none? */
static void check_pause(struct world *w, bool well, uint64_t since, unsigned most_ms, const char *how)
{
    uint64_t pause = sim_now(w->sim) - since;
    if (well && pause > most_ms * ENV_MS) {
        sim_fail(w->sim, "node%zu led and %s: for %" PRIu64 " ms nobody else led, %u are allowed", w->deposed + 1, how, (uint64_t)(pause / ENV_MS), most_ms);
    }
}

/* The leader hears nobody for about as long as it takes to be replaced, goes on writing what nobody else gets, and is back, its
 * connections whole, when the others elect; or right after they have elected, when it is the only one whose disk is quick. */
static void leader_loses_touch(struct world *w)
{
    struct world_node *leader = world_leader(w);
    bool to_the_moment = rng_chance(w->rng, 60), silent = all_well(w);
    w->cuts++;
    for (unsigned i = 0; leader && i < w->n_nodes; i++) {
        if (i != leader->number) {
            bool one_way = rng_chance(w->rng, 20);
            cut(w, leader->host, w->node_hosts[i], one_way);
            silent = silent && !one_way;
        }
    }
    if (leader && to_the_moment) {
        uint64_t since = sim_now(w->sim);
        w->deposed = leader->number;
        world_until(w, another_leads, 5 * ENV_S);
        check_pause(w, silent, since, SILENT_MS, "was cut off");
        for (unsigned i = 0; i < w->n_nodes; i++) {
            sim_slow_disk(w->node_hosts[i], i == w->deposed || (w->nodes[i].cluster && w->nodes[i].cluster->raft.state == RAFT_LEADER) ? 1 : 300);
        }
    } else {
        world_run(w, rng_between(w->rng, 900 * ENV_MS, 2200 * ENV_MS));
    }
    cluster_heal_network(w);
    world_run(w, rng_between(w->rng, ENV_MS, ENV_S));
    for (unsigned i = 0; i < w->n_nodes; i++) {
        sim_slow_disk(w->node_hosts[i], 1);
    }
}

static bool leader_is_inside(struct world *w)
{
    struct world_node *leader = world_leader(w);
    const struct state *state = leader ? cluster_state(leader->cluster) : NULL;
    return state && state_file(state) && state_file(state)->size > state->boundary;
}

/* The leader dies when a part of a large transaction is committed. */
static void leader_dies_inside(struct world *w)
{
    source_sim_commit(w->source, HISTORY_ROWS, (size_t)rng_between(w->rng, 2000000, 5000000));
    if (world_until(w, leader_is_inside, 2 * ENV_S)) {
        size_t i = world_leader(w)->number;
        w->node_crashes++;
        sim_crash(w->node_hosts[i], cluster_any_crash(w));
        world_run(w, any_pause(w));
        cluster_start_again(w, i);
    }
}

/* ... or by the death of its process alone, which the others see at once: they elect with what they are just writing. */
static void leader_is_killed(struct world *w)
{
    struct world_node *leader = world_leader(w);
    bool well = all_well(w);
    if (leader) {
        uint64_t pause = any_pause(w), since = sim_now(w->sim);
        size_t i = w->deposed = leader->number;
        w->node_crashes++;
        sim_crash(w->node_hosts[i], SIM_KILL);
        if (well && pause > DEAD_MS * ENV_MS) {
            world_until(w, another_leads, pause);
            check_pause(w, true, since, DEAD_MS, "was killed");
            pause = since + pause > sim_now(w->sim) ? since + pause - sim_now(w->sim) : 0;
        }
        world_run(w, pause);
        cluster_start_again(w, i);
    }
}

/* ---- the lead is moved ---- */

static bool target_leads(struct world *w)
{
    struct world_node *leader = world_leader(w);
    return leader && leader->number == w->moved_to;
}

/* OK: it was the leader in a term that began after the question; or, if it has been told to end since, we did not look. */
void cluster_check_moved(void *arg, const char *error)
{
    struct world *w = arg;
    bool led = false;
    for (uint64_t term = w->moved_after + 1; term < WORLD_TERMS && !led; term++) {
        led = w->leaders[term] == w->nodes[w->moved_to].id;
    }
    if (strncmp(w->move, "ALTER CLUSTER SWITCHOVER", 24) != 0) {
        return;
    }
    w->moved += !error;
    w->not_moved += error != NULL;
    if (!error && !led && w->nodes[w->moved_to].cluster) {
        sim_fail(w->sim, "%s was answered with OK, and node%zu has not led since", w->move, w->moved_to + 1);
    }
}

static void ask_to_move(struct world *w)
{
    w->moved_after = 0;
    for (unsigned i = 0; i < w->n_nodes; i++) {
        w->moved_after = w->nodes[i].term > w->moved_after && w->leaders[w->nodes[i].term % WORLD_TERMS] ? w->nodes[i].term : w->moved_after;
    }
    sim_crash(w->tool2, SIM_KILL);
    world_run(w, ENV_MS);
    admin_sim_again(w->mover);
    admin_sim_start(w->mover);
}

/* By the operator, who asks any node. One that is planned (all is well) has to succeed; he may have to ask again, since the lead is only
 * given to a node that is level in time. Otherwise something may happen meanwhile. */
static void switchover(struct world *w)
{
    bool planned = rng_chance(w->rng, 50) && !w->members && world_until(w, all_level, 5 * ENV_S), moved = false;
    w->moved_to = (size_t)rng_below(w->rng, w->n_nodes);
    w->switchovers++;
    snprintf(w->move, sizeof w->move, "ALTER CLUSTER SWITCHOVER TO %" PRIu64, w->nodes[w->moved_to].id);
    for (unsigned i = 0; planned && i < SWITCHOVER_TRIES && !moved; i++) {
        ask_to_move(w);
        moved = world_until(w, target_leads, SWITCHOVER_SECONDS * ENV_S);
    }
    w->planned += planned;
    if (planned && !moved) {
        sim_fail(w->sim, "node%zu was to take the lead, all was well, and it does not have it after %d tries", w->moved_to + 1, SWITCHOVER_TRIES);
    }
    if (!planned) {
        ask_to_move(w);
        world_run(w, rng_between(w->rng, ENV_MS, 200 * ENV_MS));
        size_t i = rng_chance(w->rng, 50) ? w->moved_to : cluster_any_node(w);
        if (rng_chance(w->rng, 60)) {
            crash_node(w, i);
        }
        world_run(w, any_pause(w));
    }
    sim_crash(w->tool2, SIM_KILL);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        cluster_start_again(w, i);
    }
}

/* ---- members ---- */

static bool is_role(struct world *w, enum cluster_role role)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    struct world_node *leader = world_leader(w);
    size_t n = leader ? cluster_infos(leader->cluster, infos, CLUSTER_MEMBERS_MAX) : 0;
    for (size_t i = 0; i < n; i++) {
        if (infos[i].id == w->demoted) {
            return infos[i].role == role && !leader->cluster->raft.configuration_uncommitted_index;
        }
    }
    return false;
}

static bool is_standby(struct world *w)
{
    return is_role(w, CLUSTER_STANDBY);
}

static bool is_voter(struct world *w)
{
    return is_role(w, CLUSTER_VOTER) && admin_sim_done(w->mover) && !cluster_state(world_leader(w)->cluster)->members.n_plans;
}

static void ask_for_role(struct world *w, const char *verb)
{
    sim_crash(w->tool2, SIM_KILL);
    world_run(w, ENV_MS);
    snprintf(w->move, sizeof w->move, "ALTER CLUSTER %s MEMBER %" PRIu64, verb, w->demoted);
    admin_sim_again(w->mover);
    admin_sim_start(w->mover);
}

/* A voter becomes a standby, and a voter again, while its cluster's leaders may die. One at a time: the ledger counts all disks. */
static void member_changes(struct world *w)
{
    bool all = rng_chance(w->rng, 50);
    if (!w->demoted) {
        w->demoted = cluster_any_node(w) + 1;
        ask_for_role(w, "DEMOTE");
        if (rng_chance(w->rng, 50)) {
            world_until(w, is_standby, rng_between(w->rng, ENV_MS, 3 * ENV_S));
        } else {
            world_run(w, rng_between(w->rng, ENV_MS, 20 * ENV_MS));
        }
        w->changes += is_standby(w);
    }
    if (rng_chance(w->rng, 60)) { /* meanwhile */
        size_t i = cluster_any_node(w);
        crash_node(w, i);
        world_run(w, any_pause(w));
        cluster_start_again(w, i);
    }
    ask_for_role(w, "PROMOTE");
    if (world_until(w, is_voter, all ? 10 * ENV_S : ENV_S)) {
        w->demoted = 0;
    }
    sim_crash(w->tool2, SIM_KILL);
}

void cluster_settle_role(struct world *w)
{
    bool voter = false;
    for (unsigned i = 0; w->demoted && !voter && i < ROLE_TRIES; i++) { /* leaders may still change: then the order is lost */
        ask_for_role(w, "PROMOTE");
        voter = world_until(w, is_voter, ROLE_S * ENV_S) || is_role(w, CLUSTER_VOTER);
        sim_crash(w->tool2, SIM_KILL);
    }
    if (w->demoted && !voter) {
        sim_fail(w->sim, "node %" PRIu64 " was demoted, and is no voter again after all was healed", w->demoted);
    }
    w->demoted = 0;
}

void cluster_purge(struct world *w)
{
    if (w->janitor && rng_chance(&w->purge_rng, 60)) {
        admin_sim_repeat(w->janitor);
    }
}

void cluster_misfortune(struct world *w)
{
    unsigned kind = w->fate ? w->fate - 1 : (unsigned)rng_below(w->rng, FATES);
    switch (kind) {
    case 0: source_or_replica(w); break;
    case 1: clock_jumps(w); break;
    case 2:
    case 3: resets(w); break;
    case 4: several_nodes(w, true); break;
    case 5: several_nodes(w, false); break;
    case 6:
    case 7: slow(w); break;
    case 8:
    case 9:
    case 10:
    case 11: partition(w); break;
    case 12: leader_loses_touch(w); break;
    case 13: leader_dies_inside(w); break;
    case 14: leader_is_killed(w); break;
    case 15:
    case 16: switchover(w); break;
    case 17: cluster_bad_disk(w); break;
    case 18: cluster_rot(w); break;
    case 23:
        if (w->members) {
            one_node(w);
        } else {
            member_changes(w);
        }
        break;
    default: one_node(w);
    }
    cluster_check_files(w);
}

void cluster_heal(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        w->nodes[i].away = false;
    }
    cluster_heal_network(w);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        sim_crash_after(w->node_hosts[i], 0, SIM_KILL);
        sim_slow_disk(w->node_hosts[i], 1);
        cluster_start_again(w, i);
    }
    if (!sim_host_process(w->db)) {
        source_sim_start(w->source);
    }
    for (unsigned i = 0; i < w->n_replicas; i++) {
        if (!sim_host_process(w->apps[i])) {
            replica_sim_start(w->replicas[i]);
        }
    }
}
