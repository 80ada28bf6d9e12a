/* serve.c: the serving part as the loop sees it: listeners, workers, and who is dumping.
 *
 * Happy path: a connection is accepted, gets its id and goes to the worker that the id falls to; the workers'
 * notes say when a dump begins, moves and ends. A replica that dumps a second time ends its first dump: a
 * source that let both live would feed a zombie.
 *
 * The end: listeners first, then each worker is told to close; when it has, its thread is joined. Answers to
 * statements that come after that find the anchor empty and are dropped.
 *
 * Failure: an address that cannot be bound fails serve_open, with nothing left behind. */
#include "node/errant.h"
#include "node/worker.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    WORKERS_MAX = 64,
    SESSIONS_MAX = 20000,
    SESSIONS_LOCAL = 16,       /* that the local socket has beyond the limit: who mends things comes in */
    SESSIONS_REFUSED = 256,    /* that may be told error 1040 at a time; more are just closed */
    DESCRIPTORS_RESERVED = 128, /* for files, readers, the source */
    CROWD = 64,                /* fewer sessions are no matter */
    SEATS = 1024,              /* buckets of a table */
    LEFT_MAX = 256,            /* replicas that have left and are remembered */
    SETTLED_S = 70             /* longer than a connection lives whose bytes are not confirmed */
};
#define QUEUE_EACH ((size_t)256 << 10)
#define QUEUE_ALL ((size_t)32 << 20)

/* A session, by its id. */
struct seat {
    uint32_t id;
    char *user, *peer; /* NULL before the login */
    uint64_t since_wall;
    struct seat *next;
};

struct entry {
    struct serve_replica replica;
    bool ending; /* told to end in favour of a newer one */
    struct entry *next;
};

/* A replica that has left. */
struct left {
    struct serve_replica replica;
    uint64_t at;
};

struct serve {
    struct env *loop;
    struct errant *errant; /* NULL: nobody judges */
    struct serve_anchor *anchor;
    struct worker *workers[WORKERS_MAX];
    unsigned n_workers;
    struct env_listener *tcp, *local;
    struct entry *replicas;
    struct left *left; /* LEFT_MAX places, made with the first one */
    size_t n_left;
    uint32_t last_id;
    struct seat *seats[SEATS];
    size_t sessions, sessions_max, sessions_peak;
    size_t sessions_wanted; /* by a setting; 0: none */
    size_t refused;
    uint64_t refused_said; /* when the log heard of it last */
    bool held; /* see serve_hold */
    unsigned closing; /* workers that have not closed yet */
    void (*closed)(void *arg);
    void *closed_arg;
};

static struct worker *worker_of(const struct serve *serve, uint32_t connection_id)
{
    return serve->workers[connection_id % serve->n_workers];
}

void serve_anchor_unref(struct serve_anchor *anchor)
{
    if (atomic_fetch_sub(&anchor->refs, 1) == 1) {
        mem_free(anchor);
    }
}

/* Connections may take what the files leave, and dumps hold a file each. */
static size_t sessions_max(void)
{
    struct rlimit limit;
    size_t max = SESSIONS_MAX;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur != RLIM_INFINITY) {
        size_t spare = limit.rlim_cur > DESCRIPTORS_RESERVED ? (size_t)limit.rlim_cur - DESCRIPTORS_RESERVED : 0;
        max = spare / 2 < max ? spare / 2 : max;
    }
    return max;
}

void serve_hold(struct serve *serve)
{
    serve->held = true;
}

void serve_admit(struct serve *serve)
{
    serve->held = false;
}

