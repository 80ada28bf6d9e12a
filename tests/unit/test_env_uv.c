/* test_env_uv: the real env: posts and threads, timers, files, clocks, log, signals. */
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "tests/unit/env_uv_fixture.h"
#include "protocol/base/mem.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- posts ---- */

enum { SENDERS = 4, POSTS = 5000 };

struct order {
    unsigned next[SENDERS];
    unsigned wrong;
};

struct numbered {
    struct env_msg msg;
    struct order *order;
    unsigned sender, number;
};

struct sender {
    struct env_msg msg;
    struct env *env, *to;
    struct order *order;
    unsigned id;
};

static void number_arrived(struct env_msg *msg)
{
    struct numbered *n = CONTAINER_OF(msg, struct numbered, msg);
    if (n->order->next[n->sender]++ != n->number) {
        n->order->wrong++;
    }
    mem_free(n);
}

static void send_all(struct env_msg *msg)
{
    struct sender *s = CONTAINER_OF(msg, struct sender, msg);
    for (unsigned i = 0; i < POSTS; i++) {
        struct numbered *n = mem_new(sizeof *n);
        *n = (struct numbered){.msg.run = number_arrived, .order = s->order, .sender = s->id, .number = i};
        env_post(s->to, &n->msg);
    }
}

static void posts_keep_order_and_join_drains(void)
{
    struct order order = {.wrong = 0};
    struct sender senders[SENDERS];
    struct env *sink;
    begin();
    UNIT_INT(env_spawn(env, "sink", &sink), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.msg.run = send_all, .to = sink, .order = &order, .id = i};
        UNIT_INT(env_spawn(env, "sender", &senders[i].env), 0);
        env_post(senders[i].env, &senders[i].msg);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        env_join(senders[i].env);
    }
    env_join(sink);
    for (unsigned i = 0; i < SENDERS; i++) {
        UNIT_UINT(order.next[i], POSTS);
    }
    UNIT_UINT(order.wrong, 0);
    end();
}

struct pong {
    struct env_msg msg;
    struct env *child;
    unsigned turns;
};

static void pong_home(struct env_msg *msg);

static void pong_away(struct env_msg *msg)
{
    msg->run = pong_home;
    env_post(env, msg);
}

static void pong_home(struct env_msg *msg)
{
    struct pong *p = CONTAINER_OF(msg, struct pong, msg);
    if (++p->turns == 1000) {
        env_uv_stop(env);
        return;
    }
    msg->run = pong_away;
    env_post(p->child, msg);
}

/* Joined as soon as the last message is back: its poster may not have left env_post yet. */
static void posts_go_to_and_fro(void)
{
    begin();
    for (int i = 0; i < 20; i++) {
        struct pong p = {.msg.run = pong_away};
        UNIT_INT(env_spawn(env, "pong", &p.child), 0);
        env_post(p.child, &p.msg);
        run();
        env_join(p.child);
        UNIT_UINT(p.turns, 1000);
    }
    end();
}

static bool inside_post;
static void self_arrived(struct env_msg *msg)
{
    (void)msg;
    UNIT_TRUE(!inside_post);
    env_uv_stop(env);
}

static void post_to_oneself_waits(void)
{
    struct env_msg msg = {.run = self_arrived};
    begin();
    inside_post = true;
    env_post(env, &msg);
    inside_post = false;
    run();
    end();
}

struct again {
    struct env_msg msg;
    struct env_timer timer;
    unsigned turns;
    bool fired;
};

static void again_fired(struct env_timer *timer)
{
    CONTAINER_OF(timer, struct again, timer)->fired = true;
}

/* Until the timer has fired, and then a thousand times without anything that would wake the loop. */
static void again_arrived(struct env_msg *msg)
{
    struct again *a = CONTAINER_OF(msg, struct again, msg);
    a->turns += a->fired;
    if (a->turns == 1000) {
        env_uv_stop(env);
    } else {
        env_post(env, msg);
    }
}

