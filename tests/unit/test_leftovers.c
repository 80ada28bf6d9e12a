/* test_leftovers: what lies beside the files that the checkpoint names is gone after a start, also when the list that should tell of
 * it is damaged; and the lists of names say what there is, in every era. */
#include "storage/store.h"

#include "protocol/base/mem.h"
#include "storage/purge.h"
#include "tests/unit/binlogs.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct rig {
    struct env *loop;
    char *dir;
    uint64_t index;
    struct store *store;
};

static void begin(struct rig *rig, const char *name)
{
    *rig = (struct rig){.loop = test_env_new(unit_seed()), .dir = binlog_dir(name)};
    rig->store = binlog_store(rig->loop, rig->dir);
}

static void add_file(struct rig *rig, uint64_t era, const char *name)
{
    store_file(rig->store, ++rig->index, 0, era, name, NULL);
    test_env_run(rig->loop);
}

static void checkpoint(struct rig *rig)
{
    store_checkpoint(rig->store, rig->index, NULL, NULL);
    test_env_run(rig->loop);
}

static void restart(struct rig *rig)
{
    binlog_store_close(rig->loop, rig->store);
    rig->store = binlog_store(rig->loop, rig->dir);
}

static void end(struct rig *rig)
{
    binlog_store_close(rig->loop, rig->store);
    UNIT_UINT(test_env_open_files(rig->loop), 0);
    mem_free(rig->dir);
    test_env_free(rig->loop);
}

static bool is_there(const struct rig *rig, const char *name)
{
    char *path = mem_printf("%s/%s", rig->dir, name);
    bool there = access(path, F_OK) == 0;
    mem_free(path);
    return there;
}

static void write_file(const struct rig *rig, const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", rig->dir, name);
    FILE *f = fopen(path, "wb");
    UNIT_REQUIRE(f && fputs(text, f) >= 0 && fclose(f) == 0);
    mem_free(path);
}

static void flip(const struct rig *rig, const char *name, long at)
{
    char *path = mem_printf("%s/%s", rig->dir, name);
    FILE *f = fopen(path, "r+b");
    UNIT_REQUIRE(f && fseek(f, at, at < 0 ? SEEK_END : SEEK_SET) == 0);
    int c = fgetc(f);
    UNIT_REQUIRE(c != EOF && fseek(f, -1, SEEK_CUR) == 0 && fputc(c ^ 4, f) != EOF && fclose(f) == 0);
    mem_free(path);
}

static bool holds(const struct rig *rig, const char *name, const char *want)
{
    struct buf have;
    bool same = binlog_read(rig->loop, &have, "%s/%s", rig->dir, name) && strcmp(buf_cstr(&have), want) == 0;
    buf_free(&have);
    return same;
}

/* The list's record of a file that came after the checkpoint is damaged: the file goes all the same, what is none of ours stays. */
static void a_file_that_a_damaged_list_hides_is_removed(void)
{
    struct rig rig;
    begin(&rig, "hidden");
    add_file(&rig, 1, "mysql-bin.000001");
    checkpoint(&rig);
    add_file(&rig, 1, "mysql-bin.000002");
    add_file(&rig, 2, "mysql-bin.000001");
    write_file(&rig, "binlog/1/notes.txt", "mine");
    UNIT_TRUE(is_there(&rig, "binlog/2/mysql-bin.000001") && is_there(&rig, "index/2/mysql-bin.000001.idx"));
    flip(&rig, "binlog/files.1", 33); /* in the second record */
    restart(&rig);
    UNIT_TRUE(is_there(&rig, "binlog/1/mysql-bin.000001") && is_there(&rig, "index/1/mysql-bin.000001.idx"));
    UNIT_TRUE(!is_there(&rig, "binlog/1/mysql-bin.000002") && !is_there(&rig, "index/1/mysql-bin.000002.idx"));
    UNIT_TRUE(!is_there(&rig, "binlog/2/mysql-bin.000001") && !is_there(&rig, "index/2/mysql-bin.000001.idx"));
    UNIT_TRUE(!is_there(&rig, "binlog/2/mysql-bin.index"));
    UNIT_TRUE(holds(&rig, "binlog/1/mysql-bin.index", "./mysql-bin.000001\n"));
    UNIT_TRUE(is_there(&rig, "binlog/1/notes.txt"));
    rig.index = 1;
    add_file(&rig, 1, "mysql-bin.000002"); /* the log brings it again */
    UNIT_TRUE(holds(&rig, "binlog/1/mysql-bin.index", "./mysql-bin.000001\n./mysql-bin.000002\n"));
    end(&rig);
}

