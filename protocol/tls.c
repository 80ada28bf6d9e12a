/* tls.c: OpenSSL over byte buffers.
 *
 * Happy path: a session's BIO is our own: it reads from the range that tls_feed was called with and writes to
 * the buffer that the caller gave, so nothing is copied in between. tls_feed goes on with the handshake, then
 * decrypts all there is. Failure modes: a bad certificate, protocol or record: E_TLS with OpenSSL's reason,
 * and an alert in the output; a full buffer: E_TOOBIG. After an error the session is dead. OpenSSL's error
 * queue belongs to the thread: it is emptied before each use. */
#include "protocol/tls.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/bio.h"
#include "protocol/tls_impl.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <stdatomic.h>
#include <string.h>

struct tls_ctx {
    SSL_CTX *ssl;
    BIO_METHOD *method;
    enum tls_mode mode;
    atomic_uint refs;
    uint8_t psk[TLS_PSK_BYTES];
};

struct tls {
    struct tls_ctx *ctx;
    SSL *ssl;
    const uint8_t *in; /* only inside tls_feed */
    size_t nin;
    struct buf *out;   /* only inside tls_feed and tls_write */
    bool ready;
    char *name;              /* the peer's, as the certificate must have it; NULL: any */
    char refused[1024];      /* why the peer's certificate was */
};

/* ---- modes ---- */

const char *tls_mode_name(enum tls_mode mode)
{
    static const char *const names[] = {
#define TLS_MODE_TEXT(name, text) text,
        TLS_MODES(TLS_MODE_TEXT)
#undef TLS_MODE_TEXT
    };
    CHECK((size_t)mode < sizeof(names) / sizeof(names[0]));
    return names[mode];
}

static char mode_char(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c == '-' ? '_' : c;
}

int tls_mode_parse(const char *text, enum tls_mode *mode)
{
    for (int m = TLS_DISABLED; m <= TLS_VERIFY_IDENTITY; m++) {
        const char *name = tls_mode_name((enum tls_mode)m);
        size_t i = 0;
        while (name[i] && mode_char(text[i]) == name[i]) {
            i++;
        }
        if (!name[i] && !text[i]) {
            *mode = (enum tls_mode)m;
            return 0;
        }
    }
    return E_INVALID;
}

/* ---- errors ---- */

static int fail(struct errmsg *em, int code, const char *what)
{
    unsigned long e = ERR_get_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return reason ? err_set(em, code, "%s: %s", what, reason) : err_set(em, code, "%s", what);
}

/* ---- our BIO ---- */

static int bio_read(BIO *bio, char *to, size_t n, size_t *got)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *got = n < tls->nin ? n : tls->nin;
    if (*got == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(to, tls->in, *got);
    tls->in += *got;
    tls->nin -= *got;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t n, size_t *put)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *put = 0;
    if (!tls->out) {
        return 0;
    }
    buf_bytes(tls->out, data, n);
    if (tls->out->err) {
        return 0;
    }
    *put = n;
    return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *make_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "holdfast");
    if (m && BIO_meth_set_read_ex(m, bio_read) && BIO_meth_set_write_ex(m, bio_write) &&
        BIO_meth_set_ctrl(m, bio_ctrl) && BIO_meth_set_create(m, bio_create)) {
        return m;
    }
    BIO_meth_free(m);
    return NULL;
}

/* ---- contexts ---- */

static bool given(const char *text)
{
    return text && text[0];
}

static BIO *text_bio(const char *pem)
{
    size_t n = strlen(pem);
    return n > INT_MAX ? NULL : BIO_new_mem_buf(pem, (int)n);
}

static X509 *next_cert(BIO *bio)
{
    return bio ? PEM_read_bio_X509(bio, NULL, bio_no_passphrase, NULL) : NULL;
}

