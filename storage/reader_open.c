/* reader_open.c: where a reader begins: by file and position, by GTIDs, in the era behind its own.
 *
 * Failure modes: what is asked for is not there (any more, or yet), or an index has to be made again first: see reader.h. The
 * rest is storage/reader.c's. */
#include "storage/reader_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

static struct reader *reader_new(struct store_sub *sub)
{
    struct reader *r = mem_new(sizeof *r);
    r->sub = sub;
    buf_init(&r->window, UINT32_MAX);
    buf_init(&r->fde, EVENT_FORMAT_MAX);
    return r;
}

void reader_close(struct reader *r)
{
    if (r) {
        reader_close_file(r);
        buf_free(&r->window);
        buf_free(&r->fde);
        gtid_set_free(r->have);
        gtid_set_free(r->held);
        mem_free(r->unreached);
        mem_free(r);
    }
}

static int indexing(struct reader *r, struct errmsg *em)
{
    return err_set(em, READER_INDEXING, "the index of %s is being made again", r->file->name);
}

/* Walks to the position, from the last place before it that the index knows, so that the format is known, the
 * transaction it may stand in, and that an event begins there. */
static int walk_to(struct reader *r, uint64_t position, struct errmsg *em)
{
    struct reader_event ev;
    bool show;
    if (reader_find_position(r, position) == READER_INDEXING) {
        return indexing(r, em);
    }
    while (r->at < position) {
        int rv = reader_find_readable(r, em);
        CHECK(rv != 0); /* the position is visible */
        rv = rv < 0 ? rv : reader_step(r, false, &ev, &show, em);
        if (rv) {
            return rv;
        }
        if (r->jump.offset > r->at) { /* the format description is read */
            reader_jump(r);
        }
    }
    if (r->at != position) {
        return err_set(em, READER_BAD_POSITION, "no event of %s begins at %llu", r->file->name,
                       (unsigned long long)position);
    }
    return 0;
}

/* `size`: what is visible of the file. */
static int open_at(struct store_sub *sub, struct catalog_file *file, uint64_t size, uint64_t position,
                   struct reader **out, struct errmsg *em)
{
    if (position < EVENT_MAGIC_SIZE) {
        return err_set(em, READER_BAD_POSITION, "position %llu is below 4", (unsigned long long)position);
    }
    if (position > size) {
        return err_set(em, READER_BEYOND, "position %llu is behind the end of %s (%llu)",
                       (unsigned long long)position, file->name, (unsigned long long)size);
    }
    struct reader *r = reader_new(sub);
    int rv = reader_open_file(r, file, em);
    rv = rv ? rv : walk_to(r, position, em);
    if (rv) {
        reader_close(r);
    } else {
        *out = r;
    }
    return rv;
}

static int open_named(struct store_sub *sub, uint64_t era, const char *file, uint64_t position, struct reader **out,
                      struct errmsg *em)
{
    const struct catalog_entry *end;
    struct catalog_entry entry;
    uint64_t offset;
    if (!store_sub_end(sub, &end, &offset)) {
        return err_set(em, READER_NOT_YET, "there are no binlog files yet");
    }
    bool first = !file || !file[0];
    int rv = first ? catalog_first_of_era(sub->catalog, era, &entry, em)
                   : catalog_find(sub->catalog, era, file, &entry, em);
    if (!rv && entry.file->ordinal > end->file->ordinal) {
        catalog_entry_drop(&entry);
        rv = E_NOTFOUND;
    }
    if (rv) {
        return rv == E_NOTFOUND ? err_set(em, READER_UNKNOWN_FILE, "there is no binlog file '%s'", first ? "" : file)
                                : rv;
    }
    uint64_t size = entry.file->ordinal == end->file->ordinal ? offset : entry.size;
    rv = open_at(sub, entry.file, size, position, out, em);
    catalog_entry_drop(&entry);
    return rv;
}

int reader_open_position(struct store_sub *sub, uint64_t era, const char *file, uint64_t position,
                         struct reader **out, struct errmsg *em)
{
    int rv;
    *out = NULL;
    do { /* purged between the look into the catalog and the open: the one that is here now is without it */
        rv = open_named(sub, era, file, position, out, em);
    } while (rv == READER_PURGED);
    return rv;
}

int reader_open_next_era(const struct reader *ended, struct reader **out, struct errmsg *em)
{
    const struct filelist *files = ended->sub->catalog->files;
    struct filelist_file next;
    size_t at;
    CHECK(filelist_after_era(files, ended->file->era, &at));
    filelist_get(files, at, &next);
    int rv = reader_open_position(ended->sub, next.era, next.name, EVENT_MAGIC_SIZE, out, em);
    if (!rv) {
        (*out)->crossed = true;
    }
    return rv;
}

