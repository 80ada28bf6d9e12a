/* message.c: frames between members, see message.h.
 *
 * Failure: whatever does not fit is E_MALFORMED; the caller ends the connection. Booleans and enumerators of libraft are
 * normalised on their way in, so that a peer cannot give it a value it never heard of. */
#include "raft/message.h"

#include "raft/configuration.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"

#include <string.h>

#define MESSAGE_MAGIC 0x4d504648u /* "HFPM" */

enum { AT_LENGTH = 8, AT_BODY_SUM = 12, AT_HEAD_SUM = 16, ENTRY_ALIGN = 8, ENTRY_OVERHEAD = 16 };

/* ---- frames ---- */

void message_begin(struct buf *b, enum message_kind kind)
{
    buf_u32(b, MESSAGE_MAGIC);
    buf_u16(b, MESSAGE_VERSION);
    buf_u16(b, (uint16_t)kind);
    buf_zero(b, MESSAGE_HEAD - AT_LENGTH);
}

void message_end(struct buf *b, size_t begin)
{
    if (b->err) {
        return;
    }
    size_t body = b->len - begin - MESSAGE_HEAD;
    CHECK(body <= MESSAGE_MAX);
    buf_put_u32(b, begin + AT_LENGTH, (uint32_t)body);
    buf_put_u32(b, begin + AT_BODY_SUM, crc32c_of(0, b->data + begin + MESSAGE_HEAD, body));
    buf_put_u32(b, begin + AT_HEAD_SUM, crc32c_of(0, b->data + begin, AT_HEAD_SUM));
}

int message_next(const uint8_t *data, size_t n, enum message_kind *kind, struct cur *body, size_t *used, struct errmsg *em)
{
    struct cur c = cur_of(data, n);
    if (n < MESSAGE_HEAD) {
        return 0;
    }
    uint32_t magic = cur_u32(&c);
    uint16_t version = cur_u16(&c);
    uint16_t number = cur_u16(&c);
    uint32_t length = cur_u32(&c), body_sum = cur_u32(&c), head_sum = cur_u32(&c);
    cur_skip(&c, MESSAGE_HEAD - AT_HEAD_SUM - 4);
    if (magic != MESSAGE_MAGIC || head_sum != crc32c_of(0, data, AT_HEAD_SUM)) {
        return err_set(em, E_MALFORMED, "what came is no message of a Holdfast member (is the port right?)");
    }
    if (version > MESSAGE_VERSION) {
        return err_set(em, E_VERSION, "its messages are of version %u, this holdfastd knows up to %d", version, MESSAGE_VERSION);
    }
    if (!version || !number || number >= MESSAGE_KINDS) {
        return err_set(em, E_MALFORMED, "a message of unknown kind %u", number);
    }
    if (length > MESSAGE_MAX) {
        return err_set(em, E_TOOBIG, "a message of %u bytes, %d are allowed", length, MESSAGE_MAX);
    }
    if (cur_left(&c) < length) {
        return 0;
    }
    *body = cur_sub(&c, length);
    if (crc32c_of(0, body->p, length) != body_sum) {
        return err_set(em, E_MALFORMED, "a message's checksum is wrong");
    }
    *kind = (enum message_kind)number;
    *used = MESSAGE_HEAD + length;
    return 1;
}

/* ---- hello ---- */

static void put_text(struct buf *b, const char *text)
{
    buf_lenenc_str(b, text);
}

static void get_text(struct cur *c, char *to, size_t size)
{
    size_t n;
    const uint8_t *p = cur_lenenc_bytes(c, &n);
    to[0] = 0;
    if (p) {
        struct cur text = cur_of(p, n);
        cur_text(&text, n, to, size);
        if (!cur_ok(&text)) {
            cur_fail(c);
        }
    }
}

