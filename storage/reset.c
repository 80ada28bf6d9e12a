/* reset.c: the whole history is put away: its files are moved, not removed, and what comes next begins with nothing.
 *
 * Happy path, on the storage env: what is written is synced; a note with the place and the number of the next list of files is
 * stored; then the checkpoint that names that empty list. From there on the history is away, whatever happens: the directories of
 * the eras are renamed to binlog/old/NAME/ERA (on the same file system, so nothing is copied), the indexes and then the list from
 * before and the note are unlinked. Eras are never numbered again, so nothing there can be in the way.
 *
 * Failure modes: a crash before the checkpoint leaves a note that counts for nothing: the entry comes again from the log. One behind it:
 * the start goes on with the renames. A failed call is fatal, as for all of the storage env's. A note that is damaged is E_CORRUPT: the
 * start does not know where to put the files. */
#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "storage/dirs.h"
#include "storage/filelist.h"
#include "storage/impl.h"
#include "storage/store.h"

#include <stdio.h>
#include <string.h>

#define NOTE_MAGIC "HFRS"

enum { NOTE_VERSION = 1, NOTE_MAX = 1024, OLD_LIST_MAX = 1 << 30 };

struct note {
    uint64_t list; /* the first one behind it */
    char keep[STORE_KEEP_SIZE];
};

bool store_keep_ok(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        bool letter = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9');
        if (!letter && (i == 0 || !strchr("-_.", name[i]))) {
            return false;
        }
    }
    return n > 0 && n < STORE_KEEP_SIZE;
}

/* ---- the note ------------------------------------------------------------------------------------------ */

static int write_note(struct env *env, const char *binlog_dir, const struct note *note, struct errmsg *em)
{
    struct buf b;
    buf_init(&b, NOTE_MAX);
    buf_str(&b, NOTE_MAGIC);
    buf_u32(&b, NOTE_VERSION);
    buf_u64(&b, note->list);
    buf_lenenc_str(&b, note->keep);
    CHECK(!b.err);
    buf_u32(&b, crc32c_of(0, b.data, b.len));
    int rv = env_replace_file(env, binlog_dir, "reset", b.data, b.len, em);
    buf_free(&b);
    return rv;
}

static int decode_note(const struct buf *b, struct note *note)
{
    struct cur c = cur_of(b->data, b->len);
    const uint8_t *magic = cur_bytes(&c, 4);
    uint32_t version = cur_u32(&c);
    note->list = cur_u64(&c);
    cur_text(&c, cur_lenenc(&c), note->keep, sizeof note->keep);
    uint32_t sum = cur_u32(&c);
    bool ok = cur_done(&c) && memcmp(magic, NOTE_MAGIC, 4) == 0 && sum == crc32c_of(0, b->data, b->len - 4);
    return !ok ? E_CORRUPT : version != NOTE_VERSION ? E_VERSION : store_keep_ok(note->keep) ? 0 : E_CORRUPT;
}

/* E_NOTFOUND: there is none. */
static int read_note(struct env *env, const char *binlog_dir, struct note *note, struct errmsg *em)
{
    struct buf b;
    char *path = mem_printf("%s/reset", binlog_dir);
    buf_init(&b, NOTE_MAX);
    int rv = env_read_file(env, path, &b, em);
    if (!rv && (rv = decode_note(&b, note))) {
        (void)err_set(em, rv, rv == E_VERSION ? "%s was written by a newer version of holdfastd; install that one" : "%s is damaged", path);
    }
    buf_free(&b);
    mem_free(path);
    return rv;
}

/* ---- putting away -------------------------------------------------------------------------------------- */

static int move_era(struct env *env, const char *binlog_dir, const char *to, uint64_t era, struct errmsg *em)
{
    char *from = mem_printf("%s/%llu", binlog_dir, (unsigned long long)era), *there = mem_printf("%s/%llu", to, (unsigned long long)era);
    int rv = env_rename(env, from, there, em);
    if (!rv) {
        env_log(env, ENV_INFO, "the files of an era are put away era=%llu path=%s", (unsigned long long)era, there);
    }
    mem_free(from);
    mem_free(there);
    return rv == E_NOTFOUND ? 0 : rv; /* it was done before a crash */
}

/* Its indexes are unlinked. */
static int put_away_era(struct env *env, const char *binlog_dir, const char *index_dir, const char *to, uint64_t era, struct errmsg *em)
{
    int rv = dirs_sync(env, mem_printf("%s/%llu", index_dir, (unsigned long long)era), em);
    return rv ? rv : move_era(env, binlog_dir, to, era, em);
}

