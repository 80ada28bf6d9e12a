/* event_gtid.c: the events that carry GTIDs: the four that begin a transaction, and the two that begin a
 * file.
 *
 * Happy path: the fixed part always, then whatever of the later versions' fields is there. Failure:
 * E_MALFORMED where the fixed part is cut, a number cannot be, or a field that is announced is not there.
 * What a newer server appends behind the fields that we know is left alone. */
#include "protocol/event.h"

#include "protocol/base/check.h"
#include "protocol/gtid_set.h"

#include <string.h>

enum {
    MYSQL_POST_HEADER_56 = 25,
    MYSQL_POST_HEADER = 42,
    LOGICAL_TIMESTAMPS = 2, /* the type byte in front of them */
    TIMESTAMP_SIZE = 7,
    VERSION_SIZE = 4
};

bool event_is_gtid(uint8_t type)
{
    return type == EVENT_GTID || type == EVENT_ANONYMOUS_GTID || type == EVENT_GTID_TAGGED ||
           type == EVENT_MARIADB_GTID;
}

/* ---- MySQL: GTID, ANONYMOUS_GTID ----------------------------------------------------------------------- */

/* Times, length and version: 8.0 and later, each only if bytes are left. */
static void read_mysql_tail(struct cur *c, struct event_gtid *g)
{
    const uint64_t time_flag = UINT64_C(1) << 55;
    const uint32_t version_flag = UINT32_C(1) << 31;
    if (cur_left(c) < TIMESTAMP_SIZE) {
        return;
    }
    g->immediate_commit = cur_le(c, TIMESTAMP_SIZE);
    g->original_commit = g->immediate_commit & ~time_flag;
    if (g->immediate_commit & time_flag) {
        g->immediate_commit &= ~time_flag;
        g->original_commit = cur_le(c, TIMESTAMP_SIZE);
    }
    if (!cur_left(c)) {
        return;
    }
    g->transaction_length = cur_lenenc(c);
    if (cur_left(c) < VERSION_SIZE) {
        return;
    }
    g->server_version = cur_u32(c);
    if (g->server_version & version_flag) {
        g->server_version &= ~version_flag;
        cur_skip(c, VERSION_SIZE);
    }
}

static void read_mysql(const struct event_format *f, uint8_t type, struct cur *c, struct event_gtid *g)
{
    /* Without an FDE the size tells the version. */
    size_t post_header = f->post_header[type];
    if (!post_header) {
        post_header = cur_left(c) >= MYSQL_POST_HEADER ? MYSQL_POST_HEADER : MYSQL_POST_HEADER_56;
    }
    struct cur head = cur_sub(c, post_header);
    g->flags = cur_u8(&head);
    cur_copy(&head, g->gtid.uuid, sizeof g->gtid.uuid);
    g->gtid.gno = cur_u64(&head);
    if (!cur_ok(&head)) {
        cur_fail(c);
        return;
    }
    if (post_header >= MYSQL_POST_HEADER && cur_u8(&head) == LOGICAL_TIMESTAMPS) {
        g->last_committed = cur_u64(&head);
        g->sequence_number = cur_u64(&head);
    }
    read_mysql_tail(c, g);
}

/* ---- MySQL: GTID_TAGGED -------------------------------------------------------------------------------- */

enum tagged_field {
    TAGGED_FLAGS,
    TAGGED_UUID,
    TAGGED_GNO,
    TAGGED_TAG,
    TAGGED_LAST_COMMITTED,
    TAGGED_SEQUENCE_NUMBER,
    TAGGED_IMMEDIATE_COMMIT,
    TAGGED_ORIGINAL_COMMIT,
    TAGGED_TRANSACTION_LENGTH,
    TAGGED_SERVER_VERSION
};

static uint64_t read_signed(struct cur *c)
{
    uint64_t v = gtid_read_varint(c);
    return v >> 1 ^ (UINT64_C(0) - (v & 1));
}

static void read_tagged_uuid(struct cur *c, uint8_t uuid[16])
{
    for (size_t i = 0; i < 16; i++) {
        uint64_t byte = gtid_read_varint(c);
        if (byte > 0xff) {
            cur_fail(c);
        }
        uuid[i] = (uint8_t)byte;
    }
}

/* False for a field that we do not know: its length is not written, so nothing behind it can be read. */
static bool read_tagged_field(uint64_t field, struct cur *c, struct event_gtid *g)
{
    switch (field) {
    case TAGGED_FLAGS:
        g->flags = (uint8_t)gtid_read_varint(c);
        return true;
    case TAGGED_UUID:
        read_tagged_uuid(c, g->gtid.uuid);
        return true;
    case TAGGED_GNO:
        g->gtid.gno = read_signed(c);
        return true;
    case TAGGED_TAG:
        cur_text(c, gtid_read_varint(c), g->gtid.tag, sizeof g->gtid.tag);
        return true;
    case TAGGED_LAST_COMMITTED:
        g->last_committed = read_signed(c);
        return true;
    case TAGGED_SEQUENCE_NUMBER:
        g->sequence_number = read_signed(c);
        return true;
    case TAGGED_IMMEDIATE_COMMIT:
        g->immediate_commit = g->original_commit = gtid_read_varint(c);
        return true;
    case TAGGED_ORIGINAL_COMMIT:
        g->original_commit = gtid_read_varint(c);
        return true;
    case TAGGED_TRANSACTION_LENGTH:
        g->transaction_length = gtid_read_varint(c);
        return true;
    case TAGGED_SERVER_VERSION:
        g->server_version = (uint32_t)gtid_read_varint(c);
        return true;
    default:
        return false;
    }
}

