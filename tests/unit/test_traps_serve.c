/* test_traps_serve: traps of the replication protocol that peers of ours fell into, on the serving side: one test each, named after
 * what goes wrong when it is missed. Those of the wire are in test_traps, those of the link to the source in test_traps_source. */
#include "tests/unit/serve_fixture.h"

static bool has_type(const struct client *c, uint8_t type)
{
    return c->types.len && memchr(c->types.data, type, c->types.len) != NULL;
}

static void begin_with(enum flavour flavour, const char *dir, unsigned first, unsigned second)
{
    node_begin(flavour);
    load(dir, first);
    if (second) {
        load(dir, second);
    }
    put_files(0, second ? 2 : 1);
    node_serve();
    WAIT_FOR(idle());
}

/* Flag 0x0002 means HEARTBEAT_V2 from MySQL and ANNOTATE from MariaDB: type 41 would shift a MariaDB replica's position. */
static void trap_05_flag_2_has_two_meanings(void)
{
    struct client c;
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @mariadb_slave_capability=4"), 0);
    UNIT_UINT(client_query(&c, "SET @master_heartbeat_period= 20000000"), 0);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_ANNOTATE_ROWS);
    WAIT_FOR(c.heartbeats > 1);
    UNIT_TRUE(has_type(&c, EVENT_HEARTBEAT));
    UNIT_TRUE(!has_type(&c, EVENT_HEARTBEAT_V2));
    client_close(&c);
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @source_heartbeat_period = 20000000, @master_heartbeat_period = 20000000"), 0);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_HEARTBEAT_V2);
    WAIT_FOR(c.heartbeats > 1);
    UNIT_TRUE(has_type(&c, EVENT_HEARTBEAT_V2));
    client_close(&c);
    node_end();
}

/* A log of 5.6 does not describe type 41: a replica stops at an event that the format description does not know. */
static void trap_05_old_formats_know_no_heartbeat_v2(void)
{
    struct client c;
    begin_with(FLAVOUR_MYSQL, "mysql-5.6-all-events", 1, 0);
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @source_heartbeat_period = 20000000, @master_heartbeat_period = 20000000"), 0);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_HEARTBEAT_V2);
    WAIT_FOR(c.heartbeats > 1);
    UNIT_TRUE(has_type(&c, EVENT_HEARTBEAT) && !has_type(&c, EVENT_HEARTBEAT_V2));
    client_close(&c);
    node_end();
}

/* NONE takes the checksum off the first ROTATE of our own and off nothing else; not set at all is an error. */
static void trap_08_none_does_not_strip_checksums(void)
{
    struct client c;
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    (void)client_open(&c);
    UNIT_UINT(client_query(&c, "SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'"), 0);
    c.no_checksum = true;
    dump_position(&c, "mysql-bin.000001", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_UINT(c.first_rotate_size, EVENT_HEADER_SIZE + 8 + strlen("mysql-bin.000001"));
    UNIT_UINT(c.format.checksum, CHECKSUM_CRC32);
    struct buf want;
    expected(&want, 0, 4, NULL);
    got_all(&c, &want); /* with their checksums, which are right */
    buf_free(&want);
    client_close(&c);
    (void)client_open(&c);
    dump_position(&c, "mysql-bin.000001", 4, 0);
    WAIT_FOR(c.code);
    UNIT_UINT(c.code, ER_DUMP_FATAL);
    UNIT_TRUE(strstr(c.message, "checksum") != NULL);
    client_close(&c);
    node_end();
}

/* `created` is not 0 only at the begin of a file that the replica does not know; a start in the middle has log_pos 0; never in use. */
static void trap_09_format_description_depends_on_the_start(void)
{
    struct client c;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.first_created != 0 && c.first_log_pos != 0);
    client_close(&c);
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, "mysql-bin.000001", (uint32_t)node.files[0]->events[2].start, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.crc_ok && c.n_stored > 0); /* its checksum was made anew */
    UNIT_UINT(c.first_created, 0);
    UNIT_UINT(c.first_log_pos, 0);
    client_close(&c);
    for (size_t e = 0; e < node.files[0]->n_events; e++) {
        if (node.files[0]->events[e].ends_txn) {
            gtid_set_add(have, &node.files[0]->events[e].gtid);
            break;
        }
    }
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, DUMP_NON_BLOCK, "");
    wait_end(&c);
    UNIT_UINT(c.first_created, 0);
    UNIT_TRUE(c.first_log_pos != 0);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

/* In MariaDB's GTID mode file and position are hints of no meaning. */
static void trap_12_positions_are_hints_with_gtids(void)
{
    struct client c;
    struct buf want;
    struct gtid_set *none = gtid_set_new(FLAVOUR_MARIADB);
    begin_with(FLAVOUR_MARIADB, "mariadb-10.11-all-events", 1, 0);
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @mariadb_slave_capability=4"), 0);
    UNIT_UINT(client_query(&c, "SET @slave_connect_state=''"), 0);
    dump_position(&c, "no-such-file.000077", 123456, DUMP_NON_BLOCK | DUMP_ANNOTATE_ROWS);
    wait_end(&c);
    UNIT_TRUE(c.ended);
    expected(&want, 0, 4, none);
    got_all(&c, &want);
    buf_free(&want);
    client_close(&c);
    gtid_set_free(none);
    node_end();
}

