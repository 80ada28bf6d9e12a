/* test_store_uv.c: the store on real threads: readers run beside the writer, subscribers come and go. Made
 * for the thread sanitizer. */
#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/reader.h"
#include "storage/store.h"
#include "storage/verify.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_uv_fixture.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 200, WORKERS = 3, COMINGS = 200, COMINGS_MAX = 200000, PURGES = 100 };

/* One on each worker: reads the log from its beginning, beside a subscriber that comes and goes. */
struct follower {
    struct env *worker;
    struct env_msg start, ready;
    struct store_sub sub, guest;
    struct reader *reader;
    uint64_t bytes, files;
    uint32_t crc;
    bool failed, reading_over, guest_over;
    unsigned comings;
};

static struct store *store;
static struct binlog *samples_97[3];
static uint64_t all_bytes, at_index;
static uint32_t all_crc;
static struct follower followers[WORKERS];
static unsigned ready_count, written;
static struct env_msg more;
static char *first_index; /* of the first file: taken away, and made again when a guest wants it */
static uint64_t first_size;
static unsigned verified, sound, verify_runs;
static atomic_bool index_removed;
static bool verifying;

/* libuv closes its descriptors by syscall(SYS_close), past the sanitizer, which knows a descriptor's number as that of a loop's epoll,
 * eventfd or signal pipe until another is made with it. To it that one races with the making of the old: two threads that one after the
 * other make a loop, close it, and open a file get that report; with close() they do not. Only makings are left out here. */
#ifdef __SANITIZE_THREAD__
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:epoll_create1\nrace:eventfd\nrace:pipe2\n";
}
#endif

static void closed(void *arg)
{
    (void)arg;
    env_uv_stop(env);
}

/* ---- a verify on a thread of its own ------------------------------------------------------------------- */

static void verify_result(void *owner, const struct verify_result *result)
{
    (void)owner;
    verified++;
    sound += result->verdict == VERIFY_SOUND;
    if (result->verdict != VERIFY_SOUND) {
        fprintf(stderr, "%s\n", result->text);
    }
}

static void begin_verify(void);

/* One run after the other while there is something to write beside. */
static void verify_done(void *owner)
{
    (void)owner;
    verify_runs++;
    verifying = false;
    if (written < FILES) {
        begin_verify();
    } else if (ready_count == WORKERS) {
        store_close(store, closed, NULL);
    }
}

static void begin_verify(void)
{
    static const struct verify_handler handler = {.result = verify_result, .done = verify_done};
    struct verify *verify;
    struct verify_file file = {.era = 1, .name = "mysql-bin.000002", .size = samples_97[1]->n, .sealed = true};
    verifying = true;
    UNIT_REQUIRE(verify_begin(env, store, &file, 1, 1 << 20, false, &handler, NULL, &verify, NULL) == 0);
}

static void followed(struct env_msg *msg)
{
    (void)msg;
    if (++ready_count == WORKERS && !verifying) {
        store_close(store, closed, NULL);
    }
}

/* ---- on the workers ------------------------------------------------------------------------------------ */

static void over(struct follower *f)
{
    if (f->reading_over && f->guest_over) {
        f->ready.run = followed;
        env_post(env, &f->ready);
    }
}

static void sub_left(struct store_sub *sub)
{
    struct follower *f = sub->owner;
    f->reading_over = true;
    over(f);
}

static void log_changed(struct store_sub *sub)
{
    struct follower *f = sub->owner;
    struct reader_event ev;
    struct errmsg em = {""};
    int rv = 0;
    if (!f->reader) {
        rv = reader_open_position(sub, 0, "", 4, &f->reader, &em);
        if (rv == READER_NOT_YET) {
            return;
        }
    }
    while (rv == 0 && (rv = reader_next(f->reader, &ev, &em)) == 1) {
        f->crc = crc32c_of(f->crc, ev.bytes, ev.n);
        f->bytes += ev.n;
        f->files += ev.new_file;
        rv = 0;
    }
    if (rv) {
        fprintf(stderr, "%s\n", em.text);
        f->failed = true;
    }
    if (rv || f->bytes == all_bytes) {
        reader_close(f->reader);
        store_unsubscribe(sub, sub_left);
    }
}

static void guest_changed(struct store_sub *sub);

