/* cluster_net.c: the cluster's other members: what libraft wants said to them, who has died, what they tell of themselves, and questions to
 * the leader.
 *
 * Waking the election. When the process of the leader has ended (both connections did, and a new one is refused), the voters do not
 * wait for an election timeout: the one with the lowest id that is reachable asks for votes at once, the next one a little later,
 * and so on, again and again until a leader is heard. If the leader lives after all, the others' votes are not given and its
 * next heartbeat ends it. In the same way a leader that is silent (it was cut off, or its process was stopped) is replaced when it was not heard
 * for an election timeout: then nobody who has heard as little refuses his vote, and there is no need to add a random time to it.
 *
 * Failure: a question whose leader is lost, or that is not answered in time, ends with an unknown outcome. */
#include "raft/cluster_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum {
    WAKE_STEP_MS = 100,
    WAKE_BUSY_MS = 2,     /* entries are being written: soon again */
    WAKE_TRIES = 100,
    SILENCE_SPREAD_MS = 50, /* the others notice a silence as much later */
    LOOKS_MS = 200,         /* who has not looked for so long was stopped, or busy: what it did not hear may wait to be read */
    ASK_S = 60,        /* for the leader to do it */
    LEADER_WAIT_S = 3, /* for there to be one */
    ASK_LOOK_MS = 20,
    FRESH_S = 3,       /* a report */
    FRAME_MAX = MESSAGE_HEAD + MESSAGE_MAX,
    ASK_MAX = 4 << 20,
};

/* ---- members ---- */

static enum cluster_role role_of(int role)
{
    return role == RAFT_VOTER ? CLUSTER_VOTER : role == RAFT_STANDBY ? CLUSTER_STANDBY : CLUSTER_SPARE;
}

static const struct member_report *report_of(const struct cluster *c, uint64_t id)
{
    for (size_t i = 0; i < CLUSTER_MEMBERS_MAX; i++) {
        if (c->reports[i].id == id) {
            return &c->reports[i];
        }
    }
    return NULL;
}

/* The member at this place: of libraft's configuration, or, before that exists, of the formation's list. */
static bool member_at(const struct cluster *c, size_t i, struct formation_member *m, int *role)
{
    const struct raft_configuration *configuration = &c->raft.configuration;
    if (!c->started || !configuration->n) {
        *role = RAFT_VOTER;
        if (i < c->formation.n) {
            *m = c->formation.members[i];
        }
        return i < c->formation.n;
    }
    if (i >= configuration->n) {
        return false;
    }
    m->id = configuration->servers[i].id;
    *role = configuration->servers[i].role;
    if (formation_address_parse(configuration->servers[i].address, m)) {
        snprintf(m->address, sizeof m->address, "%s", configuration->servers[i].address);
    }
    return true;
}

size_t cluster_members(const struct cluster *c, struct cluster_member *members, size_t max)
{
    struct formation_member m;
    size_t n = 0;
    int role;
    while (n < max && member_at(c, n, &m, &role)) {
        members[n].id = m.id;
        snprintf(members[n].address, sizeof members[n].address, "%s", m.address);
        n++;
    }
    return n;
}

size_t cluster_voters(const struct cluster *c)
{
    struct formation_member m;
    size_t n = 0;
    int role;
    for (size_t i = 0; member_at(c, i, &m, &role); i++) {
        n += role == RAFT_VOTER;
    }
    return n;
}

static bool votes_here(const struct cluster *c)
{
    struct formation_member m;
    int role;
    for (size_t i = 0; member_at(c, i, &m, &role); i++) {
        if (m.id == c->id) {
            return role == RAFT_VOTER;
        }
    }
    return false;
}

static void own_info(const struct cluster *c, struct cluster_member_info *info)
{
    info->self = info->up = info->reported = true;
    snprintf(info->version, sizeof info->version, "%s", c->version);
    info->level = c->level;
    info->term = c->raft.current_term;
    info->applied = c->state->index;
    info->stored = c->raft.last_stored;
    info->leader_id = cluster_leader(c);
    if (c->handler->note) {
        c->handler->note(c->owner, info->note, sizeof info->note);
    }
    cluster_fetch_note(c, info->note, sizeof info->note);
}

