/* test_sim_net: streams of the simulated world: bytes arrive whole and in order, in chunks of any size; a
 * slow reader stops its writer; closes, crashes, resets and cuts are heard of as the contract says; and the
 * whole repeats from its seed. */
#include "tests/unit/unit.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>
#include <string.h>

enum { TOTAL = 3000000 };

/* The byte at an offset of what a client sends. */
static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 7 + at / 251);
}

/* ---- a server that echoes on a worker env -------------------------------------------------------------- */

struct server;

struct session {
    struct env_msg msg; /* to the worker */
    struct server *server;
    struct env_socket *socket;
    struct env_stream *stream;
    struct session *next;
};

struct server {
    struct sim *sim;
    struct env *env, *worker;
    struct env_listener *tcp, *local;
    struct session *sessions;
    struct env_msg stop_msg;
    char peer[300];
    bool peer_is_local;
    uint32_t peer_uid;
    unsigned closed, starts;
    int closed_code;
    struct sim_process *process;
};

static void echo_readable(void *owner, const uint8_t *data, size_t n)
{
    struct session *s = owner;
    struct buf b;
    buf_init(&b, SIZE_MAX);
    buf_bytes(&b, data, n);
    env_stream_write(s->stream, &b);
    buf_free(&b);
    env_stream_pause(s->stream, env_stream_pending(s->stream) > 100000);
}

static void echo_drained(void *owner)
{
    struct session *s = owner;
    env_stream_pause(s->stream, false);
}

static void session_end(struct session *s)
{
    struct session **at = &s->server->sessions;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    env_stream_close(s->stream);
    mem_free(s);
}

static void echo_closed(void *owner, int code, const char *why)
{
    struct session *s = owner;
    UNIT_TRUE(why != NULL);
    s->server->closed++;
    s->server->closed_code = code;
    session_end(s);
}

static const struct env_stream_handler echo_handler = {
    .readable = echo_readable, .drained = echo_drained, .closed = echo_closed};

static void session_begin(struct env_msg *msg)
{
    struct session *s = (struct session *)msg;
    s->next = s->server->sessions;
    s->server->sessions = s;
    UNIT_INT(env_attach(s->server->worker, s->socket, &echo_handler, s, &s->stream), 0);
}

static void accepted(void *owner, struct env_socket *socket)
{
    struct server *server = owner;
    struct session *s = mem_new(sizeof *s);
    const struct env_peer *peer = env_socket_peer(socket);
    snprintf(server->peer, sizeof server->peer, "%s", peer->text);
    server->peer_is_local = peer->is_local;
    server->peer_uid = peer->uid;
    s->msg.run = session_begin;
    s->server = server;
    s->socket = socket;
    env_post(server->worker, &s->msg);
}

static void listen_on(struct server *server, const char *text, struct env_listener **listener)
{
    struct env_addr addr;
    struct errmsg em;
    UNIT_INT(env_addr_parse(text, 0, &addr, &em), 0);
    UNIT_INT(env_listen(server->env, &addr, accepted, server, listener, &em), 0);
}

static void server_start(struct sim_process *process, struct env *env, void *arg)
{
    struct server *server = arg;
    server->process = process;
    server->env = env;
    server->starts++;
    UNIT_INT(env_spawn(env, "worker", &server->worker), 0);
    listen_on(server, "0.0.0.0:3306", &server->tcp);
    listen_on(server, "/run/socket", &server->local);
}

static void worker_stop(struct env_msg *msg)
{
    struct server *server = CONTAINER_OF(msg, struct server, stop_msg);
    while (server->sessions) {
        session_end(server->sessions);
    }
}

static void server_stop(struct sim_process *process, void *arg)
{
    struct server *server = arg;
    env_listener_close(server->tcp);
    env_listener_close(server->local);
    server->stop_msg.run = worker_stop;
    env_post(server->worker, &server->stop_msg);
    env_join(server->worker);
    sim_exit(process);
}

