/* command.h: what a client sends once it is logged in: commands, read and built, and the semi-sync dialect of
 * the dump.
 *
 * Parsers take a whole packet and must end where it ends. Ranges point into the packet. Errors: E_MALFORMED
 * (answer 1835 or as said). Builders put one packet; those of commands reset the wire's sequence first. Pure
 * functions without state. */
#ifndef HOLDFAST_COMMAND_H
#define HOLDFAST_COMMAND_H

#include "protocol/base/err.h"
#include "protocol/packet.h"

#include <stdbool.h>

struct wire;

/* name, byte, as SHOW PROCESSLIST calls it */
#define COMMANDS(X)                                                                                          \
    X(QUIT, 0x01, "Quit")                                                                                    \
    X(INIT_DB, 0x02, "Init DB")                                                                              \
    X(QUERY, 0x03, "Query")                                                                                  \
    X(FIELD_LIST, 0x04, "Field List")                                                                        \
    X(REFRESH, 0x07, "Refresh")                                                                              \
    X(SHUTDOWN, 0x08, "Shutdown")                                                                            \
    X(STATISTICS, 0x09, "Statistics")                                                                        \
    X(PROCESS_INFO, 0x0a, "Processlist")                                                                     \
    X(PROCESS_KILL, 0x0c, "Kill")                                                                            \
    X(DEBUG, 0x0d, "Debug")                                                                                  \
    X(PING, 0x0e, "Ping")                                                                                    \
    X(CHANGE_USER, 0x11, "Change user")                                                                      \
    X(BINLOG_DUMP, 0x12, "Binlog Dump")                                                                      \
    X(TABLE_DUMP, 0x13, "Table Dump")                                                                        \
    X(REGISTER_SLAVE, 0x15, "Register Replica")                                                              \
    X(STMT_PREPARE, 0x16, "Prepare")                                                                         \
    X(STMT_EXECUTE, 0x17, "Execute")                                                                         \
    X(STMT_SEND_LONG_DATA, 0x18, "Long Data")                                                                \
    X(STMT_CLOSE, 0x19, "Close stmt")                                                                        \
    X(STMT_RESET, 0x1a, "Reset stmt")                                                                        \
    X(SET_OPTION, 0x1b, "Set option")                                                                        \
    X(STMT_FETCH, 0x1c, "Fetch")                                                                             \
    X(BINLOG_DUMP_GTID, 0x1e, "Binlog Dump GTID")                                                            \
    X(RESET_CONNECTION, 0x1f, "Reset Connection")

enum command {
#define COMMAND_ENUM(name, byte, text) COM_##name = byte,
    COMMANDS(COMMAND_ENUM)
#undef COMMAND_ENUM
};

/* NULL for a byte that is no command. */
const char *command_name(unsigned byte);

/* Commands without a body: QUIT, PING, STATISTICS, RESET_CONNECTION … */
int command_put(struct wire *w, enum command command);

/* ---- COM_QUERY ---- */

/* Finds the statement's text behind the query attributes, if both sides have those (caps: what was
 * negotiated). */
int command_query(const struct packet *p, uint32_t caps, const char **text, size_t *n, struct errmsg *em);
int command_put_query(struct wire *w, uint32_t caps, const char *text, size_t n);

/* ---- COM_INIT_DB, COM_PROCESS_KILL ---- */

int command_init_db(const struct packet *p, char *db, size_t size, struct errmsg *em);
int command_kill(const struct packet *p, uint32_t *thread_id, struct errmsg *em);

/* ---- COM_REGISTER_SLAVE ---- */

struct register_slave {
    uint32_t server_id;
    char host[256];
    char user[97];
    char password[33];
    uint16_t port;
    uint32_t rank;
    uint32_t master_id;
};

/* E_TOOBIG: a text is too long; em is what the client is told (1105). */
int command_register_slave(const struct packet *p, struct register_slave *r, struct errmsg *em);
int command_put_register_slave(struct wire *w, const struct register_slave *r);

/* ---- COM_BINLOG_DUMP, COM_BINLOG_DUMP_GTID ---- */

enum {
    DUMP_NON_BLOCK = 0x0001,
    DUMP_HEARTBEAT_V2 = 0x0002,  /* MySQL */
    DUMP_ANNOTATE_ROWS = 0x0002, /* MariaDB */
    DUMP_SKIP_TAGGED = 0x0004,   /* MySQL 8.3+ */
};

enum { DUMP_FILE_MAX = 511 };

struct binlog_dump {
    bool by_gtid; /* COM_BINLOG_DUMP_GTID */
    uint16_t flags;
    uint32_t server_id;
    uint64_t pos;
    char file[DUMP_FILE_MAX + 1]; /* "": none named */
    const uint8_t *gtids;         /* by_gtid: the set as sent, for protocol/gtid.h */
    size_t ngtids;
};

/* Both commands. */
int command_binlog_dump(const struct packet *p, struct binlog_dump *d, struct errmsg *em);

/* Builds the one that by_gtid says. E_INVALID: a position above 4 GiB without by_gtid. */
int command_put_binlog_dump(struct wire *w, const struct binlog_dump *d);

/* ---- the dump's stream, and semi-sync ---- */

enum { SEMISYNC_MAGIC = 0xef };

enum stream_kind { STREAM_EVENT, STREAM_END, STREAM_ERROR };

struct stream_packet {
    enum stream_kind kind;
    const uint8_t *event; /* STREAM_EVENT: header to checksum */
    size_t n;
    bool wants_ack;
    unsigned code;        /* STREAM_ERROR: the server's number and text */
    char sqlstate[6];
    char message[512];
};

/* A packet of the stream; semisync: both sides switched it on, then every event must have the two bytes more.
 * */
int stream_parse(const struct packet *p, bool semisync, struct stream_packet *s, struct errmsg *em);

/* Puts an event: 00 [ef ask] event. After one that asks, the sequence starts again with 1: done here. */
int stream_put_event(struct wire *w, bool semisync, bool ask, const void *event, size_t n);

/* The same for an event of n bytes that come piece by piece, by wire_more. It asks for nothing. */
int stream_open_event(struct wire *w, bool semisync, size_t n);

/* The ACK packet. Building sets sequence 0; parsing demands it (E_MALFORMED). */
struct semisync_ack {
    uint64_t pos;
    char file[DUMP_FILE_MAX + 1];
};

int semisync_ack_parse(const struct packet *p, struct semisync_ack *ack, struct errmsg *em);
int semisync_ack_put(struct wire *w, const char *file, uint64_t pos);

#endif
