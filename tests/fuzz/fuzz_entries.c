/* fuzz_entries: the commands of the log, and the state that they make.
 *
 * Input: the first byte's lowest bit: a snapshot's manifest follows; otherwise how many
 * entries follow (0: only such), then changes to the manifest that they make. An entry: bytes as they are, a
 * body under a right head, or one built from parts so that it fits the state, maybe with a byte changed.
 * Properties: two states that were given the same entries are the same; a state is encoded so that it is
 * decoded as the same, whatever happened to it; the effect's numbers are those of the files; an entry that
 * cannot be read is E_MALFORMED or E_VERSION, nothing else. */
#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "raft/state.h"
#include "tests/fuzz/fuzz.h"

enum { STATE_MAX = 64 << 20, ENTRIES_MAX = 256 };

static struct buf encoded(const struct state *s)
{
    struct buf b;
    buf_init(&b, STATE_MAX);
    state_encode(s, &b);
    MUST(!b.err);
    return b;
}

static void check_state(const struct state *s)
{
    struct buf first = encoded(s), second;
    struct state *back = NULL;
    uint8_t *exact = fuzz_exact(first.data, first.len);
    struct cur c = cur_of(exact, first.len);
    MUST(state_decode(&c, &back) == 0);
    second = encoded(back);
    MUST(first.len == second.len && !memcmp(first.data, second.data, first.len));
    state_free(back);
    free(exact);
    buf_free(&first);
    buf_free(&second);
}

static void manifest(const uint8_t *p, size_t n)
{
    struct state *s = NULL;
    uint8_t *exact = fuzz_exact(p, n);
    struct cur c = cur_of(exact, n);
    int rc = state_decode(&c, &s);
    MUST(rc == 0 || rc == E_MALFORMED || rc == E_VERSION);
    if (rc == 0) {
        check_state(s);
        state_free(s);
    }
    free(exact);
}

/* Packed, and read back, the events are the same. */
static void check_packing(const uint8_t *entry, size_t n, const struct entry_events *e)
{
    struct entry_head head;
    struct entry_events again;
    struct cur body;
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    buf_bytes(&b, entry, n);
    if (entry_pack(&b)) {
        MUST(b.len < n && entry_read(b.data, b.len, &head, &body) == 0 && entry_read_events(&body, &again) == 0);
        MUST(again.unpacked && again.n == e->n && memcmp(again.bytes, e->bytes, e->n) == 0);
        MUST(again.offset == e->offset && again.boundary == e->boundary && cur_left(&again.txns) == cur_left(&e->txns));
        MUST(!entry_pack(&b));
        entry_events_free(&again);
    } else {
        MUST(b.len == n && memcmp(b.data, entry, n) == 0);
    }
    buf_free(&b);
}

/* An entry's fields, built again, are the same bytes, where there is only one way to write them. */
static void check_parts(const uint8_t *entry, size_t n)
{
    struct entry_head head;
    struct cur body;
    struct buf b;
    buf_init(&b, STATE_MAX);
    if (entry_read(entry, n, &head, &body)) {
        return;
    }
    if (head.kind == ENTRY_EVENTS) {
        struct entry_events e;
        struct entry_txn txn = {.end = 0};
        if (entry_read_events(&body, &e) == 0) {
            MUST(e.n <= (e.unpacked ? ENTRY_MAX : n) && strnlen(e.name, sizeof e.name) < sizeof e.name);
            for (struct cur txns = e.txns; entry_txn_next(&txns, &txn);) {
                MUST(strnlen(txn.gtid.tag, sizeof txn.gtid.tag) < sizeof txn.gtid.tag);
            }
            check_packing(entry, n, &e);
            entry_events_free(&e);
        }
    } else if (head.kind == ENTRY_SOURCE) {
        struct source_settings s = {0}, again = {0};
        if (entry_read_source(&body, &s) == 0) {
            entry_put_source(&b, &s);
            MUST(!b.err && entry_read(b.data, b.len, &head, &body) == 0 &&
                 entry_read_source(&body, &again) == 0);
            MUST(!strcmp(s.host, again.host) && s.port == again.port && !strcmp(s.password, again.password));
        }
    } else if (head.kind == ENTRY_SETTING) {
        struct entry_setting s = {.name = ""}, again = {.name = ""};
        if (entry_read_setting(&body, &s) == 0) {
            entry_put_setting(&b, s.name, s.value);
            MUST(!b.err && entry_read(b.data, b.len, &head, &body) == 0 &&
                 entry_read_setting(&body, &again) == 0);
            MUST(!strcmp(s.name, again.name) && !strcmp(s.value, again.value));
        }
    }
    buf_free(&b);
}