static const struct sim_program server_program = {server_start, server_stop, NULL};

/* ---- a client ------------------------------------------------------------------------------------------ */

struct client {
    struct sim *sim;
    const char *target;
    struct env *env;
    struct env_stream *stream;
    struct env_timer timer;
    uint64_t to_send, sent, got, most_pending;
    unsigned connected, drained, closed, wrong;
    int code;
    bool slow; /* pauses between reads */
};

static void send_more(struct client *c)
{
    struct buf b;
    size_t n = c->to_send - c->sent < 40000 ? (size_t)(c->to_send - c->sent) : 40000;
    buf_init(&b, SIZE_MAX);
    uint8_t *p = buf_extend(&b, n);
    for (size_t i = 0; i < n; i++) {
        p[i] = pattern(c->sent + i);
    }
    c->sent += n;
    env_stream_write(c->stream, &b);
    UNIT_UINT(b.len, 0);
    buf_free(&b);
}

static void client_connected(void *owner)
{
    struct client *c = owner;
    c->connected++;
    for (int i = 0; i < 10; i++) {
        send_more(c);
    }
}

static void client_readable(void *owner, const uint8_t *data, size_t n)
{
    struct client *c = owner;
    for (size_t i = 0; i < n; i++) {
        c->wrong += data[i] != pattern(c->got + i);
    }
    c->got += n;
    if (env_stream_pending(c->stream) > c->most_pending) {
        c->most_pending = env_stream_pending(c->stream);
    }
    if (c->slow) {
        env_stream_pause(c->stream, true);
        env_timer_start(&c->timer, 5 * ENV_MS);
    }
}

static void client_drained(void *owner)
{
    struct client *c = owner;
    c->drained++;
    UNIT_UINT(env_stream_pending(c->stream), 0);
    if (c->sent < c->to_send) {
        send_more(c);
    }
}

static void client_closed(void *owner, int code, const char *why)
{
    struct client *c = owner;
    UNIT_TRUE(why != NULL);
    c->closed++;
    c->code = code;
}

static const struct env_stream_handler client_handler = {client_connected, client_readable, client_drained,
                                                         client_closed};

static void client_resume(struct env_timer *timer)
{
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    if (c->stream) {
        env_stream_pause(c->stream, false);
    }
}

static void client_start(struct sim_process *process, struct env *env, void *arg)
{
    struct client *c = arg;
    struct env_addr addr;
    (void)process;
    c->env = env;
    c->sent = c->got = 0;
    c->connected = c->closed = 0;
    env_timer_open(env, &c->timer, client_resume);
    UNIT_INT(env_addr_parse(c->target, 3306, &addr, NULL), 0);
    UNIT_INT(env_connect(env, &addr, &client_handler, c, &c->stream), 0);
}

static void client_stop(struct sim_process *process, void *arg)
{
    struct client *c = arg;
    env_stream_close(c->stream);
    c->stream = NULL;
    env_timer_close(&c->timer);
    sim_exit(process);
}

static const struct sim_program client_program = {client_start, client_stop, NULL};

/* ---- two hosts ----------------------------------------------------------------------------------------- */

struct pair {
    struct sim *sim;
    struct sim_host *a, *b;
    struct server server;
    struct client client;
    unsigned failures;
};

static void failed(void *arg, const char *text)
{
    printf("sim_fail: %s\n", text);
    (*(unsigned *)arg)++;
}

static struct pair *pair_new(uint64_t seed, const char *target)
{
    struct pair *p = mem_new(sizeof *p);
    p->sim = sim_new(seed);
    sim_on_failure(p->sim, failed, &p->failures);
    p->a = sim_host_new(p->sim, "db1");
    p->b = sim_host_new(p->sim, "app1");
    p->server.sim = p->client.sim = p->sim;
    p->client.target = target;
    p->client.to_send = TOTAL;
    sim_start(p->a, &server_program, &p->server);
    sim_start(p->b, &client_program, &p->client);
    return p;
}

