/* peers.c: see peers.h.
 *
 * Happy path, outgoing: connect, TLS if there is any, hello, welcome: up; frames are written as they come. Incoming: the first frame is a
 * hello; the owner admits it; what follows goes to the owner.
 *
 * Failure: a connection ends with a reason, which is kept for status and logged when it changes. One that does not come up within
 * CONNECT_S is given up. Incoming connections that are no members' are few at a time and have HELLO_S to say who they are. */
#include "raft/peers.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum {
    CONNECT_S = 1,    /* to be welcomed */
    HELLO_S = 5,      /* for a stranger to say hello */
    SILENCE_S = 3,    /* without an answer to a report */
    STRANGERS_MAX = 32,
    STRANGER_LOG_S = 10,
    PAUSE_MIN_MS = 20,
    PAUSE_MAX_MS = 500,
    INPUT_MAX = MESSAGE_HEAD + MESSAGE_MAX + (64 << 10),
    OUTPUT_MAX = 64 << 20,
};

struct conn {
    struct peers *peers;
    struct peer *peer;  /* NULL: a stranger */
    struct conn *next;  /* of the incoming ones */
    struct env_stream *stream;
    struct tls *tls;
    struct env_timer timer; /* gives up, reports that are not answered */
    struct buf input, wire;
    bool outgoing, greeted, up, dead;
    char from[300];
};

struct peer {
    struct peers *peers;
    uint64_t id;
    struct env_addr addr;
    struct conn *out;  /* NULL: waiting for the timer */
    struct conn *in;   /* its newest */
    struct env_timer again;
    unsigned failures; /* in a row */
    char trouble[ERRMSG_MAX];
    uint64_t logged_at;
};

struct peers {
    struct env *loop;
    const struct peers_handler *handler;
    void *owner;
    struct env_listener *listener;
    struct peers_tls tls;
    struct peer *list[PEERS_MAX];
    size_t n;
    struct conn *incoming;
    struct conn *dead; /* freed from a message of their own: the end may come from within their callbacks */
    struct env_msg bury_msg;
    bool bury_posted, closing;
    uint64_t stranger_at; /* when one was logged last */
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct peer *find(const struct peers *p, uint64_t id)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i]->id == id) {
            return p->list[i];
        }
    }
    return NULL;
}

/* ---- the end of a connection ---- */

static void conn_free(struct conn *c)
{
    env_timer_close(&c->timer);
    env_stream_close(c->stream);
    tls_free(c->tls);
    buf_free(&c->input);
    buf_free(&c->wire);
    mem_free(c);
}

static void bury(struct env_msg *msg)
{
    struct peers *p = CONTAINER_OF(msg, struct peers, bury_msg);
    p->bury_posted = false;
    while (p->dead) {
        struct conn *c = p->dead;
        p->dead = c->next;
        conn_free(c);
    }
    if (p->closing) {
        void (*closed)(void *arg) = p->closed;
        void *arg = p->closed_arg;
        mem_free(p);
        closed(arg);
    }
}

static void bury_later(struct peers *p)
{
    if (!p->bury_posted) {
        p->bury_posted = true;
        p->bury_msg.run = bury;
        env_post(p->loop, &p->bury_msg);
    }
}

static void unlink_incoming(struct peers *p, const struct conn *c)
{
    for (struct conn **at = &p->incoming; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            return;
        }
    }
}

/* Nothing of it is called any more; the peer forgets it. */
static void conn_drop(struct conn *c)
{
    struct peers *p = c->peers;
    if (c->dead) {
        return;
    }
    c->dead = true;
    env_timer_stop(&c->timer);
    if (!c->outgoing) {
        unlink_incoming(p, c);
    }
    if (c->peer && c->peer->out == c) {
        c->peer->out = NULL;
    }
    if (c->peer && c->peer->in == c) {
        c->peer->in = NULL;
    }
    c->next = p->dead;
    p->dead = c;
    bury_later(p);
}

/* ---- outgoing: failures and pauses ---- */

static void connect_now(struct peer *peer);

