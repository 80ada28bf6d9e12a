/* monitor.c: see monitor.h.
 *
 * Happy path: the link streams -> a second connection with the same account -> the checks (node/checks.c), one statement
 * after the other -> each second the counters, from which node/loss.c tells loss windows -> alarms are proposed.
 *
 * Failure modes: a connection that fails is made anew a few seconds later, not more often than the link itself, so that a
 * wrong password is not tried twice as often. A statement without an answer (MariaDB holds some back while a commit waits
 * for our acknowledgement) costs the connection and leaves that one check unknown, or as it was. Leadership lost:
 * everything is forgotten; what the next leader must know is replicated. */
#include "node/monitor.h"

#include "node/client.h"
#include "node/loss.h"
#include "node/quorum.h"
#include "node/verdict.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    STATEMENT_LIMIT_S = 2,
    CHECK_EVERY_S = 60,
    RETRY_S = 5,
    SUSTAINED = 5,       /* samples in which another client is seen, or not any more: connections that died stay counted for a while */
    KEPT_INTERVALS = 4096, /* a larger set is not copied each second */
    SET_TEXT_MAX = 64 << 20
};

static const char COUNTERS_SETTING[] = "source_counters";

struct waiter {
    struct waiter *next;
    monitor_checked *done;
    void *arg;
    bool begun; /* the check that is running began after it was asked for */
};

struct asker {
    struct asker *next;
    monitor_told *done;
    void *arg;
};

struct monitor {
    struct env *loop;
    struct cluster *cluster;
    struct source *source;
    struct env_timer tick;
    bool leading, stopped;

    struct client *client;
    char host[256]; /* of the client */
    uint16_t port;
    uint64_t retry_at; /* ns */
    char error[512];

    struct checks running, last;
    bool checking;      /* running is not complete */
    bool answering;     /* its statement is under way */
    uint64_t check_at;  /* ns */
    uint64_t checked_wall;
    uint64_t link_since; /* the streaming that was checked */
    struct waiter *waiters;
    struct asker *askers, *asking; /* asking: its statement is under way */

    struct source_counters counters;
    struct loss loss;
    char loss_of[300];     /* whose counters these are */
    struct gtid_set *held; /* at the last sample without loss; NULL: unknown, or too large */
    bool off_seen;
    unsigned others_for, alone_for;
    unsigned proposals; /* in flight */

    uint64_t behind, behind_at; /* of the tick before */
    double rate;                /* bytes per second */

    bool judged, protected;
    uint64_t judged_since;
};

static void look(struct monitor *m);
static void ask_check(struct monitor *m);

/* ---- proposals ---- */

static void proposed(void *arg, int status)
{
    struct monitor *m = arg;
    (void)status; /* lost with leadership: the next leader sees it again */
    m->proposals--;
}

static void propose(struct monitor *m, struct buf *entry)
{
    m->proposals++;
    cluster_propose(m->cluster, entry, proposed, m);
}

static void propose_alarm(struct monitor *m, enum alarm_verb verb, const struct alarm *alarm)
{
    struct entry_alarm e = {.verb = verb, .alarm = *alarm};
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    entry_put_alarm(&b, &e);
    propose(m, &b);
    env_log(m->loop, ENV_WARN, "alarm: kind=%s %s source=%s from=%s to=%s: %s", alarm_kind_text(alarm->kind),
            verb == ALARM_BEGIN ? "begins" : "ends", alarm->source, alarm->from, alarm->to, alarm->text);
}

/* "host:port" of the source that is looked at. */
static void source_text(const struct monitor *m, char *text, size_t size)
{
    struct source_status link;
    source_get_status(m->source, &link);
    snprintf(text, size, "%s:%u", link.host, (unsigned)link.port);
}

/* Counters are kept for the next leader whenever the source has committed without us, or was protected for the first time. */
static void keep_counters(struct monitor *m)
{
    char text[256], source[300];
    uint64_t was = UINT64_MAX;
    struct loss before;
    source_text(m, source, sizeof source);
    loss_read(&before, source, state_setting(cluster_state(m->cluster), COUNTERS_SETTING));
    was = before.protected_once ? before.no_tx : UINT64_MAX;
    if (!m->loss.protected_once || was == m->loss.no_tx) {
        return;
    }
    struct buf b;
    loss_write(&m->loss, source, text, sizeof text);
    buf_init(&b, ENTRY_MAX);
    entry_put_setting(&b, COUNTERS_SETTING, text);
    propose(m, &b);
}

