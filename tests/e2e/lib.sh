# shellcheck shell=bash
# What the end-to-end tests share; a test sources it and begins with `test_begin NAME`.
#
# Happy path: test_begin makes a scratch directory and sets a trap; start_server, hf_start and load_start run things in
# it; ok and fail report; the test ends with test_end. Whatever way it ends, the trap kills every process that this test
# started (known by pid and start time, so never another's) and removes the scratch directory.
# Failure modes: `fail` reports, shows the end of the daemon's log, keeps the scratch directory and ends the test with 1.
# A server that cannot be had: `need` skips the test (exit 77) with the reason, or fails it when CI is set.
#
# Environment: BUILD (where holdfastd and holdfast are), TMPDIR, HOLDFAST_SERVERS, HOLDFAST_KEEP=1 (keep the scratch
# directory), HOLDFAST_PORTS (where tests note the ports they use, for all tests of a machine), CI.

set -eu -o pipefail

E2E=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BUILD=${BUILD:-$E2E/../../build}
SCRATCH=
TEST_NAME=
TEST_OK=0
TEST_FAILED=0
PORTS=${HOLDFAST_PORTS:-${TMPDIR:-/tmp}/holdfast-ports.$(id -u)}

# ---- reporting ------------------------------------------------------------------------------------------------------------

note() { printf '     %s\n' "$*"; }
ok() {
    TEST_OK=$((TEST_OK + 1))
    printf 'ok   %s: %s\n' "$TEST_NAME" "$*"
}
fail() {
    printf 'FAIL %s: %s\n' "$TEST_NAME" "$*"
    show_logs
    TEST_FAILED=1
    exit 1
}
skip() {
    printf 'SKIP %s: %s\n' "$TEST_NAME" "$*"
    exit 77
}

show_logs() {
    local log conf
    [ -n "$SCRATCH" ] || return 0
    for log in "$SCRATCH"/node*/holdfastd.log "$SCRATCH"/*.err "$SCRATCH"/*/error.log; do
        [ -s "$log" ] || continue
        printf -- '---- the end of %s\n' "$log"
        tail -n 25 "$log"
    done
    for conf in "$SCRATCH"/*/server.conf; do
        [ ! -f "$conf" ] || printf -- '---- %s as a replica: %s\n' "${conf%/server.conf}" "$("$E2E/servers/server" replica-status "${conf%/server.conf}" 2>&1)"
    done
}

# ---- begin and end ----------------------------------------------------------------------------------------------------------

test_begin() { # NAME
    TEST_NAME=$1
    SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/hf-e2e.XXXXXX")
    : >"$SCRATCH/.processes"
    trap test_cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

test_end() {
    [ "$TEST_OK" -gt 0 ] || fail "asserted nothing"
    printf 'PASS %s (%d assertions, %d s)\n' "$TEST_NAME" "$TEST_OK" "$SECONDS"
    exit 0
}

test_cleanup() {
    local status=$? pid ticks conf
    trap - EXIT INT TERM
    set +e
    while read -r pid ticks _; do
        if same_process "$pid" "$ticks"; then kill -KILL "$pid" 2>/dev/null; fi
    done <"$SCRATCH/.processes"
    for conf in "$SCRATCH"/*/server.conf; do
        [ ! -f "$conf" ] || "$E2E/servers/server" kill "${conf%/server.conf}"
    done
    release_ports
    case $status in
    0 | 77 | 130 | 143) ;;
    *) [ "$TEST_FAILED" = 1 ] || printf 'FAIL %s: ended with status %d\n' "$TEST_NAME" "$status"
        TEST_FAILED=1 ;;
    esac
    if [ "$TEST_FAILED" = 1 ] || [ "${HOLDFAST_KEEP:-0}" = 1 ]; then
        printf '     kept: %s\n' "$SCRATCH"
    else
        rm -rf "$SCRATCH"
    fi
    exit "$status"
}

