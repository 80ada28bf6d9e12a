/* binlogs.c: see binlogs.h. */
#include "tests/unit/binlogs.h"

#include "protocol/base/mem.h"
#include "protocol/txn.h"
#include "storage/scan.h"
#include "storage/store.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool read_whole(const char *path, struct binlog *b)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        return false;
    }
    fseek(f, 0, SEEK_END);
    b->n = (size_t)ftell(f);
    rewind(f);
    b->bytes = mem_array(b->n, 1);
    bool ok = fread(b->bytes, 1, b->n, f) == b->n;
    fclose(f);
    return ok;
}

static int read_state(struct binlog *b, const struct event_format *format, const struct event_header *h,
                      const uint8_t *event)
{
    if (h->type == EVENT_PREVIOUS_GTIDS) {
        b->state_before = gtid_set_new(FLAVOUR_MYSQL);
        return event_previous_gtids_read(format, event, h->size, b->state_before, NULL);
    }
    if (h->type == EVENT_GTID_LIST) {
        b->state_before = gtid_set_new(FLAVOUR_MARIADB);
        return event_gtid_list_read(format, event, h->size, b->state_before, NULL, NULL);
    }
    return 0;
}

static int take_apart(struct binlog *b, struct errmsg *em)
{
    struct event_format format;
    struct txn txn;
    txn_init(&txn);
    event_format_init(&format, FLAVOUR_NONE, CHECKSUM_NONE);
    for (uint64_t at = EVENT_MAGIC_SIZE; at < b->n;) {
        struct event_header h;
        const uint8_t *event = b->bytes + at;
        int rv = event_peek(event, b->n - at, &h, em);
        if (rv || h.size > b->n - at) {
            return rv ? rv : err_set(em, E_MALFORMED, "torn");
        }
        rv = h.type == EVENT_FORMAT_DESCRIPTION ? event_format_read(event, h.size, &format, em) : 0;
        rv = rv || b->state_before ? rv : read_state(b, &format, &h, event);
        int where = rv ? rv : txn_feed(&txn, &format, event, h.size, em);
        if (where < 0) {
            return err_wrap(em, where, "at %llu", (unsigned long long)at);
        }
        b->events = mem_grow(b->events, b->n_events + 1, sizeof *b->events);
        b->events[b->n_events++] = (struct binlog_event){.start = at,
                                                         .end = at + h.size,
                                                         .type = h.type,
                                                         .boundary = where != TXN_INSIDE,
                                                         .ends_txn = where == TXN_END,
                                                         .in_txn = where != TXN_BETWEEN,
                                                         .has_gtid = txn.has_gtid,
                                                         .gtid = txn.gtid};
        at += h.size;
        if (where == TXN_END) {
            b->txns = mem_grow(b->txns, b->n_txns + 1, sizeof *b->txns);
            b->txns[b->n_txns++] = (struct store_txn){.end = at, .gtid = txn.gtid};
        }
    }
    return 0;
}

/* Takes the checksums away. */
static void strip(struct binlog *b)
{
    enum { SIZE_AT = 9, LOG_POS_AT = 13, ALGORITHM_FROM_END = 5 };
    uint8_t *bytes = mem_array(b->n, 1);
    size_t n = EVENT_MAGIC_SIZE;
    memcpy(bytes, b->bytes, n);
    for (size_t at = n, size; at < b->n; at += size) {
        struct event_header h = {.size = 0};
        UNIT_REQUIRE(event_peek(b->bytes + at, b->n - at, &h, NULL) == 0);
        bool format = h.type == EVENT_FORMAT_DESCRIPTION;
        size = h.size;
        if (format && b->bytes[at + size - ALGORITHM_FROM_END] == 0) { /* it has none */
            mem_free(bytes);
            return;
        }
        size_t stays = size - (format ? 0 : EVENT_CRC_SIZE);
        memcpy(bytes + n, b->bytes + at, stays);
        le_put(bytes + n + SIZE_AT, stays, 4);
        if (h.log_pos) {
            le_put(bytes + n + LOG_POS_AT, n + stays, 4);
        }
        if (format) {
            bytes[n + stays - ALGORITHM_FROM_END] = 0;
            event_crc_set(bytes + n, stays);
        }
        n += stays;
    }
    mem_free(b->bytes);
    b->bytes = bytes;
    b->n = n;
}

static struct binlog *load_one(const char *dir, const char *name, bool bare)
{
    struct errmsg em = {""};
    struct binlog *b = mem_new(sizeof *b);
    char *path = mem_printf("%s/tests/samples/%s/%s", unit_srcdir(), dir, name);
    snprintf(b->name, sizeof b->name, "%s", name);
    bool ok = UNIT_TRUE(read_whole(path, b));
    if (ok && bare) {
        strip(b);
    }
    ok = ok && UNIT_INT(take_apart(b, &em), 0);
    if (!ok) {
        fprintf(stderr, "%s: %s\n", path, em.text);
        binlog_free(b);
        b = NULL;
    }
    mem_free(path);
    return b;
}

struct binlog *binlog_load(const char *dir, const char *name)
{
    return load_one(dir, name, false);
}

struct binlog *binlog_load_bare(const char *dir, const char *name)
{
    return load_one(dir, name, true);
}

void binlog_free(struct binlog *b)
{
    if (b) {
        gtid_set_free(b->state_before);
        mem_free(b->events);
        mem_free(b->txns);
        mem_free(b->bytes);
        mem_free(b);
    }
}

