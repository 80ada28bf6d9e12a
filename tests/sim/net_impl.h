/* net_impl.h: private to net.c (how streams begin) and stream.c (how bytes flow and streams end). */
#ifndef HOLDFAST_SIM_NET_IMPL_H
#define HOLDFAST_SIM_NET_IMPL_H

#include "tests/sim/sim_impl.h"

/* Bytes on their way to a stream, or waiting to be read by it. */
struct segment {
    struct segment *next;
    uint64_t ready;
    size_t n, at;
    uint8_t data[];
};

/* One end of a connection. As a struct env_socket it has been accepted and not attached yet. */
struct env_stream {
    struct env_stream_head head;
    struct sim_process *process;
    struct sim_env *env;     /* NULL: not attached */
    struct env_stream *next; /* in the process's list */
    struct env_stream *peer; /* NULL: not connected yet, or gone */
    const struct env_stream_handler *handler;
    void *owner;
    struct env_peer who;
    struct env_addr to;            /* of a stream that connects */
    struct env_listener *listener; /* accepted() was not called yet */
    unsigned tries;
    struct buf out; /* written and not left */
    struct segment *in, **in_tail;
    size_t in_bytes;
    uint8_t *chunk;    /* what readable() is being shown */
    uint64_t in_ready; /* when the last byte (or the end) arrives */
    bool connected, paused;
    bool silent;          /* the peer's machine is gone, and nobody knows */
    bool ended, end_hard; /* nothing comes behind `in`; hard: not even `in` matters to a writer */
    int end_code;
    const char *end_why;
    bool told;                                            /* closed() was called */
    bool released;                                        /* the owner closed it */
    bool dead;                                            /* will be freed */
    struct event *setup, *move, *read, *drained, *linger; /* pending */
};

struct env_listener {
    struct env_stream_head head;
    struct sim_process *process;
    struct env_listener *next;
    struct env_addr addr;
    void (*accepted)(void *owner, struct env_socket *socket);
    void *owner;
};

struct env_stream *net_stream_new(struct sim_process *process);
void net_stream_free(struct env_stream *s);
void net_stream_cancel(struct env_stream *s, struct event **event);
bool net_stream_blocked(const struct env_stream *s); /* to its peer nothing gets through */
uint64_t net_stream_latency(struct env_stream *s);
void net_stream_kick_move(struct env_stream *s);
void net_stream_kick_read(struct env_stream *s);
void net_stream_end(struct env_stream *s, int code, const char *why, bool hard,
                    uint64_t when);                                     /* what its owner will hear */
void net_stream_reset(struct env_stream *s, int code, const char *why); /* both ends, a latency later */
void net_stream_bury(struct env_stream *s);

#endif
