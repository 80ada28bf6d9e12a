/* settings.h: what an operator may tune for the whole cluster: one table; the values are replicated state.
 *
 * SET GLOBAL holdfast_NAME = value, SHOW SETTINGS, holdfast setting list|set. A value that was never set, or was
 * set to DEFAULT, is the table's. Readers ask for the value when they need it, on the loop. */
#ifndef HOLDFAST_NODE_SETTINGS_H
#define HOLDFAST_NODE_SETTINGS_H

#include "raft/state.h"

enum setting_kind { SETTING_NUMBER, SETTING_BYTES /* K, M and G may stand behind it */, SETTING_CHOICE };

/* name, kind, least, greatest (of numbers), the choices, default, help */
#define SETTINGS(X)                                                                                                       \
    X(cluster_server_id, SETTING_NUMBER, 1, UINT32_MAX, NULL, "",                                                        \
      "server_id towards the source; chosen at random when the cluster was made; counts from the next connect on")      \
    X(default_auth, SETTING_CHOICE, 0, 0, "any|caching_sha2_password|mysql_native_password", "any",                     \
      "the password plugin of new accounts for which none is named; any: whichever of both the client can do")          \
    X(max_connections, SETTING_NUMBER, 0, 20000, NULL, "0",                                                              \
      "clients from the network at a time, on each node; 0: as many as there are descriptors for, up to 20000")         \
    X(replica_queue, SETTING_BYTES, 64 << 10, 1 << 30, NULL, "256K",                                                     \
      "bytes that may wait for one replica that does not read")                                                          \
    X(semi_sync_within, SETTING_BYTES, 4 << 10, 1ull << 40, NULL, "16M",                                                 \
      "this near to the source's end the cluster acknowledges; while it is further behind it catches up first")          \
    X(replica_queue_all, SETTING_BYTES, 1 << 20, 1ull << 40, NULL, "32M",                                                \
      "bytes that may wait for all replicas of a node together: with many of them each gets less")                      \
    X(replica_grace, SETTING_NUMBER, 0, 604800, NULL, "3600",                                                            \
      "seconds for which binlog files stay that a replica was reading when it left")                                     \
    X(replica_margin, SETTING_BYTES, 0, 1ull << 40, NULL, "16M",                                                         \
      "what was sent to a replica within the last minute may be lost with its connection, so much of it: binlog files in it stay") \
    X(binlog_expire_logs_seconds, SETTING_NUMBER, 0, UINT32_MAX, NULL, "0",                                              \
      "binlog files whose last event is older are purged, unless a replica needs them; 0: never")                        \
    X(max_binlog_total_size, SETTING_BYTES, 0, 1ull << 50, NULL, "0",                                                    \
      "of the binlog files of a node; beyond it the oldest are purged, unless a replica needs them; 0: no limit")        \
    X(fetch_rate, SETTING_BYTES, 0, 1ull << 40, NULL, "0",                                                               \
      "bytes a second at which a member fetches files that it lacks; 0: four fifths of what goes, for the commits' sake")   \
    X(log_compression, SETTING_CHOICE, 0, 0, "off|on", "off",                                                            \
      "lz4 for events in the log and between members, where it saves an eighth; costs the leader time for each commit") \
    X(follow, SETTING_CHOICE, 0, 0, "manual|auto", "manual",                                                             \
      "auto: another server of the source's addresses may be followed, if it is writable, waits for ACKs and holds everything")

enum setting_id {
#define SETTING_ENUM(name, ...) SETTING_ID_##name,
    SETTINGS(SETTING_ENUM)
#undef SETTING_ENUM
        SETTING_COUNT
};

struct setting {
    const char *name;
    enum setting_kind kind;
    uint64_t min, max;
    const char *choices; /* joined by |; NULL for numbers */
    const char *standard;
    const char *help;
};

extern const struct setting SETTINGS_TABLE[SETTING_COUNT];

const struct setting *setting_find(const char *name); /* without holdfast_, without regard to case; NULL */

/* What may stand there, for people: "0 to 20000", "any, caching_sha2_password, …". */
void setting_range(const struct setting *setting, struct buf *out);

/* `text` as it is to be kept; E_INVALID: it may not be. */
int setting_read(const struct setting *setting, const char *text, char value[sizeof((struct entry_setting *)0)->value]);

/* As it is in force. */
const char *setting_text(const struct state *state, enum setting_id id);
uint64_t setting_number(const struct state *state, enum setting_id id); /* numbers and bytes; 0 for an empty default */

#endif
