/* env_uv_listen.c: listeners, and the connections they accept.
 *
 * Happy path: an address becomes one or more listening descriptors (a name may have several addresses); the
 * loop polls them; each connection is accepted as a bare descriptor, with the peer's address or, on a local
 * socket, the kernel's word on its user, and handed to the owner, who attaches it to any env. A name is
 * resolved while the caller waits: listeners are opened at start.
 *
 * A local socket's file: one that nobody listens on any more is removed, one with a listener is E_BUSY,
 * anything else E_EXISTS. Its mode is in force before listen(), so nobody can connect too early. The file
 * goes when the listener is closed, if it is still the same.
 *
 * Failure: listen's errors carry the address. When the process is out of descriptors, accepting rests for a
 * moment, as the connection that waits would wake the loop again and again. */
#include "node/env_uv_impl.h"
#include "protocol/base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_MAX = 8, BACKLOG = 512, ACCEPTS_AT_ONCE = 64, REST_MS = 100, PATH_MODE = 0660 };

struct listen_point {
    uv_poll_t poll;
    int fd;
    struct env_listener *listener;
};

struct env_listener {
    struct env_stream_head head;
    struct loop *loop;
    void (*accepted)(void *owner, struct env_socket *socket);
    void *owner;
    struct env_addr addr; /* as bound */
    struct listen_point points[LISTEN_MAX];
    size_t n;
    uv_timer_t rest;
    size_t handles; /* that libuv has not let go of */
    bool closed;
    dev_t dev; /* of the local socket's file */
    ino_t ino;
};

/* ---- accepting ------------------------------------------------------------------------------- */

void socket_close(struct env_socket *socket)
{
    if (socket->fd >= 0) {
        close(socket->fd);
    }
    mem_free(socket);
}

const struct env_peer *socket_peer(struct env_socket *socket)
{
    return &socket->peer;
}

static bool peer_of_path(int fd, struct env_peer *peer)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0 || len != sizeof cred) {
        return false;
    }
    peer->is_local = true;
    peer->uid = cred.uid;
    snprintf(peer->host, sizeof peer->host, "localhost");
    snprintf(peer->text, sizeof peer->text, "unix:uid=%u", (unsigned)cred.uid);
    return true;
}

