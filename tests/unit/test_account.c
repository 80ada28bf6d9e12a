/* test_account: which account a client is; what failed logins cost; and that a change of an account is felt at
 * once by the sessions under it. */
#include "node/account.h"
#include "node/throttle.h"
#include "tests/unit/serve_fixture.h"
#include "tests/unit/unit.h"

#include <stdlib.h>

/* ---- hosts ---- */

static void hosts_that_can_be(void)
{
    static const char *const good[] = {"%", "localhost", "LOCALHOST", "10.0.0.7", "::1", "fe80::1", "10.%", "10.0.0._", "fe80:%",
                                       "10.1.0.0/16", "10.1.0.0/255.255.0.0", "0.0.0.0/0", "10.1.2.3/32", "2001:db8::/32"};
    static const char *const bad[] = {"", "db1", "db1.example.com", "%.example.com", "10.0.0", "10.0.0.256", "10.1.2.3/16",
                                      "10.1.0.0/33", "10.1.0.0/255.0.255.0", "10.1.0.0/", "/8", "10.1.0.0/a", "10.1.0.0/8/8",
                                      "2001:db8::/129", "10.% "};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        UNIT_TRUE(account_host_ok(good[i]) || !printf("# %s\n", good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        UNIT_TRUE(!account_host_ok(bad[i]) || !printf("# %s\n", bad[i]));
    }
}

static void hosts_match(void)
{
    static const struct {
        const char *host, *address;
        bool is;
    } cases[] = {
        {"%", "10.0.0.7", true},
        {"%", "localhost", true},
        {"localhost", "localhost", true},
        {"localhost", "127.0.0.1", true},
        {"localhost", "::1", true},
        {"localhost", "10.0.0.7", false},
        {"127.0.0.1", "localhost", false},
        {"10.0.0.7", "10.0.0.7", true},
        {"10.0.0.7", "10.0.0.70", false},
        {"10.0.0.7", "::ffff:10.0.0.7", true},
        {"10.0.%", "::ffff:10.0.0.7", true},
        {"10.0.%", "10.1.0.7", false},
        {"10.0.0._", "10.0.0.7", true},
        {"10.0.0._", "10.0.0.17", false},
        {"10.%.7", "10.1.2.7", true},
        {"10.%.7", "10.1.2.71", false},
        {"::1", "0:0:0:0:0:0:0:1", true},
        {"2001:db8::/32", "2001:db8:1::5", true},
        {"2001:db8::/32", "2001:db9::5", false},
        {"2001:DB8:%", "2001:db8:1::5", true},
        {"10.1.0.0/16", "10.1.255.255", true},
        {"10.1.0.0/16", "10.2.0.0", false},
        {"10.1.0.0/255.255.0.0", "10.1.255.255", true},
        {"10.1.0.0/255.255.0.0", "10.2.0.0", false},
        {"0.0.0.0/0", "10.2.0.0", true},
        {"0.0.0.0/0", "::1", false},
        {"0.0.0.0/0", "localhost", false},
        {"10.1.2.4/30", "10.1.2.7", true},
        {"10.1.2.4/30", "10.1.2.8", false},
        {"10.%", "db1", false},
        {"%", "db1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!UNIT_INT(account_host_matches(cases[i].host, cases[i].address), cases[i].is)) {
            printf("# %s and %s\n", cases[i].host, cases[i].address);
        }
    }
}

/* Whatever the order in which they were made. */
static void the_narrowest_host_wins(void)
{
    static const char *const hosts[] = {"%", "10.%", "10.1.%", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "localhost"};
    static const char *const cases[][2] = {{"10.1.2.3", "10.1.2.3"}, {"10.1.2.4", "10.1.0.0/16"}, {"10.2.0.1", "10.0.0.0/8"},
                                           {"11.0.0.1", "%"},        {"127.0.0.1", "localhost"},  {"localhost", "localhost"}};
    enum { N = sizeof hosts / sizeof *hosts };
    struct user_account users[N + 1];
    for (size_t turn = 0; turn < N; turn++) {
        memset(users, 0, sizeof users);
        for (size_t i = 0; i < N; i++) {
            snprintf(users[i].name, sizeof users[i].name, "a");
            snprintf(users[i].host, sizeof users[i].host, "%s", hosts[(i + turn) % N]);
        }
        snprintf(users[N].name, sizeof users[N].name, "b");
        snprintf(users[N].host, sizeof users[N].host, "10.1.2.3");
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const struct user_account *a = account_of_client(users, N + 1, "a", cases[i][0]);
            UNIT_REQUIRE(a != NULL);
            UNIT_STR(a->host, cases[i][1]);
        }
        UNIT_TRUE(account_of_client(users, N + 1, "b", "10.1.2.4") == NULL);
        UNIT_TRUE(account_of_client(users, N + 1, "A", "10.1.2.3") == NULL);
    }
    struct user_account patterns[2] = {{.name = "a", .host = "10.%"}, {.name = "a", .host = "10.1.%"}};
    UNIT_TRUE(account_of_client(patterns, 2, "a", "10.1.2.3") == &patterns[1]);
    UNIT_TRUE(account_of_client(patterns, 0, "a", "10.1.2.3") == NULL);
}

