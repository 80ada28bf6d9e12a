/* test_connections.c: ten thousand connections from another process, half of which log in, some of which dump; all of
 * them dropped at random. Sessions, descriptors and memory must be back afterwards.
 *
 * The clients live in a child with plain blocking sockets, so that each side has its own descriptors. It says by a
 * pipe when a round is open and when it is closed. */
#include "tests/unit/serve_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_ALLOCATOR /* the sanitizers', which gives nothing back */
#endif

enum { WIDTH = 10000, ROUNDS = 3, LEAST = 1000, OWN_DESCRIPTORS = 200, LIMIT_WANTED = 24000 };
enum { KEPT = 2 }; /* the newest file and its index, which storage opens a moment after the node has begun to serve */

/* ---- the clients: a process of its own ---- */

struct crowd {
    uint16_t port;
    size_t n, logged_in, dumping;
    int *fds;
    uint64_t seed;
    int say, hear; /* pipes */
};

static uint32_t any(struct crowd *c, uint32_t below)
{
    c->seed = c->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(c->seed >> 33) % below;
}

/* The first one comes before the server listens. */
static int dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int try = 0; try < 1000; try++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || !connect(fd, (const struct sockaddr *)&to, sizeof to)) {
            return fd;
        }
        close(fd);
        usleep(10000);
    }
    return -1;
}

static bool push(int fd, struct wire *w)
{
    struct buf *out = wire_output(w);
    bool sent = out->len == 0 || send(fd, out->data, out->len, MSG_NOSIGNAL) == (ssize_t)out->len;
    buf_consume(out, out->len);
    return sent;
}

/* The next packet, or NULL when the server went away. */
static const struct packet *pull(int fd, struct wire *w, struct packet *p)
{
    uint8_t bytes[4096];
    while (wire_next(w, p, NULL) <= 0) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0 || wire_feed(w, bytes, (size_t)n, NULL)) {
            return NULL;
        }
    }
    return p;
}

static bool log_in(int fd, bool dump)
{
    struct client_auth_opts opts = {.user = "repl", .password = "secret"};
    struct client_auth *a = client_auth_new(&opts);
    struct wire *w = wire_new(1 << 20);
    struct packet p;
    struct errmsg em;
    int rv = CLIENT_AUTH_MORE;
    while (rv == CLIENT_AUTH_MORE && pull(fd, w, &p)) {
        rv = client_auth_packet(a, w, &p, &em);
        rv = push(fd, w) ? rv : E_CLOSED;
    }
    if (rv == CLIENT_AUTH_DONE && dump) {
        static const char set[] = "SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'";
        struct binlog_dump d = {.server_id = 1000 + (uint32_t)fd, .pos = 4, .file = "mysql-bin.000001"};
        command_put_query(w, CAPS_CLIENT, set, sizeof set - 1);
        rv = push(fd, w) && pull(fd, w, &p) ? CLIENT_AUTH_DONE : E_CLOSED;
        wire_seq_reset(w);
        command_put_binlog_dump(w, &d);
        rv = push(fd, w) && pull(fd, w, &p) ? rv : E_CLOSED; /* the first event; the others are not read */
    }
    client_auth_free(a);
    wire_free(w);
    return rv == CLIENT_AUTH_DONE;
}

static void open_all(struct crowd *c)
{
    c->logged_in = c->dumping = 0;
    for (size_t i = 0; i < c->n; i++) {
        c->fds[i] = dial(c->port);
        bool enters = any(c, 2), dumps = enters && any(c, 8) == 0;
        if (c->fds[i] < 0 || (enters && !log_in(c->fds[i], dumps))) {
            fprintf(stderr, "client %zu cannot get in\n", i);
            _exit(1);
        }
        c->logged_in += enters;
        c->dumping += dumps;
    }
}

