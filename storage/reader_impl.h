/* reader_impl.h: private to storage/reader*.c: one reader, and what its parts give each other. */
#ifndef HOLDFAST_STORAGE_READER_IMPL_H
#define HOLDFAST_STORAGE_READER_IMPL_H

#include "protocol/txn.h"
#include "storage/filelist.h"
#include "storage/impl.h"
#include "storage/index.h"
#include "storage/reader.h"

/* A GTID of a replica of MariaDB that has not come by yet. */
struct awaited {
    struct gtid gtid;
    bool prior;  /* lower numbers of its server have come by */
    bool passed; /* so have numbers of its domain that are not lower: it may have gone another way */
};

struct reader {
    struct store_sub *sub;
    /* the file */
    struct catalog_file *file; /* one reference */
    struct env_file *handle;
    unsigned generation; /* of the catalog when it was opened */
    uint64_t at;       /* the next event */
    uint64_t limit;    /* readable up to here; looked at again when reached */
    struct buf window; /* bytes from window_at on */
    uint64_t window_at;
    struct event_format format;
    struct buf fde; /* empty: not seen yet */
    struct txn txn;
    bool shown; /* something of this file */
    /* leaving out */
    bool by_gtid;
    bool leaving_out;       /* the open transaction */
    bool crossed;           /* by position, from an older era */
    struct gtid_set *held;  /* before the era of the file; NULL in the first one, and for MySQL's GTID readers */
    uint64_t held_era;
    struct gtid_set *have;  /* MySQL; grows with what is shown */
    struct awaited *unreached; /* MariaDB, in any order */
    size_t n_unreached;
    bool strict, hole;
    struct gtid asked; /* the one that is not there */
    struct index_place jump;     /* GTIDs: all transactions of the file before it are left out; 0: none */
    struct gtid_set *jump_state; /* MariaDB: what these are */
    bool landed;                 /* the next event is the first one behind a jump */
    /* an event that is given in pieces */
    size_t cut_size; /* 0: none is */
    struct {
        uint64_t at;
        size_t left;
        size_t crc_size;
        uint32_t crc; /* so far */
    } rest;
    struct { /* of the file's blocks, as its index has them; see reader_hash.c */
        bool known;
        uint8_t *hash;
        size_t n;
        uint64_t size;   /* the last one's block ends here */
        uint64_t block;  /* bytes */
        uint64_t from, to; /* these have been compared */
    } hashes;
    bool skipped;
    char skipped_file[STORE_NAME_SIZE];
    uint64_t skipped_end;
};

/* ---- reader.c */

int reader_at_fault(struct reader *r, int rv, struct errmsg *em); /* puts file and offset in front of the message */
void reader_tell_damage(const struct reader *r, int rv, const struct errmsg *em); /* when that is what it is */
int reader_open_file(struct reader *r, struct catalog_file *file, struct errmsg *em); /* at its first event */
void reader_close_file(struct reader *r);
int reader_find_readable(struct reader *r, struct errmsg *em); /* 1: there is something at `at`; 0: at the watermark */
/* The event at `at`, the *n bytes of it that are needed. */
int reader_load(struct reader *r, bool wanted, struct event_header *h, const uint8_t **event, size_t *n,
                struct errmsg *em);
bool reader_replica_has(struct reader *r, const struct gtid *gtid);
void reader_state_passes_by(struct awaited *a, const struct gtid_set *state);
int reader_find_jump(struct reader *r);                               /* READER_INDEXING, or 0 */
int reader_find_position(struct reader *r, uint64_t position);        /* ... */
void reader_jump(struct reader *r);                                   /* goes on at the place that was found */
int reader_step(struct reader *r, bool wanted, struct reader_event *ev, bool *show, struct errmsg *em);
/* Sets jump and jump_state to the last place of the index at or below `limit`; there may be none. READER_INDEXING. */
int reader_find_state(struct reader *r, uint64_t limit);

/* The size of a sealed file. */
int reader_sealed_size(struct reader *r, uint64_t *size, struct errmsg *em);
int reader_load_index(struct reader *r, bool sealed, uint64_t size, struct buf *data);

/* ---- reader_hash.c */

/* Are the blocks that hold these bytes what was written? READER_CORRUPT; READER_INDEXING: come again, nobody can tell yet. */
int reader_check_hashes(struct reader *r, uint64_t at, size_t n, struct errmsg *em);
void reader_forget_hashes(struct reader *r); /* those of another file follow */

/* ---- reader_window.c */

/* n bytes at `at`, which lie below the limit; valid until the next call. */
int reader_bytes(struct reader *r, uint64_t at, size_t n, const uint8_t **bytes, struct errmsg *em);
/* The event behind which the reader stands now comes in pieces. */
void reader_begin_pieces(struct reader *r, const struct event_header *h);

#endif
