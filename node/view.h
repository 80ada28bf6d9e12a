/* view.h: what serving workers know of the node and of the replicated state: an immutable, reference-counted copy, made anew on the loop when
 * something in it changes, and posted to the workers. GTID sets and positions are not in it: they change with each transaction and are
 * asked for on the loop (node/control.h). */
#ifndef HOLDFAST_NODE_VIEW_H
#define HOLDFAST_NODE_VIEW_H

#include "raft/state.h"

#include <stdatomic.h>

struct view {
    _Atomic unsigned refs;
    uint64_t node_id;
    enum flavour flavour;               /* of the source followed; NONE before any */
    char version[96];                   /* for the greeting: the source's with -holdfast, "8.4.0-holdfast" before any */
    char server_uuid[UUID_TEXT_SIZE];   /* this node's own */
    uint32_t server_id;                 /* this node's own */
    bool leader;
    bool gtids_off;                     /* MySQL: there are transactions, and none has a GTID */
    struct user_account *users;
    size_t n_users;
    struct tls_ctx *tls;                /* a reference; NULL: not offered */
    struct auth_rsa *rsa;               /* a reference; NULL: no passwords over open connections */
};

struct view *view_ref(struct view *view);
void view_unref(struct view *view); /* NULL is fine */
bool view_has_cold(const struct view *view); /* an account whose client may have to tell its password */
/* The account that a client is, by its name and address: NULL when none is meant for it. */
const struct user_account *view_user(const struct view *view, const char *name, const char *address);
/* The very account; NULL when it is gone. */
const struct user_account *view_account(const struct view *view, const char *name, const char *host);

#endif