static int move_all(struct env *env, const char *binlog_dir, const char *index_dir, const struct filelist *old, const char *keep,
                    struct errmsg *em)
{
    struct filelist_walk w;
    uint64_t era = 0;
    char *parent = mem_printf("%s/old", binlog_dir), *to = mem_printf("%s/%s", parent, keep);
    int rv = env_make_dir(env, binlog_dir, "old", em);
    rv = rv ? rv : env_make_dir(env, parent, keep, em);
    rv = rv ? rv : env_sync_dir(env, parent, em); /* a crash may have come between making and syncing */
    filelist_walk_begin(&w, old, 0);
    while (!rv && filelist_walk_next(&w)) {
        if (era && w.file.era != era) {
            rv = put_away_era(env, binlog_dir, index_dir, to, era, em);
        }
        era = w.file.era;
        rv = rv ? rv : dirs_unlink(env, index_path(index_dir, era, w.file.name), em);
    }
    rv = rv || !era ? rv : put_away_era(env, binlog_dir, index_dir, to, era, em);
    rv = rv ? rv : env_sync_dir(env, to, em);
    rv = rv ? rv : env_sync_dir(env, binlog_dir, em);
    mem_free(parent);
    mem_free(to);
    return rv;
}

/* The note last: it says that there is something to do. */
static int finish(struct env *env, const char *binlog_dir, uint64_t list, struct errmsg *em)
{
    int rv = dirs_unlink(env, checkpoint_list_path(binlog_dir, list - 1), em);
    rv = rv ? rv : env_sync_dir(env, binlog_dir, em);
    rv = rv ? rv : dirs_unlink(env, mem_printf("%s/reset", binlog_dir), em);
    return rv ? rv : env_sync_dir(env, binlog_dir, em);
}

void writer_reset(struct writer *w, const struct store_job *job)
{
    struct errmsg em;
    struct note note = {.list = w->list + 1};
    struct catalog *old = w->catalog;
    snprintf(note.keep, sizeof note.keep, "%s", job->keep);
    writer_purge_finish(w);
    writer_checkpoint(w, job->index - 1); /* what is put away is whole */
    writer_die_if(w, write_note(w->env, w->binlog_dir, &note, &em), "put away the files of", w->binlog_dir, &em);
    writer_close_files(w);
    w->catalog = catalog_after_reset(old);
    int rv = checkpoint_put_list(w->env, w->binlog_dir, note.list, w->catalog->files, &em);
    writer_die_if(w, rv, "write the list of files in", w->binlog_dir, &em);
    w->list = note.list;
    w->end = w->boundary = 0;
    writer_checkpoint(w, job->index);
    catalog_mail(w);
    rv = move_all(w->env, w->binlog_dir, w->store->index_dir, old->files, note.keep, &em);
    rv = rv ? rv : finish(w->env, w->binlog_dir, note.list, &em);
    writer_die_if(w, rv, "put away the files of", w->binlog_dir, &em);
    catalog_unref(old);
}

/* ---- at the start -------------------------------------------------------------------------------------- */

static int go_on(struct env *env, const char *binlog_dir, const char *index_dir, const struct note *note, struct errmsg *em)
{
    struct buf data;
    struct filelist *old = NULL;
    char *path = checkpoint_list_path(binlog_dir, note->list - 1);
    buf_init(&data, OLD_LIST_MAX);
    int rv = env_read_file(env, path, &data, em);
    rv = rv ? rv : filelist_load(data.data, data.len, true, &old, em);
    buf_free(&data);
    mem_free(path);
    if (rv == E_NOTFOUND) { /* all was moved, only the note is left */
        return finish(env, binlog_dir, note->list, em);
    }
    env_log(env, ENV_INFO, "files are put away, as was begun before the start name=%s", note->keep);
    rv = rv ? rv : move_all(env, binlog_dir, index_dir, old, note->keep, em);
    rv = rv ? rv : finish(env, binlog_dir, note->list, em);
    filelist_unref(old);
    return rv;
}

int reset_resume(struct env *env, const char *binlog_dir, const char *index_dir, uint64_t list, struct errmsg *em)
{
    struct note note;
    int rv = read_note(env, binlog_dir, &note, em);
    if (rv) {
        return rv == E_NOTFOUND ? 0 : rv;
    }
    if (note.list == list) {
        return go_on(env, binlog_dir, index_dir, &note, em);
    }
    rv = dirs_unlink(env, mem_printf("%s/reset", binlog_dir), em); /* its checkpoint was not written: the log brings it again */
    return rv ? rv : env_sync_dir(env, binlog_dir, em);
}
