/* test_serve_errors.c: what a dump is refused with, and ended with: the numbers and texts of the source that is followed. */
#include "tests/unit/serve_fixture.h"

static void load_mysql(unsigned n)
{
    for (unsigned i = 1; i <= n; i++) {
        load("mysql-9.7-all-events", i);
    }
}

static unsigned refusal(const char *file, uint32_t pos, char *message)
{
    struct client c;
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, file, pos, 0);
    WAIT_FOR(c.code);
    memcpy(message, c.message, sizeof c.message);
    unsigned code = c.code;
    WAIT_FOR(c.closed);
    client_close(&c);
    return code;
}

static void refuses_what_can_never_be(void)
{
    char m[512];
    struct client c;
    node_begin(FLAVOUR_MYSQL);
    load_mysql(3);
    put_files(1, 2); /* the first one is gone */
    node_serve();
    WAIT_FOR(idle());
    UNIT_UINT(refusal("mysql-bin.000001", 4, m), ER_DUMP_FATAL);
    UNIT_STR(m, "Could not find first log file name in binary log index file");
    UNIT_UINT(refusal("other.000009", 4, m), ER_DUMP_FATAL);
    UNIT_UINT(refusal("../x\nmysql-bin.000002", 4, m), ER_DUMP_FATAL);
    UNIT_STR(m, "Could not find first log file name in binary log index file");
    UNIT_UINT(refusal("mysql-bin.000002", (uint32_t)node.files[1]->n + 1, m), ER_DUMP_FATAL);
    UNIT_STR(m, "Client requested source to start replication from position > file size");
    UNIT_UINT(refusal("mysql-bin.000002", 3, m), ER_DUMP_FATAL);
    UNIT_STR(m, "Client requested source to start replication from position < 4");
    UNIT_UINT(refusal("mysql-bin.000002", (uint32_t)node.files[1]->events[3].start + 1, m), ER_DUMP_FATAL);
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, 0, "");
    WAIT_FOR(c.code);
    UNIT_UINT(c.code, ER_DUMP_FATAL);
    UNIT_TRUE(strstr(c.message, "purged required binary logs") != NULL);
    client_close(&c);
    (void)client_open(&c); /* says nothing about checksums */
    dump_position(&c, "mysql-bin.000002", 4, 0);
    WAIT_FOR(c.code);
    UNIT_TRUE(strstr(c.message, "can not handle replication events with the checksum") != NULL);
    UNIT_UINT(c.rotates, 1);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

/* Errors are those of the source that is followed: MySQL 5's and MariaDB's speak of masters, and say where the stream stood. */
static void refuses_in_the_source_s_words(void)
{
    char m[512], want[512];
    for (int mariadb = 0; mariadb < 2; mariadb++) {
        view_version = mariadb ? NULL : "5.6.51-holdfast";
        node_begin(mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL);
        load(mariadb ? "mariadb-10.11-all-events" : "mysql-5.6-all-events", 1);
        put_files(0, 1);
        node_serve();
        WAIT_FOR(idle());
        uint32_t beyond = (uint32_t)node.files[0]->n + 1;
        UNIT_UINT(refusal("other.000009", 4, m), ER_DUMP_FATAL);
        UNIT_STR(m, "Could not find first log file name in binary log index file");
        UNIT_UINT(refusal("mysql-bin.000001", 3, m), ER_DUMP_FATAL);
        snprintf(want, sizeof want,
                 "Client requested master to start replication from %s; the first event 'mysql-bin.000001' at 3, the last event read from "
                 "'mysql-bin.000001' at 4, the last byte read from 'mysql-bin.000001' at 4.",
                 mariadb ? "impossible position" : "position < 4");
        UNIT_STR(m, want);
        struct client c;
        (void)client_open(&c);
        replica_variables(&c);
        dump_position(&c, "mysql-bin.000001", beyond, DUMP_NON_BLOCK); /* else it is waited for */
        WAIT_FOR(c.code);
        snprintf(want, sizeof want,
                 "Client requested master to start replication from %s; the first event 'mysql-bin.000001' at %u, the last event read from "
                 "'mysql-bin.000001' at 4, the last byte read from 'mysql-bin.000001' at 4.",
                 mariadb ? "impossible position" : "position > file size", (unsigned)beyond);
        UNIT_STR(c.message, want);
        client_close(&c);
        (void)client_open(&c); /* says nothing about checksums */
        dump_position(&c, "mysql-bin.000001", 4, 0);
        WAIT_FOR(c.code);
        UNIT_TRUE(strstr(c.message, "Slave can not handle replication events with the checksum that master is configured to log; the first event") == c.message);
        client_close(&c);
        node_end();
    }
    view_version = NULL;
}

