/* bench_serve: what it costs to serve replicas that catch up, and what slow ones cost.
 *
 *     bench_serve [MIB [SLOW]]       a log of MIB mebibytes (1024) in files of 256; SLOW replicas (200) that read nothing
 *
 * Replicas are processes of their own with plain sockets, over TCP on 127.0.0.1; they read to the end of the log by file
 * and position and throw it away. Said are: MB/s of all together, read and write calls of the server for each MB (from
 * /proc/self/io: preads, and writes to sockets), its processor time, its resident memory before and while slow ones hang.
 * Works in a new directory below TMPDIR (/tmp) and leaves nothing there. */
#include "node/env_uv.h"
#include "node/serve.h"
#include "protocol/auth_client.h"
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/wire.h"
#include "storage/store.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROW_BYTES = 8000, ROWS = 10, HEAD_TYPES = 41, FILE_MIB = 256, REPLICAS_MAX = 64, POLL_MS = 20 };

static struct env *env;
static struct store *store;
static uint64_t at_index, gno, log_bytes;
static uint16_t port;

/* ---- the log ------------------------------------------------------------------------------------------- */

static size_t begin_event(struct buf *b, uint8_t type)
{
    size_t at = b->len;
    buf_u32(b, 1700000000);
    buf_u8(b, type);
    buf_u32(b, 1);
    buf_zero(b, 10);
    return at;
}

static void end_event(struct buf *b, size_t at, uint64_t base)
{
    buf_u32(b, 0);
    buf_put_u32(b, at + 9, (uint32_t)(b->len - at));
    buf_put_u32(b, at + 13, (uint32_t)(base + b->len));
    event_crc_set(b->data + at, b->len - at);
}

static void put_head(struct buf *b)
{
    char version[50] = "8.4.0";
    uint8_t lengths[HEAD_TYPES] = {0};
    lengths[EVENT_QUERY - 1] = 13;
    lengths[EVENT_FORMAT_DESCRIPTION - 1] = 57 + HEAD_TYPES;
    lengths[EVENT_GTID - 1] = 42;
    size_t at = begin_event(b, EVENT_FORMAT_DESCRIPTION);
    buf_u16(b, 4);
    buf_bytes(b, version, sizeof version);
    buf_u32(b, 0);
    buf_u8(b, EVENT_HEADER_SIZE);
    buf_bytes(b, lengths, sizeof lengths);
    buf_u8(b, CHECKSUM_CRC32);
    end_event(b, at, STORE_MAGIC);
}

/* GTID, BEGIN, rows in events of 8 kB as servers cut them, XID. */
static void put_txn(struct buf *b, uint64_t base, struct store_txn *txn)
{
    txn->gtid = (struct gtid){.flavour = FLAVOUR_MYSQL, .gno = ++gno};
    memset(txn->gtid.uuid, 0x3f, sizeof txn->gtid.uuid);
    size_t at = begin_event(b, EVENT_GTID);
    buf_u8(b, 0);
    buf_bytes(b, txn->gtid.uuid, sizeof txn->gtid.uuid);
    buf_u64(b, gno);
    buf_u8(b, 2);
    buf_u64(b, gno - 1);
    buf_u64(b, gno);
    end_event(b, at, base);
    at = begin_event(b, EVENT_QUERY);
    buf_zero(b, 13);
    buf_u8(b, 0);
    buf_str(b, "BEGIN");
    end_event(b, at, base);
    for (int i = 0; i < ROWS; i++) {
        at = begin_event(b, EVENT_WRITE_ROWS);
        buf_zero(b, ROW_BYTES);
        end_event(b, at, base);
    }
    at = begin_event(b, EVENT_XID);
    buf_u64(b, gno);
    end_event(b, at, base);
    txn->end = base + b->len;
}

static void stop(void *arg)
{
    (void)arg;
    env_uv_stop(env);
}

static bool next_txn(struct cur *list, struct store_txn *last)
{
    if (cur_left(list) == 0) {
        return false;
    }
    cur_copy(list, last, sizeof *last);
    return true;
}

