/* test_upstream: which era another cluster reads from this node, by what it says that it holds. */
#include "node/upstream.h"
#include "protocol/base/mem.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#define U1 "11111111-1111-1111-1111-111111111111"
#define U2 "22222222-2222-2222-2222-222222222222"

struct era {
    uint32_t server_id;
    const char *uuid;
    const char *before;  /* what was held when its first file began */
    const char *first;   /* its two files, of 100 and 200 bytes */
    const char *second;
    const char *between; /* what was held when the second one began */
};

static void add_file(struct state *s, uint64_t era, const char *name, uint64_t last_size, enum flavour flavour, const char *before)
{
    struct gtid_set *set = gtid_set_new(flavour);
    UNIT_INT(gtid_set_parse(set, before, strlen(before), NULL), 0);
    struct filelist *more = filelist_add(s->files, last_size, 0, era, name, set);
    filelist_unref(s->files);
    s->files = more;
    gtid_set_free(set);
}

/* Eras 3, 4, ...: the ones before them were purged. */
static struct state *history(const struct era *eras, size_t n, enum flavour flavour)
{
    struct state *s = state_new();
    s->executed = gtid_set_new(flavour);
    s->eras = mem_grow(s->eras, n, sizeof *s->eras);
    s->n_eras = n;
    for (size_t i = 0; i < n; i++) {
        s->eras[i] = (struct state_era){.id = i + 3, .origin = {.flavour = flavour, .server_id = eras[i].server_id}};
        snprintf(s->eras[i].origin.uuid, sizeof s->eras[i].origin.uuid, "%s", eras[i].uuid);
        add_file(s, i + 3, eras[i].first, i ? 200 : 0, flavour, eras[i].before);
        add_file(s, i + 3, eras[i].second, 100, flavour, eras[i].between);
    }
    return s;
}

static uint64_t reads(const struct state *s, const char *origin, const char *at, const char *start)
{
    struct upstream_asker asker = {origin, at, start};
    const struct state_era *era = upstream_era(s, &asker);
    return era ? era->id : 0;
}

static const struct era mysql[] = {
    {1, U1, "", "a.000001", "a.000002", U1 ":1-10"},
    {2, U2, U1 ":1-20", "b.000005", "b.000006", U1 ":1-30"},
    {1, U1, U1 ":1-40", "a.000007", "a.000008", U1 ":1-45," U2 ":1-3"},
};

static void who_holds_nothing_begins_where_it_wishes(void)
{
    struct state *s = history(mysql, 3, FLAVOUR_MYSQL), *none = state_new();
    UNIT_UINT(reads(none, "0 ", ":0", "oldest"), 0);
    UNIT_UINT(reads(s, NULL, NULL, NULL), 5);
    UNIT_UINT(reads(s, "0 ", ":0", NULL), 3);
    UNIT_UINT(reads(s, "0 ", ":0", ""), 3);
    UNIT_UINT(reads(s, "0 ", ":0", "oldest"), 3);
    UNIT_UINT(reads(s, "0 ", ":0", "now"), 5);
    UNIT_UINT(reads(s, "0 ", ":0", "a.000007"), 5);
    UNIT_UINT(reads(s, "0 ", ":0", U1 ":1-19"), 3);
    UNIT_UINT(reads(s, "0 ", ":0", U1 ":1-20"), 4);
    UNIT_UINT(reads(s, "0 ", ":0", U1 ":1-39," U2 ":1"), 4);
    UNIT_UINT(reads(s, "0 ", ":0", U1 ":1-44"), 5);
    UNIT_UINT(reads(s, "0 ", ":0", U2 ":1-44"), 3);
    state_free(s);
    state_free(none);
}

static void an_era_is_read_to_its_end_first(void)
{
    struct state *s = history(mysql, 3, FLAVOUR_MYSQL);
    UNIT_UINT(reads(s, "1 " U1, "a.000001:100", "oldest"), 3); /* one source in two eras: that which has the file */
    UNIT_UINT(reads(s, "1 " U1, "a.000002:199", "oldest"), 3);
    UNIT_UINT(reads(s, "1 " U1, "a.000002:200", "oldest"), 4); /* all of it */
    UNIT_UINT(reads(s, "1 " U1, "a.000003:4", "oldest"), 5);   /* nobody has it: the newest of its source */
    UNIT_UINT(reads(s, "2 " U2, "b.000006:7", "oldest"), 4);
    UNIT_UINT(reads(s, "2 " U2, "b.000006:200", "oldest"), 5);
    UNIT_UINT(reads(s, "1 " U1, "a.000008:9", "oldest"), 5);
    UNIT_UINT(reads(s, "9 " U1, "a.000001:100", "oldest"), 5); /* nobody here knows that server */
    UNIT_UINT(reads(s, "1 " U1, "nonsense", "oldest"), 5);
    state_free(s);
}

/* A server was followed for a moment, and committed nothing. What is held then leads to the era behind it. */
static void an_empty_era_is_left_out(void)
{
    static const struct era eras[] = {
        {1, U1, "", "a.000001", "a.000002", U1 ":1-10"},
        {2, U2, U1 ":1-20", "b.000005", "b.000006", U1 ":1-20"},
        {3, U1, U1 ":1-20", "c.000001", "c.000002", U1 ":1-30"},
    };
    struct state *s = history(eras, 3, FLAVOUR_MYSQL);
    UNIT_UINT(reads(s, "1 " U1, "a.000002:200", "oldest"), 5);
    state_free(s);
}

static void mariadb_has_positions(void)
{
    static const struct era eras[] = {
        {1, "", "", "a.000001", "a.000002", "0-1-10"},
        {2, "", "0-1-20", "b.000005", "b.000006", "0-1-20,0-2-30"},
        {3, "", "0-1-20,0-2-40", "c.000001", "c.000002", "0-1-20,0-2-40,1-3-1"},
    };
    struct state *s = history(eras, 3, FLAVOUR_MARIADB);
    UNIT_UINT(reads(s, "0 ", ":0", "oldest"), 3);
    UNIT_UINT(reads(s, "0 ", ":0", "0-1-19"), 3);
    UNIT_UINT(reads(s, "0 ", ":0", "0-2-39"), 4);
    UNIT_UINT(reads(s, "0 ", ":0", "0-2-40"), 5);
    UNIT_UINT(reads(s, "0 ", ":0", "1-2-40"), 3);
    UNIT_UINT(reads(s, "1 ", "a.000002:200", "oldest"), 4);
    state_free(s);
}

UNIT_MAIN("upstream", UNIT_TEST(who_holds_nothing_begins_where_it_wishes), UNIT_TEST(an_era_is_read_to_its_end_first),
          UNIT_TEST(an_empty_era_is_left_out), UNIT_TEST(mariadb_has_positions))
