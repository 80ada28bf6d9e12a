/* peers.h: connections between members: one in each direction; who made it speaks on it.
 *
 * Owner: raft/link.c; loop env. A peer is known by its id; its address may change. What is sent to a peer whose connection is not up is
 * dropped: raft says it again. A connection that breaks is made anew at once, after that with growing pauses; one whose peer has not
 * answered a report for some seconds is broken off. */
#ifndef HOLDFAST_RAFT_PEERS_H
#define HOLDFAST_RAFT_PEERS_H

#include "protocol/base/env.h"
#include "protocol/tls.h"
#include "raft/message.h"

enum {
    PEERS_MAX = 16,
    PEERS_PENDING_MAX = 4 << 20, /* bytes on their way to one peer; past it nothing more is taken */
};

struct peers;

/* All on the loop env. They may send, but not close. */
struct peers_handler {
    /* Ours to `to` (0: not known yet, in a welcome it is). */
    void (*hello)(void *owner, uint64_t to, struct message_hello *hello);
    /* A peer's, from a connection it made. False: refused, `why` is filled in. */
    bool (*admit)(void *owner, const struct message_hello *hello, struct message_refusal *why);
    /* It answers. False: it is not who it should be, `why` says more, and the connection ends; else it may be sent to, from the next call on. */
    bool (*welcomed)(void *owner, uint64_t id, const struct message_hello *hello, struct message_refusal *why);
    void (*up)(void *owner, uint64_t id); /* may send to it now */
    /* May be NULL. A node that wants to join asks: a whole frame as the answer. */
    void (*join)(void *owner, struct cur *body, struct buf *answer);
    void (*refused)(void *owner, uint64_t id, const struct message_refusal *why);
    void (*message)(void *owner, uint64_t id, enum message_kind kind, struct cur *body);
    /* Its process has ended: both connections have, and nobody takes a new one. Again at each attempt. */
    void (*gone)(void *owner, uint64_t id);
};

/* Both NULL: in clear. They are referenced. */
struct peers_tls {
    struct tls_ctx *server, *client;
};

int peers_open(struct env *loop, const struct env_addr *listen, const struct peers_tls *tls, const struct peers_handler *handler, void *owner,
               struct peers **peers, struct errmsg *em);
void peers_close(struct peers *peers, void (*closed)(void *arg), void *arg); /* closed: never inside the call */

void peers_set(struct peers *peers, uint64_t id, const char *address); /* add, or another address: connects */
void peers_remove(struct peers *peers, uint64_t id);

bool peers_up(const struct peers *peers, uint64_t id);
size_t peers_pending(const struct peers *peers, uint64_t id); /* bytes; of a connection that is not up: PEERS_PENDING_MAX */
bool peers_send(struct peers *peers, uint64_t id, struct buf *frames); /* takes the content; false: dropped */
const char *peers_trouble(const struct peers *peers, uint64_t id);     /* why it is not up; "" when it is */

#endif
