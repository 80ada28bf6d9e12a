/* test_fetch_histories: a log as it may have been written, at random, and its snapshots offered in any order, by two leaders, while the members answer
 * rightly, late, wrongly or not at all: whenever fetch.c says that a snapshot is whole, each of its files that this node lacks stands in fetch/, byte for byte
 * as it was at that snapshot. In the end, with members that are honest, the last one becomes whole.
 *
 * SEED gives other histories. */
#include "raft/fetch.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/sample.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

enum {
    HISTORIES = 360,
    MOMENTS = 24,
    FILES = 6,
    PIECE = MESSAGE_PIECE_MAX,
    FILE_SIZE_MAX = 3 * PIECE,
    POOL = 4 << 20,
    STEPS = 1500,       /* of a history */
    LAST_STEPS = 20000, /* more than it takes to come to the end */
    LEADER = 2,
    OTHER = 3,
    TERM = 7,
    FIRST_INDEX = 100,
    WAITING_MAX = 256,
    STALL_S = 6, /* more than fetch.c waits for anything */
};

struct bytes {
    const uint8_t *data;
    size_t n;
};

struct file {
    uint64_t era;
    char name[32];
    struct bytes committed; /* what is never cut */
};

/* The log at one of its snapshots; its newest file may end in an open transaction, which is cut behind it. */
struct moment {
    struct state *state;
    struct buf manifest, newest;
};

struct question {
    uint64_t peer;
    struct message_fetch q;
};

struct rig {
    uint64_t random, history;
    struct env *loop;
    char *dir;
    struct fetch *fetch;
    struct file files[FILES];
    struct moment moments[MOMENTS];
    size_t n_files, n_moments;
    size_t here, offered;  /* moments: what this node has, what was offered last */
    size_t members[2];     /* what LEADER and OTHER have */
    struct question waiting[WAITING_MAX];
    size_t n_waiting;
    uint64_t fetched, checked; /* indexes: of what is being fetched, of what was whole and looked at */
    bool honest;               /* all members are, now */
    bool wrong;
};

static uint8_t *pool; /* random bytes: those of a file begin anywhere */

static struct {
    unsigned manifests, damaged, wholes, taken, starts;
} counts;

static uint64_t below(struct rig *r, uint64_t n)
{
    return sample_random(&r->random) % n;
}

/* ---- a history --------------------------------------------------------------------------------------------- */

static const uint8_t *random_bytes(struct rig *r)
{
    return pool + below(r, POOL - FILE_SIZE_MAX);
}

/* Few are enough to be more than there was; some are more than a piece, so that a part of them can be there. */
static size_t more_bytes(struct rig *r, size_t there)
{
    size_t n = STORE_MAGIC + below(r, below(r, 3) ? 2 * PIECE : 2000);
    return there + n <= FILE_SIZE_MAX ? n : 0;
}

static struct file *newest_file(struct rig *r)
{
    return &r->files[r->n_files - 1];
}

static void take_list(struct state *s, struct filelist *files)
{
    filelist_unref(s->files);
    s->files = files;
}

static void begin_file(struct rig *r, struct state *s)
{
    const struct file *last = r->n_files ? newest_file(r) : NULL;
    struct file *file = &r->files[r->n_files++];
    size_t size = last ? last->committed.n : 0;
    uint32_t sum = last ? crc32c_of(0, last->committed.data, size) : 0;
    file->era = last ? last->era + !below(r, 8) : 1;
    file->committed = (struct bytes){.data = random_bytes(r), .n = more_bytes(r, 0)};
    bool from_one = last && file->era > last->era && below(r, 2); /* the next source's names are the same, perhaps */
    snprintf(file->name, sizeof file->name, "mysql-bin.%06zu", from_one ? 1 : r->n_files);
    take_list(s, filelist_add(s->files, size, sum, file->era, file->name, NULL));
}

static void purge_some(struct rig *r, struct state *s)
{
    struct errmsg em;
    struct filelist *rest;
    size_t n = filelist_count(s->files);
    if (n > 1 && UNIT_TRUE(filelist_from(s->files, 1 + below(r, n - 1), &rest, &em) == 0)) {
        take_list(s, rest);
    }
}

