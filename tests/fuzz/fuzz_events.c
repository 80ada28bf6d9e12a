/* fuzz_events: a binlog file from its first event on, as a source would send it.
 *
 * Input: flags (1: right checksums are put in; 2: right sizes too; 4: starts as MariaDB), then the bytes of a
 * file. Every reader sees every event, whatever its type. Properties: ranges lie in the event; errors change
 * nothing in format and tracker and have a message; what our builders make of what was read is read the same.
 */
#include "protocol/event.h"
#include "protocol/txn.h"
#include "tests/fuzz/fuzz.h"

enum { FIX_CRC = 1, FIX_SIZE = 2, MARIADB = 4, SIZE_AT = 9, EVENTS_MAX = 512 };

static bool inside(const void *p, size_t len, const uint8_t *event, size_t n)
{
    const uint8_t *at = p;
    return len == 0 || (at >= event && len <= n && at + len <= event + n);
}

static void check_rotate(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct event_rotate r, again;
    struct buf b;
    if (event_rotate_read(f, event, n, &r, NULL)) {
        return;
    }
    buf_init(&b, 1 << 16);
    event_build_rotate(&b, 7, (enum event_checksum)f->checksum, r.name, r.pos);
    MUST(!b.err && event_crc_check(f, b.data, b.len, NULL) == 0);
    MUST(event_rotate_read(f, b.data, b.len, &again, NULL) == 0);
    MUST(again.pos == r.pos && !strcmp(again.name, r.name));
    buf_free(&b);
}

static void check_heartbeat(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct event_rotate r, again;
    struct buf b;
    if (event_heartbeat_read(f, event, n, &r, NULL)) {
        return;
    }
    buf_init(&b, 1 << 16);
    event_build_heartbeat_v2(&b, 7, (enum event_checksum)f->checksum, r.name, r.pos);
    MUST(!b.err && event_crc_check(f, b.data, b.len, NULL) == 0);
    MUST(event_heartbeat_read(f, b.data, b.len, &again, NULL) == 0);
    MUST(again.pos == r.pos && !strcmp(again.name, r.name));
    buf_free(&b);
}

static void check_gtid(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct event_gtid g;
    struct gtid again;
    char text[GTID_TEXT_SIZE];
    struct errmsg em = {.text = ""};
    if (event_gtid_read(f, event, n, &g, &em)) {
        MUST(em.text[0]);
        return;
    }
    gtid_text(&g.gtid, text, sizeof text);
    if (g.gtid.flavour != FLAVOUR_NONE) {
        MUST(gtid_parse(&again, g.gtid.flavour, text, NULL) == 0 && gtid_equal(&g.gtid, &again));
        struct gtid_set *set = gtid_set_new(g.gtid.flavour);
        MUST(gtid_set_add(set, &g.gtid) == 0 && gtid_set_contains(set, &g.gtid));
        gtid_set_free(set);
    }
}

static void check_sets(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct gtid_set *set = gtid_set_new(FLAVOUR_MYSQL), *state = gtid_set_new(FLAVOUR_MARIADB);
    uint8_t flags = 0;
    struct buf b;
    if (event_previous_gtids_read(f, event, n, set, NULL)) {
        MUST(gtid_set_is_empty(set));
    }
    if (event_gtid_list_read(f, event, n, state, &flags, NULL) == 0) {
        struct gtid_set *again = gtid_set_new(FLAVOUR_MARIADB);
        buf_init(&b, 1 << 24);
        event_build_gtid_list(&b, 7, (enum event_checksum)f->checksum, state, flags, 4);
        MUST(!b.err && event_gtid_list_read(f, b.data, b.len, again, &flags, NULL) == 0);
        MUST(gtid_set_equal(state, again));
        buf_free(&b);
        gtid_set_free(again);
    }
    MUST(gtid_set_intervals(set) <= n && gtid_set_intervals(state) <= n);
    gtid_set_free(set);
    gtid_set_free(state);
}

