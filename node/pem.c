/* pem.c: certificates and keys from files, read away from the loop.
 *
 * Happy path: a thread is spawned for the request, reads its files, and posts the request back; the thread
 * is joined and done() called. Files are small and read seldom (at a connect, at a SIGHUP), so nothing is
 * kept between requests. Failure modes: a file that cannot be read or is too large: done() gets the reason
 * with the file's name. A file system that hangs holds this thread only, until pem_end. */
#include "node/pem.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <openssl/crypto.h>

enum { PEM_MAX = 1 << 20 };

struct pem_request {
    struct env_msg msg;
    struct env *home;
    struct env *reader;
    char *paths[PEM_FILES];
    struct buf texts[PEM_FILES];
    int code;
    struct errmsg why;
    pem_done *done; /* NULL: nobody waits any more, and the reader is joined */
    void *arg;
};

static void request_free(struct pem_request *r)
{
    for (int i = 0; i < PEM_FILES; i++) {
        if (r->texts[i].data) {
            OPENSSL_cleanse(r->texts[i].data, r->texts[i].cap);
        }
        buf_free(&r->texts[i]);
        mem_free(r->paths[i]);
    }
    mem_free(r);
}

static void deliver(struct env_msg *msg)
{
    struct pem_request *r = CONTAINER_OF(msg, struct pem_request, msg);
    if (r->done) {
        struct tls_files files = {.ca = buf_cstr(&r->texts[PEM_CA]),
                                  .cert = buf_cstr(&r->texts[PEM_CERT]),
                                  .key = buf_cstr(&r->texts[PEM_KEY])};
        env_join(r->reader);
        r->done(r->arg, r->code, r->why.text, &files);
    }
    request_free(r);
}

static void read_files(struct env_msg *msg)
{
    struct pem_request *r = CONTAINER_OF(msg, struct pem_request, msg);
    for (int i = 0; i < PEM_FILES && !r->code; i++) {
        if (r->paths[i][0]) {
            r->code = env_read_file(r->reader, r->paths[i], &r->texts[i], &r->why);
        }
    }
    r->msg.run = deliver;
    env_post(r->home, &r->msg);
}

struct pem_request *pem_read(struct env *home, const char *const paths[PEM_FILES], pem_done *done, void *arg)
{
    struct pem_request *r = mem_new(sizeof *r);
    CHECK(done);
    r->home = home;
    r->done = done;
    r->arg = arg;
    for (int i = 0; i < PEM_FILES; i++) {
        r->paths[i] = mem_str(paths[i]);
        buf_init(&r->texts[i], PEM_MAX);
    }
    if (env_spawn(home, "pem", &r->reader)) {
        request_free(r);
        return NULL;
    }
    r->msg.run = read_files;
    env_post(r->reader, &r->msg);
    return r;
}

void pem_end(struct pem_request *r)
{
    if (r) {
        r->done = NULL;
        env_join(r->reader); /* it has posted the request by then: deliver() frees it */
    }
}
