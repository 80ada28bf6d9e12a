/* auth_client.c: the client's side of the login.
 *
 * Happy path: GREETING (the server's) -> [SSLRequest, TLS] response -> ANSWER: [auth switch -> scramble, or
 * signature]; for caching_sha2_password 01 03 (fast) or 01 04 (full: the password over TLS, or under the
 * server's RSA key: 02, KEY), for sha256_password the password likewise (01, KEY) -> OK [compression]. Some
 * servers leave the 01 in front of their data away: both are taken. Failure modes: the server's ERR (E_DENIED
 * when it is about the account, else E_PEER); a server that asks for what we do not do or for more than one
 * switch: E_UNSUPPORTED, E_MALFORMED. Whoever calls closes the connection then. */
#include "protocol/auth_client.h"

#include "protocol/base/check.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "protocol/result.h"
#include "protocol/wire.h"

#include <openssl/crypto.h>

#include <string.h>

enum state { GREETING, ANSWER, KEY, DONE, FAILED };

enum {
    SALT_HEAD = 8,
    SALT_TAIL = AUTH_SALT - SALT_HEAD,
    MORE_FAST_OK = 3,
    MORE_FULL = 4,
    ASK_KEY = 2,        /* of caching_sha2_password */
    ASK_KEY_SHA256 = 1, /* of sha256_password */
    RSA_OUT_MAX = 2048,
    ATTRS_MAX = 65536,
};

struct client_auth {
    enum state state;
    struct client_auth_result result;
    uint8_t salt[ED25519_NONCE]; /* AUTH_SALT bytes for the other plugins */
    bool switched;

    char *user;
    char *password;
    char *db;
    char *server_name;
    uint32_t wanted;
    uint8_t charset;
    uint32_t max_packet;
    enum tls_mode tls_mode;
    struct tls_ctx *tls;
    bool local;
    bool no_rsa;
    struct compress_choice compress;
    struct buf attrs; /* as they are sent, without their length */
};

struct client_auth *client_auth_new(const struct client_auth_opts *opts)
{
    struct client_auth *a = mem_new(sizeof(*a));
    a->user = mem_str(opts->user ? opts->user : "");
    a->password = mem_str(opts->password ? opts->password : "");
    a->db = mem_str(opts->db);
    a->server_name = mem_str(opts->server_name);
    a->wanted = opts->caps ? opts->caps : CAPS_CLIENT;
    a->charset = opts->charset ? opts->charset : CHARSET_UTF8MB4_GENERAL;
    a->max_packet = opts->max_packet ? opts->max_packet : 1u << 30;
    a->tls_mode = opts->tls_mode;
    a->tls = tls_ctx_ref(opts->tls);
    a->local = opts->local;
    a->no_rsa = opts->no_rsa;
    a->compress = opts->compress;
    buf_init(&a->attrs, ATTRS_MAX);
    for (size_t i = 0; i < opts->nattrs; i++) {
        buf_lenenc_str(&a->attrs, opts->attrs[i].name);
        buf_lenenc_str(&a->attrs, opts->attrs[i].value);
    }
    return a;
}

void client_auth_free(struct client_auth *a)
{
    if (a) {
        OPENSSL_cleanse(a->password, strlen(a->password));
        mem_free(a->password);
        mem_free(a->user);
        mem_free(a->db);
        mem_free(a->server_name);
        tls_ctx_free(a->tls);
        buf_free(&a->attrs);
        mem_free(a);
    }
}

const struct client_auth_result *client_auth_result(const struct client_auth *a)
{
    return &a->result;
}

/* ---- the greeting ---- */

/* A MariaDB server does not set bit 0 of its capabilities, which every MySQL server has set; its version can be any text (--version=...). */
static void take_version(struct client_auth *a, const char *text, size_t n, uint32_t caps)
{
    static const char prefix[] = "5.5.5-"; /* MariaDB 10 puts it in front for old replicas */
    struct client_auth_result *r = &a->result;
    r->is_mariadb = !(caps & CAP_LONG_PASSWORD) || memmem(text, n, "MariaDB", 7) != NULL;
    size_t skip = sizeof(prefix) - 1;
    if (r->is_mariadb && n > skip && memcmp(text, prefix, skip) == 0) {
        text += skip;
        n -= skip;
    }
    size_t len = n < sizeof(r->version) - 1 ? n : sizeof(r->version) - 1;
    memcpy(r->version, text, len);
    r->version[len] = 0;
    for (size_t i = 0; i < len; i++) {
        if (r->version[i] < ' ' || r->version[i] > '~') {
            r->version[i] = '?'; /* it ends in logs and in our own greeting */
        }
    }
}

