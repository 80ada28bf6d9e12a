/* cluster_members.c: the operator changes who is a member, whatever else happens: adds, removes, promotes, demotes, replaces; wipes a disk or sets one
 * back, and replaces that member.
 *
 * Happy path: one statement is given to any node, it may be refused or its answer may be lost; the world goes on. In the end what was begun is brought to
 * its end: all plans are carried out, who is a member has everything. What must hold is checked by cluster_check.c, with the majority of
 * those who vote. At most one disk is given up at a time, and the next one only when the member is a voter again: two at once would be more than
 * any quorum survives. Machines that live on beside their successors: cluster_old.c. Failure: as elsewhere, a sim_fail. */
#include "tests/sim/cluster_world.h"

#include "raft/configuration.h"
#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ASK_S = 3, PLANS_S = 240, REFUSED_S = 10 };

/* ---- after each event ---- */

/* Who votes is what the leader of the highest term has in its log. */
void cluster_check_members(struct world *w)
{
    const struct cluster *leader = NULL;
    bool votes[WORLD_NODES] = {false};
    for (unsigned i = 0; i < w->n_nodes; i++) {
        const struct cluster *c = w->nodes[i].cluster;
        if (c && sim_host_process(w->node_hosts[i]) && cluster_formed(c) && c->raft.state == RAFT_LEADER &&
            (!leader || c->raft.current_term > leader->raft.current_term)) {
            leader = c;
        }
    }
    for (unsigned i = 0; leader && i < w->n_nodes; i++) {
        const struct raft_server *s = world_member(&w->nodes[i], leader);
        votes[i] = s && s->role == RAFT_VOTER;
    }
    if (leader) {
        uint64_t change = leader->raft.configuration_index;
        ledger_voters(w->ledger, votes);
        w->configurations += change > w->last_change;
        w->last_change = change > w->last_change ? change : w->last_change;
    }
}

/* ---- what is so ---- */

static const struct cluster *leading(struct world *w)
{
    struct world_node *leader = world_leader(w);
    return leader ? leader->cluster : NULL;
}

static bool no_plans(struct world *w)
{
    const struct cluster *c = leading(w);
    return c && !cluster_state(c)->members.n_plans && !c->raft.configuration_uncommitted_index;
}

static bool somebody_is_lost(const struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (w->nodes[i].lost) {
            return true;
        }
    }
    return false;
}

static bool any_member(struct world *w, bool member, size_t *i)
{
    *i = (size_t)rng_below(w->rng, w->n_nodes);
    return world_is_member(w, *i, false) == member && !w->nodes[*i].lost;
}

static size_t voters(struct world *w)
{
    const struct cluster *c = leading(w);
    return c ? configuration_voters(&c->raft.configuration) : 0;
}

/* ---- the operator ---- */

void cluster_was_told(void *arg, const char *error)
{
    struct world *w = arg;
    w->told = w->told || !error;
}

static bool was_told(struct world *w)
{
    return w->told;
}

