/* event.h: binlog events: what they say, and the few that we make ourselves.
 *
 * An event is always the whole of it: header, body, checksum: (const uint8_t *event, size_t n). Readers check
 * all lengths and give E_MALFORMED with a message; what they hand out as pointers lies inside the event.
 * Nothing here is kept: no allocation but in sets and bufs. event_crc_check comes first for bytes from
 * outside; the readers do not repeat it. */
#ifndef HOLDFAST_EVENT_H
#define HOLDFAST_EVENT_H

#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/base/err.h"
#include "protocol/gtid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_MAGIC "\xfe\x62\x69\x6e" /* the first 4 bytes of a file; its first event stands at 4 */
#define EVENT_MAGIC_ENCRYPTED "\xfd\x62\x69\x6e"

enum {
    EVENT_MAGIC_SIZE = 4,
    EVENT_HEADER_SIZE = 19,
    EVENT_CRC_SIZE = 4,
    EVENT_NAME_SIZE = 512,   /* a file name with its NUL */
    EVENT_VERSION_SIZE = 51, /* a server version with its NUL */
    EVENT_FORMAT_MAX = 1024  /* no FDE is larger */
};

/* ---- types --------------------------------------------------------------------------------------------- */

/* name, number, as SHOW BINLOG EVENTS prints it, who writes it (MYSQL, MARIADB, BOTH) */
#define EVENT_TABLE(X)                                                   \
    X(START_V3, 1, "Start_v3", BOTH)                                     \
    X(QUERY, 2, "Query", BOTH)                                           \
    X(STOP, 3, "Stop", BOTH)                                             \
    X(ROTATE, 4, "Rotate", BOTH)                                         \
    X(INTVAR, 5, "Intvar", BOTH)                                         \
    X(APPEND_BLOCK, 9, "Append_block", BOTH)                             \
    X(DELETE_FILE, 11, "Delete_file", BOTH)                              \
    X(RAND, 13, "RAND", BOTH)                                            \
    X(USER_VAR, 14, "User var", BOTH)                                    \
    X(FORMAT_DESCRIPTION, 15, "Format_desc", BOTH)                       \
    X(XID, 16, "Xid", BOTH)                                              \
    X(BEGIN_LOAD_QUERY, 17, "Begin_load_query", BOTH)                    \
    X(EXECUTE_LOAD_QUERY, 18, "Execute_load_query", BOTH)                \
    X(TABLE_MAP, 19, "Table_map", BOTH)                                  \
    X(WRITE_ROWS_V1, 23, "Write_rows_v1", BOTH)                          \
    X(UPDATE_ROWS_V1, 24, "Update_rows_v1", BOTH)                        \
    X(DELETE_ROWS_V1, 25, "Delete_rows_v1", BOTH)                        \
    X(INCIDENT, 26, "Incident", BOTH)                                    \
    X(HEARTBEAT, 27, "Heartbeat", BOTH)                                  \
    X(IGNORABLE, 28, "Ignorable", MYSQL)                                 \
    X(ROWS_QUERY, 29, "Rows_query", MYSQL)                               \
    X(WRITE_ROWS, 30, "Write_rows", MYSQL)                               \
    X(UPDATE_ROWS, 31, "Update_rows", MYSQL)                             \
    X(DELETE_ROWS, 32, "Delete_rows", MYSQL)                             \
    X(GTID, 33, "Gtid", MYSQL)                                           \
    X(ANONYMOUS_GTID, 34, "Anonymous_Gtid", MYSQL)                       \
    X(PREVIOUS_GTIDS, 35, "Previous_gtids", MYSQL)                       \
    X(TRANSACTION_CONTEXT, 36, "Transaction_context", MYSQL)             \
    X(VIEW_CHANGE, 37, "View_change", MYSQL)                             \
    X(XA_PREPARE, 38, "XA_prepare", BOTH)                                \
    X(PARTIAL_UPDATE_ROWS, 39, "Update_rows_partial", MYSQL)             \
    X(TRANSACTION_PAYLOAD, 40, "Transaction_payload", MYSQL)             \
    X(HEARTBEAT_V2, 41, "Heartbeat", MYSQL)                              \
    X(GTID_TAGGED, 42, "Gtid_tagged", MYSQL)                             \
    X(ANNOTATE_ROWS, 160, "Annotate_rows", MARIADB)                      \
    X(BINLOG_CHECKPOINT, 161, "Binlog_checkpoint", MARIADB)              \
    X(MARIADB_GTID, 162, "Gtid", MARIADB)                                \
    X(GTID_LIST, 163, "Gtid_list", MARIADB)                              \
    X(START_ENCRYPTION, 164, "Start_encryption", MARIADB)                \
    X(QUERY_COMPRESSED, 165, "Query_compressed", MARIADB)                \
    X(WRITE_ROWS_COMPRESSED, 166, "Write_rows_compressed_v1", MARIADB)   \
    X(UPDATE_ROWS_COMPRESSED, 167, "Update_rows_compressed_v1", MARIADB) \
    X(DELETE_ROWS_COMPRESSED, 168, "Delete_rows_compressed_v1", MARIADB)

