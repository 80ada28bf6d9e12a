/* cluster_join.c: an empty node becomes a member of a cluster that exists.
 *
 * Happy path: it asks (raft/join.h) until a member says that it is one, stores what it was told, and starts libraft with an empty log: from then on
 * it is told what to do like any other member. While it has no log it goes on asking, to hear of changes among the members, or that
 * it was removed.
 * Failure: "no" ends the node with the reason; anything else is waited for. */
#include "raft/cluster_impl.h"

#include "protocol/base/check.h"

#include <stdio.h>
#include <string.h>

enum { ASK_MS = 300, ASK_AGAIN_MS = 3000 };

static void refuse(struct cluster *c, const char *text)
{
    if (!c->handler->refused) {
        env_fatal(c->loop, "%s", text);
    }
    c->handler->refused(c->owner, text);
}

/* By id. */
static size_t take_list(const struct message_join_answer *a, struct formation_member *members)
{
    memset(members, 0, FORMATION_MEMBERS_MAX * sizeof *members);
    for (size_t i = 0; i < a->n; i++) {
        size_t at = i;
        while (at && members[at - 1].id > a->members[i].id) {
            members[at] = members[at - 1];
            at--;
        }
        memset(&members[at], 0, sizeof members[at]);
        members[at].id = a->members[i].id;
        members[at].incarnation = a->members[i].incarnation;
        snprintf(members[at].address, sizeof members[at].address, "%s", a->members[i].address);
    }
    return a->n;
}

/* Is the one that is meant this data directory? */
static bool lists_us(const struct cluster *c, const struct formation_member *members, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (members[i].id == c->id) {
            return INCARNATION_RANDOM(members[i].incarnation) == INCARNATION_RANDOM(formation_incarnation(&c->formation));
        }
    }
    return false;
}

static bool same_list(const struct formation *f, const struct formation_member *members, size_t n)
{
    return f->n == n && !memcmp(f->members, members, n * sizeof *members);
}

static void join_as_told(struct cluster *c, const struct message_join_answer *a)
{
    struct formation_member members[FORMATION_MEMBERS_MAX];
    struct errmsg em;
    size_t n = take_list(a, members);
    if (!lists_us(c, members, n)) {
        return;
    }
    if (c->formation.phase == FORMATION_JOINING || !same_list(&c->formation, members, n)) {
        formation_joined(&c->formation, a->cluster, members, n);
        net_members(c->net, c->formation.members, c->formation.n);
    }
    if (!c->started && cluster_start_raft(c, &em)) {
        env_fatal(c->loop, "%s; this node stops", em.text);
    }
}

static void answered(void *owner, const struct message_join_answer *a)
{
    struct cluster *c = owner;
    if (c->closing) {
        return;
    }
    if (c->started && c->raft.configuration.n) { /* the log says it from here on */
        join_close(c->join);
        c->join = NULL;
        return;
    }
    if (a->verdict == JOIN_NO) {
        refuse(c, a->text);
    } else if (a->verdict == JOIN_YES) {
        bool asked = c->formation.phase == FORMATION_JOINING;
        join_as_told(c, a);
        if (asked && c->formation.phase == FORMATION_JOINED) { /* less often from now on */
            join_close(c->join);
            c->join = NULL;
            cluster_join_begin(c);
        }
    }
}

void cluster_join_begin(struct cluster *c)
{
    struct errmsg em;
    const struct formation *f = &c->formation;
    struct join_options o = {.loop = c->loop,
                             .tls = c->join_tls,
                             .request = {.level = c->level, .id = c->id, .incarnation = formation_incarnation(f)},
                             .pause_ms = f->phase == FORMATION_JOINED ? ASK_AGAIN_MS : ASK_MS};
    snprintf(o.request.cluster, sizeof o.request.cluster, "%s", f->cluster);
    for (size_t i = 0; i < f->n && f->phase == FORMATION_JOINED; i++) {
        if (f->members[i].id != c->id) {
            o.addresses[o.n++] = f->members[i].address;
        }
    }
    for (size_t i = 0; i < c->n_ask && o.n < JOIN_ADDRESSES_MAX; i++) {
        o.addresses[o.n++] = c->ask[i];
    }
    if (c->join || !o.n) {
        return;
    }
    if (join_open(&o, answered, c, &c->join, &em)) {
        env_fatal(c->loop, "%s; this node stops", em.text);
    }
}

/* The cluster waits for this node, which began as if there was none yet. */
static void begin_later(struct env_msg *msg)
{
    struct cluster *c = CONTAINER_OF(msg, struct cluster, invited_msg);
    c->invited_posted = false;
    if (c->closing || formation_is_member(&c->formation) || c->join || !c->n_ask) {
        return;
    }
    env_log(c->loop, ENV_INFO, "join: the cluster exists: asking whether it waits for this node");
    formation_join(&c->formation);
    net_members(c->net, c->formation.members, c->formation.n);
    cluster_join_begin(c);
}

static bool asks_there(const struct cluster *c, const char *address)
{
    for (size_t i = 0; i < c->n_ask; i++) {
        if (!strcmp(c->ask[i], address)) {
            return true;
        }
    }
    return false;
}

void cluster_join_invited(void *owner, const char *address)
{
    struct cluster *c = owner;
    if (address[0] && c->n_ask < CLUSTER_MEMBERS_MAX && !asks_there(c, address)) {
        snprintf(c->ask[c->n_ask++], sizeof *c->ask, "%s", address);
        if (c->join) {
            join_also(c->join, address);
        }
    }
    if (!c->invited_posted) { /* not from within a connection of those that are dropped */
        c->invited_posted = true;
        c->invited_msg.run = begin_later;
        env_post(c->loop, &c->invited_msg);
    }
}

void cluster_join_end(struct cluster *c)
{
    join_close(c->join);
    c->join = NULL;
    tls_ctx_free(c->join_tls);
    c->join_tls = NULL;
}
