/*
 * fake_node: see fake_node.h. One connection after the other; blocking. The parent's copies of the listening
 * socket are closed; the child ends by SIGKILL.
 */
#include "tests/unit/fake_node.h"

#include "protocol/auth_server.h"
#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/result.h"
#include "protocol/tls.h"
#include "protocol/wire.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MAX = 32 };

struct server {
    const struct fake_answer *answers;
    size_t n;
    bool tcp;
    struct tls_ctx *tls;
    const char *log;
};

static void flush(int fd, struct wire *w)
{
    struct buf *out = wire_output(w);
    while (out->len) {
        ssize_t n = send(fd, out->data, out->len, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        buf_consume(out, (size_t)n);
    }
}

static bool next(int fd, struct wire *w, struct packet *p)
{
    uint8_t chunk[4096];
    for (;;) {
        int rv = wire_next(w, p, NULL);
        flush(fd, w);
        if (rv) {
            return rv == 1;
        }
        ssize_t n = recv(fd, chunk, sizeof chunk, 0);
        if (n <= 0) {
            return false;
        }
        wire_feed(w, chunk, (size_t)n, NULL);
    }
}

static int lookup(void *arg, const char *user, struct account_secret *out)
{
    (void)arg;
    account_secret_set(out, "secret", 6);
    return strcmp(user, "ops") == 0 ? 0 : -4;
}

static void note(const char *path, const char *text, size_t n)
{
    FILE *file = fopen(path, "a");
    for (size_t i = 0; file && i < n; i++) {
        fputc(text[i] == '\n' ? ' ' : text[i], file);
    }
    if (file) {
        fputc('\n', file);
        fclose(file);
    }
}

static void put_rows(struct wire *w, uint32_t caps, const char *answer)
{
    struct column columns[COLUMNS_MAX] = {{0}};
    size_t ncols = 0;
    char *text = mem_str(answer), *lines = text, *line = strsep(&lines, "\n"), *cell;
    while ((cell = strsep(&line, "\t"))) {
        size_t n = strlen(cell);
        bool number = n && cell[n - 1] == '#';
        cell[n - number] = 0;
        if (number) {
            columns[ncols++] = (struct column)COLUMN_U64(cell);
        } else {
            columns[ncols++] = (struct column)COLUMN_TEXT(cell, 64);
        }
    }
    struct rowset rs;
    rowset_begin(&rs, w, caps, columns, ncols);
    while ((line = strsep(&lines, "\n"))) {
        rowset_row(&rs);
        while ((cell = strsep(&line, "\t"))) {
            rowset_str(&rs, strcmp(cell, "\\N") == 0 ? NULL : cell);
        }
    }
    rowset_end(&rs);
    mem_free(text);
}

/* False: the connection ends. */
static bool put_answer(struct wire *w, uint32_t caps, const char *answer)
{
    if (strncmp(answer, "OK", 2) == 0) {
        struct ok_info ok = {.status = STATUS_AUTOCOMMIT,
                             .warnings = (uint16_t)strtoul(answer + 2, NULL, 10)};
        put_ok_info(w, caps, &ok);
    } else if (strncmp(answer, "ERR ", 4) == 0) {
        char *text;
        unsigned code = (unsigned)strtoul(answer + 4, &text, 10);
        put_err_text(w, code, NULL, text + 1);
    } else if (strcmp(answer, "HANG") == 0) {
        for (;;) {
            pause();
        }
    } else if (strcmp(answer, "CLOSE") == 0) {
        return false;
    } else {
        put_rows(w, caps, answer);
    }
    return true;
}

static const char *find_answer(const struct server *s, const char *text, size_t n)
{
    for (size_t i = 0; i < s->n; i++) {
        size_t length = strlen(s->answers[i].sql);
        if (length <= n && strncasecmp(s->answers[i].sql, text, length) == 0) {
            return s->answers[i].answer;
        }
    }
    return "ERR 1064 You have an error in your SQL syntax";
}

static void commands(const struct server *s, int fd, struct wire *w, uint32_t caps)
{
    struct packet p;
    const char *text;
    size_t n;
    for (;;) {
        wire_seq_reset(w);
        if (!next(fd, w, &p) || packet_kind(&p) != COM_QUERY || command_query(&p, caps, &text, &n, NULL)) {
            return;
        }
        note(s->log, text, n);
        if (!put_answer(w, caps, find_answer(s, text, n))) {
            return;
        }
        flush(fd, w);
    }
}

static void session(const struct server *s, int fd)
{
    struct server_auth_opts opts = {
        .version = "9.7.0-holdfast",
        .thread_id = 7,
        .salt = "abcdefghijklmnopqrst",
        .tls = s->tls,
        .peer_host = "localhost",
        .is_local = !s->tcp,
        .admit_root = !s->tcp,
        .lookup = lookup,
    };
    struct wire *w = wire_new(1 << 20);
    struct server_auth *auth = server_auth_new(&opts);
    struct packet p;
    int rv = SERVER_AUTH_MORE;
    server_auth_start(auth, w);
    while (rv == SERVER_AUTH_MORE && next(fd, w, &p)) {
        rv = server_auth_packet(auth, w, &p, NULL);
        flush(fd, w);
    }
    if (rv == SERVER_AUTH_DONE) {
        commands(s, fd, w, server_auth_result(auth)->caps);
    }
    server_auth_free(auth);
    wire_free(w);
}

static struct tls_ctx *own_tls(const char *certificate)
{
    const char *const names[] = {"127.0.0.1"};
    struct buf cert, key;
    struct errmsg em;
    buf_init(&cert, 65536);
    buf_init(&key, 65536);
    UNIT_REQUIRE(tls_self_signed(names, 1, time(NULL), 1, &cert, &key, &em) == 0);
    struct tls_files files = {.cert = buf_cstr(&cert), .key = buf_cstr(&key)};
    struct tls_ctx *tls = tls_server_ctx(&files, &em);
    UNIT_REQUIRE(tls != NULL);
    FILE *file = fopen(certificate, "w");
    UNIT_REQUIRE(file != NULL);
    fputs(buf_cstr(&cert), file);
    fclose(file);
    buf_free(&cert);
    buf_free(&key);
    return tls;
}

static int listen_on(struct fake_node *node, bool tcp)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t n = sizeof in;
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    UNIT_REQUIRE(fd >= 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%.100s", node->socket);
    UNIT_REQUIRE(
        bind(fd, tcp ? (struct sockaddr *)&in : (struct sockaddr *)&un, tcp ? sizeof in : sizeof un) == 0);
    UNIT_REQUIRE(listen(fd, 8) == 0);
    if (tcp) {
        UNIT_REQUIRE(getsockname(fd, (struct sockaddr *)&in, &n) == 0);
        node->port = ntohs(in.sin_port);
    }
    return fd;
}

void fake_node_start(struct fake_node *node, const struct fake_answer *answers, size_t n, bool tcp,
                     const char *certificate)
{
    static unsigned count;
    *node = (struct fake_node){0};
    snprintf(node->socket, sizeof node->socket, "%.80s/s%u", unit_tmpdir(), ++count);
    snprintf(node->log, sizeof node->log, "%.80s/log%u", unit_tmpdir(), count);
    struct server s = {.answers = answers, .n = n, .tcp = tcp, .log = node->log};
    s.tls = certificate ? own_tls(certificate) : NULL;
    int fd = listen_on(node, tcp);
    node->pid = fork();
    UNIT_REQUIRE(node->pid >= 0);
    while (node->pid == 0) {
        int one = accept(fd, NULL, NULL);
        if (one >= 0) {
            session(&s, one);
            close(one);
        }
    }
    close(fd);
    tls_ctx_free(s.tls);
}

void fake_node_stop(struct fake_node *node)
{
    kill(node->pid, SIGKILL);
    waitpid(node->pid, NULL, 0);
    unlink(node->socket);
    unlink(node->log);
}

char *fake_node_log(const struct fake_node *node)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    int fd = open(node->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : 1;
    while (n > 0) {
        uint8_t *to = buf_reserve(&b, 4096);
        n = to ? read(fd, to, 4096) : -1;
        b.len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    char *text = mem_str(buf_cstr(&b));
    buf_free(&b);
    return text;
}
