/* test_store.c: jobs become files, byte for byte, whatever happens in between. */
#include "storage/store.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/catalog.h"
#include "storage/checkpoint.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

static const struct {
    const char *dir, *name;
} samples[] = {
    {"mysql-9.7-all-events", "mysql-bin.000001"},     {"mysql-9.7-all-events", "mysql-bin.000003"},
    {"mysql-9.7-all-events", "mysql-bin.000012"},     {"mysql-5.6-all-events", "mysql-bin.000001"},
    {"mariadb-10.11-all-events", "mysql-bin.000001"}, {"mariadb-11.8-all-events", "mysql-bin.000001"},
};

static void random_pieces_give_the_same_file(void)
{
    random_state = unit_seed() * 77 + 1;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        char era[32];
        snprintf(era, sizeof era, "pieces%zu", i);
        struct binlog *b = binlog_load(samples[i].dir, samples[i].name);
        struct env *loop = test_env_new(unit_seed());
        char *dir = binlog_dir(era);
        struct store *store = binlog_store(loop, dir);
        uint64_t index = 0;
        unsigned done = 0, wanted = 0;
        store_file(store, ++index, 0, 1, b->name, b->state_before);
        for (uint64_t at = 4; at < b->n;) {
            uint64_t n = 1 + below(below(3) ? 200 : 20000);
            n = n < b->n - at ? n : b->n - at;
            store_write(store, ++index, at, b->bytes + at, n, binlog_boundary(b, at + n), count, &done);
            wanted++;
            at += n;
            for (uint64_t steps = below(4); steps > 0; steps--) {
                test_env_step(loop);
            }
        }
        test_env_run(loop);
        UNIT_UINT(done, wanted);
        UNIT_UINT(store_pending(store), 0);
        UNIT_TRUE(binlog_same(loop, dir, 1, b));
        binlog_store_close(loop, store);
        UNIT_UINT(test_env_open_files(loop), 0);
        mem_free(dir);
        test_env_free(loop);
        binlog_free(b);
    }
}

struct order {
    unsigned *next;
    unsigned mine;
    bool right;
};

static void note_order(void *arg)
{
    struct order *o = arg;
    o->right = (*o->next)++ == o->mine;
}

static void adjacent_writes_become_one(void)
{
    enum { WRITES = 3000, SIZE = 500 };
    static uint8_t bytes[WRITES * SIZE];
    static struct order orders[WRITES];
    struct env *loop = test_env_new(1);
    char *dir = binlog_dir("adjacent");
    struct store *store = binlog_store(loop, dir);
    unsigned next = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 31 >> 4);
    }
    store_file(store, 1, 0, 1, "mysql-bin.000001", NULL);
    test_env_run(loop);
    uint64_t before = test_env_changes(loop);
    for (unsigned i = 0; i < WRITES; i++) {
        orders[i] = (struct order){.next = &next, .mine = i};
        store_write(store, 2 + i, 4 + i * SIZE, bytes + i * SIZE, SIZE, 4 + i * SIZE, note_order, &orders[i]);
    }
    UNIT_UINT(next, 0);
    UNIT_UINT(store_pending(store), sizeof bytes);
    test_env_run(loop);
    UNIT_UINT(test_env_changes(loop) - before, 2); /* 1.5 MB: one full run and the rest */
    bool right = true;
    for (unsigned i = 0; i < WRITES; i++) {
        right = right && orders[i].right;
    }
    UNIT_TRUE(right);
    struct buf have;
    UNIT_TRUE(binlog_read(loop, &have, "%s/binlog/1/mysql-bin.000001", dir));
    UNIT_UINT(have.len, 4 + sizeof bytes);
    UNIT_TRUE(have.len == 4 + sizeof bytes && memcmp(have.data + 4, bytes, sizeof bytes) == 0);
    buf_free(&have);
    binlog_store_close(loop, store);
    test_env_free(loop);
    mem_free(dir);
}

