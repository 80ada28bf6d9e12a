/*
 * test_cli: the program holdfast, run as users run it, against a made-up node: what it sends, what it prints,
 * how it ends. The program is taken from the build directory (HOLDFAST_BUILDDIR, else ".").
 */
#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "tests/unit/cli_program.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- the command line ---- */

static void wrong_use_is_2(void)
{
    struct ran r = cli_run("", NULL);
    EXPECT(r, 2, "", "holdfast status");
    r = cli_run("", "stauts", NULL);
    EXPECT(r, 2, "", "did you mean 'status'");
    r = cli_run("", "dance", NULL);
    EXPECT(r, 2, "", "unknown command 'dance'");
    r = cli_run("", "source", NULL);
    EXPECT(r, 2, "", "source start");
    r = cli_run("", "--frob=1", "status", NULL);
    EXPECT(r, 2, "", "unknown option '--frob'");
    r = cli_run("", "status", "now", NULL);
    EXPECT(r, 2, "", "usage: holdfast status");
    r = cli_run("", "--format", "xml", "status", NULL);
    EXPECT(r, 2, "", "neither table nor json");
    r = cli_run("", "--timeout=0", "status", NULL);
    EXPECT(r, 2, "", "--timeout");
    r = cli_run("", "status", "--role=admin", NULL);
    EXPECT(r, 2, "", "for 'user add' only");
    r = cli_run("", "-h", "127.0.0.1", "status", NULL);
    EXPECT(r, 2, "", "--user");
    r = cli_run("", "-h", "x", "-S", "/y", "status", NULL);
    EXPECT(r, 2, "", "exclude each other");
    r = cli_run("", "source", "set", "hots=db1", NULL);
    EXPECT(r, 2, "", "'hots' is no key");
    r = cli_run("", "source", "set", "port=65536", NULL);
    EXPECT(r, 2, "", "port=65536");
    r = cli_run("", "source", "set", "host=a", "host=b", NULL);
    EXPECT(r, 2, "", "given twice");
    r = cli_run("", "user", "add", "a@", NULL);
    EXPECT(r, 2, "", "behind @ stands the host");
    r = cli_run("", "user", "add", "@%", NULL);
    EXPECT(r, 2, "", "1 to 32");
    r = cli_run("", "user", "add", "a", "--auth=sha256_password", NULL);
    EXPECT(r, 2, "", "is none of default, caching_sha2_password");
    r = cli_run("", "user", "add", "a", "--role=king", NULL);
    EXPECT(r, 2, "", "'king'");
}

static void help_comes_from_the_table(void)
{
    struct ran r = cli_run("", "--help", NULL);
    UNIT_TRUE(cli_has(&r.out, "--ssl-mode"));
    EXPECT(r, 0, "user add NAME", "");
    r = cli_run("", "source", "set", "--help", NULL);
    UNIT_TRUE(cli_has(&r.out, "Examples:"));
    EXPECT(r, 0, "password=-", "");
    r = cli_run("", "help", "user", NULL);
    EXPECT(r, 0, "user drop", "");
    r = cli_run("", "--version", NULL);
    EXPECT(r, 0, "holdfast ", "");
    r = cli_run("", "completion", "bash", NULL);
    UNIT_TRUE(cli_has(&r.out, "user) offered='list add passwd drop'"));
    EXPECT(r, 0, "complete -F _holdfast holdfast", "");
}

static void no_node_is_3(void)
{
    char nowhere[200];
    snprintf(nowhere, sizeof nowhere, "%.100s/nobody", unit_tmpdir());
    struct ran r = cli_run("", "-S", nowhere, "status", NULL);
    UNIT_TRUE(cli_has(&r.err, nowhere));
    UNIT_TRUE(cli_has(&r.err, "No such file or directory"));
    EXPECT(r, 3, "", "Is holdfastd running");
    r = cli_run("", "-h", "127.0.0.1:1", "-u", "x", "status", NULL);
    UNIT_TRUE(cli_has(&r.err, "127.0.0.1:1: Connection refused"));
    EXPECT(r, 3, "", "[mysql] listen");
}

/* ---- status ---- */

