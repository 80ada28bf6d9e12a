/* cursor.h: reads bytes that somebody else wrote.
 *
 * The error is sticky: a read past the end sets `bad`, gives zeros (or an empty range) and so do all later reads. A parser
 * reads its fields without a check each and asks once at the end: cur_ok (nothing was missing) or cur_done (nothing
 * was missing and nothing is left over). The cursor does not own the bytes. */
#ifndef HOLDFAST_CURSOR_H
#define HOLDFAST_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cur {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

struct cur cur_of(const void *data, size_t n);

static inline size_t cur_left(const struct cur *c)
{
    return c->bad ? 0 : (size_t)(c->end - c->p);
}

static inline bool cur_ok(const struct cur *c)
{
    return !c->bad;
}

static inline bool cur_done(const struct cur *c)
{
    return !c->bad && c->p == c->end;
}

void cur_fail(struct cur *c); /* a value was read that cannot be */

uint8_t cur_u8(struct cur *c);
uint16_t cur_u16(struct cur *c);
uint32_t cur_u24(struct cur *c);
uint32_t cur_u32(struct cur *c);
uint64_t cur_u48(struct cur *c);
uint64_t cur_u64(struct cur *c);
uint64_t cur_le(struct cur *c, size_t width); /* 1 to 8 bytes */
uint64_t cur_lenenc(struct cur *c);           /* 0xfb (NULL) and 0xff are bad here */
uint8_t cur_peek_u8(const struct cur *c);     /* 0 at the end, does not set bad */

/* n bytes where they lie; NULL when they are not there. For n = 0 a valid pointer. */
const uint8_t *cur_bytes(struct cur *c, uint64_t n);
void cur_skip(struct cur *c, uint64_t n);
void cur_copy(struct cur *c, void *to, size_t n); /* zeros when they are not there */

/* The rest: all that is left. */
const uint8_t *cur_rest(struct cur *c, size_t *n);

/* A cursor over the next n bytes; bad if they are not there. */
struct cur cur_sub(struct cur *c, uint64_t n);

/* Text up to a NUL, which is passed over; bad when there is none. *n is its length without the NUL. */
const char *cur_str_nul(struct cur *c, size_t *n);

/* A length-encoded string. */
const uint8_t *cur_lenenc_bytes(struct cur *c, size_t *n);

/* Copies n bytes of text into a C string of `size` bytes; bad when it does not fit or holds a NUL. */
void cur_text(struct cur *c, uint64_t n, char *to, size_t size);

#endif
