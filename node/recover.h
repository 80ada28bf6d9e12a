/* recover.h: holdfastd --force-new-cluster: the node of a data directory becomes a cluster of its own (raft/recover.h). The node must not run. */
#ifndef HOLDFAST_NODE_RECOVER_H
#define HOLDFAST_NODE_RECOVER_H

#include <stdbool.h>

/* Says on standard output what there is and what may be lost, asks on standard input (`yes`: the answer was given), does it. An exit status. */
int recover_data_dir(const char *dir, bool yes);

#endif
