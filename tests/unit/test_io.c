/* test_io: what our raft_io does for libraft, rule by rule. libraft itself does not run: the tests set the few fields that are read, and play
 * the part of its callbacks. */
#include "tests/unit/unit.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/io_impl.h"
#include "raft/message.h"
#include "storage/filelist.h"
#include "storage/install.h"
#include "tests/sim/disk.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>
#include <string.h>

enum { APPENDS = 4, PAYLOAD = 64 };

struct node {
    struct env *env;
    struct rio *rio;
    struct raft raft;
    struct sim_process *process;
    struct raft_io_append appends[APPENDS];
    struct raft_entry entries[APPENDS];
    int statuses[APPENDS]; /* in the order in which they were called */
    unsigned order[APPENDS], called;
    unsigned ticks, received, sent, turned;
    bool hastened; /* the last time */
    struct raft_message last_sent, last_received;
    struct env_msg msg;
    void (*todo)(struct node *n);
};

static struct sim *sim;
static struct sim_host *host;
static struct node node;
static unsigned failures;

static void turned(void *owner)
{
    ((struct node *)owner)->turned++;
}

static int sent(void *owner, const struct raft_message *m)
{
    struct node *n = owner;
    n->sent++;
    n->last_sent = *m;
    return -1; /* the connection is not up */
}

static const struct rio_handler handler = {.turned = turned, .send = sent};

static void tick(struct raft_io *io)
{
    (void)io;
    node.ticks++;
}

static int *role_seen; /* of the second member, while a message is taken */

static void received(struct raft_io *io, struct raft_message *m)
{
    (void)io;
    if (role_seen) {
        *role_seen = node.raft.configuration.servers[1].role;
    }
    node.received++;
    node.last_received = *m;
}

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct node *n = arg;
    struct errmsg em;
    *n = (struct node){.env = env, .process = process};
    UNIT_INT(env_make_dir(env, "/", "d", &em), 0);
    UNIT_INT(rio_open(env, "/d", &handler, n, &n->rio, &em), 0);
    struct raft_io *io = rio_raft_io(n->rio);
    io->data = &n->raft;
    n->raft.state = RAFT_FOLLOWER;
    n->raft.election_timeout = 1000;
    n->raft.current_term = rio_term(n->rio);
    UNIT_INT(io->start(io, 20, tick, received), 0);
}

static void closed(struct raft_io *io)
{
    (void)io;
    struct sim_process *process = node.process;
    rio_free(node.rio);
    sim_exit(process);
}

static void stop(struct sim_process *process, void *arg)
{
    (void)process;
    (void)arg;
    rio_raft_io(node.rio)->close(rio_raft_io(node.rio), closed);
}

static const struct sim_program program = {start, stop, NULL};

static void failed(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
    failures++;
}

static void begin(void)
{
    sim = sim_new(unit_seed());
    sim_on_failure(sim, failed, NULL);
    failures = 0;
    host = sim_host_new(sim, "a");
    sim_start(host, &program, &node);
    sim_run(sim, 100 * ENV_MS);
    UNIT_REQUIRE(node.rio != NULL);
}

static void end(void)
{
    sim_free(sim);
    UNIT_UINT(failures, 0);
}

static void run_todo(struct env_msg *msg)
{
    struct node *n = CONTAINER_OF(msg, struct node, msg);
    n->todo(n);
}

/* On the node's own env. */
static void on_node(void (*todo)(struct node *n), uint64_t then)
{
    node.todo = todo;
    node.msg.run = run_todo;
    env_post(node.env, &node.msg);
    sim_run(sim, then);
}

/* ---- appends ---- */

static void appended(struct raft_io_append *req, int status)
{
    unsigned i = (unsigned)(req - node.appends);
    node.statuses[node.called] = status;
    node.order[node.called++] = i;
}

static void append(struct node *n, unsigned i)
{
    static uint8_t bytes[PAYLOAD];
    struct raft_io *io = rio_raft_io(n->rio);
    n->entries[i] = (struct raft_entry){.term = 1, .type = RAFT_COMMAND, .buf = {.base = bytes, .len = PAYLOAD}};
    UNIT_INT(io->append(io, &n->appends[i], &n->entries[i], 1, appended), 0);
}

static void append_all_and_close(struct node *n)
{
    for (unsigned i = 0; i < APPENDS; i++) {
        append(n, i);
    }
    sim_stop(host);
}

/* What was not begun is canceled newest first: the other order makes libraft truncate twice. */
static void a_close_cancels_newest_first(void)
{
    begin();
    sim_slow_disk(host, 100); /* the first one is still being written when it closes */
    on_node(append_all_and_close, 5 * ENV_S);
    UNIT_UINT(node.called, APPENDS);
    UNIT_UINT(node.order[0], 0);
    UNIT_INT(node.statuses[0], 0);
    for (unsigned i = 1; i < APPENDS; i++) {
        UNIT_UINT(node.order[i], APPENDS - i);
        UNIT_INT(node.statuses[i], RAFT_CANCELED);
    }
    end();
}