static void read_tagged(struct cur *c, struct event_gtid *g)
{
    struct cur whole = *c;
    gtid_read_varint(c); /* version of the serialization: fields are added at its end only */
    uint64_t size = gtid_read_varint(c);
    gtid_read_varint(c); /* last field that may not be ignored */
    struct cur fields = cur_sub(&whole, size);
    if (!cur_ok(c) || !cur_ok(&fields) || fields.end < c->p) {
        cur_fail(c);
        return;
    }
    fields.p = c->p;
    unsigned seen = 0;
    while (cur_left(&fields)) {
        uint64_t field = gtid_read_varint(&fields);
        if (!read_tagged_field(field, &fields, g)) {
            break;
        }
        seen |= 1u << field;
    }
    bool complete = seen & 1u << TAGGED_UUID && seen & 1u << TAGGED_GNO;
    if (!cur_ok(&fields) || !complete || (g->gtid.tag[0] && !gtid_tag_ok(g->gtid.tag))) {
        cur_fail(c);
    }
}

/* ---- MariaDB ------------------------------------------------------------------------------------------- */

static void read_mariadb(struct cur *c, uint32_t server_id, struct event_gtid *g)
{
    g->gtid.gno = cur_u64(c);
    g->gtid.domain = cur_u32(c);
    g->gtid.server = server_id;
    g->flags = cur_u8(c);
    if (g->flags & GTID_GROUP_COMMIT_ID) {
        g->commit_id = cur_u64(c);
    }
    if (g->flags & (GTID_PREPARED_XA | GTID_COMPLETED_XA)) {
        cur_skip(c, 4);
        size_t gtrid = cur_u8(c);
        size_t bqual = cur_u8(c);
        cur_skip(c, gtrid + bqual);
    }
    if (cur_left(c)) {
        g->flags_extra = cur_u8(c);
    }
}

/* ---- all ----------------------------------------------------------------------------------------------- */

int event_gtid_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_gtid *g,
                    struct errmsg *em)
{
    struct cur c;
    struct event_header h;
    int rc = event_header_read(event, n, &h, em);
    rc = rc ? rc : event_body(f, event, n, &c, em);
    if (rc) {
        return rc;
    }
    struct event_gtid made = {.gtid.flavour = FLAVOUR_MYSQL};
    switch (h.type) {
    case EVENT_GTID:
        read_mysql(f, h.type, &c, &made);
        break;
    case EVENT_ANONYMOUS_GTID:
        read_mysql(f, h.type, &c, &made);
        made.gtid = (struct gtid){.flavour = FLAVOUR_NONE};
        break;
    case EVENT_GTID_TAGGED:
        read_tagged(&c, &made);
        break;
    case EVENT_MARIADB_GTID:
        made.gtid.flavour = FLAVOUR_MARIADB;
        read_mariadb(&c, h.server_id, &made);
        break;
    default:
        return err_set(em, E_MALFORMED, "%s event where a GTID belongs", event_type_name(h.type));
    }
    if (made.gtid.flavour == FLAVOUR_MYSQL && (made.gtid.gno == 0 || made.gtid.gno > GTID_GNO_MAX)) {
        cur_fail(&c);
    }
    if (!cur_ok(&c)) {
        return err_set(em, E_MALFORMED, "malformed %s event of %zu bytes", event_type_name(h.type), n);
    }
    *g = made;
    return 0;
}

static int read_set(const struct event_format *f, const uint8_t *event, size_t n, uint8_t type,
                    struct gtid_set *set, uint8_t *flags, struct errmsg *em)
{
    struct cur c;
    gtid_set_clear(set);
    int rc = event_body(f, event, n, &c, em);
    if (rc) {
        return rc;
    }
    if (event[4] != type) {
        return err_set(em, E_MALFORMED, "%s event where %s belongs", event_type_name(event[4]),
                       event_type_name(type));
    }
    struct cur peek = c;
    if (flags) {
        *flags = (uint8_t)(cur_u32(&peek) >> 28);
    }
    rc = gtid_set_decode(set, &c, em);
    if (!rc && !cur_done(&c)) {
        gtid_set_clear(set);
        rc = err_set(em, E_MALFORMED, "%zu bytes too many", cur_left(&c));
    }
    return rc ? err_wrap(em, rc, "%s event of %zu bytes", event_type_name(type), n) : 0;
}

int event_previous_gtids_read(const struct event_format *f, const uint8_t *event, size_t n,
                              struct gtid_set *set, struct errmsg *em)
{
    CHECK(gtid_set_flavour(set) == FLAVOUR_MYSQL);
    return read_set(f, event, n, EVENT_PREVIOUS_GTIDS, set, NULL, em);
}

int event_gtid_list_read(const struct event_format *f, const uint8_t *event, size_t n, struct gtid_set *set,
                         uint8_t *flags, struct errmsg *em)
{
    CHECK(gtid_set_flavour(set) == FLAVOUR_MARIADB);
    return read_set(f, event, n, EVENT_GTID_LIST, set, flags, em);
}
