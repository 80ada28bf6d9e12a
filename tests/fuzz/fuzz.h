/* fuzz.h: what all fuzz targets share.
 *
 * A target fuzz_NAME.c defines LLVMFuzzerTestOneInput. It reads its input through struct cur: an input that
 * ends too early goes on with zeros, so every input is a valid one. It returns 0 always; what must not be
 * ends the process, by a sanitizer, a CHECK or a MUST. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "protocol/base/cursor.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that holds for every input. */
#define MUST(cond) ((cond) ? (void)0 : fuzz_failed(#cond, __FILE__, __LINE__))

static inline _Noreturn void fuzz_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: this does not hold: %s\n", file, line, what);
    abort();
}

/* A copy of exactly that size on the heap, so that a sanitizer sees a read past its end. Freed with free().
 */
static inline uint8_t *fuzz_exact(const void *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    MUST(copy);
    if (n) {
        memcpy(copy, data, n);
    }
    return copy;
}

/* The next n bytes of the input, or as many as there are. */
static inline const uint8_t *fuzz_take(struct cur *in, size_t n, size_t *got)
{
    *got = n < cur_left(in) ? n : cur_left(in);
    return cur_bytes(in, *got);
}

/* A piece with its length in front (two bytes). */
static inline const uint8_t *fuzz_piece(struct cur *in, size_t *n)
{
    size_t want = cur_left(in) >= 2 ? cur_u16(in) : 0;
    return fuzz_take(in, want, n);
}

/* A C string from a piece with one byte of length; a NUL inside ends it. */
static inline void fuzz_text(struct cur *in, char *text, size_t size)
{
    size_t n, want = cur_left(in) ? cur_u8(in) : 0;
    const uint8_t *p = fuzz_take(in, want < size ? want : size - 1, &n);
    if (n) {
        memcpy(text, p, n);
    }
    text[n] = '\0';
}

#endif
