/* test_sim_source: the simulated source and replica agree with each other and with protocol/: what the source
 * writes is read by protocol/'s readers as it was meant, a replica gets all of it by GTID and by position,
 * through crashes of both; and each breach of the rules is noticed. */
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"
#include "protocol/txn.h"
#include "tests/sim/replica_sim.h"
#include "tests/sim/source_sim.h"

#include <stdio.h>
#include <string.h>

struct world {
    struct sim *sim;
    struct sim_host *db, *app;
    struct source_sim *source;
    struct replica_sim *replica;
    uint64_t dumps;
    unsigned failures;
    char failure[400];
};

static void failed(void *arg, const char *text)
{
    struct world *w = arg;
    if (w->failures++ == 0) {
        snprintf(w->failure, sizeof w->failure, "%s", text);
    }
}

static struct replica_sim_options replica_options(enum flavour flavour)
{
    return (struct replica_sim_options){.flavour = flavour,
                                        .server_id = 500,
                                        .target = "db1:3306",
                                        .user = SOURCE_SIM_USER,
                                        .password = SOURCE_SIM_PASSWORD,
                                        .slow = 1};
}

static struct world *world_new(uint64_t seed, const struct source_sim_options *so,
                               const struct replica_sim_options *ro)
{
    struct world *w = mem_new(sizeof *w);
    w->sim = sim_new(seed);
    sim_on_failure(w->sim, failed, w);
    w->db = sim_host_new(w->sim, "db1");
    w->app = sim_host_new(w->sim, "app1");
    w->source = source_sim_new(w->db, so);
    w->replica = replica_sim_new(w->app, source_sim_history(w->source), ro);
    source_sim_start(w->source);
    replica_sim_start(w->replica);
    return w;
}

static void world_free(struct world *w)
{
    sim_free(w->sim);
    if (w->failures) {
        printf("first failure: %s\n", w->failure);
    }
    source_sim_free(w->source);
    replica_sim_free(w->replica);
    mem_free(w);
}

static bool all_received(void *arg)
{
    struct world *w = arg;
    return source_sim_idle(w->source) &&
           replica_sim_received(w->replica) == source_sim_history(w->source)->n_txns;
}

/* ---- the files ----------------------------------------------------------------------------------------- */

static void check_file(const struct history *h, size_t index, struct gtid_set *seen)
{
    const struct history_file *f = h->files[index];
    struct event_format format;
    struct event_header header;
    struct event_gtid gtid;
    struct txn txn;
    struct errmsg em;
    size_t at = EVENT_MAGIC_SIZE, next = f->first_txn;
    event_format_init(&format, h->flavour, CHECKSUM_CRC32);
    txn_init(&txn);
    UNIT_TRUE(gtid_set_equal(seen, f->before));
    while (at < f->bytes.len) {
        const uint8_t *event = f->bytes.data + at;
        UNIT_REQUIRE(event_peek(event, f->bytes.len - at, &header, &em) == 0);
        UNIT_REQUIRE(at + header.size <= f->bytes.len);
        UNIT_UINT(header.log_pos, at + header.size);
        if (header.type == EVENT_FORMAT_DESCRIPTION) {
            UNIT_INT(event_format_read(event, header.size, &format, &em), 0);
            UNIT_INT(format.flavour, h->flavour);
        }
        UNIT_INT(event_crc_check(&format, event, header.size, &em), 0);
        int rv = txn_feed(&txn, &format, event, header.size, &em);
        UNIT_REQUIRE(rv >= 0);
        if (event_is_gtid(header.type)) {
            UNIT_UINT(h->txns[next].start, at);
            UNIT_INT(event_gtid_read(&format, event, header.size, &gtid, &em), 0);
            UNIT_TRUE(gtid_equal(&gtid.gtid, &h->txns[next].gtid));
            UNIT_UINT(history_txn_of(h, &gtid.gtid), next);
            UNIT_INT(gtid_set_add(seen, &gtid.gtid), 0);
        }
        at += header.size;
        UNIT_TRUE(history_is_boundary(h, index, at) == (rv != TXN_INSIDE));
        if (rv == TXN_END) {
            UNIT_UINT(h->txns[next].end, at);
            UNIT_UINT(history_txns_before(h, index, at), ++next);
            UNIT_UINT(history_txns_before(h, index, at - 1), next - 1);
        }
    }
    UNIT_UINT(at, f->bytes.len);
}

