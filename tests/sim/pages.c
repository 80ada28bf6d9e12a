/* pages.c: a table of shared pages; see pages.h. What lies behind the end within the last page is always
 * zero. */
#include "tests/sim/pages.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdbool.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

struct page {
    size_t refs;
    uint8_t data[PAGE_BYTES];
};

static void page_drop(struct page *page)
{
    if (page && --page->refs == 0) {
        mem_free(page);
    }
}

void pages_copy(struct pages *to, const struct pages *from)
{
    *to = (struct pages){.count = from->count, .size = from->size};
    to->v = from->count ? mem_array(from->count, sizeof *to->v) : NULL;
    for (size_t i = 0; i < from->count; i++) {
        to->v[i] = from->v[i];
        if (to->v[i]) {
            to->v[i]->refs++;
        }
    }
}

void pages_free(struct pages *p)
{
    for (size_t i = 0; i < p->count; i++) {
        page_drop(p->v[i]);
    }
    mem_free(p->v);
    *p = (struct pages){0};
}

static void grow(struct pages *p, uint64_t size)
{
    uint64_t need = (size + PAGE_BYTES - 1) / PAGE_BYTES;
    CHECK(need < (1u << 26)); /* a simulated file beyond 256 GiB is a mistake in the test */
    if (need > p->count) {
        size_t count = p->count ? p->count : 4;
        while (count < need) {
            count *= 2;
        }
        p->v = mem_grow(p->v, count, sizeof *p->v);
        memset(p->v + p->count, 0, (count - p->count) * sizeof *p->v);
        p->count = count;
    }
    if (size > p->size) {
        p->size = size;
    }
}

static bool all_zero(const uint8_t *data, size_t n)
{
    return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

/* A page of our own to write to. */
static struct page *page_own(struct pages *p, size_t i)
{
    struct page *old = p->v[i];
    if (old && old->refs == 1) {
        return old;
    }
    struct page *page = mem_new(sizeof *page);
    page->refs = 1;
    if (old) {
        memcpy(page->data, old->data, PAGE_BYTES);
        page_drop(old);
    }
    p->v[i] = page;
    return page;
}

static void write_page(struct pages *p, size_t i, size_t from, const uint8_t *data, size_t n)
{
    bool zeros = !data || all_zero(data, n);
    if (zeros && (n == PAGE_BYTES || !p->v[i])) {
        page_drop(p->v[i]);
        p->v[i] = NULL;
    } else if (zeros) {
        memset(page_own(p, i)->data + from, 0, n);
    } else {
        memcpy(page_own(p, i)->data + from, data, n);
    }
}

void pages_write(struct pages *p, const void *data, size_t n, uint64_t at)
{
    const uint8_t *bytes = data;
    if (n == 0) {
        return;
    }
    grow(p, at + n);
    while (n > 0) {
        size_t from = (size_t)(at % PAGE_BYTES);
        size_t k = PAGE_BYTES - from < n ? PAGE_BYTES - from : n;
        write_page(p, (size_t)(at / PAGE_BYTES), from, bytes, k);
        bytes = bytes ? bytes + k : NULL;
        at += k;
        n -= k;
    }
}

size_t pages_read(const struct pages *p, void *data, size_t n, uint64_t at)
{
    uint8_t *to = data;
    size_t got = 0;
    if (at >= p->size) {
        return 0;
    }
    if (n > p->size - at) {
        n = (size_t)(p->size - at);
    }
    while (got < n) {
        size_t i = (size_t)(at / PAGE_BYTES), from = (size_t)(at % PAGE_BYTES);
        size_t k = PAGE_BYTES - from < n - got ? PAGE_BYTES - from : n - got;
        if (p->v[i]) {
            memcpy(to + got, p->v[i]->data + from, k);
        } else {
            memset(to + got, 0, k);
        }
        got += k;
        at += k;
    }
    return got;
}

uint64_t pages_extent(const struct pages *p)
{
    size_t n = p->count;
    while (n > 0 && !p->v[n - 1]) {
        n--;
    }
    uint64_t end = (uint64_t)n * PAGE_BYTES;
    return end < p->size ? end : p->size;
}

void pages_truncate(struct pages *p, uint64_t size)
{
    if (size >= p->size) {
        grow(p, size);
        return;
    }
    size_t keep = (size_t)((size + PAGE_BYTES - 1) / PAGE_BYTES);
    for (size_t i = keep; i < p->count; i++) {
        page_drop(p->v[i]);
        p->v[i] = NULL;
    }
    if (size % PAGE_BYTES && p->v[keep - 1]) {
        size_t from = (size_t)(size % PAGE_BYTES);
        memset(page_own(p, keep - 1)->data + from, 0, PAGE_BYTES - from);
    }
    p->size = size;
}
