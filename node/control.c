/* control.c: requests from workers, run on the loop; and changes of the replicated state, one after the
 * other.
 *
 * Happy path of a change: it queues; when it is the first, build() reads the state and makes the entry, the
 * cluster commits it, the client gets OK. The next one is built only then, so two GRANTs for one account
 * cannot undo each other.
 *
 * Failures: not leading, or leadership lost with the outcome unknown: the client is told which. When the node
 * closes, all that wait are answered at once; the change in flight stays, without its request, until the
 * cluster reports on it. */
#include "node/control.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <string.h>

struct control_change {
    struct control *control;
    struct control_request *request; /* NULL: answered already */
    control_build *build;
    void *what;
    size_t n;
    bool proposed;
    struct control_change *next;
};

static void closing_reply(struct reply *reply, bool unknown)
{
    reply_free(reply);
    reply_error(reply, 1053, "08S01", "Server shutdown in progress%s",
                unknown ? "; whether the statement took effect is not known: look when the node is back"
                        : "");
}

/* ---- requests ---- */

static void run_on_loop(struct env_msg *msg)
{
    struct control_request *request = CONTAINER_OF(msg, struct control_request, msg);
    if (request->control->closing) {
        closing_reply(&request->reply, false);
        control_reply(request);
        return;
    }
    sql_run(request->control, request);
}

void control_submit(struct control *control, struct control_request *request)
{
    request->control = control;
    request->msg.run = run_on_loop;
    env_post(control->loop, &request->msg);
}

static void answered(struct env_msg *msg)
{
    struct control_request *request = CONTAINER_OF(msg, struct control_request, msg);
    request->done(request);
}

void control_reply(struct control_request *request)
{
    sql_statement_free(request->statement);
    request->statement = NULL;
    if (request->worker == request->control->loop) {
        request->done(request); /* not by a message that might still be on its way when the loop ends */
        return;
    }
    request->msg.run = answered;
    env_post(request->worker, &request->msg);
}

/* ---- changes ---- */

static void change_free(struct control_change *change)
{
    explicit_bzero(change->what, change->n); /* it may hold a password */
    mem_free(change->what);
    mem_free(change);
}

static void change_answer(struct control_change *change)
{
    if (change->request) {
        control_reply(change->request);
        change->request = NULL;
    }
}

static void begin_next(struct control *control);

static void status_reply(const struct control *control, struct reply *reply, int status)
{
    unsigned long long self = cluster_id(control->cluster);
    unsigned long long leader = cluster_leader(control->cluster);
    if (!status) {
        reply_ok(reply);
        return;
    }
    reply_free(reply);
    if (status == E_NOTLEADER && leader && leader != self) {
        reply_error(reply, 1105, "HY000", "node %llu is not the leader; run this on node %llu", self, leader);
    } else if (status == E_NOTLEADER) {
        reply_error(
            reply, 1105, "HY000",
            "node %llu is not the leader, and none is known: nothing was changed; try again in a moment",
            self);
    } else if (status == E_CANCELED) {
        reply_error(reply, 1105, "HY000",
                    "node %llu lost the lead while this waited: it may or may not take effect; look at the "
                    "result, and run it again "
                    "if it has not",
                    self);
    } else {
        reply_error(reply, 1105, "HY000", "nothing was changed: %s", err_text(status));
    }
}

static void proposed(void *arg, int status)
{
    struct control_change *change = arg;
    struct control *control = change->control;
    CHECK(control->changes == change);
    control->changes = change->next;
    if (change->request) {
        status_reply(control, &change->request->reply, status);
    }
    change_answer(change);
    change_free(change);
    begin_next(control);
}

/* True: the cluster has it. False: it is answered. */
static bool begin(struct control_change *change)
{
    struct control *control = change->control;
    struct buf entry;
    buf_init(&entry, ENTRY_MAX);
    bool built = change->build(control, change->what, &change->request->reply, &entry);
    if (built && entry.err) {
        reply_free(&change->request->reply);
        reply_error(&change->request->reply, 1105, "HY000", "cannot make the change: %s",
                    err_text(entry.err));
        built = false;
    }
    if (built) {
        change->proposed = true;
        cluster_propose(control->cluster, &entry, proposed, change);
    }
    buf_free(&entry);
    return built;
}

static void begin_next(struct control *control)
{
    while (control->changes && !control->closing && !begin(control->changes)) {
        struct control_change *change = control->changes;
        control->changes = change->next;
        change_answer(change);
        change_free(change);
    }
}

void control_change(struct control *control, struct control_request *request, control_build *build,
                    const void *what, size_t n)
{
    struct control_change *change = mem_new(sizeof *change);
    *change = (struct control_change){
        .control = control, .request = request, .build = build, .what = mem_dup(what, n), .n = n};
    struct control_change **last = &control->changes;
    while (*last) {
        last = &(*last)->next;
    }
    *last = change;
    if (control->changes == change) {
        begin_next(control);
    }
}

void control_close(struct control *control)
{
    control->closing = true;
    sql_verify_stop(control);
    sql_purge_stop(control);
    sql_wait_stop(control);
    sql_check_replica_stop(control);
    for (struct control_change **at = &control->changes; *at;) {
        struct control_change *change = *at;
        if (change->request) {
            closing_reply(&change->request->reply, change->proposed);
        }
        change_answer(change);
        if (change->proposed) {
            at = &change->next;
        } else {
            *at = change->next;
            change_free(change);
        }
    }
}