static void guest_left(struct store_sub *sub)
{
    struct follower *f = sub->owner;
    bool made_again = atomic_load(&index_removed) && access(first_index, F_OK) == 0; /* asked for by a coming after the removal */
    if (++f->comings < COMINGS || (!made_again && f->comings < COMINGS_MAX)) {
        store_subscribe(store, &f->guest, f->worker, guest_changed);
    } else {
        f->guest_over = true;
        over(f);
    }
}

static void guest_changed(struct store_sub *sub)
{
    const struct catalog_entry *end;
    uint64_t offset;
    struct follower *f = sub->owner;
    f->failed = f->failed || (store_sub_end(sub, &end, &offset) && offset < 4);
    if (sub->catalog && sub->catalog->n > 1) {
        struct reader *r;
        struct errmsg em;
        int rv = reader_open_position(sub, 1, "mysql-bin.000001", first_size, &r, &em);
        f->failed = f->failed || rv;
        reader_close(r);
    }
    store_unsubscribe(sub, guest_left);
}

static void follow(struct env_msg *msg)
{
    struct follower *f = CONTAINER_OF(msg, struct follower, start);
    f->sub.owner = f->guest.owner = f;
    store_subscribe(store, &f->sub, f->worker, log_changed);
    store_subscribe(store, &f->guest, f->worker, guest_changed);
}

/* ---- on the loop --------------------------------------------------------------------------------------- */

static void written_some(void *arg);

static void write_more(struct env_msg *msg)
{
    struct binlog *b = samples_97[written % 3];
    snprintf(b->name, sizeof b->name, "mysql-bin.%06u", ++written);
    binlog_put(store, b, 1, 300 + written * 37, &at_index);
    store_write(store, ++at_index, b->n, b->bytes + 4, 90, b->n, NULL, NULL); /* the source lost it */
    store_cut(store, ++at_index, b->n);
    if (written == 10) {
        begin_verify();
    }
    if (written == FILES / 4) {
        UNIT_REQUIRE(unlink(first_index) == 0);
        atomic_store(&index_removed, true);
    }
    if (written % 7 == 0) {
        store_checkpoint(store, at_index, NULL, NULL);
    }
    (void)msg;
    if (written < FILES) {
        store_drain(store, written_some, NULL);
    }
}

/* Bytes come as fast as they are written and no faster, so that readers stand at the watermark again and
 * again. */
static void written_some(void *arg)
{
    (void)arg;
    env_post(env, &more);
}

static void readers_run_beside_the_writer(void)
{
    struct errmsg em;
    char *dir = binlog_dir("threads");
    static const struct store_options fine = {.index_step = 200, .index_block = 1024};
    begin();
    for (unsigned i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i + 1);
        samples_97[i] = binlog_load("mysql-9.7-all-events", name);
    }
    for (unsigned i = 0; i < FILES; i++) {
        const struct binlog *b = samples_97[i % 3];
        all_bytes += b->n - 4;
        all_crc = crc32c_of(all_crc, b->bytes + 4, b->n - 4);
    }
    UNIT_REQUIRE(store_open_with(env, dir, &fine, &store, &em) == 0);
    first_index = mem_printf("%s/index/1/mysql-bin.000001.idx", dir);
    first_size = samples_97[0]->n;
    for (unsigned i = 0; i < WORKERS; i++) {
        struct follower *f = &followers[i];
        f->start.run = follow;
        UNIT_REQUIRE(env_spawn(env, "serve", &f->worker) == 0);
        env_post(f->worker, &f->start);
    }
    more.run = write_more;
    env_post(env, &more);
    run();
    for (unsigned i = 0; i < WORKERS; i++) {
        env_join(followers[i].worker);
        UNIT_TRUE(!followers[i].failed);
        UNIT_UINT(followers[i].bytes, all_bytes);
        UNIT_UINT(followers[i].files, FILES);
        UNIT_UINT(followers[i].crc, all_crc);
        UNIT_TRUE(followers[i].comings >= COMINGS);
    }
    UNIT_TRUE(verify_runs > 1);
    UNIT_UINT(verified, verify_runs);
    UNIT_UINT(sound, verify_runs);
    UNIT_TRUE(access(first_index, F_OK) == 0);
    for (unsigned i = 0; i < 3; i++) {
        binlog_free(samples_97[i]);
    }
    mem_free(first_index);
    end();
    mem_free(dir);
}

/* ---- readers and purges -------------------------------------------------------------------------------- */

