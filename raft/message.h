/* message.h: what members say to each other: bytes in, bytes out.
 *
 * A frame is a head (magic, version, kind, length of the body, checksums of both) and a body. Nothing in a body is looked at before its
 * checksum was; every field is read through the cursor. Who sent a frame is known from the connection's first one, the hello.
 * A frame of a newer version, of an unknown kind, or longer than MESSAGE_MAX ends the connection with a reason. */
#ifndef HOLDFAST_RAFT_MESSAGE_H
#define HOLDFAST_RAFT_MESSAGE_H

#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/base/err.h"
#include "protocol/gtid.h"
#include "raft/level.h"

#include <raft.h>

enum {
    MESSAGE_VERSION = 1,
    MESSAGE_HEAD = 24,
    MESSAGE_MAX = 9 << 20,        /* of a body: one entry (ENTRY_MAX) always fits */
    MESSAGE_APPEND_MAX = 2 << 20, /* of entries in one message, when there is more than one */
    MESSAGE_ENTRIES_MAX = 65536,
    MESSAGE_LEVEL = FEATURE_LEVEL, /* of this program */
};

enum { INCARNATION_RANDOM_BITS = 48 };
#define INCARNATION_RANDOM(incarnation) ((incarnation) & ((1ull << INCARNATION_RANDOM_BITS) - 1))
#define INCARNATION_COUNTER(incarnation) ((incarnation) >> INCARNATION_RANDOM_BITS)
#define INCARNATION_COUNTER_MAX 0xffff

enum message_kind {
    MESSAGE_HELLO = 1, /* first on a connection, from who made it */
    MESSAGE_WELCOME,   /* the answer; from then on the maker of the connection speaks, the other side only says that it lives */
    MESSAGE_REFUSAL,   /* ... or this, and the connection ends */
    MESSAGE_APPEND,
    MESSAGE_APPEND_RESULT,
    MESSAGE_VOTE,
    MESSAGE_VOTE_RESULT,
    MESSAGE_TIMEOUT_NOW,
    MESSAGE_FORM,   /* the formation of a cluster (raft/formation.h) */
    MESSAGE_REPORT, /* what a member tells of itself every second */
    MESSAGE_ALIVE,  /* the answer to it, on the same connection */
    MESSAGE_ASK,    /* a statement for the leader, from a member where a client typed it */
    MESSAGE_ANSWER,
    MESSAGE_JOIN,        /* instead of a hello: from a node with an empty data directory that is to join */
    MESSAGE_JOIN_ANSWER, /* ... and the connection ends */
    MESSAGE_OFFER, /* a snapshot that a follower may install (raft/fetch.h): all but the manifest's bytes */
    MESSAGE_FETCH, /* bytes of a manifest or a binlog file are asked for */
    MESSAGE_PIECE, /* ... and come */
    MESSAGE_KINDS, /* not one of them */
};

enum { MESSAGE_MEMBERS_MAX = 16, MESSAGE_ADDRESS_SIZE = 300 };

struct message_hello {
    uint32_t level;
    uint64_t from, to;           /* ids */
    uint64_t incarnation;        /* of `from` */
    uint64_t to_incarnation;     /* as the sender knows it; 0: not yet */
    char cluster[UUID_TEXT_SIZE]; /* "" while there is none */
    uint64_t list;               /* sum over initial_cluster, for the formation */
    uint64_t term;
    uint64_t last_stored;
    char address[MESSAGE_ADDRESS_SIZE]; /* of `from`, as the cluster has it; "" while it is not known */
};

enum refusal { /* why a hello is refused */
    REFUSAL_OTHER = 1,
    REFUSAL_CLUSTER,     /* of another cluster */
    REFUSAL_LIST,        /* another initial_cluster */
    REFUSAL_ID,          /* not who was meant */
    REFUSAL_INCARNATION, /* another data directory than this member's */
    REFUSAL_EXISTS,      /* the sender is empty, but the cluster exists */
    REFUSAL_UNKNOWN,     /* no member */
    REFUSAL_INVITED,     /* the sender is empty, the cluster exists and waits for it: it is to ask with JOIN */
    REFUSAL_REMOVED,     /* it was a member, or its data directory was: it is none any more, and that is committed and for good */
    REFUSAL_LOST,        /* it has less than it once acknowledged */
    REFUSAL_LEVEL,       /* the cluster's entries are of a level that the sender does not know */
    REFUSAL_UNHEARD,     /* the refuser's log does not say yet that the sender is a member */
};

