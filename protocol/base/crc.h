/* crc.h: the two checksums in use. CRC32 (zlib's polynomial) guards binlog events, CRC32C our own files and messages. */
#ifndef HOLDFAST_CRC_H
#define HOLDFAST_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_of(uint32_t seed, const void *data, size_t n);  /* seed 0 to begin */
uint32_t crc32c_of(uint32_t seed, const void *data, size_t n);

#endif
