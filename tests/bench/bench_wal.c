/* bench_wal: what it costs to make an entry of 4 KiB durable, against what the disk costs alone.
 *
 *     bench_wal [SAMPLES [DIRECTORY]]       default: 4000 rounds in a new directory below TMPDIR (/tmp)
 *
 * Each round does the same three things in a random order, so that a moody disk is moody to all:
 *   plain    one pwrite of 4 KiB with O_DIRECT|O_DSYNC over a block of a zeroed file
 *   wal      wal_append of one entry that fills a block, on the thread that calls it
 *   wal env  the same as the daemon does it: posted to the wal env, the loop told when it is done
 * Then the slowest appends over the change of a segment, when the next file was made ahead and when it was not. Exit 1 when the
 * median of an append is above 1.2 times that of a plain write. */
#include "node/env_uv.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/wal.h"
#include "raft/wal_format.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRY = ENV_BLOCK - WAL_RECORD_HEAD, PLAIN_BLOCKS = 4096, KINDS = 3, ROTATIONS = 12, BIG_ENTRY = 256 << 10 };

static struct env *loop, *wal_env, *spare_env;
static struct errmsg em;
static uint64_t next_index = 1;

static void must(int rv)
{
    if (rv) {
        fprintf(stderr, "bench_wal: %s\n", em.text);
        exit(1);
    }
}

/* ---- the three ways -------------------------------------------------------------------------------------------- */

static struct env_file *plain_file;
static uint8_t *plain_block;
static struct wal *bare, *behind;
static uint8_t entry[BIG_ENTRY];

static void plain_open(const char *dir)
{
    char *path = mem_printf("%s/plain", dir);
    uint8_t *zeros = aligned_alloc(ENV_BLOCK, WAL_ZERO_CHUNK);
    CHECK(zeros);
    must(env_open(loop, path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_DURABLE, &plain_file, &em));
    must(wal_zero(plain_file, 0, zeros, &em));
    free(zeros);
    plain_block = aligned_alloc(ENV_BLOCK, ENV_BLOCK);
    CHECK(plain_block);
    memset(plain_block, 0x5a, ENV_BLOCK);
    mem_free(path);
}

static void plain_write(void)
{
    static uint64_t block;
    must(env_pwrite(plain_file, plain_block, ENV_BLOCK, block++ % PLAIN_BLOCKS * ENV_BLOCK, &em));
}

static void append(struct wal *wal, uint64_t index, size_t n)
{
    struct wal_record record = {.index = index, .term = 1, .type = 1, .data = entry, .len = n};
    must(wal_append(wal, &record, 1, &em));
}

static void bare_append(void)
{
    static uint64_t index = 1;
    append(bare, index++, ENTRY);
}

static void told(struct env_msg *msg)
{
    (void)msg;
    env_uv_stop(loop);
}

static void append_behind(struct env_msg *msg)
{
    append(behind, next_index++, ENTRY);
    msg->run = told;
    env_post(loop, msg);
}

static void env_append(void)
{
    struct env_msg msg = {.run = append_behind};
    env_post(wal_env, &msg);
    env_uv_run(loop);
}

/* ---- figures ---------------------------------------------------------------------------------------------------- */

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_percent(const double *sorted, size_t n, unsigned percent)
{
    return sorted[(n - 1) * percent / 100];
}

static double timed(void (*way)(void))
{
    uint64_t began = env_now(loop);
    way();
    return (double)(env_now(loop) - began) / 1000.0;
}

static double latency(size_t n)
{
    static void (*const ways[KINDS])(void) = {plain_write, bare_append, env_append};
    static const char *const names[KINDS] = {"plain O_DIRECT|O_DSYNC overwrite", "wal_append", "through the wal env"};
    double *us[KINDS], median[KINDS];
    for (unsigned k = 0; k < KINDS; k++) {
        us[k] = mem_array(n, sizeof *us[k]);
    }
    for (size_t i = 0; i < n; i++) {
        unsigned first = (unsigned)rand() % KINDS, step = 1 + (unsigned)rand() % 2;
        for (unsigned j = 0; j < KINDS; j++) {
            unsigned k = (first + j * step) % KINDS;
            us[k][i] = timed(ways[k]);
        }
    }
    printf("%zu rounds of 4 KiB, microseconds\n%-34s %8s %8s %8s %8s\n", n, "", "median", "90 %", "99 %", "worst");
    for (unsigned k = 0; k < KINDS; k++) {
        qsort(us[k], n, sizeof *us[k], order);
        median[k] = at_percent(us[k], n, 50);
        printf("%-34s %8.1f %8.1f %8.1f %8.1f   %.2f x\n", names[k], median[k], at_percent(us[k], n, 90), at_percent(us[k], n, 99),
               us[k][n - 1], median[k] / median[0]);
        mem_free(us[k]);
    }
    return median[1] / median[0];
}

