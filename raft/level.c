/* level.c: see level.h. The level stands in the snapshot's state and in MEMBER entries behind it; of the others only the heads are looked at. An entry that was
 * never committed counts too: who wrote it had heard that all members know the level. */
#include "raft/level.h"

#include "raft/entry.h"
#include "raft/io.h"
#include "raft/state.h"

#include <inttypes.h>

static int of_snapshot(const struct snapshot *s, uint32_t *level)
{
    struct state *state;
    struct cur c = cur_of(s->data.data, s->data.len);
    int rv = state_decode(&c, &state);
    if (!rv) {
        *level = state->members.level;
        state_free(state);
    }
    return rv;
}

static int of_record(const struct wal_record *r, uint32_t *level)
{
    struct entry_head head;
    struct entry_member m = {0};
    struct cur body;
    int rv = r->type == RAFT_COMMAND ? entry_read(r->data, r->len, &head, &body) : E_NOTFOUND;
    if (rv || head.kind != ENTRY_MEMBER) {
        return rv == E_VERSION ? rv : 0; /* what is malformed is told where it is applied */
    }
    rv = entry_read_member(&body, &m);
    if (!rv && m.verb == MEMBER_LEVEL && m.level > *level) {
        *level = m.level;
    }
    return rv == E_VERSION ? rv : 0;
}

int level_check(struct rio *rio, const char *data_dir, uint32_t ours, struct errmsg *em)
{
    const struct snapshot *s = rio_snapshot(rio);
    const struct wal_found *found = rio_found(rio);
    uint32_t level = 0;
    int rv = s ? of_snapshot(s, &level) : 0;
    for (size_t i = 0; i < found->n && !rv && level <= ours; i++) {
        rv = of_record(&found->records[i], &level);
    }
    if (rv == E_VERSION) {
        return err_set(em, rv, "%s: the log is of a newer version of holdfastd; install that one", data_dir);
    }
    if (level > ours) {
        return err_set(em, E_VERSION, "%s: the cluster has feature level %" PRIu32 ", this holdfastd knows %" PRIu32
                       ": install the one that ran here before, or a newer one", data_dir, level, ours);
    }
    return 0;
}
