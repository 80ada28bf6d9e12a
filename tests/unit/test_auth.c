/*
 * test_auth: our client and our server log in to each other in every way that is offered, in clear and
 * through TLS; both answer the greetings and responses that real servers and clients sent; and nothing that a
 * peer sends in place of them, cut or changed anywhere, does more than end the login.
 */
#include "protocol/auth_client.h"
#include "protocol/auth_server.h"
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHA2_NAME "caching_sha2_password"
#define NATIVE_NAME "mysql_native_password"

static size_t unhex(const char *text, uint8_t *out, size_t size)
{
    size_t n = 0;
    for (; text[0] && text[1] && n < size; text += 2) {
        unsigned byte;
        if (sscanf(text, "%2x", &byte) != 1) {
            break;
        }
        out[n++] = (uint8_t)byte;
    }
    return n;
}

static int lookup(void *arg, const char *user, struct account_secret *out)
{
    int *calls = arg;
    if (calls) {
        (*calls)++;
    }
    if (strcmp(user, "repl") == 0) {
        account_secret_set(out, "repl1234", 8);
        return 0;
    }
    if (strcmp(user, "nopass") == 0) {
        account_secret_set(out, "", 0);
        return 0;
    }
    return E_NOTFOUND;
}

static struct server_auth_opts server_opts(enum auth_plugin plugin)
{
    struct server_auth_opts o = {.version = "9.7.4-holdfast", .thread_id = 77, .plugin = plugin,
                                 .peer_host = "10.0.0.7", .lookup = lookup};
    for (size_t i = 0; i < AUTH_SALT; i++) {
        o.salt[i] = (uint8_t)(i * 37);
    }
    return o;
}

static int move(struct wire *from, struct wire *to, size_t piece, struct errmsg *em)
{
    struct buf out;
    buf_init(&out, 0);
    buf_move(&out, wire_output(from));
    int rc = 0;
    for (size_t at = 0; at < out.len && !rc;) {
        size_t n = piece && piece < out.len - at ? piece : out.len - at;
        rc = wire_feed(to, out.data + at, n, em);
        at += n;
    }
    buf_free(&out);
    return rc;
}

struct login {
    struct server_auth *sa;
    struct client_auth *ca;
    struct wire *sw;
    struct wire *cw;
    struct errmsg sem;
    struct errmsg cem;
    int server; /* the last word of each */
    int client;
    size_t piece;
};

static void login_open(struct login *l, const struct client_auth_opts *co, const struct server_auth_opts *so)
{
    l->sa = server_auth_new(so);
    l->ca = client_auth_new(co);
    l->sw = wire_new(1 << 16);
    l->cw = wire_new(1 << 16);
    server_auth_start(l->sa, l->sw);
}

static void login_close(struct login *l)
{
    server_auth_free(l->sa);
    client_auth_free(l->ca);
    wire_free(l->sw);
    wire_free(l->cw);
}

/* Lets both talk until there is nothing more to say. */
static void login_run(struct login *l)
{
    struct packet p;
    for (int round = 0; round < 20; round++) {
        int rc = move(l->sw, l->cw, l->piece, &l->cem);
        while (rc >= 0 && l->client == CLIENT_AUTH_MORE && (rc = wire_next(l->cw, &p, &l->cem)) == 1) {
            l->client = client_auth_packet(l->ca, l->cw, &p, &l->cem);
        }
        l->client = rc < 0 && l->client >= 0 ? rc : l->client;
        rc = move(l->cw, l->sw, l->piece, &l->sem);
        while (rc >= 0 && l->server == SERVER_AUTH_MORE && (rc = wire_next(l->sw, &p, &l->sem)) == 1) {
            l->server = server_auth_packet(l->sa, l->sw, &p, &l->sem);
        }
        l->server = rc < 0 && l->server >= 0 ? rc : l->server;
    }
}

static void expect_login(const char *user, const char *password, enum auth_plugin plugin, int want)
{
    struct client_auth_opts co = {.user = user, .password = password};
    struct server_auth_opts so = server_opts(plugin);
    struct login l = {.piece = 3};
    login_open(&l, &co, &so);
    login_run(&l);
    UNIT_INT(l.client, want);
    UNIT_INT(l.server, want);
    UNIT_STR(server_auth_result(l.sa)->user, user);
    UNIT_STR(client_auth_result(l.ca)->version, "9.7.4-holdfast");
    UNIT_UINT(client_auth_result(l.ca)->thread_id, 77);
    UNIT_INT(client_auth_result(l.ca)->plugin, plugin);
    UNIT_UINT(client_auth_result(l.ca)->caps, server_auth_result(l.sa)->caps);
    if (want < 0) {
        char text[200];
        snprintf(text, sizeof(text), "Access denied for user '%s'@'10.0.0.7' (using password: %s) (1045)",
                 user, password[0] ? "YES" : "NO");
        UNIT_STR(l.cem.text, text);
        UNIT_UINT(client_auth_result(l.ca)->code, 1045);
        UNIT_STR(client_auth_result(l.ca)->sqlstate, "28000");
    }
    login_close(&l);
}

