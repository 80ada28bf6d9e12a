/* wal_format.c: bytes of segment headers and records. Pure; the checksum covers everything behind itself. */
#include "raft/wal_format.h"

#include "protocol/base/buf.h"
#include "protocol/base/crc.h"

#include <stdio.h>
#include <string.h>

uint32_t wal_record_put(uint8_t *to, const struct wal_head *head, const void *data)
{
    uint8_t *p = le_put(to + 8, head->prev, 4);
    p = le_put(p, head->epoch, 8);
    p = le_put(p, head->write_no, 8);
    p = le_put(p, head->index, 8);
    p = le_put(p, head->term, 8);
    p = le_put(p, head->len, 4);
    p = le_put(p, head->type, 2);
    p = le_put(p, head->flags, 2);
    le_put(p, 0, 4);
    if (head->len) {
        memcpy(to + WAL_RECORD_HEAD, data, head->len);
    }
    uint32_t crc = crc32c_of(0, to + 8, WAL_RECORD_HEAD - 8 + (size_t)head->len);
    le_put(to, WAL_RECORD_MAGIC, 4);
    le_put(to + 4, crc, 4);
    return crc;
}

bool wal_record_get(const uint8_t *at, size_t left, uint64_t epoch, struct wal_head *head, const uint8_t **data)
{
    struct cur c = cur_of(at, left);
    uint32_t magic = cur_u32(&c);
    head->crc = cur_u32(&c);
    head->prev = cur_u32(&c);
    head->epoch = cur_u64(&c);
    head->write_no = cur_u64(&c);
    head->index = cur_u64(&c);
    head->term = cur_u64(&c);
    head->len = cur_u32(&c);
    head->type = cur_u16(&c);
    head->flags = cur_u16(&c);
    cur_skip(&c, 4);
    *data = cur_bytes(&c, head->len);
    if (!cur_ok(&c) || magic != WAL_RECORD_MAGIC || head->epoch != epoch) {
        return false;
    }
    return crc32c_of(0, at + 8, WAL_RECORD_HEAD - 8 + (size_t)head->len) == head->crc;
}

uint32_t wal_header_put(uint8_t *block, uint64_t epoch, uint64_t write_no, uint32_t prev)
{
    memset(block, 0, ENV_BLOCK);
    uint8_t *p = le_put(block, WAL_SEGMENT_MAGIC, 8);
    p = le_put(p, WAL_VERSION, 4);
    p = le_put(p, epoch, 8);
    p = le_put(p, write_no, 8);
    p = le_put(p, prev, 4);
    uint32_t crc = crc32c_of(0, block, WAL_HEADER_BYTES - 4);
    le_put(p, crc, 4);
    return crc;
}

bool wal_header_get(const uint8_t *block, size_t n, struct wal_header *header)
{
    struct cur c = cur_of(block, n);
    uint64_t magic = cur_u64(&c);
    header->version = cur_u32(&c);
    header->epoch = cur_u64(&c);
    header->write_no = cur_u64(&c);
    header->prev = cur_u32(&c);
    header->crc = cur_u32(&c);
    return cur_ok(&c) && magic == WAL_SEGMENT_MAGIC && header->crc == crc32c_of(0, block, WAL_HEADER_BYTES - 4);
}

void wal_path(const struct wal *wal, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", wal->dir, name);
}

void wal_segment_path(const struct wal *wal, uint64_t epoch, char *path, size_t size)
{
    snprintf(path, size, "%s/wal-%016llx", wal->dir, (unsigned long long)epoch);
}
