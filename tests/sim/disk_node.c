/* disk_node.c: files and directories of a simulated disk, and their changes. See disk.h and disk_impl.h. */
#include "tests/sim/disk_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>

/* ---- names --------------------------------------------------------------------------------------------- */

static size_t names_find(const struct disk_names *names, const char *name, bool *found)
{
    size_t low = 0, high = names->n;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(names->v[mid].name, name);
        if (order == 0) {
            *found = true;
            return mid;
        }
        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct disk_node *disk_names_get(const struct disk_names *names, const char *name)
{
    bool found;
    size_t i = names_find(names, name, &found);
    return found ? names->v[i].node : NULL;
}

void disk_names_set(struct disk_names *names, const char *name, struct disk_node *node)
{
    bool found;
    size_t i = names_find(names, name, &found);
    struct disk_node *old = found ? names->v[i].node : NULL;
    if (node && found) {
        names->v[i].node = disk_node_ref(node);
    } else if (node) {
        names->v = mem_grow(names->v, names->n + 1, sizeof *names->v);
        memmove(names->v + i + 1, names->v + i, (names->n - i) * sizeof *names->v);
        names->v[i] = (struct disk_entry){.name = mem_str(name), .node = disk_node_ref(node)};
        names->n++;
    } else if (found) {
        mem_free(names->v[i].name);
        memmove(names->v + i, names->v + i + 1, (names->n - i - 1) * sizeof *names->v);
        names->n--;
    }
    disk_node_unref(old);
}

static void names_free(struct disk_names *names)
{
    for (size_t i = 0; i < names->n; i++) {
        mem_free(names->v[i].name);
        disk_node_unref(names->v[i].node);
    }
    mem_free(names->v);
    *names = (struct disk_names){0};
}

/* ---- changes ------------------------------------------------------------------------------------------- */

struct disk_op *disk_op_add(struct disk_node *node, uint64_t begun, uint64_t durable)
{
    struct disk_op *op = mem_new(sizeof *op);
    op->begun = begun;
    op->durable = durable;
    *node->ops_tail = op;
    node->ops_tail = &op->next;
    return op;
}

struct disk_op *disk_op_copy(struct disk_node *to, const struct disk_op *op)
{
    struct disk_op *copy = disk_op_add(to, op->begun, op->durable);
    copy->lost = op->lost;
    copy->is_truncate = op->is_truncate;
    copy->at = op->at;
    copy->n = op->n;
    copy->data = op->data ? mem_dup(op->data, op->n) : NULL;
    copy->name[0] = mem_str(op->name[0]);
    copy->name[1] = mem_str(op->name[1]);
    return copy;
}

void disk_op_file(struct pages *p, const struct disk_op *op)
{
    if (op->is_truncate) {
        pages_truncate(p, op->at);
    } else {
        pages_write(p, op->data, op->n, op->at);
    }
}

void disk_op_names(struct disk_names *names, const struct disk_op *op)
{
    for (int i = 0; i < 2; i++) {
        if (op->name[i]) {
            disk_names_set(names, op->name[i], op->node[i]);
        }
    }
}

static void op_free(struct disk_op *op)
{
    if (op->twin) {
        op->twin->twin = NULL;
    }
    mem_free(op->data);
    for (int i = 0; i < 2; i++) {
        mem_free(op->name[i]);
        disk_node_unref(op->node[i]);
    }
    mem_free(op);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

struct disk_node *disk_node_new(bool is_dir)
{
    struct disk_node *node = mem_new(sizeof *node);
    node->is_dir = is_dir;
    node->refs = 1;
    node->ops_tail = &node->ops;
    return node;
}

struct disk_node *disk_node_ref(struct disk_node *node)
{
    node->refs++;
    return node;
}

void disk_node_unref(struct disk_node *node)
{
    if (!node || --node->refs > 0) {
        return;
    }
    while (node->ops) {
        struct disk_op *op = node->ops;
        node->ops = op->next;
        op_free(op);
    }
    names_free(&node->names_base);
    names_free(&node->names_cur);
    pages_free(&node->base);
    pages_free(&node->cur);
    mem_free(node);
}

/* What is durable for good and stands at the head of the list goes into the base. */
static void node_settle(struct disk_node *node, uint64_t settled)
{
    while (node->ops && node->ops->durable <= settled) {
        struct disk_op *op = node->ops;
        if (node->is_dir) {
            disk_op_names(&node->names_base, op);
        } else {
            disk_op_file(&node->base, op);
        }
        node->ops = op->next;
        if (!node->ops) {
            node->ops_tail = &node->ops;
        }
        op_free(op);
    }
}

/* ---- files --------------------------------------------------------------------------------------------- */

static bool only_zeros(const uint8_t *data, size_t n)
{
    return n == 0 || (data[0] == 0 && memcmp(data, data + 1, n - 1) == 0);
}

void disk_write(struct disk *disk, struct disk_node *node, const void *data, size_t n, uint64_t at,
                uint64_t now, uint64_t durable)
{
    CHECK(!node->is_dir);
    node_settle(node, disk->settled);
    struct disk_op *op = disk_op_add(node, now, durable);
    op->at = at;
    op->n = n;
    op->data = only_zeros(data, n) ? NULL : mem_dup(data, n);
    disk_op_file(&node->cur, op);
}

size_t disk_read(const struct disk_node *node, void *data, size_t n, uint64_t at)
{
    return pages_read(&node->cur, data, n, at);
}

void disk_truncate(struct disk *disk, struct disk_node *node, uint64_t size, uint64_t now)
{
    CHECK(!node->is_dir);
    node_settle(node, disk->settled);
    struct disk_op *op = disk_op_add(node, now, DISK_NEVER);
    op->is_truncate = true;
    op->at = size;
    disk_op_file(&node->cur, op);
}

void disk_sync(struct disk *disk, struct disk_node *node, uint64_t durable)
{
    node_settle(node, disk->settled);
    for (struct disk_op *op = node->ops; op; op = op->next) {
        if (!op->lost && durable < op->durable) {
            op->durable = durable;
            if (op->twin) {
                op->twin->durable = durable;
            }
        }
    }
}

void disk_sync_failed(struct disk_node *node)
{
    for (struct disk_op *op = node->ops; op; op = op->next) {
        op->lost = op->lost || op->durable == DISK_NEVER;
        if (op->twin) {
            op->twin->lost = op->lost;
        }
    }
}

uint64_t disk_size(const struct disk_node *node)
{
    return node->cur.size;
}

uint64_t disk_extent(const struct disk_node *node)
{
    return pages_extent(&node->cur);
}
