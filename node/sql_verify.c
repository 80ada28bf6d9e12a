/* sql_verify.c: CHECK BINARY LOGS: reads the files of this node and says whether they are sound.
 *
 * Happy path: storage writes what raft has applied (a drain), then the files are read on a thread of their
 * own, one run at a time, at a rate that leaves the disk to others; the answer comes when all are read. A
 * file is "sound", "damaged", "index damaged" (it is made again when a replica wants it) or "unreadable".
 *
 * Failure: a second run while one is under way is refused. When the node ends, the run is stopped. */
#include "node/sql_impl.h"
#include "storage/filelist.h"
#include "storage/verify.h"

#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { VERIFY_RATE = 256, VERIFY_RATE_MAX = 1 << 20 }; /* MiB a second */

struct verify_run {
    struct control *control;
    struct control_request *request; /* NULL: stopped while storage was writing */
    struct verify *verify;           /* NULL before that */
    struct table *table;
    struct verify_file *files;
    size_t n;
    uint64_t rate; /* MiB a second; 0: as fast as it goes */
    bool rebuild;
};

static void run_free(struct verify_run *run)
{
    for (size_t i = 0; i < run->n; i++) {
        mem_free((char *)run->files[i].name);
    }
    mem_free(run->files);
    table_free(run->table);
    mem_free(run);
}

static void took(void *owner, const struct verify_result *result)
{
    static const char *const verdicts[] = {[VERIFY_SOUND] = "sound",
                                           [VERIFY_DAMAGED] = "damaged",
                                           [VERIFY_INDEX_DAMAGED] = "index damaged",
                                           [VERIFY_INDEX_MADE] = "index made again",
                                           [VERIFY_UNREADABLE] = "unreadable"};
    struct verify_run *run = owner;
    const struct filelist *files = cluster_state(run->control->cluster)->files;
    size_t at;
    struct store *store = cluster_store(run->control->cluster);
    bool purged = !filelist_find(files, result->file->era, result->file->name, &at); /* while it was being read */
    if (result->verdict == VERIFY_DAMAGED && !purged) {
        struct store_damage damage = {.era = result->file->era};
        snprintf(damage.name, sizeof damage.name, "%s", result->file->name);
        snprintf(damage.text, sizeof damage.text, "%s", result->text);
        store_add_damage(store, &damage);
    } else if (result->verdict != VERIFY_UNREADABLE) {
        store_drop_damage(store, result->file->era, result->file->name);
    }
    table_row(run->table);
    table_text(run->table, result->file->name);
    table_number(run->table, result->file->era);
    table_number(run->table, result->file->size);
    table_number(run->table, result->events);
    table_text(run->table, purged ? "sound" : verdicts[result->verdict]);
    table_text(run->table, purged ? "it was purged meanwhile" : result->text);
}

static void answer(struct verify_run *run)
{
    struct control_request *request = run->request;
    run->control->verifying = NULL;
    run_free(run);
    control_reply(request);
}

static void all_done(void *owner)
{
    struct verify_run *run = owner;
    reply_rows(&run->request->reply, run->table);
    run->table = NULL;
    answer(run);
}

static const struct verify_handler handler = {.result = took, .done = all_done};

static void drained(void *arg)
{
    struct verify_run *run = arg;
    struct errmsg em = {""};
    if (!run->request) {
        run_free(run);
        return;
    }
    struct store *store = cluster_store(run->control->cluster);
    if (verify_begin(run->control->loop, store, run->files, run->n, run->rate << 20, run->rebuild, &handler, run, &run->verify,
                     &em)) {
        reply_error(&run->request->reply, 1105, "HY000", "%s", em.text);
        answer(run);
    }
}

void sql_verify_stop(struct control *control)
{
    struct verify_run *run = control->verifying;
    if (!run) {
        return;
    }
    struct control_request *request = run->request;
    control->verifying = NULL;
    run->request = NULL;
    if (run->verify) {
        verify_stop(run->verify);
        run_free(run);
    } /* else drained() comes and frees it */
    reply_error(&request->reply, 1053, "08S01", "Server shutdown in progress");
    control_reply(request);
}

/* The files from `from` to `to` of an era (0: the newest), or all of it; all of all eras when nothing is said. False:
 * there is no such file. */
static bool choose(struct verify_run *run, const struct state *state, uint64_t id, const char *from, const char *to)
{
    bool all = !id && !from && !to;
    uint64_t era = id ? id : state_era(state) ? state_era(state)->id : 0;
    bool begun = !from, ended = false, found = !to;
    struct filelist_walk w;
    filelist_walk_begin(&w, state->files, 0);
    while (!ended && filelist_walk_next(&w)) {
        const struct filelist_file *f = &w.file;
        bool last = f->at + 1 == filelist_count(state->files), in_era = all || f->era == era;
        begun = begun || (in_era && strcmp(f->name, from) == 0);
        ended = to && in_era && strcmp(f->name, to) == 0;
        found = found || ended;
        if (begun && in_era) {
            run->files = mem_grow(run->files, run->n + 1, sizeof *run->files);
            run->files[run->n++] = (struct verify_file){.era = f->era,
                                                        .name = mem_str(f->name),
                                                        .size = last ? state->boundary : f->size,
                                                        .sealed = !last,
                                                        .sum = last ? 0 : f->sum};
        }
    }
    return begun && found;
}

void sql_check_logs(struct sql_call *call)
{
    struct control *control = call->control;
    uint64_t era = 0, rate = VERIFY_RATE;
    if (sql_word(call, "ERA")) {
        sql_read_number(call, &era);
    }
    const char *from = sql_word(call, "FROM") ? sql_string(call) : NULL;
    const char *to = sql_word(call, "TO") ? sql_string(call) : NULL;
    if (sql_word(call, "RATE")) {
        sql_read_number(call, &rate);
    }
    bool rebuild = sql_word(call, "REBUILD");
    if (!sql_end(call)) {
        return;
    }
    if (control->verifying) {
        sql_error(call, 1105, "HY000", "the binary logs are being checked already");
        return;
    }
    struct verify_run *run = mem_new(sizeof *run);
    run->control = control;
    run->request = call->request;
    run->rate = rate < VERIFY_RATE_MAX ? rate : VERIFY_RATE_MAX;
    run->rebuild = rebuild;
    if (!choose(run, cluster_state(control->cluster), era, from, to)) {
        run_free(run);
        sql_error(call, 1220, "HY000", "there is no binary log '%.255s' to check",
                  from && !to ? from
                  : to        ? to
                              : "");
        return;
    }
    run->table = table_new();
    table_column(run->table, "Log_name", TABLE_TEXT);
    table_column(run->table, "Era", TABLE_NUMBER);
    table_column(run->table, "Size", TABLE_NUMBER);
    table_column(run->table, "Events", TABLE_NUMBER);
    table_column(run->table, "State", TABLE_TEXT);
    table_column(run->table, "What", TABLE_TEXT);
    control->verifying = run;
    call->later = true;
    store_drain(cluster_store(control->cluster), drained, run);
}
