/* source_reach.c: see source_reach.h.
 *
 * Happy path: the leader tells the others, with its reports, that it does not get through to the source. Each of them logs in there and leaves
 * again, every second, and tells whether that went well. When it did for one, the leader tries once more itself, and if that is in vain as well it
 * hands over to that member, whose own link is then the one that follows.
 * Failure: nobody gets through: nobody is better, and the leader goes on trying. A login that the source refuses is none. */
#include "node/source_reach.h"

#include "node/client.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>

enum { LOOK_MS = 500, PROBE_EVERY_MS = 1000, PROBE_LIMIT_S = 5, FRESH_S = 3, LAST_TRY_S = 2 };

struct source_reach {
    struct env *loop;
    struct cluster *cluster;
    struct source *source;
    struct env_timer timer;
    enum cluster_reach now;
    uint64_t other_since; /* another member gets through since; 0: none, or this one does too */
    struct client *probe;
    uint64_t probed; /* when the last one began */
    size_t candidate;
};

/* ---- the leader ---- */

static enum cluster_reach own_link(const struct source_reach *r)
{
    struct source_status status;
    source_get_status(r->source, &status);
    switch (status.phase) {
    case SOURCE_WAITING:
    case SOURCE_CONNECTING:
        return CLUSTER_REACH_NO;
    case SOURCE_PREPARING:
        return r->now; /* on its way to the one or the other */
    case SOURCE_OFF:
        return CLUSTER_REACH_UNKNOWN;
    case SOURCE_ASKING:
    case SOURCE_PROVING:
    case SOURCE_STREAMING:
    case SOURCE_REFUSED:
        break;
    }
    return CLUSTER_REACH_YES;
}

static uint64_t who_gets_through(const struct source_reach *r)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    size_t n = cluster_infos(r->cluster, infos, CLUSTER_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct cluster_member_info *m = &infos[i];
        if (!m->self && m->role == CLUSTER_VOTER && m->up && m->reported && m->age < FRESH_S * ENV_S && m->reach == CLUSTER_REACH_YES) {
            return m->id;
        }
    }
    return 0;
}

static void look_as_leader(struct source_reach *r)
{
    r->now = own_link(r);
    uint64_t other = r->now == CLUSTER_REACH_NO ? who_gets_through(r) : 0;
    if (!other) {
        r->other_since = 0;
    } else if (!r->other_since) {
        r->other_since = env_now(r->loop);
        source_hurry(r->source);
    } else if (env_now(r->loop) - r->other_since >= LAST_TRY_S * ENV_S && !cluster_transfer(r->cluster, other)) {
        env_log(r->loop, ENV_WARN, "source: this node cannot reach it and node %" PRIu64 " can: the lead is handed over", other);
        r->other_since = 0;
    }
}

/* ---- the others ---- */

static void end_probe(struct source_reach *r)
{
    client_free(r->probe);
    r->probe = NULL;
}

static void got_through(void *owner)
{
    struct source_reach *r = owner;
    r->now = CLUSTER_REACH_YES;
    end_probe(r);
}

static void did_not(void *owner, uint16_t code, const char *why)
{
    struct source_reach *r = owner;
    env_log(r->loop, ENV_DEBUG, "source: cannot be reached from here either code=%u: %s", code, why);
    r->now = CLUSTER_REACH_NO;
    r->candidate++;
    end_probe(r);
}

static const struct client_handler probe_handler = {.ready = got_through, .failed = did_not};

static void probe(struct source_reach *r)
{
    const struct source_settings *settings = &cluster_state(r->cluster)->source;
    struct env_addr addr;
    uint64_t now = env_now(r->loop);
    if (r->probe && now - r->probed > PROBE_LIMIT_S * ENV_S) {
        did_not(r, 0, "no answer in time");
    }
    if (r->probe || now - r->probed < PROBE_EVERY_MS * ENV_MS) {
        return;
    }
    if (!source_candidate(settings, r->candidate, &addr)) {
        r->candidate = 0;
        if (!source_candidate(settings, 0, &addr)) {
            return;
        }
    }
    r->probed = now;
    r->probe = client_open(r->loop, settings, addr.host, addr.port, &probe_handler, r);
}

static bool leader_is_stuck(const struct source_reach *r)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    size_t n = cluster_infos(r->cluster, infos, CLUSTER_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (infos[i].leader && !infos[i].self) {
            return infos[i].up && infos[i].reported && infos[i].age < FRESH_S * ENV_S && infos[i].reach == CLUSTER_REACH_NO;
        }
    }
    return false;
}

static void look_as_follower(struct source_reach *r)
{
    if (cluster_state(r->cluster)->has_source && leader_is_stuck(r)) {
        probe(r);
    } else {
        end_probe(r);
        r->now = CLUSTER_REACH_UNKNOWN;
    }
    r->other_since = 0;
}

static void look(struct env_timer *timer)
{
    struct source_reach *r = CONTAINER_OF(timer, struct source_reach, timer);
    env_timer_start(timer, LOOK_MS * ENV_MS);
    if (cluster_leading(r->cluster)) {
        end_probe(r);
        look_as_leader(r);
    } else {
        look_as_follower(r);
    }
}

/* ---- what the daemon calls ---- */

int source_reach_new(struct env *loop, struct cluster *cluster, struct source *source, struct source_reach **out, struct errmsg *em)
{
    struct source_reach *r = mem_new(sizeof *r);
    r->loop = loop;
    r->cluster = cluster;
    r->source = source;
    int rv = env_timer_open(loop, &r->timer, look);
    if (rv) {
        mem_free(r);
        return err_set(em, rv, "no timer for the source");
    }
    if (cluster_voters(cluster) > 1) {
        env_timer_start(&r->timer, LOOK_MS * ENV_MS);
    }
    *out = r;
    return 0;
}

void source_reach_free(struct source_reach *r)
{
    if (r) {
        env_timer_close(&r->timer);
        client_end(r->probe);
        mem_free(r);
    }
}

enum cluster_reach source_reach_now(const struct source_reach *r)
{
    return r->now;
}
