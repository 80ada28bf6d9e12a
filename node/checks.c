/* checks.c: see checks.h. One table; a row is a question, what is right, and how to mend it.
 *
 * Failures: a variable that the source has not got (1193) is skipped where others of its name may be there, else it is what
 * the row says; what may not be asked, or was not answered, is "unknown". */
#include "node/checks.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { UNKNOWN_VARIABLE = 1193, PARSE_ERROR = 1064, HOUR_MS = 3600000, DAY_S = 86400 };

struct row {
    const char *name;
    const char *variable[DIALECTS]; /* SELECT @@GLOBAL.…; NULL: not of that dialect */
    const char *query[DIALECTS];    /* in place of a variable */
    enum check_state level;         /* when it is wrong */
    bool (*right)(const char *value);
    const char *wanted;
    const char *set; /* the value for SET */
    const char *why;
    /* In place of right and set: fills the whole result. */
    void (*judge)(struct checks *c, const struct row *row, const struct result *r, struct check_result *out);
    bool optional; /* 1193: no result */
    bool instead;  /* only when the row before was skipped */
    bool semi_sync; /* needs the plugin */
};

static const char ON_SOURCE[] = "on the source";
static const char ON_REPLICA[] = "on that other replica";

static bool is_on(const char *v)
{
    return !strcmp(v, "1") || !strcasecmp(v, "ON") || !strcasecmp(v, "YES");
}

static bool is_one(const char *v)
{
    return !strcmp(v, "1");
}

static bool is_after_sync(const char *v)
{
    return !strcasecmp(v, "AFTER_SYNC");
}

static bool is_an_hour(const char *v)
{
    return strtoull(v, NULL, 10) >= HOUR_MS;
}

static bool is_abort(const char *v)
{
    return !strcasecmp(v, "ABORT_SERVER");
}

static bool is_row(const char *v)
{
    return !strcasecmp(v, "ROW");
}

static bool is_a_day(const char *v)
{
    double s = strtod(v, NULL);
    return s == 0.0 || s >= DAY_S;
}

static bool is_one_day(const char *v)
{
    double days = strtod(v, NULL);
    return days == 0.0 || days >= 1.0;
}

static const char *set_verb(const struct checks *c)
{
    return c->persists ? "PERSIST" : "GLOBAL";
}

/* ---- judges ---- */

static void judge_semi_sync(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    const char *v = result_value(r, 0, 0, NULL);
    snprintf(out->value, sizeof out->value, "%s", v ? v : "NULL");
    out->state = v && is_on(v) ? CHECK_OK : row->level;
    if (out->state != CHECK_OK) {
        snprintf(out->statement, sizeof out->statement, "SET %s %s = ON", set_verb(c), row->variable[c->dialect]);
    }
}

static void judge_count(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    const char *v = result_value(r, 0, 0, NULL);
    (void)row;
    snprintf(out->value, sizeof out->value, "%s", v ? v : "NULL");
    c->acks_wanted = v ? strtoull(v, NULL, 10) : 1;
    out->state = CHECK_OK; /* "other_clients" judges it */
}

static void judge_clients(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    struct source_counters n;
    counters_read(&n, r);
    uint64_t others = n.clients > c->ours ? n.clients - c->ours : 0;
    bool bad = others && c->acks_wanted <= others;
    out->state = !bad ? CHECK_OK : c->settling ? CHECK_UNKNOWN : row->level;
    if (bad && c->settling) {
        snprintf(out->value, sizeof out->value, "not known yet: own connections that have just ended are counted too");
        return;
    }
    snprintf(out->value, sizeof out->value, "%" PRIu64, others);
    if (!bad) {
        return;
    }
    out->where = ON_REPLICA;
    if (c->dialect == DIALECT_MARIADB) {
        snprintf(out->statement, sizeof out->statement,
                 "STOP SLAVE IO_THREAD; SET GLOBAL rpl_semi_sync_slave_enabled = OFF; START SLAVE IO_THREAD");
    } else if (c->dialect == DIALECT_MASTER) {
        snprintf(out->statement, sizeof out->statement,
                 "STOP SLAVE IO_THREAD; SET %s rpl_semi_sync_slave_enabled = OFF; START SLAVE IO_THREAD", set_verb(c));
    } else {
        snprintf(out->statement, sizeof out->statement,
                 "STOP REPLICA IO_THREAD; SET PERSIST rpl_semi_sync_replica_enabled = OFF; START REPLICA IO_THREAD");
    }
}

