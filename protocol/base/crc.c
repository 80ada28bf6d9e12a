/* crc.c: CRC32 by zlib; CRC32C by the processor's own instruction, else by slices of eight tables. Both ways of
 * CRC32C give the same values; a test compares them. */
#include "protocol/base/crc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

enum { CRC32C_POLY = 0x82f63b78 };

uint32_t crc32_of(uint32_t seed, const void *data, size_t n)
{
    return (uint32_t)crc32_z(seed, data, n);
}

static uint32_t table[8][256];
static atomic_bool table_ready;

/* Filling it twice from two threads writes the same values. */
static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) {
            c = c & 1 ? c >> 1 ^ (uint32_t)CRC32C_POLY : c >> 1;
        }
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
        }
    }
    atomic_store(&table_ready, true);
}

uint32_t crc32c_portable(uint32_t seed, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t crc = ~seed;
    if (!atomic_load(&table_ready)) {
        fill_table();
    }
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t lo = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        crc = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^ table[4][lo >> 24] ^
              table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    }
    for (; n; n--, p++) {
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t seed, const void *data, size_t n)
{
    const uint8_t *p = data;
    uint64_t crc = ~seed & 0xffffffffu;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        crc = _mm_crc32_u64(crc, word);
    }
    for (; n; n--, p++) {
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    }
    return ~(uint32_t)crc;
}

uint32_t crc32c_of(uint32_t seed, const void *data, size_t n)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_hardware(seed, data, n) : crc32c_portable(seed, data, n);
}
#else
uint32_t crc32c_of(uint32_t seed, const void *data, size_t n)
{
    return crc32c_portable(seed, data, n);
}
#endif
