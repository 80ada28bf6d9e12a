/* memory_net.c: see memory_net.h.
 *
 * A connection is shared by the peer and by whoever has its other end, first as a socket, then as a stream; the last one
 * frees it. Its messages are posted like all others, and hold it until they ran. */
#include "tests/fuzz/memory_net.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

enum { WAITING_MAX = 1 << 30, FIRES_MAX = 200 };

struct memory_timer {
    struct env_timer *timer;
    struct memory_timer *next;
    uint64_t due;
    bool runs;
};

struct env_listener {
    struct env_stream_head head;
    void (*accepted)(void *owner, struct env_socket *socket);
    void *owner;
};

struct env_socket {
    struct env_stream_head head;
    struct env_peer who;
    struct memory_peer *peer;
};

struct env_stream {
    struct env_stream_head head;
    struct memory_peer *peer;
    const struct env_stream_handler *handler;
    void *owner;
};

struct memory_peer {
    struct env *env; /* of the stream, once there is one */
    struct env_stream *stream;
    struct buf sent; /* by the peer, while nobody reads it */
    struct buf waits, got;
    bool reads, paused, closed, hung_up, wrote;
    unsigned refs;
    bool posted;
    struct env_msg msg;
};

static void unref(struct memory_peer *p)
{
    if (--p->refs == 0) {
        buf_free(&p->sent);
        buf_free(&p->waits);
        buf_free(&p->got);
        mem_free(p);
    }
}

/* ---- what happens on a connection ---------------------------------------------------------------------------- */

static void arrive(struct memory_peer *p)
{
    if (p->reads && p->waits.len) {
        buf_bytes(&p->got, p->waits.data, p->waits.len);
        buf_reset(&p->waits);
    }
}

/* One callback at a time: each may close the stream. */
static void happen(struct env_msg *msg)
{
    struct memory_peer *p = CONTAINER_OF(msg, struct memory_peer, msg);
    p->posted = false;
    arrive(p);
    if (p->stream && p->wrote && !p->waits.len) {
        p->wrote = false;
        if (p->stream->handler->drained) {
            p->stream->handler->drained(p->stream->owner);
        }
    }
    while (p->stream && !p->paused && p->sent.len) {
        struct buf now;
        buf_init(&now, p->sent.max);
        buf_move(&now, &p->sent);
        p->stream->handler->readable(p->stream->owner, now.data, now.len);
        buf_free(&now);
    }
    if (p->stream && p->hung_up && !p->paused) {
        p->hung_up = false;
        p->stream->handler->closed(p->stream->owner, E_CLOSED, "the peer closed the connection");
    }
    unref(p);
}

static void soon(struct memory_peer *p)
{
    if (!p->posted && p->env) {
        p->posted = true;
        p->refs++;
        p->msg.run = happen;
        env_post(p->env, &p->msg);
    }
}

/* ---- the peer ------------------------------------------------------------------------------------------------ */

struct memory_peer *memory_dial(struct env *env, const struct env_peer *who)
{
    struct env_listener *listener = memory_env_net(env)->listener;
    struct memory_peer *p = mem_new(sizeof *p);
    struct env_socket *socket = mem_new(sizeof *socket);
    CHECK(listener);
    buf_init(&p->sent, WAITING_MAX);
    buf_init(&p->waits, WAITING_MAX);
    buf_init(&p->got, WAITING_MAX);
    p->refs = 2;
    p->reads = true;
    *socket = (struct env_socket){.head = {listener->head.env}, .who = *who, .peer = p};
    listener->accepted(listener->owner, socket);
    return p;
}

void memory_peer_free(struct memory_peer *p)
{
    p->hung_up = true;
    soon(p);
    unref(p);
}

void memory_peer_send(struct memory_peer *p, const void *data, size_t n)
{
    buf_bytes(&p->sent, data, n);
    soon(p);
}

void memory_peer_reads(struct memory_peer *p, bool reads)
{
    p->reads = reads;
    soon(p);
}

bool memory_peer_closed(const struct memory_peer *p)
{
    return p->closed;
}