static void both_plugins(void)
{
    enum auth_plugin plugins[] = {AUTH_SHA2, AUTH_NATIVE};
    for (int i = 0; i < 2; i++) {
        expect_login("repl", "repl1234", plugins[i], 1);
        expect_login("repl", "repl1235", plugins[i], E_DENIED);
        expect_login("repl", "", plugins[i], E_DENIED);
        expect_login("nopass", "", plugins[i], 1);
        expect_login("nopass", "x", plugins[i], E_DENIED);
        expect_login("nobody", "repl1234", plugins[i], E_DENIED);
        expect_login("nobody", "", plugins[i], E_DENIED);
        expect_login("root", "", plugins[i], E_DENIED);
    }
}

static void attributes_and_db_arrive(void)
{
    struct client_auth_attr attrs[] = {
        {"_client_name", "holdfast"}, {"program_name", "holdfast-cli"}, {"x", ""}};
    struct client_auth_opts co = {.user = "repl", .password = "repl1234", .db = "shop", .attrs = attrs,
                                  .nattrs = 3, .charset = 255};
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    int calls = 0;
    so.lookup_arg = &calls;
    struct login l = {0};
    login_open(&l, &co, &so);
    login_run(&l);
    const struct server_auth_result *r = server_auth_result(l.sa);
    UNIT_INT(l.server, SERVER_AUTH_DONE);
    UNIT_INT(calls, 1);
    UNIT_STR(r->db, "shop");
    UNIT_STR(r->program_name, "holdfast-cli");
    UNIT_UINT(r->charset, 255);
    UNIT_UINT(r->max_packet, 1u << 30);
    UNIT_TRUE(!r->by_socket && !r->tls);
    UNIT_UINT(r->caps & CAP_DEPRECATE_EOF, CAP_DEPRECATE_EOF);
    login_close(&l);
}

static void root_on_the_socket(void)
{
    struct client_auth_opts co = {.user = "root", .password = "whatever", .local = true};
    for (int i = 0; i < 8; i++) {
        bool local = i & 1;
        bool admit = i & 2;
        co.password = i & 4 ? "whatever" : "";
        struct server_auth_opts so = server_opts(AUTH_SHA2);
        so.is_local = local;
        so.admit_root = admit;
        struct login l = {0};
        login_open(&l, &co, &so);
        login_run(&l);
        UNIT_INT(l.client, local && admit ? 1 : E_DENIED);
        UNIT_INT(server_auth_result(l.sa)->by_socket, local && admit);
        login_close(&l);
    }
}

/* ---- TLS ---- */

struct certs {
    struct buf cert;
    struct buf key;
};

static void certs_make(struct certs *c)
{
    static const char *const names[] = {"db.example", "127.0.0.1", "::1"};
    struct errmsg em = {""};
    buf_init(&c->cert, 1 << 16);
    buf_init(&c->key, 1 << 16);
    UNIT_INT(tls_self_signed(names, 3, 1700000000, 0xffffffffffffffffull, &c->cert, &c->key, &em), 0);
}

static void tls_login(struct certs *c, enum tls_mode mode, bool with_ca, const char *name, int client,
                      bool tls)
{
    struct errmsg em = {""};
    struct tls_files server_files = {.cert = buf_cstr(&c->cert), .key = buf_cstr(&c->key)};
    struct tls_files client_files = {.ca = with_ca ? buf_cstr(&c->cert) : NULL};
    struct client_auth_opts co = {.user = "repl", .password = "repl1234", .tls_mode = mode,
                                  .server_name = name};
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    so.tls = tls_server_ctx(&server_files, &em);
    co.tls = mode == TLS_DISABLED ? NULL : tls_client_ctx(mode, &client_files, &em);
    UNIT_REQUIRE(so.tls != NULL);
    struct login l = {.piece = 100};
    login_open(&l, &co, &so);
    login_run(&l);
    UNIT_INT(l.client, client);
    UNIT_INT(l.server < 0, client < 0);
    UNIT_INT(server_auth_result(l.sa)->tls, tls);
    UNIT_INT(client_auth_result(l.ca)->tls, tls);
    UNIT_INT(wire_has_tls(l.cw), tls);
    if (client > 0 && tls) {
        wire_put(l.cw, "\x0e", 1); /* a command behind the login */
        struct packet p;
        UNIT_INT(move(l.cw, l.sw, 0, &em), 0);
        UNIT_INT(wire_next(l.sw, &p, &em), 1);
        UNIT_MEM(p.data, "\x0e", 1);
    }
    login_close(&l);
    tls_ctx_free(so.tls);
    tls_ctx_free(co.tls);
}

