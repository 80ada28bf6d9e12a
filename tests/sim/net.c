/* net.c: how simulated connections begin: names, listeners, accepted sockets; and what the death of a process
 * does to them.
 *
 * Happy path: connect -> a latency later the target's listener has a new socket (accepted) -> another latency
 * later connected(). The socket may be attached on any env of its process; what the peer sends meanwhile
 * waits. Failure: an unknown name (E_NOTFOUND), nobody listens (E_REFUSED), the machine is off or cut off
 * (E_TIMEOUT after a minute of tries): closed() says so. */
#include "tests/sim/net_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

#define US 1000ull

enum { TRIES = 6 }; /* at 0, 1, 3, 7, 15 and 31 seconds, and a minute in all */

/* ---- names --------------------------------------------------------------------------------------------- */

static bool is_self(const char *name)
{
    return strcmp(name, "localhost") == 0 || strcmp(name, "127.0.0.1") == 0 || strcmp(name, "::1") == 0;
}

static struct sim_host *resolve(struct sim_host *from, const struct env_addr *addr)
{
    struct sim *sim = from->sim;
    if (addr->is_path || is_self(addr->host)) {
        return from->machine;
    }
    for (size_t i = 0; i < sim->n_hosts; i++) {
        if (strcmp(sim->hosts[i]->name, addr->host) == 0) {
            return sim->hosts[i];
        }
    }
    return NULL;
}

static struct env_listener *find_listener(struct sim_process *process, const struct env_addr *addr, bool near)
{
    for (struct env_listener *l = process ? process->listeners : NULL; l; l = l->next) {
        if (l->addr.is_path != addr->is_path) {
            continue;
        }
        if (addr->is_path ? strcmp(l->addr.host, addr->host) == 0
                          : l->addr.port == addr->port && (near || !is_self(l->addr.host))) {
            return l;
        }
    }
    return NULL;
}

/* ---- listeners ----------------------------------------------------------------------------------------- */

int sim_listen(struct env *env, const struct env_addr *addr,
               void (*accepted)(void *owner, struct env_socket *socket), void *owner,
               struct env_listener **out, struct errmsg *em)
{
    struct sim_process *p = ((struct sim_env *)env)->process;
    struct env_listener *l = mem_new(sizeof *l);
    char text[300];
    l->head.env = env;
    l->process = p;
    l->addr = *addr;
    l->accepted = accepted;
    l->owner = owner;
    if (!addr->is_path && addr->port == 0) {
        l->addr.port = ++p->host->next_port;
    }
    if (find_listener(p, &l->addr, true)) {
        env_addr_format(addr, text, sizeof text);
        mem_free(l);
        return err_set(em, E_IO, "cannot listen on %s: address already in use", text);
    }
    l->next = p->listeners;
    p->listeners = l;
    *out = l;
    return 0;
}

void sim_listener_addr(struct env_listener *listener, struct env_addr *addr)
{
    *addr = listener->addr;
}

void sim_listener_close(struct env_listener *listener)
{
    struct sim_process *p = listener->process;
    struct env_listener **at = &p->listeners;
    for (struct env_stream *s = p->streams; s; s = s->next) {
        if (s->listener == listener && !s->dead) {
            s->listener = NULL;
            net_stream_reset(s, E_RESET, "connection reset by peer");
            net_stream_bury(s);
        }
    }
    while (*at != listener) {
        at = &(*at)->next;
    }
    *at = listener->next;
    mem_free(listener);
}

/* ---- connect ------------------------------------------------------------------------------------------- */

static void run_accept(void *arg)
{
    struct env_stream *s = arg;
    struct env_listener *l = s->listener;
    s->setup = NULL;
    s->listener = NULL;
    l->accepted(l->owner, (struct env_socket *)s);
}

static void run_connected(void *arg)
{
    struct env_stream *s = arg;
    s->setup = NULL;
    if (s->ended) {
        net_stream_kick_read(s);
        return;
    }
    s->connected = true;
    net_stream_kick_move(s);
    net_stream_kick_read(s);
    s->handler->connected(s->owner);
}

