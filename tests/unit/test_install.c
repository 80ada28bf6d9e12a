/* test_install: files that were fetched take the place of those that are here, with their indexes; whatever happens in the middle is mended at the next start;
 * readers go on in the file that has grown, or are told that what they need is gone. */
#include "storage/install.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "storage/index_ahead.h"
#include "storage/reader.h"
#include "storage/store.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/lives.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { N = 6, PART = 2, NEWEST = 4, INDEX = 1000 };

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
static void put_prefix(struct store *store, uint64_t *last)
{
    uint64_t index = 0, part = middle(files[PART]);
    for (size_t i = 0; i < PART; i++) {
        binlog_put(store, files[i], era_of(i), 3000, &index);
    }
    struct store_txns txns = binlog_txns(files[PART], STORE_MAGIC, part);
    store_file(store, ++index, 0, era_of(PART), files[PART]->name, files[PART]->state_before);
    store_write_txns(store, ++index, STORE_MAGIC, files[PART]->bytes + STORE_MAGIC, part - STORE_MAGIC, binlog_boundary(files[PART], part), &txns, NULL, NULL);
    store_checkpoint(store, index, NULL, NULL);
    *last = index;
}

static int put_fetched_file(struct env *env, const char *dir, size_t i, uint64_t size, struct errmsg *em)
{
    struct env_file *f;
    char *fetch = mem_printf("%s/fetch", dir), *era = mem_printf("%u", (unsigned)era_of(i)), *path = install_path(dir, era_of(i), files[i]->name);
    int rv = env_make_dir(env, dir, "fetch", em);
    rv = rv ? rv : env_make_dir(env, fetch, era, em);
    rv = rv ? rv : env_open(env, path, ENV_WRITE | ENV_CREATE | ENV_TRUNC, &f, em);
    if (!rv) {
        rv = env_pwrite(f, files[i]->bytes, size, 0, em);
        rv = rv ? rv : env_sync(f, em);
        env_close(f);
    }
    mem_free(fetch);
    mem_free(era);
    mem_free(path);
    return rv;
}

static int put_fetched(struct env *env, const char *dir, size_t first, struct errmsg *em)
{
    int rv = 0;
    for (size_t i = first; i < NEWEST && !rv; i++) {
        rv = put_fetched_file(env, dir, i, files[i]->n, em);
    }
    return rv ? rv : put_fetched_file(env, dir, NEWEST, middle(files[NEWEST]), em);
}

/* As it is made while the file comes. */
static int put_index(struct env *env, const char *dir, size_t i, uint64_t size, struct errmsg *em)
{
    struct buf index;
    bool sealed = i < NEWEST;
    char *path = install_path(dir, era_of(i), files[i]->name);
    struct index_ahead *a = index_ahead_new(env, path, era_of(i), files[i]->name, lives_options.index_step, lives_options.index_block);
    buf_init(&index, INDEX_MAX);
    int rv = index_ahead_step(a, size, NULL, 0, UINT64_MAX, em);
    rv = rv ? rv : index_ahead_end(a, sealed ? size : binlog_boundary(files[i], size), size, sealed, &index, em);
    rv = rv ? rv : install_put_index(env, dir, era_of(i), files[i]->name, &index, em);
    buf_free(&index);
    index_ahead_free(a);
    mem_free(path);
    return rv;
}

static int put_indexes(struct env *env, const char *dir, struct errmsg *em)
{
    int rv = 0;
    for (size_t i = PART; i < NEWEST && !rv; i++) {
        rv = put_index(env, dir, i, files[i]->n, em);
    }
    return rv ? rv : put_index(env, dir, NEWEST, middle(files[NEWEST]), em);
}

static void prepare(const char *dir)
{
    struct env *loop = test_env_new(1);
    struct store *store = binlog_store_with(loop, dir, &lives_options);
    uint64_t last;
    put_prefix(store, &last);
    test_env_run(loop);
    binlog_store_close(loop, store);
    UNIT_INT(put_fetched(loop, dir, PART, NULL), 0);
    test_env_free(loop);
}

/* ---- a life -------------------------------------------------------------------------------------------- */

static void note(void *arg)
{
    *(bool *)arg = true;
}

