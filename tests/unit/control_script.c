/* control_script.c: see control_script.h. When the node closes in the middle, everything is answered all the same. */
#include "tests/unit/control_script.h"

#include "node/control.h"
#include "node/serve.h"
#include "node/source.h"
#include "node/sql_impl.h"
#include "tests/unit/unit.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

#define UUID CONTROL_UUID

struct life {
    struct control_script *script;
    struct sim_process *process;
    struct env *env;
    struct config config;
    struct control control;
    struct cluster *cluster;
    struct source *source;
    struct serve *serve;
    struct view *view;
    struct sql_vars *vars;
    size_t at;
    bool started, serve_closed;
    struct env_msg close_msg;
};

struct asked {
    struct control_request request;
    struct life *life;
    size_t step;
};

/* "OK", "1193 text", or "name,name|cell,cell|…". */
static void put_reply(const struct reply *r, struct buf *line)
{
    if (r->kind == REPLY_OK) {
        buf_printf(line, "OK%s", r->warnings ? " with a warning" : "");
    } else if (r->kind == REPLY_ERROR) {
        buf_printf(line, "%u %s", r->code, r->message);
    } else {
        for (size_t c = 0; c < table_columns(r->table); c++) {
            buf_printf(line, "%s%s", c ? "," : "", table_name(r->table, c));
        }
        for (size_t row = 0; row < table_rows(r->table); row++) {
            for (size_t c = 0; c < table_columns(r->table); c++) {
                const char *cell = table_cell(r->table, row, c, NULL);
                buf_printf(line, "%s%s", c ? "," : "|", cell ? cell : "~");
            }
        }
    }
}

static void compare(struct life *life, size_t step, const struct reply *reply)
{
    const char *want = life->script->steps[step][1];
    struct buf line;
    buf_init(&line, 1 << 20);
    put_reply(reply, &line);
    bool inside = want[0] == '*'; /* somewhere in it */
    const char *got = buf_cstr(&line);
    bool other = want[0] == '!'; /* anything but this */
    if (!UNIT_TRUE(other    ? strncmp(got, want + 1, strlen(want + 1)) != 0
                   : inside ? strstr(got, want + 1) != NULL
                            : strncmp(got, want, strlen(want)) == 0)) {
        printf("# %s\n# gave %s\n# want %s\n", life->script->steps[step][0], got, want);
    }
    UNIT_TRUE(!strstr(got, "geheim"));
    buf_free(&line);
}

static void next_step(struct life *life);

static void close_when_answered(struct life *life);

static void request_done(struct control_request *request)
{
    struct asked *asked = CONTAINER_OF(request, struct asked, request);
    struct life *life = asked->life;
    UNIT_TRUE(request->statement == NULL);
    life->script->answered++;
    if (life->script->flood) {
        life->script->shutdowns += request->reply.kind == REPLY_ERROR && request->reply.code == 1053;
        if (life->script->patient && life->script->answered == life->script->n) {
            sim_stop(sim_process_host(life->process));
        }
        close_when_answered(life);
    } else {
        compare(life, asked->step, &request->reply);
        next_step(life);
    }
    reply_free(&request->reply);
    mem_free(asked);
}

static void ask(struct life *life, size_t step)
{
    struct sql_session session = {.env = life->env,
                                  .view = life->view,
                                  .vars = life->vars,
                                  .connection_id = 17,
                                  .user = "root",
                                  .host = "localhost",
                                  .account_host = "localhost",
                                  .by_socket = true,
                                  .roles = life->script->roles,
                                  .tls_cipher = "TLS_AES_256_GCM_SHA384"};
    struct asked *asked = mem_new(sizeof *asked);
    const char *text = life->script->steps[step][0];
    asked->life = life;
    asked->step = step;
    asked->request.worker = life->env;
    asked->request.done = request_done;
    asked->request.roles = session.roles;
    if (sql_execute(&session, text, strlen(text), &asked->request.reply, &asked->request.statement) ==
        SQL_DONE) {
        compare(life, step, &asked->request.reply);
        reply_free(&asked->request.reply);
        mem_free(asked);
        life->script->answered++;
        next_step(life);
    } else {
        control_submit(&life->control, &asked->request);
    }
}

static void next_step(struct life *life)
{
    if (life->at < life->script->n) {
        ask(life, life->at++);
    } else {
        sim_stop(sim_process_host(life->process));
    }
}

static void begin(struct life *life)
{
    if (life->script->flood) {
        while (life->at < life->script->n) {
            ask(life, life->at++);
        }
        if (!life->script->patient) {
            sim_stop(sim_process_host(life->process));
        }
        return;
    }
    next_step(life);
}

static void file_done(void *arg, int status)
{
    UNIT_INT(status, 0);
    begin(arg);
}