static void posts_to_oneself_go_on_and_let_timers_run(void)
{
    struct again a = {.msg.run = again_arrived};
    begin();
    UNIT_INT(env_timer_open(env, &a.timer, again_fired), 0);
    env_timer_start(&a.timer, 2 * ENV_MS);
    env_post(env, &a.msg);
    run();
    UNIT_UINT(a.turns, 1000);
    env_timer_close(&a.timer);
    end();
}

struct lazy {
    struct env_msg first, second;
    _Atomic unsigned order; /* one decimal digit each */
};

static void lazy_first(struct env_msg *msg)
{
    struct lazy *l = CONTAINER_OF(msg, struct lazy, first);
    l->order = l->order * 10 + 1;
}

static void lazy_home(struct env_msg *msg)
{
    (void)msg;
    env_uv_stop(env);
}

static void lazy_second(struct env_msg *msg)
{
    struct lazy *l = CONTAINER_OF(msg, struct lazy, second);
    l->order = l->order * 10 + 2;
    msg->run = lazy_home;
    env_post(env, msg);
}

static void lazy_posts_wake_nobody_and_keep_their_place(void)
{
    struct lazy l = {.first.run = lazy_first, .second.run = lazy_second};
    struct env *child;
    begin();
    UNIT_INT(env_spawn(env, "lazy", &child), 0);
    usleep(50000); /* it sleeps by now */
    env_post_lazily(child, &l.first);
    usleep(50000);
    UNIT_UINT(l.order, 0);
    env_post(child, &l.second);
    run();
    UNIT_UINT(l.order, 12);
    env_join(child);
    end();
}

static int child_nice;

static void nice_seen(struct env_msg *msg)
{
    child_nice = getpriority(PRIO_PROCESS, 0);
    msg->run = lazy_home;
    env_post(env, msg);
}

static void what_is_in_the_background_gives_way(void)
{
    struct env_msg msg = {.run = nice_seen};
    struct env *child;
    int own = getpriority(PRIO_PROCESS, 0);
    begin();
    UNIT_INT(env_spawn(env, "background", &child), 0);
    env_background(child);
    env_post(child, &msg);
    run();
    UNIT_INT(child_nice, own + 10 < 19 ? own + 10 : 19);
    UNIT_INT(getpriority(PRIO_PROCESS, 0), own); /* the others do not */
    env_join(child);
    end();
}

/* ---- timers ---- */

struct alarm {
    struct env_timer timer;
    uint64_t due, fired_at;
    int place;
    int count;
    bool close;
    uint64_t busy; /* the callback takes so long */
};

static int alarms_fired;

static void alarm_fired(struct env_timer *timer)
{
    struct alarm *a = CONTAINER_OF(timer, struct alarm, timer);
    a->fired_at = env_now(timer->env);
    a->place = ++alarms_fired;
    a->count++;
    while (env_now(timer->env) < a->fired_at + a->busy) {
    }
    if (a->close) {
        env_timer_close(timer);
    }
}

static void alarm_set(struct alarm *a, uint64_t ns)
{
    a->due = env_now(env) + ns;
    env_timer_start(&a->timer, ns);
}

static void timers_fire_in_order_and_never_early(void)
{
    static const uint64_t delays[] = {30 * ENV_MS, 10 * ENV_MS, 20 * ENV_MS, 0, 1};
    struct alarm a[5] = {{.count = 0}};
    begin();
    alarms_fired = 0;
    for (int i = 0; i < 5; i++) {
        env_timer_open(env, &a[i].timer, alarm_fired);
        alarm_set(&a[i], delays[i]);
        UNIT_INT(a[i].count, 0);
    }
    run_for(60 * ENV_MS);
    for (int i = 0; i < 5; i++) {
        UNIT_INT(a[i].count, 1);
        UNIT_TRUE(a[i].fired_at >= a[i].due);
        env_timer_close(&a[i].timer);
    }
    UNIT_INT(a[1].place, 3);
    UNIT_INT(a[2].place, 4);
    UNIT_INT(a[0].place, 5);
    end();
}

