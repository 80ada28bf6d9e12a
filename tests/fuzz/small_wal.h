/* small_wal.h: raft/wal.h with segments of 256 KiB instead of 16 MiB, for fuzz_wal alone.
 *
 * A segment is read and zeroed whole at each open; with real ones a fuzzer would try a few inputs in a
 * second. Included before all other headers by fuzz_wal.c, and by small_wal*.c, which compile the log's
 * sources once more with it. The linker then takes these and leaves those in the archive. */
#ifndef TESTS_FUZZ_SMALL_WAL_H
#define TESTS_FUZZ_SMALL_WAL_H

#define WAL_SEGMENT WAL_SEGMENT_OF_A_NODE
#include "raft/wal.h"
#undef WAL_SEGMENT

#define WAL_SEGMENT (256 << 10)

#endif
