/* session.c: a client's connection: bytes in, packets, login, the end. What commands mean is in
 * session_command.c.
 *
 * Happy path: the greeting goes out, protocol/auth_server plays the login, then one command after the other;
 * what a client sends ahead stays in the wire (and, past a little, in the kernel) until its turn. Reading
 * rests while a statement runs on the loop and while a client does not take its answers.
 *
 * The end: session_end closes the stream and all that could call back, and posts a message to its own env;
 * when that runs, nothing of the session is on the stack any more and it is freed.
 *
 * Failure: a packet out of order or too large is answered with its error and ends the session, so does an
 * unreadable TLS record (with an alert). Who has not logged in after LOGIN_PATIENCE is dropped. */
#include "node/session.h"

#include "node/dump.h"
#include "node/session_command.h"
#include "protocol/auth_server.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/result.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define LOGIN_PATIENCE (10 * ENV_S)

enum {
    LOGIN_PACKET_MAX = 64 << 10,
    PACKET_MAX = 4 << 20,
    REPLICA_PACKET_MAX = 64 << 20, /* a GTID set can be large */
    ANSWERS_MAX = 1 << 20 /* bytes of answers that wait for the client before its next command is read */
};

void session_name(const struct session *s, char *text, size_t size)
{
    const char *user = s->auth ? server_auth_result(s->auth)->user : s->sql.user;
    snprintf(text, size, "%s@%s", user, s->peer);
    for (char *c = text; *c; c++) {
        if (!isprint((unsigned char)*c) || *c == '"' || *c == ' ') {
            *c = '?';
        }
    }
}

/* ---- the end ---- */

static void run_end(struct env_msg *msg)
{
    struct session *s = CONTAINER_OF(msg, struct session, end_msg);
    worker_session_ended(s);
    dump_free(s->dump);
    server_auth_free(s->auth);
    sql_session_free(&s->sql);
    wire_free(s->wire);
    mem_free(s->registered);
    mem_free(s->peer);
    mem_free(s);
}

void session_end(struct session *s)
{
    if (session_is_over(s)) {
        return;
    }
    s->state = SESSION_OVER;
    if (s->dump) {
        worker_dump_ends(s->dump);
    }
    env_timer_close(&s->timer);
    env_stream_close(s->stream);
    s->stream = NULL;
    s->end_msg.run = run_end;
    env_post(s->env, &s->end_msg);
}

void session_stop(struct session *s, enum session_end_reason why)
{
    if (session_is_over(s)) {
        return;
    }
    if (s->dump) {
        dump_stop(s->dump, why);
    }
    session_flush(s);
    session_end(s);
}

void session_finish(struct session *s)
{
    if (session_is_over(s) || !s->dump || !dump_finish_transaction(s->dump)) {
        session_stop(s, END_SHUTDOWN);
    }
}

void session_flush(struct session *s)
{
    if (session_is_over(s)) {
        return;
    }
    struct buf *out = wire_output(s->wire);
    if (out->err) {
        env_log(s->env, ENV_WARN, "session ends id=%lu peer=%s why=\"cannot answer: %s\"",
                (unsigned long)s->sql.connection_id, s->peer, err_text(out->err));
        session_end(s);
    } else if (out->len > 0) {
        env_stream_write(s->stream, out);
    }
}

/* ---- login ---- */

static void patience_over(struct env_timer *timer)
{
    struct session *s = CONTAINER_OF(timer, struct session, timer);
    if (s->refused) {
        session_flush(s);
        session_end(s);
        return;
    }
    env_log(s->env, ENV_WARN, "login timed out id=%lu peer=%s", (unsigned long)s->sql.connection_id, s->peer);
    session_end(s);
}

/* The account that the client means, if it may be used the way it came. */
static const struct user_account *account_of(const struct session *s, const char *user)
{
    const struct user_account *account = view_user(s->worker->view, user, s->sql.host);
    bool closed = account && (account->locked || (account->require_tls && !wire_has_tls(s->wire) && !s->is_local));
    return closed ? NULL : account;
}

static int lookup(void *arg, const char *user, struct account_secret *out)
{
    const struct user_account *account = account_of(arg, user);
    if (!account) {
        return E_NOTFOUND;
    }
    *out = account->secret;
    return 0;
}

static bool take_account(struct session *s, const struct server_auth_result *r)
{
    const struct user_account *account = r->by_socket ? NULL : account_of(s, r->user);
    if (!account && !r->by_socket) {
        return false; /* it went while the client answered */
    }
    s->sql.by_socket = r->by_socket;
    s->sql.roles = r->by_socket ? ROLE_REPLICA | ROLE_MONITOR | ROLE_ADMIN : account->roles;
    snprintf(s->sql.user, sizeof s->sql.user, "%s", r->user);
    snprintf(s->sql.account_host, sizeof s->sql.account_host, "%s", r->by_socket ? "localhost" : account->host);
    return true;
}