enum event_type {
#define EVENT_ENUM(name, number, text, who) EVENT_##name = number,
    EVENT_TABLE(EVENT_ENUM)
#undef EVENT_ENUM
};

const char *event_type_name(uint8_t type); /* "Unknown" when it is not in the table */
bool event_type_known(uint8_t type, enum flavour flavour);

enum {
    EVENT_FLAG_IN_USE =
        0x0001, /* FDE: the file is being written, or its server crashed; not part of the checksum */
    EVENT_FLAG_ARTIFICIAL = 0x0020,
    EVENT_FLAG_IGNORABLE = 0x0080,
    EVENT_FLAG_SKIP = 0x8000 /* MariaDB: skip_replication */
};

/* ---- header and format --------------------------------------------------------------------------------- */

struct event_header {
    uint32_t timestamp;
    uint8_t type;
    uint32_t server_id;
    uint32_t size;    /* of the whole event */
    uint32_t log_pos; /* its end in the source's file; may be 0, wraps at 4 GiB: add sizes instead */
    uint16_t flags;
};

/* Reads the header at p, of an event that may not be there in whole: wants n >= 19 and size >= 19. */
int event_peek(const uint8_t *p, size_t n, struct event_header *h, struct errmsg *em);
/* Reads the header of a whole event: its size is n. */
int event_header_read(const uint8_t *event, size_t n, struct event_header *h, struct errmsg *em);

enum event_checksum { CHECKSUM_NONE = 0, CHECKSUM_CRC32 = 1 };

/* What the format description of the current file says. Plain data: copy it freely. */
struct event_format {
    enum flavour flavour;
    char version[EVENT_VERSION_SIZE]; /* of the server, "9.7.4-2" */
    uint32_t created;
    uint8_t checksum; /* enum event_checksum */
    uint8_t post_header_count;
    uint8_t post_header[256]; /* by type; 0 for types beyond the count */
};

/* Before the first FDE: an empty version and the checksum that was agreed upon. */
void event_format_init(struct event_format *f, enum flavour flavour, enum event_checksum checksum);

/* Reads an FDE. Leaves *f as it is on error. Does not check the CRC: event_crc_check. */
int event_format_read(const uint8_t *event, size_t n, struct event_format *f, struct errmsg *em);

/* Bytes of checksum at the end of an event of this type in a file of format f: 4 or 0 (an FDE has 4). */
size_t event_crc_size(const struct event_format *f, uint8_t type);

/* Checks the checksum if the event has one: E_CORRUPT with both values when it is wrong. The in-use bit of an
 * FDE counts as 0. */
int event_crc_check(const struct event_format *f, const uint8_t *event, size_t n, struct errmsg *em);

/* Computes and stores the checksum in the last 4 bytes; n >= 23. */
void event_crc_set(uint8_t *event, size_t n);

/* The body without header and checksum. */
int event_body(const struct event_format *f, const uint8_t *event, size_t n, struct cur *body,
               struct errmsg *em);

/* ---- readers ------------------------------------------------------------------------------------------- */

enum { /* flags2 of MariaDB's GTID event */
       GTID_STANDALONE = 0x01,
       GTID_GROUP_COMMIT_ID = 0x02,
       GTID_TRANSACTIONAL = 0x04,
       GTID_ALLOW_PARALLEL = 0x08,
       GTID_WAITED = 0x10,
       GTID_DDL = 0x20,
       GTID_PREPARED_XA = 0x40,
       GTID_COMPLETED_XA = 0x80
};

struct event_gtid {
    struct gtid gtid;        /* FLAVOUR_NONE for ANONYMOUS_GTID */
    uint8_t flags;           /* MySQL: bit 0 = may hold statements; MariaDB: flags2 above */
    uint8_t flags_extra;     /* MariaDB */
    uint64_t commit_id;      /* MariaDB, with GTID_GROUP_COMMIT_ID */
    uint64_t last_committed; /* MySQL 5.7 and later, as all below; 0 when not there */
    uint64_t sequence_number;
    uint64_t immediate_commit;   /* microseconds since 1970 */
    uint64_t original_commit;    /* the same as immediate_commit when not given */
    uint64_t transaction_length; /* bytes of the whole transaction with this event; 0 = not given */
    uint32_t server_version;     /* 90704 */
};

