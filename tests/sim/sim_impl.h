/* sim_impl.h: private to the simulated world: events.c (heap), world.c (hosts, processes, log), env_sim.c
 * (the table: clocks, posts, timers), files.c and net.c (files and streams of the table). */
#ifndef HOLDFAST_SIM_IMPL_H
#define HOLDFAST_SIM_IMPL_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"
#include "tests/sim/disk.h"
#include "tests/sim/env_sim.h"

#include <setjmp.h>

enum { LOG_LINES = 600, LOG_LINE_BYTES = 400 };

/* What kind of thing happened: goes into the hash. */
enum event_kind {
    EV_SCRIPT = 1,
    EV_START,
    EV_STOP,
    EV_GONE,
    EV_POST,
    EV_TIMER,
    EV_CONNECT,
    EV_MOVE,
    EV_READ,
    EV_DRAINED,
    EV_CLOSED,
    EV_ACCEPT,
    EV_LINGER,
    EV_PROBE
};

struct sim_env;

struct event {
    uint64_t time, due, seq; /* order: by time, then by when it was due at first, then by age */
    enum event_kind kind;
    struct sim_env *env; /* on which it runs; NULL: of the world */
    void (*fn)(void *arg);
    void *arg;
    size_t place; /* in the heap; SIZE_MAX: it waits behind another one of its env */
    struct event *next;
    bool canceled; /* while it waits so */
};

struct events {
    struct event **heap;
    size_t n, cap;
    uint64_t seq;
    struct event *parked; /* of processes that were abandoned: what they hold can be reached so */
};

struct event *events_add(struct events *events, uint64_t time, enum event_kind kind, struct sim_env *env,
                         void (*fn)(void *), void *arg);
void events_wait(struct events *events, struct event *event); /* one that was taken; its env is busy */
void events_next(struct events *events, struct sim_env *env); /* its env has run another one: who waits is next */
void events_park(struct events *events, struct event *event);
void events_cancel(struct events *events, struct event *event); /* that was not taken: it is gone */
struct event *events_take(struct events *events);
const struct event *events_first(struct events *events);
struct event *events_take_for(struct events *events, struct sim_env *env); /* the first of an env, NULL when none */
void events_drop_for(struct events *events, struct sim_env *env);
void events_free(struct events *events);

struct fault {
    uint64_t countdown;
    int code;
    bool forever;
};

struct sim_host {
    struct sim *sim;
    char *name;
    unsigned id;
    struct disk *disk;
    struct sim_process *process;
    unsigned incarnation;
    struct sim_host *machine; /* where its paths lie: itself, mostly */
    bool off;                 /* lost power, nothing was started since: does not even refuse */
    uint32_t uid;
    int64_t wall_us;
    struct rng rng;
    struct fault faults[SIM_CALLS];
    struct sim_fault fault;
    struct sim_struck struck;
    char last_words[LOG_LINE_BYTES];
    uint64_t crash_in;
    enum sim_crash crash_kind;
    unsigned slow;
    uint64_t file_calls, loop_file_calls;
    uint16_t next_port;
    uint64_t cut_to; /* bit per host id */
};

struct sim_env {
    struct env env; /* first: struct env * is this */
    struct sim_process *process;
    unsigned id;    /* in the process; 0 is the main env */
    uint64_t clock; /* how far it has come; ahead of the world's while it is busy */
    struct event *held;                  /* in the heap, for when it is no longer busy */
    struct event *waiting, *waiting_last; /* behind that one, in order */
    bool joined;
    unsigned timers, streams;
    uint64_t *last_from; /* by sender's id + 1: when its last message arrives; 0 is the world */
    size_t last_from_n;
    char *name;
};

