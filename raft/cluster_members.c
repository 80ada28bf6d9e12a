/* cluster_members.c: who is a member, and how that changes.
 *
 * What an operator wants stands in the replicated state as plans (raft/state_members.h), what is so in libraft's configuration. Whoever leads brings
 * the one to the other, one change at a time:
 *
 *     a new member     an empty node asks (JOIN) and names its data directory -> added as spare -> standby, when it is reached: it fetches the files
 *                      that the log has no more (raft/fetch.h), and gets the log -> voter, when it is level -> the plan is done
 *     another disk     the old data directory is removed; that committed, it is as with a new member
 *     no member        its id is retired with the plan; removed; done
 *     standby          demoted; done
 *
 * A leader that is to go hands over first, and its successor goes on. A change waits while it would leave less than a majority of voters reachable.
 *
 * Rules towards libraft: a change is begun only after this term's no-op was applied, with nothing else in flight; it is over when nothing is
 * uncommitted any more. Here also stands who may speak: a hello of somebody who is none of us, is none any more, or has lost what it
 * acknowledged, is refused with what to do. */
#include "raft/cluster_impl.h"

#include "raft/configuration.h"
#include "raft/memory.h"
#include "raft/mutation.h"

#include "protocol/base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 100, CLAIM_S = 10, REMEMBER_S = 5 };

/* ---- what is so ---- */

static const struct raft_server *server_of(const struct cluster *c, uint64_t id)
{
    return c->started ? configuration_find(&c->raft.configuration, id) : NULL;
}

static uint64_t incarnation_of(const struct raft_server *server)
{
    struct formation_member m = {0};
    return server && !formation_address_parse(server->address, &m) ? m.incarnation : 0;
}

uint64_t cluster_members_incarnation(const struct cluster *c, uint64_t id)
{
    return incarnation_of(server_of(c, id));
}

static const struct member_plan *plan_of(const struct cluster *c, uint64_t id)
{
    return state_members_plan(&c->state->members, id);
}

static bool retired(const struct cluster *c, uint64_t id)
{
    return state_members_retired(&c->state->members, id);
}

/* Is the data directory that the plan asks for not there yet? */
static bool waits_for_directory(const struct member_plan *p, const struct raft_server *server)
{
    return p->counter && (!server || INCARNATION_COUNTER(incarnation_of(server)) < p->counter);
}

static bool is_up(const struct cluster *c, uint64_t id)
{
    return id == c->id || net_up(c->net, id);
}

/* With the voter `id` gone, or with one more (`joins`): can the others commit? */
static bool majority_without(const struct cluster *c, uint64_t id, size_t *up, size_t *voters)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    *up = *voters = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *s = &configuration->servers[i];
        if (s->role == RAFT_VOTER && s->id != id) {
            ++*voters;
            *up += is_up(c, s->id);
        }
    }
    return *up > *voters / 2;
}

/* ---- what is said to who may not speak ---- */

