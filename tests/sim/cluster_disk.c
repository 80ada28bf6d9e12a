/* cluster_disk.c: one node's disk fails, or forgets a bit; the others go on.
 *
 * A call that failed must be told of (faults.h); the node ends, or goes on without harm. The disk is mended, and the node started again.
 * A bit that changed is found at start (the node refuses, names the file, says what to do, and changes nothing), or what it
 * stands in is not used; in a binlog file it may be served to nobody, which the replicas look at. */
#include "tests/sim/cluster_world.h"
#include "tests/sim/faults.h"

#include <inttypes.h>
#include <string.h>

/* It ended because the others do not want it (any more): its disk had no part in that. */
static bool is_refused(struct sim_host *host)
{
    static const char *const reasons[] = {"was removed from cluster", "was replaced", "has less than it acknowledged", "is empty but cluster"};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strstr(sim_last_words(host), reasons[i])) {
            return true;
        }
    }
    return false;
}

void cluster_bad_disk(struct world *w)
{
    size_t i = cluster_any_node(w);
    struct sim_host *host = w->node_hosts[i];
    if (w->nodes[i].lost) { /* given up already */
        return;
    }
    const struct fault_kind *kind = &fault_kinds[rng_below(w->rng, fault_kinds_n)];
    const char *file = rng_chance(w->rng, 30) ? NULL : fault_files[rng_below(w->rng, fault_files_n)];
    uint64_t k = rng_between(w->rng, 1, file ? 3 : 40);
    sim_note(w->sim, "fault: node%zu: %s of %s at call %" PRIu64, i + 1, kind->name, file ? file : "any file", k);
    w->nodes[i].may_fail = true;
    fault_plan(host, kind, file, k);
    if (rng_chance(w->rng, 30)) { /* while it starts */
        w->node_crashes++;
        sim_crash(host, cluster_any_crash(w));
        world_run(w, rng_between(w->rng, ENV_MS, 100 * ENV_MS));
        cluster_start_again(w, i);
    }
    world_run(w, rng_between(w->rng, 10 * ENV_MS, 3 * ENV_S));
    fault_check_told(host);
    if (!sim_host_process(host) && rng_chance(w->rng, 30)) { /* too early: the disk is still bad */
        cluster_start_again(w, i);
        world_run(w, rng_between(w->rng, 10 * ENV_MS, ENV_S));
        fault_check_told(host);
    }
    w->faults += sim_struck(host)->times > 0;
    sim_fault(host, NULL);
    if (rng_chance(w->rng, 40)) { /* what a failed sync promised for later is not there */
        w->node_crashes++;
        sim_crash(host, SIM_POWER);
        world_run(w, rng_between(w->rng, ENV_MS, 100 * ENV_MS));
    }
    w->nodes[i].may_fail = false;
    cluster_start_again(w, i);
}

void cluster_rot(struct world *w)
{
    size_t i = cluster_any_node(w);
    struct sim_host *host = w->node_hosts[i];
    struct rot rot;
    if (w->nodes[i].lost) {
        return;
    }
    if (rng_chance(w->rng, 50)) {
        sim_stop(host);
        world_run(w, 2 * ENV_S);
    }
    w->node_crashes++;
    sim_crash(host, cluster_any_crash(w));
    world_run(w, rng_between(w->rng, ENV_MS, 100 * ENV_MS));
    rot_strike(host, &rot);
    w->rots += rot.done;
    w->nodes[i].may_fail = true;
    sim_forget_words(host);
    cluster_start_again(w, i);
    world_run(w, rng_between(w->rng, 100 * ENV_MS, 4 * ENV_S));
    if (rot.done && !sim_host_process(host) && is_refused(host)) {
        rot_mend(host, &rot);
    } else if (rot.done && !sim_host_process(host)) {
        rot_check_refusal(host, &rot);
        w->refusals++;
        if (!rot_mend(host, &rot)) {
            sim_fail(w->sim, "node%zu refused to start, and has changed %s", i + 1, rot.path);
        }
    } else if (rot.done && rot_is_there(host, &rot) && strstr(rot.path, "/binlog/1/mysql-bin") && !strstr(rot.path, ".index")) {
        sim_crash(host, SIM_KILL);
        world_run(w, 10 * ENV_MS);
        rot_mend(host, &rot);
    }
    w->nodes[i].may_fail = false;
    cluster_start_again(w, i);
}
