/* world.c: the world: its steps, its hosts, the life and death of their processes. See env_sim.h.
 *
 * A process ends in one of three ways. It is asked to (sim_stop, then its program calls sim_exit). It is
 * crashed: at that moment its host gets the disk that the crash left and is free for a new process, while the
 * old one goes on as a ghost until its stop() has freed everything. Or it calls env_fatal: like a crash, but
 * nothing of it runs any more and its memory waits for sim_free. */
#include "tests/sim/sim_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

enum { MOST_HOSTS = 64, GHOST_SECONDS = 120 };

/* ---- the world ----------------------------------------------------------------------------------------- */

struct sim *sim_new(uint64_t seed)
{
    struct sim *sim = mem_new(sizeof *sim);
    sim->seed = seed;
    sim->hash = seed;
    sim->level = ENV_INFO;
    sim->latency_least = 50 * ENV_MS / 1000;
    sim->latency_most = 300 * ENV_MS / 1000;
    sim->log = mem_array(LOG_LINES, LOG_LINE_BYTES);
    rng_init(&sim->rng, seed, 1);
    rng_init(&sim->net_rng, seed, 2);
    return sim;
}

uint64_t sim_seed(const struct sim *sim)
{
    return sim->seed;
}

uint64_t sim_now(const struct sim *sim)
{
    return sim->now;
}

uint64_t sim_time(const struct sim *sim)
{
    return sim->current && sim->current->clock > sim->now ? sim->current->clock : sim->now;
}

uint64_t sim_hash(const struct sim *sim)
{
    return sim->hash;
}

uint64_t sim_events(const struct sim *sim)
{
    return sim->n_events;
}

struct rng *sim_rng(struct sim *sim)
{
    return &sim->rng;
}

void sim_hash_add(struct sim *sim, uint64_t v)
{
    uint64_t h = (sim->hash ^ v) * 0x9fb21c651e98df25ull;
    sim->hash = h ^ (h >> 28);
}

bool sim_step(struct sim *sim)
{
    const struct event *first = events_first(&sim->events);
    CHECK(!sim->current); /* not from inside a callback */
    if (!first) {
        return false;
    }
    struct event *event = events_take(&sim->events);
    CHECK(event->time >= sim->now);
    sim->now = event->time;
    if (event->env) {
        sim_env_run(sim, event);
        return true;
    }
    void (*fn)(void *) = event->fn;
    void *arg = event->arg;
    sim_hash_add(sim, event->time ^ (uint64_t)event->kind << 40);
    sim->n_events++;
    mem_free(event);
    fn(arg);
    return true;
}

void sim_run(struct sim *sim, uint64_t ns)
{
    uint64_t end = sim->now + ns;
    const struct event *first;
    while ((first = events_first(&sim->events)) != NULL && first->time <= end) {
        sim_step(sim);
    }
    sim->now = end;
}

bool sim_run_until(struct sim *sim, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    uint64_t end = sim->now + ns;
    const struct event *first;
    while (!done(arg)) {
        first = events_first(&sim->events);
        if (!first || first->time > end) {
            return false;
        }
        sim_step(sim);
    }
    return true;
}

void sim_after(struct sim *sim, uint64_t ns, void (*fn)(void *arg), void *arg)
{
    events_add(&sim->events, sim_time(sim) + ns, EV_SCRIPT, NULL, fn, arg);
}

static bool nothing_lives(void *arg)
{
    struct sim *sim = arg;
    for (const struct sim_process *p = sim->processes; p; p = p->next) {
        if (!p->abandoned) {
            return false;
        }
    }
    return sim->going == 0;
}

/* What the slowest thread is busy with may take long yet: a large write on a slow disk. */
static uint64_t busy_for(const struct sim *sim)
{
    uint64_t end = sim->now;
    for (const struct sim_process *p = sim->processes; p; p = p->next) {
        for (size_t i = 0; i < p->n_envs && !p->abandoned; i++) {
            end = p->envs[i]->clock > end ? p->envs[i]->clock : end;
        }
    }
    return end - sim->now;
}

/* Memory of processes that ended by env_fatal cannot be freed by anybody; it stays reachable from here. */
static void keep_for_ever(struct sim *sim)
{
    static struct sim *graveyard;
    sim->next_dead = graveyard;
    graveyard = sim;
}

void sim_free(struct sim *sim)
{
    sim->ending = true;
    for (size_t i = 0; i < sim->n_hosts; i++) {
        sim_crash(sim->hosts[i], SIM_KILL);
    }
    if (!sim_run_until(sim, nothing_lives, sim, busy_for(sim) + GHOST_SECONDS * ENV_S)) {
        for (const struct sim_process *p = sim->processes; p; p = p->next) {
            if (!p->abandoned) {
                sim_fail(sim, "%s#%u was told to free everything and does not end", p->host->name,
                         p->incarnation);
            }
        }
    }
    if (sim->processes) {
        keep_for_ever(sim);
        return;
    }
    for (size_t i = 0; i < sim->n_hosts; i++) {
        disk_free(sim->hosts[i]->disk);
        mem_free(sim->hosts[i]->name);
        mem_free(sim->hosts[i]);
    }
    mem_free(sim->hosts);
    events_free(&sim->events);
    mem_free(sim->log);
    mem_free(sim);
}

