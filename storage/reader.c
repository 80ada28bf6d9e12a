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
 * the replica's GTID, found by its server and number; in the first file of a later era also what its
 * state_before contains.
 *
 * Failure modes: a short file, a length beyond the limit, a wrong checksum, a sequence of events that cannot
 * be: READER_CORRUPT with file and offset; nothing of it is shown. The checksums of events that are left out
 * are not looked at (but of GTID events they are). */
#include "storage/reader.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/txn.h"
#include "storage/filelist.h"
#include "storage/impl.h"
#include "storage/index.h"

#include <stdio.h>
#include <string.h>

enum {
    WINDOW = 256 * 1024,  /* read at once, and kept */
    WINDOW_KEEP = 4 << 20 /* a buffer that a large event made grow beyond this is given back */
};

/* A GTID of a replica of MariaDB that has not come by yet. */
struct awaited {
    struct gtid gtid;
    bool prior;  /* lower numbers of its server have come by */
    bool passed; /* so have numbers of its domain that are not lower: it may have gone another way */
};

struct reader {
    struct store_sub *sub;
    /* the file */
    struct catalog_file *file; /* one reference */
    struct env_file *handle;
    uint64_t at;       /* the next event */
    uint64_t limit;    /* readable up to here; looked at again when reached */
    struct buf window; /* bytes from window_at on */
    uint64_t window_at;
    struct event_format format;
    struct buf fde; /* empty: not seen yet */
    struct txn txn;
    bool shown; /* something of this file */
    /* leaving out */
    bool by_gtid;
    bool leaving_out;       /* the open transaction */
    struct gtid_set *have;  /* MySQL; grows with what is shown */
    struct awaited *unreached; /* MariaDB, in any order */
    size_t n_unreached;
    bool strict, hole;
    struct gtid asked; /* the one that is not there */
    struct index_place jump;     /* GTIDs: all transactions of the file before it are left out; 0: none */
    struct gtid_set *jump_state; /* MariaDB: what these are */
    bool landed;                 /* the next event is the first one behind a jump */
    bool skipped;
    char skipped_file[STORE_NAME_SIZE];
    uint64_t skipped_end;
};

/* Puts file and offset in front of the message. What cannot be is corruption, a failed read is not. */
static int at_fault(struct reader *r, int rv, struct errmsg *em)
{
    if (rv == E_MALFORMED || rv == E_UNSUPPORTED || rv == E_INVALID) {
        rv = READER_CORRUPT;
    }
    return err_wrap(em, rv, "%s at %llu", r->file->path, (unsigned long long)r->at);
}

static int find_jump(struct reader *r);

/* ---- files --------------------------------------------------------------------------------------------- */

static void forget_jump(struct reader *r)
{
    r->jump = (struct index_place){0};
    gtid_set_free(r->jump_state);
    r->jump_state = NULL;
}

static void close_file(struct reader *r)
{
    forget_jump(r);
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
    if (store_sub_end(r->sub, &end, &offset) && r->file->ordinal < r->sub->catalog->first) {
        return err_set(em, READER_PURGED, "%s was removed", r->file->path);
    }
    return err_wrap(em, READER_CORRUPT, "a file of the log is missing");
}

/* Opens it at its first event; the limit is not known yet. */
static int open_file(struct reader *r, struct catalog_file *file, struct errmsg *em)
{
    uint8_t magic[EVENT_MAGIC_SIZE];
    size_t got;
    catalog_file_ref(file);
    close_file(r);
    r->file = file;
    r->at = r->limit = EVENT_MAGIC_SIZE;
    r->window_at = 0;
    r->shown = r->landed = false;
    buf_reset(&r->window);
    buf_reset(&r->fde);
    txn_init(&r->txn);
    event_format_init(&r->format, FLAVOUR_NONE, CHECKSUM_NONE);
    int rv = env_open(r->sub->env, file->path, ENV_READ, &r->handle, em);
    if (rv) {
        r->handle = NULL;
        return rv == E_NOTFOUND ? missing(r, em) : rv;
    }
    rv = env_pread(r->handle, magic, sizeof magic, 0, &got, em);
    if (!rv && (got != sizeof magic || memcmp(magic, EVENT_MAGIC, sizeof magic) != 0)) {
        rv = err_set(em, READER_CORRUPT, "%s does not begin as a binlog file", file->path);
    }
    return rv;
}

/* The size of a sealed file. */
static int sealed_size(struct reader *r, uint64_t *size, struct errmsg *em)
{
    if (catalog_sealed_size(r->sub->catalog, r->file->ordinal, size)) {
        return 0;
    }
    return env_size(r->handle, size, em); /* removed while we read it */
}