/* ---- entries from parts -------------------------------------------------------------------------------- */

static void file_parts(struct cur *in, const struct state *s, struct buf *b)
{
    struct entry_file f = {.era = state_era(s) ? state_era(s)->id : 1};
    uint8_t how = cur_u8(in);
    size_t n;
    f.era += how & 1 ? cur_u8(in) : 0;
    f.origin = (struct entry_origin){.flavour = (enum flavour)(how >> 1 & 3) % 3, .server_id = how};
    fuzz_text(in, f.name, sizeof f.name);
    fuzz_text(in, f.origin.uuid, sizeof f.origin.uuid);
    fuzz_text(in, f.origin.version, sizeof f.origin.version);
    if (how & 8) {
        const uint8_t *text = fuzz_piece(in, &n);
        f.before = gtid_set_new(how & 16 ? FLAVOUR_MARIADB : FLAVOUR_MYSQL);
        (void)gtid_set_parse(f.before, (const char *)text, n, NULL);
    }
    entry_put_file(b, &f);
    gtid_set_free(f.before);
}

/* Any GTID, also one that no source would give. */
static struct gtid any_gtid(struct cur *in, const struct entry_txn *last)
{
    struct gtid g = {.flavour = FLAVOUR_NONE};
    uint8_t how = cur_u8(in);
    switch (how % 4) {
    case 0:
        break;
    case 1:
        g.flavour = FLAVOUR_MYSQL;
        memset(g.uuid, how, sizeof g.uuid);
        g.gno = how & 64 ? cur_u64(in) : cur_u8(in);
        if (how & 128) {
            fuzz_text(in, g.tag, sizeof g.tag);
        }
        break;
    case 2:
        g.flavour = FLAVOUR_MARIADB;
        g.domain = how >> 6;
        g.server = cur_u8(in);
        g.gno = how & 32 ? cur_u64(in) : cur_u8(in);
        break;
    default:
        g = last->gtid;
        g.gno++;
        break;
    }
    return g;
}

/* What follows the newest file's end, unless a few bits say otherwise. */
static void events_parts(struct cur *in, const struct state *s, struct buf *b)
{
    const struct state_file *file = state_file(s);
    struct entry_events e = {.era = 1, .offset = 4};
    uint8_t how = cur_u8(in);
    size_t n;
    if (file) {
        e.era = file->era;
        e.offset = file->size + (how & 1 ? cur_u8(in) : 0);
        snprintf(e.name, sizeof e.name, "%s", file->name);
    }
    const uint8_t *bytes = fuzz_piece(in, &n);
    e.boundary = how & 2 ? cur_u64(in) : e.offset + (how & 4 ? cur_u8(in) : n);
    e.ack = how & 8 ? e.boundary : 0;
    struct entry_txn last = {.end = e.offset};
    struct buf txns;
    buf_init(&txns, 1 << 16);
    for (unsigned i = 0; i < how >> 4u; i++) {
        struct entry_txn txn = {.end = last.end + 1 + cur_u8(in)};
        txn.gtid = any_gtid(in, &last);
        entry_txn_put(&txns, &last, &txn);
    }
    entry_put_events(b, &e, &txns, bytes, n);
    if (n % 2) {
        entry_pack(b);
    }
    buf_free(&txns);
}

static void source_parts(struct cur *in, struct buf *b)
{
    struct source_settings s = {.port = cur_u16(in)};
    fuzz_text(in, s.host, sizeof s.host);
    fuzz_text(in, s.password, sizeof s.password);
    fuzz_text(in, s.start, sizeof s.start);
    s.running = s.port & 1;
    entry_put_source(b, &s);
}

static void user_parts(struct cur *in, struct buf *b)
{
    struct entry_user u = {.drop = cur_u8(in) & 1};
    u.account.roles = cur_u8(in);
    u.account.secret.cold = u.account.roles & 8;
    u.account.secret.stored.thousands = u.account.roles;
    fuzz_text(in, u.account.name, sizeof u.account.name);
    entry_put_user(b, &u);
}