/* What the log brings behind the snapshot: a few of its jobs. */
static bool go_on(struct telling *t)
{
    const struct binlog *b = files[NEWEST];
    uint64_t n = b->n - t->at < 1500 ? b->n - t->at : 1500;
    if (n) {
        struct store_txns txns = binlog_txns(b, t->at, t->at + n);
        store_write_txns(t->store, ++t->index, t->at, b->bytes + t->at, n, binlog_boundary(b, t->at + n), &txns, NULL, NULL);
        t->at += n;
        store_checkpoint(t->store, t->index, NULL, NULL);
        return true;
    }
    for (size_t i = NEWEST + 1; i < N; i++) {
        binlog_put(t->store, files[i], era_of(i), 3000, &t->index);
    }
    store_checkpoint(t->store, t->index, NULL, NULL);
    return false;
}

static void begin_to_go_on(struct telling *t)
{
    t->index = INDEX;
    t->at = middle(files[NEWEST]);
}

static int is_decided(struct env *env, const char *dir, bool *is, struct errmsg *em)
{
    struct buf b;
    char *path = mem_printf("%s/decided", dir);
    buf_init(&b, 100);
    int rv = env_read_file(env, path, &b, em);
    *is = rv == 0;
    buf_free(&b);
    mem_free(path);
    return rv == E_NOTFOUND ? 0 : rv;
}

/* As raft does it: a start that finds it decided puts in place what is marked. */
static int open_store(struct env *loop, const char *dir, struct store **store, struct errmsg *em)
{
    uint64_t marked = 0;
    bool decided;
    int rv = install_marked(loop, dir, &marked, em);
    rv = rv ? rv : is_decided(loop, dir, &decided, em);
    if (!rv && decided && marked == INDEX) {
        struct install in = install_from(1);
        rv = install_resume(loop, dir, &in, em);
        filelist_unref(in.files);
    }
    return rv ? rv : store_open_with(loop, dir, &lives_options, store, em);
}

static struct install installing; /* until it is done */
static bool installed;

static int fetch(struct telling *t, struct errmsg *em)
{
    int rv = put_fetched(t->loop, t->dir, PART, em);
    rv = rv ? rv : put_indexes(t->loop, t->dir, em);
    rv = rv ? rv : install_mark(t->loop, t->dir, INDEX, em);
    rv = rv ? rv : env_replace_file(t->loop, t->dir, "decided", "yes", 3, em);
    if (!rv) {
        installed = false;
        store_install(t->store, &installing, note, &installed);
    }
    return rv;
}

enum { BEGIN, PREFIX, INSTALL, GO_ON };

/* What was there is whole, then the rest is fetched, marked, decided, put in place; then it goes on. */
static int step(struct telling *t, struct errmsg *em)
{
    bool decided;
    int rv = 0;
    switch (t->part) {
    case BEGIN:
        begin_to_go_on(t);
        rv = is_decided(t->loop, t->dir, &decided, em);
        t->part = decided ? GO_ON : PREFIX;
        if (t->part == PREFIX) {
            put_prefix(t->store, &t->round);
        }
        break;
    case PREFIX:
        if (store_checkpoint_index(t->store) == t->round) {
            rv = fetch(t, em);
            t->part = INSTALL;
        }
        break;
    case INSTALL:
        if (installed) {
            rv = store_checkpoint_index(t->store) == INDEX ? 0 : err_set(em, E_INVALID, "it was not put in place");
            t->part = GO_ON;
        }
        break;
    default:
        return go_on(t);
    }
    return rv ? rv : 1;
}

static bool is_gone(struct env *env, const char *dir, const char *what)
{
    bool there = binlog_is_there(env, dir, what);
    if (there) {
        fprintf(stderr, "%s/%s is still there\n", dir, what);
    }
    return !there;
}

/* Indexes of fetched files that nobody made again; a loss of power may take one away, and leaves no wrong one. */
static bool indexes_came_along(struct env *env, const char *dir)
{
    bool right = true;
    for (size_t i = PART; i < NEWEST; i++) {
        char *path = mem_printf("index/%u/%s.idx", (unsigned)era_of(i), files[i]->name), *left = mem_printf("fetch/%u/%s.idx", (unsigned)era_of(i), files[i]->name);
        right = right && (!binlog_is_there(env, dir, path) || binlog_index_same(env, dir, era_of(i), files[i], &lives_options, true)) && is_gone(env, dir, left);
        mem_free(path);
        mem_free(left);
    }
    return right;
}

