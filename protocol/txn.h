/* txn.h: finds where transactions begin and end in a sequence of events of one file.
 *
 * Fed with the events in order it says after each whether a transaction is open. It knows all four ways in
 * which servers write (MySQL with and without GTIDs, MariaDB, and XA, DDL, compressed, incident in each).
 * Where the GTID event tells the transaction's length (MySQL 5.7 and later), the end must be exactly there.
 *
 * An error leaves the tracker as it was before the event. Heartbeats, and events unknown to us that are
 * marked ignorable, change nothing: the answer is the state as it was. (A caller stores no heartbeats and no
 * artificial events: see their flag.)
 *
 * A file can end with a torn transaction, after a crash of its server: what follows is another file's fake
 * ROTATE and FDE. These are E_MALFORMED with a transaction open, so the caller looks at txn_is_open when a
 * file ends, cuts the tail and calls txn_reset. */
#ifndef HOLDFAST_TXN_H
#define HOLDFAST_TXN_H

#include "protocol/base/err.h"
#include "protocol/event.h"
#include "protocol/gtid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TXN_BETWEEN = 0, /* the event stands between transactions: FDE, ROTATE, GTID_LIST … */
    TXN_INSIDE = 1,  /* a transaction is open after it */
    TXN_END = 2 /* it ended one (and may have begun it: an INCIDENT or a DDL of a server without GTIDs) */
};

enum txn_state {
    TXN_IDLE,    /* between */
    TXN_STARTED, /* after the GTID event, or after INTVAR … of a server without GTIDs: one QUERY, BEGIN or XA
                    START may follow */
    TXN_GROUP,   /* in BEGIN … XID, COMMIT, ROLLBACK */
    TXN_XA,      /* in XA START … XA_PREPARE */
    TXN_STANDALONE, /* MariaDB: ends with the next QUERY */
    TXN_MARIADB     /* MariaDB's group: no BEGIN, ends with XID, COMMIT, ROLLBACK, XA_PREPARE */
};

/* Plain data, owned by the caller. The fields below `state` are of the open transaction, or of the one that
 * ended last until the next begins. */
struct txn {
    enum txn_state state;
    struct gtid gtid;    /* FLAVOUR_NONE if anonymous */
    bool has_gtid;       /* has a GTID of its own (not anonymous) */
    bool has_gtid_event; /* began with a GTID event of any kind, ANONYMOUS too */
    uint8_t flags;       /* as struct event_gtid's */
    uint64_t size;       /* bytes so far, with the GTID event */
    uint64_t length;     /* what the GTID event promised, 0 = nothing */
};

void txn_init(struct txn *t);

/* Takes the next event; < 0 (E_MALFORMED, E_UNSUPPORTED) or one of TXN_BETWEEN, TXN_INSIDE, TXN_END. */
int txn_feed(struct txn *t, const struct event_format *f, const uint8_t *event, size_t n, struct errmsg *em);

/* How many bytes of an event of n bytes matter here: all, but of those that carry statements, rows, data, the
 * first TXN_HEAD at most. */
enum { TXN_HEAD = 128 << 10 };
size_t txn_head(uint8_t type, size_t n);
/* The same as txn_feed with only the first `there` bytes at hand, no fewer than txn_head says. */
int txn_feed_head(struct txn *t, const struct event_format *f, const uint8_t *event, size_t there, size_t n,
                  struct errmsg *em);

bool txn_is_open(const struct txn *t);

/* Forgets an open transaction (a torn tail was cut). */
void txn_reset(struct txn *t);

#endif
