/* auth_crypt.c: what a MySQL server stores for an account of caching_sha2_password: "$A$00A$", a salt of 20
 * bytes, a digest of 43 characters. It is the well-known SHA-256 scheme of crypt(3) ("$5$"), with a longer
 * salt than crypt(3) takes; 00A is a number of thousands of rounds, in hexadecimal (005 before 9.x). It can
 * only be checked against the password itself.
 *
 * Happy path: parse, hash the given password with the salt, compare in constant time (some milliseconds).
 * Failure modes: a text that is none: E_MALFORMED; a password longer than MySQL allows never matches. */
#include "protocol/auth_hash.h"

#include "protocol/base/check.h"
#include "protocol/base/cursor.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <string.h>

enum { ROUNDS_UNIT = 1000 };

static const char PREFIX[] = "$A$";

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int sha2_stored_parse(const void *text, size_t n, struct sha2_stored *stored)
{
    struct cur c = cur_of(text, n);
    memset(stored, 0, sizeof(*stored));
    const uint8_t *prefix = cur_bytes(&c, sizeof(PREFIX) - 1);
    bool ok = prefix && memcmp(prefix, PREFIX, sizeof(PREFIX) - 1) == 0;
    unsigned thousands = 0;
    for (int i = 0; i < 3; i++) {
        int digit = digit_of(cur_u8(&c));
        ok = ok && digit >= 0;
        thousands = thousands * 16 + (digit < 0 ? 0 : (unsigned)digit);
    }
    ok = ok && cur_u8(&c) == '$' && thousands > 0;
    cur_copy(&c, stored->salt, sizeof(stored->salt));
    cur_copy(&c, stored->digest, sizeof(stored->digest));
    if (!ok || !cur_done(&c)) {
        memset(stored, 0, sizeof(*stored));
        return E_MALFORMED;
    }
    stored->thousands = (uint16_t)thousands;
    return 0;
}

/* ---- the scheme ---- */

struct hash {
    EVP_MD_CTX *md;
    bool bad;
};

static void begin(struct hash *h)
{
    h->bad |= EVP_DigestInit_ex(h->md, EVP_sha256(), NULL) != 1;
}

static void put(struct hash *h, const void *data, size_t n)
{
    h->bad |= EVP_DigestUpdate(h->md, data, n) != 1;
}

static void end(struct hash *h, uint8_t out[SHA2_SIZE])
{
    h->bad |= EVP_DigestFinal_ex(h->md, out, NULL) != 1;
}

/* n bytes of a digest, over and over. */
static void put_over(struct hash *h, const uint8_t digest[SHA2_SIZE], size_t n)
{
    for (; n > SHA2_SIZE; n -= SHA2_SIZE) {
        put(h, digest, SHA2_SIZE);
    }
    put(h, digest, n);
}

static void spread(uint8_t *to, size_t n, const uint8_t digest[SHA2_SIZE])
{
    for (size_t i = 0; i < n; i++) {
        to[i] = digest[i % SHA2_SIZE];
    }
}

/* The first digest, of password and salt alone. */
static void first(struct hash *h, const char *p, size_t n, const uint8_t *salt, size_t nsalt,
                  uint8_t out[SHA2_SIZE])
{
    uint8_t other[SHA2_SIZE] = {0};
    begin(h);
    put(h, p, n);
    put(h, salt, nsalt);
    put(h, p, n);
    end(h, other);
    begin(h);
    put(h, p, n);
    put(h, salt, nsalt);
    put_over(h, other, n);
    for (size_t bits = n; bits; bits >>= 1) {
        if (bits & 1) {
            put(h, other, SHA2_SIZE);
        } else {
            put(h, p, n);
        }
    }
    end(h, out);
    OPENSSL_cleanse(other, sizeof(other));
}

