/* compress.c: packs and unpacks the frames of the compressed protocol.
 *
 * Happy path: what is to be sent is cut into pieces, each compressed into a frame of its own, or stored when
 * it is short or does not become smaller. What arrives is unpacked into exactly the room that its head asks
 * for. Failure modes: a frame that does not unpack to the length it claims, or holds anything else behind
 * it: E_MALFORMED. The head's three bytes bound both lengths, so a hostile frame costs 16 MiB at most. */
#include "protocol/compress.h"

#include "protocol/base/check.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"

#include <zlib.h>
#include <zstd.h>

#include <string.h>
#include <strings.h>

enum {
    PIECE = 1 << 20,  /* of what we send: bounds the memory for its compressed form */
    SHORT_BELOW = 50, /* not worth it, says MySQL too */
};

struct compress {
    struct compress_choice choice;
    z_stream in;
    z_stream out;
    bool in_open;
    bool out_open;
    ZSTD_DCtx *zin;
    ZSTD_CCtx *zout;
};

const char *compress_name(enum compress_kind kind)
{
    static const char *const names[] = {
#define COMPRESS_KIND_TEXT(name, text) text,
        COMPRESS_KINDS(COMPRESS_KIND_TEXT)
#undef COMPRESS_KIND_TEXT
    };
    CHECK((size_t)kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}

int compress_parse(const char *text, struct compress_choice *choice)
{
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    int level = 0;
    *choice = (struct compress_choice){.kind = COMPRESS_NONE};
    for (const char *digit = colon ? colon + 1 : ""; *digit; digit++) {
        if (*digit < '0' || *digit > '9' || level > COMPRESS_ZSTD_LEVEL_MAX) {
            return E_INVALID;
        }
        level = level * 10 + (*digit - '0');
    }
    for (int k = COMPRESS_NONE; k <= COMPRESS_ZSTD; k++) {
        const char *name = compress_name((enum compress_kind)k);
        if (strlen(name) == n && strncasecmp(text, name, n) == 0) {
            choice->kind = (enum compress_kind)k;
            choice->level = k == COMPRESS_ZSTD ? COMPRESS_ZSTD_LEVEL : 0;
            if (!colon) {
                return 0;
            }
            choice->level = level;
            return k == COMPRESS_ZSTD && level >= 1 && level <= COMPRESS_ZSTD_LEVEL_MAX ? 0 : E_INVALID;
        }
    }
    return text[0] ? E_INVALID : 0;
}

struct compress *compress_new(const struct compress_choice *choice)
{
    CHECK(choice->kind != COMPRESS_NONE);
    struct compress *c = mem_new(sizeof(*c));
    c->choice = *choice;
    bool ok;
    if (choice->kind == COMPRESS_ZLIB) {
        c->in_open = inflateInit(&c->in) == Z_OK;
        c->out_open = deflateInit(&c->out, Z_DEFAULT_COMPRESSION) == Z_OK;
        ok = c->in_open && c->out_open;
    } else {
        c->zin = ZSTD_createDCtx();
        c->zout = ZSTD_createCCtx();
        ok = c->zin && c->zout;
    }
    if (!ok) {
        compress_free(c);
        return NULL;
    }
    return c;
}

void compress_free(struct compress *c)
{
    if (!c) {
        return;
    }
    if (c->in_open) {
        inflateEnd(&c->in);
    }
    if (c->out_open) {
        deflateEnd(&c->out);
    }
    ZSTD_freeDCtx(c->zin);
    ZSTD_freeCCtx(c->zout);
    mem_free(c);
}

/* ---- out ---- */

/* Compresses into at most `room` bytes: how many it took, 0 when they are not enough. */
static size_t squeeze(struct compress *c, const uint8_t *data, size_t n, uint8_t *to, size_t room)
{
    if (c->choice.kind == COMPRESS_ZSTD) {
        size_t took = ZSTD_compressCCtx(c->zout, to, room, data, n, c->choice.level);
        return ZSTD_isError(took) ? 0 : took;
    }
    CHECK(deflateReset(&c->out) == Z_OK);
    c->out.next_in = (z_const Bytef *)data;
    c->out.avail_in = (uInt)n;
    c->out.next_out = to;
    c->out.avail_out = (uInt)room;
    return deflate(&c->out, Z_FINISH) == Z_STREAM_END ? room - c->out.avail_out : 0;
}

static void put_head(struct buf *out, size_t at, size_t packed, uint8_t seq, size_t plain)
{
    buf_put_u24(out, at, (uint32_t)packed);
    buf_put_u8(out, at + 3, seq);
    buf_put_u24(out, at + 4, (uint32_t)plain);
}

int compress_pack(struct compress *c, const void *data, size_t n, uint8_t *seq, struct buf *out)
{
    const uint8_t *p = data;
    while (n && !out->err) {
        size_t piece = n < PIECE ? n : PIECE;
        size_t at = out->len;
        uint8_t *to = buf_reserve(out, COMPRESS_HEAD + piece);
        if (!to) {
            break;
        }
        /* must become smaller, or is stored */
        size_t took = piece < SHORT_BELOW ? 0 : squeeze(c, p, piece, to + COMPRESS_HEAD, piece - 1);
        if (!took) {
            memcpy(to + COMPRESS_HEAD, p, piece);
        }
        out->len += COMPRESS_HEAD + (took ? took : piece);
        put_head(out, at, took ? took : piece, (*seq)++, took ? piece : 0);
        p += piece;
        n -= piece;
    }
    return out->err;
}

/* ---- in ---- */

/* Unpacks n bytes to exactly `size` bytes, or not at all. */
static bool expand(struct compress *c, const uint8_t *data, size_t n, uint8_t *to, size_t size)
{
    if (c->choice.kind == COMPRESS_ZSTD) {
        size_t got = ZSTD_decompressDCtx(c->zin, to, size, data, n);
        return !ZSTD_isError(got) && got == size;
    }
    CHECK(inflateReset(&c->in) == Z_OK);
    c->in.next_in = (z_const Bytef *)data;
    c->in.avail_in = (uInt)n;
    c->in.next_out = to;
    c->in.avail_out = (uInt)size;
    return inflate(&c->in, Z_FINISH) == Z_STREAM_END && c->in.avail_out == 0 && c->in.avail_in == 0;
}

int compress_unpack(struct compress *c, const uint8_t *data, size_t n, size_t *used, uint8_t *seq,
                    struct buf *out, struct errmsg *em)
{
    struct cur cur = cur_of(data, n);
    uint32_t packed = cur_u24(&cur);
    uint8_t number = cur_u8(&cur);
    uint32_t plain = cur_u24(&cur);
    const uint8_t *body = cur_bytes(&cur, packed);
    if (!cur_ok(&cur)) {
        return 0;
    }
    *used = COMPRESS_HEAD + (size_t)packed;
    *seq = number;
    if (plain == 0) {
        buf_bytes(out, body, packed);
    } else {
        uint8_t *to = buf_reserve(out, plain);
        if (to && !expand(c, body, packed, to, plain)) {
            return err_set(em, E_MALFORMED, "a %s frame of %u bytes does not unpack to the %u it claims",
                           compress_name(c->choice.kind), (unsigned)packed, (unsigned)plain);
        }
        out->len += to ? plain : 0;
    }
    return out->err ? err_set(em, out->err, "more bytes arrived than a packet may have") : 1;
}
