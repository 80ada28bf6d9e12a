/* auth_client.h: the client's side of the login, as a state machine over packets.
 *
 *     a = client_auth_new(&opts);
 *     for every packet that wire_next gives:
 *         switch (client_auth_packet(a, wire, &packet, em)) {
 *         case CLIENT_AUTH_MORE: send wire_output, go on
 *         case CLIENT_AUTH_DONE: client_auth_result(a); commands may begin (the wire's sequence is reset)
 *         default (< 0): E_DENIED or E_PEER: the server's ERR (its number in result->code); E_TLS,
 *         E_MALFORMED,
 *                        E_UNSUPPORTED: ours. Send wire_output, close.
 *         }
 *
 * The server speaks first. TLS begins by itself inside client_auth_packet when both sides want it,
 * compression with the OK: bytes are fed to the wire as before. Knows greetings of MySQL 5.6 to 9.7 and
 * MariaDB; mysql_native_password, caching_sha2_password (fast; full over TLS, over a local socket, or with
 * the server's RSA key), sha256_password (over TLS, or with that key) and MariaDB's ed25519. Owner: whoever
 * made it; one thread; freed by client_auth_free. */
#ifndef HOLDFAST_AUTH_CLIENT_H
#define HOLDFAST_AUTH_CLIENT_H

#include "protocol/auth_hash.h"
#include "protocol/base/err.h"
#include "protocol/compress.h"
#include "protocol/packet.h"
#include "protocol/tls.h"

struct wire;
struct client_auth;

enum { CLIENT_AUTH_MORE = 0, CLIENT_AUTH_DONE = 1 };

struct client_auth_attr {
    const char *name;
    const char *value;
};

/* All texts are copied. */
struct client_auth_opts {
    const char *user;
    const char *password; /* NULL or "": none */
    const char *db;       /* NULL: none */
    uint32_t caps;        /* 0: CAPS_CLIENT. CAP_SSL and CAP_CONNECT_WITH_DB are set by need */
    uint8_t charset;      /* 0: utf8mb4_general_ci, known to all */
    uint32_t max_packet;  /* 0: 1 GiB */
    const struct client_auth_attr *attrs;
    size_t nattrs;
    enum tls_mode tls_mode;
    struct tls_ctx *tls;     /* NULL: as mode DISABLED (an error for REQUIRED and above) */
    const char *server_name; /* for verify_identity and SNI */
    bool local;              /* a local socket: no TLS, the password may go in clear in full authentication */
    struct compress_choice compress; /* where the server does not offer it: none */
    bool no_rsa;                     /* refuse to take the server's RSA key over an open connection */
};

struct client_auth_result {
    char version[128]; /* as the server sent it, without MariaDB's "5.5.5-" */
    bool is_mariadb;
    uint32_t thread_id;
    uint32_t caps;   /* what both sides have: give this to commands and results */
    uint8_t charset; /* the server's default */
    bool tls;
    enum compress_kind compress; /* in use */
    enum auth_plugin plugin;     /* that was used in the end */
    unsigned code;               /* the server's error number when it refused */
    char sqlstate[6];
};

struct client_auth *client_auth_new(const struct client_auth_opts *opts);
void client_auth_free(struct client_auth *a); /* wipes the password; NULL is fine */
int client_auth_packet(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em);
const struct client_auth_result *client_auth_result(const struct client_auth *a);

#endif
