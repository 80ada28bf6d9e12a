/* sql_variables.c: the system variables, one row each, and SHOW VARIABLES.
 *
 * A row says for which flavour the variable exists (before any source was seen we speak as MySQL), what kind
 * of value it is (ON/OFF is 1/0 in a SELECT), whether a session may set it (tools do; nothing changes), and
 * where the value comes from: a constant, the session and its view, or (`asked`) the loop. Values of settings
 * we do not have are what a server that accepts replicas has. */
#include "node/settings.h"
#include "node/sql_impl.h"
#include "node/upstream.h"

#include "protocol/base/mem.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { VALUE_MAX = 64 << 20 };

enum of_flavour { ANY, MYSQL, MARIADB };
enum kind { TEXT, NUMBER, SWITCH };
enum settable { FIXED, SETTABLE };

struct sql_variable {
    const char *name;
    enum of_flavour flavour;
    enum kind kind;
    enum settable settable;
    const char *constant; /* NULL: get */
    void (*get)(const struct sql_call *call, struct buf *out);
    bool asked; /* get() needs call->control */
    enum setting_id setting; /* of those without constant and get() */
};

/* ---- from the session and its view ---- */

static void get_version(const struct sql_call *call, struct buf *out)
{
    buf_str(out, sql_version(call->session->view));
}

static void get_server_id(const struct sql_call *call, struct buf *out)
{
    buf_printf(out, "%u", call->session->view->server_id);
}

static void get_server_uuid(const struct sql_call *call, struct buf *out)
{
    buf_str(out, call->session->view->server_uuid);
}

static void get_node_id(const struct sql_call *call, struct buf *out)
{
    buf_printf(out, "%llu", (unsigned long long)call->session->view->node_id);
}

static void get_connection_id(const struct sql_call *call, struct buf *out)
{
    buf_printf(out, "%u", call->session->connection_id);
}

static void get_have_ssl(const struct sql_call *call, struct buf *out)
{
    buf_str(out, call->session->view->tls ? "YES" : "DISABLED");
}

static void get_timestamp(const struct sql_call *call, struct buf *out)
{
    uint64_t wall = env_wall(sql_env(call));
    buf_printf(out, "%llu.%06llu", (unsigned long long)(wall / 1000000),
               (unsigned long long)(wall % 1000000));
}

static void get_hostname(const struct sql_call *call, struct buf *out)
{
    char name[256] = "";
    (void)call;
    if (gethostname(name, sizeof name - 1)) {
        name[0] = '\0';
    }
    buf_str(out, name);
}

/* ---- from the loop ---- */

static void get_port(const struct sql_call *call, struct buf *out)
{
    const struct config *config = call->control->config;
    buf_printf(out, "%u", config->has_mysql_listen ? config->mysql_listen.port : 0u);
}

static void get_socket(const struct sql_call *call, struct buf *out)
{
    buf_str(out, call->control->config->socket);
}

static void get_executed(const struct sql_call *call, struct buf *out)
{
    const struct state *state = cluster_state(call->control->cluster);
    if (state->executed) {
        gtid_set_print(state->executed, out);
    }
}

/* For other clusters that follow this node: era, server id and uuid of the source whose files they go on with, and this cluster's id. */
static void get_source(const struct sql_call *call, struct buf *out)
{
    const struct sql_vars *vars = call->session->vars;
    struct upstream_asker asker = {.origin = sql_vars_get(vars, "holdfast_origin"),
                                   .at = sql_vars_get(vars, "holdfast_at"),
                                   .start = sql_vars_get(vars, "holdfast_start")};
    const struct state_era *era = upstream_era(cluster_state(call->control->cluster), &asker);
    if (era) {
        buf_printf(out, "%llu %lu %s %s", (unsigned long long)era->id, (unsigned long)era->origin.server_id, era->origin.uuid[0] ? era->origin.uuid : "-",
                   cluster_name(call->control->cluster));
    }
}

static void get_gtid_mode(const struct sql_call *call, struct buf *out)
{
    buf_str(out, call->session->view->gtids_off ? "OFF" : "ON");
}

static void get_position(const struct sql_call *call, struct buf *out)
{
    const struct state *state = cluster_state(call->control->cluster);
    if (state->executed) {
        gtid_set_print_position(state->executed, out);
    }
}

