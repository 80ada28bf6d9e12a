/* sql_expr.c: computes the expressions that clients send: literals, variables, a few functions and operators.
 * It reads and computes in one pass; a result of "only the loop knows" stands as NULL with call->needs_loop
 * set, and the statement is run again there.
 *
 * Failure: a syntax error, an unknown variable (1193) or function (1305), nesting deeper than SQL_DEPTH_MAX.
 */
#include "node/sql_impl.h"

#include "protocol/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct sql_value sql_value_text(const char *text)
{
    return (struct sql_value){.text = mem_str(text)};
}

struct sql_value sql_value_number(int64_t n)
{
    return (struct sql_value){.text = mem_printf("%" PRId64, n), .number = true};
}

void sql_value_free(struct sql_value *value)
{
    mem_free(value->text);
    *value = (struct sql_value){0};
}

/* As servers read texts as numbers: what digits there are at the start. */
int64_t sql_value_int(const struct sql_value *value)
{
    return value->text ? strtoll(value->text, NULL, 10) : 0;
}

static void set_number(struct sql_value *value, int64_t n)
{
    mem_free(value->text);
    *value = sql_value_number(n);
}

static void set_null(struct sql_value *value)
{
    sql_value_free(value);
}

static bool deeper(struct sql_call *call)
{
    if (call->depth >= SQL_DEPTH_MAX) {
        return sql_error(call, 1436, "HY000", "the expression is nested deeper than %d", SQL_DEPTH_MAX);
    }
    call->depth++;
    return true;
}

static bool arguments(struct sql_call *call, struct sql_value *args, size_t *n)
{
    if (sql_mark(call, ")")) {
        return true;
    }
    do {
        if (*n == SQL_ARGS_MAX) {
            return sql_syntax(call);
        }
        if (!sql_expr(call, &args[*n])) {
            return false;
        }
        ++*n;
    } while (sql_mark(call, ","));
    return sql_need_mark(call, ")");
}

/* At a word: a function, with or without parentheses where servers allow that. */
static bool word(struct sql_call *call, struct sql_value *value)
{
    const struct sql_token *token = sql_take(call);
    bool bare = sql_is_word(token, "CURRENT_USER") || sql_is_word(token, "CURRENT_TIMESTAMP");
    struct sql_value args[SQL_ARGS_MAX] = {{0}};
    size_t n = 0;
    bool ok;
    if (sql_mark(call, "(")) {
        ok = arguments(call, args, &n);
    } else if (bare) {
        ok = true;
    } else {
        call->at--;
        return sql_syntax(call);
    }
    if (ok && !sql_function(call, token->text, args, n, value)) {
        ok = sql_error(call, 1305, "42000", "FUNCTION %.64s does not exist", token->text);
    }
    for (size_t i = 0; i < n; i++) {
        sql_value_free(&args[i]);
    }
    return ok && !call->failed;
}

static bool system_variable(struct sql_call *call, struct sql_value *value)
{
    const char *name = sql_take(call)->text;
    const struct sql_variable *variable = sql_variable_find(call, name);
    if (!variable) {
        return sql_error(call, 1193, "HY000", "Unknown system variable '%.64s'", name);
    }
    *value = sql_variable_value(call, variable);
    return true;
}

static bool literal_word(struct sql_call *call, struct sql_value *value)
{
    if (sql_word(call, "NULL")) {
        *value = (struct sql_value){.number = true};
    } else if (sql_word(call, "TRUE")) {
        *value = sql_value_number(1);
    } else if (sql_word(call, "FALSE")) {
        *value = sql_value_number(0);
    } else {
        return false;
    }
    return true;
}

