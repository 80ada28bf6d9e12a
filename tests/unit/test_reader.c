/* test_reader.c: what readers show of the sample files: from any start, only what is whole, only what is
 * missing. */
#include "storage/reader.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "storage/store.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- a store with a subscriber ------------------------------------------------------------------------- */

enum { FILES_MAX = 8 };

struct fix {
    struct env *loop, *worker;
    char *dir;
    struct store *store;
    struct store_sub sub;
    uint64_t index;
    struct binlog *files[FILES_MAX];
    size_t n_files;
    unsigned changes;
    bool left;
};

static void changed(struct store_sub *sub)
{
    ((struct fix *)sub->owner)->changes++;
}

static void gone(struct store_sub *sub)
{
    ((struct fix *)sub->owner)->left = true;
}

static void open_fix(struct fix *f, const char *name)
{
    *f = (struct fix){.loop = test_env_new(unit_seed())};
    f->worker = test_env_worker(f->loop, "serve0");
    f->dir = binlog_dir(name);
    f->store = binlog_store(f->loop, f->dir);
    f->sub.owner = f;
    store_subscribe(f->store, &f->sub, f->worker, changed);
    test_env_run(f->loop);
}

static void close_fix(struct fix *f)
{
    store_unsubscribe(&f->sub, gone);
    test_env_run(f->loop);
    UNIT_TRUE(f->left);
    binlog_store_close(f->loop, f->store);
    UNIT_UINT(test_env_open_files(f->loop), 0);
    for (size_t i = 0; i < f->n_files; i++) {
        binlog_free(f->files[i]);
    }
    mem_free(f->dir);
    test_env_free(f->loop);
}

static struct binlog *load(struct fix *f, const char *dir, const char *name)
{
    struct binlog *b = binlog_load(dir, name);
    UNIT_REQUIRE(b != NULL && f->n_files < FILES_MAX);
    f->files[f->n_files++] = b;
    return b;
}

/* `n` files of a sample directory, whole, as era 1. */
static void fill(struct fix *f, const char *dir, unsigned first, unsigned n)
{
    for (unsigned i = first; i < first + n; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i);
        binlog_put(f->store, load(f, dir, name), 1, 3000, &f->index);
    }
    test_env_run(f->loop);
}

/* ---- what is expected ---------------------------------------------------------------------------------- */

/* Reads to the watermark and compares with the events of the files from (file, event) on that `wanted`
 * accepts. */
struct expect {
    struct fix *f;
    size_t file, event;
    bool (*wanted)(void *arg, size_t file, const struct binlog_event *event);
    void *arg;
    unsigned shown, left_out, marks; /* marks: events that said that some were left out before them */
};

static bool all(void *arg, size_t file, const struct binlog_event *event)
{
    (void)arg;
    (void)file;
    return event->end > 0;
}

static const struct binlog_event *next_expected(struct expect *e, const struct binlog **b)
{
    for (; e->file < e->f->n_files; e->file++, e->event = 0) {
        *b = e->f->files[e->file];
        for (; e->event < (*b)->n_events; e->event++) {
            const struct binlog_event *event = &(*b)->events[e->event];
            if (e->wanted(e->arg, e->file, event)) {
                e->event++;
                return event;
            }
            e->left_out++;
        }
    }
    return NULL;
}

static bool same_event(const struct reader_event *got, const struct binlog *b,
                       const struct binlog_event *want)
{
    return got->start == want->start && got->end == want->end && got->n == want->end - want->start &&
           memcmp(got->bytes, b->bytes + want->start, got->n) == 0 && strcmp(got->file, b->name) == 0 &&
           got->type == want->type && got->ends_transaction == want->ends_txn;
}

/* The next event; where it comes in pieces, put together. */
static struct {
    size_t size, piece; /* larger ones are cut into pieces; 0: none */
    unsigned cut;       /* so many were */
    struct buf event;
} cuts;

