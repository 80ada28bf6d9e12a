/* auth_server.c: the server's side of the login.
 *
 * Happy path: greeting -> [SSLRequest, TLS] -> RESPONSE: user, scramble, plugin. A scramble for one of our
 * two plugins is verified at once (both use the greeting's salt); a client that answered with neither, or
 * named a plugin but sent nothing for it, is switched: SWITCHED: its bare scramble. Then OK, behind 01 03 for
 * caching_sha2_password, whose clients wait for that. Where the scramble cannot be verified (a cold account)
 * 01 04 goes out: FULL: [02, our public key] the password. Failure modes: a wrong password, an unknown
 * account and an account without a password that was given one look the same: ERR 1045 (E_DENIED). A packet
 * that cannot be read: ERR 1043 (E_MALFORMED). Nothing is looked up before the client has been read whole. */
#include "protocol/auth_server.h"

#include "protocol/base/check.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "protocol/result.h"
#include "protocol/wire.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state { RESPONSE, SWITCHED, FULL, DONE, FAILED };

enum { SALT_HEAD = 8, SSL_REQUEST = 32, ANSWER_MAX = 64, ASK_KEY = 2 };

struct server_auth {
    enum state state;
    struct server_auth_result result;
    char *version;
    char *peer_host;
    uint32_t thread_id;
    uint8_t salt[AUTH_SALT];
    enum auth_plugin plugin; /* the greeting's */
    struct tls_ctx *tls;
    bool require_tls;
    uint32_t caps;
    uint8_t charset;
    bool is_local;
    bool admit_root;
    struct auth_rsa *rsa;
    bool full;
    bool key_sent;
    void (*learned)(void *arg, const char *user, const struct account_secret *secret);
    bool user_cut; /* the name was too long to be anybody's */
    int (*lookup)(void *arg, const char *user, struct account_secret *out);
    void *lookup_arg;
};

static uint8_t default_charset(const char *version)
{
    bool modern = !strstr(version, "MariaDB") && strtol(version, NULL, 10) >= 8;
    return modern ? CHARSET_UTF8MB4_0900 : CHARSET_UTF8MB4_GENERAL;
}

struct server_auth *server_auth_new(const struct server_auth_opts *opts)
{
    struct server_auth *a = mem_new(sizeof(*a));
    a->version = mem_str(opts->version);
    a->peer_host = mem_str(opts->peer_host ? opts->peer_host : "");
    a->thread_id = opts->thread_id;
    memcpy(a->salt, opts->salt, AUTH_SALT);
    auth_salt_fit(a->salt);
    a->plugin = opts->plugin == AUTH_NATIVE ? AUTH_NATIVE : AUTH_SHA2;
    a->tls = tls_ctx_ref(opts->tls);
    a->require_tls = opts->require_tls;
    a->caps = (opts->caps ? opts->caps : CAPS_SERVER) & ~(uint32_t)CAP_COMPRESS;
    a->caps |= CAP_PROTOCOL_41 | CAP_SECURE_CONNECTION | CAP_PLUGIN_AUTH;
    a->caps = a->tls ? a->caps | CAP_SSL : a->caps & ~(uint32_t)CAP_SSL;
    a->charset = opts->charset ? opts->charset : default_charset(opts->version);
    a->is_local = opts->is_local;
    a->admit_root = opts->is_local && opts->admit_root;
    a->rsa = auth_rsa_ref(opts->rsa);
    a->full = opts->full;
    a->learned = opts->learned;
    a->lookup = opts->lookup;
    a->lookup_arg = opts->lookup_arg;
    return a;
}

void server_auth_free(struct server_auth *a)
{
    if (a) {
        tls_ctx_free(a->tls);
        auth_rsa_free(a->rsa);
        mem_free(a->version);
        mem_free(a->peer_host);
        mem_free(a);
    }
}

const struct server_auth_result *server_auth_result(const struct server_auth *a)
{
    return &a->result;
}

int server_auth_start(struct server_auth *a, struct wire *w)
{
    wire_seq_reset(w);
    struct buf *b = wire_begin(w);
    buf_u8(b, 10);
    buf_str_nul(b, a->version);
    buf_u32(b, a->thread_id);
    buf_bytes(b, a->salt, SALT_HEAD);
    buf_u8(b, 0);
    buf_u16(b, (uint16_t)a->caps);
    buf_u8(b, a->charset);
    buf_u16(b, STATUS_AUTOCOMMIT);
    buf_u16(b, (uint16_t)(a->caps >> 16));
    buf_u8(b, AUTH_SALT + 1);
    buf_zero(b, 10);
    buf_bytes(b, a->salt + SALT_HEAD, AUTH_SALT - SALT_HEAD);
    buf_u8(b, 0);
    buf_str_nul(b, auth_plugin_name(a->plugin));
    return wire_end(w);
}