static void trap_13_server_id_0_does_not_wait(void)
{
    struct client c;
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    (void)client_open(&c);
    replica_variables(&c);
    struct binlog_dump d = {.pos = 4, .file = "mysql-bin.000001"};
    client_dump(&c, &d);
    wait_end(&c);
    UNIT_TRUE(c.ended);
    WAIT_FOR(c.closed);
    client_close(&c);
    node_end();
}

/* 1236 stops a replica for good: one that is ahead of what is here (it read the source before us) waits and gets heartbeats. */
static void trap_14_1236_is_for_what_is_permanent(void)
{
    struct client c;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    for (size_t e = 0; e < node.files[0]->n_events; e++) {
        if (node.files[0]->events[e].ends_txn && node.files[0]->events[e].has_gtid) {
            gtid_set_add(have, &node.files[0]->events[e].gtid);
        }
    }
    struct gtid ahead = node.files[0]->events[node.files[0]->n_events - 2].gtid;
    for (unsigned i = 0; i < 5; i++) {
        ahead.gno += 1000;
        ahead.flavour = FLAVOUR_MYSQL;
        gtid_set_add(have, &ahead);
    }
    (void)client_open(&c);
    replica_variables(&c);
    UNIT_UINT(client_query(&c, "SET @master_heartbeat_period= 20000000"), 0);
    dump_gtid(&c, have, 0, "");
    WAIT_FOR(c.heartbeats > 3);
    UNIT_UINT(c.code, 0);
    UNIT_TRUE(!c.closed && !c.ended);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

/* A source that crashed leaves a file without ROTATE or STOP: the next one is announced by a ROTATE of our own alone. */
static void trap_15_a_crash_leaves_no_rotate(void)
{
    struct client c;
    struct buf want;
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 1);
    load("mysql-9.7-all-events", 2);
    struct binlog *first = node.files[0];
    first->n_events--; /* its ROTATE never was written */
    first->n = first->events[first->n_events].start;
    put_files(0, 2);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.ended);
    expected(&want, 0, 4, NULL);
    got_all(&c, &want);
    UNIT_UINT(c.rotates, 2);
    UNIT_STR(c.rotate_file, "mysql-bin.000002");
    UNIT_UINT(c.rotate_pos, 4);
    buf_free(&want);
    client_close(&c);
    node_end();
}

/* What MariaDB replicas ask beside the dump: KILL from a second connection, a position's GTID, variables with two columns. */
static void trap_19_mariadb_replicas_ask_more(void)
{
    struct client dump, other;
    char kill[40];
    begin_with(FLAVOUR_MARIADB, "mariadb-10.11-all-events", 1, 0);
    uint32_t id = client_open(&dump);
    replica_variables(&dump);
    UNIT_UINT(client_query(&dump, "SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'"), 0);
    UNIT_UINT(dump.result.ncols, 2);
    UNIT_UINT(client_query(&dump, "SHOW VARIABLES LIKE 'SERVER_ID'"), 0);
    UNIT_STR(result_value(&dump.result, 0, 1, NULL), "4711");
    UNIT_UINT(client_query(&dump, "SELECT binlog_gtid_pos(NULL,4)"), 0); /* of a file: test_control, there is no cluster here */
    UNIT_UINT(client_query(&dump, "SET @mariadb_slave_capability=4"), 0);
    dump_position(&dump, "mysql-bin.000001", 4, DUMP_ANNOTATE_ROWS);
    WAIT_FOR(dump.n_stored > 0);
    (void)client_open(&other);
    snprintf(kill, sizeof kill, "KILL %u", (unsigned)id);
    UNIT_UINT(client_query(&other, kill), 0);
    WAIT_FOR(dump.closed);
    client_close(&dump);
    client_close(&other);
    node_end();
}

/* An unknown @x may be set, an unknown @@x is 1193: both have other effects on a replica when they are mixed up. */
static void trap_20_errors_have_effects(void)
{
    struct client c;
    node_begin(FLAVOUR_MARIADB);
    node_serve();
    (void)client_open(&c);
    UNIT_UINT(client_query(&c, "SET @something_new = 17"), 0);
    UNIT_UINT(client_query(&c, "SELECT @something_else"), 0);
    UNIT_TRUE(result_value(&c.result, 0, 0, NULL) == NULL);
    UNIT_UINT(client_query(&c, "SELECT @@GLOBAL.gtid_mode"), ER_UNKNOWN_VARIABLE);
    UNIT_UINT(client_query(&c, "SELECT @@global.something_new"), ER_UNKNOWN_VARIABLE);
    UNIT_UINT(client_query(&c, "SELECT @@global.gtid_domain_id"), 0);
    client_close(&c);
    node_end();
}

