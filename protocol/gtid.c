/* gtid.c: single GTIDs, what reading their text needs, and the common front of both kinds of sets.
 *
 * Happy path: gtid_set_add with each transaction that passes, print or encode when somebody asks. Failure:
 * operands of different flavours are E_INVALID (a caller mixed up two sources), text that cannot be read is
 * E_INVALID and says where. */
#include "protocol/gtid_set.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- reading text -------------------------------------------------------------------------------------- */

void gtid_grow(void *array, size_t count, size_t *cap, size_t size)
{
    if (count < *cap) {
        return;
    }
    void *p;
    memcpy(&p, array, sizeof p);
    *cap = *cap ? *cap * 2 : 4;
    p = mem_grow(p, *cap, size);
    memcpy(array, &p, sizeof p);
}

void gtid_skip_blanks(struct cur *c)
{
    while (cur_left(c) && (*c->p == ' ' || (*c->p >= '\t' && *c->p <= '\r'))) {
        cur_skip(c, 1);
    }
}

bool gtid_read_number(struct cur *c, uint64_t max, uint64_t *v)
{
    uint64_t n = 0;
    size_t digits = 0;
    while (cur_left(c) && *c->p >= '0' && *c->p <= '9') {
        uint64_t digit = (uint64_t)(*c->p - '0');
        if (n > max / 10 || digit > max - n * 10) {
            cur_fail(c);
            return false;
        }
        n = n * 10 + digit;
        digits++;
        cur_skip(c, 1);
    }
    if (!digits) {
        cur_fail(c);
    }
    *v = n;
    return digits > 0;
}

static int hex_value(uint8_t ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }
    return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

bool gtid_read_uuid(struct cur *c, uint8_t uuid[16])
{
    bool dashes = cur_left(c) > 8 && c->p[8] == '-';
    for (size_t i = 0; i < 16; i++) {
        if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) && cur_u8(c) != '-') {
            cur_fail(c);
        }
        int high = hex_value(cur_u8(c));
        int low = hex_value(cur_u8(c));
        if (high < 0 || low < 0) {
            cur_fail(c);
            return false;
        }
        uuid[i] = (uint8_t)(high << 4 | low);
    }
    return cur_ok(c);
}

static bool is_tag_char(char ch, size_t at)
{
    return (ch >= 'a' && ch <= 'z') || ch == '_' || (at > 0 && ch >= '0' && ch <= '9');
}

bool gtid_tag_ok(const char *tag)
{
    size_t n = 0;
    while (n <= GTID_TAG_MAX && tag[n] && is_tag_char(tag[n], n)) {
        n++;
    }
    return n > 0 && n <= GTID_TAG_MAX && !tag[n];
}

bool gtid_read_tag(struct cur *c, char tag[GTID_TAG_MAX + 1])
{
    size_t n = 0;
    memset(tag, 0, GTID_TAG_MAX + 1);
    while (cur_left(c)) {
        char ch = (char)*c->p;
        if (ch >= 'A' && ch <= 'Z') {
            ch = (char)(ch - 'A' + 'a');
        }
        if (!is_tag_char(ch, n)) {
            break;
        }
        if (n == GTID_TAG_MAX) {
            cur_fail(c);
            return false;
        }
        tag[n++] = ch;
        cur_skip(c, 1);
    }
    if (!n) {
        cur_fail(c);
    }
    return n > 0;
}

static bool skip_char(struct cur *c, char ch)
{
    if (cur_u8(c) != (uint8_t)ch) {
        cur_fail(c);
    }
    return cur_ok(c);
}

bool gtid_read_mariadb(struct cur *c, struct gtid_pair *pair)
{
    uint64_t domain = 0, server = 0;
    if (!gtid_read_number(c, UINT32_MAX, &domain) || !skip_char(c, '-') ||
        !gtid_read_number(c, UINT32_MAX, &server) || !skip_char(c, '-') ||
        !gtid_read_number(c, UINT64_MAX, &pair->seq)) {
        return false;
    }
    pair->domain = (uint32_t)domain;
    pair->server = (uint32_t)server;
    return true;
}

/* ---- varint -------------------------------------------------------------------------------------------- */

