/* mem.c: allocation that cannot fail, see mem.h. */
#include "protocol/base/mem.h"

#include "protocol/base/check.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t n)
{
    fprintf(stderr, "holdfast: out of memory (%zu bytes wanted)\n", n);
    fflush(stderr);
    abort();
}

void *mem_array(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) {
        out_of_memory(count * size);
    }
    return p;
}

void *mem_new(size_t n)
{
    return mem_array(1, n);
}

void *mem_grow(void *p, size_t count, size_t size)
{
    CHECK(size > 0 && count <= SIZE_MAX / size);
    void *q = realloc(p, count ? count * size : 1);
    if (!q) {
        out_of_memory(count * size);
    }
    return q;
}

void *mem_dup(const void *p, size_t n)
{
    void *q = mem_new(n);
    if (n) {
        memcpy(q, p, n);
    }
    return q;
}

char *mem_str(const char *s)
{
    return s ? mem_dup(s, strlen(s) + 1) : NULL;
}

void mem_free(void *p)
{
    free(p);
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    CHECK(n >= 0);
    char *s = mem_new((size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}
