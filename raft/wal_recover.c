/* wal_recover.c: reads the log back at start.
 *
 * Segments are read in the order of their epochs, records in order within each. Where no good record follows, the log ends, or something is
 * wrong: the rest of the segment is searched block by block for a record of a later write than the one that may be torn. One there
 * means that acknowledged records were damaged (E_CORRUPT). Otherwise the tail was torn by a crash: it was never acknowledged, is
 * zeroed, and the file is synced, so that what was kept is certain to be there next time too. So is the directory: the node may have been
 * killed between a rename and its sync, and what is written into a segment whose name is lost with the power is lost too. */
#include "raft/mutation.h"
#include "raft/wal_format.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
    struct wal *wal;
    uint64_t *epochs;
    size_t n;
};

static bool parse_number(const char *text, int base, uint64_t *v)
{
    char *end;
    *v = strtoull(text, &end, base);
    return text[0] && !*end;
}

/* As the node writes it; what else may stand there is not the log's. */
static bool is_segment_name(const char *name, uint64_t epoch)
{
    char own[WAL_NAME_MAX];
    snprintf(own, sizeof own, "wal-%016llx", (unsigned long long)epoch);
    return !strcmp(name, own);
}

static void list_entry(void *arg, const char *name)
{
    struct listing *l = arg;
    uint64_t v;
    if (!strncmp(name, "wal-", 4) && parse_number(name + 4, 16, &v) && is_segment_name(name, v)) {
        l->epochs = mem_grow(l->epochs, l->n + 1, sizeof *l->epochs);
        l->epochs[l->n++] = v;
    } else if (!strncmp(name, "spare-", 6) && strlen(name) < WAL_NAME_MAX && parse_number(name + 6, 10, &v)) {
        if (v >= l->wal->next_spare) {
            l->wal->next_spare = v + 1;
        }
    }
}

/* A spare is whole when it has a segment's size: it was zeroed from its begin to its end, durably. Others are dropped. */
static void list_spare(void *arg, const char *name)
{
    struct wal *wal = arg;
    char path[WAL_PATH_MAX];
    uint64_t size = 0;
    struct env_file *file;
    struct errmsg em = {"the node ended while it was made"};
    if (strncmp(name, "spare-", 6) != 0 || strlen(name) >= WAL_NAME_MAX) {
        return;
    }
    wal_path(wal, name, path, sizeof path);
    if (!env_open(wal->env, path, ENV_READ, &file, &em)) {
        (void)env_size(file, &size, &em);
        env_close(file);
    }
    if (size == WAL_SEGMENT && wal->n_spares < WAL_SPARES_MAX) {
        snprintf(wal->spares[wal->n_spares++], WAL_NAME_MAX, "%s", name);
        return;
    }
    if (size != WAL_SEGMENT) {
        env_log(wal->env, ENV_INFO, "wal: a file for the log is not whole and is removed path=%s reason=\"%s\"", path, em.text);
    }
    if (env_unlink(wal->env, path, &em)) {
        env_log(wal->env, ENV_WARN, "wal: %s", em.text);
    }
}

/* Keeps `found` in step with the record: replace, truncate, reset, append. */
static int take_record(struct wal_found *found, const struct wal_head *head, const uint8_t *data, struct errmsg *em)
{
    uint64_t next = found->first + found->n;
    if (head->type == WAL_TYPE_RESET || !found->first) {
        uint64_t keep = found->n; /* first record of all, or a reset: begin here */
        for (uint64_t i = 0; i < keep; i++) {
            mem_free((void *)(uintptr_t)found->records[i].data);
        }
        found->n = 0;
        found->first = next = head->index;
    }
    if (head->index > next) {
        return err_set(em, E_CORRUPT, "entry %llu follows entry %llu; replace the member", (unsigned long long)head->index,
                       (unsigned long long)next - 1);
    }
    if (head->index < found->first) { /* all that is kept is replaced */
        found->first = head->index;
    }
    while (found->n && found->first + found->n > head->index) {
        mem_free((void *)(uintptr_t)found->records[--found->n].data);
    }
    if (head->type >= WAL_TYPE_TRUNCATE) {
        return 0;
    }
    if ((found->n & (found->n - 1)) == 0) { /* grow at powers of two */
        found->records = mem_grow(found->records, found->n ? found->n * 2 : 1, sizeof *found->records);
    }
    found->records[found->n++] = (struct wal_record){.index = head->index,
                                                     .term = head->term,
                                                     .type = head->type,
                                                     .data = head->len ? mem_dup(data, head->len) : NULL,
                                                     .len = head->len};
    return 0;
}

