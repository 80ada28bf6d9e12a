/* disk.c: paths of a simulated disk: lookup, create, rename, unlink, list. See disk.h.
 *
 * Failure modes are those of a file system: E_NOTFOUND, E_EXISTS, E_INVALID (a file where a directory is
 * wanted, or the other way round). */
#include "tests/sim/disk_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <string.h>

enum { NAME_SIZE = 256 };

struct disk *disk_new(void)
{
    struct disk *disk = mem_new(sizeof *disk);
    disk->root = disk_node_new(true);
    return disk;
}

void disk_free(struct disk *disk)
{
    if (disk) {
        disk_node_unref(disk->root);
        mem_free(disk);
    }
}

void disk_settle(struct disk *disk, uint64_t now)
{
    if (now > disk->settled) {
        disk->settled = now;
    }
}

/* The directory that holds the last component of `path`, which goes to `name` ("" for the root itself). */
static int parent_of(struct disk *disk, const char *path, struct disk_node **dir, char name[NAME_SIZE])
{
    struct disk_node *at = disk->root;
    const char *p = path;
    name[0] = 0;
    CHECK(path[0] == '/'); /* there is no working directory to depend on */
    for (;;) {
        while (*p == '/') {
            p++;
        }
        if (!*p) {
            *dir = at;
            return 0;
        }
        if (name[0]) {
            at = disk_names_get(&at->names_cur, name);
            if (!at) {
                return E_NOTFOUND;
            }
            if (!at->is_dir) {
                return E_INVALID;
            }
        }
        size_t n = strcspn(p, "/");
        CHECK(n < NAME_SIZE);
        memcpy(name, p, n);
        name[n] = 0;
        p += n;
    }
}

static int lookup(struct disk *disk, const char *path, struct disk_node **dir, struct disk_node **node)
{
    char name[NAME_SIZE];
    int rv = parent_of(disk, path, dir, name);
    if (rv) {
        return rv;
    }
    *node = name[0] ? disk_names_get(&(*dir)->names_cur, name) : *dir;
    return *node ? 0 : E_NOTFOUND;
}

/* Sets names of a directory; pairs of (name, node), the second name may be NULL. */
static struct disk_op *change_names(struct disk_node *dir, uint64_t now, const char *a, struct disk_node *a_node,
                                    const char *b, struct disk_node *b_node)
{
    struct disk_op *op = disk_op_add(dir, now, DISK_NEVER);
    op->name[0] = mem_str(a);
    op->node[0] = a_node ? disk_node_ref(a_node) : NULL;
    op->name[1] = mem_str(b);
    op->node[1] = b_node ? disk_node_ref(b_node) : NULL;
    disk_op_names(&dir->names_cur, op);
    return op;
}

int disk_open(struct disk *disk, const char *path, bool create, bool exclusive, uint64_t now,
              struct disk_node **out)
{
    char name[NAME_SIZE];
    struct disk_node *dir, *node;
    int rv = parent_of(disk, path, &dir, name);
    if (rv) {
        return rv;
    }
    node = name[0] ? disk_names_get(&dir->names_cur, name) : dir;
    if (node) {
        if (create && exclusive) {
            return E_EXISTS;
        }
        if (node->is_dir) {
            return E_INVALID;
        }
        *out = disk_node_ref(node);
        return 0;
    }
    if (!create) {
        return E_NOTFOUND;
    }
    *out = disk_node_new(false);
    change_names(dir, now, name, *out, NULL, NULL);
    return 0;
}

void disk_release(struct disk *disk, struct disk_node *node)
{
    (void)disk;
    disk_node_unref(node);
}

int disk_mkdir(struct disk *disk, const char *path, uint64_t now)
{
    char name[NAME_SIZE];
    struct disk_node *dir;
    int rv = parent_of(disk, path, &dir, name);
    if (rv) {
        return rv;
    }
    if (!name[0] || disk_names_get(&dir->names_cur, name)) {
        return E_EXISTS;
    }
    struct disk_node *node = disk_node_new(true);
    change_names(dir, now, name, node, NULL, NULL);
    disk_node_unref(node);
    return 0;
}

