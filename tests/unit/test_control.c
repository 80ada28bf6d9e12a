/* test_control: statements on the loop's side, against a real cluster of one node, its source link and its
 * serving part, on the simulator's disk: what they show, what they change, what they refuse; and that
 * everything is answered when the node closes in the middle. */
#include "node/control.h"
#include "node/serve.h"
#include "node/source.h"
#include "node/sql_impl.h"
#include "tests/unit/control_script.h"
#include "tests/unit/unit.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

#define UUID CONTROL_UUID

/* ---- the cases ---- */

static void a_new_node_shows_itself(void)
{
    static const char *const steps[][2] = {
        {"SHOW CLUSTER MEMBERS", "Id,Address,Role,State,Version,Applied,Self,Lag,Seen,Note,Goal|1,a:1,voter,leader,"},
        {"SHOW REPLICA STATUS", "Replica_IO_State,Source_Host,Source_User,Source_Port,Connect_Retry,"},
        {"SHOW SLAVE STATUS", "Slave_IO_State,Master_Host,Master_User,Master_Port,Connect_Retry,"},
        {"SHOW BINARY LOG STATUS", "File,Position,Binlog_Do_DB,Binlog_Ignore_DB,Executed_Gtid_Set"},
        {"SHOW MASTER STATUS", "File,Position,Binlog_Do_DB,Binlog_Ignore_DB,Executed_Gtid_Set"},
        {"SHOW BINARY LOGS", "Log_name,File_size,Encrypted"},
        {"SHOW MASTER LOGS", "Log_name,File_size,Encrypted"},
        {"SHOW REPLICAS", "Server_Id,Host,Port,Source_Id,Replica_UUID"},
        {"SHOW SLAVE HOSTS", "Server_id,Host,Port,Master_id,Slave_UUID"},
        {"SHOW PROCESSLIST",
         "Id,User,Host,db,Command,Time,State,Info|17,root,localhost,~,Query,0,starting,SHOW PROCESSLIST"},
        {"SHOW USERS", "User,Host,Roles,Plugin,Locked,Require_ssl"},
        {"SHOW GRANTS", "Grants for root@localhost|GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `root`@`localhost`|"
                        "GRANT CLUSTER_ADMIN ON *.* TO `root`@`localhost`"},
        {"SHOW GRANTS FOR 'nobody'", "1141 "},
        {"SHOW STATUS LIKE 'Holdfast_protected'", "Variable_name,Value|Holdfast_protected,no"},
        {"SHOW STATUS LIKE 'Holdfast_protected_reason'",
         "Variable_name,Value|Holdfast_protected_reason,one voter, no redundancy; no source is set"},
        {"SHOW GLOBAL STATUS WHERE Variable_name IN ('Holdfast_node_id', 'Holdfast_leader_id')",
         "Variable_name,Value|Holdfast_node_id,1|Holdfast_leader_id,1"},
        {"SHOW SESSION STATUS LIKE 'Ssl_cipher'", "Variable_name,Value|Ssl_cipher,TLS_AES_256_GCM_SHA384"},
        {"show global status like 'Uptime'", "Variable_name,Value|Uptime,"},
        {"SHOW STATUS", "*|Holdfast_source_phase,"},
        {"SHOW STATUS WHERE nosuch = 1", "1064 "},
        {"SELECT @@gtid_executed, @@gtid_purged, @@server_id a", "@@gtid_executed,@@gtid_purged,a|,,4711"},
        {"SHOW VARIABLES", "*|socket,/holdfast.sock|"},
        {"SHOW VARIABLES WHERE Value = '4711'", "Variable_name,Value|server_id,4711"},
        {"KILL 99", "1094 Unknown thread id: 99"},
        {"KILL 99999999999", "1064 "},
        {"KILL 4294967296", "1094 "},
        {"START REPLICA", "1200 "},
        {"STOP REPLICA", "1200 "},
        {"RESET REPLICA ALL", "OK"},
        {"SHOW ALARMS", "Id,Kind,State,Acknowledged,Since,Until,Source,From_gtid,To_gtid,Text"},
        {"ACKNOWLEDGE ALARM 7", "1105 there is no alarm 7"},
        {"ACKNOWLEDGE ALARM x", "1064 "},
        {"ACKNOWLEDGE ALARM 7 8", "1064 "},
        {"SHOW STATUS LIKE 'Holdfast_alarms'", "Variable_name,Value|Holdfast_alarms,0"},
        {"CHECK REPLICATION SOURCE", "1105 "},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES};
    control_script_run_alone(&script);
}

