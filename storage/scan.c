/* scan.c: see scan.h.
 *
 * Happy path: the format description is read first, wherever the walk begins; then each event is measured,
 * its checksum checked, its place in the file compared with what it says itself, and the transaction tracker
 * fed. Of a file that still grows an event that is not all there yet is left for later.
 *
 * Failure modes: what cannot be is E_CORRUPT with path and offset; a file that ends inside an event or
 * (`to` is a boundary) inside a transaction too. */
#include "storage/scan.h"

#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "protocol/txn.h"

#include <string.h>

enum { WINDOW = 256 * 1024, GIVEN_MAX = 16 << 20 /* of an event that is not whole; its size may be wrong */, NOT_YET = 1 };

struct scan {
    struct env_file *file;
    char *path;
    struct index_builder *builder;
    uint64_t at, to;
    bool grows; /* beyond `to` */
    bool trusted;
    struct buf window; /* bytes from `window_at` on */
    uint64_t window_at;
    struct event_format format;
    struct txn txn;
    uint64_t events;
    uint32_t sum;
};

/* n bytes at `at`, which lie below `to`. */
static int bytes_at(struct scan *s, size_t n, const uint8_t **bytes, struct errmsg *em)
{
    struct buf *w = &s->window;
    size_t used = (size_t)(s->at - s->window_at), got = 0;
    if (n <= w->len - used) {
        *bytes = w->data + used;
        return 0;
    }
    buf_consume(w, used);
    s->window_at = s->at;
    uint64_t there = s->to - s->at - w->len;
    size_t want = (n > WINDOW ? n : WINDOW) - w->len;
    want = want < there ? want : (size_t)there;
    uint8_t *to = buf_reserve(w, want);
    int rv = to ? env_pread(s->file, to, want, s->at + w->len, &got, em)
                : err_set(em, w->err, "no memory for %zu bytes", want);
    w->len += rv ? 0 : got;
    if (!rv && w->len < n) {
        rv = err_set(em, E_CORRUPT, "the file ends before %llu", (unsigned long long)s->to);
    }
    *bytes = w->data;
    return rv;
}

/* What there is of it is read: the bytes that are given next follow upon these. */
static int not_yet(struct scan *s, const uint8_t **event, struct errmsg *em)
{
    uint64_t there = s->to - s->at;
    int rv = there > 0 && there <= GIVEN_MAX ? bytes_at(s, (size_t)there, event, em) : 0;
    return rv ? rv : NOT_YET;
}

/* NOT_YET: the file grows, and that much of it is not there. */
static int load(struct scan *s, struct event_header *h, const uint8_t **event, struct errmsg *em)
{
    if (s->to - s->at < EVENT_HEADER_SIZE) {
        return s->grows ? not_yet(s, event, em) : err_set(em, E_CORRUPT, "no event fits in %llu bytes", (unsigned long long)(s->to - s->at));
    }
    int rv = bytes_at(s, EVENT_HEADER_SIZE, event, em);
    rv = rv ? rv : event_peek(*event, EVENT_HEADER_SIZE, h, em);
    if (!rv && h->size > s->to - s->at) {
        return s->grows ? not_yet(s, event, em) : err_set(em, E_CORRUPT, "an event of %lu bytes does not fit in %llu", (unsigned long)h->size,
                     (unsigned long long)(s->to - s->at));
    }
    return rv ? rv : bytes_at(s, h->size, event, em);
}

static int look_at(struct scan *s, const struct event_header *h, const uint8_t *event, struct errmsg *em)
{
    uint64_t end = s->at + h->size;
    if (s->at == STORE_MAGIC && h->type != EVENT_FORMAT_DESCRIPTION) {
        return err_set(em, E_CORRUPT, "the file does not begin with a format description");
    }
    int rv = s->trusted ? 0 : event_crc_check(&s->format, event, h->size, em);
    if (!rv && h->type == EVENT_FORMAT_DESCRIPTION) {
        rv = event_format_read(event, h->size, &s->format, em);
    }
    if (!rv && h->log_pos && h->log_pos != (uint32_t)end) {
        rv = err_set(em, E_CORRUPT, "the event says that it ends at %lu, it ends at %llu",
                     (unsigned long)h->log_pos, (unsigned long long)end);
    }
    return rv;
}

static int step(struct scan *s, struct errmsg *em)
{
    struct event_header h;
    const uint8_t *event = NULL;
    int rv = load(s, &h, &event, em);
    if (rv == NOT_YET) {
        return rv;
    }
    rv = rv ? rv : look_at(s, &h, event, em);
    int where = rv ? rv : txn_feed(&s->txn, &s->format, event, h.size, em);
    if (where < 0) {
        bool damage = where == E_MALFORMED || where == E_UNSUPPORTED || where == E_INVALID;
        return err_wrap(em, damage ? E_CORRUPT : where, "%s at %llu", s->path, (unsigned long long)s->at);
    }
    uint64_t had = index_builder_at(s->builder);
    size_t skip = had < s->at ? 0 : had - s->at < h.size ? (size_t)(had - s->at) : h.size;
    s->at += h.size;
    s->events++;
    s->sum = s->trusted ? 0 : crc32c_of(s->sum, event, h.size);
    index_builder_bytes(s->builder, event + skip, h.size - skip);
    if (where == TXN_END) {
        struct store_txn txn = {.end = s->at, .gtid = s->txn.gtid};
        index_builder_txn(s->builder, &txn);
    }
    index_builder_settle(s->builder);
    return 0;
}