static void reported_info(const struct cluster *c, const struct member_report *r, struct cluster_member_info *info)
{
    info->reported = true;
    info->age = env_now(c->loop) - r->at;
    info->level = r->level;
    info->term = r->term;
    info->applied = r->applied;
    info->stored = r->stored;
    info->leader_id = r->leader_id;
    snprintf(info->version, sizeof info->version, "%s", r->version);
    snprintf(info->note, sizeof info->note, "%s", r->note);
    info->need = r->need;
    info->polled = c->round && r->answered == c->round;
    info->reach = r->reach;
}

/* What is planned for those in the configuration, and those that have not come yet. */
static size_t plan_infos(const struct cluster *c, struct cluster_member_info *infos, size_t n, size_t max)
{
    const struct state_members *plans = &c->state->members;
    for (size_t i = 0; i < plans->n_plans; i++) {
        const struct member_plan *p = &plans->plans[i];
        size_t at = 0;
        while (at < n && infos[at].id != p->id) {
            at++;
        }
        if (at == n && (n == max || p->goal == MEMBER_GONE)) {
            continue;
        }
        if (at == n) {
            infos[n] = (struct cluster_member_info){.id = p->id, .role = CLUSTER_INVITED, .up = net_up(c->net, p->id)};
            snprintf(infos[n].address, sizeof infos[n].address, "%s", p->address);
            snprintf(infos[n].trouble, sizeof infos[n].trouble, "%s", net_trouble(c->net, p->id));
            n++;
        }
        infos[at].goal = p->goal;
        cluster_members_wait(c, p->id, infos[at].wait, sizeof infos[at].wait);
    }
    return n;
}

size_t cluster_infos(const struct cluster *c, struct cluster_member_info *infos, size_t max)
{
    struct formation_member m;
    size_t n = 0;
    int role;
    for (; n < max && member_at(c, n, &m, &role); n++) {
        struct cluster_member_info *info = &infos[n];
        *info = (struct cluster_member_info){.id = m.id, .role = role_of(role), .leader = m.id == cluster_leader(c)};
        snprintf(info->address, sizeof info->address, "%s", m.address);
        if (m.id == c->id) {
            own_info(c, info);
            continue;
        }
        const struct member_report *r = report_of(c, m.id);
        info->up = net_up(c->net, m.id);
        snprintf(info->trouble, sizeof info->trouble, "%s", net_trouble(c->net, m.id));
        if (r) {
            reported_info(c, r, info);
        }
    }
    return plan_infos(c, infos, n, max);
}

uint64_t cluster_net_applied(const struct cluster *c, uint64_t id, uint64_t incarnation, uint64_t *term)
{
    const struct member_report *r = report_of(c, id);
    bool known = r && r->incarnation == incarnation;
    if (term) {
        *term = known ? r->term : 0;
    }
    return known ? r->applied : 0;
}

uint64_t cluster_net_reported_leader(const struct cluster *c)
{
    const struct member_report *best = NULL;
    for (size_t i = 0; i < CLUSTER_MEMBERS_MAX && !votes_here(c); i++) {
        const struct member_report *r = &c->reports[i];
        if (r->id && r->leader_id == r->id && env_now(c->loop) - r->at < FRESH_S * ENV_S && net_up(c->net, r->id) && (!best || r->term > best->term)) {
            best = r;
        }
    }
    return best ? best->id : 0;
}

const char *cluster_net_note(const struct cluster *c, uint64_t id)
{
    const struct member_report *r = report_of(c, id);
    return r && r->incarnation == cluster_members_incarnation(c, id) ? r->note : "";
}