/* Encodes the state and keeps it. */
static struct moment *add_moment(struct rig *r, struct state *s)
{
    struct moment *m = &r->moments[r->n_moments];
    s->index = FIRST_INDEX + r->n_moments++;
    buf_init(&m->manifest, SNAPSHOT_DATA_MAX);
    buf_init(&m->newest, FILE_SIZE_MAX);
    state_encode(s, &m->manifest);
    struct cur c = cur_of(m->manifest.data, m->manifest.len);
    UNIT_REQUIRE(state_decode(&c, &m->state) == 0);
    return m;
}

static void snapshot_is_taken(struct rig *r, struct state *s)
{
    const struct file *file = newest_file(r);
    const uint8_t *open_transaction = random_bytes(r);
    size_t boundary = file->committed.n, tail = below(r, 4) ? more_bytes(r, boundary) : 0;
    uint32_t sum = crc32c_of(0, file->committed.data, boundary);
    s->file = (struct state_file){.era = file->era, .size = boundary + tail};
    memcpy(s->file.name, file->name, sizeof file->name);
    s->boundary = boundary;
    s->proof.boundary_crc = sum;
    s->proof.all_crc = crc32c_of(sum, open_transaction, tail);
    struct moment *m = add_moment(r, s);
    buf_bytes(&m->newest, file->committed.data, boundary);
    buf_bytes(&m->newest, open_transaction, tail);
}

/* At its first moment there is nothing yet. */
static void make_history(struct rig *r)
{
    struct state *s = state_new();
    (void)add_moment(r, s);
    while (r->n_moments < MOMENTS) {
        unsigned what = (unsigned)below(r, 10);
        if (!r->n_files || (what < 2 && r->n_files < FILES)) {
            begin_file(r, s);
        } else if (what < 7) {
            newest_file(r)->committed.n += more_bytes(r, newest_file(r)->committed.n);
        } else if (what < 8) {
            purge_some(r, s);
        } /* or it has but another tail */
        if (r->n_moments < MOMENTS && below(r, 2)) {
            snapshot_is_taken(r, s);
        }
    }
    state_free(s);
}

/* The file as it was at that moment; false: it was not there. */
static bool file_at(const struct rig *r, const struct moment *m, uint64_t era, const char *name, struct bytes *bytes)
{
    size_t at;
    if (!filelist_find(m->state->files, era, name, &at)) {
        return false;
    }
    if (at + 1 == filelist_count(m->state->files)) {
        *bytes = (struct bytes){.data = m->newest.data, .n = m->newest.len};
        return true;
    }
    for (size_t i = 0; i < r->n_files; i++) {
        if (r->files[i].era == era && !strcmp(r->files[i].name, name)) {
            *bytes = r->files[i].committed;
            return true;
        }
    }
    return false;
}

/* ---- what must be there when it is whole ------------------------------------------------------------------- */

static const struct moment *moment_of(const struct rig *r, uint64_t index)
{
    return &r->moments[index - FIRST_INDEX];
}

/* Of the manifest's files, by what this node has. */
static size_t first_lacking(const struct rig *r, const struct moment *m)
{
    const struct moment *here = &r->moments[r->here];
    const struct state_file *newest = state_file(here->state);
    struct bytes there;
    size_t at;
    if (!newest || !filelist_find(m->state->files, newest->era, newest->name, &at) || !file_at(r, m, newest->era, newest->name, &there)) {
        return 0;
    }
    bool same = there.n == here->newest.len && !memcmp(there.data, here->newest.data, there.n);
    return same ? at + 1 : at;
}

static bool stands_in_fetch(const struct rig *r, const struct moment *m, const struct filelist_file *file)
{
    struct bytes want = {.n = 0};
    struct buf have;
    bool named = file_at(r, m, file->era, file->name, &want);
    bool same = binlog_read(r->loop, &have, "%s/fetch/%llu/%s", r->dir, (unsigned long long)file->era, file->name);
    same = same && named && have.len == want.n && !memcmp(have.data, want.data, want.n);
    if (!same) {
        printf("# history %llu, snapshot %llu: %llu/%s is not what it was: %zu bytes, expected %zu\n", (unsigned long long)r->history,
               (unsigned long long)m->state->index, (unsigned long long)file->era, file->name, have.len, want.n);
    }
    buf_free(&have);
    return same;
}

static void check_whole(struct rig *r, uint64_t index)
{
    const struct moment *m = moment_of(r, index);
    struct filelist_walk walk;
    if (m->state->index <= r->moments[r->here].state->index) {
        return; /* the log has gone on by itself: nobody will want it */
    }
    filelist_walk_begin(&walk, m->state->files, first_lacking(r, m));
    while (filelist_walk_next(&walk)) {
        r->wrong = !stands_in_fetch(r, m, &walk.file) || r->wrong;
    }
}

