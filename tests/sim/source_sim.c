/* source_sim.c: the simulated source's process: clients, group commit, the account of what was promised. See
 * source_sim.h.
 *
 * Happy path: a client's timer queues a commit; a moment later all that are queued are written as one group
 * and sent to the dumps; an ACK that covers a client's transaction ends its wait, and it thinks about the
 * next one. A crash forgets who waited; their transactions stand in the binlog all the same. */
#include "tests/sim/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

#define US 1000ull

bool run_lives(const struct source_run *run)
{
    return !sim_process_is_ghost(run->process);
}

/* ---- the account --------------------------------------------------------------------------------------- */

static void think(struct client *c)
{
    struct source_sim *source = c->run->source;
    if (source->history->n_txns < source->load) {
        env_timer_start(&c->timer, rng_between(&source->rng, 1, source->options.think_ns + 1));
    }
}

static void release_clients(struct source_run *run)
{
    for (unsigned i = 0; i < run->source->options.clients; i++) {
        struct client *c = &run->clients[i];
        if (c->waiting && c->txn < run->source->acked) {
            c->waiting = false;
            think(c);
        }
    }
}

void source_acked(struct source_sim *source, size_t txns, const char *how)
{
    if (txns > source->acked) {
        if (source->witness && !source->options.no_semi_sync) {
            source->witness(source->witness_arg, txns, how);
        }
        env_log(source->run->env, ENV_DEBUG, "acknowledged transactions=%zu by=%s", txns, how);
        source->acked = txns;
        release_clients(source->run);
    }
}

/* ---- commits ------------------------------------------------------------------------------------------- */

static size_t write_txn(struct source_sim *source, bool group_end)
{
    struct rng *rng = &source->rng;
    uint64_t wall = env_wall(source->run->env);
    enum history_kind kind = rng_chance(rng, 5)   ? HISTORY_DDL
                             : rng_chance(rng, 5) ? HISTORY_COMMIT
                                                  : HISTORY_ROWS;
    size_t bytes = (size_t)rng_between(rng, 1, rng_chance(rng, 20) ? 3000 : 200);
    if (rng_below(rng, 1000) < source->options.large) {
        bytes = (size_t)rng_between(rng, 3000, 3000000);
    }
    if (source->options.huge && rng_below(rng, 500) == 0) {
        bytes = source->options.huge;
    }
    return history_txn(source->history, kind, bytes, wall, group_end);
}

static void pump_all(struct source_run *run)
{
    for (struct session *s = run->sessions; s; s = s->next) {
        if (s->state == SESSION_DUMP) {
            sim_dump_pump(s);
        }
    }
    for (struct session *s = run->sessions, *next; s; s = next) {
        next = s->next;
        if (s->over) {
            sim_session_free(s);
        }
    }
}

static void rotate(struct source_run *run)
{
    history_begin_file(run->source->history, env_wall(run->env), false);
}

static void commit_group(struct env_timer *timer)
{
    struct source_run *run = CONTAINER_OF(timer, struct source_run, commit);
    struct source_sim *source = run->source;
    struct history *h = source->history;
    unsigned left = 0;
    run->commit_soon = false;
    if (!run_lives(run)) {
        return;
    }
    for (unsigned i = 0; i < source->options.clients; i++) {
        left += run->clients[i].queued;
    }
    h->group = left > 1 ? h->next_gno : 0;
    for (unsigned i = 0; i < source->options.clients; i++) {
        struct client *c = &run->clients[i];
        if (c->queued) {
            c->queued = false;
            c->waiting = true;
            c->txn = write_txn(source, --left == 0);
        }
    }
    if (rng_chance(&source->rng, source->options.rotate)) {
        rotate(run);
    }
    if (source->options.no_semi_sync) {
        source_acked(source, h->n_txns, "nobody waits");
    }
    pump_all(run);
}

static void client_commits(struct env_timer *timer)
{
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    struct source_run *run = c->run;
    if (!run_lives(run) || run->source->history->n_txns >= run->source->load) {
        return;
    }
    c->queued = true;
    if (!run->commit_soon) {
        run->commit_soon = true;
        env_timer_start(&run->commit, rng_between(&run->source->rng, 50 * US, 500 * US));
    }
}

/* ---- orders of the test -------------------------------------------------------------------------------- */

/* Script calls come from outside of the process: they are queued for its env. */
struct order {
    struct order *next;
    void (*fn)(struct source_run *run, const struct order *order);
    enum history_kind kind;
    size_t bytes;
};

static void take_orders(struct env_timer *timer)
{
    struct source_run *run = CONTAINER_OF(timer, struct source_run, ordered);
    while (run->orders) {
        struct order *order = run->orders;
        run->orders = order->next;
        if (run_lives(run)) {
            order->fn(run, order);
        }
        mem_free(order);
    }
    pump_all(run);
}

static bool give_order(struct source_sim *source, void (*fn)(struct source_run *, const struct order *),
                       enum history_kind kind, size_t bytes)
{
    struct source_run *run = source->run && run_lives(source->run) ? source->run : NULL;
    if (!run) {
        return false;
    }
    struct order *order = mem_new(sizeof *order), **end = &run->orders;
    *order = (struct order){.fn = fn, .kind = kind, .bytes = bytes};
    while (*end) {
        end = &(*end)->next;
    }
    *end = order;
    env_timer_start(&run->ordered, 0);
    return true;
}

