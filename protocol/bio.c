/* bio.c: see bio.h. */
#include "protocol/bio.h"

bool bio_drain(BIO *bio, bool written, struct buf *to)
{
    char *text = NULL;
    long n = bio && written ? BIO_get_mem_data(bio, &text) : 0;
    if (n > 0) {
        buf_bytes(to, text, (size_t)n);
    }
    BIO_free(bio);
    return n > 0 && !to->err;
}

int bio_no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}
