/* gtid_lack.c: see gtid_lack.h. */
#include "protocol/gtid_lack.h"

#include <inttypes.h>

/* In this domain the server stood at the very end of what is held. */
static bool applied_all(const struct gtid_set *held, const struct gtid_set *applied, uint32_t domain)
{
    struct gtid end, at;
    return applied && gtid_set_newest(held, domain, &end) && gtid_set_newest(applied, domain, &at) && gtid_equal(&end, &at);
}

struct gtid_set *gtid_lacking(const struct gtid_set *held, const struct gtid_set *has, const struct gtid_set *applied)
{
    struct gtid_set *lacking = gtid_set_copy(held);
    struct gtid pair;
    size_t at = 0;
    (void)gtid_set_subtract(lacking, has); /* another flavour: all of it */
    if (gtid_set_flavour(held) != FLAVOUR_MARIADB || !applied) {
        return lacking;
    }
    struct gtid_set *left = gtid_set_new(FLAVOUR_MARIADB);
    while (gtid_set_next(lacking, &at, &pair, NULL)) {
        if (!applied_all(held, applied, pair.domain)) {
            (void)gtid_set_add(left, &pair); /* one that was in a set */
        }
    }
    gtid_set_free(lacking);
    return left;
}

/* The first number of the pair that is lacking. The servers of a domain count on from each other: one that we know nothing of began
 * behind the others. */
static uint64_t first_lacking(const struct gtid_set *has, const struct gtid *pair)
{
    struct gtid other;
    uint64_t before = 0;
    size_t at = 0;
    if (gtid_set_last(has, pair->domain, pair->server, &other) && other.gno < pair->gno) {
        return other.gno + 1;
    }
    while (gtid_set_next(has, &at, &other, NULL)) {
        if (other.domain == pair->domain && other.gno < pair->gno && other.gno > before) {
            before = other.gno;
        }
    }
    return before + 1;
}

uint64_t gtid_lacking_count(const struct gtid_set *lacking, const struct gtid_set *has)
{
    struct gtid pair;
    uint64_t n = 0;
    size_t at = 0;
    if (gtid_set_flavour(lacking) != FLAVOUR_MARIADB) {
        return gtid_set_count(lacking);
    }
    while (gtid_set_next(lacking, &at, &pair, NULL)) {
        uint64_t more = pair.gno - first_lacking(has, &pair) + 1;
        n = more > UINT64_MAX - n ? UINT64_MAX : n + more;
    }
    return n;
}

static void print_pairs(const struct gtid_set *lacking, const struct gtid_set *has, struct buf *out)
{
    struct gtid pair;
    size_t at = 0;
    const char *comma = "";
    while (gtid_set_next(lacking, &at, &pair, NULL)) {
        uint64_t first = first_lacking(has, &pair);
        buf_str(out, comma);
        if (first < pair.gno) {
            buf_printf(out, "%" PRIu32 "-%" PRIu32 "-%" PRIu64 " to ", pair.domain, pair.server, first);
        }
        buf_printf(out, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, pair.domain, pair.server, pair.gno);
        comma = ", ";
    }
}

void gtid_lacking_print(const struct gtid_set *lacking, const struct gtid_set *has, size_t max, struct buf *out)
{
    struct buf text;
    buf_init(&text, 1u << 30);
    if (gtid_set_flavour(lacking) == FLAVOUR_MARIADB) {
        print_pairs(lacking, has, &text);
    } else {
        gtid_set_print(lacking, &text);
    }
    buf_bytes(out, text.data, text.len < max ? text.len : max);
    if (text.len > max) {
        buf_str(out, "...");
    }
    buf_free(&text);
}