static void drop_orders(struct source_run *run)
{
    env_timer_close(&run->ordered);
    while (run->orders) {
        struct order *order = run->orders;
        run->orders = order->next;
        mem_free(order);
    }
}

static void order_commit(struct source_run *run, const struct order *order)
{
    struct source_sim *source = run->source;
    history_txn(source->history, order->kind, order->bytes, env_wall(run->env), true);
    if (source->options.no_semi_sync) {
        source_acked(source, source->history->n_txns, "nobody waits");
    }
}

static void order_rotate(struct source_run *run, const struct order *order)
{
    (void)order;
    rotate(run);
}

static void order_load(struct source_run *run, const struct order *order)
{
    (void)order;
    for (unsigned i = 0; i < run->source->options.clients; i++) {
        struct client *c = &run->clients[i];
        if (!c->queued && !c->waiting) {
            think(c);
        }
    }
}

/* ---- the process --------------------------------------------------------------------------------------- */

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct source_sim *source = arg;
    struct source_run *run = mem_new(sizeof *run);
    struct env_addr addr = {.port = SOURCE_SIM_PORT};
    run->source = source;
    run->process = process;
    run->env = env;
    run->next_thread = 10;
    run->first_txn = source->history->n_txns;
    source->run = run;
    sim_process_set(process, run);
    history_begin_file(source->history, env_wall(env), true);
    snprintf(addr.host, sizeof addr.host, "0.0.0.0");
    int rv = env_listen(env, &addr, sim_session_new, run, &run->listener, NULL);
    CHECK(rv == 0);
    env_timer_open(env, &run->commit, commit_group);
    env_timer_open(env, &run->ordered, take_orders);
    run->clients = mem_array(source->options.clients, sizeof *run->clients);
    for (unsigned i = 0; i < source->options.clients; i++) {
        run->clients[i].run = run;
        env_timer_open(env, &run->clients[i].timer, client_commits);
        think(&run->clients[i]);
    }
}

static void stop(struct sim_process *process, void *arg)
{
    struct source_sim *source = arg;
    struct source_run *run = sim_process_get(process);
    if (run_lives(run)) {
        history_stop(source->history, env_wall(run->env));
    }
    if (source->run == run) {
        source->run = NULL;
    }
    env_listener_close(run->listener);
    while (run->sessions) {
        struct session *s = run->sessions;
        sim_dump_end(s, false);
        sim_session_free(s);
    }
    env_timer_close(&run->commit);
    drop_orders(run);
    for (unsigned i = 0; i < source->options.clients; i++) {
        env_timer_close(&run->clients[i].timer);
    }
    mem_free(run->clients);
    mem_free(run);
    sim_exit(process);
}

static const struct sim_program program = {start, stop, NULL};

void source_sim_start(struct source_sim *source)
{
    sim_start(source->host, &program, source);
}

/* ---- for tests ----------------------------------------------------------------------------------------- */

struct source_sim_options source_sim_defaults(enum flavour flavour)
{
    return (struct source_sim_options){
        .flavour = flavour, .server_id = 77, .clients = 4, .think_ns = 3 * ENV_MS, .rotate = 2, .large = 10, .heads_tell = true};
}

struct source_sim *source_sim_new(struct sim_host *host, const struct source_sim_options *options)
{
    struct source_sim *source = mem_new(sizeof *source);
    struct sim *sim = sim_host_sim(host);
    source->sim = sim;
    source->host = host;
    source->options = *options;
    source->history = history_new(options->flavour, options->server_id, sim_seed(sim));
    source->history->encrypted = options->encrypted;
    account_secret_set(&source->secret, SOURCE_SIM_PASSWORD, strlen(SOURCE_SIM_PASSWORD));
    rng_init(&source->rng, sim_seed(sim), 4000 + options->server_id);
    return source;
}

void source_sim_free(struct source_sim *source)
{
    history_free(source->history);
    mem_free(source);
}

void source_sim_load(struct source_sim *source, size_t transactions)
{
    source->load = transactions;
    give_order(source, order_load, HISTORY_ROWS, 0);
}

bool source_sim_commit(struct source_sim *source, enum history_kind kind, size_t bytes)
{
    return give_order(source, order_commit, kind, bytes);
}

bool source_sim_rotate(struct source_sim *source)
{
    return give_order(source, order_rotate, HISTORY_ROWS, 0);
}

void source_sim_floor(struct source_sim *source, size_t (*floor)(void *arg), void *arg)
{
    source->floor = floor;
    source->floor_arg = arg;
}

void source_sim_witness(struct source_sim *source, void (*witness)(void *arg, size_t txns, const char *how), void *arg)
{
    source->witness = witness;
    source->witness_arg = arg;
}

struct history *source_sim_history(struct source_sim *source)
{
    return source->history;
}

size_t source_sim_acked(const struct source_sim *source)
{
    return source->acked;
}

uint64_t source_sim_acks(const struct source_sim *source)
{
    return source->acks;
}

uint64_t source_sim_dumps(const struct source_sim *source)
{
    return source->dumps;
}

size_t source_sim_sent(void *source)
{
    return ((const struct source_sim *)source)->sent;
}

bool source_sim_idle(const struct source_sim *source)
{
    if (!source->run || source->history->n_txns < source->load) {
        return false;
    }
    for (unsigned i = 0; i < source->options.clients; i++) {
        if (source->run->clients[i].queued || source->run->clients[i].waiting) {
            return false;
        }
    }
    return true;
}
