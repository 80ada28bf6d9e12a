/* txn.c: transaction boundaries.
 *
 * Happy path: a GTID event opens, the events of its group follow, one of them ends it: which one depends on
 * what the group is, and that its first events tell (BEGIN, XA START, a lone QUERY, a payload; MariaDB: the
 * GTID event's flags). Every event falls into one kind, each state says what it makes of each kind. Failure:
 * an event that cannot stand where it does is E_MALFORMED, as is an end elsewhere than where the GTID event
 * said; an event of an unknown type with no transaction open is E_UNSUPPORTED: it might open one. */
#include "protocol/txn.h"

#include "protocol/base/check.h"

#include <inttypes.h>

enum kind {
    KIND_UNKNOWN,
    KIND_BETWEEN,
    KIND_HEARTBEAT,
    KIND_IGNORABLE,
    KIND_GTID,
    KIND_QUERY, /* QUERY_COMPRESSED too: only the text of QUERY is looked at */
    KIND_LOAD_QUERY,
    KIND_PRELUDE, /* stands before a statement that uses it */
    KIND_ROWS,    /* only ever inside a group */
    KIND_XID,
    KIND_XA_PREPARE,
    KIND_PAYLOAD,
    KIND_INCIDENT
};

static const uint8_t kinds[256] = {
    [EVENT_START_V3] = KIND_BETWEEN,
    [EVENT_STOP] = KIND_BETWEEN,
    [EVENT_ROTATE] = KIND_BETWEEN,
    [EVENT_FORMAT_DESCRIPTION] = KIND_BETWEEN,
    [EVENT_PREVIOUS_GTIDS] = KIND_BETWEEN,
    [EVENT_BINLOG_CHECKPOINT] = KIND_BETWEEN,
    [EVENT_GTID_LIST] = KIND_BETWEEN,
    [EVENT_START_ENCRYPTION] = KIND_BETWEEN,
    [EVENT_HEARTBEAT] = KIND_HEARTBEAT,
    [EVENT_HEARTBEAT_V2] = KIND_HEARTBEAT,
    [EVENT_IGNORABLE] = KIND_IGNORABLE,
    [EVENT_GTID] = KIND_GTID,
    [EVENT_ANONYMOUS_GTID] = KIND_GTID,
    [EVENT_GTID_TAGGED] = KIND_GTID,
    [EVENT_MARIADB_GTID] = KIND_GTID,
    [EVENT_QUERY] = KIND_QUERY,
    [EVENT_QUERY_COMPRESSED] = KIND_QUERY,
    [EVENT_EXECUTE_LOAD_QUERY] = KIND_LOAD_QUERY,
    [EVENT_INTVAR] = KIND_PRELUDE,
    [EVENT_RAND] = KIND_PRELUDE,
    [EVENT_USER_VAR] = KIND_PRELUDE,
    [EVENT_BEGIN_LOAD_QUERY] = KIND_PRELUDE,
    [EVENT_APPEND_BLOCK] = KIND_PRELUDE,
    [EVENT_DELETE_FILE] = KIND_PRELUDE,
    [EVENT_TABLE_MAP] = KIND_ROWS,
    [EVENT_WRITE_ROWS_V1] = KIND_ROWS,
    [EVENT_UPDATE_ROWS_V1] = KIND_ROWS,
    [EVENT_DELETE_ROWS_V1] = KIND_ROWS,
    [EVENT_WRITE_ROWS] = KIND_ROWS,
    [EVENT_UPDATE_ROWS] = KIND_ROWS,
    [EVENT_DELETE_ROWS] = KIND_ROWS,
    [EVENT_PARTIAL_UPDATE_ROWS] = KIND_ROWS,
    [EVENT_WRITE_ROWS_COMPRESSED] = KIND_ROWS,
    [EVENT_UPDATE_ROWS_COMPRESSED] = KIND_ROWS,
    [EVENT_DELETE_ROWS_COMPRESSED] = KIND_ROWS,
    [EVENT_ROWS_QUERY] = KIND_ROWS,
    [EVENT_ANNOTATE_ROWS] = KIND_ROWS,
    [EVENT_TRANSACTION_CONTEXT] = KIND_ROWS,
    [EVENT_VIEW_CHANGE] = KIND_ROWS,
    [EVENT_XID] = KIND_XID,
    [EVENT_XA_PREPARE] = KIND_XA_PREPARE,
    [EVENT_TRANSACTION_PAYLOAD] = KIND_PAYLOAD,
    [EVENT_INCIDENT] = KIND_INCIDENT,
};

