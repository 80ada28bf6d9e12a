/* sql_table.c: the one table of statements, and how a text becomes a run of one of them.
 *
 * On the worker: the text is cut into tokens, the row whose words it begins with is found, the roles are
 * looked at, and the handler runs; or, where the row says so or the handler asks for it, everything it needs
 * is copied into a struct sql_statement that the loop runs. */
#include "node/sql_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <string.h>

/* Words in [] may be missing, | separates alternatives. Longer ones stand before their beginnings. */
static const struct sql_row rows[] = {
    {"SELECT", "expression [[AS] alias], ...", SQL_ANYBODY, ON_EITHER, sql_select,
     "variables and a few functions; there are no tables"},
    {"SET", "@name | [SESSION] name = expression, ...", SQL_ANYBODY, ON_WORKER, sql_set,
     "user variables; settings of the session"},
    {"USE", "database", SQL_ANYBODY, ON_WORKER, sql_use, "accepted; there are no databases"},
    {"BEGIN|COMMIT|ROLLBACK", "", SQL_ANYBODY, ON_WORKER, sql_nothing, "accepted; there are no transactions"},
    {"START TRANSACTION", "", SQL_ANYBODY, ON_WORKER, sql_nothing, "accepted; there are no transactions"},
    {"SHOW [GLOBAL|SESSION|LOCAL] VARIABLES", "[LIKE 'pattern' | WHERE condition]", SQL_ANYBODY, ON_EITHER,
     sql_show_variables, "system variables"},
    {"SHOW [GLOBAL|SESSION|LOCAL] STATUS", "[LIKE 'pattern' | WHERE condition]", SQL_ANYBODY, ON_LOOP,
     sql_show_status,
     "how this node and the source link are doing; begins with the verdict Holdfast_protected"},
    {"SHOW WARNINGS|ERRORS", "[LIMIT n]", SQL_ANYBODY, ON_WORKER, sql_show_warnings, "always empty"},
    {"SHOW DATABASES|SCHEMAS", "[LIKE 'pattern']", SQL_ANYBODY, ON_WORKER, sql_show_databases,
     "always empty"},
    {"SHOW [FULL] TABLES", "[FROM database] [LIKE 'pattern']", SQL_ANYBODY, ON_WORKER, sql_show_tables,
     "always empty"},
    {"SHOW CLUSTER MEMBERS", "", SQL_MONITOR, ON_LOOP, sql_show_members,
     "the nodes of the cluster, as this one knows them"},
    {"SHOW REPLICA STATUS", "[FOR CHANNEL '']", SQL_MONITOR, ON_LOOP, sql_show_replica_status,
     "the link to the source"},
    {"SHOW SLAVE STATUS", "[FOR CHANNEL '']", SQL_MONITOR, ON_LOOP, sql_show_slave_status,
     "the same with the old names of columns"},
    {"SHOW BINARY LOG STATUS", "", SQL_MONITOR, ON_LOOP, sql_show_log_status,
     "where the committed transactions end"},
    {"SHOW MASTER STATUS", "", SQL_MONITOR, ON_LOOP, sql_show_log_status, "the same"},
    {"SHOW BINARY|MASTER LOGS", "", SQL_MONITOR, ON_LOOP, sql_show_logs,
     "the binlog files of the newest era"},
    {"SHOW REPLICAS", "", SQL_REPLICA, ON_LOOP, sql_show_replicas, "the replicas that dump from this node"},
    {"SHOW SLAVE HOSTS", "", SQL_REPLICA, ON_LOOP, sql_show_slave_hosts,
     "the same with the old names of columns"},
    {"SHOW [FULL] PROCESSLIST", "", SQL_ANYBODY, ON_LOOP, sql_show_processlist,
     "this connection and those that dump"},
    {"SHOW GRANTS", "[FOR CURRENT_USER | 'user']", SQL_ANYBODY, ON_LOOP, sql_show_grants,
     "what an account may do"},
    {"SHOW USERS", "", SQL_ADMIN, ON_LOOP, sql_show_users, "accounts and their roles"},
    {"FLUSH [LOCAL|NO_WRITE_TO_BINLOG] [BINARY] LOGS", "", SQL_MONITOR, ON_WORKER, sql_flush_logs,
     "accepted with a warning: only the source rotates its binlog"},
    {"KILL [CONNECTION]", "n", SQL_ANYBODY, ON_LOOP, sql_kill,
     "ends a connection; without CLUSTER_ADMIN one's own dumps only"},
    {"CHANGE REPLICATION SOURCE TO",
     "SOURCE_HOST='host', SOURCE_PORT=n, SOURCE_USER='user', SOURCE_PASSWORD='password', SOURCE_SSL=0|1, "
     "SOURCE_SSL_MODE='mode', SOURCE_SSL_CA='/file', SOURCE_SSL_CERT='/file', SOURCE_SSL_KEY='/file', "
     "SOURCE_COMPRESSION='none|zlib|zstd[:LEVEL]', "
     "SOURCE_START='oldest|now|FILE|GTIDSET'",
     SQL_ADMIN, ON_LOOP, sql_change_source, "which source to follow; what is left out stays as it was"},
    {"CHANGE MASTER TO", "MASTER_HOST='host', ...", SQL_ADMIN, ON_LOOP, sql_change_source, "the same"},
    {"START REPLICA|SLAVE", "", SQL_ADMIN, ON_LOOP, sql_start_replica, "follow the source"},
    {"STOP REPLICA|SLAVE", "", SQL_ADMIN, ON_LOOP, sql_stop_replica, "do not follow the source any more"},
    {"RESET REPLICA|SLAVE", "[ALL]", SQL_ADMIN, ON_LOOP, sql_reset_replica,
     "ALL: forget the source; its files stay"},
    {"CREATE USER", "[IF NOT EXISTS] 'user' IDENTIFIED BY 'password'", SQL_ADMIN, ON_LOOP, sql_create_user,
     "a new account"},
    {"ALTER USER", "'user' IDENTIFIED BY 'password'", SQL_ADMIN, ON_LOOP, sql_alter_user, "a new password"},
    {"DROP USER", "[IF EXISTS] 'user'", SQL_ADMIN, ON_LOOP, sql_drop_user, "removes an account"},
    {"GRANT", "REPLICATION SLAVE | REPLICATION CLIENT | CLUSTER_ADMIN, ... ON *.* TO 'user'", SQL_ADMIN,
     ON_LOOP, sql_grant, "lets an account replicate, monitor, administer"},
    {"REVOKE", "REPLICATION SLAVE | REPLICATION CLIENT | CLUSTER_ADMIN, ... ON *.* FROM 'user'", SQL_ADMIN,
     ON_LOOP, sql_revoke, "takes that back"},
    {"CHECK BINARY LOGS", "[FROM 'file'] [TO 'file']", SQL_MONITOR, ON_LOOP, sql_check_logs,
     "reads the binlog files of this node and says whether they are sound"},
    {"CHECK REPLICATION SOURCE", "", SQL_MONITOR, ON_LOOP, sql_check_source,
     "the source's settings that the promise depends on, and the statement that mends each"},
    {"SHOW ALARMS", "", SQL_MONITOR, ON_LOOP, sql_show_alarms, "what an operator has to know of, also when it is over"},
    {"ACKNOWLEDGE ALARM", "n", SQL_ADMIN, ON_LOOP, sql_acknowledge_alarm, "it was read: status does not show it any more"},
    {"HELP", "['word']", SQL_ANYBODY, ON_WORKER, sql_help, "this list"},
};