/* ---- loss windows ---- */

static void put_set(const struct gtid_set *set, bool position, char *text, size_t size)
{
    struct buf b;
    buf_init(&b, SET_TEXT_MAX);
    if (position) {
        gtid_set_print_position(set, &b);
    } else {
        gtid_set_print(set, &b);
    }
    bool fits = b.len < size;
    snprintf(text, size, "%.*s%s", (int)(fits ? b.len : size - 4), buf_cstr(&b), fits ? "" : "...");
    buf_free(&b);
}

/* What is held: GTIDs, or file and position where there are none. */
static void put_held(const struct monitor *m, const struct gtid_set *set, char *text, size_t size)
{
    const struct state *state = cluster_state(m->cluster);
    const struct state_file *file = state_file(state);
    if (set && !gtid_set_is_empty(set)) {
        put_set(set, false, text, size);
    } else if (file) {
        snprintf(text, size, "%s:%llu", file->name, (unsigned long long)state->boundary);
    }
}

static void window_begins(struct monitor *m)
{
    struct alarm a = {.kind = ALARM_LOSS_WINDOW, .since = env_wall(m->loop)};
    source_text(m, a.source, sizeof a.source);
    put_held(m, m->held ? m->held : cluster_state(m->cluster)->executed, a.from, sizeof a.from);
    if (m->loss.lost) {
        snprintf(a.text, sizeof a.text, "commits returned without our acknowledgement: %" PRIu64 " so far", m->loss.lost);
    } else {
        snprintf(a.text, sizeof a.text, "the source does not wait for acknowledgements: its semi-sync status is OFF");
    }
    propose_alarm(m, ALARM_BEGIN, &a);
}

/* The transactions that came in between, as far as both ends can tell. */
static void put_between(const struct monitor *m, const struct alarm *a, char *text, size_t size)
{
    const struct gtid_set *now = cluster_state(m->cluster)->executed;
    size_t n = strlen(a->from);
    text[0] = 0;
    if (!now || n < 3 || !strcmp(a->from + n - 3, "...")) {
        return;
    }
    struct gtid_set *from = gtid_set_new(gtid_set_flavour(now)), *between = gtid_set_copy(now);
    if (!gtid_set_parse(from, a->from, n, NULL) && !gtid_set_subtract(between, from) && !gtid_set_is_empty(between)) {
        put_set(between, gtid_set_flavour(now) == FLAVOUR_MARIADB, text, size);
    }
    gtid_set_free(from);
    gtid_set_free(between);
}

static void window_ends(struct monitor *m, const struct alarm *open)
{
    struct alarm a = *open;
    char between[300];
    a.until = env_wall(m->loop);
    put_held(m, cluster_state(m->cluster)->executed, a.to, sizeof a.to);
    put_between(m, &a, between, sizeof between);
    bool states = strchr(between, '-') && !strchr(between, ':');
    snprintf(a.text, sizeof a.text, "%" PRIu64 " commits were counted that returned without our acknowledgement; in between came %s%s",
             m->loss.lost, between[0] ? (states ? "all up to " : "") : "no transaction that has a GTID", between);
    propose_alarm(m, ALARM_END, &a);
}

/* Its source was forgotten or replaced: nobody will see the end of it. */
static void window_abandoned(struct monitor *m, const struct alarm *open)
{
    struct alarm a = *open;
    a.until = env_wall(m->loop);
    put_held(m, cluster_state(m->cluster)->executed, a.to, sizeof a.to);
    snprintf(a.text, sizeof a.text, "it had not ended when %.200s was left for another source", open->source);
    propose_alarm(m, ALARM_END, &a);
}

static void keep_held(struct monitor *m)
{
    const struct gtid_set *now = cluster_state(m->cluster)->executed;
    gtid_set_free(m->held);
    m->held = now && gtid_set_intervals(now) <= KEPT_INTERVALS ? gtid_set_copy(now) : NULL;
}

/* ---- samples ---- */