/* The first file of all, and the list has nothing that can be read. */
static void the_first_file_is_removed_too(void)
{
    struct rig rig;
    begin(&rig, "first");
    add_file(&rig, 1, "mysql-bin.000001");
    flip(&rig, "binlog/files.1", 3);
    flip(&rig, "binlog/1/mysql-bin.000001", 0);
    restart(&rig);
    UNIT_TRUE(!is_there(&rig, "binlog/1/mysql-bin.000001") && !is_there(&rig, "binlog/1/mysql-bin.index"));
    rig.index = 0;
    add_file(&rig, 1, "mysql-bin.000001");
    UNIT_TRUE(holds(&rig, "binlog/1/mysql-bin.000001", "\376bin"));
    end(&rig);
}

/* A purge that was under way, and the list that says what is to go is damaged. */
static void what_a_purge_left_is_removed(void)
{
    struct rig rig;
    struct buf old;
    begin(&rig, "purge");
    for (unsigned i = 1; i <= 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "mysql-bin.%06u", i);
        add_file(&rig, 1, name);
    }
    UNIT_TRUE(binlog_read(rig.loop, &old, "%s/binlog/files.1", rig.dir));
    store_purge(rig.store, ++rig.index, 1, "mysql-bin.000005");
    test_env_run(rig.loop);
    UNIT_TRUE(!is_there(&rig, "binlog/files.1") && !is_there(&rig, "binlog/1/mysql-bin.000003"));
    char *path = mem_printf("%s/binlog", rig.dir);
    UNIT_INT(env_replace_file(rig.loop, path, "files.1", old.data, old.len, NULL), 0);
    mem_free(path);
    write_file(&rig, "binlog/1/mysql-bin.000003", "\376bin");
    flip(&rig, "binlog/files.1", 33);
    restart(&rig);
    UNIT_TRUE(!is_there(&rig, "binlog/files.1") && !is_there(&rig, "binlog/1/mysql-bin.000003"));
    UNIT_TRUE(is_there(&rig, "binlog/1/mysql-bin.000005") && is_there(&rig, "binlog/1/mysql-bin.000006"));
    UNIT_TRUE(holds(&rig, "binlog/1/mysql-bin.index", "./mysql-bin.000005\n./mysql-bin.000006\n"));
    buf_free(&old);
    end(&rig);
}

static void the_names_of_every_era_are_mended(void)
{
    struct rig rig;
    begin(&rig, "names");
    add_file(&rig, 1, "mysql-bin.000001");
    add_file(&rig, 1, "mysql-bin.000002");
    add_file(&rig, 2, "binlog.000007");
    add_file(&rig, 3, "mysql-bin.000001");
    checkpoint(&rig);
    flip(&rig, "binlog/1/mysql-bin.index", 5);
    char *path = mem_printf("%s/binlog/2/binlog.index", rig.dir);
    UNIT_INT(unlink(path), 0);
    mem_free(path);
    write_file(&rig, "binlog/3/mysql-bin.index", "./mysql-bin.000001\n./mysql-bin.000002\n");
    restart(&rig);
    UNIT_TRUE(holds(&rig, "binlog/1/mysql-bin.index", "./mysql-bin.000001\n./mysql-bin.000002\n"));
    UNIT_TRUE(holds(&rig, "binlog/2/binlog.index", "./binlog.000007\n"));
    UNIT_TRUE(holds(&rig, "binlog/3/mysql-bin.index", "./mysql-bin.000001\n"));
    end(&rig);
}

UNIT_MAIN("leftovers", UNIT_TEST(a_file_that_a_damaged_list_hides_is_removed), UNIT_TEST(the_first_file_is_removed_too),
          UNIT_TEST(what_a_purge_left_is_removed), UNIT_TEST(the_names_of_every_era_are_mended))