static void tls_modes(void)
{
    struct certs c;
    certs_make(&c);
    tls_login(&c, TLS_DISABLED, false, NULL, 1, false);
    tls_login(&c, TLS_PREFERRED, false, NULL, 1, true);
    tls_login(&c, TLS_REQUIRED, false, "other.example", 1, true);
    tls_login(&c, TLS_VERIFY_CA, true, "other.example", 1, true);
    tls_login(&c, TLS_VERIFY_CA, false, NULL, E_TLS, true);
    tls_login(&c, TLS_VERIFY_IDENTITY, true, "db.example", 1, true);
    tls_login(&c, TLS_VERIFY_IDENTITY, true, "127.0.0.1", 1, true);
    tls_login(&c, TLS_VERIFY_IDENTITY, true, "::1", 1, true);
    tls_login(&c, TLS_VERIFY_IDENTITY, true, "127.0.0.2", E_TLS, true);
    tls_login(&c, TLS_VERIFY_IDENTITY, true, "other.example", E_TLS, true);
    buf_free(&c.cert);
    buf_free(&c.key);
}

static void tls_required_but_not_offered(void)
{
    struct errmsg em = {""};
    struct tls_files none = {0};
    struct tls_ctx *ctx = tls_client_ctx(TLS_REQUIRED, &none, &em);
    struct client_auth_opts co = {.user = "repl", .password = "repl1234", .tls_mode = TLS_REQUIRED,
                                  .tls = ctx};
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    struct login l = {0};
    login_open(&l, &co, &so);
    login_run(&l);
    UNIT_INT(l.client, E_TLS);
    UNIT_UINT(wire_output(l.cw)->len, 0); /* not even the user's name */
    UNIT_TRUE(strstr(l.cem.text, "does not offer") != NULL);
    login_close(&l);
    tls_ctx_free(ctx);
}

static void server_that_wants_tls(void)
{
    struct client_auth_opts co = {.user = "repl", .password = "repl1234"};
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    so.require_tls = true;
    struct login l = {0};
    login_open(&l, &co, &so);
    login_run(&l);
    UNIT_INT(l.server, E_DENIED);
    UNIT_UINT(client_auth_result(l.ca)->code, 3159);
    login_close(&l);
}

/* ---- a server that wants full authentication ---- */

struct full {
    struct wire *sw;
    struct wire *cw;
    struct client_auth *ca;
    struct server_auth *sa; /* for its greeting */
    struct packet p;
    struct errmsg em;
};

/* Up to the client's answer to 01 04, which is in f->p. Returns what the client said. */
static int full_begin(struct full *f, const struct client_auth_opts *co)
{
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    f->sa = server_auth_new(&so);
    f->ca = client_auth_new(co);
    f->sw = wire_new(1 << 16);
    f->cw = wire_new(1 << 16);
    server_auth_start(f->sa, f->sw);
    move(f->sw, f->cw, 0, &f->em);
    wire_next(f->cw, &f->p, &f->em);
    UNIT_INT(client_auth_packet(f->ca, f->cw, &f->p, &f->em), CLIENT_AUTH_MORE);
    move(f->cw, f->sw, 0, &f->em);
    UNIT_INT(wire_next(f->sw, &f->p, &f->em), 1);
    wire_put(f->sw, "\x01\x04", 2);
    move(f->sw, f->cw, 0, &f->em);
    UNIT_INT(wire_next(f->cw, &f->p, &f->em), 1);
    int rc = client_auth_packet(f->ca, f->cw, &f->p, &f->em);
    move(f->cw, f->sw, 0, &f->em);
    f->p.len = 0;
    wire_next(f->sw, &f->p, &f->em);
    return rc;
}

