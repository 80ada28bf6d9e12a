/* test_fetch: files that other members have: whatever comes in place of a piece, only what the manifest says is taken, and it comes to an end
 * as long as one member has it right; what others ask for costs no more than it may, and one that reads no more holds up nobody else. */
#include "raft/fetch.h"
#include "raft/fetch_index.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES = 2, PIECES = 4, LEADER = 2, OTHER = 3, TERM = 7, INDEX = 100, WAITING_MAX = 64, STEPS = 200000 };

struct question {
    uint64_t peer;
    struct message_fetch q;
};

struct rig {
    struct env *loop;
    char *dir;
    struct fetch *fetch;
    struct state *here, *there; /* what this node has, what the leader offers */
    struct buf manifest, files[FILES];
    struct question waiting[WAITING_MAX];
    size_t n_waiting, most, sent;
    bool deaf; /* no connection takes anything */
    bool whole;
    uint64_t fetching, stalled;
};

/* ---- what fetch.c asks ---- */

static bool send_frame(void *owner, uint64_t peer, struct buf *frame)
{
    struct rig *r = owner;
    enum message_kind kind;
    struct cur body;
    size_t used;
    if (r->deaf || peer == r->stalled) {
        return false;
    }
    r->sent++;
    UNIT_INT(message_next(frame->data, frame->len, &kind, &body, &used, NULL), 1);
    if (kind == MESSAGE_FETCH && UNIT_TRUE(r->n_waiting < WAITING_MAX)) {
        struct question *question = &r->waiting[r->n_waiting++];
        question->peer = peer;
        UNIT_INT(message_fetch_get(&body, &question->q), 0);
        r->most = r->n_waiting > r->most ? r->n_waiting : r->most;
    }
    return true;
}

static size_t peers(void *owner, uint64_t *ids, size_t max)
{
    (void)owner;
    UNIT_TRUE(max >= 2);
    ids[0] = LEADER;
    ids[1] = OTHER;
    return 2;
}

static const struct state *applied(void *owner)
{
    return ((struct rig *)owner)->here;
}

static const struct snapshot *own_snapshot(void *owner)
{
    (void)owner;
    return NULL;
}

static void fetching(void *owner, uint64_t leader, uint64_t term)
{
    (void)term;
    ((struct rig *)owner)->fetching = leader;
}

static void whole(void *owner)
{
    ((struct rig *)owner)->whole = true;
}

static const struct fetch_handler handler = {
    .send = send_frame, .peers = peers, .state = applied, .snapshot = own_snapshot, .fetching = fetching, .whole = whole};

/* ---- a leader with two files ---- */

static struct state *offered_state(const struct rig *r)
{
    static const char *const names[FILES] = {"mysql-bin.000001", "mysql-bin.000002"};
    struct state *s = state_new();
    for (size_t i = 0; i < FILES; i++) {
        const struct buf *before = i ? &r->files[i - 1] : NULL;
        struct filelist *more = filelist_add(s->files, before ? before->len : 0, before ? crc32c_of(0, before->data, before->len) : 0, 1, names[i], NULL);
        filelist_unref(s->files);
        s->files = more;
    }
    s->index = INDEX;
    s->file = (struct state_file){.era = 1, .size = r->files[1].len};
    memcpy(s->file.name, names[1], strlen(names[1]) + 1);
    s->boundary = s->file.size;
    s->proof.all_crc = crc32c_of(0, r->files[1].data, r->files[1].len);
    return s;
}

static void rig_open_with(struct rig *r, const char *name, size_t pieces)
{
    struct errmsg em;
    *r = (struct rig){.loop = test_env_new(unit_seed()), .dir = binlog_dir(name), .here = state_new()};
    for (size_t i = 0; i < FILES; i++) {
        buf_init(&r->files[i], 32 << 20);
        for (size_t n = 0; n < pieces * MESSAGE_PIECE_MAX; n++) {
            buf_u8(&r->files[i], (uint8_t)((n * 2654435761u >> 13) + i));
        }
    }
    r->there = offered_state(r);
    buf_init(&r->manifest, SNAPSHOT_DATA_MAX);
    state_encode(r->there, &r->manifest);
    UNIT_REQUIRE(fetch_open(r->loop, r->dir, &handler, r, &r->fetch, &em) == 0);
}