static void append_two(struct node *n)
{
    append(n, 0);
    append(n, 1);
    UNIT_UINT(n->called, 0); /* never inside the call */
}

/* An error would make libraft cut its log and go on leading. */
static void an_error_of_the_log_ends_the_node(void)
{
    begin();
    on_node(append_two, 100 * ENV_MS);
    UNIT_UINT(node.called, 2);
    UNIT_TRUE(node.order[0] == 0 && node.order[1] == 1);
    node.called = 0;
    sim_fail_call(host, SIM_WRITE, 1, E_IO, false);
    on_node(append_two, 100 * ENV_MS);
    UNIT_UINT(node.called, 0);
    UNIT_TRUE(!sim_host_process(host));
    UNIT_TRUE(strstr(sim_last_words(host), "write-ahead log") != NULL);
    end();
}

/* ---- ticks ---- */

static void append_one(struct node *n)
{
    append(n, 0);
}

static void hasten(struct node *n)
{
    uint64_t before = rio_raft_io(n->rio)->time(rio_raft_io(n->rio));
    n->hastened = rio_hasten(n->rio);
    if (n->hastened) {
        UNIT_TRUE(rio_raft_io(n->rio)->time(rio_raft_io(n->rio)) >= before + 2 * n->raft.election_timeout);
    }
}

static void receive_timeout_now(struct node *n)
{
    struct raft_message m = {.type = RAFT_IO_TIMEOUT_NOW, .server_id = 2, .server_address = "b:1"};
    rio_receive(n->rio, &m);
}

static void a_follower_is_left_alone_while_it_writes(void)
{
    begin();
    UNIT_TRUE(node.ticks >= 3);
    sim_slow_disk(host, 1000);
    on_node(append_one, 10 * ENV_MS);
    UNIT_TRUE(rio_writing(node.rio));
    node.ticks = 0;
    on_node(receive_timeout_now, 30 * ENV_MS);
    UNIT_UINT(node.received, 0);
    on_node(hasten, ENV_MS);
    UNIT_TRUE(!node.hastened);
    UNIT_TRUE(rio_writing(node.rio));
    UNIT_UINT(node.ticks, 0);
    node.raft.state = RAFT_LEADER; /* which has to look for its quorum, and to say that it lives */
    sim_run(sim, 30 * ENV_MS);
    UNIT_TRUE(node.ticks >= 1);
    node.raft.state = RAFT_FOLLOWER;
    sim_slow_disk(host, 1);
    sim_run(sim, 5 * ENV_S);
    UNIT_TRUE(!rio_writing(node.rio));
    UNIT_UINT(node.received, 1); /* now */
    UNIT_INT(node.last_received.type, RAFT_IO_TIMEOUT_NOW);
    node.ticks = 0;
    on_node(hasten, ENV_MS);
    UNIT_TRUE(node.ticks >= 1);
    node.raft.state = RAFT_LEADER; /* it would look for a quorum that it has not asked yet, and step down */
    on_node(hasten, ENV_MS);
    UNIT_TRUE(!node.hastened);
    end();
}

/* ---- a leader's snapshot ---- */

static struct raft_io_snapshot_put put_request;
static struct install install = {.index = 10};
static struct store *store;
static int put_status;
static bool put_over, hastened;

static void hasten_now(struct node *n)
{
    hastened = rio_hasten(n->rio);
}

static void store_gone(void *arg)
{
    (void)arg;
    store = NULL;
}

static void close_store(struct node *n)
{
    rio_set_store(n->rio, NULL);
    store_close(store, store_gone, NULL);
}

static void put_done(struct raft_io_snapshot_put *req, int status)
{
    (void)req;
    put_status = status;
    put_over = true;
}

static void open_store(struct node *n)
{
    struct errmsg em;
    UNIT_INT(store_open(n->env, "/d", &store, &em), 0);
    rio_set_store(n->rio, store);
}

static void put_snapshot(struct node *n)
{
    static uint8_t manifest[8];
    struct raft_buffer data = {.base = manifest, .len = sizeof manifest};
    struct raft_snapshot s = {.index = 10, .term = 1, .configuration_index = 1, .bufs = &data, .n_bufs = 1};
    struct raft_io *io = rio_raft_io(n->rio);
    raft_configuration_init(&s.configuration);
    UNIT_INT(raft_configuration_add(&s.configuration, 1, "a:1/1", RAFT_VOTER), 0);
    install.files = filelist_new();
    n->rio->put.install = &install;
    put_over = false;
    sim_slow_disk(host, 1000);
    UNIT_INT(io->snapshot_put(io, 0, &put_request, &s, put_done), 0);
    raft_configuration_close(&s.configuration);
}