static int full_say(struct full *f, const void *data, size_t n)
{
    wire_put(f->sw, data, n);
    move(f->sw, f->cw, 0, &f->em);
    UNIT_INT(wire_next(f->cw, &f->p, &f->em), 1);
    int rc = client_auth_packet(f->ca, f->cw, &f->p, &f->em);
    move(f->cw, f->sw, 0, &f->em);
    if (rc == CLIENT_AUTH_MORE) {
        UNIT_INT(wire_next(f->sw, &f->p, &f->em), 1);
    }
    return rc;
}

static void full_end(struct full *f)
{
    client_auth_free(f->ca);
    server_auth_free(f->sa);
    wire_free(f->sw);
    wire_free(f->cw);
}

static size_t decrypt(EVP_PKEY *key, const struct packet *p, uint8_t out[1024])
{
    size_t n = 1024;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    EVP_PKEY_decrypt_init(ctx);
    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING);
    if (EVP_PKEY_decrypt(ctx, out, &n, p->data, p->len) != 1) {
        n = 0;
    }
    EVP_PKEY_CTX_free(ctx);
    return n;
}

static void full_over_rsa(void)
{
    struct client_auth_opts co = {.user = "repl", .password = "a password that is longer than the salt"};
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    struct full f = {0};
    UNIT_INT(full_begin(&f, &co), CLIENT_AUTH_MORE);
    UNIT_UINT(f.p.len, 1);
    UNIT_UINT(f.p.data[0], 2);
    UNIT_UINT(f.p.seq, 3);

    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key);
    char *pem;
    size_t npem = (size_t)BIO_get_mem_data(bio, &pem);
    uint8_t say[1024] = {1};
    memcpy(say + 1, pem, npem);
    UNIT_INT(full_say(&f, say, npem + 1), CLIENT_AUTH_MORE);
    UNIT_UINT(f.p.len, 256);
    UNIT_UINT(f.p.seq, 5);
    uint8_t clear[1024];
    size_t n = decrypt(key, &f.p, clear);
    UNIT_REQUIRE(n == strlen(co.password) + 1);
    auth_salt_fit(so.salt);
    for (size_t i = 0; i < n; i++) {
        clear[i] ^= so.salt[i % AUTH_SALT];
    }
    UNIT_MEM(clear, co.password, n);
    UNIT_INT(full_say(&f, "\0\0\0\2\0\0\0", 7), CLIENT_AUTH_DONE);
    BIO_free(bio);
    EVP_PKEY_free(key);
    full_end(&f);
}

static void bad_keys_are_refused(void)
{
    static const char *const texts[] = {
        "", "\x01", "\x01-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "\x01-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\n"
        "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n"
        "\nAAAA\n-----END PUBLIC KEY-----\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct client_auth_opts co = {.user = "repl", .password = "repl1234"};
        struct full f = {0};
        UNIT_INT(full_begin(&f, &co), CLIENT_AUTH_MORE);
        UNIT_INT(full_say(&f, texts[i], strlen(texts[i])), E_MALFORMED);
        UNIT_UINT(wire_output(f.cw)->len, 0);
        full_end(&f);
    }
}

static void full_without_rsa(void)
{
    struct client_auth_opts co = {.user = "repl", .password = "repl1234", .no_rsa = true};
    struct full f = {0};
    UNIT_INT(full_begin(&f, &co), E_UNSUPPORTED);
    UNIT_UINT(f.p.len, 0);
    full_end(&f);
    co.local = true; /* a socket is as good as TLS */
    f = (struct full){0};
    UNIT_INT(full_begin(&f, &co), CLIENT_AUTH_MORE);
    UNIT_UINT(f.p.len, 9);
    UNIT_MEM(f.p.data, "repl1234", 9);
    full_end(&f);
}

/* ---- recorded ---- */

struct greeting_case {
    const char *hex;
    const char *version;
    bool is_mariadb;
    uint32_t thread_id;
    enum auth_plugin plugin;
    const char *response; /* the scramble of repl1234 that the real client sent, "" for none */
};

#define GREETING_56                                                                                          \
    "0a352e362e32342d6c6f670004000000516e56432d55443700fff70802007f801500000000000000000000"                 \
    "25514b612842535a49424b33006d7973716c5f6e61746976655f70617373776f726400"
#define GREETING_97                                                                                          \
    "0a392e372e342d3200130000000f770e2e4d480c2900ffffff0200ffdf1500000000000000000000"                       \
    "102b3d1c38142b656b65101d0063616368696e675f736861325f70617373776f726400"
#define GREETING_M10                                                                                         \
    "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275312d6c6f670008000000"                   \
    "435871507c40666200fef7080200ff81150000000000001d000000"                                                 \
    "3b3f676c694c7b4837766f4c006d7973716c5f6e61746976655f70617373776f726400"