static void rig_open(struct rig *r, const char *name)
{
    rig_open_with(r, name, PIECES);
}

static void rig_close(struct rig *r)
{
    fetch_close(r->fetch);
    test_env_run(r->loop);
    UNIT_UINT(test_env_open_files(r->loop), 0);
    state_free(r->here);
    state_free(r->there);
    for (size_t i = 0; i < FILES; i++) {
        buf_free(&r->files[i]);
    }
    buf_free(&r->manifest);
    test_env_free(r->loop);
    mem_free(r->dir);
}

static void offer_of(struct rig *r, uint64_t index)
{
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT};
    m.install_snapshot = (struct raft_install_snapshot){.term = TERM, .last_index = index, .last_term = TERM, .conf_index = 1};
    m.install_snapshot.data.len = r->manifest.len;
    raft_configuration_init(&m.install_snapshot.conf);
    UNIT_INT(raft_configuration_add(&m.install_snapshot.conf, LEADER, "a:1/1", RAFT_VOTER), 0);
    fetch_offered(r->fetch, LEADER, &m, crc32c_of(0, r->manifest.data, r->manifest.len));
}

static void offer(struct rig *r)
{
    offer_of(r, INDEX);
}

static const struct buf *bytes_of(const struct rig *r, const struct message_fetch *q)
{
    return q->manifest ? &r->manifest : &r->files[strcmp(q->name, "mysql-bin.000001") ? 1 : 0];
}

static struct question take_question(struct rig *r)
{
    struct question first = r->waiting[0];
    memmove(r->waiting, r->waiting + 1, --r->n_waiting * sizeof first);
    return first;
}

static void come(struct rig *r, uint64_t peer, uint64_t ticket, enum piece status, const uint8_t *data, size_t n)
{
    struct message_piece p = {.ticket = ticket, .status = status, .data = data, .n = n};
    fetch_came(r->fetch, peer, &p);
}

static void answer_rightly(struct rig *r, const struct question *question)
{
    const struct buf *b = bytes_of(r, &question->q);
    UNIT_TRUE(question->q.offset + question->q.n <= b->len);
    come(r, question->peer, question->q.ticket, PIECE_HERE, b->data + question->q.offset, question->q.n);
}

/* Until all is there, or nothing is fetched any more. */
static void run(struct rig *r, void (*answer)(struct rig *r, const struct question *question))
{
    for (unsigned i = 0; i < STEPS && !r->whole && r->fetching; i++) {
        if (r->n_waiting) {
            struct question question = take_question(r);
            answer(r, &question);
        } else {
            (void)test_env_step(r->loop);
        }
    }
}

static bool all_is_here(struct rig *r)
{
    struct raft_message m;
    const struct install *install;
    bool same = r->whole;
    for (size_t i = 0; i < FILES && same; i++) {
        struct buf have;
        same = binlog_read(r->loop, &have, "%s/fetch/1/mysql-bin.00000%zu", r->dir, i + 1) && have.len == r->files[i].len &&
               !memcmp(have.data, r->files[i].data, have.len);
        buf_free(&have);
    }
    UNIT_TRUE(!fetch_take(r->fetch, TERM + 1, &m, &install)); /* another term's leader would not know of it */
    if (!UNIT_TRUE(fetch_take(r->fetch, TERM, &m, &install))) {
        return false;
    }
    same = same && install->index == INDEX && m.install_snapshot.data.len == r->manifest.len;
    raft_free(m.install_snapshot.data.base);
    raft_configuration_close(&m.install_snapshot.conf);
    fetch_installed(r->fetch);
    UNIT_TRUE(!fetch_progress(r->fetch).active && !r->fetching);
    return same;
}

/* ---- what may come ---- */

static void pieces_become_files(void)
{
    struct rig r;
    rig_open(&r, "pieces");
    offer(&r);
    UNIT_UINT(r.fetching, LEADER);
    run(&r, answer_rightly);
    UNIT_TRUE(all_is_here(&r));
    UNIT_TRUE(r.most >= PIECES && r.most <= 24); /* several at a time, not all */
    rig_close(&r);
}

