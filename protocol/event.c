/* event.c: header, format description, checksum and the simple readers of binlog events. GTIDs are in
 * event_gtid.c, what we make ourselves in event_build.c.
 *
 * Happy path: event_header_read, event_crc_check, then the reader of that type. Failure: every length is
 * checked against the event, a field that is missing or cannot be is E_MALFORMED, a wrong checksum E_CORRUPT,
 * a format that we do not know E_UNSUPPORTED. */
#include "protocol/event.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

enum {
    FLAGS_OFFSET = 17,
    BINLOG_VERSION = 4,
    VERSION_FIELD = 50, /* the server version in an FDE */
    FDE_FIXED = 57,     /* its body up to the post header lengths */
    FDE_TAIL = 5,       /* checksum algorithm and checksum */
    QUERY_POST_HEADER = 13,
    XA_PART_MAX = 64
};

/* ---- types --------------------------------------------------------------------------------------------- */

#define EVENT_WHO_MYSQL (1 << FLAVOUR_MYSQL)
#define EVENT_WHO_MARIADB (1 << FLAVOUR_MARIADB)
#define EVENT_WHO_BOTH (EVENT_WHO_MYSQL | EVENT_WHO_MARIADB)

static const struct {
    const char *name;
    int who;
} types[256] = {
#define EVENT_ROW(name, number, text, who) [number] = {text, EVENT_WHO_##who},
    EVENT_TABLE(EVENT_ROW)
#undef EVENT_ROW
};

const char *event_type_name(uint8_t type)
{
    return types[type].name ? types[type].name : "Unknown";
}

bool event_type_known(uint8_t type, enum flavour flavour)
{
    return types[type].who & 1 << flavour;
}

/* ---- header -------------------------------------------------------------------------------------------- */

int event_peek(const uint8_t *p, size_t n, struct event_header *h, struct errmsg *em)
{
    struct cur c = cur_of(p, n);
    h->timestamp = cur_u32(&c);
    h->type = cur_u8(&c);
    h->server_id = cur_u32(&c);
    h->size = cur_u32(&c);
    h->log_pos = cur_u32(&c);
    h->flags = cur_u16(&c);
    if (!cur_ok(&c)) {
        return err_set(em, E_MALFORMED, "event header cut after %zu bytes", n);
    }
    if (h->size < EVENT_HEADER_SIZE) {
        return err_set(em, E_MALFORMED, "event of type %u with a size of %" PRIu32, h->type, h->size);
    }
    return 0;
}

int event_header_read(const uint8_t *event, size_t n, struct event_header *h, struct errmsg *em)
{
    int rc = event_peek(event, n, h, em);
    if (!rc && h->size != n) {
        rc = err_set(em, E_MALFORMED, "%s event of %zu bytes says it has %" PRIu32, event_type_name(h->type),
                     n, h->size);
    }
    return rc;
}

/* ---- format -------------------------------------------------------------------------------------------- */

void event_format_init(struct event_format *f, enum flavour flavour, enum event_checksum checksum)
{
    *f = (struct event_format){.flavour = flavour, .checksum = (uint8_t)checksum};
}

/* MariaDB numbers its own events from 160 on, MySQL has got to 42. The version can be any text there (--version=...). */
static enum flavour flavour_of(const struct event_format *f)
{
    return f->post_header_count >= EVENT_ANNOTATE_ROWS || strcasestr(f->version, "mariadb") ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
}

int event_format_read(const uint8_t *event, size_t n, struct event_format *f, struct errmsg *em)
{
    struct event_header h;
    int rc = event_header_read(event, n, &h, em);
    if (rc) {
        return rc;
    }
    if (h.type != EVENT_FORMAT_DESCRIPTION || n > EVENT_FORMAT_MAX ||
        n < EVENT_HEADER_SIZE + FDE_FIXED + FDE_TAIL) {
        return err_set(em, E_MALFORMED, "%s event of %zu bytes where a format description belongs",
                       event_type_name(h.type), n);
    }
    struct event_format made = {.flavour = FLAVOUR_NONE};
    struct cur c = cur_of(event + EVENT_HEADER_SIZE, n - EVENT_HEADER_SIZE);
    uint16_t binlog_version = cur_u16(&c);
    cur_copy(&c, made.version, VERSION_FIELD);
    made.created = cur_u32(&c);
    uint8_t header_size = cur_u8(&c);
    if (binlog_version != BINLOG_VERSION || header_size != EVENT_HEADER_SIZE) {
        return err_set(em, E_UNSUPPORTED, "binlog version %u with event headers of %u bytes", binlog_version,
                       header_size);
    }
    size_t count = cur_left(&c) - FDE_TAIL;
    if (count < EVENT_FORMAT_DESCRIPTION || count > 255) {
        return err_set(em, E_MALFORMED, "format description with %zu event types", count);
    }
    made.post_header_count = (uint8_t)count;
    cur_copy(&c, made.post_header + 1, count);
    made.checksum = cur_u8(&c);
    /* Its own entry tells whether the last 5 bytes are what we take them for. */
    if (made.post_header[EVENT_FORMAT_DESCRIPTION] != (uint8_t)(FDE_FIXED + count)) {
        return err_set(em, E_UNSUPPORTED, "format description without a checksum (server version '%s')",
                       made.version);
    }
    if (made.checksum > CHECKSUM_CRC32) {
        return err_set(em, E_UNSUPPORTED, "unknown checksum algorithm %u", made.checksum);
    }
    made.flavour = flavour_of(&made);
    *f = made;
    return 0;
}

