/* env_uv_impl.h: what the files of env_uv share; nobody else includes it.
 *
 * Why streams, timers and listeners are touched on their env's thread only: a uv loop has no lock, and ours
 * have none either. A callback may so free its own object, a write can go to the kernel at once, and no state
 * changes between two lines of a function. The price is a post to reach another env; the proof is loop_check,
 * a comparison of two registers, in every call. */
#ifndef HOLDFAST_NODE_ENV_UV_IMPL_H
#define HOLDFAST_NODE_ENV_UV_IMPL_H

#include "node/env_uv.h"
#include "protocol/base/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <uv.h>

enum { LOOP_READ_BYTES = 64 * 1024, LOOP_NAME_BYTES = 32 };

/* Something to do in the loop's next turn, embedded in its owner. Costs no system call. loop_later_cancel
 * before the owner is freed. */
struct loop_later {
    TAILQ_ENTRY(loop_later) link;
    void (*run)(struct loop_later *later);
    uint64_t turn;
    bool queued;
};
TAILQ_HEAD(loop_later_list, loop_later);

struct loop_signal {
    uv_signal_t handle;
    void (*cb)(void *arg, int signum);
    void *arg;
    struct loop_signal *next;
};

/* An env with its thread. Made by its parent, changed by its own thread, except where said. */
struct loop {
    struct env env;
    char name[LOOP_NAME_BYTES];
    uv_loop_t uv;
    pthread_t owner;  /* the thread that runs it, set by that thread */
    pthread_t handle; /* a child's, for join: the parent's */
    struct loop *parent;
    bool stopped;
    size_t children;
    struct loop *first_child, *sibling; /* of the same parent; on its thread */
    size_t open; /* timers, streams, listeners that their owners have not closed */

    _Atomic(struct env_msg *) inbox; /* newest first; any thread pushes, the owner takes all */
    atomic_size_t posting;           /* threads inside post; see loop_drain_all */
    atomic_bool asleep;              /* or about to be: who posts must wake it */
    int wake_fd;
    uv_poll_t wake;
    uv_prepare_t before;
    uv_check_t after;
    struct env_msg stop_msg; /* join's */

    uv_idle_t idle; /* active while there is something in `later` */
    struct loop_later_list later;
    uint64_t turn;

    struct loop_signal *signals;
    uint8_t *read_buf; /* LOOP_READ_BYTES, lent to one readable() at a time */
};

extern const struct env_ops env_uv_ops;

static inline struct loop *loop_of(struct env *env)
{
    return env->impl;
}

static inline void loop_check(const struct loop *l)
{
    CHECK(pthread_equal(l->owner, pthread_self()));
}

void loop_later(struct loop *l, struct loop_later *later, void (*run)(struct loop_later *));
void loop_later_cancel(struct loop *l, struct loop_later *later);

/* env_uv_thread.c */
int loop_spawn(struct env *env, const char *name, struct env **child);
void loop_join(struct env *child);
void loop_post(struct env *to, struct env_msg *msg);
void loop_post_lazily(struct env *to, struct env_msg *msg);
void loop_background(struct env *child);
int loop_init(struct loop *l, const char *name, enum env_level level); /* 0 or an errno */
void loop_take(struct loop *l);                                        /* this thread will run it */
void loop_awake(struct loop *l); /* a socket woke it: what is posted from here on needs no wake-up */
void loop_end(struct loop *l);                                         /* on its thread; the struct stays */

/* env_uv_timer.c */
int timer_open(struct env_timer *timer);
void timer_start(struct env_timer *timer, uint64_t delay_ns);
void timer_stop(struct env_timer *timer);
void timer_close(struct env_timer *timer);

/* env_uv_stream.c, env_uv_connect.c */
int stream_connect(struct env *env, const struct env_addr *addr, const struct env_stream_handler *handler,
                   void *owner, struct env_stream **stream);
int stream_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler,
                  void *owner, struct env_stream **stream);
void stream_write(struct env_stream *stream, struct buf *data);
size_t stream_pending(struct env_stream *stream);
void stream_pause(struct env_stream *stream, bool paused);
void stream_close(struct env_stream *stream);

/* env_uv_listen.c */
int listener_open(struct env *env, const struct env_addr *addr,
                  void (*accepted)(void *owner, struct env_socket *socket), void *owner,
                  struct env_listener **listener, struct errmsg *em);
void listener_close(struct env_listener *listener);
void listener_addr(struct env_listener *listener, struct env_addr *addr);
void socket_close(struct env_socket *socket);
const struct env_peer *socket_peer(struct env_socket *socket);

/* An accepted connection: made on the listener's env, then whoever holds it owns it. */
struct env_socket {
    struct env_stream_head head;
    int fd;
    bool is_path;
    struct env_peer peer;
};

/* TCP_NODELAY and keep-alive. Failure is no reason to do without the connection. */
void socket_tune(int fd);

/* env_uv_file.c */
int file_open(struct env *env, const char *path, int flags, struct env_file **file, struct errmsg *em);
int file_pread(struct env_file *file, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em);
int file_pwrite(struct env_file *file, const void *data, size_t n, uint64_t at, struct errmsg *em);
void file_hint(struct env_file *file, size_t n, uint64_t at);
int file_sync(struct env_file *file, struct errmsg *em);
int file_truncate(struct env_file *file, uint64_t size, struct errmsg *em);
int file_size(struct env_file *file, uint64_t *size, struct errmsg *em);
void file_close(struct env_file *file);
int file_rename(struct env *env, const char *from, const char *to, struct errmsg *em);
int file_unlink(struct env *env, const char *path, struct errmsg *em);
int file_mkdir(struct env *env, const char *path, struct errmsg *em);
int file_sync_dir(struct env *env, const char *path, struct errmsg *em);
int file_list_dir(struct env *env, const char *path, void (*entry)(void *arg, const char *name), void *arg,
                  struct errmsg *em);

#endif
