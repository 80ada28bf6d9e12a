/* buf.h: a byte buffer that grows up to a maximum given when it is made.
 *
 * Errors are sticky: an append that would pass the maximum, or finds no memory, changes nothing and sets `err`
 * (E_TOOBIG, E_NOMEM); later appends are ignored. So a message is built without a check per field, with one at the end.
 * Integers are little endian, as on MySQL's wire and in all of our files. Owner: whoever holds the struct; one thread at a time. */
#ifndef HOLDFAST_BUF_H
#define HOLDFAST_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max;
    int err;
};

void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);    /* the buffer is as after buf_init */
void buf_reset(struct buf *b);   /* empties, keeps the memory, clears err */
void buf_move(struct buf *to, struct buf *from); /* `to` is freed first; `from` is empty afterwards and keeps its max */

/* Makes room for n more bytes and returns the place to write them to, NULL (and err) if not possible. Does not change len. */
uint8_t *buf_reserve(struct buf *b, size_t n);

/* Appends n bytes that the caller fills in; NULL on error. */
uint8_t *buf_extend(struct buf *b, size_t n);

void buf_bytes(struct buf *b, const void *data, size_t n);
void buf_zero(struct buf *b, size_t n);
void buf_str(struct buf *b, const char *s);     /* without its NUL */
void buf_str_nul(struct buf *b, const char *s); /* with it */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u24(struct buf *b, uint32_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u48(struct buf *b, uint64_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_lenenc(struct buf *b, uint64_t v);                        /* MySQL's length-encoded integer */
void buf_lenenc_bytes(struct buf *b, const void *data, size_t n);  /* length-encoded string */
void buf_lenenc_str(struct buf *b, const char *s);

/* Overwrites bytes that are there already (offset + width <= len, else err = E_INVALID). */
void buf_put_u8(struct buf *b, size_t at, uint8_t v);
void buf_put_u24(struct buf *b, size_t at, uint32_t v);
void buf_put_u32(struct buf *b, size_t at, uint32_t v);
void buf_put_u64(struct buf *b, size_t at, uint64_t v);

/* An integer of `width` bytes (1 to 8) into memory that is there; returns the place behind it. */
uint8_t *le_put(uint8_t *to, uint64_t v, size_t width);

/* Removes the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* The content as a C string: a NUL is kept behind it (not counted). "" when empty or failed. */
const char *buf_cstr(struct buf *b);

#endif