/* Is the event at `at` the begin of a transaction that was not held before the era? */
static int is_new(struct reader *r, bool *found, struct errmsg *em)
{
    struct event_header h;
    struct event_gtid g;
    const uint8_t *event;
    size_t there;
    int rv = reader_load(r, false, &h, &event, &there, em);
    if (rv || !event_is_gtid(h.type) || txn_is_open(&r->txn)) {
        return rv;
    }
    rv = event_crc_check(&r->format, event, h.size, em);
    rv = rv ? rv : event_gtid_read(&r->format, event, h.size, &g, em);
    *found = !rv && !reader_replica_has(r, &g.gtid);
    return rv;
}

int reader_find_new(struct reader *r, struct errmsg *em)
{
    struct reader_event ev;
    bool found = false, show;
    for (;;) {
        int rv = reader_find_readable(r, em);
        if (rv != 1) {
            return rv;
        }
        rv = is_new(r, &found, em);
        if (rv) {
            return reader_at_fault(r, rv, em);
        }
        if (found) {
            r->skipped = r->shown = false;
            return 1;
        }
        rv = reader_step(r, false, &ev, &show, em);
        if (rv) {
            return rv;
        }
    }
}

/* Is nothing missing before this place for a replica that has `have`? */
static bool early_enough(void *arg, const struct gtid_set *before)
{
    const struct gtid_set *have = arg;
    if (!before) {
        return true;
    }
    if (gtid_set_flavour(have) == FLAVOUR_MARIADB) {
        return gtid_set_within_position(before, have);
    }
    return gtid_set_subset(before, have);
}

/* The newest visible file that is early enough. */
static int find_file(struct store_sub *sub, const struct gtid_set *have, struct catalog_entry *entry, struct errmsg *em)
{
    const struct catalog_entry *end;
    struct filelist_file oldest;
    uint64_t offset;
    size_t at;
    if (!store_sub_end(sub, &end, &offset)) {
        return err_set(em, READER_NOT_YET, "there are no binlog files yet");
    }
    const struct filelist *files = sub->catalog->files;
    size_t visible = (size_t)(end->file->ordinal - sub->catalog->first) + 1;
    int rv = filelist_search(files, visible, early_enough, (void *)have, &at, em);
    if (rv == E_NOTFOUND) {
        filelist_get(files, 0, &oldest);
        return err_set(em, READER_PURGED, "transactions that are wanted stood before %s, the oldest file",
                       oldest.name);
    }
    return rv ? rv : catalog_at(sub->catalog, at, entry, em);
}

/* What the replica has in domains whose end it has reached at the start of the file is behind us; the rest
 * has to come by. */
static void await_position(struct reader *r, const struct gtid_set *have)
{
    struct gtid gtid, newest;
    size_t at = 0;
    const struct gtid_set *before = r->file->state_before;
    r->unreached = mem_array(gtid_set_intervals(have) + 1, sizeof *r->unreached);
    while (gtid_set_next(have, &at, &gtid, NULL)) {
        bool reached = before && gtid_set_newest(before, gtid.domain, &newest) && gtid_equal(&newest, &gtid);
        if (!reached) {
            struct awaited *a = &r->unreached[r->n_unreached++];
            *a = (struct awaited){.gtid = gtid};
            reader_state_passes_by(a, before);
        }
    }
}

int reader_open_gtid(struct store_sub *sub, const struct gtid_set *have, struct reader **out, struct errmsg *em)
{
    struct catalog_entry entry;
    bool mariadb = gtid_set_flavour(have) == FLAVOUR_MARIADB;
    *out = NULL;
    struct reader *r = reader_new(sub);
    int rv;
    r->by_gtid = true;
    r->have = mariadb ? NULL : gtid_set_copy(have);
    do {
        rv = find_file(sub, have, &entry, em);
        if (rv) {
            reader_close(r);
            return rv;
        }
        rv = reader_open_file(r, entry.file, em);
        catalog_entry_drop(&entry);
    } while (rv == READER_PURGED);
    if (!rv && mariadb) {
        await_position(r, have);
    }
    if (!rv && reader_find_jump(r) == READER_INDEXING) {
        rv = indexing(r, em);
    }
    if (rv) {
        reader_close(r);
    } else {
        *out = r;
    }
    return rv;
}