/* ---- checksum ------------------------------------------------------------------------------------------ */

size_t event_crc_size(const struct event_format *f, uint8_t type)
{
    return f->checksum == CHECKSUM_CRC32 || type == EVENT_FORMAT_DESCRIPTION ? EVENT_CRC_SIZE : 0;
}

/* Over all but the last 4 bytes, with an FDE's in-use bit taken as 0. */
static uint32_t crc_of(const uint8_t *event, size_t n)
{
    uint8_t head[EVENT_HEADER_SIZE];
    memcpy(head, event, sizeof head);
    if (head[4] == EVENT_FORMAT_DESCRIPTION) {
        head[FLAGS_OFFSET] &= (uint8_t)~EVENT_FLAG_IN_USE;
    }
    uint32_t crc = crc32_of(0, head, sizeof head);
    return crc32_of(crc, event + EVENT_HEADER_SIZE, n - EVENT_HEADER_SIZE - EVENT_CRC_SIZE);
}

int event_crc_check(const struct event_format *f, const uint8_t *event, size_t n, struct errmsg *em)
{
    struct event_header h;
    int rc = event_header_read(event, n, &h, em);
    if (rc || !event_crc_size(f, h.type)) {
        return rc;
    }
    if (n < EVENT_HEADER_SIZE + EVENT_CRC_SIZE) {
        return err_set(em, E_MALFORMED, "%s event without room for its checksum", event_type_name(h.type));
    }
    struct cur tail = cur_of(event + n - EVENT_CRC_SIZE, EVENT_CRC_SIZE);
    uint32_t stored = cur_u32(&tail);
    uint32_t computed = crc_of(event, n);
    if (stored != computed) {
        return err_set(em, E_CORRUPT,
                       "%s event of %zu bytes ending at %" PRIu32 ": checksum %08" PRIx32
                       ", computed %08" PRIx32,
                       event_type_name(h.type), n, h.log_pos, stored, computed);
    }
    return 0;
}

void event_crc_set(uint8_t *event, size_t n)
{
    CHECK(n >= EVENT_HEADER_SIZE + EVENT_CRC_SIZE);
    uint32_t crc = crc_of(event, n);
    for (size_t i = 0; i < EVENT_CRC_SIZE; i++) {
        event[n - EVENT_CRC_SIZE + i] = (uint8_t)(crc >> (8 * i));
    }
}

int event_body(const struct event_format *f, const uint8_t *event, size_t n, struct cur *body,
               struct errmsg *em)
{
    struct event_header h;
    int rc = event_header_read(event, n, &h, em);
    if (rc) {
        return rc;
    }
    size_t crc = event_crc_size(f, h.type);
    if (n - EVENT_HEADER_SIZE < crc) {
        return err_set(em, E_MALFORMED, "%s event without room for its checksum", event_type_name(h.type));
    }
    *body = cur_of(event + EVENT_HEADER_SIZE, n - EVENT_HEADER_SIZE - crc);
    return 0;
}

/* ---- readers ------------------------------------------------------------------------------------------- */

/* The body of an event that must be of one of two types. */
static int body_of(const struct event_format *f, const uint8_t *event, size_t n, uint8_t type,
                   uint8_t or_type, struct cur *c, struct errmsg *em)
{
    int rc = event_body(f, event, n, c, em);
    if (!rc && event[4] != type && event[4] != or_type) {
        rc = err_set(em, E_MALFORMED, "%s event where %s belongs", event_type_name(event[4]),
                     event_type_name(type));
    }
    return rc;
}

static int malformed(const uint8_t *event, size_t n, struct errmsg *em)
{
    return err_set(em, E_MALFORMED, "malformed %s event of %zu bytes", event_type_name(event[4]), n);
}

int event_rotate_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_rotate *r,
                      struct errmsg *em)
{
    struct cur c;
    int rc = body_of(f, event, n, EVENT_ROTATE, EVENT_ROTATE, &c, em);
    if (rc) {
        return rc;
    }
    r->pos = cur_u64(&c);
    cur_text(&c, cur_left(&c), r->name, sizeof r->name);
    return cur_done(&c) && r->name[0] ? 0 : malformed(event, n, em);
}

