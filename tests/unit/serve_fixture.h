/* serve_fixture.h: a node's serving part over a store with sample files, and clients for it, for the tests of
 * serve.
 *
 * node_begin, load, put_files, node_serve; client_open, client_query, client_dump; node_end asserts that
 * nothing is left. The clients live on the loop's env and note what they are sent. To be included once in a
 * program. */
#ifndef TESTS_UNIT_SERVE_FIXTURE_H
#define TESTS_UNIT_SERVE_FIXTURE_H

#include "node/serve.h"
#include "protocol/auth_client.h"
#include "protocol/base/mem.h"
#include "protocol/command.h"
#include "protocol/event.h"
#include "protocol/result.h"
#include "protocol/wire.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_uv_fixture.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a node ---- */

enum { FILES_MAX = 8 };

static struct node {
    struct config config;
    struct control control;
    struct store *store;
    struct view *view;
    struct serve *serve;
    struct tls_ctx *tls, *client_tls;
    uint64_t index;
    struct binlog *files[FILES_MAX];
    size_t n_files;
    bool serve_closed, store_closed;
} node;

static const char UUID_OF_NODE[] = "11111111-2222-3333-4444-555555555555";

static inline void account(struct user_account *a, const char *name, const char *password, uint32_t roles)
{
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->host, sizeof a->host, "%%");
    a->roles = roles;
    account_secret_set(&a->secret, password, strlen(password));
}

static const char *view_version; /* NULL: a newer one of the flavour */

static inline struct view *new_view(enum flavour flavour)
{
    struct view *v = mem_new(sizeof *v);
    atomic_init(&v->refs, 1);
    v->node_id = 1;
    v->flavour = flavour;
    snprintf(v->version, sizeof v->version, "%s",
             view_version ? view_version : flavour == FLAVOUR_MARIADB ? "10.11.19-MariaDB-holdfast" : "9.7.4-holdfast");
    snprintf(v->server_uuid, sizeof v->server_uuid, "%s", UUID_OF_NODE);
    v->server_id = 4711;
    v->leader = true;
    v->n_users = 2;
    v->users = mem_array(v->n_users, sizeof *v->users);
    account(&v->users[0], "repl", "secret", ROLE_REPLICA);
    account(&v->users[1], "eye", "glass", ROLE_MONITOR);
    v->tls = tls_ctx_ref(node.tls);
    return v;
}

static inline void load(const char *dir, unsigned number)
{
    char name[32];
    snprintf(name, sizeof name, "mysql-bin.%06u", number);
    struct binlog *b = binlog_load(dir, name);
    UNIT_REQUIRE(b != NULL);
    node.files[node.n_files++] = b;
}

static inline void put_files(size_t from, size_t n)
{
    for (size_t i = from; i < from + n; i++) {
        binlog_put(node.store, node.files[i], 1, 3000, &node.index);
    }
}

static inline void note(void *arg)
{
    *(bool *)arg = true;
}

static inline bool idle(void)
{
    return store_pending(node.store) == 0;
}

static inline void node_begin(enum flavour flavour)
{
    static unsigned runs;
    struct errmsg em = {""};
    char dir[64];
    begin();
    memset(&node, 0, sizeof node);
    snprintf(dir, sizeof dir, "n%u", runs++);
    char *path = binlog_dir(dir);
    node.config.workers = 2;
    snprintf(node.config.socket, sizeof node.config.socket, "%s/s", path);
    node.control = (struct control){.loop = env,
                                    .config = &node.config,
                                    .server_uuid = UUID_OF_NODE,
                                    .server_id = 4711,
                                    .started_wall = env_wall(env)};
    UNIT_REQUIRE(store_open(env, path, &node.store, &em) == 0);
    mem_free(path);
    node.view = new_view(flavour);
}

static inline void node_serve(void)
{
    struct errmsg em = {""};
    int rv = serve_open(&node.control, node.store, node.view, &node.serve, &em);
    if (rv) {
        fprintf(stderr, "%s\n", em.text);
    }
    UNIT_REQUIRE(rv == 0);
    node.control.serve = node.serve;
}

