/* test_members: plans for members in the replicated state; how the log's changes of members are read; and that one that is truncated is taken back,
 * which libraft gets wrong after a start and after a compaction; and that a data directory that was replaced is not taken in again; and who is told
 * that it is no member any more, which is for good. */
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"
#include "raft/cluster_impl.h"
#include "raft/configuration.h"
#include "raft/formation.h"
#include "raft/io_impl.h"
#include "raft/state.h"

#include <stdio.h>
#include <string.h>

static int apply(struct state_members *m, const struct entry_member *e)
{
    struct entry_head head;
    struct cur body;
    struct buf b;
    int status = 0;
    buf_init(&b, ENTRY_MAX);
    entry_put_member(&b, e);
    UNIT_INT(entry_read(b.data, b.len, &head, &body), 0);
    UNIT_INT(head.kind, ENTRY_MEMBER);
    UNIT_INT(state_members_apply(m, &body, &status), 0);
    buf_free(&b);
    return status;
}

static struct entry_member plan_of(uint64_t id, enum member_goal goal, bool fresh)
{
    struct entry_member e = {.verb = MEMBER_PLAN, .id = id, .goal = goal, .fresh = fresh};
    snprintf(e.address, sizeof e.address, "%s", fresh ? "d:1" : "");
    return e;
}

static void a_plan_begins_and_ends(void)
{
    struct state_members m = {0};
    struct entry_member add = plan_of(4, MEMBER_VOTER, true), done = {.verb = MEMBER_DONE, .id = 4, .goal = MEMBER_VOTER, .counter = 1};
    UNIT_INT(apply(&m, &add), 0);
    UNIT_UINT(state_members_plan(&m, 4)->counter, 1);
    UNIT_STR(state_members_plan(&m, 4)->address, "d:1");
    UNIT_INT(apply(&m, &add), 0); /* again: another data directory */
    UNIT_UINT(state_members_plan(&m, 4)->counter, 2);
    UNIT_INT(apply(&m, &done), E_CONTRADICTION); /* that was the one before */
    done.counter = 2;
    UNIT_INT(apply(&m, &done), 0);
    UNIT_TRUE(!state_members_plan(&m, 4));
    UNIT_INT(apply(&m, &done), E_CONTRADICTION);
    state_members_free(&m);
}

/* One counter more would be another data directory's incarnation. */
static void a_counter_is_given_once(void)
{
    struct state_members m = {.counter = INCARNATION_COUNTER_MAX - 1};
    struct entry_member add = plan_of(4, MEMBER_VOTER, true), gone = plan_of(4, MEMBER_GONE, false);
    struct errmsg em;
    UNIT_INT(state_members_may_grow(&m, &em), 0);
    UNIT_INT(apply(&m, &add), 0);
    UNIT_UINT(state_members_plan(&m, 4)->counter, INCARNATION_COUNTER_MAX);
    UNIT_INT(state_members_may_grow(&m, &em), E_TOOBIG);
    UNIT_INT(apply(&m, &add), E_CONTRADICTION);
    UNIT_UINT(m.counter, INCARNATION_COUNTER_MAX);
    UNIT_INT(apply(&m, &gone), 0);
    state_members_free(&m);
}

static void an_id_is_retired_for_good(void)
{
    struct state_members m = {0};
    struct entry_member gone = plan_of(3, MEMBER_GONE, false), add = plan_of(3, MEMBER_VOTER, true);
    struct entry_member done = {.verb = MEMBER_DONE, .id = 3, .goal = MEMBER_GONE};
    UNIT_TRUE(!state_members_retired(&m, 3));
    UNIT_INT(apply(&m, &gone), 0);
    UNIT_TRUE(state_members_retired(&m, 3));
    UNIT_INT(apply(&m, &add), E_CONTRADICTION);
    UNIT_INT(apply(&m, &done), 0);
    UNIT_INT(apply(&m, &add), E_CONTRADICTION);
    UNIT_TRUE(!state_members_plan(&m, 3));
    state_members_free(&m);
}

