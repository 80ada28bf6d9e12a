/* env.h: the one table for all that is not deterministic: clocks, timers, random, streams, files, wake-ups between threads.
 *
 * node/ implements it with libuv and POSIX, the simulator with one event heap and one seed. Code below node/ reaches the outside
 * world through this table alone.
 *
 * An *env* is an executor: in production a thread with its loop. Everything that belongs to an env (timers, streams, the
 * callbacks of both) is touched on that env's thread only. Other threads reach it by env_post, the only call that may come from
 * any thread (with env_log and the atomic clocks). Callbacks never fire inside the call that registered them.
 *
 * Loop envs (the daemon's main loop, the serving workers) never block: they use timers, streams, posts. File calls block; they
 * are made on envs spawned for that (write-ahead log, storage, a worker's reads) and at start, before a loop runs. */
#ifndef HOLDFAST_ENV_H
#define HOLDFAST_ENV_H

#include "protocol/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct env;
struct env_stream;
struct env_socket;
struct env_listener;
struct env_file;
struct buf;

#define ENV_MS 1000000ull    /* nanoseconds */
#define ENV_S 1000000000ull

/* ---- messages between envs ------------------------------------------------------------------------------------ */

/* Owned by the sender until run() is called on the destination's thread, by the receiver from then on. A message must not be posted
 * again before it ran. Messages from one env to another arrive in order. */
struct env_msg {
    void (*run)(struct env_msg *msg);
    struct env_msg *next; /* the implementation's */
};

/* ---- timers --------------------------------------------------------------------------------------------------- */

/* Embedded in its owner. Open once, start and stop at will, close before the owner is freed (immediate: no callback after it). */
struct env_timer {
    struct env *env;
    void (*fired)(struct env_timer *timer);
    void *impl;
};

/* ---- streams -------------------------------------------------------------------------------------------------- */

struct env_addr {
    char host[256]; /* name or address without brackets; a path when port is 0 and is_path is set */
    uint16_t port;
    bool is_path;
};

/* Reads "host:port", "[v6]:port", "host" (with default_port), "/path". */
int env_addr_parse(const char *text, uint16_t default_port, struct env_addr *addr, struct errmsg *em);
/* "host:port", "[v6]:port" or "/path". */
void env_addr_format(const struct env_addr *addr, char *text, size_t size);

struct env_peer {
    char text[300];  /* "10.0.0.7:51234", "unix:uid=0" */
    char host[256];  /* "10.0.0.7", "localhost" for a local socket */
    bool is_local;   /* came over a local socket: uid is the kernel's word */
    uint32_t uid;
};

/* All called on the stream's env. After closed() or env_stream_close() no callback follows. The owner calls env_stream_close exactly
 * once, inside any callback or outside, also after closed(): the stream is valid until then. */
struct env_stream_handler {
    void (*connected)(void *owner);                                /* outgoing streams: may write now */
    void (*readable)(void *owner, const uint8_t *data, size_t n);  /* n > 0 */
    void (*drained)(void *owner);                                  /* all that was written has left; comes after each burst of
                                                                      writes, also if they left at once (may be NULL) */
    void (*closed)(void *owner, int code, const char *why);        /* connect failed, peer ended (E_CLOSED) or error */
};

/* ---- files (blocking) ------------------------------------------------------------------------------------------ */

enum {
    ENV_READ = 1,
    ENV_WRITE = 2,
    ENV_CREATE = 4,
    ENV_EXCL = 8,    /* with CREATE: E_EXISTS if it is there */
    ENV_TRUNC = 16,
    ENV_DURABLE = 32, /* each pwrite is on stable storage when it returns (O_DIRECT|O_DSYNC where the file system can, else
                         fdatasync); address, offset and length are multiples of ENV_BLOCK */
    ENV_PAST = 64     /* a pwrite whose address, offset and length are multiples of ENV_BLOCK goes past the kernel's memory, where the file system
                         can: nothing is copied, and a sync, anyone's, has little to wait for. It promises nothing before a sync */
};

enum { ENV_BLOCK = 4096 };

/* ---- the table ------------------------------------------------------------------------------------------------ */

enum env_level { ENV_ERROR, ENV_WARN, ENV_INFO, ENV_DEBUG };

struct env_ops {
    uint64_t (*now)(struct env *env);      /* monotonic, ns */
    uint64_t (*wall)(struct env *env);     /* since 1970, microseconds */
    void (*random)(struct env *env, void *data, size_t n);
    void (*log)(struct env *env, enum env_level level, const char *line);
    void (*fatal)(struct env *env, const char *line); /* never returns: logs, ends the process (the simulated node), exit 1 */

