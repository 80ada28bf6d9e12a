/* gtid_mariadb.c: MariaDB's GTID state: the last number of each (domain, server), and which server's came
 * last in each domain.
 *
 * Happy path: transactions come one after the other and add finds their pair by binary search. States from
 * text or bytes are put in order once, at the end. Failure: GTID_SET_MAX pairs is the most, E_TOOBIG beyond;
 * what cannot be read leaves an empty state. */
#include "protocol/gtid_set.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_COUNT_BITS = 28, LIST_ENTRY_SIZE = 16, LIST_EMPTY_PADDING = 2 };

/* ---- finding ------------------------------------------------------------------------------------------- */

static int compare_key(const struct gtid_pair *pair, uint32_t domain, uint32_t server)
{
    if (pair->domain != domain) {
        return pair->domain < domain ? -1 : 1;
    }
    return pair->server < server ? -1 : pair->server > server;
}

/* The first pair that is not before (domain, server). */
static size_t pair_place(const struct gtid_set *set, uint32_t domain, uint32_t server)
{
    size_t low = 0, high = set->total;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_key(&set->pairs[middle], domain, server) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct gtid_pair *pair_find(const struct gtid_set *set, uint32_t domain, uint32_t server)
{
    size_t at = pair_place(set, domain, server);
    return at < set->total && !compare_key(&set->pairs[at], domain, server) ? &set->pairs[at] : NULL;
}

static size_t domain_place(const struct gtid_set *set, uint32_t domain)
{
    size_t low = 0, high = set->domain_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->domains[middle].domain < domain) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct gtid_domain *domain_find(const struct gtid_set *set, uint32_t domain)
{
    size_t at = domain_place(set, domain);
    return at < set->domain_count && set->domains[at].domain == domain ? &set->domains[at] : NULL;
}

static void gtid_of(const struct gtid_pair *pair, struct gtid *gtid)
{
    *gtid = (struct gtid){
        .flavour = FLAVOUR_MARIADB, .domain = pair->domain, .server = pair->server, .gno = pair->seq};
}

/* ---- one state ----------------------------------------------------------------------------------------- */

static void mariadb_clear(struct gtid_set *set)
{
    mem_free(set->pairs);
    mem_free(set->domains);
    *set = (struct gtid_set){.flavour = FLAVOUR_MARIADB};
}

static void mariadb_copy(struct gtid_set *to, const struct gtid_set *from)
{
    if (from->total) {
        to->pairs = mem_dup(from->pairs, from->total * sizeof *from->pairs);
        to->domains = mem_dup(from->domains, from->domain_count * sizeof *from->domains);
        to->total = to->pair_cap = from->total;
        to->domain_count = to->domain_cap = from->domain_count;
    }
}

static bool mariadb_equal(const struct gtid_set *a, const struct gtid_set *b)
{
    if (a->domain_count != b->domain_count) {
        return false;
    }
    for (size_t i = 0; i < a->total; i++) {
        const struct gtid_pair *x = &a->pairs[i], *y = &b->pairs[i];
        if (compare_key(x, y->domain, y->server) || x->seq != y->seq) {
            return false;
        }
    }
    for (size_t i = 0; i < a->domain_count; i++) {
        if (a->domains[i].domain != b->domains[i].domain || a->domains[i].newest != b->domains[i].newest) {
            return false;
        }
    }
    return true;
}

static uint64_t mariadb_count(const struct gtid_set *set)
{
    return set->total;
}

static void domain_set_newest(struct gtid_set *set, uint32_t domain, uint32_t server)
{
    size_t at = domain_place(set, domain);
    if (at == set->domain_count || set->domains[at].domain != domain) {
        gtid_grow(&set->domains, set->domain_count, &set->domain_cap, sizeof *set->domains);
        memmove(&set->domains[at + 1], &set->domains[at], (set->domain_count - at) * sizeof *set->domains);
        set->domains[at].domain = domain;
        set->domain_count++;
    }
    set->domains[at].newest = server;
}

static int mariadb_add(struct gtid_set *set, const struct gtid *gtid)
{
    size_t at = pair_place(set, gtid->domain, gtid->server);
    if (at == set->total || compare_key(&set->pairs[at], gtid->domain, gtid->server)) {
        if (set->total >= GTID_SET_MAX) {
            return E_TOOBIG;
        }
        gtid_grow(&set->pairs, set->total, &set->pair_cap, sizeof *set->pairs);
        memmove(&set->pairs[at + 1], &set->pairs[at], (set->total - at) * sizeof *set->pairs);
        set->pairs[at] = (struct gtid_pair){gtid->domain, gtid->server, gtid->gno};
        set->total++;
    } else { /* the last, not the highest: as a server's own binlog state, which a number that goes back changes too */
        set->pairs[at].seq = gtid->gno;
    }
    domain_set_newest(set, gtid->domain, gtid->server);
    return 0;
}

static bool mariadb_contains(const struct gtid_set *set, const struct gtid *gtid)
{
    const struct gtid_pair *pair = pair_find(set, gtid->domain, gtid->server);
    return pair && pair->seq >= gtid->gno;
}

bool gtid_set_newest(const struct gtid_set *set, uint32_t domain, struct gtid *gtid)
{
    const struct gtid_domain *d = set->flavour == FLAVOUR_MARIADB ? domain_find(set, domain) : NULL;
    if (!d) {
        return false;
    }
    const struct gtid_pair *pair = pair_find(set, domain, d->newest);
    CHECK(pair);
    gtid_of(pair, gtid);
    return true;
}

bool gtid_set_last(const struct gtid_set *set, uint32_t domain, uint32_t server, struct gtid *gtid)
{
    const struct gtid_pair *pair = set->flavour == FLAVOUR_MARIADB ? pair_find(set, domain, server) : NULL;
    if (pair) {
        gtid_of(pair, gtid);
    }
    return pair;
}

/* The pairs of a domain stand together, sorted by server; the newest is taken out of its place and comes
 * last. */
bool gtid_set_next(const struct gtid_set *set, size_t *at, struct gtid *gtid, bool *newest)
{
    if (set->flavour != FLAVOUR_MARIADB || *at >= set->total) {
        return false;
    }
    size_t i = (*at)++;
    uint32_t domain = set->pairs[i].domain;
    const struct gtid_domain *d = domain_find(set, domain);
    CHECK(d);
    bool is_last = i + 1 == set->total || set->pairs[i + 1].domain != domain;
    if (is_last) {
        i = pair_place(set, domain, d->newest);
    } else if (set->pairs[i].server >= d->newest) {
        i++;
    }
    gtid_of(&set->pairs[i], gtid);
    if (newest) {
        *newest = is_last;
    }
    return true;
}

/* ---- two states ---------------------------------------------------------------------------------------- */

/* After pairs were dropped: forgets domains without pairs, and finds a new newest where that pair is gone. */
static void domains_settle(struct gtid_set *set)
{
    size_t kept = 0, from = 0;
    for (size_t i = 0; i < set->domain_count; i++) {
        struct gtid_domain d = set->domains[i];
        const struct gtid_pair *highest = NULL;
        bool has_newest = false;
        for (; from < set->total && set->pairs[from].domain == d.domain; from++) {
            has_newest |= set->pairs[from].server == d.newest;
            if (!highest || set->pairs[from].seq > highest->seq) {
                highest = &set->pairs[from];
            }
        }
        if (highest) {
            d.newest = has_newest ? d.newest : highest->server;
            set->domains[kept++] = d;
        }
    }
    set->domain_count = kept;
}

/* The pairs of both in one sorted array. */
static void merge_pairs(struct gtid_set *to, const struct gtid_set *other)
{
    size_t cap = to->total + other->total;
    struct gtid_pair *all = mem_array(cap, sizeof *all);
    size_t n = 0, i = 0, k = 0;
    while (i < to->total || k < other->total) {
        int order = i == to->total ? 1
                    : k == other->total
                        ? -1
                        : compare_key(&to->pairs[i], other->pairs[k].domain, other->pairs[k].server);
        all[n] = order <= 0 ? to->pairs[i] : other->pairs[k];
        if (order == 0 && other->pairs[k].seq > all[n].seq) {
            all[n].seq = other->pairs[k].seq;
        }
        i += order <= 0;
        k += order >= 0;
        n++;
    }
    mem_free(to->pairs);
    to->pairs = all;
    to->pair_cap = cap;
    to->total = n;
}

static int mariadb_unite(struct gtid_set *to, const struct gtid_set *other)
{
    if (other->total > GTID_SET_MAX - to->total) {
        return E_TOOBIG;
    }
    /* Domain by domain, while `to` still is what it was. */
    for (size_t i = 0; i < other->domain_count; i++) {
        struct gtid newest;
        CHECK(gtid_set_newest(other, other->domains[i].domain, &newest));
        if (!mariadb_contains(to, &newest)) {
            domain_set_newest(to, newest.domain, newest.server);
        }
    }
    merge_pairs(to, other);
    return 0;
}

static void mariadb_subtract(struct gtid_set *to, const struct gtid_set *other)
{
    size_t kept = 0;
    for (size_t i = 0; i < to->total; i++) {
        const struct gtid_pair *theirs = pair_find(other, to->pairs[i].domain, to->pairs[i].server);
        if (!theirs || theirs->seq < to->pairs[i].seq) {
            to->pairs[kept++] = to->pairs[i];
        }
    }
    to->total = kept;
    domains_settle(to);
}

static void mariadb_intersect(struct gtid_set *to, const struct gtid_set *other)
{
    size_t kept = 0;
    for (size_t i = 0; i < to->total; i++) {
        const struct gtid_pair *theirs = pair_find(other, to->pairs[i].domain, to->pairs[i].server);
        if (theirs) {
            struct gtid_pair pair = to->pairs[i];
            pair.seq = theirs->seq < pair.seq ? theirs->seq : pair.seq;
            to->pairs[kept++] = pair;
        }
    }
    to->total = kept;
    domains_settle(to);
}

static void mariadb_keep_related(struct gtid_set *set, const struct gtid_set *other)
{
    struct gtid newest;
    size_t kept = 0;
    for (size_t i = 0; i < set->total; i++) {
        if (gtid_set_newest(other, set->pairs[i].domain, &newest)) {
            set->pairs[kept++] = set->pairs[i];
        }
    }
    set->total = kept;
    domains_settle(set);
}

static bool mariadb_subset(const struct gtid_set *a, const struct gtid_set *b)
{
    for (size_t i = 0; i < a->total; i++) {
        const struct gtid_pair *theirs = pair_find(b, a->pairs[i].domain, a->pairs[i].server);
        if (!theirs || theirs->seq < a->pairs[i].seq) {
            return false;
        }
    }
    return true;
}

bool gtid_set_within_position(const struct gtid_set *state, const struct gtid_set *position)
{
    if (state->flavour != FLAVOUR_MARIADB || position->flavour != FLAVOUR_MARIADB) {
        return false;
    }
    for (size_t i = 0; i < state->domain_count; i++) {
        const struct gtid_domain *d = &state->domains[i];
        struct gtid wanted;
        if (!gtid_set_newest(position, d->domain, &wanted)) {
            return false; /* it has nothing of this domain */
        }
        if (mariadb_contains(state, &wanted)) {
            const struct gtid_pair *pair = pair_find(state, wanted.domain, wanted.server);
            if (pair->seq != wanted.gno || d->newest != wanted.server) {
                return false; /* others of the domain came between it and the end of `state` */
            }
        }
    }
    return true;
}

/* ---- reading and writing ------------------------------------------------------------------------------- */

/* A pair as it was listed: the place in the list decides which is the newest. */
struct listed {
    struct gtid_pair pair;
    size_t place;
};

static int compare_listed(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    int order = compare_key(&x->pair, y->pair.domain, y->pair.server);
    return order ? order : x->place < y->place ? -1 : x->place > y->place;
}

/* Makes the state of a list in any order. */
static void take_list(struct gtid_set *set, struct listed *list, size_t count)
{
    if (!count) {
        return;
    }
    qsort(list, count, sizeof *list, compare_listed);
    set->pairs = mem_array(count, sizeof *set->pairs);
    set->pair_cap = count;
    size_t newest_place = 0;
    for (size_t i = 0; i < count; i++) {
        const struct gtid_pair *pair = &list[i].pair;
        struct gtid_pair *last = set->total ? &set->pairs[set->total - 1] : NULL;
        if (last && !compare_key(last, pair->domain, pair->server)) {
            last->seq = pair->seq > last->seq ? pair->seq : last->seq;
        } else {
            set->pairs[set->total++] = *pair;
        }
        if (!i || pair->domain != list[i - 1].pair.domain || list[i].place > newest_place) {
            newest_place = list[i].place;
            domain_set_newest(set, pair->domain,
                              pair->server); /* domains ascend: appends or changes the last */
        }
    }
}

static int mariadb_parse(struct gtid_set *set, struct cur *c, struct errmsg *em)
{
    struct listed *list = NULL;
    size_t count = 0, cap = 0;
    int rc = 0;
    gtid_skip_blanks(c);
    while (!rc && cur_left(c)) {
        struct gtid_pair pair;
        if (!gtid_read_mariadb(c, &pair)) {
            rc = E_INVALID;
        } else if (count >= GTID_SET_MAX) {
            rc = err_set(em, E_TOOBIG, "GTID state of more than %d pairs", GTID_SET_MAX);
        } else {
            gtid_grow(&list, count, &cap, sizeof *list);
            list[count] = (struct listed){pair, count};
            count++;
            gtid_skip_blanks(c);
            if (cur_left(c)) {
                rc = cur_u8(c) == ',' ? 0 : E_INVALID;
                gtid_skip_blanks(c);
                rc = cur_left(c) ? rc : E_INVALID; /* nothing behind the comma */
            }
        }
    }
    if (!rc) {
        take_list(set, list, count);
    }
    mem_free(list);
    return rc;
}

static void print_pairs(const struct gtid_set *set, bool newest_only, struct buf *out)
{
    struct gtid gtid;
    bool newest, first = true;
    for (size_t at = 0; gtid_set_next(set, &at, &gtid, &newest);) {
        if (newest || !newest_only) {
            buf_printf(out, "%s%" PRIu32 "-%" PRIu32 "-%" PRIu64, first ? "" : ",", gtid.domain, gtid.server,
                       gtid.gno);
            first = false;
        }
    }
}

static void mariadb_print(const struct gtid_set *set, struct buf *out)
{
    print_pairs(set, false, out);
}

static void mariadb_print_position(const struct gtid_set *set, struct buf *out)
{
    print_pairs(set, true, out);
}

static void mariadb_encode(const struct gtid_set *set, struct buf *out)
{
    struct gtid gtid;
    buf_u32(out, (uint32_t)set->total);
    for (size_t at = 0; gtid_set_next(set, &at, &gtid, NULL);) {
        buf_u32(out, gtid.domain);
        buf_u32(out, gtid.server);
        buf_u64(out, gtid.gno);
    }
    if (!set->total) {
        buf_zero(out, LIST_EMPTY_PADDING);
    }
}

static int mariadb_decode(struct gtid_set *set, struct cur *c, struct errmsg *em)
{
    uint32_t count = cur_u32(c) & ((UINT32_C(1) << LIST_COUNT_BITS) - 1);
    if (!cur_ok(c) || count > cur_left(c) / LIST_ENTRY_SIZE) {
        return err_set(em, E_MALFORMED, "malformed GTID list");
    }
    if (count > GTID_SET_MAX) {
        return err_set(em, E_TOOBIG, "GTID state of more than %d pairs", GTID_SET_MAX);
    }
    if (!count) {
        cur_skip(c, cur_left(c) == LIST_EMPTY_PADDING ? LIST_EMPTY_PADDING : 0);
        return 0;
    }
    struct listed *list = mem_array(count, sizeof *list);
    for (uint32_t i = 0; i < count; i++) {
        list[i].pair.domain = cur_u32(c);
        list[i].pair.server = cur_u32(c);
        list[i].pair.seq = cur_u64(c);
        list[i].place = i;
    }
    take_list(set, list, count);
    mem_free(list);
    return 0;
}

const struct gtid_set_ops gtid_mariadb_ops = {
    .clear = mariadb_clear,
    .copy = mariadb_copy,
    .equal = mariadb_equal,
    .count = mariadb_count,
    .add = mariadb_add,
    .contains = mariadb_contains,
    .unite = mariadb_unite,
    .subtract = mariadb_subtract,
    .intersect = mariadb_intersect,
    .keep_related = mariadb_keep_related,
    .subset = mariadb_subset,
    .parse = mariadb_parse,
    .print = mariadb_print,
    .print_position = mariadb_print_position,
    .encode = mariadb_encode,
    .decode = mariadb_decode,
};
