/* test_cli_more: the program holdfast on a bad connection, on a terminal, and the commands that change much: compensate, source reset, log
 * purge. */
#include "protocol/base/mem.h"
#include "tests/unit/cli_program.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* ---- the connection ---- */

static void lost_connections_are_3(void)
{
    START(node, {"START", "CLOSE"}, {"STOP", "HANG"});
    struct ran r = cli_run("", "-S", node.socket, "source", "start", NULL);
    UNIT_TRUE(cli_has(&r.err, "closed the connection"));
    EXPECT(r, 3, "", "is not known");
    r = cli_run("", "-S", node.socket, "--timeout=1", "source", "stop", NULL);
    EXPECT(r, 3, "", "no answer within 1 s");
    fake_node_stop(&node);
}

static void network_login(void)
{
    static const struct fake_answer answers[] = {{"START REPLICA", "OK"}};
    struct fake_node node;
    char hosts[96], one[64], ca[200];
    snprintf(ca, sizeof ca, "%.100s/ca.pem", unit_tmpdir());
    fake_node_start(&node, answers, 1, true, ca);
    snprintf(one, sizeof one, "127.0.0.1:%u", node.port);
    snprintf(hosts, sizeof hosts, "127.0.0.1:1,%s", one);
    struct ran r = cli_run("secret\n", "-h", hosts, "-u", "ops", "-p", "source", "start", NULL);
    EXPECT(r, 0, "followed", "");
    r = cli_run("", "-h", one, "-u", "ops", "-psecret", "--ssl-ca", ca, "source", "start", NULL);
    EXPECT(r, 0, "followed", "");
    setenv("HOLDFAST_PASSWORD", "secret", 1);
    r = cli_run("", "-h", one, "-uops", "--ssl-mode=verify-identity", "--ssl-ca", ca, "source", "start", NULL);
    EXPECT(r, 0, "followed", "");
    unsetenv("HOLDFAST_PASSWORD");
    r = cli_run("", "-h", one, "-u", "ops", "-pwrong", "source", "start", NULL);
    UNIT_TRUE(strstr(buf_cstr(&r.err), "wrong") == NULL);
    EXPECT(r, 1, "", "refuses the login: ");
    r = cli_run("", "-h", one, "-u", "ops", "-psecret", "--ssl-mode=verify_ca", "source", "start", NULL);
    EXPECT(r, 3, "", "--ssl-mode");
    r = cli_run("", "-h", one, "-u", "ops", "-psecret", "--ssl-ca=/nowhere", "source", "start", NULL);
    EXPECT(r, 2, "", "cannot read /nowhere");
    fake_node_stop(&node);
    unlink(ca);
}

static void ps_shows_no_secret(void)
{
    START(node, {"CHANGE", "HANG"});
    char *argv[] = {(char[]){"holdfast"},
                    (char[]){"-pSECRET1"},
                    (char[]){"--password=SECRET2"},
                    (char[]){"-S"},
                    node.socket,
                    (char[]){"source"},
                    (char[]){"set"},
                    (char[]){"password=SECRET3"},
                    NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int pid = cli_spawn(argv, null, null, null);
    char *log = fake_node_log(&node), path[64];
    for (int i = 0; i < 1000 && !log[0]; i++) {
        mem_free(log);
        poll(NULL, 0, 10);
        log = fake_node_log(&node);
    }
    UNIT_STR(log, "CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD='SECRET3'\n");
    mem_free(log);
    struct buf b;
    buf_init(&b, 65536);
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (UNIT_TRUE(fd >= 0)) {
        cli_slurp(fd, &b);
    }
    UNIT_TRUE(b.len > 0 && memmem(b.data, b.len, "source", 6) != NULL);
    UNIT_TRUE(memmem(b.data, b.len, "SECRET", 6) == NULL);
    buf_free(&b);
    fake_node_stop(&node);
    waitpid(pid, NULL, 0);
    close(null);
}

/* ---- a terminal ---- */

/* Waits until the terminal has shown text. */
static bool terminal_shows(int fd, struct buf *seen, const char *text)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (!strstr(buf_cstr(seen), text)) {
        uint8_t *to = buf_reserve(seen, 256);
        ssize_t n = to && poll(&p, 1, 5000) > 0 ? read(fd, to, 256) : -1;
        if (n <= 0) {
            return cli_has(seen, text);
        }
        seen->len += (size_t)n;
    }
    return true;
}