int scan_step(struct scan *s, uint64_t bytes, struct errmsg *em)
{
    uint64_t until = s->to - s->at > bytes ? s->at + bytes : s->to;
    while (s->at < until) {
        int rv = step(s, em);
        if (rv) {
            return rv == NOT_YET ? 0 : rv;
        }
    }
    if (s->at == s->to && !s->grows && txn_is_open(&s->txn)) {
        return err_set(em, E_CORRUPT, "%s ends inside a transaction", s->path);
    }
    return s->at < s->to;
}

int scan_raw(struct env_file *file, const char *path, struct index_builder *b, uint64_t to, struct errmsg *em)
{
    struct buf window;
    int rv = 0;
    buf_init(&window, WINDOW);
    while (index_builder_at(b) < to && !rv) {
        uint64_t left = to - index_builder_at(b);
        size_t n = left < WINDOW ? (size_t)left : WINDOW, got = 0;
        uint8_t *bytes = buf_reserve(&window, n);
        rv = bytes ? env_pread(file, bytes, n, index_builder_at(b), &got, em)
                   : err_set(em, window.err, "no memory for %zu bytes", n);
        if (!rv && got != n) {
            rv = err_set(em, E_CORRUPT, "%s ends before %llu", path, (unsigned long long)to);
        }
        if (!rv) {
            index_builder_bytes(b, bytes, n);
            index_builder_settle(b);
        }
    }
    buf_free(&window);
    return rv;
}

/* ---- open and close ------------------------------------------------------------------------------------ */

static int read_format(struct scan *s, uint64_t from, struct errmsg *em)
{
    struct event_header h;
    const uint8_t *event;
    uint8_t magic[EVENT_MAGIC_SIZE];
    size_t got;
    int rv = env_pread(s->file, magic, sizeof magic, 0, &got, em);
    if (!rv && (got != sizeof magic || memcmp(magic, EVENT_MAGIC, sizeof magic) != 0)) {
        rv = err_set(em, E_CORRUPT, "%s does not begin as a binlog file", s->path);
    }
    if (rv || from == STORE_MAGIC) {
        return rv;
    }
    rv = load(s, &h, &event, em);
    rv = rv ? rv : look_at(s, &h, event, em);
    return rv ? err_wrap(em, rv, "%s at 4", s->path) : 0;
}

int scan_open(struct env *env, const char *path, struct index_builder *b, uint64_t from, uint64_t to,
              struct scan **out, struct errmsg *em)
{
    *out = NULL;
    struct scan *s = mem_new(sizeof *s);
    s->path = mem_str(path);
    s->builder = b;
    s->at = s->window_at = STORE_MAGIC;
    s->to = to;
    s->sum = crc32c_of(0, EVENT_MAGIC, EVENT_MAGIC_SIZE);
    buf_init(&s->window, UINT32_MAX);
    txn_init(&s->txn);
    event_format_init(&s->format, FLAVOUR_NONE, CHECKSUM_NONE);
    int rv = env_open(env, path, ENV_READ, &s->file, em);
    if (rv) {
        s->file = NULL;
    }
    rv = rv ? rv : read_format(s, from, em);
    if (!rv) {
        buf_reset(&s->window);
        s->at = s->window_at = from;
        rv = scan_raw(s->file, path, b, from, em);
    }
    if (rv) {
        scan_close(s);
    } else {
        *out = s;
    }
    return rv;
}

void scan_close(struct scan *s)
{
    if (s) {
        if (s->file) {
            env_close(s->file);
        }
        buf_free(&s->window);
        mem_free(s->path);
        mem_free(s);
    }
}

void scan_grow(struct scan *s, uint64_t to, bool grows)
{
    s->to = to > s->to ? to : s->to;
    s->grows = grows;
}

void scan_give(struct scan *s, uint64_t at, const uint8_t *bytes, size_t n)
{
    struct buf *w = &s->window;
    size_t used = (size_t)(s->at - s->window_at);
    if (used > w->len / 2) { /* what moves is less than what was used */
        buf_consume(w, used);
        s->window_at = s->at;
    }
    uint64_t had = s->window_at + w->len;
    if (had >= at && had - at < n && w->len + n <= GIVEN_MAX) {
        buf_bytes(w, bytes + (had - at), n - (size_t)(had - at));
    }
}

void scan_trust(struct scan *s)
{
    s->trusted = true;
}

uint64_t scan_at(const struct scan *s)
{
    return s->at;
}

uint32_t scan_sum(const struct scan *s)
{
    return s->sum;
}

uint64_t scan_events(const struct scan *s)
{
    return s->events;
}
