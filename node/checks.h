/* checks.h: the settings of the source that the promise depends on: what they are, what they should be, and the statement
 * that mends each.
 *
 * Pure: statements out, answers in, results. checks_begin, then as long as checks_query gives a statement: its answer into
 * checks_answer. Owner: node/monitor.c; loop env. Nothing to free. */
#ifndef HOLDFAST_NODE_CHECKS_H
#define HOLDFAST_NODE_CHECKS_H

#include "protocol/gtid.h"
#include "protocol/result.h"

enum check_state { CHECK_UNKNOWN, CHECK_OK, CHECK_WARN, CHECK_CRITICAL /* the promise does not hold */ };

const char *check_state_text(enum check_state state);

struct check_result {
    const char *name;
    enum check_state state;
    char value[160];
    const char *wanted;
    const char *why;      /* what it is good for */
    char statement[640];  /* "": none is needed, or none can */
    const char *where;    /* to run it, or what to do in place of a statement; "" */
};

/* How variables are called: MySQL's plugin since 8.0.26, the one before it, MariaDB. */
enum check_dialect { DIALECT_SOURCE, DIALECT_MASTER, DIALECT_MARIADB, DIALECTS };

enum { CHECKS_MAX = 24 };

struct checks {
    enum check_dialect dialect;
    bool persists; /* knows SET PERSIST */
    bool ours;     /* our link has asked for semi-sync: one of the clients is we */
    bool settling; /* connections of ours that are over may be counted too, for a moment: more clients than ours prove nothing yet */
    struct check_result results[CHECKS_MAX];
    size_t n;

    /* checks.c's */
    size_t at; /* row */
    bool tried_both, no_plugin, skipped;
    uint64_t acks_wanted; /* wait_for_replica_count */
    char query[256];
};

void checks_begin(struct checks *c, enum flavour flavour, const char *version, bool ours, bool settling);
const char *checks_query(struct checks *c); /* NULL: all is asked */
/* status: 0, the server's ERR (E_PEER, E_DENIED: the result has it), or another code: there was no answer (result NULL). */
void checks_answer(struct checks *c, int status, const struct result *result);

/* What could not be asked is taken from the time before. */
void checks_keep(struct checks *c, const struct checks *before);
size_t checks_count(const struct checks *c, enum check_state state);

/* The source's own counters (SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%'). */
struct source_counters {
    bool known; /* semi-sync is there */
    bool on;    /* it waits */
    uint64_t clients, yes_tx, no_tx;
};

#define COUNTERS_QUERY "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%'"
void counters_read(struct source_counters *counters, const struct result *result);

#endif
