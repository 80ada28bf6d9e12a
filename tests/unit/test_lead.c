/* test_lead: who leads three nodes in the simulated world, and how soon: when the leader's process ends, when it is silent, when it is asked to
 * give the lead away; who is admitted to their network, and that one who is none of them any more remembers it; and how little idle members say to
 * each other. */
#include "tests/unit/unit.h"

#include "node/daemon.h"
#include "protocol/base/check.h"
#include "raft/io_impl.h"
#include "tests/sim/cluster_world.h"
#include "tests/sim/puppet_sim.h"

#include <stdio.h>
#include <string.h>

/* A second voter tries 100 ms after the first one: half of the elections are over by then. */
enum { SEEDS = 5, DEAD_MOST_MS = 500, DEAD_MEDIAN_MS = 90, SILENT_MOST_MS = 1400 };

static struct world w;
static unsigned failures;

static void failed(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
    failures++;
}

static void begin_with(unsigned nodes, uint64_t seed, unsigned start)
{
    struct world_options options = {.nodes = nodes, .flavour = FLAVOUR_MYSQL, .calm = true, .memory = true};
    failures = 0;
    world_make(&w, seed, &options);
    sim_on_failure(w.sim, failed, NULL);
    for (unsigned i = 0; i < start; i++) {
        world_node_start(&w, i);
    }
}

static void begin(uint64_t seed, unsigned start)
{
    begin_with(3, seed, start);
}

static bool somebody_leads(struct world *world)
{
    return world_leader(world) != NULL;
}

static struct world_node *lead(uint64_t seed)
{
    begin(seed, 3);
    UNIT_REQUIRE(world_until(&w, somebody_leads, 20 * ENV_S));
    world_run(&w, 2 * ENV_S);
    struct world_node *leader = world_leader(&w);
    UNIT_REQUIRE(leader != NULL);
    return leader;
}

static void end(void)
{
    UNIT_UINT(failures, 0);
    world_free(&w);
}

static size_t other(const struct world_node *leader)
{
    return (leader->number + 1) % 3;
}

/* ---- the leader is lost ---- */

static bool another_leads(struct world *world)
{
    for (size_t i = 0; i < 3; i++) {
        struct cluster *c = world->nodes[i].cluster;
        if (i != world->deposed && c && cluster_leading(c)) {
            return true;
        }
    }
    return false;
}

static void a_killed_leader_is_replaced_at_once(void)
{
    unsigned soon = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + SEEDS; seed++) {
        size_t deposed = lead(seed)->number;
        w.deposed = deposed;
        uint64_t since = sim_now(w.sim);
        sim_crash(w.node_hosts[deposed], SIM_KILL);
        UNIT_TRUE(world_until(&w, another_leads, DEAD_MOST_MS * ENV_MS));
        soon += sim_now(w.sim) - since <= DEAD_MEDIAN_MS * ENV_MS;
        printf("# %llu ms\n", (unsigned long long)((sim_now(w.sim) - since) / ENV_MS));
        end();
    }
    UNIT_TRUE(soon > SEEDS / 2);
}

static void cut_off(size_t i, size_t k)
{
    sim_cut(w.sim, w.node_hosts[i], w.node_hosts[k]);
    sim_cut(w.sim, w.node_hosts[k], w.node_hosts[i]);
}

/* Not before an election timeout: it may only be slow. */
static void a_silent_leader_is_replaced_after_an_election_timeout(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + SEEDS; seed++) {
        size_t deposed = lead(seed)->number;
        w.deposed = deposed;
        cut_off(deposed, (deposed + 1) % 3);
        cut_off(deposed, (deposed + 2) % 3);
        UNIT_TRUE(!world_until(&w, another_leads, (ELECTION_MS - 2 * HEARTBEAT_MS) * ENV_MS));
        UNIT_TRUE(world_until(&w, another_leads, (SILENT_MOST_MS - ELECTION_MS + 2 * HEARTBEAT_MS) * ENV_MS));
        end();
    }
}

/* One that does not hear the leader asks for votes, and does not get them from who hears it. */
static void one_link_that_is_cut_moves_nothing(void)
{
    struct world_node *leader = lead(unit_seed());
    uint64_t term = cluster_term(leader->cluster);
    size_t deposed = leader->number;
    w.deposed = deposed;
    cut_off(deposed, other(leader));
    UNIT_TRUE(!world_until(&w, another_leads, 5 * ENV_S));
    UNIT_UINT(cluster_term(leader->cluster), term);
    UNIT_TRUE(cluster_leading(leader->cluster));
    end();
}

