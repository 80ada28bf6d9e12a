/* sql_alarm.c: SHOW ALARMS, ACKNOWLEDGE ALARM. Alarms are replicated: the same on all nodes, also after a restart. */
#include "node/sql_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void sql_time_text(uint64_t wall, char text[SQL_TIME_SIZE])
{
    time_t seconds = (time_t)(wall / 1000000);
    struct tm tm;
    text[0] = 0;
    if (wall && gmtime_r(&seconds, &tm)) {
        strftime(text, SQL_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
}

void sql_show_alarms(struct sql_call *call)
{
    static const char *const names[] = {"#Id",    "Kind",   "State",     "Acknowledged", "Since",
                                        "Until", "Source", "From_gtid", "To_gtid",      "Text"};
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    struct table *table = table_new();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool number = names[i][0] == '#';
        table_column(table, names[i] + number, number ? TABLE_NUMBER : TABLE_TEXT);
    }
    for (size_t i = 0; i < state->n_alarms; i++) {
        const struct alarm *a = &state->alarms[i];
        char since[SQL_TIME_SIZE], until[SQL_TIME_SIZE];
        sql_time_text(a->since, since);
        sql_time_text(a->until, until);
        table_row(table);
        table_number(table, a->id);
        table_text(table, alarm_kind_text(a->kind));
        table_text(table, a->until ? "ended" : "open");
        table_text(table, a->acknowledged ? "yes" : "no");
        table_text(table, since);
        table_text(table, a->until ? until : NULL);
        table_text(table, a->source);
        table_text(table, a->from);
        table_text(table, a->until ? a->to : NULL);
        table_text(table, a->text);
    }
    reply_rows(call->reply, table);
}

static bool build_acknowledge(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    uint64_t id;
    memcpy(&id, what, sizeof id);
    const struct alarm *alarm = state_alarm(cluster_state(control->cluster), id);
    if (!alarm) {
        reply_error(reply, 1105, "HY000", "there is no alarm %llu", (unsigned long long)id);
        return false;
    }
    if (alarm->acknowledged) {
        reply_ok(reply);
        reply_note(reply, "Note", 1105, "alarm %llu was acknowledged before", (unsigned long long)id);
        return false;
    }
    struct entry_alarm e = {.verb = ALARM_ACKNOWLEDGE, .alarm = *alarm};
    entry_put_alarm(entry, &e);
    return true;
}

void sql_acknowledge_alarm(struct sql_call *call)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_NUMBER || strspn(token->text, "0123456789") != strlen(token->text) || strlen(token->text) > 18) {
        sql_syntax(call);
        return;
    }
    uint64_t id = strtoull(sql_take(call)->text, NULL, 10);
    if (sql_end(call)) {
        call->later = true;
        control_change(call->control, call->request, build_acknowledge, &id, sizeof id);
    }
}
