/* test_guard: what stands between libraft and the network, rule by rule. A test fails when its rule is left out.
 *
 * libraft itself does not run here: the guard reads a few fields of struct raft, which the tests set. */
#include "tests/unit/unit.h"

#include "raft/guard.h"

#include <stdlib.h>
#include <string.h>

static struct raft raft;
static struct guard guard;

static void begin(unsigned short state, uint64_t term)
{
    memset(&raft, 0, sizeof raft);
    memset(&guard, 0, sizeof guard);
    raft.state = state;
    raft.current_term = term;
    guard.raft = &raft;
}

/* ---- pre-votes ---- */

static uint64_t term_said(uint64_t asked_in, unsigned char pre_vote, bool granted)
{
    struct raft_message m = {.type = RAFT_IO_REQUEST_VOTE_RESULT, .server_id = 2, .server_address = "b:1"};
    m.request_vote_result = (struct raft_request_vote_result){.term = asked_in, .pre_vote = pre_vote, .vote_granted = granted};
    guard_send(&guard, &m);
    UNIT_INT(m.request_vote_result.vote_granted, granted);
    return m.request_vote_result.term;
}

static void who_is_refused_hears_of_the_newer_term(void)
{
    begin(RAFT_CANDIDATE, 6);
    UNIT_UINT(term_said(5, raft_tribool_true, false), 6);
    UNIT_UINT(term_said(5, raft_tribool_false, false), 5); /* in a vote libraft says what is true itself */
    UNIT_UINT(term_said(7, raft_tribool_true, false), 7);  /* refused for its log: it is not to step down */
    UNIT_UINT(term_said(7, raft_tribool_true, true), 7);
    UNIT_UINT(term_said(6, raft_tribool_true, false), 6);
}

/* ---- changes of members: what this node sends as a leader ---- */

/* How many of the entries that follow the 10th leave, when this node has stored as much. */
static unsigned entries_sent(struct raft_entry *entries, unsigned n, uint64_t stored)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2, .server_address = "b:1"};
    m.append_entries = (struct raft_append_entries){.term = 5, .prev_log_index = 10, .entries = entries, .n_entries = n};
    raft.last_stored = stored;
    guard_send(&guard, &m);
    UNIT_UINT(m.append_entries.prev_log_index, 10);
    return m.append_entries.n_entries;
}

static void a_change_leaves_when_it_is_on_disk_here(void)
{
    struct raft_entry entries[] = {{.type = RAFT_COMMAND}, {.type = RAFT_CHANGE}, {.type = RAFT_COMMAND}, {.type = RAFT_CHANGE}};
    begin(RAFT_LEADER, 5);
    UNIT_UINT(entries_sent(entries, 4, 9), 1); /* commands need not wait */
    UNIT_UINT(entries_sent(entries, 4, 11), 1);
    UNIT_UINT(entries_sent(entries, 4, 12), 3);
    UNIT_UINT(entries_sent(entries, 4, 14), 4);
    UNIT_UINT(entries_sent(entries + 1, 1, 10), 0);
    UNIT_UINT(entries_sent(entries, 1, 0), 1);
    UNIT_UINT(entries_sent(NULL, 0, 0), 0);
}

/* ---- clamp: what this node answers as a follower ---- */

static struct raft_message append_of(uint64_t term, uint64_t prev, unsigned n)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2, .server_address = "b:1"};
    m.append_entries = (struct raft_append_entries){.term = term, .prev_log_index = prev, .n_entries = n};
    return m;
}

/* What leaves when libraft answers so. */
static uint64_t answer(uint64_t term, uint64_t last_log_index, uint64_t rejected)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2, .server_address = "b:1"};
    m.append_entries_result = (struct raft_append_entries_result){.term = term, .last_log_index = last_log_index, .rejected = rejected};
    guard_send(&guard, &m);
    UNIT_UINT(m.append_entries_result.rejected, rejected);
    return m.append_entries_result.last_log_index;
}

