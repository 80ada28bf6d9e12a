/* entry.c: bytes of the log's commands. Pure. Texts are length-encoded and bounded by their fields; everything is read through the
 * checked cursor and must end exactly at the body's end. */
#include "raft/entry.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "raft/level.h"

#include <string.h>

/* What an account has in place of the two verifiers, or about them. */
enum { SECRET_EMPTY = 1, SECRET_COLD = 2, SECRET_NATIVE_ONLY = 4, SECRET_SHA2_ONLY = 8, SECRET_STORED = 16, ACCOUNT_MORE = 32, SECRET_BITS = 63 };

/* With ACCOUNT_MORE: host, plugin and these. Without it the account is good from every host, for both plugins. */
enum { ACCOUNT_LOCKED = 1, ACCOUNT_TLS = 2, ACCOUNT_BITS = 3 };

/* How a transaction's GTID stands in the list of an EVENTS entry. */
enum { TXN_ANONYMOUS, TXN_MYSQL, TXN_MARIADB, TXN_FOLLOWING /* as the one before, number + 1 */ };

static void put_text(struct buf *b, const char *text)
{
    buf_lenenc_str(b, text);
}

static void get_text(struct cur *c, char *text, size_t size)
{
    cur_text(c, cur_lenenc(c), text, size);
}

void entry_begin(struct buf *b, enum entry_kind kind)
{
    CHECK(b->len == 0);
    buf_u8(b, ENTRY_VERSION);
    buf_u8(b, (uint8_t)kind);
    buf_zero(b, ENTRY_HEAD - 2);
}

void entry_end(struct buf *b)
{
    size_t body = b->len - ENTRY_HEAD;
    buf_zero(b, (8 - b->len % 8) % 8);
    buf_put_u32(b, 4, (uint32_t)body);
}

void entry_own(struct buf *b, uint64_t node, uint64_t term, uint64_t seq)
{
    buf_put_u64(b, 8, node);
    buf_put_u64(b, 16, term);
    buf_put_u64(b, 24, seq);
}

void entry_set_level(struct buf *b, uint32_t level)
{
    if (!b->err && level > ENTRY_VERSION) {
        b->data[0] = (uint8_t)(level < FEATURE_LEVEL ? level : FEATURE_LEVEL);
    }
}

void entry_noop(struct buf *b)
{
    entry_begin(b, ENTRY_NOOP);
    entry_end(b);
}

int entry_read(const void *data, size_t n, struct entry_head *head, struct cur *body)
{
    struct cur c = cur_of(data, n);
    uint8_t version = cur_u8(&c);
    uint8_t kind = cur_u8(&c);
    cur_skip(&c, 2);
    uint32_t len = cur_u32(&c);
    head->node = cur_u64(&c);
    head->term = cur_u64(&c);
    head->seq = cur_u64(&c);
    *body = cur_sub(&c, len);
    if (!cur_ok(&c) || cur_left(&c) >= 8 || n % 8) {
        return E_MALFORMED;
    }
    if (version < ENTRY_VERSION || version > FEATURE_LEVEL || kind < ENTRY_NOOP || kind > ENTRY_RESET) {
        return E_VERSION;
    }
    head->kind = (enum entry_kind)kind;
    return 0;
}

static int body_end(const struct cur *body)
{
    return cur_done(body) ? 0 : E_MALFORMED;
}

void entry_origin_put(struct buf *b, const struct entry_origin *o)
{
    buf_u8(b, (uint8_t)o->flavour);
    buf_u32(b, o->server_id);
    put_text(b, o->uuid);
    put_text(b, o->version);
}

void entry_origin_get(struct cur *c, struct entry_origin *o)
{
    uint8_t flavour = cur_u8(c);
    if (flavour > FLAVOUR_MARIADB) {
        cur_fail(c);
        flavour = FLAVOUR_NONE;
    }
    o->flavour = (enum flavour)flavour;
    o->server_id = cur_u32(c);
    get_text(c, o->uuid, sizeof o->uuid);
    get_text(c, o->version, sizeof o->version);
}

