/* test_wal: the write-ahead log on the simulator's disk: what was acknowledged is there after a loss of power at any file call, what was torn is
 * cut, and damage to acknowledged records is found and never papered over. */
#include "tests/unit/unit.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/vote.h"
#include "raft/wal.h"
#include "raft/wal_format.h"
#include "tests/sim/disk.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_MAX = 4000, BATCH_MAX = 8, CRASHES = 12 };

/* Contents are made from a number, so that a model of a record is three integers. */
struct modelled {
    uint64_t term;
    uint32_t len;
    uint32_t fill;
};

struct model {
    struct modelled records[MODEL_MAX]; /* by index */
    uint64_t last;
    uint64_t compacted; /* may be gone up to here */
};

enum op { OP_NONE, OP_APPEND, OP_TRUNCATE };

struct rig {
    struct sim *sim;
    struct sim_host *host;
    struct model model; /* what was acknowledged */
    enum op op;         /* what was going on at the crash */
    uint64_t op_index;
    struct modelled op_records[BATCH_MAX];
    size_t op_n;
    bool alive;
    unsigned recoveries, torn;
    uint64_t term;
    int open_rv;
    struct errmsg open_em;
    unsigned steps;
};

static void fill(uint8_t *data, const struct modelled *m)
{
    for (uint32_t i = 0; i < m->len; i++) {
        data[i] = (uint8_t)(m->fill + i * 7 + (i >> 8));
    }
}

static bool matches(const struct modelled *m, const struct wal_record *r)
{
    uint8_t *data = mem_new(m->len + 1);
    fill(data, m);
    bool same = m->term == r->term && m->len == r->len && r->type == 1 && (!m->len || !memcmp(data, r->data, m->len));
    mem_free(data);
    return same;
}

/* Is what was found the model with the first `k` parts of the interrupted operation done? */
static bool found_is(const struct rig *rig, const struct wal_found *found, size_t k)
{
    struct model *m = mem_dup(&rig->model, sizeof rig->model);
    if (rig->op == OP_TRUNCATE && k) {
        m->last = rig->op_index - 1;
    }
    for (size_t i = 0; rig->op == OP_APPEND && i < k; i++) {
        m->records[rig->op_index + i] = rig->op_records[i];
        m->last = rig->op_index + i;
    }
    bool same = found->n ? found->first + found->n - 1 == m->last && found->first <= m->compacted + 1 : m->last == 0;
    for (size_t i = 0; i < found->n && same; i++) {
        same = found->records[i].index == found->first + i && matches(&m->records[found->first + i], &found->records[i]);
    }
    if (same) {
        ((struct rig *)(uintptr_t)rig)->model = *m;
    }
    mem_free(m);
    return same;
}

static void check_found(struct rig *rig, const struct wal_found *found)
{
    size_t parts = rig->op == OP_APPEND ? rig->op_n : rig->op == OP_TRUNCATE ? 1 : 0;
    bool same = false;
    for (size_t k = 0; k <= parts && !same; k++) {
        same = found_is(rig, found, k);
    }
    if (!same) {
        sim_fail(rig->sim, "the log is not what was acknowledged: first %llu n %zu, expected last %llu",
                 (unsigned long long)found->first, found->n, (unsigned long long)rig->model.last);
    }
    rig->recoveries++;
    rig->torn += found->torn;
}

