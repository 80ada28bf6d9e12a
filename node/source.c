/* source.c: phases of the link to the source, and its connection.
 *
 * Happy path: this node leads and a source is set and started: an own NOOP (it proves leadership, settles all own proposals, cuts an
 * unfinished transaction) -> connect -> login -> queries (source_ask.c) -> dump (source_stream.c).
 *
 * Failure: whatever goes wrong on a connection ends that connection with a reason, and it is tried again, at first soon, then less often,
 * with jitter. What trying again cannot mend (another server's history) waits for an operator; a server that lacks what is held is looked at
 * from time to time, since it may get it. */
#include "node/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { LOGIN_PACKET_MAX = 64 << 10, MAX_CANDIDATES = 64 };

static void prepare(struct source *s);

const char *source_phase_text(enum source_phase phase)
{
    switch (phase) {
    case SOURCE_OFF:
        return "off";
    case SOURCE_WAITING:
        return "waiting to reconnect";
    case SOURCE_PREPARING:
        return "preparing";
    case SOURCE_CONNECTING:
        return "connecting";
    case SOURCE_ASKING:
        return "asking";
    case SOURCE_PROVING:
        return "comparing histories";
    case SOURCE_STREAMING:
        return "streaming";
    case SOURCE_REFUSED:
        return "not following";
    }
    return "unknown";
}

void source_phase(struct source *s, enum source_phase phase)
{
    if (s->status.phase != phase) {
        s->status.phase = phase;
        s->status.since_wall = env_wall(s->loop);
    }
}

static void disconnect(struct source *s)
{
    s->connection++;
    env_timer_stop(&s->timer);
    if (s->stream) {
        env_stream_close(s->stream);
        s->stream = NULL;
    }
    source_nudge_end(s);
    source_stream_end(s);
    client_auth_free(s->auth);
    s->auth = NULL;
    wire_free(s->wire);
    s->wire = NULL;
    tls_ctx_free(s->tls);
    s->tls = NULL;
    s->status.semi_sync = s->status.catching_up = s->silent = false;
}

/* ---- candidates, and what went wrong with them ---- */

bool source_candidate(const struct source_settings *settings, size_t i, struct env_addr *addr)
{
    const char *at = settings->host, *end;
    char text[sizeof settings->host];
    for (; i; i--) {
        at = strchr(at, ',');
        if (!at++) {
            return false;
        }
    }
    at += strspn(at, " ");
    end = strchr(at, ',');
    snprintf(text, sizeof text, "%.*s", (int)(end ? end - at : (ptrdiff_t)strlen(at)), at);
    text[strcspn(text, " ")] = 0;
    return !env_addr_parse(text, settings->port, addr, NULL) && !addr->is_path && addr->port;
}

static size_t candidates(const struct source_settings *settings)
{
    struct env_addr addr;
    size_t n = 0;
    while (n < MAX_CANDIDATES && source_candidate(settings, n, &addr)) {
        n++;
    }
    return n;
}

static void use_candidate(struct source *s, size_t i)
{
    s->candidate = i;
    if (!source_candidate(&s->settings, i, &s->addr)) { /* its text is no address: the resolver will say so */
        s->addr = (struct env_addr){.port = s->settings.port};
        snprintf(s->addr.host, sizeof s->addr.host, "%s", s->settings.host);
    }
    snprintf(s->status.host, sizeof s->status.host, "%s", s->addr.host);
    s->status.port = s->addr.port;
}

/* Goes to the next candidate that is not refused. False: there is none, `now` stays. *round: it lies not behind this one. */
static bool next_candidate(struct source *s, bool *round)
{
    size_t n = candidates(&s->settings);
    for (size_t i = 1; i <= n; i++) {
        size_t next = (s->candidate + i) % n;
        if (!(s->refused >> next & 1)) {
            *round = next <= s->candidate;
            use_candidate(s, next);
            return true;
        }
    }
    *round = true;
    return false;
}

__attribute__((format(printf, 3, 0))) static void note_error(struct source *s, uint16_t code, const char *fmt, va_list ap)
{
    int n = 0;
    if (candidates(&s->settings) > 1) {
        n = snprintf(s->status.error, sizeof s->status.error, "%s:%u: ", s->addr.host, (unsigned)s->addr.port);
    }
    vsnprintf(s->status.error + n, sizeof s->status.error - (size_t)n, fmt, ap);
    s->status.error_code = code;
    s->status.error_wall = env_wall(s->loop);
}