struct fed { /* an event, of which the first bytes are there */
    const uint8_t *event;
    size_t there, n;
};

/* What a QUERY says, as far as it matters. */
enum words { WORDS_OTHER, WORDS_BEGIN, WORDS_END, WORDS_XA_START, WORDS_XA_FINISH };

/* Since 5.7 every transaction of MySQL begins with a GTID event; the size of its post header in the FDE
 * tells. */
enum { GTID_POST_HEADER_57 = 42 };

static const char *state_text(enum txn_state state)
{
    static const char *const texts[] = {
        [TXN_IDLE] = "outside of a transaction",
        [TXN_STARTED] = "at the beginning of a transaction",
        [TXN_GROUP] = "in a transaction begun by BEGIN",
        [TXN_XA] = "in an XA transaction",
        [TXN_STANDALONE] = "in a standalone transaction",
        [TXN_MARIADB] = "in a transaction",
    };
    return texts[state];
}

static int misplaced(const struct txn *t, uint8_t type, struct errmsg *em)
{
    return err_set(em, E_MALFORMED, "%s event %s", event_type_name(type), state_text(t->state));
}

/* The words that matter are short: a text that is cut is none of them, or begins with them all the same. */
static int words_of(const struct event_format *f, const struct fed *fed, enum words *words, struct errmsg *em)
{
    struct event_query q;
    const uint8_t *event = fed->event;
    int rc = fed->there < fed->n ? event_query_read_head(f, event, fed->there, &q, em)
                                 : event_query_read(f, event, fed->n, &q, em);
    *words = WORDS_OTHER;
    if (rc || event[4] != EVENT_QUERY) {
        return rc;
    }
    if (event_query_is(&q, "BEGIN")) {
        *words = WORDS_BEGIN;
    } else if (event_query_is(&q, "COMMIT") || event_query_is(&q, "ROLLBACK")) {
        *words = WORDS_END;
    } else if (event_query_begins(&q, "XA START ")) {
        *words = WORDS_XA_START;
    } else if (event_query_begins(&q, "XA COMMIT ") || event_query_begins(&q, "XA ROLLBACK ")) {
        *words = WORDS_XA_FINISH;
    }
    return 0;
}

/* ---- what each state makes of an event ----------------------------------------------------------------- */

static int feed_started(struct txn *t, enum kind kind, enum words words)
{
    switch (kind) {
    case KIND_QUERY:
        if (words == WORDS_BEGIN || words == WORDS_XA_START) {
            t->state = words == WORDS_BEGIN ? TXN_GROUP : TXN_XA;
            return TXN_INSIDE;
        }
        return TXN_END; /* DDL and its like; XA COMMIT, XA ROLLBACK */
    case KIND_LOAD_QUERY:
    case KIND_PAYLOAD:
    case KIND_INCIDENT:
        return TXN_END;
    case KIND_PRELUDE:
    case KIND_UNKNOWN:
        return TXN_INSIDE;
    default:
        return E_MALFORMED;
    }
}

