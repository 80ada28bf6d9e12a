/* sql_select.c: SELECT of expressions (there are no tables), SET, USE, and the statements that are answered
 * with OK since tools send them.
 *
 * A column's name is its alias or the expression's text as it was sent: clients look their columns up by it.
 */
#include "node/sql_impl.h"

#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct column_value {
    char *name;
    struct sql_value value;
};

struct select_list {
    struct column_value *columns;
    size_t n, cap;
};

static void list_free(struct select_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        mem_free(list->columns[i].name);
        sql_value_free(&list->columns[i].value);
    }
    mem_free(list->columns);
}

/* Words that end a column and are no alias. */
static bool ends_column(const struct sql_token *token)
{
    static const char *const words[] = {"LIMIT",   "FROM",    "WHERE", "INTO", "ORDER", "GROUP", "HAVING",
                                        "UNION",   "FOR",     "IS",    "LIKE", "IN",    "AND",   "OR",
                                        "BETWEEN", "COLLATE", "DIV",   "MOD",  "NOT",   "XOR",   "REGEXP"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (sql_is_word(token, words[i])) {
            return true;
        }
    }
    return false;
}

static char *part(const struct sql_call *call, size_t from, size_t to)
{
    size_t n = to - from;
    char *text = mem_new(n + 1);
    memcpy(text, call->text + from, n);
    return text;
}

/* [AS] alias, or the text of the tokens from `first` on. NULL: failed. */
static char *column_name(struct sql_call *call, size_t first)
{
    const struct sql_token *from = &call->tokens->tokens[first];
    const struct sql_token *last = &call->tokens->tokens[call->at - 1];
    bool as = sql_word(call, "AS");
    const struct sql_token *token = sql_peek(call);
    bool named = token->kind == TOKEN_WORD || token->kind == TOKEN_QUOTED || token->kind == TOKEN_STRING;
    if (named && (as || !ends_column(token))) {
        return mem_str(sql_take(call)->text);
    }
    if (as) {
        sql_syntax(call);
        return NULL;
    }
    return from == last && from->kind == TOKEN_STRING ? mem_str(from->text) : part(call, from->at, last->end);
}

static bool read_column(struct sql_call *call, struct select_list *list)
{
    if (list->n == SQL_COLUMNS_MAX) {
        return sql_error(call, 1117, "HY000", "Too many columns");
    }
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 8;
        list->columns = mem_grow(list->columns, list->cap, sizeof *list->columns);
    }
    struct column_value *column = &list->columns[list->n];
    size_t first = call->at;
    if (!sql_expr(call, &column->value)) {
        return false;
    }
    column->name = column_name(call, first);
    list->n++;
    return column->name != NULL;
}

static void read_limit(struct sql_call *call)
{
    if (!sql_word(call, "LIMIT")) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (sql_peek(call)->kind != TOKEN_NUMBER) {
            sql_syntax(call);
            return;
        }
        sql_take(call);
        if (!sql_mark(call, ",") && !sql_word(call, "OFFSET")) {
            return;
        }
    }
    sql_syntax(call);
}

static void answer_list(struct sql_call *call, const struct select_list *list)
{
    struct table *table = table_new();
    for (size_t i = 0; i < list->n; i++) {
        const struct sql_value *value = &list->columns[i].value;
        bool number = value->number && value->text && value->text[0] != '-';
        table_column(table, list->columns[i].name, number ? TABLE_NUMBER : !value->text && value->number ? TABLE_NULL : TABLE_TEXT);
    }
    table_row(table);
    for (size_t i = 0; i < list->n; i++) {
        table_text(table, list->columns[i].value.text);
    }
    reply_rows(call->reply, table);
}

void sql_select(struct sql_call *call)
{
    struct select_list list = {0};
    while (sql_word(call, "DISTINCT") || sql_word(call, "ALL") || sql_word(call, "SQL_NO_CACHE")) {
    }
    bool ok = true;
    do {
        ok = read_column(call, &list);
    } while (ok && sql_mark(call, ","));
    if (sql_word(call, "FROM")) {
        sql_need_word(call, "DUAL");
    }
    read_limit(call);
    if (sql_end(call)) {
        answer_list(call, &list);
    }
    list_free(&list);
}

/* ---- SET ---- */

static bool set_user(struct sql_call *call)
{
    const char *name = sql_take(call)->text;
    struct sql_value value;
    if (!sql_mark(call, ":=")) {
        sql_need_mark(call, "=");
    }
    if (call->failed || !sql_expr(call, &value)) {
        return false;
    }
    if (!call->dry && sql_vars_set(call->session->vars, name, value.text)) {
        sql_error(call, 1105, "HY000", "@%.64s: more than %d user variables, or values too long", name,
                  SQL_VARS_MAX);
    }
    sql_value_free(&value);
    return !call->failed;
}

