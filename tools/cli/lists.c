/* lists.c: commands that show what one statement answers: replicas, files, GTIDs, any SQL.
 *
 * The columns are the node's own, so that a newer node shows more without a newer CLI. */
#include "tools/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STATEMENT_MAX = 1 << 20, EVENTS_DEFAULT = 1000, BAR = 30 };

enum { SWITCH_S = 10, SWITCH_LOOK_US = 20000 };

static void leader_id(struct cli *cli, char *id, size_t size)
{
    struct result r;
    struct errmsg em;
    const char *value = NULL;
    cli_result_init(&r);
    if (!cli_try(cli, "SHOW STATUS LIKE 'Holdfast_leader_id'", &r, &em)) {
        value = status_get(&r, "leader_id");
    }
    snprintf(id, size, "%s", value ? value : "0");
    result_free(&r);
}

int cmd_switchover(struct cli *cli)
{
    char sql[64] = "ALTER CLUSTER SWITCHOVER", before[24], now[24], done[80];
    struct result r;
    if (cli->to && (!cli->to[0] || strspn(cli->to, "0123456789") != strlen(cli->to) || strlen(cli->to) > 18)) {
        return cli_fail(CLI_USAGE, "switchover: '%s' is no node's id; holdfast member list shows them", cli->to);
    }
    if (cli->to) {
        snprintf(sql, sizeof sql, "ALTER CLUSTER SWITCHOVER TO %s", cli->to);
    }
    cli_result_init(&r);
    leader_id(cli, before, sizeof before);
    int rv = cli_query(cli, sql, &r);
    result_free(&r);
    for (unsigned i = 0; !rv && i < SWITCH_S * 1000000 / SWITCH_LOOK_US; i++) {
        leader_id(cli, now, sizeof now);
        if (strcmp(now, "0") && strcmp(now, before)) {
            snprintf(done, sizeof done, "Node %s leads.", now);
            cli_done(cli, done);
            return CLI_OK;
        }
        usleep(SWITCH_LOOK_US);
    }
    return rv ? rv : cli_fail(CLI_SERVER, "switchover: node %s still leads after %d s; holdfast status shows whether the other one is reachable and level", before, SWITCH_S);
}

/* The alarm in that row names an errant replica, and nobody has read it yet. */
static bool names_errant(const struct result *r, size_t i)
{
    const char *kind = result_get(r, i, "Kind");
    return kind && !strcmp(kind, "errant_replica") && !status_yes(result_get(r, i, "Acknowledged")) && result_get(r, i, "Source") &&
           result_get(r, i, "Text");
}

static void say_errant(struct buf *b, const struct result *alarms)
{
    bool any = false;
    for (size_t i = 0; i < alarms->nrows; i++) {
        if (names_errant(alarms, i)) {
            const char *who = result_get(alarms, i, "Source"), *text = result_get(alarms, i, "Text");
            buf_str(b, any ? "  " : "\nErrant:\n  ");
            out_plain(b, who, strlen(who));
            buf_str(b, ": ");
            out_plain(b, text, strlen(text));
            buf_str(b, "\n");
            any = true;
        }
    }
}

static void json_errant(struct json *j, const struct result *alarms)
{
    json_open(j, "errant", '[');
    for (size_t i = 0; i < alarms->nrows; i++) {
        if (names_errant(alarms, i)) {
            json_open(j, NULL, '{');
            json_str(j, "replica", result_get(alarms, i, "Source"));
            json_str(j, "gtids", result_get(alarms, i, "From_gtid"));
            json_str(j, "since", result_get(alarms, i, "Since"));
            json_str(j, "text", result_get(alarms, i, "Text"));
            json_number(j, "alarm", result_get(alarms, i, "Id"));
            json_close(j, '}');
        }
    }
    json_close(j, ']');
}

/* Those that were refused are not connected; the cluster keeps their names until somebody has read them (or does not show them to this account). */
int cmd_replica_list(struct cli *cli)
{
    struct result r, alarms;
    struct errmsg em = {""};
    cli_result_init(&r);
    cli_result_init(&alarms);
    int rv = cli_query(cli, "SHOW REPLICAS", &r);
    int heard = rv ? rv : cli_try(cli, "SHOW ALARMS", &alarms, &em);
    bool told = !heard;
    rv = heard == CLI_SERVER ? rv : heard;
    if (!rv && cli->json) {
        struct json j;
        json_begin(&j, &cli->out);
        json_open(&j, NULL, '{');
        json_rows(&j, "replicas", &r);
        if (told) {
            json_errant(&j, &alarms);
        } else {
            json_str(&j, "errant", NULL);
            json_str(&j, "errant_error", em.text);
        }
        json_close(&j, '}');
        json_end(&j);
    } else if (!rv) {
        if (r.nrows) {
            out_table(&cli->out, &r, TITLES_HUMAN, 0);
        } else {
            buf_str(&cli->out, "No replica is connected to this node.\n");
        }
        if (told) {
            say_errant(&cli->out, &alarms);
        }
    }
    result_free(&r);
    result_free(&alarms);
    return rv;
}