static void cut_from(size_t size, size_t piece)
{
    buf_free(&cuts.event);
    buf_init(&cuts.event, 64 << 20);
    cuts.size = size;
    cuts.piece = piece;
    cuts.cut = 0;
}

static int next_whole(struct reader *r, struct reader_event *ev, struct errmsg *em)
{
    const uint8_t *bytes;
    size_t n;
    reader_cut_large(r, cuts.size);
    int rv = reader_next(r, ev, em);
    if (rv != 1 || !ev->in_pieces) {
        return rv;
    }
    buf_reset(&cuts.event);
    while (rv == 1 && cuts.event.len < ev->n) {
        rv = reader_more(r, cuts.piece, &bytes, &n, em);
        UNIT_REQUIRE(rv || (n > 0 && n <= cuts.piece));
        buf_bytes(&cuts.event, bytes, n);
        rv = rv ? rv : 1;
    }
    ev->bytes = cuts.event.data;
    cuts.cut++;
    return rv;
}

static bool reads_as_expected(struct reader *r, struct expect *e)
{
    struct reader_event ev;
    struct errmsg em = {""};
    const struct binlog *b = NULL, *last = NULL;
    int rv;
    while ((rv = next_whole(r, &ev, &em)) == 1) {
        unsigned before = e->left_out;
        const struct binlog_event *want = next_expected(e, &b);
        if (!want || !same_event(&ev, b, want)) {
            fprintf(stderr, "got %s %llu, expected %s %llu\n", ev.file, (unsigned long long)ev.start,
                    b ? b->name : "-", (unsigned long long)(want ? want->start : 0));
            return false;
        }
        if (ev.new_file != (b != last) || ev.skipped != (e->left_out != before) ||
            (ev.skipped && strcmp(ev.skipped_file, ev.file) == 0 && ev.skipped_end != ev.start)) {
            fprintf(stderr, "wrong marks at %s %llu\n", ev.file, (unsigned long long)ev.start);
            return false;
        }
        e->marks += ev.skipped;
        last = b;
        e->shown++;
    }
    if (rv < 0) {
        fprintf(stderr, "reader: %s\n", em.text);
    }
    return rv == 0 && next_expected(e, &b) == NULL;
}

/* ---- by position --------------------------------------------------------------------------------------- */

static void reads_all_files_of_all_servers(void)
{
    static const struct {
        const char *dir;
        unsigned first, n;
    } runs[] = {{"mysql-9.7-all-events", 1, 5},     {"mysql-9.7-all-events", 11, 3},
                {"mysql-5.6-all-events", 1, 2},     {"mysql-5.6-all-events", 4, 2},
                {"mariadb-10.11-all-events", 1, 2}, {"mariadb-10.11-all-events", 4, 3},
                {"mariadb-11.8-all-events", 1, 2}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct fix f;
        struct reader *r;
        char name[32];
        snprintf(name, sizeof name, "all%zu", i);
        open_fix(&f, name);
        fill(&f, runs[i].dir, runs[i].first, runs[i].n);
        for (size_t piece = 3; piece < 40; piece = piece * 2 + 1) { /* whole, then in smaller and larger pieces */
            cut_from(piece > 3 ? 30 : 0, piece);
            struct expect e = {.f = &f, .wanted = all};
            UNIT_REQUIRE(reader_open_position(&f.sub, 0, NULL, 4, &r, NULL) == 0);
            UNIT_TRUE(reads_as_expected(r, &e));
            UNIT_TRUE(e.shown > 10);
            UNIT_TRUE((cuts.cut > 0) == (piece > 3));
            reader_close(r);
        }
        cut_from(0, 0);
        close_fix(&f);
    }
}

