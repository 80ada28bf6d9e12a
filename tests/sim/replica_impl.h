/* replica_impl.h: the inside of the simulated replica, for replica_*.c. */
#ifndef HOLDFAST_SIM_REPLICA_IMPL_H
#define HOLDFAST_SIM_REPLICA_IMPL_H

#include "protocol/auth_client.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/result.h"
#include "protocol/txn.h"
#include "protocol/wire.h"
#include "tests/sim/replica_sim.h"

enum replica_state { REPLICA_IDLE, REPLICA_LOGIN, REPLICA_ASK, REPLICA_STREAM };

/* What lives and dies with the process. */
struct replica_run {
    struct replica_sim *replica;
    struct sim_process *process;
    struct env *env;
    struct env_timer timer; /* the next try, or too long a silence */
    struct env_timer pause;
    enum replica_state state;
    struct env_stream *stream;
    struct wire *wire;
    struct client_auth *auth;
    struct result result;
    uint32_t caps;
    size_t step;
    bool semi_sync; /* the server has it too */
    /* stream.c */
    uint8_t seq; /* of the next packet */
    struct event_format format;
    bool has_format;
    bool placed; /* a ROTATE has told where we are */
    size_t file;
    uint64_t pos;
    bool in_txn;
    struct txn txn; /* with options.expects */
};

struct replica_sim {
    struct sim *sim;
    struct sim_host *host;
    struct replica_sim_options options;
    struct history *truth;
    struct replica_run *run;
    struct rng rng;
    char uuid[UUID_TEXT_SIZE];
    size_t received, seen;
    size_t from;   /* no file before this one is asked for */
    bool forgot;   /* since it was set up */
    unsigned set_ups, refusals;
    uint64_t served; /* when it was sent something last */
    size_t target; /* of options.targets */
    uint64_t connects, dumps;
};

bool replica_lives(const struct replica_run *run);
void replica_send(struct replica_run *run);
void replica_ask_next(struct replica_run *run);
/* Ends the connection and tries again later. */
void replica_again(struct replica_run *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Was refused since it lacks what was purged: gets it elsewhere. False: it lacks nothing. */
bool replica_set_up(struct replica_sim *replica);

/* replica_stream.c */
void replica_stream_begin(struct replica_run *run);
int replica_stream_packet(struct replica_run *run,
                          const struct packet *p); /* 0, or the connection has been ended */

#endif
