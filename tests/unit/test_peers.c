/* test_peers: connections between members, one real side and one played by the test: made anew at once after a reset, with growing pauses
 * when nobody answers; broken off when they are silent; ended with a reason when what comes is no message. */
#include "tests/unit/unit.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/peers.h"
#include "tests/sim/puppet_sim.h"

#include <stdio.h>
#include <string.h>

enum { FRAME_MOST = MESSAGE_HEAD + MESSAGE_MAX };

/* The real side: node 1 on host a, port 1; the puppet is node 2 on host b. */
struct side {
    struct env *env;
    struct peers *peers;
    struct env_timer timer; /* reports every second */
    unsigned welcomed, refused, gone, messages;
    struct message_refusal refusal;
    char reason[200]; /* why a hello is refused; "": it is admitted */
    struct sim_process *process;
};

static struct sim *sim;
static struct sim_host *host_a, *host_b;
static struct side side;
static struct puppet *puppet;
static unsigned failures;

/* ---- the real side ---- */

static void fill_hello(void *owner, uint64_t to, struct message_hello *hello)
{
    (void)owner;
    hello->level = MESSAGE_LEVEL;
    hello->from = hello->incarnation = 1;
    hello->to = to;
}

static bool admit(void *owner, const struct message_hello *hello, struct message_refusal *why)
{
    struct side *s = owner;
    (void)hello;
    snprintf(why->text, sizeof why->text, "%s", s->reason);
    return !s->reason[0];
}

static bool welcomed(void *owner, uint64_t id, const struct message_hello *hello, struct message_refusal *why)
{
    struct side *s = owner;
    UNIT_UINT(id, 2);
    UNIT_UINT(hello->from, 2);
    snprintf(why->text, sizeof why->text, "%s", s->reason);
    return !s->reason[0];
}

static void up(void *owner, uint64_t id)
{
    struct side *s = owner;
    UNIT_UINT(id, 2);
    s->welcomed++;
}

static void refused(void *owner, uint64_t id, const struct message_refusal *why)
{
    struct side *s = owner;
    (void)id;
    s->refused++;
    s->refusal = *why;
}

static void message(void *owner, uint64_t id, enum message_kind kind, struct cur *body)
{
    struct side *s = owner;
    (void)kind;
    (void)body;
    UNIT_UINT(id, 2);
    s->messages++;
}

static void gone(void *owner, uint64_t id)
{
    struct side *s = owner;
    (void)id;
    s->gone++;
}

static const struct peers_handler handler = {
    .hello = fill_hello, .admit = admit, .welcomed = welcomed, .up = up, .refused = refused, .message = message, .gone = gone};

static void frame(struct buf *b, enum message_kind kind, size_t n)
{
    buf_init(b, FRAME_MOST);
    message_begin(b, kind);
    buf_zero(b, n);
    message_end(b, 0);
}

static void report(struct env_timer *timer)
{
    struct side *s = CONTAINER_OF(timer, struct side, timer);
    struct buf b;
    env_timer_start(timer, ENV_S);
    frame(&b, MESSAGE_REPORT, 10);
    peers_send(s->peers, 2, &b);
    buf_free(&b);
}

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct side *s = arg;
    struct peers_tls tls = {NULL, NULL};
    struct env_addr addr;
    struct errmsg em;
    *s = (struct side){.env = env, .process = process};
    UNIT_INT(env_addr_parse("0.0.0.0:1", 0, &addr, &em), 0);
    UNIT_INT(peers_open(env, &addr, &tls, &handler, s, &s->peers, &em), 0);
    UNIT_INT(env_timer_open(env, &s->timer, report), 0);
    env_timer_start(&s->timer, ENV_S);
    peers_set(s->peers, 2, "b:1");
}

static void peers_closed(void *arg)
{
    sim_exit(((struct side *)arg)->process);
}

static void stop(struct sim_process *process, void *arg)
{
    struct side *s = arg;
    (void)process;
    env_timer_close(&s->timer);
    peers_close(s->peers, peers_closed, s);
}

static const struct sim_program program = {start, stop, NULL};

/* ---- the world ---- */

static void failed(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
    failures++;
}

static void begin(enum puppet_manner manner, bool there)
{
    sim = sim_new(unit_seed());
    sim_on_failure(sim, failed, NULL);
    failures = 0;
    host_a = sim_host_new(sim, "a");
    host_b = sim_host_new(sim, "b");
    puppet = puppet_new(host_b, 2);
    puppet->manner = manner;
    if (there) {
        puppet_start(puppet);
        sim_run(sim, ENV_MS);
    }
    sim_start(host_a, &program, &side);
}