static void note_trouble(struct peer *peer, const char *why)
{
    struct env *loop = peer->peers->loop;
    bool news = strcmp(peer->trouble, why) != 0;
    snprintf(peer->trouble, sizeof peer->trouble, "%s", why);
    if (news || env_now(loop) - peer->logged_at > 60 * ENV_S) {
        char address[300];
        env_addr_format(&peer->addr, address, sizeof address);
        peer->logged_at = env_now(loop);
        env_log(loop, ENV_WARN, "peers: no connection to node %llu at %s: %s", (unsigned long long)peer->id, address, why);
    }
}

static void try_later(struct peer *peer)
{
    uint32_t jitter;
    uint64_t pause = PAUSE_MIN_MS;
    for (unsigned i = 1; i < peer->failures && pause < PAUSE_MAX_MS; i++) {
        pause *= 2;
    }
    pause = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
    env_random(peer->peers->loop, &jitter, sizeof jitter);
    env_timer_start(&peer->again, pause * ENV_MS / 2 + jitter % (pause * ENV_MS / 2 + 1));
}

/* A connection that was up and broke is made anew at once; the next attempts have pauses. */
static void out_ended(struct conn *c, int code, const char *why)
{
    struct peer *peer = c->peer;
    struct peers *p = c->peers;
    bool was_up = c->up;
    conn_drop(c);
    note_trouble(peer, why);
    peer->failures = was_up ? 0 : peer->failures + 1;
    if (was_up) {
        connect_now(peer);
        return;
    }
    try_later(peer);
    if (!peer->in && code == E_REFUSED) {
        p->handler->gone(p->owner, peer->id);
    }
}

static void conn_end(struct conn *c, int code, const char *why)
{
    if (c->dead) {
        return;
    }
    if (c->outgoing) {
        out_ended(c, code, why);
        return;
    }
    struct peer *peer = c->peer;
    bool lone = peer && peer->in == c;
    uint64_t now = env_now(c->peers->loop);
    bool quiet = !peer && c->peers->stranger_at && now - c->peers->stranger_at < STRANGER_LOG_S * ENV_S;
    if (!quiet && (!peer || code != E_CLOSED)) {
        c->peers->stranger_at = peer ? c->peers->stranger_at : now;
        env_log(c->peers->loop, peer ? ENV_INFO : ENV_WARN, "peers: the connection from %s ends: %s", c->from, why);
    }
    conn_drop(c);
    if (lone && !peer->out && !c->peers->closing) { /* perhaps it has ended: the next attempt tells, and comes soon */
        peer->failures = 0;
        env_timer_stop(&peer->again);
        connect_now(peer);
    }
}

/* ---- bytes ---- */

static void send_wire(struct conn *c)
{
    if (c->wire.len && !c->dead) {
        env_stream_write(c->stream, &c->wire);
    }
}

static bool conn_write(struct conn *c, struct buf *frames)
{
    struct errmsg em;
    if (frames->err) {
        return false;
    }
    if (!c->tls) {
        env_stream_write(c->stream, frames);
        return true;
    }
    int rv = tls_write(c->tls, frames->data, frames->len, &c->wire, &em);
    buf_reset(frames);
    if (rv) {
        conn_end(c, rv, em.text);
        return false;
    }
    send_wire(c);
    return true;
}

static void say_hello(struct conn *c, enum message_kind kind, uint64_t to)
{
    struct message_hello hello = {0};
    struct buf b;
    buf_init(&b, OUTPUT_MAX);
    c->peers->handler->hello(c->peers->owner, to, &hello);
    message_hello_put(&b, kind, &hello);
    conn_write(c, &b);
    buf_free(&b);
}

static void say_refusal(struct conn *c, const struct message_refusal *why)
{
    struct buf b;
    buf_init(&b, OUTPUT_MAX);
    message_refusal_put(&b, why);
    conn_write(c, &b);
    buf_free(&b);
}

/* ---- frames ---- */

static void on_alive(struct conn *c)
{
    env_timer_start(&c->timer, SILENCE_S * ENV_S);
}

