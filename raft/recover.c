/* recover.c: see recover.h.
 *
 * Happy path: the snapshot's state and all entries behind it are applied in memory: an entry that only this node has may have been acknowledged, so all of
 * them count. The decision is stored, then the log gets a configuration with this node alone, and a plan that makes the counter of its new incarnation known,
 * both in a new term. With a single voter all of the log is committed at the next start.
 *
 * Failure modes: a log that cannot be read, or has entries of a newer version: nothing is changed. A crash anywhere: the phase says what has been decided, the log
 * what has been written of it; a term that was begun and not used does no harm. */
#include "raft/recover.h"

#include "raft/level.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, RECORDS = 2 };

/* ---- what is there ---- */

struct log {
    struct state *state;
    struct raft_configuration configuration;
    uint64_t last_index, last_term;
};

static void free_log(struct log *log)
{
    state_free(log->state);
    log->state = NULL;
    raft_configuration_close(&log->configuration);
}

static int read_snapshot(const struct snapshot *s, struct log *log)
{
    struct cur c = cur_of(s->data.data, s->data.len);
    state_free(log->state);
    log->state = NULL;
    log->last_index = s->index;
    log->last_term = s->term;
    for (size_t i = 0; i < s->n_servers; i++) {
        if (raft_configuration_add(&log->configuration, s->servers[i].id, s->servers[i].address, s->servers[i].role)) {
            return E_MALFORMED;
        }
    }
    int rv = state_decode(&c, &log->state);
    if (rv) {
        log->state = NULL;
    }
    return rv;
}

static int read_record(const struct wal_record *r, struct log *log)
{
    struct state_effect effect;
    struct raft_configuration next;
    int rv = 0;
    if (r->type == RAFT_COMMAND) {
        rv = state_apply(log->state, r->index, r->data, r->len, &effect);
        if (!rv) {
            entry_events_free(&effect.events);
        }
    } else if (r->type == RAFT_CHANGE) {
        rv = configuration_decode(r->data, r->len, &next);
        if (!rv) {
            raft_configuration_close(&log->configuration);
            log->configuration = next;
        }
    }
    log->last_index = r->index;
    log->last_term = r->term;
    return rv;
}

/* Configurations that the snapshot covers are older than its own. */
static int read_log(struct rio *rio, struct log *log, struct errmsg *em)
{
    const struct snapshot *s = rio_snapshot(rio);
    const struct wal_found *found = rio_found(rio);
    *log = (struct log){.state = state_new()};
    raft_configuration_init(&log->configuration);
    int rv = s ? read_snapshot(s, log) : 0;
    for (size_t i = 0; i < found->n && !rv; i++) {
        if (found->records[i].index > log->last_index) {
            rv = read_record(&found->records[i], log);
        }
    }
    if (rv) {
        err_set(em, rv, "entry %" PRIu64 " of the log cannot be read: %s; is this holdfastd older than the one that wrote it?", log->last_index, err_text(rv));
        free_log(log);
    }
    return rv;
}

/* ---- open and close ---- */

/* Why this node cannot be a cluster of its own. */
static int check(const struct recover *r, struct errmsg *em)
{
    const struct formation *f = &r->formation;
    const struct raft_server *me = configuration_find(&r->configuration, f->self);
    struct formation_member m = {0};
    if (f->phase == FORMATION_ALONE) {
        return 0;
    }
    if (f->phase == FORMATION_REMOVED) { /* what it holds may be of any age: the members went on without it */
        return err_set(em, E_INVALID, "%s", f->removed);
    }
    if (!formation_is_member(f)) {
        return err_set(em, E_INVALID, "node %" PRIu64 " has not been a member of a cluster yet: there is nothing to recover", f->self);
    }
    if (!r->configuration.n) {
        return err_set(em, E_INVALID, "node %" PRIu64 " of cluster %s has not got anything from the others yet: there is nothing to recover", f->self, f->cluster);
    }
    if (state_members_retired(&r->state->members, f->self)) {
        return err_set(em, E_INVALID, "node %" PRIu64 " was removed from cluster %s; its id is never used again", f->self, f->cluster);
    }
    if (!me || formation_address_parse(me->address, &m) || INCARNATION_RANDOM(m.incarnation) != INCARNATION_RANDOM(formation_incarnation(f))) {
        return err_set(em, E_INVALID, "this data directory is no member of cluster %s any more: node %" PRIu64 " was removed or replaced", f->cluster, f->self);
    }
    if (me->role == RAFT_VOTER && configuration_voters(&r->configuration) == 1) {
        return err_set(em, E_INVALID, "node %" PRIu64 " is the only voter of cluster %s already: it needs nobody else; start it", f->self, f->cluster);
    }
    return state_members_may_grow(&r->state->members, em);
}