# ---- processes and ports ------------------------------------------------------------------------------------------------------

# The time a process was started, in clock ticks; nothing for one that is gone or a zombie. A zombie with threads is not
# gone: they hold its files and its locks.
process_ticks() { # PID
    [ -r "/proc/$1/stat" ] || return 0
    { sed 's/.*) //' "/proc/$1/stat" | awk '$1 != "Z" || $18 > 1 { print $20 }'; } 2>/dev/null || true
}
same_process() { # PID TICKS
    [ -n "$2" ] && [ "$(process_ticks "$1")" = "$2" ]
}

# Remembers a process that this test started, so that the end of the test is its end too.
track() { # PID WHAT
    printf '%s %s %s\n' "$1" "$(process_ticks "$1")" "$2" >>"$SCRATCH/.processes"
}

# The newest process tracked under that name, if it lives.
tracked_pid() { # WHAT
    local pid ticks
    read -r pid ticks < <(awk -v what="$1" '$3 == what { last = $1 " " $2 } END { print last }' "$SCRATCH/.processes") || true
    [ -n "${pid:-}" ] && same_process "$pid" "${ticks:-}" && printf '%s\n' "$pid"
}
process_gone() { ! tracked_pid "$1" >/dev/null; }

# Prints a port that nobody listens on, below the range that the kernel gives to clients. It is this test's until it ends.
free_port() {
    local port owner try
    mkdir -p "$PORTS"
    for ((try = 0; try < 500; try++)); do
        port=$((20000 + (RANDOM << 1 ^ RANDOM) % 12000))
        if ! mkdir "$PORTS/$port" 2>/dev/null; then
            owner=$(cat "$PORTS/$port/owner" 2>/dev/null) || continue
            [ ! -d "/proc/${owner:-self}" ] || continue # its test still runs
        fi
        echo $$ >"$PORTS/$port/owner"
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return 0
        fi
        rm -rf "${PORTS:?}/$port"
    done
    echo "no free port found" >&2
    return 1
}