/* ---- what fetch.c asks ------------------------------------------------------------------------------------- */

static bool send_frame(void *owner, uint64_t peer, struct buf *frame)
{
    struct rig *r = owner;
    enum message_kind kind;
    struct cur body;
    size_t used;
    if (r->n_waiting == WAITING_MAX || (!r->honest && !below(r, 20))) {
        return false;
    }
    if (message_next(frame->data, frame->len, &kind, &body, &used, NULL) == 1 && kind == MESSAGE_FETCH) {
        struct question *question = &r->waiting[r->n_waiting++];
        question->peer = peer;
        r->wrong = message_fetch_get(&body, &question->q) != 0 || r->wrong;
    }
    return true;
}

static size_t peers(void *owner, uint64_t *ids, size_t max)
{
    (void)owner;
    (void)max;
    ids[0] = LEADER;
    ids[1] = OTHER;
    return 2;
}

static const struct state *applied(void *owner)
{
    const struct rig *r = owner;
    return r->moments[r->here].state;
}

static const struct snapshot *own_snapshot(void *owner)
{
    (void)owner;
    return NULL;
}

static void fetching(void *owner, uint64_t leader, uint64_t term)
{
    (void)owner;
    (void)leader;
    (void)term;
}

/* It is told again and again until it is taken. */
static void whole(void *owner)
{
    struct rig *r = owner;
    struct fetch_progress progress = fetch_progress(r->fetch);
    if (r->checked != progress.index) {
        r->checked = progress.index;
        check_whole(r, progress.index);
        counts.wholes++;
    }
}

static const struct fetch_handler handler = {
    .send = send_frame, .peers = peers, .state = applied, .snapshot = own_snapshot, .fetching = fetching, .whole = whole};

/* ---- what the members answer ------------------------------------------------------------------------------- */

/* The first one, mostly. */
static struct question take_question(struct rig *r)
{
    size_t at = below(r, 4) ? 0 : below(r, r->n_waiting);
    struct question question = r->waiting[at];
    memmove(&r->waiting[at], &r->waiting[at + 1], (--r->n_waiting - at) * sizeof question);
    return question;
}

/* What the member answers from: it has come as far as what is fetched, mostly; the newest file of another moment may have another tail. */
static const struct moment *moment_at_member(struct rig *r, const struct question *question)
{
    struct fetch_progress progress = fetch_progress(r->fetch);
    if (question->q.manifest) {
        return moment_of(r, question->q.manifest);
    }
    return progress.active && (r->honest || below(r, 6)) ? moment_of(r, progress.index) : &r->moments[r->members[question->peer - LEADER]];
}

static void come(struct rig *r, const struct question *question, enum piece status, const uint8_t *data, size_t n)
{
    struct message_piece p = {.ticket = question->q.ticket, .status = status, .data = data, .n = n};
    fetch_came(r->fetch, question->peer, &p);
}

static void answer_from(struct rig *r, const struct question *question, const struct bytes *bytes, bool damaged)
{
    const struct message_fetch *q = &question->q;
    if (q->offset + q->n > bytes->n) {
        come(r, question, PIECE_LATER, NULL, 0);
        return;
    }
    uint8_t *piece = mem_dup(bytes->data + q->offset, q->n);
    if (damaged) {
        piece[below(r, q->n)] ^= (uint8_t)(1 << below(r, 8));
        counts.damaged++;
    }
    come(r, question, PIECE_HERE, piece, q->n);
    mem_free(piece);
}

static void answer_one(struct rig *r)
{
    struct question question = take_question(r);
    const struct moment *m = moment_at_member(r, &question);
    struct bytes bytes = {.data = m->manifest.data, .n = m->manifest.len};
    unsigned fate = r->honest ? UINT32_MAX : (unsigned)below(r, 40);
    if (fate == 0) { /* it is lost */
        return;
    }
    if (fate < 4) {
        come(r, &question, below(r, 2) ? PIECE_GONE : PIECE_LATER, NULL, 0);
    } else if (!question.q.manifest && !file_at(r, m, question.q.era, question.q.name, &bytes)) {
        come(r, &question, PIECE_GONE, NULL, 0);
    } else {
        answer_from(r, &question, &bytes, fate < 10);
    }
}

/* ---- what happens ------------------------------------------------------------------------------------------ */

