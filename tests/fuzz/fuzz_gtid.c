/* fuzz_gtid: GTIDs and sets of them.
 *
 * Input: flavour and forms (one byte), then two sets: the first with its length (two bytes) in front, each in
 * text or in bytes. Properties: what was read is printed and encoded so that it is read again as the same;
 * the operations keep the laws of sets (for states: those that gtid.h promises); what was made from n bytes
 * is never larger than n members. */
#include "protocol/gtid.h"
#include "tests/fuzz/fuzz.h"

enum { TEXT_MAX = 64 << 20 };

enum { MARIADB = 1, FIRST_BYTES = 2, SECOND_BYTES = 4 };

static struct gtid_set *read_set(enum flavour flavour, bool bytes, const uint8_t *p, size_t n)
{
    struct gtid_set *set = gtid_set_new(flavour);
    struct errmsg em = {.text = ""};
    uint8_t *exact = fuzz_exact(p, n);
    struct cur c = cur_of(exact, n);
    int rc = bytes ? gtid_set_decode(set, &c, &em) : gtid_set_parse(set, (const char *)exact, n, &em);
    MUST(rc == 0 || (gtid_set_is_empty(set) && em.text[0]));
    MUST(gtid_set_intervals(set) <= n);
    free(exact);
    return set;
}

static void check_text(const struct gtid_set *set)
{
    struct buf text, again;
    struct gtid_set *back = gtid_set_new(gtid_set_flavour(set));
    buf_init(&text, TEXT_MAX);
    buf_init(&again, TEXT_MAX);
    gtid_set_print(set, &text);
    MUST(!text.err);
    MUST(gtid_set_parse(back, buf_cstr(&text), text.len, NULL) == 0);
    MUST(gtid_set_equal(set, back));
    gtid_set_print(back, &again);
    MUST(text.len == again.len && !strcmp(buf_cstr(&text), buf_cstr(&again)));
    buf_reset(&text);
    gtid_set_print_position(set, &text);
    MUST(!text.err && gtid_set_parse(back, buf_cstr(&text), text.len, NULL) == 0);
    MUST(gtid_set_subset(back, set));
    buf_free(&text);
    buf_free(&again);
    gtid_set_free(back);
}

static void check_bytes(const struct gtid_set *set)
{
    struct buf bytes;
    struct gtid_set *back = gtid_set_new(gtid_set_flavour(set));
    buf_init(&bytes, TEXT_MAX);
    gtid_set_encode(set, &bytes);
    MUST(!bytes.err);
    uint8_t *exact = fuzz_exact(bytes.data, bytes.len);
    struct cur c = cur_of(exact, bytes.len);
    MUST(gtid_set_decode(back, &c, NULL) == 0 && cur_done(&c));
    MUST(gtid_set_equal(set, back));
    free(exact);
    buf_free(&bytes);
    gtid_set_free(back);
}

/* Each pair of a state: found again, as a GTID of its own too. */
static void check_members(const struct gtid_set *set)
{
    struct gtid gtid, other;
    char text[GTID_TEXT_SIZE];
    size_t at = 0, n = 0;
    bool newest;
    if (gtid_set_flavour(set) != FLAVOUR_MARIADB) {
        return;
    }
    while (gtid_set_next(set, &at, &gtid, &newest)) {
        MUST(gtid_set_contains(set, &gtid));
        MUST(gtid_set_last(set, gtid.domain, gtid.server, &other) && gtid_equal(&gtid, &other));
        MUST(gtid_set_newest(set, gtid.domain, &other) && (!newest || gtid_equal(&gtid, &other)));
        gtid_text(&gtid, text, sizeof text);
        MUST(gtid_parse(&other, FLAVOUR_MARIADB, text, NULL) == 0 && gtid_equal(&gtid, &other));
        n++;
    }
    MUST(n == gtid_set_intervals(set) && n == gtid_set_count(set));
}

static void check_one(const struct gtid_set *set)
{
    struct gtid_set *copy = gtid_set_copy(set);
    MUST(gtid_set_equal(copy, set) && gtid_set_subset(copy, set) && gtid_set_subset(set, copy));
    MUST(gtid_set_union(copy, set) == 0 && gtid_set_equal(copy, set));
    MUST(gtid_set_intersect(copy, set) == 0 && gtid_set_equal(copy, set));
    MUST(gtid_set_subtract(copy, set) == 0 && gtid_set_is_empty(copy));
    gtid_set_free(copy);
    check_text(set);
    check_bytes(set);
    check_members(set);
}

static void check_two(const struct gtid_set *a, const struct gtid_set *b)
{
    struct gtid_set *both = gtid_set_copy(a), *common = gtid_set_copy(a), *rest = gtid_set_copy(a);
    MUST(gtid_set_union(both, b) == 0 && gtid_set_intersect(common, b) == 0 &&
         gtid_set_subtract(rest, b) == 0);
    MUST(gtid_set_subset(a, both) && gtid_set_subset(b, both));
    MUST(gtid_set_subset(common, a) && gtid_set_subset(common, b) && gtid_set_subset(rest, a));
    MUST(gtid_set_subset(a, b) == gtid_set_is_empty(rest));
    check_text(both);
    check_bytes(common);
    check_text(rest);
    struct gtid_set *back = gtid_set_copy(rest);
    MUST(gtid_set_union(back, common) == 0 && gtid_set_subset(a, back) && gtid_set_subset(back, a));
    if (gtid_set_flavour(a) == FLAVOUR_MYSQL) {
        struct gtid_set *other = gtid_set_copy(b);
        MUST(gtid_set_equal(back, a));
        MUST(gtid_set_union(other, a) == 0 && gtid_set_equal(other, both));
        uint64_t total = gtid_set_count(both);
        if (total < UINT64_MAX / 4) {
            MUST(gtid_set_count(a) + gtid_set_count(b) == total + gtid_set_count(common));
            MUST(gtid_set_count(a) == gtid_set_count(rest) + gtid_set_count(common));
        }
        gtid_set_free(other);
    } else {
        (void)gtid_set_within_position(a, b);
    }
    gtid_set_free(back);
    gtid_set_free(both);
    gtid_set_free(common);
    gtid_set_free(rest);
}

static void check_single(enum flavour flavour, const uint8_t *p, size_t n)
{
    struct gtid gtid, again;
    char text[256], printed[GTID_TEXT_SIZE];
    n = n < sizeof text ? n : sizeof text - 1;
    memcpy(text, p, n);
    text[n] = '\0';
    if (gtid_parse(&gtid, flavour, text, NULL)) {
        return;
    }
    gtid_text(&gtid, printed, sizeof printed);
    MUST(gtid_parse(&again, flavour, printed, NULL) == 0 && gtid_equal(&gtid, &again));
    struct gtid_set *set = gtid_set_new(flavour);
    MUST(gtid_set_add(set, &gtid) == 0 && gtid_set_contains(set, &gtid) && gtid_set_count(set) == 1);
    check_one(set);
    gtid_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    unsigned flags = cur_u8(&in);
    enum flavour flavour = flags & MARIADB ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    size_t n, m;
    if (!size) {
        return 0;
    }
    const uint8_t *first = fuzz_piece(&in, &n);
    const uint8_t *second = cur_rest(&in, &m);
    struct gtid_set *a = read_set(flavour, flags & FIRST_BYTES, first, n);
    struct gtid_set *b = read_set(flavour, flags & SECOND_BYTES, second, m);
    check_one(a);
    check_one(b);
    check_two(a, b);
    check_two(b, a);
    check_single(flavour, first, n);
    gtid_set_free(a);
    gtid_set_free(b);
    return 0;
}