static void any_event_is_a_start(void)
{
    struct fix f;
    struct errmsg em;
    open_fix(&f, "anyevent");
    fill(&f, "mysql-9.7-all-events", 3, 2);
    const struct binlog *b = f.files[0];
    bool right = true, refused = true;
    for (size_t i = 0; i < b->n_events; i++) {
        struct reader *r = NULL;
        struct expect e = {.f = &f, .event = i, .wanted = all};
        const uint8_t *fde;
        size_t n;
        uint64_t era, at;
        const char *file;
        right = right && reader_open_position(&f.sub, 1, b->name, b->events[i].start, &r, &em) == 0;
        UNIT_REQUIRE(right);
        reader_where(r, &era, &file, &at);
        right = right && era == 1 && strcmp(file, b->name) == 0 && at == b->events[i].start;
        right = right && (i == 0 || (reader_format(r, &fde, &n) && n == b->events[0].end - 4 &&
                                     memcmp(fde, b->bytes + 4, n) == 0));
        right = right && reads_as_expected(r, &e);
        reader_close(r);
        refused = refused && reader_open_position(&f.sub, 1, b->name, b->events[i].start + 1, &r, &em) ==
                                 READER_BAD_POSITION;
        refused = refused && !r;
    }
    UNIT_TRUE(right);
    UNIT_TRUE(refused);
    close_fix(&f);
}

static void wrong_starts_are_told_apart(void)
{
    struct fix f;
    struct reader *r;
    struct errmsg em;
    open_fix(&f, "wrong");
    UNIT_INT(reader_open_position(&f.sub, 0, "", 4, &r, &em), READER_NOT_YET);
    fill(&f, "mysql-9.7-all-events", 1, 2);
    UNIT_INT(reader_open_position(&f.sub, 0, "mysql-bin.000003", 4, &r, &em), READER_UNKNOWN_FILE);
    UNIT_INT(reader_open_position(&f.sub, 2, "mysql-bin.000001", 4, &r, &em), READER_UNKNOWN_FILE);
    UNIT_INT(reader_open_position(&f.sub, 0, "mysql-bin.000001", 3, &r, &em), READER_BAD_POSITION);
    UNIT_INT(reader_open_position(&f.sub, 0, "mysql-bin.000001", f.files[0]->n + 1, &r, &em), READER_BEYOND);
    UNIT_INT(reader_open_position(&f.sub, 0, "mysql-bin.000002", f.files[1]->n + 1, &r, &em), READER_BEYOND);
    UNIT_TRUE(strstr(em.text, "mysql-bin.000002") != NULL);
    struct expect e = {.f = &f, .file = 1, .wanted = all};
    UNIT_REQUIRE(reader_open_position(&f.sub, 0, "mysql-bin.000001", f.files[0]->n, &r, &em) == 0);
    UNIT_TRUE(reads_as_expected(r, &e)); /* the end of one file is the beginning of the next */
    reader_close(r);
    close_fix(&f);
}

static void nothing_is_shown_before_it_is_whole(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct reader_event ev;
    open_fix(&f, "whole");
    const struct binlog *b = load(&f, "mysql-9.7-all-events", "mysql-bin.000001");
    bool right = true;
    size_t shown = 0;
    store_file(f.store, ++f.index, 0, 1, b->name, b->state_before);
    test_env_run(f.loop);
    UNIT_REQUIRE(reader_open_position(&f.sub, 0, b->name, 4, &r, NULL) == 0);
    UNIT_INT(reader_next(r, &ev, NULL), 0);
    for (uint64_t at = 4; at < b->n;) {
        uint64_t n = b->n - at < 97 ? b->n - at : 97;
        uint64_t boundary = binlog_boundary(b, at + n);
        unsigned before = f.changes;
        bool moves = boundary > binlog_boundary(b, at);
        store_write(f.store, ++f.index, at, b->bytes + at, n, boundary, NULL, NULL);
        at += n;
        test_env_run(f.loop);
        right = right && (f.changes > before) == moves;
        while (reader_next(r, &ev, NULL) == 1) {
            right =
                right && shown < b->n_events && same_event(&ev, b, &b->events[shown]) && ev.end <= boundary;
            shown++;
        }
        right = right && (shown == 0 ? boundary == 4 : b->events[shown - 1].end == boundary);
    }
    UNIT_TRUE(right);
    UNIT_UINT(shown, b->n_events);
    reader_close(r);
    close_fix(&f);
}