/* ---- failed logins ---- */

static void guessing_costs_time(void)
{
    struct throttle *t = throttle_new();
    uint64_t now = 5 * ENV_S, last = 0;
    for (unsigned i = 0; i < THROTTLE_FREE; i++) {
        UNIT_UINT(throttle_failed(t, "repl", "10.0.0.7", now), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        uint64_t wait = throttle_failed(t, "repl", "10.0.0.7", now);
        UNIT_TRUE(wait > 0 && wait >= last && wait <= 3 * ENV_S);
        last = wait;
    }
    UNIT_UINT(last, 3 * ENV_S);
    UNIT_UINT(throttle_failed(t, "repl", "10.0.0.8", now), 0);            /* somebody else */
    UNIT_UINT(throttle_failed(t, "other", "10.0.0.7", now), 3 * ENV_S);   /* the same under another name */
    throttle_passed(t, "repl", "10.0.0.8");
    now += 600 * ENV_S;
    UNIT_UINT(throttle_failed(t, "repl", "10.0.0.7", now), 0); /* long ago */
    for (unsigned i = 0; i < 10; i++) {
        (void)throttle_failed(t, "a", "10.0.0.9", now);
    }
    throttle_passed(t, "a", "10.0.0.9");
    UNIT_TRUE(throttle_failed(t, "a", "10.0.0.9", now) > 0); /* what the address did stays */
    throttle_free(t);
    throttle_free(NULL);
}

/* More guessers than the table holds: those that go on guessing stay in it. */
static void the_table_is_bounded(void)
{
    struct throttle *t = throttle_new();
    char address[32];
    uint64_t now = ENV_S, wait = 0;
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(address, sizeof address, "10.0.%u.%u", i / 256, i % 256);
        (void)throttle_failed(t, "x", address, now += ENV_MS);
        if (i % 50 == 0) {
            wait = throttle_failed(t, "x", "192.0.2.1", now += ENV_MS);
        }
    }
    UNIT_UINT(wait, 3 * ENV_S);
    throttle_free(t);
}

/* The refusal of the one waits; the right password from the same address is taken meanwhile. */
static void the_right_password_never_waits(void)
{
    struct client guesser, c;
    node_begin(FLAVOUR_MYSQL);
    node.config.workers = 1;
    node_serve();
    for (unsigned i = 0; i < THROTTLE_FREE + 2; i++) {
        client_login(&guesser, "repl", "guess");
        UNIT_TRUE(guesser.refused);
        UNIT_UINT(guesser.code, 1045);
        client_close(&guesser);
    }
    struct env_addr addr = {.is_path = true};
    struct client_auth_opts opts = {.user = "repl", .password = "guess", .local = true};
    snprintf(addr.host, sizeof addr.host, "%s", node.config.socket);
    client_connect(&guesser, &opts, &addr);
    (void)client_open(&c);
    UNIT_TRUE(!guesser.refused && !guesser.closed);
    UNIT_UINT(client_query(&c, "SELECT 1"), 0);
    client_close(&c);
    WAIT_FOR(guesser.refused);
    UNIT_UINT(guesser.code, 1045);
    client_close(&guesser);
    UNIT_UINT(atomic_load(&node.control.logins.failed), THROTTLE_FREE + 3);
    UNIT_UINT(atomic_load(&node.control.logins.delayed), 3);
    client_connect(&guesser, &opts, &addr); /* one that waits when the node ends */
    (void)client_open(&c);
    client_close(&c);
    client_close(&guesser);
    node_end();
}

/* ---- accounts change while sessions are open ---- */

static struct view *changed_view(void)
{
    struct view *v = new_view(FLAVOUR_MYSQL);
    v->n_users = 4;
    mem_free(v->users);
    v->users = mem_array(v->n_users, sizeof *v->users);
    account(&v->users[0], "repl", "secret", ROLE_REPLICA);
    account(&v->users[1], "eye", "glass", ROLE_MONITOR);
    account(&v->users[2], "local", "secret", ROLE_REPLICA);
    snprintf(v->users[2].host, sizeof v->users[2].host, "localhost");
    account(&v->users[3], "far", "secret", ROLE_REPLICA);
    snprintf(v->users[3].host, sizeof v->users[3].host, "10.0.0.7");
    return v;
}

static void publish(struct view *v)
{
    serve_publish(node.serve, v);
    view_unref(v);
}

