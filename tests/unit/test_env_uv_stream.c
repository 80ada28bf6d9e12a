/* test_env_uv_stream: the real env: connections and listeners, over TCP and local sockets. */
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "tests/unit/env_uv_fixture.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- streams ---- */

/* One end of a connection. What the callbacks do is chosen by the flags. */
struct side {
    struct env *env;
    struct env_stream *stream;
    bool connected;
    atomic_bool closed; /* a worker sets it, main waits for it */
    int code;
    char why[300];
    uint64_t got;
    uint32_t sum;      /* crc32c of the bytes read */
    uint64_t want;     /* stop main's loop when so many came */
    unsigned drained;
    bool echo;
    bool stop_on_connected, stop_on_closed, stop_on_drained;
    char close_in; /* 'c'onnected, 'r'eadable, 'd'rained, 'e'nd: env_stream_close there */
    bool inside;   /* a call of ours is under way */
    unsigned calls_after_close, calls_inside;
};

static void side_enter(struct side *s)
{
    s->calls_after_close += s->stream == NULL;
    s->calls_inside += s->inside;
}

static void side_close(struct side *s)
{
    env_stream_close(s->stream);
    s->stream = NULL;
}

static void side_leave(struct side *s, char where)
{
    if (s->close_in == where) {
        side_close(s);
    }
}

static void side_connected(void *owner)
{
    struct side *s = owner;
    side_enter(s);
    s->connected = true;
    if (s->stop_on_connected) {
        env_uv_stop(env);
    }
    side_leave(s, 'c');
}

static void side_readable(void *owner, const uint8_t *data, size_t n)
{
    struct side *s = owner;
    side_enter(s);
    s->sum = crc32c_of(s->sum, data, n);
    s->got += n;
    if (s->echo) {
        struct buf b;
        buf_init(&b, 1 << 20);
        buf_bytes(&b, data, n);
        s->inside = true;
        env_stream_write(s->stream, &b);
        s->inside = false;
        buf_free(&b);
    }
    if (s->want && s->got >= s->want) {
        env_uv_stop(env);
    }
    side_leave(s, 'r');
}

static void side_drained(void *owner)
{
    struct side *s = owner;
    side_enter(s);
    s->drained++;
    if (s->stop_on_drained) {
        env_uv_stop(env);
    }
    side_leave(s, 'd');
}

static void side_closed(void *owner, int code, const char *why)
{
    struct side *s = owner;
    side_enter(s);
    s->closed = true;
    s->code = code;
    snprintf(s->why, sizeof s->why, "%s", why);
    if (s->stop_on_closed) {
        env_uv_stop(env);
    }
    side_leave(s, 'e');
}

static const struct env_stream_handler side_handler = {side_connected, side_readable, side_drained,
                                                       side_closed};

static uint32_t write_pattern(struct side *s, size_t n, size_t piece)
{
    uint32_t sum = 0;
    struct buf b;
    buf_init(&b, 64 << 20);
    for (size_t at = 0; at < n; at += piece) {
        uint8_t *p = buf_extend(&b, piece < n - at ? piece : n - at);
        for (size_t i = 0; i < b.len; i++) {
            p[i] = (uint8_t)((at + i) * 7 + (at + i) / 251);
        }
        sum = crc32c_of(sum, b.data, b.len);
        s->inside = true;
        env_stream_write(s->stream, &b);
        s->inside = false;
        UNIT_UINT(b.len, 0);
    }
    buf_free(&b);
    return sum;
}

/* A listener whose connections go to the side `server`, on main or on another env. */
struct door {
    struct env_listener *listener;
    struct env_addr addr;
    struct side server;
    struct env *worker; /* NULL: main */
    struct env_socket *socket;
    struct env_msg msg;
    struct env_peer peer;
    bool close_listener, drop;
    unsigned accepted;
};

static void door_attach(struct env_msg *msg)
{
    struct door *d = CONTAINER_OF(msg, struct door, msg);
    CHECK(env_attach(d->server.env, d->socket, &side_handler, &d->server, &d->server.stream) == 0);
}

