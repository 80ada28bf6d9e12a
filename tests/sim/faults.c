/* faults.c: see faults.h. */
#include "tests/sim/faults.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/wal_format.h"
#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CALL(what) (1u << SIM_##what)

enum { PATHS_MAX = 512, DATA_DIRS = 6 };

const struct fault_kind fault_kinds[] = {
    {"no_space", CALL(WRITE) | CALL(OPEN) | CALL(MKDIR), E_NOSPACE, true, true},
    {"no_inodes", CALL(OPEN) | CALL(MKDIR), E_NOSPACE, true, true},
    {"read_only", CALL(WRITE) | CALL(OPEN) | CALL(MKDIR) | CALL(RENAME) | CALL(UNLINK) | CALL(TRUNCATE), E_IO, true, true},
    {"write_error", CALL(WRITE) | CALL(TRUNCATE), E_IO, false, false},
    {"sync_failed", CALL(SYNC) | CALL(SYNC_DIR), E_IO, false, false},
    {"read_error", CALL(READ), E_IO, false, false},
    {"name_error", CALL(OPEN) | CALL(MKDIR) | CALL(RENAME) | CALL(UNLINK), E_IO, false, false},
};
const unsigned fault_kinds_n = sizeof fault_kinds / sizeof fault_kinds[0];

const char *const fault_files[] = {"/raft/wal-",  "/raft/spare-", "/raft/vote",  "/raft/snapshot",
                                   "/binlog/1/", "/binlog/files.", "/index/",      "/checkpoint", "/data/node"};
const unsigned fault_files_n = sizeof fault_files / sizeof fault_files[0];

const struct fault_kind *fault_kind_find(const char *name)
{
    for (unsigned i = 0; i < fault_kinds_n; i++) {
        if (strcmp(fault_kinds[i].name, name) == 0) {
            return &fault_kinds[i];
        }
    }
    return NULL;
}

void fault_plan(struct sim_host *host, const struct fault_kind *kind, const char *file, uint64_t k)
{
    struct sim_fault fault = {.calls = kind->calls,
                              .path = file,
                              .creating = kind->creating,
                              .countdown = k,
                              .code = kind->code,
                              .forever = kind->forever};
    sim_fault(host, &fault);
}

static bool was_told(void *arg)
{
    return sim_struck(arg)->told;
}

void fault_check_told(struct sim_host *host)
{
    static const char *const calls[SIM_CALLS] = {"open", "read", "write", "sync", "rename", "unlink", "mkdir", "sync_dir", "truncate"};
    const struct sim_struck *struck = sim_struck(host);
    const char *path = struck->times ? struck->paths[(struck->times - 1) % SIM_STRUCK_PATHS] : "";
    bool writes = struck->call == SIM_WRITE || struck->call == SIM_SYNC || struck->call == SIM_RENAME;
    bool derived = !writes && strstr(path, "index"); /* not read, or left over: files are walked instead, or it is written anew */
    if (struck->times > 0 && !derived && !sim_run_until(sim_host_sim(host), was_told, host, ENV_S)) {
        sim_fail(sim_host_sim(host), "%s: %s %s failed, and no line of its log names that file", sim_host_name(host),
                 calls[struck->call], path);
    }
}

/* ---- bits that change ---------------------------------------------------------------------------------- */

struct paths {
    char v[PATHS_MAX][128];
    size_t n;
    const char *dir;
};

static void add_path(void *arg, const char *name)
{
    struct paths *p = arg;
    if (p->n < PATHS_MAX) {
        snprintf(p->v[p->n++], sizeof p->v[0], "%.60s/%.60s", p->dir, name);
    }
}

/* A file of a kind that is drawn first, so that the many binlog files do not stand for all. */
static bool choose_file(struct sim_host *host, struct rng *rng, char *path)
{
    static const char *const dirs[DATA_DIRS] = {"/data", "/data/raft", "/data/binlog", "/data/binlog/1", "/data/index", "/data/index/1"};
    struct paths *all = mem_new(sizeof *all);
    size_t found = 0;
    const char *kind = fault_files[rng_below(rng, fault_files_n)];
    for (unsigned i = 0; i < DATA_DIRS; i++) {
        all->dir = dirs[i];
        (void)disk_list(sim_host_disk(host), dirs[i], add_path, all);
    }
    for (size_t i = 0; i < all->n; i++) {
        if (strstr(all->v[i], kind) && rng_below(rng, ++found) == 0) {
            memcpy(path, all->v[i], sizeof all->v[i]);
        }
    }
    mem_free(all);
    return found > 0;
}

