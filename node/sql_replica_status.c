/* sql_replica_status.c: SHOW REPLICA STATUS, in the columns of MySQL or of MariaDB, and MariaDB's SHOW ALL SLAVES
 * STATUS. One row when a source is set, none otherwise. There is one source: of channels and connections only the
 * one without a name.
 *
 * What a replica does in two threads, fetching and executing, is fetching and committing on a quorum here.
 * Columns of what we do not have are there with the value of a replica that does not use it, since tools look
 * columns up by name. */
#include "node/sql_impl.h"
#include "node/source.h"

#include <stdio.h>
#include <string.h>

enum { GTIDS_MAX = 64 << 20 };

enum of_flavour { BOTH, MYSQL, MARIADB, ALL_SLAVES /* SHOW ALL SLAVES STATUS alone */, ALL_SLAVES_11_6 };

struct facts {
    const struct state *state;
    const struct source_settings *settings;
    struct source_status status;
    const struct state_era *era;   /* NULL before the first file */
    const struct state_file *file; /* the same */
    bool mysql_names;              /* columns with SOURCE and REPLICA in them */
};

/* What is asked for. */
struct shape {
    bool mysql_names; /* columns with SOURCE and REPLICA in them */
    bool mariadb, mariadb_11_6;
    bool all_slaves;
};

struct status_column {
    const char *name; /* the new one, with its type in front (table_head); ! ? * for those that MariaDB 11.6 changed */
    enum of_flavour flavour;
    const char *constant; /* NULL: cell() */
    void (*cell)(const struct facts *f, struct table *table);
};

static void c_io_state(const struct facts *f, struct table *t)
{
    static const char *const texts[][2] = {
        [SOURCE_OFF] = {"", ""},
        [SOURCE_WAITING] = {"Reconnecting after a failed source event read",
                            "Reconnecting after a failed master event read"},
        [SOURCE_PREPARING] = {"Connecting to source", "Connecting to master"},
        [SOURCE_CONNECTING] = {"Connecting to source", "Connecting to master"},
        [SOURCE_ASKING] = {"Checking source version", "Checking master version"},
        [SOURCE_PROVING] = {"Checking source version", "Checking master version"},
        [SOURCE_STREAMING] = {"Waiting for source to send event", "Waiting for master to send event"},
        [SOURCE_REFUSED] = {"", ""},
    };
    if (f->status.phase == SOURCE_STREAMING && f->status.encrypted) {
        table_text(t, f->mysql_names ? "Waiting for source to send event; its files are encrypted, here are the same events decrypted"
                                     : "Waiting for master to send event; its files are encrypted, here are the same events decrypted");
        return;
    }
    table_text(t, texts[f->status.phase][f->mysql_names ? 0 : 1]);
}

static void c_host(const struct facts *f, struct table *t)
{
    table_text(t, f->status.host);
}

static void c_user(const struct facts *f, struct table *t)
{
    table_text(t, f->settings->user);
}

static void c_port(const struct facts *f, struct table *t)
{
    table_number(t, f->status.port);
}

/* What is being received; when nothing is, where the files end. */
static void c_read_file(const struct facts *f, struct table *t)
{
    table_text(t, f->status.file[0] ? f->status.file : f->file ? f->file->name : "");
}

static void c_read_position(const struct facts *f, struct table *t)
{
    table_number(t, f->status.file[0] ? f->status.received : f->file ? f->file->size : 0);
}

static void c_exec_file(const struct facts *f, struct table *t)
{
    table_text(t, f->file ? f->file->name : "");
}

static void c_exec_position(const struct facts *f, struct table *t)
{
    table_number(t, f->file ? f->file->size : 0);
}

static void c_io_running(const struct facts *f, struct table *t)
{
    bool wants = f->settings->running && f->status.phase != SOURCE_OFF && f->status.phase != SOURCE_REFUSED;
    table_text(t, !wants ? "No" : f->status.phase == SOURCE_STREAMING ? "Yes" : "Connecting");
}

static void c_io_errno(const struct facts *f, struct table *t)
{
    const struct source_status *s = &f->status;
    table_number(t, s->error_code ? s->error_code : s->error[0] ? 2003 : 0);
}

static void c_io_error(const struct facts *f, struct table *t)
{
    table_text(t, f->status.error);
}

static void c_io_error_time(const struct facts *f, struct table *t)
{
    if (f->status.error[0]) {
        table_number(t, f->status.error_wall / 1000000);
    } else {
        table_text(t, "");
    }
}