static void a_source_is_set_and_changed(void)
{
    static const char *const steps[][2] = {
        {"CHANGE REPLICATION SOURCE TO SOURCE_PORT=3307", "1210 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='', SOURCE_PORT=1", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_PORT=65536", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_PORT=0", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_SSL_MODE='maybe'", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_CONNECT_RETRY=1",
         "1235 option SOURCE_CONNECT_RETRY is not supported"},
        {"CHANGE REPLICATION SOURCE TO HOST='h'", "1235 option HOST is not supported"},
        {"CHANGE REPLICATION SOURCE TO", "1064 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD=geheim", "1064 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='db1', SOURCE_PORT=3307, SOURCE_USER='repl', "
         "SOURCE_PASSWORD='geheim', SOURCE_SSL=1, "
         "SOURCE_START='NOW', SOURCE_AUTO_POSITION=1",
         "OK"},
        {"SHOW REPLICA STATUS", "*|,db1,repl,3307,60,,0,,0,,No,Yes,"},
        {"CHANGE MASTER TO MASTER_USER='other', MASTER_USE_GTID=slave_pos FOR CHANNEL ''", "OK"},
        {"SHOW SLAVE STATUS", "*|,db1,other,3307,60,"},
        {"SHOW STATUS LIKE 'Holdfast_source'", "Variable_name,Value|Holdfast_source,db1:3307"},
        {"SHOW STATUS LIKE 'Holdfast_protected_reason'", "*following db1:3307 is stopped"},
        {"START REPLICA FOR CHANNEL 'x'", "3074 "},
        {"START REPLICA now", "1064 "},
        {"START REPLICA", "OK"},
        {"START SLAVE", "OK with a warning"},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='db2'", "3021 "},
        {"RESET SLAVE ALL", "3021 "},
        {"RESET REPLICA KEEP OLD 'before'", "3021 "},
        {"RESET REPLICA KEEP OLD '../up'", "1210 "},
        {"RESET REPLICA KEEP before", "1064 "},
        {"STOP SLAVE", "OK"},
        {"STOP REPLICA", "OK with a warning"},
        {"RESET REPLICA", "OK with a warning"},
        {"SHOW REPLICA STATUS", "*|,db1,other,3307,60,"},
        {"RESET REPLICA ALL", "OK"},
        {"SHOW STATUS LIKE 'Holdfast_protected_reason'", "*no source is set"},
        {"START REPLICA", "1200 "},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES};
    control_script_run_alone(&script);
}

/* TLS files and compression; a CA alone asks for its signature, whatever SOURCE_SSL says beside 0. */
static void a_source_by_tls(void)
{
    static const char *const steps[][2] = {
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_SSL_CA='relative.pem'", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_SSL_CERT='/c.pem'", "1210 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_SSL_KEY='/k.pem'", "1210 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_COMPRESSION='lz4'", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_COMPRESSION='zstd:23'", "1231 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_HOST='h', SOURCE_COMPRESSION_ALGORITHMS='zstd,uncompressed'", "OK"},
        {"CHANGE REPLICATION SOURCE TO SOURCE_SSL_CERT='/c.pem', SOURCE_SSL_KEY='/k.pem', SOURCE_COMPRESSION='zlib'", "OK"},
        {"SHOW REPLICA STATUS", "*,Yes,,,/c.pem,,/k.pem,~,No,"},
        {"CHANGE MASTER TO MASTER_SSL=1, MASTER_SSL_CA='/ca.pem', MASTER_SSL_CERT='', MASTER_SSL_KEY=''", "OK"},
        {"SHOW REPLICA STATUS", "*,Yes,/ca.pem,,,,,~,Yes,"},
        {"CHANGE REPLICATION SOURCE TO SOURCE_SSL_CERT='/c.pem'", "1210 "},
        {"CHANGE REPLICATION SOURCE TO SOURCE_SSL_CA='/ca.pem', SOURCE_SSL=0", "OK"},
        {"SHOW REPLICA STATUS", "*,No,/ca.pem,,,,,~,No,"},
        {"CHANGE REPLICATION SOURCE TO SOURCE_SSL_VERIFY_SERVER_CERT=1", "OK"},
        {"SHOW REPLICA STATUS", "*,Yes,/ca.pem,,,,,~,Yes,"},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES};
    control_script_run_alone(&script);
}

#define USERS "User,Host,Roles,Plugin,Locked,Require_ssl"
#define NATIVE_HASH "*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9" /* of 123456 */
#define SHA2_HASH "$A$005$abcdefghijklmnopqrstw7A.Ll.lqHdoKrkzAjYvxfcK7rJmh3fxMZtMuo7oKE6"
#define DEFAULTS " REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT " \
                 "PASSWORD REQUIRE CURRENT DEFAULT"