static void it_comes_back_from_the_manifest(void)
{
    struct state *s = state_new(), *back;
    struct entry_member gone = plan_of(3, MEMBER_GONE, false), add = plan_of(4, MEMBER_STANDBY, true);
    struct entry_member level = {.verb = MEMBER_LEVEL, .level = 7};
    struct buf b;
    buf_init(&b, 1 << 20);
    add.again = true;
    UNIT_INT(apply(&s->members, &gone), 0);
    UNIT_INT(apply(&s->members, &add), 0);
    UNIT_INT(apply(&s->members, &level), 0);
    level.level = 5;
    UNIT_INT(apply(&s->members, &level), 0); /* it never goes back */
    state_encode(s, &b);
    struct cur c = cur_of(b.data, b.len);
    UNIT_INT(state_decode(&c, &back), 0);
    UNIT_UINT(back->members.level, 7);
    UNIT_UINT(back->members.counter, 1);
    UNIT_TRUE(state_members_retired(&back->members, 3));
    UNIT_INT(state_members_plan(&back->members, 4)->goal, MEMBER_STANDBY);
    UNIT_TRUE(state_members_plan(&back->members, 4)->again);
    UNIT_INT(state_members_plan(&back->members, 3)->goal, MEMBER_GONE);
    buf_free(&b);
    state_free(s);
    state_free(back);
}

/* ---- the log's changes ---- */

static struct raft_buffer members_of(unsigned n)
{
    struct raft_configuration c;
    struct raft_buffer b;
    raft_configuration_init(&c);
    for (unsigned i = 1; i <= n; i++) {
        char address[32];
        snprintf(address, sizeof address, "n%u:1/%016x", i, i);
        UNIT_INT(raft_configuration_add(&c, i, address, i == 3 ? RAFT_STANDBY : RAFT_VOTER), 0);
    }
    UNIT_INT(raft_configuration_encode(&c, &b), 0);
    raft_configuration_close(&c);
    return b;
}

static void a_change_is_read_and_nothing_else(void)
{
    struct raft_buffer b = members_of(3);
    struct raft_configuration c;
    uint8_t *bytes = b.base;
    UNIT_INT(configuration_decode(b.base, b.len, &c), 0);
    UNIT_UINT(c.n, 3);
    UNIT_UINT(configuration_voters(&c), 2);
    UNIT_STR(configuration_find(&c, 2)->address, "n2:1/0000000000000002");
    UNIT_TRUE(!configuration_find(&c, 4));
    raft_configuration_close(&c);
    for (size_t n = 0; n < b.len - 8; n++) {
        UNIT_TRUE(!configuration_valid(b.base, n));
    }
    for (size_t i = 0; i < 9; i++) { /* format and number */
        bytes[i] ^= 0x40;
        UNIT_TRUE(!configuration_valid(b.base, b.len));
        bytes[i] ^= 0x40;
    }
    bytes[9 + 8 + 22] = 9; /* the first one's role */
    UNIT_TRUE(!configuration_valid(b.base, b.len));
    raft_free(b.base);
}

static struct rio rio;
static struct raft raft;

static void log_change(uint64_t index, uint64_t term, unsigned n)
{
    struct raft_buffer b = members_of(n);
    rio_log_append(&rio, index, term, RAFT_CHANGE, b.base, b.len);
    rio.next_index = index + 1;
    raft_free(b.base);
}

static void log_commands(uint64_t from, uint64_t to, uint64_t term)
{
    for (uint64_t i = from; i <= to; i++) {
        rio_log_append(&rio, i, term, RAFT_COMMAND, NULL, 0);
    }
    rio.next_index = to + 1;
}

