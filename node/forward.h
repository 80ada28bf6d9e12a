/* forward.h: statements that only the leader can run, typed on another member: sent there, and its answer brought back.
 *
 * Owner: the daemon; loop env. A change is answered only when this node has applied what the leader had then, so that whoever made it sees it here. */
#ifndef HOLDFAST_NODE_FORWARD_H
#define HOLDFAST_NODE_FORWARD_H

#include "node/control.h"

struct forward;

struct forward *forward_new(struct control *control);
void forward_free(struct forward *forward); /* after cluster_close's callback */
void forward_close(struct forward *forward); /* answers what still waits */

/* Takes the request: it is answered by control_reply, never inside the call. */
void forward_request(struct forward *forward, struct control_request *request);

/* A member's statement for this node, the leader (cluster_handler.asked). view: as this node's workers have it. */
void forward_asked(struct forward *forward, struct view *view, uint64_t from, uint64_t ticket, struct cur *body);

void forward_applied(struct forward *forward); /* an entry was applied here */

#endif
