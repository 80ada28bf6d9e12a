/* test_monitor: what the node makes of what a source says of itself: the table of checks for each dialect, loss windows from
 * the counters, the verdict; and the client that asks, against a server that answers, hangs and ends. */
#include "node/checks.h"
#include "node/client.h"
#include "node/loss.h"
#include "node/monitor.h"
#include "node/verdict.h"
#include "protocol/auth_server.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/wire.h"
#include "tests/sim/env_sim.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- a source that answers from a list ------------------------------------------------------------------------- */

/* Rows "a\tb\nc\td"; "!1193" an error; what is not in the list is error 1193 for a SELECT, else 1064. */
struct said {
    const char *sql, *answer;
};

struct mood {
    const struct said *said;
    size_t n;
};

static const char *answer_to(const struct mood *mood, const char *sql)
{
    for (size_t i = 0; i < mood->n; i++) {
        if (!strcasecmp(mood->said[i].sql, sql)) {
            return mood->said[i].answer;
        }
    }
    return strncasecmp(sql, "SELECT", 6) == 0 ? "!1193" : "!1064";
}

static void put_answer(struct wire *w, uint32_t caps, const char *answer)
{
    if (*answer == '!') {
        put_err(w, (unsigned)strtoul(answer + 1, NULL, 10), NULL, "no");
        return;
    }
    const char *line_end = answer + strcspn(answer, "\n");
    struct column columns[8];
    size_t n = 1;
    static const char *const names[] = {"File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB", "e", "f", "g", "h"};
    for (const char *p = answer; p < line_end; p++) {
        n += *p == '\t';
    }
    UNIT_REQUIRE(n <= 8);
    for (size_t i = 0; i < n; i++) {
        columns[i] = (struct column)COLUMN_TEXT(names[i], 100);
    }
    struct rowset rs;
    rowset_begin(&rs, w, caps, columns, n);
    for (const char *p = answer; *answer && *p;) {
        rowset_row(&rs);
        for (size_t i = 0; i < n; i++) {
            size_t len = strcspn(p, "\t\n");
            rowset_bytes(&rs, p, len);
            p += len + (p[len] != 0);
        }
    }
    rowset_end(&rs);
}

/* An answer as the client reads it. */
static int read_answer(const char *answer, struct result *r)
{
    struct wire *server = wire_new(1 << 20), *client = wire_new(1 << 20);
    struct packet p;
    struct errmsg em;
    int rv = RESULT_MORE;
    wire_seq_set(server, 1);
    wire_seq_set(client, 1);
    put_answer(server, CAPS_CLIENT, answer);
    struct buf *out = wire_output(server);
    CHECK(!wire_feed(client, out->data, out->len, &em));
    result_reset(r);
    while (rv == RESULT_MORE && wire_next(client, &p, &em) == 1) {
        rv = result_packet(r, CAPS_CLIENT, &p, &em);
    }
    wire_free(server);
    wire_free(client);
    CHECK(rv != RESULT_MORE);
    return rv < 0 ? rv : 0;
}

static void ask_all(struct checks *c, const struct mood *mood)
{
    struct result r;
    const char *sql;
    unsigned asked = 0;
    result_init(&r, 1 << 20);
    while ((sql = checks_query(c)) && asked++ < 100) {
        int status = read_answer(answer_to(mood, sql), &r);
        checks_answer(c, status, &r);
    }
    UNIT_TRUE(asked < 100);
    result_free(&r);
}

static const struct check_result *find(const struct checks *c, const char *name)
{
    static const struct check_result none = {.name = "", .where = "", .state = CHECK_UNKNOWN};
    for (size_t i = 0; i < c->n; i++) {
        if (!strcmp(c->results[i].name, name)) {
            return &c->results[i];
        }
    }
    return &none;
}

