/* reader.c: walks over the files event by event, up to the watermark.
 *
 * Happy path: a window over the file is filled with large reads that never pass the limit (the watermark, or
 * the size of a sealed file). Each event in it is measured, checked, fed to the transaction tracker, and
 * shown or left out. At the limit the watermark is looked at again; when it stands in a later file this one
 * is sealed, and at its end the next one is opened.
 *
 * Where to begin: by the file's index (storage/index.h). A start by position goes on from the last transaction
 * end before it; one by GTIDs shows what stands before the first transaction, then passes over all that the
 * replica has. The bytes before the place and the event at it must agree with the index.
 *
 * Left out: by GTID, whole transactions only. MySQL: those in `have`, to which each one shown is added, so
 * that a later era that brings a transaction again does not show it twice. MariaDB: in each domain all up to
 * the replica's GTID, found by its server and number; in a later era also what was held when it began. A
 * position reader that came from the era before leaves that out too.
 *
 * Failure modes: a short file, a length beyond the limit, a wrong checksum, a sequence of events that cannot
 * be: READER_CORRUPT with file and offset, which is told to the loop too; nothing of it is shown, what is whole before it is. The
 * checksums of events that are left out are not looked at (but of GTID events they are), of a large one only the beginning is
 * read. Where an event is shown before its checksum, or has none, the hashes of the index are looked at (storage/reader_hash.c). */
#include "storage/reader_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

/* Puts file and offset in front of the message. What cannot be is corruption, a failed read is not. */
int reader_at_fault(struct reader *r, int rv, struct errmsg *em)
{
    if (rv == E_MALFORMED || rv == E_UNSUPPORTED || rv == E_INVALID) {
        rv = READER_CORRUPT;
    }
    rv = err_wrap(em, rv, "%s at %llu", r->file->path, (unsigned long long)r->at);
    reader_tell_damage(r, rv, em);
    return rv;
}