static void put_file(unsigned number, uint64_t size)
{
    struct buf bytes, txns;
    char name[32], text[96];
    uint64_t at = STORE_MAGIC;
    struct gtid_set *before = gtid_set_new(FLAVOUR_MYSQL);
    snprintf(text, sizeof text, "3f3f3f3f-3f3f-3f3f-3f3f-3f3f3f3f3f3f:1-%llu", (unsigned long long)gno);
    CHECK(gno == 0 || gtid_set_parse(before, text, strlen(text), NULL) == 0);
    snprintf(name, sizeof name, "bench-bin.%06u", number);
    buf_init(&bytes, 8 << 20);
    buf_init(&txns, 8 << 20);
    store_file(store, ++at_index, 0, 1, name, before);
    gtid_set_free(before);
    put_head(&bytes);
    while (at < size) {
        while (bytes.len < (1 << 20)) {
            struct store_txn txn;
            put_txn(&bytes, at, &txn);
            buf_bytes(&txns, &txn, sizeof txn);
        }
        CHECK(!bytes.err && !txns.err);
        struct store_txns list = {.list = cur_of(txns.data, txns.len), .next = next_txn};
        store_write_txns(store, ++at_index, at, bytes.data, bytes.len, at + bytes.len, &list, NULL, NULL);
        store_drain(store, stop, NULL);
        env_uv_run(env);
        at += bytes.len;
        buf_reset(&bytes);
        buf_reset(&txns);
    }
    log_bytes += at;
    buf_free(&bytes);
    buf_free(&txns);
}

/* ---- replicas: processes ------------------------------------------------------------------------------- */

static void push(int fd, struct wire *w)
{
    struct buf *out = wire_output(w);
    CHECK(out->len == 0 || send(fd, out->data, out->len, MSG_NOSIGNAL) == (ssize_t)out->len);
    buf_consume(out, out->len);
}

static void pull(int fd, struct wire *w, struct packet *p)
{
    uint8_t bytes[256]; /* a little, so that nothing of the stream is taken in */
    while (wire_next(w, p, NULL) <= 0) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        CHECK(n > 0 && wire_feed(w, bytes, (size_t)n, NULL) == 0);
    }
}

/* A dump from the beginning; its stream is what comes next on the socket. */
static int dump(uint32_t server_id, bool to_the_end)
{
    static const char set[] = "SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct client_auth_opts opts = {.user = "repl", .password = "secret"};
    struct binlog_dump d = {.server_id = server_id, .pos = 4, .flags = to_the_end ? DUMP_NON_BLOCK : 0};
    struct packet p;
    struct errmsg em;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rv = CLIENT_AUTH_MORE;
    CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    struct client_auth *a = client_auth_new(&opts);
    struct wire *w = wire_new(1 << 20);
    while (rv == CLIENT_AUTH_MORE) {
        pull(fd, w, &p);
        rv = client_auth_packet(a, w, &p, &em);
        push(fd, w);
    }
    CHECK(rv == CLIENT_AUTH_DONE);
    command_put_query(w, CAPS_CLIENT, set, sizeof set - 1);
    push(fd, w);
    pull(fd, w, &p);
    wire_seq_reset(w);
    command_put_binlog_dump(w, &d);
    push(fd, w);
    client_auth_free(a);
    wire_free(w);
    return fd;
}

static void read_all(uint32_t server_id, uint64_t at_least)
{
    static uint8_t bytes[1 << 20];
    int fd = dump(server_id, true);
    uint64_t all = 0;
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        all += (uint64_t)n;
    }
    _exit(all >= at_least ? 0 : 1);
}

/* Dumps that nobody reads, until the pipe closes. */
static void hang(unsigned n, int ready, int until)
{
    char c = 'r';
    for (unsigned i = 0; i < n; i++) {
        (void)dump(100000 + i, false);
    }
    CHECK(write(ready, &c, 1) == 1);
    (void)!read(until, &c, 1);
    _exit(0);
}

static pid_t fork_quietly(void)
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    return child;
}

/* ---- what is measured ---------------------------------------------------------------------------------- */

struct figures {
    uint64_t ns, reads, writes;
    double cpu;
};

static uint64_t io_figure(const char *name)
{
    char line[128];
    uint64_t value = 0;
    FILE *f = fopen("/proc/self/io", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (!strncmp(line, name, strlen(name))) {
            value = strtoull(line + strlen(name) + 2, NULL, 10);
        }
    }
    if (f) {
        fclose(f);
    }
    return value;
}