/* ---- libraft gives up ---- */

struct rogue {
    struct env_msg msg;
    struct rio *rio;
    struct raft_message message;
};

static void rogue_comes(struct env_msg *msg)
{
    struct rogue *rogue = CONTAINER_OF(msg, struct rogue, msg);
    rio_receive(rogue->rio, &rogue->message);
}

/* Contradicts what the node knows to be committed: libraft returns an error, and would from then on be there without doing anything. */
static void contradict(size_t i, size_t leader)
{
    static struct rogue rogue;
    const struct raft *raft = &w.nodes[i].cluster->raft;
    rogue = (struct rogue){.msg.run = rogue_comes, .rio = w.nodes[i].cluster->rio};
    rogue.message = (struct raft_message){.type = RAFT_IO_APPEND_ENTRIES, .server_id = leader + 1, .server_address = "node:4307"};
    rogue.message.append_entries = (struct raft_append_entries){.term = raft->current_term + (i == leader), /* a leader gives way first */
                                                                .prev_log_index = raft->commit_index,
                                                                .prev_log_term = raft->current_term + 7,
                                                                .leader_commit = raft->commit_index};
    sim_forget_words(w.node_hosts[i]);
    env_post(w.nodes[i].cluster->loop, &rogue.msg);
    world_run(&w, ENV_MS);
    UNIT_TRUE(!sim_host_process(w.node_hosts[i]));
    UNIT_TRUE(strstr(sim_last_words(w.node_hosts[i]), "raft has stopped: ") == sim_last_words(w.node_hosts[i]));
    UNIT_TRUE(strstr(sim_last_words(w.node_hosts[i]), "this node ends") != NULL);
}

static void lead_is_moved(size_t asked, size_t to);

static void a_node_whose_raft_has_stopped_ends_and_the_others_go_on(void)
{
    size_t leader = lead(unit_seed())->number, i = (leader + 1) % 3, third = (leader + 2) % 3;
    contradict(i, leader);
    world_run(&w, 2 * ENV_S);
    UNIT_TRUE(world_leader(&w) && world_leader(&w)->number == leader);
    lead_is_moved(leader, third); /* they commit */
    world_node_start(&w, i);
    world_run(&w, 3 * ENV_S);
    lead_is_moved(third, i); /* and so does it */
    w.deposed = i;
    contradict(i, i);
    UNIT_TRUE(world_until(&w, another_leads, DEAD_MOST_MS * ENV_MS));
    end();
}

/* ---- the lead is moved ---- */

static struct {
    unsigned answers;
    char error[512]; /* of the first one; "" is OK */
    uint64_t leader; /* when it came, as the node that was asked knows it */
    size_t asked;
} answer;

static void answered(void *arg, const char *error)
{
    (void)arg;
    if (answer.answers++ == 0) {
        snprintf(answer.error, sizeof answer.error, "%s", error ? error : "");
        answer.leader = w.nodes[answer.asked].cluster ? cluster_leader(w.nodes[answer.asked].cluster) : 0;
    }
}

static bool is_answered(struct world *world)
{
    (void)world;
    return answer.answers > 0;
}

/* At the node `asked`; false: no answer within the time. */
static bool ask(size_t asked, const char *statement)
{
    memset(&answer, 0, sizeof answer);
    answer.asked = asked;
    snprintf(w.move, sizeof w.move, "%s", statement);
    admin_sim_watch(w.mover, answered, NULL);
    admin_sim_again(w.mover);
    sim_host_beside(w.tool2, w.node_hosts[asked]);
    admin_sim_start(w.mover);
    bool in_time = world_until(&w, is_answered, 8 * ENV_S);
    sim_crash(w.tool2, SIM_KILL);
    world_run(&w, ENV_MS);
    return in_time;
}

static bool switchover(size_t asked, size_t to)
{
    char statement[64];
    snprintf(statement, sizeof statement, "ALTER CLUSTER SWITCHOVER TO %zu", to + 1);
    return ask(asked, statement);
}

static void lead_is_moved(size_t asked, size_t to)
{
    UNIT_TRUE(switchover(asked, to));
    UNIT_STR(answer.error, "");
    UNIT_UINT(answer.leader, to + 1);
}

static void switchover_answers_when_the_lead_has_moved(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + SEEDS; seed++) {
        struct world_node *leader = lead(seed);
        size_t to = other(leader), asked[] = {leader->number, to, (leader->number + 2) % 3}; /* the leader, the next one, a third */
        lead_is_moved(asked[seed % 3], to);
        end();
    }
}

