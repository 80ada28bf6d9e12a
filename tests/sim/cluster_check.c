/* cluster_check.c: what must hold at every moment, whatever happens to the cluster.
 *
 * After each event: a majority of disks has what any node takes for committed; one leader a term; a node's term never goes back and its vote in a term never changes, also over a crash; a new
 * leader has everything that was ever acknowledged or seen by a replica; a node's GTID state is that of as many of the source's transactions
 * as it has applied. At each acknowledgement: a majority of disks has it. At each write to a binlog file: the source's has these bytes there. Now
 * and then, and in the end: all of the files as they can be read. Source and replicas check what they are told themselves. */
#include "tests/sim/cluster_world.h"
#include "tests/sim/node_sim.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/configuration.h"
#include "raft/fetch.h"
#include "raft/io_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { IN_USE_OFFSET = EVENT_MAGIC_SIZE + 17, PENDING_MORE = 4 << 20 };

#define BINLOGS "/data/binlog/1/"
#define LEAST_LATENCY (50 * ENV_MS / 1000) /* what arrives now was sent before */

/* ---- after each event ---- */

/* How many transactions of the truth the node's state holds. */
static size_t held_by(const struct world *w, const struct cluster *cluster)
{
    const struct state_file *newest = state_file(cluster_state(cluster));
    size_t file;
    if (!newest || !history_find(w->history, newest->name, &file)) {
        return 0;
    }
    return history_txns_before(w->history, file, cluster_state(cluster)->boundary);
}

static void check_new_leader(struct world *w, struct world_node *node)
{
    size_t held = held_by(w, node->cluster), acked = source_sim_acked(w->source), seen = 0;
    w->elections++;
    for (unsigned i = 0; i < w->n_replicas; i++) {
        size_t n = replica_sim_seen(w->replicas[i]);
        seen = n > seen ? n : seen;
    }
    if (held < acked) {
        sim_fail(w->sim, "lost: %zu transactions were acknowledged, %s leads in term %" PRIu64 " with %zu", acked, sim_host_name(node->host),
                 cluster_term(node->cluster), held);
    }
    if (held < seen) {
        sim_fail(w->sim, "lost: a replica has seen %zu transactions, %s leads in term %" PRIu64 " with %zu", seen, sim_host_name(node->host),
                 cluster_term(node->cluster), held);
    }
}

static void check_term(struct world *w, struct world_node *node)
{
    const struct raft *raft = &node->cluster->raft;
    uint64_t term = raft->current_term, id = node->id;
    if (term < node->term) {
        sim_fail(w->sim, "%s has forgotten its term: %" PRIu64 " after %" PRIu64, sim_host_name(node->host), term, node->term);
    }
    if (term == node->term && node->vote && raft->voted_for != node->vote) {
        sim_fail(w->sim, "%s has voted twice in term %" PRIu64 ": for %" PRIu64 ", and %llu", sim_host_name(node->host), term, node->vote,
                 raft->voted_for);
    }
    if (sim_env_clock(sim_process_env(sim_host_process(node->host))) <= sim_now(w->sim)) { /* else it has not happened yet: a crash may come before */
        node->term = term;
        node->vote = raft->voted_for;
    }
    if (raft->state == RAFT_LEADER && term < WORLD_TERMS) {
        if (w->leaders[term] && (w->leaders[term] != id || w->leader_numbers[term] != node->number)) {
            sim_fail(w->sim, "two leaders in term %" PRIu64 ": nodes %" PRIu64 " (node%zu) and %" PRIu64 " (node%zu)", term, w->leaders[term],
                     w->leader_numbers[term] + 1, id, node->number + 1);
        }
        w->leaders[term] = id;
        w->leader_numbers[term] = node->number;
    }
}

/* Files are fetched only where the leader's log does not reach back to what it knows to be here; an offer may have been under way when it came to know
 * more, also for as long as a cut lasted. */
static void check_need(struct world *w, struct world_node *node, bool installed)
{
    const struct world_node *leader = world_leader(w);
    const struct raft_server *s = leader ? configuration_find(&leader->cluster->raft.configuration, node->id) : NULL;
    uint64_t known = s ? rio_matched(leader->cluster->rio, s->id, s->address) : 0;
    bool fetches = fetch_progress(node->cluster->fetch).active;
    if (!known || leader == node || !node->committed || rio_first_index(leader->cluster->rio) > known + 1) {
        node->reached_since = 0;
    } else if (!node->reached_since) {
        node->reached_since = sim_now(w->sim);
    }
    if (fetches && !node->fetches) { /* what it had then counts, for newer offers too */
        uint64_t since = node->reached_since > w->connected_at ? node->reached_since : w->connected_at;
        node->needless = node->reached_since && sim_now(w->sim) - since > 2 * ENV_S ? node->committed : 0;
    }
    node->fetches = fetches;
    if (installed && node->needless) {
        sim_fail(w->sim, "%s takes a snapshot, but when it began to fetch it had entry %" PRIu64 ", and the leader's log began with entry %" PRIu64,
                 sim_host_name(node->host), node->needless, rio_first_index(leader->cluster->rio));
    }
}