#define GREETING_M11                                                                                         \
    "0a31312e382e392d4d6172696144422d342066726f6d2044656269616e2d6c6f6700120000005c284e324e70693f"           \
    "00feff2d0200ff81150000000000003d0000003c52642526305c6255657c5e00"                                       \
    "6d7973716c5f6e61746976655f70617373776f726400"

/* The same server with --version=8.0.36-hidden: bit 0 of the capabilities is what is left. */
#define GREETING_HIDDEN                                                                                      \
    "0a352e352e352d382e302e33362d68696464656e0008000000"                                                         \
    "435871507c40666200fef7080200ff81150000000000001d000000"                                                 \
    "3b3f676c694c7b4837766f4c006d7973716c5f6e61746976655f70617373776f726400"

static const struct greeting_case greetings[] = {
    {GREETING_56, "5.6.24-log", false, 4, AUTH_NATIVE, "aed60e5e63eaf2561d8244ee6508c9c0377a543f"},
    {GREETING_97, "9.7.4-2", false, 19, AUTH_SHA2,
     "99db6877370cba462141bd9f2bf1ed935bb2ffd9bc403c9dab48bb0c72d6064b"},
    {GREETING_M10, "10.11.19-MariaDB-0+deb12u1-log", true, 8, AUTH_NATIVE,
     "ba83a5d9a93c5814e2ec01d887f68d83e5059c76"},
    {GREETING_HIDDEN, "8.0.36-hidden", true, 8, AUTH_NATIVE, "ba83a5d9a93c5814e2ec01d887f68d83e5059c76"},
    {GREETING_M11, "11.8.9-MariaDB-4 from Debian-log", true, 18, AUTH_NATIVE, ""},
};

static int client_hears(struct client_auth *a, struct wire *w, const char *hex, struct errmsg *em)
{
    uint8_t data[1024];
    size_t n = unhex(hex, data, sizeof(data));
    struct packet p = {.data = data, .len = n};
    return client_auth_packet(a, w, &p, em);
}

static void recorded_greetings(void)
{
    for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
        const struct greeting_case *g = &greetings[i];
        struct client_auth_opts co = {.user = "repl", .password = "repl1234"};
        struct client_auth *a = client_auth_new(&co);
        struct wire *w = wire_new(1 << 16);
        struct errmsg em = {""};
        UNIT_INT(client_hears(a, w, g->hex, &em), CLIENT_AUTH_MORE);
        const struct client_auth_result *r = client_auth_result(a);
        UNIT_STR(r->version, g->version);
        UNIT_INT(r->is_mariadb, g->is_mariadb);
        UNIT_UINT(r->thread_id, g->thread_id);
        UNIT_INT(r->plugin, g->plugin);
        uint8_t want[SHA2_SIZE];
        size_t n = unhex(g->response, want, sizeof(want));
        struct buf *out = wire_output(w);
        UNIT_REQUIRE(out->len > PACKET_HEADER + 32 + 6 + n);
        UNIT_MEM(out->data + PACKET_HEADER + 32, "repl", 5);
        UNIT_UINT(out->data[PACKET_HEADER + 37], g->plugin == AUTH_SHA2 ? 32 : 20);
        UNIT_MEM(out->data + PACKET_HEADER + 38, want, n);
        UNIT_UINT(out->data[PACKET_HEADER] & 1, 1); /* LONG_PASSWORD, whatever the server says */
        UNIT_UINT(r->caps & CAP_QUERY_ATTRIBUTES, g->plugin == AUTH_SHA2 ? CAP_QUERY_ATTRIBUTES : 0u);
        UNIT_INT(client_hears(a, w, "00000002000000", &em), CLIENT_AUTH_DONE);
        client_auth_free(a);
        wire_free(w);
    }
}

static void recorded_switch(void)
{
    struct client_auth_opts co = {.user = "repl", .password = "repl1234"};
    struct client_auth *a = client_auth_new(&co);
    struct wire *w = wire_new(1 << 16);
    struct errmsg em = {""};
    UNIT_INT(client_hears(a, w, GREETING_56, &em), CLIENT_AUTH_MORE);
    wire_output(w)->len = 0;
    UNIT_INT(client_hears(a, w,
                          "fe63616368696e675f736861325f70617373776f726400"
                          "6a393a5e2f7444471639284d5e13295d1a22521e00",
                          &em),
             CLIENT_AUTH_MORE);
    uint8_t want[SHA2_SIZE];
    unhex("6f6fc7980ef5c0774c44d6922b36de6ab92ffeef35d576f71cd56ab0af2ec441", want, sizeof(want));
    UNIT_UINT(wire_output(w)->len, PACKET_HEADER + SHA2_SIZE);
    UNIT_MEM(wire_output(w)->data + PACKET_HEADER, want, sizeof(want));
    UNIT_INT(client_hears(a, w, "0103", &em), CLIENT_AUTH_MORE);
    UNIT_INT(client_hears(a, w, "00000002000000", &em), CLIENT_AUTH_DONE);
    client_auth_free(a);
    wire_free(w);
}