static void accounts_come_and_go(void)
{
    static const char *const steps[][2] = {
        {"CREATE USER 'repl'@'%' IDENTIFIED BY 'geheim'", "OK"},
        {"CREATE USER repl IDENTIFIED BY 'geheim'", "1396 "},
        {"CREATE USER IF NOT EXISTS repl IDENTIFIED BY 'geheim'", "OK with a warning"},
        {"CREATE USER mon@'db1.example.com' IDENTIFIED BY 'geheim'", "1470 "},
        {"CREATE USER mon@'10.1.2.3/16' IDENTIFIED BY 'geheim'", "1470 "},
        {"CREATE USER mon", "1064 "},
        {"CREATE USER mon IDENTIFIED BY geheim", "1064 "},
        {"CREATE USER mon IDENTIFIED WITH sha256_password BY 'geheim'", "1524 "},
        {"CREATE USER mon IDENTIFIED WITH caching_sha2_password BY 'geheim'", "OK"},
        {"CREATE USER '' IDENTIFIED BY 'geheim'", "1470 "},
        {"CREATE USER mon IDENTIFIED WITH 'geheim'", "1524 "},
        {"DROP USER a1,a2,a3,a4,a5,a6,a7,a8,a9,a10,a11,a12,a13,a14,a15,a16,a17", "1105 more than 16 accounts"},
        {"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO repl", "OK"},
        {"GRANT ALL ON mysql.* TO repl", "1221 "},
        {"GRANT USAGE ON *.* TO nobody", "1410 "},
        {"SHOW GRANTS FOR repl", "Grants for repl@%|GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `repl`@`%`"},
        {"GRANT SELECT, REPLICATION CLIENT, RELOAD ON *.* TO mon", "OK with a warning"},
        {"REVOKE REPLICATION CLIENT ON *.* FROM mon", "OK"},
        {"SHOW GRANTS FOR mon", "Grants for mon@%|GRANT USAGE ON *.* TO `mon`@`%`"},
        {"GRANT CLUSTER_ADMIN ON *.* TO mon WITH GRANT OPTION", "OK"},
        {"GRANT USAGE ON *.* TO mon WITH GRANT OPTION", "1235 "},
        {"ALTER USER mon IDENTIFIED BY 'geheim2'", "OK"},
        {"ALTER USER nobody IDENTIFIED BY 'geheim2'", "1396 "},
        {"ALTER USER mon", "1064 "},
        {"SHOW USERS", USERS "|repl,%,replica,monitor,any,no,no|mon,%,admin,caching_sha2_password,no,no"},
        {"DROP USER repl@'%'", "OK"},
        {"DROP USER repl", "1396 "},
        {"DROP USER IF EXISTS repl", "OK with a warning"},
        {"REVOKE USAGE ON *.* FROM repl", "1141 "},
        {"SHOW USERS", USERS "|mon,%,admin,caching_sha2_password,no,no"},
    };
    static const char *const again[][2] = {{"SHOW USERS", USERS "|mon,%,admin,caching_sha2_password,no,no"}};
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES},
                  after = {STEPS(again), .roles = SQL_ALL_ROLES};
    struct sim *sim = sim_new(unit_seed());
    struct sim_host *host = sim_host_new(sim, "a");
    control_script_run(host, &script);
    control_script_run(host, &after);
    sim_free(sim);
}

/* A name with two hosts is two accounts; several in one statement: all or none. */
static void accounts_have_hosts(void)
{
    static const char *const steps[][2] = {
        {"CREATE USER a@'10.1.%' IDENTIFIED BY 'geheim', a@localhost IDENTIFIED BY 'geheim', a@'10.2.0.0/16' IDENTIFIED BY 'geheim'", "OK"},
        {"CREATE USER b IDENTIFIED BY 'geheim', a@localhost IDENTIFIED BY 'geheim'", "1396 Operation CREATE USER failed for 'a'@'localhost'"},
        {"CREATE USER IF NOT EXISTS b IDENTIFIED BY 'geheim', a@localhost IDENTIFIED BY 'geheim'", "OK with a warning"},
        {"GRANT REPLICATION SLAVE ON *.* TO a@localhost, b", "OK"},
        {"GRANT REPLICATION CLIENT ON *.* TO a@localhost, c", "1410 "},
        {"GRANT REPLICATION CLIENT ON *.* TO a", "1410 "},
        {"SHOW USERS", USERS "|a,10.1.%,,any,no,no|a,localhost,replica,any,no,no|a,10.2.0.0/16,,any,no,no|b,%,replica,any,no,no"},
        {"ALTER USER a@localhost, b REQUIRE SSL ACCOUNT LOCK", "OK"},
        {"ALTER USER b ACCOUNT UNLOCK", "OK"},
        {"ALTER USER b REQUIRE X509", "1235 "},
        {"RENAME USER a@'10.1.%' TO d@'10.1.%', a@localhost TO d", "OK"},
        {"RENAME USER b TO d", "1396 Operation RENAME USER failed for 'b'@'%': it would get a name that is taken"},
        {"DROP USER a@'10.2.0.0/16', d, e", "1396 Operation DROP USER failed for 'e'@'%'"},
        {"DROP USER a@'10.2.0.0/16', d@'10.1.%'", "OK"},
        {"SHOW USERS", USERS "|b,%,replica,any,no,yes|d,%,replica,any,yes,yes"},
        {"REVOKE ALL PRIVILEGES, GRANT OPTION FROM b, d", "OK"},
        {"REVOKE IF EXISTS ALL ON *.* FROM b, nobody", "OK with a warning"},
        {"SHOW USERS", USERS "|b,%,,any,no,yes|d,%,,any,yes,yes"},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES};
    control_script_run_alone(&script);
}