release_ports() {
    local owner
    for owner in "$PORTS"/*/owner; do
        if [ -f "$owner" ] && [ "$(cat "$owner")" = $$ ]; then rm -rf "${owner%/owner}"; fi
    done
}

# Repeats a command until it succeeds; after SECONDS the test fails with MESSAGE and what the last try said.
wait_until() { # SECONDS MESSAGE COMMAND...
    local end=$((SECONDS + $1)) message=$2 last
    shift 2
    while ! last=$("$@" 2>&1); do
        [ $SECONDS -lt "$end" ] || fail "still not after the time allowed: $message${last:+ (last: $last)}"
        sleep 0.1
    done
}

# ---- real servers ---------------------------------------------------------------------------------------------------------------

server() { "$E2E/servers/server" "$@"; }

# Makes sure a server can be run here.
need() { # SERVER...
    local name reason
    for name in "$@"; do
        if ! reason=$("$E2E/servers/fetch" "$name" 2>&1); then
            reason=$(tail -n 1 <<<"$reason")
            [ -z "${CI:-}" ] || fail "$name is missing: ${reason#fetch: }"
            skip "$name is missing: ${reason#fetch: }"
        fi
    done
}

# Starts a server under a name of the test's own; it lives in $SCRATCH/NAME. Its server id is its port unless one is given.
start_server() { # NAME SERVER [OPTION-OF-server-start...]
    local name=$1 kind=$2 port
    shift 2
    port=$(free_port)
    server start "$kind" "$SCRATCH/$name" --port "$port" --server-id "$port" "$@" || fail "$kind ($name) does not start"
}
at() { printf '%s\n' "$SCRATCH/$1"; }
port_of() { server get "$SCRATCH/$1" port; }
is_mariadb() { [ "$(server get "$SCRATCH/$1" kind)" = mariadb ]; }

# One answer without headings; statements as an argument or on stdin.
sql() { # NAME [SQL]
    local name=$1
    shift
    if [ $# -gt 0 ]; then server sql "$SCRATCH/$name" -N -e "$1"; else server sql "$SCRATCH/$name" -N; fi
}

counter() { # NAME yes_tx|no_tx|clients|status|...
    server counters "$SCRATCH/$1" | tr ' ' '\n' | sed -n "s/^$2=//p"
}
counter_is() { # NAME COUNTER VALUE
    local now
    now=$(counter "$1" "$2")
    echo "$2 is $now"
    [ "$now" = "$3" ]
}
gtid_of() { server gtid "$SCRATCH/$1"; }

# How many transactions a server's GTID state counts (MariaDB: the sequence numbers of all domains).
transactions_of() { # NAME
    gtid_of "$1" | tr ',' '\n' | if is_mariadb "$1"; then
        awk -F - '{ n += $3 } END { print n + 0 }'
    else
        awk -F : '{ for (i = 2; i <= NF; i++) if (split($i, r, "-") == 2) n += r[2] - r[1] + 1; else if ($i ~ /^[0-9]+$/) n++ }
            END { print n + 0 }'
    fi
}

# Succeeds when both of a replica's threads run without an error.
replica_healthy() { # NAME
    local status
    status=$(server replica-status "$SCRATCH/$1")
    echo "$status"
    case $status in 'io=Yes sql=Yes io_errno=0 sql_errno=0 error='*) return 0 ;; *) return 1 ;; esac
}

# Waits until a replica has applied all that a source has.
catch_up() { # SOURCE REPLICA [SECONDS]
    local gtid answer
    gtid=$(gtid_of "$1")
    answer=$(server wait-gtid "$SCRATCH/$2" "$gtid" "${3:-300}" 2>&1) || fail "replica $2 lags behind $1: $answer"
}

# The options that let a server encrypt its binlog, into OPTIONS; skips the test when MariaDB's plugin cannot be had.
encryption_options() { # FLAVOUR
    local plugins
    if [ "$1" = mysql-9.7 ]; then
        keyring_mysql "$1"
        # shellcheck disable=SC2034 # the caller's
        OPTIONS=(--opt --binlog-encryption=ON)
        return
    fi
    need "plugins-$1"
    plugins=$("$E2E/servers/fetch" --path "plugins-$1")/root/usr/lib/mysql/plugin
    echo '1;a7addd9adea9978fda19f21e6be987880e68ac92632ca052e5bb42b1a506939a' >"$SCRATCH/keys"
    # shellcheck disable=SC2034 # the caller's
    OPTIONS=(--opt "--plugin-dir=$plugins" --opt --plugin-load-add=file_key_management --opt
        "--loose-file-key-management-filename=$SCRATCH/keys" --opt --encrypt-binlog=ON)
}
# MySQL finds its keyring by files beside its program: so all servers of this test are started from a copy (of links) of its tree.
keyring_mysql() { # FLAVOUR
    local home copy
    need "$1"
    home=$("$E2E/servers/fetch" --path "$1")
    copy=$SCRATCH/servers/$1
    mkdir -p "$SCRATCH/servers"
    cp -al "$home" "$copy" 2>/dev/null || { rm -rf "$copy"; cp -a "$home" "$copy"; }
    echo '{ "components": "file://component_keyring_file" }' >"$copy/root/usr/sbin/mysqld.my"
    echo "{ \"path\": \"$SCRATCH/keyring\", \"read_only\": false }" >"$copy/root/usr/lib/mysql/plugin/component_keyring_file.cnf"
    export HOLDFAST_SERVERS=$SCRATCH/servers
}

# ---- equality ---------------------------------------------------------------------------------------------------------------------

# One line for each table of the test's schemas: name, rows, digest. Independent of flavour.
table_digests() { # NAME
    local table
    sql "$1" "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables WHERE table_type = 'BASE TABLE'
        AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') ORDER BY 1" |
        while read -r table; do
            server sql "$SCRATCH/$1" -N --max-allowed-packet=1G -e "SELECT * FROM $table ORDER BY 1" </dev/null >"$SCRATCH/.rows.$1" ||
                printf '%s of %s cannot be read\n' "$table" "$1"
            printf '%s %s %s\n' "$table" "$(wc -l <"$SCRATCH/.rows.$1")" "$(md5sum <"$SCRATCH/.rows.$1" | cut -d ' ' -f 1)"
        done
    rm -f "$SCRATCH/.rows.$1"
}

tables_equal() { # NAME NAME
    local a b
    a=$(table_digests "$1")
    b=$(table_digests "$2")
    [ -n "$a" ] || { echo "$1 has no tables"; return 1; }
    [ "$a" = "$b" ] || { echo "tables differ between $1 and $2:"; diff <(echo "$a") <(echo "$b"); return 1; }
}

# Compares one of a source's files with ours; one that is encrypted with what the source's own program reads of it.
file_equal() { # NAME FILE OUR-FILE [OPTION-OF-binlog-same...]
    local name=$1 file=$2 ours=$3
    shift 3
    if [ "$(head -c 4 "$file" | tail -c 3)" = bin ] && [ "$(head -c 1 "$file" | od -An -tx1 | tr -d ' ')" = fd ]; then # MySQL's
        clear_copy "$name" "${file##*/}" || return 1
        "$E2E/binlog-same" "$@" "$SCRATCH/clear/${file##*/}" "$ours"
        return
    fi
    if [ "$(od -An -tu1 -j "$((4 + $(od -An -tu4 --endian=little -j 13 -N 4 "$file") + 4))" -N 1 "$file" | tr -d ' ')" != 164 ]; then
        "$E2E/binlog-same" "$@" "$file" "$ours"
        return
    fi
    clear_copy "$name" "${file##*/}" || return 1
    "$E2E/binlog-same" "$@" --clear "$SCRATCH/clear/${file##*/}" "$file" "$ours"
}

