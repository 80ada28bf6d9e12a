/* cluster_poll.c: the other members' reports as of now, for what must not be decided on those of a second ago.
 *
 * Happy path: a round has a number; it goes out at once, with a report of our own. Who hears of one that he has not answered yet reports
 * at once, with its number. When all that are up have answered the newest round, those who asked are told; so they are for rounds before it.
 * The numbers are times: a member that was started anew does not use those of its life before again.
 *
 * Failure modes: a member that is not up is not waited for, one that says nothing CLUSTER_POLL_S at most. A number that was lost goes out again with
 * the reports of every second. */
#include "raft/cluster_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

static bool all_answered(const struct cluster *c)
{
    struct cluster_member_info infos[CLUSTER_MEMBERS_MAX];
    size_t n = cluster_infos(c, infos, CLUSTER_MEMBERS_MAX);
    bool all = true;
    for (size_t i = 0; i < n; i++) {
        all = all && (infos[i].self || !infos[i].up || infos[i].polled);
    }
    return all;
}

static void answer(struct cluster *c, struct poll *p)
{
    for (struct poll **at = &c->polls; *at; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    p->done(p->arg);
    mem_free(p);
}

static void look(struct env_timer *timer)
{
    struct cluster *c = CONTAINER_OF(timer, struct cluster, polling);
    bool all = all_answered(c);
    uint64_t now = env_now(c->loop), next = UINT64_MAX;
    for (struct poll *p = c->polls, *after; p; p = after) {
        after = p->next;
        if (all || now >= p->until) {
            answer(c, p);
        } else {
            next = p->until < next ? p->until : next;
        }
    }
    if (c->polls && next != UINT64_MAX) {
        env_timer_start(timer, next - now);
    }
}

void cluster_poll_heard(struct cluster *c)
{
    if (c->polls && all_answered(c)) {
        env_timer_start(&c->polling, 0);
    }
}

void cluster_poll(struct cluster *c, void (*done)(void *arg), void *arg)
{
    struct poll *p = mem_new(sizeof *p);
    uint64_t time = env_wall(c->loop);
    *p = (struct poll){.next = c->polls, .until = env_now(c->loop) + CLUSTER_POLL_S * ENV_S, .done = done, .arg = arg};
    c->round = time > c->round ? time : c->round + 1;
    c->polls = p;
    net_report(c->net, 0);
    env_timer_start(&c->polling, all_answered(c) ? 0 : CLUSTER_POLL_S * ENV_S);
}

int cluster_poll_open(struct cluster *c)
{
    return env_timer_open(c->loop, &c->polling, look);
}

void cluster_poll_close(struct cluster *c)
{
    while (c->polls) {
        answer(c, c->polls);
    }
    env_timer_close(&c->polling);
}
