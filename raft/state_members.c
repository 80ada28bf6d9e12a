/* state_members.c: see state_members.h. Pure; the same on every node. */
#include "raft/state_members.h"

#include "protocol/base/err.h"
#include "protocol/base/mem.h"
#include "raft/message.h"

#include <string.h>

enum { RETIRED_MAX = 1 << 20 };

void state_members_free(struct state_members *m)
{
    mem_free(m->retired);
    m->retired = NULL;
}

static size_t plan_at(const struct state_members *m, uint64_t id)
{
    size_t i = 0;
    while (i < m->n_plans && m->plans[i].id != id) {
        i++;
    }
    return i;
}

const struct member_plan *state_members_plan(const struct state_members *m, uint64_t id)
{
    size_t i = plan_at(m, id);
    return i < m->n_plans ? &m->plans[i] : NULL;
}

bool state_members_retired(const struct state_members *m, uint64_t id)
{
    for (size_t i = 0; i < m->n_retired; i++) {
        if (m->retired[i] == id) {
            return true;
        }
    }
    return false;
}

int state_members_may_grow(const struct state_members *m, struct errmsg *em)
{
    if (m->counter < INCARNATION_COUNTER_MAX) {
        return 0;
    }
    return err_set(em, E_TOOBIG, "this cluster has given all its %d incarnations to data directories: none can be added or replaced any more", INCARNATION_COUNTER_MAX);
}

static void drop(struct state_members *m, size_t at)
{
    memmove(&m->plans[at], &m->plans[at + 1], (--m->n_plans - at) * sizeof *m->plans);
}

static int plan(struct state_members *m, const struct entry_member *e)
{
    size_t at = plan_at(m, e->id);
    bool gone = e->goal == MEMBER_GONE, retired = state_members_retired(m, e->id);
    if (at == MEMBER_PLANS_MAX || !e->id || (retired && !gone) || (gone && e->fresh) || m->n_retired == RETIRED_MAX ||
        (e->fresh && state_members_may_grow(m, NULL))) {
        return E_CONTRADICTION;
    }
    if (gone && !retired) {
        m->retired = mem_grow(m->retired, m->n_retired + 1, sizeof *m->retired);
        m->retired[m->n_retired++] = e->id;
    }
    bool again = e->again || (at < m->n_plans && m->plans[at].again);
    m->n_plans += at == m->n_plans;
    m->plans[at] = (struct member_plan){.id = e->id, .goal = e->goal, .counter = e->fresh ? ++m->counter : 0, .again = again};
    memcpy(m->plans[at].address, e->address, sizeof e->address);
    return 0;
}

static int done(struct state_members *m, const struct entry_member *e)
{
    size_t at = plan_at(m, e->id);
    if (at == m->n_plans || m->plans[at].goal != e->goal || m->plans[at].counter != e->counter) {
        return E_CONTRADICTION;
    }
    drop(m, at);
    return 0;
}

int state_members_apply(struct state_members *m, struct cur *body, int *status)
{
    struct entry_member e = {0};
    int rv = entry_read_member(body, &e);
    if (rv) {
        return rv;
    }
    if (e.verb == MEMBER_LEVEL) {
        m->level = e.level > m->level ? e.level : m->level;
    } else {
        *status = e.verb == MEMBER_PLAN ? plan(m, &e) : done(m, &e);
    }
    return 0;
}

void state_members_encode(const struct state_members *m, struct buf *b)
{
    buf_u32(b, m->level);
    buf_u64(b, m->counter);
    buf_lenenc(b, m->n_retired);
    for (size_t i = 0; i < m->n_retired; i++) {
        buf_u64(b, m->retired[i]);
    }
    buf_u8(b, (uint8_t)m->n_plans);
    for (size_t i = 0; i < m->n_plans; i++) {
        buf_u64(b, m->plans[i].id);
        buf_u8(b, (uint8_t)m->plans[i].goal);
        buf_u64(b, m->plans[i].counter);
        buf_u8(b, m->plans[i].again);
        buf_lenenc_str(b, m->plans[i].address);
    }
}

void state_members_decode(struct cur *c, struct state_members *m)
{
    m->level = cur_u32(c);
    m->counter = cur_u64(c);
    uint64_t n = cur_lenenc(c);
    if (n > RETIRED_MAX || n > cur_left(c) / sizeof *m->retired) {
        cur_fail(c);
        return;
    }
    m->retired = mem_array((size_t)n, sizeof *m->retired);
    for (m->n_retired = 0; m->n_retired < n; m->n_retired++) {
        m->retired[m->n_retired] = cur_u64(c);
    }
    uint8_t plans = cur_u8(c);
    if (plans > MEMBER_PLANS_MAX) {
        cur_fail(c);
    }
    for (; plans && cur_ok(c); plans--) {
        struct member_plan *p = &m->plans[m->n_plans++];
        p->id = cur_u64(c);
        uint8_t goal = cur_u8(c);
        p->counter = cur_u64(c);
        p->again = cur_u8(c) != 0;
        cur_text(c, cur_lenenc(c), p->address, sizeof p->address);
        if (goal < MEMBER_VOTER || goal > MEMBER_GONE) {
            cur_fail(c);
        }
        p->goal = (enum member_goal)goal;
    }
}