static void rotation_keeps_names_and_sizes(void)
{
    static const char *const names[] = {"mysql-bin.000001", "mysql-bin.000002", "mysql-bin.000003"};
    struct env *loop = test_env_new(3);
    char *dir = binlog_dir("rotation");
    struct store *store = binlog_store(loop, dir);
    struct buf list;
    uint64_t index = 0;
    for (size_t i = 0; i < 3; i++) {
        struct binlog *b = binlog_load("mysql-9.7-all-events", names[i]);
        binlog_put(store, b, 1, 777, &index);
        test_env_run(loop);
        UNIT_TRUE(binlog_same(loop, dir, 1, b));
        binlog_free(b);
    }
    store_file(store, ++index, 0, 2, "other.000009", NULL);
    test_env_run(loop);
    UNIT_TRUE(binlog_read(loop, &list, "%s/binlog/1/mysql-bin.index", dir));
    UNIT_STR(buf_cstr(&list), "./mysql-bin.000001\n./mysql-bin.000002\n./mysql-bin.000003\n");
    buf_free(&list);
    UNIT_TRUE(binlog_read(loop, &list, "%s/binlog/2/other.index", dir));
    UNIT_STR(buf_cstr(&list), "./other.000009\n");
    buf_free(&list);
    UNIT_UINT(test_env_open_files(loop), 2); /* the newest and its index */
    binlog_store_close(loop, store);
    test_env_free(loop);
    mem_free(dir);
}

/* ---- checkpoints ---------------------------------------------------------------------------------------- */

static void jobs_up_to_the_checkpoint_are_skipped(void)
{
    struct env *loop = test_env_new(5);
    char *dir = binlog_dir("skip");
    struct binlog *b = binlog_load("mysql-9.7-all-events", "mysql-bin.000001");
    struct store *store = binlog_store(loop, dir);
    uint64_t index = 0;
    unsigned done = 0;
    UNIT_UINT(store_checkpoint_index(store), 0);
    binlog_put(store, b, 1, 1000, &index);
    store_checkpoint(store, index, count, &done);
    test_env_run(loop);
    UNIT_UINT(done, 1);
    UNIT_UINT(store_checkpoint_index(store), index);
    binlog_store_close(loop, store);

    store = binlog_store(loop, dir);
    UNIT_UINT(store_checkpoint_index(store), index);
    uint64_t before = test_env_changes(loop), again = 0;
    binlog_put(store, b, 1, 1000, &again);
    store_write(store, again, 4, b->bytes + 4, 10, 4, count, &done);
    store_checkpoint(store, again, count, &done);
    store_drain(store, count, &done);
    UNIT_UINT(done, 1);
    test_env_run(loop);
    UNIT_UINT(done, 4);
    UNIT_UINT(test_env_changes(loop), before);
    UNIT_TRUE(binlog_same(loop, dir, 1, b));
    binlog_store_close(loop, store);
    test_env_free(loop);
    binlog_free(b);
    mem_free(dir);
}

/* A checkpoint of an index that storage has passed already says what the files hold. */
static void a_late_checkpoint_covers_what_came_before_it(void)
{
    struct env *loop = test_env_new(5);
    char *dir = binlog_dir("late");
    struct binlog *b = binlog_load("mysql-9.7-all-events", "mysql-bin.000001");
    uint64_t boundary = binlog_boundary(b, 2000);
    for (unsigned life = 0; life < 2; life++) {
        struct store *store = binlog_store(loop, dir);
        UNIT_UINT(store_checkpoint_index(store), life ? 3 : 0);
        store_file(store, 1, 0, 1, b->name, b->state_before);
        store_write(store, 2, 4, b->bytes + 4, 1000, binlog_boundary(b, 1004), NULL, NULL);
        store_write(store, 3, 1004, b->bytes + 1004, 996, boundary, NULL, NULL);
        store_checkpoint(store, 2, NULL, NULL);
        test_env_run(loop);
        UNIT_UINT(store_checkpoint_index(store), 3);
        store_write(store, 4, 2000, b->bytes + 2000, b->n - 2000, b->n, NULL, NULL);
        test_env_run(loop);
        UNIT_TRUE(binlog_same(loop, dir, 1, b));
        binlog_store_close(loop, store);
    }
    test_env_free(loop);
    binlog_free(b);
    mem_free(dir);
}

