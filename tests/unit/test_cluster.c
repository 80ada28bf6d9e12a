/* test_cluster: one node's raft, log, state machine and files together on the simulator's disk: whatever moment the process dies at, an entry whose
 * proposal succeeded is there after the restart, in the state and in the files, also across snapshots. */
#include "tests/unit/unit.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/cluster_impl.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>
#include <string.h>

enum { BYTES_MAX = 4 << 20, CRASHES = 8, ENTRIES = 120 };

struct rig {
    struct sim *sim;
    struct sim_host *host;
    uint8_t *history;        /* what the one file should hold, by offset */
    uint64_t proposed;       /* end of what was proposed */
    uint64_t acknowledged;   /* end of what succeeded */
    uint64_t transactions;   /* acknowledged */
    unsigned left, leading, settled, restarts;
    uint64_t highest_snapshot;
    uint64_t term; /* of the last life that led */
    bool alive;
    bool torn;         /* the last entry ends inside a transaction, */
    uint64_t cut_after; /* which is cut so long after it was stored */
    bool cut;
};

/* One process's life: a ghost's callbacks must not count. */
struct life {
    struct rig *rig;
    struct sim_process *process;
    struct cluster *cluster;
    struct env_timer cut;
};

static struct cluster_options options_of(struct env *env)
{
    struct cluster_options o = {.loop = env, .data_dir = "/d", .id = 1, .n_initial = 1, .snapshot_bytes = 300000};
    o.initial[0] = (struct cluster_member){.id = 1, .address = "a:1"};
    return o;
}

static void propose_next(struct life *life);

static void events_done(void *arg, int status)
{
    struct life *life = arg;
    struct rig *rig = life->rig;
    if (sim_process_is_ghost(life->process)) {
        return;
    }
    if (status == 0 && rig->torn && !rig->left) {
        env_timer_start(&life->cut, rig->cut_after);
    } else if (status == 0) {
        rig->acknowledged = rig->proposed;
        rig->transactions++;
        propose_next(life);
    } else if (status != E_CANCELED) {
        sim_fail(rig->sim, "a proposal failed: %s", err_text(status));
    }
}

static void file_done(void *arg, int status)
{
    struct life *life = arg;
    if (status == 0 && !sim_process_is_ghost(life->process)) {
        life->rig->proposed = life->rig->acknowledged = 4;
        propose_next(life);
    }
}

static void propose_next(struct life *life)
{
    struct rig *rig = life->rig;
    struct rng *rng = sim_rng(rig->sim);
    struct entry_events e = {.era = 1, .name = "b.000001", .offset = rig->proposed};
    struct entry_txn last = {.end = rig->proposed};
    struct buf txns, entry;
    size_t n = rng_chance(rng, 5) ? (size_t)rng_between(rng, 100000, 900000) : (size_t)rng_between(rng, 30, 9000);
    if (!rig->left || rig->proposed + n > BYTES_MAX) {
        sim_stop(rig->host);
        return;
    }
    bool torn = --rig->left == 0 && rig->torn;
    n = torn ? 400000 : n; /* enough for a snapshot */
    rng_bytes(rng, rig->history + rig->proposed, n);
    e.boundary = rig->proposed + (torn ? 0 : n);
    struct entry_txn txn = {.end = e.boundary, .gtid = {.flavour = FLAVOUR_MYSQL, .gno = rig->transactions + 1}};
    buf_init(&txns, 1000);
    buf_init(&entry, ENTRY_MAX);
    if (!torn) {
        entry_txn_put(&txns, &last, &txn);
    }
    entry_put_events(&entry, &e, &txns, rig->history + rig->proposed, n);
    buf_free(&txns);
    rig->proposed += n;
    cluster_propose(life->cluster, &entry, events_done, life);
}

