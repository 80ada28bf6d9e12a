/* guard.h: stands between libraft and the network and keeps libraft from counting what it must not count.
 *
 * Clamp. libraft answers a leader with the last index it has stored, leftovers of an older term included, and the leader counts them.
 * Here a result says at most what was verified against this leader's log in its term.
 *
 * Hold. A leader must not commit entries of older terms by counting. Until its own first entry is stored, results reach it as signs of
 * life only; the latest of each peer is given to it afterwards. Rejections always pass, as they are.
 *
 * Pre-votes. Who is refused one because its term is old hears of the newer one.
 *
 * Changes of members. They leave their leader when they are on its disk; what stands behind them follows then.
 *
 * Entries that are committed here already are left out of what a leader sends: the log that they would be compared with may be compacted.
 *
 * Fetch. While the files of a leader's snapshot are being fetched, that leader gets signs of life only: what it would conclude from a refusal
 * is another snapshot.
 *
 * Owner: raft/io.c; loop env. */
#ifndef HOLDFAST_RAFT_GUARD_H
#define HOLDFAST_RAFT_GUARD_H

#include <raft.h>

#include <stdbool.h>
#include <stdint.h>

enum { GUARD_PEERS = 16, GUARD_ADDRESS = 320 };

struct guard_held {
    uint64_t id; /* 0: free */
    char address[GUARD_ADDRESS];
    struct raft_append_entries_result result;
};

struct guard {
    const struct raft *raft;
    /* clamp */
    uint64_t term;     /* of the leader whose AppendEntries was accepted last */
    uint64_t verified; /* up to here our log equals its log */
    struct {
        bool on, answered;
        uint64_t term, end;
    } receiving;
    /* hold */
    uint64_t noop_term, noop_index; /* our own first entry of the term we lead in */
    struct guard_held held[GUARD_PEERS];
    /* fetch first */
    uint64_t fetch_leader, fetch_term; /* whose snapshot is being fetched; 0: nobody's */
};

void guard_noop(struct guard *g, uint64_t term, uint64_t index); /* proposed as the first entry of this term */

/* Around libraft's recv. before: may change a result. */
void guard_before(struct guard *g, struct raft_message *m);
void guard_after(struct guard *g, const struct raft_message *m);
void guard_send(struct guard *g, struct raft_message *m); /* on its way out: may change a result, or cut an append short */
void guard_snapshot(struct guard *g, uint64_t index);     /* the leader's snapshot up to index is ours now */

/* A result that was held and may be given to libraft now; false: none. m->server_address is valid until the next call. */
bool guard_release(struct guard *g, struct raft_message *m);

#endif
