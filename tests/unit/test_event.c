/* test_event: every recorded event reads as its listing says, every flipped bit is found by the checksum, no
 * cut or changed event makes a reader leave its bytes, and what we build is what servers sent. */
#include "protocol/event.h"
#include "protocol/txn.h"
#include "tests/unit/sample.h"
#include "tests/unit/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_MAX = 1 << 20 };

/* Calls check() for each listed event of each sample, with the format of its file. */
static void each_event(void (*check)(const struct sample *s, const struct sample_event *e,
                                     const struct event_format *f))
{
    size_t count;
    const struct sample *list = samples(&count);
    for (size_t i = 0; i < count; i++) {
        const struct sample *s = &list[i];
        struct event_format f;
        struct errmsg em = {""};
        UNIT_MEM(s->data, EVENT_MAGIC, EVENT_MAGIC_SIZE);
        UNIT_REQUIRE(s->events[0].offset == EVENT_MAGIC_SIZE);
        if (!UNIT_INT(event_format_read(s->data + EVENT_MAGIC_SIZE, s->events[0].size, &f, &em), 0)) {
            printf("# %s: %s\n", s->name, em.text);
            continue;
        }
        for (size_t k = 0; k < s->count; k++) {
            check(s, &s->events[k], &f);
        }
    }
}

/* ---- the recorded files -------------------------------------------------------------------------------- */

static void check_gtid(const struct sample_event *e, const struct event_format *f, const uint8_t *event)
{
    struct event_gtid g;
    char text[GTID_TEXT_SIZE];
    if (UNIT_INT(event_gtid_read(f, event, e->size, &g, NULL), 0)) {
        gtid_text(&g.gtid, text, sizeof text);
        UNIT_STR(text, e->gtid);
        UNIT_UINT(g.transaction_length, e->length);
        if (e->length) {
            UNIT_UINT(g.server_version, 90704);
            UNIT_TRUE(g.immediate_commit / 1000000 > 1700000000 && g.immediate_commit / 1000000 < 1900000000);
            UNIT_TRUE(g.sequence_number > g.last_committed);
        }
    }
}

static size_t needlessly_tagged;

/* The listing names (uuid, tag) each by itself, and lists states in the order of the event. A server that has
 * seen a tag may write the tagged form for a set without any; we do not. */
static void check_set(const struct sample_event *e, const struct event_format *f, const uint8_t *event)
{
    bool mysql = e->type == EVENT_PREVIOUS_GTIDS;
    const char *text = strcmp(e->gtid, "-") ? e->gtid : "";
    struct gtid_set *set = gtid_set_new(mysql ? FLAVOUR_MYSQL : FLAVOUR_MARIADB),
                    *want = gtid_set_new(gtid_set_flavour(set));
    uint8_t flags = 0xff;
    struct cur body;
    struct buf b;
    buf_init(&b, BUF_MAX);
    UNIT_INT(mysql ? event_previous_gtids_read(f, event, e->size, set, NULL)
                   : event_gtid_list_read(f, event, e->size, set, &flags, NULL),
             0);
    UNIT_TRUE(mysql || flags == 0);
    UNIT_INT(gtid_set_parse(want, text, strlen(text), NULL), 0);
    UNIT_TRUE(gtid_set_equal(set, want));
    gtid_set_encode(set, &b);
    UNIT_INT(event_body(f, event, e->size, &body, NULL), 0);
    if (mysql && body.p[7] == 1 && b.data[7] == 0) {
        needlessly_tagged++;
    } else if (UNIT_UINT(b.len, cur_left(&body)) && mysql) {
        UNIT_MEM(b.data, body.p, b.len);
    }
    buf_free(&b);
    gtid_set_free(set);
    gtid_set_free(want);
}

