/* sql_purge.c: PURGE BINARY LOGS: the oldest binlog files of all nodes are removed.
 *
 * Happy path: TO names the oldest file that stays (the newest of that name, or that of the ERA); BEFORE is looked up among the times at which the
 * files began, on the storage env. Then the other members are asked what their replicas need. What replicas still need stays, with a
 * warning as the servers give it; FORCE asks nobody and removes it all the same. DRY RUN says what would go. Then it is a change of the replicated state: every node does it.
 *
 * Failure modes: 1373 for a file that is not there, 1292 for a time that is none. A member that cannot be asked is a warning too (node/purge.c). When
 * the node closes, what is under way is answered. */
#include "node/purge.h"
#include "node/sql_impl.h"

#include "protocol/base/mem.h"
#include "storage/filelist.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WARN_PURGE_LOG_IN_USE = 1867, UNKNOWN_TARGET_BINLOG = 1373 };

struct purge_asked {
    bool force, dry_run;
    uint64_t era; /* the oldest file that stays */
    char name[FILE_NAME_SIZE];
};

/* A look-up of BEFORE, or a question to the members. */
struct purge_find {
    struct purge_find *next; /* of the control's */
    struct control *control;
    struct control_request *request; /* NULL: answered when the node closed */
    struct store_older older;
    struct purge_asked asked;
};

static void unknown_file(struct reply *reply, const char *name)
{
    reply_error(reply, UNKNOWN_TARGET_BINLOG, "HY000", "Target log '%.200s' not found in binlog index", name);
}

static void warn(struct reply *reply, const struct purge_plan *plan)
{
    if (plan->n < plan->wanted) {
        reply_note(reply, "Warning", WARN_PURGE_LOG_IN_USE,
                   "file %s was not purged because %s; purged only %zu out of %zu files. FORCE purges all of them", plan->file,
                   plan->why, plan->n, plan->wanted);
    }
}

/* ---- doing it ------------------------------------------------------------------------------------------ */

static bool build_purge(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct purge_asked *asked = what;
    const struct state *state = cluster_state(control->cluster);
    struct purge_plan plan;
    size_t at;
    if (!filelist_find(state->files, asked->era, asked->name, &at)) {
        unknown_file(reply, asked->name);
        return false;
    }
    purge_plan(control, at, asked->force, &plan);
    reply_ok(reply);
    warn(reply, &plan);
    if (plan.n == 0) {
        return false;
    }
    purge_entry(state, plan.n, entry);
    return true;
}

static void say_plan(const struct control *control, const struct purge_asked *asked, struct reply *reply)
{
    const struct state *state = cluster_state(control->cluster);
    struct filelist_walk w;
    struct purge_plan plan;
    size_t at = 0;
    struct table *table = table_new();
    table_head(table, "#Era");
    table_head(table, "Log_name");
    table_head(table, "#File_size");
    table_head(table, "Fate");
    if (asked->name[0] && !filelist_find(state->files, asked->era, asked->name, &at)) {
        table_free(table);
        unknown_file(reply, asked->name);
        return;
    }
    purge_plan(control, at, asked->force, &plan);
    filelist_walk_begin(&w, state->files, 0);
    for (size_t i = 0; i < at && filelist_walk_next(&w); i++) {
        table_row(table);
        table_number(table, w.file.era);
        table_text(table, w.file.name);
        table_number(table, w.file.size);
        table_text(table, w.file.at < plan.n ? "purged" : w.file.at == plan.n ? plan.why : "stays behind it");
    }
    reply_rows(reply, table);
    warn(reply, &plan);
}

/* The file that stays is known, and what the members need. Answers the request. */
static void finish(struct control *control, struct control_request *request, const struct purge_asked *asked)
{
    if (asked->dry_run) {
        say_plan(control, asked, &request->reply);
        control_reply(request);
    } else if (!asked->name[0]) { /* there are no files */
        reply_ok(&request->reply);
        control_reply(request);
    } else {
        control_change(control, request, build_purge, asked, sizeof *asked);
    }
}

/* ---- what has to be known before ------------------------------------------------------------------------ */

static void drop_find(struct purge_find *find)
{
    for (struct purge_find **at = &find->control->purges; *at; at = &(*at)->next) {
        if (*at == find) {
            *at = find->next;
            break;
        }
    }
    mem_free(find);
}