static bool peer_of_tcp(const struct sockaddr_storage *from, socklen_t len, struct env_peer *peer)
{
    struct env_addr addr = {.port = 0};
    char port[8];
    if (getnameinfo((const struct sockaddr *)from, len, addr.host, sizeof addr.host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return false;
    }
    if (strncmp(addr.host, "::ffff:", 7) == 0 && strchr(addr.host, '.')) { /* IPv4 on an IPv6 socket */
        memmove(addr.host, addr.host + 7, strlen(addr.host + 7) + 1);
    }
    addr.port = (uint16_t)strtoul(port, NULL, 10);
    memcpy(peer->host, addr.host, sizeof peer->host);
    env_addr_format(&addr, peer->text, sizeof peer->text);
    return true;
}

static void hand_over(struct env_listener *l, int fd, const struct sockaddr_storage *from, socklen_t len)
{
    struct env_socket *s = mem_new(sizeof *s);
    s->head.env = l->head.env;
    s->fd = fd;
    s->is_path = l->addr.is_path;
    if (s->is_path ? !peer_of_path(fd, &s->peer) : !peer_of_tcp(from, len, &s->peer)) {
        socket_close(s); /* without knowing who it is nobody comes in */
        return;
    }
    if (!s->is_path) {
        socket_tune(fd);
    }
    l->accepted(l->owner, s);
}

static void may_accept(uv_poll_t *poll, int status, int events);

static void rest_over(uv_timer_t *timer)
{
    struct env_listener *l = CONTAINER_OF(timer, struct env_listener, rest);
    for (size_t i = 0; i < l->n; i++) {
        uv_poll_start(&l->points[i].poll, UV_READABLE, may_accept);
    }
}

static void rest_start(struct env_listener *l, int error)
{
    env_log(l->head.env, ENV_WARN, "cannot accept, resting ms=%d why=\"%s\"", REST_MS, strerror(error));
    for (size_t i = 0; i < l->n; i++) {
        uv_poll_stop(&l->points[i].poll);
    }
    uv_timer_start(&l->rest, rest_over, REST_MS, 0);
}

static void may_accept(uv_poll_t *poll, int status, int events)
{
    struct listen_point *point = CONTAINER_OF(poll, struct listen_point, poll);
    struct env_listener *l = point->listener;
    (void)status; /* accept will say */
    (void)events;
    for (int i = 0; i < ACCEPTS_AT_ONCE && !l->closed; i++) { /* the owner may close the listener */
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd = accept4(point->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(l, fd, &from, len);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest_start(l, errno);
            return;
        } /* anything else is the trouble of one connection, which is gone */
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static void point_add(struct env_listener *l, int fd)
{
    l->points[l->n].fd = fd;
    l->points[l->n].listener = l;
    l->n++;
}

/* Makes way for a local socket at `un`. */
static int path_clear(const struct sockaddr_un *un, struct errmsg *em)
{
    struct stat st;
    if (lstat(un->sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : err_errno(em, errno, "cannot listen on %s", un->sun_path);
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(em, E_EXISTS, "cannot listen on %s: there is a file that is not a socket",
                       un->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_errno(em, errno, "cannot listen on %s", un->sun_path);
    }
    int rv = connect(fd, (const struct sockaddr *)un, sizeof *un);
    int error = errno;
    close(fd);
    if (rv == 0 || error == EAGAIN) { /* EAGAIN: its backlog is full */
        return err_set(em, E_BUSY, "cannot listen on %s: a process listens there", un->sun_path);
    }
    if (error != ECONNREFUSED) {
        return err_errno(em, error, "cannot listen on %s", un->sun_path);
    }
    if (unlink(un->sun_path) != 0 && errno != ENOENT) {
        return err_errno(em, errno, "cannot remove the old socket %s", un->sun_path);
    }
    return 0;
}

static int open_path(struct env_listener *l, struct errmsg *em)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(l->addr.host);
    if (len >= sizeof un.sun_path) {
        return err_set(em, E_INVALID, "cannot listen on %s: the path is longer than %zu bytes", l->addr.host,
                       sizeof un.sun_path - 1);
    }
    memcpy(un.sun_path, l->addr.host, len + 1);
    int rv = path_clear(&un, em);
    if (rv) {
        return rv;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_errno(em, errno, "cannot listen on %s", un.sun_path);
    }
    struct stat st;
    if (bind(fd, (const struct sockaddr *)&un, sizeof un) != 0 || chmod(un.sun_path, PATH_MODE) != 0 ||
        lstat(un.sun_path, &st) != 0 || listen(fd, BACKLOG) != 0) {
        rv = err_errno(em, errno, "cannot listen on %s", un.sun_path);
        close(fd);
        return rv;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    point_add(l, fd);
    return 0;
}

/* The port that the kernel chose, into l->addr. */
static void learn_port(struct env_listener *l, int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    if (l->addr.port == 0 && getsockname(fd, (struct sockaddr *)&ss, &len) == 0) {
        l->addr.port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&ss)->sin6_port
                                                      : ((struct sockaddr_in *)(void *)&ss)->sin_port);
    }
}

/* 0 or an errno. */
static int open_tcp(struct env_listener *l, const struct addrinfo *ai)
{
    struct sockaddr_storage ss;
    int on = 1;
    memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
    bool v6 = ai->ai_family == AF_INET6;
    if (v6) {
        ((struct sockaddr_in6 *)(void *)&ss)->sin6_port = htons(l->addr.port);
    } else {
        ((struct sockaddr_in *)(void *)&ss)->sin_port = htons(l->addr.port);
    }
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    /* "::" stands for IPv4 too */
    int v6only = v6 && !IN6_IS_ADDR_UNSPECIFIED(&((struct sockaddr_in6 *)(void *)&ss)->sin6_addr);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) != 0) ||
        bind(fd, (struct sockaddr *)&ss, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        close(fd);
        return error;
    }
    learn_port(l, fd);
    point_add(l, fd);
    return 0;
}

/* All addresses of the name; those of a family that this machine does not have are passed over if there is
 * another. */
static int open_host(struct env_listener *l, struct errmsg *em)
{
    char text[300];
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    int absent = EADDRNOTAVAIL, error = 0;
    env_addr_format(&l->addr, text, sizeof text);
    int rv = getaddrinfo(l->addr.host, NULL, &hints, &list);
    if (rv) {
        return err_set(em, E_NOTFOUND, "cannot listen on %s: %s", text, gai_strerror(rv));
    }
    for (const struct addrinfo *ai = list; ai && l->n < LISTEN_MAX && !error; ai = ai->ai_next) {
        error = open_tcp(l, ai);
        if (error == EADDRNOTAVAIL || error == EAFNOSUPPORT) {
            absent = error;
            error = 0;
        }
    }
    freeaddrinfo(list);
    if (!error && l->n == 0) {
        error = absent;
    }
    return error ? err_errno(em, error, "cannot listen on %s", text) : 0;
}

int listener_open(struct env *env, const struct env_addr *addr,
                  void (*accepted)(void *owner, struct env_socket *socket), void *owner,
                  struct env_listener **listener, struct errmsg *em)
{
    struct loop *loop = loop_of(env);
    loop_check(loop);
    *listener = NULL;
    struct env_listener *l = mem_new(sizeof *l);
    l->head.env = env;
    l->loop = loop;
    l->accepted = accepted;
    l->owner = owner;
    l->addr = *addr;
    loop->open++;
    int rv = addr->is_path ? open_path(l, em) : open_host(l, em);
    uv_timer_init(&loop->uv, &l->rest);
    l->handles = 1;
    for (size_t i = 0; i < l->n; i++) {
        CHECK(uv_poll_init(&loop->uv, &l->points[i].poll, l->points[i].fd) == 0);
        l->handles++;
        if (!rv) {
            CHECK(uv_poll_start(&l->points[i].poll, UV_READABLE, may_accept) == 0);
        }
    }
    if (rv) {
        listener_close(l);
        return rv;
    }
    *listener = l;
    return 0;
}

void listener_addr(struct env_listener *listener, struct env_addr *addr)
{
    *addr = listener->addr;
}

/* ---- closing --------------------------------------------------------------------------------- */

static void handle_closed(uv_handle_t *handle)
{
    struct env_listener *l = handle->data;
    if (--l->handles == 0) {
        mem_free(l);
    }
}

void listener_close(struct env_listener *listener)
{
    loop_check(listener->loop);
    listener->loop->open--;
    listener->closed = true;
    if (listener->addr.is_path && listener->n > 0) {
        struct stat st;
        if (lstat(listener->addr.host, &st) == 0 && st.st_dev == listener->dev &&
            st.st_ino == listener->ino) {
            (void)unlink(listener->addr.host);
        }
    }
    for (size_t i = 0; i < listener->n; i++) {
        listener->points[i].poll.data = listener;
        uv_close((uv_handle_t *)&listener->points[i].poll, handle_closed);
        close(listener->points[i].fd); /* uv_close has taken it out of the poll set */
    }
    listener->rest.data = listener;
    uv_close((uv_handle_t *)&listener->rest, handle_closed);
}