    int (*spawn)(struct env *env, const char *name, struct env **child);
    void (*join)(struct env *child);       /* runs what was posted, then ends the thread and frees the env; its streams and
                                              timers are closed already. Called by the parent */
    void (*post)(struct env *to, struct env_msg *msg);
    void (*post_lazily)(struct env *to, struct env_msg *msg); /* NULL: as post */
    void (*background)(struct env *child); /* by its parent: when others want the processor it gives way; may be NULL */

    int (*timer_open)(struct env_timer *timer);
    void (*timer_start)(struct env_timer *timer, uint64_t delay_ns); /* once; restarts a running one */
    void (*timer_stop)(struct env_timer *timer);
    void (*timer_close)(struct env_timer *timer);

    int (*connect)(struct env *env, const struct env_addr *addr, const struct env_stream_handler *handler, void *owner,
                   struct env_stream **stream);
    int (*listen)(struct env *env, const struct env_addr *addr, void (*accepted)(void *owner, struct env_socket *socket),
                  void *owner, struct env_listener **listener, struct errmsg *em);
    void (*listener_close)(struct env_listener *listener);
    void (*listener_addr)(struct env_listener *listener, struct env_addr *addr); /* with the port really bound */
    int (*attach)(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler, void *owner,
                  struct env_stream **stream); /* takes the socket, also on failure; on any env */
    void (*socket_close)(struct env_socket *socket); /* drops an accepted connection that nobody attached */
    const struct env_peer *(*socket_peer)(struct env_socket *socket);
    void (*stream_write)(struct env_stream *stream, struct buf *data); /* takes the content, data is empty afterwards */
    size_t (*stream_pending)(struct env_stream *stream);               /* bytes written that have not left yet */
    void (*stream_pause)(struct env_stream *stream, bool paused);      /* stop and resume readable() */
    void (*stream_close)(struct env_stream *stream);                   /* what was written is still sent, if the peer takes it
                                                                          within a second; no callback any more */

    int (*open)(struct env *env, const char *path, int flags, struct env_file **file, struct errmsg *em);
    int (*pread)(struct env_file *file, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em); /* short only at the end */
    int (*pwrite)(struct env_file *file, const void *data, size_t n, uint64_t at, struct errmsg *em);       /* all or an error */
    void (*hint)(struct env_file *file, size_t n, uint64_t at); /* these bytes will be read soon; may be NULL */
    int (*sync)(struct env_file *file, struct errmsg *em);
    int (*truncate)(struct env_file *file, uint64_t size, struct errmsg *em);
    int (*size)(struct env_file *file, uint64_t *size, struct errmsg *em);
    void (*close)(struct env_file *file);
    int (*rename)(struct env *env, const char *from, const char *to, struct errmsg *em);
    int (*unlink)(struct env *env, const char *path, struct errmsg *em);
    int (*mkdir)(struct env *env, const char *path, struct errmsg *em);   /* 0700; E_EXISTS if it is there */
    int (*sync_dir)(struct env *env, const char *path, struct errmsg *em);
    /* Calls entry() with each name (not . and ..) in ascending order. */
    int (*list_dir)(struct env *env, const char *path, void (*entry)(void *arg, const char *name), void *arg, struct errmsg *em);
};

struct env {
    const struct env_ops *ops;
    const char *name;
    enum env_level level; /* lines above it are not formatted */
    void *impl;
};

/* ---- the same as functions ------------------------------------------------------------------------------------ */

static inline uint64_t env_now(struct env *env) { return env->ops->now(env); }
static inline uint64_t env_wall(struct env *env) { return env->ops->wall(env); }
static inline void env_random(struct env *env, void *data, size_t n) { env->ops->random(env, data, n); }
static inline int env_spawn(struct env *env, const char *name, struct env **child) { return env->ops->spawn(env, name, child); }
static inline void env_background(struct env *child)
{
    if (child->ops->background) {
        child->ops->background(child);
    }
}
static inline void env_join(struct env *child) { child->ops->join(child); }
static inline void env_post(struct env *to, struct env_msg *msg) { to->ops->post(to, msg); }
/* What nobody waits for: in its place among the others, but it wakes nobody; it is run when the env is awake for another reason. */
static inline void env_post_lazily(struct env *to, struct env_msg *msg)
{
    (to->ops->post_lazily ? to->ops->post_lazily : to->ops->post)(to, msg);
}

static inline int env_timer_open(struct env *env, struct env_timer *timer, void (*fired)(struct env_timer *))
{
    *timer = (struct env_timer){.env = env, .fired = fired};
    return env->ops->timer_open(timer);
}
static inline void env_timer_start(struct env_timer *timer, uint64_t ns) { timer->env->ops->timer_start(timer, ns); }
static inline void env_timer_stop(struct env_timer *timer) { timer->env->ops->timer_stop(timer); }
/* Also fine on a zeroed timer that was never opened. */
static inline void env_timer_close(struct env_timer *timer)
{
    if (timer->impl) {
        timer->env->ops->timer_close(timer);
        timer->impl = NULL;
    }
}

