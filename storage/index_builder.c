/* index_builder.c: makes the index of a file from its bytes and the ends of its transactions.
 *
 * Happy path: bytes run through the hash of their block; a block that is full leaves its hash in a queue. At
 * the end of a transaction the hashes of the blocks that end at or before it become records, then, when it is
 * a step or more behind the entry before, the entry with what was added since. What does not lie before a
 * transaction's end may be cut: it is written when it is asked for (a start need not read a huge open transaction
 * again then), and a cut goes back to what there was at the last transaction's end.
 *
 * Failure modes: none of its own; what GTIDs cannot say (none, going back, of two flavours) makes the index
 * vague from there on. Too large sets end in the error of the output buffer, which its owner looks at. */
#include "storage/index.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"

#include <string.h>
#include <xxhash.h>

struct index_builder {
    struct buf out;
    uint32_t step, block;
    uint32_t crc;   /* of the last record */
    uint64_t total; /* bytes of the index so far */
    struct {        /* the same, where no record is about what may be cut */
        uint32_t crc;
        uint64_t total, hashes;
    } firm;
    /* bytes */
    uint64_t at;
    const uint8_t *last; /* given last, [at - last_n, at) */
    size_t last_n;
    uint8_t kept[INDEX_TAIL]; /* those before `last` */
    size_t kept_n;
    uint64_t hash_from; /* bytes before it are only kept */
    XXH3_state_t *hash; /* of the block that `at` lies in */
    uint8_t *full;  /* hashes of the blocks behind hashes_put, not put yet */
    size_t n_full, cap_full;
    uint64_t hashes_put;
    /* transactions */
    uint64_t end;   /* the last one given */
    uint64_t place; /* of the last entry */
    uint32_t place_tail;
    unsigned in_group;
    bool vague;
    enum flavour flavour;
    struct gtid_set *added; /* since the last entry; all three NULL before the first GTID */
    struct gtid_set *group; /* in the entries of the open group */
    struct gtid_set *all;   /* MariaDB: since the beginning */
};

/* ---- records ------------------------------------------------------------------------------------------- */

static size_t begin_record(struct index_builder *b, enum index_kind kind)
{
    size_t at = b->out.len;
    buf_u32(&b->out, 0);
    buf_u32(&b->out, 0);
    buf_u8(&b->out, (uint8_t)kind);
    return at;
}

static void end_record(struct index_builder *b, size_t at)
{
    if (!b->out.err) {
        uint8_t *record = b->out.data + at;
        size_t n = b->out.len - at - 8;
        buf_put_u32(&b->out, at, (uint32_t)n);
        b->crc = crc32c_of(crc32c_of(b->crc, record, 4), record + 8, n);
        buf_put_u32(&b->out, at + 4, b->crc);
        b->total += 8 + n;
    }
}

static void be_firm(struct index_builder *b)
{
    b->firm.crc = b->crc;
    b->firm.total = b->total;
    b->firm.hashes = b->hashes_put;
}

static void put_set(struct index_builder *b, const struct gtid_set *set)
{
    if (b->vague || !set || gtid_set_is_empty(set)) {
        buf_u8(&b->out, FLAVOUR_NONE);
    } else {
        buf_u8(&b->out, (uint8_t)gtid_set_flavour(set));
        gtid_set_encode(set, &b->out);
    }
}

static void put_hash(struct index_builder *b, const uint8_t *hash)
{
    size_t at = begin_record(b, INDEX_HASH);
    buf_bytes(&b->out, hash, INDEX_HASH_SIZE);
    end_record(b, at);
    b->hashes_put++;
}