void entry_set_put(struct buf *b, const struct gtid_set *set)
{
    buf_u8(b, set ? (uint8_t)gtid_set_flavour(set) : FLAVOUR_NONE);
    if (!set) {
        return;
    }
    size_t at = b->len;
    buf_u32(b, 0);
    gtid_set_encode(set, b);
    buf_put_u32(b, at, (uint32_t)(b->len - at - 4));
}

int entry_set_get(struct cur *c, struct gtid_set **set)
{
    uint8_t flavour = cur_u8(c);
    *set = NULL;
    if (!cur_ok(c) || flavour > FLAVOUR_MARIADB) {
        return E_MALFORMED;
    }
    if (flavour == FLAVOUR_NONE) {
        return 0;
    }
    struct cur bytes = cur_sub(c, cur_u32(c));
    *set = gtid_set_new((enum flavour)flavour);
    int rv = gtid_set_decode(*set, &bytes, NULL);
    if (rv || !cur_done(&bytes)) {
        gtid_set_free(*set);
        *set = NULL;
        return E_MALFORMED;
    }
    return 0;
}

void entry_put_file(struct buf *b, const struct entry_file *f)
{
    entry_begin(b, ENTRY_FILE);
    buf_u64(b, f->era);
    put_text(b, f->name);
    entry_origin_put(b, &f->origin);
    entry_set_put(b, f->before);
    entry_end(b);
}

int entry_read_file(struct cur *body, struct entry_file *f)
{
    f->era = cur_u64(body);
    get_text(body, f->name, sizeof f->name);
    entry_origin_get(body, &f->origin);
    int rv = entry_set_get(body, &f->before);
    if (!rv && !cur_done(body)) {
        gtid_set_free(f->before);
        f->before = NULL;
        rv = E_MALFORMED;
    }
    return rv;
}

void entry_put_events(struct buf *b, const struct entry_events *e, const struct buf *txns, const void *bytes, size_t n)
{
    entry_begin(b, ENTRY_EVENTS);
    buf_u64(b, e->era);
    put_text(b, e->name);
    buf_u64(b, e->offset);
    buf_u64(b, e->boundary);
    buf_u64(b, e->ack);
    buf_u32(b, e->timestamp);
    buf_u8(b, ENTRY_PLAIN); /* see entry_pack */
    buf_lenenc_bytes(b, txns->data, txns->len);
    buf_lenenc_bytes(b, bytes, n);
    if (txns->err && !b->err) {
        b->err = txns->err;
    }
    entry_end(b);
}

int entry_read_events(struct cur *body, struct entry_events *e)
{
    size_t n, all = cur_left(body);
    e->unpacked = NULL;
    e->packed = 0;
    e->era = cur_u64(body);
    get_text(body, e->name, sizeof e->name);
    e->offset = cur_u64(body);
    e->boundary = cur_u64(body);
    e->ack = cur_u64(body);
    e->timestamp = cur_u32(body);
    e->how_at = ENTRY_HEAD + all - cur_left(body);
    uint8_t how = cur_u8(body);
    if (how > ENTRY_LZ4) {
        return cur_ok(body) ? E_VERSION : E_MALFORMED;
    }
    const uint8_t *txns = cur_lenenc_bytes(body, &n);
    e->txns = cur_of(txns, n);
    uint32_t raw = how == ENTRY_LZ4 ? cur_u32(body) : 0;
    e->bytes = cur_lenenc_bytes(body, &e->n);
    int rv = body_end(body);
    return rv || how == ENTRY_PLAIN ? rv : entry_unpack(e, raw, e->bytes, e->n);
}

