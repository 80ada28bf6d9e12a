/* fuzz_vote: the file of term and vote.
 *
 * Input: flags (1, 2: the first and second slot get a right checksum), then the two slots' 40 bytes each,
 * then what follows them. Properties: with both slots damaged it does not open, with one it opens with the
 * other's content; the open mends it; what is set is there after the next open. */
#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "raft/vote.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"

enum { SLOT = 40, NUMBER_AT = 12 };

static void fill(struct cur *in, uint8_t *block, bool right)
{
    size_t n;
    const uint8_t *p = fuzz_take(in, SLOT, &n);
    if (n) {
        memcpy(block, p, n);
    }
    if (right) {
        le_put(block + SLOT - 4, crc32c_of(0, block, SLOT - 4), 4);
    }
}

static void reopen(struct env *env, uint64_t term, uint64_t voted)
{
    struct vote *vote = NULL;
    MUST(vote_open(env, "/d", &vote, NULL) == 0);
    MUST(vote_term(vote) == term && vote_for(vote) == voted);
    vote_close(vote);
}

/* Changes are counted; nobody ever makes the last one that can be counted, or number 0. */
static bool last_number(const uint8_t *blocks)
{
    for (int i = 0; i < 2; i++) {
        struct cur c = cur_of(blocks + i * ENV_BLOCK + NUMBER_AT, 8);
        uint64_t number = cur_u64(&c);
        if (number == 0 || number >= UINT64_MAX - 4) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    static uint8_t blocks[2 * ENV_BLOCK];
    struct env *env = memory_env_new();
    struct vote *vote = NULL;
    struct errmsg em = {.text = ""};
    memset(blocks, 0, sizeof blocks);
    fill(&in, blocks, flags & 1);
    fill(&in, blocks + ENV_BLOCK, flags & 2);
    memory_env_put(env, "/d/vote", blocks, sizeof blocks, flags & 4 ? cur_u16(&in) : sizeof blocks);
    uint32_t before = memory_env_digest(env, "vote");
    if (vote_open(env, "/d", &vote, &em)) {
        MUST(em.text[0] && memory_env_digest(env, "vote") == before);
        memory_env_free(env);
        return 0;
    }
    if (last_number(blocks)) {
        vote_close(vote);
        memory_env_free(env);
        return 0;
    }
    uint64_t term = vote_term(vote), voted = vote_for(vote);
    vote_close(vote);
    reopen(env, term, voted);
    MUST(vote_open(env, "/d", &vote, NULL) == 0);
    MUST(vote_set_term(vote, term + 1, NULL) == 0 && vote_set(vote, 3, NULL) == 0);
    vote_close(vote);
    reopen(env, term + 1, 3);
    memory_env_free(env);
    return 0;
}
