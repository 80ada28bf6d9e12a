/* fuzz_commands: what clients send once they are logged in.
 *
 * Input: capabilities (four bytes), then one command packet. All parsers see it, whatever its first byte
 * says. Properties: what was read can be built again, and is then read the same. */
#include "protocol/auth_server.h"
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/command.h"
#include "protocol/gtid.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"

/* The packet that the wire holds as output, given to another wire. */
static struct wire *pass_on(struct wire *from, struct packet *p)
{
    struct wire *to = wire_new(1 << 24);
    struct buf *out = wire_output(from);
    MUST(wire_feed(to, out->data, out->len, NULL) == 0);
    MUST(wire_next(to, p, NULL) == 1);
    MUST(wire_pending(to) == 0);
    wire_free(from);
    return to;
}

static void try_query(const struct packet *p, uint32_t caps)
{
    const char *text, *again;
    size_t n, m;
    struct packet q;
    if (command_query(p, caps, &text, &n, NULL)) {
        return;
    }
    MUST(n < p->len);
    struct wire *w = wire_new(1 << 24);
    MUST(command_put_query(w, caps, text, n) == 0);
    w = pass_on(w, &q);
    MUST(command_query(&q, caps, &again, &m, NULL) == 0);
    MUST(n == m && memcmp(text, again, n) == 0);
    wire_free(w);
}

static void try_register(const struct packet *p)
{
    struct register_slave r, s;
    struct packet q;
    struct errmsg em = {.text = ""};
    if (command_register_slave(p, &r, &em)) {
        MUST(em.text[0]);
        return;
    }
    struct wire *w = wire_new(1 << 24);
    MUST(command_put_register_slave(w, &r) == 0);
    w = pass_on(w, &q);
    MUST(command_register_slave(&q, &s, NULL) == 0);
    MUST(r.server_id == s.server_id && r.port == s.port && r.rank == s.rank && r.master_id == s.master_id);
    MUST(!strcmp(r.host, s.host) && !strcmp(r.user, s.user) && !strcmp(r.password, s.password));
    wire_free(w);
}

static void try_dump(const struct packet *p)
{
    struct binlog_dump d, e;
    struct packet q;
    if (command_binlog_dump(p, &d, NULL)) {
        return;
    }
    struct gtid_set *set = gtid_set_new(FLAVOUR_MYSQL);
    struct cur c = cur_of(d.gtids, d.ngtids);
    (void)gtid_set_decode(set, &c, NULL);
    gtid_set_free(set);
    struct wire *w = wire_new(1 << 24);
    MUST(command_put_binlog_dump(w, &d) == 0);
    w = pass_on(w, &q);
    MUST(command_binlog_dump(&q, &e, NULL) == 0);
    MUST(d.by_gtid == e.by_gtid && d.flags == e.flags && d.server_id == e.server_id && d.pos == e.pos);
    MUST(!strcmp(d.file, e.file) && d.ngtids == e.ngtids);
    MUST(d.ngtids == 0 || !memcmp(d.gtids, e.gtids, d.ngtids));
    wire_free(w);
}

static int nobody(void *arg, const char *user, struct account_secret *out)
{
    (void)arg;
    (void)out;
    MUST(strlen(user) <= AUTH_USER_MAX);
    return E_NOTFOUND;
}

/* A change of user is answered with a switch or with an error, and lets nobody in. */
static void try_change_user(const struct packet *p, uint32_t caps)
{
    struct server_auth_opts opts = {.version = "9.7.4", .thread_id = 1, .peer_host = "h", .lookup = nobody};
    struct server_auth *a = server_auth_new(&opts);
    struct wire *w = wire_new(1 << 16);
    struct errmsg em = {.text = ""};
    int rv = server_auth_change_user(a, w, p, caps, caps & 1, &em);
    MUST(rv <= SERVER_AUTH_MORE && wire_output(w)->len > 4);
    MUST(rv == SERVER_AUTH_MORE || em.text[0]);
    rv = server_auth_packet(a, w, p, &em);
    MUST(rv <= SERVER_AUTH_MORE);
    wire_free(w);
    server_auth_free(a);
}

static void try_small(const struct packet *p)
{
    char db[65];
    uint32_t id;
    if (command_init_db(p, db, sizeof db, NULL) == 0) {
        MUST(strlen(db) == p->len - 1);
    }
    if (command_kill(p, &id, NULL) == 0) {
        MUST(p->len == 5);
    }
    (void)command_name(packet_kind(p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint32_t caps = cur_u32(&in);
    size_t n;
    const uint8_t *rest = cur_rest(&in, &n);
    n = cur_ok(&in) ? n : 0;
    uint8_t *exact = fuzz_exact(rest, n);
    struct packet p = {.data = exact, .len = n};
    if (n) { /* an empty packet has no command byte: sessions refuse it before */
        try_query(&p, caps);
        try_register(&p);
        try_dump(&p);
        try_small(&p);
        try_change_user(&p, caps);
    }
    free(exact);
    return 0;
}