static void switchover_says_that_the_lead_did_not_move(void)
{
    struct world_node *leader = lead(unit_seed());
    size_t to = other(leader), from = leader->number;
    cut_off(from, to); /* nobody has noticed yet */
    UNIT_TRUE(switchover(from, to));
    UNIT_TRUE(strstr(answer.error, "did not move") != NULL);
    UNIT_UINT(answer.leader, from + 1);
    UNIT_TRUE(cluster_leading(leader->cluster));
    end();
}

static void switchover_to_who_is_not_there_is_refused(void)
{
    struct world_node *leader = lead(unit_seed());
    size_t to = other(leader), from = leader->number;
    sim_crash(w.node_hosts[to], SIM_KILL);
    world_run(&w, 100 * ENV_MS);
    UNIT_TRUE(switchover((from + 2) % 3, to));
    UNIT_TRUE(strstr(answer.error, "cannot lead now") != NULL);
    UNIT_TRUE(switchover(from, from));
    UNIT_TRUE(strstr(answer.error, "leads already") != NULL);
    UNIT_TRUE(switchover(from, 6));
    UNIT_TRUE(strstr(answer.error, "cannot lead now") != NULL);
    UNIT_TRUE(cluster_leading(leader->cluster));
    end();
}

/* ---- changes of members ---- */

static bool has_two_voters(struct world *world)
{
    struct world_node *leader = world_leader(world);
    return leader && cluster_voters(leader->cluster) == 2;
}

/* A plan that its leader could not begin is there when the next one is elected: that one must not begin with it, the change may only follow the
 * first entry of its term (cluster_check.c looks after each event). The leader is to become a standby, the others do not take the lead for a
 * while, and it dies. */
static void a_change_waits_for_the_first_entry_of_its_term(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + SEEDS; seed++) {
        char statement[64];
        size_t from = lead(seed)->number;
        struct rio *others[] = {w.nodes[(from + 1) % 3].cluster->rio, w.nodes[(from + 2) % 3].cluster->rio};
        others[0]->leaving = others[1]->leaving = true;
        snprintf(statement, sizeof statement, "ALTER CLUSTER DEMOTE MEMBER %zu", from + 1);
        UNIT_TRUE(ask(from, statement));
        UNIT_STR(answer.error, "");
        world_run(&w, 300 * ENV_MS);
        UNIT_TRUE(world_leader(&w)->number == from && cluster_voters(world_leader(&w)->cluster) == 3);
        others[0]->leaving = others[1]->leaving = false;
        sim_crash(w.node_hosts[from], SIM_KILL);
        UNIT_TRUE(world_until(&w, has_two_voters, 5 * ENV_S));
        end();
    }
}

/* ---- who is admitted ---- */

static struct puppet *puppet;

static void stranger_begin(void)
{
    puppet = puppet_new(sim_host_new(w.sim, "stranger"), 2);
    puppet_start(puppet);
    world_run(&w, ENV_MS);
}

static void stranger_end(void)
{
    end();
    puppet_free(puppet);
}

/* Says hello to node 1. 0: welcome. */
static enum refusal hello(const struct message_hello *h, const char *words)
{
    struct puppet_conn *c = puppet_hello(puppet, "node1:4307", h);
    world_run(&w, 50 * ENV_MS);
    UNIT_UINT(c->frames[MESSAGE_WELCOME] + c->frames[MESSAGE_REFUSAL], 1);
    UNIT_TRUE(c->closed || !c->frames[MESSAGE_REFUSAL]); /* the true member may have come back meanwhile */
    if (!strstr(c->refusal.text, words)) {
        UNIT_STR(c->refusal.text, words);
    }
    return c->frames[MESSAGE_REFUSAL] ? c->refusal.why : (enum refusal)0;
}

/* As the member 2 would say it to node 1. */
static struct message_hello hello_of_2(void)
{
    const struct raft_configuration *configuration = &w.nodes[0].cluster->raft.configuration;
    struct message_hello h = {.level = MESSAGE_LEVEL, .from = 2, .to = 1};
    struct formation_member m;
    for (unsigned i = 0; i < configuration->n; i++) {
        UNIT_INT(formation_address_parse(configuration->servers[i].address, &m), 0);
        h.incarnation = configuration->servers[i].id == 2 ? m.incarnation : h.incarnation;
        h.to_incarnation = configuration->servers[i].id == 1 ? m.incarnation : h.to_incarnation;
    }
    snprintf(h.cluster, sizeof h.cluster, "%s", cluster_name(w.nodes[0].cluster));
    h.list = w.nodes[0].cluster->formation.list;
    h.term = cluster_term(w.nodes[1].cluster);
    h.last_stored = w.nodes[1].cluster->raft.last_stored;
    return h;
}