/* Without a heartbeat period too: it moves the replica's position past what it has. */
static void trap_21_skipping_needs_a_heartbeat(void)
{
    struct client c;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    uint64_t end = 0;
    for (size_t e = 0; e < node.files[0]->n_events; e++) {
        if (node.files[0]->events[e].ends_txn) {
            gtid_set_add(have, &node.files[0]->events[e].gtid);
            end = node.files[0]->events[e].end;
        }
    }
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, 0, "");
    WAIT_FOR(c.heartbeats == 1);
    UNIT_UINT(c.heartbeat_pos, end);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

/* Over files CRC32 -> NONE -> CRC32 an event of our own has the checksum of the format description sent last. */
static void trap_22_own_events_follow_the_last_format(void)
{
    struct client c;
    struct buf want;
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 11);
    load("mysql-9.7-all-events", 12);
    load("mysql-9.7-all-events", 13);
    put_files(0, 3);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, "mysql-bin.000011", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.ended);
    UNIT_UINT(c.rotates, 3);
    UNIT_UINT(c.formats, 3);
    expected(&want, 0, 4, NULL);
    got_all(&c, &want); /* crc_ok: each was checked by the format before it */
    buf_free(&want);
    client_close(&c);
    node_end();
}

/* A replica that comes back finds its own zombie: the older dump of the same uuid ends, one of another uuid does not. */
static void trap_23_the_same_uuid_ends_the_older_dump(void)
{
    struct client c[3];
    static const char *const uuids[] = {"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "ffffffff-bbbb-cccc-dddd-eeeeeeeeeeee",
                                        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"};
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    begin_with(FLAVOUR_MYSQL, "mysql-9.7-all-events", 1, 0);
    for (size_t i = 0; i < 3; i++) {
        char set[128];
        (void)client_open(&c[i]);
        replica_variables(&c[i]);
        snprintf(set, sizeof set, "SET @slave_uuid = '%s', @replica_uuid = '%s'", uuids[i], uuids[i]);
        UNIT_UINT(client_query(&c[i], set), 0);
        dump_gtid(&c[i], have, 0, "");
        WAIT_FOR(c[i].n_stored > 0);
    }
    WAIT_FOR(c[0].closed);
    UNIT_UINT(c[0].code, ER_DUMP_FATAL);
    UNIT_TRUE(!c[1].closed && !c[2].closed);
    for (size_t i = 0; i < 3; i++) {
        client_close(&c[i]);
    }
    gtid_set_free(have);
    node_end();
}

static void trap_24_anonymous_transactions_and_auto_position(void)
{
    struct client c;
    struct gtid_set *have = gtid_set_new(FLAVOUR_MYSQL);
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 11);
    gtid_set_union(have, node.files[0]->state_before);
    put_files(0, 1);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    dump_gtid(&c, have, 0, "");
    WAIT_FOR(c.code);
    UNIT_UINT(c.code, ER_DUMP_FATAL);
    UNIT_TRUE(strstr(c.message, "anonymous transaction") != NULL);
    client_close(&c);
    (void)client_open(&c); /* by position they are served */
    replica_variables(&c);
    dump_position(&c, "mysql-bin.000011", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.ended && c.n_stored > 3);
    client_close(&c);
    gtid_set_free(have);
    node_end();
}

/* After .999999 comes .1000000, which sorts before it as a text. */
static void trap_25_longer_names_are_newer(void)
{
    struct client c;
    struct buf want;
    node_begin(FLAVOUR_MYSQL);
    load("mysql-9.7-all-events", 1);
    load("mysql-9.7-all-events", 2);
    snprintf(node.files[0]->name, sizeof node.files[0]->name, "mysql-bin.999999");
    snprintf(node.files[1]->name, sizeof node.files[1]->name, "mysql-bin.1000000");
    put_files(0, 2);
    node_serve();
    WAIT_FOR(idle());
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, "mysql-bin.999999", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.ended);
    expected(&want, 0, 4, NULL);
    got_all(&c, &want);
    UNIT_STR(c.rotate_file, "mysql-bin.1000000");
    buf_free(&want);
    client_close(&c);
    node_end();
}

UNIT_MAIN("traps_serve", UNIT_TEST(trap_05_flag_2_has_two_meanings),
          UNIT_TEST(trap_05_old_formats_know_no_heartbeat_v2), UNIT_TEST(trap_08_none_does_not_strip_checksums),
          UNIT_TEST(trap_09_format_description_depends_on_the_start), UNIT_TEST(trap_12_positions_are_hints_with_gtids),
          UNIT_TEST(trap_13_server_id_0_does_not_wait), UNIT_TEST(trap_14_1236_is_for_what_is_permanent),
          UNIT_TEST(trap_15_a_crash_leaves_no_rotate), UNIT_TEST(trap_19_mariadb_replicas_ask_more), UNIT_TEST(trap_20_errors_have_effects),
          UNIT_TEST(trap_21_skipping_needs_a_heartbeat), UNIT_TEST(trap_22_own_events_follow_the_last_format),
          UNIT_TEST(trap_23_the_same_uuid_ends_the_older_dump), UNIT_TEST(trap_24_anonymous_transactions_and_auto_position),
          UNIT_TEST(trap_25_longer_names_are_newer))
