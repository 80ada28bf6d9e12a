/* source_impl.h: the inside of the source link, shared by source.c (phases, connection), source_ask.c (queries) and source_stream.c
 * (events, proposals, acknowledgements). */
#ifndef HOLDFAST_NODE_SOURCE_IMPL_H
#define HOLDFAST_NODE_SOURCE_IMPL_H

#include "node/client.h"
#include "node/source.h"

#include "protocol/auth_client.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/result.h"
#include "protocol/txn.h"
#include "protocol/wire.h"

enum {
    SOURCE_HEARTBEAT_S = 1,        /* asked of the source */
    SOURCE_SILENCE_S = 5,          /* then the connection counts as dead, if a last look finds nothing to read either */
    SOURCE_CONNECT_S = 10,         /* for connect, login and queries together */
    SOURCE_LOOK_AGAIN_S = 5,       /* at a server that lacks what is held: it may be compensated meanwhile */
    SOURCE_RECENT_S = 60,          /* who has an event younger than this is not far behind */
    SOURCE_RESULT_MAX = 64 << 20,
    SOURCE_EVENT_MAX = (1 << 30) + (64 << 20),
    SOURCE_STORE_MAX = 64 << 20,   /* bytes that wait for the binlog files: beyond, the socket is not read */
    SOURCE_IN_FLIGHT_MAX = 8 << 20, /* bytes proposed and not applied: beyond, the socket is not read */
    SOURCE_BACKOFF_FIRST_MS = 100,
    SOURCE_BACKOFF_MAX_MS = 10000
};

/* Connections before the one that is followed on: short dumps whose answer is one fact. */
enum source_probe {
    PROBE_NONE, /* the real one */
    PROBE_HEAD, /* the newest file's format description, and the GTID state behind it, are those held here */
    PROBE_TAIL, /* so is the last transaction */
    PROBE_FIND, /* which file a start from a GTID set begins in: the first one, or on another server behind all that is held */
    PROBE_BEFORE, /* of a MySQL server: does something that is lacking stand in the files before that one? */
};


/* What the queries on one connection told. */
struct source_peer {
    struct entry_origin origin; /* flavour, version, server id, uuid */
    uint64_t clock;             /* seconds; 0: it did not say */
    uint64_t node_era; /* another cluster's node: its era that is read; 0: it is none, or follows nobody yet */
    bool node_empty;   /* another cluster's node, which holds nothing yet */
    bool own;          /* a member of this cluster */
    enum event_checksum checksum;
    bool semi_sync;    /* asked for: its packets have the semi-sync header */
    bool semi_sync_on; /* and it is switched on there, as far as we know */
    bool encrypted;    /* MySQL: it encrypts its binlog files */
    char start_file[FILE_NAME_SIZE]; /* where a first dump begins; "" is the oldest */
    char next_file[FILE_NAME_SIZE];  /* of the source, behind our newest one; "" when there is none, or it did not say */
    char before_file[FILE_NAME_SIZE]; /* before found_file; likewise */
    char end_file[FILE_NAME_SIZE];   /* the source's end at the time; "" when it did not say */
    uint64_t end_position;
    uint64_t behind;                 /* bytes from our end to it */
    /* asked of another server than the one that was followed: */
    char gtid_mode[32];              /* MySQL; "" when there is none */
    struct gtid_set *has;            /* all that it has executed; MariaDB: its binlog's state */
    struct gtid_set *applied;        /* MariaDB: where it stood as a replica */
    bool writable;
};

/* Events on their way into one EVENTS entry. */
struct source_batch {
    struct buf bytes;
    struct buf txns;
    struct entry_txn last;
    uint64_t offset;   /* of bytes[0] */
    uint64_t boundary; /* last transaction end at or below offset + bytes.len */
    uint64_t ack;      /* end of the last event that asked for an acknowledgement; 0: none */
    uint64_t asked_at; /* when the first one that asked was read */
    uint32_t timestamp; /* of the last event */
    bool complete;     /* a transaction (or what stands between two) ended in it */
};

/* source_nudge.c */
struct source_nudge {
    struct client *client; /* NULL: none is needed */
    bool ready;            /* it may ask for its dump */
    uint64_t begun;        /* when the dump did; 0: none has */
    uint64_t until;        /* the source may be deaf until then */
    struct env_timer timer;
    uint64_t brought;      /* when the last one was; 0: none was */
    uint32_t server_id;
    char file[FILE_NAME_SIZE];
    uint64_t wanted; /* position to acknowledge; 0: nothing new */
};

struct source {
    struct env *loop;
    struct cluster *cluster;
    struct source_status status;
    bool leading;
    struct source_settings settings; /* of this connection */
    struct env_addr addr;            /* the candidate in use */
    size_t candidate;                /* its number */
    uint64_t refused;                /* a bit for each candidate that the follow rule forbids */
    uint64_t lacking;                /* ... because it lacks what is held: it may get that yet */
    struct env_timer timer;          /* next try, connect limit, silence */
    bool silent;                     /* the limit has passed once; the socket gets a last look */
    uint64_t backoff_ms;
    uint64_t connection; /* counts up; callbacks of an older one do nothing */

