/* test_install: files that were fetched take the place of those that are here; whatever happens in the middle is mended at the next start;
 * readers go on in the file that has grown, or are told that what they need is gone. */
#include "storage/install.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "storage/reader.h"
#include "storage/store.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 6, PART = 2, NEWEST = 4, INDEX = 1000, TEXT_MAX = 2000, OPEN_FAILED = 90, NOT_REACHED = 92 };

static const struct store_options fine = {.index_step = 150, .index_block = 512};

static struct binlog *files[N];

static uint64_t era_of(size_t i)
{
    return 1 + i / 3;
}

static void load_files(void)
{
    for (unsigned i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i % 3 + 1);
        files[i] = binlog_load("mysql-9.7-all-events", name);
    }
}

static void drop_files(void)
{
    for (unsigned i = 0; i < N; i++) {
        binlog_free(files[i]);
    }
}

/* An offset inside a transaction in the middle of a file. */
static uint64_t middle(const struct binlog *b)
{
    size_t i = b->n_events / 2;
    while (b->events[i].boundary) {
        i++;
    }
    return b->events[i].end;
}

/* The files from `first` up to the middle of NEWEST. */
static struct install install_from(size_t first)
{
    uint64_t size = middle(files[NEWEST]);
    struct install in = {.index = INDEX, .boundary = binlog_boundary(files[NEWEST], size), .size = size, .files = filelist_new()};
    for (size_t i = first; i <= NEWEST; i++) {
        struct filelist *more = filelist_add(in.files, i > first ? files[i - 1]->n : 0, 0, era_of(i), files[i]->name, files[i]->state_before);
        filelist_unref(in.files);
        in.files = more;
    }
    return in;
}

/* ---- what there is before ------------------------------------------------------------------------------ */

/* The first files, the last of them in part; up to a place that is no transaction's end. */
static void put_prefix(struct env *loop, struct store *store)
{
    uint64_t index = 0, part = middle(files[PART]);
    for (size_t i = 0; i < PART; i++) {
        binlog_put(store, files[i], era_of(i), 3000, &index);
    }
    struct store_txns txns = binlog_txns(files[PART], STORE_MAGIC, part);
    store_file(store, ++index, 0, era_of(PART), files[PART]->name, files[PART]->state_before);
    store_write_txns(store, ++index, STORE_MAGIC, files[PART]->bytes + STORE_MAGIC, part - STORE_MAGIC, binlog_boundary(files[PART], part), &txns, NULL, NULL);
    store_checkpoint(store, index, NULL, NULL);
    test_env_run(loop);
}

static void put_fetched_file(struct env *env, const char *dir, size_t i, uint64_t size)
{
    struct errmsg em;
    struct env_file *f;
    char *fetch = mem_printf("%s/fetch", dir), *era = mem_printf("%u", (unsigned)era_of(i)), *path = install_path(dir, era_of(i), files[i]->name);
    UNIT_REQUIRE(env_make_dir(env, dir, "fetch", &em) == 0 && env_make_dir(env, fetch, era, &em) == 0);
    UNIT_REQUIRE(env_open(env, path, ENV_WRITE | ENV_CREATE | ENV_TRUNC, &f, &em) == 0);
    UNIT_REQUIRE(env_pwrite(f, files[i]->bytes, size, 0, &em) == 0 && env_sync(f, &em) == 0);
    env_close(f);
    mem_free(fetch);
    mem_free(era);
    mem_free(path);
}

static void put_fetched(struct env *env, const char *dir, size_t first)
{
    for (size_t i = first; i < NEWEST; i++) {
        put_fetched_file(env, dir, i, files[i]->n);
    }
    put_fetched_file(env, dir, NEWEST, middle(files[NEWEST]));
}

static void prepare(const char *dir)
{
    struct env *loop = test_env_new(1);
    struct store *store = binlog_store_with(loop, dir, &fine);
    put_prefix(loop, store);
    binlog_store_close(loop, store);
    put_fetched(loop, dir, PART);
    test_env_free(loop);
}

/* ---- a life -------------------------------------------------------------------------------------------- */

struct accident {
    uint64_t crash_at;
    bool power_loss;
    uint64_t fail_at;
    int errnum;
};

static bool is_there(struct env *env, const char *dir, const char *what)
{
    struct buf have;
    bool there = binlog_read(env, &have, "%s/%s", dir, what);
    buf_free(&have);
    return there;
}

static void note(void *arg)
{
    *(bool *)arg = true;
}