void message_hello_put(struct buf *b, enum message_kind kind, const struct message_hello *h)
{
    size_t begin = b->len;
    message_begin(b, kind);
    buf_u32(b, h->level);
    buf_u64(b, h->from);
    buf_u64(b, h->to);
    buf_u64(b, h->incarnation);
    buf_u64(b, h->to_incarnation);
    put_text(b, h->cluster);
    buf_u64(b, h->list);
    buf_u64(b, h->term);
    buf_u64(b, h->last_stored);
    put_text(b, h->address);
    message_end(b, begin);
}

int message_hello_get(struct cur *c, struct message_hello *h)
{
    h->level = cur_u32(c);
    h->from = cur_u64(c);
    h->to = cur_u64(c);
    h->incarnation = cur_u64(c);
    h->to_incarnation = cur_u64(c);
    get_text(c, h->cluster, sizeof h->cluster);
    h->list = cur_u64(c);
    h->term = cur_u64(c);
    h->last_stored = cur_u64(c);
    get_text(c, h->address, sizeof h->address);
    return cur_done(c) && h->from && h->incarnation ? 0 : E_MALFORMED;
}

void message_refusal_put(struct buf *b, const struct message_refusal *r)
{
    size_t begin = b->len;
    message_begin(b, MESSAGE_REFUSAL);
    buf_u8(b, (uint8_t)r->why);
    put_text(b, r->cluster);
    put_text(b, r->text);
    message_end(b, begin);
}

int message_refusal_get(struct cur *c, struct message_refusal *r)
{
    uint8_t why = cur_u8(c);
    r->why = why >= REFUSAL_OTHER && why <= REFUSAL_UNHEARD ? (enum refusal)why : REFUSAL_OTHER;
    get_text(c, r->cluster, sizeof r->cluster);
    get_text(c, r->text, sizeof r->text);
    return cur_done(c) ? 0 : E_MALFORMED;
}

/* ---- joining ---- */

void message_join_put(struct buf *b, const struct message_join *j)
{
    size_t begin = b->len;
    message_begin(b, MESSAGE_JOIN);
    buf_u32(b, j->level);
    buf_u64(b, j->id);
    buf_u64(b, j->incarnation);
    put_text(b, j->cluster);
    message_end(b, begin);
}

int message_join_get(struct cur *c, struct message_join *j)
{
    j->level = cur_u32(c);
    j->id = cur_u64(c);
    j->incarnation = cur_u64(c);
    get_text(c, j->cluster, sizeof j->cluster);
    return cur_done(c) && j->id && INCARNATION_RANDOM(j->incarnation) ? 0 : E_MALFORMED; /* without a random part it is nobody's */
}

void message_join_answer_put(struct buf *b, const struct message_join_answer *a)
{
    size_t begin = b->len;
    message_begin(b, MESSAGE_JOIN_ANSWER);
    buf_u8(b, (uint8_t)a->verdict);
    buf_u64(b, a->leader);
    put_text(b, a->cluster);
    put_text(b, a->text);
    buf_u8(b, (uint8_t)a->n);
    for (size_t i = 0; i < a->n; i++) {
        buf_u64(b, a->members[i].id);
        buf_u64(b, a->members[i].incarnation);
        put_text(b, a->members[i].address);
    }
    message_end(b, begin);
}

int message_join_answer_get(struct cur *c, struct message_join_answer *a)
{
    uint8_t verdict = cur_u8(c);
    a->leader = cur_u64(c);
    get_text(c, a->cluster, sizeof a->cluster);
    get_text(c, a->text, sizeof a->text);
    uint8_t n = cur_u8(c);
    if (verdict < JOIN_WAIT || verdict > JOIN_NO || n > MESSAGE_MEMBERS_MAX) {
        return E_MALFORMED;
    }
    a->verdict = (enum join_verdict)verdict;
    for (a->n = 0; a->n < n; a->n++) {
        a->members[a->n].id = cur_u64(c);
        a->members[a->n].incarnation = cur_u64(c);
        get_text(c, a->members[a->n].address, sizeof a->members[a->n].address);
        if (!a->members[a->n].id || !a->members[a->n].incarnation) {
            cur_fail(c);
        }
    }
    return cur_done(c) && a->cluster[0] ? 0 : E_MALFORMED;
}

