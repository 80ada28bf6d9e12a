/* env_uv_connect.c: from an address to a connected link.
 *
 * Happy path: a path or a numeric address at once, a name through libuv's threads; then each address that it
 * has is tried in turn, CONNECT_MS each, and the first that answers is it.
 *
 * Failure: closed() with the reason of the last address that was tried. A stream that is closed meanwhile
 * leaves the resolution behind, which frees itself when it ends. */
#include "node/env_uv_stream.h"
#include "protocol/base/mem.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum { CONNECT_MS = 10000, ADDR_TEXT_BYTES = 300 };

struct connecting {
    uv_getaddrinfo_t req;
    struct env_stream *stream; /* NULL: called off */
    bool resolving;
    struct env_addr addr;
    struct addrinfo *list;
    struct addrinfo *next;
    int error; /* of the last address: libuv's code */
};

static void connecting_free(struct connecting *c)
{
    if (c->list) {
        freeaddrinfo(c->list);
    }
    mem_free(c);
}

void connect_end(struct env_stream *stream)
{
    struct connecting *c = stream->connecting;
    if (!c) {
        return;
    }
    stream->connecting = NULL;
    c->stream = NULL;
    if (c->resolving) {
        uv_cancel((uv_req_t *)&c->req); /* its callback comes in any case */
    } else {
        connecting_free(c);
    }
}

/* ---- trying ---------------------------------------------------------------------------------- */

static void try_next(struct env_stream *stream);

static void connect_arrived(uv_connect_t *req, int status)
{
    struct link *link = CONTAINER_OF(req, struct link, connect);
    if (link->stream) {
        connect_done(link, status);
    }
}

static void connect_late(uv_timer_t *timer)
{
    connect_done(timer->data, UV_ETIMEDOUT);
}

void connect_done(struct link *link, int status)
{
    struct env_stream *stream = link->stream;
    uv_timer_stop(&link->timer);
    if (stream->state != STREAM_CONNECTING) { /* fails already */
        return;
    }
    if (status < 0) {
        stream->connecting->error = status;
        link_close(link);
        stream->link = NULL;
        try_next(stream);
        return;
    }
    if (!stream->connecting->addr.is_path) {
        socket_tune(link_fd(link));
    }
    connect_end(stream);
    stream_connected(stream);
}

static void none_left(struct env_stream *stream)
{
    struct connecting *c = stream->connecting;
    char text[ADDR_TEXT_BYTES];
    env_addr_format(&c->addr, text, sizeof text);
    stream_fail_later(stream, err_errno(&stream->why, -c->error, "cannot connect to %s", text));
}

static void limit_start(struct link *link)
{
    uv_update_time(&link->loop->uv);
    uv_timer_start(&link->timer, connect_late, CONNECT_MS, 0);
}

static void try_next(struct env_stream *stream)
{
    struct connecting *c = stream->connecting;
    while (c->next) {
        struct link *link = link_new(stream, false);
        int rv = uv_tcp_connect(&link->connect, &link->h.tcp, c->next->ai_addr, connect_arrived);
        c->next = c->next->ai_next;
        if (rv == 0) {
            stream->link = link;
            limit_start(link);
            return;
        }
        c->error = rv;
        link_close(link);
    }
    none_left(stream);
}

static void try_path(struct env_stream *stream)
{
    stream->link = link_new(stream, true);
    limit_start(stream->link);
    uv_pipe_connect(&stream->link->connect, &stream->link->h.pipe, stream->connecting->addr.host,
                    connect_arrived);
}

/* ---- resolving ------------------------------------------------------------------------------- */

static void resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct connecting *c = CONTAINER_OF(req, struct connecting, req);
    c->resolving = false;
    c->list = list;
    c->next = list;
    if (!c->stream) {
        connecting_free(c);
    } else if (status < 0) {
        struct errmsg em;
        (void)err_set(&em, E_NOTFOUND, "cannot resolve host '%s': %s", c->addr.host, uv_strerror(status));
        stream_failed(c->stream, E_NOTFOUND, em.text);
    } else {
        try_next(c->stream);
    }
}

int connect_start(struct env_stream *stream, const struct env_addr *addr)
{
    struct sockaddr_un un;
    if (addr->host[0] == 0 || (addr->is_path && strlen(addr->host) >= sizeof un.sun_path)) {
        return E_INVALID;
    }
    struct connecting *c = mem_new(sizeof *c);
    c->stream = stream;
    c->addr = *addr;
    c->error = UV_EADDRNOTAVAIL;
    stream->connecting = c;
    if (addr->is_path) {
        try_path(stream);
        return 0;
    }
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)addr->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST};
    if (getaddrinfo(addr->host, port, &hints, &c->list) == 0) { /* numeric: does not block */
        c->next = c->list;
        try_next(stream);
        return 0;
    }
    c->list = NULL;
    hints.ai_flags = AI_NUMERICSERV;
    int rv = uv_getaddrinfo(&stream->loop->uv, &c->req, resolved, addr->host, port, &hints);
    if (rv < 0) { /* no memory, or a name that cannot be one */
        (void)err_set(&stream->why, E_NOTFOUND, "cannot resolve host '%s': %s", addr->host, uv_strerror(rv));
        stream_fail_later(stream, E_NOTFOUND);
        return 0;
    }
    c->resolving = true;
    return 0;
}
