/* sql_cluster.c: statements about the cluster itself: its members, who leads. */
#include "node/quorum.h"
#include "node/sql_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *state_text(const struct cluster_member_info *m)
{
    return m->leader ? "leader" : m->up ? "follower" : "unreachable";
}

/* What is wrong with it, if anything. */
static void put_note(struct table *table, const struct cluster_member_info *m)
{
    table_text(table, !m->up ? m->trouble : m->note);
}

static void put_member(struct table *table, const struct cluster_member_info *m, uint64_t leader_applied)
{
    static const char *const roles[] = {[CLUSTER_VOTER] = "voter", [CLUSTER_STANDBY] = "standby", [CLUSTER_SPARE] = "spare"};
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
                   {"Seen", TABLE_TEXT},    {"Note", TABLE_TEXT}};
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
        reply_ok(call->reply);
    }
}
