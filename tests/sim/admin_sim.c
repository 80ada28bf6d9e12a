/* admin_sim.c: connects, logs in, runs the next statement; after an error or a lost connection it tries again
 * a little later. An error that says that the statement has been carried out before (its answer was lost)
 * counts as success. */
#include "tests/sim/admin_sim.h"

#include "protocol/auth_client.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/result.h"
#include "protocol/wire.h"

#include <stdio.h>
#include <string.h>

enum { RETRY_MS = 50, SILENCE_S = 20, RESULT_MOST = 1 << 20, SOURCE_RUNS = 3021, SOURCE_RUNS_MARIADB = 1198 };

struct admin_sim {
    const char *socket;
    const char *const *statements;
    struct sim_host *host;
    size_t at; /* the next one */
    struct sim_host *const *machines;
    size_t n_machines, machine;
    void (*answered)(void *arg, const char *error);
    void *answered_arg;
};

struct admin_run {
    struct admin_sim *admin;
    struct env *env;
    struct env_timer timer;
    struct env_stream *stream;
    struct wire *wire;
    struct client_auth *auth;
    struct result result;
    bool logged_in;
};

static void drop(struct admin_run *run)
{
    if (run->stream) {
        env_stream_close(run->stream);
        run->stream = NULL;
    }
    client_auth_free(run->auth);
    run->auth = NULL;
    wire_free(run->wire);
    run->wire = NULL;
    run->logged_in = false;
}

static void again(struct admin_run *run, const char *why)
{
    env_log(run->env, ENV_DEBUG, "trying again: %s", why);
    struct admin_sim *admin = run->admin;
    drop(run);
    if (admin->n_machines) {
        admin->machine = (admin->machine + 1) % admin->n_machines;
        sim_host_beside(admin->host, admin->machines[admin->machine]);
    }
    env_timer_start(&run->timer, RETRY_MS * ENV_MS);
}

static void send(struct admin_run *run)
{
    struct buf *out = wire_output(run->wire);
    if (out->len) {
        env_stream_write(run->stream, out);
    }
}

static void next_statement(struct admin_run *run)
{
    const char *text = run->admin->statements[run->admin->at];
    if (!text) {
        command_put(run->wire, COM_QUIT);
        send(run);
        sim_stop(run->admin->host);
        return;
    }
    result_reset(&run->result);
    command_put_query(run->wire, client_auth_result(run->auth)->caps, text, strlen(text));
}

static bool done_before(unsigned code)
{
    return code == ER_CANNOT_USER || code == SOURCE_RUNS || code == SOURCE_RUNS_MARIADB;
}

/* False: the connection is gone. */
static bool take_packet(struct admin_run *run, const struct packet *p)
{
    struct errmsg em;
    int rv;
    if (!run->logged_in) {
        rv = client_auth_packet(run->auth, run->wire, p, &em);
        run->logged_in = rv == CLIENT_AUTH_DONE;
    } else {
        rv = result_packet(&run->result, client_auth_result(run->auth)->caps, p, &em);
        if (rv == RESULT_MORE) {
            return true;
        }
        if (run->admin->answered) {
            run->admin->answered(run->admin->answered_arg, rv == RESULT_DONE ? NULL : em.text);
        }
        if (rv == RESULT_DONE || done_before(run->result.code)) {
            env_log(run->env, ENV_INFO, "done: %s", run->admin->statements[run->admin->at]);
            run->admin->at++;
            rv = CLIENT_AUTH_DONE;
        }
    }
    if (rv < 0) {
        again(run, em.text);
        return false;
    }
    if (rv == CLIENT_AUTH_DONE) {
        next_statement(run);
    }
    return true;
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct admin_run *run = owner;
    struct packet p;
    struct errmsg em;
    int rv = wire_feed(run->wire, data, n, &em), next = 0;
    while (!rv && (next = wire_next(run->wire, &p, &em)) == 1) {
        if (!take_packet(run, &p)) {
            return;
        }
    }
    if (rv || next < 0) {
        again(run, em.text);
        return;
    }
    send(run);
}

static void connected(void *owner)
{
    struct admin_run *run = owner;
    env_timer_start(&run->timer, SILENCE_S * ENV_S);
}

static void closed(void *owner, int code, const char *why)
{
    (void)code;
    again(owner, why);
}

static const struct env_stream_handler handler = {
    .connected = connected, .readable = readable, .closed = closed};

static void begin(struct admin_run *run)
{
    struct client_auth_opts opts = {.user = "root", .tls_mode = TLS_DISABLED, .local = true};
    struct env_addr addr;
    int rv = env_addr_parse(run->admin->socket, 0, &addr, NULL);
    CHECK(rv == 0);
    run->wire = wire_new(RESULT_MOST);
    run->auth = client_auth_new(&opts);
    env_timer_start(&run->timer, SILENCE_S * ENV_S);
    rv = env_connect(run->env, &addr, &handler, run, &run->stream);
    CHECK(rv == 0);
}

static void timer_fired(struct env_timer *timer)
{
    struct admin_run *run = CONTAINER_OF(timer, struct admin_run, timer);
    if (run->stream) {
        again(run, "silence");
    } else {
        begin(run);
    }
}

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct admin_run *run = mem_new(sizeof *run);
    run->admin = arg;
    run->env = env;
    sim_process_set(process, run);
    result_init(&run->result, RESULT_MOST);
    env_timer_open(env, &run->timer, timer_fired);
    begin(run);
}

static void stop(struct sim_process *process, void *arg)
{
    struct admin_run *run = sim_process_get(process);
    (void)arg;
    drop(run);
    env_timer_close(&run->timer);
    result_free(&run->result);
    mem_free(run);
    sim_exit(process);
}

static const struct sim_program program = {start, stop, NULL};

struct admin_sim *admin_sim_new(struct sim_host *host, const char *socket, const char *const *statements)
{
    struct admin_sim *admin = mem_new(sizeof *admin);
    *admin = (struct admin_sim){.socket = socket, .statements = statements, .host = host};
    return admin;
}

void admin_sim_roam(struct admin_sim *admin, struct sim_host *const *machines, size_t n)
{
    admin->machines = machines;
    admin->n_machines = n;
    sim_host_beside(admin->host, machines[0]);
}

void admin_sim_free(struct admin_sim *admin)
{
    mem_free(admin);
}

void admin_sim_start(struct admin_sim *admin)
{
    sim_start(admin->host, &program, admin);
}

void admin_sim_repeat(struct admin_sim *admin)
{
    if (!sim_host_process(admin->host)) {
        admin->at = 0;
        admin_sim_start(admin);
    }
}

void admin_sim_again(struct admin_sim *admin)
{
    admin->at = 0;
}

void admin_sim_watch(struct admin_sim *admin, void (*answered)(void *arg, const char *error), void *arg)
{
    admin->answered = answered;
    admin->answered_arg = arg;
}

bool admin_sim_done(void *admin)
{
    const struct admin_sim *a = admin;
    return a->statements[a->at] == NULL;
}
