/* certificate.c: the node's certificate and keys towards its clients.
 *
 * Happy path: read at start, or made once and kept in the data directory; read again at SIGHUP, when new
 * sessions get the new certificate and old ones keep theirs. Failure modes at start: a file that is missing
 * or unusable ends the start with its name. At SIGHUP: what was in use stays in use, and the log says why. */
#include "node/certificate.h"

#include "protocol/base/buf.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 2048, PEM_BYTES_MAX = 1 << 20 };

static const char RSA_FILE[] = "rsa-key.pem";

struct paths {
    char cert[PATH_BYTES];
    char key[PATH_BYTES];
    bool own; /* ours to make */
};

static void paths_of(const struct config *config, struct paths *p)
{
    bool given = config->mysql_ssl_cert[0];
    p->own = !given;
    snprintf(p->cert, sizeof p->cert, "%s%s", given ? config->mysql_ssl_cert : config->data_dir,
             given ? "" : "/server-cert.pem");
    snprintf(p->key, sizeof p->key, "%s%s", given ? config->mysql_ssl_key : config->data_dir,
             given ? "" : "/server-key.pem");
}

static int read_pem(struct env *env, const char *path, struct buf *b, struct errmsg *em)
{
    buf_init(b, PEM_BYTES_MAX);
    return path[0] ? env_read_file(env, path, b, em) : 0;
}

static void forget(struct buf *b)
{
    if (b->data) {
        OPENSSL_cleanse(b->data, b->cap);
    }
    buf_free(b);
}

static int make_pair(struct env *loop, const struct config *config, struct buf *cert, struct buf *key,
                     struct errmsg *em)
{
    static const char *const names[] = {"holdfast", "localhost", "127.0.0.1"};
    uint64_t serial;
    env_random(loop, &serial, sizeof serial);
    buf_reset(cert);
    buf_reset(key);
    int rv = tls_self_signed(names, 3, (int64_t)(env_wall(loop) / 1000000), serial >> 1, cert, key, em);
    rv = rv ? rv : env_replace_file(loop, config->data_dir, "server-key.pem", key->data, key->len, em);
    rv = rv ? rv : env_replace_file(loop, config->data_dir, "server-cert.pem", cert->data, cert->len, em);
    if (!rv) {
        env_log(loop, ENV_INFO, "tls: made a self-signed certificate for clients file=%s/server-cert.pem",
                config->data_dir);
    }
    return rv;
}

static int open_tls(struct env *loop, const struct config *config, struct certificate *c, struct errmsg *em)
{
    struct paths paths;
    struct buf ca, cert, key;
    paths_of(config, &paths);
    int rv = read_pem(loop, config->mysql_ssl_ca, &ca, em);
    int rv_cert = read_pem(loop, paths.cert, &cert, rv ? NULL : em);
    int rv_key = read_pem(loop, paths.key, &key, rv || rv_cert ? NULL : em);
    if (!rv && paths.own && (rv_cert == E_NOTFOUND || rv_key == E_NOTFOUND)) {
        rv = make_pair(loop, config, &cert, &key, em);
    } else if (!rv) {
        rv = rv_cert ? rv_cert : rv_key;
    }
    if (!rv) {
        struct tls_files files = {.ca = buf_cstr(&ca), .cert = buf_cstr(&cert), .key = buf_cstr(&key)};
        c->tls = tls_server_ctx(&files, em);
        rv = c->tls ? 0 : err_wrap(em, E_TLS, "certificate %s", paths.cert);
    }
    buf_free(&ca);
    buf_free(&cert);
    forget(&key);
    return rv;
}

static int open_rsa(struct env *loop, const struct config *config, struct certificate *c, struct errmsg *em)
{
    char path[PATH_BYTES];
    struct buf key;
    snprintf(path, sizeof path, "%s/%s", config->data_dir, RSA_FILE);
    int rv = read_pem(loop, path, &key, em);
    if (rv == E_NOTFOUND) {
        buf_reset(&key);
        rv = auth_rsa_make(&key, em);
        rv = rv ? rv : env_replace_file(loop, config->data_dir, RSA_FILE, key.data, key.len, em);
    }
    if (!rv) {
        c->rsa = auth_rsa_new(buf_cstr(&key), em);
        rv = c->rsa ? 0 : err_wrap(em, E_MALFORMED, "%s", path);
    }
    forget(&key);
    return rv;
}

int certificate_open(struct env *loop, const struct config *config, struct certificate *c, struct errmsg *em)
{
    int rv = open_tls(loop, config, c, em);
    rv = rv ? rv : open_rsa(loop, config, c, em);
    if (rv) {
        certificate_close(c);
    }
    return rv;
}

void certificate_close(struct certificate *c)
{
    tls_ctx_free(c->tls);
    auth_rsa_free(c->rsa);
    *c = (struct certificate){0};
}

struct pem_request *certificate_read(struct env *loop, const struct config *config, pem_done *done, void *arg)
{
    struct paths paths;
    paths_of(config, &paths);
    const char *const names[PEM_FILES] = {
        [PEM_CA] = config->mysql_ssl_ca, [PEM_CERT] = paths.cert, [PEM_KEY] = paths.key};
    return pem_read(loop, names, done, arg);
}

int certificate_take(struct certificate *c, int code, const char *why, const struct tls_files *files,
                     struct errmsg *em)
{
    if (code) {
        return err_set(em, code, "%s", why);
    }
    struct tls_ctx *tls = tls_server_ctx(files, em);
    if (!tls) {
        return E_TLS;
    }
    tls_ctx_free(c->tls);
    c->tls = tls;
    return 0;
}
