/*
 * test_auth_more: what the login does beyond a scramble: MariaDB's ed25519, sha256_password, and the password
 * itself asked for by the server of an account whose stored form is all it has; against values of real
 * servers, and against a peer that says what a test tells it to.
 */
#include "protocol/auth_client.h"
#include "protocol/auth_server.h"
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* ---- ed25519 ---- */

static void ed25519_keys(void)
{
    /* what MariaDB's documentation and servers give for the password "secret" */
    static const uint8_t want[ED25519_KEY + 1] = {0};
    uint8_t decoded[ED25519_KEY + 4];
    uint8_t key[ED25519_KEY];
    UNIT_INT(
        EVP_DecodeBlock(decoded, (const unsigned char *)"ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY=", 44),
        33);
    UNIT_INT(ed25519_public("secret", 6, key), 0);
    UNIT_MEM(key, decoded, ED25519_KEY);
    UNIT_TRUE(memcmp(key, want, ED25519_KEY) != 0);
}

/* Is it a signature of the nonce for that public key, by OpenSSL's judgement? */
static bool openssl_verifies(const uint8_t key[ED25519_KEY], const uint8_t *nonce, const uint8_t *signature)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = pkey && md && EVP_DigestVerifyInit(md, NULL, NULL, NULL, pkey) == 1 &&
              EVP_DigestVerify(md, signature, ED25519_SIZE, nonce, ED25519_NONCE) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
    return ok;
}

static void ed25519_signatures(void)
{
    static const char text[] =
        "correct horse battery staple, and then some more of it until it is long enough";
    uint8_t nonce[ED25519_NONCE];
    uint8_t key[ED25519_KEY];
    uint8_t signature[ED25519_SIZE];
    for (size_t n = 0; n < sizeof(text); n += 7) {
        memset(nonce, (int)n * 5, sizeof(nonce));
        UNIT_INT(ed25519_public(text, n, key), 0);
        UNIT_INT(ed25519_sign(text, n, nonce, signature), 0);
        UNIT_TRUE(openssl_verifies(key, nonce, signature));
        nonce[n % sizeof(nonce)] ^= 1;
        UNIT_TRUE(!openssl_verifies(key, nonce, signature));
    }
}

/* A password of 32 bytes is a seed: then it is the ordinary Ed25519, and OpenSSL makes the same signature. */
static void ed25519_is_ed25519(void)
{
    static const char seed[] = "0123456789abcdefghijklmnopqrstuv";
    uint8_t nonce[ED25519_NONCE] = "a nonce of thirty-two bytes ....";
    uint8_t ours[ED25519_SIZE];
    uint8_t theirs[ED25519_SIZE];
    size_t n = sizeof(theirs);
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)seed, 32);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    UNIT_REQUIRE(pkey && md);
    UNIT_INT(EVP_DigestSignInit(md, NULL, NULL, NULL, pkey), 1);
    UNIT_INT(EVP_DigestSign(md, theirs, &n, nonce, sizeof(nonce)), 1);
    UNIT_INT(ed25519_sign(seed, 32, nonce, ours), 0);
    UNIT_MEM(ours, theirs, sizeof(ours));
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
}

/* ---- stored form ---- */

static void crypt_vector(void)
{
    char digest[SHA2_STORED_DIGEST + 1] = "";
    sha256_crypt("Hello world!", 12, (const uint8_t *)"saltstring", 10, 5000, digest);
    UNIT_STR(digest, "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5");
    sha256_crypt("Hello world!", 12, (const uint8_t *)"saltstringsaltst", 16, 10000, digest);
    UNIT_STR(digest, "3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA");
}

/* authentication_string of an account of MySQL 9.7 with the password "holdfast", as HEX() shows it */
#define STORED                                                                                               \
    "244124303041242A29765E46061E2335737D335429116031221578544C4A7970584C7A2F47377750654C306566452F356F565A" \
    "73"                                                                                                     \
    "61416B3133376679486D716A766258342E44"

