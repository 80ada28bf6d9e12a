/* test_serve_mariadb.c: replicas of a MariaDB source that know little, that went another way, or that want to
 * stop somewhere. What is expected is what MariaDB's own sources send. */
#include "tests/unit/serve_fixture.h"

static void begin_mariadb(unsigned first, unsigned second)
{
    node_begin(FLAVOUR_MARIADB);
    load("mariadb-10.11-all-events", first);
    if (second) {
        load("mariadb-10.11-all-events", second);
    }
    put_files(0, second ? 2 : 1);
    node_serve();
    WAIT_FOR(idle());
}

static bool has_type(const struct client *c, uint8_t type)
{
    return c->types.len && memchr(c->types.data, type, c->types.len) != NULL;
}

/* A client that stands at `state` ("": at the beginning), with more variables. */
static void open_at(struct client *c, const char *state, const char *more)
{
    char text[400];
    (void)client_open(c);
    replica_variables(c);
    snprintf(text, sizeof text, "SET @mariadb_slave_capability=4, @slave_connect_state='%s'%s", state, more);
    UNIT_UINT(client_query(c, text), 0);
}

/* ---- what they do not know ---- */

struct found {
    unsigned begins, dummies, fillers, gtids, lists, checkpoints, annotations;
};

/* Looks into what is stored: the sizes must be those of the file, the texts what a source writes. */
static void look_into(const struct client *c, struct found *f)
{
    *f = (struct found){0};
    for (size_t at = 0; at < c->stored.len;) {
        const uint8_t *event = c->stored.data + at;
        struct event_header h;
        struct event_query q;
        if (!UNIT_INT(event_peek(event, c->stored.len - at, &h, NULL), 0)) {
            return;
        }
        if (h.type == EVENT_QUERY && event_query_read(&c->format, event, h.size, &q, NULL) == 0) {
            bool begin = event_query_is(&q, "BEGIN"), dummy = event_query_begins(&q, "# Dum");
            f->begins += begin;
            f->dummies += dummy;
            UNIT_TRUE(!(begin || dummy) || h.flags & 0x0008);
        }
        f->fillers += h.type == EVENT_USER_VAR && memcmp(event + EVENT_HEADER_SIZE, "\1\0\0\0!\1", 6) == 0;
        f->gtids += h.type == EVENT_MARIADB_GTID;
        f->lists += h.type == EVENT_GTID_LIST;
        f->checkpoints += h.type == EVENT_BINLOG_CHECKPOINT;
        f->annotations += h.type == EVENT_ANNOTATE_ROWS;
        at += h.size;
    }
}

/* And how many bytes of it a replica gets that bears holes. */
static void count_file(const struct binlog *b, int capability, struct found *f, uint64_t *rest)
{
    *f = (struct found){0};
    *rest = b->n - b->events[0].end;
    for (size_t i = 0; i < b->n_events; i++) {
        const struct binlog_event *e = &b->events[i];
        f->gtids += e->type == EVENT_MARIADB_GTID;
        f->lists += e->type == EVENT_GTID_LIST;
        f->checkpoints += e->type == EVENT_BINLOG_CHECKPOINT;
        f->annotations += e->type == EVENT_ANNOTATE_ROWS;
        bool lost = (e->type == EVENT_GTID_LIST && capability < 4) ||
                    (e->type == EVENT_BINLOG_CHECKPOINT && capability < 3) || e->type == EVENT_ANNOTATE_ROWS;
        *rest -= capability >= 2 && lost ? e->end - e->start : 0;
    }
}

/* A file whose transactions are all BEGIN … COMMIT. */
static void replaces_in(unsigned number)
{
    struct found file, f;
    uint64_t rest;
    begin_mariadb(number, 0);
    for (int capability = -1; capability <= 4; capability++) {
        struct client c;
        char text[64];
        count_file(node.files[0], capability, &file, &rest);
        UNIT_REQUIRE(file.gtids >= 1 && file.lists == 1 && file.checkpoints >= 1);
        (void)client_open(&c);
        replica_variables(&c);
        snprintf(text, sizeof text, "SET @mariadb_slave_capability='%d'", capability);
        UNIT_UINT(capability < 0 ? 0 : client_query(&c, text), 0);
        dump_position(&c, "", 4, DUMP_NON_BLOCK);
        wait_end(&c);
        UNIT_TRUE(c.ended && c.crc_ok && c.seq_ok);
        look_into(&c, &f);
        UNIT_UINT(f.begins, capability < 4 ? file.gtids : 0);
        UNIT_UINT(f.gtids, capability < 4 ? 0 : file.gtids);
        UNIT_UINT(f.lists, capability < 4 ? 0 : 1);
        UNIT_UINT(f.checkpoints, capability < 3 ? 0 : file.checkpoints);
        UNIT_UINT(f.annotations, capability == 1 ? file.annotations : 0);
        UNIT_UINT(c.stored.len, rest); /* below 2 the same length, so that positions stay what they are */
        UNIT_UINT(f.dummies + f.fillers,
                  capability >= 2 ? 0 : file.lists + file.checkpoints + (capability < 1 ? file.annotations : 0));
        client_close(&c);
    }
    node_end();
}

static void replaces_what_is_not_known(void)
{
    replaces_in(6); /* with group commit ids: the longer GTID events */
    replaces_in(4); /* without checksums */
}