static void on_welcome(struct conn *c, enum message_kind kind, struct cur *body)
{
    struct peer *peer = c->peer;
    struct peers *p = c->peers;
    struct message_hello hello;
    struct message_refusal refusal;
    if (kind == MESSAGE_REFUSAL && !message_refusal_get(body, &refusal)) {
        char why[ERRMSG_MAX];
        snprintf(why, sizeof why, "it refuses us: %s", refusal.text);
        p->handler->refused(p->owner, peer->id, &refusal);
        conn_end(c, E_DENIED, why);
        return;
    }
    if (kind != MESSAGE_WELCOME || message_hello_get(body, &hello)) {
        conn_end(c, E_MALFORMED, "it answers with something else than a welcome");
        return;
    }
    if (hello.from != peer->id) {
        conn_end(c, E_INVALID, "another member answers at this address; is the configuration right?");
        return;
    }
    if (!p->handler->welcomed(p->owner, peer->id, &hello, &refusal)) {
        conn_end(c, E_DENIED, refusal.text);
        return;
    }
    c->greeted = c->up = true;
    peer->failures = 0;
    if (peer->trouble[0]) {
        peer->trouble[0] = 0;
        env_log(p->loop, ENV_INFO, "peers: connected to node %llu", (unsigned long long)peer->id);
    }
    on_alive(c);
    p->handler->up(p->owner, peer->id);
}

static void on_join(struct conn *c, struct cur *body)
{
    struct buf b;
    buf_init(&b, OUTPUT_MAX);
    c->peers->handler->join(c->peers->owner, body, &b);
    conn_write(c, &b);
    buf_free(&b);
    conn_drop(c);
}

static void on_hello(struct conn *c, enum message_kind kind, struct cur *body)
{
    struct peers *p = c->peers;
    struct message_hello hello;
    struct message_refusal why = {.why = REFUSAL_OTHER};
    if (kind == MESSAGE_JOIN && p->handler->join) {
        on_join(c, body);
        return;
    }
    if (kind != MESSAGE_HELLO || message_hello_get(body, &hello)) {
        conn_end(c, E_MALFORMED, "it does not begin with a hello");
        return;
    }
    bool admitted = p->handler->admit(p->owner, &hello, &why);
    struct peer *peer = find(p, hello.from);
    if (admitted && !peer) { /* addresses come from members, too */
        snprintf(why.text, sizeof why.text, "the address that the cluster has of node %llu cannot be read", (unsigned long long)hello.from);
    }
    if (!admitted || !peer) {
        say_refusal(c, &why);
        conn_end(c, E_DENIED, why.text);
        return;
    }
    if (peer->in) { /* it knows best which one lives */
        conn_drop(peer->in);
    }
    c->greeted = c->up = true;
    c->peer = peer;
    peer->in = c;
    env_timer_start(&c->timer, 2 * SILENCE_S * ENV_S);
    say_hello(c, MESSAGE_WELCOME, hello.from);
    if (!peer->out) { /* it lives: no pause any more */
        peer->failures = 0;
        env_timer_stop(&peer->again);
        connect_now(peer);
    }
}

static void on_frame(struct conn *c, enum message_kind kind, struct cur *body)
{
    if (!c->greeted) {
        if (c->outgoing) {
            on_welcome(c, kind, body);
        } else {
            on_hello(c, kind, body);
        }
        return;
    }
    if (c->outgoing) { /* it only says that it lives */
        if (kind == MESSAGE_ALIVE) {
            on_alive(c);
        } else {
            conn_end(c, E_MALFORMED, "it speaks out of turn");
        }
        return;
    }
    env_timer_start(&c->timer, 2 * SILENCE_S * ENV_S);
    if (kind == MESSAGE_REPORT) {
        struct buf b;
        buf_init(&b, OUTPUT_MAX);
        message_begin(&b, MESSAGE_ALIVE);
        message_end(&b, 0);
        conn_write(c, &b);
        buf_free(&b);
    }
    if (!c->dead) {
        c->peers->handler->message(c->peers->owner, c->peer->id, kind, body);
    }
}