/* libraft takes it for stored from the first moment on: as candidate, even as leader, it would stand on what is not there. */
static void nobody_stands_for_election_on_half_a_snapshot(void)
{
    begin();
    on_node(open_store, ENV_S);
    on_node(put_snapshot, 10 * ENV_MS);
    UNIT_TRUE(node.rio->put.busy && !put_over);
    node.ticks = 0;
    on_node(receive_timeout_now, 30 * ENV_MS);
    on_node(hasten_now, ENV_MS);
    UNIT_TRUE(!hastened);
    UNIT_TRUE(!put_over);
    UNIT_UINT(node.received, 0);
    UNIT_UINT(node.ticks, 0);
    sim_slow_disk(host, 1);
    sim_run(sim, 20 * ENV_S);
    UNIT_TRUE(put_over);
    UNIT_INT(put_status, 0);
    UNIT_UINT(rio_snapshot_index(node.rio), 10);
    UNIT_UINT(rio_last_index(node.rio), 10);
    UNIT_TRUE(node.ticks >= 1);
    on_node(close_store, ENV_S);
    UNIT_TRUE(!store);
    filelist_unref(install.files);
    end();
}

static void leave(struct node *n)
{
    rio_leave(n->rio);
}

static void who_is_about_to_end_takes_no_lead(void)
{
    begin();
    on_node(leave, ENV_MS);
    node.ticks = 0;
    on_node(receive_timeout_now, 100 * ENV_MS);
    on_node(hasten, ENV_MS);
    UNIT_TRUE(!node.hastened);
    UNIT_UINT(node.received, 0);
    UNIT_UINT(node.ticks, 0);
    node.raft.state = RAFT_LEADER; /* one that leads goes on */
    sim_run(sim, 100 * ENV_MS);
    UNIT_TRUE(node.ticks >= 3);
    end();
}

/* ---- messages ---- */

static struct raft_io_send request;
static unsigned finished;
static int finished_with;

static void send_done(struct raft_io_send *req, int status)
{
    UNIT_TRUE(req == &request);
    finished++;
    finished_with = status;
}

static void send_to_nobody(struct node *n)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 0, .server_address = NULL};
    UNIT_INT(rio_raft_io(n->rio)->send(rio_raft_io(n->rio), &request, &m, send_done), 0);
    UNIT_UINT(finished, 0);
}

static void send_append(struct node *n)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2, .server_address = "b:1"};
    UNIT_INT(rio_raft_io(n->rio)->send(rio_raft_io(n->rio), &request, &m, send_done), 0);
}

static void send_without_callback(struct node *n)
{
    struct raft_message m = {.type = RAFT_IO_TIMEOUT_NOW, .server_id = 2, .server_address = "b:1"};
    UNIT_INT(rio_raft_io(n->rio)->send(rio_raft_io(n->rio), &request, &m, NULL), 0);
    memset(&request, 0xee, sizeof request); /* libraft's transfer may be gone by now */
}

static void what_is_sent_never_fails(void)
{
    begin();
    finished = 0;
    on_node(send_to_nobody, 10 * ENV_MS); /* to a leader that libraft has forgotten */
    UNIT_UINT(finished, 1);
    UNIT_UINT(node.sent, 0);
    on_node(send_append, 10 * ENV_MS); /* one that cannot be sent: said again, from where the member is */
    UNIT_UINT(finished, 2);
    UNIT_INT(finished_with, 0);
    UNIT_UINT(node.sent, 1);
    on_node(send_without_callback, 10 * ENV_MS);
    UNIT_UINT(finished, 2);
    UNIT_UINT(node.sent, 2);
    end();
}

static bool disrupts;

static void receive_vote(struct node *n)
{
    struct raft_message m = {.type = RAFT_IO_REQUEST_VOTE, .server_id = 2, .server_address = "b:1"};
    rio_receive(n->rio, &m);
    disrupts = n->last_received.request_vote.disrupt_leader;
}

static void receive_heartbeat(struct node *n)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 3, .server_address = "c:1"};
    m.append_entries.term = n->raft.current_term;
    rio_receive(n->rio, &m);
}

static void leader_gone(struct node *n)
{
    rio_leader_gone(n->rio);
}

/* Who saw that the leader's process has ended hears who asks for votes, until a leader is heard. */
static void votes_are_heard_when_the_leader_is_gone(void)
{
    begin();
    on_node(receive_vote, ENV_MS);
    UNIT_TRUE(!disrupts);
    on_node(leader_gone, ENV_MS);
    on_node(receive_vote, ENV_MS);
    UNIT_TRUE(disrupts);
    on_node(receive_heartbeat, ENV_MS);
    UNIT_TRUE(rio_heard(node.rio) != 0);
    on_node(receive_vote, ENV_MS);
    UNIT_TRUE(!disrupts);
    end();
}

