/* state.c: applies entries to the replicated state. See state.h. */
#include "raft/state.h"

#include "raft/mutation.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "storage/store.h"

#include <string.h>

enum { STATE_VERSION = 5 };

struct state *state_new(void)
{
    struct state *s = mem_new(sizeof *s);
    s->files = filelist_new();
    return s;
}

void state_free(struct state *s)
{
    if (!s) {
        return;
    }
    filelist_unref(s->files);
    gtid_set_free(s->file.before);
    gtid_set_free(s->executed);
    gtid_set_free(s->logged);
    gtid_set_free(s->head);
    mem_free(s->eras);
    mem_free(s->users);
    mem_free(s->settings);
    mem_free(s->alarms);
    state_members_free(&s->members);
    mem_free(s);
}

const struct state_era *state_era(const struct state *s)
{
    return s->n_eras ? &s->eras[s->n_eras - 1] : NULL;
}

uint64_t state_next_era(const struct state *s)
{
    return (s->n_eras ? state_era(s)->id : s->era_floor) + 1;
}

const struct state_file *state_file(const struct state *s)
{
    return filelist_count(s->files) ? &s->file : NULL;
}

const struct gtid_set *state_head(const struct state *s)
{
    return s->head ? s->head : s->file.before;
}

const struct gtid_set *state_logged(const struct state *s)
{
    return s->logged ? s->logged : s->executed;
}

static size_t user_at(const struct state *s, const char *name, const char *host)
{
    size_t i = 0;
    while (i < s->n_users && (strcmp(s->users[i].name, name) != 0 || strcmp(s->users[i].host, host) != 0)) {
        i++;
    }
    return i;
}

const struct user_account *state_user(const struct state *s, const char *name, const char *host)
{
    size_t i = user_at(s, name, host);
    return i < s->n_users ? &s->users[i] : NULL;
}

static size_t setting_at(const struct state *s, const char *name)
{
    size_t i = 0;
    while (i < s->n_settings && strcmp(s->settings[i].name, name) != 0) {
        i++;
    }
    return i;
}

const char *state_setting(const struct state *s, const char *name)
{
    size_t i = setting_at(s, name);
    return i < s->n_settings ? s->settings[i].value : NULL;
}

static void cut_tail(struct state *s, struct state_effect *effect)
{
    if (state_file(s) && s->file.size > s->boundary) {
        s->file.size = s->boundary;
        effect->cut = true;
        effect->cut_to = s->boundary;
        s->proof.open_start = s->boundary;
        s->proof.open_crc = 0;
        s->proof.all_crc = s->proof.boundary_crc;
    }
}

/* Takes `before`. */
static void add_file(struct state *s, uint64_t era, const char *name, struct gtid_set *before)
{
    struct filelist *files = filelist_add(s->files, s->file.size, s->proof.all_crc, era, name, before);
    filelist_unref(s->files);
    gtid_set_free(s->file.before);
    s->files = files;
    s->file = (struct state_file){.era = era, .size = STORE_MAGIC, .before = before};
    memcpy(s->file.name, name, strlen(name) + 1);
}

static void set_era(struct state *s, uint64_t id, const struct entry_origin *origin)
{
    if (!s->n_eras || s->eras[s->n_eras - 1].id != id) {
        s->eras = mem_grow(s->eras, ++s->n_eras, sizeof *s->eras);
    }
    s->eras[s->n_eras - 1] = (struct state_era){.id = id, .origin = *origin};
}

/* Does nothing lie between what is held and `before`? MariaDB counts in positions: one GTID for each domain stands for all before it. So
 * a pair that we never had may stand in `before` if it lies behind our own end in its domain; numbers grow within one. */
