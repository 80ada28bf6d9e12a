/* commands.c: the table of commands. A row is all that the rest of the program knows of one: names are found
 * in it, and --help, a command's own help and the completion are printed from it. */
#include "tools/cli/cli.h"

#include <string.h>

const struct command COMMANDS_TABLE[] = {
    {"status", "", "is the source protected; members, source, replicas, alarms",
     "The first line is the verdict: \"protected: yes\", or \"protected: no\" with since when (where the "
     "node says it) and why. What is to be done about it stands under Alarms.\n",
     "holdfast status\nholdfast -h db-a,db-b -u monitor -p --format json status\n", "", 0, 0, cmd_status},
    {"source show", "", "the source: where it is, how far it was followed", "", "holdfast source show\n", "",
     0, 0, cmd_source_show},
    {"source set", "KEY=VALUE...", "say which source to follow, and how",
     "Keys:\n"
     "  host=HOST        name or address of the source. HOST[:PORT],... are several: the next is tried when one\n"
     "                   cannot be reached, or is not the server that is followed\n"
     "  port=PORT        its port (3306)\n"
     "  user=USER        account on the source, with REPLICATION SLAVE\n"
     "  password=-       its password: asked for, or a line of standard input\n"
     "  password=TEXT    the password itself, which the shell will remember\n"
     "  ssl_mode=MODE    disabled, preferred, required, verify_ca, verify_identity\n"
     "  ssl_ca=FILE      CA that the source's certificate must be signed by; without ssl_mode= implies verify_ca\n"
     "  ssl_cert=FILE    own certificate, for a source that asks for one; with it\n"
     "  ssl_key=FILE     its key. Paths of PEM files on each node, read again at each connect; nothing for none\n"
     "  compression=HOW  none, zlib, zstd or zstd:LEVEL, where the source offers it\n"
     "  follow=HOW       manual (default): another server is followed only when it is the only address; auto: also one of\n"
     "                   several, when it is writable, waits for acknowledgements and holds all that is held here\n"
     "  start=WHERE      oldest (default), now, the name of a binlog file, or a GTID set\n"
     "\n"
     "What is left out keeps its value. The source has to be stopped (holdfast source stop); following "
     "begins with holdfast source start.\n",
     "holdfast source set host=db1 port=3306 user=holdfast password=- start=oldest\n"
     "holdfast source set password=- < /root/new-password\n",
     "host= port= user= password=- ssl_mode= ssl_ca= ssl_cert= ssl_key= compression= start=oldest start=now follow=manual follow=auto", 1, 16, cmd_source_set},
    {"source check", "[HOST[:P]]", "the settings of the source that the promise depends on; or, may a server rejoin",
     "Asks the source now, also if it is not followed yet. Each setting is ok, warn or critical (then commits "
     "are not protected); below the table stands the statement that mends each one.\n"
     "\n"
     "With HOST: what that server lacks of what the cluster holds, what it has that the cluster does not hold (with the events, "
     "as far as it has them still: its account needs REPLICATION SLAVE for that), whether it may rejoin, and the statements: for an old "
     "master that came back. Nothing is changed. Options and password as of holdfast compensate.\n",
     "holdfast source check\nholdfast --format json source check\nholdfast source check db1 --target-user ops\n", "", 0, 1, cmd_source_check},
    {"source start", "", "follow the source", "", "holdfast source start\n", "", 0, 0, cmd_source_start},
    {"source stop", "", "do not follow it any longer",
     "Commits on a source that waits for our acknowledgement wait until it is followed again, or until its "
     "own timeout ends the waiting.\n",
     "holdfast source stop\n", "", 0, 0, cmd_source_stop},
    {"source reset", "--keep-old DIR [--force]", "forgets the history of the source",
     "The way out when the source's history is not the one held here and never will be: it was reset, or lost transactions. On each node "
     "all binlog files go to binlog/old/DIR in its data directory (they are moved, not copied), and the cluster holds no GTIDs any more. "
     "The source stays set; holdfast source start then begins with its files as with those of a new one.\n"
     "\n"
     "The source has to be stopped (holdfast source stop). Replicas of the old history have to be set up again. What a replica still "
     "needs is not put away, unless --force is given.\n",
     "holdfast source stop\nholdfast source reset --keep-old 2026-11-before-reset\nholdfast source start\n", "", 0, 0, cmd_source_reset},
    {"compensate", "HOST[:P]... [--dry-run] [--wait SECONDS]", "bring a server what it lacks of what the cluster holds",
     "Shows which transactions the server lacks, and which it has that the cluster does not hold. Then it is made to replicate from a "
     "member, with the replication account that it has: only host and port change. When it lacks nothing it is stopped, and both sides are "
     "compared again. It is not made the source: what to run for that is printed.\n"
     "\n"
     "Several servers are compared and ranked by what they lack; nothing is changed.\n"
     "\n"
     "The account needs SUPER, or REPLICATION_SLAVE_ADMIN and REPLICATION CLIENT (MySQL), REPLICATION SLAVE ADMIN and REPLICA MONITOR (MariaDB). Its "
     "password is asked for, or taken from --target-password-file or HOLDFAST_TARGET_PASSWORD.\n"
     "\n"
     "The server reaches the member by the address that -h names, or by that of --via. Exits with 0 when the server lacks nothing (or, "
     "with --dry-run, when the statements are printed).\n",
     "holdfast -h node1 -u admin -p compensate db2 db3 --target-user ops\n"
     "holdfast -h node1 -u admin -p compensate db2 --target-user ops --dry-run\n"
     "holdfast compensate db2:3306 --via node1:3307 --target-user ops --target-password-file /root/ops-password\n",
     "", 1, 16, cmd_compensate},
    {"member list", "", "the nodes of the cluster",
     "Those that are awaited, too. GOAL is what a member is to become, NOTE what the way there waits for.\n", "holdfast member list\n", "", 0, 0,
     cmd_member_list},
    {"member add", "ID ADDR [--standby] [--wait SECONDS | --no-wait] [--dry-run]", "a new member",
     "ID is one that no member has or had, ADDR where the others reach it ([raft] listen there). Start holdfastd on it, before or afterwards, with an "
     "empty data directory and join = (addresses of some members) in its configuration. It gets what the cluster holds and becomes a voter by itself, "
     "whoever leads; this command shows how far it is and may be interrupted.\n"
     "\n"
     "A node that is awaited and never comes is given up with member remove.\n",
     "holdfast member add 4 10.0.0.4:4307\nholdfast member add 5 10.0.0.5:4307 --standby --no-wait\n", "", 2, 2, cmd_member_add},
    {"member replace", "ID [ADDR] [--wait SECONDS | --no-wait] [--dry-run]", "a member gets another disk, or another machine",
     "For a member whose data directory is lost, damaged or an old image. The old data directory is no part of the cluster from then on: a node that runs "
     "with it ends. The new one begins empty, as with member add, under the same ID; ADDR is where it is reached, if that changes.\n",
     "holdfast member replace 2 10.0.0.2:4307\nholdfast member replace 2 --dry-run\n", "", 1, 2, cmd_member_replace},
    {"member remove", "ID [--wait SECONDS | --no-wait] [--dry-run]", "one member less, for good",
     "The node ends with the reason. Its ID is never used again. A leader hands over first. The last voter cannot be removed, nor one without which no "
     "majority of the others is reachable.\n",
     "holdfast member remove 5\n", "", 1, 1, cmd_member_remove},
    {"member promote", "ID [--wait SECONDS | --no-wait] [--dry-run]", "a standby becomes a voter", "As soon as it is level.\n",
     "holdfast member promote 4\n", "", 1, 1, cmd_member_promote},
    {"member demote", "ID [--wait SECONDS | --no-wait] [--dry-run]", "a voter becomes a standby",
     "It has everything and serves replicas, but it does not count for the majority. A leader hands over first.\n", "holdfast member demote 4\n", "", 1, 1,
     cmd_member_demote},
    {"switchover", "[--to ID]", "another node leads; the source is not touched",
     "Moves the lead of Holdfast to another voter, the best one or the one that is named, and waits until it leads. Commits on the source go on: "
     "they wait for the moment that it takes.\n",
     "holdfast switchover\nholdfast switchover --to 2\n", "", 0, 0, cmd_switchover},
    {"recover", "--data-dir DIR --force-new-cluster [--yes]", "the others are lost for good: one node becomes a new cluster",
     "For when a majority of the voters will never come back, and only then: transactions that were acknowledged may be lost. On the machine of the node that is left, "
     "as root or as the user that holdfastd runs as, with holdfastd stopped. It shows what the node holds and what may be lost, and asks; without a terminal it wants "
     "--yes.\n"
     "\n"
     "The node is then the only voter of a new cluster with all that it holds: start holdfastd on it, and take in empty nodes with member add. Old members are "
     "refused if they come back. Of several nodes that are left, take the one whose log ends last.\n",
     "holdfast recover --data-dir /var/lib/holdfast --force-new-cluster\n", "", 0, 0, cmd_recover},
    {"replica list", "", "the replicas that are connected to this node", "",
     "holdfast replica list\nholdfast -h db-a -u monitor -p replica list --format json\n", "", 0, 0,
     cmd_replica_list},
    {"log list", "", "the binlog files of all eras",
     "Oldest first: the era (it counts up with each source that was followed), size, whether the file is being written, the "
     "source it came from, and the GTIDs in it.\n",
     "holdfast log list\n", "", 0, 0, cmd_log_list},
    {"log events", "[FILE] [--from POS] [--limit N]", "the events of a binlog file, as SHOW BINLOG EVENTS tells them",
     "FILE is one of the newest era, or the newest of that name; without one it is the oldest of the newest era. Each event: "
     "where it begins, its type, who wrote it, where it ends, and what it says. Shows 1000 at most unless --limit says more; "
     "go on with --from and the last end.\n",
     "holdfast log events mysql-bin.000042\nholdfast log events mysql-bin.000042 --from 4711 --limit 20\n", "", 0, 1,
     cmd_log_events},
    {"log purge", "--to [ERA/]FILE | --before TIME [--force] [--dry-run]", "removes the oldest binlog files, on all nodes",
     "All files before FILE (the newest of that name, or that of the era), or those whose last event is older than TIME: 2026-11-21, 2026-11-21T03:12:07 "
     "(UTC), or so long ago: 90m, 36h, 7d. The newest file always stays.\n"
     "\n"
     "What a replica reads on any node stays, and all behind it; so does what one was reading that left less than the setting "
     "replica_grace ago. All nodes are asked; while one cannot be asked nothing goes, until it was not heard for replica_grace. A warning says which "
     "file and who. --force asks nobody and removes it all the same: such a replica has to be set up again. "
     "Files are purged by themselves when binlog_expire_logs_seconds or max_binlog_total_size is set (holdfast setting list).\n",
     "holdfast log purge --before 7d --dry-run\nholdfast log purge --to mysql-bin.000042\nholdfast log purge --to 2/mysql-bin.000007\n", "", 0, 0, cmd_log_purge},
    {"log verify", "[--rate MIB] [--rebuild]", "reads the binlog files of this node and says whether they are sound",
     "File after file of all eras: the checksum of every event, the hashes that were kept when it was written, and its index. "
     "Standard error shows how far it is when it is a terminal. It waits for each file as long as a slow disk needs for it, and "
     "--timeout longer.\n"
     "\n"
     "A damaged index costs time, no data: it is made again by itself when a replica wants it, or now with --rebuild. A damaged "
     "file is not served beyond the damage: replace the member.\n",
     "holdfast log verify\nholdfast --timeout 600 log verify --rate 50 --rebuild\n", "", 0, 0, cmd_log_verify},
    {"gtid show", "", "the GTIDs that the cluster holds", "", "holdfast gtid show\n", "", 0, 0,
     cmd_gtid_show},
    {"gtid missing", "SET", "what the cluster lacks of a GTID set, and the set of the cluster",
     "SET is @@gtid_executed of a MySQL server, or @@gtid_binlog_state of a MariaDB. A server whose set lacks something that the "
     "cluster holds can get it from here; one that has something that the cluster lacks may not be followed.\n",
     "holdfast gtid missing 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-120\nholdfast gtid missing 0-1-4711\n", "", 1, 1,
     cmd_gtid_missing},
    {"gtid wait", "SET [--timeout SECONDS]", "wait until the cluster holds a GTID set",
     "Exits with 0 when it does, with 1 when the time (10 seconds) is over.\n",
     "holdfast gtid wait 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-120 --timeout 60\n", "", 1, 1, cmd_gtid_wait},
    {"setting list", "", "the settings of the cluster, what they may be and what they do", "", "holdfast setting list\n", "", 0, 0,
     cmd_setting_list},
    {"setting set", "NAME=VALUE", "change a setting of the cluster",
     "Takes effect on all nodes at once and stays. DEFAULT takes the value back; sizes may end in K, M or G.\n",
     "holdfast setting set max_connections=500\nholdfast setting set replica_queue_all=64M\n"
     "holdfast setting set max_connections=DEFAULT\n",
     "cluster_server_id= default_auth= follow= max_connections= replica_queue= replica_queue_all= semi_sync_within=", 1, 1, cmd_setting_set},
    {"alarm list", "", "what happened that somebody has to know of",
     "Loss windows (commits on the source returned without the cluster's acknowledgement) and the like: since when, until "
     "when, which transactions. Kept until 64 newer ones need the room.\n",
     "holdfast alarm list\n", "", 0, 0, cmd_alarm_list},
    {"alarm ack", "ID", "it was read: status does not show it any more",
     "One that goes on is shown until it has ended, and has to be acknowledged again then.\n", "holdfast alarm ack 3\n", "", 1, 1,
     cmd_alarm_ack},
    {"user list", "", "the accounts and their roles", "", "holdfast user list\n", "", 0, 0, cmd_user_list},
    {"user add", "NAME[@HOST] [--role ROLE,...] [--auth PLUGIN]", "make an account",
     "The password is asked for twice on a terminal; otherwise it is a line of standard input.\n"
     "\n"
     "HOST is where its clients may come from: an address, a pattern like 10.1.%, a network like 10.1.0.0/16, localhost; "
     "without one they may come from everywhere. Names of hosts are not looked up.\n"
     "\n"
     "By default clients may use either password plugin, whichever they have, unless the setting default_auth says otherwise; "
     "--auth allows one alone.\n"
     "\n"
     "Roles:\n"
     "  replica   may replicate from the cluster (REPLICATION SLAVE); the default\n"
     "  monitor   may see its state (REPLICATION CLIENT)\n"
     "  admin     may see and change everything (CLUSTER_ADMIN)\n",
     "holdfast user add repl\nholdfast user add ops@localhost --role admin\nholdfast user add repl@10.1.% --auth mysql_native_password\n"
     "holdfast user add probe --role monitor < /root/probe-password\n",
     "", 1, 1, cmd_user_add},
    {"user passwd", "NAME[@HOST]", "change an account's password",
     "The password is asked for twice on a terminal; otherwise it is a line of standard input.\n",
     "holdfast user passwd repl\n", "", 1, 1, cmd_user_passwd},
    {"user drop", "NAME[@HOST]", "remove an account", "Its sessions end.\n", "holdfast user drop repl\nholdfast user drop ops@localhost\n", "", 1, 1, cmd_user_drop},
    {"sql", "STATEMENT|-", "run a statement as a MySQL client would",
     "Words that follow are joined by blanks; '-' reads the statement from standard input. A statement that "
     "ends with \\G prints each row as lines.\n",
     "holdfast sql 'SHOW REPLICA STATUS\\G'\nholdfast --format json sql 'SHOW BINARY LOGS'\n"
     "holdfast sql - < statement.sql\n",
     "", 1, CLI_WORDS_MAX, cmd_sql},
    {"help", "[COMMAND]", "this text, or that of a command", "", "holdfast help source set\n", "", 0, 2,
     cmd_help},
    {"completion", "bash|zsh", "a script that teaches the shell to complete commands",
     "make install puts both where the shells look for them.\n",
     "source <(holdfast completion bash)\nholdfast completion zsh > ~/.zfunc/_holdfast\n", "bash zsh", 1, 1, cmd_completion},
};
const size_t COMMANDS_COUNT = sizeof COMMANDS_TABLE / sizeof COMMANDS_TABLE[0];