static void readers_follow_a_growing_log(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct reader_event ev;
    size_t shown = 0, file = 0;
    bool right = true;
    open_fix(&f, "growing");
    for (unsigned i = 1; i <= 2; i++) { /* all jobs at once, the reader runs whenever something changed */
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i);
        binlog_put(f.store, load(&f, "mariadb-11.8-all-events", name), 1, 111, &f.index);
    }
    unsigned seen = f.changes;
    while (test_env_step(f.loop)) {
        if (f.changes == seen) {
            continue;
        }
        seen = f.changes;
        if (!r) {
            UNIT_REQUIRE(reader_open_position(&f.sub, 0, "", 4, &r, NULL) == 0);
        }
        while (reader_next(r, &ev, NULL) == 1) {
            if (shown == f.files[file]->n_events) {
                file++;
                shown = 0;
            }
            right = right && same_event(&ev, f.files[file], &f.files[file]->events[shown]);
            shown++;
        }
    }
    UNIT_TRUE(right);
    UNIT_UINT(file, 1);
    UNIT_UINT(shown, f.files[1]->n_events);
    reader_close(r);
    close_fix(&f);
}

/* ---- by GTID ------------------------------------------------------------------------------------------- */

/* The replica has the first `n` transactions of the files. */
struct first_n {
    size_t n;
    const struct binlog_event **ends; /* of all transactions, in order */
    size_t n_ends;
    struct fix *f;
};

static bool missing(void *arg, size_t file, const struct binlog_event *event)
{
    const struct first_n *p = arg;
    if (!event->in_txn || !event->has_gtid) {
        return true;
    }
    for (size_t i = 0; i < p->n; i++) {
        const struct binlog *b = p->f->files[file];
        if (gtid_equal(&p->ends[i]->gtid, &event->gtid) && p->ends[i] >= b->events &&
            p->ends[i] < b->events + b->n_events) {
            return false;
        }
    }
    return true;
}

static void collect(struct fix *f, struct first_n *p)
{
    *p = (struct first_n){.f = f};
    for (size_t i = 0; i < f->n_files; i++) {
        for (size_t k = 0; k < f->files[i]->n_events; k++) {
            if (f->files[i]->events[k].ends_txn && f->files[i]->events[k].has_gtid) {
                p->ends = mem_grow(p->ends, p->n_ends + 1, sizeof *p->ends);
                p->ends[p->n_ends++] = &f->files[i]->events[k];
            }
        }
    }
}

/* What a replica with all of `state` sends: a MariaDB position has only the newest of each domain. */
static struct gtid_set *sent(const struct gtid_set *state)
{
    struct buf text;
    struct gtid_set *set = gtid_set_new(gtid_set_flavour(state));
    buf_init(&text, 1 << 20);
    gtid_set_print_position(state, &text);
    UNIT_INT(gtid_set_parse(set, buf_cstr(&text), text.len, NULL), 0);
    buf_free(&text);
    return set;
}

/* From every transaction on: the start file is the newest that is early enough, and exactly what is missing
 * comes. */
static void starts_everywhere(const char *name, const char *dir, unsigned first, unsigned n_files)
{
    struct fix f;
    struct first_n p;
    open_fix(&f, name);
    fill(&f, dir, first, n_files);
    collect(&f, &p);
    struct gtid_set *state = gtid_set_copy(f.files[0]->state_before);
    bool right = true;
    unsigned marks = 0;
    for (p.n = 0; p.n <= p.n_ends && right; p.n++) {
        struct reader *r = NULL;
        if (p.n > 0) {
            UNIT_INT(gtid_set_add(state, &p.ends[p.n - 1]->gtid), 0);
        }
        struct gtid_set *have = sent(state);
        struct expect e = {.f = &f, .wanted = missing, .arg = &p};
        while (e.file + 1 < f.n_files && gtid_set_subset(f.files[e.file + 1]->state_before, state)) {
            e.file++;
        }
        right = right && reader_open_gtid(&f.sub, have, &r, NULL) == 0;
        UNIT_REQUIRE(right);
        right = right && reads_as_expected(r, &e);
        if (!right) {
            fprintf(stderr, "%s: with the first %zu of %zu transactions\n", dir, p.n, p.n_ends);
        }
        marks += e.marks;
        reader_close(r);
        gtid_set_free(have);
    }
    UNIT_TRUE(right);
    UNIT_TRUE(p.n_ends > 20 && marks > 10);
    gtid_set_free(state);
    mem_free(p.ends);
    close_fix(&f);
}

