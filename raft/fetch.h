/* fetch.h: a follower that lacks more than the leader's log still has takes the files from the other members.
 *
 * libraft offers a snapshot: the manifest. Before it may see that, what the manifest names and is not here is fetched, checked and made
 * durable in fetch/ (raft/fetch_disk.h); only then is the offer handed over, and the files take their places (storage/install.h).
 * Until then this member's log, its votes and its answers are those of what it really has.
 *
 * Owner: raft/cluster_fetch.c; loop env. */
#ifndef HOLDFAST_RAFT_FETCH_H
#define HOLDFAST_RAFT_FETCH_H

#include "protocol/base/env.h"
#include "raft/message.h"
#include "raft/snapshot.h"
#include "raft/state.h"
#include "storage/install.h"

enum { FETCH_PEERS = 16 };

struct fetch;

/* All on the loop env. They may not close. */
struct fetch_handler {
    bool (*send)(void *owner, uint64_t peer, struct buf *frame);  /* false: not now */
    size_t (*peers)(void *owner, uint64_t *ids, size_t max);      /* members that can be asked now */
    const struct state *(*state)(void *owner);                    /* what is applied here; storage has no more and no less */
    const struct snapshot *(*snapshot)(void *owner);              /* our own last one; NULL */
    /* From now on the leader of this term is to be told nothing of our log; 0: that is over. */
    void (*fetching)(void *owner, uint64_t leader, uint64_t term);
    /* Everything is there. Hand it over when that may be (fetch_take), now or later. */
    void (*whole)(void *owner);
};

struct fetch_progress {
    bool active;
    uint64_t index;      /* of the snapshot */
    uint64_t done, of;   /* bytes */
};

int fetch_open(struct env *loop, const char *data_dir, const struct fetch_handler *handler, void *owner, struct fetch **fetch, struct errmsg *em);
void fetch_close(struct fetch *fetch);

/* The leader's offer; takes the message's configuration. */
void fetch_offered(struct fetch *fetch, uint64_t leader, struct raft_message *m, uint32_t sum);
void fetch_asked(struct fetch *fetch, uint64_t peer, const struct message_fetch *f);
void fetch_came(struct fetch *fetch, uint64_t peer, const struct message_piece *p);

/* Is all of it there for an offer of this term? Then the message with its data (its address is not set), and what storage is to put in place;
 * `install` stays until fetch_installed. */
bool fetch_take(struct fetch *fetch, uint64_t term, struct raft_message *m, const struct install **install);
void fetch_installed(struct fetch *fetch); /* or it was not needed any more */

struct fetch_progress fetch_progress(const struct fetch *fetch);

#endif
