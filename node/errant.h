/* errant.h: replicas that ask with GTIDs that are not held here: may they be served?
 *
 * One that has read the source before our acknowledgement, or another node that is further, is only ahead, and waits. One that has what neither
 * the cluster nor the source that it follows has (an old master with commits that nobody acknowledged) went another way: it is named,
 * with its GTIDs, in the log and by an alarm, and refused where a server of its flavour would refuse it.
 *
 * Owner: the daemon; loop env. Only the leader's committed state and the source together prove it, so nothing is said against anybody
 * while no leader answers, or the source does not. */
#ifndef HOLDFAST_NODE_ERRANT_H
#define HOLDFAST_NODE_ERRANT_H

#include "node/serve.h"

struct errant;

struct errant *errant_new(struct control *control);
void errant_stop(struct errant *errant);  /* asks nobody any more */
void errant_free(struct errant *errant);  /* after cluster_close's callback */
void errant_set_view(struct errant *errant, struct view *view); /* takes a reference */

/* A dump by GTIDs begins. Takes `have`. serve_judge answers, once or twice, never inside the call. */
void errant_replica(struct errant *errant, const struct serve_replica *replica, struct gtid_set *have);
void errant_left(struct errant *errant, uint32_t connection_id);

#endif
