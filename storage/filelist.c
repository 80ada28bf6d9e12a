/* filelist.c: see filelist.h.
 *
 * Happy path: parts of some hundred files stand in an array, each with the bytes of its records; the first record
 * tells all, the others what changed. A file is found by its part (binary search by number, or name minus first name
 * where names count up without a gap) and a walk over the records before it in the part.
 *
 * Failure modes: bytes that cannot be are E_CORRUPT when they are loaded; patches and sets when they are used. */
#include "storage/filelist.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "storage/checkpoint.h"
#include "storage/patch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 1, NEXT_NAME = 2, SAME_SET = 4, FOLLOWS = 8 };

enum {
    PART_MIN = 128,     /* files; a part ends when its other records have twice the bytes of its first set, too */
    PART_MAX = 1024,
    SET_MAX = 1 << 30,  /* bytes */
    SIZE_MIN = 4        /* of a binlog file */
};

struct part {
    _Atomic unsigned refs;
    size_t first, n; /* files */
    uint64_t era;
    bool counts; /* each name is the one before, counted up */
    size_t n_bytes;
    uint8_t bytes[];
};

struct filelist {
    _Atomic unsigned refs;
    size_t n, n_parts, n_bytes;
    uint32_t sum;
    struct part **parts;
};

struct record {
    uint64_t size;
    uint32_t file_sum;
    uint8_t flags;
    uint64_t era;
    const uint8_t *name, *set; /* set: or the patch */
    size_t name_len, set_len;
    uint32_t sum;
};

/* ---- lists --------------------------------------------------------------------------------------------- */

static void part_unref(struct part *part)
{
    if (atomic_fetch_sub(&part->refs, 1) == 1) {
        mem_free(part);
    }
}

struct filelist *filelist_new(void)
{
    struct filelist *list = mem_new(sizeof *list);
    atomic_init(&list->refs, 1);
    return list;
}

struct filelist *filelist_ref(const struct filelist *list)
{
    struct filelist *counted = (struct filelist *)list;
    atomic_fetch_add(&counted->refs, 1);
    return counted;
}

void filelist_unref(struct filelist *list)
{
    if (list && atomic_fetch_sub(&list->refs, 1) == 1) {
        for (size_t i = 0; i < list->n_parts; i++) {
            part_unref(list->parts[i]);
        }
        mem_free(list->parts);
        mem_free(list);
    }
}

size_t filelist_count(const struct filelist *list)
{
    return list->n;
}

size_t filelist_size(const struct filelist *list)
{
    return list->n_bytes;
}

uint32_t filelist_sum(const struct filelist *list)
{
    return list->sum;
}

size_t filelist_memory(const struct filelist *list)
{
    return sizeof *list + list->n_parts * (sizeof(struct part *) + sizeof(struct part)) + list->n_bytes;
}

/* Behind the others; takes the reference. */
static void push(struct filelist *list, struct part *part)
{
    list->parts = mem_grow(list->parts, list->n_parts + 1, sizeof(struct part *));
    list->parts[list->n_parts++] = part;
    list->n += part->n;
    list->n_bytes += part->n_bytes;
}

static struct part *part_new(size_t first, size_t n, uint64_t era, bool counts, const uint8_t *bytes, size_t n_bytes,
                             const struct buf *more)
{
    size_t extra = more ? more->len : 0;
    struct part *part = mem_new(sizeof *part + n_bytes + extra);
    atomic_init(&part->refs, 1);
    part->first = first;
    part->n = n;
    part->era = era;
    part->counts = counts;
    part->n_bytes = n_bytes + extra;
    memcpy(part->bytes, bytes, n_bytes);
    if (extra) {
        memcpy(part->bytes + n_bytes, more->data, extra);
    }
    return part;
}

/* ---- records ------------------------------------------------------------------------------------------- */

