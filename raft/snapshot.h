/* snapshot.h: the last snapshot on disk: raft/snapshot, replaced whole. It holds the manifest (raft/state.h), never the binlog data.
 * Blocking: written on the wal env, read at start. */
#ifndef HOLDFAST_RAFT_SNAPSHOT_H
#define HOLDFAST_RAFT_SNAPSHOT_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"

enum { SNAPSHOT_MAX = 256 << 20, SNAPSHOT_DATA_MAX = SNAPSHOT_MAX - (1 << 20), SNAPSHOT_SERVERS_MAX = 64, SNAPSHOT_ADDRESS_MAX = 512 };

struct snapshot_server {
    uint64_t id;
    int role;
    char address[SNAPSHOT_ADDRESS_MAX];
};

struct snapshot {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    bool replaces_log; /* it was installed: the log before it does not count */
    struct snapshot_server *servers; /* mem_array */
    size_t n_servers;
    struct buf data;
};

void snapshot_free(struct snapshot *s);
int snapshot_write(struct env *env, const char *dir, const struct snapshot *s, struct errmsg *em);
int snapshot_read(struct env *env, const char *dir, struct snapshot *s, struct errmsg *em); /* E_NOTFOUND: there is none */

#endif