    struct env_stream *stream;
    struct wire *wire;
    struct client_auth *auth;
    struct tls_ctx *tls;
    struct pem_request *reading; /* TLS files, for the connection `reading_for` */
    uint64_t reading_for;
    struct result result;
    uint64_t read_at; /* when the last bytes came */
    struct latency latency[STAGES];
    uint32_t caps;
    size_t step; /* source_ask.c */
    enum source_probe probe;
    bool asking_logs, skip_logs; /* the source's end: see source_ask.c */
    char found_file[FILE_NAME_SIZE]; /* by PROBE_FIND, and PROBE_BEFORE */
    bool looked_before;
    struct entry_origin found_at;    /* ... on this server */
    char torn_file[FILE_NAME_SIZE];  /* the source cannot read this one to its end: see source_stream.c */
    uint32_t probe_crc;
    uint64_t probe_got; /* bytes */
    struct source_peer peer;

    struct source_nudge nudge;
    struct event_format format;
    struct txn txn;
    char file[FILE_NAME_SIZE];
    uint64_t era;
    uint64_t position;       /* end of what was received of `file` */
    bool file_pending;       /* `file` is new: its FILE entry waits for the GTID state in its head */
    bool located;            /* the first ROTATE has told where the dump begins */
    struct source_batch batch;
    uint64_t in_flight;      /* bytes */
    unsigned flights;
    bool paused;
    bool draining; /* asked storage to say when it has nothing to write any more */
};

/* source.c: ends the connection and tries again later (or never: `refused`). The text is what an operator sees. */
void source_failed(struct source *s, uint16_t code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void source_again(struct source *s); /* a new connection at once: this one has told what it was for */
void source_refused(struct source *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void source_lacks(struct source *s, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* refused for now: looked at again */
void source_phase(struct source *s, enum source_phase phase);
void source_well(struct source *s); /* something came of this connection: the next failure is a first one again */
void source_send(struct source *s);

void source_reach(struct source *s); /* the login is prepared: calls the source */

/* source_login.c */
void source_login_begin(struct source *s); /* goes on with source_reach or source_failed, maybe later */
void source_login_note(struct source *s);
void source_login_end(struct source *s);   /* before the source is freed */

/* source_ask.c */
void source_ask_begin(struct source *s);
void source_ask_packet(struct source *s, const struct packet *p);

/* source_follow.c */
bool source_is_another(const struct source *s); /* than the one whose binlog is held here; once it has told who it is */
bool source_follow_rule(struct source *s);      /* may it be followed? false: refused, with the reason */
bool source_follows_by_itself(const struct source *s); /* another of its addresses, without being told */
/* The answers of another server. */
void source_take_gtid_mode(struct source *s, const char *mode);
void source_take_has(struct source *s, const char *text);
void source_take_applied(struct source *s, const char *text);
void source_forget_peer(struct source *s);

/* source_probe.c */
enum source_probe source_probe_first(const struct source *s);
void source_probe_begin(struct source *s);
void source_probe_packet(struct source *s, const struct packet *p);
/* Reads the header of an event from the source and checks its sum. */
int source_check_event(const struct source *s, const uint8_t *event, size_t n, struct event_header *h, struct errmsg *em);

/* A format description that only stands for the file's own, for a start in its middle: it says so by having no place. Beyond 4 GiB it is
 * asked for by the command with a GTID set, and then MySQL leaves the place of the file's own in it. */
static inline bool source_is_copy(const struct source *s, const struct event_header *h)
{
    return h->type == EVENT_FORMAT_DESCRIPTION && (h->log_pos == 0 || s->position > UINT32_MAX);
}
void source_stream_stuck(struct source *s); /* it does not go on where it stands: maybe a torn file */
bool source_torn(const struct source *s); /* the newest file held here is the torn one */
bool source_permanent(const struct stream_packet *error); /* an error that trying again cannot mend */
/* What PROBE_FIND asks behind: all that is held, on another server; else `start`; NULL: that is no GTID set of that flavour */
struct gtid_set *source_probe_set(const struct source *s, enum flavour flavour);

/* source_nudge.c */
void source_nudge_begin(struct source *s, uint32_t server_id); /* the dump begins */
void source_nudge_ack(struct source *s, const char *file, uint64_t position); /* an acknowledgement was sent */
void source_nudge_end(struct source *s);
int source_nudge_open(struct source *s);
void source_nudge_close(struct source *s); /* before the source is freed */

/* source_stream.c */
void source_stream_begin(struct source *s);
void source_stream_packet(struct source *s, const struct packet *p);
void source_stream_flush(struct source *s); /* all packets of one read are taken: propose what can be */
void source_stream_end(struct source *s);   /* the connection is gone: what was not proposed is forgotten */

#endif