/* Anywhere: it can be made again, and is. */
static void a_damaged_list_of_names_is_written_again(void)
{
    static const char *const damage[] = {"./mysql-bin.000009\n./mysql-bin.000002\n./mysql-bin.000003\n", "./mysql-bin.000001\n", "",
                                         "./mysql-bin.000001\n./mysql-bin.000002\n./mysql-bin.000003\n./mysql-bin.000004\n"};
    struct env *loop = test_env_new(6);
    struct errmsg em;
    char *dir = binlog_dir("names"), *era = mem_printf("%s/binlog/1", dir);
    struct store *store = binlog_store(loop, dir);
    for (uint64_t i = 1; i <= 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06llu", (unsigned long long)i);
        store_file(store, i, 0, 1, name, NULL);
    }
    store_checkpoint(store, 3, NULL, NULL);
    binlog_store_close(loop, store);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        UNIT_INT(env_replace_file(loop, era, "mysql-bin.index", damage[i], strlen(damage[i]), &em), 0);
        binlog_store_close(loop, binlog_store(loop, dir));
        UNIT_TRUE(binlog_names_are(loop, dir, 1, "./mysql-bin.000001\n./mysql-bin.000002\n./mysql-bin.000003\n"));
    }
    test_env_free(loop);
    mem_free(era);
    mem_free(dir);
}

/* ---- what must not start, what must stop --------------------------------------------------------------- */

static int open_fails(struct env *loop, const char *dir, struct errmsg *em)
{
    struct store *store;
    int rv = store_open(loop, dir, &store, em);
    if (!rv) {
        binlog_store_close(loop, store);
    }
    return rv;
}

static void damage_is_refused(void)
{
    struct env *loop = test_env_new(6);
    char *dir = binlog_dir("damage");
    struct binlog *b = binlog_load("mysql-9.7-all-events", "mysql-bin.000002");
    struct store *store = binlog_store(loop, dir);
    struct errmsg em;
    uint64_t index = 0;
    binlog_put(store, b, 1, 1000, &index);
    store_checkpoint(store, index, NULL, NULL);
    store_file(store, ++index, 0, 1, "mysql-bin.000003", NULL);
    binlog_store_close(loop, store);
    char *path = mem_printf("%s/binlog/1/mysql-bin.000002", dir),
         *later = mem_printf("%s/binlog/1/mysql-bin.000003", dir);
    char *away = mem_printf("%s/away", dir), *checkpoint = mem_printf("%s/binlog/checkpoint", dir);

    UNIT_REQUIRE(rename(path, away) == 0);
    UNIT_INT(open_fails(loop, dir, &em), E_CORRUPT);
    UNIT_TRUE(strstr(em.text, "mysql-bin.000002 is missing") != NULL);
    UNIT_REQUIRE(rename(away, path) == 0);
    UNIT_REQUIRE(truncate(path, (off_t)b->n - 1) == 0);
    UNIT_INT(open_fails(loop, dir, &em), E_CORRUPT);
    UNIT_TRUE(strstr(em.text, "the checkpoint names it with") != NULL);
    UNIT_INT(access(later, F_OK), 0); /* nothing was changed */
    UNIT_REQUIRE(truncate(path, (off_t)b->n) == 0);

    UNIT_REQUIRE(rename(checkpoint, away) == 0);
    UNIT_INT(open_fails(loop, dir, &em), E_CORRUPT);
    UNIT_TRUE(strstr(em.text, "checkpoint is missing") != NULL);
    UNIT_REQUIRE(rename(away, checkpoint) == 0);
    UNIT_REQUIRE(truncate(path, (off_t)b->n + 5) == 0);
    UNIT_INT(open_fails(loop, dir, &em), 0);
    UNIT_INT(access(later, F_OK), -1);
    struct stat st; /* what came after the checkpoint is gone */
    UNIT_TRUE(stat(path, &st) == 0 && (size_t)st.st_size == b->n);
    mem_free(path);
    mem_free(later);
    mem_free(away);
    mem_free(checkpoint);
    mem_free(dir);
    binlog_free(b);
    test_env_free(loop);
}

