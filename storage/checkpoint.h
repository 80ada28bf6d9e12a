/* checkpoint.h: the durable statement up to where the binlog files hold what raft has applied.
 *
 * One file, replaced whole: DATA/binlog/checkpoint. Little endian:
 *
 *     "HFCP" version:2 zero:2 index:8 boundary:8 count:4
 *     count * { era:8 size:8 follows_era:1 name_len:2 name flavour:1 state_len:4 state }        oldest first
 *     crc32c:4 over all before
 *
 * `boundary` is the last transaction end of the newest file. `state` is gtid_set_encode's; flavour 0 has
 * none.
 *
 * Owner: whoever made the struct; one thread at a time. Blocking calls. */
#ifndef HOLDFAST_CHECKPOINT_H
#define HOLDFAST_CHECKPOINT_H

#include "protocol/base/env.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct gtid_set;

struct checkpoint_file {
    uint64_t era;
    uint64_t size;
    bool follows_era; /* see struct catalog_file */
    char *name;
    struct gtid_set *state_before; /* NULL: empty, of no flavour yet */
};

struct checkpoint {
    uint64_t index;
    uint64_t boundary;
    size_t n;
    struct checkpoint_file *files;
};

void checkpoint_free(struct checkpoint *cp); /* zeroed afterwards */

void checkpoint_encode(const struct checkpoint *cp, struct buf *out);
/* E_CORRUPT, E_VERSION; *cp is empty then. */
int checkpoint_decode(struct checkpoint *cp, const void *data, size_t n, struct errmsg *em);

/* Reads binlog_dir/checkpoint; E_NOTFOUND when there is none. */
int checkpoint_load(struct env *env, const char *binlog_dir, struct checkpoint *cp, struct errmsg *em);
/* Puts it in place durably. */
int checkpoint_save(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em);

/* Can a file of that name stand in an era's directory: "base.000123", nothing that leads elsewhere. */
bool checkpoint_name_ok(const char *name);

#endif