/* ---- libraft's messages ---- */

unsigned message_entries_fit(const struct raft_entry *entries, unsigned n)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n && i < MESSAGE_ENTRIES_MAX; i++) {
        bytes += entries[i].buf.len + ENTRY_OVERHEAD;
        if (bytes > MESSAGE_APPEND_MAX) {
            return i ? i : 1;
        }
    }
    return n < MESSAGE_ENTRIES_MAX ? n : MESSAGE_ENTRIES_MAX;
}

static void put_append(struct buf *b, const struct raft_append_entries *a, unsigned n)
{
    buf_u64(b, a->term);
    buf_u64(b, a->prev_log_index);
    buf_u64(b, a->prev_log_term);
    buf_u64(b, a->leader_commit);
    buf_u32(b, n);
    for (unsigned i = 0; i < n; i++) {
        buf_u64(b, a->entries[i].term);
        buf_u32(b, a->entries[i].type);
        buf_u32(b, (uint32_t)a->entries[i].buf.len);
        buf_bytes(b, a->entries[i].buf.base, a->entries[i].buf.len);
    }
}

static void put_offer(struct buf *b, const struct raft_install_snapshot *s)
{
    buf_u64(b, s->term);
    buf_u64(b, s->last_index);
    buf_u64(b, s->last_term);
    buf_u64(b, s->conf_index);
    buf_u64(b, s->data.len);
    buf_u32(b, crc32c_of(0, s->data.base, s->data.len));
    buf_u32(b, s->conf.n);
    for (unsigned i = 0; i < s->conf.n; i++) {
        buf_u64(b, s->conf.servers[i].id);
        buf_u8(b, (uint8_t)s->conf.servers[i].role);
        buf_lenenc_str(b, s->conf.servers[i].address);
    }
}

bool message_raft_put(struct buf *b, const struct raft_message *m, unsigned n_entries)
{
    static const enum message_kind kinds[] = {[RAFT_IO_APPEND_ENTRIES] = MESSAGE_APPEND,
                                              [RAFT_IO_APPEND_ENTRIES_RESULT] = MESSAGE_APPEND_RESULT,
                                              [RAFT_IO_REQUEST_VOTE] = MESSAGE_VOTE,
                                              [RAFT_IO_REQUEST_VOTE_RESULT] = MESSAGE_VOTE_RESULT,
                                              [RAFT_IO_TIMEOUT_NOW] = MESSAGE_TIMEOUT_NOW,
                                              [RAFT_IO_INSTALL_SNAPSHOT] = MESSAGE_OFFER};
    size_t begin = b->len;
    if (m->type >= sizeof kinds / sizeof kinds[0] || !kinds[m->type]) {
        return false;
    }
    message_begin(b, kinds[m->type]);
    switch (m->type) {
    case RAFT_IO_APPEND_ENTRIES:
        put_append(b, &m->append_entries, n_entries);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        buf_u64(b, m->append_entries_result.term);
        buf_u64(b, m->append_entries_result.rejected);
        buf_u64(b, m->append_entries_result.last_log_index);
        break;
    case RAFT_IO_REQUEST_VOTE:
        buf_u64(b, m->request_vote.term);
        buf_u64(b, m->request_vote.candidate_id);
        buf_u64(b, m->request_vote.last_log_index);
        buf_u64(b, m->request_vote.last_log_term);
        buf_u8(b, m->request_vote.disrupt_leader);
        buf_u8(b, m->request_vote.pre_vote);
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        buf_u64(b, m->request_vote_result.term);
        buf_u8(b, m->request_vote_result.vote_granted);
        buf_u8(b, m->request_vote_result.pre_vote == raft_tribool_true);
        break;
    case RAFT_IO_INSTALL_SNAPSHOT:
        put_offer(b, &m->install_snapshot);
        break;
    default:
        buf_u64(b, m->timeout_now.term);
        buf_u64(b, m->timeout_now.last_log_index);
        buf_u64(b, m->timeout_now.last_log_term);
        break;
    }
    message_end(b, begin);
    return true;
}

