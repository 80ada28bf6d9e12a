/* env_uv_link.c: a socket in the loop: reads, the queue of writes, the slow goodbye.
 *
 * Reading goes through one buffer per loop; who is told of bytes has used or copied them when the callback
 * returns. Writing: straight to the kernel when nothing waits; what it does not take keeps the memory it came
 * in and waits in a list. One request at a time is with libuv; when it is done, what came meanwhile goes into
 * the next one, many pieces in one system call.
 *
 * Lingering: a socket closed with unread bytes in it resets the connection, and the peer may lose what we
 * wrote last (an error packet, say). So after the last byte only our half is closed, and what still comes is
 * thrown away until the peer closes, for a second at most.
 *
 * Failure: any error while lingering ends it; before, the stream is told. */
#include "node/env_uv_stream.h"
#include "protocol/base/mem.h"

#include <sys/socket.h>

enum { LINGER_MS = 1000, CHUNKS_AT_ONCE = 32 };

struct chunk {
    STAILQ_ENTRY(chunk) link;
    struct buf data;
    size_t at; /* what is before has left */
};

static void chunks_free(struct chunk_list *list)
{
    struct chunk *c;
    while ((c = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, link);
        buf_free(&c->data);
        mem_free(c);
    }
}

struct link *link_new(struct env_stream *stream, bool is_path)
{
    struct link *link = mem_new(sizeof *link);
    link->loop = stream->loop;
    link->stream = stream;
    link->handles = 2;
    STAILQ_INIT(&link->flying);
    STAILQ_INIT(&link->queue);
    if (is_path) {
        CHECK(uv_pipe_init(&link->loop->uv, &link->h.pipe, 0) == 0);
    } else {
        CHECK(uv_tcp_init(&link->loop->uv, &link->h.tcp) == 0); /* makes no socket yet */
    }
    uv_timer_init(&link->loop->uv, &link->timer);
    link->h.any.data = link;
    link->timer.data = link;
    return link;
}

static void handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    if (--link->handles == 0) {
        chunks_free(&link->flying);
        chunks_free(&link->queue);
        mem_free(link);
    }
}

void link_close(struct link *link)
{
    link->stream = NULL;
    if (!link->closing) {
        link->closing = true;
        uv_close(&link->h.any, handle_closed); /* requests under way end with UV_ECANCELED */
        uv_close((uv_handle_t *)&link->timer, handle_closed);
    }
}

int link_fd(const struct link *link)
{
    uv_os_fd_t fd;
    return uv_fileno(&link->h.any, &fd) ? -1 : fd;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    const struct link *link = handle->data;
    (void)suggested;
    *buf = uv_buf_init((char *)link->loop->read_buf, LOOP_READ_BYTES);
}

static void linger_read(struct link *link, ssize_t n)
{
    if (n >= 0) {
        return;
    }
    link->eof = true;
    uv_read_stop(&link->h.stream);
    if (n != UV_EOF || link_pending(link) == 0) {
        link_close(link);
    }
}

static void bytes_came(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
    struct link *link = handle->data;
    struct env_stream *stream = link->stream;
    loop_awake(link->loop);
    if (!stream) {
        if (!link->closing) {
            linger_read(link, n);
        }
    } else if (n > 0) {
        stream_readable(stream, (const uint8_t *)buf->base, (size_t)n);
    } else if (n == UV_EOF) {
        stream_failed(stream, E_CLOSED, "the peer closed the connection");
    } else if (n < 0) {
        struct errmsg em;
        int code = err_errno(&em, (int)-n, "cannot read");
        stream_failed(stream, code, em.text);
    }
}

int link_read(struct link *link, bool on)
{
    if (!on) {
        uv_read_stop(&link->h.stream);
        return 0;
    }
    int rv = uv_read_start(&link->h.stream, lend_buffer, bytes_came);
    return rv == UV_EALREADY ? 0 : rv;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t link_pending(const struct link *link)
{
    return link->queued + uv_stream_get_write_queue_size(&link->h.stream);
}

static void all_left(struct link *link);
static void write_done(uv_write_t *req, int status);

/* Hands the head of the queue to libuv. */
static int write_next(struct link *link)
{
    uv_buf_t bufs[CHUNKS_AT_ONCE];
    unsigned n = 0;
    struct chunk *c;
    while (n < CHUNKS_AT_ONCE && (c = STAILQ_FIRST(&link->queue))) {
        STAILQ_REMOVE_HEAD(&link->queue, link);
        STAILQ_INSERT_TAIL(&link->flying, c, link);
        bufs[n].base = (char *)c->data.data + c->at;
        bufs[n].len = c->data.len - c->at;
        link->queued -= bufs[n].len;
        n++;
    }
    int rv = uv_write(&link->write, &link->h.stream, bufs, n, write_done);
    link->writing = rv == 0;
    return rv;
}

static void write_failed(struct link *link, int status)
{
    struct errmsg em;
    int code = err_errno(&em, -status, "cannot write");
    if (link->stream) {
        stream_failed(link->stream, code, em.text);
    } else {
        link_close(link);
    }
}

static void write_done(uv_write_t *req, int status)
{
    struct link *link = CONTAINER_OF(req, struct link, write);
    link->writing = false;
    chunks_free(&link->flying);
    if (link->closing) {
        return;
    }
    if (status == 0 && !STAILQ_EMPTY(&link->queue)) {
        status = write_next(link);
    }
    if (status < 0) {
        write_failed(link, status);
    } else if (!link->writing) {
        all_left(link);
    }
}

int link_write(struct link *link, struct buf *data, bool *left)
{
    size_t sent = 0;
    link->wrote = true;
    if (!link->writing) {
        uv_buf_t b = uv_buf_init((char *)data->data, 0);
        b.len = data->len; /* uv_buf_init takes an unsigned */
        int rv = uv_try_write(&link->h.stream, &b, 1);
        if (rv < 0 && rv != UV_EAGAIN) {
            buf_reset(data);
            return rv;
        }
        sent = rv < 0 ? 0 : (size_t)rv;
    }
    *left = sent == data->len;
    if (*left) {
        buf_reset(data); /* its memory serves the next message */
        return 0;
    }
    struct chunk *c = mem_new(sizeof *c);
    buf_init(&c->data, 0);
    buf_move(&c->data, data);
    c->at = sent;
    link->queued += c->data.len - sent;
    STAILQ_INSERT_TAIL(&link->queue, c, link);
    return link->writing ? 0 : write_next(link);
}

/* ---- the goodbye ----------------------------------------------------------------------------- */

static void all_left(struct link *link)
{
    if (link->stream) {
        stream_drained(link->stream);
    } else if (link->eof || shutdown(link_fd(link), SHUT_WR) != 0) {
        link_close(link);
    }
}

static void linger_over(uv_timer_t *timer)
{
    link_close(timer->data);
}

void link_linger(struct link *link)
{
    link->stream = NULL;
    if (link->closing || !link->wrote || link_read(link, true) != 0) {
        link_close(link);
        return;
    }
    uv_update_time(&link->loop->uv);
    uv_timer_start(&link->timer, linger_over, LINGER_MS, 0);
    if (!link->writing) {
        all_left(link);
    }
}