static bool leaves_no_hole(const struct gtid_set *before, const struct gtid_set *executed)
{
    if (gtid_set_flavour(before) == FLAVOUR_MYSQL) {
        return gtid_set_subset(before, executed);
    }
    struct gtid pair, end;
    size_t at = 0;
    while (gtid_set_next(before, &at, &pair, NULL)) {
        if (!gtid_set_contains(executed, &pair) && (!gtid_set_newest(executed, pair.domain, &end) || pair.gno > end.gno)) {
            return false;
        }
    }
    return gtid_set_within_position(before, executed);
}

/* What its source wrote before a new era's first file is held. */
static bool era_continues(const struct state *s, const struct entry_file *f)
{
    return f->before && s->executed && gtid_set_flavour(f->before) == gtid_set_flavour(s->executed) && leaves_no_hole(f->before, s->executed);
}

/* Within an era a file begins with the GTID state of the log so far: else transactions are missing, here or there. But MySQL begins a file without waiting for
 * transactions that have no XID (of engines without transactions): its head may lack those that the end of the file before has, and the next one has
 * them. What the head before had it has, and all of it is held; a source that forgot transactions would give their GTIDs again, which is
 * seen (given_again). */
static bool head_continues(const struct state *s, const struct gtid_set *before)
{
    const struct gtid_set *logged = state_logged(s);
    if (!before || !logged || gtid_set_equal(before, logged)) {
        return true;
    }
    return gtid_set_flavour(before) == FLAVOUR_MYSQL && gtid_set_intervals(before) <= GTID_SET_MAX - gtid_set_intervals(logged) &&
           gtid_set_subset(state_head(s), before) && gtid_set_subset(before, s->executed);
}

/* What a source names and says must never stop a node: what cannot be is left out, on every node alike, and its proposer learns of it. */
static bool file_continues(const struct state *s, const struct entry_file *f)
{
    const struct state_era *era = state_era(s);
    if (f->era <= s->era_floor || (era && f->era < era->id) || !store_name_ok(f->name)) {
        return false;
    }
    if (!era) {
        return true;
    }
    if (era->origin.flavour != f->origin.flavour) {
        return false;
    }
    if (era->id != f->era) {
        return era_continues(s, f);
    }
    size_t at;
    return !filelist_find(s->files, f->era, f->name, &at) && head_continues(s, f->before);
}

/* The state of the source's log at the file's head; takes `before`. */
static void take_head(struct state *s, bool new_era, struct gtid_set *before)
{
    if (new_era) {
        gtid_set_free(s->logged);
        s->logged = before ? gtid_set_copy(before) : NULL;
    } else if (s->logged && before && gtid_set_flavour(before) == FLAVOUR_MYSQL) {
        int rv = gtid_set_union(s->logged, before);
        CHECK(rv == 0); /* see head_continues */
    }
    if (!before && s->logged) {
        before = gtid_set_copy(s->logged);
    }
    gtid_set_free(s->head);
    s->head = before;
    if (before && (!s->executed || gtid_set_equal(before, s->executed))) { /* it is what was held when the file began */
        gtid_set_free(before);
        s->head = NULL;
    }
}

static int apply_file(struct state *s, struct cur *body, struct state_effect *effect)
{
    struct entry_file f;
    int rv = entry_read_file(body, &f);
    if (rv) {
        return rv;
    }
    if (!file_continues(s, &f)) {
        gtid_set_free(f.before);
        effect->status = E_CONTRADICTION;
        return 0;
    }
    cut_tail(s, effect);
    bool new_era = s->n_eras && state_era(s)->id != f.era;
    set_era(s, f.era, &f.origin);
    if (!s->executed && f.origin.flavour != FLAVOUR_NONE) {
        s->executed = f.before ? gtid_set_copy(f.before) : gtid_set_new(f.origin.flavour);
    }
    take_head(s, new_era, f.before);
    add_file(s, f.era, f.name, s->executed ? gtid_set_copy(s->executed) : NULL);
    effect->new_file = &s->file;
    effect->sealed_sum = s->proof.all_crc;
    s->boundary = STORE_MAGIC;
    uint32_t magic = crc32c_of(0, EVENT_MAGIC, STORE_MAGIC);
    s->proof = (struct state_proof){.open_start = STORE_MAGIC, .all_crc = magic, .boundary_crc = magic};
    s->anonymous_before = s->anonymous;
    s->anonymous = false;
    return 0;
}

