/* errant.c: see errant.h. The leader's half, the statement CHECK REPLICA, is in sql_check_replica.c.
 *
 * Happy path: all that the replica has is held here: SERVE_LEVEL, at once. Else it is kept on a list with what is not held; every second that
 * is looked at again, since this node may only be behind, and the leader is asked, for one of them at a time. It answers: nothing is errant
 * (asked again later), or these are, and whether it is to be refused.
 *
 * Failure modes: no answer, or none that can be had: the replica waits for HOLD_S, then it is served, since what it lacks it must be able
 * to get (its own source may just have died). It is asked again while the replica is there. */
#include "node/errant.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/gtid_lack.h"
#include "raft/mutation.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_S = 1, HOLD_S = 5, AGAIN_S = 2, AGAIN_FINE_S = 30, STATEMENT_MAX = SQL_TEXT_MAX / 2, NAMED_MAX = 2000 };

struct suspect {
    struct suspect *next;
    struct serve_replica replica;
    struct gtid_set *ahead; /* what it has and was not held here when this was looked at last */
    uint64_t since, ask_at;
    bool released; /* it is served */
};

struct errant {
    struct control *control;
    struct view *view;
    struct suspect *suspects;
    struct env_timer timer;
    uint32_t asked;      /* the connection that the leader is asked about; 0: none */
    unsigned requests;   /* under way, 0 or 1 */
    bool stopped;
};

struct question {
    struct control_request request;
    struct errant *errant;
};

static void suspect_free(struct suspect *s)
{
    gtid_set_free(s->ahead);
    mem_free(s);
}

static struct suspect **find(struct errant *e, uint32_t connection_id)
{
    struct suspect **at = &e->suspects;
    while (*at && (*at)->replica.connection_id != connection_id) {
        at = &(*at)->next;
    }
    return at;
}

void errant_left(struct errant *e, uint32_t connection_id)
{
    struct suspect **at = find(e, connection_id), *s = *at;
    if (s) {
        *at = s->next;
        suspect_free(s);
    }
}

static void release(struct errant *e, struct suspect *s)
{
    if (!s->released) {
        s->released = true;
        serve_judge(e->control->serve, s->replica.connection_id, SERVE_GO_ON, NULL);
    }
}

/* True: nothing is left against it. */
static bool caught_up(struct errant *e, struct suspect *s)
{
    const struct gtid_set *held = cluster_state(e->control->cluster)->executed;
    if (held) {
        (void)gtid_set_subtract(s->ahead, held); /* another flavour is another matter (dump_start.c) */
    }
    return gtid_set_is_empty(s->ahead);
}

/* ---- asking the leader ---- */

/* As a replica is called: where it says that it is, else where it comes from; never by the port that it calls from, which is another one each time. */
static void name_of(const struct serve_replica *r, char *text, size_t size)
{
    const char *host = r->host[0] ? r->host : r->peer, *colon = strrchr(r->peer, ':');
    int n = (int)(r->host[0] || !colon ? strlen(host) : (size_t)(colon - r->peer));
    if (r->registered && r->port) {
        snprintf(text, size, "%.*s:%u", n, host, (unsigned)r->port);
    } else {
        snprintf(text, size, "%.*s", n, host);
    }
}

static void put_literal(struct buf *b, const char *text)
{
    buf_str(b, "'");
    for (; *text; text++) {
        if (*text != '\'' && *text != '\\' && (unsigned char)*text >= ' ') {
            buf_u8(b, (uint8_t)*text);
        }
    }
    buf_str(b, "'");
}

static void say_errant(const struct errant *e, const struct suspect *s, const struct gtid_set *set, bool refused)
{
    char name[400];
    struct buf gtids;
    buf_init(&gtids, 2 * NAMED_MAX);
    gtid_lacking_print(set, cluster_state(e->control->cluster)->executed ? cluster_state(e->control->cluster)->executed : set, NAMED_MAX, &gtids);
    name_of(&s->replica, name, sizeof name);
    env_log(e->control->loop, ENV_WARN, "replica errant id=%lu replica=%s server_id=%lu uuid=%s refused=%d gtids=\"%s\"",
            (unsigned long)s->replica.connection_id, name, (unsigned long)s->replica.server_id, s->replica.uuid[0] ? s->replica.uuid : "-", (int)refused,
            buf_cstr(&gtids));
    buf_free(&gtids);
}

/* The row: GTIDs, how many, refused or not. */
static void take_verdict(struct errant *e, struct suspect **at, const struct table *row)
{
    struct suspect *s = *at;
    size_t n = 0, flag = 0;
    const char *gtids = table_cell(row, 0, 0, &n), *refused = table_cell(row, 0, 2, &flag);
    struct gtid_set *set = gtid_set_new(gtid_set_flavour(s->ahead));
    bool refuse = refused && strcmp(refused, "yes") == 0;
    if (!gtids || gtid_set_parse(set, gtids, n, NULL)) {
        gtid_set_free(set);
        return;
    }
    say_errant(e, s, set, refuse);
    if (refuse) {
        serve_judge(e->control->serve, s->replica.connection_id, SERVE_ERRANT, set);
    } else {
        release(e, s);
        gtid_set_free(set);
    }
    *at = s->next;
    suspect_free(s);
}