static void check_texts(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct event_query q;
    struct event_xa xa;
    struct event_incident i;
    uint64_t xid;
    if (event_query_read(f, event, n, &q, NULL) == 0) {
        MUST(inside(q.db, q.db_len, event, n) && inside(q.text, q.text_len, event, n));
        (void)event_query_is(&q, "COMMIT");
        (void)event_query_begins(&q, "XA START ");
    }
    if (event_xa_prepare_read(f, event, n, &xa, NULL) == 0) {
        MUST(inside(xa.gtrid, xa.gtrid_len, event, n) && inside(xa.bqual, xa.bqual_len, event, n));
    }
    if (event_incident_read(f, event, n, &i, NULL) == 0) {
        MUST(inside(i.text, i.text_len, event, n));
    }
    (void)event_xid_read(f, event, n, &xid, NULL);
}

/* Reads it when it is one; then our own copy of it must be good. */
static void check_format(struct event_format *f, const uint8_t *event, size_t n, unsigned how)
{
    struct event_format before = *f, again;
    struct buf b;
    if (event_format_read(event, n, f, NULL)) {
        MUST(!memcmp(&before, f, sizeof before));
        return;
    }
    MUST(strnlen(f->version, sizeof f->version) < sizeof f->version);
    buf_init(&b, EVENT_FORMAT_MAX);
    MUST(event_build_format(&b, event, n, how, NULL) == 0 && b.len == n);
    MUST(event_crc_check(f, b.data, b.len, NULL) == 0);
    MUST(event_format_read(b.data, b.len, &again, NULL) == 0);
    MUST(!strcmp(again.version, f->version) && again.checksum == f->checksum);
    MUST(!memcmp(again.post_header, f->post_header, sizeof again.post_header));
    buf_free(&b);
}

static void check_txn(struct txn *t, const struct event_format *f, const uint8_t *event, size_t n)
{
    struct txn before = *t;
    struct errmsg em = {.text = ""};
    int rc = txn_feed(t, f, event, n, &em);
    if (rc < 0) {
        MUST(em.text[0] && (rc == E_MALFORMED || rc == E_UNSUPPORTED));
        MUST(!memcmp(&before, t, sizeof before));
    } else {
        MUST(txn_is_open(t) == (rc == TXN_INSIDE));
    }
}

static void check_info(const struct event_format *f, const uint8_t *event, size_t n)
{
    struct buf info;
    buf_init(&info, 8 * n + 65536);
    event_info(f, event, n, &info);
    MUST(!info.err);
    buf_free(&info);
}

static void one_event(struct event_format *f, struct txn *t, uint8_t *event, size_t n, unsigned flags)
{
    struct event_header h;
    struct cur body;
    if (flags & FIX_SIZE && n >= EVENT_HEADER_SIZE) {
        for (size_t i = 0; i < 4; i++) {
            event[SIZE_AT + i] = (uint8_t)(n >> (8 * i));
        }
    }
    if (flags & FIX_CRC && n >= EVENT_HEADER_SIZE + EVENT_CRC_SIZE && event_crc_size(f, event[4])) {
        event_crc_set(event, n);
        MUST(event_header_read(event, n, &h, NULL) || event_crc_check(f, event, n, NULL) == 0);
    }
    (void)event_crc_check(f, event, n, NULL);
    if (event_body(f, event, n, &body, NULL) == 0) {
        MUST(inside(body.p, cur_left(&body), event, n));
    }
    check_format(f, event, n, flags >> 4 & 3);
    check_rotate(f, event, n);
    check_heartbeat(f, event, n);
    check_gtid(f, event, n);
    check_sets(f, event, n);
    check_texts(f, event, n);
    check_info(f, event, n);
    check_txn(t, f, event, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    unsigned flags = cur_u8(&in);
    struct event_format f;
    struct txn t;
    event_format_init(&f, flags & MARIADB ? FLAVOUR_MARIADB : FLAVOUR_MYSQL, CHECKSUM_CRC32);
    txn_init(&t);
    if (cur_left(&in) >= EVENT_MAGIC_SIZE && !memcmp(in.p, EVENT_MAGIC, EVENT_MAGIC_SIZE)) {
        cur_skip(&in, EVENT_MAGIC_SIZE);
    }
    for (int i = 0; i < EVENTS_MAX && cur_left(&in); i++) {
        struct event_header h;
        size_t n = cur_left(&in);
        if (event_peek(in.p, n, &h, NULL) == 0 && h.size < n) {
            n = h.size;
        }
        uint8_t *event = fuzz_exact(cur_bytes(&in, n), n);
        one_event(&f, &t, event, n, flags);
        free(event);
    }
    return 0;
}
