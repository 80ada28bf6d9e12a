/* source_impl.h: the inside of the simulated source, for source_*.c. */
#ifndef HOLDFAST_SIM_SOURCE_IMPL_H
#define HOLDFAST_SIM_SOURCE_IMPL_H

#include "protocol/auth_server.h"
#include "protocol/command.h"
#include "protocol/result.h"
#include "protocol/wire.h"
#include "tests/sim/source_sim.h"

enum { SOURCE_OUT_MOST = 256 << 10 };

enum session_state { SESSION_LOGIN, SESSION_COMMAND, SESSION_DUMP };

struct session {
    struct source_run *run;
    struct session *next;
    struct env_stream *stream;
    struct wire *wire;
    struct server_auth *auth;
    enum session_state state;
    uint32_t thread_id, caps;
    bool over; /* to be closed when the packet at hand is done */
    /* what it has SET */
    uint64_t heartbeat_ns;
    bool checksum_set, semi_sync, has_connect_state;
    unsigned capability;
    char uuid[64];
    char connect_state[1024];
    /* its dump */
    struct env_timer heartbeat;
    uint32_t server_id;
    uint16_t dump_flags;
    size_t file;
    uint64_t pos;
    size_t next_txn;
    struct gtid_set *have; /* GTID mode: what it has already */
    bool skipped, in_txn, created_0, started;
    size_t *asked; /* transactions whose end asked for an ACK here */
    size_t n_asked;
};

/* A commit in progress. */
struct client {
    struct env_timer timer;
    struct source_run *run;
    bool queued, waiting;
    size_t txn;
};

/* What lives and dies with the process. */
struct source_run {
    struct source_sim *source;
    struct sim_process *process;
    struct env *env;
    struct env_listener *listener;
    struct session *sessions;
    struct client *clients;
    struct env_timer commit;
    bool commit_soon;
    struct env_timer ordered;
    struct order *orders; /* of the test */
    size_t first_txn;     /* older ones ask for nothing */
    uint32_t next_thread;
};

struct source_sim {
    struct sim *sim;
    struct sim_host *host;
    struct source_sim_options options;
    struct history *history;
    struct account_secret secret;
    struct source_run *run; /* NULL: not running */
    struct rng rng;
    size_t load, acked, sent;
    char acker[64]; /* uuid of the dump that acknowledged last, by a packet */
    uint64_t acks, dumps;
    size_t (*floor)(void *arg);
    void *floor_arg;
    void (*witness)(void *arg, size_t txns, const char *how);
    void *witness_arg;
};

bool run_lives(const struct source_run *run); /* not a ghost: it may touch the history and the account */
void source_acked(struct source_sim *source, size_t txns, const char *how);
void sim_session_new(void *owner, struct env_socket *socket); /* accepted() of the listener */
void sim_session_free(struct session *s);
void sim_session_send(struct session *s);

/* source_query.c */
void sim_session_query(struct session *s, const char *text, size_t n);

/* source_dump.c */
void sim_dump_begin(struct session *s, const struct packet *p);
void sim_dump_ack(struct session *s, const struct packet *p);
void sim_dump_pump(struct session *s); /* sends what there is and the reader takes */
void sim_dump_heartbeat(struct session *s);
void sim_dump_end(struct session *s,
                  bool error); /* shutdown of the server, or a newer one with the same identity */

#endif