static bool known_type(uint32_t type)
{
    return type == RAFT_COMMAND || type == RAFT_BARRIER || type == RAFT_CHANGE;
}

/* Looks at all entries without keeping one: how many bytes they have together, each rounded up. */
static size_t measure_entries(struct cur c, uint32_t n, uint64_t max_term)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < n && cur_ok(&c); i++) {
        uint64_t term = cur_u64(&c);
        uint32_t type = cur_u32(&c), len = cur_u32(&c);
        if (!term || term > max_term || !known_type(type) || !len || len % ENTRY_ALIGN) { /* libraft cannot read other lengths back */
            cur_fail(&c);
        }
        if (type == RAFT_CHANGE && (cur_left(&c) < len || !configuration_valid(c.p, len))) {
            cur_fail(&c);
        }
        cur_skip(&c, len);
        bytes += len;
    }
    return cur_done(&c) ? bytes : 0;
}

static int get_append(struct cur *c, struct raft_append_entries *a)
{
    a->term = cur_u64(c);
    a->prev_log_index = cur_u64(c);
    a->prev_log_term = cur_u64(c);
    a->leader_commit = cur_u64(c);
    uint32_t n = cur_u32(c);
    if (!n) {
        return cur_done(c) ? 0 : E_MALFORMED;
    }
    size_t bytes = n <= MESSAGE_ENTRIES_MAX && n <= cur_left(c) / ENTRY_OVERHEAD ? measure_entries(*c, n, a->term) : 0;
    if (!cur_ok(c) || !bytes || a->prev_log_index > UINT64_MAX - n) {
        return E_MALFORMED;
    }
    uint8_t *batch = raft_malloc(bytes);
    a->entries = raft_calloc(n, sizeof *a->entries);
    CHECK(batch && a->entries);
    for (uint32_t i = 0; i < n; i++) {
        struct raft_entry *e = &a->entries[i];
        e->term = cur_u64(c);
        e->type = (unsigned short)cur_u32(c);
        e->buf.len = cur_u32(c);
        e->buf.base = batch;
        cur_copy(c, batch, e->buf.len);
        e->batch = a->entries[0].buf.base; /* one block for all: libraft frees it once */
        batch += e->buf.len;
    }
    a->n_entries = n;
    return 0;
}

int message_raft_get(enum message_kind kind, struct cur *c, struct raft_message *m)
{
    *m = (struct raft_message){0};
    switch (kind) {
    case MESSAGE_APPEND:
        m->type = RAFT_IO_APPEND_ENTRIES;
        return get_append(c, &m->append_entries);
    case MESSAGE_APPEND_RESULT:
        m->type = RAFT_IO_APPEND_ENTRIES_RESULT;
        m->append_entries_result.term = cur_u64(c);
        m->append_entries_result.rejected = cur_u64(c);
        m->append_entries_result.last_log_index = cur_u64(c);
        break;
    case MESSAGE_VOTE:
        m->type = RAFT_IO_REQUEST_VOTE;
        m->request_vote.term = cur_u64(c);
        m->request_vote.candidate_id = cur_u64(c);
        m->request_vote.last_log_index = cur_u64(c);
        m->request_vote.last_log_term = cur_u64(c);
        m->request_vote.disrupt_leader = cur_u8(c) != 0;
        m->request_vote.pre_vote = cur_u8(c) != 0;
        break;
    case MESSAGE_VOTE_RESULT:
        m->type = RAFT_IO_REQUEST_VOTE_RESULT;
        m->request_vote_result.term = cur_u64(c);
        m->request_vote_result.vote_granted = cur_u8(c) != 0;
        m->request_vote_result.pre_vote = cur_u8(c) ? raft_tribool_true : raft_tribool_false;
        break;
    case MESSAGE_TIMEOUT_NOW:
        m->type = RAFT_IO_TIMEOUT_NOW;
        m->timeout_now.term = cur_u64(c);
        m->timeout_now.last_log_index = cur_u64(c);
        m->timeout_now.last_log_term = cur_u64(c);
        break;
    default:
        return E_MALFORMED;
    }
    return cur_done(c) ? 0 : E_MALFORMED;
}

