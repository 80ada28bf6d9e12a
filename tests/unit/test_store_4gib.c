/* test_store_4gib: a binlog file of more than 4 GiB (a transaction is never split over files, so a huge one makes such a file, and others of
 * its commit group may follow it there): it is written, indexed, in the checkpoint, cut, read by position and by GTID on both
 * sides of the line. Most of it is a hole: the huge transaction's bytes are zeros, and nothing here reads them. */
#include "storage/reader.h"
#include "storage/store.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#define LINE (UINT64_C(1) << 32)

enum { PIECE = STORE_WRITE_MAX, LOG_POS = 13 };

struct rig {
    struct env *loop, *worker;
    char *dir;
    struct store *store;
    struct store_sub sub;
    bool left;
    struct binlog *b;
    size_t last;        /* the last transaction before the huge one */
    uint64_t from;      /* where the huge one begins */
    uint64_t shift;     /* its size: so far everything behind it is moved */
    struct store_txn *moved;
    uint64_t index;
};

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void gone(struct store_sub *sub)
{
    ((struct rig *)sub->owner)->left = true;
}

static void open_store(struct rig *rig)
{
    rig->store = binlog_store(rig->loop, rig->dir);
    rig->sub = (struct store_sub){.owner = rig};
    rig->left = false;
    store_subscribe(rig->store, &rig->sub, rig->worker, changed);
    test_env_run(rig->loop);
}

static void close_store(struct rig *rig)
{
    store_unsubscribe(&rig->sub, gone);
    test_env_run(rig->loop);
    UNIT_TRUE(rig->left);
    binlog_store_close(rig->loop, rig->store);
}

static bool next_txn(struct cur *list, struct store_txn *last)
{
    if (cur_left(list) == 0) {
        return false;
    }
    cur_copy(list, last, sizeof *last);
    return true;
}

static struct store_txns one_txn(const struct store_txn *txns, size_t n)
{
    return (struct store_txns){.list = cur_of(txns, n * sizeof *txns), .next = next_txn};
}

/* Each event says where it ends in the file, in 32 bits. */
static void move_events(struct rig *rig)
{
    for (size_t i = 0; i < rig->b->n_events; i++) {
        const struct binlog_event *e = &rig->b->events[i];
        uint8_t *event = rig->b->bytes + e->start;
        if (e->start >= rig->from) {
            le_put(event + LOG_POS, (uint32_t)(e->end + rig->shift), 4);
            event_crc_set(event, (size_t)(e->end - e->start));
        }
    }
}

/* The sample's first transactions, a huge one, the others. */
static void write_all(struct rig *rig)
{
    const struct binlog *b = rig->b;
    struct store_txns before = binlog_txns(b, 4, rig->from);
    struct store_txn huge = {.end = rig->from + rig->shift};
    uint8_t *zeros = mem_array(PIECE, 1);
    store_file(rig->store, ++rig->index, 0, 1, b->name, b->state_before);
    store_write_txns(rig->store, ++rig->index, 4, b->bytes + 4, rig->from - 4, rig->from, &before, NULL, NULL);
    test_env_run(rig->loop);
    for (uint64_t at = rig->from; at < huge.end;) {
        size_t n = huge.end - at < PIECE ? (size_t)(huge.end - at) : PIECE;
        bool whole = at + n == huge.end;
        struct store_txns txns = one_txn(&huge, whole);
        store_write_txns(rig->store, ++rig->index, at, zeros, n, whole ? huge.end : rig->from, &txns, NULL, NULL);
        test_env_run(rig->loop);
        at += n;
    }
    mem_free(zeros);
    struct store_txns after = one_txn(rig->moved, b->n_txns - rig->last - 1);
    store_write_txns(rig->store, ++rig->index, huge.end, b->bytes + rig->from, b->n - rig->from, b->n + rig->shift, &after, NULL, NULL);
    test_env_run(rig->loop);
}

static void begin(struct rig *rig, const char *name)
{
    *rig = (struct rig){.loop = test_env_new(unit_seed()), .dir = binlog_dir(name)};
    struct binlog *b = rig->b = binlog_load("mysql-9.7-all-events", "mysql-bin.000001");
    rig->worker = test_env_worker(rig->loop, "serve0");
    rig->last = b->n_txns / 3;
    rig->from = b->txns[rig->last].end;
    rig->shift = LINE - (rig->from + b->n) / 2; /* the line lies in the midst of what follows */
    rig->moved = mem_array(b->n_txns, sizeof *rig->moved);
    for (size_t i = rig->last + 1; i < b->n_txns; i++) {
        rig->moved[i - rig->last - 1] = b->txns[i];
        rig->moved[i - rig->last - 1].end += rig->shift;
    }
    move_events(rig);
    open_store(rig);
    write_all(rig);
}