void reader_tell_damage(const struct reader *r, int rv, const struct errmsg *em)
{
    if (rv == READER_CORRUPT) {
        damage_found(r->sub->store, r->file->era, r->file->name, em);
    }
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void forget_jump(struct reader *r)
{
    r->jump = (struct index_place){0};
    gtid_set_free(r->jump_state);
    r->jump_state = NULL;
}

void reader_close_file(struct reader *r)
{
    forget_jump(r);
    reader_forget_hashes(r);
    if (r->handle) {
        env_close(r->handle);
        r->handle = NULL;
    }
    catalog_file_unref(r->file);
    r->file = NULL;
}

/* The file cannot be opened: it was purged (then the newest catalog is without it), or lost. */
static int missing(struct reader *r, struct errmsg *em)
{
    const struct catalog_entry *end;
    uint64_t offset;
    (void)store_sub_end(r->sub, &end, &offset);
    if (r->file->ordinal < r->sub->catalog->first) {
        return err_set(em, READER_PURGED, "%s was removed", r->file->path);
    }
    int rv = err_wrap(em, READER_CORRUPT, "a file of the log is missing");
    reader_tell_damage(r, rv, em);
    return rv;
}

/* What was held when the era of the file began: the state before its first file, or before the oldest one that is still there. */
static int learn_held(struct reader *r, struct catalog_file *file, struct errmsg *em)
{
    const struct filelist *files = r->sub->catalog->files;
    struct filelist_file first = {.era = 0};
    size_t at;
    if (r->held_era == file->era) {
        return 0;
    }
    gtid_set_free(r->held);
    r->held = NULL;
    r->held_era = file->era;
    if (file->era == 1 || r->have) {
        return 0;
    }
    if (filelist_after_era(files, file->era - 1, &at)) {
        filelist_get(files, at, &first);
    }
    if (first.era == file->era) {
        return filelist_before(files, at, &r->held, em);
    }
    r->held = file->state_before ? gtid_set_copy(file->state_before) : NULL; /* removed while we read it */
    return 0;
}

/* Opens it at its first event; the limit is not known yet. */
int reader_open_file(struct reader *r, struct catalog_file *file, struct errmsg *em)
{
    uint8_t magic[EVENT_MAGIC_SIZE];
    size_t got;
    catalog_file_ref(file);
    reader_close_file(r);
    r->file = file;
    r->generation = r->sub->catalog->generation;
    r->at = r->limit = EVENT_MAGIC_SIZE;
    r->window_at = 0;
    r->shown = r->landed = false;
    buf_reset(&r->window);
    buf_reset(&r->fde);
    txn_init(&r->txn);
    event_format_init(&r->format, FLAVOUR_NONE, CHECKSUM_NONE);
    int rv = learn_held(r, file, em);
    if (rv) {
        return rv;
    }
    rv = env_open(r->sub->env, file->path, ENV_READ, &r->handle, em);
    if (rv) {
        r->handle = NULL;
        return rv == E_NOTFOUND ? missing(r, em) : rv;
    }
    rv = env_pread(r->handle, magic, sizeof magic, 0, &got, em);
    if (!rv && (got != sizeof magic || memcmp(magic, EVENT_MAGIC, sizeof magic) != 0)) {
        rv = err_set(em, READER_CORRUPT, "%s does not begin as a binlog file", file->path);
        reader_tell_damage(r, rv, em);
    }
    return rv;
}

/* The size of a sealed file. */
int reader_sealed_size(struct reader *r, uint64_t *size, struct errmsg *em)
{
    if (catalog_sealed_size(r->sub->catalog, r->file->ordinal, size)) {
        return 0;
    }
    return env_size(r->handle, size, em); /* removed while we read it */
}

/* Goes on with the file behind this one. */
static int enter(struct reader *r, struct catalog_file *next, struct errmsg *em)
{
    if (!r->by_gtid && next->era != r->file->era) { /* also one that crossed already */
        return err_set(em, READER_ERA_END, "%s is the last file of era %llu", r->file->path,
                       (unsigned long long)r->file->era);
    }
    int rv = reader_open_file(r, next, em);
    if (!rv && r->by_gtid) {
        (void)reader_find_jump(r); /* without one it walks */
    }
    return rv;
}

static int next_file(struct reader *r, struct errmsg *em)
{
    struct catalog_entry next;
    if (txn_is_open(&r->txn)) {
        return reader_at_fault(r, err_set(em, READER_CORRUPT, "the file ends inside a transaction"), em);
    }
    int rv = catalog_by_ordinal(r->sub->catalog, r->file->ordinal + 1, &next, em);
    if (rv == E_NOTFOUND) {
        return err_set(em, READER_PURGED, "the file after %s was removed", r->file->path);
    }
    rv = rv ? rv : enter(r, next.file, em);
    catalog_entry_drop(&next);
    return rv;
}

/* Fetched files have taken the place of those that were here: that of the same name begins with the same bytes, and goes on. */
static int open_again(struct reader *r, struct errmsg *em)
{
    if (r->generation == r->sub->catalog->generation) {
        return 0;
    }
    env_close(r->handle);
    r->handle = NULL;
    int rv = env_open(r->sub->env, r->file->path, ENV_READ, &r->handle, em);
    if (rv) {
        r->handle = NULL;
        return rv == E_NOTFOUND ? missing(r, em) : rv;
    }
    r->generation = r->sub->catalog->generation;
    return 0;
}

/* 1: there is something to read at `at`. 0: at the watermark. */
int reader_find_readable(struct reader *r, struct errmsg *em)
{
    while (r->at >= r->limit) {
        const struct catalog_entry *end;
        uint64_t offset;
        if (!store_sub_end(r->sub, &end, &offset)) {
            return 0;
        }
        uint64_t ordinal = end->file->ordinal;
        CHECK(ordinal >= r->file->ordinal);
        int rv = open_again(r, em);
        if (rv) {
            return rv;
        }
        if (ordinal == r->file->ordinal) {
            r->limit = offset;
            return r->at < offset;
        }
        rv = reader_sealed_size(r, &r->limit, em);
        if (!rv && r->at >= r->limit) {
            rv = next_file(r, em);
        }
        if (rv) {
            return rv;
        }
    }
    return 1;
}

/* ---- events -------------------------------------------------------------------------------------------- */

static bool comes_in_pieces(const struct reader *r, const struct event_header *h, bool wanted)
{
    bool can = txn_head(h->type, SIZE_MAX) < SIZE_MAX && !r->landed;
    return can && wanted && !r->leaving_out && r->cut_size && h->size > r->cut_size;
}

/* Who passes over an event needs no more of it than its beginning either. */
static size_t needed(const struct reader *r, const struct event_header *h, bool wanted)
{
    bool all = r->landed || (wanted && !r->leaving_out && !comes_in_pieces(r, h, wanted));
    return all ? h->size : txn_head(h->type, h->size);
}

/* The event at `at`, the *n bytes of it that are needed. */
int reader_load(struct reader *r, bool wanted, struct event_header *h, const uint8_t **event, size_t *n,
                struct errmsg *em)
{
    uint64_t there = r->limit - r->at;
    if (there < EVENT_HEADER_SIZE) {
        return err_set(em, READER_CORRUPT, "no event fits in %llu bytes", (unsigned long long)there);
    }
    int rv = reader_bytes(r, r->at, EVENT_HEADER_SIZE, event, em);
    rv = rv ? rv : event_peek(*event, EVENT_HEADER_SIZE, h, em);
    if (!rv && h->size > there) {
        rv = err_set(em, READER_CORRUPT, "an event of %lu bytes does not fit in %llu", (unsigned long)h->size,
                     (unsigned long long)there);
    }
    if (!rv) {
        *n = needed(r, h, wanted);
        rv = reader_bytes(r, r->at, *n, event, em);
    }
    return rv;
}

static int read_format(struct reader *r, const uint8_t *event, size_t n, struct errmsg *em)
{
    int rv = event_crc_check(&r->format, event, n, em);
    rv = rv ? rv : event_format_read(event, n, &r->format, em);
    if (!rv) {
        buf_reset(&r->fde);
        buf_bytes(&r->fde, event, n);
        rv = r->fde.err ? err_set(em, r->fde.err, "the format description is too large") : 0;
    }
    return rv;
}

/* ---- leaving out --------------------------------------------------------------------------------------- */

/* `seen` comes by, and is not the awaited one itself. */
static void passes_by(struct awaited *a, const struct gtid *seen)
{
    if (a->gtid.domain == seen->domain) {
        a->prior = a->prior || (a->gtid.server == seen->server && seen->gno < a->gtid.gno);
        a->passed = a->passed || seen->gno >= a->gtid.gno;
    }
}

/* All that lies before some place comes by. */
void reader_state_passes_by(struct awaited *a, const struct gtid_set *state)
{
    struct gtid pair;
    size_t at = 0;
    while (state && gtid_set_next(state, &at, &pair, NULL)) {
        passes_by(a, &pair);
    }
}

/* At the end of the log: a GTID that did not come although its domain went on. One that is ahead of us may
 * come. */
static int diverged(struct reader *r, struct errmsg *em)
{
    char text[GTID_TEXT_SIZE];
    for (size_t i = 0; i < r->n_unreached; i++) {
        if (r->unreached[i].passed) {
            r->asked = r->unreached[i].gtid;
            gtid_text(&r->asked, text, sizeof text);
            return err_set(em, READER_DIVERGED, "%s is not in the log, which holds higher numbers", text);
        }
    }
    return 0;
}

static bool mariadb_has(struct reader *r, const struct gtid *gtid)
{
    for (size_t i = 0; i < r->n_unreached; i++) {
        struct awaited *a = &r->unreached[i];
        if (a->gtid.domain != gtid->domain) {
            continue;
        }
        if (a->gtid.server != gtid->server || gtid->gno < a->gtid.gno) {
            passes_by(a, gtid);
            return true;
        }
        bool same =
            gtid->gno == a->gtid.gno; /* with a higher one, numbers were skipped: the replica lacks it */
        r->hole = !same && a->prior && r->strict;
        r->asked = a->gtid;
        r->unreached[i] = r->unreached[--r->n_unreached];
        return same;
    }
    return r->held && gtid_set_contains(r->held, gtid);
}

bool reader_replica_has(struct reader *r, const struct gtid *gtid)
{
    if (r->crossed) {
        return gtid->flavour != FLAVOUR_NONE && r->held && gtid_set_contains(r->held, gtid);
    }
    switch (gtid->flavour) {
    case FLAVOUR_MYSQL: return r->have && gtid_set_contains(r->have, gtid);
    case FLAVOUR_MARIADB: return mariadb_has(r, gtid);
    case FLAVOUR_NONE: break;
    }
    return false;
}

/* ---- the index ----------------------------------------------------------------------------------------- */

/* May the replica be shown what comes behind `state`, which is all that the file has up to some place? Then
 * everything before the place is left out by mariadb_has. */
static bool mariadb_passes(void *arg, const struct gtid_set *state)
{
    const struct reader *r = arg;
    const struct gtid_set *before = r->held;
    struct gtid pair;
    size_t at = 0;
    bool newest;
    while (gtid_set_next(state, &at, &pair, &newest)) {
        const struct gtid *up_to = NULL;
        for (size_t i = 0; i < r->n_unreached && !up_to; i++) {
            up_to = r->unreached[i].gtid.domain == pair.domain ? &r->unreached[i].gtid : NULL;
        }
        if (!up_to && !(before && gtid_set_contains(before, &pair))) {
            return false;
        }
        if (up_to && up_to->server == pair.server &&
            (pair.gno > up_to->gno || (pair.gno == up_to->gno && !newest))) {
            return false;
        }
    }
    return true;
}

static bool mysql_passes(void *arg, const struct gtid_set *added)
{
    const struct reader *r = arg;
    return gtid_set_subset(added, r->have);
}

/* The index of the file; `sealed`: one that is not whole, or of another file, is an error. */
int reader_load_index(struct reader *r, bool sealed, uint64_t size, struct buf *data)
{
    const struct catalog_file *file = r->file;
    char *path = index_path(r->sub->store->index_dir, file->era, file->name);
    int rv = env_read_file(r->sub->env, path, data, NULL);
    if (!rv && sealed) {
        rv = index_check_sealed(data->data, data->len, file->era, file->name, size, NULL);
    }
    mem_free(path);
    return rv;
}

/* The newest place of the file that `find` comes to, if it is worth it. READER_INDEXING: the index must be
 * made again first, and the file is too large to walk instead. */
static int look_up(struct reader *r, uint64_t worth,
                   void (*find)(struct reader *r, const struct buf *data, uint64_t limit))
{
    const struct catalog_entry *end;
    const struct store *store = r->sub->store;
    uint64_t size;
    struct buf data;
    if (!store_sub_end(r->sub, &end, &size)) {
        return 0;
    }
    bool sealed = end->file->ordinal != r->file->ordinal;
    if (sealed && reader_sealed_size(r, &size, NULL)) {
        return 0;
    }
    worth = worth < size ? worth : size;
    if (worth < store->options.index_step) {
        return 0;
    }
    buf_init(&data, INDEX_MAX);
    int rv = reader_load_index(r, sealed, size, &data);
    if (!rv || !sealed) {
        find(r, &data, worth);
        bool fits = r->jump.offset == 0 || index_place_fits(r->handle, &r->jump);
        if (!fits) {
            forget_jump(r);
            rv = E_CORRUPT;
        }
    }
    buf_free(&data);
    if (rv && sealed && rebuild_ask(r->sub->store, r->file, size) && worth > store->options.walk_max) {
        return READER_INDEXING;
    }
    return 0;
}

static void find_by_gtid(struct reader *r, const struct buf *data, uint64_t limit)
{
    enum flavour flavour = r->have ? gtid_set_flavour(r->have) : FLAVOUR_MARIADB;
    index_find_gtid(data->data, data->len, r->file->era, r->file->name, limit, flavour,
                    flavour == FLAVOUR_MYSQL ? mysql_passes : mariadb_passes, r, &r->jump, &r->jump_state);
}

static void find_by_position(struct reader *r, const struct buf *data, uint64_t limit)
{
    index_find_position(data->data, data->len, r->file->era, r->file->name, limit, &r->jump);
}

int reader_find_jump(struct reader *r)
{
    return look_up(r, UINT64_MAX, find_by_gtid);
}

int reader_find_position(struct reader *r, uint64_t position)
{
    return look_up(r, position, find_by_position);
}

static bool any_passes(void *arg, const struct gtid_set *state)
{
    (void)arg;
    (void)state;
    return true;
}

static void find_last(struct reader *r, const struct buf *data, uint64_t limit)
{
    index_find_gtid(data->data, data->len, r->file->era, r->file->name, limit, FLAVOUR_MARIADB, any_passes, NULL, &r->jump,
                    &r->jump_state);
}

int reader_find_state(struct reader *r, uint64_t limit)
{
    forget_jump(r);
    return look_up(r, limit, find_last);
}

/* Goes on at the place that was found. What lies between is left out. */
void reader_jump(struct reader *r)
{
    r->at = r->jump.offset;
    r->landed = true;
    txn_init(&r->txn);
    buf_reset(&r->window);
    if (r->at > r->limit) {
        r->limit = r->at; /* it is visible; find_readable looks how much more there is */
    }
    for (size_t i = r->n_unreached; i-- > 0;) {
        struct gtid newest;
        struct awaited *a = &r->unreached[i];
        if (r->jump_state && gtid_set_newest(r->jump_state, a->gtid.domain, &newest) &&
            gtid_equal(&newest, &a->gtid)) {
            *a = r->unreached[--r->n_unreached];
        } else {
            reader_state_passes_by(a, r->jump_state);
        }
    }
    forget_jump(r);
}

static void note_skipped(struct reader *r)
{
    r->skipped = true;
    r->skipped_end = r->at;
    snprintf(r->skipped_file, sizeof r->skipped_file, "%s", r->file->name);
}

/* Behind a jump an event must begin: its sum is looked at in any case, and where it says that it ends. */
static int check_landing(struct reader *r, const struct event_header *h, const uint8_t *event, struct errmsg *em)
{
    r->landed = false;
    if (h->log_pos && h->log_pos != (uint32_t)(r->at + h->size)) {
        return err_set(em, READER_CORRUPT, "the event says that it ends at %lu, not %llu",
                       (unsigned long)h->log_pos, (unsigned long long)(r->at + h->size));
    }
    return event_crc_check(&r->format, event, h->size, em);
}

/* Looks at the event at `at` and passes over it. *show: is it one for the caller? */
int reader_step(struct reader *r, bool wanted, struct reader_event *ev, bool *show, struct errmsg *em)
{
    struct event_header h;
    const uint8_t *event = NULL;
    size_t there = 0;
    int rv = reader_load(r, wanted, &h, &event, &there, em);
    bool pieces = !rv && comes_in_pieces(r, &h, wanted);
    if (!rv && r->at == EVENT_MAGIC_SIZE && h.type != EVENT_FORMAT_DESCRIPTION) {
        rv = err_set(em, READER_CORRUPT, "the file does not begin with a format description");
    }
    if (!rv && h.type == EVENT_FORMAT_DESCRIPTION) {
        rv = read_format(r, event, h.size, em);
    } else if (!rv && ((wanted && !r->leaving_out && !pieces) || event_is_gtid(h.type))) {
        rv = event_crc_check(&r->format, event, h.size, em);
    }
    if (!rv && r->landed) {
        rv = check_landing(r, &h, event, em);
    }
    if (!rv && wanted && (r->by_gtid || r->crossed) && event_is_gtid(h.type) && !txn_is_open(&r->txn)) {
        struct event_gtid g;
        rv = event_gtid_read(&r->format, event, h.size, &g, em);
        if (!rv && r->jump.offset > r->at) {
            reader_jump(r); /* this one and all up to there */
            note_skipped(r);
            *show = false;
            return 0;
        }
        r->leaving_out = !rv && reader_replica_has(r, &g.gtid);
        if (r->hole) {
            return err_set(em, READER_HOLE, "the replica's GTID is missing in %s", r->file->path);
        }
    }
    if (rv) {
        return reader_at_fault(r, rv, em);
    }
    int where = txn_feed_head(&r->txn, &r->format, event, there, h.size, em);
    if (where < 0) {
        return reader_at_fault(r, where, em);
    }
    *ev = (struct reader_event){.bytes = event,
                                .n = h.size,
                                .in_pieces = pieces,
                                .type = h.type,
                                .era = r->file->era,
                                .file = r->file->name,
                                .start = r->at,
                                .end = r->at + h.size,
                                .ends_transaction = where == TXN_END,
                                .inside = where == TXN_INSIDE};
    *show = wanted && !r->leaving_out;
    r->at += h.size;
    if (pieces) {
        reader_begin_pieces(r, &h);
    }
    if (where == TXN_END && r->leaving_out) {
        r->leaving_out = false;
        note_skipped(r);
    } else if (where == TXN_END && wanted && r->have && r->txn.has_gtid &&
               r->txn.gtid.flavour == FLAVOUR_MYSQL) {
        rv = gtid_set_add(r->have, &r->txn.gtid);
        return rv ? err_set(em, rv, "the replica's GTID set has too many parts") : 0;
    }
    return 0;
}

int reader_next(struct reader *r, struct reader_event *ev, struct errmsg *em)
{
    bool show = false;
    r->rest.left = 0;
    while (!show) {
        int rv = reader_find_readable(r, em);
        if (rv == 1) {
            rv = reader_step(r, true, ev, &show, em);
        } else if (rv == 0) {
            return diverged(r, em);
        }
        if (rv < 0) {
            return rv;
        }
    }
    ev->new_file = !r->shown;
    r->shown = true;
    if (r->skipped) {
        ev->skipped = true;
        ev->skipped_end = r->skipped_end;
        memcpy(ev->skipped_file, r->skipped_file, sizeof ev->skipped_file);
        r->skipped = false;
    }
    return 1;
}

const struct gtid *reader_asked(const struct reader *r)
{
    return &r->asked;
}

void reader_be_strict(struct reader *r)
{
    r->strict = true;
}

bool reader_take_skipped(struct reader *r, const char **file, uint64_t *end)
{
    bool skipped = r->skipped;
    *file = r->skipped_file;
    *end = r->skipped_end;
    r->skipped = false;
    return skipped;
}

void reader_where(const struct reader *r, uint64_t *era, const char **file, uint64_t *offset)
{
    *era = r->file->era;
    *file = r->file->name;
    *offset = r->at;
}

const struct event_format *reader_format(const struct reader *r, const uint8_t **bytes, size_t *n)
{
    *bytes = r->fde.data;
    *n = r->fde.len;
    return r->fde.len > 0 ? &r->format : NULL;
}
