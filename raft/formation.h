/* formation.h: how a cluster is born: all of initial_cluster, empty and agreeing, once.
 *
 * Every node durably writes what it is (raft/cluster: EMPTY, with the sum over its list) before it tells the others. The one with the lowest
 * id collects all answers, names the cluster, and durably writes that (PREPARED: the name, and every member with its
 * incarnation); the others write the same; when all have, the log's first entry is written everywhere (FORMED). A node that stopped in
 * between goes on where it was. Whoever is still EMPTY when a member says that the cluster is formed has lost its data:
 * it must not vote, and is refused.
 *
 * A node whose cluster has lost its majority for good can be made a cluster of its own, on an operator's word (ALONE).
 *
 * A member that was removed, or whose data directory was replaced, remembers that (REMOVED): when it is started again, maybe nobody is there any more of those
 * whom it knows, and it would serve what it had to replicas for good. This is final, as an id that was removed is never used again and the counter of
 * a member's data directories only grows: so only the word of a member of the same cluster counts to which all of that is committed, or its own log's.
 *
 * A node that is to join a cluster that exists has nothing to agree on: it asks (raft/join.h), and durably writes what it is told (JOINED) before
 * it takes part.
 *
 * An incarnation is one data directory of a member: a counter that the cluster gives (0: since its birth) and a random part that the directory has
 * from its first start.
 *
 * Owner: raft/cluster.c; loop env. Files are written on the loop: there is nothing else to do yet. */
#ifndef HOLDFAST_RAFT_FORMATION_H
#define HOLDFAST_RAFT_FORMATION_H

#include "protocol/base/env.h"
#include "protocol/gtid.h"
#include "raft/message.h"

enum { FORMATION_MEMBERS_MAX = 16, FORMATION_ADDRESS = 300, FORMATION_REASON = 512 };

enum formation_phase {
    FORMATION_EMPTY = 1,
    FORMATION_PREPARED,
    FORMATION_FORMED,
    FORMATION_JOINED,  /* and nothing was seen in the log yet */
    FORMATION_JOINING, /* never in the file */
    FORMATION_ALONE,   /* this node is all of a cluster with a new name: decided; the log does not say so yet (raft/recover.h) */
    FORMATION_REMOVED, /* only in the file: it was a member, and is none any more, for good */
};

struct formation_member {
    uint64_t id;
    uint64_t incarnation; /* 0: not known yet */
    char address[FORMATION_ADDRESS]; /* host:port */
};

struct formation {
    struct env *loop;
    char *dir;
    uint64_t self;
    uint64_t list; /* sum over ids and addresses */
    enum formation_phase phase;
    char cluster[UUID_TEXT_SIZE]; /* "" while EMPTY */
    struct formation_member members[FORMATION_MEMBERS_MAX]; /* by id */
    size_t n;
    char removed[FORMATION_REASON]; /* why it is no member any more, and what to do; "": nobody has said so */
    struct { /* what the others said last, same order as members */
        enum formation_phase phase; /* 0: nothing yet */
        uint64_t incarnation;
        char cluster[UUID_TEXT_SIZE];
    } heard[FORMATION_MEMBERS_MAX];
};

/* Reads dir/cluster, or durably makes it: EMPTY. The list of members is the configuration's while EMPTY, the file's later. Without a list (n = 0)
 * it is JOINING. `incarnation`: the random part. */
int formation_open(struct env *loop, const char *dir, uint64_t self, uint64_t incarnation, const struct formation_member *initial, size_t n,
                   struct formation *f, struct errmsg *em);
void formation_close(struct formation *f);

/* What this node tells the others while it is not over: a whole frame. */
void formation_put(const struct formation *f, struct buf *b);

/* A member's word. 0; E_MALFORMED; E_INVALID: its list is another one (em); E_EXISTS: the cluster is formed already and we are not part of
 * it (em). Call formation_step afterwards. */
int formation_heard(struct formation *f, uint64_t from, struct cur *body, struct errmsg *em);

bool formation_says_formed(struct cur body); /* does such a word say that its sender is through? */

/* Does what can be done now. True: everybody is prepared: write the first entry, then call formation_formed. */
bool formation_step(struct formation *f);
void formation_formed(struct formation *f);

static inline bool formation_is_member(const struct formation *f) /* of a cluster that exists */
{
    return f->phase == FORMATION_FORMED || f->phase == FORMATION_JOINED;
}

uint64_t formation_incarnation(const struct formation *f); /* this node's, as far as it is known */

/* This node is to be taken in by a cluster that exists. */
void formation_join(struct formation *f);
/* It was: what it was told, durably. */
void formation_joined(struct formation *f, const char *cluster, const struct formation_member *members, size_t n);

/* The cluster had a quorum and has lost it for good: this node is to be a new one, alone, with a data directory of this counter. Durably decided;
 * what follows is recover_finish's. */
void formation_alone(struct formation *f, const char *address, uint64_t counter);

/* This data directory is no member's any more, for good: durably. The phase stays as it is until the node ends; when it is read again it is REMOVED, and
 * the node must not start. */
void formation_removed(struct formation *f, const char *why);

/* "host:port/incarnation": a member's address as libraft carries it, and back. */
void formation_address(const struct formation_member *m, char *text, size_t size);
int formation_address_parse(const char *text, struct formation_member *m); /* E_INVALID; the id is left alone */

#endif
