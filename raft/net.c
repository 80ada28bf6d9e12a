/* net.c: see net.h.
 *
 * Happy path: a hello is admitted when it comes from a member in the incarnation that we know, of our cluster. Frames of libraft are
 * decoded and handed on with the sender's address as it stands in the configuration.
 *
 * Failure: a refusal carries its reason to the other side. One that says that this node's data is not what the cluster knows ends the
 * node. What cannot be sent is dropped; raft says it again. */
#include "raft/net.h"

#include "raft/mutation.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FORM_MS = 200, REPORT_MS = 1000, FRAME_MAX = MESSAGE_HEAD + MESSAGE_MAX };

struct net {
    struct env *loop;
    uint64_t id;
    uint32_t level;
    struct formation *formation;
    struct rio *rio;
    const struct net_handler *handler;
    void *owner;
    struct peers *peers;
    struct formation_member members[FORMATION_MEMBERS_MAX];
    size_t n;
    struct env_timer form, report;
    bool ended; /* refused: nothing is said any more */
};

static struct formation_member *find(struct net *net, uint64_t id)
{
    for (size_t i = 0; i < net->n; i++) {
        if (net->members[i].id == id) {
            return &net->members[i];
        }
    }
    return NULL;
}

static bool formed(const struct net *net)
{
    return formation_is_member(net->formation);
}

static void refuse(struct net *net, const char *text)
{
    if (!net->ended) {
        net->ended = true;
        net->handler->refused(net->owner, text);
    }
}

/* ---- hello ---- */

static void fill_hello(void *owner, uint64_t to, struct message_hello *h)
{
    struct net *net = owner;
    const struct formation_member *m = find(net, to);
    h->level = net->level;
    h->from = net->id;
    h->to = to;
    h->incarnation = formation_incarnation(net->formation);
    h->to_incarnation = m ? m->incarnation : 0;
    snprintf(h->cluster, sizeof h->cluster, "%s", formed(net) ? net->formation->cluster : "");
    h->list = net->formation->list;
    h->term = rio_term(net->rio);
    h->last_stored = rio_last_index(net->rio);
    const struct formation_member *self = find(net, net->id);
    snprintf(h->address, sizeof h->address, "%s", formed(net) && self ? self->address : "");
}

static bool say_no(struct net *net, struct message_refusal *why, enum refusal code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static bool say_no(struct net *net, struct message_refusal *why, enum refusal code, const char *fmt, ...)
{
    va_list ap;
    why->why = code;
    snprintf(why->cluster, sizeof why->cluster, "%s", formed(net) ? net->formation->cluster : "");
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof why->text, fmt, ap);
    va_end(ap);
    return false;
}

/* A member that our log does not speak of yet: it may be the one that brings us what we lack, even all whom we know may be gone. It is one until our
 * log says who the members are the next time. */
static bool add_guest(struct net *net, const struct message_hello *h)
{
    struct formation_member *m = find(net, h->from);
    struct env_addr addr;
    if (!h->address[0] || env_addr_parse(h->address, 0, &addr, NULL) || (!m && net->n == FORMATION_MEMBERS_MAX)) {
        return false;
    }
    if (m && m->incarnation && m->incarnation != h->incarnation) {
        peers_remove(net->peers, h->from);
    }
    m = m ? m : &net->members[net->n++];
    *m = (struct formation_member){.id = h->from, .incarnation = h->incarnation};
    snprintf(m->address, sizeof m->address, "%s", h->address);
    peers_set(net->peers, m->id, m->address);
    env_log(net->loop, ENV_INFO, "raft: node %" PRIu64 " at %s is a member that this node's log does not speak of yet", m->id, m->address);
    return true;
}

static bool known(struct net *net, const struct message_hello *h, struct message_refusal *why)
{
    const struct formation_member *m = find(net, h->from);
    if (net->handler->admit(net->owner, h, why)) {
        return true;
    }
    return why->why == REFUSAL_UNHEARD && m && m->incarnation == h->incarnation;
}

/* This very directory is a member; it lost that with the power, and nobody whom its configuration names may be left to tell it. */
static bool was_taken_in(const struct net *net, const struct message_hello *h)
{
    return net->formation->phase == FORMATION_EMPTY && h->cluster[0] &&
           INCARNATION_RANDOM(h->to_incarnation) == INCARNATION_RANDOM(formation_incarnation(net->formation));
}

