/* small_wal.c: see small_wal.h. */
#include "tests/fuzz/small_wal.h"

#include "raft/wal.c"