/* The newest write of the log cannot be told from one that was torn by a crash, nor can the one before it if the newest was: a node
 * alone cannot find a bit that changed there. */
static uint64_t wal_end(const struct buf *file)
{
    struct wal_header header;
    uint64_t last[3] = {0, 0, 0};
    if (!wal_header_get(file->data, file->len, &header)) {
        return 0;
    }
    for (uint64_t at = ENV_BLOCK; at + ENV_BLOCK <= file->len; at += ENV_BLOCK) {
        struct cur c = cur_of(file->data + at, ENV_BLOCK);
        bool magic = cur_u32(&c) == WAL_RECORD_MAGIC;
        cur_skip(&c, 8);
        if (magic && cur_u64(&c) == header.epoch) {
            last[2] = last[1];
            last[1] = last[0];
            last[0] = at;
        }
    }
    return last[1];
}

static bool byte_of(struct sim_host *host, const char *path, uint64_t at, uint8_t *byte)
{
    struct disk_node *node;
    if (disk_open(sim_host_disk(host), path, false, false, 0, &node)) {
        return false;
    }
    bool there = disk_read(node, byte, 1, at) == 1;
    disk_release(sim_host_disk(host), node);
    return there;
}

void rot_strike(struct sim_host *host, struct rot *rot)
{
    struct rng *rng = sim_rng(sim_host_sim(host));
    struct buf file;
    *rot = (struct rot){.bits = (uint8_t)(1u << rng_below(rng, 8))};
    if (!choose_file(host, rng, rot->path)) {
        return;
    }
    buf_init(&file, (size_t)1 << 32);
    int rv = sim_host_read(host, rot->path, &file);
    CHECK(rv == 0 || rv == E_INVALID); /* a directory */
    uint64_t end = strstr(rot->path, "/wal-") ? wal_end(&file) : file.len;
    if (!rv && end > 0) {
        rot->at = rng_below(rng, rng_chance(rng, 30) && end > 64 ? 64 : end);
        rot->was = file.data[rot->at];
        rv = disk_flip(sim_host_disk(host), rot->path, rot->at, rot->bits);
        CHECK(rv == 0);
        rot->done = true;
        sim_note(sim_host_sim(host), "a bit changes: %s at %" PRIu64 " of %zu, %02x", rot->path, rot->at, file.len, rot->bits);
        sim_watch(host, rot->path);
    }
    buf_free(&file);
}

bool rot_is_there(struct sim_host *host, const struct rot *rot)
{
    uint8_t byte;
    return rot->done && byte_of(host, rot->path, rot->at, &byte) && byte == (rot->was ^ rot->bits);
}

bool rot_mend(struct sim_host *host, struct rot *rot)
{
    bool wrong = rot_is_there(host, rot);
    if (wrong) {
        (void)disk_flip(sim_host_disk(host), rot->path, rot->at, rot->bits);
        sim_note(sim_host_sim(host), "the bit is turned back: %s at %" PRIu64, rot->path, rot->at);
    }
    rot->done = false;
    return wrong;
}

void rot_check_refusal(struct sim_host *host, const struct rot *rot)
{
    static const char *const remedies[] = {"replace", "rebuild", "install", "remove", "restore"};
    const char *words = sim_last_words(host), *name = strrchr(rot->path, '/') + 1;
    bool says = false;
    for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++) {
        says = says || strstr(words, remedies[i]);
    }
    if (!strstr(words, name)) {
        sim_fail(sim_host_sim(host), "a bit of %s changed, and %s ends without naming it: %s", rot->path, sim_host_name(host), words);
    }
    if (!says) {
        sim_fail(sim_host_sim(host), "%s does not say what to do: %s", sim_host_name(host), words);
    }
}
