/* reader_window.c: the part of a file that a reader has in memory, and large events in pieces.
 *
 * Happy path: reads are large and go into one window, which moves over the file. The pieces of an event are its
 * bytes as they lie in the window; its checksum is computed as they pass, and compared before the last one is given.
 *
 * Bytes that leave before a checksum of their own was looked at belong to blocks whose hashes are looked at first.
 *
 * Failure: a file that is shorter than it was, a wrong checksum or hash: READER_CORRUPT. */
#include "storage/reader_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "storage/impl.h"

enum {
    WINDOW = 256 * 1024,  /* read at once, and kept */
    WINDOW_KEEP = 4 << 20 /* a buffer that a large event made grow beyond this is given back */
};

/* Into the window, or they are there already. */
static int fill(struct reader *r, uint64_t at, size_t n, const uint8_t **bytes, struct errmsg *em)
{
    struct buf *w = &r->window;
    size_t used = w->len;
    if (r->window_at <= at && at - r->window_at < w->len) {
        used = (size_t)(at - r->window_at);
    }
    if (n <= w->len - used) {
        *bytes = w->data + used;
        return 0;
    }
    buf_consume(w, used);
    r->window_at = at;
    if (w->cap > WINDOW_KEEP && n <= WINDOW) {
        struct buf smaller;
        buf_init(&smaller, w->max);
        buf_bytes(&smaller, w->data, w->len);
        buf_move(w, &smaller);
    }
    uint64_t there = r->limit - at - w->len;
    size_t got = 0, want = (n > WINDOW ? n : WINDOW) - w->len;
    want = want < there ? want : (size_t)there;
    uint8_t *to = buf_reserve(w, want);
    int rv = to ? env_pread(r->handle, to, want, at + w->len, &got, em)
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

/* Is what is read now shown without a checksum of its own, or before it was looked at? */
static bool is_bare(const struct reader *r)
{
    return r->fde.len > 0 && (r->format.checksum == CHECKSUM_NONE || r->rest.left > 0);
}

int reader_bytes(struct reader *r, uint64_t at, size_t n, const uint8_t **bytes, struct errmsg *em)
{
    int rv = is_bare(r) ? reader_check_hashes(r, at, n, em) : 0;
    return rv ? rv : fill(r, at, n, bytes, em);
}

void reader_rest(struct reader *r)
{
    buf_free(&r->window);
    buf_init(&r->window, UINT32_MAX);
    r->window_at = r->at;
}


/* ---- pieces ---- */

void reader_cut_large(struct reader *r, size_t size)
{
    r->cut_size = size;
}

void reader_begin_pieces(struct reader *r, const struct event_header *h)
{
    r->rest.at = r->at - h->size;
    r->rest.left = h->size;
    r->rest.crc = 0;
    r->rest.crc_size = event_crc_size(&r->format, h->type);
}

static int at_fault(const struct reader *r, int rv, struct errmsg *em)
{
    rv = err_wrap(em, rv, "%s: the event that ends at %llu", r->file->path, (unsigned long long)r->at);
    reader_tell_damage(r, rv, em);
    return rv;
}

/* The last piece has the whole of the checksum. */
static size_t piece(const struct reader *r, size_t max)
{
    size_t left = r->rest.left, n = left < max ? left : max;
    n = n < WINDOW ? n : WINDOW;
    return left - n > 0 && left - n < r->rest.crc_size && left > r->rest.crc_size ? left - r->rest.crc_size : n;
}

int reader_more(struct reader *r, size_t max, const uint8_t **bytes, size_t *n, struct errmsg *em)
{
    CHECK(max >= EVENT_CRC_SIZE && r->rest.left > 0);
    size_t take = piece(r, max);
    bool last = take == r->rest.left;
    *n = 0;
    int rv = reader_bytes(r, r->rest.at, take, bytes, em);
    if (rv) {
        return at_fault(r, rv, em);
    }
    r->rest.crc = crc32_of(r->rest.crc, *bytes, take - (last ? r->rest.crc_size : 0));
    if (last && r->rest.crc_size) {
        struct cur tail = cur_of(*bytes + take - EVENT_CRC_SIZE, EVENT_CRC_SIZE);
        uint32_t stored = cur_u32(&tail);
        if (stored != r->rest.crc) {
            rv = err_set(em, READER_CORRUPT, "checksum %08lx, computed %08lx", (unsigned long)stored,
                         (unsigned long)r->rest.crc);
            return at_fault(r, rv, em);
        }
    }
    r->rest.at += take;
    r->rest.left -= take;
    *n = take;
    return 0;
}

int reader_whole(struct reader *r, struct reader_event *event, struct errmsg *em)
{
    CHECK(event->in_pieces && r->rest.left == event->n);
    int rv = reader_bytes(r, event->start, event->n, &event->bytes, em);
    rv = rv ? rv : event_crc_check(&r->format, event->bytes, event->n, em);
    event->in_pieces = false;
    r->rest.left = 0;
    return rv ? at_fault(r, rv == E_CORRUPT ? READER_CORRUPT : rv, em) : 0;
}
