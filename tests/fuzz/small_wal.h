/* small_wal.h: raft/wal.h with segments of 64 KiB instead of 16 MiB, and buffers to match, for fuzz_wal alone.
 *
 * A segment is read and zeroed whole at each open, and each log has a buffer of 8 MiB; with real ones a fuzzer would try a few
 * inputs in a second. Included before all other headers by fuzz_wal.c, and by small_wal*.c, which compile the log's sources once
 * more with it. The linker then takes these and leaves those in the archive. */
#ifndef TESTS_FUZZ_SMALL_WAL_H
#define TESTS_FUZZ_SMALL_WAL_H

#define WAL_SEGMENT WAL_SEGMENT_OF_A_NODE
#define WAL_WRITE_MAX WAL_WRITE_MAX_OF_A_NODE
#define WAL_ZERO_CHUNK WAL_ZERO_CHUNK_OF_A_NODE
#include "raft/wal_format.h"
#undef WAL_SEGMENT
#undef WAL_WRITE_MAX
#undef WAL_ZERO_CHUNK

enum { WAL_SEGMENT = 64 << 10, WAL_WRITE_MAX = 32 << 10, WAL_ZERO_CHUNK = 16 << 10 };

#endif
