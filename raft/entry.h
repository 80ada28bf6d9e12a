/* entry.h: the commands in the log: what a proposer builds, what every node's state machine reads.
 *
 * An entry is a header (version, kind, length of the body, and who proposed it: node, term, sequence), the body, and zeros up to a
 * multiple of 8 (libraft cannot read other lengths back). A proposer builds it with entry_begin, the fields, entry_end; the
 * proposer's fields are filled in by raft/cluster.c. A kind or version that this program does not know stops the node:
 * entries of a newer kind are only written when all voters know it. */
#ifndef HOLDFAST_RAFT_ENTRY_H
#define HOLDFAST_RAFT_ENTRY_H

#include "protocol/auth_hash.h"
#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"
#include "protocol/gtid.h"

enum {
    ENTRY_VERSION = 1, /* of an entry as it is built; in the log it is the cluster's feature level */
    ENTRY_HEAD = 32,
    ENTRY_EVENTS_TARGET = 1 << 20, /* bytes of events in one entry under load */
    ENTRY_MAX = 7 << 20,           /* of a whole entry: below WAL_WRITE_MAX */
    FILE_NAME_SIZE = 256,          /* with its NUL */
};

enum entry_kind {
    ENTRY_NOOP = 1, /* a barrier; cuts an unfinished transaction at the end of the newest file */
    ENTRY_FILE,     /* a new binlog file begins */
    ENTRY_EVENTS,   /* bytes for the newest file */
    ENTRY_SOURCE,   /* what source to follow, whole */
    ENTRY_USER,     /* accounts, each whole, or their removal */
    ENTRY_SETTING,  /* name and value */
    ENTRY_ALARM,    /* one begins, ends, or was read by an operator */
    ENTRY_PURGE,    /* the files before one are removed */
    ENTRY_MEMBER,   /* who is to be a member (raft/state_members.h) */
    ENTRY_RESET,    /* the whole history is put away */
};

struct entry_head {
    enum entry_kind kind;
    uint64_t node;
    uint64_t term;
    uint64_t seq;
};

/* Who a file comes from. */
struct entry_origin {
    enum flavour flavour;
    uint32_t server_id;
    char uuid[UUID_TEXT_SIZE]; /* "" for MariaDB */
    char version[64];
};

struct entry_file {
    uint64_t era;
    char name[FILE_NAME_SIZE];
    struct entry_origin origin;
    struct gtid_set *before; /* GTID state before the file; NULL: what was executed when it is applied */
};

/* How the bytes of events lie in an entry. */
enum { ENTRY_PLAIN, ENTRY_LZ4 };

/* The events themselves lie in the entry, or in `unpacked`, a block of its own; `txns` lies in the entry and is read with
 * entry_txn_next. Who reads an entry frees it with entry_events_free, or hands the block on. */
struct entry_events {
    uint64_t era;
    uint64_t offset;   /* of bytes[0] in the file */
    uint64_t boundary; /* last transaction end at or below offset + n */
    uint64_t ack;      /* end position to acknowledge to the source; 0: it asked for nothing */
    uint32_t timestamp; /* of the last event, by the source's clock; 0: unknown */
    char name[FILE_NAME_SIZE];
    struct cur txns;
    const uint8_t *bytes;
    size_t n;
    uint8_t *unpacked; /* mem block; NULL: the bytes lie in the entry */
    size_t packed;     /* so many bytes of the entry became n; 0: not packed */
    size_t how_at;     /* offset in the entry of what says how the bytes lie */
};

struct entry_txn {
    uint64_t end; /* offset in the file */
    struct gtid gtid;
};

struct source_settings {
    char host[256];
    uint16_t port;
    char user[97];
    char password[128];
    char ssl_mode[24];
    char ssl_ca[512], ssl_cert[512], ssl_key[512]; /* PEM files on each node; "" for none */
    char compression[16];       /* none | zlib | zstd[:level] */
    char start[FILE_NAME_SIZE]; /* oldest | now | FILE | GTID set */
    bool running;
};

enum { ROLE_REPLICA = 1, ROLE_MONITOR = 2, ROLE_ADMIN = 4 };

enum { USER_NAME_SIZE = 97, USER_HOST_SIZE = 96 };

/* Known by name and host pattern together. */
struct user_account {
    char name[USER_NAME_SIZE];
    char host[USER_HOST_SIZE]; /* %, localhost, an address, a pattern or a network */
    uint32_t roles;
    enum auth_plugin plugin;   /* that was asked for; AUTH_OTHER: whichever the client can do */
    bool locked;               /* nobody gets in */
    bool require_tls;
    struct account_secret secret;
};

/* One of those that a USER entry holds; all of them take effect together. */
struct entry_user {
    bool drop;
    struct user_account account;
};

struct entry_setting {
    char name[64];
    char value[256];
};

/* The oldest file that stays; nothing happens when it is the oldest one. */
struct entry_purge {
    uint64_t era;
    char name[FILE_NAME_SIZE];
};

/* Where the files go on each node: binlog/old/KEEP. Without effect while a source is followed. */
struct entry_reset {
    char keep[64];
};

/* What an operator has to know of, also when it is over. number, name in SQL */
#define ALARM_KINDS(X)                                                                                                     \
    X(LOSS_WINDOW, 1, "loss_window")    /* commits on the source returned without our acknowledgement */                   \
    X(OTHER_CLIENT, 2, "other_client")  /* another semi-sync client could acknowledge in our place */                      \
    X(ERRANT_REPLICA, 3, "errant_replica") /* a replica has what neither the cluster nor its source has; `from` names it */

