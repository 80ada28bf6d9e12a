/* test_sim_env: the simulated world keeps the contract of protocol/base/env.h, is repeatable, and is as
 * unkind as it should be: what was not synced may be lost, torn or there; what was synced is always there. */
#include "tests/unit/unit.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "tests/sim/disk.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>
#include <string.h>

/* ---- a program that is one function -------------------------------------------------------------------- */

struct small {
    struct sim *sim;
    struct sim_host *host;
    void (*body)(struct small *s, struct env *env); /* on the main env */
    void (*end)(struct small *s, struct env *env);  /* frees what body left open; may be NULL */
    struct env *env;
    bool keep;  /* runs on after body() */
    bool ended; /* by its own will */
    bool gone, crashed;
    unsigned starts, stops;
    uint64_t n;
    int rv;
    struct env_file *file;
    struct env_timer timer;
    struct env *child;
    char text[256];
};

static void small_start(struct sim_process *process, struct env *env, void *arg)
{
    struct small *s = arg;
    s->starts++;
    s->env = env;
    s->body(s, env);
    if (!s->keep) {
        sim_stop(sim_process_host(process));
    }
}

static void small_stop(struct sim_process *process, void *arg)
{
    struct small *s = arg;
    s->stops++;
    if (s->end) {
        s->end(s, sim_process_env(process));
    }
    sim_exit(process);
}

static void small_gone(struct sim_host *host, bool crashed, void *arg)
{
    struct small *s = arg;
    (void)host;
    s->gone = true;
    s->crashed = crashed;
}

static const struct sim_program small_program = {small_start, small_stop, small_gone};

static void failed(void *arg, const char *text)
{
    printf("sim_fail: %s\n", text);
    (*(unsigned *)arg)++;
}

static unsigned failures;

static struct sim *new_sim(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    failures = 0;
    sim_on_failure(sim, failed, &failures);
    return sim;
}

static void end_sim(struct sim *sim)
{
    sim_free(sim);
    UNIT_UINT(failures, 0);
}

/* Runs body() in a process of `host` to its end. */
static void run_body(struct small *s, struct sim_host *host, void (*body)(struct small *, struct env *))
{
    s->host = host;
    s->body = body;
    s->gone = false;
    sim_start(host, &small_program, s);
    sim_run(s->sim, 100 * ENV_S);
}

/* ---- posts, timers, joins ------------------------------------------------------------------------------ */

struct note {
    struct env_msg msg;
    unsigned number;
    unsigned *next;
    bool *in_order;
    struct env *env;
    uint64_t *ran_at;
    bool write;
    struct small *s;
};

static void note_run(struct env_msg *msg)
{
    struct note *note = CONTAINER_OF(msg, struct note, msg);
    *note->in_order = *note->in_order && note->number == *note->next;
    (*note->next)++;
    if (note->ran_at) {
        *note->ran_at = env_now(note->env);
    }
    if (note->write) {
        struct env_file *file;
        if (env_open(note->env, "/slow", ENV_WRITE | ENV_CREATE, &file, NULL) == 0) {
            env_sync(file, NULL);
            env_close(file);
        }
    }
}

enum { NOTES = 200 };

static struct note notes[NOTES];
static unsigned notes_next;
static bool notes_in_order;
static uint64_t note_times[NOTES];

static void post_all(struct small *s, struct env *env)
{
    UNIT_INT(env_spawn(env, "other", &s->child), 0);
    notes_next = 0;
    notes_in_order = true;
    for (unsigned i = 0; i < NOTES; i++) {
        notes[i] = (struct note){.msg.run = note_run,
                                 .number = i,
                                 .next = &notes_next,
                                 .in_order = &notes_in_order,
                                 .env = s->child,
                                 .ran_at = &note_times[i],
                                 .write = i % 50 == 0};
        env_post(s->child, &notes[i].msg);
    }
    UNIT_UINT(notes_next, 0); /* never inside the call */
    if (s->n) {
        env_join(s->child);
        s->child = NULL;
        UNIT_UINT(notes_next, NOTES);
    }
}