/* ---- over the change of a segment --------------------------------------------------------------------------------- */

struct making {
    struct env_msg msg;
    struct wal_spare spare;
    bool busy;
};

static void made(struct env_msg *msg)
{
    struct making *m = CONTAINER_OF(msg, struct making, msg);
    m->busy = false;
    env_uv_stop(loop);
}

static void make(struct env_msg *msg)
{
    struct making *m = CONTAINER_OF(msg, struct making, msg);
    wal_spare_make(&m->spare);
    msg->run = made;
    env_post(loop, msg);
}

static void rotations(const char *dir, bool ahead)
{
    struct wal *wal;
    struct wal_found found;
    struct making m = {.spare.env = spare_env};
    double worst[ROTATIONS] = {0};
    must(wal_open(loop, dir, &wal, &found, &em));
    uint64_t index = 1, segments = 1;
    for (size_t i = 0; i < ROTATIONS;) {
        if (ahead && !m.busy && wal_spare_begin(wal, &m.spare)) {
            m.busy = true;
            m.msg.run = make;
            env_post(spare_env, &m.msg);
        }
        uint64_t began = env_now(loop);
        append(wal, index++, BIG_ENTRY - WAL_RECORD_HEAD);
        double us = (double)(env_now(loop) - began) / 1000.0;
        if (wal->segments[wal->n_segments - 1].epoch != segments) {
            segments = wal->segments[wal->n_segments - 1].epoch;
            worst[i++] = us;
        }
        if (m.busy && wal->end > WAL_SEGMENT / 2) { /* as slow as a load that leaves time for it */
            env_uv_run(loop);
            must(m.spare.rv);
            wal_spare_take(wal, &m.spare);
        }
    }
    if (m.busy) {
        env_uv_run(loop);
    }
    qsort(worst, ROTATIONS, sizeof worst[0], order);
    printf("append of 256 KiB that begins a segment, next file %s: median %.1f worst %.1f ms\n",
           ahead ? "made ahead" : "made by it ", at_percent(worst, ROTATIONS, 50) / 1000, worst[ROTATIONS - 1] / 1000);
    wal_close(wal);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------ */

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static char *sub_dir(const char *dir, const char *name)
{
    must(env_make_dir(loop, dir, name, &em));
    return mem_printf("%s/%s", dir, name);
}

static struct wal *open_in(const char *dir, const char *name)
{
    struct wal *wal;
    struct wal_found found;
    char *path = sub_dir(dir, name);
    must(wal_open(loop, path, &wal, &found, &em));
    mem_free(path);
    return wal;
}

int main(int argc, char **argv)
{
    const char *tmp = argc > 2 ? argv[2] : getenv("TMPDIR");
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 4000;
    char *dir = mem_printf("%s/bench_wal.XXXXXX", tmp ? tmp : "/tmp");
    setvbuf(stdout, NULL, _IOLBF, 0);
    loop = env_uv_main(ENV_WARN);
    CHECK(loop && n > 1);
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    CHECK(env_spawn(loop, "wal", &wal_env) == 0 && env_spawn(loop, "wal-spare", &spare_env) == 0);
    plain_open(dir);
    bare = open_in(dir, "bare");
    behind = open_in(dir, "behind");
    double ratio = latency(n);
    printf("median of an append against that of a plain write: %.2f (at most 1.20)\n", ratio);
    for (int ahead = 0; ahead < 2; ahead++) {
        char *path = sub_dir(dir, ahead ? "ahead" : "inline");
        rotations(path, ahead);
        mem_free(path);
    }
    env_join(spare_env);
    env_join(wal_env);
    wal_close(bare);
    wal_close(behind);
    env_close(plain_file);
    free(plain_block);
    env_uv_free(loop);
    (void)nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(dir);
    return ratio > 1.2;
}
