/* wal.h: the write-ahead log of raft entries: segments on disk, blocking, for one thread.
 *
 * Owner: raft/io.c. wal_open runs at start; all other calls run on the wal env, one at a time. What wal_append wrote is on stable
 * storage when it returns. A failed write is never retried: the caller ends the process (the page cache lies after a failure).
 *
 * Layout: files raft/wal-EPOCH (16 hex digits, ascending), WAL_SEGMENT bytes, zeroed before first use, recycled through raft/spare-N
 * (at most WAL_SPARES_MAX, two of them made ahead).
 * Block 0 is the segment's header. Each write begins on a block of its own, so that it never touches a block with acknowledged
 * records. A record carries its segment's epoch, the number of the write it belongs to, and the checksum of the record before it, so
 * that leftovers of a recycled segment never join.
 *
 * At open: a bad record in the last write is a torn tail: cut, the rest zeroed. A bad record with a valid one of a later
 * write behind it is corruption: E_CORRUPT with file and offset, nothing is changed. */
#ifndef HOLDFAST_RAFT_WAL_H
#define HOLDFAST_RAFT_WAL_H

#include "protocol/base/env.h"

enum { WAL_SEGMENT = 16 << 20, WAL_WRITE_MAX = 8 << 20, WAL_PATH_MAX = 4096 };

struct wal;

struct wal_record {
    uint64_t index;
    uint64_t term;
    uint16_t type;
    const void *data;
    size_t len;
};

/* What wal_open found. The records' data belongs to the caller (one mem block each, NULL when empty); wal_found_free. */
struct wal_found {
    uint64_t first; /* index of records[0]; 0 when there are none */
    struct wal_record *records;
    size_t n;
    bool torn; /* an unfinished last write was cut */
};

int wal_open(struct env *env, const char *dir, struct wal **wal, struct wal_found *found, struct errmsg *em);
void wal_found_free(struct wal_found *found);
void wal_close(struct wal *wal);

/* Appends records in one or more writes. An index at or below the last one replaces what was there from it on. */
int wal_append(struct wal *wal, const struct wal_record *records, size_t n, struct errmsg *em);

/* Forgets all records from `index` on. */
int wal_truncate(struct wal *wal, uint64_t index, struct errmsg *em);

/* Forgets everything; the next record will have `index`. */
int wal_reset(struct wal *wal, uint64_t index, struct errmsg *em);

/* Gives back segments that hold nothing above `index`. */
int wal_compact(struct wal *wal, uint64_t index, struct errmsg *em);

/* A file for a segment to come, zeroed ahead, so that an append never waits for it. Begin and take on the env that appends, one
 * at a time; make on any other meanwhile. */
struct wal_spare {
    struct env *env; /* where make runs */
    char path[WAL_PATH_MAX];
    int rv;
    struct errmsg em;
};

bool wal_spare_begin(struct wal *wal, struct wal_spare *spare); /* false: none is needed */
void wal_spare_make(struct wal_spare *spare);                   /* blocks for as long as it takes to write a segment */
/* After a failure (spare->rv) none is begun before the next segment; the append that finds none makes its own, or fails. */
void wal_spare_take(struct wal *wal, struct wal_spare *spare);

/* Bytes on disk, spares included. */
uint64_t wal_disk_bytes(const struct wal *wal);

#endif
