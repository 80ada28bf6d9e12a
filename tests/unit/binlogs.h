/* binlogs.h: the sample binlog files, taken apart by protocol/ for tests of storage/, and a store to put them
 * in. */
#ifndef TESTS_UNIT_BINLOGS_H
#define TESTS_UNIT_BINLOGS_H

#include "protocol/base/env.h"
#include "protocol/event.h"
#include "protocol/gtid.h"
#include "storage/store.h"

struct binlog_event {
    uint64_t start, end;
    uint8_t type;
    bool boundary; /* no transaction is open after it */
    bool ends_txn;
    bool in_txn; /* belongs to a transaction */
    bool has_gtid;
    struct gtid gtid; /* of the transaction it belongs to */
};

struct binlog {
    char name[64]; /* "mysql-bin.000001" */
    uint8_t *bytes;
    size_t n;
    struct binlog_event *events;
    size_t n_events;
    struct store_txn *txns; /* the ends of all transactions */
    size_t n_txns;
    struct gtid_set *state_before; /* from PREVIOUS_GTIDS or GTID_LIST */
};

/* NULL (after an assertion that fails) when it cannot be read. */
struct binlog *binlog_load(const char *dir, const char *name);
/* The same transactions as a source writes them with binlog_checksum = NONE (not MySQL's since 8.0: there the length of a transaction
 * stands in it). */
struct binlog *binlog_load_bare(const char *dir, const char *name);
void binlog_free(struct binlog *b);

/* The last transaction end at or below `end`. */
uint64_t binlog_boundary(const struct binlog *b, uint64_t end);

/* The transactions that end behind `from`, up to `to`: for store_write_txns. */
struct store_txns binlog_txns(const struct binlog *b, uint64_t from, uint64_t to);

/* Opens a store under `dir` (made when missing); fails the test when that fails. */
struct store *binlog_store(struct env *loop, const char *dir);
struct store *binlog_store_with(struct env *loop, const char *dir, const struct store_options *options);
void binlog_store_close(struct env *loop, struct store *store);

/* A new directory below unit_tmpdir. To be freed with mem_free. */
char *binlog_dir(const char *name);

/* The whole file as one job each for FILE and bytes in pieces of at most `piece`; index counts up. */
void binlog_put(struct store *store, const struct binlog *b, uint64_t era, size_t piece, uint64_t *index);

/* Is the file on disk what it was? */
bool binlog_same(struct env *env, const char *dir, uint64_t era, const struct binlog *b);

/* Is the index on disk what a walk over the file makes? `options` as the store's. */
bool binlog_index_same(struct env *env, const char *dir, uint64_t era, const struct binlog *b,
                       const struct store_options *options, bool sealed);

/* Does the list of names of an era have this text? */
bool binlog_names_are(struct env *env, const char *dir, unsigned era, const char *want);

bool binlog_is_there(struct env *env, const char *dir, const char *path);

/* The whole file, appended to a fresh buffer; false when it is not there. */
bool binlog_read(struct env *env, struct buf *out, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