static void read_record(struct cur *c, struct record *r)
{
    *r = (struct record){.size = cur_lenenc(c)};
    r->file_sum = cur_u32(c);
    r->flags = cur_u8(c);
    bool key = r->flags & KEY;
    if (key) {
        r->era = cur_lenenc(c);
    }
    if (!(r->flags & NEXT_NAME)) {
        r->name = cur_lenenc_bytes(c, &r->name_len);
    }
    if (!(r->flags & SAME_SET)) {
        r->set = cur_lenenc_bytes(c, &r->set_len);
    }
    if (r->flags > (KEY | NEXT_NAME | SAME_SET | FOLLOWS) || (key && r->flags & (NEXT_NAME | SAME_SET)) ||
        (!key && r->flags & FOLLOWS)) {
        cur_fail(c);
    }
    r->sum = cur_u32(c);
}

/* "base.000099" becomes "base.000100". False: it does not fit. */
static bool count_up(char name[FILELIST_NAME_SIZE])
{
    size_t n = strlen(name), at = n;
    while (at > 0 && name[at - 1] == '9') {
        name[--at] = '0';
    }
    if (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '8') {
        name[at - 1]++;
        return true;
    }
    if (n + 1 == FILELIST_NAME_SIZE) {
        return false;
    }
    memmove(name + at + 1, name + at, n - at + 1);
    name[at] = '1';
    return true;
}

/* The name of a record behind the one before. */
static bool take_name(const struct record *r, char name[FILELIST_NAME_SIZE])
{
    if (r->flags & NEXT_NAME) {
        return count_up(name);
    }
    struct cur c = cur_of(r->name, r->name_len);
    cur_text(&c, r->name_len, name, FILELIST_NAME_SIZE);
    return cur_ok(&c) && checkpoint_name_ok(name);
}