static void end(void)
{
    sim_free(sim);
    puppet_free(puppet);
    UNIT_UINT(failures, 0);
}

/* On the real side's own env. */
static struct {
    struct env_msg msg;
    enum { SEND, SET, REMOVE } what;
    uint64_t id;
    struct buf b;
    const char *address;
    bool sent;
} act;

static void run_act(struct env_msg *msg)
{
    (void)msg;
    if (act.what == SEND) {
        act.sent = peers_send(side.peers, act.id, &act.b);
    } else if (act.what == SET) {
        peers_set(side.peers, act.id, act.address);
    } else {
        peers_remove(side.peers, act.id);
    }
}

static void do_act(void)
{
    act.msg.run = run_act;
    env_post(side.env, &act.msg);
    sim_run(sim, ENV_MS);
}

static bool send_frame(uint64_t id, enum message_kind kind, size_t n)
{
    act.what = SEND;
    act.id = id;
    frame(&act.b, kind, n);
    do_act();
    buf_free(&act.b);
    return act.sent;
}

static void set_address(const char *address)
{
    act.what = SET;
    act.id = 2;
    act.address = address;
    do_act();
}

static bool is_up(void)
{
    return peers_up(side.peers, 2);
}

/* A connection of the puppet's that was admitted. */
static struct puppet_conn *visit(void)
{
    struct message_hello hello = {.level = MESSAGE_LEVEL, .from = 2, .to = 1, .incarnation = 1};
    struct puppet_conn *c = puppet_hello(puppet, "a:1", &hello);
    sim_run(sim, 10 * ENV_MS);
    UNIT_UINT(c->frames[MESSAGE_WELCOME], 1);
    return c;
}

/* ---- tests ---- */

static void it_connects_and_speaks(void)
{
    struct buf b;
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(is_up());
    UNIT_UINT(side.welcomed, 1);
    UNIT_STR(peers_trouble(side.peers, 2), "");
    UNIT_TRUE(send_frame(2, MESSAGE_APPEND, 1000));
    UNIT_TRUE(!send_frame(3, MESSAGE_APPEND, 1000)); /* nobody */
    sim_run(sim, 20 * ENV_MS);
    UNIT_UINT(puppet_newest(puppet)->frames[MESSAGE_APPEND], 1);
    UNIT_UINT(puppet_newest(puppet)->hello.from, 1);
    UNIT_UINT(puppet_newest(puppet)->hello.to, 2);
    struct puppet_conn *c = visit();
    frame(&b, MESSAGE_VOTE, 5);
    puppet_say(c, &b);
    sim_run(sim, 20 * ENV_MS);
    UNIT_UINT(side.messages, 1);
    UNIT_TRUE(!c->closed);
    end();
}

/* It may have lost what it had: nothing is sent to it. */
static void an_answer_can_be_the_wrong_one(void)
{
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    snprintf(side.reason, sizeof side.reason, "not the one");
    sim_reset(sim, host_a, host_b);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(!is_up());
    UNIT_UINT(side.welcomed, 1);
    UNIT_STR(peers_trouble(side.peers, 2), "not the one");
    UNIT_TRUE(!send_frame(2, MESSAGE_APPEND, 1000));
    end();
}

static void after_a_reset_it_connects_at_once(void)
{
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    for (unsigned i = 1; i <= 5; i++) {
        UNIT_TRUE(is_up());
        sim_reset(sim, host_a, host_b);
        sim_run(sim, 10 * ENV_MS);
        UNIT_UINT(puppet_taken(puppet), i + 1);
        UNIT_TRUE(is_up());
    }
    UNIT_UINT(side.gone, 0); /* its process lives */
    end();
}

static void who_hangs_up_is_called_less_and_less_often(void)
{
    begin(PUPPET_HANGS_UP, true);
    sim_run(sim, 10 * ENV_S);
    size_t n = puppet_taken(puppet);
    UNIT_TRUE(n >= 15 && n <= 60);
    UNIT_TRUE(puppet->conns[1].at - puppet->conns[0].at <= 25 * ENV_MS);
    for (size_t i = n - 5; i + 1 < n; i++) {
        uint64_t pause = puppet->conns[i + 1].at - puppet->conns[i].at;
        UNIT_TRUE(pause >= 250 * ENV_MS && pause <= 510 * ENV_MS);
    }
    UNIT_TRUE(!is_up());
    UNIT_TRUE(peers_trouble(side.peers, 2)[0]);
    puppet->manner = PUPPET_WELCOMES;
    sim_run(sim, ENV_S);
    UNIT_TRUE(is_up());
    sim_reset(sim, host_a, host_b); /* the pauses have begun anew */
    sim_run(sim, 10 * ENV_MS);
    UNIT_TRUE(is_up());
    end();
}