void entry_txn_put(struct buf *txns, struct entry_txn *last, const struct entry_txn *txn)
{
    const struct gtid *g = &txn->gtid;
    struct gtid following = last->gtid;
    following.gno++;
    CHECK(txn->end > last->end);
    buf_lenenc(txns, txn->end - last->end);
    if (g->flavour == FLAVOUR_NONE) {
        buf_u8(txns, TXN_ANONYMOUS);
    } else if (gtid_equal(&following, g)) {
        buf_u8(txns, TXN_FOLLOWING);
    } else if (g->flavour == FLAVOUR_MYSQL) {
        buf_u8(txns, TXN_MYSQL);
        buf_bytes(txns, g->uuid, sizeof g->uuid);
        put_text(txns, g->tag);
        buf_u64(txns, g->gno);
    } else {
        buf_u8(txns, TXN_MARIADB);
        buf_u32(txns, g->domain);
        buf_u32(txns, g->server);
        buf_u64(txns, g->gno);
    }
    *last = *txn;
}

bool entry_txn_next(struct cur *txns, struct entry_txn *last)
{
    if (!cur_left(txns)) {
        return false;
    }
    uint64_t step = cur_lenenc(txns);
    if (step == 0 || step > UINT64_MAX - last->end) {
        cur_fail(txns);
    }
    uint8_t how = cur_u8(txns);
    struct gtid g = {.flavour = FLAVOUR_NONE};
    switch (how) {
    case TXN_ANONYMOUS:
        break;
    case TXN_FOLLOWING:
        g = last->gtid;
        g.gno++;
        break;
    case TXN_MYSQL:
        g.flavour = FLAVOUR_MYSQL;
        cur_copy(txns, g.uuid, sizeof g.uuid);
        get_text(txns, g.tag, sizeof g.tag);
        g.gno = cur_u64(txns);
        break;
    case TXN_MARIADB:
        g.flavour = FLAVOUR_MARIADB;
        g.domain = cur_u32(txns);
        g.server = cur_u32(txns);
        g.gno = cur_u64(txns);
        break;
    default:
        cur_fail(txns);
    }
    if (!cur_ok(txns)) {
        return false;
    }
    last->end += step;
    last->gtid = g;
    return true;
}

void entry_source_put(struct buf *b, const struct source_settings *s)
{
    put_text(b, s->host);
    buf_u16(b, s->port);
    put_text(b, s->user);
    put_text(b, s->password);
    put_text(b, s->ssl_mode);
    put_text(b, s->ssl_ca);
    put_text(b, s->ssl_cert);
    put_text(b, s->ssl_key);
    put_text(b, s->compression);
    put_text(b, s->start);
    buf_u8(b, s->running);
}

void entry_source_get(struct cur *c, struct source_settings *s)
{
    get_text(c, s->host, sizeof s->host);
    s->port = cur_u16(c);
    get_text(c, s->user, sizeof s->user);
    get_text(c, s->password, sizeof s->password);
    get_text(c, s->ssl_mode, sizeof s->ssl_mode);
    get_text(c, s->ssl_ca, sizeof s->ssl_ca);
    get_text(c, s->ssl_cert, sizeof s->ssl_cert);
    get_text(c, s->ssl_key, sizeof s->ssl_key);
    get_text(c, s->compression, sizeof s->compression);
    get_text(c, s->start, sizeof s->start);
    s->running = cur_u8(c) != 0;
}

void entry_put_source(struct buf *b, const struct source_settings *s)
{
    entry_begin(b, ENTRY_SOURCE);
    entry_source_put(b, s);
    entry_end(b);
}

int entry_read_source(struct cur *body, struct source_settings *s)
{
    entry_source_get(body, s);
    return body_end(body);
}

static uint8_t secret_bits(const struct user_account *a)
{
    const struct account_secret *s = &a->secret;
    bool more = (a->host[0] && strcmp(a->host, "%") != 0) || a->plugin != AUTH_OTHER || a->locked || a->require_tls;
    unsigned bits = (s->empty ? SECRET_EMPTY : 0u) | (s->cold ? SECRET_COLD : 0u) | (s->native_only ? SECRET_NATIVE_ONLY : 0u) |
                    (s->sha2_only ? SECRET_SHA2_ONLY : 0u) | (!s->cold && s->stored.thousands ? SECRET_STORED : 0u) |
                    (more ? ACCOUNT_MORE : 0u);
    return (uint8_t)bits;
}

