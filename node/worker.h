/* worker.h: one serving worker: an env of its own, the sessions on it, its place at the store, its view.
 *
 * Owner: serve.c (the loop), which makes and frees it. Between worker_open and closed() everything here but
 * what is marked belongs to the worker's env. The loop speaks to a worker by orders, a worker to the loop by
 * notes; both keep their order. */
#ifndef HOLDFAST_NODE_WORKER_H
#define HOLDFAST_NODE_WORKER_H

#include "node/serve.h"
#include "node/throttle.h"
#include "storage/catalog.h"

struct session;
struct dump;

enum { WORKER_BUCKETS = 256 };

/* Outlives the serving part: answers to statements may come after it has gone. */
struct serve_anchor {
    _Atomic unsigned refs;
    struct serve *serve; /* loop env; NULL when the end has begun */
    _Atomic size_t queue_each, queue_all; /* see struct serve_limits */
    _Atomic size_t queued;                /* bytes that wait for replicas, on all workers */
};

struct worker {
    /* never change */
    struct env *env;
    struct env *loop;
    struct serve *serve; /* for notes; not to be looked into */
    struct serve_anchor *anchor;
    struct control *control; /* its constant fields, and control_submit */
    struct store *store;
    uint32_t own_uid;                      /* the daemon's */
    unsigned count;                        /* of workers: a session's worker is its id modulo this */
    void (*closed)(struct worker *worker); /* on the loop, last */

    struct view *view;
    struct throttle *throttle;
    struct store_sub sub;
    struct session *sessions[WORKER_BUCKETS];
    size_t n_sessions;
    struct dump *dumps;
    struct env_timer reporting; /* runs while a dump has moved since the last report */
    bool reporting_soon;
    struct env_timer patience; /* at the end */
    bool closing;
    struct env_msg open_msg, closed_msg;
};

/* ---- orders: loop -> worker ---- */

enum session_end_reason { END_KILLED, END_DUPLICATE, END_SHUTDOWN };

/* All called on the loop. */
enum { ACCEPT_SERVE, ACCEPT_REFUSE /* with error 1040 */ };
void worker_open(struct worker *worker); /* once, after its constant fields and its view are set */
void worker_accept(struct worker *worker, struct env_socket *socket, uint32_t connection_id,
                   int how);                                    /* takes the socket */
void worker_set_view(struct worker *worker, struct view *view); /* takes a reference */
void worker_end_session(struct worker *worker, uint32_t connection_id, enum session_end_reason why);
void worker_answer(struct worker *worker, uint32_t connection_id,
                   struct reply *reply); /* takes the content */
void worker_judge(struct worker *worker, uint32_t connection_id, enum serve_verdict verdict, struct gtid_set *gtids); /* takes the set */
void worker_close(struct worker *worker);

/* ---- for sessions, on the worker ---- */

/* Runs the statement on the loop; session_answered follows if the session still lives then. */
void worker_submit(struct session *session, struct sql_statement *statement);
void worker_dump_begins(struct dump *dump);
void worker_dump_has(struct dump *dump, const struct gtid_set *have); /* dump_judged follows */
void worker_dump_stands(struct dump *dump); /* it is known where it reads: the loop is told at once, what is purged hangs on it */
void worker_dump_moved(struct dump *dump);  /* the loop is told of it soon */
void worker_dump_ends(struct dump *dump);
void worker_session_begins(struct session *session); /* it is logged in, maybe as somebody else now */
void worker_session_ended(struct session *session); /* off the list; the session is freed by its caller */

/* ---- notes: worker -> loop (serve.c) ---- */

enum serve_note_kind { NOTE_DUMP_BEGINS, NOTE_DUMP_HAS, NOTE_DUMP_MOVED, NOTE_DUMP_ENDS, NOTE_SESSION_BEGINS, NOTE_SESSION_ENDED };

struct serve_note {
    struct env_msg msg;
    struct serve *serve;
    enum serve_note_kind kind;
    struct serve_replica replica; /* connection_id is always set */
    struct gtid_set *have;        /* NOTE_DUMP_HAS: what it asked with; its taker's */
};

void serve_take_note(struct env_msg *msg); /* on the loop; frees it */
void serve_anchor_unref(struct serve_anchor *anchor);

#endif