static size_t stored_text(char out[128])
{
    size_t n = 0;
    for (const char *p = STORED; p[0] && p[1]; p += 2) {
        unsigned byte = 0;
        UNIT_INT(sscanf(p, "%2x", &byte), 1);
        out[n++] = (char)byte;
    }
    return n;
}

static void stored_forms(void)
{
    char text[128];
    struct sha2_stored s;
    size_t n = stored_text(text);
    UNIT_UINT(n, 70);
    UNIT_INT(sha2_stored_parse(text, n, &s), 0);
    UNIT_UINT(s.thousands, 10); /* 00A */
    UNIT_TRUE(sha2_stored_matches(&s, "holdfast", 8));
    UNIT_TRUE(!sha2_stored_matches(&s, "holdfas", 7));
    UNIT_TRUE(!sha2_stored_matches(&s, "Holdfast", 8));
    for (size_t cut = 0; cut < n; cut++) {
        UNIT_INT(sha2_stored_parse(text, cut, &s), E_MALFORMED);
        UNIT_UINT(s.thousands, 0);
    }
    UNIT_INT(sha2_stored_parse(text, n + 1, &s), E_MALFORMED);
    UNIT_TRUE(!sha2_stored_matches(&s, "", 0));
    static const char *const bad[] = {"$5$", "$A$0x5$", "$A$000$", "$A$005.", "$A$ 05$"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        stored_text(text);
        memcpy(text, bad[i], strlen(bad[i]));
        UNIT_INT(sha2_stored_parse(text, n, &s), E_MALFORMED);
    }
    char longest[AUTH_PASSWORD_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    sha2_stored_set(&s, longest, AUTH_PASSWORD_MAX, (const uint8_t *)"abcdefghijabcdefghij");
    UNIT_TRUE(sha2_stored_matches(&s, longest, AUTH_PASSWORD_MAX));
    UNIT_TRUE(!sha2_stored_matches(&s, longest, AUTH_PASSWORD_MAX + 1));
}

/* ---- a login against our server ---- */

static struct auth_rsa *rsa;
static struct tls_ctx *server_tls, *client_tls;
static unsigned learned_calls;
static bool warm;

static int lookup(void *arg, const char *user, struct account_secret *out)
{
    char text[128];
    (void)arg;
    if (strcmp(user, "hot") == 0 || (warm && strcmp(user, "cold") == 0)) {
        account_secret_set(out, "holdfast", 8);
        return 0;
    }
    if (strcmp(user, "native") == 0 || strcmp(user, "sha2") == 0) {
        account_secret_set(out, "holdfast", 8);
        account_secret_restrict(out, auth_plugin_of(*user == 'n' ? "mysql_native_password" : "caching_sha2_password", 21));
        return 0;
    }
    if (strcmp(user, "hashed") == 0) { /* SHA1(SHA1("holdfast")) */
        return account_secret_from_hash(out, AUTH_NATIVE, "*A68CB1E9B7263A9DF551C3A806952AEF532AFABB", 41);
    }
    if (strcmp(user, "cold") == 0) {
        memset(out, 0, sizeof(*out));
        out->cold = true;
        return sha2_stored_parse(text, stored_text(text), &out->stored);
    }
    return E_NOTFOUND;
}

static void learned(void *arg, const char *user, const struct account_secret *secret)
{
    (void)arg;
    learned_calls++;
    UNIT_STR(user, "cold");
    UNIT_TRUE(!secret->cold && account_secret_matches(secret, "holdfast", 8));
}

struct login {
    struct server_auth_opts so;
    struct client_auth_opts co;
    bool asked; /* out: the password was asked for */
    int server;
    int client;
    struct errmsg why;
};

static void move(struct wire *from, struct wire *to)
{
    struct buf *out = wire_output(from);
    wire_feed(to, out->data, out->len, NULL);
    buf_consume(out, out->len);
}

static void login_run(struct login *l)
{
    struct wire *sw = wire_new(1 << 16);
    struct wire *cw = wire_new(1 << 16);
    struct packet p;
    l->so.version = "9.7.4-holdfast";
    l->so.peer_host = "10.0.0.7";
    l->so.lookup = lookup;
    l->so.learned = learned;
    memset(l->so.salt, 'x', AUTH_SALT);
    struct server_auth *sa = server_auth_new(&l->so);
    struct client_auth *ca = client_auth_new(&l->co);
    server_auth_start(sa, sw);
    l->client = l->server = 0;
    l->asked = false;
    for (int round = 0; round < 20; round++) {
        move(sw, cw);
        while (l->client == CLIENT_AUTH_MORE && wire_next(cw, &p, NULL) == 1) {
            l->asked |= p.len == 2 && p.data[0] == 1 && p.data[1] == 4;
            l->client = client_auth_packet(ca, cw, &p, &l->why);
        }
        move(cw, sw);
        while (l->server == SERVER_AUTH_MORE && wire_next(sw, &p, NULL) == 1) {
            l->server = server_auth_packet(sa, sw, &p, NULL);
        }
    }
    server_auth_free(sa);
    client_auth_free(ca);
    wire_free(sw);
    wire_free(cw);
}

static void make_keys(void)
{
    static const char *const names[] = {"localhost"};
    struct buf cert, key, pem;
    struct errmsg em;
    buf_init(&cert, 1 << 16);
    buf_init(&key, 1 << 16);
    buf_init(&pem, 1 << 16);
    UNIT_INT(tls_self_signed(names, 1, 1700000000, 7, &cert, &key, &em), 0);
    struct tls_files files = {.cert = buf_cstr(&cert), .key = buf_cstr(&key)};
    struct tls_files none = {0};
    server_tls = tls_server_ctx(&files, &em);
    client_tls = tls_client_ctx(TLS_REQUIRED, &none, &em);
    UNIT_INT(auth_rsa_make(&pem, &em), 0);
    rsa = auth_rsa_new(buf_cstr(&pem), &em);
    UNIT_REQUIRE(server_tls && client_tls && rsa);
    UNIT_TRUE(auth_rsa_new("nonsense", &em) == NULL);
    UNIT_TRUE(auth_rsa_new(buf_cstr(&key), &em) == NULL); /* not RSA */
    buf_free(&cert);
    buf_free(&key);
    buf_free(&pem);
}

static void free_keys(void)
{
    auth_rsa_free(rsa);
    tls_ctx_free(server_tls);
    tls_ctx_free(client_tls);
}

enum way { OPEN, OVER_TLS, LOCAL };

static struct login login_of(const char *user, const char *password, enum way way)
{
    struct login l = {.so = {.rsa = rsa}, .co = {.user = user, .password = password}};
    if (way == OVER_TLS) {
        l.so.tls = server_tls;
        l.co.tls = client_tls;
        l.co.tls_mode = TLS_REQUIRED;
    }
    l.so.is_local = l.co.local = way == LOCAL;
    return l;
}

static void cold_accounts(void)
{
    make_keys();
    for (enum way way = OPEN; way <= LOCAL; way++) {
        for (int plugin = AUTH_SHA2; plugin <= AUTH_NATIVE; plugin++) {
            struct login l = login_of("cold", "holdfast", way);
            l.so.plugin = (enum auth_plugin)plugin;
            learned_calls = 0;
            login_run(&l);
            UNIT_INT(l.client, CLIENT_AUTH_DONE);
            UNIT_INT(l.server, SERVER_AUTH_DONE);
            UNIT_TRUE(l.asked);
            UNIT_UINT(learned_calls, 1);
        }
        struct login l = login_of("cold", "Holdfast", way);
        login_run(&l);
        UNIT_INT(l.client, E_DENIED);
        UNIT_INT(l.server, E_DENIED);
        UNIT_STR(l.why.text, "Access denied for user 'cold'@'10.0.0.7' (using password: YES) (1045)");
        l = login_of("cold", "", way);
        login_run(&l);
        UNIT_INT(l.client, E_DENIED);
        UNIT_TRUE(!l.asked);
    }
    warm = true;
    struct login l = login_of("cold", "holdfast", OPEN);
    login_run(&l);
    UNIT_INT(l.client, CLIENT_AUTH_DONE);
    UNIT_TRUE(!l.asked);
    warm = false;
    free_keys();
}

/* With `full` the dialogue is the same for every account there may be. */
static void nothing_tells_accounts_apart(void)
{
    static const char *const users[] = {"hot", "cold", "nobody"};
    make_keys();
    for (size_t i = 0; i < 3; i++) {
        for (int full = 0; full <= 1; full++) {
            struct login l = login_of(users[i], "wrong", OPEN);
            l.so.full = full;
            login_run(&l);
            UNIT_INT(l.client, E_DENIED);
            UNIT_INT(l.asked, full || i == 1);
        }
    }
    struct login l = login_of("hot", "holdfast", OPEN);
    l.so.full = true;
    login_run(&l);
    UNIT_INT(l.client, CLIENT_AUTH_DONE);
    UNIT_TRUE(!l.asked);
    free_keys();
}

/* Good for one plugin only: the client is switched to it, whatever it began with; a hash of the native one is good for the password
 * itself, too, where it can be told. */
static void accounts_of_one_plugin(void)
{
    static const char *const users[] = {"native", "sha2", "hashed"};
    make_keys();
    for (size_t i = 0; i < 3; i++) {
        for (enum way way = OPEN; way <= LOCAL; way++) {
            for (int plugin = AUTH_SHA2; plugin <= AUTH_NATIVE; plugin++) {
                for (int full = 0; full <= 1; full++) {
                    struct login l = login_of(users[i], "holdfast", way);
                    l.so.plugin = (enum auth_plugin)plugin;
                    l.so.full = full;
                    login_run(&l);
                    UNIT_INT(l.server, SERVER_AUTH_DONE);
                    UNIT_INT(l.client, CLIENT_AUTH_DONE);
                    l.co.password = "wrong";
                    login_run(&l);
                    UNIT_INT(l.server, E_DENIED);
                    l.co.password = "";
                    login_run(&l);
                    UNIT_INT(l.server, E_DENIED);
                }
            }
        }
    }
    free_keys();
}

static void hashes_are_read(void)
{
    struct account_secret s;
    static const char *const bad[] = {"", "*", "A23E", "*A23E7E3D0C7C3E5F7E2C2D1B1E5C0E5B5F5D5B5", "*A23E7E3D0C7C3E5F7E2C2D1B1E5C0E5B5F5D5B5G",
                                      "-A23E7E3D0C7C3E5F7E2C2D1B1E5C0E5B5F5D5B5A"};
    UNIT_INT(account_secret_from_hash(&s, AUTH_NATIVE, "*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9", 41), 0);
    UNIT_TRUE(account_secret_matches(&s, "123456", 6) && !account_secret_matches(&s, "123457", 6) && !account_secret_matches(&s, "", 0));
    UNIT_INT(account_secret_from_hash(&s, AUTH_NATIVE, "*6bb4837eb74329105ee4568dda7dc67ed2ca2ad9", 41), 0);
    UNIT_TRUE(account_secret_matches(&s, "123456", 6));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        UNIT_INT(account_secret_from_hash(&s, AUTH_NATIVE, bad[i], strlen(bad[i])), E_MALFORMED);
    }
    UNIT_INT(account_secret_from_hash(&s, AUTH_SHA2, bad[0], 0), E_MALFORMED);
    UNIT_INT(account_secret_from_hash(&s, AUTH_OTHER, "*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9", 41), E_MALFORMED);
}

