/* pem.h: reads PEM files for the loop, which itself must not block on a file.
 *
 * Owner: whoever asked, on its env (`home`): it keeps the request until done() was called, which also frees
 * it, or ends it with pem_end. */
#ifndef HOLDFAST_NODE_PEM_H
#define HOLDFAST_NODE_PEM_H

#include "protocol/base/env.h"
#include "protocol/tls.h"

enum pem_file { PEM_CA, PEM_CERT, PEM_KEY, PEM_FILES };

struct pem_request;

/* code: 0, or why: which file could not be read. The texts belong to the request and go with it. */
typedef void pem_done(void *arg, int code, const char *why, const struct tls_files *files);

/* Paths that are "" are left out. Reads on a thread of its own; done is called on `home`, later. NULL: no
 * thread can be started. */
struct pem_request *pem_read(struct env *home, const char *const paths[PEM_FILES], pem_done *done, void *arg);

/* done is not called any more. Waits until the read has ended: for the end of the process, not for a live
 * loop. */
void pem_end(struct pem_request *request); /* NULL is fine */

#endif
