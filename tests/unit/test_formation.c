/* test_formation: how a cluster is born, and who is refused: each rule of raft/formation.c fails here when it is left out. */
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include "protocol/base/check.h"
#include "raft/formation.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NODES = 3, FRAME_MOST = 1 << 16 };

static struct env *env;
static char dirs[NODES + 1][400];
static struct formation nodes[NODES + 1]; /* by id */
static struct errmsg em;

static void list_of(struct formation_member *list, const char *third)
{
    memset(list, 0, NODES * sizeof *list);
    for (uint64_t i = 0; i < NODES; i++) {
        list[i].id = NODES - i; /* in any order */
        snprintf(list[i].address, sizeof list[i].address, "%s", i == 0 ? third : i == 1 ? "b:1" : "a:1");
    }
}

static int node_open(uint64_t id, uint64_t incarnation, const char *third)
{
    struct formation_member list[NODES];
    list_of(list, third);
    return formation_open(env, dirs[id], id, incarnation, list, NODES, &nodes[id], &em);
}

static void begin(void)
{
    env = test_env_new(1);
    for (uint64_t id = 1; id <= NODES; id++) {
        char path[500];
        snprintf(dirs[id], sizeof dirs[id], "%s/n%d", unit_tmpdir(), (int)id);
        (void)mkdir(dirs[id], 0700);
        snprintf(path, sizeof path, "%s/cluster", dirs[id]);
        (void)unlink(path);
        UNIT_INT(node_open(id, 100 + id, "c:1"), 0);
    }
}

static void end(void)
{
    for (uint64_t id = 1; id <= NODES; id++) {
        formation_close(&nodes[id]);
    }
    test_env_free(env);
}

/* What one says reaches another. */
static int tell(uint64_t from, uint64_t to)
{
    struct buf b;
    enum message_kind kind;
    struct cur body;
    size_t used;
    buf_init(&b, FRAME_MOST);
    formation_put(&nodes[from], &b);
    UNIT_INT(message_next(b.data, b.len, &kind, &body, &used, &em), 1);
    UNIT_INT(kind, MESSAGE_FORM);
    UNIT_INT(formation_says_formed(body), nodes[from].phase == FORMATION_FORMED);
    int rv = formation_heard(&nodes[to], from, &body, &em);
    buf_free(&b);
    return rv;
}

static void all_empty_agree(void)
{
    UNIT_INT(tell(2, 1), 0);
    UNIT_TRUE(!formation_step(&nodes[1]));
    UNIT_INT(nodes[1].phase, FORMATION_EMPTY); /* the third has said nothing yet */
    UNIT_INT(tell(3, 1), 0);
    UNIT_TRUE(!formation_step(&nodes[1]));
    UNIT_INT(nodes[1].phase, FORMATION_PREPARED);
}

static void it_forms_when_all_are_prepared(void)
{
    begin();
    all_empty_agree();
    UNIT_INT(tell(1, 2), 0);
    UNIT_INT(nodes[2].phase, FORMATION_PREPARED);
    UNIT_STR(nodes[2].cluster, nodes[1].cluster);
    UNIT_UINT(nodes[2].members[2].incarnation, 103);
    UNIT_INT(tell(2, 1), 0);
    UNIT_TRUE(!formation_step(&nodes[1])); /* the third has not stored it */
    UNIT_INT(tell(1, 3), 0);
    UNIT_INT(tell(3, 1), 0);
    UNIT_TRUE(formation_step(&nodes[1]));
    formation_formed(&nodes[1]);
    UNIT_INT(tell(1, 2), 0);
    UNIT_TRUE(formation_step(&nodes[2])); /* one that is through is proof enough */
    end();
}

/* Only the member with the lowest id names the cluster, and it waits for everybody. */
static void nobody_else_prepares(void)
{
    begin();
    UNIT_INT(tell(1, 2), 0);
    UNIT_INT(tell(3, 2), 0);
    UNIT_TRUE(!formation_step(&nodes[2]));
    UNIT_INT(nodes[2].phase, FORMATION_EMPTY);
    nodes[3].phase = FORMATION_PREPARED;
    nodes[3].members[1].incarnation = 102;
    snprintf(nodes[3].cluster, sizeof nodes[3].cluster, "made up");
    UNIT_INT(tell(3, 2), 0);
    UNIT_INT(nodes[2].phase, FORMATION_EMPTY);
    end();
}