/* True: some node said OK. */
static bool order(struct world *w, uint64_t ns, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static bool order(struct world *w, uint64_t ns, const char *fmt, ...)
{
    va_list ap;
    sim_crash(w->tool2, SIM_KILL);
    world_run(w, ENV_MS);
    va_start(ap, fmt);
    vsnprintf(w->order, sizeof w->order, fmt, ap);
    va_end(ap);
    w->told = false;
    w->orders_given++;
    admin_sim_again(w->steward);
    admin_sim_start(w->steward);
    bool ok = world_until(w, was_told, ns);
    sim_crash(w->tool2, SIM_KILL);
    world_run(w, ENV_MS);
    return ok;
}

static uint64_t patience(struct world *w)
{
    return rng_chance(w->rng, 30) ? rng_between(w->rng, ENV_MS, 50 * ENV_MS) : ASK_S * ENV_S;
}

static bool is_dead(struct world *w)
{
    return !sim_host_process(w->node_hosts[w->watched]);
}

/* What one of the others knows that the node has. */
static uint64_t known_of(const struct world *w, size_t i)
{
    uint64_t most = 0;
    for (unsigned k = 0; k < w->n_nodes; k++) {
        const struct cluster *c = w->nodes[k].cluster;
        const struct raft_server *s = k != i && c && sim_host_process(w->node_hosts[k]) ? world_member(&w->nodes[i], c) : NULL;
        uint64_t held = s ? rio_held(c->rio, s->id, s->address) : 0;
        most = held > most ? held : most;
    }
    return most;
}

/* All others are restarted, in order: what they knew of that one's log must outlive it. */
static void restart_others(struct world *w, size_t i)
{
    for (unsigned k = 0; k < w->n_nodes; k++) {
        if (k != i && sim_host_process(w->node_hosts[k])) {
            sim_stop(w->node_hosts[k]);
        }
    }
    world_run(w, 3 * ENV_S);
    for (unsigned k = 0; k < w->n_nodes; k++) {
        if (k != i) {
            cluster_start_again(w, k);
        }
    }
}

/* One that has less than it acknowledged is refused, or no one has heard of what it lacks. */
static void set_back(struct world *w, size_t i)
{
    struct sim_host *host = w->node_hosts[i];
    if (!w->nodes[i].cluster) {
        return;
    }
    const struct snapshot *s = rio_snapshot(w->nodes[i].cluster->rio);
    uint64_t had = raft_last_index(&w->nodes[i].cluster->raft), snapshot = s ? s->index : 0;
    sim_crash(host, SIM_KILL);
    world_run(w, rng_between(w->rng, ENV_MS, 100 * ENV_MS));
    struct disk *image = sim_keep_image(host, &w->member_rng);
    world_node_start(w, i);
    world_run(w, rng_between(w->rng, 500 * ENV_MS, 5 * ENV_S));
    if (voters(w) < 3) { /* an order whose answer was lost was carried out meanwhile: one disk is all that may be given up */
        disk_free(image);
        return;
    }
    sim_crash(host, SIM_POWER);
    world_run(w, rng_between(w->rng, ENV_MS, 20 * ENV_MS));
    uint64_t known = known_of(w, i);
    if (w->memory && rng_chance(w->rng, 40)) {
        restart_others(w, i);
    }
    sim_set_back(host, image);
    ledger_set_back(w->ledger, i, snapshot);
    w->nodes[i].term = w->nodes[i].vote = 0;
    w->wipes++;
    w->watched = i;
    w->nodes[i].lost = true;
    sim_forget_words(host);
    world_node_start(w, i);
    if (world_until(w, is_dead, REFUSED_S * ENV_S)) {
        if (!strstr(sim_last_words(host), "has less than it acknowledged") && !strstr(sim_last_words(host), "was re")) {
            sim_fail(w->sim, "node%zu was set back to an old disk and ended with: %s", i + 1, sim_last_words(host));
        }
    } else if (known > had) {
        sim_fail(w->sim, "node%zu was set back to an old disk, whose log ended with entry %" PRIu64 "; it had entry %" PRIu64 ", and is not refused", i + 1, had, known);
    } else { /* nothing had happened since */
        sim_crash(host, SIM_KILL);
        world_run(w, ENV_MS);
    }
    w->nodes[i].old = true;
}

static void wipe(struct world *w, size_t i)
{
    sim_crash(w->node_hosts[i], cluster_any_crash(w));
    world_run(w, rng_between(w->rng, ENV_MS, ENV_S));
    if (voters(w) < 3) {
        world_node_start(w, i);
        return;
    }
    world_node_wipe(w, i);
    w->wipes++;
    w->nodes[i].lost = true;
    if (rng_chance(w->rng, 60)) { /* with its old configuration: it must not vote */
        world_node_start(w, i);
        world_run(w, rng_between(w->rng, ENV_MS, 3 * ENV_S));
        if (w->nodes[i].vote) {
            sim_fail(w->sim, "node%zu came back with an empty disk and has voted", i + 1);
        }
    }
}

bool cluster_was_removed(struct world *w, size_t i)
{
    const struct cluster *c = leading(w);
    return c && state_members_retired(&cluster_state(c)->members, w->nodes[i].id) && !world_is_member(w, i, false);
}

/* The member that has lost its disk, or moves to another machine, is replaced; told again until it is. True: that stands in the log, or it has no disk to
 * lose any more: it was removed by an order whose answer was lost. */
static bool replace_lost(struct world *w, size_t i)
{
    const struct world_node *to = w->nodes[i].successor;
    char address[40] = "";
    if (cluster_was_removed(w, i)) {
        w->nodes[i].lost = w->nodes[i].old = false;
        return true;
    }
    if (to) {
        snprintf(address, sizeof address, " '%s:4307'", sim_host_name(to->host));
    }
    if (!order(w, patience(w), "ALTER CLUSTER REPLACE MEMBER %" PRIu64 "%s", w->nodes[i].id, address)) {
        return false;
    }
    if (to) {
        cluster_has_moved(w, i);
        return true;
    }
    if (w->nodes[i].old) {
        sim_crash(w->node_hosts[i], SIM_KILL);
        world_run(w, ENV_MS);
        world_node_wipe(w, i);
    }
    w->nodes[i].lost = w->nodes[i].old = false;
    cluster_start_again(w, i);
    return true;
}

/* What is no member any more begins anew, under another id. */
static void begin_anew(struct world *w, size_t i)
{
    if (cluster_is_done_with(w, i)) {
        sim_crash(w->node_hosts[i], SIM_KILL);
        world_run(w, ENV_MS);
        world_node_anew(w, i, ++w->next_id);
        world_node_start(w, i);
    }
}

bool cluster_may_be_given_up(struct world *w, size_t *i)
{
    return !somebody_is_lost(w) && no_plans(w) && voters(w) >= 3 && any_member(w, true, i) && (w->n_first != 1 || *i != 0 || w->nodes[0].id != 1);
}

static void lose_a_disk(struct world *w)
{
    size_t i;
    if (!cluster_may_be_given_up(w, &i)) {
        return;
    }
    if (rng_chance(w->rng, 50)) {
        wipe(w, i);
    } else {
        set_back(w, i);
    }
}

void cluster_change_members(struct world *w)
{
    size_t i;
    for (unsigned k = 0; k < w->n_nodes; k++) {
        if (w->nodes[k].lost && rng_chance(w->rng, 50)) {
            replace_lost(w, k);
        }
    }
    if (w->old && rng_chance(w->rng, 60)) {
        cluster_old_machine(w);
        return;
    }
    switch (rng_below(w->rng, 10)) {
    case 0:
    case 1:
    case 2:
        if (any_member(w, false, &i)) {
            begin_anew(w, i);
            w->nodes[i].asked = true;
            order(w, patience(w), "ALTER CLUSTER ADD MEMBER %" PRIu64 " '%s:4307'", w->nodes[i].id, sim_host_name(w->node_hosts[i]));
        }
        break;
    case 3:
    case 4:
        if (any_member(w, true, &i) && !somebody_is_lost(w)) {
            order(w, patience(w), "ALTER CLUSTER REMOVE MEMBER %" PRIu64, w->nodes[i].id);
        }
        break;
    case 5:
        if (any_member(w, true, &i) && !somebody_is_lost(w)) {
            order(w, patience(w), "ALTER CLUSTER DEMOTE MEMBER %" PRIu64, w->nodes[i].id);
        }
        break;
    case 6:
        if (any_member(w, true, &i)) {
            order(w, patience(w), "ALTER CLUSTER PROMOTE MEMBER %" PRIu64, w->nodes[i].id);
        }
        break;
    default:
        lose_a_disk(w);
    }
}

/* ---- the end ---- */

/* An order whose answer was lost, and that was given again, replaces the new disk, too. */
static void empty_replaced(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (!w->nodes[i].replaced && !sim_host_process(w->node_hosts[i]) && strstr(sim_last_words(w->node_hosts[i]), "was replaced")) {
            sim_forget_words(w->node_hosts[i]);
            world_node_wipe(w, i);
            world_node_start(w, i);
        }
    }
}

void cluster_settle_members(struct world *w)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        uint64_t end = sim_now(w->sim) + PLANS_S * ENV_S; /* somebody whom it takes may still start on a disk that was slow */
        while (w->nodes[i].lost && sim_now(w->sim) < end) {
            replace_lost(w, i);
        }
        if (w->nodes[i].lost) {
            sim_fail(w->sim, "node%u has lost its disk and cannot be replaced", i + 1);
        }
    }
    for (unsigned s = 0; s < PLANS_S && !world_until(w, no_plans, ENV_S); s++) {
        empty_replaced(w);
    }
    if (!no_plans(w)) {
        const struct cluster *c = leading(w);
        char text[256] = "nobody leads";
        uint64_t id = c && cluster_state(c)->members.n_plans ? cluster_state(c)->members.plans[0].id : 0;
        if (c) {
            cluster_members_wait(c, id, text, sizeof text);
        }
        sim_fail(w->sim, "%d s after all was healed the plan for node %" PRIu64 " is not carried out: %s", PLANS_S, id, text);
    }
    cluster_settle_old(w);
}
