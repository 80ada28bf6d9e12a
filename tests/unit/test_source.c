/* test_source: the parts of the link to the source that need no connection. What happens on one: test_traps_source, tests/e2e/follow. */
#include "node/source.h"
#include "tests/unit/unit.h"

#include <string.h>

static const struct {
    const char *host;
    size_t i;
    const char *want; /* NULL: there is none */
    uint16_t port;
} candidates[] = {
    {"db1", 0, "db1", 3306},
    {"db1", 1, NULL, 0},
    {"db1,db2:3307", 0, "db1", 3306},
    {"db1,db2:3307", 1, "db2", 3307},
    {"db1,db2:3307", 2, NULL, 0},
    {"db1:3308 , db2", 0, "db1", 3308},
    {"db1:3308 , db2", 1, "db2", 3306},
    {"[::1]:3309,fe80::2", 0, "::1", 3309},
    {"[::1]:3309,fe80::2", 1, "fe80::2", 3306},
    {"", 0, NULL, 0},
    {"db1,", 1, NULL, 0},
    {",db1", 0, NULL, 0},
    {"db1:0", 0, NULL, 0},
    {"db1:99999", 0, NULL, 0},
    {"/var/run/sock", 0, NULL, 0}, /* a path is no source */
};

static void candidates_are_read(void)
{
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        struct source_settings settings = {.port = 3306};
        struct env_addr addr;
        snprintf(settings.host, sizeof settings.host, "%s", candidates[i].host);
        bool found = source_candidate(&settings, candidates[i].i, &addr);
        UNIT_UINT(found, candidates[i].want != NULL);
        if (found && candidates[i].want) {
            UNIT_STR(addr.host, candidates[i].want);
            UNIT_UINT(addr.port, candidates[i].port);
        }
    }
}

/* 127 candidates of two bytes each fill the setting; beyond the last one there is nothing. */
static void a_long_list_ends(void)
{
    struct source_settings settings = {.port = 3306};
    struct env_addr addr;
    memset(settings.host, 'a', sizeof settings.host - 1);
    for (size_t i = 1; i < sizeof settings.host - 1; i += 2) {
        settings.host[i] = ',';
    }
    UNIT_TRUE(source_candidate(&settings, 126, &addr));
    UNIT_TRUE(source_candidate(&settings, 127, &addr));
    UNIT_TRUE(!source_candidate(&settings, 128, &addr));
}

UNIT_MAIN("source", UNIT_TEST(candidates_are_read), UNIT_TEST(a_long_list_ends))