/* ---- how it ends ---- */

static int refuse(struct server_auth *a, struct wire *w, bool with_password, struct errmsg *em)
{
    char text[512];
    snprintf(text, sizeof(text), "Access denied for user '%s'@'%s' (using password: %s)", a->result.user,
             a->peer_host, with_password ? "YES" : "NO");
    put_err_text(w, ER_ACCESS_DENIED, NULL, text);
    return err_set(em, E_DENIED, "%s", text);
}

static int bad_handshake(struct wire *w, int code, struct errmsg *em, const char *why)
{
    put_err_text(w, ER_HANDSHAKE, NULL, "Bad handshake");
    return err_set(em, code, "bad handshake: %s", why);
}

static int finish(struct server_auth *a, struct wire *w, bool scrambled, struct errmsg *em)
{
    static const uint8_t fast_ok[] = {1, 3};
    if (a->require_tls && !a->result.tls && !a->is_local) {
        static const char text[] = "Connections using insecure transport are prohibited while "
                                   "--require_secure_transport=ON.";
        put_err_text(w, ER_SECURE_TRANSPORT, NULL, text);
        return err_set(em, E_DENIED, "%s", text);
    }
    if (scrambled && a->result.plugin == AUTH_SHA2) {
        wire_put(w, fast_ok, sizeof(fast_ok));
    }
    int rc = put_ok(w, a->result.caps);
    if (rc) {
        return err_set(em, rc, "%s", err_text(rc));
    }
    a->state = DONE;
    wire_seq_reset(w);
    return SERVER_AUTH_DONE;
}

static int put_switch(struct server_auth *a, struct wire *w, enum auth_plugin plugin, struct errmsg *em)
{
    a->result.plugin = plugin;
    a->state = SWITCHED;
    struct buf *b = wire_begin(w);
    buf_u8(b, 0xfe);
    buf_str_nul(b, auth_plugin_name(plugin));
    buf_bytes(b, a->salt, AUTH_SALT);
    buf_u8(b, 0);
    int rc = wire_end(w);
    return rc ? err_set(em, rc, "%s", err_text(rc)) : SERVER_AUTH_MORE;
}

static bool find(struct server_auth *a, struct account_secret *secret)
{
    account_secret_none(secret);
    bool known = a->lookup && !a->user_cut && a->lookup(a->lookup_arg, a->result.user, secret) == 0;
    if (!known) {
        account_secret_none(secret);
    }
    return known;
}

static int ask_password(struct server_auth *a, struct wire *w, struct errmsg *em)
{
    static const uint8_t full[] = {1, 4};
    a->state = FULL;
    int rc = wire_put(w, full, sizeof(full));
    return rc ? err_set(em, rc, "%s", err_text(rc)) : SERVER_AUTH_MORE;
}

/* Judges the scramble for result.plugin. Known and unknown accounts take the same way through it. */
static int judge(struct server_auth *a, struct wire *w, const uint8_t *answer, size_t n, struct errmsg *em)
{
    if (a->result.plugin == AUTH_SHA2 && n == 1 && answer[0] == 0) {
        n = 0; /* "no password" */
    }
    struct account_secret secret;
    bool known = find(a, &secret);
    bool matches = auth_verify(&secret, a->result.plugin, a->salt, answer, n) && known;
    bool full = n > 0 && (a->full || secret.cold || secret.sha2_only || secret.native_only);
    bool native = secret.native_only && !a->result.tls && !a->is_local; /* nobody tells a password there unasked */
    OPENSSL_cleanse(&secret, sizeof(secret));
    if (a->admit_root && strcmp(a->result.user, "root") == 0) {
        a->result.by_socket = true;
        matches = true;
    }
    bool can_switch = a->state != SWITCHED && a->result.caps & CAP_PLUGIN_AUTH;
    if (!matches && n > 0 && native && a->result.plugin == AUTH_SHA2 && can_switch) {
        return put_switch(a, w, AUTH_NATIVE, em);
    }
    if (!matches && full && a->result.plugin == AUTH_SHA2) {
        return ask_password(a, w, em);
    }
    if (!matches && full && can_switch && !native) {
        return put_switch(a, w, AUTH_SHA2, em); /* the other plugin's clients never tell the password */
    }
    return matches ? finish(a, w, n > 0, em) : refuse(a, w, n > 0, em);
}

