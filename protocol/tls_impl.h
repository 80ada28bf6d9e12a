/* tls_impl.h: the inside of TLS, shared by tls.c and tls_verify.c. */
#ifndef HOLDFAST_TLS_IMPL_H
#define HOLDFAST_TLS_IMPL_H

#include <openssl/x509_vfy.h>

#include <stddef.h>

/* Why the certificate that `store` stands at is refused. name: who it should be for, or NULL. */
void tls_explain(X509_STORE_CTX *store, const char *name, char *text, size_t size);

#endif