/* A session setting that tools set: it is accepted, what it says changes nothing here. */
static bool set_system(struct sql_call *call, const char *name, enum sql_scope scope)
{
    const struct sql_variable *variable = sql_variable_find(call, name);
    if (!variable) {
        return sql_error(call, 1193, "HY000", "Unknown system variable '%.64s'", name);
    }
    if (scope == SCOPE_GLOBAL || !sql_variable_settable(variable)) {
        return sql_error(call, 1238, "HY000", "Variable '%.64s' is a read only variable", name);
    }
    if (!sql_mark(call, ":=") && !sql_need_mark(call, "=")) {
        return false;
    }
    const struct sql_token *token = sql_peek(call);
    const struct sql_token *behind = token->kind == TOKEN_END ? token : token + 1;
    bool bare = token->kind == TOKEN_WORD && !(behind->kind == TOKEN_MARK && strcmp(behind->text, "(") == 0);
    if (bare || token->kind == TOKEN_QUOTED) { /* utf8mb4, ON, DEFAULT */
        sql_take(call);
        return true;
    }
    struct sql_value value;
    bool ok = sql_expr(call, &value);
    if (ok) {
        sql_value_free(&value);
    }
    return ok;
}

/* A character set's or a collation's name. */
static void name_or_string(struct sql_call *call)
{
    enum sql_token_kind kind = sql_peek(call)->kind;
    if (kind == TOKEN_WORD || kind == TOKEN_STRING || kind == TOKEN_QUOTED) {
        sql_take(call);
    } else {
        sql_syntax(call);
    }
}

static bool set_names(struct sql_call *call)
{
    bool names = sql_match(call, "NAMES");
    if (!names && !sql_match(call, "CHARACTER SET") && !sql_match(call, "CHARSET")) {
        return false;
    }
    name_or_string(call);
    if (names && sql_word(call, "COLLATE")) {
        name_or_string(call);
    }
    return true;
}

/* SET [SESSION|GLOBAL] TRANSACTION ISOLATION LEVEL …, READ ONLY …: words only. */
static bool set_transaction(struct sql_call *call)
{
    if (!sql_match(call, "[GLOBAL|SESSION|LOCAL] TRANSACTION")) {
        return false;
    }
    do {
        while (sql_peek(call)->kind == TOKEN_WORD) {
            sql_take(call);
        }
    } while (sql_mark(call, ","));
    return true;
}

static bool set_one(struct sql_call *call)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind == TOKEN_USER) {
        return set_user(call);
    }
    if (token->kind == TOKEN_SYSTEM) {
        sql_take(call);
        return set_system(call, token->text, token->scope);
    }
    if (set_names(call)) {
        return !call->failed;
    }
    enum sql_scope scope = SCOPE_NONE;
    if (sql_word(call, "GLOBAL") || sql_word(call, "PERSIST")) {
        scope = SCOPE_GLOBAL;
    } else if (sql_word(call, "SESSION") || sql_word(call, "LOCAL")) {
        scope = SCOPE_SESSION;
    }
    token = sql_peek(call);
    if (token->kind != TOKEN_WORD && token->kind != TOKEN_QUOTED) {
        return sql_syntax(call);
    }
    sql_take(call);
    return set_system(call, token->text, scope);
}

static void set_all(struct sql_call *call)
{
    if (!set_transaction(call)) {
        while (set_one(call) && sql_mark(call, ",")) {
        }
    }
    sql_end(call);
}

/* Twice: nothing is set of a statement that cannot be read to its end. */
void sql_set(struct sql_call *call)
{
    size_t from = call->at;
    if (sql_names_setting(call)) {
        sql_set_setting(call);
        return;
    }
    call->dry = true;
    set_all(call);
    if (call->needs_loop) {
        sql_error(call, 1235, "42000", "SET from a variable that holds GTIDs is not supported; SELECT it");
    }
    call->dry = false;
    if (!call->failed) {
        call->at = from;
        set_all(call);
    }
    call->needs_loop = false;
    if (!call->failed) {
        reply_ok(call->reply);
    }
}

void sql_use(struct sql_call *call)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_WORD && token->kind != TOKEN_QUOTED) {
        sql_syntax(call);
        return;
    }
    sql_take(call);
    if (!sql_end(call)) {
        return;
    }
    if (strlen(token->text) >= sizeof call->session->db) {
        sql_error(call, 1059, "42000", "Identifier name '%.64s' is too long", token->text);
        return;
    }
    snprintf(call->session->db, sizeof call->session->db, "%s", token->text);
    reply_ok(call->reply);
}

/* BEGIN, COMMIT …: there is nothing to do; what follows the words is words. */
void sql_nothing(struct sql_call *call)
{
    while (sql_peek(call)->kind == TOKEN_WORD || sql_mark(call, ",")) {
        sql_take(call);
    }
    if (sql_end(call)) {
        reply_ok(call->reply);
    }
}
