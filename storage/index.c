/* index.c: reads an index: its records one after the other, and the last place in it that fits.
 *
 * Happy path: a walk checks the header, then each record's sum, which goes on from the one before, and its
 * fields. A search by GTIDs first goes by groups, then by the entries of the first group that has something
 * that is wanted, so it decodes few sets.
 *
 * Failure modes: a sum that is wrong, a field that cannot be, a record that ends early: E_CORRUPT. A search
 * then gives the best place that stands before it (the index of the newest file may be read while its end is
 * being written); index_check_sealed says that a sealed one must be made again. */
#include "storage/index.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"

#include <string.h>
#include <xxhash.h>

enum { HEADER = 24, FLAG_VAGUE = 1 };

char *index_path(const char *index_dir, uint64_t era, const char *name)
{
    return mem_printf("%s/%llu/%s.idx", index_dir, (unsigned long long)era, name);
}

void index_hash(const struct XXH3_state_s *h, uint8_t hash[INDEX_HASH_SIZE])
{
    XXH128_canonical_t sum;
    XXH128_canonicalFromHash(&sum, XXH3_128bits_digest(h));
    memcpy(hash, sum.digest, INDEX_HASH_SIZE);
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

int index_walk_begin(struct index_walk *w, const void *data, size_t n, uint64_t era, const char *name,
                     struct errmsg *em)
{
    *w = (struct index_walk){.c = cur_of(data, n), .place = STORE_MAGIC};
    struct cur *c = &w->c;
    const uint8_t *magic = cur_bytes(c, 4);
    uint16_t version = cur_u16(c), name_len = cur_u16(c);
    uint64_t of_era = cur_u64(c);
    w->step = cur_u32(c);
    w->block = cur_u32(c);
    const uint8_t *of_name = cur_bytes(c, name_len);
    uint32_t crc = cur_u32(c);
    if (!cur_ok(c) || memcmp(magic, INDEX_MAGIC, 4) != 0) {
        return err_set(em, E_CORRUPT, "this is no index");
    }
    if (version != INDEX_VERSION) {
        return err_set(em, E_VERSION, "version %u, this program makes and reads %d", (unsigned)version, INDEX_VERSION);
    }
    w->crc = crc32c_of(0, data, HEADER + (size_t)name_len);
    if (crc != w->crc || w->step == 0 || w->block < INDEX_TAIL) {
        return err_set(em, E_CORRUPT, "the index's header is damaged");
    }
    if (of_era != era || name_len != strlen(name) || memcmp(of_name, name, name_len) != 0) {
        return err_set(em, E_CORRUPT, "the index is another file's");
    }
    return 0;
}

static void read_set(struct cur *c, struct index_record *record)
{
    uint8_t flavour = cur_u8(c);
    if (flavour > FLAVOUR_MARIADB || (record->vague && flavour != FLAVOUR_NONE)) {
        cur_fail(c);
        return;
    }
    size_t n;
    const uint8_t *set = cur_rest(c, &n);
    record->flavour = (enum flavour)flavour;
    record->set = cur_of(set, n);
    if (flavour == FLAVOUR_NONE && n > 0) {
        cur_fail(c);
    }
}

static void read_flags(struct index_walk *w, struct cur *c, struct index_record *record)
{
    uint8_t flags = cur_u8(c);
    record->vague = flags & FLAG_VAGUE;
    if (flags > FLAG_VAGUE || (w->vague && !record->vague)) {
        cur_fail(c);
    }
    w->vague = record->vague;
}

static void read_entry(struct index_walk *w, struct cur *c, struct index_record *record)
{
    read_flags(w, c, record);
    uint64_t step = cur_lenenc(c);
    record->tail = cur_u32(c);
    read_set(c, record);
    if (step < w->step || step > INT64_MAX - w->place || w->in_group == INDEX_GROUP) {
        cur_fail(c);
        return;
    }
    w->place += step;
    w->in_group++;
    if (w->hashes != w->place / w->block) {
        cur_fail(c);
    }
}

static void read_seal(struct index_walk *w, struct cur *c, struct index_record *record)
{
    record->size = cur_u64(c);
    record->hash = cur_bytes(c, INDEX_HASH_SIZE);
    w->sealed = true;
    if (record->size < w->place || w->hashes != record->size / w->block) {
        cur_fail(c);
    }
}

static void read_body(struct index_walk *w, struct cur *c, struct index_record *record)
{
    record->kind = (enum index_kind)cur_u8(c);
    if (w->sealed || (w->in_group == INDEX_GROUP && record->kind != INDEX_GROUP_SUM)) {
        cur_fail(c);
        return;
    }
    switch (record->kind) {
    case INDEX_ENTRY: read_entry(w, c, record); break;
    case INDEX_GROUP_SUM:
        read_flags(w, c, record);
        read_set(c, record);
        if (w->in_group != INDEX_GROUP) {
            cur_fail(c);
        }
        w->in_group = 0;
        break;
    case INDEX_HASH:
        record->hash = cur_bytes(c, INDEX_HASH_SIZE);
        w->hashes++;
        break;
    case INDEX_SEAL: read_seal(w, c, record); break;
    default: cur_fail(c);
    }
}

int index_walk_next(struct index_walk *w, struct index_record *record, struct errmsg *em)
{
    struct index_walk before = *w;
    *record = (struct index_record){.kind = INDEX_END};
    if (cur_done(&w->c)) {
        return 0;
    }
    const uint8_t *start = w->c.p;
    uint32_t n = cur_u32(&w->c), crc = cur_u32(&w->c);
    struct cur body = cur_sub(&w->c, n);
    if (cur_ok(&w->c)) {
        w->crc = crc32c_of(crc32c_of(w->crc, start, 4), body.p, n);
        if (w->crc == crc) {
            read_body(w, &body, record);
        } else {
            cur_fail(&body);
        }
    }
    if (!cur_ok(&w->c) || !cur_done(&body)) {
        *w = before;
        return err_set(em, E_CORRUPT, "the index is damaged or torn behind %llu of its file",
                       (unsigned long long)before.place);
    }
    return 1;
}

int index_record_set(const struct index_record *record, struct gtid_set *set, struct errmsg *em)
{
    struct cur c = record->set;
    gtid_set_clear(set);
    if (record->flavour == FLAVOUR_NONE) {
        return 0;
    }
    if (record->flavour != gtid_set_flavour(set)) {
        return err_set(em, E_CORRUPT, "a set of the other flavour");
    }
    int rv = gtid_set_decode(set, &c, em);
    return rv || cur_done(&c) ? rv : err_set(em, E_CORRUPT, "bytes are left over behind a set");
}

int index_check_sealed(const void *data, size_t n, uint64_t era, const char *name, uint64_t size,
                       struct errmsg *em)
{
    struct index_walk w;
    struct index_record record;
    uint64_t sealed = 0;
    int rv = index_walk_begin(&w, data, n, era, name, em);
    while (!rv && (rv = index_walk_next(&w, &record, em)) == 1) {
        sealed = record.kind == INDEX_SEAL ? record.size : sealed;
        rv = 0;
        if (cur_done(&w.c)) {
            break;
        }
    }
    if (!rv && !w.sealed) {
        rv = err_set(em, E_CORRUPT, "the index has no end");
    } else if (!rv && sealed != size) {
        rv = err_set(em, E_CORRUPT, "the index is of %llu bytes, the file has %llu",
                     (unsigned long long)sealed, (unsigned long long)size);
    }
    return rv;
}

bool index_place_fits(struct env_file *file, const struct index_place *place)
{
    uint8_t tail[INDEX_TAIL];
    size_t n = place->offset < INDEX_TAIL ? (size_t)place->offset : INDEX_TAIL, got = 0;
    return env_pread(file, tail, n, place->offset - n, &got, NULL) == 0 && got == n &&
           crc32c_of(0, tail, n) == place->tail;
}

/* ---- searches ------------------------------------------------------------------------------------------ */

void index_find_position(const void *data, size_t n, uint64_t era, const char *name, uint64_t limit,
                         struct index_place *place)
{
    struct index_walk w;
    struct index_record record;
    *place = (struct index_place){0};
    if (index_walk_begin(&w, data, n, era, name, NULL)) {
        return;
    }
    while (index_walk_next(&w, &record, NULL) == 1 && w.place <= limit) {
        if (record.kind == INDEX_ENTRY) {
            *place = (struct index_place){.offset = w.place, .tail = record.tail};
        }
    }
}

struct search {
    enum flavour flavour;
    bool (*passes)(void *arg, const struct gtid_set *set);
    void *arg;
    struct gtid_set *set;   /* for decoding */
    struct gtid_set *state; /* MariaDB: what was admitted */
};

/* Has the replica what the record adds? Then MariaDB's state is the one behind it. */
static bool admits(struct search *s, const struct index_record *record)
{
    if (record->vague || index_record_set(record, s->set, NULL)) {
        return false;
    }
    if (s->flavour != FLAVOUR_MARIADB) {
        return s->passes(s->arg, s->set);
    }
    struct gtid_set *next = gtid_set_copy(s->state);
    if (gtid_set_union(next, s->set) || !s->passes(s->arg, next)) {
        gtid_set_free(next);
        return false;
    }
    gtid_set_free(s->state);
    s->state = next;
    return true;
}

/* The walk at the first group that is not admitted whole. */
static void pass_groups(struct search *s, struct index_walk *w, uint64_t limit, struct index_place *place)
{
    struct index_walk ahead = *w;
    struct index_record record;
    struct index_place last = *place;
    while (index_walk_next(&ahead, &record, NULL) == 1 && ahead.place <= limit) {
        if (record.kind == INDEX_ENTRY) {
            last = (struct index_place){.offset = ahead.place, .tail = record.tail};
        } else if (record.kind == INDEX_GROUP_SUM) {
            if (!admits(s, &record)) {
                return;
            }
            *place = last;
            *w = ahead;
        }
    }
}

void index_find_gtid(const void *data, size_t n, uint64_t era, const char *name, uint64_t limit,
                     enum flavour flavour, bool (*passes)(void *arg, const struct gtid_set *set), void *arg,
                     struct index_place *place, struct gtid_set **state)
{
    struct index_walk w;
    struct index_record record;
    *place = (struct index_place){0};
    *state = NULL;
    if (flavour == FLAVOUR_NONE || index_walk_begin(&w, data, n, era, name, NULL)) {
        return;
    }
    struct search s = {.flavour = flavour, .passes = passes, .arg = arg, .set = gtid_set_new(flavour)};
    s.state = flavour == FLAVOUR_MARIADB ? gtid_set_new(flavour) : NULL;
    pass_groups(&s, &w, limit, place);
    while (index_walk_next(&w, &record, NULL) == 1 && w.place <= limit) {
        if (record.kind != INDEX_ENTRY) {
            continue;
        }
        if (!admits(&s, &record)) {
            break;
        }
        *place = (struct index_place){.offset = w.place, .tail = record.tail};
    }
    gtid_set_free(s.set);
    *state = s.state;
}
