/* test_serve_session.c: what a connection may become after its login: another user's, or a new one's. */
#include "tests/unit/serve_fixture.h"

/* ---- COM_CHANGE_USER, by hand ---- */

static uint8_t last[200]; /* the newest packet */
static size_t last_len, packets;

static void keep(struct client *c, const struct packet *p)
{
    (void)c;
    packets++;
    last_len = p->len < sizeof last ? p->len : sizeof last;
    memcpy(last, p->data, last_len);
}

/* Sends the command, and answers the switch that must come with a new salt. True: the user is another now. */
static bool change_user(struct client *c, const char *user, const char *password, const char *plugin)
{
    uint8_t answer[SHA2_SIZE];
    bool native = strcmp(plugin, "mysql_native_password") == 0;
    size_t name = strlen(plugin) + 1;
    c->raw = keep;
    packets = 0;
    wire_seq_reset(c->wire);
    struct buf *b = wire_begin(c->wire);
    buf_u8(b, COM_CHANGE_USER);
    buf_str_nul(b, user);
    buf_u8(b, 3);
    buf_str(b, "old"); /* for the first salt; nobody looks at it */
    buf_str_nul(b, "shop");
    buf_u16(b, 45);
    buf_str_nul(b, plugin);
    wire_end(c->wire);
    client_flush(c);
    WAIT_FOR(packets == 1 || c->closed);
    if (!UNIT_TRUE(last_len == 1 + name + AUTH_SALT + 1 && last[0] == 0xfe && !strcmp((char *)last + 1, plugin))) {
        return false;
    }
    if (native) {
        native_scramble(password, strlen(password), last + 1 + name, answer);
    } else {
        sha2_scramble(password, strlen(password), last + 1 + name, answer);
    }
    wire_put(c->wire, answer, native ? NATIVE_SIZE : SHA2_SIZE);
    client_flush(c);
    WAIT_FOR((packets > 1 && last[0] != 1) || c->closed); /* 01 03: the OK follows */
    c->raw = NULL;
    wire_seq_reset(c->wire);
    return packets > 1 && last[0] == 0;
}

static void changes_its_user(void)
{
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    (void)client_open(&c);
    UNIT_UINT(client_query(&c, "SET @a = 'b'"), 0);
    UNIT_UINT(client_query(&c, "SHOW BINARY LOG STATUS"), 1227);
    UNIT_TRUE(change_user(&c, "eye", "glass", "caching_sha2_password"));
    UNIT_UINT(client_query(&c, "SELECT USER(), DATABASE(), @a"), 0);
    UNIT_TRUE(strncmp(result_value(&c.result, 0, 0, NULL), "eye@", 4) == 0);
    UNIT_STR(result_value(&c.result, 0, 1, NULL), "shop");
    UNIT_TRUE(result_value(&c.result, 0, 2, NULL) == NULL); /* a new session */
    UNIT_UINT(client_query(&c, "SELECT 1"), 0);
    UNIT_TRUE(change_user(&c, "repl", "secret", "mysql_native_password"));
    UNIT_UINT(client_query(&c, "SELECT CURRENT_USER()"), 0);
    UNIT_TRUE(strncmp(result_value(&c.result, 0, 0, NULL), "repl@", 5) == 0);
    UNIT_UINT(serve_sessions(node.serve), 1);
    client_close(&c);
    node_end();
}

/* Who fails has lost the connection, as at a server. */
static void a_wrong_change_is_the_end(void)
{
    static const struct {
        const char *user, *password;
    } wrong[] = {{"eye", "glasses"}, {"nobody", "secret"}};
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    for (size_t i = 0; i < 2; i++) {
        struct client c;
        (void)client_open(&c);
        UNIT_TRUE(!change_user(&c, wrong[i].user, wrong[i].password, "caching_sha2_password"));
        UNIT_TRUE(last[0] == 0xff && (last[1] | last[2] << 8) == ER_ACCESS_DENIED);
        WAIT_FOR(c.closed);
        client_close(&c);
    }
    struct client c;
    static const uint8_t cut[] = {COM_CHANGE_USER, 'e', 'y', 'e'};
    (void)client_open(&c);
    c.raw = keep;
    last[0] = 0;
    wire_put(c.wire, cut, sizeof cut);
    client_flush(&c);
    WAIT_FOR(c.closed);
    UNIT_UINT(last[0], 0xff);
    client_close(&c);
    WAIT_FOR(serve_sessions(node.serve) == 0);
    node_end();
}

