/* upstream.c: see upstream.h.
 *
 * Who holds nothing begins in the oldest era, or where it wishes; who holds a part of an era reads that to its end first, and goes on in
 * the next one. Of two eras of one source it is the one that has its file. Who says nothing, or has what nobody here knows, reads the newest: its
 * own follow rule judges what it finds there. */
#include "node/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The place of an era's first file in the list; false: it has none. */
static bool first_file(const struct state *state, size_t i, size_t *at)
{
    struct filelist_file file;
    uint64_t id = state->eras[i].id;
    if (!filelist_after_era(state->files, id - 1, at)) {
        return false;
    }
    filelist_get(state->files, *at, &file);
    return file.era == id;
}

/* Nothing of what was held before lies behind the set, or in MariaDB's words the position. */
static bool comes_behind(const struct gtid_set *before, const struct gtid_set *start)
{
    struct gtid pair, newest;
    size_t at = 0;
    if (gtid_set_flavour(start) == FLAVOUR_MYSQL) {
        return gtid_set_subset(before, start);
    }
    while (gtid_set_next(before, &at, &pair, NULL)) {
        if (!gtid_set_newest(start, pair.domain, &newest) || newest.gno < pair.gno) {
            return false;
        }
    }
    return true;
}

/* The newest one whose beginning is not behind what is to be skipped. */
static size_t of_set(const struct state *state, const struct gtid_set *start)
{
    for (size_t i = state->n_eras; i > 1; i--) {
        struct gtid_set *before = NULL;
        size_t at;
        bool it = first_file(state, i - 1, &at) && !filelist_before(state->files, at, &before, NULL) && before && comes_behind(before, start);
        gtid_set_free(before);
        if (it) {
            return i - 1;
        }
    }
    return 0;
}

/* Of one that holds nothing. */
static size_t first_era(const struct state *state, const char *start)
{
    size_t i = state->n_eras - 1; /* now; a file means one of the newest era */
    if (!start || !start[0] || !strcmp(start, "oldest")) {
        return 0;
    }
    struct gtid_set *set = gtid_set_new(state->executed ? gtid_set_flavour(state->executed) : FLAVOUR_MYSQL);
    if (!gtid_set_parse(set, start, strlen(start), NULL) && !gtid_set_is_empty(set)) {
        i = of_set(state, set);
    }
    gtid_set_free(set);
    return i;
}

static bool split(const char *at, char *name, size_t size, uint64_t *position)
{
    const char *colon = strrchr(at, ':');
    if (!colon || (size_t)(colon - at) >= size) {
        return false;
    }
    memcpy(name, at, (size_t)(colon - at));
    name[colon - at] = 0;
    *position = strtoull(colon + 1, NULL, 10);
    return true;
}

/* An era in which nothing was committed: none of its files would be found by what is held. */
static bool adds_nothing(const struct state *state, size_t i)
{
    struct gtid_set *before = NULL, *after = NULL;
    size_t at, next;
    bool nothing = first_file(state, i, &at) && first_file(state, i + 1, &next) && !filelist_before(state->files, at, &before, NULL) &&
                   !filelist_before(state->files, next, &after, NULL) && before && after && gtid_set_equal(before, after);
    gtid_set_free(before);
    gtid_set_free(after);
    return nothing;
}

/* The one behind era i. */
static size_t next_era(const struct state *state, size_t i)
{
    do {
        i++;
    } while (i + 1 < state->n_eras && adds_nothing(state, i));
    return i;
}

/* Is this the end of an era that is over? */
static bool ends(const struct state *state, const struct state_era *era, const char *name, uint64_t position)
{
    struct filelist_file last;
    size_t next;
    if (!filelist_after_era(state->files, era->id, &next) || !next) {
        return false;
    }
    filelist_get(state->files, next - 1, &last);
    return last.era == era->id && !strcmp(last.name, name) && last.size == position;
}

const struct state_era *upstream_era(const struct state *state, const struct upstream_asker *a)
{
    char name[FILELIST_NAME_SIZE] = "";
    uint64_t position = 0;
    size_t same = state->n_eras, at; /* the newest of its source; the same with its file */
    if (!state->n_eras) {
        return NULL;
    }
    if (!a->origin || !a->at || !split(a->at, name, sizeof name, &position)) {
        return &state->eras[state->n_eras - 1];
    }
    if (!name[0]) {
        return &state->eras[first_era(state, a->start)];
    }
    for (size_t i = state->n_eras; i > 0; i--) {
        const struct state_era *era = &state->eras[i - 1];
        char text[64];
        snprintf(text, sizeof text, "%lu %s", (unsigned long)era->origin.server_id, era->origin.uuid);
        if (!strcmp(text, a->origin)) {
            bool has_it = filelist_find(state->files, era->id, name, &at);
            same = has_it || same == state->n_eras ? i - 1 : same;
            if (has_it) {
                break;
            }
        }
    }
    if (same == state->n_eras) {
        return &state->eras[state->n_eras - 1];
    }
    bool over = same + 1 < state->n_eras && ends(state, &state->eras[same], name, position);
    return &state->eras[over ? next_era(state, same) : same];
}
