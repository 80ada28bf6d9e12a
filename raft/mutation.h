/* mutation.h: guards that can be switched off, one by one, in programs built to show that the tests notice (-DHOLDFAST_MUTATIONS).
 *
 * In every other program MUTATED() is false at compile time. */
#ifndef HOLDFAST_RAFT_MUTATION_H
#define HOLDFAST_RAFT_MUTATION_H

/* name, bit, what is left out */
#define MUTATIONS(X)                                                                                                       \
    X(CLAMP, 1, "results to the leader are not clamped to what was verified in its term")                                  \
    X(HOLD, 2, "results are not held until the leader's no-op is stored")                                                  \
    X(VOTE_NO_SYNC, 4, "term and vote are written without being synced")                                                   \
    X(WAL_NO_SYNC, 8, "log writes are not synced")                                                                         \
    X(ACK_AT_PROPOSAL, 16, "a proposal succeeds when it is made")                                                          \
    X(SERVE_TAIL, 32, "what is stored but not committed is applied")                                                       \
    X(NOOP_CUT, 64, "an unfinished transaction is not cut")                                                                \
    X(INCARNATION, 128, "older incarnations of a member are admitted")                                                     \
    X(TICK_DRAIN, 256, "a follower may become candidate while its appends are in flight")                                  \
    X(ALONE, 512, "the only voter leads on in its old term after a start")                                                 \
    X(COMPACTED, 2048, "entries that are committed here are not left out of an append")                                    \
    X(WAKE, 4096, "an election waits for its timeout when the leader is dead or silent")                                   \
    X(PACE, 8192, "more than one entry is uncommitted")                                                                    \
    X(VOTE_SLOT, 16384, "term and vote are written to one slot only")                                           \
    X(ROLLBACK, 32768, "a change of members that is truncated is left to libraft")                                         \
    X(LOST, 65536, "a member that has less than it acknowledged is admitted")                              \
    X(FOLLOW_RULE, 131072, "a source that lacks something is followed")                                                    \
    X(ERRANT_HERE, 262144, "a replica is errant that has what this node alone has not")                             \
    X(ERRANT_SOURCE, 524288, "the source is not asked whether it has what a replica has")                           \
    X(CHANGE_SNAPSHOT, 1048576, "a snapshot does not wait for a change of members")                                 \
    X(BOUND, 2097152, "bytes on their way to a member are not bounded")         \
    X(MEMORY, 4194304, "what the members had before the last start does not count")                    \
    X(REMOVED, 8388608, "a member that is told that it was removed does not remember it")                     \
    X(PRE_VOTE, 16777216, "who is refused a pre-vote in an old term does not hear of the newer one") \
    X(CHANGE_FIRST, 33554432, "a change of members is sent before the leader has it on disk") \
    X(REPLACED, 67108864, "a data directory that was replaced is heard while a change of members is not committed") \
    X(LOOK_BEFORE, 134217728, "another source begins where the heads of its files say")

enum mutation {
#define MUTATION_ENUM(name, bit, text) MUTATION_##name = bit,
    MUTATIONS(MUTATION_ENUM)
#undef MUTATION_ENUM
};

#ifdef HOLDFAST_MUTATIONS
extern unsigned mutations; /* set by a test program before anything else */
#define MUTATED(name) ((mutations & MUTATION_##name) != 0)
#else
#define MUTATED(name) 0
#endif

#endif