/* What the log brings behind the snapshot. */
static void go_on(struct env *loop, struct store *store)
{
    const struct binlog *b = files[NEWEST];
    uint64_t index = INDEX;
    for (uint64_t at = middle(b); at < b->n;) {
        uint64_t n = b->n - at < 1500 ? b->n - at : 1500;
        struct store_txns txns = binlog_txns(b, at, at + n);
        store_write_txns(store, ++index, at, b->bytes + at, n, binlog_boundary(b, at + n), &txns, NULL, NULL);
        at += n;
        store_checkpoint(store, index, NULL, NULL);
        test_env_run(loop);
    }
    for (size_t i = NEWEST + 1; i < N; i++) {
        binlog_put(store, files[i], era_of(i), 3000, &index);
    }
    store_checkpoint(store, index, NULL, NULL);
    test_env_run(loop);
}

/* As raft does it: marked, decided, put in place; or at a start that finds it decided. */
static int run(struct env *loop, const char *dir, struct errmsg *em)
{
    struct store *store;
    struct install in = install_from(1);
    bool decided = is_there(loop, dir, "decided"), done = false;
    uint64_t marked = 0;
    int rv = install_marked(loop, dir, &marked, em);
    if (!rv && decided && marked == INDEX) {
        rv = install_resume(loop, dir, &in, em);
    }
    rv = rv ? rv : store_open_with(loop, dir, &fine, &store, em);
    if (!rv && !decided) {
        rv = install_mark(loop, dir, INDEX, em);
        rv = rv ? rv : env_replace_file(loop, dir, "decided", "yes", 3, em);
        if (!rv) {
            store_install(store, &in, note, &done);
            test_env_run(loop);
            rv = done && store_checkpoint_index(store) == INDEX ? 0 : err_set(em, E_INVALID, "it was not put in place");
        }
    }
    if (!rv) {
        go_on(loop, store);
    }
    filelist_unref(in.files);
    return rv;
}

