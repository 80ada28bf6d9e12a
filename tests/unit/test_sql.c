/* test_sql: statements on the worker's side: expressions, variables, privileges; with a made-up view
 * for each flavour. What real clients send stands in tables here, with what they need back. */
#include "node/sql.h"
#include "node/sql_impl.h"
#include "node/sql_lex.h"
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID "85a05a83-e51f-11f1-a45c-02fc00000001"

/* ---- an env with a clock and random, a session, a view ---- */

static uint64_t fake_wall(struct env *env)
{
    (void)env;
    return 1795208715000000ull;
}

static void fake_random(struct env *env, void *data, size_t n)
{
    (void)env;
    memset(data, 0x5a, n);
}

static const struct env_ops ops = {.now = fake_wall, .wall = fake_wall, .random = fake_random};
static struct env env = {.ops = &ops, .name = "test"};

struct rig {
    struct view *view;
    struct sql_session session;
    struct reply reply;
    struct sql_statement *statement;
};

static struct view *make_view(enum flavour flavour)
{
    struct view *view = mem_new(sizeof *view);
    atomic_init(&view->refs, 1);
    view->node_id = 2;
    view->flavour = flavour;
    snprintf(view->version, sizeof view->version, "%s",
             flavour == FLAVOUR_MARIADB ? "5.5.5-10.11.19-MariaDB-holdfast"
             : flavour == FLAVOUR_MYSQL ? "9.7.4-holdfast"
                                        : "8.4.0-holdfast");
    snprintf(view->server_uuid, sizeof view->server_uuid, UUID);
    view->server_id = 4711;
    return view;
}

static void rig_open(struct rig *rig, enum flavour flavour, uint32_t roles)
{
    *rig = (struct rig){.view = make_view(flavour)};
    rig->session = (struct sql_session){.env = &env,
                                        .view = rig->view,
                                        .vars = sql_vars_new(),
                                        .connection_id = 17,
                                        .user = "repl",
                                        .host = "10.0.0.7",
                                        .account_host = "%",
                                        .roles = roles};
}

static void rig_clear(struct rig *rig)
{
    reply_free(&rig->reply);
    sql_statement_free(rig->statement);
    rig->statement = NULL;
}

static void rig_close(struct rig *rig)
{
    rig_clear(rig);
    sql_session_free(&rig->session);
    view_unref(rig->view);
}

static enum sql_outcome run(struct rig *rig, const char *text)
{
    rig_clear(rig);
    return sql_execute(&rig->session, text, strlen(text), &rig->reply, &rig->statement);
}

/* The answer in one line: "OK", "1193 text", "LOOP", or "name,name|cell,cell|…" with ~ for NULL. */
static const char *answer(struct rig *rig, const char *text)
{
    static struct buf line;
    buf_free(&line);
    buf_init(&line, 1 << 20);
    if (run(rig, text) == SQL_LOOP) {
        return "LOOP";
    }
    const struct reply *r = &rig->reply;
    if (r->kind != REPLY_ROWS) {
        if (r->kind == REPLY_OK) {
            buf_str(&line, "OK");
        } else {
            buf_printf(&line, "%u %s", r->code, r->message);
        }
        sql_session_noted(&rig->session, &rig->reply);
        return buf_cstr(&line);
    }
    sql_session_noted(&rig->session, &rig->reply);
    for (size_t c = 0; c < table_columns(r->table); c++) {
        buf_printf(&line, "%s%s", c ? "," : "", table_name(r->table, c));
    }
    for (size_t row = 0; row < table_rows(r->table); row++) {
        for (size_t c = 0; c < table_columns(r->table); c++) {
            const char *cell = table_cell(r->table, row, c, NULL);
            buf_printf(&line, "%s%s", c ? "," : "|", cell ? cell : "~");
        }
    }
    return buf_cstr(&line);
}

/* ---- views, hostile texts ---- */

static void views_are_counted(void)
{
    struct view *view = make_view(FLAVOUR_MYSQL);
    view->users = mem_array(2, sizeof *view->users);
    view->n_users = 2;
    snprintf(view->users[1].name, sizeof view->users[1].name, "repl");
    snprintf(view->users[1].host, sizeof view->users[1].host, "10.%%");
    UNIT_TRUE(view_ref(view) == view);
    view_unref(view);
    UNIT_TRUE(view_user(view, "repl", "10.0.0.7") == &view->users[1]);
    UNIT_TRUE(view_user(view, "Repl", "10.0.0.7") == NULL);
    UNIT_TRUE(view_user(view, "repl", "11.0.0.7") == NULL);
    UNIT_TRUE(view_account(view, "repl", "10.%") == &view->users[1]);
    UNIT_TRUE(view_account(view, "repl", "%") == NULL);
    view_unref(view);
    view_unref(NULL);
}

