/* sql_check_replica.c: CHECK REPLICA 'name' UUID 'uuid' GTIDS 'set': which of these does neither the cluster nor its source have? Nodes ask it
 * of the leader about replicas that are ahead of them (node/errant.c); a person may.
 *
 * Happy path: what is not committed is looked for at the source; what is left is errant where it can only be the replica's own doing: written
 * by a server (MariaDB: in a domain) that the cluster knows transactions of, or by the replica itself. From elsewhere it may have another
 * source beside us; that is its own affair. To be refused is only the former: a server of its flavour would serve the latter. An alarm says
 * it to the operator, on all nodes, until it is read; that its entry is applied proves that we still lead.
 *
 * Failure modes: the source is not followed, or does not answer, or the lead is lost: an error; nothing is said against the replica. */
#include "node/monitor.h"
#include "node/sql_impl.h"

#include "protocol/base/mem.h"
#include "protocol/gtid_lack.h"
#include "raft/mutation.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct replica_check {
    struct replica_check *next; /* those that are proposed */
    struct control *control;
    struct control_request *request; /* NULL: answered */
    struct gtid_set *set; /* what is not accounted for yet */
    char name[300], uuid[UUID_TEXT_SIZE];
    bool refused;
};

static void check_free(struct replica_check *c)
{
    gtid_set_free(c->set);
    mem_free(c);
}

static const struct gtid_set *held_by(const struct replica_check *c)
{
    return cluster_state(c->control->cluster)->executed;
}

static void answer(struct replica_check *c)
{
    struct table *table = table_new();
    table_column(table, "Gtids", TABLE_TEXT);
    table_column(table, "Transactions", TABLE_NUMBER);
    table_column(table, "Refused", TABLE_TEXT);
    if (!gtid_set_is_empty(c->set)) {
        struct buf text;
        buf_init(&text, SQL_VALUES_MAX);
        gtid_set_print(c->set, &text);
        table_row(table);
        table_text(table, buf_cstr(&text));
        table_number(table, gtid_lacking_count(c->set, held_by(c)));
        table_text(table, c->refused ? "yes" : "no");
        buf_free(&text);
    }
    reply_rows(&c->request->reply, table);
    control_reply(c->request);
    check_free(c);
}

static void fail(struct replica_check *c, const char *why)
{
    reply_error(&c->request->reply, 1105, "HY000", "what the replica has cannot be judged: %s", why);
    control_reply(c->request);
    check_free(c);
}

/* ---- what is left is its own doing, or not ---- */

/* Its own, of a server that nobody else has anything of. */
static void add_own(const struct replica_check *c, struct gtid_set *errant)
{
    char one[UUID_TEXT_SIZE + 2];
    struct gtid_set *mine = gtid_set_new(FLAVOUR_MYSQL), *own = gtid_set_copy(c->set);
    snprintf(one, sizeof one, "%s:1", c->uuid);
    if (gtid_set_parse(mine, one, strlen(one), NULL) == 0 && gtid_set_keep_related(own, mine) == 0) {
        (void)gtid_set_union(errant, own);
    }
    gtid_set_free(mine);
    gtid_set_free(own);
}

static void keep_errant(struct replica_check *c)
{
    struct gtid_set *errant = gtid_set_copy(c->set);
    (void)gtid_set_keep_related(errant, held_by(c));
    c->refused = !gtid_set_is_empty(errant);
    if (gtid_set_flavour(errant) == FLAVOUR_MYSQL && c->uuid[0]) {
        add_own(c, errant);
    }
    gtid_set_free(c->set);
    c->set = errant;
}

/* ---- the alarm ---- */

static void put_gtids(const struct replica_check *c, char *text, size_t size)
{
    struct buf b;
    buf_init(&b, 2 * size);
    gtid_lacking_print(c->set, held_by(c), size - 4, &b);
    snprintf(text, size, "%s", buf_cstr(&b));
    buf_free(&b);
}

/* One for each replica, however often it comes and with whatever it has by then: others must not be crowded out. */
static const struct alarm *raised(const struct replica_check *c)
{
    const struct state *state = cluster_state(c->control->cluster);
    for (size_t i = 0; i < state->n_alarms; i++) {
        const struct alarm *a = &state->alarms[i];
        if (a->kind == ALARM_ERRANT_REPLICA && !strcmp(a->source, c->name)) {
            return a;
        }
    }
    return NULL;
}

