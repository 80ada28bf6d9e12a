/* checkpoint.h: the durable statement up to where the binlog files hold what raft has applied.
 *
 * Two files. DATA/binlog/checkpoint, replaced whole, of one size however many files there are. Little endian:
 *
 *     "HFCP" version:2 zero:2 index:8 boundary:8 size:8 files:8 list:8 list_bytes:8 list_sum:4 crc32c:4
 *
 * `size` is the newest file's, `boundary` the last transaction end in it. The files are named by the first
 * list_bytes of DATA/binlog/files.LIST (storage/filelist.h), to which a record is appended, and synced, before a file
 * is made: what stands behind list_bytes tells which files came after the checkpoint. A purge makes the next list; the one before
 * stays until what is not in the new one is unlinked (storage/purge.h).
 *
 * Owner: whoever made the struct; one thread at a time. Blocking calls. */
#ifndef HOLDFAST_CHECKPOINT_H
#define HOLDFAST_CHECKPOINT_H

#include "protocol/base/env.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct filelist;

enum { CHECKPOINT_SIZE = 64, CHECKPOINT_FIRST_LIST = 1 };

struct checkpoint {
    uint64_t index;
    uint64_t boundary;
    uint64_t size;
    uint64_t n; /* files */
    uint64_t list, list_bytes;
    uint32_t list_sum;
};

/* One of these files: these bytes of this list. */
void checkpoint_name_files(struct checkpoint *cp, uint64_t list, const struct filelist *files);

void checkpoint_encode(const struct checkpoint *cp, struct buf *out);
/* E_CORRUPT, E_VERSION; *cp is empty then. */
int checkpoint_decode(struct checkpoint *cp, const void *data, size_t n, struct errmsg *em);

/* Reads binlog_dir/checkpoint and the files it names; `later` are these and what was added since (both to be
 * unreferenced; NULL on error), *torn: and more, which cannot be read. E_NOTFOUND when there is no checkpoint. */
int checkpoint_load(struct env *env, const char *binlog_dir, struct checkpoint *cp, struct filelist **files,
                    struct filelist **later, bool *torn, struct errmsg *em);
/* Puts it in place durably. The list holds what it names, durably. */
int checkpoint_save(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em);

/* "binlog_dir/files.LIST", to be freed with mem_free. */
char *checkpoint_list_path(const char *binlog_dir, uint64_t list);

/* Makes the list file, if there is one, end with what the checkpoint names. */
int checkpoint_cut_list(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em);

/* Puts a new list in place, durably; no checkpoint names it yet. */
int checkpoint_put_list(struct env *env, const char *binlog_dir, uint64_t list, const struct filelist *files,
                        struct errmsg *em);

/* Appends what `files` has beyond `had` bytes, durably. */
int checkpoint_extend_list(struct env *env, const char *binlog_dir, uint64_t list, uint64_t had,
                           const struct filelist *files, struct errmsg *em);

/* Can a file of that name stand in an era's directory: "base.000123", nothing that leads elsewhere. */
bool checkpoint_name_ok(const char *name);

#endif
