/* memory_net.h: timers, listeners and connections for memory_env: the target is the peer of each connection.
 *
 * Everything happens inside memory_env_run and the calls here. One listener for each env at most is dialled: the first. */
#ifndef TESTS_FUZZ_MEMORY_NET_H
#define TESTS_FUZZ_MEMORY_NET_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"

struct memory_peer;

/* Connects to the env's listener; to be freed. */
struct memory_peer *memory_dial(struct env *env, const struct env_peer *who);
void memory_peer_free(struct memory_peer *peer); /* hangs up first */
void memory_peer_send(struct memory_peer *peer, const void *data, size_t n);
/* Does it read? What waits then arrives in `got`. */
void memory_peer_reads(struct memory_peer *peer, bool reads);
bool memory_peer_closed(const struct memory_peer *peer);
size_t memory_peer_waits(const struct memory_peer *peer); /* bytes that were written and not read */
struct buf *memory_peer_got(struct memory_peer *peer);

/* Lets time pass: timers that are due fire, a few hundred at most. */
void memory_pass(struct env *env, uint64_t ns);

/* memory_env.c's: the table's functions, and what it keeps for them. */
struct memory_net {
    uint64_t later; /* what passed */
    struct memory_timer *timers;
    struct env_listener *listener;
};
struct memory_net *memory_env_net(struct env *env);
int memory_timer_open(struct env_timer *timer);
void memory_timer_start(struct env_timer *timer, uint64_t ns);
void memory_timer_stop(struct env_timer *timer);
void memory_timer_close(struct env_timer *timer);
int memory_listen(struct env *env, const struct env_addr *addr, void (*accepted)(void *owner, struct env_socket *socket),
                  void *owner, struct env_listener **listener, struct errmsg *em);
void memory_listener_close(struct env_listener *listener);
int memory_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler, void *owner,
                  struct env_stream **stream);
void memory_socket_close(struct env_socket *socket);
const struct env_peer *memory_socket_peer(struct env_socket *socket);
void memory_stream_write(struct env_stream *stream, struct buf *data);
size_t memory_stream_pending(struct env_stream *stream);
void memory_stream_pause(struct env_stream *stream, bool paused);
void memory_stream_close(struct env_stream *stream);

#endif
