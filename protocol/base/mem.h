/* mem.h: memory for small things of our own. A node that cannot have a few bytes cannot keep any promise: it ends with a message and
 * its peers go on, instead of limping through paths that no test has seen. What the network or a file decides the size of goes through
 * struct buf, whose maximum and error are checked. */
#ifndef HOLDFAST_MEM_H
#define HOLDFAST_MEM_H

#include <stddef.h>

void *mem_new(size_t n);                        /* zeroed */
void *mem_array(size_t count, size_t size);     /* zeroed */
void *mem_grow(void *p, size_t count, size_t size); /* realloc; what is new is not zeroed */
void *mem_dup(const void *p, size_t n);
char *mem_str(const char *s);                   /* NULL stays NULL */
void mem_free(void *p);

/* A string built like printf's. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