/* The log may have been replaced by the leader's snapshot. */
static void see_installed(struct world *w, struct world_node *node)
{
    const struct snapshot *s = rio_snapshot(node->cluster->rio);
    bool installed = s && s->replaces_log && s->index != node->installed;
    if (!w->members) {
        check_need(w, node, installed);
    }
    if (s && s->replaces_log) {
        ledger_installed(w->ledger, node->number, s->index, s->term);
        w->installs += installed;
        node->installed = s->index;
    }
}

/* What libraft counts as committed: a majority of the disks has it, and a leader counts entries of its own term only. */
static void check_commit(struct world *w, struct world_node *node)
{
    const struct raft *raft = &node->cluster->raft;
    uint64_t index = raft->commit_index, term = ledger_term(w->ledger, node->number, index);
    if (index <= node->committed) {
        return;
    }
    bool first = node->committed == 0; /* after a start: what its snapshot holds */
    node->committed = index;
    if (first) {
        return;
    }
    if (!term || !ledger_has_entry(w->ledger, index, term)) {
        sim_fail(w->sim, "%s, %s in term %llu, takes entry %" PRIu64 " of term %" PRIu64 " for committed: no majority of disks has it",
                 sim_host_name(node->host), raft->state == RAFT_LEADER ? "leader" : "no leader", raft->current_term, index, term);
    }
    if (raft->state == RAFT_LEADER && term != raft->current_term) {
        sim_fail(w->sim, "%s commits entry %" PRIu64 " of term %" PRIu64 " by counting in term %llu", sim_host_name(node->host), index, term,
                 raft->current_term);
    }
}

/* libraft looks for a quorum at the newest entry that is stored here: with more in flight it may never find one. (A member that becomes a voter is
 * given time to be level; the change is then begun by libraft, and may come behind an entry.) */
static void check_pace(struct world *w, const struct world_node *node)
{
    const struct raft *raft = &node->cluster->raft;
    uint64_t last = raft_last_index((struct raft *)(uintptr_t)raft);
    uint64_t allowed = raft->configuration_uncommitted_index ? 2 : 1;
    if (node->led && cluster_leading(node->cluster) && last > raft->commit_index + allowed) {
        sim_fail(w->sim, "%s leads and has %" PRIu64 " entries that are not committed, %" PRIu64 " may be", sim_host_name(node->host), last - (uint64_t)raft->commit_index, allowed);
    }
}

/* libraft would miss a change of members among the entries that are being written. */
static void check_candidate(struct world *w, struct world_node *node)
{
    const struct raft *raft = &node->cluster->raft;
    if (node->state == RAFT_FOLLOWER && raft->state == RAFT_CANDIDATE && raft_last_index((struct raft *)(uintptr_t)raft) > raft->last_stored) {
        sim_fail(w->sim, "%s becomes candidate in term %llu while entries are being written", sim_host_name(node->host), raft->current_term);
    }
    node->state = raft->state;
}

/* Its GTID state is that of the transactions which it holds; looked at whenever it has applied something. */
static void check_gtids(struct world *w, struct world_node *node)
{
    const struct state *state = cluster_state(node->cluster);
    if (state->index == node->index) {
        return;
    }
    node->index = state->index;
    size_t n = held_by(w, node->cluster);
    if (!node->counted || n < node->n_counted) { /* begun anew, or a snapshot of another member was taken */
        gtid_set_free(node->counted);
        node->counted = gtid_set_new(w->history->flavour);
        node->n_counted = 0;
    }
    while (node->n_counted < n) {
        gtid_set_add(node->counted, &w->history->txns[node->n_counted++].gtid);
    }
    if (state->executed && !gtid_set_equal(node->counted, state->executed)) {
        struct buf a, b;
        buf_init(&a, 4096);
        buf_init(&b, 4096);
        gtid_set_print(state->executed, &a);
        gtid_set_print(node->counted, &b);
        sim_fail(w->sim, "%s: the GTID state is %.200s, but its %zu transactions are %.200s", sim_host_name(node->host), buf_cstr(&a), n, buf_cstr(&b));
        buf_free(&a);
        buf_free(&b);
    }
}

