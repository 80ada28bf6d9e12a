/* wire.c: the packet layer, with compression and TLS as filters under it.
 *
 * Happy path, in: bytes (decrypted where TLS is on) are appended to `in`; wire_next gives packets where they
 * lie and only moves a position, so many small packets cost no copy; the rest is moved to the front once per
 * feed. Fragments of a large packet are pushed together in place as each becomes complete: every byte is
 * moved once. After a large packet the memory is given back. Happy path, out: packets are written into
 * `plain`, which is what wire_output gives; with TLS it is encrypted into `sealed` at that moment, so a batch
 * of small packets shares records.
 *
 * With compression, what arrives is kept in `packed_in`, and one frame of it is unpacked into `in` whenever
 * wire_next finds no whole packet there: so `in` never holds more than a partial packet and one frame,
 * whatever the peer packed into a few bytes. What leaves goes from `plain` into frames in `packed`. Frames
 * have numbers of their own; those of the packets in them are not checked, since servers let them jump.
 *
 * Failure modes: a packet above max_packet, a number out of sequence, a frame that does not unpack, a failed
 * TLS: remembered in `failed`, final. Output beyond its maximum: sticky in the buffer, complete packets only
 * are left in it. */
#include "protocol/wire.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/compress.h"
#include "protocol/tls.h"

#include <string.h>

enum {
    KEEP = 1 << 20, /* an idle buffer larger than this is given back */
    FEED_SLACK =
        1 << 24, /* beyond one packet, what may lie in the input: pipelined packets, one feed or frame */
    PACKED_MAX = COMPRESS_HEAD + COMPRESS_FRAME_MAX + FEED_SLACK
};

struct wire {
    struct tls *tls;
    size_t max_packet;
    int failed; /* the error that ended the input */
    struct errmsg why;

    struct buf in;
    size_t at;     /* where the next header is, or the packet being joined begins */
    size_t joined; /* payload bytes at `at` that are joined already */
    size_t from;   /* where the next fragment's header is while joining */
    bool joining;
    uint8_t first_seq;
    uint8_t fragment_seq; /* expected of the next fragment */

    struct compress *compress;
    enum compress_kind kind;
    struct buf packed_in; /* frames as they came */
    size_t packed_at;     /* the first that was not unpacked */
    struct buf packed;    /* frames to send */
    uint8_t packed_seq;

    struct buf plain;
    struct buf sealed;
    size_t start; /* of the packet being built */
    bool building;
    size_t open_left;     /* of a packet that comes in pieces */
    size_t fragment_left; /* of its fragment */
    bool fragment_full;   /* it is as large as can be: one more follows */

    uint8_t seq;
    bool apart;
    bool check;
};

static size_t input_max(size_t max_packet)
{
    size_t headers = (max_packet / PACKET_FRAGMENT + 2) * PACKET_HEADER;
    CHECK(max_packet < SIZE_MAX - headers - FEED_SLACK);
    return max_packet + headers + FEED_SLACK;
}

struct wire *wire_new(size_t max_packet)
{
    struct wire *w = mem_new(sizeof(*w));
    w->max_packet = max_packet;
    w->check = true;
    buf_init(&w->in, input_max(max_packet));
    buf_init(&w->packed_in, PACKED_MAX);
    buf_init(&w->packed, WIRE_OUTPUT_MAX + WIRE_OUTPUT_MAX / 64);
    buf_init(&w->plain, WIRE_OUTPUT_MAX);
    buf_init(&w->sealed, WIRE_OUTPUT_MAX + WIRE_OUTPUT_MAX / 64);
    return w;
}

void wire_free(struct wire *w)
{
    if (w) {
        tls_free(w->tls);
        compress_free(w->compress);
        buf_free(&w->packed_in);
        buf_free(&w->packed);
        buf_free(&w->in);
        buf_free(&w->plain);
        buf_free(&w->sealed);
        mem_free(w);
    }
}

void wire_set_max_packet(struct wire *w, size_t max_packet)
{
    w->max_packet = max_packet;
    w->in.max = input_max(max_packet);
    if (w->in.max < w->in.cap) {
        w->in.max = w->in.cap; /* what lies there already stays readable */
    }
}

static int fail(struct wire *w, int code, struct errmsg *em, const char *what)
{
    w->failed = code;
    w->packed_in.len = w->packed_at; /* nothing behind it is ever unpacked */
    err_set(&w->why, code, "%s", what);
    return err_set(em, code, "%s", what);
}

/* ---- in ---- */

