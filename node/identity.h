/* identity.h: who this node is: the file data_dir/node, made at the first start and never changed by the program. */
#ifndef HOLDFAST_NODE_IDENTITY_H
#define HOLDFAST_NODE_IDENTITY_H

#include "protocol/base/env.h"
#include "protocol/gtid.h"

struct identity {
    uint64_t node_id;
    uint64_t incarnation;             /* random part of (id, incarnation) */
    char server_uuid[UUID_TEXT_SIZE]; /* towards replicas */
    uint32_t server_id;
};

/* Reads it, or makes it when there is none. E_INVALID when the directory belongs to another node id. */
int identity_open(struct env *env, const char *data_dir, uint64_t node_id, struct identity *identity, struct errmsg *em);

/* Reads it. E_NOTFOUND; E_INVALID when id->node_id, if it is not 0, is another one. */
int identity_read(struct env *env, const char *data_dir, struct identity *identity, struct errmsg *em);

/* A random UUID (version 4) as text. */
void identity_uuid(struct env *env, char text[UUID_TEXT_SIZE]);

#endif