static int read_greeting(struct client_auth *a, const struct packet *p, uint32_t *caps, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    uint8_t protocol = cur_u8(&c);
    if (cur_ok(&c) && protocol != 10) {
        return err_set(em, E_UNSUPPORTED, "the server speaks protocol %u, not 10", protocol);
    }
    size_t nversion;
    const char *version = cur_str_nul(&c, &nversion);
    a->result.thread_id = cur_u32(&c);
    cur_copy(&c, a->salt, SALT_HEAD);
    cur_skip(&c, 1);
    *caps = cur_u16(&c);
    a->result.charset = cur_u8(&c);
    cur_skip(&c, 2); /* status */
    *caps |= (uint32_t)cur_u16(&c) << 16;
    size_t nsalt = cur_u8(&c);
    cur_skip(&c, 10);
    cur_copy(&c, a->salt + SALT_HEAD, SALT_TAIL);
    if (!cur_ok(&c)) {
        return err_set(em, E_MALFORMED, "malformed greeting");
    }
    /* the rest of the salt's field (its NUL) and the plugin are sent by all that are left, but not needed */
    size_t more = nsalt > AUTH_SALT ? nsalt - AUTH_SALT : 1;
    cur_skip(&c, more < cur_left(&c) ? more : cur_left(&c));
    size_t nplugin;
    const uint8_t *plugin = cur_rest(&c, &nplugin);
    nplugin = strnlen((const char *)plugin, nplugin);
    a->result.plugin = auth_plugin_of((const char *)plugin, nplugin);
    if (!(*caps & CAP_PLUGIN_AUTH)) {
        a->result.plugin = AUTH_NATIVE;
    } else if (a->result.plugin != AUTH_NATIVE) {
        a->result.plugin = AUTH_SHA2; /* our guess; the server switches if the account wants another */
    }
    take_version(a, version, nversion, *caps);
    return 0;
}

/* ---- what we send ---- */

/* For the two plugins that have one. */
static size_t scramble(const struct client_auth *a, uint8_t out[SHA2_SIZE])
{
    size_t n = strlen(a->password);
    if (n == 0) {
        return 0;
    }
    if (a->result.plugin == AUTH_NATIVE) {
        native_scramble(a->password, n, a->salt, out);
        return NATIVE_SIZE;
    }
    sha2_scramble(a->password, n, a->salt, out);
    return SHA2_SIZE;
}

/* The caps that go into the response: bit 0 is always set, a MariaDB server reads other fields without it. */
static uint32_t response_caps(const struct client_auth *a)
{
    return a->result.caps | CAP_LONG_PASSWORD;
}

static void put_head(const struct client_auth *a, struct buf *b)
{
    buf_u32(b, response_caps(a));
    buf_u32(b, a->max_packet);
    buf_u8(b, a->charset);
    buf_zero(b, 23);
}

static int start_tls(struct client_auth *a, struct wire *w, struct errmsg *em)
{
    put_head(a, wire_begin(w));
    int rc = wire_end(w);
    if (rc) {
        return err_set(em, rc, "%s", err_text(rc));
    }
    struct tls *tls = tls_client_new(a->tls, a->server_name, em);
    if (!tls) {
        return E_TLS;
    }
    a->result.tls = true;
    return wire_start_tls(w, tls, em);
}

static int put_response(struct client_auth *a, struct wire *w, struct errmsg *em)
{
    uint8_t answer[SHA2_SIZE];
    size_t n = scramble(a, answer);
    struct buf *b = wire_begin(w);
    put_head(a, b);
    buf_str_nul(b, a->user);
    buf_u8(b, (uint8_t)n); /* below 251: the same with and without CAP_AUTH_LENENC */
    buf_bytes(b, answer, n);
    if (a->result.caps & CAP_CONNECT_WITH_DB) {
        buf_str_nul(b, a->db);
    }
    if (a->result.caps & CAP_PLUGIN_AUTH) {
        buf_str_nul(b, auth_plugin_name(a->result.plugin));
    }
    if (a->result.caps & CAP_CONNECT_ATTRS) {
        buf_lenenc_bytes(b, a->attrs.data, a->attrs.err ? 0 : a->attrs.len);
    }
    if (a->result.caps & CAP_ZSTD) {
        buf_u8(b, (uint8_t)a->compress.level);
    }
    int rc = wire_end(w);
    a->state = ANSWER;
    return rc ? err_set(em, rc, "%s", err_text(rc)) : CLIENT_AUTH_MORE;
}