/* Who calls lives: no pause any more. */
static void a_visit_ends_the_pause(void)
{
    begin(PUPPET_HANGS_UP, true);
    sim_run(sim, 10 * ENV_S);
    puppet->manner = PUPPET_WELCOMES;
    size_t n = puppet_taken(puppet);
    visit();
    UNIT_TRUE(puppet_taken(puppet) <= n + 1);
    UNIT_TRUE(is_up());
    end();
}

static void a_process_that_ended_is_told_of(void)
{
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    visit();
    UNIT_UINT(side.gone, 0);
    sim_crash(host_b, SIM_KILL);
    sim_run(sim, 10 * ENV_MS);
    UNIT_TRUE(side.gone >= 1);
    UNIT_TRUE(!is_up());
    sim_run(sim, 10 * ENV_S);
    UNIT_TRUE(side.gone >= 15 && side.gone <= 60); /* again at each attempt */
    UNIT_TRUE(strstr(peers_trouble(side.peers, 2), "refused") != NULL);
    end();
}

static void silence_breaks_a_connection_off(void)
{
    begin(PUPPET_IS_SILENT, true);
    sim_run(sim, 1200 * ENV_MS); /* one that was not welcomed in a second */
    UNIT_TRUE(puppet->conns[0].closed);
    UNIT_TRUE(strstr(peers_trouble(side.peers, 2), "does not answer in time") != NULL);
    end();
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 10 * ENV_S);
    UNIT_TRUE(is_up()); /* the reports are answered */
    UNIT_UINT(puppet_taken(puppet), 1);
    puppet->mute = true;
    sim_run(sim, 4500 * ENV_MS);
    UNIT_TRUE(puppet->conns[0].closed);
    UNIT_UINT(puppet_taken(puppet), 2); /* at once anew */
    end();
    begin(PUPPET_WELCOMES, true); /* one that it made, and says nothing on */
    sim_run(sim, 20 * ENV_MS);
    struct puppet_conn *c = visit();
    sim_run(sim, 5 * ENV_S);
    UNIT_TRUE(!c->closed);
    sim_run(sim, 2 * ENV_S);
    UNIT_TRUE(c->closed);
    end();
}

static void what_is_no_message_ends_the_connection(void)
{
    struct buf b;
    begin(PUPPET_BABBLES, true);
    sim_run(sim, 50 * ENV_MS);
    UNIT_TRUE(!is_up());
    UNIT_TRUE(strstr(peers_trouble(side.peers, 2), "no message of a Holdfast member") != NULL);
    end();
    begin(PUPPET_REFUSES, true);
    sim_run(sim, 50 * ENV_MS);
    UNIT_TRUE(side.refused >= 1);
    UNIT_STR(side.refusal.text, "not today");
    UNIT_STR(peers_trouble(side.peers, 2), "it refuses us: not today");
    end();
    begin(PUPPET_WELCOMES, true);
    puppet->id = 3; /* who answers is not who was meant */
    sim_run(sim, 50 * ENV_MS);
    UNIT_TRUE(!is_up());
    UNIT_TRUE(strstr(peers_trouble(side.peers, 2), "another member answers") != NULL);
    end();
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    frame(&b, MESSAGE_APPEND, 5); /* on the connection on which only the other side speaks */
    puppet_say(puppet_newest(puppet), &b);
    sim_run(sim, ENV_MS);
    UNIT_TRUE(strstr(peers_trouble(side.peers, 2), "out of turn") != NULL || puppet->conns[0].closed);
    UNIT_TRUE(puppet->conns[0].closed);
    end();
}

