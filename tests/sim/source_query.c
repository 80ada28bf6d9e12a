/* source_query.c: a simulated source's connections: login, and the statements that replicas send before they
 * dump.
 *
 * Texts are compared in lower case, with blanks taken out around "=" and "," and single elsewhere. What is
 * not known is error 1064 (1193 for a variable) and stands in the log. */
#include "tests/sim/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_PACKET = 1 << 20, SQL_MOST = 4096 };

/* ---- answers ------------------------------------------------------------------------------------------- */

static void answer_row(struct session *s, const char *name, const char *value)
{
    const struct column columns[] = {COLUMN_TEXT(name, 100)};
    struct rowset rs;
    rowset_begin(&rs, s->wire, s->caps, columns, 1);
    rowset_row(&rs);
    rowset_str(&rs, value);
    rowset_end(&rs);
}

/* SHOW VARIABLES: name and value, or no row. */
static void answer_variable(struct session *s, const char *name, const char *value)
{
    const struct column columns[] = {COLUMN_TEXT("Variable_name", 64), COLUMN_TEXT("Value", 1024)};
    struct rowset rs;
    rowset_begin(&rs, s->wire, s->caps, columns, 2);
    if (value) {
        rowset_row(&rs);
        rowset_str(&rs, name);
        rowset_str(&rs, value);
    }
    rowset_end(&rs);
}

static void answer_status(struct session *s)
{
    const struct column columns[] = {COLUMN_TEXT("File", 512), COLUMN_U64("Position"),
                                     COLUMN_TEXT("Binlog_Do_DB", 255), COLUMN_TEXT("Binlog_Ignore_DB", 255),
                                     COLUMN_TEXT("Executed_Gtid_Set", 1000)};
    struct history *h = s->run->source->history;
    size_t n = h->flavour == FLAVOUR_MYSQL ? 5 : 4;
    struct buf set;
    struct rowset rs;
    buf_init(&set, 1 << 20);
    gtid_set_print(h->executed, &set);
    rowset_begin(&rs, s->wire, s->caps, columns, n);
    rowset_row(&rs);
    rowset_str(&rs, history_newest(h)->name);
    rowset_u64(&rs, history_newest(h)->bytes.len);
    rowset_str(&rs, "");
    rowset_str(&rs, "");
    if (n == 5) {
        rowset_str(&rs, buf_cstr(&set));
    }
    rowset_end(&rs);
    buf_free(&set);
}

static void answer_logs(struct session *s)
{
    const struct column columns[] = {COLUMN_TEXT("Log_name", 255), COLUMN_U64("File_size"),
                                     COLUMN_TEXT("Encrypted", 3)};
    struct history *h = s->run->source->history;
    size_t n = h->flavour == FLAVOUR_MYSQL ? 3 : 2;
    struct rowset rs;
    rowset_begin(&rs, s->wire, s->caps, columns, n);
    for (size_t i = 0; i < h->n_files; i++) {
        rowset_row(&rs);
        rowset_str(&rs, h->files[i]->name);
        rowset_u64(&rs, h->files[i]->bytes.len + (n == 3 && h->encrypted ? 512 : 0)); /* of its own head, not of the events */
        if (n == 3) {
            rowset_str(&rs, h->encrypted ? "Yes" : "No");
        }
    }
    rowset_end(&rs);
}

static void answer_set_text(struct session *s, const char *name, bool position)
{
    struct buf set;
    buf_init(&set, 1 << 20);
    if (position) {
        gtid_set_print_position(s->run->source->history->executed, &set);
    } else {
        gtid_set_print(s->run->source->history->executed, &set);
    }
    answer_row(s, name, buf_cstr(&set));
    buf_free(&set);
}

/* What it has, and beside it nothing. */
static void answer_sets(struct session *s, const char *first, const char *second)
{
    const struct column columns[] = {COLUMN_TEXT(first, 1000), COLUMN_TEXT(second, 1000)};
    struct rowset rs;
    struct buf set;
    buf_init(&set, 1 << 20);
    gtid_set_print(s->run->source->history->executed, &set);
    rowset_begin(&rs, s->wire, s->caps, columns, 2);
    rowset_row(&rs);
    rowset_str(&rs, buf_cstr(&set));
    rowset_str(&rs, "");
    rowset_end(&rs);
    buf_free(&set);
}

