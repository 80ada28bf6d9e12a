/* rejoin.c: `holdfast source check HOST`: a server is looked at, as an old master that came back: what it has that nobody else has, what that
 * contains, whether it may rejoin, and the statements for it. Nothing is changed.
 *
 * Happy path: its errant transactions are asked for by a dump that leaves out all others, however large its files are, and their events
 * are listed as SHOW BINLOG EVENTS tells them, up to EVENTS_LISTED. Failure modes: a dump that is refused (the account may not, the files
 * are purged, MariaDB cannot say where to begin): its last files are listed instead, and the reason is given. */
#include "tools/cli/rejoin.h"

#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "protocol/gtid_lack.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { FILES_LISTED = 3, EVENTS_LISTED = 200, INFO_MAX = 120, STATEMENTS_MAX = 64 << 10, SET_MAX = 64 << 20, EMPTY_MAX = 20, SERVER_ID = 4000000000u >> 1 };

struct listing {
    struct work *w;
    struct target *t;
    const struct difference *d;
    struct json *json; /* NULL: text */
    unsigned left;     /* of EVENTS_LISTED */
    bool errant;       /* the transaction that is read */
    char file[EVENT_NAME_SIZE];
    struct event_format format;
};

/* ---- one event ---- */

static void list_event(struct listing *l, const char *file, const char *pos, const char *type, const char *info, size_t n)
{
    if (l->json) {
        json_open(l->json, NULL, '{');
        json_str(l->json, "file", file);
        json_number(l->json, "pos", pos);
        json_str(l->json, "type", type);
        json_text(l->json, "info", info, n);
        json_close(l->json, '}');
    } else {
        buf_printf(&l->w->cli->out, "  %s %10s  %-16s ", file, pos, type);
        out_plain(&l->w->cli->out, info, n < INFO_MAX ? n : INFO_MAX);
        buf_str(&l->w->cli->out, "\n");
    }
    l->left--;
}

static void __attribute__((format(printf, 2, 3))) say(struct listing *l, const char *fmt, ...)
{
    char text[800];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!l->json) {
        buf_str(&l->w->cli->out, text);
    }
}

/* ---- by a dump ---- */

static int set_variables(const struct target *t, struct conn *conn, const char *state, struct errmsg *em)
{
    struct buf sql;
    struct result r;
    buf_init(&sql, SET_MAX);
    cli_result_init(&r);
    buf_str(&sql, "SET @master_binlog_checksum = @@GLOBAL.binlog_checksum, ");
    if (t->flavour == FLAVOUR_MARIADB) {
        buf_printf(&sql, "@mariadb_slave_capability = 4, @slave_gtid_strict_mode = 0, @slave_connect_state = '%s'", state);
    } else {
        buf_str(&sql, "@source_binlog_checksum = @@GLOBAL.binlog_checksum");
    }
    int rv = conn_query(conn, buf_cstr(&sql), sql.len, &r, em);
    buf_free(&sql);
    result_free(&r);
    return rv;
}

static int ask_checksum(struct listing *l, struct conn *conn, struct errmsg *em)
{
    static const char sql[] = "SELECT @@GLOBAL.binlog_checksum";
    struct result r;
    cli_result_init(&r);
    int rv = conn_query(conn, sql, sizeof sql - 1, &r, em);
    const char *value = rv ? NULL : result_value(&r, 0, 0, NULL);
    event_format_init(&l->format, l->t->flavour, value && strcasecmp(value, "CRC32") == 0 ? CHECKSUM_CRC32 : CHECKSUM_NONE);
    result_free(&r);
    return rv;
}

/* MariaDB begins behind one GTID in each domain: where there is something errant, behind the last one of that server that the cluster has; else at
 * the end. */