static bool same_members(const struct raft_configuration *a, const struct raft_configuration *b)
{
    bool same = a->n == b->n;
    for (unsigned i = 0; i < a->n && same; i++) {
        same = a->servers[i].id == b->servers[i].id && a->servers[i].role == b->servers[i].role && !strcmp(a->servers[i].address, b->servers[i].address);
    }
    return same;
}

/* A change of members waits for the first entry of its term, and a snapshot for the change. */
static void check_change(struct world *w, struct world_node *node)
{
    const struct raft *raft = &node->cluster->raft;
    uint64_t change = raft->configuration_uncommitted_index;
    bool snapshot = raft->snapshot.pending.term != 0;
    if (change && raft->state == RAFT_LEADER && !cluster_leading(node->cluster) && ledger_term(w->ledger, node->number, change) == raft->current_term) {
        sim_fail(w->sim, "%s begins a change of members in term %llu before its first entry is committed", sim_host_name(node->host), raft->current_term);
    }
    if (change && snapshot && !node->snapshot && same_members(&raft->configuration, &raft->snapshot.pending.configuration)) {
        sim_fail(w->sim, "%s takes a snapshot while the change of members in entry %" PRIu64 " is not committed", sim_host_name(node->host), change);
    }
    node->snapshot = snapshot;
}

/* As its own log has them, committed or not; else as its snapshot has. 0: neither does. */
static uint64_t logged_members(const struct rio *rio, struct raft_configuration *members)
{
    const struct rio_change *last = rio->n_changes ? &rio->changes[rio->n_changes - 1] : NULL;
    raft_configuration_init(members);
    if (last) {
        return configuration_decode(last->data, last->n, members) ? 0 : last->index;
    }
    for (size_t i = 0; rio->has_snapshot && i < rio->snapshot.n_servers; i++) {
        const struct snapshot_server *server = &rio->snapshot.servers[i];
        CHECK(raft_configuration_add(members, server->id, server->address, server->role) == 0);
    }
    return rio->has_snapshot ? rio->snapshot.configuration_index : 0;
}

/* A member goes by the last change in its log, and no longer when that is taken back. (Libraft hears of one when its entry is written.) */
static void check_own_members(struct world *w, struct world_node *node)
{
    struct raft *raft = &node->cluster->raft;
    const struct rio *rio = node->cluster->rio;
    const struct rio_change *last = rio->n_changes ? &rio->changes[rio->n_changes - 1] : NULL;
    const void *data = last ? last->data : NULL;
    uint64_t index = last ? last->index : rio->has_snapshot ? rio->snapshot.configuration_index : 0;
    struct raft_configuration logged;
    if (raft->state == RAFT_UNAVAILABLE || rio_writing(rio) || rio->put.busy || raft->last_stored != raft_last_index(raft) ||
        (index == node->change && data == node->change_data)) {
        return;
    }
    node->change = index;
    node->change_data = data;
    index = logged_members(rio, &logged);
    if (index && !same_members(&raft->configuration, &logged)) {
        sim_fail(w->sim, "%s goes by other members than those of entry %" PRIu64 ", the last change in its log", sim_host_name(node->host), index);
    }
    raft_configuration_close(&logged);
}

/* Past the bound nothing more is taken, so there is never more than it and one message. */
static void check_bound(struct world *w, const struct world_node *node)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        size_t n = i == node->number ? 0 : net_pending(node->cluster->net, i + 1);
        if (n > PEERS_PENDING_MAX + PENDING_MORE) {
            sim_fail(w->sim, "%s: %zu bytes are on their way to node%u, which does not take them", sim_host_name(node->host), n, i + 1);
        }
    }
}

bool cluster_check_raft(struct world *w, struct world_node *node)
{
    if (!node->cluster || !sim_host_process(node->host) || !cluster_formed(node->cluster)) {
        return false;
    }
    check_term(w, node);
    see_installed(w, node);
    check_commit(w, node);
    check_candidate(w, node);
    check_pace(w, node);
    check_change(w, node);
    check_own_members(w, node);
    check_bound(w, node);
    return true;
}

void cluster_check_step(struct world *w)
{
    if (w->members) {
        cluster_check_members(w);
    }
    for (unsigned i = 0; i < w->n_nodes; i++) {
        struct world_node *node = &w->nodes[i];
        if (!cluster_check_raft(w, node)) {
            continue;
        }
        check_gtids(w, node);
        bool leads = cluster_leading(node->cluster);
        if (leads && !node->led) {
            check_new_leader(w, node);
        }
        node->led = leads;
    }
}

/* ---- at each acknowledgement ---- */

