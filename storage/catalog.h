/* catalog.h: which files there are, and how far they may be read.
 *
 * A catalog is an immutable list of files, oldest first; a new file makes a new catalog, which shares what was
 * there (storage/filelist.h: some twenty bytes a file); so does a purge, which leaves out the oldest ones. The catalog
 * without them is in the mail before they are unlinked: who cannot open a file looks there. It is reference-counted and may be held on any env. What is
 * said about one file is unpacked for who asks. The watermark (one atomic number in the store) says up to
 * where the newest file is visible: always a transaction boundary. Order of publication: bytes, catalog,
 * watermark; so who sees a watermark finds its file in the subscriber's newest catalog.
 *
 * A struct store_sub belongs to one env (a serving worker, or the loop) and lies in its owner's memory. All
 * its functions and callbacks run on that env. */
#ifndef HOLDFAST_CATALOG_H
#define HOLDFAST_CATALOG_H

#include "protocol/base/env.h"

#include <stdatomic.h>

struct store;
struct gtid_set;

enum { STORE_NAME_SIZE = 256 }; /* a file's name with its NUL */

/* ---- the list ------------------------------------------------------------------------------------------ */

struct catalog_file {
    _Atomic unsigned refs;
    uint64_t ordinal; /* counts up with each file, from 1 for the oldest at store_open; never reused in a process */
    uint64_t era;
    bool follows_era; /* the first file of an era that is not the first one: it may hold transactions that
                         state_before contains */
    char *name;       /* "mysql-bin.000001" */
    char *path;       /* as given to env_open */
    struct gtid_set *state_before; /* NULL: empty */
};

/* A file as a catalog shows it; the catalog's, or made for the asker: then catalog_entry_drop. */
struct catalog_entry {
    struct catalog_file *file;
    uint64_t size; /* when sealed */
    bool sealed;   /* false for the newest only: its size is the watermark */
};

struct filelist;

struct catalog {
    _Atomic unsigned refs;
    size_t n;
    uint64_t first;                 /* the ordinal of the oldest; those before it were purged */
    unsigned generation;            /* counts up when fetched files took the place of those that were here */
    struct filelist *files;         /* all, packed */
    struct catalog_entry newest[2]; /* the last one but one, and the last; those that are there */
    char *binlog_dir;
};

struct catalog *catalog_ref(struct catalog *catalog);
void catalog_unref(struct catalog *catalog); /* NULL is fine */

/* The catalog's own; NULL when there is none. */
const struct catalog_entry *catalog_newest(const struct catalog *catalog);

/* File `at`, counted from 0, oldest first; the entry is the caller's to drop. E_NOTFOUND: there are fewer. E_CORRUPT:
 * the list of files is damaged. On an error the entry is empty. */
int catalog_at(const struct catalog *catalog, size_t at, struct catalog_entry *entry, struct errmsg *em);
int catalog_by_ordinal(const struct catalog *catalog, uint64_t ordinal, struct catalog_entry *entry,
                       struct errmsg *em);
/* The size of a sealed file; false when there is no such file (any more). */
bool catalog_sealed_size(const struct catalog *catalog, uint64_t ordinal, uint64_t *size);
/* An era of 0 means the newest file of that name. */
int catalog_find(const struct catalog *catalog, uint64_t era, const char *name, struct catalog_entry *entry,
                 struct errmsg *em);
/* The first (oldest) file of an era, 0: of the newest one. */
int catalog_first_of_era(const struct catalog *catalog, uint64_t era, struct catalog_entry *entry, struct errmsg *em);
void catalog_entry_drop(struct catalog_entry *entry); /* empty afterwards; fine when it was */

/* ---- subscription -------------------------------------------------------------------------------------- */

struct store_sub {
    struct env *env;
    struct catalog *catalog; /* the newest that has arrived; NULL before the first changed() */
    void *owner;             /* the owner's, untouched here */

    /* private */
    struct store *store;
    void (*changed)(struct store_sub *sub);
    void (*left)(struct store_sub *sub);
    struct store_sub *next; /* storage env */
    _Atomic(struct catalog *) mail;
    atomic_bool woken;
    atomic_bool resting;
    bool leaving;
    struct env_msg join_msg, wake_msg, leave_msg, left_msg;
};

/* Called on `env`. changed() follows, first when the catalog has arrived, then (coalesced) after each change
 * of what is visible. */
void store_subscribe(struct store *store, struct store_sub *sub, struct env *env,
                     void (*changed)(struct store_sub *sub));

/* While it rests no changed() comes for what becomes visible. When the rest is over it looks by itself. */
void store_sub_rest(struct store_sub *sub, bool rest);

/* No changed() after this call. left(sub) when the store does not know the subscriber any more: only then may
 * it be freed. Readers on it are closed before. */
void store_unsubscribe(struct store_sub *sub, void (*left)(struct store_sub *sub));

/* Where the visible part ends now: the newest visible file and the offset in it. False when there is none.
 * Takes a newer catalog when it has arrived: sub->catalog may change (a reference keeps the older one). */
bool store_sub_end(struct store_sub *sub, const struct catalog_entry **entry, uint64_t *offset);

/* Calls each() for the visible files of one era (0: the newest), oldest first, with their visible sizes. */
void store_sub_list(struct store_sub *sub, uint64_t era,
                    void (*each)(void *arg, uint64_t era, const char *name, uint64_t size), void *arg);

#endif