static void it_goes_on_where_it_was(void)
{
    char name[UUID_TEXT_SIZE];
    begin();
    all_empty_agree();
    UNIT_INT(tell(1, 2), 0);
    memcpy(name, nodes[1].cluster, sizeof name);
    for (uint64_t id = 1; id <= 2; id++) {
        formation_close(&nodes[id]);
        UNIT_INT(node_open(id, 100 + id, "c:1"), 0);
        UNIT_INT(nodes[id].phase, FORMATION_PREPARED);
        UNIT_STR(nodes[id].cluster, name);
    }
    formation_close(&nodes[3]);
    UNIT_INT(node_open(3, 103, "c:1"), 0);
    UNIT_INT(nodes[3].phase, FORMATION_EMPTY); /* its word was stored before it was given */
    UNIT_INT(tell(1, 3), 0);
    UNIT_INT(nodes[3].phase, FORMATION_PREPARED);
    end();
}

static void another_list_is_refused(void)
{
    begin();
    formation_close(&nodes[3]);
    UNIT_INT(node_open(3, 103, "d:1"), 0); /* the configuration was corrected: it is EMPTY still */
    UNIT_INT(tell(3, 1), E_INVALID);
    UNIT_TRUE(strstr(em.text, "initial_cluster") != NULL);
    UNIT_INT(tell(2, 1), 0);
    UNIT_TRUE(!formation_step(&nodes[1]));
    UNIT_INT(nodes[1].phase, FORMATION_EMPTY);
    end();
}

/* A member that is empty when the cluster exists has lost its data: it must not vote. */
static void an_empty_one_is_refused_by_a_formed_cluster(void)
{
    begin();
    all_empty_agree();
    formation_formed(&nodes[1]);
    UNIT_INT(tell(1, 3), E_EXISTS);
    UNIT_TRUE(strstr(em.text, "holdfast member replace 3") != NULL);
    UNIT_INT(nodes[3].phase, FORMATION_EMPTY);
    end();
}

static void a_formed_cluster_is_not_formed_again(void)
{
    begin();
    nodes[2].phase = FORMATION_FORMED;
    snprintf(nodes[2].cluster, sizeof nodes[2].cluster, "another one");
    nodes[1].heard[1].phase = FORMATION_FORMED;
    UNIT_INT(tell(3, 1), 0);
    UNIT_TRUE(!formation_step(&nodes[1]));
    UNIT_INT(nodes[1].phase, FORMATION_EMPTY);
    end();
}

/* One loses its directory while the others are prepared, with its old incarnation. */
static void a_directory_lost_in_between_is_told(void)
{
    char path[500];
    begin();
    all_empty_agree();
    formation_close(&nodes[3]);
    snprintf(path, sizeof path, "%s/cluster", dirs[3]);
    UNIT_INT(unlink(path), 0);
    UNIT_INT(node_open(3, 999, "c:1"), 0);
    UNIT_INT(tell(3, 1), E_INVALID);
    UNIT_TRUE(strstr(em.text, "lost its data directory") != NULL);
    UNIT_INT(tell(1, 3), 0); /* which means the older directory: it does not prepare */
    UNIT_INT(nodes[3].phase, FORMATION_EMPTY);
    end();
}

static void another_nodes_directory_is_refused(void)
{
    begin();
    formation_close(&nodes[2]);
    all_empty_agree();
    formation_close(&nodes[1]);
    UNIT_INT(node_open(1, 555, "c:1"), E_INVALID);
    UNIT_TRUE(strstr(em.text, "Replace the member") != NULL);
    test_env_free(env);
    formation_close(&nodes[3]);
}

