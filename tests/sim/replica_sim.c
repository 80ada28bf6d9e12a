/* replica_sim.c: the simulated replica's process: connect, log in, ask, dump, come back. See replica_sim.h.
 */
#include "tests/sim/replica_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LARGEST_PACKET = 1 << 30, RESULT_MOST = 1 << 20 };

bool replica_lives(const struct replica_run *run)
{
    return !sim_process_is_ghost(run->process);
}

/* ---- questions ----------------------------------------------------------------------------------------- */

enum { FOR_MYSQL = 1, FOR_MARIADB = 2, FOR_BOTH = 3, FOR_GTID = 4, FOR_POSITION = 8, FOR_SEMI_SYNC = 16 };

struct question {
    unsigned when;    /* all of the bits above FOR_BOTH must fit */
    const char *text; /* may have one %s, see fill */
    void (*answer)(struct replica_run *run, const char *value);
    unsigned tolerated; /* error */
};

static void must_be_crc32(struct replica_run *run, const char *value)
{
    if (strcmp(value, "CRC32") != 0) {
        replica_again(run, "the server's checksum is '%s'", value);
    }
}

static void must_be_on(struct replica_run *run, const char *value)
{
    if (strcmp(value, "ON") != 0) {
        replica_again(run, "the server's GTID_MODE is '%s'", value);
    }
}

static void must_not_be_ours(struct replica_run *run, const char *value)
{
    char id[16];
    snprintf(id, sizeof id, "%u", (unsigned)run->replica->options.server_id);
    if (strcmp(value, id) == 0 || strcmp(value, run->replica->uuid) == 0) {
        sim_fail(run->replica->sim, "a server has its replica's identity: %s", value);
    }
}

static void take_semi_sync(struct replica_run *run, const char *value)
{
    run->semi_sync = strcmp(value, "1") == 0 || strcmp(value, "ON") == 0;
}

static const struct question questions[] = {
    {FOR_BOTH, "SELECT UNIX_TIMESTAMP()", NULL, 0},
    {FOR_MYSQL, "SELECT @@GLOBAL.SERVER_ID", must_not_be_ours, 0},
    {FOR_MARIADB, "SHOW VARIABLES LIKE 'SERVER_ID'", must_not_be_ours, 0},
    {FOR_MYSQL, "SET @master_heartbeat_period = 1000000000, @source_heartbeat_period = 1000000000", NULL, 0},
    {FOR_MARIADB, "SET @master_heartbeat_period= 1000000000", NULL, 0},
    {FOR_MYSQL,
     "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = "
     "@@global.binlog_checksum",
     NULL, 0},
    {FOR_MARIADB, "SET @master_binlog_checksum= @@global.binlog_checksum", NULL, 0},
    {FOR_MYSQL, "SELECT @source_binlog_checksum", must_be_crc32, 0},
    {FOR_MARIADB, "SELECT @master_binlog_checksum", must_be_crc32, 0},
    {FOR_MYSQL, "SELECT @@GLOBAL.GTID_MODE", must_be_on, 0},
    {FOR_MYSQL, "SELECT @@GLOBAL.SERVER_UUID", must_not_be_ours, 0},
    {FOR_MYSQL, "SET @slave_uuid = '%s', @replica_uuid = '%s'", NULL, 0},
    {FOR_MARIADB, "SET @mariadb_slave_capability=4", NULL, 0},
    {FOR_MARIADB | FOR_GTID, "SELECT @@GLOBAL.gtid_domain_id", NULL, 0},
    {FOR_MARIADB | FOR_GTID, "SET @slave_connect_state='%s'", NULL, 0},
    {FOR_MARIADB | FOR_GTID, "SET @slave_gtid_strict_mode=0", NULL, 0},
    {FOR_MARIADB | FOR_GTID, "SET @slave_gtid_ignore_duplicates=0", NULL, 0},
    {FOR_BOTH, "register", NULL, 0},
    {FOR_MYSQL | FOR_SEMI_SYNC, "SELECT @@global.rpl_semi_sync_source_enabled", take_semi_sync,
     ER_UNKNOWN_VARIABLE},
    {FOR_MYSQL | FOR_SEMI_SYNC, "SET @rpl_semi_sync_replica = 1", NULL, 0},
    {FOR_MARIADB | FOR_SEMI_SYNC, "SHOW VARIABLES LIKE 'rpl_semi_sync_master_enabled'", take_semi_sync, 0},
    {FOR_MARIADB | FOR_SEMI_SYNC, "SET @rpl_semi_sync_slave= 1", NULL, 0},
};

