/* env_uv_stream.c: streams: the states between the owner and the link.
 *
 * Happy path: attach, or connect until connected(); readable() until closed(); writes at any time in between;
 * the owner closes. The stream belongs to its owner until stream_close, which frees it, inside any callback
 * too: nothing here touches a stream after it called its owner.
 *
 * Failure: closed() comes once, never inside a call of the owner (then it waits for the next turn), and
 * nothing comes after it. The owner still has to close. */
#include "node/env_uv_stream.h"
#include "protocol/base/mem.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer that is gone without a word: while nothing is under way probes find it, else the bytes that nobody confirms (a
 * peer that is there and does not read confirms the probes of its window). */
enum { KEEPALIVE_IDLE_S = 30, KEEPALIVE_INTERVAL_S = 10, KEEPALIVE_PROBES = 3, UNCONFIRMED_MS = 60000 };

void socket_tune(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNCONFIRMED_MS},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        (void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
    }
}

/* ---- from the link to the owner -------------------------------------------------------------- */

void stream_readable(struct env_stream *stream, const uint8_t *data, size_t n)
{
    stream->handler->readable(stream->owner, data, n);
}

void stream_drained(struct env_stream *stream)
{
    if (stream->want_drained) {
        stream->want_drained = false;
        stream->handler->drained(stream->owner);
    }
}

void stream_connected(struct env_stream *stream)
{
    stream->state = STREAM_OPEN;
    int rv = stream->paused ? 0 : link_read(stream->link, true);
    if (rv) {
        struct errmsg em;
        int code = err_errno(&em, -rv, "cannot read");
        stream_failed(stream, code, em.text);
        return;
    }
    stream->handler->connected(stream->owner);
}

void stream_failed(struct env_stream *stream, int code, const char *why)
{
    stream->state = STREAM_FAILED;
    loop_later_cancel(stream->loop, &stream->later);
    connect_end(stream);
    if (stream->link) {
        link_close(stream->link);
        stream->link = NULL;
    }
    stream->handler->closed(stream->owner, code, why);
}

static void later_arrived(struct loop_later *later)
{
    struct env_stream *stream = CONTAINER_OF(later, struct env_stream, later);
    if (stream->state == STREAM_FAILING) {
        struct errmsg why = stream->why; /* the owner may free the stream that it reads the reason of */
        stream_failed(stream, stream->fail_code, why.text);
    } else if (link_pending(stream->link) == 0) {
        stream_drained(stream);
    }
}

void stream_fail_later(struct env_stream *stream, int code)
{
    if (stream->state == STREAM_CONNECTING || stream->state == STREAM_OPEN) {
        stream->state = STREAM_FAILING;
        stream->fail_code = code;
        loop_later(stream->loop, &stream->later, later_arrived);
    }
}

/* ---- from the owner -------------------------------------------------------------------------- */

static struct env_stream *stream_new(struct env *env, const struct env_stream_handler *handler, void *owner)
{
    struct env_stream *stream = mem_new(sizeof *stream);
    stream->head.env = env;
    stream->loop = loop_of(env);
    stream->handler = handler;
    stream->owner = owner;
    stream->loop->open++;
    return stream;
}

static void stream_free(struct env_stream *stream)
{
    stream->loop->open--;
    mem_free(stream);
}

int stream_connect(struct env *env, const struct env_addr *addr, const struct env_stream_handler *handler,
                   void *owner, struct env_stream **stream)
{
    loop_check(loop_of(env));
    *stream = NULL;
    struct env_stream *s = stream_new(env, handler, owner);
    s->state = STREAM_CONNECTING;
    int rv = connect_start(s, addr);
    if (rv) {
        stream_free(s);
        return rv;
    }
    *stream = s;
    return 0;
}

int stream_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler,
                  void *owner, struct env_stream **stream)
{
    loop_check(loop_of(env));
    struct env_stream *s = stream_new(env, handler, owner);
    s->state = STREAM_OPEN;
    s->link = link_new(s, socket->is_path);
    int rv = socket->is_path ? uv_pipe_open(&s->link->h.pipe, socket->fd)
                             : uv_tcp_open(&s->link->h.tcp, socket->fd);
    if (rv == 0) {
        socket->fd = -1; /* the link's */
        rv = link_read(s->link, true);
    }
    socket_close(socket);
    *stream = s;
    if (rv) {
        link_close(s->link);
        stream_free(s);
        *stream = NULL;
        return err_errno(NULL, -rv, "attach");
    }
    return 0;
}

void stream_write(struct env_stream *stream, struct buf *data)
{
    loop_check(stream->loop);
    CHECK(stream->state != STREAM_CONNECTING);
    if (data->err) { /* a message that could not be built: what follows would not be understood */
        (void)err_set(&stream->why, data->err, "cannot write: the message is %s", err_text(data->err));
        stream_fail_later(stream, data->err);
    }
    if (stream->state != STREAM_OPEN || data->len == 0) {
        buf_reset(data);
        return;
    }
    bool left = false;
    int rv = link_write(stream->link, data, &left);
    if (rv < 0) {
        stream_fail_later(stream, err_errno(&stream->why, -rv, "cannot write"));
    } else if (stream->handler->drained) {
        stream->want_drained = true;
        if (left) {
            loop_later(stream->loop, &stream->later, later_arrived);
        }
    }
}

size_t stream_pending(struct env_stream *stream)
{
    loop_check(stream->loop);
    return stream->link ? link_pending(stream->link) : 0;
}

void stream_pause(struct env_stream *stream, bool paused)
{
    loop_check(stream->loop);
    stream->paused = paused;
    if (stream->state == STREAM_OPEN) {
        int rv = link_read(stream->link, !paused);
        if (rv) {
            stream_fail_later(stream, err_errno(&stream->why, -rv, "cannot read"));
        }
    }
}

void stream_close(struct env_stream *stream)
{
    loop_check(stream->loop);
    loop_later_cancel(stream->loop, &stream->later);
    connect_end(stream);
    if (stream->link && stream->state == STREAM_OPEN) {
        link_linger(stream->link);
    } else if (stream->link) {
        link_close(stream->link);
    }
    stream_free(stream);
}