static void no_rsa_no_password(void)
{
    make_keys();
    struct login l = login_of("cold", "holdfast", OPEN);
    l.so.rsa = NULL;
    login_run(&l);
    UNIT_INT(l.client, E_DENIED);
    l = login_of("cold", "holdfast", OPEN);
    l.co.no_rsa = true;
    login_run(&l);
    UNIT_INT(l.client, E_UNSUPPORTED);
    free_keys();
}

static void rsa_takes_no_noise(void)
{
    uint8_t salt[AUTH_SALT] = "abcdefghijklmnopqrs";
    uint8_t out[AUTH_RSA_OUT_MAX];
    char password[AUTH_RSA_OUT_MAX];
    size_t n = 0, got = 0;
    make_keys();
    const char *pem = auth_rsa_public(rsa);
    UNIT_INT(sha2_rsa_encrypt("holdfast", 8, salt, pem, strlen(pem), out, sizeof(out), &n), 0);
    UNIT_INT(auth_rsa_decrypt(rsa, out, n, salt, password, &got), 0);
    UNIT_UINT(got, 8);
    UNIT_MEM(password, "holdfast", 8);
    for (size_t i = 0; i < n; i += 17) {
        out[i] ^= 4;
        UNIT_INT(auth_rsa_decrypt(rsa, out, n, salt, password, &got), E_MALFORMED);
        UNIT_UINT(got, 0);
        out[i] ^= 4;
        UNIT_INT(auth_rsa_decrypt(rsa, out, i, salt, password, &got), E_MALFORMED);
    }
    free_keys();
}