static void watch_others(struct monitor *m, bool ours)
{
    if (source_is_new(m->source)) {
        return;
    }
    const struct alarm *open = state_alarm_open(cluster_state(m->cluster), ALARM_OTHER_CLIENT);
    uint64_t others = m->counters.clients > ours ? m->counters.clients - ours : 0;
    uint64_t wanted = m->last.n ? m->last.acks_wanted : 1;
    bool bad = others && wanted <= others;
    if ((bad && !m->others_for) || (!bad && !m->alone_for)) {
        m->check_at = 0; /* the check has to say the same */
    }
    m->others_for = bad ? m->others_for + 1 : 0;
    m->alone_for = bad ? 0 : m->alone_for + 1;
    if (m->proposals || (bad ? !!open : !open)) {
        return;
    }
    struct alarm a = {.kind = ALARM_OTHER_CLIENT, .since = env_wall(m->loop)};
    if (bad && m->others_for >= SUSTAINED) {
        source_text(m, a.source, sizeof a.source);
        put_held(m, cluster_state(m->cluster)->executed, a.from, sizeof a.from);
        snprintf(a.text, sizeof a.text,
                 "%" PRIu64 " other semi-sync client%s may acknowledge in our place; holdfast source check says what to do", others,
                 others == 1 ? "" : "s");
        propose_alarm(m, ALARM_BEGIN, &a);
    } else if (!bad && m->alone_for >= SUSTAINED) {
        a = *open;
        a.until = env_wall(m->loop);
        put_held(m, cluster_state(m->cluster)->executed, a.to, sizeof a.to);
        propose_alarm(m, ALARM_END, &a);
    }
}

static void take_sample(struct monitor *m, bool level)
{
    struct source_status link;
    const struct alarm *open = state_alarm_open(cluster_state(m->cluster), ALARM_LOSS_WINDOW);
    source_get_status(m->source, &link);
    uint64_t now = env_wall(m->loop);
    struct loss_sample s = {.counters = m->counters,
                            .streaming = link.phase == SOURCE_STREAMING && !link.catching_up,
                            .streaming_s = now > link.since_wall ? (now - link.since_wall) / 1000000 : 0,
                            .open = open != NULL,
                            .level = level};
    if (m->proposals) {
        return; /* what is known is about to change; this sample's numbers come again */
    }
    if (m->counters.known && m->off_seen == m->counters.on) {
        m->off_seen = !m->counters.on;
        m->check_at = 0;
    }
    switch (loss_take(&m->loss, &s)) {
    case LOSS_BEGIN:
        window_begins(m);
        break;
    case LOSS_END:
        window_ends(m, open);
        keep_held(m);
        break;
    case LOSS_NONE:
        if (!open) {
            keep_held(m);
        }
        break;
    }
    keep_counters(m);
    if (m->counters.known) {
        watch_others(m, s.streaming);
    }
}

/* The source's own state: are we level with it? */
static void level_answer(void *owner, int status, const struct result *r)
{
    struct monitor *m = owner;
    const struct gtid_set *held = cluster_state(m->cluster)->executed;
    const char *text = !status && r->nrows ? result_value(r, 0, 0, NULL) : NULL;
    bool level = !text; /* no GTIDs: its status is all there is */
    if (text && held) {
        struct gtid_set *set = gtid_set_new(gtid_set_flavour(held));
        level = !gtid_set_parse(set, text, strlen(text), NULL) && gtid_set_subset(set, held);
        gtid_set_free(set);
    }
    take_sample(m, level);
    look(m);
}

static void counters_answer(void *owner, int status, const struct result *r)
{
    struct monitor *m = owner;
    struct source_counters none = {0};
    if (status) {
        m->counters = none;
    } else {
        counters_read(&m->counters, r);
    }
    if (m->counters.on && state_alarm_open(cluster_state(m->cluster), ALARM_LOSS_WINDOW)) {
        bool mariadb = client_server(m->client)->is_mariadb;
        client_query(m->client, mariadb ? "SELECT @@GLOBAL.gtid_binlog_pos" : "SELECT @@GLOBAL.gtid_executed",
                     STATEMENT_LIMIT_S * ENV_S, level_answer);
        return;
    }
    take_sample(m, false);
    look(m);
}

/* ---- checks ---- */

static void answer_waiters(struct monitor *m, const char *error)
{
    for (struct waiter **at = &m->waiters; *at;) {
        struct waiter *w = *at;
        if (!error && !w->begun) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->done(w->arg, error ? NULL : &m->last, error);
        mem_free(w);
    }
}

