/* puppet_sim.c: see puppet_sim.h. What the test wants said goes to the puppet's own env as a message, so that it happens there. */
#include "tests/sim/puppet_sim.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { FRAME_MOST = MESSAGE_HEAD + MESSAGE_MAX };

struct order { /* to the puppet's env */
    struct env_msg msg;
    struct puppet_conn *conn;
    struct env_addr target; /* call: host is not "" */
    struct buf bytes;
};

static void say(struct puppet_conn *c, struct buf *b)
{
    if (c->stream && !c->closed) {
        env_stream_write(c->stream, b);
    }
    buf_free(b);
}

static void say_alive(struct puppet_conn *c)
{
    struct buf b;
    buf_init(&b, FRAME_MOST);
    message_begin(&b, MESSAGE_ALIVE);
    message_end(&b, 0);
    say(c, &b);
}

static void hang_up(struct puppet_conn *c)
{
    env_stream_close(c->stream);
    c->stream = NULL;
    c->closed = true;
    c->closed_at = env_now(c->puppet->env);
}

static void answer_hello(struct puppet_conn *c)
{
    struct puppet *p = c->puppet;
    struct buf b;
    buf_init(&b, FRAME_MOST);
    switch (p->manner) {
    case PUPPET_WELCOMES:
        p->welcome.from = p->id;
        p->welcome.to = c->hello.from;
        message_hello_put(&b, MESSAGE_WELCOME, &p->welcome);
        break;
    case PUPPET_BABBLES:
        buf_str(&b, "220 mail.example.org ESMTP, and so on until the head is full");
        break;
    case PUPPET_REFUSES:
        message_refusal_put(&b, &p->refusal);
        break;
    case PUPPET_HANGS_UP:
        hang_up(c);
        break;
    case PUPPET_IS_SILENT:
        break;
    }
    if (b.len) {
        say(c, &b);
    } else {
        buf_free(&b);
    }
}

static void answer_join(struct puppet_conn *c)
{
    struct buf b;
    buf_init(&b, FRAME_MOST);
    message_join_answer_put(&b, c->puppet->join);
    say(c, &b);
}

static void take_frame(struct puppet_conn *c, enum message_kind kind, struct cur *body)
{
    c->frames[kind]++;
    if (kind == MESSAGE_HELLO || kind == MESSAGE_WELCOME) {
        (void)message_hello_get(body, &c->hello);
    } else if (kind == MESSAGE_REFUSAL) {
        (void)message_refusal_get(body, &c->refusal);
    }
    if (kind == MESSAGE_HELLO) {
        answer_hello(c);
    } else if (kind == MESSAGE_JOIN && c->puppet->join) {
        answer_join(c);
    } else if (kind == MESSAGE_REPORT && !c->puppet->mute) {
        say_alive(c);
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct puppet_conn *c = owner;
    enum message_kind kind;
    struct cur body;
    size_t used, at = 0;
    struct errmsg em;
    buf_bytes(&c->in, data, n);
    c->bytes += n;
    while (!c->closed && message_next(c->in.data + at, c->in.len - at, &kind, &body, &used, &em) == 1) {
        at += used;
        take_frame(c, kind, &body);
    }
    buf_consume(&c->in, at);
}

static void connected(void *owner)
{
    struct puppet_conn *c = owner;
    if (c->first.len) {
        env_stream_write(c->stream, &c->first);
    }
}

static void closed(void *owner, int code, const char *why)
{
    struct puppet_conn *c = owner;
    (void)code;
    (void)why;
    c->closed = true;
    c->closed_at = env_now(c->puppet->env);
}

static const struct env_stream_handler handler = {.connected = connected, .readable = readable, .closed = closed};

static struct puppet_conn *conn_new(struct puppet *p, bool ours)
{
    CHECK(p->n < PUPPET_CONNS);
    struct puppet_conn *c = &p->conns[p->n++];
    *c = (struct puppet_conn){.puppet = p, .ours = ours, .at = sim_now(sim_host_sim(p->host))};
    buf_init(&c->in, 2 * FRAME_MOST);
    buf_init(&c->first, FRAME_MOST);
    return c;
}

static void accepted(void *owner, struct env_socket *socket)
{
    struct puppet *p = owner;
    struct puppet_conn *c = conn_new(p, false);
    int rv = env_attach(p->env, socket, &handler, c, &c->stream);
    CHECK(rv == 0);
    env_stream_pause(c->stream, p->paused);
}

static void obey(struct env_msg *msg)
{
    struct order *o = CONTAINER_OF(msg, struct order, msg);
    struct puppet_conn *c = o->conn;
    if (o->target.host[0]) {
        int rv = env_connect(c->puppet->env, &o->target, &handler, c, &c->stream);
        CHECK(rv == 0);
        buf_free(&o->bytes);
    } else {
        say(c, &o->bytes);
    }
    mem_free(o);
}

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct puppet *p = arg;
    struct env_addr addr;
    struct errmsg em;
    (void)process;
    p->env = env;
    int rv = env_addr_parse(p->listen, 0, &addr, &em);
    rv = rv ? rv : env_listen(env, &addr, accepted, p, &p->listener, &em);
    CHECK(rv == 0);
}

