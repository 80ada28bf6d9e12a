/* store.h: the binlog files of this node. What raft has applied goes in as jobs; files, an index and a
 * checkpoint come out.
 *
 * Owner: the daemon. store_open, all jobs and store_close are called on the loop env; each callback runs
 * there too, never inside the call that registered it, in the order of the calls. The work is done on an env
 * of its own ("storage"), so the loop never waits for a disk. Readers never touch a struct store's jobs: they
 * subscribe (storage/catalog.h) and read (storage/reader.h).
 *
 * Jobs come in the order in which raft applied the entries, each with its raft index. One index may have
 * several jobs. A job whose index is at or below the checkpoint's was done before the checkpoint was written:
 * it is completed without writing. Later ones are done, also when the same bytes have been written before a
 * crash; nothing is compared.
 *
 * A file exists from store_file on: it holds the four magic bytes, which belong to the store. So the first
 * store_write of a file is at offset 4. Files stand in binlog/ERA/NAME, ERA in decimal, counted from 1.
 *
 * A write, sync or truncate that fails ends the process (env_fatal, with file and reason): the page cache
 * cannot be trusted after it. So does a job that contradicts the files (an offset that is not the end): the
 * applied log and the files tell different histories. */
#ifndef HOLDFAST_STORE_H
#define HOLDFAST_STORE_H

#include "protocol/base/cursor.h"
#include "protocol/base/env.h"
#include "protocol/gtid.h"

struct store;

enum {
    STORE_MAGIC = 4,           /* offset of the first event of a file */
    STORE_WRITE_MAX = 64 << 20 /* bytes of one store_write */
};

/* The end of a transaction: offset in the file, and its GTID (FLAVOUR_NONE: it has none). */
struct store_txn {
    uint64_t end;
    struct gtid gtid;
};

/* A list of them in whatever form the caller has; next() is called on the storage env, first with
 * last->end = the offset of the write and no GTID, then with what it gave before. False at its end. */
struct store_txns {
    struct cur list; /* bytes that live as long as those of the write */
    bool (*next)(struct cur *list, struct store_txn *last);
};

/* ---- open ---------------------------------------------------------------------------------------------- */

/* Blocks (start of the daemon). Ends a purge that was under way. Makes binlog/ and index/ when missing, reads the checkpoint, brings the files
 * to it: truncates what was written after it, removes files created after it. E_CORRUPT when the newest file
 * that it names is missing or shorter (sealed ones are looked at when they are read), E_VERSION when it is of
 * a newer program. Nothing is changed then. Spawns the storage env. */
int store_open(struct env *loop, const char *data_dir, struct store **out, struct errmsg *em);

/* With other measures than the usual ones (0: the usual one): for tests, which have small files. */
struct store_options {
    uint32_t index_step;  /* bytes from one entry of an index to the next */
    uint32_t index_block; /* bytes of one hash */
    uint64_t walk_max;    /* bytes that a reader walks over at its start rather than wait for an index */
};
int store_open_with(struct env *loop, const char *data_dir, const struct store_options *options,
                    struct store **out, struct errmsg *em);

/* The raft index up to which the files are durable as of store_open (or of the last store_checkpoint whose
 * callback ran). 0: none. */
uint64_t store_checkpoint_index(const struct store *store);

/* ---- jobs ---------------------------------------------------------------------------------------------- */

/* Can a file have that name: "base.000123", nothing that leads out of its directory. (For those who take
 * names from a source; a job with another name ends the process.) */
bool store_name_ok(const char *name);

/* A new file, the newest from now on; the one before is sealed and synced. It must end with a whole
 * transaction: store_cut first where the source has lost a tail; `sum` is the CRC32C of all its bytes (0: unknown).
 * `state_before` is the GTID state before the first event of the new file (copied; NULL: empty). */
void store_file(struct store *store, uint64_t index, uint32_t sum, uint64_t era, const char *name,
                const struct gtid_set *state_before);