static size_t part_of(const struct filelist *list, size_t at)
{
    size_t low = 0, high = list->n_parts;
    CHECK(at < list->n);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (list->parts[middle]->first <= at) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- walks --------------------------------------------------------------------------------------------- */

void filelist_walk_begin(struct filelist_walk *w, const struct filelist *list, size_t from)
{
    *w = (struct filelist_walk){.list = list, .next = list->n, .part = list->n_parts};
    if (from < list->n) {
        w->part = part_of(list, from);
        w->next = list->parts[w->part]->first;
        while (w->next < from) {
            (void)filelist_walk_next(w);
        }
    }
}

bool filelist_walk_next(struct filelist_walk *w)
{
    const struct filelist *list = w->list;
    struct filelist_file *f = &w->file;
    struct record r;
    if (w->next == list->n) {
        return false;
    }
    const struct part *part = list->parts[w->part];
    w->p = w->p ? w->p : part->bytes;
    struct cur c = cur_of(w->p, (size_t)(part->bytes + part->n_bytes - w->p));
    read_record(&c, &r);
    CHECK(cur_ok(&c) && take_name(&r, f->name)); /* looked at when it was loaded */
    f->at = w->next++;
    f->era = part->era;
    f->follows_era = r.flags & FOLLOWS;
    w->p = c.p;
    if (cur_done(&c)) {
        w->p = NULL;
        w->part++;
        if (w->part < list->n_parts) {
            c = cur_of(list->parts[w->part]->bytes, list->parts[w->part]->n_bytes);
        }
    }
    f->size = w->next < list->n ? cur_lenenc(&c) : 0;
    f->sum = w->next < list->n ? cur_u32(&c) : 0;
    return true;
}

void filelist_get(const struct filelist *list, size_t at, struct filelist_file *file)
{
    struct filelist_walk w;
    CHECK(at < list->n);
    filelist_walk_begin(&w, list, at);
    CHECK(filelist_walk_next(&w));
    *file = w.file;
}

/* "base." and the number behind it; false when it is too long for one. */
static bool split(const char *name, size_t *base, uint64_t *number)
{
    const char *dot = strrchr(name, '.');
    if (!dot || strlen(dot + 1) > 18) {
        return false;
    }
    *base = (size_t)(dot + 1 - name);
    *number = strtoull(dot + 1, NULL, 10);
    return true;
}

/* Does the name stand in this part? Where names count up there is one place where it can. */
static bool find_in(const struct filelist *list, const struct part *part, const char *name, size_t *at)
{
    struct filelist_file file;
    size_t base, wanted_base;
    uint64_t first, wanted;
    filelist_get(list, part->first, &file);
    if (part->counts && split(file.name, &base, &first)) {
        if (!split(name, &wanted_base, &wanted) || base != wanted_base || memcmp(name, file.name, base) != 0 ||
            wanted < first || wanted - first >= part->n) {
            return false;
        }
        *at = part->first + (size_t)(wanted - first);
        filelist_get(list, *at, &file);
        return strcmp(file.name, name) == 0;
    }
    struct filelist_walk w;
    filelist_walk_begin(&w, list, part->first);
    while (filelist_walk_next(&w) && w.file.at < part->first + part->n) {
        if (strcmp(w.file.name, name) == 0) {
            *at = w.file.at;
            return true;
        }
    }
    return false;
}

bool filelist_find(const struct filelist *list, uint64_t era, const char *name, size_t *at)
{
    for (size_t i = list->n_parts; i-- > 0;) {
        const struct part *part = list->parts[i];
        if ((era == 0 || part->era == era) && find_in(list, part, name, at)) {
            return true;
        }
    }
    return false;
}

size_t filelist_newest_era(const struct filelist *list)
{
    size_t i = list->n_parts - 1;
    CHECK(list->n > 0);
    while (i > 0 && list->parts[i - 1]->era == list->parts[i]->era) {
        i--;
    }
    return list->parts[i]->first;
}

bool filelist_after_era(const struct filelist *list, uint64_t era, size_t *at)
{
    size_t i = list->n_parts;
    while (i > 0 && list->parts[i - 1]->era > era) {
        i--;
    }
    if (i == list->n_parts) {
        return false;
    }
    *at = list->parts[i]->first;
    return true;
}

/* ---- sets ---------------------------------------------------------------------------------------------- */

/* The set of one record, behind that of the one before. */
static int take_set(const struct record *r, struct buf *set)
{
    if (r->flags & KEY) {
        buf_reset(set);
        buf_bytes(set, r->set, r->set_len);
        return set->err;
    }
    if (r->flags & SAME_SET) {
        return 0;
    }
    struct buf next;
    buf_init(&next, set->max);
    int rv = patch_apply(set->data, set->len, cur_of(r->set, r->set_len), &next);
    buf_move(set, &next);
    return rv;
}

/* The bytes of the set before file `at`. */
static int set_bytes(const struct filelist *list, size_t at, struct buf *set)
{
    const struct part *part = list->parts[part_of(list, at)];
    struct cur c = cur_of(part->bytes, part->n_bytes);
    int rv = 0;
    buf_reset(set);
    for (size_t i = part->first; i <= at && !rv; i++) {
        struct record r;
        read_record(&c, &r);
        rv = take_set(&r, set);
    }
    return rv;
}

static int decode(const struct filelist *list, size_t at, const struct buf *bytes, struct gtid_set **set,
                  struct errmsg *em)
{
    struct cur c = cur_of(bytes->data, bytes->len);
    *set = NULL;
    if (bytes->len == 0) {
        return 0;
    }
    uint8_t flavour = cur_u8(&c);
    int rv = flavour == FLAVOUR_MYSQL || flavour == FLAVOUR_MARIADB ? 0 : E_CORRUPT;
    if (!rv) {
        *set = gtid_set_new((enum flavour)flavour);
        rv = gtid_set_decode(*set, &c, NULL);
    }
    if (rv || !cur_done(&c)) {
        struct filelist_file file;
        filelist_get(list, at, &file);
        gtid_set_free(*set);
        *set = NULL;
        return err_set(em, E_CORRUPT, "the GTID state before file %s in the list of files cannot be", file.name);
    }
    return 0;
}

int filelist_before(const struct filelist *list, size_t at, struct gtid_set **before, struct errmsg *em)
{
    struct buf bytes;
    CHECK(at < list->n);
    buf_init(&bytes, SET_MAX);
    int rv = set_bytes(list, at, &bytes);
    if (rv) {
        *before = NULL;
        rv = err_set(em, rv, "the GTID state of file %zu in the list of files: %s", at + 1, err_text(rv));
    } else {
        rv = decode(list, at, &bytes, before, em);
    }
    buf_free(&bytes);
    return rv;
}

void filelist_states_begin(struct filelist_states *s, const struct filelist *list, size_t from)
{
    *s = (struct filelist_states){.list = list, .next = list->n};
    buf_init(&s->bytes, SET_MAX);
    if (from < list->n) {
        s->part = part_of(list, from);
        s->next = list->parts[s->part]->first;
    }
    while (s->next < from && s->next < list->n) {
        struct gtid_set *passed;
        if (filelist_states_next(s, &passed, NULL) < 0) {
            return; /* whoever asks next gets it again */
        }
        gtid_set_free(passed);
    }
}

int filelist_states_next(struct filelist_states *s, struct gtid_set **before, struct errmsg *em)
{
    struct record r;
    *before = NULL;
    if (s->next == s->list->n) {
        return 0;
    }
    const struct part *part = s->list->parts[s->part];
    const uint8_t *p = s->p ? s->p : part->bytes;
    struct cur c = cur_of(p, (size_t)(part->bytes + part->n_bytes - p));
    read_record(&c, &r);
    int rv = take_set(&r, &s->bytes);
    if (rv) {
        return err_set(em, rv, "the GTID state of file %zu in the list of files: %s", s->next + 1, err_text(rv));
    }
    rv = decode(s->list, s->next, &s->bytes, before, em);
    s->next++;
    s->p = cur_done(&c) ? NULL : c.p;
    s->part += cur_done(&c);
    return rv ? rv : 1;
}

void filelist_states_end(struct filelist_states *s)
{
    buf_free(&s->bytes);
}

/* 1: admitted, 0: not. */
static int ask(const struct filelist *list, size_t at, bool (*admits)(void *arg, const struct gtid_set *before),
               void *arg, struct errmsg *em)
{
    struct gtid_set *before;
    int rv = filelist_before(list, at, &before, em);
    if (!rv) {
        rv = admits(arg, before && !gtid_set_is_empty(before) ? before : NULL);
        gtid_set_free(before);
    }
    return rv;
}

int filelist_search(const struct filelist *list, size_t n, bool (*admits)(void *arg, const struct gtid_set *before),
                    void *arg, size_t *at, struct errmsg *em)
{
    int rv = n ? ask(list, n - 1, admits, arg, em) : 0;
    if (rv == 1) {
        *at = n - 1;
        return 0;
    }
    for (size_t i = n ? part_of(list, n - 1) + 1 : 0; i-- > 0 && rv == 0;) {
        const struct part *part = list->parts[i];
        size_t low = part->first, high = part->first + part->n < n ? part->first + part->n : n;
        rv = ask(list, low, admits, arg, em);
        if (rv != 1) {
            continue;
        }
        while (high - low > 1 && rv >= 0) { /* low is admitted, high is not, as far as we look */
            size_t middle = low + (high - low) / 2;
            rv = ask(list, middle, admits, arg, em);
            if (rv == 1) {
                low = middle;
            } else {
                high = middle;
            }
        }
        *at = low;
        return rv < 0 ? rv : 0;
    }
    for (size_t i = n; i-- > 0 && rv == 0;) { /* where states do not grow; nobody has to be quick here */
        rv = ask(list, i, admits, arg, em);
        *at = i;
    }
    return rv == 1 ? 0 : rv ? rv : err_set(em, E_NOTFOUND, "no file is early enough");
}

/* ---- adding -------------------------------------------------------------------------------------------- */

struct addition {
    uint64_t size, era;
    uint32_t sum;
    const char *name;
    struct buf set;
};

static void put_key(const struct addition *a, bool follows, struct buf *out)
{
    buf_lenenc(out, a->size);
    buf_u32(out, a->sum);
    buf_u8(out, (uint8_t)(KEY | (follows ? FOLLOWS : 0)));
    buf_lenenc(out, a->era);
    buf_lenenc_str(out, a->name);
    buf_lenenc_bytes(out, a->set.data, a->set.len);
}

/* A record that tells what changed since the last file; false: it should begin a part. */
static bool put_change(const struct filelist *list, const struct addition *a, bool *next_name, struct buf *out)
{
    const struct part *part = list->parts[list->n_parts - 1];
    struct filelist_file last;
    struct buf set, patch;
    struct record key;
    struct cur c = cur_of(part->bytes, part->n_bytes);
    read_record(&c, &key);
    size_t grown = cur_left(&c);
    if (part->era != a->era || part->n >= PART_MAX || (part->n >= PART_MIN && grown >= 2 * key.set_len)) {
        return false;
    }
    filelist_get(list, list->n - 1, &last);
    buf_init(&set, SET_MAX);
    buf_init(&patch, SET_MAX);
    bool ok = set_bytes(list, list->n - 1, &set) == 0;
    if (ok) {
        patch_make(set.data, set.len, a->set.data, a->set.len, &patch);
        ok = !patch.err && (patch.len == 0 || patch.len < a->set.len);
    }
    *next_name = count_up(last.name) && strcmp(last.name, a->name) == 0;
    if (ok) {
        buf_lenenc(out, a->size);
        buf_u32(out, a->sum);
        buf_u8(out, (uint8_t)((*next_name ? NEXT_NAME : 0) | (patch.len ? 0 : SAME_SET)));
        if (!*next_name) {
            buf_lenenc_str(out, a->name);
        }
        if (patch.len) {
            buf_lenenc_bytes(out, patch.data, patch.len);
        }
    }
    buf_free(&set);
    buf_free(&patch);
    return ok;
}

/* Those of the old one, but the last `without` parts. */
static struct filelist *share(const struct filelist *old, size_t without)
{
    struct filelist *list = filelist_new();
    for (size_t i = 0; i + without < old->n_parts; i++) {
        atomic_fetch_add(&old->parts[i]->refs, 1);
        push(list, old->parts[i]);
    }
    return list;
}

struct filelist *filelist_add(const struct filelist *old, uint64_t size, uint32_t file_sum, uint64_t era, const char *name,
                              const struct gtid_set *before)
{
    struct addition a = {.size = old->n ? size : 0, .sum = old->n ? file_sum : 0, .era = era, .name = name};
    const struct part *last = old->n ? old->parts[old->n_parts - 1] : NULL;
    struct filelist *list;
    struct buf record;
    bool counts = true;
    buf_init(&record, SET_MAX);
    buf_init(&a.set, SET_MAX);
    if (before) {
        buf_u8(&a.set, (uint8_t)gtid_set_flavour(before));
        gtid_set_encode(before, &a.set);
    }
    bool change = last && put_change(old, &a, &counts, &record);
    if (!change) {
        put_key(&a, last && last->era != era, &record);
    }
    CHECK(!record.err && !a.set.err);
    uint32_t sum = crc32c_of(old->sum, record.data, record.len);
    buf_u32(&record, sum);
    if (change) {
        list = share(old, 1);
        push(list, part_new(last->first, last->n + 1, era, last->counts && counts, last->bytes, last->n_bytes, &record));
    } else {
        list = share(old, 0);
        push(list, part_new(old->n, 1, era, true, record.data, record.len, NULL));
    }
    list->sum = sum;
    buf_free(&record);
    buf_free(&a.set);
    return list;
}

/* ---- leaving out ---------------------------------------------------------------------------------------- */

/* A record's bytes without its sum, which goes on from the one before. */
static void put_record(struct buf *out, uint32_t *sum, const uint8_t *bytes, size_t n)
{
    *sum = crc32c_of(*sum, bytes, n);
    buf_bytes(out, bytes, n);
    buf_u32(out, *sum);
}

/* The records of a part behind its first `skip` ones. */
static void put_rest(struct buf *out, uint32_t *sum, const struct part *part, size_t skip)
{
    struct cur c = cur_of(part->bytes, part->n_bytes);
    struct record r;
    while (cur_left(&c) > 0) {
        const uint8_t *start = c.p;
        read_record(&c, &r);
        if (skip > 0) {
            skip--;
        } else {
            put_record(out, sum, start, (size_t)(c.p - start) - 4);
        }
    }
}

int filelist_from(const struct filelist *old, size_t at, struct filelist **out_list, struct errmsg *em)
{
    size_t i = part_of(old, at);
    struct filelist_file file;
    struct buf key, out;
    uint32_t sum = 0;
    filelist_get(old, at, &file);
    struct addition a = {.era = file.era, .name = file.name};
    buf_init(&a.set, SET_MAX);
    buf_init(&key, SET_MAX);
    buf_init(&out, SET_MAX);
    int rv = set_bytes(old, at, &a.set);
    put_key(&a, file.follows_era, &key);
    put_record(&out, &sum, key.data, key.len);
    put_rest(&out, &sum, old->parts[i], at - old->parts[i]->first + 1);
    while (++i < old->n_parts) {
        put_rest(&out, &sum, old->parts[i], 0);
    }
    *out_list = NULL;
    if (rv || key.err || out.err) {
        rv = err_set(em, E_CORRUPT, "the GTID state of file %zu in the list of files cannot be", at + 1);
    } else {
        rv = filelist_load(out.data, out.len, false, out_list, em);
    }
    buf_free(&a.set);
    buf_free(&key);
    buf_free(&out);
    return rv;
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

void filelist_bytes(const struct filelist *list, size_t from, struct buf *out)
{
    for (size_t i = 0; i < list->n_parts; i++) {
        const struct part *part = list->parts[i];
        size_t skip = from < part->n_bytes ? from : part->n_bytes;
        buf_bytes(out, part->bytes + skip, part->n_bytes - skip);
        from -= skip;
    }
}

struct loading {
    struct filelist *list;
    const uint8_t *begun; /* of the part that is open; NULL: none */
    size_t n;
    uint64_t era;
    bool counts;
    char name[FILELIST_NAME_SIZE];
};

static void end_part(struct loading *l, const uint8_t *end)
{
    if (l->begun) {
        push(l->list,
             part_new(l->list->n, l->n, l->era, l->counts, l->begun, (size_t)(end - l->begun), NULL));
    }
    l->begun = NULL;
    l->n = 0;
}

/* False: the record at `start` cannot stand here. */
static bool take(struct loading *l, const struct record *r, const uint8_t *start, const uint8_t *end)
{
    bool key = r->flags & KEY, first = !l->begun;
    uint32_t sum = crc32c_of(l->list->sum, start, (size_t)(end - start) - 4);
    if (sum != r->sum || (first && !key) || (key && (r->era == 0 || r->era < l->era)) ||
        (first ? r->size != 0 || r->file_sum != 0 : r->size < SIZE_MIN) || (l->n >= PART_MAX && !key) ||
        (r->flags & FOLLOWS && r->era == l->era) || !take_name(r, l->name)) {
        return false;
    }
    if (key) {
        end_part(l, start);
        l->begun = start;
        l->era = r->era;
        l->counts = true;
    }
    l->counts = l->counts && (key || r->flags & NEXT_NAME);
    l->n++;
    l->list->sum = sum;
    return true;
}

int filelist_load(const void *data, size_t n, bool torn, struct filelist **out, struct errmsg *em)
{
    struct cur c = cur_of(data, n);
    struct loading l = {.list = filelist_new()};
    const uint8_t *start = c.p;
    int rv = 0;
    while (cur_left(&c) > 0) {
        struct record r;
        start = c.p;
        read_record(&c, &r);
        if (!cur_ok(&c) || !take(&l, &r, start, c.p)) {
            rv = torn ? 0
                      : err_set(em, E_CORRUPT, "the record of file %zu at %zu is damaged", l.list->n + l.n + 1,
                                (size_t)(start - (const uint8_t *)data));
            break;
        }
        start = c.p;
    }
    end_part(&l, start);
    if (rv) {
        filelist_unref(l.list);
        l.list = NULL;
    }
    *out = l.list;
    return rv;
}