/* After a restart: all that succeeded is in the state; what was in flight may be. */
static void check_state(struct life *life)
{
    struct rig *rig = life->rig;
    const struct state *s = cluster_state(life->cluster);
    const struct state_file *file = state_file(s);
    uint64_t size = file ? file->size : 0;
    if (size != rig->acknowledged && size != rig->proposed) {
        sim_fail(rig->sim, "the file ends at %llu, acknowledged %llu, proposed %llu", (unsigned long long)size,
                 (unsigned long long)rig->acknowledged, (unsigned long long)rig->proposed);
    }
    rig->transactions = s->executed ? gtid_set_count(s->executed) : 0;
    rig->acknowledged = rig->proposed = size;
}

static void on_leading(void *owner, bool leading)
{
    struct life *life = owner;
    struct buf b;
    if (!leading || sim_process_is_ghost(life->process)) {
        return;
    }
    life->rig->leading++;
    if (cluster_term(life->cluster) <= life->rig->term) { /* another member may have entries of it that were lost here */
        sim_fail(life->rig->sim, "it leads again in term %llu", (unsigned long long)life->rig->term);
    }
    life->rig->term = cluster_term(life->cluster);
    check_state(life);
    if (state_file(cluster_state(life->cluster))) {
        propose_next(life);
        return;
    }
    struct entry_file f = {.era = 1, .name = "b.000001", .origin = {.flavour = FLAVOUR_MYSQL}};
    buf_init(&b, ENTRY_MAX);
    entry_put_file(&b, &f);
    life->rig->proposed = 4;
    cluster_propose(life->cluster, &b, file_done, life);
}

static void on_applied(void *owner, const struct state_effect *effect)
{
    (void)owner;
    (void)effect;
}

static void cut_done(void *arg, int status)
{
    struct life *life = arg;
    life->rig->cut = status == 0;
}

static void cut_it(struct env_timer *timer)
{
    struct life *life = CONTAINER_OF(timer, struct life, cut);
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    entry_noop(&b);
    cluster_propose(life->cluster, &b, cut_done, life);
}

static const struct cluster_handler handler = {.leading = on_leading, .applied = on_applied};