static void join_child(struct small *s, struct env *env)
{
    (void)env;
    if (s->child) {
        env_join(s->child);
        s->child = NULL;
    }
}

static void posts_arrive_in_order_and_joins_wait(void)
{
    for (uint64_t joined_at_once = 0; joined_at_once < 2; joined_at_once++) {
        struct sim *sim = new_sim(unit_seed());
        struct small s = {.sim = sim, .end = join_child, .n = joined_at_once};
        run_body(&s, sim_host_new(sim, "a"), post_all);
        UNIT_TRUE(s.gone && !s.crashed);
        UNIT_TRUE(notes_in_order);
        UNIT_UINT(notes_next, NOTES);
        UNIT_TRUE(note_times[51] >= note_times[50] + 200000); /* a sync keeps its env busy */
        UNIT_UINT(sim_loop_file_calls(s.host), 0);
        end_sim(sim);
    }
}

static void timer_fired(struct env_timer *timer)
{
    struct small *s = CONTAINER_OF(timer, struct small, timer);
    s->n++;
    if (s->n < 5) {
        env_timer_start(timer, 10 * ENV_MS);
    }
}

static void start_timer(struct small *s, struct env *env)
{
    env_timer_open(env, &s->timer, timer_fired);
    env_timer_start(&s->timer, ENV_S);
    env_timer_stop(&s->timer);
    env_timer_start(&s->timer, 3600 * ENV_S);
    env_timer_start(&s->timer, 10 * ENV_MS);
}

static void stop_timer(struct small *s, struct env *env)
{
    (void)env;
    env_timer_start(&s->timer, ENV_MS);
    env_timer_close(&s->timer);
    env_timer_close(&s->timer);
}

static void timers_fire_when_due(void)
{
    struct sim *sim = new_sim(unit_seed());
    struct small s = {.sim = sim, .end = stop_timer, .keep = true};
    s.host = sim_host_new(sim, "a");
    s.body = start_timer;
    sim_start(s.host, &small_program, &s);
    sim_run(sim, 35 * ENV_MS);
    UNIT_UINT(s.n, 3);
    sim_run(sim, 10 * ENV_S);
    UNIT_UINT(s.n, 5);
    sim_stop(s.host);
    sim_run(sim, 10 * ENV_S);
    UNIT_UINT(s.n, 5);
    UNIT_TRUE(s.gone);
    end_sim(sim);
}

static void leave_timer(struct small *s, struct env *env)
{
    env_timer_open(env, &s->timer, timer_fired);
}

static void what_is_left_open_is_a_failure(void)
{
    struct sim *sim = new_sim(unit_seed());
    struct small s = {.sim = sim};
    run_body(&s, sim_host_new(sim, "a"), leave_timer);
    UNIT_UINT(failures, 1);
    mem_free(s.timer.impl);
    sim_free(sim);
}

/* ---- files --------------------------------------------------------------------------------------------- */

enum { SECTORS = 16, BYTES = SECTORS * 4096 };

static _Alignas(4096) uint8_t block[BYTES];

static void write_file(struct small *s, struct env *env, int flags, uint8_t fill, bool sync, bool sync_dir)
{
    struct env_file *file;
    memset(block, fill, sizeof block);
    s->rv = env_open(env, "/f", flags | ENV_WRITE, &file, NULL);
    if (!s->rv) {
        s->rv = env_pwrite(file, block, sizeof block, 0, NULL);
        if (sync && !s->rv) {
            s->rv = env_sync(file, NULL);
        }
        env_close(file);
    }
    if (sync_dir && !s->rv) {
        s->rv = env_sync_dir(env, "/", NULL);
    }
}

static void write_old(struct small *s, struct env *env)
{
    write_file(s, env, ENV_CREATE, 'o', true, true);
}

