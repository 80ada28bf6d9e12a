/* certificate.h: what clients of this node see: its certificate, and the RSA key for passwords on open
 * connections.
 *
 * Used by the daemon; loop env. What certificate_open gives are references that the caller frees. */
#ifndef HOLDFAST_NODE_CERTIFICATE_H
#define HOLDFAST_NODE_CERTIFICATE_H

#include "node/config.h"
#include "node/pem.h"

#include "protocol/auth_hash.h"

struct certificate {
    struct tls_ctx *tls;
    struct auth_rsa *rsa;
};

/* At start (blocks): the files of the configuration, or a self-signed pair in the data directory, made when
 * it is not there; likewise the RSA key. */
int certificate_open(struct env *loop, const struct config *config, struct certificate *certificate,
                     struct errmsg *em);
void certificate_close(struct certificate *certificate);

/* Later: reads the same files away from the loop; done gets what certificate_take makes of them. */
struct pem_request *certificate_read(struct env *loop, const struct config *config, pem_done *done,
                                     void *arg);
/* Replaces certificate->tls; on failure nothing is changed. */
int certificate_take(struct certificate *certificate, int code, const char *why,
                     const struct tls_files *files, struct errmsg *em);

#endif