static bool no(struct message_refusal *why, enum refusal code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static bool no(struct message_refusal *why, enum refusal code, const char *fmt, ...)
{
    va_list ap;
    why->why = code;
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    return false;
}

/* Final: only of what is committed here. Who is told so never starts again (raft/formation.h). */
static bool removed(const struct cluster *c, uint64_t id, struct message_refusal *why)
{
    return no(why, REFUSAL_REMOVED, "node %" PRIu64 " was removed from cluster %s; its id is never used again: to bring it back, on any member run: holdfast member add ID ADDR "
              "with another id; then start it with that id and an empty data directory", id, c->formation.cluster);
}

static bool replaced(const struct cluster *c, uint64_t id, struct message_refusal *why)
{
    return no(why, REFUSAL_REMOVED, "node %" PRIu64 " was replaced: this data directory is no part of cluster %s any more; the new one begins empty", id, c->formation.cluster);
}

/* ---- the network is told ---- */

static void tell_network(struct cluster *c)
{
    struct formation_member members[FORMATION_MEMBERS_MAX];
    const struct raft_configuration *configuration = &c->raft.configuration;
    const struct state_members *plans = &c->state->members;
    size_t n = 0;
    memset(members, 0, sizeof members);
    for (unsigned i = 0; i < configuration->n && n < FORMATION_MEMBERS_MAX; i++) {
        members[n].id = configuration->servers[i].id;
        n += !formation_address_parse(configuration->servers[i].address, &members[n]);
    }
    for (size_t i = 0; i < plans->n_plans && n < FORMATION_MEMBERS_MAX; i++) {
        if (plans->plans[i].counter && !server_of(c, plans->plans[i].id) && plans->plans[i].id != c->id) {
            members[n].id = plans->plans[i].id;
            snprintf(members[n++].address, sizeof members->address, "%s", plans->plans[i].address);
        }
    }
    net_members(c->net, members, n);
}

void cluster_members_turn(struct cluster *c)
{
    bool same = c->seen_index == c->raft.configuration_index && c->seen_uncommitted == c->raft.configuration_uncommitted_index;
    if (!c->net || (same && !c->members_changed) || !c->raft.configuration.n) {
        return;
    }
    c->seen_index = c->raft.configuration_index;
    c->seen_uncommitted = c->raft.configuration_uncommitted_index;
    c->members_changed = false;
    tell_network(c);
    if (!server_of(c, c->id) && !c->seen_uncommitted && retired(c, c->id) && c->handler->refused) {
        struct message_refusal why;
        removed(c, c->id, &why);
        formation_removed(&c->formation, why.text);
        c->handler->refused(c->owner, why.text);
    }
}

/* ---- the next change ---- */

bool cluster_members_changing(const struct cluster *c)
{
    return c->leading && c->raft.configuration_uncommitted_index != 0;
}

static void settled(void *arg, int status)
{
    struct cluster *c = arg;
    (void)status; /* another look, if it was not to be */
    c->settling = false;
}

static void propose(struct cluster *c, const struct entry_member *m)
{
    struct buf b;
    buf_init(&b, ENTRY_MAX);
    entry_put_member(&b, m);
    c->settling = true;
    cluster_propose(c, &b, settled, c);
}

static void plan_done(struct cluster *c, const struct member_plan *p)
{
    struct entry_member m = {.verb = MEMBER_DONE, .id = p->id, .goal = p->goal, .counter = p->counter};
    propose(c, &m);
}

static bool begun(struct cluster *c, int rv, const char *what, uint64_t id)
{
    if (rv) {
        env_log(c->loop, ENV_WARN, "members: node %" PRIu64 " is not %s now: %s", id, what, raft_strerror(rv));
        return false;
    }
    env_log(c->loop, ENV_INFO, "members: node %" PRIu64 " is %s", id, what);
    return true;
}

/* The voter that is nearest to our log takes the lead. */
static void hand_over(struct cluster *c)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    const struct raft_server *best = NULL;
    uint64_t most = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *s = &configuration->servers[i];
        const struct member_plan *p = plan_of(c, s->id);
        uint64_t matched = rio_matched(c->rio, s->id, s->address);
        if (s->role == RAFT_VOTER && s->id != c->id && is_up(c, s->id) && (!p || p->goal == MEMBER_VOTER) && matched >= most) {
            best = s;
            most = matched;
        }
    }
    if (best && !cluster_transfer(c, best->id)) {
        env_log(c->loop, ENV_INFO, "members: the lead goes to node %llu, since this one is to go", best->id);
    }
}

static bool may_leave(const struct cluster *c, const struct raft_server *s)
{
    size_t up, voters;
    return s->role != RAFT_VOTER || majority_without(c, s->id, &up, &voters);
}

static bool remove_server(struct cluster *c, const struct raft_server *s)
{
    uint64_t id = s->id;
    if (!may_leave(c, s)) {
        return false;
    }
    if (id == c->id) {
        hand_over(c);
        return false;
    }
    return begun(c, raft_remove(&c->raft, &c->change, id, NULL), "removed", id);
}

static const struct member_claim *claim_of(const struct cluster *c, uint64_t id)
{
    for (size_t i = 0; i < CLUSTER_MEMBERS_MAX; i++) {
        if (c->claims[i].id == id && env_now(c->loop) - c->claims[i].at < CLAIM_S * ENV_S) {
            return &c->claims[i];
        }
    }
    return NULL;
}

