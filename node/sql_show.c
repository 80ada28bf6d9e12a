/* sql_show.c: SHOW of what the node holds and whom it serves: members, binlog files, replicas, connections.
 * And those that are always empty, on the worker, since clients ask for them. */
#include "node/serve.h"
#include "node/sql_impl.h"

#include "protocol/base/mem.h"

#include <string.h>
#include <strings.h>

static struct table *table_of(const char *const *names, size_t n)
{
    struct table *table = table_new();
    for (size_t i = 0; i < n; i++) {
        table_head(table, names[i]);
    }
    return table;
}

/* Names of columns, with types (table_head). */
#define TABLE_OF(...)                                                                                        \
    table_of((const char *const[]){__VA_ARGS__},                                                             \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* ---- always empty ---- */

static void show_notes(struct sql_call *call, const char *level)
{
    const struct sql_session *session = call->session;
    uint64_t from, count;
    sql_read_range(call, &from, &count);
    if (!sql_end(call)) {
        return;
    }
    struct table *table = TABLE_OF("Level", "~Code", "Message");
    for (size_t i = 0, at = 0; i < session->n_notes; i++) {
        const struct reply_note *note = &session->notes[i];
        if ((level && strcmp(note->level, level) != 0) || at++ < from || at - from > count) {
            continue;
        }
        table_row(table);
        table_text(table, note->level);
        table_number(table, note->code);
        table_text(table, note->text);
    }
    reply_rows(call->reply, table);
    call->reply->keeps_notes = true;
}

void sql_show_warnings(struct sql_call *call)
{
    show_notes(call, NULL);
}

void sql_show_errors(struct sql_call *call)
{
    show_notes(call, "Error");
}

static void count_notes(struct sql_call *call, const char *level, const char *column)
{
    uint64_t n = 0;
    for (size_t i = 0; i < call->session->n_notes; i++) {
        n += !level || strcmp(call->session->notes[i].level, level) == 0;
    }
    if (sql_end(call)) {
        struct table *table = table_new();
        table_column(table, column, TABLE_NUMBER);
        table_row(table);
        table_number(table, n);
        reply_rows(call->reply, table);
        call->reply->keeps_notes = true;
    }
}

/* SHOW COUNT(*) WARNINGS | ERRORS */
void sql_show_count(struct sql_call *call)
{
    if (!sql_need_mark(call, "(") || !sql_need_mark(call, "*") || !sql_need_mark(call, ")")) {
        return;
    }
    if (sql_word(call, "ERRORS")) {
        count_notes(call, "Error", "@@session.error_count");
    } else if (sql_need_word(call, "WARNINGS")) {
        count_notes(call, NULL, "@@session.warning_count");
    }
}

static bool read_like(struct sql_call *call)
{
    if (sql_word(call, "LIKE")) {
        sql_string(call);
    }
    return sql_end(call);
}

void sql_show_databases(struct sql_call *call)
{
    if (read_like(call)) {
        reply_rows(call->reply, TABLE_OF("Database"));
    }
}

void sql_show_tables(struct sql_call *call)
{
    const char *db = call->session->db;
    if (sql_word(call, "FROM") || sql_word(call, "IN")) {
        if (sql_peek(call)->kind != TOKEN_WORD && sql_peek(call)->kind != TOKEN_QUOTED) {
            sql_syntax(call);
            return;
        }
        db = sql_take(call)->text;
    }
    if (!read_like(call)) {
        return;
    }
    if (!db[0]) {
        sql_error(call, 1046, "3D000", "No database selected");
        return;
    }
    char *name = mem_printf("Tables_in_%s", db);
    reply_rows(call->reply, TABLE_OF(name));
    mem_free(name);
}

void sql_flush_logs(struct sql_call *call)
{
    if (sql_end(call)) {
        reply_ok(call->reply);
        reply_note(call->reply, "Warning", 1105, "nothing was rotated: the files here end where those of the source do; FLUSH "
                                                 "BINARY LOGS on the source");
    }
}

/* ---- binlog files ---- */

void sql_show_log_status(struct sql_call *call)
{
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    const struct state_file *file = state_file(state);
    struct table *table =
        sql_is_mariadb(call)
            ? TABLE_OF("File", "#Position", "Binlog_Do_DB", "Binlog_Ignore_DB")
            : TABLE_OF("File", "#Position", "Binlog_Do_DB", "Binlog_Ignore_DB", "Executed_Gtid_Set");
    if (file) {
        table_row(table);
        table_text(table, file->name);
        table_number(table, state->boundary);
        table_text(table, "");
        table_text(table, "");
        if (!sql_is_mariadb(call)) {
            struct buf gtids;
            buf_init(&gtids, 64 << 20);
            if (state->executed) {
                gtid_set_print(state->executed, &gtids);
            }
            table_text(table, buf_cstr(&gtids));
            buf_free(&gtids);
        }
    }
    reply_rows(call->reply, table);
}

void sql_show_logs(struct sql_call *call)
{
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    bool mariadb = sql_is_mariadb(call);
    struct table *table =
        mariadb ? TABLE_OF("Log_name", "#File_size") : TABLE_OF("Log_name", "#File_size", "Encrypted");
    size_t n = filelist_count(state->files);
    struct filelist_walk w;
    filelist_walk_begin(&w, state->files, n ? filelist_newest_era(state->files) : 0);
    while (filelist_walk_next(&w)) {
        table_row(table);
        table_text(table, w.file.name);
        table_number(table, w.file.at + 1 == n ? state->boundary : w.file.size);
        if (!mariadb) {
            table_text(table, "No");
        }
    }
    reply_rows(call->reply, table);
}

/* ---- replicas and connections ---- */

struct listing {
    struct sql_call *call;
    struct table *table;
    bool uuids;   /* the flavour has them */
    bool all;     /* PROCESSLIST: of everybody */
    uint64_t now; /* microseconds */
};

static void add_replica(void *arg, const struct serve_replica *replica)
{
    struct listing *l = arg;
    table_row(l->table);
    table_number(l->table, replica->server_id);
    table_text(l->table, replica->host);
    table_number(l->table, replica->port);
    table_number(l->table, l->call->session->view->server_id);
    if (l->uuids) {
        table_text(l->table, replica->uuid);
    }
}

static void list_replicas(struct sql_call *call, struct table *table, bool uuids)
{
    struct listing l = {.call = call, .table = table, .uuids = uuids};
    serve_each_replica(call->control->serve, add_replica, &l);
    reply_rows(call->reply, table);
}

void sql_show_replicas(struct sql_call *call)
{
    if (sql_end(call)) {
        list_replicas(call, TABLE_OF("~Server_Id", "Host", "~Port", "~Source_Id", "Replica_UUID"), true);
    }
}

void sql_show_slave_hosts(struct sql_call *call)
{
    if (sql_end(call)) {
        bool uuids = !sql_is_mariadb(call);
        struct table *table = uuids ? TABLE_OF("~Server_id", "Host", "~Port", "~Master_id", "Slave_UUID")
                                    : TABLE_OF("~Server_id", "Host", "~Port", "~Master_id");
        list_replicas(call, table, uuids);
    }
}

static void add_process(const struct listing *l, uint32_t id, const char *user, const char *host,
                        const char *db)
{
    table_row(l->table);
    table_number(l->table, id);
    table_text(l->table, user);
    table_text(l->table, host);
    table_text(l->table, db);
}

static void end_process(const struct listing *l)
{
    if (sql_is_mariadb(l->call)) {
        table_text(l->table, "0.000"); /* Progress */
    }
}

static void add_dump(void *arg, const struct serve_replica *replica)
{
    const struct listing *l = arg;
    if (!l->all && strcmp(replica->user, l->call->session->user) != 0) {
        return;
    }
    bool mariadb = sql_is_mariadb(l->call);
    uint64_t since = replica->since_wall;
    add_process(l, replica->connection_id, replica->user, replica->peer, NULL);
    table_text(l->table, replica->gtid && !mariadb ? "Binlog Dump GTID" : "Binlog Dump");
    table_number(l->table, l->now > since ? (l->now - since) / 1000000 : 0);
    table_text(l->table, !replica->level
                             ? mariadb ? "Sending binlog event to slave" : "Sending binlog event to replica"
                         : mariadb ? "Master has sent all binlog to slave; waiting for more updates"
                                   : "Source has sent all binlog to replica; waiting for more updates");
    table_text(l->table, NULL);
    end_process(l);
}

static void add_session(void *arg, const struct serve_session *session)
{
    const struct listing *l = arg;
    const struct sql_session *own = l->call->session;
    if (session->connection_id == own->connection_id || (!l->all && strcmp(session->user, own->user) != 0)) {
        return;
    }
    uint64_t since = session->since_wall;
    add_process(l, session->connection_id, session->user, session->peer, NULL);
    table_text(l->table, "Sleep");
    table_number(l->table, l->now > since ? (l->now - since) / 1000000 : 0);
    table_text(l->table, "");
    table_text(l->table, NULL);
    end_process(l);
}

void sql_show_processlist(struct sql_call *call)
{
    if (!sql_end(call)) {
        return;
    }
    const struct sql_session *session = call->session;
    struct listing l = {
        .call = call, .all = session->roles & SQL_MONITOR, .now = env_wall(call->control->loop)};
    bool full = sql_is_word(&call->tokens->tokens[1], "FULL");
    l.table = TABLE_OF("#Id", "User", "Host", "db", "Command", "~Time", "State");
    table_head(l.table, full ? "&Info" : "Info");
    if (sql_is_mariadb(call)) {
        table_head(l.table, "=Progress");
    }
    serve_each_replica(call->control->serve, add_dump, &l);
    serve_each_session(call->control->serve, add_session, &l);
    add_process(&l, session->connection_id, session->user, session->host,
                session->db[0] ? session->db : NULL);
    table_text(l.table, "Query");
    table_number(l.table, 0);
    table_text(l.table, "starting");
    table_text(l.table, full ? "SHOW FULL PROCESSLIST" : "SHOW PROCESSLIST");
    end_process(&l);
    reply_rows(call->reply, l.table);
}

/* ---- KILL ---- */

struct victim {
    uint32_t id;
    const char *owner;
    bool found, own;
};

static void look_for_victim(void *arg, const struct serve_replica *replica)
{
    struct victim *victim = arg;
    if (replica->connection_id == victim->id) {
        victim->found = true;
        victim->own = strcmp(replica->user, victim->owner) == 0;
    }
}

void sql_kill(struct sql_call *call)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_NUMBER || strlen(token->text) > 10 || strchr(token->text, '.')) {
        sql_syntax(call);
        return;
    }
    struct sql_value value = {.text = mem_str(sql_take(call)->text)};
    uint64_t id = (uint64_t)sql_value_int(&value);
    sql_value_free(&value);
    if (!sql_end(call)) {
        return;
    }
    struct victim victim = {.id = (uint32_t)id, .owner = call->session->user};
    serve_each_replica(call->control->serve, look_for_victim, &victim);
    bool admin = call->session->roles & ROLE_ADMIN;
    if (id > UINT32_MAX || !serve_has_session(call->control->serve, (uint32_t)id)) {
        sql_error(call, 1094, "HY000", "Unknown thread id: %llu", (unsigned long long)id);
    } else if (!admin && !victim.own) {
        sql_error(call, 1095, "HY000", "You are not owner of thread %llu", (unsigned long long)id);
    } else {
        serve_kill(call->control->serve, (uint32_t)id);
        reply_ok(call->reply);
    }
}