/* Is there a good record of a write numbered `write_no` or later at a block's begin? */
static bool later_write(const uint8_t *bytes, size_t from, size_t n, uint64_t epoch, uint64_t write_no)
{
    struct wal_head head;
    const uint8_t *data;
    for (size_t at = from; at < n; at += ENV_BLOCK) {
        if (wal_record_get(bytes + at, n - at, epoch, &head, &data) && head.write_no >= write_no) {
            return true;
        }
    }
    return false;
}

/* Does a block begin with a record's header of this epoch, whole or not? */
static bool any_record(const uint8_t *bytes, size_t from, size_t n, uint64_t epoch)
{
    for (size_t at = from; at < n; at += ENV_BLOCK) {
        struct cur c = cur_of(bytes + at, n - at);
        bool magic = cur_u32(&c) == WAL_RECORD_MAGIC;
        cur_skip(&c, 8);
        if (magic && cur_u64(&c) == epoch) {
            return true;
        }
    }
    return false;
}

static bool all_zero(const uint8_t *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, n - 1));
}

struct scan {
    struct wal *wal;
    struct wal_found *found;
    const char *path;
    const uint8_t *bytes;
    size_t n;
    uint64_t epoch;
    bool last; /* the newest segment */
};

/* The record at `at`, if it is the one that must follow. `inside`: the write of the record before it goes on. */
static bool next_record(const struct scan *s, size_t at, bool inside, struct wal_head *head, const uint8_t **data)
{
    uint64_t write_no = inside ? s->wal->write_no - 1 : s->wal->write_no;
    return at < s->n && wal_record_get(s->bytes + at, s->n - at, s->epoch, head, data) && head->prev == s->wal->chain &&
           head->write_no == write_no;
}