uint64_t cluster_net_stored(const struct cluster *c, uint64_t id)
{
    const struct member_report *r = report_of(c, id);
    return id == c->id ? c->raft.last_stored : r && r->incarnation == cluster_members_incarnation(c, id) ? r->stored : 0;
}

uint32_t cluster_net_level(const struct cluster *c, uint64_t id, uint64_t incarnation)
{
    const struct member_report *r = report_of(c, id);
    return r && r->incarnation == incarnation ? r->level : 0;
}

uint64_t cluster_leaderless_since(const struct cluster *c)
{
    return c->leaderless_since;
}

const char *cluster_name(const struct cluster *c)
{
    return c->formation.cluster;
}

bool cluster_formed(const struct cluster *c)
{
    return c->started;
}

uint64_t cluster_net_keep(const struct cluster *c)
{
    struct formation_member m;
    uint64_t keep = c->state->index;
    int role;
    for (size_t i = 0; member_at(c, i, &m, &role); i++) {
        const struct member_report *r = report_of(c, m.id);
        if (m.id != c->id) {
            uint64_t applied = r && r->incarnation == cluster_members_incarnation(c, m.id) ? r->applied : 0;
            keep = keep < applied ? keep : applied;
        }
    }
    return keep;
}

/* ---- reports ---- */

static void put_report(void *owner, uint64_t to, struct buf *b)
{
    struct cluster *c = owner;
    const struct member_report *theirs = report_of(c, to);
    char note[256] = "";
    if (c->handler->note) {
        c->handler->note(c->owner, note, sizeof note);
    }
    cluster_fetch_note(c, note, sizeof note);
    buf_u32(b, c->level);
    buf_lenenc_str(b, c->version);
    buf_u64(b, c->raft.current_term);
    buf_u64(b, c->state->index);
    buf_u64(b, c->raft.last_stored);
    buf_u64(b, cluster_leader(c));
    buf_lenenc_str(b, note);
    struct cluster_need need = {.era = 0};
    if (c->handler->need) {
        c->handler->need(c->owner, &need);
    }
    buf_u64(b, need.era);
    buf_lenenc_str(b, need.name);
    buf_lenenc_str(b, need.who);
    buf_u8(b, c->handler->reach ? c->handler->reach(c->owner) : CLUSTER_REACH_UNKNOWN);
    buf_u64(b, c->polls ? c->round : 0);
    buf_u64(b, theirs ? theirs->round : 0);
}

static void get_text(struct cur *body, char *to, size_t size)
{
    size_t n;
    const uint8_t *p = cur_lenenc_bytes(body, &n);
    snprintf(to, size, "%.*s", p ? (int)(n < size ? n : size - 1) : 0, p ? (const char *)p : "");
}

/* What a newer member adds behind is not for us. */
static void take_report(struct cluster *c, uint64_t id, struct cur *body)
{
    struct member_report *place = NULL;
    uint64_t before = 0;
    struct member_report r = {.id = id, .incarnation = cluster_members_incarnation(c, id), .at = env_now(c->loop), .level = cur_u32(body)};
    get_text(body, r.version, sizeof r.version);
    r.term = cur_u64(body);
    r.applied = cur_u64(body);
    r.stored = cur_u64(body);
    r.leader_id = cur_u64(body);
    get_text(body, r.note, sizeof r.note);
    r.need.era = cur_u64(body);
    get_text(body, r.need.name, sizeof r.need.name);
    get_text(body, r.need.who, sizeof r.need.who);
    r.reach = (enum cluster_reach)cur_u8(body);
    if (cur_left(body) >= 2 * sizeof(uint64_t)) { /* an older member knows nothing of it */
        r.round = cur_u64(body);
        r.answered = cur_u64(body);
    }
    for (size_t i = 0; i < CLUSTER_MEMBERS_MAX && (!place || place->id != id); i++) {
        if (c->reports[i].id == id || (!c->reports[i].id && !place)) {
            place = &c->reports[i];
        }
    }
    if (cur_ok(body) && place) {
        before = place->id == id ? place->round : 0;
        r.round = r.round ? r.round : before;
        *place = r;
        cluster_members_wake(c);
        if (r.round != before) {
            net_report(c->net, id);
        }
        cluster_poll_heard(c);
    }
}

