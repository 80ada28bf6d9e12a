/* target.c: see target.h.
 *
 * Happy path: the greeting tells the flavour; a SELECT tells the GTIDs, SHOW REPLICA STATUS (or SLAVE, for those who do not know it) the
 * rest. Failure modes: no connection, no privilege, GTIDs that are off: errors with the server's words. */
#include "tools/cli/target.h"

#include "protocol/base/mem.h"
#include "tools/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { STATEMENTS_MAX = 64 << 10 };

/* ---- asking ---- */

static int ask(struct target *t, const char *sql, struct result *r, struct errmsg *em)
{
    int rv = conn_query(t->conn, sql, strlen(sql), r, em);
    return rv ? err_wrap(em, rv, "%s: %s", t->name, sql) : 0;
}

static int take_set(struct target *t, const char *text, struct gtid_set **set, struct errmsg *em)
{
    gtid_set_free(*set);
    *set = gtid_set_new(t->flavour);
    int rv = gtid_set_parse(*set, text ? text : "", text ? strlen(text) : 0, em);
    return rv ? err_wrap(em, rv, "%s: its GTIDs cannot be read", t->name) : 0;
}

static int look_at_gtids(struct target *t, struct errmsg *em)
{
    bool mariadb = t->flavour == FLAVOUR_MARIADB;
    struct result r;
    cli_result_init(&r);
    int rv = ask(t, mariadb ? "SELECT @@GLOBAL.gtid_binlog_state, @@GLOBAL.read_only, @@GLOBAL.gtid_slave_pos"
                            : "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.read_only, @@GLOBAL.gtid_mode", &r, em);
    if (!rv) {
        const char *has = result_value(&r, 0, 0, NULL), *read_only = result_value(&r, 0, 1, NULL), *third = result_value(&r, 0, 2, NULL);
        t->read_only = read_only && strcmp(read_only, "0") != 0 && strcasecmp(read_only, "OFF") != 0;
        rv = take_set(t, has, &t->has, em);
        if (!rv && mariadb) {
            rv = take_set(t, third, &t->applied, em);
        } else if (!rv && (!third || strcasecmp(third, "ON") != 0)) {
            rv = err_set(em, E_UNSUPPORTED, "%s: its gtid_mode is %s; what it lacks can be told and brought by GTID only", t->name, third ? third : "not known");
        }
    }
    result_free(&r);
    return rv;
}

/* Either dialect's column. */
static const char *column(const struct result *r, const char *newer, const char *older)
{
    const char *v = result_get(r, 0, newer);
    v = v ? v : result_get(r, 0, older);
    return v ? v : "";
}

static bool yes(const char *value)
{
    return strcasecmp(value, "Yes") == 0;
}

static void take_replica(struct target *t, const struct result *r)
{
    const char *gtid = column(r, "Auto_Position", "Using_Gtid"), *host = column(r, "Source_Host", "Master_Host");
    t->channels = host[0] ? r->nrows : 0;
    if (!t->channels) {
        return;
    }
    snprintf(t->source, sizeof t->source, "%.255s:%.10s", host, column(r, "Source_Port", "Master_Port"));
    snprintf(t->user, sizeof t->user, "%.96s", column(r, "Source_User", "Master_User"));
    snprintf(t->io_error, sizeof t->io_error, "%.499s", column(r, "Last_IO_Error", "Last_IO_Error"));
    snprintf(t->sql_error, sizeof t->sql_error, "%.499s", column(r, "Last_SQL_Error", "Last_SQL_Error"));
    const char *io = column(r, "Replica_IO_Running", "Slave_IO_Running");
    t->io_runs = yes(io) || strcasecmp(io, "Connecting") == 0 || strcasecmp(io, "Preparing") == 0;
    t->sql_runs = yes(column(r, "Replica_SQL_Running", "Slave_SQL_Running"));
    t->by_gtid = strcmp(gtid, "1") == 0 || strcasecmp(gtid, "Slave_Pos") == 0;
    t->delay = strtoul(column(r, "SQL_Delay", "SQL_Delay"), NULL, 10);
}

int target_look(struct target *t, struct errmsg *em)
{
    struct result r;
    int rv = look_at_gtids(t, em);
    if (rv) {
        return rv;
    }
    cli_result_init(&r);
    bool newer = t->flavour == FLAVOUR_MYSQL && t->replica_words;
    rv = ask(t, newer ? "SHOW REPLICA STATUS" : "SHOW SLAVE STATUS", &r, em);
    if (!rv) {
        t->channels = 0;
        if (r.nrows) {
            take_replica(t, &r);
        }
    }
    result_free(&r);
    return rv;
}

