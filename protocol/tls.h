/* tls.h: TLS as a filter between byte buffers: OpenSSL without sockets.
 *
 * A tls_ctx holds certificates and rules; it does not change after it was made, so any thread may make
 * sessions from it. Who wants to change certificates makes a new one; sessions keep theirs alive. A tls is
 * one session; it belongs to the wire that it was given to. All texts are PEM, read from files by the caller.
 * OpenSSL's own random and, for the validity of certificates, its clock are used. */
#ifndef HOLDFAST_TLS_H
#define HOLDFAST_TLS_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls;
struct tls_ctx;

#define TLS_MODES(X)                                                                                         \
    X(DISABLED, "disabled")               /* never */                                                        \
    X(PREFERRED, "preferred")             /* when the server offers it */                                    \
    X(REQUIRED, "required")               /* or no connection */                                             \
    X(VERIFY_CA, "verify_ca")             /* and the certificate is signed by one of ca */                   \
    X(VERIFY_IDENTITY, "verify_identity") /* and carries the server's name */

enum tls_mode {
#define TLS_MODE_ENUM(name, text) TLS_##name,
    TLS_MODES(TLS_MODE_ENUM)
#undef TLS_MODE_ENUM
};

const char *tls_mode_name(enum tls_mode mode);
int tls_mode_parse(const char *text, enum tls_mode *mode); /* any case, '-' as '_'; E_INVALID */

/* Empty or NULL texts count as not given. */
struct tls_files {
    const char *ca;   /* certificates that are trusted; for verify modes without it: the system's */
    const char *cert; /* own certificate, with those between it and the ca behind it */
    const char *key;
};

/* mode: not DISABLED. NULL and em on failure. */
struct tls_ctx *tls_client_ctx(enum tls_mode mode, const struct tls_files *files, struct errmsg *em);

/* cert and key must be given; with ca a client may show a certificate, which must then be signed by it. */
struct tls_ctx *tls_server_ctx(const struct tls_files *files, struct errmsg *em);

/* Both sides know a key and prove it; nobody has a certificate. TLS 1.3 with a key exchange of its own for each session. */
enum { TLS_PSK_BYTES = 32 };
struct tls_ctx *tls_psk_ctx(bool server, const uint8_t key[TLS_PSK_BYTES], struct errmsg *em);

/* A server's that lets nobody in without a certificate signed by its ca. */
void tls_ctx_require_peer(struct tls_ctx *ctx);

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx); /* from any thread */
void tls_ctx_free(struct tls_ctx *ctx);           /* gives a reference back; NULL is fine */

/* server_name: what VERIFY_IDENTITY checks (name or address) and what SNI carries (names only); may be NULL
 * otherwise. */
struct tls *tls_client_new(struct tls_ctx *ctx, const char *server_name, struct errmsg *em);
struct tls *tls_server_new(struct tls_ctx *ctx, struct errmsg *em);
void tls_free(struct tls *tls);

/* Takes bytes from the peer (n may be 0, to let a client begin): what was decrypted is appended to `plain`,
 * what must be sent (handshake, alerts) to `out`. 0; E_CLOSED: the peer ended TLS in order; E_TLS, E_TOOBIG.
 * */
int tls_feed(struct tls *tls, const void *data, size_t n, struct buf *plain, struct buf *out,
             struct errmsg *em);

/* The handshake is over: tls_write may be called. */
bool tls_ready(const struct tls *tls);

/* Encrypts all of n bytes to `out`. */
int tls_write(struct tls *tls, const void *data, size_t n, struct buf *out, struct errmsg *em);

const char *tls_version(const struct tls *tls); /* "TLSv1.3" */
const char *tls_cipher(const struct tls *tls);

/* A self-signed certificate (EC P-256) and its key as PEM, appended to cert and key. now: seconds since 1970
 * (valid from a day before, for ten years); serial: any number from the caller's random; names: for the
 * subject (first) and as alternative names; addresses are recognized. */
int tls_self_signed(const char *const *names, size_t nnames, int64_t now, uint64_t serial, struct buf *cert,
                    struct buf *key, struct errmsg *em);

#endif
