/* test_index_open: the index of a file whose last transaction is open when a checkpoint is written: it is what the bytes say
 * whatever comes then, a start, a cut, or both; and a start does not read the open transaction again. */
#include "storage/index.h"

#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

/* A log that goes into a store, which may be left and opened again at any time. */
struct rig {
    struct env *loop;
    char *dir;
    struct store_options options;
    struct store *store;
    struct binlog *b;
    uint64_t index, at;
    uint64_t durable_index, durable_at; /* of the last checkpoint */
};

static void begin(struct rig *rig, const char *name, struct binlog *b, struct store_options options)
{
    *rig = (struct rig){.loop = test_env_new(unit_seed()), .dir = binlog_dir(name), .options = options, .b = b};
    rig->store = binlog_store_with(rig->loop, rig->dir, &rig->options);
    store_file(rig->store, rig->index = 1, 0, 1, b->name, b->state_before);
    rig->at = STORE_MAGIC;
}

static void put(struct rig *rig, uint64_t n)
{
    const struct binlog *b = rig->b;
    uint64_t end = n < b->n - rig->at ? rig->at + n : b->n;
    struct store_txns txns = binlog_txns(b, rig->at, end);
    store_write_txns(rig->store, ++rig->index, rig->at, b->bytes + rig->at, end - rig->at, binlog_boundary(b, end), &txns, NULL, NULL);
    rig->at = end;
}

static void checkpoint(struct rig *rig)
{
    store_checkpoint(rig->store, rig->index, NULL, NULL);
    rig->durable_index = rig->index;
    rig->durable_at = rig->at;
}

static void cut(struct rig *rig)
{
    uint64_t boundary = binlog_boundary(rig->b, rig->at);
    store_cut(rig->store, ++rig->index, boundary);
    rig->at = boundary;
    if (rig->durable_at > boundary) { /* see storage/writer.c: a cut below the checkpoint writes another one */
        rig->durable_at = boundary;
        rig->durable_index = rig->index - 1;
    }
}

/* What came after the checkpoint comes again from the log. */
static void restart(struct rig *rig)
{
    binlog_store_close(rig->loop, rig->store);
    rig->store = binlog_store_with(rig->loop, rig->dir, &rig->options);
    rig->index = rig->durable_index;
    rig->at = rig->durable_at;
}

/* A next file seals it. */
static void end(struct rig *rig)
{
    UNIT_UINT(rig->at, rig->b->n);
    store_file(rig->store, ++rig->index, 0, 1, "mysql-bin.900000", NULL);
    binlog_store_close(rig->loop, rig->store);
    UNIT_TRUE(binlog_same(rig->loop, rig->dir, 1, rig->b));
    UNIT_TRUE(binlog_index_same(rig->loop, rig->dir, 1, rig->b, &rig->options, true));
    UNIT_UINT(test_env_open_files(rig->loop), 0);
    mem_free(rig->dir);
    test_env_free(rig->loop);
}

static void whatever_comes_between_the_index_is_the_same(void)
{
    static const char *const dirs[] = {"mysql-9.7-all-events", "mysql-5.6-all-events", "mariadb-10.11-all-events"};
    random_state = unit_seed() * 61 + 11;
    for (unsigned i = 0; i < 3; i++) {
        struct binlog *b = binlog_load(dirs[i], "mysql-bin.000001");
        for (unsigned round = 0; round < 12; round++) {
            struct rig rig;
            char name[32];
            unsigned turns = 0;
            snprintf(name, sizeof name, "open%u-%u", i, round);
            begin(&rig, name, b, (struct store_options){.index_step = (uint32_t)(1 + below(700)), .index_block = (uint32_t)(64 + below(300))});
            checkpoint(&rig);
            while (rig.at < b->n) {
                put(&rig, 1 + below(below(3) ? 400 : 6000));
                uint64_t what = turns++ < 200 ? below(8) : 8;
                if (what < 2) {
                    checkpoint(&rig);
                }
                if (what == 1 || what == 2) {
                    cut(&rig);
                } else if (what == 3) {
                    restart(&rig);
                } else if (what < 6) {
                    test_env_run(rig.loop);
                }
            }
            end(&rig);
        }
        binlog_free(b);
    }
}

static void flip(const struct rig *rig, uint64_t at)
{
    char *path = mem_printf("%s/binlog/1/%s", rig->dir, rig->b->name);
    FILE *f = fopen(path, "r+b");
    UNIT_REQUIRE(f != NULL);
    fseek(f, (long)at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(c ^ 1, f);
    UNIT_INT(fclose(f), 0);
    mem_free(path);
}

/* Bytes of it that change before the start and change back after it are not noticed; and the hashes are those of what was written. */
static void a_start_does_not_read_an_open_transaction_again(void)
{
    struct binlog *b = binlog_load("mysql-9.7-all-events", "mysql-bin.000001");
    struct rig rig;
    uint64_t from = 0, to = 0;
    for (size_t i = 1; i < b->n_txns; i++) {
        if (b->txns[i].end - b->txns[i - 1].end > to - from) {
            from = b->txns[i - 1].end;
            to = b->txns[i].end;
        }
    }
    UNIT_REQUIRE(to - from > 700);
    begin(&rig, "huge", b, (struct store_options){.index_step = 300, .index_block = 64});
    put(&rig, to - 20 - STORE_MAGIC);
    checkpoint(&rig);
    binlog_store_close(rig.loop, rig.store);
    for (uint64_t at = from + 100; at < to - 200; at += 16) {
        flip(&rig, at);
    }
    rig.store = binlog_store_with(rig.loop, rig.dir, &rig.options);
    for (uint64_t at = from + 100; at < to - 200; at += 16) {
        flip(&rig, at);
    }
    put(&rig, b->n);
    end(&rig);
    binlog_free(b);
}

UNIT_MAIN("index_open", UNIT_TEST(whatever_comes_between_the_index_is_the_same), UNIT_TEST(a_start_does_not_read_an_open_transaction_again))
