/* tls_cert.c: makes the self-signed certificate that a server starts with when it was given none.
 *
 * Happy path: a new EC key, a certificate that names the host, both as PEM text for the caller to write to
 * files. Clients that verify need a certificate from their own CA; this one gives encryption, as MySQL's
 * automatic ones do. Failure modes: OpenSSL finds no random or memory, a name is not a name: E_TLS; nothing
 * is left to free. */
#include "protocol/base/check.h"
#include "protocol/bio.h"
#include "protocol/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <limits.h>
#include <string.h>

enum { DAYS_BEFORE = 1, DAYS_VALID = 3650, NAME_MAX_LEN = 64 };

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool is_plain_name(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
    return name[0] && name[strspn(name, allowed)] == 0;
}

static bool add_names(X509 *cert, const char *const *names, size_t n)
{
    struct buf list;
    buf_init(&list, 64 * 1024);
    for (size_t i = 0; i < n; i++) {
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(names[i]);
        buf_printf(&list, "%s%s:%s", i ? "," : "", address ? "IP" : "DNS", names[i]);
        ASN1_OCTET_STRING_free(address);
    }
    ERR_clear_error();
    bool ok = !list.err && add_extension(cert, NID_subject_alt_name, buf_cstr(&list));
    buf_free(&list);
    return ok;
}

static bool set_subject(X509 *cert, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    size_t len = strnlen(name, NAME_MAX_LEN); /* the alternative names have it whole */
    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, (int)len, -1,
                                      0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1;
}

static bool fill(X509 *cert, EVP_PKEY *pkey, const char *const *names, size_t n, int64_t now, uint64_t serial)
{
    time_t from = (time_t)now;
    return X509_set_version(cert, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1) == 1 &&
           X509_time_adj_ex(X509_getm_notBefore(cert), -DAYS_BEFORE, 0, &from) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), DAYS_VALID, 0, &from) != NULL &&
           X509_set_pubkey(cert, pkey) == 1 && set_subject(cert, names[0]) && add_names(cert, names, n) &&
           add_extension(cert, NID_basic_constraints, "critical,CA:TRUE") &&
           X509_sign(cert, pkey, EVP_sha256()) > 0;
}

int tls_self_signed(const char *const *names, size_t nnames, int64_t now, uint64_t serial, struct buf *cert,
                    struct buf *key, struct errmsg *em)
{
    CHECK(nnames > 0);
    for (size_t i = 0; i < nnames; i++) {
        if (!is_plain_name(names[i])) {
            return err_set(em, E_INVALID, "cannot make a certificate for the name '%s'", names[i]);
        }
    }
    ERR_clear_error();
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    bool ok = pkey && x509 && fill(x509, pkey, names, nnames, now, serial);
    if (ok) {
        BIO *bio = BIO_new(BIO_s_mem());
        ok = bio_drain(bio, bio && PEM_write_bio_X509(bio, x509) == 1, cert);
    }
    if (ok) {
        BIO *bio = BIO_new(BIO_s_mem());
        ok = bio_drain(bio, bio && PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1, key);
    }
    X509_free(x509);
    EVP_PKEY_free(pkey);
    if (!ok) {
        ERR_clear_error();
        return err_set(em, E_TLS, "cannot make a self-signed certificate");
    }
    return 0;
}
