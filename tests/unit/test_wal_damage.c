/* test_wal_damage: each byte of the log and of term and vote, turned: found with file and remedy, or mended from the other copy, or
 * cut when nothing tells it from a write that a crash tore. And the log's size stays bounded, its next file is made ahead. */
#include "tests/unit/unit.h"

#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "raft/vote.h"
#include "raft/wal.h"
#include "raft/wal_format.h"
#include "tests/sim/disk.h"
#include "tests/sim/env_sim.h"

#include <stdio.h>
#include <string.h>

enum { WRITES = 7, PER_WRITE = 3 };

#define SEGMENT "/d/wal-0000000000000001"

/* Runs `body` once on a host with an empty disk. */
struct stage {
    struct sim *sim;
    struct sim_host *host;
    void (*body)(struct env *env, struct sim_host *host);
    bool over;
};

static void stage_start(struct sim_process *process, struct env *env, void *arg)
{
    struct stage *stage = arg;
    (void)process;
    (void)env_mkdir(env, "/d", NULL);
    (void)env_sync_dir(env, "/", NULL);
    stage->body(env, stage->host);
    stage->over = true;
    sim_stop(stage->host);
}

static void stage_stop(struct sim_process *process, void *arg)
{
    (void)arg;
    sim_exit(process);
}

static bool stage_over(void *arg)
{
    struct stage *stage = arg;
    return stage->over && !sim_host_process(stage->host);
}

static void run(void (*body)(struct env *, struct sim_host *))
{
    static const struct sim_program program = {stage_start, stage_stop, NULL};
    struct stage stage = {.sim = sim_new(unit_seed()), .body = body};
    stage.host = sim_host_new(stage.sim, "a");
    sim_start(stage.host, &program, &stage);
    UNIT_TRUE(sim_run_until(stage.sim, stage_over, &stage, 36000 * ENV_S));
    sim_free(stage.sim);
}

/* ---- the log --------------------------------------------------------------------------------------------------- */

static size_t length_of(uint64_t index)
{
    return (size_t)(index * 397 % 5000);
}

static void append(struct wal *wal, uint64_t first, size_t n)
{
    static uint8_t data[PER_WRITE][8192];
    struct wal_record records[PER_WRITE];
    struct errmsg em;
    for (size_t i = 0; i < n; i++) {
        memset(data[i], (int)(first + i), sizeof data[i]);
        records[i] = (struct wal_record){.index = first + i, .term = 1, .type = 1, .data = data[i], .len = length_of(first + i)};
    }
    UNIT_INT(wal_append(wal, records, n, &em), 0);
}

static void fill_log(struct env *env)
{
    struct wal *wal;
    struct wal_found found;
    struct errmsg em;
    UNIT_REQUIRE(wal_open(env, "/d", &wal, &found, &em) == 0);
    for (uint64_t i = 0; i < WRITES; i++) {
        append(wal, 1 + i * PER_WRITE, PER_WRITE);
    }
    wal_close(wal);
}

/* Opens the log; the number of entries found, as written, or the code. */
static int open_log(struct env *env, bool *torn, struct errmsg *em)
{
    struct wal *wal;
    struct wal_found found;
    int rv = wal_open(env, "/d", &wal, &found, em);
    if (rv) {
        return rv;
    }
    int n = (int)found.n;
    for (size_t i = 0; i < found.n; i++) {
        const uint8_t *data = found.records[i].data;
        UNIT_TRUE(found.records[i].index == i + 1 && found.records[i].len == length_of(i + 1));
        UNIT_TRUE(!found.records[i].len || (data[0] == (uint8_t)(i + 1) && data[found.records[i].len - 1] == (uint8_t)(i + 1)));
    }
    *torn = found.torn;
    wal_found_free(&found);
    wal_close(wal);
    return n;
}

struct span { /* a record in the file */
    uint64_t at, n, index, write_no;
};

