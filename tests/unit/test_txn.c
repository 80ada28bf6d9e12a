/* test_txn: the recorded files fall into exactly their transactions, and the cases that they lack are built
 * by hand. */
#include "protocol/base/buf.h"
#include "protocol/txn.h"
#include "tests/unit/sample.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_MAX = 1 << 20 };

/* ---- the recorded files -------------------------------------------------------------------------------- */

static bool stands_between(unsigned type)
{
    switch (type) {
    case EVENT_FORMAT_DESCRIPTION:
    case EVENT_ROTATE:
    case EVENT_STOP:
    case EVENT_PREVIOUS_GTIDS:
    case EVENT_GTID_LIST:
    case EVENT_BINLOG_CHECKPOINT:
    case EVENT_START_ENCRYPTION:
        return true;
    default:
        return false;
    }
}

/* What must come out, told from the listing alone: a transaction begins with a GTID event (an INCIDENT with
 * no GTID in front of it is one by itself) and ends before the next beginning or what stands between. */
static int expected(const struct sample *s, size_t i)
{
    const struct sample_event *e = &s->events[i];
    if (stands_between(e->type)) {
        return TXN_BETWEEN;
    }
    if (i + 1 == s->count) {
        return e->offset + e->size == s->size ? TXN_END : TXN_INSIDE; /* torn */
    }
    unsigned next = s->events[i + 1].type;
    bool incident_alone = next == EVENT_INCIDENT && !event_is_gtid((uint8_t)e->type);
    return event_is_gtid((uint8_t)next) || stands_between(next) || incident_alone ? TXN_END : TXN_INSIDE;
}

static size_t transactions, with_length;

static void check_event(const struct sample *s, size_t i, struct txn *t, const struct event_format *f,
                        size_t *begin)
{
    const struct sample_event *e = &s->events[i];
    struct errmsg em = {""};
    char text[GTID_TEXT_SIZE];
    bool was_open = txn_is_open(t);
    uint8_t *event = sample_exact(s->data + e->offset, e->size);
    int got = txn_feed(t, f, event, e->size, &em);
    free(event);
    if (!UNIT_INT(got, expected(s, i))) {
        printf("# %s at %zu: %s\n", s->name, e->offset, em.text);
    }
    UNIT_TRUE(txn_is_open(t) == (got == TXN_INSIDE));
    if (got == TXN_BETWEEN) {
        return;
    }
    if (!was_open) {
        *begin = i;
        UNIT_TRUE(t->has_gtid_event == event_is_gtid((uint8_t)e->type));
    }
    UNIT_UINT(t->size, e->offset + e->size - s->events[*begin].offset);
    if (got == TXN_END) {
        const struct sample_event *first = &s->events[*begin];
        gtid_text(&t->gtid, text, sizeof text);
        UNIT_STR(text, t->has_gtid ? first->gtid : "ANONYMOUS");
        UNIT_TRUE(t->has_gtid == (first->type != EVENT_ANONYMOUS_GTID && first->type != EVENT_INCIDENT));
        UNIT_UINT(t->length, first->length);
        UNIT_TRUE(!first->length || t->size == first->length);
        transactions++;
        with_length += first->length != 0;
    }
}

static void samples_split_into_transactions(void)
{
    size_t count, open = 0;
    const struct sample *list = samples(&count);
    transactions = with_length = 0;
    for (size_t i = 0; i < count; i++) {
        const struct sample *s = &list[i];
        struct event_format f;
        struct txn t;
        size_t begin = 0;
        txn_init(&t);
        UNIT_INT(event_format_read(s->data + 4, s->events[0].size, &f, NULL), 0);
        for (size_t k = 0; k < s->count; k++) {
            check_event(s, k, &t, &f, &begin);
        }
        open += txn_is_open(&t);
        txn_reset(&t);
        UNIT_TRUE(!txn_is_open(&t));
    }
    UNIT_UINT(open, 1); /* the torn one */
    UNIT_UINT(with_length, 75);
    UNIT_UINT(transactions, 208); /* 206 GTID events, 3 incidents without one, less the torn one */
}

/* A state in MariaDB's sense, grown transaction by transaction, is what the next file's GTID_LIST says;
 * likewise MySQL's sets. */