static void client_refuses(const char *second, int want)
{
    struct client_auth_opts co = {.user = "repl", .password = "repl1234"};
    struct client_auth *a = client_auth_new(&co);
    struct wire *w = wire_new(1 << 16);
    struct errmsg em = {""};
    UNIT_INT(client_hears(a, w, GREETING_97, &em), CLIENT_AUTH_MORE);
    UNIT_INT(client_hears(a, w, second, &em), want);
    UNIT_TRUE(em.text[0] != 0);
    UNIT_INT(client_hears(a, w, "00000002000000", &em), E_CLOSED);
    client_auth_free(a);
    wire_free(w);
}

static void what_the_client_refuses(void)
{
    client_refuses("fe", E_UNSUPPORTED);
    client_refuses("fe6d7973716c5f636c6561725f70617373776f726400", E_UNSUPPORTED); /* mysql_clear_password */
    client_refuses("fe63616368696e675f736861325f70617373776f726400", E_MALFORMED); /* without a salt */
    client_refuses("", E_MALFORMED);
    client_refuses("0105", E_MALFORMED);
    client_refuses("05", E_MALFORMED);
    client_refuses("ff15042332383030304e6f", E_DENIED);
    client_refuses("ff10042330383030344e6f", E_PEER);
    client_refuses("ff10", E_MALFORMED);
}

/* What real clients answered to greetings with these salts (account repl, password repl1234). */
struct response_case {
    const char *salt;
    enum auth_plugin greeting;
    const char *response;
    const char *switch_to;  /* NULL: verified directly */
    enum auth_plugin plugin;
    const char *program;
};

static const struct response_case responses[] = {
    /* the replica of 9.7; its attributes are cut here */
    {"0f770e2e4d480c29102b3d1c38142b656b65101d", AUTH_SHA2,
     "85a2a89967100040ff00000000000000000000000000000000000000000000007265706c0020"
     "99db6877370cba462141bd9f2bf1ed935bb2ffd9bc403c9dab48bb0c72d6064b"
     "63616368696e675f736861325f70617373776f726400",
     NULL, AUTH_SHA2, ""},
    /* pymysql */
    {"74754a20315b6835281f6102681f1b6436784732", AUTH_SHA2,
     "05a23a00ffffff002d00000000000000000000000000000000000000000000007265706c0020"
     "d57878bf6b4e033aa18057418bd872b77e44b9e41d76230243a48f2e24313e46"
     "63616368696e675f736861325f70617373776f726400360c5f636c69656e745f6e616d650770796d7973716c"
     "045f7069640532393830330f5f636c69656e745f76657273696f6e05312e302e32",
     NULL, AUTH_SHA2, "pymysql"},
    /* mariadb-binlog: bit 0 clear in the real one's capabilities towards MariaDB */
    {"252a414a31563b64655144415a223833385d4b40", AUTH_NATIVE,
     "85a2be00000010002d00000000000000000000000000000000000000000000007265706c0014"
     "ce9adea3679294ce869e7827935a3faa65a690cc6d7973716c5f6e61746976655f70617373776f72640085035f6f73"
     "054c696e75780c5f636c69656e745f6e616d650a6c69626d617269616462045f7069640533303239330f5f636c6965"
     "6e745f76657273696f6e06332e332e3230095f706c6174666f726d067838365f36340c70726f6772616d5f6e616d65"
     "0b6d7973716c62696e6c6f670c5f7365727665725f686f7374093132372e302e302e31",
     NULL, AUTH_NATIVE, "mysqlbinlog"},
    /* the replica of MariaDB 10.11 facing caching_sha2: names native, sends nothing */
    {"6a393a5e2f7444471639284d5e13295d1a22521e", AUTH_SHA2,
     "05a238807b0300400800000000000000000000000000000000000000000000007265706c00006d7973716c5f6e61746976655f"
     "70617373776f72640077035f6f731064656269616e2d6c696e75782d676e750c5f636c69656e745f6e616d65086c69626d7973"
     "716c045f7069640533303230390f5f636c69656e745f76657273696f6e0831302e31312e31390c5f7365727665725f686f7374"
     "093132372e302e302e31095f706c6174666f726d067838365f3634",
     NATIVE_NAME, AUTH_NATIVE, "libmysql"},
    /* the 9.7 client facing native without the plugin's file: names caching_sha2, sends nothing */
    {"775a3c5d3e5f44743f796675374f673c34313558", AUTH_NATIVE,
     "85a2bf1900000001ff00000000000000000000000000000000000000000000007265706c000063616368696e675f736861325f"
     "70617373776f72640072045f706964053239373534095f706c6174666f726d067838365f3634035f6f73054c696e75780c5f63"
     "6c69656e745f6e616d65086c69626d7973716c076f735f7573657204726f6f740f5f636c69656e745f76657273696f6e05392e"
     "372e340c70726f6772616d5f6e616d65056d7973716c",
     SHA2_NAME, AUTH_SHA2, "mysql"},
};

