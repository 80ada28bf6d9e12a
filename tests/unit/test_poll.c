/* test_poll: the members' reports as of now (raft/cluster_poll.c), and that files are only purged on those: three nodes in the simulated world. */
#include "tests/unit/unit.h"

#include "node/settings.h"
#include "storage/filelist.h"
#include "tests/sim/cluster_world.h"

#include <stdio.h>
#include <string.h>

/* Purges are known to the world's checks with these seeds. */
enum { SEED = 16, FILES = 3, NEED_MS = 400 /* between two reports */ };

static struct world w;
static struct world_node *leader;
static unsigned failures, answers;
static uint64_t more; /* seeds, since the first one would not do */
static char error[512];

static void failed(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
    failures++;
}

static bool somebody_leads(struct world *world)
{
    return world_leader(world) != NULL;
}

static void begin(void)
{
    struct world_options options = {.nodes = 3, .flavour = FLAVOUR_MYSQL, .calm = true};
    failures = 0;
    world_make(&w, SEED + (unit_seed() + more) % 16, &options);
    sim_on_failure(w.sim, failed, NULL);
    source_sim_start(w.source);
    for (unsigned i = 0; i < 3; i++) {
        world_node_start(&w, i);
    }
    UNIT_REQUIRE(world_until(&w, somebody_leads, 20 * ENV_S));
    world_run(&w, 2 * ENV_S);
    leader = world_leader(&w);
    UNIT_REQUIRE(leader != NULL);
}

static void end(void)
{
    UNIT_UINT(failures, 0);
    world_free(&w);
}

/* ---- rounds ---- */

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static bool is_done(struct world *world)
{
    (void)world;
    return answers > 0;
}

static bool polled(size_t i)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    size_t n = cluster_infos(leader->cluster, infos, CLUSTER_MEMBERS_MAX);
    for (size_t k = 0; k < n; k++) {
        if (infos[k].id == i + 1) {
            return infos[k].polled;
        }
    }
    return false;
}

static void cut_off(size_t i)
{
    for (size_t k = 0; k < 3; k++) {
        if (k != i) {
            sim_cut(w.sim, w.node_hosts[i], w.node_hosts[k]);
            sim_cut(w.sim, w.node_hosts[k], w.node_hosts[i]);
        }
    }
}

static struct {
    struct env_msg msg;
    unsigned *done;
    bool inside; /* answered inside the call */
    bool begun;
} asking;

static void run_poll(struct env_msg *msg)
{
    unsigned before = *asking.done;
    (void)msg;
    cluster_poll(leader->cluster, count, asking.done);
    asking.inside = *asking.done != before;
    asking.begun = true;
}

static void begin_poll(unsigned *done)
{
    asking.done = done;
    asking.begun = false;
    asking.msg.run = run_poll;
    env_post(sim_process_env(sim_host_process(leader->host)), &asking.msg);
    while (!asking.begun && sim_step(w.sim)) {
    }
    UNIT_TRUE(asking.begun && !asking.inside);
}

/* How long it took, in ms. */
static uint64_t poll(void)
{
    uint64_t since = sim_now(w.sim);
    answers = 0;
    begin_poll(&answers);
    UNIT_TRUE(world_until(&w, is_done, 10 * ENV_S));
    UNIT_UINT(answers, 1);
    return (sim_now(w.sim) - since) / ENV_MS;
}

static void all_answer_at_once(void)
{
    begin();
    size_t a = (leader->number + 1) % 3, b = (leader->number + 2) % 3;
    UNIT_TRUE(!polled(a) && !polled(b));
    for (unsigned i = 0; i < 5; i++) { /* whenever their own reports are due */
        UNIT_TRUE(poll() < 100);
        UNIT_TRUE(polled(a) && polled(b));
        world_run(&w, 230 * ENV_MS);
    }
    unsigned done = 0;
    begin_poll(&done);
    UNIT_TRUE(!polled(a) && !polled(b)); /* what they said before is no answer to this one */
    begin_poll(&done);
    world_run(&w, 100 * ENV_MS);
    UNIT_UINT(done, 2);
    end();
}

/* One that was cut off and is not missed yet is waited for; one that has ended is not. */
static void who_is_not_there_does_not_answer(void)
{
    begin();
    size_t a = (leader->number + 1) % 3, b = (leader->number + 2) % 3;
    UNIT_TRUE(poll() < 100);
    cut_off(a);
    uint64_t took = poll();
    UNIT_TRUE(took >= CLUSTER_POLL_S * 1000 && took < CLUSTER_POLL_S * 1000 + 100);
    UNIT_TRUE(!polled(a) && polled(b));
    world_run(&w, 5 * ENV_S); /* it is missed by now */
    UNIT_TRUE(poll() < 100);
    UNIT_TRUE(!polled(a) && polled(b));
    end();
}

/* A member that is started anew forgets what it answered, the one that asks which numbers it had: both ask and answer again. */
static void a_new_life_asks_and_answers_anew(void)
{
    begin();
    size_t a = (leader->number + 1) % 3;
    UNIT_TRUE(poll() < 100);
    sim_crash(w.node_hosts[a], SIM_KILL);
    UNIT_TRUE(poll() < 100);
    UNIT_TRUE(!polled(a));
    world_node_start(&w, a);
    world_run(&w, 3 * ENV_S);
    UNIT_TRUE(poll() < 100);
    UNIT_TRUE(polled(a));
    size_t was = leader->number;
    sim_crash(w.node_hosts[was], SIM_KILL);
    world_run(&w, ENV_S);
    world_node_start(&w, was);
    world_run(&w, 3 * ENV_S);
    leader = &w.nodes[was]; /* leading or not */
    UNIT_TRUE(poll() < 100);
    UNIT_TRUE(polled(a));
    end();
}