static void put_alarm(const struct replica_check *c, struct entry_alarm *e)
{
    uint64_t now = env_wall(c->control->loop), n = gtid_lacking_count(c->set, held_by(c));
    char some[200], from[sizeof e->alarm.from];
    put_gtids(c, some, sizeof some);
    put_gtids(c, from, sizeof from);
    const struct alarm *before = raised(c);
    *e = (struct entry_alarm){.verb = before ? ALARM_END : ALARM_BEGIN, .alarm = {.kind = ALARM_ERRANT_REPLICA, .since = now}};
    if (before) {
        e->alarm = *before;
    }
    e->alarm.until = now;
    snprintf(e->alarm.source, sizeof e->alarm.source, "%s", c->name);
    snprintf(e->alarm.from, sizeof e->alarm.from, "%s", from);
    snprintf(e->alarm.text, sizeof e->alarm.text,
             "it has %" PRIu64 " transaction%s that neither the cluster nor its source has (%s); as a replica it is %s. Run: holdfast source check %.150s", n,
             n == 1 ? "" : "s", some, c->refused ? "refused" : "served", c->name);
}

static void proposed(void *arg, int status)
{
    struct replica_check *c = arg;
    struct replica_check **at = &c->control->replica_checks;
    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    if (!c->request) {
        check_free(c);
    } else if (status) {
        fail(c, "this node does not lead any more");
    } else {
        (void)gtid_set_subtract(c->set, held_by(c)); /* it may have come with what was committed meanwhile */
        answer(c);
    }
}

static void propose(struct replica_check *c)
{
    struct entry_alarm e;
    struct buf entry;
    put_alarm(c, &e);
    if (e.verb == ALARM_END && !c->refused) { /* it was said before; it is served all the same */
        answer(c);
        return;
    }
    buf_init(&entry, ENTRY_MAX);
    entry_put_alarm(&entry, &e);
    env_log(c->control->loop, ENV_WARN, "alarm: kind=%s replica=%s gtids=\"%.300s\"", alarm_kind_text(e.alarm.kind), c->name, e.alarm.from);
    c->next = c->control->replica_checks;
    c->control->replica_checks = c;
    cluster_propose(c->control->cluster, &entry, proposed, c);
    buf_free(&entry);
}

void sql_check_replica_stop(struct control *control)
{
    for (struct replica_check *c = control->replica_checks; c; c = c->next) {
        reply_error(&c->request->reply, 1053, "08S01", "Server shutdown in progress");
        control_reply(c->request);
        c->request = NULL;
    }
}

/* ---- the statement ---- */

static void source_told(void *arg, const struct gtid_set *has, const struct gtid_set *applied, const char *error)
{
    struct replica_check *c = arg;
    if (!has || gtid_set_flavour(has) != gtid_set_flavour(c->set) || !held_by(c)) {
        fail(c, has ? "the source is of another flavour" : error);
        return;
    }
    if (!MUTATED(ERRANT_SOURCE)) {
        struct gtid_set *left = gtid_lacking(c->set, has, applied);
        gtid_set_free(c->set);
        c->set = left;
    }
    (void)gtid_set_subtract(c->set, held_by(c));
    keep_errant(c);
    if (gtid_set_is_empty(c->set)) {
        answer(c);
    } else {
        propose(c);
    }
}

/* The texts; NULL: it was answered. */
static struct replica_check *read_check(struct sql_call *call)
{
    const char *name = sql_string(call);
    const char *uuid = name && sql_need_word(call, "UUID") ? sql_string(call) : NULL;
    const char *gtids = uuid && sql_need_word(call, "GTIDS") ? sql_string(call) : NULL;
    const struct gtid_set *held = cluster_state(call->control->cluster)->executed;
    if (!gtids || !sql_end(call)) {
        return NULL;
    }
    if (!held || !call->control->monitor || !cluster_leading(call->control->cluster)) {
        sql_error(call, 1105, "HY000", "what the replica has cannot be judged: this node does not lead, or nothing is held yet");
        return NULL;
    }
    struct replica_check *c = mem_new(sizeof *c);
    c->control = call->control;
    c->request = call->request;
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->uuid, sizeof c->uuid, "%s", uuid);
    c->set = gtid_set_new(gtid_set_flavour(held));
    if (gtid_set_parse(c->set, gtids, strlen(gtids), NULL)) {
        sql_error(call, 1772, "HY000", "Malformed GTID set specification '%.200s'.", gtids);
        check_free(c);
        return NULL;
    }
    (void)gtid_set_subtract(c->set, held);
    return c;
}

void sql_check_replica(struct sql_call *call)
{
    struct replica_check *c = read_check(call);
    if (!c) {
        return;
    }
    call->later = true;
    if (gtid_set_is_empty(c->set)) {
        answer(c);
    } else {
        monitor_ask_gtids(call->control->monitor, source_told, c);
    }
}