struct sim_process {
    struct sim *sim;
    struct sim_host *host;
    unsigned incarnation;
    struct disk *disk; /* the host's; of a ghost its own */
    bool started, ghost, stopping, exited, abandoned;
    bool in_start;
    const struct sim_program *program;
    void *arg, *app;
    struct rng rng;      /* what the program draws */
    struct rng sched;    /* what happens to it */
    uint64_t now_offset; /* of its monotonic clock */
    struct sim_env **envs;
    size_t n_envs;
    struct env_file *files; /* open ones */
    struct env_listener *listeners;
    struct env_stream *streams;
    void **last_stack; /* of one that was abandoned: what its callbacks had in hand can be reached so */
    struct sim_process *next; /* in the world's list of all */
};

struct sim {
    uint64_t seed, now, hash, n_events;
    struct events events;
    struct rng rng, net_rng;
    struct sim_host **hosts;
    size_t n_hosts;
    struct sim_process *processes;
    struct sim_env *current;
    jmp_buf *unwind;
    void **base; /* of the stack of the callback that runs: beyond it nothing is its own */
    uint64_t latency_least, latency_most;
    char *log;
    size_t log_next, log_count;
    sim_write_seen *write_seen;
    void *write_seen_arg;
    FILE *verbose;
    enum env_level level;
    void (*on_failure)(void *arg, const char *text);
    void *on_failure_arg;
    bool failed, dumping, ending;
    unsigned going; /* gone() calls to come */
    struct sim *next_dead;
};

extern const struct env_ops sim_env_ops;

/* The time at which what runs now happens: the running env's own, else the world's. */
uint64_t sim_time(const struct sim *sim);
void sim_hash_add(struct sim *sim, uint64_t v);
void sim_log_line(struct sim *sim, const struct sim_env *env, enum env_level level, const char *line);

struct sim_env *sim_env_new(struct sim_process *process, const char *name);
void sim_env_free(struct sim_env *env);
void sim_env_run(struct sim *sim, struct event *event); /* an event of an env; owns the event */
void process_die(struct sim_process *process, enum sim_crash kind, uint64_t when); /* becomes a ghost */
void process_free(struct sim_process *process);

/* files.c */
const char *files_first_open(const struct sim_process *process); /* NULL: none */

/* net.c */
void net_process_died(struct sim_process *process, enum sim_crash kind);
unsigned net_process_open(
    const struct sim_process *process); /* streams, sockets and listeners that nobody closed */
void net_process_free(struct sim_process *process);

/* The parts of the table. */
int sim_connect(struct env *env, const struct env_addr *addr, const struct env_stream_handler *handler,
                void *owner, struct env_stream **stream);
int sim_listen(struct env *env, const struct env_addr *addr,
               void (*accepted)(void *owner, struct env_socket *socket), void *owner,
               struct env_listener **listener, struct errmsg *em);
void sim_listener_close(struct env_listener *listener);
void sim_listener_addr(struct env_listener *listener, struct env_addr *addr);
int sim_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler,
               void *owner, struct env_stream **stream);
void sim_socket_close(struct env_socket *socket);
const struct env_peer *sim_socket_peer(struct env_socket *socket);
void sim_stream_write(struct env_stream *stream, struct buf *data);
size_t sim_stream_pending(struct env_stream *stream);
void sim_stream_pause(struct env_stream *stream, bool paused);
void sim_stream_close(struct env_stream *stream);

int sim_open(struct env *env, const char *path, int flags, struct env_file **file, struct errmsg *em);
int sim_pread(struct env_file *file, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em);
int sim_pwrite(struct env_file *file, const void *data, size_t n, uint64_t at, struct errmsg *em);
int sim_sync(struct env_file *file, struct errmsg *em);
int sim_truncate(struct env_file *file, uint64_t size, struct errmsg *em);
int sim_size(struct env_file *file, uint64_t *size, struct errmsg *em);
void sim_close(struct env_file *file);
int sim_rename(struct env *env, const char *from, const char *to, struct errmsg *em);
int sim_unlink(struct env *env, const char *path, struct errmsg *em);
int sim_mkdir(struct env *env, const char *path, struct errmsg *em);
int sim_sync_dir(struct env *env, const char *path, struct errmsg *em);
int sim_list_dir(struct env *env, const char *path, void (*entry)(void *arg, const char *name), void *arg,
                 struct errmsg *em);

#endif
