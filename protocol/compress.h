/* compress.h: the frames of MySQL's compressed protocol: zlib (CLIENT_COMPRESS) and zstd.
 *
 * A frame is a head of 7 bytes (length of what follows: 3, number: 1, length once unpacked: 3) and the
 * bytes; an unpacked length of 0 says that they are stored as they are. Packets are cut into frames without
 * regard to where they begin and end. So a frame is at most 16 MiB, packed and unpacked; nothing larger is
 * ever made room for. Owner: the wire; one thread at a time; freed by compress_free. */
#ifndef HOLDFAST_COMPRESS_H
#define HOLDFAST_COMPRESS_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"

#define COMPRESS_KINDS(X)                                                                                    \
    X(NONE, "none")                                                                                          \
    X(ZLIB, "zlib")                                                                                          \
    X(ZSTD, "zstd")

enum compress_kind {
#define COMPRESS_KIND_ENUM(name, text) COMPRESS_##name,
    COMPRESS_KINDS(COMPRESS_KIND_ENUM)
#undef COMPRESS_KIND_ENUM
};

enum {
    COMPRESS_HEAD = 7,
    COMPRESS_FRAME_MAX = 0xffffff,
    COMPRESS_ZSTD_LEVEL = 3,
    COMPRESS_ZSTD_LEVEL_MAX = 22
};

struct compress_choice {
    enum compress_kind kind;
    int level; /* zstd: 1 to 22 */
};

const char *compress_name(enum compress_kind kind);
/* "" and "none", "zlib", "zstd", "zstd:LEVEL", in any case; E_INVALID. */
int compress_parse(const char *text, struct compress_choice *choice);

struct compress;

/* kind: not NONE. NULL when there is no memory. */
struct compress *compress_new(const struct compress_choice *choice);
void compress_free(struct compress *c); /* NULL is fine */

/* Appends n bytes to `out` as frames, numbered from *seq on. 0 or out's error. */
int compress_pack(struct compress *c, const void *data, size_t n, uint8_t *seq, struct buf *out);

/* Unpacks the first frame of n bytes: 1: what it holds was appended to `out`, *used bytes were its own, *seq
 * its number. 0: it is not there whole. E_MALFORMED; E_TOOBIG, E_NOMEM: out's error. */
int compress_unpack(struct compress *c, const uint8_t *data, size_t n, size_t *used, uint8_t *seq,
                    struct buf *out, struct errmsg *em);

#endif
