/* dump_rewrite.c: MariaDB's own events for replicas that do not know them, as a MariaDB source sends them.
 *
 * A replica says what it knows by @mariadb_slave_capability; MySQL's replicas and old ones say nothing. What it
 * does not know is left out if it bears holes, else replaced by an event of the same length that does nothing:
 * the positions of all that follows stay right. The GTID of a transaction becomes the BEGIN that stands in no
 * MariaDB log, that of a single statement goes.
 *
 * Failure: an event that is too short for that, and a prepared XA transaction, whose begin is known to its GTID
 * event alone: 1236, in the source's words. */
#include "node/dump_impl.h"

#include "protocol/base/check.h"

#include <stdio.h>
#include <string.h>

enum { KNOWS_ANNOTATE = 1, BEARS_HOLES = 2, KNOWS_CHECKPOINT = 3, KNOWS_GTID = 4 };

enum { /* of events, to be patched */
       TYPE_AT = 4,
       FLAGS_AT = 17,
       FLAG_THREAD_SPECIFIC = 0x04,
       FLAG_SUPPRESS_USE = 0x08
};

enum { /* bodies */
       QUERY_HEADER = 13, /* thread 4, seconds 4, length of the database's name 1, error 2, of status variables 2 */
       STATUS_LENGTH_AT = 11,
       STATUS_TIME_ZONE = 5,
       STATUS_CATALOG = 6,
       GTID_FLAGS_AT = 12,
       DUMMY_MIN = 6,                           /* a user's variable of one letter that is NULL */
       DUMMY_QUERY_MIN = QUERY_HEADER + 1 + 1 /* no database, one letter */
};

enum fate { AS_IS, LEFT_OUT, DUMMY, BEGIN };

static enum fate fate_of(const struct dump *d, const struct reader_event *ev)
{
    bool holes = d->capability >= BEARS_HOLES;
    switch (ev->type) {
    case EVENT_ANNOTATE_ROWS:
        /* one that was not asked for is still read over by who knows it */
        return d->annotate || d->capability == KNOWS_ANNOTATE ? AS_IS : holes ? LEFT_OUT : DUMMY;
    case EVENT_BINLOG_CHECKPOINT: return d->capability >= KNOWS_CHECKPOINT ? AS_IS : holes ? LEFT_OUT : DUMMY;
    case EVENT_GTID_LIST: return d->capability >= KNOWS_GTID ? AS_IS : holes ? LEFT_OUT : DUMMY;
    case EVENT_MARIADB_GTID:
        if (d->capability >= KNOWS_GTID) {
            return AS_IS;
        }
        if (ev->n > EVENT_HEADER_SIZE + GTID_FLAGS_AT && ev->bytes[EVENT_HEADER_SIZE + GTID_FLAGS_AT] & GTID_STANDALONE) {
            return holes ? LEFT_OUT : DUMMY;
        }
        return BEGIN;
    default: return AS_IS;
    }
}

static void put_u16(uint8_t *to, size_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

/* A comment where there is room for a statement. */
static bool make_dummy(uint8_t *event, size_t n, uint8_t type)
{
    static const char name[] = "!dummyvar";
    uint8_t *body = event + EVENT_HEADER_SIZE;
    if (n < DUMMY_MIN) {
        return false;
    }
    memset(body, 0, n);
    if (n < DUMMY_QUERY_MIN) {
        size_t len = n - (DUMMY_MIN - 1);
        event[TYPE_AT] = EVENT_USER_VAR;
        body[0] = (uint8_t)len;
        memcpy(body + 4, name, len); /* at most 9 */
        body[4 + len] = 1;           /* NULL */
    } else {
        char text[80];
        size_t room = n - QUERY_HEADER - 1;
        int len = snprintf(text, sizeof text, "# Dummy event replacing event type %u that slave cannot handle.", type);
        CHECK(len > 0 && (size_t)len < sizeof text);
        event[TYPE_AT] = EVENT_QUERY;
        memset(body + QUERY_HEADER + 1, ' ', room);
        memcpy(body + QUERY_HEADER + 1, text, (size_t)len < room ? (size_t)len : room);
    }
    return true;
}

/* What the GTID event has more bytes for than BEGIN takes goes into a status variable: a time zone that is not
 * given, else a catalog, which replicas do not use. */
static bool make_begin(uint8_t *event, size_t n)
{
    static const char text[] = "BEGIN";
    uint8_t *body = event + EVENT_HEADER_SIZE;
    enum { MIN = QUERY_HEADER + 1 + sizeof text - 1 };
    size_t more = n - MIN;
    if (n < MIN || more == 1 || more > 2 + UINT8_MAX || body[GTID_FLAGS_AT] & GTID_PREPARED_XA) {
        return false;
    }
    event[TYPE_AT] = EVENT_QUERY;
    memset(body, 0, n);
    put_u16(body + STATUS_LENGTH_AT, more);
    if (more) {
        body[QUERY_HEADER] = more == 2 ? STATUS_TIME_ZONE : STATUS_CATALOG;
        body[QUERY_HEADER + 1] = (uint8_t)(more - 2);
        memset(body + QUERY_HEADER + 2, 'c', more - 2);
    }
    memcpy(body + n - (sizeof text - 1), text, sizeof text - 1);
    return true;
}

/* An annotation can be as large as a statement: it is made as a whole. */
static void put_instead(struct dump *d, const struct reader_event *stored, const struct event_format *format, bool begin)
{
    struct errmsg em = {""};
    struct reader_event all = *stored, *ev = &all;
    int rv = all.in_pieces ? reader_whole(d->reader, &all, &em) : 0;
    if (rv) {
        dump_drop(d, rv, &em);
        return;
    }
    size_t crc = event_crc_size(format, ev->type);
    buf_reset(&d->scratch);
    buf_bytes(&d->scratch, ev->bytes, ev->n);
    uint8_t *event = d->scratch.data;
    bool made = !d->scratch.err && ev->n >= EVENT_HEADER_SIZE + crc;
    if (made) {
        size_t n = ev->n - EVENT_HEADER_SIZE - crc;
        made = begin ? make_begin(event, n) : make_dummy(event, n, ev->type);
    }
    if (!made) {
        dump_fail(d, ev->type == EVENT_MARIADB_GTID    ? DUMP_ERROR_GTID_EVENT
                     : ev->type == EVENT_ANNOTATE_ROWS ? DUMP_ERROR_ANNOTATE_EVENT
                                                       : DUMP_ERROR_LIST_EVENT);
        return;
    }
    event[FLAGS_AT] = (uint8_t)((event[FLAGS_AT] & ~FLAG_THREAD_SPECIFIC) | FLAG_SUPPRESS_USE);
    if (crc) {
        event_crc_set(event, ev->n);
    }
    dump_put(d, event, ev->n);
}

void dump_put_known(struct dump *d, const struct reader_event *ev, const struct event_format *format)
{
    switch (format->flavour == FLAVOUR_MARIADB ? fate_of(d, ev) : AS_IS) {
    case AS_IS: dump_put_stored(d, ev); break;
    case LEFT_OUT: break;
    case DUMMY: put_instead(d, ev, format, false); break;
    case BEGIN: put_instead(d, ev, format, true); break;
    }
}