/* It means an older directory of ours; that its own is no member any more is known to this one, too, and nobody else may be left whom it could ask. */
static bool is_gone(struct net *net, const struct message_hello *h, struct message_refusal *why)
{
    snprintf(why->cluster, sizeof why->cluster, "%s", net->formation->cluster);
    return formed(net) && !net->handler->admit(net->owner, h, why) && why->why == REFUSAL_REMOVED;
}

/* A cluster knows us, and whom it has sent is none of those that we were told of, or lives elsewhere now: nobody may be left where we call. */
static bool is_elsewhere(const struct net *net, const struct formation_member *m, const struct message_hello *h)
{
    return net->formation->phase == FORMATION_EMPTY && h->cluster[0] && (!m || (h->address[0] && strcmp(m->address, h->address) != 0));
}

static bool admit(void *owner, const struct message_hello *h, struct message_refusal *why)
{
    struct net *net = owner;
    const struct formation_member *m = find(net, h->from);
    if (h->from == net->id) {
        return say_no(net, why, REFUSAL_ID, "two nodes have the id %" PRIu64, net->id);
    }
    if (h->to != net->id) {
        return say_no(net, why, REFUSAL_ID, "this is node %" PRIu64 ", not node %" PRIu64 "; is the address right?", net->id, h->to);
    }
    if (net->formation->phase == FORMATION_JOINING) {
        net->handler->invited(net->owner, h->address);
        return say_no(net, why, REFUSAL_OTHER, "node %" PRIu64 " is empty and asks to be taken in", net->id);
    }
    if (formed(net)) {
        if (h->cluster[0] && strcmp(h->cluster, net->formation->cluster)) {
            if (h->to_incarnation) {
                net->handler->claimed(net->owner, h);
            }
            return say_no(net, why, REFUSAL_CLUSTER, "node %" PRIu64 " belongs to cluster %s, this is cluster %s", h->from, h->cluster, net->formation->cluster);
        }
    }
    if (h->to_incarnation && h->to_incarnation != formation_incarnation(net->formation) && !MUTATED(INCARNATION)) {
        if (was_taken_in(net, h)) {
            net->handler->invited(net->owner, h->address);
        }
        if (is_gone(net, h, why)) {
            return false;
        }
        return say_no(net, why, REFUSAL_OTHER, "node %" PRIu64 " has another data directory than node %" PRIu64 " knows", net->id, h->from);
    }
    if (formed(net)) {
        snprintf(why->cluster, sizeof why->cluster, "%s", net->formation->cluster);
        if (!known(net, h, why) && !(why->why == REFUSAL_UNHEARD && add_guest(net, h))) {
            return false;
        }
        m = find(net, h->from);
    }
    if (is_elsewhere(net, m, h)) {
        net->handler->invited(net->owner, h->address);
    }
    if (!m) {
        return say_no(net, why, REFUSAL_UNKNOWN, "node %" PRIu64 " is no member of %s", h->from, formed(net) ? net->formation->cluster : "initial_cluster");
    }
    if (formed(net)) {
        return true;
    }
    if (!h->cluster[0] && h->list != net->formation->list) {
        return say_no(net, why, REFUSAL_LIST, "the initial_cluster of node %" PRIu64 " is not the one of node %" PRIu64 ": they must list the same members", h->from,
                      net->id);
    }
    return true;
}

/* ---- formation ---- */

static void tell_formation(struct net *net, uint64_t id)
{
    struct buf b;
    buf_init(&b, FRAME_MAX);
    formation_put(net->formation, &b);
    peers_send(net->peers, id, &b);
    buf_free(&b);
}

static void tell_all(struct net *net)
{
    for (size_t i = 0; i < net->n; i++) {
        if (net->members[i].id != net->id) {
            tell_formation(net, net->members[i].id);
        }
    }
}

static void step(struct net *net)
{
    enum formation_phase before = net->formation->phase;
    if (formation_step(net->formation)) {
        net->handler->formed(net->owner);
    }
    if (net->formation->phase != before) {
        tell_all(net);
    }
}

static bool forming(const struct net *net)
{
    return net->formation->phase == FORMATION_EMPTY || net->formation->phase == FORMATION_PREPARED;
}

static void form_again(struct env_timer *timer)
{
    struct net *net = CONTAINER_OF(timer, struct net, form);
    if (forming(net) && !net->ended) {
        tell_all(net);
        step(net);
        env_timer_start(timer, FORM_MS * ENV_MS);
    }
}

