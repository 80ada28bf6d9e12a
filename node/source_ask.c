/* source_ask.c: the queries between login and dump, as a replica of the source's flavour sends them: one table, a row each.
 *
 * A row's text is built, sent, and its answer handed to the row's function. An ERR packet ends the connection with the server's text, unless the
 * row says which error stands for "no". */
#include "node/settings.h"
#include "node/source_impl.h"

#include "protocol/base/check.h"
#include "raft/mutation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FOR_MYSQL = 1, FOR_MARIADB = 2, FOR_BOTH = 3, ANY_ERROR = 0xffff };

struct ask {
    unsigned flavours;
    const char *text; /* NULL: built by `build` */
    void (*build)(struct source *s, struct buf *sql);
    bool (*needed)(struct source *s);                /* NULL: always */
    void (*answer)(struct source *s);                /* NULL: the answer does not matter */
    uint16_t tolerated;                              /* this error (ANY_ERROR: all) means "no": go on */
};

static const char *value(const struct source *s, size_t column)
{
    const char *v = result_value(&s->result, 0, column, NULL);
    return v ? v : "";
}

static void take_clock(struct source *s)
{
    s->peer.clock = strtoull(value(s, 0), NULL, 10);
}

static void take_server_id(struct source *s)
{
    s->peer.origin.server_id = (uint32_t)strtoul(value(s, 0), NULL, 10);
}

static void take_server_uuid(struct source *s)
{
    snprintf(s->peer.origin.uuid, sizeof s->peer.origin.uuid, "%.36s", value(s, 0));
}

static void take_checksum(struct source *s)
{
    s->peer.checksum = !strcmp(value(s, 0), "CRC32") ? CHECKSUM_CRC32 : CHECKSUM_NONE;
}

/* Who can semi-sync is asked for it, on or off: then acknowledgements go on as soon as it is switched on. */
static void take_semi_sync(struct source *s)
{
    const char *v = value(s, s->result.ncols > 1 ? 1 : 0);
    s->peer.semi_sync = true;
    s->peer.semi_sync_on = !strcmp(v, "1") || !strcmp(v, "ON");
}

/* Answered by MariaDB alone. The greeting may have come from a proxy in front of it. */
static void take_domain(struct source *s)
{
    s->peer.origin.flavour = FLAVOUR_MARIADB;
}

static void take_encrypted(struct source *s)
{
    s->peer.encrypted = !strcmp(value(s, 0), "1") || !strcmp(value(s, 0), "ON");
}

static void take_start_file(struct source *s)
{
    snprintf(s->peer.start_file, sizeof s->peer.start_file, "%s", value(s, 0));
}

/* Asked only when we may be far behind. A source with a commit that waits for an acknowledgement (ours, maybe) may not answer before it
 * comes (MariaDB: SHOW BINARY LOGS wants a lock that the waiting commit holds). So the answer has a second; then it is done without:
 * commits that wait already lose nothing by it. */
static bool may_be_far_behind(struct source *s)
{
    uint32_t newest = cluster_state(s->cluster)->last_timestamp;
    uint64_t now = s->peer.clock ? s->peer.clock : env_wall(s->loop) / 1000000; /* events bear the source's time */
    bool old = newest + (uint64_t)SOURCE_RECENT_S < now || source_torn(s) || source_is_another(s);
    return s->probe == PROBE_NONE && !s->skip_logs && old;
}

/* A row's size, as a position: MySQL counts the head of an encrypted file, in front of the events, with it. */
static uint64_t log_size(const struct result *r, size_t row)
{
    enum { ENCRYPTED_HEAD = 512 };
    const char *text = result_value(r, row, 1, NULL), *encrypted = r->ncols > 2 ? result_value(r, row, 2, NULL) : NULL;
    uint64_t size = text ? strtoull(text, NULL, 10) : 0;
    return encrypted && !strcasecmp(encrypted, "Yes") && size > ENCRYPTED_HEAD ? size - ENCRYPTED_HEAD : size;
}

/* A server that tells by the heads of its files where to begin may pass by what the end of the file before has, or of those before: a commit that waits
 * for an acknowledgement stands in none of them. Nodes do not. Another connection is for the dump, then. */