static void pair_free(struct pair *p)
{
    sim_free(p->sim);
    UNIT_UINT(p->failures, 0);
    mem_free(p);
}

static bool all_echoed(void *arg)
{
    const struct client *c = arg;
    return c->got == c->to_send;
}

static bool some_echoed(void *arg)
{
    return ((const struct client *)arg)->got > 0;
}

static void bytes_come_back_whole_and_in_order(void)
{
    for (int slow = 0; slow < 2; slow++) {
        struct pair *p = pair_new(unit_seed(), "db1:3306");
        p->client.slow = slow;
        UNIT_TRUE(sim_run_until(p->sim, all_echoed, &p->client, 100 * ENV_S));
        UNIT_UINT(p->client.wrong, 0);
        UNIT_UINT(p->client.connected, 1);
        UNIT_TRUE(p->client.drained > 10);
        UNIT_TRUE(strncmp(p->server.peer, "app1:", 5) == 0 && !p->server.peer_is_local);
        sim_stop(p->b);
        sim_run(p->sim, 3 * ENV_S);
        UNIT_UINT(p->server.closed, 1);
        UNIT_INT(p->server.closed_code, E_CLOSED);
        pair_free(p);
    }
}

static void local_sockets_tell_who_is_there(void)
{
    struct pair *p = pair_new(unit_seed(), "db1:3306");
    struct client local = {.sim = p->sim, .target = "/run/socket", .to_send = 1000};
    struct sim_host *c = sim_host_new(p->sim, "tool");
    sim_run(p->sim, ENV_S);
    sim_start(c, &client_program, &local); /* the path lies on another machine */
    sim_run(p->sim, ENV_S);
    UNIT_INT(local.code, E_REFUSED);
    sim_stop(c);
    sim_run(p->sim, ENV_S);
    sim_host_beside(c, p->a);
    sim_host_uid(c, 1000);
    sim_start(c, &client_program, &local);
    UNIT_TRUE(sim_run_until(p->sim, all_echoed, &local, ENV_S));
    UNIT_TRUE(p->server.peer_is_local);
    UNIT_UINT(p->server.peer_uid, 1000);
    UNIT_STR(p->server.peer, "unix:uid=1000");
    pair_free(p);
}

static void nobody_there(void)
{
    static const struct {
        const char *target;
        int code;
    } cases[] = {{"db1:1", E_REFUSED}, {"db2:3306", E_NOTFOUND}, {"localhost:3306", E_REFUSED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair *p = pair_new(unit_seed(), cases[i].target);
        sim_run(p->sim, ENV_S);
        UNIT_UINT(p->client.connected, 0);
        UNIT_UINT(p->client.closed, 1);
        UNIT_INT(p->client.code, cases[i].code);
        pair_free(p);
    }
}

static void crash_of_the_server_is_heard(void)
{
    unsigned resets = 0, ends = 0, late = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 40; seed++) {
        enum sim_crash kind = seed % 2 ? SIM_KILL : SIM_POWER;
        struct pair *p = pair_new(seed, "db1");
        sim_run(p->sim, 20 * ENV_MS);
        UNIT_UINT(p->client.connected, 1);
        sim_crash(p->a, kind);
        sim_run(p->sim, 100 * ENV_MS);
        late += !p->client.closed;
        UNIT_TRUE(p->client.closed || kind == SIM_POWER);
        sim_run(p->sim, 30 * ENV_S);
        UNIT_UINT(p->client.closed, 1);
        UNIT_TRUE(p->client.got <= p->client.sent);
        UNIT_UINT(p->client.wrong, 0);
        resets += p->client.code == E_RESET;
        ends += p->client.code == E_CLOSED;
        sim_start(p->a, &server_program, &p->server);
        sim_stop(p->b);
        sim_run(p->sim, 2 * ENV_S);
        sim_start(p->b, &client_program, &p->client);
        UNIT_TRUE(sim_run_until(p->sim, all_echoed, &p->client, 100 * ENV_S));
        pair_free(p);
    }
    UNIT_TRUE(resets > 5 && ends > 5 && late > 3);
    UNIT_UINT(resets + ends, 40);
}