static void note_changes(struct monitor *m)
{
    for (size_t i = 0; i < m->running.n; i++) {
        const struct check_result *now = &m->running.results[i];
        enum check_state before = CHECK_OK;
        for (size_t k = 0; k < m->last.n; k++) {
            if (!strcmp(m->last.results[k].name, now->name)) {
                before = m->last.results[k].state;
            }
        }
        if (now->state != before) {
            env_log(m->loop, now->state <= CHECK_OK ? ENV_INFO : ENV_WARN, "source: check=%s state=%s value=%s%s%s", now->name,
                    check_state_text(now->state), now->value, now->statement[0] ? " mend=" : "", now->statement);
        }
    }
}

static void check_complete(struct monitor *m)
{
    checks_keep(&m->running, &m->last);
    note_changes(m);
    m->last = m->running;
    m->checking = false;
    m->checked_wall = env_wall(m->loop);
    m->check_at = env_now(m->loop) + CHECK_EVERY_S * ENV_S;
    answer_waiters(m, NULL);
}

static void check_answer(void *owner, int status, const struct result *r)
{
    struct monitor *m = owner;
    m->answering = false;
    checks_answer(&m->running, status, r);
    ask_check(m);
}

static void ask_check(struct monitor *m)
{
    const char *sql = checks_query(&m->running);
    if (sql) {
        m->answering = true;
        client_query(m->client, sql, STATEMENT_LIMIT_S * ENV_S, check_answer);
    } else {
        check_complete(m);
        look(m);
    }
}

static void begin_check(struct monitor *m)
{
    struct source_status link;
    const struct client_auth_result *server = client_server(m->client);
    source_get_status(m->source, &link);
    checks_begin(&m->running, server->is_mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL, server->version,
                 link.phase == SOURCE_STREAMING && !link.catching_up,
                 source_is_new(m->source) && !state_alarm_open(cluster_state(m->cluster), ALARM_OTHER_CLIENT));
    m->link_since = link.since_wall;
    m->checking = true;
    for (struct waiter *w = m->waiters; w; w = w->next) {
        w->begun = true;
    }
    ask_check(m);
}

/* ---- what the source has ---- */

static void answer_askers(struct asker **list, const struct gtid_set *has, const struct gtid_set *applied, const char *error)
{
    struct asker *all = *list;
    *list = NULL;
    while (all) {
        struct asker *a = all;
        all = a->next;
        a->done(a->arg, has, applied, error);
        mem_free(a);
    }
}

/* MySQL's gtid_owned, "uuid:7#11:8#12": who owns each does not matter. */
static void without_owners(char *text)
{
    char *to = text;
    while (*text) {
        if (*text == '#') {
            text += 1 + strspn(text + 1, "0123456789");
        } else {
            *to++ = *text++;
        }
    }
    *to = 0;
}

static struct gtid_set *parsed(enum flavour flavour, const char *text)
{
    struct gtid_set *set = gtid_set_new(flavour);
    if (!text || gtid_set_parse(set, text, strlen(text), NULL)) {
        gtid_set_free(set);
        return NULL;
    }
    return set;
}

static void told(void *owner, int status, const struct result *r)
{
    struct monitor *m = owner;
    bool mariadb = client_server(m->client)->is_mariadb;
    enum flavour flavour = mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    char *second = status || !r->nrows ? NULL : mem_str(result_value(r, 0, 1, NULL) ? result_value(r, 0, 1, NULL) : "");
    struct gtid_set *has = second ? parsed(flavour, result_value(r, 0, 0, NULL)) : NULL, *more = NULL;
    if (has) {
        without_owners(second);
        more = parsed(flavour, second);
    }
    if (more && !mariadb && gtid_set_union(has, more)) {
        gtid_set_free(more);
        more = NULL;
    }
    answer_askers(&m->asking, more ? has : NULL, mariadb ? more : NULL, more ? NULL : "the source did not tell which transactions it has");
    gtid_set_free(has);
    gtid_set_free(more);
    mem_free(second);
    if (m->client && client_idle(m->client)) { /* it took the place of this second's sample */
        client_query(m->client, COUNTERS_QUERY, STATEMENT_LIMIT_S * ENV_S, counters_answer);
    }
}

static bool follows(const struct monitor *m)
{
    struct source_status link;
    source_get_status(m->source, &link);
    return link.phase == SOURCE_STREAMING;
}

static void ask_gtids(struct monitor *m)
{
    bool mariadb = client_server(m->client)->is_mariadb;
    m->asking = m->askers;
    m->askers = NULL;
    client_query(m->client, mariadb ? "SELECT @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos" : "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_owned",
                 STATEMENT_LIMIT_S * ENV_S, told);
}

