/* stream.c: how bytes flow between the two ends of a simulated connection, and how it ends.
 *
 * Happy path: stream_write puts bytes into `out`; a moment later (move) as many as the peer's window allows
 * leave as a segment, which the peer may read one latency later; readable() gets what has arrived, cut at
 * random, never more than was there. When all of `out` has left, drained(). Failure: the peer closes
 * (E_CLOSED behind the last byte), dies or is reset (E_RESET), or is cut off (bytes wait in `out`). A stream
 * that is paused hears of the end of its peer when it reads on, or writes.
 *
 * A stream that its owner closed goes on sending for at most a second. Nothing is freed inside a callback:
 * net_stream_bury leaves that to an event. */
#include "tests/sim/net_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

#define US 1000ull

enum { WINDOW = 256 << 10, CHUNK_MOST = 64 << 10 };

/* ---- life ---------------------------------------------------------------------------------------------- */

struct env_stream *net_stream_new(struct sim_process *process)
{
    struct env_stream *s = mem_new(sizeof *s);
    s->process = process;
    s->head.env = &process->envs[0]->env;
    s->in_tail = &s->in;
    buf_init(&s->out, SIZE_MAX / 2);
    s->next = process->streams;
    process->streams = s;
    return s;
}

void net_stream_cancel(struct env_stream *s, struct event **event)
{
    if (*event) {
        events_cancel(&s->process->sim->events, *event);
        *event = NULL;
    }
}

static void drop_in(struct env_stream *s)
{
    while (s->in) {
        struct segment *segment = s->in;
        s->in = segment->next;
        mem_free(segment);
    }
    s->in_tail = &s->in;
    s->in_bytes = 0;
}

void net_stream_free(struct env_stream *s)
{
    struct env_stream **at = &s->process->streams;
    net_stream_cancel(s, &s->setup);
    net_stream_cancel(s, &s->move);
    net_stream_cancel(s, &s->read);
    net_stream_cancel(s, &s->drained);
    net_stream_cancel(s, &s->linger);
    if (s->peer) {
        s->peer->peer = NULL;
    }
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    drop_in(s);
    mem_free(s->chunk);
    buf_free(&s->out);
    mem_free(s);
}

static void free_later(void *arg)
{
    struct env_stream *s = arg;
    s->linger = NULL;
    net_stream_free(s);
}

void net_stream_bury(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    if (s->dead) {
        return;
    }
    s->dead = true;
    net_stream_cancel(s, &s->setup);
    net_stream_cancel(s, &s->move);
    net_stream_cancel(s, &s->read);
    net_stream_cancel(s, &s->drained);
    net_stream_cancel(s, &s->linger);
    if (s->peer) {
        s->peer->peer = NULL;
        s->peer = NULL;
    }
    s->linger = events_add(&sim->events, sim_time(sim), EV_LINGER, NULL, free_later, s);
}

/* ---- network ------------------------------------------------------------------------------------------- */

static bool host_blocked(const struct sim_host *from, const struct sim_host *to)
{
    return from->machine != to->machine && (from->cut_to >> to->id & 1);
}

bool net_stream_blocked(const struct env_stream *s)
{
    return s->peer && host_blocked(s->process->host, s->peer->process->host);
}