static void offer(struct rig *r, uint64_t leader)
{
    const struct moment *m = &r->moments[r->offered];
    struct raft_message message = {.type = RAFT_IO_INSTALL_SNAPSHOT};
    struct raft_install_snapshot *s = &message.install_snapshot;
    *s = (struct raft_install_snapshot){.term = TERM, .last_index = m->state->index, .last_term = TERM, .conf_index = 1};
    s->data.len = m->manifest.len;
    raft_configuration_init(&s->conf);
    UNIT_INT(raft_configuration_add(&s->conf, LEADER, "a:1/1", RAFT_VOTER), 0);
    r->checked = 0;
    fetch_offered(r->fetch, leader, &message, crc32c_of(0, m->manifest.data, m->manifest.len));
}

static void time_passes(struct rig *r)
{
    for (uint64_t end = env_now(r->loop) + STALL_S * ENV_S; env_now(r->loop) < end;) {
    }
}

/* Newer ones, mostly; the next leader's may be older. */
static void offer_another(struct rig *r)
{
    switch (below(r, 6)) {
    case 0: case 1: case 2: r->offered += below(r, 3); break;
    case 3: r->offered -= below(r, 4) % (r->offered + 1); break;
    case 4: r->offered = below(r, MOMENTS); break;
    default: break; /* the same again */
    }
    r->offered = r->offered < MOMENTS ? r->offered : MOMENTS - 1;
    if (below(r, 2)) { /* nothing has come for long: it takes the place of what is at work */
        time_passes(r);
    }
    if (r->offered > r->here) {
        offer(r, below(r, 2) ? LEADER : OTHER);
    }
}

/* What this node has of its newest file lies where storage has it. */
static void put_own_newest(struct rig *r)
{
    const struct moment *m = &r->moments[r->here];
    struct errmsg em;
    struct env_file *file;
    if (!state_file(m->state)) {
        return;
    }
    char *binlog = mem_printf("%s/binlog", r->dir), *era = mem_printf("%llu", (unsigned long long)m->state->file.era);
    char *path = mem_printf("%s/%s/%s", binlog, era, m->state->file.name);
    UNIT_INT(env_make_dir(r->loop, r->dir, "binlog", &em), 0);
    UNIT_INT(env_make_dir(r->loop, binlog, era, &em), 0);
    UNIT_REQUIRE(env_open(r->loop, path, ENV_WRITE | ENV_CREATE | ENV_TRUNC, &file, &em) == 0);
    UNIT_INT(env_pwrite(file, m->newest.data, m->newest.len, 0, &em), 0);
    env_close(file);
    mem_free(path);
    mem_free(era);
    mem_free(binlog);
}

/* It stays behind the last moment, which is offered in the end. */
static void log_comes_to(struct rig *r, size_t moment)
{
    if (moment > r->here && moment + 1 < MOMENTS) {
        r->here = moment;
        put_own_newest(r);
    }
}

/* By itself: a little, so that what lacked lacks no more, or what was whole has a tail that will be cut; or behind what is being fetched, so that
 * all of it is dropped. */
static void log_goes_on(struct rig *r)
{
    struct fetch_progress progress = fetch_progress(r->fetch);
    bool behind = below(r, 2) && progress.active && progress.index - FIRST_INDEX > r->here;
    log_comes_to(r, (behind ? progress.index - FIRST_INDEX : r->here) + 1 + below(r, 2));
}

static void take(struct rig *r)
{
    struct raft_message m;
    const struct install *install;
    if (!fetch_take(r->fetch, TERM, &m, &install)) {
        return;
    }
    const struct raft_buffer *data = &m.install_snapshot.data;
    const struct moment *taken = moment_of(r, install->index);
    r->wrong = data->len != taken->manifest.len || memcmp(data->base, taken->manifest.data, data->len) != 0 || r->wrong;
    check_whole(r, install->index);
    counts.taken++;
    raft_free(data->base);
    raft_configuration_close(&m.install_snapshot.conf);
    if (below(r, 2)) {
        log_comes_to(r, install->index - FIRST_INDEX);
    }
    fetch_installed(r->fetch);
}

static void fetch_starts(struct rig *r)
{
    struct errmsg em;
    UNIT_REQUIRE(fetch_open(r->loop, r->dir, &handler, r, &r->fetch, &em) == 0);
    r->n_waiting = 0;
    r->checked = 0;
    counts.starts++;
}