void monitor_ask_gtids(struct monitor *m, monitor_told *done, void *arg)
{
    struct asker *a = mem_new(sizeof *a);
    *a = (struct asker){.next = m->askers, .done = done, .arg = arg};
    m->askers = a;
}

/* ---- the connection ---- */

static void drop(struct monitor *m)
{
    struct client *client = m->client;
    m->client = NULL;
    m->counters = (struct source_counters){0};
    m->answering = false;
    client_free(client);
    answer_askers(&m->asking, NULL, NULL, "the source does not answer");
}

static void forget(struct monitor *m)
{
    drop(m);
    m->checking = false;
    m->last = m->running = (struct checks){0};
    m->checked_wall = m->check_at = m->retry_at = m->link_since = 0;
    m->error[0] = 0;
    m->others_for = m->alone_for = 0;
    m->off_seen = false;
    gtid_set_free(m->held);
    m->held = NULL;
}

static void ready(void *owner)
{
    struct monitor *m = owner;
    m->error[0] = 0;
    if (m->checking) {
        ask_check(m); /* the rest */
    } else {
        look(m);
    }
}

static void failed(void *owner, uint16_t code, const char *why)
{
    struct monitor *m = owner;
    bool answering = m->answering;
    snprintf(m->error, sizeof m->error, "%.500s", why);
    env_log(m->loop, ENV_INFO, "source: second connection: %s code=%u", why, (unsigned)code);
    drop(m);
    if (answering) { /* this one has no answer; the others may have */
        checks_answer(&m->running, E_TIMEOUT, NULL);
        look(m);
        return;
    }
    m->retry_at = env_now(m->loop) + RETRY_S * ENV_S;
    m->checking = false;
    answer_waiters(m, m->error);
}

static const struct client_handler client_handler = {.ready = ready, .failed = failed};

static void open_client(struct monitor *m, const struct source_status *link)
{
    char source[300];
    snprintf(m->host, sizeof m->host, "%s", link->host);
    m->port = link->port;
    snprintf(source, sizeof source, "%s:%u", link->host, (unsigned)link->port);
    if (strcmp(m->loss_of, source) != 0) {
        snprintf(m->loss_of, sizeof m->loss_of, "%s", source);
        loss_read(&m->loss, source, state_setting(cluster_state(m->cluster), COUNTERS_SETTING));
    }
    m->client = client_open(m->loop, &cluster_state(m->cluster)->source, link->host, link->port, &client_handler, m);
}

/* A source that was set but never followed has no link that says where it is. */
static bool where(const struct monitor *m, struct source_status *link)
{
    const struct state *state = cluster_state(m->cluster);
    struct env_addr addr;
    source_get_status(m->source, link);
    if (!m->leading || !state->has_source || !state->source.host[0]) {
        return false;
    }
    if (!link->host[0] && source_candidate(&state->source, 0, &addr)) {
        snprintf(link->host, sizeof link->host, "%s", addr.host);
        link->port = addr.port;
    }
    return link->host[0] != 0;
}

/* Begins what is due, if nothing is under way. */
static void look(struct monitor *m)
{
    struct source_status link;
    if (m->stopped || !where(m, &link)) {
        return;
    }
    uint64_t now = env_now(m->loop);
    bool streaming = link.phase == SOURCE_STREAMING;
    if (m->client && (strcmp(m->host, link.host) != 0 || m->port != link.port)) {
        drop(m);
        m->checking = false;
    }
    if (!m->client) {
        if (m->waiters || m->checking || (streaming && now >= m->retry_at)) {
            open_client(m, &link);
        }
        return;
    }
    if (!client_idle(m->client)) {
        return;
    }
    bool connected_anew = streaming && m->link_since != link.since_wall;
    if (m->waiters || now >= m->check_at || connected_anew) {
        begin_check(m);
    }
}

/* ---- each second ---- */

static void measure(struct monitor *m)
{
    struct source_status link;
    source_get_status(m->source, &link);
    uint64_t now = env_now(m->loop);
    if (!link.catching_up || !m->behind_at || link.behind > m->behind) {
        m->rate = 0;
    } else if (now > m->behind_at) {
        double rate = (double)(m->behind - link.behind) * 1e9 / (double)(now - m->behind_at);
        m->rate = m->rate > 0 ? m->rate * 0.8 + rate * 0.2 : rate;
    }
    m->behind = link.behind;
    m->behind_at = link.catching_up ? now : 0;
}