/* In the words of either flavour, and back. */
static void hashes_are_taken_and_shown(void)
{
    static const char *const mysql[][2] = {
        {"CREATE USER n IDENTIFIED WITH 'mysql_native_password' AS '" NATIVE_HASH "'" DEFAULTS, "OK"},
        {"SHOW CREATE USER n", "CREATE USER for n@%|CREATE USER `n`@`%` IDENTIFIED WITH 'mysql_native_password' AS '" NATIVE_HASH "'" DEFAULTS},
        {"CREATE USER s IDENTIFIED WITH 'caching_sha2_password' AS '" SHA2_HASH "'", "OK"},
        {"SHOW CREATE USER s", "CREATE USER for s@%|CREATE USER `s`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x24412430303524616263"},
        {"CREATE USER x IDENTIFIED WITH caching_sha2_password AS 0x244124303035246162636465666768696A6B6C6D6E6F7071727374"
         "7737412E4C6C2E6C7148646F4B726B7A416A597678666" "34B37724A6D683366784D5A744D756F376F4B4536", "OK"},
        {"CREATE USER y IDENTIFIED WITH caching_sha2_password AS '*ABC'", "1827 "},
        {"CREATE USER y IDENTIFIED WITH caching_sha2_password AS '$A$FFF$abcdefghijklmnopqrstw7A.Ll.lqHdoKrkzAjYvxfcK7rJmh3fxMZtMuo7oKE6'",
         "1105 a hash of more than"},
        {"CREATE USER y IDENTIFIED WITH mysql_native_password AS '*ZBB4837EB74329105EE4568DDA7DC67ED2CA2AD9'", "1827 "},
        {"CREATE USER y IDENTIFIED WITH mysql_native_password AS 0x", "1064 "},
        {"CREATE USER p IDENTIFIED BY PASSWORD '" NATIVE_HASH "'", "OK"},
        {"SET PASSWORD FOR p = 'geheim'", "OK"},
        {"SHOW CREATE USER p", "*`p`@`%` IDENTIFIED WITH 'mysql_native_password' AS '*462366917EEDD1970A48E87D8EF59EB67D2CA26F'"},
        {"CREATE USER a IDENTIFIED BY 'geheim'", "OK"},
        {"SHOW CREATE USER a", "*`a`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x2441243030352"},
        {"DROP USER a", "OK"},
        {"SET PASSWORD FOR p TO RANDOM", "1235 "},
        {"SET PASSWORD = 'geheim'", "1396 "},
        {"SHOW USERS", USERS "|n,%,,mysql_native_password,no,no|s,%,,caching_sha2_password,no,no|x,%,,caching_sha2_password,no,no|p,%,,mysql_native_password,no,no"},
    };
    static const char *const mariadb[][2] = {
        {"GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO g IDENTIFIED BY 'geheim'", "OK"},
        {"SHOW GRANTS FOR g", "Grants for g@%|GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `g`@`%`"},
        {"SHOW CREATE USER g", "CREATE USER for g@%|CREATE USER `g`@`%` IDENTIFIED BY PASSWORD '*"},
        {"CREATE USER n IDENTIFIED VIA mysql_native_password USING '" NATIVE_HASH "'", "OK"},
        {"SHOW CREATE USER n", "CREATE USER for n@%|CREATE USER `n`@`%` IDENTIFIED BY PASSWORD '" NATIVE_HASH "'"},
        {"CREATE USER m IDENTIFIED VIA mysql_native_password USING PASSWORD('geheim') REQUIRE SSL", "OK"},
        {"SET PASSWORD FOR m = 'geheim'", "1827 "},
        {"SET PASSWORD FOR m = PASSWORD('geheim')", "OK"},
        {"SET PASSWORD FOR m = '" NATIVE_HASH "'", "OK"},
        {"CREATE USER IF NOT EXISTS m IDENTIFIED BY 'geheim'", "OK with a warning"},
    };
    struct control_script script = {STEPS(mysql), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MYSQL, .with_file = true};
    control_script_run_alone(&script);
    struct control_script other = {STEPS(mariadb), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MARIADB, .with_file = true};
    control_script_run_alone(&other);
}

