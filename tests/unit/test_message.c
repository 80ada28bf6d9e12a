/* test_message: what members say to each other: everything comes back as it was sent; what is cut, changed or too long is refused. */
#include "tests/unit/unit.h"

#include "protocol/base/crc.h"
#include "raft/configuration.h"
#include "raft/formation.h"
#include "raft/message.h"

#include <stdio.h>
#include <string.h>

enum { MOST = 1 << 20 };

static struct buf frame;

static void begin(void)
{
    buf_free(&frame);
    buf_init(&frame, MOST);
}

static void decode(enum message_kind want, struct raft_message *m)
{
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used = 0;
    memset(m, 0xaa, sizeof *m);
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_UINT(used, frame.len);
    UNIT_INT(kind, want);
    UNIT_INT(message_raft_get(kind, &body, m), 0);
}

static struct cur body_of(enum message_kind want)
{
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used = 0;
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_INT(kind, want);
    return body;
}

static void appends_come_back(void)
{
    char a[8] = "eight..", b[24] = {1, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 'a', ':', '1', '/', '1', 0, RAFT_VOTER}; /* one member */
    struct raft_entry entries[2] = {{.term = 3, .type = RAFT_COMMAND, .buf = {a, sizeof a}}, {.term = 4, .type = RAFT_CHANGE, .buf = {b, sizeof b}}};
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES}, got;
    m.append_entries = (struct raft_append_entries){
        .term = 5, .prev_log_index = 6, .prev_log_term = 4, .leader_commit = 7, .entries = entries, .n_entries = 2};
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 2));
    decode(MESSAGE_APPEND, &got);
    UNIT_UINT(got.append_entries.term, 5);
    UNIT_UINT(got.append_entries.prev_log_index, 6);
    UNIT_UINT(got.append_entries.prev_log_term, 4);
    UNIT_UINT(got.append_entries.leader_commit, 7);
    UNIT_UINT(got.append_entries.n_entries, 2);
    UNIT_UINT(got.append_entries.entries[1].term, 4);
    UNIT_INT(got.append_entries.entries[1].type, RAFT_CHANGE);
    UNIT_UINT(got.append_entries.entries[1].buf.len, sizeof b);
    UNIT_MEM(got.append_entries.entries[1].buf.base, b, sizeof b);
    message_raft_free(&got);
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 0)); /* a heartbeat, or the part that fits */
    decode(MESSAGE_APPEND, &got);
    UNIT_UINT(got.append_entries.n_entries, 0);
    message_raft_free(&got);
}

/* libraft would read beyond its end. */
static void members_that_cannot_be_are_refused(void)
{
    char bad[24] = {1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 'a', ':', '1', '/', '1', 0, RAFT_VOTER}; /* two, it says */
    struct raft_entry entry = {.term = 3, .type = RAFT_CHANGE, .buf = {bad, sizeof bad}};
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES}, got;
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used;
    m.append_entries = (struct raft_append_entries){.term = 5, .prev_log_index = 6, .prev_log_term = 3, .entries = &entry, .n_entries = 1};
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 1));
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_INT(message_raft_get(kind, &body, &got), E_MALFORMED);
}

static void joining_comes_back(void)
{
    struct message_join j = {.level = 2, .id = 4, .incarnation = 99, .cluster = "c1"}, j2;
    struct message_join_answer a = {.verdict = JOIN_YES, .leader = 1, .cluster = "c1", .text = "why", .n = 2}, a2;
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used;
    begin();
    message_join_put(&frame, &j);
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_INT(kind, MESSAGE_JOIN);
    UNIT_INT(message_join_get(&body, &j2), 0);
    UNIT_UINT(j2.incarnation, 99);
    UNIT_STR(j2.cluster, "c1");
    a.members[0] = (struct message_member){.id = 1, .incarnation = 5, .address = "a:1"};
    a.members[1] = (struct message_member){.id = 4, .incarnation = 6, .address = "d:1"};
    begin();
    message_join_answer_put(&frame, &a);
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_INT(message_join_answer_get(&body, &a2), 0);
    UNIT_INT(a2.verdict, JOIN_YES);
    UNIT_UINT(a2.n, 2);
    UNIT_STR(a2.members[1].address, "d:1");
    a.members[1].incarnation = 0; /* one that is awaited is none */
    begin();
    message_join_answer_put(&frame, &a);
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_INT(message_join_answer_get(&body, &a2), E_MALFORMED);
}