void entry_account_put(struct buf *b, const struct user_account *a)
{
    uint8_t bits = secret_bits(a);
    put_text(b, a->name);
    buf_u32(b, a->roles);
    buf_u8(b, bits);
    buf_bytes(b, a->secret.native, sizeof a->secret.native);
    buf_bytes(b, a->secret.sha2, sizeof a->secret.sha2);
    if (bits & (SECRET_COLD | SECRET_STORED)) {
        buf_u16(b, a->secret.stored.thousands);
        buf_bytes(b, a->secret.stored.salt, sizeof a->secret.stored.salt);
        buf_bytes(b, a->secret.stored.digest, sizeof a->secret.stored.digest);
    }
    if (bits & ACCOUNT_MORE) {
        put_text(b, a->host[0] ? a->host : "%");
        buf_u8(b, (uint8_t)a->plugin);
        buf_u8(b, (uint8_t)((a->locked ? ACCOUNT_LOCKED : 0) | (a->require_tls ? ACCOUNT_TLS : 0)));
    }
}

static void get_more(struct cur *c, struct user_account *a)
{
    get_text(c, a->host, sizeof a->host);
    uint8_t plugin = cur_u8(c), bits = cur_u8(c);
    if (bits & ~ACCOUNT_BITS || (plugin != AUTH_OTHER && !auth_plugin_served((enum auth_plugin)plugin))) {
        cur_fail(c);
        return;
    }
    a->plugin = (enum auth_plugin)plugin;
    a->locked = bits & ACCOUNT_LOCKED;
    a->require_tls = bits & ACCOUNT_TLS;
}

void entry_account_get(struct cur *c, struct user_account *a)
{
    *a = (struct user_account){.host = "%"};
    get_text(c, a->name, sizeof a->name);
    a->roles = cur_u32(c);
    uint8_t bits = cur_u8(c);
    if (bits & ~SECRET_BITS) {
        cur_fail(c);
    }
    a->secret.empty = bits & SECRET_EMPTY;
    a->secret.cold = bits & SECRET_COLD;
    a->secret.native_only = bits & SECRET_NATIVE_ONLY;
    a->secret.sha2_only = bits & SECRET_SHA2_ONLY;
    cur_copy(c, a->secret.native, sizeof a->secret.native);
    cur_copy(c, a->secret.sha2, sizeof a->secret.sha2);
    if (bits & (SECRET_COLD | SECRET_STORED)) {
        a->secret.stored.thousands = cur_u16(c);
        cur_copy(c, a->secret.stored.salt, sizeof a->secret.stored.salt);
        cur_copy(c, a->secret.stored.digest, sizeof a->secret.stored.digest);
    }
    if (bits & ACCOUNT_MORE) {
        get_more(c, a);
    }
}

void entry_put_users(struct buf *b, const struct entry_user *users, size_t n)
{
    entry_begin(b, ENTRY_USER);
    for (size_t i = 0; i < n; i++) {
        buf_u8(b, users[i].drop);
        entry_account_put(b, &users[i].account);
    }
    entry_end(b);
}

void entry_put_user(struct buf *b, const struct entry_user *u)
{
    entry_put_users(b, u, 1);
}

int entry_read_user(struct cur *body, struct entry_user *u)
{
    u->drop = cur_u8(body) != 0;
    entry_account_get(body, &u->account);
    return cur_ok(body) ? 0 : E_MALFORMED;
}

void entry_put_setting(struct buf *b, const char *name, const char *value)
{
    entry_begin(b, ENTRY_SETTING);
    put_text(b, name);
    put_text(b, value);
    entry_end(b);
}

int entry_read_setting(struct cur *body, struct entry_setting *s)
{
    get_text(body, s->name, sizeof s->name);
    get_text(body, s->value, sizeof s->value);
    return body_end(body);
}

const char *alarm_kind_text(enum alarm_kind kind)
{
    switch (kind) {
#define ALARM_TEXT(name, number, text)                                                                                     \
    case ALARM_##name:                                                                                                     \
        return text;
        ALARM_KINDS(ALARM_TEXT)
#undef ALARM_TEXT
    }
    return "unknown";
}