/* ---- statements ---------------------------------------------------------------------------------------- */

static void normalise(const char *text, size_t n, char out[SQL_MOST])
{
    size_t at = 0;
    for (size_t i = 0; i < n && at + 1 < SQL_MOST; i++) {
        char c = (char)tolower((unsigned char)text[i]);
        char last = at ? out[at - 1] : '=';
        if (isspace((unsigned char)c)) {
            if (last != ' ' && last != '=' && last != ',') {
                out[at++] = ' ';
            }
            continue;
        }
        if ((c == '=' || c == ',') && last == ' ') {
            at--;
        }
        out[at++] = c;
    }
    while (at > 0 && (out[at - 1] == ' ' || out[at - 1] == ';')) {
        at--;
    }
    out[at] = 0;
}

/* The value that a SET gives to one variable, without quotes. */
static bool assigned(const char *sql, const char *name, char *value, size_t size)
{
    char pattern[64];
    snprintf(pattern, sizeof pattern, "%s=", name);
    const char *at = strstr(sql, pattern);
    if (!at) {
        return false;
    }
    at += strlen(pattern);
    bool quoted = *at == '\'';
    size_t n = quoted ? strcspn(++at, "'") : strcspn(at, ",");
    snprintf(value, size, "%.*s", (int)n, at);
    return true;
}

static void do_set(struct session *s, const char *sql)
{
    bool mysql = s->run->source->options.flavour == FLAVOUR_MYSQL;
    char value[1024];
    if (assigned(sql, "@master_heartbeat_period", value, sizeof value) ||
        assigned(sql, "@source_heartbeat_period", value, sizeof value)) {
        s->heartbeat_ns = strtoull(value, NULL, 10);
    }
    if (assigned(sql, "@master_binlog_checksum", value, sizeof value) ||
        (mysql && assigned(sql, "@source_binlog_checksum", value, sizeof value))) {
        s->checksum_set = true;
    }
    if (assigned(sql, "@mariadb_slave_capability", value, sizeof value)) {
        s->capability = (unsigned)strtoul(value, NULL, 10);
    }
    if (assigned(sql, mysql ? "@rpl_semi_sync_replica" : "@rpl_semi_sync_slave", value, sizeof value)) {
        s->semi_sync = strcmp(value, "1") == 0 && !s->run->source->options.no_semi_sync;
    }
    if (assigned(sql, "@slave_uuid", value, sizeof value) ||
        assigned(sql, "@replica_uuid", value, sizeof value)) {
        snprintf(s->uuid, sizeof s->uuid, "%.60s", value);
    }
    if (!mysql && assigned(sql, "@slave_connect_state", value, sizeof value)) {
        s->has_connect_state = true;
        snprintf(s->connect_state, sizeof s->connect_state, "%s", value);
    }
    put_ok(s->wire, s->caps);
}

static bool answer_number(struct session *s, const char *name, uint64_t v)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    answer_row(s, name, text);
    return true;
}

static bool both_flavours(struct session *s, const char *sql)
{
    struct source_sim *source = s->run->source;
    char id[16];
    snprintf(id, sizeof id, "%u", (unsigned)source->options.server_id);
    if (strcmp(sql, "select unix_timestamp()") == 0) {
        return answer_number(s, "UNIX_TIMESTAMP()", env_wall(s->run->env) / 1000000);
    }
    if (strcmp(sql, "select @@global.server_id") == 0) {
        return answer_number(s, "@@GLOBAL.SERVER_ID", source->options.server_id);
    }
    if (strcmp(sql, "show variables like 'server_id'") == 0) {
        answer_variable(s, "server_id", id);
    } else if (strcmp(sql, "select @master_binlog_checksum") == 0 ||
               strcmp(sql, "select @source_binlog_checksum") == 0) {
        answer_row(s, sql + 7, s->checksum_set ? "CRC32" : NULL);
    } else if (strcmp(sql, "select version()") == 0 || strcmp(sql, "select @@version") == 0) {
        answer_row(s, sql + 7, source->history->version);
    } else if (strcmp(sql, "show binary logs") == 0) {
        answer_logs(s);
    } else {
        return false;
    }
    return true;
}

