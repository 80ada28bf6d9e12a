/* fuzz_index: the index beside a binlog file.
 *
 * Input: step and block, transactions (length, GTID) with a list of sizes in which their bytes come, then
 * changes to the index that is made of them (flags: 1: its sums are put right afterwards; 4: hashes are put while
 * a transaction is open). Properties: the
 * index does not depend on the pieces; it is whole; a builder that goes on from any part of it makes the
 * same; of a damaged one, places are at its file's transaction ends as long as sums decide, and never behind
 * the limit. */
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/index.h"
#include "tests/fuzz/fuzz.h"

enum { FIX_SUMS = 1, MARIADB = 2, EARLY = 4, TXNS_MAX = 200, PIECES = 4, HEADER = 24 };

#define NAME "b.000001"

struct plan {
    unsigned flags;
    uint32_t step, block;
    size_t pieces[PIECES];
    struct store_txn txns[TXNS_MAX];
    size_t n;
    uint8_t *bytes;
    size_t size;
};

static struct gtid any_gtid(struct cur *in, const struct gtid *last, bool mariadb)
{
    struct gtid g = {.flavour = mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL};
    uint8_t how = cur_u8(in);
    if (how == 0xff) {
        return (struct gtid){.flavour = FLAVOUR_NONE};
    }
    if (how & 1 && last->flavour != FLAVOUR_NONE) {
        g = *last;
    } else if (mariadb) {
        g.domain = how >> 6;
        g.server = how >> 4 & 3;
    } else {
        memset(g.uuid, how >> 4, sizeof g.uuid);
        memcpy(g.tag, "tag", how & 8 ? 3 : 0);
    }
    g.gno = how & 2 ? UINT64_C(1) + cur_u8(in) : g.gno + 1;
    return g;
}

static void read_plan(struct cur *in, struct plan *p)
{
    struct gtid last = {.flavour = FLAVOUR_NONE};
    p->flags = cur_u8(in);
    p->step = 1 + cur_u8(in);
    p->block = INDEX_TAIL + 4u * cur_u8(in);
    for (size_t i = 0; i < PIECES; i++) {
        p->pieces[i] = 1 + cur_u8(in);
    }
    p->size = STORE_MAGIC;
    for (uint8_t n = cur_u8(in); p->n < TXNS_MAX && p->n < n && cur_left(in); p->n++) {
        p->size += 1 + cur_u8(in);
        p->txns[p->n] = (struct store_txn){.end = p->size, .gtid = any_gtid(in, &last, p->flags & MARIADB)};
        last = p->txns[p->n].gtid;
    }
    p->bytes = mem_new(p->size);
    for (size_t i = 0; i < p->size; i++) {
        p->bytes[i] = (uint8_t)(i * 31 ^ i >> 5);
    }
}

/* From where the builder is to the end, in pieces (whole when cut is false). */
static void give(struct index_builder *b, const struct plan *p, bool cut, struct buf *out)
{
    size_t at = (size_t)index_builder_at(b), next = 0;
    while (next < p->n && p->txns[next].end <= index_builder_place(b)) {
        next++;
    }
    for (size_t i = 0; at < p->size; i++) {
        size_t n = cut ? p->pieces[i % PIECES] : p->size;
        n = n < p->size - at ? n : p->size - at;
        uint8_t *exact = fuzz_exact(p->bytes + at, n);
        index_builder_bytes(b, exact, n);
        at += n;
        while (next < p->n && p->txns[next].end <= at) {
            index_builder_txn(b, &p->txns[next++]);
        }
        index_builder_settle(b);
        if (cut && p->flags & EARLY) {
            index_builder_put_hashes(b);
        }
        free(exact);
    }
    while (next < p->n) { /* their bytes were given before the builder was stored */
        index_builder_txn(b, &p->txns[next++]);
    }
    index_builder_seal(b);
    buf_bytes(out, index_builder_out(b)->data, index_builder_out(b)->len);
    MUST(!out->err && !index_builder_out(b)->err);
}

static void build(const struct plan *p, bool cut, struct buf *out)
{
    struct index_builder *b = index_builder_new(1, NAME, p->step, p->block);
    MUST(b);
    give(b, p, cut, out);
    index_builder_free(b);
}

