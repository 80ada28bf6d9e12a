/* packet.h: the vocabulary of MySQL's packets: what a logical packet is, the capability bits, column types,
 * character sets and error numbers that Holdfast uses. Values only, no state. */
#ifndef HOLDFAST_PACKET_H
#define HOLDFAST_PACKET_H

#include <stddef.h>
#include <stdint.h>

/* A logical packet: its fragments joined. The bytes belong to the wire that gave it (see wire_next). */
struct packet {
    const uint8_t *data;
    size_t len;
    uint8_t seq; /* of the first fragment */
};

/* First byte of a packet: 0 for an empty one. */
static inline uint8_t packet_kind(const struct packet *p)
{
    return p->len ? p->data[0] : 0;
}

enum { PACKET_FRAGMENT = 0xffffff, PACKET_HEADER = 4 };

/* Capabilities: what counts is what both sides have, never one side's word. */
enum packet_cap {
    CAP_LONG_PASSWORD = 1u << 0, /* MariaDB servers clear it */
    CAP_FOUND_ROWS = 1u << 1,
    CAP_LONG_FLAG = 1u << 2,
    CAP_CONNECT_WITH_DB = 1u << 3,
    CAP_COMPRESS = 1u << 5,
    CAP_PROTOCOL_41 = 1u << 9,
    CAP_SSL = 1u << 11,
    CAP_TRANSACTIONS = 1u << 13,
    CAP_SECURE_CONNECTION = 1u << 15,
    CAP_MULTI_STATEMENTS = 1u << 16,
    CAP_MULTI_RESULTS = 1u << 17,
    CAP_PLUGIN_AUTH = 1u << 19,
    CAP_CONNECT_ATTRS = 1u << 20,
    CAP_AUTH_LENENC = 1u << 21,
    CAP_SESSION_TRACK = 1u << 23,
    CAP_DEPRECATE_EOF = 1u << 24,
    CAP_ZSTD = 1u << 26,
    CAP_QUERY_ATTRIBUTES = 1u << 27,
};

/* What a Holdfast server offers (CAP_SSL is added when there is a certificate) and what our client side asks
 * for. */
#define CAPS_BOTH                                                                                            \
    (CAP_LONG_PASSWORD | CAP_LONG_FLAG | CAP_PROTOCOL_41 | CAP_TRANSACTIONS | CAP_SECURE_CONNECTION |        \
     CAP_MULTI_RESULTS | CAP_PLUGIN_AUTH | CAP_CONNECT_ATTRS | CAP_AUTH_LENENC | CAP_DEPRECATE_EOF |         \
     CAP_QUERY_ATTRIBUTES)
#define CAPS_SERVER ((uint32_t)(CAPS_BOTH | CAP_FOUND_ROWS | CAP_CONNECT_WITH_DB))
#define CAPS_CLIENT ((uint32_t)CAPS_BOTH)

enum packet_status { STATUS_IN_TRANS = 0x0001, STATUS_AUTOCOMMIT = 0x0002, STATUS_MORE_RESULTS = 0x0008 };

enum packet_charset { CHARSET_UTF8MB4_GENERAL = 45, CHARSET_BINARY = 63, CHARSET_UTF8MB4_0900 = 255 };

/* Column types (also those of query attributes). */
enum packet_type {
    TYPE_DECIMAL = 0,
    TYPE_TINY = 1,
    TYPE_SHORT = 2,
    TYPE_LONG = 3,
    TYPE_FLOAT = 4,
    TYPE_DOUBLE = 5,
    TYPE_NULL = 6,
    TYPE_TIMESTAMP = 7,
    TYPE_LONGLONG = 8,
    TYPE_INT24 = 9,
    TYPE_DATE = 10,
    TYPE_TIME = 11,
    TYPE_DATETIME = 12,
    TYPE_YEAR = 13,
    TYPE_LONG_BLOB = 251,
    TYPE_BLOB = 252,
    TYPE_VAR_STRING = 253,
    TYPE_STRING = 254,
};

enum packet_column_flag {
    COLUMN_NOT_NULL = 0x0001,
    COLUMN_UNSIGNED = 0x0020,
    COLUMN_BINARY = 0x0080,
    COLUMN_NUM = 0x8000,
};

/* Error numbers with their SQL states: name, number, state. */
#define PACKET_ERRORS(X)                                                                                     \
    X(ER_CON_COUNT, 1040, "08004")                                                                           \
    X(ER_HANDSHAKE, 1043, "08S01")                                                                           \
    X(ER_DBACCESS_DENIED, 1044, "42000")                                                                     \
    X(ER_ACCESS_DENIED, 1045, "28000")                                                                       \
    X(ER_NO_DB, 1046, "3D000")                                                                               \
    X(ER_UNKNOWN_COM, 1047, "08S01")                                                                         \
    X(ER_SERVER_SHUTDOWN, 1053, "08S01")                                                                     \
    X(ER_PARSE, 1064, "42000")                                                                               \
    X(ER_NO_SUCH_THREAD, 1094, "HY000")                                                                      \
    X(ER_KILL_DENIED, 1095, "HY000")                                                                         \
    X(ER_UNKNOWN, 1105, "HY000")                                                                             \
    X(ER_NET_PACKET_TOO_LARGE, 1153, "08S01")                                                                \
    X(ER_NET_PACKETS_OUT_OF_ORDER, 1156, "08S01")                                                            \
    X(ER_UNKNOWN_VARIABLE, 1193, "HY000")                                                                    \
    X(ER_SPECIFIC_ACCESS_DENIED, 1227, "42000")                                                              \
    X(ER_WRONG_VALUE_FOR_VAR, 1231, "42000")                                                                 \
    X(ER_WRONG_TYPE_FOR_VAR, 1232, "42000")                                                                  \
    X(ER_NOT_SUPPORTED_YET, 1235, "42000")                                                                   \
    X(ER_DUMP_FATAL, 1236, "HY000")                                                                          \
    X(ER_VARIABLE_READONLY, 1238, "HY000")                                                                   \
    X(ER_SP_DOES_NOT_EXIST, 1305, "42000")                                                                   \
    X(ER_QUERY_INTERRUPTED, 1317, "70100")                                                                   \
    X(ER_CANNOT_USER, 1396, "HY000")                                                                         \
    X(ER_MALFORMED_GTID_SET, 1772, "HY000")                                                                  \
    X(ER_MALFORMED_GTID_ENCODING, 1773, "HY000")                                                             \
    X(ER_MALFORMED_PACKET, 1835, "HY000")                                                                    \
    X(ER_BAD_GTID_LIST, 1941, "HY000")                                                                       \
    X(ER_SECURE_TRANSPORT, 3159, "HY000")                                                                    \
    X(ER_SAME_SLAVE, 4052, "HY000")

enum packet_error {
#define PACKET_ERROR_ENUM(name, number, state) name = number,
    PACKET_ERRORS(PACKET_ERROR_ENUM)
#undef PACKET_ERROR_ENUM
};

/* The SQL state of an error number; "HY000" when it is not in the table. */
const char *packet_sqlstate(unsigned code);

#endif