static void too_many_tokens(void)
{
    size_t n = 2 * SQL_TOKENS_MAX + 1;
    char *text = mem_new(n + 1);
    for (size_t i = 0; i < n; i++) {
        text[i] = i % 2 ? ',' : '1';
    }
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    UNIT_TRUE(strstr(answer(&rig, text), "more than") != NULL);
    rig_close(&rig);
    mem_free(text);
}

static uint64_t random_state;

static uint64_t below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static const char *const statements[] = {
    "SELECT @@version_comment limit 1",
    "/* c */ SELECT @@a, 'x''y\\\\' AS `b``c`, IFNULL(@@global.hostname, ''), (1|2)&3 = 3, -5, "
    "GTID_SUBTRACT('" UUID ":1-5','')",
    "SET @master_heartbeat_period = 3000000000, @source_heartbeat_period = 3000000000",
    "SET NAMES 'utf8mb4' COLLATE x, autocommit=ON, @@session.sql_mode='', wait_timeout=1+1",
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('a','b') OR NOT (Variable_name LIKE 'x\\_' AND Value<>'')",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_PASSWORD='geheim'",
    "CREATE USER IF NOT EXISTS 'u'@'%' IDENTIFIED WITH mysql_native_password BY 'geheim'",
    "GRANT REPLICATION SLAVE, ALL PRIVILEGES ON *.* TO `u`@'%'",
    "SHOW SLAVE STATUS FOR CHANNEL ''",
    "/*!40101 SET @x=@@global.server_id */ # y",
    "HELP 'SHOW'",
};

enum { N_STATEMENTS = sizeof statements / sizeof *statements };

/* The text in memory of exactly its size, so that a byte too far is seen. */
static void run_exactly(struct rig *rig, const char *text, size_t n)
{
    char *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    rig_clear(rig);
    enum sql_outcome outcome = sql_execute(&rig->session, copy, n, &rig->reply, &rig->statement);
    UNIT_TRUE((outcome == SQL_LOOP) == (rig->statement != NULL));
    if (!UNIT_TRUE(rig->reply.kind != REPLY_ERROR || !strstr(rig->reply.message, "geheim"))) {
        printf("# %.*s\n# %s\n", (int)n, text, rig->reply.message);
    }
    free(copy);
}

static void every_truncation(void)
{
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, SQL_ALL_ROLES);
    for (size_t i = 0; i < N_STATEMENTS; i++) {
        for (size_t n = 0; n <= strlen(statements[i]); n++) {
            run_exactly(&rig, statements[i], n);
        }
    }
    rig_close(&rig);
}

static void random_texts(void)
{
    static const char alphabet[] = "'\"`@.,()=*/-#!\\; \n\tSELECTshow09_$%<>|&\xc3\xa4";
    struct rig rig;
    random_state = unit_seed() * 7919 + 1;
    for (unsigned i = 0; i < 30000; i++) {
        char text[300];
        size_t n = 0;
        rig_open(&rig, i % 2 ? FLAVOUR_MYSQL : FLAVOUR_MARIADB, SQL_ALL_ROLES);
        if (below(2)) {
            const char *base = statements[below(N_STATEMENTS)];
            n = strlen(base);
            memcpy(text, base, n);
            for (uint64_t changes = 1 + below(4); changes > 0; changes--) {
                text[below(n)] = below(4) ? alphabet[below(sizeof alphabet - 1)] : (char)below(256);
            }
        } else {
            n = below(200);
            for (size_t at = 0; at < n; at++) {
                text[at] = below(8) ? alphabet[below(sizeof alphabet - 1)] : (char)below(256);
            }
        }
        run_exactly(&rig, text, n);
        rig_close(&rig);
    }
    UNIT_TRUE(true);
}

