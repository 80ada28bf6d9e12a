/* impl.h: private to storage/: the parts of a store, each with the thread that may touch it. */
#ifndef HOLDFAST_STORAGE_IMPL_H
#define HOLDFAST_STORAGE_IMPL_H

#include "protocol/base/env.h"
#include "storage/catalog.h"
#include "storage/checkpoint.h"
#include "storage/index.h"
#include "storage/install.h"
#include "storage/purge.h"
#include "storage/store.h"

#include <stdatomic.h>

enum {
    STORE_RUN = 1 << 20,       /* bytes of adjacent writes put together */
    WATERMARK_OFFSET_BITS = 42, /* 4 TiB a file, 4 million files in the life of a process */
    STORE_WALK_MAX = 4 << 20,   /* see struct store_options */
    REBUILD_STEP = 1 << 20,     /* bytes of a file that are indexed between two jobs */
    DAMAGED_MAX = 64,           /* files whose index cannot be made that are remembered */
    DAMAGES_MAX = 16,           /* damaged files that are kept for the status */
    PURGE_STEP = 4,             /* files that are unlinked between two jobs */
    OLDER_MAX = 64              /* files that one store_find_older looks at */
};

enum job_kind { JOB_FILE, JOB_WRITE, JOB_CUT, JOB_PURGE, JOB_RESET, JOB_INSTALL, JOB_CHECKPOINT, JOB_DRAIN, JOB_OLDER, JOB_CLOSE };

/* Made on the loop, run on the storage env, finished and freed on the loop: owned by whose queue it is in. */
struct store_job {
    struct env_msg msg;
    struct store *store;
    struct store_job *next; /* in store.held, then in writer.waiting */
    enum job_kind kind;
    uint64_t index;
    uint64_t offset, boundary;
    uint32_t sum; /* JOB_FILE: of the file before */
    const uint8_t *bytes;
    size_t n;
    struct store_txns txns;    /* JOB_WRITE: next is NULL when there is no list */
    struct catalog_file *file; /* JOB_FILE, JOB_PURGE: one reference; taken by the storage env */
    const struct install *install; /* JOB_INSTALL: the caller's */
    struct store_older *older; /* JOB_OLDER: the caller's */
    char keep[STORE_KEEP_SIZE]; /* JOB_RESET */
    void (*done)(void *arg);
    void *arg;
};

/* The index of the newest file. */
struct writer_index {
    struct index_builder *builder; /* NULL: there is no file, or it is damaged and has no index */
    struct env_file *file;
    char *path;
    uint64_t at; /* bytes written */
    bool dirty;
};

/* Sealed files whose index is to be made again; a reader asks, the storage env does it between its jobs. */
struct rebuild {
    struct env_msg msg;
    struct store *store;
    struct rebuild *next;
    struct catalog_file *file; /* one reference */
    uint64_t size;
    struct index_builder *builder;
    struct scan *scan;
};

/* A purge that is under way, a step between two jobs. */
struct purge_run {
    struct env_msg msg;
    struct store *store;
    struct purge purge;
};

/* The storage env's part. */
struct writer {
    struct env *env;
    struct store *store;
    char *data_dir, *binlog_dir;
    struct catalog *catalog; /* what was published last */
    struct env_file *newest; /* opened when needed */
    uint64_t end;            /* of the newest file, what waits in the run counted */
    uint64_t boundary;       /* last transaction end given */
    struct writer_index index;
    struct rebuild *rebuilds, **rebuilds_tail; /* the first one is at work */
    struct purge_run *purging;                 /* NULL: none; its message is under way */
    bool closing;
    bool dirty;              /* the newest file has bytes that are not synced */
    uint8_t *run;            /* adjacent bytes that are not written yet: [end - run_len, end) */
    size_t run_len;
    struct store_job *waiting, **waiting_tail; /* writes to complete when the run is written */
    uint64_t opened_index;                     /* checkpoint found at the start: jobs up to it are skipped */
    uint64_t last_index;                       /* of the last job */
    uint64_t checkpoint_index;                 /* of the last checkpoint written */
    uint64_t checkpoint_ordinal, checkpoint_size; /* its newest file */
    uint64_t list;                                /* number of the list file */
    struct store_sub *subs;
};

struct store {
    /* loop env */
    struct env *loop;
    struct env *env; /* storage */
    uint64_t checkpoint_index;
    uint64_t pending;
    bool closing;
    struct store_job *held, **held_tail; /* writes that the storage env is not woken for yet */
    size_t held_bytes;
    uint64_t posted_at;
    struct env_timer hold;
    bool holding; /* the timer runs */
    struct store_damage damages[DAMAGES_MAX];
    size_t n_damages;
    uint64_t purged_era; /* the files before this one were purged; 0: none yet */
    char purged_name[STORE_NAME_SIZE];
    /* constant */
    char *index_dir;
    struct store_options options;
    /* any thread */
    _Atomic uint64_t queued;    /* jobs posted and not begun: while there are some, a run may wait */
    _Atomic uint64_t watermark; /* ordinal << WATERMARK_OFFSET_BITS | offset; 0: nothing */
    _Atomic uint64_t damaged[DAMAGED_MAX]; /* ordinals: storage/rebuild.c */
    _Atomic unsigned damage_reports; /* on their way to the loop */
    /* storage env */
    struct writer writer;
    unsigned next_damaged;
};