static int life(const char *dir, const struct accident *a, uint64_t seed, char text[TEXT_MAX])
{
    int fds[2], status = -1;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct errmsg em = {""};
        struct env *loop = test_env_new(seed);
        close(fds[0]);
        test_env_fatal_to(loop, fds[1]);
        test_env_crash(loop, a->crash_at, a->power_loss);
        test_env_fail(loop, a->fail_at, a->errnum, false);
        if (run(loop, dir, &em)) {
            dprintf(fds[1], "%s\n", em.text);
            _exit(OPEN_FAILED);
        }
        _exit(a->fail_at && !test_env_failed(loop) ? NOT_REACHED : 0);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool names_are(struct env *env, const char *dir, unsigned era, const char *want)
{
    struct buf have;
    bool same = binlog_read(env, &have, "%s/binlog/%u/mysql-bin.index", dir, era) && strcmp(buf_cstr(&have), want) == 0;
    buf_free(&have);
    return same;
}

/* The first file is gone, the others hold what they should; nothing is left of the fetching. */
static bool as_it_should(const char *dir)
{
    struct env *env = test_env_new(1);
    bool right = !is_there(env, dir, "binlog/1/mysql-bin.000001") && !is_there(env, dir, "index/1/mysql-bin.000001.idx");
    for (size_t i = 1; i < N; i++) {
        char *fetched = mem_printf("fetch/%u/%s", (unsigned)era_of(i), files[i]->name);
        right = right && binlog_same(env, dir, era_of(i), files[i]) && !is_there(env, dir, fetched);
        mem_free(fetched);
    }
    right = right && binlog_index_same(env, dir, era_of(NEWEST), files[NEWEST], &fine, true) &&
            binlog_index_same(env, dir, era_of(N - 1), files[N - 1], &fine, false);
    right = right && names_are(env, dir, 1, "./mysql-bin.000002\n./mysql-bin.000003\n") &&
            names_are(env, dir, 2, "./mysql-bin.000001\n./mysql-bin.000002\n./mysql-bin.000003\n");
    right = right && !is_there(env, dir, "fetch/ready") && !is_there(env, dir, "binlog/files.1") && is_there(env, dir, "binlog/files.2");
    test_env_free(env);
    return right;
}

static void crash_everywhere(bool power_loss)
{
    static const struct accident none = {.crash_at = 0};
    unsigned crashes = 0;
    bool right = true;
    uint64_t at = 1;
    char text[TEXT_MAX];
    load_files();
    for (int end = TEST_ENV_CRASHED; end == TEST_ENV_CRASHED && right; at++) {
        char name[64];
        struct accident a = {.crash_at = at, .power_loss = power_loss};
        snprintf(name, sizeof name, "install-crash%d-%llu", power_loss, (unsigned long long)at);
        char *dir = binlog_dir(name);
        prepare(dir);
        end = life(dir, &a, at, text);
        crashes += end == TEST_ENV_CRASHED;
        for (unsigned again = 0; again < 2 && end == TEST_ENV_CRASHED; again++) { /* in the start that mends it too */
            a.crash_at = 1 + (at * 7 + again * 3) % 23;
            int rv = life(dir, &a, at + again, text);
            right = right && (rv == TEST_ENV_CRASHED || rv == 0);
            crashes += rv == TEST_ENV_CRASHED;
        }
        right = right && life(dir, &none, at, text) == 0 && as_it_should(dir);
        if (!right) {
            fprintf(stderr, "crash before change %llu, see %s: %s\n", (unsigned long long)at, dir, text);
        }
        mem_free(dir);
    }
    UNIT_TRUE(right);
    printf("# %u crashes, %llu places\n", crashes, (unsigned long long)at);
    UNIT_TRUE(at > 60);
    UNIT_TRUE(crashes > 120);
    drop_files();
}

static void a_crash_anywhere_is_mended(void)
{
    crash_everywhere(false);
}

static void a_power_loss_anywhere_is_mended(void)
{
    crash_everywhere(true);
}

static void a_failed_call_is_said_and_mended(void)
{
    static const struct accident none = {.crash_at = 0};
    bool right = true;
    unsigned ended = 0;
    char text[TEXT_MAX], again[TEXT_MAX];
    struct accident a = {.fail_at = 1, .errnum = EIO};
    load_files();
    for (unsigned missed = 0; missed < 4 && right; a.fail_at += 2) { /* a name in a listing counts as a call, too */
        char name[64];
        snprintf(name, sizeof name, "install-fail-%llu", (unsigned long long)a.fail_at);
        char *dir = binlog_dir(name);
        prepare(dir);
        int end = life(dir, &a, 1, text);
        missed = end == NOT_REACHED ? missed + 1 : 0;
        ended += end == TEST_ENV_FATAL || end == OPEN_FAILED;
        right = right && (end == OPEN_FAILED || end == TEST_ENV_FATAL ? strstr(text, strerror(EIO)) != NULL : end == 0 || end == NOT_REACHED);
        right = right && life(dir, &none, 1, again) == 0 && as_it_should(dir);
        if (!right) {
            fprintf(stderr, "call %llu fails: ends with %d '%s', then '%s', see %s\n", (unsigned long long)a.fail_at, end, text, again, dir);
        }
        mem_free(dir);
    }
    UNIT_TRUE(right);
    printf("# %u of %llu calls that failed ended it\n", ended, (unsigned long long)a.fail_at / 2);
    UNIT_TRUE(ended > 40);
    drop_files();
}

/* A mark alone decides nothing: what is here stays. */
static void what_is_only_marked_is_not_used(void)
{
    struct errmsg em;
    struct store *store;
    uint64_t marked;
    load_files();
    char *dir = binlog_dir("install-marked");
    prepare(dir);
    struct env *loop = test_env_new(1);
    UNIT_INT(install_mark(loop, dir, INDEX, &em), 0);
    UNIT_INT(install_marked(loop, dir, &marked, &em), 0);
    UNIT_UINT(marked, INDEX);
    store = binlog_store_with(loop, dir, &fine);
    UNIT_TRUE(store_checkpoint_index(store) < INDEX);
    UNIT_TRUE(is_there(loop, dir, "binlog/1/mysql-bin.000001") && !is_there(loop, dir, "binlog/2/mysql-bin.000001"));
    binlog_store_close(loop, store);
    UNIT_INT(install_drop(loop, dir, &em), 0);
    UNIT_INT(install_marked(loop, dir, &marked, &em), 0);
    UNIT_UINT(marked, 0);
    UNIT_TRUE(!is_there(loop, dir, "fetch/2/mysql-bin.000001"));
    UNIT_UINT(test_env_open_files(loop), 0);
    test_env_free(loop);
    mem_free(dir);
    drop_files();
}

/* ---- readers ------------------------------------------------------------------------------------------- */

struct fix {
    struct env *loop, *worker;
    char *dir;
    struct store *store;
    struct store_sub sub;
    bool left;
};

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void gone(struct store_sub *sub)
{
    ((struct fix *)sub->owner)->left = true;
}

static void open_fix(struct fix *f, const char *name)
{
    load_files();
    *f = (struct fix){.loop = test_env_new(unit_seed())};
    f->worker = test_env_worker(f->loop, "serve0");
    f->dir = binlog_dir(name);
    f->store = binlog_store_with(f->loop, f->dir, &fine);
    f->sub.owner = f;
    store_subscribe(f->store, &f->sub, f->worker, changed);
    put_prefix(f->loop, f->store);
}

static void close_fix(struct fix *f)
{
    store_unsubscribe(&f->sub, gone);
    test_env_run(f->loop);
    UNIT_TRUE(f->left);
    binlog_store_close(f->loop, f->store);
    UNIT_UINT(test_env_open_files(f->loop), 0);
    mem_free(f->dir);
    test_env_free(f->loop);
    drop_files();
}

static void put_in_place(struct fix *f, size_t first)
{
    struct errmsg em;
    struct install in = install_from(first);
    bool done = false;
    put_fetched(f->loop, f->dir, first > PART ? first : PART);
    UNIT_REQUIRE(install_mark(f->loop, f->dir, INDEX, &em) == 0);
    store_install(f->store, &in, note, &done);
    test_env_run(f->loop);
    UNIT_TRUE(done);
    filelist_unref(in.files);
}

/* All that is there, each event's bytes as they stand in its file. */
static int read_all(struct reader *r, uint64_t *bytes, bool *same)
{
    struct reader_event ev;
    struct errmsg em;
    int rv;
    while ((rv = reader_next(r, &ev, &em)) == 1) {
        *bytes += ev.n;
        bool found = false;
        for (size_t i = 0; i < N; i++) {
            found = found || (!strcmp(ev.file, files[i]->name) && ev.end >= ev.n && ev.end <= files[i]->n && !memcmp(files[i]->bytes + ev.end - ev.n, ev.bytes, ev.n));
        }
        *same = *same && found;
    }
    return rv;
}

static void a_reader_goes_on_in_the_file_that_has_grown(void)
{
    struct fix f;
    struct reader *by_position, *by_gtid;
    struct errmsg em;
    struct gtid_set *none = gtid_set_new(FLAVOUR_MYSQL);
    uint64_t bytes = 0, of_gtid = 0;
    bool same = true;
    open_fix(&f, "install-reader");
    UNIT_REQUIRE(reader_open_position(&f.sub, 1, files[1]->name, 4, &by_position, &em) == 0);
    UNIT_REQUIRE(reader_open_gtid(&f.sub, none, &by_gtid, &em) == 0);
    UNIT_INT(read_all(by_position, &bytes, &same), 0);
    UNIT_UINT(bytes, files[1]->n - 4 + binlog_boundary(files[PART], middle(files[PART])) - 4);
    UNIT_INT(read_all(by_gtid, &of_gtid, &same), 0);
    put_in_place(&f, 1);
    UNIT_INT(read_all(by_position, &bytes, &same), READER_ERA_END); /* the file is whole, and the last of its era */
    UNIT_UINT(bytes, files[1]->n - 4 + files[PART]->n - 4);
    uint64_t before = of_gtid;
    UNIT_INT(read_all(by_gtid, &of_gtid, &same), 0);
    UNIT_TRUE(of_gtid > before);
    UNIT_TRUE(same);
    go_on(f.loop, f.store);
    UNIT_INT(read_all(by_gtid, &of_gtid, &same), 0);
    UNIT_TRUE(same);
    reader_close(by_position);
    reader_close(by_gtid);
    gtid_set_free(none);
    close_fix(&f);
}

/* Its file was purged at the others before it had all of it: what follows is not what comes next. */
static void a_reader_whose_file_is_gone_is_told(void)
{
    struct fix f;
    struct reader *r;
    struct errmsg em;
    uint64_t bytes = 0;
    bool same = true;
    open_fix(&f, "install-gone");
    UNIT_REQUIRE(reader_open_position(&f.sub, 1, files[PART]->name, 4, &r, &em) == 0);
    UNIT_INT(read_all(r, &bytes, &same), 0);
    put_in_place(&f, 3);
    UNIT_INT(read_all(r, &bytes, &same), READER_PURGED);
    UNIT_TRUE(same);
    reader_close(r);
    close_fix(&f);
}

UNIT_MAIN("install", UNIT_TEST(a_crash_anywhere_is_mended), UNIT_TEST(a_power_loss_anywhere_is_mended), UNIT_TEST(a_failed_call_is_said_and_mended),
          UNIT_TEST(what_is_only_marked_is_not_used), UNIT_TEST(a_reader_goes_on_in_the_file_that_has_grown), UNIT_TEST(a_reader_whose_file_is_gone_is_told))
