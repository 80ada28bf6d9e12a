/* cursor.c: the checked cursor. Every comparison is "wanted > left", never "position + wanted > end". */
#include "protocol/base/cursor.h"

#include "protocol/base/check.h"

#include <string.h>

struct cur cur_of(const void *data, size_t n)
{
    static const uint8_t nothing[1];
    const uint8_t *p = data ? data : nothing;
    return (struct cur){.p = p, .end = p + (data ? n : 0)};
}

void cur_fail(struct cur *c)
{
    c->bad = true;
}

const uint8_t *cur_bytes(struct cur *c, uint64_t n)
{
    if (c->bad || n > (uint64_t)(c->end - c->p)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += n;
    return p;
}

uint64_t cur_le(struct cur *c, size_t width)
{
    CHECK(width >= 1 && width <= 8);
    const uint8_t *p = cur_bytes(c, width);
    uint64_t v = 0;
    if (p) {
        for (size_t i = width; i > 0; i--) {
            v = v << 8 | p[i - 1];
        }
    }
    return v;
}

uint8_t cur_u8(struct cur *c)
{
    return (uint8_t)cur_le(c, 1);
}

uint16_t cur_u16(struct cur *c)
{
    return (uint16_t)cur_le(c, 2);
}

uint32_t cur_u24(struct cur *c)
{
    return (uint32_t)cur_le(c, 3);
}

uint32_t cur_u32(struct cur *c)
{
    return (uint32_t)cur_le(c, 4);
}

uint64_t cur_u48(struct cur *c)
{
    return cur_le(c, 6);
}

uint64_t cur_u64(struct cur *c)
{
    return cur_le(c, 8);
}

uint64_t cur_lenenc(struct cur *c)
{
    uint8_t first = cur_u8(c);
    switch (first) {
    case 0xfc:
        return cur_u16(c);
    case 0xfd:
        return cur_u24(c);
    case 0xfe:
        return cur_u64(c);
    case 0xfb:
    case 0xff:
        c->bad = true;
        return 0;
    default:
        return first;
    }
}

uint8_t cur_peek_u8(const struct cur *c)
{
    return cur_left(c) ? *c->p : 0;
}

void cur_skip(struct cur *c, uint64_t n)
{
    (void)cur_bytes(c, n);
}

void cur_copy(struct cur *c, void *to, size_t n)
{
    const uint8_t *p = cur_bytes(c, n);
    if (!p) {
        memset(to, 0, n);
    } else if (n) {
        memcpy(to, p, n);
    }
}

const uint8_t *cur_rest(struct cur *c, size_t *n)
{
    *n = cur_left(c);
    return cur_bytes(c, *n);
}

struct cur cur_sub(struct cur *c, uint64_t n)
{
    const uint8_t *p = cur_bytes(c, n);
    struct cur sub = cur_of(p, p ? (size_t)n : 0);
    sub.bad = !p;
    return sub;
}

const char *cur_str_nul(struct cur *c, size_t *n)
{
    const uint8_t *nul = c->bad || c->p == c->end ? NULL : memchr(c->p, 0, (size_t)(c->end - c->p));
    *n = 0;
    if (!nul) {
        c->bad = true;
        return NULL;
    }
    const char *text = (const char *)c->p;
    *n = (size_t)(nul - c->p);
    c->p = nul + 1;
    return text;
}

const uint8_t *cur_lenenc_bytes(struct cur *c, size_t *n)
{
    uint64_t len = cur_lenenc(c);
    const uint8_t *p = cur_bytes(c, len);
    *n = p ? (size_t)len : 0;
    return p;
}

void cur_text(struct cur *c, uint64_t n, char *to, size_t size)
{
    CHECK(size > 0);
    to[0] = 0;
    const uint8_t *p = cur_bytes(c, n);
    if (!p) {
        return;
    }
    if (n >= size || memchr(p, 0, (size_t)n)) {
        c->bad = true;
        return;
    }
    memcpy(to, p, (size_t)n);
    to[n] = 0;
}