static void get_purged(const struct sql_call *call, struct buf *out)
{
    const struct state *state = cluster_state(call->control->cluster);
    struct gtid_set *before = NULL;
    if (state_file(state) && filelist_before(state->files, 0, &before, NULL) == 0 && before) {
        gtid_set_print(before, out);
    }
    gtid_set_free(before);
}

#define CONST(name, flavour, kind, settable, value)                                                          \
    {                                                                                                        \
#name, flavour, kind, settable, value, NULL, false, SETTING_COUNT                                    \
    }
#define GET(name, flavour, kind, getter)                                                                     \
    {                                                                                                        \
#name, flavour, kind, FIXED, NULL, getter, false, SETTING_COUNT                                                     \
    }
#define ASK(name, flavour, kind, getter)                                                                     \
    {                                                                                                        \
#name, flavour, kind, FIXED, NULL, getter, true, SETTING_COUNT                                       \
    }

#define SETTING(name, kind, ...)                                                                             \
    {                                                                                                        \
        "holdfast_" #name, ANY, (kind) == SETTING_CHOICE ? TEXT : NUMBER, FIXED, NULL, NULL, true, SETTING_ID_##name \
    },

/* In the order of SHOW VARIABLES. */
static const struct sql_variable variables[] = {
    CONST(auto_increment_increment, ANY, NUMBER, SETTABLE, "1"),
    CONST(auto_increment_offset, ANY, NUMBER, SETTABLE, "1"),
    CONST(autocommit, ANY, SWITCH, SETTABLE, "ON"),
    CONST(big_tables, ANY, SWITCH, SETTABLE, "OFF"),
    CONST(binlog_annotate_row_events, MARIADB, SWITCH, FIXED, "ON"),
    CONST(binlog_checksum, ANY, TEXT, FIXED, "CRC32"),
    CONST(binlog_format, ANY, TEXT, FIXED, "ROW"),
    CONST(binlog_row_image, ANY, TEXT, FIXED, "FULL"),
    CONST(binlog_row_metadata, ANY, TEXT, FIXED, "MINIMAL"),
    CONST(binlog_row_value_options, MYSQL, TEXT, FIXED, ""),
    CONST(character_set_client, ANY, TEXT, SETTABLE, "utf8mb4"),
    CONST(character_set_connection, ANY, TEXT, SETTABLE, "utf8mb4"),
    CONST(character_set_database, ANY, TEXT, SETTABLE, "utf8mb4"),
    CONST(character_set_filesystem, ANY, TEXT, SETTABLE, "binary"),
    CONST(character_set_results, ANY, TEXT, SETTABLE, "utf8mb4"),
    CONST(character_set_server, ANY, TEXT, SETTABLE, "utf8mb4"),
    CONST(character_set_system, ANY, TEXT, FIXED, "utf8mb3"),
    CONST(collation_connection, ANY, TEXT, SETTABLE, "utf8mb4_general_ci"),
    CONST(collation_database, ANY, TEXT, SETTABLE, "utf8mb4_general_ci"),
    CONST(collation_server, ANY, TEXT, SETTABLE, "utf8mb4_general_ci"),
    CONST(completion_type, ANY, TEXT, SETTABLE, "NO_CHAIN"),
    CONST(default_storage_engine, ANY, TEXT, SETTABLE, "InnoDB"),
    CONST(enforce_gtid_consistency, MYSQL, TEXT, FIXED, "ON"),
    CONST(error_count, ANY, NUMBER, FIXED, "0"),
    CONST(foreign_key_checks, ANY, SWITCH, SETTABLE, "ON"),
    CONST(group_concat_max_len, ANY, NUMBER, SETTABLE, "1024"),
    ASK(gtid_binlog_pos, MARIADB, TEXT, get_position),
    ASK(gtid_binlog_state, MARIADB, TEXT, get_executed),
    ASK(gtid_current_pos, MARIADB, TEXT, get_position),
    CONST(gtid_domain_id, MARIADB, NUMBER, SETTABLE, "0"),
    ASK(gtid_executed, MYSQL, TEXT, get_executed),
    GET(gtid_mode, MYSQL, TEXT, get_gtid_mode),
    CONST(gtid_next, MYSQL, TEXT, FIXED, "AUTOMATIC"),
    CONST(gtid_owned, MYSQL, TEXT, FIXED, ""),
    ASK(gtid_purged, MYSQL, TEXT, get_purged),
    ASK(gtid_slave_pos, MARIADB, TEXT, get_position),
    CONST(gtid_strict_mode, MARIADB, SWITCH, FIXED, "OFF"),
    GET(have_ssl, ANY, TEXT, get_have_ssl),
    SETTINGS(SETTING)
    GET(holdfast_node_id, ANY, NUMBER, get_node_id),
    ASK(holdfast_source, ANY, TEXT, get_source),
    GET(hostname, ANY, TEXT, get_hostname),
    CONST(in_transaction, MARIADB, NUMBER, FIXED, "0"),
    CONST(init_connect, ANY, TEXT, FIXED, ""),
    CONST(innodb_read_only, ANY, SWITCH, FIXED, "ON"),
    CONST(interactive_timeout, ANY, NUMBER, SETTABLE, "28800"),
    CONST(language, MARIADB, TEXT, FIXED, ""),
    CONST(lc_messages, ANY, TEXT, SETTABLE, "en_US"),
    CONST(lc_time_names, ANY, TEXT, SETTABLE, "en_US"),
    CONST(license, ANY, TEXT, FIXED, "MIT"),
    CONST(lock_wait_timeout, ANY, NUMBER, SETTABLE, "86400"),
    CONST(log_bin, ANY, SWITCH, FIXED, "ON"),
    CONST(log_replica_updates, MYSQL, SWITCH, FIXED, "ON"),
    CONST(log_slave_updates, ANY, SWITCH, FIXED, "ON"),
    CONST(lower_case_table_names, ANY, NUMBER, FIXED, "0"),
    CONST(master_info_repository, MYSQL, TEXT, FIXED, "TABLE"),
    CONST(max_allowed_packet, ANY, NUMBER, SETTABLE, "1073741824"),
    CONST(max_execution_time, MYSQL, NUMBER, SETTABLE, "0"),
    CONST(max_statement_time, MARIADB, NUMBER, SETTABLE, "0.000000"),
    CONST(net_buffer_length, ANY, NUMBER, SETTABLE, "16384"),
    CONST(net_read_timeout, ANY, NUMBER, SETTABLE, "30"),
    CONST(net_write_timeout, ANY, NUMBER, SETTABLE, "60"),
    CONST(performance_schema, ANY, SWITCH, FIXED, "OFF"),
    ASK(port, ANY, NUMBER, get_port),
    CONST(protocol_version, ANY, NUMBER, FIXED, "10"),
    GET(pseudo_thread_id, ANY, NUMBER, get_connection_id),
    CONST(query_cache_size, ANY, NUMBER, FIXED, "0"),
    CONST(query_cache_type, ANY, TEXT, SETTABLE, "OFF"),
    CONST(read_only, ANY, SWITCH, FIXED, "ON"),
    CONST(relay_log_info_repository, MYSQL, TEXT, FIXED, "TABLE"),
    CONST(report_host, ANY, TEXT, FIXED, ""),
    CONST(report_port, ANY, NUMBER, FIXED, "0"),
    CONST(rpl_semi_sync_master_enabled, ANY, SWITCH, FIXED, "ON"),
    CONST(rpl_semi_sync_master_timeout, ANY, NUMBER, FIXED, "10000"),
    CONST(rpl_semi_sync_source_enabled, ANY, SWITCH, FIXED, "ON"),
    CONST(rpl_semi_sync_source_timeout, ANY, NUMBER, FIXED, "10000"),
    GET(server_id, ANY, NUMBER, get_server_id),
    GET(server_uuid, MYSQL, TEXT, get_server_uuid),
    CONST(skip_replication, MARIADB, SWITCH, SETTABLE, "OFF"),
    ASK(socket, ANY, TEXT, get_socket),
    CONST(sql_auto_is_null, ANY, SWITCH, SETTABLE, "OFF"),
    CONST(sql_big_selects, ANY, SWITCH, SETTABLE, "ON"),
    CONST(sql_log_bin, ANY, SWITCH, SETTABLE, "ON"),
    CONST(sql_mode, ANY, TEXT, SETTABLE, ""),
    CONST(sql_notes, ANY, SWITCH, SETTABLE, "ON"),
    CONST(sql_quote_show_create, ANY, SWITCH, SETTABLE, "ON"),
    CONST(sql_safe_updates, ANY, SWITCH, SETTABLE, "OFF"),
    CONST(sql_select_limit, ANY, NUMBER, SETTABLE, "18446744073709551615"),
    CONST(sql_warnings, ANY, SWITCH, SETTABLE, "OFF"),
    CONST(super_read_only, MYSQL, SWITCH, FIXED, "ON"),
    CONST(sync_binlog, ANY, NUMBER, FIXED, "1"),
    CONST(system_time_zone, ANY, TEXT, FIXED, "UTC"),
    CONST(time_zone, ANY, TEXT, SETTABLE, "SYSTEM"),
    GET(timestamp, ANY, TEXT, get_timestamp),
    CONST(transaction_isolation, ANY, TEXT, SETTABLE, "REPEATABLE-READ"),
    CONST(transaction_read_only, ANY, SWITCH, SETTABLE, "OFF"),
    CONST(tx_isolation, ANY, TEXT, SETTABLE, "REPEATABLE-READ"),
    CONST(tx_read_only, ANY, SWITCH, SETTABLE, "OFF"),
    CONST(unique_checks, ANY, SWITCH, SETTABLE, "ON"),
    GET(version, ANY, TEXT, get_version),
    CONST(version_comment, ANY, TEXT, FIXED, "Holdfast"),
    CONST(version_compile_machine, ANY, TEXT, FIXED, ""),
    CONST(version_compile_os, ANY, TEXT, FIXED, "Linux"),
    CONST(wait_timeout, ANY, NUMBER, SETTABLE, "28800"),
    CONST(warning_count, ANY, NUMBER, FIXED, "0"),
};