static bool add_server(struct cluster *c, const struct member_plan *p)
{
    const struct member_claim *claim = claim_of(c, p->id);
    struct formation_member m = {.id = p->id};
    char address[CONFIGURATION_ADDRESS];
    if (!claim || claim->counter != p->counter || c->raft.configuration.n >= CLUSTER_MEMBERS_MAX) {
        return false;
    }
    m.incarnation = p->counter << INCARNATION_RANDOM_BITS | claim->random;
    snprintf(m.address, sizeof m.address, "%s", p->address);
    formation_address(&m, address, sizeof address);
    return begun(c, raft_add(&c->raft, &c->change, p->id, address, NULL), "added as spare", p->id);
}

static bool assign(struct cluster *c, const struct raft_server *s, int role, const char *what)
{
    uint64_t id = s->id;
    return begun(c, raft_assign(&c->raft, &c->change, id, role, NULL), what, id);
}

static bool promote(struct cluster *c, const struct raft_server *s)
{
    size_t up, voters;
    uint64_t matched = rio_matched(c->rio, s->id, s->address);
    majority_without(c, s->id, &up, &voters);
    if (!is_up(c, s->id) || up + 1 <= (voters + 1) / 2 || !matched || matched < c->level_index || c->raft.leader_state.promotee_id) {
        return false;
    }
    return assign(c, s, RAFT_VOTER, "level, and becomes a voter");
}

/* One step of one plan. True: a change is on its way. */
static bool step(struct cluster *c, const struct member_plan *p)
{
    const struct raft_server *s = server_of(c, p->id);
    if (s && (p->goal == MEMBER_GONE || waits_for_directory(p, s))) {
        return remove_server(c, s);
    }
    if (!s && p->goal != MEMBER_GONE && p->counter) {
        return add_server(c, p);
    }
    if (s && s->role == RAFT_SPARE) {
        return is_up(c, s->id) && assign(c, s, RAFT_STANDBY, "a standby now, and gets what the cluster holds");
    }
    if (s && s->role == RAFT_STANDBY && p->goal == MEMBER_VOTER) {
        return promote(c, s);
    }
    if (s && s->role == RAFT_VOTER && p->goal == MEMBER_STANDBY) {
        if (s->id == c->id) {
            hand_over(c);
            return false;
        }
        return may_leave(c, s) && assign(c, s, RAFT_STANDBY, "a standby now");
    }
    plan_done(c, p);
    return false;
}

/* Entries of a new level may be written when all voters know it. */
static void look_at_level(struct cluster *c)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    uint32_t level = c->level;
    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *s = &configuration->servers[i];
        uint32_t theirs = s->id == c->id ? c->level : cluster_net_level(c, s->id, incarnation_of(s));
        level = theirs < level ? theirs : level;
    }
    if (level > cluster_level(c)) {
        struct entry_member m = {.verb = MEMBER_LEVEL, .level = level};
        env_log(c->loop, ENV_INFO, "members: all know feature level %u, the cluster has it from now on", level);
        propose(c, &m);
    }
}

bool cluster_members_begin(struct cluster *c)
{
    const struct state_members *plans = &c->state->members;
    if (!c->leading || c->in_flight || c->settling || c->raft.transfer || c->raft.leader_state.promotee_id) {
        return false;
    }
    for (size_t i = 0; i < plans->n_plans; i++) {
        if (step(c, &plans->plans[i])) {
            return true;
        }
        if (c->settling || c->raft.transfer) {
            return false;
        }
    }
    if (c->level > cluster_level(c)) {
        look_at_level(c);
    }
    return false;
}

static void look(struct env_timer *timer)
{
    struct cluster *c = CONTAINER_OF(timer, struct cluster, members);
    c->members_on = false;
    if (c->closing || !c->leading) {
        return;
    }
    c->level_index = c->look_index;
    c->look_index = raft_last_index(&c->raft);
    cluster_pump_later(c);
    cluster_members_wake(c);
}

void cluster_members_wake(struct cluster *c)
{
    bool work = c->state->members.n_plans || c->level > cluster_level(c);
    if (c->leading && work && !c->members_on) {
        c->members_on = true;
        c->look_index = c->look_index ? c->look_index : raft_last_index(&c->raft);
        env_timer_start(&c->members, LOOK_MS * ENV_MS);
    }
}