static void rig_start(struct sim_process *process, struct env *env, void *arg)
{
    struct rig *rig = arg;
    struct cluster_options o = options_of(env);
    struct errmsg em;
    struct life *life = mem_new(sizeof *life);
    (void)env_mkdir(env, "/d", NULL);
    (void)env_sync_dir(env, "/", NULL);
    *life = (struct life){.rig = rig, .process = process};
    rig->restarts++;
    UNIT_INT(env_timer_open(env, &life->cut, cut_it), 0);
    if (cluster_open(&o, &handler, life, &life->cluster, &em)) {
        if (!sim_process_is_ghost(process)) {
            sim_fail(rig->sim, "cluster_open: %s", em.text);
        }
        env_fatal(env, "cluster_open: %s", em.text);
    }
    sim_process_set(process, life);
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
    if (life) {
        sim_process_set(process, NULL);
        env_timer_close(&life->cut);
        cluster_close(life->cluster, closed, life);
    } else {
        sim_exit(process);
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

static void run(struct rig *rig)
{
    rig->alive = true;
    sim_start(rig->host, &program, rig);
    UNIT_TRUE(sim_run_until(rig->sim, is_gone, rig, 600 * ENV_S));
}

static void check_file(struct rig *rig)
{
    struct buf b;
    buf_init(&b, BYTES_MAX);
    UNIT_INT(sim_host_read(rig->host, "/d/binlog/1/b.000001", &b), 0);
    UNIT_UINT(b.len, rig->acknowledged);
    if (b.len == rig->acknowledged) {
        UNIT_MEM(b.data, rig->history, b.len);
    }
    buf_free(&b);
}

static void survives_crashes_at_any_file_call(void)
{
    unsigned restarts = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 30; seed++) {
        struct rig rig = {.sim = sim_new(seed), .history = mem_new(BYTES_MAX)};
        memcpy(rig.history, "\xfe" "bin", 4);
        sim_on_failure(rig.sim, failure, NULL);
        rig.host = sim_host_new(rig.sim, "a");
        for (unsigned i = 0; i < CRASHES && !sim_failed(rig.sim); i++) {
            rig.left = ENTRIES;
            sim_crash_after(rig.host, rng_between(sim_rng(rig.sim), 1, 400), rng_chance(sim_rng(rig.sim), 70) ? SIM_POWER : SIM_KILL);
            run(&rig);
        }
        sim_crash_after(rig.host, 0, SIM_POWER);
        rig.left = 10;
        run(&rig);
        UNIT_TRUE(rig.leading > 0);
        UNIT_TRUE(rig.acknowledged > 4);
        check_file(&rig);
        if (sim_failed(rig.sim)) {
            printf("# failed with seed %llu\n", (unsigned long long)seed);
            sim_dump(rig.sim, stdout);
        }
        UNIT_TRUE(!sim_failed(rig.sim));
        restarts += rig.restarts;
        sim_free(rig.sim);
        mem_free(rig.history);
    }
    UNIT_TRUE(restarts > 30 * CRASHES);
}

/* The log does not grow with what was written: snapshots give it back, and a start after many of them is clean. */
static void log_stays_small(void)
{
    struct rig rig = {.sim = sim_new(unit_seed()), .history = mem_new(BYTES_MAX)};
    memcpy(rig.history, "\xfe" "bin", 4);
    sim_on_failure(rig.sim, failure, NULL);
    rig.host = sim_host_new(rig.sim, "a");
    for (unsigned i = 0; i < 3; i++) {
        rig.left = 400;
        run(&rig);
        check_file(&rig);
    }
    UNIT_TRUE(rig.acknowledged > 2 << 20);
    UNIT_UINT(rig.leading, 3);
    struct buf b;
    buf_init(&b, 1 << 20);
    UNIT_INT(sim_host_read(rig.host, "/d/raft/snapshot", &b), 0);
    buf_free(&b);
    UNIT_TRUE(!sim_failed(rig.sim));
    sim_free(rig.sim);
    mem_free(rig.history);
}

static bool is_cut(void *arg)
{
    return ((struct rig *)arg)->cut;
}

/* Does the manifest in the last snapshot end where a transaction does? */
static bool manifest_is_whole(struct cluster *c)
{
    const struct snapshot *s = rio_snapshot(c->rio);
    struct state *state;
    struct cur cur = cur_of(s ? s->data.data : NULL, s ? s->data.len : 0);
    if (!s || state_decode(&cur, &state)) {
        return false;
    }
    bool whole = state->boundary == state->file.size;
    state_free(state);
    return whole;
}

/* A snapshot was taken, or is being taken, inside a transaction that is cut then, and nothing is written any more: another one follows, since
 * nobody has the bytes that the first one names. */
static void a_manifest_does_not_name_what_was_cut(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct rig rig = {.sim = sim_new(unit_seed()), .history = mem_new(BYTES_MAX), .left = 1, .torn = true, .cut_after = i * ENV_S};
        sim_on_failure(rig.sim, failure, NULL);
        rig.host = sim_host_new(rig.sim, "a");
        rig.alive = true;
        sim_start(rig.host, &program, &rig);
        UNIT_REQUIRE(sim_run_until(rig.sim, is_cut, &rig, 60 * ENV_S));
        struct life *life = sim_process_get(sim_host_process(rig.host));
        UNIT_TRUE(i == 0 || !manifest_is_whole(life->cluster));
        sim_run(rig.sim, 3 * ENV_S);
        UNIT_TRUE(manifest_is_whole(life->cluster));
        UNIT_TRUE(cluster_state(life->cluster)->index < 10); /* it needs no more entries than one */
        sim_stop(rig.host);
        UNIT_TRUE(sim_run_until(rig.sim, is_gone, &rig, 600 * ENV_S));
        UNIT_TRUE(!sim_failed(rig.sim));
        sim_free(rig.sim);
        mem_free(rig.history);
    }
}

UNIT_MAIN("cluster", UNIT_TEST(survives_crashes_at_any_file_call), UNIT_TEST(log_stays_small), UNIT_TEST(a_manifest_does_not_name_what_was_cut))
