/* disk_image.c: what a crash leaves of a disk. See disk.h.
 *
 * Each node decides by itself what becomes of its changes that were not durable: a mode is drawn, then (for
 * some modes) a lot for each change or sector. Nodes are copied as they are found from the root on, so names
 * that did not survive take their files along. */
#include "tests/sim/disk_impl.h"

#include "protocol/base/mem.h"

#include <string.h>

enum mode { KEEP_NONE, KEEP_ALL, KEEP_FIRST, KEEP_ANY, KEEP_SECTORS, MODES };

struct image {
    uint64_t now;
    uint64_t round;
    bool power_lost;
    struct rng *rng;
};

static struct disk_node *copy_node(struct image *image, struct disk_node *node);

static size_t count_unsafe(const struct image *image, const struct disk_node *node)
{
    size_t n = 0;
    for (const struct disk_op *op = node->ops; op; op = op->next) {
        n += op->begun <= image->now && op->durable > image->now;
    }
    return n;
}

/* Some sectors of a write; perhaps the size of all of it. */
static void keep_sectors(struct image *image, struct pages *p, const struct disk_op *op)
{
    uint64_t sector = rng_chance(image->rng, 50) ? 512 : 4096;
    bool prefix = rng_chance(image->rng, 30);
    uint64_t end = op->at + op->n;
    if (rng_chance(image->rng, 25) && end > p->size) {
        pages_truncate(p, end);
    }
    for (uint64_t at = op->at; at < end;) {
        uint64_t next = (at / sector + 1) * sector;
        size_t k = (size_t)((next < end ? next : end) - at);
        if (rng_chance(image->rng, 50)) {
            pages_write(p, op->data ? op->data + (at - op->at) : NULL, k, at);
        } else if (prefix) {
            return;
        }
        at += k;
    }
}

/* Both halves of a rename share the fate of the one that is looked at first. */
static bool is_kept(const struct image *image, struct disk_op *op, bool drawn)
{
    op->kept = op->twin && op->twin->image_round == image->round ? op->twin->kept : drawn;
    op->image_round = image->round;
    return op->kept;
}

/* The content after a loss of power: all of it is durable. */
static void lose_power(struct image *image, const struct disk_node *from, struct disk_node *to)
{
    size_t unsafe = count_unsafe(image, from), seen = 0;
    enum mode mode = unsafe ? (enum mode)rng_below(image->rng, MODES) : KEEP_ALL;
    size_t first = unsafe ? (size_t)rng_below(image->rng, unsafe + 1) : 0;
    for (struct disk_op *op = from->ops; op; op = op->next) {
        bool safe = op->durable <= image->now;
        if (op->begun > image->now) {
            continue;
        }
        seen += !safe;
        bool drawn = safe || mode == KEEP_ALL || (mode == KEEP_FIRST && seen <= first) ||
                    (mode >= KEEP_ANY && rng_chance(image->rng, 50));
        if (!is_kept(image, op, drawn)) {
            continue;
        }
        if (to->is_dir) {
            struct disk_op mapped = *op;
            for (int i = 0; i < 2; i++) {
                mapped.node[i] = op->node[i] ? copy_node(image, op->node[i]) : NULL;
            }
            disk_op_names(&to->names_base, &mapped);
        } else if (!safe && mode == KEEP_SECTORS && !op->is_truncate) {
            keep_sectors(image, &to->base, op);
        } else {
            disk_op_file(&to->base, op);
        }
    }
}

/* The death of a process loses nothing; what was not durable still is not. */
static void lose_process(struct image *image, const struct disk_node *from, struct disk_node *to)
{
    for (struct disk_op *op = from->ops; op; op = op->next) {
        if (op->begun > image->now) {
            continue;
        }
        struct disk_op *copy = disk_op_copy(to, op);
        op->copy = copy;
        op->image_round = image->round;
        if (op->twin && op->twin->image_round == image->round) {
            copy->twin = op->twin->copy;
            copy->twin->twin = copy;
        }
        for (int i = 0; i < 2; i++) {
            copy->node[i] = op->node[i] ? disk_node_ref(copy_node(image, op->node[i])) : NULL;
        }
    }
}

static void sum_up(struct disk_node *node)
{
    for (size_t i = 0; i < node->names_base.n; i++) {
        disk_names_set(&node->names_cur, node->names_base.v[i].name, node->names_base.v[i].node);
    }
    pages_copy(&node->cur, &node->base);
    for (const struct disk_op *op = node->ops; op; op = op->next) {
        if (node->is_dir) {
            disk_op_names(&node->names_cur, op);
        } else {
            disk_op_file(&node->cur, op);
        }
    }
}

/* The copy belongs to the names that hold it; the first reference is dropped at the end by drop_first. */
static struct disk_node *copy_node(struct image *image, struct disk_node *node)
{
    if (node->copy_round == image->round) {
        return node->copy;
    }
    struct disk_node *copy = disk_node_new(node->is_dir);
    node->copy_round = image->round;
    node->copy = copy;
    copy->copy_round = 0;
    for (size_t i = 0; i < node->names_base.n; i++) {
        disk_names_set(&copy->names_base, node->names_base.v[i].name,
                       copy_node(image, node->names_base.v[i].node));
    }
    pages_copy(&copy->base, &node->base);
    if (image->power_lost) {
        lose_power(image, node, copy);
    } else {
        lose_process(image, node, copy);
    }
    sum_up(copy);
    return copy;
}

/* Gives back the reference that copy_node kept while the image was made, for all nodes that were copied. */
static void drop_first(struct image *image, struct disk_node *node)
{
    if (node->copy_round != image->round) {
        return;
    }
    node->copy_round = 0;
    for (size_t i = 0; i < node->names_base.n; i++) {
        drop_first(image, node->names_base.v[i].node);
    }
    for (const struct disk_op *op = node->ops; op; op = op->next) {
        for (int i = 0; i < 2; i++) {
            if (op->node[i]) {
                drop_first(image, op->node[i]);
            }
        }
    }
    disk_node_unref(node->copy);
    node->copy = NULL;
}

struct disk *disk_image(struct disk *disk, uint64_t now, bool power_lost, struct rng *rng)
{
    struct image image = {.now = now, .round = ++disk->round, .power_lost = power_lost, .rng = rng};
    struct disk *copy = mem_new(sizeof *copy);
    copy->root = disk_node_ref(copy_node(&image, disk->root));
    drop_first(&image, disk->root);
    return copy;
}