static void status_for_people(void)
{
    START(node, {"SHOW STATUS LIKE 'Holdfast_%'", STATUS_ROWS}, {"SHOW CLUSTER MEMBERS", MEMBER_ROWS},
          {"SHOW REPLICAS", "Server_Id#\tHost\tPort#"});
    struct ran r = cli_run("", "-S", node.socket, "status", NULL);
    const char *first = "protected: no (one voter, no redundancy)\n";
    UNIT_TRUE(strncmp(buf_cstr(&r.out), first, strlen(first)) == 0);
    UNIT_TRUE(cli_has(&r.out, "\nleader:        1\n"));
    UNIT_TRUE(cli_has(&r.out, "ID  ADDRESS         ROLE   STATE   VERSION  APPLIED  SELF\n"
                          "   1  127.0.0.1:4307  voter  leader  0.1.0         42  yes\n"));
    UNIT_TRUE(cli_has(&r.out, "  acknowledged:  mysql-bin.000002:4711\n"));
    UNIT_TRUE(cli_has(&r.out, "Replicas:\n  none\n"));
    EXPECT(r, 0, "Alarms:\n  db1:3306 does not wait for acknowledgements.", "");
    fake_node_stop(&node);
}

static void status_for_programs(void)
{
    START(node, {"SHOW STATUS", STATUS_ROWS}, {"SHOW CLUSTER MEMBERS", MEMBER_ROWS},
          {"SHOW REPLICAS", "ERR 1227 Access denied; you need a \"privilege\""});
    struct ran r = cli_run("", "-S", node.socket, "status", "--format=json", NULL);
    UNIT_TRUE(cli_has(&r.out, "{\n  \"protected\": false,\n  \"protected_since\": null,\n"));
    UNIT_TRUE(cli_has(&r.out, "\"members\": [\n    {\n      \"id\": 1,\n      \"address\": \"127.0.0.1:4307\","));
    UNIT_TRUE(cli_has(&r.out, "\"semi_sync\": false"));
    UNIT_TRUE(cli_has(&r.out, "\"acks\": 17"));
    EXPECT(r, 0, "\"replicas\": null,\n  \"replicas_error\": \"Access denied; you need a \\\"privilege\\\"",
           "");
    fake_node_stop(&node);
}

/* The alarms when the source is in this phase, with this last error. */
static void expect_alarms(const char *phase, const char *leader, const char *want)
{
    char rows[1024];
    snprintf(rows, sizeof rows,
             "Variable_name\tValue\nHoldfast_protected\tno\nHoldfast_node_id\t1\nHoldfast_leader_id\t%s\n"
             "Holdfast_source\tdb1:3306\nHoldfast_source_phase\t%s\nHoldfast_source_error\tbroken\n"
             "Holdfast_source_semi_sync\tyes",
             leader, phase);
    const struct fake_answer answers[] = {{"SHOW STATUS", rows}, {"SHOW", "Id#"}};
    struct fake_node node;
    fake_node_start(&node, answers, 2, false, NULL);
    struct ran r = cli_run("", "-S", node.socket, "status", NULL);
    const char *alarms = strstr(buf_cstr(&r.out), "Alarms:\n");
    UNIT_STR(alarms ? alarms + strlen("Alarms:\n") : "", want);
    cli_ran_free(&r);
    fake_node_stop(&node);
}

static void alarms_are_what_is_wrong_now(void)
{
    expect_alarms("streaming", "1", "  none\n");
    expect_alarms("waiting to reconnect", "1", "  source db1:3306: broken\n");
    expect_alarms("not following", "1", "  not following db1:3306: broken\n");
    expect_alarms("off", "1", "  db1:3306 is not followed: it was stopped. Run: holdfast source start\n");
    expect_alarms("off", "2", "  none\n");
    expect_alarms("off", "0", "  the cluster has no leader: no ACKs are sent, commits on the source wait\n");
}

static void another_server_is_recognized(void)
{
    START(node, {"SHOW STATUS", "Variable_name\tValue"});
    struct ran r = cli_run("", "-S", node.socket, "status", NULL);
    EXPECT(r, 1, "", "this is no Holdfast node");
    fake_node_stop(&node);
}