int cmd_alarm_list(struct cli *cli)
{
    return cli_list(cli, "SHOW ALARMS", "There are no alarms.");
}

int cmd_alarm_ack(struct cli *cli)
{
    char sql[64];
    const char *id = cli->words[0];
    if (!id[0] || strspn(id, "0123456789") != strlen(id) || strlen(id) > 18) {
        return cli_fail(CLI_USAGE, "alarm ack: '%s' is no alarm's number; holdfast alarm list shows them", id);
    }
    snprintf(sql, sizeof sql, "ACKNOWLEDGE ALARM %s", id);
    return cli_change(cli, sql, "The alarm is acknowledged.");
}

int cmd_log_list(struct cli *cli)
{
    return cli_list(cli, "SHOW ALL BINARY LOGS", "There are no binlog files yet.");
}

int cmd_log_events(struct cli *cli)
{
    struct buf sql;
    buf_init(&sql, STATEMENT_MAX);
    buf_str(&sql, "SHOW BINLOG EVENTS");
    if (cli->nwords > 0) {
        buf_str(&sql, " IN ");
        sql_literal(&sql, cli->words[0]);
    }
    if (cli->from) {
        buf_printf(&sql, " FROM %lu", cli->from);
    }
    buf_printf(&sql, " LIMIT %lu", cli->limit ? cli->limit : EVENTS_DEFAULT);
    int rv = cli_list(cli, buf_cstr(&sql), "There are no events there.");
    buf_free(&sql);
    return rv;
}

static void show_verdict(struct cli *cli, const struct result *r)
{
    static const char *const joins[] = {"", ": ", " bytes, ", " events, ", ""};
    static const size_t columns[] = {0, 2, 3, 4};
    size_t n;
    for (size_t i = 0; i < 4; i++) {
        const char *text = result_value(r, 0, columns[i], &n);
        buf_str(&cli->out, joins[i]);
        out_plain(&cli->out, text ? text : "", text ? n : 0);
    }
    const char *what = result_value(r, 0, 5, &n);
    if (what && n > 0) {
        buf_str(&cli->out, ": ");
        out_plain(&cli->out, what, n);
    }
    buf_u8(&cli->out, '\n');
}

/* Is the text one of the verdicts that leave nothing to do? */
static bool is_sound(const char *state, size_t n)
{
    static const char *const good[] = {"sound", "index made again"};
    for (size_t i = 0; state && i < 2; i++) {
        if (n == strlen(good[i]) && memcmp(state, good[i], n) == 0) {
            return true;
        }
    }
    return false;
}

/* As long as a slow disk needs for so many bytes, or the rate that was asked for. */
static void wait_for_bytes(struct cli *cli, uint64_t bytes)
{
    enum { SLOW_DISK = 4, LONGEST = 1000000 }; /* MiB a second, seconds */
    uint64_t rate = cli->has_rate && cli->rate > 0 && cli->rate < SLOW_DISK ? cli->rate : SLOW_DISK;
    uint64_t seconds = (bytes >> 20) / rate;
    cli_be_patient(cli, seconds < LONGEST ? (unsigned)seconds : LONGEST);
}

/* One file, into the output or the list; *sound is its verdict. */
static int verify_one(struct cli *cli, const char *era, const char *name, struct json *j, bool *sound)
{
    struct buf sql;
    struct result r;
    size_t n = 0;
    buf_init(&sql, STATEMENT_MAX);
    cli_result_init(&r);
    buf_printf(&sql, "CHECK BINARY LOGS ERA %llu FROM ", strtoull(era, NULL, 10));
    sql_literal(&sql, name);
    buf_str(&sql, " TO ");
    sql_literal(&sql, name);
    if (cli->has_rate) {
        buf_printf(&sql, " RATE %lu", cli->rate);
    }
    buf_str(&sql, cli->rebuild ? " REBUILD" : "");
    int rv = cli_query(cli, buf_cstr(&sql), &r);
    if (!rv && (r.nrows != 1 || r.ncols < 6)) {
        rv = cli_fail(CLI_SERVER, "log verify: the node's answer on %s cannot be understood", name);
    } else if (!rv) {
        const char *state = result_value(&r, 0, 4, &n);
        *sound = is_sound(state, n);
        if (j) {
            json_open(j, NULL, '{');
            for (size_t i = 0; i < r.ncols; i++) {
                json_cell(j, result_column_name(&r, i), &r, 0, i);
            }
            json_close(j, '}');
        } else {
            show_verdict(cli, &r);
        }
    }
    result_free(&r);
    buf_free(&sql);
    return rv;
}

