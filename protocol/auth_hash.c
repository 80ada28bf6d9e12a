/* auth_hash.c: the arithmetic of mysql_native_password and caching_sha2_password.
 *
 * native:  scramble = SHA1(p) ^ SHA1(salt + SHA1(SHA1(p)))               the server keeps SHA1(SHA1(p))
 * sha2:    scramble = SHA256(p) ^ SHA256(SHA256(SHA256(p)) + salt)       the server keeps SHA256(SHA256(p))
 * To verify, the server computes the second part from what it keeps, takes it off the scramble and hashes
 * what is left: that must be what it keeps. No failure modes: all inputs are of fixed size, but for the RSA
 * part (a peer's PEM text). */
#include "protocol/auth_hash.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "protocol/bio.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>

#include <string.h>

enum { RSA_SECRET_MAX = 1024 }; /* more than the largest keys in use can carry */

const char *auth_plugin_name(enum auth_plugin plugin)
{
    switch (plugin) {
#define AUTH_PLUGIN_CASE(name, text)                                                                         \
    case AUTH_##name:                                                                                        \
        return text;
        AUTH_PLUGINS(AUTH_PLUGIN_CASE)
#undef AUTH_PLUGIN_CASE
    case AUTH_OTHER:
        break;
    }
    return "";
}

enum auth_plugin auth_plugin_of(const char *name, size_t n)
{
#define AUTH_PLUGIN_IS(id, text)                                                                             \
    if (n == sizeof(text) - 1 && memcmp(name, text, n) == 0) {                                               \
        return AUTH_##id;                                                                                    \
    }
    AUTH_PLUGINS(AUTH_PLUGIN_IS)
#undef AUTH_PLUGIN_IS
    return AUTH_OTHER;
}

static void sha1(const void *data, size_t n, uint8_t out[NATIVE_SIZE])
{
    CHECK(EVP_Digest(data, n, out, NULL, EVP_sha1(), NULL) == 1);
}

static void sha256(const void *data, size_t n, uint8_t out[SHA2_SIZE])
{
    CHECK(EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL) == 1);
}

static void exclusive_or(uint8_t *to, const uint8_t *with, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] ^= with[i];
    }
}

/* The part of the scramble that client and server both can compute. */
static void native_mask(const uint8_t kept[NATIVE_SIZE], const uint8_t salt[AUTH_SALT],
                        uint8_t out[NATIVE_SIZE])
{
    uint8_t joined[AUTH_SALT + NATIVE_SIZE];
    memcpy(joined, salt, AUTH_SALT);
    memcpy(joined + AUTH_SALT, kept, NATIVE_SIZE);
    sha1(joined, sizeof(joined), out);
}

static void sha2_mask(const uint8_t kept[SHA2_SIZE], const uint8_t salt[AUTH_SALT], uint8_t out[SHA2_SIZE])
{
    uint8_t joined[SHA2_SIZE + AUTH_SALT];
    memcpy(joined, kept, SHA2_SIZE);
    memcpy(joined + SHA2_SIZE, salt, AUTH_SALT);
    sha256(joined, sizeof(joined), out);
}

void account_secret_set(struct account_secret *secret, const char *password, size_t n)
{
    uint8_t once[SHA2_SIZE];
    memset(secret, 0, sizeof(*secret));
    secret->empty = n == 0;
    sha1(password, n, once);
    sha1(once, NATIVE_SIZE, secret->native);
    sha256(password, n, once);
    sha256(once, SHA2_SIZE, secret->sha2);
    OPENSSL_cleanse(once, sizeof(once));
}