/* ---- replicas that do not read ---- */

enum { LOG_FILES = 120, SLOW = 20, EACH = 64 << 10, ALL = 256 << 10, LEAST = 16 << 10 };

/* One sample again and again under other names: more than sockets hold. Returns how much. */
static uint64_t put_long_log(void)
{
    uint64_t all = 0;
    load("mysql-9.7-all-events", 1);
    struct binlog *b = node.files[0];
    for (unsigned i = 1; i <= LOG_FILES; i++) {
        snprintf(b->name, sizeof b->name, "mysql-bin.%06u", i);
        binlog_put(node.store, b, 1, 1 << 20, &node.index);
        WAIT_FOR(idle());
        all += b->n - b->events[0].end;
    }
    return all;
}

static void open_slow(struct client *c)
{
    (void)client_open(c);
    replica_variables(c);
    env_stream_pause(c->stream, true);
    dump_position(c, "mysql-bin.000001", 4, 0);
}

/* Together they get no more than is allowed, and one that reads gets all of the log all the same. */
static void slow_replicas_cost_what_they_may(void)
{
    struct client slow[SLOW], fast;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    serve_set_limits(node.serve, &(struct serve_limits){.queue_each = EACH, .queue_all = ALL});
    uint64_t all = put_long_log();
    size_t most = 0, before = 1;
    for (size_t i = 0; i < SLOW; i++) {
        open_slow(&slow[i]);
    }
    for (int same = 0; same < 20; same = serve_queued(node.serve) == before ? same + 1 : 0) {
        before = serve_queued(node.serve);
        most = before > most ? before : most;
        run_for(10 * ENV_MS);
    }
    UNIT_TRUE(before > ALL / 2); /* they do hang */
    UNIT_TRUE(most < ALL + SLOW * LEAST);
    (void)client_open(&fast);
    replica_variables(&fast);
    dump_position(&fast, "mysql-bin.000001", 4, DUMP_NON_BLOCK);
    wait_end(&fast);
    UNIT_TRUE(fast.ended && fast.crc_ok && fast.seq_ok);
    UNIT_UINT(fast.stored.len, all);
    client_close(&fast);
    for (size_t i = 0; i < SLOW; i++) { /* half of them wake up */
        if (i % 2) {
            env_stream_pause(slow[i].stream, false);
            WAIT_FOR(slow[i].stored.len == all);
        }
        client_close(&slow[i]);
    }
    WAIT_FOR(serve_sessions(node.serve) == 0);
    UNIT_UINT(serve_queued(node.serve), 0);
    node_end();
}

static void put_event(struct buf *out, const void *body, size_t n)
{
    size_t at = out->len, size = n + EVENT_HEADER_SIZE + EVENT_CRC_SIZE;
    buf_u32(out, 1);
    buf_u8(out, EVENT_QUERY);
    buf_u32(out, 1);
    buf_u32(out, (uint32_t)size);
    buf_u32(out, (uint32_t)(at + size));
    buf_u16(out, 0);
    buf_bytes(out, body, n);
    buf_u32(out, 0);
    event_crc_set(out->data + at, size);
}

enum { LARGE = 40 << 20, WAITING = 5 };

/* A format description, a statement of 40 MiB and a small one; to be freed. Returns where they begin. */
static size_t put_large_statement(struct buf *file, size_t size)
{
    uint8_t *body = mem_new(size); /* no database, no status variables */
    struct binlog *b = binlog_load("mysql-5.6-all-events", "mysql-bin.000001");
    for (size_t i = 14; i < size; i++) {
        body[i] = (uint8_t)(i * 2654435761u >> 24);
    }
    size_t head = b->events[1].end;
    buf_init(file, 2 * size);
    buf_bytes(file, b->bytes, head);
    put_event(file, body, size);
    put_event(file, body, 100);
    store_file(node.store, ++node.index, 0, 1, b->name, NULL);
    store_write(node.store, ++node.index, 4, file->data + 4, file->len - 4, file->len, NULL, NULL);
    WAIT_FOR(idle());
    mem_free(body);
    binlog_free(b);
    return head;
}