static void deep_and_long_texts(void)
{
    struct rig rig;
    size_t n = 50000;
    char *text = mem_new(n + 20);
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    memcpy(text, "SELECT ", 7);
    memset(text + 7, '(', n);
    UNIT_TRUE(strstr(answer(&rig, text), "nested deeper") != NULL);
    memset(text + 7, '-', n);
    for (size_t i = 8; i < n; i += 2) {
        text[i] = ' ';
    }
    UNIT_TRUE(strstr(answer(&rig, text), "nested deeper") != NULL);
    memset(text, 0, n);
    snprintf(text, n, "SHOW VARIABLES WHERE ");
    memset(text + 21, '(', 1000);
    UNIT_TRUE(strstr(answer(&rig, text), "nested deeper") != NULL);
    memset(text, 0, n);
    snprintf(text, n, "SHOW VARIABLES LIKE '");
    memset(text + 21, '%', 1000);
    text[1021] = '\'';
    UNIT_TRUE(strstr(answer(&rig, text), "at most 256") != NULL);
    mem_free(text);
    char *huge = mem_new(SQL_TEXT_MAX + 2);
    memset(huge, ' ', SQL_TEXT_MAX + 1);
    UNIT_TRUE(strncmp(answer(&rig, huge), "1153 ", 5) == 0);
    huge[SQL_TEXT_MAX] = '\0';
    UNIT_STR(answer(&rig, huge), "1065 Query was empty");
    mem_free(huge);
    rig_close(&rig);
}

/* A long variable named in many columns must not become gigabytes. */
static void values_are_bounded(void)
{
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    char *big = mem_new(1 << 20);
    memset(big, 'x', (1 << 20) - 1);
    UNIT_INT(sql_vars_set(rig.session.vars, "a", big), 0);
    mem_free(big);
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_str(&text, "SELECT @a");
    for (unsigned i = 0; i < 60; i++) {
        buf_str(&text, ",@a");
    }
    UNIT_TRUE(strncmp(answer(&rig, buf_cstr(&text)), "1301 ", 5) != 0);
    for (unsigned i = 0; i < 1000; i++) {
        buf_str(&text, ",@a");
    }
    UNIT_TRUE(strncmp(answer(&rig, buf_cstr(&text)), "1301 ", 5) == 0);
    buf_free(&text);
    rig_close(&rig);
}

/* ---- what clients send ---- */

struct exchange {
    const char *text, *mysql, *mariadb; /* mariadb NULL: the same */
};

#define SYNTAX_MYSQL                                                                                         \
    "1064 You have an error in your SQL syntax; check the manual that corresponds to your MySQL server "     \
    "version for the right syntax to use "