/* 1: three members; 5, term 2: two; up to 7, term 3. Entry 4 is committed. */
static void begin_log(void)
{
    struct raft_buffer b = members_of(2);
    memset(&rio, 0, sizeof rio);
    memset(&raft, 0, sizeof raft);
    rio.loop = test_env_new(1);
    rio.io.data = &raft;
    log_change(1, 1, 3);
    log_commands(2, 4, 1);
    log_change(5, 2, 2);
    log_commands(6, 7, 3);
    raft.current_term = 3;
    raft.commit_index = 4;
    UNIT_INT(configuration_decode(b.base, b.len, &raft.configuration), 0);
    raft_free(b.base);
}

static void end_log(void)
{
    raft_configuration_close(&raft.configuration);
    rio_log_free(&rio);
    test_env_free(rio.loop);
}

static void offer(uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t entry_term, unsigned n)
{
    struct raft_entry entries[4];
    struct raft_append_entries a = {.term = term, .prev_log_index = prev, .prev_log_term = prev_term, .entries = entries, .n_entries = n};
    for (unsigned i = 0; i < n; i++) {
        entries[i] = (struct raft_entry){.term = entry_term, .type = RAFT_COMMAND};
    }
    rio_change_before(&rio, &a);
}

static void a_change_that_is_truncated_is_taken_back(void)
{
    begin_log();
    raft.configuration_index = 5; /* libraft's word after a start */
    rio_change_started(&rio);
    UNIT_UINT(raft.configuration_index, 1);
    UNIT_UINT(raft.configuration_uncommitted_index, 5);
    offer(2, 4, 1, 9, 1);  /* of an older term: libraft will not look at it */
    offer(4, 5, 9, 4, 1);  /* does not join our log: refused */
    offer(4, 4, 1, 2, 1);  /* what we have */
    offer(4, 6, 3, 4, 1);  /* contradicts, but behind it */
    UNIT_UINT(raft.configuration.n, 2);
    UNIT_UINT(raft.configuration_uncommitted_index, 5);
    offer(4, 4, 1, 4, 2);
    UNIT_UINT(raft.configuration.n, 3);
    UNIT_UINT(raft.configuration_index, 1);
    UNIT_UINT(raft.configuration_uncommitted_index, 0);
    end_log();
}

/* ... also when it is contradicted before its own place, and what was before it stands in a snapshot alone. */
static void the_one_before_may_be_in_the_snapshot(void)
{
    struct snapshot_server servers[1] = {{.id = 9, .role = RAFT_VOTER, .address = "s:1/0000000000000009"}};
    begin_log();
    raft.configuration_index = 1;
    raft.configuration_uncommitted_index = 5;
    rio.has_snapshot = true;
    rio.snapshot = (struct snapshot){.index = 3, .term = 1, .configuration_index = 1, .servers = servers, .n_servers = 1};
    rio_log_covered(&rio, 3);
    UNIT_UINT(rio.n_changes, 1);
    UNIT_UINT(rio.terms[0].term, 1); /* of entry 4, and of the one before what follows the snapshot */
    rio_log_append(&rio, 8, 3, RAFT_COMMAND, NULL, 0);
    offer(4, 4, 1, 4, 4);
    UNIT_UINT(raft.configuration.n, 1);
    UNIT_UINT(raft.configuration.servers[0].id, 9);
    UNIT_UINT(raft.configuration_uncommitted_index, 0);
    end_log();
}

/* Two of one leader's, the first of which is committed and this node does not know it yet. */
static void the_last_one_that_stays_counts(void)
{
    begin_log();
    log_change(8, 3, 4);
    raft.configuration_index = 1;
    raft.configuration_uncommitted_index = 8;
    offer(4, 6, 3, 4, 2);
    UNIT_UINT(raft.configuration.n, 2);
    UNIT_UINT(raft.configuration_index, 1);
    UNIT_UINT(raft.configuration_uncommitted_index, 5);
    rio_log_truncate(&rio, 7);
    UNIT_UINT(rio.n_changes, 2);
    end_log();
}

/* ---- who is told that it is none any more ---- */