static void abandon_windows(struct monitor *m)
{
    char source[300];
    struct source_status link;
    const struct alarm *open = state_alarm_open(cluster_state(m->cluster), ALARM_LOSS_WINDOW);
    if (!open || m->proposals || !m->leading) {
        return;
    }
    source_text(m, source, sizeof source);
    if (!where(m, &link) || (link.phase == SOURCE_STREAMING && strcmp(open->source, source) != 0)) {
        window_abandoned(m, open);
    }
}

static void ticked(struct env_timer *timer)
{
    struct monitor *m = CONTAINER_OF(timer, struct monitor, tick);
    char reason[64];
    uint64_t since;
    env_timer_start(&m->tick, ENV_S);
    measure(m);
    monitor_verdict(m, reason, sizeof reason, &since);
    abandon_windows(m);
    look(m);
    if (!m->client || !follows(m)) {
        answer_askers(&m->askers, NULL, NULL, "the source is not followed by this node");
    }
    if (m->client && client_idle(m->client) && m->askers) {
        ask_gtids(m);
    } else if (m->client && client_idle(m->client)) {
        client_query(m->client, COUNTERS_QUERY, STATEMENT_LIMIT_S * ENV_S, counters_answer);
    }
}

/* ---- from outside ---- */

void monitor_get_report(const struct monitor *m, struct monitor_report *report)
{
    *report = (struct monitor_report){.checks = &m->last, .checked_wall = m->checked_wall, .counters = m->counters};
    report->catch_up_s = m->rate >= 1.0 ? (uint64_t)((double)m->behind / m->rate) + 1 : 0;
    snprintf(report->error, sizeof report->error, "%s", m->error);
}

bool monitor_verdict(struct monitor *m, char *reason, size_t size, uint64_t *since)
{
    char quorum[1024];
    struct source_status link;
    struct monitor_report report;
    quorum_text(m->cluster, m->loop, quorum, sizeof quorum);
    source_get_status(m->source, &link);
    monitor_get_report(m, &report);
    struct verdict_facts facts = {.voters = cluster_voters(m->cluster),
                                  .self = cluster_id(m->cluster),
                                  .leader = cluster_leader(m->cluster),
                                  .quorum = quorum,
                                  .state = cluster_state(m->cluster),
                                  .source = &link,
                                  .report = &report};
    bool protected = verdict(&facts, reason, size);
    if (!m->judged || m->protected != protected) {
        m->judged = true;
        m->protected = protected;
        m->judged_since = env_wall(m->loop);
    }
    *since = m->judged_since;
    return protected;
}

void monitor_leading(struct monitor *m, bool leading)
{
    m->leading = leading;
    forget(m);
    m->loss = (struct loss){0};
    m->loss_of[0] = 0; /* what is replicated counts */
    if (leading) {
        keep_held(m); /* what comes from now on may be what was committed while nobody looked */
    } else {
        answer_waiters(m, "this node does not lead any more");
    }
}

void monitor_settings_changed(struct monitor *m)
{
    if (m->leading && !m->stopped) {
        monitor_leading(m, true);
        answer_waiters(m, "the source's settings have just changed");
    }
}

void monitor_check(struct monitor *m, monitor_checked *done, void *arg)
{
    struct waiter **last = &m->waiters, *w = mem_new(sizeof *w);
    *w = (struct waiter){.done = done, .arg = arg};
    while (*last) {
        last = &(*last)->next;
    }
    *last = w;
    env_timer_start(&m->tick, 0); /* not from within the call */
}

struct monitor *monitor_new(struct env *loop, struct cluster *cluster, struct source *source)
{
    struct monitor *m = mem_new(sizeof *m);
    m->loop = loop;
    m->cluster = cluster;
    m->source = source;
    int rv = env_timer_open(loop, &m->tick, ticked);
    CHECK(rv == 0);
    env_timer_start(&m->tick, ENV_S);
    return m;
}

void monitor_stop(struct monitor *m)
{
    struct client *client = m->client;
    m->stopped = true;
    m->client = NULL;
    env_timer_close(&m->tick);
    client_end(client);
    answer_waiters(m, "the node is shutting down");
    answer_askers(&m->askers, NULL, NULL, "the node is shutting down");
    answer_askers(&m->asking, NULL, NULL, "the node is shutting down");
}

void monitor_free(struct monitor *m)
{
    if (m) {
        CHECK(m->stopped && !m->proposals);
        gtid_set_free(m->held);
        mem_free(m);
    }
}