static int on_greeting(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    uint32_t offered = 0;
    int rc = read_greeting(a, p, &offered, em);
    if (rc) {
        return rc;
    }
    if (!(offered & CAP_PROTOCOL_41) || !(offered & CAP_SECURE_CONNECTION)) {
        return err_set(em, E_UNSUPPORTED, "the server is too old: %s", a->result.version);
    }
    uint32_t want = a->wanted | CAP_LONG_PASSWORD | CAP_PROTOCOL_41 | CAP_SECURE_CONNECTION | CAP_PLUGIN_AUTH;
    want &= ~(uint32_t)(CAP_SSL | CAP_CONNECT_WITH_DB | CAP_COMPRESS | CAP_ZSTD);
    if (a->compress.kind != COMPRESS_NONE) {
        want |= a->compress.kind == COMPRESS_ZLIB ? CAP_COMPRESS : CAP_ZSTD;
    }
    if (a->db && a->db[0]) {
        want |= CAP_CONNECT_WITH_DB;
    }
    bool need = a->tls_mode >= TLS_REQUIRED;
    if (need || (a->tls_mode == TLS_PREFERRED && !a->local)) {
        want |= a->tls ? CAP_SSL : 0;
    }
    a->result.caps = want & offered;
    if (a->result.caps & CAP_SSL) {
        rc = start_tls(a, w, em);
    } else if (need) {
        rc = err_set(em, E_TLS,
                     a->tls ? "TLS is required, the server does not offer it"
                            : "TLS is required, but no TLS context was given");
    }
    return rc ? rc : put_response(a, w, em);
}

/* ---- the dialogue of the plugins ---- */

static int put_answer(struct wire *w, const void *data, size_t n, struct errmsg *em)
{
    int rc = wire_put(w, data, n);
    return rc ? err_set(em, rc, "%s", err_text(rc)) : CLIENT_AUTH_MORE;
}

static int put_password(struct client_auth *a, struct wire *w, struct errmsg *em)
{
    return put_answer(w, a->password, strlen(a->password) + 1, em);
}

static int ask_key(struct client_auth *a, struct wire *w, uint8_t how, struct errmsg *em)
{
    if (a->no_rsa) {
        return err_set(em, E_UNSUPPORTED, "%s needs TLS here, or the server's public key",
                       auth_plugin_name(a->result.plugin));
    }
    a->state = KEY;
    return put_answer(w, &how, 1, em);
}

/* The first answer to the plugin that the server switched to. */
static int answer(struct client_auth *a, struct wire *w, struct errmsg *em)
{
    uint8_t out[ED25519_SIZE] = {0};
    size_t n = 0;
    switch (a->result.plugin) {
    case AUTH_ED25519:
        n = sizeof(out);
        if (ed25519_sign(a->password, strlen(a->password), a->salt, out)) {
            return err_set(em, E_NOMEM, "no memory for the signature");
        }
        break;
    case AUTH_SHA256:
        return a->password[0] == 0 || a->result.tls ? put_password(a, w, em)
                                                    : ask_key(a, w, ASK_KEY_SHA256, em);
    case AUTH_SHA2:
        n = scramble(a, out);
        n = n ? n : 1; /* so MySQL's clients say "no password" here */
        break;
    case AUTH_NATIVE:
        n = scramble(a, out);
        break;
    case AUTH_OTHER:
        CHECK(false);
    }
    return put_answer(w, out, n, em);
}

static int on_switch(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    cur_skip(&c, 1);
    if (cur_left(&c) == 0) {
        return err_set(em, E_UNSUPPORTED, "the server wants a password of the pre-4.1 kind");
    }
    size_t n;
    const char *name = cur_str_nul(&c, &n);
    if (!name) {
        return err_set(em, E_MALFORMED, "malformed auth switch");
    }
    enum auth_plugin plugin = auth_plugin_of(name, n);
    if (plugin == AUTH_OTHER) {
        /* MySQL makes up a plugin for accounts that do not exist */
        return err_set(em, E_UNSUPPORTED,
                       "the server wants authentication plugin '%.64s' for '%s', which is not supported "
                       "(or there is no such account)",
                       name, a->user);
    }
    if (a->switched) {
        return err_set(em, E_MALFORMED, "the server switched authentication twice");
    }
    cur_copy(&c, a->salt, plugin == AUTH_ED25519 ? ED25519_NONCE : AUTH_SALT);
    if (!cur_ok(&c) || cur_left(&c) > 1) {
        return err_set(em, E_MALFORMED, "malformed auth switch");
    }
    a->switched = true;
    a->result.plugin = plugin;
    return answer(a, w, em);
}