static void write_new(struct small *s, struct env *env)
{
    write_file(s, env, 0, 'n', false, false);
}

static void write_new_synced(struct small *s, struct env *env)
{
    write_file(s, env, 0, 'n', true, false);
}

static void write_new_durable(struct small *s, struct env *env)
{
    write_file(s, env, ENV_DURABLE, 'n', false, false);
}

static void create_only(struct small *s, struct env *env)
{
    write_file(s, env, ENV_CREATE, 'o', true, false);
}

/* How many of the file's 512 byte sectors are new; -1 when there is no file. */
static int new_sectors(struct sim_host *host)
{
    struct buf b;
    int n = 0;
    buf_init(&b, 1 << 20);
    if (sim_host_read(host, "/f", &b)) {
        return -1;
    }
    UNIT_UINT(b.len, BYTES);
    for (size_t at = 0; at + 512 <= b.len; at += 512) {
        char c = (char)b.data[at];
        UNIT_TRUE(c == 'n' || c == 'o');
        for (size_t i = 0; i < 512; i++) {
            if (b.data[at + i] != (uint8_t)c) {
                UNIT_TRUE(!"a sector holds both");
                break;
            }
        }
        n += c == 'n';
    }
    buf_free(&b);
    return n;
}

/* Writes the old content safely, then the new one by `body`, then crashes. */
static int crash_of(uint64_t seed, void (*body)(struct small *, struct env *), enum sim_crash kind)
{
    struct sim *sim = new_sim(seed);
    struct small s = {.sim = sim};
    struct sim_host *host = sim_host_new(sim, "a");
    if (body != create_only) {
        run_body(&s, host, write_old);
    }
    s.keep = true;
    run_body(&s, host, body);
    UNIT_INT(s.rv, 0);
    sim_crash(host, kind);
    sim_run(sim, ENV_S);
    UNIT_TRUE(s.gone && s.crashed);
    int n = new_sectors(host);
    end_sim(sim);
    return n;
}

static void power_loss_takes_what_was_not_synced(void)
{
    unsigned none = 0, some = 0, all = 0, no_file = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 200; seed++) {
        int n = crash_of(seed, write_new, SIM_POWER);
        none += n == 0;
        some += n > 0 && n < BYTES / 512;
        all += n == BYTES / 512;
        UNIT_INT(crash_of(seed, write_new_synced, SIM_POWER), BYTES / 512);
        UNIT_INT(crash_of(seed, write_new_durable, SIM_POWER), BYTES / 512);
        UNIT_INT(crash_of(seed, write_new, SIM_KILL), BYTES / 512);
        no_file += crash_of(seed, create_only, SIM_POWER) == -1;
    }
    printf("none=%u some=%u all=%u no_file=%u\n", none, some, all, no_file);
    UNIT_TRUE(none > 10 && some > 10 && all > 10);
    UNIT_TRUE(no_file > 20 && no_file < 180);
}

static void replace_it(struct small *s, struct env *env)
{
    s->rv = env_replace_file(env, "/", "f", "new and longer", 14, NULL);
}

static void replace_first(struct small *s, struct env *env)
{
    s->rv = env_replace_file(env, "/", "f", "old", 3, NULL);
}