static void look_before(struct source *s, size_t found)
{
    enum { LOOK_BYTES = 16 << 20 }; /* at least, and one file */
    uint64_t bytes = 0;
    size_t row = found;
    if (s->looked_before || s->peer.node_era || s->peer.origin.flavour != FLAVOUR_MYSQL || MUTATED(LOOK_BEFORE)) {
        return;
    }
    while (row > 0 && bytes < LOOK_BYTES) {
        bytes += log_size(&s->result, --row);
    }
    const char *name = result_value(&s->result, row, 0, NULL);
    if (row < found && name) {
        snprintf(s->peer.before_file, sizeof s->peer.before_file, "%s", name);
        s->probe = PROBE_BEFORE;
    }
}

/* SHOW BINARY LOGS: how far its end is from ours, or from where we shall begin. */
static void take_logs(struct source *s)
{
    const struct state_file *file = state_file(cluster_state(s->cluster));
    bool another = source_is_another(s), counting = !file, next = false;
    const char *from = another ? s->found_file : file ? file->name : "";
    uint64_t held = another || !file ? 0 : file->size;
    for (size_t row = 0; row < s->result.nrows; row++) {
        const char *name = result_value(&s->result, row, 0, NULL);
        uint64_t size = log_size(&s->result, row);
        if (!name) {
            continue;
        }
        if (s->found_file[0] && !strcmp(name, s->found_file)) {
            look_before(s, row);
        }
        if (next) {
            snprintf(s->peer.next_file, sizeof s->peer.next_file, "%s", name);
            next = false;
        }
        if (counting) {
            s->peer.behind += size;
        } else if (!strcmp(name, from)) {
            counting = next = true;
            s->peer.behind += size > held ? size - held : 0;
        }
        snprintf(s->peer.end_file, sizeof s->peer.end_file, "%s", name);
        s->peer.end_position = size;
    }
}

static bool nearly_level(struct source *s)
{
    return s->probe == PROBE_NONE && s->peer.behind <= setting_number(cluster_state(s->cluster), SETTING_ID_semi_sync_within) && !source_torn(s);
}

/* Does it wait for acknowledgements at all: of a server that may be followed without being named. */
static bool judging(struct source *s)
{
    return source_is_another(s) && !s->found_file[0] && source_follows_by_itself(s);
}

static bool wants_semi_sync(struct source *s)
{
    return nearly_level(s) || judging(s);
}

static bool semi_sync_not_known(struct source *s)
{
    return wants_semi_sync(s) && !s->peer.semi_sync;
}

static bool semi_sync_known(struct source *s)
{
    return nearly_level(s) && s->peer.semi_sync;
}

static bool starts_now(struct source *s)
{
    return !state_file(cluster_state(s->cluster)) && !strcmp(s->settings.start, "now");
}

static bool finding(struct source *s)
{
    return s->probe == PROBE_FIND || (source_is_another(s) && !s->found_file[0]);
}

static bool another(struct source *s)
{
    return source_is_another(s);
}

static void take_gtid_mode(struct source *s)
{
    source_take_gtid_mode(s, value(s, 0));
}

static void take_has(struct source *s)
{
    source_take_has(s, value(s, 0));
}

static void take_applied(struct source *s)
{
    source_take_applied(s, value(s, 0));
}

static void take_read_only(struct source *s)
{
    s->peer.writable = !strcmp(value(s, 0), "0") || !strcmp(value(s, 0), "OFF");
}

static void build_connect_state(struct source *s, struct buf *sql)
{
    struct gtid_set *set = source_probe_set(s, FLAVOUR_MARIADB);
    buf_str(sql, "SET @slave_connect_state='");
    if (set) {
        gtid_set_print_position(set, sql);
    }
    buf_str(sql, "'");
    gtid_set_free(set);
}

static void build_heartbeat(struct source *s, struct buf *sql)
{
    uint64_t ns = SOURCE_HEARTBEAT_S * ENV_S;
    buf_printf(sql, "SET @master_heartbeat_period= %" PRIu64, ns);
    if (s->peer.origin.flavour == FLAVOUR_MYSQL) {
        buf_printf(sql, ", @source_heartbeat_period= %" PRIu64, ns);
    }
}

static void build_uuid(struct source *s, struct buf *sql)
{
    const char *uuid = state_setting(cluster_state(s->cluster), "cluster_uuid");
    buf_printf(sql, "SET @slave_uuid= '%s', @replica_uuid= '%s'", uuid, uuid);
}

/* Another cluster's node stands for the source whose files it holds: which one that is, it tells; for one who is in an older era, that era's source
 * as long as something of it is missing here. */
static bool is_node(struct source *s)
{
    return strstr(s->peer.origin.version, "-holdfast") != NULL;
}

