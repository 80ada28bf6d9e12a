/* env_sim.h: a world of simulated hosts in one thread: one heap of events, one seed, virtual time only.
 *
 * A *host* has a name, a disk that survives, and at most one living *process*, which runs a *program*: its
 * start() is called on the process's main env and gets a struct env whose table (protocol/base/env.h) is
 * implemented here. Spawned envs are queues of the same process: what is posted arrives after a short random
 * time, one message after the other; a file call runs at once on the simulated disk and makes that env busy
 * for as long as it would have taken, so that all later things of that env come later.
 *
 * Death. sim_crash ends a process at once, at any moment, also inside one of its file calls
 * (sim_crash_after). The disk is replaced by what the crash left of it (tests/sim/disk.h) and the streams are
 * cut. The program does not notice: it becomes a *ghost*, with the old disk and no network, whose stop() is
 * called so that it frees its memory. Nobody sees what a ghost does. env_fatal ends a process too, but cannot
 * return: that ghost is abandoned, its memory stays until sim_free.
 *
 * All is repeatable: no address, no real clock and no order of allocation decides anything. sim_hash sums up
 * all that happened. Everything here is called from the one thread, between steps or from inside callbacks.
 */
#ifndef HOLDFAST_SIM_ENV_SIM_H
#define HOLDFAST_SIM_ENV_SIM_H

#include "protocol/base/env.h"
#include "tests/sim/rng.h"

#include <stdio.h>

struct sim;
struct sim_host;
struct sim_process;
struct disk;

/* ---- the world ----------------------------------------------------------------------------------------- */

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *sim); /* crashes what still lives, lets ghosts end, frees all */

uint64_t sim_seed(const struct sim *sim);
uint64_t sim_now(const struct sim *sim); /* ns since the world began */
uint64_t sim_hash(const struct sim *sim);
uint64_t sim_events(const struct sim *sim);
struct rng *sim_rng(struct sim *sim); /* for the script that drives the world */

bool sim_step(struct sim *sim); /* one event; false when there is none */
void sim_run(struct sim *sim, uint64_t ns);
/* Runs until done(arg) holds; false when it does not within `ns`. Asked after each event. */
bool sim_run_until(struct sim *sim, bool (*done)(void *arg), void *arg, uint64_t ns);

/* Calls fn(arg) once, of no host, after `ns`. Cannot be taken back. */
void sim_after(struct sim *sim, uint64_t ns, void (*fn)(void *arg), void *arg);

/* ---- log and failure ----------------------------------------------------------------------------------- */

void sim_verbose(struct sim *sim, FILE *to); /* lines go there as they come; NULL: only to the ring */
void sim_log_level(struct sim *sim,
                   enum env_level level); /* of processes started from now on; ENV_INFO at first */
