/* test_wal_uv: the log, term and vote on the real file systems of this machine: with O_DIRECT|O_DSYNC where it can be had (TMPDIR), and
 * on a tmpfs, which has no device below it. */
#include "tests/unit/env_uv_fixture.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/vote.h"
#include "raft/wal.h"
#include "raft/wal_format.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENTRIES = 40, BIG = 1 << 20 };

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void write_log(struct env *main_env, const char *dir)
{
    static uint8_t data[BIG];
    struct wal *wal;
    struct wal_found found;
    struct errmsg em = {""};
    struct wal_spare spare = {.env = main_env};
    UNIT_REQUIRE(wal_open(main_env, dir, &wal, &found, &em) == 0);
    UNIT_UINT(found.n, 0);
    UNIT_TRUE(wal_spare_begin(wal, &spare));
    wal_spare_make(&spare);
    UNIT_INT(spare.rv, 0);
    wal_spare_take(wal, &spare);
    for (uint64_t i = 1; i <= ENTRIES; i++) { /* over the change of a segment, twice */
        memset(data, (int)i, sizeof data);
        struct wal_record record = {.index = i, .term = 2, .type = 1, .data = data, .len = i % 3 ? BIG - (size_t)i : (size_t)i};
        UNIT_INT(wal_append(wal, &record, 1, &em), 0);
    }
    UNIT_TRUE(wal->n_segments > 1);
    wal_close(wal);
}

static void read_log(struct env *main_env, const char *dir)
{
    struct wal *wal;
    struct wal_found found;
    struct errmsg em = {""};
    int rv = wal_open(main_env, dir, &wal, &found, &em);
    if (rv) {
        printf("# %s\n", em.text);
    }
    UNIT_REQUIRE(rv == 0);
    UNIT_UINT(found.n, ENTRIES);
    for (uint64_t i = 1; i <= ENTRIES && i <= found.n; i++) {
        const struct wal_record *r = &found.records[i - 1];
        const uint8_t *bytes = r->data;
        UNIT_TRUE(r->index == i && r->len == (i % 3 ? BIG - (size_t)i : (size_t)i));
        UNIT_TRUE(bytes[0] == (uint8_t)i && bytes[r->len - 1] == (uint8_t)i);
    }
    wal_found_free(&found);
    wal_close(wal);
}

static void in(const char *parent)
{
    char *dir = mem_printf("%s/test_wal_uv.XXXXXX", parent);
    struct vote *vote;
    struct errmsg em = {""};
    UNIT_REQUIRE(mkdtemp(dir) != NULL);
    begin();
    write_log(env, dir);
    read_log(env, dir);
    UNIT_REQUIRE(vote_open(env, dir, &vote, &em) == 0);
    UNIT_INT(vote_set_term(vote, 7, &em), 0);
    UNIT_INT(vote_set(vote, 2, &em), 0);
    vote_close(vote);
    UNIT_REQUIRE(vote_open(env, dir, &vote, &em) == 0);
    UNIT_TRUE(vote_term(vote) == 7 && vote_for(vote) == 2);
    vote_close(vote);
    end();
    (void)nftw(dir, drop, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(dir);
}

static void on_a_disk(void)
{
    const char *tmp = getenv("TMPDIR");
    in(tmp && tmp[0] ? tmp : "/tmp");
}

static void on_a_tmpfs(void)
{
    if (access("/dev/shm", W_OK) != 0) {
        UNIT_SKIP("no /dev/shm here");
    }
    in("/dev/shm");
}

UNIT_MAIN("wal_uv", UNIT_TEST(on_a_disk), UNIT_TEST(on_a_tmpfs))