static void build_where(struct source *s, struct buf *sql)
{
    const struct state *state = cluster_state(s->cluster);
    const struct state_era *era = state_era(state);
    const struct state_file *file = state_file(state);
    buf_printf(sql, "SET @holdfast_origin= '%" PRIu32 " %s', @holdfast_at= '%s:%" PRIu64 "'", era ? era->origin.server_id : 0, era ? era->origin.uuid : "",
               file ? file->name : "", file ? file->size : 0);
}

static bool is_node_for_a_start(struct source *s)
{
    return is_node(s) && !state_file(cluster_state(s->cluster));
}

/* Which of its eras that is in. */
static void build_start(struct source *s, struct buf *sql)
{
    buf_str(sql, "SET @holdfast_start= '");
    for (const char *p = s->settings.start; *p; p++) {
        if (*p != '\'' && *p != '\\') {
            buf_u8(sql, (uint8_t)*p);
        }
    }
    buf_str(sql, "'");
}

static void take_node_source(struct source *s)
{
    char uuid[UUID_TEXT_SIZE] = "", cluster[64] = "";
    uint32_t server_id = 0;
    if (sscanf(value(s, 0), "%" SCNu64 " %" SCNu32 " %36s %63s", &s->peer.node_era, &server_id, uuid, cluster) < 4) {
        s->peer.node_empty = true; /* it follows nobody yet */
        return;
    }
    s->peer.own = !strcmp(cluster, cluster_name(s->cluster));
    *strstr(s->peer.origin.version, "-holdfast") = '\0'; /* it is the source's */
    s->peer.origin.server_id = server_id;
    snprintf(s->peer.origin.uuid, sizeof s->peer.origin.uuid, "%s", strcmp(uuid, "-") ? uuid : "");
}

static bool in_era(struct source *s)
{
    return s->peer.node_era != 0;
}

static void build_era(struct source *s, struct buf *sql)
{
    buf_printf(sql, "SET @holdfast_era= %" PRIu64, s->peer.node_era);
}

static const struct ask asks[] = {
    {FOR_BOTH, "SELECT UNIX_TIMESTAMP()", NULL, NULL, take_clock, ANY_ERROR},
    {FOR_MYSQL, "SELECT @@GLOBAL.gtid_domain_id", NULL, NULL, take_domain, ANY_ERROR},
    {FOR_BOTH, "SELECT @@GLOBAL.server_id", NULL, NULL, take_server_id, 0},
    {FOR_MYSQL, "SELECT @@GLOBAL.server_uuid", NULL, NULL, take_server_uuid, 1193},
    {FOR_BOTH, NULL, build_where, is_node, NULL, 0},
    {FOR_BOTH, NULL, build_start, is_node_for_a_start, NULL, ANY_ERROR},
    {FOR_BOTH, "SELECT @@GLOBAL.holdfast_source", NULL, is_node, take_node_source, 1193},
    {FOR_BOTH, NULL, build_era, in_era, NULL, 0},
    {FOR_BOTH, NULL, build_heartbeat, NULL, NULL, 0},
    {FOR_BOTH,
     "SET @master_binlog_checksum= @@global.binlog_checksum, @source_binlog_checksum= @@global.binlog_checksum", NULL, NULL, NULL,
     1193},
    {FOR_BOTH, "SELECT @master_binlog_checksum", NULL, NULL, take_checksum, 0},
    {FOR_MARIADB, "SET @mariadb_slave_capability=4", NULL, NULL, NULL, 0},
    {FOR_MYSQL, "SELECT @@GLOBAL.binlog_encryption", NULL, NULL, take_encrypted, ANY_ERROR},
    {FOR_MYSQL, NULL, build_uuid, NULL, NULL, 0},
    {FOR_BOTH, "SHOW BINARY LOGS", NULL, may_be_far_behind, take_logs, ANY_ERROR},
    {FOR_MYSQL, "SELECT @@global.rpl_semi_sync_source_enabled", NULL, wants_semi_sync, take_semi_sync, 1193},
    {FOR_MYSQL, "SELECT @@global.rpl_semi_sync_master_enabled", NULL, semi_sync_not_known, take_semi_sync, 1193},
    {FOR_MARIADB, "SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'", NULL, wants_semi_sync, take_semi_sync, 0},
    {FOR_BOTH, "SET @rpl_semi_sync_replica= 1, @rpl_semi_sync_slave= 1", NULL, semi_sync_known, NULL, 0},
    {FOR_MYSQL, "SHOW BINARY LOG STATUS", NULL, starts_now, take_start_file, 1064},
    {FOR_BOTH, "SHOW MASTER STATUS", NULL, starts_now, take_start_file, 1064},
    {FOR_MARIADB, NULL, build_connect_state, finding, NULL, 0},
    {FOR_MARIADB, "SET @slave_gtid_strict_mode=1", NULL, finding, NULL, 0},
    {FOR_MYSQL, "SELECT @@GLOBAL.gtid_mode", NULL, another, take_gtid_mode, 1193},
    {FOR_MYSQL, "SELECT @@GLOBAL.gtid_executed", NULL, another, take_has, 1193},
    {FOR_MARIADB, "SELECT @@GLOBAL.gtid_binlog_state", NULL, another, take_has, 0},
    {FOR_MARIADB, "SELECT @@GLOBAL.gtid_slave_pos", NULL, another, take_applied, ANY_ERROR},
    {FOR_BOTH, "SELECT @@GLOBAL.read_only", NULL, another, take_read_only, ANY_ERROR},
};

