/* sql_logs.c: what is in the log: SHOW ALL BINARY LOGS, SHOW BINLOG EVENTS.
 *
 * Happy path: the files of all eras come from the replicated state, on the loop; the events are read on the session's
 * worker, by a reader that stands where the statement says, up to what is committed.
 *
 * Failure modes: what cannot be read is an error that names file and offset (1220), never a part of the answer.
 * Answers are bounded in rows and bytes, the way to them in bytes: a worker has replicas to serve. */
#include "node/sql_impl.h"

#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "storage/filelist.h"
#include "storage/reader.h"

#include <stdio.h>
#include <string.h>

enum {
    EVENTS_ROWS = 100000,
    EVENTS_BYTES = 32 << 20, /* of the answer */
    EVENTS_WAY = 256 << 20,  /* of files, read for one statement */
    GTIDS_MAX = 1 << 20,
    INFO_MAX = 1 << 20
};

void sql_read_range(struct sql_call *call, uint64_t *from, uint64_t *count)
{
    *from = 0;
    *count = UINT64_MAX;
    if (!sql_word(call, "LIMIT") || !sql_read_number(call, count)) {
        return;
    }
    if (sql_mark(call, ",")) {
        *from = *count;
        sql_read_number(call, count);
    } else if (sql_word(call, "OFFSET")) {
        sql_read_number(call, from);
    }
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* What came between two states. */
static void put_gtids(struct table *table, const struct gtid_set *before, const struct gtid_set *after)
{
    struct buf text;
    struct gtid_set *added = after ? gtid_set_copy(after) : NULL;
    if (!added || (before && gtid_set_subtract(added, before))) {
        table_text(table, NULL);
    } else {
        buf_init(&text, GTIDS_MAX);
        gtid_set_print(added, &text);
        table_text(table, text.err ? NULL : buf_cstr(&text));
        buf_free(&text);
    }
    gtid_set_free(added);
}

static const struct state_era *era_of(const struct state *state, uint64_t id)
{
    for (size_t i = 0; i < state->n_eras; i++) {
        if (state->eras[i].id == id) {
            return &state->eras[i];
        }
    }
    return NULL;
}

static void put_source(struct table *table, const struct state_era *era)
{
    if (!era) {
        table_text(table, NULL);
    } else if (era->origin.uuid[0]) {
        table_text(table, era->origin.uuid);
    } else {
        table_printf(table, "server_id %lu", (unsigned long)era->origin.server_id);
    }
}

void sql_show_all_logs(struct sql_call *call)
{
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    size_t n = filelist_count(state->files);
    struct table *table = table_new();
    struct filelist_walk w;
    struct filelist_states states;
    struct gtid_set *before = NULL, *after;
    static const char *const heads[] = {"#Era", "Log_name", "#File_size", "State", "Source", "Gtids"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        table_head(table, heads[i]);
    }
    filelist_walk_begin(&w, state->files, 0);
    filelist_states_begin(&states, state->files, 0);
    (void)filelist_states_next(&states, &before, NULL);
    while (filelist_walk_next(&w)) {
        bool last = w.file.at + 1 == n;
        uint64_t era = w.file.era;
        table_row(table);
        table_number(table, era);
        table_text(table, w.file.name);
        table_number(table, last ? state->boundary : w.file.size);
        table_text(table, last ? "written" : "sealed");
        put_source(table, era_of(state, era));
        (void)filelist_states_next(&states, &after, NULL);
        if (last && state->executed) {
            after = gtid_set_copy(state->executed);
        }
        struct filelist_file next = {.era = era};
        if (!last) {
            filelist_get(state->files, w.file.at + 1, &next);
        }
        put_gtids(table, before, next.era == era ? after : NULL); /* that of a later era says nothing about this file */
        gtid_set_free(before);
        before = after;
    }
    gtid_set_free(before);
    filelist_states_end(&states);
    reply_rows(call->reply, table);
}

/* ---- events -------------------------------------------------------------------------------------------- */

struct listing {
    struct sql_call *call;
    struct table *table;
    struct reader *reader;
    struct buf info;
    char file[STORE_NAME_SIZE];
    uint64_t skip, count; /* events */
    uint64_t way;         /* bytes passed */
    size_t bytes;
};

static void put_event(struct listing *l, const struct reader_event *ev)
{
    struct event_header h;
    if (event_header_read(ev->bytes, ev->n, &h, NULL)) {
        return; /* the reader has read it before */
    }
    buf_reset(&l->info);
    const uint8_t *fde;
    size_t n;
    event_info(reader_format(l->reader, &fde, &n), ev->bytes, ev->n, &l->info);
    table_row(l->table);
    table_text(l->table, ev->file);
    table_number(l->table, ev->start);
    table_text(l->table, event_type_name(h.type));
    table_number(l->table, h.server_id);
    table_number(l->table, ev->end);
    table_bytes(l->table, l->info.data ? (const char *)l->info.data : "", l->info.len);
    l->bytes += l->info.len + 64;
}

/* 0: all that was wanted; negative: the reader's. */
static int list_events(struct listing *l, struct errmsg *em)
{
    struct reader_event ev;
    uint64_t seen = 0;
    int rv;
    while (table_rows(l->table) < l->count && (rv = reader_next(l->reader, &ev, em)) != 0) {
        if (rv == READER_ERA_END || (rv == 1 && strcmp(ev.file, l->file) != 0)) {
            return 0;
        }
        if (rv < 0) {
            return rv;
        }
        l->way += ev.n;
        if (l->way > EVENTS_WAY) {
            return err_set(em, E_TOOBIG, "%d MiB were read and the answer is not complete; ask for less with FROM and LIMIT",
                           EVENTS_WAY >> 20);
        }
        if (seen++ < l->skip) {
            continue;
        }
        put_event(l, &ev);
        if (l->bytes > EVENTS_BYTES || table_rows(l->table) == EVENTS_ROWS) {
            reply_note(l->call->reply, "Warning", 1105, "the answer is cut; go on with FROM %llu",
                       (unsigned long long)ev.end);
            return 0;
        }
    }
    return 0;
}

static void run_listing(struct listing *l, const char *file, uint64_t position)
{
    struct errmsg em = {""};
    const char *name;
    uint64_t era, offset;
    int rv = reader_open_position(l->call->session->files, 0, file, position, &l->reader, &em);
    if (!rv) {
        reader_where(l->reader, &era, &name, &offset);
        snprintf(l->file, sizeof l->file, "%s", name);
        rv = list_events(l, &em);
    }
    reader_close(l->reader);
    if (rv == READER_NOT_YET) {
        rv = 0; /* no file: no events */
    }
    if (rv) {
        table_free(l->table);
        sql_error(l->call, 1220, "HY000", "Error when executing command SHOW BINLOG EVENTS: %s",
                  rv == READER_UNKNOWN_FILE ? "Could not find target log" : em.text);
    } else {
        reply_rows(l->call->reply, l->table);
    }
    buf_free(&l->info);
}

void sql_show_events(struct sql_call *call)
{
    struct listing l = {.call = call};
    uint64_t position = EVENT_MAGIC_SIZE;
    const char *file = sql_word(call, "IN") ? sql_string(call) : NULL;
    if (sql_word(call, "FROM") && sql_read_number(call, &position) && position < EVENT_MAGIC_SIZE) {
        position = EVENT_MAGIC_SIZE; /* as the servers take it */
    }
    sql_read_range(call, &l.skip, &l.count);
    if (!sql_end(call)) {
        return;
    }
    static const char *const heads[] = {"Log_name", "#Pos", "Event_type", "~Server_id", "#End_log_pos", "Info"};
    l.table = table_new();
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        table_head(l.table, heads[i]);
    }
    if (!call->session->files) { /* nothing is served here: no events */
        reply_rows(call->reply, l.table);
        return;
    }
    buf_init(&l.info, INFO_MAX);
    run_listing(&l, file, position);
}