static void is(const struct checks *c, const char *name, enum check_state state, const char *statement)
{
    const struct check_result *r = find(c, name);
    UNIT_STR(r->name, name);
    UNIT_STR(check_state_text(r->state), check_state_text(state));
    UNIT_STR(r->statement, statement);
}

#define MOOD(list) {list, sizeof(list) / sizeof *(list)}

#define COUNTERS(what, clients)                                                                                          \
    "Rpl_semi_sync_" what "_clients\t" clients "\nRpl_semi_sync_" what "_status\tON\nRpl_semi_sync_" what                \
    "_yes_tx\t7\nRpl_semi_sync_" what "_no_tx\t3"

/* ---- checks ----------------------------------------------------------------------------------------------------- */

static void a_good_mysql_is_ok(void)
{
    static const struct said said[] = {
        {"SELECT @@GLOBAL.rpl_semi_sync_source_enabled", "1"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_point", "AFTER_SYNC"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_timeout", "3600000"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_no_replica", "1"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count", "1"},
        {COUNTERS_QUERY, COUNTERS("source", "1")},
        {"SELECT @@GLOBAL.sync_binlog", "1"},
        {"SELECT @@GLOBAL.innodb_flush_log_at_trx_commit", "1"},
        {"SELECT @@GLOBAL.binlog_error_action", "ABORT_SERVER"},
        {"SELECT @@GLOBAL.gtid_mode", "ON"},
        {"SELECT @@GLOBAL.binlog_format", "ROW"},
        {"SELECT @@GLOBAL.binlog_expire_logs_seconds", "2592000"},
        {"SHOW GRANTS FOR CURRENT_USER", "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `hf`@`%`"},
        {"SHOW BINARY LOG STATUS", "b.1\t4\t\t"},
    };
    struct mood mood = MOOD(said);
    struct checks c;
    checks_begin(&c, FLAVOUR_MYSQL, "9.7.4", true, false);
    ask_all(&c, &mood);
    UNIT_UINT(c.n, 14);
    UNIT_UINT(checks_count(&c, CHECK_OK), 14);
    checks_begin(&c, FLAVOUR_MYSQL, "9.7.4", false, false); /* we do not stream: the client is another one */
    ask_all(&c, &mood);
    is(&c, "other_clients", CHECK_CRITICAL,
       "STOP REPLICA IO_THREAD; SET PERSIST rpl_semi_sync_replica_enabled = OFF; START REPLICA IO_THREAD");
    UNIT_STR(find(&c, "other_clients")->where, "on that other replica");
}