static void stop(struct sim_process *process, void *arg)
{
    struct puppet *p = arg;
    env_listener_close(p->listener);
    for (size_t i = 0; i < p->n; i++) {
        if (p->conns[i].stream) {
            env_stream_close(p->conns[i].stream);
            p->conns[i].stream = NULL;
        }
    }
    p->env = NULL;
    sim_exit(process);
}

static const struct sim_program program = {start, stop, NULL};

struct puppet *puppet_new(struct sim_host *host, uint64_t id)
{
    struct puppet *p = mem_new(sizeof *p);
    p->host = host;
    p->id = id;
    p->welcome = (struct message_hello){.level = MESSAGE_LEVEL, .incarnation = 1};
    p->refusal = (struct message_refusal){.why = REFUSAL_OTHER, .text = "not today"};
    p->listen = "0.0.0.0:1";
    return p;
}

void puppet_free(struct puppet *p)
{
    for (size_t i = 0; i < p->n; i++) {
        buf_free(&p->conns[i].in);
        buf_free(&p->conns[i].first);
    }
    mem_free(p);
}

void puppet_start(struct puppet *p)
{
    sim_start(p->host, &program, p);
}

static struct order *order_new(struct puppet_conn *c)
{
    struct order *o = mem_new(sizeof *o);
    o->msg.run = obey;
    o->conn = c;
    buf_init(&o->bytes, 2 * FRAME_MOST);
    return o;
}

struct puppet_conn *puppet_call(struct puppet *p, const char *target, struct buf *first)
{
    struct puppet_conn *c = conn_new(p, true);
    struct order *o = order_new(c);
    int rv = env_addr_parse(target, 0, &o->target, NULL);
    CHECK(rv == 0);
    buf_move(&c->first, first);
    env_post(p->env, &o->msg);
    return c;
}

struct puppet_conn *puppet_hello(struct puppet *p, const char *target, const struct message_hello *hello)
{
    struct buf b;
    buf_init(&b, FRAME_MOST);
    message_hello_put(&b, MESSAGE_HELLO, hello);
    return puppet_call(p, target, &b);
}

void puppet_say(struct puppet_conn *c, struct buf *bytes)
{
    struct order *o = order_new(c);
    buf_move(&o->bytes, bytes);
    env_post(c->puppet->env, &o->msg);
}

struct puppet_conn *puppet_newest(struct puppet *p)
{
    for (size_t i = p->n; i > 0; i--) {
        if (!p->conns[i - 1].ours) {
            return &p->conns[i - 1];
        }
    }
    return NULL;
}

size_t puppet_taken(const struct puppet *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        n += !p->conns[i].ours;
    }
    return n;
}