static void a_formed_cluster_admits_its_members_only(void)
{
    lead(unit_seed());
    stranger_begin();
    const struct message_hello good = hello_of_2();
    UNIT_TRUE(good.incarnation > 1 && good.cluster[0]);
    struct message_hello h = good;
    UNIT_INT(hello(&h, ""), 0);
    h.from = 1;
    UNIT_INT(hello(&h, "two nodes have the id 1"), REFUSAL_ID);
    h = good;
    h.to = 3;
    UNIT_INT(hello(&h, "this is node 1, not node 3"), REFUSAL_ID);
    h = good;
    h.to_incarnation++;
    UNIT_INT(hello(&h, "another data directory"), REFUSAL_OTHER);
    h = good;
    h.from = 9;
    UNIT_INT(hello(&h, "has not heard yet"), REFUSAL_UNHEARD);
    snprintf(h.address, sizeof h.address, "node9:4307"); /* where it can be called: it may be the only one that is left to tell us */
    UNIT_INT(hello(&h, ""), 0);
    h.address[0] = 0;
    h.from = 10;
    h.cluster[0] = 0;
    UNIT_INT(hello(&h, "is not a member"), REFUSAL_UNKNOWN);
    h = good;
    h.last_stored = h.term = 1;
    UNIT_INT(hello(&h, "less than it acknowledged"), REFUSAL_LOST);
    h = good;
    h.level = 0;
    UNIT_INT(hello(&h, "feature level"), REFUSAL_LEVEL);
    h = good;
    h.cluster[0] = h.cluster[0] == 'a' ? 'b' : 'a';
    UNIT_INT(hello(&h, "belongs to cluster"), REFUSAL_CLUSTER);
    h = good;
    h.incarnation--;
    UNIT_INT(hello(&h, "member replace 2"), REFUSAL_INCARNATION);
    h.cluster[0] = 0;
    UNIT_INT(hello(&h, "is empty but cluster"), REFUSAL_EXISTS);
    h = good;
    UNIT_INT(hello(&h, ""), 0);
    UNIT_TRUE(world_leader(&w) != NULL);
    stranger_end();
}

static bool all_are_gone(struct world *world)
{
    return !sim_host_process(world->node_hosts[0]) && !sim_host_process(world->node_hosts[1]) && !sim_host_process(world->node_hosts[2]);
}

/* Node 1 is back, alone: nobody has told it anything since. */
static void a_member_is_held_to_what_it_had_before_all_were_restarted(void)
{
    for (unsigned killed = 0; killed < 2; killed++) {
        lead(unit_seed() + killed);
        const struct message_hello good = hello_of_2();
        struct message_hello h = good;
        UNIT_TRUE(good.last_stored > 2);
        world_run(&w, killed ? 6 * ENV_S : ENV_S); /* every five seconds it is written */
        for (unsigned i = 0; i < 3; i++) {
            if (killed) {
                sim_crash(w.node_hosts[i], SIM_POWER);
            } else {
                sim_stop(w.node_hosts[i]);
            }
        }
        UNIT_TRUE(world_until(&w, all_are_gone, 5 * ENV_S));
        world_node_start(&w, 0);
        world_run(&w, 2 * ENV_S);
        stranger_begin();
        h.last_stored = good.last_stored - 2;
        UNIT_INT(hello(&h, "less than it acknowledged"), REFUSAL_LOST);
        h = good;
        h.term = good.term - 1;
        UNIT_INT(hello(&h, "less than it acknowledged"), REFUSAL_LOST);
        h = good;
        UNIT_INT(hello(&h, ""), 0);
        stranger_end();
    }
}

static void a_cluster_that_is_not_formed_wants_the_same_list(void)
{
    begin(unit_seed(), 1);
    world_run(&w, 100 * ENV_MS);
    stranger_begin();
    struct message_hello h = {.level = MESSAGE_LEVEL, .from = 2, .to = 1, .incarnation = 5, .list = w.nodes[0].cluster->formation.list};
    UNIT_INT(hello(&h, ""), 0);
    h.list++;
    UNIT_INT(hello(&h, "must list the same members"), REFUSAL_LIST);
    h.list--;
    h.from = 9;
    UNIT_INT(hello(&h, "no member of initial_cluster"), REFUSAL_UNKNOWN);
    stranger_end();
}