static void gtid_start_at_each_transaction_of_mysql_9_7(void)
{
    starts_everywhere("gtid97", "mysql-9.7-all-events", 1, 4);
}

static void gtid_start_at_each_transaction_of_mysql_5_6(void)
{
    starts_everywhere("gtid56", "mysql-5.6-all-events", 1, 2);
}

static void gtid_start_at_each_transaction_of_mariadb_10_11(void)
{
    starts_everywhere("gtid1011", "mariadb-10.11-all-events", 1, 2);
}

static void gtid_start_at_each_transaction_of_mariadb_11_8(void)
{
    starts_everywhere("gtid118", "mariadb-11.8-all-events", 1, 2);
}

static struct gtid_set *set_of(enum flavour flavour, const char *text)
{
    struct gtid_set *set = gtid_set_new(flavour);
    UNIT_INT(gtid_set_parse(set, text, strlen(text), NULL), 0);
    return set;
}

static void purged_transactions_are_missed(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct errmsg em;
    struct gtid_set *empty = gtid_set_new(FLAVOUR_MYSQL);
    open_fix(&f, "purged");
    UNIT_INT(reader_open_gtid(&f.sub, empty, &r, &em), READER_NOT_YET);
    fill(&f, "mysql-9.7-all-events", 2, 1);
    UNIT_INT(reader_open_gtid(&f.sub, empty, &r, &em), READER_PURGED);
    UNIT_TRUE(r == NULL && strstr(em.text, "mysql-bin.000002") != NULL);
    UNIT_INT(reader_open_gtid(&f.sub, f.files[0]->state_before, &r, &em), 0);
    reader_close(r);
    gtid_set_free(empty);
    close_fix(&f);

    struct fix g;
    struct gtid_set *old = set_of(FLAVOUR_MARIADB, "0-999-1");
    open_fix(&g, "purged-mariadb");
    fill(&g, "mariadb-10.11-all-events", 2, 1);
    struct gtid_set *nothing = gtid_set_new(FLAVOUR_MARIADB);
    UNIT_INT(reader_open_gtid(&g.sub, nothing, &r, &em),
             READER_PURGED); /* domains that stood in files before */
    UNIT_INT(reader_open_gtid(&g.sub, old, &r, &em), READER_PURGED);
    gtid_set_free(nothing);
    gtid_set_free(old);
    close_fix(&g);
}

/* A replica that has all is told so: everything was left out, and where that ended. */
static void a_level_replica_gets_no_transaction(void)
{
    struct fix f;
    struct first_n p;
    struct reader *r = NULL;
    struct reader_event ev;
    const char *file;
    uint64_t end;
    unsigned shown = 0;
    open_fix(&f, "level");
    fill(&f, "mysql-9.7-all-events", 4, 1);
    collect(&f, &p);
    struct gtid_set *have = gtid_set_copy(f.files[0]->state_before);
    for (size_t i = 0; i < p.n_ends; i++) {
        UNIT_INT(gtid_set_add(have, &p.ends[i]->gtid), 0);
    }
    UNIT_INT(reader_open_gtid(&f.sub, have, &r, NULL), 0);
    bool right = true;
    while (reader_next(r, &ev, NULL) == 1) {
        shown++;
        right = right && !ev.ends_transaction && !event_is_gtid(ev.type);
    }
    const struct binlog_event *last = &f.files[0]->events[f.files[0]->n_events - 1];
    UNIT_TRUE(right && shown >= 2);
    UNIT_TRUE(reader_take_skipped(r, &file, &end) ==
              last->in_txn); /* else the ROTATE at the end has said it */
    UNIT_TRUE(!reader_take_skipped(r, &file, &end));
    reader_close(r);
    gtid_set_free(have);
    mem_free(p.ends);
    close_fix(&f);
}