static struct server_auth *server_for(const struct response_case *c, struct wire *w)
{
    struct server_auth_opts so = server_opts(c->greeting);
    unhex(c->salt, so.salt, AUTH_SALT);
    struct server_auth *a = server_auth_new(&so);
    server_auth_start(a, w);
    wire_output(w)->len = 0;
    return a;
}

static int server_hears(struct server_auth *a, struct wire *w, const uint8_t *data, size_t n,
                        struct errmsg *em)
{
    struct packet p = {.data = data, .len = n};
    return server_auth_packet(a, w, &p, em);
}

/* The client's scramble behind an auth switch. */
static size_t answer_for(const struct response_case *c, uint8_t *out)
{
    uint8_t salt[AUTH_SALT];
    unhex(c->salt, salt, sizeof(salt));
    if (c->plugin == AUTH_NATIVE) {
        native_scramble("repl1234", 8, salt, out);
        return NATIVE_SIZE;
    }
    sha2_scramble("repl1234", 8, salt, out);
    return SHA2_SIZE;
}

static void recorded_responses(void)
{
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        const struct response_case *c = &responses[i];
        struct wire *w = wire_new(1 << 16);
        struct server_auth *a = server_for(c, w);
        struct errmsg em = {""};
        uint8_t data[1024];
        size_t n = unhex(c->response, data, sizeof(data));
        int rc = server_hears(a, w, data, n, &em);
        if (c->switch_to) {
            UNIT_INT(rc, SERVER_AUTH_MORE);
            struct buf *out = wire_output(w);
            UNIT_UINT(out->len, PACKET_HEADER + 1 + strlen(c->switch_to) + 1 + AUTH_SALT + 1);
            UNIT_UINT(out->data[PACKET_HEADER], 0xfe);
            UNIT_STR((char *)out->data + PACKET_HEADER + 1, c->switch_to);
            out->len = 0;
            uint8_t answer[SHA2_SIZE];
            n = answer_for(c, answer);
            rc = server_hears(a, w, answer, n, &em);
        }
        UNIT_INT(rc, SERVER_AUTH_DONE);
        const struct server_auth_result *r = server_auth_result(a);
        UNIT_STR(r->user, "repl");
        UNIT_STR(r->program_name, c->program);
        UNIT_INT(r->plugin, c->plugin);
        UNIT_UINT(r->caps & ~CAPS_SERVER, 0);
        UNIT_UINT(wire_output(w)->len, c->plugin == AUTH_SHA2 ? 6 + 11 : 11);
        server_auth_free(a);
        wire_free(w);
    }
}

static void denial_as_the_real_server_words_it(void)
{
    struct server_auth_opts so = server_opts(AUTH_SHA2);
    so.peer_host = "localhost";
    struct server_auth *a = server_auth_new(&so);
    struct wire *w = wire_new(1 << 16);
    struct errmsg em = {""};
    uint8_t data[1024];
    uint8_t want[256];
    server_auth_start(a, w);
    wire_output(w)->len = 0;
    size_t n = unhex(responses[0].response, data, sizeof(data));
    UNIT_INT(server_hears(a, w, data, n, &em), E_DENIED); /* right for another salt */
    size_t nwant = unhex("ff15042332383030304163636573732064656e69656420666f72207573657220277265706c27"
                         "40276c6f63616c686f73742720287573696e672070617373776f72643a2059455329",
                         want, sizeof(want));
    UNIT_UINT(wire_output(w)->len, PACKET_HEADER + nwant);
    UNIT_MEM(wire_output(w)->data + PACKET_HEADER, want, nwant);
    UNIT_INT(server_hears(a, w, data, n, &em), E_CLOSED);
    server_auth_free(a);
    wire_free(w);
}