static void answer_with_garbage(struct rig *r, const struct question *question)
{
    static const uint8_t junk[MESSAGE_PIECE_MAX];
    static unsigned turn;
    come(r, question->peer, question->q.ticket + 1000, PIECE_HERE, junk, question->q.n);
    come(r, question->peer, 0, PIECE_HERE, junk, question->q.n);
    come(r, 9, question->q.ticket, PIECE_HERE, junk, question->q.n);
    switch (turn++ % 6) {
    case 0: come(r, question->peer, question->q.ticket, PIECE_HERE, junk, question->q.n - 1); break;
    case 1: come(r, question->peer, question->q.ticket, PIECE_HERE, junk, 0); break;
    case 2: come(r, question->peer, question->q.ticket, PIECE_LATER, junk, question->q.n); break;
    default: answer_rightly(r, question); break;
    }
    answer_rightly(r, question); /* twice, or too late */
}

static void what_was_not_asked_for_is_not_taken(void)
{
    struct rig r;
    rig_open(&r, "garbage");
    offer(&r);
    run(&r, answer_with_garbage);
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
}

/* A disk that takes no more: the node ends, and what may stand in the kernel's memory alone is not there when it starts again. */
static void what_cannot_be_written_is_not_kept(void)
{
    struct rig r;
    struct buf left;
    char text[1024];
    int fds[2], status = 0;
    rig_open(&r, "unwritten");
    UNIT_REQUIRE(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){2 * MESSAGE_PIECE_MAX + 100, 2 * MESSAGE_PIECE_MAX + 100});
        test_env_fatal_to(r.loop, fds[1]);
        offer(&r);
        run(&r, answer_rightly);
        _exit(0);
    }
    close(fds[1]);
    UNIT_REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    UNIT_TRUE(strstr(text, "cannot write to one of files that are fetched") && strstr(text, "mysql-bin.000001"));
    UNIT_TRUE(!binlog_read(r.loop, &left, "%s/fetch/1/mysql-bin.000001", r.dir));
    buf_free(&left);
    rig_close(&r);
}

/* Bytes of its first file have changed, in two pieces: whoever takes them from the members in turn gets one of them. */
static void answer_rotten(struct rig *r, const struct question *question)
{
    const struct buf *b = bytes_of(r, &question->q);
    if (question->peer != LEADER || b != &r->files[0] || question->q.offset > MESSAGE_PIECE_MAX) {
        answer_rightly(r, question);
        return;
    }
    uint8_t *copy = mem_dup(b->data, question->q.n);
    copy[77] ^= 1;
    come(r, question->peer, question->q.ticket, PIECE_HERE, copy, question->q.n);
    mem_free(copy);
}

static void one_member_with_a_damaged_file_is_passed_by(void)
{
    struct rig r;
    rig_open(&r, "rotten");
    offer(&r);
    run(&r, answer_rotten);
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
}

static void answer_another_manifest(struct rig *r, const struct question *question)
{
    uint8_t *junk = mem_new(question->q.n);
    UNIT_UINT(question->q.manifest, INDEX);
    UNIT_UINT(question->peer, LEADER); /* nobody else has it */
    come(r, question->peer, question->q.ticket, PIECE_HERE, junk, question->q.n);
    mem_free(junk);
}

static void a_manifest_that_is_not_the_one_offered_is_dropped(void)
{
    struct rig r;
    rig_open(&r, "manifest");
    offer(&r);
    run(&r, answer_another_manifest);
    UNIT_TRUE(!r.whole && !r.fetching && !fetch_progress(r.fetch).active);
    offer(&r);
    run(&r, answer_rightly);
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
}

static void an_offer_that_is_too_large_is_refused(void)
{
    struct rig r;
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT};
    rig_open(&r, "large");
    m.install_snapshot = (struct raft_install_snapshot){.term = TERM, .last_index = INDEX, .last_term = TERM};
    m.install_snapshot.data.len = SIZE_MAX;
    raft_configuration_init(&m.install_snapshot.conf);
    UNIT_INT(raft_configuration_add(&m.install_snapshot.conf, LEADER, "a:1/1", RAFT_VOTER), 0);
    fetch_offered(r.fetch, LEADER, &m, 0);
    UNIT_TRUE(!fetch_progress(r.fetch).active && !r.n_waiting);
    rig_close(&r);
}