int disk_rename(struct disk *disk, const char *from, const char *to, uint64_t now)
{
    char from_name[NAME_SIZE], to_name[NAME_SIZE];
    struct disk_node *from_dir, *to_dir;
    int rv = parent_of(disk, from, &from_dir, from_name);
    if (!rv) {
        rv = parent_of(disk, to, &to_dir, to_name);
    }
    if (rv) {
        return rv;
    }
    struct disk_node *node = disk_names_get(&from_dir->names_cur, from_name);
    struct disk_node *target = disk_names_get(&to_dir->names_cur, to_name);
    if (!node) {
        return E_NOTFOUND;
    }
    if (target && target->is_dir) {
        return E_EXISTS;
    }
    if (from_dir == to_dir && strcmp(from_name, to_name) != 0) {
        change_names(from_dir, now, from_name, NULL, to_name, node);
    } else if (from_dir != to_dir) {
        struct disk_op *there = change_names(to_dir, now, to_name, node, NULL, NULL);
        there->twin = change_names(from_dir, now, from_name, NULL, NULL, NULL);
        there->twin->twin = there;
    }
    return 0;
}

int disk_unlink(struct disk *disk, const char *path, uint64_t now)
{
    char name[NAME_SIZE];
    struct disk_node *dir;
    int rv = parent_of(disk, path, &dir, name);
    if (rv) {
        return rv;
    }
    struct disk_node *node = name[0] ? disk_names_get(&dir->names_cur, name) : dir;
    if (!node) {
        return E_NOTFOUND;
    }
    if (node->is_dir && (node == disk->root || node->names_cur.n > 0)) {
        return E_INVALID;
    }
    change_names(dir, now, name, NULL, NULL, NULL);
    return 0;
}

int disk_sync_dir(struct disk *disk, const char *path, uint64_t durable)
{
    struct disk_node *dir, *node;
    int rv = lookup(disk, path, &dir, &node);
    if (rv) {
        return rv;
    }
    if (!node->is_dir) {
        return E_INVALID;
    }
    disk_sync(disk, node, durable);
    return 0;
}

int disk_list(struct disk *disk, const char *path, void (*entry)(void *arg, const char *name), void *arg)
{
    struct disk_node *dir, *node;
    int rv = lookup(disk, path, &dir, &node);
    if (rv) {
        return rv;
    }
    if (!node->is_dir) {
        return E_INVALID;
    }
    size_t n = node->names_cur.n;
    char **names = mem_array(n, sizeof *names);
    for (size_t i = 0; i < n; i++) { /* entry() may change the directory */
        names[i] = mem_str(node->names_cur.v[i].name);
    }
    for (size_t i = 0; i < n; i++) {
        entry(arg, names[i]);
        mem_free(names[i]);
    }
    mem_free(names);
    return 0;
}

int disk_flip(struct disk *disk, const char *path, uint64_t at, uint8_t bits)
{
    struct disk_node *dir, *node;
    uint8_t byte;
    int rv = lookup(disk, path, &dir, &node);
    if (rv) {
        return rv;
    }
    if (node->is_dir || pages_read(&node->cur, &byte, 1, at) != 1) {
        return E_INVALID;
    }
    byte ^= bits;
    disk_write(disk, node, &byte, 1, at, 0, 0); /* on top of what is not settled yet */
    return 0;
}

size_t disk_unsettled(struct disk *disk, const char *path)
{
    struct disk_node *dir, *node;
    size_t n = 0;
    if (lookup(disk, path, &dir, &node)) {
        return 0;
    }
    for (const struct disk_op *op = node->ops; op; op = op->next) {
        n += op->durable == DISK_NEVER;
    }
    return n;
}