enum { N_VARIABLES = sizeof variables / sizeof *variables };

static bool exists(const struct sql_call *call, const struct sql_variable *variable)
{
    return variable->flavour == ANY || (variable->flavour == MARIADB) == sql_is_mariadb(call);
}

const struct sql_variable *sql_variable_find(const struct sql_call *call, const char *name)
{
    for (size_t i = 0; i < N_VARIABLES; i++) {
        if (strcasecmp(variables[i].name, name) == 0 && exists(call, &variables[i])) {
            return &variables[i];
        }
    }
    return NULL;
}

bool sql_variable_find_fixed(const char *name)
{
    size_t i = 0;
    while (i < N_VARIABLES && (variables[i].setting != SETTING_COUNT || strcasecmp(variables[i].name, name) != 0)) {
        i++;
    }
    return i < N_VARIABLES;
}

bool sql_variable_settable(const struct sql_variable *variable)
{
    return variable->settable == SETTABLE;
}

/* As SHOW VARIABLES has it; the caller owns it. NULL and needs_loop where only the loop knows. */
static char *shown(struct sql_call *call, const struct sql_variable *variable)
{
    if (variable->constant) {
        return mem_str(variable->constant);
    }
    if (variable->asked && !call->control) {
        call->needs_loop = true;
        return NULL;
    }
    struct buf out;
    buf_init(&out, VALUE_MAX);
    if (variable->get) {
        variable->get(call, &out);
    } else if (variable->kind == NUMBER) {
        buf_printf(&out, "%llu", (unsigned long long)setting_number(cluster_state(call->control->cluster), variable->setting));
    } else {
        buf_str(&out, setting_text(cluster_state(call->control->cluster), variable->setting));
    }
    char *text = mem_str(buf_cstr(&out));
    buf_free(&out);
    return text;
}

struct sql_value sql_variable_value(struct sql_call *call, const struct sql_variable *variable)
{
    if (variable->kind == SWITCH) {
        return sql_value_number(strcmp(variable->constant, "ON") == 0);
    }
    char *text = shown(call, variable);
    return (struct sql_value){.text = text, .number = variable->kind == NUMBER && text && !strchr(text, '.')};
}

void sql_show_variables(struct sql_call *call)
{
    struct sql_filter filter;
    if (!sql_filter_read(call, &filter)) {
        return;
    }
    if (filter.uses_value && !call->control) {
        call->needs_loop = true;
        return;
    }
    struct table *table = sql_names_table();
    for (size_t i = 0; i < N_VARIABLES; i++) {
        const struct sql_variable *variable = &variables[i];
        if (!exists(call, variable) ||
            (!filter.uses_value && !sql_filter_match(call, &filter, variable->name, NULL))) {
            continue;
        }
        char *value = shown(call, variable);
        if (!filter.uses_value || sql_filter_match(call, &filter, variable->name, value)) {
            table_row(table);
            table_text(table, variable->name);
            table_text(table, value);
        }
        mem_free(value);
    }
    reply_rows(call->reply, table);
}
