/* formation.c: see formation.h. The file: magic, version, phase, sum over the list, cluster, members, REMOVED: the reason,
 * CRC32C; replaced whole.
 *
 * Failure: a file that cannot be written ends the node: what it would tell the others would not be true after a restart. */
#include "raft/formation.h"

#include "raft/mutation.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMATION_MAGIC 0x31534c434c444c48ull /* "HLDLCLS1" */

enum { FILE_MAX = 64 << 10, PATH_BYTES = 4096 };

/* A program that does not know the phase must not go on. */
enum { FORMATION_VERSION = 1, FORMATION_VERSION_ALONE, FORMATION_VERSION_REMOVED };

#define FILE_NAME "cluster"

/* ---- bytes ---- */

static void put_members(struct buf *b, const struct formation *f)
{
    buf_u16(b, (uint16_t)f->n);
    for (size_t i = 0; i < f->n; i++) {
        buf_u64(b, f->members[i].id);
        buf_u64(b, f->members[i].incarnation);
        buf_lenenc_str(b, f->members[i].address);
    }
}

static void get_text(struct cur *c, char *to, size_t size)
{
    size_t n;
    const uint8_t *p = cur_lenenc_bytes(c, &n);
    struct cur text = cur_of(p, p ? n : 0);
    cur_text(&text, n, to, size);
    if (!cur_ok(&text)) {
        cur_fail(c);
    }
}

/* phase, list, cluster, members: the same in the file and on the wire. */
static void put_state(struct buf *b, const struct formation *f, enum formation_phase phase)
{
    buf_u8(b, (uint8_t)phase);
    buf_u64(b, f->list);
    buf_lenenc_str(b, f->cluster);
    put_members(b, f);
}

static int get_state(struct cur *c, struct formation *f)
{
    uint8_t phase = cur_u8(c);
    f->list = cur_u64(c);
    get_text(c, f->cluster, sizeof f->cluster);
    f->n = cur_u16(c);
    bool known = (phase >= FORMATION_EMPTY && phase <= FORMATION_JOINED) || phase == FORMATION_ALONE || phase == FORMATION_REMOVED;
    if (!known || !f->n || f->n > FORMATION_MEMBERS_MAX) {
        return E_MALFORMED;
    }
    f->phase = (enum formation_phase)phase;
    for (size_t i = 0; i < f->n; i++) {
        f->members[i].id = cur_u64(c);
        f->members[i].incarnation = cur_u64(c);
        get_text(c, f->members[i].address, sizeof f->members[i].address);
        if (i && f->members[i].id <= f->members[i - 1].id) {
            return E_MALFORMED;
        }
    }
    return cur_ok(c) ? 0 : E_MALFORMED;
}

/* ---- the file ---- */

static uint32_t version_of(enum formation_phase phase)
{
    return phase == FORMATION_REMOVED ? FORMATION_VERSION_REMOVED : phase == FORMATION_ALONE ? FORMATION_VERSION_ALONE : FORMATION_VERSION;
}

static void store(struct formation *f)
{
    enum formation_phase phase = f->removed[0] ? FORMATION_REMOVED : f->phase;
    struct buf b;
    struct errmsg em;
    buf_init(&b, FILE_MAX);
    buf_u64(&b, FORMATION_MAGIC);
    buf_u32(&b, version_of(phase));
    put_state(&b, f, phase);
    if (phase == FORMATION_REMOVED) {
        buf_lenenc_str(&b, f->removed);
    }
    if (!b.err) {
        buf_u32(&b, crc32c_of(0, b.data, b.len));
    }
    int rv = b.err ? b.err : env_replace_file(f->loop, f->dir, FILE_NAME, b.data, b.len, &em);
    if (rv) {
        env_fatal(f->loop, "cannot store what this node knows of its cluster: %s; this node stops", b.err ? err_text(b.err) : em.text);
    }
    buf_free(&b);
}

static int parse_file(const char *path, const struct buf *b, struct formation *f, struct errmsg *em)
{
    struct cur c = cur_of(b->data, b->len);
    uint64_t magic = cur_u64(&c);
    uint32_t version = cur_u32(&c);
    if (magic != FORMATION_MAGIC || b->len < 16 || crc32c_of(0, b->data, b->len - 4) != cur_u32(&(struct cur){b->data + b->len - 4, b->data + b->len, false})) {
        return err_set(em, E_CORRUPT, "%s is damaged: this node no longer knows what cluster it belongs to; replace the member", path);
    }
    if (version > FORMATION_VERSION_REMOVED) {
        return err_set(em, E_VERSION, "%s is of a newer version of holdfastd; install that one", path);
    }
    c.end -= 4;
    int rv = get_state(&c, f);
    if (!rv && f->phase == FORMATION_REMOVED) {
        get_text(&c, f->removed, sizeof f->removed);
    }
    return rv || !cur_done(&c) ? err_set(em, E_CORRUPT, "%s is damaged; replace the member", path) : 0;
}

/* ---- open ---- */