/* ---- source, user ---- */

static void source_set_quotes(void)
{
    START(node, {"CHANGE", "OK"});
    struct ran r = cli_run("it's a \\ secret\n", "-S", node.socket, "source", "set", "host=db'1", "port=3306",
                       "user=h\\f", "password=-", "ssl_mode=required", "start=now", NULL);
    EXPECT(r, 0, "holdfast source start", "");
    cli_expect_log(&node,
               "CHANGE REPLICATION SOURCE TO SOURCE_HOST='db''1', SOURCE_PORT=3306, SOURCE_USER='h\\\\f', "
               "SOURCE_PASSWORD='it''s a \\\\ secret', SOURCE_SSL_MODE='required', SOURCE_START='now'\n");
    fake_node_stop(&node);
}

static void source_set_knows_tls_and_compression(void)
{
    START(node, {"CHANGE", "OK"});
    struct ran r = cli_run("", "-S", node.socket, "source", "set", "ssl_ca=/ca.pem", "ssl_cert=", "ssl_key=/k y.pem",
                       "compression=zstd:9", NULL);
    EXPECT(r, 0, "holdfast source start", "");
    cli_expect_log(&node, "CHANGE REPLICATION SOURCE TO SOURCE_SSL_CA='/ca.pem', SOURCE_SSL_CERT='', "
                      "SOURCE_SSL_KEY='/k y.pem', SOURCE_COMPRESSION='zstd:9'\n");
    r = cli_run("", "-S", node.socket, "source", "set", "ssl_ca=ca.pem", NULL);
    EXPECT(r, 2, "", "no absolute path");
    r = cli_run("", "-S", node.socket, "source", "set", "compression=lz4", NULL);
    EXPECT(r, 2, "", "compression=lz4 is none of");
    fake_node_stop(&node);
}

static void source_starts_and_stops(void)
{
    START(node, {"START REPLICA", "OK"}, {"STOP REPLICA", "ERR 1105 node 1 is not the leader"});
    struct ran r = cli_run("", "-S", node.socket, "--format", "json", "source", "start", NULL);
    EXPECT(r, 0, "\"ok\": true", "");
    r = cli_run("", "-S", node.socket, "source", "stop", NULL);
    EXPECT(r, 1, "", "node 1 is not the leader");
    cli_expect_log(&node, "START REPLICA\nSTOP REPLICA\n");
    fake_node_stop(&node);
}

static void source_show_knows_both_flavours(void)
{
    START(node, {"SHOW CLUSTER STATUS", STATUS_ROWS},
          {"SHOW REPLICA STATUS", "Slave_IO_State\tMaster_User\tSlave_IO_Running\tGtid_IO_Pos\n"
                                  "Streaming\tfollower\tYes\t0-1-17"});
    struct ran r = cli_run("", "-S", node.socket, "source", "show", NULL);
    UNIT_TRUE(cli_has(&r.out, "user:          follower\n"));
    EXPECT(r, 0, "GTIDs:         0-1-17\n", "");
    r = cli_run("", "-S", node.socket, "source", "show", "--format=json", NULL);
    EXPECT(r, 0, "\"user\": \"follower\"", "");
    fake_node_stop(&node);
}

static void user_add_creates_and_grants(void)
{
    START(node, {"CREATE USER", "OK"}, {"GRANT", "OK"});
    struct ran r = cli_run("pw'\n", "-S", node.socket, "user", "add", "re'pl", "--role", "replica,admin", NULL);
    EXPECT(r, 0, "The account is made.", "");
    cli_expect_log(&node, "CREATE USER 're''pl'@'%' IDENTIFIED BY 'pw'''\n"
                      "GRANT REPLICATION SLAVE, CLUSTER_ADMIN ON *.* TO 're''pl'@'%'\n");
    fake_node_stop(&node);
}