/* An append that libraft answers at once. */
static uint64_t answered(uint64_t term, uint64_t prev, unsigned n, uint64_t last_log_index)
{
    struct raft_message m = append_of(term, prev, n);
    raft.current_term = term;
    guard_before(&guard, &m);
    uint64_t said = answer(term, last_log_index, 0);
    guard_after(&guard, &m);
    return said;
}

static void leftovers_are_not_counted(void)
{
    begin(RAFT_FOLLOWER, 5);
    UNIT_UINT(answered(5, 10, 2, 20), 12); /* 13 to 20 are of an older term, and nobody has compared them */
    UNIT_UINT(answered(5, 8, 0, 20), 12);  /* what was verified stays so within the term */
    UNIT_UINT(answered(5, 12, 3, 15), 15);
    UNIT_UINT(answered(5, 15, 0, 14), 14); /* never more than libraft says */
}

static void each_term_begins_with_nothing(void)
{
    begin(RAFT_FOLLOWER, 5);
    UNIT_UINT(answered(5, 10, 2, 20), 12);
    UNIT_UINT(answered(6, 3, 0, 20), 3);
    UNIT_UINT(answered(6, 3, 1, 20), 4);
}

/* An append whose completion comes late answers the leader of a term that has not sent anything yet. */
static void a_late_answer_says_nothing_to_another_term(void)
{
    begin(RAFT_FOLLOWER, 5);
    UNIT_UINT(answered(5, 10, 2, 12), 12);
    UNIT_UINT(answer(7, 12, 0), 0);
    UNIT_UINT(answer(5, 12, 0), 12);
}

static void refusals_pass_as_they_are(void)
{
    begin(RAFT_FOLLOWER, 5);
    UNIT_UINT(answer(5, 20, 17), 20); /* the leader would take 0 for a member that has nothing, and offer a snapshot */
    struct raft_message m = append_of(5, 30, 2);
    guard_before(&guard, &m);
    UNIT_UINT(answer(5, 20, 30), 20);
    guard_after(&guard, &m);
    UNIT_UINT(answer(5, 20, 0), 0); /* what was refused is not verified by that */
}

/* That leader would offer the snapshot again at once, or another one; a later leader learns the truth. */
static void who_offers_a_snapshot_is_told_nothing(void)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2, .server_address = "b:1"};
    begin(RAFT_FOLLOWER, 5);
    guard.fetch_leader = 2;
    guard.fetch_term = 5;
    m.append_entries_result = (struct raft_append_entries_result){.term = 5, .last_log_index = 20, .rejected = 17};
    guard_send(&guard, &m);
    UNIT_TRUE(m.append_entries_result.rejected == 0 && m.append_entries_result.last_log_index == 0);
    UNIT_UINT(answer(6, 20, 17), 20);
    m.server_id = 3;
    m.append_entries_result = (struct raft_append_entries_result){.term = 5, .last_log_index = 20, .rejected = 17};
    guard_send(&guard, &m);
    UNIT_TRUE(m.append_entries_result.rejected == 17 && m.append_entries_result.last_log_index == 20);
    guard.fetch_leader = guard.fetch_term = 0;
    UNIT_UINT(answer(5, 20, 17), 20);
}

/* libraft answers when the entries are written. */
static void what_is_being_written_is_verified(void)
{
    begin(RAFT_FOLLOWER, 5);
    struct raft_message m = append_of(5, 10, 2);
    guard_before(&guard, &m);
    guard_after(&guard, &m);
    UNIT_UINT(answer(5, 20, 0), 12);

    begin(RAFT_FOLLOWER, 5); /* ... but not what was dropped, since a snapshot is being installed */
    raft.snapshot.put.data = &raft;
    m = append_of(5, 10, 2);
    guard_before(&guard, &m);
    guard_after(&guard, &m);
    UNIT_UINT(answer(5, 20, 0), 0);

    begin(RAFT_FOLLOWER, 6); /* ... nor what comes from a leader of the past */
    m = append_of(5, 10, 2);
    guard_before(&guard, &m);
    guard_after(&guard, &m);
    UNIT_UINT(answer(5, 20, 0), 0);
    m = append_of(5, 10, 2);
    guard_before(&guard, &m);
    UNIT_UINT(answer(6, 20, 0), 0); /* told our term, and nothing of our log */
    guard_after(&guard, &m);
    UNIT_UINT(answer(6, 20, 0), 0);
}