static void setting_parts(struct cur *in, struct buf *b)
{
    struct entry_setting s = {.name = ""};
    fuzz_text(in, s.name, sizeof s.name);
    fuzz_text(in, s.value, sizeof s.value);
    entry_put_setting(b, s.name, s.value);
}

static void alarm_parts(struct cur *in, struct buf *b)
{
    struct entry_alarm a = {.verb = (enum alarm_verb)(ALARM_BEGIN + cur_u8(in) % 3)};
    a.alarm.kind = cur_u8(in) & 1 ? ALARM_LOSS_WINDOW : ALARM_OTHER_CLIENT;
    a.alarm.id = cur_u8(in);
    a.alarm.until = cur_u8(in);
    fuzz_text(in, a.alarm.text, sizeof a.alarm.text);
    entry_put_alarm(b, &a);
}

/* The next entry of the input. */
static struct buf next_entry(struct cur *in, const struct state *s)
{
    struct buf b;
    size_t n;
    const uint8_t *p;
    buf_init(&b, ENTRY_MAX);
    uint8_t how = cur_u8(in);
    switch (how % 8) {
    case 0:
        p = fuzz_piece(in, &n);
        buf_bytes(&b, p, n);
        break;
    case 1:
        entry_begin(&b, (enum entry_kind)(how >> 4));
        p = fuzz_piece(in, &n);
        buf_bytes(&b, p, n);
        entry_end(&b);
        break;
    case 2:
        file_parts(in, s, &b);
        break;
    case 3:
        events_parts(in, s, &b);
        break;
    case 4:
        source_parts(in, &b);
        break;
    case 5:
        user_parts(in, &b);
        break;
    case 6:
        setting_parts(in, &b);
        break;
    default:
        alarm_parts(in, &b);
        break;
    }
    MUST(!b.err);
    if (b.len >= ENTRY_HEAD) {
        entry_own(&b, how, 2, 3);
    }
    if (how & 8 && b.len) {
        uint8_t at = cur_u8(in);
        b.data[at * b.len / 256] ^= cur_u8(in);
    }
    return b;
}

static void check_effect(const struct state *s, const struct state_effect *e)
{
    if (e->new_file) {
        MUST(e->new_file == state_file(s));
    }
    if (e->events.n) {
        MUST(e->status == 0 && state_file(s)->size == e->events.offset + e->events.n);
        MUST(s->boundary == e->events.boundary);
    }
}

/* A manifest as it would stand in a snapshot, with some bytes changed. */
static void changed_manifest(const struct state *s, struct cur *in)
{
    struct buf b = encoded(s);
    while (cur_left(in) >= 3) {
        size_t at = cur_u16(in) % b.len;
        b.data[at] ^= cur_u8(in);
    }
    manifest(b.data, b.len);
    buf_free(&b);
}

static void entries(struct cur *in, uint64_t most)
{
    struct state *a = state_new(), *b = state_new();
    for (uint64_t index = 1; index <= most && cur_left(in); index++) {
        struct state_effect effect, same;
        struct buf entry = next_entry(in, a);
        uint8_t *exact = fuzz_exact(entry.data, entry.len);
        check_parts(exact, entry.len);
        int rc = state_apply(a, index, exact, entry.len, &effect);
        int rd = state_apply(b, index, exact, entry.len, &same);
        MUST(rc == rd && (rc || effect.status == same.status));
        if (rc == 0) {
            check_effect(a, &effect);
        }
        entry_events_free(&effect.events);
        entry_events_free(&same.events);
        free(exact);
        buf_free(&entry);
        if (rc) {
            MUST(rc == E_MALFORMED || rc == E_VERSION || rc == E_TOOBIG || rc == E_CORRUPT);
            break; /* the node stops */
        }
    }
    struct buf first = encoded(a), second = encoded(b);
    MUST(first.len == second.len && !memcmp(first.data, second.data, first.len));
    check_state(a);
    MUST(!state_file(a) || a->boundary <= state_file(a)->size);
    changed_manifest(a, in);
    buf_free(&first);
    buf_free(&second);
    state_free(a);
    state_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    size_t n;
    uint8_t how = cur_u8(&in);
    if (how & 1) {
        const uint8_t *p = cur_rest(&in, &n);
        manifest(p, n);
    } else {
        entries(&in, how ? how : ENTRIES_MAX);
    }
    return 0;
}
