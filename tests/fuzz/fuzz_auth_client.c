/* fuzz_auth_client: the client's side of the login against a hostile server, with and without TLS.
 *
 * Input: flags, TLS mode, then what the server does: bytes as they are; packets in sequence with given
 * content; a greeting and a switch built from parts; a key; TLS, when the client asked for it. Properties:
 * the password never leaves in clear but by a local socket, not even under a key where that was refused;
 * where TLS is required nothing but the request for it leaves in clear; errors have a message; what the
 * result holds are C strings. */
#include "protocol/auth_client.h"
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"

enum { LOCAL = 1, NO_RSA = 2, NO_PASSWORD = 4, WITH_DB = 8, NO_TLS_CTX = 16, ATTRS = 32 };

enum { WITH_ZLIB = 64, WITH_ZSTD = 128 }; /* in the second byte, beside the mode of TLS */

enum { STEPS_MAX = 32, PACKET_MAX = 1 << 16, SSL_REQUEST = 36 };

#define USER "r3pl-us3r"
#define PASSWORD "op3n-s3same-and-more"

/* A public key of 2048 bits. */
static const char public_key[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoGfxIywEn1gNpt6pxL9u\n"
                                 "49SSLbGSQ/KMpGuPY5bVFn0cOFPRz7M74JR9DLwNkN2vQQ9H1H0jbsMmedW0ANrC\n"
                                 "Glbr48FExM4IT1yJ6pMJlxzsjREX6juVc4BM+RQrUtP5HxUTz8z4F0bOnIB2IL3e\n"
                                 "7YgpVMN37F5o9OZ/zUBhB8gv8iMNqJm7KkdxH9c3L56mMVobcr/yiNG1wPvRmBly\n"
                                 "vX1PtptusR+f7k2PeZabkOk4nQVhO6xe1oxCNtIU7zNHEdUH8TiUdziehUpe1san\n"
                                 "7jrrU2idwHRGzMaycmz1RoVIVUhNFZXU4JgUV3VLFIBTpxaohFSDcHZTLFhHJtXg\n"
                                 "bwIDAQAB\n"
                                 "-----END PUBLIC KEY-----\n";

struct play {
    struct client_auth *auth;
    struct wire *client, *server;
    unsigned flags;
    enum tls_mode mode;
    size_t clear; /* bytes that left in clear */
    int end;
};

static struct tls_ctx *tls_ctx(bool server)
{
    static struct tls_ctx *made[2];
    if (!made[0]) {
        static const char *const names[] = {"localhost"};
        struct buf cert, key;
        buf_init(&cert, 1 << 16);
        buf_init(&key, 1 << 16);
        MUST(tls_self_signed(names, 1, 1700000000, 1, &cert, &key, NULL) == 0);
        struct tls_files files = {.cert = buf_cstr(&cert), .key = buf_cstr(&key)};
        made[1] = tls_server_ctx(&files, NULL);
        made[0] = tls_client_ctx(TLS_REQUIRED, &(struct tls_files){0}, NULL);
        MUST(made[0] && made[1]);
        buf_free(&cert);
        buf_free(&key);
    }
    return made[server];
}

/* What the client sends: looked at, and given to the server's wire where TLS is on. */
static void leave(struct play *p)
{
    struct buf *out = wire_output(p->client);
    bool tls = wire_has_tls(p->client);
    struct packet packet;
    if (!tls || p->clear == 0) { /* with TLS: the request stands in front of the first flight */
        size_t n = tls && out->len > SSL_REQUEST ? SSL_REQUEST : out->len;
        p->clear += n;
        MUST(p->flags & LOCAL || n < sizeof PASSWORD || !memmem(out->data, n, PASSWORD, sizeof PASSWORD - 1));
        if (p->mode >= TLS_REQUIRED) {
            MUST(n == 0 || (tls && n == SSL_REQUEST));
            MUST(p->clear <= SSL_REQUEST);
        }
    }
    if (tls && !wire_has_tls(p->server)) {
        wire_seq_check(p->server, false);
        (void)wire_feed(p->server, out->data, out->len < SSL_REQUEST ? out->len : SSL_REQUEST, NULL);
        (void)wire_next(p->server, &packet, NULL);
        buf_consume(out, out->len < SSL_REQUEST ? out->len : SSL_REQUEST);
        (void)wire_start_tls(p->server, tls_server_new(tls_ctx(true), NULL), NULL);
    }
    wire_seq_check(p->server, false);
    (void)wire_feed(p->server, out->data, out->len, NULL);
    while (wire_next(p->server, &packet, NULL) == 1) {
    }
    buf_consume(out, out->len);
}

static void check_result(const struct client_auth_result *r)
{
    MUST(strnlen(r->version, sizeof r->version) < sizeof r->version);
    MUST(strnlen(r->sqlstate, sizeof r->sqlstate) < sizeof r->sqlstate);
}

static void arrive(struct play *p, const uint8_t *data, size_t n)
{
    struct packet packet;
    struct errmsg em = {.text = ""};
    uint8_t *exact = fuzz_exact(data, n);
    if (wire_feed(p->client, exact, n, &em)) {
        p->end = -1;
    }
    free(exact);
    while (p->end == 0 && wire_next(p->client, &packet, &em) == 1) {
        int rc = client_auth_packet(p->auth, p->client, &packet, &em);
        p->end = rc == CLIENT_AUTH_MORE ? 0 : rc;
        MUST(rc >= 0 || em.text[0]);
        MUST(rc != CLIENT_AUTH_DONE || p->mode < TLS_REQUIRED || wire_has_tls(p->client));
        leave(p);
        check_result(client_auth_result(p->auth));
    }
    leave(p);
}

/* All flights of TLS that are due, both ways. */
static void exchange(struct play *p)
{
    for (int i = 0; i < 4 && !p->end; i++) {
        struct buf out;
        buf_init(&out, WIRE_OUTPUT_MAX);
        buf_move(&out, wire_output(p->server));
        if (out.len) {
            arrive(p, out.data, out.len);
        }
        buf_free(&out);
    }
}

static void send_packet(struct play *p, const void *data, size_t n)
{
    MUST(wire_put(p->server, data, n) == 0);
    exchange(p);
}

static void step_greeting(struct play *p, struct cur *in)
{
    static const char *const plugins[] = {"caching_sha2_password", "mysql_native_password", "sha256_password",
                                          ""};
    char version[80];
    struct buf b;
    uint8_t how = cur_u8(in);
    uint32_t caps = cur_u32(in) ^ (CAPS_SERVER | CAP_SSL);
    fuzz_text(in, version, sizeof version);
    buf_init(&b, 1 << 16);
    buf_u8(&b, 10);
    buf_str_nul(&b, version);
    buf_u32(&b, 99);
    buf_str_nul(&b, "saltsalt");
    buf_u16(&b, (uint16_t)caps);
    buf_u8(&b, 45);
    buf_u16(&b, 2);
    buf_u16(&b, (uint16_t)(caps >> 16));
    buf_u8(&b, how & 4 ? 21 : cur_u8(in));
    buf_zero(&b, 10);
    buf_str_nul(&b, "moresaltmore");
    buf_str_nul(&b, plugins[how & 3]);
    send_packet(p, b.data, b.len);
    buf_free(&b);
}

static void step_switch(struct play *p, struct cur *in)
{
    static const char *const plugins[] = {"caching_sha2_password", "mysql_native_password", "sha256_password",
                                          "client_ed25519",        "mysql_clear_password",  "dialog"};
    struct buf b;
    size_t n;
    uint8_t how = cur_u8(in);
    const uint8_t *salt = fuzz_piece(in, &n);
    buf_init(&b, 1 << 17);
    buf_u8(&b, 0xfe);
    buf_str_nul(&b, plugins[(how & 7) % 6]);
    if (how & 16) {
        buf_str(&b, "a nonce of 32 bytes for ed25519.");
    }
    buf_bytes(&b, how & 8 ? (const uint8_t *)"12345678901234567890" : salt, how & 8 ? 21 : n);
    send_packet(p, b.data, b.len);
    buf_free(&b);
}

static void step_key(struct play *p, struct cur *in)
{
    struct buf b;
    uint8_t at = cur_u8(in), bits = cur_u8(in);
    buf_init(&b, 1 << 16);
    buf_u8(&b, 1);
    buf_str(&b, public_key);
    b.data[1 + 2 * at % (sizeof public_key - 1)] ^= bits;
    send_packet(p, b.data, b.len);
    buf_free(&b);
}

static void step(struct play *p, struct cur *in)
{
    static const uint8_t words[][2] = {{1, 3}, {1, 4}, {0, 0}, {1, 2}};
    uint8_t op = cur_u8(in);
    size_t n;
    const uint8_t *data;
    switch (op % 6) {
    case 0:
        data = fuzz_piece(in, &n);
        arrive(p, data, n);
        break;
    case 1:
        data = fuzz_piece(in, &n);
        send_packet(p, data, n);
        break;
    case 2:
        step_greeting(p, in);
        break;
    case 3:
        step_switch(p, in);
        break;
    case 4:
        step_key(p, in);
        break;
    default:
        send_packet(p, words[op >> 5 & 3], 2);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct client_auth_attr attrs[] = {{"_client_name", "holdfast"}, {"program_name", "fuzz"}};
    struct cur in = cur_of(data, size);
    struct play p = {.flags = cur_u8(&in), .client = wire_new(PACKET_MAX), .server = wire_new(PACKET_MAX)};
    uint8_t more = cur_u8(&in);
    p.mode = (enum tls_mode)(more % 64 % (TLS_REQUIRED + 1));
    struct client_auth_opts opts = {
        .user = USER,
        .password = p.flags & NO_PASSWORD ? NULL : PASSWORD,
        .db = p.flags & WITH_DB ? "mysql" : NULL,
        .attrs = attrs,
        .nattrs = p.flags & ATTRS ? 2 : 0,
        .tls_mode = p.mode,
        .tls = p.flags & NO_TLS_CTX ? NULL : tls_ctx(false),
        .local = p.flags & LOCAL,
        .compress = {.kind = more & WITH_ZLIB   ? COMPRESS_ZLIB
                             : more & WITH_ZSTD ? COMPRESS_ZSTD
                                                : COMPRESS_NONE,
                     .level = more & WITH_ZLIB ? 0 : COMPRESS_ZSTD_LEVEL},
        .no_rsa = p.flags & NO_RSA,
    };
    p.auth = client_auth_new(&opts);
    for (int i = 0; i < STEPS_MAX && cur_left(&in) && p.end == 0; i++) {
        step(&p, &in);
    }
    client_auth_free(p.auth);
    wire_free(p.client);
    wire_free(p.server);
    return 0;
}