enum { N_QUESTIONS = sizeof questions / sizeof questions[0] };

static bool applies(const struct replica_run *run, const struct question *q)
{
    const struct replica_sim_options *o = &run->replica->options;
    unsigned flavour = o->flavour == FLAVOUR_MYSQL ? FOR_MYSQL : FOR_MARIADB;
    return (q->when & flavour) && !((q->when & FOR_GTID) && o->by_position) &&
           !((q->when & FOR_SEMI_SYNC) && !o->semi_sync);
}

/* The GTIDs that we have, as a set or a position. */
static struct gtid_set *executed(const struct replica_run *run)
{
    const struct replica_sim *r = run->replica;
    struct gtid_set *set = gtid_set_new(r->options.flavour);
    for (size_t i = 0; i < r->received; i++) {
        struct gtid gtid;
        if (!r->options.expects || !r->options.expects(r->options.expects_arg, i, &gtid)) {
            gtid = r->truth->txns[i].gtid;
        }
        int rv = gtid_set_add(set, &gtid);
        CHECK(rv == 0);
    }
    return set;
}

static void build(const struct replica_run *run, const struct question *q, struct buf *sql)
{
    const char *hole = strstr(q->text, "%s"), *from = q->text;
    struct buf value;
    buf_init(&value, 1 << 20);
    if (q->when & FOR_GTID) {
        struct gtid_set *set = executed(run);
        gtid_set_print_position(set, &value);
        gtid_set_free(set);
    } else {
        buf_str(&value, run->replica->uuid);
    }
    for (; hole; hole = strstr(from, "%s")) {
        buf_bytes(sql, from, (size_t)(hole - from));
        buf_str(sql, buf_cstr(&value));
        from = hole + 2;
    }
    buf_str(sql, from);
    buf_free(&value);
}

static void request_dump(struct replica_run *run)
{
    struct replica_sim *r = run->replica;
    bool mysql = r->options.flavour == FLAVOUR_MYSQL;
    struct binlog_dump d = {
        .server_id = r->options.server_id, .flags = DUMP_HEARTBEAT_V2, .pos = EVENT_MAGIC_SIZE};
    struct buf set;
    buf_init(&set, 1 << 20);
    if (r->options.by_position) {
        const struct history_txn *t = r->received > 0 ? &r->truth->txns[r->received - 1] : NULL;
        if (r->options.oldest && (!t || t->file < r->from)) {
            snprintf(d.file, sizeof d.file, "%s", r->truth->files[r->from]->name);
        } else if (t) {
            snprintf(d.file, sizeof d.file, "%s", r->truth->files[t->file]->name);
            d.pos = t->end;
        }
    } else if (mysql) {
        struct gtid_set *have = executed(run);
        gtid_set_encode(have, &set);
        gtid_set_free(have);
        d.by_gtid = true;
        d.gtids = set.data;
        d.ngtids = set.len;
    }
    env_log(run->env, ENV_DEBUG, "dump have=%zu file=%s pos=%" PRIu64, r->received, d.file, d.pos);
    int rv = command_put_binlog_dump(run->wire, &d);
    CHECK(rv == 0);
    buf_free(&set);
    r->dumps++;
    replica_stream_begin(run);
}

void replica_ask_next(struct replica_run *run)
{
    while (run->step < N_QUESTIONS && !applies(run, &questions[run->step])) {
        run->step++;
    }
    result_reset(&run->result);
    if (run->step == N_QUESTIONS) {
        request_dump(run);
        return;
    }
    const struct question *q = &questions[run->step];
    if (strcmp(q->text, "register") == 0) {
        struct register_slave reg = {.server_id = run->replica->options.server_id, .port = 3306};
        snprintf(reg.host, sizeof reg.host, "%.60s", sim_host_name(run->replica->host));
        command_put_register_slave(run->wire, &reg);
        return;
    }
    struct buf sql;
    buf_init(&sql, 1 << 20);
    build(run, q, &sql);
    command_put_query(run->wire, run->caps, buf_cstr(&sql), sql.len);
    buf_free(&sql);
}