/* A MySQL server logs no GTID twice. If it lost the end of its log in a crash it gives the same ones to other transactions, which replicas would
 * pass by in silence. */
static bool given_again(const struct state *s, const struct gtid *gtid)
{
    return gtid->flavour == FLAVOUR_MYSQL && gtid_set_contains(state_logged(s), gtid);
}

/* Reads the list of transactions before it is taken, so that an entry counts whole or not. E_CONTRADICTION: GTIDs that cannot be. */
static int check_txns(const struct state *s, const struct entry_events *e)
{
    struct cur txns = e->txns;
    struct entry_txn txn = {.end = e->offset};
    size_t n = 0;
    int rv = 0;
    while (entry_txn_next(&txns, &txn)) {
        const struct gtid *g = &txn.gtid;
        if (txn.end - e->offset > e->n) {
            return E_MALFORMED;
        }
        n++;
        if (g->flavour != FLAVOUR_NONE &&
            (!s->executed || g->flavour != gtid_set_flavour(s->executed) || !gtid_possible(g) || given_again(s, g))) {
            rv = E_CONTRADICTION;
        }
    }
    if ((s->executed && n > GTID_SET_MAX - gtid_set_intervals(s->executed)) ||
        (s->logged && n > GTID_SET_MAX - gtid_set_intervals(s->logged))) {
        rv = E_CONTRADICTION;
    }
    return cur_ok(&txns) ? rv : E_MALFORMED;
}

static void add_to(struct gtid_set *set, const struct gtid *gtid)
{
    int rv = gtid_set_add(set, gtid);
    CHECK(rv == 0); /* see check_txns */
}

/* A later source's log brings again what is held already. MariaDB's states would go back with it: there only the last one that is held of
 * its server counts again, which makes that server its domain's newest. */
static bool brought_again(const struct state *s, const struct gtid *gtid)
{
    struct gtid last;
    return s->logged && gtid->flavour == FLAVOUR_MARIADB && gtid_set_last(s->executed, gtid->domain, gtid->server, &last) &&
           gtid->gno < last.gno;
}

static void take_txns(struct state *s, const struct entry_events *e)
{
    struct cur txns = e->txns;
    struct entry_txn txn = {.end = e->offset};
    while (entry_txn_next(&txns, &txn)) {
        if (txn.gtid.flavour == FLAVOUR_NONE) {
            s->anonymous = true;
            continue;
        }
        if (!brought_again(s, &txn.gtid)) {
            add_to(s->executed, &txn.gtid);
        }
        if (s->logged) {
            add_to(s->logged, &txn.gtid);
        }
    }
}

/* Sum over the file's bytes from `from` to `to`, which end in this entry. What lies before the entry is in open_crc. */
static uint32_t sum(const struct state *s, const struct entry_events *e, uint64_t from, uint64_t to)
{
    if (from >= e->offset) {
        return crc32c_of(0, e->bytes + (from - e->offset), (size_t)(to - from));
    }
    return crc32c_of(s->proof.open_crc, e->bytes, (size_t)(to - e->offset));
}