/* Who waits in the middle of an event costs what may wait for him, not the event; and if his dump ends there, he
 * is not told anything that he would take for a part of it. */
static void large_events_go_in_pieces(void)
{
    struct client slow[WAITING], other;
    struct buf file;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    serve_set_limits(node.serve, &(struct serve_limits){.queue_each = EACH});
    size_t head = put_large_statement(&file, LARGE), before = 1;
    for (size_t i = 0; i < WAITING; i++) {
        (void)client_open(&slow[i]);
        replica_variables(&slow[i]);
        if (i == 1) {
            UNIT_UINT(client_query(&slow[i], "SET @rpl_semi_sync_replica = 1"), 0);
            slow[i].semi_sync = true;
        }
        env_stream_pause(slow[i].stream, true);
        dump_position(&slow[i], "mysql-bin.000001", (uint32_t)head, 0);
    }
    for (int same = 0; same < 20; same = serve_queued(node.serve) == before ? same + 1 : 0) {
        before = serve_queued(node.serve);
        run_for(10 * ENV_MS);
    }
    UNIT_TRUE(before > 0); /* they do hang */
    UNIT_UINT(before <= WAITING * EACH ? 0 : before, 0);
    serve_kill(node.serve, slow[0].id);
    (void)client_open(&other);
    replica_variables(&other);
    struct binlog_dump dump = {.server_id = 100 + slow[2].id, .pos = 4, .flags = DUMP_NON_BLOCK};
    snprintf(dump.file, sizeof dump.file, "mysql-bin.000001");
    client_dump(&other, &dump);
    wait_end(&other);
    UNIT_TRUE(other.ended && other.crc_ok);
    client_close(&other);
    for (size_t i = 0; i < WAITING; i++) {
        bool killed = i == 0 || i == 2;
        env_stream_pause(slow[i].stream, false);
        WAIT_FOR(killed ? slow[i].closed : slow[i].stored.len == file.len - head);
        UNIT_TRUE(slow[i].crc_ok && slow[i].seq_ok && slow[i].code == 0);
        if (killed) {
            UNIT_UINT(slow[i].n_stored, 0);
        } else {
            UNIT_TRUE(!memcmp(slow[i].stored.data, file.data + head, file.len - head));
        }
        client_close(&slow[i]);
    }
    WAIT_FOR(serve_sessions(node.serve) == 0);
    UNIT_UINT(serve_queued(node.serve), 0);
    buf_free(&file);
    node_end();
}

/* The end of a node comes between two transactions for who reads, and soon all the same for who does not. */
static void ends_between_transactions(void)
{
    struct client c[2];
    struct buf file;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    size_t head = put_large_statement(&file, LARGE / 8);
    for (size_t i = 0; i < 2; i++) {
        (void)client_open(&c[i]);
        replica_variables(&c[i]);
        env_stream_pause(c[i].stream, true);
        dump_position(&c[i], "mysql-bin.000001", (uint32_t)head, 0);
    }
    WAIT_FOR(serve_queued(node.serve) > 0);
    run_for(100 * ENV_MS);
    uint64_t began = env_now(env);
    serve_close(node.serve, note, &node.serve_closed);
    run_for(100 * ENV_MS);
    UNIT_TRUE(!node.serve_closed);
    env_stream_pause(c[0].stream, false);
    WAIT_FOR(c[0].closed);
    UNIT_UINT(c[0].n_stored, 1); /* the large one, and not the small one behind it */
    UNIT_TRUE(c[0].ended && c[0].crc_ok && c[0].seq_ok);
    WAIT_FOR(node.serve_closed);
    node.serve = NULL;
    UNIT_TRUE(env_now(env) - began < 5 * ENV_S);
    env_stream_pause(c[1].stream, false);
    WAIT_FOR(c[1].closed);
    UNIT_UINT(c[1].n_stored, 0);
    client_close(&c[0]);
    client_close(&c[1]);
    buf_free(&file);
    node_end();
}

UNIT_MAIN("serve_session", UNIT_TEST(changes_its_user), UNIT_TEST(a_wrong_change_is_the_end),
          UNIT_TEST(slow_replicas_cost_what_they_may), UNIT_TEST(large_events_go_in_pieces),
          UNIT_TEST(ends_between_transactions))
