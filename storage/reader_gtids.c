/* reader_gtids.c: what a MariaDB binlog holds up to a place.
 *
 * Happy path: the state before the file, what the file's index has up to its last place before the one asked for, and the
 * GTIDs between the two. Failure: what reader_open_position refuses, and what reading the few events may find. */
#include "storage/reader_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

/* The events from the reader's place up to `position`. */
static int add_up_to(struct reader *r, uint64_t position, struct gtid_set *state, struct errmsg *em)
{
    struct reader_event ev;
    struct event_gtid g;
    int rv = 0;
    reader_cut_large(r, TXN_HEAD);
    while (!rv && r->at < position) {
        rv = reader_next(r, &ev, em);
        CHECK(rv != 0); /* the position is visible */
        rv = rv < 0 ? rv : 0;
        if (!rv && ev.type == EVENT_MARIADB_GTID) {
            rv = event_gtid_read(&r->format, ev.bytes, ev.n, &g, em);
            rv = rv ? rv : gtid_set_add(state, &g.gtid);
        }
    }
    return rv;
}

int reader_gtids_at(struct store_sub *sub, const char *file, uint64_t position, struct gtid_set **state,
                    struct errmsg *em)
{
    struct reader *r, *from;
    *state = NULL;
    int rv = reader_open_position(sub, 0, file, position, &r, em);
    if (rv) {
        return rv;
    }
    uint64_t place = EVENT_MAGIC_SIZE;
    struct gtid_set *set = r->file->state_before ? gtid_set_copy(r->file->state_before) : gtid_set_new(FLAVOUR_MARIADB);
    rv = reader_find_state(r, position);
    if (!rv && r->jump.offset) {
        place = r->jump.offset;
        rv = gtid_set_union(set, r->jump_state);
    }
    rv = rv ? rv : reader_open_position(sub, r->file->era, file, place, &from, em);
    if (!rv) {
        rv = add_up_to(from, position, set, em);
        reader_close(from);
    }
    reader_close(r);
    if (rv) {
        gtid_set_free(set);
    } else {
        *state = set;
    }
    return rv;
}