static void take_proof(struct state *s, const struct entry_events *e)
{
    struct state_proof *p = &s->proof;
    struct cur txns = e->txns;
    struct entry_txn txn = {.end = e->offset};
    uint64_t start = 0, end = 0, before = p->open_start, open = p->open_start;
    if (e->offset == STORE_MAGIC && e->n >= 19) { /* a format description's size stands at 9 */
        struct cur head = cur_of(e->bytes, e->n);
        cur_skip(&head, 9);
        uint32_t len = cur_u32(&head);
        if (len <= e->n) {
            p->head_len = len;
            p->head_crc = crc32c_of(0, e->bytes, len);
        }
    }
    while (entry_txn_next(&txns, &txn)) {
        start = before;
        end = before = txn.end;
    }
    if (end) {
        p->last_crc = sum(s, e, start, end);
        p->last_start = start;
        p->last_end = end;
    }
    if (e->boundary > open) {
        open = e->boundary;
    }
    p->open_crc = sum(s, e, open, e->offset + e->n);
    p->open_start = open;
    size_t whole = e->boundary > s->boundary ? (size_t)(e->boundary - e->offset) : 0;
    if (e->boundary > s->boundary) {
        p->all_crc = p->boundary_crc = crc32c_of(p->all_crc, e->bytes, whole);
    }
    p->all_crc = crc32c_of(p->all_crc, e->bytes + whole, e->n - whole);
}

static int apply_events(struct state *s, struct cur *body, struct state_effect *effect)
{
    struct entry_events e;
    int rv = entry_read_events(body, &e);
    int txns = rv ? rv : check_txns(s, &e);
    if (txns && txns != E_CONTRADICTION) {
        if (!rv) {
            entry_events_free(&e);
        }
        return txns;
    }
    struct state_file *file = state_file(s) ? &s->file : NULL;
    if (txns || !file || file->era != e.era || strcmp(file->name, e.name) != 0 || file->size != e.offset || e.boundary > e.offset + e.n ||
        (e.boundary != s->boundary && (e.boundary < s->boundary || e.boundary < e.offset))) {
        entry_events_free(&e);
        effect->status = E_CONTRADICTION;
        return 0;
    }
    take_txns(s, &e);
    take_proof(s, &e);
    s->last_timestamp = e.timestamp ? e.timestamp : s->last_timestamp;
    file->size += e.n;
    s->boundary = e.boundary;
    effect->events = e;
    return 0;
}

static void take_user(struct state *s, const struct entry_user *u)
{
    size_t at = user_at(s, u->account.name, u->account.host);
    if (u->drop) {
        if (at < s->n_users) {
            memmove(&s->users[at], &s->users[at + 1], (--s->n_users - at) * sizeof *s->users);
        }
        return;
    }
    if (at == s->n_users) {
        s->users = mem_grow(s->users, ++s->n_users, sizeof *s->users);
    }
    s->users[at] = u->account;
}

static int apply_user(struct state *s, struct cur *body)
{
    struct entry_user u;
    struct cur all = *body;
    int rv = cur_left(&all) ? 0 : E_MALFORMED;
    while (!rv && cur_left(&all)) { /* all can be read, or none counts */
        rv = entry_read_user(&all, &u);
    }
    while (!rv && cur_left(body)) {
        (void)entry_read_user(body, &u);
        take_user(s, &u);
    }
    return rv;
}

static int apply_setting(struct state *s, struct cur *body)
{
    struct entry_setting setting;
    int rv = entry_read_setting(body, &setting);
    if (rv) {
        return rv;
    }
    size_t at = setting_at(s, setting.name);
    if (at == s->n_settings) {
        s->settings = mem_grow(s->settings, ++s->n_settings, sizeof *s->settings);
    }
    s->settings[at] = setting;
    return 0;
}

static int apply_source(struct state *s, struct cur *body)
{
    struct source_settings source = {0};
    int rv = entry_read_source(body, &source);
    if (!rv) {
        s->source = source;
        s->has_source = true;
    }
    return rv;
}

/* Eras of which no file is left are forgotten with their files. */
static void drop_eras(struct state *s, uint64_t oldest)
{
    size_t n = 0;
    while (n < s->n_eras && s->eras[n].id < oldest) {
        n++;
    }
    s->n_eras -= n;
    memmove(s->eras, s->eras + n, s->n_eras * sizeof *s->eras);
}