static void end(struct rig *rig)
{
    close_store(rig);
    UNIT_UINT(test_env_open_files(rig->loop), 0);
    char *path = mem_printf("%s/binlog/1/%s", rig->dir, rig->b->name);
    UNIT_INT(remove(path), 0); /* most of it is a hole, but not to whoever copies it */
    mem_free(path);
    binlog_free(rig->b);
    mem_free(rig->moved);
    mem_free(rig->dir);
    test_env_free(rig->loop);
}

/* Reads to the end: the events from the `first` on, moved. How many; 0 when one is wrong. */
static unsigned read_on(struct rig *rig, struct reader *r, size_t first)
{
    const struct binlog *b = rig->b;
    struct reader_event ev;
    struct errmsg em = {""};
    unsigned n = 0;
    int rv;
    while ((rv = reader_next(r, &ev, &em)) == 1) {
        const struct binlog_event *want = &b->events[first + n];
        if (first + n >= b->n_events || ev.start != want->start + rig->shift || ev.end != want->end + rig->shift ||
            memcmp(ev.bytes, b->bytes + want->start, ev.n) != 0) {
            fprintf(stderr, "%llu to %llu is not event %zu\n", (unsigned long long)ev.start, (unsigned long long)ev.end, first + n);
            return 0;
        }
        n++;
    }
    if (rv) {
        fprintf(stderr, "%s\n", em.text);
    }
    return rv ? 0 : n;
}

/* From each event behind the huge transaction by position, and from each transaction by GTID. */
static void check_readers(struct rig *rig)
{
    const struct binlog *b = rig->b;
    unsigned below = 0, above = 0;
    struct gtid_set *have = gtid_set_copy(b->state_before);
    for (size_t i = 0, txn = 0; i < b->n_events; i++) {
        struct reader *r = NULL;
        struct errmsg em = {""};
        uint64_t at = b->events[i].start + rig->shift;
        for (; txn < b->n_txns && b->txns[txn].end <= b->events[i].start; txn++) {
            if (b->txns[txn].gtid.flavour) {
                UNIT_INT(gtid_set_add(have, &b->txns[txn].gtid), 0);
            }
        }
        if (b->events[i].start < rig->from) {
            continue;
        }
        UNIT_INT(reader_open_position(&rig->sub, 1, b->name, at, &r, &em), 0);
        UNIT_UINT(read_on(rig, r, i), b->n_events - i);
        reader_close(r);
        if (event_is_gtid(b->events[i].type) && b->events[i].has_gtid) {
            UNIT_INT(reader_open_gtid(&rig->sub, have, &r, &em), 0);
            UNIT_STR(em.text, "");
            UNIT_TRUE(at < LINE || reader_next(r, &(struct reader_event){0}, &em) == 1); /* at once, without the huge one */
            reader_close(r);
        }
        below += at < LINE;
        above += at >= LINE;
    }
    UNIT_TRUE(below > 5 && above > 5);
    gtid_set_free(have);
}

static uint64_t end_of(struct rig *rig)
{
    const struct catalog_entry *entry;
    uint64_t offset = 0;
    UNIT_TRUE(store_sub_end(&rig->sub, &entry, &offset));
    return offset;
}

static void a_file_goes_beyond_4_gib(void)
{
    struct rig rig;
    uint64_t size;
    begin(&rig, "4gib");
    uint64_t whole = rig.b->n + rig.shift;
    UNIT_TRUE(whole > LINE && rig.from + rig.shift < LINE);
    UNIT_UINT(end_of(&rig), whole);
    check_readers(&rig);
    store_checkpoint(rig.store, rig.index, NULL, NULL);
    test_env_run(rig.loop);
    uint64_t checkpoint = rig.index;
    store_write(rig.store, ++rig.index, whole, rig.b->bytes + rig.from, 60, whole, NULL, NULL); /* a beginning of a transaction */
    close_store(&rig);
    open_store(&rig); /* cut to the checkpoint */
    UNIT_UINT(store_checkpoint_index(rig.store), checkpoint);
    UNIT_UINT(end_of(&rig), whole);
    check_readers(&rig);
    store_write(rig.store, rig.index, whole, rig.b->bytes + rig.from, 60, whole, NULL, NULL);
    store_cut(rig.store, ++rig.index, whole);
    store_file(rig.store, ++rig.index, 0, 1, "mysql-bin.000002", NULL);
    test_env_run(rig.loop);
    (void)end_of(&rig); /* takes the new list */
    UNIT_TRUE(catalog_sealed_size(rig.sub.catalog, 1, &size));
    UNIT_UINT(size, whole);
    store_checkpoint(rig.store, rig.index, NULL, NULL);
    close_store(&rig);
    open_store(&rig); /* its size comes from the list of files now */
    UNIT_TRUE(catalog_sealed_size(rig.sub.catalog, 1, &size));
    UNIT_UINT(size, whole);
    end(&rig);
}

UNIT_MAIN("store_4gib", UNIT_TEST(a_file_goes_beyond_4_gib))