/* A crash in each of its file calls leaves the old or the new content, whole. */
static void replaced_file_is_whole_after_any_crash(void)
{
    unsigned old = 0, new = 0, done = 0;
    for (uint64_t n = 1; n < 12; n++) {
        for (uint64_t seed = unit_seed(); seed < unit_seed() + 20; seed++) {
            struct sim *sim = new_sim(seed * 100 + n);
            struct small s = {.sim = sim};
            struct sim_host *host = sim_host_new(sim, "a");
            struct buf b;
            run_body(&s, host, replace_first);
            sim_crash_after(host, n, seed % 4 ? SIM_POWER : SIM_KILL);
            run_body(&s, host, replace_it);
            sim_crash_after(host, 0, SIM_KILL);
            UNIT_TRUE(s.gone);
            UNIT_UINT(s.stops, 2); /* the ghost too was told to end, once */
            buf_init(&b, 100);
            UNIT_INT(sim_host_read(host, "/f", &b), 0);
            bool is_old = strcmp(buf_cstr(&b), "old") == 0,
                 is_new = strcmp(buf_cstr(&b), "new and longer") == 0;
            UNIT_TRUE(is_old || is_new);
            old += is_old;
            new += is_new;
            done += !s.crashed;
            if (!s.crashed) {
                UNIT_TRUE(is_new);
            }
            buf_free(&b);
            end_sim(sim);
        }
    }
    printf("old=%u new=%u not crashed=%u\n", old, new, done);
    UNIT_TRUE(old > 10 && new > 10 && done > 10 && done < 200);
}

static void replace_without_sync(struct small *s, struct env *env)
{
    struct env_file *file;
    s->rv = env_open(env, "/f.tmp", ENV_WRITE | ENV_CREATE, &file, NULL);
    env_pwrite(file, "new and longer", 14, 0, NULL);
    env_close(file);
    env_rename(env, "/f.tmp", "/f", NULL);
    env_sync_dir(env, "/", NULL);
}

static void rename_without_sync_can_lose_the_content(void)
{
    unsigned whole = 0, broken = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 100; seed++) {
        struct sim *sim = new_sim(seed);
        struct small s = {.sim = sim, .keep = true};
        struct sim_host *host = sim_host_new(sim, "a");
        struct buf b;
        run_body(&s, host, replace_without_sync);
        sim_crash(host, SIM_POWER);
        buf_init(&b, 100);
        UNIT_INT(sim_host_read(host, "/f", &b), 0);
        *(strcmp(buf_cstr(&b), "new and longer") == 0 ? &whole : &broken) += 1;
        buf_free(&b);
        end_sim(sim);
    }
    UNIT_TRUE(whole > 10 && broken > 10);
}

static void move(struct small *s, struct env *env)
{
    struct env_file *file;
    UNIT_INT(env_mkdir(env, "/from", NULL) | env_mkdir(env, "/to", NULL) | env_sync_dir(env, "/", NULL), 0);
    UNIT_INT(env_open(env, "/from/f", ENV_WRITE | ENV_CREATE, &file, NULL), 0);
    env_close(file);
    UNIT_INT(env_sync_dir(env, "/from", NULL), 0);
    s->rv = env_rename(env, "/from/f", "/to/f", NULL);
    if (s->n) {
        UNIT_INT(env_sync_dir(env, s->n % 2 ? "/from" : "/to", NULL), 0);
    }
}

static bool is_file(struct sim_host *host, const char *path)
{
    struct buf b;
    buf_init(&b, 100);
    bool is = sim_host_read(host, path, &b) == 0;
    buf_free(&b);
    return is;
}

/* From one directory to another: done or not, and done with a sync of either. Also when the process dies first. */
static void a_rename_is_one_change(void)
{
    unsigned there = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 100; seed++) {
        struct sim *sim = new_sim(seed);
        struct small s = {.sim = sim, .keep = true, .n = seed % 3};
        struct sim_host *host = sim_host_new(sim, "a");
        run_body(&s, host, move);
        if (seed % 2) {
            sim_crash(host, SIM_KILL);
            sim_run(sim, ENV_S);
            sim_set_back(host, disk_image(sim_host_disk(host), sim_now(sim), true, sim_rng(sim)));
        } else {
            sim_crash(host, SIM_POWER);
        }
        bool is_there = is_file(host, "/to/f");
        UNIT_TRUE(is_there != is_file(host, "/from/f"));
        UNIT_TRUE(is_there || s.n == 0);
        there += is_there && s.n == 0;
        end_sim(sim);
    }
    UNIT_TRUE(there > 5 && there < 30);
}