/* ---- questions to the leader ---- */

static void finish_question(struct cluster *c, struct question *q, int status, struct cur *answer)
{
    for (struct question **at = &c->questions; *at; at = &(*at)->next) {
        if (*at == q) {
            *at = q->next;
            break;
        }
    }
    q->done(q->arg, status, answer);
    if (q->frame.data) {
        explicit_bzero(q->frame.data, q->frame.len); /* it may hold a password */
    }
    buf_free(&q->frame);
    mem_free(q);
}

/* Sends it if it can be sent. */
static void put_question(struct cluster *c, struct question *q)
{
    uint64_t leader = cluster_leader(c);
    struct buf copy;
    if (!leader || leader == c->id || !net_up(c->net, leader)) {
        return;
    }
    buf_init(&copy, FRAME_MAX);
    buf_bytes(&copy, q->frame.data, q->frame.len);
    if (net_send_frame(c->net, leader, &copy)) {
        q->leader = leader;
        q->until = env_now(c->loop) + ASK_S * ENV_S;
    }
    buf_free(&copy);
}

/* 0: it goes on. */
static int fate(const struct cluster *c, const struct question *q)
{
    bool over = env_now(c->loop) >= q->until;
    if (q->frame.err) {
        return E_TOOBIG;
    }
    if (!q->leader) {
        return c->leading ? E_AGAIN : over ? E_NOTLEADER : 0;
    }
    return over ? E_TIMEOUT : q->leader != cluster_leader(c) || !net_up(c->net, q->leader) ? E_RESET : 0;
}

static void look_at_questions(struct env_timer *timer)
{
    struct cluster *c = CONTAINER_OF(timer, struct cluster, patience);
    for (struct question *q = c->questions, *next; q; q = next) {
        next = q->next;
        if (!q->leader) {
            put_question(c, q);
        }
        int status = fate(c, q);
        if (status) {
            finish_question(c, q, status, NULL);
        }
    }
    if (c->questions) {
        env_timer_start(timer, ASK_LOOK_MS * ENV_MS);
    }
}

void cluster_ask(struct cluster *c, struct buf *body, void (*done)(void *arg, int status, struct cur *answer), void *arg)
{
    struct question *q = mem_new(sizeof *q);
    *q = (struct question){
        .next = c->questions, .ticket = ++c->ticket, .until = env_now(c->loop) + LEADER_WAIT_S * ENV_S, .done = done, .arg = arg};
    buf_init(&q->frame, ASK_MAX);
    message_begin(&q->frame, MESSAGE_ASK);
    buf_u64(&q->frame, q->ticket);
    buf_bytes(&q->frame, body->data, body->len);
    q->frame.err = q->frame.err ? q->frame.err : body->err;
    message_end(&q->frame, 0);
    c->questions = q;
    env_timer_start(&c->patience, 0);
}

void cluster_answer(struct cluster *c, uint64_t to, uint64_t ticket, const struct buf *body)
{
    struct buf b;
    buf_init(&b, FRAME_MAX);
    message_begin(&b, MESSAGE_ANSWER);
    buf_u64(&b, ticket);
    buf_u8(&b, body != NULL);
    if (body && !body->err && body->len <= ASK_MAX) { /* an empty answer is none: the asker cannot read it and says so */
        buf_bytes(&b, body->data, body->len);
    }
    message_end(&b, 0);
    if (!c->closing) {
        net_send_frame(c->net, to, &b);
    }
    buf_free(&b);
}

static void take_answer(struct cluster *c, uint64_t from, struct cur *body)
{
    uint64_t ticket = cur_u64(body);
    bool leads = cur_u8(body);
    for (struct question *q = c->questions; q && cur_ok(body); q = q->next) {
        if (q->ticket != ticket || q->leader != from) {
            continue;
        }
        if (leads) {
            finish_question(c, q, 0, body);
        } else { /* it did nothing: again, there or elsewhere */
            q->leader = 0;
            q->until = env_now(c->loop) + LEADER_WAIT_S * ENV_S;
        }
        return;
    }
}