static void check_text(const struct sample_event *e, const struct event_format *f, const uint8_t *event)
{
    struct event_query q;
    struct event_rotate r;
    struct event_incident incident;
    struct event_xa xa;
    uint64_t xid;
    char text[700] = "";
    switch (e->type) {
    case EVENT_QUERY:
    case EVENT_EXECUTE_LOAD_QUERY:
        UNIT_INT(event_query_read(f, event, e->size, &q, NULL), 0);
        UNIT_TRUE(q.text_len > 0 && q.error == 0);
        if (!strcmp(e->text, "-")) {
            return;
        }
        snprintf(text, sizeof text, "%.*s", (int)q.text_len, q.text);
        break;
    case EVENT_ROTATE:
        UNIT_INT(event_rotate_read(f, event, e->size, &r, NULL), 0);
        snprintf(text, sizeof text, "%" PRIu64 " %s", r.pos, r.name);
        break;
    case EVENT_XID:
        UNIT_INT(event_xid_read(f, event, e->size, &xid, NULL), 0);
        snprintf(text, sizeof text, "%" PRIu64, xid);
        break;
    case EVENT_INCIDENT:
        UNIT_INT(event_incident_read(f, event, e->size, &incident, NULL), 0);
        snprintf(text, sizeof text, "%u", incident.number);
        UNIT_TRUE(incident.text_len == 31 || incident.text_len == 57);
        break;
    case EVENT_XA_PREPARE:
        UNIT_INT(event_xa_prepare_read(f, event, e->size, &xa, NULL), 0);
        snprintf(text, sizeof text, "%d %" PRIu32 " %.*s.%.*s", xa.one_phase, xa.format_id, (int)xa.gtrid_len,
                 xa.gtrid, (int)xa.bqual_len, xa.bqual);
        break;
    default:
        return;
    }
    UNIT_STR(text, e->text);
}

/* What SHOW BINLOG EVENTS says (the end-to-end test columns compares it with the servers, word for word): it holds what
 * the independent decoder found. */
static void check_info(const struct sample_event *e, const struct event_format *f, const uint8_t *event)
{
    struct buf info;
    buf_init(&info, 1 << 20);
    event_info(f, event, e->size, &info);
    const char *text = buf_cstr(&info);
    UNIT_TRUE(info.err == 0 && text[0] != '(');
    if (event_is_gtid((uint8_t)e->type) && strcmp(e->gtid, "-") != 0) {
        UNIT_TRUE(strstr(text, e->gtid) != NULL);
    } else if (e->type == EVENT_QUERY) {
        char begin[8]; /* the list has blanks in place of other white space */
        snprintf(begin, sizeof begin, "%s", strcmp(e->text, "-") ? e->text : "");
        UNIT_TRUE(strstr(text, begin) != NULL);
    } else if (e->type == EVENT_XID) {
        UNIT_TRUE(strncmp(text, "COMMIT /* xid=", 14) == 0 && strstr(text, e->text) == text + 14);
    } else if (e->type == EVENT_TABLE_MAP) {
        UNIT_TRUE(strncmp(text, "table_id: ", 10) == 0 && text[strlen(text) - 1] == ')' && strchr(text, '.'));
    } else if (e->type == EVENT_FORMAT_DESCRIPTION) {
        UNIT_TRUE(strncmp(text, "Server ver: ", 12) == 0);
    }
    buf_free(&info);
}

static size_t seen[256];

static void check_listed(const struct sample *s, const struct sample_event *e, const struct event_format *f)
{
    struct event_header h;
    struct errmsg em = {""};
    UNIT_REQUIRE(e->offset + e->size <= s->size);
    uint8_t *event = sample_exact(s->data + e->offset, e->size);
    if (!UNIT_INT(event_header_read(event, e->size, &h, &em), 0) ||
        !UNIT_INT(event_crc_check(f, event, e->size, &em), 0)) {
        printf("# %s at %zu: %s\n", s->name, e->offset, em.text);
    }
    UNIT_UINT(h.type, e->type);
    UNIT_UINT(h.log_pos, e->log_pos);
    UNIT_TRUE(event_type_known(h.type, f->flavour));
    seen[h.type]++;
    check_info(e, f, event);
    if (event_is_gtid(h.type)) {
        check_gtid(e, f, event);
    } else if (h.type == EVENT_PREVIOUS_GTIDS || h.type == EVENT_GTID_LIST) {
        check_set(e, f, event);
    } else {
        check_text(e, f, event);
    }
    free(event);
}