static void a_cut_holds_bytes_until_it_is_healed(void)
{
    struct pair *p = pair_new(unit_seed(), "db1");
    UNIT_TRUE(sim_run_until(p->sim, some_echoed, &p->client, ENV_S));
    sim_cut(p->sim, p->b, p->a);
    sim_cut(p->sim, p->a, p->b);
    sim_run(p->sim, ENV_S);
    uint64_t got = p->client.got;
    UNIT_TRUE(got < TOTAL);
    sim_run(p->sim, 10 * ENV_S);
    UNIT_UINT(p->client.got, got);
    UNIT_UINT(p->client.closed, 0);
    sim_heal_all(p->sim);
    UNIT_TRUE(sim_run_until(p->sim, all_echoed, &p->client, 100 * ENV_S));
    UNIT_UINT(p->client.wrong, 0);
    sim_reset(p->sim, p->a, p->b);
    sim_run(p->sim, ENV_S);
    UNIT_UINT(p->client.closed, 1);
    UNIT_INT(p->client.code, E_RESET);
    UNIT_UINT(p->server.closed, 1);
    pair_free(p);
}

static void connecting_into_a_cut_times_out(void)
{
    struct pair *p = pair_new(unit_seed(), "db1");
    sim_cut(p->sim, p->a, p->b);
    sim_run(p->sim, 30 * ENV_S);
    UNIT_UINT(p->client.connected + p->client.closed, 0);
    sim_run(p->sim, 60 * ENV_S);
    UNIT_UINT(p->client.closed, 1);
    UNIT_INT(p->client.code, E_TIMEOUT);
    pair_free(p);
}

/* ---- repeatable ---------------------------------------------------------------------------------------- */

/* A run with a bit of everything; gives its hash. */
static uint64_t hash_of(uint64_t seed)
{
    struct pair *p = pair_new(seed, "db1");
    void *noise[8]; /* addresses must not matter */
    for (size_t i = 0; i < 8; i++) {
        noise[i] = mem_new(1 + (size_t)(((uintptr_t)&p >> 4) + i * 977) % 5000);
    }
    for (int i = 0; i < 6; i++) {
        sim_run(p->sim, rng_between(sim_rng(p->sim), ENV_MS, 200 * ENV_MS));
        sim_crash(p->a, rng_chance(sim_rng(p->sim), 50) ? SIM_KILL : SIM_POWER);
        sim_start(p->a, &server_program, &p->server);
        sim_stop(p->b);
        sim_run(p->sim, 20 * ENV_MS);
        sim_start(p->b, &client_program, &p->client);
    }
    sim_run(p->sim, ENV_S);
    for (size_t i = 0; i < 8; i++) {
        mem_free(noise[i]);
    }
    uint64_t hash = sim_hash(p->sim);
    printf("seed=%llu events=%llu hash=%016llx\n", (unsigned long long)seed,
           (unsigned long long)sim_events(p->sim), (unsigned long long)hash);
    pair_free(p);
    return hash;
}

static void same_seed_same_history(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 10; seed++) {
        uint64_t first = hash_of(seed);
        UNIT_UINT(hash_of(seed), first);
        UNIT_TRUE(hash_of(seed + 1000) != first);
    }
}

UNIT_MAIN("sim_net", UNIT_TEST(bytes_come_back_whole_and_in_order),
          UNIT_TEST(local_sockets_tell_who_is_there), UNIT_TEST(nobody_there),
          UNIT_TEST(crash_of_the_server_is_heard), UNIT_TEST(a_cut_holds_bytes_until_it_is_healed),
          UNIT_TEST(connecting_into_a_cut_times_out), UNIT_TEST(same_seed_same_history))
