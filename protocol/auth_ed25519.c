/* auth_ed25519.c: MariaDB's client_ed25519: the password signs the server's nonce.
 *
 * It is Ed25519, but for one thing: the secret that is hashed into scalar and prefix is the password itself,
 * of any length, in place of a seed of 32 bytes. No library takes such a key, so the curve's arithmetic is
 * done here with OpenSSL's big numbers: about 5 ms for a signature, once a login, on the client's side only.
 *
 * Happy path: SHA512(password) -> scalar a and prefix; r = SHA512(prefix, nonce); R = rB; k = SHA512(R, A,
 * nonce); S = r + k a. The ladder does the same operations for every scalar. Failure mode: no memory:
 * E_NOMEM. */
#include "protocol/auth_hash.h"

#include "protocol/base/err.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <string.h>

enum { BYTES = 32, DIGEST = 64, BITS = 256 };

static const char PRIME[] = "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFED";
static const char ORDER[] = "1000000000000000000000000000000014DEF9DEA2F79CD65812631A5CF5D3ED";
static const char CURVE_D[] = "52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3";
static const char BASE_X[] = "216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A";
static const char BASE_Y[] = "6666666666666666666666666666666666666666666666666666666666666658";

/* Numbers live in `ctx`, and go with it. A failure anywhere sets `bad`. */
struct curve {
    BN_CTX *ctx;
    BIGNUM *p, *order, *d2;
    BIGNUM *t[8]; /* for add() */
    bool bad;
};

struct point { /* extended coordinates: x/z, y/z, t = xy/z */
    BIGNUM *x, *y, *z, *t;
};

static BIGNUM *number(struct curve *c)
{
    BIGNUM *n = BN_CTX_get(c->ctx);
    c->bad |= n == NULL;
    return n;
}

static BIGNUM *constant(struct curve *c, const char *hex)
{
    BIGNUM *n = number(c);
    c->bad |= c->bad || BN_hex2bn(&n, hex) == 0;
    return n;
}

static void mul(struct curve *c, BIGNUM *to, const BIGNUM *a, const BIGNUM *b)
{
    c->bad |= BN_mod_mul(to, a, b, c->p, c->ctx) != 1;
}

static void sum(struct curve *c, BIGNUM *to, const BIGNUM *a, const BIGNUM *b)
{
    c->bad |= BN_mod_add_quick(to, a, b, c->p) != 1;
}

static void less(struct curve *c, BIGNUM *to, const BIGNUM *a, const BIGNUM *b)
{
    c->bad |= BN_mod_sub_quick(to, a, b, c->p) != 1;
}

/* to = a + b; complete on this curve, so it doubles too. `to` may be a or b. */
static void add(struct curve *c, struct point *to, const struct point *a, const struct point *b)
{
    BIGNUM **t = c->t;
    less(c, t[0], a->y, a->x);
    less(c, t[1], b->y, b->x);
    mul(c, t[2], t[0], t[1]);
    sum(c, t[0], a->y, a->x);
    sum(c, t[1], b->y, b->x);
    mul(c, t[3], t[0], t[1]);
    mul(c, t[0], a->t, b->t);
    mul(c, t[4], t[0], c->d2);
    mul(c, t[0], a->z, b->z);
    sum(c, t[5], t[0], t[0]);
    less(c, t[0], t[3], t[2]); /* E */
    less(c, t[1], t[5], t[4]); /* F */
    sum(c, t[6], t[5], t[4]);  /* G */
    sum(c, t[7], t[3], t[2]);  /* H */
    mul(c, to->x, t[0], t[1]);
    mul(c, to->y, t[6], t[7]);
    mul(c, to->t, t[0], t[7]);
    mul(c, to->z, t[1], t[6]);
}

static struct point point_new(struct curve *c)
{
    return (struct point){.x = number(c), .y = number(c), .z = number(c), .t = number(c)};
}

/* The point of a scalar times the base, as it is sent: y, with the lowest bit of x on top. */
static void times_base(struct curve *c, const uint8_t scalar[BYTES], uint8_t out[BYTES])
{
    struct point r[2] = {point_new(c), point_new(c)};
    if (c->bad) {
        return;
    }
    BN_zero(r[0].x);
    BN_zero(r[0].t);
    c->bad |= !BN_one(r[0].y) || !BN_one(r[0].z) || !BN_hex2bn(&r[1].x, BASE_X) ||
              !BN_hex2bn(&r[1].y, BASE_Y) || !BN_one(r[1].z);
    mul(c, r[1].t, r[1].x, r[1].y);
    for (int i = BITS - 1; i >= 0 && !c->bad; i--) { /* r[1] - r[0] is always the base */
        unsigned bit = (unsigned)(scalar[i / 8] >> (i % 8)) & 1;
        add(c, &r[bit ^ 1], &r[0], &r[1]);
        add(c, &r[bit], &r[bit], &r[bit]);
    }
    BIGNUM *inverse = number(c);
    if (c->bad || !BN_mod_inverse(inverse, r[0].z, c->p, c->ctx)) {
        c->bad = true;
        return;
    }
    mul(c, r[1].x, r[0].x, inverse);
    mul(c, r[1].y, r[0].y, inverse);
    c->bad |= BN_bn2lebinpad(r[1].y, out, BYTES) != BYTES;
    out[BYTES - 1] |= (uint8_t)(BN_is_odd(r[1].x) << 7);
}

