/* test_serve_need.c: which files this node's own replicas need (node/purge.h): those that read, those that
 * have left, and those of whom it is not known. The replicated state has three files; how many of them are in
 * the store is each test's. */
#include "tests/unit/serve_fixture.h"

#include "node/purge.h"
#include "node/settings.h"
#include "raft/cluster_impl.h"
#include "storage/filelist.h"

enum { FILES = 3, UP_S = 61 /* longer than anybody's return is waited for */ };

static const char *const NAMES[FILES] = {"mysql-bin.000001", "mysql-bin.000002", "mysql-bin.000003"};

static uint64_t set_at;

static void set(enum setting_id id, const char *value)
{
    struct state_effect effect;
    struct buf entry;
    buf_init(&entry, 4096);
    entry_put_setting(&entry, SETTINGS_TABLE[id].name, value);
    UNIT_INT(state_apply(node.control.cluster->state, ++set_at, entry.data, entry.len, &effect), 0);
    UNIT_INT(effect.status, 0);
    buf_free(&entry);
}

/* No replica is settled here: with a margin what lies before its place counts, too. So there is none. */
static void need_begin(size_t in_store)
{
    node_begin(FLAVOUR_MYSQL);
    struct cluster *c = mem_new(sizeof *c);
    c->state = state_new();
    node.control.cluster = c;
    node.control.started_wall -= UP_S * 1000000ull;
    for (unsigned i = 0; i < FILES; i++) {
        load("mysql-9.7-all-events", i + 1);
        uint64_t size = i ? node.files[i - 1]->n : 0; /* of the one before */
        struct filelist *list = filelist_add(c->state->files, size, 0, 1, NAMES[i], NULL);
        filelist_unref(c->state->files);
        c->state->files = list;
    }
    set_at = 0;
    set(SETTING_ID_replica_margin, "0");
    put_files(0, in_store);
    node_serve();
    WAIT_FOR(idle());
}

static void need_end(void)
{
    struct cluster *c = node.control.cluster;
    node_end();
    state_free(c->state);
    mem_free(c);
}

/* The file; "": none. */
static const char *need(void)
{
    static struct cluster_need n;
    purge_own_need(&node.control, &n);
    return n.era ? n.name : "";
}

static bool named(const char *text)
{
    struct cluster_need n;
    purge_own_need(&node.control, &n);
    return strstr(n.who, text) != NULL;
}

static void look(void *arg, const struct serve_replica *replica)
{
    struct serve_replica *sought = arg;
    if (replica->connection_id == sought->connection_id) {
        *sought = *replica;
    }
}

/* A client's dump; since_wall 0: it has none that goes on. */
static struct serve_replica dump_of(const struct client *c)
{
    struct serve_replica replica = {.connection_id = c->id};
    serve_each_replica(node.serve, look, &replica);
    return replica;
}

static void register_as(struct client *c, uint32_t server_id)
{
    struct register_slave r = {.server_id = server_id, .host = "here", .port = 3306};
    result_reset(&c->result);
    command_put_register_slave(c->wire, &r);
    client_flush(c);
    WAIT_FOR(c->answered);
    UNIT_INT(c->answer, RESULT_DONE);
    c->answered = false;
}

/* A dump from the beginning of a file. */
static void reads(struct client *c, uint32_t server_id, bool registered, const char *file)
{
    struct binlog_dump d = {.server_id = server_id, .pos = 4};
    (void)client_open(c);
    replica_variables(c);
    if (registered) {
        register_as(c, server_id);
    }
    snprintf(d.file, sizeof d.file, "%s", file);
    client_dump(c, &d);
}

/* Until it has been sent all of file `at`. */
static void reads_all_of(struct client *c, uint32_t server_id, bool registered, size_t at)
{
    reads(c, server_id, registered, NAMES[at]);
    WAIT_FOR(dump_of(c).era && !strcmp(dump_of(c).file, NAMES[at]));
    WAIT_FOR(dump_of(c).position == node.files[at]->n);
}

static void leaves(struct client *c)
{
    uint32_t id = c->id;
    client_close(c);
    WAIT_FOR(!serve_has_session(node.serve, id));
}

/* As long as it is not known where a replica will read it may be anywhere; one that waits for what is not
 * there yet needs nothing. */
static void an_unknown_place_is_everywhere_and_a_future_one_nowhere(void)
{
    struct gtid_set *none = gtid_set_new(FLAVOUR_MYSQL);
    struct client by_gtid, by_position;
    need_begin(0);
    UNIT_STR(need(), "");
    reads(&by_position, 8, true, NAMES[1]);
    WAIT_FOR(dump_of(&by_position).waits);
    UNIT_STR(need(), "");
    (void)client_open(&by_gtid);
    replica_variables(&by_gtid);
    register_as(&by_gtid, 102);
    dump_gtid(&by_gtid, none, 0, "");
    WAIT_FOR(dump_of(&by_gtid).since_wall);
    UNIT_TRUE(!dump_of(&by_gtid).era && !dump_of(&by_gtid).waits);
    UNIT_STR(need(), NAMES[0]);
    UNIT_TRUE(named("server_id 102"));
    leaves(&by_gtid);
    UNIT_STR(need(), ""); /* of a place that never was known nothing is remembered */
    leaves(&by_position);
    UNIT_STR(need(), "");
    gtid_set_free(none);
    need_end();
}