/* A member of a cluster, who lives there, is about to call node 1, which knows of none. */
static struct message_hello called_from(const char *address)
{
    struct message_hello h = {.level = MESSAGE_LEVEL, .from = 2, .to = 1, .incarnation = 5, .cluster = "theirs"};
    snprintf(h.address, sizeof h.address, "%s", address);
    begin(unit_seed(), 1);
    world_run(&w, 100 * ENV_MS);
    stranger_begin();
    return h;
}

/* A member calls a directory that has forgotten, with the power, that it was taken in. */
static void who_forgot_that_it_was_taken_in_asks(void)
{
    struct message_hello h = called_from("stranger:1");
    const struct formation *f = &w.nodes[0].cluster->formation;
    h.to_incarnation = ((uint64_t)1 << INCARNATION_RANDOM_BITS) | (formation_incarnation(f) ^ 1);
    UNIT_INT(hello(&h, "another data directory"), REFUSAL_OTHER);
    UNIT_INT(f->phase, FORMATION_EMPTY);
    h.to_incarnation ^= 1;
    UNIT_INT(hello(&h, "another data directory"), REFUSAL_OTHER);
    UNIT_INT(f->phase, FORMATION_JOINING);
    stranger_end();
}

/* The other members have moved since this configuration was written: nobody answers where it says that they are. */
static void who_is_called_from_another_address_asks_there(void)
{
    struct message_hello h = called_from("node2:4307");
    const struct formation *f = &w.nodes[0].cluster->formation;
    UNIT_INT(hello(&h, ""), 0);
    world_run(&w, 10 * ENV_MS);
    UNIT_INT(f->phase, FORMATION_EMPTY);
    snprintf(h.address, sizeof h.address, "stranger:1");
    UNIT_INT(hello(&h, ""), 0);
    world_run(&w, 10 * ENV_MS);
    UNIT_INT(f->phase, FORMATION_JOINING);
    stranger_end();
}

/* ---- who is no member any more ---- */

static bool one_is_gone(struct world *world)
{
    return !sim_host_process(world->node_hosts[world->deposed]);
}

static bool starts(size_t i, const char *last_words)
{
    sim_forget_words(w.node_hosts[i]);
    world_node_start(&w, i);
    w.deposed = i;
    bool gone = world_until(&w, one_is_gone, 3 * ENV_S);
    const char *said = sim_last_words(w.node_hosts[i]);
    if (gone && !strstr(said, last_words)) {
        UNIT_STR(said, last_words);
    }
    return !gone;
}

enum leaver { ALIVE, AWAY, LEADER, LEAVERS };

/* Node `i` is told that it is none any more; then all others end, and it is started again. */
static void is_told_and_remembers(enum leaver who, const char *order, const char *reason)
{
    char statement[64], remembered[128];
    struct world_node *leader = lead(unit_seed() + who);
    size_t i = who == LEADER ? leader->number : other(leader), asked = (i + 1) % 3;
    snprintf(statement, sizeof statement, "ALTER CLUSTER %s MEMBER %zu", order, i + 1);
    snprintf(remembered, sizeof remembered, "the node does not start: /data: node %zu %s", i + 1, reason);
    if (who == AWAY) {
        sim_crash(w.node_hosts[i], SIM_POWER);
        world_run(&w, 3 * ENV_S);
    }
    UNIT_TRUE(ask(asked, statement));
    UNIT_STR(answer.error, "");
    w.deposed = i;
    if (who == AWAY) {
        world_run(&w, ENV_S);
        UNIT_TRUE(!starts(i, reason));
    }
    UNIT_TRUE(world_until(&w, one_is_gone, 5 * ENV_S));
    UNIT_TRUE(strstr(sim_last_words(w.node_hosts[i]), reason) != NULL);
    UNIT_TRUE(!starts(i, remembered)); /* also beside the others */
    for (size_t k = 0; k < 3; k++) {
        sim_crash(w.node_hosts[k], SIM_POWER);
    }
    UNIT_TRUE(!starts(i, remembered));
    UNIT_TRUE(!starts(i, remembered));
    UNIT_TRUE(starts(asked, ""));
    end();
}

static void a_removed_member_remembers_it(void)
{
    for (enum leaver who = 0; who < LEAVERS; who++) {
        is_told_and_remembers(who, "REMOVE", "was removed from cluster");
    }
}

static void a_replaced_data_directory_remembers_it(void)
{
    for (enum leaver who = 0; who < LEAVERS; who++) {
        is_told_and_remembers(who, "REPLACE", "was replaced: this data directory");
    }
}

/* Its own log says it: it has got the entry, and hears that it is committed. */
struct removal {
    struct env_msg msg;
    struct cluster *c;
    bool committed;
};