/* Goes on with the file behind this one. */
static int enter(struct reader *r, struct catalog_file *next, struct errmsg *em)
{
    if (!r->by_gtid && next->era != r->file->era) {
        return err_set(em, READER_ERA_END, "%s is the last file of era %llu", r->file->path,
                       (unsigned long long)r->file->era);
    }
    int rv = open_file(r, next, em);
    if (!rv && r->by_gtid) {
        (void)find_jump(r); /* without one it walks */
    }
    return rv;
}

static int next_file(struct reader *r, struct errmsg *em)
{
    struct catalog_entry next;
    if (txn_is_open(&r->txn)) {
        return at_fault(r, err_set(em, READER_CORRUPT, "the file ends inside a transaction"), em);
    }
    int rv = catalog_by_ordinal(r->sub->catalog, r->file->ordinal + 1, &next, em);
    if (rv == E_NOTFOUND) {
        return err_set(em, READER_PURGED, "the file after %s was removed", r->file->path);
    }
    rv = rv ? rv : enter(r, next.file, em);
    catalog_entry_drop(&next);
    return rv;
}

/* 1: there is something to read at `at`. 0: at the watermark. */
static int find_readable(struct reader *r, struct errmsg *em)
{
    while (r->at >= r->limit) {
        const struct catalog_entry *end;
        uint64_t offset;
        if (!store_sub_end(r->sub, &end, &offset)) {
            return 0;
        }
        uint64_t ordinal = end->file->ordinal;
        CHECK(ordinal >= r->file->ordinal);
        if (ordinal == r->file->ordinal) {
            r->limit = offset;
            return r->at < offset;
        }
        int rv = sealed_size(r, &r->limit, em);
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

/* n bytes at `at`, which lie below the limit. */
static int bytes_at(struct reader *r, size_t n, const uint8_t **bytes, struct errmsg *em)
{
    struct buf *w = &r->window;
    size_t used = w->len;
    if (r->window_at <= r->at && r->at - r->window_at < w->len) {
        used = (size_t)(r->at - r->window_at);
    }
    if (n <= w->len - used) {
        *bytes = w->data + used;
        return 0;
    }
    buf_consume(w, used);
    r->window_at = r->at;
    if (w->cap > WINDOW_KEEP && n <= WINDOW) {
        struct buf smaller;
        buf_init(&smaller, w->max);
        buf_bytes(&smaller, w->data, w->len);
        buf_move(w, &smaller);
    }
    uint64_t there = r->limit - r->at - w->len;
    size_t got = 0, want = (n > WINDOW ? n : WINDOW) - w->len;
    want = want < there ? want : (size_t)there;
    uint8_t *to = buf_reserve(w, want);
    int rv = to ? env_pread(r->handle, to, want, r->at + w->len, &got, em)
                : err_set(em, w->err, "no memory for %zu bytes", want);
    if (!rv && got != want) {
        rv = err_set(em, READER_CORRUPT, "the file ends before %llu", (unsigned long long)r->limit);
    }
    if (!rv) {
        w->len += got;
        *bytes = w->data;
    }
    return rv;
}

/* The whole event at `at`. */
static int load(struct reader *r, struct event_header *h, const uint8_t **event, struct errmsg *em)
{
    uint64_t there = r->limit - r->at;
    if (there < EVENT_HEADER_SIZE) {
        return err_set(em, READER_CORRUPT, "no event fits in %llu bytes", (unsigned long long)there);
    }
    int rv = bytes_at(r, EVENT_HEADER_SIZE, event, em);
    rv = rv ? rv : event_peek(*event, EVENT_HEADER_SIZE, h, em);
    if (!rv && h->size > there) {
        rv = err_set(em, READER_CORRUPT, "an event of %lu bytes does not fit in %llu", (unsigned long)h->size,
                     (unsigned long long)there);
    }
    return rv ? rv : bytes_at(r, h->size, event, em);
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
static void state_passes_by(struct awaited *a, const struct gtid_set *state)
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
    return r->file->follows_era && r->file->state_before && gtid_set_contains(r->file->state_before, gtid);
}

static bool replica_has(struct reader *r, const struct gtid *gtid)
{
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
    const struct gtid_set *before = r->file->follows_era ? r->file->state_before : NULL;
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
static int load_index(struct reader *r, bool sealed, uint64_t size, struct buf *data)
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
    if (sealed && sealed_size(r, &size, NULL)) {
        return 0;
    }
    worth = worth < size ? worth : size;
    if (worth < store->options.index_step) {
        return 0;
    }
    buf_init(&data, INDEX_MAX);
    int rv = load_index(r, sealed, size, &data);
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

static int find_jump(struct reader *r)
{
    return look_up(r, UINT64_MAX, find_by_gtid);
}

/* Goes on at the place that was found. What lies between is left out. */
static void jump(struct reader *r)
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
            state_passes_by(a, r->jump_state);
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
static int step(struct reader *r, bool wanted, struct reader_event *ev, bool *show, struct errmsg *em)
{
    struct event_header h;
    const uint8_t *event = NULL;
    int rv = load(r, &h, &event, em);
    if (!rv && r->at == EVENT_MAGIC_SIZE && h.type != EVENT_FORMAT_DESCRIPTION) {
        rv = err_set(em, READER_CORRUPT, "the file does not begin with a format description");
    }
    if (!rv && h.type == EVENT_FORMAT_DESCRIPTION) {
        rv = read_format(r, event, h.size, em);
    } else if (!rv && ((wanted && !r->leaving_out) || event_is_gtid(h.type))) {
        rv = event_crc_check(&r->format, event, h.size, em);
    }
    if (!rv && r->landed) {
        rv = check_landing(r, &h, event, em);
    }
    if (!rv && wanted && r->by_gtid && event_is_gtid(h.type) && !txn_is_open(&r->txn)) {
        struct event_gtid g;
        rv = event_gtid_read(&r->format, event, h.size, &g, em);
        if (!rv && r->jump.offset > r->at) {
            jump(r); /* this one and all up to there */
            note_skipped(r);
            *show = false;
            return 0;
        }
        r->leaving_out = !rv && replica_has(r, &g.gtid);
        if (r->hole) {
            return err_set(em, READER_HOLE, "the replica's GTID is missing in %s", r->file->path);
        }
    }
    if (rv) {
        return at_fault(r, rv, em);
    }
    int where = txn_feed(&r->txn, &r->format, event, h.size, em);
    if (where < 0) {
        return at_fault(r, where, em);
    }
    *ev = (struct reader_event){.bytes = event,
                                .n = h.size,
                                .type = h.type,
                                .era = r->file->era,
                                .file = r->file->name,
                                .start = r->at,
                                .end = r->at + h.size,
                                .ends_transaction = where == TXN_END};
    *show = wanted && !r->leaving_out;
    r->at += h.size;
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
    while (!show) {
        int rv = find_readable(r, em);
        if (rv == 1) {
            rv = step(r, true, ev, &show, em);
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

void reader_rest(struct reader *r)
{
    buf_free(&r->window);
    buf_init(&r->window, UINT32_MAX);
    r->window_at = r->at;
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

/* ---- open and close ------------------------------------------------------------------------------------ */

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
        close_file(r);
        buf_free(&r->window);
        buf_free(&r->fde);
        gtid_set_free(r->have);
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
    if (look_up(r, position, find_by_position) == READER_INDEXING) {
        return indexing(r, em);
    }
    while (r->at < position) {
        int rv = find_readable(r, em);
        CHECK(rv != 0); /* the position is visible */
        rv = rv < 0 ? rv : step(r, false, &ev, &show, em);
        if (rv) {
            return rv;
        }
        if (r->jump.offset > r->at) { /* the format description is read */
            jump(r);
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
    int rv = open_file(r, file, em);
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
    int rv = first ? catalog_first_of_newest_era(sub->catalog, &entry, em)
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
            state_passes_by(a, before);
        }
    }
}

int reader_open_gtid(struct store_sub *sub, const struct gtid_set *have, struct reader **out, struct errmsg *em)
{
    struct catalog_entry entry;
    *out = NULL;
    struct reader *r = reader_new(sub);
    int rv;
    do {
        rv = find_file(sub, have, &entry, em);
        if (rv) {
            reader_close(r);
            return rv;
        }
        rv = open_file(r, entry.file, em);
        catalog_entry_drop(&entry);
    } while (rv == READER_PURGED);
    r->by_gtid = true;
    if (!rv && gtid_set_flavour(have) == FLAVOUR_MARIADB) {
        await_position(r, have);
    } else if (!rv) {
        r->have = gtid_set_copy(have);
    }
    if (!rv && find_jump(r) == READER_INDEXING) {
        rv = indexing(r, em);
    }
    if (rv) {
        reader_close(r);
    } else {
        *out = r;
    }
    return rv;
}
