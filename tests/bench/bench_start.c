/* bench_start: what it costs to find the place in a large file where a replica goes on, with an index and by
 * a walk, and to start with many files.
 *
 *     bench_start [MIB [FILES]]       one file of MIB mebibytes (512); logs of 10, 1000, ... up to FILES small
 *                                     ones (10000), whose GTID sets have 100 UUIDs
 *
 * Each start with many files runs in a process of its own ("bench_start open DIR GTIDS"), so that its memory can be
 * told. Works in new directories below TMPDIR (/tmp) and leaves nothing there. */
#include "node/env_uv.h"
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/reader.h"
#include "storage/store.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define UUID "3f3f3f3f-3f3f-3f3f-3f3f-3f3f3f3f3f3f"

enum { FILLER = 800, HEAD_TYPES = 41 };

static struct env *env;
static struct store *store;
static struct store_sub sub;
static uint64_t raft_index, gno;

/* ---- events -------------------------------------------------------------------------------------------- */

static size_t begin_event(struct buf *b, uint8_t type)
{
    size_t at = b->len;
    buf_u32(b, 1700000000);
    buf_u8(b, type);
    buf_u32(b, 1);
    buf_zero(b, 10);
    return at;
}

static void end_event(struct buf *b, size_t at, uint64_t base)
{
    buf_u32(b, 0);
    buf_put_u32(b, at + 9, (uint32_t)(b->len - at));
    buf_put_u32(b, at + 13, (uint32_t)(base + b->len));
    event_crc_set(b->data + at, b->len - at);
}

static void put_head(struct buf *b)
{
    char version[50] = "8.4.0";
    uint8_t lengths[HEAD_TYPES] = {0};
    lengths[EVENT_QUERY - 1] = 13;
    lengths[EVENT_FORMAT_DESCRIPTION - 1] = 57 + HEAD_TYPES;
    lengths[EVENT_GTID - 1] = 42;
    size_t at = begin_event(b, EVENT_FORMAT_DESCRIPTION);
    buf_u16(b, 4);
    buf_bytes(b, version, sizeof version);
    buf_u32(b, 0);
    buf_u8(b, EVENT_HEADER_SIZE);
    buf_bytes(b, lengths, sizeof lengths);
    buf_u8(b, CHECKSUM_CRC32);
    end_event(b, at, STORE_MAGIC);
}

static void put_txn(struct buf *b, uint64_t base, struct store_txn *txn)
{
    txn->gtid = (struct gtid){.flavour = FLAVOUR_MYSQL, .gno = ++gno};
    memset(txn->gtid.uuid, 0x3f, sizeof txn->gtid.uuid);
    size_t at = begin_event(b, EVENT_GTID);
    buf_u8(b, 0);
    buf_bytes(b, txn->gtid.uuid, sizeof txn->gtid.uuid);
    buf_u64(b, gno);
    buf_u8(b, 2);
    buf_u64(b, gno - 1);
    buf_u64(b, gno);
    end_event(b, at, base);
    at = begin_event(b, EVENT_QUERY);
    buf_zero(b, 13);
    buf_u8(b, 0);
    buf_str(b, "BEGIN");
    end_event(b, at, base);
    at = begin_event(b, EVENT_ROWS_QUERY);
    buf_u8(b, 0);
    buf_zero(b, FILLER);
    end_event(b, at, base);
    at = begin_event(b, EVENT_XID);
    buf_u64(b, gno);
    end_event(b, at, base);
    txn->end = base + b->len;
}

/* ---- the store ----------------------------------------------------------------------------------------- */

static void stop(void *arg)
{
    (void)arg;
    env_uv_stop(env);
}

static void wait_for_store(void)
{
    store_drain(store, stop, NULL);
    env_uv_run(env);
}

static bool next_txn(struct cur *list, struct store_txn *last)
{
    if (cur_left(list) == 0) {
        return false;
    }
    cur_copy(list, last, sizeof *last);
    return true;
}

