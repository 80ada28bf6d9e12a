/* cluster_ledger.c: see cluster_ledger.h. */
#include "tests/sim/cluster_ledger.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/entry.h"
#include "raft/wal_format.h"
#include "tests/sim/disk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NODES_MAX = 8, RAFT_COMMAND_TYPE = 1 };

#define LOG_DIR "/data/raft"

struct held { /* one entry of one node's log */
    uint64_t term, durable;
    bool bytes;  /* of a binlog file: */
    size_t file; /* of the source's history */
    uint64_t begin, end;
};

struct node_log {
    struct sim_host *host;
    struct held *entries; /* by index, from 1 */
    size_t n, room;
    struct held *lost; /* what a disk had that was given up since: a leader may have been told so, and counts it */
    size_t n_lost;
};

struct ledger {
    struct sim *sim;
    const struct history *truth;
    struct node_log logs[NODES_MAX];
    size_t n;
    bool votes[2][NODES_MAX]; /* now; before that */
    struct held *kept;        /* by index, from 1: what a majority had, and since when, at the moment a disk was given up */
    size_t n_kept, room_kept;
    size_t transactions;
};

/* ---- records ---- */

static size_t file_of(const struct ledger *l, const char *name)
{
    for (size_t i = l->truth->n_files; i > 0; i--) {
        if (!strcmp(l->truth->files[i - 1]->name, name)) {
            return i - 1;
        }
    }
    return SIZE_MAX;
}

static void read_entry(const struct ledger *l, const uint8_t *data, size_t n, struct held *held)
{
    struct entry_head head;
    struct entry_events events;
    struct entry_file file;
    struct cur body;
    if (entry_read(data, n, &head, &body)) {
        return;
    }
    if (head.kind == ENTRY_EVENTS && !entry_read_events(&body, &events)) {
        held->bytes = true;
        held->file = file_of(l, events.name);
        held->begin = events.offset;
        held->end = events.offset + events.n;
    } else if (head.kind == ENTRY_FILE && !entry_read_file(&body, &file)) {
        held->bytes = true;
        held->file = file_of(l, file.name);
        held->begin = 0;
        held->end = EVENT_MAGIC_SIZE;
        gtid_set_free(file.before);
    }
}

static void take(const struct ledger *l, struct node_log *log, const struct wal_head *head, const uint8_t *data, uint64_t durable)
{
    if (head->index <= log->n) { /* replaced, or cut */
        log->n = head->index ? (size_t)head->index - 1 : 0;
    }
    if (head->type >= WAL_TYPE_TRUNCATE || head->index != log->n + 1) {
        return;
    }
    if (log->n == log->room) {
        log->room = log->room ? log->room * 2 : 64;
        log->entries = mem_grow(log->entries, log->room, sizeof *log->entries);
    }
    struct held held = {.term = head->term, .durable = durable};
    if (head->type == RAFT_COMMAND_TYPE) {
        read_entry(l, data, head->len, &held);
    }
    log->entries[log->n++] = held;
}

/* The records of one write. */
static void take_write(const struct ledger *l, struct node_log *log, const uint8_t *bytes, size_t n, uint64_t durable)
{
    struct cur c = cur_of(bytes, n);
    struct wal_head head;
    const uint8_t *data;
    uint32_t magic = cur_u32(&c);
    cur_skip(&c, 8);
    uint64_t epoch = cur_u64(&c);
    if (!cur_ok(&c) || magic != WAL_RECORD_MAGIC) {
        return;
    }
    for (size_t at = 0; at < n && wal_record_get(bytes + at, n - at, epoch, &head, &data); at += WAL_RECORD_HEAD + head.len) {
        take(l, log, &head, data, durable);
        if (head.flags & WAL_LAST_OF_WRITE) {
            break;
        }
    }
}

void ledger_write(struct ledger *l, struct sim_host *host, const char *path, const void *data, size_t n, uint64_t at, uint64_t durable)
{
    if (strncmp(path, LOG_DIR "/", sizeof LOG_DIR) != 0 || at < ENV_BLOCK) {
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->logs[i].host == host) {
            take_write(l, &l->logs[i], data, n, durable);
        }
    }
}

/* ---- a start ---- */

struct reading {
    struct ledger *ledger;
    struct node_log *log;
    const struct held *before; /* what was known */
    size_t n_before;
    uint32_t chain;
};

/* What stood in the log before is in an installed snapshot. */
static void take_reset(struct reading *r, uint64_t index)
{
    struct node_log *log = r->log;
    size_t n = index ? (size_t)index - 1 : 0, known = n < r->n_before ? n : r->n_before;
    if (n > log->room) {
        log->room = n;
        log->entries = mem_grow(log->entries, log->room, sizeof *log->entries);
    }
    if (known) {
        memcpy(log->entries, r->before, known * sizeof *r->before);
    }
    for (log->n = known; log->n < n; log->n++) { /* nobody saw it installed: see ledger_installed */
        log->entries[log->n] = (struct held){.durable = UINT64_MAX};
    }
}