static void samples_read_as_listed(void)
{
    memset(seen, 0, sizeof seen);
    needlessly_tagged = 0;
    each_event(check_listed);
    UNIT_UINT(needlessly_tagged, 2);
    static const uint8_t wanted[] = {EVENT_QUERY,
                                     EVENT_ROTATE,
                                     EVENT_INTVAR,
                                     EVENT_RAND,
                                     EVENT_USER_VAR,
                                     EVENT_FORMAT_DESCRIPTION,
                                     EVENT_XID,
                                     EVENT_BEGIN_LOAD_QUERY,
                                     EVENT_EXECUTE_LOAD_QUERY,
                                     EVENT_TABLE_MAP,
                                     EVENT_INCIDENT,
                                     EVENT_ROWS_QUERY,
                                     EVENT_GTID,
                                     EVENT_ANONYMOUS_GTID,
                                     EVENT_PREVIOUS_GTIDS,
                                     EVENT_XA_PREPARE,
                                     EVENT_PARTIAL_UPDATE_ROWS,
                                     EVENT_TRANSACTION_PAYLOAD,
                                     EVENT_GTID_TAGGED,
                                     EVENT_ANNOTATE_ROWS,
                                     EVENT_BINLOG_CHECKPOINT,
                                     EVENT_MARIADB_GTID,
                                     EVENT_GTID_LIST,
                                     EVENT_START_ENCRYPTION,
                                     EVENT_QUERY_COMPRESSED,
                                     EVENT_WRITE_ROWS_COMPRESSED};
    for (size_t i = 0; i < sizeof wanted; i++) {
        if (!UNIT_TRUE(seen[wanted[i]] > 0)) {
            printf("# no %s in the samples\n", event_type_name(wanted[i]));
        }
    }
}

/* The listing ends where the file does, but for the torn one and the encrypted one. */
static void samples_are_whole(void)
{
    size_t count, cut = 0;
    const struct sample *list = samples(&count);
    for (size_t i = 0; i < count; i++) {
        const struct sample_event *last = &list[i].events[list[i].count - 1];
        cut += last->offset + last->size != list[i].size;
        for (size_t k = 1; k < list[i].count; k++) {
            UNIT_UINT(list[i].events[k].offset, list[i].events[k - 1].offset + list[i].events[k - 1].size);
        }
    }
    UNIT_UINT(cut, 2);
}

static void formats(void)
{
    static const struct {
        const char *name, *version;
        enum flavour flavour;
        unsigned checksum, types, gtid_header;
        bool created;
    } known[] = {
        {"mysql-5.6-all-events/mysql-bin.000001", "5.6.24-log", FLAVOUR_MYSQL, 1, 35, 25, true},
        {"mysql-5.6-all-events/mysql-bin.000004", "5.6.24-log", FLAVOUR_MYSQL, 0, 35, 25, false},
        {"mysql-9.7-all-events/mysql-bin.000001", "9.7.4-2", FLAVOUR_MYSQL, 1, 42, 42, true},
        {"mysql-9.7-all-events/mysql-bin.000012", "9.7.4-2", FLAVOUR_MYSQL, 0, 42, 42, false},
        {"mariadb-10.11-all-events/mysql-bin.000001", "10.11.19-MariaDB-0+deb12u1-log", FLAVOUR_MARIADB, 1,
         171, 0, true},
        {"mariadb-11.8-all-events/mysql-bin.000004", "11.8.", FLAVOUR_MARIADB, 0, 171, 0, false},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct sample *s = sample_named(known[i].name);
        struct event_format f;
        UNIT_INT(event_format_read(s->data + 4, s->events[0].size, &f, NULL), 0);
        UNIT_TRUE(!strncmp(f.version, known[i].version, strlen(known[i].version)));
        UNIT_INT(f.flavour, known[i].flavour);
        UNIT_UINT(f.checksum, known[i].checksum);
        UNIT_UINT(f.post_header_count, known[i].types);
        UNIT_UINT(f.post_header[EVENT_GTID], known[i].gtid_header);
        UNIT_UINT(f.created != 0, known[i].created);
        UNIT_UINT(event_crc_size(&f, EVENT_FORMAT_DESCRIPTION), 4);
        UNIT_UINT(event_crc_size(&f, EVENT_XID), known[i].checksum ? 4 : 0);
    }
}

/* ---- checksums ----------------------------------------------------------------------------------------- */

