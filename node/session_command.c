/* session_command.c: one command after the other: statements go to node/sql.h, dumps to node/dump.h, the rest
 * is answered here.
 *
 * Failure: a command that cannot be read is 1835, one that is not known 1047; the session goes on. */
#include "node/session_command.h"

#include "node/dump.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/result.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_CHARS = 1024 }; /* the width that a text column claims */

/* ---- replies ---- */

static struct column column_of(const struct table *t, size_t i)
{
    struct column c = COLUMN_TEXT(table_name(t, i), TEXT_CHARS), number = COLUMN_U64(table_name(t, i));
    enum table_type type = table_type(t, i);
    if (type == TABLE_TEXT || type == TABLE_BLOB) {
        c.type = type == TABLE_BLOB ? TYPE_LONG_BLOB : c.type;
        return c;
    }
    static const struct {
        uint8_t type, length, decimals;
    } numbers[] = {[TABLE_LONG] = {TYPE_LONG, 11, 0},   [TABLE_SHORT] = {TYPE_SHORT, 6, 0},
                   [TABLE_DOUBLE] = {TYPE_DOUBLE, 0, 3}, [TABLE_FLOAT] = {TYPE_FLOAT, 0, 3},
                   [TABLE_NULL] = {TYPE_NULL, 0, 0},    [TABLE_DATETIME] = {TYPE_DATETIME, 19, 0}};
    if (type != TABLE_NUMBER) {
        number.type = numbers[type].type;
        number.length = numbers[type].length ? numbers[type].length : number.length;
        number.decimals = numbers[type].decimals;
    }
    if (table_has_null(t, i)) {
        number.flags &= (uint16_t)~COLUMN_NOT_NULL;
    }
    return number;
}

static void put_rows(struct session *s, const struct table *t, uint16_t warnings)
{
    size_t n = table_columns(t);
    struct column *columns = mem_array(n, sizeof *columns);
    for (size_t i = 0; i < n; i++) {
        columns[i] = column_of(t, i);
    }
    struct rowset rs;
    rowset_begin(&rs, s->wire, s->caps, columns, n);
    for (size_t row = 0; row < table_rows(t); row++) {
        rowset_row(&rs);
        for (size_t i = 0; i < n; i++) {
            size_t len = 0;
            const char *cell = table_cell(t, row, i, &len);
            if (cell) {
                rowset_bytes(&rs, cell, len);
            } else {
                rowset_null(&rs);
            }
        }
    }
    rowset_end_with(&rs, STATUS_AUTOCOMMIT, warnings);
    mem_free(columns);
}

void session_put_reply(struct session *s, struct reply *reply)
{
    switch (reply->kind) {
    case REPLY_OK: {
        struct ok_info info = {.affected = reply->affected,
                               .status = STATUS_AUTOCOMMIT,
                               .warnings = reply->warnings,
                               .info = reply->message[0] ? reply->message : NULL};
        put_ok_info(s->wire, s->caps, &info);
        break;
    }
    case REPLY_ERROR:
        put_err_text(s->wire, reply->code, reply->state[0] ? reply->state : NULL, reply->message);
        break;
    case REPLY_ROWS: put_rows(s, reply->table, reply->warnings); break;
    }
    sql_session_noted(&s->sql, reply);
    reply_free(reply);
    wire_seq_reset(s->wire);
}

/* ---- commands ---- */

static void run_text(struct session *s, const char *text, size_t n)
{
    struct reply reply = {.kind = REPLY_OK};
    struct sql_statement *statement = NULL;
    s->sql.view = s->worker->view; /* as of now; a newer one may have come */
    if (sql_execute(&s->sql, text, n, &reply, &statement) == SQL_DONE) {
        session_put_reply(s, &reply);
    } else {
        s->state = SESSION_WAITING;
        worker_submit(s, statement);
    }
}

static int query(struct session *s, const struct packet *p, struct errmsg *em)
{
    const char *text;
    size_t n;
    int rv = command_query(p, s->caps, &text, &n, em);
    if (!rv) {
        run_text(s, text, n);
    }
    return rv;
}

static int kill(struct session *s, const struct packet *p, struct errmsg *em)
{
    uint32_t id;
    char text[32];
    int rv = command_kill(p, &id, em);
    if (!rv) {
        snprintf(text, sizeof text, "KILL %lu", (unsigned long)id);
        run_text(s, text, strlen(text));
    }
    return rv;
}

static int init_db(struct session *s, const struct packet *p, struct errmsg *em)
{
    int rv = command_init_db(p, s->sql.db, sizeof s->sql.db, em);
    if (!rv) {
        put_ok(s->wire, s->caps);
    }
    return rv;
}

static void statistics(struct session *s)
{
    char text[80];
    uint64_t now = env_wall(s->env), started = s->worker->control->started_wall;
    snprintf(text, sizeof text, "Uptime: %llu  Threads: %zu  Questions: 0",
             (unsigned long long)(now > started ? (now - started) / 1000000 : 0), s->worker->n_sessions);
    wire_put(s->wire, text, strlen(text));
}

static void reset_connection(struct session *s)
{
    sql_session_free(&s->sql);
    s->sql.vars = sql_vars_new();
    put_ok(s->wire, s->caps);
}

static int register_replica(struct session *s, const struct packet *p, struct errmsg *em)
{
    struct register_slave r;
    int rv = command_register_slave(p, &r, em);
    if (rv == E_TOOBIG) {
        put_err_text(s->wire, ER_UNKNOWN, NULL, em->text);
        return 0;
    }
    if (rv) {
        return rv;
    }
    if (!(s->sql.roles & ROLE_REPLICA)) {
        put_err(s->wire, ER_ACCESS_DENIED, NULL, "Access denied for user '%s'@'%s' (using password: YES)",
                s->sql.user, s->sql.host);
        return 0;
    }
    mem_free(s->registered);
    s->registered = mem_dup(&r, sizeof r);
    put_ok(s->wire, s->caps);
    return 0;
}

void session_command(struct session *s, const struct packet *p)
{
    struct errmsg em = {""};
    int rv = 0;
    unsigned command = packet_kind(p);
    switch (command) {
    case COM_QUIT: session_end(s); return;
    case COM_QUERY: rv = query(s, p, &em); break;
    case COM_PROCESS_KILL: rv = kill(s, p, &em); break;
    case COM_INIT_DB: rv = init_db(s, p, &em); break;
    case COM_PING: put_ok(s->wire, s->caps); break;
    case COM_STATISTICS: statistics(s); break;
    case COM_CHANGE_USER: session_change_user(s, p); return;
    case COM_RESET_CONNECTION: reset_connection(s); break;
    case COM_SET_OPTION:
    case COM_FIELD_LIST: put_eof(s->wire, STATUS_AUTOCOMMIT, 0); break;
    case COM_REGISTER_SLAVE: rv = register_replica(s, p, &em); break;
    case COM_BINLOG_DUMP:
    case COM_BINLOG_DUMP_GTID: dump_command(s, p); break;
    default: put_err(s->wire, ER_UNKNOWN_COM, NULL, "Unknown command"); break;
    }
    if (rv) {
        put_err(s->wire, ER_MALFORMED_PACKET, NULL, "Malformed communication packet.");
    }
    if (s->state == SESSION_READY) {
        wire_seq_reset(s->wire);
    }
}