/* What is held when the one that writes has written `n`, and 99 others are silent. */
static void put_state(struct gtid_set *set, uint64_t n)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    for (unsigned i = 0; i < 99; i++) {
        buf_printf(&text, "%02x000000-0000-0000-0000-000000000001:1-%u,", i * 2 + 1, 1000000 + i);
    }
    if (n > 0) {
        buf_printf(&text, UUID ":1-%llu", (unsigned long long)n);
    }
    CHECK(gtid_set_parse(set, buf_cstr(&text), text.len - (n == 0), NULL) == 0);
    buf_free(&text);
}

/* A file of about `size` bytes; returns its end. */
static uint64_t put_file(unsigned number, uint64_t size)
{
    struct buf bytes, txns;
    char name[32];
    uint64_t at = STORE_MAGIC;
    struct gtid_set *before = gtid_set_new(FLAVOUR_MYSQL);
    put_state(before, gno);
    snprintf(name, sizeof name, "bench-bin.%06u", number);
    buf_init(&bytes, 8 << 20);
    buf_init(&txns, 8 << 20);
    store_file(store, ++raft_index, 0, 1, name, before);
    gtid_set_free(before);
    put_head(&bytes);
    while (at < size) {
        while (bytes.len < (1 << 20) && at + bytes.len < size) {
            struct store_txn txn;
            put_txn(&bytes, at, &txn);
            buf_bytes(&txns, &txn, sizeof txn);
        }
        CHECK(!bytes.err && !txns.err);
        struct store_txns list = {.list = cur_of(txns.data, txns.len), .next = next_txn};
        store_write_txns(store, ++raft_index, at, bytes.data, bytes.len, at + bytes.len, &list, NULL, NULL);
        wait_for_store();
        at += bytes.len;
        buf_reset(&bytes);
        buf_reset(&txns);
    }
    buf_free(&bytes);
    buf_free(&txns);
    return at;
}

static void changed(struct store_sub *s)
{
    (void)s;
    env_uv_stop(env);
}

static void left(struct store_sub *s)
{
    (void)s;
    env_uv_stop(env);
}

static double open_store(const char *dir, const struct store_options *options)
{
    struct errmsg em;
    uint64_t began = env_now(env);
    if (store_open_with(env, dir, options, &store, &em)) {
        fprintf(stderr, "%s\n", em.text);
        exit(1);
    }
    return (double)(env_now(env) - began) / (double)ENV_MS;
}

static void close_store(void)
{
    store_checkpoint(store, raft_index, NULL, NULL);
    store_close(store, stop, NULL);
    env_uv_run(env);
}

/* ---- what is measured ---------------------------------------------------------------------------------- */

static double gtid_start(uint64_t missing)
{
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    struct errmsg em;
    struct reader *r;
    struct reader_event ev;
    put_state(have, gno - missing);
    uint64_t began = env_now(env);
    int rv = reader_open_gtid(&sub, have, &r, &em);
    while (rv == 0 && (rv = reader_next(r, &ev, &em)) == 1) {
        rv = 0;
        if (event_is_gtid(ev.type)) {
            break;
        }
    }
    double ms = (double)(env_now(env) - began) / (double)ENV_MS;
    if (rv) {
        fprintf(stderr, "%s\n", em.text);
        exit(1);
    }
    reader_close(r);
    gtid_set_free(have);
    return ms;
}

static double position_start(const char *file, uint64_t position)
{
    struct errmsg em;
    struct reader *r;
    uint64_t began = env_now(env);
    if (reader_open_position(&sub, 0, file, position, &r, &em)) {
        fprintf(stderr, "%s\n", em.text);
        exit(1);
    }
    double ms = (double)(env_now(env) - began) / (double)ENV_MS;
    reader_close(r);
    return ms;
}

static void measure_starts(const char *what, uint64_t end)
{
    store_subscribe(store, &sub, env, changed);
    env_uv_run(env);
    printf("%-28s", what);
    for (unsigned i = 0; i < 3; i++) {
        printf(" %9.3f", gtid_start(10));
    }
    printf(" ms  beginning %.3f ms  position %.3f ms\n", gtid_start(gno - 10),
           position_start("bench-bin.000001", end));
    store_unsubscribe(&sub, left);
    env_uv_run(env);
}