/* By position: all that the new source's first file brings was held before, so there is nothing to go on with; its second file is new,
 * whole. Then a third one with what was held stands behind it, and is passed over. */
static void goes_on_with_what_is_new(struct fix *f, const struct reader *ended, struct binlog *again, const char *dir)
{
    struct reader *r = NULL;
    struct reader_event ev;
    struct errmsg em;
    uint64_t era, at;
    const char *name;
    unsigned gtids = 0, want = 0;
    int rv;
    UNIT_INT(reader_open_next_era(ended, &r, &em), 0);
    UNIT_INT(reader_find_new(r, &em), 0);
    struct binlog *more = load(f, dir, "mysql-bin.000002");
    binlog_put(f->store, more, 2, 4000, &f->index);
    snprintf(again->name, sizeof again->name, "mysql-bin.000009");
    binlog_put(f->store, again, 2, 4000, &f->index);
    test_env_run(f->loop);
    UNIT_INT(reader_find_new(r, &em), 1);
    reader_where(r, &era, &name, &at);
    UNIT_UINT(era, 2);
    UNIT_STR(name, "mysql-bin.000002");
    for (size_t i = 0; i < more->n_events; i++) {
        want += event_is_gtid(more->events[i].type);
    }
    UNIT_TRUE(want > 0);
    while ((rv = reader_next(r, &ev, &em)) == 1) {
        UNIT_UINT(gtids == 0 ? at : ev.start, ev.start);
        gtids += event_is_gtid(ev.type);
    }
    UNIT_INT(rv, 0);
    UNIT_UINT(gtids, want);
    reader_close(r);
}

/* The new source's file brings again what stood in the old era; a GTID reader sees each transaction once. */
static void a_new_era_repeats_nothing(void)
{
    static const struct {
        const char *dir;
        enum flavour flavour;
    } kinds[] = {{"mysql-9.7-all-events", FLAVOUR_MYSQL}, {"mariadb-10.11-all-events", FLAVOUR_MARIADB}};
    for (size_t i = 0; i < 2; i++) {
        struct fix f;
        struct first_n p;
        struct reader *r = NULL;
        struct reader_event ev;
        struct errmsg em;
        unsigned ends = 0, files = 0;
        open_fix(&f, i ? "era-mariadb" : "era-mysql");
        fill(&f, kinds[i].dir, 1, 1);
        collect(&f, &p);
        struct gtid_set *state = gtid_set_copy(f.files[0]->state_before);
        for (size_t k = 0; k < f.files[0]->n_events; k++) {
            const struct binlog_event *e = &f.files[0]->events[k];
            if (e->ends_txn && e->has_gtid) {
                UNIT_INT(gtid_set_add(state, &e->gtid), 0);
            }
        }
        struct binlog *again = load(&f, kinds[i].dir, "mysql-bin.000001");
        struct gtid_set *own = again->state_before; /* the log's state, not what the file says itself */
        again->state_before = state;
        binlog_put(f.store, again, 2, 4000, &f.index);
        again->state_before = own;
        test_env_run(f.loop);
        struct gtid_set *nothing = gtid_set_new(kinds[i].flavour);
        UNIT_INT(reader_open_gtid(&f.sub, nothing, &r, &em), 0);
        uint64_t era = 0;
        int rv;
        while ((rv = reader_next(r, &ev, &em)) == 1) {
            files += ev.new_file;
            ends += ev.ends_transaction;
            era = ev.era;
        }
        UNIT_INT(rv, 0);
        UNIT_UINT(files, 2);
        UNIT_UINT(era, 2);
        UNIT_UINT(ends, p.n_ends);
        reader_close(r);
        UNIT_INT(reader_open_position(&f.sub, 1, "mysql-bin.000001", f.files[0]->n, &r, &em), 0);
        UNIT_INT(reader_next(r, &ev, &em), READER_ERA_END);
        goes_on_with_what_is_new(&f, r, again, kinds[i].dir);
        reader_close(r);
        gtid_set_free(nothing);
        gtid_set_free(state);
        mem_free(p.ends);
        close_fix(&f);
    }
}

