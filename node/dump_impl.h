/* dump_impl.h: private to node/dump*.c: one dump, and what its parts give each other. All on the session's
 * worker. */
#ifndef HOLDFAST_NODE_DUMP_IMPL_H
#define HOLDFAST_NODE_DUMP_IMPL_H

#include "node/dump.h"
#include "protocol/base/buf.h"
#include "storage/reader.h"

enum {
    DUMP_EVENT = 12 << 10,          /* room for one more; what is larger goes in pieces */
    DUMP_QUEUE_MIN = 16 << 10,       /* bytes that may wait for a replica however many there are */
    DUMP_ARTIFICIAL_MAX = 64 << 20 /* of an event of our own; a GTID_LIST can be large */
};

enum dump_mode {
    DUMP_BY_POSITION,
    DUMP_BY_POSITION_AND_GTIDS, /* MySQL: from a place, without the transactions in `have` (mysqlbinlog) */
    DUMP_BY_GTIDS
};

struct dump {
    struct session *session;
    struct dump *next, **link; /* in the worker's list */

    /* what was asked for */
    enum dump_mode mode;
    enum flavour gtid_flavour; /* of `have`; NONE by position */
    struct gtid_set *have;
    char file[DUMP_FILE_MAX + 1]; /* "": none, or one that no file can have: */
    bool bad_name;
    uint64_t position;
    uint64_t era; /* another cluster's leader reads this one, and no further; 0: the newest that has the file */
    uint32_t server_id;
    char uuid[UUID_TEXT_SIZE];
    uint64_t period;     /* of heartbeats, ns; 0: none */
    unsigned capability; /* MariaDB's; 0: not set, as MySQL's replicas */
    bool non_block;
    bool semi_sync;
    bool heartbeat_v2;
    bool skip_tagged;
    bool annotate;
    bool knows_checksums;
    bool strict;        /* MariaDB: a number that was left out is an error */
    struct gtid *until; /* MariaDB: NULL: no end; else one of each domain that has not reached it yet */
    size_t n_until;
    struct gtid_set *until_all; /* all that was asked for */

    bool judging; /* what it has is not held here, or not known to be yet: it waits */
    bool ahead;   /* it has more than is held here, as far as is known */

    /* where the stream is */
    struct reader *reader; /* NULL: what was asked for is not there yet */
    struct reader *next_era; /* by position, at the end of an era: looks for what is new in the next one */
    enum event_checksum
        checksum;         /* of events of our own: as agreed, then as the last format description says */
    bool announced;       /* the place where the reader opened; its first new_file is no news */
    bool announced_asked; /* the place that was asked for and is not there yet */
    bool stand_in;        /* ... with a format description */
    bool old_format;      /* the last format description does not know HEARTBEAT_V2 */
    bool created_0;       /* no format description may say that the source was restarted */
    bool leaving_out;     /* the transaction that is read, see dump_filter */
    bool skipped;         /* transactions were left out since the last event that was sent, up to here: */
    char skipped_file[STORE_NAME_SIZE];
    uint64_t skipped_end;
    struct gtid_set *state;        /* MariaDB by GTID: the binlog's state here, for GTID_LIST */
    uint64_t at_era;
    char at_file[STORE_NAME_SIZE]; /* sent up to here */
    uint64_t at;
    struct buf scratch; /* events of our own */

    /* the queue, the clock */
    size_t put;    /* bytes given to the wire since the last flush */
    size_t queued; /* how many wait for the replica, as the anchor's sum has it */
    size_t left;  /* of an event that goes in pieces; nothing else can be put until they are gone */
    bool ends;    /* ... a transaction */
    bool inside;  /* a transaction, of which the replica has a part */
    bool last;    /* the dump ends with it */
    bool stalled; /* waits for the queue to leave */
    bool level;   /* all that is visible was sent */
    bool moved;
    struct env_timer timer; /* heartbeats */
    uint64_t last_sent;
    uint64_t events;
    uint64_t since_wall;
};

static inline bool dump_is_over(const struct dump *d)
{
    return session_is_over(d->session);
}

/* ---- dump.c */

void dump_begin(struct dump *d); /* with all that was asked for filled in */

/* ---- dump_start.c */

/* Opens the reader and announces where it begins. False: it has to wait, or the dump is over. */
bool dump_open(struct dump *d);
/* Before the first heartbeat of a dump that waits: a format description, as a source would have sent. False: there is none here yet. */
bool dump_put_stand_in(struct dump *d);

/* ---- dump_send.c: puts packets, does not flush */

void dump_put(struct dump *d, const uint8_t *event, size_t n);
void dump_put_rotate(struct dump *d, const char *file, uint64_t position);
/* A format description: is the replica fit for it? Ends the dump otherwise. */
void dump_put_format(struct dump *d, const struct event_format *format, const uint8_t *event, size_t n,
                     unsigned how);
