/* auth_rsa.c: the RSA key with which clients of caching_sha2_password hide their password on open
 * connections.
 *
 * Happy path: made once, kept by the daemon as a PEM file, read at start; sessions send the public half and
 * decrypt. Failure modes: a text that holds no such key: E_MALFORMED with the reason; what does not decrypt:
 * E_MALFORMED without any (a peer learns nothing from the difference). */
#include "protocol/auth_hash.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/bio.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <limits.h>
#include <stdatomic.h>
#include <string.h>

enum { BITS_MAX = 8192, PEM_TEXT_MAX = 65536 };

struct auth_rsa {
    EVP_PKEY *key;
    char *public_pem;
    atomic_uint refs;
};

int auth_rsa_make(struct buf *pem, struct errmsg *em)
{
    ERR_clear_error();
    EVP_PKEY *key = EVP_RSA_gen(AUTH_RSA_BITS);
    BIO *bio = key ? BIO_new(BIO_s_secmem()) : NULL;
    bool ok = bio_drain(bio, bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1, pem);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok ? 0 : err_set(em, E_TLS, "cannot make an RSA key");
}

static char *public_text(EVP_PKEY *key)
{
    struct buf b;
    buf_init(&b, PEM_TEXT_MAX);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = bio_drain(bio, bio && PEM_write_bio_PUBKEY(bio, key) == 1, &b) ? mem_str(buf_cstr(&b)) : NULL;
    buf_free(&b);
    return text;
}

struct auth_rsa *auth_rsa_new(const char *pem, struct errmsg *em)
{
    size_t n = strlen(pem);
    ERR_clear_error();
    BIO *bio = n && n < INT_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, bio_no_passphrase, NULL) : NULL;
    bool fits = key && EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) >= AUTH_RSA_BITS &&
                EVP_PKEY_bits(key) <= BITS_MAX;
    char *text = fits ? public_text(key) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (!text) {
        EVP_PKEY_free(key);
        err_set(em, E_MALFORMED, "not a private RSA key of %d to %d bits", AUTH_RSA_BITS, BITS_MAX);
        return NULL;
    }
    struct auth_rsa *rsa = mem_new(sizeof(*rsa));
    rsa->key = key;
    rsa->public_pem = text;
    atomic_init(&rsa->refs, 1);
    return rsa;
}

struct auth_rsa *auth_rsa_ref(struct auth_rsa *rsa)
{
    if (rsa) {
        atomic_fetch_add(&rsa->refs, 1);
    }
    return rsa;
}

void auth_rsa_free(struct auth_rsa *rsa)
{
    if (rsa && atomic_fetch_sub(&rsa->refs, 1) == 1) {
        EVP_PKEY_free(rsa->key);
        mem_free(rsa->public_pem);
        mem_free(rsa);
    }
}

const char *auth_rsa_public(const struct auth_rsa *rsa)
{
    return rsa->public_pem;
}

int auth_rsa_decrypt(const struct auth_rsa *rsa, const uint8_t *data, size_t n, const uint8_t salt[AUTH_SALT],
                     char out[AUTH_RSA_OUT_MAX], size_t *nout)
{
    ERR_clear_error();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(rsa->key, NULL);
    size_t got = AUTH_RSA_OUT_MAX;
    bool ok = ctx && n == (size_t)EVP_PKEY_size(rsa->key) && EVP_PKEY_decrypt_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
              EVP_PKEY_decrypt(ctx, (uint8_t *)out, &got, data, n) == 1 && got > 0;
    for (size_t i = 0; ok && i < got; i++) {
        out[i] = (char)(out[i] ^ salt[i % AUTH_SALT]);
    }
    ok = ok && out[got - 1] == 0;
    *nout = ok ? got - 1 : 0;
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return ok ? 0 : E_MALFORMED;
}
