/* source.c: phases of the link to the source, and its connection.
 *
 * Happy path: this node leads and a source is set and started: an own NOOP (it proves leadership, settles all own proposals, cuts an
 * unfinished transaction) -> connect -> login -> queries (source_ask.c) -> dump (source_stream.c).
 *
 * Failure: whatever goes wrong on a connection ends that connection with a reason, and it is tried again, at first soon, then less often,
 * with jitter. What trying again cannot mend (another server's history) waits for an operator. */
#include "node/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 10000, MAX_EVENT = (1 << 30) + (64 << 20) };

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
    source_stream_end(s);
    client_auth_free(s->auth);
    s->auth = NULL;
    wire_free(s->wire);
    s->wire = NULL;
    tls_ctx_free(s->tls);
    s->tls = NULL;
    s->status.semi_sync = s->status.catching_up = false;
}

__attribute__((format(printf, 3, 0))) static void note_error(struct source *s, uint16_t code, const char *fmt, va_list ap)
{
    vsnprintf(s->status.error, sizeof s->status.error, fmt, ap);
    s->status.error_code = code;
    s->status.error_wall = env_wall(s->loop);
}

void source_failed(struct source *s, uint16_t code, const char *fmt, ...)
{
    va_list ap;
    uint32_t jitter;
    va_start(ap, fmt);
    note_error(s, code, fmt, ap);
    va_end(ap);
    disconnect(s);
    env_random(s->loop, &jitter, sizeof jitter);
    uint64_t ms = s->backoff_ms / 2 + jitter % (s->backoff_ms / 2 + 1);
    env_log(s->loop, ENV_WARN, "source: %s; next try in %llu ms source=%s:%u", s->status.error, (unsigned long long)ms,
            s->settings.host, (unsigned)s->settings.port);
    s->backoff_ms = s->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff_ms * 2;
    source_phase(s, SOURCE_WAITING);
    env_timer_start(&s->timer, ms * ENV_MS);
}

void source_refused(struct source *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    note_error(s, 0, fmt, ap);
    va_end(ap);
    disconnect(s);
    env_log(s->loop, ENV_ERROR, "source: not following %s:%u: %s", s->settings.host, (unsigned)s->settings.port, s->status.error);
    source_phase(s, SOURCE_REFUSED);
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
    s->peer = (struct source_peer){.checksum = CHECKSUM_CRC32};
    s->peer.origin.flavour = r->is_mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    snprintf(s->peer.origin.version, sizeof s->peer.origin.version, "%.63s", r->version);
    env_log(s->loop, ENV_INFO, "source: connected source=%s:%u version=%s tls=%s", s->settings.host, (unsigned)s->settings.port,
            r->version, r->tls ? "yes" : "no");
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
        source_failed(s, 0, "what the source sends cannot be read: %s", em.text);
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct source *s = owner;
    struct errmsg em;
    uint64_t connection = s->connection;
    int rv = wire_feed(s->wire, data, n, &em);
    take_packets(s);
    if (s->connection != connection) {
        return;
    }
    source_send(s);
    if (rv) {
        source_failed(s, 0, "what the source sends cannot be read: %s", em.text);
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
    env_log(s->loop, ENV_DEBUG, "source: reached source=%s:%u", s->settings.host, (unsigned)s->settings.port);
}

static const struct env_stream_handler stream_handler = {.connected = connected, .readable = readable, .closed = closed};

static int make_auth(struct source *s, struct errmsg *em)
{
    static const struct client_auth_attr attrs[] = {{"program_name", "holdfastd"}, {"_client_role", "binary_log_listener"}};
    struct client_auth_opts opts = {.user = s->settings.user,
                                    .password = s->settings.password,
                                    .attrs = attrs,
                                    .nattrs = 2,
                                    .server_name = s->settings.host,
                                    .tls_mode = TLS_PREFERRED};
    if (s->settings.ssl_mode[0] && tls_mode_parse(s->settings.ssl_mode, &opts.tls_mode)) {
        return err_set(em, E_INVALID, "ssl_mode '%s' is unknown", s->settings.ssl_mode);
    }
    if (opts.tls_mode != TLS_DISABLED) {
        struct tls_files files = {0};
        s->tls = tls_client_ctx(opts.tls_mode, &files, em);
        if (!s->tls) {
            return E_TLS;
        }
        opts.tls = s->tls;
    }
    s->auth = client_auth_new(&opts);
    return 0;
}

static void connect_now(struct source *s)
{
    struct env_addr addr = {.port = s->settings.port};
    struct errmsg em;
    snprintf(addr.host, sizeof addr.host, "%s", s->settings.host);
    s->status.connects++;
    source_phase(s, SOURCE_CONNECTING);
    s->wire = wire_new(MAX_EVENT);
    int rv = make_auth(s, &em);
    if (rv) {
        source_failed(s, 0, "%s", em.text);
        return;
    }
    rv = env_connect(s->loop, &addr, &stream_handler, s, &s->stream);
    if (rv) {
        source_failed(s, 2003, "cannot connect to %s:%u: %s", s->settings.host, (unsigned)s->settings.port, err_text(rv));
        return;
    }
    env_timer_start(&s->timer, SOURCE_CONNECT_S * ENV_S);
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
    s->settings = cluster_state(s->cluster)->source;
    s->probe = source_probe_first(s);
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
    case SOURCE_REFUSED:
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
        source_failed(s, 2003, "no answer from %s:%u within %u s", s->settings.host, (unsigned)s->settings.port, SOURCE_CONNECT_S);
        break;
    case SOURCE_STREAMING:
        if (s->paused) { /* we are the ones who do not read */
            env_timer_start(&s->timer, SOURCE_SILENCE_S * ENV_S);
        } else {
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
                !strcmp(now->start, s->settings.start);
    if (s->status.phase == SOURCE_OFF || !same) {
        s->status.error[0] = 0;
        s->status.error_code = 0;
        s->backoff_ms = BACKOFF_FIRST_MS;
        prepare(s);
    }
}

void source_leading(struct source *s, bool leading)
{
    s->leading = leading;
    evaluate(s);
}

void source_settings_changed(struct source *s)
{
    evaluate(s);
}

void source_get_status(const struct source *s, struct source_status *status)
{
    const struct state_file *file = state_file(cluster_state(s->cluster));
    *status = s->status;
    snprintf(status->file, sizeof status->file, "%s", s->file);
    status->received = s->position;
    if (s->status.phase != SOURCE_STREAMING && file) {
        snprintf(status->file, sizeof status->file, "%s", file->name);
        status->received = file->size;
    }
    status->committed = file ? file->size : 0;
}

struct source *source_new(struct env *loop, struct cluster *cluster)
{
    struct source *s = mem_new(sizeof *s);
    s->loop = loop;
    s->cluster = cluster;
    s->backoff_ms = BACKOFF_FIRST_MS;
    buf_init(&s->batch.bytes, ENTRY_MAX);
    buf_init(&s->batch.txns, ENTRY_MAX);
    result_init(&s->result, SOURCE_RESULT_MAX);
    int rv = env_timer_open(loop, &s->timer, timer_fired);
    CHECK(rv == 0);
    source_phase(s, SOURCE_OFF);
    return s;
}

void source_free(struct source *s)
{
    disconnect(s);
    env_timer_close(&s->timer);
    buf_free(&s->batch.bytes);
    buf_free(&s->batch.txns);
    result_free(&s->result);
    mem_free(s);
}
