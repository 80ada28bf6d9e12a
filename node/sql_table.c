/* sql_table.c: the one table of statements, and how a text becomes a run of one of them.
 *
 * On the worker: the text is cut into tokens, the row whose words it begins with is found, the roles are
 * looked at, and the handler runs; or, where the row says so or the handler asks for it, everything it needs
 * is copied into a struct sql_statement that the loop runs. */
#include "node/forward.h"
#include "node/sql_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <string.h>

/* Words in [] may be missing, | separates alternatives. Longer ones stand before their beginnings. */
static const struct sql_row rows[] = {
    {"SELECT", "expression [[AS] alias], ...", SQL_ANYBODY, ON_EITHER, sql_select,
     "variables and a few functions; there are no tables", "SELECT @@server_id, VERSION() AS v"},
    {"SET PASSWORD", "[FOR 'user'@'host'] = 'password' | PASSWORD('password') | 'hash'", SQL_ANYBODY, ON_LOOP, sql_set_password,
     "a new password; that of another account with CLUSTER_ADMIN; a hash only while a MariaDB is followed",
     "SET PASSWORD FOR 'repl'@'%' = PASSWORD('secret')"},
    {"SET", "@name | [SESSION] name = expression, ... | GLOBAL holdfast_name = value", SQL_ANYBODY, ON_EITHER, sql_set,
     "user variables; settings of the session; with CLUSTER_ADMIN a setting of the cluster (SHOW SETTINGS)",
     "SET GLOBAL holdfast_max_connections = 500"},
    {"USE", "database", SQL_ANYBODY, ON_WORKER, sql_use, "accepted; there are no databases", "USE test"},
    {"BEGIN|COMMIT|ROLLBACK", "", SQL_ANYBODY, ON_WORKER, sql_nothing, "accepted; there are no transactions", "COMMIT"},
    {"START TRANSACTION", "", SQL_ANYBODY, ON_WORKER, sql_nothing, "accepted; there are no transactions", "START TRANSACTION"},
    {"SHOW [GLOBAL|SESSION|LOCAL] VARIABLES", "[LIKE 'pattern' | WHERE condition]", SQL_ANYBODY, ON_EITHER,
     sql_show_variables, "system variables", "SHOW VARIABLES LIKE 'server%'"},
    {"SHOW [GLOBAL|SESSION|LOCAL] STATUS", "[LIKE 'pattern' | WHERE condition]", SQL_ANYBODY, ON_LOOP,
     sql_show_status,
     "how this node and the source link are doing; begins with the verdict Holdfast_protected",
     "SHOW GLOBAL STATUS WHERE Variable_name = 'Uptime'"},
    {"SHOW WARNINGS", "[LIMIT [offset,] n]", SQL_ANYBODY, ON_WORKER, sql_show_warnings,
     "what the statement before has to say: its warnings, or its error", "SHOW WARNINGS LIMIT 1"},
    {"SHOW ERRORS", "[LIMIT [offset,] n]", SQL_ANYBODY, ON_WORKER, sql_show_errors, "of these the errors", "SHOW ERRORS"},
    {"SHOW COUNT", "(*) WARNINGS | (*) ERRORS", SQL_ANYBODY, ON_WORKER, sql_show_count, "how many there are",
     "SHOW COUNT(*) WARNINGS"},
    {"SHOW DATABASES|SCHEMAS", "[LIKE 'pattern']", SQL_ANYBODY, ON_WORKER, sql_show_databases,
     "always empty", "SHOW DATABASES"},
    {"SHOW [FULL] TABLES", "[FROM database] [LIKE 'pattern']", SQL_ANYBODY, ON_WORKER, sql_show_tables,
     "always empty", "SHOW TABLES FROM test"},
    {"SHOW CLUSTER STATUS", "[LIKE 'pattern' | WHERE condition]", SQL_MONITOR, ON_LOOP, sql_show_cluster_status,
     "SHOW STATUS of the node that leads, from any node", "SHOW CLUSTER STATUS LIKE 'Holdfast_protected%'"},
    {"ALTER CLUSTER SWITCHOVER", "[TO n]", SQL_ADMIN, ON_LOOP, sql_switchover,
     "another node leads; the source is not touched", "ALTER CLUSTER SWITCHOVER TO 2"},
    {"ALTER CLUSTER ADD MEMBER", "n 'host:port' [AS STANDBY] [DRY RUN]", SQL_ADMIN, ON_LOOP, sql_add_member,
     "a new member, as soon as it asks: an empty node with join = in its configuration; spare, standby, voter by itself",
     "ALTER CLUSTER ADD MEMBER 4 '10.0.0.4:4307'"},
    {"ALTER CLUSTER REPLACE MEMBER", "n ['host:port'] [DRY RUN]", SQL_ADMIN, ON_LOOP, sql_replace_member,
     "the member gets another data directory, which begins empty; the old one is no part of the cluster any more",
     "ALTER CLUSTER REPLACE MEMBER 2 '10.0.0.2:4307'"},
    {"ALTER CLUSTER REMOVE MEMBER", "n [DRY RUN]", SQL_ADMIN, ON_LOOP, sql_remove_member,
     "one member less; its id is never used again", "ALTER CLUSTER REMOVE MEMBER 4"},
    {"ALTER CLUSTER PROMOTE MEMBER", "n [DRY RUN]", SQL_ADMIN, ON_LOOP, sql_promote_member,
     "a standby becomes a voter, as soon as it is level", "ALTER CLUSTER PROMOTE MEMBER 4"},
    {"ALTER CLUSTER DEMOTE MEMBER", "n [DRY RUN]", SQL_ADMIN, ON_LOOP, sql_demote_member,
     "a voter becomes a standby: it has everything, and does not count", "ALTER CLUSTER DEMOTE MEMBER 4"},
    {"SHOW CLUSTER MEMBERS", "", SQL_MONITOR, ON_LOOP, sql_show_members,
     "the nodes of the cluster, as this one knows them", "SHOW CLUSTER MEMBERS"},
    {"SHOW REPLICA STATUS", "[FOR CHANNEL '']", SQL_MONITOR, ON_LOOP, sql_show_replica_status,
     "the link to the source", "SHOW REPLICA STATUS FOR CHANNEL ''"},
    {"SHOW SLAVE STATUS", "[FOR CHANNEL '']", SQL_MONITOR, ON_LOOP, sql_show_slave_status,
     "the same with the old names of columns", "SHOW SLAVE STATUS"},
    {"SHOW ALL SLAVES|REPLICAS STATUS", "", SQL_MONITOR, ON_LOOP, sql_show_all_slaves,
     "the same with MariaDB's further columns, where MariaDB is followed", "SHOW ALL SLAVES STATUS"},
    {"SHOW BINARY LOG STATUS", "", SQL_MONITOR, ON_LOOP, sql_show_log_status,
     "where the committed transactions end", "SHOW BINARY LOG STATUS"},
    {"SHOW MASTER STATUS", "", SQL_MONITOR, ON_LOOP, sql_show_log_status, "the same", "SHOW MASTER STATUS"},
    {"SHOW ALL BINARY|MASTER LOGS", "", SQL_MONITOR, ON_LOOP, sql_show_all_logs,
     "the binlog files of all eras, with their sources and GTIDs", "SHOW ALL BINARY LOGS"},
    {"SHOW BINLOG EVENTS", "[IN 'file'] [FROM position] [LIMIT [offset,] n]", SQL_REPLICA, ON_WORKER, sql_show_events,
     "the events of a file: the oldest of the newest era, or the one that is named", "SHOW BINLOG EVENTS LIMIT 10"},
    {"SHOW BINARY|MASTER LOGS", "", SQL_MONITOR, ON_LOOP, sql_show_logs,
     "the binlog files of the newest era", "SHOW BINARY LOGS"},
    {"SHOW REPLICAS", "", SQL_REPLICA, ON_LOOP, sql_show_replicas, "the replicas that dump from this node", "SHOW REPLICAS"},
    {"SHOW REPLICA|SLAVE HOSTS", "", SQL_REPLICA, ON_LOOP, sql_show_slave_hosts,
     "the same with the old names of columns", "SHOW SLAVE HOSTS"},
    {"SHOW REPLICA|SLAVE", "'connection' STATUS", SQL_MONITOR, ON_LOOP, sql_show_named_slave,
     "MariaDB's SHOW SLAVE STATUS of a connection; there is the one named ''", "SHOW SLAVE '' STATUS"},
    {"SHOW [FULL] PROCESSLIST", "", SQL_ANYBODY, ON_LOOP, sql_show_processlist,
     "the connections: dumps first, then the others; without REPLICATION CLIENT one's own", "SHOW FULL PROCESSLIST"},
    {"SHOW GRANTS", "[FOR CURRENT_USER | 'user'@'host']", SQL_ANYBODY, ON_LOOP, sql_show_grants,
     "what an account may do", "SHOW GRANTS FOR CURRENT_USER()"},
    {"SHOW CREATE USER", "[CURRENT_USER | 'user'@'host']", SQL_ADMIN, ON_LOOP, sql_show_create_user,
     "the statement that makes the account again, with the password's hash", "SHOW CREATE USER 'repl'@'%'"},
    {"SHOW USERS", "", SQL_ADMIN, ON_LOOP, sql_show_users, "accounts and their roles", "SHOW USERS"},
    {"SHOW SETTINGS", "", SQL_MONITOR, ON_LOOP, sql_show_settings,
     "the settings of the cluster: values, defaults, what may be set (SET GLOBAL holdfast_name = value)", "SHOW SETTINGS"},
    {"FLUSH [LOCAL|NO_WRITE_TO_BINLOG] STATUS", "", SQL_ADMIN, ON_LOOP, sql_flush_status,
     "how long acknowledgements take (Holdfast_ack_*_us_*) is counted anew on this node", "FLUSH STATUS"},
    {"FLUSH [LOCAL|NO_WRITE_TO_BINLOG] [BINARY] LOGS", "", SQL_MONITOR, ON_WORKER, sql_flush_logs,
     "accepted with a warning: only the source rotates its binlog", "FLUSH BINARY LOGS"},
    {"KILL [CONNECTION]", "n", SQL_ANYBODY, ON_LOOP, sql_kill,
     "ends a connection; without CLUSTER_ADMIN one's own dumps only", "KILL 17"},
    {"CHANGE REPLICATION SOURCE TO",
     "SOURCE_HOST='host', SOURCE_PORT=n, SOURCE_USER='user', SOURCE_PASSWORD='password', SOURCE_SSL=0|1, "
     "SOURCE_SSL_MODE='mode', SOURCE_SSL_CA='/file', SOURCE_SSL_CERT='/file', SOURCE_SSL_KEY='/file', "
     "SOURCE_COMPRESSION='none|zlib|zstd[:LEVEL]', "
     "SOURCE_START='oldest|now|FILE|GTIDSET'",
     SQL_ADMIN, ON_LOOP, sql_change_source, "which source to follow; what is left out stays as it was",
     "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_USER='holdfast', SOURCE_PASSWORD='secret'"},
    {"CHANGE MASTER TO", "MASTER_HOST='host', ...", SQL_ADMIN, ON_LOOP, sql_change_source, "the same",
     "CHANGE MASTER TO MASTER_HOST='db1', MASTER_PORT=3306"},
    {"START REPLICA|SLAVE", "", SQL_ADMIN, ON_LOOP, sql_start_replica, "follow the source", "START REPLICA"},
    {"STOP REPLICA|SLAVE", "", SQL_ADMIN, ON_LOOP, sql_stop_replica, "do not follow the source any more", "STOP REPLICA"},
    {"RESET REPLICA|SLAVE", "[ALL | KEEP OLD 'name' [FORCE]]", SQL_ADMIN, ON_LOOP, sql_reset_replica,
     "ALL: forget the source; its files stay. KEEP OLD: forget its history: on each node all files go to binlog/old/name, what comes next "
     "begins with nothing",
     "RESET REPLICA KEEP OLD 'before-the-reset'"},
    {"CREATE USER", "[IF NOT EXISTS] 'user'@'host' IDENTIFIED [WITH plugin] BY 'password' | AS 'hash', ... [REQUIRE NONE|SSL] "
                    "[ACCOUNT LOCK|UNLOCK]",
     SQL_ADMIN, ON_LOOP, sql_create_user,
     "a new account; plugin: mysql_native_password or caching_sha2_password, both when none is named; host: %, localhost, an "
     "address, 10.1.%, 10.1.0.0/16",
     "CREATE USER IF NOT EXISTS 'repl'@'10.1.%' IDENTIFIED WITH caching_sha2_password BY 'secret' REQUIRE SSL"},
    {"ALTER USER", "[IF EXISTS] 'user'@'host' [IDENTIFIED ...], ... [REQUIRE NONE|SSL] [ACCOUNT LOCK|UNLOCK]", SQL_ANYBODY, ON_LOOP,
     sql_alter_user, "a new password; everybody may change his own, more needs CLUSTER_ADMIN",
     "ALTER USER CURRENT_USER() IDENTIFIED BY 'secret'"},
    {"DROP USER", "[IF EXISTS] 'user'@'host', ...", SQL_ADMIN, ON_LOOP, sql_drop_user, "removes accounts; their sessions end",
     "DROP USER IF EXISTS 'repl'@'%', probe"},
    {"RENAME USER", "'user'@'host' TO 'user'@'host', ...", SQL_ADMIN, ON_LOOP, sql_rename_user,
     "another name or host; sessions under the old one end", "RENAME USER 'repl'@'%' TO 'repl'@'10.1.%'"},
    {"GRANT", "REPLICATION SLAVE | REPLICATION CLIENT | CLUSTER_ADMIN | ALL, ... ON *.* TO 'user'@'host' [IDENTIFIED ...], ...",
     SQL_ADMIN, ON_LOOP, sql_grant, "lets accounts replicate, monitor, administer",
     "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'repl'@'%'"},
    {"REVOKE", "REPLICATION SLAVE | REPLICATION CLIENT | CLUSTER_ADMIN | ALL, ... ON *.* FROM 'user'@'host', ...", SQL_ADMIN,
     ON_LOOP, sql_revoke, "takes that back; dumps that it allowed end", "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'repl'@'%'"},
    {"PURGE BINARY|MASTER LOGS", "[ERA n] TO 'file' | BEFORE 'time' [FORCE] [DRY RUN]", SQL_ADMIN, ON_LOOP, sql_purge_logs,
     "removes the binlog files before that one, or older than that (UTC), on all nodes; what a replica needs stays, unless forced; "
     "DRY RUN only says which",
     "PURGE BINARY LOGS TO 'mysql-bin.000007'"},
    {"CHECK BINARY LOGS", "[ERA n] [FROM 'file'] [TO 'file'] [RATE n] [REBUILD]", SQL_MONITOR, ON_LOOP, sql_check_logs,
     "reads the binlog files of this node, at n MiB a second (256), and says whether they are sound; makes damaged indexes again",
     "CHECK BINARY LOGS REBUILD"},
    {"CHECK REPLICATION SOURCE", "", SQL_MONITOR, ON_LOOP, sql_check_source,
     "the source's settings that the promise depends on, and the statement that mends each", "CHECK REPLICATION SOURCE"},
    {"CHECK REPLICA", "'name' UUID 'uuid' GTIDS 'set'", SQL_ADMIN, ON_LOOP, sql_check_replica,
     "which of a replica's transactions neither the cluster nor its source has; an alarm keeps it",
     "CHECK REPLICA 'db1:3306' UUID '' GTIDS '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5'"},
    {"SHOW ALARMS", "", SQL_MONITOR, ON_LOOP, sql_show_alarms, "what an operator has to know of, also when it is over",
     "SHOW ALARMS"},
    {"ACKNOWLEDGE ALARM", "n", SQL_ADMIN, ON_LOOP, sql_acknowledge_alarm, "it was read: status does not show it any more",
     "ACKNOWLEDGE ALARM 1"},
    {"HELP", "['word']", SQL_ANYBODY, ON_WORKER, sql_help, "this list", "HELP 'USER'"},
};