/* ---- our client against a server that says what the test wants ---- */

struct scripted {
    struct wire *server;
    struct wire *client;
    struct client_auth *ca;
    struct packet answer; /* the client's last packet */
    struct errmsg why;
    bool begun;
};

/* The server's next packet; what the client makes of it. */
static int say(struct scripted *s, const void *data, size_t n)
{
    struct packet p;
    wire_put(s->server, data, n);
    move(s->server, s->client);
    int rc = wire_next(s->client, &p, &s->why);
    rc = rc == 1 ? client_auth_packet(s->ca, s->client, &p, &s->why) : rc;
    move(s->client, s->server);
    s->answer = (struct packet){0};
    if (rc == CLIENT_AUTH_MORE) {
        wire_next(s->server, &s->answer, NULL);
    }
    return rc;
}

static void script_begin(struct scripted *s, const char *password)
{
    struct client_auth_opts co = {.user = "u", .password = password};
    struct buf b;
    buf_init(&b, 1000);
    s->server = wire_new(1 << 16);
    s->client = wire_new(1 << 16);
    s->ca = client_auth_new(&co);
    buf_u8(&b, 10);
    buf_str_nul(&b, "11.8.6-MariaDB");
    buf_u32(&b, 1);
    buf_str_nul(&b, "saltsalt");
    buf_u16(&b, 0xffff & ~(uint16_t)CAP_SSL);
    buf_u8(&b, 45);
    buf_u16(&b, 2);
    buf_u16(&b, 0x00ff);
    buf_u8(&b, 21);
    buf_zero(&b, 10);
    buf_str_nul(&b, "saltsaltsalt");
    buf_str_nul(&b, "sha256_password"); /* the client guesses, and waits to be told */
    UNIT_INT(say(s, b.data, b.len), CLIENT_AUTH_MORE);
    UNIT_TRUE(memmem(s->answer.data, s->answer.len, "caching_sha2_password", 21) != NULL);
    buf_free(&b);
}