static void removal_comes(struct env_msg *msg)
{
    struct removal *r = CONTAINER_OF(msg, struct removal, msg);
    struct cluster *c = r->c;
    struct entry_member gone = {.verb = MEMBER_PLAN, .id = c->id, .goal = MEMBER_GONE};
    struct entry_head head;
    struct cur body;
    struct buf b;
    int status = 0;
    buf_init(&b, ENTRY_MAX);
    entry_put_member(&b, &gone);
    UNIT_INT(entry_read(b.data, b.len, &head, &body), 0);
    UNIT_INT(state_members_apply(&c->state->members, &body, &status), 0);
    buf_free(&b);
    for (unsigned i = 0; i < c->raft.configuration.n; i++) {
        raft_id *id = &c->raft.configuration.servers[i].id;
        *id = *id == c->id ? 9 : *id;
    }
    c->raft.configuration_uncommitted_index = r->committed ? 0 : c->raft.configuration_index;
    c->members_changed = true;
    cluster_members_turn(c);
}

static void its_own_log_is_believed_when_that_is_committed(void)
{
    size_t leader = lead(unit_seed())->number, i = (leader + 1) % 3;
    struct removal r = {.msg.run = removal_comes, .c = w.nodes[i].cluster};
    for (size_t k = 0; k < 3; k++) {
        if (k != i) {
            sim_crash(w.node_hosts[k], SIM_KILL);
        }
    }
    env_post(r.c->loop, &r.msg);
    world_run(&w, ENV_MS);
    UNIT_REQUIRE(sim_host_process(w.node_hosts[i]) != NULL);
    r.committed = true;
    env_post(r.c->loop, &r.msg);
    world_run(&w, ENV_MS);
    UNIT_TRUE(!sim_host_process(w.node_hosts[i]));
    UNIT_TRUE(strstr(sim_last_words(w.node_hosts[i]), "was removed from cluster") != NULL);
    UNIT_TRUE(!starts(i, "the node does not start: /data: node"));
    end();
}

/* Somebody at a member's address refuses a node, which ends. Started again, does it remember that? */
static bool remembers(enum refusal why, bool of_its_cluster)
{
    static const char text[] = "was removed from cluster so and so";
    size_t leader = lead(unit_seed())->number, i = (leader + 1) % 3, k = (leader + 2) % 3;
    puppet = puppet_new(w.node_hosts[k], k + 1);
    puppet->manner = PUPPET_REFUSES;
    puppet->listen = "0.0.0.0:4307";
    puppet->refusal.why = why;
    snprintf(puppet->refusal.text, sizeof puppet->refusal.text, "%s", text);
    snprintf(puppet->refusal.cluster, sizeof puppet->refusal.cluster, "%s", of_its_cluster ? cluster_name(w.nodes[i].cluster) : "another");
    for (size_t n = 0; n < 3; n++) {
        sim_crash(w.node_hosts[n], SIM_KILL);
    }
    w.nodes[k].cluster = NULL; /* who runs there is none of the world's nodes */
    world_run(&w, ENV_MS);
    puppet_start(puppet);
    UNIT_TRUE(!starts(i, text));
    sim_crash(w.node_hosts[k], SIM_KILL);
    bool runs = starts(i, text);
    stranger_end();
    return !runs;
}

static void only_the_last_word_of_a_member_is_remembered(void)
{
    UNIT_TRUE(remembers(REFUSAL_REMOVED, true));
    UNIT_TRUE(!remembers(REFUSAL_REMOVED, false));
    UNIT_TRUE(!remembers(REFUSAL_INCARNATION, true));
    UNIT_TRUE(!remembers(REFUSAL_LOST, true));
    UNIT_TRUE(!remembers(REFUSAL_LEVEL, true));
}

/* Members of another cluster call in the same moment: the node ends once. */
struct claims {
    struct env_msg msg;
    struct daemon *daemon;
    unsigned ends;
};

static void ends(void *arg)
{
    struct claims *claims = arg;
    claims->ends++;
}

static void claims_come(struct env_msg *msg)
{
    struct claims *claims = CONTAINER_OF(msg, struct claims, msg);
    struct message_hello hello = {.cluster = "another"};
    daemon_on_refusal(claims->daemon, ends, claims);
    for (hello.from = 2; hello.from < 5; hello.from++) {
        cluster_members_claimed(daemon_cluster(claims->daemon), &hello);
    }
}

