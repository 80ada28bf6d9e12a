/* scan.h: walks over a file in steps, checks every event, and gives bytes and transaction ends to an index
 * builder: for an index that is made again, and for one that is compared with its file.
 *
 * Owner: whoever made it; one thread at a time. Blocking reads of at most a step's bytes (or one event). */
#ifndef HOLDFAST_STORAGE_SCAN_H
#define HOLDFAST_STORAGE_SCAN_H

#include "protocol/base/env.h"
#include "storage/index.h"

struct scan;

/* Events from `from` (a place of the index, or 4) to `to` are looked at; the builder gets all bytes from its
 * index_builder_at on. The builder stays the caller's. */
int scan_open(struct env *env, const char *path, struct index_builder *builder, uint64_t from, uint64_t to,
              struct scan **out, struct errmsg *em);
void scan_close(struct scan *scan); /* NULL is fine */

/* 1: more is left, 0: done, E_CORRUPT and others with file and offset. `bytes` more, or a little beyond. */
int scan_step(struct scan *scan, uint64_t bytes, struct errmsg *em);

/* The file has grown, up to `to`. If it goes on growing, an event that is not all there is no damage: scan_step says 0 in front of it, and goes on
 * from there when there is more. */
void scan_grow(struct scan *scan, uint64_t to, bool grows);

/* n bytes of the file that begin at `at`, for who has them at hand: what is not given, not in order, or too much of one
 * event, is read. */
void scan_give(struct scan *scan, uint64_t at, const uint8_t *bytes, size_t n);

/* All of the file's bytes are compared with a sum by somebody else: events are not. */
void scan_trust(struct scan *scan);

uint64_t scan_at(const struct scan *scan);
uint64_t scan_events(const struct scan *scan);
uint32_t scan_sum(const struct scan *scan); /* CRC32C of all bytes so far, when they were looked at from 4 on */

/* Gives the bytes up to `to` without a look at events: what stands behind the last transaction end. */
int scan_raw(struct env_file *file, const char *path, struct index_builder *builder, uint64_t to,
             struct errmsg *em);

#endif