static uint64_t list_sum(const struct formation *f)
{
    uint32_t a = 0, b = 0x5bd1e995;
    for (size_t i = 0; i < f->n; i++) {
        char text[FORMATION_ADDRESS + 32];
        int n = snprintf(text, sizeof text, "%" PRIu64 "@%s,", f->members[i].id, f->members[i].address);
        a = crc32c_of(a, text, (size_t)n);
        b = crc32_of(b, text, (size_t)n);
    }
    return (uint64_t)a << 32 | b;
}

static int by_id(const void *a, const void *b)
{
    const struct formation_member *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static struct formation_member *member(struct formation *f, uint64_t id)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->members[i].id == id) {
            return &f->members[i];
        }
    }
    return NULL;
}

static void begin_joining(struct formation *f, uint64_t incarnation)
{
    f->phase = FORMATION_JOINING;
    f->n = 1;
    f->list = 0;
    f->cluster[0] = 0;
    f->members[0] = (struct formation_member){.id = f->self, .incarnation = incarnation};
}

static void begin_empty(struct formation *f, uint64_t incarnation, const struct formation_member *initial, size_t n)
{
    CHECK(n <= FORMATION_MEMBERS_MAX);
    f->phase = FORMATION_EMPTY;
    f->n = n;
    f->cluster[0] = 0;
    memcpy(f->members, initial, n * sizeof *initial);
    qsort(f->members, n, sizeof *f->members, by_id);
    for (size_t i = 0; i < n; i++) {
        f->members[i].incarnation = f->members[i].id == f->self ? incarnation : 0;
    }
    f->list = list_sum(f);
}

int formation_open(struct env *loop, const char *dir, uint64_t self, uint64_t incarnation, const struct formation_member *initial, size_t n,
                   struct formation *f, struct errmsg *em)
{
    char path[PATH_BYTES];
    struct buf b;
    *f = (struct formation){.loop = loop, .dir = mem_str(dir), .self = self};
    snprintf(path, sizeof path, "%s/" FILE_NAME, dir);
    buf_init(&b, FILE_MAX);
    int rv = env_read_file(loop, path, &b, em);
    if (!rv) {
        rv = parse_file(path, &b, f, em);
    } else if (rv == E_NOTFOUND) {
        rv = 0;
        f->phase = FORMATION_EMPTY;
    }
    buf_free(&b);
    if (!rv && f->phase == FORMATION_EMPTY && !n) {
        begin_joining(f, incarnation);
    } else if (!rv && f->phase == FORMATION_EMPTY) { /* the configuration may have been corrected meanwhile */
        uint64_t before = f->list;
        begin_empty(f, incarnation, initial, n);
        if (before != f->list) {
            store(f);
        }
    }
    struct formation_member *me = rv ? NULL : member(f, self);
    if (!rv && (!me || INCARNATION_RANDOM(me->incarnation) != incarnation)) {
        rv = err_set(em, E_INVALID, "%s does not belong to this data directory (node %" PRIu64 "): was it copied from another one? Replace the member", path, self);
    }
    if (rv) {
        formation_close(f);
    }
    return rv;
}

void formation_close(struct formation *f)
{
    mem_free(f->dir);
    f->dir = NULL;
}

/* ---- talk ---- */

void formation_put(const struct formation *f, struct buf *b)
{
    size_t begin = b->len;
    message_begin(b, MESSAGE_FORM);
    put_state(b, f, f->phase);
    message_end(b, begin);
}

/* Everybody said the same list, and nobody is part of a formed cluster. */
static bool all_free(const struct formation *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->members[i].id != f->self && (!f->heard[i].phase || f->heard[i].phase == FORMATION_FORMED)) {
            return false;
        }
    }
    return true;
}

static void new_name(struct formation *f)
{
    uint8_t uuid[16];
    env_random(f->loop, uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    uuid_text(uuid, f->cluster);
}

static void prepare(struct formation *f)
{
    new_name(f);
    for (size_t i = 0; i < f->n; i++) {
        if (f->members[i].id != f->self) {
            f->members[i].incarnation = f->heard[i].incarnation;
        }
    }
    f->phase = FORMATION_PREPARED;
    store(f);
    env_log(f->loop, ENV_INFO, "raft: all %zu members are there; forming cluster %s", f->n, f->cluster);
}

/* The member with the lowest id says what the cluster will be. */
static void prepare_as_told(struct formation *f, const struct formation *told)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->members[i].id == f->self && told->members[i].incarnation != f->members[i].incarnation) {
            return; /* it means an older data directory of this node; it will hear of the new one */
        }
    }
    memcpy(f->members, told->members, sizeof f->members);
    snprintf(f->cluster, sizeof f->cluster, "%s", told->cluster);
    f->phase = FORMATION_PREPARED;
    store(f);
    env_log(f->loop, ENV_INFO, "raft: prepared for cluster %s", f->cluster);
}