uint64_t gtid_read_varint(struct cur *c)
{
    uint8_t first = cur_u8(c);
    size_t more = 0;
    while (more < 8 && (first >> more & 1)) {
        more++;
    }
    if (more == 8) {
        return cur_u64(c);
    }
    uint64_t low = more == 7 ? 0 : (uint64_t)first >> (more + 1);
    return more ? low | cur_le(c, more) << (7 - more) : low;
}

void gtid_write_varint(struct buf *out, uint64_t v)
{
    size_t more = 0;
    while (more < 8 && v >> (7 * (more + 1))) {
        more++;
    }
    if (more == 8) {
        buf_u8(out, 0xff);
        buf_u64(out, v);
        return;
    }
    uint64_t whole = v << (more + 1) | ((UINT64_C(1) << more) - 1);
    for (size_t i = 0; i <= more; i++) {
        buf_u8(out, (uint8_t)(whole >> (8 * i)));
    }
}

/* ---- one GTID ------------------------------------------------------------------------------------------ */

const char *flavour_name(enum flavour flavour)
{
    switch (flavour) {
    case FLAVOUR_MYSQL:
        return "MySQL";
    case FLAVOUR_MARIADB:
        return "MariaDB";
    case FLAVOUR_NONE:
        break;
    }
    return "none";
}

bool gtid_equal(const struct gtid *a, const struct gtid *b)
{
    return a->flavour == b->flavour && a->gno == b->gno && a->domain == b->domain && a->server == b->server &&
           !memcmp(a->uuid, b->uuid, sizeof a->uuid) && !strcmp(a->tag, b->tag);
}

void uuid_text(const uint8_t uuid[16], char text[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[n++] = '-';
        }
        text[n++] = digits[uuid[i] >> 4];
        text[n++] = digits[uuid[i] & 15];
    }
    text[n] = 0;
}

int uuid_parse(uint8_t uuid[16], const char *text)
{
    struct cur c = cur_of(text, strlen(text));
    return gtid_read_uuid(&c, uuid) && cur_done(&c) ? 0 : E_INVALID;
}

void gtid_text(const struct gtid *gtid, char *text, size_t size)
{
    char uuid[UUID_TEXT_SIZE];
    switch (gtid->flavour) {
    case FLAVOUR_MYSQL:
        uuid_text(gtid->uuid, uuid);
        snprintf(text, size, "%s:%s%s%" PRIu64, uuid, gtid->tag, gtid->tag[0] ? ":" : "", gtid->gno);
        return;
    case FLAVOUR_MARIADB:
        snprintf(text, size, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, gtid->domain, gtid->server, gtid->gno);
        return;
    case FLAVOUR_NONE:
        break;
    }
    snprintf(text, size, "ANONYMOUS");
}

static void read_mysql_gtid(struct cur *c, struct gtid *gtid)
{
    if (!gtid_read_uuid(c, gtid->uuid) || !skip_char(c, ':')) {
        return;
    }
    if (cur_peek_u8(c) < '0' || cur_peek_u8(c) > '9') {
        if (!gtid_read_tag(c, gtid->tag) || !skip_char(c, ':')) {
            return;
        }
    }
    if (gtid_read_number(c, GTID_GNO_MAX, &gtid->gno) && gtid->gno == 0) {
        cur_fail(c);
    }
}

int gtid_parse(struct gtid *gtid, enum flavour flavour, const char *text, struct errmsg *em)
{
    struct gtid g = {.flavour = flavour};
    struct gtid_pair pair = {0};
    struct cur c = cur_of(text, strlen(text));
    if (flavour == FLAVOUR_MYSQL) {
        read_mysql_gtid(&c, &g);
    } else if (flavour == FLAVOUR_MARIADB && gtid_read_mariadb(&c, &pair)) {
        g.domain = pair.domain;
        g.server = pair.server;
        g.gno = pair.seq;
    } else {
        cur_fail(&c);
    }
    if (!cur_done(&c)) {
        return err_set(em, E_INVALID, "'%.80s' is not a %s GTID", text, flavour_name(flavour));
    }
    *gtid = g;
    return 0;
}

/* ---- sets ---------------------------------------------------------------------------------------------- */

static const struct gtid_set_ops *ops_of(const struct gtid_set *set)
{
    return set->flavour == FLAVOUR_MYSQL ? &gtid_mysql_ops : &gtid_mariadb_ops;
}