static inline void node_end(void)
{
    if (node.serve) {
        serve_close(node.serve, note, &node.serve_closed);
        WAIT_FOR(node.serve_closed);
    }
    store_close(node.store, note, &node.store_closed);
    WAIT_FOR(node.store_closed);
    UNIT_UINT(atomic_load(&node.view->refs), 1);
    view_unref(node.view);
    tls_ctx_free(node.tls);
    tls_ctx_free(node.client_tls);
    for (size_t i = 0; i < node.n_files; i++) {
        binlog_free(node.files[i]);
    }
    end();
}

/* ---- a client ---- */

struct client {
    struct env_stream *stream;
    struct wire *wire;
    struct client_auth *auth;
    void (*raw)(struct client *c, const struct packet *p); /* takes all packets */
    bool in, refused, closed;
    struct result result;
    bool answered;
    int answer;
    /* dump */
    uint32_t id;
    bool dumping, semi_sync, ended, seq_ok, flagged;
    bool no_checksum; /* agreed on NONE */
    uint8_t seq;      /* the next */
    unsigned code;
    char message[512];
    struct buf stored; /* events that are not artificial, no heartbeats, no format descriptions */
    struct buf types;  /* of all, one byte each */
    unsigned n_stored, heartbeats, lists, rotates, formats;
    struct event_format format;
    char rotate_file[256]; /* of the last ROTATE of the server's own */
    uint64_t rotate_pos;
    size_t first_rotate_size;
    char heartbeat_file[256];
    uint64_t heartbeat_pos;
    uint32_t first_created; /* of the first format description */
    uint32_t first_log_pos;
    char last_list[200]; /* of the server's own GTID_LISTs */
    uint8_t last_list_flags;
    bool crc_ok;
    uint64_t bytes;
};

static inline void client_flush(struct client *c)
{
    struct buf *out = wire_output(c->wire);
    if (out->len && c->stream && !c->closed) {
        env_stream_write(c->stream, out);
    }
}

static inline void note_list(struct client *c, const uint8_t *event, size_t n)
{
    struct gtid_set *set = gtid_set_new(FLAVOUR_MARIADB);
    struct buf text;
    struct errmsg em;
    buf_init(&text, 4096);
    c->lists++;
    UNIT_INT(event_gtid_list_read(&c->format, event, n, set, &c->last_list_flags, &em), 0);
    gtid_set_print(set, &text);
    snprintf(c->last_list, sizeof c->last_list, "%s", buf_cstr(&text));
    buf_free(&text);
    gtid_set_free(set);
}

static inline void note_event(struct client *c, const uint8_t *event, size_t n)
{
    struct event_header h;
    struct event_rotate at;
    struct errmsg em;
    c->bytes += n;
    if (event_header_read(event, n, &h, &em)) {
        c->crc_ok = false;
        return;
    }
    buf_u8(&c->types, h.type);
    bool own = h.flags & EVENT_FLAG_ARTIFICIAL || h.type == EVENT_HEARTBEAT || h.type == EVENT_HEARTBEAT_V2;
    if (h.type == EVENT_FORMAT_DESCRIPTION) {
        c->crc_ok = c->crc_ok && event_format_read(event, n, &c->format, &em) == 0;
        c->first_created = c->formats ? c->first_created : c->format.created;
        c->first_log_pos = c->formats ? c->first_log_pos : h.log_pos;
        c->formats++;
    }
    if (event_crc_check(&c->format, event, n, &em)) {
        fprintf(stderr, "type %u: %s\n", h.type, em.text);
        c->crc_ok = false;
    }
    if (h.type == EVENT_ROTATE && own && event_rotate_read(&c->format, event, n, &at, &em) == 0) {
        c->first_rotate_size = c->rotates ? c->first_rotate_size : n;
        c->rotates++;
        memcpy(c->rotate_file, at.name, sizeof c->rotate_file);
        c->rotate_pos = at.pos;
    }
    if (h.type == EVENT_HEARTBEAT || h.type == EVENT_HEARTBEAT_V2) {
        c->heartbeats++;
        if (event_heartbeat_read(&c->format, event, n, &at, &em) == 0) {
            memcpy(c->heartbeat_file, at.name, sizeof c->heartbeat_file);
            c->heartbeat_pos = at.pos;
        }
    }
    if (h.type == EVENT_GTID_LIST && own) {
        note_list(c, event, n);
    }
    if (!own && h.type != EVENT_FORMAT_DESCRIPTION) {
        buf_bytes(&c->stored, event, n);
        c->n_stored++;
    }
}