static void answered(struct control_request *request)
{
    struct question *q = CONTAINER_OF(request, struct question, request);
    struct errant *e = q->errant;
    struct suspect **at = find(e, e->asked);
    const struct reply *reply = &request->reply;
    e->requests--;
    e->asked = 0;
    if (*at && !e->stopped && reply->kind == REPLY_ROWS) {
        (*at)->ask_at = env_now(e->control->loop) + AGAIN_FINE_S * ENV_S;
        if (table_rows(reply->table)) {
            take_verdict(e, at, reply->table);
        } else {
            release(e, *at);
        }
    } else if (*at && !e->stopped) {
        env_log(e->control->loop, ENV_DEBUG, "replica ahead id=%lu why=\"%s\"", (unsigned long)(*at)->replica.connection_id, reply->message);
    }
    reply_free(&request->reply);
    mem_free(q);
}

static void put_question(const struct suspect *s, struct buf *sql)
{
    char name[400];
    struct buf gtids;
    name_of(&s->replica, name, sizeof name);
    buf_init(&gtids, STATEMENT_MAX);
    gtid_set_print(s->ahead, &gtids);
    buf_str(sql, "CHECK REPLICA ");
    put_literal(sql, name);
    buf_str(sql, " UUID ");
    put_literal(sql, s->replica.uuid);
    buf_str(sql, " GTIDS ");
    put_literal(sql, buf_cstr(&gtids));
    if (gtids.err) { /* so many cannot be asked about */
        sql->err = gtids.err;
    }
    buf_free(&gtids);
}

static void ask(struct errant *e, struct suspect *s)
{
    struct buf sql;
    buf_init(&sql, SQL_TEXT_MAX);
    put_question(s, &sql);
    s->ask_at = env_now(e->control->loop) + AGAIN_S * ENV_S;
    if (!sql.err && e->view) {
        struct question *q = mem_new(sizeof *q);
        struct sql_session session = {.env = e->control->loop, .view = e->view, .roles = ROLE_ADMIN, .by_socket = true, .user = "root"};
        q->errant = e;
        q->request = (struct control_request){.control = e->control, .worker = e->control->loop, .roles = ROLE_ADMIN, .user = "root", .done = answered};
        e->requests++;
        e->asked = s->replica.connection_id;
        session.vars = sql_vars_new();
        enum sql_outcome outcome = sql_execute(&session, buf_cstr(&sql), sql.len, &q->request.reply, &q->request.statement);
        sql_session_free(&session);
        if (outcome == SQL_LOOP) {
            sql_run(e->control, &q->request);
        } else {
            answered(&q->request);
        }
    }
    buf_free(&sql);
}

/* ---- each second ---- */

static void look(struct env_timer *timer)
{
    struct errant *e = CONTAINER_OF(timer, struct errant, timer);
    uint64_t now = env_now(e->control->loop);
    struct suspect *due = NULL;
    for (struct suspect **at = &e->suspects; *at;) {
        struct suspect *s = *at;
        if (caught_up(e, s)) {
            serve_judge(e->control->serve, s->replica.connection_id, SERVE_LEVEL, NULL);
            *at = s->next;
            suspect_free(s);
            continue;
        }
        if (now >= s->since + HOLD_S * ENV_S) {
            release(e, s);
        }
        due = now >= s->ask_at && (!due || s->ask_at < due->ask_at) ? s : due;
        at = &s->next;
    }
    if (due && !e->requests) {
        ask(e, due); /* its answer may come in the call, and free it */
    }
    if (e->suspects && !e->stopped) {
        env_timer_start(&e->timer, LOOK_S * ENV_S);
    }
}

void errant_replica(struct errant *e, const struct serve_replica *replica, struct gtid_set *have)
{
    struct suspect *s = mem_new(sizeof *s);
    s->replica = *replica;
    s->ahead = have;
    s->since = s->ask_at = env_now(e->control->loop);
    if (e->stopped || caught_up(e, s)) {
        serve_judge(e->control->serve, replica->connection_id, SERVE_LEVEL, NULL);
        suspect_free(s);
        return;
    }
    if (MUTATED(ERRANT_HERE)) {
        serve_judge(e->control->serve, replica->connection_id, SERVE_ERRANT, gtid_set_copy(have));
    }
    if (!e->suspects) {
        env_timer_start(&e->timer, 50 * ENV_MS); /* what the source has just sent may be here by then */
    }
    s->next = e->suspects;
    e->suspects = s;
}

/* ---- life ---- */

struct errant *errant_new(struct control *control)
{
    struct errant *e = mem_new(sizeof *e);
    e->control = control;
    CHECK(env_timer_open(control->loop, &e->timer, look) == 0);
    return e;
}

void errant_set_view(struct errant *e, struct view *view)
{
    view_unref(e->view);
    e->view = view_ref(view);
}

void errant_stop(struct errant *e)
{
    e->stopped = true;
    env_timer_close(&e->timer);
    while (e->suspects) {
        errant_left(e, e->suspects->replica.connection_id);
    }
}

void errant_free(struct errant *e)
{
    CHECK(!e->requests && !e->suspects);
    view_unref(e->view);
    mem_free(e);
}