enum { N_ROWS = sizeof rows / sizeof *rows };

static const char *needed(uint32_t roles)
{
    return roles == SQL_ANYBODY   ? ""
           : roles == SQL_ADMIN   ? "CLUSTER_ADMIN"
           : roles & ROLE_REPLICA ? "REPLICATION SLAVE, REPLICATION CLIENT, CLUSTER_ADMIN"
                                  : "REPLICATION CLIENT, CLUSTER_ADMIN";
}

/* HELP 'word': the statements that hold it. */
void sql_help(struct sql_call *call)
{
    const char *word = "";
    if (sql_peek(call)->kind == TOKEN_WORD || sql_peek(call)->kind == TOKEN_STRING) {
        word = sql_take(call)->text;
    }
    if (!sql_end(call)) {
        return;
    }
    struct table *table = table_new();
    table_column(table, "Statement", TABLE_TEXT);
    table_column(table, "Privilege", TABLE_TEXT);
    table_column(table, "Description", TABLE_TEXT);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcasestr(rows[i].words, word)) {
            table_row(table);
            table_printf(table, "%s%s%s", rows[i].words, *rows[i].rest ? " " : "", rows[i].rest);
            table_text(table, needed(rows[i].roles));
            table_text(table, rows[i].help);
        }
    }
    reply_rows(call->reply, table);
}