void cluster_check_ack(void *arg, size_t txns, const char *how)
{
    struct world *w = arg;
    const struct history_txn *t = txns ? &w->history->txns[txns - 1] : NULL;
    uint64_t sent = sim_now(w->sim) > LEAST_LATENCY ? sim_now(w->sim) - LEAST_LATENCY : 0;
    if (t && !ledger_has(w->ledger, t->file, t->end, sent)) {
        char text[600];
        ledger_print(w->ledger, t->file, t->end, text, sizeof text);
        sim_fail(w->sim, "transaction %zu (%s %" PRIu64 ") is acknowledged by %s, and no majority of disks holds it: %s", txns,
                 w->history->files[t->file]->name, t->end, how, text);
    }
}

/* ---- files ---- */

/* Node and source may differ in the in-use bit, which is always 0 here. */
static bool same_bytes(const struct history_file *truth, size_t from, const uint8_t *mine, size_t n, size_t *where)
{
    if (from > truth->bytes.len || n > truth->bytes.len - from) {
        *where = truth->bytes.len;
        return false;
    }
    if (!n || !memcmp(mine, truth->bytes.data + from, n)) {
        return true;
    }
    for (size_t k = 0; k < n; k++) {
        *where = from + k;
        if (mine[k] != (*where == IN_USE_OFFSET ? truth->bytes.data[*where] & 0xfe : truth->bytes.data[*where])) {
            return false;
        }
    }
    return true;
}

void cluster_check_write(struct world *w, struct sim_host *host, const char *path, const void *data, size_t n, uint64_t at)
{
    const size_t dir = sizeof BINLOGS - 1;
    size_t file, where = 0;
    if (strncmp(path, BINLOGS, dir) != 0 || !history_find(w->history, path + dir, &file)) {
        return;
    }
    w->writes++;
    if (!same_bytes(w->history->files[file], (size_t)at, data, n, &where)) {
        sim_fail(w->sim, "%s writes %zu bytes at %" PRIu64 " of %s: from %zu on the source has others", sim_host_name(host), n, at, path, where);
    }
}

/* Bytes before `from` have been compared. */
static bool same_file(struct world *w, struct world_node *node, size_t i, size_t *from, bool whole, struct errmsg *em)
{
    const struct history_file *truth = w->history->files[i];
    char path[128];
    struct buf mine;
    size_t n = truth->bytes.len;
    uint64_t size = 0;
    buf_init(&mine, (size_t)1 << 32);
    snprintf(path, sizeof path, BINLOGS "%s", truth->name);
    int rv = sim_host_read_part(node->host, path, *from, false, &mine, &size);
    if (rv == E_NOTFOUND && !whole) {
        return true;
    }
    if (rv || size > n || (whole && size < n)) {
        rv = err_set(em, E_CORRUPT, "%s has %" PRIu64 " bytes, the source's %zu", path, size, n);
    }
    size_t where = 0;
    if (!rv && !same_bytes(truth, *from, mine.data, mine.len, &where)) {
        rv = err_set(em, E_CORRUPT, "%s differs from the source's file at %zu", path, where);
    }
    *from = (size_t)size;
    buf_free(&mine);
    return rv == 0;
}

bool cluster_files_are_whole(struct world *w, size_t i, struct errmsg *em)
{
    for (size_t k = sim_oldest_file(w->nodes[i].host, w->history); k < w->history->n_files; k++) {
        size_t from = 0;
        if (!same_file(w, &w->nodes[i], k, &from, true, em)) {
            return false;
        }
    }
    return true;
}

/* So many of the source's files are the node's too. What a loss of power left of one that is in no checkpoint lies there until it is
 * written again. */
static size_t files_of(const struct world *w, const struct world_node *node)
{
    const struct state_file *newest = node->cluster ? state_file(cluster_state(node->cluster)) : NULL;
    size_t file;
    return newest && history_find(w->history, newest->name, &file) ? file + 1 : 0;
}

/* Since all nodes' files are parts of one truth, no two of them differ where both have something. */
void cluster_check_files(struct world *w)
{
    w->checks++;
    for (unsigned i = 0; i < w->n_nodes; i++) {
        struct world_node *node = &w->nodes[i];
        struct errmsg em;
        if (node->n_checked < w->history->n_files) {
            node->checked = mem_grow(node->checked, w->history->n_files, sizeof *node->checked);
            memset(node->checked + node->n_checked, 0, (w->history->n_files - node->n_checked) * sizeof *node->checked);
            node->n_checked = w->history->n_files;
        }
        for (size_t k = 0; k < files_of(w, node); k++) { /* what a loss of power left is cut when it starts */
            if (!same_file(w, node, k, &node->checked[k], false, &em)) {
                sim_fail(w->sim, "%s: %s", sim_host_name(node->host), em.text);
            }
        }
    }
}