/* A data directory is known by its random part: a counter alone is nobody's. */
static void who_asks_to_join_says_who_it_is(void)
{
    static const struct {
        uint64_t id, incarnation;
        int rv;
    } asks[] = {{4, 1, 0},
                {4, INCARNATION_RANDOM(UINT64_MAX), 0},
                {4, UINT64_MAX, 0},
                {4, 3ull << INCARNATION_RANDOM_BITS | 1, 0},
                {0, 1, E_MALFORMED},
                {4, 0, E_MALFORMED},
                {4, 1ull << INCARNATION_RANDOM_BITS, E_MALFORMED},
                {4, (uint64_t)INCARNATION_COUNTER_MAX << INCARNATION_RANDOM_BITS, E_MALFORMED}};
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        struct message_join j = {.level = 2, .id = asks[i].id, .incarnation = asks[i].incarnation, .cluster = "c1"}, got;
        begin();
        message_join_put(&frame, &j);
        struct cur body = body_of(MESSAGE_JOIN);
        UNIT_INT(message_join_get(&body, &got), asks[i].rv);
    }
}

static void answers_and_votes_come_back(void)
{
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES_RESULT}, got;
    m.append_entries_result = (struct raft_append_entries_result){.term = 9, .rejected = 8, .last_log_index = 7};
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 0));
    decode(MESSAGE_APPEND_RESULT, &got);
    UNIT_UINT(got.append_entries_result.term, 9);
    UNIT_UINT(got.append_entries_result.rejected, 8);
    UNIT_UINT(got.append_entries_result.last_log_index, 7);
    m = (struct raft_message){.type = RAFT_IO_REQUEST_VOTE};
    m.request_vote = (struct raft_request_vote){.term = 2, .candidate_id = 3, .last_log_index = 4, .last_log_term = 1, .disrupt_leader = true, .pre_vote = true};
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 0));
    decode(MESSAGE_VOTE, &got);
    UNIT_UINT(got.request_vote.term, 2);
    UNIT_UINT(got.request_vote.candidate_id, 3);
    UNIT_UINT(got.request_vote.last_log_index, 4);
    UNIT_UINT(got.request_vote.last_log_term, 1);
    UNIT_TRUE(got.request_vote.disrupt_leader && got.request_vote.pre_vote);
    m = (struct raft_message){.type = RAFT_IO_REQUEST_VOTE_RESULT};
    m.request_vote_result.term = 6;
    m.request_vote_result.vote_granted = true;
    m.request_vote_result.pre_vote = raft_tribool_false;
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 0));
    decode(MESSAGE_VOTE_RESULT, &got);
    UNIT_UINT(got.request_vote_result.term, 6);
    UNIT_TRUE(got.request_vote_result.vote_granted);
    UNIT_INT(got.request_vote_result.pre_vote, raft_tribool_false);
}

/* A snapshot is offered without its data; a configuration that cannot be is refused. */
static void offers_come_back(void)
{
    char data[] = "manifest";
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT}, got;
    struct raft_install_snapshot *s = &m.install_snapshot;
    uint32_t sum = 0;
    *s = (struct raft_install_snapshot){.term = 9, .last_index = 77, .last_term = 8, .conf_index = 5, .data = {data, 8}};
    raft_configuration_init(&s->conf);
    UNIT_INT(raft_configuration_add(&s->conf, 1, "a:1/1", RAFT_VOTER), 0);
    UNIT_INT(raft_configuration_add(&s->conf, 3, "c:1/9", RAFT_STANDBY), 0);
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 0));
    struct cur body = body_of(MESSAGE_OFFER);
    UNIT_INT(message_offer_get(&body, &got, &sum), 0);
    const struct raft_install_snapshot *g = &got.install_snapshot;
    UNIT_TRUE(g->term == 9 && g->last_index == 77 && g->last_term == 8 && g->conf_index == 5);
    UNIT_TRUE(g->data.len == 8 && !g->data.base && sum == crc32c_of(0, data, 8));
    UNIT_TRUE(g->conf.n == 2 && g->conf.servers[1].id == 3 && g->conf.servers[1].role == RAFT_STANDBY && !strcmp(g->conf.servers[1].address, "c:1/9"));
    raft_configuration_close(&got.install_snapshot.conf);
    static const uint8_t bad[][2] = {{0, 77}, {8, 0}, {16, 10}, {24, 78}}; /* term 0, index 0, a term behind the leader's, members from behind the snapshot */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin();
        UNIT_TRUE(message_raft_put(&frame, &m, 0));
        body = body_of(MESSAGE_OFFER);
        ((uint8_t *)(uintptr_t)body.p)[bad[i][0]] = i == 0 ? 0 : bad[i][1];
        UNIT_INT(message_offer_get(&body, &got, &sum), E_MALFORMED);
    }
    s->conf.servers[1].id = 1; /* twice */
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 0));
    body = body_of(MESSAGE_OFFER);
    UNIT_INT(message_offer_get(&body, &got, &sum), E_MALFORMED);
    raft_configuration_close(&s->conf);
}