uint32_t cluster_level(const struct cluster *c)
{
    return c->state->members.level ? c->state->members.level : 1;
}

/* ---- what an operator may ask for ---- */

static int no_quorum(const struct cluster *c, uint64_t id, const char *what, struct errmsg *em)
{
    size_t up, voters;
    if (majority_without(c, id, &up, &voters)) {
        return 0;
    }
    if (!voters) {
        return err_set(em, E_INVALID, "node %" PRIu64 " is the last voter: it cannot be %s", id, what);
    }
    return err_set(em, E_INVALID, "with node %" PRIu64 " %s, %zu of %zu voters would be reachable, which is no majority: bring the others back first", id, what, up,
                   voters);
}

static int check_address(const struct cluster *c, const struct entry_member *wish, struct errmsg *em)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    const struct state_members *plans = &c->state->members;
    for (unsigned i = 0; i < configuration->n; i++) {
        struct formation_member m = {0};
        if (configuration->servers[i].id != wish->id && !formation_address_parse(configuration->servers[i].address, &m) && !strcmp(m.address, wish->address)) {
            return err_set(em, E_EXISTS, "%s is the address of node %llu", wish->address, configuration->servers[i].id);
        }
    }
    for (size_t i = 0; i < plans->n_plans; i++) {
        if (plans->plans[i].id != wish->id && !strcmp(plans->plans[i].address, wish->address)) {
            return err_set(em, E_EXISTS, "%s is the address of node %" PRIu64, wish->address, plans->plans[i].id);
        }
    }
    return 0;
}

static int unknown(const struct cluster *c, uint64_t id, struct errmsg *em)
{
    if (retired(c, id)) {
        return err_set(em, E_NOTFOUND, "node %" PRIu64 " was removed; its id is never used again", id);
    }
    return err_set(em, E_NOTFOUND, "there is no node %" PRIu64 " (see: holdfast member list)", id);
}

static const char *goal_text(const struct member_plan *p)
{
    return p->goal == MEMBER_GONE ? "removed" : p->goal == MEMBER_STANDBY ? "made a standby" : p->counter ? "brought in" : "made a voter";
}

static int check_add(const struct cluster *c, const struct entry_member *wish, struct errmsg *em)
{
    if (server_of(c, wish->id)) {
        return err_set(em, E_EXISTS, "node %" PRIu64 " is a member already; a new disk for it: holdfast member replace %" PRIu64 " ADDR", wish->id, wish->id);
    }
    if (retired(c, wish->id)) {
        return err_set(em, E_INVALID, "node %" PRIu64 " was removed, and its id is never used again; take another one", wish->id);
    }
    if (c->raft.configuration.n + c->state->members.n_plans >= CLUSTER_MEMBERS_MAX) {
        return err_set(em, E_TOOBIG, "a cluster has at most %d members", CLUSTER_MEMBERS_MAX);
    }
    return check_address(c, wish, em);
}

static int check_leave(const struct cluster *c, const struct entry_member *wish, struct errmsg *em)
{
    const struct raft_server *s = server_of(c, wish->id);
    const char *what = wish->goal == MEMBER_STANDBY ? "a standby" : wish->fresh ? "replaced" : "removed";
    if (!s) {
        return unknown(c, wish->id, em);
    }
    if (wish->goal == MEMBER_STANDBY && s->role != RAFT_VOTER) {
        return err_set(em, E_INVALID, "node %" PRIu64 " is no voter", wish->id);
    }
    int rv = s->role == RAFT_VOTER ? no_quorum(c, wish->id, what, em) : 0;
    return rv || !wish->fresh ? rv : check_address(c, wish, em);
}

static int check_promote(const struct cluster *c, const struct entry_member *wish, struct errmsg *em)
{
    const struct raft_server *s = server_of(c, wish->id);
    if (!s) {
        return unknown(c, wish->id, em);
    }
    return s->role == RAFT_VOTER ? err_set(em, E_INVALID, "node %" PRIu64 " is a voter already", wish->id) : 0;
}