static void sets_grow_into_the_next_files(void)
{
    static const char *const pairs[][2] = {
        {"mysql-9.7-all-events/mysql-bin.000001", "mysql-9.7-all-events/mysql-bin.000002"},
        {"mysql-9.7-all-events/mysql-bin.000003", "mysql-9.7-all-events/mysql-bin.000004"},
        {"mysql-9.7-all-events/mysql-bin.000004", "mysql-9.7-all-events/mysql-bin.000005"},
        {"mysql-5.6-all-events/mysql-bin.000001", "mysql-5.6-all-events/mysql-bin.000002"},
        {"mariadb-10.11-all-events/mysql-bin.000001", "mariadb-10.11-all-events/mysql-bin.000002"},
        {"mariadb-10.11-all-events/mysql-bin.000005", "mariadb-10.11-all-events/mysql-bin.000006"},
        {"mariadb-11.8-all-events/mysql-bin.000001", "mariadb-11.8-all-events/mysql-bin.000002"},
        {"mariadb-11.8-all-events/mysql-bin.000004", "mariadb-11.8-all-events/mysql-bin.000005"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const struct sample *s = sample_named(pairs[i][0]), *next = sample_named(pairs[i][1]);
        struct event_format f;
        struct txn t;
        UNIT_INT(event_format_read(s->data + 4, s->events[0].size, &f, NULL), 0);
        struct gtid_set *set = gtid_set_new(f.flavour), *then = gtid_set_new(f.flavour);
        txn_init(&t);
        for (size_t k = 0; k < s->count; k++) {
            const uint8_t *event = s->data + s->events[k].offset;
            if (s->events[k].type == EVENT_PREVIOUS_GTIDS) {
                UNIT_INT(event_previous_gtids_read(&f, event, s->events[k].size, set, NULL), 0);
            } else if (s->events[k].type == EVENT_GTID_LIST) {
                UNIT_INT(event_gtid_list_read(&f, event, s->events[k].size, set, NULL, NULL), 0);
            }
            if (txn_feed(&t, &f, event, s->events[k].size, NULL) == TXN_END && t.has_gtid) {
                UNIT_INT(gtid_set_add(set, &t.gtid), 0);
            }
        }
        UNIT_INT(event_format_read(next->data + 4, next->events[0].size, &f, NULL), 0);
        const uint8_t *head = next->data + next->events[1].offset;
        UNIT_INT(f.flavour == FLAVOUR_MYSQL
                     ? event_previous_gtids_read(&f, head, next->events[1].size, then, NULL)
                     : event_gtid_list_read(&f, head, next->events[1].size, then, NULL, NULL),
                 0);
        if (!UNIT_TRUE(gtid_set_equal(set, then))) {
            printf("# %s\n", s->name);
        }
        gtid_set_free(set);
        gtid_set_free(then);
    }
}

/* ---- built by hand ------------------------------------------------------------------------------------- */

/* A sequence is a string of words: each becomes an event; behind '=' stands what must come out:
 * b between, i inside, e end, m malformed, u unsupported. */
struct script {
    struct event_format f;
    struct txn t;
    uint64_t gtid_length; /* for the next GTID event of MySQL */
};

static void header(struct buf *b, uint8_t type, uint16_t flags)
{
    buf_u32(b, 1);
    buf_u8(b, type);
    buf_u32(b, 9);
    buf_u32(b, 0);
    buf_u32(b, 0);
    buf_u16(b, flags);
}

static void query(struct buf *b, uint8_t type, const char *text)
{
    header(b, type, 8);
    buf_zero(b, 8);
    buf_u8(b, 2);
    buf_u16(b, 0);
    buf_u16(b, 3);
    buf_zero(b, type == EVENT_EXECUTE_LOAD_QUERY ? 13 : 0);
    buf_bytes(b, "\0\0\0s1", 6);
    buf_str(b, text);
}

static void mysql_gtid(struct buf *b, const struct script *s, uint8_t type)
{
    header(b, type, 0);
    buf_u8(b, 1);
    buf_bytes(b, "0123456789abcdef", 16);
    buf_u64(b, type == EVENT_GTID ? 5 : 0);
    if (s->f.post_header[EVENT_GTID] >= 42) {
        buf_u8(b, 2);
        buf_u64(b, 0);
        buf_u64(b, 1);
        buf_zero(b, 7);
        buf_lenenc(b, s->gtid_length);
        buf_u32(b, 90704);
    }
}

static void mariadb_gtid(struct buf *b, uint8_t flags2)
{
    header(b, EVENT_MARIADB_GTID, 8);
    buf_u64(b, 77);
    buf_u32(b, 3);
    buf_u8(b, flags2);
    buf_zero(b, 6);
}

static void build_event(struct buf *b, const struct script *s, const char *word)
{
    static const struct {
        const char *word;
        uint8_t type;
    } plain[] = {{"fde", EVENT_FORMAT_DESCRIPTION},
                 {"rotate", EVENT_ROTATE},
                 {"stop", EVENT_STOP},
                 {"previous", EVENT_PREVIOUS_GTIDS},
                 {"list", EVENT_GTID_LIST},
                 {"checkpoint", EVENT_BINLOG_CHECKPOINT},
                 {"heartbeat", EVENT_HEARTBEAT},
                 {"heartbeat2", EVENT_HEARTBEAT_V2},
                 {"intvar", EVENT_INTVAR},
                 {"rand", EVENT_RAND},
                 {"uservar", EVENT_USER_VAR},
                 {"map", EVENT_TABLE_MAP},
                 {"rows", EVENT_WRITE_ROWS},
                 {"rowsquery", EVENT_ROWS_QUERY},
                 {"xid", EVENT_XID},
                 {"prepare", EVENT_XA_PREPARE},
                 {"payload", EVENT_TRANSACTION_PAYLOAD},
                 {"incident", EVENT_INCIDENT},
                 {"annotate", EVENT_ANNOTATE_ROWS},
                 {"beginload", EVENT_BEGIN_LOAD_QUERY},
                 {"unknown", 99},
                 {"view", EVENT_VIEW_CHANGE}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (!strcmp(word, plain[i].word)) {
            header(b, plain[i].type, 0);
            return;
        }
    }
    if (!strcmp(word, "ignorable")) {
        header(b, 99, EVENT_FLAG_IGNORABLE);
    } else if (!strcmp(word, "gtid")) {
        mysql_gtid(b, s, EVENT_GTID);
    } else if (!strcmp(word, "anonymous")) {
        mysql_gtid(b, s, EVENT_ANONYMOUS_GTID);
    } else if (!strcmp(word, "group")) {
        mariadb_gtid(b, GTID_TRANSACTIONAL);
    } else if (!strcmp(word, "alone")) {
        mariadb_gtid(b, GTID_STANDALONE | GTID_DDL);
    } else if (!strcmp(word, "load")) {
        query(b, EVENT_EXECUTE_LOAD_QUERY, "load data");
    } else if (!strcmp(word, "compressed")) {
        query(b, EVENT_QUERY_COMPRESSED, "COMMIT");
    } else {
        char text[64];
        snprintf(text, sizeof text, "%s", word);
        for (char *p = text; *p; p++) {
            *p = *p == '_' ? ' ' : *p;
        }
        query(b, EVENT_QUERY, text);
    }
}

static int feed(struct script *s, const char *word)
{
    struct errmsg em = {""};
    struct buf b;
    buf_init(&b, BUF_MAX);
    build_event(&b, s, word);
    buf_put_u32(&b, 9, (uint32_t)b.len);
    UNIT_INT(b.err, 0);
    struct txn before = s->t;
    int rc = txn_feed(&s->t, &s->f, b.data, b.len, &em);
    if (rc < 0) {
        UNIT_TRUE(em.text[0] != 0);
        UNIT_TRUE(s->t.state == before.state && s->t.size == before.size &&
                  gtid_equal(&s->t.gtid, &before.gtid));
    }
    buf_free(&b);
    return rc;
}

static void run_from(struct script *s, const char *script)
{
    char line[512], *save = NULL;
    snprintf(line, sizeof line, "%s", script);
    for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *want = strchr(word, '=');
        UNIT_REQUIRE(want != NULL);
        *want++ = 0;
        int rc = feed(s, word);
        char got = rc == E_MALFORMED ? 'm' : rc == E_UNSUPPORTED ? 'u' : rc < 0 ? '?' : "bie"[rc];
        if (!UNIT_INT(got, *want)) {
            printf("# %s: at %s\n", script, word);
        }
    }
}