/* Moves what was not given yet to the front; a buffer that one large packet made big is given back. */
static void compact(struct wire *w)
{
    size_t left = w->in.len - w->at;
    size_t shift = w->at;
    if (shift == 0) {
        return;
    }
    struct buf small;
    buf_init(&small, w->in.max);
    if (w->in.cap > KEEP && left < KEEP / 4) {
        if (left) {
            buf_bytes(&small, w->in.data + shift, left);
        }
        if (small.err) {
            buf_consume(&w->in, shift);
        } else {
            buf_move(&w->in, &small);
        }
    } else if (left) {
        buf_consume(&w->in, shift);
    } else {
        buf_reset(&w->in);
    }
    buf_free(&small);
    w->at = 0;
    if (w->joining) {
        w->from -= shift;
    }
}

/* The same for frames. */
static void compact_packed(struct wire *w)
{
    if (w->packed_at == w->packed_in.len && w->packed_in.cap > KEEP) {
        buf_free(&w->packed_in);
    } else {
        buf_consume(&w->packed_in, w->packed_at);
    }
    w->packed_at = 0;
}

/* Keeps what failed for later: packets that came whole before it are still given. */
static int feed_failed(struct wire *w, int code, struct errmsg *em, const char *what)
{
    size_t frames = w->packed_in.len;
    fail(w, code, em, what);
    w->packed_in.len = frames;
    return code;
}

int wire_feed(struct wire *w, const void *data, size_t n, struct errmsg *em)
{
    if (w->failed) {
        return err_set(em, w->failed, "%s", w->why.text);
    }
    struct buf *to = &w->in;
    if (w->compress) {
        to = &w->packed_in;
        compact_packed(w);
    } else {
        compact(w);
    }
    if (w->tls) {
        struct errmsg why;
        int rc = tls_feed(w->tls, data, n, to, &w->sealed, &why);
        return rc ? feed_failed(w, rc, em, why.text) : 0;
    }
    buf_bytes(to, data, n);
    if (to->err) {
        return feed_failed(w, to->err, em, "more bytes arrived than a packet may have");
    }
    return 0;
}

size_t wire_pending(const struct wire *w)
{
    return w->in.len - w->at + w->packed_in.len - w->packed_at;
}

/* Joins the fragment whose header is at `from` and whose n payload bytes are there. */
static void join(struct wire *w, size_t n)
{
    uint8_t *base = w->in.data;
    memmove(base + w->at + PACKET_HEADER + w->joined, base + w->from + PACKET_HEADER, n);
    w->joined += n;
    w->from += PACKET_HEADER + n;
}

/* Is the number of the header acceptable? Takes it over. */
static bool sequence_ok(struct wire *w, uint8_t seq)
{
    bool first = !w->joining;
    uint8_t want = first ? w->seq : w->fragment_seq;
    bool bound = !w->compress && (first ? !w->apart : true);
    if (w->check && bound && seq != want) {
        return false;
    }
    w->fragment_seq = (uint8_t)(seq + 1);
    if (!w->apart) {
        w->seq = w->fragment_seq;
    }
    return true;
}

static void give(struct wire *w, struct packet *p, size_t n, size_t end)
{
    *p = (struct packet){.data = w->in.data + w->at + PACKET_HEADER, .len = n, .seq = w->first_seq};
    w->at = end;
    w->joining = false;
    w->joined = 0;
}

/* The next packet in what is unpacked: 1, 0 when it is not there whole, or an error. */
static int next_packet(struct wire *w, struct packet *p, struct errmsg *em)
{
    for (;;) {
        size_t header = w->joining ? w->from : w->at;
        size_t left = w->in.len - header;
        if (left < PACKET_HEADER) {
            return 0;
        }
        const uint8_t *h = w->in.data + header;
        size_t n = (size_t)h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16;
        uint8_t seq = h[3];
        if (n > w->max_packet || w->joined > w->max_packet - n) {
            w->in.len = header; /* nothing behind it is ever looked at */
            return fail(w, E_TOOBIG, em, "packet larger than allowed");
        }
        if (left - PACKET_HEADER < n) {
            return 0;
        }
        if (!sequence_ok(w, seq)) {
            w->in.len = header;
            return fail(w, E_MALFORMED, em, "packet out of sequence");
        }
        if (!w->joining) {
            w->first_seq = seq;
        }
        if (!w->joining && n < PACKET_FRAGMENT) {
            give(w, p, n, header + PACKET_HEADER + n);
            return 1;
        }
        if (!w->joining) {
            w->joining = true;
            w->joined = 0;
            w->from = header;
        }
        join(w, n);
        if (n < PACKET_FRAGMENT) {
            give(w, p, w->joined, w->from);
            return 1;
        }
    }
}