static void many_who_refuse_a_node_end_it_once(void)
{
    struct claims claims = {.msg.run = claims_come};
    begin_with(1, unit_seed(), 1);
    UNIT_REQUIRE(world_until(&w, somebody_leads, 20 * ENV_S));
    claims.daemon = sim_process_get(sim_host_process(w.node_hosts[0]));
    env_post(w.nodes[0].cluster->loop, &claims.msg);
    world_run(&w, ENV_S);
    UNIT_UINT(claims.ends, 1);
    end();
}

/* ---- a change that is not over ---- */

static bool change_is_open(struct world *world)
{
    struct world_node *leader = world_leader(world);
    return leader && leader->cluster->raft.configuration_uncommitted_index;
}

/* The leader keeps a change to itself until it is on its disk; nobody may be asked to lead meanwhile who lacks it, for he would not, and commits would wait. */
static void the_lead_moves_during_a_change(void)
{
    unsigned open = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 2 * SEEDS; seed++) {
        char statement[64];
        size_t from = lead(seed)->number;
        snprintf(statement, sizeof statement, "ALTER CLUSTER DEMOTE MEMBER %zu", (from + 2) % 3 + 1);
        UNIT_TRUE(ask(from, statement));
        open += world_until(&w, change_is_open, 100 * ENV_MS);
        world_run(&w, (seed - unit_seed()) * ENV_MS);
        lead_is_moved(from, (from + 1) % 3);
        end();
    }
    UNIT_TRUE(open > 0);
}

/* libraft's standby waits for ever for the leader that it had; who asks for its vote may know that it is a voter. */
static void a_standby_gives_up_a_silent_leader(void)
{
    char statement[64];
    size_t from = lead(unit_seed())->number, i = (from + 1) % 3;
    snprintf(statement, sizeof statement, "ALTER CLUSTER DEMOTE MEMBER %zu", i + 1);
    UNIT_TRUE(ask(from, statement));
    UNIT_TRUE(world_until(&w, has_two_voters, 5 * ENV_S));
    world_run(&w, ENV_S);
    cut_off(i, from);
    cut_off(i, (i + 1) % 3);
    world_run(&w, (ELECTION_MS - 2 * HEARTBEAT_MS) * ENV_MS);
    UNIT_TRUE(!w.nodes[i].cluster->rio->leader_gone);
    world_run(&w, 4 * HEARTBEAT_MS * ENV_MS);
    UNIT_TRUE(w.nodes[i].cluster->rio->leader_gone);
    sim_heal_all(w.sim);
    world_run(&w, ENV_S);
    UNIT_TRUE(!w.nodes[i].cluster->rio->leader_gone);
    UNIT_UINT(world_leader(&w)->number, from);
    end();
}

/* ---- a data directory that was replaced ---- */

static bool replaced_and_settled(struct world *world)
{
    struct world_node *leader = world_leader(world);
    return leader && world_is_member(world, 3, true) && !leader->cluster->state->members.n_plans;
}

static bool the_first_leads(struct world *world)
{
    struct cluster *c = world->nodes[0].cluster;
    return c && cluster_leading(c);
}

static bool leader_has_user(struct world *world)
{
    struct world_node *leader = world_leader(world);
    return leader && state_user(leader->cluster->state, "kept", "%");
}

static void cut_off_from_all(size_t i)
{
    for (size_t k = 0; k < w.n_nodes; k++) {
        if (k != i) {
            cut_off(i, k);
        }
    }
}

/* Of {1, 2, 3} the third is replaced, on another machine, while the old one is switched off. What is committed then without node 1 must not be lost when
 * after a failure of the power node 1 is back first, and the old machine with it: the old directory would vote, and be counted, as node 3. */
static void begin_with_old_machine(uint64_t seed)
{
    struct world_options options = {.flavour = FLAVOUR_MYSQL, .calm = true, .memory = true, .members = true};
    do {
        world_make(&w, seed++, &options);
    } while (w.n_first != 3 && (world_free(&w), true));
    failures = 0;
    sim_on_failure(w.sim, failed, NULL);
    for (unsigned i = 0; i < 3; i++) {
        world_node_start(&w, i);
    }
    UNIT_REQUIRE(world_until(&w, somebody_leads, 20 * ENV_S));
    world_run(&w, 2 * ENV_S);
    if (world_leader(&w)->number != 1) {
        lead_is_moved(0, 1);
    }
    sim_crash(w.node_hosts[2], SIM_POWER);
    w.nodes[2].id = 0; /* no member any more */
    w.nodes[3].id = w.nodes[3].config.id = 3;
    world_run(&w, ENV_S);
    UNIT_TRUE(ask(1, "ALTER CLUSTER REPLACE MEMBER 3 'node4:4307'"));
    UNIT_STR(answer.error, "");
    world_node_start(&w, 3);
    UNIT_REQUIRE(world_until(&w, replaced_and_settled, 20 * ENV_S));
    world_run(&w, ENV_S);
}

