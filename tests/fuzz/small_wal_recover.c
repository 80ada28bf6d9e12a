/* small_wal_recover.c: see small_wal.h. */
#include "tests/fuzz/small_wal.h"

#include "raft/wal_recover.c"
