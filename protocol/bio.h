/* bio.h: private to protocol/: what those share that give OpenSSL texts and take texts from it. Pure. */
#ifndef HOLDFAST_PROTOCOL_BIO_H
#define HOLDFAST_PROTOCOL_BIO_H

#include "protocol/base/buf.h"

#include <openssl/bio.h>
#include <stdbool.h>

/* Appends what a memory BIO holds; frees it. False: nothing was `written`, or it does not fit. */
bool bio_drain(BIO *bio, bool written, struct buf *to);

/* For OpenSSL's readers of keys: there is none. A text that claims to be encrypted, a peer's or a file's, must not make it ask a terminal. */
int bio_no_passphrase(char *to, int size, int writing, void *arg);

#endif