/* What the loop needs of the session, on its own. */
static void copy_session(struct sql_statement *statement, const struct sql_session *session)
{
    statement->session = *session;
    statement->session.vars = sql_vars_copy(session->vars);
    statement->view = view_ref((struct view *)(uintptr_t)session->view);
    statement->session.view = statement->view;
    statement->session.tls_version = mem_str(session->tls_version);
    statement->session.tls_cipher = mem_str(session->tls_cipher);
}

void sql_statement_free(struct sql_statement *statement)
{
    if (!statement) {
        return;
    }
    explicit_bzero(statement->text, statement->n); /* it may hold a password */
    if (statement->tokens.texts) {
        explicit_bzero(statement->tokens.texts, statement->n + 1);
    }
    mem_free(statement->text);
    sql_tokens_free(&statement->tokens);
    if (statement->view) {
        sql_vars_free(statement->session.vars);
        mem_free((char *)(uintptr_t)statement->session.tls_version);
        mem_free((char *)(uintptr_t)statement->session.tls_cipher);
        view_unref(statement->view);
    }
    mem_free(statement);
}

/* Tokens without the semicolons at the end. */
static bool read_tokens(struct sql_session *session, struct sql_statement *s, struct reply *reply)
{
    size_t bad = 0;
    int rv = sql_lex(s->text, s->n, &s->tokens, &bad);
    if (rv == E_TOOBIG) {
        reply_error(reply, 1105, "HY000", "the statement has more than %d parts", SQL_TOKENS_MAX);
        return false;
    }
    if (rv) {
        sql_syntax_reply(reply, session->view, s->text, s->n, bad);
        return false;
    }
    struct sql_token *tokens = s->tokens.tokens;
    while (s->tokens.n && tokens[s->tokens.n - 1].kind == TOKEN_MARK &&
           strcmp(tokens[s->tokens.n - 1].text, ";") == 0) {
        tokens[--s->tokens.n].kind = TOKEN_END;
    }
    if (s->tokens.n == 0) {
        reply_error(reply, 1065, "42000", "Query was empty");
        return false;
    }
    return true;
}

static const struct sql_row *find_row(struct sql_call *call)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (sql_match(call, rows[i].words)) {
            return &rows[i];
        }
    }
    return NULL;
}

static struct sql_call call_of(struct sql_statement *s, struct sql_session *session, struct reply *reply)
{
    return (struct sql_call){.row = s->row,
                             .text = s->text,
                             .n = s->n,
                             .tokens = &s->tokens,
                             .at = s->at,
                             .session = session,
                             .reply = reply};
}

/* Runs it here; true: the loop has to. */
static bool run_here(struct sql_statement *s, struct sql_session *session, struct reply *reply)
{
    struct sql_call call = call_of(s, session, reply);
    s->row = call.row = find_row(&call);
    s->at = call.at;
    if (!s->row) {
        sql_syntax(&call);
        return false;
    }
    if (s->row->roles && !(s->row->roles & session->roles)) {
        sql_error(&call, 1227, "42000",
                  "Access denied; you need (at least one of) the %s privilege(s) for this operation",
                  needed(s->row->roles));
        return false;
    }
    if (s->row->where == ON_LOOP) {
        return true;
    }
    s->row->run(&call);
    if (call.needs_loop && !call.failed) {
        CHECK(s->row->where == ON_EITHER);
        reply_free(reply);
        return true;
    }
    return false;
}

enum sql_outcome sql_execute(struct sql_session *session, const char *text, size_t n, struct reply *reply,
                             struct sql_statement **statement)
{
    reply_ok(reply);
    *statement = NULL;
    if (n > SQL_TEXT_MAX) {
        reply_error(reply, 1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes");
        return SQL_DONE;
    }
    struct sql_statement *s = mem_new(sizeof *s);
    s->text = mem_dup(text, n);
    s->n = n;
    if (read_tokens(session, s, reply) && run_here(s, session, reply)) {
        copy_session(s, session);
        reply_ok(reply);
        *statement = s;
        return SQL_LOOP;
    }
    sql_statement_free(s);
    return SQL_DONE;
}

void sql_run(struct control *control, struct control_request *request)
{
    struct sql_statement *s = request->statement;
    struct sql_call call = call_of(s, &s->session, &request->reply);
    call.control = control;
    call.request = request;
    s->row->run(&call);
    if (!call.later) {
        control_reply(request);
    }
}