static void changes_are_felt_at_once(void)
{
    struct client dumping, gone, eye, root;
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 1);
    put_files(0, 1);
    WAIT_FOR(idle());
    node_serve();
    (void)client_open(&dumping);
    replica_variables(&dumping);
    dump_position(&dumping, node.files[0]->name, 4, 0);
    WAIT_FOR(dumping.n_stored > 0);
    client_login(&eye, "eye", "glass");
    (void)client_ready(&eye);
    publish(changed_view());
    client_login(&gone, "far", "secret");
    UNIT_TRUE(gone.refused);
    client_close(&gone);
    client_login(&gone, "local", "secret");
    (void)client_ready(&gone);
    UNIT_UINT(client_query(&gone, "SELECT CURRENT_USER()"), 0);
    UNIT_STR(result_value(&gone.result, 0, 0, NULL), "local@localhost");
    client_login(&root, "root", NULL);
    (void)client_ready(&root);
    UNIT_UINT(client_query(&eye, "FLUSH BINARY LOGS"), 0);

    struct view *v = changed_view(); /* repl may not replicate any more, eye may, local is gone */
    v->users[0].roles = ROLE_MONITOR;
    v->users[1].roles = ROLE_REPLICA;
    v->users[2] = v->users[3];
    v->n_users = 3;
    publish(v);
    WAIT_FOR(dumping.closed && gone.closed);
    UNIT_UINT(dumping.code, 0);
    UNIT_UINT(client_query(&eye, "FLUSH BINARY LOGS"), 1227);
    UNIT_UINT(client_query(&root, "SELECT 1"), 0);
    client_close(&dumping);
    client_close(&gone);

    v = changed_view();
    v->users[1].locked = true;
    publish(v);
    WAIT_FOR(eye.closed);
    client_close(&eye);
    client_login(&eye, "eye", "glass");
    UNIT_TRUE(eye.refused);
    client_close(&eye);
    client_close(&root);
    node_end();
}

/* Everybody for who may monitor, else one's own; no statement of others is shown. */
static void the_processlist_shows_connections(void)
{
    struct client eye, a, b;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    (void)client_open(&a);
    (void)client_open(&b);
    client_login(&eye, "eye", "glass");
    uint32_t own = client_ready(&eye);
    UNIT_UINT(client_query(&eye, "SHOW PROCESSLIST"), 0);
    UNIT_UINT(eye.result.nrows, 3);
    unsigned repl = 0, sleeping = 0;
    for (size_t i = 0; i < eye.result.nrows; i++) {
        repl += strcmp(result_get(&eye.result, i, "User"), "repl") == 0;
        sleeping += strcmp(result_get(&eye.result, i, "Command"), "Sleep") == 0;
    }
    UNIT_UINT(repl, 2);
    UNIT_UINT(sleeping, 2);
    UNIT_UINT(strtoul(result_get(&eye.result, 2, "Id"), NULL, 10), own);
    UNIT_UINT(client_query(&a, "SHOW FULL PROCESSLIST"), 0);
    UNIT_UINT(a.result.nrows, 2);
    client_close(&b);
    WAIT_FOR(serve_sessions(node.serve) == 2);
    UNIT_UINT(client_query(&a, "SHOW PROCESSLIST"), 0);
    UNIT_UINT(a.result.nrows, 1);
    client_close(&a);
    client_close(&eye);
    node_end();
}

static void warnings_are_shown_until_the_next_statement(void)
{
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    node_serve();
    client_login(&c, "eye", "glass");
    (void)client_ready(&c);
    UNIT_UINT(client_query(&c, "FLUSH BINARY LOGS"), 0);
    UNIT_UINT(c.result.warnings, 1);
    for (int i = 0; i < 2; i++) {
        UNIT_UINT(client_query(&c, "SHOW WARNINGS"), 0);
        UNIT_UINT(c.result.nrows, 1);
        UNIT_STR(result_get(&c.result, 0, "Level"), "Warning");
        UNIT_TRUE(strstr(result_get(&c.result, 0, "Message"), "nothing was rotated") != NULL);
    }
    UNIT_UINT(client_query(&c, "SHOW COUNT(*) WARNINGS"), 0);
    UNIT_STR(result_value(&c.result, 0, 0, NULL), "1");
    UNIT_UINT(client_query(&c, "SHOW ERRORS"), 0);
    UNIT_UINT(c.result.nrows, 0);
    UNIT_UINT(client_query(&c, "FROBNICATE"), ER_PARSE);
    UNIT_UINT(client_query(&c, "SHOW ERRORS LIMIT 5"), 0);
    UNIT_STR(result_get(&c.result, 0, "Code"), "1064");
    UNIT_UINT(client_query(&c, "SHOW WARNINGS LIMIT 1, 5"), 0);
    UNIT_UINT(c.result.nrows, 0);
    UNIT_UINT(client_query(&c, "SHOW WARNINGS LIMIT 0"), 0);
    UNIT_UINT(c.result.nrows, 0);
    UNIT_UINT(client_query(&c, "SELECT 1"), 0);
    UNIT_UINT(client_query(&c, "SHOW WARNINGS"), 0);
    UNIT_UINT(c.result.nrows, 0);
    client_close(&c);
    node_end();
}

UNIT_MAIN("account", UNIT_TEST(hosts_that_can_be), UNIT_TEST(hosts_match), UNIT_TEST(the_narrowest_host_wins),
          UNIT_TEST(guessing_costs_time), UNIT_TEST(the_table_is_bounded), UNIT_TEST(the_right_password_never_waits),
          UNIT_TEST(changes_are_felt_at_once), UNIT_TEST(the_processlist_shows_connections), UNIT_TEST(warnings_are_shown_until_the_next_statement))