static void everything_wrong_is_seen(void)
{
    static const struct said said[] = {
        {"SELECT @@GLOBAL.rpl_semi_sync_source_enabled", "0"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_point", "AFTER_COMMIT"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_timeout", "10000"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_no_replica", "0"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count", "2"},
        {COUNTERS_QUERY, COUNTERS("source", "3")},
        {"SELECT @@GLOBAL.sync_binlog", "0"},
        {"SELECT @@GLOBAL.innodb_flush_log_at_trx_commit", "2"},
        {"SELECT @@GLOBAL.binlog_error_action", "IGNORE_ERROR"},
        {"SELECT @@GLOBAL.gtid_mode", "OFF"},
        {"SELECT @@GLOBAL.binlog_format", "STATEMENT"},
        {"SELECT @@GLOBAL.binlog_expire_logs_seconds", "600"},
        {"SHOW GRANTS FOR CURRENT_USER", "GRANT REPLICATION SLAVE ADMIN ON *.* TO `a b`@`%` IDENTIFIED BY PASSWORD '*1'"},
        {"SHOW BINARY LOG STATUS", "b.1\t4\tx,y\tz"},
    };
    struct mood mood = MOOD(said);
    struct checks c;
    checks_begin(&c, FLAVOUR_MYSQL, "8.0.26", true, false);
    ask_all(&c, &mood);
    is(&c, "semi_sync", CHECK_CRITICAL, "SET PERSIST rpl_semi_sync_source_enabled = ON");
    is(&c, "wait_point", CHECK_CRITICAL, "SET PERSIST rpl_semi_sync_source_wait_point = AFTER_SYNC");
    is(&c, "timeout", CHECK_WARN, "SET PERSIST rpl_semi_sync_source_timeout = 3600000");
    is(&c, "wait_without_replica", CHECK_CRITICAL, "SET PERSIST rpl_semi_sync_source_wait_no_replica = ON");
    UNIT_STR(check_state_text(find(&c, "other_clients")->state), "critical"); /* two others, both could */
    UNIT_STR(find(&c, "other_clients")->value, "2");
    is(&c, "sync_binlog", CHECK_WARN, "SET PERSIST sync_binlog = 1");
    is(&c, "innodb_flush_log_at_trx_commit", CHECK_WARN, "SET PERSIST innodb_flush_log_at_trx_commit = 1");
    is(&c, "binlog_error_action", CHECK_CRITICAL, "SET PERSIST binlog_error_action = ABORT_SERVER");
    is(&c, "gtid_mode", CHECK_WARN,
       "SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = OFF_PERMISSIVE; "
       "SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON");
    is(&c, "binlog_format", CHECK_WARN, "SET PERSIST binlog_format = ROW");
    is(&c, "retention", CHECK_WARN, "SET PERSIST binlog_expire_logs_seconds = 604800");
    is(&c, "grants", CHECK_WARN, "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `a b`@`%`");
    is(&c, "filters", CHECK_CRITICAL, "");
    UNIT_STR(find(&c, "filters")->value, "do x,y, ignore z");
    UNIT_UINT(checks_count(&c, CHECK_UNKNOWN), 0);
}

/* Two clusters on one source: both must acknowledge. */
static void two_clusters_are_fine_with_two_acks(void)
{
    static const struct said said[] = {
        {"SELECT @@GLOBAL.rpl_semi_sync_source_enabled", "1"},
        {"SELECT @@GLOBAL.rpl_semi_sync_source_wait_for_replica_count", "2"},
        {COUNTERS_QUERY, COUNTERS("source", "2")},
    };
    struct mood mood = MOOD(said);
    struct checks c;
    checks_begin(&c, FLAVOUR_MYSQL, "9.7.4", true, false);
    ask_all(&c, &mood);
    is(&c, "other_clients", CHECK_OK, "");
}

/* Just after a change of leaders the source counts connections that are over, among them the short ones that acknowledge early. */
static void own_connections_are_nobody_else(void)
{
    static const struct said many[] = {{"SELECT @@GLOBAL.rpl_semi_sync_source_enabled", "1"}, {COUNTERS_QUERY, COUNTERS("source", "12")}};
    static const struct said one[] = {{"SELECT @@GLOBAL.rpl_semi_sync_source_enabled", "1"}, {COUNTERS_QUERY, COUNTERS("source", "1")}};
    struct mood crowd = MOOD(many), alone = MOOD(one);
    struct checks c, before;
    checks_begin(&before, FLAVOUR_MYSQL, "9.7.4", true, true);
    ask_all(&before, &alone);
    is(&before, "other_clients", CHECK_OK, ""); /* nobody is nobody */
    checks_begin(&c, FLAVOUR_MYSQL, "9.7.4", true, true);
    ask_all(&c, &crowd);
    is(&c, "other_clients", CHECK_UNKNOWN, "");
    checks_keep(&c, &before);
    is(&c, "other_clients", CHECK_OK, "");
    checks_begin(&c, FLAVOUR_MYSQL, "9.7.4", true, false);
    ask_all(&c, &crowd);
    UNIT_STR(check_state_text(find(&c, "other_clients")->state), "critical");
    UNIT_STR(find(&c, "other_clients")->value, "11");
    checks_keep(&c, &before); /* what is known now counts */
    UNIT_STR(check_state_text(find(&c, "other_clients")->state), "critical");
}