static int role_at_vote;

static void be_standby(struct node *n)
{
    n->raft.id = 1;
    UNIT_INT(raft_configuration_add(&n->raft.configuration, 2, "b:1", RAFT_VOTER), 0);
    UNIT_INT(raft_configuration_add(&n->raft.configuration, 1, "a:1", RAFT_STANDBY), 0);
}

static void receive_vote_as_standby(struct node *n)
{
    role_seen = &role_at_vote;
    receive_vote(n);
    role_seen = NULL;
    UNIT_INT(n->raft.configuration.servers[1].role, RAFT_STANDBY);
}

static void forget_members(struct node *n)
{
    raft_configuration_close(&n->raft.configuration);
}

/* Who asks may know of a promotion that we lost: libraft decides by the logs alone. */
static void a_standby_votes(void)
{
    begin();
    on_node(be_standby, ENV_MS);
    on_node(receive_vote_as_standby, ENV_MS);
    UNIT_INT(role_at_vote, RAFT_VOTER);
    on_node(forget_members, ENV_MS);
    end();
}

/* ---- what members have ---- */

static void hear_leader(struct node *n, uint64_t id, char *address, uint64_t commit)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = id, .server_address = address};
    m.append_entries.term = n->raft.current_term;
    m.append_entries.leader_commit = commit;
    rio_receive(n->rio, &m);
}

/* More of them than there are places, before and after a member. */
static void hear_many_and_a_member(struct node *n)
{
    for (uint64_t i = 0; i < 2 * GUARD_PEERS; i++) {
        if (i == GUARD_PEERS) {
            hear_leader(n, 2, "b:1", 7);
        }
        hear_leader(n, 100 + i, "gone:1", 3);
    }
    UNIT_UINT(rio_held(n->rio, 2, "b:1"), 7);
    UNIT_UINT(rio_held(n->rio, 100 + 2 * GUARD_PEERS - 1, "gone:1"), 3);
}

static void who_is_no_member_any_more_gives_place(void)
{
    begin();
    on_node(be_standby, ENV_MS);
    on_node(hear_many_and_a_member, ENV_MS);
    on_node(forget_members, ENV_MS);
    end();
}

/* ---- term and vote ---- */

static void vote_in_term_5(struct node *n)
{
    struct raft_io *io = rio_raft_io(n->rio);
    UNIT_INT(io->set_term(io, 5), 0);
    UNIT_INT(io->set_vote(io, 2), 0);
    UNIT_INT(io->set_term(io, 5), 0); /* some versions repeat it: the vote stays */
}

static void set_term_6(struct node *n)
{
    struct raft_io *io = rio_raft_io(n->rio);
    UNIT_INT(io->set_term(io, 6), 0);
}

static void restart(void)
{
    sim_crash(host, SIM_POWER);
    sim_run(sim, ENV_MS);
    sim_start(host, &program, &node);
    sim_run(sim, 100 * ENV_MS);
}

static void check_vote(uint64_t term, uint64_t id)
{
    UNIT_UINT(vote_term(node.rio->vote), term);
    UNIT_UINT(vote_for(node.rio->vote), id);
}

/* The copy that was damaged is written again at the start: then the other one may go. */
static void a_vote_survives_in_either_copy(void)
{
    for (uint64_t slot = 0; slot < 2; slot++) {
        begin();
        on_node(vote_in_term_5, 100 * ENV_MS);
        for (unsigned i = 0; i < 2; i++) {
            sim_crash(host, SIM_POWER);
            sim_run(sim, ENV_MS);
            UNIT_INT(disk_flip(sim_host_disk(host), "/d/vote", (slot + i) % 2 * ENV_BLOCK + 21, 4), 0);
            restart();
            check_vote(5, 2);
        }
        on_node(set_term_6, 100 * ENV_MS); /* a new term forgets it */
        restart();
        check_vote(6, 0);
        end();
    }
}

UNIT_MAIN("io", UNIT_TEST(a_close_cancels_newest_first), UNIT_TEST(an_error_of_the_log_ends_the_node),
          UNIT_TEST(a_follower_is_left_alone_while_it_writes), UNIT_TEST(nobody_stands_for_election_on_half_a_snapshot), UNIT_TEST(who_is_about_to_end_takes_no_lead), UNIT_TEST(what_is_sent_never_fails),
          UNIT_TEST(votes_are_heard_when_the_leader_is_gone), UNIT_TEST(a_standby_votes), UNIT_TEST(who_is_no_member_any_more_gives_place), UNIT_TEST(a_vote_survives_in_either_copy))
