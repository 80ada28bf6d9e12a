/* sql_wait.c: statements that wait for transactions: WAIT_FOR_EXECUTED_GTID_SET, MASTER_GTID_WAIT; and others that wait for what the loop will know.
 *
 * Happy path: the function finds on the loop that the set is not held yet and says so in the call; the request
 * is kept here, and its statement is run again every LOOK_EVERY until the function has its answer: the set is
 * held, or the time is over. The statement knows nothing of it.
 *
 * Failure: more waiters than WAITERS_MAX are refused; one whose connection is gone is dropped at the next look;
 * when the node closes all are answered. */
#include "node/serve.h"
#include "node/sql_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY (20 * ENV_MS)

enum { WAITERS_MAX = 256 };

struct sql_waiting {
    struct control *control;
    struct env_timer timer;
    struct control_request *requests[WAITERS_MAX];
    size_t n;
};

static void look(struct env_timer *timer)
{
    struct sql_waiting *w = CONTAINER_OF(timer, struct sql_waiting, timer);
    struct control_request *requests[WAITERS_MAX];
    struct control *control = w->control;
    size_t n = w->n;
    memcpy(requests, w->requests, n * sizeof *requests);
    w->n = 0;
    for (size_t i = 0; i < n; i++) {
        struct control_request *r = requests[i];
        bool visits = r->worker == control->loop; /* another member's: its session is not here */
        if (!visits && r->connection_id && control->serve && !serve_has_session(control->serve, r->connection_id)) {
            control_reply(r);
        } else {
            sql_run(control, r); /* comes back here while it has to wait */
        }
    }
}

bool sql_wait(struct control *control, struct control_request *request)
{
    struct sql_waiting *w = control->waiting;
    if (!w) {
        w = mem_new(sizeof *w);
        w->control = control;
        if (env_timer_open(control->loop, &w->timer, look)) {
            mem_free(w);
            return false;
        }
        control->waiting = w;
    }
    if (w->n == WAITERS_MAX) {
        return false;
    }
    w->requests[w->n++] = request;
    env_timer_start(&w->timer, LOOK_EVERY);
    return true;
}

void sql_wait_stop(struct control *control)
{
    struct sql_waiting *w = control->waiting;
    if (!w) {
        return;
    }
    control->waiting = NULL;
    for (size_t i = 0; i < w->n; i++) {
        reply_error(&w->requests[i]->reply, 1053, "08S01", "Server shutdown in progress");
        control_reply(w->requests[i]);
    }
    env_timer_close(&w->timer);
    mem_free(w);
}

/* The patience of the call, from when it was asked first. False: it is over. `seconds` NULL: endless. */
static bool patient(struct sql_call *call, const struct sql_value *seconds, bool zero_is_endless)
{
    enum { LONGEST = 365 * 86400 };
    struct control_request *r = call->request;
    uint64_t now = env_now(call->control->loop);
    if (!r->wait_until) {
        double s = seconds && seconds->text ? strtod(seconds->text, NULL) : -1;
        bool endless = s < 0 || (s == 0 && zero_is_endless) || !(s < LONGEST);
        r->wait_until = now + (endless ? LONGEST * ENV_S : (uint64_t)(s * 1e6) * 1000);
    }
    return now < r->wait_until;
}

/* The number for "held", or for "time is over"; else the call waits. */
static void wait_for(struct sql_call *call, enum flavour flavour, const struct sql_value *args, size_t n, int64_t over,
                     struct sql_value *value)
{
    if (!args[0].text) {
        return;
    }
    if (!call->control) {
        call->needs_loop = true;
        return;
    }
    struct gtid_set *set = gtid_set_new(flavour);
    const struct gtid_set *held = cluster_state(call->control->cluster)->executed;
    if (gtid_set_parse(set, args[0].text, strlen(args[0].text), NULL)) {
        sql_error(call, 1772, "HY000", "Malformed GTID set specification '%.200s'.", args[0].text);
    } else if (gtid_set_is_empty(set) || (held && gtid_set_flavour(held) == flavour && gtid_set_subset(set, held))) {
        *value = sql_value_number(0);
    } else if (patient(call, n > 1 ? &args[1] : NULL, flavour == FLAVOUR_MYSQL)) {
        call->must_wait = true;
    } else {
        *value = sql_value_number(over);
    }
    gtid_set_free(set);
}

void sql_wait_mysql(struct sql_call *call, struct sql_value *args, size_t n, struct sql_value *value)
{
    wait_for(call, FLAVOUR_MYSQL, args, n, 1, value);
}

void sql_wait_mariadb(struct sql_call *call, struct sql_value *args, size_t n, struct sql_value *value)
{
    wait_for(call, FLAVOUR_MARIADB, args, n, -1, value);
}