static void an_old_plugin_has_other_names(void)
{
    static const struct said said[] = {
        {"SELECT @@GLOBAL.rpl_semi_sync_master_enabled", "1"},
        {"SELECT @@GLOBAL.rpl_semi_sync_master_wait_no_slave", "0"},
        {"SELECT @@GLOBAL.expire_logs_days", "0.5"},
        {"SHOW MASTER STATUS", "b.1\t4\t\t"},
    };
    struct mood mood = MOOD(said);
    struct checks c;
    checks_begin(&c, FLAVOUR_MYSQL, "5.7.44", true, false);
    ask_all(&c, &mood);
    is(&c, "semi_sync", CHECK_OK, "");
    is(&c, "wait_without_replica", CHECK_CRITICAL, "SET GLOBAL rpl_semi_sync_master_wait_no_slave = ON");
    is(&c, "retention", CHECK_WARN, "SET GLOBAL expire_logs_days = 7");
    is(&c, "filters", CHECK_OK, "");
    checks_begin(&c, FLAVOUR_MYSQL, "8.0.35", true, false); /* a new server with the old plugin */
    ask_all(&c, &mood);
    is(&c, "wait_without_replica", CHECK_CRITICAL, "SET PERSIST rpl_semi_sync_master_wait_no_slave = ON");
}

static void no_plugin_has_to_be_installed(void)
{
    static const struct said said[] = {{"SELECT @@GLOBAL.sync_binlog", "1"}};
    struct mood mood = MOOD(said);
    struct checks c;
    checks_begin(&c, FLAVOUR_MYSQL, "9.7.4", false, false);
    ask_all(&c, &mood);
    is(&c, "semi_sync", CHECK_CRITICAL, "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'");
    UNIT_STR(find(&c, "wait_point")->name, "");
    is(&c, "sync_binlog", CHECK_OK, "");
    checks_begin(&c, FLAVOUR_MYSQL, "5.7.44", false, false);
    ask_all(&c, &mood);
    is(&c, "semi_sync", CHECK_CRITICAL, "INSTALL PLUGIN rpl_semi_sync_master SONAME 'semisync_master.so'");
}

static void mariadb_is_asked_in_its_own_words(void)
{
    static const struct said said[] = {
        {"SELECT @@GLOBAL.rpl_semi_sync_master_enabled", "1"},
        {"SELECT @@GLOBAL.rpl_semi_sync_master_wait_point", "AFTER_COMMIT"},
        {COUNTERS_QUERY, COUNTERS("master", "2")},
        {"SELECT @@GLOBAL.binlog_expire_logs_seconds", "0"},
        {"SHOW GRANTS FOR CURRENT_USER", "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `hf`@`%` IDENTIFIED BY PASSWORD '*2'"},
        {"SHOW MASTER STATUS", "b.1\t4\t\tjunk"},
    };
    struct mood mood = MOOD(said);
    struct checks c, before;
    checks_begin(&c, FLAVOUR_MARIADB, "10.11.19-MariaDB", true, false);
    ask_all(&c, &mood);
    is(&c, "wait_point", CHECK_CRITICAL, "SET GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC");
    is(&c, "other_clients", CHECK_CRITICAL, "STOP SLAVE IO_THREAD; SET GLOBAL rpl_semi_sync_slave_enabled = OFF; START SLAVE IO_THREAD");
    is(&c, "retention", CHECK_OK, "");
    is(&c, "grants", CHECK_OK, "");
    UNIT_STR(find(&c, "filters")->value, "ignore junk");
    UNIT_STR(find(&c, "gtid_mode")->name, "");
    UNIT_STR(find(&c, "binlog_error_action")->name, "");
    before = c;
    checks_begin(&c, FLAVOUR_MARIADB, "10.11.19-MariaDB", true, false);
    while (checks_query(&c)) {
        checks_answer(&c, E_TIMEOUT, NULL);
    }
    UNIT_UINT(checks_count(&c, CHECK_UNKNOWN), c.n);
    checks_keep(&c, &before); /* what is known stays known */
    UNIT_STR(find(&c, "filters")->value, "ignore junk");
    UNIT_STR(find(&c, "wait_point")->value, "AFTER_COMMIT");
}