static void turned(void *owner)
{
    (void)owner;
}

static const struct rio_handler handler = {.turned = turned};

int recover_open(struct env *loop, const char *data_dir, uint64_t id, uint64_t incarnation, struct recover *r, struct errmsg *em)
{
    char dir[PATH_BYTES];
    struct log log;
    *r = (struct recover){.loop = loop};
    snprintf(dir, sizeof dir, "%s/raft", data_dir);
    int rv = rio_open(loop, dir, &handler, r, &r->rio, em);
    if (rv) {
        return rv;
    }
    rv = rio_remember(r->rio, em);
    rv = rv ? rv : formation_open(loop, dir, id, incarnation, NULL, 0, &r->formation, em);
    if (rv) {
        rio_free(r->rio);
        return rv == E_INVALID ? E_CORRUPT : rv;
    }
    rv = level_check(r->rio, data_dir, FEATURE_LEVEL, em);
    rv = rv ? rv : read_log(r->rio, &log, em);
    if (rv) {
        formation_close(&r->formation);
        rio_free(r->rio);
        return rv;
    }
    r->state = log.state;
    r->configuration = log.configuration;
    r->last_index = log.last_index;
    r->last_term = log.last_term;
    return check(r, em);
}

void recover_close(struct recover *r)
{
    state_free(r->state);
    raft_configuration_close(&r->configuration);
    formation_close(&r->formation);
    rio_free(r->rio);
}

/* ---- the new cluster ---- */

int recover_force(struct recover *r, struct errmsg *em)
{
    const struct raft_server *me = configuration_find(&r->configuration, r->formation.self);
    struct formation_member m = {0};
    if (r->formation.phase != FORMATION_ALONE) {
        CHECK(me && !formation_address_parse(me->address, &m)); /* recover_open looked */
        formation_alone(&r->formation, m.address, r->state->members.counter + 1);
    }
    return recover_finish(r->rio, &r->formation, em);
}

static bool is_alone(const struct raft_configuration *configuration, uint64_t id, const char *address)
{
    const struct raft_server *me = configuration_find(configuration, id);
    return configuration->n == 1 && me && me->role == RAFT_VOTER && !strcmp(me->address, address);
}

static int put_configuration(uint64_t id, const char *address, struct wal_record *record)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes = {0};
    raft_configuration_init(&configuration);
    int rv = raft_configuration_add(&configuration, id, address, RAFT_VOTER);
    rv = rv ? rv : raft_configuration_encode(&configuration, &bytes);
    raft_configuration_close(&configuration);
    *record = (struct wal_record){.type = RAFT_CHANGE, .data = bytes.base, .len = bytes.len};
    return rv ? E_INVALID : 0;
}

/* The counter of its data directory is given: to nobody else. */
static void put_plan(const struct formation_member *me, struct buf *b, struct wal_record *record)
{
    struct entry_member plan = {.verb = MEMBER_PLAN, .id = me->id, .goal = MEMBER_VOTER, .fresh = true, .again = true};
    snprintf(plan.address, sizeof plan.address, "%s", me->address);
    entry_put_member(b, &plan);
    CHECK(!b->err);
    *record = (struct wal_record){.type = RAFT_COMMAND, .data = b->data, .len = b->len};
}

int recover_finish(struct rio *rio, struct formation *f, struct errmsg *em)
{
    struct log log;
    struct wal_record records[RECORDS];
    struct raft_buffer bytes = {0};
    struct buf plan;
    size_t n = 0;
    char address[FORMATION_ADDRESS + 32];
    if (f->phase != FORMATION_ALONE) {
        return 0;
    }
    int rv = read_log(rio, &log, em);
    if (rv) {
        return rv;
    }
    const struct formation_member *me = &f->members[0];
    formation_address(me, address, sizeof address);
    buf_init(&plan, ENTRY_MAX);
    if (!is_alone(&log.configuration, f->self, address)) {
        rv = put_configuration(f->self, address, &records[n]);
        bytes.base = (void *)(uintptr_t)records[n++].data;
    }
    if (log.state->members.counter < INCARNATION_COUNTER(me->incarnation)) {
        put_plan(me, &plan, &records[n++]);
    }
    if (rv) {
        err_set(em, rv, "the configuration of the new cluster cannot be built");
    } else {
        if (n) {
            rio_extend(rio, records, n);
        }
        formation_formed(f);
    }
    raft_free(bytes.base);
    buf_free(&plan);
    free_log(&log);
    return rv;
}