static struct cluster *cluster_of_one(void)
{
    struct cluster *c = mem_new(sizeof *c);
    c->started = true;
    c->state = state_new();
    snprintf(c->formation.cluster, sizeof c->formation.cluster, "c1");
    raft_configuration_init(&c->raft.configuration);
    UNIT_INT(raft_configuration_add(&c->raft.configuration, 1, "a:1/0000000000000009", RAFT_VOTER), 0);
    return c;
}

static void cluster_end(struct cluster *c)
{
    raft_configuration_close(&c->raft.configuration);
    state_free(c->state);
    mem_free(c);
}

static enum refusal refusal_of(struct cluster *c, const char *cluster, uint64_t counter, bool settled, const char *words)
{
    struct message_hello h = {.level = MESSAGE_LEVEL, .from = 5, .to = 1, .incarnation = counter << INCARNATION_RANDOM_BITS | 77};
    struct message_refusal why = {.why = REFUSAL_OTHER};
    snprintf(h.cluster, sizeof h.cluster, "%s", cluster);
    c->raft.configuration_uncommitted_index = settled ? 0 : 7;
    UNIT_TRUE(!cluster_members_admit(c, &h, &why));
    if (!strstr(why.text, words)) {
        UNIT_STR(why.text, words);
    }
    return why.why;
}

/* Who is told REMOVED never starts again: a change that may still be taken back must not say it. */
static void only_what_is_committed_is_the_last_word(void)
{
    struct cluster *c = cluster_of_one();
    struct entry_member gone = plan_of(5, MEMBER_GONE, false), again = plan_of(5, MEMBER_VOTER, true);
    again.again = true;
    UNIT_INT(refusal_of(c, "c1", 0, true, "has not heard yet"), REFUSAL_UNHEARD);
    UNIT_INT(apply(&c->state->members, &again), 0);
    UNIT_INT(refusal_of(c, "c1", 0, false, "has not heard yet"), REFUSAL_UNHEARD);
    UNIT_INT(refusal_of(c, "c1", 0, true, "was replaced: this data directory"), REFUSAL_REMOVED);
    UNIT_INT(refusal_of(c, "c1", 1, true, "has not heard yet"), REFUSAL_UNHEARD);
    UNIT_INT(raft_configuration_add(&c->raft.configuration, 5, "b:1/000100000000000a", RAFT_STANDBY), 0);
    UNIT_INT(refusal_of(c, "c1", 0, false, "was replaced: this data directory"), REFUSAL_REMOVED); /* its successor stands in the log: that it is gone is committed */
    UNIT_INT(refusal_of(c, "c1", 0, true, "was replaced: this data directory"), REFUSAL_REMOVED);
    UNIT_INT(refusal_of(c, "c1", 1, true, "is not the one that cluster c1 knows"), REFUSAL_INCARNATION); /* which nobody should ever hear */
    cluster_end(c);
    c = cluster_of_one();
    UNIT_INT(raft_configuration_add(&c->raft.configuration, 5, "b:1/000200000000004d", RAFT_STANDBY), 0); /* the same directory, taken in once more */
    UNIT_INT(refusal_of(c, "c1", 1, true, "has been taken in again"), REFUSAL_OTHER);
    UNIT_INT(refusal_of(c, "c1", 3, true, "has not heard yet"), REFUSAL_UNHEARD);
    cluster_end(c);
    c = cluster_of_one();
    UNIT_INT(apply(&c->state->members, &gone), 0);
    UNIT_INT(refusal_of(c, "c1", 0, false, "has not heard yet"), REFUSAL_UNHEARD); /* net.c lets it in: it may lead by now, and take the change back */
    UNIT_INT(refusal_of(c, "c1", 0, true, "was removed from cluster c1"), REFUSAL_REMOVED);
    UNIT_INT(refusal_of(c, "", 0, false, "is being removed"), REFUSAL_OTHER);
    UNIT_INT(refusal_of(c, "", 0, true, "was removed from cluster c1"), REFUSAL_REMOVED);
    cluster_end(c);
}

