/* test_serve_sim.c: the serving part in the simulated world: virtual time for what takes seconds, bytes cut
 * at any place, processes that die. That all is freed in the end, ghosts too, is what sim_exit proves. */
#include "node/serve.h"

#include "protocol/auth_client.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/result.h"
#include "protocol/wire.h"
#include "tests/sim/env_sim.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

enum { CLIENTS = 12, SAMPLE_MAX = 1 << 20 };

static uint8_t sample[SAMPLE_MAX];
static size_t sample_size;

static void read_sample(void)
{
    char *path = mem_printf("%s/tests/samples/mysql-9.7-all-events/mysql-bin.000001", unit_srcdir());
    FILE *f = fopen(path, "rb");
    mem_free(path);
    UNIT_REQUIRE(f != NULL);
    sample_size = fread(sample, 1, sizeof sample, f);
    fclose(f);
    UNIT_REQUIRE(sample_size > 1000 && sample_size < SAMPLE_MAX);
}

/* ---- the node ---- */

struct node {
    struct config config;
    struct control control;
    struct store *store;
    struct view *view;
    struct serve *serve;
    struct sim_process *process;
};

static struct view *new_view(void)
{
    struct view *v = mem_new(sizeof *v);
    atomic_init(&v->refs, 1);
    v->flavour = FLAVOUR_MYSQL;
    snprintf(v->version, sizeof v->version, "9.7.4-holdfast");
    v->server_id = 4711;
    v->n_users = 1;
    v->users = mem_array(1, sizeof *v->users);
    snprintf(v->users[0].name, sizeof v->users[0].name, "repl");
    snprintf(v->users[0].host, sizeof v->users[0].host, "%%");
    v->users[0].roles = ROLE_REPLICA;
    account_secret_set(&v->users[0].secret, "secret", 6);
    return v;
}

static void node_start(struct sim_process *process, struct env *env, void *arg)
{
    struct errmsg em = {""};
    struct node *node = mem_new(sizeof *node);
    (void)arg;
    sim_process_set(process, node);
    node->process = process;
    node->config.workers = 3;
    node->config.has_mysql_listen = true;
    (void)env_addr_parse("0.0.0.0:3306", 0, &node->config.mysql_listen, &em);
    node->control = (struct control){.loop = env, .config = &node->config};
    node->view = new_view();
    UNIT_INT(env_make_dir(env, "/", "data", &em), 0);
    UNIT_INT(store_open(env, "/data", &node->store, &em), 0);
    UNIT_INT(serve_open(&node->control, node->store, node->view, &node->serve, &em), 0);
    if (store_checkpoint_index(node->store) == 0) {
        store_file(node->store, 1, 0, 1, "mysql-bin.000001", NULL);
        store_write(node->store, 2, 4, sample + 4, sample_size - 4, sample_size, NULL, NULL);
    }
}

static void store_closed(void *arg)
{
    struct node *node = arg;
    struct sim_process *process = node->process;
    UNIT_UINT(atomic_load(&node->view->refs), 1);
    view_unref(node->view);
    mem_free(node);
    sim_exit(process);
}

static void serve_closed(void *arg)
{
    struct node *node = arg;
    store_close(node->store, store_closed, node);
}

static void node_stop(struct sim_process *process, void *arg)
{
    struct node *node = sim_process_get(process);
    (void)arg;
    serve_close(node->serve, serve_closed, node);
}

static const struct sim_program node_program = {.start = node_start, .stop = node_stop};

/* ---- clients: log in, dump all, stay ---- */

struct client {
    struct env_stream *stream;
    struct wire *wire;
    struct client_auth *auth;
    struct result result;
    bool silent; /* says nothing at all */
    bool set_sent, dumping, closed;
    unsigned index;
    uint64_t stored; /* bytes of the file */
    unsigned heartbeats;
    uint8_t seq;
};

struct crowd {
    struct env *env;
    struct sim_process *process;
    struct client clients[CLIENTS];
    unsigned n;
    bool silent;
};

static void flush(struct client *c)
{
    struct buf *out = wire_output(c->wire);
    if (out->len && !c->closed) {
        env_stream_write(c->stream, out);
    }
}

static void next_command(struct client *c)
{
    static const char set[] = "SET @source_binlog_checksum = 'CRC32', @source_heartbeat_period = 1000000000";
    if (!c->set_sent) {
        c->set_sent = true;
        command_put_query(c->wire, CAPS_CLIENT, set, sizeof set - 1);
        return;
    }
    struct binlog_dump dump = {.server_id = 100 + c->index, .pos = 4, .file = "mysql-bin.000001"};
    command_put_binlog_dump(c->wire, &dump);
    wire_seq_apart(c->wire, true);
    c->dumping = true;
    c->seq = 1;
}

static void take_event(struct client *c, const struct packet *p)
{
    struct stream_packet s;
    struct event_header h;
    struct errmsg em = {""};
    UNIT_INT(stream_parse(p, false, &s, &em), 0);
    UNIT_UINT(p->seq, c->seq++);
    if (s.kind != STREAM_EVENT) {
        return;
    }
    UNIT_INT(event_header_read(s.event, s.n, &h, &em), 0);
    c->heartbeats += h.type == EVENT_HEARTBEAT;
    if (h.type != EVENT_HEARTBEAT && !(h.flags & EVENT_FLAG_ARTIFICIAL)) {
        UNIT_TRUE(h.type == EVENT_FORMAT_DESCRIPTION || memcmp(s.event, sample + 4 + c->stored, s.n) == 0);
        c->stored += s.n;
    }
}

