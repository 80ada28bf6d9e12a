/* puppet_sim.h: a member of a cluster played by a test: it takes connections from a real one and makes its own, speaks in whole frames or
 * anything else, and remembers what it was told.
 *
 * Owner: the test; it outlives the process that plays it. Between steps the test may read everything, and calls the functions here. */
#ifndef HOLDFAST_SIM_PUPPET_SIM_H
#define HOLDFAST_SIM_PUPPET_SIM_H

#include "raft/message.h"
#include "tests/sim/env_sim.h"

enum { PUPPET_CONNS = 256 };

enum puppet_manner { /* towards a hello */
    PUPPET_WELCOMES,
    PUPPET_IS_SILENT,
    PUPPET_HANGS_UP,
    PUPPET_BABBLES, /* with bytes that are no frame */
    PUPPET_REFUSES,
};

struct puppet_conn {
    struct puppet *puppet;
    struct env_stream *stream;
    bool ours;  /* the puppet made it */
    uint64_t at; /* when it began */
    bool closed;
    uint64_t closed_at;
    struct buf in, first; /* first: said as soon as it stands */
    uint64_t bytes, frames[MESSAGE_KINDS]; /* received */
    struct message_hello hello;
    struct message_refusal refusal;
};

struct puppet {
    struct sim_host *host;
    struct env *env; /* NULL: it does not run */
    struct env_listener *listener;
    uint64_t id;
    struct message_hello welcome; /* what it says of itself */
    struct message_refusal refusal;
    const struct message_join_answer *join; /* to a node that asks to be taken in; NULL: none */
    const char *listen;
    enum puppet_manner manner;
    bool mute;   /* answers no reports */
    bool paused; /* does not read on connections that begin from now on */
    struct puppet_conn conns[PUPPET_CONNS];
    size_t n;
};

/* It listens on its host's port 1 if it is not told otherwise, and welcomes. */
struct puppet *puppet_new(struct sim_host *host, uint64_t id);
void puppet_free(struct puppet *puppet); /* after sim_free */
void puppet_start(struct puppet *puppet);

/* A connection to host:port that begins with these bytes (taken; may be none). */
struct puppet_conn *puppet_call(struct puppet *puppet, const char *target, struct buf *first);
/* ... with a hello. */
struct puppet_conn *puppet_hello(struct puppet *puppet, const char *target, const struct message_hello *hello);
void puppet_say(struct puppet_conn *conn, struct buf *bytes); /* taken */

/* The newest connection that the other side made; NULL: none. */
struct puppet_conn *puppet_newest(struct puppet *puppet);
size_t puppet_taken(const struct puppet *puppet); /* how many it made */

#endif
