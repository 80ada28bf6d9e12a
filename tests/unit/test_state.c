/* test_state: entries read back as they were written, the state machine does the same on every node, the manifest holds all of it, and
 * nothing that is cut or changed on the way is taken for good. */
#include "tests/unit/unit.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "raft/state.h"
#include "tests/sim/rng.h"

#include <stdio.h>
#include <string.h>

static struct gtid my_gtid(uint8_t uuid, uint64_t gno)
{
    struct gtid g = {.flavour = FLAVOUR_MYSQL, .gno = gno};
    memset(g.uuid, uuid, sizeof g.uuid);
    return g;
}

static void put_file(struct buf *b, uint64_t era, const char *name)
{
    struct entry_file f = {.era = era, .origin = {.flavour = FLAVOUR_MYSQL, .server_id = 7, .uuid = "u", .version = "9.7.4"}};
    snprintf(f.name, sizeof f.name, "%s", name);
    buf_init(b, ENTRY_MAX);
    entry_put_file(b, &f);
}

static void put_events(struct buf *b, const char *name, uint64_t offset, size_t n, uint64_t boundary, uint64_t gno)
{
    struct entry_events e = {.era = 1, .offset = offset, .boundary = boundary, .ack = boundary};
    struct entry_txn last = {.end = offset}, txn = {.end = boundary, .gtid = my_gtid(1, gno)};
    struct buf txns;
    uint8_t *bytes = mem_new(n);
    snprintf(e.name, sizeof e.name, "%s", name);
    buf_init(&txns, ENTRY_MAX);
    if (boundary > offset) {
        entry_txn_put(&txns, &last, &txn);
    }
    buf_init(b, ENTRY_MAX);
    entry_put_events(b, &e, &txns, bytes, n);
    buf_free(&txns);
    mem_free(bytes);
}

static int apply(struct state *s, struct buf *b, struct state_effect *effect)
{
    UNIT_INT(b->err, 0);
    UNIT_UINT(b->len % 8, 0);
    entry_own(b, 1, 2, 3);
    int rv = state_apply(s, s->index + 1, b->data, b->len, effect);
    buf_free(b);
    return rv;
}

static void txns_read_back(void)
{
    struct rng rng;
    rng_init(&rng, unit_seed(), 1);
    struct entry_txn in[200], last = {.end = 100}, at = {.end = 100};
    struct buf b;
    uint64_t end = 100;
    buf_init(&b, ENTRY_MAX);
    memset(in, 0, sizeof in);
    for (size_t i = 0; i < 200; i++) {
        end += rng_between(&rng, 1, 100000);
        in[i].end = end;
        switch (rng_below(&rng, 4)) {
        case 0:
            break;
        case 1:
            in[i].gtid = my_gtid((uint8_t)rng_next(&rng), rng_between(&rng, 1, 1u << 30));
            snprintf(in[i].gtid.tag, sizeof in[i].gtid.tag, "%s", rng_chance(&rng, 50) ? "tag" : "");
            break;
        case 2:
            in[i].gtid = (struct gtid){.flavour = FLAVOUR_MARIADB, .domain = 1, .server = 2, .gno = rng_next(&rng)};
            break;
        default:
            in[i].gtid = i ? in[i - 1].gtid : my_gtid(1, 1);
            in[i].gtid.gno += in[i].gtid.flavour != FLAVOUR_NONE;
        }
        entry_txn_put(&b, &last, &in[i]);
    }
    UNIT_INT(b.err, 0);
    struct cur c = cur_of(b.data, b.len);
    for (size_t i = 0; i < 200; i++) {
        UNIT_REQUIRE(entry_txn_next(&c, &at));
        UNIT_UINT(at.end, in[i].end);
        UNIT_TRUE(gtid_equal(&at.gtid, &in[i].gtid));
    }
    UNIT_TRUE(!entry_txn_next(&c, &at));
    UNIT_TRUE(cur_done(&c));
    buf_free(&b);
}

static void files_grow_and_are_cut(void)
{
    struct state *s = state_new();
    struct state_effect e;
    struct buf b;
    put_file(&b, 1, "mysql-bin.000001");
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_TRUE(e.new_file && !e.cut);
    UNIT_UINT(state_file(s)->size, 4);
    put_events(&b, "mysql-bin.000001", 4, 100, 104, 1);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_UINT(e.events.n, 100);
    UNIT_UINT(e.events.ack, 104);
    put_events(&b, "mysql-bin.000001", 104, 50, 104, 0); /* a part of a transaction */
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_UINT(state_file(s)->size, 154);
    UNIT_UINT(s->boundary, 104);
    buf_init(&b, ENTRY_MAX);
    entry_noop(&b);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_TRUE(e.cut && e.cut_to == 104);
    UNIT_UINT(state_file(s)->size, 104);
    put_events(&b, "mysql-bin.000001", 104, 60, 164, 2);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_TRUE(!e.cut && e.status == 0);
    put_events(&b, "mysql-bin.000001", 164, 10, 164, 0);
    UNIT_INT(apply(s, &b, &e), 0);
    put_file(&b, 1, "mysql-bin.000002"); /* the source crashed: what it had not finished goes */
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_TRUE(e.cut && e.cut_to == 164 && e.new_file);
    struct filelist_file first;
    filelist_get(s->files, 0, &first);
    UNIT_UINT(first.size, 164);
    struct gtid g = my_gtid(1, 2);
    UNIT_TRUE(gtid_set_contains(s->executed, &g));
    UNIT_TRUE(gtid_set_contains(state_file(s)->before, &g));
    UNIT_UINT(gtid_set_count(s->executed), 2);
    state_free(s);
}