size_t memory_peer_waits(const struct memory_peer *p)
{
    return p->waits.len;
}

struct buf *memory_peer_got(struct memory_peer *p)
{
    arrive(p);
    return &p->got;
}

/* ---- the table: streams -------------------------------------------------------------------------------------- */

int memory_listen(struct env *env, const struct env_addr *addr, void (*accepted)(void *owner, struct env_socket *socket),
                  void *owner, struct env_listener **listener, struct errmsg *em)
{
    (void)addr;
    (void)em;
    *listener = mem_new(sizeof **listener);
    **listener = (struct env_listener){.head = {env}, .accepted = accepted, .owner = owner};
    memory_env_net(env)->listener = *listener;
    return 0;
}

void memory_listener_close(struct env_listener *listener)
{
    memory_env_net(listener->head.env)->listener = NULL;
    mem_free(listener);
}

int memory_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler, void *owner,
                  struct env_stream **stream)
{
    struct memory_peer *p = socket->peer;
    *stream = mem_new(sizeof **stream);
    **stream = (struct env_stream){.head = {env}, .peer = p, .handler = handler, .owner = owner};
    p->env = env;
    p->stream = *stream;
    mem_free(socket);
    soon(p);
    return 0;
}

void memory_socket_close(struct env_socket *socket)
{
    socket->peer->closed = true;
    unref(socket->peer);
    mem_free(socket);
}

const struct env_peer *memory_socket_peer(struct env_socket *socket)
{
    return &socket->who;
}

void memory_stream_write(struct env_stream *stream, struct buf *data)
{
    struct memory_peer *p = stream->peer;
    CHECK(!data->err);
    buf_bytes(&p->waits, data->data, data->len);
    buf_reset(data);
    p->wrote = true;
    soon(p);
}

size_t memory_stream_pending(struct env_stream *stream)
{
    arrive(stream->peer);
    return stream->peer->waits.len;
}

void memory_stream_pause(struct env_stream *stream, bool paused)
{
    stream->peer->paused = paused;
    soon(stream->peer);
}

void memory_stream_close(struct env_stream *stream)
{
    struct memory_peer *p = stream->peer;
    p->stream = NULL;
    p->env = NULL;
    p->closed = true;
    mem_free(stream);
    unref(p);
}

/* ---- the table: timers --------------------------------------------------------------------------------------- */

int memory_timer_open(struct env_timer *timer)
{
    struct memory_net *net = memory_env_net(timer->env);
    struct memory_timer *t = mem_new(sizeof *t);
    t->timer = timer;
    t->next = net->timers;
    net->timers = t;
    timer->impl = t;
    return 0;
}

void memory_timer_start(struct env_timer *timer, uint64_t ns)
{
    struct memory_timer *t = timer->impl;
    t->due = memory_env_net(timer->env)->later + ns;
    t->runs = true;
}

void memory_timer_stop(struct env_timer *timer)
{
    ((struct memory_timer *)timer->impl)->runs = false;
}

void memory_timer_close(struct env_timer *timer)
{
    struct memory_timer **at = &memory_env_net(timer->env)->timers;
    while (*at != timer->impl) {
        CHECK(*at);
        at = &(*at)->next;
    }
    struct memory_timer *gone = *at;
    *at = gone->next;
    mem_free(gone);
}

static struct memory_timer *first_due(const struct memory_net *net, uint64_t until)
{
    struct memory_timer *first = NULL;
    for (struct memory_timer *t = net->timers; t; t = t->next) {
        if (t->runs && t->due <= until && (!first || t->due < first->due)) {
            first = t;
        }
    }
    return first;
}

void memory_pass(struct env *env, uint64_t ns)
{
    struct memory_net *net = memory_env_net(env);
    uint64_t until = net->later + ns;
    struct memory_timer *t;
    for (int i = 0; i < FIRES_MAX && (t = first_due(net, until)); i++) {
        net->later = t->due > net->later ? t->due : net->later;
        t->runs = false;
        t->timer->fired(t->timer);
    }
    net->later = until;
}