# What the server sends of one of its files, in $SCRATCH/clear.
clear_copy() { # NAME FILE-NAME
    mkdir -p "$SCRATCH/clear"
    (cd "$SCRATCH/clear" && server exec "$SCRATCH/$1" mysqlbinlog --read-from-remote-server --raw -u root -S "$(server get "$SCRATCH/$1" socket)" \
        "$2") >"$SCRATCH/clear.log" 2>&1 || { cat "$SCRATCH/clear.log"; return 1; }
}

# Compares all binlog files of a source with those of a directory of ours. With LAST-LENGTH the source's newest file is
# compared up to that length only. Says what differs and returns 1.
files_equal() { # NAME OUR-DIR [LAST-LENGTH]
    local theirs ours name last count=0
    theirs=$(server get "$SCRATCH/$1" binlog_dir)
    last=$(basename "$(tail -n 1 "$theirs/mysql-bin.index")")
    while read -r name; do
        name=$(basename "$name")
        count=$((count + 1))
        if [ "$name" = "$last" ] && [ -n "${3:-}" ]; then
            file_equal "$1" "$theirs/$name" "$2/$name" --length "$3" || return 1
        else
            file_equal "$1" "$theirs/$name" "$2/$name" || return 1
        fi
    done <"$theirs/mysql-bin.index"
    ours=$(find "$2" -maxdepth 1 -regex '.*/mysql-bin\.[0-9]+' | wc -l)
    [ "$ours" -eq "$count" ] || { echo "$count files at the source, $ours in $2"; return 1; }
}

# ---- load with a ledger -------------------------------------------------------------------------------------------------------------
# Each client is the server's own command line client. An id stands in the ledger only if its COMMIT returned.

load_prepare() { # NAME
    sql "$1" 'CREATE DATABASE IF NOT EXISTS hf_load; CREATE TABLE IF NOT EXISTS hf_load.commits
        (id BIGINT NOT NULL PRIMARY KEY, client INT NOT NULL, filler VARCHAR(2000) NOT NULL) ENGINE=InnoDB'
}