/* However the same bytes are cut into entries, the proof is the same, and it is the sum over the last transaction's bytes. */
static void proof_does_not_depend_on_the_cuts(void)
{
    enum { N = 3000, TXNS = 12 };
    struct rng rng;
    uint8_t bytes[N];
    uint64_t ends[TXNS];
    rng_init(&rng, unit_seed(), 3);
    rng_bytes(&rng, bytes, N);
    le_put(bytes + 9, 120, 4); /* the first event is a format description of 120 bytes */
    for (unsigned i = 0; i < TXNS; i++) {
        ends[i] = 4 + 200 + i * 230;
    }
    for (unsigned run = 0; run < 300; run++) {
        struct state *s = state_new();
        struct state_effect effect;
        struct buf b, txns;
        put_file(&b, 1, "b.000001");
        UNIT_INT(apply(s, &b, &effect), 0);
        size_t at = 0, next = 0;
        while (at < N) {
            size_t n = (size_t)rng_between(&rng, run ? 1 : N, run % 2 ? 60 : N);
            n = n > N - at ? N - at : n;
            n = at == 0 && n < 120 ? 120 : n; /* a format description comes whole */
            struct entry_events e = {.era = 1, .name = "b.000001", .offset = 4 + at, .boundary = s->boundary};
            struct entry_txn last = {.end = 4 + at};
            buf_init(&txns, 10000);
            buf_init(&b, ENTRY_MAX);
            for (; next < TXNS && ends[next] <= 4 + at + n; next++) {
                struct entry_txn txn = {.end = ends[next]};
                entry_txn_put(&txns, &last, &txn);
                e.boundary = ends[next];
            }
            entry_put_events(&b, &e, &txns, bytes + at, n);
            buf_free(&txns);
            UNIT_INT(apply(s, &b, &effect), 0);
            UNIT_INT(effect.status, 0);
            at += n;
        }
        UNIT_UINT(s->proof.head_len, 120);
        UNIT_UINT(s->proof.head_crc, crc32c_of(0, bytes, 120));
        UNIT_UINT(s->proof.last_end, ends[TXNS - 1]);
        UNIT_UINT(s->proof.last_start, ends[TXNS - 2]);
        UNIT_UINT(s->proof.last_crc, crc32c_of(0, bytes + s->proof.last_start - 4, s->proof.last_end - s->proof.last_start));
        UNIT_UINT(s->proof.open_crc, crc32c_of(0, bytes + ends[TXNS - 1] - 4, 4 + N - ends[TXNS - 1]));
        UNIT_UINT(s->proof.boundary_crc, crc32c_of(crc32c_of(0, EVENT_MAGIC, 4), bytes, ends[TXNS - 1] - 4));
        UNIT_UINT(s->proof.all_crc, crc32c_of(crc32c_of(0, EVENT_MAGIC, 4), bytes, N));
        state_free(s);
    }
}

/* Events that do not continue the files change nothing, on every node alike. */
static void contradictions_are_left_out(void)
{
    static const struct {
        const char *name;
        uint64_t offset, n, boundary;
    } wrong[] = {
        {"mysql-bin.000002", 104, 10, 114}, {"mysql-bin.000001", 103, 10, 113}, {"mysql-bin.000001", 105, 10, 115},
        {"mysql-bin.000001", 4, 100, 104},  {"mysql-bin.000001", 104, 10, 103},
    };
    struct state *s = state_new();
    struct state_effect e;
    struct buf b;
    put_events(&b, "mysql-bin.000001", 4, 100, 104, 1);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_INT(e.status, E_CONTRADICTION);
    put_file(&b, 1, "mysql-bin.000001");
    UNIT_INT(apply(s, &b, &e), 0);
    put_events(&b, "mysql-bin.000001", 4, 100, 104, 1);
    UNIT_INT(apply(s, &b, &e), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_events(&b, wrong[i].name, wrong[i].offset, wrong[i].n, wrong[i].boundary, 9);
        UNIT_INT(apply(s, &b, &e), 0);
        UNIT_INT(e.status, E_CONTRADICTION);
        UNIT_UINT(e.events.n, 0);
        UNIT_UINT(state_file(s)->size, 104);
        UNIT_UINT(gtid_set_count(s->executed), 1);
    }
    state_free(s);
}

/* A new file of the same era begins with exactly the GTIDs that are held, and with a name that can be and is new: else it is left out, and
 * nothing that a source says may stop a node. */
