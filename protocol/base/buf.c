/* buf.c: the bounded buffer. Grows by doubling, never beyond its maximum; see buf.h for the sticky error. */
#include "protocol/base/buf.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 256 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_free(struct buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->err = 0;
}

void buf_move(struct buf *to, struct buf *from)
{
    size_t max = from->max;
    free(to->data);
    *to = *from;
    buf_init(from, max);
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->err) {
        return NULL;
    }
    if (n > b->max || b->len > b->max - n) {
        b->err = E_TOOBIG;
        return NULL;
    }
    size_t need = b->len + n;
    if (need > b->cap || !b->data) {
        size_t cap = b->cap ? b->cap : BUF_FIRST;
        while (cap < need) {
            cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        }
        if (cap > b->max) {
            cap = b->max;
        }
        uint8_t *data = realloc(b->data, cap + 1); /* one more for buf_cstr's NUL */
        if (!data) {
            b->err = E_NOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
    uint8_t *p = buf_reserve(b, n);
    if (p) {
        b->len += n;
    }
    return p;
}

void buf_bytes(struct buf *b, const void *data, size_t n)
{
    uint8_t *p = buf_extend(b, n);
    if (p && n) {
        memcpy(p, data, n);
    }
}

void buf_zero(struct buf *b, size_t n)
{
    uint8_t *p = buf_extend(b, n);
    if (p) {
        memset(p, 0, n);
    }
}

void buf_str(struct buf *b, const char *s)
{
    buf_bytes(b, s, strlen(s));
}

void buf_str_nul(struct buf *b, const char *s)
{
    buf_bytes(b, s, strlen(s) + 1);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0) {
        b->err = E_INVALID;
        return;
    }
    /* room for vsnprintf's NUL is always there: see buf_reserve */
    uint8_t *p = buf_extend(b, (size_t)n);
    if (p) {
        vsnprintf((char *)p, (size_t)n + 1, fmt, ap);
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

uint8_t *le_put(uint8_t *to, uint64_t v, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        *to++ = (uint8_t)(v >> (8 * i));
    }
    return to;
}

static void append_le(struct buf *b, uint64_t v, size_t width)
{
    uint8_t *p = buf_extend(b, width);
    if (p) {
        le_put(p, v, width);
    }
}

void buf_u8(struct buf *b, uint8_t v)
{
    append_le(b, v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
    append_le(b, v, 2);
}

void buf_u24(struct buf *b, uint32_t v)
{
    append_le(b, v, 3);
}

void buf_u32(struct buf *b, uint32_t v)
{
    append_le(b, v, 4);
}

void buf_u48(struct buf *b, uint64_t v)
{
    append_le(b, v, 6);
}

void buf_u64(struct buf *b, uint64_t v)
{
    append_le(b, v, 8);
}

void buf_lenenc(struct buf *b, uint64_t v)
{
    if (v < 251) {
        buf_u8(b, (uint8_t)v);
    } else if (v <= UINT16_MAX) {
        buf_u8(b, 0xfc);
        buf_u16(b, (uint16_t)v);
    } else if (v <= 0xffffff) {
        buf_u8(b, 0xfd);
        buf_u24(b, (uint32_t)v);
    } else {
        buf_u8(b, 0xfe);
        buf_u64(b, v);
    }
}

void buf_lenenc_bytes(struct buf *b, const void *data, size_t n)
{
    buf_lenenc(b, n);
    buf_bytes(b, data, n);
}

void buf_lenenc_str(struct buf *b, const char *s)
{
    buf_lenenc_bytes(b, s, strlen(s));
}

static void overwrite_le(struct buf *b, size_t at, uint64_t v, size_t width)
{
    if (b->err) {
        return;
    }
    if (at > b->len || width > b->len - at) {
        b->err = E_INVALID;
        return;
    }
    le_put(b->data + at, v, width);
}

void buf_put_u8(struct buf *b, size_t at, uint8_t v)
{
    overwrite_le(b, at, v, 1);
}

void buf_put_u24(struct buf *b, size_t at, uint32_t v)
{
    overwrite_le(b, at, v, 3);
}

void buf_put_u32(struct buf *b, size_t at, uint32_t v)
{
    overwrite_le(b, at, v, 4);
}

void buf_put_u64(struct buf *b, size_t at, uint64_t v)
{
    overwrite_le(b, at, v, 8);
}

void buf_consume(struct buf *b, size_t n)
{
    CHECK(n <= b->len);
    if (n) {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
}

const char *buf_cstr(struct buf *b)
{
    if (!b->data || b->err) {
        return "";
    }
    b->data[b->len] = 0;
    return (const char *)b->data;
}