static unsigned long resident_kib(void)
{
    unsigned long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%lu %lu", &all, &pages) == 2);
    fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static void one_large_file(const char *dir, uint64_t mib)
{
    struct store_options walk = {.index_step = 1u << 31, .walk_max = UINT64_MAX};
    open_store(dir, NULL);
    uint64_t began = env_now(env), end = put_file(1, mib << 20);
    double s = (double)(env_now(env) - began) / (double)ENV_S;
    printf("%llu MiB, %llu transactions, written with index at %.0f MiB/s\n", (unsigned long long)mib,
           (unsigned long long)gno, (double)mib / s);
    measure_starts("GTID start near the end", end);
    close_store();
    printf("start of the store, index there  %.3f ms\n", open_store(dir, NULL));
    close_store();
    printf("start of the store, index lost   %.3f ms\n", open_store(dir, &walk));
    measure_starts("the same by a walk", end);
    close_store();
}

/* The process itself: resident memory and time before and after a start, then a reader's start. */
static int open_and_tell(const char *dir, const char *n)
{
    env = env_uv_main(ENV_WARN);
    CHECK(env);
    gno = strtoull(n, NULL, 10);
    unsigned long before = resident_kib();
    double ms = open_store(dir, NULL);
    unsigned long after = resident_kib();
    store_subscribe(store, &sub, env, changed);
    env_uv_run(env);
    double near = gtid_start(1), far = gtid_start(gno - 1), best = ms;
    store_unsubscribe(&sub, left);
    env_uv_run(env);
    close_store();
    for (unsigned i = 0; i < 9; i++) {
        ms = open_store(dir, NULL);
        best = ms < best ? ms : best;
        close_store();
    }
    printf("%8s files  start %.3f ms (best of 10)  resident +%lu KiB  GTID start near the end %.3f ms, at the "
           "beginning %.3f ms\n",
           n, best, after - before, near, far);
    env_uv_free(env);
    return 0;
}

static void start_in_a_process(const char *self, const char *dir, unsigned files)
{
    char n[16];
    snprintf(n, sizeof n, "%u", files);
    pid_t pid = fork();
    if (pid == 0) {
        execl(self, self, "open", dir, n, (char *)NULL);
        _exit(127);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void many_files(const char *self, const char *dir, unsigned files)
{
    gno = raft_index = 0;
    open_store(dir, NULL);
    uint64_t last = env_now(env);
    for (unsigned i = 1, next = 10; i <= files; i++) {
        put_file(i, 600);
        if (i == next || i == files) {
            uint64_t now = env_now(env);
            store_checkpoint(store, raft_index, stop, NULL);
            env_uv_run(env);
            printf("%8u files  %.3f ms to make one  checkpoint %.3f ms\n", i, (double)(now - last) / (double)ENV_MS / i,
                   (double)(env_now(env) - now) / (double)ENV_MS);
            close_store();
            start_in_a_process(self, dir, i);
            open_store(dir, NULL);
            next *= i < 1000 ? 100 : 10;
            last = env_now(env);
        }
    }
    close_store();
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    uint64_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 512;
    unsigned files = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10000;
    char *dirs[2];
    if (argc == 4 && !strcmp(argv[1], "open")) {
        return open_and_tell(argv[2], argv[3]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    env = env_uv_main(ENV_WARN);
    CHECK(env);
    for (unsigned i = 0; i < 2; i++) {
        dirs[i] = mem_printf("%s/bench_start.XXXXXX", tmp ? tmp : "/tmp");
        if (!mkdtemp(dirs[i])) {
            perror(dirs[i]);
            return 1;
        }
    }
    if (mib > 0) {
        one_large_file(dirs[0], mib);
    }
    if (files >= 4) {
        many_files(argv[0], dirs[1], files);
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)nftw(dirs[i], drop, 8, FTW_DEPTH | FTW_PHYS);
        mem_free(dirs[i]);
    }
    env_uv_free(env);
    return 0;
}