static void take_question(struct cluster *c, uint64_t from, struct cur *body)
{
    uint64_t ticket = cur_u64(body);
    if (!cur_ok(body)) {
        return;
    }
    if (c->leading && c->handler->asked) {
        c->handler->asked(c->owner, from, ticket, body);
    } else {
        cluster_answer(c, from, ticket, NULL);
    }
}

static void heard(void *owner, uint64_t id, enum message_kind kind, struct cur *body)
{
    struct cluster *c = owner;
    if (kind == MESSAGE_REPORT) {
        take_report(c, id, body);
    } else if (kind == MESSAGE_ASK) {
        take_question(c, id, body);
    } else if (kind == MESSAGE_ANSWER) {
        take_answer(c, id, body);
    } else {
        cluster_fetch_heard(c, id, kind, body);
    }
}

/* ---- waking the election ---- */

/* How many reachable voters come before this one. */
static unsigned rank(const struct cluster *c)
{
    struct formation_member m;
    unsigned before = 0;
    int role;
    for (size_t i = 0; member_at(c, i, &m, &role); i++) {
        before += role == RAFT_VOTER && m.id < c->id && m.id != c->gone_leader && net_up(c->net, m.id);
    }
    return before;
}

static void wake(struct env_timer *timer)
{
    struct cluster *c = CONTAINER_OF(timer, struct cluster, wake);
    if (c->closing || !c->started || raft_state(&c->raft) == RAFT_LEADER || rio_heard(c->rio) > c->gone_at || c->wake_tries >= WAKE_TRIES) {
        c->gone_leader = 0;
        return;
    }
    if (!rio_hasten(c->rio)) {
        env_timer_start(timer, WAKE_BUSY_MS * ENV_MS);
        return;
    }
    c->wake_tries++;
    env_timer_start(timer, WAKE_STEP_MS * ENV_MS * cluster_voters(c));
}

static bool may_wake(struct cluster *c, uint64_t leader)
{
    return c->started && leader && leader == c->led_by && c->gone_leader != leader && votes_here(c) && raft_state(&c->raft) != RAFT_LEADER;
}

static void begin_waking(struct cluster *c, uint64_t leader, uint64_t in_ms)
{
    c->gone_leader = leader;
    c->gone_at = env_now(c->loop);
    c->wake_tries = 0;
    rio_leader_gone(c->rio);
    env_timer_start(&c->wake, (in_ms + rank(c) * WAKE_STEP_MS) * ENV_MS);
}

static void gone(void *owner, uint64_t id)
{
    struct cluster *c = owner;
    if (may_wake(c, id)) {
        env_log(c->loop, ENV_WARN, "raft: the leader's process has ended node=%llu", (unsigned long long)id);
        begin_waking(c, id, 0);
    }
}

void cluster_net_look(struct cluster *c)
{
    uint64_t now = env_now(c->loop), before = c->looked_at;
    c->looked_at = now;
    if (now - before > LOOKS_MS * ENV_MS) {
        c->looks_since = now;
    }
    bool silent = now - rio_heard(c->rio) >= ELECTION_MS * ENV_MS && now - c->looks_since >= LOOKS_MS * ENV_MS;
    if (silent && c->started && !votes_here(c)) { /* libraft's standby waits for its leader for ever, and who asks may know that it votes */
        rio_leader_gone(c->rio);
    }
    if (silent && may_wake(c, c->led_by)) {
        env_log(c->loop, ENV_WARN, "raft: the leader is silent node=%llu", (unsigned long long)c->led_by);
        begin_waking(c, c->led_by, SILENCE_SPREAD_MS);
    }
}

/* ---- the network's other callbacks ---- */