static bool mysql_only(struct session *s, const char *sql)
{
    struct source_sim *source = s->run->source;
    char uuid[UUID_TEXT_SIZE];
    uuid_text(source->history->uuid, uuid);
    if (strcmp(sql, "select @@global.server_uuid") == 0) {
        answer_row(s, "@@GLOBAL.SERVER_UUID", uuid);
    } else if (strcmp(sql, "select @@global.gtid_mode") == 0) {
        answer_row(s, "@@GLOBAL.GTID_MODE", "ON");
    } else if (strcmp(sql, "select @@global.rpl_semi_sync_source_enabled") == 0) {
        answer_row(s, "@@global.rpl_semi_sync_source_enabled", source->options.no_semi_sync ? "0" : "1");
    } else if (strcmp(sql, "show binary log status") == 0) {
        answer_status(s);
    } else if (strcmp(sql, "select @@global.gtid_executed,@@global.gtid_owned") == 0) {
        answer_sets(s, "@@GLOBAL.GTID_EXECUTED", "@@GLOBAL.GTID_OWNED");
    } else if (strcmp(sql, "select @@global.gtid_executed") == 0) {
        answer_set_text(s, "@@GLOBAL.GTID_EXECUTED", false);
    } else {
        return false;
    }
    return true;
}

static bool mariadb_only(struct session *s, const char *sql)
{
    if (strcmp(sql, "select @@global.gtid_domain_id") == 0) {
        return answer_number(s, "@@GLOBAL.gtid_domain_id", 0);
    }
    if (strcmp(sql, "show variables like 'rpl_semi_sync_master_enabled'") == 0) {
        answer_variable(s, "rpl_semi_sync_master_enabled",
                        s->run->source->options.no_semi_sync ? "OFF" : "ON");
    } else if (strcmp(sql, "show master status") == 0) {
        answer_status(s);
    } else if (strcmp(sql, "select @@global.gtid_binlog_state,@@global.gtid_slave_pos") == 0) {
        answer_sets(s, "@@GLOBAL.gtid_binlog_state", "@@GLOBAL.gtid_slave_pos");
    } else if (strcmp(sql, "select @@global.gtid_binlog_state") == 0) {
        answer_set_text(s, "@@GLOBAL.gtid_binlog_state", false);
    } else if (strcmp(sql, "select @@global.gtid_slave_pos") == 0) {
        answer_row(s, "@@GLOBAL.gtid_slave_pos", "");
    } else if (strcmp(sql, "select @@global.gtid_binlog_pos") == 0) {
        answer_set_text(s, "@@GLOBAL.gtid_binlog_pos", true);
    } else {
        return false;
    }
    return true;
}

void sim_session_query(struct session *s, const char *text, size_t n)
{
    char sql[SQL_MOST];
    bool mysql = s->run->source->options.flavour == FLAVOUR_MYSQL;
    normalise(text, n, sql);
    if (strncmp(sql, "set ", 4) == 0) {
        do_set(s, sql);
    } else if (!both_flavours(s, sql) && !(mysql ? mysql_only(s, sql) : mariadb_only(s, sql))) {
        env_log(s->run->env, ENV_DEBUG, "statement not known text=%.200s", sql);
        if (strncmp(sql, "select @@", 9) == 0) {
            put_err(s->wire, ER_UNKNOWN_VARIABLE, NULL, "Unknown system variable '%s'", sql + 9);
        } else {
            put_err(s->wire, ER_PARSE, NULL, "You have an error in your SQL syntax near '%.80s' at line 1",
                    sql);
        }
    }
}

/* ---- connections --------------------------------------------------------------------------------------- */

void sim_session_send(struct session *s)
{
    struct buf *out = wire_output(s->wire);
    if (out->len || out->err) {
        env_stream_write(s->stream, out);
    }
}

void sim_session_free(struct session *s)
{
    struct session **at = &s->run->sessions;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    env_timer_close(&s->heartbeat);
    env_stream_close(s->stream);
    server_auth_free(s->auth);
    wire_free(s->wire);
    gtid_set_free(s->have);
    mem_free(s->asked);
    mem_free(s);
}

static void logged_in(struct session *s)
{
    s->caps = server_auth_result(s->auth)->caps;
    s->state = SESSION_COMMAND;
    wire_seq_reset(s->wire);
}

