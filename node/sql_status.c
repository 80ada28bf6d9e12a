/* sql_status.c: SHOW STATUS: one row for each name, the verdict first among ours; and FLUSH STATUS. All on the loop. */
#include "build.h"
#include "node/monitor.h"
#include "node/serve.h"
#include "node/source.h"
#include "node/sql_impl.h"
#include "node/verdict.h"

#include <string.h>

enum { VALUE_MAX = 64 << 20 };

struct facts {
    const struct sql_call *call;
    struct control *control;
    const struct state *state;
    struct source_status source;
    size_t voters;
    uint64_t replicas;
};

struct status_row {
    const char *name;
    void (*get)(const struct facts *f, struct buf *out);
};

static void put_u64(struct buf *out, uint64_t v)
{
    buf_printf(out, "%llu", (unsigned long long)v);
}

static void put_place(struct buf *out, const char *file, uint64_t position)
{
    if (file[0]) {
        buf_printf(out, "%s:%llu", file, (unsigned long long)position);
    }
}

static bool decide(const struct facts *f, char *reason, size_t size, uint64_t *since)
{
    *since = 0;
    if (f->control->monitor) {
        return monitor_verdict(f->control->monitor, reason, size, since);
    }
    struct verdict_facts facts = {.voters = f->voters,
                                  .self = cluster_id(f->control->cluster),
                                  .leader = cluster_leader(f->control->cluster),
                                  .state = f->state,
                                  .source = &f->source};
    return verdict(&facts, reason, size);
}

static void s_protected(const struct facts *f, struct buf *out)
{
    char reason[4096];
    uint64_t since;
    buf_str(out, decide(f, reason, sizeof reason, &since) ? "yes" : "no");
}

static void s_protected_since(const struct facts *f, struct buf *out)
{
    char reason[4096], text[SQL_TIME_SIZE];
    uint64_t since;
    decide(f, reason, sizeof reason, &since);
    sql_time_text(since, text);
    buf_str(out, text);
}

static void s_protected_reason(const struct facts *f, struct buf *out)
{
    char reason[4096];
    uint64_t since;
    decide(f, reason, sizeof reason, &since);
    buf_str(out, reason);
}

static void s_version(const struct facts *f, struct buf *out)
{
    (void)f;
    buf_str(out, HOLDFAST_VERSION);
}

static void s_node_id(const struct facts *f, struct buf *out)
{
    put_u64(out, cluster_id(f->control->cluster));
}

static void s_leader_id(const struct facts *f, struct buf *out)
{
    put_u64(out, cluster_leader(f->control->cluster));
}

static void s_feature_level(const struct facts *f, struct buf *out)
{
    put_u64(out, cluster_level(f->control->cluster));
}

static void s_term(const struct facts *f, struct buf *out)
{
    put_u64(out, cluster_term(f->control->cluster));
}

static void s_applied_index(const struct facts *f, struct buf *out)
{
    put_u64(out, f->state->index);
}

static void s_log_bytes_raw(const struct facts *f, struct buf *out)
{
    put_u64(out, cluster_log_bytes(f->control->cluster).raw);
}

static void s_log_bytes_stored(const struct facts *f, struct buf *out)
{
    put_u64(out, cluster_log_bytes(f->control->cluster).stored);
}

static void s_source(const struct facts *f, struct buf *out)
{
    if (f->state->has_source) {
        put_place(out, f->source.host, f->source.port);
    }
}

static void s_source_phase(const struct facts *f, struct buf *out)
{
    buf_str(out, source_phase_text(f->source.phase));
}

static void s_source_error(const struct facts *f, struct buf *out)
{
    buf_str(out, f->source.error);
}

static void s_source_semi_sync(const struct facts *f, struct buf *out)
{
    buf_str(out, f->source.semi_sync ? "yes" : "no");
}

/* What "the same binlog" means. */
static void s_source_identity(const struct facts *f, struct buf *out)
{
    if (f->state->has_source) {
        buf_str(out, f->source.encrypted ? "events: its files are encrypted, and arrive decrypted" : "bytes");
    }
}

/* What the second connection to the source told; "" while it tells nothing. */
static bool report_of(const struct facts *f, struct monitor_report *report)
{
    if (!f->control->monitor) {
        return false;
    }
    monitor_get_report(f->control->monitor, report);
    return true;
}

static void s_source_checks(const struct facts *f, struct buf *out)
{
    struct monitor_report r;
    if (report_of(f, &r) && r.checks->n) {
        buf_printf(out, "%zu critical, %zu warn, %zu unknown, %zu ok", checks_count(r.checks, CHECK_CRITICAL),
                   checks_count(r.checks, CHECK_WARN), checks_count(r.checks, CHECK_UNKNOWN), checks_count(r.checks, CHECK_OK));
    }
}

