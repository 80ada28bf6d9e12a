/* sql_members.c: ALTER CLUSTER ... MEMBER: who is to be a member.
 *
 * Happy path: what is asked for is checked against what is so, and becomes a plan in the replicated state; OK means that it stands there. What it takes is
 * done by whoever leads (raft/cluster_members.c); SHOW CLUSTER MEMBERS tells how far it is. With DRY RUN the steps are listed.
 * Failure: what cannot be is refused with the reason, and nothing is planned. */
#include "node/sql_impl.h"

#include <string.h>

enum { RAFT_PORT = 4307 };

/* Runs on the leader. */
static bool is_loopback(const char *host)
{
    return !strncmp(host, "127.", 4) || !strcmp(host, "::1") || !strcmp(host, "localhost");
}

static bool read_address(struct sql_call *call, struct entry_member *wish, bool needed)
{
    const struct config *config = call->control->config;
    struct env_addr addr;
    struct errmsg em;
    if (!needed && sql_peek(call)->kind != TOKEN_STRING) {
        return true;
    }
    const char *text = sql_string(call);
    if (!text) {
        return false;
    }
    if (env_addr_parse(text, RAFT_PORT, &addr, &em)) {
        return sql_error(call, 1105, "HY000", "'%s' is no address of a member: %s", text, em.text);
    }
    if (config && !config->tls_off && !config->raft_ssl_cert[0] && !config->raft_secret_file[0] && !is_loopback(addr.host)) {
        return sql_error(call, 1105, "HY000", "a member at %s needs [raft] ssl_ca, ssl_cert and ssl_key, or a secret_file, on all nodes: without them only loopback is allowed", text);
    }
    env_addr_format(&addr, wish->address, sizeof wish->address);
    return true;
}

static bool build(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct entry_member *wish = what;
    struct entry_member plan;
    struct errmsg em;
    if (cluster_plan_member(control->cluster, wish, &plan, &em)) {
        reply_error(reply, 1105, "HY000", "%s", em.text);
        return false;
    }
    entry_put_member(entry, &plan);
    return true;
}

static const struct cluster_member_info *info_of(const struct cluster_member_info *infos, size_t n, uint64_t id)
{
    for (size_t i = 0; i < n; i++) {
        if (infos[i].id == id && infos[i].role != CLUSTER_INVITED) {
            return &infos[i];
        }
    }
    return NULL;
}

static void add_step(struct table *t, const char *what)
{
    table_row(t);
    table_number(t, table_rows(t));
    table_text(t, what);
}

/* What would be done, in order. */
static void say_steps(struct sql_call *call, const struct entry_member *plan)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    size_t n = cluster_infos(call->control->cluster, infos, CLUSTER_MEMBERS_MAX);
    const struct cluster_member_info *now = info_of(infos, n, plan->id);
    struct table *t = table_new();
    table_head(t, "#Step");
    table_head(t, "What");
    if (plan->verb == MEMBER_DONE) {
        add_step(t, "the node is not waited for any more; its id stays free");
    }
    bool leaves = now && (plan->fresh || plan->goal == MEMBER_GONE || (plan->goal == MEMBER_STANDBY && now->role == CLUSTER_VOTER));
    if (leaves && now->leader) {
        add_step(t, "the lead goes to another voter");
    }
    if (leaves) {
        add_step(t, plan->fresh            ? "the old data directory is removed from the cluster; a node that runs with it ends"
                    : plan->goal == MEMBER_GONE ? "the member is removed, its id retired; the node ends"
                                                : "the voter becomes a standby");
    }
    if (plan->fresh) {
        add_step(t, "an empty node at the address asks to be taken in: it becomes a spare");
        add_step(t, "it gets what the log has no more, and becomes a standby");
    }
    if (plan->verb == MEMBER_PLAN && plan->goal == MEMBER_VOTER) {
        add_step(t, "when it is level it becomes a voter");
    }
    reply_rows(call->reply, t);
}

static void run(struct sql_call *call, struct entry_member *wish)
{
    struct entry_member plan;
    struct errmsg em;
    bool dry = sql_match(call, "DRY RUN");
    if (!sql_end(call)) {
        return;
    }
    if (!dry) {
        call->later = true;
        control_change(call->control, call->request, build, wish, sizeof *wish);
    } else if (cluster_plan_member(call->control->cluster, wish, &plan, &em)) {
        sql_error(call, 1105, "HY000", "%s", em.text);
    } else {
        say_steps(call, &plan);
    }
}

static bool read_id(struct sql_call *call, struct entry_member *wish)
{
    if (!sql_read_number(call, &wish->id)) {
        return false;
    }
    return (wish->id && wish->id <= UINT32_MAX) || sql_error(call, 1105, "HY000", "a member's id is a number from 1 to %u", UINT32_MAX);
}

void sql_add_member(struct sql_call *call)
{
    struct entry_member wish = {.verb = MEMBER_PLAN, .goal = MEMBER_VOTER, .fresh = true};
    if (read_id(call, &wish) && read_address(call, &wish, true)) {
        wish.goal = sql_match(call, "AS STANDBY") ? MEMBER_STANDBY : MEMBER_VOTER;
        run(call, &wish);
    }
}

void sql_replace_member(struct sql_call *call)
{
    struct entry_member wish = {.verb = MEMBER_PLAN, .goal = MEMBER_VOTER, .fresh = true, .again = true};
    if (read_id(call, &wish) && read_address(call, &wish, false)) {
        run(call, &wish);
    }
}

static void change_goal(struct sql_call *call, enum member_goal goal)
{
    struct entry_member wish = {.verb = MEMBER_PLAN, .goal = goal};
    if (read_id(call, &wish)) {
        run(call, &wish);
    }
}

void sql_remove_member(struct sql_call *call)
{
    change_goal(call, MEMBER_GONE);
}

void sql_promote_member(struct sql_call *call)
{
    change_goal(call, MEMBER_VOTER);
}

void sql_demote_member(struct sql_call *call)
{
    change_goal(call, MEMBER_STANDBY);
}
