/* memory_env.c: see memory_env.h. */
#include "tests/fuzz/memory_env.h"
#include "tests/fuzz/memory_net.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    char *path;
    bool is_dir;
    bool gone;     /* unlinked, still open */
    unsigned refs; /* open handles */
    uint8_t *data;
    size_t n; /* bytes in data; zeros follow */
    uint64_t size;
};

struct memory {
    struct env env;
    struct node **nodes; /* sorted by path */
    size_t n_nodes;
    unsigned open, children;
    struct env_msg *head, **tail;
    uint64_t now;
    struct memory_net net;
};

struct env_file {
    struct env_stream_head head;
    struct node *node;
};

static struct memory *memory_of(struct env *env)
{
    return env->impl;
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static size_t node_at(const struct memory *m, const char *path, bool *found)
{
    size_t low = 0, high = m->n_nodes;
    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(m->nodes[middle]->path, path);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct node *node_find(const struct memory *m, const char *path)
{
    bool found;
    size_t at = node_at(m, path, &found);
    return found ? m->nodes[at] : NULL;
}

static void node_put(struct memory *m, struct node *node)
{
    bool found;
    size_t at = node_at(m, node->path, &found);
    CHECK(!found);
    m->nodes = mem_grow(m->nodes, m->n_nodes + 1, sizeof(struct node *));
    memmove(&m->nodes[at + 1], &m->nodes[at], (m->n_nodes - at) * sizeof(struct node *));
    m->nodes[at] = node;
    m->n_nodes++;
}

static struct node *node_add(struct memory *m, const char *path, bool is_dir)
{
    struct node *node = mem_new(sizeof *node);
    node->path = mem_str(path);
    node->is_dir = is_dir;
    node_put(m, node);
    return node;
}

static void node_free(struct node *node)
{
    mem_free(node->path);
    mem_free(node->data);
    mem_free(node);
}

/* Takes the name away; the node itself too when nobody has it open. */
static struct node *node_take(struct memory *m, const char *path)
{
    bool found;
    size_t at = node_at(m, path, &found);
    if (!found) {
        return NULL;
    }
    struct node *node = m->nodes[at];
    memmove(&m->nodes[at], &m->nodes[at + 1], (--m->n_nodes - at) * sizeof(struct node *));
    return node;
}

static void node_drop(struct memory *m, const char *path)
{
    struct node *node = node_take(m, path);
    if (node && node->refs) {
        node->gone = true;
    } else if (node) {
        node_free(node);
    }
}

/* How many bytes are left when the zeros at the end are left out; most of what is written to a log is zeros.
 */
static size_t without_zeros(const uint8_t *data, size_t n)
{
    static const uint8_t zeros[4096];
    while (n >= sizeof zeros && !memcmp(data + n - sizeof zeros, zeros, sizeof zeros)) {
        n -= sizeof zeros;
    }
    while (n && data[n - 1] == 0) {
        n--;
    }
    return n;
}

static void node_write(struct node *node, const uint8_t *data, size_t n, uint64_t at)
{
    if (at + n > node->size) {
        node->size = at + n;
    }
    size_t least = at < node->n ? node->n - (size_t)at : 0; /* these bytes are stored whatever they are */
    least = least < n ? least : n;
    n = without_zeros(data, n);
    n = n > least ? n : least;
    if (n && at + n > node->n) {
        node->data = mem_grow(node->data, (size_t)at + n, 1);
        memset(node->data + node->n, 0, (size_t)at + n - node->n);
        node->n = (size_t)at + n;
    }
    if (n) {
        memcpy(node->data + at, data, n);
    }
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static uint64_t memory_now(struct env *env)
{
    struct memory *m = memory_of(env);
    return (m->now += ENV_MS) + m->net.later;
}

static uint64_t memory_wall(struct env *env)
{
    return 1700000000000000ull + memory_of(env)->now / 1000;
}

static void memory_random(struct env *env, void *data, size_t n)
{
    (void)env;
    memset(data, 0x5a, n);
}

static void memory_log(struct env *env, enum env_level level, const char *line)
{
    (void)env;
    (void)level;
    (void)line;
}

static void memory_fatal(struct env *env, const char *line)
{
    fprintf(stderr, "%s: fatal: %s\n", env->name, line);
    abort();
}

static int memory_spawn(struct env *env, const char *name, struct env **child)
{
    struct env *made = mem_new(sizeof *made);
    *made = *env;
    made->name = name;
    memory_of(env)->children++;
    *child = made;
    return 0;
}

static void memory_join(struct env *child)
{
    memory_env_run(child);
    memory_of(child)->children--;
    mem_free(child);
}

static void memory_post(struct env *to, struct env_msg *msg)
{
    struct memory *m = memory_of(to);
    msg->next = NULL;
    *m->tail = msg;
    m->tail = &msg->next;
}

static int memory_open(struct env *env, const char *path, int flags, struct env_file **file,
                       struct errmsg *em)
{
    struct memory *m = memory_of(env);
    struct node *node = node_find(m, path);
    if (!node && !(flags & ENV_CREATE)) {
        return err_set(em, E_NOTFOUND, "%s: not found", path);
    }
    if (node && (node->is_dir || flags & ENV_EXCL)) {
        return err_set(em, node->is_dir ? E_IO : E_EXISTS, "%s: cannot be opened", path);
    }
    node = node ? node : node_add(m, path, false);
    if (flags & ENV_TRUNC) {
        node->n = 0;
        node->size = 0;
    }
    node->refs++;
    m->open++;
    *file = mem_new(sizeof **file);
    (*file)->head.env = env;
    (*file)->node = node;
    return 0;
}

static int memory_pread(struct env_file *file, void *data, size_t n, uint64_t at, size_t *got,
                        struct errmsg *em)
{
    struct node *node = file->node;
    uint64_t left = at < node->size ? node->size - at : 0;
    (void)em;
    *got = n < left ? n : (size_t)left;
    size_t stored = at < node->n ? node->n - (size_t)at : 0;
    stored = stored < *got ? stored : *got;
    if (stored) {
        memcpy(data, node->data + at, stored);
    }
    if (*got > stored) {
        memset((uint8_t *)data + stored, 0, *got - stored);
    }
    return 0;
}

static int memory_pwrite(struct env_file *file, const void *data, size_t n, uint64_t at, struct errmsg *em)
{
    (void)em;
    node_write(file->node, data, n, at);
    return 0;
}

static int memory_sync(struct env_file *file, struct errmsg *em)
{
    (void)file;
    (void)em;
    return 0;
}

static int memory_truncate(struct env_file *file, uint64_t size, struct errmsg *em)
{
    (void)em;
    file->node->size = size;
    file->node->n = file->node->n < size ? file->node->n : (size_t)size;
    return 0;
}

static int memory_size(struct env_file *file, uint64_t *size, struct errmsg *em)
{
    (void)em;
    *size = file->node->size;
    return 0;
}

static void memory_close(struct env_file *file)
{
    struct node *node = file->node;
    memory_of(file->head.env)->open--;
    if (--node->refs == 0 && node->gone) {
        node_free(node);
    }
    mem_free(file);
}

static int memory_rename(struct env *env, const char *from, const char *to, struct errmsg *em)
{
    struct memory *m = memory_of(env);
    struct node *node = node_take(m, from);
    if (!node) {
        return err_set(em, E_NOTFOUND, "%s: not found", from);
    }
    node_drop(m, to);
    mem_free(node->path);
    node->path = mem_str(to);
    node_put(m, node);
    return 0;
}

static int memory_unlink(struct env *env, const char *path, struct errmsg *em)
{
    if (!node_find(memory_of(env), path)) {
        return err_set(em, E_NOTFOUND, "%s: not found", path);
    }
    node_drop(memory_of(env), path);
    return 0;
}

static int memory_mkdir(struct env *env, const char *path, struct errmsg *em)
{
    if (node_find(memory_of(env), path)) {
        return err_set(em, E_EXISTS, "%s: exists", path);
    }
    node_add(memory_of(env), path, true);
    return 0;
}

static int memory_sync_dir(struct env *env, const char *path, struct errmsg *em)
{
    (void)env;
    (void)path;
    (void)em;
    return 0;
}

/* From a copy of the names: entry() may change the directory. */
static int memory_list_dir(struct env *env, const char *path, void (*entry)(void *arg, const char *name),
                           void *arg, struct errmsg *em)
{
    struct memory *m = memory_of(env);
    size_t n = 0, len = strlen(path);
    char **names = mem_array(m->n_nodes + 1, sizeof(char *));
    (void)em;
    for (size_t i = 0; i < m->n_nodes; i++) {
        const char *at = m->nodes[i]->path;
        if (strncmp(at, path, len) == 0 && at[len] == '/' && !strchr(at + len + 1, '/')) {
            names[n++] = mem_str(at + len + 1);
        }
    }
    for (size_t i = 0; i < n; i++) {
        entry(arg, names[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    return 0;
}

static const struct env_ops memory_ops = {
    .now = memory_now,
    .wall = memory_wall,
    .random = memory_random,
    .log = memory_log,
    .fatal = memory_fatal,
    .spawn = memory_spawn,
    .join = memory_join,
    .post = memory_post,
    .timer_open = memory_timer_open,
    .timer_start = memory_timer_start,
    .timer_stop = memory_timer_stop,
    .timer_close = memory_timer_close,
    .listen = memory_listen,
    .listener_close = memory_listener_close,
    .attach = memory_attach,
    .socket_close = memory_socket_close,
    .socket_peer = memory_socket_peer,
    .stream_write = memory_stream_write,
    .stream_pending = memory_stream_pending,
    .stream_pause = memory_stream_pause,
    .stream_close = memory_stream_close,
    .open = memory_open,
    .pread = memory_pread,
    .pwrite = memory_pwrite,
    .sync = memory_sync,
    .truncate = memory_truncate,
    .size = memory_size,
    .close = memory_close,
    .rename = memory_rename,
    .unlink = memory_unlink,
    .mkdir = memory_mkdir,
    .sync_dir = memory_sync_dir,
    .list_dir = memory_list_dir,
};

struct memory_net *memory_env_net(struct env *env)
{
    return &memory_of(env)->net;
}

/* ---- for targets --------------------------------------------------------------------------------------- */

struct env *memory_env_new(void)
{
    struct memory *m = mem_new(sizeof *m);
    m->tail = &m->head;
    m->env = (struct env){.ops = &memory_ops, .name = "memory", .level = ENV_DEBUG, .impl = m};
    return &m->env;
}

void memory_env_free(struct env *env)
{
    struct memory *m = memory_of(env);
    CHECK(m->open == 0 && m->children == 0 && !m->head);
    for (size_t i = 0; i < m->n_nodes; i++) {
        node_free(m->nodes[i]);
    }
    mem_free(m->nodes);
    mem_free(m);
}

void memory_env_run(struct env *env)
{
    struct memory *m = memory_of(env);
    while (m->head) {
        struct env_msg *msg = m->head;
        m->head = msg->next;
        if (!m->head) {
            m->tail = &m->head;
        }
        msg->run(msg);
    }
}

void memory_env_put(struct env *env, const char *path, const void *data, size_t n, uint64_t size)
{
    struct memory *m = memory_of(env);
    node_drop(m, path);
    struct node *node = node_add(m, path, false);
    if (n) {
        node_write(node, data, n, 0);
    }
    node->size = size > n ? size : n;
}

const uint8_t *memory_env_get(struct env *env, const char *path, size_t *n)
{
    static const uint8_t nothing[1];
    const struct node *node = node_find(memory_of(env), path);
    *n = node ? node->n : 0;
    return node ? (node->n ? node->data : nothing) : NULL;
}

uint32_t memory_env_digest(struct env *env, const char *part)
{
    struct memory *m = memory_of(env);
    uint32_t crc = 0;
    for (size_t i = 0; i < m->n_nodes; i++) {
        const struct node *node = m->nodes[i];
        size_t n = node->n ? without_zeros(node->data, node->n) : 0;
        if (node->is_dir || !strstr(node->path, part)) {
            continue;
        }
        crc = crc32c_of(crc, node->path, strlen(node->path));
        crc = crc32c_of(crc, &node->size, sizeof node->size);
        crc = n ? crc32c_of(crc, node->data, n) : crc;
    }
    return crc;
}