static void on_form(struct net *net, uint64_t from, struct cur *body)
{
    struct errmsg em;
    if (!forming(net)) { /* it may not be through yet: it learns that we are; one that is must not be answered, it would answer too */
        if (formed(net) && !formation_says_formed(*body)) {
            tell_formation(net, from);
        }
        return;
    }
    enum formation_phase before = net->formation->phase;
    int rv = formation_heard(net->formation, from, body, &em);
    if (rv == E_EXISTS) {
        refuse(net, em.text);
    } else if (rv) {
        env_log(net->loop, ENV_ERROR, "raft: the cluster cannot be formed: %s", rv == E_INVALID ? em.text : err_text(rv));
    } else {
        if (net->formation->phase != before) {
            tell_all(net);
        }
        step(net);
    }
}

/* ---- peers ---- */

/* Who answers at a member's address must be that one, as it must be when it calls us. */
static bool welcomed(void *owner, uint64_t id, const struct message_hello *h, struct message_refusal *why)
{
    struct net *net = owner;
    (void)id;
    return !formed(net) || known(net, h, why);
}

static void up(void *owner, uint64_t id)
{
    struct net *net = owner;
    if (!formed(net)) {
        tell_formation(net, id);
    }
}

static void was_refused(void *owner, uint64_t id, const struct message_refusal *why)
{
    struct net *net = owner;
    (void)id;
    switch (why->why) {
    case REFUSAL_REMOVED: /* whoever says so has it committed (raft/cluster_members.c): it will never be otherwise */
        if (formed(net) && !strcmp(why->cluster, net->formation->cluster)) {
            formation_removed(net->formation, why->text);
        }
        refuse(net, why->text);
        break;
    case REFUSAL_INCARNATION:
    case REFUSAL_LOST:
    case REFUSAL_LEVEL:
        refuse(net, why->text);
        break;
    case REFUSAL_EXISTS: /* who says so may not know yet that we are to come: the leader's word counts */
    case REFUSAL_INVITED:
        if (!formed(net) && !net->ended) {
            net->handler->invited(net->owner, "");
        }
        break;
    default:
        break;
    }
}

static void join(void *owner, struct cur *body, struct buf *answer)
{
    struct net *net = owner;
    net->handler->join(net->owner, body, answer);
}

static void on_raft(struct net *net, uint64_t id, enum message_kind kind, struct cur *body)
{
    const struct formation_member *m = find(net, id);
    struct raft_message message;
    char address[FORMATION_ADDRESS + 32];
    if (!m || !m->incarnation || !formed(net)) {
        return;
    }
    if (message_raft_get(kind, body, &message)) {
        env_log(net->loop, ENV_ERROR, "raft: node %" PRIu64 " sent a message that cannot be read; it was dropped", id);
        return;
    }
    formation_address(m, address, sizeof address);
    message.server_id = id;
    message.server_address = address;
    net->handler->raft(net->owner, &message);
}

static void on_message(void *owner, uint64_t id, enum message_kind kind, struct cur *body)
{
    struct net *net = owner;
    if (net->ended) {
        return;
    }
    switch (kind) {
    case MESSAGE_FORM:
        on_form(net, id, body);
        break;
    case MESSAGE_APPEND:
    case MESSAGE_APPEND_RESULT:
    case MESSAGE_VOTE:
    case MESSAGE_VOTE_RESULT:
    case MESSAGE_TIMEOUT_NOW:
        on_raft(net, id, kind, body);
        break;
    case MESSAGE_REPORT:
    case MESSAGE_ASK:
    case MESSAGE_ANSWER:
    case MESSAGE_OFFER:
    case MESSAGE_FETCH:
    case MESSAGE_PIECE:
        net->handler->heard(net->owner, id, kind, body);
        break;
    default:
        break;
    }
}

static void gone(void *owner, uint64_t id)
{
    struct net *net = owner;
    if (!net->ended) {
        net->handler->gone(net->owner, id);
    }
}

static const struct peers_handler peers_handler = {
    .hello = fill_hello, .admit = admit, .welcomed = welcomed, .up = up, .join = join, .refused = was_refused, .message = on_message, .gone = gone};

/* ---- reports ---- */