static size_t spans_of(struct sim_host *host, struct span spans[WRITES * PER_WRITE])
{
    struct buf file;
    struct wal_head head;
    const uint8_t *data;
    size_t n = 0, at = ENV_BLOCK;
    buf_init(&file, WAL_SEGMENT);
    UNIT_REQUIRE(sim_host_read(host, SEGMENT, &file) == 0);
    while (n < WRITES * PER_WRITE && wal_record_get(file.data + at, file.len - at, 1, &head, &data)) {
        spans[n++] = (struct span){at, WAL_RECORD_HEAD + head.len, head.index, head.write_no};
        at += WAL_RECORD_HEAD + head.len;
        at = head.flags & WAL_LAST_OF_WRITE ? (at + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK : at;
    }
    buf_free(&file);
    return n;
}

static void flip(struct sim_host *host, const char *path, uint64_t at)
{
    UNIT_INT(disk_flip(sim_host_disk(host), path, at, (uint8_t)(1u << at % 8)), 0);
}

static void must_be_found(struct env *env, struct sim_host *host, uint64_t at)
{
    struct errmsg em = {""};
    bool torn;
    flip(host, SEGMENT, at);
    int rv = open_log(env, &torn, &em);
    if (rv != E_CORRUPT || !strstr(em.text, SEGMENT) || !strstr(em.text, "replace the member")) {
        printf("# byte %llu turned: %d %s\n", (unsigned long long)at, rv, em.text);
    }
    UNIT_TRUE(rv == E_CORRUPT && strstr(em.text, SEGMENT) && strstr(em.text, "replace the member"));
    flip(host, SEGMENT, at);
}

static void every_acknowledged_byte(struct env *env, struct sim_host *host)
{
    struct span spans[WRITES * PER_WRITE];
    struct errmsg em;
    bool torn = true;
    fill_log(env);
    UNIT_UINT(spans_of(host, spans), WRITES * PER_WRITE);
    for (uint64_t at = 0; at < WAL_HEADER_BYTES; at++) {
        must_be_found(env, host, at);
    }
    for (size_t i = 0; i < (WRITES - 1) * PER_WRITE; i++) {
        for (uint64_t k = 0; k < spans[i].n; k += k < WAL_RECORD_HEAD ? 5 : 1531) { /* head and data, and in time */
            must_be_found(env, host, spans[i].at + k);
        }
        must_be_found(env, host, spans[i].at + spans[i].n - 1);
    }
    UNIT_INT(open_log(env, &torn, &em), WRITES * PER_WRITE); /* and nothing of the refusals changed anything */
    UNIT_TRUE(!torn);
}

/* What no record covers has no meaning. */
static void bytes_between(struct env *env, struct sim_host *host)
{
    struct span spans[WRITES * PER_WRITE];
    struct errmsg em;
    bool torn;
    fill_log(env);
    UNIT_UINT(spans_of(host, spans), WRITES * PER_WRITE);
    flip(host, SEGMENT, WAL_HEADER_BYTES);
    flip(host, SEGMENT, ENV_BLOCK - 1);
    flip(host, SEGMENT, spans[PER_WRITE - 1].at + spans[PER_WRITE - 1].n); /* behind the first write */
    flip(host, SEGMENT, WAL_SEGMENT - 1);
    UNIT_INT(open_log(env, &torn, &em), WRITES * PER_WRITE);
    UNIT_INT(open_log(env, &torn, &em), WRITES * PER_WRITE);
}

/* The newest write alone is cut, from the damaged record on: it may have been torn. Members with peers hear from them what is missing. */
static void last_write(struct env *env, struct sim_host *host)
{
    struct span spans[WRITES * PER_WRITE];
    struct errmsg em;
    bool torn = false;
    fill_log(env);
    UNIT_UINT(spans_of(host, spans), WRITES * PER_WRITE);
    flip(host, SEGMENT, spans[WRITES * PER_WRITE - 2].at + 60);
    UNIT_INT(open_log(env, &torn, &em), WRITES * PER_WRITE - 2);
    UNIT_TRUE(torn);
    UNIT_INT(open_log(env, &torn, &em), WRITES * PER_WRITE - 2); /* it stays cut */
}

static void finds_every_acknowledged_byte(void) { run(every_acknowledged_byte); }
static void bytes_between_records_mean_nothing(void) { run(bytes_between); }
static void cuts_the_last_write_alone(void) { run(last_write); }

/* ---- its size --------------------------------------------------------------------------------------------------- */

struct count {
    const char *prefix;
    unsigned n;
};

static void count_name(void *arg, const char *name)
{
    struct count *count = arg;
    count->n += !strncmp(name, count->prefix, strlen(count->prefix));
}

static unsigned files_in(struct sim_host *host, const char *prefix)
{
    struct count count = {.prefix = prefix};
    (void)disk_list(sim_host_disk(host), "/d", count_name, &count);
    return count.n;
}

static void big_append(struct wal *wal, uint64_t index)
{
    static uint8_t data[4 << 20];
    struct wal_record record = {.index = index, .term = 1, .type = 1, .data = data, .len = sizeof data};
    struct errmsg em;
    UNIT_INT(wal_append(wal, &record, 1, &em), 0);
}

static void grow_and_compact(struct env *env, struct sim_host *host)
{
    struct wal *wal;
    struct wal_found found;
    struct errmsg em;
    struct wal_spare spare = {.env = env};
    uint64_t index = 1, most = 0;
    UNIT_REQUIRE(wal_open(env, "/d", &wal, &found, &em) == 0);
    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 20; i++) { /* 80 MiB: 7 segments */
            bool begun = wal_spare_begin(wal, &spare);
            big_append(wal, index++);
            if (begun) {
                wal_spare_make(&spare);
                UNIT_INT(spare.rv, 0);
                wal_spare_take(wal, &spare);
            }
        }
        most = wal_disk_bytes(wal) > most ? wal_disk_bytes(wal) : most;
        UNIT_INT(wal_compact(wal, index - 2, &em), 0);
        UNIT_TRUE(wal_disk_bytes(wal) <= (uint64_t)(2 + WAL_SPARES_MAX) * WAL_SEGMENT);
        UNIT_UINT(files_in(host, "spare-"), wal->n_spares);
        UNIT_UINT((files_in(host, "wal-") + files_in(host, "spare-")) * (uint64_t)WAL_SEGMENT, wal_disk_bytes(wal));
    }
    UNIT_TRUE(most <= (uint64_t)(9 + WAL_SPARES_MAX) * WAL_SEGMENT);
    UNIT_UINT(wal->n_spares, WAL_SPARES_MAX);
    UNIT_TRUE(!wal_spare_begin(wal, &spare)); /* enough of them */
    wal_close(wal);
}