static inline void take_stream(struct client *c, const struct packet *p)
{
    struct stream_packet s;
    struct errmsg em = {""};
    c->seq_ok = c->seq_ok && p->seq == c->seq;
    c->seq = (uint8_t)(p->seq + 1 + p->len / PACKET_FRAGMENT);
    if (stream_parse(p, c->semi_sync, &s, &em)) {
        snprintf(c->message, sizeof c->message, "%.500s", em.text);
        c->crc_ok = false;
    } else if (s.kind == STREAM_EVENT) {
        c->flagged = c->flagged || s.wants_ack;
        note_event(c, s.event, s.n);
    } else if (s.kind == STREAM_END) {
        c->ended = true;
    } else {
        c->code = s.code;
        memcpy(c->message, s.message, sizeof c->message);
    }
}

static inline void take_packet(struct client *c, const struct packet *p)
{
    struct errmsg em = {""};
    if (c->raw) {
        c->raw(c, p);
    } else if (c->auth) {
        int rv = client_auth_packet(c->auth, c->wire, p, &em);
        c->in = rv == CLIENT_AUTH_DONE;
        c->refused = rv < 0;
        if (c->refused) {
            c->code = client_auth_result(c->auth)->code;
        }
    } else if (c->dumping) {
        take_stream(c, p);
    } else {
        c->answer = result_packet(&c->result, CAPS_CLIENT, p, &em);
        c->answered = c->answer != RESULT_MORE;
    }
}

static inline void client_readable(void *owner, const uint8_t *data, size_t n)
{
    struct client *c = owner;
    struct packet p;
    struct errmsg em = {""};
    int rv = wire_feed(c->wire, data, n, &em);
    while (!c->in && !c->answered && !rv && (rv = wire_next(c->wire, &p, &em)) > 0) {
        take_packet(c, &p);
        rv = 0;
    }
    client_flush(c);
}

static inline void client_connected(void *owner)
{
    client_flush(owner);
}

static inline void client_closed(void *owner, int code, const char *why)
{
    (void)code;
    (void)why;
    ((struct client *)owner)->closed = true;
}

static const struct env_stream_handler handler = {
    .connected = client_connected, .readable = client_readable, .closed = client_closed};

static inline void client_connect(struct client *c, const struct client_auth_opts *opts,
                                  const struct env_addr *addr)
{
    *c = (struct client){.seq_ok = true, .crc_ok = true};
    c->wire = wire_new((size_t)1 << 30);
    result_init(&c->result, 1 << 20);
    buf_init(&c->stored, (size_t)1 << 30);
    buf_init(&c->types, 1 << 24);
    c->auth = client_auth_new(opts);
    UNIT_REQUIRE(env_connect(env, addr, &handler, c, &c->stream) == 0);
}

static inline void client_login(struct client *c, const char *user, const char *password)
{
    struct env_addr addr = {.is_path = true};
    struct client_auth_opts opts = {.user = user, .password = password, .local = true};
    snprintf(addr.host, sizeof addr.host, "%s", node.config.socket);
    client_connect(c, &opts, &addr);
    WAIT_FOR(c->in || c->refused || c->closed);
}

static inline uint32_t client_ready(struct client *c)
{
    UNIT_REQUIRE(c->in);
    c->id = client_auth_result(c->auth)->thread_id;
    client_auth_free(c->auth);
    c->auth = NULL;
    c->in = false;
    return c->id;
}