static void formed(void *owner)
{
    struct cluster *c = owner;
    struct errmsg em;
    if (!c->started && cluster_start_raft(c, &em)) {
        env_fatal(c->loop, "%s; this node stops", em.text);
    }
}

static void refused(void *owner, const char *text)
{
    struct cluster *c = owner;
    if (!c->handler->refused) {
        env_fatal(c->loop, "%s", text);
    }
    c->handler->refused(c->owner, text);
}

static void raft_message(void *owner, struct raft_message *m)
{
    struct cluster *c = owner;
    if (c->closing || !c->started) {
        message_raft_free(m);
        return;
    }
    rio_receive(c->rio, m);
}

static const struct net_handler net_handler = {
    .formed = formed, .refused = refused, .raft = raft_message, .gone = gone, .report = put_report, .heard = heard,
    .admit = cluster_members_admit, .join = cluster_members_join, .claimed = cluster_members_claimed, .invited = cluster_join_invited};

/* ---- what cluster.c calls ---- */

int cluster_net_open(struct cluster *c, const struct cluster_options *o, struct errmsg *em)
{
    struct net_options options = {.loop = c->loop,
                                  .id = c->id,
                                  .level = c->level,
                                  .formation = &c->formation,
                                  .rio = c->rio,
                                  .listen = o->listen,
                                  .tls = o->tls};
    for (size_t i = 0; i < o->n_initial && !options.listen.port; i++) {
        if (o->initial[i].id == c->id && env_addr_parse(o->initial[i].address, 0, &options.listen, em)) {
            return E_INVALID;
        }
    }
    c->leaderless_since = env_wall(c->loop);
    int rv = env_timer_open(c->loop, &c->wake, wake);
    rv = rv ? rv : env_timer_open(c->loop, &c->patience, look_at_questions);
    rv = rv ? rv : cluster_poll_open(c);
    rv = rv ? rv : cluster_members_open(c);
    return rv ? err_set(em, rv, "no timer for the cluster") : net_open(&options, &net_handler, c, &c->net, em);
}

void cluster_net_close(struct cluster *c, void (*closed)(void *arg), void *arg)
{
    while (c->questions) {
        finish_question(c, c->questions, E_CANCELED, NULL);
    }
    cluster_poll_close(c);
    env_timer_close(&c->wake);
    env_timer_close(&c->patience);
    cluster_members_close(c);
    cluster_join_end(c);
    net_close(c->net, closed, arg);
    c->net = NULL;
}

void cluster_net_led_by(struct cluster *c, uint64_t id)
{
    c->leaderless_since = id ? 0 : env_wall(c->loop);
    if (id) {
        env_log(c->loop, ENV_INFO, "raft: led by node=%llu term=%llu", (unsigned long long)id, c->raft.current_term);
    } else {
        env_log(c->loop, ENV_INFO, "raft: no leader is known term=%llu", c->raft.current_term);
    }
}

int cluster_net_send(struct cluster *c, const struct raft_message *m)
{
    return c->net ? net_send(c->net, m) : -1;
}

int cluster_transfer(struct cluster *c, uint64_t to)
{
    struct formation_member m;
    int role;
    bool there = to == 0;
    for (size_t i = 0; to && member_at(c, i, &m, &role); i++) {
        there = there || (m.id == to && m.id != c->id && role == RAFT_VOTER && net_up(c->net, to));
    }
    if (!c->leading) {
        return E_NOTLEADER;
    }
    if (!there) {
        return E_NOTFOUND;
    }
    if (c->raft.transfer) {
        return E_BUSY;
    }
    int rv = raft_transfer(&c->raft, &c->transfer, to, NULL);
    return rv == 0 ? 0 : rv == RAFT_NOTLEADER ? E_NOTLEADER : E_NOTFOUND;
}

bool cluster_transferring(const struct cluster *c)
{
    return c->raft.transfer != NULL;
}

void cluster_leave(struct cluster *c)
{
    rio_leave(c->rio);
}