static int connect_state(const struct listing *l, struct gtid_set *state, struct errmsg *em)
{
    struct gtid pair, newest, last;
    size_t at = 0;
    while (gtid_set_next(l->t->has, &at, &pair, NULL)) {
        if (gtid_set_newest(l->t->has, pair.domain, &newest) && gtid_equal(&newest, &pair)) {
            gtid_set_add(state, &newest);
        }
    }
    for (at = 0; gtid_set_next(l->d->errant, &at, &pair, NULL);) {
        if (!gtid_set_last(l->w->held, pair.domain, pair.server, &last) || !gtid_set_newest(state, pair.domain, &newest)) {
            return err_set(em, E_UNSUPPORTED, "the cluster has nothing of server %" PRIu32 " in domain %" PRIu32, pair.server, pair.domain);
        }
        if (newest.server != pair.server || newest.gno < pair.gno) {
            return err_set(em, E_UNSUPPORTED, "several servers wrote in domain %" PRIu32, pair.domain);
        }
        struct gtid_set *end = gtid_set_new(FLAVOUR_MARIADB);
        gtid_set_add(end, &newest);
        gtid_set_subtract(state, end);
        gtid_set_add(state, &last);
        gtid_set_free(end);
    }
    return 0;
}

static int ask_dump(struct listing *l, struct conn *conn, struct errmsg *em)
{
    bool mariadb = l->t->flavour == FLAVOUR_MARIADB;
    struct gtid_set *without = gtid_set_new(l->t->flavour);
    struct buf b;
    buf_init(&b, SET_MAX);
    int rv;
    if (mariadb) {
        rv = connect_state(l, without, em);
        gtid_set_print_position(without, &b);
    } else {
        rv = gtid_set_union(without, l->t->has);
        (void)gtid_set_subtract(without, l->d->errant);
        gtid_set_encode(without, &b);
    }
    rv = rv ? rv : set_variables(l->t, conn, mariadb ? buf_cstr(&b) : "", em);
    rv = rv ? rv : conn_dump(conn, !mariadb, SERVER_ID + ((uint32_t)getpid() & 0xffff), mariadb ? NULL : b.data, mariadb ? 0 : b.len, em);
    gtid_set_free(without);
    buf_free(&b);
    return rv;
}

/* Of a file, and of no transaction. */
static bool is_of_file(uint8_t type)
{
    return type == EVENT_FORMAT_DESCRIPTION || type == EVENT_ROTATE || type == EVENT_PREVIOUS_GTIDS || type == EVENT_GTID_LIST || type == EVENT_STOP ||
           type == EVENT_BINLOG_CHECKPOINT || type == EVENT_START_ENCRYPTION || type == EVENT_HEARTBEAT || type == EVENT_HEARTBEAT_V2;
}

static int take_event(struct listing *l, const uint8_t *event, size_t n, struct errmsg *em)
{
    struct event_header h;
    struct event_rotate rotate;
    struct event_gtid gtid;
    int rv = event_header_read(event, n, &h, em);
    rv = rv ? rv : event_crc_check(&l->format, event, n, em);
    if (!rv && h.type == EVENT_FORMAT_DESCRIPTION) {
        return event_format_read(event, n, &l->format, em);
    }
    if (!rv && h.type == EVENT_ROTATE) {
        rv = event_rotate_read(&l->format, event, n, &rotate, em);
        snprintf(l->file, sizeof l->file, "%s", rv ? "" : rotate.name);
    }
    if (!rv && event_is_gtid(h.type)) {
        rv = event_gtid_read(&l->format, event, n, &gtid, em);
        l->errant = !rv && !gtid_set_contains(l->w->held, &gtid.gtid);
    }
    if (!rv && l->errant && !is_of_file(h.type)) {
        struct buf info;
        char pos[24];
        buf_init(&info, SET_MAX);
        event_info(&l->format, event, n, &info);
        snprintf(pos, sizeof pos, "%" PRIu32, h.log_pos > n ? h.log_pos - (uint32_t)n : 0);
        list_event(l, l->file, pos, event_type_name(h.type), buf_cstr(&info), info.len);
        buf_free(&info);
    }
    return rv;
}

static int list_by_dump(struct listing *l, struct errmsg *em)
{
    struct conn *conn = NULL;
    const uint8_t *event;
    size_t n;
    int rv = work_connect(l->w, &conn, em);
    rv = rv ? rv : ask_checksum(l, conn, em);
    rv = rv ? rv : ask_dump(l, conn, em);
    while (!rv && l->left) {
        int next = conn_dump_next(conn, &event, &n, em);
        if (next <= 0) {
            rv = next;
            break;
        }
        rv = take_event(l, event, n, em);
    }
    conn_close(conn);
    return rv;
}

/* ---- from its last files ---- */