static void members_answered(void *arg)
{
    struct purge_find *find = arg;
    struct control *control = find->control;
    struct control_request *request = find->request;
    struct purge_asked asked = find->asked;
    if (!request) {
        mem_free(find);
        return;
    }
    drop_find(find);
    finish(control, request, &asked);
}

static void ask_members(struct purge_find *find)
{
    if (find->asked.force || !find->asked.name[0]) {
        members_answered(find);
    } else {
        cluster_poll(find->control->cluster, members_answered, find);
    }
}

static void found(void *arg)
{
    struct purge_find *find = arg;
    struct control *control = find->control;
    struct control_request *request = find->request;
    if (!request) {
        mem_free(find);
        return;
    }
    if (find->older.more) {
        store_find_older(cluster_store(control->cluster), &find->older, found, find);
        return;
    }
    if (find->older.em.text[0]) {
        reply_error(&request->reply, 1105, "HY000", "it is not known which files are older: %s", find->older.em.text);
        drop_find(find);
        control_reply(request);
        return;
    }
    find->asked.era = find->older.era;
    memcpy(find->asked.name, find->older.name, sizeof find->asked.name);
    ask_members(find);
}

static struct purge_find *begin(struct sql_call *call, const struct purge_asked *asked)
{
    struct control *control = call->control;
    struct purge_find *find = mem_new(sizeof *find);
    *find = (struct purge_find){.next = control->purges, .control = control, .request = call->request, .asked = *asked};
    control->purges = find;
    call->later = true;
    return find;
}

static void begin_before(struct sql_call *call, uint32_t time, const struct purge_asked *asked)
{
    struct purge_find *find = begin(call, asked);
    find->older.time = time;
    store_find_older(cluster_store(call->control->cluster), &find->older, found, find);
}

void sql_purge_stop(struct control *control)
{
    while (control->purges) { /* found() or members_answered() comes and frees it */
        struct purge_find *find = control->purges;
        struct control_request *request = find->request;
        control->purges = find->next;
        find->request = NULL;
        reply_error(&request->reply, 1053, "08S01", "Server shutdown in progress");
        control_reply(request);
    }
}

/* "2026-11-21 03:12:07", also with T, a fraction or Z, or a date alone: UTC, as NOW() is. */
static bool read_time(const char *text, uint32_t *time)
{
    struct tm tm = {.tm_hour = 0};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (end && (*end == ' ' || *end == 'T')) {
        end = strptime(end + 1, "%H:%M:%S", &tm);
    }
    if (end && *end == '.') {
        end += 1 + strspn(end + 1, "0123456789");
    }
    if (!end || (*end && strcmp(end, "Z") != 0)) {
        return false;
    }
    time_t at = timegm(&tm);
    *time = at < 0 ? 0 : at > UINT32_MAX ? UINT32_MAX : (uint32_t)at;
    return true;
}

static bool take_time(struct sql_call *call, uint32_t *time)
{
    struct sql_value value;
    if (!sql_expr(call, &value)) {
        return false;
    }
    bool ok = value.text && read_time(value.text, time);
    if (!ok && !call->needs_loop) {
        sql_error(call, 1292, "22007", "Incorrect datetime value: '%.64s'", value.text ? value.text : "NULL");
    }
    sql_value_free(&value);
    return ok;
}

/* ---- the statement ------------------------------------------------------------------------------------- */

void sql_purge_logs(struct sql_call *call)
{
    const struct state *state = cluster_state(call->control->cluster);
    struct purge_asked asked = {.force = false};
    uint32_t time = 0;
    size_t at;
    uint64_t era = 0;
    const char *to = NULL;
    if (sql_word(call, "ERA")) {
        sql_read_number(call, &era);
    }
    if (era ? sql_need_word(call, "TO") : sql_word(call, "TO")) {
        to = sql_string(call);
    } else if (sql_need_word(call, "BEFORE")) {
        take_time(call, &time);
    }
    asked.force = !call->failed && sql_word(call, "FORCE");
    asked.dry_run = !call->failed && sql_word(call, "DRY") && sql_need_word(call, "RUN");
    if (!sql_end(call)) {
        return;
    }
    if (!to) {
        begin_before(call, time, &asked);
        return;
    }
    if (strlen(to) >= sizeof asked.name || !filelist_find(state->files, era, to, &at)) {
        unknown_file(call->reply, to);
        return;
    }
    struct filelist_file file;
    filelist_get(state->files, at, &file);
    asked.era = file.era;
    memcpy(asked.name, file.name, sizeof asked.name);
    ask_members(begin(call, &asked));
}