static void fetch_ends(struct rig *r)
{
    fetch_close(r->fetch);
    test_env_run(r->loop);
    UNIT_UINT(test_env_open_files(r->loop), 0);
}

static void hold_or_not(struct rig *r)
{
    test_env_hold(r->loop, below(r, 2) ? "fetch" : "fetch-index", below(r, 2));
}

static void members_move(struct rig *r)
{
    r->members[0] = below(r, MOMENTS);
    r->members[1] = below(r, MOMENTS);
}

static void answer_or_work(struct rig *r)
{
    if (r->n_waiting && below(r, 5) < 3) {
        answer_one(r);
    } else {
        (void)test_env_step(r->loop);
    }
}

static void something_happens(struct rig *r)
{
    bool active = fetch_progress(r->fetch).active;
    unsigned what = (unsigned)below(r, 1000);
    if (what < 40 || (!active && what < 200) || (r->checked && what < 150)) {
        offer_another(r);
    } else if (what < 210) {
        answer_or_work(r);
    } else if (what < 220) {
        time_passes(r);
    } else if (what < 224) {
        members_move(r);
    } else if (what < (r->history % 4 ? 226 : 240)) {
        log_goes_on(r);
    } else if (what < 250 && r->checked) {
        take(r);
    } else if (what < 256) {
        r->n_waiting = 0; /* a connection takes with it what was asked for */
    } else if (what < 262) {
        hold_or_not(r);
    } else if (what < 264) {
        fetch_ends(r);
        fetch_starts(r);
    } else {
        answer_or_work(r);
    }
}

static void count_manifests(struct rig *r)
{
    uint64_t index = fetch_progress(r->fetch).index;
    counts.manifests += index && index != r->fetched;
    r->fetched = index;
}

static void last_one_becomes_whole(struct rig *r)
{
    test_env_hold(r->loop, "fetch", false);
    test_env_hold(r->loop, "fetch-index", false);
    r->honest = true;
    r->offered = MOMENTS - 1;
    offer(r, LEADER);
    time_passes(r);
    for (unsigned i = 0; i < LAST_STEPS && r->checked != FIRST_INDEX + MOMENTS - 1; i++) {
        answer_or_work(r);
    }
    UNIT_UINT(r->checked, FIRST_INDEX + MOMENTS - 1);
    take(r);
}

/* ---- */

static void rig_open(struct rig *r, char *dir, uint64_t history)
{
    *r = (struct rig){.random = history, .history = history, .loop = test_env_new(history), .dir = dir};
    make_history(r);
    r->here = below(r, 2) ? below(r, MOMENTS / 2) : 0;
    r->offered = r->here;
    put_own_newest(r);
    members_move(r);
    fetch_starts(r);
}

static void rig_close(struct rig *r)
{
    fetch_ends(r);
    for (size_t i = 0; i < r->n_moments; i++) {
        state_free(r->moments[i].state);
        buf_free(&r->moments[i].manifest);
        buf_free(&r->moments[i].newest);
    }
    test_env_free(r->loop);
}

static bool one_history(char *dir, uint64_t history)
{
    static struct rig r;
    rig_open(&r, dir, history);
    for (unsigned i = 0; i < STEPS && !r.wrong; i++) {
        something_happens(&r);
        count_manifests(&r);
    }
    last_one_becomes_whole(&r);
    rig_close(&r);
    return !r.wrong;
}

static void what_is_whole_is_what_it_was(void)
{
    uint64_t random = unit_seed(), first = unit_seed() * HISTORIES;
    char *dir = binlog_dir("histories");
    bool right = true;
    pool = mem_array(POOL, 1);
    for (size_t i = 0; i < POOL; i += 8) {
        uint64_t bytes = sample_random(&random);
        memcpy(pool + i, &bytes, 8);
    }
    for (uint64_t i = 0; i < HISTORIES && right; i++) {
        right = UNIT_TRUE(one_history(dir, first + i));
    }
    printf("# %u manifests, %u damaged pieces, %u wholes, %u of them taken, %u starts\n", counts.manifests, counts.damaged, counts.wholes, counts.taken,
           counts.starts);
    UNIT_TRUE(!right || (counts.manifests > 5 * HISTORIES && counts.damaged > 2 * HISTORIES && counts.wholes > 2 * HISTORIES));
    mem_free(pool);
    mem_free(dir);
}

UNIT_MAIN("fetch_histories", UNIT_TEST(what_is_whole_is_what_it_was))