static void put_file(struct life *life)
{
    struct entry_file file = {.era = 1, .name = "mysql-bin.000007"};
    struct buf entry;
    bool mariadb = life->script->flavour == FLAVOUR_MARIADB;
    const char *before = mariadb ? "0-1-5,0-2-7,1-1-3" : UUID ":1-9";
    file.origin.flavour = life->script->flavour;
    file.origin.server_id = 11;
    if (!mariadb) {
        snprintf(file.origin.uuid, sizeof file.origin.uuid, UUID);
    }
    snprintf(file.origin.version, sizeof file.origin.version, "x");
    file.before = gtid_set_new(life->script->flavour);
    UNIT_INT(gtid_set_parse(file.before, before, strlen(before), NULL), 0);
    buf_init(&entry, ENTRY_MAX);
    entry_put_file(&entry, &file);
    gtid_set_free(file.before);
    cluster_propose(life->cluster, &entry, file_done, life);
}

static void on_leading(void *owner, bool leading)
{
    struct life *life = owner;
    if (!leading || life->started || !life->serve) {
        return;
    }
    life->started = true;
    if (life->script->with_file) {
        put_file(life);
    } else {
        begin(life);
    }
}

static void on_applied(void *owner, const struct state_effect *effect)
{
    (void)owner;
    (void)effect;
}

static const struct cluster_handler handler = {.leading = on_leading, .applied = on_applied};

static struct view *make_view(const struct control_script *script)
{
    struct view *view = mem_new(sizeof *view);
    atomic_init(&view->refs, 1);
    view->node_id = 1;
    view->flavour = script->flavour;
    view->server_id = 4711;
    snprintf(view->version, sizeof view->version, "8.4.0-holdfast");
    return view;
}

static void life_start(struct sim_process *process, struct env *env, void *arg)
{
    struct cluster_options o = {.loop = env, .data_dir = "/d", .id = 1, .n_initial = 1};
    struct errmsg em = {""};
    struct life *life = mem_new(sizeof *life);
    o.initial[0] = (struct cluster_member){.id = 1, .address = "a:1"};
    (void)env_mkdir(env, "/d", NULL);
    (void)env_sync_dir(env, "/", NULL);
    life->script = arg;
    life->process = process;
    life->env = env;
    life->config.id = 1;
    life->config.workers = 1;
    snprintf(life->config.socket, sizeof life->config.socket, "/holdfast.sock");
    life->vars = sql_vars_new();
    life->view = make_view(life->script);
    CHECK(cluster_open(&o, &handler, life, &life->cluster, &em) == 0);
    life->source = source_new(env, life->cluster);
    life->control = (struct control){.loop = env,
                                     .config = &life->config,
                                     .cluster = life->cluster,
                                     .source = life->source,
                                     .started_wall = env_wall(env)};
    CHECK(serve_open(&life->control, cluster_store(life->cluster), life->view, &life->serve, &em) == 0);
    life->control.serve = life->serve;
    sim_process_set(process, life);
    if (life->script->early) {
        life->started = true;
        begin(life);
    }
}

static void cluster_closed(void *arg)
{
    struct life *life = arg;
    struct sim_process *process = life->process;
    source_free(life->source);
    view_unref(life->view);
    sql_vars_free(life->vars);
    UNIT_TRUE(life->control.changes == NULL);
    mem_free(life);
    sim_exit(process);
}

static void close_cluster(struct env_msg *msg)
{
    struct life *life = CONTAINER_OF(msg, struct life, close_msg);
    cluster_close(life->cluster, cluster_closed, life);
}

/* Requests of this test come from the loop, so nobody else knows when the last one has arrived. */
static void close_when_answered(struct life *life)
{
    if (life->serve_closed && life->script->answered == life->script->n) {
        life->close_msg.run = close_cluster;
        env_post(life->env, &life->close_msg);
    }
}

static void serve_closed(void *arg)
{
    struct life *life = arg;
    life->serve_closed = true;
    close_when_answered(life);
}

static void life_stop(struct sim_process *process, void *arg)
{
    struct life *life = sim_process_get(process);
    (void)arg;
    control_close(&life->control);
    serve_close(life->serve, serve_closed, life);
}

static void life_gone(struct sim_host *host, bool crashed, void *arg)
{
    (void)host;
    (void)crashed;
    ((struct control_script *)arg)->gone = true;
}

static const struct sim_program program = {life_start, life_stop, life_gone};

static bool is_gone(void *arg)
{
    return ((struct control_script *)arg)->gone;
}

void control_script_run(struct sim_host *host, struct control_script *script)
{
    script->gone = false;
    script->answered = 0;
    sim_start(host, &program, script);
    UNIT_TRUE(sim_run_until(sim_host_sim(host), is_gone, script, 100 * ENV_S));
    UNIT_UINT(script->answered, script->n);
}

void control_script_run_alone(struct control_script *script)
{
    struct sim *sim = sim_new(unit_seed());
    control_script_run(sim_host_new(sim, "a"), script);
    sim_free(sim);
}