/* Of a segment of `size` bytes those were read behind which there are only zeros: a record may end in some of these. */
static bool get_record(struct buf *b, uint64_t size, size_t at, uint64_t epoch, struct wal_head *head, const uint8_t **data)
{
    while (!wal_record_get(b->data + at, b->len - at, epoch, head, data)) {
        uint64_t end = at + WAL_RECORD_HEAD + head->len;
        if (end <= b->len || end > size) {
            return false;
        }
        buf_zero(b, end - b->len);
    }
    return true;
}

static void read_segment(void *arg, const char *name)
{
    struct reading *r = arg;
    char path[128];
    struct buf b;
    struct wal_header header;
    struct wal_head head;
    const uint8_t *data;
    if (strncmp(name, "wal-", 4) != 0) {
        return;
    }
    snprintf(path, sizeof path, LOG_DIR "/%s", name);
    buf_init(&b, WAL_SEGMENT);
    uint64_t size;
    int rv = sim_host_read_part(r->log->host, path, 0, true, &b, &size);
    CHECK(rv == 0);
    if (!wal_header_get(b.data, b.len, &header)) {
        sim_fail(r->ledger->sim, "%s: %s has no header", sim_host_name(r->log->host), path);
    }
    r->chain = header.crc;
    for (size_t at = ENV_BLOCK; at < b.len;) {
        bool good = get_record(&b, size, at, header.epoch, &head, &data) && head.prev == r->chain;
        if (good) {
            take(r->ledger, r->log, &head, data, sim_now(r->ledger->sim));
            if (head.type == WAL_TYPE_RESET) {
                take_reset(r, head.index);
            }
            r->chain = head.crc;
            at += WAL_RECORD_HEAD + head.len;
            at = head.flags & WAL_LAST_OF_WRITE ? (at + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK : at;
        } else if (at % ENV_BLOCK) { /* a torn write was cut here, and the log went on at the next block */
            at = (at + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK;
        } else {
            break;
        }
    }
    buf_free(&b);
}

/* Entries before the first one that is still on the disk are in a snapshot, and stay as they were known. */
void ledger_started(struct ledger *l, size_t node)
{
    struct node_log *log = &l->logs[node];
    struct held *before = log->entries;
    size_t n = log->n;
    struct reading r = {.ledger = l, .log = log, .before = before, .n_before = n};
    log->entries = before && n ? mem_dup(before, n * sizeof *before) : NULL;
    log->room = n;
    disk_list(sim_host_disk(log->host), LOG_DIR, read_segment, &r);
    for (size_t i = 0; i < log->n && i < n; i++) { /* the same entry may have been durable for longer */
        if (before[i].term == log->entries[i].term && before[i].durable < log->entries[i].durable) {
            log->entries[i].durable = before[i].durable;
        }
    }
    mem_free(before);
}

void ledger_crashed(struct ledger *l, size_t node)
{
    struct node_log *log = &l->logs[node];
    for (size_t i = 0; i < log->n; i++) {
        if (log->entries[i].durable > sim_now(l->sim)) {
            log->entries[i].durable = UINT64_MAX;
        }
    }
}

void ledger_installed(struct ledger *l, size_t node, uint64_t index, uint64_t term)
{
    struct node_log *log = &l->logs[node];
    const struct node_log *from = NULL;
    if (ledger_term(l, node, index) == term) {
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        from = i != node && ledger_term(l, i, index) == term ? &l->logs[i] : from;
    }
    if (!from) {
        sim_fail(l->sim, "%s installs a snapshot of entry %" PRIu64 " of term %" PRIu64 ", which nobody has", sim_host_name(log->host), index, term);
        return;
    }
    if (index > log->room) {
        log->room = (size_t)index;
        log->entries = mem_grow(log->entries, log->room, sizeof *log->entries);
    }
    log->n = log->n > index ? log->n : (size_t)index;
    for (size_t i = 0; i < index; i++) {
        log->entries[i] = from->entries[i];
        log->entries[i].durable = sim_now(l->sim);
    }
}

void ledger_voters(struct ledger *l, const bool *votes)
{
    if (memcmp(votes, l->votes[0], l->n * sizeof *votes) != 0) {
        memcpy(l->votes[1], l->votes[0], sizeof l->votes[1]);
        memcpy(l->votes[0], votes, l->n * sizeof *votes);
    }
}

/* ---- questions ---- */

/* The newest entry of a log that reaches over the place; 0: none. */
static size_t find(const struct node_log *log, size_t file, uint64_t pos)
{
    for (size_t i = log->n; i > 0; i--) {
        const struct held *e = &log->entries[i - 1];
        if (!e->bytes) {
            continue;
        }
        if (e->file < file || (e->file == file && e->end < pos)) {
            return 0;
        }
        if (e->file == file && e->begin < pos) {
            return i;
        }
    }
    return 0;
}

static uint64_t durable_since(const struct held *entries, size_t n, size_t index, uint64_t term)
{
    return index <= n && entries[index - 1].term == term ? entries[index - 1].durable : UINT64_MAX;
}

static uint64_t since(const struct node_log *log, size_t index, uint64_t term)
{
    uint64_t now = durable_since(log->entries, log->n, index, term), then = durable_since(log->lost, log->n_lost, index, term);
    return now < then ? now : then;
}

/* Since when does a majority have it? UINT64_MAX: none has. */
static uint64_t majority_since(const struct ledger *l, size_t index, uint64_t term)
{
    uint64_t best = UINT64_MAX;
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < l->n; i++) { /* did the disk that had it then complete one? */
            uint64_t when = l->votes[k][i] ? since(&l->logs[i], index, term) : UINT64_MAX;
            size_t n = 0, voters = 0;
            for (size_t j = 0; j < l->n && when < best; j++) {
                voters += l->votes[k][j];
                n += l->votes[k][j] && since(&l->logs[j], index, term) <= when;
            }
            best = n > voters / 2 ? when : best;
        }
    }
    return best;
}