static int use_cert(SSL_CTX *ssl, const char *pem, struct errmsg *em)
{
    BIO *bio = text_bio(pem);
    X509 *cert = next_cert(bio);
    bool ok = cert && SSL_CTX_use_certificate(ssl, cert) == 1;
    X509_free(cert);
    while (ok && (cert = next_cert(bio)) != NULL) {
        ok = SSL_CTX_add1_chain_cert(ssl, cert) == 1;
        X509_free(cert);
    }
    BIO_free(bio);
    if (ok) {
        ERR_clear_error(); /* the end of the text is not an error */
    }
    return ok ? 0 : fail(em, E_TLS, "cannot use the certificate");
}

static int use_key(SSL_CTX *ssl, const char *pem, struct errmsg *em)
{
    BIO *bio = text_bio(pem);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, bio_no_passphrase, NULL) : NULL;
    bool ok = key && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok ? 0 : fail(em, E_TLS, "cannot use the key");
}

static int use_ca(SSL_CTX *ssl, const char *pem, bool show, struct errmsg *em)
{
    BIO *bio = text_bio(pem);
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    size_t count = 0;
    X509 *cert;
    bool ok = true;
    while (ok && (cert = next_cert(bio)) != NULL) {
        ok = X509_STORE_add_cert(store, cert) == 1 && (!show || SSL_CTX_add_client_CA(ssl, cert) == 1);
        X509_free(cert);
        count++;
    }
    BIO_free(bio);
    if (ok) {
        ERR_clear_error(); /* the end of the text is not an error */
    }
    if (!count) {
        return err_set(em, E_TLS, "cannot use the CA certificates: there are none in PEM form");
    }
    return ok ? 0 : fail(em, E_TLS, "cannot use the CA certificates");
}

/* Called for each certificate of the peer's chain; the verdict stays OpenSSL's. */
static int verified(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = ssl ? SSL_get_app_data(ssl) : NULL;
    if (!ok && tls && !tls->refused[0]) {
        tls_explain(store, tls->name, tls->refused, sizeof(tls->refused));
    }
    return ok;
}

static int fill_ctx(SSL_CTX *ssl, const struct tls_files *files, bool server, struct errmsg *em)
{
    static const unsigned char session_of[] = "holdfast";
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_session_id_context(ssl, session_of, sizeof(session_of) - 1) != 1) {
        return fail(em, E_TLS, "cannot set up TLS");
    }
    int rc = 0;
    if (given(files->ca)) {
        rc = use_ca(ssl, files->ca, server, em);
    }
    if (!rc && given(files->cert)) {
        rc = use_cert(ssl, files->cert, em);
    }
    if (!rc && given(files->key)) {
        rc = use_key(ssl, files->key, em);
    }
    return rc;
}

/* Takes ssl, also on failure. */
static struct tls_ctx *ctx_of(SSL_CTX *ssl, enum tls_mode mode, struct errmsg *em)
{
    BIO_METHOD *method = make_method();
    if (!method) {
        SSL_CTX_free(ssl);
        fail(em, E_NOMEM, "cannot set up TLS");
        return NULL;
    }
    struct tls_ctx *ctx = mem_new(sizeof(*ctx));
    ctx->ssl = ssl;
    ctx->method = method;
    ctx->mode = mode;
    atomic_init(&ctx->refs, 1);
    return ctx;
}

/* ---- a key that both sides know ---- */

static const char PSK_IDENTITY[] = "holdfast";

static unsigned put_psk(SSL *ssl, unsigned char *psk, unsigned max)
{
    const struct tls_ctx *ctx = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (!ctx || max < TLS_PSK_BYTES) {
        return 0;
    }
    memcpy(psk, ctx->psk, TLS_PSK_BYTES);
    return TLS_PSK_BYTES;
}

static unsigned psk_of_client(SSL *ssl, const char *hint, char *identity, unsigned max_identity, unsigned char *psk, unsigned max)
{
    (void)hint;
    if (max_identity < sizeof PSK_IDENTITY) {
        return 0;
    }
    memcpy(identity, PSK_IDENTITY, sizeof PSK_IDENTITY);
    return put_psk(ssl, psk, max);
}