/* An address that is not given stays. */
static void keep_address(const struct cluster *c, struct entry_member *plan)
{
    const struct raft_server *s = server_of(c, plan->id);
    const struct member_plan *p = plan_of(c, plan->id);
    struct formation_member m = {0};
    if (plan->fresh && !plan->address[0] && s && !formation_address_parse(s->address, &m)) {
        snprintf(plan->address, sizeof plan->address, "%s", m.address);
    } else if (plan->fresh && !plan->address[0] && p) {
        snprintf(plan->address, sizeof plan->address, "%s", p->address);
    }
}

static int check_replace(const struct cluster *c, const struct entry_member *wish, struct errmsg *em)
{
    const struct member_plan *p = plan_of(c, wish->id);
    return !server_of(c, wish->id) && p && p->again ? check_address(c, wish, em) : check_leave(c, wish, em);
}

/* Of one that has not come yet: it is not waited for any more. */
static void cancel(const struct member_plan *p, struct entry_member *plan)
{
    if (p->again) { /* its id was a member's: it is retired */
        *plan = (struct entry_member){.verb = MEMBER_PLAN, .id = p->id, .goal = MEMBER_GONE, .again = true};
    } else {
        *plan = (struct entry_member){.verb = MEMBER_DONE, .id = p->id, .goal = p->goal, .counter = p->counter};
    }
}

int cluster_plan_member(const struct cluster *c, const struct entry_member *wish, struct entry_member *plan, struct errmsg *em)
{
    const struct member_plan *p = plan_of(c, wish->id);
    *plan = *wish;
    if (!c->leading) {
        return err_set(em, E_NOTLEADER, "this node does not lead (any more); try again in a moment");
    }
    keep_address(c, plan);
    if (p && p->goal == MEMBER_GONE) {
        return err_set(em, E_BUSY, "node %" PRIu64 " is being removed", wish->id);
    }
    if (p && wish->goal == MEMBER_GONE && !server_of(c, wish->id)) {
        cancel(p, plan);
        return 0;
    }
    if (p && wish->fresh && !wish->again && !server_of(c, wish->id)) {
        return err_set(em, E_BUSY, "node %" PRIu64 " is awaited already, at %s", wish->id, p->address);
    }
    if (p && wish->goal != MEMBER_GONE && !wish->fresh) {
        return err_set(em, E_BUSY, "node %" PRIu64 " is being %s; see: holdfast member list", wish->id, goal_text(p));
    }
    if (wish->fresh && state_members_may_grow(&c->state->members, em)) {
        return E_TOOBIG;
    }
    if (wish->fresh) {
        return wish->again ? check_replace(c, plan, em) : check_add(c, plan, em);
    }
    return wish->goal == MEMBER_VOTER ? check_promote(c, plan, em) : check_leave(c, plan, em);
}

static uint64_t log_end(const struct cluster *c)
{
    return c->leading ? raft_last_index((struct raft *)(uintptr_t)&c->raft) : cluster_net_stored(c, cluster_leader(c));
}

void cluster_members_wait(const struct cluster *c, uint64_t id, char *text, size_t size)
{
    const struct member_plan *p = plan_of(c, id);
    const struct raft_server *s = server_of(c, id);
    size_t up, voters;
    uint64_t end = log_end(c), has = s && c->leading ? rio_matched(c->rio, id, s->address) : cluster_net_stored(c, id);
    text[0] = 0;
    if (!p) {
        return;
    }
    bool leaves = s && (p->goal == MEMBER_GONE || waits_for_directory(p, s) || (s->role == RAFT_VOTER && p->goal == MEMBER_STANDBY));
    if (leaves && s->role == RAFT_VOTER && !majority_without(c, id, &up, &voters)) {
        snprintf(text, size, "waits until a majority of the other voters is reachable (%zu of %zu now)", up, voters);
    } else if (leaves) {
        snprintf(text, size, "on its way out");
    } else if (waits_for_directory(p, s)) {
        const char *trouble = net_trouble(c->net, id);
        snprintf(text, size, "waits for holdfastd to be started at %s with an empty data directory%s%.120s", p->address, trouble[0] ? ": " : "", trouble);
    } else if (s && s->role == RAFT_SPARE) {
        snprintf(text, size, "waits for a connection to it");
    } else if (s && cluster_net_note(c, id)[0]) { /* what it fetches */
        snprintf(text, size, "%s", cluster_net_note(c, id));
    } else if (s && s->role == RAFT_STANDBY && p->goal == MEMBER_VOTER) {
        snprintf(text, size, "catches up: %" PRIu64 " of %" PRIu64 " entries", has < end ? has : end, end);
    }
}

