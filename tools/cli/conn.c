/* conn.c: the CLI's connection: socket calls with a deadline around protocol/'s wire.
 *
 * Happy path: resolve, connect (each address of a name in turn), feed what arrives to the wire, hand packets
 * to the login and later to the result, send the wire's output. Failure modes: every wait ends at the
 * deadline (E_TIMEOUT); a peer that closes (E_CLOSED) or sends what is no MySQL protocol (E_MALFORMED,
 * E_TLS). All of these are final; only an ERR packet in answer to a statement leaves the connection usable.
 */
#include "tools/cli/conn.h"

#include "build.h"
#include "protocol/auth_client.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/wire.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_MAX = 64 << 20, READ_SIZE = 65536 };

struct conn {
    int fd;
    struct wire *wire;
    unsigned step_ms; /* what the step in hand may take */
    unsigned answer_ms;
    int64_t deadline; /* of the step in hand, monotonic milliseconds */
    uint32_t caps;
    char version[128];
    uint8_t chunk[READ_SIZE];
};

/* ---- the deadline ---- */

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void begin_step(struct conn *c, unsigned ms)
{
    c->step_ms = ms;
    c->deadline = now_ms() + ms;
}

void conn_set_patience(struct conn *c, unsigned answer_ms)
{
    c->answer_ms = answer_ms;
}

static int wait_for(struct conn *c, int fd, short events, struct errmsg *em)
{
    for (;;) {
        int64_t left = c->deadline - now_ms();
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return err_set(em, E_TIMEOUT, "no answer within %.3g s", c->step_ms / 1000.0);
        }
        if (errno != EINTR) {
            return err_errno(em, errno, "poll");
        }
    }
}

/* ---- connect ---- */

/* On success *fd is a connected socket that never blocks. */
static int connect_one(struct conn *c, const struct sockaddr *sa, socklen_t n, struct errmsg *em)
{
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_errno(em, errno, "socket");
    }
    int rv = 0;
    if (connect(fd, sa, n) != 0) {
        int failed = errno;
        socklen_t size = sizeof failed;
        if (failed == EINPROGRESS) {
            rv = wait_for(c, fd, POLLOUT, em);
            if (!rv && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) {
                failed = errno;
            }
        }
        if (!rv && failed) {
            rv = err_set(em, err_errno(NULL, failed, "connect"), "%s", strerror(failed));
        }
    }
    if (rv) {
        close(fd);
        return rv;
    }
    c->fd = fd;
    return 0;
}

static int connect_path(struct conn *c, const char *path, struct errmsg *em)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof sun.sun_path) {
        return err_set(em, E_INVALID, "the path is longer than a socket's may be (%zu bytes)",
                       sizeof sun.sun_path - 1);
    }
    memcpy(sun.sun_path, path, n + 1);
    return connect_one(c, (const struct sockaddr *)&sun, sizeof sun, em);
}

static int connect_host(struct conn *c, const struct env_addr *addr, struct errmsg *em)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)addr->port);
    int rv = getaddrinfo(addr->host, port, &hints, &list);
    if (rv) {
        return err_set(em, E_NOTFOUND, "the name cannot be resolved: %s",
                       rv == EAI_SYSTEM ? strerror(errno) : gai_strerror(rv));
    }
    rv = err_set(em, E_NOTFOUND, "the name has no address");
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        rv = connect_one(c, ai->ai_addr, ai->ai_addrlen, em);
        if (!rv || rv == E_TIMEOUT) {
            break;
        }
    }
    freeaddrinfo(list);
    if (!rv) {
        int on = 1;
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only costs time if it fails */
    }
    return rv;
}

/* ---- bytes ---- */

static int flush(struct conn *c, struct errmsg *em)
{
    for (;;) {
        struct buf *out = wire_output(c->wire);
        if (out->err) {
            return err_set(em, out->err, "cannot send: %s", err_text(out->err));
        }
        if (out->len == 0) {
            return 0;
        }
        ssize_t n = send(c->fd, out->data, out->len, MSG_NOSIGNAL);
        if (n > 0) {
            buf_consume(out, (size_t)n);
        } else if (n < 0 && errno == EAGAIN) {
            int rv = wait_for(c, c->fd, POLLOUT, em);
            if (rv) {
                return rv;
            }
        } else if (n < 0 && errno != EINTR) {
            return err_errno(em, errno, "send");
        }
    }
}

/* The next packet, sending what the wire wants to say in between. */
static int next_packet(struct conn *c, struct packet *p, struct errmsg *em)
{
    for (;;) {
        int rv = wire_next(c->wire, p, em);
        if (rv) {
            return rv < 0 ? rv : 0;
        }
        rv = flush(c, em);
        if (rv) {
            return rv;
        }
        ssize_t n = recv(c->fd, c->chunk, sizeof c->chunk, 0);
        if (n == 0) {
            return err_set(em, E_CLOSED, "the server closed the connection");
        }
        if (n > 0) {
            (void)wire_feed(c->wire, c->chunk, (size_t)n, NULL); /* wire_next says it again, in its place */
        } else if (errno == EAGAIN) {
            rv = wait_for(c, c->fd, POLLIN, em);
            if (rv) {
                return rv;
            }
        } else if (errno != EINTR) {
            return err_errno(em, errno, "receive");
        }
    }
}

/* ---- login ---- */

static int log_in(struct conn *c, struct client_auth *auth, bool *refused, struct errmsg *em)
{
    int rv = CLIENT_AUTH_MORE;
    while (rv == CLIENT_AUTH_MORE) {
        struct packet p;
        rv = next_packet(c, &p, em);
        if (rv) {
            return rv;
        }
        rv = client_auth_packet(auth, c->wire, &p, em);
        int sent = flush(c, rv < 0 ? NULL : em);
        if (rv >= 0 && sent) {
            rv = sent;
        }
    }
    const struct client_auth_result *result = client_auth_result(auth);
    if (rv < 0) {
        *refused = rv == E_DENIED;
        return rv;
    }
    c->caps = result->caps;
    snprintf(c->version, sizeof c->version, "%s", result->version);
    return 0;
}