static int append_some(struct rig *rig, struct wal *wal, struct rng *rng, struct errmsg *em)
{
    struct wal_record records[BATCH_MAX];
    uint8_t *data[BATCH_MAX];
    rig->op = OP_APPEND;
    rig->op_n = (size_t)rng_between(rng, 1, BATCH_MAX);
    rig->op_index = rig->model.last + 1;
    if (rig->model.last > rig->model.compacted + 3 && rng_chance(rng, 10)) { /* replaces a tail */
        rig->op_index -= rng_between(rng, 1, 3);
        rig->term++;
    }
    for (size_t i = 0; i < rig->op_n; i++) {
        uint32_t len = rng_chance(rng, 5) ? (uint32_t)rng_between(rng, 1 << 19, 1 << 20) : (uint32_t)rng_between(rng, 0, 9000);
        rig->op_records[i] = (struct modelled){.term = rig->term, .len = len, .fill = (uint32_t)rng_next(rng)};
        data[i] = mem_new(len + 1);
        fill(data[i], &rig->op_records[i]);
        records[i] = (struct wal_record){.index = rig->op_index + i, .term = rig->term, .type = 1, .data = data[i], .len = len};
    }
    int rv = wal_append(wal, records, rig->op_n, em);
    for (size_t i = 0; i < rig->op_n; i++) {
        mem_free(data[i]);
    }
    return rv;
}

static void acknowledged(struct rig *rig)
{
    for (size_t i = 0; rig->op == OP_APPEND && i < rig->op_n; i++) {
        rig->model.records[rig->op_index + i] = rig->op_records[i];
        rig->model.last = rig->op_index + i;
    }
    if (rig->op == OP_TRUNCATE) {
        rig->model.last = rig->op_index - 1;
    }
    rig->op = OP_NONE;
}

static int one_step(struct rig *rig, struct wal *wal, struct rng *rng, struct errmsg *em)
{
    if (rig->model.last > rig->model.compacted + 5 && rng_chance(rng, 4)) {
        rig->op = OP_TRUNCATE;
        rig->op_index = rig->model.last - rng_below(rng, 3);
        return wal_truncate(wal, rig->op_index, em);
    }
    if (rig->model.last > 40 && rng_chance(rng, 8)) {
        rig->model.compacted = rig->model.last - 20;
        return wal_compact(wal, rig->model.compacted, em);
    }
    return append_some(rig, wal, rng, em);
}

static void rig_start(struct sim_process *process, struct env *env, void *arg)
{
    struct rig *rig = arg;
    struct rng *rng = sim_rng(rig->sim);
    struct wal *wal;
    struct wal_found found;
    (void)env_mkdir(env, "/d", NULL);
    (void)env_sync_dir(env, "/", NULL);
    rig->open_rv = wal_open(env, "/d", &wal, &found, &rig->open_em);
    if (sim_process_is_ghost(process)) {
        if (!rig->open_rv) {
            wal_found_free(&found);
            wal_close(wal);
        }
        return;
    }
    if (rig->open_rv) {
        sim_stop(rig->host);
        return;
    }
    check_found(rig, &found);
    rig->op = OP_NONE;
    wal_found_free(&found);
    for (unsigned i = 0; i < rig->steps && rig->model.last + 2 * BATCH_MAX < MODEL_MAX; i++) {
        struct errmsg em;
        int rv = one_step(rig, wal, rng, &em);
        if (sim_process_is_ghost(process)) {
            break;
        }
        if (rv) {
            sim_fail(rig->sim, "step failed: %s", em.text);
            break;
        }
        acknowledged(rig);
    }
    wal_close(wal);
    if (!sim_process_is_ghost(process)) {
        sim_stop(rig->host);
    }
}

static void rig_stop(struct sim_process *process, void *arg)
{
    (void)arg;
    sim_exit(process);
}

static void rig_gone(struct sim_host *host, bool crashed, void *arg)
{
    (void)host;
    (void)crashed;
    ((struct rig *)arg)->alive = false;
}

static const struct sim_program rig_program = {rig_start, rig_stop, rig_gone};

static void sim_failure(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
}

static bool is_gone(void *arg)
{
    return !((struct rig *)arg)->alive;
}

static struct rig *rig_new(uint64_t seed)
{
    struct rig *rig = mem_new(sizeof *rig);
    rig->sim = sim_new(seed);
    sim_on_failure(rig->sim, sim_failure, NULL);
    rig->host = sim_host_new(rig->sim, "a");
    rig->term = 1;
    rig->steps = 60;
    return rig;
}