/* No room for a file ahead: it is not tried again at each append, what there is of it goes, and appends go on as long as they can. */
static void no_room_ahead(struct env *env, struct sim_host *host)
{
    struct wal *wal;
    struct wal_found found;
    struct errmsg em;
    struct wal_spare spare = {.env = env};
    UNIT_REQUIRE(wal_open(env, "/d", &wal, &found, &em) == 0);
    UNIT_TRUE(wal_spare_begin(wal, &spare));
    UNIT_TRUE(!wal_spare_begin(wal, &(struct wal_spare){.env = env})); /* one at a time */
    sim_fail_call(host, SIM_WRITE, 3, E_NOSPACE, true);
    wal_spare_make(&spare);
    UNIT_INT(spare.rv, E_NOSPACE);
    UNIT_TRUE(strstr(spare.em.text, spare.path) != NULL);
    wal_spare_take(wal, &spare);
    UNIT_UINT(files_in(host, "spare-"), 0);
    UNIT_TRUE(!wal_spare_begin(wal, &spare));
    sim_fail_call(host, SIM_WRITE, 0, 0, false);
    for (uint64_t index = 1; index <= 4; index++) { /* into the next segment, whose file the append makes itself */
        big_append(wal, index);
    }
    UNIT_UINT(files_in(host, "wal-"), 2);
    UNIT_TRUE(wal_spare_begin(wal, &spare));
    wal_spare_make(&spare);
    wal_spare_take(wal, &spare);
    UNIT_UINT(files_in(host, "spare-"), 1);
    wal_close(wal);
}