/* Judges the password itself: of `n` bytes without its NUL. */
static int judge_password(struct server_auth *a, struct wire *w, const char *password, size_t n,
                          struct errmsg *em)
{
    struct account_secret secret;
    bool known = find(a, &secret);
    if (!secret.cold) {
        sha2_stored_matches(&secret.stored, password, n); /* they all take as long */
    }
    bool matches = account_secret_matches(&secret, password, n) && known;
    if (matches && secret.cold && a->learned) {
        account_secret_set(&secret, password, n);
        a->learned(a->lookup_arg, a->result.user, &secret);
    }
    OPENSSL_cleanse(&secret, sizeof(secret));
    return matches ? finish(a, w, false, em) : refuse(a, w, true, em);
}

static int send_key(struct server_auth *a, struct wire *w, struct errmsg *em)
{
    struct buf *b = wire_begin(w);
    buf_u8(b, 1);
    buf_str(b, auth_rsa_public(a->rsa));
    int rc = wire_end(w);
    a->key_sent = true;
    return rc ? err_set(em, rc, "%s", err_text(rc)) : SERVER_AUTH_MORE;
}

/* The answer to 01 04. */
static int on_password(struct server_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    char password[AUTH_RSA_OUT_MAX];
    size_t n = 0;
    if (a->result.tls || a->is_local) {
        if (p->len == 0 || p->len > sizeof(password) || p->data[p->len - 1] != 0) {
            return bad_handshake(w, E_MALFORMED, em, "no password");
        }
        n = p->len - 1;
        memcpy(password, p->data, n);
    } else if (!a->rsa) {
        return refuse(a, w, true, em);
    } else if (p->len == 1 && p->data[0] == ASK_KEY && !a->key_sent) {
        return send_key(a, w, em);
    } else if (auth_rsa_decrypt(a->rsa, p->data, p->len, a->salt, password, &n)) {
        n = AUTH_PASSWORD_MAX + 1; /* matches nothing */
    }
    int rc = n > AUTH_PASSWORD_MAX ? refuse(a, w, true, em) : judge_password(a, w, password, n, em);
    OPENSSL_cleanse(password, sizeof(password));
    return rc;
}

/* ---- the client's response ---- */

/* A text of the client, cut to what fits and without what a log or an error text cannot show. */
static void take_text(char *to, size_t size, const void *text, size_t n)
{
    size_t len = n < size - 1 ? n : size - 1;
    if (len) {
        memcpy(to, text, len);
    }
    to[len] = 0;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)to[i] < ' ' || to[i] == 0x7f) {
            to[i] = '?';
        }
    }
}

static bool key_is(const uint8_t *key, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(key, name, n) == 0;
}

static void read_attrs(struct server_auth *a, struct cur *c)
{
    struct cur attrs = cur_sub(c, cur_lenenc(c));
    char *program = a->result.program_name;
    bool named = false;
    while (cur_left(&attrs)) {
        size_t nkey;
        size_t nvalue;
        const uint8_t *key = cur_lenenc_bytes(&attrs, &nkey);
        const uint8_t *value = cur_lenenc_bytes(&attrs, &nvalue);
        if (!cur_ok(&attrs)) {
            break;
        }
        bool is_program = key_is(key, nkey, "program_name");
        if (is_program || (!named && key_is(key, nkey, "_client_name"))) {
            take_text(program, sizeof(a->result.program_name), value, nvalue);
            named = is_program;
        }
    }
    if (!cur_ok(&attrs)) {
        cur_fail(c);
    }
}

struct response {
    const uint8_t *answer;
    size_t nanswer;
    const char *plugin;
    size_t nplugin;
};

/* The text up to its NUL, or up to the end for clients that leave it out. */
static const char *last_text(struct cur *c, size_t *n)
{
    struct cur with_nul = *c;
    const char *text = cur_str_nul(&with_nul, n);
    if (text) {
        *c = with_nul;
        return text;
    }
    return (const char *)cur_rest(c, n);
}

/* Everything after the fixed head. What may follow the attributes (a compression level) does not matter. */
static void read_response(struct server_auth *a, struct cur *c, struct response *r)
{
    uint32_t caps = a->result.caps;
    size_t nuser;
    const char *user = cur_str_nul(c, &nuser);
    take_text(a->result.user, sizeof(a->result.user), user, nuser);
    a->user_cut = nuser >= sizeof(a->result.user);
    if (caps & CAP_AUTH_LENENC) {
        r->answer = cur_lenenc_bytes(c, &r->nanswer);
    } else {
        r->nanswer = cur_u8(c);
        r->answer = cur_bytes(c, r->nanswer);
    }
    if (caps & CAP_CONNECT_WITH_DB && cur_left(c)) {
        size_t ndb;
        const char *db = last_text(c, &ndb);
        take_text(a->result.db, sizeof(a->result.db), db, ndb);
    }
    if (caps & CAP_PLUGIN_AUTH && cur_left(c)) {
        r->plugin = last_text(c, &r->nplugin);
    }
    if (caps & CAP_CONNECT_ATTRS && cur_left(c)) {
        read_attrs(a, c);
    }
}

