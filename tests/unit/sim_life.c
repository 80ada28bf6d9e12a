/* sim_life.c: see sim_life.h. */
#include "tests/unit/sim_life.h"

enum { LIFE_S = 60 };

struct life {
    void (*run)(const struct sim_life *life, void *arg);
    void *arg;
    bool alive, crashed;
};

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct life *life = arg;
    const struct sim_life now = {.env = env, .process = process};
    life->run(&now, life->arg);
    if (!sim_process_is_ghost(process)) {
        sim_stop(sim_process_host(process));
    }
}

static void stop(struct sim_process *process, void *arg)
{
    (void)arg;
    sim_exit(process);
}

static void gone(struct sim_host *host, bool crashed, void *arg)
{
    struct life *life = arg;
    (void)host;
    life->alive = false;
    life->crashed = crashed;
}

static const struct sim_program program = {start, stop, gone};

static bool is_gone(void *arg)
{
    return !((struct life *)arg)->alive;
}

bool sim_life(struct sim_host *host, void (*run)(const struct sim_life *life, void *arg), void *arg)
{
    struct life life = {.run = run, .arg = arg, .alive = true};
    sim_start(host, &program, &life);
    bool ended = sim_run_until(sim_host_sim(host), is_gone, &life, LIFE_S * ENV_S);
    sim_run(sim_host_sim(host), ENV_S); /* a ghost ends */
    return ended && !life.crashed;
}