void entry_alarm_put(struct buf *b, const struct alarm *a)
{
    buf_u64(b, a->id);
    buf_u8(b, (uint8_t)a->kind);
    buf_u64(b, a->since);
    buf_u64(b, a->until);
    buf_u8(b, a->acknowledged);
    put_text(b, a->source);
    put_text(b, a->from);
    put_text(b, a->to);
    put_text(b, a->text);
}

void entry_alarm_get(struct cur *c, struct alarm *a)
{
    a->id = cur_u64(c);
    uint8_t kind = cur_u8(c);
    if (kind < ALARM_LOSS_WINDOW || kind > ALARM_ERRANT_REPLICA) {
        cur_fail(c);
        kind = ALARM_LOSS_WINDOW;
    }
    a->kind = (enum alarm_kind)kind;
    a->since = cur_u64(c);
    a->until = cur_u64(c);
    a->acknowledged = cur_u8(c) != 0;
    get_text(c, a->source, sizeof a->source);
    get_text(c, a->from, sizeof a->from);
    get_text(c, a->to, sizeof a->to);
    get_text(c, a->text, sizeof a->text);
}

void entry_put_alarm(struct buf *b, const struct entry_alarm *a)
{
    entry_begin(b, ENTRY_ALARM);
    buf_u8(b, (uint8_t)a->verb);
    entry_alarm_put(b, &a->alarm);
    entry_end(b);
}

int entry_read_alarm(struct cur *body, struct entry_alarm *a)
{
    uint8_t verb = cur_u8(body);
    if (verb < ALARM_BEGIN || verb > ALARM_ACKNOWLEDGE) {
        return cur_ok(body) ? E_VERSION : E_MALFORMED;
    }
    a->verb = (enum alarm_verb)verb;
    entry_alarm_get(body, &a->alarm);
    return body_end(body);
}

void entry_put_purge(struct buf *b, const struct entry_purge *p)
{
    entry_begin(b, ENTRY_PURGE);
    buf_u64(b, p->era);
    put_text(b, p->name);
    entry_end(b);
}

void entry_put_reset(struct buf *b, const struct entry_reset *r)
{
    entry_begin(b, ENTRY_RESET);
    put_text(b, r->keep);
    entry_end(b);
}

int entry_read_reset(struct cur *body, struct entry_reset *r)
{
    get_text(body, r->keep, sizeof r->keep);
    return body_end(body);
}

int entry_read_purge(struct cur *body, struct entry_purge *p)
{
    p->era = cur_u64(body);
    get_text(body, p->name, sizeof p->name);
    return body_end(body);
}

void entry_put_member(struct buf *b, const struct entry_member *m)
{
    entry_begin(b, ENTRY_MEMBER);
    buf_u8(b, (uint8_t)m->verb);
    buf_u64(b, m->id);
    buf_u8(b, (uint8_t)m->goal);
    buf_u8(b, (uint8_t)(m->fresh | m->again << 1));
    buf_u64(b, m->counter);
    buf_u32(b, m->level);
    put_text(b, m->address);
    entry_end(b);
}

int entry_read_member(struct cur *body, struct entry_member *m)
{
    uint8_t verb = cur_u8(body);
    m->id = cur_u64(body);
    uint8_t goal = cur_u8(body);
    uint8_t bits = cur_u8(body);
    m->fresh = bits & 1;
    m->again = bits & 2;
    m->counter = cur_u64(body);
    m->level = cur_u32(body);
    get_text(body, m->address, sizeof m->address);
    if (verb < MEMBER_PLAN || verb > MEMBER_LEVEL || goal > MEMBER_GONE || bits > 3 || (!goal && verb != MEMBER_LEVEL)) {
        return cur_ok(body) ? E_VERSION : E_MALFORMED;
    }
    m->verb = (enum member_verb)verb;
    m->goal = (enum member_goal)goal;
    return body_end(body);
}