static void its_files_are_what_protocol_reads(void)
{
    for (enum flavour flavour = FLAVOUR_MYSQL; flavour <= FLAVOUR_MARIADB; flavour++) {
        struct history *h = history_new(flavour, 9, unit_seed());
        struct gtid_set *seen = gtid_set_new(flavour);
        static const size_t sizes[] = {0, 1, 2, 100, 200, 300, 8191, 8192, 8193, 65535, 70000, 1000000};
        history_begin_file(h, 1790000000000000, true);
        for (size_t i = 0; i < 300; i++) {
            enum history_kind kind = i % 7 == 0 ? HISTORY_DDL : i % 11 == 0 ? HISTORY_COMMIT : HISTORY_ROWS;
            size_t bytes = i < 50 ? i + 20 : sizes[i % 12] / (i % 5 ? 10 : 1);
            h->group = i % 3 ? i : 0;
            UNIT_UINT(history_txn(h, kind, bytes, 1790000000000000 + i, i % 3 == 0), i);
            if (i % 40 == 39) {
                if (i % 80 == 79) {
                    history_stop(h, 1790000000000000);
                }
                history_begin_file(h, 1790000000000000 + i, i % 80 == 79);
            }
        }
        UNIT_UINT(h->n_txns, 300);
        for (size_t i = 0; i < h->n_files; i++) {
            check_file(h, i, seen);
        }
        UNIT_TRUE(gtid_set_equal(seen, h->executed));
        gtid_set_free(seen);
        history_free(h);
    }
}

/* ---- streams ------------------------------------------------------------------------------------------- */

static void crash_or_stop(struct world *w, struct sim_host *host, bool is_source)
{
    struct rng *rng = sim_rng(w->sim);
    switch (rng_below(rng, 3)) {
    case 0: sim_crash(host, SIM_KILL); break;
    case 1: sim_crash(host, SIM_POWER); break;
    default: sim_stop(host);
    }
    sim_run(w->sim, rng_between(rng, 10 * ENV_MS, 500 * ENV_MS));
    if (is_source) {
        source_sim_start(w->source);
    } else {
        replica_sim_forget(w->replica, w->replica && rng_chance(rng, 30) ? 5 : 0);
        replica_sim_start(w->replica);
    }
}

/* A whole run with crashes; gives the hash. */
static uint64_t run(uint64_t seed, enum flavour flavour, bool by_position, bool semi_sync)
{
    struct source_sim_options so = source_sim_defaults(flavour);
    struct replica_sim_options ro = replica_options(flavour);
    so.no_semi_sync = !semi_sync;
    so.heads_tell = false; /* what MySQL would pass by is no fault of this replica's */
    ro.semi_sync = semi_sync;
    ro.by_position = by_position;
    so.huge = seed % 10 == 0 ? 17000000 : 0;
    struct world *w = world_new(seed, &so, &ro);
    source_sim_load(w->source, 600);
    for (int i = 0; i < 6; i++) {
        sim_run(w->sim, rng_between(sim_rng(w->sim), 1, 300 * ENV_MS));
        if (i % 3 == 2) {
            sim_reset(w->sim, w->db, w->app);
        } else if (i % 2 ||
                   !semi_sync) { /* what a replica forgets it has acknowledged, so there it does not crash */
            crash_or_stop(w, i % 2 ? w->db : w->app, i % 2);
        }
    }
    bool done = sim_run_until(w->sim, all_received, w, 300 * ENV_S);
    UNIT_TRUE(done);
    UNIT_UINT(w->failures, 0);
    if (!done) {
        sim_dump(w->sim, stdout);
    }
    UNIT_TRUE(!semi_sync || source_sim_acked(w->source) > 300);
    UNIT_TRUE(!semi_sync || source_sim_acks(w->source) > 20);
    uint64_t hash = sim_hash(w->sim);
    printf("seed=%llu txns=%zu acked=%zu acks=%llu dumps=%llu files=%zu hash=%016llx\n",
           (unsigned long long)seed, source_sim_history(w->source)->n_txns, source_sim_acked(w->source),
           (unsigned long long)source_sim_acks(w->source), (unsigned long long)source_sim_dumps(w->source),
           source_sim_history(w->source)->n_files, (unsigned long long)hash);
    world_free(w);
    return hash;
}

static void replicas_get_all_by_gtid(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 10; seed++) {
        run(seed, FLAVOUR_MYSQL, false, false);
        run(seed, FLAVOUR_MARIADB, false, false);
    }
}

static void semi_sync_replicas_get_all_by_position(void)
{
    for (uint64_t seed = unit_seed(); seed < unit_seed() + 10; seed++) {
        run(seed, FLAVOUR_MYSQL, true, true);
        run(seed, FLAVOUR_MARIADB, true, true);
    }
}

static void runs_repeat(void)
{
    uint64_t seed = unit_seed() + 100;
    UNIT_UINT(run(seed, FLAVOUR_MYSQL, true, true), run(seed, FLAVOUR_MYSQL, true, true));
    UNIT_UINT(run(seed, FLAVOUR_MARIADB, false, false), run(seed, FLAVOUR_MARIADB, false, false));
}