static void script_end(struct scripted *s)
{
    client_auth_free(s->ca);
    wire_free(s->server);
    wire_free(s->client);
}

static const char switch_sha256[] = "\xfesha256_password\0abcdefghijklmnopqrst";
static const char switch_ed25519[] = "\xfe"
                                     "client_ed25519\0abcdefghijklmnopqrstabcdefghijkl";

static void sha256_by_rsa(void)
{
    make_keys();
    for (int with_head = 0; with_head <= 1; with_head++) { /* MariaDB leaves the 01 away */
        struct scripted s = {0};
        char key[4096];
        char password[AUTH_RSA_OUT_MAX];
        size_t got;
        script_begin(&s, "holdfast");
        UNIT_INT(say(&s, switch_sha256, sizeof(switch_sha256)), CLIENT_AUTH_MORE);
        UNIT_UINT(s.answer.len, 1);
        UNIT_UINT(packet_kind(&s.answer), 1);
        int n = snprintf(key, sizeof(key), "%s%s", with_head ? "\x01" : "", auth_rsa_public(rsa));
        UNIT_INT(say(&s, key, (size_t)n), CLIENT_AUTH_MORE);
        UNIT_UINT(s.answer.len, 256);
        UNIT_INT(auth_rsa_decrypt(rsa, s.answer.data, s.answer.len, (const uint8_t *)"abcdefghijklmnopqrst",
                                  password, &got),
                 0);
        UNIT_MEM(password, "holdfast", 8);
        UNIT_INT(say(&s, "\0\0\0\2\0\0\0", 7), CLIENT_AUTH_DONE);
        UNIT_INT(client_auth_result(s.ca)->plugin, AUTH_SHA256);
        script_end(&s);
    }
    struct scripted s = {0};
    script_begin(&s, "");
    UNIT_INT(say(&s, switch_sha256, sizeof(switch_sha256)), CLIENT_AUTH_MORE);
    UNIT_UINT(s.answer.len, 1);
    UNIT_UINT(packet_kind(&s.answer), 0);
    script_end(&s);
    free_keys();
}