/* This node's own disk takes nothing for a while: no member is to blame, and what is being fetched goes on, whatever was offered meanwhile. */
static void a_disk_that_rests_begins_nothing_anew(void)
{
    enum { LONG_S = 30 };
    struct rig r;
    rig_open_with(&r, "rests", 64);
    offer(&r);
    while (!r.n_waiting || r.waiting[0].q.manifest) {
        if (r.n_waiting) {
            struct question question = take_question(&r);
            answer_rightly(&r, &question);
        } else {
            UNIT_REQUIRE(test_env_step(r.loop));
        }
    }
    test_env_hold(r.loop, "fetch", true);
    while (r.n_waiting) { /* as many pieces as it keeps */
        struct question question = take_question(&r);
        answer_rightly(&r, &question);
    }
    offer_of(&r, INDEX + 1);
    for (uint64_t end = env_now(r.loop) + LONG_S * ENV_S; env_now(r.loop) < end;) {
        UNIT_REQUIRE(test_env_step(r.loop));
    }
    UNIT_UINT(r.n_waiting, 0);
    test_env_hold(r.loop, "fetch", false);
    while (!r.n_waiting) {
        UNIT_REQUIRE(test_env_step(r.loop));
    }
    UNIT_UINT(r.waiting[0].q.manifest, 0);
    UNIT_STR(r.waiting[0].q.name, "mysql-bin.000001");
    UNIT_TRUE(r.waiting[0].q.offset > 24 * MESSAGE_PIECE_MAX);
    rig_close(&r);
}

/* The leader offers `there` from now on. */
static void offers(struct rig *r, struct state *there)
{
    state_free(r->there);
    r->there = there;
    buf_reset(&r->manifest);
    state_encode(there, &r->manifest);
    r->whole = false;
}

static unsigned asked_for_first;

static void answer_counting(struct rig *r, const struct question *question)
{
    asked_for_first += !question->q.manifest && !strcmp(question->q.name, "mysql-bin.000001");
    answer_rightly(r, question);
}

/* A newer offer comes when all of the one before is there: what has not changed since is not read once more; what has is fetched. */
static void what_is_whole_stays_whole(void)
{
    struct rig r;
    struct errmsg em;
    rig_open(&r, "stays");
    offer_of(&r, INDEX + 1);
    run(&r, answer_rightly);
    UNIT_REQUIRE(r.whole);
    struct env_file *file;
    char *path = mem_printf("%s/fetch/1/mysql-bin.000001", r.dir);
    UNIT_REQUIRE(env_open(r.loop, path, ENV_READ | ENV_WRITE, &file, &em) == 0);
    UNIT_INT(env_pwrite(file, r.files[0].data + 1, 1, 0, &em), 0); /* who reads it finds that it is not what the manifest says */
    r.whole = false;
    asked_for_first = 0;
    offer_of(&r, INDEX + 2);
    run(&r, answer_counting);
    UNIT_TRUE(r.whole);
    UNIT_UINT(asked_for_first, 0);
    UNIT_INT(env_pwrite(file, r.files[0].data, 1, 0, &em), 0);
    env_close(file);

    r.files[0].data[100] ^= 1;
    offers(&r, offered_state(&r));
    offer(&r);
    run(&r, answer_counting);
    UNIT_TRUE(asked_for_first > 0);
    UNIT_TRUE(all_is_here(&r));
    mem_free(path);
    rig_close(&r);
}

static void answer_only_the_second(struct rig *r, const struct question *question)
{
    static const char *const first = "mysql-bin.000001";
    if (question->q.manifest || strcmp(question->q.name, first) != 0 || !asked_for_first++) {
        answer_rightly(r, question);
    }
}

/* The next leader's snapshot is an older one, in which the first file ends earlier; then it is offered as it was, and again, while a part of that file
 * has come anew: it is not taken for whole because it once was. */
