/* gtid_mysql.c: MySQL's GTID sets as sorted intervals.
 *
 * Happy path: transactions come in order, so add extends the last interval. Sets from text or bytes are
 * pushed unsorted and put in order once at the end, so that no order in which a peer lists its parts makes it
 * slow. Union, subtract and intersect walk both sides once. Failure: GTID_SET_MAX intervals is the most,
 * E_TOOBIG beyond; bytes and text that break the rules leave an empty set. */
#include "protocol/gtid_set.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- sids ---------------------------------------------------------------------------------------------- */

static int compare_sids(const void *a, const void *b)
{
    const struct gtid_sid *x = a, *y = b;
    int order = memcmp(x->uuid, y->uuid, sizeof x->uuid);
    return order ? order : strcmp(x->tag, y->tag);
}

/* Where this (uuid, tag) stands, or belongs. */
static size_t sid_place(const struct gtid_set *set, const struct gtid_sid *key, bool *found)
{
    size_t low = 0, high = set->sid_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_sids(&set->sids[middle], key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *found = false;
    return low;
}

static void sid_name(struct gtid_sid *sid, const uint8_t uuid[16], const char *tag)
{
    *sid = (struct gtid_sid){.at = NULL};
    memcpy(sid->uuid, uuid, sizeof sid->uuid);
    memcpy(sid->tag, tag, strlen(tag));
}

static const struct gtid_sid *sid_find(const struct gtid_set *set, const struct gtid *gtid)
{
    struct gtid_sid key;
    bool found;
    sid_name(&key, gtid->uuid, gtid->tag);
    size_t at = sid_place(set, &key, &found);
    return found ? &set->sids[at] : NULL;
}

static struct gtid_sid *sid_insert(struct gtid_set *set, size_t at, const struct gtid_sid *key)
{
    gtid_grow(&set->sids, set->sid_count, &set->sid_cap, sizeof *set->sids);
    memmove(&set->sids[at + 1], &set->sids[at], (set->sid_count - at) * sizeof *set->sids);
    set->sids[at] = *key;
    set->sid_count++;
    return &set->sids[at];
}

static void sid_push(struct gtid_sid *sid, uint64_t start, uint64_t end)
{
    gtid_grow(&sid->at, sid->count, &sid->cap, sizeof *sid->at);
    sid->at[sid->count++] = (struct gtid_interval){start, end};
}

/* The first interval whose end is not before n: the one that holds n, or that n would join or precede. */
static size_t interval_place(const struct gtid_sid *sid, uint64_t n)
{
    if (!sid->count || sid->at[sid->count - 1].end < n) {
        return sid->count;
    }
    size_t low = 0, high = sid->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sid->at[middle].end < n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* ---- putting in order ---------------------------------------------------------------------------------- */

static int compare_intervals(const void *a, const void *b)
{
    const struct gtid_interval *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static bool in_order(const struct gtid_sid *sid)
{
    for (size_t i = 1; i < sid->count; i++) {
        if (sid->at[i].start <= sid->at[i - 1].end) {
            return false;
        }
    }
    return true;
}

/* Sorts the intervals and joins those that touch. */
static void sid_settle(struct gtid_sid *sid)
{
    if (in_order(sid)) {
        return;
    }
    qsort(sid->at, sid->count, sizeof *sid->at, compare_intervals);
    size_t kept = 0;
    for (size_t i = 1; i < sid->count; i++) {
        if (sid->at[i].start <= sid->at[kept].end) {
            if (sid->at[i].end > sid->at[kept].end) {
                sid->at[kept].end = sid->at[i].end;
            }
        } else {
            sid->at[++kept] = sid->at[i];
        }
    }
    sid->count = kept + 1;
}

/* Sorts the sids, joins equal ones, drops those with nothing in them, and counts. */
static void set_settle(struct gtid_set *set)
{
    if (set->sid_count) {
        qsort(set->sids, set->sid_count, sizeof *set->sids, compare_sids);
    }
    size_t kept = 0;
    for (size_t i = 0; i < set->sid_count; i++) {
        struct gtid_sid *sid = &set->sids[i];
        if (!sid->count) {
            mem_free(sid->at);
        } else if (kept && !compare_sids(&set->sids[kept - 1], sid)) {
            for (size_t k = 0; k < sid->count; k++) {
                sid_push(&set->sids[kept - 1], sid->at[k].start, sid->at[k].end);
            }
            mem_free(sid->at);
        } else {
            set->sids[kept++] = *sid;
        }
    }
    set->sid_count = kept;
    set->total = 0;
    for (size_t i = 0; i < kept; i++) {
        sid_settle(&set->sids[i]);
        set->total += set->sids[i].count;
    }
}

/* ---- one set ------------------------------------------------------------------------------------------- */

static void mysql_clear(struct gtid_set *set)
{
    for (size_t i = 0; i < set->sid_count; i++) {
        mem_free(set->sids[i].at);
    }
    mem_free(set->sids);
    *set = (struct gtid_set){.flavour = FLAVOUR_MYSQL};
}

static void sid_append_copy(struct gtid_set *to, const struct gtid_sid *from)
{
    gtid_grow(&to->sids, to->sid_count, &to->sid_cap, sizeof *to->sids);
    struct gtid_sid *sid = &to->sids[to->sid_count++];
    *sid = *from;
    sid->at = mem_dup(from->at, from->count * sizeof *from->at);
    sid->cap = sid->count;
    to->total += sid->count;
}

static void mysql_copy(struct gtid_set *to, const struct gtid_set *from)
{
    for (size_t i = 0; i < from->sid_count; i++) {
        sid_append_copy(to, &from->sids[i]);
    }
}

static bool mysql_equal(const struct gtid_set *a, const struct gtid_set *b)
{
    if (a->sid_count != b->sid_count) {
        return false;
    }
    for (size_t i = 0; i < a->sid_count; i++) {
        const struct gtid_sid *x = &a->sids[i], *y = &b->sids[i];
        if (compare_sids(x, y) || x->count != y->count || memcmp(x->at, y->at, x->count * sizeof *x->at)) {
            return false;
        }
    }
    return true;
}

static uint64_t mysql_count(const struct gtid_set *set)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < set->sid_count; i++) {
        for (size_t k = 0; k < set->sids[i].count; k++) {
            uint64_t n = set->sids[i].at[k].end - set->sids[i].at[k].start;
            if (n > UINT64_MAX - sum) {
                return UINT64_MAX;
            }
            sum += n;
        }
    }
    return sum;
}

/* Adds one number to sorted intervals: extend, join or insert. */
static void sid_add(struct gtid_set *set, struct gtid_sid *sid, uint64_t n)
{
    size_t at = interval_place(sid, n);
    struct gtid_interval *here = at < sid->count ? &sid->at[at] : NULL;
    if (!here || n + 1 < here->start) {
        sid_push(sid, 0, 0);
        memmove(&sid->at[at + 1], &sid->at[at], (sid->count - 1 - at) * sizeof *sid->at);
        sid->at[at] = (struct gtid_interval){n, n + 1};
        set->total++;
    } else if (n + 1 == here->start) {
        here->start = n;
    } else if (n == here->end) {
        here->end = n + 1;
        if (at + 1 < sid->count && here[1].start == here->end) {
            here->end = here[1].end;
            memmove(here + 1, here + 2, (sid->count - at - 2) * sizeof *here);
            sid->count--;
            set->total--;
        }
    }
}

bool gtid_possible(const struct gtid *gtid)
{
    switch (gtid->flavour) {
    case FLAVOUR_MYSQL:
        return gtid->gno > 0 && gtid->gno <= GTID_GNO_MAX && (!gtid->tag[0] || gtid_tag_ok(gtid->tag));
    case FLAVOUR_MARIADB:
        return true;
    case FLAVOUR_NONE:
        return false;
    }
    return false;
}

static int mysql_add(struct gtid_set *set, const struct gtid *gtid)
{
    if (!gtid_possible(gtid)) {
        return E_INVALID;
    }
    if (set->total >= GTID_SET_MAX) {
        return E_TOOBIG;
    }
    struct gtid_sid key;
    bool found;
    sid_name(&key, gtid->uuid, gtid->tag);
    size_t at = sid_place(set, &key, &found);
    sid_add(set, found ? &set->sids[at] : sid_insert(set, at, &key), gtid->gno);
    return 0;
}

static bool mysql_contains(const struct gtid_set *set, const struct gtid *gtid)
{
    const struct gtid_sid *sid = sid_find(set, gtid);
    if (!sid || gtid->gno == UINT64_MAX) {
        return false;
    }
    size_t at = interval_place(sid, gtid->gno + 1);
    return at < sid->count && sid->at[at].start <= gtid->gno;
}

/* ---- two sets ------------------------------------------------------------------------------------------ */

/* Writes what is in a or in b to `out`, which is empty. Starts ascend, so only the last interval can be
 * joined. */
static void intervals_unite(struct gtid_sid *out, const struct gtid_sid *a, const struct gtid_sid *b)
{
    size_t i = 0, k = 0;
    while (i < a->count || k < b->count) {
        bool from_a = k == b->count || (i < a->count && a->at[i].start <= b->at[k].start);
        struct gtid_interval next = from_a ? a->at[i++] : b->at[k++];
        struct gtid_interval *last = out->count ? &out->at[out->count - 1] : NULL;
        if (last && next.start <= last->end) {
            last->end = next.end > last->end ? next.end : last->end;
        } else {
            sid_push(out, next.start, next.end);
        }
    }
}

static int mysql_unite(struct gtid_set *to, const struct gtid_set *other)
{
    if (other->total > GTID_SET_MAX - to->total) {
        return E_TOOBIG; /* what overlaps counts twice */
    }
    struct gtid_set added = {.flavour = FLAVOUR_MYSQL};
    for (size_t i = 0; i < other->sid_count; i++) {
        bool found;
        size_t at = sid_place(to, &other->sids[i], &found);
        if (found) {
            struct gtid_sid *sid = &to->sids[at];
            struct gtid_sid both = *sid;
            both.at = NULL;
            both.count = both.cap = 0;
            intervals_unite(&both, sid, &other->sids[i]);
            mem_free(sid->at);
            *sid = both;
        } else {
            sid_append_copy(&added, &other->sids[i]);
        }
    }
    for (size_t i = 0; i < added.sid_count; i++) {
        sid_insert(to, to->sid_count, &added.sids[i]); /* with its intervals */
    }
    mem_free(added.sids);
    set_settle(to);
    return 0;
}

/* Writes what is in a and not in b to `out`, which is empty. */
static void intervals_subtract(struct gtid_sid *out, const struct gtid_sid *a, const struct gtid_sid *b)
{
    size_t k = 0;
    for (size_t i = 0; i < a->count; i++) {
        uint64_t start = a->at[i].start;
        uint64_t end = a->at[i].end;
        while (k < b->count && b->at[k].end <= start) {
            k++;
        }
        for (size_t j = k; j < b->count && b->at[j].start < end && start < end; j++) {
            if (b->at[j].start > start) {
                sid_push(out, start, b->at[j].start);
            }
            start = b->at[j].end;
            k = j;
        }
        if (start < end) {
            sid_push(out, start, end);
        }
    }
}

static void intervals_intersect(struct gtid_sid *out, const struct gtid_sid *a, const struct gtid_sid *b)
{
    size_t i = 0, k = 0;
    while (i < a->count && k < b->count) {
        uint64_t start = a->at[i].start > b->at[k].start ? a->at[i].start : b->at[k].start;
        uint64_t end = a->at[i].end < b->at[k].end ? a->at[i].end : b->at[k].end;
        if (start < end) {
            sid_push(out, start, end);
        }
        if (a->at[i].end < b->at[k].end) {
            i++;
        } else {
            k++;
        }
    }
}

/* Replaces each sid's intervals by what `combine` makes of them and other's (none where it lacks the sid). */
static void combine_with(struct gtid_set *to, const struct gtid_set *other,
                         void (*combine)(struct gtid_sid *, const struct gtid_sid *, const struct gtid_sid *))
{
    static const struct gtid_sid none;
    for (size_t i = 0; i < to->sid_count; i++) {
        struct gtid_sid *sid = &to->sids[i];
        struct gtid_sid made = *sid;
        bool found;
        size_t at = sid_place(other, sid, &found);
        made.at = NULL;
        made.count = made.cap = 0;
        combine(&made, sid, found ? &other->sids[at] : &none);
        mem_free(sid->at);
        *sid = made;
    }
    set_settle(to);
}

static void mysql_subtract(struct gtid_set *to, const struct gtid_set *other)
{
    combine_with(to, other, intervals_subtract);
}

static void mysql_intersect(struct gtid_set *to, const struct gtid_set *other)
{
    combine_with(to, other, intervals_intersect);
}

/* Tags sort behind their uuid without one. */
static void mysql_keep_related(struct gtid_set *set, const struct gtid_set *other)
{
    for (size_t i = 0; i < set->sid_count; i++) {
        struct gtid_sid key;
        bool found;
        sid_name(&key, set->sids[i].uuid, "");
        size_t at = sid_place(other, &key, &found);
        if (at == other->sid_count || memcmp(other->sids[at].uuid, key.uuid, sizeof key.uuid) != 0) {
            set->sids[i].count = 0;
        }
    }
    set_settle(set);
}

static bool intervals_within(const struct gtid_sid *a, const struct gtid_sid *b)
{
    size_t k = 0;
    for (size_t i = 0; i < a->count; i++) {
        while (k < b->count && b->at[k].end < a->at[i].end) {
            k++;
        }
        if (k == b->count || b->at[k].start > a->at[i].start) {
            return false;
        }
    }
    return true;
}

static bool mysql_subset(const struct gtid_set *a, const struct gtid_set *b)
{
    for (size_t i = 0; i < a->sid_count; i++) {
        bool found;
        size_t at = sid_place(b, &a->sids[i], &found);
        if (!found || !intervals_within(&a->sids[i], &b->sids[at])) {
            return false;
        }
    }
    return true;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

/* After the uuid: ":1-3 : tag : 5 …" up to a comma or the end. */
static int parse_intervals(struct gtid_set *set, struct cur *c, const uint8_t uuid[16])
{
    char tag[GTID_TAG_MAX + 1] = "";
    struct gtid_sid key, *sid = NULL;
    while (cur_peek_u8(c) == ':') {
        uint64_t first, last;
        cur_skip(c, 1);
        gtid_skip_blanks(c);
        if (cur_peek_u8(c) < '0' || cur_peek_u8(c) > '9') {
            if (!gtid_read_tag(c, tag)) {
                return E_INVALID;
            }
            gtid_skip_blanks(c);
            if (cur_peek_u8(c) != ':') {
                return E_INVALID; /* a tag without a number */
            }
            sid = NULL;
            continue;
        }
        if (!gtid_read_number(c, GTID_GNO_MAX, &first)) {
            return E_INVALID;
        }
        last = first;
        gtid_skip_blanks(c);
        if (cur_peek_u8(c) == '-') {
            cur_skip(c, 1);
            gtid_skip_blanks(c);
            if (!gtid_read_number(c, GTID_GNO_MAX, &last)) {
                return E_INVALID;
            }
            gtid_skip_blanks(c);
        }
        if (first == 0 || last < first) {
            return E_INVALID;
        }
        if (!sid) {
            sid_name(&key, uuid, tag);
            sid = sid_insert(set, set->sid_count, &key);
        }
        if (set->total++ >= GTID_SET_MAX) {
            return E_TOOBIG;
        }
        sid_push(sid, first, last + 1);
    }
    return 0;
}

static int mysql_parse(struct gtid_set *set, struct cur *c, struct errmsg *em)
{
    gtid_skip_blanks(c);
    while (cur_left(c)) {
        uint8_t uuid[16];
        if (!gtid_read_uuid(c, uuid)) {
            return E_INVALID;
        }
        gtid_skip_blanks(c);
        if (cur_peek_u8(c) != ':') {
            return E_INVALID;
        }
        int rc = parse_intervals(set, c, uuid);
        if (rc) {
            return rc == E_TOOBIG ? err_set(em, rc, "GTID set of more than %d intervals", GTID_SET_MAX) : rc;
        }
        if (!cur_left(c)) {
            break;
        }
        if (cur_u8(c) != ',') {
            return E_INVALID;
        }
        gtid_skip_blanks(c); /* a comma at the very end is fine, as it is for MySQL */
    }
    set_settle(set);
    return 0;
}

static void mysql_print(const struct gtid_set *set, struct buf *out)
{
    for (size_t i = 0; i < set->sid_count; i++) {
        const struct gtid_sid *sid = &set->sids[i];
        if (!i || memcmp(sid->uuid, sid[-1].uuid, sizeof sid->uuid)) {
            char uuid[UUID_TEXT_SIZE];
            uuid_text(sid->uuid, uuid);
            buf_printf(out, "%s%s", i ? "," : "", uuid);
        }
        if (sid->tag[0]) {
            buf_printf(out, ":%s", sid->tag);
        }
        for (size_t k = 0; k < sid->count; k++) {
            buf_printf(out, ":%" PRIu64, sid->at[k].start);
            if (sid->at[k].end - sid->at[k].start > 1) {
                buf_printf(out, "-%" PRIu64, sid->at[k].end - 1);
            }
        }
    }
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

enum { TAGGED_FORMAT = 1, SID_MIN_UNTAGGED = 24, SID_MIN_TAGGED = 25, INTERVAL_SIZE = 16 };

static bool has_tags(const struct gtid_set *set)
{
    for (size_t i = 0; i < set->sid_count; i++) {
        if (set->sids[i].tag[0]) {
            return true;
        }
    }
    return false;
}

static void mysql_encode(const struct gtid_set *set, struct buf *out)
{
    bool tagged = has_tags(set);
    if (tagged) {
        buf_u8(out, TAGGED_FORMAT);
        buf_u48(out, set->sid_count);
        buf_u8(out, TAGGED_FORMAT);
    } else {
        buf_u64(out, set->sid_count);
    }
    for (size_t i = 0; i < set->sid_count; i++) {
        const struct gtid_sid *sid = &set->sids[i];
        buf_bytes(out, sid->uuid, sizeof sid->uuid);
        if (tagged) {
            gtid_write_varint(out, strlen(sid->tag));
            buf_str(out, sid->tag);
        }
        buf_u64(out, sid->count);
        for (size_t k = 0; k < sid->count; k++) {
            buf_u64(out, sid->at[k].start);
            buf_u64(out, sid->at[k].end);
        }
    }
}

/* One sid with its intervals, pushed at the end of `set` if it has any. */
static int decode_sid(struct gtid_set *set, struct cur *c, bool tagged)
{
    struct gtid_sid key = {.at = NULL};
    cur_copy(c, key.uuid, sizeof key.uuid);
    if (tagged) {
        uint64_t tag_len = gtid_read_varint(c);
        cur_text(c, tag_len, key.tag, sizeof key.tag);
        if (key.tag[0] && !gtid_tag_ok(key.tag)) {
            return E_MALFORMED;
        }
    }
    uint64_t count = cur_u64(c);
    if (!cur_ok(c) || count > cur_left(c) / INTERVAL_SIZE) {
        return E_MALFORMED;
    }
    if (count > GTID_SET_MAX - set->total) {
        return E_TOOBIG;
    }
    if (!count) {
        return 0;
    }
    struct gtid_sid *sid = sid_insert(set, set->sid_count, &key);
    uint64_t last = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = cur_u64(c);
        uint64_t end = cur_u64(c);
        if (start <= last || end <= start || end > (uint64_t)INT64_MAX) {
            return E_MALFORMED;
        }
        sid_push(sid, start, end);
        last = end;
    }
    set->total += (size_t)count;
    return 0;
}

static int mysql_decode(struct gtid_set *set, struct cur *c, struct errmsg *em)
{
    uint64_t head = cur_u64(c);
    bool tagged = head >> 56 == TAGGED_FORMAT;
    uint64_t count = tagged ? head >> 8 & UINT64_C(0xffffffffffff) : head;
    if (!cur_ok(c) || (tagged && (head & 0xff) != TAGGED_FORMAT) ||
        count > cur_left(c) / (tagged ? SID_MIN_TAGGED : SID_MIN_UNTAGGED)) {
        return err_set(em, E_MALFORMED, "malformed GTID set encoding");
    }
    for (uint64_t i = 0; i < count; i++) {
        int rc = decode_sid(set, c, tagged);
        if (rc == E_TOOBIG) {
            return err_set(em, rc, "GTID set of more than %d intervals", GTID_SET_MAX);
        }
        if (rc) {
            return err_set(em, rc, "malformed GTID set encoding");
        }
    }
    set_settle(set);
    return 0;
}

const struct gtid_set_ops gtid_mysql_ops = {
    .clear = mysql_clear,
    .copy = mysql_copy,
    .equal = mysql_equal,
    .count = mysql_count,
    .add = mysql_add,
    .contains = mysql_contains,
    .unite = mysql_unite,
    .subtract = mysql_subtract,
    .intersect = mysql_intersect,
    .keep_related = mysql_keep_related,
    .subset = mysql_subset,
    .parse = mysql_parse,
    .print = mysql_print,
    .print_position = mysql_print,
    .encode = mysql_encode,
    .decode = mysql_decode,
};