load_statements() { # CLIENT FIRST ROWS
    awk -v c="$1" -v first="$2" -v rows="$3" 'BEGIN {
        for (i = first; rows == 0 || i < first + rows; i++) {
            id = sprintf("%d%09d", c, i)
            printf "INSERT INTO hf_load.commits VALUES (%s, %d, REPEAT(\"%s,\", %d)); SELECT %s;\n", id, c, id, 1 + i % 100, id
        } }'
}

# Starts CLIENTS clients in the background; each commits ROWS rows (0: until load_stop). Call load_prepare once before.
# A later load of the same test uses other ids, so it may go on in the same ledger.
LOAD_ROUND=0
load_start() { # NAME LEDGER CLIENTS ROWS
    local client socket c
    client=$(server path "$SCRATCH/$1" mysql)
    socket=$(server get "$SCRATCH/$1" socket)
    LOAD_PIDS=()
    LOAD_LEDGER=$2
    touch "$2"
    LOAD_ROUND=$((LOAD_ROUND + 1))
    for ((c = 1; c <= $3; c++)); do
        "$client" --no-defaults -u root -S "$socket" -n -N < <(load_statements "$c" $((LOAD_ROUND * 10000000 + 1)) "$4") >>"$2" 2>>"$SCRATCH/load.err" &
        LOAD_PIDS+=($!)
        track $! load
    done
}

ledger_size() { wc -l <"$1"; }
ledger_has() { # LEDGER COUNT
    local n
    n=$(wc -l <"$1")
    echo "$n commits"
    [ "$n" -ge "$2" ]
}

# Waits for all clients of the last load; fails when one of them met an error or the time is over.
load_wait() { # SECONDS
    local pid end=$((SECONDS + $1))
    for pid in "${LOAD_PIDS[@]}"; do
        while [ -n "$(process_ticks "$pid")" ]; do
            [ $SECONDS -lt "$end" ] || fail "the load is not through after $1 s ($(ledger_size "$LOAD_LEDGER") commits returned)"
            sleep 0.1
        done
        wait "$pid" || fail "a client of the load met an error: $(tail -n 1 "$SCRATCH/load.err")"
    done
}

