/* worker.c: orders from the loop, carried out on the worker; notes for the loop; and the way of a statement
 * to the loop and back.
 *
 * Happy path: an order is a message that carries what it is about and is freed when it has run. Sessions are
 * found by their connection's id, so an order for one that has ended finds nothing and that is all.
 *
 * A statement that runs on the loop has its answer delivered on the loop first (done() of its request), which
 * passes it on to the worker if the serving part still stands. So a worker may end while answers are
 * outstanding: nothing refers to it.
 *
 * The end: all sessions are ended, but replicas may have FINISH_PATIENCE for the transaction they are in: one of MariaDB's
 * that goes by file and position never gets over an end in the middle of a statement's rows. When the last one is gone the worker leaves the store; when that is
 * confirmed it tells the loop, as its last act. */
#include "node/worker.h"

#include "node/dump.h"
#include "node/session.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

#define REPORT_EVERY (500 * ENV_MS)
#define FINISH_PATIENCE (1 * ENV_S)

/* ---- sessions ---- */

static struct session **place(struct worker *w, uint32_t connection_id)
{
    struct session **at = &w->sessions[connection_id / w->count % WORKER_BUCKETS];
    while (*at && (*at)->sql.connection_id != connection_id) {
        at = &(*at)->next;
    }
    return at;
}

static void note(struct worker *w, enum serve_note_kind kind, const struct serve_replica *replica)
{
    struct serve_note *n = mem_new(sizeof *n);
    n->msg.run = serve_take_note;
    n->serve = w->serve;
    n->kind = kind;
    n->replica = *replica;
    env_post(w->loop, &n->msg);
}

static void take_connection(struct worker *w, struct env_socket *socket, uint32_t connection_id, int how)
{
    struct session *session = NULL;
    if (w->closing) {
        env_socket_close(socket);
    } else {
        session = session_new(w, socket, connection_id, how == ACCEPT_SERVE);
    }
    if (!session) {
        struct serve_replica who = {.connection_id = connection_id};
        note(w, NOTE_SESSION_ENDED, &who);
        return;
    }
    struct session **bucket = &w->sessions[connection_id / w->count % WORKER_BUCKETS];
    session->next = *bucket;
    *bucket = session;
    w->n_sessions++;
    if (how == ACCEPT_REFUSE) {
        session_refuse(session);
    }
}

/* ---- the end ---- */

static void run_closed(struct env_msg *msg)
{
    struct worker *w = CONTAINER_OF(msg, struct worker, closed_msg);
    w->closed(w);
}

static void left_store(struct store_sub *sub)
{
    struct worker *w = sub->owner;
    env_timer_close(&w->reporting);
    env_timer_close(&w->patience);
    throttle_free(w->throttle);
    w->closed_msg.run = run_closed;
    env_post(w->loop, &w->closed_msg);
}

static void leave_when_empty(struct worker *w)
{
    if (w->closing && w->n_sessions == 0) {
        store_unsubscribe(&w->sub, left_store);
    }
}

static void end_all(struct worker *w, bool patiently)
{
    for (size_t i = 0; i < WORKER_BUCKETS; i++) {
        for (struct session *s = w->sessions[i]; s; s = s->next) {
            if (patiently) {
                session_finish(s);
            } else {
                session_stop(s, END_SHUTDOWN);
            }
        }
    }
}

static void patience_over(struct env_timer *timer)
{
    end_all(CONTAINER_OF(timer, struct worker, patience), false);
}

static void begin_end(struct worker *w)
{
    CHECK(!w->closing);
    w->closing = true;
    env_timer_start(&w->patience, FINISH_PATIENCE);
    end_all(w, true);
    leave_when_empty(w);
}

void worker_session_begins(struct session *session)
{
    struct serve_replica who = {.connection_id = session->sql.connection_id};
    snprintf(who.user, sizeof who.user, "%s", session->sql.user);
    snprintf(who.peer, sizeof who.peer, "%s", session->peer);
    note(session->worker, NOTE_SESSION_BEGINS, &who);
}

void worker_session_ended(struct session *session)
{
    struct worker *w = session->worker;
    struct session **at = place(w, session->sql.connection_id);
    struct serve_replica who = {.connection_id = session->sql.connection_id};
    CHECK(*at == session);
    *at = session->next;
    w->n_sessions--;
    note(w, NOTE_SESSION_ENDED, &who);
    leave_when_empty(w);
}

