/* test_store_power: storage on the simulator's disk: killed at any call of a checkpoint, started, and then the power goes.
 * What a start reads as its checkpoint is what raft then builds a snapshot on, so it must never go back. */
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"
#include "storage/store.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>

enum { CALLS = 90, FILES = 4 };

struct rig {
    struct sim *sim;
    struct sim_host *host;
    uint64_t durable; /* the last checkpoint that was told or read */
    uint64_t files;   /* to be made in this life */
    bool alive, power;
    int open_rv;
    struct errmsg em;
};

/* A process; it may go on as a ghost. */
struct life {
    struct rig *rig;
    struct sim_process *process;
    struct store *store;
    uint64_t at;
};

static void next_file(struct life *life);

static void checkpoint_done(void *arg)
{
    struct life *life = arg;
    if (!sim_process_is_ghost(life->process)) {
        life->rig->durable = life->at;
        next_file(life);
    }
}

static void next_file(struct life *life)
{
    char name[32];
    if (life->rig->files == 0) {
        sim_stop(life->rig->host);
        return;
    }
    life->rig->files--;
    snprintf(name, sizeof name, "mysql-bin.%06llu", (unsigned long long)++life->at);
    store_file(life->store, life->at, 0, 1, name, NULL);
    store_checkpoint(life->store, life->at, checkpoint_done, life);
}

static void opened(struct life *life)
{
    struct rig *rig = life->rig;
    life->at = store_checkpoint_index(life->store);
    if (life->at < rig->durable) {
        sim_fail(rig->sim, "the checkpoint was at %llu and is at %llu", (unsigned long long)rig->durable, (unsigned long long)life->at);
    }
    rig->durable = life->at;
    if (rig->power) {
        sim_crash(rig->host, SIM_POWER);
    } else {
        next_file(life);
    }
}

static void rig_start(struct sim_process *process, struct env *env, void *arg)
{
    struct rig *rig = arg;
    struct errmsg em = {""};
    struct life *life = mem_new(sizeof *life);
    *life = (struct life){.rig = rig, .process = process};
    sim_process_set(process, life);
    (void)env_mkdir(env, "/data", NULL);
    (void)env_sync_dir(env, "/", NULL);
    int rv = store_open(env, "/data", &life->store, &em);
    if (sim_process_is_ghost(process)) {
        return;
    }
    rig->open_rv = rv;
    rig->em = em;
    if (rv) {
        sim_stop(rig->host);
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
    if (life->store) {
        store_close(life->store, closed, life);
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

static bool is_gone(void *arg)
{
    return !((struct rig *)arg)->alive;
}

static void failure(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
}

static bool live(struct rig *rig, uint64_t files, bool power)
{
    rig->alive = true;
    rig->files = files;
    rig->power = power;
    sim_start(rig->host, &program, rig);
    bool ended = sim_run_until(rig->sim, is_gone, rig, 3600 * ENV_S);
    sim_run(rig->sim, ENV_S); /* ghosts end */
    return ended && !rig->open_rv && !sim_failed(rig->sim);
}

static void a_checkpoint_that_was_read_stays(void)
{
    unsigned killed = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 3; seed++) {
        for (uint64_t call = 1; call < CALLS; call++) {
            struct rig rig = {.sim = sim_new(seed)};
            sim_on_failure(rig.sim, failure, NULL);
            rig.host = sim_host_new(rig.sim, "a");
            sim_crash_after(rig.host, call, SIM_KILL);
            bool ok = live(&rig, FILES, false);
            killed += rig.files > 0;
            sim_crash_after(rig.host, 0, SIM_KILL);
            ok = ok && live(&rig, 0, true) && live(&rig, 1, false) && live(&rig, 0, false);
            if (!ok) {
                printf("# seed %llu, killed at call %llu: %s\n", (unsigned long long)seed, (unsigned long long)call,
                       rig.open_rv ? rig.em.text : "");
            }
            UNIT_TRUE(ok);
            sim_free(rig.sim);
        }
    }
    UNIT_TRUE(killed > 100);
}

UNIT_MAIN("store_power", UNIT_TEST(a_checkpoint_that_was_read_stays))