static void logged_in(struct session *s)
{
    const struct server_auth_result *r = server_auth_result(s->auth);
    if (!take_account(s, r)) {
        session_end(s);
        return;
    }
    env_timer_close(&s->timer);
    throttle_passed(s->worker->throttle, s->sql.user, s->sql.host);
    s->caps = r->caps;
    snprintf(s->sql.db, sizeof s->sql.db, "%.64s", r->db);
    s->sql.vars = sql_vars_new();
    if (wire_has_tls(s->wire)) {
        s->sql.tls_version = tls_version(wire_tls(s->wire));
        s->sql.tls_cipher = tls_cipher(wire_tls(s->wire));
    }
    char name[400];
    session_name(s, name, sizeof name);
    env_log(s->env, ENV_DEBUG, "login id=%lu who=%s account_host=%s roles=%lu plugin=%s tls=%s",
            (unsigned long)s->sql.connection_id, name, s->sql.account_host, (unsigned long)s->sql.roles,
            auth_plugin_name(r->plugin), s->sql.tls_version ? s->sql.tls_version : "no");
    server_auth_free(s->auth);
    s->auth = NULL;
    wire_set_max_packet(s->wire, s->sql.roles & ROLE_REPLICA ? REPLICA_PACKET_MAX : PACKET_MAX);
    s->state = SESSION_READY;
    worker_session_begins(s);
}

/* Who guesses waits for the answer, and for no other. */
static void refuse_login(struct session *s, int code)
{
    const struct server_auth_result *r = server_auth_result(s->auth);
    struct login_counters *counters = &s->worker->control->logins;
    char name[400];
    uint64_t wait = 0;
    if (code == E_DENIED) {
        wait = throttle_failed(s->worker->throttle, r->user, s->sql.host, env_now(s->env));
        atomic_fetch_add(&counters->failed, 1);
        atomic_fetch_add(&counters->delayed, wait > 0);
    }
    session_name(s, name, sizeof name);
    env_log(s->env, ENV_WARN, "login refused id=%lu who=%s code=%s wait_ms=%llu", (unsigned long)s->sql.connection_id, name,
            err_name(code), (unsigned long long)(wait / ENV_MS));
    if (wait > 0) {
        s->refused = true; /* the rest is patience_over's */
        env_timer_start(&s->timer, wait);
    } else {
        session_flush(s);
        session_end(s);
    }
}

static void take_login(struct session *s, const struct packet *p)
{
    struct errmsg em = {""};
    int rv = server_auth_packet(s->auth, s->wire, p, &em);
    if (rv == SERVER_AUTH_DONE) {
        logged_in(s);
    } else if (rv < 0) {
        refuse_login(s, rv);
    }
}

void session_accounts_changed(struct session *s)
{
    if (s->state == SESSION_LOGIN || session_is_over(s) || s->sql.by_socket) {
        return;
    }
    const struct user_account *account = view_account(s->worker->view, s->sql.user, s->sql.account_host);
    bool may_dump = account && account->roles & ROLE_REPLICA;
    s->sql.roles = account ? account->roles : 0;
    if (!account || account->locked || (s->state == SESSION_DUMPING && !may_dump)) {
        char name[400];
        session_name(s, name, sizeof name);
        env_log(s->env, ENV_INFO, "session ends id=%lu who=%s why=\"%s\"", (unsigned long)s->sql.connection_id, name,
                account && !account->locked ? "its account may not replicate any more"
                : account                   ? "its account is locked"
                                            : "its account is gone");
        session_stop(s, END_KILLED);
    }
}

/* ---- bytes ---- */

static void set_paused(struct session *s)
{
    if (session_is_over(s)) {
        return;
    }
    bool paused = s->state == SESSION_WAITING || s->refused ||
                  (s->state == SESSION_READY && env_stream_pending(s->stream) > ANSWERS_MAX);
    if (paused != s->paused) {
        s->paused = paused;
        env_stream_pause(s->stream, paused);
    }
}

static void take_packet(struct session *s, const struct packet *p)
{
    switch (s->state) {
    case SESSION_LOGIN: take_login(s, p); break;
    case SESSION_READY: session_command(s, p); break;
    case SESSION_DUMPING:
        if (p->len == 1 && packet_kind(p) == COM_QUIT) {
            session_end(s);
        } /* else an ACK, which was never asked for */
        break;
    case SESSION_WAITING:
    case SESSION_OVER: CHECK(false);
    }
}

static void bad_packet(struct session *s, int code, const struct errmsg *em)
{
    env_log(s->env, ENV_INFO, "session ends id=%lu peer=%s why=\"%s\"", (unsigned long)s->sql.connection_id,
            s->peer, em->text);
    if (wire_is_open(s->wire)) { /* in the middle of an event for a replica */
        session_end(s);
        return;
    }
    if (code == E_TOOBIG) {
        put_err(s->wire, ER_NET_PACKET_TOO_LARGE, NULL,
                "Got a packet bigger than 'max_allowed_packet' bytes");
    } else if (code == E_MALFORMED) {
        put_err(s->wire, ER_NET_PACKETS_OUT_OF_ORDER, NULL, "Got packets out of order");
    }
    session_flush(s);
    session_end(s);
}