static void damage_is_found(void)
{
    char path[500];
    begin();
    all_empty_agree();
    formation_close(&nodes[1]);
    snprintf(path, sizeof path, "%s/cluster", dirs[1]);
    FILE *file = fopen(path, "r+");
    UNIT_REQUIRE(file != NULL);
    fseek(file, 13, SEEK_SET);
    int was = fgetc(file);
    fseek(file, 13, SEEK_SET);
    fputc(was ^ 1, file);
    fclose(file);
    UNIT_INT(node_open(1, 101, "c:1"), E_CORRUPT);
    UNIT_TRUE(strstr(em.text, "replace the member") != NULL);
    UNIT_INT(truncate(path, 3), 0);
    UNIT_INT(node_open(1, 101, "c:1"), E_CORRUPT);
    formation_close(&nodes[2]);
    formation_close(&nodes[3]);
    test_env_free(env);
}

static void garbage_is_refused(void)
{
    struct buf b;
    enum message_kind kind;
    struct cur body;
    size_t used;
    begin();
    buf_init(&b, FRAME_MOST);
    formation_put(&nodes[2], &b);
    UNIT_INT(message_next(b.data, b.len, &kind, &body, &used, &em), 1);
    size_t whole = (size_t)(body.end - body.p);
    for (size_t n = 0; n < whole; n++) {
        struct cur cut = cur_of(body.p, n);
        UNIT_INT(formation_heard(&nodes[1], 2, &cut, &em), E_MALFORMED);
    }
    uint8_t more[1000];
    UNIT_REQUIRE(whole < sizeof more);
    memcpy(more, body.p, whole);
    more[whole] = 0;
    struct cur longer = cur_of(more, whole + 1);
    UNIT_INT(formation_heard(&nodes[1], 2, &longer, &em), E_MALFORMED);
    UNIT_INT(formation_heard(&nodes[1], 2, &body, &em), 0);
    buf_free(&b);
    end();
}

/* Its cluster has said so: nothing undoes it, and nobody is told. */
static void one_that_is_removed_stays_so(void)
{
    begin();
    all_empty_agree();
    formation_formed(&nodes[1]);
    formation_removed(&nodes[1], "node 1 was removed");
    formation_removed(&nodes[1], "or not");
    UNIT_INT(nodes[1].phase, FORMATION_FORMED); /* until it ends */
    formation_joined(&nodes[1], nodes[1].cluster, nodes[1].members, 2);
    formation_formed(&nodes[1]);
    formation_close(&nodes[1]);
    UNIT_INT(node_open(1, 101, "c:1"), 0);
    UNIT_INT(nodes[1].phase, FORMATION_REMOVED);
    UNIT_STR(nodes[1].removed, "node 1 was removed");
    UNIT_INT(tell(1, 2), E_MALFORMED);
    formation_removed(&nodes[2], "");
    formation_close(&nodes[2]);
    UNIT_INT(node_open(2, 102, "c:1"), 0);
    UNIT_INT(nodes[2].phase, FORMATION_REMOVED);
    UNIT_TRUE(nodes[2].removed[0]);
    end();
}

static void addresses_come_back(void)
{
    struct formation_member m = {.id = 7, .incarnation = 0xabc, .address = "[::1]:4307"}, got = {.id = 9};
    char text[FORMATION_ADDRESS + 32];
    formation_address(&m, text, sizeof text);
    UNIT_STR(text, "[::1]:4307/0000000000000abc");
    UNIT_INT(formation_address_parse(text, &got), 0);
    UNIT_STR(got.address, m.address);
    UNIT_UINT(got.incarnation, m.incarnation);
    UNIT_UINT(got.id, 9);
    UNIT_INT(formation_address_parse("a:1", &got), E_INVALID);
    UNIT_INT(formation_address_parse("a:1/0", &got), E_INVALID);
    UNIT_INT(formation_address_parse("a:1/12x", &got), E_INVALID);
}

UNIT_MAIN("formation", UNIT_TEST(it_forms_when_all_are_prepared), UNIT_TEST(nobody_else_prepares), UNIT_TEST(it_goes_on_where_it_was),
          UNIT_TEST(another_list_is_refused), UNIT_TEST(an_empty_one_is_refused_by_a_formed_cluster),
          UNIT_TEST(a_formed_cluster_is_not_formed_again), UNIT_TEST(a_directory_lost_in_between_is_told),
          UNIT_TEST(another_nodes_directory_is_refused), UNIT_TEST(damage_is_found), UNIT_TEST(garbage_is_refused),
          UNIT_TEST(one_that_is_removed_stays_so), UNIT_TEST(addresses_come_back))
