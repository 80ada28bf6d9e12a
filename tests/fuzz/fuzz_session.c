/* fuzz_session: a node's serving part, from a connection's first byte to its end: login, commands, dumps.
 *
 * Input: flags (one byte: flavour, how to log in), then steps: an operation (one byte) and what it is about. A
 * client sends packets, or bytes as they are; reads or does not; time passes; the session is killed; the accounts
 * change; the node ends. There is a log of a few transactions, one of them large. What the loop would answer is
 * answered with OK or an error. Properties: what is sent are packets; what waits for a client that does not read is
 * bounded; when the client has gone nothing is left. */
#include "node/control.h"
#include "node/serve.h"
#include "node/worker.h"
#include "protocol/auth_client.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"
#include "tests/fuzz/memory_net.h"

enum { MARIADB = 1, LOCAL = 2, LOGGED_IN = 4, REPLICA = 8 };
enum { STEPS_MAX = 64, QUEUE = 64 << 10, ANSWERS = (1 << 20) + (1 << 16), LARGE = 100 << 10, TYPES = 35 };

static const char UUID[] = "85a05a83-e51f-11f1-a45c-02fc00000001";

static struct rig {
    struct env *env, answers; /* `answers`: where statements for the loop go */
    struct env_ops answer_ops;
    struct config config;
    struct control control;
    struct store *store;
    struct view *view;
    struct serve *serve;
    struct memory_peer *peer;
    struct wire *in; /* what the client is sent */
    unsigned asked;
    bool closing, serve_closed, store_closed;
} rig;

/* ---- the log ------------------------------------------------------------------------------------------- */

static void put_event(struct buf *b, uint8_t type, const void *body, size_t n)
{
    size_t at = b->len, size = n + EVENT_HEADER_SIZE + EVENT_CRC_SIZE;
    buf_u32(b, 1);
    buf_u8(b, type);
    buf_u32(b, 1);
    buf_u32(b, (uint32_t)size);
    buf_u32(b, (uint32_t)(at + size));
    buf_u16(b, 0);
    buf_bytes(b, body, n);
    buf_u32(b, 0);
    event_crc_set(b->data + at, size);
}

static void put_head(struct buf *b)
{
    struct buf body;
    char version[50] = "5.6.24";
    uint8_t lengths[TYPES] = {
        [EVENT_QUERY - 1] = 13, [EVENT_FORMAT_DESCRIPTION - 1] = 57 + TYPES, [EVENT_GTID - 1] = 25};
    buf_init(&body, 4096);
    buf_u16(&body, 4);
    buf_bytes(&body, version, sizeof version);
    buf_u32(&body, 0);
    buf_u8(&body, EVENT_HEADER_SIZE);
    buf_bytes(&body, lengths, sizeof lengths);
    buf_u8(&body, CHECKSUM_CRC32);
    put_event(b, EVENT_FORMAT_DESCRIPTION, body.data, body.len);
    buf_free(&body);
}

static void put_log(void)
{
    static uint8_t query[LARGE];
    struct buf b, gtid;
    buf_init(&b, 1 << 20);
    buf_init(&gtid, 256);
    buf_str(&b, EVENT_MAGIC);
    put_head(&b);
    for (uint64_t i = 1; i <= 4; i++) {
        buf_reset(&gtid);
        buf_u8(&gtid, 0);
        buf_zero(&gtid, 16);
        buf_u64(&gtid, i);
        put_event(&b, EVENT_GTID, gtid.data, gtid.len);
        put_event(&b, EVENT_QUERY, query, i == 3 ? LARGE : 40);
    }
    store_file(rig.store, 1, 0, 1, "bin.000001", NULL);
    store_write(rig.store, 2, EVENT_MAGIC_SIZE, b.data + EVENT_MAGIC_SIZE, b.len - EVENT_MAGIC_SIZE, b.len, NULL, NULL);
    memory_env_run(rig.env);
    buf_free(&b);
    buf_free(&gtid);
}

/* ---- the node ------------------------------------------------------------------------------------------- */