/* How far the source is ahead of what it has sent us is not known here: 0 means that the stream runs. */
static void c_behind(const struct facts *f, struct table *t)
{
    table_text(t, f->status.phase == SOURCE_STREAMING ? "0" : NULL);
}

static void c_ssl_allowed(const struct facts *f, struct table *t)
{
    table_text(t, strcmp(f->settings->ssl_mode, "disabled") == 0 ? "No" : "Yes");
}

static void c_ssl_ca(const struct facts *f, struct table *t)
{
    table_text(t, f->settings->ssl_ca);
}

static void c_ssl_cert(const struct facts *f, struct table *t)
{
    table_text(t, f->settings->ssl_cert);
}

static void c_ssl_key(const struct facts *f, struct table *t)
{
    table_text(t, f->settings->ssl_key);
}

static void c_ssl_verify(const struct facts *f, struct table *t)
{
    table_text(t, strncmp(f->settings->ssl_mode, "verify", 6) == 0 ? "Yes" : "No");
}

static void c_server_id(const struct facts *f, struct table *t)
{
    table_number(t, f->era ? f->era->origin.server_id : 0);
}

static void c_uuid(const struct facts *f, struct table *t)
{
    table_text(t, f->era ? f->era->origin.uuid : "");
}

static void c_executed(const struct facts *f, struct table *t)
{
    struct buf text;
    buf_init(&text, GTIDS_MAX);
    if (f->state->executed) {
        gtid_set_print(f->state->executed, &text);
    }
    table_text(t, buf_cstr(&text));
    buf_free(&text);
}

static void c_io_pos(const struct facts *f, struct table *t)
{
    struct buf text;
    buf_init(&text, GTIDS_MAX);
    if (f->state->executed) {
        gtid_set_print_position(f->state->executed, &text);
    }
    table_text(t, buf_cstr(&text));
    buf_free(&text);
}

static void c_sql_state(const struct facts *f, struct table *t)
{
    table_text(t, f->mysql_names ? "Replica has read all relay log; waiting for more updates"
                                 : "Slave has read all relay log; waiting for more updates");
}