static int start_tls(struct server_auth *a, struct wire *w, struct errmsg *em)
{
    struct tls *tls = tls_server_new(a->tls, em);
    if (!tls) {
        return E_TLS;
    }
    a->result.tls = true;
    int rc = wire_start_tls(w, tls, em);
    return rc ? rc : SERVER_AUTH_MORE;
}

/* Which plugin does the client mean, and has it answered for it? */
static int choose(struct server_auth *a, struct wire *w, const struct response *r, struct errmsg *em)
{
    enum auth_plugin named = r->plugin ? auth_plugin_of(r->plugin, r->nplugin) : AUTH_NATIVE;
    if (!auth_plugin_served(named)) {
        return put_switch(a, w, a->plugin, em);
    }
    a->result.plugin = named;
    size_t full = named == AUTH_NATIVE ? NATIVE_SIZE : SHA2_SIZE;
    bool answered = r->nanswer == full || named == a->plugin || !(a->result.caps & CAP_PLUGIN_AUTH);
    return answered ? judge(a, w, r->answer, r->nanswer, em) : put_switch(a, w, named, em);
}

static int on_response(struct server_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    uint32_t caps = cur_u32(&c);
    a->result.max_packet = cur_u32(&c);
    a->result.charset = cur_u8(&c);
    cur_skip(&c, 23);
    if (!cur_ok(&c)) {
        return bad_handshake(w, E_MALFORMED, em, "truncated");
    }
    if (!(caps & CAP_PROTOCOL_41) || !(caps & CAP_SECURE_CONNECTION)) {
        return bad_handshake(w, E_UNSUPPORTED, em, "the client is too old");
    }
    a->result.caps = caps & a->caps;
    if (p->len == SSL_REQUEST && a->result.caps & CAP_SSL && !a->result.tls) {
        return start_tls(a, w, em);
    }
    if (!a->result.tls) {
        a->result.caps &= ~(uint32_t)CAP_SSL;
    }
    struct response r = {0};
    read_response(a, &c, &r);
    if (!cur_ok(&c)) {
        return bad_handshake(w, E_MALFORMED, em, "malformed response");
    }
    return choose(a, w, &r, em);
}

/* What the client answered to the older salt is not looked at. */
int server_auth_change_user(struct server_auth *a, struct wire *w, const struct packet *p, uint32_t caps, bool tls,
                            struct errmsg *em)
{
    struct cur c = cur_of(p->data, p->len);
    size_t nuser, ndb = 0, nplugin = 0;
    cur_skip(&c, 1);
    const char *user = cur_str_nul(&c, &nuser);
    cur_skip(&c, cur_u8(&c));
    const char *db = cur_left(&c) ? last_text(&c, &ndb) : NULL;
    a->state = FAILED;
    a->result.caps = caps;
    a->result.tls = tls;
    if (!cur_ok(&c) || !(caps & CAP_PLUGIN_AUTH)) {
        return bad_handshake(w, E_MALFORMED, em, "a change of user that cannot be read");
    }
    if (cur_left(&c) >= 2) {
        a->result.charset = (uint8_t)cur_u16(&c);
    }
    const char *name = cur_left(&c) ? last_text(&c, &nplugin) : NULL;
    enum auth_plugin plugin = name ? auth_plugin_of(name, nplugin) : AUTH_OTHER;
    take_text(a->result.user, sizeof(a->result.user), user, nuser);
    a->user_cut = nuser >= sizeof(a->result.user);
    take_text(a->result.db, sizeof(a->result.db), db, ndb);
    return put_switch(a, w, auth_plugin_served(plugin) ? plugin : a->plugin, em);
}

int server_auth_packet(struct server_auth *a, struct wire *w, const struct packet *p, struct errmsg *em)
{
    CHECK(a->state != DONE);
    if (a->state == FAILED) {
        return err_set(em, E_CLOSED, "the login failed already");
    }
    int rc;
    if (a->state == FULL) {
        rc = on_password(a, w, p, em);
    } else if (a->state == SWITCHED) {
        rc = p->len > ANSWER_MAX ? bad_handshake(w, E_MALFORMED, em, "long answer")
                                 : judge(a, w, p->data, p->len, em);
    } else {
        rc = on_response(a, w, p, em);
    }
    if (rc < 0) {
        a->state = FAILED;
    }
    return rc;
}