static void join_ends(struct env_stream *s, struct env_listener *listener)
{
    struct sim *sim = s->process->sim;
    struct sim_host *from = s->process->host;
    struct env_stream *b = net_stream_new(listener->process);
    b->head.env = listener->head.env;
    b->listener = listener;
    b->connected = true;
    b->peer = s;
    s->peer = b;
    if (s->to.is_path) {
        b->who = (struct env_peer){.is_local = true, .uid = from->uid};
        snprintf(b->who.text, sizeof b->who.text, "unix:uid=%u", (unsigned)from->uid);
        snprintf(b->who.host, sizeof b->who.host, "localhost");
    } else {
        snprintf(b->who.host, sizeof b->who.host, "%s", is_self(s->to.host) ? "127.0.0.1" : from->name);
        snprintf(b->who.text, sizeof b->who.text, "%s:%u", b->who.host, (unsigned)++from->next_port);
    }
    b->setup = events_add(&sim->events, sim_time(sim) + 2 * US, EV_ACCEPT,
                          (struct sim_env *)listener->head.env, run_accept, b);
    s->setup =
        events_add(&sim->events, sim_time(sim) + net_stream_latency(s), EV_CONNECT, s->env, run_connected, s);
}

static void try_connect(void *arg)
{
    struct env_stream *s = arg;
    struct sim *sim = s->process->sim;
    struct sim_host *from = s->process->host, *to = resolve(from, &s->to);
    uint64_t now = sim_time(sim);
    s->setup = NULL;
    if (s->process->ghost) {
        net_stream_end(s, E_RESET, "connection reset by peer", true, now);
        return;
    }
    if (!to) {
        net_stream_end(s, E_NOTFOUND, "host name not known", true, now);
        return;
    }
    if (to->machine != from->machine &&
        (to->off || (from->cut_to >> to->id & 1) || (to->cut_to >> from->id & 1))) {
        if (++s->tries > TRIES) {
            net_stream_end(s, E_TIMEOUT, "connect timed out", true, now);
            return;
        }
        s->setup =
            events_add(&sim->events, now + (ENV_S << (s->tries - 1)), EV_CONNECT, NULL, try_connect, s);
        return;
    }
    struct env_listener *listener = find_listener(to->process, &s->to, to->machine == from->machine);
    if (!listener || to->process->exited) {
        net_stream_end(s, E_REFUSED, "connection refused", true, now + net_stream_latency(s));
        return;
    }
    join_ends(s, listener);
}

static void attach_to(struct env_stream *s, struct env *env, const struct env_stream_handler *handler,
                      void *owner)
{
    s->env = (struct sim_env *)env;
    CHECK(!s->env->joined && s->env->process == s->process && s->process->sim->current == s->env);
    s->env->streams++;
    s->head.env = env;
    s->handler = handler;
    s->owner = owner;
}

int sim_connect(struct env *env, const struct env_addr *addr, const struct env_stream_handler *handler,
                void *owner, struct env_stream **stream)
{
    struct sim_process *p = ((struct sim_env *)env)->process;
    struct env_stream *s = net_stream_new(p);
    attach_to(s, env, handler, owner);
    s->to = *addr;
    env_addr_format(addr, s->who.text, sizeof s->who.text);
    s->setup = events_add(&p->sim->events, sim_time(p->sim) + net_stream_latency(s), EV_CONNECT, NULL,
                          try_connect, s);
    *stream = s;
    return 0;
}

int sim_attach(struct env *env, struct env_socket *socket, const struct env_stream_handler *handler,
               void *owner, struct env_stream **stream)
{
    struct env_stream *s = (struct env_stream *)socket;
    CHECK(!s->env && !s->listener);
    attach_to(s, env, handler, owner);
    net_stream_kick_read(s);
    *stream = s;
    return 0;
}

void sim_socket_close(struct env_socket *socket)
{
    struct env_stream *s = (struct env_stream *)socket;
    CHECK(!s->env && !s->released);
    s->released = true;
    if (s->peer) {
        net_stream_end(s->peer, E_CLOSED, "closed by peer", false,
                       sim_time(s->process->sim) + net_stream_latency(s));
    }
    net_stream_bury(s);
}

const struct env_peer *sim_socket_peer(struct env_socket *socket)
{
    return &((struct env_stream *)socket)->who;
}

/* ---- death --------------------------------------------------------------------------------------------- */

