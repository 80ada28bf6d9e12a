/* client.c: see client.h.
 *
 * Happy path: PEM files are read (if the settings name any) -> connect -> login -> ready; then a statement, its answer, the
 * next one. One timer bounds connect and login together, then each statement.
 * Failure: `end` closes the stream at once and tells the owner from a message of its own, so that no callback comes from
 * inside a call. What is freed inside a callback is kept until that callback has returned. */
#include "node/client.h"

#include "node/pem.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/wire.h"

#include <stdio.h>
#include <string.h>

enum { LOGIN_S = 10, ANSWER_MAX = 8 << 20 };

enum client_phase { CLIENT_LOGIN, CLIENT_IDLE, CLIENT_ASKED, CLIENT_DUMPING, CLIENT_DUMPED, CLIENT_OVER };

struct client {
    struct env *loop;
    struct source_settings settings;
    struct env_addr addr;
    const struct client_handler *handler;
    void *owner;
    enum client_phase phase;
    struct pem_request *reading;
    struct env_stream *stream;
    struct wire *wire;
    struct client_auth *auth;
    struct tls_ctx *tls;
    struct result result;
    client_answer *answer;
    struct env_timer timer; /* the limit; when it is over: to tell so */
    uint16_t code;
    char why[ERRMSG_MAX];
    unsigned inside; /* callbacks of ours on the stack */
    bool freed;
};

static int make_tls(const struct source_settings *set, enum tls_mode mode, const struct tls_files *files, struct tls_ctx **tls,
                    struct errmsg *em)
{
    if (mode == TLS_DISABLED) {
        return 0;
    }
    *tls = tls_client_ctx(mode, files, em);
    if (*tls) {
        return 0;
    }
    return err_wrap(em, E_TLS, "TLS towards the source (ssl_ca='%s' ssl_cert='%s' ssl_key='%s')", set->ssl_ca, set->ssl_cert,
                    set->ssl_key);
}

int client_login(const struct source_settings *settings, const char *host, const char *role, const struct tls_files *files,
                 struct tls_ctx **tls, struct client_auth **auth, struct errmsg *em)
{
    const struct client_auth_attr attrs[] = {{"program_name", "holdfastd"}, {"_client_role", role}};
    struct client_auth_opts opts = {.user = settings->user,
                                    .password = settings->password,
                                    .attrs = attrs,
                                    .nattrs = 2,
                                    .server_name = host,
                                    .tls_mode = TLS_PREFERRED};
    *tls = NULL;
    if (settings->ssl_mode[0] && tls_mode_parse(settings->ssl_mode, &opts.tls_mode)) {
        return err_set(em, E_INVALID, "ssl_mode '%s' is unknown", settings->ssl_mode);
    }
    if (compress_parse(settings->compression, &opts.compress)) {
        return err_set(em, E_INVALID, "compression '%s' is unknown", settings->compression);
    }
    int rv = make_tls(settings, opts.tls_mode, files, tls, em);
    if (rv) {
        return rv;
    }
    opts.tls = *tls;
    *auth = client_auth_new(&opts);
    return 0;
}

/* ---- its end ---- */

static void release(struct client *c)
{
    if (c->stream) {
        env_stream_close(c->stream);
    }
    env_timer_close(&c->timer);
    client_auth_free(c->auth);
    wire_free(c->wire);
    tls_ctx_free(c->tls);
    result_free(&c->result);
    explicit_bzero(&c->settings, sizeof c->settings);
    mem_free(c);
}

static void leave(struct client *c)
{
    c->inside--;
    if (c->freed && !c->inside && !c->reading) { /* files_read comes in any case */
        release(c);
    }
}

__attribute__((format(printf, 3, 4))) static void end(struct client *c, uint16_t code, const char *fmt, ...)
{
    if (c->phase == CLIENT_OVER || c->freed) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->why, sizeof c->why, fmt, ap);
    va_end(ap);
    c->code = code;
    c->phase = CLIENT_OVER;
    if (c->stream) {
        env_stream_close(c->stream);
        c->stream = NULL;
    }
    env_timer_start(&c->timer, 0);
}

static void send_output(struct client *c)
{
    struct buf *out = wire_output(c->wire);
    if (c->stream && out->len) {
        env_stream_write(c->stream, out);
    }
}

void client_free(struct client *c)
{
    if (!c || c->freed) {
        return;
    }
    if (c->phase == CLIENT_IDLE && !command_put(c->wire, COM_QUIT)) {
        send_output(c);
    }
    c->freed = true;
    c->inside++;
    leave(c);
}

void client_end(struct client *c)
{
    if (c) {
        pem_end(c->reading);
        c->reading = NULL;
        client_free(c);
    }
}

static void timer_fired(struct env_timer *timer)
{
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    if (c->phase == CLIENT_OVER) {
        c->inside++;
        c->handler->failed(c->owner, c->code, c->why);
        leave(c);
    } else {
        end(c, 0, "%s", c->phase == CLIENT_LOGIN ? "the login takes too long" : "a statement was not answered in time");
    }
}

/* ---- packets ---- */

static void login_packet(struct client *c, const struct packet *p)
{
    struct errmsg em;
    int rv = client_auth_packet(c->auth, c->wire, p, &em);
    if (rv == CLIENT_AUTH_DONE) {
        env_timer_stop(&c->timer);
        c->phase = CLIENT_IDLE;
        c->handler->ready(c->owner);
    } else if (rv < 0) {
        send_output(c);
        end(c, (uint16_t)client_auth_result(c->auth)->code, "login as '%s' failed: %s", c->settings.user, em.text);
    }
}