static int offer_of(struct raft_message *m, unsigned n)
{
    struct raft_message got;
    uint32_t sum;
    m->install_snapshot.conf.n = n;
    begin();
    UNIT_TRUE(message_raft_put(&frame, m, 0));
    struct cur body = body_of(MESSAGE_OFFER);
    int rv = message_offer_get(&body, &got, &sum);
    if (!rv) {
        raft_configuration_close(&got.install_snapshot.conf);
    }
    return rv;
}

/* What a leader offers is stored, and must be readable at the next start. */
static void offers_of_members_that_cannot_be_are_refused(void)
{
    char data[] = "manifest", address[CONFIGURATION_ADDRESS + 1];
    struct raft_server servers[CONFIGURATION_MAX + 1];
    char addresses[CONFIGURATION_MAX + 1][16];
    struct raft_message m = {.type = RAFT_IO_INSTALL_SNAPSHOT};
    struct raft_install_snapshot *s = &m.install_snapshot;
    *s = (struct raft_install_snapshot){.term = 9, .last_index = 77, .last_term = 8, .conf_index = 5, .data = {data, 8}};
    for (unsigned i = 0; i <= CONFIGURATION_MAX; i++) {
        snprintf(addresses[i], sizeof addresses[i], "a:%u/1", i + 1);
        servers[i] = (struct raft_server){.id = i + 1, .address = addresses[i], .role = RAFT_VOTER};
    }
    s->conf.servers = servers;
    UNIT_INT(offer_of(&m, CONFIGURATION_MAX), 0);
    UNIT_INT(offer_of(&m, CONFIGURATION_MAX + 1), E_MALFORMED);
    UNIT_INT(offer_of(&m, 0), E_MALFORMED);
    servers[0].id = 0;
    UNIT_INT(offer_of(&m, 1), E_MALFORMED);
    servers[0].id = 1;
    servers[0].role = 3;
    UNIT_INT(offer_of(&m, 1), E_MALFORMED);
    servers[0].role = RAFT_SPARE;
    memset(address, 'a', sizeof address);
    address[CONFIGURATION_ADDRESS] = 0;
    servers[0].address = address;
    UNIT_INT(offer_of(&m, 1), E_MALFORMED);
    servers[0].address = address + 1;
    UNIT_INT(offer_of(&m, 1), 0);
    servers[0].address = address + CONFIGURATION_ADDRESS;
    UNIT_INT(offer_of(&m, 1), E_MALFORMED);
}

static void pieces_come_back(void)
{
    struct message_fetch f = {.ticket = 3, .manifest = 0, .era = 2, .name = "bin.000001", .offset = 1000, .n = 500}, g;
    struct message_piece p = {.ticket = 3, .status = PIECE_HERE, .data = (const uint8_t *)"bytes", .n = 5}, q;
    begin();
    message_fetch_put(&frame, &f);
    struct cur body = body_of(MESSAGE_FETCH);
    UNIT_INT(message_fetch_get(&body, &g), 0);
    UNIT_TRUE(g.ticket == 3 && g.era == 2 && !strcmp(g.name, "bin.000001") && g.offset == 1000 && g.n == 500);
    f.n = MESSAGE_PIECE_MAX + 1;
    begin();
    message_fetch_put(&frame, &f);
    body = body_of(MESSAGE_FETCH);
    UNIT_INT(message_fetch_get(&body, &g), E_MALFORMED);
    f.n = 500;
    f.offset = UINT64_MAX - 499;
    begin();
    message_fetch_put(&frame, &f);
    body = body_of(MESSAGE_FETCH);
    UNIT_INT(message_fetch_get(&body, &g), E_MALFORMED);
    begin();
    message_piece_put(&frame, &p);
    body = body_of(MESSAGE_PIECE);
    UNIT_INT(message_piece_get(&body, &q), 0);
    UNIT_TRUE(q.ticket == 3 && q.status == PIECE_HERE && q.n == 5 && !memcmp(q.data, "bytes", 5));
    begin(); /* fewer came than there was room for */
    uint8_t *to = message_piece_room(&frame, 4, 500);
    UNIT_REQUIRE(to != NULL);
    memcpy(to, "other bytes", 11);
    message_piece_filled(&frame, 11);
    body = body_of(MESSAGE_PIECE);
    UNIT_INT(message_piece_get(&body, &q), 0);
    UNIT_TRUE(q.ticket == 4 && q.status == PIECE_HERE && q.n == 11 && !memcmp(q.data, "other bytes", 11));
}

