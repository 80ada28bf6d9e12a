/* guard.c: see guard.h. Small rules, kept apart from the sending and receiving so that each can be tested and switched off alone. */
#include "raft/guard.h"

#include "raft/message.h"
#include "raft/mutation.h"

#include <stdio.h>
#include <string.h>

/* ---- clamp ---- */

static void verified(struct guard *g, uint64_t term, uint64_t end)
{
    if (term > g->term) {
        g->term = term;
        g->verified = 0;
    }
    if (term == g->term && end > g->verified) {
        g->verified = end;
    }
}

static void clamp(struct guard *g, struct raft_append_entries_result *result)
{
    if (result->rejected || MUTATED(CLAMP)) {
        return;
    }
    uint64_t most = result->term == g->term ? g->verified : 0;
    if (result->last_log_index > most) {
        result->last_log_index = most;
    }
}

/* libraft says no to a pre-vote of an older term in the words of the question: who asked never hears of the newer term, asks again in the old one, and
 * is refused for ever, though it may be the only one who can be elected. */
static void say_term(const struct guard *g, struct raft_request_vote_result *result)
{
    if (result->pre_vote == raft_tribool_true && !result->vote_granted && result->term < g->raft->current_term && !MUTATED(PRE_VOTE)) {
        result->term = g->raft->current_term;
    }
}

/* A leader may lose what it has sent with the power. If that makes a member a standby, it may be the only one with the whole log, and
 * libraft lets no standby be elected. So the leader has it on disk before it lets it go. */
static void keep_change(const struct guard *g, struct raft_append_entries *a)
{
    for (unsigned i = 0; i < a->n_entries && !MUTATED(CHANGE_FIRST); i++) {
        if (a->entries[i].type == RAFT_CHANGE && a->prev_log_index + 1 + i > g->raft->last_stored) {
            a->n_entries = i;
        }
    }
}

void guard_send(struct guard *g, struct raft_message *m)
{
    if (m->type == RAFT_IO_REQUEST_VOTE_RESULT) {
        say_term(g, &m->request_vote_result);
        return;
    }
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        keep_change(g, &m->append_entries);
        return;
    }
    if (m->type != RAFT_IO_APPEND_ENTRIES_RESULT) {
        return;
    }
    struct raft_append_entries_result *result = &m->append_entries_result;
    if (g->receiving.on) {
        g->receiving.answered = true;
        /* a leader of an older term is told ours, and learns nothing of our log */
        if (!result->rejected && result->term == g->receiving.term) {
            verified(g, g->receiving.term, g->receiving.end);
        }
    }
    if (result->rejected && m->server_id == g->fetch_leader && result->term == g->fetch_term) {
        result->rejected = 0;
        result->last_log_index = 0;
    }
    clamp(g, result);
}

void guard_snapshot(struct guard *g, uint64_t index)
{
    verified(g, g->raft->current_term, index);
}

/* ---- hold ---- */

static bool noop_is_stored(const struct guard *g)
{
    return g->noop_term == g->raft->current_term && g->raft->last_stored >= g->noop_index;
}

void guard_noop(struct guard *g, uint64_t term, uint64_t index)
{
    if (term != g->noop_term) {
        memset(g->held, 0, sizeof g->held);
    }
    g->noop_term = term;
    g->noop_index = index;
}

static void hold(struct guard *g, struct raft_message *m)
{
    struct raft_append_entries_result *result = &m->append_entries_result;
    struct guard_held *place = NULL;
    if (g->raft->state != RAFT_LEADER || result->rejected || result->term != g->raft->current_term || noop_is_stored(g) || MUTATED(HOLD)) {
        return;
    }
    for (size_t i = 0; i < GUARD_PEERS && (!place || place->id != m->server_id); i++) {
        if (g->held[i].id == m->server_id || (!g->held[i].id && !place)) {
            place = &g->held[i];
        }
    }
    if (place) {
        place->id = m->server_id;
        place->result = *result;
        snprintf(place->address, sizeof place->address, "%s", m->server_address);
    }
    result->last_log_index = 0;
}

bool guard_release(struct guard *g, struct raft_message *m)
{
    if (g->raft->state != RAFT_LEADER || !noop_is_stored(g)) {
        return false;
    }
    for (size_t i = 0; i < GUARD_PEERS; i++) {
        struct guard_held *held = &g->held[i];
        if (held->id) {
            *m = (struct raft_message){.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = held->id, .server_address = held->address};
            m->append_entries_result = held->result;
            held->id = 0;
            return true;
        }
    }
    return false;
}

/* ---- what is committed here ---- */

/* A leader that hears nothing of us begins again and again where it began, and we may have given back the log from there: libraft would
 * refuse, and the leader go back step by step until it offers a snapshot. What is committed here stands in its log too, so it may
 * as well begin behind that. */
static void begin_behind_commit(struct guard *g, struct raft_message *m)
{
    struct raft_append_entries *a = &m->append_entries;
    uint64_t commit = g->raft->commit_index;
    if (a->term < g->raft->current_term || a->prev_log_index >= commit || MUTATED(COMPACTED)) {
        return;
    }
    uint64_t known = commit - a->prev_log_index;
    g->receiving.end = g->receiving.end > commit ? g->receiving.end : commit;
    if (known < a->n_entries) {
        a->prev_log_index = commit;
        a->prev_log_term = a->entries[known - 1].term;
        a->n_entries -= (unsigned)known;
        memmove(a->entries, a->entries + known, a->n_entries * sizeof *a->entries);
        return;
    }
    message_raft_free(m); /* nothing new: a sign of life, and its answer says what we have */
    a->entries = NULL;
    a->n_entries = 0;
    a->prev_log_index = a->prev_log_term = 0;
}

/* ---- around recv ---- */

void guard_before(struct guard *g, struct raft_message *m)
{
    g->receiving.on = m->type == RAFT_IO_APPEND_ENTRIES || m->type == RAFT_IO_INSTALL_SNAPSHOT;
    g->receiving.answered = false;
    if (m->type == RAFT_IO_APPEND_ENTRIES) {
        g->receiving.term = m->append_entries.term;
        g->receiving.end = m->append_entries.prev_log_index + m->append_entries.n_entries;
        if (MUTATED(SERVE_TAIL)) {
            m->append_entries.leader_commit = g->receiving.end;
        }
        begin_behind_commit(g, m);
    } else if (m->type == RAFT_IO_INSTALL_SNAPSHOT) { /* answered within recv: it is held already */
        g->receiving.term = m->install_snapshot.term;
        g->receiving.end = m->install_snapshot.last_index;
    } else if (m->type == RAFT_IO_APPEND_ENTRIES_RESULT) {
        hold(g, m);
    }
}

void guard_after(struct guard *g, const struct raft_message *m)
{
    bool appending = g->receiving.on && m->type == RAFT_IO_APPEND_ENTRIES && !g->receiving.answered;
    g->receiving.on = false;
    /* no answer yet: the entries were accepted and are being written; or a snapshot is being installed and they were dropped */
    if (appending && g->raft->state == RAFT_FOLLOWER && g->raft->current_term == g->receiving.term && !g->raft->snapshot.put.data) {
        verified(g, g->receiving.term, g->receiving.end);
    }
}