/* ---- loss windows ------------------------------------------------------------------------------------------------ */

static enum loss_step sample(struct loss *loss, bool on, uint64_t yes, uint64_t no, bool streaming, uint64_t s, bool open, bool level)
{
    struct loss_sample sample = {.counters = {.known = true, .on = on, .clients = 1, .yes_tx = yes, .no_tx = no},
                                 .streaming = streaming,
                                 .streaming_s = s,
                                 .open = open,
                                 .level = level};
    return loss_take(loss, &sample);
}

static void windows_begin_and_end(void)
{
    struct loss l = {0};
    UNIT_INT(sample(&l, false, 0, 10, false, 0, false, false), LOSS_NONE); /* before it was ever protected */
    UNIT_INT(sample(&l, false, 0, 20, true, 9, false, false), LOSS_NONE);
    UNIT_INT(sample(&l, true, 1, 30, true, 10, false, false), LOSS_NONE);
    UNIT_TRUE(l.protected_once);
    UNIT_INT(sample(&l, true, 5, 30, true, 11, false, false), LOSS_NONE);
    UNIT_INT(sample(&l, true, 5, 32, true, 12, false, false), LOSS_BEGIN); /* it was off in between */
    UNIT_UINT(l.lost, 2);
    UNIT_INT(sample(&l, true, 5, 33, true, 13, true, true), LOSS_NONE); /* still more */
    UNIT_INT(sample(&l, false, 5, 33, true, 14, true, true), LOSS_NONE);
    UNIT_INT(sample(&l, true, 5, 33, true, 15, true, false), LOSS_NONE); /* we lack some yet */
    UNIT_INT(sample(&l, true, 5, 33, false, 15, true, true), LOSS_NONE);
    UNIT_INT(sample(&l, true, 6, 33, true, 16, true, true), LOSS_END);
    UNIT_UINT(l.lost, 3);
}

static void status_off_is_a_window_too(void)
{
    struct loss l = {0};
    UNIT_INT(sample(&l, true, 1, 0, true, 1, false, false), LOSS_NONE);
    UNIT_INT(sample(&l, false, 1, 0, true, LOSS_GRACE_S - 1, false, false), LOSS_NONE); /* connected just now */
    UNIT_INT(sample(&l, false, 1, 0, false, 100, false, false), LOSS_NONE); /* not connected: the verdict says it */
    UNIT_INT(sample(&l, false, 1, 0, true, LOSS_GRACE_S, false, false), LOSS_BEGIN);
    UNIT_UINT(l.lost, 0);
}

static void a_restarted_source_counts_from_zero(void)
{
    struct loss l = {0};
    UNIT_INT(sample(&l, true, 100, 50, true, 1, false, false), LOSS_NONE);
    UNIT_INT(sample(&l, true, 2, 0, true, 1, false, false), LOSS_NONE);
    UNIT_INT(sample(&l, true, 1, 4, true, 1, false, false), LOSS_BEGIN); /* again, and four went without us */
    UNIT_UINT(l.lost, 4);
}

static void the_next_leader_goes_on(void)
{
    struct loss l = {.protected_once = true, .no_tx = 7, .yes_tx = 9}, m;
    char text[256];
    loss_write(&l, "db1:3306", text, sizeof text);
    loss_read(&m, "db1:3306", text);
    UNIT_TRUE(m.protected_once && m.no_tx == 7 && m.yes_tx == 9);
    UNIT_INT(sample(&m, true, 20, 8, false, 0, false, false), LOSS_BEGIN); /* while nobody led */
    loss_read(&m, "db2:3306", text);
    UNIT_TRUE(!m.protected_once);
    loss_read(&m, "db1:3306", NULL);
    UNIT_TRUE(!m.protected_once);
    loss_read(&m, "db1:3306", "garbage");
    UNIT_TRUE(!m.protected_once);
}