static void a_snapshot_is_verified(void)
{
    begin(RAFT_FOLLOWER, 5);
    guard_snapshot(&guard, 40);
    UNIT_UINT(answer(5, 60, 0), 40);

    begin(RAFT_FOLLOWER, 5); /* one that is held already is answered within recv */
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT, .server_id = 2, .server_address = "b:1"};
    m.install_snapshot.term = 5;
    m.install_snapshot.last_index = 30;
    guard_before(&guard, &m);
    UNIT_UINT(answer(5, 60, 0), 30);
    guard_after(&guard, &m);
}

/* ---- hold: what reaches this node as a leader ---- */

/* What libraft gets when a member answers so. */
static struct raft_append_entries_result heard(uint64_t from, uint64_t term, uint64_t last_log_index, uint64_t rejected)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = from, .server_address = from == 2 ? "b:1" : "c:1"};
    m.append_entries_result = (struct raft_append_entries_result){.term = term, .last_log_index = last_log_index, .rejected = rejected};
    guard_before(&guard, &m);
    guard_after(&guard, &m);
    return m.append_entries_result;
}

static void results_wait_for_the_first_entry(void)
{
    struct raft_message m;
    begin(RAFT_LEADER, 5);
    raft.last_stored = 10;
    UNIT_UINT(heard(2, 5, 9, 0).last_log_index, 0); /* also before the first entry is proposed */
    guard_noop(&guard, 5, 11);
    UNIT_UINT(heard(2, 5, 10, 0).last_log_index, 0);
    UNIT_UINT(heard(3, 5, 7, 0).last_log_index, 0);
    UNIT_UINT(heard(2, 5, 11, 0).last_log_index, 0);
    UNIT_TRUE(!guard_release(&guard, &m));
    raft.last_stored = 11;
    unsigned seen = 0;
    while (guard_release(&guard, &m)) { /* the latest of each */
        seen |= 1u << m.server_id;
        UNIT_INT(m.type, RAFT_IO_APPEND_ENTRIES_RESULT);
        UNIT_STR(m.server_address, m.server_id == 2 ? "b:1" : "c:1");
        UNIT_UINT(m.append_entries_result.last_log_index, m.server_id == 2 ? 11 : 7);
        UNIT_UINT(m.append_entries_result.term, 5);
    }
    UNIT_UINT(seen, 1u << 2 | 1u << 3);
    UNIT_UINT(heard(2, 5, 11, 0).last_log_index, 11);
    UNIT_TRUE(!guard_release(&guard, &m));
}

static void refusals_do_not_wait(void)
{
    struct raft_message m;
    begin(RAFT_LEADER, 5);
    guard_noop(&guard, 5, 11);
    struct raft_append_entries_result r = heard(2, 5, 6, 10);
    UNIT_UINT(r.last_log_index, 6);
    UNIT_UINT(r.rejected, 10);
    raft.last_stored = 11;
    UNIT_TRUE(!guard_release(&guard, &m));
}

static void results_of_another_term_are_not_kept(void)
{
    struct raft_message m;
    begin(RAFT_LEADER, 5);
    guard_noop(&guard, 5, 11);
    UNIT_UINT(heard(2, 4, 9, 0).last_log_index, 9); /* libraft drops it */
    UNIT_UINT(heard(3, 5, 9, 0).last_log_index, 0);
    raft.current_term = 6; /* lost the lead, and won it again, before the first entry was stored */
    guard_noop(&guard, 6, 12);
    raft.last_stored = 12;
    UNIT_TRUE(!guard_release(&guard, &m));
}