# Ends the clients where they are; commits under way may or may not have happened, and are not in the ledger.
load_stop() {
    local pid
    for pid in "${LOAD_PIDS[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}

# Succeeds when every id of the ledger is in that server's table; else prints how many lack and the first ones.
ledger_check() { # LEDGER NAME
    local lost
    lost=$(comm -23 <(sort -u "$1") <(sql "$2" 'SELECT id FROM hf_load.commits' | sort))
    [ -s "$1" ] || { echo "the ledger is empty"; return 1; }
    [ -z "$lost" ] || { echo "$(wc -l <<<"$lost") of $(ledger_size "$1") acknowledged commits are missing on $2: $(head -n 5 <<<"$lost" | paste -sd ' ')"; return 1; }
}

# A bit of everything that makes a binlog interesting. Every statement is one client's, one after the other.
workload() { # NAME
    local copy='CREATE TABLE copied AS SELECT * FROM plain'
    case $(server get "$SCRATCH/$1" version) in
    5.6.*) copy='CREATE TABLE copied LIKE plain; INSERT INTO copied SELECT * FROM plain; ALTER TABLE copied DROP PRIMARY KEY' ;; # forbids the other with GTIDs
    esac
    workload_statements | sed "s/@COPY@/$copy/" | sql "$1"
}
workload_statements() {
    cat <<'SQL'
CREATE DATABASE hf_work;
USE hf_work;
CREATE TABLE plain (id INT NOT NULL PRIMARY KEY, v VARCHAR(200), n DECIMAL(12,3), t DATETIME) ENGINE=InnoDB;
INSERT INTO plain VALUES (1, 'one', 1.5, '2001-02-03 04:05:06');
INSERT INTO plain VALUES (2, 'two', -2, NULL), (3, 'three', 3.25, NULL), (4, NULL, NULL, NULL);
BEGIN; INSERT INTO plain VALUES (5, 'five', 5, NULL); UPDATE plain SET v = CONCAT(v, '!') WHERE id < 4; DELETE FROM plain WHERE id = 2; COMMIT;
BEGIN; INSERT INTO plain VALUES (6, 'gone', 6, NULL); ROLLBACK;
BEGIN; INSERT INTO plain VALUES (7, 'kept', 7, NULL); SAVEPOINT s; INSERT INTO plain VALUES (8, 'gone', 8, NULL); ROLLBACK TO s; COMMIT;
ALTER TABLE plain ADD COLUMN extra INT DEFAULT 9;
@COPY@;
ALTER TABLE copied ADD PRIMARY KEY (id);
FLUSH LOGS;
XA START 'x1'; INSERT INTO plain (id, v) VALUES (20, 'xa committed'); XA END 'x1'; XA PREPARE 'x1'; XA COMMIT 'x1';
XA START 'x2'; INSERT INTO plain (id, v) VALUES (21, 'xa rolled back'); XA END 'x2'; XA PREPARE 'x2'; XA ROLLBACK 'x2';
XA START 'x3'; INSERT INTO plain (id, v) VALUES (22, 'one phase'); XA END 'x3'; XA COMMIT 'x3' ONE PHASE;
CREATE TABLE big (id INT NOT NULL PRIMARY KEY, b LONGTEXT) ENGINE=InnoDB;
INSERT INTO big VALUES (1, REPEAT('abcdefgh', 400000));
BEGIN; INSERT INTO big SELECT id + 1, b FROM big; INSERT INTO big SELECT id + 2, REVERSE(b) FROM big; COMMIT;
CREATE TABLE keyless (a INT, b INT) ENGINE=InnoDB;
INSERT INTO keyless VALUES (1, 1), (2, 2), (3, 3);
UPDATE keyless SET b = b + 10;
FLUSH LOGS;
FLUSH LOGS;
CREATE VIEW seen AS SELECT id, v FROM plain;
CREATE TRIGGER stamp BEFORE INSERT ON plain FOR EACH ROW SET NEW.t = COALESCE(NEW.t, '2020-01-01 00:00:00');
INSERT INTO plain (id, v) VALUES (30, 'ünïcödé');
DROP TABLE keyless;
SQL
}

# ---- Holdfast -------------------------------------------------------------------------------------------------------------------------
# Nodes are numbered from 1; node N lives in $SCRATCH/nodeN.

need_build() {
    local program
    for program in holdfastd holdfast; do
        [ -x "$BUILD/$program" ] || fail "no $program in $BUILD (build first, or say where: BUILD=DIR)"
    done
}

# Writes the configuration of COUNT nodes that form one cluster. Call it once. HF_HOST[N]: where node N listens, if not on loopback;
# HF_WRAP[N]: what its daemon is started with; HF_DAEMON[N]: the daemon, if not that of BUILD; HF_RAFT: one more line of [raft].
hf_setup() { # COUNT
    local id members='' raft=()
    need_build
    for ((id = 1; id <= $1; id++)); do
        raft[id]=$(free_port)
        members+="${members:+, }$id@${HF_HOST[id]:-127.0.0.1}:${raft[id]}"
    done
    for ((id = 1; id <= $1; id++)); do
        mkdir -p "$SCRATCH/node$id"
        HF_PORT[id]=$(free_port)
        cat >"$SCRATCH/node$id/holdfast.conf" <<CONF
[node]
id = $id
data_dir = $SCRATCH/node$id/data
[mysql]
listen = ${HF_HOST[id]:-127.0.0.1}:${HF_PORT[id]}
socket = $SCRATCH/node$id/sock
[raft]
listen = ${HF_HOST[id]:-127.0.0.1}:${raft[id]}
initial_cluster = $members
${HF_RAFT:-}
[http]
listen = 127.0.0.1:$(free_port)
[log]
level = ${HOLDFAST_LOG:-info}
CONF
    done
}
HF_PORT=() HF_HOST=() HF_WRAP=() HF_DAEMON=() HF_RAFT=

