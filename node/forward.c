/* forward.c: see forward.h.
 *
 * Happy path: the statement's text and who typed it go to the leader; it is parsed there, with the roles that the member has checked, and run;
 * the reply comes back as kind, texts and rows, with the index that the leader had applied; when that is applied here too, the client gets it.
 *
 * Failure: no leader: the client is told who answers and who does not. A leader that is lost meanwhile: the outcome is unknown, and said
 * to be. An answer that cannot be read is an error of its own. */
#include "node/forward.h"

#include "node/quorum.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 4 << 20, BEHIND_S = 2, COLUMNS_MAX = 4096 };

struct errand { /* a request of this node's clients, at the leader */
    struct errand *next;
    struct forward *forward;
    struct control_request *request; /* NULL: answered */
    uint64_t index;                  /* answered by the leader; waits for this to be applied here. 0: not yet */
    uint64_t until;
};

struct visit { /* another member's request, here */
    struct control_request request;
    struct forward *forward;
    uint64_t from, ticket;
};

struct forward {
    struct control *control;
    struct errand *errands;
    struct env_timer timer;
    struct env_msg look_msg;
    bool look_posted;
    bool closing;
};

/* ---- replies as bytes ---- */

static void put_cell(struct buf *b, const char *text, size_t n)
{
    buf_u8(b, text != NULL);
    if (text) {
        buf_lenenc_bytes(b, text, n);
    }
}

static void put_table(struct buf *b, const struct table *t)
{
    size_t columns = table_columns(t), rows = table_rows(t);
    buf_u32(b, (uint32_t)columns);
    buf_u32(b, (uint32_t)rows);
    for (size_t i = 0; i < columns; i++) {
        buf_lenenc_str(b, table_name(t, i));
        buf_u8(b, (uint8_t)table_type(t, i));
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < columns; i++) {
            size_t n = 0;
            const char *cell = table_cell(t, row, i, &n);
            put_cell(b, cell, n);
        }
    }
}

static void put_notes(struct buf *b, const struct reply *r)
{
    buf_u16(b, r->warnings);
    for (size_t i = 0; i < r->warnings; i++) {
        buf_lenenc_str(b, r->notes[i].level);
        buf_u16(b, r->notes[i].code);
        buf_lenenc_str(b, r->notes[i].text);
    }
}

static void put_reply(struct buf *b, const struct reply *r, uint64_t index)
{
    buf_u64(b, index);
    buf_u8(b, (uint8_t)r->kind);
    buf_u64(b, r->affected);
    put_notes(b, r);
    buf_u16(b, r->code);
    buf_lenenc_str(b, r->state);
    buf_lenenc_str(b, r->message);
    if (r->kind == REPLY_ROWS) {
        put_table(b, r->table);
    }
}

static void get_text(struct cur *c, char *to, size_t size)
{
    size_t n;
    const uint8_t *p = cur_lenenc_bytes(c, &n);
    snprintf(to, size, "%.*s", p ? (int)(n < size ? n : size - 1) : 0, p ? (const char *)p : "");
}

static void get_notes(struct cur *c, struct reply *r)
{
    static const char *const levels[] = {"Note", "Warning", "Error"};
    for (uint16_t n = cur_u16(c); n && cur_ok(c); n--) {
        char level[16], text[sizeof r->notes->text];
        get_text(c, level, sizeof level);
        uint16_t code = cur_u16(c);
        get_text(c, text, sizeof text);
        const char *known = strcmp(level, levels[0]) == 0 ? levels[0] : strcmp(level, levels[1]) == 0 ? levels[1] : levels[2];
        reply_note(r, known, code, "%s", text);
    }
}

static struct table *get_table(struct cur *c)
{
    uint32_t columns = cur_u32(c), rows = cur_u32(c);
    if (!cur_ok(c) || !columns || columns > COLUMNS_MAX) {
        cur_fail(c);
        return NULL;
    }
    struct table *t = table_new();
    for (uint32_t i = 0; i < columns; i++) {
        char name[256];
        get_text(c, name, sizeof name);
        uint8_t type = cur_u8(c);
        table_column(t, name, type <= TABLE_DATETIME ? (enum table_type)type : TABLE_TEXT);
    }
    for (uint32_t row = 0; row < rows && cur_ok(c); row++) {
        table_row(t);
        for (uint32_t i = 0; i < columns; i++) {
            size_t n = 0;
            const uint8_t *p = cur_u8(c) ? cur_lenenc_bytes(c, &n) : NULL;
            if (p) {
                table_bytes(t, p, n);
            } else {
                table_text(t, NULL);
            }
        }
    }
    return t;
}