static void take_frames(struct conn *c)
{
    size_t at = 0;
    while (!c->dead) {
        enum message_kind kind;
        struct cur body;
        struct errmsg em;
        size_t used = 0;
        int rv = message_next(c->input.data + at, c->input.len - at, &kind, &body, &used, &em);
        if (rv < 0) {
            conn_end(c, rv, em.text);
            return;
        }
        if (rv == 0) {
            break;
        }
        at += used;
        on_frame(c, kind, &body);
    }
    if (!c->dead) {
        buf_consume(&c->input, at);
    }
}

/* ---- streams ---- */

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct conn *c = owner;
    struct errmsg em;
    int rv = 0;
    if (c->dead) {
        return;
    }
    if (c->tls) {
        bool was_ready = tls_ready(c->tls);
        rv = tls_feed(c->tls, data, n, &c->input, &c->wire, &em);
        send_wire(c);
        if (!rv && !was_ready && tls_ready(c->tls) && c->outgoing) {
            say_hello(c, MESSAGE_HELLO, c->peer->id);
        }
    } else {
        buf_bytes(&c->input, data, n);
        rv = c->input.err ? err_set(&em, c->input.err, "it sends more than one message may have") : 0;
    }
    if (rv) {
        conn_end(c, rv, em.text);
        return;
    }
    take_frames(c);
}

static void ended(void *owner, int code, const char *why)
{
    struct conn *c = owner;
    conn_end(c, code, why);
}

static void connected(void *owner)
{
    struct conn *c = owner;
    struct peers *p = c->peers;
    if (c->dead) {
        return;
    }
    if (!p->tls.client) {
        say_hello(c, MESSAGE_HELLO, c->peer->id);
        return;
    }
    struct errmsg em;
    c->tls = tls_client_new(p->tls.client, c->peer->addr.host, &em);
    int rv = c->tls ? tls_feed(c->tls, NULL, 0, &c->input, &c->wire, &em) : E_TLS;
    if (rv) {
        conn_end(c, rv, em.text);
        return;
    }
    send_wire(c);
}

static void timed_out(struct env_timer *timer)
{
    struct conn *c = CONTAINER_OF(timer, struct conn, timer);
    conn_end(c, E_TIMEOUT, c->up ? "nothing was heard for some seconds" : "it does not answer in time");
}

static const struct env_stream_handler stream_handler = {.connected = connected, .readable = readable, .closed = ended};

static struct conn *conn_new(struct peers *p, struct peer *peer, unsigned seconds)
{
    struct conn *c = mem_new(sizeof *c);
    c->peers = p;
    c->peer = peer;
    c->outgoing = peer != NULL;
    buf_init(&c->input, INPUT_MAX);
    buf_init(&c->wire, OUTPUT_MAX);
    if (env_timer_open(p->loop, &c->timer, timed_out)) {
        mem_free(c);
        return NULL;
    }
    env_timer_start(&c->timer, seconds * ENV_S);
    return c;
}

static void conn_abandon(struct conn *c) /* before it had a stream */
{
    env_timer_close(&c->timer);
    mem_free(c);
}

static void connect_now(struct peer *peer)
{
    struct peers *p = peer->peers;
    if (p->closing || peer->out) {
        return;
    }
    struct conn *c = conn_new(p, peer, CONNECT_S);
    if (!c || env_connect(p->loop, &peer->addr, &stream_handler, c, &c->stream)) {
        if (c) {
            conn_abandon(c);
        }
        peer->failures++;
        note_trouble(peer, "no connection can be begun");
        try_later(peer);
        return;
    }
    peer->out = c;
}

static void retry(struct env_timer *timer)
{
    connect_now(CONTAINER_OF(timer, struct peer, again));
}

