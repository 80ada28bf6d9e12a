/* level.h: the feature level of this program: what it can read in the log, and in members' words. It grows with each change of those.
 *
 * Members tell each other theirs. The cluster's own level stands in the replicated state: the leader raises it when all members know more
 * (raft/cluster_members.c), and from then on entries are of that level, so a cluster is upgraded node by node while it runs. There is no way back: a program that
 * knows less is refused, by the members and at its own start. */
#ifndef HOLDFAST_RAFT_LEVEL_H
#define HOLDFAST_RAFT_LEVEL_H

#include "protocol/base/err.h"

#include <stdint.h>

#ifndef HOLDFAST_FEATURE_LEVEL /* a test builds the next one ("make holdfastd-next") */
#define HOLDFAST_FEATURE_LEVEL 1
#endif

enum { FEATURE_LEVEL = HOLDFAST_FEATURE_LEVEL };

struct rio;

/* Before libraft is started: E_VERSION when the log or the snapshot is of a level above `ours`. */
int level_check(struct rio *rio, const char *data_dir, uint32_t ours, struct errmsg *em);

#endif
