/* tls_verify.c: says in words why a peer's certificate was not accepted.
 *
 * OpenSSL calls back at the certificate that fails, while it is at hand: its subject, dates, issuer and
 * names go into the text that a person reads. Nothing here decides anything: what OpenSSL refuses stays
 * refused. */
#include "protocol/tls_impl.h"

#include "protocol/base/buf.h"

#include <openssl/bio.h>
#include <openssl/x509v3.h>

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 400 };

/* What was printed into a memory BIO, as one line; frees it. */
static void take_line(BIO *bio, char *to, size_t size)
{
    char *text = NULL;
    long n = bio ? BIO_get_mem_data(bio, &text) : 0;
    size_t len = n > 0 ? (size_t)n : 0;
    len = len < size - 1 ? len : size - 1;
    if (len) {
        memcpy(to, text, len);
    }
    to[len] = 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)to[i] < ' ' || to[i] == 0x7f) {
            to[i] = ' ';
        }
    }
    BIO_free(bio);
}

static void name_text(const X509_NAME *name, char *to, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio) {
        X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    }
    take_line(bio, to, size);
}

static void time_text(const ASN1_TIME *time, char *to, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio) {
        ASN1_TIME_print(bio, time);
    }
    take_line(bio, to, size);
}

/* The names that a certificate is good for: "db1, 10.0.0.1"; its subject when it has none. */
static void names_text(X509 *cert, char *to, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    BIO *bio = BIO_new(BIO_s_mem());
    for (int i = 0; bio && i < sk_GENERAL_NAME_num(names); i++) {
        if (i) {
            BIO_puts(bio, ", ");
        }
        GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
    }
    take_line(bio, to, size);
    GENERAL_NAMES_free(names);
    if (!to[0]) {
        name_text(X509_get_subject_name(cert), to, size);
    }
}

void tls_explain(X509_STORE_CTX *store, const char *name, char *text, size_t size)
{
    int error = X509_STORE_CTX_get_error(store);
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    char subject[LINE_MAX_BYTES] = "";
    char other[LINE_MAX_BYTES] = "";
    if (!cert) {
        snprintf(text, size, "%s", X509_verify_cert_error_string(error));
        return;
    }
    name_text(X509_get_subject_name(cert), subject, sizeof(subject));
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        time_text(X509_get0_notAfter(cert), other, sizeof(other));
        snprintf(text, size, "the certificate '%s' has expired (%s)", subject, other);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        time_text(X509_get0_notBefore(cert), other, sizeof(other));
        snprintf(text, size, "the certificate '%s' is not valid before %s", subject, other);
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        names_text(cert, other, sizeof(other));
        snprintf(text, size, "the certificate is not for '%s' but for: %s", name, other);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        name_text(X509_get_issuer_name(cert), other, sizeof(other));
        snprintf(text, size, "the certificate '%s' is signed by an unknown CA ('%s')", subject, other);
        break;
    default:
        snprintf(text, size, "the certificate '%s': %s", subject, X509_verify_cert_error_string(error));
        break;
    }
}