static int apply_purge(struct state *s, struct cur *body, struct state_effect *effect)
{
    size_t at;
    int rv = entry_read_purge(body, &effect->purge_to);
    if (rv) {
        return rv;
    }
    if (!effect->purge_to.era || !filelist_find(s->files, effect->purge_to.era, effect->purge_to.name, &at)) {
        effect->status = E_CONTRADICTION;
        return 0;
    }
    if (at > 0) {
        struct filelist *files;
        rv = filelist_from(s->files, at, &files, NULL);
        if (rv) {
            return rv;
        }
        filelist_unref(s->files);
        s->files = files;
        drop_eras(s, effect->purge_to.era);
        effect->purge = true;
    }
    return 0;
}

/* What users, settings and alarms say stays, and so does the source, which is not followed. */
static int apply_reset(struct state *s, struct cur *body, struct state_effect *effect)
{
    int rv = entry_read_reset(body, &effect->reset_to);
    if (rv) {
        return rv;
    }
    if (!state_file(s) || s->source.running || !store_keep_ok(effect->reset_to.keep)) {
        effect->status = E_CONTRADICTION;
        return 0;
    }
    cut_tail(s, effect);
    s->era_floor = state_era(s)->id;
    s->n_eras = 0;
    filelist_unref(s->files);
    s->files = filelist_new();
    gtid_set_free(s->file.before);
    gtid_set_free(s->executed);
    gtid_set_free(s->logged);
    gtid_set_free(s->head);
    s->file = (struct state_file){.before = NULL};
    s->executed = s->logged = s->head = NULL;
    s->boundary = 0;
    s->last_timestamp = 0;
    s->proof = (struct state_proof){0};
    s->anonymous = s->anonymous_before = false;
    effect->reset = true;
    return 0;
}

/* ---- alarms ---- */

const struct alarm *state_alarm(const struct state *s, uint64_t id)
{
    for (size_t i = 0; i < s->n_alarms; i++) {
        if (s->alarms[i].id == id) {
            return &s->alarms[i];
        }
    }
    return NULL;
}

const struct alarm *state_alarm_open(const struct state *s, enum alarm_kind kind)
{
    for (size_t i = 0; i < s->n_alarms; i++) {
        if (s->alarms[i].kind == kind && !s->alarms[i].until) {
            return &s->alarms[i];
        }
    }
    return NULL;
}

/* Makes room: the oldest that was read goes first, then the oldest that is over, then the oldest. */
static void drop_alarm(struct state *s)
{
    size_t at = 0;
    while (at < s->n_alarms && !(s->alarms[at].acknowledged && s->alarms[at].until)) {
        at++;
    }
    if (at == s->n_alarms) {
        at = 0;
        while (at < s->n_alarms && !s->alarms[at].until) {
            at++;
        }
        at = at == s->n_alarms ? 0 : at;
        s->dropped_alarms++;
    }
    memmove(&s->alarms[at], &s->alarms[at + 1], (--s->n_alarms - at) * sizeof *s->alarms);
}

static void add_alarm(struct state *s, const struct alarm *alarm)
{
    s->alarms = mem_grow(s->alarms, s->n_alarms + 1, sizeof *s->alarms);
    s->alarms[s->n_alarms++] = *alarm;
}

static int apply_alarm(struct state *s, struct cur *body, struct state_effect *effect)
{
    struct entry_alarm e = {0};
    int rv = entry_read_alarm(body, &e);
    if (rv) {
        return rv;
    }
    if (e.verb == ALARM_BEGIN) {
        if (!state_alarm_open(s, e.alarm.kind)) {
            if (s->n_alarms == STATE_ALARMS_MAX) {
                drop_alarm(s);
            }
            e.alarm.id = ++s->last_alarm;
            add_alarm(s, &e.alarm);
        }
        return 0;
    }
    struct alarm *alarm = NULL;
    for (size_t i = 0; i < s->n_alarms; i++) {
        alarm = s->alarms[i].id == e.alarm.id ? &s->alarms[i] : alarm;
    }
    if (!alarm) {
        effect->status = E_CONTRADICTION;
    } else if (e.verb == ALARM_ACKNOWLEDGE) {
        alarm->acknowledged = true;
    } else {
        alarm->until = e.alarm.until;
        alarm->acknowledged = false;
        memcpy(alarm->to, e.alarm.to, sizeof alarm->to);
        memcpy(alarm->text, e.alarm.text, sizeof alarm->text);
    }
    return 0;
}