/* ---- who may speak ---- */

/* A member forgets neither its term nor what it has applied, and that is what its disk has. */
static bool has_what_it_had(const struct cluster *c, const struct message_hello *h, const struct raft_server *s, struct message_refusal *why)
{
    uint64_t term = 0, held = cluster_net_applied(c, h->from, h->incarnation, &term);
    uint64_t shown = rio_held(c->rio, s->id, s->address);
    const struct memory *memory = rio_memory(c->rio);
    const struct memory_row *before = memory ? memory_of(memory, h->from, h->incarnation) : NULL; /* the last start */
    held = held > shown ? held : shown;
    if (before && !MUTATED(MEMORY)) {
        held = before->held > held ? before->held : held;
        term = before->term > term ? before->term : term;
    }
    if ((h->last_stored >= held && h->term >= term) || MUTATED(LOST)) {
        return true;
    }
    return no(why, REFUSAL_LOST, "node %" PRIu64 " has less than it acknowledged (its log ends with entry %" PRIu64 " of term %" PRIu64 ", it had entry %" PRIu64 " and term %" PRIu64
              "): is this an old image of its disk? On any member run: holdfast member replace %" PRIu64 " ADDR; then empty its data directory and start it",
              h->from, h->last_stored, h->term, held, term, h->from);
}

void cluster_members_remember(struct cluster *c)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    struct memory_row rows[MEMORY_ROWS];
    size_t n = 0;
    if (!c->started || !configuration->n || !rio_memory(c->rio)) { /* what was remembered stays */
        return;
    }
    for (unsigned i = 0; i < configuration->n && n < MEMORY_ROWS; i++) {
        const struct raft_server *s = &configuration->servers[i];
        if (s->id != c->id) {
            struct memory_row *row = &rows[n++];
            *row = (struct memory_row){.id = s->id, .incarnation = incarnation_of(s)};
            row->held = cluster_net_applied(c, s->id, row->incarnation, &row->term);
            uint64_t shown = rio_held(c->rio, s->id, s->address);
            row->held = shown > row->held ? shown : row->held;
        }
    }
    memory_take(rio_memory(c->rio), rows, n);
    memory_store(rio_memory(c->rio));
}

static void remember_again(struct env_timer *timer)
{
    struct cluster *c = CONTAINER_OF(timer, struct cluster, remember);
    if (!c->closing) {
        cluster_members_remember(c);
        env_timer_start(timer, REMEMBER_S * ENV_S);
    }
}

/* Of our cluster, with a data directory that is not the one that is a member. One whose removal is not committed may lead, and take that back: it has to
 * reach us. */
static bool another_directory(const struct cluster *c, const struct message_hello *h, const struct raft_server *s, struct message_refusal *why)
{
    const struct member_plan *p = plan_of(c, h->from);
    uint64_t theirs = INCARNATION_COUNTER(h->incarnation), ours = INCARNATION_COUNTER(incarnation_of(s));
    bool settled = !c->raft.configuration_uncommitted_index;
    if (settled && !s && retired(c, h->from)) {
        return removed(c, h->from, why);
    }
    if (s && theirs < ours && INCARNATION_RANDOM(h->incarnation) == INCARNATION_RANDOM(incarnation_of(s))) { /* it asks on, and hears it */
        return no(why, REFUSAL_OTHER, "node %" PRIu64 " has been taken in again, and has not heard it yet", h->from);
    }
    /* the newer one stands in no log before it is committed that this one is gone; heard as a guest it would vote, and be counted, in its place */
    if ((s && theirs < ours && (settled || !MUTATED(REPLACED))) || (settled && !s && p && theirs < p->counter)) {
        return replaced(c, h->from, why);
    }
    if (s && theirs == ours) {
        return no(why, REFUSAL_INCARNATION, "the data directory of node %" PRIu64 " is not the one that cluster %s knows; on any member run: holdfast member replace %" PRIu64 " ADDR",
                  h->from, c->formation.cluster, h->from);
    }
    return no(why, REFUSAL_UNHEARD, "node %" PRIu64 " has not heard yet that node %" PRIu64 " is a member", c->id, h->from);
}

