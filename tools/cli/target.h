/* target.h: a database server, seen from outside: what it has, of what it is a replica, and the statements that point it elsewhere.
 *
 * Owner: compensate.c; one thread. All that is asked of it is read only, but for target_run. */
#ifndef HOLDFAST_CLI_TARGET_H
#define HOLDFAST_CLI_TARGET_H

#include "protocol/gtid.h"
#include "tools/cli/conn.h"

struct target {
    char name[300]; /* host:port */
    struct conn *conn;
    enum flavour flavour;
    bool replica_words; /* REPLICA and SOURCE, not SLAVE and MASTER */
    bool read_only;
    struct gtid_set *has;     /* executed; MariaDB: the binlog's state */
    struct gtid_set *applied; /* MariaDB: gtid_slave_pos; NULL */
    /* as a replica */
    size_t channels; /* 0: it is none */
    char source[300], user[100], sql_error[500], io_error[500];
    bool io_runs, sql_runs, by_gtid;
    unsigned long delay;
};

/* Connects, tells the flavour and asks for all of it. E_UNSUPPORTED: a server whose GTIDs are off. */
int target_open(struct target *t, const struct conn_opts *opts, bool *refused, struct errmsg *em);
void target_close(struct target *t); /* fine when it was never opened */
int target_look(struct target *t, struct errmsg *em); /* asks for has, applied and the state as a replica again */

/* The statements that make it follow a member at host:port, with the account that it has; that stop it again; and that make it a source. */
void target_point(const struct target *t, const char *host, uint16_t port, struct buf *sql); /* separated by line ends */
void target_stop(const struct target *t, struct buf *sql);
/* ... or that make it a replica again, if it has no account for that, with one that the operator fills in. */
void target_rejoin(const struct target *t, const char *host, uint16_t port, struct buf *sql);
void target_promote(const struct target *t, struct buf *sql);
/* Runs each of them. em says which one failed, and why. */
int target_run(struct target *t, struct buf *sql, struct errmsg *em);

#endif