/* ---- the verdict ------------------------------------------------------------------------------------------------- */

static void the_verdict_says_why(void)
{
    struct state *state = state_new();
    struct source_status link = {.phase = SOURCE_STREAMING, .semi_sync = true, .host = "db1", .port = 3306};
    struct checks checks = {.n = 1, .results = {{.name = "wait_point", .state = CHECK_OK, .wanted = "AFTER_SYNC"}}};
    struct monitor_report report = {.checks = &checks, .counters = {.known = true, .on = true}};
    struct verdict_facts facts = {.voters = 3, .self = 1, .leader = 1, .state = state, .source = &link, .report = &report};
    char reason[1024];
    state->has_source = true;
    state->source = (struct source_settings){.host = "db1", .port = 3306, .running = true};
    UNIT_TRUE(verdict(&facts, reason, sizeof reason));
    UNIT_STR(reason, "");
    report.counters.on = false;
    UNIT_TRUE(!verdict(&facts, reason, sizeof reason));
    UNIT_STR(reason, "the source db1:3306 commits without waiting (its semi-sync status is OFF)");
    report.counters.on = true;
    checks.results[0].state = CHECK_WARN;
    UNIT_TRUE(verdict(&facts, reason, sizeof reason));
    checks.results[0].state = CHECK_CRITICAL;
    snprintf(checks.results[0].value, sizeof checks.results[0].value, "AFTER_COMMIT");
    facts.voters = 1;
    UNIT_TRUE(!verdict(&facts, reason, sizeof reason));
    UNIT_STR(reason, "one voter, no redundancy; the source's wait_point is AFTER_COMMIT, not AFTER_SYNC");
    checks.n = 0;
    facts.voters = 3;
    UNIT_TRUE(!verdict(&facts, reason, sizeof reason));
    UNIT_STR(reason, "the source's settings were not checked yet");
    checks.n = 1;
    checks.results[0].state = CHECK_OK;
    link.semi_sync = false;
    link.catching_up = true;
    link.behind = 123;
    report.catch_up_s = 4;
    UNIT_TRUE(!verdict(&facts, reason, sizeof reason));
    UNIT_STR(reason, "catching up: 123 bytes behind, about 4 s");
    char small[20];
    UNIT_TRUE(!verdict(&facts, small, sizeof small)); /* cut, not overrun */
    UNIT_STR(small, "catching up: 123 by");
    state_free(state);
}

/* ---- the client -------------------------------------------------------------------------------------------------- */

enum { PORT = 3306 };

struct fake { /* the server: one connection */
    struct env_listener *listener;
    struct env_stream *stream;
    struct wire *wire;
    struct server_auth *auth;
    bool in;
    unsigned quits;
};

struct tale {
    struct fake fake;
    struct client *client;
    const char *password;
    struct account_secret secret;
    unsigned readies, answers, failures;
    char why[200];
    uint16_t code;
    bool hang, close, stop_in_answer;
    bool server_gone, client_gone;
    struct sim_process *server_process, *client_process;
};

static int find_account(void *arg, const char *user, struct account_secret *out)
{
    struct tale *t = arg;
    *out = t->secret;
    return strcmp(user, "hf") ? E_NOTFOUND : 0;
}

static void fake_drop(struct fake *f)
{
    if (f->stream) {
        env_stream_close(f->stream);
        f->stream = NULL;
        server_auth_free(f->auth);
        wire_free(f->wire);
        f->in = false;
    }
}

static void fake_send(struct fake *f)
{
    struct buf *out = wire_output(f->wire);
    if (out->len) {
        env_stream_write(f->stream, out);
    }
}