static void checkpoint_survives_no_flipped_bit(void)
{
    struct checkpoint cp = {.index = 77, .boundary = 40, .size = 50, .n = 2, .list = 1, .list_bytes = 90, .list_sum = 5};
    struct checkpoint back;
    struct buf out;
    buf_init(&out, 1 << 20);
    checkpoint_encode(&cp, &out);
    UNIT_UINT(out.len, CHECKPOINT_SIZE);
    UNIT_INT(checkpoint_decode(&back, out.data, out.len, NULL), 0);
    UNIT_UINT(back.index, 77);
    UNIT_UINT(back.boundary, 40);
    UNIT_TRUE(back.n == 2 && back.size == 50 && back.list == 1 && back.list_bytes == 90 && back.list_sum == 5);
    bool refused = true;
    for (size_t bit = 0; bit < out.len * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        refused = refused && checkpoint_decode(&back, out.data, out.len, NULL) != 0 && back.n == 0;
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t n = 0; n < out.len; n++) {
        refused = refused && checkpoint_decode(&back, out.data, n, NULL) != 0;
    }
    UNIT_TRUE(refused);
    out.data[4] = 99;
    UNIT_INT(checkpoint_decode(&back, out.data, out.len, NULL), E_VERSION);
    buf_free(&out);
}