static void switch_to_ed25519(void)
{
    uint8_t key[ED25519_KEY];
    struct scripted s = {0};
    script_begin(&s, "secret");
    UNIT_INT(say(&s, switch_ed25519, sizeof(switch_ed25519) - 1),
             CLIENT_AUTH_MORE); /* without a NUL behind */
    UNIT_UINT(s.answer.len, ED25519_SIZE);
    UNIT_INT(ed25519_public("secret", 6, key), 0);
    UNIT_TRUE(openssl_verifies(key, (const uint8_t *)"abcdefghijklmnopqrstabcdefghijkl", s.answer.data));
    UNIT_INT(say(&s, "\0\0\0\2\0\0\0", 7), CLIENT_AUTH_DONE);
    UNIT_INT(client_auth_result(s.ca)->plugin, AUTH_ED25519);
    script_end(&s);
}

/* Whatever is cut from a switch, and whatever is said in a key's place, only ends the login. */
static void cut_and_wrong(void)
{
    for (size_t cut = 2; cut < sizeof(switch_ed25519) - 1; cut++) {
        struct scripted s = {0};
        script_begin(&s, "secret");
        UNIT_TRUE(say(&s, switch_ed25519, cut) < 0);
        script_end(&s);
    }
    for (size_t cut = 2; cut < sizeof(switch_sha256) - 1; cut++) {
        struct scripted s = {0};
        script_begin(&s, "secret");
        UNIT_TRUE(say(&s, switch_sha256, cut) < 0);
        script_end(&s);
    }
    static const char *const keys[] = {"\x01", "-----BEGIN PUBLIC KEY-----\n", "\x01\x04",
                                       "\376client_ed25519",
                                       "x"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct scripted s = {0};
        script_begin(&s, "secret");
        UNIT_INT(say(&s, switch_sha256, sizeof(switch_sha256)), CLIENT_AUTH_MORE);
        UNIT_TRUE(say(&s, keys[i], strlen(keys[i])) < 0);
        script_end(&s);
    }
    struct scripted s = {0};
    script_begin(&s, "secret");
    UNIT_INT(say(&s, switch_ed25519, sizeof(switch_ed25519) - 1), CLIENT_AUTH_MORE);
    UNIT_INT(say(&s, "\x01\x04", 2), E_MALFORMED); /* the password is not for the asking */
    script_end(&s);
}

UNIT_MAIN("auth_more", UNIT_TEST(ed25519_keys), UNIT_TEST(ed25519_signatures), UNIT_TEST(ed25519_is_ed25519),
          UNIT_TEST(crypt_vector), UNIT_TEST(stored_forms), UNIT_TEST(cold_accounts),
          UNIT_TEST(nothing_tells_accounts_apart), UNIT_TEST(accounts_of_one_plugin),
          UNIT_TEST(hashes_are_read), UNIT_TEST(no_rsa_no_password),
          UNIT_TEST(rsa_takes_no_noise), UNIT_TEST(sha256_by_rsa), UNIT_TEST(switch_to_ed25519),
          UNIT_TEST(cut_and_wrong))