/* c: the body, or the beginning of it */
static int query_read(const struct event_format *f, const uint8_t *event, size_t n, struct cur c, struct event_query *q,
                      struct errmsg *em)
{
    uint8_t type = event[4];
    if (type != EVENT_QUERY && type != EVENT_QUERY_COMPRESSED && type != EVENT_EXECUTE_LOAD_QUERY) {
        return err_set(em, E_MALFORMED, "%s event where a query belongs", event_type_name(type));
    }
    size_t post_header = f->post_header[type];
    if (!post_header) {
        post_header = type == EVENT_EXECUTE_LOAD_QUERY ? 2 * QUERY_POST_HEADER : QUERY_POST_HEADER;
    }
    if (post_header < QUERY_POST_HEADER) {
        return malformed(event, n, em);
    }
    q->thread = cur_u32(&c);
    cur_skip(&c, 4); /* execution time */
    q->db_len = cur_u8(&c);
    q->error = cur_u16(&c);
    uint16_t variables = cur_u16(&c);
    cur_skip(&c, post_header - QUERY_POST_HEADER);
    cur_skip(&c, variables);
    q->db = (const char *)cur_bytes(&c, q->db_len);
    if (cur_u8(&c) != 0) {
        cur_fail(&c);
    }
    q->text = (const char *)cur_rest(&c, &q->text_len);
    return cur_done(&c) ? 0 : malformed(event, n, em);
}

int event_query_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_query *q,
                     struct errmsg *em)
{
    struct cur c;
    int rc = event_body(f, event, n, &c, em);
    return rc ? rc : query_read(f, event, n, c, q, em);
}

int event_query_read_head(const struct event_format *f, const uint8_t *event, size_t there, struct event_query *q,
                          struct errmsg *em)
{
    struct event_header h;
    int rc = event_peek(event, there, &h, em);
    return rc ? rc : query_read(f, event, h.size, cur_of(event + EVENT_HEADER_SIZE, there - EVENT_HEADER_SIZE), q, em);
}

bool event_query_is(const struct event_query *q, const char *word)
{
    return strlen(word) == q->text_len && !strncasecmp(q->text, word, q->text_len);
}

bool event_query_begins(const struct event_query *q, const char *words)
{
    size_t n = strlen(words);
    return n <= q->text_len && !strncasecmp(q->text, words, n);
}

int event_xid_read(const struct event_format *f, const uint8_t *event, size_t n, uint64_t *xid,
                   struct errmsg *em)
{
    struct cur c;
    int rc = body_of(f, event, n, EVENT_XID, EVENT_XID, &c, em);
    if (rc) {
        return rc;
    }
    *xid = cur_u64(&c);
    return cur_done(&c) ? 0 : malformed(event, n, em);
}

int event_xa_prepare_read(const struct event_format *f, const uint8_t *event, size_t n, struct event_xa *xa,
                          struct errmsg *em)
{
    struct cur c;
    int rc = body_of(f, event, n, EVENT_XA_PREPARE, EVENT_XA_PREPARE, &c, em);
    if (rc) {
        return rc;
    }
    xa->one_phase = cur_u8(&c) != 0;
    xa->format_id = cur_u32(&c);
    xa->gtrid_len = cur_u32(&c);
    xa->bqual_len = cur_u32(&c);
    if (xa->gtrid_len > XA_PART_MAX || xa->bqual_len > XA_PART_MAX) {
        cur_fail(&c);
    }
    xa->gtrid = cur_bytes(&c, xa->gtrid_len);
    xa->bqual = cur_bytes(&c, xa->bqual_len);
    return cur_done(&c) ? 0 : malformed(event, n, em);
}

/* MySQL 9.7 leaves 4 bytes between the text and the checksum, so what follows the text is not looked at. */
int event_incident_read(const struct event_format *f, const uint8_t *event, size_t n,
                        struct event_incident *i, struct errmsg *em)
{
    struct cur c;
    int rc = body_of(f, event, n, EVENT_INCIDENT, EVENT_INCIDENT, &c, em);
    if (rc) {
        return rc;
    }
    i->number = cur_u16(&c);
    i->text_len = cur_u8(&c);
    i->text = (const char *)cur_bytes(&c, i->text_len);
    return cur_ok(&c) ? 0 : malformed(event, n, em);
}

/* Fields of v2: type, length, value; type 0 ends them and has neither. */
static void read_heartbeat_fields(struct cur *c, struct event_rotate *at)
{
    while (cur_ok(c)) {
        uint64_t field = cur_lenenc(c);
        if (field == 0) {
            return;
        }
        struct cur value = cur_sub(c, cur_lenenc(c));
        if (field == 1) {
            cur_text(&value, cur_left(&value), at->name, sizeof at->name);
        } else if (field == 2) {
            at->pos = cur_lenenc(&value);
        }
        if (!cur_ok(&value)) {
            cur_fail(c);
        }
    }
}

int event_heartbeat_read(const struct event_format *f, const uint8_t *event, size_t n,
                         struct event_rotate *at, struct errmsg *em)
{
    struct cur c;
    struct event_header h;
    int rc = body_of(f, event, n, EVENT_HEARTBEAT, EVENT_HEARTBEAT_V2, &c, em);
    rc = rc ? rc : event_header_read(event, n, &h, em);
    if (rc) {
        return rc;
    }
    at->pos = h.log_pos;
    at->name[0] = 0;
    if (h.type == EVENT_HEARTBEAT) {
        cur_text(&c, cur_left(&c), at->name, sizeof at->name);
    } else {
        read_heartbeat_fields(&c, at);
    }
    return cur_ok(&c) && at->name[0] ? 0 : malformed(event, n, em);
}