uint64_t net_stream_latency(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    bool near = !s->peer || s->peer->process->host->machine == s->process->host->machine;
    uint64_t least = near ? 5 * US : sim->latency_least, most = near ? 30 * US : sim->latency_most;
    uint64_t ns = rng_between(&sim->net_rng, least, most);
    return rng_chance(&sim->net_rng, 1) ? ns + rng_between(&sim->net_rng, 0, 20 * most) : ns;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static void run_drained(void *arg)
{
    struct env_stream *s = arg;
    s->drained = NULL;
    if (s->out.len == 0 && !s->released && !s->told && s->handler->drained) {
        s->handler->drained(s->owner);
    }
}

static void send_segment(struct env_stream *s, size_t n)
{
    struct env_stream *to = s->peer;
    struct segment *segment = mem_new(sizeof *segment + n);
    uint64_t ready = sim_time(s->process->sim) + net_stream_latency(s);
    if (ready < to->in_ready) {
        ready = to->in_ready;
    }
    segment->n = n;
    segment->ready = to->in_ready = ready;
    memcpy(segment->data, s->out.data, n);
    *to->in_tail = segment;
    to->in_tail = &segment->next;
    to->in_bytes += n;
    buf_consume(&s->out, n);
    net_stream_kick_read(to);
}

static void run_move(void *arg)
{
    struct env_stream *s = arg, *to = s->peer;
    struct sim *sim = s->process->sim;
    s->move = NULL;
    if (!to || !s->connected || net_stream_blocked(s)) {
        return;
    }
    if (to->released) { /* it only sends what it has left */
        buf_reset(&s->out);
        if (s->released) {
            net_stream_bury(s);
        }
        return;
    }
    size_t room = to->in_bytes < WINDOW ? WINDOW - to->in_bytes : 0,
           n = s->out.len < room ? s->out.len : room;
    if (n > 1 && rng_chance(&sim->net_rng, 10)) {
        n = (size_t)rng_between(&sim->net_rng, 1, n);
    }
    if (n > 0) {
        send_segment(s, n);
    }
    if (s->out.len > 0) {
        if (n > 0) {
            net_stream_kick_move(s);
        }
    } else if (s->released) {
        net_stream_end(to, E_CLOSED, "closed by peer", false, sim_time(sim) + net_stream_latency(s));
        net_stream_bury(s);
    } else if (n > 0 && s->env && !s->drained && !s->process->abandoned) {
        s->drained = events_add(&sim->events, sim_time(sim) + 1 * US, EV_DRAINED, s->env, run_drained, s);
    }
}

void net_stream_kick_move(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    if (!s->move && !s->dead && s->connected && s->peer && (s->out.len > 0 || s->released)) {
        uint64_t at = sim_time(sim) + rng_between(&sim->net_rng, 1 * US, 15 * US);
        s->move = events_add(&sim->events, at, EV_MOVE, NULL, run_move, s);
    }
}

void sim_stream_write(struct env_stream *s, struct buf *data)
{
    CHECK(!s->released && s->process->sim->current == s->env);
    CHECK(s->connected || s->ended); /* not while it connects */
    sim_hash_add(s->process->sim, data->len);
    if (data->err) { /* a message that could not be built: what follows would not be understood */
        net_stream_reset(s, data->err, "the message could not be built");
    } else if (!s->told) {
        buf_bytes(&s->out, data->data, data->len);
        CHECK(!s->out.err);
        net_stream_kick_move(s);
    }
    buf_reset(data);
    if (s->ended && s->end_hard) {
        net_stream_kick_read(s);
    }
}

size_t sim_stream_pending(struct env_stream *s)
{
    return s->out.len;
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

/* How much of what has arrived the reader gets at once. */
static size_t chunk_of(struct rng *rng, size_t ready)
{
    size_t n = ready < CHUNK_MOST ? ready : CHUNK_MOST;
    switch (rng_below(rng, 12)) {
    case 0: return 1;
    case 1: return (size_t)rng_between(rng, 1, n < 24 ? n : 24);
    case 2:
    case 3: return (size_t)rng_between(rng, 1, n);
    default: return n;
    }
}

static void take_in(struct env_stream *s, uint8_t *to, size_t n)
{
    s->in_bytes -= n;
    while (n > 0) {
        struct segment *segment = s->in;
        size_t k = segment->n - segment->at < n ? segment->n - segment->at : n;
        memcpy(to, segment->data + segment->at, k);
        segment->at += k;
        to += k;
        n -= k;
        if (segment->at == segment->n) {
            s->in = segment->next;
            if (!s->in) {
                s->in_tail = &s->in;
            }
            mem_free(segment);
        }
    }
}

/* The bytes are handed over in a block of exactly their size, so that a reader that goes too far is caught.
 */
static void deliver(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    uint64_t now = sim_time(sim);
    size_t ready = 0;
    for (const struct segment *segment = s->in; segment && segment->ready <= now; segment = segment->next) {
        ready += segment->n - segment->at;
    }
    if (ready == 0) {
        return;
    }
    size_t n = chunk_of(&sim->net_rng, ready);
    mem_free(s->chunk);
    s->chunk = mem_new(n);
    take_in(s, s->chunk, n);
    sim_hash_add(sim, n);
    s->handler->readable(s->owner, s->chunk, n);
    mem_free(s->chunk);
    s->chunk = NULL;
}

static void run_read(void *arg)
{
    struct env_stream *s = arg;
    s->read = NULL;
    if (s->released || s->told) {
        return;
    }
    bool writer_sees = s->ended && s->end_hard && s->out.len > 0;
    if (s->in && !s->paused && !writer_sees) {
        deliver(s);
    } else if (s->ended && (!s->paused || writer_sees)) {
        s->told = true;
        buf_reset(&s->out);
        s->handler->closed(s->owner, s->end_code, s->end_why);
    }
    if (!s->released) {
        if (s->peer) {
            net_stream_kick_move(s->peer);
        }
        net_stream_kick_read(s);
    }
}

void net_stream_kick_read(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    bool writer_sees = s->ended && s->end_hard && s->out.len > 0;
    if (s->read || s->dead || !s->env || s->released || s->told || (!s->connected && !s->ended) ||
        s->process->abandoned || (s->paused && !writer_sees) || (!s->in && !s->ended)) {
        return;
    }
    uint64_t at = s->in && !writer_sees ? s->in->ready : s->in_ready, soon = sim_time(sim) + 1 * US;
    s->read = events_add(&sim->events, at > soon ? at : soon, EV_READ, s->env, run_read, s);
}

void sim_stream_pause(struct env_stream *s, bool paused)
{
    CHECK(!s->released && s->process->sim->current == s->env);
    s->paused = paused;
    net_stream_kick_read(s);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

void net_stream_end(struct env_stream *s, int code, const char *why, bool hard, uint64_t when)
{
    if (s->ended || s->dead) {
        return;
    }
    s->ended = true;
    s->end_hard = hard;
    s->end_code = code;
    s->end_why = why;
    s->silent = false;
    if (s->in_ready < when) {
        s->in_ready = when;
    }
    if (s->peer) {
        s->peer->peer = NULL;
        s->peer = NULL;
    }
    if (s->released) {
        net_stream_bury(s);
        return;
    }
    net_stream_kick_read(s);
}

void net_stream_reset(struct env_stream *s, int code, const char *why)
{
    struct env_stream *peer = s->peer;
    uint64_t now = sim_time(s->process->sim), latency = net_stream_latency(s);
    net_stream_end(s, code, why, true, now + 1 * US);
    if (peer) {
        if (rng_chance(&peer->process->sim->net_rng, 50) && !peer->released) {
            drop_in(peer); /* what was on its way is lost too */
        }
        net_stream_end(peer, code, why, true, now + latency);
    }
}

static void run_linger(void *arg)
{
    struct env_stream *s = arg;
    s->linger = NULL;
    if (s->peer) {
        net_stream_reset(s, E_RESET, "connection reset by peer");
    }
    net_stream_bury(s);
}

void sim_stream_close(struct env_stream *s)
{
    struct sim *sim = s->process->sim;
    CHECK(!s->released && sim->current == s->env);
    s->released = true;
    s->env->streams--;
    drop_in(s);
    net_stream_cancel(s, &s->read);
    net_stream_cancel(s, &s->drained);
    if (!s->peer || !s->connected) {
        if (s->peer) {
            net_stream_reset(s, E_RESET, "connection reset by peer");
        }
        net_stream_bury(s);
        return;
    }
    s->linger = events_add(&sim->events, sim_time(sim) + 1 * ENV_S, EV_LINGER, NULL, run_linger, s);
    net_stream_kick_move(s);
}
