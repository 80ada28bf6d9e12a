/* gtid.h: one GTID, and sets of them, in MySQL's and in MariaDB's sense.
 *
 * A MySQL set is what its name says: for each (uuid, tag) sorted intervals of transaction numbers.
 *
 * A MariaDB "set" is a *state*, as in gtid_binlog_state: for each (domain, server) the last sequence number
 * seen, and for each domain which server's came last (its newest). A position (gtid_slave_pos,
 * @slave_connect_state) is a state with one pair in each domain. Numbers may be skipped and MariaDB does not
 * say which: a pair at N stands for all of that pair up to N. The operations below follow from that; each
 * says what it means for states.
 *
 * Owner: whoever made it, one thread at a time; gtid_set_free. Small allocations end the process when there
 * is no memory (mem.h); what others wrote never decides a size beyond its own bytes and GTID_SET_MAX. */
#ifndef HOLDFAST_GTID_H
#define HOLDFAST_GTID_H

#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flavour { FLAVOUR_NONE, FLAVOUR_MYSQL, FLAVOUR_MARIADB };

const char *flavour_name(enum flavour flavour); /* "none", "MySQL", "MariaDB" */

/* ---- one GTID ------------------------------------------------------------------------------------------ */

enum {
    GTID_TAG_MAX = 32,
    GTID_TEXT_SIZE = 96, /* holds any GTID's text with its NUL */
    UUID_TEXT_SIZE = 37
};

#define GTID_GNO_MAX ((uint64_t)INT64_MAX - 1) /* MySQL's largest number; MariaDB's may use all 64 bits */

/* FLAVOUR_NONE: an anonymous transaction. Fields of the other flavour are 0, unused bytes of the tag too. */
struct gtid {
    enum flavour flavour;
    uint8_t uuid[16];
    char tag[GTID_TAG_MAX + 1]; /* "" when untagged, always in lower case */
    uint64_t gno;               /* seq_no in MariaDB */
    uint32_t domain;
    uint32_t server;
};

bool gtid_equal(const struct gtid *a, const struct gtid *b);

/* Can it be a member of a set of its flavour: a number and a tag that can be. */
bool gtid_possible(const struct gtid *gtid);

/* "uuid:5", "uuid:tag:5", "0-1-5", "ANONYMOUS". Cut when `size` is too small. */
void gtid_text(const struct gtid *gtid, char *text, size_t size);

/* Exactly one GTID of that flavour. E_INVALID and a message otherwise. */
int gtid_parse(struct gtid *gtid, enum flavour flavour, const char *text, struct errmsg *em);

void uuid_text(const uint8_t uuid[16], char text[UUID_TEXT_SIZE]);
int uuid_parse(uint8_t uuid[16], const char *text); /* with or without dashes, nothing else; E_INVALID */

/* ---- sets ---------------------------------------------------------------------------------------------- */

/* The most intervals (pairs, in MariaDB) that a set may hold. */
enum { GTID_SET_MAX = 4 * 1024 * 1024 };

struct gtid_set;

struct gtid_set *gtid_set_new(enum flavour flavour); /* MYSQL or MARIADB */
void gtid_set_free(struct gtid_set *set);            /* NULL is fine */
struct gtid_set *gtid_set_copy(const struct gtid_set *set);
void gtid_set_clear(struct gtid_set *set);
enum flavour gtid_set_flavour(const struct gtid_set *set);
bool gtid_set_is_empty(const struct gtid_set *set);

/* Same flavour and same members; states: same pairs at the same numbers, the same newest in each domain. */
bool gtid_set_equal(const struct gtid_set *a, const struct gtid_set *b);

/* How many transactions; states: how many pairs. Stops at UINT64_MAX. */
uint64_t gtid_set_count(const struct gtid_set *set);
/* How many intervals (pairs). */
size_t gtid_set_intervals(const struct gtid_set *set);

/* Adds one. One that is there already is fine. States: the pair's number becomes this one's, also when
 * that is lower, and the pair becomes its domain's newest, as when a server writes its binlog.
 * E_INVALID: other flavour, anonymous or a number that cannot be; E_TOOBIG: GTID_SET_MAX. */
int gtid_set_add(struct gtid_set *set, const struct gtid *gtid);