uint64_t binlog_boundary(const struct binlog *b, uint64_t end)
{
    uint64_t boundary = EVENT_MAGIC_SIZE;
    for (size_t i = 0; i < b->n_events && b->events[i].end <= end; i++) {
        boundary = b->events[i].boundary ? b->events[i].end : boundary;
    }
    return boundary;
}

/* The list is an array of struct store_txn. */
static bool next_txn(struct cur *list, struct store_txn *last)
{
    if (cur_left(list) == 0) {
        return false;
    }
    cur_copy(list, last, sizeof *last);
    return true;
}

struct store_txns binlog_txns(const struct binlog *b, uint64_t from, uint64_t to)
{
    size_t first = 0, end;
    while (first < b->n_txns && b->txns[first].end <= from) {
        first++;
    }
    for (end = first; end < b->n_txns && b->txns[end].end <= to;) {
        end++;
    }
    const struct store_txn *at = b->n_txns ? &b->txns[first] : NULL;
    return (struct store_txns){.list = cur_of(at, (end - first) * sizeof *b->txns), .next = next_txn};
}

char *binlog_dir(const char *name)
{
    char *dir = mem_printf("%s/%s", unit_tmpdir(), name);
    if (mkdir(dir, 0700) && errno != EEXIST) {
        fprintf(stderr, "%s: %s\n", dir, strerror(errno));
        abort();
    }
    return dir;
}

struct store *binlog_store(struct env *loop, const char *dir)
{
    return binlog_store_with(loop, dir, NULL);
}

struct store *binlog_store_with(struct env *loop, const char *dir, const struct store_options *options)
{
    struct errmsg em = {""};
    struct store *store = NULL;
    int rv = store_open_with(loop, dir, options, &store, &em);
    if (rv) {
        fprintf(stderr, "store_open: %s\n", em.text);
    }
    UNIT_REQUIRE(rv == 0);
    return store;
}

static void note(void *arg)
{
    *(bool *)arg = true;
}

void binlog_store_close(struct env *loop, struct store *store)
{
    bool closed = false;
    store_close(store, note, &closed);
    UNIT_TRUE(!closed);
    test_env_run(loop);
    UNIT_TRUE(closed);
}

void binlog_put(struct store *store, const struct binlog *b, uint64_t era, size_t piece, uint64_t *index)
{
    store_file(store, ++*index, 0, era, b->name, b->state_before);
    for (uint64_t at = STORE_MAGIC; at < b->n;) {
        size_t n = b->n - at < piece ? b->n - at : piece;
        struct store_txns txns = binlog_txns(b, at, at + n);
        store_write_txns(store, ++*index, at, b->bytes + at, n, binlog_boundary(b, at + n), &txns, NULL, NULL);
        at += n;
    }
}

bool binlog_read(struct env *env, struct buf *out, const char *fmt, ...)
{
    char path[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    buf_init(out, 1 << 30);
    return env_read_file(env, path, out, NULL) == 0;
}

bool binlog_is_there(struct env *env, const char *dir, const char *path)
{
    struct buf have;
    bool there = binlog_read(env, &have, "%s/%s", dir, path);
    buf_free(&have);
    return there;
}

bool binlog_names_are(struct env *env, const char *dir, unsigned era, const char *want)
{
    struct buf have;
    bool same = binlog_read(env, &have, "%s/binlog/%u/mysql-bin.index", dir, era) && strcmp(buf_cstr(&have), want) == 0;
    if (!same) {
        fprintf(stderr, "%s/binlog/%u/mysql-bin.index holds '%s'\n", dir, era, buf_cstr(&have));
    }
    buf_free(&have);
    return same;
}

bool binlog_same(struct env *env, const char *dir, uint64_t era, const struct binlog *b)
{
    struct buf have;
    bool same = binlog_read(env, &have, "%s/binlog/%llu/%s", dir, (unsigned long long)era, b->name) &&
                have.len == b->n && memcmp(have.data, b->bytes, b->n) == 0;
    if (!same) {
        fprintf(stderr, "%s/binlog/%llu/%s has %zu bytes, and not those of the sample\n", dir, (unsigned long long)era, b->name, have.len);
    }
    buf_free(&have);
    return same;
}

bool binlog_index_same(struct env *env, const char *dir, uint64_t era, const struct binlog *b,
                       const struct store_options *options, bool sealed)
{
    struct buf have;
    struct errmsg em = {""};
    struct scan *scan;
    struct index_builder *want = index_builder_new(era, b->name, options->index_step, options->index_block);
    char *path = mem_printf("%s/binlog/%llu/%s", dir, (unsigned long long)era, b->name);
    int rv = scan_open(env, path, want, EVENT_MAGIC_SIZE, b->n, &scan, &em);
    while (rv == 0 && (rv = scan_step(scan, 100, &em)) == 1) {
        rv = 0;
    }
    scan_close(scan);
    if (sealed) {
        index_builder_seal(want);
    }
    bool same = binlog_read(env, &have, "%s/index/%llu/%s.idx", dir, (unsigned long long)era, b->name);
    const struct buf *out = index_builder_out(want);
    same = same && rv == 0 && have.len == out->len && memcmp(have.data, out->data, out->len) == 0;
    if (!same) {
        fprintf(stderr, "the index of %s differs: %zu bytes, expected %zu; %s\n", path, have.len, out->len,
                em.text);
    }
    buf_free(&have);
    index_builder_free(want);
    mem_free(path);
    return same;
}