static void fake_packet(struct tale *t, const struct packet *p)
{
    struct fake *f = &t->fake;
    struct errmsg em;
    const char *text;
    size_t n;
    if (!f->in) {
        int rv = server_auth_packet(f->auth, f->wire, p, &em);
        if (rv == SERVER_AUTH_DONE) {
            f->in = true;
            wire_seq_reset(f->wire);
        }
        return;
    }
    if (packet_kind(p) == COM_QUIT) {
        f->quits++;
        return;
    }
    CHECK(!command_query(p, server_auth_result(f->auth)->caps, &text, &n, &em));
    if (!t->hang) {
        put_answer(f->wire, server_auth_result(f->auth)->caps, n > 6 ? "!1193" : "42");
    }
    wire_seq_reset(f->wire);
}

static void fake_readable(void *owner, const uint8_t *data, size_t n)
{
    struct tale *t = owner;
    struct packet p;
    struct errmsg em;
    if (wire_feed(t->fake.wire, data, n, &em) == 0) {
        while (wire_next(t->fake.wire, &p, &em) == 1) {
            fake_packet(t, &p);
        }
    }
    fake_send(&t->fake);
    if (t->close && t->fake.in) {
        fake_drop(&t->fake);
    }
}

static void fake_closed(void *owner, int code, const char *why)
{
    struct tale *t = owner;
    (void)code;
    (void)why;
    fake_drop(&t->fake);
}

static const struct env_stream_handler fake_handler = {.readable = fake_readable, .closed = fake_closed};

static void fake_accepted(void *owner, struct env_socket *socket)
{
    struct tale *t = owner;
    struct fake *f = &t->fake;
    struct server_auth_opts opts = {.version = "9.7.4",
                                    .thread_id = 1,
                                    .plugin = AUTH_SHA2,
                                    .peer_host = "h",
                                    .lookup = find_account,
                                    .lookup_arg = t};
    fake_drop(f);
    f->wire = wire_new(1 << 20);
    memset(opts.salt, 'x', sizeof opts.salt);
    f->auth = server_auth_new(&opts);
    CHECK(!env_attach(sim_process_env(t->server_process), socket, &fake_handler, t, &f->stream));
    CHECK(!server_auth_start(f->auth, f->wire));
    fake_send(f);
}

static void server_start(struct sim_process *process, struct env *env, void *arg)
{
    struct tale *t = arg;
    struct env_addr addr = {.host = "db1", .port = PORT};
    struct errmsg em;
    t->server_process = process;
    CHECK(!env_listen(env, &addr, fake_accepted, t, &t->fake.listener, &em));
}

static void server_stop(struct sim_process *process, void *arg)
{
    struct tale *t = arg;
    fake_drop(&t->fake);
    env_listener_close(t->fake.listener);
    sim_exit(process);
}

static void tale_answer(void *owner, int status, const struct result *r)
{
    struct tale *t = owner;
    t->answers++;
    if (t->answers == 1) {
        UNIT_INT(status, 0);
        UNIT_STR(result_value(r, 0, 0, NULL), "42");
        if (t->stop_in_answer) {
            struct client *client = t->client;
            t->client = NULL;
            client_free(client);
            return;
        }
        client_query(t->client, "SELECT @@nosuch", 2 * ENV_S, tale_answer);
    } else {
        UNIT_INT(status, E_PEER);
        UNIT_UINT(r->code, 1193);
        struct client *client = t->client;
        t->client = NULL;
        client_free(client); /* it says goodbye */
    }
}

static void tale_ready(void *owner)
{
    struct tale *t = owner;
    t->readies++;
    UNIT_TRUE(client_idle(t->client));
    UNIT_STR(client_server(t->client)->version, "9.7.4");
    client_query(t->client, "DO 1", 2 * ENV_S, tale_answer);
}

