/* sql_functions.c: the functions that clients and tools call, one row each. */
#include "node/sql_impl.h"

#include "protocol/base/mem.h"
#include "storage/reader.h"
#include "storage/store.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { GTID_RESULT_MAX = 64 << 20 };

struct function {
    const char *name;
    size_t min, max; /* arguments */
    void (*run)(struct sql_call *call, struct sql_value *args, struct sql_value *value);
    void (*run_n)(struct sql_call *call, struct sql_value *args, size_t n, struct sql_value *value); /* instead */
};

static void f_unix_timestamp(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    *value = sql_value_number((int64_t)(env_wall(sql_env(call)) / 1000000));
}

static void f_now(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    time_t now = (time_t)(env_wall(sql_env(call)) / 1000000);
    struct tm tm;
    char text[32] = "";
    if (gmtime_r(&now, &tm)) {
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    }
    *value = sql_value_text(text);
}

static void f_version(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    *value = sql_value_text(sql_version(call->session->view));
}

static void f_database(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    *value = sql_value_text(call->session->db[0] ? call->session->db : NULL);
}

static void f_user(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    *value = (struct sql_value){.text = mem_printf("%s@%s", call->session->user, call->session->host)};
}

static void f_current_user(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    *value = (struct sql_value){.text = mem_printf("%s@%s", call->session->user, call->session->account_host)};
}

static void f_connection_id(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    *value = sql_value_number(call->session->connection_id);
}

static void f_uuid(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)args;
    uint8_t uuid[16];
    char text[UUID_TEXT_SIZE];
    env_random(sql_env(call), uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    uuid_text(uuid, text);
    *value = sql_value_text(text);
}

static void f_ifnull(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    (void)call;
    struct sql_value *from = args[0].text ? &args[0] : &args[1];
    *value = *from;
    *from = (struct sql_value){0};
}

/* Both arguments as MySQL sets; false: one is NULL (the result too) or malformed (the call failed). */
static bool two_sets(struct sql_call *call, struct sql_value *args, struct gtid_set **a, struct gtid_set **b)
{
    struct gtid_set **sets[2] = {a, b};
    *a = *b = NULL;
    for (size_t i = 0; i < 2; i++) {
        *sets[i] = gtid_set_new(FLAVOUR_MYSQL);
        if (args[i].text && gtid_set_parse(*sets[i], args[i].text, strlen(args[i].text), NULL)) {
            sql_error(call, 1772, "HY000", "Malformed GTID set specification '%.200s'.", args[i].text);
        }
    }
    return args[0].text && args[1].text && !call->failed;
}

static void f_gtid_subtract(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    struct gtid_set *a, *b;
    if (two_sets(call, args, &a, &b)) {
        struct buf text;
        buf_init(&text, GTID_RESULT_MAX);
        gtid_set_subtract(a, b);
        gtid_set_print(a, &text);
        *value = sql_value_text(buf_cstr(&text));
        buf_free(&text);
    }
    gtid_set_free(a);
    gtid_set_free(b);
}

static void f_gtid_subset(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    struct gtid_set *a, *b;
    if (two_sets(call, args, &a, &b)) {
        *value = sql_value_number(gtid_set_subset(a, b));
    }
    gtid_set_free(a);
    gtid_set_free(b);
}

/* To be freed; NULL: not known. */
static struct gtid_set *gtids_at(const struct state *state, const char *name, uint64_t position)
{
    const struct state_era *era = state_era(state);
    const struct state_file *file = state_file(state);
    struct gtid_set *set = NULL;
    size_t at;
    if (file && position == state->boundary && strcmp(file->name, name) == 0) {
        return state->executed ? gtid_set_copy(state->executed) : NULL;
    }
    if (era && position == STORE_MAGIC && filelist_find(state->files, era->id, name, &at)) {
        (void)filelist_before(state->files, at, &set, NULL);
    }
    return set;
}

/* What a MariaDB source answers a replica that asks by file and position for the GTID position there; NULL where no event
 * begins, as for a file that is not there. On a worker from the files. The loop reads none: it knows where a file
 * begins and where the newest one ends. */
static void f_binlog_gtid_pos(struct sql_call *call, struct sql_value *args, struct sql_value *value)
{
    if (!args[0].text || !args[1].text) {
        return;
    }
    uint64_t position = (uint64_t)sql_value_int(&args[1]);
    struct gtid_set *set = NULL;
    int rv = READER_NOT_YET;
    if (call->control) {
        set = gtids_at(cluster_state(call->control->cluster), args[0].text, position);
    } else if (call->session->files && sql_is_mariadb(call)) {
        rv = reader_gtids_at(call->session->files, args[0].text, position, &set, NULL);
    }
    if (!call->control && rv == READER_NOT_YET) {
        call->needs_loop = true;
        return;
    }
    if (set) {
        struct buf text;
        buf_init(&text, GTID_RESULT_MAX);
        gtid_set_print_position(set, &text);
        *value = sql_value_text(buf_cstr(&text));
        buf_free(&text);
    }
    gtid_set_free(set);
}

static const struct function functions[] = {
    {"UNIX_TIMESTAMP", 0, 0, f_unix_timestamp, NULL},
    {"NOW", 0, 1, f_now, NULL},
    {"CURRENT_TIMESTAMP", 0, 1, f_now, NULL},
    {"UTC_TIMESTAMP", 0, 1, f_now, NULL},
    {"VERSION", 0, 0, f_version, NULL},
    {"DATABASE", 0, 0, f_database, NULL},
    {"SCHEMA", 0, 0, f_database, NULL},
    {"USER", 0, 0, f_user, NULL},
    {"SESSION_USER", 0, 0, f_user, NULL},
    {"SYSTEM_USER", 0, 0, f_user, NULL},
    {"CURRENT_USER", 0, 0, f_current_user, NULL},
    {"CONNECTION_ID", 0, 0, f_connection_id, NULL},
    {"UUID", 0, 0, f_uuid, NULL},
    {"IFNULL", 2, 2, f_ifnull, NULL},
    {"COALESCE", 2, 2, f_ifnull, NULL},
    {"GTID_SUBTRACT", 2, 2, f_gtid_subtract, NULL},
    {"GTID_SUBSET", 2, 2, f_gtid_subset, NULL},
    {"WAIT_FOR_EXECUTED_GTID_SET", 1, 2, NULL, sql_wait_mysql},
    {"MASTER_GTID_WAIT", 1, 2, NULL, sql_wait_mariadb},
    {"BINLOG_GTID_POS", 2, 2, f_binlog_gtid_pos, NULL},
};

bool sql_function(struct sql_call *call, const char *name, struct sql_value *args, size_t n,
                  struct sql_value *value)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct function *f = &functions[i];
        if (strcasecmp(f->name, name) == 0) {
            if (n < f->min || n > f->max) {
                sql_error(call, 1582, "42000",
                          "Incorrect parameter count in the call to native function '%s'", f->name);
            } else if (f->run_n) {
                f->run_n(call, args, n, value);
            } else {
                f->run(call, args, value);
            }
            return true;
        }
    }
    return false;
}
