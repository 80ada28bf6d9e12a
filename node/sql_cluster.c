/* sql_cluster.c: statements about the cluster itself: its members, who leads. */
#include "node/quorum.h"
#include "node/sql_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *state_text(const struct cluster_member_info *m)
{
    return m->role == CLUSTER_INVITED ? "awaited" : m->leader ? "leader" : m->up ? "follower" : "unreachable";
}

/* What is wrong with it, if anything. */
static void put_note(struct table *table, const struct cluster_member_info *m)
{
    table_text(table, m->wait[0] ? m->wait : !m->up ? m->trouble : m->note);
}

static void put_member(struct table *table, const struct cluster_member_info *m, uint64_t leader_applied)
{
    static const char *const roles[] = {
        [CLUSTER_VOTER] = "voter", [CLUSTER_STANDBY] = "standby", [CLUSTER_SPARE] = "spare", [CLUSTER_INVITED] = "none yet"};
    static const char *const goals[] = {"", [MEMBER_VOTER] = "voter", [MEMBER_STANDBY] = "standby", [MEMBER_GONE] = "removed"};
    table_row(table);
    table_number(table, m->id);
    table_text(table, m->address);
    table_text(table, roles[m->role]);
    table_text(table, state_text(m));
    if (m->reported) {
        table_text(table, m->version);
        table_number(table, m->applied);
    } else {
        table_text(table, NULL);
        table_text(table, NULL);
    }
    table_text(table, m->self ? "yes" : "no");
    if (m->reported && leader_applied) {
        table_number(table, leader_applied > m->applied ? leader_applied - m->applied : 0);
    } else {
        table_text(table, NULL);
    }
    if (m->reported) {
        table_printf(table, "%llu.%03llu", (unsigned long long)(m->age / ENV_S), (unsigned long long)(m->age % ENV_S / ENV_MS));
    } else {
        table_text(table, NULL);
    }
    put_note(table, m);
    table_text(table, goals[m->goal]);
}

void sql_show_members(struct sql_call *call)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    uint64_t leader_applied = 0;
    if (!sql_end(call)) {
        return;
    }
    size_t n = cluster_infos(call->control->cluster, infos, CLUSTER_MEMBERS_MAX);
    struct table *table = table_new();
    static const struct {
        const char *name;
        enum table_type type;
    } columns[] = {{"Id", TABLE_NUMBER},    {"Address", TABLE_TEXT}, {"Role", TABLE_TEXT}, {"State", TABLE_TEXT},
                   {"Version", TABLE_TEXT}, {"Applied", TABLE_NUMBER}, {"Self", TABLE_TEXT}, {"Lag", TABLE_NUMBER},
                   {"Seen", TABLE_TEXT},    {"Note", TABLE_TEXT}, {"Goal", TABLE_TEXT}};
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        table_column(table, columns[i].name, columns[i].type);
    }
    for (size_t i = 0; i < n; i++) {
        leader_applied = infos[i].leader && infos[i].reported ? infos[i].applied : leader_applied;
    }
    for (size_t i = 0; i < n; i++) {
        put_member(table, &infos[i], leader_applied);
    }
    reply_rows(call->reply, table);
}

/* Runs where it is sent: on the leader (node/sql_table.c). */
void sql_show_cluster_status(struct sql_call *call)
{
    sql_show_status(call);
}

static const char *refusal(int status)
{
    switch (status) {
    case E_NOTFOUND:
        return "it is no voter that can be reached";
    case E_BUSY:
        return "the lead is being handed over already";
    default:
        return err_text(status);
    }
}

/* ---- ALTER CLUSTER SWITCHOVER ----
 *
 * The leader begins it and the statement waits (node/sql_wait.c) until it is known how it ended: another node leads, or this one gave it up
 * because the other one did not take over within libraft's time. A member that sent the statement to the leader may lose it just because the
 * lead moved: then it looks for itself who leads. */

enum { MOVE_S = 5 };

void sql_switchover_begins(struct control *control, struct control_request *request)
{
    if (request->statement->row->run == sql_switchover) {
        request->move.from = cluster_leader(control->cluster);
    }
}

void sql_switchover_watch(struct control *control, struct control_request *request)
{
    request->move.until = env_now(control->loop) + MOVE_S * ENV_S;
    sql_run(control, request);
}

static void begin_move(struct sql_call *call, uint64_t to)
{
    struct cluster *cluster = call->control->cluster;
    if (to == cluster_id(cluster)) {
        sql_error(call, 1105, "HY000", "node %llu leads already", (unsigned long long)to);
        return;
    }
    int status = cluster_voters(cluster) < 2 ? E_NOTFOUND : cluster_transfer(cluster, to);
    if (status == E_NOTFOUND && !to) {
        sql_error(call, 1105, "HY000", "there is no other voter that can be reached");
    } else if (status) {
        sql_error(call, 1105, "HY000", "node %llu cannot lead now: %s", (unsigned long long)to, refusal(status));
    } else {
        call->request->move.from = cluster_id(cluster);
        call->request->move.until = env_now(call->control->loop) + MOVE_S * ENV_S;
        call->must_wait = true;
    }
}

static void did_not_move(struct sql_call *call, uint64_t to)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    struct cluster *cluster = call->control->cluster;
    unsigned long long from = call->request->move.from, lacks = 0, stored = 0;
    const struct cluster_member_info *target = NULL;
    size_t n = cluster_infos(cluster, infos, CLUSTER_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        target = infos[i].id == to ? &infos[i] : target;
        stored = infos[i].leader ? infos[i].stored : stored;
    }
    if (target && target->reported && target->stored < stored) {
        lacks = stored - target->stored;
    }
    if (target && !target->up) {
        sql_error(call, 1105, "HY000", "the lead did not move: node %llu cannot be reached (%s); node %llu still leads", (unsigned long long)to, target->trouble, from);
    } else if (lacks) {
        sql_error(call, 1105, "HY000", "the lead did not move: node %llu was not level in time (it lacked %llu entries of the log when it reported last); node %llu still leads",
                  (unsigned long long)to, lacks, from);
    } else {
        sql_error(call, 1105, "HY000", "the lead did not move: the other node did not take it in time; node %llu still leads. Try again", from);
    }
}

static void watch_move(struct sql_call *call, uint64_t to)
{
    struct cluster *cluster = call->control->cluster;
    uint64_t leader = cluster_leader(cluster), from = call->request->move.from;
    bool over = env_now(call->control->loop) >= call->request->move.until;
    if (leader && leader != from) {
        if (to && leader != to) {
            sql_error(call, 1105, "HY000", "the lead moved, but not to node %llu: node %llu leads now", (unsigned long long)to, (unsigned long long)leader);
        }
    } else if (leader && ((cluster_leading(cluster) && !cluster_transferring(cluster)) || over)) {
        did_not_move(call, to);
    } else if (over) {
        sql_error(call, 1105, "HY000", "node %llu gave the lead up, and nobody has it yet; holdfast status shows who answers", (unsigned long long)from);
    } else {
        call->must_wait = true;
    }
}

void sql_switchover(struct sql_call *call)
{
    uint64_t to = 0;
    if (sql_word(call, "TO")) {
        const struct sql_token *token = sql_take(call);
        char *end;
        to = token->kind == TOKEN_NUMBER ? strtoull(token->text, &end, 10) : 0;
        if (!to || *end) {
            sql_syntax(call);
            return;
        }
    }
    if (!sql_end(call)) {
        return;
    }
    if (call->request->move.until) {
        watch_move(call, to);
    } else {
        begin_move(call, to);
    }
}
