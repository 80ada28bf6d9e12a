/* quorum.c: see quorum.h. */
#include "node/quorum.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void add(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void add(char *text, size_t size, const char *fmt, ...)
{
    size_t at = strlen(text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text + at, size - at, fmt, ap);
    va_end(ap);
}

static void time_text(uint64_t wall, char text[16])
{
    time_t seconds = (time_t)(wall / 1000000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || !strftime(text, 16, "%H:%M:%SZ", &tm)) {
        snprintf(text, 16, "?");
    }
}

void quorum_text(const struct cluster *cluster, struct env *loop, char *text, size_t size)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    size_t n = cluster_infos(cluster, infos, CLUSTER_MEMBERS_MAX), voters = 0, up = 0;
    uint64_t since = cluster_leaderless_since(cluster);
    char when[16];
    text[0] = 0;
    for (size_t i = 0; i < n; i++) {
        voters += infos[i].role == CLUSTER_VOTER;
        up += infos[i].role == CLUSTER_VOTER && infos[i].up;
    }
    time_text(since ? since : env_wall(loop), when);
    if (!cluster_formed(cluster)) {
        add(text, size, "the cluster is being formed: %zu of %zu members answer", up, n);
    } else if (up > voters / 2) {
        add(text, size, "no leader since %s: %zu of %zu voters answer, an election is on", when, up, voters);
        return;
    } else {
        add(text, size, "quorum lost since %s: %zu of %zu voters answer%s", when, up, voters, up == 1 ? "s" : "");
    }
    const char *between = " (";
    for (size_t i = 0; i < n; i++) {
        if (infos[i].role == CLUSTER_VOTER && !infos[i].up) {
            add(text, size, "%s%llu %s %s", between, (unsigned long long)infos[i].id, infos[i].address, infos[i].trouble);
            between = "; ";
        }
    }
    add(text, size, "%s%s", *between == ';' ? ")" : "", cluster_formed(cluster) ? "; if they are lost for good: holdfast recover --help" : "");
}