static void judge_gtid_mode(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    static const char *const steps[] = {"OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"};
    const char *v = result_value(r, 0, 0, NULL);
    size_t at = 0, len;
    snprintf(out->value, sizeof out->value, "%s", v ? v : "NULL");
    while (at < 3 && strcmp(steps[at], out->value) != 0) {
        at++;
    }
    out->state = at == 3 ? CHECK_OK : row->level;
    if (out->state == CHECK_OK) {
        return;
    }
    snprintf(out->statement, sizeof out->statement, "SET %s enforce_gtid_consistency = ON", set_verb(c));
    while (++at <= 3) {
        len = strlen(out->statement);
        snprintf(out->statement + len, sizeof out->statement - len, "; SET %s gtid_mode = %s", set_verb(c), steps[at]);
    }
}

/* SHOW BINARY LOG STATUS, SHOW MASTER STATUS. */
static void judge_filters(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    const char *only = result_get(r, 0, "Binlog_Do_DB"), *never = result_get(r, 0, "Binlog_Ignore_DB");
    (void)c;
    only = only ? only : "";
    never = never ? never : "";
    out->state = *only || *never ? row->level : CHECK_OK;
    snprintf(out->value, sizeof out->value, "%s%s%s%s%s", *only ? "do " : "", only, *only && *never ? ", " : "",
             *never ? "ignore " : "", never);
    if (out->state != CHECK_OK) {
        out->where = "take binlog-do-db and binlog-ignore-db out of the source's configuration, and restart it";
    } else {
        snprintf(out->value, sizeof out->value, "none");
    }
}

/* "… TO `u`@`h` IDENTIFIED …": the account, as it is quoted there. */
static void account_of(const char *grant, char *account, size_t size)
{
    const char *to = strstr(grant, " TO ");
    size_t n = 0;
    char quote = 0;
    for (to = to ? to + 4 : ""; to[n] && (quote || to[n] != ' ') && n + 1 < size; n++) {
        if (quote ? to[n] == quote : to[n] == '`' || to[n] == '\'') {
            quote = quote ? 0 : to[n];
        }
    }
    snprintf(account, size, "%.*s", (int)n, to);
}

static void judge_grants(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    bool slave = false, client = false;
    char account[256] = "";
    (void)c;
    for (size_t i = 0; i < r->nrows; i++) {
        const char *grant = result_value(r, i, 0, NULL);
        if (!grant) {
            continue;
        }
        if (!account[0]) {
            account_of(grant, account, sizeof account);
        }
        const char *on = strstr(grant, " ON *.*");
        size_t n = on ? (size_t)(on - grant) : 0;
        char what[4096];
        snprintf(what, sizeof what, "%.*s", (int)(n < sizeof what ? n : sizeof what - 1), grant);
        bool all = strstr(what, "ALL PRIVILEGES") != NULL;
        slave = slave || all || strstr(what, "REPLICATION SLAVE,") || (n >= 17 && !strcmp(what + strlen(what) - 17, "REPLICATION SLAVE"));
        client = client || all || strstr(what, "REPLICATION CLIENT") || strstr(what, "BINLOG MONITOR");
    }
    out->state = slave && client ? CHECK_OK : row->level;
    snprintf(out->value, sizeof out->value, "%s%s%s", slave ? "REPLICATION SLAVE" : "", slave && client ? ", " : "",
             client ? "REPLICATION CLIENT" : slave ? "" : "none");
    if (out->state != CHECK_OK) {
        snprintf(out->statement, sizeof out->statement, "GRANT %s%s%s ON *.* TO %s", slave ? "" : "REPLICATION SLAVE",
                 slave || client ? "" : ", ", client ? "" : "REPLICATION CLIENT", account);
    }
}