static void users_have_hosts_and_plugins(void)
{
    START(node, {"CREATE USER", "OK"}, {"GRANT", "OK"}, {"DROP USER", "OK"});
    struct ran r = cli_run("pw\n", "-S", node.socket, "user", "add", "a@10.1.%", "--auth", "mysql_native_password", NULL);
    EXPECT(r, 0, "The account is made.", "");
    r = cli_run("", "-S", node.socket, "user", "drop", "a@10.1.%", NULL);
    EXPECT(r, 0, "The account is gone.", "");
    cli_expect_log(&node, "CREATE USER 'a'@'10.1.%' IDENTIFIED WITH mysql_native_password BY 'pw'\n"
                      "GRANT REPLICATION SLAVE ON *.* TO 'a'@'10.1.%'\nDROP USER 'a'@'10.1.%'\n");
    fake_node_stop(&node);
}

static void user_add_takes_back(void)
{
    START(node, {"CREATE USER", "OK"}, {"GRANT", "ERR 1105 no quorum"}, {"DROP USER", "OK"});
    struct ran r = cli_run("pw", "-S", node.socket, "user", "add", "repl", NULL);
    UNIT_TRUE(cli_has(&r.err, "no quorum"));
    EXPECT(r, 1, "", "the account was not made");
    cli_expect_log(&node, "CREATE USER 'repl'@'%' IDENTIFIED BY 'pw'\nGRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'\n"
                      "DROP USER 'repl'@'%'\n");
    fake_node_stop(&node);
}

static void passwords_are_wanted(void)
{
    START(node, {"ALTER USER", "OK"});
    struct ran r = cli_run("", "-S", node.socket, "user", "passwd", "repl", NULL);
    EXPECT(r, 2, "", "the input has ended");
    r = cli_run("\n", "-S", node.socket, "user", "passwd", "repl", NULL);
    EXPECT(r, 2, "", "empty password");
    cli_expect_log(&node, "");
    r = cli_run("new\n", "-S", node.socket, "user", "passwd", "repl", NULL);
    EXPECT(r, 0, "The password is changed.", "");
    cli_expect_log(&node, "ALTER USER 'repl'@'%' IDENTIFIED BY 'new'\n");
    fake_node_stop(&node);
}

/* ---- settings, GTIDs ---- */

static void settings_are_set(void)
{
    START(node, {"SET GLOBAL holdfast_max_connections = DEFAULT", "OK"}, {"SET GLOBAL", "OK"},
          {"SHOW SETTINGS", "Name\tValue\nmax_connections\t5"});
    struct ran r = cli_run("", "-S", node.socket, "setting", "set", "max_connections=5", NULL);
    EXPECT(r, 0, "The setting is changed.", "");
    r = cli_run("", "-S", node.socket, "setting", "set", "max_connections=DEFAULT", NULL);
    EXPECT(r, 0, "The setting is changed.", "");
    r = cli_run("", "-S", node.socket, "--format=json", "setting", "list", NULL);
    EXPECT(r, 0, "\"name\": \"max_connections\"", "");
    static const char *const bad[] = {"max_connections", "=5", "max_connections=", "a b=5", "a'b=5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r = cli_run("", "-S", node.socket, "setting", "set", bad[i], NULL);
        EXPECT(r, 2, "", "is not NAME=VALUE");
    }
    cli_expect_log(&node, "SET GLOBAL holdfast_max_connections = '5'\nSET GLOBAL holdfast_max_connections = DEFAULT\nSHOW SETTINGS\n");
    fake_node_stop(&node);
}

#define UUID "85a05a83-e51f-11f1-a45c-02fc00000001"

static void gtids_are_compared(void)
{
    START(node, {"SHOW STATUS LIKE 'Holdfast_gtid_executed'", "Variable_name\tValue\nHoldfast_gtid_executed\t" UUID ":1-9"});
    struct ran r = cli_run("", "-S", node.socket, "gtid", "missing", UUID ":5-12", NULL);
    UNIT_TRUE(cli_has(&r.out, "missing there: " UUID ":1-4\n"));
    EXPECT(r, 0, "missing here:  " UUID ":10-12\n", "");
    r = cli_run("", "-S", node.socket, "gtid", "missing", UUID ":1-9", NULL);
    EXPECT(r, 0, "missing here:  nothing\nmissing there: nothing\n", "");
    r = cli_run("", "-S", node.socket, "--format=json", "gtid", "missing", UUID ":9-10", NULL);
    UNIT_TRUE(cli_has(&r.out, "\"missing_there\": \"" UUID ":1-8\""));
    EXPECT(r, 0, "\"missing_here\": \"" UUID ":10\"", "");
    r = cli_run("", "-S", node.socket, "gtid", "missing", "0-1-5", NULL);
    EXPECT(r, 2, "", "of the other flavour");
    r = cli_run("", "-S", node.socket, "gtid", "missing", "nonsense", NULL);
    EXPECT(r, 2, "", "gtid missing: ");
    fake_node_stop(&node);
}