static void terminal_ends(int fd, struct buf *seen)
{
    ssize_t n = 1;
    while (n > 0) {
        uint8_t *to = buf_reserve(seen, 256);
        n = to ? read(fd, to, 256) : -1;
        seen->len += n > 0 ? (size_t)n : 0;
    }
}

static int type_twice(const struct fake_node *node, const char *first, const char *second, struct buf *seen)
{
    int fd, status = 0;
    int pid = forkpty(&fd, NULL, NULL, NULL);
    if (pid == 0) {
        execl(cli_program(), "holdfast", "-S", node->socket, "user", "passwd", "repl", (char *)NULL);
        _exit(127);
    }
    UNIT_TRUE(terminal_shows(fd, seen, "New password for repl: "));
    UNIT_TRUE(write(fd, first, strlen(first)) > 0);
    UNIT_TRUE(terminal_shows(fd, seen, "The same again: "));
    UNIT_TRUE(write(fd, second, strlen(second)) > 0);
    terminal_ends(fd, seen);
    waitpid(pid, &status, 0);
    close(fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void terminal_asks_twice_without_echo(void)
{
    START(node, {"ALTER USER", "OK"});
    struct buf seen;
    buf_init(&seen, 65536);
    UNIT_INT(type_twice(&node, "hush1\n", "hush2\n", &seen), 2);
    UNIT_TRUE(cli_has(&seen, "passwords differ"));
    UNIT_TRUE(strstr(buf_cstr(&seen), "hush") == NULL);
    cli_expect_log(&node, "");
    buf_reset(&seen);
    UNIT_INT(type_twice(&node, "hush1\n", "hush1\n", &seen), 0);
    UNIT_TRUE(strstr(buf_cstr(&seen), "hush") == NULL);
    cli_expect_log(&node, "ALTER USER 'repl'@'%' IDENTIFIED BY 'hush1'\n");
    buf_free(&seen);
    fake_node_stop(&node);
}

static void interrupt_gives_echo_back(void)
{
    START(node, {"ALTER USER", "OK"});
    struct termios tio;
    struct buf seen;
    int fd, status = 0;
    buf_init(&seen, 65536);
    int pid = forkpty(&fd, NULL, NULL, NULL);
    if (pid == 0) {
        execl(cli_program(), "holdfast", "-S", node.socket, "user", "passwd", "repl", (char *)NULL);
        _exit(127);
    }
    UNIT_TRUE(terminal_shows(fd, &seen, "New password for repl: "));
    UNIT_TRUE(tcgetattr(fd, &tio) == 0 && !(tio.c_lflag & ECHO));
    UNIT_TRUE(write(fd, "half\x03", 5) == 5);
    waitpid(pid, &status, 0);
    UNIT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    UNIT_TRUE(tcgetattr(fd, &tio) == 0 && (tio.c_lflag & ECHO));
    close(fd);
    buf_free(&seen);
    cli_expect_log(&node, "");
    fake_node_stop(&node);
}

static void early_reader_is_no_failure(void)
{
    START(node, {"SHOW STATUS", STATUS_ROWS}, {"SHOW", "Id#"});
    char *argv[] = {(char[]){"holdfast"}, (char[]){"-S"}, node.socket, (char[]){"status"}, NULL};
    int out[2], status = 0, null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (UNIT_TRUE(pipe2(out, O_CLOEXEC) == 0)) {
        close(out[0]);
        waitpid(cli_spawn(argv, null, out[1], null), &status, 0);
        close(out[1]);
        UNIT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    close(null);
    fake_node_stop(&node);
}

static void source_set_follow_is_a_setting(void)
{
    START(node, {"CHANGE", "OK"}, {"SET", "OK"});
    struct ran r = cli_run("", "-S", node.socket, "source", "set", "follow=auto", NULL);
    EXPECT(r, 0, "followed by itself", "");
    r = cli_run("", "-S", node.socket, "source", "set", "host=db1,db2", "follow=manual", NULL);
    EXPECT(r, 0, "named alone", "");
    cli_expect_log(&node, "SET GLOBAL holdfast_follow = 'auto'\nCHANGE REPLICATION SOURCE TO SOURCE_HOST='db1,db2'\nSET GLOBAL holdfast_follow = 'manual'\n");
    r = cli_run("", "-S", node.socket, "source", "set", "follow=me", NULL);
    EXPECT(r, 2, "", "neither manual nor auto");
    fake_node_stop(&node);
}

/* ---- compensate ---- */

#define U1 "11111111-1111-1111-1111-111111111111"
#define U2 "22222222-2222-2222-2222-222222222222"
#define HAS "@@GLOBAL.gtid_executed\t@@GLOBAL.read_only\t@@GLOBAL.gtid_mode\n"
#define REPLICA "Source_Host\tSource_Port\tSource_User\tAuto_Position\tReplica_IO_Running\tReplica_SQL_Running\tLast_SQL_Error\n"

/* The cluster holds U1:1-117; a server is asked, told and asked again. */
static void compensate(const char *has_answer, const char *replica, const char *option, int status, const char *out, const char *err, const char *log)
{
    static const struct fake_answer cluster_answers[] = {{"SHOW CLUSTER STATUS", "Variable_name\tValue\nHoldfast_gtid_executed\t" U1 ":1-117"}};
    const struct fake_answer answers[] = {{"SELECT", has_answer}, {"SHOW REPLICA STATUS", replica}, {"STOP", "OK"}, {"CHANGE", "OK"}, {"START", "OK"}};
    struct fake_node cluster, server;
    char target[64];
    fake_node_start(&cluster, cluster_answers, 1, false, NULL);
    fake_node_start(&server, answers, sizeof answers / sizeof answers[0], true, NULL);
    snprintf(target, sizeof target, "127.0.0.1:%u", server.port);
    setenv("HOLDFAST_TARGET_PASSWORD", "secret", 1);
    struct ran r = cli_run("", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--via=node1:3307", option, NULL);
    unsetenv("HOLDFAST_TARGET_PASSWORD");
    EXPECT(r, status, out, err);
    cli_expect_log(&server, log);
    fake_node_stop(&cluster);
    fake_node_stop(&server);
}

#define LOOK "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.read_only, @@GLOBAL.gtid_mode\nSHOW REPLICA STATUS\n"

static void what_a_server_lacks_is_brought(void)
{
    static const char below[] = REPLICA "db1\t3306\trepl\t0\tNo\tYes\t", failed[] = REPLICA "db1\t3306\trepl\t1\tYes\tNo\tDuplicate entry";
    static const char channels[] = REPLICA "db1\t3306\trepl\t1\tNo\tNo\t\ndb9\t3306\trepl\t1\tNo\tNo\t";
    static const char no_replica[] = "Source_Host\tSource_Port";
    static const char lacks[] = HAS U1 ":1-100," U2 ":1-2\t1\tON", all[] = HAS U1 ":1-120\t1\tON", off[] = HAS "\t0\tOFF";
    compensate(all, below, "--dry-run", 0, "lacks nothing that the cluster holds", "", LOOK);
    compensate(all, below, "--wait=1", 0, "SET GLOBAL read_only = OFF;", "", LOOK);
    compensate(all, below, "--format=json", 0, "\"errant_gtids\": \"" U1 ":118-120\"", "", LOOK);
    compensate(lacks, below, "--dry-run", 0, "lacks 17 transactions that the cluster holds: " U1 ":101-117", "", LOOK);
    compensate(lacks, below, "--dry-run", 0, "has 2 transactions that the cluster does not hold (errant): " U2 ":1-2", "", LOOK);
    compensate(lacks, below, "--dry-run", 0, "CHANGE REPLICATION SOURCE TO SOURCE_HOST='node1', SOURCE_PORT=3307, SOURCE_AUTO_POSITION=1;", "", LOOK);
    compensate(lacks, no_replica, "--wait=1", 1, "", "is no replica", LOOK);
    compensate(lacks, channels, "--wait=1", 1, "", "replicates over 2 channels", LOOK);
    compensate(off, below, "--wait=1", 1, "", "its gtid_mode is OFF", "SELECT @@GLOBAL.gtid_executed, @@GLOBAL.read_only, @@GLOBAL.gtid_mode\n");
    compensate(lacks, failed, "--wait=5", 1, "It is told:", "its replication stopped: Duplicate entry",
               LOOK "STOP REPLICA\nCHANGE REPLICATION SOURCE TO SOURCE_HOST='node1', SOURCE_PORT=3307\nSTART REPLICA\n" LOOK);
    struct ran r = cli_run("", "compensate", "/tmp/x", NULL);
    EXPECT(r, 2, "", "is no HOST or HOST:PORT");
    r = cli_run("", "status", "--dry-run", NULL);
    EXPECT(r, 2, "", "for 'compensate' only");
}

/* From a file's first line, before the environment; else it is asked for. The connection is encrypted as asked. */
static void the_account_on_the_server_has_a_password(void)
{
    static const struct fake_answer cluster_answers[] = {{"SHOW CLUSTER STATUS", "Variable_name\tValue\nHoldfast_gtid_executed\t" U1 ":1-117"}};
    static const struct fake_answer answers[] = {{"SELECT", HAS U1 ":1-117\t1\tON"}, {"SHOW REPLICA STATUS", REPLICA "db1\t3306\trepl\t0\tNo\tYes\t"}};
    struct fake_node cluster, server;
    char target[64], ca[200], file[200], file_option[260], ca_option[260];
    snprintf(ca, sizeof ca, "%.100s/target-ca.pem", unit_tmpdir());
    snprintf(file, sizeof file, "%.100s/password", unit_tmpdir());
    FILE *f = fopen(file, "w");
    UNIT_REQUIRE(f && fputs("secret\nsecond line\n", f) >= 0 && fclose(f) == 0);
    fake_node_start(&cluster, cluster_answers, 1, false, NULL);
    fake_node_start(&server, answers, 2, true, ca);
    snprintf(target, sizeof target, "127.0.0.1:%u", server.port);
    snprintf(file_option, sizeof file_option, "--target-password-file=%s", file);
    snprintf(ca_option, sizeof ca_option, "--target-ssl-ca=%s", ca);
    struct ran r = cli_run("secret\n", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--via=node1:3307", "--dry-run", NULL);
    EXPECT(r, 0, "lacks nothing", "");
    r = cli_run("wrong\n", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--via=node1:3307", "--dry-run", NULL);
    EXPECT(r, 1, "", "login");
    setenv("HOLDFAST_TARGET_PASSWORD", "wrong", 1);
    r = cli_run("", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--via=node1:3307", "--dry-run", file_option, NULL);
    EXPECT(r, 0, "lacks nothing", "");
    r = cli_run("", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--via=node1:3307", "--dry-run", NULL);
    EXPECT(r, 1, "", "login");
    unsetenv("HOLDFAST_TARGET_PASSWORD");
    r = cli_run("", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--via=node1:3307", "--dry-run", file_option, ca_option, NULL);
    EXPECT(r, 0, "lacks nothing", "");
    r = cli_run("", "-S", cluster.socket, "compensate", target, "--target-user=ops", "--dry-run", "--target-password-file=/nowhere", NULL);
    EXPECT(r, 2, "", "cannot read /nowhere");
    fake_node_stop(&cluster);
    fake_node_stop(&server);
    unlink(ca);
    unlink(file);
}

/* ---- what changes much ---- */

static void a_history_is_put_away_under_a_name(void)
{
    START(node, {"RESET REPLICA", "OK"});
    struct ran r = cli_run("", "-S", node.socket, "source", "reset", NULL);
    EXPECT(r, 2, "", "--keep-old DIR");
    r = cli_run("", "-S", node.socket, "source", "reset", "--keep-old", "before", NULL);
    EXPECT(r, 0, "The old history is put away.", "");
    r = cli_run("", "-S", node.socket, "source", "reset", "--keep-old=it's", "--force", NULL);
    EXPECT(r, 0, "", "");
    r = cli_run("", "-S", node.socket, "log", "list", "--keep-old=a", NULL);
    EXPECT(r, 2, "", "for 'source reset' only");
    cli_expect_log(&node, "RESET REPLICA KEEP OLD 'before'\nRESET REPLICA KEEP OLD 'it''s' FORCE\n");
    fake_node_stop(&node);
}

static void a_purge_names_a_file_and_its_era(void)
{
    START(node, {"PURGE BINARY LOGS", "OK"});
    struct ran r = cli_run("", "-S", node.socket, "log", "purge", "--to", "mysql-bin.000007", NULL);
    EXPECT(r, 0, "", "");
    r = cli_run("", "-S", node.socket, "log", "purge", "--to", "12/mysql-bin.000007", "--force", NULL);
    EXPECT(r, 0, "", "");
    r = cli_run("", "-S", node.socket, "log", "purge", "--to", "x/mysql-bin.000007", NULL);
    EXPECT(r, 0, "", "");
    cli_expect_log(&node, "PURGE BINARY LOGS TO 'mysql-bin.000007'\n"
                          "PURGE BINARY LOGS ERA 12 TO 'mysql-bin.000007' FORCE\n"
                          "PURGE BINARY LOGS TO 'x/mysql-bin.000007'\n");
    fake_node_stop(&node);
}

/* Those that were refused are not connected, and named all the same, until somebody has read of them. */
static void errant_replicas_are_named(void)
{
    START(node, {"SHOW REPLICAS", "Server_Id#\tHost\n7\tdb2"},
          {"SHOW ALARMS", "Id#\tKind\tState\tAcknowledged\tSince\tUntil\tSource\tFrom_gtid\tTo_gtid\tText\n"
                          "3\terrant_replica\tended\tno\tT1\tT2\tdb1:3306\t" U1 ":7\t\tit has one\n"
                          "4\terrant_replica\tended\tyes\tT3\tT4\tdb3:3306\t" U1 ":8\t\tread already\n"
                          "5\tloss_window\topen\tno\tT5\t\\N\tdb4:3306\tu:1\t\\N\tanother thing"});
    struct ran r = cli_run("", "-S", node.socket, "replica", "list", NULL);
    EXPECT(r, 0, "SERVER ID  HOST\n        7  db2\n\nErrant:\n  db1:3306: it has one\n", "");
    r = cli_run("", "-S", node.socket, "--format=json", "replica", "list", NULL);
    UNIT_TRUE(!strstr(buf_cstr(&r.out), "read already") && !strstr(buf_cstr(&r.out), "another thing"));
    UNIT_TRUE(cli_has(&r.out, "\"replicas\": [\n    {\n      \"server_id\": 7,\n      \"host\": \"db2\"\n    }\n  ],\n"));
    EXPECT(r, 0,
           "\"errant\": [\n    {\n      \"replica\": \"db1:3306\",\n      \"gtids\": \"" U1 ":7\",\n      \"since\": \"T1\",\n"
           "      \"text\": \"it has one\",\n      \"alarm\": 3\n    }\n  ]\n}\n", "");
    fake_node_stop(&node);
}

/* It becomes the daemon that lies beside it, which says the rest. */
static void recover_runs_the_daemon(void)
{
    struct ran r = cli_run("", "recover", NULL);
    EXPECT(r, 2, "", "both --data-dir DIR and --force-new-cluster");
    r = cli_run("", "recover", "--data-dir=/nowhere/at/all", NULL);
    EXPECT(r, 2, "", "both --data-dir DIR and --force-new-cluster");
    r = cli_run("", "recover", "--data-dir", "/nowhere/at/all", "--force-new-cluster", "--yes", NULL);
    EXPECT(r, 2, "", "holdfastd: /nowhere/at/all is no data directory of a node");
    r = cli_run("", "status", "--force-new-cluster", NULL);
    EXPECT(r, 2, "", "for 'recover' only");
}

UNIT_MAIN("cli_more", UNIT_TEST(lost_connections_are_3),
          UNIT_TEST(network_login),
          UNIT_TEST(ps_shows_no_secret),
          UNIT_TEST(terminal_asks_twice_without_echo),
          UNIT_TEST(interrupt_gives_echo_back),
          UNIT_TEST(early_reader_is_no_failure),
          UNIT_TEST(source_set_follow_is_a_setting),
          UNIT_TEST(what_a_server_lacks_is_brought),
          UNIT_TEST(the_account_on_the_server_has_a_password),
          UNIT_TEST(a_history_is_put_away_under_a_name),
          UNIT_TEST(a_purge_names_a_file_and_its_era),
          UNIT_TEST(errant_replicas_are_named),
          UNIT_TEST(recover_runs_the_daemon))
