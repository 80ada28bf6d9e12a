/* member_tls.c: see member_tls.h. The key for TLS is a hash of the secret, so that any text of some length will do. */
#include "node/member_tls.h"

#include "protocol/base/buf.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <ctype.h>
#include <string.h>

enum { SECRET_MIN = 16, FILE_MAX = 1 << 20 };

static bool is_loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcmp(host, "localhost");
}

static int only_loopback(const struct config *config, struct errmsg *em)
{
    const char *host = config->raft_listen.port ? config->raft_listen.host : "127.0.0.1";
    struct env_addr addr;
    for (size_t i = 0; is_loopback(host) && i < config->n_initial; i++) {
        if (!env_addr_parse(config->initial[i].address, 0, &addr, em) && !is_loopback(addr.host)) {
            return err_set(em, E_INVALID, "members at %s need [raft] ssl_ca, ssl_cert and ssl_key, or a secret_file (the same on each node): without them only loopback is allowed",
                           config->initial[i].address);
        }
    }
    for (size_t i = 0; is_loopback(host) && i < config->n_join; i++) {
        if (!env_addr_parse(config->join[i], 0, &addr, em) && !is_loopback(addr.host)) {
            return err_set(em, E_INVALID, "members at %s need [raft] ssl_ca, ssl_cert and ssl_key, or a secret_file (the same on each node): without them only loopback is allowed",
                           config->join[i]);
        }
    }
    return is_loopback(host) ? 0
                             : err_set(em, E_INVALID, "[raft] listen = %s needs ssl_ca, ssl_cert and ssl_key, or a secret_file: without them only loopback is allowed", host);
}

static int from_secret(struct env *env, const char *path, struct peers_tls *tls, struct errmsg *em)
{
    static const char purpose[] = "holdfast members";
    uint8_t key[SHA256_DIGEST_LENGTH];
    struct buf b;
    buf_init(&b, FILE_MAX);
    int rv = env_read_file(env, path, &b, em);
    while (!rv && b.len && isspace(b.data[b.len - 1])) {
        b.len--;
    }
    if (!rv && b.len < SECRET_MIN) {
        rv = err_set(em, E_INVALID, "%s: the secret has %zu bytes, %d are the least (for example: openssl rand -hex 32)", path, b.len, SECRET_MIN);
    }
    if (!rv) {
        buf_bytes(&b, purpose, sizeof purpose);
        SHA256(b.data, b.len, key);
        tls->server = tls_psk_ctx(true, key, em);
        tls->client = tls->server ? tls_psk_ctx(false, key, em) : NULL;
        rv = tls->client ? 0 : E_TLS;
        OPENSSL_cleanse(key, sizeof key);
    }
    if (b.data) {
        OPENSSL_cleanse(b.data, b.cap);
    }
    buf_free(&b);
    return rv;
}

static int from_certificates(struct env *env, const struct config *config, struct peers_tls *tls, struct errmsg *em)
{
    const char *const paths[] = {config->raft_ssl_ca, config->raft_ssl_cert, config->raft_ssl_key};
    struct buf texts[3];
    int rv = 0;
    for (size_t i = 0; i < 3; i++) {
        buf_init(&texts[i], FILE_MAX);
        rv = rv ? rv : env_read_file(env, paths[i], &texts[i], em);
    }
    if (!rv) {
        struct tls_files files = {.ca = buf_cstr(&texts[0]), .cert = buf_cstr(&texts[1]), .key = buf_cstr(&texts[2])};
        tls->server = tls_server_ctx(&files, em);
        tls->client = tls->server ? tls_client_ctx(TLS_VERIFY_CA, &files, em) : NULL;
        rv = tls->client ? 0 : err_wrap(em, E_TLS, "[raft] %s, %s, %s", paths[0], paths[1], paths[2]);
    }
    if (!rv) {
        tls_ctx_require_peer(tls->server);
    }
    if (texts[2].data) {
        OPENSSL_cleanse(texts[2].data, texts[2].cap);
    }
    for (size_t i = 0; i < 3; i++) {
        buf_free(&texts[i]);
    }
    return rv;
}

int member_tls_open(struct env *env, const struct config *config, struct peers_tls *tls, struct errmsg *em)
{
    *tls = (struct peers_tls){NULL, NULL};
    if (config->tls_off) {
        return 0;
    }
    if (config->raft_secret_file[0]) {
        return from_secret(env, config->raft_secret_file, tls, em);
    }
    return config->raft_ssl_cert[0] ? from_certificates(env, config, tls, em) : only_loopback(config, em);
}