/* The first file is gone, the others hold what they should; nothing is left of the fetching. */
static bool as_it_should(struct env *env, const char *dir)
{
    bool right = is_gone(env, dir, "binlog/1/mysql-bin.000001") && is_gone(env, dir, "index/1/mysql-bin.000001.idx");
    for (size_t i = 1; i < N; i++) {
        char *fetched = mem_printf("fetch/%u/%s", (unsigned)era_of(i), files[i]->name);
        right = right && binlog_same(env, dir, era_of(i), files[i]) && is_gone(env, dir, fetched);
        mem_free(fetched);
    }
    right = right && indexes_came_along(env, dir) && binlog_index_same(env, dir, era_of(NEWEST), files[NEWEST], &lives_options, true) &&
            binlog_index_same(env, dir, era_of(N - 1), files[N - 1], &lives_options, false);
    right = right && binlog_names_are(env, dir, 1, "./mysql-bin.000002\n./mysql-bin.000003\n") &&
            binlog_names_are(env, dir, 2, "./mysql-bin.000001\n./mysql-bin.000002\n./mysql-bin.000003\n");
    return right && is_gone(env, dir, "fetch/ready") && is_gone(env, dir, "binlog/files.1") && binlog_is_there(env, dir, "binlog/files.2");
}

static const struct story story = {.name = "install", .open = open_store, .step = step, .right = as_it_should};

static void a_crash_anywhere_is_mended(void)
{
    struct lives_tally tally;
    load_files();
    installing = install_from(1);
    UNIT_TRUE(lives_crash(&story, &tally));
    UNIT_TRUE(tally.crashed > 800);
    filelist_unref(installing.files);
    drop_files();
}

static void a_failed_call_is_said_and_mended(void)
{
    struct lives_tally tally;
    load_files();
    installing = install_from(1);
    UNIT_TRUE(lives_fail(&story, EIO, false, 1, 2, &tally));
    UNIT_TRUE(tally.ended + tally.refused > 60);
    filelist_unref(installing.files);
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
    store = binlog_store_with(loop, dir, &lives_options);
    UNIT_TRUE(store_checkpoint_index(store) < INDEX);
    UNIT_TRUE(binlog_is_there(loop, dir, "binlog/1/mysql-bin.000001") && !binlog_is_there(loop, dir, "binlog/2/mysql-bin.000001"));
    binlog_store_close(loop, store);
    UNIT_INT(install_drop(loop, dir, &em), 0);
    UNIT_INT(install_marked(loop, dir, &marked, &em), 0);
    UNIT_UINT(marked, 0);
    UNIT_TRUE(!binlog_is_there(loop, dir, "fetch/2/mysql-bin.000001"));
    UNIT_UINT(test_env_open_files(loop), 0);
    test_env_free(loop);
    mem_free(dir);
    drop_files();
}

/* ---- what lies in fetch/ ------------------------------------------------------------------------------- */

/* With its index a file is not looked at when it is put in place: that takes as long as the file is large. */
static void with_its_index_a_file_is_not_read(void)
{
    load_files();
    for (unsigned with = 0; with < 2; with++) {
        const struct store_damage *damages;
        struct env_file *f;
        uint64_t last;
        bool done = false;
        char *dir = binlog_dir(with ? "install-index" : "install-no-index");
        struct env *loop = test_env_new(1);
        struct store *store = binlog_store_with(loop, dir, &lives_options);
        struct install in = install_from(1);
        put_prefix(store, &last);
        test_env_run(loop);
        UNIT_INT(put_fetched(loop, dir, PART, NULL), 0);
        UNIT_INT(with ? put_indexes(loop, dir, NULL) : 0, 0);
        char *path = install_path(dir, era_of(NEWEST), files[NEWEST]->name);
        uint64_t at = files[NEWEST]->events[3].start + 25; /* who looks at it finds it damaged */
        uint8_t wrong = (uint8_t)~files[NEWEST]->bytes[at];
        UNIT_REQUIRE(env_open(loop, path, ENV_WRITE, &f, NULL) == 0 && env_pwrite(f, &wrong, 1, at, NULL) == 0);
        env_close(f);
        UNIT_REQUIRE(install_mark(loop, dir, INDEX, NULL) == 0);
        store_install(store, &in, note, &done);
        test_env_run(loop);
        UNIT_TRUE(done);
        UNIT_UINT(store_damages(store, &damages), with ? 0 : 1);
        UNIT_TRUE(binlog_is_there(loop, dir, "index/2/mysql-bin.000001.idx") == with); /* the sealed one's, before anybody reads it */
        binlog_store_close(loop, store);
        filelist_unref(in.files);
        test_env_free(loop);
        mem_free(path);
        mem_free(dir);
    }
    drop_files();
}