/* The loop wakes at all phases of a millisecond. */
static void timers_are_not_early_within_a_millisecond(void)
{
    enum { ALARMS = 200 };
    static struct alarm a[ALARMS];
    int early = 0, fired = 0;
    begin();
    for (int i = 0; i < ALARMS; i++) {
        a[i] = (struct alarm){.busy = 70000 + (uint64_t)i * 1000};
        env_timer_open(env, &a[i].timer, alarm_fired);
        alarm_set(&a[i], (uint64_t)i * 230000);
    }
    WAIT_FOR(a[ALARMS - 1].count > 0);
    for (int i = 0; i < ALARMS; i++) {
        early += a[i].fired_at < a[i].due;
        fired += a[i].count;
        env_timer_close(&a[i].timer);
    }
    UNIT_INT(early, 0);
    UNIT_INT(fired, ALARMS);
    end();
}

static void timers_stop_restart_and_close(void)
{
    struct alarm stopped = {.count = 0}, closed = {.count = 0}, restarted = {.count = 0},
                 own = {.close = true};
    struct env_timer never = {.impl = NULL};
    begin();
    env_timer_open(env, &stopped.timer, alarm_fired);
    env_timer_open(env, &closed.timer, alarm_fired);
    env_timer_open(env, &restarted.timer, alarm_fired);
    env_timer_open(env, &own.timer, alarm_fired);
    alarm_set(&stopped, 5 * ENV_MS);
    alarm_set(&closed, 5 * ENV_MS);
    alarm_set(&restarted, 5 * ENV_MS);
    alarm_set(&restarted, 15 * ENV_MS);
    alarm_set(&own, 5 * ENV_MS);
    env_timer_stop(&stopped.timer);
    env_timer_close(&closed.timer);
    env_timer_close(&never);
    run_for(30 * ENV_MS);
    UNIT_INT(stopped.count, 0);
    UNIT_INT(closed.count, 0);
    UNIT_INT(restarted.count, 1);
    UNIT_TRUE(restarted.fired_at >= restarted.due);
    UNIT_INT(own.count, 1);
    alarm_set(&stopped, UINT64_MAX);
    run_for(5 * ENV_MS);
    UNIT_INT(stopped.count, 0);
    env_timer_close(&stopped.timer);
    env_timer_close(&restarted.timer);
    end();
}

struct lengthy {
    struct env_msg msg;
    struct alarm alarm;
    int left, before_alarm;
};

static void lengthy_run(struct env_msg *msg)
{
    struct lengthy *a = CONTAINER_OF(msg, struct lengthy, msg);
    uint64_t began = env_now(env);
    while (env_now(env) < began + 2 * ENV_MS) {
    }
    a->before_alarm += a->alarm.count == 0;
    if (--a->left) {
        env_post(env, msg);
    }
}

/* Messages that take long and bring others hold up the rest of the loop for one of them, not for a round of them. */
static void long_messages_let_the_rest_go_on(void)
{
    struct lengthy a = {.msg.run = lengthy_run, .left = 40};
    begin();
    env_timer_open(env, &a.alarm.timer, alarm_fired);
    alarm_set(&a.alarm, ENV_MS);
    env_post(env, &a.msg);
    WAIT_FOR(a.left == 0);
    UNIT_INT(a.alarm.count, 1);
    UNIT_TRUE(a.before_alarm <= 2);
    env_timer_close(&a.alarm.timer);
    end();
}

/* ---- files ---- */

static void *block_new(size_t n, int fill)
{
    void *p;
    CHECK(posix_memalign(&p, ENV_BLOCK, n) == 0);
    memset(p, fill, n);
    return p;
}