static void files_must_continue_the_history(void)
{
    static const char *const bad_names[] = {"x/y.000001", "..000001", "binlog", "", "mysql-bin.000001", "../mysql-bin.000002"};
    struct state *s = state_new();
    struct state_effect e;
    struct buf b;
    put_file(&b, 1, "mysql-bin.000001");
    UNIT_INT(apply(s, &b, &e), 0);
    put_events(&b, "mysql-bin.000001", 4, 100, 104, 1);
    UNIT_INT(apply(s, &b, &e), 0);
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        put_file(&b, 1, bad_names[i]);
        UNIT_INT(apply(s, &b, &e), 0);
        UNIT_INT(e.status, E_CONTRADICTION);
        UNIT_UINT(filelist_count(s->files), 1);
    }
    static const uint64_t ends[] = {2, 1}; /* more GTIDs than held, the same */
    for (size_t i = 0; i < 2; i++) {
        struct entry_file f = {.era = 1, .name = "mysql-bin.000002", .origin.flavour = FLAVOUR_MYSQL, .before = gtid_set_new(FLAVOUR_MYSQL)};
        for (uint64_t gno = 1; gno <= ends[i]; gno++) {
            struct gtid g = my_gtid(1, gno);
            UNIT_INT(gtid_set_add(f.before, &g), 0);
        }
        buf_init(&b, ENTRY_MAX);
        entry_put_file(&b, &f);
        gtid_set_free(f.before);
        UNIT_INT(apply(s, &b, &e), 0);
        UNIT_INT(e.status, ends[i] == 1 ? 0 : E_CONTRADICTION);
    }
    UNIT_UINT(filelist_count(s->files), 2);
    /* a GTID of the other flavour */
    struct entry_events events = {.era = 1, .name = "mysql-bin.000002", .offset = 4, .boundary = 54};
    struct entry_txn last = {.end = 4}, txn = {.end = 54, .gtid = {.flavour = FLAVOUR_MARIADB, .server = 1, .gno = 1}};
    struct buf txns;
    uint8_t bytes[50] = {0};
    buf_init(&txns, 1000);
    buf_init(&b, ENTRY_MAX);
    entry_txn_put(&txns, &last, &txn);
    entry_put_events(&b, &events, &txns, bytes, sizeof bytes);
    buf_free(&txns);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_INT(e.status, E_CONTRADICTION);
    UNIT_UINT(state_file(s)->size, 4);
    state_free(s);
}

/* ---- another source ---- */

static struct gtid_set *set_of(enum flavour flavour, const char *text)
{
    struct gtid_set *set = gtid_set_new(flavour);
    UNIT_INT(gtid_set_parse(set, text, strlen(text), NULL), 0);
    return set;
}

static bool is_set(const struct gtid_set *set, const char *text)
{
    struct buf b;
    buf_init(&b, 10000);
    gtid_set_print(set, &b);
    return UNIT_STR(buf_cstr(&b), text) && (buf_free(&b), true);
}

/* A file of that era whose head says `before`; what becomes of the entry. */
static int begin_file(struct state *s, uint64_t era, const char *name, enum flavour flavour, const char *before)
{
    struct entry_file f = {.era = era, .origin = {.flavour = flavour, .server_id = (uint32_t)era}, .before = before ? set_of(flavour, before) : NULL};
    struct state_effect e;
    struct buf b;
    snprintf(f.name, sizeof f.name, "%s", name);
    buf_init(&b, ENTRY_MAX);
    entry_put_file(&b, &f);
    gtid_set_free(f.before);
    UNIT_INT(apply(s, &b, &e), 0);
    return e.status;
}

/* One transaction in 10 bytes of the newest file; NULL: it has no GTID. */
static int commit(struct state *s, enum flavour flavour, const char *gtid)
{
    uint64_t at = s->file.size;
    struct entry_events e = {.era = s->file.era, .offset = at, .boundary = at + 10};
    struct entry_txn last = {.end = at}, txn = {.end = at + 10};
    struct state_effect effect;
    struct buf b, txns;
    uint8_t bytes[10] = {0};
    if (gtid) {
        UNIT_INT(gtid_parse(&txn.gtid, flavour, gtid, NULL), 0);
    }
    snprintf(e.name, sizeof e.name, "%s", s->file.name);
    buf_init(&txns, 1000);
    buf_init(&b, ENTRY_MAX);
    entry_txn_put(&txns, &last, &txn);
    entry_put_events(&b, &e, &txns, bytes, sizeof bytes);
    buf_free(&txns);
    UNIT_INT(apply(s, &b, &effect), 0);
    return effect.status;
}

static void survives_the_manifest(struct state **s)
{
    struct state *again = NULL;
    struct buf m, m2;
    buf_init(&m, 1 << 20);
    buf_init(&m2, 1 << 20);
    state_encode(*s, &m);
    struct cur c = cur_of(m.data, m.len);
    UNIT_REQUIRE(state_decode(&c, &again) == 0);
    state_encode(again, &m2);
    UNIT_UINT(m2.len, m.len);
    UNIT_MEM(m2.data, m.data, m.len);
    buf_free(&m);
    buf_free(&m2);
    state_free(*s);
    *s = again;
}

#define A "11111111-1111-1111-1111-111111111111"
#define B "22222222-2222-2222-2222-222222222222"