static void run_probe(void *arg)
{
    struct env_stream *s = arg;
    s->linger = NULL;
    net_stream_end(s, E_RESET, "connection reset by peer", true, sim_time(s->process->sim));
}

/* The machine is gone without a word: the peer learns it when it probes. */
static void fall_silent(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    struct env_stream *peer = s->peer;
    s->peer = NULL;
    peer->peer = NULL;
    if (peer->released || peer->linger) {
        net_stream_bury(peer);
        return;
    }
    peer->silent = true;
    peer->linger =
        events_add(&sim->events, sim_time(sim) + rng_between(&sim->net_rng, 200 * ENV_MS, 15 * ENV_S),
                   EV_PROBE, NULL, run_probe, peer);
}

static void cut_stream(struct env_stream *s, enum sim_crash kind)
{
    struct rng *rng = &s->process->sim->net_rng;
    if (!s->peer || s->dead) {
        net_stream_end(s, E_RESET, "connection reset by peer", true, sim_time(s->process->sim));
        return;
    }
    if (kind == SIM_POWER && s->peer->process->host != s->process->host && rng_chance(rng, 50)) {
        fall_silent(s);
        net_stream_end(s, E_RESET, "connection reset by peer", true, sim_time(s->process->sim));
    } else if (rng_chance(rng, 40)) {
        net_stream_end(s->peer, E_CLOSED, "closed by peer", false,
                       sim_time(s->process->sim) + net_stream_latency(s));
        net_stream_end(s, E_RESET, "connection reset by peer", true, sim_time(s->process->sim));
    } else {
        net_stream_reset(s, E_RESET, "connection reset by peer");
    }
}

void net_process_died(struct sim_process *process, enum sim_crash kind)
{
    for (struct env_stream *s = process->streams; s; s = s->next) {
        cut_stream(s, kind);
    }
}

unsigned net_process_open(const struct sim_process *process)
{
    unsigned n = 0;
    for (const struct env_stream *s = process->streams; s; s = s->next) {
        n += !s->released && !s->dead;
    }
    for (const struct env_listener *l = process->listeners; l; l = l->next) {
        n++;
    }
    return n;
}

void net_process_free(struct sim_process *process)
{
    while (process->streams) {
        struct env_stream *s = process->streams;
        if (s->peer) { /* the kernel sends on what it has */
            net_stream_end(s->peer, s->out.len ? E_RESET : E_CLOSED,
                           s->out.len ? "connection reset by peer" : "closed by peer", s->out.len > 0,
                           sim_time(process->sim) + net_stream_latency(s));
        }
        net_stream_free(s);
    }
    while (process->listeners) {
        struct env_listener *l = process->listeners;
        process->listeners = l->next;
        mem_free(l);
    }
}

/* ---- faults -------------------------------------------------------------------------------------------- */

void sim_cut(struct sim *sim, struct sim_host *a, struct sim_host *b)
{
    sim_note(sim, "cut %s -> %s", a->name, b->name);
    a->cut_to |= 1ull << b->id;
}

void sim_heal(struct sim *sim, struct sim_host *a, struct sim_host *b)
{
    sim_note(sim, "heal %s -> %s", a->name, b->name);
    a->cut_to &= ~(1ull << b->id);
    for (struct sim_process *p = sim->processes; p; p = p->next) {
        for (struct env_stream *s = p->streams; s; s = s->next) {
            net_stream_kick_move(s);
        }
    }
}

void sim_heal_all(struct sim *sim)
{
    for (size_t i = 0; i < sim->n_hosts; i++) {
        for (size_t j = 0; j < sim->n_hosts; j++) {
            if (sim->hosts[i]->cut_to >> j & 1) {
                sim_heal(sim, sim->hosts[i], sim->hosts[j]);
            }
        }
    }
}

void sim_reset(struct sim *sim, struct sim_host *a, struct sim_host *b)
{
    sim_note(sim, "reset %s <-> %s", a->name, b->name);
    for (struct env_stream *s = a->process ? a->process->streams : NULL; s; s = s->next) {
        if (s->peer && s->peer->process->host == b) {
            net_stream_reset(s, E_RESET, "connection reset by peer");
        }
    }
}

void sim_latency(struct sim *sim, uint64_t least, uint64_t most)
{
    sim->latency_least = least;
    sim->latency_most = most;
}