/* ---- purges ---- */

static void answered(void *arg, const char *why)
{
    (void)arg;
    if (answers++ == 0) {
        snprintf(error, sizeof error, "%s", why ? why : "");
    }
}

/* At the leader. How long it took, in ms. */
static uint64_t ask(const char *statement)
{
    answers = 0;
    snprintf(w.move, sizeof w.move, "%s", statement);
    admin_sim_watch(w.mover, answered, NULL);
    admin_sim_again(w.mover);
    sim_host_beside(w.tool2, leader->host);
    admin_sim_start(w.mover);
    uint64_t since = sim_now(w.sim);
    UNIT_TRUE(world_until(&w, is_done, 8 * ENV_S));
    UNIT_STR(error, "");
    uint64_t took = (sim_now(w.sim) - since) / ENV_MS;
    sim_crash(w.tool2, SIM_KILL);
    world_run(&w, ENV_MS);
    return took;
}

static size_t files(void)
{
    return filelist_count(cluster_state(leader->cluster)->files);
}

static bool is_idle(struct world *world)
{
    (void)world;
    return source_sim_idle(w.source);
}

static bool is_set_up(struct world *world)
{
    (void)world;
    return admin_sim_done(w.admin);
}

static bool has_files(struct world *world)
{
    (void)world;
    return files() == FILES && source_sim_idle(w.source);
}

/* Three nodes with some files; nobody waits any more for replicas from before their start. */
static void begin_with_files(void)
{
    begin();
    admin_sim_start(w.admin);
    UNIT_REQUIRE(world_until(&w, is_set_up, 60 * ENV_S));
    for (unsigned i = 1; i < FILES; i++) {
        source_sim_load(w.source, 5 * i);
        UNIT_REQUIRE(world_until(&w, is_idle, 60 * ENV_S));
        UNIT_TRUE(source_sim_rotate(w.source));
    }
    UNIT_REQUIRE(world_until(&w, has_files, 60 * ENV_S));
    leader = world_leader(&w);
    (void)ask("SET GLOBAL holdfast_replica_grace = 20");
    world_run(&w, 25 * ENV_S);
    UNIT_REQUIRE(world_leader(&w) == leader);
}

static uint64_t need_of(size_t i)
{
    struct cluster_need need = {.era = 0};
    struct cluster *c = w.nodes[i].cluster;
    c->handler->need(c->owner, &need);
    return need.era;
}

/* It reads, since a moment ago: nobody has been told yet how far it is. */
static bool a_replica_reads(struct world *world)
{
    (void)world;
    return replica_sim_received(w.replicas[0]) > 0;
}

/* What a replica needs that came to another node a moment ago, of which nobody was told. */
static void what_a_replica_of_another_node_needs_now_stays(void)
{
    for (more = 0; more < 16; more++) { /* until it comes to a node that does not lead */
        begin_with_files();
        UNIT_TRUE(!need_of(0) && !need_of(1) && !need_of(2));
        replica_sim_start(w.replicas[0]);
        UNIT_REQUIRE(world_until(&w, a_replica_reads, 20 * ENV_S));
        if (!need_of(leader->number)) {
            break;
        }
        end();
    }
    UNIT_REQUIRE(more < 16);
    more = 0;
    size_t before = files();
    UNIT_TRUE(ask("PURGE BINARY LOGS BEFORE NOW()") < NEED_MS);
    UNIT_TRUE(files() >= before);
    (void)ask("PURGE BINARY LOGS BEFORE NOW() FORCE");
    UNIT_UINT(files(), 1);
    end();
}

/* Nothing goes while a member may have replicas that nobody else knows of; FORCE asks nobody; and after a while it does not count. */
static void a_member_that_cannot_be_asked_holds_all(void)
{
    begin_with_files();
    size_t before = files(), a = (leader->number + 1) % 3;
    cut_off(a);
    UNIT_TRUE(ask("PURGE BINARY LOGS BEFORE NOW()") >= CLUSTER_POLL_S * 1000); /* it is not missed yet */
    UNIT_TRUE(files() >= before);
    world_run(&w, 5 * ENV_S);
    UNIT_TRUE(ask("PURGE BINARY LOGS BEFORE NOW()") < 200);
    UNIT_TRUE(files() >= before);
    world_run(&w, 10 * ENV_S);
    (void)ask("PURGE BINARY LOGS BEFORE NOW()");
    UNIT_TRUE(files() >= before);
    world_run(&w, 10 * ENV_S); /* replica_grace is over */
    (void)ask("PURGE BINARY LOGS BEFORE NOW()");
    UNIT_UINT(files(), 1);
    end();
}

static void force_asks_nobody(void)
{
    begin_with_files();
    cut_off((leader->number + 1) % 3);
    UNIT_TRUE(ask("PURGE BINARY LOGS BEFORE NOW() FORCE") < 200);
    UNIT_UINT(files(), 1);
    end();
}

UNIT_MAIN("poll", UNIT_TEST(all_answer_at_once), UNIT_TEST(who_is_not_there_does_not_answer), UNIT_TEST(a_new_life_asks_and_answers_anew),
          UNIT_TEST(what_a_replica_of_another_node_needs_now_stays), UNIT_TEST(a_member_that_cannot_be_asked_holds_all), UNIT_TEST(force_asks_nobody))
