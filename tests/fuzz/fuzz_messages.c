/* fuzz_messages: what a member may send.
 *
 * Input: a kind, then bytes: once as a stream of frames, once as a body of that kind whose checksum was right. Properties: nothing is read
 * past the end; a message of libraft's that can be read is the same when it is written and read again. */
#include "raft/configuration.h"
#include "raft/formation.h"
#include "raft/message.h"
#include "tests/fuzz/fuzz.h"

enum { MOST = 16 << 20 };

static void again(const struct raft_message *m)
{
    struct buf b, c;
    struct raft_message back;
    enum message_kind kind;
    struct cur body;
    size_t used;
    unsigned n = m->type == RAFT_IO_APPEND_ENTRIES ? m->append_entries.n_entries : 0;
    buf_init(&b, MOST);
    buf_init(&c, MOST);
    MUST(message_raft_put(&b, m, n) && !b.err);
    MUST(message_next(b.data, b.len, &kind, &body, &used, NULL) == 1 && used == b.len);
    MUST(message_raft_get(kind, &body, &back) == 0);
    MUST(message_raft_put(&c, &back, n) && c.len == b.len && !memcmp(b.data, c.data, b.len));
    message_raft_free(&back);
    buf_free(&b);
    buf_free(&c);
}

/* What is read of an empty node's question, and of its answer, is the same when it is written and read again. */
static void joins(enum message_kind kind, struct cur *body)
{
    struct message_join j, j2;
    struct message_join_answer a, a2;
    struct buf b;
    size_t used;
    buf_init(&b, MOST);
    if (kind == MESSAGE_JOIN && !message_join_get(body, &j)) {
        message_join_put(&b, &j);
        MUST(message_next(b.data, b.len, &kind, body, &used, NULL) == 1 && message_join_get(body, &j2) == 0);
        MUST(j.level == j2.level && j.id == j2.id && j.incarnation == j2.incarnation && !strcmp(j.cluster, j2.cluster));
    } else if (kind == MESSAGE_JOIN_ANSWER && !message_join_answer_get(body, &a)) {
        message_join_answer_put(&b, &a);
        MUST(message_next(b.data, b.len, &kind, body, &used, NULL) == 1 && message_join_answer_get(body, &a2) == 0);
        MUST(a.verdict == a2.verdict && a.leader == a2.leader && a.n == a2.n && !strcmp(a.text, a2.text));
        for (size_t i = 0; i < a.n; i++) {
            MUST(a.members[i].id == a2.members[i].id && !strcmp(a.members[i].address, a2.members[i].address));
        }
    }
    buf_free(&b);
}

/* A configuration that libraft and the snapshot's file can hold. */
static void offers(struct cur *body)
{
    struct raft_message m;
    uint32_t sum;
    if (!message_offer_get(body, &m, &sum)) {
        const struct raft_configuration *c = &m.install_snapshot.conf;
        MUST(c->n && c->n <= CONFIGURATION_MAX);
        for (unsigned i = 0; i < c->n; i++) {
            MUST(c->servers[i].id && c->servers[i].address[0] && strlen(c->servers[i].address) < CONFIGURATION_ADDRESS);
        }
        raft_configuration_close(&m.install_snapshot.conf);
    }
}

static void bodies(enum message_kind kind, const uint8_t *data, size_t n)
{
    struct raft_message m;
    struct message_hello hello;
    struct message_refusal refusal;
    struct cur body = cur_of(data, n);
    if (kind >= MESSAGE_APPEND && kind <= MESSAGE_TIMEOUT_NOW) {
        if (!message_raft_get(kind, &body, &m)) {
            again(&m);
            message_raft_free(&m);
        }
    } else if (kind == MESSAGE_OFFER) {
        offers(&body);
    } else if (kind == MESSAGE_JOIN || kind == MESSAGE_JOIN_ANSWER) {
        joins(kind, &body);
    } else if (kind == MESSAGE_FETCH) {
        struct message_fetch f;
        MUST(message_fetch_get(&body, &f) || (f.n && f.n <= MESSAGE_PIECE_MAX && strlen(f.name) < sizeof f.name));
    } else if (kind == MESSAGE_PIECE) {
        struct message_piece p;
        MUST(message_piece_get(&body, &p) || p.n <= MESSAGE_PIECE_MAX);
    } else if (kind == MESSAGE_FORM) {
        (void)formation_says_formed(body);
    } else if (kind == MESSAGE_REFUSAL) {
        (void)message_refusal_get(&body, &refusal);
    } else {
        (void)message_hello_get(&body, &hello);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum message_kind kind;
    struct cur body;
    size_t used = 0;
    if (!size) {
        return 0;
    }
    bodies((enum message_kind)(1 + data[0] % (MESSAGE_KINDS - 1)), data + 1, size - 1);
    for (size_t at = 1; at < size && message_next(data + at, size - at, &kind, &body, &used, NULL) == 1; at += used) {
        MUST(used >= MESSAGE_HEAD && used <= size - at);
        bodies(kind, body.p, cur_left(&body));
    }
    return 0;
}
