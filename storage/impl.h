/* impl.h: private to storage/: the parts of a store, each with the thread that may touch it. */
#ifndef HOLDFAST_STORAGE_IMPL_H
#define HOLDFAST_STORAGE_IMPL_H

#include "protocol/base/env.h"
#include "storage/catalog.h"
#include "storage/checkpoint.h"

#include <stdatomic.h>

enum {
    STORE_RUN = 1 << 20,       /* bytes of adjacent writes put together */
    WATERMARK_OFFSET_BITS = 42 /* 4 TiB a file, 4 million files in the life of a process */
};

enum job_kind { JOB_FILE, JOB_WRITE, JOB_CUT, JOB_CHECKPOINT, JOB_DRAIN, JOB_CLOSE };

/* Made on the loop, run on the storage env, finished and freed on the loop: owned by whose queue it is in. */
struct store_job {
    struct env_msg msg;
    struct store *store;
    struct store_job *next; /* in writer.waiting */
    enum job_kind kind;
    uint64_t index;
    uint64_t offset, boundary;
    const uint8_t *bytes;
    size_t n;
    struct catalog_file *file; /* JOB_FILE: one reference; taken by the storage env */
    void (*done)(void *arg);
    void *arg;
};

/* The storage env's part. */
struct writer {
    struct env *env;
    struct store *store;
    char *binlog_dir;
    struct catalog *catalog; /* what was published last */
    struct env_file *newest; /* opened when needed */
    uint64_t end;            /* of the newest file, what waits in the run counted */
    uint64_t boundary;       /* last transaction end given */
    bool dirty;              /* the newest file has bytes that are not synced */
    uint8_t *run;            /* adjacent bytes that are not written yet: [end - run_len, end) */
    size_t run_len;
    struct store_job *waiting, **waiting_tail; /* writes to complete when the run is written */
    uint64_t opened_index;                     /* checkpoint found at the start: jobs up to it are skipped */
    uint64_t last_index;                       /* of the last job */
    uint64_t checkpoint_index;                 /* of the last checkpoint written */
    uint64_t checkpoint_ordinal, checkpoint_size; /* its newest file */
    struct store_sub *subs;
};

struct store {
    /* loop env */
    struct env *loop;
    struct env *env; /* storage */
    uint64_t checkpoint_index;
    uint64_t pending;
    bool closing;
    /* any thread */
    _Atomic uint64_t queued;    /* jobs posted and not begun: while there are some, a run may wait */
    _Atomic uint64_t watermark; /* ordinal << WATERMARK_OFFSET_BITS | offset; 0: nothing */
    /* storage env */
    struct writer writer;
};

/* ---- writer.c: on the storage env ---------------------------------------------------------------------- */

void writer_run_job(struct env_msg *msg);

/* ---- store.c ------------------------------------------------------------------------------------------- */

void store_job_done(struct env_msg *msg); /* on the loop */

/* ---- catalog.c ----------------------------------------------------------------------------------------- */

/* What a checkpoint names. */
struct catalog *catalog_load(const char *binlog_dir, const struct checkpoint *cp);
struct catalog_file *catalog_file_new(const char *binlog_dir, uint64_t era, const char *name,
                                      const struct gtid_set *state_before);
struct catalog_file *catalog_file_ref(struct catalog_file *file);
void catalog_file_unref(struct catalog_file *file);
/* A list with `file` behind the others (takes the reference); the one before is sealed with `size`. */
struct catalog *catalog_extend(const struct catalog *old, uint64_t size, struct catalog_file *file);

/* Storage env: puts the writer's catalog into each subscriber's mail; wakes each subscriber. */
void catalog_mail(struct writer *writer);
void catalog_wake(struct writer *writer);

static inline uint64_t watermark_of(uint64_t ordinal, uint64_t offset)
{
    return ordinal << WATERMARK_OFFSET_BITS | offset;
}
static inline uint64_t watermark_ordinal(uint64_t watermark)
{
    return watermark >> WATERMARK_OFFSET_BITS;
}
static inline uint64_t watermark_offset(uint64_t watermark)
{
    return watermark & ((UINT64_C(1) << WATERMARK_OFFSET_BITS) - 1);
}

#endif