/* The segment's name, not the one that its file had before. */
static void an_error_names_the_file(struct env *env, struct sim_host *host)
{
    struct wal *wal;
    struct wal_found found;
    struct errmsg em = {""};
    struct wal_record record = {.index = 1, .term = 1, .type = 1};
    UNIT_REQUIRE(wal_open(env, "/d", &wal, &found, &em) == 0);
    sim_fail_call(host, SIM_WRITE, 1, E_IO, false);
    UNIT_INT(wal_append(wal, &record, 1, &em), E_IO);
    UNIT_TRUE(strstr(em.text, SEGMENT) && strstr(em.text, err_text(E_IO)));
    wal_close(wal);
}

/* One whose node ended while it was made is of no use and goes at the next start; a whole one stays. */
static void spares_at_start(struct env *env, struct sim_host *host)
{
    struct wal *wal;
    struct wal_found found;
    struct errmsg em;
    struct wal_spare spare = {.env = env};
    struct env_file *file;
    UNIT_REQUIRE(wal_open(env, "/d", &wal, &found, &em) == 0);
    UNIT_TRUE(wal_spare_begin(wal, &spare));
    wal_spare_make(&spare);
    wal_close(wal); /* before it was taken */
    UNIT_INT(env_open(env, "/d/spare-77", ENV_WRITE | ENV_CREATE, &file, &em), 0);
    UNIT_INT(env_pwrite(file, "half", 4, 0, &em), 0);
    env_close(file);
    UNIT_REQUIRE(wal_open(env, "/d", &wal, &found, &em) == 0);
    UNIT_UINT(wal->n_spares, 1);
    UNIT_UINT(files_in(host, "spare-"), 1);
    wal_close(wal);
}

static void its_size_is_bounded(void) { run(grow_and_compact); }
static void no_room_for_a_file_ahead(void) { run(no_room_ahead); }
static void errors_name_the_file(void) { run(an_error_names_the_file); }
static void spares_are_whole_or_gone(void) { run(spares_at_start); }

/* ---- term and vote ------------------------------------------------------------------------------------------------ */

static int open_vote(struct env *env, struct errmsg *em)
{
    struct vote *vote;
    int rv = vote_open(env, "/d", &vote, em);
    if (!rv) {
        UNIT_UINT(vote_term(vote), 5);
        UNIT_UINT(vote_for(vote), 3);
        vote_close(vote);
    }
    return rv;
}

static void every_bit_of_the_vote(struct env *env, struct sim_host *host)
{
    enum { SLOT_BYTES = 40 };
    struct vote *vote;
    struct errmsg em = {""};
    UNIT_REQUIRE(vote_open(env, "/d", &vote, &em) == 0);
    UNIT_INT(vote_set_term(vote, 4, &em), 0);
    UNIT_INT(vote_set_term(vote, 5, &em), 0);
    UNIT_INT(vote_set(vote, 3, &em), 0);
    vote_close(vote);
    for (uint64_t bit = 0; bit < 2 * SLOT_BYTES * 8; bit++) { /* each is mended from the other copy, so the next may come */
        uint64_t at = bit / (SLOT_BYTES * 8) * ENV_BLOCK + bit / 8 % SLOT_BYTES;
        UNIT_INT(disk_flip(sim_host_disk(host), "/d/vote", at, (uint8_t)(1u << bit % 8)), 0);
        UNIT_INT(open_vote(env, &em), 0);
    }
    for (uint64_t byte = 0; byte < SLOT_BYTES; byte++) { /* both: refused, and nothing is changed */
        flip(host, "/d/vote", byte);
        flip(host, "/d/vote", ENV_BLOCK + (byte + 7) % SLOT_BYTES);
        UNIT_INT(open_vote(env, &em), E_CORRUPT);
        UNIT_TRUE(strstr(em.text, "/d/vote") && strstr(em.text, "replace the member"));
        flip(host, "/d/vote", byte);
        flip(host, "/d/vote", ENV_BLOCK + (byte + 7) % SLOT_BYTES);
        UNIT_INT(open_vote(env, &em), 0);
    }
}