static void take_packet(struct client *c, const struct packet *p)
{
    struct errmsg em = {""};
    if (c->auth) {
        int rv = client_auth_packet(c->auth, c->wire, p, &em);
        UNIT_TRUE(rv >= 0);
        if (rv == CLIENT_AUTH_DONE) {
            client_auth_free(c->auth);
            c->auth = NULL;
            next_command(c);
        }
    } else if (c->dumping) {
        take_event(c, p);
    } else if (result_packet(&c->result, CAPS_CLIENT, p, &em) == RESULT_DONE) {
        next_command(c);
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct client *c = owner;
    struct packet p;
    struct errmsg em = {""};
    if (c->silent) {
        return;
    }
    UNIT_INT(wire_feed(c->wire, data, n, &em), 0);
    while (wire_next(c->wire, &p, &em) > 0) {
        take_packet(c, &p);
    }
    flush(c);
}

static void connected(void *owner)
{
    flush(owner);
}

static void closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    ((struct client *)owner)->closed = true;
}

static const struct env_stream_handler handler = {
    .connected = connected, .readable = readable, .closed = closed};

static void crowd_start(struct sim_process *process, struct env *env, void *arg)
{
    struct crowd *crowd = arg;
    struct env_addr addr = {.host = "hf", .port = 3306};
    struct client_auth_opts opts = {.user = "repl", .password = "secret"};
    crowd->env = env;
    crowd->process = process;
    for (unsigned i = 0; i < crowd->n; i++) {
        struct client *c = &crowd->clients[i];
        *c = (struct client){
            .index = i, .silent = crowd->silent, .wire = wire_new(1 << 24), .auth = client_auth_new(&opts)};
        result_init(&c->result, 1 << 16);
        UNIT_INT(env_connect(env, &addr, &handler, c, &c->stream), 0);
    }
}

static void crowd_stop(struct sim_process *process, void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < crowd->n; i++) {
        struct client *c = &crowd->clients[i];
        env_stream_close(c->stream);
        wire_free(c->wire);
        client_auth_free(c->auth);
        result_free(&c->result);
    }
    sim_exit(process);
}

static const struct sim_program crowd_program = {.start = crowd_start, .stop = crowd_stop};

/* ---- the world ---- */

struct world {
    struct sim *sim;
    struct sim_host *hf, *far;
    struct crowd crowd;
};

static void fail(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
    UNIT_TRUE(!"the simulator saw a failure");
}

static void begin(struct world *w, uint64_t seed, unsigned clients, bool silent)
{
    *w = (struct world){.sim = sim_new(seed)};
    read_sample();
    sim_on_failure(w->sim, fail, NULL);
    sim_log_level(w->sim, ENV_ERROR);
    w->hf = sim_host_new(w->sim, "hf");
    w->far = sim_host_new(w->sim, "far");
    sim_start(w->hf, &node_program, NULL);
    sim_run(w->sim, ENV_S);
    w->crowd.n = clients;
    w->crowd.silent = silent;
    sim_start(w->far, &crowd_program, &w->crowd);
}

static void end(struct world *w)
{
    sim_stop(w->far);
    sim_stop(w->hf);
    sim_run(w->sim, 5 * ENV_S);
    UNIT_TRUE(sim_host_process(w->hf) == NULL && sim_host_process(w->far) == NULL);
    UNIT_TRUE(!sim_failed(w->sim));
    sim_free(w->sim);
}

static bool all_stored(void *arg)
{
    struct world *w = arg;
    for (unsigned i = 0; i < w->crowd.n; i++) {
        if (w->crowd.clients[i].stored < sample_size - 4) {
            return false;
        }
    }
    return true;
}

static bool all_closed(void *arg)
{
    struct world *w = arg;
    for (unsigned i = 0; i < w->crowd.n; i++) {
        if (!w->crowd.clients[i].closed) {
            return false;
        }
    }
    return true;
}

/* ---- tests ---- */

static void drops_who_does_not_log_in(void)
{
    struct world w;
    begin(&w, unit_seed(), 3, true);
    sim_run(w.sim, 9 * ENV_S);
    UNIT_TRUE(!w.crowd.clients[0].closed && !w.crowd.clients[2].closed);
    UNIT_TRUE(sim_run_until(w.sim, all_closed, &w, 3 * ENV_S));
    end(&w);
}

static void many_replicas_get_all(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 5; seed++) {
        struct world w;
        begin(&w, seed, CLIENTS, false);
        UNIT_TRUE(sim_run_until(w.sim, all_stored, &w, 20 * ENV_S));
        sim_run(w.sim, 10 * ENV_S);
        for (unsigned i = 0; i < CLIENTS; i++) {
            UNIT_TRUE(w.crowd.clients[i].heartbeats >= 9 && w.crowd.clients[i].heartbeats <= 11);
            UNIT_UINT(w.crowd.clients[i].stored, sample_size - 4);
        }
        end(&w);
    }
}

/* The node ends, or its process dies, at any moment of its clients' lives. */
static void ends_at_any_moment(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 60; seed++) {
        struct world w;
        begin(&w, seed, CLIENTS, false);
        sim_run(w.sim, (seed - unit_seed()) * 150000);
        if (seed % 2) {
            sim_stop(w.hf);
        } else {
            sim_crash(w.hf, SIM_KILL);
        }
        UNIT_TRUE(sim_run_until(w.sim, all_closed, &w, 20 * ENV_S));
        end(&w);
    }
}

UNIT_MAIN("serve_sim", UNIT_TEST(drops_who_does_not_log_in), UNIT_TEST(many_replicas_get_all),
          UNIT_TEST(ends_at_any_moment))