static void door_accepted(void *owner, struct env_socket *socket)
{
    struct door *d = owner;
    d->accepted++;
    d->peer = *env_socket_peer(socket);
    if (d->close_listener) {
        env_listener_close(d->listener);
        d->listener = NULL;
    }
    if (d->drop) {
        env_socket_close(socket);
        return;
    }
    d->socket = socket;
    d->msg.run = door_attach;
    d->server.env = d->worker ? d->worker : env;
    env_post(d->server.env, &d->msg);
}

static void door_open(struct door *d, const char *host)
{
    struct errmsg em = {""};
    snprintf(d->addr.host, sizeof d->addr.host, "%s", host);
    d->addr.is_path = host[0] == '/';
    if (env_listen(env, &d->addr, door_accepted, d, &d->listener, &em) != 0) {
        fprintf(stderr, "%s\n", em.text);
    }
    UNIT_REQUIRE(d->listener != NULL);
    env_listener_addr(d->listener, &d->addr);
    UNIT_TRUE(d->addr.is_path || d->addr.port != 0);
}

static void door_close(struct door *d)
{
    if (d->listener) {
        env_listener_close(d->listener);
    }
}

static void dial(struct side *s, const struct env_addr *addr)
{
    s->env = env;
    s->inside = true;
    UNIT_INT(env_connect(env, addr, &side_handler, s, &s->stream), 0);
    s->inside = false;
}

/* A pair of connected sides, both on main. */
static void pair_open(struct door *d, struct side *client)
{
    door_open(d, "127.0.0.1");
    client->stop_on_connected = true;
    dial(client, &d->addr);
    run();
    UNIT_REQUIRE(client->connected);
    WAIT_FOR(d->server.stream);
    UNIT_REQUIRE(d->server.stream != NULL);
}

static void side_is_clean(const struct side *s)
{
    UNIT_UINT(s->calls_after_close, 0);
    UNIT_UINT(s->calls_inside, 0);
}

/* How many of this process's TCP connections ask after a peer that is silent, and do not wait for ever for what it confirms. */
static unsigned watched_connections(unsigned *all)
{
    unsigned watched = 0;
    *all = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_storage at;
        socklen_t n = sizeof at, size = sizeof(int);
        int alive = 0, idle = 0, unconfirmed = 0;
        if (getpeername(fd, (struct sockaddr *)&at, &n) || at.ss_family == AF_UNIX) {
            continue;
        }
        ++*all;
        (void)getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &size);
        (void)getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size);
        (void)getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unconfirmed, &size);
        watched += alive && idle <= 60 && unconfirmed > 0 && unconfirmed <= 60000;
    }
    return watched;
}

static void echo_over(const char *listen_on, const char *connect_to)
{
    struct door d = {.server = {.echo = true, .close_in = 'e'}};
    struct side c = {.stop_on_connected = true, .want = 3000000};
    begin();
    UNIT_INT(env_spawn(env, "worker", &d.worker), 0);
    door_open(&d, listen_on);
    struct env_addr to = d.addr;
    snprintf(to.host, sizeof to.host, "%s", connect_to);
    dial(&c, &to);
    UNIT_TRUE(!c.connected);
    run();
    UNIT_REQUIRE(c.connected);
    uint32_t sum = write_pattern(&c, 3000000, 100000);
    run();
    UNIT_UINT(c.got, 3000000);
    UNIT_UINT(c.sum, sum);
    UNIT_UINT(env_stream_pending(c.stream), 0);
    UNIT_TRUE(c.drained > 0);
    unsigned all, watched = watched_connections(&all);
    UNIT_UINT(all, d.addr.is_path ? 0 : 2); /* both ends are ours */
    UNIT_UINT(watched, all);
    side_close(&c);
    WAIT_FOR(d.server.closed);
    door_close(&d);
    env_join(d.worker);
    UNIT_INT(d.server.code, E_CLOSED);
    UNIT_STR(d.peer.host, d.addr.is_path ? "localhost" : "127.0.0.1");
    UNIT_INT(d.peer.is_local, d.addr.is_path);
    UNIT_UINT(d.peer.uid, d.addr.is_path ? getuid() : 0);
    UNIT_TRUE(strncmp(d.peer.text, d.addr.is_path ? "unix:uid=" : "127.0.0.1:", 9) == 0);
    side_is_clean(&c);
    side_is_clean(&d.server);
    end();
}