/* One file, what is written to it, and room for what is read. */
struct scratch {
    char path[300];
    struct env_file *f;
    uint8_t *data, *back;
    struct errmsg em;
};

enum { DATA_BLOCKS = 160, ROOM = (DATA_BLOCKS + 3) * ENV_BLOCK };

static struct scratch file_begin(const char *dir, int flags)
{
    struct scratch s = {.data = block_new(DATA_BLOCKS * ENV_BLOCK, 'a'), .back = block_new(ROOM, 0)};
    begin();
    snprintf(s.path, sizeof s.path, "%s/holdfast-file-%d", dir, (int)getpid());
    UNIT_REQUIRE(env_open(env, s.path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL | flags, &s.f, &s.em) == 0);
    return s;
}

static size_t file_read(struct scratch *s)
{
    size_t got = 0;
    UNIT_INT(env_pread(s->f, s->back, ROOM, 0, &got, &s->em), 0);
    return got;
}

static void file_end(struct scratch *s)
{
    env_close(s->f);
    UNIT_INT(env_unlink(env, s->path, &s->em), 0);
    UNIT_STR(s->em.text, "");
    free(s->data);
    free(s->back);
    end();
}

static void durable_in(const char *dir)
{
    struct scratch s = file_begin(dir, ENV_DURABLE);
    uint64_t size = 0;
    UNIT_INT(env_pwrite(s.f, s.data, 4 * ENV_BLOCK, ENV_BLOCK, &s.em), 0);
    memset(s.data, 'b', ENV_BLOCK);
    UNIT_INT(env_pwrite(s.f, s.data, ENV_BLOCK, 0, &s.em), 0);
    UNIT_INT(env_size(s.f, &size, &s.em), 0);
    UNIT_UINT(size, 5 * ENV_BLOCK);
    UNIT_UINT(file_read(&s), 5 * ENV_BLOCK);
    UNIT_MEM(s.back, s.data, 2 * ENV_BLOCK); /* the b and the a */
    UNIT_TRUE(s.back[ENV_BLOCK] == 'a' && s.back[5 * ENV_BLOCK - 1] == 'a');
    UNIT_INT(env_truncate(s.f, ENV_BLOCK + 5, &s.em), 0);
    UNIT_UINT(file_read(&s), ENV_BLOCK + 5);
    UNIT_INT(env_sync(s.f, &s.em), 0);
    file_end(&s);
}