void account_secret_restrict(struct account_secret *secret, enum auth_plugin plugin)
{
    if (plugin == AUTH_NATIVE) {
        memset(secret->sha2, 0, sizeof(secret->sha2));
        memset(&secret->stored, 0, sizeof(secret->stored));
        secret->native_only = true;
    } else if (plugin == AUTH_SHA2) {
        memset(secret->native, 0, sizeof(secret->native));
        secret->sha2_only = true;
    }
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static int native_from_hash(struct account_secret *secret, const char *hash, size_t n)
{
    if (n != 1 + 2 * NATIVE_SIZE || hash[0] != '*') {
        return E_MALFORMED;
    }
    for (size_t i = 0; i < NATIVE_SIZE; i++) {
        int high = hex_digit(hash[1 + 2 * i]), low = hex_digit(hash[2 + 2 * i]);
        if (high < 0 || low < 0) {
            return E_MALFORMED;
        }
        secret->native[i] = (uint8_t)(high << 4 | low);
    }
    secret->native_only = true;
    return 0;
}

int account_secret_from_hash(struct account_secret *secret, enum auth_plugin plugin, const void *hash, size_t n)
{
    account_secret_none(secret);
    if (plugin == AUTH_NATIVE) {
        return native_from_hash(secret, hash, n);
    }
    secret->cold = true;
    return plugin == AUTH_SHA2 ? sha2_stored_parse(hash, n, &secret->stored) : E_MALFORMED;
}

void account_secret_none(struct account_secret *secret)
{
    memset(secret, 0, sizeof(*secret)); /* nobody knows what hashes to zeros */
}

bool account_secret_matches(const struct account_secret *secret, const char *password, size_t n)
{
    if (secret->cold) {
        return sha2_stored_matches(&secret->stored, password, n) && !secret->empty;
    }
    struct account_secret other;
    account_secret_set(&other, password, n);
    bool same = secret->native_only ? CRYPTO_memcmp(secret->native, other.native, NATIVE_SIZE) == 0
                                    : CRYPTO_memcmp(secret->sha2, other.sha2, SHA2_SIZE) == 0;
    OPENSSL_cleanse(&other, sizeof(other));
    return same && secret->empty == (n == 0);
}

void native_scramble(const char *password, size_t n, const uint8_t salt[AUTH_SALT], uint8_t out[NATIVE_SIZE])
{
    uint8_t once[NATIVE_SIZE];
    uint8_t twice[NATIVE_SIZE];
    sha1(password, n, once);
    sha1(once, sizeof(once), twice);
    native_mask(twice, salt, out);
    exclusive_or(out, once, NATIVE_SIZE);
    OPENSSL_cleanse(once, sizeof(once));
}

void sha2_scramble(const char *password, size_t n, const uint8_t salt[AUTH_SALT], uint8_t out[SHA2_SIZE])
{
    uint8_t once[SHA2_SIZE];
    uint8_t twice[SHA2_SIZE];
    sha256(password, n, once);
    sha256(once, sizeof(once), twice);
    sha2_mask(twice, salt, out);
    exclusive_or(out, once, SHA2_SIZE);
    OPENSSL_cleanse(once, sizeof(once));
}

bool native_verify(const struct account_secret *secret, const uint8_t salt[AUTH_SALT],
                   const uint8_t response[NATIVE_SIZE])
{
    uint8_t once[NATIVE_SIZE];
    uint8_t twice[NATIVE_SIZE];
    native_mask(secret->native, salt, once);
    exclusive_or(once, response, NATIVE_SIZE);
    sha1(once, sizeof(once), twice);
    OPENSSL_cleanse(once, sizeof(once));
    return CRYPTO_memcmp(twice, secret->native, NATIVE_SIZE) == 0;
}

bool sha2_verify(const struct account_secret *secret, const uint8_t salt[AUTH_SALT],
                 const uint8_t response[SHA2_SIZE])
{
    uint8_t once[SHA2_SIZE];
    uint8_t twice[SHA2_SIZE];
    sha2_mask(secret->sha2, salt, once);
    exclusive_or(once, response, SHA2_SIZE);
    sha256(once, sizeof(once), twice);
    OPENSSL_cleanse(once, sizeof(once));
    return CRYPTO_memcmp(twice, secret->sha2, SHA2_SIZE) == 0;
}

bool auth_verify(const struct account_secret *secret, enum auth_plugin plugin, const uint8_t salt[AUTH_SALT],
                 const uint8_t *response, size_t n)
{
    if (n == 0) {
        return secret->empty;
    }
    if (secret->empty || secret->cold) {
        return false; /* the scramble of an empty password is never sent; a cold one's verifiers are not known */
    }
    if (plugin == AUTH_NATIVE && n == NATIVE_SIZE) {
        return native_verify(secret, salt, response);
    }
    return plugin == AUTH_SHA2 && n == SHA2_SIZE && sha2_verify(secret, salt, response);
}

void auth_salt_fit(uint8_t salt[AUTH_SALT])
{
    for (size_t i = 0; i < AUTH_SALT; i++) {
        salt[i] &= 0x7f;
        if (salt[i] == 0 || salt[i] == '$') {
            salt[i]++;
        }
    }
}

/* ---- RSA ---- */

static EVP_PKEY *read_key(const void *pem, size_t n)
{
    BIO *bio = n && n < 64 * 1024 ? BIO_new_mem_buf(pem, (int)n) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, bio_no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

int sha2_rsa_encrypt(const char *password, size_t npassword, const uint8_t salt[AUTH_SALT], const void *pem,
                     size_t npem, uint8_t *out, size_t size, size_t *n)
{
    if (npassword >= RSA_SECRET_MAX) {
        return E_TOOBIG;
    }
    ERR_clear_error();
    EVP_PKEY *key = read_key(pem, npem);
    EVP_PKEY_CTX *ctx = key && EVP_PKEY_base_id(key) == EVP_PKEY_RSA ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    uint8_t secret[RSA_SECRET_MAX];
    if (npassword) {
        memcpy(secret, password, npassword);
    }
    secret[npassword] = 0;
    for (size_t i = 0; i <= npassword; i++) {
        secret[i] ^= salt[i % AUTH_SALT];
    }
    *n = size;
    bool ok = ctx && EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              (size_t)EVP_PKEY_size(key) <= size &&
              EVP_PKEY_encrypt(ctx, out, n, secret, npassword + 1) == 1;
    OPENSSL_cleanse(secret, sizeof(secret));
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok ? 0 : E_MALFORMED;
}
