/* fuzz_stream: the packets of a dump, seen by the one who receives it, and semi-sync acknowledgements.
 *
 * Input: flags (1: semi-sync agreed on; 2: an acknowledgement; 4: with another number than 0), then the
 * packet. Properties: what was read can be built again, and is then read the same; ranges lie in the packet.
 */
#include "protocol/base/buf.h"
#include "protocol/command.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"

static struct wire *pass_on(struct wire *from, struct packet *p)
{
    struct wire *to = wire_new(1 << 24);
    struct buf *out = wire_output(from);
    wire_seq_check(to, false);
    MUST(wire_feed(to, out->data, out->len, NULL) == 0);
    MUST(wire_next(to, p, NULL) == 1);
    wire_free(from);
    return to;
}

static void try_ack(const struct packet *p)
{
    struct semisync_ack a, b;
    struct packet q;
    if (semisync_ack_parse(p, &a, NULL)) {
        return;
    }
    MUST(p->seq == 0 && a.file[0]);
    struct wire *w = wire_new(1 << 24);
    MUST(semisync_ack_put(w, a.file, a.pos) == 0);
    w = pass_on(w, &q);
    MUST(semisync_ack_parse(&q, &b, NULL) == 0);
    MUST(a.pos == b.pos && !strcmp(a.file, b.file));
    wire_free(w);
}

static void try_stream(const struct packet *p, bool semisync)
{
    struct stream_packet s, t;
    struct packet q;
    struct errmsg em = {.text = ""};
    if (stream_parse(p, semisync, &s, &em)) {
        MUST(em.text[0]);
        return;
    }
    if (s.kind != STREAM_EVENT) {
        MUST(strnlen(s.message, sizeof s.message) < sizeof s.message && strnlen(s.sqlstate, 6) < 6);
        return;
    }
    MUST(s.event > p->data && s.event + s.n == p->data + p->len);
    MUST(semisync || !s.wants_ack);
    struct wire *w = wire_new(1 << 24);
    MUST(stream_put_event(w, semisync, s.wants_ack, s.event, s.n) == 0);
    w = pass_on(w, &q);
    MUST(q.len == p->len && !memcmp(q.data, p->data, p->len));
    MUST(stream_parse(&q, semisync, &t, NULL) == 0 && t.kind == STREAM_EVENT && t.wants_ack == s.wants_ack);
    wire_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    size_t n;
    const uint8_t *rest = cur_rest(&in, &n);
    n = cur_ok(&in) ? n : 0;
    uint8_t *exact = fuzz_exact(rest, n);
    struct packet p = {.data = exact, .len = n, .seq = flags & 4 ? flags : 0};
    if (flags & 2) {
        try_ack(&p);
    } else {
        try_stream(&p, flags & 1);
    }
    free(exact);
    return 0;
}
