/* session_command.h: what a logged-in client's commands mean. See session.h for owner and thread. */
#ifndef HOLDFAST_NODE_SESSION_COMMAND_H
#define HOLDFAST_NODE_SESSION_COMMAND_H

#include "node/session.h"

/* Carries out one command: the answer is put onto the wire, or the session waits for the loop, dumps, or is
 * over. */
void session_command(struct session *session, const struct packet *packet);

/* The answer to a statement, and the wire is ready for the next command. Frees the content. */
void session_put_reply(struct session *session, struct reply *reply);

#endif
