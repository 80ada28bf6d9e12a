/* fetch_index.c: see fetch_index.h.
 *
 * Happy path: behind each piece that was written the events that are whole are walked over; when the file is whole and its sum is right, its index is
 * handed back, to be put beside it. That of the newest file is kept, and goes on when the file grows.
 *
 * Failure modes: a file that cannot be walked over gets no index here: that is said, and it is made, or its damage found, by who reads it. */
#include "raft/fetch_index.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/index_ahead.h"
#include "storage/install.h"

#include <stdatomic.h>
#include <string.h>

enum { STEP = 1 << 20 };

enum task_kind { TASK_BEGIN, TASK_THERE, TASK_END, TASK_DROP };

/* Made on the loop, done on the index env, answered and freed on the loop; DROP, the last one of all, is freed there. */
struct task {
    struct env_msg msg;
    struct fetch_index *x;
    enum task_kind kind;
    unsigned generation;
    struct fetch_file file; /* BEGIN; END: the answer's */
    uint64_t there, boundary;
    struct fetch_piece *piece; /* THERE */
    struct buf made;
};

struct fetch_index {
    struct env *loop, *env;
    const struct fetch_index_handler *handler;
    void *owner;
    char *data_dir;
    uint64_t tasks; /* loop: not answered */
    unsigned begins; /* loop: of these */
    bool closed;    /* loop */
    atomic_uint generation; /* what was asked for in an earlier one is dropped */
    /* the index env's */
    struct fetch_file file;
    struct index_ahead *ahead; /* NULL: none, or the file has no index */
};

/* ---- on the index env ------------------------------------------------------------------------------------ */

static void give_up(struct fetch_index *x, const char *why)
{
    if (why) {
        env_log(x->env, ENV_WARN, "raft: the index of a fetched file is not made now file=%s why=\"%s\"", x->file.name, why);
    }
    index_ahead_free(x->ahead);
    x->ahead = NULL;
}

static bool goes_on(const struct fetch_index *x, const struct task *t)
{
    return x->ahead && index_ahead_boundary(x->ahead) && x->file.era == t->file.era && !strcmp(x->file.name, t->file.name) &&
           t->there >= index_ahead_boundary(x->ahead);
}

static void begin(struct fetch_index *x, const struct task *t)
{
    struct errmsg em;
    bool on = goes_on(x, t);
    if (!on) {
        index_ahead_free(x->ahead);
        char *path = install_path(x->data_dir, t->file.era, t->file.name);
        x->ahead = index_ahead_new(x->env, path, t->file.era, t->file.name, INDEX_STEP, INDEX_BLOCK);
        mem_free(path);
    }
    x->file = t->file;
    index_ahead_trust(x->ahead, t->file.sum != 0);
    if (on && index_ahead_again(x->ahead, &em)) {
        give_up(x, em.text);
    }
}

static bool is_wanted(const struct task *t)
{
    return atomic_load(&t->x->generation) == t->generation;
}

static void go_on(struct fetch_index *x, const struct task *t, uint64_t there)
{
    struct errmsg em;
    int rv = 1;
    while (rv == 1 && x->ahead && is_wanted(t)) {
        rv = index_ahead_step(x->ahead, there, t->piece ? t->piece->bytes : NULL, t->piece ? t->piece->n : 0, STEP, &em);
    }
    if (rv < 0) {
        give_up(x, em.text);
    }
}

static void end(struct fetch_index *x, struct task *t)
{
    struct errmsg em;
    t->file = x->file;
    go_on(x, t, x->file.size);
    if (x->ahead && is_wanted(t) && index_ahead_end(x->ahead, t->boundary, x->file.size, !x->file.newest, &t->made, &em)) {
        buf_free(&t->made);
        give_up(x, em.text);
    }
    if (!x->file.newest) {
        give_up(x, NULL);
    }
}

static void answer(struct env_msg *msg);

static void run(struct env_msg *msg)
{
    struct task *t = CONTAINER_OF(msg, struct task, msg);
    struct fetch_index *x = t->x;
    if (t->kind == TASK_DROP) {
        give_up(x, NULL);
        mem_free(t);
        return;
    }
    if (!is_wanted(t)) {
        give_up(x, NULL);
    } else if (t->kind == TASK_BEGIN) {
        begin(x, t);
    }
    if (t->kind == TASK_END) {
        end(x, t);
    } else {
        go_on(x, t, t->there);
    }
    msg->run = answer;
    env_post(x->loop, msg);
}

/* ---- on the loop ----------------------------------------------------------------------------------------- */

static void index_free(struct fetch_index *x)
{
    mem_free(x->data_dir);
    mem_free(x);
}

static void answer(struct env_msg *msg)
{
    struct task *t = CONTAINER_OF(msg, struct task, msg);
    struct fetch_index *x = t->x;
    x->tasks--;
    if (!x->closed && t->kind == TASK_END && is_wanted(t)) {
        x->handler->made(x->owner, &t->file, &t->made);
    }
    x->begins -= t->kind == TASK_BEGIN;
    if (!x->closed && t->piece) {
        x->handler->passed(x->owner, t->piece);
        t->piece = NULL;
    }
    buf_free(&t->made);
    fetch_piece_free(t->piece);
    mem_free(t);
    if (x->closed && !x->tasks) {
        index_free(x);
    }
}

static struct task *task_new(struct fetch_index *x, enum task_kind kind)
{
    struct task *t = mem_new(sizeof *t);
    t->msg.run = run;
    t->x = x;
    t->kind = kind;
    t->generation = atomic_load(&x->generation);
    buf_init(&t->made, INDEX_MAX);
    x->tasks += kind != TASK_DROP;
    x->begins += kind == TASK_BEGIN;
    return t;
}

static void post(struct task *t)
{
    env_post(t->x->env, &t->msg);
}

int fetch_index_open(struct env *loop, const char *data_dir, const struct fetch_index_handler *handler, void *owner, struct fetch_index **out)
{
    struct fetch_index *x = mem_new(sizeof *x);
    x->loop = loop;
    x->handler = handler;
    x->owner = owner;
    x->data_dir = mem_str(data_dir);
    int rv = env_spawn(loop, "fetch-index", &x->env);
    if (rv) {
        index_free(x);
        return rv;
    }
    env_background(x->env);
    *out = x;
    return 0;
}

void fetch_index_close(struct fetch_index *x)
{
    x->closed = true;
    fetch_index_drop(x);
    env_join(x->env);
    if (!x->tasks) { /* else the last answer that is in the loop's queue does it */
        index_free(x);
    }
}

void fetch_index_begin(struct fetch_index *x, const struct fetch_file *file, uint64_t there)
{
    struct task *t = task_new(x, TASK_BEGIN);
    t->file = *file;
    t->there = there;
    post(t);
}

void fetch_index_there(struct fetch_index *x, struct fetch_piece *piece)
{
    struct task *t = task_new(x, TASK_THERE);
    bool begins = x->begins > 0; /* what is here already may be long to read: nobody waits for that, these bytes are read after it */
    t->there = piece->end;
    t->piece = begins ? NULL : piece;
    post(t);
    if (begins) {
        x->handler->passed(x->owner, piece);
    }
}

void fetch_index_end(struct fetch_index *x, uint64_t boundary)
{
    struct task *t = task_new(x, TASK_END);
    t->boundary = boundary;
    post(t);
}

void fetch_index_drop(struct fetch_index *x)
{
    atomic_fetch_add(&x->generation, 1);
    post(task_new(x, TASK_DROP));
}