hf_port() { printf '%s\n' "${HF_PORT[$1]}"; }
hf_pid() { tracked_pid "node$1"; }
hf_answers() { "$BUILD/holdfast" -S "$SCRATCH/node$1/sock" status; }

# Starts a node and waits until it answers, START_SECONDS at most (30).
hf_start() { # NODE
    local end=$((SECONDS + ${START_SECONDS:-30})) dir=$SCRATCH/node$1 wrap
    read -r -a wrap <<<"${HF_WRAP[$1]:-}" || true
    "${wrap[@]}" "${HF_DAEMON[$1]:-$BUILD/holdfastd}" --config "$dir/holdfast.conf" </dev/null >>"$dir/holdfastd.log" 2>&1 &
    track $! "node$1"
    disown $!
    until hf_answers "$1" >/dev/null 2>&1; do
        hf_pid "$1" >/dev/null || fail "node $1 ended while starting"
        [ $SECONDS -lt "$end" ] || fail "node $1 does not answer after ${START_SECONDS:-30} s"
        sleep 0.05
    done
}

hf_signal() { # NODE SIGNAL
    local pid
    pid=$(hf_pid "$1") || fail "node $1 does not run (it should)"
    kill "-$2" "$pid"
    wait_until 30 "node $1 ends on SIG$2" process_gone "node$1"
    ! grep -E 'Sanitizer|runtime error|internal check failed' "$SCRATCH/node$1/holdfastd.log" >&2 ||
        fail "node $1 found a fault in itself"
}
hf_stop() {
    hf_signal "$1" TERM
    tail -n 1 "$SCRATCH/node$1/holdfastd.log" | grep -q 'node: ended' || fail "node $1 did not end in order"
}
hf_kill() { hf_signal "$1" KILL; }

# The CLI on a node's socket; what it says on failure ends the test.
hf() { # NODE COMMAND...
    local node=$1
    shift
    "$BUILD/holdfast" -S "$SCRATCH/node$node/sock" "$@"
}
hf_must() { # NODE COMMAND...
    local said
    said=$(hf "$@" 2>&1) || fail "holdfast ${*:2}: $said"
    [ -z "$said" ] || note "holdfast ${*:2}: $(head -n 1 <<<"$said")"
}

# SQL on a node through the client of a running server of the test (NAME).
hf_sql() { # NODE NAME SQL
    "$(server path "$SCRATCH/$2" mysql)" --no-defaults -u root -S "$SCRATCH/node$1/sock" -N -e "$3"
}

# The newest era's directory of a node.
hf_era() { # NODE
    local era
    era=$(find "$SCRATCH/node$1/data/binlog" -mindepth 1 -maxdepth 1 -type d -name "[0-9]*" 2>/dev/null | sort -V | tail -n 1)
    [ -n "$era" ] || { echo "node $1 has no era yet"; return 1; }
    printf '%s\n' "$era"
}
hf_files_equal() { # NODE SOURCE-NAME
    local era
    era=$(hf_era "$1") || { echo "$era"; return 1; }
    files_equal "$2" "$era"
}

# A node's GTID state, in the words of the flavour that the server NAME has.
hf_gtid() { # NODE NAME
    local variable=gtid_executed
    if is_mariadb "$2"; then variable=gtid_binlog_pos; fi
    "$(server path "$SCRATCH/$2" mysql)" --no-defaults -u root -S "$SCRATCH/node$1/sock" -N -r -e "SELECT @@GLOBAL.$variable" | tr -d '\n'
}