/* In the servers' order. Source stands for Master and Replica_ for Slave_ in the old names. */
static const struct status_column columns[] = {
    {"Connection_name", ALL_SLAVES, "", NULL},
    {"Replica_SQL_State", ALL_SLAVES, NULL, c_sql_state},
    {"Replica_IO_State", BOTH, NULL, c_io_state},
    {"Source_Host", BOTH, NULL, c_host},
    {"Source_User", BOTH, NULL, c_user},
    {"!Source_Port", BOTH, NULL, c_port},
    {"~Connect_Retry", BOTH, "60", NULL},
    {"Source_Log_File", BOTH, NULL, c_read_file},
    {"#Read_Source_Log_Pos", BOTH, NULL, c_read_position},
    {"Relay_Log_File", BOTH, NULL, c_exec_file},
    {"#Relay_Log_Pos", BOTH, NULL, c_exec_position},
    {"Relay_Source_Log_File", BOTH, NULL, c_exec_file},
    {"Replica_IO_Running", BOTH, NULL, c_io_running},
    {"Replica_SQL_Running", BOTH, "Yes", NULL},
    {"Replicate_Do_DB", BOTH, "", NULL},
    {"Replicate_Ignore_DB", BOTH, "", NULL},
    {"Replicate_Do_Table", BOTH, "", NULL},
    {"Replicate_Ignore_Table", BOTH, "", NULL},
    {"Replicate_Wild_Do_Table", BOTH, "", NULL},
    {"Replicate_Wild_Ignore_Table", BOTH, "", NULL},
    {"!Last_Errno", BOTH, "0", NULL},
    {"Last_Error", BOTH, "", NULL},
    {"~Skip_Counter", BOTH, "0", NULL},
    {"#Exec_Source_Log_Pos", BOTH, NULL, c_exec_position},
    {"#Relay_Log_Space", BOTH, NULL, c_exec_position},
    {"Until_Condition", BOTH, "None", NULL},
    {"Until_Log_File", BOTH, "", NULL},
    {"#Until_Log_Pos", BOTH, "0", NULL},
    {"Source_SSL_Allowed", BOTH, NULL, c_ssl_allowed},
    {"Source_SSL_CA_File", BOTH, NULL, c_ssl_ca},
    {"Source_SSL_CA_Path", BOTH, "", NULL},
    {"Source_SSL_Cert", BOTH, NULL, c_ssl_cert},
    {"Source_SSL_Cipher", BOTH, "", NULL},
    {"Source_SSL_Key", BOTH, NULL, c_ssl_key},
    {"#Seconds_Behind_Source", BOTH, NULL, c_behind},
    {"Source_SSL_Verify_Server_Cert", BOTH, NULL, c_ssl_verify},
    {"!Last_IO_Errno", BOTH, NULL, c_io_errno},
    {"Last_IO_Error", BOTH, NULL, c_io_error},
    {"!Last_SQL_Errno", BOTH, "0", NULL},
    {"Last_SQL_Error", BOTH, "", NULL},
    {"Replicate_Ignore_Server_Ids", BOTH, "", NULL},
    {"~Source_Server_Id", BOTH, NULL, c_server_id},

    {"Source_UUID", MYSQL, NULL, c_uuid},
    {"Source_Info_File", MYSQL, "", NULL},
    {"~SQL_Delay", MYSQL, "0", NULL},
    {"~SQL_Remaining_Delay", MYSQL, NULL, NULL},
    {"Replica_SQL_Running_State", MYSQL, NULL, c_sql_state},
    {"#Source_Retry_Count", MYSQL, "0", NULL},
    {"Source_Bind", MYSQL, "", NULL},
    {"Last_IO_Error_Timestamp", MYSQL, NULL, c_io_error_time},
    {"Last_SQL_Error_Timestamp", MYSQL, "", NULL},
    {"Source_SSL_Crl", MYSQL, "", NULL},
    {"Source_SSL_Crlpath", MYSQL, "", NULL},
    {"Retrieved_Gtid_Set", MYSQL, NULL, c_executed},
    {"Executed_Gtid_Set", MYSQL, NULL, c_executed},
    {"~Auto_Position", MYSQL, "0", NULL},
    {"Replicate_Rewrite_DB", MYSQL, "", NULL},
    {"Channel_Name", MYSQL, "", NULL},
    {"Source_TLS_Version", MYSQL, "", NULL},
    {"Source_public_key_path", MYSQL, "", NULL},
    {"~Get_Source_public_key", MYSQL, "0", NULL},
    {"Network_Namespace", MYSQL, "", NULL},

    {"Source_SSL_Crl", MARIADB, "", NULL},
    {"Source_SSL_Crlpath", MARIADB, "", NULL},
    {"Using_Gtid", MARIADB, "No", NULL},
    {"Gtid_IO_Pos", MARIADB, NULL, c_io_pos},
    {"Replicate_Do_Domain_Ids", MARIADB, "", NULL},
    {"Replicate_Ignore_Domain_Ids", MARIADB, "", NULL},
    {"Parallel_Mode", MARIADB, "optimistic", NULL},
    {"~SQL_Delay", MARIADB, "0", NULL},
    {"~SQL_Remaining_Delay", MARIADB, NULL, NULL},
    {"Replica_SQL_Running_State", MARIADB, NULL, c_sql_state},
    {"#Replica_DDL_Groups", MARIADB, "0", NULL},
    {"#Replica_Non_Transactional_Groups", MARIADB, "0", NULL},
    {"#Replica_Transactional_Groups", MARIADB, "0", NULL},
    {"Replicate_Rewrite_DB", MARIADB, "", NULL},
    {"~Retried_transactions", ALL_SLAVES, "0", NULL},
    {"?Max_relay_log_size", ALL_SLAVES, "0", NULL},
    {"~Executed_log_entries", ALL_SLAVES, "0", NULL},
    {"~Replica_received_heartbeats", ALL_SLAVES, "0", NULL},
    {"*Replica_heartbeat_period", ALL_SLAVES, "1.000", NULL},
    {"Gtid_Replica_Pos", ALL_SLAVES, NULL, c_io_pos},
    {"@Source_last_event_time", ALL_SLAVES_11_6, NULL, NULL},
    {"@Replica_last_event_time", ALL_SLAVES_11_6, NULL, NULL},
    {"~Source_Replica_time_diff", ALL_SLAVES_11_6, NULL, NULL},
};

enum { N_COLUMNS = sizeof columns / sizeof *columns };

static void put_old_name(struct buf *b, const char *name)
{
    while (*name) {
        if (strncmp(name, "Source", 6) == 0) {
            buf_str(b, "Master");
            name += 6;
        } else if (strncmp(name, "Replica_", 8) == 0) {
            buf_str(b, "Slave_");
            name += 8;
        } else {
            buf_u8(b, (uint8_t)*name++);
        }
    }
}

