/* test_join: whom an empty node asks to be taken in, and how often. The members are puppets. */
#include "tests/unit/unit.h"

#include "raft/join.h"
#include "tests/sim/env_sim.h"
#include "tests/sim/puppet_sim.h"

#include <string.h>

enum { PAUSE_MS = 300, MEMBERS = 2 };

static const char *const addresses[MEMBERS] = {"node1:1", "node2:1"};

static struct {
    struct sim *sim;
    struct sim_host *host;
    struct puppet *members[MEMBERS];
    struct message_join_answer say[MEMBERS];
    struct join *join;
    unsigned answers[JOIN_NO + 1];
} t;

static void answered(void *owner, const struct message_join_answer *answer)
{
    (void)owner;
    t.answers[answer->verdict]++;
}

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct join_options o = {.loop = env, .request = {.id = 5, .incarnation = 7, .level = MESSAGE_LEVEL}, .pause_ms = PAUSE_MS, .n = MEMBERS};
    struct errmsg em;
    (void)process;
    (void)arg;
    memcpy(o.addresses, addresses, sizeof addresses);
    UNIT_INT(join_open(&o, answered, NULL, &t.join, &em), 0);
}

static void stop(struct sim_process *process, void *arg)
{
    (void)arg;
    join_close(t.join);
    sim_exit(process);
}

static const struct sim_program program = {.start = start, .stop = stop};

/* The first member says this, the second one that. */
static void begin(enum join_verdict first, enum join_verdict second, uint64_t leader)
{
    memset(&t, 0, sizeof t);
    t.sim = sim_new(unit_seed());
    for (size_t i = 0; i < MEMBERS; i++) {
        struct message_join_answer *a = &t.say[i];
        a->verdict = i ? second : first;
        a->leader = leader;
        memcpy(a->cluster, "theirs", sizeof "theirs");
        a->n = MEMBERS;
        for (size_t k = 0; k < MEMBERS; k++) {
            a->members[k].id = a->members[k].incarnation = k + 1;
            memcpy(a->members[k].address, addresses[k], strlen(addresses[k]) + 1);
        }
        t.members[i] = puppet_new(sim_host_new(t.sim, i ? "node2" : "node1"), i + 1);
        t.members[i]->join = a;
        puppet_start(t.members[i]);
    }
    t.host = sim_host_new(t.sim, "node5");
    sim_start(t.host, &program, NULL);
}

static void end(void)
{
    sim_stop(t.host);
    sim_free(t.sim);
    for (size_t i = 0; i < MEMBERS; i++) {
        puppet_free(t.members[i]);
    }
}

/* Each verdict is heard at once; the next question comes after the pause. */
static void questions_have_a_pause_between_them(void)
{
    for (enum join_verdict v = JOIN_WAIT; v <= JOIN_NO; v++) {
        begin(v, v, 0);
        sim_run(t.sim, PAUSE_MS / 2 * ENV_MS);
        UNIT_UINT(t.answers[v], 1);
        sim_run(t.sim, 10 * PAUSE_MS * ENV_MS);
        UNIT_TRUE(t.answers[v] >= 9 && t.answers[v] <= 11);
        UNIT_UINT(t.members[0]->n + t.members[1]->n, t.answers[v]);
        end();
    }
}

/* Who does not lead cannot take anybody in: the leader is asked next, without a pause. */
static void the_leader_is_asked_next(void)
{
    begin(JOIN_WAIT, JOIN_YES, 2);
    sim_run(t.sim, PAUSE_MS / 2 * ENV_MS);
    UNIT_UINT(t.answers[JOIN_WAIT], 1);
    UNIT_UINT(t.answers[JOIN_YES], 1);
    end();
}

/* A leader whose address nobody knows cannot be asked: that is no reason to ask the others again at once. */
static void a_leader_without_an_address_is_waited_for(void)
{
    begin(JOIN_WAIT, JOIN_WAIT, 4);
    sim_run(t.sim, 10 * PAUSE_MS * ENV_MS);
    UNIT_TRUE(t.answers[JOIN_WAIT] >= 9 && t.answers[JOIN_WAIT] <= 11);
    end();
}

UNIT_MAIN("join", UNIT_TEST(questions_have_a_pause_between_them), UNIT_TEST(the_leader_is_asked_next),
          UNIT_TEST(a_leader_without_an_address_is_waited_for))