/* ---- hosts --------------------------------------------------------------------------------------------- */

struct sim_host *sim_host_new(struct sim *sim, const char *name)
{
    struct sim_host *host = mem_new(sizeof *host);
    CHECK(sim->n_hosts < MOST_HOSTS);
    host->sim = sim;
    host->name = mem_str(name);
    host->id = (unsigned)sim->n_hosts;
    host->disk = disk_new();
    host->slow = 1;
    host->machine = host;
    host->next_port = 40000;
    rng_init(&host->rng, sim->seed, 1000 + host->id);
    sim->hosts = mem_grow(sim->hosts, sim->n_hosts + 1, sizeof(struct sim_host *));
    sim->hosts[sim->n_hosts++] = host;
    return host;
}

const char *sim_host_name(const struct sim_host *host)
{
    return host->name;
}

struct sim_process *sim_host_process(struct sim_host *host)
{
    return host->process;
}

struct disk *sim_host_disk(struct sim_host *host)
{
    return host->disk;
}

void sim_host_uid(struct sim_host *host, uint32_t uid)
{
    host->uid = uid;
}

void sim_host_beside(struct sim_host *host, struct sim_host *machine)
{
    host->machine = machine;
}

void sim_host_wall(struct sim_host *host, int64_t us)
{
    host->wall_us = us;
}

void sim_wipe(struct sim_host *host)
{
    CHECK(!host->process);
    disk_free(host->disk);
    host->disk = disk_new();
}

struct disk *sim_keep_image(struct sim_host *host, struct rng *rng)
{
    CHECK(!host->process);
    return disk_image(host->disk, host->sim->now, false, rng);
}

void sim_set_back(struct sim_host *host, struct disk *image)
{
    CHECK(!host->process);
    disk_free(host->disk);
    host->disk = image;
}

int sim_host_read_part(struct sim_host *host, const char *path, uint64_t from, bool sparse, struct buf *out, uint64_t *size)
{
    struct disk_node *node;
    int rv = disk_open(host->disk, path, false, false, host->sim->now, &node);
    if (rv) {
        return rv;
    }
    *size = disk_size(node);
    uint64_t end = sparse ? disk_extent(node) : *size, n = end > from ? end - from : 0;
    uint8_t *to = n > SIZE_MAX ? NULL : buf_extend(out, (size_t)n);
    if (to) {
        disk_read(node, to, (size_t)n, from);
    } else {
        rv = E_TOOBIG;
    }
    disk_release(host->disk, node);
    return rv;
}

int sim_host_read(struct sim_host *host, const char *path, struct buf *out)
{
    uint64_t size;
    return sim_host_read_part(host, path, 0, false, out, &size);
}

void sim_crash_after(struct sim_host *host, uint64_t n, enum sim_crash kind)
{
    host->crash_in = n;
    host->crash_kind = kind;
}

uint64_t sim_file_calls(const struct sim_host *host)
{
    return host->file_calls;
}

uint64_t sim_loop_file_calls(const struct sim_host *host)
{
    return host->loop_file_calls;
}

void sim_fail_call(struct sim_host *host, enum sim_call call, uint64_t n, int code, bool forever)
{
    host->faults[call] = (struct fault){.countdown = n, .code = code, .forever = forever};
}

void sim_fault(struct sim_host *host, const struct sim_fault *fault)
{
    host->fault = fault ? *fault : (struct sim_fault){0};
    if (fault) {
        host->struck = (struct sim_struck){0};
    }
}

const struct sim_struck *sim_struck(const struct sim_host *host)
{
    return &host->struck;
}

void sim_watch(struct sim_host *host, const char *path)
{
    host->struck = (struct sim_struck){0};
    snprintf(host->struck.paths[0], sizeof host->struck.paths[0], "%s", path);
}

const char *sim_last_words(const struct sim_host *host)
{
    return host->last_words;
}

void sim_forget_words(struct sim_host *host)
{
    host->last_words[0] = 0;
}

void sim_see_writes(struct sim *sim, sim_write_seen *seen, void *arg)
{
    sim->write_seen = seen;
    sim->write_seen_arg = arg;
}

void sim_slow_disk(struct sim_host *host, unsigned factor)
{
    host->slow = factor;
}

/* ---- processes ----------------------------------------------------------------------------------------- */

static void run_start(void *arg)
{
    struct sim_process *p = arg;
    if (p->ghost) {
        sim_exit(p); /* died before it began */
        return;
    }
    p->started = p->in_start = true;
    p->program->start(p, &p->envs[0]->env, p->arg);
    p->in_start = false;
}