/* Unpacks one more frame into `in`: 1, 0 when none is there whole, or an error. */
static int next_frame(struct wire *w, struct errmsg *em)
{
    size_t used = 0;
    uint8_t seq = 0;
    struct errmsg why;
    size_t left = w->packed_in.len - w->packed_at;
    if (left < COMPRESS_HEAD) {
        return 0;
    }
    compact(w);
    size_t before = w->in.len;
    int rc = compress_unpack(w->compress, w->packed_in.data + w->packed_at, left, &used, &seq, &w->in, &why);
    if (rc < 0) {
        return fail(w, rc, em, why.text);
    }
    if (rc == 0) {
        return 0;
    }
    if (w->check && !w->apart && seq != w->packed_seq) {
        w->in.len = before;
        return fail(w, E_MALFORMED, em, "compressed frame out of sequence");
    }
    w->packed_at += used;
    if (!w->apart) {
        w->packed_seq = (uint8_t)(seq + 1);
    }
    return 1;
}

int wire_next(struct wire *w, struct packet *p, struct errmsg *em)
{
    for (;;) {
        int rc = next_packet(w, p, em);
        if (rc) {
            return rc;
        }
        rc = w->compress ? next_frame(w, em) : 0;
        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            break;
        }
    }
    if (w->in.cap > KEEP) {
        compact(w);
    }
    return w->failed ? err_set(em, w->failed, "%s", w->why.text) : 0;
}

/* ---- out ---- */

static size_t fragments(size_t n)
{
    return n / PACKET_FRAGMENT + 1;
}

static void put_header(struct wire *w, uint8_t *at, size_t n)
{
    at[0] = (uint8_t)n;
    at[1] = (uint8_t)(n >> 8);
    at[2] = (uint8_t)(n >> 16);
    at[3] = w->seq++;
}

int wire_put2(struct wire *w, const void *head, size_t nhead, const void *body, size_t nbody)
{
    CHECK(!w->building && !w->open_left);
    if (nhead > WIRE_OUTPUT_MAX || nbody > WIRE_OUTPUT_MAX) {
        return w->plain.err = E_TOOBIG;
    }
    size_t left = nhead + nbody;
    uint8_t *to = buf_extend(&w->plain, left + fragments(left) * PACKET_HEADER);
    if (!to) {
        return w->plain.err;
    }
    const uint8_t *h = head;
    const uint8_t *b = body;
    size_t n;
    do {
        n = left < PACKET_FRAGMENT ? left : PACKET_FRAGMENT;
        put_header(w, to, n);
        to += PACKET_HEADER;
        size_t of_head = nhead < n ? nhead : n;
        if (of_head) {
            memcpy(to, h, of_head);
            h += of_head;
            nhead -= of_head;
        }
        if (n > of_head) {
            memcpy(to + of_head, b, n - of_head);
            b += n - of_head;
        }
        to += n;
        left -= n;
    } while (n == PACKET_FRAGMENT);
    return 0;
}

int wire_put(struct wire *w, const void *payload, size_t n)
{
    return wire_put2(w, NULL, 0, payload, n);
}

struct buf *wire_begin(struct wire *w)
{
    CHECK(!w->building && !w->open_left);
    w->building = true;
    w->start = w->plain.len;
    buf_zero(&w->plain, PACKET_HEADER);
    return &w->plain;
}

static int open_fragment(struct wire *w)
{
    size_t n = w->open_left < PACKET_FRAGMENT ? w->open_left : PACKET_FRAGMENT;
    uint8_t *to = buf_extend(&w->plain, PACKET_HEADER);
    if (to) {
        put_header(w, to, n);
        w->fragment_left = n;
        w->fragment_full = n == PACKET_FRAGMENT;
    }
    return w->plain.err;
}

int wire_open(struct wire *w, size_t n)
{
    CHECK(!w->building && !w->open_left && n > 0);
    w->open_left = n;
    return open_fragment(w);
}

int wire_more(struct wire *w, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    CHECK(n <= w->open_left);
    while (n && !w->plain.err) {
        size_t part = n < w->fragment_left ? n : w->fragment_left;
        buf_bytes(&w->plain, from, part);
        from += part;
        n -= part;
        w->open_left -= part;
        w->fragment_left -= part;
        if (!w->fragment_left && w->fragment_full) {
            (void)open_fragment(w); /* an empty one behind a last one that is full */
        }
    }
    return w->plain.err;
}

bool wire_is_open(const struct wire *w)
{
    return w->open_left > 0;
}

/* Makes room for the further headers of a large packet: its fragments move back, the last one first. */
static void split(struct wire *w, size_t n)
{
    size_t count = fragments(n);
    if (!buf_extend(&w->plain, (count - 1) * PACKET_HEADER)) {
        return;
    }
    uint8_t *first = w->plain.data + w->start + PACKET_HEADER;
    for (size_t i = count - 1; i > 0; i--) {
        size_t at = i * PACKET_FRAGMENT;
        size_t len = n - at < PACKET_FRAGMENT ? n - at : PACKET_FRAGMENT;
        memmove(first + at + i * PACKET_HEADER, first + at, len);
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = i * PACKET_FRAGMENT;
        size_t len = n - at < PACKET_FRAGMENT ? n - at : PACKET_FRAGMENT;
        put_header(w, first - PACKET_HEADER + at + i * PACKET_HEADER, len);
    }
}

