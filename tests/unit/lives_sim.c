/* lives_sim.c: see lives.h: stories on the simulator's disk.
 *
 * A life tells one step after the other with a short pause, so that the storage env is met at any place of its work. A process that
 * was killed goes on as a ghost until the world ends it: it tells no more, and frees what it has. */
#include "tests/unit/lives.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "tests/sim/env_sim.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#define DIR "/data"

enum { SEEDS = 4 }; /* so many are needed to find that a sync of a directory is missing */

enum ending { TO_THE_END, POWER_AT_THE_END, POWER_WHEN_OPEN };

struct rig {
    const struct story *story;
    struct sim *sim;
    struct sim_host *host;
    uint64_t durable; /* the last checkpoint that was told or read */
    enum ending ending;
    bool alive, finished, looks, right;
    struct errmsg em;
};

/* A process; it may go on as a ghost. */
struct life {
    struct rig *rig;
    struct sim_process *process;
    struct env_timer pause;
    struct telling telling;
};

/* ---- a process ----------------------------------------------------------------------------------------- */

static void end(struct rig *rig, bool power)
{
    if (power) {
        sim_crash(rig->host, SIM_POWER);
    } else {
        sim_stop(rig->host);
    }
}

static void told(void *arg)
{
    struct life *life = arg;
    struct rig *rig = life->rig;
    if (!sim_process_is_ghost(life->process)) {
        rig->durable = store_checkpoint_index(life->telling.store);
        rig->finished = true;
        end(rig, rig->ending == POWER_AT_THE_END);
    }
}

static void fail(struct life *life, const char *text)
{
    if (!sim_process_is_ghost(life->process)) {
        sim_fail(life->rig->sim, "%s", text);
        sim_stop(life->rig->host);
    }
}

static void go_on(struct env_timer *pause)
{
    struct life *life = CONTAINER_OF(pause, struct life, pause);
    struct errmsg em = {""};
    int rv = life->rig->story->step(&life->telling, &em);
    if (sim_process_is_ghost(life->process)) {
        return;
    }
    if (rv < 0) {
        fail(life, em.text);
    } else if (rv == 0) {
        store_checkpoint(life->telling.store, life->telling.index, told, life);
    } else {
        env_timer_start(&life->pause, ENV_MS / 20);
    }
}

static void opened(struct life *life)
{
    struct rig *rig = life->rig;
    uint64_t index = store_checkpoint_index(life->telling.store);
    if (index < rig->durable) {
        fail(life, "the checkpoint has gone back");
        return;
    }
    rig->durable = index;
    if (rig->ending == POWER_WHEN_OPEN) {
        sim_crash(rig->host, SIM_POWER);
    } else {
        env_timer_start(&life->pause, 0);
    }
}

static void look(struct sim_process *process, struct env *env, struct rig *rig)
{
    rig->right = rig->story->right(env, DIR);
    sim_stop(sim_process_host(process));
}

static void rig_start(struct sim_process *process, struct env *env, void *arg)
{
    struct rig *rig = arg;
    struct errmsg em = {""};
    struct life *life = mem_new(sizeof *life);
    *life = (struct life){.rig = rig, .process = process, .telling = {.loop = env, .dir = DIR}};
    sim_process_set(process, life);
    (void)env_timer_open(env, &life->pause, go_on);
    (void)env_mkdir(env, DIR, NULL);
    (void)env_sync_dir(env, "/", NULL);
    if (rig->looks) {
        look(process, env, rig);
        return;
    }
    struct store **store = &life->telling.store;
    int rv = rig->story->open ? rig->story->open(env, DIR, store, &em) : store_open_with(env, DIR, &lives_options, store, &em);
    if (sim_process_is_ghost(process)) {
        return;
    }
    if (rv) {
        *store = NULL;
        fail(life, em.text);
    } else {
        opened(life);
    }
}

static void closed(void *arg)
{
    struct life *life = arg;
    struct sim_process *process = life->process;
    mem_free(life);
    sim_exit(process);
}