/* In pieces that are no blocks and in some that are, which are written and read through two descriptors. */
static void what_goes_past_memory_arrives(const char *dir)
{
    struct scratch s = file_begin(dir, ENV_PAST);
    const size_t all = DATA_BLOCKS * ENV_BLOCK - 5;
    size_t at = 0, aligned = 0;
    for (size_t i = 0; i < all; i++) {
        s.data[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    for (unsigned i = 0; at < all; i++) {
        size_t left = all - at, n = i % 3 == 0 ? 7 : ENV_BLOCK - at % ENV_BLOCK + i % 3 / 2 * 8 * ENV_BLOCK;
        n = n < left ? n : left;
        aligned += at % ENV_BLOCK == 0 && n % ENV_BLOCK == 0;
        UNIT_INT(env_pwrite(s.f, s.data + at, n, at, &s.em), 0);
        at += n;
        UNIT_UINT(file_read(&s), at); /* and what is read stands in memory, before the next write */
        UNIT_MEM(s.back, s.data, at);
    }
    UNIT_TRUE(aligned > 5);
    memset(s.data + 2 * ENV_BLOCK, 'b', ENV_BLOCK);
    UNIT_INT(env_pwrite(s.f, s.data + 2 * ENV_BLOCK, ENV_BLOCK, 2 * ENV_BLOCK, &s.em), 0);
    UNIT_INT(env_sync(s.f, &s.em), 0);
    UNIT_UINT(file_read(&s), all);
    UNIT_MEM(s.back, s.data, all);
    file_end(&s);
}

static void past_memory_on_disk(void)
{
    what_goes_past_memory_arrives(unit_tmpdir());
}

static void past_memory_where_there_is_no_disk(void)
{
    what_goes_past_memory_arrives("/dev/shm");
}

static void durable_on_disk(void)
{
    durable_in(unit_tmpdir());
}

static void durable_in_memory(void)
{
    durable_in("/dev/shm");
}

/* ramfs knows no direct I/O. Only this process sees the mount. */
static void without_direct_io(void (*test)(const char *dir))
{
    char dir[200];
    snprintf(dir, sizeof dir, "%s/ramfs", unit_tmpdir());
    UNIT_INT(mkdir(dir, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "ramfs", 0, NULL) != 0) {
        rmdir(dir);
        UNIT_SKIP("may not mount");
    }
    test(dir);
    UNIT_INT(umount(dir), 0);
    UNIT_INT(rmdir(dir), 0);
}

static void durable_without_direct_io(void)
{
    without_direct_io(durable_in);
}

static void past_memory_without_direct_io(void)
{
    without_direct_io(what_goes_past_memory_arrives);
}

static void list_entry(void *arg, const char *name)
{
    buf_printf(arg, "%s ", name);
}

static void files_and_names(void)
{
    char dir[200], a[300], b[300];
    struct env_file *f;
    struct errmsg em = {""};
    struct buf text;
    struct stat st;
    begin();
    buf_init(&text, 1000);
    snprintf(dir, sizeof dir, "%s/files", unit_tmpdir());
    snprintf(a, sizeof a, "%s/a", dir);
    snprintf(b, sizeof b, "%s/b", dir);
    UNIT_INT(env_mkdir(env, dir, &em), 0);
    UNIT_INT(env_mkdir(env, dir, &em), E_EXISTS);
    UNIT_INT(stat(dir, &st), 0);
    UNIT_UINT(st.st_mode & 0777, 0700);
    UNIT_INT(env_open(env, a, ENV_READ, &f, &em), E_NOTFOUND);
    UNIT_TRUE(f == NULL && strstr(em.text, "cannot open ") == em.text &&
              strstr(em.text, ": No such file or directory"));
    UNIT_INT(env_open(env, a, ENV_WRITE | ENV_CREATE, &f, &em), 0);
    UNIT_INT(env_pwrite(f, "hello", 5, 3, &em), 0);
    env_close(f);
    UNIT_INT(env_open(env, a, ENV_WRITE | ENV_CREATE | ENV_EXCL, &f, &em), E_EXISTS);
    UNIT_INT(stat(a, &st), 0);
    UNIT_UINT(st.st_mode & 0777, 0600);
    UNIT_INT(env_read_file(env, a, &text, &em), 0);
    UNIT_UINT(text.len, 8);
    UNIT_MEM(text.data, "\0\0\0hello", 8);
    UNIT_INT(env_rename(env, a, b, &em), 0);
    UNIT_INT(env_rename(env, a, b, &em), E_NOTFOUND);
    UNIT_INT(env_replace_file(env, dir, "a10", "x", 1, &em), 0);
    UNIT_INT(env_replace_file(env, dir, "a9", "y", 1, &em), 0);
    UNIT_INT(env_make_dir(env, dir, "C", &em), 0);
    UNIT_INT(env_make_dir(env, dir, "C", &em), 0);
    buf_reset(&text);
    UNIT_INT(env_list_dir(env, dir, list_entry, &text, &em), 0);
    UNIT_STR(buf_cstr(&text), "C a10 a9 b ");
    UNIT_INT(env_open(env, b, ENV_WRITE | ENV_TRUNC, &f, &em), 0);
    env_close(f);
    UNIT_INT(stat(b, &st), 0);
    UNIT_UINT((unsigned long long)st.st_size, 0);
    UNIT_INT(env_unlink(env, b, &em), 0);
    UNIT_INT(env_unlink(env, b, &em), E_NOTFOUND);
    UNIT_INT(env_sync_dir(env, b, &em), E_NOTFOUND);
    UNIT_INT(env_list_dir(env, b, list_entry, &text, &em), E_NOTFOUND);
    buf_free(&text);
    end();
}

/* Whatever is said of it, what is read is what is there. */
static void a_hint_changes_nothing(void)
{
    struct scratch s = file_begin(unit_tmpdir(), 0);
    UNIT_INT(env_pwrite(s.f, s.data, 3 * ENV_BLOCK, 0, &s.em), 0);
    env_hint(s.f, 100, 5);
    env_hint(s.f, ENV_BLOCK, UINT64_MAX - 5);
    UNIT_UINT(file_read(&s), 3 * ENV_BLOCK);
    UNIT_MEM(s.back, s.data, 3 * ENV_BLOCK);
    file_end(&s);
}

static void full_device_is_named(void)
{
    struct env_file *f;
    struct errmsg em = {""};
    begin();
    UNIT_INT(env_open(env, "/dev/full", ENV_WRITE, &f, &em), 0);
    UNIT_INT(env_pwrite(f, "x", 1, 123, &em), E_NOSPACE);
    UNIT_STR(em.text, "cannot write /dev/full at offset 123: No space left on device");
    env_close(f);
    end();
}

/* ---- the rest ---- */

static void clocks_and_random(void)
{
    uint8_t a[600] = {0}, b[600] = {0};
    begin();
    uint64_t t = env_now(env);
    UNIT_TRUE(env_now(env) >= t);
    UNIT_TRUE(env_wall(env) / 1000000 - (uint64_t)time(NULL) + 2 < 4);
    env_random(env, a, sizeof a);
    env_random(env, b, sizeof b);
    UNIT_TRUE(memcmp(a, b, sizeof a) != 0);
    end();
}

/* Runs fn in a child process with its stderr caught; returns the exit status. */
static int caught(void (*fn)(void), char *text, size_t size)
{
    int fds[2], status = -1;
    size_t len = 0;
    ssize_t n;
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        fn();
        _exit(7);
    }
    close(fds[1]);
    while ((n = read(fds[0], text + len, size - 1 - len)) > 0) {
        len += (size_t)n;
    }
    text[len] = 0;
    close(fds[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void log_some(void)
{
    struct env *e = env_uv_main(ENV_INFO);
    env_log(e, ENV_DEBUG, "not shown");
    env_log(e, ENV_INFO, "peer connected host=%s", "a\nb");
    env_fatal(e, "cannot go on code=%d", 5);
}

static void log_lines_and_fatal(void)
{
    char text[1000];
    int year, month, day, hour, minute, second, ms, used = 0;
    UNIT_INT(caught(log_some, text, sizeof text), 1);
    UNIT_INT(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute, &second, &ms,
                    &used),
             7);
    UNIT_INT(used, 24);
    UNIT_TRUE(strncmp(text + 24, " INFO  main: peer connected host=a b\n", 37) == 0);
    UNIT_STR(text + 24 + 37 + 24, " ERROR main: cannot go on code=5\n");
}

struct stray {
    struct env_msg msg;
    struct env *worker;
    unsigned accepted;
};

static void wrong_thread(struct env_msg *msg)
{
    struct stray *d = CONTAINER_OF(msg, struct stray, msg);
    env_timer_start(&watchdog, ENV_S);
    d->accepted = 1;
}

static void touch_foreign_timer(void)
{
    struct stray d = {.msg.run = wrong_thread};
    begin();
    CHECK(env_spawn(env, "stranger", &d.worker) == 0);
    env_post(d.worker, &d.msg);
    env_join(d.worker);
}

static void foreign_thread_is_caught(void)
{
    char text[2000];
    UNIT_TRUE(caught(touch_foreign_timer, text, sizeof text) != 7);
    UNIT_TRUE(strstr(text, "pthread_equal") != NULL);
}

static int signals_seen;
static void signal_seen(void *arg, int signum)
{
    UNIT_INT(signum, SIGUSR1);
    UNIT_TRUE(arg == &signals_seen);
    signals_seen++;
    env_uv_stop(env);
}

static void signals_reach_the_loop(void)
{
    begin();
    UNIT_INT(env_uv_signal(env, SIGUSR1, signal_seen, &signals_seen), 0);
    UNIT_INT(signals_seen, 0);
    kill(getpid(), SIGUSR1);
    run();
    UNIT_INT(signals_seen, 1);
    env_uv_stop(env); /* before the run: it ends at once */
    run();
    end();
}

/* ---- the log's level ---- */

struct levels {
    struct env_msg spawn, look, join;
    struct env *child, *grandchild;
    enum env_level seen;
};

static void spawn_grandchild(struct env_msg *msg)
{
    struct levels *l = CONTAINER_OF(msg, struct levels, spawn);
    CHECK(env_spawn(l->child, "inner", &l->grandchild) == 0);
}

static void look_at_level(struct env_msg *msg)
{
    struct levels *l = CONTAINER_OF(msg, struct levels, look);
    l->seen = l->grandchild->level;
}

static void join_grandchild(struct env_msg *msg)
{
    struct levels *l = CONTAINER_OF(msg, struct levels, join);
    l->look.run = look_at_level;
    env_post(l->grandchild, &l->look);
    env_join(l->grandchild);
}

/* On every loop there is, and on those that come later; one that ended is no concern. */
static void level_reaches_all_loops(void)
{
    struct levels l = {.seen = ENV_DEBUG, .spawn.run = spawn_grandchild, .join.run = join_grandchild};
    struct env *gone, *later;
    begin();
    enum env_level before = env->level;
    UNIT_INT(env_spawn(env, "gone", &gone), 0);
    UNIT_INT(env_spawn(env, "outer", &l.child), 0);
    env_join(gone);
    env_post(l.child, &l.spawn);
    env_uv_set_level(env, ENV_ERROR);
    UNIT_INT(env->level, ENV_ERROR);
    UNIT_INT(env_spawn(env, "later", &later), 0);
    UNIT_INT(later->level, ENV_ERROR);
    env_join(later);
    env_post(l.child, &l.join); /* behind the level, on both */
    env_join(l.child);
    UNIT_INT(l.seen, ENV_ERROR);
    env_uv_set_level(env, before);
    end();
}

UNIT_MAIN("env_uv", UNIT_TEST(level_reaches_all_loops), UNIT_TEST(posts_keep_order_and_join_drains), UNIT_TEST(posts_go_to_and_fro),
          UNIT_TEST(post_to_oneself_waits), UNIT_TEST(posts_to_oneself_go_on_and_let_timers_run),
          UNIT_TEST(lazy_posts_wake_nobody_and_keep_their_place), UNIT_TEST(what_is_in_the_background_gives_way),
          UNIT_TEST(timers_fire_in_order_and_never_early),
          UNIT_TEST(timers_are_not_early_within_a_millisecond), UNIT_TEST(timers_stop_restart_and_close), UNIT_TEST(long_messages_let_the_rest_go_on),
          UNIT_TEST(past_memory_on_disk), UNIT_TEST(past_memory_where_there_is_no_disk), UNIT_TEST(past_memory_without_direct_io),
          UNIT_TEST(durable_on_disk), UNIT_TEST(durable_in_memory), UNIT_TEST(durable_without_direct_io),
          UNIT_TEST(files_and_names), UNIT_TEST(full_device_is_named), UNIT_TEST(a_hint_changes_nothing), UNIT_TEST(clocks_and_random),
          UNIT_TEST(log_lines_and_fatal), UNIT_TEST(foreign_thread_is_caught),
          UNIT_TEST(signals_reach_the_loop))