static const struct exchange exchanges[] = {
    {"SELECT UNIX_TIMESTAMP()", "UNIX_TIMESTAMP()|1795208715", NULL},
    {"SHOW VARIABLES LIKE 'SERVER_ID'", "Variable_name,Value|server_id,4711", NULL},
    {"SHOW VARIABLES LIKE 'SERVER_UUID'", "Variable_name,Value|server_uuid," UUID, "Variable_name,Value"},
    {"SELECT @@GLOBAL.SERVER_ID", "@@GLOBAL.SERVER_ID|4711", NULL},
    {"SELECT @@GLOBAL.SERVER_UUID", "@@GLOBAL.SERVER_UUID|" UUID,
     "1193 Unknown system variable 'SERVER_UUID'"},
    {"SELECT @@GLOBAL.GTID_MODE", "@@GLOBAL.GTID_MODE|ON", "1193 Unknown system variable 'GTID_MODE'"},
    {"SELECT @source_binlog_checksum", "@source_binlog_checksum|~", NULL},
    {"SET @master_heartbeat_period= 2000000000", "OK", NULL},
    {"SET @master_heartbeat_period = 3000000000, @source_heartbeat_period = 3000000000", "OK", NULL},
    {"SELECT @master_heartbeat_period", "@master_heartbeat_period|3000000000", NULL},
    {"SET @master_binlog_checksum= @@global.binlog_checksum", "OK", NULL},
    {"SELECT @master_binlog_checksum", "@master_binlog_checksum|CRC32", NULL},
    {"SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = "
     "@@global.binlog_checksum",
     "OK", NULL},
    {"SELECT @source_binlog_checksum", "@source_binlog_checksum|CRC32", NULL},
    {"SET @slave_uuid= '" UUID "'", "OK", NULL},
    {"SET @slave_uuid = '" UUID "', @replica_uuid = 'x'", "OK", NULL},
    {"set @slave_uuid=uuid()", "OK", NULL},
    {"select @slave_uuid", "@slave_uuid|5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a", NULL},
    {"SELECT @@global.rpl_semi_sync_source_enabled", "@@global.rpl_semi_sync_source_enabled|1", NULL},
    {"SELECT @@global.rpl_semi_sync_master_enabled", "@@global.rpl_semi_sync_master_enabled|1", NULL},
    {"SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'",
     "Variable_name,Value|rpl_semi_sync_master_enabled,ON", NULL},
    {"SET @rpl_semi_sync_replica = 1, @rpl_semi_sync_slave = 1", "OK", NULL},
    {"SET @rpl_semi_sync_slave= 1", "OK", NULL},
    {"SET @mariadb_slave_capability=4", "OK", NULL},
    {"SET @mariadb_slave_capability='4'", "OK", NULL},
    {"SELECT @@GLOBAL.gtid_domain_id", "1193 Unknown system variable 'gtid_domain_id'",
     "@@GLOBAL.gtid_domain_id|0"},
    {"SET @slave_connect_state='0-31-5'", "OK", NULL},
    {"SET @slave_connect_state=''", "OK", NULL},
    {"SELECT @slave_connect_state", "@slave_connect_state|", NULL},
    {"SET @slave_gtid_strict_mode=0", "OK", NULL},
    {"SET @slave_gtid_ignore_duplicates=0", "OK", NULL},
    {"SET @slave_until_gtid='0-1-2'", "OK", NULL},
    {"SET skip_replication=1", "1193 Unknown system variable 'skip_replication'", "OK"},
    {"SELECT binlog_gtid_pos('mysql-bin.000001',1452)", "LOOP", NULL},
    {"SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":1', 1)", "LOOP", NULL},
    {"SELECT MASTER_GTID_WAIT(NULL)", "MASTER_GTID_WAIT(NULL)|~", NULL},
    {"SET @x = WAIT_FOR_EXECUTED_GTID_SET('" UUID ":1', 1)", "1235 SET from a variable that holds GTIDs is not supported; SELECT it", NULL},
    {"SHOW VARIABLES LIKE 'holdfast_node_id'", "Variable_name,Value|holdfast_node_id,2", NULL},
    {"SET GLOBAL holdfast_max_connections = 5", "1227 Access denied; you need (at least one of) the CLUSTER_ADMIN privilege(s) for this operation",
     NULL},
    {"SET GLOBAL holdfast_nosuch = 5", "1193 Unknown system variable 'holdfast_nosuch'; SHOW SETTINGS lists those of Holdfast", NULL},
    {"SET holdfast_max_connections = 5",
     "1229 Variable 'holdfast_max_connections' is a GLOBAL variable and should be set with SET GLOBAL", NULL},
    {"SET @@session.holdfast_max_connections = 5",
     "1229 Variable 'holdfast_max_connections' is a GLOBAL variable and should be set with SET GLOBAL", NULL},
    {"SET GLOBAL holdfast_node_id = 5", "1238 Variable 'holdfast_node_id' is a read only variable", NULL},
    {"SELECT VERSION()", "VERSION()|9.7.4-holdfast", "VERSION()|10.11.19-MariaDB-holdfast"},
    {"SET @master_binlog_checksum = 'NONE', @source_binlog_checksum = 'NONE'", "OK", NULL},
    {"select @@version_comment limit 1", "@@version_comment|Holdfast", NULL},
    {"SELECT DATABASE()", "DATABASE()|~", NULL},
    {"USE test", "OK", NULL},
    {"SELECT DATABASE()", "DATABASE()|test", NULL},
    {"select USER()", "USER()|repl@10.0.0.7", NULL},
    {"select DATABASE(), USER() limit 1", "DATABASE(),USER()|test,repl@10.0.0.7", NULL},
    {"SELECT CURRENT_USER, CURRENT_USER(), CONNECTION_ID()",
     "CURRENT_USER,CURRENT_USER(),CONNECTION_ID()|repl@%,repl@%,17", NULL},
    {"SET NAMES utf8mb4", "OK", NULL},
    {"set names 'binary'", "OK", NULL},
    {"SET NAMES utf8 COLLATE utf8_bin", "OK", NULL},
    {"show databases", "Database", NULL},
    {"show tables", "Tables_in_test", NULL},
    {"SHOW FULL TABLES FROM `x` LIKE 'a%'", "Tables_in_x", NULL},
    {"SHOW WARNINGS", "Level,Code,Message", NULL},
    {"SHOW WARNINGS LIMIT 10", "Level,Code,Message", NULL},
    {"select @@character_set_client, @@character_set_connection, @@character_set_server, "
     "@@character_set_database limit 1",
     "@@character_set_client,@@character_set_connection,@@character_set_server,@@character_set_database|"
     "utf8mb4,utf8mb4,utf8mb4,utf8mb4",
     NULL},
    {"SET AUTOCOMMIT = 0", "OK", NULL},
    {"COMMIT", "OK", NULL},
    {"ROLLBACK;", "OK", NULL},
    {"BEGIN", "OK", NULL},
    {"START TRANSACTION WITH CONSISTENT SNAPSHOT", "OK", NULL},
    {"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "OK", NULL},
    {"set net_write_timeout=3600", "OK", NULL},
    {"set wait_timeout=9999999", "OK", NULL},
    {"SET SESSION wait_timeout = 5, @@session.net_read_timeout = DEFAULT, @x := 'y'", "OK", NULL},
    {"SET sql_mode='STRICT_TRANS_TABLES'", "OK", NULL},
    {"/*!40101 SET NAMES utf8 */", "OK", NULL},
    {"SELECT 1", "1|1", NULL},
    {"select 'abc'", "abc|abc", NULL},
    {"SELECT 1 + 1, 3-5 x, -7 AS y", "1 + 1,x,y|2,-2,-7", NULL},
    {"SELECT NULL", "NULL|~", NULL},
    {"SELECT 1 FROM DUAL", "1|1", NULL},
    {"SELECT @@global.read_only read_only", "read_only|1", NULL},
    {"SELECT @@global.read_only&@@global.innodb_read_only read_only", "read_only|1", NULL},
    {"SELECT @@global.read_only|@@global.nope read_only", "1193 Unknown system variable 'nope'", NULL},
    {"SELECT @@global.super_read_only 'a b'", "a b|1", "1193 Unknown system variable 'super_read_only'"},
    {"SELECT ifnull(@@global.report_host,''), @@global.master_info_repository = 'TABLE'",
     "ifnull(@@global.report_host,''),@@global.master_info_repository = 'TABLE'|,1",
     "1193 Unknown system variable 'master_info_repository'"},
    {"select @@global.server_id, @@global.version, @@global.binlog_format, @@global.log_bin, "
     "@@global.log_slave_updates",
     "@@global.server_id,@@global.version,@@global.binlog_format,@@global.log_bin,@@global.log_slave_updates|"
     "4711,9.7.4-holdfast,ROW,1,1",
     "@@global.server_id,@@global.version,@@global.binlog_format,@@global.log_bin,@@global.log_slave_updates|"
     "4711,10.11.19-MariaDB-holdfast,ROW,1,1"},
    {"show variables like 'maxscale%'", "Variable_name,Value", NULL},
    {"SHOW GLOBAL VARIABLES LIKE 'BINLOG_CHECKSUM'", "Variable_name,Value|binlog_checksum,CRC32", NULL},
    {"SHOW VARIABLES LIKE 'BINLOG_ROW_METADATA'", "Variable_name,Value|binlog_row_metadata,MINIMAL", NULL},
    {"SHOW VARIABLES LIKE 'binlog_row_image'", "Variable_name,Value|binlog_row_image,FULL", NULL},
    {"SHOW VARIABLES WHERE Variable_name IN ('rpl_semi_sync_master_enabled','rpl_semi_sync_source_enabled')",
     "Variable_name,Value|rpl_semi_sync_master_enabled,ON|rpl_semi_sync_source_enabled,ON", NULL},
    {"SHOW VARIABLES WHERE `Variable_name` = 'server_id' OR variable_name='read_only' AND NOT Variable_name "
     "LIKE 's%'",
     "Variable_name,Value|read_only,ON|server_id,4711", NULL},
    {"SHOW GLOBAL VARIABLES LIKE 'GTID_MODE'", "Variable_name,Value|gtid_mode,ON", "Variable_name,Value"},
    {"SELECT GTID_SUBTRACT('" UUID ":1-10','" UUID ":3-4')",
     "GTID_SUBTRACT('" UUID ":1-10','" UUID ":3-4')|" UUID ":1-2:5-10", NULL},
    {"SELECT GTID_SUBTRACT('x','') a", "1772 Malformed GTID set specification 'x'.", NULL},
    {"SELECT GTID_SUBSET('" UUID ":2','" UUID ":1-4') a", "a|1", NULL},
    {"SELECT VERSION(1)", "1582 Incorrect parameter count in the call to native function 'VERSION'", NULL},
    {"SELECT NOW() n", "n|2026-11-20 21:05:15", NULL},
    {"SELECT @@GLOBAL.GTID_EXECUTED", "LOOP", "1193 Unknown system variable 'GTID_EXECUTED'"},
    {"SELECT @@global.gtid_purged", "LOOP", "1193 Unknown system variable 'gtid_purged'"},
    {"SELECT @@gtid_current_pos", "1193 Unknown system variable 'gtid_current_pos'", "LOOP"},
    {"show global variables like 'gtid_purged'", "LOOP", "Variable_name,Value"},
    {"SHOW VARIABLES", "LOOP", NULL},
    {"SET @x = @@gtid_executed", "1235 SET from a variable that holds GTIDs is not supported; SELECT it",
     "1193 Unknown system variable 'gtid_executed'"},
    {"SELECT @@nosuch", "1193 Unknown system variable 'nosuch'", NULL},
    {"SET nosuch = 1", "1193 Unknown system variable 'nosuch'", NULL},
    {"SET GLOBAL wait_timeout = 1", "1238 Variable 'wait_timeout' is a read only variable", NULL},
    {"SET server_id = 1", "1238 Variable 'server_id' is a read only variable", NULL},
    {"SET @x = 5, @y", SYNTAX_MYSQL "near '' at line 1",
     "1064 You have an error in your SQL syntax; check the manual that corresponds to your MariaDB server "
     "version for the right syntax to use near '' at line 1"},
    {"SELECT @x", "@x|y", NULL}, /* nothing of the broken SET was done */
    {"", "1065 Query was empty", NULL},
    {" /* */ ; ;", "1065 Query was empty", NULL},
};

static void clients_get_what_they_need(void)
{
    static const enum flavour flavours[] = {FLAVOUR_MYSQL, FLAVOUR_MARIADB};
    for (size_t f = 0; f < 2; f++) {
        struct rig rig;
        rig_open(&rig, flavours[f], ROLE_REPLICA);
        for (size_t i = 0; i < sizeof exchanges / sizeof *exchanges; i++) {
            const struct exchange *e = &exchanges[i];
            const char *want = f && e->mariadb ? e->mariadb : e->mysql;
            if (!UNIT_STR(answer(&rig, e->text), want)) {
                printf("# %s: %s\n", flavour_name(flavours[f]), e->text);
            }
        }
        rig_close(&rig);
    }
}

static void before_any_source_we_speak_as_mysql(void)
{
    struct rig rig;
    rig_open(&rig, FLAVOUR_NONE, 0);
    UNIT_STR(answer(&rig, "SELECT @@gtid_mode, @@version"), "@@gtid_mode,@@version|ON,8.4.0-holdfast");
    rig_close(&rig);
}

static void numbers_have_number_columns(void)
{
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    run(&rig, "SELECT UNIX_TIMESTAMP(), 'a', @@server_id, -1, @@version");
    UNIT_REQUIRE(rig.reply.kind == REPLY_ROWS);
    static const enum table_type want[] = {TABLE_NUMBER, TABLE_TEXT, TABLE_NUMBER, TABLE_TEXT, TABLE_TEXT};
    for (size_t i = 0; i < 5; i++) {
        UNIT_INT(table_type(rig.reply.table, i), want[i]);
    }
    rig_close(&rig);
}

static void jdbc_asks_for_many_at_once(void)
{
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    run(&rig,
        "/* mysql-connector-j-8.4.0 */SELECT  @@session.auto_increment_increment AS "
        "auto_increment_increment, "
        "@@character_set_client AS character_set_client, @@character_set_connection AS "
        "character_set_connection, "
        "@@character_set_results AS character_set_results, @@character_set_server AS character_set_server, "
        "@@collation_server AS collation_server, @@collation_connection AS collation_connection, "
        "@@init_connect AS init_connect, "
        "@@interactive_timeout AS interactive_timeout, @@license AS license, @@lower_case_table_names AS "
        "lower_case_table_names, "
        "@@max_allowed_packet AS max_allowed_packet, @@net_write_timeout AS net_write_timeout, "
        "@@performance_schema AS performance_schema, @@sql_mode AS sql_mode, @@system_time_zone AS "
        "system_time_zone, "
        "@@time_zone AS time_zone, @@transaction_isolation AS transaction_isolation, @@wait_timeout AS "
        "wait_timeout");
    UNIT_REQUIRE(rig.reply.kind == REPLY_ROWS);
    UNIT_UINT(table_columns(rig.reply.table), 19);
    UNIT_STR(table_name(rig.reply.table, 0), "auto_increment_increment");
    UNIT_STR(table_cell(rig.reply.table, 0, 18, NULL), "28800");
    rig_close(&rig);
}

static void syntax_errors_quote_the_place(void)
{
    static const char *const cases[][2] = {
        {"select $$", SYNTAX_MYSQL "near '$$' at line 1"},
        {"FOO BAR", SYNTAX_MYSQL "near 'FOO BAR' at line 1"},
        {"SELECT\n 1,\n ,2", SYNTAX_MYSQL "near ',2' at line 3"},
        {"SELECT 1; SELECT 2", SYNTAX_MYSQL "near '; SELECT 2' at line 1"},
        {"SELECT 'abc", SYNTAX_MYSQL "near ''abc' at line 1"},
        {"SELECT * FROM t", SYNTAX_MYSQL "near '* FROM t' at line 1"},
        {"SELECT 1 FROM performance_schema.x", SYNTAX_MYSQL "near 'performance_schema.x' at line 1"},
        {"SELECT CONCAT('a')", "1305 FUNCTION CONCAT does not exist"},
        {"FOO 'x' BAR", SYNTAX_MYSQL "near 'FOO ' at line 1"},
        {"SHOW", SYNTAX_MYSQL "near 'SHOW' at line 1"},
        {"SHOW VARIABLES LIKE", SYNTAX_MYSQL "near '' at line 1"},
        {"SHOW VARIABLES WHERE x = 'a'", SYNTAX_MYSQL "near 'x = 'a'' at line 1"},
    };
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        UNIT_STR(answer(&rig, cases[i][0]), cases[i][1]);
    }
    rig_close(&rig);
}

static void passwords_stay_out_of_errors(void)
{
    static const char *const texts[] = {
        "CREATE USER u IDENTIFIED BY geheim",
        "CREATE USER u IDENTIFED BY 'geheim'",
        "CRATE USER u IDENTIFIED BY 'geheim'",
        "ALTER USER u 'geheim'",
        "SET PASSWORD = 'geheim'",
        "SET PASSWORD FOR u = PASSWORD('geheim')",
        "GRANT ALL ON *.* TO u IDENTIFIED BY 'geheim'",
        "CHANGE MASTER TO MASTER_PASSWORD geheim",
        "CHANGE MASTER MASTER_PASSWORD='geheim'",
        "CREATE USER u IDENTIFIED BY 'geheim",
        "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='it's geheim', SOURCE_HOST='x'",
    };
    struct rig rig;
    for (uint32_t roles = 0; roles <= SQL_ALL_ROLES; roles += SQL_ALL_ROLES) {
        rig_open(&rig, FLAVOUR_MYSQL, roles);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            const char *text = answer(&rig, texts[i]);
            UNIT_TRUE(!strstr(text, "geheim"));
        }
        rig_close(&rig);
    }
}

