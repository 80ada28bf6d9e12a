/* wal.c: writes the log: appends in block-aligned writes, rolls to a new segment when one is full, gives segments back.
 *
 * Happy path: wal_append lays records into the aligned block buffer, pads to a whole block, writes it (durable on return). The next
 * segment's file lies ready: an old one, or one zeroed ahead on another env. Failure:
 * the error goes up with file and offset, and the caller ends the process. Recovery is in wal_recover.c. */
#include "raft/wal.h"

#include "raft/mutation.h"
#include "raft/wal_format.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


static uint64_t round_block(uint64_t n)
{
    return (n + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK;
}

int wal_zero(struct env_file *file, uint64_t from, uint8_t *zeros, struct errmsg *em)
{
    memset(zeros, 0, WAL_ZERO_CHUNK);
    for (uint64_t at = from; at < WAL_SEGMENT;) {
        uint64_t n = WAL_SEGMENT - at < WAL_ZERO_CHUNK ? WAL_SEGMENT - at : WAL_ZERO_CHUNK;
        int rv = env_pwrite(file, zeros, (size_t)n, at, em);
        if (rv) {
            return rv;
        }
        at += n;
    }
    return 0;
}

/* ---- spares --------------------------------------------------------------------------------------------------- */

static void spare_name(struct wal *wal, char *name, char *path)
{
    snprintf(name, WAL_NAME_MAX, "spare-%llu", (unsigned long long)wal->next_spare++);
    wal_path(wal, name, path, WAL_PATH_MAX);
}

static int make_spare(struct env *env, const char *path, uint8_t *zeros, struct errmsg *em)
{
    struct env_file *file;
    int rv = env_open(env, path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_DURABLE, &file, em);
    if (!rv) {
        rv = wal_zero(file, 0, zeros, em);
        env_close(file);
    }
    return rv;
}

bool wal_spare_begin(struct wal *wal, struct wal_spare *spare)
{
    char name[WAL_NAME_MAX];
    if (wal->spare_begun || wal->spare_failed || wal->n_spares >= WAL_SPARES_READY) {
        return false;
    }
    wal->spare_begun = true;
    spare->rv = 0;
    spare_name(wal, name, spare->path);
    return true;
}

void wal_spare_make(struct wal_spare *spare)
{
    uint8_t *zeros = aligned_alloc(ENV_BLOCK, WAL_ZERO_CHUNK);
    CHECK(zeros);
    spare->rv = make_spare(spare->env, spare->path, zeros, &spare->em);
    if (spare->rv) { /* a part is of no use, and its room may be what the log lacks */
        (void)env_unlink(spare->env, spare->path, NULL);
    }
    free(zeros);
}

void wal_spare_take(struct wal *wal, struct wal_spare *spare)
{
    wal->spare_begun = false;
    wal->spare_failed = spare->rv != 0;
    if (!spare->rv) {
        CHECK(wal->n_spares < WAL_SPARES_MAX); /* see retire_oldest */
        snprintf(wal->spares[wal->n_spares++], WAL_NAME_MAX, "%s", strrchr(spare->path, '/') + 1);
    }
}

/* ---- segments ------------------------------------------------------------------------------------------------- */

/* A whole file to write a segment into; made here when none was made ahead. Leaves it open in wal->file. */
static int take_spare(struct wal *wal, char *name, struct errmsg *em)
{
    char path[WAL_PATH_MAX];
    int rv = 0;
    if (wal->n_spares) {
        memcpy(name, wal->spares[--wal->n_spares], WAL_NAME_MAX);
        wal_path(wal, name, path, sizeof path);
    } else {
        spare_name(wal, name, path);
        rv = make_spare(wal->env, path, wal->block, em);
    }
    wal->spare_failed = false;
    return rv ? rv : env_open(wal->env, path, ENV_READ | ENV_WRITE | (MUTATED(WAL_NO_SYNC) ? 0 : ENV_DURABLE), &wal->file, em);
}

int wal_roll(struct wal *wal, struct errmsg *em)
{
    char name[WAL_NAME_MAX], from[WAL_PATH_MAX], to[WAL_PATH_MAX];
    uint64_t epoch = wal->n_segments ? wal->segments[wal->n_segments - 1].epoch + 1 : 1;
    if (wal->file) {
        env_close(wal->file);
        wal->file = NULL;
    }
    int rv = take_spare(wal, name, em);
    if (rv) {
        return rv;
    }
    wal->chain = wal_header_put(wal->block, epoch, wal->write_no, wal->chain);
    rv = env_pwrite(wal->file, wal->block, ENV_BLOCK, 0, em);
    env_close(wal->file);
    wal->file = NULL;
    wal_path(wal, name, from, sizeof from);
    wal_segment_path(wal, epoch, to, sizeof to);
    rv = rv ? rv : env_rename(wal->env, from, to, em);
    rv = rv ? rv : env_sync_dir(wal->env, wal->dir, em);
    /* by its new name, which is what an error of a later write must say */
    rv = rv ? rv : env_open(wal->env, to, ENV_READ | ENV_WRITE | ENV_DURABLE, &wal->file, em);
    if (rv) {
        return rv;
    }
    wal->segments = mem_grow(wal->segments, wal->n_segments + 1, sizeof *wal->segments);
    wal->segments[wal->n_segments++] = (struct wal_segment){.epoch = epoch};
    wal->end = ENV_BLOCK;
    return 0;
}

static struct wal_segment *current(struct wal *wal)
{
    return &wal->segments[wal->n_segments - 1];
}

/* As many of the records as go into one write, at least one. Sets *bytes to what they take. */
static size_t records_of_write(const struct wal_record *records, size_t n, uint64_t room, size_t *bytes)
{
    size_t count = 0;
    *bytes = 0;
    for (; count < n; count++) {
        size_t need = WAL_RECORD_HEAD + records[count].len;
        if (*bytes + need > room || *bytes + need > WAL_WRITE_MAX) {
            break;
        }
        *bytes += need;
    }
    return count;
}

static int write_records(struct wal *wal, const struct wal_record *records, size_t n, size_t bytes, struct errmsg *em)
{
    uint8_t *p = wal->block;
    for (size_t i = 0; i < n; i++) {
        struct wal_head head = {.prev = wal->chain,
                                .epoch = current(wal)->epoch,
                                .write_no = wal->write_no,
                                .index = records[i].index,
                                .term = records[i].term,
                                .len = (uint32_t)records[i].len,
                                .type = records[i].type,
                                .flags = i + 1 == n ? WAL_LAST_OF_WRITE : 0};
        wal->chain = wal_record_put(p, &head, records[i].data);
        p += WAL_RECORD_HEAD + records[i].len;
        if (records[i].type < WAL_TYPE_TRUNCATE && records[i].index > current(wal)->max_index) {
            current(wal)->max_index = records[i].index;
        }
    }
    size_t padded = (size_t)round_block(bytes);
    memset(p, 0, padded - bytes);
    int rv = env_pwrite(wal->file, wal->block, padded, wal->end, em);
    if (rv) {
        return rv;
    }
    wal->end += padded;
    wal->write_no++;
    return 0;
}

int wal_append(struct wal *wal, const struct wal_record *records, size_t n, struct errmsg *em)
{
    while (n) {
        size_t bytes;
        CHECK(WAL_RECORD_HEAD + records[0].len <= WAL_WRITE_MAX);
        size_t count = records_of_write(records, n, WAL_SEGMENT - wal->end, &bytes);
        int rv = count ? write_records(wal, records, count, bytes, em) : wal_roll(wal, em);
        if (rv) {
            return rv;
        }
        records += count;
        n -= count;
    }
    return 0;
}

int wal_truncate(struct wal *wal, uint64_t index, struct errmsg *em)
{
    struct wal_record mark = {.index = index, .type = WAL_TYPE_TRUNCATE};
    return wal_append(wal, &mark, 1, em);
}

int wal_reset(struct wal *wal, uint64_t index, struct errmsg *em)
{
    struct wal_record mark = {.index = index, .type = WAL_TYPE_RESET};
    int rv = wal_append(wal, &mark, 1, em);
    return rv ? rv : wal_compact(wal, UINT64_MAX, em);
}

/* The oldest segment becomes a spare, or goes. */
static int retire_oldest(struct wal *wal, struct errmsg *em)
{
    char path[WAL_PATH_MAX], spare[WAL_PATH_MAX], name[WAL_NAME_MAX];
    int rv;
    wal_segment_path(wal, wal->segments[0].epoch, path, sizeof path);
    if (wal->n_spares + wal->spare_begun < WAL_SPARES_MAX) {
        spare_name(wal, name, spare);
        rv = env_rename(wal->env, path, spare, em);
        if (!rv) {
            memcpy(wal->spares[wal->n_spares++], name, sizeof name);
        }
    } else {
        rv = env_unlink(wal->env, path, em);
    }
    if (!rv) {
        wal->n_segments--;
        memmove(wal->segments, wal->segments + 1, wal->n_segments * sizeof *wal->segments);
    }
    return rv;
}

int wal_compact(struct wal *wal, uint64_t index, struct errmsg *em)
{
    size_t before = wal->n_segments;
    while (wal->n_segments > 1 && wal->segments[0].max_index <= index) {
        int rv = retire_oldest(wal, em);
        if (rv) {
            return rv;
        }
    }
    return before == wal->n_segments ? 0 : env_sync_dir(wal->env, wal->dir, em);
}

uint64_t wal_disk_bytes(const struct wal *wal)
{
    return (uint64_t)(wal->n_segments + wal->n_spares) * WAL_SEGMENT;
}

int wal_open(struct env *env, const char *dir, struct wal **out, struct wal_found *found, struct errmsg *em)
{
    struct wal *wal = mem_new(sizeof *wal);
    *found = (struct wal_found){0};
    wal->env = env;
    wal->dir = mem_str(dir);
    wal->write_no = 1;
    wal->spares = mem_array(WAL_SPARES_MAX, WAL_NAME_MAX);
    wal->block = aligned_alloc(ENV_BLOCK, WAL_WRITE_MAX + ENV_BLOCK);
    CHECK(wal->block);
    int rv = wal_recover(wal, found, em);
    if (!rv && !wal->n_segments) {
        rv = wal_roll(wal, em);
    }
    if (rv) {
        wal_found_free(found);
        wal_close(wal);
        return err_wrap(em, rv, "cannot open the write-ahead log in %s", dir);
    }
    *out = wal;
    return 0;
}

void wal_found_free(struct wal_found *found)
{
    for (size_t i = 0; i < found->n; i++) {
        mem_free((void *)(uintptr_t)found->records[i].data);
    }
    mem_free(found->records);
    *found = (struct wal_found){0};
}

void wal_close(struct wal *wal)
{
    if (wal->file) {
        env_close(wal->file);
    }
    mem_free(wal->segments);
    mem_free(wal->spares);
    mem_free(wal->dir);
    free(wal->block);
    mem_free(wal);
}