/* The delay grows when a whole round of candidates was to no avail. */
static void try_later(struct source *s, bool round)
{
    uint32_t jitter;
    uint64_t limit = round ? s->backoff_ms : SOURCE_BACKOFF_FIRST_MS;
    env_random(s->loop, &jitter, sizeof jitter);
    uint64_t ms = limit / 2 + jitter % (limit / 2 + 1);
    if (round) {
        s->refused &= ~s->lacking; /* those may have got it */
        s->backoff_ms = s->backoff_ms * 2 > SOURCE_BACKOFF_MAX_MS ? SOURCE_BACKOFF_MAX_MS : s->backoff_ms * 2;
    }
    env_log(s->loop, ENV_WARN, "source: %s; next try in %llu ms source=%s:%u", s->status.error, (unsigned long long)ms,
            s->addr.host, (unsigned)s->addr.port);
    source_phase(s, SOURCE_WAITING);
    env_timer_start(&s->timer, ms * ENV_MS);
}

void source_failed(struct source *s, uint16_t code, const char *fmt, ...)
{
    va_list ap;
    bool streamed = s->status.phase == SOURCE_STREAMING, round = true;
    va_start(ap, fmt);
    note_error(s, code, fmt, ap);
    va_end(ap);
    disconnect(s);
    if (!streamed) { /* one that was followed is asked again first */
        next_candidate(s, &round);
    }
    try_later(s, round);
}

__attribute__((format(printf, 3, 0))) static void refuse(struct source *s, bool lacks, const char *fmt, va_list ap)
{
    char before[sizeof s->status.error];
    uint64_t bit = 1ull << s->candidate;
    bool round;
    snprintf(before, sizeof before, "%s", s->status.error);
    note_error(s, 0, fmt, ap);
    disconnect(s);
    bool known = (s->lacking & bit) && !strcmp(before, s->status.error);
    env_log(s->loop, known ? ENV_DEBUG : ENV_ERROR, "source: not following %s:%u: %s", s->addr.host, (unsigned)s->addr.port,
            s->status.error);
    s->refused |= bit;
    s->lacking = lacks ? s->lacking | bit : s->lacking & ~bit;
    if (next_candidate(s, &round)) {
        try_later(s, round);
        return;
    }
    source_phase(s, SOURCE_REFUSED);
    if (s->lacking) {
        env_timer_start(&s->timer, SOURCE_LOOK_AGAIN_S * ENV_S);
    }
}

void source_refused(struct source *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    refuse(s, false, fmt, ap);
    va_end(ap);
}

void source_lacks(struct source *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    refuse(s, true, fmt, ap);
    va_end(ap);
}

/* Those that lacked something may have got it. */
static void look_again(struct source *s)
{
    bool round;
    s->refused &= ~s->lacking;
    if (s->refused >> s->candidate & 1) {
        (void)next_candidate(s, &round);
    }
    prepare(s);
}

void source_well(struct source *s)
{
    s->backoff_ms = SOURCE_BACKOFF_FIRST_MS;
    s->status.error[0] = 0;
    s->status.error_code = 0;
}

/* ---- the connection ---- */

void source_send(struct source *s)
{
    struct buf *out = wire_output(s->wire);
    if (out->len) {
        env_stream_write(s->stream, out);
    }
}

static void logged_in(struct source *s)
{
    const struct client_auth_result *r = client_auth_result(s->auth);
    s->caps = r->caps;
    wire_set_max_packet(s->wire, SOURCE_RESULT_MAX);
    source_forget_peer(s);
    s->peer = (struct source_peer){.checksum = CHECKSUM_CRC32};
    s->peer.origin.flavour = r->is_mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    snprintf(s->peer.origin.version, sizeof s->peer.origin.version, "%.63s", r->version);
    source_login_note(s);
    source_phase(s, SOURCE_ASKING);
    source_ask_begin(s);
}

static void login_packet(struct source *s, const struct packet *p)
{
    struct errmsg em;
    int rv = client_auth_packet(s->auth, s->wire, p, &em);
    if (rv == CLIENT_AUTH_DONE) {
        logged_in(s);
    } else if (rv < 0) {
        source_send(s);
        source_failed(s, (uint16_t)client_auth_result(s->auth)->code, "login as '%s' failed: %s", s->settings.user, em.text);
    }
}

static void unreadable(struct source *s, int code, const struct errmsg *em)
{
    enum { SSL_CONNECTION = 2026 };
    source_send(s); /* TLS tells the source why */
    if (code == E_TLS) {
        source_failed(s, SSL_CONNECTION, "%s", em->text);
    } else {
        source_failed(s, 0, "what the source sends cannot be read: %s", em->text);
    }
}

