/* dump.h: the stream of events to one replica, from COM_BINLOG_DUMP(_GTID) to the end of its connection.
 *
 * Owner: the session, on its worker's env. It reads committed files as fast as the replica takes them, with a
 * bounded amount queued. */
#ifndef HOLDFAST_NODE_DUMP_H
#define HOLDFAST_NODE_DUMP_H

#include "node/session.h"

/* Judges the command: answers with an error, or makes session->dump and begins. Both may end the session. */
void dump_command(struct session *session, const struct packet *packet);

void dump_changed(struct dump *dump); /* more is visible */
void dump_drained(struct dump *dump); /* the queue is empty */
void dump_rest(struct dump *dump);    /* from time to time: one that waits for its replica needs no buffer */
/* The node ends: inside a transaction it goes on to its end, then ends its session. False: it stands between two. */
bool dump_finish_transaction(struct dump *dump);
void dump_stop(
    struct dump *dump,
    enum session_end_reason why); /* puts what the replica is told; the session is ended by the caller */
void dump_free(struct dump *dump);

/* What it asked with was looked at; gtids: those that nobody else has. It may be over afterwards. */
void dump_judged(struct dump *dump, enum serve_verdict verdict, const struct gtid_set *gtids);

/* Fills in where it stands. */
void dump_report(const struct dump *dump, struct serve_replica *replica);
/* Has it moved since this was asked last? */
bool dump_take_moved(struct dump *dump);

/* The worker's list. */
struct dump *dump_next(struct dump *dump);
void dump_link(struct dump *dump, struct dump **head);
void dump_unlink(struct dump *dump); /* fine when it is on none */
struct session *dump_session(struct dump *dump);

#endif
