/* fuzz_compress: the frames of the compressed protocol, by themselves and under the packet layer.
 *
 * Input: flags (1: zstd; 2: a small largest packet), sizes to cut by, then what the peer sends: bytes as they
 * are; packets that are packed into right frames; such with a byte changed, or with another length claimed.
 * Properties: what a frame unpacks to is what its head says, never more; the packets and the error at the end
 * do not depend on how the stream was cut; what was packed is unpacked the same. */
#include "protocol/base/crc.h"
#include "protocol/compress.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"

enum { ZSTD = 1, SMALL = 2, STREAM_MAX = 4 << 20, PACKET_MAX = 1 << 20, CUTS = 4 };

struct seen {
    uint32_t digest;
    size_t n;
    int end;
};

static void put_frames(struct compress *c, struct buf *stream, const uint8_t *p, size_t n, uint8_t *seq,
                       uint8_t *packet)
{
    struct buf plain;
    buf_init(&plain, 1 << 17);
    buf_u24(&plain, (uint32_t)n);
    buf_u8(&plain, (*packet)++);
    buf_bytes(&plain, p, n);
    MUST(compress_pack(c, plain.data, plain.len, seq, stream) == 0);
    buf_free(&plain);
}

static void read_stream(struct compress *c, struct cur *in, struct buf *stream)
{
    uint8_t seq = 0, packet = 0;
    while (cur_left(in) && stream->len < STREAM_MAX / 2) {
        uint8_t op = cur_u8(in);
        size_t n, at = stream->len;
        uint32_t where = op & 0x80 ? cur_u16(in) : 0;
        uint8_t bits = op & 0x80 ? cur_u8(in) : 0;
        const uint8_t *p = fuzz_piece(in, &n);
        if (op % 4 == 0) {
            buf_bytes(stream, p, n);
        } else if (op % 4 == 1) { /* long and even: it shrinks a lot */
            struct buf even;
            buf_init(&even, 1 << 17);
            buf_bytes(&even, p, n < 1024 ? n : 1024);
            buf_zero(&even, (size_t)op << 8);
            put_frames(c, stream, even.data, even.len, &seq, &packet);
            buf_free(&even);
        } else if (op % 4 == 2) {
            put_frames(c, stream, p, n, &seq, &packet);
        } else {
            seq = bits;
        }
        if (stream->len > at) {
            stream->data[at + where % (stream->len - at)] ^= bits;
        }
    }
}

/* Frame after frame, without a wire. */
static void unpack_all(struct compress *c, const struct buf *stream)
{
    struct buf out;
    const uint8_t *p = stream->data;
    size_t left = stream->len;
    int rc = 1;
    buf_init(&out, COMPRESS_FRAME_MAX);
    while (rc == 1 && left) {
        size_t used = 0;
        uint8_t seq;
        struct errmsg em = {.text = ""};
        uint8_t *exact = fuzz_exact(p, left < 1 << 17 ? left : 1 << 17);
        buf_reset(&out);
        rc = compress_unpack(c, exact, left < 1 << 17 ? left : 1 << 17, &used, &seq, &out, &em);
        free(exact);
        MUST(rc >= 0 || em.text[0]);
        if (rc == 1) {
            struct cur head = cur_of(p, left);
            uint32_t packed = cur_u24(&head);
            cur_skip(&head, 1);
            uint32_t plain = cur_u24(&head);
            MUST(used == COMPRESS_HEAD + (size_t)packed && used <= left);
            MUST(out.len == (plain ? plain : packed));
            p += used;
            left -= used;
        }
    }
    buf_free(&out);
}

static struct seen play(const struct compress_choice *choice, size_t max_packet, const struct buf *stream,
                        const uint16_t *cuts)
{
    struct seen seen = {0};
    struct wire *w = wire_new(max_packet);
    MUST(wire_start_compress(w, choice, NULL) == 0);
    size_t at = 0;
    for (size_t i = 0; at < stream->len && !seen.end; i++) {
        struct packet p;
        struct errmsg em = {.text = ""};
        size_t n = cuts ? 1 + (size_t)cuts[i % CUTS] : 1 << 16;
        n = n < stream->len - at ? n : stream->len - at;
        uint8_t *exact = fuzz_exact(stream->data + at, n);
        int fed = wire_feed(w, exact, n, NULL), rc;
        free(exact);
        while ((rc = wire_next(w, &p, &em)) == 1) {
            MUST(p.len <= max_packet);
            uint64_t head = p.len;
            seen.digest = crc32c_of(seen.digest, &head, sizeof head);
            seen.digest = crc32c_of(seen.digest, p.data, p.len);
            seen.n++;
        }
        MUST(rc == 0 || em.text[0]);
        MUST(!fed || rc == fed);
        seen.end = rc;
        at += n;
    }
    wire_free(w);
    return seen;
}

/* What one wire packs the other one unpacks. */
static void round_trip(const struct compress_choice *choice, const uint8_t *p, size_t n)
{
    struct wire *from = wire_new(PACKET_MAX), *to = wire_new(PACKET_MAX);
    struct packet packet;
    MUST(wire_start_compress(from, choice, NULL) == 0 && wire_start_compress(to, choice, NULL) == 0);
    MUST(wire_put(from, p, n) == 0 && wire_put(from, p, n / 2) == 0);
    struct buf *out = wire_output(from);
    MUST(!out->err && wire_feed(to, out->data, out->len, NULL) == 0);
    MUST(wire_next(to, &packet, NULL) == 1 && packet.len == n && (n == 0 || !memcmp(packet.data, p, n)));
    MUST(wire_next(to, &packet, NULL) == 1 && packet.len == n / 2);
    MUST(wire_next(to, &packet, NULL) == 0 && wire_pending(to) == 0);
    wire_free(from);
    wire_free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    struct compress_choice choice = {.kind = flags & ZSTD ? COMPRESS_ZSTD : COMPRESS_ZLIB,
                                     .level = flags & ZSTD ? 1 : 0};
    size_t max_packet = flags & SMALL ? 512 : PACKET_MAX;
    uint16_t cuts[CUTS];
    struct buf stream;
    for (size_t i = 0; i < CUTS; i++) {
        cuts[i] = cur_u16(&in);
    }
    struct compress *c = compress_new(&choice);
    MUST(c);
    buf_init(&stream, STREAM_MAX);
    size_t n;
    struct cur whole_input = in;
    const uint8_t *rest = cur_rest(&whole_input, &n);
    round_trip(&choice, rest, cur_ok(&in) ? n : 0);
    read_stream(c, &in, &stream);
    unpack_all(c, &stream);
    struct seen whole = play(&choice, max_packet, &stream, NULL),
                parts = play(&choice, max_packet, &stream, cuts);
    MUST(whole.n == parts.n && whole.digest == parts.digest && whole.end == parts.end);
    compress_free(c);
    buf_free(&stream);
    return 0;
}
