/* crc.c: both by ISA-L, which takes the processor's instructions for them. CRC32C is zlib's way of giving a seed here too: 0 to begin, and what
 * came out to go on. */
#include "protocol/base/crc.h"

#include <isa-l/crc.h>

enum { PART = 1 << 30 }; /* it counts in int */

uint32_t crc32_of(uint32_t seed, const void *data, size_t n)
{
    return crc32_gzip_refl(seed, data, n);
}

uint32_t crc32c_of(uint32_t seed, const void *data, size_t n)
{
    uint8_t *p = (uint8_t *)(uintptr_t)data; /* it takes what it only reads as if it would write */
    uint32_t crc = ~seed;
    for (; n > PART; n -= PART, p += PART) {
        crc = crc32_iscsi(p, PART, crc);
    }
    return ~crc32_iscsi(p, (int)n, crc);
}
