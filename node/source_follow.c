/* source_follow.c: may another server than the one whose binlog is held here be followed?
 *
 * Happy path (the source was lost, a replica was promoted, the operator names it): it has executed every transaction that is held here,
 * by GTID. Then its own files become a new era, from the first one that holds something we lack: PROBE_FIND lets it tell which
 * (source_probe.c), the files are taken whole, and the state machine (raft/state.c) takes the first one only if nothing lies between what is
 * held and its head.
 *
 * Refused, with the reason: it lacks something (named, with the command that compensates; it is looked at again, since it may
 * get it); GTIDs that cannot prove it (switched off there, or not in what is held here); the other flavour; a list of addresses, where nobody
 * said that another server may be followed. It is asked anew on each connection: what it has may have been taken away. */
#include "node/settings.h"
#include "node/source_impl.h"

#include "protocol/gtid_lack.h"
#include "raft/mutation.h"

#include <string.h>
#include <strings.h>

enum { NAMED_MAX = 500 /* bytes of the GTIDs in a message */ };

static bool same_server(const struct entry_origin *a, const struct entry_origin *b)
{
    return a->flavour == b->flavour && (a->uuid[0] || b->uuid[0] ? !strcmp(a->uuid, b->uuid) : a->server_id == b->server_id);
}

bool source_is_another(const struct source *s)
{
    const struct state_era *era = state_era(cluster_state(s->cluster));
    const struct entry_origin *origin = &s->peer.origin;
    return era && origin->server_id && !same_server(origin, &era->origin);
}

void source_take_gtid_mode(struct source *s, const char *mode)
{
    snprintf(s->peer.gtid_mode, sizeof s->peer.gtid_mode, "%.31s", mode);
}

static struct gtid_set *take_set(enum flavour flavour, const char *text)
{
    struct gtid_set *set = gtid_set_new(flavour);
    (void)gtid_set_parse(set, text, strlen(text), NULL); /* empty on error: then all is lacking */
    return set;
}

void source_take_has(struct source *s, const char *text)
{
    gtid_set_free(s->peer.has);
    s->peer.has = take_set(s->peer.origin.flavour, text);
}

void source_take_applied(struct source *s, const char *text)
{
    gtid_set_free(s->peer.applied);
    s->peer.applied = take_set(s->peer.origin.flavour, text);
}

void source_forget_peer(struct source *s)
{
    gtid_set_free(s->peer.has);
    gtid_set_free(s->peer.applied);
    s->peer.has = s->peer.applied = NULL;
}

/* Can GTIDs tell what it has of what is held here? */
static bool gtids_prove(struct source *s)
{
    const struct state *state = cluster_state(s->cluster);
    if (s->peer.origin.flavour == FLAVOUR_MYSQL && strcasecmp(s->peer.gtid_mode, "ON") != 0) {
        source_refused(s, "it is another server than the one whose binlog is held here, and its gtid_mode is %s: without GTIDs nothing proves that it "
                          "holds what is held here. Switch gtid_mode to ON there, then: holdfast source stop, holdfast source start",
                       s->peer.gtid_mode[0] ? s->peer.gtid_mode : "not known");
        return false;
    }
    if (state->anonymous || state->anonymous_before || !state->executed || gtid_set_is_empty(state->executed)) {
        source_refused(s, "it is another server than the one whose binlog is held here, which holds transactions without a GTID in its newest files: "
                          "nothing proves that it has them. Only a server whose GTIDs are on, through the two newest files at least, can be replaced");
        return false;
    }
    return true;
}

static bool has_all(struct source *s)
{
    const struct gtid_set *held = cluster_state(s->cluster)->executed;
    if (!s->peer.has) {
        source_failed(s, 0, "it did not tell which transactions it has");
        return false;
    }
    struct gtid_set *lacking = gtid_lacking(held, s->peer.has, s->peer.applied);
    bool all = gtid_set_is_empty(lacking) || MUTATED(FOLLOW_RULE);
    if (!all) {
        struct buf named;
        struct gtid_set *common = gtid_set_copy(s->peer.has); /* without what it alone has */
        buf_init(&named, 2 * NAMED_MAX);
        (void)gtid_set_intersect(common, held);
        gtid_lacking_print(lacking, common, NAMED_MAX, &named);
        uint64_t n = gtid_lacking_count(lacking, common);
        gtid_set_free(common);
        source_lacks(s, "it lacks %llu transaction%s held here (%s). Run: holdfast compensate %s:%u", (unsigned long long)n, n == 1 ? "" : "s",
                     buf_cstr(&named), s->addr.host, (unsigned)s->addr.port);
        buf_free(&named);
    }
    gtid_set_free(lacking);
    return all;
}

/* With several addresses, another server than the one that is followed may just be the one that answers first: a replica, say. Who lets
 * the cluster choose gets one that is meant to be written to, and that waits for us. Another cluster's node has a follow rule of its own behind it:
 * with the addresses of all its members, its next source is followed as with one. */
static bool is_meant(struct source *s)
{
    struct env_addr second;
    if (!source_candidate(&s->settings, 1, &second) || s->peer.node_era) {
        return true; /* the operator named it */
    }
    if (!source_follows_by_itself(s)) {
        source_refused(s, "it is another server than the one that is followed, one of several addresses. To follow it, name it alone: "
                          "holdfast source set host=%s port=%u (or let the cluster choose: holdfast source set follow=auto)",
                       s->addr.host, (unsigned)s->addr.port);
        return false;
    }
    if (!s->peer.writable || !s->peer.semi_sync || !s->peer.semi_sync_on) {
        source_lacks(s, "it is another server than the one that is followed, and %s: with follow=auto only one that is writable and waits for "
                        "acknowledgements is followed", s->peer.writable ? "its semi-sync is off" : "it is read-only");
        return false;
    }
    return true;
}

bool source_follows_by_itself(const struct source *s)
{
    return !strcmp(setting_text(cluster_state(s->cluster), SETTING_ID_follow), "auto");
}

bool source_follow_rule(struct source *s)
{
    const struct state_era *era = state_era(cluster_state(s->cluster));
    if (era->origin.flavour != s->peer.origin.flavour) {
        source_refused(s, "it is a server of %s, and what is held here comes from one of %s", flavour_name(s->peer.origin.flavour),
                       flavour_name(era->origin.flavour));
        return false;
    }
    if ((!s->found_file[0] && !is_meant(s)) || !gtids_prove(s) || !has_all(s)) {
        return false;
    }
    if (!s->found_file[0]) {
        s->probe = PROBE_FIND;
        env_log(s->loop, ENV_INFO, "source: another server, which holds all that is held here source=%s:%u server_id=%u uuid=%s", s->addr.host,
                (unsigned)s->addr.port, (unsigned)s->peer.origin.server_id, s->peer.origin.uuid);
    } else if (!same_server(&s->found_at, &s->peer.origin)) {
        source_failed(s, 0, "the address leads to another server than a moment ago");
        return false;
    }
    return true;
}