static void rig_run(struct rig *rig)
{
    rig->alive = true;
    sim_start(rig->host, &rig_program, rig);
    UNIT_TRUE(sim_run_until(rig->sim, is_gone, rig, 3600 * ENV_S));
}

static void rig_free(struct rig *rig)
{
    sim_free(rig->sim);
    mem_free(rig);
}

static void survives_crashes(void)
{
    unsigned torn = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 25; seed++) {
        struct rig *rig = rig_new(seed);
        for (unsigned i = 0; i < CRASHES && !sim_failed(rig->sim); i++) {
            enum sim_crash kind = rng_chance(sim_rng(rig->sim), 80) ? SIM_POWER : SIM_KILL;
            sim_crash_after(rig->host, rng_between(sim_rng(rig->sim), 1, 120), kind);
            rig_run(rig);
            if (rig->open_rv) {
                printf("# seed %llu: %s\n", (unsigned long long)seed, rig->open_em.text);
            }
            UNIT_INT(rig->open_rv, 0);
        }
        sim_crash_after(rig->host, 0, SIM_POWER);
        rig->steps = 0;
        rig_run(rig);
        if (sim_failed(rig->sim)) {
            printf("# failed with seed %llu\n", (unsigned long long)seed);
        }
        UNIT_TRUE(!sim_failed(rig->sim));
        UNIT_TRUE(rig->recoveries > 1);
        torn += rig->torn;
        rig_free(rig);
    }
    UNIT_TRUE(torn > 0); /* the crashes did hit writes */
}

/* Killed at each call of its first life, also between the rename of a segment and the sync of its directory: what the second life
 * acknowledges survives a loss of power. */
static void names_are_durable_before_they_are_built_on(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 2; seed++) {
        for (uint64_t call = 1; call < 32; call++) {
            struct rig *rig = rig_new(seed);
            rig->steps = 3;
            sim_crash_after(rig->host, call, SIM_KILL);
            rig_run(rig);
            sim_crash_after(rig->host, 30, SIM_POWER);
            rig->steps = 60;
            rig_run(rig);
            sim_crash_after(rig->host, 0, SIM_POWER);
            rig->steps = 0;
            rig_run(rig);
            if (rig->open_rv || sim_failed(rig->sim)) {
                printf("# seed %llu, killed at call %llu: %s\n", (unsigned long long)seed, (unsigned long long)call, rig->open_em.text);
            }
            UNIT_TRUE(!rig->open_rv && !sim_failed(rig->sim));
            rig_free(rig);
        }
    }
}

/* A flipped bit in what was acknowledged, with a later write behind it: refused, with file and offset. */
static void finds_damage(void)
{
    unsigned found = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 20; seed++) {
        struct rig *rig = rig_new(seed);
        rig->steps = 20;
        rig_run(rig);
        uint64_t at = ENV_BLOCK + rng_below(sim_rng(rig->sim), WAL_RECORD_HEAD); /* in the first record */
        UNIT_INT(disk_flip(sim_host_disk(rig->host), "/d/wal-0000000000000001", at, 0x10), 0);
        rig->steps = 0;
        rig_run(rig);
        found += rig->open_rv == E_CORRUPT && strstr(rig->open_em.text, "wal-0000000000000001") != NULL;
        rig_free(rig);
    }
    UNIT_UINT(found, 20);
}

/* The very last write cannot be told from a torn one: it is cut, and nothing before it. */
static void cuts_only_the_last_write(void)
{
    struct rig *rig = rig_new(unit_seed());
    rig->steps = 1;
    rig_run(rig);
    rig_run(rig);
    uint64_t before = rig->model.last;
    UNIT_TRUE(before > 0);
    rig->steps = 0;
    rig_run(rig);
    UNIT_UINT(rig->model.last, before);
    UNIT_UINT(rig->torn, 0);
    rig_free(rig);
}