static bool primary(struct sql_call *call, struct sql_value *value)
{
    const struct sql_token *token = sql_peek(call);
    switch (token->kind) {
    case TOKEN_STRING:
        *value = sql_value_text(sql_take(call)->text);
        return true;
    case TOKEN_NUMBER:
        *value = sql_value_text(sql_take(call)->text);
        value->number = !strchr(token->text, '.') && strlen(token->text) < 19;
        return true;
    case TOKEN_USER:
        *value = sql_value_text(sql_vars_get(call->session->vars, sql_take(call)->text));
        return true;
    case TOKEN_SYSTEM:
        return system_variable(call, value);
    case TOKEN_WORD:
        return literal_word(call, value) || word(call, value);
    case TOKEN_MARK:
        if (sql_mark(call, "(")) {
            return sql_expr(call, value) && sql_need_mark(call, ")");
        }
        return sql_syntax(call);
    default:
        return sql_syntax(call);
    }
}

static bool unary(struct sql_call *call, struct sql_value *value)
{
    if (!deeper(call)) {
        return false;
    }
    bool ok;
    if (sql_mark(call, "-")) {
        ok = unary(call, value);
        if (ok && value->text) {
            set_number(value, (int64_t)(0 - (uint64_t)sql_value_int(value)));
        }
    } else if (sql_mark(call, "!")) {
        ok = unary(call, value);
        if (ok && value->text) {
            set_number(value, sql_value_int(value) == 0);
        }
    } else {
        ok = primary(call, value);
    }
    call->depth--;
    return ok;
}

/* Both NULL or not, as numbers or as texts: < 0, 0, > 0. */
static int compare(const struct sql_value *a, const struct sql_value *b)
{
    if (a->number || b->number) {
        int64_t x = sql_value_int(a);
        int64_t y = sql_value_int(b);
        return x < y ? -1 : x > y;
    }
    return strcasecmp(a->text, b->text);
}

static int64_t apply(const char *mark, const struct sql_value *a, const struct sql_value *b)
{
    uint64_t x = (uint64_t)sql_value_int(a);
    uint64_t y = (uint64_t)sql_value_int(b);
    switch (mark[0]) {
    case '+':
        return (int64_t)(x + y);
    case '-':
        return (int64_t)(x - y);
    case '&':
        return mark[1] ? x && y : (int64_t)(x & y);
    case '|':
        return mark[1] ? x || y : (int64_t)(x | y);
    case '=':
        return compare(a, b) == 0;
    case '!':
        return compare(a, b) != 0;
    case '<':
        return mark[1] == '>' ? compare(a, b) != 0 : mark[1] ? compare(a, b) <= 0 : compare(a, b) < 0;
    default:
        return mark[1] ? compare(a, b) >= 0 : compare(a, b) > 0;
    }
}

/* The operators with two sides, loosest first. */
static const char *const levels[][9] = {
    {"||"}, {"&&"}, {"=", "<>", "!=", "<=", ">=", "<", ">"}, {"|"}, {"&"}, {"+", "-"},
};

enum { LEVELS = sizeof levels / sizeof *levels };

static const char *operator_at(struct sql_call *call, size_t level)
{
    for (size_t i = 0; levels[level][i]; i++) {
        if (sql_mark(call, levels[level][i])) {
            return levels[level][i];
        }
    }
    return NULL;
}

static bool binary(struct sql_call *call, size_t level, struct sql_value *value)
{
    if (level == LEVELS) {
        return unary(call, value);
    }
    if (!binary(call, level + 1, value)) {
        return false;
    }
    for (const char *mark = operator_at(call, level); mark; mark = operator_at(call, level)) {
        struct sql_value right = {0};
        if (!binary(call, level + 1, &right)) {
            sql_value_free(&right);
            return false;
        }
        if (value->text && right.text) {
            set_number(value, apply(mark, value, &right));
        } else {
            set_null(value);
        }
        sql_value_free(&right);
    }
    return true;
}

bool sql_expr(struct sql_call *call, struct sql_value *value)
{
    *value = (struct sql_value){0};
    if (!deeper(call)) {
        return false;
    }
    bool ok = binary(call, 0, value);
    call->depth--;
    call->spent += value->text ? strlen(value->text) : 0;
    if (ok && call->spent > SQL_VALUES_MAX) { /* a long variable, named many times */
        ok = sql_error(call, 1301, "HY000", "the values are larger than %d bytes", SQL_VALUES_MAX);
    }
    if (!ok || call->failed) {
        sql_value_free(value);
    }
    return ok && !call->failed;
}