/* Since 8.0.23 both SHOW REPLICA STATUS and CHANGE REPLICATION SOURCE TO are known. */
static bool knows_replica(const char *version)
{
    unsigned major = 0, minor = 0, patch = 0;
    (void)sscanf(version, "%u.%u.%u", &major, &minor, &patch);
    return major > 8 || (major == 8 && (minor > 0 || patch >= 23));
}

int target_open(struct target *t, const struct conn_opts *opts, bool *refused, struct errmsg *em)
{
    *t = (struct target){.flavour = FLAVOUR_MYSQL};
    env_addr_format(&opts->addr, t->name, sizeof t->name);
    int rv = conn_open(opts, &t->conn, refused, em);
    if (rv) {
        return err_wrap(em, rv, *refused ? "%s refuses the login" : "cannot connect to %s", t->name);
    }
    if (strcasestr(conn_version(t->conn), "mariadb")) {
        t->flavour = FLAVOUR_MARIADB;
    }
    t->replica_words = t->flavour == FLAVOUR_MYSQL && knows_replica(conn_version(t->conn));
    return target_look(t, em);
}

void target_close(struct target *t)
{
    conn_close(t->conn);
    gtid_set_free(t->has);
    gtid_set_free(t->applied);
    t->conn = NULL;
    t->has = t->applied = NULL;
}

/* ---- statements ---- */

static const char *words(const struct target *t)
{
    return t->replica_words ? "REPLICA" : "SLAVE";
}

void target_stop(const struct target *t, struct buf *sql)
{
    buf_printf(sql, "STOP %s\n", words(t));
}

void target_point(const struct target *t, const char *host, uint16_t port, struct buf *sql)
{
    const char *prefix = t->replica_words ? "SOURCE" : "MASTER";
    target_stop(t, sql);
    buf_printf(sql, "CHANGE %s TO %s_HOST=", t->replica_words ? "REPLICATION SOURCE" : "MASTER", prefix);
    sql_literal(sql, host);
    buf_printf(sql, ", %s_PORT=%u", prefix, (unsigned)port);
    if (t->flavour == FLAVOUR_MARIADB) { /* a change of the host would forget it */
        buf_str(sql, ", MASTER_USE_GTID=slave_pos");
    } else if (!t->by_gtid) {
        buf_printf(sql, ", %s_AUTO_POSITION=1", prefix);
    }
    buf_printf(sql, "\nSTART %s\n", words(t));
}

void target_rejoin(const struct target *t, const char *host, uint16_t port, struct buf *sql)
{
    const char *prefix = t->replica_words ? "SOURCE" : "MASTER";
    bool mariadb = t->flavour == FLAVOUR_MARIADB;
    if (t->channels == 1) {
        target_point(t, host, port, sql);
        return;
    }
    buf_str(sql, mariadb ? "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos\n" : "");
    buf_printf(sql, "CHANGE %s TO %s_HOST=", t->replica_words ? "REPLICATION SOURCE" : "MASTER", prefix);
    sql_literal(sql, host);
    buf_printf(sql, ", %s_PORT=%u, %s_USER='...', %s_PASSWORD='...', %s\nSTART %s\n", prefix, (unsigned)port, prefix, prefix,
               mariadb            ? "MASTER_USE_GTID=slave_pos"
               : t->replica_words ? "SOURCE_SSL=1, SOURCE_AUTO_POSITION=1"
                                  : "MASTER_AUTO_POSITION=1",
               words(t));
}

void target_promote(const struct target *t, struct buf *sql)
{
    target_stop(t, sql);
    buf_printf(sql, "RESET %s ALL\n", words(t));
    if (t->flavour == FLAVOUR_MARIADB) {
        buf_str(sql, "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC\nSET GLOBAL rpl_semi_sync_master_timeout = 3600000\n"
                     "SET GLOBAL rpl_semi_sync_master_enabled = ON\n");
    } else {
        const char *name = t->replica_words ? "source" : "master";
        buf_printf(sql, "SET GLOBAL rpl_semi_sync_%s_timeout = 3600000\nSET GLOBAL rpl_semi_sync_%s_enabled = ON\n", name, name);
    }
    if (t->read_only) {
        buf_str(sql, "SET GLOBAL read_only = OFF\n");
    }
}

int target_run(struct target *t, struct buf *sql, struct errmsg *em)
{
    char *all = mem_str(buf_cstr(sql)), *next = all, *one;
    struct result r;
    int rv = 0;
    cli_result_init(&r);
    while (!rv && (one = strsep(&next, "\n"))) {
        rv = one[0] ? ask(t, one, &r, em) : 0;
    }
    result_free(&r);
    mem_free(all);
    return rv;
}