static void echo_tcp(void)
{
    echo_over("127.0.0.1", "127.0.0.1");
}

static void echo_by_name(void)
{
    echo_over("127.0.0.1", "localhost"); /* ::1, if the name has it, refuses first */
}

static void echo_ipv6_any(void)
{
    echo_over("::", "127.0.0.1"); /* the peer is seen as IPv4 */
}

static void echo_local(void)
{
    char path[200];
    struct stat st;
    snprintf(path, sizeof path, "%s/echo.sock", unit_tmpdir());
    echo_over(path, path);
    UNIT_TRUE(lstat(path, &st) != 0); /* gone with its listener */
}

static void listens_on_a_name(void)
{
    struct door d = {.drop = true, .close_listener = true};
    struct side c = {.stop_on_closed = true, .close_in = 'e'};
    begin();
    door_open(&d, "localhost");
    dial(&c, &d.addr);
    run();
    UNIT_UINT(d.accepted, 1);
    UNIT_TRUE(d.listener == NULL);
    UNIT_TRUE(c.connected);
    UNIT_INT(c.code, E_CLOSED);
    side_is_clean(&c);
    end();
}

static void pause_pushes_back(void)
{
    enum { BYTES = 32 << 20 };
    struct door d = {.accepted = 0};
    struct side c = {.stop_on_drained = true};
    begin();
    pair_open(&d, &c);
    env_stream_pause(d.server.stream, true);
    env_stream_pause(d.server.stream, true);
    uint32_t sum = write_pattern(&c, BYTES, 1 << 20);
    run_for(50 * ENV_MS);
    size_t pending = env_stream_pending(c.stream);
    UNIT_TRUE(pending > 0 && pending < BYTES);
    UNIT_UINT(d.server.got, 0);
    UNIT_UINT(c.drained, 0);
    env_stream_pause(d.server.stream, false);
    UNIT_UINT(d.server.got, 0);
    run(); /* until it has drained */
    UNIT_UINT(c.drained, 1);
    UNIT_UINT(env_stream_pending(c.stream), 0);
    d.server.want = BYTES;
    if (d.server.got < BYTES) {
        run();
    }
    UNIT_UINT(d.server.got, BYTES);
    UNIT_UINT(d.server.sum, sum);
    side_close(&c);
    side_close(&d.server);
    door_close(&d);
    end();
}

static void drained_comes_for_small_writes_too(void)
{
    struct door d = {.server = {.close_in = 'e'}};
    struct side c = {.stop_on_drained = true};
    begin();
    pair_open(&d, &c);
    write_pattern(&c, 10, 5);
    UNIT_UINT(env_stream_pending(c.stream), 0);
    UNIT_UINT(c.drained, 0);
    run();
    WAIT_FOR(d.server.got == 10);
    run_for(5 * ENV_MS);
    UNIT_UINT(c.drained, 1);
    side_is_clean(&c);
    side_close(&c);
    WAIT_FOR(d.server.closed);
    door_close(&d);
    end();
}

static void close_inside_callbacks(void)
{
    static const char places[] = "crde";
    for (const char *place = places; *place; place++) {
        struct door d = {.server = {.close_in = *place == 'e' ? 'r' : 'e'}};
        struct side c = {.close_in = *place == 'c' ? 'c' : 0, .stop_on_closed = true};
        begin();
        door_open(&d, "127.0.0.1");
        dial(&c, &d.addr);
        WAIT_FOR(c.connected);
        if (*place != 'c') {
            c.close_in = *place;
            d.server.echo = true;
            write_pattern(&c, 100000, 100000);
        }
        WAIT_FOR(c.stream == NULL && (*place == 'e' ? d.server.got > 0 : d.server.closed));
        run_for(5 * ENV_MS);
        UNIT_INT(c.closed, *place == 'e');
        UNIT_TRUE(d.server.stream == NULL);
        side_is_clean(&c);
        side_is_clean(&d.server);
        door_close(&d);
        end();
    }
}