static void what_is_no_message_ends_a_visit(void)
{
    struct buf b;
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    struct puppet_conn *c = visit();
    frame(&b, MESSAGE_VOTE, 100);
    b.data[MESSAGE_HEAD + 50] ^= 1; /* a bit changes on its way */
    puppet_say(c, &b);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(c->closed);
    UNIT_UINT(side.messages, 0);
    frame(&b, MESSAGE_VOTE, 5); /* no hello */
    c = puppet_call(puppet, "a:1", &b);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(c->closed);
    UNIT_UINT(side.messages, 0);
    snprintf(side.reason, sizeof side.reason, "not you");
    struct message_hello hello = {.level = MESSAGE_LEVEL, .from = 2, .to = 1, .incarnation = 1};
    c = puppet_hello(puppet, "a:1", &hello);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(c->closed);
    UNIT_STR(c->refusal.text, "not you");
    side.reason[0] = 0;
    act.what = SET;
    act.id = hello.from = 3; /* a member, but at an address that is none */
    act.address = "b:no port";
    do_act();
    c = puppet_hello(puppet, "a:1", &hello);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(c->closed);
    UNIT_STR(c->refusal.text, "the address that the cluster has of node 3 cannot be read");
    UNIT_TRUE(is_up()); /* nothing of this was of harm */
    end();
}

static void strangers_are_few_and_do_not_stay(void)
{
    enum { MANY = 50, MOST = 32 };
    struct puppet_conn *c[MANY];
    unsigned open = 0;
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    for (size_t i = 0; i < MANY; i++) {
        struct buf b;
        buf_init(&b, 1);
        c[i] = puppet_call(puppet, "a:1", &b);
        sim_run(sim, 2 * ENV_MS);
    }
    sim_run(sim, 100 * ENV_MS);
    for (size_t i = 0; i < MANY; i++) {
        open += !c[i]->closed;
    }
    UNIT_UINT(open, MOST);
    sim_run(sim, 6 * ENV_S);
    for (size_t i = 0; i < MANY; i++) {
        UNIT_TRUE(c[i]->closed);
    }
    visit();
    end();
}

/* It knows best which of its connections lives. */
static void a_newer_visit_replaces_the_older(void)
{
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    struct puppet_conn *first = visit(), *second = visit();
    UNIT_TRUE(first->closed);
    UNIT_TRUE(!second->closed);
    end();
}

static void what_was_written_and_not_taken_is_known(void)
{
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    UNIT_UINT(peers_pending(side.peers, 2), 0);
    UNIT_UINT(peers_pending(side.peers, 3), PEERS_PENDING_MAX); /* nobody takes anything */
    sim_cut(sim, host_a, host_b);
    for (unsigned i = 0; i < 8; i++) {
        UNIT_TRUE(send_frame(2, MESSAGE_APPEND, 1 << 20));
    }
    UNIT_TRUE(peers_pending(side.peers, 2) >= PEERS_PENDING_MAX);
    sim_heal_all(sim);
    sim_run(sim, ENV_S);
    UNIT_UINT(peers_pending(side.peers, 2), 0);
    UNIT_UINT(puppet_newest(puppet)->frames[MESSAGE_APPEND], 8);
    end();
}

static void another_address_is_called(void)
{
    begin(PUPPET_WELCOMES, true);
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(is_up());
    set_address("b:1"); /* the same: nothing happens */
    sim_run(sim, 20 * ENV_MS);
    UNIT_UINT(puppet_taken(puppet), 1);
    set_address("b:2");
    UNIT_TRUE(!is_up());
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(puppet->conns[0].closed);
    UNIT_TRUE(!is_up());
    set_address("b:1");
    sim_run(sim, 20 * ENV_MS);
    UNIT_TRUE(is_up());
    act.what = REMOVE;
    do_act();
    sim_run(sim, 20 * ENV_MS);
    UNIT_STR(peers_trouble(side.peers, 2), "no member");
    UNIT_TRUE(puppet_newest(puppet)->closed);
    end();
}

UNIT_MAIN("peers", UNIT_TEST(it_connects_and_speaks), UNIT_TEST(an_answer_can_be_the_wrong_one), UNIT_TEST(after_a_reset_it_connects_at_once),
          UNIT_TEST(who_hangs_up_is_called_less_and_less_often), UNIT_TEST(a_visit_ends_the_pause), UNIT_TEST(a_process_that_ended_is_told_of),
          UNIT_TEST(silence_breaks_a_connection_off), UNIT_TEST(what_is_no_message_ends_the_connection),
          UNIT_TEST(what_is_no_message_ends_a_visit), UNIT_TEST(strangers_are_few_and_do_not_stay), UNIT_TEST(a_newer_visit_replaces_the_older),
          UNIT_TEST(what_was_written_and_not_taken_is_known), UNIT_TEST(another_address_is_called))