static void only_a_leader_holds(void)
{
    struct raft_message m;
    begin(RAFT_LEADER, 5);
    guard_noop(&guard, 5, 11);
    UNIT_UINT(heard(2, 5, 9, 0).last_log_index, 0);
    raft.state = RAFT_FOLLOWER;
    raft.last_stored = 11;
    UNIT_TRUE(!guard_release(&guard, &m));
    UNIT_UINT(heard(2, 5, 9, 0).last_log_index, 9);
}

/* ---- what is committed here ---- */

static struct raft_message append_with(uint64_t term, uint64_t prev, unsigned n)
{
    struct raft_message m = append_of(term, prev, n);
    m.append_entries.entries = n ? raft_calloc(n, sizeof *m.append_entries.entries) : NULL;
    for (unsigned i = 0; i < n; i++) { /* one block for the bytes of all */
        m.append_entries.entries[i] = (struct raft_entry){.term = prev + 1 + i, .type = RAFT_COMMAND, .buf = {NULL, 0}};
    }
    return m;
}

static void committed_entries_are_left_out(void)
{
    begin(RAFT_FOLLOWER, 50);
    raft.commit_index = 12;
    struct raft_message m = append_with(50, 10, 5); /* 11 to 15 */
    guard_before(&guard, &m);
    UNIT_UINT(m.append_entries.prev_log_index, 12);
    UNIT_UINT(m.append_entries.prev_log_term, 12);
    UNIT_UINT(m.append_entries.n_entries, 3);
    UNIT_UINT(m.append_entries.entries[0].term, 13);
    UNIT_UINT(answer(50, 20, 0), 15);
    guard_after(&guard, &m);
    raft_free(m.append_entries.entries);

    begin(RAFT_FOLLOWER, 50); /* all of them: a sign of life, whose answer says what is here */
    raft.commit_index = 12;
    m = append_with(50, 3, 5);
    guard_before(&guard, &m);
    UNIT_UINT(m.append_entries.prev_log_index, 0);
    UNIT_UINT(m.append_entries.n_entries, 0);
    UNIT_TRUE(m.append_entries.entries == NULL);
    UNIT_UINT(answer(50, 20, 0), 12);
    guard_after(&guard, &m);
}

static void what_is_new_is_left_alone(void)
{
    begin(RAFT_FOLLOWER, 50);
    raft.commit_index = 12;
    struct raft_message m = append_with(50, 12, 2);
    guard_before(&guard, &m);
    UNIT_UINT(m.append_entries.prev_log_index, 12);
    UNIT_UINT(m.append_entries.n_entries, 2);
    guard_after(&guard, &m);
    raft_free(m.append_entries.entries);
    m = append_with(49, 3, 2); /* of a leader of the past: libraft tells it so */
    guard_before(&guard, &m);
    UNIT_UINT(m.append_entries.prev_log_index, 3);
    UNIT_UINT(m.append_entries.n_entries, 2);
    guard_after(&guard, &m);
    raft_free(m.append_entries.entries);
}

UNIT_MAIN("guard", UNIT_TEST(who_is_refused_hears_of_the_newer_term), UNIT_TEST(a_change_leaves_when_it_is_on_disk_here),
          UNIT_TEST(leftovers_are_not_counted), UNIT_TEST(each_term_begins_with_nothing),
          UNIT_TEST(a_late_answer_says_nothing_to_another_term), UNIT_TEST(refusals_pass_as_they_are), UNIT_TEST(who_offers_a_snapshot_is_told_nothing),
          UNIT_TEST(what_is_being_written_is_verified), UNIT_TEST(a_snapshot_is_verified), UNIT_TEST(results_wait_for_the_first_entry),
          UNIT_TEST(refusals_do_not_wait), UNIT_TEST(results_of_another_term_are_not_kept), UNIT_TEST(only_a_leader_holds),
          UNIT_TEST(committed_entries_are_left_out), UNIT_TEST(what_is_new_is_left_alone))