/* ---- who asks to be taken in ---- */

static enum join_verdict ask(struct cluster *c, uint64_t counter, const char *cluster, char *text, size_t size)
{
    struct message_join j = {.level = MESSAGE_LEVEL, .id = 5, .incarnation = counter << INCARNATION_RANDOM_BITS | 77};
    struct message_join_answer a = {0};
    enum message_kind kind;
    struct buf request, answer;
    struct cur body;
    struct errmsg em;
    size_t used;
    buf_init(&request, 1000);
    buf_init(&answer, 10000);
    snprintf(j.cluster, sizeof j.cluster, "%s", cluster);
    message_join_put(&request, &j);
    UNIT_INT(message_next(request.data, request.len, &kind, &body, &used, &em), 1);
    cluster_members_join(c, &body, &answer);
    UNIT_INT(message_next(answer.data, answer.len, &kind, &body, &used, &em), 1);
    UNIT_INT(message_join_answer_get(&body, &a), 0);
    snprintf(text, size, "%s", a.text);
    buf_free(&request);
    buf_free(&answer);
    return a.verdict;
}

/* It was told that it is a member, and was replaced before it had a log: it goes on asking, and is not the one that the plan waits for. */
static void a_replaced_directory_is_not_taken_in_again(void)
{
    struct cluster *c = cluster_of_one();
    struct entry_member plan = plan_of(5, MEMBER_VOTER, true);
    char text[512];
    UNIT_INT(apply(&c->state->members, &plan), 0);
    UNIT_UINT(c->state->members.plans[0].counter, 1);
    UNIT_INT(ask(c, 0, "", text, sizeof text), JOIN_WAIT);
    UNIT_STR(text, "being taken in");
    UNIT_INT(ask(c, 1, "c1", text, sizeof text), JOIN_WAIT); /* we have not heard yet that it was */
    plan.again = true;
    UNIT_INT(apply(&c->state->members, &plan), 0);
    UNIT_UINT(c->state->members.plans[0].counter, 2);
    UNIT_INT(ask(c, 1, "c1", text, sizeof text), JOIN_NO);
    UNIT_TRUE(strstr(text, "node 5 was replaced: this data directory is no part of cluster c1") != NULL);
    UNIT_INT(ask(c, 0, "", text, sizeof text), JOIN_WAIT); /* the empty one */
    UNIT_INT(ask(c, 2, "c1", text, sizeof text), JOIN_WAIT);
    cluster_end(c);
}

/* And the CLI is told why. */
static void no_directory_is_planned_that_gets_no_counter(void)
{
    struct cluster *c = cluster_of_one();
    struct entry_member wish = plan_of(5, MEMBER_VOTER, true), plan;
    struct errmsg em;
    c->leading = true;
    UNIT_INT(cluster_plan_member(c, &wish, &plan, &em), 0);
    c->state->members.counter = INCARNATION_COUNTER_MAX;
    UNIT_INT(cluster_plan_member(c, &wish, &plan, &em), E_TOOBIG);
    UNIT_TRUE(strstr(em.text, "all its 65535 incarnations") != NULL);
    c->leading = false;
    cluster_end(c);
}

UNIT_MAIN("members", UNIT_TEST(a_plan_begins_and_ends), UNIT_TEST(a_counter_is_given_once), UNIT_TEST(an_id_is_retired_for_good), UNIT_TEST(it_comes_back_from_the_manifest),
          UNIT_TEST(a_change_is_read_and_nothing_else), UNIT_TEST(a_change_that_is_truncated_is_taken_back),
          UNIT_TEST(the_one_before_may_be_in_the_snapshot), UNIT_TEST(the_last_one_that_stays_counts),
          UNIT_TEST(only_what_is_committed_is_the_last_word),
          UNIT_TEST(a_replaced_directory_is_not_taken_in_again), UNIT_TEST(no_directory_is_planned_that_gets_no_counter))