/* The examples of the table of statements can be read to their end: no 1064, whatever else they find here; MariaDB's own
 * are unknown to MySQL. */
static void read_examples(enum flavour flavour)
{
    static const char *steps[CONTROL_STATEMENTS_MAX][2];
    const struct sql_row *rows;
    size_t n = sql_rows(&rows), used = 0, unknown = 0;
    for (size_t i = 0; i < n && used < CONTROL_STATEMENTS_MAX; i++) {
        bool mariadbs = !strcmp(rows[i].words, "SHOW REPLICA|SLAVE") || !strncmp(rows[i].words, "SHOW ALL SLAVES", 15);
        if (rows[i].where != ON_WORKER && strncmp(rows[i].words, "CHECK REPLICATION", 17) != 0) {
            steps[used][0] = rows[i].example;
            steps[used++][1] = mariadbs && flavour == FLAVOUR_MYSQL ? "1064 " : "!1064 ";
            unknown += mariadbs;
        }
    }
    struct control_script script = {.steps = (const char *const(*)[2])steps, .n = used, .roles = SQL_ALL_ROLES, .flavour = flavour,
                            .with_file = true};
    UNIT_TRUE(used > 30);
    UNIT_UINT(unknown, 2);
    control_script_run_alone(&script);
}

static void every_example_is_read(void)
{
    read_examples(FLAVOUR_MYSQL);
    read_examples(FLAVOUR_MARIADB);
}

static void settings_are_kept(void)
{
    static const char *const steps[][2] = {
        {"SHOW SETTINGS", "Name,Value,Default,Values,Description|cluster_server_id,"},
        {"SHOW SETTINGS", "*|max_connections,0,0,0 to 20000,"},
        {"SHOW VARIABLES LIKE 'holdfast_replica%'", "Variable_name,Value|holdfast_replica_queue,262144|holdfast_replica_queue_all,33554432"},
        {"SET GLOBAL holdfast_max_connections = 500", "OK"},
        {"SELECT @@holdfast_max_connections, @@global.holdfast_default_auth a", "@@holdfast_max_connections,a|500,any"},
        {"SET GLOBAL holdfast_max_connections = 20001", "1231 Variable 'holdfast_max_connections' can't be set to the value of '20001': 0 to 20000"},
        {"SET GLOBAL holdfast_max_connections = -1", "1064 "},
        {"SET GLOBAL holdfast_max_connections = 5K", "1231 "},
        {"SET GLOBAL holdfast_max_connections = DEFAULT", "OK"},
        {"SET GLOBAL holdfast_replica_queue = 1M", "OK"},
        {"SET PERSIST holdfast_replica_queue_all = '2g'", "OK"},
        {"SET @@GLOBAL.holdfast_default_auth = Mysql_Native_Password", "OK"},
        {"SET GLOBAL holdfast_default_auth = ed25519", "1231 Variable 'holdfast_default_auth' can't be set to the value of 'ed25519': any, "},
        {"SET GLOBAL holdfast_cluster_server_id = DEFAULT", "1231 "},
        {"SET GLOBAL holdfast_cluster_server_id = 0", "1231 "},
        {"SET GLOBAL holdfast_cluster_server_id = 4294967295", "OK"},
        {"SET GLOBAL holdfast_replica_queue = 1M, @x = 1", "1235 "},
        {"SHOW VARIABLES LIKE 'holdfast%'", "Variable_name,Value|holdfast_cluster_server_id,4294967295|holdfast_default_auth,mysql_native_password|"
                                            "holdfast_max_connections,0|holdfast_replica_queue,1048576|"},
        {"CREATE USER u IDENTIFIED BY 'geheim'", "OK"},
        {"SHOW USERS", "*|u,%,,mysql_native_password,no,no"},
    };
    static const char *const again[][2] = {
        {"SELECT @@holdfast_replica_queue_all", "@@holdfast_replica_queue_all|2147483648"},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES}, after = {STEPS(again), .roles = SQL_ALL_ROLES};
    struct sim *sim = sim_new(unit_seed());
    struct sim_host *host = sim_host_new(sim, "a");
    control_script_run(host, &script);
    control_script_run(host, &after);
    sim_free(sim);
}

