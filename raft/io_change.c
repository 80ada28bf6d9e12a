/* io_change.c: what raft_io remembers of the log beside libraft: where a term begins, and the changes of members.
 *
 * It is there for one rule. libraft takes a change of members that is truncated back by looking up the one before it in its log, where it may
 * not be any more; it takes every change that it finds at a start for committed, and takes none of those back. So before it is given
 * entries that contradict a change in our log, its configuration is set here to the last one that stays. Happy path: nothing of
 * the kind happens, and what is remembered is a few lines. Failure: none. */
#include "raft/io_impl.h"

#include "raft/configuration.h"
#include "raft/mutation.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

void rio_log_free(struct rio *rio)
{
    for (size_t i = 0; i < rio->n_changes; i++) {
        mem_free(rio->changes[i].data);
    }
    mem_free(rio->changes);
    mem_free(rio->terms);
    rio->changes = NULL;
    rio->terms = NULL;
    rio->n_changes = rio->n_terms = 0;
}

void rio_log_append(struct rio *rio, uint64_t index, uint64_t term, unsigned short type, const void *data, size_t n)
{
    if (!rio->n_terms || rio->terms[rio->n_terms - 1].term != term) {
        rio->terms = mem_grow(rio->terms, rio->n_terms + 1, sizeof *rio->terms);
        rio->terms[rio->n_terms++] = (struct rio_term){.first = index, .term = term};
    }
    if (type == RAFT_CHANGE) {
        rio->changes = mem_grow(rio->changes, rio->n_changes + 1, sizeof *rio->changes);
        rio->changes[rio->n_changes++] = (struct rio_change){.index = index, .data = mem_dup(data, n), .n = n};
    }
}

void rio_log_truncate(struct rio *rio, uint64_t index)
{
    while (rio->n_terms && rio->terms[rio->n_terms - 1].first >= index) {
        rio->n_terms--;
    }
    while (rio->n_changes && rio->changes[rio->n_changes - 1].index >= index) {
        mem_free(rio->changes[--rio->n_changes].data);
    }
}

/* A snapshot has the configuration up to its index; the term of that stays, for the entries after it. */
void rio_log_covered(struct rio *rio, uint64_t index)
{
    size_t terms = 0, changes = 0;
    while (terms + 1 < rio->n_terms && rio->terms[terms + 1].first <= index) {
        terms++;
    }
    while (changes < rio->n_changes && rio->changes[changes].index <= index) {
        mem_free(rio->changes[changes++].data);
    }
    rio->n_terms -= terms;
    rio->n_changes -= changes;
    if (terms) {
        memmove(rio->terms, rio->terms + terms, rio->n_terms * sizeof *rio->terms);
    }
    if (changes) {
        memmove(rio->changes, rio->changes + changes, rio->n_changes * sizeof *rio->changes);
    }
}

/* 0: it is not in the log. */
static uint64_t term_at(const struct rio *rio, uint64_t index)
{
    size_t i = rio->n_terms;
    while (i && rio->terms[i - 1].first > index) {
        i--;
    }
    return i && index < rio->next_index ? rio->terms[i - 1].term : 0;
}

/* Where the message contradicts our log, if libraft will see that; 0: nowhere. */
static uint64_t contradiction(const struct rio *rio, const struct raft_append_entries *a)
{
    const struct raft *raft = rio->io.data;
    if (a->term < raft->current_term || (a->prev_log_index && term_at(rio, a->prev_log_index) != a->prev_log_term)) {
        return 0;
    }
    for (unsigned i = 0; i < a->n_entries; i++) {
        uint64_t index = a->prev_log_index + 1 + i, ours = term_at(rio, index);
        if (!ours || ours != a->entries[i].term) {
            return ours ? index : 0;
        }
    }
    return 0;
}

/* The last configuration before `index`, and the index of its own; false: there is none, the log has another beginning. */
static bool before(const struct rio *rio, uint64_t index, struct raft_configuration *configuration, uint64_t *at)
{
    size_t i = rio->n_changes;
    while (i && rio->changes[i - 1].index >= index) {
        i--;
    }
    if (i) {
        int rv = configuration_decode(rio->changes[i - 1].data, rio->changes[i - 1].n, configuration);
        CHECK(rv == 0); /* it was looked at when it came */
        *at = rio->changes[i - 1].index;
        return true;
    }
    if (!rio->has_snapshot) {
        return false;
    }
    raft_configuration_init(configuration);
    for (size_t k = 0; k < rio->snapshot.n_servers; k++) {
        int rv = raft_configuration_add(configuration, rio->snapshot.servers[k].id, rio->snapshot.servers[k].address, rio->snapshot.servers[k].role);
        CHECK(rv == 0);
    }
    *at = rio->snapshot.configuration_index;
    return true;
}

/* What libraft takes for committed was, up to here. */
static uint64_t committed_change(const struct rio *rio, uint64_t commit)
{
    uint64_t at = rio->has_snapshot ? rio->snapshot.configuration_index : 0;
    for (size_t i = 0; i < rio->n_changes && rio->changes[i].index <= commit; i++) {
        at = rio->changes[i].index > at ? rio->changes[i].index : at;
    }
    return at;
}

bool rio_leads_alone(const struct rio *rio)
{
    const struct raft *raft = rio->io.data;
    struct raft_configuration configuration;
    uint64_t at;
    if (!before(rio, UINT64_MAX, &configuration, &at)) {
        return false;
    }
    const struct raft_server *self = configuration_find(&configuration, raft->id);
    bool alone = self && self->role == RAFT_VOTER && configuration_voters(&configuration) == 1;
    raft_configuration_close(&configuration);
    return alone;
}

void rio_change_started(struct rio *rio)
{
    struct raft *raft = rio->io.data;
    if (raft->configuration_index > raft->commit_index && !MUTATED(ROLLBACK)) {
        raft->configuration_uncommitted_index = raft->configuration_index;
        raft->configuration_index = committed_change(rio, raft->commit_index);
    }
}

/* libraft takes the members over and goes on waiting for a change that was in the log before. */
void rio_change_installed(struct rio *rio, bool installed)
{
    struct raft *raft = rio->io.data;
    if (installed && raft->configuration_uncommitted_index <= rio->snapshot.index && !MUTATED(ROLLBACK)) {
        raft->configuration_uncommitted_index = 0;
    }
}

void rio_change_before(struct rio *rio, const struct raft_append_entries *a)
{
    struct raft *raft = rio->io.data;
    struct raft_configuration configuration;
    uint64_t at = 0, from = contradiction(rio, a);
    uint64_t last = raft->configuration_uncommitted_index > raft->configuration_index ? raft->configuration_uncommitted_index : raft->configuration_index;
    if (!from || from > last || from <= raft->commit_index || MUTATED(ROLLBACK)) {
        return;
    }
    if (before(rio, from, &configuration, &at)) {
        raft_configuration_close(&raft->configuration);
        raft->configuration = configuration;
        raft->configuration_index = committed_change(rio, raft->commit_index);
        raft->configuration_uncommitted_index = at > raft->configuration_index ? at : 0;
    } else { /* a member that just joined: it has none, as when it began */
        raft_configuration_close(&raft->configuration);
        raft_configuration_init(&raft->configuration);
        raft->configuration_index = raft->configuration_uncommitted_index = 0;
    }
    env_log(rio->loop, ENV_INFO, "raft: a change of members at entry %llu is taken back: it was never committed", (unsigned long long)last);
}