static bool get_reply(struct cur *c, struct reply *r, uint64_t *index)
{
    *r = (struct reply){.kind = REPLY_OK};
    *index = cur_u64(c);
    uint8_t kind = cur_u8(c);
    r->affected = cur_u64(c);
    get_notes(c, r);
    r->code = cur_u16(c);
    get_text(c, r->state, sizeof r->state);
    get_text(c, r->message, sizeof r->message);
    r->kind = kind == REPLY_ERROR ? REPLY_ERROR : kind == REPLY_ROWS ? REPLY_ROWS : REPLY_OK;
    if (r->kind == REPLY_ROWS) {
        r->table = get_table(c);
    }
    if (!cur_done(c) || kind > REPLY_ROWS) {
        reply_free(r);
        return false;
    }
    return true;
}

/* ---- on the member where it was typed ---- */

static void errand_end(struct errand *e)
{
    for (struct errand **at = &e->forward->errands; *at; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            break;
        }
    }
    if (e->request) {
        control_reply(e->request);
    }
    mem_free(e);
}

static bool ready(const struct errand *e)
{
    struct env *loop = e->forward->control->loop;
    return e->index && (cluster_state(e->forward->control->cluster)->index >= e->index || env_now(loop) >= e->until);
}

static void look(struct forward *f)
{
    bool waits = false;
    for (struct errand *e = f->errands, *next; e; e = next) {
        next = e->next;
        if (ready(e)) {
            errand_end(e);
        } else {
            waits = waits || e->index;
        }
    }
    if (waits) {
        env_timer_start(&f->timer, 100 * ENV_MS);
    }
}

static void look_run(struct env_msg *msg)
{
    struct forward *f = CONTAINER_OF(msg, struct forward, look_msg);
    f->look_posted = false;
    if (!f->closing) {
        look(f);
    }
}

static void look_later(struct forward *f)
{
    if (!f->look_posted) {
        f->look_posted = true;
        f->look_msg.run = look_run;
        env_post(f->control->loop, &f->look_msg);
    }
}

static void timer_fired(struct env_timer *timer)
{
    look(CONTAINER_OF(timer, struct forward, timer));
}

void forward_applied(struct forward *f)
{
    if (f->errands) { /* not from within the state machine */
        look_later(f);
    }
}

static void answered(void *arg, int status, struct cur *answer)
{
    struct errand *e = arg;
    struct forward *f = e->forward;
    struct control_request *request = e->request;
    if (!request) {
        errand_end(e);
        return;
    }
    char text[512];
    if (status == E_AGAIN) {
        e->request = NULL;
        errand_end(e);
        sql_run(f->control, request);
        return;
    }
    if (status == E_RESET && request->move.from) { /* that is what was wanted, or not: look who leads now */
        e->request = NULL;
        errand_end(e);
        sql_switchover_watch(f->control, request);
        return;
    }
    if (!status && !get_reply(answer, &request->reply, &e->index)) {
        reply_error(&request->reply, 1105, "HY000", "the leader's answer cannot be read; whether the statement took effect is not known");
    } else if (status == E_NOTLEADER) {
        quorum_text(f->control->cluster, f->control->loop, text, sizeof text);
        reply_error(&request->reply, 1105, "HY000", "no leader can be reached, so nothing was done: %s", text);
    } else if (status == E_TOOBIG) {
        reply_error(&request->reply, 1153, "08S01", "the statement is too long to be sent to the leader");
    } else if (status) {
        reply_error(&request->reply, 1105, "HY000", "the leader was lost while it worked on this (%s): it may or may not take effect; look at the result, and run it again if it has not",
                    err_text(status));
    }
    e->index = e->index ? e->index : 1;
    e->until = env_now(f->control->loop) + BEHIND_S * ENV_S;
    look_later(f);
}