static void what_was_whole_and_is_cut_is_fetched(void)
{
    struct rig r;
    rig_open(&r, "cut");
    offer_of(&r, INDEX + 1);
    run(&r, answer_rightly);
    UNIT_REQUIRE(r.whole);

    struct state *older = state_new();
    struct filelist *one = filelist_add(older->files, 0, 0, 1, "mysql-bin.000001", NULL);
    filelist_unref(older->files);
    older->files = one;
    older->index = INDEX - 1;
    older->file = (struct state_file){.era = 1, .size = MESSAGE_PIECE_MAX, .name = "mysql-bin.000001"};
    older->boundary = older->file.size;
    older->proof.all_crc = crc32c_of(0, r.files[0].data, MESSAGE_PIECE_MAX);
    offers(&r, older);
    offer_of(&r, INDEX - 1);
    run(&r, answer_rightly);
    UNIT_REQUIRE(r.whole);

    offers(&r, offered_state(&r));
    asked_for_first = 0;
    offer_of(&r, INDEX + 2);
    while (asked_for_first < 2) { /* a piece of it came */
        if (r.n_waiting) {
            struct question question = take_question(&r);
            answer_only_the_second(&r, &question);
        } else {
            UNIT_REQUIRE(test_env_step(r.loop));
        }
    }
    offer(&r);
    r.n_waiting = 0; /* the others are lost, so after a while the newer offer is better */
    run(&r, answer_rightly);
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
}

/* This node's log goes on while files are fetched, and its newest file, which was whole, gets a tail that was cut before the snapshot: it is
 * fetched, too, and nothing is handed over before. */
static void what_has_a_tail_since_is_fetched(void)
{
    struct rig r;
    struct raft_message m;
    const struct install *install;
    rig_open(&r, "tail");
    struct state *here = r.here;
    struct filelist *one = filelist_add(here->files, 0, 0, 1, "mysql-bin.000001", NULL);
    filelist_unref(here->files);
    here->files = one;
    here->index = INDEX - 2;
    here->file = (struct state_file){.era = 1, .size = r.files[0].len, .name = "mysql-bin.000001"};
    here->boundary = here->file.size;
    here->proof.all_crc = here->proof.boundary_crc = crc32c_of(0, r.files[0].data, r.files[0].len);
    asked_for_first = 0;
    offer(&r);
    run(&r, answer_counting);
    UNIT_REQUIRE(r.whole);
    UNIT_UINT(asked_for_first, 0);

    here->index++;
    here->file.size += STORE_MAGIC;
    here->proof.all_crc++;
    UNIT_TRUE(!fetch_take(r.fetch, TERM, &m, &install));
    r.whole = false;
    offer(&r); /* the next leader's may be the same one */
    run(&r, answer_counting);
    UNIT_TRUE(asked_for_first > 0);
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
}

static unsigned second_came;

static void answer_two_rotten(struct rig *r, const struct question *question)
{
    const struct buf *b = bytes_of(r, &question->q);
    if (question->q.manifest || b == &r->files[0]) {
        answer_rightly(r, question);
    } else if (question->q.offset < 2 * MESSAGE_PIECE_MAX) {
        uint8_t *rotten = mem_dup(b->data + question->q.offset, question->q.n);
        rotten[question->q.n / 2] ^= 1;
        come(r, question->peer, question->q.ticket, PIECE_HERE, rotten, question->q.n);
        mem_free(rotten);
        second_came++;
    } /* the others are lost */
}

static void answer_what_is_there(struct rig *r, const struct question *question)
{
    if (question->q.offset + question->q.n <= bytes_of(r, &question->q)->len) {
        answer_rightly(r, question);
    } else {
        come(r, question->peer, question->q.ticket, PIECE_LATER, NULL, 0);
    }
}

