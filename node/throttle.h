/* throttle.h: failed logins, counted for each account and for each address; who guesses waits for the answers.
 *
 * Only refusals wait. A login that is right is answered at once, whatever others have done before under the
 * same name or from the same address: nobody can lock anybody out. The table is bounded: the entry that failed
 * longest ago makes room. Owner: a worker; its thread. */
#ifndef HOLDFAST_NODE_THROTTLE_H
#define HOLDFAST_NODE_THROTTLE_H

#include <stddef.h>
#include <stdint.h>

struct throttle;

enum { THROTTLE_ENTRIES = 256, THROTTLE_FREE = 3 /* mistakes that cost nothing */ };

struct throttle *throttle_new(void);
void throttle_free(struct throttle *t); /* NULL is fine */

/* A login failed; `now` is monotonic, nanoseconds. How long its refusal is to wait, nanoseconds. */
uint64_t throttle_failed(struct throttle *t, const char *user, const char *address, uint64_t now);

/* A login was right: the failures before it, of this account from this address, are forgotten. */
void throttle_passed(struct throttle *t, const char *user, const char *address);

#endif