void forward_request(struct forward *f, struct control_request *request)
{
    struct errand *e = mem_new(sizeof *e);
    struct buf b;
    size_t n;
    const char *text = sql_statement_text(request->statement, &n);
    e->forward = f;
    e->request = request;
    sql_switchover_begins(f->control, request);
    e->next = f->errands;
    f->errands = e;
    buf_init(&b, ANSWER_MAX);
    buf_lenenc_bytes(&b, text, n);
    buf_lenenc_str(&b, request->user);
    buf_lenenc_str(&b, request->host);
    buf_lenenc_str(&b, request->account_host);
    buf_u32(&b, request->roles);
    buf_u32(&b, request->connection_id);
    cluster_ask(f->control->cluster, &b, answered, e);
    if (b.data) {
        explicit_bzero(b.data, b.len); /* it may hold a password */
    }
    buf_free(&b);
}

/* ---- on the leader ---- */

static void send_answer(struct forward *f, uint64_t from, uint64_t ticket, const struct reply *reply)
{
    struct buf b;
    buf_init(&b, ANSWER_MAX);
    put_reply(&b, reply, cluster_state(f->control->cluster)->index);
    if (b.err) {
        struct reply error = {.kind = REPLY_OK};
        reply_error(&error, 1105, "HY000", "the answer is too long to be sent by the leader; ask it directly");
        buf_reset(&b);
        put_reply(&b, &error, 1);
    }
    cluster_answer(f->control->cluster, from, ticket, &b);
    buf_free(&b);
}

static void visit_done(struct control_request *request)
{
    struct visit *v = CONTAINER_OF(request, struct visit, request);
    send_answer(v->forward, v->from, v->ticket, &request->reply);
    reply_free(&request->reply);
    mem_free(v);
}

static void run_visit(struct forward *f, struct view *view, struct visit *v, const char *text, size_t n)
{
    struct sql_session session = {.env = f->control->loop, .view = view, .roles = v->request.roles, .connection_id = v->request.connection_id};
    snprintf(session.user, sizeof session.user, "%s", v->request.user);
    snprintf(session.host, sizeof session.host, "%s", v->request.host);
    snprintf(session.account_host, sizeof session.account_host, "%s", v->request.account_host);
    session.vars = sql_vars_new();
    v->request.control = f->control;
    v->request.worker = f->control->loop;
    v->request.done = visit_done;
    enum sql_outcome outcome = sql_execute(&session, text, n, &v->request.reply, &v->request.statement);
    sql_vars_free(session.vars);
    if (outcome == SQL_DONE) {
        visit_done(&v->request);
    } else {
        sql_run(f->control, &v->request);
    }
}

void forward_asked(struct forward *f, struct view *view, uint64_t from, uint64_t ticket, struct cur *body)
{
    struct visit *v = mem_new(sizeof *v);
    size_t n;
    const uint8_t *text = cur_lenenc_bytes(body, &n);
    v->forward = f;
    v->from = from;
    v->ticket = ticket;
    get_text(body, v->request.user, sizeof v->request.user);
    get_text(body, v->request.host, sizeof v->request.host);
    get_text(body, v->request.account_host, sizeof v->request.account_host);
    v->request.roles = cur_u32(body);
    v->request.connection_id = cur_u32(body);
    reply_ok(&v->request.reply);
    if (!cur_done(body) || f->closing) {
        mem_free(v); /* the asker's patience ends */
        return;
    }
    run_visit(f, view, v, (const char *)text, n);
}

/* ---- life ---- */

struct forward *forward_new(struct control *control)
{
    struct forward *f = mem_new(sizeof *f);
    f->control = control;
    int rv = env_timer_open(control->loop, &f->timer, timer_fired);
    CHECK(rv == 0);
    return f;
}

void forward_close(struct forward *f)
{
    f->closing = true;
    env_timer_close(&f->timer);
    for (struct errand *e = f->errands, *next; e; e = next) {
        next = e->next;
        struct control_request *request = e->request;
        e->request = NULL;
        if (request && e->index) { /* the leader's answer only waits for this node to be as far */
            control_reply(request);
        } else if (request) {
            reply_error(&request->reply, 1053, "08S01", "Server shutdown in progress; whether the statement took effect is not known");
            control_reply(request);
        }
        if (e->index) { /* the cluster has nothing to say about it any more */
            errand_end(e);
        }
    }
}

void forward_free(struct forward *f)
{
    mem_free(f);
}