static void directories(struct small *s, struct env *env)
{
    struct env_file *file;
    struct errmsg em;
    uint64_t size;
    size_t got;
    char data[8] = "";
    UNIT_INT(env_make_dir(env, "/", "d", &em), 0);
    UNIT_INT(env_make_dir(env, "/", "d", &em), 0);
    UNIT_INT(env_mkdir(env, "/d", &em), E_EXISTS);
    UNIT_INT(env_open(env, "/d/none", ENV_READ, &file, &em), E_NOTFOUND);
    UNIT_INT(env_open(env, "/no/file", ENV_READ | ENV_WRITE | ENV_CREATE, &file, &em), E_NOTFOUND);
    UNIT_INT(env_open(env, "/d/x", ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL, &file, &em), 0);
    UNIT_INT(env_pwrite(file, "12345", 5, 3, &em), 0);
    UNIT_INT(env_truncate(file, 6, &em), 0);
    UNIT_INT(env_size(file, &size, &em), 0);
    UNIT_UINT(size, 6);
    UNIT_INT(env_pread(file, data, 8, 2, &got, &em), 0);
    UNIT_UINT(got, 4);
    UNIT_MEM(data,
             "\0"
             "123",
             4);
    env_close(file);
    UNIT_INT(env_open(env, "/d/x", ENV_WRITE | ENV_CREATE | ENV_EXCL, &file, &em), E_EXISTS);
    UNIT_INT(env_unlink(env, "/d", &em), E_INVALID);
    UNIT_INT(env_rename(env, "/d/x", "/d/y", &em), 0);
    UNIT_INT(env_unlink(env, "/d/x", &em), E_NOTFOUND);
    UNIT_INT(env_unlink(env, "/d/y", &em), 0);
    s->rv = 0;
}

static void file_calls_behave_like_a_file_system(void)
{
    struct sim *sim = new_sim(unit_seed());
    struct small s = {.sim = sim, .rv = 1};
    run_body(&s, sim_host_new(sim, "a"), directories);
    UNIT_INT(s.rv, 0);
    end_sim(sim);
}

static void sync_twice(struct small *s, struct env *env)
{
    struct env_file *file;
    memset(block, 'n', sizeof block);
    UNIT_INT(env_open(env, "/f", ENV_WRITE, &file, NULL), 0);
    UNIT_INT(env_pwrite(file, block, sizeof block, 0, NULL), 0);
    s->rv = env_sync(file, NULL);
    UNIT_INT(env_sync(file, NULL), 0);
    env_close(file);
}

static void sync_after_a_failed_one_lies(void)
{
    unsigned lost = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 30; seed++) {
        struct sim *sim = new_sim(seed);
        struct small s = {.sim = sim};
        struct sim_host *host = sim_host_new(sim, "a");
        run_body(&s, host, write_old);
        sim_fail_call(host, SIM_SYNC, 1, E_IO, false);
        s.keep = true;
        run_body(&s, host, sync_twice);
        UNIT_INT(s.rv, E_IO);
        sim_crash(host, SIM_POWER);
        lost += new_sectors(host) < BYTES / 512;
        end_sim(sim);
    }
    UNIT_TRUE(lost > 5);
}

static void fail_writes(struct small *s, struct env *env)
{
    struct errmsg em;
    struct env_file *file;
    UNIT_INT(env_open(env, "/f", ENV_WRITE | ENV_CREATE, &file, &em), 0);
    UNIT_INT(env_pwrite(file, "a", 1, 0, &em), 0);
    UNIT_INT(env_pwrite(file, "b", 1, 1, &em), E_NOSPACE);
    UNIT_TRUE(strstr(em.text, "/f") != NULL);
    UNIT_INT(env_pwrite(file, "b", 1, 1, &em), s->n ? E_NOSPACE : 0);
    env_close(file);
}

