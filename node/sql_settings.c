/* sql_settings.c: SHOW SETTINGS, SET GLOBAL holdfast_… = value: the settings of node/settings.h.
 *
 * Failure: 1193 for one that is not there, 1231 with the range for a value that may not be, 1229 for SET
 * without GLOBAL: there are no settings of a session. One setting in a statement. */
#include "node/settings.h"
#include "node/sql_impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PREFIX "holdfast_"

/* At the next tokens: [GLOBAL|PERSIST|SESSION|LOCAL] name, @@[scope.]name. NULL when they name no setting of ours. */
static const struct sql_token *named(const struct sql_call *call, bool *global)
{
    const struct sql_token *token = sql_peek(call);
    *global = token->kind == TOKEN_SYSTEM && token->scope == SCOPE_GLOBAL;
    if (sql_is_word(token, "GLOBAL") || sql_is_word(token, "PERSIST")) {
        *global = true;
        token++;
    } else if (sql_is_word(token, "SESSION") || sql_is_word(token, "LOCAL")) {
        token++;
    }
    bool name = token->kind == TOKEN_WORD || token->kind == TOKEN_QUOTED || token->kind == TOKEN_SYSTEM;
    return name && strncasecmp(token->text, PREFIX, sizeof PREFIX - 1) == 0 && !sql_variable_find_fixed(token->text) ? token : NULL;
}

bool sql_names_setting(const struct sql_call *call)
{
    bool global;
    return named(call, &global) != NULL;
}

static bool build_setting(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct entry_setting *s = what;
    (void)control;
    (void)reply;
    entry_put_setting(entry, s->name, s->value);
    return true;
}

static bool bad_value(struct sql_call *call, const struct setting *setting, const char *text)
{
    struct buf range;
    buf_init(&range, 1024);
    setting_range(setting, &range);
    sql_error(call, 1231, "42000", "Variable '" PREFIX "%s' can't be set to the value of '%.64s': %s", setting->name, text, buf_cstr(&range));
    buf_free(&range);
    return false;
}

static bool read_value(struct sql_call *call, const struct setting *setting, struct entry_setting *out)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_WORD && token->kind != TOKEN_STRING && token->kind != TOKEN_NUMBER && token->kind != TOKEN_QUOTED) {
        return sql_syntax(call);
    }
    sql_take(call);
    if (sql_is_word(token, "DEFAULT")) {
        return setting->standard[0] || bad_value(call, setting, "DEFAULT");
    }
    return setting_read(setting, token->text, out->value) == 0 || bad_value(call, setting, token->text);
}

void sql_set_setting(struct sql_call *call)
{
    bool global;
    const struct sql_token *token = named(call, &global);
    const struct setting *setting = setting_find(token->text + sizeof PREFIX - 1);
    struct entry_setting s = {.name = ""};
    call->at = (size_t)(token - call->tokens->tokens) + 1;
    if (!setting) {
        sql_error(call, 1193, "HY000", "Unknown system variable '%.64s'; SHOW SETTINGS lists those of Holdfast", token->text);
        return;
    }
    if (!global) {
        sql_error(call, 1229, "HY000", "Variable '" PREFIX "%s' is a GLOBAL variable and should be set with SET GLOBAL", setting->name);
        return;
    }
    if (!sql_may(call, SQL_ADMIN)) {
        return;
    }
    snprintf(s.name, sizeof s.name, "%s", setting->name);
    if (!sql_mark(call, ":=")) {
        sql_need_mark(call, "=");
    }
    if (!call->failed && read_value(call, setting, &s) && sql_mark(call, ",")) {
        sql_error(call, 1235, "42000", "one setting of Holdfast in a statement");
    }
    if (!sql_end(call)) {
        return;
    }
    if (!call->control) {
        call->needs_loop = true;
        return;
    }
    call->later = true;
    control_change(call->control, call->request, build_setting, &s, sizeof s);
}

void sql_show_settings(struct sql_call *call)
{
    static const char *const names[] = {"Name", "Value", "Default", "Values", "Description"};
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    struct table *table = table_new();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        table_column(table, names[i], TABLE_TEXT);
    }
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *s = &SETTINGS_TABLE[i];
        struct buf range;
        buf_init(&range, 1024);
        setting_range(s, &range);
        table_row(table);
        table_text(table, s->name);
        table_text(table, setting_text(state, (enum setting_id)i));
        table_text(table, s->standard[0] ? s->standard : NULL);
        table_text(table, buf_cstr(&range));
        table_text(table, s->help);
        buf_free(&range);
    }
    reply_rows(call->reply, table);
}