/* ---- damage -------------------------------------------------------------------------------------------- */

static void flip(const char *path, uint64_t at)
{
    FILE *file = fopen(path, "r+b");
    UNIT_REQUIRE(file != NULL);
    fseek(file, (long)at, SEEK_SET);
    int c = fgetc(file);
    fseek(file, (long)at, SEEK_SET);
    fputc(c ^ 0x10, file);
    fclose(file);
}

/* Every byte in turn: what is shown is right, and the damaged event is never shown. */
static void look_at_flips(const char *name)
{
    struct fix f;
    struct errmsg em;
    open_fix(&f, name);
    fill(&f, "mysql-9.7-all-events", 2, 1);
    const struct binlog *b = f.files[0];
    char *path = mem_printf("%s/binlog/1/%s", f.dir, b->name);
    bool right = true, told = true;
    for (uint64_t at = 4; at < b->n && right; at += 3) {
        struct reader *r = NULL;
        struct reader_event ev;
        size_t shown = 0;
        int rv;
        flip(path, at);
        UNIT_REQUIRE(reader_open_position(&f.sub, 0, b->name, 4, &r, &em) == 0);
        while ((rv = next_whole(r, &ev, &em)) == 1) {
            right = right && same_event(&ev, b, &b->events[shown]) && ev.end <= at;
            shown++;
        }
        told = told && rv == READER_CORRUPT && strstr(em.text, path);
        right = right && rv < 0 && b->events[shown].start <= at && b->events[shown].end > at;
        if (!right || !told) {
            fprintf(stderr, "bit at %llu: %d %s\n", (unsigned long long)at, rv, em.text);
        }
        reader_close(r);
        flip(path, at);
    }
    UNIT_TRUE(right);
    UNIT_TRUE(told);
    mem_free(path);
    close_fix(&f);
}

static void a_flipped_bit_is_never_shown(void)
{
    look_at_flips("flip");
}

/* ... whole: the last piece does not come. */
static void a_flipped_bit_in_pieces_neither(void)
{
    cut_from(30, 17);
    look_at_flips("flippieces");
    UNIT_TRUE(cuts.cut > 10);
    cut_from(0, 0);
}

static void a_short_file_is_told(void)
{
    struct fix f;
    struct errmsg em;
    struct reader *r = NULL;
    struct reader_event ev;
    open_fix(&f, "short");
    fill(&f, "mysql-9.7-all-events", 2, 1);
    const struct binlog *b = f.files[0];
    char *path = mem_printf("%s/binlog/1/%s", f.dir, b->name);
    UNIT_REQUIRE(truncate(path, (off_t)b->n - 7) == 0);
    UNIT_REQUIRE(reader_open_position(&f.sub, 0, b->name, 4, &r, &em) == 0);
    int rv = reader_next(r, &ev, &em);
    while (rv == 1) {
        rv = reader_next(r, &ev, &em);
    }
    UNIT_INT(rv, READER_CORRUPT);
    UNIT_TRUE(strstr(em.text, "the file ends before") != NULL);
    reader_close(r);
    UNIT_REQUIRE(unlink(path) == 0);
    UNIT_INT(reader_open_position(&f.sub, 0, b->name, 4, &r, &em), READER_CORRUPT);
    mem_free(path);
    close_fix(&f);
}

/* ---- large events -------------------------------------------------------------------------------------- */