static void command_packet(struct session *s, const struct packet *p)
{
    const char *text;
    size_t n;
    struct errmsg em;
    switch (packet_kind(p)) {
    case COM_QUERY:
        if (command_query(p, s->caps, &text, &n, &em)) {
            s->over = true;
            return;
        }
        sim_session_query(s, text, n);
        break;
    case COM_PING:
    case COM_REGISTER_SLAVE: put_ok(s->wire, s->caps); break;
    case COM_BINLOG_DUMP:
    case COM_BINLOG_DUMP_GTID: sim_dump_begin(s, p); return;
    case COM_QUIT: s->over = true; return;
    default: put_err(s->wire, ER_UNKNOWN_COM, NULL, "Unknown command");
    }
    wire_seq_reset(s->wire);
}

static void one_packet(struct session *s, const struct packet *p)
{
    struct errmsg em;
    int rv;
    switch (s->state) {
    case SESSION_LOGIN:
        rv = server_auth_packet(s->auth, s->wire, p, &em);
        if (rv == SERVER_AUTH_DONE) {
            logged_in(s);
        } else if (rv < 0) {
            env_log(s->run->env, ENV_INFO, "login refused: %s", em.text);
            s->over = true;
        }
        break;
    case SESSION_COMMAND: command_packet(s, p); break;
    case SESSION_DUMP: sim_dump_ack(s, p); break;
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct session *s = owner;
    struct packet p;
    struct errmsg em;
    int rv = wire_feed(s->wire, data, n, &em), next = 0;
    while (!rv && !s->over && (next = wire_next(s->wire, &p, &em)) == 1) {
        one_packet(s, &p);
    }
    if (rv || next < 0) {
        sim_fail(s->run->source->sim, "the source cannot read what a client sends: %s", em.text);
        s->over = true;
    }
    sim_session_send(s);
    if (s->over) {
        sim_session_free(s);
    }
}

static void drained(void *owner)
{
    struct session *s = owner;
    if (s->state == SESSION_DUMP) {
        sim_dump_pump(s);
        if (s->over) {
            sim_session_free(s);
        }
    }
}

static void closed(void *owner, int code, const char *why)
{
    struct session *s = owner;
    env_log(s->run->env, ENV_DEBUG, "connection %u ended: %s (%s)", (unsigned)s->thread_id, why,
            err_name(code));
    sim_session_free(s);
}

static const struct env_stream_handler handler = {.readable = readable, .drained = drained, .closed = closed};

static int find_account(void *arg, const char *user, struct account_secret *out)
{
    struct source_sim *source = arg;
    if (strcmp(user, SOURCE_SIM_USER) != 0) {
        return E_NOTFOUND;
    }
    *out = source->secret;
    return 0;
}

static void heartbeat_due(struct env_timer *timer)
{
    struct session *s = CONTAINER_OF(timer, struct session, heartbeat);
    sim_dump_heartbeat(s);
    sim_dump_pump(s);
    if (s->over) {
        sim_session_free(s);
    }
}

void sim_session_new(void *owner, struct env_socket *socket)
{
    struct source_run *run = owner;
    struct session *s = mem_new(sizeof *s);
    bool mysql = run->source->options.flavour == FLAVOUR_MYSQL;
    s->run = run;
    s->thread_id = run->next_thread++;
    s->next = run->sessions;
    run->sessions = s;
    s->wire = wire_new(LARGEST_PACKET);
    struct server_auth_opts opts = {.version = run->source->history->version,
                                    .thread_id = s->thread_id,
                                    .plugin = mysql ? AUTH_SHA2 : AUTH_NATIVE,
                                    .peer_host = env_socket_peer(socket)->host,
                                    .lookup = find_account,
                                    .lookup_arg = run->source};
    env_random(run->env, opts.salt, sizeof opts.salt);
    s->auth = server_auth_new(&opts);
    env_timer_open(run->env, &s->heartbeat, heartbeat_due);
    int rv = env_attach(run->env, socket, &handler, s, &s->stream);
    CHECK(rv == 0);
    rv = server_auth_start(s->auth, s->wire);
    CHECK(rv == 0);
    sim_session_send(s);
}