static void who_waits_is_answered(void)
{
    static const char *const mysql[][2] = {
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":2-5') w", "w|0"},
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET('', 1) w", "w|0"},
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":10', 0.2) w", "w|1"},
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":10', 3) w", "w|1"},
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET('x', 3) w", "1772 "},
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET(NULL, 3) w", "w|~"},
        {"SELECT MASTER_GTID_WAIT('0-1-5', 0) w", "w|-1"},
        {"SELECT WAIT_FOR_EXECUTED_GTID_SET()", "1582 "},
        {"SELECT BINLOG_GTID_POS('mysql-bin.000007', 4) = @@gtid_executed w", "w|1"},
    };
    static const char *const mariadb[][2] = {
        {"SELECT MASTER_GTID_WAIT('0-2-7', 0) w", "w|0"},
        {"SELECT MASTER_GTID_WAIT('0-2-8', 0) w", "w|-1"},
        {"SELECT MASTER_GTID_WAIT('0-2-8', 0.3) w", "w|-1"},
        {"SELECT MASTER_GTID_WAIT('7-2-1', 0.3) w", "w|-1"},
        {"SELECT binlog_gtid_pos('mysql-bin.000007', 4) w", "w|0-2-7,1-1-3"},
        {"SELECT binlog_gtid_pos('mysql-bin.000007', 5) w", "w|~"},
        {"SELECT binlog_gtid_pos('mysql-bin.000001', 4) w", "w|~"},
        {"SELECT binlog_gtid_pos(NULL, 4) w", "w|~"},
    };
    struct control_script script = {STEPS(mysql), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MYSQL, .with_file = true};
    control_script_run_alone(&script);
    struct control_script other = {STEPS(mariadb), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MARIADB, .with_file = true};
    control_script_run_alone(&other);
}

/* 400 of them, for ever: some are too many, the others are answered when the node closes. */
static void waiting_ends_with_the_node(void)
{
    static const char *steps[CONTROL_STATEMENTS_MAX][2];
    for (size_t i = 0; i < CONTROL_STATEMENTS_MAX; i++) {
        steps[i][0] = "SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":10')";
        steps[i][1] = "";
    }
    struct control_script script = {
        .steps = (const char *const(*)[2])steps, .n = CONTROL_STATEMENTS_MAX, .roles = SQL_ALL_ROLES, .flood = true};
    control_script_run_alone(&script);
    UNIT_TRUE(script.shutdowns > 0);
}

static void files_are_shown(void)
{
    static const char *const mysql[][2] = {
        {"SHOW BINARY LOG STATUS",
         "File,Position,Binlog_Do_DB,Binlog_Ignore_DB,Executed_Gtid_Set|mysql-bin.000007,4,,," UUID ":1-9"},
        {"SHOW BINARY LOGS", "Log_name,File_size,Encrypted|mysql-bin.000007,4,No"},
        {"SELECT @@GLOBAL.GTID_EXECUTED", "@@GLOBAL.GTID_EXECUTED|" UUID ":1-9"},
        {"SELECT @@global.gtid_purged x, 1", "x,1|" UUID ":1-9,1"},
        {"SELECT GTID_SUBTRACT(@@gtid_executed, '" UUID ":2-9') x", "x|" UUID ":1"},
        {"show global variables like 'gtid_purged'", "Variable_name,Value|gtid_purged," UUID ":1-9"},
        {"SHOW STATUS LIKE 'Holdfast_gtid_executed'",
         "Variable_name,Value|Holdfast_gtid_executed," UUID ":1-9"},
        {"SHOW STATUS LIKE 'Holdfast_committed_position'",
         "Variable_name,Value|Holdfast_committed_position,mysql-bin.000007:4"},
        {"CHANGE MASTER TO MASTER_HOST='db1'", "OK"},
        {"SHOW REPLICA STATUS", "*,mysql-bin.000007,4,"},
        {"SHOW REPLICA STATUS", "*,11," UUID ","},
        {"SHOW REPLICA STATUS FOR CHANNEL ''", "Replica_IO_State,Source_Host,"},
        {"SHOW REPLICA STATUS FOR CHANNEL 'other'", "3074 Replica channel 'other' does not exist."},
        {"SHOW SLAVE STATUS FOR CHANNEL ''", "Slave_IO_State,Master_Host,"},
        {"SHOW ALL SLAVES STATUS", "1064 "},
        {"SHOW SLAVE '' STATUS", "1064 "},
        {"SELECT @@gtid_executed FROM t", "1064 "},
        {"SELECT @@gtid_executed, @@nosuch", "1193 "},
    };
    static const char *const mariadb[][2] = {
        {"SHOW MASTER STATUS", "File,Position,Binlog_Do_DB,Binlog_Ignore_DB|mysql-bin.000007,4,,"},
        {"SHOW MASTER LOGS", "Log_name,File_size|mysql-bin.000007,4"},
        {"SELECT @@gtid_current_pos, @@gtid_binlog_pos",
         "@@gtid_current_pos,@@gtid_binlog_pos|0-2-7,1-1-3,0-2-7,1-1-3"},
        {"SELECT @@gtid_binlog_state", "@@gtid_binlog_state|0-1-5,0-2-7,1-1-3"},
        {"SHOW GLOBAL VARIABLES LIKE 'GTID_BINLOG_POS'", "Variable_name,Value|gtid_binlog_pos,0-2-7,1-1-3"},
        {"SHOW SLAVE HOSTS", "Server_id,Host,Port,Master_id"},
        {"CHANGE MASTER TO MASTER_HOST='db1'", "OK"},
        {"SHOW REPLICA STATUS", "Slave_IO_State,Master_Host,"},
        {"SHOW SLAVE STATUS", "*,Using_Gtid,Gtid_IO_Pos,"},
        {"SHOW SLAVE STATUS", "*,No,0-2-7,1-1-3,"},
        {"SHOW ALL SLAVES STATUS", "Connection_name,Slave_SQL_State,Slave_IO_State,Master_Host,"},
        {"SHOW ALL REPLICAS STATUS", "*,Slave_heartbeat_period,Gtid_Slave_Pos|,Slave has read all relay log; waiting for more updates,"},
        {"SHOW ALL SLAVES STATUS", "*,0,0,0,0,1.000,0-2-7,1-1-3"},
        {"SHOW SLAVE '' STATUS", "Slave_IO_State,Master_Host,"},
        {"SHOW REPLICA '' STATUS", "Slave_IO_State,Master_Host,"},
        {"SHOW REPLICA STATUS FOR CHANNEL ''", "Slave_IO_State,Master_Host,"},
        {"SHOW SLAVE 'other' STATUS", "1617 There is no master connection 'other'"},
        {"SHOW SLAVE STATUS FOR CHANNEL 'other'", "1617 "},
        {"SHOW SLAVE other STATUS", "1064 "},
        {"SHOW SLAVE '' STATUSES", "1064 "},
        {"SHOW SLAVE '' STATUS FOR CHANNEL ''", "1064 "},
        {"START SLAVE", "OK"},
        {"CHANGE MASTER TO MASTER_HOST='db2'", "1198 "},
    };
    struct control_script script = {STEPS(mysql), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MYSQL,
                            .with_file = true};
    control_script_run_alone(&script);
    struct control_script other = {STEPS(mariadb), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MARIADB,
                           .with_file = true};
    control_script_run_alone(&other);
}

