/* session.h: one client connection on its worker: login, commands, and the dump that a replica asks for.
 *
 * Owner: the worker; all on the worker's env. session_end may be called at any depth: the session is closed
 * at once, and freed when the stack has unwound. Who calls something that may end it looks at session_is_over
 * before going on. */
#ifndef HOLDFAST_NODE_SESSION_H
#define HOLDFAST_NODE_SESSION_H

#include "node/worker.h"

#include "protocol/command.h"
#include "protocol/wire.h"

struct server_auth;

enum session_state {
    SESSION_LOGIN,   /* its timer runs */
    SESSION_READY,   /* for the next command */
    SESSION_WAITING, /* for the loop's answer; nothing is read */
    SESSION_DUMPING, /* until the end; what comes in is an ACK or a farewell */
    SESSION_OVER
};

struct session {
    struct worker *worker;
    struct env *env;
    struct session *next; /* in its bucket */
    struct env_stream *stream;
    struct wire *wire;
    enum session_state state;
    bool paused;
    bool refused; /* the login failed; the timer tells the client */
    bool is_local, admit_root;
    uint32_t caps;
    char *peer;
    struct server_auth *auth;          /* during the login */
    struct env_timer timer;            /* of the login */
    struct sql_session sql;            /* name, roles, variables; its id is the connection's */
    struct register_slave *registered; /* NULL: did not register */
    struct dump *dump;
    struct env_msg end_msg;
};

/* Takes the socket. NULL when it was gone already. */
struct session *session_new(struct worker *worker, struct env_socket *socket, uint32_t connection_id, bool greets);
void session_refuse(struct session *session); /* one that does not greet: there are too many; it ends */
void session_answered(struct session *session, struct reply *reply); /* takes the content */
/* The worker's view has other accounts: who lost his is out, who lost a privilege cannot use it from now on. */
void session_accounts_changed(struct session *session);
/* The node ends, and so does the session; a replica that has a part of a transaction gets the rest first. */
void session_finish(struct session *session);
void session_stop(struct session *session, enum session_end_reason why);

/* ---- for the dump */

static inline bool session_is_over(const struct session *session)
{
    return session->state == SESSION_OVER;
}
void session_flush(struct session *session); /* the wire's output onto the stream; may end the session */
void session_change_user(struct session *session, const struct packet *packet); /* a new login; may end it */
void session_end(struct session *session);   /* what was flushed still leaves */
/* "user@host" for logs, without control characters. */
void session_name(const struct session *session, char *text, size_t size);

#endif