static void answer_packet(struct replica_run *run, const struct packet *p)
{
    const struct question *q = &questions[run->step];
    struct errmsg em;
    int rv = result_packet(&run->result, run->caps, p, &em);
    if (rv == RESULT_MORE) {
        return;
    }
    if (rv < 0 && !(q->tolerated && run->result.code == q->tolerated)) {
        replica_again(run, "'%s' was answered with: %s", q->text, em.text);
        return;
    }
    if (rv >= 0 && q->answer) {
        const char *value = result_value(&run->result, 0, run->result.ncols > 1 ? 1 : 0, NULL);
        q->answer(run, value ? value : "");
    }
    if (run->state == REPLICA_ASK) {
        run->step++;
        replica_ask_next(run);
    }
}

/* ---- the connection ------------------------------------------------------------------------------------ */

static void drop(struct replica_run *run)
{
    env_timer_stop(&run->timer);
    env_timer_stop(&run->pause);
    if (run->stream) {
        env_stream_close(run->stream);
        run->stream = NULL;
    }
    client_auth_free(run->auth);
    run->auth = NULL;
    wire_free(run->wire);
    run->wire = NULL;
    run->state = REPLICA_IDLE;
}

void replica_again(struct replica_run *run, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    env_log(run->env, ENV_INFO, "disconnected received=%zu: %s", run->replica->received, text);
    drop(run);
    if (run->replica->options.n_targets && rng_chance(&run->replica->rng, 60)) {
        run->replica->target = (size_t)rng_below(&run->replica->rng, run->replica->options.n_targets);
    }
    env_timer_start(&run->timer, rng_between(&run->replica->rng, 20 * ENV_MS, 500 * ENV_MS));
}

void replica_send(struct replica_run *run)
{
    struct buf *out = wire_output(run->wire);
    if (out->len || out->err) {
        env_stream_write(run->stream, out);
    }
}

static void login_packet(struct replica_run *run, const struct packet *p)
{
    struct errmsg em;
    int rv = client_auth_packet(run->auth, run->wire, p, &em);
    if (rv == CLIENT_AUTH_DONE) {
        run->caps = client_auth_result(run->auth)->caps;
        run->state = REPLICA_ASK;
        run->step = 0;
        run->semi_sync = false;
        replica_ask_next(run);
    } else if (rv < 0) {
        replica_again(run, "login failed: %s", em.text);
    }
}

static void one_packet(struct replica_run *run, const struct packet *p)
{
    switch (run->state) {
    case REPLICA_LOGIN: login_packet(run, p); break;
    case REPLICA_ASK: answer_packet(run, p); break;
    case REPLICA_STREAM: replica_stream_packet(run, p); break;
    case REPLICA_IDLE: CHECK(false);
    }
}

static void readable(void *owner, const uint8_t *data, size_t n)
{
    struct replica_run *run = owner;
    struct packet p;
    struct errmsg em;
    int rv = wire_feed(run->wire, data, n, &em), next = 0;
    while (run->state != REPLICA_IDLE && (next = wire_next(run->wire, &p, &em)) == 1) {
        one_packet(run, &p);
    }
    if (run->state == REPLICA_IDLE) {
        return;
    }
    if (rv || next < 0) {
        if (run->state == REPLICA_STREAM) { /* before, a server that ends may speak out of turn */
            sim_fail(run->replica->sim, "a replica cannot read what it is sent: %s", em.text);
        }
        replica_again(run, "%s", em.text);
        return;
    }
    replica_send(run);
    env_timer_start(&run->timer, 5 * ENV_S);
    if (rng_chance(&run->replica->rng, run->replica->options.slow)) {
        env_stream_pause(run->stream, true);
        env_timer_start(&run->pause, rng_between(&run->replica->rng, ENV_MS, 100 * ENV_MS));
    }
}

static void resume(struct env_timer *timer)
{
    struct replica_run *run = CONTAINER_OF(timer, struct replica_run, pause);
    env_stream_pause(run->stream, false);
}

static void connected(void *owner)
{
    struct replica_run *run = owner;
    run->replica->connects++;
}

static void closed(void *owner, int code, const char *why)
{
    (void)code;
    replica_again(owner, "%s", why);
}

static const struct env_stream_handler handler = {
    .connected = connected, .readable = readable, .closed = closed};