/* A stream's first member is its env: see struct env_stream_head. */
struct env_stream_head { struct env *env; };

static inline int env_connect(struct env *env, const struct env_addr *addr, const struct env_stream_handler *handler, void *owner,
                              struct env_stream **stream)
{
    return env->ops->connect(env, addr, handler, owner, stream);
}
static inline int env_listen(struct env *env, const struct env_addr *addr, void (*accepted)(void *, struct env_socket *), void *owner,
                             struct env_listener **listener, struct errmsg *em)
{
    return env->ops->listen(env, addr, accepted, owner, listener, em);
}
static inline int env_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler, void *owner,
                             struct env_stream **stream)
{
    return env->ops->attach(env, socket, handler, owner, stream);
}
/* Streams, listeners, sockets and files begin with a struct env_stream_head, so that these find their table. */
#define ENV_OF(thing) (((struct env_stream_head *)(void *)(thing))->env)
static inline void env_listener_close(struct env_listener *l) { ENV_OF(l)->ops->listener_close(l); }
static inline void env_listener_addr(struct env_listener *l, struct env_addr *addr) { ENV_OF(l)->ops->listener_addr(l, addr); }
static inline void env_socket_close(struct env_socket *s) { ENV_OF(s)->ops->socket_close(s); }
static inline const struct env_peer *env_socket_peer(struct env_socket *s) { return ENV_OF(s)->ops->socket_peer(s); }
static inline void env_stream_write(struct env_stream *s, struct buf *data) { ENV_OF(s)->ops->stream_write(s, data); }
static inline size_t env_stream_pending(struct env_stream *s) { return ENV_OF(s)->ops->stream_pending(s); }
static inline void env_stream_pause(struct env_stream *s, bool paused) { ENV_OF(s)->ops->stream_pause(s, paused); }
static inline void env_stream_close(struct env_stream *s) { ENV_OF(s)->ops->stream_close(s); }

static inline int env_open(struct env *env, const char *path, int flags, struct env_file **file, struct errmsg *em)
{
    return env->ops->open(env, path, flags, file, em);
}
static inline int env_pread(struct env_file *f, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em)
{
    return ENV_OF(f)->ops->pread(f, data, n, at, got, em);
}
static inline int env_pwrite(struct env_file *f, const void *data, size_t n, uint64_t at, struct errmsg *em)
{
    return ENV_OF(f)->ops->pwrite(f, data, n, at, em);
}
static inline void env_hint(struct env_file *f, size_t n, uint64_t at)
{
    if (ENV_OF(f)->ops->hint) {
        ENV_OF(f)->ops->hint(f, n, at);
    }
}
static inline int env_sync(struct env_file *f, struct errmsg *em) { return ENV_OF(f)->ops->sync(f, em); }
static inline int env_truncate(struct env_file *f, uint64_t size, struct errmsg *em) { return ENV_OF(f)->ops->truncate(f, size, em); }
static inline int env_size(struct env_file *f, uint64_t *size, struct errmsg *em) { return ENV_OF(f)->ops->size(f, size, em); }
static inline void env_close(struct env_file *f) { ENV_OF(f)->ops->close(f); }
static inline int env_rename(struct env *env, const char *from, const char *to, struct errmsg *em)
{
    return env->ops->rename(env, from, to, em);
}
static inline int env_unlink(struct env *env, const char *path, struct errmsg *em) { return env->ops->unlink(env, path, em); }
static inline int env_mkdir(struct env *env, const char *path, struct errmsg *em) { return env->ops->mkdir(env, path, em); }
static inline int env_sync_dir(struct env *env, const char *path, struct errmsg *em) { return env->ops->sync_dir(env, path, em); }
static inline int env_list_dir(struct env *env, const char *path, void (*entry)(void *, const char *), void *arg, struct errmsg *em)
{
    return env->ops->list_dir(env, path, entry, arg, em);
}

/* One event a line, facts as key=value: env_log(env, ENV_INFO, "source connected host=%s", …). */
void env_log(struct env *env, enum env_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void env_fatal(struct env *env, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- built from the above -------------------------------------------------------------------------------------- */

/* The whole file into `out` (appended; E_TOOBIG beyond out's maximum). */
int env_read_file(struct env *env, const char *path, struct buf *out, struct errmsg *em);

/* Puts a file in place so that after a crash there is the old or the new content, whole: dir/name.tmp, sync, rename, sync dir. */
int env_replace_file(struct env *env, const char *dir, const char *name, const void *data, size_t n, struct errmsg *em);

/* mkdir that is content when it is there; the parent is synced when it was made. */
int env_make_dir(struct env *env, const char *parent, const char *name, struct errmsg *em);

#endif