/* ---- orders ---- */

enum order_kind { ORDER_ACCEPT, ORDER_VIEW, ORDER_END_SESSION, ORDER_ANSWER, ORDER_JUDGE, ORDER_CLOSE };

struct order {
    struct env_msg msg;
    struct worker *worker;
    enum order_kind kind;
    uint32_t connection_id;
    int how;
    struct env_socket *socket;
    struct view *view;
    enum session_end_reason why;
    struct reply reply;
    enum serve_verdict verdict;
    struct gtid_set *gtids;
};

static void take_answer(struct worker *w, uint32_t connection_id, struct reply *reply)
{
    struct session *session = *place(w, connection_id);
    if (session && session->state == SESSION_WAITING) {
        session_answered(session, reply);
    } else {
        reply_free(reply);
    }
}

static void take_view(struct worker *w, struct view *view)
{
    struct view *old = w->view;
    bool same = old->n_users == view->n_users && memcmp(old->users, view->users, view->n_users * sizeof *view->users) == 0;
    w->view = view;
    view_unref(old);
    for (size_t i = 0; !same && i < WORKER_BUCKETS; i++) {
        for (struct session *s = w->sessions[i], *next; s; s = next) {
            next = s->next; /* it may end, but stays on the list until its env runs again */
            session_accounts_changed(s);
        }
    }
}

static void run_order(struct env_msg *msg)
{
    struct order *o = CONTAINER_OF(msg, struct order, msg);
    struct worker *w = o->worker;
    struct session *session;
    switch (o->kind) {
    case ORDER_ACCEPT: take_connection(w, o->socket, o->connection_id, o->how); break;
    case ORDER_VIEW:
        take_view(w, o->view);
        break;
    case ORDER_END_SESSION:
        session = *place(w, o->connection_id);
        if (session) {
            session_stop(session, o->why);
        }
        break;
    case ORDER_ANSWER: take_answer(w, o->connection_id, &o->reply); break;
    case ORDER_JUDGE:
        session = *place(w, o->connection_id);
        if (session && session->dump && !session_is_over(session)) {
            dump_judged(session->dump, o->verdict, o->gtids);
        }
        gtid_set_free(o->gtids);
        break;
    case ORDER_CLOSE: begin_end(w); break;
    }
    mem_free(o);
}

static struct order *order_new(struct worker *w, enum order_kind kind)
{
    struct order *o = mem_new(sizeof *o);
    o->msg.run = run_order;
    o->worker = w;
    o->kind = kind;
    return o;
}

void worker_accept(struct worker *w, struct env_socket *socket, uint32_t connection_id, int how)
{
    struct order *o = order_new(w, ORDER_ACCEPT);
    o->socket = socket;
    o->how = how;
    o->connection_id = connection_id;
    env_post(w->env, &o->msg);
}

void worker_set_view(struct worker *w, struct view *view)
{
    struct order *o = order_new(w, ORDER_VIEW);
    o->view = view_ref(view);
    env_post(w->env, &o->msg);
}

void worker_end_session(struct worker *w, uint32_t connection_id, enum session_end_reason why)
{
    struct order *o = order_new(w, ORDER_END_SESSION);
    o->connection_id = connection_id;
    o->why = why;
    env_post(w->env, &o->msg);
}

void worker_answer(struct worker *w, uint32_t connection_id, struct reply *reply)
{
    struct order *o = order_new(w, ORDER_ANSWER);
    o->connection_id = connection_id;
    o->reply = *reply;
    env_post(w->env, &o->msg);
}

void worker_judge(struct worker *w, uint32_t connection_id, enum serve_verdict verdict, struct gtid_set *gtids)
{
    struct order *o = order_new(w, ORDER_JUDGE);
    o->connection_id = connection_id;
    o->verdict = verdict;
    o->gtids = gtids;
    env_post(w->env, &o->msg);
}

void worker_close(struct worker *w)
{
    env_post(w->env, &order_new(w, ORDER_CLOSE)->msg);
}

/* ---- dumps ---- */

static void store_changed(struct store_sub *sub)
{
    struct worker *w = sub->owner;
    struct dump *next;
    for (struct dump *d = w->dumps; d; d = next) {
        next = dump_next(d);
        dump_changed(d);
    }
}

