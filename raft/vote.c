/* vote.c: term and vote in two slots, see vote.h. A slot: magic, version, number of the change, term, vote, CRC32C; one block each. */
#include "raft/vote.h"

#include "raft/mutation.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VOTE_VERSION = 1, SLOT_BYTES = 40, SLOTS = 2, PATH_BYTES = 4096 };

#define DURABLE (MUTATED(VOTE_NO_SYNC) ? 0 : ENV_DURABLE)
#define VOTE_MAGIC 0x314554564f4c4448ull /* "HDLOVTE1" */

struct vote {
    struct env_file *file;
    uint8_t *block;
    uint64_t number; /* of the last change */
    uint64_t term;
    uint64_t voted_for;
};

static int write_slots(struct vote *vote, uint64_t first, struct errmsg *em)
{
    vote->number++;
    memset(vote->block, 0, ENV_BLOCK);
    le_put(vote->block, VOTE_MAGIC, 8);
    le_put(vote->block + 8, VOTE_VERSION, 4);
    le_put(vote->block + 12, vote->number, 8);
    le_put(vote->block + 20, vote->term, 8);
    le_put(vote->block + 28, vote->voted_for, 8);
    le_put(vote->block + 36, crc32c_of(0, vote->block, SLOT_BYTES - 4), 4);
    uint64_t slots = MUTATED(VOTE_SLOT) && vote->number > 1 ? 1 : SLOTS;
    for (uint64_t i = 0; i < slots; i++) {
        int rv = env_pwrite(vote->file, vote->block, ENV_BLOCK, (first + i) % SLOTS * ENV_BLOCK, em);
        if (rv) {
            return err_wrap(em, rv, "cannot store term and vote");
        }
    }
    return 0;
}

enum slot { SLOT_BAD, SLOT_GOOD, SLOT_NEWER };

static enum slot read_slot(struct vote *vote, const uint8_t *block, size_t n, uint64_t *number)
{
    struct cur c = cur_of(block, n);
    uint64_t magic = cur_u64(&c);
    uint32_t version = cur_u32(&c);
    *number = cur_u64(&c);
    uint64_t term = cur_u64(&c), voted_for = cur_u64(&c);
    uint32_t crc = cur_u32(&c);
    if (!cur_ok(&c) || magic != VOTE_MAGIC || crc != crc32c_of(0, block, SLOT_BYTES - 4)) {
        return SLOT_BAD;
    }
    if (version > VOTE_VERSION) {
        return SLOT_NEWER;
    }
    if (*number > vote->number) {
        vote->number = *number;
        vote->term = term;
        vote->voted_for = voted_for;
    }
    return SLOT_GOOD;
}

static int read_slots(struct env *env, struct vote *vote, const char *path, struct errmsg *em)
{
    int good = 0;
    uint64_t number[SLOTS], newest = 0;
    size_t got = 0;
    for (uint64_t slot = 0; slot < SLOTS; slot++) {
        int rv = env_pread(vote->file, vote->block, ENV_BLOCK, slot * ENV_BLOCK, &got, em);
        if (rv) {
            return rv;
        }
        switch (read_slot(vote, vote->block, got, &number[slot])) {
        case SLOT_NEWER:
            return err_set(em, E_VERSION, "%s was written by a newer version of holdfastd; install that one", path);
        case SLOT_GOOD:
            good++;
            newest = number[slot] == vote->number ? slot : newest;
            break;
        case SLOT_BAD:
            break;
        }
    }
    if (good == 0) {
        return err_set(em, E_CORRUPT, "%s: both copies of term and vote are damaged; replace the member", path);
    }
    if (good < SLOTS) { /* a crash while it was written, or rot: the other one holds all that was ever promised */
        env_log(env, ENV_WARN, "vote: one copy of term and vote was torn or damaged and is written again path=%s", path);
    }
    /* a crash between the two: what the newer one says is what this life promises, and it must not be in one place only; nor in none, while it is written again */
    return good == SLOTS && number[0] == number[1] ? 0 : write_slots(vote, newest + 1, em);
}

/* A new file gets both slots under another name first: one that exists is never without a good slot. */
static int create(struct env *env, const char *dir, struct vote *vote, struct errmsg *em)
{
    char tmp[PATH_BYTES], path[PATH_BYTES];
    snprintf(tmp, sizeof tmp, "%s/vote.tmp", dir);
    snprintf(path, sizeof path, "%s/vote", dir);
    int rv = env_open(env, tmp, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_TRUNC | DURABLE, &vote->file, em);
    if (!rv) {
        rv = write_slots(vote, 0, em);
    }
    if (!rv) {
        rv = env_rename(env, tmp, path, em);
    }
    return rv ? rv : env_sync_dir(env, dir, em);
}

int vote_open(struct env *env, const char *dir, struct vote **out, struct errmsg *em)
{
    char path[PATH_BYTES];
    struct vote *vote = mem_new(sizeof *vote);
    vote->block = aligned_alloc(ENV_BLOCK, ENV_BLOCK);
    CHECK(vote->block);
    snprintf(path, sizeof path, "%s/vote", dir);
    int rv = env_open(env, path, ENV_READ | ENV_WRITE | DURABLE, &vote->file, em);
    if (rv == E_NOTFOUND) {
        rv = create(env, dir, vote, em);
    } else if (!rv) {
        rv = read_slots(env, vote, path, em);
    }
    if (rv) {
        vote_close(vote);
        return rv;
    }
    *out = vote;
    return 0;
}

void vote_close(struct vote *vote)
{
    if (vote->file) {
        env_close(vote->file);
    }
    free(vote->block);
    mem_free(vote);
}

uint64_t vote_term(const struct vote *vote)
{
    return vote->term;
}

uint64_t vote_for(const struct vote *vote)
{
    return vote->voted_for;
}

int vote_set_term(struct vote *vote, uint64_t term, struct errmsg *em)
{
    if (term == vote->term) {
        return 0;
    }
    vote->term = term;
    vote->voted_for = 0;
    return write_slots(vote, 0, em);
}

int vote_set(struct vote *vote, uint64_t id, struct errmsg *em)
{
    vote->voted_for = id;
    return write_slots(vote, 0, em);
}