/* The GTID that a row of SHOW BINLOG EVENTS begins a transaction with. */
static bool row_gtid(const struct target *t, const struct result *r, size_t row, struct gtid *gtid)
{
    const char *type = result_get(r, row, "Event_type"), *info = result_get(r, row, "Info");
    char text[GTID_TEXT_SIZE];
    if (!type || !info || strncasecmp(type, "Gtid", 4) != 0 || strcasecmp(type, "Gtid_list") == 0) {
        return false;
    }
    const char *at = t->flavour == FLAVOUR_MARIADB ? strstr(info, "GTID ") : strchr(info, '\'');
    at = !at ? NULL : t->flavour == FLAVOUR_MARIADB ? at + strlen("GTID ") : at + 1;
    if (!at) {
        return false;
    }
    snprintf(text, sizeof text, "%.*s", (int)strcspn(at, "' "), at);
    return gtid_parse(gtid, t->flavour, text, NULL) == 0;
}

/* The events of the transactions of one file that the cluster does not hold. */
static void list_file(struct listing *l, const char *file)
{
    struct result r;
    struct errmsg em;
    struct buf sql;
    struct gtid gtid;
    cli_result_init(&r);
    buf_init(&sql, STATEMENTS_MAX);
    buf_str(&sql, "SHOW BINLOG EVENTS IN ");
    sql_literal(&sql, file);
    if (conn_query(l->t->conn, buf_cstr(&sql), sql.len, &r, &em)) {
        say(l, "  %s cannot be listed: %s\n", file, em.text);
    }
    l->errant = false;
    for (size_t i = 0; i < r.nrows && l->left; i++) {
        const char *pos = result_get(&r, i, "Pos"), *type = result_get(&r, i, "Event_type"), *info = result_get(&r, i, "Info");
        bool of_file = !type || !strcasecmp(type, "Rotate") || !strcasecmp(type, "Stop");
        l->errant = row_gtid(l->t, &r, i, &gtid) ? !gtid_set_contains(l->w->held, &gtid) : l->errant && !of_file;
        if (l->errant && pos) {
            list_event(l, file, pos, type, info ? info : "", info ? strlen(info) : 0);
        }
    }
    buf_free(&sql);
    result_free(&r);
}

static void list_by_files(struct listing *l)
{
    struct result logs;
    struct errmsg em;
    cli_result_init(&logs);
    if (conn_query(l->t->conn, "SHOW BINARY LOGS", strlen("SHOW BINARY LOGS"), &logs, &em)) {
        say(l, "  its files cannot be listed: %s\n", em.text);
    }
    for (size_t i = logs.nrows > FILES_LISTED ? logs.nrows - FILES_LISTED : 0; i < logs.nrows; i++) {
        const char *file = result_value(&logs, i, 0, NULL);
        list_file(l, file ? file : "");
    }
    result_free(&logs);
}

static void list_errant(struct listing *l)
{
    struct errmsg em = {""};
    say(l, "\nTheir events:\n");
    if (list_by_dump(l, &em) && l->left == EVENTS_LISTED) {
        say(l, "  (they cannot be asked for one by one: %s; what stands in its last files:)\n", em.text);
        list_by_files(l);
    }
    if (!l->left) {
        say(l, "  ... and more\n");
    } else if (l->left == EVENTS_LISTED) {
        say(l, "  none can be had: its files are purged, it does not log them, or the account may not read them\n");
    }
}

/* ---- the verdict ---- */

/* "uuid:1-3:night:5,..." one by one, as long as there are few: an empty transaction for each. */
static void put_empty(const struct gtid_set *errant, struct buf *sql)
{
    struct buf text;
    char *next, *one, uuid[UUID_TEXT_SIZE + GTID_TAG_MAX + 2] = "";
    buf_init(&text, SET_MAX);
    gtid_set_print(errant, &text);
    next = mem_str(buf_cstr(&text));
    char *all = next;
    while ((one = strsep(&next, ":,"))) {
        uint64_t first, last;
        int got = sscanf(one, "%" SCNu64 "-%" SCNu64, &first, &last);
        if (strlen(one) == UUID_TEXT_SIZE - 1) {
            snprintf(uuid, sizeof uuid, "%s", one);
        } else if (got < 1 || strspn(one, "0123456789-") != strlen(one)) {
            snprintf(uuid + UUID_TEXT_SIZE - 1, sizeof uuid - UUID_TEXT_SIZE + 1, ":%.32s", one); /* its tag */
        } else {
            for (uint64_t gno = first; gno <= (got == 2 ? last : first); gno++) {
                buf_printf(sql, "SET GTID_NEXT = '%s:%" PRIu64 "'\nBEGIN\nCOMMIT\n", uuid, gno);
            }
        }
    }
    buf_str(sql, "SET GTID_NEXT = 'AUTOMATIC'\n");
    mem_free(all);
    buf_free(&text);
}