static void gtids_are_waited_for(void)
{
    START(node, {"SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":1', 10)", "answer\n0"},
          {"SELECT WAIT_FOR_EXECUTED_GTID_SET('" UUID ":2', 3)", "answer\n1"},
          {"SELECT MASTER_GTID_WAIT('0-1-5', 10)", "answer\n-1"});
    struct ran r = cli_run("", "-S", node.socket, "gtid", "wait", UUID ":1", NULL);
    EXPECT(r, 0, "The cluster holds it.", "");
    r = cli_run("", "-S", node.socket, "gtid", "wait", UUID ":2", "--timeout", "3", NULL);
    EXPECT(r, 1, "", "after 3 seconds");
    r = cli_run("", "-S", node.socket, "gtid", "wait", "0-1-5", NULL);
    EXPECT(r, 1, "", "after 10 seconds");
    r = cli_run("", "-S", node.socket, "gtid", "wait", "x", NULL);
    EXPECT(r, 2, "", "gtid wait: ");
    fake_node_stop(&node);
}

/* ---- the option file ---- */

static void write_file(const char *path, const char *text, unsigned mode)
{
    FILE *f = fopen(path, "w");
    UNIT_REQUIRE(f != NULL);
    fputs(text, f);
    fclose(f);
    UNIT_INT(chmod(path, mode), 0);
}

static void options_come_from_a_file(void)
{
    char path[300], text[600];
    START(node, {"SHOW USERS", "User\tRoles\nrepl\treplica"});
    snprintf(path, sizeof path, "%s/.holdfast.cnf", unit_tmpdir());
    snprintf(text, sizeof text, "# mine\n[mysql]\nnonsense\n[client]\n socket = %s \n; no\nformat=\"json\"\nssl_mode = required\n", node.socket);
    write_file(path, text, 0644);
    struct ran r = cli_run("", "--defaults-file", path, "user", "list", NULL);
    EXPECT(r, 0, "\"user\": \"repl\"", "");
    r = cli_run("", "user", "list", "--format=table", NULL); /* HOME is another here */
    UNIT_INT(r.status, 3);
    cli_ran_free(&r);
    const char *home = getenv("HOME");
    char *before = home ? mem_str(home) : NULL;
    setenv("HOME", unit_tmpdir(), 1);
    r = cli_run("", "user", "list", "--format=table", NULL);
    EXPECT(r, 0, "repl", "");
    r = cli_run("", "user", "list", "-h", "127.0.0.1:1", "-u", "x", NULL); /* the file's socket is no contradiction */
    EXPECT(r, 3, "", "127.0.0.1:1");
    write_file(path, "[client]\nhost = 127.0.0.1:1\nuser = x\npassword = geheim\n", 0644);
    r = cli_run("", "user", "list", NULL);
    UNIT_TRUE(!strstr(buf_cstr(&r.err), "geheim"));
    EXPECT(r, 2, "", "may be read by others");
    write_file(path, "[client]\nhost = 127.0.0.1:1\nuser = x\n", 0666);
    r = cli_run("", "user", "list", NULL);
    EXPECT(r, 2, "", "may be changed by others");
    write_file(path, "[client]\nhost = 127.0.0.1:1\nuser = x\npassword = geheim\n", 0600);
    r = cli_run("", "user", "list", "-S", node.socket, "-u", "root", NULL);
    EXPECT(r, 0, "repl", "");
    static const char *const bad[][2] = {
        {"[client]\nrole = admin\n", ":2: 'role' is no option that a file may hold"},
        {"[client]\nhelp\n", ":2: 'help' is no option"},
        {"[client]\n\nhost\n", ":3: 'host' wants a value"},
        {"[client]\npasswort = geheim\n", ":2: 'passwort' is no option"},
        {"[client]\ndefaults-file = x\n", ":2: 'defaults-file' is no option"},
        {"[client]\nport = 0\n", "--port"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file(path, bad[i][0], 0600);
        r = cli_run("", "user", "list", NULL);
        UNIT_TRUE(!strstr(buf_cstr(&r.err), "geheim"));
        EXPECT(r, 2, "", bad[i][1]);
    }
    unlink(path);
    r = cli_run("", "user", "list", "-S", node.socket, NULL);
    EXPECT(r, 0, "repl", "");
    r = cli_run("", "--defaults-file=/nowhere/x", "user", "list", NULL);
    EXPECT(r, 2, "", "cannot read /nowhere/x");
    if (before) {
        setenv("HOME", before, 1);
    }
    mem_free(before);
    fake_node_stop(&node);
}

/* ---- checks and alarms ---- */

static void source_check_says_what_to_do(void)
{
    START(node, {"CHECK REPLICATION SOURCE",
                 "Name\tState\tValue\tWanted\tStatement\tRun\tWhy\nsemi_sync\tok\tON\tON\t\t\tw\n"
                 "timeout\twarn\t10000\tan hour\tSET PERSIST t = 1\ton the source\tafter it\n"
                 "filters\tcritical\tdo x\tnone\t\trestart it\tlost"});
    struct ran r = cli_run("", "-S", node.socket, "source", "check", NULL);
    UNIT_TRUE(cli_has(&r.out, "NAME       STATE     VALUE  WANTED\nsemi_sync  ok        ON     ON\n"));
    UNIT_TRUE(cli_has(&r.out, "\ntimeout (warn): after it\n  on the source:\n  SET PERSIST t = 1;\n"));
    EXPECT(r, 0, "\nfilters (critical): lost\n  restart it\n", "");
    r = cli_run("", "-S", node.socket, "--format=json", "source", "check", NULL);
    EXPECT(r, 0, "\"statement\": \"SET PERSIST t = 1\"", "");
    fake_node_stop(&node);
}

static void alarms_are_listed_and_acknowledged(void)
{
    START(node, {"SHOW ALARMS", "Id#\tKind\tState\tAcknowledged\tSince\tUntil\tSource\tFrom_gtid\tTo_gtid\tText\n"
                                "3\tloss_window\tended\tno\tT1\tT2\tdb1:3306\tu:1\tu:2\tone commit\n"
                                "4\tloss_window\tended\tyes\tT3\tT4\tdb1:3306\tu:1\tu:2\tread already\n"
                                "5\tother_client\topen\tyes\tT5\t\\N\tdb1:3306\tu:1\t\\N\tsomebody"},
          {"ACKNOWLEDGE ALARM 3", "OK"}, {"ACKNOWLEDGE ALARM 9", "ERR 1105 there is no alarm 9"},
          {"SHOW STATUS", STATUS_ROWS "\nHoldfast_source_checks\t0 critical, 2 warn, 0 unknown, 9 ok\n"
                                      "Holdfast_protected_since\t2026-11-21T03:12:07Z"},
          {"SHOW", "Id#"});
    struct ran r = cli_run("", "-S", node.socket, "status", NULL);
    UNIT_TRUE(cli_has(&r.out, "protected: no since 2026-11-21T03:12:07Z (one voter, no redundancy)\n"));
    UNIT_TRUE(cli_has(&r.out, "\n  settings of db1:3306: 0 critical, 2 warn, 0 unknown, 9 ok. Run: holdfast source check\n"));
    UNIT_TRUE(cli_has(&r.out, "\n  loss_window on db1:3306 since T1 until T2: one commit. When it is read: holdfast alarm ack 3\n"));
    UNIT_TRUE(cli_has(&r.out, "\n  other_client on db1:3306 since T5, going on: somebody\n"));
    UNIT_TRUE(!strstr(buf_cstr(&r.out), "read already"));
    EXPECT(r, 0, "", "");
    r = cli_run("", "-S", node.socket, "alarm", "list", NULL);
    EXPECT(r, 0, "read already", "");
    r = cli_run("", "-S", node.socket, "alarm", "ack", "3", NULL);
    EXPECT(r, 0, "acknowledged", "");
    r = cli_run("", "-S", node.socket, "alarm", "ack", "9", NULL);
    EXPECT(r, 1, "", "there is no alarm 9");
    r = cli_run("", "-S", node.socket, "alarm", "ack", "3x", NULL);
    EXPECT(r, 2, "", "'3x' is no alarm's number");
    fake_node_stop(&node);
}

/* ---- lists and SQL ---- */

static void lists_show_what_comes(void)
{
    START(node, {"SHOW ALL BINARY LOGS", "Log_name\tFile_size#\nmysql-bin.000001\t157\nmysql-bin.000002\t4711"},
          {"SHOW REPLICAS", "Server_Id#"}, {"SHOW USERS", "User\tRoles\nu\x1b[31m\t\\N"},
          {"SHOW STATUS", STATUS_ROWS});
    struct ran r = cli_run("", "-S", node.socket, "log", "list", NULL);
    EXPECT(r, 0, "LOG NAME          FILE SIZE\nmysql-bin.000001        157\nmysql-bin.000002       4711\n",
           "");
    r = cli_run("", "-S", node.socket, "replica", "list", NULL);
    EXPECT(r, 0, "No replica is connected", "");
    r = cli_run("", "-S", node.socket, "replica", "list", "--format=json", NULL);
    EXPECT(r, 0, "{\n  \"replicas\": [],\n  \"errant\": null,\n  \"errant_error\": \"", ""); /* it does not know the statement */
    r = cli_run("", "-S", node.socket, "user", "list", NULL);
    EXPECT(r, 0, "u\\x1b[31m  -\n", "");
    r = cli_run("", "-S", node.socket, "user", "list", "--format=json", NULL);
    EXPECT(r, 0, "\"user\": \"u\\u001b[31m\",\n    \"roles\": null", "");
    r = cli_run("", "-S", node.socket, "gtid", "show", NULL);
    EXPECT(r, 0, "3f1c:1-17\n", "");
    fake_node_stop(&node);
}

#define ALL_LOGS "Era#\tLog_name\tFile_size#\n1\tb.000009\t157\n2\tb.000001\t4711"
#define VERDICT "Log_name\tEra#\tSize#\tEvents#\tState\tWhat\n"

static void logs_are_verified_file_by_file(void)
{
    START(node, {"SHOW ALL BINARY LOGS", ALL_LOGS},
          {"CHECK BINARY LOGS ERA 1 FROM 'b.000009' TO 'b.000009' RATE 0 REBUILD",
           VERDICT "b.000009\t1\t157\t2\tindex made again\tit was missing"},
          {"CHECK BINARY LOGS ERA 1 FROM", VERDICT "b.000009\t1\t157\t2\tsound\t"},
          {"CHECK BINARY LOGS ERA 2 FROM 'b.000001' TO 'b.000001' RATE 0 REBUILD",
           VERDICT "b.000001\t2\t4711\t40\tsound\t"},
          {"CHECK BINARY LOGS ERA 2 FROM 'b.000001' TO 'b.000001'",
           VERDICT "b.000001\t2\t4711\t7\tdamaged\tb.000001 at 120: crc"});
    struct ran r = cli_run("", "-S", node.socket, "log", "verify", "--rate", "0", "--rebuild", NULL);
    EXPECT(r, 0, "b.000009: 157 bytes, 2 events, index made again: it was missing\n", "");
    r = cli_run("", "-S", node.socket, "log", "verify", NULL);
    EXPECT(r, 1, "b.000001: 4711 bytes, 7 events, damaged: b.000001 at 120: crc\n", "1 of the files are not sound");
    r = cli_run("", "-S", node.socket, "log", "verify", "--rate", "x", NULL);
    EXPECT(r, 2, "", "--rate: 'x' is no number");
    r = cli_run("", "-S", node.socket, "log", "list", "--rebuild", NULL);
    EXPECT(r, 2, "", "--rebuild is for 'log verify' only");
    fake_node_stop(&node);
}

static void events_are_asked_for_as_told(void)
{
    START(node, {"SHOW BINLOG EVENTS", "Log_name\tPos#\tEvent_type\nb.000001\t4\tFormat_desc"});
    struct ran r = cli_run("", "-S", node.socket, "log", "events", NULL);
    EXPECT(r, 0, "b.000001    4  Format_desc\n", "");
    r = cli_run("", "-S", node.socket, "log", "events", "it's.000001", "--from", "157", "--limit=20", NULL);
    EXPECT(r, 0, "Format_desc", "");
    r = cli_run("", "-S", node.socket, "log", "events", "--limit", "0", NULL);
    EXPECT(r, 2, "", "--limit: '0' is no number of events");
    cli_expect_log(&node, "SHOW BINLOG EVENTS LIMIT 1000\nSHOW BINLOG EVENTS IN 'it''s.000001' FROM 157 LIMIT 20\n");
    fake_node_stop(&node);
}

static void sql_is_sent_as_it_is(void)
{
    START(node, {"SELECT 1", "1#\n1"}, {"SET", "OK 1"},
          {"SHOW WARNINGS", "Level\tCode#\tMessage\nNote\t1\tbeware"},
          {"SELECT bad", "a\nx\xffy\"\\\xe2\x82\xac"});
    struct ran r = cli_run("", "-S", node.socket, "sql", "SELECT 1;", NULL);
    EXPECT(r, 0, "1\n1\n", "");
    r = cli_run("SELECT\n1", "-S", node.socket, "sql", "-", NULL);
    EXPECT(r, 1, "", "(1064)");
    r = cli_run("", "-S", node.socket, "sql", "SELECT 1\\G", NULL);
    EXPECT(r, 0, "---- row 1 ----\n1: 1\n", "");
    r = cli_run("", "-S", node.socket, "sql", "SET x", NULL);
    EXPECT(r, 0, "OK", "warning: beware");
    r = cli_run("", "-S", node.socket, "--format=json", "sql", "SELECT bad", NULL);
    EXPECT(r, 0, "\"x\\ufffdy\\\"\\\\\xe2\x82\xac\"", "");
    r = cli_run("", "-S", node.socket, "--", "sql", "-- only a comment", NULL);
    EXPECT(r, 1, "", "(1064)");
    cli_expect_log(&node, "SELECT 1\nSELECT 1\nSELECT 1\nSET x\nSHOW WARNINGS\nSELECT bad\n-- only a comment\n");
    fake_node_stop(&node);
}

UNIT_MAIN("cli", UNIT_TEST(wrong_use_is_2), UNIT_TEST(help_comes_from_the_table), UNIT_TEST(no_node_is_3),
          UNIT_TEST(status_for_people), UNIT_TEST(status_for_programs),
          UNIT_TEST(alarms_are_what_is_wrong_now), UNIT_TEST(another_server_is_recognized),
          UNIT_TEST(source_set_quotes), UNIT_TEST(source_set_knows_tls_and_compression), UNIT_TEST(source_starts_and_stops),
          UNIT_TEST(source_show_knows_both_flavours), UNIT_TEST(user_add_creates_and_grants),
          UNIT_TEST(users_have_hosts_and_plugins), UNIT_TEST(settings_are_set),
          UNIT_TEST(gtids_are_compared), UNIT_TEST(gtids_are_waited_for), UNIT_TEST(options_come_from_a_file), UNIT_TEST(user_add_takes_back), UNIT_TEST(passwords_are_wanted), UNIT_TEST(lists_show_what_comes),
          UNIT_TEST(logs_are_verified_file_by_file), UNIT_TEST(events_are_asked_for_as_told),
          UNIT_TEST(source_check_says_what_to_do), UNIT_TEST(alarms_are_listed_and_acknowledged),
          UNIT_TEST(sql_is_sent_as_it_is))