static void begin(struct replica_run *run)
{
    const struct replica_sim_options *o = &run->replica->options;
    static const struct client_auth_attr attrs[] = {{"program_name", "mysqld"},
                                                    {"_client_role", "binary_log_listener"}};
    struct client_auth_opts opts = {
        .user = o->user, .password = o->password, .attrs = attrs, .nattrs = 2, .tls_mode = TLS_DISABLED};
    struct env_addr addr;
    int rv = env_addr_parse(o->n_targets ? o->targets[run->replica->target] : o->target, 3306, &addr, NULL);
    CHECK(rv == 0);
    run->wire = wire_new(LARGEST_PACKET);
    run->auth = client_auth_new(&opts);
    run->state = REPLICA_LOGIN;
    env_timer_start(&run->timer, 10 * ENV_S);
    rv = env_connect(run->env, &addr, &handler, run, &run->stream);
    CHECK(rv == 0);
}

static void timer_fired(struct env_timer *timer)
{
    struct replica_run *run = CONTAINER_OF(timer, struct replica_run, timer);
    if (run->state == REPLICA_IDLE) {
        begin(run);
    } else {
        replica_again(run, "silence");
    }
}

/* ---- the process --------------------------------------------------------------------------------------- */

static void start(struct sim_process *process, struct env *env, void *arg)
{
    struct replica_run *run = mem_new(sizeof *run);
    run->replica = arg;
    run->process = process;
    run->env = env;
    run->replica->run = run;
    sim_process_set(process, run);
    result_init(&run->result, RESULT_MOST);
    env_timer_open(env, &run->timer, timer_fired);
    env_timer_open(env, &run->pause, resume);
    begin(run);
}

static void stop(struct sim_process *process, void *arg)
{
    struct replica_run *run = sim_process_get(process);
    struct replica_sim *replica = arg;
    drop(run);
    env_timer_close(&run->timer);
    env_timer_close(&run->pause);
    result_free(&run->result);
    if (replica->run == run) {
        replica->run = NULL;
    }
    mem_free(run);
    sim_exit(process);
}

static const struct sim_program program = {start, stop, NULL};

struct replica_sim *replica_sim_new(struct sim_host *host, struct history *truth,
                                    const struct replica_sim_options *options)
{
    struct replica_sim *r = mem_new(sizeof *r);
    uint8_t uuid[16];
    r->sim = sim_host_sim(host);
    r->host = host;
    r->truth = truth;
    r->options = *options;
    rng_init(&r->rng, sim_seed(r->sim), 5000 + options->server_id);
    rng_bytes(&r->rng, uuid, sizeof uuid);
    uuid_text(uuid, r->uuid);
    return r;
}

void replica_sim_free(struct replica_sim *replica)
{
    mem_free(replica);
}

void replica_sim_start(struct replica_sim *replica)
{
    sim_start(replica->host, &program, replica);
}

size_t replica_sim_received(const struct replica_sim *replica)
{
    return replica->received;
}

size_t replica_sim_seen(void *replica)
{
    return ((const struct replica_sim *)replica)->seen;
}

uint64_t replica_sim_connects(const struct replica_sim *replica)
{
    return replica->connects;
}

uint64_t replica_sim_dumps(const struct replica_sim *replica)
{
    return replica->dumps;
}

void replica_sim_forget(struct replica_sim *replica, size_t n)
{
    replica->received -= n < replica->received ? n : replica->received;
    replica->forgot = replica->forgot || n > 0;
    replica->from = 0;
}

bool replica_set_up(struct replica_sim *r)
{
    if (r->options.expects) { /* it may have more than the truth of its first source */
        return false;
    }
    size_t oldest = r->options.oldest ? r->options.oldest(r->options.oldest_arg) : 0;
    size_t first = oldest < r->truth->n_files ? history_txns_before(r->truth, oldest, 0) : 0;
    size_t at = r->received > 0 ? r->truth->txns[r->received - 1].file : 0;
    at = at > r->from ? at : r->from;
    bool lacks = r->received < first || (r->options.by_position && at < oldest);
    bool away = sim_now(r->sim) - r->served > r->options.grace * ENV_S * 3 / 4;
    if (!lacks || !(r->forgot || r->options.forced || away)) {
        return false;
    }
    r->received = r->received > first ? r->received : first;
    r->seen = r->received > r->seen ? r->received : r->seen;
    r->from = oldest;
    r->set_ups++;
    return true;
}

void replica_sim_has(struct replica_sim *replica, size_t n)
{
    replica->received = n;
}

unsigned replica_sim_refusals(const struct replica_sim *replica)
{
    return replica->refusals;
}

unsigned replica_sim_set_ups(const struct replica_sim *replica)
{
    return replica->set_ups;
}