/* Of one file, which stays. */
static void the_newest_file_is_never_purged(void)
{
    static const char *const steps[][2] = {
        {"PURGE BINARY LOGS TO 'mysql-bin.000006'", "1373 Target log 'mysql-bin.000006' not found in binlog index"},
        {"PURGE BINARY LOGS ERA 9 TO 'mysql-bin.000007'", "1373 Target log 'mysql-bin.000007' not found in binlog index"},
        {"PURGE BINARY LOGS ERA 1 BEFORE NOW()", "1064 "},
        {"PURGE BINARY LOGS TO mysql", "1064 "},
        {"PURGE BINARY LOGS", "1064 "},
        {"PURGE BINARY LOGS TO 'mysql-bin.000007' SOON", "1064 "},
        {"PURGE BINARY LOGS TO 'mysql-bin.000007' DRY", "1064 "},
        {"PURGE MASTER LOGS BEFORE 'yesterday'", "1292 Incorrect datetime value: 'yesterday'"},
        {"PURGE MASTER LOGS BEFORE '2026-11-21 25:00:00'", "1292 "},
        {"PURGE MASTER LOGS BEFORE '2026-11-21T03:12:07 DRY RUN'", "1292 "},
        {"PURGE MASTER LOGS BEFORE NULL", "1292 "},
        {"PURGE BINARY LOGS TO 'mysql-bin.000007'", "OK"},
        {"PURGE MASTER LOGS TO 'mysql-bin.000007' FORCE", "OK"},
        {"PURGE BINARY LOGS ERA 1 TO 'mysql-bin.000007'", "OK"},
        {"PURGE BINARY LOGS BEFORE NOW()", "OK"},
        {"PURGE BINARY LOGS BEFORE '2026-11-21T03:12:07.5Z' FORCE", "OK"},
        {"PURGE BINARY LOGS BEFORE '2099-01-01' DRY RUN", "Era,Log_name,File_size,Fate"},
        {"SHOW BINARY LOGS", "Log_name,File_size,Encrypted|mysql-bin.000007,4,No"},
    };
    static const char *const none[][2] = {
        {"PURGE BINARY LOGS TO 'mysql-bin.000007'", "1373 "},
        {"PURGE BINARY LOGS BEFORE NOW()", "OK"},
        {"PURGE BINARY LOGS BEFORE NOW() DRY RUN", "Era,Log_name,File_size,Fate"},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES, .flavour = FLAVOUR_MYSQL, .with_file = true};
    control_script_run_alone(&script);
    struct control_script other = {STEPS(none), .roles = SQL_ALL_ROLES};
    control_script_run_alone(&other);
}