void sim_start(struct sim_host *host, const struct sim_program *program, void *arg)
{
    struct sim *sim = host->sim;
    struct sim_process *p = mem_new(sizeof *p), **end = &sim->processes;
    CHECK(!host->process && !sim->ending);
    p->sim = sim;
    p->host = host;
    p->incarnation = ++host->incarnation;
    p->disk = host->disk;
    p->program = program;
    p->arg = arg;
    rng_init(&p->rng, sim->seed, 1u << 20 | (uint64_t)host->id << 32 | p->incarnation);
    rng_init(&p->sched, sim->seed, 2u << 20 | (uint64_t)host->id << 32 | p->incarnation);
    p->now_offset =
        rng_between(&p->sched, 0, 100000 * ENV_S); /* a monotonic clock means nothing to the next boot */
    host->process = p;
    host->off = false;
    while (*end) {
        end = &(*end)->next;
    }
    *end = p;
    sim_env_new(p, "main");
    events_add(&sim->events, sim_time(sim) + ENV_MS, EV_START, p->envs[0], run_start, p);
}

static void run_stop(void *arg)
{
    struct sim_process *p = arg;
    p->program->stop(p, p->arg);
}

/* Once in the life of a process, as a ghost or not. */
static void ask_stop(struct sim_process *p)
{
    struct sim *sim = p->sim;
    if (!p->stopping && p->started) {
        p->stopping = true;
        events_add(&sim->events, sim_time(sim) + ENV_MS / 100, EV_STOP, p->envs[0], run_stop, p);
    }
}

void sim_stop(struct sim_host *host)
{
    if (host->process) {
        ask_stop(host->process);
    }
}

struct going {
    struct sim_host *host;
    const struct sim_program *program;
    void *arg;
    bool crashed;
};

static void run_gone(void *arg)
{
    struct going *going = arg;
    if (going->program->gone && !going->host->sim->ending) {
        going->program->gone(going->host, going->crashed, going->arg);
    }
    going->host->sim->going--;
    mem_free(going);
}

/* The host is free from now on; gone() hears of it in a moment. */
static void leave_host(struct sim_process *p, bool crashed)
{
    struct sim *sim = p->sim;
    struct going *going = mem_new(sizeof *going);
    *going = (struct going){.host = p->host, .program = p->program, .arg = p->arg, .crashed = crashed};
    p->host->process = NULL;
    sim->going++;
    events_add(&sim->events, sim_time(sim), EV_GONE, NULL, run_gone, going);
}

void process_die(struct sim_process *p, enum sim_crash kind, uint64_t when)
{
    struct sim_host *host = p->host;
    char text[96];
    CHECK(!p->ghost && host->process == p && host->disk == p->disk);
    snprintf(text, sizeof text, "crash kind=%s files=%llu", kind == SIM_POWER ? "power" : "kill",
             (unsigned long long)host->file_calls);
    sim_log_line(p->sim, p->envs[0], ENV_INFO, text);
    host->disk = disk_image(p->disk, when, kind == SIM_POWER, &host->rng);
    host->off = kind == SIM_POWER;
    host->crash_in = 0;
    net_process_died(p, kind);
    p->ghost = true;
    leave_host(p, true);
    ask_stop(p);
}

void sim_crash(struct sim_host *host, enum sim_crash kind)
{
    if (host->process && !host->process->exited) {
        process_die(host->process, kind, sim_time(host->sim));
    }
}

static unsigned open_envs(const struct sim_process *p)
{
    unsigned n = 0;
    for (size_t i = 1; i < p->n_envs; i++) {
        n += !p->envs[i]->joined;
    }
    return n;
}

static void bury(void *arg)
{
    struct sim_process *p = arg;
    struct sim *sim = p->sim;
    unsigned streams = net_process_open(p), envs = open_envs(p), timers = p->envs[0]->timers;
    const char *file = files_first_open(p);
    if (streams || envs || timers || file) {
        sim_fail(sim,
                 "%s#%u ended and left open: %u streams, sockets or listeners, %u envs, %u timers, file %s",
                 p->host->name, p->incarnation, streams, envs, timers, file ? file : "none");
    }
    process_free(p);
}

void sim_exit(struct sim_process *p)
{
    CHECK(!p->exited);
    p->exited = true;
    if (!p->ghost) {
        leave_host(p, false);
    }
    events_add(&p->sim->events, sim_time(p->sim), EV_GONE, NULL, bury, p);
}

void process_free(struct sim_process *p)
{
    struct sim_process **at = &p->sim->processes;
    net_process_free(p);
    for (size_t i = 0; i < p->n_envs; i++) {
        events_drop_for(&p->sim->events, p->envs[i]);
        sim_env_free(p->envs[i]);
    }
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    if (p->ghost) {
        disk_free(p->disk);
    }
    mem_free(p->envs);
    mem_free(p);
}

void sim_process_set(struct sim_process *process, void *app)
{
    process->app = app;
}

void *sim_process_get(const struct sim_process *process)
{
    return process->app;
}

struct sim_host *sim_process_host(struct sim_process *process)
{
    return process->host;
}

bool sim_process_is_ghost(const struct sim_process *process)
{
    return process->ghost;
}

struct env *sim_process_env(struct sim_process *process)
{
    return &process->envs[0]->env;
}

uint64_t sim_env_clock(const struct env *env)
{
    return ((const struct sim_env *)env)->clock;
}

struct sim *sim_host_sim(struct sim_host *host)
{
    return host->sim;
}