/* The file that grew is cut where it ended in a transaction, before its sum was ever looked at: what is left of it is compared, too. */
static void what_is_cut_is_compared(void)
{
    struct rig r;
    rig_open(&r, "compared");
    struct state *open_ended = offered_state(&r);
    open_ended->boundary = MESSAGE_PIECE_MAX;
    open_ended->proof.boundary_crc = crc32c_of(0, r.files[1].data, MESSAGE_PIECE_MAX);
    offers(&r, open_ended);
    offer_of(&r, INDEX + 1);
    second_came = 0;
    while (second_came < 2) {
        if (r.n_waiting) {
            struct question question = take_question(&r);
            answer_two_rotten(&r, &question);
        } else {
            UNIT_REQUIRE(test_env_step(r.loop));
        }
    }
    r.n_waiting = 0;
    r.files[1].len = MESSAGE_PIECE_MAX;
    offers(&r, offered_state(&r));
    offer(&r);
    run(&r, answer_what_is_there);
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
}

/* In what the leader offers. */
static void set_rate(struct rig *r, const char *rate)
{
    struct entry_setting *setting = r->there->settings = mem_new(sizeof *setting);
    r->there->n_settings = 1;
    snprintf(setting->name, sizeof setting->name, "fetch_rate");
    snprintf(setting->value, sizeof setting->value, "%s", rate);
    buf_reset(&r->manifest);
    state_encode(r->there, &r->manifest);
}

/* Nobody has the files any more as they were offered, and a newer offer is there: the rate, which lets questions wait all the time, is no reason to go on
 * asking. */
static void a_rate_keeps_no_newer_offer_waiting(void)
{
    enum { LONG_S = 120 };
    struct rig r;
    bool taken = false;
    rig_open_with(&r, "waiting", 64);
    set_rate(&r, "2000000");
    offer(&r);
    for (uint64_t end = env_now(r.loop) + LONG_S * ENV_S; env_now(r.loop) < end && !taken;) {
        if (!r.n_waiting) {
            UNIT_REQUIRE(test_env_step(r.loop));
            continue;
        }
        struct question question = take_question(&r);
        taken = question.q.manifest == INDEX + 1;
        if (question.q.manifest) {
            answer_rightly(&r, &question);
            offer_of(&r, INDEX + 1);
        } else {
            come(&r, question.peer, question.q.ticket, PIECE_LATER, NULL, 0);
        }
    }
    UNIT_TRUE(taken);
    rig_close(&r);
}

/* How long all takes from members of which one piece comes at a time, each after a while. */
static uint64_t ms_with(const char *rate)
{
    struct rig r;
    rig_open_with(&r, "paced", 128);
    if (rate) {
        set_rate(&r, rate);
    }
    uint64_t begin = env_now(r.loop);
    offer(&r);
    for (unsigned i = 0; i < STEPS && !r.whole; i++) {
        if (r.n_waiting) {
            struct question question = take_question(&r);
            answer_rightly(&r, &question);
        }
        for (uint64_t next = env_now(r.loop) + 40 * ENV_MS; env_now(r.loop) < next && !r.whole;) {
            (void)test_env_step(r.loop);
        }
    }
    uint64_t ms = (env_now(r.loop) - begin) / ENV_MS;
    UNIT_TRUE(all_is_here(&r));
    rig_close(&r);
    return ms;
}

static void where_no_rate_is_set_a_fifth_of_what_goes_is_left(void)
{
    uint64_t paced = ms_with(NULL), all = ms_with("1099511627776");
    printf("# %llu ms, %llu as fast as it goes\n", (unsigned long long)paced, (unsigned long long)all);
    UNIT_TRUE(paced * 50 > all * 51 && paced * 10 < all * 14); /* the looks in between go as fast as it goes */
}

static void index_made(void *owner, const struct fetch_file *file, struct buf *index)
{
    (void)owner;
    (void)file;
    (void)index;
}

static void piece_passed(void *owner, struct fetch_piece *piece)
{
    ++*(unsigned *)owner;
    fetch_piece_free(piece);
}

static void piece_there(struct fetch_index *x, uint64_t end)
{
    struct fetch_piece *piece = fetch_piece_new();
    piece->n = MESSAGE_PIECE_MAX;
    piece->end = end;
    memset(piece->bytes, 0, piece->n);
    fetch_index_there(x, piece);
}

