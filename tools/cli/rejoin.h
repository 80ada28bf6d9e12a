/* rejoin.h: what `holdfast compensate` and `holdfast source check HOST` have in common: servers, what the cluster holds, what differs.
 *
 * Owner: compensate.c, which opens and frees it all; one thread. */
#ifndef HOLDFAST_CLI_REJOIN_H
#define HOLDFAST_CLI_REJOIN_H

#include "tools/cli/cli.h"
#include "tools/cli/target.h"

enum { TARGETS_MAX = 16 };

struct work {
    struct cli *cli;
    struct target targets[TARGETS_MAX];
    struct env_addr addrs[TARGETS_MAX];
    size_t n;
    char password[PASSWORD_SIZE];
    struct buf ca;
    struct gtid_set *held;
    struct env_addr via; /* the member that the server is pointed at */
};

struct difference {
    struct gtid_set *lacking, *errant; /* what it lacks; what it has and the cluster does not */
    struct gtid_set *common;           /* what both have */
    uint64_t n_lacking, n_errant;
};

/* ---- compensate.c ---- */

void work_compare(const struct work *w, const struct target *t, struct difference *d);
void difference_free(struct difference *d);
void work_say_difference(struct buf *b, const struct work *w, const struct target *t, const struct difference *d);
void work_json_target(struct json *j, const struct work *w, const struct target *t, const struct difference *d);
/* Another connection to the first server. */
int work_connect(const struct work *w, struct conn **conn, struct errmsg *em);

/* ---- rejoin.c ---- */

int rejoin_check(struct work *w); /* an enum cli_exit */

#endif