enum { N_ASKS = sizeof asks / sizeof asks[0] };

/* The server id of the cluster: one for all nodes, so that the source counts one replica. */
static uint32_t cluster_server_id(struct source *s)
{
    const char *v = state_setting(cluster_state(s->cluster), "cluster_server_id");
    return v ? (uint32_t)strtoul(v, NULL, 10) : 0;
}

/* What the dump is asked for under. MariaDB ends an older dump of the same server id, and the whole server stands still while the
 * older one's connection is silent (a leader that hangs, or was cut off): there each leadership has a number of its own. */
static uint32_t dump_server_id(struct source *s)
{
    enum { LEADERSHIPS = 64 };
    bool mariadb = s->peer.origin.flavour == FLAVOUR_MARIADB;
    return cluster_server_id(s) + (mariadb ? (uint32_t)(cluster_term(s->cluster) % LEADERSHIPS) : 0);
}

/* May it be followed? False: refused, with the reason. */
static bool follow_rule(struct source *s)
{
    if (s->peer.origin.server_id == cluster_server_id(s)) {
        source_refused(s, "the source has the cluster's own server_id %u", (unsigned)s->peer.origin.server_id);
        return false;
    }
    if (s->peer.node_empty) { /* whose files it will have is not known: they would count as its own, and as another server's later */
        source_failed(s, 0, "it is a node of another cluster, which holds nothing yet");
        return false;
    }
    if (s->peer.own) {
        source_refused(s, "it is a member of this very cluster");
        return false;
    }
    return !source_is_another(s) || source_follow_rule(s);
}

static void choose_start(struct source *s)
{
    const struct state_file *file = state_file(cluster_state(s->cluster));
    const char *start = s->settings.start;
    if (source_is_another(s)) { /* its files are taken whole, into an era of their own */
        s->era = file->era + 1;
        s->position = EVENT_MAGIC_SIZE;
        snprintf(s->file, sizeof s->file, "%s", s->found_file);
        return;
    }
    if (file) {
        bool next = source_torn(s) && s->peer.next_file[0];
        snprintf(s->file, sizeof s->file, "%s", next ? s->peer.next_file : file->name);
        s->position = next ? EVENT_MAGIC_SIZE : file->size;
        s->era = file->era;
        return;
    }
    s->era = state_next_era(cluster_state(s->cluster));
    s->position = EVENT_MAGIC_SIZE;
    snprintf(s->file, sizeof s->file, "%s", s->found_file[0] ? s->found_file : s->peer.start_file);
    if (start[0] && strcmp(start, "oldest") != 0 && strcmp(start, "now") != 0 && !s->found_file[0]) {
        snprintf(s->file, sizeof s->file, "%s", start);
    }
}

/* A probe's place in the history held here. */
static void choose_probe(struct source *s)
{
    const struct state *state = cluster_state(s->cluster);
    s->position = EVENT_MAGIC_SIZE;
    s->file[0] = 0;
    if (s->probe == PROBE_BEFORE) {
        snprintf(s->file, sizeof s->file, "%s", s->peer.before_file);
    } else if (s->probe != PROBE_FIND) {
        snprintf(s->file, sizeof s->file, "%s", state_file(state)->name);
        s->position = s->probe == PROBE_TAIL ? state->proof.last_start : EVENT_MAGIC_SIZE;
    }
}