/* All that a file has already is read first, which may take long: no piece, of which there are few, waits for that. */
static void no_piece_waits_for_an_index_to_begin(void)
{
    static const struct fetch_index_handler of_index = {.made = index_made, .passed = piece_passed};
    struct env *loop = test_env_new(unit_seed());
    char *dir = binlog_dir("begins");
    struct fetch_file file = {.era = 1, .name = "mysql-bin.000001", .size = 8 * MESSAGE_PIECE_MAX, .sum = 1};
    struct fetch_index *x;
    unsigned passed = 0;
    UNIT_REQUIRE(fetch_index_open(loop, dir, &of_index, &passed, &x) == 0);
    fetch_index_begin(x, &file, MESSAGE_PIECE_MAX);
    piece_there(x, 2 * MESSAGE_PIECE_MAX);
    piece_there(x, 3 * MESSAGE_PIECE_MAX);
    UNIT_UINT(passed, 2);
    test_env_run(loop);
    UNIT_UINT(passed, 2);
    piece_there(x, 4 * MESSAGE_PIECE_MAX); /* it keeps up: these bytes it needs not read */
    UNIT_UINT(passed, 2);
    test_env_run(loop);
    UNIT_UINT(passed, 3);
    fetch_index_begin(x, &file, 0);
    piece_there(x, MESSAGE_PIECE_MAX);
    UNIT_UINT(passed, 4);
    fetch_index_close(x);
    test_env_run(loop);
    test_env_free(loop);
    mem_free(dir);
}

/* Others ask, and their connections take nothing. */
static void what_others_ask_for_is_bounded(void)
{
    struct rig r;
    struct message_fetch q = {.manifest = INDEX, .n = 1000};
    rig_open(&r, "asked");
    r.deaf = true;
    for (q.ticket = 1; q.ticket < 1000; q.ticket++) {
        fetch_asked(r.fetch, OTHER, &q);
    }
    r.deaf = false;
    for (unsigned i = 0; i < 100; i++) {
        (void)test_env_step(r.loop);
    }
    UNIT_UINT(r.sent, 64);
    rig_close(&r);
}

/* One member reads no more while it fetches: another one gets what it asks for, and the first one its answers when it reads again. */
static void a_stalled_member_holds_up_nobody_else(void)
{
    struct rig r;
    struct message_fetch q = {.manifest = INDEX, .n = 1000};
    rig_open(&r, "stalled");
    r.stalled = OTHER;
    for (q.ticket = 1; q.ticket <= 3; q.ticket++) {
        fetch_asked(r.fetch, OTHER, &q);
    }
    UNIT_UINT(r.sent, 0);
    for (; q.ticket <= 8; q.ticket++) {
        fetch_asked(r.fetch, LEADER, &q);
    }
    UNIT_UINT(r.sent, 5);
    r.stalled = LEADER;
    for (unsigned i = 0; i < 100; i++) {
        (void)test_env_step(r.loop);
    }
    UNIT_UINT(r.sent, 8);
    fetch_asked(r.fetch, OTHER, &q); /* nothing waits any more: the queue's end is where it was */
    UNIT_UINT(r.sent, 9);
    rig_close(&r);
}

UNIT_MAIN("fetch", UNIT_TEST(pieces_become_files), UNIT_TEST(what_was_not_asked_for_is_not_taken),
          UNIT_TEST(what_cannot_be_written_is_not_kept), UNIT_TEST(one_member_with_a_damaged_file_is_passed_by),
          UNIT_TEST(a_manifest_that_is_not_the_one_offered_is_dropped), UNIT_TEST(an_offer_that_is_too_large_is_refused),
          UNIT_TEST(a_disk_that_rests_begins_nothing_anew), UNIT_TEST(what_is_whole_stays_whole), UNIT_TEST(what_was_whole_and_is_cut_is_fetched), UNIT_TEST(what_is_cut_is_compared),
          UNIT_TEST(what_has_a_tail_since_is_fetched), UNIT_TEST(a_rate_keeps_no_newer_offer_waiting), UNIT_TEST(where_no_rate_is_set_a_fifth_of_what_goes_is_left),
          UNIT_TEST(no_piece_waits_for_an_index_to_begin),
          UNIT_TEST(what_others_ask_for_is_bounded), UNIT_TEST(a_stalled_member_holds_up_nobody_else))