static void names_that_lead_elsewhere_are_no_names(void)
{
    static const char *const good[] = {"mysql-bin.000001", "a.1", "my.host-bin.1000000"};
    static const char *const bad[] = {
        "",           ".",       "..",       "mysql-bin",       "mysql-bin.",       "../x.000001",
        "a/b.000001", ".000001", "..000001", "mysql-bin.index", "mysql-bin.00000a", "a\nb.000001",
        "checkpoint"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        UNIT_TRUE(store_name_ok(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        UNIT_TRUE(!store_name_ok(bad[i]));
    }
}

static void wrong_offset(struct store *store)
{
    store_write(store, 3, 15, (const uint8_t *)"x", 1, 14, NULL, NULL);
}

static void boundary_beyond(struct store *store)
{
    store_write(store, 3, 14, (const uint8_t *)"x", 1, 16, NULL, NULL);
}

static void boundary_back(struct store *store)
{
    store_write(store, 3, 14, (const uint8_t *)"x", 1, 11, NULL, NULL);
}

static void cut_of_what_was_seen(struct store *store)
{
    store_cut(store, 3, 11);
}

static void index_goes_back(struct store *store)
{
    store_cut(store, 1, 12);
}

static void job_after_its_checkpoint(struct store *store)
{
    store_checkpoint(store, 2, NULL, NULL);
    store_write(store, 2, 14, (const uint8_t *)"x", 1, 12, NULL, NULL);
}

static void file_after_a_torn_one(struct store *store)
{
    store_file(store, 3, 0, 1, "mysql-bin.000002", NULL);
}

static void file_twice(struct store *store)
{
    store_cut(store, 3, 12);
    store_file(store, 4, 0, 1, "mysql-bin.000001", NULL);
}

static void file_elsewhere(struct store *store)
{
    store_file(store, 3, 0, 1, "../../mysql-bin.000002", NULL);
}

/* Does the store, with one file of 14 bytes of which 12 are whole, end the process with that text? */
static bool dies_with(void (*contradict)(struct store *store), const char *text)
{
    int fds[2];
    char *dir = binlog_dir("fatal");
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct store *store;
        struct env *loop = test_env_new(1);
        test_env_fatal_to(loop, fds[1]);
        if (store_open(loop, dir, &store, NULL)) {
            _exit(80);
        }
        store_file(store, 1, 0, 1, "mysql-bin.000001", NULL);
        store_write(store, 2, 4, (const uint8_t *)"0123456789", 10, 12, NULL, NULL);
        contradict(store);
        test_env_run(loop);
        _exit(0);
    }
    close(fds[1]);
    char line[1024] = "";
    ssize_t n = read(fds[0], line, sizeof line - 1);
    close(fds[0]);
    int status = -1;
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    bool right = n > 0 && WIFEXITED(status) && WEXITSTATUS(status) == TEST_ENV_FATAL && strstr(line, text);
    if (!right) {
        fprintf(stderr, "expected '%s', got status %d, '%s'\n", text, status, line);
    }
    mem_free(dir);
    return right;
}

static void contradictions_are_fatal(void)
{
    UNIT_TRUE(dies_with(wrong_offset, "mysql-bin.000001 at index 3, but the file ends at 14"));
    UNIT_TRUE(dies_with(boundary_beyond, "names 16 as a transaction end"));
    UNIT_TRUE(dies_with(boundary_back, "names 11 as a transaction end"));
    UNIT_TRUE(dies_with(cut_of_what_was_seen, "cuts"));
    UNIT_TRUE(dies_with(index_goes_back, "a job of index 1 comes after one of 2"));
    UNIT_TRUE(dies_with(job_after_its_checkpoint, "checkpoint 2"));
    UNIT_TRUE(
        dies_with(file_after_a_torn_one, "ends in an unfinished transaction (12 of 14 bytes are whole)"));
    UNIT_TRUE(dies_with(file_twice, "is there already"));
    UNIT_TRUE(dies_with(file_elsewhere, "which cannot be"));
}

/* ---- subscribers --------------------------------------------------------------------------------------- */

struct watcher {
    struct store_sub sub;
    unsigned changes;
    bool left;
};

static void changed(struct store_sub *sub)
{
    ((struct watcher *)sub->owner)->changes++;
}

static void gone(struct store_sub *sub)
{
    ((struct watcher *)sub->owner)->left = true;
}

static void list_add(void *arg, uint64_t era, const char *name, uint64_t size)
{
    buf_printf(arg, "%llu/%s %llu\n", (unsigned long long)era, name, (unsigned long long)size);
}

static const char *list(struct watcher *w, uint64_t era, struct buf *out)
{
    buf_reset(out);
    store_sub_list(&w->sub, era, list_add, out);
    return buf_cstr(out);
}

static void subscribers_see_what_is_whole(void)
{
    struct env *loop = test_env_new(unit_seed());
    struct env *worker = test_env_worker(loop, "serve0");
    char *dir = binlog_dir("subscribers");
    struct store *store = binlog_store(loop, dir);
    struct watcher a = {.changes = 0}, b = {.changes = 0};
    struct buf text;
    static const uint8_t bytes[100];
    buf_init(&text, 4096);
    a.sub.owner = &a;
    b.sub.owner = &b;
    store_subscribe(store, &a.sub, worker, changed);
    UNIT_TRUE(a.sub.catalog == NULL);
    test_env_run(loop);
    UNIT_UINT(a.changes, 1);
    UNIT_REQUIRE(a.sub.catalog != NULL);
    UNIT_STR(list(&a, 0, &text), "");

    store_file(store, 1, 0, 1, "mysql-bin.000001", NULL);
    store_write(store, 2, 4, bytes, 50, 30, NULL, NULL);
    test_env_run(loop);
    UNIT_STR(list(&a, 0, &text), "1/mysql-bin.000001 30\n");
    unsigned before = a.changes;
    store_write(store, 3, 54, bytes, 20, 30, NULL, NULL); /* nothing more is whole */
    test_env_run(loop);
    UNIT_UINT(a.changes, before);
    store_subscribe(store, &b.sub, loop, changed);
    store_cut(store, 4, 30);
    store_file(store, 5, 0, 1, "mysql-bin.000002", NULL);
    store_file(store, 6, 0, 2, "mysql-bin.000001", NULL);
    test_env_run(loop);
    UNIT_STR(list(&a, 0, &text), "2/mysql-bin.000001 4\n");
    UNIT_STR(list(&a, 1, &text), "1/mysql-bin.000001 30\n1/mysql-bin.000002 4\n");
    UNIT_STR(list(&b, 1, &text), "1/mysql-bin.000001 30\n1/mysql-bin.000002 4\n");
    struct catalog_entry entry;
    UNIT_REQUIRE(catalog_find(b.sub.catalog, 0, "mysql-bin.000001", &entry, NULL) == 0);
    UNIT_TRUE(entry.file->era == 2 && entry.file->follows_era && entry.file == catalog_newest(b.sub.catalog)->file);
    catalog_entry_drop(&entry);
    UNIT_REQUIRE(catalog_find(b.sub.catalog, 1, "mysql-bin.000001", &entry, NULL) == 0);
    UNIT_TRUE(entry.sealed && entry.size == 30 && !entry.file->follows_era && entry.file->ordinal == 1);
    catalog_entry_drop(&entry);
    UNIT_INT(catalog_find(b.sub.catalog, 2, "mysql-bin.000002", &entry, NULL), E_NOTFOUND);
    UNIT_INT(catalog_by_ordinal(b.sub.catalog, 0, &entry, NULL), E_NOTFOUND);
    UNIT_INT(catalog_by_ordinal(b.sub.catalog, 4, &entry, NULL), E_NOTFOUND);

    before = b.changes;
    store_write(store, 7, 4, bytes, 50, 54, NULL, NULL);
    store_unsubscribe(&b.sub, gone);
    UNIT_TRUE(!b.left);
    struct catalog *kept = catalog_ref(a.sub.catalog);
    store_unsubscribe(&a.sub, gone);
    test_env_run(loop);
    UNIT_TRUE(a.left && b.left);
    UNIT_UINT(b.changes, before);
    binlog_store_close(loop, store);
    UNIT_UINT(kept->n, 3); /* lives as long as someone holds it */
    catalog_unref(kept);
    buf_free(&text);
    mem_free(dir);
    test_env_free(loop);
}

/* Something more becomes visible while a subscriber is at work on its wake-up. */
struct busy {
    struct store_sub sub;
    struct env *loop;
    struct store *store;
    uint64_t seen;
    bool more;
};

static void changed_while_busy(struct store_sub *sub)
{
    static const uint8_t bytes[10];
    struct busy *b = sub->owner;
    const struct catalog_entry *end;
    b->seen = 0;
    (void)store_sub_end(sub, &end, &b->seen);
    if (b->more) {
        b->more = false;
        store_write(b->store, 2, 4, bytes, 10, 14, NULL, NULL);
        uint64_t seen = b->seen;
        while (seen == b->seen && test_env_step(b->loop)) {
        }
    }
}

static void busy_left(struct store_sub *sub)
{
    ((struct busy *)sub->owner)->more = true;
}

static void no_change_is_missed(void)
{
    struct env *loop = test_env_new(unit_seed());
    char *dir = binlog_dir("busy");
    struct busy b = {.loop = loop, .store = binlog_store(loop, dir)};
    b.sub.owner = &b;
    store_subscribe(b.store, &b.sub, test_env_worker(loop, "serve0"), changed_while_busy);
    test_env_run(loop);
    b.more = true;
    store_file(b.store, 1, 0, 1, "mysql-bin.000001", NULL);
    test_env_run(loop);
    UNIT_UINT(b.seen, 14);
    store_unsubscribe(&b.sub, busy_left);
    test_env_run(loop);
    UNIT_TRUE(b.more);
    binlog_store_close(loop, b.store);
    mem_free(dir);
    test_env_free(loop);
}

UNIT_MAIN("store", UNIT_TEST(random_pieces_give_the_same_file), UNIT_TEST(adjacent_writes_become_one),
          UNIT_TEST(rotation_keeps_names_and_sizes), UNIT_TEST(jobs_up_to_the_checkpoint_are_skipped),
          UNIT_TEST(a_late_checkpoint_covers_what_came_before_it), UNIT_TEST(a_damaged_list_of_names_is_written_again),
          UNIT_TEST(damage_is_refused),
          UNIT_TEST(checkpoint_survives_no_flipped_bit), UNIT_TEST(names_that_lead_elsewhere_are_no_names),
          UNIT_TEST(contradictions_are_fatal), UNIT_TEST(subscribers_see_what_is_whole),
          UNIT_TEST(no_change_is_missed))