struct gtid_set *gtid_set_new(enum flavour flavour)
{
    CHECK(flavour == FLAVOUR_MYSQL || flavour == FLAVOUR_MARIADB);
    struct gtid_set *set = mem_new(sizeof *set);
    set->flavour = flavour;
    return set;
}

void gtid_set_free(struct gtid_set *set)
{
    if (set) {
        gtid_set_clear(set);
        mem_free(set);
    }
}

struct gtid_set *gtid_set_copy(const struct gtid_set *set)
{
    struct gtid_set *copy = gtid_set_new(set->flavour);
    ops_of(set)->copy(copy, set);
    return copy;
}

void gtid_set_clear(struct gtid_set *set)
{
    ops_of(set)->clear(set);
    CHECK(set->total == 0);
}

enum flavour gtid_set_flavour(const struct gtid_set *set)
{
    return set->flavour;
}

bool gtid_set_is_empty(const struct gtid_set *set)
{
    return set->total == 0;
}

bool gtid_set_equal(const struct gtid_set *a, const struct gtid_set *b)
{
    return a->flavour == b->flavour && a->total == b->total && ops_of(a)->equal(a, b);
}

uint64_t gtid_set_count(const struct gtid_set *set)
{
    return ops_of(set)->count(set);
}

size_t gtid_set_intervals(const struct gtid_set *set)
{
    return set->total;
}

int gtid_set_add(struct gtid_set *set, const struct gtid *gtid)
{
    return gtid->flavour == set->flavour ? ops_of(set)->add(set, gtid) : E_INVALID;
}

bool gtid_set_contains(const struct gtid_set *set, const struct gtid *gtid)
{
    return gtid->flavour == set->flavour && ops_of(set)->contains(set, gtid);
}

int gtid_set_union(struct gtid_set *to, const struct gtid_set *other)
{
    if (to->flavour != other->flavour) {
        return E_INVALID;
    }
    return to == other || !other->total ? 0 : ops_of(to)->unite(to, other);
}

int gtid_set_subtract(struct gtid_set *to, const struct gtid_set *other)
{
    if (to->flavour != other->flavour) {
        return E_INVALID;
    }
    if (to == other) {
        gtid_set_clear(to);
    } else {
        ops_of(to)->subtract(to, other);
    }
    return 0;
}

int gtid_set_keep_related(struct gtid_set *set, const struct gtid_set *other)
{
    if (set->flavour != other->flavour) {
        return E_INVALID;
    }
    ops_of(set)->keep_related(set, other);
    return 0;
}

int gtid_set_intersect(struct gtid_set *to, const struct gtid_set *other)
{
    if (to->flavour != other->flavour) {
        return E_INVALID;
    }
    if (to != other) {
        ops_of(to)->intersect(to, other);
    }
    return 0;
}

bool gtid_set_subset(const struct gtid_set *a, const struct gtid_set *b)
{
    return a->flavour == b->flavour && ops_of(a)->subset(a, b);
}

int gtid_set_parse(struct gtid_set *set, const char *text, size_t n, struct errmsg *em)
{
    struct cur c = cur_of(text, n);
    gtid_set_clear(set);
    int rc = ops_of(set)->parse(set, &c, em);
    if (rc) {
        gtid_set_clear(set);
        if (rc == E_INVALID) {
            size_t at = (size_t)(c.p - (const uint8_t *)text);
            return err_set(em, rc, "malformed %s GTID set, near character %zu", flavour_name(set->flavour),
                           at + 1);
        }
    }
    return rc;
}

void gtid_set_print(const struct gtid_set *set, struct buf *out)
{
    ops_of(set)->print(set, out);
}

void gtid_set_print_position(const struct gtid_set *set, struct buf *out)
{
    ops_of(set)->print_position(set, out);
}

void gtid_set_encode(const struct gtid_set *set, struct buf *out)
{
    ops_of(set)->encode(set, out);
}

int gtid_set_decode(struct gtid_set *set, struct cur *c, struct errmsg *em)
{
    gtid_set_clear(set);
    int rc = ops_of(set)->decode(set, c, em);
    if (rc) {
        gtid_set_clear(set);
    }
    return rc;
}