/* The mark of a type that is another one since MariaDB 11.6. */
static char mark_of(char mark, bool since_11_6)
{
    switch (mark) {
    case '!': return since_11_6 ? '%' : '~';
    case '?': return since_11_6 ? '~' : '#';
    case '*': return since_11_6 ? '^' : '=';
    default: return mark;
    }
}

static bool has_column(const struct shape *shape, const struct status_column *column)
{
    switch (column->flavour) {
    case BOTH: return true;
    case MYSQL: return !shape->mariadb;
    case MARIADB: return shape->mariadb;
    case ALL_SLAVES: return shape->all_slaves;
    case ALL_SLAVES_11_6: return shape->all_slaves && shape->mariadb_11_6;
    }
    return false;
}

static struct table *begin_table(const struct shape *shape)
{
    struct table *table = table_new();
    struct buf name;
    buf_init(&name, 256);
    for (size_t i = 0; i < N_COLUMNS; i++) {
        if (!has_column(shape, &columns[i])) {
            continue;
        }
        buf_reset(&name);
        if (shape->mysql_names) {
            buf_str(&name, columns[i].name);
        } else {
            put_old_name(&name, columns[i].name);
        }
        buf_put_u8(&name, 0, (uint8_t)mark_of(buf_cstr(&name)[0], shape->mariadb_11_6));
        table_head(table, buf_cstr(&name));
    }
    buf_free(&name);
    return table;
}

static void show(struct sql_call *call, const struct shape *shape)
{
    const struct state *state = cluster_state(call->control->cluster);
    struct facts f = {.state = state, .settings = &state->source, .mysql_names = shape->mysql_names};
    f.era = state_era(state);
    f.file = state_file(state);
    source_get_status(call->control->source, &f.status);
    struct table *table = begin_table(shape);
    if (state->has_source && state->source.host[0]) {
        table_row(table);
        for (size_t i = 0; i < N_COLUMNS; i++) {
            if (!has_column(shape, &columns[i])) {
                continue;
            }
            if (columns[i].cell) {
                columns[i].cell(&f, table);
            } else {
                table_text(table, columns[i].constant);
            }
        }
    }
    reply_rows(call->reply, table);
}

static struct shape shape_of(const struct sql_call *call, bool old_names)
{
    unsigned major = 0, minor = 0;
    struct shape shape = {.mariadb = sql_is_mariadb(call)};
    shape.mysql_names = !shape.mariadb && !old_names;
    int n = sscanf(sql_version(call->session->view), "%3u.%3u", &major, &minor);
    shape.mariadb_11_6 = shape.mariadb && n == 2 && (major > 11 || (major == 11 && minor >= 6));
    return shape;
}

/* False: the call has failed. */
static bool known_name(struct sql_call *call, const char *name)
{
    if (!name || !*name) {
        return !call->failed;
    }
    if (sql_is_mariadb(call)) {
        sql_error(call, 1617, "HY000", "There is no master connection '%.64s'", name);
    } else {
        sql_error(call, 3074, "HY000", "Replica channel '%.64s' does not exist.", name);
    }
    return false;
}

static void show_one(struct sql_call *call, bool old_names)
{
    struct shape shape = shape_of(call, old_names);
    const char *name = sql_match(call, "FOR CHANNEL") ? sql_string(call) : NULL;
    if (sql_end(call) && known_name(call, name)) {
        show(call, &shape);
    }
}

void sql_show_replica_status(struct sql_call *call)
{
    show_one(call, false);
}

void sql_show_slave_status(struct sql_call *call)
{
    show_one(call, true);
}

/* Not a word of MySQL's: as if it were not known. */
static bool is_mariadbs(struct sql_call *call)
{
    if (!sql_is_mariadb(call)) {
        call->at = 0;
        sql_syntax(call);
    }
    return !call->failed;
}

void sql_show_all_slaves(struct sql_call *call)
{
    struct shape shape = shape_of(call, true);
    shape.all_slaves = true;
    if (is_mariadbs(call) && sql_end(call)) {
        show(call, &shape);
    }
}

void sql_show_named_slave(struct sql_call *call)
{
    struct shape shape = shape_of(call, true);
    const char *name = sql_peek(call)->kind == TOKEN_STRING && is_mariadbs(call) ? sql_string(call) : NULL;
    if ((name || sql_syntax(call)) && sql_need_word(call, "STATUS") && sql_end(call) && known_name(call, name)) {
        show(call, &shape);
    }
}