static struct figures now(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (struct figures){.ns = env_now(env),
                            .reads = io_figure("syscr"),
                            .writes = io_figure("syscw"),
                            .cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                                   (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6};
}

static unsigned long resident_kib(void)
{
    unsigned long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%lu %lu", &all, &pages) == 2);
    fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static void wake(struct env_timer *timer)
{
    (void)timer;
    env_uv_stop(env);
}

static void run_for(unsigned ms)
{
    struct env_timer t;
    CHECK(env_timer_open(env, &t, wake) == 0);
    env_timer_start(&t, ms * ENV_MS);
    env_uv_run(env);
    env_timer_close(&t);
}

static void catch_up(const char *what, unsigned replicas)
{
    pid_t child[REPLICAS_MAX];
    struct figures from = now();
    unsigned left = replicas;
    int status;
    for (unsigned i = 0; i < replicas; i++) {
        child[i] = fork_quietly();
        if (child[i] == 0) {
            read_all(i + 1, log_bytes);
        }
    }
    while (left > 0) {
        run_for(POLL_MS);
        for (unsigned i = 0; i < replicas; i++) {
            if (child[i] && waitpid(child[i], &status, WNOHANG) == child[i]) {
                CHECK(status == 0);
                child[i] = 0;
                left--;
            }
        }
    }
    struct figures to = now();
    double mb = (double)log_bytes * replicas / 1e6, s = (double)(to.ns - from.ns) / (double)ENV_S;
    printf("%-32s %6.0f MB/s  %5.2f reads and %5.2f writes for each MB  %.2f ms of processor for each MB  %lu KiB resident\n", what,
           mb / s, (double)(to.reads - from.reads) / mb, (double)(to.writes - from.writes) / mb, (to.cpu - from.cpu) * 1000 / mb,
           resident_kib());
}

static void with_slow_ones(unsigned slow)
{
    int ready[2], until[2];
    char c;
    CHECK(pipe(ready) == 0 && pipe(until) == 0);
    pid_t child = fork_quietly();
    if (child == 0) {
        close(until[1]);
        hang(slow, ready[1], until[0]);
    }
    unsigned long before = resident_kib();
    CHECK(fcntl(ready[0], F_SETFL, O_NONBLOCK) == 0);
    while (read(ready[0], &c, 1) != 1) {
        run_for(POLL_MS);
    }
    run_for(1000);
    char what[64];
    snprintf(what, sizeof what, "1 replica beside %u slow ones", slow);
    printf("%u slow ones: %lu KiB more resident, %lu each\n", slow, resident_kib() - before, (resident_kib() - before) / (slow ? slow : 1));
    catch_up(what, 1);
    close(until[1]);
    close(until[0]);
    close(ready[0]);
    close(ready[1]);
    CHECK(waitpid(child, NULL, 0) == child);
}

/* ---- the server ---------------------------------------------------------------------------------------- */

static void pick_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&at, n) && !getsockname(fd, (struct sockaddr *)&at, &n));
    close(fd);
    port = ntohs(at.sin_port);
}

static struct view *make_view(void)
{
    struct view *v = mem_new(sizeof *v);
    atomic_init(&v->refs, 1);
    v->node_id = 1;
    v->flavour = FLAVOUR_MYSQL;
    snprintf(v->version, sizeof v->version, "8.4.0-holdfast");
    snprintf(v->server_uuid, sizeof v->server_uuid, "11111111-2222-3333-4444-555555555555");
    v->server_id = 4711;
    v->n_users = 1;
    v->users = mem_array(1, sizeof *v->users);
    snprintf(v->users[0].name, sizeof v->users[0].name, "repl");
    snprintf(v->users[0].host, sizeof v->users[0].host, "%%");
    v->users[0].roles = ROLE_REPLICA;
    account_secret_set(&v->users[0].secret, "secret", 6);
    return v;
}

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    unsigned mib = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1024;
    unsigned slow = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 200;
    struct config config = {.workers = 2, .has_mysql_listen = true};
    struct control control = {.config = &config, .server_uuid = "11111111-2222-3333-4444-555555555555", .server_id = 4711};
    struct errmsg em = {""};
    struct serve *serve;
    setvbuf(stdout, NULL, _IOLBF, 0);
    pick_port();
    env = env_uv_main(ENV_WARN);
    CHECK(env);
    control.loop = env;
    snprintf(config.mysql_listen.host, sizeof config.mysql_listen.host, "127.0.0.1");
    config.mysql_listen.port = port;
    char *dir = mem_printf("%s/bench_serve.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir) || store_open(env, dir, &store, &em)) {
        fprintf(stderr, "%s: %s\n", dir, em.text);
        return 1;
    }
    for (unsigned i = 0; i * FILE_MIB < mib; i++) {
        put_file(i + 1, ((uint64_t)mib - i * FILE_MIB < FILE_MIB ? mib - i * FILE_MIB : FILE_MIB) << 20);
    }
    struct view *view = make_view();
    CHECK(serve_open(&control, store, view, &serve, &em) == 0);
    control.serve = serve;
    printf("a log of %llu MB, 2 workers, %ld processors\n", (unsigned long long)(log_bytes / 1000000), sysconf(_SC_NPROCESSORS_ONLN));
    catch_up("1 replica", 1);
    catch_up("8 replicas", 8);
    if (slow) {
        with_slow_ones(slow);
    }
    serve_close(serve, stop, NULL);
    env_uv_run(env);
    store_close(store, stop, NULL);
    env_uv_run(env);
    view_unref(view);
    env_uv_free(env);
    (void)nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(dir);
    return 0;
}
