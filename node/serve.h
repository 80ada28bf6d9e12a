/* serve.h: everything towards clients: listeners on the loop, sessions on worker envs, dumps to replicas.
 *
 * Owner: the daemon; these functions are called on the loop. An accepted connection is handed to a worker and lives there: handshake,
 * statements, dump. */
#ifndef HOLDFAST_NODE_SERVE_H
#define HOLDFAST_NODE_SERVE_H

#include "node/config.h"
#include "node/control.h"
#include "node/view.h"
#include "storage/store.h"

struct serve;

/* A replica that is dumping, as the loop knows it (updated by messages from the workers). */
struct serve_replica {
    uint32_t connection_id;
    uint32_t server_id;
    char uuid[UUID_TEXT_SIZE];
    char user[97];
    char peer[300];
    char host[64]; /* as registered (report_host) */
    uint16_t port;
    bool gtid;     /* auto position */
    bool registered;
    uint64_t era;  /* of the file; 0: where it will read is not known yet */
    bool waits;    /* for what is not there yet: it needs none of the files */
    char file[FILE_NAME_SIZE];
    uint64_t position; /* sent up to here */
    bool level;        /* everything visible is sent */
    uint64_t since_wall;
    uint64_t moved; /* when this was last told, by the loop's clock */
};

/* What errant.c says of a replica that asked with GTIDs. */
enum serve_verdict {
    SERVE_LEVEL,  /* all that it has is held here */
    SERVE_GO_ON,  /* it has more, and nothing is proven against it */
    SERVE_ERRANT  /* it has what nobody else has, and is to be told so */
};

int serve_open(struct control *control, struct store *store, struct view *view, struct serve **serve, struct errmsg *em);
void serve_publish(struct serve *serve, struct view *view); /* a new view; takes a reference */
/* Connections from the network are dropped until serve_admit (open: admitted): a replica that is answered before the replicated state is
 * there would be told another flavour than the source's, and stop for good. The local socket answers always. */
void serve_hold(struct serve *serve);
void serve_admit(struct serve *serve);
/* Limits, 0: the default. `connections`: of clients from the network; more are answered with error 1040, the local
 * socket has a few beyond. `queue_each`, `queue_all`: bytes that may wait for one replica, for all together. */
struct serve_limits {
    uint64_t connections, queue_each, queue_all;
};
void serve_set_limits(struct serve *serve, const struct serve_limits *limits);
void serve_kill(struct serve *serve, uint32_t connection_id);
/* gtids: with SERVE_ERRANT; taken. */
void serve_judge(struct serve *serve, uint32_t connection_id, enum serve_verdict verdict, struct gtid_set *gtids);
bool serve_has_session(const struct serve *serve, uint32_t connection_id);
/* Calls each() for every replica that is dumping. */
void serve_each_replica(struct serve *serve, void (*each)(void *arg, const struct serve_replica *replica), void *arg);
/* Sent is not received: a connection may be lost with bytes under way. `settled`: all was sent so long ago that it arrived, or
 * the connection would be known to be lost. */
typedef void serve_need(void *arg, const struct serve_replica *replica, bool settled, bool left);
/* ... and for every one that has left at most `grace` nanoseconds ago and did not come back to this node (left: true). */
void serve_each_need(struct serve *serve, uint64_t grace, serve_need *each, void *arg);
size_t serve_queued(const struct serve *serve); /* bytes that wait for replicas */
/* ... and for every other connection that is logged in, in no order. */
struct serve_session {
    uint32_t connection_id;
    const char *user, *peer;
    uint64_t since_wall;
};
void serve_each_session(struct serve *serve, void (*each)(void *arg, const struct serve_session *session), void *arg);
size_t serve_sessions(const struct serve *serve);
/* Ends listeners, sessions and workers, then closed(arg). */
void serve_close(struct serve *serve, void (*closed)(void *arg), void *arg);

#endif