static void put_rejoin(const struct work *w, const struct target *t, struct buf *sql)
{
    struct env_addr via = w->cli->conn_addr;
    struct errmsg em;
    bool known = w->cli->via ? env_addr_parse(w->cli->via, CLI_PORT, &via, &em) == 0 : !via.is_path;
    target_rejoin(t, known ? via.host : "a-node", known ? via.port : CLI_PORT, sql);
}

static void print_statements(struct buf *b, struct buf *sql)
{
    char *all = mem_str(buf_cstr(sql)), *next = all, *one;
    while ((one = strsep(&next, "\n"))) {
        if (one[0]) {
            buf_printf(b, "  %s;\n", one);
        }
    }
    mem_free(all);
}

static void say_errant_verdict(struct buf *b, const struct target *t, const struct difference *d, struct buf *sql)
{
    buf_str(b, "\nIt may not rejoin as it is: what nobody else has would part it from the others for good; the nodes refuse it. Look at these transactions (a "
               "commit that returned to a client while the cluster followed this server is not among them, unless commits went without the cluster's "
               "acknowledgement: holdfast alarm list). Do again by hand what is wanted of them on the source, and make this server anew from a backup of "
               "another one.\n");
    if (t->flavour == FLAVOUR_MYSQL && d->n_errant <= EMPTY_MAX) {
        put_empty(d->errant, sql);
        buf_str(b, "Or, if you undo here by hand what they changed (SET sql_log_bin = 0 before): then empty transactions may stand for them everywhere. On the "
                   "source:\n");
        print_statements(b, sql);
        buf_str(b, "and look again.\n");
    }
}

static void say_verdict(struct buf *b, const struct work *w, const struct target *t, const struct difference *d, struct buf *sql)
{
    if (d->n_errant) {
        say_errant_verdict(b, t, d, sql);
    } else {
        buf_printf(b, "\nIt may rejoin as a replica%s. On it:\n", d->n_lacking ? ": it has nothing that the others lack"
                                                                            : ", or be followed: it holds what the cluster holds, and nothing else");
        put_rejoin(w, t, sql);
        print_statements(b, sql);
    }
    if (!t->read_only) {
        buf_printf(b, "It is writable: SET GLOBAL read_only = ON before clients find it.\n");
    }
}

static void json_check(struct listing *l, struct buf *sql)
{
    struct json j;
    char *one;
    json_begin(&j, &l->w->cli->out);
    json_open(&j, NULL, '{');
    work_json_target(&j, l->w, l->t, l->d);
    json_bool(&j, "may_rejoin", l->d->n_errant == 0);
    json_open(&j, "events", '[');
    l->json = &j;
    if (l->d->n_errant) {
        list_errant(l);
    } else {
        put_rejoin(l->w, l->t, sql);
    }
    json_close(&j, ']');
    json_open(&j, "statements", '[');
    char *all = mem_str(buf_cstr(sql)), *next = all;
    while ((one = strsep(&next, "\n"))) {
        if (one[0]) {
            json_str(&j, NULL, one);
        }
    }
    mem_free(all);
    json_close(&j, ']');
    json_close(&j, '}');
    json_end(&j);
}

int rejoin_check(struct work *w)
{
    struct target *t = &w->targets[0];
    struct difference d;
    struct buf sql;
    work_compare(w, t, &d);
    struct listing l = {.w = w, .t = t, .d = &d, .left = EVENTS_LISTED};
    buf_init(&sql, STATEMENTS_MAX);
    if (w->cli->json) {
        json_check(&l, &sql);
    } else {
        work_say_difference(&w->cli->out, w, t, &d);
        if (d.n_errant) {
            list_errant(&l);
        }
        say_verdict(&w->cli->out, w, t, &d, &sql);
    }
    buf_free(&sql);
    difference_free(&d);
    return CLI_OK;
}