static void a_replaced_directory_does_not_vote(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 2; seed++) {
        begin_with_old_machine(10 * seed);
        cut_off_from_all(0);
        UNIT_TRUE(ask(1, "CREATE USER 'kept' IDENTIFIED BY 'a password that is long'"));
        UNIT_STR(answer.error, "");
        for (size_t i = 0; i < 4; i++) {
            sim_crash(w.node_hosts[i], SIM_POWER);
        }
        sim_heal_all(w.sim);
        world_run(&w, ENV_S);
        sim_forget_words(w.node_hosts[2]);
        world_node_start(&w, 0);
        world_node_start(&w, 2);
        UNIT_TRUE(!world_until(&w, the_first_leads, 10 * ENV_S));
        UNIT_TRUE(strstr(sim_last_words(w.node_hosts[2]), "was replaced: this data directory") != NULL);
        world_node_start(&w, 3);
        UNIT_TRUE(world_until(&w, leader_has_user, 5 * ENV_S));
        end();
    }
}

/* The old machine was away for long, and those whom it knows have been replaced where they are. */
static void a_replaced_directory_is_told_by_a_newer_one_of_a_member(void)
{
    begin_with_old_machine(10 * unit_seed());
    stranger_begin();
    const struct formation *f = &w.nodes[0].cluster->formation;
    struct message_hello h = {.level = MESSAGE_LEVEL, .from = 3, .to = 1, .incarnation = 5, .to_incarnation = formation_incarnation(f) ^ 1};
    snprintf(h.cluster, sizeof h.cluster, "%s", f->cluster);
    UNIT_INT(hello(&h, "was replaced: this data directory"), REFUSAL_REMOVED);
    h.incarnation = cluster_members_incarnation(w.nodes[0].cluster, 3);
    UNIT_INT(hello(&h, "another data directory"), REFUSAL_OTHER);
    stranger_end();
}

/* ---- nothing to do ---- */

/* Heartbeats and their answers, ticks, a report a second; each frame is a few events here. Once two members answered each other's words for ever. */
static void idle_members_say_little(void)
{
    enum { SECONDS = 10, EVENTS_MOST = 3000 };
    lead(unit_seed());
    uint64_t before = sim_events(w.sim);
    world_run(&w, SECONDS * ENV_S);
    uint64_t a_second = (sim_events(w.sim) - before) / SECONDS;
    UNIT_TRUE(a_second < EVENTS_MOST);
    UNIT_TRUE(a_second > 100);
    printf("# %llu events a second\n", (unsigned long long)a_second);
    end();
}

UNIT_MAIN("lead", UNIT_TEST(a_killed_leader_is_replaced_at_once), UNIT_TEST(a_silent_leader_is_replaced_after_an_election_timeout),
          UNIT_TEST(one_link_that_is_cut_moves_nothing), UNIT_TEST(a_node_whose_raft_has_stopped_ends_and_the_others_go_on),
          UNIT_TEST(switchover_answers_when_the_lead_has_moved),
          UNIT_TEST(switchover_says_that_the_lead_did_not_move), UNIT_TEST(switchover_to_who_is_not_there_is_refused),
          UNIT_TEST(a_change_waits_for_the_first_entry_of_its_term), UNIT_TEST(a_formed_cluster_admits_its_members_only),
          UNIT_TEST(a_member_is_held_to_what_it_had_before_all_were_restarted), UNIT_TEST(a_cluster_that_is_not_formed_wants_the_same_list),
          UNIT_TEST(who_forgot_that_it_was_taken_in_asks), UNIT_TEST(who_is_called_from_another_address_asks_there),
          UNIT_TEST(a_removed_member_remembers_it), UNIT_TEST(a_replaced_data_directory_remembers_it),
          UNIT_TEST(its_own_log_is_believed_when_that_is_committed),
          UNIT_TEST(only_the_last_word_of_a_member_is_remembered), UNIT_TEST(many_who_refuse_a_node_end_it_once), UNIT_TEST(the_lead_moves_during_a_change),
          UNIT_TEST(a_standby_gives_up_a_silent_leader), UNIT_TEST(a_replaced_directory_does_not_vote),
          UNIT_TEST(a_replaced_directory_is_told_by_a_newer_one_of_a_member), UNIT_TEST(idle_members_say_little))