static void roles_decide(void)
{
    static const struct {
        const char *text;
        uint32_t roles; /* of which one is enough; 0: everybody */
    } cases[] = {
        {"SHOW CLUSTER MEMBERS", SQL_MONITOR},
        {"SHOW REPLICA STATUS", SQL_MONITOR},
        {"SHOW SLAVE STATUS", SQL_MONITOR},
        {"SHOW BINARY LOG STATUS", SQL_MONITOR},
        {"SHOW MASTER STATUS", SQL_MONITOR},
        {"SHOW BINARY LOGS", SQL_MONITOR},
        {"SHOW MASTER LOGS", SQL_MONITOR},
        {"FLUSH BINARY LOGS", SQL_MONITOR},
        {"SHOW REPLICAS", SQL_REPLICA},
        {"SHOW SLAVE HOSTS", SQL_REPLICA},
        {"SHOW GLOBAL STATUS LIKE 'Uptime'", 0},
        {"SHOW SESSION STATUS LIKE 'Ssl_version'", 0},
        {"SHOW FULL PROCESSLIST", 0},
        {"SHOW GRANTS FOR CURRENT_USER", 0},
        {"SHOW SETTINGS", SQL_MONITOR},
        {"KILL CONNECTION 5", 0},
        {"KILL 5", 0},
        {"SHOW USERS", SQL_ADMIN},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='x'", SQL_ADMIN},
        {"CHANGE MASTER TO MASTER_HOST='x'", SQL_ADMIN},
        {"START REPLICA", SQL_ADMIN},
        {"STOP SLAVE", SQL_ADMIN},
        {"RESET REPLICA ALL", SQL_ADMIN},
        {"CREATE USER u IDENTIFIED BY 'x'", SQL_ADMIN},
        {"ALTER USER u IDENTIFIED BY 'x'", 0}, /* the loop knows whose it is */
        {"SHOW CREATE USER u", SQL_ADMIN},
        {"RENAME USER u TO v", SQL_ADMIN},
        {"DROP USER u", SQL_ADMIN},
        {"GRANT USAGE ON *.* TO u", SQL_ADMIN},
        {"REVOKE USAGE ON *.* FROM u", SQL_ADMIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (uint32_t roles = 0; roles <= SQL_ALL_ROLES; roles++) {
            struct rig rig;
            rig_open(&rig, FLAVOUR_MYSQL, roles);
            const char *got = answer(&rig, cases[i].text);
            bool may = !cases[i].roles || (cases[i].roles & roles);
            UNIT_TRUE(strncmp(got, "1227 Access denied; you need (at least one of) the ", 51) == 0 ? !may
                                                                                                   : may);
            UNIT_TRUE(!may || !strcmp(got, "LOOP") || !strcmp(got, "OK"));
            rig_close(&rig);
        }
    }
}

static void help_prints_the_table(void)
{
    struct rig rig;
    rig_open(&rig, FLAVOUR_MYSQL, 0);
    run(&rig, "HELP");
    UNIT_REQUIRE(rig.reply.kind == REPLY_ROWS);
    UNIT_TRUE(table_rows(rig.reply.table) > 30);
    run(&rig, "help 'cluster members'");
    UNIT_REQUIRE(rig.reply.kind == REPLY_ROWS);
    UNIT_UINT(table_rows(rig.reply.table), 1);
    UNIT_STR(table_cell(rig.reply.table, 0, 0, NULL), "SHOW CLUSTER MEMBERS");
    rig_close(&rig);
}

/* Each row says what it is, whom it is for, and gives an example that is a statement of this very row; with nonsense behind it it is
 * refused. That the loop can read the examples too is test_control's. */
static void every_row_is_whole(void)
{
    const struct sql_row *rows;
    size_t n = sql_rows(&rows);
    UNIT_TRUE(n > 40);
    for (size_t i = 0; i < n; i++) {
        const struct sql_row *row = &rows[i];
        struct rig rig;
        char broken[600];
        if (!UNIT_TRUE(row->words && row->rest && row->run && row->help && row->help[0] && row->example && row->example[0])) {
            printf("# row %zu: %s\n", i, row->words);
            continue;
        }
        UNIT_TRUE((row->roles & ~SQL_ALL_ROLES) == 0);
        UNIT_TRUE(row->roles == 0 || sql_needed(row->roles)[0]);
        for (size_t other = 0; other < n; other++) {
            UNIT_TRUE(other == i || strcmp(rows[other].words, row->words) != 0);
        }
        rig_open(&rig, FLAVOUR_MYSQL, SQL_ALL_ROLES);
        enum sql_outcome outcome = run(&rig, row->example);
        bool there = outcome == SQL_LOOP ? rig.statement->row == row : row->where != ON_LOOP;
        bool read = rig.reply.kind != REPLY_ERROR || rig.reply.code == 1235;
        if (!UNIT_TRUE(there && read)) {
            printf("# %s: %s\n", row->example, rig.reply.kind == REPLY_ERROR ? rig.reply.message : "another row");
        }
        snprintf(broken, sizeof broken, "%s geheim )", row->example);
        outcome = run(&rig, broken);
        UNIT_TRUE(outcome == SQL_LOOP || (rig.reply.kind == REPLY_ERROR && rig.reply.code == 1064));
        rig_close(&rig);
        rig_open(&rig, FLAVOUR_MYSQL, 0);
        (void)run(&rig, row->example);
        UNIT_TRUE(row->roles == 0 || (rig.reply.kind == REPLY_ERROR && rig.reply.code == 1227));
        rig_close(&rig);
    }
}

UNIT_MAIN("sql", UNIT_TEST(views_are_counted), UNIT_TEST(too_many_tokens), UNIT_TEST(every_truncation), UNIT_TEST(random_texts),
          UNIT_TEST(deep_and_long_texts),
          UNIT_TEST(values_are_bounded), UNIT_TEST(clients_get_what_they_need),
          UNIT_TEST(before_any_source_we_speak_as_mysql), UNIT_TEST(numbers_have_number_columns),
          UNIT_TEST(jdbc_asks_for_many_at_once), UNIT_TEST(syntax_errors_quote_the_place),
          UNIT_TEST(passwords_stay_out_of_errors), UNIT_TEST(roles_decide), UNIT_TEST(help_prints_the_table), UNIT_TEST(every_row_is_whole))