static void every_bit_of_term_and_vote(void) { run(every_bit_of_the_vote); }

/* The second copy is as it was before the vote: a crash came between. Once it has been read the vote may be given again, and must not hang on one copy. */
static void second_copy_behind(struct env *env, struct sim_host *host)
{
    uint8_t before[ENV_BLOCK];
    struct env_file *file;
    struct vote *vote;
    struct errmsg em = {""};
    size_t got = 0;
    UNIT_REQUIRE(vote_open(env, "/d", &vote, &em) == 0);
    UNIT_INT(vote_set_term(vote, 5, &em), 0);
    UNIT_REQUIRE(env_open(env, "/d/vote", ENV_READ | ENV_WRITE, &file, &em) == 0);
    UNIT_INT(env_pread(file, before, sizeof before, ENV_BLOCK, &got, &em), 0);
    UNIT_INT(vote_set(vote, 3, &em), 0);
    vote_close(vote);
    UNIT_INT(env_pwrite(file, before, got, ENV_BLOCK, &em), 0);
    env_close(file);
    UNIT_INT(open_vote(env, &em), 0);
    flip(host, "/d/vote", 26);
    UNIT_INT(open_vote(env, &em), 0);
}

static void a_vote_that_was_read_is_in_both_copies(void) { run(second_copy_behind); }

/* One copy is bad, and not much is written when it is to be mended: the good one was not touched. */
static void good_copy_is_written_last(struct env *env, struct sim_host *host)
{
    struct vote *vote;
    struct errmsg em = {""};
    UNIT_REQUIRE(vote_open(env, "/d", &vote, &em) == 0);
    UNIT_INT(vote_set_term(vote, 5, &em), 0);
    UNIT_INT(vote_set(vote, 3, &em), 0);
    vote_close(vote);
    for (uint64_t bad = 0; bad < 2; bad++) {
        uint8_t before[ENV_BLOCK], after[ENV_BLOCK];
        struct env_file *file;
        size_t got = 0;
        flip(host, "/d/vote", bad * ENV_BLOCK + 26);
        UNIT_REQUIRE(env_open(env, "/d/vote", ENV_READ, &file, &em) == 0);
        UNIT_INT(env_pread(file, before, sizeof before, (1 - bad) * ENV_BLOCK, &got, &em), 0);
        sim_fail_call(host, SIM_WRITE, 2, E_IO, false);
        UNIT_INT(vote_open(env, "/d", &vote, &em), E_IO);
        UNIT_INT(env_pread(file, after, sizeof after, (1 - bad) * ENV_BLOCK, &got, &em), 0);
        UNIT_MEM(before, after, got);
        env_close(file);
        UNIT_INT(open_vote(env, &em), 0);
    }
}

static void a_vote_is_mended_with_the_good_copy_untouched(void) { run(good_copy_is_written_last); }

UNIT_MAIN("wal_damage", UNIT_TEST(finds_every_acknowledged_byte), UNIT_TEST(bytes_between_records_mean_nothing), UNIT_TEST(cuts_the_last_write_alone),
          UNIT_TEST(its_size_is_bounded), UNIT_TEST(no_room_for_a_file_ahead), UNIT_TEST(spares_are_whole_or_gone), UNIT_TEST(errors_name_the_file),
          UNIT_TEST(every_bit_of_term_and_vote), UNIT_TEST(a_vote_that_was_read_is_in_both_copies),
          UNIT_TEST(a_vote_is_mended_with_the_good_copy_untouched))