void net_report(struct net *net, uint64_t id)
{
    for (size_t i = 0; i < net->n; i++) {
        uint64_t to = net->members[i].id;
        if (to != net->id && (!id || to == id) && peers_pending(net->peers, to) < PEERS_PENDING_MAX) {
            struct buf b;
            buf_init(&b, FRAME_MAX);
            message_begin(&b, MESSAGE_REPORT);
            net->handler->report(net->owner, to, &b);
            message_end(&b, 0);
            peers_send(net->peers, to, &b);
            buf_free(&b);
        }
    }
}

static void report(struct env_timer *timer)
{
    struct net *net = CONTAINER_OF(timer, struct net, report);
    env_timer_start(timer, REPORT_MS * ENV_MS);
    net_report(net, 0);
}

/* ---- what the owner calls ---- */

static void take_members(struct net *net, const struct formation_member *members, size_t n)
{
    for (size_t i = 0; i < net->n; i++) {
        bool stays = false;
        for (size_t j = 0; j < n; j++) { /* another data directory is another member */
            stays = stays || (members[j].id == net->members[i].id && (members[j].incarnation == net->members[i].incarnation || !net->members[i].incarnation));
        }
        if (!stays && net->members[i].id != net->id) {
            peers_remove(net->peers, net->members[i].id);
        }
    }
    memcpy(net->members, members, n * sizeof *members);
    net->n = n;
    for (size_t i = 0; i < n; i++) {
        if (members[i].id != net->id) {
            peers_set(net->peers, members[i].id, members[i].address);
        }
    }
}

int net_open(const struct net_options *o, const struct net_handler *handler, void *owner, struct net **out, struct errmsg *em)
{
    struct net *net = mem_new(sizeof *net);
    net->loop = o->loop;
    net->id = o->id;
    net->level = o->level;
    net->formation = o->formation;
    net->rio = o->rio;
    net->handler = handler;
    net->owner = owner;
    int rv = env_timer_open(o->loop, &net->form, form_again);
    rv = rv ? rv : env_timer_open(o->loop, &net->report, report);
    rv = rv ? err_set(em, rv, "no timer for the members' network") : peers_open(o->loop, &o->listen, &o->tls, &peers_handler, net, &net->peers, em);
    if (rv) {
        env_timer_close(&net->form);
        env_timer_close(&net->report);
        mem_free(net);
        return rv;
    }
    take_members(net, o->formation->members, o->formation->n);
    env_timer_start(&net->report, REPORT_MS * ENV_MS);
    if (forming(net)) {
        env_timer_start(&net->form, 0);
    }
    *out = net;
    return 0;
}

void net_close(struct net *net, void (*closed)(void *arg), void *arg)
{
    env_timer_close(&net->form);
    env_timer_close(&net->report);
    peers_close(net->peers, closed, arg);
    mem_free(net);
}

/* Those that were told that we are not formed are told anew. */
void net_formed(struct net *net)
{
    formation_formed(net->formation);
    tell_all(net);
}

void net_members(struct net *net, const struct formation_member *members, size_t n)
{
    take_members(net, members, n);
}

int net_send(struct net *net, const struct raft_message *m)
{
    struct buf b;
    unsigned n = m->type == RAFT_IO_APPEND_ENTRIES ? message_entries_fit(m->append_entries.entries, m->append_entries.n_entries) : 0;
    bool full = peers_pending(net->peers, m->server_id) >= PEERS_PENDING_MAX && !MUTATED(BOUND);
    if (net->ended || full) {
        return -1;
    }
    buf_init(&b, FRAME_MAX);
    bool sent = message_raft_put(&b, m, n) && peers_send(net->peers, m->server_id, &b);
    buf_free(&b);
    return sent ? (int)n : -1;
}

bool net_send_frame(struct net *net, uint64_t id, struct buf *frame)
{
    return !net->ended && peers_pending(net->peers, id) < PEERS_PENDING_MAX && peers_send(net->peers, id, frame);
}

size_t net_pending(const struct net *net, uint64_t id)
{
    return peers_pending(net->peers, id);
}

size_t net_others(const struct net *net, uint64_t *ids, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < net->n && n < max; i++) {
        if (net->members[i].id != net->id && net->members[i].incarnation && peers_up(net->peers, net->members[i].id)) {
            ids[n++] = net->members[i].id;
        }
    }
    return n;
}

bool net_up(const struct net *net, uint64_t id)
{
    return peers_up(net->peers, id);
}

const char *net_trouble(const struct net *net, uint64_t id)
{
    return peers_trouble(net->peers, id);
}