static void check_flips(const struct sample *s, const struct sample_event *e, const struct event_format *f)
{
    uint8_t *event = sample_exact(s->data + e->offset, e->size);
    for (size_t bit = 0; bit < e->size * 8 && event_crc_size(f, event[4]); bit++) {
        bool in_use = e->type == EVENT_FORMAT_DESCRIPTION && bit == 17 * 8;
        bool says_no_crc = e->type != EVENT_FORMAT_DESCRIPTION && f->checksum == CHECKSUM_NONE;
        event[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = event_crc_check(f, event, e->size, NULL);
        if (in_use || says_no_crc) {
            UNIT_INT(rc, 0);
        } else if (rc != E_CORRUPT && !(rc == E_MALFORMED && bit / 8 >= 9 && bit / 8 < 13) &&
                   event_crc_size(f, event[4])) {
            UNIT_TRUE(false);
            printf("# %s at %zu: bit %zu flipped: %d\n", s->name, e->offset, bit, rc);
        }
        event[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    UNIT_INT(event_crc_check(f, event, e->size, NULL), 0);
    if (event_crc_size(f, event[4])) {
        event[e->size - 1] ^= 0xff;
        event_crc_set(event, e->size);
        UNIT_MEM(event, s->data + e->offset, e->size);
    }
    free(event);
}

/* A MariaDB server with --version=... has any text for its version, in its files too: the number of event types tells. */
static void format_with_a_hidden_version(void)
{
    static const char *const names[] = {"mariadb-10.11-all-events/mysql-bin.000001", "mariadb-11.8-all-events/mysql-bin.000004"};
    for (size_t i = 0; i < 2; i++) {
        const struct sample *s = sample_named(names[i]);
        struct event_format f;
        uint8_t fde[EVENT_FORMAT_MAX] = {0};
        UNIT_REQUIRE(s->events[0].size <= sizeof fde);
        memcpy(fde, s->data + 4, s->events[0].size);
        memset(fde + EVENT_HEADER_SIZE + 2, 0, EVENT_VERSION_SIZE - 1);
        memcpy(fde + EVENT_HEADER_SIZE + 2, "8.0.36", 6);
        event_crc_set(fde, s->events[0].size);
        UNIT_INT(event_format_read(fde, s->events[0].size, &f, NULL), 0);
        UNIT_STR(f.version, "8.0.36");
        UNIT_INT(f.flavour, FLAVOUR_MARIADB);
    }
}

static void flipped_bits_are_found(void)
{
    each_event(check_flips);
}

/* The file of a running server has the bit set, and its checksum was made without. */
static void in_use_bit_does_not_count(void)
{
    const struct sample *s = sample_named("mysql-9.7-in-use/mysql-bin.000004");
    struct event_format f;
    UNIT_INT(event_format_read(s->data + 4, s->events[0].size, &f, NULL), 0);
    UNIT_TRUE(s->data[4 + 17] & EVENT_FLAG_IN_USE);
    UNIT_INT(event_crc_check(&f, s->data + 4, s->events[0].size, NULL), 0);
}

/* ---- bytes that nobody should send --------------------------------------------------------------------- */

static void read_all_ways(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct errmsg em;
    struct event_gtid gtid;
    struct event_rotate rotate;
    struct event_query query;
    struct event_xa xa;
    struct event_incident incident;
    struct event_format format = *f;
    struct txn t;
    uint8_t flags;
    uint64_t xid;
    struct gtid_set *set = gtid_set_new(FLAVOUR_MYSQL), *state = gtid_set_new(FLAVOUR_MARIADB);
    int ok = !event_format_read(event, n, &format, &em);
    ok += !event_crc_check(f, event, n, &em);
    ok += !event_gtid_read(f, event, n, &gtid, &em);
    ok += !event_previous_gtids_read(f, event, n, set, &em);
    ok += !event_gtid_list_read(f, event, n, state, &flags, &em);
    ok += !event_rotate_read(f, event, n, &rotate, &em);
    if (!event_query_read(f, event, n, &query, &em)) {
        ok += event_query_is(&query, "COMMIT") + event_query_begins(&query, "XA START ");
        UNIT_TRUE(query.text_len <= n && (const uint8_t *)query.text + query.text_len <= event + n);
    }
    ok += !event_xid_read(f, event, n, &xid, &em);
    ok += !event_xa_prepare_read(f, event, n, &xa, &em);
    ok += !event_incident_read(f, event, n, &incident, &em);
    ok += !event_heartbeat_read(f, event, n, &rotate, &em);
    txn_init(&t);
    int rc = txn_feed(&t, f, event, n, &em);
    UNIT_TRUE(ok >= 0 && rc <= TXN_END);
    struct buf info;
    buf_init(&info, 1 << 20);
    event_info(f, event, n, &info);
    UNIT_INT(info.err, 0);
    buf_free(&info);
    gtid_set_free(set);
    gtid_set_free(state);
}

static void put_size(uint8_t *event, size_t n)
{
    for (size_t i = 0; i < 4 && n >= 13; i++) {
        event[9 + i] = (uint8_t)(n >> (8 * i));
    }
}

static void check_cuts(const struct sample *s, const struct sample_event *e, const struct event_format *f)
{
    struct event_header h;
    for (size_t n = 0; n < e->size; n++) {
        uint8_t *event = sample_exact(s->data + e->offset, n);
        UNIT_INT(event_header_read(event, n, &h, NULL), E_MALFORMED);
        read_all_ways(f, event, n);
        put_size(event, n);
        read_all_ways(f, event, n);
        free(event);
    }
}

static void cut_events_do_no_harm(void)
{
    each_event(check_cuts);
}

static uint64_t mutation_seed;

static void check_mutations(const struct sample *s, const struct sample_event *e,
                            const struct event_format *f)
{
    for (int round = 0; round < 60; round++) {
        uint8_t *event = sample_exact(s->data + e->offset, e->size);
        uint64_t changes = 1 + sample_random(&mutation_seed) % 4;
        struct event_format wrong = *f;
        for (uint64_t i = 0; i < changes; i++) {
            uint64_t r = sample_random(&mutation_seed);
            size_t at = (size_t)(r >> 16) % e->size;
            event[at] = r & 256 ? (uint8_t)r : r & 512 ? 0xff : (uint8_t)(event[at] + 1);
        }
        put_size(event, e->size);
        wrong.post_header[e->type] = (uint8_t)sample_random(&mutation_seed);
        read_all_ways(f, event, e->size);
        read_all_ways(&wrong, event, e->size);
        free(event);
    }
}

static void changed_events_do_no_harm(void)
{
    mutation_seed = unit_seed();
    each_event(check_mutations);
}

static void wrong_types_are_refused(void)
{
    const struct sample *s = sample_named("mysql-9.7-all-events/mysql-bin.000005");
    const uint8_t *fde = s->data + 4, *previous = s->data + s->events[1].offset;
    struct event_format f, same;
    struct event_gtid gtid;
    struct event_rotate rotate;
    struct event_query query;
    struct errmsg em = {""};
    uint64_t xid;
    UNIT_INT(event_format_read(fde, s->events[0].size, &f, NULL), 0);
    same = f;
    UNIT_INT(event_format_read(previous, s->events[1].size, &f, &em), E_MALFORMED);
    UNIT_MEM(&f, &same, sizeof f);
    UNIT_TRUE(em.text[0] != 0);
    UNIT_INT(event_gtid_read(&f, fde, s->events[0].size, &gtid, NULL), E_MALFORMED);
    UNIT_INT(event_rotate_read(&f, fde, s->events[0].size, &rotate, NULL), E_MALFORMED);
    UNIT_INT(event_query_read(&f, fde, s->events[0].size, &query, NULL), E_MALFORMED);
    UNIT_INT(event_xid_read(&f, fde, s->events[0].size, &xid, NULL), E_MALFORMED);
    UNIT_INT(event_heartbeat_read(&f, fde, s->events[0].size, &rotate, NULL), E_MALFORMED);
}

/* ---- what we build ------------------------------------------------------------------------------------- */

static void is_bytes(struct buf *b, const void *bytes, size_t n)
{
    UNIT_INT(b->err, 0);
    if (UNIT_UINT(b->len, n)) {
        UNIT_MEM(b->data, bytes, n);
    }
    buf_reset(b);
}

static uint32_t crc_at_end(const struct buf *b)
{
    const uint8_t *p = b->data + b->len - 4;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* As seen on the wire. */
static void built_as_captured(void)
{
    struct buf b;
    struct gtid_set *state = gtid_set_new(FLAVOUR_MARIADB);
    buf_init(&b, BUF_MAX);
    event_build_rotate(&b, 11, CHECKSUM_CRC32, "mysql-bin.000002", 4);
    is_bytes(
        &b,
        "\0\0\0\0\x04\x0b\0\0\0\x2f\0\0\0\0\0\0\0\x20\0\x04\0\0\0\0\0\0\0mysql-bin.000002\xb6\x58\xa4\x86",
        47);
    event_build_rotate(&b, 11, CHECKSUM_NONE, "mysql-bin.000002", 4);
    is_bytes(&b, "\0\0\0\0\x04\x0b\0\0\0\x2b\0\0\0\0\0\0\0\x20\0\x04\0\0\0\0\0\0\0mysql-bin.000002", 43);
    event_build_heartbeat_v2(&b, 11, CHECKSUM_CRC32, "mysql-bin.000002", 1399);
    is_bytes(
        &b,
        "\0\0\0\0\x29\x0b\0\0\0\x2f\0\0\0\x77\x05\0\0\0\0\x01\x10"
        "mysql-bin.000002\x02\x03\xfc\x77\x05\0\xf1\xdb\x12\x75",
        47);
    event_build_heartbeat_v2(&b, 13, CHECKSUM_CRC32, "mysql-bin.000001", 1118);
    UNIT_UINT(crc_at_end(&b), 0x7764d1a5);
    buf_reset(&b);
    event_build_heartbeat(&b, 11, CHECKSUM_CRC32, "mysql-bin.000002", 2135);
    UNIT_UINT(b.len, 39);
    UNIT_UINT(crc_at_end(&b), 0x43600faa);
    buf_reset(&b);
    UNIT_INT(gtid_set_parse(state, "0-31-5", 6, NULL), 0);
    event_build_gtid_list(&b, 31, CHECKSUM_CRC32, state, 0, 1253);
    UNIT_UINT(b.len, 43);
    UNIT_UINT(crc_at_end(&b), 0xcaabb8b2);
    buf_free(&b);
    gtid_set_free(state);
}

static void built_reads_back(void)
{
    static const uint64_t positions[] = {4, 198, 250, 251, 65535, 65536, 0xffffff, 0x1000000, 0x123456789a};
    struct buf b;
    struct event_rotate at;
    struct event_header h;
    buf_init(&b, BUF_MAX);
    for (size_t i = 0; i < 2 * sizeof positions / sizeof *positions; i++) {
        enum event_checksum checksum = i % 2 ? CHECKSUM_CRC32 : CHECKSUM_NONE;
        uint64_t pos = positions[i / 2];
        struct event_format f;
        event_format_init(&f, FLAVOUR_MYSQL, checksum);
        event_build_rotate(&b, 7, checksum, "b.000001", pos);
        UNIT_INT(event_crc_check(&f, b.data, b.len, NULL), 0);
        UNIT_INT(event_rotate_read(&f, b.data, b.len, &at, NULL), 0);
        UNIT_TRUE(at.pos == pos && !strcmp(at.name, "b.000001"));
        buf_reset(&b);
        event_build_heartbeat(&b, 7, checksum, "b.000001", pos);
        UNIT_INT(event_crc_check(&f, b.data, b.len, NULL), 0);
        UNIT_INT(event_heartbeat_read(&f, b.data, b.len, &at, NULL), 0);
        UNIT_TRUE(at.pos == (uint32_t)pos && !strcmp(at.name, "b.000001"));
        buf_reset(&b);
        event_build_heartbeat_v2(&b, 7, checksum, "b.000001", pos);
        UNIT_INT(event_crc_check(&f, b.data, b.len, NULL), 0);
        UNIT_INT(event_heartbeat_read(&f, b.data, b.len, &at, NULL), 0);
        UNIT_TRUE(at.pos == pos && !strcmp(at.name, "b.000001"));
        UNIT_INT(event_header_read(b.data, b.len, &h, NULL), 0);
        UNIT_TRUE(h.flags == 0 && h.server_id == 7 && h.timestamp == 0);
        for (size_t n = EVENT_HEADER_SIZE; n < b.len; n++) {
            uint8_t *cut = sample_exact(b.data, n);
            put_size(cut, n);
            read_all_ways(&f, cut, n);
            free(cut);
        }
        buf_reset(&b);
    }
    buf_free(&b);
}

static void built_gtid_lists(void)
{
    static const char *const texts[] = {"", "0-31-5", "0-41-31,0-31-1015,5-31-1,5-77-2"};
    struct buf b;
    struct event_format f;
    buf_init(&b, BUF_MAX);
    event_format_init(&f, FLAVOUR_MARIADB, CHECKSUM_CRC32);
    for (size_t i = 0; i < 3; i++) {
        struct gtid_set *state = gtid_set_new(FLAVOUR_MARIADB), *back = gtid_set_new(FLAVOUR_MARIADB);
        uint8_t flags = 0;
        UNIT_INT(gtid_set_parse(state, texts[i], strlen(texts[i]), NULL), 0);
        event_build_gtid_list(&b, 31, CHECKSUM_CRC32, state, GTID_LIST_UNTIL_REACHED, 1253);
        UNIT_INT(event_crc_check(&f, b.data, b.len, NULL), 0);
        UNIT_INT(event_gtid_list_read(&f, b.data, b.len, back, &flags, NULL), 0);
        UNIT_UINT(flags, GTID_LIST_UNTIL_REACHED);
        UNIT_TRUE(gtid_set_equal(state, back));
        buf_reset(&b);
        gtid_set_free(state);
        gtid_set_free(back);
    }
    buf_free(&b);
}

static void built_formats(void)
{
    static const char *const names[] = {
        "mysql-9.7-in-use/mysql-bin.000004", "mysql-9.7-all-events/mysql-bin.000012",
        "mysql-5.6-all-events/mysql-bin.000001", "mariadb-10.11-all-events/mysql-bin.000001"};
    struct buf b;
    buf_init(&b, BUF_MAX);
    for (size_t i = 0; i < 16; i++) {
        const struct sample *s = sample_named(names[i / 4]);
        const uint8_t *fde = s->data + 4;
        size_t n = s->events[0].size;
        unsigned how = i % 4;
        struct event_format was, is;
        struct event_header h;
        UNIT_INT(event_build_format(&b, fde, n, how, NULL), 0);
        UNIT_INT(event_format_read(fde, n, &was, NULL), 0);
        UNIT_INT(event_format_read(b.data, b.len, &is, NULL), 0);
        UNIT_INT(event_crc_check(&is, b.data, b.len, NULL), 0);
        UNIT_INT(event_header_read(b.data, b.len, &h, NULL), 0);
        UNIT_UINT(is.created, how & EVENT_FDE_CREATED_0 ? 0 : was.created);
        UNIT_UINT(h.log_pos, how & EVENT_FDE_LOG_POS_0 ? 0 : s->events[0].log_pos);
        UNIT_UINT(h.flags & EVENT_FLAG_IN_USE, 0);
        is.created = was.created;
        UNIT_MEM(&is, &was, sizeof is);
        if (how == EVENT_FDE_AS_IS) { /* only the bit differs, the stored checksum is right for both */
            UNIT_MEM(b.data + 19, fde + 19, n - 19);
        }
        buf_reset(&b);
        UNIT_INT(event_build_format(&b, s->data + s->events[1].offset, s->events[1].size, how, NULL),
                 E_MALFORMED);
        UNIT_UINT(b.len, 0);
    }
    buf_free(&b);
    buf_init(&b, 50);
    const struct sample *s = sample_named(names[0]);
    UNIT_INT(event_build_format(&b, s->data + 4, s->events[0].size, 0, NULL), E_TOOBIG);
    event_build_rotate(&b, 1, CHECKSUM_CRC32, "a name that does not fit into fifty bytes", 4);
    UNIT_INT(b.err, E_TOOBIG);
    buf_free(&b);
}

/* ---- GTID events by hand ------------------------------------------------------------------------------- */

static void gtid_variants(void)
{
    struct event_format f;
    struct event_gtid g;
    char text[GTID_TEXT_SIZE];
    event_format_init(&f, FLAVOUR_MYSQL, CHECKSUM_CRC32);
    static const uint8_t tagged[] =
        "\x9d\xb3\x00\x6b\x2a\x0d\0\0\0\x50\0\0\0\x3e\x01\0\0\0\0\x02\x72\0\0\0\x02"
        "\xe8\x3c\xea\x29\x02\x95\x03\x48\x22\xc5\x03\xe1"
        "\x02\x59\x03\x04\xf1\x03\0\0\0\x02\x04\x04\x06\x0amytag\x08\0\x0a\x04"
        "\x0c\x7f\xbf\xc1\xbc\x74\xbb\x60\x06\x10\x85\x05\x12"
        "\x83\x12\x0b\xdc\xab\x70\x04";
    UNIT_INT(event_crc_check(&f, tagged, sizeof tagged - 1, NULL), 0);
    UNIT_INT(event_gtid_read(&f, tagged, sizeof tagged - 1, &g, NULL), 0);
    gtid_text(&g.gtid, text, sizeof text);
    UNIT_STR(text, "741e758a-e524-11f1-b8d6-02fc00000001:mytag:1");
    UNIT_UINT(g.transaction_length, 353);
    UNIT_UINT(g.server_version, 90704);
    UNIT_UINT(g.sequence_number, 1);
    UNIT_TRUE(g.immediate_commit == UINT64_C(0x0660bb74bcc1bf) && g.original_commit == g.immediate_commit);
    /* The uuid's byte e5 takes two bytes, 95 03; as 95 07 it would be 1e5. */
    uint8_t large[sizeof tagged - 1];
    memcpy(large, tagged, sizeof large);
    UNIT_TRUE(large[30] == 0x95 && large[31] == 0x03);
    large[31] = 0x07;
    UNIT_INT(event_gtid_read(&f, large, sizeof large, &g, NULL), E_MALFORMED);
}

/* What MariaDB's flags announce stands before the extra flags. */
static void mariadb_gtid_extras(void)
{
    static const uint8_t xa[] =
        "\0\0\0\0\xa2\x1f\0\0\0\x2c\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x4c\x07\0\0\0\x03\x02"
        "xa1bq\x01";
    static const uint8_t commit_id[] =
        "\0\0\0\0\xa2\x1f\0\0\0\x29\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\x0e\x34\x12\0\0\0\0\0\0\x10";
    struct event_format f;
    struct event_gtid g;
    char text[GTID_TEXT_SIZE];
    uint8_t event[sizeof xa - 1];
    memcpy(event, xa, sizeof event);
    put_size(event, sizeof event);
    event_format_init(&f, FLAVOUR_MARIADB, CHECKSUM_NONE);
    UNIT_INT(event_gtid_read(&f, event, sizeof event, &g, NULL), 0);
    gtid_text(&g.gtid, text, sizeof text);
    UNIT_STR(text, "0-31-5");
    UNIT_TRUE(g.flags == 0x4c && g.flags_extra == 1);
    put_size(event, sizeof event - 2);
    UNIT_INT(event_gtid_read(&f, event, sizeof event - 2, &g, NULL), E_MALFORMED);
    UNIT_INT(event_gtid_read(&f, commit_id, sizeof commit_id - 1, &g, NULL), 0);
    UNIT_UINT(g.commit_id, 0x1234);
    UNIT_UINT(g.flags_extra, 0x10);
}

static void names(void)
{
    UNIT_STR(event_type_name(EVENT_FORMAT_DESCRIPTION), "Format_desc");
    UNIT_STR(event_type_name(EVENT_MARIADB_GTID), "Gtid");
    UNIT_STR(event_type_name(200), "Unknown");
    UNIT_TRUE(!event_type_known(EVENT_GTID_LIST, FLAVOUR_MYSQL) &&
              event_type_known(EVENT_GTID_LIST, FLAVOUR_MARIADB));
    UNIT_TRUE(!event_type_known(0, FLAVOUR_MYSQL) && event_type_known(EVENT_GTID, FLAVOUR_MYSQL));
}

UNIT_MAIN("event", UNIT_TEST(samples_read_as_listed), UNIT_TEST(samples_are_whole), UNIT_TEST(formats), UNIT_TEST(format_with_a_hidden_version),
          UNIT_TEST(flipped_bits_are_found), UNIT_TEST(in_use_bit_does_not_count),
          UNIT_TEST(cut_events_do_no_harm), UNIT_TEST(changed_events_do_no_harm),
          UNIT_TEST(wrong_types_are_refused), UNIT_TEST(built_as_captured), UNIT_TEST(built_reads_back),
          UNIT_TEST(built_gtid_lists), UNIT_TEST(built_formats), UNIT_TEST(gtid_variants),
          UNIT_TEST(mariadb_gtid_extras), UNIT_TEST(names))
