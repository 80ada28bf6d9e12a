/* wal_format.h: how segments and records lie on disk; shared by the writer (wal.c) and the recovery (wal_recover.c). */
#ifndef HOLDFAST_RAFT_WAL_FORMAT_H
#define HOLDFAST_RAFT_WAL_FORMAT_H

#include "raft/wal.h"

#include "protocol/base/cursor.h"

enum {
    WAL_VERSION = 1,
    WAL_HEADER_BYTES = 36,  /* of the segment header that count; the rest of block 0 is zero */
    WAL_RECORD_HEAD = 56,
    WAL_SPARES_MAX = 4,
    WAL_SPARES_READY = 2,   /* fewer: one is made ahead */
    WAL_ZERO_CHUNK = 1 << 20,
    WAL_NAME_MAX = 32,
};

/* Record types beside raft's own (1 to 255). */
enum { WAL_TYPE_TRUNCATE = 0x100, WAL_TYPE_RESET = 0x101 };

enum { WAL_LAST_OF_WRITE = 1 }; /* flag */

#define WAL_SEGMENT_MAGIC 0x314c4157534c4448ull /* "HDLSWAL1" */
#define WAL_RECORD_MAGIC 0x52574648u            /* "HFWR" */

struct wal_segment {
    uint64_t epoch;
    uint64_t max_index; /* highest index of a record in it; 0: none */
};

struct wal {
    struct env *env;
    char *dir;
    struct wal_segment *segments; /* oldest first; the last is the one being written */
    size_t n_segments;
    uint64_t next_spare;          /* number for the next spare's name */
    char (*spares)[WAL_NAME_MAX];
    size_t n_spares;
    bool spare_begun;             /* one more is being made */
    bool spare_failed;            /* none is begun until the next segment */
    struct env_file *file;        /* of the last segment */
    uint64_t end;                 /* where the next write begins: a multiple of ENV_BLOCK */
    uint64_t write_no;            /* of the next write */
    uint32_t chain;               /* checksum of the last record (of the segment header when there is none) */
    uint8_t *block;               /* aligned, WAL_WRITE_MAX + one block */
};

struct wal_head { /* a record's header, decoded */
    uint32_t crc;
    uint32_t prev;
    uint64_t epoch;
    uint64_t write_no;
    uint64_t index;
    uint64_t term;
    uint32_t len;
    uint16_t type;
    uint16_t flags;
};

/* Writes head and data to `to`; returns the record's checksum. `to` has room for WAL_RECORD_HEAD + len. */
uint32_t wal_record_put(uint8_t *to, const struct wal_head *head, const void *data);

/* Reads the record at `at`; false when there is no whole and intact one of this epoch there. */
bool wal_record_get(const uint8_t *at, size_t left, uint64_t epoch, struct wal_head *head, const uint8_t **data);

struct wal_header { /* a segment's header, decoded */
    uint32_t version;
    uint64_t epoch;
    uint64_t write_no; /* of the first write in it */
    uint32_t prev;     /* checksum of the last record in the segment before it */
    uint32_t crc;      /* begins the chain */
};

/* Returns the checksum that begins the chain. */
uint32_t wal_header_put(uint8_t *block, uint64_t epoch, uint64_t write_no, uint32_t prev);
bool wal_header_get(const uint8_t *block, size_t n, struct wal_header *header);

void wal_segment_path(const struct wal *wal, uint64_t epoch, char *path, size_t size);
void wal_path(const struct wal *wal, const char *name, char *path, size_t size);

int wal_roll(struct wal *wal, struct errmsg *em);               /* begins a new segment */
/* Durably, from `from` to a segment's end. `zeros`: WAL_ZERO_CHUNK bytes, aligned; are zeroed. */
int wal_zero(struct env_file *file, uint64_t from, uint8_t *zeros, struct errmsg *em);

/* Reads all segments, fills wal->segments, end, chain, write_no. */
int wal_recover(struct wal *wal, struct wal_found *found, struct errmsg *em);

#endif