/* Bytes for the newest file, exactly at its end. `boundary`: offset of the last transaction end at or below
 * offset + n (readers see the file up to there; it never goes back). `bytes` stay valid until done(arg) ran.
 * done may be NULL when the bytes outlive the store. */
void store_write(struct store *store, uint64_t index, uint64_t offset, const uint8_t *bytes, size_t n,
                 uint64_t boundary, void (*done)(void *arg), void *arg);

/* The same, with the transactions that end in these bytes: they go into the file's index, which readers find
 * their start with. (Without them a start costs a walk over the bytes.) */
void store_write_txns(struct store *store, uint64_t index, uint64_t offset, const uint8_t *bytes, size_t n,
                      uint64_t boundary, const struct store_txns *txns, void (*done)(void *arg), void *arg);

/* Cuts the unfinished transaction at the end of the newest file: `boundary` is the last transaction end and
 * the new size. */
void store_cut(struct store *store, uint64_t index, uint64_t boundary);

/* The files before this one are removed; it is there. The checkpoint that does not name them any more is written
 * first. Who reads one of them reads on. */
void store_purge(struct store *store, uint64_t index, uint64_t era, const char *name);

/* Files that were fetched take the place of those that are here (storage/install.h), which end where `install` begins to differ or
 * earlier; they were marked. All jobs before this one are written. It is a checkpoint of its own. `install` stays until done(arg). */
struct install;
void store_install(struct store *store, const struct install *install, void (*done)(void *arg), void *arg);

/* All files go away, and GTIDs with them: into binlog/old/KEEP/ERA on this node. A name that store_keep_ok takes. The next
 * file's era is a higher one. Who reads one of them can read it to its end, and is told READER_PURGED when there is a new file. */
enum { STORE_KEEP_SIZE = 64 };
bool store_keep_ok(const char *name); /* letters, digits, and behind the first one "-_." */
void store_reset(struct store *store, uint64_t index, const char *keep);

/* When all jobs before this one are written: syncs what they touched, writes the checkpoint durably, then
 * done(arg). Each index that has a job before has all of its jobs before. The checkpoint is of `index`, or of
 * the last job's index when that is higher. done may be NULL. */
void store_checkpoint(struct store *store, uint64_t index, void (*done)(void *arg), void *arg);

/* When all jobs before are written: done(arg). Nothing is synced. (The log may drop the bytes after it.) */
void store_drain(struct store *store, void (*done)(void *arg), void *arg);

/* Looks for the first file that was still written at `time` or later, by the source's clock (the file behind it says when it
 * began): all before it are older. `name` "" begins with the oldest file, else with that one. The answer is in era and name
 * when done(arg) runs (name "": there are no files); `more`: it is not known yet, ask again with it as it is. */
struct store_older {
    uint32_t time; /* seconds since 1970 */
    uint64_t era;
    char name[256];
    bool more;
    struct errmsg em; /* not empty: why the look ended here */
};
void store_find_older(struct store *store, struct store_older *older, void (*done)(void *arg), void *arg);

/* Files of this node that do not hold what was written, as far as anybody came across it (storage/damage.c). The text has file and
 * offset. All three on the loop. */
struct store_damage {
    uint64_t era;
    char name[256];
    char text[1024];
};
size_t store_damages(const struct store *store, const struct store_damage **damages); /* oldest finding first; valid until the next event */
void store_add_damage(struct store *store, const struct store_damage *damage); /* nothing happens when the file is known as damaged */
void store_drop_damage(struct store *store, uint64_t era, const char *name);   /* it was found sound */

/* Bytes given to store_write whose done() has not run yet: for back-pressure and metrics. */
uint64_t store_pending(const struct store *store);

/* Does what was given, ends the storage env, frees the store, then closed(arg). All subscribers have left
 * before. */
void store_close(struct store *store, void (*closed)(void *arg), void *arg);

#endif