static int feed_group(enum kind kind, enum words words)
{
    switch (kind) {
    case KIND_QUERY:
        if (words == WORDS_BEGIN || words == WORDS_XA_START) {
            return E_MALFORMED; /* the end of the one before is missing */
        }
        return words == WORDS_END ? TXN_END : TXN_INSIDE;
    case KIND_XID:
        return TXN_END;
    case KIND_LOAD_QUERY:
    case KIND_PRELUDE:
    case KIND_ROWS:
    case KIND_UNKNOWN:
        return TXN_INSIDE;
    default:
        return E_MALFORMED;
    }
}

/* Ends with XA_PREPARE; where a part could not be rolled back, with the statement that finished it. */
static int feed_xa(enum kind kind, enum words words)
{
    switch (kind) {
    case KIND_QUERY:
        if (words == WORDS_BEGIN || words == WORDS_XA_START) {
            return E_MALFORMED;
        }
        return words == WORDS_END || words == WORDS_XA_FINISH ? TXN_END : TXN_INSIDE;
    case KIND_XA_PREPARE:
    case KIND_XID:
        return TXN_END;
    case KIND_LOAD_QUERY:
    case KIND_PRELUDE:
    case KIND_ROWS:
    case KIND_UNKNOWN:
        return TXN_INSIDE;
    default:
        return E_MALFORMED;
    }
}

static int feed_standalone(enum kind kind)
{
    switch (kind) {
    case KIND_QUERY:
    case KIND_LOAD_QUERY:
        return TXN_END;
    case KIND_PRELUDE:
    case KIND_UNKNOWN:
        return TXN_INSIDE;
    default:
        return E_MALFORMED;
    }
}

static int feed_mariadb(enum kind kind, enum words words)
{
    switch (kind) {
    case KIND_QUERY:
        return words == WORDS_END ? TXN_END : TXN_INSIDE;
    case KIND_XID:
    case KIND_XA_PREPARE:
        return TXN_END;
    case KIND_LOAD_QUERY:
    case KIND_PRELUDE:
    case KIND_ROWS:
    case KIND_UNKNOWN:
        return TXN_INSIDE;
    default:
        return E_MALFORMED;
    }
}

static int feed_open(struct txn *t, enum kind kind, enum words words)
{
    switch (t->state) {
    case TXN_STARTED:
        return feed_started(t, kind, words);
    case TXN_GROUP:
        return feed_group(kind, words);
    case TXN_XA:
        return feed_xa(kind, words);
    case TXN_STANDALONE:
        return feed_standalone(kind);
    case TXN_MARIADB:
        return feed_mariadb(kind, words);
    case TXN_IDLE:
        break;
    }
    return E_MALFORMED;
}

/* ---- opening, ending ----------------------------------------------------------------------------------- */

static int open_with_gtid(struct txn *t, const struct event_format *f, const uint8_t *event, size_t n,
                          struct errmsg *em)
{
    struct event_gtid g;
    if (txn_is_open(t)) {
        return misplaced(t, event[4], em);
    }
    int rc = event_gtid_read(f, event, n, &g, em);
    if (rc) {
        return rc;
    }
    *t = (struct txn){.state = TXN_STARTED,
                      .gtid = g.gtid,
                      .has_gtid = g.gtid.flavour != FLAVOUR_NONE,
                      .has_gtid_event = true,
                      .flags = g.flags,
                      .length = g.transaction_length};
    if (g.gtid.flavour == FLAVOUR_MARIADB) {
        t->state = g.flags & GTID_STANDALONE ? TXN_STANDALONE : TXN_MARIADB;
    }
    return TXN_INSIDE;
}

/* May an event of this kind begin a transaction by itself? An INCIDENT always, others before MySQL 5.7. */
static bool may_open(const struct event_format *f, enum kind kind)
{
    if (kind == KIND_INCIDENT) {
        return true;
    }
    bool always_gtid = f->flavour == FLAVOUR_MARIADB || f->post_header[EVENT_GTID] >= GTID_POST_HEADER_57;
    return !always_gtid && (kind == KIND_QUERY || kind == KIND_LOAD_QUERY || kind == KIND_PRELUDE);
}