/* ---- the table ---- */

#define SAME(text) {text, text, text}
#define SEMI_SYNC(source, master) {"rpl_semi_sync_source_" source, "rpl_semi_sync_master_" master, "rpl_semi_sync_master_" master}

static const struct row rows[] = {
    {.name = "semi_sync",
     .variable = SEMI_SYNC("enabled", "enabled"),
     .level = CHECK_CRITICAL,
     .judge = judge_semi_sync,
     .wanted = "ON",
     .why = "without it commits do not wait for anybody"},
    {.name = "wait_point",
     .variable = SEMI_SYNC("wait_point", "wait_point"),
     .level = CHECK_CRITICAL,
     .right = is_after_sync,
     .wanted = "AFTER_SYNC",
     .set = "AFTER_SYNC",
     .why = "otherwise others see a transaction before it is safe",
     .semi_sync = true},
    {.name = "timeout",
     .variable = SEMI_SYNC("timeout", "timeout"),
     .level = CHECK_WARN,
     .right = is_an_hour,
     .wanted = "an hour or more (3600000)",
     .set = "3600000",
     .why = "after it commits go through without an acknowledgement",
     .semi_sync = true},
    {.name = "wait_without_replica",
     .variable = SEMI_SYNC("wait_no_replica", "wait_no_slave"),
     .level = CHECK_CRITICAL,
     .right = is_on,
     .wanted = "ON",
     .set = "ON",
     .why = "otherwise commits do not wait while the cluster is not connected",
     .semi_sync = true},
    {.name = "acks_wanted",
     .variable = {"rpl_semi_sync_source_wait_for_replica_count", "rpl_semi_sync_master_wait_for_slave_count", NULL},
     .level = CHECK_WARN,
     .judge = judge_count,
     .wanted = "1, with other semi-sync clients more than there are of those",
     .why = "how many acknowledgements a commit waits for",
     .optional = true,
     .semi_sync = true},
    {.name = "other_clients",
     .query = SAME(COUNTERS_QUERY),
     .level = CHECK_CRITICAL,
     .judge = judge_clients,
     .wanted = "0, or acks_wanted is higher",
     .why = "another semi-sync client may acknowledge what the cluster does not have",
     .semi_sync = true},
    {.name = "sync_binlog",
     .variable = SAME("sync_binlog"),
     .level = CHECK_WARN,
     .right = is_one,
     .wanted = "1",
     .set = "1",
     .why = "a source that crashes may come back without transactions that the cluster holds, and cannot be followed then"},
    {.name = "innodb_flush_log_at_trx_commit",
     .variable = SAME("innodb_flush_log_at_trx_commit"),
     .level = CHECK_WARN,
     .right = is_one,
     .wanted = "1",
     .set = "1",
     .why = "a source that crashes may come back without what it committed"},
    {.name = "binlog_error_action",
     .variable = {"binlog_error_action", "binlog_error_action", NULL},
     .level = CHECK_CRITICAL,
     .right = is_abort,
     .wanted = "ABORT_SERVER",
     .set = "ABORT_SERVER",
     .why = "otherwise a source that cannot write its binlog goes on without it",
     .optional = true},
    {.name = "gtid_mode",
     .variable = {"gtid_mode", "gtid_mode", NULL},
     .level = CHECK_WARN,
     .judge = judge_gtid_mode,
     .wanted = "ON",
     .why = "without GTIDs nobody can prove after a failover what is missing where",
     .optional = true},
    {.name = "binlog_format",
     .variable = SAME("binlog_format"),
     .level = CHECK_WARN,
     .right = is_row,
     .wanted = "ROW",
     .set = "ROW",
     .why = "statements may do something else on a replica (connections that are open keep theirs)",
     .optional = true},
    {.name = "retention",
     .variable = SAME("binlog_expire_logs_seconds"),
     .level = CHECK_WARN,
     .right = is_a_day,
     .wanted = "a day or more (86400), or 0 for ever",
     .set = "604800",
     .why = "what the source removes before the cluster has it is lost to it",
     .optional = true},
    {.name = "retention",
     .variable = SAME("expire_logs_days"),
     .level = CHECK_WARN,
     .right = is_one_day,
     .wanted = "a day or more, or 0 for ever",
     .set = "7",
     .why = "what the source removes before the cluster has it is lost to it",
     .optional = true,
     .instead = true},
    {.name = "grants",
     .query = SAME("SHOW GRANTS FOR CURRENT_USER"),
     .level = CHECK_WARN,
     .judge = judge_grants,
     .wanted = "REPLICATION SLAVE, REPLICATION CLIENT",
     .why = "the cluster's account needs them to follow and to look"},
    {.name = "filters",
     .query = {"SHOW BINARY LOG STATUS", NULL, NULL},
     .level = CHECK_CRITICAL,
     .judge = judge_filters,
     .wanted = "none",
     .why = "what is filtered is not in the binlog, and so not in the cluster",
     .optional = true},
    {.name = "filters", /* last: MariaDB answers it only when no commit waits for an acknowledgement */
     .query = SAME("SHOW MASTER STATUS"),
     .level = CHECK_CRITICAL,
     .judge = judge_filters,
     .wanted = "none",
     .why = "what is filtered is not in the binlog, and so not in the cluster",
     .instead = true},
};

