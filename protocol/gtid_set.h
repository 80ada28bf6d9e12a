/* gtid_set.h: the inside of a GTID set, for gtid*.c alone (and the varint that tagged GTIDs are written in,
 * for event_gtid.c).
 *
 * gtid.c holds single GTIDs and sends each operation on sets to gtid_mysql.c or gtid_mariadb.c. */
#ifndef HOLDFAST_GTID_SET_H
#define HOLDFAST_GTID_SET_H

#include "protocol/gtid.h"

struct gtid_interval {
    uint64_t start;
    uint64_t end; /* the first number that is not in it */
};

/* One (uuid, tag) with its intervals: sorted, apart by at least one number, never none. */
struct gtid_sid {
    uint8_t uuid[16];
    char tag[GTID_TAG_MAX + 1];
    struct gtid_interval *at;
    size_t count, cap;
};

struct gtid_pair {
    uint32_t domain, server;
    uint64_t seq;
};

struct gtid_domain {
    uint32_t domain;
    uint32_t newest; /* a server that has a pair */
};

struct gtid_set {
    enum flavour flavour;
    size_t total;          /* intervals of all sids; pairs */
    struct gtid_sid *sids; /* MySQL: sorted by uuid, tag */
    size_t sid_count, sid_cap;
    struct gtid_pair *pairs; /* MariaDB: sorted by domain, server */
    size_t pair_cap;
    struct gtid_domain *domains; /* sorted */
    size_t domain_count, domain_cap;
};

/* What gtid_mysql.c and gtid_mariadb.c each do; the flavours are checked already. */
struct gtid_set_ops {
    void (*clear)(struct gtid_set *set);
    void (*copy)(struct gtid_set *to, const struct gtid_set *from); /* `to` is empty */
    bool (*equal)(const struct gtid_set *a, const struct gtid_set *b);
    uint64_t (*count)(const struct gtid_set *set);
    int (*add)(struct gtid_set *set, const struct gtid *gtid);
    bool (*contains)(const struct gtid_set *set, const struct gtid *gtid);
    int (*unite)(struct gtid_set *to, const struct gtid_set *other);
    void (*subtract)(struct gtid_set *to, const struct gtid_set *other);
    void (*intersect)(struct gtid_set *to, const struct gtid_set *other);
    void (*keep_related)(struct gtid_set *set, const struct gtid_set *other);
    bool (*subset)(const struct gtid_set *a, const struct gtid_set *b);
    int (*parse)(struct gtid_set *set, struct cur *c, struct errmsg *em);
    void (*print)(const struct gtid_set *set, struct buf *out);
    void (*print_position)(const struct gtid_set *set, struct buf *out);
    void (*encode)(const struct gtid_set *set, struct buf *out);
    int (*decode)(struct gtid_set *set, struct cur *c, struct errmsg *em);
};

extern const struct gtid_set_ops gtid_mysql_ops;
extern const struct gtid_set_ops gtid_mariadb_ops;

/* Grows *array (of elements of `size` bytes) so that it holds one more than `count`. */
void gtid_grow(void *array, size_t count, size_t *cap, size_t size);

/* ---- reading text -------------------------------------------------------------------------------------- */

void gtid_skip_blanks(struct cur *c);
/* A decimal number of at most `max`; false (and c->bad) when there is none. */
bool gtid_read_number(struct cur *c, uint64_t max, uint64_t *v);
/* 32 hexadecimal digits, with dashes where they belong or without any. */
bool gtid_read_uuid(struct cur *c, uint8_t uuid[16]);
/* A tag, in lower case afterwards. */
bool gtid_read_tag(struct cur *c, char tag[GTID_TAG_MAX + 1]);
bool gtid_tag_ok(const char *tag); /* in lower case and not empty */
/* domain-server-seq */
bool gtid_read_mariadb(struct cur *c, struct gtid_pair *pair);

/* ---- the varint of MySQL's serialization --------------------------------------------------------------- */

/* As many further bytes as the first one has trailing one bits; the value stands above them. */
uint64_t gtid_read_varint(struct cur *c);
void gtid_write_varint(struct buf *out, uint64_t v);

#endif