const struct command *command_find(char *const *words, size_t nwords, size_t *used)
{
    for (size_t i = 0; i < COMMANDS_COUNT && nwords; i++) {
        const char *name = COMMANDS_TABLE[i].name, *blank = strchr(name, ' ');
        size_t first = blank ? (size_t)(blank - name) : strlen(name);
        if (strlen(words[0]) != first || strncmp(words[0], name, first) != 0) {
            continue;
        }
        if (!blank || (nwords > 1 && strcmp(words[1], blank + 1) == 0)) {
            *used = blank ? 2 : 1;
            return &COMMANDS_TABLE[i];
        }
    }
    return NULL;
}

bool command_is_group(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const char *name = COMMANDS_TABLE[i].name;
        if (strncmp(name, word, n) == 0 && name[n] == ' ') {
            return true;
        }
    }
    return false;
}

/* How many characters have to be put in, taken out or replaced (Levenshtein). Both are short. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 31 };
    size_t row[LONGEST + 1], na = strlen(a), nb = strlen(b);
    if (na > LONGEST || nb > LONGEST) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t replaced = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = replaced < least ? replaced : least;
        }
    }
    return row[nb];
}

const char *command_guess(const char *typed)
{
    const char *best = NULL;
    size_t least = 3; /* two slips of the finger */
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const char *name = COMMANDS_TABLE[i].name;
        size_t d = distance(typed, name);
        if (d < least && d < strlen(name) / 2) {
            least = d;
            best = name;
        }
    }
    return best;
}
