/* auth_hash.h: the password schemes, as pure functions. A scramble is what a client sends for a password
 * and the server's salt; a verifier is what a server keeps instead of the password. Comparisons take the same
 * time for every input. */
#ifndef HOLDFAST_AUTH_HASH_H
#define HOLDFAST_AUTH_HASH_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AUTH_SALT = 20,
    NATIVE_SIZE = 20,
    SHA2_SIZE = 32,
    AUTH_PASSWORD_MAX = 256, /* MySQL's, for its SHA-256 plugins */
    SHA2_STORED_SALT = 20,
    SHA2_STORED_DIGEST = 43,
    SHA2_STORED_THOUSANDS = 5,
    ED25519_NONCE = 32,
    ED25519_KEY = 32,
    ED25519_SIZE = 64,
};

/* The last two only as a client. */
#define AUTH_PLUGINS(X)                                                                                      \
    X(SHA2, "caching_sha2_password")                                                                         \
    X(NATIVE, "mysql_native_password")                                                                       \
    X(SHA256, "sha256_password")                                                                             \
    X(ED25519, "client_ed25519")

enum auth_plugin {
    AUTH_OTHER,
#define AUTH_PLUGIN_ENUM(name, text) AUTH_##name,
    AUTH_PLUGINS(AUTH_PLUGIN_ENUM)
#undef AUTH_PLUGIN_ENUM
};

const char *auth_plugin_name(enum auth_plugin plugin);       /* "" for AUTH_OTHER */
enum auth_plugin auth_plugin_of(const char *name, size_t n); /* AUTH_OTHER when it is none of ours */

/* One that our server does too. */
static inline bool auth_plugin_served(enum auth_plugin plugin)
{
    return plugin == AUTH_SHA2 || plugin == AUTH_NATIVE;
}

/* What MySQL's mysql.user holds for caching_sha2_password (auth_crypt.c): good for the password itself only.
 */
struct sha2_stored {
    uint16_t thousands; /* of rounds; 0: there is none, nothing matches */
    uint8_t salt[SHA2_STORED_SALT];
    char digest[SHA2_STORED_DIGEST]; /* no NUL */
};

/* Both verifiers of one account, so that every client can use the scheme it knows. All fields are replicated
 * state. A cold account was taken over from a MySQL server with its stored form: the other two are not known,
 * so that full authentication is needed. An account can be good for one plugin only, because that was asked
 * for or because no more than its hash is known: then the other verifier is zeros, which nothing hashes to. */
struct account_secret {
    uint8_t native[NATIVE_SIZE]; /* SHA1(SHA1(password)) */
    uint8_t sha2[SHA2_SIZE];     /* SHA256(SHA256(password)) */
    bool empty;                  /* no password at all */
    bool cold;                   /* only `stored` counts */
    bool native_only;            /* `sha2` is zeros */
    bool sha2_only;              /* `native` is zeros */
    struct sha2_stored stored;   /* also of others, to be shown */
};

void account_secret_set(struct account_secret *secret, const char *password, size_t n);
/* Good for this plugin alone, from now on. */
void account_secret_restrict(struct account_secret *secret, enum auth_plugin plugin);
/* From what a server shows as the hash: "*" and 40 hex digits; the stored form of caching_sha2_password. E_MALFORMED. */
int account_secret_from_hash(struct account_secret *secret, enum auth_plugin plugin, const void *hash, size_t n);

/* A secret that nothing matches (a made-up account; also a locked one). */
void account_secret_none(struct account_secret *secret);

/* The password itself, in time that does not depend on where it differs; of a cold account too. */
bool account_secret_matches(const struct account_secret *secret, const char *password, size_t n);

void native_scramble(const char *password, size_t n, const uint8_t salt[AUTH_SALT], uint8_t out[NATIVE_SIZE]);
void sha2_scramble(const char *password, size_t n, const uint8_t salt[AUTH_SALT], uint8_t out[SHA2_SIZE]);

bool native_verify(const struct account_secret *secret, const uint8_t salt[AUTH_SALT],
                   const uint8_t response[NATIVE_SIZE]);
bool sha2_verify(const struct account_secret *secret, const uint8_t salt[AUTH_SALT],
                 const uint8_t response[SHA2_SIZE]);

/* A response of n bytes for a plugin; n = 0 stands for the empty password. Wrong lengths do not match. */
bool auth_verify(const struct account_secret *secret, enum auth_plugin plugin, const uint8_t salt[AUTH_SALT],
                 const uint8_t *response, size_t n);

/* Random bytes made fit for a salt: 7 bits, never NUL or '$'. */
void auth_salt_fit(uint8_t salt[AUTH_SALT]);

/* What caching_sha2 full authentication sends without TLS: RSA-OAEP of (password NUL) XOR salt under the
 * server's PEM key. out: at least 1024 bytes; *n is set. 0, E_MALFORMED (no key, too small for the password),
 * E_UNSUPPORTED. */
int sha2_rsa_encrypt(const char *password, size_t npassword, const uint8_t salt[AUTH_SALT], const void *pem,
                     size_t npem, uint8_t *out, size_t size, size_t *n);

/* ---- stored form of caching_sha2_password: "$A$005$" salt digest ---- */

int sha2_stored_parse(const void *text, size_t n, struct sha2_stored *stored); /* E_MALFORMED */
void sha2_stored_set(struct sha2_stored *stored, const char *password, size_t n,
                     const uint8_t salt[SHA2_STORED_SALT]); /* n <= AUTH_PASSWORD_MAX */
/* Takes as long for one that holds nothing. */
bool sha2_stored_matches(const struct sha2_stored *stored, const char *password, size_t n);

/* crypt(3)'s SHA-256 scheme, without its text around it: n <= AUTH_PASSWORD_MAX, nsalt <= SHA2_STORED_SALT.
 */
void sha256_crypt(const char *password, size_t n, const uint8_t *salt, size_t nsalt, unsigned rounds,
                  char out[SHA2_STORED_DIGEST]);

/* ---- MariaDB's ed25519: E_NOMEM ---- */

int ed25519_sign(const char *password, size_t n, const uint8_t nonce[ED25519_NONCE],
                 uint8_t out[ED25519_SIZE]);
int ed25519_public(const char *password, size_t n, uint8_t out[ED25519_KEY]); /* what the server keeps */

/* ---- a server's RSA key, for passwords over open connections (auth_rsa.c) ---- */

struct auth_rsa; /* does not change after it was made: any thread may use it */

enum { AUTH_RSA_BITS = 2048, AUTH_RSA_OUT_MAX = 1024 };

int auth_rsa_make(struct buf *pem, struct errmsg *em); /* a new private key as text; takes up to a second */
struct auth_rsa *auth_rsa_new(const char *pem,
                              struct errmsg *em);        /* NULL: not an RSA key of 2048 to 8192 bits */
struct auth_rsa *auth_rsa_ref(struct auth_rsa *rsa);     /* NULL is fine */
void auth_rsa_free(struct auth_rsa *rsa);                /* gives a reference back; NULL is fine */
const char *auth_rsa_public(const struct auth_rsa *rsa); /* PEM, as clients ask for it */
/* Undoes sha2_rsa_encrypt: the password (its NUL not counted) into out. E_MALFORMED; nothing tells why. */
int auth_rsa_decrypt(const struct auth_rsa *rsa, const uint8_t *data, size_t n, const uint8_t salt[AUTH_SALT],
                     char out[AUTH_RSA_OUT_MAX], size_t *nout);

#endif
