/* env_uv_stream.h: what env_uv_stream.c, env_uv_link.c and env_uv_connect.c share; nobody else includes it.
 */
#ifndef HOLDFAST_NODE_ENV_UV_STREAM_H
#define HOLDFAST_NODE_ENV_UV_STREAM_H

#include "node/env_uv_impl.h"
#include "protocol/base/buf.h"

struct chunk;
STAILQ_HEAD(chunk_list, chunk);

/* A socket in the loop, with the bytes that wait to leave. It may outlive its stream: closed by it, it
 * lingers until its bytes have left. Owner: its stream, then itself. */
struct link {
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } h;
    uv_timer_t timer; /* the limit on a connect, then on lingering */
    uv_connect_t connect;
    uv_write_t write;
    struct chunk_list flying; /* in `write` */
    struct chunk_list queue;  /* behind it */
    size_t queued;            /* bytes in `queue` */
    struct loop *loop;
    struct env_stream *stream; /* NULL: lingers or closes */
    int handles;               /* that libuv has not let go of */
    bool writing;
    bool wrote;
    bool closing;
    bool eof;
};

enum stream_state {
    STREAM_CONNECTING,
    STREAM_OPEN,
    STREAM_FAILING, /* closed() comes in the next turn */
    STREAM_FAILED,  /* closed() was called */
};

/* From connect or attach to stream_close. */
struct env_stream {
    struct env_stream_head head;
    struct loop *loop;
    const struct env_stream_handler *handler;
    void *owner;
    enum stream_state state;
    bool paused;
    bool want_drained;
    struct link *link;             /* NULL while resolving and when failed */
    struct connecting *connecting; /* NULL when connected or failed */
    struct loop_later later;       /* drained() or closed() */
    int fail_code;
    struct errmsg why;
};

/* env_uv_link.c */
struct link *link_new(struct env_stream *stream, bool is_path);
void link_close(struct link *link);  /* at once; the stream does not hear from it again */
void link_linger(struct link *link); /* when its bytes have left, or after a second */
int link_write(struct link *link, struct buf *data, bool *all_left); /* takes data; 0 or a code of libuv */
size_t link_pending(const struct link *link);
int link_fd(const struct link *link);
int link_read(struct link *link, bool on); /* 0 or a code of libuv */

/* env_uv_stream.c: what the link and the connecting tell */
void stream_readable(struct env_stream *stream, const uint8_t *data, size_t n);
void stream_drained(struct env_stream *stream);
void stream_connected(struct env_stream *stream);
void stream_failed(struct env_stream *stream, int code,
                   const char *why); /* calls closed(): the last thing that a caller does */
void stream_fail_later(struct env_stream *stream, int code); /* why is in stream->why */

/* env_uv_connect.c */
int connect_start(struct env_stream *stream, const struct env_addr *addr);
void connect_end(struct env_stream *stream); /* calls off what is under way, but not the link */
void connect_done(struct link *link, int status);

#endif