int message_offer_get(struct cur *c, struct raft_message *m, uint32_t *sum)
{
    struct raft_install_snapshot *s = &m->install_snapshot;
    *m = (struct raft_message){.type = RAFT_IO_INSTALL_SNAPSHOT};
    s->term = cur_u64(c);
    s->last_index = cur_u64(c);
    s->last_term = cur_u64(c);
    s->conf_index = cur_u64(c);
    s->data.len = (size_t)cur_u64(c);
    *sum = cur_u32(c);
    raft_configuration_init(&s->conf);
    uint32_t n = cur_u32(c);
    for (uint32_t i = 0; i < n && cur_ok(c); i++) {
        char address[CONFIGURATION_ADDRESS];
        uint64_t id = cur_u64(c);
        uint8_t role = cur_u8(c);
        cur_text(c, cur_lenenc(c), address, sizeof address);
        if (cur_ok(c) && configuration_add(&s->conf, id, address, role)) {
            cur_fail(c);
        }
    }
    if (cur_done(c) && s->last_index && s->last_term && s->last_term <= s->term && s->conf_index <= s->last_index && s->conf.n) {
        return 0;
    }
    raft_configuration_close(&s->conf);
    return E_MALFORMED;
}

void message_fetch_put(struct buf *b, const struct message_fetch *f)
{
    size_t begin = b->len;
    message_begin(b, MESSAGE_FETCH);
    buf_u64(b, f->ticket);
    buf_u64(b, f->manifest);
    buf_u64(b, f->era);
    put_text(b, f->name);
    buf_u64(b, f->offset);
    buf_u32(b, f->n);
    message_end(b, begin);
}

int message_fetch_get(struct cur *c, struct message_fetch *f)
{
    f->ticket = cur_u64(c);
    f->manifest = cur_u64(c);
    f->era = cur_u64(c);
    get_text(c, f->name, sizeof f->name);
    f->offset = cur_u64(c);
    f->n = cur_u32(c);
    return cur_done(c) && f->n && f->n <= MESSAGE_PIECE_MAX && f->offset <= UINT64_MAX - f->n ? 0 : E_MALFORMED;
}

void message_piece_put(struct buf *b, const struct message_piece *p)
{
    size_t begin = b->len;
    message_begin(b, MESSAGE_PIECE);
    buf_u64(b, p->ticket);
    buf_u8(b, (uint8_t)p->status);
    buf_bytes(b, p->data, p->n);
    message_end(b, begin);
}

uint8_t *message_piece_room(struct buf *b, uint64_t ticket, size_t n)
{
    message_begin(b, MESSAGE_PIECE);
    buf_u64(b, ticket);
    buf_u8(b, PIECE_HERE);
    return buf_reserve(b, n);
}

void message_piece_filled(struct buf *b, size_t n)
{
    b->len += n;
    message_end(b, 0);
}

int message_piece_get(struct cur *c, struct message_piece *p)
{
    p->ticket = cur_u64(c);
    uint8_t status = cur_u8(c);
    p->status = status <= PIECE_GONE ? (enum piece)status : PIECE_GONE;
    p->n = cur_left(c);
    p->data = cur_bytes(c, p->n);
    return cur_ok(c) && p->n <= MESSAGE_PIECE_MAX ? 0 : E_MALFORMED;
}

void message_raft_free(struct raft_message *m)
{
    if (m->type == RAFT_IO_APPEND_ENTRIES && m->append_entries.n_entries) {
        raft_free(m->append_entries.entries[0].batch);
        raft_free(m->append_entries.entries);
    }
}
