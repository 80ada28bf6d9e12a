/* client.h: a small MySQL client on the loop: a connection to the source beside the one that dumps.
 *
 * Statements go one after the other, each with a time limit. All that goes wrong with the connection (no connect, no
 * login, a statement without an answer in time, bytes that cannot be read) ends it for good: failed() is called once,
 * and the owner makes a new one when it likes. An ERR packet is an answer like others.
 * Owner: whoever made it; loop env. Callbacks never come from inside a call; client_free may be called in each. */
#ifndef HOLDFAST_NODE_CLIENT_H
#define HOLDFAST_NODE_CLIENT_H

#include "protocol/auth_client.h"
#include "protocol/base/env.h"
#include "protocol/command.h"
#include "protocol/result.h"
#include "raft/entry.h"

struct client;

struct client_handler {
    void (*ready)(void *owner); /* logged in */
    void (*failed)(void *owner, uint16_t code, const char *why); /* code: the server's, 0 if it is ours */
};

/* status: 0, or E_PEER / E_DENIED: the server's ERR, which is in the result. The result is valid until it returns. */
typedef void client_answer(void *owner, int status, const struct result *result);

/* host, port: one of the candidates in `settings`, whose account and TLS are used. Copies what it needs. */
struct client *client_open(struct env *loop, const struct source_settings *settings, const char *host, uint16_t port,
                           const struct client_handler *handler, void *owner);
void client_free(struct client *client); /* NULL is fine; an idle connection says goodbye */
void client_end(struct client *client);  /* the same at the end of the process, where it may block */

bool client_idle(const struct client *client); /* logged in, and no statement is under way */
/* When it is idle. */
void client_query(struct client *client, const char *sql, uint64_t limit_ns, client_answer *answer);
/* When it is idle: asks for a dump. answer comes with the first packet of it, status 0 or E_PEER (no result); then the connection is of no other use:
 * client_free. */
void client_dump(struct client *client, const struct binlog_dump *dump, uint64_t limit_ns, client_answer *answer);
/* Of the server; after ready(). */
const struct client_auth_result *client_server(const struct client *client);

/* How nodes log in at a source, for this client and for the link that dumps: the account, TLS from the files' texts, and
 * compression as set. *tls (NULL without TLS) and *auth belong to the caller. */
int client_login(const struct source_settings *settings, const char *host, const char *role, const struct tls_files *files,
                 struct tls_ctx **tls, struct client_auth **auth, struct errmsg *em);

#endif