static bool majority(const struct ledger *l, size_t index, uint64_t term, uint64_t when)
{
    const struct held *kept = index <= l->n_kept ? &l->kept[index - 1] : NULL;
    return majority_since(l, index, term) <= when || (kept && kept->term == term && kept->durable <= when);
}

bool ledger_has(const struct ledger *l, size_t file, uint64_t pos, uint64_t when)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t index = find(&l->logs[i], file, pos);
        if (index && majority(l, index, l->logs[i].entries[index - 1].term, when)) {
            return true;
        }
    }
    return false;
}

/* What a majority had of its log was lawfully taken for committed, and may be heard of later: by a member that had it, from a leader that counted
 * this disk. (That what was acknowledged is lost with it is found where somebody leads without it.) */
static void keep(struct ledger *l, const struct node_log *log)
{
    if (log->n > l->room_kept) {
        l->kept = mem_grow(l->kept, log->n, sizeof *l->kept);
        l->room_kept = log->n;
    }
    for (size_t i = 0; i < log->n; i++) {
        uint64_t when = majority_since(l, i + 1, log->entries[i].term);
        if (when <= sim_now(l->sim)) {
            l->kept[i] = log->entries[i];
            l->kept[i].durable = when;
            l->n_kept = l->n_kept > i ? l->n_kept : i + 1;
        } else if (i >= l->n_kept) {
            break;
        }
    }
}

void ledger_wiped(struct ledger *l, size_t node)
{
    ledger_set_back(l, node, 0);
}

void ledger_set_back(struct ledger *l, size_t node, uint64_t snapshot)
{
    struct node_log *log = &l->logs[node];
    keep(l, log);
    mem_free(log->lost);
    log->lost = log->n ? mem_dup(log->entries, log->n * sizeof *log->entries) : NULL;
    log->n_lost = log->n;
    log->n = log->n < snapshot ? log->n : (size_t)snapshot;
}

uint64_t ledger_term(const struct ledger *l, size_t node, uint64_t index)
{
    const struct node_log *log = &l->logs[node];
    return index && index <= log->n ? log->entries[index - 1].term : 0;
}

bool ledger_has_entry(const struct ledger *l, uint64_t index, uint64_t term)
{
    return majority(l, index, term, sim_now(l->sim));
}

size_t ledger_transactions(struct ledger *l)
{
    const struct history *h = l->truth;
    while (l->transactions < h->n_txns &&
           ledger_has(l, h->txns[l->transactions].file, h->txns[l->transactions].end, sim_now(l->sim))) {
        l->transactions++;
    }
    return l->transactions;
}

void ledger_print(const struct ledger *l, size_t file, uint64_t pos, char *text, size_t size)
{
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct node_log *log = &l->logs[i];
        size_t index = find(log, file, pos);
        const struct held *e = index ? &log->entries[index - 1] : NULL;
        int n = snprintf(text + at, size - at, "%s%s: last entry %zu, this one %zu of term %" PRIu64 " durable since %" PRId64 " us", i ? "; " : "",
                         sim_host_name(log->host), log->n, index, e ? e->term : 0,
                         e && e->durable != UINT64_MAX ? (int64_t)(e->durable / 1000) : -1);
        at += n < 0 || (size_t)n >= size - at ? size - at - 1 : (size_t)n;
    }
}

/* ---- begin and end ---- */

struct ledger *ledger_new(struct sim *sim, struct sim_host *const *nodes, size_t n, const struct history *truth)
{
    struct ledger *l = mem_new(sizeof *l);
    CHECK(n <= NODES_MAX);
    l->sim = sim;
    l->truth = truth;
    l->n = n;
    for (size_t i = 0; i < n; i++) {
        l->logs[i].host = nodes[i];
        l->votes[0][i] = l->votes[1][i] = true;
    }
    return l;
}

void ledger_free(struct ledger *l)
{
    for (size_t i = 0; i < l->n; i++) {
        mem_free(l->logs[i].entries);
        mem_free(l->logs[i].lost);
    }
    mem_free(l->kept);
    mem_free(l);
}