/* out = (a + k s) modulo the order */
static void combine(struct curve *c, const BIGNUM *a, const BIGNUM *k, const uint8_t s[BYTES],
                    uint8_t out[BYTES])
{
    BIGNUM *n = number(c);
    BIGNUM *scalar = number(c);
    if (c->bad) {
        return;
    }
    c->bad |= !BN_lebin2bn(s, BYTES, scalar) || BN_mod_mul(n, k, scalar, c->order, c->ctx) != 1 ||
              BN_mod_add(n, n, a, c->order, c->ctx) != 1 || BN_bn2lebinpad(n, out, BYTES) != BYTES;
}

/* SHA512 of three ranges, as a number modulo the order. */
static BIGNUM *hash_number(struct curve *c, const void *a, size_t na, const void *b, size_t nb, const void *m,
                           size_t nm)
{
    uint8_t digest[DIGEST];
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    BIGNUM *n = number(c);
    c->bad |= c->bad || !md || EVP_DigestInit_ex(md, EVP_sha512(), NULL) != 1 ||
              EVP_DigestUpdate(md, a, na) != 1 || EVP_DigestUpdate(md, b, nb) != 1 ||
              EVP_DigestUpdate(md, m, nm) != 1 || EVP_DigestFinal_ex(md, digest, NULL) != 1 ||
              !BN_lebin2bn(digest, DIGEST, n) || BN_nnmod(n, n, c->order, c->ctx) != 1;
    EVP_MD_CTX_free(md);
    OPENSSL_cleanse(digest, sizeof(digest));
    return n;
}

static bool curve_open(struct curve *c)
{
    *c = (struct curve){.ctx = BN_CTX_secure_new()};
    if (!c->ctx) {
        return false;
    }
    BN_CTX_start(c->ctx);
    c->p = constant(c, PRIME);
    c->order = constant(c, ORDER);
    c->d2 = constant(c, CURVE_D);
    for (size_t i = 0; i < sizeof(c->t) / sizeof(c->t[0]); i++) {
        c->t[i] = number(c);
    }
    if (!c->bad) {
        sum(c, c->d2, c->d2, c->d2);
    }
    return !c->bad;
}

static void curve_close(struct curve *c)
{
    if (c->ctx) {
        BN_CTX_end(c->ctx);
        BN_CTX_free(c->ctx);
    }
}

/* The first half of the hash becomes the scalar, the second one is the prefix. */
static bool hash_password(const char *password, size_t n, uint8_t secret[DIGEST])
{
    if (EVP_Digest(password, n, secret, NULL, EVP_sha512(), NULL) != 1) {
        return false;
    }
    secret[0] &= 0xf8;
    secret[BYTES - 1] = (uint8_t)((secret[BYTES - 1] & 0x3f) | 0x40);
    return true;
}

int ed25519_public(const char *password, size_t n, uint8_t out[ED25519_KEY])
{
    struct curve c;
    uint8_t secret[DIGEST];
    bool ok = curve_open(&c) && hash_password(password, n, secret);
    if (ok) {
        times_base(&c, secret, out);
    }
    ok = ok && !c.bad;
    curve_close(&c);
    OPENSSL_cleanse(secret, sizeof(secret));
    return ok ? 0 : E_NOMEM;
}

int ed25519_sign(const char *password, size_t n, const uint8_t nonce[ED25519_NONCE],
                 uint8_t out[ED25519_SIZE])
{
    struct curve c;
    uint8_t secret[DIGEST] = {0};
    uint8_t key[BYTES] = {0};
    uint8_t scalar[BYTES] = {0};
    memset(out, 0, ED25519_SIZE);
    if (curve_open(&c) && hash_password(password, n, secret)) {
        times_base(&c, secret, key);
        BIGNUM *r = hash_number(&c, secret + BYTES, BYTES, nonce, ED25519_NONCE, NULL, 0);
        c.bad |= c.bad || BN_bn2lebinpad(r, scalar, BYTES) != BYTES;
        times_base(&c, scalar, out);
        BIGNUM *k = hash_number(&c, out, BYTES, key, BYTES, nonce, ED25519_NONCE);
        combine(&c, r, k, secret, out + BYTES);
    } else {
        c.bad = true;
    }
    curve_close(&c);
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(scalar, sizeof(scalar));
    return c.bad ? E_NOMEM : 0;
}