static void rig_stop(struct sim_process *process, void *arg)
{
    struct life *life = sim_process_get(process);
    (void)arg;
    env_timer_close(&life->pause);
    if (life->telling.store) {
        store_close(life->telling.store, closed, life);
    } else {
        closed(life);
    }
}

static void rig_gone(struct sim_host *host, bool crashed, void *arg)
{
    (void)host;
    (void)crashed;
    ((struct rig *)arg)->alive = false;
}

static const struct sim_program program = {rig_start, rig_stop, rig_gone};

/* ---- lives --------------------------------------------------------------------------------------------- */

static bool is_gone(void *arg)
{
    return !((struct rig *)arg)->alive;
}

static void failure(void *arg, const char *text)
{
    fprintf(stderr, "%s: %s\n", ((struct rig *)arg)->story->name, text);
}

/* False: it did not end, or not as it should. */
static bool live(struct rig *rig, enum ending ending)
{
    rig->alive = true;
    rig->finished = false;
    rig->ending = ending;
    sim_start(rig->host, &program, rig);
    bool ended = sim_run_until(rig->sim, is_gone, rig, 3600 * ENV_S);
    sim_run(rig->sim, ENV_S); /* ghosts end */
    if (*sim_last_words(rig->host)) {
        fprintf(stderr, "%s: %s\n", rig->story->name, sim_last_words(rig->host));
        return false;
    }
    return ended && !sim_failed(rig->sim);
}

static bool live_and_crash(struct rig *rig, uint64_t call, enum sim_crash kind)
{
    sim_crash_after(rig->host, call, kind);
    bool right = live(rig, TO_THE_END);
    sim_crash_after(rig->host, 0, kind);
    return right;
}

/* All lives, the first one with a crash in that call; *reached: it had so many. */
static bool crash_at(const struct story *story, uint64_t seed, uint64_t call, enum sim_crash kind, bool *reached)
{
    struct rig rig = {.story = story, .sim = sim_new(seed * 1000003 + call)};
    rig.host = sim_host_new(rig.sim, "a");
    sim_on_failure(rig.sim, failure, &rig);
    bool right = live_and_crash(&rig, call, kind);
    *reached = !rig.finished;
    if (right && call % 3 == 0) {
        right = live(&rig, POWER_WHEN_OPEN);
    } else if (right && call % 3 == 1) {
        right = live_and_crash(&rig, 1 + call * 7 % 31, call % 2 ? SIM_POWER : SIM_KILL);
    }
    right = right && live(&rig, POWER_AT_THE_END) && live(&rig, TO_THE_END);
    rig.looks = true;
    right = right && live(&rig, TO_THE_END) && rig.right;
    if (!right) {
        fprintf(stderr, "%s: seed %llu, %s in call %llu\n", story->name, (unsigned long long)seed, kind == SIM_KILL ? "killed" : "power lost",
                (unsigned long long)call);
        sim_dump(rig.sim, stderr);
    }
    sim_free(rig.sim);
    return right;
}

static bool crash_with(const struct story *story, uint64_t seed, struct lives_tally *tally)
{
    bool right = true, reached = true;
    uint64_t call = 1;
    for (; reached && right; call++) {
        bool killed = false, lost = false;
        right = crash_at(story, seed, call, SIM_KILL, &killed) && crash_at(story, seed, call, SIM_POWER, &lost);
        reached = killed || lost;
        tally->crashed += (unsigned)killed + (unsigned)lost;
    }
    tally->calls = call;
    return right;
}

bool lives_crash(const struct story *story, struct lives_tally *tally)
{
    bool right = true;
    *tally = (struct lives_tally){0};
    for (uint64_t seed = unit_seed(); right && seed < unit_seed() + SEEDS; seed++) {
        right = crash_with(story, seed, tally);
    }
    printf("# %s: %u ends in %llu calls\n", story->name, tally->crashed, (unsigned long long)tally->calls);
    return right;
}