static void accepted(void *owner, struct env_socket *socket)
{
    struct peers *p = owner;
    size_t strangers = 0;
    for (struct conn *c = p->incoming; c; c = c->next) {
        strangers += c->peer == NULL;
    }
    struct conn *c = strangers < STRANGERS_MAX && !p->closing ? conn_new(p, NULL, HELLO_S) : NULL;
    struct errmsg em;
    if (!c) {
        env_socket_close(socket);
        return;
    }
    snprintf(c->from, sizeof c->from, "%s", env_socket_peer(socket)->text);
    c->tls = p->tls.server ? tls_server_new(p->tls.server, &em) : NULL;
    if (p->tls.server && !c->tls) {
        env_log(p->loop, ENV_ERROR, "peers: no TLS for the connection from %s: %s", c->from, em.text);
        env_socket_close(socket);
        conn_abandon(c);
        return;
    }
    if (env_attach(p->loop, socket, &stream_handler, c, &c->stream)) {
        tls_free(c->tls);
        conn_abandon(c);
        return;
    }
    c->next = p->incoming;
    p->incoming = c;
}

/* ---- what the owner calls ---- */

int peers_open(struct env *loop, const struct env_addr *listen, const struct peers_tls *tls, const struct peers_handler *handler, void *owner,
               struct peers **out, struct errmsg *em)
{
    struct peers *p = mem_new(sizeof *p);
    p->loop = loop;
    p->handler = handler;
    p->owner = owner;
    int rv = env_listen(loop, listen, accepted, p, &p->listener, em);
    if (rv) {
        mem_free(p);
        return err_wrap(em, rv, "cannot listen for other members ([raft] listen)");
    }
    p->tls.server = tls->server ? tls_ctx_ref(tls->server) : NULL;
    p->tls.client = tls->client ? tls_ctx_ref(tls->client) : NULL;
    *out = p;
    return 0;
}

static void peer_end(struct peer *peer)
{
    if (peer->out) {
        conn_drop(peer->out);
    }
    if (peer->in) {
        conn_drop(peer->in);
    }
    env_timer_close(&peer->again);
    mem_free(peer);
}

void peers_close(struct peers *p, void (*closed)(void *arg), void *arg)
{
    p->closing = true;
    p->closed = closed;
    p->closed_arg = arg;
    env_listener_close(p->listener);
    for (size_t i = 0; i < p->n; i++) {
        peer_end(p->list[i]);
    }
    p->n = 0;
    while (p->incoming) {
        conn_drop(p->incoming);
    }
    tls_ctx_free(p->tls.server);
    tls_ctx_free(p->tls.client);
    bury_later(p); /* frees */
}

void peers_set(struct peers *p, uint64_t id, const char *address)
{
    struct peer *peer = find(p, id);
    struct env_addr addr;
    if (env_addr_parse(address, 0, &addr, NULL)) {
        return;
    }
    if (!peer) {
        CHECK(p->n < PEERS_MAX);
        peer = mem_new(sizeof *peer);
        peer->peers = p;
        peer->id = id;
        int rv = env_timer_open(p->loop, &peer->again, retry);
        CHECK(rv == 0);
        p->list[p->n++] = peer;
    } else if (!strcmp(peer->addr.host, addr.host) && peer->addr.port == addr.port) {
        return;
    }
    peer->addr = addr;
    peer->failures = 0;
    snprintf(peer->trouble, sizeof peer->trouble, "not connected yet");
    if (peer->out) {
        conn_drop(peer->out);
    }
    env_timer_start(&peer->again, 0);
}

void peers_remove(struct peers *p, uint64_t id)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i]->id == id) {
            peer_end(p->list[i]);
            p->list[i] = p->list[--p->n];
            return;
        }
    }
}

bool peers_up(const struct peers *p, uint64_t id)
{
    const struct peer *peer = find(p, id);
    return peer && peer->out && peer->out->up;
}

size_t peers_pending(const struct peers *p, uint64_t id)
{
    const struct peer *peer = find(p, id);
    return peer && peer->out && peer->out->up ? env_stream_pending(peer->out->stream) : PEERS_PENDING_MAX;
}

bool peers_send(struct peers *p, uint64_t id, struct buf *frames)
{
    struct peer *peer = find(p, id);
    return peer && peer->out && peer->out->up && conn_write(peer->out, frames);
}

const char *peers_trouble(const struct peers *p, uint64_t id)
{
    const struct peer *peer = find(p, id);
    return !peer ? "no member" : peer->out && peer->out->up ? "" : peer->trouble;
}
