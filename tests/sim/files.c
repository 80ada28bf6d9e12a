/* files.c: the file calls of the simulated table.
 *
 * A call is done at once on the process's disk and makes its env busy for as long as it would have taken; the
 * disk learns when it began and from when on it is durable, so a crash in between finds it half done. Failure
 * modes: faults that the test planted, and those of a file system. Misuse that only some file systems would
 * punish is a CHECK: unaligned direct I/O, writing through a handle for reading. */
#include "tests/sim/sim_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

#define US 1000ull
#define CALL_MOST (10 * ENV_S) /* of a slow disk; what must have happened after all was healed is waited for longer */

struct env_file {
    struct env_stream_head head;
    struct sim_process *process;
    struct disk_node *node;
    int flags;
    char *path;
    struct env_file *next; /* in the process's list */
};

struct call {
    struct sim_env *env;
    struct sim_process *process;
    uint64_t begun, ended;
    int code; /* planted */
    bool crash;
};

static struct sim_process *process_of(struct env *env)
{
    return ((struct sim_env *)env)->process;
}

static int planted_fault(struct sim_host *host, enum sim_call what)
{
    struct fault *fault = &host->faults[what];
    if (fault->countdown == 0) {
        return 0;
    }
    if (fault->countdown > 1) {
        fault->countdown--;
        return 0;
    }
    if (!fault->forever) {
        fault->countdown = 0;
    }
    return fault->code;
}

/* The one of sim_fault. */
static int fault_of(struct sim_host *host, enum sim_call what, const char *path, bool creating)
{
    struct sim_fault *fault = &host->fault;
    bool meant = fault->countdown > 0 && (fault->calls & 1u << what) && (!fault->path || strstr(path, fault->path)) &&
                 (what != SIM_OPEN || creating || !fault->creating);
    if (!meant) {
        return 0;
    }
    if (fault->countdown > 1) {
        fault->countdown--;
        return 0;
    }
    if (!fault->forever) {
        fault->countdown = 0;
    }
    host->struck.call = what;
    snprintf(host->struck.paths[host->struck.times++ % SIM_STRUCK_PATHS], sizeof host->struck.paths[0], "%s", path);
    return fault->code;
}

/* Every call begins here: how long it takes, whether it fails, whether the process dies in it. */
static struct call call_begin(struct sim_process *p, enum sim_call what, const char *path, uint64_t least, uint64_t most,
                              size_t bytes, bool creating)
{
    struct sim_env *e = p->sim->current; /* a file may move between threads */
    struct call call = {.env = e, .process = p};
    CHECK(e && e->process == p);
    call.begun = e->clock;
    disk_settle(p->disk, p->sim->now);
    uint64_t took = rng_between(&p->sched, least, most) + bytes / 2; /* 2 GB/s */
    if (most >= 100 * US && rng_chance(&p->sched, 1)) {
        took += rng_between(&p->sched, 5 * ENV_MS, 100 * ENV_MS); /* a disk has its moments */
    }
    took *= p->host->slow;
    call.ended = call.begun + (took < CALL_MOST ? took : CALL_MOST);
    sim_hash_add(p->sim, (uint64_t)what << 32 | bytes);
    if (p->ghost) {
        return call;
    }
    p->host->file_calls++;
    p->host->loop_file_calls += e->id == 0 && !p->in_start;
    call.code = planted_fault(p->host, what);
    if (!call.code) {
        call.code = fault_of(p->host, what, path, creating);
    }
    call.crash = p->host->crash_in > 0 && --p->host->crash_in == 0;
    return call;
}

static void call_end(struct call *call)
{
    struct sim_process *p = call->process;
    if (call->crash && !p->ghost) {
        uint64_t when = call->ended;
        if (rng_chance(&p->host->rng, 70)) {
            when = rng_chance(&p->host->rng, 50) ? call->begun
                                                 : rng_between(&p->host->rng, call->begun, call->ended);
        }
        process_die(p, p->host->crash_kind, when);
    }
    call->env->clock = call->ended;
}

static int say(struct errmsg *em, int code, const char *verb, const char *path)
{
    return err_set(em, code, "cannot %s %s: %s", verb, path, err_text(code));
}

static bool creates(struct env *env, const char *path, int flags)
{
    struct disk_node *node = NULL;
    struct disk *disk = process_of(env)->disk;
    if (!(flags & ENV_CREATE) || disk_open(disk, path, false, false, 0, &node)) {
        return flags & ENV_CREATE;
    }
    disk_release(disk, node);
    return false;
}

int sim_open(struct env *env, const char *path, int flags, struct env_file **file, struct errmsg *em)
{
    struct call call = call_begin(process_of(env), SIM_OPEN, path, 5 * US, 60 * US, 0, creates(env, path, flags));
    struct disk *disk = call.process->disk;
    struct disk_node *node = NULL;
    int rv = call.code;
    if (!rv) {
        rv = disk_open(disk, path, flags & ENV_CREATE, flags & ENV_EXCL, call.begun, &node);
    }
    if (!rv) {
        if ((flags & ENV_TRUNC) && disk_size(node) > 0) {
            CHECK(flags & ENV_WRITE);
            disk_truncate(disk, node, 0, call.begun);
        }
        *file = mem_new(sizeof **file);
        **file =
            (struct env_file){.process = call.process, .node = node, .flags = flags, .path = mem_str(path)};
        (*file)->head.env = env;
        (*file)->next = call.process->files;
        call.process->files = *file;
    }
    call_end(&call);
    return rv ? say(em, rv, "open", path) : 0;
}