static inline uint32_t client_open(struct client *c)
{
    client_login(c, "repl", "secret");
    return client_ready(c);
}

static inline void client_close(struct client *c)
{
    env_stream_close(c->stream);
    wire_free(c->wire);
    client_auth_free(c->auth);
    result_free(&c->result);
    buf_free(&c->stored);
    buf_free(&c->types);
}

/* The server's answer to one statement: 0 or the error's number. */
static inline unsigned client_query(struct client *c, const char *text)
{
    result_reset(&c->result);
    c->answered = false;
    command_put_query(c->wire, CAPS_CLIENT, text, strlen(text));
    client_flush(c);
    WAIT_FOR(c->answered || c->closed);
    c->answered = false;
    return c->closed ? 2013 : c->answer == RESULT_DONE ? 0 : c->result.code;
}

static inline unsigned client_command(struct client *c, enum command command)
{
    result_reset(&c->result);
    c->answered = false;
    command_put(c->wire, command);
    client_flush(c);
    WAIT_FOR(c->answered || c->closed);
    c->answered = false;
    return c->closed ? 2013 : c->answer == RESULT_DONE ? 0 : c->result.code;
}

static inline void client_dump(struct client *c, const struct binlog_dump *dump)
{
    command_put_binlog_dump(c->wire, dump);
    wire_seq_apart(c->wire, true);
    c->dumping = true;
    c->seq = 1;
    event_format_init(&c->format, FLAVOUR_NONE, c->no_checksum ? CHECKSUM_NONE : CHECKSUM_CRC32);
    client_flush(c);
}

static inline void replica_variables(struct client *c)
{
    UNIT_UINT(client_query(c, "SET @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32'"), 0);
}

static inline void dump_gtid(struct client *c, const struct gtid_set *have, uint16_t flags, const char *file)
{
    struct buf set;
    buf_init(&set, 1 << 20);
    gtid_set_encode(have, &set);
    struct binlog_dump d = {.by_gtid = true,
                            .flags = flags,
                            .server_id = 100 + c->id,
                            .pos = 4,
                            .gtids = set.data,
                            .ngtids = set.len};
    snprintf(d.file, sizeof d.file, "%s", file);
    client_dump(c, &d);
    buf_free(&set);
}

static inline void dump_position(struct client *c, const char *file, uint32_t pos, uint16_t flags)
{
    struct binlog_dump d = {.flags = flags, .server_id = 100 + c->id, .pos = pos};
    snprintf(d.file, sizeof d.file, "%s", file);
    client_dump(c, &d);
}

/* ---- what is expected ---- */

/* The events from (file, event) on whose transactions `have` lacks. */
static inline void expected(struct buf *out, size_t file, uint64_t position, const struct gtid_set *have)
{
    buf_init(out, (size_t)1 << 30);
    for (size_t i = file; i < node.n_files; i++) {
        const struct binlog *b = node.files[i];
        for (size_t e = 0; e < b->n_events; e++) {
            const struct binlog_event *ev = &b->events[e];
            bool has = have && ev->in_txn && ev->has_gtid && gtid_set_contains(have, &ev->gtid);
            bool before = i == file && ev->start < position;
            if (!has && !before && ev->type != EVENT_FORMAT_DESCRIPTION) {
                buf_bytes(out, b->bytes + ev->start, ev->end - ev->start);
            }
        }
    }
}

static inline bool got_all(struct client *c, const struct buf *want)
{
    bool in_order = UNIT_TRUE(c->seq_ok), intact = UNIT_TRUE(c->crc_ok), whole = UNIT_UINT(c->stored.len, want->len);
    return in_order && intact && whole &&
           UNIT_TRUE(want->len == 0 || memcmp(c->stored.data, want->data, want->len) == 0);
}

static inline void wait_end(struct client *c)
{
    WAIT_FOR(c->ended || c->code || c->closed);
}

#endif