/* Adds the event's size, compares it with what was promised, and closes at an end. */
static int account(struct txn *t, int result, size_t n, struct errmsg *em)
{
    t->size += n;
    if (t->length && (result == TXN_END ? t->size != t->length : t->size >= t->length)) {
        return err_set(em, E_MALFORMED,
                       "transaction %s after %" PRIu64 " bytes, its GTID event says %" PRIu64,
                       result == TXN_END ? "ends" : "goes on", t->size, t->length);
    }
    if (result == TXN_END) {
        t->state = TXN_IDLE;
    }
    return result;
}

static int feed_content(struct txn *t, const struct event_format *f, const struct fed *fed, enum kind kind,
                        struct errmsg *em)
{
    uint8_t type = fed->event[4];
    enum words words = WORDS_OTHER;
    if (!txn_is_open(t)) {
        if (kind == KIND_UNKNOWN) {
            return err_set(em, E_UNSUPPORTED, "event of unknown type %u outside of a transaction", type);
        }
        if (!may_open(f, kind)) {
            return misplaced(t, type, em);
        }
        *t = (struct txn){.state = TXN_STARTED};
    }
    if (kind == KIND_QUERY) {
        int rc = words_of(f, fed, &words, em);
        if (rc) {
            return rc;
        }
    }
    int result = feed_open(t, kind, words);
    return result < 0 ? misplaced(t, type, em) : result;
}

static int step(struct txn *t, const struct event_format *f, const struct fed *fed, struct errmsg *em)
{
    struct event_header h;
    const uint8_t *event = fed->event;
    size_t n = fed->n;
    int rc = fed->there < n ? event_peek(event, fed->there, &h, em) : event_header_read(event, n, &h, em);
    if (rc) {
        return rc;
    }
    CHECK(h.size == n && fed->there >= txn_head(h.type, n));
    enum kind kind = (enum kind)kinds[h.type];
    if (kind == KIND_UNKNOWN && h.flags & EVENT_FLAG_IGNORABLE) {
        kind = KIND_IGNORABLE;
    }
    switch (kind) {
    case KIND_HEARTBEAT:
        return txn_is_open(t) ? TXN_INSIDE : TXN_BETWEEN;
    case KIND_IGNORABLE:
        return txn_is_open(t) ? account(t, TXN_INSIDE, n, em) : TXN_BETWEEN;
    case KIND_BETWEEN:
        return txn_is_open(t) ? misplaced(t, h.type, em) : TXN_BETWEEN;
    case KIND_GTID:
        rc = open_with_gtid(t, f, event, n, em);
        break;
    default:
        rc = feed_content(t, f, fed, kind, em);
        break;
    }
    return rc < 0 ? rc : account(t, rc, n, em);
}

/* ---- outside ------------------------------------------------------------------------------------------- */

void txn_init(struct txn *t)
{
    *t = (struct txn){.state = TXN_IDLE};
}

size_t txn_head(uint8_t type, size_t n)
{
    switch ((enum kind)kinds[type]) {
    case KIND_QUERY:
    case KIND_LOAD_QUERY:
    case KIND_PRELUDE:
    case KIND_ROWS:
    case KIND_PAYLOAD: return n < TXN_HEAD ? n : TXN_HEAD;
    default: return n;
    }
}

int txn_feed(struct txn *t, const struct event_format *f, const uint8_t *event, size_t n, struct errmsg *em)
{
    return txn_feed_head(t, f, event, n, n, em);
}

int txn_feed_head(struct txn *t, const struct event_format *f, const uint8_t *event, size_t there, size_t n,
                  struct errmsg *em)
{
    struct txn next = *t;
    struct fed fed = {event, there, n};
    int rc = step(&next, f, &fed, em);
    if (rc >= 0) {
        *t = next;
    }
    return rc;
}

bool txn_is_open(const struct txn *t)
{
    return t->state != TXN_IDLE;
}

void txn_reset(struct txn *t)
{
    txn_init(t);
}
