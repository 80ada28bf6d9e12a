/* monitor.h: the leader looks at the source on a second connection: its settings after each connect of the link and every
 * minute, its semi-sync counters every second. What it finds goes into the verdict and, where an operator has to know of it
 * later too, into replicated alarms.
 *
 * The link never waits for it: each statement has a limit, after which the connection is dropped and made anew.
 * Owner: the daemon; loop env. */
#ifndef HOLDFAST_NODE_MONITOR_H
#define HOLDFAST_NODE_MONITOR_H

#include "node/checks.h"
#include "node/source.h"

struct monitor;

struct monitor_report {
    const struct checks *checks; /* of the last check of this source; n is 0 before the first */
    uint64_t checked_wall;       /* microseconds */
    struct source_counters counters; /* known is false while there is no news */
    uint64_t catch_up_s;         /* about so long until the link is level; 0: not known */
    char error[512];             /* why there is no second connection; "" */
};

struct monitor *monitor_new(struct env *loop, struct cluster *cluster, struct source *source);
void monitor_stop(struct monitor *monitor); /* no statement and no proposal any more; answers who waits */
void monitor_free(struct monitor *monitor); /* after cluster_close: proposals refer to it until then */
void monitor_leading(struct monitor *monitor, bool leading);
void monitor_settings_changed(struct monitor *monitor);

void monitor_get_report(const struct monitor *monitor, struct monitor_report *report);

/* The verdict (node/verdict.h) from all that this node knows. since: when it last changed between yes and no, by this
 * node's wall clock; it is kept in memory only, so at the latest when this process started. */
bool monitor_verdict(struct monitor *monitor, char *reason, size_t size, uint64_t *since);

/* What the source has by now, also what it writes and has not committed yet. done comes once, within seconds, never inside the call; on
 * error (this node does not follow it, it does not answer) has is NULL. applied: MariaDB's gtid_slave_pos; else NULL. */
typedef void monitor_told(void *arg, const struct gtid_set *has, const struct gtid_set *applied, const char *error);
void monitor_ask_gtids(struct monitor *monitor, monitor_told *done, void *arg);

/* A check now, also of a source that is not followed yet. done comes once, never inside the call; error NULL, or why there
 * is no result. */
typedef void monitor_checked(void *arg, const struct checks *checks, const char *error);
void monitor_check(struct monitor *monitor, monitor_checked *done, void *arg);

#endif