int wire_end(struct wire *w)
{
    CHECK(w->building);
    w->building = false;
    if (!w->plain.err) {
        CHECK(w->plain.len >= w->start + PACKET_HEADER);
        size_t n = w->plain.len - w->start - PACKET_HEADER;
        if (n < PACKET_FRAGMENT) {
            put_header(w, w->plain.data + w->start, n);
        } else {
            split(w, n);
        }
    }
    if (w->plain.err) {
        w->plain.len = w->start; /* complete packets only */
    }
    return w->plain.err;
}

void wire_cancel(struct wire *w)
{
    CHECK(w->building);
    w->building = false;
    w->plain.len = w->start;
    w->plain.err = 0;
}

/* Its content has gone on to the next stage. */
static void emptied(struct buf *b)
{
    if (b->cap > KEEP) {
        int err = b->err;
        buf_free(b);
        b->err = err;
    } else {
        b->len = 0;
    }
}

/* Makes frames of what was put so far: they take their numbers now. */
static void pack(struct wire *w)
{
    if (!w->compress) {
        return;
    }
    if (w->plain.len) {
        compress_pack(w->compress, w->plain.data, w->plain.len, &w->packed_seq, &w->packed);
        emptied(&w->plain);
    }
    if (w->plain.err && !w->packed.err) {
        w->packed.err = w->plain.err;
    }
}

struct buf *wire_output(struct wire *w)
{
    CHECK(!w->building);
    struct buf *from = &w->plain;
    if (w->compress) {
        pack(w);
        from = &w->packed;
    }
    if (!w->tls) {
        return from;
    }
    if (from->len && tls_ready(w->tls) && !w->sealed.err) {
        int rc = tls_write(w->tls, from->data, from->len, &w->sealed, NULL);
        if (rc) {
            w->sealed.err = rc;
        }
        emptied(from);
    }
    if (from->err && !w->sealed.err) {
        w->sealed.err = from->err;
    }
    return &w->sealed;
}

/* ---- sequence ---- */

void wire_seq_reset(struct wire *w)
{
    pack(w);
    w->packed_seq = 0;
    w->seq = 0;
    w->apart = false;
}

void wire_seq_set(struct wire *w, uint8_t seq)
{
    pack(w);
    w->packed_seq = seq;
    w->seq = seq;
}

void wire_seq_apart(struct wire *w, bool apart)
{
    w->apart = apart;
}

void wire_seq_check(struct wire *w, bool check)
{
    w->check = check;
}

/* ---- TLS ---- */

int wire_start_tls(struct wire *w, struct tls *tls, struct errmsg *em)
{
    CHECK(!w->tls && !w->building);
    w->tls = tls;
    buf_move(&w->sealed, &w->plain);
    w->sealed.max = WIRE_OUTPUT_MAX + WIRE_OUTPUT_MAX / 64;
    if (w->failed) {
        return err_set(em, w->failed, "%s", w->why.text);
    }
    CHECK(!w->joining);
    struct buf early; /* fed already: the peer's first flight */
    size_t skip = w->at;
    buf_init(&early, 0);
    buf_move(&early, &w->in);
    w->at = 0;
    struct errmsg why;
    const uint8_t *rest = early.len > skip ? early.data + skip : NULL;
    int rc = tls_feed(tls, rest, early.len - skip, &w->in, &w->sealed, &why);
    buf_free(&early);
    return rc ? fail(w, rc, em, why.text) : 0;
}

bool wire_has_tls(const struct wire *w)
{
    return w->tls != NULL;
}

const struct tls *wire_tls(const struct wire *w)
{
    return w->tls;
}

/* ---- compression ---- */

int wire_start_compress(struct wire *w, const struct compress_choice *choice, struct errmsg *em)
{
    CHECK(!w->compress && !w->building && !w->joining);
    struct compress *c = compress_new(choice);
    if (!c) {
        return fail(w, E_NOMEM, em, "no memory for compression");
    }
    buf_bytes(&w->packed, w->plain.data, w->plain.len); /* leaves as it is */
    emptied(&w->plain);
    w->compress = c;
    w->kind = choice->kind;
    w->packed_seq = w->seq;
    buf_bytes(&w->packed_in, w->in.len > w->at ? w->in.data + w->at : NULL, w->in.len - w->at);
    buf_reset(&w->in);
    w->at = 0;
    if (w->packed_in.err) {
        return fail(w, w->packed_in.err, em, "more bytes arrived than a packet may have");
    }
    return 0;
}

enum compress_kind wire_compression(const struct wire *w)
{
    return w->kind;
}
