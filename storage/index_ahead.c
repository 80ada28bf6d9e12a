/* index_ahead.c: see index_ahead.h.
 *
 * Happy path: events that are whole are walked over (storage/scan.h), as far as the file has come; at its end the rest of its bytes is hashed.
 * If it grows afterwards, its index so far is taken as a start would take it: up to the last transaction's end, behind which the file may
 * have been cut.
 *
 * Failure modes: what cannot be walked over has no index; who reads the file later finds out why. */
#include "storage/index_ahead.h"

#include "protocol/base/mem.h"
#include "storage/scan.h"

#include <string.h>

struct index_ahead {
    struct env *env;
    char *path, *name;
    uint64_t era;
    uint32_t step, block;
    struct index_builder *builder;
    struct scan *scan; /* NULL: not begun */
    struct buf head;   /* of the index; the builder has what follows */
    uint64_t boundary;
    bool trusted;
};

struct index_ahead *index_ahead_new(struct env *env, const char *path, uint64_t era, const char *name, uint32_t step, uint32_t block)
{
    struct index_ahead *a = mem_new(sizeof *a);
    a->env = env;
    a->path = mem_str(path);
    a->name = mem_str(name);
    a->era = era;
    a->step = step;
    a->block = block;
    a->builder = index_builder_new(era, name, step, block);
    buf_init(&a->head, INDEX_MAX);
    return a;
}

void index_ahead_free(struct index_ahead *a)
{
    if (a) {
        scan_close(a->scan);
        index_builder_free(a->builder);
        buf_free(&a->head);
        mem_free(a->path);
        mem_free(a->name);
        mem_free(a);
    }
}

void index_ahead_trust(struct index_ahead *a, bool trust)
{
    a->trusted = trust;
}

uint64_t index_ahead_boundary(const struct index_ahead *a)
{
    return a->boundary;
}

int index_ahead_step(struct index_ahead *a, uint64_t there, const uint8_t *last, size_t n, uint64_t bytes, struct errmsg *em)
{
    uint64_t from = index_builder_place(a->builder);
    if (there < from) {
        return 0;
    }
    int rv = a->scan ? 0 : scan_open(a->env, a->path, a->builder, from, there, &a->scan, em);
    if (!rv) {
        if (a->trusted) {
            scan_trust(a->scan);
        }
        scan_grow(a->scan, there, true);
        scan_give(a->scan, there - n, last, n);
        rv = scan_step(a->scan, bytes, em);
    }
    return rv;
}

int index_ahead_end(struct index_ahead *a, uint64_t boundary, uint64_t size, bool sealed, struct buf *out, struct errmsg *em)
{
    struct env_file *file;
    int rv = a->scan ? 0 : err_set(em, E_CORRUPT, "%s: nothing of it was looked at", a->path);
    if (!rv && sealed) {
        scan_grow(a->scan, size, false);
        rv = scan_step(a->scan, UINT64_MAX, em);
    }
    if (!rv && scan_at(a->scan) < boundary) {
        rv = err_set(em, E_CORRUPT, "%s: no event ends at %llu", a->path, (unsigned long long)boundary);
    }
    rv = rv ? rv : env_open(a->env, a->path, ENV_READ, &file, em);
    if (!rv) {
        rv = scan_raw(file, a->path, a->builder, size, em);
        env_close(file);
    }
    if (rv) {
        return rv;
    }
    if (sealed) {
        index_builder_seal(a->builder);
    } else {
        index_builder_put_hashes(a->builder);
    }
    struct buf *made = index_builder_out(a->builder);
    a->boundary = sealed ? 0 : boundary;
    buf_bytes(out, a->head.data, a->head.len);
    buf_bytes(out, made->data, made->len);
    rv = made->err ? made->err : out->err;
    return rv ? err_set(em, rv, "%s: its index: %s", a->path, err_text(rv)) : 0;
}

int index_ahead_again(struct index_ahead *a, struct errmsg *em)
{
    struct buf *made = index_builder_out(a->builder);
    size_t kept = 0;
    buf_bytes(&a->head, made->data, made->len);
    scan_close(a->scan);
    a->scan = NULL;
    index_builder_free(a->builder);
    a->builder = a->head.err ? NULL : index_builder_load(a->head.data, a->head.len, a->era, a->name, a->step, a->block, a->boundary, a->boundary, &kept);
    a->boundary = 0;
    if (!a->builder) {
        return err_set(em, E_CORRUPT, "%s: its index cannot be taken up", a->path);
    }
    a->head.len = kept;
    return 0;
}