/* The new source's log has the same transactions in other places, and its own behind them. Nothing that is held is forgotten, nothing that is
 * missing goes unnoticed. */
static void a_new_era_continues_what_is_held(void)
{
    struct state *s = state_new();
    UNIT_INT(begin_file(s, 1, "old.000001", FLAVOUR_MYSQL, A ":1-10"), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":11"), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":12"), 0);
    UNIT_INT(begin_file(s, 1, "old.000002", FLAVOUR_MYSQL, A ":1-12"), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":13"), 0);
    UNIT_INT(begin_file(s, 2, "new.000007", FLAVOUR_MYSQL, A ":1-14"), E_CONTRADICTION); /* :14 would be missing for ever */
    UNIT_INT(begin_file(s, 2, "new.000007", FLAVOUR_MYSQL, A ":1-11," B ":1"), E_CONTRADICTION);
    UNIT_INT(begin_file(s, 2, "new.000007", FLAVOUR_MYSQL, NULL), E_CONTRADICTION); /* its head does not say */
    UNIT_INT(begin_file(s, 2, "new.000007", FLAVOUR_MARIADB, "0-1-1"), E_CONTRADICTION);
    UNIT_UINT(s->n_eras, 1);
    UNIT_INT(begin_file(s, 2, "new.000007", FLAVOUR_MYSQL, A ":1-11"), 0);
    UNIT_TRUE(is_set(s->file.before, A ":1-13") && is_set(state_head(s), A ":1-11"));
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":13"), 0); /* in another order than here */
    UNIT_INT(commit(s, FLAVOUR_MYSQL, B ":1"), 0);
    UNIT_TRUE(is_set(s->executed, A ":1-13," B ":1") && is_set(state_logged(s), A ":1-11:13," B ":1"));
    survives_the_manifest(&s);
    UNIT_INT(begin_file(s, 2, "new.000008", FLAVOUR_MYSQL, A ":1-14," B ":1"), E_CONTRADICTION);
    UNIT_INT(begin_file(s, 2, "new.000008", FLAVOUR_MYSQL, A ":1-10:13," B ":1"), E_CONTRADICTION); /* it had :11 */
    UNIT_INT(begin_file(s, 2, "new.000008", FLAVOUR_MYSQL, A ":1-11:13," B ":1"), 0);
    UNIT_TRUE(is_set(s->file.before, A ":1-13," B ":1"));
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":12"), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, B ":2"), 0);
    UNIT_TRUE(is_set(s->executed, A ":1-13," B ":1-2") && is_set(state_logged(s), A ":1-13," B ":1-2"));
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":12"), E_CONTRADICTION);
    survives_the_manifest(&s);
    UNIT_INT(begin_file(s, 1, "old.000003", FLAVOUR_MYSQL, A ":1-13," B ":1-2"), E_CONTRADICTION); /* an era that is over */
    UNIT_INT(begin_file(s, 3, "old.000003", FLAVOUR_MYSQL, A ":1-13"), 0); /* the first one again, as a server that has all */
    UNIT_TRUE(is_set(state_head(s), A ":1-13") && s->n_eras == 3);
    state_free(s);
}

/* MySQL does not wait for transactions without an XID before it writes the head of the next file. */
static void a_head_may_lack_what_the_file_before_has(void)
{
    struct state *s = state_new();
    UNIT_INT(begin_file(s, 1, "b.000007", FLAVOUR_MYSQL, A ":1-10"), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":11"), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":12"), 0);
    UNIT_INT(begin_file(s, 1, "b.000008", FLAVOUR_MYSQL, A ":1-9:11-12"), E_CONTRADICTION); /* forgotten, or another server's */
    UNIT_INT(begin_file(s, 1, "b.000008", FLAVOUR_MYSQL, A ":1-11:13"), E_CONTRADICTION);   /* :13 would be missing here */
    UNIT_INT(begin_file(s, 1, "b.000008", FLAVOUR_MYSQL, A ":1-11"), 0);
    survives_the_manifest(&s);
    UNIT_TRUE(is_set(s->executed, A ":1-12") && is_set(s->file.before, A ":1-12") && is_set(state_head(s), A ":1-11"));
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":12"), E_CONTRADICTION); /* it lost the first one, and replicas would pass by this one */
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":13"), 0);
    UNIT_INT(begin_file(s, 1, "b.000009", FLAVOUR_MYSQL, A ":1-13"), 0);
    UNIT_TRUE(is_set(state_head(s), A ":1-13"));

    UNIT_INT(begin_file(s, 2, "new.000003", FLAVOUR_MYSQL, A ":1-12"), 0); /* :13 is in a file of it that is not read, it may be */
    UNIT_INT(commit(s, FLAVOUR_MYSQL, B ":1"), 0);
    UNIT_INT(begin_file(s, 2, "new.000004", FLAVOUR_MYSQL, A ":1-13," B ":1"), 0);
    survives_the_manifest(&s);
    UNIT_TRUE(is_set(state_logged(s), A ":1-13," B ":1") && is_set(state_head(s), A ":1-13," B ":1"));
    state_free(s);

    s = state_new();
    UNIT_INT(begin_file(s, 1, "b.000007", FLAVOUR_MARIADB, ""), 0);
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-1-1"), 0);
    UNIT_INT(begin_file(s, 1, "b.000008", FLAVOUR_MARIADB, ""), E_CONTRADICTION);
    state_free(s);
}

