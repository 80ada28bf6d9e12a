/* filelist.h: names, sizes, sums and GTID states of many files, packed: some twenty bytes a file where its name counts up
 * and its GTID state grows by a few numbers, also when that state is long.
 *
 * Bytes, the same in memory, on disk (the list file of storage) and in the manifest. One record a file:
 *
 *     size:lenenc sum:4 flags:1               size of the file before it, and the CRC32C of its bytes (0: unknown); 0 in the first record
 *     KEY  1: era:lenenc name:str set:str     begins a part, which can be read by itself; FOLLOWS 8 may stand with it
 *     else    [name:str] [patch:str]          left out with NEXT_NAME 2 (the name before, counted up), SAME_SET 4
 *     crc32c:4                                over all records up to here
 *     str     length:lenenc bytes             set: flavour:1 gtid_set_encode's, empty for none; patch: storage/patch.h
 *
 * Size and sum of the last file are not in it: it grows. A list is immutable and counted; adding makes a new one that
 * shares all parts but the last. Any thread may read one that it holds. Parts are made so that one is read in
 * microseconds; its patches are looked at when a set is asked for, so that is where E_CORRUPT may come from. */
#ifndef HOLDFAST_STORAGE_FILELIST_H
#define HOLDFAST_STORAGE_FILELIST_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"
#include "protocol/gtid.h"

enum { FILELIST_NAME_SIZE = 256 };

struct filelist;

struct filelist *filelist_new(void); /* empty */
struct filelist *filelist_ref(const struct filelist *list);
void filelist_unref(struct filelist *list); /* NULL is fine */

/* The list with one more file behind the others; `size` and `sum` (0: unknown) are those of the one before. `before` is the GTID state
 * before it (NULL: none). The name is one that can be (checkpoint_name_ok), era is not below the last one. */
struct filelist *filelist_add(const struct filelist *list, uint64_t size, uint32_t sum, uint64_t era, const char *name,
                              const struct gtid_set *before);

/* The list without the files before file `at`, which is there. E_CORRUPT: the list's bytes cannot be. */
int filelist_from(const struct filelist *list, size_t at, struct filelist **out, struct errmsg *em);

size_t filelist_count(const struct filelist *list);

/* ---- reading ------------------------------------------------------------------------------------------- */

struct filelist_file {
    size_t at; /* from 0 on */
    uint64_t era;
    bool follows_era; /* the first of its era, which is not the first one */
    char name[FILELIST_NAME_SIZE];
    uint64_t size; /* 0 for the last one */
    uint32_t sum;  /* 0: unknown */
};

/* File `at`, which is there. */
void filelist_get(const struct filelist *list, size_t at, struct filelist_file *file);

/* The GTID state before it, to be freed; NULL when it has none. E_CORRUPT: the list's bytes cannot be. */
int filelist_before(const struct filelist *list, size_t at, struct gtid_set **before, struct errmsg *em);

/* The newest file of that name; era 0: of any era. */
bool filelist_find(const struct filelist *list, uint64_t era, const char *name, size_t *at);

/* The first file of the newest era; the list is not empty. */
size_t filelist_newest_era(const struct filelist *list);

/* The first file behind those of this era. */
bool filelist_after_era(const struct filelist *list, uint64_t era, size_t *at);

/* The newest of the first `n` files whose state is admitted (an empty one is NULL), where states grow from file to
 * file: who admits one would admit those before it. Without such growth some admitted file is found if there is
 * one. E_NOTFOUND, E_CORRUPT. */
int filelist_search(const struct filelist *list, size_t n,
                    bool (*admits)(void *arg, const struct gtid_set *before), void *arg, size_t *at,
                    struct errmsg *em);

/* From file `from` on, oldest first; true: walk.file is the next one. The list is held by the caller. */
struct filelist_walk {
    struct filelist_file file;
    const struct filelist *list;
    size_t next, part;
    const uint8_t *p; /* of the next record; NULL: at the beginning of the part */
};
void filelist_walk_begin(struct filelist_walk *walk, const struct filelist *list, size_t from);
bool filelist_walk_next(struct filelist_walk *walk);

/* The states before the files, one after the other from `from` on. 1: *before is the next one's, to be freed (NULL:
 * none); 0: the end; E_CORRUPT. */
struct filelist_states {
    const struct filelist *list;
    size_t next, part;
    const uint8_t *p; /* as in a walk */
    struct buf bytes;
};
void filelist_states_begin(struct filelist_states *states, const struct filelist *list, size_t from);
int filelist_states_next(struct filelist_states *states, struct gtid_set **before, struct errmsg *em);
void filelist_states_end(struct filelist_states *states);

/* ---- bytes --------------------------------------------------------------------------------------------- */

size_t filelist_size(const struct filelist *list);  /* in bytes */
uint32_t filelist_sum(const struct filelist *list); /* the sum in the last record; 0: empty */
/* Appends the bytes from `from` on. */
void filelist_bytes(const struct filelist *list, size_t from, struct buf *out);

/* The reverse; E_CORRUPT with the offset. `torn`: what is damaged ends the list instead. */
int filelist_load(const void *data, size_t n, bool torn, struct filelist **list, struct errmsg *em);

/* Bytes of memory that hang on it. */
size_t filelist_memory(const struct filelist *list);

#endif