static size_t round_block(size_t n)
{
    return (n + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK;
}

/* Takes record after record. Returns the offset behind the last good one; *inside tells whether its write is unfinished. */
static int scan_records(struct scan *s, struct wal_segment *segment, size_t *end, bool *inside, struct errmsg *em)
{
    struct wal_head head;
    const uint8_t *data;
    size_t at = ENV_BLOCK;
    *inside = false;
    for (;;) {
        bool good = next_record(s, at, *inside, &head, &data);
        if (!good && *inside) { /* an earlier start may have cut this write here and gone on at the next block */
            good = next_record(s, round_block(at), false, &head, &data);
            at = good ? round_block(at) : at;
        }
        if (!good) {
            *end = at;
            return 0;
        }
        int rv = take_record(s->found, &head, data, em);
        if (rv) {
            return err_wrap(em, rv, "%s at offset %zu", s->path, at);
        }
        if (head.type < WAL_TYPE_TRUNCATE && head.index > segment->max_index) {
            segment->max_index = head.index;
        }
        s->wal->chain = head.crc;
        s->wal->write_no = head.write_no + 1;
        *inside = !(head.flags & WAL_LAST_OF_WRITE);
        at += WAL_RECORD_HEAD + head.len;
        at = *inside ? at : round_block(at);
    }
}

/* Leaves wal->end behind the last good record, at a block's begin. */
static int scan_segment(struct scan *s, struct wal_segment *segment, struct errmsg *em)
{
    size_t at = 0;
    bool inside = false;
    int rv = scan_records(s, segment, &at, &inside, em);
    if (rv) {
        return rv;
    }
    size_t block = round_block(at);
    uint64_t torn_write = inside ? s->wal->write_no - 1 : s->wal->write_no;
    if (later_write(s->bytes, block, s->n, s->epoch, torn_write + 1)) {
        return err_set(em, E_CORRUPT,
                       "%s: damaged at offset %zu, and acknowledged records follow; this node's log cannot be trusted: "
                       "replace the member (holdfast member replace)",
                       s->path, at);
    }
    s->wal->end = block;
    if (s->last && (inside || !all_zero(s->bytes + block, s->n - block))) { /* not zero: torn, or from an earlier life of the file */
        s->found->torn = inside || any_record(s->bytes, block, s->n, s->epoch);
        return wal_zero(s->wal->file, block, s->wal->block, em);
    }
    return 0;
}

static int read_segment(struct wal *wal, struct wal_found *found, uint64_t epoch, bool last, uint8_t *bytes, struct errmsg *em)
{
    char path[WAL_PATH_MAX];
    size_t got = 0;
    struct wal_header header;
    wal_segment_path(wal, epoch, path, sizeof path);
    int rv = env_open(wal->env, path, ENV_READ | ENV_WRITE | (MUTATED(WAL_NO_SYNC) ? 0 : ENV_DURABLE), &wal->file, em);
    if (rv) {
        return rv;
    }
    rv = env_pread(wal->file, bytes, WAL_SEGMENT, 0, &got, em);
    if (rv) {
        return rv;
    }
    if (!wal_header_get(bytes, got, &header) || header.epoch != epoch || got != WAL_SEGMENT) {
        return err_set(em, E_CORRUPT, "%s: the segment's header or size is damaged; replace the member", path);
    }
    if (header.version > WAL_VERSION) {
        return err_set(em, E_VERSION, "%s was written by a newer version of holdfastd; install that one", path);
    }
    if (wal->n_segments && (header.prev != wal->chain || header.write_no != wal->write_no)) {
        return err_set(em, E_CORRUPT, "%s: records are missing at the end of the segment before it; replace the member", path);
    }
    wal->write_no = header.write_no;
    wal->chain = header.crc;
    wal->segments = mem_grow(wal->segments, wal->n_segments + 1, sizeof *wal->segments);
    wal->segments[wal->n_segments++] = (struct wal_segment){.epoch = epoch};
    struct scan s = {.wal = wal, .found = found, .path = path, .bytes = bytes, .n = got, .epoch = epoch, .last = last};
    rv = scan_segment(&s, &wal->segments[wal->n_segments - 1], em);
    if (!rv && last) {
        return env_sync(wal->file, em);
    }
    env_close(wal->file);
    wal->file = NULL;
    return rv;
}

int wal_recover(struct wal *wal, struct wal_found *found, struct errmsg *em)
{
    struct listing l = {.wal = wal};
    int rv = env_sync_dir(wal->env, wal->dir, em);
    if (!rv) {
        rv = env_list_dir(wal->env, wal->dir, list_entry, &l, em);
    }
    if (!rv) {
        rv = env_list_dir(wal->env, wal->dir, list_spare, wal, em);
    }
    uint8_t *bytes = l.n ? aligned_alloc(ENV_BLOCK, WAL_SEGMENT) : NULL;
    CHECK(!l.n || bytes);
    for (size_t i = 0; i < l.n && !rv; i++) { /* names are zero-padded: ascending names are ascending epochs */
        if (i && l.epochs[i] != l.epochs[i - 1] + 1) {
            rv = err_set(em, E_CORRUPT, "%s: segment wal-%016llx is missing; replace the member", wal->dir,
                         (unsigned long long)l.epochs[i - 1] + 1);
            break;
        }
        rv = read_segment(wal, found, l.epochs[i], i + 1 == l.n, bytes, em);
    }
    free(bytes);
    mem_free(l.epochs);
    return rv;
}
