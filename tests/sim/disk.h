/* disk.h: a simulated disk: what a program sees now, and what a crash may leave of it.
 *
 * Each change is kept with the time when it began and the time from which it is durable (never, until a sync
 * says otherwise). disk_image gives the disk that is found after a crash at a moment:
 *
 *   - changes that began later did not happen;
 *   - changes that were durable by then are there;
 *   - of the others, after a loss of power, a random part is: none, all, the first ones, any of them, and of
 * a write any of its sectors (of 512 or 4096 bytes); the size of a file may have grown though its bytes did
 * not arrive. After the death of the process alone, all are there.
 *
 * Names are changes of their directory and durable only with disk_sync_dir. A rename is one change, also from one directory to
 * another: found done or not done, durable with a sync of either. A sync that failed leaves its
 * changes behind as clean: later syncs succeed and save nothing, as Linux does.
 *
 * Functions give 0 or an E_ code. Paths are absolute. A node (file or directory) that was opened is held
 * until disk_release, also if its name goes away. One thread. */
#ifndef HOLDFAST_SIM_DISK_H
#define HOLDFAST_SIM_DISK_H

#include "tests/sim/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk;
struct disk_node;

#define DISK_NEVER UINT64_MAX

struct disk *disk_new(void);
void disk_free(struct disk *disk); /* nothing is held any more */

/* Changes that are durable by `now` cannot get lost any more: their bookkeeping may go. */
void disk_settle(struct disk *disk, uint64_t now);

struct disk *disk_image(struct disk *disk, uint64_t now, bool power_lost, struct rng *rng);

int disk_open(struct disk *disk, const char *path, bool create, bool exclusive, uint64_t now,
              struct disk_node **node);
void disk_release(struct disk *disk, struct disk_node *node);
void disk_write(struct disk *disk, struct disk_node *node, const void *data, size_t n, uint64_t at,
                uint64_t now, uint64_t durable);
size_t disk_read(const struct disk_node *node, void *data, size_t n, uint64_t at);
void disk_truncate(struct disk *disk, struct disk_node *node, uint64_t size, uint64_t now);
void disk_sync(struct disk *disk, struct disk_node *node, uint64_t durable);
void disk_sync_failed(struct disk_node *node);
uint64_t disk_size(const struct disk_node *node);
uint64_t disk_extent(const struct disk_node *node); /* behind it there are only zeros */

int disk_mkdir(struct disk *disk, const char *path, uint64_t now);
int disk_rename(struct disk *disk, const char *from, const char *to, uint64_t now);
int disk_unlink(struct disk *disk, const char *path, uint64_t now);
int disk_sync_dir(struct disk *disk, const char *path, uint64_t durable);
int disk_list(struct disk *disk, const char *path, void (*entry)(void *arg, const char *name), void *arg);

/* Inverts bits of the byte at `at`, durably: rot. */
int disk_flip(struct disk *disk, const char *path, uint64_t at, uint8_t bits);

/* Changes that a loss of power could undo: for tests. */
size_t disk_unsettled(struct disk *disk, const char *path);

#endif