/* The hashes of the blocks that end at or before `end`. */
static void put_hashes(struct index_builder *b, uint64_t end)
{
    size_t n = 0;
    while (n < b->n_full && (b->hashes_put + 1) * b->block <= end) {
        put_hash(b, b->full + n++ * INDEX_HASH_SIZE);
    }
    if (n > 0) {
        b->n_full -= n;
        memmove(b->full, b->full + n * INDEX_HASH_SIZE, b->n_full * INDEX_HASH_SIZE);
    }
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

static void hash_begin(struct index_builder *b)
{
    CHECK(XXH3_128bits_reset(b->hash) == XXH_OK);
}

void index_builder_settle(struct index_builder *b)
{
    size_t n = b->last_n < INDEX_TAIL ? b->last_n : INDEX_TAIL;
    size_t stay = b->kept_n < INDEX_TAIL - n ? b->kept_n : INDEX_TAIL - n;
    if (n > 0) {
        memmove(b->kept, b->kept + b->kept_n - stay, stay);
        memcpy(b->kept + stay, b->last + b->last_n - n, n);
        b->kept_n = stay + n;
    }
    b->last_n = 0;
}

void index_builder_bytes(struct index_builder *b, const uint8_t *bytes, size_t n)
{
    CHECK(b->last_n == 0);
    b->last = bytes;
    b->last_n = n;
    while (n > 0) {
        uint64_t room = b->at < b->hash_from ? b->hash_from - b->at : b->block - b->at % b->block;
        size_t part = n < room ? n : (size_t)room;
        bool hashed = b->at >= b->hash_from;
        CHECK(!hashed || XXH3_128bits_update(b->hash, bytes, part) == XXH_OK);
        bytes += part;
        n -= part;
        b->at += part;
        if (hashed && part == room) {
            if (b->n_full == b->cap_full) {
                b->cap_full = b->cap_full ? 2 * b->cap_full : 4;
                b->full = mem_grow(b->full, b->cap_full, INDEX_HASH_SIZE);
            }
            index_hash(b->hash, b->full + b->n_full++ * INDEX_HASH_SIZE);
            hash_begin(b);
        }
    }
}

/* The sum over the bytes before `end`, which lies in what was given last. */
static uint32_t tail_of(const struct index_builder *b, uint64_t end)
{
    CHECK(end <= b->at && b->at - end <= b->last_n);
    size_t here = b->last_n - (size_t)(b->at - end);
    size_t n = here < INDEX_TAIL ? here : INDEX_TAIL, before = INDEX_TAIL - n;
    before = before < b->kept_n ? before : b->kept_n;
    uint32_t crc = crc32c_of(0, b->kept + b->kept_n - before, before);
    return crc32c_of(crc, b->last + here - n, n);
}

/* ---- transactions -------------------------------------------------------------------------------------- */

static void become_vague(struct index_builder *b)
{
    b->vague = true;
    gtid_set_free(b->added);
    gtid_set_free(b->group);
    gtid_set_free(b->all);
    b->added = b->group = b->all = NULL;
}

static void know_flavour(struct index_builder *b, enum flavour flavour)
{
    b->flavour = flavour;
    b->added = gtid_set_new(flavour);
    b->group = gtid_set_new(flavour);
    b->all = flavour == FLAVOUR_MARIADB ? gtid_set_new(flavour) : NULL;
}

static void add(struct index_builder *b, const struct gtid *gtid)
{
    if (b->vague) {
        return;
    }
    if (gtid->flavour != FLAVOUR_NONE && b->flavour == FLAVOUR_NONE) {
        know_flavour(b, gtid->flavour);
    }
    bool clear = gtid->flavour == b->flavour && gtid->flavour != FLAVOUR_NONE;
    clear = clear && !(b->all && gtid_set_contains(b->all, gtid));
    clear = clear && gtid_set_add(b->added, gtid) == 0 && (!b->all || gtid_set_add(b->all, gtid) == 0);
    if (!clear) {
        become_vague(b);
    }
}

static void put_entry(struct index_builder *b, uint64_t end)
{
    size_t at = begin_record(b, INDEX_ENTRY);
    b->place_tail = tail_of(b, end);
    buf_u8(&b->out, b->vague);
    buf_lenenc(&b->out, end - b->place);
    buf_u32(&b->out, b->place_tail);
    put_set(b, b->added);
    end_record(b, at);
    b->place = end;
    if (b->added && gtid_set_union(b->group, b->added)) {
        become_vague(b); /* too many for one set */
    }
    if (b->added) {
        gtid_set_clear(b->added);
    }
    if (++b->in_group == INDEX_GROUP) {
        at = begin_record(b, INDEX_GROUP_SUM);
        buf_u8(&b->out, b->vague);
        put_set(b, b->group);
        end_record(b, at);
        b->in_group = 0;
        if (b->group) {
            gtid_set_clear(b->group);
        }
    }
}

void index_builder_txn(struct index_builder *b, const struct store_txn *txn)
{
    if (txn->end <= b->end) {
        return;
    }
    b->end = txn->end;
    add(b, &txn->gtid);
    put_hashes(b, txn->end);
    if (txn->end - b->place >= b->step) {
        put_entry(b, txn->end);
    }
    if (b->hashes_put * b->block <= txn->end) { /* else it is looked at again, at a start */
        be_firm(b);
    }
}

void index_builder_put_hashes(struct index_builder *b)
{
    put_hashes(b, b->at);
}

/* The next bytes are those from the block on, and some more before these for the next tail. */
static void go_back(struct index_builder *b, uint64_t block)
{
    b->hash_from = block * b->block;
    b->n_full = (size_t)(block - b->hashes_put);
    b->at = b->hash_from < INDEX_TAIL ? 0 : b->hash_from - INDEX_TAIL;
    b->last_n = b->kept_n = 0;
    hash_begin(b);
}

uint64_t index_builder_cut(struct index_builder *b, uint64_t end)
{
    CHECK(end >= b->end && end <= b->at);
    if (b->hashes_put == b->firm.hashes) {
        go_back(b, end / b->block);
    } else {
        uint64_t taken_back = b->total - b->firm.total;
        b->out.len -= taken_back < b->out.len ? (size_t)taken_back : b->out.len;
        b->crc = b->firm.crc;
        b->total = b->firm.total;
        b->hashes_put = b->firm.hashes;
        go_back(b, b->hashes_put);
    }
    return b->total;
}

void index_builder_seal(struct index_builder *b)
{
    uint8_t hash[INDEX_HASH_SIZE];
    put_hashes(b, b->at);
    size_t at = begin_record(b, INDEX_SEAL);
    index_hash(b->hash, hash);
    hash_begin(b);
    buf_u64(&b->out, b->at);
    buf_bytes(&b->out, hash, sizeof hash);
    end_record(b, at);
}

/* ---- begin and end ------------------------------------------------------------------------------------- */

static struct index_builder *builder_new(uint32_t step, uint32_t block)
{
    CHECK(step > 0 && block >= INDEX_TAIL);
    struct index_builder *b = mem_new(sizeof *b);
    buf_init(&b->out, INDEX_MAX);
    b->step = step;
    b->block = block;
    b->end = b->place = STORE_MAGIC;
    b->hash = XXH3_createState();
    CHECK(b->hash);
    hash_begin(b);
    return b;
}

struct index_builder *index_builder_new(uint64_t era, const char *name, uint32_t step, uint32_t block)
{
    struct index_builder *b = builder_new(step, block);
    size_t name_len = strlen(name);
    buf_str(&b->out, INDEX_MAGIC);
    buf_u16(&b->out, INDEX_VERSION);
    buf_u16(&b->out, (uint16_t)name_len);
    buf_u64(&b->out, era);
    buf_u32(&b->out, step);
    buf_u32(&b->out, block);
    buf_bytes(&b->out, name, name_len);
    if (!b->out.err) {
        b->crc = crc32c_of(0, b->out.data, b->out.len);
        buf_u32(&b->out, b->crc);
        b->total = b->out.len;
        be_firm(b);
    }
    return b;
}

void index_builder_free(struct index_builder *b)
{
    if (b) {
        gtid_set_free(b->added);
        gtid_set_free(b->group);
        gtid_set_free(b->all);
        XXH3_freeState(b->hash);
        mem_free(b->full);
        buf_free(&b->out);
        mem_free(b);
    }
}

uint64_t index_builder_at(const struct index_builder *b)
{
    return b->at;
}

uint64_t index_builder_place(const struct index_builder *b)
{
    return b->place;
}

uint32_t index_builder_tail(const struct index_builder *b)
{
    return b->place_tail;
}

struct buf *index_builder_out(struct index_builder *b)
{
    return &b->out;
}

/* ---- going on ------------------------------------------------------------------------------------------ */

static bool take_set(struct index_builder *b, const struct index_record *record)
{
    if (record->flavour == FLAVOUR_NONE) {
        return true;
    }
    if (b->flavour == FLAVOUR_NONE) {
        know_flavour(b, record->flavour);
    }
    struct gtid_set *set = gtid_set_new(record->flavour);
    bool ok = record->flavour == b->flavour && index_record_set(record, set, NULL) == 0 &&
              gtid_set_union(b->group, set) == 0 && (!b->all || gtid_set_union(b->all, set) == 0);
    gtid_set_free(set);
    return ok;
}

/* An entry, and the group's record behind it where one belongs. False: go on from before it. */
static bool take_entry(struct index_builder *b, struct index_walk *w, const struct index_record *entry,
                       uint64_t limit)
{
    struct index_record sum;
    if (w->place > limit || (w->in_group == INDEX_GROUP &&
                             (index_walk_next(w, &sum, NULL) != 1 || sum.kind != INDEX_GROUP_SUM))) {
        return false;
    }
    if (entry->vague && !b->vague) {
        become_vague(b);
    } else if (!b->vague && !take_set(b, entry)) {
        return false;
    }
    b->place_tail = entry->tail;
    b->in_group = w->in_group;
    if (b->in_group == 0 && b->group) {
        gtid_set_clear(b->group);
    }
    return true;
}

/* Takes the hashes behind the last entry, of blocks that end at or before `to`. */
static void take_hashes(struct index_builder *b, struct index_walk *good, uint64_t to)
{
    struct index_walk w = *good;
    struct index_record record;
    while (index_walk_next(&w, &record, NULL) == 1 && record.kind == INDEX_HASH && w.hashes * b->block <= to) {
        *good = w;
    }
}

/* The records before `w` are taken. */
static void take_up_to(struct index_builder *b, const struct index_walk *w, const void *data)
{
    b->crc = w->crc;
    b->hashes_put = w->hashes;
    b->total = (uint64_t)(w->c.p - (const uint8_t *)data);
}

struct index_builder *index_builder_load(const void *data, size_t n, uint64_t era, const char *name, uint32_t step,
                                         uint32_t block, uint64_t limit, uint64_t size, size_t *kept)
{
    struct index_walk w;
    struct index_record record;
    *kept = 0;
    if (index_walk_begin(&w, data, n, era, name, NULL) || w.step != step || w.block != block) {
        return NULL;
    }
    struct index_builder *b = builder_new(step, block);
    struct index_walk good = w;
    while (index_walk_next(&w, &record, NULL) == 1 && record.kind != INDEX_SEAL) {
        if (record.kind == INDEX_ENTRY) {
            if (!take_entry(b, &w, &record, limit)) {
                break;
            }
            good = w;
        }
    }
    b->end = b->place = good.place;
    bool hashes = limit >= b->place && limit - b->place < step; /* else entries are missing in front of them */
    if (hashes) {
        take_hashes(b, &good, limit < size ? limit : size);
    }
    take_up_to(b, &good, data);
    be_firm(b);
    if (hashes) {
        take_hashes(b, &good, size);
        take_up_to(b, &good, data);
    }
    *kept = (size_t)b->total;
    go_back(b, b->hashes_put);
    return b;
}