static int open_session(struct conn *c, const struct conn_opts *opts, bool *refused, struct errmsg *em)
{
    struct tls_ctx *tls = NULL;
    bool local = opts->addr.is_path;
    enum tls_mode mode = local ? TLS_DISABLED : opts->tls_mode;
    if (mode != TLS_DISABLED) {
        struct tls_files files = {.ca = opts->ssl_ca};
        tls = tls_client_ctx(mode, &files, em);
        if (!tls) {
            return E_TLS;
        }
    }
    const struct client_auth_attr attrs[] = {
        {"program_name", "holdfast"}, {"_client_name", "holdfast"}, {"_client_version", HOLDFAST_VERSION}};
    struct client_auth_opts auth_opts = {
        .user = opts->user,
        .password = opts->password,
        .attrs = attrs,
        .nattrs = sizeof attrs / sizeof attrs[0],
        .tls_mode = mode,
        .tls = tls,
        .server_name = local ? NULL : opts->addr.host,
        .local = local,
    };
    struct client_auth *auth = client_auth_new(&auth_opts);
    int rv = log_in(c, auth, refused, em);
    client_auth_free(auth);
    tls_ctx_free(tls);
    return rv;
}

int conn_open(const struct conn_opts *opts, struct conn **conn, bool *refused, struct errmsg *em)
{
    struct conn *c = mem_new(sizeof *c);
    c->fd = -1;
    c->answer_ms = opts->answer_ms;
    c->wire = wire_new(PACKET_MAX);
    *conn = NULL;
    *refused = false;
    begin_step(c, opts->connect_ms);
    int rv = opts->addr.is_path ? connect_path(c, opts->addr.host, em) : connect_host(c, &opts->addr, em);
    if (!rv) {
        rv = open_session(c, opts, refused, em);
    }
    if (rv) {
        if (c->fd >= 0) {
            close(c->fd);
        }
        wire_free(c->wire);
        mem_free(c);
        return rv;
    }
    *conn = c;
    return 0;
}

void conn_close(struct conn *c)
{
    if (!c) {
        return;
    }
    begin_step(c, 1000);
    if (command_put(c->wire, COM_QUIT) == 0) {
        (void)flush(c, NULL); /* a courtesy: the server sees the end of the stream anyway */
    }
    close(c->fd);
    wire_free(c->wire);
    mem_free(c);
}

int conn_query(struct conn *c, const char *sql, size_t n, struct result *result, struct errmsg *em)
{
    begin_step(c, c->answer_ms);
    result_reset(result);
    int rv = command_put_query(c->wire, c->caps, sql, n);
    if (rv) {
        return err_set(em, rv, "cannot send the statement: %s", err_text(rv));
    }
    do {
        struct packet p;
        rv = flush(c, em);
        if (!rv) {
            rv = next_packet(c, &p, em);
        }
        if (rv) {
            return rv;
        }
        rv = result_packet(result, c->caps, &p, em);
    } while (rv == RESULT_MORE);
    return rv == RESULT_DONE ? 0 : rv;
}

int conn_dump(struct conn *c, bool by_gtid, uint32_t server_id, const void *gtids, size_t ngtids, struct errmsg *em)
{
    struct binlog_dump dump = {.by_gtid = by_gtid, .flags = DUMP_NON_BLOCK, .server_id = server_id, .pos = 4, .gtids = gtids, .ngtids = ngtids};
    begin_step(c, c->answer_ms);
    wire_seq_reset(c->wire);
    int rv = command_put_binlog_dump(c->wire, &dump);
    return rv ? err_set(em, rv, "cannot ask for a dump: %s", err_text(rv)) : flush(c, em);
}

int conn_dump_next(struct conn *c, const uint8_t **event, size_t *n, struct errmsg *em)
{
    struct packet p;
    struct stream_packet s;
    begin_step(c, c->answer_ms);
    int rv = next_packet(c, &p, em);
    rv = rv ? rv : stream_parse(&p, false, &s, em);
    if (rv) {
        return rv;
    }
    if (s.kind == STREAM_ERROR) {
        return err_set(em, E_PEER, "error %u: %s", s.code, s.message);
    }
    *event = s.event;
    *n = s.n;
    return s.kind == STREAM_EVENT;
}

const char *conn_version(const struct conn *c)
{
    return c->version;
}

/* ---- advice ---- */

const char *conn_advice(const struct env_addr *addr, int code)
{
    if (code == E_TLS) {
        return "See --ssl-mode and --ssl-ca; --ssl-mode=disabled does without encryption.";
    }
    if (code == E_MALFORMED || code == E_UNSUPPORTED) {
        return "Is this the address that [mysql] listen names, and not that of [raft] or of another program?";
    }
    if (code == E_PEER) {
        return "The node is there, but does not take the connection now.";
    }
    if (addr->is_path) {
        return code == E_DENIED
                   ? "The socket is for root and the daemon's own user: use sudo, or -h HOST -u USER -p."
                   : "Is holdfastd running on this machine? If its socket is elsewhere (socket = in section "
                     "[mysql]), name it with -S; for another machine use -h HOST -u USER -p.";
    }
    if (code == E_NOTFOUND) {
        return "Check the name, or give the address itself.";
    }
    if (code == E_TIMEOUT) {
        return "Is the machine up, and does a firewall let this port through? --timeout waits longer.";
    }
    return "Is holdfastd running there, and does [mysql] listen name this address and port?";
}