/* MariaDB's states go by the last number of each server: they must not go back while a new source's log brings again what is held. */
static void a_mariadb_state_never_goes_back(void)
{
    struct state *s = state_new();
    UNIT_INT(begin_file(s, 1, "old.000001", FLAVOUR_MARIADB, ""), 0);
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-1-1"), 0);
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-1-2"), 0);
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-1-3"), 0);
    UNIT_INT(begin_file(s, 2, "new.000001", FLAVOUR_MARIADB, "0-1-4"), E_CONTRADICTION);
    UNIT_INT(begin_file(s, 2, "new.000001", FLAVOUR_MARIADB, "0-2-4"), E_CONTRADICTION);
    UNIT_INT(begin_file(s, 2, "new.000001", FLAVOUR_MARIADB, "1-2-1,0-1-1"), E_CONTRADICTION); /* a domain that we know nothing of */
    UNIT_INT(begin_file(s, 2, "new.000001", FLAVOUR_MARIADB, "0-9-1,0-1-1"), 0); /* accounts that were made there, before it was a replica */
    UNIT_TRUE(is_set(s->executed, "0-1-3") && is_set(s->file.before, "0-1-3") && is_set(state_head(s), "0-9-1,0-1-1"));
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-1-2"), 0);
    UNIT_TRUE(is_set(s->executed, "0-1-3") && is_set(state_logged(s), "0-9-1,0-1-2"));
    survives_the_manifest(&s);
    UNIT_INT(begin_file(s, 2, "new.000002", FLAVOUR_MARIADB, "0-9-1,0-1-2"), 0);
    UNIT_TRUE(is_set(s->file.before, "0-1-3"));
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-1-3"), 0);
    UNIT_INT(commit(s, FLAVOUR_MARIADB, "0-2-4"), 0);
    UNIT_TRUE(is_set(s->executed, "0-1-3,0-2-4") && is_set(state_logged(s), "0-1-3,0-9-1,0-2-4"));
    state_free(s);
}

/* Transactions without a GTID prove nothing; they are remembered for as long as they may be what another server lacks. */
static void transactions_without_a_gtid_are_remembered(void)
{
    struct state *s = state_new();
    UNIT_INT(begin_file(s, 1, "b.000001", FLAVOUR_MYSQL, ""), 0);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, A ":1"), 0);
    UNIT_TRUE(!s->anonymous && !s->anonymous_before);
    UNIT_INT(commit(s, FLAVOUR_MYSQL, NULL), 0);
    UNIT_TRUE(s->anonymous && !s->anonymous_before);
    UNIT_INT(begin_file(s, 1, "b.000002", FLAVOUR_MYSQL, A ":1"), 0);
    UNIT_TRUE(!s->anonymous && s->anonymous_before);
    survives_the_manifest(&s);
    UNIT_TRUE(!s->anonymous && s->anonymous_before);
    UNIT_INT(begin_file(s, 1, "b.000003", FLAVOUR_MYSQL, A ":1"), 0);
    UNIT_TRUE(!s->anonymous && !s->anonymous_before);
    state_free(s);
}

static void accounts_source_and_settings(struct state *s)
{
    struct state_effect e;
    struct buf b;
    struct entry_user u = {.account = {.name = "repl", .roles = ROLE_REPLICA}};
    struct source_settings source = {.host = "db1", .port = 3306, .user = "u", .password = "p", .start = "oldest", .running = true};
    account_secret_set(&u.account.secret, "secret", 6);
    buf_init(&b, ENTRY_MAX);
    entry_put_user(&b, &u);
    UNIT_INT(apply(s, &b, &e), 0);
    u.account.roles |= ROLE_ADMIN;
    buf_init(&b, ENTRY_MAX);
    entry_put_user(&b, &u);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_UINT(s->n_users, 1);
    UNIT_UINT(state_user(s, "repl", "%")->roles, ROLE_REPLICA | ROLE_ADMIN);
    UNIT_TRUE(account_secret_matches(&state_user(s, "repl", "%")->secret, "secret", 6));
    UNIT_TRUE(state_user(s, "Repl", "%") == NULL);
    buf_init(&b, ENTRY_MAX);
    entry_put_source(&b, &source);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_STR(s->source.host, "db1");
    buf_init(&b, ENTRY_MAX);
    entry_put_setting(&b, "a", "1");
    UNIT_INT(apply(s, &b, &e), 0);
    buf_init(&b, ENTRY_MAX);
    entry_put_setting(&b, "a", "2");
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_STR(state_setting(s, "a"), "2");
    UNIT_TRUE(state_setting(s, "b") == NULL);
}

