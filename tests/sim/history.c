/* history.c: writes a simulated source's binlog files. See history.h.
 *
 * Events are built in the file's buffer: header with a size of 0, body, checksum; then size, end position and
 * CRC are filled in. Transactions carry what real ones do where readers look: GTID events with the right
 * length, BEGIN ... XID (or MariaDB's groups), rows events of any size. */
#include "tests/sim/history.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum {
    IN_USE = 1,
    SUPPRESS_USE = 8,
    IGNORABLE = 0x80,
    FLAGS_OFFSET = 17,
    GTID_POST_HEADER = 42,
    ROWS_CHUNK = 8192
};

static const uint8_t mysql_lengths[] = {0x00, 0x0d, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x04,
                                        0x00, 0x00, 0x00, 0x63, 0x00, 0x04, 0x1a, 0x08, 0x00, 0x00, 0x00,
                                        0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x0a, 0x2a,
                                        0x2a, 0x00, 0x12, 0x34, 0x00, 0x0a, 0x28, 0x00, 0x00};

/* The rest of MariaDB's 171 are zeros, but for the last eleven. */
static const uint8_t mariadb_lengths[] = {0x38, 0x0d, 0x00, 0x08, 0x00, 0x12, 0x00, 0x04, 0x04, 0x04, 0x04,
                                          0x12, 0x00, 0x00, 0xe4, 0x00, 0x04, 0x1a, 0x08, 0x00, 0x00, 0x00,
                                          0x08, 0x08, 0x08, 0x02, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x0a, 0x00,
                                          0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x0a, 0x0a};
static const uint8_t mariadb_last[] = {0x04, 0x13, 0x04, 0x00, 0x0d, 0x08, 0x08, 0x08, 0x0a, 0x0a, 0x0a};
enum { MARIADB_LENGTHS = 171 };

/* ---- events -------------------------------------------------------------------------------------------- */

static struct buf *out_of(struct history *h)
{
    return &h->files[h->n_files - 1]->bytes;
}

static size_t begin(struct history *h, enum event_type type, uint64_t wall_us, uint16_t flags)
{
    struct buf *out = out_of(h);
    size_t at = out->len;
    buf_u32(out, (uint32_t)(wall_us / 1000000));
    buf_u8(out, type);
    buf_u32(out, h->server_id);
    buf_u32(out, 0);
    buf_u32(out, 0);
    buf_u16(out, flags);
    return at;
}

static void finish(struct history *h, size_t at)
{
    struct buf *out = out_of(h);
    buf_zero(out, EVENT_CRC_SIZE);
    CHECK(!out->err);
    buf_put_u32(out, at + 9, (uint32_t)(out->len - at));
    buf_put_u32(out, at + 13, (uint32_t)out->len);
    event_crc_set(out->data + at, out->len - at);
}

static void put_format(struct history *h, uint64_t wall_us, bool restart)
{
    struct buf *out = out_of(h);
    char version[50] = {0};
    size_t at = begin(h, EVENT_FORMAT_DESCRIPTION, wall_us, 0);
    snprintf(version, sizeof version, "%s", h->version);
    buf_u16(out, 4);
    buf_bytes(out, version, sizeof version);
    buf_u32(out, restart ? (uint32_t)(wall_us / 1000000) : 0);
    buf_u8(out, EVENT_HEADER_SIZE);
    if (h->flavour == FLAVOUR_MYSQL) {
        buf_bytes(out, mysql_lengths, sizeof mysql_lengths);
    } else {
        buf_bytes(out, mariadb_lengths, sizeof mariadb_lengths);
        buf_zero(out, MARIADB_LENGTHS - sizeof mariadb_lengths - sizeof mariadb_last);
        buf_bytes(out, mariadb_last, sizeof mariadb_last);
    }
    buf_u8(out, CHECKSUM_CRC32);
    finish(h, at);
    out->data[at + FLAGS_OFFSET] |= IN_USE; /* not part of the checksum */
}

static void clear_in_use(struct history *h)
{
    out_of(h)->data[EVENT_MAGIC_SIZE + FLAGS_OFFSET] &= (uint8_t)~IN_USE;
}

static void put_query(struct history *h, uint64_t wall_us, uint16_t flags, const char *text)
{
    static const uint8_t vars[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x20, 0x00, 0xa0,
                                   0x45, 0x00, 0x00, 0x00, 0x00, 0x06, 0x03, 's',  't',
                                   'd',  0x04, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00};
    struct buf *out = out_of(h);
    size_t at = begin(h, EVENT_QUERY, wall_us, flags);
    buf_u32(out, 23);
    buf_u32(out, 0);
    buf_u8(out, 1);
    buf_u16(out, 0);
    buf_u16(out, sizeof vars);
    buf_bytes(out, vars, sizeof vars);
    buf_str_nul(out, "s");
    buf_str(out, text);
    finish(h, at);
}

