/* loss.h: does the source commit without our acknowledgement? Sample by sample of its counters, when such a time (a loss
 * window) begins and ends.
 *
 * Protection begins with the first sample in which the source waits and we stream with semi-sync; from then on each commit
 * that it counts as unacknowledged (no_tx) is one too many, also when we learn of it later, after a time without
 * connection. Its status OFF while we stream opens a window as well, since with semi-sync switched off nothing is counted.
 * Pure; owner: node/monitor.c. */
#ifndef HOLDFAST_NODE_LOSS_H
#define HOLDFAST_NODE_LOSS_H

#include "node/checks.h"

enum { LOSS_GRACE_S = 5 }; /* of streaming, in which status OFF is our being late */

struct loss {
    bool protected_once; /* the numbers below count */
    uint64_t yes_tx, no_tx; /* of the last sample */
    uint64_t lost; /* unacknowledged in the window that is open; stays until the next one */
};

struct loss_sample {
    struct source_counters counters;
    bool streaming;       /* we stream, with semi-sync */
    uint64_t streaming_s; /* since when */
    bool open;            /* a window is open */
    bool level;           /* we hold what the source has; counts only while one is open */
};

enum loss_step { LOSS_NONE, LOSS_BEGIN, LOSS_END };

enum loss_step loss_take(struct loss *loss, const struct loss_sample *s);

/* What outlives the leader: "no_tx yes_tx" and the source they belong to. */
void loss_write(const struct loss *loss, const char *source, char *text, size_t size);
void loss_read(struct loss *loss, const char *source, const char *text); /* text NULL, or of another source: nothing is known */

#endif
