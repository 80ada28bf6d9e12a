/* disk_impl.h: private to disk*.c. */
#ifndef HOLDFAST_SIM_DISK_IMPL_H
#define HOLDFAST_SIM_DISK_IMPL_H

#include "tests/sim/disk.h"
#include "tests/sim/pages.h"

struct disk_entry {
    char *name;
    struct disk_node *node; /* counted */
};

/* Sorted by name. */
struct disk_names {
    struct disk_entry *v;
    size_t n;
};

/* One change. Of a file: a write or (is_truncate) a new size. Of a directory: up to two names set (node) or
 * removed (NULL). */
struct disk_op {
    struct disk_op *next;
    uint64_t begun, durable;
    bool lost; /* a sync failed over it: no later one saves it */
    bool is_truncate;
    uint64_t at; /* or the new size */
    size_t n;
    uint8_t *data; /* NULL: zeros */
    char *name[2];
    struct disk_node *node[2]; /* counted */
    struct disk_op *twin;      /* of a rename into another directory: its other half; NULL: none, or it cannot get lost any more */
    struct disk_op *copy;      /* while an image is made */
    uint64_t image_round;
    bool kept; /* in that image */
};

/* The content is base, which nothing can undo, with ops on top; `cur` and `names_cur` hold the sum. */
struct disk_node {
    bool is_dir;
    size_t refs;
    struct disk_op *ops, **ops_tail;
    struct pages base, cur;
    struct disk_names names_base, names_cur;
    struct disk_node *copy; /* while an image is made */
    uint64_t copy_round;
};

struct disk {
    struct disk_node *root;
    uint64_t settled;
    uint64_t round;
};

struct disk_node *disk_node_new(bool is_dir);
struct disk_node *disk_node_ref(struct disk_node *node);
void disk_node_unref(struct disk_node *node); /* NULL is fine */
struct disk_op *disk_op_add(struct disk_node *node, uint64_t begun, uint64_t durable);
struct disk_op *disk_op_copy(struct disk_node *to, const struct disk_op *op); /* without the nodes of names */
void disk_op_file(struct pages *p, const struct disk_op *op);
void disk_op_names(struct disk_names *names, const struct disk_op *op);
struct disk_node *disk_names_get(const struct disk_names *names, const char *name);
void disk_names_set(struct disk_names *names, const char *name, struct disk_node *node); /* NULL removes */

#endif