/* MySQL: is it a member. States: the pair (domain, server) is there with this number or a higher one: that is
 * what a MariaDB source asks of its binlog state when a replica names a GTID ("not in the master's binlog"
 * otherwise), and what a reader of files skips by. A position names only one server of each domain, so use
 * gtid_set_within_position for the question "has the replica got all this". */
bool gtid_set_contains(const struct gtid_set *set, const struct gtid *gtid);

/* The operations on two sets want the same flavour (else E_INVALID / false); they may be one and the
 * same. E_TOOBIG: both together hold more than GTID_SET_MAX intervals.
 *
 *   union      states: the higher number of each pair; a domain's newest is other's, unless `to` contained
 *              that GTID already
 *   subtract   states: the pairs of `to` that `other` lacks or has at a lower number, with their numbers
 *   intersect  states: the pairs in both, at the lower number
 *   subset     states: each pair of `a` is in `b` with this number or a higher one (the follow rule)
 *
 * After subtract and intersect a domain whose newest pair is gone takes the one with the highest number. */
int gtid_set_union(struct gtid_set *to, const struct gtid_set *other);
int gtid_set_subtract(struct gtid_set *to, const struct gtid_set *other);
int gtid_set_intersect(struct gtid_set *to, const struct gtid_set *other);
bool gtid_set_subset(const struct gtid_set *a, const struct gtid_set *b);

/* Leaves in `set` what comes from where members of `other` come from: the same uuid, with whatever tag (MariaDB: the same domain). E_INVALID:
 * another flavour. */
int gtid_set_keep_related(struct gtid_set *set, const struct gtid_set *other);

/* States only. `state` is what lies before some place in a binlog (a file's GTID_LIST), `position` where a
 * replica stands. True when the replica has all of it, so that the place is early enough to start from: each
 * domain of `state` stands in `position`, and the position's GTID is not before the end of it: either it is
 * its domain's newest in `state`, or `state` does not contain it. */
bool gtid_set_within_position(const struct gtid_set *state, const struct gtid_set *position);

/* States only: the newest GTID of a domain; the last of one pair. False when there is none. */
bool gtid_set_newest(const struct gtid_set *set, uint32_t domain, struct gtid *gtid);
bool gtid_set_last(const struct gtid_set *set, uint32_t domain, uint32_t server, struct gtid *gtid);

/* States only: walks over the pairs in the order of gtid_set_print. *at = 0 to begin; false at the end.
 * `newest` may be NULL. */
bool gtid_set_next(const struct gtid_set *set, size_t *at, struct gtid *gtid, bool *newest);

/* ---- text ---------------------------------------------------------------------------------------------- */

/* Reads the text form into `set`, which has its flavour already; what it held is gone (on error it is empty).
 * Blanks and line ends may stand around any part, "" is the empty set. MySQL: `uuid:1-3:5:tag:1,uuid…` in any
 * order, overlaps are joined. MariaDB: `0-1-5,0-2-7,…`; the last of a domain is its newest. E_INVALID,
 * E_TOOBIG. */
int gtid_set_parse(struct gtid_set *set, const char *text, size_t n, struct errmsg *em);

/* Appends the canonical text. MySQL: sorted by uuid, then tag, no blanks. States: as gtid_binlog_state:
 * domains ascending, within one the servers ascending but the newest last. */
void gtid_set_print(const struct gtid_set *set, struct buf *out);
/* States: only the newest of each domain, as gtid_slave_pos. MySQL: as gtid_set_print. */
void gtid_set_print_position(const struct gtid_set *set, struct buf *out);

/* ---- bytes --------------------------------------------------------------------------------------------- */

/* MySQL: the body of PREVIOUS_GTIDS and of COM_BINLOG_DUMP_GTID, tagged as soon as a member has a tag.
 * States: the body of GTID_LIST (the four flag bits zero), with the two bytes of padding when empty. */
void gtid_set_encode(const struct gtid_set *set, struct buf *out);

/* The reverse; replaces the content (empty on error). Refuses what MySQL refuses (unsorted or overlapping
 * intervals, empty ones, a count that the bytes do not hold). Takes all it needs and leaves the rest: the
 * caller asks cur_done. E_MALFORMED, E_TOOBIG. */
int gtid_set_decode(struct gtid_set *set, struct cur *c, struct errmsg *em);

#endif