/* What an earlier attempt left of a file that has come by another way would take its place. */
static void what_is_not_fetched_now_is_removed(void)
{
    struct errmsg em;
    struct buf none;
    load_files();
    char *dir = binlog_dir("install-keep");
    struct env *env = test_env_new(1);
    struct install in = install_from(1);
    UNIT_INT(put_fetched(env, dir, 0, NULL), 0);
    UNIT_INT(put_indexes(env, dir, NULL), 0);
    UNIT_INT(env_replace_file(env, dir, "fetch/2/mysql-bin.000009", "old", 3, &em), 0);
    UNIT_INT(env_replace_file(env, dir, "fetch/1/mysql-bin.000001.idx", "old", 3, &em), 0);
    UNIT_INT(env_replace_file(env, dir, "fetch/2/mysql-bin.000002.idx.tmp", "old", 3, &em), 0);
    UNIT_INT(install_keep(env, dir, in.files, 1, &em), 0); /* files 2 to NEWEST of the six */
    for (size_t i = 0; i <= NEWEST; i++) {
        char *file = mem_printf("fetch/%u/%s", (unsigned)era_of(i), files[i]->name), *index = mem_printf("%s.idx", file);
        UNIT_TRUE(binlog_is_there(env, dir, file) == (i >= 2));
        UNIT_TRUE(binlog_is_there(env, dir, index) == (i >= 2));
        mem_free(file);
        mem_free(index);
    }
    UNIT_TRUE(!binlog_is_there(env, dir, "fetch/2/mysql-bin.000009") && !binlog_is_there(env, dir, "fetch/2/mysql-bin.000002.idx.tmp"));
    buf_init(&none, 16);
    UNIT_INT(install_put_index(env, dir, era_of(PART), files[PART]->name, &none, &em), 0); /* there is to be none */
    UNIT_TRUE(!binlog_is_there(env, dir, "fetch/1/mysql-bin.000003.idx") && binlog_is_there(env, dir, "fetch/1/mysql-bin.000003"));
    filelist_unref(in.files);
    test_env_free(env);
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
    uint64_t last;
    load_files();
    *f = (struct fix){.loop = test_env_new(unit_seed())};
    f->worker = test_env_worker(f->loop, "serve0");
    f->dir = binlog_dir(name);
    f->store = binlog_store_with(f->loop, f->dir, &lives_options);
    f->sub.owner = f;
    store_subscribe(f->store, &f->sub, f->worker, changed);
    put_prefix(f->store, &last);
    test_env_run(f->loop);
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
    UNIT_INT(put_fetched(f->loop, f->dir, first > PART ? first : PART, &em), 0);
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
    struct telling t = {.loop = f.loop, .store = f.store};
    begin_to_go_on(&t);
    while (go_on(&t)) {
        test_env_run(f.loop);
    }
    test_env_run(f.loop);
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

UNIT_MAIN("install", UNIT_TEST(a_crash_anywhere_is_mended), UNIT_TEST(a_failed_call_is_said_and_mended),
          UNIT_TEST(what_is_only_marked_is_not_used), UNIT_TEST(with_its_index_a_file_is_not_read),
          UNIT_TEST(what_is_not_fetched_now_is_removed), UNIT_TEST(a_reader_goes_on_in_the_file_that_has_grown), UNIT_TEST(a_reader_whose_file_is_gone_is_told))
