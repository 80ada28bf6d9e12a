/* fuzz_auth_server: the server's side of the login against a hostile client, with and without TLS.
 *
 * Input: flags, plugin of the greeting, then what the client does: bytes as they are; packets in sequence
 * with given content; responses built from parts, the right answer to the salt among them; the begin of TLS,
 * after which packets go through it. Properties: nobody gets in without the right answer, as somebody else,
 * or in clear where TLS is required; root only by the socket; a refusal ends with ERR; after an end there is
 * no other one. */
#include "protocol/auth_server.h"
#include "protocol/base/buf.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"

enum { OFFER_TLS = 1, REQUIRE_TLS = 2, LOCAL = 4, ADMIT_ROOT = 8, MARIADB = 16, NO_LOOKUP = 32, NATIVE = 64 };

enum { FULL = 64, NO_RSA = 128 }; /* in the second byte, beside the plugin */

enum { STEPS_MAX = 32, PACKET_MAX = 1 << 16 };

#define PASSWORD "op3n-s3same"

struct play {
    struct server_auth *auth;
    struct wire *server, *client; /* the client's wire keeps its sequence and its TLS */
    uint8_t salt[AUTH_SALT];
    unsigned flags;
    bool answered; /* the right answer was given at least once */
    bool told;     /* the password itself was */
    bool learned;
    bool tls;
    int end;
    unsigned last_err; /* number of the last ERR packet */
    bool last_ok;
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

static struct auth_rsa *rsa_key(void)
{
    static struct auth_rsa *rsa;
    if (!rsa) {
        struct buf pem;
        buf_init(&pem, 1 << 16);
        MUST(auth_rsa_make(&pem, NULL) == 0);
        rsa = auth_rsa_new(buf_cstr(&pem), NULL);
        MUST(rsa);
        buf_free(&pem);
    }
    return rsa;
}

/* "alice" has both verifiers, "cold" has neither, "empty" no password. */
static int lookup(void *arg, const char *user, struct account_secret *out)
{
    (void)arg;
    if (!strcmp(user, "alice")) {
        account_secret_set(out, PASSWORD, sizeof PASSWORD - 1);
        return 0;
    }
    if (!strcmp(user, "cold")) {
        static struct sha2_stored stored;
        if (!stored.thousands) {
            sha2_stored_set(&stored, PASSWORD, sizeof PASSWORD - 1, (const uint8_t *)"salt-of-twenty-bytes");
        }
        out->cold = true;
        out->stored = stored;
        return 0;
    }
    if (!strcmp(user, "empty")) {
        account_secret_set(out, "", 0);
        return 0;
    }
    return E_NOTFOUND;
}

static void learned(void *arg, const char *user, const struct account_secret *secret)
{
    struct play *p = arg;
    MUST(!strcmp(user, "cold") && p->told && !secret->cold);
    MUST(account_secret_matches(secret, PASSWORD, sizeof PASSWORD - 1));
    p->learned = true;
}

static void check_done(struct play *p)
{
    const struct server_auth_result *r = server_auth_result(p->auth);
    MUST(strnlen(r->user, sizeof r->user) < sizeof r->user && strnlen(r->db, sizeof r->db) < sizeof r->db);
    MUST(strnlen(r->program_name, sizeof r->program_name) < sizeof r->program_name);
    MUST(!(p->flags & REQUIRE_TLS) || r->tls || p->flags & LOCAL);
    MUST(r->tls == p->tls);
    if (r->by_socket) {
        MUST(p->flags & ADMIT_ROOT && !strcmp(r->user, "root"));
    } else if (!strcmp(r->user, "alice")) {
        MUST((p->answered || p->told) && !(p->flags & NO_LOOKUP));
    } else if (!strcmp(r->user, "cold")) {
        MUST(p->told && p->learned && !(p->flags & NO_LOOKUP));
    } else {
        MUST(!strcmp(r->user, "empty") && !(p->flags & NO_LOOKUP));
    }
}

/* What the server sent reaches the client. */
static void deliver(struct play *p)
{
    struct buf *out = wire_output(p->server);
    struct packet packet;
    if (wire_feed(p->client, out->data, out->len, NULL) == 0) {
        wire_seq_check(p->client, false);
        while (wire_next(p->client, &packet, NULL) == 1) {
            p->last_ok = packet_kind(&packet) == 0 && packet.len >= 7;
            p->last_err = packet.len > 2 && packet.data[0] == 0xff ? packet.data[1] | packet.data[2] << 8 : 0;
        }
    }
    buf_consume(out, out->len);
}

/* Bytes reach the server, which takes the packets. */
static void arrive(struct play *p, const uint8_t *data, size_t n)
{
    struct packet packet;
    struct errmsg em = {.text = ""};
    uint8_t *exact = fuzz_exact(data, n);
    if (wire_feed(p->server, exact, n, &em)) {
        p->end = -1;
    }
    free(exact);
    while (p->end == 0 && wire_next(p->server, &packet, &em) == 1) {
        int rc = server_auth_packet(p->auth, p->server, &packet, &em);
        deliver(p);
        if (rc != SERVER_AUTH_MORE) {
            p->end = rc;
        }
        if (rc == SERVER_AUTH_DONE) {
            check_done(p);
        } else if (rc < 0) {
            MUST(em.text[0]);
            MUST(rc == E_TLS || rc == E_CLOSED || p->last_err || p->tls);
            MUST(server_auth_packet(p->auth, p->server, &packet, &em) == E_CLOSED);
        }
    }
    deliver(p);
}

static void send_packet(struct play *p, const void *data, size_t n)
{
    MUST(wire_put(p->client, data, n) == 0);
    struct buf out;
    buf_init(&out, WIRE_OUTPUT_MAX);
    buf_move(&out, wire_output(p->client));
    arrive(p, out.data, out.len);
    buf_free(&out);
}

static size_t right_answer(struct play *p, bool native, uint8_t out[SHA2_SIZE])
{
    p->answered = true;
    if (native) {
        native_scramble(PASSWORD, sizeof PASSWORD - 1, p->salt, out);
        return NATIVE_SIZE;
    }
    sha2_scramble(PASSWORD, sizeof PASSWORD - 1, p->salt, out);
    return SHA2_SIZE;
}

static void put_head(struct buf *b, uint32_t caps)
{
    buf_u32(b, caps);
    buf_u32(b, 1 << 24);
    buf_u8(b, 45);
    buf_zero(b, 23);
}

static void step_response(struct play *p, struct cur *in)
{
    static const char *const users[] = {"alice", "empty", "root", "cold"};
    static const char *const plugins[] = {"caching_sha2_password", "mysql_native_password", "sha256_password",
                                          ""};
    uint8_t how = cur_u8(in), answer[SHA2_SIZE];
    uint32_t caps = cur_u32(in) ^ (CAPS_SERVER & ~(uint32_t)CAP_QUERY_ATTRIBUTES);
    struct buf b;
    size_t n;
    char user[128];
    fuzz_text(in, user, sizeof user);
    const uint8_t *given = fuzz_piece(in, &n);
    buf_init(&b, 1 << 20);
    put_head(&b, caps);
    buf_str_nul(&b, user[0] ? user : users[how & 3]);
    if (how & 4) {
        size_t len = right_answer(p, how & 8, answer);
        buf_u8(&b, (uint8_t)len);
        buf_bytes(&b, answer, len);
    } else if (caps & CAP_AUTH_LENENC) {
        buf_lenenc_bytes(&b, given, n);
    } else {
        buf_u8(&b, (uint8_t)n);
        buf_bytes(&b, given, (uint8_t)n);
    }
    if (caps & CAP_CONNECT_WITH_DB) {
        buf_str_nul(&b, user);
    }
    if (caps & CAP_PLUGIN_AUTH) {
        buf_str_nul(&b, plugins[how >> 4 & 3]);
    }
    if (caps & CAP_CONNECT_ATTRS) {
        buf_lenenc_bytes(&b, given, n);
    }
    send_packet(p, b.data, b.len);
    buf_free(&b);
}

static void step_tls(struct play *p)
{
    struct buf b;
    if (!(p->flags & OFFER_TLS) || wire_has_tls(p->client)) {
        return;
    }
    buf_init(&b, 1 << 16);
    put_head(&b, CAPS_SERVER | CAP_SSL);
    send_packet(p, b.data, b.len);
    buf_free(&b);
    if (p->end || !wire_has_tls(p->server)) {
        return;
    }
    p->tls = true;
    struct tls *tls = tls_client_new(tls_ctx(false), NULL, NULL);
    if (wire_start_tls(p->client, tls, NULL)) {
        p->end = -1;
    }
    for (int i = 0; i < 3 && !p->end; i++) { /* the flights of the handshake */
        struct buf out;
        buf_init(&out, WIRE_OUTPUT_MAX);
        buf_move(&out, wire_output(p->client));
        arrive(p, out.data, out.len);
        buf_free(&out);
    }
}

/* What full authentication asks for: the key, the password in clear or under the key. */
static void step_password(struct play *p, unsigned how)
{
    uint8_t out[AUTH_RSA_OUT_MAX];
    size_t n = sizeof PASSWORD;
    const char *pem = auth_rsa_public(rsa_key());
    if (how == 0) {
        send_packet(p, "\2", 1);
        return;
    }
    p->told = true;
    if (how == 1) {
        send_packet(p, PASSWORD, n);
        return;
    }
    MUST(sha2_rsa_encrypt(PASSWORD, n - 1, p->salt, pem, strlen(pem), out, sizeof out, &n) == 0);
    out[how & 63] ^= (uint8_t)(how >> 7); /* a bit less right */
    send_packet(p, out, n);
}

static void step(struct play *p, struct cur *in)
{
    uint8_t answer[SHA2_SIZE], op = cur_u8(in);
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
        step_response(p, in);
        break;
    case 3:
        step_tls(p);
        break;
    case 4:
        step_password(p, cur_u8(in));
        break;
    default: /* the bare answer after a switch */
        n = right_answer(p, op & 64, answer);
        send_packet(p, answer, n);
        break;
    }
    p->tls = p->tls || wire_has_tls(p->server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    struct play p = {.flags = cur_u8(&in), .server = wire_new(PACKET_MAX), .client = wire_new(PACKET_MAX)};
    uint8_t greeting = cur_u8(&in);
    struct server_auth_opts opts = {
        .version = p.flags & MARIADB ? "5.5.5-10.11.19-MariaDB-holdfast" : "9.7.4-holdfast",
        .thread_id = 7,
        .plugin = p.flags & NATIVE ? AUTH_NATIVE : (enum auth_plugin)(greeting % 3),
        .tls = p.flags & OFFER_TLS ? tls_ctx(true) : NULL,
        .require_tls = p.flags & REQUIRE_TLS,
        .peer_host = "10.0.0.7",
        .is_local = p.flags & LOCAL,
        .admit_root = p.flags & ADMIT_ROOT && p.flags & LOCAL,
        .rsa = greeting & NO_RSA ? NULL : rsa_key(),
        .full = greeting & FULL,
        .learned = learned,
        .lookup_arg = &p,
        .lookup = p.flags & NO_LOOKUP ? NULL : lookup,
    };
    memset(opts.salt, 0x33, sizeof opts.salt);
    memcpy(p.salt, opts.salt, sizeof p.salt);
    auth_salt_fit(p.salt);
    p.auth = server_auth_new(&opts);
    MUST(server_auth_start(p.auth, p.server) == 0);
    deliver(&p);
    for (int i = 0; i < STEPS_MAX && cur_left(&in) && p.end == 0; i++) {
        step(&p, &in);
    }
    server_auth_free(p.auth);
    wire_free(p.server);
    wire_free(p.client);
    return 0;
}
