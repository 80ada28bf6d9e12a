/* source.h: the link to the source: the leader dumps its binlog, proposes it, and acknowledges what a quorum has on disk.
 *
 * Owner: the daemon; loop env. It follows the replicated source settings while this node leads. */
#ifndef HOLDFAST_NODE_SOURCE_H
#define HOLDFAST_NODE_SOURCE_H

#include "protocol/base/latency.h"
#include "raft/cluster.h"

struct source;

enum source_phase {
    SOURCE_OFF,        /* not leading, no source set, or stopped */
    SOURCE_WAITING,    /* for the next try */
    SOURCE_PREPARING,  /* an own NOOP: leadership proven, own proposals settled, unfinished transaction cut */
    SOURCE_CONNECTING,
    SOURCE_ASKING,     /* logged in, querying */
    SOURCE_PROVING,    /* a short dump of its own: is it the history held here, where does it begin */
    SOURCE_STREAMING,
    SOURCE_REFUSED,    /* the follow rule forbids it: an operator has to act */
};

/* Where an acknowledgement spends its time. */
enum source_stage {
    STAGE_RECEIVE, /* from the read of the event that asked for it until the entry is begun: it waits for the entry in flight */
    STAGE_WAL,     /* until the entry is in this node's log, on its disk */
    STAGE_PEERS,   /* until a quorum has it; nothing when the others were faster */
    STAGE_ACK,     /* until the acknowledgement is given to the socket */
    STAGE_TOTAL,
    STAGES
};

struct source_status {
    enum source_phase phase;
    char host[256];          /* the candidate in use, or tried last; as set while nothing is followed */
    uint16_t port;
    char error[1024];        /* of the last failed try; "" when none since START, or when it goes well again */
    uint16_t error_code;     /* MySQL's, where it came from the server */
    uint64_t error_wall;     /* microseconds */
    char file[FILE_NAME_SIZE]; /* being received */
    uint64_t received;       /* position received */
    uint64_t committed;      /* position durable on the quorum */
    char acked_file[FILE_NAME_SIZE];
    uint64_t acked;          /* last position acknowledged to the source */
    uint64_t acks;           /* acknowledgements sent since start */
    uint64_t events, transactions, bytes;
    uint64_t connects;
    bool semi_sync;          /* the source waits for our acknowledgements, as far as this connection can tell */
    bool encrypted;          /* the source's newest file is: same events here as there, but not the same bytes */
    bool catching_up;        /* far behind: without semi-sync, so that commits do not wait for old events */
    uint64_t behind;         /* bytes to the source's end as of this connection, less what came since */
    uint64_t last_event_wall;
    uint64_t since_wall;     /* when this phase began */
};

struct source *source_new(struct env *loop, struct cluster *cluster);
void source_free(struct source *source);                 /* after cluster_close: proposals refer to it until then */
void source_leading(struct source *source, bool leading);
/* The link has just begun to stream: the source may still count connections of ours, of this node or the leader before, that are over. */
bool source_is_new(const struct source *source);
void source_settings_changed(struct source *source);
void source_hurry(struct source *source); /* tries at once, if it waits for the next try */
/* The i-th of the candidates in settings->host ("db1,db2:3307,[::1]:3308"); false when there are no more, or it cannot be read. */
bool source_candidate(const struct source_settings *settings, size_t i, struct env_addr *addr);
void source_get_status(const struct source *source, struct source_status *status);
const struct latency *source_latency(const struct source *source, enum source_stage stage);
void source_latency_reset(struct source *source);
const char *source_phase_text(enum source_phase phase);

#endif