static unsigned psk_of_server(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
    return strcmp(identity, PSK_IDENTITY) == 0 ? put_psk(ssl, psk, max) : 0;
}

/* Whoever shows a certificate instead of the key is not believed: there is no CA that could have signed it. */
struct tls_ctx *tls_psk_ctx(bool server, const uint8_t key[TLS_PSK_BYTES], struct errmsg *em)
{
    static const struct tls_files none = {NULL, NULL, NULL};
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (!ssl || fill_ctx(ssl, &none, server, em) || SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ssl, "TLS_AES_128_GCM_SHA256") != 1) {
        SSL_CTX_free(ssl);
        fail(em, E_TLS, "cannot set up TLS with a shared secret");
        return NULL;
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (server) {
        SSL_CTX_set_psk_server_callback(ssl, psk_of_server);
    } else { /* the session that OpenSSL makes of the key has no context to compare */
        (void)SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"", 0);
        SSL_CTX_set_psk_client_callback(ssl, psk_of_client);
    }
    struct tls_ctx *ctx = ctx_of(ssl, TLS_REQUIRED, em);
    if (ctx) {
        memcpy(ctx->psk, key, TLS_PSK_BYTES);
        SSL_CTX_set_app_data(ssl, ctx);
    }
    return ctx;
}

void tls_ctx_require_peer(struct tls_ctx *ctx)
{
    SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verified);
}

struct tls_ctx *tls_client_ctx(enum tls_mode mode, const struct tls_files *files, struct errmsg *em)
{
    CHECK(mode != TLS_DISABLED);
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (!ssl) {
        fail(em, E_TLS, "cannot set up TLS");
        return NULL;
    }
    if (given(files->cert) != given(files->key)) {
        err_set(em, E_INVALID, "a certificate needs its key, and a key its certificate");
        goto err;
    }
    if (fill_ctx(ssl, files, false, em)) {
        goto err;
    }
    if (mode >= TLS_VERIFY_CA) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, verified);
        if (!given(files->ca) && SSL_CTX_set_default_verify_paths(ssl) != 1) {
            fail(em, E_TLS, "cannot use the system's CA certificates");
            goto err;
        }
    }
    return ctx_of(ssl, mode, em);
err:
    SSL_CTX_free(ssl);
    return NULL;
}

struct tls_ctx *tls_server_ctx(const struct tls_files *files, struct errmsg *em)
{
    if (!given(files->cert) || !given(files->key)) {
        err_set(em, E_INVALID, "a server needs a certificate and its key");
        return NULL;
    }
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (!ssl) {
        fail(em, E_TLS, "cannot set up TLS");
        return NULL;
    }
    if (fill_ctx(ssl, files, true, em)) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    if (given(files->ca)) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, verified);
    }
    return ctx_of(ssl, TLS_REQUIRED, em);
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    if (ctx) {
        atomic_fetch_add(&ctx->refs, 1);
    }
    return ctx;
}

void tls_ctx_free(struct tls_ctx *ctx)
{
    if (ctx && atomic_fetch_sub(&ctx->refs, 1) == 1) {
        SSL_CTX_free(ctx->ssl);
        BIO_meth_free(ctx->method);
        mem_free(ctx);
    }
}

/* ---- sessions ---- */

static struct tls *session_new(struct tls_ctx *ctx, struct errmsg *em)
{
    ERR_clear_error();
    SSL *ssl = SSL_new(ctx->ssl);
    BIO *bio = ssl ? BIO_new(ctx->method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        fail(em, E_TLS, "cannot begin TLS");
        return NULL;
    }
    struct tls *tls = mem_new(sizeof(*tls));
    tls->ctx = tls_ctx_ref(ctx);
    tls->ssl = ssl;
    BIO_set_data(bio, tls);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, tls);
    return tls;
}