enum { N_ROWS = sizeof rows / sizeof *rows };

_Static_assert((int)N_ROWS <= (int)CHECKS_MAX, "each row has room for its result");

const char *check_state_text(enum check_state state)
{
    static const char *const texts[] = {"unknown", "ok", "warn", "critical"};
    return texts[state];
}

void checks_begin(struct checks *c, enum flavour flavour, const char *version, bool ours, bool settling)
{
    char *end;
    unsigned long major = strtoul(version, &end, 10), minor = *end == '.' ? strtoul(end + 1, &end, 10) : 0;
    unsigned long patch = *end == '.' ? strtoul(end + 1, &end, 10) : 0;
    bool mariadb = flavour == FLAVOUR_MARIADB;
    bool newer = major > 8 || (major == 8 && (minor > 0 || patch >= 26));
    *c = (struct checks){.dialect = mariadb ? DIALECT_MARIADB : newer ? DIALECT_SOURCE : DIALECT_MASTER,
                         .persists = !mariadb && major >= 8,
                         .acks_wanted = 1,
                         .ours = ours,
                         .settling = settling};
}

static const char *question(const struct checks *c, const struct row *row)
{
    return row->query[c->dialect] ? row->query[c->dialect] : row->variable[c->dialect];
}

const char *checks_query(struct checks *c)
{
    for (; c->at < N_ROWS; c->at++) {
        const struct row *row = &rows[c->at];
        if (!question(c, row)) {
            c->skipped = true;
        } else if (!(row->instead && !c->skipped) && !(row->semi_sync && c->no_plugin)) {
            break;
        } else if (row->instead) {
            c->skipped = false;
        }
    }
    if (c->at == N_ROWS) {
        return NULL;
    }
    const char *text = question(c, &rows[c->at]);
    bool variable = !rows[c->at].query[c->dialect];
    snprintf(c->query, sizeof c->query, "%s%s", variable ? "SELECT @@GLOBAL." : "", text);
    return c->query;
}

static void judge_variable(struct checks *c, const struct row *row, const struct result *r, struct check_result *out)
{
    const char *v = result_value(r, 0, 0, NULL);
    snprintf(out->value, sizeof out->value, "%s", v ? v : "NULL");
    out->state = row->right(out->value) ? CHECK_OK : row->level;
    if (out->state != CHECK_OK) {
        snprintf(out->statement, sizeof out->statement, "SET %s %s = %s", set_verb(c), row->variable[c->dialect], row->set);
    }
}