/* The plugin's data in a packet: all but an 01 in front. */
static struct cur plugin_data(const struct packet *p)
{
    struct cur c = cur_of(p->data, p->len);
    if (cur_peek_u8(&c) == 1) {
        cur_skip(&c, 1);
    }
    return c;
}

static int on_more(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    struct cur c = plugin_data(p);
    uint8_t what = cur_u8(&c);
    if (a->result.plugin != AUTH_SHA2 || !cur_done(&c)) {
        return err_set(em, E_MALFORMED, "malformed authentication data");
    }
    if (what == MORE_FAST_OK) {
        return CLIENT_AUTH_MORE; /* OK follows by itself */
    }
    if (what != MORE_FULL) {
        return err_set(em, E_MALFORMED, "malformed authentication data");
    }
    return a->result.tls || a->local ? put_password(a, w, em) : ask_key(a, w, ASK_KEY, em);
}

static int on_key(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    uint8_t out[RSA_OUT_MAX];
    size_t n;
    struct cur c = plugin_data(p);
    size_t nkey;
    const uint8_t *key = cur_rest(&c, &nkey);
    int rc = sha2_rsa_encrypt(a->password, strlen(a->password), a->salt, key, nkey, out, sizeof(out), &n);
    if (rc) {
        return err_set(em, rc, "cannot use the server's public key");
    }
    a->state = ANSWER;
    return put_answer(w, out, n, em);
}

static bool is_about_account(unsigned code)
{
    enum { ER_ACCESS_DENIED_NO_PASSWORD = 1698, ER_ACCOUNT_LOCKED = 3118 };
    return code == ER_ACCESS_DENIED || code == ER_DBACCESS_DENIED || code == ER_SPECIFIC_ACCESS_DENIED ||
           code == ER_ACCESS_DENIED_NO_PASSWORD || code == ER_ACCOUNT_LOCKED;
}

static int on_error(struct client_auth *a, const struct packet *p, struct errmsg *em)
{
    char message[512];
    if (err_packet_parse(p, &a->result.code, a->result.sqlstate, message, sizeof(message))) {
        return err_set(em, E_MALFORMED, "malformed error packet");
    }
    int code = is_about_account(a->result.code) ? E_DENIED : E_PEER;
    return err_set(em, code, "%s (%u)", message, a->result.code);
}

static int on_ok(struct client_auth *a, struct wire *w, struct errmsg *em)
{
    a->state = DONE;
    wire_seq_reset(w);
    if (a->result.caps & (CAP_COMPRESS | CAP_ZSTD)) {
        a->result.compress = a->compress.kind;
        int rc = wire_start_compress(w, &a->compress, em);
        if (rc) {
            return rc;
        }
    }
    return CLIENT_AUTH_DONE;
}

static int dispatch(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    uint8_t kind = packet_kind(p);
    if (p->len && kind == 0xff) {
        return on_error(a, p, em);
    }
    if (a->state == GREETING) {
        return on_greeting(a, w, p, em);
    }
    if (p->len == 0) {
        return err_set(em, E_MALFORMED, "empty packet during authentication");
    }
    if (a->state == KEY) {
        return on_key(a, w, p, em);
    }
    switch (kind) {
    case 0x00:
        return on_ok(a, w, em);
    case 0x01:
    case MORE_FAST_OK:
    case MORE_FULL:
        return on_more(a, w, p, em);
    case 0xfe:
        return on_switch(a, w, p, em);
    default:
        return err_set(em, E_MALFORMED, "unexpected packet 0x%02x during authentication", kind);
    }
}

int client_auth_packet(struct client_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    CHECK(a->state != DONE);
    if (a->state == FAILED) {
        return err_set(em, E_CLOSED, "the login failed already");
    }
    int rc = dispatch(a, w, p, em);
    if (rc < 0) {
        a->state = FAILED;
    }
    return rc;
}
