/* cluster_old.c: a member moves to another machine (member replace ID ADDR), and the old machine lives on beside its successor, with its data directory.
 *
 * Happy path: the successor begins with an empty disk; the old machine, which starts and dies like any other, is told that it was replaced by the first member
 * it asks, and ends. But often it hears nobody for long, and goes on with what it has; it may come back among those alone who know
 * least. What must hold is checked by cluster_check.c: since a member is known by its address, too, neither the old disk nor the old vote
 * counts for anybody. In the end it has been told, if anybody is left who could tell it. Failure: as elsewhere, a sim_fail. */
#include "tests/sim/cluster_world.h"

#include "raft/configuration.h"

#include <inttypes.h>
#include <string.h>

enum { SETTLED_S = 10, STALL_S = 250 /* a start on the slowest disk goes on for so long after it is healed */, TOLD_S = 20 };

/* ---- what is so ---- */

static bool has_ended(struct world *w, size_t i)
{
    return !sim_host_process(w->node_hosts[i]) && strstr(sim_last_words(w->node_hosts[i]), "was replaced: this data directory");
}

bool cluster_remembers(const struct world *w, size_t i)
{
    return w->nodes[i].replaced && strstr(sim_last_words(w->node_hosts[i]), "the node does not start");
}

bool cluster_is_done_with(struct world *w, size_t i)
{
    const struct world_node *node = &w->nodes[i];
    return !node->lost && !node->away && (cluster_was_removed(w, i) || (node->replaced && has_ended(w, i)));
}

/* Nothing lives there that is a member, or may become one yet. */
static bool is_free(struct world *w, size_t i)
{
    const struct world_node *node = &w->nodes[i];
    bool unused = node->id == i + 1 && i >= w->n_first && !node->asked;
    return unused || cluster_is_done_with(w, i);
}

static bool any_free_machine(struct world *w, size_t *i)
{
    size_t first = (size_t)rng_below(w->rng, w->n_nodes);
    for (size_t k = 0; k < w->n_nodes; k++) {
        *i = (first + k) % w->n_nodes;
        if (is_free(w, *i)) {
            return true;
        }
    }
    return false;
}

/* ---- it moves ---- */

static void move(struct world *w)
{
    size_t i, to;
    if (!cluster_may_be_given_up(w, &i) || !any_free_machine(w, &to)) {
        return;
    }
    struct world_node *old = &w->nodes[i];
    sim_note(w->sim, "node%zu, member %" PRIu64 ", moves to node%zu", i + 1, old->id, to + 1);
    sim_crash(w->node_hosts[to], SIM_KILL);
    world_run(w, ENV_MS);
    world_node_anew(w, to, old->id);
    w->nodes[to].asked = true;
    old->successor = &w->nodes[to];
    old->lost = true;
    old->away = rng_chance(w->rng, 60);
    cluster_heal_network(w);
    w->moves_away++;
    if (rng_chance(w->rng, 40)) {
        sim_crash(old->host, cluster_any_crash(w));
    }
    if (rng_chance(w->rng, 30)) { /* nobody waits for it yet */
        world_node_start(w, to);
    }
    world_run(w, rng_between(w->rng, ENV_MS, 3 * ENV_S));
}

void cluster_has_moved(struct world *w, size_t i)
{
    struct world_node *old = &w->nodes[i];
    old->lost = false;
    old->replaced = true;
    cluster_start_again(w, old->successor->number);
}

/* ---- it is back ---- */

static void come_back(struct world *w, size_t i)
{
    w->nodes[i].away = false;
    cluster_heal_network(w);
    cluster_start_again(w, i);
}

/* So many voters that one more would be a majority; not the successor, who has the same id. */
static void just_no_majority(struct world *w, const struct world_node *old, bool *side)
{
    size_t n = configuration_voters(&world_leader(w)->cluster->raft.configuration) / 2, first = (size_t)rng_below(w->rng, w->n_nodes);
    for (size_t k = 0; k < w->n_nodes && n > 0; k++) {
        size_t at = (first + k) % w->n_nodes;
        if (&w->nodes[at] != old->successor && world_is_member(w, at, true)) {
            side[at] = true;
            n--;
        }
    }
}