static void without_an_ack_nothing_returns(void)
{
    struct source_sim_options so = source_sim_defaults(FLAVOUR_MYSQL);
    struct replica_sim_options ro = replica_options(FLAVOUR_MYSQL); /* not semi-sync */
    struct world *w = world_new(unit_seed(), &so, &ro);
    source_sim_load(w->source, 100);
    sim_run(w->sim, 60 * ENV_S);
    UNIT_UINT(source_sim_acked(w->source), 0);
    UNIT_UINT(source_sim_history(w->source)->n_txns, so.clients); /* each waits for its first one */
    UNIT_UINT(replica_sim_received(w->replica), so.clients);
    UNIT_TRUE(!source_sim_idle(w->source));
    UNIT_UINT(w->failures, 0);
    world_free(w);
}

/* ---- breaches ------------------------------------------------------------------------------------------ */

static struct world *replicated(bool by_position, bool semi_sync)
{
    struct source_sim_options so = source_sim_defaults(FLAVOUR_MYSQL);
    struct replica_sim_options ro = replica_options(FLAVOUR_MYSQL);
    ro.by_position = by_position;
    ro.semi_sync = semi_sync;
    so.no_semi_sync = !semi_sync;
    so.heads_tell = false;
    struct world *w = world_new(unit_seed(), &so, &ro);
    source_sim_load(w->source, 50);
    UNIT_TRUE(sim_run_until(w->sim, all_received, w, 60 * ENV_S));
    UNIT_UINT(w->failures, 0);
    return w;
}

/* A follower that has lost what it acknowledged asks from too early a position. */
static void lost_acknowledged_transactions_are_noticed(void)
{
    struct world *w = replicated(true, true);
    sim_crash(w->app, SIM_KILL);
    sim_run(w->sim, ENV_S);
    replica_sim_forget(w->replica, 1);
    replica_sim_start(w->replica);
    sim_run(w->sim, 5 * ENV_S);
    UNIT_TRUE(w->failures > 0 && strstr(w->failure, "lost: ") == w->failure);
    world_free(w);
}

/* The truth changes behind the replica's back: one byte in what it has not seen yet. */
static void wrong_bytes_are_noticed(void)
{
    struct world *w = replicated(false, false);
    struct history *h = source_sim_history(w->source);
    sim_crash(w->app, SIM_KILL);
    sim_run(w->sim, ENV_S);
    history_newest(h)->bytes.data[h->txns[h->n_txns - 1].end - 10] ^= 1;
    replica_sim_forget(w->replica, 1);
    replica_sim_start(w->replica);
    sim_run(w->sim, 2 * ENV_S);
    UNIT_TRUE(w->failures > 0 && strstr(w->failure, "cannot be read") != NULL); /* the checksum */
    world_free(w);
}

static bool has_asked(void *arg)
{
    struct world *w = arg;
    return replica_sim_dumps(w->replica) > w->dumps;
}

/* The list of transactions changes: what is sent is then twice there, or missing. */
static void gaps_and_duplicates_are_noticed(void)
{
    for (int duplicate = 0; duplicate < 2; duplicate++) {
        struct world *w = replicated(true, false);
        struct history *h = source_sim_history(w->source);
        sim_crash(w->app, SIM_KILL);
        sim_run(w->sim, ENV_S);
        replica_sim_forget(w->replica, 5);
        size_t i = replica_sim_received(w->replica) - 1;
        struct history_txn saved = h->txns[i];
        h->txns[i] = h->txns[duplicate ? i - 1 : i + 1]; /* it asks from there */
        replica_sim_start(w->replica);
        w->dumps = replica_sim_dumps(w->replica);
        UNIT_TRUE(sim_run_until(w->sim, has_asked, w, ENV_S));
        h->txns[i] = saved;
        sim_run(w->sim, ENV_S / 10);
        UNIT_TRUE(w->failures > 0);
        UNIT_TRUE(strstr(w->failure, duplicate ? "duplicate" : "gap") != NULL);
        world_free(w);
    }
}

UNIT_MAIN("sim_source", UNIT_TEST(its_files_are_what_protocol_reads), UNIT_TEST(replicas_get_all_by_gtid),
          UNIT_TEST(semi_sync_replicas_get_all_by_position), UNIT_TEST(runs_repeat),
          UNIT_TEST(without_an_ack_nothing_returns), UNIT_TEST(lost_acknowledged_transactions_are_noticed),
          UNIT_TEST(wrong_bytes_are_noticed), UNIT_TEST(gaps_and_duplicates_are_noticed))
