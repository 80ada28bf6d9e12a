/* auth_hash.h: the two password schemes, as pure functions. A scramble is what a client sends for a password
 * and the server's salt; a verifier is what a server keeps instead of the password. Comparisons take the same
 * time for every input. */
#ifndef HOLDFAST_AUTH_HASH_H
#define HOLDFAST_AUTH_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AUTH_SALT = 20, NATIVE_SIZE = 20, SHA2_SIZE = 32 };

#define AUTH_PLUGINS(X)                                                                                      \
    X(SHA2, "caching_sha2_password")                                                                         \
    X(NATIVE, "mysql_native_password")

enum auth_plugin {
    AUTH_OTHER,
#define AUTH_PLUGIN_ENUM(name, text) AUTH_##name,
    AUTH_PLUGINS(AUTH_PLUGIN_ENUM)
#undef AUTH_PLUGIN_ENUM
};

const char *auth_plugin_name(enum auth_plugin plugin);              /* "" for AUTH_OTHER */
enum auth_plugin auth_plugin_of(const char *name, size_t n);        /* AUTH_OTHER when it is none of ours */

/* Both verifiers of one account, so that every client can use the scheme it knows. All fields are replicated
 * state. */
struct account_secret {
    uint8_t native[NATIVE_SIZE]; /* SHA1(SHA1(password)) */
    uint8_t sha2[SHA2_SIZE];     /* SHA256(SHA256(password)) */
    bool empty;                  /* no password at all */
};

void account_secret_set(struct account_secret *secret, const char *password, size_t n);

/* A secret that nothing matches (a made-up account; also a locked one). */
void account_secret_none(struct account_secret *secret);

/* The password itself, in time that does not depend on where it differs. */
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

#endif