static void request_dump(struct source *s)
{
    bool mariadb = s->peer.origin.flavour == FLAVOUR_MARIADB;
    struct binlog_dump dump = {.server_id = dump_server_id(s),
                               .pos = s->position,
                               .flags = mariadb ? DUMP_ANNOTATE_ROWS : DUMP_HEARTBEAT_V2};
    struct buf set;
    buf_init(&set, 1 << 20);
    snprintf(dump.file, sizeof dump.file, "%s", s->file);
    bool by_set = (s->probe == PROBE_FIND && !mariadb) || s->probe == PROBE_BEFORE;
    if (s->position > UINT32_MAX || by_set) { /* the plain command has 32 bits of position and no set */
        struct gtid_set *start = by_set ? source_probe_set(s, FLAVOUR_MYSQL) : gtid_set_new(FLAVOUR_MYSQL);
        if (mariadb) {
            gtid_set_free(start);
            source_refused(s, "%s is larger than 4 GiB, and a MariaDB source cannot be asked for a position beyond; run FLUSH BINARY LOGS on "
                              "the source, and set max_binlog_size below 4 GiB",
                           s->file);
            return;
        }
        gtid_set_encode(start, &set);
        gtid_set_free(start);
        dump.by_gtid = true;
        dump.gtids = set.data;
        dump.ngtids = set.len;
    }
    int rv = set.err ? set.err : command_put_binlog_dump(s->wire, &dump);
    buf_free(&set);
    if (rv) {
        source_failed(s, 0, "the dump request could not be built: %s", err_text(rv));
        return;
    }
    if (s->probe != PROBE_NONE) {
        source_probe_begin(s);
    } else {
        env_log(s->loop, ENV_INFO, "source: dump from file=%s position=%llu behind=%llu semi_sync=%s", s->file[0] ? s->file : "(oldest)",
                (unsigned long long)s->position, (unsigned long long)s->peer.behind, !s->peer.semi_sync ? "no" : s->peer.semi_sync_on ? "yes" : "off there");
        source_stream_begin(s);
        source_nudge_begin(s, dump.server_id);
    }
    source_send(s);
}

static void register_replica(struct source *s)
{
    struct register_slave r = {.server_id = dump_server_id(s)};
    result_reset(&s->result);
    if (command_put_register_slave(s->wire, &r)) {
        source_failed(s, 0, "the registration could not be built");
        return;
    }
    source_send(s);
}

/* Sends the next query that applies; after the last one the registration (step N_ASKS), then the dump. */
static void ask_next(struct source *s)
{
    unsigned flavour = s->peer.origin.flavour == FLAVOUR_MARIADB ? FOR_MARIADB : FOR_MYSQL;
    while (s->step < N_ASKS && (!(asks[s->step].flavours & flavour) || (asks[s->step].needed && !asks[s->step].needed(s)))) {
        s->step++;
    }
    if (s->step == N_ASKS) {
        if (follow_rule(s)) {
            register_replica(s);
        }
        return;
    }
    struct buf sql;
    buf_init(&sql, 4096);
    if (asks[s->step].text) {
        buf_str(&sql, asks[s->step].text);
    } else {
        asks[s->step].build(s, &sql);
    }
    s->asking_logs = asks[s->step].needed == may_be_far_behind;
    env_timer_start(&s->timer, (s->asking_logs ? 1 : SOURCE_CONNECT_S) * ENV_S);
    result_reset(&s->result);
    int rv = command_put_query(s->wire, s->caps, buf_cstr(&sql), sql.len);
    buf_free(&sql);
    if (rv) {
        source_failed(s, 0, "a query could not be built");
        return;
    }
    source_send(s);
}

void source_ask_begin(struct source *s)
{
    s->step = 0;
    ask_next(s);
}

void source_ask_packet(struct source *s, const struct packet *p)
{
    struct errmsg em;
    int rv = result_packet(&s->result, s->caps, p, &em);
    if (rv == RESULT_MORE) {
        return;
    }
    bool registering = s->step == N_ASKS;
    bool tolerated = !registering && rv < 0 && s->result.code && (s->result.code == asks[s->step].tolerated || asks[s->step].tolerated == ANY_ERROR);
    if (rv < 0 && !tolerated) {
        source_failed(s, (uint16_t)s->result.code, "%s: %s", registering ? "the source refuses the registration" : "a query failed",
                      em.text);
        return;
    }
    if (registering) {
        if (s->probe == PROBE_NONE) {
            choose_start(s);
        } else {
            choose_probe(s);
        }
        request_dump(s);
        return;
    }
    if (!tolerated && asks[s->step].answer && s->result.nrows) {
        asks[s->step].answer(s);
    }
    s->step++;
    ask_next(s);
}