static void count_replica(void *arg, const struct serve_replica *replica)
{
    unsigned *n = arg;
    n[0]++;
    n[1] = replica->connection_id;
}

static bool one_replica(uint32_t id)
{
    unsigned n[2] = {0, 0};
    serve_each_replica(node.serve, count_replica, n);
    return n[0] == 1 && n[1] == id;
}

/* The older of two dumps: MySQL 5 ends it without a word, MariaDB with an error of its own. */
static void ends_the_older_in_the_source_s_words(void)
{
    for (int mariadb = 0; mariadb < 2; mariadb++) {
        struct client two[2];
        view_version = mariadb ? NULL : "5.6.51-holdfast";
        node_begin(mariadb ? FLAVOUR_MARIADB : FLAVOUR_MYSQL);
        load(mariadb ? "mariadb-10.11-all-events" : "mysql-5.6-all-events", 1);
        put_files(0, 1);
        node_serve();
        for (size_t i = 0; i < 2; i++) {
            uint32_t id = client_open(&two[i]);
            replica_variables(&two[i]);
            UNIT_UINT(client_query(&two[i], mariadb ? "SET @mariadb_slave_capability=4" : "SET @slave_uuid = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'"), 0);
            struct binlog_dump dump = {.server_id = 77, .pos = 4};
            snprintf(dump.file, sizeof dump.file, "mysql-bin.000001");
            client_dump(&two[i], &dump);
            WAIT_FOR(two[i].n_stored > 0);
            WAIT_FOR(one_replica(id));
        }
        WAIT_FOR(two[0].closed);
        UNIT_UINT(two[0].code, mariadb ? 4052 : 0);
        UNIT_TRUE(mariadb ? strstr(two[0].message, "A slave with the same server_uuid/server_id is already connected; the first") != NULL : two[0].ended);
        UNIT_TRUE(!two[1].closed);
        client_close(&two[0]);
        client_close(&two[1]);
        node_end();
    }
    view_version = NULL;
}

static void refuses_anonymous_transactions(void)
{
    struct client c;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 11);
    gtid_set_union(have, node.files[0]->state_before);
    put_files(0, 1);
    node_serve();
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, 0, "");
    WAIT_FOR(c.code);
    UNIT_UINT(c.code, ER_DUMP_FATAL);
    UNIT_TRUE(strncmp(c.message, "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file",
                      70) == 0);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

static void newer_dump_ends_the_older(void)
{
    struct client a, b, other;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    node_begin(FLAVOUR_MYSQL);
    load_mysql(1);
    put_files(0, 1);
    node_serve();
    uint32_t id_a = client_open(&a), id_b = client_open(&b), id_other = client_open(&other);
    struct client *two[] = {&a, &b};
    for (size_t i = 0; i < 2; i++) {
        replica_variables(two[i]);
        UNIT_UINT(client_query(two[i], "SET @replica_uuid = 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee'"), 0);
        dump_gtid(two[i], have, 0, "");
        WAIT_FOR(two[i]->n_stored > 0);
        WAIT_FOR(one_replica(i ? id_b : id_a));
    }
    WAIT_FOR(a.closed);
    UNIT_UINT(a.code, ER_DUMP_FATAL);
    UNIT_TRUE(strncmp(a.message, "A replica with the same server_uuid/server_id as this replica", 60) == 0);
    UNIT_TRUE(!b.closed);
    serve_kill(node.serve, id_b);
    serve_kill(node.serve, id_other);
    serve_kill(node.serve, 1000);
    WAIT_FOR(b.closed && other.closed);
    WAIT_FOR(serve_sessions(node.serve) == 0);
    client_close(&a);
    client_close(&b);
    client_close(&other);
    gtid_set_free(have);
    node_end();
}

UNIT_MAIN("serve_errors", UNIT_TEST(refuses_what_can_never_be), UNIT_TEST(refuses_in_the_source_s_words),
          UNIT_TEST(ends_the_older_in_the_source_s_words), UNIT_TEST(refuses_anonymous_transactions), UNIT_TEST(newer_dump_ends_the_older))