static void all_lose_their_power(struct world *w, const bool *first)
{
    for (unsigned k = 0; k < w->n_nodes; k++) {
        w->node_crashes++;
        sim_crash(w->node_hosts[k], SIM_POWER);
    }
    world_run(w, rng_between(w->rng, ENV_MS, ENV_S));
    for (unsigned k = 0; k < w->n_nodes; k++) {
        if (first[k]) {
            cluster_start_again(w, k);
        }
    }
}

static bool successor_votes(struct world *w)
{
    return world_is_member(w, w->watched, true) && !world_leader(w)->cluster->raft.configuration_uncommitted_index;
}

/* Those who heard nothing of the others for a while have it alone with them: with its vote they would be a majority. */
static void meet(struct world *w, size_t i)
{
    bool side[WORLD_NODES] = {false};
    w->watched = w->nodes[i].successor->number;
    world_until(w, successor_votes, rng_between(w->rng, ENV_MS, SETTLED_S * ENV_S));
    if (!world_leader(w)) {
        return;
    }
    just_no_majority(w, &w->nodes[i], side);
    w->meetings++;
    w->cuts++;
    cluster_split(w, side);
    world_run(w, rng_between(w->rng, ENV_MS, 3 * ENV_S));
    if (rng_chance(w->rng, 30)) {
        all_lose_their_power(w, side);
    }
    side[i] = true;
    come_back(w, i);
    cluster_split(w, side);
    world_run(w, rng_between(w->rng, ENV_S, 6 * ENV_S));
    cluster_heal_network(w);
    for (unsigned k = 0; k < w->n_nodes; k++) {
        cluster_start_again(w, k);
    }
}

void cluster_old_machine(struct world *w)
{
    size_t i = (size_t)rng_below(w->rng, w->n_nodes);
    for (size_t k = 0; k < w->n_nodes && !w->nodes[i].replaced; k++) {
        i = (i + 1) % w->n_nodes;
    }
    if (!w->nodes[i].replaced || rng_chance(w->rng, 30)) {
        move(w);
    } else if (rng_chance(w->rng, 70)) {
        meet(w, i);
    } else {
        come_back(w, i);
    }
}

/* ---- the end ---- */

static bool same_place(const char *address, const char *other)
{
    size_t n = strcspn(address, "/");
    return n == strcspn(other, "/") && !strncmp(address, other, n);
}

/* Is somebody whom it asks a member still, where it was? */
static bool can_be_told(struct world *w, const struct world_node *old)
{
    const struct world_node *leader = world_leader(w);
    const struct raft_configuration *theirs = &old->cluster->raft.configuration;
    for (unsigned i = 0; leader && i < theirs->n; i++) {
        const struct raft_server *s = configuration_find(&leader->cluster->raft.configuration, theirs->servers[i].id);
        if (s && same_place(s->address, theirs->servers[i].address)) {
            return true;
        }
    }
    return false;
}

static bool is_dead(struct world *w)
{
    return !sim_host_process(w->node_hosts[w->watched]);
}

static bool has_begun(struct world *w)
{
    return is_dead(w) || w->nodes[w->watched].cluster;
}

static void settle_one(struct world *w, struct world_node *old)
{
    w->watched = old->number;
    if (is_dead(w)) { /* it may have been told; that is on its disk then */
        sim_forget_words(old->host);
        world_node_start(w, old->number);
        world_run(w, 10 * ENV_MS);
    }
    world_until(w, has_begun, STALL_S * ENV_S);
    bool ended = world_until(w, is_dead, TOLD_S * ENV_S);
    if (!ended && (!old->cluster || can_be_told(w, old))) {
        sim_fail(w->sim, "%s was replaced by %s, and is not told in %d s", sim_host_name(old->host), sim_host_name(old->successor->host), TOLD_S);
    } else if (!ended) { /* a replica that found it would wait there for ever: it is switched off */
        w->untold++;
        sim_crash(old->host, SIM_POWER);
        world_run(w, ENV_MS);
        old->old = true;
    } else if (!strstr(sim_last_words(old->host), "was replaced: this data directory") && !strstr(sim_last_words(old->host), "was removed from cluster")) {
        sim_fail(w->sim, "%s was replaced by %s, and ended with: %s", sim_host_name(old->host), sim_host_name(old->successor->host), sim_last_words(old->host));
    }
}

void cluster_settle_old(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (w->nodes[i].replaced) {
            settle_one(w, &w->nodes[i]);
        }
    }
}
