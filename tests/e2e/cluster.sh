# shellcheck shell=bash
# What the end-to-end tests of several nodes share; sourced after lib.sh. NODES says how many there are.
#
# Happy path: leader and follower print a node's number; the pulse is one client whose commits are noted with the server's clock; measure lets something
# happen and says how long commits stood still, which pauses_summary sums up.
# Failure modes: as in lib.sh: what does not come in time ends the test.

# ---- the cluster --------------------------------------------------------------------------------------------------------------------

# Prints the leader's id as the first node that answers knows it; fails when there is none.
leader() {
    local id said
    for ((id = 1; id <= NODES; id++)); do
        hf_pid "$id" >/dev/null 2>&1 || continue
        said=$(timeout 2 "$BUILD/holdfast" -S "$SCRATCH/node$id/sock" --format json status 2>/dev/null | sed -n 's/.*"leader_id": *\([0-9]*\).*/\1/p' | head -n 1)
        [ -n "$said" ] && [ "$said" != 0 ] && { printf '%s\n' "$said"; return; }
    done
    return 1
}
has_leader() { leader >/dev/null; }
follower() { # prints one that does not lead
    local id lead
    lead=$(leader)
    for ((id = 1; id <= NODES; id++)); do
        [ "$id" = "$lead" ] || { printf '%s\n' "$id"; return; }
    done
}
is_protected() { hf "$(leader)" status | head -n 1 | grep -q '^protected: yes' || { hf "$(leader)" status | head -n 1; return 1; }; }

# The files that a node has of its newest era equal the source's; those before them were purged.
held_files_equal() { # NODE
    local file dir
    dir=$(server get "$SCRATCH/source" binlog_dir)
    for file in "$(hf_era "$1")"/mysql-bin.[0-9]*; do
        file_equal source "$dir/${file##*/}" "$file" || return 1
    done
    [ "${file##*/}" = "$(tail -n 1 "$dir/mysql-bin.index" | sed 's,.*/,,')" ] || { echo "the newest file of node $1 is ${file##*/}"; return 1; }
}

# ---- how long commits stand still -----------------------------------------------------------------------------------------------------

# One client whose commits are noted with the server's clock, in milliseconds.
pulse_start() {
    local client socket
    client=$(server path "$SCRATCH/source" mysql)
    socket=$(server get "$SCRATCH/source" socket)
    : >"$SCRATCH/pulse"
    "$client" --no-defaults -u root -S "$socket" -n -N >"$SCRATCH/pulse" 2>>"$SCRATCH/load.err" < <(
        for ((i = 1; ; i++)); do
            echo "REPLACE INTO hf_load.pulse VALUES (1, $i); SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS UNSIGNED); DO SLEEP(0.002);" || exit 0
        done
    ) &
    track $! pulse
    disown $!
}
pulse_stop() {
    local pid
    pid=$(tracked_pid pulse) && kill "$pid" 2>/dev/null
    wait_until 10 "the pulse ends" process_gone pulse
}
# The longest pause between two commits since line N of the pulse, in ms.
longest_pause() { tail -n "+$1" "$SCRATCH/pulse" | awk 'NR > 1 { d = $1 - last; if (d > max) max = d } { last = $1 } END { print max + 0 }'; }
beats() { wc -l <"$SCRATCH/pulse"; }
beats_past() { [ "$(beats)" -gt "$1" ] || { echo "$(beats) commits so far"; return 1; }; }
measure() { # KIND LIMIT_MS FUNCTION
    local from pause
    wait_until 60 "the source is protected" is_protected
    sleep 0.5
    from=$(beats)
    "$3"
    wait_until 60 "commits go on after $1" beats_past $(($(beats) + 20))
    pause=$(longest_pause "$from")
    echo "$1 $pause" >>"$SCRATCH/pauses"
    [ "$pause" -le "$2" ] || fail "$1: commits stood still for $pause ms, $2 are allowed"
    ok "$1: commits stood still for $pause ms"
}

# The median of the pauses after KIND, of those that were measured, is no longer than LIMIT_MS.
median_below() { # KIND LIMIT_MS
    local median
    median=$(sed -n "s/^$1 //p" "$SCRATCH/pauses" | sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }')
    [ -z "$median" ] && return
    [ "$median" -le "$2" ] || fail "$1: at the median commits stood still for $median ms, $2 are allowed"
    ok "$1: at the median commits stood still for $median ms"
}
pauses_summary() {
    awk '{ n[$1]++; v[$1, n[$1]] = $2 } END { for (k in n) { for (i = 1; i <= n[k]; i++) for (j = i + 1; j <= n[k]; j++) if (v[k, j] < v[k, i]) { t = v[k, i]; v[k, i] = v[k, j]; v[k, j] = t }
        printf "pause after %s: median %d ms, worst %d ms, of %d\n", k, v[k, int((n[k] + 1) / 2)], v[k, n[k]], n[k] } }' "$SCRATCH/pauses"
}

# ---- members come and go ----------------------------------------------------------------------------------------------------------------

raft_address() { sed -n '/^\[raft\]/,/^\[http\]/s/^listen = //p' "$SCRATCH/node$1/holdfast.conf"; } # NODE
# Writes the configuration of a node that is to join the cluster of those others.
hf_setup_joining() { # NODE PEER...
    local id=$1 peer join=''
    shift
    for peer in "$@"; do join+="${join:+, }$(raft_address "$peer")"; done
    mkdir -p "$SCRATCH/node$id"
    HF_PORT[id]=$(free_port)
    cat >"$SCRATCH/node$id/holdfast.conf" <<CONF
[node]
id = $id
data_dir = $SCRATCH/node$id/data
[mysql]
listen = 127.0.0.1:${HF_PORT[id]}
socket = $SCRATCH/node$id/sock
[raft]
listen = 127.0.0.1:$(free_port)
join = $join
${HF_RAFT:-}
[http]
listen = 127.0.0.1:$(free_port)
[log]
level = ${HOLDFAST_LOG:-info}
CONF
}
# A member's column as NODE knows it.
member() { # NODE ID COLUMN
    hf "$1" --format json member list | tr -d '\n' | sed 's/},/}\n/g' | grep "\"id\": $2," | sed -n "s/.*\"$3\": \"\{0,1\}\([^\",}]*\)\"\{0,1\}.*/\1/p"
}
is_role() { # NODE ID ROLE
    local role
    role=$(member "$1" "$2" role)
    [ "$role" = "$3" ] || { echo "node $2 is: $role $(member "$1" "$2" note)"; return 1; }
}
voters() { hf "$1" --format json member list | grep -c '"role": "voter"'; } # NODE
# The node ended by itself, with this in its log and exit status 2.
ended_with() { # NODE TEXT
    process_gone "node$1" || { echo "node $1 runs"; return 1; }
    tail -n 40 "$SCRATCH/node$1/holdfastd.log" | grep -qF -- "$2" || { tail -n 3 "$SCRATCH/node$1/holdfastd.log"; return 1; }
}
hf_run() { # NODE: starts it, and does not wait
    "${HF_DAEMON[$1]:-$BUILD/holdfastd}" --config "$SCRATCH/node$1/holdfast.conf" </dev/null >>"$SCRATCH/node$1/holdfastd.log" 2>&1 &
    track $! "node$1"
    disown $!
}