static void who_may_kill_and_look(void)
{
    static const char *const steps[][2] = {
        {"KILL 5", "1094 "},
        {"PURGE BINARY LOGS TO 'mysql-bin.000007'", "1227 "},
        {"SHOW GRANTS FOR 'other'", "1227 "},
        {"SHOW GRANTS FOR CURRENT_USER()",
         "Grants for root@localhost|GRANT REPLICATION SLAVE ON *.* TO `root`@`localhost`"},
        {"SHOW CREATE USER", "1227 "},
        {"ALTER USER other IDENTIFIED BY 'geheim'", "1227 "},
        {"ALTER USER CURRENT_USER() IDENTIFIED BY 'geheim'", "1396 "}, /* may, but there is no account */
        {"ALTER USER CURRENT_USER() IDENTIFIED BY 'geheim' ACCOUNT UNLOCK", "1227 "},
        {"SET PASSWORD FOR other = 'geheim'", "1227 "},
        {"SHOW REPLICA STATUS", "1227 "},
        {"SHOW GLOBAL STATUS LIKE 'Uptime'", "Variable_name,Value|Uptime,"},
    };
    struct control_script script = {STEPS(steps), .roles = ROLE_REPLICA};
    control_script_run_alone(&script);
}

static void a_node_that_closes_answers_everything(void)
{
    static const char *steps[CONTROL_STATEMENTS_MAX][2];
    for (size_t i = 0; i < CONTROL_STATEMENTS_MAX; i++) {
        steps[i][0] = i % 5 == 4   ? "SHOW USERS"
                      : i % 5 == 3 ? "SHOW STATUS"
                                   : "CREATE USER u IDENTIFIED BY 'geheim'";
        steps[i][1] = "";
    }
    unsigned shutdowns = 0;
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 20; seed++) {
        struct sim *sim = sim_new(seed);
        struct control_script script = {
            .steps = (const char *const(*)[2])steps, .roles = SQL_ALL_ROLES, .flood = true};
        script.n = 1 + seed * 7 % CONTROL_STATEMENTS_MAX;
        control_script_run(sim_host_new(sim, "a"), &script);
        shutdowns += script.shutdowns;
        sim_free(sim);
    }
    UNIT_TRUE(shutdowns > 0);
}

/* All asked for at once: each is built on what the one before has left. */
static void changes_do_not_undo_each_other(void)
{
    static const char *const steps[][2] = {
        {"CREATE USER u IDENTIFIED BY 'geheim'", ""},    {"GRANT REPLICATION SLAVE ON *.* TO u", ""},
        {"GRANT REPLICATION CLIENT ON *.* TO u", ""},    {"GRANT CLUSTER_ADMIN ON *.* TO u", ""},
        {"REVOKE REPLICATION CLIENT ON *.* FROM u", ""},
    };
    static const char *const after[][2] = {{"SHOW USERS", USERS "|u,%,replica,admin,any,no,no"}};
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES, .flood = true, .patient = true};
    struct control_script shown = {STEPS(after), .roles = SQL_ALL_ROLES};
    struct sim *sim = sim_new(unit_seed());
    struct sim_host *host = sim_host_new(sim, "a");
    control_script_run(host, &script);
    UNIT_UINT(script.shutdowns, 0);
    control_script_run(host, &shown);
    sim_free(sim);
}

static void changes_wait_until_the_node_leads(void)
{
    static const char *const steps[][2] = {
        {"CREATE USER u IDENTIFIED BY 'geheim'", "OK"},
        {"CHANGE MASTER TO MASTER_HOST='x'", "OK"},
        {"SHOW USERS", USERS "|u,%,,"},
    };
    struct control_script script = {STEPS(steps), .roles = SQL_ALL_ROLES, .early = true};
    control_script_run_alone(&script);
}

UNIT_MAIN("control", UNIT_TEST(a_new_node_shows_itself), UNIT_TEST(a_source_is_set_and_changed),
          UNIT_TEST(a_source_by_tls), UNIT_TEST(accounts_come_and_go), UNIT_TEST(accounts_have_hosts),
          UNIT_TEST(hashes_are_taken_and_shown), UNIT_TEST(every_example_is_read), UNIT_TEST(settings_are_kept), UNIT_TEST(who_waits_is_answered), UNIT_TEST(waiting_ends_with_the_node),
          UNIT_TEST(files_are_shown), UNIT_TEST(the_newest_file_is_never_purged), UNIT_TEST(who_may_kill_and_look),
          UNIT_TEST(a_node_that_closes_answers_everything), UNIT_TEST(changes_do_not_undo_each_other),
          UNIT_TEST(changes_wait_until_the_node_leads))