static void connect_fails_with_a_reason(void)
{
    struct door d = {.accepted = 0};
    struct env_addr nowhere = {.host = "no-such-host.invalid", .port = 1};
    struct env_addr missing = {.is_path = true};
    struct env_addr odd = {.host = "a b..c", .port = 1};
    struct side refused = {.stop_on_closed = true, .close_in = 'e'}, unknown = refused, absent = refused,
                bad = refused;
    char expect[400], where[300];
    begin();
    door_open(&d, "127.0.0.1"); /* for a port that nobody has when it is closed */
    door_close(&d);
    dial(&refused, &d.addr);
    run();
    env_addr_format(&d.addr, where, sizeof where);
    snprintf(expect, sizeof expect, "cannot connect to %s: Connection refused", where);
    UNIT_INT(refused.code, E_REFUSED);
    UNIT_STR(refused.why, expect);
    dial(&unknown, &nowhere);
    run();
    UNIT_INT(unknown.code, E_NOTFOUND);
    UNIT_TRUE(strncmp(unknown.why, "cannot resolve host 'no-such-host.invalid': ", 44) == 0);
    snprintf(missing.host, sizeof missing.host, "%s/missing", unit_tmpdir());
    dial(&absent, &missing);
    run();
    UNIT_INT(absent.code, E_NOTFOUND);
    dial(&bad, &odd);
    run();
    UNIT_INT(bad.code, E_NOTFOUND);
    memset(missing.host, 'x', 200);
    struct env_stream *none;
    UNIT_INT(env_connect(env, &missing, &side_handler, &bad, &none), E_INVALID);
    side_is_clean(&refused);
    side_is_clean(&unknown);
    side_is_clean(&absent);
    UNIT_TRUE(!refused.connected && !unknown.connected && !absent.connected && !bad.connected);
    end();
}

/* The resolver, for libuv too: the name "two-addresses.test" has two, at the first of which nobody listens.
 */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!host || strcmp(host, "two-addresses.test") != 0 || (hints && (hints->ai_flags & AI_NUMERICHOST))) {
        return real(host, port, hints, list);
    }
    int rv = real("127.0.0.2", port, hints, list);
    return rv ? rv : real("127.0.0.1", port, hints, &(*list)->ai_next);
}

static void second_address_is_tried(void)
{
    struct door d = {.server = {.close_in = 'e'}};
    struct side c = {.stop_on_connected = true}, none = {.stop_on_closed = true, .close_in = 'e'};
    begin();
    door_open(&d, "127.0.0.1");
    struct env_addr to = d.addr;
    snprintf(to.host, sizeof to.host, "two-addresses.test");
    dial(&c, &to);
    run();
    UNIT_TRUE(c.connected);
    side_is_clean(&c);
    side_close(&c);
    WAIT_FOR(d.server.closed);
    door_close(&d);
    dial(&none, &to);
    run();
    UNIT_TRUE(!none.connected);
    UNIT_INT(none.code, E_REFUSED);
    side_is_clean(&none);
    end();
}

static void close_while_connecting(void)
{
    struct env_addr addrs[] = {{.host = "no-such-host.invalid", .port = 1}, {.host = "127.0.0.1", .port = 1}};
    for (int wait = 0; wait < 2; wait++) {
        for (int i = 0; i < 2; i++) {
            struct side s = {.closed = false};
            begin();
            dial(&s, &addrs[i]);
            if (wait) {
                run_for(5 * ENV_MS);
            }
            side_close(&s);
            run_for(5 * ENV_MS);
            side_is_clean(&s);
            UNIT_TRUE(!s.connected);
            end();
        }
    }
}