static void answer(struct env *to, struct env_msg *msg)
{
    struct control_request *request = CONTAINER_OF(msg, struct control_request, msg);
    (void)to;
    reply_ok(&request->reply);
    if (rig.asked++ % 2) {
        reply_error(&request->reply, 1105, "HY000", "not here");
    }
    control_reply(request);
}

static struct view *new_view(unsigned flags, size_t n_users)
{
    static const char *const names[] = {"repl", "eye"};
    struct view *v = mem_new(sizeof *v);
    atomic_init(&v->refs, 1);
    v->node_id = 1;
    v->flavour = flags & MARIADB ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    snprintf(v->version, sizeof v->version, "%s", flags & MARIADB ? "10.11.19-MariaDB-holdfast" : "5.6.24-holdfast");
    snprintf(v->server_uuid, sizeof v->server_uuid, "%s", UUID);
    v->server_id = 4711;
    v->n_users = n_users;
    v->users = mem_array(2, sizeof *v->users);
    for (size_t i = 0; i < n_users; i++) {
        snprintf(v->users[i].name, sizeof v->users[i].name, "%s", names[i]);
        snprintf(v->users[i].host, sizeof v->users[i].host, "%%");
        v->users[i].roles = i == 0 ? ROLE_REPLICA | ROLE_MONITOR : ROLE_MONITOR;
        account_secret_set(&v->users[i].secret, "secret", 6);
    }
    return v;
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

static void begin(unsigned flags)
{
    struct errmsg em = {""};
    memset(&rig, 0, sizeof rig);
    rig.env = memory_env_new();
    rig.env->level = ENV_ERROR;
    rig.config.workers = 1;
    snprintf(rig.config.socket, sizeof rig.config.socket, "/s");
    rig.control = (struct control){.loop = rig.env, .config = &rig.config, .server_uuid = UUID, .server_id = 4711};
    (void)env_make_dir(rig.env, "/", "d", NULL);
    MUST(store_open(rig.env, "/d", &rig.store, &em) == 0);
    rig.view = new_view(flags, 2);
    put_log();
    MUST(serve_open(&rig.control, rig.store, rig.view, &rig.serve, &em) == 0);
    serve_set_limits(rig.serve, &(struct serve_limits){.queue_each = QUEUE});
    memory_env_run(rig.env);
    rig.answer_ops = *rig.env->ops;
    rig.answer_ops.post = answer;
    rig.answers = *rig.env;
    rig.answers.ops = &rig.answer_ops;
    rig.control.loop = &rig.answers;
    rig.in = wire_new((size_t)1 << 28);
    wire_seq_check(rig.in, false);
}

static void end(void)
{
    memory_peer_free(rig.peer);
    memory_env_run(rig.env);
    if (!rig.closing) {
        MUST(serve_sessions(rig.serve) == 0);
        MUST(serve_queued(rig.serve) == 0);
        serve_close(rig.serve, set_flag, &rig.serve_closed);
        memory_env_run(rig.env);
    }
    memory_pass(rig.env, 10 * ENV_S);
    memory_env_run(rig.env);
    MUST(rig.serve_closed);
    store_close(rig.store, set_flag, &rig.store_closed);
    memory_env_run(rig.env);
    MUST(rig.store_closed);
    MUST(atomic_load(&rig.view->refs) == 1);
    view_unref(rig.view);
    wire_free(rig.in);
    memory_env_free(rig.env);
}

/* ---- the client ------------------------------------------------------------------------------------------- */

static void look(void)
{
    struct packet p;
    struct errmsg em = {""};
    struct buf *got = memory_peer_got(rig.peer);
    MUST(memory_peer_waits(rig.peer) <= ANSWERS + 2 * QUEUE);
    MUST(wire_feed(rig.in, got->data, got->len, &em) == 0);
    buf_reset(got);
    int rv;
    while ((rv = wire_next(rig.in, &p, &em)) == 1) {
    }
    MUST(rv == 0);
}

static void settle(void)
{
    memory_env_run(rig.env);
    look();
}

/* As repl with the right password, or as root by the local socket. */
static void log_in(bool local)
{
    struct errmsg em = {""};
    struct client_auth_opts opts = {.user = local ? "root" : "repl", .password = "secret", .local = true};
    struct client_auth *auth = client_auth_new(&opts);
    struct wire *w = wire_new(1 << 20);
    int rv = 0;
    for (int i = 0; i < 10 && rv == 0; i++) {
        struct packet p;
        memory_env_run(rig.env);
        struct buf *got = memory_peer_got(rig.peer), *out;
        MUST(wire_feed(w, got->data, got->len, &em) == 0);
        buf_reset(got);
        while (rv == 0 && wire_next(w, &p, &em) == 1) {
            rv = client_auth_packet(auth, w, &p, &em);
        }
        out = wire_output(w);
        memory_peer_send(rig.peer, out->data, out->len);
        buf_reset(out);
    }
    MUST(rv == CLIENT_AUTH_DONE);
    client_auth_free(auth);
    wire_free(w);
    settle();
}

static void send_packet(const uint8_t *p, size_t n)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_u24(&b, (uint32_t)n);
    buf_u8(&b, 0);
    buf_bytes(&b, p, n);
    memory_peer_send(rig.peer, b.data, b.len);
    buf_free(&b);
}

