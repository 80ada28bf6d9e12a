/* reader.h: the committed events of the files, one after the other, from a place on.
 *
 * A reader belongs to the env of its subscriber and blocks in preads there. It shows whole, checked events up
 * to the watermark and never a part of a transaction whose end is not visible. What it cannot vouch for (a
 * checksum that is wrong, a length that cannot be) is an error with file and offset; such an event is never
 * shown. */
#ifndef HOLDFAST_READER_H
#define HOLDFAST_READER_H

#include "protocol/event.h"
#include "protocol/gtid.h"
#include "storage/catalog.h"

struct reader;

/* What reader_open_* and reader_next refuse with. */
enum {
    READER_NOT_YET = E_AGAIN,         /* no catalog or no file yet */
    READER_UNKNOWN_FILE = E_NOTFOUND, /* no such file */
    READER_BAD_POSITION = E_INVALID,  /* below 4, or no event begins there */
    READER_BEYOND = E_TOOBIG,         /* position behind the visible end of the file */
    READER_PURGED = E_CANCELED, /* GTID start: transactions that are wanted stood in files that are gone */
    READER_CORRUPT = E_CORRUPT, /* a file does not hold what was written */
    READER_INDEXING = E_BUSY,     /* the index of a file is being made again: come back at changed(), also with the same reader */
    READER_ERA_END = E_CLOSED,  /* position readers: the era ends here, a newer one follows */
    READER_DIVERGED = E_CONTRADICTION, /* MariaDB's GTIDs: the replica's is not in the log, which holds
                                          higher numbers of its domain (reader_asked) */
    READER_HOLE = E_EXISTS /* ... strict: the log has numbers before and behind it, but not this one */
};

struct reader_event {
    const uint8_t *bytes; /* with header and checksum, as they stand in the file; valid until the next call on
                             the reader */
    size_t n;
    bool in_pieces; /* `bytes` is only its beginning: reader_more gives all of it (reader_cut_large) */
    uint8_t type;
    uint64_t era;
    const char *file;      /* name; valid until the reader is closed or has moved to another file */
    uint64_t start, end;   /* offsets in the file */
    bool new_file;         /* the first event shown of this file */
    bool ends_transaction; /* after it no transaction is open */
    bool inside;           /* after it one is */
    bool skipped; /* GTID readers: transactions before this event were left out since the last one shown */
    char skipped_file[STORE_NAME_SIZE]; /* where that part ended */
    uint64_t skipped_end;
};

/* The first event shown of each file has new_file set: a fake ROTATE to (file, start) is due before it, and
 * when it is not the format description (position > 4), that one (reader_format) too. Who has sent both right
 * after opening, by reader_where, ignores the first flag. */

/* By file and position: file NULL or "" is the first of the era. `era` 0: the newest era, or the newest that has the
 * file. Position 4 shows the format description first; a later one begins with the event there (see
 * reader_format for the description to send before). */
int reader_open_position(struct store_sub *sub, uint64_t era, const char *file, uint64_t position,
                         struct reader **out, struct errmsg *em);

/* The newer era for a position reader that came to READER_ERA_END: what was held before that era is left out of all of it, so
 * that nobody gets it twice. reader_find_new goes to the first transaction that is new. 1: the reader stands there; 0: none is visible yet
 * (call it again after changed()); negative: as reader_next. */
int reader_open_next_era(const struct reader *ended, struct reader **out, struct errmsg *em);
int reader_find_new(struct reader *reader, struct errmsg *em);

/* By GTIDs: `have` is what the replica has (MySQL: a set; MariaDB: its position, one gtid per domain).
 * Copied. Begins at the start of the newest file before which nothing is missing; transactions that the
 * replica has are left out whole. */
int reader_open_gtid(struct store_sub *sub, const struct gtid_set *have, struct reader **out,
                     struct errmsg *em);

/* MariaDB: the binlog's state at a place where an event begins or the file ends, in the newest era that has the file: *state is
 * the caller's. Refuses as reader_open_position does. */
int reader_gtids_at(struct store_sub *sub, const char *file, uint64_t position, struct gtid_set **state,
                    struct errmsg *em);

/* Right after reader_open_gtid, MariaDB: a hole in the numbers where the replica stands is an error. */
void reader_be_strict(struct reader *reader);

/* From now on an event of more than `size` bytes that carries rows or statements is shown when its beginning is
 * read, and comes in pieces. Its checksum is looked at before the last of them is given: so nobody gets the whole
 * of one that is wrong. */
void reader_cut_large(struct reader *reader, size_t size);
/* The next piece of the event shown last, at most `max` bytes (4 or more), valid until the next call on the
 * reader: 0, or an error. Until all event->n are there; who does not want the rest calls reader_next. */
int reader_more(struct reader *reader, size_t max, const uint8_t **bytes, size_t *n, struct errmsg *em);
/* All of it at once, in place of pieces, however large. */
int reader_whole(struct reader *reader, struct reader_event *event, struct errmsg *em);

/* Gives its buffer back while nobody reads; what was shown is not valid any more. */
void reader_rest(struct reader *reader);

void reader_close(struct reader *reader); /* NULL is fine */

/* 1: *event is the next one; 0: at the watermark (go on after changed()); negative: see above, the reader can
 * only be closed. */
int reader_next(struct reader *reader, struct reader_event *event, struct errmsg *em);

/* After READER_DIVERGED and READER_HOLE: the replica's GTID that cannot be found. */
const struct gtid *reader_asked(const struct reader *reader);

/* After 0: were transactions left out since the last event shown? Tells where they ended, once (a heartbeat
 * moves the replica there). */
bool reader_take_skipped(struct reader *reader, const char **file, uint64_t *end);

/* Where the reader stands: after the last event shown or left out. */
void reader_where(const struct reader *reader, uint64_t *era, const char **file, uint64_t *offset);

/* The format description event of the current file as it stands there, and what it says. NULL when the file
 * has none yet. */
const struct event_format *reader_format(const struct reader *reader, const uint8_t **bytes, size_t *n);

#endif
