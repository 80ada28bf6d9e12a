/* control.h: the loop's side of statements. A worker's session submits a request; the statement runs on the
 * loop, where it sees the cluster, the source link and the serving part; the answer is posted back to the
 * worker. */
#ifndef HOLDFAST_NODE_CONTROL_H
#define HOLDFAST_NODE_CONTROL_H

#include "node/config.h"
#include "node/sql.h"
#include "raft/cluster.h"

struct source;
struct serve;
struct monitor;
struct forward;
struct errant;

/* Counted on all workers, read on the loop. */
struct login_counters {
    _Atomic uint64_t failed;  /* refused: no such account, or a wrong password */
    _Atomic uint64_t delayed; /* of these, those whose client had to wait for the answer */
};

/* What statements work on; made by the daemon. */
struct control {
    struct env *loop;
    const struct config *config;
    struct cluster *cluster;
    struct source *source;
    struct monitor *monitor; /* NULL: nobody looks at the source's settings (some tests) */
    struct serve *serve;
    uint64_t started_wall;   /* microseconds */
    const char *server_uuid; /* this node's */
    uint32_t server_id;

    struct login_counters logins;

    /* control.c's; zero at first */
    struct control_change *changes; /* the first one is being proposed */
    bool closing;
    struct verify_run *verifying; /* sql_verify.c's */
    struct purge_find *purges;    /* sql_purge.c's */
    struct sql_waiting *waiting;  /* sql_wait.c's */
    struct replica_check *replica_checks; /* sql_check_replica.c's */
    struct errant *errant;        /* NULL: nobody judges replicas that are ahead (some tests) */
    struct forward *forward;      /* NULL: this node runs everything itself (some tests) */
};

/* Owned by the session's worker until submitted, by the loop until done() runs on the worker. */
struct control_request {
    struct env_msg msg;
    struct control *control;
    struct env *worker;
    struct sql_statement *statement; /* freed by control after the run */
    char user[97], host[256], account_host[USER_HOST_SIZE];
    uint32_t roles;
    uint32_t connection_id;
    uint64_t wait_until; /* sql_wait.c's, monotonic; 0 at first */
    struct {             /* SWITCHOVER's, see sql_cluster.c; 0 at first */
        uint64_t from, until;
    } move;
    struct reply reply;
    void (*done)(struct control_request *request); /* on `worker`, never inside control_submit; frees the
                                                      request. On the loop itself it is called from within
                                                      whatever made the answer: it must not close anything */
    void *owner;
};

void control_submit(struct control *control, struct control_request *request); /* on the worker */
void control_reply(struct control_request *request); /* on the loop, once, when request->reply is filled */

/* A change of the replicated state. build() fills `entry` and returns true; or it answers (fills
 * request->reply) and returns false. It is called when all changes before have been applied or have failed,
 * so what it reads in the state is what it changes. `what` (`n` bytes) is copied, and wiped afterwards.
 * Answers the request by control_reply, maybe before this call returns: the request and its statement are
 * not touched after it. */
typedef bool control_build(struct control *control, const void *what, struct reply *reply, struct buf *entry);
void control_change(struct control *control, struct control_request *request, control_build *build,
                    const void *what, size_t n);

/* The node is closing: answers what still waits; requests that come later are refused. Before serve_close;
 * the struct control itself must stay until cluster_close is done. */
void control_close(struct control *control);

#endif
