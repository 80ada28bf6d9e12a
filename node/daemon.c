/* daemon.c: one node: identity, cluster, source link, serving part, and the wires between them.
 *
 * What raft applies and who leads is told here, and passed on: the source link follows leadership and its settings, the workers get a new
 * view when accounts or the source's version change. Those reactions run from a message of their own, never from within the
 * state machine. Stopping goes the other way round: source link, clients, cluster. */
#include "node/daemon.h"

#include "build.h"
#include "node/certificate.h"
#include "node/control.h"
#include "node/errant.h"
#include "node/forward.h"
#include "node/identity.h"
#include "node/member_tls.h"
#include "node/monitor.h"
#include "node/purge.h"
#include "node/retention.h"
#include "node/serve.h"
#include "node/settings.h"
#include "node/source.h"
#include "node/source_reach.h"
#include "node/view.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HANDOVER_S = 1, HANDOVER_LOOK_MS = 5, PATIENCE_S = 2 };

struct daemon {
    struct env *loop;
    const struct config *config;
    struct identity identity;
    struct certificate certificate;
    struct pem_request *reloading;
    struct cluster *cluster;
    struct source *source;
    struct source_reach *reach;
    struct monitor *monitor;
    struct serve *serve;
    struct control control;
    struct forward *forward;
    struct retention *retention;
    struct env_msg refusal_msg;
    bool refusal_posted;
    void (*refused)(void *arg);
    void *refused_arg;
    struct env_msg refresh_msg;
    bool refresh_posted;
    struct env_timer handover;
    uint64_t handover_until;
    struct env_timer patience; /* with a leader, before clients from the network are let in */
    bool view_stale, settings_changed;
    bool leading;
    bool gtids_off; /* as published */
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* ---- views ---- */

static void version_for_replicas(const struct state *state, char *text, size_t size)
{
    const struct state_era *era = state_era(state);
    if (!era || !era->origin.version[0]) {
        snprintf(text, size, "8.4.0-holdfast");
        return;
    }
    bool old_prefix = era->origin.flavour == FLAVOUR_MARIADB && !strncmp(era->origin.version, "10.", 3);
    snprintf(text, size, "%s%s-holdfast", old_prefix ? "5.5.5-" : "", era->origin.version);
}

/* As it is at the source: no GTID is held although there are transactions. */
static bool gtids_off(const struct state *state)
{
    const struct state_era *era = state_era(state);
    return era && era->origin.flavour == FLAVOUR_MYSQL && state->executed && gtid_set_is_empty(state->executed) &&
           (filelist_count(state->files) > 1 || state->proof.last_end);
}

static struct view *make_view(const struct daemon *d)
{
    const struct state *state = cluster_state(d->cluster);
    const struct state_era *era = state_era(state);
    struct view *view = mem_new(sizeof *view);
    atomic_init(&view->refs, 1);
    view->node_id = d->identity.node_id;
    view->flavour = era ? era->origin.flavour : FLAVOUR_NONE;
    version_for_replicas(state, view->version, sizeof view->version);
    snprintf(view->server_uuid, sizeof view->server_uuid, "%s", d->identity.server_uuid);
    view->server_id = d->identity.server_id;
    view->leader = d->leading;
    view->gtids_off = gtids_off(state);
    view->users = mem_dup(state->users, state->n_users * sizeof *state->users);
    view->n_users = state->n_users;
    view->tls = tls_ctx_ref(d->certificate.tls);
    view->rsa = auth_rsa_ref(d->certificate.rsa);
    return view;
}

static void set_limits(struct daemon *d)
{
    const struct state *state = cluster_state(d->cluster);
    struct serve_limits limits = {.connections = setting_number(state, SETTING_ID_max_connections),
                                  .queue_each = setting_number(state, SETTING_ID_replica_queue),
                                  .queue_all = setting_number(state, SETTING_ID_replica_queue_all)};
    serve_set_limits(d->serve, &limits);
}

static void refresh(struct env_msg *msg)
{
    struct daemon *d = CONTAINER_OF(msg, struct daemon, refresh_msg);
    d->refresh_posted = false;
    if (d->stopping) {
        return;
    }
    if (d->view_stale) {
        struct view *view = make_view(d);
        d->view_stale = false;
        d->gtids_off = view->gtids_off;
        serve_publish(d->serve, view);
        errant_set_view(d->control.errant, view);
        set_limits(d);
        view_unref(view);
        if (d->leading) { /* all that was committed is applied */
            serve_admit(d->serve);
        }
    }
    if (d->settings_changed) {
        d->settings_changed = false;
        source_settings_changed(d->source);
        monitor_settings_changed(d->monitor);
    }
}

/* Nobody leads: what is known here is all there will be for now. */
static void waited(struct env_timer *timer)
{
    struct daemon *d = CONTAINER_OF(timer, struct daemon, patience);
    if (d->serve && !d->stopping) {
        serve_admit(d->serve);
    }
}

static void refresh_later(struct daemon *d)
{
    if (!d->refresh_posted) {
        d->refresh_posted = true;
        d->refresh_msg.run = refresh;
        env_post(d->loop, &d->refresh_msg);
    }
}

/* ---- what raft tells ---- */

static void cluster_is_leading(void *owner, bool leading)
{
    struct daemon *d = owner;
    if (d->stopping || !d->source) {
        return;
    }
    d->leading = leading;
    d->view_stale = true;
    refresh_later(d);
    source_leading(d->source, leading);
    monitor_leading(d->monitor, leading);
    retention_leading(d->retention, leading);
}

static void cluster_applied(void *owner, const struct state_effect *effect)
{
    struct daemon *d = owner;
    if (d->stopping || !d->serve) {
        return;
    }
    forward_applied(d->forward);
    switch (effect->head.kind) {
    case ENTRY_USER:
    case ENTRY_FILE:
        d->view_stale = true;
        refresh_later(d);
        break;
    case ENTRY_SOURCE:
        d->settings_changed = true;
        refresh_later(d);
        break;
    case ENTRY_EVENTS:
        if (gtids_off(cluster_state(d->cluster)) != d->gtids_off) {
            d->view_stale = true;
            refresh_later(d);
        }
        break;
    case ENTRY_SETTING:
        d->view_stale = true; /* the limits are set with it */
        retention_settings_changed(d->retention);
        refresh_later(d);
        break;
    case ENTRY_RESET:
        d->view_stale = true; /* no flavour, no version: as before the first source */
        refresh_later(d);
        break;
    case ENTRY_NOOP:
    case ENTRY_ALARM:
    case ENTRY_PURGE:
    case ENTRY_MEMBER:
        break;
    }
}

static void cluster_was_restored(void *owner)
{
    struct daemon *d = owner;
    if (d->stopping || !d->serve) {
        return;
    }
    forward_applied(d->forward);
    d->view_stale = d->settings_changed = true;
    retention_settings_changed(d->retention);
    refresh_later(d);
}

static void cluster_asked(void *owner, uint64_t from, uint64_t ticket, struct cur *body)
{
    struct daemon *d = owner;
    if (d->stopping || !d->serve) {
        return;
    }
    struct view *view = make_view(d);
    forward_asked(d->forward, view, from, ticket, body);
    view_unref(view);
}

static void tell_refusal(struct env_msg *msg)
{
    struct daemon *d = CONTAINER_OF(msg, struct daemon, refusal_msg);
    d->refused(d->refused_arg);
}

static void cluster_refused(void *owner, const char *text)
{
    struct daemon *d = owner;
    if (!d->refused) {
        env_fatal(d->loop, "%s", text);
    }
    if (!d->refusal_posted) { /* others say the same in this moment */
        env_log(d->loop, ENV_ERROR, "%s", text);
        d->refusal_posted = true;
        d->refusal_msg.run = tell_refusal;
        env_post(d->loop, &d->refusal_msg);
    }
}

void daemon_on_refusal(struct daemon *d, void (*refused)(void *arg), void *arg)
{
    d->refused = refused;
    d->refused_arg = arg;
}

/* Somebody leads, somewhere: what is applied here follows it. */
static void cluster_led_by(void *owner, uint64_t id)
{
    struct daemon *d = owner;
    if (id && d->serve && !d->stopping && !d->leading) {
        d->view_stale = true;
        refresh_later(d);
    }
}

static void cluster_need(void *owner, struct cluster_need *need)
{
    const struct daemon *d = owner;
    if (!d->stopping && d->serve) {
        purge_own_need(&d->control, need);
    }
}

/* What the operator has to know of this node, whichever node is asked. */
static void cluster_note(void *owner, char *text, size_t size)
{
    const struct daemon *d = owner;
    char more[48] = "";
    const struct store_damage *damages;
    size_t n = d->cluster && !d->stopping ? store_damages(cluster_store(d->cluster), &damages) : 0;
    text[0] = '\0';
    if (n > 1) {
        snprintf(more, sizeof more, " (and %zu more)", n - 1);
    }
    if (n > 0) {
        snprintf(text, size, "binlog file %.80s of era %llu is damaged%s: holdfast member replace %llu ADDR", damages[0].name,
                 (unsigned long long)damages[0].era, more, (unsigned long long)d->config->id);
    }
}

static enum cluster_reach cluster_reaches(void *owner)
{
    struct daemon *d = owner;
    return d->reach ? source_reach_now(d->reach) : CLUSTER_REACH_UNKNOWN;
}

static const struct cluster_handler cluster_handler = {.leading = cluster_is_leading,
                                                       .applied = cluster_applied,
                                                       .restored = cluster_was_restored,
                                                       .led_by = cluster_led_by,
                                                       .refused = cluster_refused,
                                                       .asked = cluster_asked,
                                                       .note = cluster_note,
                                                       .need = cluster_need,
                                                       .reach = cluster_reaches};

/* ---- the certificate towards clients ---- */

static void certificate_was_read(void *arg, int code, const char *why, const struct tls_files *files)
{
    struct daemon *d = arg;
    struct errmsg em;
    d->reloading = NULL;
    if (certificate_take(&d->certificate, code, why, files, &em)) {
        env_log(d->loop, ENV_ERROR, "tls: the certificate for clients was not changed: %s", em.text);
        return;
    }
    env_log(d->loop, ENV_INFO, "tls: the certificate for clients was read again; new connections get it");
    d->view_stale = true;
    refresh_later(d);
}

void daemon_reload(struct daemon *d)
{
    if (d->stopping || d->reloading || !d->certificate.tls) {
        return;
    }
    d->reloading = certificate_read(d->loop, d->config, certificate_was_read, d);
    if (!d->reloading) {
        env_log(d->loop, ENV_ERROR, "tls: no thread can be started to read the certificate for clients");
    }
}

/* ---- start and stop ---- */

static int open_parts(struct daemon *d, struct errmsg *em)
{
    const struct config *config = d->config;
    struct cluster_options options = {.loop = d->loop,
                                      .data_dir = config->data_dir,
                                      .id = config->id,
                                      .version = HOLDFAST_VERSION,
                                      .listen = config->raft_listen,
                                      .n_initial = config->n_initial,
                                      .snapshot_bytes = config->snapshot_bytes,
                                      .keep_bytes = config->keep_bytes,
                                      .forgets = config->forgets};
    memcpy(options.initial, config->initial, sizeof options.initial);
    for (size_t i = 0; i < config->n_join; i++) {
        options.join[options.n_join++] = config->join[i];
    }
    int rv = env_mkdir(d->loop, config->data_dir, em);
    rv = rv == E_EXISTS ? 0 : rv;
    rv = rv ? rv : identity_open(d->loop, config->data_dir, config->id, &d->identity, em);
    rv = rv || config->tls_off ? rv : certificate_open(d->loop, config, &d->certificate, em);
    options.incarnation = d->identity.incarnation;
    rv = rv ? rv : member_tls_open(d->loop, config, &options.tls, em);
    rv = rv ? rv : cluster_open(&options, &cluster_handler, d, &d->cluster, em);
    tls_ctx_free(options.tls.server); /* the cluster has its own references */
    tls_ctx_free(options.tls.client);
    if (rv) {
        return rv;
    }
    d->source = source_new(d->loop, d->cluster);
    rv = source_reach_new(d->loop, d->cluster, d->source, &d->reach, em);
    if (rv) {
        return rv;
    }
    d->monitor = monitor_new(d->loop, d->cluster, d->source);
    d->control = (struct control){.loop = d->loop,
                                  .config = config,
                                  .cluster = d->cluster,
                                  .source = d->source,
                                  .monitor = d->monitor,
                                  .started_wall = env_wall(d->loop),
                                  .server_uuid = d->identity.server_uuid,
                                  .server_id = d->identity.server_id};
    d->forward = forward_new(&d->control);
    d->control.forward = d->forward;
    d->retention = retention_new(&d->control);
    d->control.errant = errant_new(&d->control);
    struct view *view = make_view(d);
    errant_set_view(d->control.errant, view);
    rv = serve_open(&d->control, cluster_store(d->cluster), view, &d->serve, em);
    view_unref(view);
    d->control.serve = d->serve;
    rv = rv ? rv : env_timer_open(d->loop, &d->patience, waited);
    if (!rv) {
        serve_hold(d->serve);
        env_timer_start(&d->patience, PATIENCE_S * ENV_S);
    }
    return rv;
}

int daemon_start(struct env *env, const struct config *config, struct daemon **out, struct errmsg *em)
{
    struct daemon *d = *out = mem_new(sizeof *d);
    d->loop = env;
    d->config = config;
    int rv = open_parts(d, em);
    if (rv) {
        return rv;
    }
    env_log(env, ENV_INFO, "node: started id=%llu data_dir=%s", (unsigned long long)config->id, config->data_dir);
    return 0;
}

struct cluster *daemon_cluster(struct daemon *d)
{
    return d->cluster;
}

static void cluster_closed(void *arg)
{
    struct daemon *d = arg;
    void (*stopped)(void *arg) = d->stopped;
    void *stopped_arg = d->stopped_arg;
    monitor_free(d->monitor);
    retention_free(d->retention);
    source_free(d->source);
    forward_free(d->forward);
    errant_free(d->control.errant);
    pem_end(d->reloading);
    certificate_close(&d->certificate);
    mem_free(d);
    stopped(stopped_arg);
}

static void serve_closed(void *arg)
{
    struct daemon *d = arg;
    d->serve = NULL;
    cluster_close(d->cluster, cluster_closed, d);
}

static void stop_parts(struct daemon *d)
{
    d->stopping = true;
    env_timer_close(&d->patience);
    env_timer_close(&d->handover);
    source_reach_free(d->reach);
    d->reach = NULL;
    monitor_stop(d->monitor);
    retention_stop(d->retention);
    errant_stop(d->control.errant);
    source_leading(d->source, false);
    control_close(&d->control);
    forward_close(d->forward);
    serve_close(d->serve, serve_closed, d);
}

static void handover_over(struct env_timer *timer)
{
    struct daemon *d = CONTAINER_OF(timer, struct daemon, handover);
    if (d->leading && env_now(d->loop) < d->handover_until) {
        env_timer_start(timer, HANDOVER_LOOK_MS * ENV_MS);
    } else {
        stop_parts(d);
    }
}

/* A leader hands over first: its followers need not find out that it is gone. */
void daemon_stop(struct daemon *d, void (*stopped)(void *arg), void *arg)
{
    d->stopped = stopped;
    d->stopped_arg = arg;
    cluster_leave(d->cluster);
    if (d->leading && cluster_voters(d->cluster) > 1 && !cluster_transfer(d->cluster, 0) && !env_timer_open(d->loop, &d->handover, handover_over)) {
        env_log(d->loop, ENV_INFO, "node: handing the lead over before it ends");
        d->handover_until = env_now(d->loop) + HANDOVER_S * ENV_S;
        env_timer_start(&d->handover, HANDOVER_LOOK_MS * ENV_MS);
        return;
    }
    stop_parts(d);
}
