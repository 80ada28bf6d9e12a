/* cluster_ledger.h: what the disks of all nodes hold of the log, durably, and since when: read from the bytes that the nodes write, not from
 * what they say.
 *
 * Each write into a log segment is decoded when it is made; when a node has been started anew its segments are read again as they lie.
 * So it is known at any moment which nodes would still have an entry if all of them lost their power.
 *
 * Owner: the test. */
#ifndef HOLDFAST_SIM_CLUSTER_LEDGER_H
#define HOLDFAST_SIM_CLUSTER_LEDGER_H

#include "tests/sim/env_sim.h"
#include "tests/sim/history.h"

struct ledger;

struct ledger *ledger_new(struct sim *sim, struct sim_host *const *nodes, size_t n, const struct history *truth);
void ledger_free(struct ledger *ledger);

/* Each write of a living process (sim_see_writes). */
void ledger_write(struct ledger *ledger, struct sim_host *host, const char *path, const void *data, size_t n, uint64_t at, uint64_t durable);

void ledger_crashed(struct ledger *ledger, size_t node); /* what was not durable may be gone */
void ledger_started(struct ledger *ledger, size_t node); /* what it found on its disk was made durable */

/* Its log up to this entry was replaced by another member's snapshot, whose files it has: as if it had that member's entries, from now on. */
void ledger_installed(struct ledger *ledger, size_t node, uint64_t index, uint64_t term);
void ledger_wiped(struct ledger *ledger, size_t node);   /* it is another, empty disk */
/* It is as it was when its snapshot held the entries up to this one; what followed is read at the next start. */
void ledger_set_back(struct ledger *ledger, size_t node, uint64_t snapshot);
/* Who votes from now on (one for each node); what a majority of those before held counts too. Until it is called: all. */
void ledger_voters(struct ledger *ledger, const bool *votes);

/* Do a majority of the disks hold the bytes before this place of the source's files, in one and the same entry, since `when` or longer? */
bool ledger_has(const struct ledger *ledger, size_t file, uint64_t pos, uint64_t when);
uint64_t ledger_term(const struct ledger *ledger, size_t node, uint64_t index); /* of the entry on that disk; 0: it has none */
/* Do a majority of the disks hold this entry now? */
bool ledger_has_entry(const struct ledger *ledger, uint64_t index, uint64_t term);
/* The first so many transactions are held so, now. */
size_t ledger_transactions(struct ledger *ledger);
void ledger_print(const struct ledger *ledger, size_t file, uint64_t pos, char *text, size_t size);

#endif