static void planted_faults_hit_the_nth_call(void)
{
    for (uint64_t forever = 0; forever < 2; forever++) {
        struct sim *sim = new_sim(unit_seed());
        struct small s = {.sim = sim, .n = forever};
        struct sim_host *host = sim_host_new(sim, "a");
        sim_fail_call(host, SIM_WRITE, 2, E_NOSPACE, forever);
        run_body(&s, host, fail_writes);
        UNIT_TRUE(s.gone);
        end_sim(sim);
    }
}

/* ---- death --------------------------------------------------------------------------------------------- */

static void die(struct small *s, struct env *env)
{
    s->file = NULL;
    env_open(env, "/log", ENV_WRITE | ENV_CREATE, &s->file, NULL);
    env_pwrite(s->file, "x", 1, 0, NULL);
    if (s->n++ == 0) {
        env_fatal(env, "no reason at all: %d", 7);
    }
}

static void close_log(struct small *s, struct env *env)
{
    (void)env;
    env_close(s->file);
}

static void fatal_ends_the_process_alone(void)
{
    struct sim *sim = new_sim(unit_seed());
    struct small s = {.sim = sim, .end = close_log};
    struct sim_host *host = sim_host_new(sim, "a");
    run_body(&s, host, die);
    UNIT_TRUE(s.gone && s.crashed);
    UNIT_TRUE(sim_host_process(host) == NULL);
    UNIT_UINT(s.stops, 0);
    run_body(&s, host, die);
    UNIT_TRUE(s.gone && !s.crashed);
    UNIT_UINT(s.starts, 2);
    UNIT_UINT(s.stops, 1);
    end_sim(sim);
}

static void ghost_writes(struct small *s, struct env *env)
{
    s->rv = 0;
    for (int i = 0; i < 5; i++) { /* dies in the second write */
        s->rv |= env_replace_file(env, "/", i % 2 ? "odd" : "even", "data", 4, NULL);
    }
    s->n = sim_host_process(s->host) == NULL;
}

static void nobody_sees_what_a_ghost_does(void)
{
    struct sim *sim = new_sim(unit_seed());
    struct small s = {.sim = sim};
    struct sim_host *host = sim_host_new(sim, "a");
    struct buf b;
    s.host = host;
    sim_crash_after(host, 3, SIM_KILL); /* open, write, sync | rename */
    s.body = ghost_writes;
    s.keep = true;
    sim_start(host, &small_program, &s);
    sim_run(sim, ENV_S);
    UNIT_TRUE(s.crashed);
    UNIT_INT(s.rv, 0); /* the program went on without noticing */
    UNIT_UINT(s.stops, 1);
    UNIT_UINT(sim_file_calls(host), 3);
    UNIT_UINT(s.n, 1);
    buf_init(&b, 100);
    UNIT_INT(sim_host_read(host, "/even.tmp", &b), 0);
    UNIT_INT(sim_host_read(host, "/even", &b), E_NOTFOUND);
    UNIT_INT(sim_host_read(host, "/odd", &b), E_NOTFOUND);
    buf_free(&b);
    end_sim(sim);
}

UNIT_MAIN("sim_env", UNIT_TEST(posts_arrive_in_order_and_joins_wait), UNIT_TEST(timers_fire_when_due),
          UNIT_TEST(what_is_left_open_is_a_failure), UNIT_TEST(power_loss_takes_what_was_not_synced),
          UNIT_TEST(replaced_file_is_whole_after_any_crash),
          UNIT_TEST(rename_without_sync_can_lose_the_content), UNIT_TEST(a_rename_is_one_change),
          UNIT_TEST(file_calls_behave_like_a_file_system), UNIT_TEST(sync_after_a_failed_one_lies),
          UNIT_TEST(planted_faults_hit_the_nth_call), UNIT_TEST(fatal_ends_the_process_alone),
          UNIT_TEST(nobody_sees_what_a_ghost_does))