static void manifest_holds_everything(void)
{
    struct state *s = state_new(), *again = NULL;
    struct state_effect e;
    struct buf b, m, m2;
    accounts_source_and_settings(s);
    put_file(&b, 1, "mysql-bin.000001");
    UNIT_INT(apply(s, &b, &e), 0);
    put_events(&b, "mysql-bin.000001", 4, 100, 104, 1);
    UNIT_INT(apply(s, &b, &e), 0);
    buf_init(&m, 1 << 20);
    buf_init(&m2, 1 << 20);
    state_encode(s, &m);
    struct cur c = cur_of(m.data, m.len);
    UNIT_REQUIRE(state_decode(&c, &again) == 0);
    state_encode(again, &m2);
    UNIT_UINT(m2.len, m.len);
    UNIT_MEM(m2.data, m.data, m.len);
    UNIT_TRUE(account_secret_matches(&state_user(again, "repl", "%")->secret, "secret", 6));
    for (size_t cut = 0; cut < m.len; cut++) { /* a shorter one is never taken */
        struct state *none = NULL;
        c = cur_of(m.data, cut);
        UNIT_TRUE(state_decode(&c, &none) < 0);
    }
    uint8_t newer = m.data[0];
    m.data[0] = 99;
    struct state *none = NULL;
    c = cur_of(m.data, m.len);
    UNIT_INT(state_decode(&c, &none), E_VERSION);
    m.data[0] = newer;
    buf_free(&m);
    buf_free(&m2);
    state_free(s);
    state_free(again);
}

/* A removed account is gone. */
static int purge(struct state *s, uint64_t era, const char *name, struct state_effect *e)
{
    struct entry_purge p = {.era = era};
    struct buf b;
    snprintf(p.name, sizeof p.name, "%s", name);
    buf_init(&b, ENTRY_MAX);
    entry_put_purge(&b, &p);
    return apply(s, &b, e);
}

/* The oldest files go, never the newest; what stays is as it was, in the manifest too. */
static void files_are_purged(void)
{
    struct state *s = state_new(), *again;
    struct state_effect e;
    struct buf b, bytes, bytes_again;
    struct gtid_set *before;
    UNIT_INT(purge(s, 1, "mysql-bin.000001", &e), 0);
    UNIT_INT(e.status, E_CONTRADICTION);
    for (unsigned i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", 1 + i % 3);
        UNIT_INT(begin_file(s, 1 + i / 3, name, FLAVOUR_MYSQL, i == 3 ? "" : NULL), 0);
        if (i < 3) {
            put_events(&b, name, 4, 100 + i, 104 + i, 1 + i);
            UNIT_INT(apply(s, &b, &e), 0);
        }
    }
    UNIT_UINT(filelist_count(s->files), 6);
    UNIT_UINT(s->n_eras, 2);
    UNIT_INT(purge(s, 1, "mysql-bin.000001", &e), 0); /* the oldest one: nothing to do */
    UNIT_TRUE(e.status == 0 && !e.purge);
    UNIT_INT(purge(s, 1, "mysql-bin.000004", &e), 0);
    UNIT_TRUE(e.status == E_CONTRADICTION && !e.purge);
    UNIT_INT(purge(s, 0, "mysql-bin.000002", &e), 0);
    UNIT_TRUE(e.status == E_CONTRADICTION && !e.purge);
    UNIT_INT(purge(s, 1, "mysql-bin.000003", &e), 0);
    UNIT_TRUE(e.status == 0 && e.purge && e.purge_to.era == 1);
    UNIT_UINT(filelist_count(s->files), 4);
    UNIT_UINT(s->n_eras, 2);
    UNIT_INT(purge(s, 1, "mysql-bin.000001", &e), 0); /* gone */
    UNIT_TRUE(e.status == E_CONTRADICTION && !e.purge);
    UNIT_INT(purge(s, 2, "mysql-bin.000003", &e), 0); /* the newest stays */
    UNIT_TRUE(e.status == 0 && e.purge);
    UNIT_UINT(filelist_count(s->files), 1);
    UNIT_UINT(s->n_eras, 1);
    UNIT_UINT(state_era(s)->id, 2);
    UNIT_STR(state_file(s)->name, "mysql-bin.000003");
    UNIT_INT(filelist_before(s->files, 0, &before, NULL), 0);
    UNIT_UINT(gtid_set_count(before), 3);
    gtid_set_free(before);
    buf_init(&bytes, 1 << 20);
    buf_init(&bytes_again, 1 << 20);
    state_encode(s, &bytes);
    struct cur c = cur_of(bytes.data, bytes.len);
    UNIT_REQUIRE(state_decode(&c, &again) == 0);
    state_encode(again, &bytes_again);
    UNIT_TRUE(bytes.len == bytes_again.len && memcmp(bytes.data, bytes_again.data, bytes.len) == 0);
    put_file(&b, 2, "mysql-bin.000004");
    UNIT_INT(apply(again, &b, &e), 0);
    UNIT_INT(e.status, 0);
    UNIT_UINT(filelist_count(again->files), 2);
    buf_free(&bytes);
    buf_free(&bytes_again);
    state_free(again);
    state_free(s);
}

static void users_can_be_dropped(void)
{
    struct state *s = state_new();
    struct state_effect e;
    struct buf b;
    struct entry_user u = {.drop = true, .account = {.name = "repl"}};
    accounts_source_and_settings(s);
    buf_init(&b, ENTRY_MAX);
    entry_put_user(&b, &u);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_TRUE(state_user(s, "repl", "%") == NULL);
    UNIT_UINT(s->n_users, 0);
    state_free(s);
}

