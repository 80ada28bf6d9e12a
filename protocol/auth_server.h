/* auth_server.h: the server's side of the login, as a state machine over packets.
 *
 *     a = server_auth_new(&opts);
 *     server_auth_start(a, wire);                      the greeting is in the wire's output
 *     for every packet that wire_next gives:
 *         switch (server_auth_packet(a, wire, &packet, em)) {
 *         case SERVER_AUTH_MORE: send wire_output, go on
 *         case SERVER_AUTH_DONE: the OK packet is in the output; server_auth_result(a); the wire waits for a
 *         command default (< 0): E_DENIED: ERR 1045 is in the output; E_MALFORMED, E_UNSUPPORTED: ERR 1043.
 *         Send wire_output, close;
 *                        em is for the log.
 *         }
 *
 * An account has both verifiers (struct account_secret), so the plugin that the client knows is used:
 * whatever it answers with, else it is switched to one of the two; caching_sha2's fast path always works. A
 * *cold* account has neither: its client is switched to caching_sha2_password, and asked for the password
 * itself (over TLS or a local socket in clear, else under our RSA key, which it may ask for). An account that
 * is good for one plugin only has its client switched to that; one with mysql_native_password's hash alone can
 * tell the password over TLS instead. Accounts that do not exist play the same dialogue, in the same time. Owner: whoever made it; one thread; freed by
 * server_auth_free. */
#ifndef HOLDFAST_AUTH_SERVER_H
#define HOLDFAST_AUTH_SERVER_H

#include "protocol/auth_hash.h"
#include "protocol/base/err.h"
#include "protocol/packet.h"
#include "protocol/tls.h"

struct wire;
struct server_auth;

enum { SERVER_AUTH_MORE = 0, SERVER_AUTH_DONE = 1 };

enum { AUTH_USER_MAX = 96, AUTH_DB_MAX = 256, AUTH_PROGRAM_MAX = 64 };

/* Texts are copied, tls and rsa are referenced. */
struct server_auth_opts {
    const char *version; /* decides the dialect of replicas: "9.7.4-holdfast", "10.11.19-MariaDB-holdfast" */
    uint32_t thread_id;
    uint8_t salt[AUTH_SALT]; /* random; auth_salt_fit is applied */
    enum auth_plugin plugin; /* of the greeting; AUTH_OTHER: caching_sha2_password */
    struct tls_ctx *tls;     /* NULL: not offered */
    bool require_tls;        /* refuse accounts over an open connection that is not local */
    uint32_t caps;           /* 0: CAPS_SERVER; CAP_SSL is set by tls */
    uint8_t charset;         /* 0: 45, 255 for a MySQL 8+ flavour */
    const char *peer_host;   /* "10.0.0.7", "localhost": stands in the text of 1045 */
    bool is_local;           /* a local socket */
    bool admit_root;         /* ... of root or the daemon's own user: "root" needs no password */

    struct auth_rsa *rsa; /* for full authentication on open connections; NULL: it fails there */
    /* Accounts without one of the verifiers exist: whoever does not pass by a scramble is asked for the
     * password, so that the dialogue does not tell which accounts there are. Without it only those are. */
    bool full;
    /* What a cold account's password turned out to be: it need not be asked for again. May be NULL. */
    void (*learned)(void *arg, const char *user, const struct account_secret *secret);

    /* Finds an account: 0, or E_NOTFOUND. Called inside server_auth_packet; takes the same time for both. */
    int (*lookup)(void *arg, const char *user, struct account_secret *out);
    void *lookup_arg; /* of learned too */
};

struct server_auth_result {
    char user[AUTH_USER_MAX + 1];
    char db[AUTH_DB_MAX + 1];
    char program_name[AUTH_PROGRAM_MAX + 1]; /* attribute program_name, else _client_name; "" if none */
    uint32_t caps;                           /* what both sides have */
    uint32_t max_packet;                     /* the client's */
    uint8_t charset;                         /* the client's: 0 happens */
    bool tls;
    bool by_socket; /* came in as root by the local socket: all privileges, no account needed */
    enum auth_plugin plugin;
};

struct server_auth *server_auth_new(const struct server_auth_opts *opts);
void server_auth_free(struct server_auth *a); /* NULL is fine */
int server_auth_start(struct server_auth *a, struct wire *w);
/* The same in place of server_auth_start, for COM_CHANGE_USER on a connection that is logged in: a new one with a salt of
 * its own, which switches the client to it. `caps`, `tls`: as they are by now. */
int server_auth_change_user(struct server_auth *a, struct wire *w, const struct packet *p, uint32_t caps, bool tls,
                            struct errmsg *em);
int server_auth_packet(struct server_auth *a, struct wire *w, const struct packet *p, struct errmsg *em);

/* user and caps are valid as soon as the client named them (also after a refusal, for the log). */
const struct server_auth_result *server_auth_result(const struct server_auth *a);

#endif