/* ---- writer.c: on the storage env ---------------------------------------------------------------------- */

void writer_run_job(struct env_msg *msg);

/* What writer.c gives writer_purge.c. */
void writer_flush(struct writer *w);
void writer_close_files(struct writer *w); /* the newest one and its index; all is written */
void writer_checkpoint(struct writer *w, uint64_t index); /* syncs what is written, and says so */
void writer_die_if(struct writer *w, int rv, const char *doing, const char *what, const struct errmsg *em);

/* "dir/base.index", the list of names of the file's era; to be freed with mem_free. */
char *writer_names_path(const char *dir, const char *name);

/* ---- writer_purge.c: on the storage env ------------------------------------------------------------------ */

void writer_purge(struct writer *w, const struct store_job *job);
/* Fetched files instead of those that are here; the newest one is closed. */
void writer_install(struct writer *w, const struct install *install);
void writer_purge_finish(struct writer *w); /* what is under way, at once */
void writer_purge_drop(struct writer *w);   /* the store is closing */
void writer_find_older(struct writer *w, struct store_older *older);

/* ---- reset.c --------------------------------------------------------------------------------------------- */

void writer_reset(struct writer *w, const struct store_job *job);
/* At the start, on the loop: ends what was begun before the checkpoint that names `list`. */
int reset_resume(struct env *env, const char *binlog_dir, const char *index_dir, uint64_t list, struct errmsg *em);

/* ---- writer_index.c: on the storage env, at the start on the loop ---------------------------------------- */

/* The index of the newest file, brought to the checkpoint. */
int writer_index_resume(struct writer *w, struct env *env, const struct catalog_file *file,
                        const struct checkpoint *cp, struct errmsg *em);
/* For a new file, whose first bytes are these. */
void writer_index_begin(struct writer *w, const struct catalog_file *file, const uint8_t *bytes, size_t n);
void writer_index_bytes(struct writer *w, const struct store_job *job);
void writer_index_flush(struct writer *w); /* the bytes are written */
void writer_index_cut(struct writer *w);   /* they are cut to w->end */
void writer_index_checkpoint(struct writer *w); /* all is written: a start will go on from here */
void writer_index_sync(struct writer *w);
void writer_index_seal(struct writer *w); /* no more bytes come; ends with writer_index_close */
void writer_index_close(struct writer *w);

/* ---- rebuild.c ----------------------------------------------------------------------------------------- */

/* On any env that holds a subscription: the index of this sealed file is wanted again. Subscribers are woken
 * when it is there. Asking twice is fine. False: it was tried already, and the file is damaged. */
bool rebuild_ask(struct store *store, struct catalog_file *file, uint64_t size);
void rebuild_drop_all(struct writer *w);

/* ---- recover.c: at the start, on the loop ---------------------------------------------------------------- */

/* Brings the files to the checkpoint; `files` are those that it names, to be unreferenced. */
int recover(struct env *env, const char *data_dir, const char *binlog_dir, const char *index_dir,
            struct checkpoint *cp, struct filelist **files, struct errmsg *em);

/* ---- sweep.c: at the start, on the loop -------------------------------------------------------------------- */

/* Removes binlog files and indexes that `files` does not name. */
int sweep(struct env *env, const char *binlog_dir, const char *index_dir, const struct filelist *files, struct errmsg *em);

/* ---- damage.c ------------------------------------------------------------------------------------------- */

/* On any env that holds a subscription, on the storage env, or on the loop. */
void damage_purge(struct store *store, uint64_t era, const char *name); /* the files before it go; on the loop */
void damage_found(struct store *store, uint64_t era, const char *name, const struct errmsg *em);

/* ---- store.c ------------------------------------------------------------------------------------------- */

void store_job_done(struct env_msg *msg); /* on the loop */

/* ---- catalog.c ----------------------------------------------------------------------------------------- */

int catalog_load(const char *binlog_dir, const struct filelist *files, struct catalog **out, struct errmsg *em);
struct catalog_file *catalog_file_new(const char *binlog_dir, uint64_t era, const char *name,
                                      const struct gtid_set *state_before);
struct catalog_file *catalog_file_ref(struct catalog_file *file);
void catalog_file_unref(struct catalog_file *file);
/* No file; the next one does not follow the last one of `old`. */
struct catalog *catalog_after_reset(const struct catalog *old);
/* The list without the files before file `at`. */
int catalog_purge(const struct catalog *old, size_t at, struct catalog **out, struct errmsg *em);
/* These files instead: the same ones, grown, and later ones; some of the oldest may be gone. */
int catalog_install(const struct catalog *old, const struct filelist *files, struct catalog **out, struct errmsg *em);
/* A list with `file` behind the others (takes the reference); the one before is sealed with `size`. */
struct catalog *catalog_extend(const struct catalog *old, uint64_t size, uint32_t sum, struct catalog_file *file);

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
