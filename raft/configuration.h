/* configuration.h: who the members are, as it stands in the log: libraft's CHANGE entries, read by our own checked cursor. Pure. */
#ifndef HOLDFAST_RAFT_CONFIGURATION_H
#define HOLDFAST_RAFT_CONFIGURATION_H

#include <raft.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIGURATION_MAX = 16, CONFIGURATION_ADDRESS = 336 /* host:port/incarnation, with its NUL */ };

/* One more. E_MALFORMED: it cannot be one (id, role, address), has an id or an address of another one, or there are as many as can be. */
int configuration_add(struct raft_configuration *to, uint64_t id, const char *address, int role);

/* An entry's bytes. E_MALFORMED: it is none that libraft could have written, or has more members than can be, or none. */
int configuration_decode(const void *data, size_t n, struct raft_configuration *configuration);
bool configuration_valid(const void *data, size_t n);

const struct raft_server *configuration_find(const struct raft_configuration *configuration, uint64_t id); /* NULL: none */
size_t configuration_voters(const struct raft_configuration *configuration);

#endif