static void take_packets(struct source *s)
{
    struct packet p;
    struct errmsg em;
    uint64_t connection = s->connection;
    int rv;
    while ((rv = wire_next(s->wire, &p, &em)) == 1) {
        switch (s->status.phase) {
        case SOURCE_CONNECTING:
            login_packet(s, &p);
            break;
        case SOURCE_ASKING:
            source_ask_packet(s, &p);
            break;
        case SOURCE_PROVING:
            source_probe_packet(s, &p);
            break;
        case SOURCE_STREAMING:
            source_stream_packet(s, &p);
            break;
        case SOURCE_OFF:
        case SOURCE_WAITING:
        case SOURCE_PREPARING:
        case SOURCE_REFUSED:
            CHECK(false);
        }
        if (s->connection != connection) {
            return;
        }
    }
    if (rv < 0) {
        unreadable(s, rv, &em);
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct source *s = owner;
    struct errmsg em;
    uint64_t connection = s->connection;
    int rv = wire_feed(s->wire, data, n, &em);
    s->silent = false;
    s->read_at = env_now(s->loop);
    if (s->status.phase == SOURCE_PROVING) { /* the last transaction may be a large one */
        env_timer_start(&s->timer, SOURCE_CONNECT_S * ENV_S);
    }
    take_packets(s);
    if (s->connection != connection) {
        return;
    }
    source_send(s);
    if (rv) {
        unreadable(s, rv, &em);
        return;
    }
    if (s->status.phase == SOURCE_STREAMING) {
        env_timer_start(&s->timer, SOURCE_SILENCE_S * ENV_S);
        source_stream_flush(s);
    }
}

static void closed(void *owner, int code, const char *why)
{
    struct source *s = owner;
    if (s->status.phase == SOURCE_CONNECTING) {
        source_failed(s, 2003, "%s", why); /* says to which address */
    } else {
        source_failed(s, 2013, "the connection to the source ended: %s", code == E_CLOSED ? "closed by the source" : why);
    }
}

static void connected(void *owner)
{
    struct source *s = owner;
    env_log(s->loop, ENV_DEBUG, "source: reached source=%s:%u", s->addr.host, (unsigned)s->addr.port);
}

static const struct env_stream_handler stream_handler = {.connected = connected, .readable = readable, .closed = closed};

static void connect_now(struct source *s)
{
    s->status.connects++;
    source_phase(s, SOURCE_CONNECTING);
    s->wire = wire_new(LOGIN_PACKET_MAX); /* grows with what we have come to trust */
    env_timer_start(&s->timer, SOURCE_CONNECT_S * ENV_S);
    source_login_begin(s);
}

void source_reach(struct source *s)
{
    int rv = env_connect(s->loop, &s->addr, &stream_handler, s, &s->stream);
    if (rv) {
        source_failed(s, 2003, "cannot connect to %s:%u: %s", s->addr.host, (unsigned)s->addr.port, err_text(rv));
    }
}

void source_again(struct source *s)
{
    disconnect(s);
    connect_now(s);
}

/* ---- phases ---- */

static bool wanted(const struct source *s)
{
    const struct state *state = cluster_state(s->cluster);
    return s->leading && state->has_source && state->source.running && state->source.host[0];
}

struct prepared {
    struct source *source;
    uint64_t connection;
};

static void noop_applied(void *arg, int status)
{
    struct prepared prepared = *(struct prepared *)arg;
    struct source *s = prepared.source;
    mem_free(arg);
    if (s->connection != prepared.connection) {
        return;
    }
    if (status) {
        source_failed(s, 0, "leadership could not be confirmed: %s", err_text(status));
    } else {
        env_timer_start(&s->timer, 0); /* not from within the state machine */
    }
}

static void prepare(struct source *s)
{
    struct buf b;
    struct prepared prepared;
    disconnect(s);
    s->probe = source_probe_first(s);
    s->found_file[0] = 0;
    s->looked_before = false;
    s->skip_logs = false;
    source_phase(s, SOURCE_PREPARING);
    prepared = (struct prepared){.source = s, .connection = s->connection};
    buf_init(&b, ENTRY_MAX);
    entry_noop(&b);
    cluster_propose(s->cluster, &b, noop_applied, mem_dup(&prepared, sizeof prepared));
}

static void timer_fired(struct env_timer *timer)
{
    struct source *s = CONTAINER_OF(timer, struct source, timer);
    switch (s->status.phase) {
    case SOURCE_OFF:
        break;
    case SOURCE_REFUSED:
        look_again(s);
        break;
    case SOURCE_WAITING:
        prepare(s);
        break;
    case SOURCE_PREPARING:
        connect_now(s);
        break;
    case SOURCE_ASKING:
        if (s->asking_logs) {
            s->skip_logs = true;
            source_again(s);
            break;
        }
        /* fall through */
    case SOURCE_CONNECTING:
    case SOURCE_PROVING:
        source_failed(s, 2003, "no answer from %s:%u within %u s", s->addr.host, (unsigned)s->addr.port, SOURCE_CONNECT_S);
        break;
    case SOURCE_STREAMING:
        if (s->paused) { /* we are the ones who do not read */
            env_timer_start(&s->timer, SOURCE_SILENCE_S * ENV_S);
        } else if (!s->silent) { /* this process may have been stopped: what came meanwhile waits to be read */
            s->silent = true;
            env_timer_start(&s->timer, ENV_S);
        } else {
            if (txn_is_open(&s->txn)) {
                source_stream_stuck(s);
            }
            source_failed(s, 2013, "the source was silent for %u s (it should send a heartbeat each second)", SOURCE_SILENCE_S);
        }
        break;
    }
}

static void evaluate(struct source *s)
{
    if (!wanted(s)) {
        disconnect(s);
        source_phase(s, SOURCE_OFF);
        return;
    }
    const struct source_settings *now = &cluster_state(s->cluster)->source;
    bool same = !strcmp(now->host, s->settings.host) && now->port == s->settings.port && !strcmp(now->user, s->settings.user) &&
                !strcmp(now->password, s->settings.password) && !strcmp(now->ssl_mode, s->settings.ssl_mode) &&
                !strcmp(now->ssl_ca, s->settings.ssl_ca) && !strcmp(now->ssl_cert, s->settings.ssl_cert) &&
                !strcmp(now->ssl_key, s->settings.ssl_key) && !strcmp(now->compression, s->settings.compression) &&
                !strcmp(now->start, s->settings.start);
    if (s->status.phase == SOURCE_OFF || !same) {
        source_well(s);
        s->refused = s->lacking = 0;
        s->torn_file[0] = 0;
        s->settings = *now;
        use_candidate(s, 0);
        prepare(s);
    }
}

void source_leading(struct source *s, bool leading)
{
    s->leading = leading;
    evaluate(s);
}

void source_hurry(struct source *s)
{
    if (s->status.phase == SOURCE_WAITING) {
        env_timer_start(&s->timer, 0);
    }
}

void source_settings_changed(struct source *s)
{
    evaluate(s);
}

void source_get_status(const struct source *s, struct source_status *status)
{
    const struct state_file *file = state_file(cluster_state(s->cluster));
    const struct source_settings *set = &cluster_state(s->cluster)->source;
    *status = s->status;
    if (s->status.phase == SOURCE_OFF) {
        snprintf(status->host, sizeof status->host, "%s", set->host);
        status->port = set->port;
    }
    snprintf(status->file, sizeof status->file, "%s", s->file);
    status->received = s->position;
    if (s->status.phase != SOURCE_STREAMING && file) {
        snprintf(status->file, sizeof status->file, "%s", file->name);
        status->received = file->size;
    }
    status->committed = file ? file->size : 0;
}

const struct latency *source_latency(const struct source *s, enum source_stage stage)
{
    return &s->latency[stage];
}

void source_latency_reset(struct source *s)
{
    memset(s->latency, 0, sizeof s->latency);
}

struct source *source_new(struct env *loop, struct cluster *cluster)
{
    struct source *s = mem_new(sizeof *s);
    s->loop = loop;
    s->cluster = cluster;
    s->backoff_ms = SOURCE_BACKOFF_FIRST_MS;
    buf_init(&s->batch.bytes, ENTRY_MAX);
    buf_init(&s->batch.txns, ENTRY_MAX);
    result_init(&s->result, SOURCE_RESULT_MAX);
    int rv = env_timer_open(loop, &s->timer, timer_fired);
    rv = rv ? rv : source_nudge_open(s);
    CHECK(rv == 0);
    source_phase(s, SOURCE_OFF);
    return s;
}

void source_free(struct source *s)
{
    disconnect(s);
    source_forget_peer(s);
    source_login_end(s);
    env_timer_close(&s->timer);
    source_nudge_close(s);
    buf_free(&s->batch.bytes);
    buf_free(&s->batch.txns);
    result_free(&s->result);
    mem_free(s);
}
