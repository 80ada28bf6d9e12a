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

UNIT_MAIN("serve_session", UNIT_TEST(changes_its_user), UNIT_TEST(a_wrong_change_is_the_end),
          UNIT_TEST(slow_replicas_cost_what_they_may))