enum alarm_kind {
#define ALARM_ENUM(name, number, text) ALARM_##name = number,
    ALARM_KINDS(ALARM_ENUM)
#undef ALARM_ENUM
};

const char *alarm_kind_text(enum alarm_kind kind);

struct alarm {
    uint64_t id;        /* given when the entry is applied; never used again */
    enum alarm_kind kind;
    uint64_t since;     /* wall clock of the leader, microseconds */
    uint64_t until;     /* 0: it goes on */
    bool acknowledged;
    char source[300];   /* host:port; of an errant replica its own */
    char from[512];     /* what was held when it began, as GTIDs, else file:position; ends in "..." when it is too long */
    char to[512];       /* ... when it ended */
    char text[512];
};

enum alarm_verb {
    ALARM_BEGIN = 1, /* nothing happens while one of its kind goes on */
    ALARM_END,       /* until, to and text; to be read again */
    ALARM_ACKNOWLEDGE,
};

struct entry_alarm {
    enum alarm_verb verb;
    struct alarm alarm; /* END and ACKNOWLEDGE: which one says its id */
};

enum { MEMBER_ADDRESS_SIZE = 300 }; /* host:port, with its NUL */

/* What a member is to become. */
enum member_goal { MEMBER_VOTER = 1, MEMBER_STANDBY, MEMBER_GONE };

enum member_verb {
    MEMBER_PLAN = 1, /* a goal for this id; takes the place of another one */
    MEMBER_DONE,     /* it is reached, or given up: nothing happens unless goal and counter are those of the plan */
    MEMBER_LEVEL,    /* entries may be of this feature level from here on: all voters know it */
};

struct entry_member {
    enum member_verb verb;
    uint64_t id;
    enum member_goal goal;
    bool fresh;       /* PLAN: with a data directory that the cluster does not know yet */
    bool again;       /* PLAN: the id is, or was, a member's */
    uint64_t counter; /* DONE: of the plan */
    uint32_t level;
    char address[MEMBER_ADDRESS_SIZE]; /* PLAN, fresh */
};

/* ---- building ---- */
void entry_begin(struct buf *b, enum entry_kind kind); /* b is empty */
void entry_end(struct buf *b);                         /* length and padding; errors stay in b->err */
void entry_own(struct buf *b, uint64_t node, uint64_t term, uint64_t seq);
void entry_set_level(struct buf *b, uint32_t level); /* the cluster's (raft/level.h): who knows less must not read it */

void entry_noop(struct buf *b);
void entry_put_file(struct buf *b, const struct entry_file *f);
/* txns: what entry_txn_put made; bytes: the events. */
void entry_put_events(struct buf *b, const struct entry_events *e, const struct buf *txns, const void *bytes, size_t n);
void entry_put_source(struct buf *b, const struct source_settings *s);
void entry_put_user(struct buf *b, const struct entry_user *u);
void entry_put_users(struct buf *b, const struct entry_user *users, size_t n); /* n > 0 */
void entry_put_setting(struct buf *b, const char *name, const char *value);
void entry_put_alarm(struct buf *b, const struct entry_alarm *a);
void entry_put_purge(struct buf *b, const struct entry_purge *p);
void entry_put_reset(struct buf *b, const struct entry_reset *r);
void entry_put_member(struct buf *b, const struct entry_member *m);

/* Packs the bytes of a built EVENTS entry, when that saves an eighth or more; else, and for other kinds, it stays as it is: false. */
bool entry_pack(struct buf *entry);
int entry_unpack(struct entry_events *e, uint32_t raw, const uint8_t *packed, size_t n); /* for entry.c */
void entry_events_free(struct entry_events *e);

/* Transaction ends, each relative to the one before (`last`, all zero at first, is kept by the caller across calls). */
void entry_txn_put(struct buf *txns, struct entry_txn *last, const struct entry_txn *txn);
bool entry_txn_next(struct cur *txns, struct entry_txn *last); /* false at the end or when malformed (cur_ok tells) */

/* ---- reading: E_MALFORMED, E_VERSION ---- */
int entry_read(const void *data, size_t n, struct entry_head *head, struct cur *body);
int entry_read_file(struct cur *body, struct entry_file *f); /* f->before belongs to the caller */
int entry_read_events(struct cur *body, struct entry_events *e); /* also E_TOOBIG, E_CORRUPT: what is packed cannot be */
int entry_read_source(struct cur *body, struct source_settings *s);
int entry_read_user(struct cur *body, struct entry_user *u); /* the next one; more follow while bytes are left */
int entry_read_setting(struct cur *body, struct entry_setting *s);
int entry_read_alarm(struct cur *body, struct entry_alarm *a);
int entry_read_purge(struct cur *body, struct entry_purge *p);
int entry_read_reset(struct cur *body, struct entry_reset *r);
int entry_read_member(struct cur *body, struct entry_member *m);

/* Parts that the snapshot's manifest has in common with the entries. */
void entry_source_put(struct buf *b, const struct source_settings *s);
void entry_source_get(struct cur *c, struct source_settings *s);
void entry_account_put(struct buf *b, const struct user_account *a);
void entry_account_get(struct cur *c, struct user_account *a);
void entry_alarm_put(struct buf *b, const struct alarm *a);
void entry_alarm_get(struct cur *c, struct alarm *a);
void entry_origin_put(struct buf *b, const struct entry_origin *o);
void entry_origin_get(struct cur *c, struct entry_origin *o);
void entry_set_put(struct buf *b, const struct gtid_set *set); /* NULL is fine */
int entry_set_get(struct cur *c, struct gtid_set **set);

#endif