static void round_once(struct hash *h, unsigned i, const uint8_t *p, size_t n, const uint8_t *s, size_t ns,
                       uint8_t digest[SHA2_SIZE])
{
    begin(h);
    put(h, i & 1 ? p : digest, i & 1 ? n : SHA2_SIZE);
    if (i % 3) {
        put(h, s, ns);
    }
    if (i % 7) {
        put(h, p, n);
    }
    put(h, i & 1 ? digest : p, i & 1 ? SHA2_SIZE : n);
    end(h, digest);
}

static void to_text(const uint8_t d[SHA2_SIZE], char out[SHA2_STORED_DIGEST])
{
    static const char letters[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t at = 0;
    for (size_t i = 0; i < 11; i++) {
        size_t a =
            i * 21 % 30; /* 0, 21, 12, 3, 24, ...: three digits of one column, turned by one each time */
        uint32_t v = i < 10 ? (uint32_t)d[a] << 16 | (uint32_t)d[(a + 10) % 30] << 8 | d[(a + 20) % 30]
                            : (uint32_t)d[31] << 8 | d[30];
        for (size_t j = 0; j < (i < 10 ? 4u : 3u); j++, v >>= 6) {
            out[at++] = letters[v & 63];
        }
    }
    CHECK(at == SHA2_STORED_DIGEST);
}

void sha256_crypt(const char *password, size_t n, const uint8_t *salt, size_t nsalt, unsigned rounds,
                  char out[SHA2_STORED_DIGEST])
{
    uint8_t digest[SHA2_SIZE] = {0};
    uint8_t of_password[SHA2_SIZE] = {0};
    uint8_t of_salt[SHA2_SIZE] = {0};
    uint8_t p[AUTH_PASSWORD_MAX];
    uint8_t s[SHA2_STORED_SALT];
    struct hash h = {.md = EVP_MD_CTX_new()};
    CHECK(h.md && n <= sizeof(p) && nsalt <= sizeof(s));
    first(&h, password, n, salt, nsalt, digest);
    begin(&h);
    for (size_t i = 0; i < n; i++) {
        put(&h, password, n);
    }
    end(&h, of_password);
    begin(&h);
    for (size_t i = 0; i < 16u + digest[0]; i++) {
        put(&h, salt, nsalt);
    }
    end(&h, of_salt);
    spread(p, n, of_password);
    spread(s, nsalt, of_salt);
    for (unsigned i = 0; i < rounds; i++) {
        round_once(&h, i, p, n, s, nsalt, digest);
    }
    CHECK(!h.bad);
    to_text(digest, out);
    EVP_MD_CTX_free(h.md);
    OPENSSL_cleanse(digest, sizeof(digest));
    OPENSSL_cleanse(of_password, sizeof(of_password));
    OPENSSL_cleanse(p, sizeof(p));
}

void sha2_stored_set(struct sha2_stored *stored, const char *password, size_t n,
                     const uint8_t salt[SHA2_STORED_SALT])
{
    CHECK(n <= AUTH_PASSWORD_MAX);
    stored->thousands = SHA2_STORED_THOUSANDS;
    memcpy(stored->salt, salt, SHA2_STORED_SALT);
    sha256_crypt(password, n, salt, SHA2_STORED_SALT, stored->thousands * (unsigned)ROUNDS_UNIT,
                 stored->digest);
}

bool sha2_stored_matches(const struct sha2_stored *stored, const char *password, size_t n)
{
    char digest[SHA2_STORED_DIGEST];
    unsigned thousands =
        stored->thousands ? stored->thousands : SHA2_STORED_THOUSANDS; /* nobody's takes as long */
    if (n > AUTH_PASSWORD_MAX) {
        return false;
    }
    sha256_crypt(password, n, stored->salt, SHA2_STORED_SALT, thousands * (unsigned)ROUNDS_UNIT, digest);
    return CRYPTO_memcmp(digest, stored->digest, sizeof(digest)) == 0 && stored->thousands != 0;
}
