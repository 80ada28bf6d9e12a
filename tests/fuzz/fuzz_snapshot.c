/* fuzz_snapshot: the snapshot's file.
 *
 * Input: flags (1: a right checksum is put in), then the file. Properties: what was read is written so that
 * it is read again as the same; the manifest inside is read as the node does. */
#include "protocol/base/crc.h"
#include "raft/snapshot.h"
#include "raft/state.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"

enum { HEAD = 16 };

static void check_written(struct env *env, const struct snapshot *s)
{
    struct snapshot again;
    MUST(snapshot_write(env, "/d", s, NULL) == 0);
    MUST(snapshot_read(env, "/d", &again, NULL) == 0);
    MUST(again.index == s->index && again.term == s->term &&
         again.configuration_index == s->configuration_index);
    MUST(again.n_servers == s->n_servers && again.data.len == s->data.len);
    for (size_t i = 0; i < s->n_servers; i++) {
        MUST(again.servers[i].id == s->servers[i].id && again.servers[i].role == s->servers[i].role);
        MUST(!strcmp(again.servers[i].address, s->servers[i].address));
    }
    MUST(s->data.len == 0 || !memcmp(again.data.data, s->data.data, s->data.len));
    snapshot_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    size_t n;
    const uint8_t *rest = cur_rest(&in, &n);
    uint8_t *file = fuzz_exact(rest, size ? n : 0);
    struct env *env = memory_env_new();
    struct snapshot s;
    struct errmsg em = {.text = ""};
    n = size ? n : 0;
    if (flags & 1 && n >= HEAD) {
        le_put(file + HEAD - 4, crc32c_of(0, file + HEAD, n - HEAD), 4);
    }
    memory_env_put(env, "/d/snapshot", file, n, n);
    int rc = snapshot_read(env, "/d", &s, &em);
    if (rc) {
        MUST(em.text[0] && (rc == E_CORRUPT || rc == E_VERSION));
        MUST(!s.servers && !s.data.data);
    } else {
        struct state *state = NULL;
        struct cur c = cur_of(s.data.data, s.data.len);
        check_written(env, &s);
        if (state_decode(&c, &state) == 0) {
            state_free(state);
        }
        snapshot_free(&s);
    }
    memory_env_free(env);
    free(file);
    return 0;
}