static void s_source_checked(const struct facts *f, struct buf *out)
{
    struct monitor_report r;
    char text[SQL_TIME_SIZE];
    if (report_of(f, &r)) {
        sql_time_text(r.checked_wall, text);
        buf_str(out, text);
    }
}

static void s_source_status(const struct facts *f, struct buf *out)
{
    struct monitor_report r;
    if (report_of(f, &r) && r.counters.known) {
        buf_str(out, r.counters.on ? "ON" : "OFF");
    }
}

static void s_source_clients(const struct facts *f, struct buf *out)
{
    struct monitor_report r;
    if (report_of(f, &r) && r.counters.known) {
        put_u64(out, r.counters.clients);
    }
}

static void s_source_yes_tx(const struct facts *f, struct buf *out)
{
    struct monitor_report r;
    if (report_of(f, &r) && r.counters.known) {
        put_u64(out, r.counters.yes_tx);
    }
}

static void s_source_no_tx(const struct facts *f, struct buf *out)
{
    struct monitor_report r;
    if (report_of(f, &r) && r.counters.known) {
        put_u64(out, r.counters.no_tx);
    }
}

/* Those that somebody has to look at. */
static void s_alarms(const struct facts *f, struct buf *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < f->state->n_alarms; i++) {
        n += !f->state->alarms[i].acknowledged || !f->state->alarms[i].until;
    }
    put_u64(out, n);
}

static void s_alarms_dropped(const struct facts *f, struct buf *out)
{
    put_u64(out, f->state->dropped_alarms);
}

/* Of this node. */
static void s_damaged_files(const struct facts *f, struct buf *out)
{
    const struct store_damage *damages;
    put_u64(out, store_damages(cluster_store(f->control->cluster), &damages));
}

static void s_damage(const struct facts *f, struct buf *out)
{
    const struct store_damage *damages;
    size_t n = store_damages(cluster_store(f->control->cluster), &damages);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s%s", i ? "; " : "", damages[i].text);
    }
}

static void s_acks(const struct facts *f, struct buf *out)
{
    put_u64(out, f->source.acks);
}

/* X(name, stage): of each the median and the 99th percentile, in microseconds. */
#define ACK_STAGES(X)                                                                                                   \
    X(receive, STAGE_RECEIVE) X(wal, STAGE_WAL) X(peers, STAGE_PEERS) X(ack, STAGE_ACK) X(total, STAGE_TOTAL)

static void put_quantile(const struct facts *f, enum source_stage stage, unsigned per_mille, struct buf *out)
{
    put_u64(out, (latency_quantile(source_latency(f->control->source, stage), per_mille) + 500) / 1000);
}

#define ACK_STAGE(name, stage)                                                                                          \
    static void s_ack_##name##_p50(const struct facts *f, struct buf *out) { put_quantile(f, stage, 500, out); }        \
    static void s_ack_##name##_p99(const struct facts *f, struct buf *out) { put_quantile(f, stage, 990, out); }
ACK_STAGES(ACK_STAGE)
#undef ACK_STAGE

static void s_acks_timed(const struct facts *f, struct buf *out)
{
    put_u64(out, source_latency(f->control->source, STAGE_TOTAL)->count);
}

static void s_ack_position(const struct facts *f, struct buf *out)
{
    put_place(out, f->source.acked_file, f->source.acked);
}

static void s_received_position(const struct facts *f, struct buf *out)
{
    put_place(out, f->source.file, f->source.received);
}

static void s_committed_position(const struct facts *f, struct buf *out)
{
    const struct state_file *file = state_file(f->state);
    if (file) {
        put_place(out, file->name, file->size);
    }
}

static void s_transactions(const struct facts *f, struct buf *out)
{
    put_u64(out, f->source.transactions);
}

static void s_gtid_executed(const struct facts *f, struct buf *out)
{
    if (f->state->executed) {
        gtid_set_print(f->state->executed, out);
    }
}

static void s_replicas(const struct facts *f, struct buf *out)
{
    put_u64(out, f->replicas);
}

static void s_uptime(const struct facts *f, struct buf *out)
{
    uint64_t now = env_wall(f->control->loop);
    put_u64(out, now > f->control->started_wall ? (now - f->control->started_wall) / 1000000 : 0);
}

static void s_threads_connected(const struct facts *f, struct buf *out)
{
    put_u64(out, serve_sessions(f->control->serve));
}

static void s_logins_failed(const struct facts *f, struct buf *out)
{
    put_u64(out, atomic_load(&f->control->logins.failed));
}

