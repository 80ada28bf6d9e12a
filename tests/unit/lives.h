/* lives.h: what raft applies, given to a store again and again by processes that end at any of their calls; in the end the files must
 * be what they would have been without.
 *
 * A test writes its story once, as steps. lives_crash tells it on the simulator's disk (tests/sim/disk.h), where each call may be the
 * last one, for the process or for the machine; lives_fail on real files (tests/unit/env_test.h), where each call may fail. The store
 * opens with small measures (lives_options). One thread; what is passed in stays the caller's. */
#ifndef TESTS_UNIT_LIVES_H
#define TESTS_UNIT_LIVES_H

#include "storage/store.h"
#include "tests/unit/binlogs.h"

#include <stdbool.h>
#include <stdint.h>

extern const struct store_options lives_options;

/* How far the story has been told in this life; each begins at 0. */
struct telling {
    struct env *loop;
    struct store *store;
    const char *dir;
    uint64_t index; /* of the last job */
    unsigned part;  /* the rest as the story likes */
    uint64_t at, round;
};

struct story {
    const char *name;
    /* NULL: opens the store, no more. */
    int (*open)(struct env *loop, const char *dir, struct store **store, struct errmsg *em);
    /* The next few jobs: 1; 0: that was all of them, and a checkpoint of the last one is asked for; or an error. */
    int (*step)(struct telling *t, struct errmsg *em);
    /* After the last life, no store is open. Prints what is not right. */
    bool (*right)(struct env *env, const char *dir);
};

/* One step: FILE, or a piece of `b` of some bytes from `least` to `least` + 899; now and then a checkpoint, now and then a cut of
 * what is unfinished, which then comes again. False: the file is whole. t->at and t->round are 0 at its beginning. */
bool lives_put(struct telling *t, const struct binlog *b, uint64_t era, uint64_t least);

struct lives_tally {
    uint64_t calls; /* up to which call one was the last one, or failed */
    unsigned crashed;
    unsigned refused, ended, passed; /* a start was refused; a process ended itself; it went on without what the call was for */
};

/* The process is killed, or the power goes, at each call; at some call of the next start too, or as soon as that has read its
 * checkpoint, which must not go back; and when the story has been told. False: something was not right, and it was printed. */
bool lives_crash(const struct story *story, struct lives_tally *tally);

/* Call `first` and each `every`-th behind it fails; then one of the next start. Who ends says so, with the reason and a path. */
bool lives_fail(const struct story *story, int errnum, bool for_good, uint64_t first, uint64_t every, struct lives_tally *tally);

#endif