static void closed_stream_stays_until_closed_by_owner(void)
{
    struct door d = {.server = {.close_in = 'r'}};
    struct side c = {.stop_on_closed = true};
    begin();
    pair_open(&d, &c);
    write_pattern(&c, 10, 10);
    run();
    UNIT_INT(c.code, E_CLOSED);
    write_pattern(&c, 10, 10); /* goes nowhere, quietly */
    UNIT_UINT(env_stream_pending(c.stream), 0);
    env_stream_pause(c.stream, true);
    env_stream_pause(c.stream, false);
    run_for(5 * ENV_MS);
    side_close(&c);
    side_is_clean(&c);
    door_close(&d);
    end();
}

static void message_that_failed_closes(void)
{
    struct door d = {.server = {.close_in = 'e'}};
    struct side c = {.stop_on_closed = true, .close_in = 'e'};
    struct buf b;
    begin();
    pair_open(&d, &c);
    buf_init(&b, 4);
    buf_u64(&b, 1);
    c.inside = true;
    env_stream_write(c.stream, &b);
    c.inside = false;
    run();
    UNIT_INT(c.code, E_TOOBIG);
    side_is_clean(&c);
    WAIT_FOR(d.server.closed);
    UNIT_UINT(d.server.got, 0);
    door_close(&d);
    end();
}

/* More than the kernel takes is left when c closes. False: the machine was so slow that the second of grace was over first, and
 * nothing can be said. */
static bool close_sends_the_rest(void)
{
    enum { BYTES = 16 << 20 };
    struct door d = {.server = {.stop_on_closed = true, .close_in = 'e'}};
    struct side c = {.closed = false};
    pair_open(&d, &c);
    env_stream_pause(c.stream, true);
    write_pattern(&d.server, 100000, 100000); /* unread when c closes: must not reset the connection */
    run_for(5 * ENV_MS);
    uint32_t sum = write_pattern(&c, BYTES, 1 << 20);
    UNIT_TRUE(env_stream_pending(c.stream) > 1 << 20);
    uint64_t began = env_now(env);
    side_close(&c);
    run();
    bool in_time = d.server.got == BYTES || env_now(env) - began < 990 * ENV_MS;
    if (in_time) {
        UNIT_UINT(d.server.got, BYTES);
        UNIT_UINT(d.server.sum, sum);
        UNIT_INT(d.server.code, E_CLOSED);
        side_is_clean(&c);
    }
    door_close(&d);
    return in_time;
}

static void close_sends_what_was_written(void)
{
    bool in_time = false;
    begin();
    for (unsigned i = 0; i < 30 && !in_time; i++) {
        in_time = close_sends_the_rest();
    }
    UNIT_TRUE(in_time);
    end();
}

/* What we have not read must not reset the connection before the peer has read our last words. */
static void last_words_survive_a_talking_peer(void)
{
    struct door d = {.server = {.stop_on_closed = true, .close_in = 'e'}};
    struct side c = {.closed = false};
    begin();
    pair_open(&d, &c);
    env_stream_pause(d.server.stream, true);
    env_stream_pause(c.stream, true);
    write_pattern(&d.server, 100000, 100000);
    run_for(5 * ENV_MS);
    write_pattern(&c, 10, 10);
    side_close(&c);
    run_for(5 * ENV_MS);
    write_pattern(&d.server, 100000, 100000);
    run_for(5 * ENV_MS);
    env_stream_pause(d.server.stream, false);
    run();
    UNIT_UINT(d.server.got, 10);
    UNIT_INT(d.server.code, E_CLOSED);
    door_close(&d);
    end();
}

static void close_waits_for_a_second_only(void)
{
    struct door d = {.accepted = 0};
    struct side c = {.closed = false};
    begin();
    pair_open(&d, &c);
    env_stream_pause(d.server.stream, true);
    write_pattern(&c, 32 << 20, 32 << 20);
    uint64_t start = env_now(env);
    size_t fds = fd_count();
    side_close(&c);
    run_for(500 * ENV_MS);
    UNIT_UINT(fd_count(), fds);
    while (fd_count() == fds && env_now(env) - start < 5 * ENV_S) {
        run_for(10 * ENV_MS);
    }
    uint64_t took = env_now(env) - start;
    UNIT_TRUE(took >= 990 * ENV_MS && took < 3 * ENV_S);
    side_close(&d.server);
    door_close(&d);
    end();
}

