/* sql_check.c: CHECK REPLICATION SOURCE: asks the source now; the answer comes when the source has answered. */
#include "node/monitor.h"
#include "node/sql_impl.h"

static struct table *checks_table(const struct checks *checks)
{
    static const char *const names[] = {"Name", "State", "Value", "Wanted", "Statement", "Run", "Why"};
    struct table *table = table_new();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        table_column(table, names[i], TABLE_TEXT);
    }
    for (size_t i = 0; i < checks->n; i++) {
        const struct check_result *c = &checks->results[i];
        table_row(table);
        table_text(table, c->name);
        table_text(table, check_state_text(c->state));
        table_text(table, c->value);
        table_text(table, c->wanted);
        table_text(table, c->statement);
        table_text(table, c->where);
        table_text(table, c->why);
    }
    return table;
}

static void checked(void *arg, const struct checks *checks, const char *error)
{
    struct control_request *request = arg;
    if (error) {
        reply_error(&request->reply, 1105, "HY000", "the source could not be checked: %s", error);
    } else {
        reply_rows(&request->reply, checks_table(checks));
    }
    control_reply(request);
}

void sql_check_source(struct sql_call *call)
{
    struct control *control = call->control;
    const struct state *state = cluster_state(control->cluster);
    if (!sql_end(call)) {
        return;
    }
    if (!control->monitor || !cluster_leading(control->cluster)) {
        sql_error(call, 1105, "HY000", "node %llu is not the leader; node %llu is",
                  (unsigned long long)cluster_id(control->cluster), (unsigned long long)cluster_leader(control->cluster));
        return;
    }
    if (!state->has_source || !state->source.host[0]) {
        sql_error(call, 1200, "HY000", "no source is set; set one with CHANGE REPLICATION SOURCE TO first");
        return;
    }
    call->later = true;
    monitor_check(control->monitor, checked, call->request);
}
