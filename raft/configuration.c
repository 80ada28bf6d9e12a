/* configuration.c: see configuration.h. The bytes: format (1), number of servers (8), each: id (8), address with a NUL, role (1); zeros up
 * to a multiple of 8. libraft reads them without looking where they end, so they are read here first. */
#include "raft/configuration.h"

#include "protocol/base/check.h"
#include "protocol/base/cursor.h"
#include "protocol/base/err.h"

#include <string.h>

enum { FORMAT = 1 };

static bool known_role(int role)
{
    return role == RAFT_VOTER || role == RAFT_STANDBY || role == RAFT_SPARE;
}

int configuration_add(struct raft_configuration *to, uint64_t id, const char *address, int role)
{
    size_t len = strlen(address);
    bool ok = to->n < CONFIGURATION_MAX && id && len && len < CONFIGURATION_ADDRESS && known_role(role);
    return ok && raft_configuration_add(to, id, address, role) == 0 ? 0 : E_MALFORMED; /* two with one id, or with one address */
}

/* With NULL it is only looked at. */
static bool read_servers(struct cur *c, struct raft_configuration *to)
{
    uint64_t ids[CONFIGURATION_MAX];
    uint8_t format = cur_u8(c);
    uint64_t n = cur_u64(c);
    if (format != FORMAT || !n || n > CONFIGURATION_MAX) {
        return false;
    }
    for (uint64_t i = 0; i < n && cur_ok(c); i++) {
        size_t len = 0;
        ids[i] = cur_u64(c);
        const char *address = cur_str_nul(c, &len);
        uint8_t role = cur_u8(c);
        bool twice = false;
        for (uint64_t k = 0; k < i; k++) {
            twice = twice || ids[k] == ids[i];
        }
        if (!cur_ok(c) || !ids[i] || twice || !len || len >= CONFIGURATION_ADDRESS || !known_role(role)) {
            return false;
        }
        if (to && configuration_add(to, ids[i], address, role)) {
            return false;
        }
    }
    return cur_ok(c) && cur_left(c) < 8;
}

bool configuration_valid(const void *data, size_t n)
{
    struct cur c = cur_of(data, n);
    return read_servers(&c, NULL);
}

int configuration_decode(const void *data, size_t n, struct raft_configuration *configuration)
{
    struct cur c = cur_of(data, n);
    raft_configuration_init(configuration);
    if (!read_servers(&c, configuration)) {
        raft_configuration_close(configuration);
        raft_configuration_init(configuration);
        return E_MALFORMED;
    }
    return 0;
}

const struct raft_server *configuration_find(const struct raft_configuration *configuration, uint64_t id)
{
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == id) {
            return &configuration->servers[i];
        }
    }
    return NULL;
}

size_t configuration_voters(const struct raft_configuration *configuration)
{
    size_t n = 0;
    for (unsigned i = 0; i < configuration->n; i++) {
        n += configuration->servers[i].role == RAFT_VOTER;
    }
    return n;
}