static void hello_comes_back(void)
{
    struct message_hello hello = {.level = 1, .from = 2, .to = 3, .incarnation = 4, .to_incarnation = 5, .list = 6, .term = 7, .last_stored = 8}, got;
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used;
    memcpy(hello.cluster, "72148114-f304-4edf-83a1-0438286d19dc", UUID_TEXT_SIZE);
    begin();
    message_hello_put(&frame, MESSAGE_HELLO, &hello);
    UNIT_INT(message_next(frame.data, frame.len, &kind, &body, &used, &em), 1);
    UNIT_INT(kind, MESSAGE_HELLO);
    memset(&got, 0, sizeof got);
    UNIT_INT(message_hello_get(&body, &got), 0);
    UNIT_STR(got.cluster, hello.cluster);
    UNIT_UINT(got.from, 2);
    UNIT_UINT(got.to, 3);
    UNIT_UINT(got.incarnation, 4);
    UNIT_UINT(got.to_incarnation, 5);
    UNIT_UINT(got.list, 6);
    UNIT_UINT(got.term, 7);
    UNIT_UINT(got.last_stored, 8);
}

/* Of a frame that is not whole more is awaited; of one that was changed nothing is believed. */
static void damage_is_noticed(void)
{
    char data[8] = "entry..";
    struct raft_entry entry = {.term = 3, .type = RAFT_COMMAND, .buf = {data, sizeof data}};
    struct raft_message m = {.type = RAFT_IO_APPEND_ENTRIES}, got;
    enum message_kind kind;
    struct cur body;
    struct errmsg em;
    size_t used;
    m.append_entries = (struct raft_append_entries){.term = 5, .prev_log_index = 6, .prev_log_term = 4, .entries = &entry, .n_entries = 1};
    begin();
    UNIT_TRUE(message_raft_put(&frame, &m, 1));
    for (size_t n = 0; n < frame.len; n++) {
        UNIT_INT(message_next(frame.data, n, &kind, &body, &used, &em), 0);
    }
    for (size_t i = 0; i < frame.len * 8; i++) {
        bool spare = i / 8 >= MESSAGE_HEAD - 4 && i / 8 < MESSAGE_HEAD; /* of the head; means nothing yet */
        frame.data[i / 8] ^= (uint8_t)(1u << i % 8);
        UNIT_TRUE(spare || message_next(frame.data, frame.len, &kind, &body, &used, &em) != 1);
        frame.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < frame.len - MESSAGE_HEAD; n++) { /* a body that ends too early, rightly summed up */
        body = cur_of(frame.data + MESSAGE_HEAD, n);
        UNIT_INT(message_raft_get(MESSAGE_APPEND, &body, &got), E_MALFORMED);
    }
    buf_u8(&frame, 0);
    body = cur_of(frame.data + MESSAGE_HEAD, frame.len - MESSAGE_HEAD); /* and one that goes on */
    UNIT_INT(message_raft_get(MESSAGE_APPEND, &body, &got), E_MALFORMED);
    begin();
}

static void what_fits(void)
{
    static char big[MESSAGE_APPEND_MAX];
    struct raft_entry entries[3] = {{.buf = {big, sizeof big}}, {.buf = {big, 8}}, {.buf = {big, 8}}};
    UNIT_UINT(message_entries_fit(entries, 0), 0);
    UNIT_UINT(message_entries_fit(entries, 3), 1); /* at least one */
    UNIT_UINT(message_entries_fit(entries + 1, 2), 2);
}

UNIT_MAIN("message", UNIT_TEST(appends_come_back), UNIT_TEST(members_that_cannot_be_are_refused), UNIT_TEST(joining_comes_back), UNIT_TEST(who_asks_to_join_says_who_it_is), UNIT_TEST(answers_and_votes_come_back), UNIT_TEST(offers_come_back), UNIT_TEST(offers_of_members_that_cannot_be_are_refused), UNIT_TEST(pieces_come_back), UNIT_TEST(hello_comes_back), UNIT_TEST(damage_is_noticed),
          UNIT_TEST(what_fits))