enum { N_ROWS = sizeof rows / sizeof *rows };

const char *sql_needed(uint32_t roles)
{
    return roles == SQL_ANYBODY   ? ""
           : roles == SQL_ADMIN   ? "CLUSTER_ADMIN"
           : roles & ROLE_REPLICA ? "REPLICATION SLAVE, REPLICATION CLIENT, CLUSTER_ADMIN"
                                  : "REPLICATION CLIENT, CLUSTER_ADMIN";
}

size_t sql_rows(const struct sql_row **out)
{
    *out = rows;
    return N_ROWS;
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
    table_column(table, "Example", TABLE_TEXT);
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcasestr(rows[i].words, word)) {
            table_row(table);
            table_printf(table, "%s%s%s", rows[i].words, *rows[i].rest ? " " : "", rows[i].rest);
            table_text(table, sql_needed(rows[i].roles));
            table_text(table, rows[i].help);
            table_text(table, rows[i].example);
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
    statement->session.notes = NULL;
    statement->session.n_notes = 0;
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

void sql_session_noted(struct sql_session *session, struct reply *reply)
{
    if (reply->keeps_notes) {
        return;
    }
    mem_free(session->notes);
    if (reply->kind == REPLY_ERROR) {
        reply_note(reply, "Error", reply->code, "%s", reply->message);
    }
    session->notes = reply->notes;
    session->n_notes = reply->warnings;
    reply->notes = NULL;
}

void sql_session_free(struct sql_session *session)
{
    sql_vars_free(session->vars);
    mem_free(session->notes);
    session->vars = NULL;
    session->notes = NULL;
    session->n_notes = 0;
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
                  sql_needed(s->row->roles));
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

const char *sql_statement_text(const struct sql_statement *s, size_t *n)
{
    *n = s->n;
    return s->text;
}

/* Only the leader changes the replicated state and knows the source. */
static bool for_leader(const struct sql_row *row)
{
    static void (*const handlers[])(struct sql_call *call) = {
        sql_change_source, sql_start_replica, sql_stop_replica, sql_reset_replica, sql_show_replica_status, sql_show_slave_status,
        sql_show_all_slaves, sql_show_named_slave, sql_create_user,
        sql_alter_user, sql_drop_user, sql_rename_user, sql_set_password, sql_set /* a setting */, sql_grant, sql_revoke, sql_check_source, sql_check_replica, sql_acknowledge_alarm, sql_purge_logs, sql_show_cluster_status, sql_switchover, sql_add_member,
        sql_replace_member, sql_remove_member, sql_promote_member, sql_demote_member};
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (row->run == handlers[i]) {
            return true;
        }
    }
    return false;
}

void sql_run(struct control *control, struct control_request *request)
{
    struct sql_statement *s = request->statement;
    if (control->forward && for_leader(s->row) && !cluster_leading(control->cluster) && !request->move.until) {
        forward_request(control->forward, request);
        return;
    }
    struct sql_call call = call_of(s, &s->session, &request->reply);
    call.control = control;
    call.request = request;
    s->row->run(&call);
    if (call.must_wait && !call.failed) {
        reply_free(&request->reply);
        reply_ok(&request->reply);
        call.later = sql_wait(control, request);
        if (!call.later) {
            sql_error(&call, 1105, "HY000", "too many statements wait already; try again later");
        }
    }
    if (!call.later) {
        control_reply(request);
    }
}
