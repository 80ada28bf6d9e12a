/* index.h: the sidecar of a binlog file: where transactions end in it, what stands before each such place,
 * and a hash of each MiB.
 *
 * One file, index/ERA/NAME.idx, appended to. Little endian:
 *
 *     header   "HFIX" version:2 name_len:2 era:8 step:4 block:4 name crc32c:4
 *     records  len:4 crc32c:4 body        the sum is over len and body and begins with the one before
 *     body     ENTRY 1 flags:1 step:lenenc tail:4 set     an end of a transaction, at least `step` bytes behind
 *                                                         the entry before (4 before the first one)
 *              GROUP 2 flags:1 set                        after each 32 entries: their sets together
 *              HASH  3 xxh3:16                            of the next `block` bytes of the file, from 0 on
 *              SEAL  4 size:8 xxh3:16                     the file's size; hash of what is behind the last block
 *     set      flavour:1 gtid_set_encode's bytes          what was added since the entry before; none: 0
 *     tail     crc32c of the 64 bytes before the place (of all, when there are fewer): ties it to the file
 *     flags    1: from here on GTIDs do not tell what stands before: a transaction without one, or numbers of
 *                 a MariaDB server that go back. The sets are empty then.
 *
 * A record is about offsets at or below the last transaction end, which never goes back; only hashes of an open
 * transaction may stand behind, when a checkpoint was written inside it. These are taken out when it is cut, else
 * nothing but at a start, with the end of its file. Which records there are follows from the
 * file alone (not from the pieces in which it came), so an index that is made again is the same, byte for
 * byte. HASH stands before the first ENTRY that is at or behind its block's end.
 *
 * Nothing here is trusted: sums, the tie to name, era and bytes, and the event found at the place decide. An
 * index that fails is made again from its file (storage/rebuild.c).
 *
 * Owner: whoever made the struct; one thread at a time. No I/O but in index_place_fits. */
#ifndef HOLDFAST_STORAGE_INDEX_H
#define HOLDFAST_STORAGE_INDEX_H

#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/gtid.h"
#include "storage/store.h"

#define INDEX_MAGIC "HFIX"

struct XXH3_state_s;

enum {
    INDEX_VERSION = 2,
    INDEX_STEP = 64 << 10,
    INDEX_BLOCK = 1 << 20,
    INDEX_GROUP = 32, /* entries */
    INDEX_TAIL = 64,  /* bytes before a place that its sum is over */
    INDEX_HASH_SIZE = 16,
    INDEX_RECORD_MAX = 64 << 20,
    INDEX_MAX = 1 << 30
};

/* "dir/ERA/NAME.idx"; to be freed with mem_free. */
char *index_path(const char *index_dir, uint64_t era, const char *name);

/* XXH3's 128 bits of what was given to `h` since its reset: against disks, not against people. */
void index_hash(const struct XXH3_state_s *h, uint8_t hash[INDEX_HASH_SIZE]);

/* ---- making one ---------------------------------------------------------------------------------------- */

struct index_builder;

/* `out` holds the header then. */
struct index_builder *index_builder_new(uint64_t era, const char *name, uint32_t step, uint32_t block);
void index_builder_free(struct index_builder *b); /* NULL is fine */

/* Goes on with what is there: the records up to the last place at or below `limit` (a transaction end) are taken, and the
 * hashes behind it of blocks that end at or below `size` (that much of the file is as it was then); *kept says how
 * many bytes of `data` they are. NULL: nothing can be used. The next bytes to be given are
 * those from index_builder_at on, the next transaction ends those behind index_builder_place. */
struct index_builder *index_builder_load(const void *data, size_t n, uint64_t era, const char *name, uint32_t step,
                                         uint32_t block, uint64_t limit, uint64_t size, size_t *kept);

uint64_t index_builder_at(const struct index_builder *b);    /* of the next byte */
uint64_t index_builder_place(const struct index_builder *b); /* of the last entry; 4 when there is none */
uint32_t index_builder_tail(const struct index_builder *b);  /* its sum, after index_builder_load */

/* The file's next bytes, from offset 0 on. They must stay until index_builder_settle, which comes when the ends
 * in them were given. */
void index_builder_bytes(struct index_builder *b, const uint8_t *bytes, size_t n);
void index_builder_settle(struct index_builder *b);

/* A transaction ends in the bytes given last (or at an end given before: then nothing happens). */
void index_builder_txn(struct index_builder *b, const struct store_txn *txn);

/* Now, not at the end of the open transaction, for all whole blocks. */
void index_builder_put_hashes(struct index_builder *b);

/* The file is cut to `end`, which lies at or behind the last transaction end: then the bytes from
 * index_builder_at on are given again up to `end`. So many bytes of the index stay, the output counted; the output
 * has lost its part of the others. */
uint64_t index_builder_cut(struct index_builder *b, uint64_t end);

/* No more bytes come. */
void index_builder_seal(struct index_builder *b);

/* Records that are to be appended to the index; the caller empties it. */
struct buf *index_builder_out(struct index_builder *b);

/* ---- reading one --------------------------------------------------------------------------------------- */

enum index_kind { INDEX_END, INDEX_ENTRY = 1, INDEX_GROUP_SUM, INDEX_HASH, INDEX_SEAL };

struct index_walk {
    struct cur c;
    uint32_t step, block;
    uint32_t crc;
    uint64_t place;  /* of the last entry */
    uint64_t hashes; /* so far */
    unsigned in_group;
    bool vague; /* flag 1 was seen */
    bool sealed;
};

struct index_record {
    enum index_kind kind;
    bool vague;
    uint32_t tail;       /* ENTRY */
    uint64_t size;       /* SEAL */
    const uint8_t *hash; /* HASH, SEAL */
    enum flavour flavour;
    struct cur set;
};

/* E_CORRUPT, E_VERSION; or it is another file's. */
int index_walk_begin(struct index_walk *w, const void *data, size_t n, uint64_t era, const char *name,
                     struct errmsg *em);
/* 1: *record is the next one; 0: the index ends here; E_CORRUPT: torn or damaged. */
int index_walk_next(struct index_walk *w, struct index_record *record, struct errmsg *em);
/* The set of an entry or group into `set`, which is emptied first. */
int index_record_set(const struct index_record *record, struct gtid_set *set, struct errmsg *em);

/* Is it the whole index of a sealed file of `size` bytes? E_CORRUPT when not. */
int index_check_sealed(const void *data, size_t n, uint64_t era, const char *name, uint64_t size,
                       struct errmsg *em);

struct index_place {
    uint64_t offset; /* 0: none */
    uint32_t tail;
};

/* Is the place in this file, by the bytes before it? */
bool index_place_fits(struct env_file *file, const struct index_place *place);

/* The last entry at or below `limit`. A damaged rest is not looked at. */
void index_find_position(const void *data, size_t n, uint64_t era, const char *name, uint64_t limit,
                         struct index_place *place);

/* The last entry at or below `limit` that passes() admits. It is asked with what stands between an earlier
 * place that it admitted (MySQL) or the file's beginning (MariaDB) and the one in question: has the replica
 * all of it? Who admits one place would have admitted those before it. `state`: MariaDB's at the place,
 * counted from the file's beginning; it belongs to the caller (NULL for MySQL or without a place). */
void index_find_gtid(const void *data, size_t n, uint64_t era, const char *name, uint64_t limit,
                     enum flavour flavour, bool (*passes)(void *arg, const struct gtid_set *set), void *arg,
                     struct index_place *place, struct gtid_set **state);

#endif
