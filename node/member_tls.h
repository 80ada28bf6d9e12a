/* member_tls.h: how members of the cluster prove to each other who they are, from the configuration: certificates, or a shared secret. With neither
 * they may only live on one machine. */
#ifndef HOLDFAST_NODE_MEMBER_TLS_H
#define HOLDFAST_NODE_MEMBER_TLS_H

#include "node/config.h"

/* Blocks (start): reads the files. Both of *tls NULL: in clear, on loopback alone. The caller frees them with tls_ctx_free. */
int member_tls_open(struct env *env, const struct config *config, struct peers_tls *tls, struct errmsg *em);

#endif