/* Takes what packets there are, as far as may be. */
static void process(struct session *s)
{
    struct packet p;
    struct errmsg em = {""};
    int rv = 0;
    while (!session_is_over(s) && !s->paused && (rv = wire_next(s->wire, &p, &em)) > 0) {
        take_packet(s, &p);
        if (!s->refused) {
            session_flush(s);
        }
        set_paused(s);
    }
    if (!session_is_over(s) && rv < 0) {
        bad_packet(s, rv, &em);
    }
    if (!s->refused) {
        session_flush(s); /* a TLS handshake has output without packets */
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct session *s = owner;
    struct errmsg em = {""};
    int rv = wire_feed(s->wire, data, n, &em);
    if (rv == E_CLOSED) {
        session_end(s);
        return;
    }
    process(s); /* on an error: the packets before it, then the error */
}

static void drained(void *owner)
{
    struct session *s = owner;
    if (s->dump) {
        dump_drained(s->dump);
    } else if (s->paused) {
        set_paused(s);
        process(s);
    }
}

static void closed(void *owner, int code, const char *why)
{
    struct session *s = owner;
    (void)code;
    env_log(s->env, ENV_DEBUG, "session ends id=%lu peer=%s why=\"%s\"", (unsigned long)s->sql.connection_id,
            s->peer, why);
    session_end(s);
}

void session_answered(struct session *s, struct reply *reply)
{
    CHECK(s->state == SESSION_WAITING);
    s->state = SESSION_READY;
    session_put_reply(s, reply);
    session_flush(s);
    set_paused(s);
    process(s);
}

/* ---- open ---- */

static struct server_auth *new_login(struct session *s)
{
    const struct view *view = s->worker->view;
    struct server_auth_opts opts = {
        .version = view->version,
        .thread_id = s->sql.connection_id,
        .plugin = view->flavour == FLAVOUR_MARIADB ? AUTH_NATIVE : AUTH_SHA2,
        .tls = view->tls,
        .rsa = view->rsa,
        .full = view_has_cold(view),
        .peer_host = s->sql.host,
        .is_local = s->is_local,
        .admit_root = s->admit_root,
        .lookup = lookup,
        .lookup_arg = s,
    };
    env_random(s->env, opts.salt, sizeof opts.salt);
    return server_auth_new(&opts);
}

static void greet(struct session *s)
{
    s->auth = new_login(s);
    server_auth_start(s->auth, s->wire);
    session_flush(s);
}

/* As a new login on the same connection; who fails has lost it. */
void session_change_user(struct session *s, const struct packet *p)
{
    struct errmsg em = {""};
    s->auth = new_login(s);
    int rv = env_timer_open(s->env, &s->timer, patience_over);
    if (!rv) {
        env_timer_start(&s->timer, LOGIN_PATIENCE);
        rv = server_auth_change_user(s->auth, s->wire, p, s->caps, wire_has_tls(s->wire), &em);
    }
    if (rv < 0) {
        session_flush(s);
        session_end(s);
        return;
    }
    sql_vars_free(s->sql.vars);
    s->sql.vars = NULL;
    s->sql.roles = 0;
    mem_free(s->registered);
    s->registered = NULL;
    s->state = SESSION_LOGIN;
}

void session_refuse(struct session *s)
{
    put_err(s->wire, ER_CON_COUNT, NULL, "Too many connections");
    session_flush(s);
    session_end(s);
}

struct session *session_new(struct worker *worker, struct env_socket *socket, uint32_t connection_id, bool greets)
{
    static const struct env_stream_handler handler = {
        .readable = readable, .drained = drained, .closed = closed};
    struct env_peer peer = *env_socket_peer(socket); /* attaching takes the socket */
    struct session *s = mem_new(sizeof *s);
    s->worker = worker;
    s->env = worker->env;
    s->sql.env = worker->env;
    s->sql.files = &worker->sub;
    s->sql.connection_id = connection_id;
    int rv = env_timer_open(s->env, &s->timer, patience_over);
    if (rv) {
        env_socket_close(socket);
    } else {
        rv = env_attach(s->env, socket, &handler, s, &s->stream);
    }
    if (rv) {
        env_log(s->env, ENV_WARN, "connection dropped peer=%s why=\"%s\"", peer.text, err_text(rv));
        env_timer_close(&s->timer);
        mem_free(s);
        return NULL;
    }
    s->peer = mem_str(peer.text);
    s->is_local = peer.is_local;
    s->admit_root = peer.is_local && (peer.uid == 0 || peer.uid == worker->own_uid);
    snprintf(s->sql.host, sizeof s->sql.host, "%s", peer.host);
    s->wire = wire_new(LOGIN_PACKET_MAX);
    env_timer_start(&s->timer, LOGIN_PATIENCE);
    if (greets) {
        greet(s);
    }
    return s;
}