static bool aligned(const struct env_file *file, const void *data, size_t n, uint64_t at)
{
    return !(file->flags & ENV_DURABLE) ||
           ((uintptr_t)data % ENV_BLOCK == 0 && n % ENV_BLOCK == 0 && at % ENV_BLOCK == 0);
}

int sim_pread(struct env_file *file, void *data, size_t n, uint64_t at, size_t *got, struct errmsg *em)
{
    struct call call = call_begin(file->process, SIM_READ, file->path, 1 * US, 8 * US, n, false);
    CHECK(file->flags & ENV_READ);
    CHECK(aligned(file, data, n, at));
    *got = call.code ? 0 : disk_read(file->node, data, n, at);
    call_end(&call);
    return call.code ? say(em, call.code, "read", file->path) : 0;
}

static void see_write(const struct call *call, const struct env_file *file, const void *data, size_t n, uint64_t at,
                      uint64_t durable)
{
    struct sim *sim = call->process->sim;
    if (sim->write_seen && !call->process->ghost) {
        sim->write_seen(sim->write_seen_arg, call->process->host, file->path, data, n, at, durable);
    }
}

int sim_pwrite(struct env_file *file, const void *data, size_t n, uint64_t at, struct errmsg *em)
{
    bool durable = file->flags & ENV_DURABLE;
    struct call call =
        call_begin(file->process, SIM_WRITE, file->path, (durable ? 60 : 2) * US, (durable ? 400 : 10) * US, n, false);
    struct disk *disk = call.process->disk;
    CHECK(file->flags & ENV_WRITE);
    CHECK(aligned(file, data, n, at));
    if (!call.code) {
        disk_write(disk, file->node, data, n, at, call.begun, durable ? call.ended : DISK_NEVER);
        see_write(&call, file, data, n, at, durable ? call.ended : DISK_NEVER);
    } else if (n > 0) {
        size_t part = (size_t)rng_below(&call.process->host->rng, n + 1);
        disk_write(disk, file->node, data, durable ? part / ENV_BLOCK * ENV_BLOCK : part, at, call.begun,
                   DISK_NEVER);
    }
    call_end(&call);
    return call.code ? say(em, call.code, "write", file->path) : 0;
}

int sim_sync(struct env_file *file, struct errmsg *em)
{
    struct call call = call_begin(file->process, SIM_SYNC, file->path, 200 * US, 2000 * US, 0, false);
    if (call.code) {
        disk_sync_failed(file->node);
    } else {
        disk_sync(call.process->disk, file->node, call.ended);
    }
    call_end(&call);
    return call.code ? say(em, call.code, "sync", file->path) : 0;
}

int sim_truncate(struct env_file *file, uint64_t size, struct errmsg *em)
{
    struct call call = call_begin(file->process, SIM_TRUNCATE, file->path, 5 * US, 50 * US, 0, false);
    CHECK(file->flags & ENV_WRITE);
    if (!call.code) {
        disk_truncate(call.process->disk, file->node, size, call.begun);
    }
    call_end(&call);
    return call.code ? say(em, call.code, "truncate", file->path) : 0;
}

int sim_size(struct env_file *file, uint64_t *size, struct errmsg *em)
{
    (void)em;
    *size = disk_size(file->node);
    return 0;
}

void sim_close(struct env_file *file)
{
    struct env_file **at = &file->process->files;
    while (*at != file) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = file->next;
    disk_release(file->process->disk, file->node);
    mem_free(file->path);
    mem_free(file);
}

const char *files_first_open(const struct sim_process *process)
{
    return process->files ? process->files->path : NULL;
}

int sim_rename(struct env *env, const char *from, const char *to, struct errmsg *em)
{
    struct call call = call_begin(process_of(env), SIM_RENAME, from, 10 * US, 50 * US, 0, false);
    int rv = call.code ? call.code : disk_rename(call.process->disk, from, to, call.begun);
    call_end(&call);
    return rv ? say(em, rv, "rename", from) : 0;
}

int sim_unlink(struct env *env, const char *path, struct errmsg *em)
{
    struct call call = call_begin(process_of(env), SIM_UNLINK, path, 10 * US, 50 * US, 0, false);
    int rv = call.code ? call.code : disk_unlink(call.process->disk, path, call.begun);
    call_end(&call);
    return rv ? say(em, rv, "remove", path) : 0;
}

int sim_mkdir(struct env *env, const char *path, struct errmsg *em)
{
    struct call call = call_begin(process_of(env), SIM_MKDIR, path, 10 * US, 50 * US, 0, false);
    int rv = call.code ? call.code : disk_mkdir(call.process->disk, path, call.begun);
    call_end(&call);
    return rv ? say(em, rv, "create directory", path) : 0;
}

int sim_sync_dir(struct env *env, const char *path, struct errmsg *em)
{
    struct call call = call_begin(process_of(env), SIM_SYNC_DIR, path, 200 * US, 2000 * US, 0, false);
    int rv = call.code ? call.code : disk_sync_dir(call.process->disk, path, call.ended);
    call_end(&call);
    return rv ? say(em, rv, "sync directory", path) : 0;
}

int sim_list_dir(struct env *env, const char *path, void (*entry)(void *arg, const char *name), void *arg,
                 struct errmsg *em)
{
    struct call call = call_begin(process_of(env), SIM_READ, path, 5 * US, 50 * US, 0, false);
    int rv = call.code;
    call_end(&call);
    if (!rv) {
        rv = disk_list(call.process->disk, path, entry, arg);
    }
    return rv ? say(em, rv, "list", path) : 0;
}