static void alarm_entry(struct state *s, enum alarm_verb verb, uint64_t id, uint64_t wall, int want)
{
    struct entry_alarm a = {.verb = verb, .alarm = {.id = id, .kind = ALARM_LOSS_WINDOW, .since = wall, .source = "db1:3306", .from = "u:1-5"}};
    struct state_effect e;
    struct buf b;
    if (verb == ALARM_END) {
        a.alarm.until = wall;
        snprintf(a.alarm.to, sizeof a.alarm.to, "u:1-9");
        snprintf(a.alarm.text, sizeof a.alarm.text, "over");
    }
    buf_init(&b, ENTRY_MAX);
    entry_put_alarm(&b, &a);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_INT(e.status, want);
}

static void alarms_begin_end_and_are_read(void)
{
    struct state *s = state_new(), *again;
    struct buf m;
    alarm_entry(s, ALARM_BEGIN, 0, 1000, 0);
    UNIT_REQUIRE(s->n_alarms == 1 && state_alarm_open(s, ALARM_LOSS_WINDOW));
    UNIT_TRUE(state_alarm_open(s, ALARM_OTHER_CLIENT) == NULL);
    alarm_entry(s, ALARM_BEGIN, 0, 2000, 0); /* another leader saw the same */
    UNIT_UINT(s->n_alarms, 1);
    UNIT_UINT(s->alarms[0].id, 1);
    UNIT_UINT(s->alarms[0].since, 1000);
    alarm_entry(s, ALARM_ACKNOWLEDGE, 1, 0, 0);
    UNIT_TRUE(state_alarm(s, 1)->acknowledged);
    alarm_entry(s, ALARM_END, 1, 5000, 0);
    UNIT_TRUE(!state_alarm(s, 1)->acknowledged); /* how it ended was not read yet */
    UNIT_UINT(state_alarm(s, 1)->until, 5000);
    UNIT_STR(state_alarm(s, 1)->from, "u:1-5");
    UNIT_STR(state_alarm(s, 1)->to, "u:1-9");
    UNIT_STR(state_alarm(s, 1)->text, "over");
    UNIT_TRUE(state_alarm_open(s, ALARM_LOSS_WINDOW) == NULL);
    alarm_entry(s, ALARM_ACKNOWLEDGE, 1, 0, 0);
    UNIT_TRUE(state_alarm(s, 1)->acknowledged);
    alarm_entry(s, ALARM_ACKNOWLEDGE, 7, 0, E_CONTRADICTION);
    alarm_entry(s, ALARM_BEGIN, 0, 6000, 0);
    UNIT_UINT(s->alarms[1].id, 2);
    buf_init(&m, 64 << 20);
    state_encode(s, &m);
    struct cur c = cur_of(m.data, m.len);
    UNIT_REQUIRE(state_decode(&c, &again) == 0);
    UNIT_UINT(again->n_alarms, 2);
    UNIT_UINT(again->last_alarm, 2);
    UNIT_STR(state_alarm(again, 1)->text, "over");
    UNIT_TRUE(state_alarm(again, 1)->acknowledged);
    UNIT_TRUE(state_alarm_open(again, ALARM_LOSS_WINDOW) == state_alarm(again, 2));
    state_free(again);
    for (size_t cut = m.len - 8; cut < m.len; cut++) {
        c = cur_of(m.data, cut);
        UNIT_INT(state_decode(&c, &again), E_MALFORMED);
    }
    buf_free(&m);
    state_free(s);
}

static void alarms_are_bounded(void)
{
    struct state *s = state_new();
    for (uint64_t id = 1; id <= STATE_ALARMS_MAX; id++) {
        alarm_entry(s, ALARM_BEGIN, 0, id, 0);
        alarm_entry(s, ALARM_END, id, id, 0);
    }
    alarm_entry(s, ALARM_ACKNOWLEDGE, 3, 0, 0);
    UNIT_UINT(s->n_alarms, STATE_ALARMS_MAX);
    alarm_entry(s, ALARM_BEGIN, 0, 100, 0); /* the one that was read makes room */
    UNIT_UINT(s->n_alarms, STATE_ALARMS_MAX);
    UNIT_TRUE(!state_alarm(s, 3) && state_alarm(s, 1) && state_alarm(s, STATE_ALARMS_MAX + 1));
    UNIT_UINT(s->dropped_alarms, 0);
    alarm_entry(s, ALARM_END, STATE_ALARMS_MAX + 1, 101, 0);
    alarm_entry(s, ALARM_BEGIN, 0, 102, 0); /* then the oldest, and that is counted */
    UNIT_TRUE(!state_alarm(s, 1) && state_alarm(s, 2));
    UNIT_UINT(s->dropped_alarms, 1);
    UNIT_UINT(s->n_alarms, STATE_ALARMS_MAX);
    state_free(s);
}