/* In any order; some without a farewell that TCP would carry. */
static void drop_all(struct crowd *c)
{
    for (size_t left = c->n; left > 0; left--) {
        size_t i = any(c, (uint32_t)left);
        if (any(c, 4) == 0) {
            struct linger at_once = {.l_onoff = 1};
            setsockopt(c->fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        close(c->fds[i]);
        c->fds[i] = c->fds[left - 1];
    }
}

static void crowd_run(struct crowd *c)
{
    char go;
    for (int round = 0; round < ROUNDS; round++) {
        open_all(c);
        size_t told[2] = {c->logged_in, c->dumping};
        if (write(c->say, told, sizeof told) != sizeof told || read(c->hear, &go, 1) != 1) {
            _exit(2);
        }
        drop_all(c);
        if (read(c->hear, &go, 1) != 1) {
            _exit(2);
        }
    }
    _exit(0);
}

/* ---- the server ---- */

static size_t rss_kb(void)
{
    char line[128];
    size_t kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (!strncmp(line, "VmRSS:", 6)) {
            kb = strtoul(line + 6, NULL, 10);
        }
    }
    if (f) {
        fclose(f);
    }
    return kb;
}

/* How many of our sockets notice a peer that vanishes: keep-alive probes, and an end to sending again. */
static size_t watched(size_t fds)
{
    size_t n = 0;
    for (int fd = 3; fd < (int)fds + 100; fd++) {
        int alive = 0;
        unsigned ms = 0;
        socklen_t size = sizeof alive, ms_size = sizeof ms;
        n += !getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &alive, &size) && alive &&
             !getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, &ms_size) && ms >= 1000 && ms <= 120000;
    }
    return n;
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    UNIT_REQUIRE(fd >= 0 && !bind(fd, (struct sockaddr *)&at, n) && !getsockname(fd, (struct sockaddr *)&at, &n));
    close(fd);
    return ntohs(at.sin_port);
}

/* How many connections this machine allows here. */
static size_t width(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max > LIMIT_WANTED ? LIMIT_WANTED : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < OWN_DESCRIPTORS) {
        return 0;
    }
    size_t max = (limit.rlim_cur - OWN_DESCRIPTORS) / 2; /* the server keeps as many for files */
    return max < WIDTH ? max : WIDTH;
}

/* May be asked again: what came once stays. */
static bool told(int fd, size_t what[2])
{
    return what[1] || read(fd, what, 2 * sizeof *what) == 2 * sizeof *what;
}

static pid_t crowd_start(struct crowd *c, int *from, int *to)
{
    int up[2], down[2];
    UNIT_REQUIRE(pipe(up) == 0 && pipe(down) == 0);
    fflush(NULL);
    pid_t child = fork();
    UNIT_REQUIRE(child >= 0);
    if (child == 0) {
        close(up[0]);
        close(down[1]);
        c->say = up[1];
        c->hear = down[0];
        crowd_run(c);
    }
    close(up[1]);
    close(down[0]);
    *from = up[0];
    *to = down[1];
    UNIT_REQUIRE(fcntl(*from, F_SETFL, O_NONBLOCK) == 0);
    return child;
}

static void ten_thousand_come_and_go(void)
{
    struct crowd c = {.n = width(), .seed = unit_seed() + 77, .port = free_port()};
    int from, to, status = 1;
    size_t rss[ROUNDS], fds, before;
    if (c.n < LEAST) {
        UNIT_SKIP("the limit of open files (ulimit -n) is too low");
    }
    c.fds = mem_array(c.n, sizeof *c.fds);
    pid_t child = crowd_start(&c, &from, &to); /* before there are threads; it waits until the port answers */
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 1);
    put_files(0, 1);
    node.config.has_mysql_listen = true;
    snprintf(node.config.mysql_listen.host, sizeof node.config.mysql_listen.host, "127.0.0.1");
    node.config.mysql_listen.port = c.port;
    node_serve();
    WAIT_FOR(idle());
    fds = fd_count();
    before = rss_kb();
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t began = env_now(env);
        size_t in[2] = {0};
        WAIT_FOR(told(from, in));
        UNIT_UINT(serve_sessions(node.serve), c.n);
        size_t open = fd_count(), peak = rss_kb();
        UNIT_TRUE(open >= fds + c.n);
        UNIT_UINT(watched(open), c.n);
        UNIT_TRUE(write(to, "g", 1) == 1);
        WAIT_FOR(serve_sessions(node.serve) == 0);
        WAIT_FOR(fd_count() <= fds + KEPT);
        rss[round] = rss_kb();
        UNIT_TRUE(write(to, "g", 1) == 1);
#ifndef OWN_ALLOCATOR
        UNIT_TRUE(rss[round] < before + (peak - before) / 4 + 4096);
#endif
        printf("# round %d: %zu connections, %zu logged in, %zu dump: %zu descriptors, %zu kB (%zu, %zu kB before); then %zu, %zu kB; "
               "%llu ms\n",
               round + 1, c.n, in[0], in[1], open, peak, fds, before, fd_count(), rss[round],
               (unsigned long long)((env_now(env) - began) / ENV_MS));
    }
    UNIT_TRUE(waitpid(child, &status, 0) == child);
    UNIT_INT(status, 0);
    mem_free(c.fds);
    node_end();
    close(from);
    close(to);
}

UNIT_MAIN("connections", UNIT_TEST(ten_thousand_come_and_go))