static bool empty_node(const struct cluster *c, const struct message_hello *h, const struct raft_server *s, struct message_refusal *why)
{
    const struct member_plan *p = plan_of(c, h->from);
    if (p && p->goal != MEMBER_GONE && waits_for_directory(p, s)) {
        return no(why, REFUSAL_INVITED, "cluster %s exists and waits for node %" PRIu64, c->formation.cluster, h->from);
    }
    if (s) {
        return no(why, REFUSAL_EXISTS, "node %" PRIu64 " is empty but cluster %s exists; on any member run: holdfast member replace %" PRIu64 " ADDR", h->from,
                  c->formation.cluster, h->from);
    }
    if (retired(c, h->from)) {
        return c->raft.configuration_uncommitted_index ? no(why, REFUSAL_OTHER, "node %" PRIu64 " is being removed", h->from) : removed(c, h->from, why);
    }
    return no(why, REFUSAL_UNKNOWN, "node %" PRIu64 " is not a member of cluster %s yet; on any member run: holdfast member add %" PRIu64 " ADDR", h->from,
              c->formation.cluster, h->from);
}

bool cluster_members_admit(void *owner, const struct message_hello *h, struct message_refusal *why)
{
    const struct cluster *c = owner;
    const struct raft_server *s = server_of(c, h->from);
    if (MUTATED(INCARNATION)) {
        return true;
    }
    if (!c->started || !c->raft.configuration.n) { /* what we were told when we joined is all that we know */
        for (size_t i = 0; i < c->formation.n; i++) {
            if (c->formation.members[i].id == h->from && c->formation.members[i].incarnation == h->incarnation) {
                return true;
            }
        }
        return no(why, REFUSAL_UNHEARD, "node %" PRIu64 " has not heard yet that node %" PRIu64 " is a member", c->id, h->from);
    }
    if (s && incarnation_of(s) == h->incarnation) {
        if (h->level < cluster_level(c)) {
            return no(why, REFUSAL_LEVEL, "node %" PRIu64 " knows feature level %u, cluster %s has level %u: install the holdfastd that it ran before, or a newer one", h->from,
                      h->level, c->formation.cluster, cluster_level(c));
        }
        return has_what_it_had(c, h, s, why);
    }
    return h->cluster[0] ? another_directory(c, h, s, why) : empty_node(c, h, s, why);
}

/* A node that was wiped, and whose configuration names nobody else, has made a cluster of its own. As long as nothing is in it, it ends. */
void cluster_members_claimed(void *owner, const struct message_hello *h)
{
    struct cluster *c = owner;
    char text[512];
    if (c->closing || c->formation.n > 1 || c->state->has_source || state_file(c->state) || INCARNATION_COUNTER(formation_incarnation(&c->formation))) {
        return;
    }
    snprintf(text, sizeof text, "node %" PRIu64 " was empty and has made a cluster of its own, but it is a member of cluster %s (node %" PRIu64
             " calls): empty its data directory, put join = instead of initial_cluster into its configuration, and on any member run: holdfast member replace %" PRIu64 " ADDR",
             c->id, h->cluster, h->from, c->id);
    if (!c->handler->refused) {
        env_fatal(c->loop, "%s", text);
    }
    c->handler->refused(c->owner, text);
}

/* ---- an empty node asks ---- */

static void list_members(const struct cluster *c, struct message_join_answer *a)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    for (unsigned i = 0; i < configuration->n && a->n < MESSAGE_MEMBERS_MAX; i++) {
        struct formation_member m = {0};
        if (!formation_address_parse(configuration->servers[i].address, &m)) {
            a->members[a->n].id = configuration->servers[i].id;
            a->members[a->n].incarnation = m.incarnation;
            snprintf(a->members[a->n++].address, MESSAGE_ADDRESS_SIZE, "%s", m.address);
        }
    }
}

