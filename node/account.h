/* account.h: which account a client is: names, and the hosts that an account is good for.
 *
 * A host is written as in other servers: % for all; localhost for the local socket and loopback addresses; an
 * address; an address with % and _ in it; a network as 10.1.0.0/16 or 10.1.0.0/255.255.0.0. Names of hosts
 * are not looked up, so a host that could only be such a name is refused. Pure; any thread. */
#ifndef HOLDFAST_NODE_ACCOUNT_H
#define HOLDFAST_NODE_ACCOUNT_H

#include "raft/entry.h"

/* Could a client ever come from there? */
bool account_host_ok(const char *host);

/* Does a client come from there? Its address as text; "localhost" by the local socket. */
bool account_host_matches(const char *host, const char *address);

/* Of the accounts with this name that are good for the address the one whose host says most: an address, then
 * the narrowest network, then the pattern with the longest beginning. NULL: none. */
const struct user_account *account_of_client(const struct user_account *users, size_t n, const char *name,
                                             const char *address);

#endif