static void put_event(struct buf *out, uint8_t type, const void *body, size_t n)
{
    size_t at = out->len;
    buf_u32(out, 1);
    buf_u8(out, type);
    buf_u32(out, 1);
    buf_u32(out, (uint32_t)(n + 23));
    buf_u32(out, (uint32_t)(at + n + 23));
    buf_u16(out, 0);
    buf_bytes(out, body, n);
    buf_u32(out, 0);
    event_crc_set(out->data + at, n + 23);
}

/* Events larger than the window, and small ones after them. */
static void large_events_pass(void)
{
    struct fix f;
    struct reader *r = NULL;
    struct reader_event ev;
    struct buf file;
    struct errmsg em;
    static uint8_t body[9 << 20];
    static const size_t sizes[] = {9 << 20, 20, 300000, 262144, 262121, 262120, 100, 5 << 20, 200, 19};
    enum { QUERY_FIXED = 14 };
    open_fix(&f, "large");
    struct binlog *b = binlog_load("mysql-5.6-all-events", "mysql-bin.000001");
    buf_init(&file, 64 << 20);
    buf_bytes(&file, b->bytes, b->events[1].end);
    for (size_t i = QUERY_FIXED; i < sizeof body;
         i++) { /* before: no database, no status: a QUERY of its own */
        body[i] = (uint8_t)(i * 2654435761u >> 24);
    }
    uint64_t ends[16], n_sizes = sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < n_sizes; i++) {
        put_event(&file, EVENT_QUERY, body, sizes[i]);
        ends[i] = file.len;
    }
    store_file(f.store, 1, 0, 1, b->name, NULL);
    store_write(f.store, 2, 4, file.data + 4, file.len - 4, file.len, NULL, NULL);
    test_env_run(f.loop);
    for (unsigned i = 0; i < 3; i++) { /* whole; in pieces; in pieces of which nobody wants some */
        UNIT_INT(reader_open_position(&f.sub, 0, "", b->events[1].end, &r, &em), 0);
        size_t shown = 0;
        bool right = true;
        int rv = 1;
        cut_from(i > 0 ? 262144 : 0, 100000);
        while (rv == 1) {
            bool dropped = i == 2 && shown % 2;
            rv = dropped ? reader_next(r, &ev, &em) : next_whole(r, &ev, &em);
            right = right && (rv != 1 || (shown < n_sizes && ev.end == ends[shown]));
            right = right && (rv != 1 || !memcmp(ev.bytes, file.data + ev.start, dropped ? 19 : ev.n));
            shown += rv == 1;
        }
        if (rv) {
            fprintf(stderr, "%s\n", em.text);
        }
        UNIT_TRUE(right);
        UNIT_UINT(shown, n_sizes);
        UNIT_UINT(cuts.cut, i == 0 ? 0 : i == 1 ? 4 : 2);
        reader_close(r);
    }
    cut_from(0, 0);
    buf_free(&file);
    binlog_free(b);
    close_fix(&f);
}

UNIT_MAIN("reader", UNIT_TEST(reads_all_files_of_all_servers), UNIT_TEST(any_event_is_a_start),
          UNIT_TEST(wrong_starts_are_told_apart), UNIT_TEST(nothing_is_shown_before_it_is_whole),
          UNIT_TEST(readers_follow_a_growing_log), UNIT_TEST(gtid_start_at_each_transaction_of_mysql_9_7),
          UNIT_TEST(gtid_start_at_each_transaction_of_mysql_5_6),
          UNIT_TEST(gtid_start_at_each_transaction_of_mariadb_10_11),
          UNIT_TEST(gtid_start_at_each_transaction_of_mariadb_11_8),
          UNIT_TEST(purged_transactions_are_missed), UNIT_TEST(a_level_replica_gets_no_transaction),
          UNIT_TEST(a_new_era_repeats_nothing), UNIT_TEST(a_flipped_bit_is_never_shown), UNIT_TEST(a_flipped_bit_in_pieces_neither),
          UNIT_TEST(a_short_file_is_told), UNIT_TEST(large_events_pass))