int formation_heard(struct formation *f, uint64_t from, struct cur *body, struct errmsg *em)
{
    struct formation told = {0};
    if (get_state(body, &told) || !cur_done(body) || told.phase >= FORMATION_ALONE) { /* which nobody says */
        return E_MALFORMED;
    }
    if (f->phase > FORMATION_PREPARED) {
        return 0;
    }
    bool same_cluster = f->phase == FORMATION_PREPARED && !strcmp(told.cluster, f->cluster);
    if (told.phase == FORMATION_FORMED && !same_cluster && !MUTATED(INCARNATION)) {
        return err_set(em, E_EXISTS, "node %" PRIu64 " is empty but cluster %s exists; on any member run: holdfast member replace %" PRIu64 " ADDR",
                       f->self, told.cluster, f->self);
    }
    if (told.list != f->list || told.n != f->n) {
        return err_set(em, E_INVALID, "the initial_cluster of node %" PRIu64 " is not the one of node %" PRIu64 ": they must list the same members", from,
                       f->self);
    }
    for (size_t i = 0; i < f->n; i++) {
        if (told.members[i].id != f->members[i].id) {
            return E_MALFORMED;
        }
        if (f->members[i].id != from) {
            continue;
        }
        if (f->phase == FORMATION_PREPARED && told.phase == FORMATION_EMPTY && told.members[i].incarnation != f->members[i].incarnation) {
            return err_set(em, E_INVALID, "node %" PRIu64 " lost its data directory while the cluster was formed; nothing is stored yet: empty the data "
                                          "directories of all nodes of initial_cluster and start them again", from);
        }
        f->heard[i].phase = told.phase;
        f->heard[i].incarnation = told.members[i].incarnation;
        snprintf(f->heard[i].cluster, sizeof f->heard[i].cluster, "%s", told.cluster);
    }
    bool told_by_first = from == f->members[0].id && from != f->self;
    if (told_by_first && told.phase == FORMATION_PREPARED && !same_cluster) {
        prepare_as_told(f, &told);
    }
    return 0;
}

bool formation_says_formed(struct cur body)
{
    struct formation told = {0};
    return get_state(&body, &told) == 0 && formation_is_member(&told);
}

bool formation_step(struct formation *f)
{
    if (f->phase == FORMATION_EMPTY && f->members[0].id == f->self && all_free(f)) {
        prepare(f);
    }
    if (f->phase != FORMATION_PREPARED) {
        return false;
    }
    size_t agreed = 0;
    for (size_t i = 0; i < f->n; i++) {
        bool same = f->heard[i].phase >= FORMATION_PREPARED && !strcmp(f->heard[i].cluster, f->cluster);
        if (same && f->heard[i].phase == FORMATION_FORMED) {
            return true;
        }
        agreed += same || f->members[i].id == f->self;
    }
    return agreed == f->n;
}

void formation_formed(struct formation *f)
{
    f->phase = FORMATION_FORMED;
    store(f);
    env_log(f->loop, ENV_INFO, "raft: cluster %s is formed members=%zu", f->cluster, f->n);
}

/* ---- joining ---- */

uint64_t formation_incarnation(const struct formation *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->members[i].id == f->self) {
            return f->members[i].incarnation;
        }
    }
    return 0;
}

void formation_join(struct formation *f)
{
    begin_joining(f, formation_incarnation(f));
}

void formation_joined(struct formation *f, const char *cluster, const struct formation_member *members, size_t n)
{
    bool news = f->phase != FORMATION_JOINED;
    CHECK(n && n <= FORMATION_MEMBERS_MAX);
    memcpy(f->members, members, n * sizeof *members);
    f->n = n;
    qsort(f->members, n, sizeof *f->members, by_id);
    snprintf(f->cluster, sizeof f->cluster, "%s", cluster);
    f->phase = FORMATION_JOINED;
    store(f);
    if (news) {
        env_log(f->loop, ENV_INFO, "raft: a member of cluster %s now members=%zu", f->cluster, n);
    }
}

/* ---- alone ---- */

void formation_alone(struct formation *f, const char *address, uint64_t counter)
{
    struct formation_member me = {.id = f->self, .incarnation = counter << INCARNATION_RANDOM_BITS | INCARNATION_RANDOM(formation_incarnation(f))};
    snprintf(me.address, sizeof me.address, "%s", address);
    new_name(f);
    f->members[0] = me;
    f->n = 1;
    f->list = list_sum(f);
    f->phase = FORMATION_ALONE;
    store(f);
}

/* ---- removed ---- */

void formation_removed(struct formation *f, const char *why)
{
    if (!f->removed[0] && !MUTATED(REMOVED)) {
        snprintf(f->removed, sizeof f->removed, "%s", why[0] ? why : "this node is no member of its cluster any more");
        store(f);
    }
}

/* ---- addresses ---- */

void formation_address(const struct formation_member *m, char *text, size_t size)
{
    snprintf(text, size, "%s/%016" PRIx64, m->address, m->incarnation);
}

int formation_address_parse(const char *text, struct formation_member *m)
{
    const char *slash = strrchr(text, '/');
    char *end;
    if (!slash || (size_t)(slash - text) >= sizeof m->address) {
        return E_INVALID;
    }
    snprintf(m->address, sizeof m->address, "%.*s", (int)(slash - text), text);
    m->incarnation = strtoull(slash + 1, &end, 16);
    return *end || !m->incarnation ? E_INVALID : 0;
}