/* What it needed before counts until it is known where it reads now. */
static void one_that_came_back_needs_what_it_needed(void)
{
    struct client c, again;
    need_begin(2);
    reads_all_of(&c, 7, true, 1);
    UNIT_STR(need(), NAMES[1]);
    UNIT_TRUE(named("server_id 7 here") && !named("left"));
    leaves(&c);
    UNIT_STR(need(), NAMES[1]);
    UNIT_TRUE(named("server_id 7 here (that left)"));
    reads(&again, 7, true, NAMES[2]);
    WAIT_FOR(dump_of(&again).waits);
    UNIT_STR(need(), NAMES[1]);
    UNIT_TRUE(named("(that left)"));
    put_files(2, 1);
    WAIT_FOR(dump_of(&again).era);
    UNIT_STR(need(), ""); /* the newest stays in any case */
    client_close(&again);
    need_end();
}

/* The same with a dump that goes on when its replica begins another one. */
static void one_that_was_replaced_needs_what_it_needed(void)
{
    struct client c, instead;
    need_begin(2);
    reads_all_of(&c, 7, true, 1);
    reads(&instead, 7, true, NAMES[2]);
    WAIT_FOR(c.closed && !serve_has_session(node.serve, c.id));
    WAIT_FOR(dump_of(&instead).waits);
    UNIT_STR(need(), NAMES[1]);
    UNIT_TRUE(named("server_id 7 here (that left)"));
    put_files(2, 1);
    WAIT_FOR(dump_of(&instead).era);
    UNIT_STR(need(), "");
    client_close(&c);
    client_close(&instead);
    need_end();
}

/* Another replica's return says nothing of this one. */
static void one_that_left_is_not_forgotten_for_another(void)
{
    struct client c, other;
    need_begin(2);
    reads_all_of(&c, 7, true, 1);
    leaves(&c);
    reads(&other, 8, true, NAMES[2]);
    WAIT_FOR(dump_of(&other).waits);
    put_files(2, 1);
    WAIT_FOR(dump_of(&other).era);
    UNIT_STR(need(), NAMES[1]);
    UNIT_TRUE(named("server_id 7 here (that left)"));
    set(SETTING_ID_replica_grace, "0"); /* for longer than that nobody is remembered */
    UNIT_STR(need(), "");
    client_close(&other);
    need_end();
}

/* Programs that read and go are none. */
static void one_that_did_not_register_is_not_waited_for(void)
{
    struct client c;
    need_begin(2);
    reads_all_of(&c, 7, false, 1);
    UNIT_STR(need(), NAMES[1]);
    leaves(&c);
    UNIT_STR(need(), "");
    need_end();
}

/* Of what was sent to a replica that is not settled as much as the margin may be lost. */
static void what_may_be_lost_on_its_way_stays(void)
{
    struct client c;
    need_begin(3);
    reads_all_of(&c, 7, true, 2);
    size_t newest = node.files[2]->n, both = newest + node.files[1]->n;
    const struct {
        size_t margin;
        const char *need;
    } margins[] = {{0, ""},           {newest, ""},         {newest + 1, NAMES[1]},
                   {both, NAMES[1]}, {both + 1, NAMES[0]}, {1 << 30, NAMES[0]}};
    for (size_t i = 0; i < sizeof margins / sizeof *margins; i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu", margins[i].margin);
        set(SETTING_ID_replica_margin, text);
        UNIT_STR(need(), margins[i].need);
    }
    client_close(&c);
    need_end();
}

/* It does not know who will come back. */
static void a_node_that_was_just_started_needs_all(void)
{
    need_begin(0);
    UNIT_STR(need(), "");
    node.control.started_wall = env_wall(env);
    UNIT_STR(need(), NAMES[0]);
    UNIT_TRUE(named("any that comes back"));
    set(SETTING_ID_replica_grace, "0"); /* nobody is waited for */
    UNIT_STR(need(), "");
    need_end();
}

UNIT_MAIN("serve_need", UNIT_TEST(an_unknown_place_is_everywhere_and_a_future_one_nowhere),
          UNIT_TEST(one_that_came_back_needs_what_it_needed),
          UNIT_TEST(one_that_was_replaced_needs_what_it_needed),
          UNIT_TEST(one_that_left_is_not_forgotten_for_another),
          UNIT_TEST(one_that_did_not_register_is_not_waited_for),
          UNIT_TEST(what_may_be_lost_on_its_way_stays),
          UNIT_TEST(a_node_that_was_just_started_needs_all))
