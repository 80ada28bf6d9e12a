/* fuzz_packets: the packet layer, without TLS.
 *
 * Input: flags, largest packet, a list of chunk sizes, then what the peer sends, as a script: raw bytes,
 * well-formed packets, full fragments made of few bytes. Properties: the packets and the error at the end do
 * not depend on how the stream was cut; no packet is larger than was allowed; what one wire puts another one
 * gives.
 *
 * A fragment has 1021 bytes here and not 16 MiB, or joining and splitting would take a tenth of a second for
 * each input (tests/unit/test_traps.c has them at full size): so wire.c is compiled once more, in here, and
 * the linker leaves the archive's. */
#define PACKET_FRAGMENT PACKET_FRAGMENT_OF_A_NODE
#include "protocol/packet.h"
#undef PACKET_FRAGMENT
enum { PACKET_FRAGMENT = 1021 };
#include "protocol/wire.c"

#include "protocol/base/crc.h"
#include "tests/fuzz/fuzz.h"

enum { CHUNKS_MAX = 16, CUTS_MAX = 1024, STREAM_MAX = 256 << 10, PACKET_MAX = 128 << 10 };

enum { APART = 1, UNCHECKED = 2 };

struct script {
    unsigned flags;
    size_t max_packet;
    size_t chunks[CHUNKS_MAX];
    size_t n_chunks;
    struct buf stream;
};

struct seen {
    uint32_t digest;
    size_t n;
    int end;
};

static void put_fragment(struct buf *b, size_t n, uint8_t seq, const uint8_t *bytes, size_t nbytes)
{
    buf_u24(b, (uint32_t)n);
    buf_u8(b, seq);
    size_t at = b->len;
    buf_bytes(b, bytes, nbytes < n ? nbytes : n);
    buf_zero(b, n - (b->len - at));
}

static void read_script(struct cur *in, struct script *s)
{
    uint8_t seq = 0;
    s->flags = cur_u8(in);
    s->max_packet = (size_t)cur_u16(in) * 2;
    s->n_chunks = 1 + cur_u8(in) % CHUNKS_MAX;
    for (size_t i = 0; i < s->n_chunks; i++) {
        s->chunks[i] = 1 + (size_t)cur_u16(in);
    }
    buf_init(&s->stream, STREAM_MAX);
    while (cur_left(in)) {
        unsigned op = cur_u8(in);
        size_t n;
        const uint8_t *p;
        switch (op % 4) {
        case 0: /* as it is */
            p = fuzz_piece(in, &n);
            buf_bytes(&s->stream, p, n);
            break;
        case 1: /* a packet, in sequence */
            p = fuzz_piece(in, &n);
            put_fragment(&s->stream, n, seq++, p, n);
            break;
        case 2: /* a number of its own */
            seq = cur_u8(in);
            break;
        default: /* a full fragment */
            p = fuzz_piece(in, &n);
            put_fragment(&s->stream, PACKET_FRAGMENT, seq++, p, n);
            break;
        }
    }
}

static struct wire *open_wire(const struct script *s)
{
    struct wire *w = wire_new(s->max_packet);
    wire_seq_apart(w, s->flags & APART);
    wire_seq_check(w, !(s->flags & UNCHECKED));
    return w;
}

/* Takes all packets that are complete. */
static int drain(struct wire *w, const struct script *s, struct seen *seen, struct wire *echo)
{
    struct packet p;
    struct errmsg em = {.text = ""};
    int rc;
    while ((rc = wire_next(w, &p, &em)) == 1) {
        MUST(p.len <= s->max_packet);
        uint64_t head[2] = {p.len, p.seq};
        seen->digest = crc32c_of(seen->digest, head, sizeof head);
        seen->digest = crc32c_of(seen->digest, p.data, p.len);
        seen->n++;
        if (echo) {
            MUST(wire_put2(echo, p.data, p.len / 3, p.data + p.len / 3, p.len - p.len / 3) == 0);
        }
    }
    MUST(rc == 0 || (em.text[0] && wire_next(w, &p, NULL) == rc));
    return rc;
}

static struct seen play(const struct script *s, bool cut, struct wire *echo)
{
    struct seen seen = {0};
    struct wire *w = open_wire(s);
    const uint8_t *p = s->stream.data;
    size_t left = s->stream.len, i = 0, least = 1 + left / CUTS_MAX;
    while (left && !seen.end) {
        size_t n = cut ? s->chunks[i++ % s->n_chunks] : STREAM_MAX;
        n = n < least ? least : n;
        n = n < left ? n : left;
        uint8_t *exact = fuzz_exact(p, n);
        int rc = wire_feed(w, exact, n, NULL);
        free(exact);
        seen.end = drain(w, s, &seen, echo);
        MUST(rc == 0 || seen.end == rc);
        p += n;
        left -= n;
    }
    MUST(wire_pending(w) <= s->stream.len);
    wire_free(w);
    return seen;
}

/* What was put comes out as it went in. */
static void check_echo(const struct script *s, struct wire *echo, size_t n)
{
    struct script back = {.flags = 0, .max_packet = PACKET_MAX, .n_chunks = s->n_chunks};
    memcpy(back.chunks, s->chunks, sizeof back.chunks);
    buf_init(&back.stream, WIRE_OUTPUT_MAX);
    buf_move(&back.stream, wire_output(echo));
    struct seen whole = play(&back, false, NULL);
    struct seen parts = play(&back, true, NULL);
    MUST(whole.end == 0 && whole.n == n && parts.n == n && whole.digest == parts.digest);
    buf_free(&back.stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    struct script s = {0};
    read_script(&in, &s);
    struct wire *echo = wire_new(PACKET_MAX);
    struct seen whole = play(&s, false, echo);
    struct seen parts = play(&s, true, NULL);
    MUST(whole.n == parts.n && whole.digest == parts.digest && whole.end == parts.end);
    check_echo(&s, echo, whole.n);
    wire_free(echo);
    buf_free(&s.stream);
    return 0;
}
