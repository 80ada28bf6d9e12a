/* history.h: the binlog files that a simulated source writes, byte for byte as a server of its flavour would,
 * and the list of the transactions in them. It is the truth that nodes and replicas are compared with.
 *
 * Owner: the test; it outlives the source's process, as files do. What is appended is durable at once
 * (sync_binlog=1). */
#ifndef HOLDFAST_SIM_HISTORY_H
#define HOLDFAST_SIM_HISTORY_H

#include "protocol/base/buf.h"
#include "protocol/event.h"
#include "protocol/gtid.h"
#include "tests/sim/rng.h"

struct history_file {
    char name[32];
    struct buf bytes;        /* with the magic */
    struct gtid_set *before; /* GTID state before it */
    struct gtid_set *said;   /* what its head says: less, perhaps */
    size_t first_txn;        /* the first transaction of it, in history.txns */
};

struct history_txn {
    struct gtid gtid;
    size_t file;
    uint64_t start, end;
    bool group_end; /* the last of its group commit */
};

struct history {
    enum flavour flavour;
    uint32_t server_id;
    uint8_t uuid[16];
    const char *version;
    bool encrypted; /* all but what a dump sends; MariaDB's files begin with START_ENCRYPTION; the rest is as a dump sends it, in clear */
    struct history_file **files;
    size_t n_files;
    struct history_txn *txns; /* in order */
    size_t n_txns;
    struct gtid_set *executed;
    uint64_t next_gno, next_xid, next_table;
    uint64_t group;   /* MariaDB's commit id of the open group; 0: none */
    int64_t sequence; /* MySQL's logical clock in the file */
    struct rng rng;
};

enum history_kind { HISTORY_ROWS, HISTORY_DDL, HISTORY_COMMIT /* rows of a table without transactions */ };

struct history *history_new(enum flavour flavour, uint32_t server_id, uint64_t seed);
void history_free(struct history *h);

struct history_file *history_newest(struct history *h);
struct history_file *history_find(struct history *h, const char *name,
                                  size_t *index); /* NULL: no such file */

/* Begins the next file. `restart`: the server was started (created is set), else a rotation, which ends the
 * file before with a ROTATE. */
void history_begin_file(struct history *h, uint64_t wall_us, bool restart);
void history_stop(struct history *h, uint64_t wall_us); /* a clean shutdown: STOP */
/* The server was killed: the newest file stays as it is; a MySQL one clears the in-use bit when it starts
 * again. */

/* A transaction of about `bytes` bytes of rows; its index in h->txns. */
size_t history_txn(struct history *h, enum history_kind kind, size_t bytes, uint64_t wall_us, bool group_end);

/* The transaction whose GTID it is; SIZE_MAX: none. */
size_t history_txn_of(const struct history *h, const struct gtid *gtid);
/* How many transactions end at or below a place. */
size_t history_txns_before(const struct history *h, size_t file, uint64_t pos);
/* May a reader begin there? Between transactions, at the beginning of an event. */
bool history_is_boundary(const struct history *h, size_t file, uint64_t pos);

#endif