static struct seat **seat(struct serve *serve, uint32_t id)
{
    struct seat **at = &serve->seats[id % SEATS];
    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

static void take_seat(struct serve *serve, uint32_t id)
{
    struct seat *new = mem_new(sizeof *new);
    new->id = id;
    new->next = serve->seats[id % SEATS];
    serve->seats[id % SEATS] = new;
    serve->sessions++;
    serve->sessions_peak = serve->sessions > serve->sessions_peak ? serve->sessions : serve->sessions_peak;
}

/* After a crowd has gone: small pieces of it keep an allocator from giving anything back by itself. */
static void give_back(struct serve *serve)
{
    if (serve->sessions_peak < CROWD || serve->sessions > serve->sessions_peak / 4) {
        return;
    }
    serve->sessions_peak = serve->sessions;
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

static void leave_seat(struct serve *serve, uint32_t id)
{
    struct seat **at = seat(serve, id), *left = *at;
    CHECK(left);
    *at = left->next;
    mem_free(left->user);
    mem_free(left->peer);
    mem_free(left);
    serve->sessions--;
    give_back(serve);
}

/* Every one would fill the log. */
static void say_refused(struct serve *serve, const char *peer)
{
    uint64_t now = env_now(serve->loop);
    serve->refused++;
    if (!serve->refused_said || now - serve->refused_said > ENV_S) {
        env_log(serve->loop, ENV_WARN, "connections refused peer=%s why=\"too many connections\" sessions=%zu refused=%zu",
                peer, serve->sessions, serve->refused);
        serve->refused_said = now;
        serve->refused = 0;
    }
}

static void accepted(void *owner, struct env_socket *socket)
{
    struct serve *serve = owner;
    if (serve->held && !env_socket_peer(socket)->is_local) {
        env_socket_close(socket);
        return;
    }
    size_t max = serve->sessions_max, local = env_socket_peer(socket)->is_local ? SESSIONS_LOCAL : 0;
    max = serve->sessions_wanted && serve->sessions_wanted < max ? serve->sessions_wanted : max;
    bool full = serve->sessions >= max + local;
    if (full) {
        say_refused(serve, env_socket_peer(socket)->text);
    }
    if (serve->sessions >= max + local + SESSIONS_REFUSED) {
        env_socket_close(socket);
        return;
    }
    do {
        serve->last_id = serve->last_id == UINT32_MAX ? 1 : serve->last_id + 1;
    } while (*seat(serve, serve->last_id));
    take_seat(serve, serve->last_id);
    worker_accept(worker_of(serve, serve->last_id), socket, serve->last_id, full ? ACCEPT_REFUSE : ACCEPT_SERVE);
}

/* ---- replicas ---- */

static struct entry **find(struct serve *serve, uint32_t connection_id)
{
    struct entry **at = &serve->replicas;
    while (*at && (*at)->replica.connection_id != connection_id) {
        at = &(*at)->next;
    }
    return at;
}

/* By uuid; replicas without one (MariaDB's) by server id. Readers that do not block have the id 0 and are
 * nobody. */
static bool same_replica(const struct serve_replica *a, const struct serve_replica *b)
{
    if (a->uuid[0] || b->uuid[0]) {
        return strcmp(a->uuid, b->uuid) == 0;
    }
    return a->server_id != 0 && a->server_id == b->server_id;
}

/* Readers that have not registered do not come back for more. */
static void remember(struct serve *serve, const struct serve_replica *replica)
{
    size_t at = 0;
    if (!replica->registered || !replica->era) {
        return;
    }
    serve->left = serve->left ? serve->left : mem_array(LEFT_MAX, sizeof *serve->left);
    if (serve->n_left == LEFT_MAX) {
        memmove(serve->left, serve->left + 1, --serve->n_left * sizeof *serve->left);
    }
    at = serve->n_left++;
    serve->left[at] = (struct left){.replica = *replica, .at = env_now(serve->loop)};
}

static void came_back(struct serve *serve, const struct serve_replica *replica)
{
    size_t n = 0;
    for (size_t i = 0; i < serve->n_left; i++) {
        if (!same_replica(&serve->left[i].replica, replica)) {
            serve->left[n++] = serve->left[i];
        }
    }
    serve->n_left = n;
}

static void dump_begins(struct serve *serve, const struct serve_replica *replica)
{
    for (struct entry *e = serve->replicas; e; e = e->next) {
        if (!e->ending && same_replica(&e->replica, replica)) {
            e->ending = true;
            remember(serve, &e->replica); /* until it is known where the new one reads */
            env_log(serve->loop, ENV_INFO, "dump replaced id=%lu by=%lu server_id=%lu uuid=%s",
                    (unsigned long)e->replica.connection_id, (unsigned long)replica->connection_id,
                    (unsigned long)replica->server_id, replica->uuid);
            worker_end_session(worker_of(serve, e->replica.connection_id), e->replica.connection_id,
                               END_DUPLICATE);
        }
    }
    struct entry *e = mem_new(sizeof *e);
    e->replica = *replica;
    e->replica.moved = env_now(serve->loop);
    e->next = serve->replicas;
    serve->replicas = e;
}

static void dump_moved(struct serve *serve, const struct serve_replica *replica)
{
    struct entry *e = *find(serve, replica->connection_id);
    if (e) {
        if (!e->replica.era && replica->era) {
            came_back(serve, replica);
        }
        e->replica = *replica;
        e->replica.moved = env_now(serve->loop);
    }
}

static void dump_ends(struct serve *serve, uint32_t connection_id)
{
    struct entry **at = find(serve, connection_id), *e = *at;
    if (e) {
        *at = e->next;
        if (!e->ending) {
            remember(serve, &e->replica);
        }
        mem_free(e);
    }
}

/* After the end has begun nobody waits for a verdict. */
static void take_has(struct serve *serve, struct serve_note *note)
{
    if (serve->errant && serve->anchor->serve) {
        errant_replica(serve->errant, &note->replica, note->have);
    } else {
        gtid_set_free(note->have);
    }
}

static void name_seat(struct serve *serve, const struct serve_replica *who)
{
    struct seat *at = *seat(serve, who->connection_id);
    if (at) {
        mem_free(at->user);
        mem_free(at->peer);
        at->user = mem_str(who->user);
        at->peer = mem_str(who->peer);
        at->since_wall = env_wall(serve->loop);
    }
}

void serve_take_note(struct env_msg *msg)
{
    struct serve_note *note = CONTAINER_OF(msg, struct serve_note, msg);
    switch (note->kind) {
    case NOTE_DUMP_BEGINS: dump_begins(note->serve, &note->replica); break;
    case NOTE_DUMP_HAS: take_has(note->serve, note); break;
    case NOTE_DUMP_MOVED: dump_moved(note->serve, &note->replica); break;
    case NOTE_DUMP_ENDS:
        dump_ends(note->serve, note->replica.connection_id);
        if (note->serve->errant) {
            errant_left(note->serve->errant, note->replica.connection_id);
        }
        break;
    case NOTE_SESSION_BEGINS: name_seat(note->serve, &note->replica); break;
    case NOTE_SESSION_ENDED: leave_seat(note->serve, note->replica.connection_id); break;
    }
    mem_free(note);
}

/* ---- what others ask for ---- */

void serve_publish(struct serve *serve, struct view *view)
{
    for (unsigned i = 0; i < serve->n_workers; i++) {
        worker_set_view(serve->workers[i], view);
    }
}

void serve_set_limits(struct serve *serve, const struct serve_limits *limits)
{
    serve->sessions_wanted = limits->connections;
    serve->anchor->queue_each = limits->queue_each ? limits->queue_each : QUEUE_EACH;
    serve->anchor->queue_all = limits->queue_all ? limits->queue_all : QUEUE_ALL;
}

void serve_judge(struct serve *serve, uint32_t connection_id, enum serve_verdict verdict, struct gtid_set *gtids)
{
    worker_judge(worker_of(serve, connection_id), connection_id, verdict, gtids);
}

bool serve_has_session(const struct serve *serve, uint32_t connection_id)
{
    const struct seat *at = serve->seats[connection_id % SEATS];
    while (at && at->id != connection_id) {
        at = at->next;
    }
    return at != NULL;
}

void serve_kill(struct serve *serve, uint32_t connection_id)
{
    worker_end_session(worker_of(serve, connection_id), connection_id, END_KILLED);
}

void serve_each_replica(struct serve *serve, void (*each)(void *arg, const struct serve_replica *replica),
                        void *arg)
{
    for (struct entry *e = serve->replicas; e; e = e->next) {
        if (!e->ending) {
            each(arg, &e->replica);
        }
    }
}

static bool settled(const struct serve_replica *replica, uint64_t now)
{
    return replica->level && now - replica->moved > SETTLED_S * ENV_S;
}

void serve_each_need(struct serve *serve, uint64_t grace, serve_need *each, void *arg)
{
    uint64_t now = env_now(serve->loop);
    for (struct entry *e = serve->replicas; e; e = e->next) {
        each(arg, &e->replica, settled(&e->replica, now), false); /* one that is ending reads until it has */
    }
    for (size_t i = 0; i < serve->n_left; i++) {
        if (now - serve->left[i].at < grace) {
            each(arg, &serve->left[i].replica, settled(&serve->left[i].replica, serve->left[i].at), true);
        }
    }
}

size_t serve_queued(const struct serve *serve)
{
    return serve->anchor->queued;
}

static bool dumps(const struct serve *serve, uint32_t connection_id)
{
    const struct entry *e = serve->replicas;
    while (e && (e->ending || e->replica.connection_id != connection_id)) {
        e = e->next;
    }
    return e != NULL;
}

void serve_each_session(struct serve *serve, void (*each)(void *arg, const struct serve_session *session), void *arg)
{
    for (size_t i = 0; i < SEATS; i++) {
        for (const struct seat *at = serve->seats[i]; at; at = at->next) {
            if (at->user && !dumps(serve, at->id)) {
                struct serve_session session = {at->id, at->user, at->peer, at->since_wall};
                each(arg, &session);
            }
        }
    }
}

size_t serve_sessions(const struct serve *serve)
{
    return serve->sessions;
}

/* ---- open ---- */

static void worker_closed(struct worker *worker);

static int spawn_workers(struct serve *serve, struct control *control, struct store *store, struct view *view,
                         struct errmsg *em)
{
    unsigned n = control->config->workers;
    n = n == 0 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : n;
    while (serve->n_workers < n) {
        char name[16];
        struct worker *w = mem_new(sizeof *w);
        snprintf(name, sizeof name, "serve%u", serve->n_workers % 100);
        int rv = env_spawn(serve->loop, name, &w->env);
        if (rv) {
            mem_free(w);
            return err_set(em, rv, "cannot start serving thread %s: %s", name, err_text(rv));
        }
        w->loop = serve->loop;
        w->serve = serve;
        w->anchor = serve->anchor;
        w->control = control;
        w->store = store;
        w->own_uid = (uint32_t)geteuid();
        w->count = n;
        w->closed = worker_closed;
        w->view = view_ref(view);
        serve->workers[serve->n_workers++] = w;
    }
    return 0;
}

static int open_listeners(struct serve *serve, const struct config *config, struct errmsg *em)
{
    if (config->has_mysql_listen) {
        int rv = env_listen(serve->loop, &config->mysql_listen, accepted, serve, &serve->tcp, em);
        if (rv) {
            return err_wrap(em, rv, "[mysql] listen");
        }
    }
    if (config->socket[0]) {
        struct env_addr addr = {.is_path = true};
        snprintf(addr.host, sizeof addr.host, "%s", config->socket);
        int rv = env_listen(serve->loop, &addr, accepted, serve, &serve->local, em);
        if (rv) {
            return err_wrap(em, rv, "[mysql] socket");
        }
    }
    return 0;
}

static void close_listeners(struct serve *serve)
{
    if (serve->tcp) {
        env_listener_close(serve->tcp);
        serve->tcp = NULL;
    }
    if (serve->local) {
        env_listener_close(serve->local);
        serve->local = NULL;
    }
}

static void drop_worker(struct worker *worker)
{
    env_join(worker->env);
    view_unref(worker->view);
    mem_free(worker);
}

static void serve_free(struct serve *serve)
{
    while (serve->replicas) {
        dump_ends(serve, serve->replicas->replica.connection_id);
    }
    for (size_t i = 0; i < SEATS; i++) {
        while (serve->seats[i]) {
            leave_seat(serve, serve->seats[i]->id);
        }
    }
    serve_anchor_unref(serve->anchor);
    mem_free(serve->left);
    mem_free(serve);
}

int serve_open(struct control *control, struct store *store, struct view *view, struct serve **out,
               struct errmsg *em)
{
    struct serve *serve = mem_new(sizeof *serve);
    serve->loop = control->loop;
    serve->errant = control->errant;
    serve->sessions_max = sessions_max();
    serve->anchor = mem_new(sizeof *serve->anchor);
    atomic_init(&serve->anchor->refs, 1);
    serve->anchor->serve = serve;
    serve_set_limits(serve, &(struct serve_limits){0});
    *out = NULL;
    int rv = spawn_workers(serve, control, store, view, em);
    rv = rv ? rv : open_listeners(serve, control->config, em);
    if (rv) {
        close_listeners(serve);
        for (unsigned i = 0; i < serve->n_workers; i++) {
            drop_worker(serve->workers[i]);
        }
        serve_free(serve);
        return rv;
    }
    for (unsigned i = 0; i < serve->n_workers; i++) {
        worker_open(serve->workers[i]);
    }
    *out = serve;
    return 0;
}

/* ---- close ---- */

static void worker_closed(struct worker *worker)
{
    struct serve *serve = worker->serve;
    drop_worker(worker);
    if (--serve->closing > 0) {
        return;
    }
    void (*closed)(void *arg) = serve->closed;
    void *arg = serve->closed_arg;
    serve_free(serve);
    closed(arg);
}

void serve_close(struct serve *serve, void (*closed)(void *arg), void *arg)
{
    CHECK(!serve->closed);
    serve->closed = closed;
    serve->closed_arg = arg;
    serve->closing = serve->n_workers;
    serve->anchor->serve = NULL;
    close_listeners(serve);
    for (unsigned i = 0; i < serve->n_workers; i++) {
        worker_close(serve->workers[i]);
    }
}