/* ---- hostile ---- */

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Nobody comes in without the password: a changed packet is refused, or changed where it does not matter. */
static void server_survives(const uint8_t *data, size_t n, const struct response_case *c)
{
    struct wire *w = wire_new(1 << 16);
    struct server_auth *a = server_for(c, w);
    struct errmsg em = {""};
    uint8_t *exact = malloc(n ? n : 1); /* so that a byte read behind the end is seen */
    memcpy(exact, data, n);
    int rc = server_hears(a, w, exact, n, &em);
    UNIT_TRUE(rc == SERVER_AUTH_MORE || rc == SERVER_AUTH_DONE || em.text[0]);
    if (rc == SERVER_AUTH_DONE) {
        UNIT_STR(server_auth_result(a)->user, "repl");
    }
    free(exact);
    server_auth_free(a);
    wire_free(w);
}

static void client_survives(const uint8_t *data, size_t n, const uint8_t *second, size_t nsecond)
{
    struct client_auth_opts co = {.user = "repl", .password = "repl1234"};
    struct client_auth *a = client_auth_new(&co);
    struct wire *w = wire_new(1 << 16);
    struct errmsg em = {""};
    uint8_t *exact = malloc(n + nsecond + 1);
    uint8_t *exact2 = malloc(nsecond ? nsecond : 1);
    memcpy(exact, data, n);
    memcpy(exact2, second, nsecond);
    struct packet p = {.data = exact, .len = n};
    struct packet p2 = {.data = exact2, .len = nsecond};
    int rc = client_auth_packet(a, w, &p, &em);
    UNIT_TRUE(rc == CLIENT_AUTH_MORE || em.text[0]);
    if (rc == CLIENT_AUTH_MORE) {
        rc = client_auth_packet(a, w, &p2, &em);
        UNIT_TRUE(rc >= 0 || em.text[0]);
    }
    free(exact);
    free(exact2);
    client_auth_free(a);
    wire_free(w);
}

static void prefixes_and_mutations(void)
{
    uint64_t x = unit_seed() * 0x9e3779b97f4a7c15ull + 1;
    uint8_t data[1024];
    uint8_t second[64];
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        size_t n = unhex(responses[i].response, data, sizeof(data));
        for (size_t k = 0; k <= n; k++) {
            server_survives(data, k, &responses[i]);
        }
        for (int k = 0; k < 1000; k++) {
            uint8_t changed[1024];
            memcpy(changed, data, n);
            for (uint64_t m = next_random(&x) % 4; m < 4; m++) {
                changed[next_random(&x) % n] = (uint8_t)next_random(&x);
            }
            server_survives(changed, n, &responses[i]);
        }
    }
    size_t nsecond = unhex("fe63616368696e675f736861325f70617373776f726400"
                           "6a393a5e2f7444471639284d5e13295d1a22521e00",
                           second, sizeof(second));
    for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
        size_t n = unhex(greetings[i].hex, data, sizeof(data));
        for (size_t k = 0; k <= n; k++) {
            client_survives(data, k, second, k < nsecond ? k : nsecond);
        }
        for (int k = 0; k < 1000; k++) {
            uint8_t changed[1024];
            uint8_t changed2[64];
            memcpy(changed, data, n);
            memcpy(changed2, second, nsecond);
            changed[next_random(&x) % n] = (uint8_t)next_random(&x);
            changed2[next_random(&x) % nsecond] = (uint8_t)next_random(&x);
            client_survives(changed, n, changed2, nsecond);
        }
    }
}

UNIT_MAIN("auth", UNIT_TEST(both_plugins), UNIT_TEST(attributes_and_db_arrive), UNIT_TEST(root_on_the_socket),
          UNIT_TEST(tls_modes), UNIT_TEST(tls_required_but_not_offered), UNIT_TEST(server_that_wants_tls),
          UNIT_TEST(full_over_rsa), UNIT_TEST(bad_keys_are_refused), UNIT_TEST(full_without_rsa),
          UNIT_TEST(recorded_greetings), UNIT_TEST(recorded_switch), UNIT_TEST(what_the_client_refuses),
          UNIT_TEST(recorded_responses), UNIT_TEST(denial_as_the_real_server_words_it),
          UNIT_TEST(prefixes_and_mutations))