/* Entries that were cut or changed: refused or read as something whole, never read beyond their end (the sanitizers look). */
static void hostile_entries(void)
{
    struct rng rng;
    struct buf b;
    unsigned refused = 0;
    rng_init(&rng, unit_seed(), 2);
    put_events(&b, "mysql-bin.000001", 4, 300, 304, 1);
    entry_own(&b, 1, 2, 3);
    for (size_t cut = 0; cut < b.len; cut++) {
        struct state *s = state_new();
        struct state_effect e;
        uint8_t *copy = mem_dup(b.data, cut);
        refused += state_apply(s, 1, copy, cut, &e) < 0;
        mem_free(copy);
        state_free(s);
    }
    UNIT_UINT(refused, b.len);
    for (unsigned i = 0; i < 20000; i++) {
        struct state *s = state_new();
        struct state_effect e;
        uint8_t *copy = mem_dup(b.data, b.len);
        for (unsigned k = 0; k < 3; k++) {
            copy[rng_below(&rng, 80)] = (uint8_t)rng_next(&rng);
        }
        (void)state_apply(s, 1, copy, b.len, &e);
        entry_events_free(&e.events);
        mem_free(copy);
        state_free(s);
    }
    buf_free(&b);
}

static int put_away(struct state *s, const char *keep, struct state_effect *e)
{
    struct entry_reset reset;
    struct buf b;
    snprintf(reset.keep, sizeof reset.keep, "%s", keep);
    buf_init(&b, ENTRY_MAX);
    entry_put_reset(&b, &reset);
    return apply(s, &b, e);
}

static struct state *read_again(struct state *s)
{
    struct state *again = NULL;
    struct buf b;
    buf_init(&b, 1 << 20);
    state_encode(s, &b);
    struct cur c = cur_of(b.data, b.len);
    UNIT_INT(state_decode(&c, &again), 0);
    buf_free(&b);
    state_free(s);
    return again;
}

/* All of the history goes, but not the numbers of its eras; never while a source is followed. */
static void a_history_is_put_away(void)
{
    struct state *s = state_new();
    struct state_effect e;
    struct buf b;
    struct source_settings source = {.host = "db1", .port = 3306, .running = true};
    UNIT_INT(put_away(s, "kept", &e), 0);
    UNIT_TRUE(e.status == E_CONTRADICTION && !e.reset); /* nothing is held */
    UNIT_UINT(state_next_era(s), 1);
    UNIT_INT(begin_file(s, 1, "mysql-bin.000001", FLAVOUR_MYSQL, NULL), 0);
    UNIT_INT(begin_file(s, 2, "mysql-bin.000001", FLAVOUR_MYSQL, ""), 0);
    put_events(&b, "mysql-bin.000001", 4, 100, 104, 1);
    b.data[ENTRY_HEAD] = 2; /* its era */
    UNIT_INT(apply(s, &b, &e), 0);
    buf_init(&b, ENTRY_MAX);
    entry_put_source(&b, &source);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_INT(put_away(s, "kept", &e), 0);
    UNIT_TRUE(e.status == E_CONTRADICTION && !e.reset);
    source.running = false;
    buf_init(&b, ENTRY_MAX);
    entry_put_source(&b, &source);
    UNIT_INT(apply(s, &b, &e), 0);
    UNIT_INT(put_away(s, "../up", &e), 0);
    UNIT_TRUE(e.status == E_CONTRADICTION && !e.reset);
    UNIT_INT(put_away(s, "kept", &e), 0);
    UNIT_TRUE(e.status == 0 && e.reset);
    UNIT_STR(e.reset_to.keep, "kept");
    for (unsigned i = 0; i < 2; i++) {
        UNIT_TRUE(!state_file(s) && !state_era(s) && !s->executed && !s->boundary && !s->anonymous);
        UNIT_STR(s->source.host, "db1");
        UNIT_UINT(state_next_era(s), 3);
        s = read_again(s);
    }
    UNIT_INT(begin_file(s, 2, "mysql-bin.000001", FLAVOUR_MARIADB, NULL), E_CONTRADICTION);
    UNIT_INT(begin_file(s, 3, "mysql-bin.000001", FLAVOUR_MARIADB, NULL), 0); /* of the other flavour, even */
    UNIT_UINT(state_next_era(s), 4);
    UNIT_UINT(filelist_count(s->files), 1);
    state_free(s);
}

UNIT_MAIN("state", UNIT_TEST(txns_read_back), UNIT_TEST(files_grow_and_are_cut), UNIT_TEST(proof_does_not_depend_on_the_cuts),
          UNIT_TEST(contradictions_are_left_out), UNIT_TEST(files_must_continue_the_history),
          UNIT_TEST(a_new_era_continues_what_is_held), UNIT_TEST(a_head_may_lack_what_the_file_before_has), UNIT_TEST(a_mariadb_state_never_goes_back),
          UNIT_TEST(transactions_without_a_gtid_are_remembered),
          UNIT_TEST(manifest_holds_everything), UNIT_TEST(files_are_purged), UNIT_TEST(a_history_is_put_away), UNIT_TEST(users_can_be_dropped), UNIT_TEST(alarms_begin_end_and_are_read),
          UNIT_TEST(alarms_are_bounded), UNIT_TEST(hostile_entries))