/* One on each worker: begins at the oldest file that it knows of, again and again. */
struct comer {
    struct env *worker;
    struct env_msg start, again, ready;
    struct store_sub sub;
    unsigned read, refused, failed;
    bool over;
};

static struct comer comers[WORKERS];
static atomic_bool purges_over;

static void came(struct env_msg *msg)
{
    (void)msg;
    if (++ready_count == WORKERS) {
        store_close(store, closed, NULL);
    }
}

static void comer_left(struct store_sub *sub)
{
    struct comer *c = sub->owner;
    c->ready.run = came;
    env_post(env, &c->ready);
}

/* Two files far: the second one may be gone by then. */
static int read_some(struct reader *r, struct errmsg *em)
{
    struct reader_event ev;
    unsigned entered = 0;
    int rv;
    while ((rv = reader_next(r, &ev, em)) == 1 && (entered += ev.new_file) < 3) {
    }
    return rv < 0 ? rv : 0;
}

static void come(struct env_msg *msg)
{
    struct comer *c = CONTAINER_OF(msg, struct comer, again);
    struct catalog_entry oldest;
    struct reader *r = NULL;
    struct errmsg em = {""};
    if (c->sub.catalog && catalog_at(c->sub.catalog, 0, &oldest, &em) == 0) {
        int rv = reader_open_position(&c->sub, oldest.file->era, oldest.file->name, 4, &r, &em);
        rv = rv ? rv : read_some(r, &em);
        c->read += rv == 0;
        c->refused += rv == READER_PURGED || rv == READER_UNKNOWN_FILE;
        if (rv && rv != READER_PURGED && rv != READER_UNKNOWN_FILE) {
            fprintf(stderr, "%s\n", em.text);
            c->failed++;
        }
        reader_close(r);
        catalog_entry_drop(&oldest);
    }
    if (!atomic_load(&purges_over)) {
        env_post(c->worker, &c->again);
    } else if (!c->over) {
        c->over = true;
        store_unsubscribe(&c->sub, comer_left);
    }
}

static void ignore(struct store_sub *sub)
{
    (void)sub;
}

static void comer_start(struct env_msg *msg)
{
    struct comer *c = CONTAINER_OF(msg, struct comer, start);
    c->sub.owner = c;
    store_subscribe(store, &c->sub, c->worker, ignore);
    c->again.run = come;
    env_post(c->worker, &c->again);
}

static void purged_some(void *arg);

static void purge_more(struct env_msg *msg)
{
    struct binlog *b = samples_97[0];
    (void)msg;
    snprintf(b->name, sizeof b->name, "mysql-bin.%06u", ++written);
    store_file(store, ++at_index, 0, 1, b->name, NULL);
    store_write(store, ++at_index, 4, b->bytes + 4, b->events[1].end - 4, b->events[1].end, NULL, NULL);
    if (written > 2) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", written - 1);
        store_purge(store, ++at_index, 1, name);
    }
    if (written < PURGES) {
        store_drain(store, purged_some, NULL);
    } else {
        atomic_store(&purges_over, true);
    }
}

static void purged_some(void *arg)
{
    (void)arg;
    env_post(env, &more);
}

/* Who comes to a file that is just being removed is told so: it is not taken for lost, which would be damage of this node. */
static void a_purge_beside_readers_is_no_damage(void)
{
    struct errmsg em;
    char *dir = binlog_dir("purges");
    unsigned read = 0;
    begin();
    written = ready_count = 0;
    at_index = 0;
    samples_97[0] = binlog_load("mysql-9.7-all-events", "mysql-bin.000001");
    UNIT_REQUIRE(store_open(env, dir, &store, &em) == 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        comers[i].start.run = comer_start;
        UNIT_REQUIRE(env_spawn(env, "serve", &comers[i].worker) == 0);
        env_post(comers[i].worker, &comers[i].start);
    }
    more.run = purge_more;
    env_post(env, &more);
    run();
    for (unsigned i = 0; i < WORKERS; i++) {
        env_join(comers[i].worker);
        UNIT_UINT(comers[i].failed, 0);
        read += comers[i].read;
        printf("# read %u refused %u\n", comers[i].read, comers[i].refused);
    }
    UNIT_TRUE(read > 0);
    binlog_free(samples_97[0]);
    end();
    mem_free(dir);
}

UNIT_MAIN("store_uv", UNIT_TEST(readers_run_beside_the_writer), UNIT_TEST(a_purge_beside_readers_is_no_damage))
