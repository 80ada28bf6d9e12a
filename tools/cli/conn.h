/* conn.h: one connection of the CLI to a node: a socket, and protocol/ for every byte on it.
 *
 * Blocking, with a deadline for each step: the connect with its login, and each answer, have a time of their
 * own. After an error other than the server's own (E_PEER, E_DENIED of conn_query) the connection is
 * useless. Owner: whoever opened it; one thread; freed by conn_close. */
#ifndef HOLDFAST_CLI_CONN_H
#define HOLDFAST_CLI_CONN_H

#include "protocol/base/env.h"
#include "protocol/base/err.h"
#include "protocol/result.h"
#include "protocol/tls.h"

#include <stdbool.h>

struct conn;

/* Texts are read during conn_open only. */
struct conn_opts {
    struct env_addr addr;
    const char *user;
    const char *password;   /* "": none */
    enum tls_mode tls_mode; /* no TLS on a local socket, whatever it says */
    const char *ssl_ca;     /* PEM text; NULL: the system's */
    unsigned connect_ms; /* for the connect with the login */
    unsigned answer_ms;  /* for each answer after that */
};

/* Connects and logs in. *refused: the failure is the server's word about the account (code in em's text), not
 * a matter of the way to it. */
int conn_open(const struct conn_opts *opts, struct conn **conn, bool *refused, struct errmsg *em);

/* Says good-bye, closes, frees; NULL is fine. */
void conn_close(struct conn *conn);

/* One statement and its answer; `result` was made by result_init. E_PEER, E_DENIED: the server's ERR, the
 * connection goes on. */
int conn_query(struct conn *conn, const char *sql, size_t n, struct result *result, struct errmsg *em);

void conn_set_patience(struct conn *conn, unsigned answer_ms); /* with each answer from now on */
/* Asks for a dump of the binlog events that there are, by_gtid (MySQL) without the transactions in the encoded set; else as the variables of the
 * connection say (MariaDB's @slave_connect_state). Then conn_dump_next gives one after the other: 1; 0: the end; E_PEER: the server's error, in em.
 * The connection is of no other use afterwards. The event is valid until the next call. */
int conn_dump(struct conn *conn, bool by_gtid, uint32_t server_id, const void *gtids, size_t ngtids, struct errmsg *em);
int conn_dump_next(struct conn *conn, const uint8_t **event, size_t *n, struct errmsg *em);

const char *conn_version(const struct conn *conn); /* the server's, as it greets */

/* One sentence for a person: what to try after conn_open failed with this code. */
const char *conn_advice(const struct env_addr *addr, int code);

#endif