void dump_put_heartbeat(struct dump *d, const char *file, uint64_t position);
void dump_put_event(struct dump *d, const struct reader_event *event);
/* The event as it is stored: all of it, or the announcement of its pieces. */
void dump_put_stored(struct dump *d, const struct reader_event *event);
/* The next piece, at most `max` bytes of it. What the reader fails with. */
int dump_put_piece(struct dump *d, size_t max, struct errmsg *em);
void dump_put_until_reached(struct dump *d);
/* Tells the replica up to where transactions were left out. */
void dump_settle_skipped(struct dump *d);
void dump_take_skipped(struct dump *d, const char *file, uint64_t end);

/* ---- dump_rewrite.c */

/* The event, or what the replica knows instead of it. */
void dump_put_known(struct dump *d, const struct reader_event *event, const struct event_format *format);

/* ---- dump_until.c: START SLAVE UNTIL master_gtid_pos */

/* Takes @slave_until_gtid. False: it cannot be read. */
bool dump_until_set(struct dump *d, const char *text);
/* A GTID event is due: is its transaction behind the end of its domain? */
bool dump_until_leaves_out(struct dump *d, const struct gtid *gtid);
/* Between two transactions: has each domain reached its end? Then the replica is told so, and the dump is over. */
void dump_until_look(struct dump *d);

/* ---- dump_error.c: the last packet, then the end */

/* A master's texts, as MySQL 8 and later, MySQL 5, and MariaDB have them. No text: an EOF. */
#define DUMP_ERRORS(X)                                                                                       \
    X(UNKNOWN_FILE, PLACE_NONE, "Could not find first log file name in binary log index file",               \
      "Could not find first log file name in binary log index file",                                         \
      "Could not find first log file name in binary log index file")                                         \
    X(BEYOND, PLACE_OLDER_AT_4, "Client requested source to start replication from position > file size",    \
      "Client requested master to start replication from position > file size",                              \
      "Client requested master to start replication from impossible position")                               \
    X(BELOW, PLACE_OLDER_AT_4, "Client requested source to start replication from position < 4",             \
      "Client requested master to start replication from position < 4",                                      \
      "Client requested master to start replication from impossible position")                               \
    X(NO_EVENT, PLACE_ALL, "bogus data in log event", "bogus data in log event", "bogus data in log event")  \
    X(NO_NEXT, PLACE_ALL, "could not find next log", "could not find next log", "could not find next log")   \
    X(CHECKSUM, PLACE_ALL,                                                                                   \
      "Replica can not handle replication events with the checksum that source is configured to log",        \
      "Slave can not handle replication events with the checksum that master is configured to log",          \
      "Slave can not handle replication events with the checksum that master is configured to log")          \
    X(GTID_EVENT, PLACE_ALL,                                                                                 \
      "Failed to replace GTID event with backwards-compatible event: corrupt event.",                        \
      "Failed to replace GTID event with backwards-compatible event: corrupt event.",                        \
      "Failed to replace GTID event with backwards-compatible event: corrupt event.")                        \
    X(ANNOTATE_EVENT, PLACE_ALL,                                                                             \
      "Failed to replace row annotate event with dummy: too small event.",                                   \
      "Failed to replace row annotate event with dummy: too small event.",                                   \
      "Failed to replace row annotate event with dummy: too small event.")                                   \
    X(LIST_EVENT, PLACE_ALL,                                                                                 \
      "Failed to replace binlog checkpoint or gtid list event with dummy: too small event.",                 \
      "Failed to replace binlog checkpoint or gtid list event with dummy: too small event.",                 \
      "Failed to replace binlog checkpoint or gtid list event with dummy: too small event.")                 \
    X(DUPLICATE, PLACE_ALL,                                                                                  \
      "A replica with the same server_uuid/server_id as this replica has connected to the source", NULL,     \
      "A slave with the same server_uuid/server_id is already connected")

enum dump_error {
#define DUMP_ERROR_ENUM(name, ...) DUMP_ERROR_##name,
    DUMP_ERRORS(DUMP_ERROR_ENUM)
#undef DUMP_ERROR_ENUM
};

void dump_fail(struct dump *d, enum dump_error error);
void dump_fail_purged(struct dump *d);
void dump_fail_gtid(struct dump *d, int reader_code, const struct gtid *gtid); /* READER_DIVERGED, READER_HOLE */
void dump_fail_errant(struct dump *d, const struct gtid_set *gtids);
void dump_fail_anonymous(struct dump *d, const struct reader_event *event);
void dump_finish(struct dump *d); /* EOF, the end of one that does not block */
void dump_drop(struct dump *d, int code,
               const struct errmsg *em);                    /* closes: it may be better elsewhere, or later */
void dump_put_error(struct dump *d, enum dump_error error); /* the packet alone */

#endif