/* ---- term and vote ---- */

struct ballots {
    struct sim *sim;
    struct sim_host *host;
    uint64_t term, vote;           /* acknowledged */
    uint64_t next_term, next_vote; /* what was being written */
    bool alive;
    unsigned steps, opened;
};

static void ballots_start(struct sim_process *process, struct env *env, void *arg)
{
    struct ballots *b = arg;
    struct vote *vote = NULL;
    struct errmsg em = {""};
    (void)env_mkdir(env, "/d", NULL);
    (void)env_sync_dir(env, "/", NULL);
    int rv = vote_open(env, "/d", &vote, &em);
    bool ghost = sim_process_is_ghost(process);
    if (!ghost && rv) {
        sim_fail(b->sim, "vote_open: %s", em.text);
    }
    if (!ghost && !rv) {
        bool old = vote_term(vote) == b->term && vote_for(vote) == b->vote;
        bool new = vote_term(vote) == b->next_term && vote_for(vote) == b->next_vote;
        if (!old && !new) {
            sim_fail(b->sim, "term %llu vote %llu, stored were %llu %llu", (unsigned long long)vote_term(vote),
                     (unsigned long long)vote_for(vote), (unsigned long long)b->term, (unsigned long long)b->vote);
        }
        b->term = vote_term(vote);
        b->vote = vote_for(vote);
        b->opened++;
    }
    for (unsigned i = 0; !rv && i < b->steps && !sim_process_is_ghost(process); i++) {
        if (rng_chance(sim_rng(b->sim), 20)) { /* the stored term again: the vote stays */
            rv = vote_set_term(vote, b->term, &em);
            if (!rv && !sim_process_is_ghost(process) && vote_for(vote) != b->vote) {
                sim_fail(b->sim, "setting the stored term forgot the vote");
            }
            continue;
        }
        bool new_term = b->vote || rng_chance(sim_rng(b->sim), 50);
        b->next_term = b->term + new_term;
        b->next_vote = new_term ? 0 : rng_between(sim_rng(b->sim), 1, 5);
        rv = new_term ? vote_set_term(vote, b->next_term, &em) : vote_set(vote, b->next_vote, &em);
        if (!sim_process_is_ghost(process)) {
            b->term = b->next_term;
            b->vote = b->next_vote;
        }
    }
    if (vote) {
        vote_close(vote);
    }
    if (!sim_process_is_ghost(process)) {
        sim_stop(b->host);
    }
}

static void ballots_gone(struct sim_host *host, bool crashed, void *arg)
{
    (void)host;
    (void)crashed;
    ((struct ballots *)arg)->alive = false;
}

static bool ballots_are_gone(void *arg)
{
    return !((struct ballots *)arg)->alive;
}

static const struct sim_program ballots_program = {ballots_start, rig_stop, ballots_gone};

static void vote_survives_crashes(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 60; seed++) {
        struct ballots b = {.sim = sim_new(seed), .steps = 20};
        sim_on_failure(b.sim, sim_failure, NULL);
        b.host = sim_host_new(b.sim, "a");
        for (unsigned i = 0; i < 10; i++) {
            sim_crash_after(b.host, rng_between(sim_rng(b.sim), 1, 40), SIM_POWER);
            b.alive = true;
            sim_start(b.host, &ballots_program, &b);
            UNIT_TRUE(sim_run_until(b.sim, ballots_are_gone, &b, 3600 * ENV_S));
        }
        UNIT_TRUE(!sim_failed(b.sim));
        UNIT_TRUE(b.opened > 0);
        sim_free(b.sim);
    }
}

UNIT_MAIN("wal", UNIT_TEST(survives_crashes), UNIT_TEST(names_are_durable_before_they_are_built_on), UNIT_TEST(finds_damage), UNIT_TEST(cuts_only_the_last_write),
          UNIT_TEST(vote_survives_crashes))