int state_apply(struct state *s, uint64_t index, const void *entry, size_t n, struct state_effect *effect)
{
    struct cur body;
    *effect = (struct state_effect){0};
    int rv = entry_read(entry, n, &effect->head, &body);
    if (rv) {
        return rv;
    }
    s->index = index;
    switch (effect->head.kind) {
    case ENTRY_NOOP:
        if (!MUTATED(NOOP_CUT)) {
            cut_tail(s, effect);
        }
        return 0;
    case ENTRY_FILE:
        return apply_file(s, &body, effect);
    case ENTRY_EVENTS:
        return apply_events(s, &body, effect);
    case ENTRY_SOURCE:
        return apply_source(s, &body);
    case ENTRY_USER:
        return apply_user(s, &body);
    case ENTRY_SETTING:
        return apply_setting(s, &body);
    case ENTRY_ALARM:
        return apply_alarm(s, &body, effect);
    case ENTRY_PURGE:
        return apply_purge(s, &body, effect);
    case ENTRY_RESET:
        return apply_reset(s, &body, effect);
    case ENTRY_MEMBER:
        return state_members_apply(&s->members, &body, &effect->status);
    }
    return E_VERSION;
}

/* ---- the manifest ---- */

static void proof_encode(const struct state_proof *p, struct buf *b)
{
    buf_u32(b, p->head_len);
    buf_u32(b, p->head_crc);
    buf_u64(b, p->last_start);
    buf_u64(b, p->last_end);
    buf_u32(b, p->last_crc);
    buf_u64(b, p->open_start);
    buf_u32(b, p->open_crc);
    buf_u32(b, p->all_crc);
    buf_u32(b, p->boundary_crc);
}

static void proof_decode(struct cur *c, struct state_proof *p)
{
    p->head_len = cur_u32(c);
    p->head_crc = cur_u32(c);
    p->last_start = cur_u64(c);
    p->last_end = cur_u64(c);
    p->last_crc = cur_u32(c);
    p->open_start = cur_u64(c);
    p->open_crc = cur_u32(c);
    p->all_crc = cur_u32(c);
    p->boundary_crc = cur_u32(c);
}

void state_encode(const struct state *s, struct buf *b)
{
    buf_u32(b, STATE_VERSION);
    buf_u64(b, s->index);
    buf_u64(b, s->boundary);
    buf_u32(b, s->last_timestamp);
    proof_encode(&s->proof, b);
    entry_set_put(b, s->executed);
    entry_set_put(b, s->logged);
    entry_set_put(b, s->head);
    buf_u8(b, (uint8_t)((s->anonymous ? 1 : 0) | (s->anonymous_before ? 2 : 0)));
    buf_u64(b, s->era_floor);
    buf_lenenc(b, s->n_eras);
    for (size_t i = 0; i < s->n_eras; i++) {
        buf_u64(b, s->eras[i].id);
        entry_origin_put(b, &s->eras[i].origin);
    }
    buf_u64(b, s->file.size);
    buf_u64(b, filelist_size(s->files));
    filelist_bytes(s->files, 0, b);
    buf_lenenc(b, s->n_users);
    for (size_t i = 0; i < s->n_users; i++) {
        entry_account_put(b, &s->users[i]);
    }
    buf_u8(b, s->has_source);
    entry_source_put(b, &s->source);
    buf_lenenc(b, s->n_settings);
    for (size_t i = 0; i < s->n_settings; i++) {
        buf_lenenc_str(b, s->settings[i].name);
        buf_lenenc_str(b, s->settings[i].value);
    }
    buf_u64(b, s->last_alarm);
    buf_u64(b, s->dropped_alarms);
    buf_lenenc(b, s->n_alarms);
    for (size_t i = 0; i < s->n_alarms; i++) {
        entry_alarm_put(b, &s->alarms[i]);
    }
    state_members_encode(&s->members, b);
}