static void report(struct env_timer *timer)
{
    struct worker *w = CONTAINER_OF(timer, struct worker, reporting);
    w->reporting_soon = false;
    for (struct dump *d = w->dumps; d; d = dump_next(d)) {
        dump_rest(d);
        if (dump_take_moved(d)) {
            struct serve_replica replica;
            dump_report(d, &replica);
            note(w, NOTE_DUMP_MOVED, &replica);
        }
    }
}

void worker_dump_begins(struct dump *dump)
{
    struct worker *w = dump_session(dump)->worker;
    struct serve_replica replica;
    dump_link(dump, &w->dumps);
    store_sub_rest(&w->sub, false); /* it looks after this */
    dump_report(dump, &replica);
    note(w, NOTE_DUMP_BEGINS, &replica);
}

void worker_dump_has(struct dump *dump, const struct gtid_set *have)
{
    struct worker *w = dump_session(dump)->worker;
    struct serve_note *n = mem_new(sizeof *n);
    n->msg.run = serve_take_note;
    n->serve = w->serve;
    n->kind = NOTE_DUMP_HAS;
    n->have = gtid_set_copy(have);
    dump_report(dump, &n->replica);
    env_post(w->loop, &n->msg);
}

void worker_dump_moved(struct dump *dump)
{
    struct worker *w = dump_session(dump)->worker;
    if (!w->reporting_soon && !w->closing) {
        w->reporting_soon = true;
        env_timer_start(&w->reporting, REPORT_EVERY);
    }
}

void worker_dump_stands(struct dump *dump)
{
    struct serve_replica replica;
    dump_report(dump, &replica);
    note(dump_session(dump)->worker, NOTE_DUMP_MOVED, &replica);
}

void worker_dump_ends(struct dump *dump)
{
    struct worker *w = dump_session(dump)->worker;
    struct serve_replica replica;
    dump_report(dump, &replica);
    note(w, NOTE_DUMP_ENDS, &replica);
    dump_unlink(dump);
    if (!w->dumps) {
        store_sub_rest(&w->sub, true);
    }
}

/* ---- statements that run on the loop ---- */

struct statement_way {
    struct control_request request;
    struct serve_anchor *anchor; /* one reference */
    struct worker *worker;       /* valid while the anchor has its serve */
};

static void statement_done(struct control_request *request)
{
    struct statement_way *way = CONTAINER_OF(request, struct statement_way, request);
    if (way->anchor->serve) {
        worker_answer(way->worker, request->connection_id, &request->reply);
    } else {
        reply_free(&request->reply);
    }
    serve_anchor_unref(way->anchor);
    mem_free(way);
}

void worker_submit(struct session *session, struct sql_statement *statement)
{
    struct worker *w = session->worker;
    const struct sql_session *sql = &session->sql;
    struct statement_way *way = mem_new(sizeof *way);
    atomic_fetch_add(&w->anchor->refs, 1);
    way->anchor = w->anchor;
    way->worker = w;
    way->request.control = w->control;
    way->request.worker = w->loop; /* done() runs there, see above */
    way->request.statement = statement;
    memcpy(way->request.user, sql->user, sizeof way->request.user);
    memcpy(way->request.host, sql->host, sizeof way->request.host);
    memcpy(way->request.account_host, sql->account_host, sizeof way->request.account_host);
    way->request.roles = sql->roles;
    way->request.connection_id = sql->connection_id;
    way->request.done = statement_done;
    control_submit(w->control, &way->request);
}

/* ---- open ---- */

static void run_open(struct env_msg *msg)
{
    struct worker *w = CONTAINER_OF(msg, struct worker, open_msg);
    int rv = env_timer_open(w->env, &w->reporting, report);
    rv = rv ? rv : env_timer_open(w->env, &w->patience, patience_over);
    w->throttle = throttle_new();
    if (rv) {
        env_fatal(w->env, "cannot start a serving worker: %s", err_text(rv));
    }
    w->sub.owner = w;
    store_subscribe(w->store, &w->sub, w->env, store_changed);
    store_sub_rest(&w->sub, true);
}

void worker_open(struct worker *w)
{
    w->open_msg.run = run_open;
    env_post(w->env, &w->open_msg);
}