static void answer_packet(struct client *c, const struct packet *p)
{
    struct errmsg em;
    int rv = result_packet(&c->result, client_auth_result(c->auth)->caps, p, &em);
    if (rv == RESULT_MORE) {
        return;
    }
    if (rv < 0 && rv != E_PEER && rv != E_DENIED) {
        end(c, 0, "an answer cannot be read: %s", em.text);
        return;
    }
    env_timer_stop(&c->timer);
    c->phase = CLIENT_IDLE;
    c->answer(c->owner, rv < 0 ? rv : 0, &c->result);
}

static void dump_packet(struct client *c, const struct packet *p)
{
    enum { ERR_PACKET = 0xff };
    env_timer_stop(&c->timer);
    c->phase = CLIENT_DUMPED;
    c->answer(c->owner, packet_kind(p) == ERR_PACKET ? E_PEER : 0, &c->result);
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct client *c = owner;
    struct packet p;
    struct errmsg em;
    c->inside++;
    int fed = wire_feed(c->wire, data, n, &em), rv = 0;
    while (!c->freed && c->phase != CLIENT_OVER && (rv = wire_next(c->wire, &p, &em)) == 1) {
        if (c->phase == CLIENT_LOGIN) {
            login_packet(c, &p);
        } else if (c->phase == CLIENT_ASKED) {
            answer_packet(c, &p);
        } else if (c->phase == CLIENT_DUMPING) {
            dump_packet(c, &p);
        } else if (c->phase == CLIENT_DUMPED) {
            continue; /* the owner has seen enough */
        } else {
            end(c, 0, "it sends what nobody asked for");
        }
    }
    if (!c->freed && c->phase != CLIENT_OVER) {
        send_output(c);
        if (fed || rv < 0) {
            end(c, 0, "what it sends cannot be read: %s", em.text);
        }
    }
    leave(c);
}

static void closed(void *owner, int code, const char *why)
{
    struct client *c = owner;
    if (c->phase == CLIENT_LOGIN && code != E_CLOSED) {
        end(c, 2003, "%s", why);
    } else {
        end(c, 2013, "the connection ended: %s", code == E_CLOSED ? "closed by the source" : why);
    }
}

static void connected(void *owner)
{
    (void)owner; /* the server speaks first */
}

static const struct env_stream_handler stream_handler = {.connected = connected, .readable = readable, .closed = closed};

/* ---- its beginning ---- */

static void reach(struct client *c, const struct tls_files *files)
{
    struct errmsg em;
    if (client_login(&c->settings, c->addr.host, "monitor", files, &c->tls, &c->auth, &em)) {
        end(c, 0, "%s", em.text);
        return;
    }
    int rv = env_connect(c->loop, &c->addr, &stream_handler, c, &c->stream);
    if (rv) {
        c->stream = NULL;
        end(c, 2003, "cannot connect to %s:%u: %s", c->addr.host, (unsigned)c->addr.port, err_text(rv));
    }
}

static void files_read(void *arg, int code, const char *why, const struct tls_files *files)
{
    struct client *c = arg;
    c->reading = NULL;
    c->inside++;
    if (code) {
        end(c, 0, "a TLS file for the source cannot be used: %s", why);
    } else if (c->phase == CLIENT_LOGIN && !c->freed) {
        reach(c, files);
    }
    leave(c);
}

struct client *client_open(struct env *loop, const struct source_settings *settings, const char *host, uint16_t port,
                           const struct client_handler *handler, void *owner)
{
    static const struct tls_files none = {0};
    struct client *c = mem_new(sizeof *c);
    *c = (struct client){.loop = loop, .settings = *settings, .handler = handler, .owner = owner, .addr = {.port = port}};
    snprintf(c->addr.host, sizeof c->addr.host, "%s", host);
    c->wire = wire_new(ANSWER_MAX);
    result_init(&c->result, ANSWER_MAX);
    int rv = env_timer_open(loop, &c->timer, timer_fired);
    CHECK(rv == 0);
    env_timer_start(&c->timer, LOGIN_S * ENV_S);
    const char *const paths[PEM_FILES] = {
        [PEM_CA] = c->settings.ssl_ca, [PEM_CERT] = c->settings.ssl_cert, [PEM_KEY] = c->settings.ssl_key};
    if (!strcmp(c->settings.ssl_mode, tls_mode_name(TLS_DISABLED)) || (!paths[0][0] && !paths[1][0] && !paths[2][0])) {
        reach(c, &none);
        return c;
    }
    c->reading = pem_read(loop, paths, files_read, c);
    if (!c->reading) {
        end(c, 0, "no thread can be started to read the TLS files for the source");
    }
    return c;
}

bool client_idle(const struct client *c)
{
    return c->phase == CLIENT_IDLE;
}

void client_query(struct client *c, const char *sql, uint64_t limit_ns, client_answer *answer)
{
    CHECK(c->phase == CLIENT_IDLE);
    result_reset(&c->result);
    c->answer = answer;
    c->phase = CLIENT_ASKED;
    if (command_put_query(c->wire, client_auth_result(c->auth)->caps, sql, strlen(sql))) {
        end(c, 0, "a statement could not be built");
        return;
    }
    env_timer_start(&c->timer, limit_ns);
    if (!c->inside) { /* else it leaves with what the callback has to say */
        send_output(c);
    }
}

void client_dump(struct client *c, const struct binlog_dump *dump, uint64_t limit_ns, client_answer *answer)
{
    CHECK(c->phase == CLIENT_IDLE);
    c->answer = answer;
    c->phase = CLIENT_DUMPING;
    if (command_put_binlog_dump(c->wire, dump)) {
        end(c, 0, "the dump request could not be built");
        return;
    }
    env_timer_start(&c->timer, limit_ns);
    if (!c->inside) {
        send_output(c);
    }
}

const struct client_auth_result *client_server(const struct client *c)
{
    return client_auth_result(c->auth);
}