/* Single statements have no BEGIN; the start of a prepared XA transaction stands in its GTID event alone. */
static void fails_where_nothing_can_stand_for_it(void)
{
    struct client c;
    struct found f;
    begin_mariadb(1, 0);
    (void)client_open(&c);
    replica_variables(&c);
    dump_position(&c, "mysql-bin.000001", 4, DUMP_NON_BLOCK | DUMP_ANNOTATE_ROWS);
    wait_end(&c);
    UNIT_UINT(c.code, ER_DUMP_FATAL);
    UNIT_TRUE(strstr(c.message, "Failed to replace GTID event with backwards-compatible event: corrupt event.") != NULL);
    UNIT_TRUE(strstr(c.message, "the last event read from 'mysql-bin.000001' at 5312") != NULL);
    look_into(&c, &f);
    UNIT_UINT(f.begins, 14);
    UNIT_UINT(f.dummies + f.fillers, 3 + 2); /* DDL; the list and the checkpoint */
    UNIT_TRUE(f.annotations > 0);            /* asked for by the flag */
    client_close(&c);
    node_end();
}

/* ---- who went another way ---- */

static void tells_who_diverged(void)
{
    static const struct {
        const char *state, *more, *text; /* NULL: waits */
    } cases[] = {
        {"0-99-20,5-77-2", "", "requested to start from GTID 0-99-20, which is not in the master's binlog. Since"},
        {"0-31-1008,5-99-1", "", "requested to start from GTID 5-99-1, which is not in the master's binlog. Since"},
        {"0-31-500,5-77-2", ", @slave_gtid_strict_mode=1", "The binlog on the master is missing the GTID 0-31-500"},
        {"0-31-99999,5-77-2", "", NULL}, /* it may have read the source before us */
        {"0-99-2000,5-77-2", "", NULL},
        {"0-31-1008,5-77-2,7-1-1", ", @slave_gtid_strict_mode=1", NULL}, /* a domain that is not known */
    };
    begin_mariadb(1, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        open_at(&c, cases[i].state, cases[i].more);
        UNIT_UINT(client_query(&c, "SET @master_heartbeat_period=5000000"), 0);
        dump_position(&c, "", 4, 0);
        WAIT_FOR(c.code || c.closed || c.heartbeats > 2);
        UNIT_UINT(c.code, cases[i].text ? ER_DUMP_FATAL : 0);
        if (cases[i].text && !UNIT_TRUE(strstr(c.message, cases[i].text) != NULL)) {
            fprintf(stderr, "%s: %s\n", cases[i].state, c.message);
        }
        UNIT_TRUE(cases[i].text || !has_type(&c, EVENT_QUERY));
        client_close(&c);
    }
    node_end();
}

/* Without strict mode numbers that were left out are no matter: what follows is sent. */
static void holes_are_allowed(void)
{
    struct client c;
    begin_mariadb(1, 0);
    open_at(&c, "0-31-500,5-77-2", "");
    dump_position(&c, "", 4, DUMP_NON_BLOCK);
    wait_end(&c);
    UNIT_TRUE(c.ended && !c.code && has_type(&c, EVENT_QUERY));
    client_close(&c);
    node_end();
}

/* A file later the other way is as wrong. */
static void tells_it_in_a_later_file(void)
{
    struct client c;
    begin_mariadb(1, 2);
    open_at(&c, "0-99-20,5-77-2", "");
    dump_position(&c, "", 4, 0);
    wait_end(&c);
    UNIT_UINT(c.code, ER_DUMP_FATAL);
    UNIT_STR(c.rotate_file, "mysql-bin.000002");
    client_close(&c);
    node_end();
}

/* ---- who wants to stop somewhere ---- */

/* The last of own lists says that the end is reached, and names it. */
static void stops_where_it_was_asked_to(void)
{
    static const struct {
        const char *state, *until;
        unsigned transactions;
    } cases[] = {
        {"", "0-31-4", 4},        {"0-31-2", "0-31-4", 2},
        {"0-31-10", "0-31-4", 0}, /* is there already */
        {"", "0-31-500", 31},     /* a number that was left out: before the next one */
        {"", "5-77-2", 2},        /* other domains are not sent */
        {"", "0-31-3,5-31-1", 4},
    };
    begin_mariadb(1, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client c;
        struct found f;
        char until[100];
        snprintf(until, sizeof until, ", @slave_until_gtid='%s'", cases[i].until);
        open_at(&c, cases[i].state, until);
        dump_position(&c, "", 4, 0); /* one that blocks ends all the same */
        wait_end(&c);
        UNIT_TRUE(c.ended && !c.code && c.crc_ok && c.lists >= 1);
        look_into(&c, &f);
        if (!UNIT_UINT(f.gtids, cases[i].transactions)) {
            fprintf(stderr, "from '%s' until '%s'\n", cases[i].state, cases[i].until);
        }
        UNIT_STR(c.last_list, cases[i].until);
        UNIT_UINT(c.last_list_flags, GTID_LIST_UNTIL_REACHED);
        client_close(&c);
    }
    struct client c;
    open_at(&c, "", ", @slave_until_gtid='0-31'");
    dump_position(&c, "", 4, 0);
    wait_end(&c);
    UNIT_UINT(c.code, ER_BAD_GTID_LIST);
    client_close(&c);
    open_at(&c, "", ", @slave_until_gtid='0-31-2000'"); /* comes later */
    UNIT_UINT(client_query(&c, "SET @master_heartbeat_period=5000000"), 0);
    dump_position(&c, "", 4, 0);
    WAIT_FOR(c.ended || c.heartbeats > 2);
    UNIT_TRUE(!c.ended);
    client_close(&c);
    node_end();
}

UNIT_MAIN("serve_mariadb", UNIT_TEST(replaces_what_is_not_known), UNIT_TEST(fails_where_nothing_can_stand_for_it),
          UNIT_TEST(tells_who_diverged), UNIT_TEST(holes_are_allowed), UNIT_TEST(tells_it_in_a_later_file),
          UNIT_TEST(stops_where_it_was_asked_to))
