/* purge.c: see purge.h.
 *
 * Happy path: all members are asked what their replicas need, now. Of the files that replicas of this node need, and those that the other
 * members name in their answers, the oldest one stays, with all behind it. A node that was started a moment ago does not know who will come
 * back: it needs all.
 *
 * Failure modes: a member that cannot be asked, or does not answer, may have replicas that nobody else knows of: nothing goes, until it was not
 * heard for as long as a replica that has left is waited for (replica_grace); from then on it counts no more. What a node knows of replicas
 * that have left is lost when it ends: one that does not come back within a minute after the next start counts no more. */
#include "node/purge.h"

#include "node/serve.h"
#include "node/settings.h"
#include "storage/filelist.h"

#include <stdio.h>
#include <string.h>

enum { COME_BACK_S = 60 }; /* the time after which replicas try again by default */

struct search {
    uint64_t margin; /* bytes that may be on their way to a replica that is not settled */
    const struct filelist *files;
    size_t at; /* the oldest needed so far; the number of files: none */
    char who[sizeof((struct cluster_need *)0)->who];
};

/* Of what was sent as much may be lost with the connection. */
static size_t back(const struct filelist *files, size_t at, uint64_t position, uint64_t margin)
{
    struct filelist_file file;
    while (at > 0 && position < margin) {
        filelist_get(files, --at, &file);
        position += file.size;
    }
    return at;
}

static void look_at(void *arg, const struct serve_replica *r, bool settled, bool left)
{
    struct search *s = arg;
    size_t at = 0; /* as long as nobody knows where it will read */
    if (r->waits || (r->era && !filelist_find(s->files, r->era, r->file, &at))) {
        return;
    }
    at = settled ? at : back(s->files, at, r->position, s->margin);
    if (at >= s->at) {
        return;
    }
    s->at = at;
    snprintf(s->who, sizeof s->who, "%.48s server_id %lu%s%.30s%s", r->uuid[0] ? r->uuid : r->peer,
             (unsigned long)r->server_id, r->host[0] ? " " : "", r->host, left ? " (that left)" : "");
}

static void search_here(const struct control *control, struct search *s)
{
    const struct state *state = cluster_state(control->cluster);
    *s = (struct search){.files = state->files,
                         .at = filelist_count(state->files),
                         .margin = setting_number(state, SETTING_ID_replica_margin)};
    uint64_t grace = setting_number(state, SETTING_ID_replica_grace), up = env_wall(control->loop) - control->started_wall;
    if (up < (grace < COME_BACK_S ? grace : COME_BACK_S) * 1000000) {
        s->at = 0;
        snprintf(s->who, sizeof s->who, "(any that comes back: it was started %llu s ago)", (unsigned long long)(up / 1000000));
    } else if (control->serve) {
        serve_each_need(control->serve, grace * ENV_S, look_at, s);
    }
}

void purge_own_need(const struct control *control, struct cluster_need *need)
{
    struct search s;
    search_here(control, &s);
    *need = (struct cluster_need){.era = 0};
    if (s.at + 1 < filelist_count(s.files)) { /* the newest stays in any case */
        struct filelist_file file;
        filelist_get(s.files, s.at, &file);
        need->era = file.era;
        snprintf(need->name, sizeof need->name, "%s", file.name);
        snprintf(need->who, sizeof need->who, "%s", s.who);
    }
}

static void stay(struct purge_plan *plan, size_t at, const char *who, uint64_t node)
{
    if (at < plan->n) {
        plan->n = at;
        snprintf(plan->why, sizeof plan->why, "replica %s of node %llu needs it", who, (unsigned long long)node);
    }
}

static void look_at_silent(const struct control *control, const struct cluster_member_info *m, struct purge_plan *plan)
{
    uint64_t grace = setting_number(cluster_state(control->cluster), SETTING_ID_replica_grace) * ENV_S;
    uint64_t known_for = (env_wall(control->loop) - control->started_wall) * 1000;
    uint64_t silent = m->reported ? m->age : known_for;
    if (silent > grace || m->role == CLUSTER_INVITED) {
        return;
    }
    plan->n = 0;
    snprintf(plan->why, sizeof plan->why,
             "node %llu at %.80s cannot be asked what its replicas need (%.100s); if that stays so it counts no more in %llu s",
             (unsigned long long)m->id, m->address, m->up ? "it does not answer" : m->trouble,
             (unsigned long long)((grace - silent) / ENV_S + 1));
}

static void look_at_member(const struct control *control, const struct cluster_member_info *m, struct purge_plan *plan)
{
    size_t at;
    if (m->self) {
        return;
    }
    if (!m->polled) {
        look_at_silent(control, m, plan);
    } else if (m->need.era && filelist_find(cluster_state(control->cluster)->files, m->need.era, m->need.name, &at)) {
        stay(plan, at, m->need.who, m->id);
    }
}

void purge_plan(const struct control *control, size_t wanted, bool force, struct purge_plan *plan)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    struct filelist_file file;
    struct search s;
    *plan = (struct purge_plan){.wanted = wanted, .n = wanted};
    if (force) {
        return;
    }
    search_here(control, &s);
    stay(plan, s.at, s.who, cluster_id(control->cluster));
    size_t n = cluster_infos(control->cluster, infos, CLUSTER_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++) {
        look_at_member(control, &infos[i], plan);
    }
    if (plan->n < wanted) {
        filelist_get(s.files, plan->n, &file);
        snprintf(plan->file, sizeof plan->file, "%s", file.name);
    }
}

void purge_entry(const struct state *state, size_t n, struct buf *entry)
{
    struct filelist_file file;
    struct entry_purge purge = {.era = 0};
    filelist_get(state->files, n, &file);
    purge.era = file.era;
    memcpy(purge.name, file.name, sizeof purge.name);
    entry_put_purge(entry, &purge);
}