static struct script script_for(enum flavour flavour, uint8_t gtid_post_header)
{
    struct script s;
    event_format_init(&s.f, flavour, CHECKSUM_NONE);
    s.f.post_header[EVENT_GTID] = s.f.post_header[EVENT_ANONYMOUS_GTID] = gtid_post_header;
    s.gtid_length = 0;
    txn_init(&s.t);
    return s;
}

static struct script run(enum flavour flavour, uint8_t gtid_post_header, const char *script)
{
    struct script s = script_for(flavour, gtid_post_header);
    run_from(&s, script);
    return s;
}

static void mysql(const char *script)
{
    run(FLAVOUR_MYSQL, 42, script);
    run(FLAVOUR_MYSQL, 25, script); /* 5.6 writes no other kind */
}

static void mysql_groups(void)
{
    mysql("fde=b previous=b gtid=i BEGIN=i map=i rows=i xid=e rotate=b");
    mysql("gtid=i BEGIN=i COMMIT=e gtid=i BEGIN=i insert=i COMMIT=e stop=b");
    mysql("gtid=i begin=i insert=i rollback=e");
    mysql("gtid=i BEGIN=i SAVEPOINT_x=i insert=i ROLLBACK_TO_x=i insert=i ROLLBACK_TO_SAVEPOINT_x=i xid=e");
    mysql("gtid=i BEGIN=i COMMITTED=i COMMIT_x=i ROLLBACK=e");
    mysql("gtid=i BEGIN=i CREATE_TABLE_t_START_TRANSACTION=i map=i rows=i xid=e");
    mysql("gtid=i BEGIN=i intvar=i uservar=i rand=i insert=i beginload=i load=i rowsquery=i view=i xid=e");
    mysql("anonymous=i BEGIN=i rows=i xid=e anonymous=i create_table=e");
    mysql("gtid=i create_table=e gtid=i intvar=i uservar=i create_table=e gtid=i load=e");
    mysql("gtid=i BEGIN=i heartbeat=i heartbeat2=i xid=e heartbeat=b heartbeat2=b");
    mysql("gtid=i payload=e gtid=i incident=e rotate=b");
}

