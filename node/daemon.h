/* daemon.h: one node, put together from its parts; by main.c in production, by the simulator in tests. */
#ifndef HOLDFAST_NODE_DAEMON_H
#define HOLDFAST_NODE_DAEMON_H

#include "node/config.h"

struct daemon;

/* On the loop env before it runs (blocks while it reads its files). `config` outlives the daemon. On failure the process is to end with the
 * message, and what was opened (*daemon) with it. */
int daemon_start(struct env *env, const struct config *config, struct daemon **daemon, struct errmsg *em);
/* This node cannot be part of its cluster (or of any): the reason was logged, the caller ends the process. Never inside another call of the
 * daemon. Without it such a node ends at once. */
void daemon_on_refusal(struct daemon *daemon, void (*refused)(void *arg), void *arg);
/* For the simulator, which compares what nodes hold. */
struct cluster *daemon_cluster(struct daemon *daemon);
/* SIGHUP: reads the certificate for clients again; new sessions get it. What is wrong with it goes to the log. */
void daemon_reload(struct daemon *daemon);
/* Ends in order, frees the daemon, then stopped(arg). */
void daemon_stop(struct daemon *daemon, void (*stopped)(void *arg), void *arg);

#endif