static bool name_session(struct tls *tls, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    bool verify = tls->ctx->mode == TLS_VERIFY_IDENTITY;
    if (!given(name)) {
        return !verify;
    }
    tls->name = mem_str(name);
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    if (address) {
        ASN1_OCTET_STRING_free(address);
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    }
    ERR_clear_error(); /* not an address: that was the question */
    return SSL_set_tlsext_host_name(tls->ssl, name) == 1 && (!verify || SSL_set1_host(tls->ssl, name) == 1);
}

struct tls *tls_client_new(struct tls_ctx *ctx, const char *server_name, struct errmsg *em)
{
    struct tls *tls = session_new(ctx, em);
    if (!tls) {
        return NULL;
    }
    SSL_set_connect_state(tls->ssl);
    if (!name_session(tls, server_name)) {
        fail(em, E_TLS, "TLS: no server name to verify");
        tls_free(tls);
        return NULL;
    }
    return tls;
}

struct tls *tls_server_new(struct tls_ctx *ctx, struct errmsg *em)
{
    struct tls *tls = session_new(ctx, em);
    if (tls) {
        SSL_set_accept_state(tls->ssl);
    }
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls) {
        SSL_free(tls->ssl);
        tls_ctx_free(tls->ctx);
        mem_free(tls->name);
        mem_free(tls);
    }
}

/* What ended an SSL call: 0 when it only waits for more bytes. */
static int ended(struct tls *tls, int result, const char *what, struct errmsg *em)
{
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return err_set(em, E_CLOSED, "the peer ended TLS");
    default:
        break;
    }
    if (tls->out && tls->out->err) {
        ERR_clear_error();
        return err_set(em, tls->out->err, "%s: output buffer: %s", what, err_text(tls->out->err));
    }
    if (!tls->ready && tls->refused[0]) {
        ERR_clear_error();
        return err_set(em, E_TLS, "%s: %s", what, tls->refused);
    }
    return fail(em, E_TLS, what);
}

static int decrypt(struct tls *tls, struct buf *plain, struct errmsg *em)
{
    enum { RECORD = 16384 };
    for (;;) {
        uint8_t *to = buf_reserve(plain, RECORD);
        if (!to) {
            return err_set(em, plain->err, "TLS: more bytes arrived than a packet may have");
        }
        int got = SSL_read(tls->ssl, to, RECORD);
        if (got <= 0) {
            return ended(tls, got, "TLS", em);
        }
        plain->len += (size_t)got;
    }
}

int tls_feed(struct tls *tls, const void *data, size_t n, struct buf *plain, struct buf *out,
             struct errmsg *em)
{
    int rc = 0;
    ERR_clear_error();
    tls->in = data;
    tls->nin = n;
    tls->out = out;
    if (!tls->ready) {
        int done = SSL_do_handshake(tls->ssl);
        tls->ready = done == 1;
        rc = done == 1 ? 0 : ended(tls, done, "TLS handshake", em);
    }
    if (!rc && tls->ready) {
        rc = decrypt(tls, plain, em);
    }
    if (!rc && out->err) {
        rc = err_set(em, out->err, "TLS: output buffer: %s", err_text(out->err));
    }
    tls->in = NULL;
    tls->nin = 0;
    tls->out = NULL;
    return rc;
}

bool tls_ready(const struct tls *tls)
{
    return tls->ready;
}

int tls_write(struct tls *tls, const void *data, size_t n, struct buf *out, struct errmsg *em)
{
    const uint8_t *p = data;
    int rc = 0;
    ERR_clear_error();
    tls->out = out;
    while (n && !rc) {
        size_t put = 0;
        if (SSL_write_ex(tls->ssl, p, n, &put) == 1) {
            p += put;
            n -= put;
            continue;
        }
        rc = ended(tls, 0, "TLS", em);
        if (!rc) {
            rc = err_set(em, E_TLS, "TLS: cannot write now");
        }
    }
    tls->out = NULL;
    return rc;
}

const char *tls_version(const struct tls *tls)
{
    return SSL_get_version(tls->ssl);
}

const char *tls_cipher(const struct tls *tls)
{
    return SSL_get_cipher_name(tls->ssl);
}