static void tale_failed(void *owner, uint16_t code, const char *why)
{
    struct tale *t = owner;
    t->failures++;
    t->code = code;
    snprintf(t->why, sizeof t->why, "%s", why);
    client_free(t->client);
    t->client = NULL;
}

static const struct client_handler tale_handler = {tale_ready, tale_failed};

static void client_start(struct sim_process *process, struct env *env, void *arg)
{
    struct tale *t = arg;
    struct source_settings set = {.user = "hf", .port = PORT, .ssl_mode = "disabled"};
    t->client_process = process;
    snprintf(set.password, sizeof set.password, "%s", t->password);
    snprintf(set.compression, sizeof set.compression, "none");
    t->client = client_open(env, &set, "db1", PORT, &tale_handler, t);
}

static void client_stop(struct sim_process *process, void *arg)
{
    struct tale *t = arg;
    client_end(t->client);
    t->client = NULL;
    sim_exit(process);
}

static const struct sim_program server_program = {server_start, server_stop, NULL}, client_program = {client_start, client_stop, NULL};

static void tell(struct tale *t, bool with_server)
{
    struct sim *sim = sim_new(unit_seed());
    struct sim_host *db = sim_host_new(sim, "db1"), *node = sim_host_new(sim, "node");
    account_secret_set(&t->secret, "geheim", 6);
    if (with_server) {
        sim_start(db, &server_program, t);
        sim_run(sim, ENV_S);
    }
    sim_start(node, &client_program, t);
    sim_run(sim, 30 * ENV_S);
    sim_stop(node);
    sim_run(sim, ENV_S);
    if (with_server) {
        sim_stop(db);
        sim_run(sim, ENV_S);
    }
    sim_free(sim);
}

static void the_client_asks(void)
{
    struct tale t = {.password = "geheim"};
    tell(&t, true);
    UNIT_UINT(t.readies, 1);
    UNIT_UINT(t.answers, 2);
    UNIT_UINT(t.failures, 0);
    UNIT_UINT(t.fake.quits, 1);
}

static void what_goes_wrong_is_said_once(void)
{
    struct tale wrong = {.password = "falsch"}, nobody = {.password = "geheim"}, hangs = {.password = "geheim", .hang = true},
                ends = {.password = "geheim", .close = true}, freed = {.password = "geheim", .stop_in_answer = true};
    tell(&wrong, true);
    UNIT_UINT(wrong.failures, 1);
    UNIT_UINT(wrong.code, 1045);
    UNIT_TRUE(strstr(wrong.why, "login as 'hf' failed: ") == wrong.why);
    tell(&nobody, false);
    UNIT_UINT(nobody.failures, 1);
    UNIT_UINT(nobody.code, 2003);
    tell(&hangs, true);
    UNIT_UINT(hangs.readies, 1);
    UNIT_UINT(hangs.failures, 1);
    UNIT_STR(hangs.why, "a statement was not answered in time");
    tell(&ends, true);
    UNIT_UINT(ends.failures, 1);
    UNIT_UINT(ends.code, 2013);
    tell(&freed, true);
    UNIT_UINT(freed.answers, 1);
    UNIT_UINT(freed.failures, 0);
}

UNIT_MAIN("monitor", UNIT_TEST(a_good_mysql_is_ok), UNIT_TEST(everything_wrong_is_seen), UNIT_TEST(two_clusters_are_fine_with_two_acks),
          UNIT_TEST(own_connections_are_nobody_else), UNIT_TEST(an_old_plugin_has_other_names), UNIT_TEST(no_plugin_has_to_be_installed), UNIT_TEST(mariadb_is_asked_in_its_own_words),
          UNIT_TEST(windows_begin_and_end), UNIT_TEST(status_off_is_a_window_too), UNIT_TEST(a_restarted_source_counts_from_zero),
          UNIT_TEST(the_next_leader_goes_on), UNIT_TEST(the_verdict_says_why), UNIT_TEST(the_client_asks),
          UNIT_TEST(what_goes_wrong_is_said_once))