/* Neither plugin is there: what has to be installed first. */
static void judge_no_plugin(struct checks *c, const struct row *row, struct check_result *out)
{
    c->no_plugin = true;
    out->state = row->level;
    snprintf(out->value, sizeof out->value, "not installed");
    if (c->dialect == DIALECT_MARIADB) {
        out->where = "semi-sync is built in since MariaDB 10.3: use a newer server";
    } else {
        const char *role = c->dialect == DIALECT_SOURCE ? "source" : "master";
        snprintf(out->statement, sizeof out->statement, "INSTALL PLUGIN rpl_semi_sync_%s SONAME 'semisync_%s.so'", role, role);
    }
}

/* True: the question has to be asked again in another way. */
static bool other_dialect(struct checks *c)
{
    if (c->at != 0 || c->dialect == DIALECT_MARIADB || c->tried_both) {
        return false;
    }
    c->tried_both = true;
    c->dialect = c->dialect == DIALECT_SOURCE ? DIALECT_MASTER : DIALECT_SOURCE;
    return true;
}

void checks_answer(struct checks *c, int status, const struct result *r)
{
    CHECK(c->at < N_ROWS);
    const struct row *row = &rows[c->at];
    struct check_result *out = &c->results[c->n];
    bool missing = status && r && (r->code == UNKNOWN_VARIABLE || (row->query[c->dialect] && r->code == PARSE_ERROR));
    *out = (struct check_result){.name = row->name, .wanted = row->wanted, .why = row->why, .where = ""};
    if (missing && other_dialect(c)) {
        return;
    }
    c->at++;
    c->skipped = missing && row->optional;
    if (c->skipped) {
        return;
    }
    c->n++;
    if (missing && c->at == 1) {
        if (c->tried_both) {
            c->dialect = c->dialect == DIALECT_SOURCE ? DIALECT_MASTER : DIALECT_SOURCE; /* the one of its version */
        }
        judge_no_plugin(c, row, out);
    } else if (status || !r->nrows) {
        snprintf(out->value, sizeof out->value, "%.150s", !r ? "no answer" : status ? r->message : "empty answer");
    } else {
        (row->judge ? row->judge : judge_variable)(c, row, r, out);
    }
    if (out->statement[0] && !out->where[0]) {
        out->where = ON_SOURCE;
    }
}

void checks_keep(struct checks *c, const struct checks *before)
{
    for (size_t i = 0; i < c->n; i++) {
        for (size_t k = 0; c->results[i].state == CHECK_UNKNOWN && k < before->n; k++) {
            if (!strcmp(c->results[i].name, before->results[k].name)) {
                c->results[i] = before->results[k];
            }
        }
    }
}

size_t checks_count(const struct checks *c, enum check_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        n += c->results[i].state == state;
    }
    return n;
}

/* ---- counters ---- */

void counters_read(struct source_counters *counters, const struct result *r)
{
    *counters = (struct source_counters){0};
    for (size_t i = 0; i < r->nrows; i++) {
        const char *name = result_value(r, i, 0, NULL), *value = result_value(r, i, 1, NULL);
        if (!name || !value || (strncasecmp(name, "Rpl_semi_sync_source_", 21) && strncasecmp(name, "Rpl_semi_sync_master_", 21))) {
            continue;
        }
        name += 21;
        if (!strcasecmp(name, "status")) {
            counters->known = true;
            counters->on = is_on(value);
        } else if (!strcasecmp(name, "clients")) {
            counters->clients = strtoull(value, NULL, 10);
        } else if (!strcasecmp(name, "yes_tx")) {
            counters->yes_tx = strtoull(value, NULL, 10);
        } else if (!strcasecmp(name, "no_tx")) {
            counters->no_tx = strtoull(value, NULL, 10);
        }
    }
}