static void local_socket_file(void)
{
    struct env_addr addr = {.is_path = true};
    struct env_listener *first, *second;
    struct errmsg em = {""};
    struct stat st;
    begin();
    snprintf(addr.host, sizeof addr.host, "%s/l.sock", unit_tmpdir());
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s/l.sock", unit_tmpdir());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    UNIT_INT(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd); /* left behind, dead */
    UNIT_INT(env_listen(env, &addr, door_accepted, NULL, &first, &em), 0);
    UNIT_INT(stat(addr.host, &st), 0);
    UNIT_UINT(st.st_mode & 07777, 0660);
    UNIT_INT(env_listen(env, &addr, door_accepted, NULL, &second, &em), E_BUSY);
    UNIT_TRUE(second == NULL);
    UNIT_INT(stat(addr.host, &st), 0);
    env_listener_close(first);
    UNIT_TRUE(stat(addr.host, &st) != 0);
    fd = open(addr.host, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    UNIT_INT(env_listen(env, &addr, door_accepted, NULL, &first, &em), E_EXISTS);
    UNIT_INT(unlink(addr.host), 0);
    end();
}

static void listen_fails_with_a_reason(void)
{
    struct door d = {.accepted = 0};
    struct env_listener *second;
    struct env_addr odd = {.host = "no-such-host.invalid", .port = 1},
                    not_ours = {.host = "192.0.2.1", .port = 1};
    struct errmsg em = {""};
    char expect[400], where[300];
    begin();
    door_open(&d, "127.0.0.1");
    UNIT_INT(env_listen(env, &d.addr, door_accepted, NULL, &second, &em), E_IO);
    env_addr_format(&d.addr, where, sizeof where);
    snprintf(expect, sizeof expect, "cannot listen on %s: Address already in use", where);
    UNIT_STR(em.text, expect);
    UNIT_INT(env_listen(env, &odd, door_accepted, NULL, &second, &em), E_NOTFOUND);
    UNIT_INT(env_listen(env, &not_ours, door_accepted, NULL, &second, &em), E_IO);
    UNIT_STR(em.text, "cannot listen on 192.0.2.1:1: Cannot assign requested address");
    door_close(&d);
    end();
}

static void accepting_rests_without_descriptors(void)
{
    struct door d = {.server = {.close_in = 'e'}};
    struct side c = {.closed = false};
    struct rlimit limit, none;
    begin();
    door_open(&d, "127.0.0.1");
    dial(&c, &d.addr);
    int lowest = dup(0);
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = (rlim_t)lowest;
    UNIT_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_for(50 * ENV_MS);
    UNIT_TRUE(c.connected);
    UNIT_UINT(d.accepted, 0);
    UNIT_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    WAIT_FOR(d.server.stream != NULL);
    UNIT_UINT(d.accepted, 1);
    side_close(&c);
    WAIT_FOR(d.server.closed);
    door_close(&d);
    end();
}

UNIT_MAIN("env_uv_stream", UNIT_TEST(echo_tcp), UNIT_TEST(echo_by_name), UNIT_TEST(echo_ipv6_any),
          UNIT_TEST(echo_local), UNIT_TEST(listens_on_a_name), UNIT_TEST(pause_pushes_back),
          UNIT_TEST(drained_comes_for_small_writes_too), UNIT_TEST(close_inside_callbacks),
          UNIT_TEST(connect_fails_with_a_reason), UNIT_TEST(second_address_is_tried),
          UNIT_TEST(close_while_connecting), UNIT_TEST(closed_stream_stays_until_closed_by_owner),
          UNIT_TEST(message_that_failed_closes), UNIT_TEST(close_sends_what_was_written),
          UNIT_TEST(last_words_survive_a_talking_peer), UNIT_TEST(close_waits_for_a_second_only),
          UNIT_TEST(local_socket_file), UNIT_TEST(listen_fails_with_a_reason),
          UNIT_TEST(accepting_rests_without_descriptors))