static void s_logins_delayed(const struct facts *f, struct buf *out)
{
    put_u64(out, atomic_load(&f->control->logins.delayed));
}

static void s_ssl_cipher(const struct facts *f, struct buf *out)
{
    const char *text = f->call->session->tls_cipher;
    buf_str(out, text ? text : "");
}

static void s_ssl_version(const struct facts *f, struct buf *out)
{
    const char *text = f->call->session->tls_version;
    buf_str(out, text ? text : "");
}

static const struct status_row status_rows[] = {
    {"Holdfast_protected", s_protected},
    {"Holdfast_protected_reason", s_protected_reason},
    {"Holdfast_protected_since", s_protected_since},
    {"Holdfast_version", s_version},
    {"Holdfast_node_id", s_node_id},
    {"Holdfast_leader_id", s_leader_id},
    {"Holdfast_term", s_term},
    {"Holdfast_feature_level", s_feature_level},
    {"Holdfast_applied_index", s_applied_index},
    {"Holdfast_log_bytes_raw", s_log_bytes_raw},
    {"Holdfast_log_bytes_stored", s_log_bytes_stored},
    {"Holdfast_source", s_source},
    {"Holdfast_source_phase", s_source_phase},
    {"Holdfast_source_error", s_source_error},
    {"Holdfast_source_semi_sync", s_source_semi_sync},
    {"Holdfast_source_identity", s_source_identity},
    {"Holdfast_source_checks", s_source_checks},
    {"Holdfast_source_checked", s_source_checked},
    {"Holdfast_source_status", s_source_status},
    {"Holdfast_source_clients", s_source_clients},
    {"Holdfast_source_yes_tx", s_source_yes_tx},
    {"Holdfast_source_no_tx", s_source_no_tx},
    {"Holdfast_alarms", s_alarms},
    {"Holdfast_alarms_dropped", s_alarms_dropped},
    {"Holdfast_damaged_files", s_damaged_files},
    {"Holdfast_damage", s_damage},
    {"Holdfast_acks", s_acks},
    {"Holdfast_acks_timed", s_acks_timed},
#define ACK_STAGE(name, stage) {"Holdfast_ack_" #name "_us_p50", s_ack_##name##_p50}, {"Holdfast_ack_" #name "_us_p99", s_ack_##name##_p99},
    ACK_STAGES(ACK_STAGE)
#undef ACK_STAGE
    {"Holdfast_ack_position", s_ack_position},
    {"Holdfast_received_position", s_received_position},
    {"Holdfast_committed_position", s_committed_position},
    {"Holdfast_transactions", s_transactions},
    {"Holdfast_gtid_executed", s_gtid_executed},
    {"Holdfast_replicas", s_replicas},
    {"Holdfast_logins_failed", s_logins_failed},
    {"Holdfast_logins_delayed", s_logins_delayed},
    {"Aborted_connects", s_logins_failed},
    {"Ssl_cipher", s_ssl_cipher},
    {"Ssl_version", s_ssl_version},
    {"Threads_connected", s_threads_connected},
    {"Uptime", s_uptime},
};

static void count_replica(void *arg, const struct serve_replica *replica)
{
    (void)replica;
    ++*(uint64_t *)arg;
}

void sql_show_status(struct sql_call *call)
{
    struct sql_filter filter;
    if (!sql_filter_read(call, &filter)) {
        return;
    }
    struct cluster_member members[CLUSTER_MEMBERS_MAX];
    struct facts f = {.call = call, .control = call->control, .state = cluster_state(call->control->cluster)};
    f.voters = cluster_members(call->control->cluster, members, CLUSTER_MEMBERS_MAX);
    source_get_status(call->control->source, &f.source);
    serve_each_replica(call->control->serve, count_replica, &f.replicas);
    struct table *table = sql_names_table();
    struct buf value;
    buf_init(&value, VALUE_MAX);
    for (size_t i = 0; i < sizeof status_rows / sizeof *status_rows; i++) {
        buf_reset(&value);
        status_rows[i].get(&f, &value);
        if (sql_filter_match(call, &filter, status_rows[i].name, buf_cstr(&value))) {
            table_row(table);
            table_text(table, status_rows[i].name);
            table_text(table, buf_cstr(&value));
        }
    }
    buf_free(&value);
    reply_rows(call->reply, table);
}

/* The times of acknowledgements begin anew; what is counted once and for all stays. */
void sql_flush_status(struct sql_call *call)
{
    if (sql_end(call)) {
        source_latency_reset(call->control->source);
        reply_ok(call->reply);
    }
}