static void put_table_map(struct history *h, uint64_t wall_us)
{
    struct buf *out = out_of(h);
    size_t at = begin(h, EVENT_TABLE_MAP, wall_us, 0);
    buf_u48(out, h->next_table);
    buf_u16(out, 1);
    buf_u8(out, 1);
    buf_str_nul(out, "s");
    buf_u8(out, 1);
    buf_str_nul(out, "t");
    buf_lenenc(out, 2);
    buf_bytes(out, "\x03\xfc", 2); /* INT, LONGBLOB */
    buf_lenenc(out, 1);
    buf_u8(out, 4);
    buf_u8(out, 2);
    finish(h, at);
}

static void put_rows(struct history *h, uint64_t wall_us, size_t bytes, bool last)
{
    struct buf *out = out_of(h);
    bool mysql = h->flavour == FLAVOUR_MYSQL;
    size_t at = begin(h, mysql ? EVENT_WRITE_ROWS : EVENT_WRITE_ROWS_V1, wall_us, 0);
    buf_u48(out, h->next_table);
    buf_u16(out, last ? 1 : 0);
    if (mysql) {
        buf_u16(out, 2);
    }
    buf_lenenc(out, 2);
    buf_u8(out, 3);
    buf_u8(out, 0);
    buf_u32(out, (uint32_t)h->next_xid);
    buf_u32(out, (uint32_t)bytes);
    uint8_t *data = buf_extend(out, bytes);
    CHECK(data);
    size_t fresh = bytes > 64 && rng_chance(&h->rng, 50) ? bytes / 8 : bytes; /* the rest says the same again */
    rng_bytes(&h->rng, data, fresh);
    for (size_t i = fresh; i < bytes; i++) {
        data[i] = data[i - fresh];
    }
    finish(h, at);
}

static void put_xid(struct history *h, uint64_t wall_us)
{
    size_t at = begin(h, EVENT_XID, wall_us, 0);
    buf_u64(out_of(h), ++h->next_xid);
    finish(h, at);
}