static int decode_newest(struct state *s, uint64_t size)
{
    struct filelist_file file;
    size_t n = filelist_count(s->files);
    if (n == 0) {
        return size || s->boundary ? E_MALFORMED : 0;
    }
    filelist_get(s->files, n - 1, &file);
    s->file = (struct state_file){.era = file.era, .size = size};
    memcpy(s->file.name, file.name, sizeof file.name);
    return s->boundary > size || filelist_before(s->files, n - 1, &s->file.before, NULL) ? E_MALFORMED : 0;
}

static int decode_files(struct cur *c, struct state *s)
{
    s->era_floor = cur_u64(c);
    for (uint64_t n = cur_lenenc(c); n && cur_ok(c); n--) {
        struct entry_origin origin;
        uint64_t id = cur_u64(c);
        entry_origin_get(c, &origin);
        set_era(s, id, &origin);
    }
    uint64_t size = cur_u64(c), n = cur_u64(c);
    const uint8_t *bytes = cur_bytes(c, n);
    struct filelist *files;
    if (!cur_ok(c) || filelist_load(bytes, (size_t)n, false, &files, NULL)) {
        return E_MALFORMED;
    }
    filelist_unref(s->files);
    s->files = files;
    return decode_newest(s, size);
}

static void decode_alarms(struct cur *c, struct state *s)
{
    s->last_alarm = cur_u64(c);
    s->dropped_alarms = cur_u64(c);
    uint64_t n = cur_lenenc(c);
    if (n > STATE_ALARMS_MAX) {
        cur_fail(c);
    }
    for (; n && cur_ok(c); n--) {
        struct alarm alarm = {0};
        entry_alarm_get(c, &alarm);
        add_alarm(s, &alarm);
    }
}

static int decode_rest(struct cur *c, struct state *s)
{
    for (uint64_t n = cur_lenenc(c); n && cur_ok(c); n--) {
        s->users = mem_grow(s->users, s->n_users + 1, sizeof *s->users);
        entry_account_get(c, &s->users[s->n_users++]);
    }
    s->has_source = cur_u8(c) != 0;
    entry_source_get(c, &s->source);
    for (uint64_t n = cur_lenenc(c); n && cur_ok(c); n--) {
        s->settings = mem_grow(s->settings, s->n_settings + 1, sizeof *s->settings);
        struct entry_setting *setting = &s->settings[s->n_settings++];
        cur_text(c, cur_lenenc(c), setting->name, sizeof setting->name);
        cur_text(c, cur_lenenc(c), setting->value, sizeof setting->value);
    }
    decode_alarms(c, s);
    state_members_decode(c, &s->members);
    return cur_done(c) ? 0 : E_MALFORMED;
}

int state_decode(struct cur *c, struct state **out)
{
    struct state *s = state_new();
    uint32_t version = cur_u32(c);
    int rv = version == STATE_VERSION ? 0 : version > STATE_VERSION ? E_VERSION : E_MALFORMED;
    s->index = cur_u64(c);
    s->boundary = cur_u64(c);
    s->last_timestamp = cur_u32(c);
    proof_decode(c, &s->proof);
    rv = rv ? rv : entry_set_get(c, &s->executed);
    rv = rv ? rv : entry_set_get(c, &s->logged);
    rv = rv ? rv : entry_set_get(c, &s->head);
    uint8_t anonymous = cur_u8(c);
    s->anonymous = anonymous & 1;
    s->anonymous_before = anonymous & 2;
    rv = rv ? rv : decode_files(c, s);
    rv = rv ? rv : decode_rest(c, s);
    if (rv) {
        state_free(s);
        return rv;
    }
    *out = s;
    return 0;
}
