/* pages.h: the content of a simulated file: sparse, in pages that copies share until one of them writes. A
 * page of zeros takes no memory, so that preallocated logs are cheap, and so is the copy of a whole disk. */
#ifndef HOLDFAST_SIM_PAGES_H
#define HOLDFAST_SIM_PAGES_H

#include <stddef.h>
#include <stdint.h>

struct page;

struct pages {
    struct page **v; /* NULL: zeros */
    size_t count;
    uint64_t size; /* of the content, in bytes */
};

void pages_copy(struct pages *to, const struct pages *from); /* `to` is empty before */
void pages_free(struct pages *p);
void pages_write(struct pages *p, const void *data, size_t n, uint64_t at);  /* data NULL: zeros; grows */
size_t pages_read(const struct pages *p, void *data, size_t n, uint64_t at); /* short at the end only */
uint64_t pages_extent(const struct pages *p); /* behind it there are only zeros */
void pages_truncate(struct pages *p, uint64_t size);

#endif
