/* verify.h: reads binlog files whole and says whether they still hold what was written: the checksum of every
 * event, the order of events and transactions, the sum that the cluster agreed on, the hashes that their indexes keep, the indexes
 * themselves.
 *
 * Owner: whoever called verify_begin, on the loop; both callbacks run there, never inside that call. The work
 * is done on an env of its own, a step at a time, at most `rate` bytes a second. */
#ifndef HOLDFAST_STORAGE_VERIFY_H
#define HOLDFAST_STORAGE_VERIFY_H

#include "storage/store.h"

struct verify;

struct verify_file {
    uint64_t era;
    const char *name;
    uint64_t size; /* up to a transaction end; all of it is written (store_drain) */
    bool sealed;   /* nothing comes behind it */
    uint32_t sum;  /* CRC32C of all its bytes; 0: unknown */
};

enum verify_verdict {
    VERIFY_SOUND,
    VERIFY_DAMAGED,       /* the file does not hold what was written */
    VERIFY_INDEX_DAMAGED, /* the file is sound by itself; its index is missing or damaged */
    VERIFY_INDEX_MADE,    /* the same, and the index was made again (only when that is asked for) */
    VERIFY_UNREADABLE     /* a call failed: nothing can be said */
};

struct verify_result {
    const struct verify_file *file; /* valid during the call */
    uint64_t events;
    enum verify_verdict verdict;
    const char *text; /* what is wrong, with file and offset; "" */
};

struct verify_handler {
    void (*progress)(void *owner, uint64_t bytes, uint64_t of); /* may be NULL; once a step at most */
    void (*result)(void *owner, const struct verify_result *result); /* for each file */
    void (*done)(void *owner); /* all files; `verify` is not valid any more */
};

/* The files are copied; oldest first. `rate` 0: as fast as it goes. `rebuild`: makes damaged indexes of sealed files
 * again; that of the file being written is made again at the next start. */
int verify_begin(struct env *loop, struct store *store, const struct verify_file *files, size_t n,
                 uint64_t rate, bool rebuild, const struct verify_handler *handler, void *owner, struct verify **out,
                 struct errmsg *em);

/* Stops it: waits for the step at work, no callback follows. Not after done(). */
void verify_stop(struct verify *verify);

/* One file at once, blocking, on any env that may: the verdict, with *events and what is wrong in *em. */
enum verify_verdict verify_file_now(struct env *env, struct store *store, const struct verify_file *file,
                                    bool rebuild, uint64_t *events, struct errmsg *em);

#endif