static void mysql_xa(void)
{
    mysql(
        "gtid=i XA_START_X'61',X'',1=i map=i rows=i XA_END_X'61',X'',1=i prepare=e "
          "gtid=i XA_COMMIT_X'61',X'',1=e");
    mysql("gtid=i XA_START_X'61'=i XA_END_X'61'=i prepare=e gtid=i XA_ROLLBACK_X'61'=e");
    mysql("gtid=i XA_START_X'61'=i insert=i SAVEPOINT_x=i XA_END_X'61'=i XA_ROLLBACK_X'61'=e");
    mysql("gtid=i XA_START_X'61'=i XA_START_X'62'=m BEGIN=m payload=m gtid=m prepare=e");
}

static void mysql_without_gtids(void)
{
    struct script s =
        run(FLAVOUR_MYSQL, 25,
            "fde=b BEGIN=i insert=i xid=e create_table=e intvar=i insert=e BEGIN=i rows=i COMMIT=e");
    UNIT_TRUE(!s.t.has_gtid && !s.t.has_gtid_event && s.t.gtid.flavour == FLAVOUR_NONE && s.t.length == 0);
    run(FLAVOUR_MYSQL, 0,
        "beginload=i load=e incident=e rotate=b rows=m map=m xid=m prepare=m payload=m rowsquery=m");
    run(FLAVOUR_MYSQL, 25, "gtid=i create_table=e incident=e rotate=b");
    /* since 5.7 everything has a GTID event, but for an incident */
    run(FLAVOUR_MYSQL, 42, "BEGIN=m create_table=m intvar=m load=m xid=m incident=e");
}

static void mysql_misplaced(void)
{
    mysql(
        "gtid=i gtid=m anonymous=m fde=m rotate=m stop=m previous=m rows=m xid=m prepare=m "
          "rowsquery=m BEGIN=i");
    mysql(
        "gtid=i BEGIN=i BEGIN=m XA_START_x=m gtid=m rotate=m fde=m stop=m prepare=m payload=m "
          "incident=m rows=i xid=e");
    mysql("unknown=u gtid=i unknown=i BEGIN=i unknown=i xid=e ignorable=b gtid=i ignorable=i create=e");
}