struct message_refusal {
    enum refusal why;
    char cluster[UUID_TEXT_SIZE]; /* the refuser's */
    char text[512];
};

/* ---- frames ---- */
void message_begin(struct buf *b, enum message_kind kind); /* appended to b: several frames may stand in one buffer */
void message_end(struct buf *b, size_t begin);             /* `begin`: b->len before message_begin */

/* The next frame in n bytes. 1: it is whole: *kind, *body, and *used bytes were taken; 0: more bytes are needed; E_MALFORMED, E_VERSION, E_TOOBIG. */
int message_next(const uint8_t *data, size_t n, enum message_kind *kind, struct cur *body, size_t *used, struct errmsg *em);

/* ---- hello ---- */
void message_hello_put(struct buf *b, enum message_kind kind, const struct message_hello *h); /* HELLO or WELCOME; a whole frame */
int message_hello_get(struct cur *body, struct message_hello *h);
void message_refusal_put(struct buf *b, const struct message_refusal *r);
int message_refusal_get(struct cur *body, struct message_refusal *r);

/* ---- joining (raft/join.h) ---- */

struct message_join {
    uint32_t level;
    uint64_t id;
    uint64_t incarnation;         /* of the data directory: its random part, and the counter that it was told */
    char cluster[UUID_TEXT_SIZE]; /* "" until it was told */
};

enum join_verdict { JOIN_WAIT = 1 /* ask again */, JOIN_YES, JOIN_NO /* for good */ };

struct message_member {
    uint64_t id, incarnation;
    char address[MESSAGE_ADDRESS_SIZE];
};

struct message_join_answer {
    enum join_verdict verdict;
    uint64_t leader; /* 0: not known */
    char cluster[UUID_TEXT_SIZE];
    char text[512]; /* why not */
    struct message_member members[MESSAGE_MEMBERS_MAX];
    size_t n;
};

void message_join_put(struct buf *b, const struct message_join *j); /* whole frames */
int message_join_get(struct cur *body, struct message_join *j); /* E_MALFORMED: also without an id, or a random part */
void message_join_answer_put(struct buf *b, const struct message_join_answer *a);
int message_join_answer_get(struct cur *body, struct message_join_answer *a);

/* ---- libraft's messages ---- */

/* How many of the entries go into one message: at least one (if there is any). */
unsigned message_entries_fit(const struct raft_entry *entries, unsigned n);

/* A whole frame with the first `n_entries` entries of an append. INSTALL_SNAPSHOT becomes an offer, without the data. */
bool message_raft_put(struct buf *b, const struct raft_message *m, unsigned n_entries);

/* Fills the message but for server_id and server_address. Entries are raft_malloc'ed, one block for all their bytes: libraft's when it is handed
 * over, else message_raft_free. E_MALFORMED. */
int message_raft_get(enum message_kind kind, struct cur *body, struct raft_message *m);

/* ---- snapshots and what they stand for ---- */

/* An offer: the message in libraft's form; its configuration is raft_configuration_close's; data.base is NULL, data.len what it will be. */
int message_offer_get(struct cur *body, struct raft_message *m, uint32_t *sum); /* *sum: CRC32C of the data */

struct message_fetch {
    uint64_t ticket;
    uint64_t manifest; /* the index of the snapshot whose manifest is asked for; 0: of this file: */
    uint64_t era;
    char name[256];
    uint64_t offset;
    uint32_t n;
};
enum { MESSAGE_PIECE_MAX = 256 << 10 };
enum piece { PIECE_HERE, PIECE_LATER, PIECE_GONE }; /* LATER: it has not come that far, or has too much to do */

struct message_piece {
    uint64_t ticket;
    enum piece status;
    const uint8_t *data; /* in the body */
    size_t n;
};

void message_fetch_put(struct buf *b, const struct message_fetch *f); /* whole frames */
int message_fetch_get(struct cur *body, struct message_fetch *f);
/* The same in two steps, for bytes that are read into their place: the room for n of them (NULL: none), then how many there are. */
uint8_t *message_piece_room(struct buf *b, uint64_t ticket, size_t n);
void message_piece_filled(struct buf *b, size_t n);
void message_piece_put(struct buf *b, const struct message_piece *p);
int message_piece_get(struct cur *body, struct message_piece *p);
void message_raft_free(struct raft_message *m);

#endif
