/* sql_filter.c: [LIKE 'pattern' | WHERE condition] of SHOW VARIABLES and SHOW STATUS.
 *
 * A condition compares the columns Variable_name and Value by =, <>, LIKE and IN, joined by AND, OR, NOT and
 * parentheses. It is read once to see that it can be read, and then for each row again: there are few rows.
 * LIKE is for names only and its pattern is bounded, so that a client cannot buy long work with a short
 * statement. */
#include "node/sql_impl.h"

#include <string.h>
#include <strings.h>

struct row {
    const char *name, *value;
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool sql_like(const char *text, const char *pattern)
{
    const char *again_text = NULL, *again_pattern = NULL; /* behind the last % */
    while (*text) {
        bool escaped = pattern[0] == '\\' && pattern[1];
        if (*pattern == '%') {
            again_pattern = ++pattern;
            again_text = text;
        } else if (*pattern && (escaped ? lower(pattern[1]) == lower(*text)
                                        : *pattern == '_' || lower(*pattern) == lower(*text))) {
            pattern += escaped ? 2 : 1;
            text++;
        } else if (again_pattern) {
            pattern = again_pattern;
            text = ++again_text;
        } else {
            return false;
        }
    }
    while (*pattern == '%') {
        pattern++;
    }
    return !*pattern;
}

static const char *read_pattern(struct sql_call *call)
{
    const char *pattern = sql_string(call);
    if (pattern && strlen(pattern) > SQL_PATTERN_MAX) {
        sql_error(call, 1105, "HY000", "a pattern has at most %d bytes", SQL_PATTERN_MAX);
        return NULL;
    }
    return pattern;
}

static bool condition(struct sql_call *call, struct sql_filter *filter, const struct row *row);

/* A text or a number to compare with. */
static const char *operand(struct sql_call *call)
{
    enum sql_token_kind kind = sql_peek(call)->kind;
    if (call->failed || (kind != TOKEN_STRING && kind != TOKEN_NUMBER)) {
        sql_syntax(call);
        return NULL;
    }
    return sql_take(call)->text;
}

static bool in_list(struct sql_call *call, const char *column)
{
    bool is = false;
    sql_need_mark(call, "(");
    do {
        const char *text = operand(call);
        is = is || (text && strcasecmp(column, text) == 0);
    } while (sql_mark(call, ","));
    sql_need_mark(call, ")");
    return is;
}

static bool comparison(struct sql_call *call, struct sql_filter *filter, const struct row *row)
{
    const struct sql_token *token = sql_take(call);
    bool named = token->kind == TOKEN_WORD || token->kind == TOKEN_QUOTED;
    bool is_value = named && strcasecmp(token->text, "Value") == 0;
    if (!is_value && !(named && strcasecmp(token->text, "Variable_name") == 0)) {
        call->at -= token->kind != TOKEN_END;
        return sql_syntax(call);
    }
    filter->uses_value = filter->uses_value || is_value;
    const char *column = is_value ? row->value : row->name;
    bool not = sql_word(call, "NOT");
    if (sql_word(call, "IN")) {
        return in_list(call, column) != not ;
    }
    if (!is_value && sql_word(call, "LIKE")) {
        const char *pattern = read_pattern(call);
        return pattern && sql_like(column, pattern) != not ;
    }
    bool differs = sql_mark(call, "<>") || sql_mark(call, "!=");
    if (not || (!differs && !sql_mark(call, "="))) {
        return sql_syntax(call);
    }
    const char *text = operand(call);
    return text && (strcasecmp(column, text) == 0) != differs;
}

static bool negation(struct sql_call *call, struct sql_filter *filter, const struct row *row)
{
    bool not = false;
    while (sql_word(call, "NOT")) {
        not = !not ;
    }
    if (!sql_mark(call, "(")) {
        return comparison(call, filter, row) != not ;
    }
    if (call->depth >= SQL_DEPTH_MAX) {
        return sql_error(call, 1436, "HY000", "the condition is nested deeper than %d", SQL_DEPTH_MAX);
    }
    call->depth++;
    bool is = condition(call, filter, row);
    call->depth--;
    sql_need_mark(call, ")");
    return is != not ;
}

static bool conjunction(struct sql_call *call, struct sql_filter *filter, const struct row *row)
{
    bool is = negation(call, filter, row);
    while (sql_word(call, "AND") || sql_mark(call, "&&")) {
        is = negation(call, filter, row) && is;
    }
    return is;
}

static bool condition(struct sql_call *call, struct sql_filter *filter, const struct row *row)
{
    bool is = conjunction(call, filter, row);
    while (sql_word(call, "OR") || sql_mark(call, "||")) {
        is = conjunction(call, filter, row) || is;
    }
    return is;
}

bool sql_filter_read(struct sql_call *call, struct sql_filter *filter)
{
    *filter = (struct sql_filter){0};
    if (sql_word(call, "LIKE")) {
        filter->like = read_pattern(call);
    } else if (sql_word(call, "WHERE")) {
        static const struct row none = {"", ""};
        filter->where = call->at;
        condition(call, filter, &none);
    }
    return sql_end(call);
}

bool sql_filter_match(struct sql_call *call, const struct sql_filter *filter, const char *name,
                      const char *value)
{
    if (filter->like) {
        return sql_like(name, filter->like);
    }
    if (!filter->where) {
        return true;
    }
    struct sql_filter scratch = *filter;
    struct row row = {name, value ? value : ""};
    size_t end = call->at;
    call->at = filter->where;
    bool is = condition(call, &scratch, &row);
    call->at = end;
    return is;
}

struct table *sql_names_table(void)
{
    struct table *table = table_new();
    table_column(table, "Variable_name", TABLE_TEXT);
    table_column(table, "Value", TABLE_TEXT);
    return table;
}