static void mariadb_groups(void)
{
    static const char *const scripts[] = {
        "fde=b list=b checkpoint=b group=i annotate=i map=i rows=i xid=e checkpoint=b rotate=b",
        "group=i insert=i COMMIT=e group=i insert=i ROLLBACK=e",
        "group=i SAVEPOINT_x=i insert=i ROLLBACK_TO_x=i compressed=i xid=e",
        "group=i CREATE_TABLE_t=i annotate=i map=i rows=i xid=e",
        "group=i XA_START_x=i rows=i XA_END_x=i prepare=e alone=i XA_COMMIT_x=e",
        "alone=i create_table=e alone=i intvar=i rand=i uservar=i insert=e "
        "alone=i compressed=e alone=i COMMIT=e",
        "group=i beginload=i load=i COMMIT=e alone=i beginload=i load=e",
        "incident=e rotate=b group=i heartbeat=i ignorable=i unknown=i xid=e heartbeat=b "
        "ignorable=b unknown=u",
        "BEGIN=m create_table=m intvar=m xid=m rows=m prepare=m payload=m",
        "group=i group=m alone=m gtid=m list=m checkpoint=m rotate=m fde=m stop=m payload=m incident=m xid=e",
        "alone=i group=m xid=m prepare=m rows=m annotate=m checkpoint=m incident=m create=e",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        run(FLAVOUR_MARIADB, 0, scripts[i]);
    }
    struct script s = run(FLAVOUR_MARIADB, 0, "group=i xid=e incident=e");
    UNIT_TRUE(!s.t.has_gtid);
    s = run(FLAVOUR_MARIADB, 0, "alone=i create=e checkpoint=b");
    char text[GTID_TEXT_SIZE];
    gtid_text(&s.t.gtid, text, sizeof text);
    UNIT_STR(text, "3-9-77");
    UNIT_TRUE(s.t.has_gtid && s.t.flags == (GTID_STANDALONE | GTID_DDL) && s.t.size == 38 + 19 + 13 + 6 + 6);
}

/* Bytes: GTID 73, BEGIN 19+13+6+5 = 43, XID header 19. */
static void length_is_checked(void)
{
    static const struct {
        uint64_t length;
        const char *script;
    } cases[] = {
        {135, "gtid=i BEGIN=i xid=e"},
        {134, "gtid=i BEGIN=i xid=m"},
        {136, "gtid=i BEGIN=i xid=m"},
        {116, "gtid=i BEGIN=m"},
        {73, "gtid=m"},
        {1, "gtid=m"},
        {154, "gtid=i BEGIN=i rows=i xid=e"},
        {154, "gtid=i BEGIN=i heartbeat=i rows=i heartbeat2=i xid=e"},
        {154, "gtid=i BEGIN=i ignorable=i xid=e"},
        {154, "gtid=i BEGIN=i xid=m rows=i xid=e"},
        {92, "gtid=i payload=e"},
        {92, "gtid=i rows=m incident=e"},
        {240, "gtid=i BEGIN=i rows=i xid=m"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct script s = script_for(FLAVOUR_MYSQL, 42);
        s.gtid_length = cases[i].length;
        run_from(&s, cases[i].script);
    }
}

/* A torn tail: the new file's events are refused until the tail is cut. */
static void torn_tail_is_cut(void)
{
    struct script s = run(FLAVOUR_MYSQL, 42, "gtid=i BEGIN=i rows=i rotate=m fde=m");
    UNIT_TRUE(txn_is_open(&s.t));
    txn_reset(&s.t);
    UNIT_TRUE(!txn_is_open(&s.t) && !s.t.has_gtid && s.t.size == 0);
    run_from(&s, "rotate=b fde=b previous=b gtid=i create=e");
}

UNIT_MAIN("txn", UNIT_TEST(samples_split_into_transactions), UNIT_TEST(sets_grow_into_the_next_files),
          UNIT_TEST(mysql_groups), UNIT_TEST(mysql_xa), UNIT_TEST(mysql_without_gtids),
          UNIT_TEST(mysql_misplaced), UNIT_TEST(mariadb_groups), UNIT_TEST(length_is_checked),
          UNIT_TEST(torn_tail_is_cut))