static uint64_t number_at(const struct result *r, size_t row, size_t column)
{
    const char *text = result_value(r, row, column, NULL);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* "[######........]  42%  12.3 of 29.1 GiB  mysql-bin.000017", over the line before. */
static void show_bar(uint64_t done, uint64_t of, const char *name)
{
    static const double gib = 1 << 30;
    char bar[BAR + 1];
    size_t full = of ? (size_t)((double)done / (double)of * BAR) : BAR;
    for (size_t i = 0; i < BAR; i++) {
        bar[i] = i < full ? '#' : '.';
    }
    bar[BAR] = '\0';
    fprintf(stderr, "\r[%s] %3.0f%%  %.1f of %.1f GiB  %.40s\033[K", bar, of ? (double)done / (double)of * 100 : 100,
            (double)done / gib, (double)of / gib, name);
}

/* The files of `SHOW ALL BINARY LOGS`, one after the other; *bad counts those that are not sound. */
static int verify_all(struct cli *cli, const struct result *files, struct json *j, size_t *bad)
{
    enum { ERA, NAME, SIZE };
    bool terminal = isatty(STDERR_FILENO);
    uint64_t of = 0, done = 0;
    int rv = 0;
    for (size_t i = 0; i < files->nrows; i++) {
        of += number_at(files, i, SIZE);
    }
    for (size_t i = 0; !rv && i < files->nrows; i++) {
        const char *era = result_value(files, i, ERA, NULL), *name = result_value(files, i, NAME, NULL);
        bool sound = false;
        if (terminal) {
            show_bar(done, of, name ? name : "");
        }
        wait_for_bytes(cli, number_at(files, i, SIZE));
        rv = verify_one(cli, era ? era : "", name ? name : "", j, &sound);
        *bad += !rv && !sound;
        done += number_at(files, i, SIZE);
    }
    if (terminal && files->nrows > 0) {
        fprintf(stderr, "\r\033[K");
    }
    return rv;
}

int cmd_log_verify(struct cli *cli)
{
    struct result files;
    struct json j;
    size_t bad = 0;
    cli_result_init(&files);
    int rv = cli_query(cli, "SHOW ALL BINARY LOGS", &files);
    if (!rv && files.ncols < 3) {
        rv = cli_fail(CLI_SERVER, "log verify: the node's list of files cannot be understood");
    }
    if (!rv && cli->json) {
        json_begin(&j, &cli->out);
        json_open(&j, NULL, '[');
    }
    rv = rv ? rv : verify_all(cli, &files, cli->json ? &j : NULL, &bad);
    if (!rv && cli->json) {
        json_close(&j, ']');
        json_end(&j);
    } else if (!rv && files.nrows == 0) {
        buf_str(&cli->out, "There are no binlog files yet.\n");
    }
    result_free(&files);
    return rv || !bad ? rv : cli_fail(CLI_SERVER, "log verify: %zu of the files are not sound", bad);
}

/* "36h" becomes the time so long ago, as SQL reads it; anything else stays as it is. */
static bool time_ago(const char *text, char *time_text, size_t size)
{
    static const char units[] = "smhd";
    static const unsigned seconds[] = {1, 60, 3600, 86400};
    size_t digits = strspn(text, "0123456789");
    const char *unit = digits && text[digits] ? strchr(units, text[digits]) : NULL;
    struct tm tm;
    if (!unit || text[digits + 1] || digits > 9) {
        return false;
    }
    time_t then = time(NULL) - (time_t)(strtoul(text, NULL, 10) * seconds[unit - units]);
    return gmtime_r(&then, &tm) && strftime(time_text, size, "%Y-%m-%d %H:%M:%S", &tm) > 0;
}

/* "2/mysql-bin.000007": of that era. */
static void put_purge_to(struct buf *sql, const char *to)
{
    size_t digits = strspn(to, "0123456789");
    bool era = digits > 0 && digits < 20 && to[digits] == '/';
    if (era) {
        buf_printf(sql, "PURGE BINARY LOGS ERA %.*s TO ", (int)digits, to);
    } else {
        buf_str(sql, "PURGE BINARY LOGS TO ");
    }
    sql_literal(sql, era ? to + digits + 1 : to);
}

int cmd_log_purge(struct cli *cli)
{
    struct buf sql;
    char ago[32];
    int rv;
    if (!cli->to == !cli->before) {
        return cli_fail(CLI_USAGE, "log purge: say either --to FILE or --before TIME");
    }
    buf_init(&sql, STATEMENT_MAX);
    if (cli->to) {
        put_purge_to(&sql, cli->to);
    } else {
        buf_str(&sql, "PURGE BINARY LOGS BEFORE ");
        sql_literal(&sql, time_ago(cli->before, ago, sizeof ago) ? ago : cli->before);
    }
    buf_str(&sql, cli->force ? " FORCE" : "");
    if (cli->dry_run) {
        buf_str(&sql, " DRY RUN");
        rv = cli_list(cli, buf_cstr(&sql), "No file would be purged.");
        if (!rv) {
            cli_warnings(cli);
        }
    } else {
        rv = cli_change(cli, buf_cstr(&sql), "Done: holdfast log list shows what is left.");
    }
    buf_free(&sql);
    return rv;
}

int cmd_gtid_show(struct cli *cli)
{
    struct result r;
    cli_result_init(&r);
    int rv = cli_query(cli, "SHOW STATUS LIKE 'Holdfast_gtid_executed'", &r);
    const char *set = rv ? NULL : status_get(&r, "gtid_executed");
    if (!rv && !set) {
        rv = cli_fail(CLI_SERVER, "the node does not tell its GTIDs; it calls itself %s",
                      conn_version(cli->conn));
    } else if (!rv && cli->json) {
        struct json j;
        json_begin(&j, &cli->out);
        json_open(&j, NULL, '{');
        json_str(&j, "executed", set);
        json_close(&j, '}');
        json_end(&j);
    } else if (!rv) {
        out_plain(&cli->out, set, strlen(set));
        buf_u8(&cli->out, '\n');
    }
    result_free(&r);
    return rv;
}

/* ---- sql ---- */

static int read_statement(struct buf *sql)
{
    ssize_t n = 1;
    while (n > 0) {
        uint8_t *to = buf_reserve(sql, 4096);
        if (!to) {
            return cli_fail(CLI_USAGE, "sql: the statement is too long");
        }
        do {
            n = read(STDIN_FILENO, to, 4096);
        } while (n < 0 && errno == EINTR);
        sql->len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        return cli_fail(CLI_USAGE, "sql: cannot read the statement: %s", strerror(errno));
    }
    return memchr(buf_cstr(sql), 0, sql->len) ? cli_fail(CLI_USAGE, "sql: the statement holds a NUL byte")
                                              : CLI_OK;
}

static int take_statement(const struct cli *cli, struct buf *sql)
{
    if (cli->nwords == 1 && strcmp(cli->words[0], "-") == 0) {
        return read_statement(sql);
    }
    for (size_t i = 0; i < cli->nwords; i++) {
        buf_str(sql, i ? " " : "");
        buf_str(sql, cli->words[i]);
    }
    return sql->err ? cli_fail(CLI_USAGE, "sql: the statement is too long") : CLI_OK;
}

/* Cuts blanks, a ';' and a \G off the end; true if that was there. */
static bool cut_end(struct buf *sql)
{
    while (sql->len && strchr("; \t\r\n", sql->data[sql->len - 1])) {
        sql->len--;
    }
    if (sql->len < 2 || memcmp(sql->data + sql->len - 2, "\\G", 2) != 0) {
        return false;
    }
    sql->len -= 2;
    return true;
}

static void json_result(struct buf *b, const struct result *r)
{
    struct json j;
    json_begin(&j, b);
    json_open(&j, NULL, '{');
    if (r->has_rows) {
        json_open(&j, "columns", '[');
        for (size_t i = 0; i < r->ncols; i++) {
            json_str(&j, NULL, result_column_name(r, i));
        }
        json_close(&j, ']');
        json_open(&j, "rows", '[');
        for (size_t row = 0; row < r->nrows; row++) {
            json_open(&j, NULL, '[');
            for (size_t i = 0; i < r->ncols; i++) {
                json_cell(&j, NULL, r, row, i);
            }
            json_close(&j, ']');
        }
        json_close(&j, ']');
    } else {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)r->affected);
        json_bool(&j, "ok", true);
        json_number(&j, "affected", number);
    }
    json_close(&j, '}');
    json_end(&j);
}

int cmd_sql(struct cli *cli)
{
    struct buf sql;
    struct result r;
    bool vertical = false;
    buf_init(&sql, STATEMENT_MAX);
    cli_result_init(&r);
    int rv = take_statement(cli, &sql);
    if (!rv) {
        vertical = cut_end(&sql);
        rv = sql.len ? cli_query(cli, buf_cstr(&sql), &r)
                     : cli_fail(CLI_USAGE, "sql: the statement is empty");
    }
    if (!rv && r.warnings) {
        cli_warnings(cli);
    }
    if (!rv && cli->json) {
        json_result(&cli->out, &r);
    } else if (!rv && r.has_rows) {
        if (vertical) {
            out_vertical(&cli->out, &r);
        } else {
            out_table(&cli->out, &r, TITLES_RAW, 0);
        }
    } else if (!rv) {
        buf_printf(&cli->out, "OK, %llu affected\n", (unsigned long long)r.affected);
    }
    sql_free(&sql);
    result_free(&r);
    return rv;
}