static void send_query(const char *text)
{
    struct buf b;
    buf_init(&b, 4096);
    buf_u8(&b, COM_QUERY);
    buf_str(&b, text);
    send_packet(b.data, b.len);
    buf_free(&b);
}

static void step(struct cur *in, unsigned flags)
{
    enum { SEND_PACKET, SEND_QUERY, SEND_BYTES, READ, PASS, KILL, ACCOUNTS, CLOSE, OPERATIONS };
    unsigned operation = cur_u8(in) % OPERATIONS;
    size_t got, n = cur_u8(in);
    switch (operation) {
    case SEND_PACKET:
    case SEND_QUERY:
    case SEND_BYTES: {
        const uint8_t *p = fuzz_take(in, n | (size_t)cur_u8(in) % 4 << 8, &got);
        struct buf b;
        buf_init(&b, 1 << 16);
        if (operation == SEND_QUERY) {
            buf_u8(&b, COM_QUERY);
        }
        buf_bytes(&b, p, got);
        if (operation == SEND_BYTES) {
            memory_peer_send(rig.peer, b.data, b.len);
        } else {
            send_packet(b.data, b.len);
        }
        buf_free(&b);
        break;
    }
    case READ: memory_peer_reads(rig.peer, n % 2); break;
    case PASS: memory_pass(rig.env, (uint64_t)n * n * ENV_MS); break;
    case KILL:
        if (!rig.closing) {
            serve_kill(rig.serve, 1);
        }
        break;
    case ACCOUNTS: {
        struct view *v = new_view(flags, n % 3);
        if (!rig.closing) {
            serve_publish(rig.serve, v);
            memory_env_run(rig.env);
        }
        view_unref(v);
        break;
    }
    case CLOSE:
        if (!rig.closing) {
            rig.closing = true;
            serve_close(rig.serve, set_flag, &rig.serve_closed);
        }
        break;
    default: MUST(false);
    }
    settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    unsigned flags = cur_u8(&in);
    bool local = flags & LOCAL;
    struct env_peer who = {.is_local = local, .uid = 0};
    begin(flags);
    snprintf(who.text, sizeof who.text, "%s", local ? "unix:uid=0" : "10.0.0.7:1");
    snprintf(who.host, sizeof who.host, "%s", local ? "localhost" : "10.0.0.7");
    rig.peer = memory_dial(rig.env, &who);
    if (flags & LOGGED_IN) {
        log_in(local);
        wire_free(rig.in);
        rig.in = wire_new((size_t)1 << 28);
        wire_seq_check(rig.in, false);
    }
    if (flags & REPLICA) {
        send_query("SET @master_binlog_checksum = 'CRC32', @mariadb_slave_capability = 4, "
                   "@master_heartbeat_period = 1000000000");
    }
    settle();
    for (int i = 0; i < STEPS_MAX && cur_left(&in); i++) {
        step(&in, flags);
    }
    end();
    return 0;
}