bool event_is_gtid(uint8_t type); /* GTID, ANONYMOUS_GTID, GTID_TAGGED, MARIADB_GTID */
int event_gtid_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_gtid *g,
                    struct errmsg *em);

/* PREVIOUS_GTIDS into a MySQL set, GTID_LIST into a state; the content of `set` is replaced. */
int event_previous_gtids_read(const struct event_format *f, const uint8_t *event, size_t n,
                              struct gtid_set *set, struct errmsg *em);

enum { GTID_LIST_UNTIL_REACHED = 1, GTID_LIST_IGN_GTIDS = 2 };
/* `flags`, the list's top four bits, may be NULL. */
int event_gtid_list_read(const struct event_format *f, const uint8_t *event, size_t n, struct gtid_set *set,
                         uint8_t *flags, struct errmsg *em);

struct event_rotate {
    uint64_t pos;
    char name[EVENT_NAME_SIZE];
};
int event_rotate_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_rotate *r,
                      struct errmsg *em);

/* QUERY, EXECUTE_LOAD_QUERY and QUERY_COMPRESSED (the text is then compressed). Pointers into the event; no
 * NUL at the end. */
struct event_query {
    uint32_t thread;
    uint16_t error;
    const char *db;
    size_t db_len;
    const char *text;
    size_t text_len;
};
int event_query_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_query *q,
                     struct errmsg *em);
/* The same of an event of which only the first `there` bytes are at hand, which reach into the text: it is cut. */
int event_query_read_head(const struct event_format *f, const uint8_t *event, size_t there,
                          struct event_query *q, struct errmsg *em);
/* Is the text exactly this word, in any case ("COMMIT")? */
bool event_query_is(const struct event_query *q, const char *word);
/* Does it begin with these words, in any case ("XA START ")? */
bool event_query_begins(const struct event_query *q, const char *words);

int event_xid_read(const struct event_format *f, const uint8_t *event, size_t n, uint64_t *xid,
                   struct errmsg *em);

struct event_xa {
    bool one_phase;
    uint32_t format_id;
    const uint8_t *gtrid, *bqual; /* into the event */
    size_t gtrid_len, bqual_len;
};
int event_xa_prepare_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_xa *xa,
                          struct errmsg *em);

struct event_incident {
    uint16_t number;
    const char *text; /* into the event; no NUL */
    size_t text_len;
};
int event_incident_read(const struct event_format *f, const uint8_t *event, size_t n,
                        struct event_incident *i, struct errmsg *em);

/* HEARTBEAT (pos = the header's log_pos) and HEARTBEAT_V2. */
int event_heartbeat_read(const struct event_format *f, const uint8_t *event, size_t n,
                         struct event_rotate *at, struct errmsg *em);

/* ---- text ---------------------------------------------------------------------------------------------- */

/* Appends what SHOW BINLOG EVENTS says about it (the column Info); bytes of statements and names as they stand in the
 * event. `f`: of the file that it stands in. */
void event_info(const struct event_format *f, const uint8_t *event, size_t n, struct buf *out);

/* ---- builders ------------------------------------------------------------------------------------------ */

/* Each appends one event to `out` (out->err says if that failed). `checksum`: of the FDE that the receiver
 * saw last, or what was agreed on before the first. */

/* Artificial ROTATE: timestamp 0, log_pos 0. */
void event_build_rotate(struct buf *out, uint32_t server_id, enum event_checksum checksum, const char *name,
                        uint64_t pos);

/* Heartbeats carry no flag; v1 puts the low 32 bits of pos into log_pos, so does v2 beside its own field. */
void event_build_heartbeat(struct buf *out, uint32_t server_id, enum event_checksum checksum,
                           const char *name, uint64_t pos);
void event_build_heartbeat_v2(struct buf *out, uint32_t server_id, enum event_checksum checksum,
                              const char *name, uint64_t pos);

/* Artificial GTID_LIST with all pairs of `state` and the flags above; log_pos = the low 32 bits of pos. */
void event_build_gtid_list(struct buf *out, uint32_t server_id, enum event_checksum checksum,
                           const struct gtid_set *state, uint8_t flags, uint64_t pos);

enum { EVENT_FDE_AS_IS = 0, EVENT_FDE_CREATED_0 = 1, EVENT_FDE_LOG_POS_0 = 2 };
/* A copy of a file's FDE for a stream: the in-use bit cleared, changed as `how` says, with its CRC right.
 * E_MALFORMED when it is no FDE. */
int event_build_format(struct buf *out, const uint8_t *fde, size_t n, unsigned how, struct errmsg *em);

#endif