/* Goes on from the part of a whole index that stands at or below `limit`. */
static void resume(const struct plan *p, const struct buf *whole, size_t n, uint64_t limit)
{
    size_t kept = 0;
    struct buf out;
    struct index_builder *b = index_builder_load(whole->data, n, 1, NAME, p->step, p->block, limit, p->size, &kept);
    if (!b) {
        return;
    }
    MUST(kept <= n && index_builder_place(b) <= (limit < STORE_MAGIC ? STORE_MAGIC : limit));
    buf_init(&out, 1 << 24);
    buf_bytes(&out, whole->data, kept);
    give(b, p, true, &out);
    MUST(out.len == whole->len && !memcmp(out.data, whole->data, out.len));
    buf_free(&out);
    index_builder_free(b);
}

static bool is_end(const struct plan *p, uint64_t offset)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->txns[i].end == offset) {
            return true;
        }
    }
    return false;
}

struct asked {
    const struct gtid_set *have;
    unsigned times;
};

static bool passes(void *arg, const struct gtid_set *set)
{
    struct asked *a = arg;
    a->times++;
    return gtid_set_subset(set, a->have);
}

static void search(const struct plan *p, const uint8_t *data, size_t n, uint64_t limit, bool trusted)
{
    enum flavour flavour = p->flags & MARIADB ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    struct index_place place;
    struct gtid_set *state = NULL, *have = gtid_set_new(flavour);
    struct asked asked = {.have = have};
    index_find_position(data, n, 1, NAME, limit, &place);
    MUST(place.offset <= limit && (!trusted || !place.offset || is_end(p, place.offset)));
    for (size_t i = 0; i < p->n / 2; i++) {
        (void)gtid_set_add(have, &p->txns[i].gtid);
    }
    index_find_gtid(data, n, 1, NAME, limit, flavour, passes, &asked, &place, &state);
    MUST(place.offset <= limit && (!trusted || !place.offset || is_end(p, place.offset)));
    gtid_set_free(state);
    gtid_set_free(have);
}

static void fix_sums(uint8_t *data, size_t n)
{
    size_t head = HEADER + sizeof NAME - 1, at = head + 4;
    if (n < at) {
        return;
    }
    uint32_t crc = crc32c_of(0, data, head);
    le_put(data + head, crc, 4);
    while (n - at >= 8) {
        struct cur c = cur_of(data + at, 4);
        uint32_t len = cur_u32(&c);
        if (len > n - at - 8) {
            return;
        }
        crc = crc32c_of(crc32c_of(crc, data + at, 4), data + at + 8, len);
        le_put(data + at + 4, crc, 4);
        at += 8 + (size_t)len;
    }
}

/* The changed index: nothing in it is believed. */
static void damaged(const struct plan *p, const struct buf *whole, struct cur *in)
{
    size_t n = whole->len - (cur_u8(in) & 1 ? cur_u16(in) % whole->len : 0), kept;
    uint8_t *data = fuzz_exact(whole->data, n);
    struct index_walk w;
    struct index_record record;
    struct errmsg em = {.text = ""};
    uint64_t limit = cur_u16(in);
    resume(p, whole, n, limit);
    while (cur_left(in) >= 3) {
        size_t at = cur_u16(in) % n;
        data[at] ^= cur_u8(in);
    }
    if (p->flags & FIX_SUMS) {
        fix_sums(data, n);
    }
    int rv = index_walk_begin(&w, data, n, 1, NAME, &em);
    struct gtid_set *set = gtid_set_new(p->flags & MARIADB ? FLAVOUR_MARIADB : FLAVOUR_MYSQL);
    while (!rv && (rv = index_walk_next(&w, &record, &em)) == 1) {
        (void)index_record_set(&record, set, NULL);
        rv = 0;
    }
    MUST(rv >= 0 || em.text[0]);
    (void)index_check_sealed(data, n, 1, NAME, p->size, NULL);
    search(p, data, n, limit, !(p->flags & FIX_SUMS));
    index_builder_free(index_builder_load(data, n, 1, NAME, p->step, p->block, limit, p->size, &kept));
    gtid_set_free(set);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    struct plan *p = mem_new(sizeof *p);
    struct buf whole, parts;
    buf_init(&whole, 1 << 24);
    buf_init(&parts, 1 << 24);
    read_plan(&in, p);
    build(p, false, &whole);
    build(p, true, &parts);
    MUST(whole.len == parts.len && !memcmp(whole.data, parts.data, whole.len));
    MUST(index_check_sealed(whole.data, whole.len, 1, NAME, p->size, NULL) == 0);
    damaged(p, &whole, &in);
    buf_free(&whole);
    buf_free(&parts);
    mem_free(p->bytes);
    mem_free(p);
    return 0;
}
