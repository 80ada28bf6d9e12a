/* net.h: a member among members: who may speak to whom, the formation of the cluster, and the way of libraft's messages.
 *
 * Owner: raft/cluster.c; loop env. */
#ifndef HOLDFAST_RAFT_NET_H
#define HOLDFAST_RAFT_NET_H

#include "protocol/base/env.h"
#include "raft/formation.h"
#include "raft/io.h"
#include "raft/message.h"
#include "raft/peers.h"

struct net;

/* All on the loop env, from within a stream's callback: they may send, but not close. */
struct net_handler {
    void (*formed)(void *owner); /* everybody is prepared: store the first entry and call net_formed */
    /* This node cannot be part of the cluster: it ends with the text. */
    void (*refused)(void *owner, const char *text);
    void (*raft)(void *owner, struct raft_message *m); /* takes its entries */
    void (*gone)(void *owner, uint64_t id);                           /* that member's process has ended */
    void (*report)(void *owner, uint64_t to, struct buf *body);       /* every second, and at net_report: what this member tells of itself */
    void (*heard)(void *owner, uint64_t id, enum message_kind kind, struct cur *body); /* REPORT, ASK, ANSWER, OFFER, FETCH, PIECE */
    /* Of a cluster that exists: may this one speak, as far as it is known who is a member? (The network asks only about those that it was told of, and
     * strangers.) */
    bool (*admit)(void *owner, const struct message_hello *hello, struct message_refusal *why);
    void (*join)(void *owner, struct cur *body, struct buf *answer);
    void (*claimed)(void *owner, const struct message_hello *hello); /* another cluster takes this node for a member of its own */
    /* The cluster exists: this empty node is to ask whether it waits for it; also there ("": nowhere else). */
    void (*invited)(void *owner, const char *address);
};

struct net_options {
    struct env *loop;
    uint64_t id;
    uint32_t level; /* feature level */
    struct formation *formation;
    struct rio *rio;
    struct env_addr listen;
    struct peers_tls tls;
};

int net_open(const struct net_options *options, const struct net_handler *handler, void *owner, struct net **net, struct errmsg *em);
void net_close(struct net *net, void (*closed)(void *arg), void *arg); /* closed: never inside the call */

void net_formed(struct net *net); /* the first entry is stored */
/* Who the members are, after the formation. An incarnation of 0: it is to be one, and its data directory is not known yet. */
void net_members(struct net *net, const struct formation_member *members, size_t n);

/* How many entries of an append were sent (0 for other messages); -1: nothing was. */
int net_send(struct net *net, const struct raft_message *m);
bool net_send_frame(struct net *net, uint64_t id, struct buf *frame);
void net_report(struct net *net, uint64_t id); /* now; 0: to all */
size_t net_others(const struct net *net, uint64_t *ids, size_t max); /* who is up */
bool net_up(const struct net *net, uint64_t id);
size_t net_pending(const struct net *net, uint64_t id); /* bytes on their way; of one that is not up: PEERS_PENDING_MAX */
const char *net_trouble(const struct net *net, uint64_t id); /* why there is no connection; "" */

#endif