void sim_note(struct sim *sim, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* a line of the script */
void sim_dump(struct sim *sim, FILE *to);  /* the last lines, the seed, the hash */

/* A property does not hold: called with the text. The default prints it with sim_dump to stderr and exits
 * with status 1. A handler that returns lets the world go on; sim_failed tells. */
void sim_on_failure(struct sim *sim, void (*failed)(void *arg, const char *text), void *arg);
void sim_fail(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sim_failed(const struct sim *sim);

/* A CHECK, a sanitizer or a signal that ends this program prints sim_dump first. One world at a time; NULL
 * undoes it. */
void sim_catch_abort(struct sim *sim);

/* ---- hosts and processes ------------------------------------------------------------------------------- */

struct sim_host *sim_host_new(struct sim *sim, const char *name); /* owned by the world */
const char *sim_host_name(const struct sim_host *host);
struct sim *sim_host_sim(struct sim_host *host);
struct sim_process *sim_host_process(struct sim_host *host); /* NULL when nothing lives there */
struct disk *sim_host_disk(struct sim_host *host);           /* as it is now; replaced by each crash */
void sim_host_uid(struct sim_host *host, uint32_t uid);      /* what peers on local sockets see; 0 at first */
/* `host` is a second machine in name only: paths and "localhost" mean `machine`, to whose process it is
 * local. For tools. */
void sim_host_beside(struct sim_host *host, struct sim_host *machine);
void sim_host_wall(struct sim_host *host, int64_t us); /* its wall clock is wrong by so much */

/* Its disk as it is now; and that one in its place (taken). Nothing lives there. */
struct disk;
struct disk *sim_keep_image(struct sim_host *host, struct rng *rng);
void sim_set_back(struct sim_host *host, struct disk *image);
void sim_wipe(struct sim_host *host); /* its disk is a new, empty one; nothing lives there */
/* The whole content of a file as a program would read it now, appended. */
int sim_host_read(struct sim_host *host, const char *path, struct buf *out);
/* ... from a place on, *size being that of all of it; what follows the last byte that is not zero may be left out when `sparse`. */
int sim_host_read_part(struct sim_host *host, const char *path, uint64_t from, bool sparse, struct buf *out, uint64_t *size);

/* What runs in a process. `arg` is given to all. */
struct sim_program {
    void (*start)(struct sim_process *process, struct env *env, void *arg); /* on the main env */
    void (*stop)(struct sim_process *process,
                 void *arg); /* on the main env: free all, then sim_exit. Also for ghosts; not called
                                when start() did not run */
    void (*gone)(struct sim_host *host, bool crashed, void *arg); /* of the world: nothing lives there any
                                                                     more; may start anew. May be NULL */
};

void sim_start(struct sim_host *host, const struct sim_program *program,
               void *arg);            /* nothing lives there; start() comes later */
void sim_stop(struct sim_host *host); /* asks the living process to end: stop() comes later */

/* All is freed: streams, timers, files and listeners closed, spawned envs joined. A failure when not so. */
void sim_exit(struct sim_process *process);

void sim_process_set(struct sim_process *process, void *app); /* the program's own pointer */
void *sim_process_get(const struct sim_process *process);
struct sim_host *sim_process_host(struct sim_process *process);
bool sim_process_is_ghost(const struct sim_process *process);
struct env *sim_process_env(struct sim_process *process);
uint64_t sim_env_clock(const struct env *env); /* ahead of sim_now while it is busy */

/* ---- death --------------------------------------------------------------------------------------------- */

enum sim_crash {
    SIM_KILL, /* the process alone: what it wrote is in the page cache and stays; peers see the end of their
                 streams at once */
    SIM_POWER /* the machine: unsynced writes are lost, torn, reordered; peers may learn of it late */
};

void sim_crash(struct sim_host *host, enum sim_crash kind); /* nothing happens when nothing lives there */

/* Inside the n-th file call from now on (1: the next) of the living process, or of the next one that is
 * started. 0: not any more. */
void sim_crash_after(struct sim_host *host, uint64_t n, enum sim_crash kind);
uint64_t sim_file_calls(const struct sim_host *host); /* so far, of all its processes that were no ghosts */
uint64_t sim_loop_file_calls(
    const struct sim_host *host); /* those on a main env after start(): a loop must never block */

/* ---- faults of the disk -------------------------------------------------------------------------------- */

enum sim_call {
    SIM_OPEN,
    SIM_READ,
    SIM_WRITE,
    SIM_SYNC,
    SIM_RENAME,
    SIM_UNLINK,
    SIM_MKDIR,
    SIM_SYNC_DIR,
    SIM_TRUNCATE,
    SIM_CALLS
};

/* The n-th such call from now on fails with `code` (E_NOSPACE, E_IO); all later ones too when `forever`. n =
 * 0: none any more. A write that fails may have written a part; after a sync that failed, later ones lie. */
void sim_fail_call(struct sim_host *host, enum sim_call call, uint64_t n, int code, bool forever);

/* The same for some files, and for several kinds of call. One at a time. */
struct sim_fault {
    unsigned calls;     /* of these: bits 1u << SIM_OPEN ... */
    const char *path;   /* of files whose path holds this text; NULL: of all. Stays valid */
    bool creating;      /* of the opens only those that make a file */
    uint64_t countdown; /* the n-th from now on fails; 0: none */
    int code;
    bool forever;       /* and all later ones, of later processes too */
};

enum { SIM_STRUCK_PATHS = 8 };

struct sim_struck {
    uint64_t times;                   /* the fault came so often */
    enum sim_call call;               /* when it came last */
    char paths[SIM_STRUCK_PATHS][96]; /* the last ones; the one of time n is n % SIM_STRUCK_PATHS */
    bool told;                        /* a line of the log names one of these */
};

void sim_fault(struct sim_host *host, const struct sim_fault *fault); /* NULL: no more; what struck is kept until the next */
const struct sim_struck *sim_struck(const struct sim_host *host);
/* As if a fault had struck that path: from now on a line that names it is waited for. */
void sim_watch(struct sim_host *host, const char *path);

/* What the last process of the host said that ended by env_fatal; "" when none did since sim_forget_words. */
const char *sim_last_words(const struct sim_host *host);
void sim_forget_words(struct sim_host *host);

/* Told of each write of a living process that succeeds: when its bytes are safe from a loss of power (UINT64_MAX: when
 * somebody syncs). */
typedef void sim_write_seen(void *arg, struct sim_host *host, const char *path, const void *data, size_t n, uint64_t at,
                            uint64_t durable);
void sim_see_writes(struct sim *sim, sim_write_seen *seen, void *arg);

/* Every file call takes so many times longer: 1 at first. */
void sim_slow_disk(struct sim_host *host, unsigned factor);

/* ---- network ------------------------------------------------------------------------------------------- */

/* A process listens on its host's name; connections go to "name:port", "localhost:port" or a path of the same
 * host. Byte streams with latency, cut into chunks at random; a slow reader stops its writer.
 *
 * Cut: from `a` to `b` nothing gets through (both ways: call twice). Streams stay up and hold their bytes
 * until sim_heal; new connections do not succeed. sim_reset ends all streams between two hosts. */
void sim_cut(struct sim *sim, struct sim_host *a, struct sim_host *b);
void sim_heal(struct sim *sim, struct sim_host *a, struct sim_host *b);
void sim_heal_all(struct sim *sim);
void sim_reset(struct sim *sim, struct sim_host *a, struct sim_host *b);
void sim_latency(struct sim *sim, uint64_t least,
                 uint64_t most); /* ns, one way, between hosts: 50 and 300 us at first */

#endif
