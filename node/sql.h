/* sql.h: statements. One table has a row for each: its words, the privilege it needs, where it runs, its handler, its help.
 *
 * A statement runs either on the session's worker, from the session and the view alone (SELECT @@…, SET @…, SHOW VARIABLES …), or on the
 * loop, where the cluster, the source link and the replicas are known (SHOW REPLICA STATUS, CHANGE REPLICATION SOURCE …, CREATE USER …).
 * Texts are matched without regard to case, blanks, comments and a trailing ';'. */
#ifndef HOLDFAST_NODE_SQL_H
#define HOLDFAST_NODE_SQL_H

#include "node/table.h"
#include "node/view.h"

#include "protocol/base/env.h"

struct store_sub;
struct sql_statement; /* parsed; may be handed from the worker to the loop */

enum { SQL_TEXT_MAX = 1 << 20, SQL_VARS_MAX = 64 };

/* User variables of one session (SET @x = …). Names without @, compared without regard to case. NULL: not set. */
struct sql_vars;
struct sql_vars *sql_vars_new(void);
void sql_vars_free(struct sql_vars *vars);
const char *sql_vars_get(const struct sql_vars *vars, const char *name);
int sql_vars_set(struct sql_vars *vars, const char *name, const char *value); /* NULL value: SQL's NULL; E_TOOBIG */

/* What a statement may look at on the worker. The session owns it all. */
struct sql_session {
    struct env *env;
    struct store_sub *files; /* the committed files; NULL: not known here */
    const struct view *view;
    struct sql_vars *vars;
    uint32_t connection_id;
    char user[97];
    char host[256];                    /* the client's address; localhost */
    char account_host[USER_HOST_SIZE]; /* the account is 'user'@'account_host' */
    bool by_socket;                    /* the local root: there is no account */
    uint32_t roles; /* ROLE_*; all for the local root */
    struct reply_note *notes; /* of the last statement, for SHOW WARNINGS; NULL: none */
    size_t n_notes;
    char db[65];
    const char *tls_version; /* NULL: not encrypted */
    const char *tls_cipher;
};

enum sql_outcome {
    SQL_DONE,  /* *reply is the answer */
    SQL_LOOP   /* *statement has to be run on the loop (node/control.h); it belongs to the caller now */
};

/* Never fails otherwise: what cannot be read is a reply with 1064 quoting the text, what may not be done 1227. */
enum sql_outcome sql_execute(struct sql_session *session, const char *text, size_t n, struct reply *reply,
                             struct sql_statement **statement);
void sql_statement_free(struct sql_statement *statement);

/* A statement was answered: its notes (an error is one) are those that SHOW WARNINGS shows next. On the worker,
 * with every reply to a statement, before it is freed. */
void sql_session_noted(struct sql_session *session, struct reply *reply);
void sql_session_free(struct sql_session *session); /* its variables and notes */

/* As it was typed; may hold a password. */
const char *sql_statement_text(const struct sql_statement *statement, size_t *n);

/* The loop's half: called by node/control.c. Answers by control_reply, now or later (after a proposal was applied). */
struct control_request;
struct control;
void sql_run(struct control *control, struct control_request *request);
/* On the loop: the statement has to wait and is run again soon, until it need not. False: too many wait. */
bool sql_wait(struct control *control, struct control_request *request);
/* A SWITCHOVER is sent to the leader; and its answer was lost with the leader: this node answers it, when it knows who leads. Other statements
 * stay as they are. */
void sql_switchover_begins(struct control *control, struct control_request *request);
void sql_switchover_watch(struct control *control, struct control_request *request);
void sql_wait_stop(struct control *control); /* when the node closes: those that wait are answered */
/* On the loop, when the node closes: a CHECK BINARY LOGS that is under way is stopped and answered. */
void sql_verify_stop(struct control *control);
void sql_check_replica_stop(struct control *control); /* ... and those CHECK REPLICA whose alarm is proposed */
void sql_purge_stop(struct control *control); /* ... and a PURGE BINARY LOGS that looks for its files */

#endif