static void claim(struct cluster *c, const struct message_join *j, uint64_t counter)
{
    struct member_claim *place = NULL;
    for (size_t i = 0; i < CLUSTER_MEMBERS_MAX && (!place || place->id != j->id); i++) {
        if (c->claims[i].id == j->id || (!place && !claim_of(c, c->claims[i].id))) {
            place = &c->claims[i];
        }
    }
    if (place) {
        *place = (struct member_claim){.id = j->id, .random = INCARNATION_RANDOM(j->incarnation), .counter = counter, .at = env_now(c->loop)};
        cluster_members_wake(c);
        cluster_pump_later(c);
    }
}

static enum join_verdict verdict(struct cluster *c, const struct message_join *j, struct message_refusal *why)
{
    const struct raft_server *s = server_of(c, j->id);
    const struct member_plan *p = plan_of(c, j->id);
    const struct message_hello h = {.from = j->id, .incarnation = INCARNATION_RANDOM(j->incarnation)};
    if (j->cluster[0] && strcmp(j->cluster, c->formation.cluster)) {
        no(why, REFUSAL_CLUSTER, "node %" PRIu64 " belongs to cluster %s, this is cluster %s", j->id, j->cluster, c->formation.cluster);
        return JOIN_NO;
    }
    if (j->level < cluster_level(c)) {
        no(why, REFUSAL_LEVEL, "node %" PRIu64 " knows feature level %u, cluster %s has level %u: install a newer holdfastd", j->id, j->level, c->formation.cluster, cluster_level(c));
        return JOIN_NO;
    }
    if (s && INCARNATION_RANDOM(incarnation_of(s)) == INCARNATION_RANDOM(j->incarnation)) {
        return c->raft.configuration_uncommitted_index ? JOIN_WAIT : JOIN_YES;
    }
    if (j->cluster[0] && p && INCARNATION_COUNTER(j->incarnation) < p->counter) { /* it was taken in already, and is to go: what comes next begins empty */
        replaced(c, j->id, why);
        return JOIN_NO;
    }
    if (p && p->goal != MEMBER_GONE && waits_for_directory(p, s)) {
        if (c->leading) {
            claim(c, j, p->counter);
        }
        snprintf(why->text, sizeof why->text, "%s", s ? "its old data directory is being removed" : "being taken in");
        return JOIN_WAIT;
    }
    empty_node(c, &h, s, why);
    bool sure = why->why == REFUSAL_REMOVED || (why->why == REFUSAL_EXISTS && c->leading); /* the others may not know yet that it is awaited */
    return sure && !c->raft.configuration_uncommitted_index ? JOIN_NO : JOIN_WAIT;
}

void cluster_members_join(void *owner, struct cur *body, struct buf *answer)
{
    struct cluster *c = owner;
    struct message_join j;
    struct message_refusal why = {.why = REFUSAL_OTHER};
    struct message_join_answer a = {.verdict = JOIN_WAIT};
    if (message_join_get(body, &j) || c->closing) {
        return;
    }
    snprintf(a.cluster, sizeof a.cluster, "%s", c->started ? c->formation.cluster : "none yet");
    if (c->started && c->raft.configuration.n) {
        a.verdict = verdict(c, &j, &why);
        a.leader = cluster_leader(c);
        list_members(c, &a);
    } else {
        snprintf(why.text, sizeof why.text, "node %" PRIu64 " is part of no cluster yet", c->id);
    }
    snprintf(a.text, sizeof a.text, "%s", why.text);
    message_join_answer_put(answer, &a);
}

/* ---- open and close ---- */

int cluster_members_open(struct cluster *c)
{
    int rv = env_timer_open(c->loop, &c->members, look);
    rv = rv ? rv : env_timer_open(c->loop, &c->remember, remember_again);
    if (!rv && rio_memory(c->rio)) {
        env_timer_start(&c->remember, REMEMBER_S * ENV_S);
    }
    return rv;
}

void cluster_members_close(struct cluster *c)
{
    env_timer_close(&c->members);
    env_timer_close(&c->remember);
}