static void put_encryption(struct history *h, uint64_t wall_us)
{
    size_t at = begin(h, EVENT_START_ENCRYPTION, wall_us, IGNORABLE);
    buf_u8(out_of(h), 1);
    buf_u32(out_of(h), 1);
    rng_bytes(&h->rng, buf_extend(out_of(h), 12), 12);
    finish(h, at);
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* MySQL does not wait for transactions without an XID when it begins a file: the last one of the file before may lack. */
static void put_executed(struct history *h, bool restart)
{
    const struct history_txn *last = h->n_txns ? &h->txns[h->n_txns - 1] : NULL;
    struct gtid_set *said = gtid_set_copy(h->executed);
    if (h->flavour == FLAVOUR_MYSQL && !restart && h->n_files % 3 == 0 && last && last->file + 2 == h->n_files) {
        struct gtid_set *one = gtid_set_new(FLAVOUR_MYSQL);
        CHECK(gtid_set_add(one, &last->gtid) == 0 && gtid_set_subtract(said, one) == 0);
        gtid_set_free(one);
    }
    gtid_set_encode(said, out_of(h));
    h->files[h->n_files - 1]->said = said;
}

static void put_head(struct history *h, uint64_t wall_us, bool restart)
{
    struct buf *out = out_of(h);
    bool mysql = h->flavour == FLAVOUR_MYSQL;
    if (h->encrypted && !mysql) {
        put_encryption(h, wall_us);
    }
    size_t at = begin(h, mysql ? EVENT_PREVIOUS_GTIDS : EVENT_GTID_LIST, wall_us, mysql ? IGNORABLE : 0);
    put_executed(h, restart);
    finish(h, at);
    if (!mysql) {
        const char *name = h->files[h->n_files - 1]->name;
        at = begin(h, EVENT_BINLOG_CHECKPOINT, wall_us, 0);
        buf_u32(out, (uint32_t)strlen(name));
        buf_str(out, name);
        finish(h, at);
    }
}

void history_begin_file(struct history *h, uint64_t wall_us, bool restart)
{
    struct history_file *f = mem_new(sizeof *f);
    snprintf(f->name, sizeof f->name, "mysql-bin.%06zu", h->n_files + 1);
    if (h->n_files > 0 && !restart) {
        size_t at = begin(h, EVENT_ROTATE, wall_us, 0);
        buf_u64(out_of(h), EVENT_MAGIC_SIZE);
        buf_str(out_of(h), f->name);
        finish(h, at);
    }
    if (h->n_files > 0 &&
        (!restart || h->flavour == FLAVOUR_MYSQL)) { /* after a crash MariaDB leaves the bit */
        clear_in_use(h);
    }
    h->files = mem_grow(h->files, h->n_files + 1, sizeof(struct history_file *));
    h->files[h->n_files++] = f;
    buf_init(&f->bytes, (size_t)1 << 32);
    f->before = gtid_set_copy(h->executed);
    f->first_txn = h->n_txns;
    h->sequence = 0;
    buf_bytes(&f->bytes, EVENT_MAGIC, EVENT_MAGIC_SIZE);
    put_format(h, wall_us, restart);
    put_head(h, wall_us, restart);
}

void history_stop(struct history *h, uint64_t wall_us)
{
    finish(h, begin(h, EVENT_STOP, wall_us, 0));
    clear_in_use(h);
}

/* ---- transactions -------------------------------------------------------------------------------------- */

static size_t lenenc_size(uint64_t v)
{
    return v < 251 ? 1 : v <= 0xffff ? 3 : v <= 0xffffff ? 4 : 9;
}

/* Written when the rest of the transaction is known, so it is put in front of it. */
static void put_mysql_gtid(struct history *h, uint64_t wall_us, bool ddl, size_t rest)
{
    struct buf *out = out_of(h);
    size_t fixed = EVENT_HEADER_SIZE + GTID_POST_HEADER + 7 + 4 + EVENT_CRC_SIZE, n = fixed + 1;
    while (n != fixed + lenenc_size(n + rest)) {
        n = fixed + lenenc_size(n + rest);
    }
    size_t at = begin(h, EVENT_GTID, wall_us, 0);
    buf_u8(out, ddl ? 1 : 0);
    buf_bytes(out, h->uuid, sizeof h->uuid);
    buf_u64(out, h->next_gno);
    buf_u8(out, 2);
    buf_u64(out, (uint64_t)h->sequence);
    buf_u64(out, (uint64_t)++h->sequence);
    for (int i = 0; i < 7; i++) {
        buf_u8(out, (uint8_t)(wall_us >> (8 * i)));
    }
    buf_lenenc(out, n + rest);
    buf_u32(out, 90704);
    finish(h, at);
    CHECK(out->len - at == n);
}

static void put_mariadb_gtid(struct history *h, uint64_t wall_us, bool ddl, bool transactional)
{
    struct buf *out = out_of(h);
    size_t at = begin(h, EVENT_MARIADB_GTID, wall_us, SUPPRESS_USE), body = out->len;
    uint8_t flags = ddl ? GTID_STANDALONE | GTID_ALLOW_PARALLEL | GTID_DDL
                        : (uint8_t)(GTID_ALLOW_PARALLEL | (transactional ? GTID_TRANSACTIONAL : 0));
    if (h->group && !ddl) {
        flags |= GTID_GROUP_COMMIT_ID;
    }
    buf_u64(out, h->next_gno);
    buf_u32(out, 0);
    buf_u8(out, flags);
    if (flags & GTID_GROUP_COMMIT_ID) {
        buf_u64(out, h->group);
    }
    while (out->len - body < 19) {
        buf_u8(out, 0);
    }
    finish(h, at);
}

static void put_annotate(struct history *h, uint64_t wall_us)
{
    size_t at = begin(h, EVENT_ANNOTATE_ROWS, wall_us, 0);
    buf_printf(out_of(h), "insert into t values (%llu, ?)", (unsigned long long)h->next_xid);
    finish(h, at);
}

/* All but the GTID event. */
static void put_body(struct history *h, enum history_kind kind, size_t bytes, uint64_t wall_us)
{
    bool mysql = h->flavour == FLAVOUR_MYSQL;
    char text[96];
    if (kind == HISTORY_DDL) {
        snprintf(text, sizeof text, "create table t%llu(a int)", (unsigned long long)h->next_gno);
        put_query(h, wall_us, 0, text);
        return;
    }
    if (mysql) {
        put_query(h, wall_us, SUPPRESS_USE, "BEGIN");
    } else {
        put_annotate(h, wall_us);
    }
    h->next_table++;
    put_table_map(h, wall_us);
    size_t chunk = rng_chance(&h->rng, 20) ? bytes + 1 : ROWS_CHUNK; /* a row can be as large as it likes */
    do {
        size_t n = bytes < chunk ? bytes : chunk;
        bytes -= n;
        put_rows(h, wall_us, n, bytes == 0);
    } while (bytes > 0);
    if (kind == HISTORY_ROWS) {
        put_xid(h, wall_us);
    } else {
        put_query(h, wall_us, SUPPRESS_USE, "COMMIT");
    }
}

size_t history_txn(struct history *h, enum history_kind kind, size_t bytes, uint64_t wall_us, bool group_end)
{
    struct buf *out = out_of(h);
    size_t start = out->len;
    bool ddl = kind == HISTORY_DDL;
    if (h->flavour == FLAVOUR_MYSQL) {
        struct rng rng = h->rng; /* the body is made twice: for its size, then in its place */
        uint64_t xid = h->next_xid, table = h->next_table;
        put_body(h, kind, bytes, wall_us);
        size_t rest = out->len - start;
        out->len = start;
        h->rng = rng;
        h->next_xid = xid;
        h->next_table = table;
        put_mysql_gtid(h, wall_us, ddl, rest);
    } else {
        put_mariadb_gtid(h, wall_us, ddl, kind == HISTORY_ROWS);
    }
    put_body(h, kind, bytes, wall_us);
    struct history_txn t = {.file = h->n_files - 1, .start = start, .end = out->len, .group_end = group_end};
    t.gtid = (struct gtid){.flavour = h->flavour, .gno = h->next_gno++};
    if (h->flavour == FLAVOUR_MYSQL) {
        memcpy(t.gtid.uuid, h->uuid, sizeof h->uuid);
    } else {
        t.gtid.server = h->server_id;
    }
    int rv = gtid_set_add(h->executed, &t.gtid);
    CHECK(rv == 0);
    if (h->n_txns % 256 == 0) {
        h->txns = mem_grow(h->txns, h->n_txns + 256, sizeof *h->txns);
    }
    h->txns[h->n_txns] = t;
    return h->n_txns++;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

struct history *history_new(enum flavour flavour, uint32_t server_id, uint64_t seed)
{
    struct history *h = mem_new(sizeof *h);
    h->flavour = flavour;
    h->server_id = server_id;
    h->version = flavour == FLAVOUR_MYSQL ? "9.7.4-2" : "10.11.19-MariaDB-0+deb12u1-log";
    h->executed = gtid_set_new(flavour);
    h->next_gno = 1;
    h->next_xid = 100;
    h->next_table = 100;
    rng_init(&h->rng, seed, 3000 + server_id);
    rng_bytes(&h->rng, h->uuid, sizeof h->uuid);
    return h;
}

void history_free(struct history *h)
{
    for (size_t i = 0; i < h->n_files; i++) {
        buf_free(&h->files[i]->bytes);
        gtid_set_free(h->files[i]->before);
        gtid_set_free(h->files[i]->said);
        mem_free(h->files[i]);
    }
    gtid_set_free(h->executed);
    mem_free(h->files);
    mem_free(h->txns);
    mem_free(h);
}

struct history_file *history_newest(struct history *h)
{
    return h->files[h->n_files - 1];
}

struct history_file *history_find(struct history *h, const char *name, size_t *index)
{
    for (size_t i = 0; i < h->n_files; i++) {
        if (strcmp(h->files[i]->name, name) == 0) {
            *index = i;
            return h->files[i];
        }
    }
    return NULL;
}

size_t history_txn_of(const struct history *h, const struct gtid *gtid)
{
    bool ours =
        gtid->flavour == h->flavour && gtid->gno >= 1 && gtid->gno <= h->n_txns; /* numbered without gaps */
    return ours && gtid_equal(&h->txns[gtid->gno - 1].gtid, gtid) ? (size_t)gtid->gno - 1 : SIZE_MAX;
}

size_t history_txns_before(const struct history *h, size_t file, uint64_t pos)
{
    size_t low = 0, high = h->n_txns;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct history_txn *t = &h->txns[mid];
        if (t->file < file || (t->file == file && t->end <= pos)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

bool history_is_boundary(const struct history *h, size_t file, uint64_t pos)
{
    const struct buf *bytes = &h->files[file]->bytes;
    size_t next = history_txns_before(h, file, pos);
    uint64_t at = EVENT_MAGIC_SIZE;
    if (next < h->n_txns && h->txns[next].file == file && h->txns[next].start < pos) {
        return false; /* inside of it */
    }
    if (next > 0 && h->txns[next - 1].file == file) {
        at = h->txns[next - 1].end;
    }
    while (at < pos && at + EVENT_HEADER_SIZE <= bytes->len) {
        struct event_header header;
        if (event_peek(bytes->data + at, bytes->len - (size_t)at, &header, NULL)) {
            return false;
        }
        at += header.size;
    }
    return at == pos;
}
