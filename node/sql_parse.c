/* sql_parse.c: small steps over a statement's tokens, and the text of syntax errors.
 *
 * A syntax error quotes the statement from the token on that could not be read, as servers do; but not when a
 * password may stand in it. */
#include "node/account.h"
#include "node/sql_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NEAR_MAX = 80 };

bool sql_error(struct sql_call *call, uint16_t code, const char *state, const char *fmt, ...)
{
    if (call->failed) {
        return false;
    }
    char text[sizeof call->reply->message];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    reply_error(call->reply, code, state, "%s", text);
    call->failed = true;
    return false;
}

/* Is `word` (in lower case) somewhere in the text? */
static bool holds(const char *text, size_t n, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; len <= n && i <= n - len; i++) {
        if (strncasecmp(text + i, word, len) == 0) {
            return true;
        }
    }
    return false;
}

/* How much of a text may be quoted: statements that need no password whole, others (unknown or misspelt ones,
 * too) up to where a value could begin, those about passwords not at all. */
enum quote { QUOTE_ALL, QUOTE_WORDS, QUOTE_NOTHING };

static enum quote may_quote(const char *text, size_t n)
{
    static const char *const secret[] = {"passw", "identif", "create", "alter", "change", "grant"};
    static const char *const plain[] = {"select", "show", "set", "use", "help", "kill", "flush"};
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
        if (holds(text, n, secret[i])) {
            return QUOTE_NOTHING;
        }
    }
    while (n && (*text == ' ' || (*text >= '\t' && *text <= '\r'))) {
        text++;
        n--;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        size_t len = strlen(plain[i]);
        if (len < n && strncasecmp(text, plain[i], len) == 0 &&
            (text[len] == ' ' || (text[len] >= '\t' && text[len] <= '\r'))) {
            return QUOTE_ALL;
        }
    }
    return QUOTE_WORDS;
}

/* Where a value could begin, or the end. */
static size_t words_end(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && !strchr("'\"`=", text[i])) { /* a NUL counts too */
        i++;
    }
    return i;
}

/* At most NEAR_MAX bytes of text[at .. n), not ending inside a UTF-8 character, as a C string. */
static void put_near(char near[NEAR_MAX + 1], const char *text, size_t n, size_t at)
{
    size_t left = n - at;
    if (left > NEAR_MAX) {
        left = NEAR_MAX;
        while (left > NEAR_MAX - 4 && ((unsigned char)text[at + left] & 0xc0) == 0x80) {
            left--;
        }
    }
    for (size_t i = 0; i < left; i++) {
        near[i] = text[at + i] ? text[at + i] : '?';
    }
    near[left] = '\0';
}

void sql_syntax_reply(struct reply *reply, const struct view *view, const char *text, size_t n, size_t at)
{
    const char *server = view->flavour == FLAVOUR_MARIADB ? "MariaDB" : "MySQL";
    enum quote quote = may_quote(text, n);
    size_t end = quote == QUOTE_WORDS ? words_end(text, n) : n;
    unsigned line = 1;
    at = at < n ? at : n;
    for (size_t i = 0; i < at; i++) {
        line += text[i] == '\n';
    }
    if (quote == QUOTE_NOTHING || at > end) {
        reply_error(reply, 1064, "42000",
                    "You have an error in your SQL syntax; check the manual that corresponds to your %s "
                    "server version for the right "
                    "syntax to use near character %zu at line %u (not quoted: it may hold a password); HELP "
                    "lists the statements",
                    server, at + 1, line);
        return;
    }
    char near[NEAR_MAX + 1];
    put_near(near, text, end, at);
    reply_error(reply, 1064, "42000",
                "You have an error in your SQL syntax; check the manual that corresponds to your %s server "
                "version for the right syntax "
                "to use near '%s' at line %u",
                server, near, line);
}

bool sql_syntax(struct sql_call *call)
{
    if (!call->failed) {
        sql_syntax_reply(call->reply, call->session->view, call->text, call->n, sql_peek(call)->at);
        call->failed = true;
    }
    return false;
}

const struct sql_token *sql_peek(const struct sql_call *call)
{
    return &call->tokens->tokens[call->at];
}

const struct sql_token *sql_take(struct sql_call *call)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_END) {
        call->at++;
    }
    return token;
}

bool sql_is_word(const struct sql_token *token, const char *word)
{
    return token->kind == TOKEN_WORD && strcasecmp(token->text, word) == 0;
}

bool sql_word(struct sql_call *call, const char *word)
{
    if (call->failed || !sql_is_word(sql_peek(call), word)) {
        return false;
    }
    call->at++;
    return true;
}

bool sql_mark(struct sql_call *call, const char *mark)
{
    const struct sql_token *token = sql_peek(call);
    if (call->failed || token->kind != TOKEN_MARK || strcmp(token->text, mark) != 0) {
        return false;
    }
    call->at++;
    return true;
}

bool sql_need_word(struct sql_call *call, const char *word)
{
    return sql_word(call, word) || sql_syntax(call);
}

bool sql_need_mark(struct sql_call *call, const char *mark)
{
    return sql_mark(call, mark) || sql_syntax(call);
}

bool sql_end(struct sql_call *call)
{
    if (!call->failed && sql_peek(call)->kind != TOKEN_END) {
        sql_syntax(call);
    }
    return !call->failed;
}

const char *sql_string(struct sql_call *call)
{
    if (call->failed || sql_peek(call)->kind != TOKEN_STRING) {
        sql_syntax(call);
        return NULL;
    }
    return sql_take(call)->text;
}

bool sql_read_number(struct sql_call *call, uint64_t *number)
{
    const struct sql_token *token = sql_peek(call);
    if (call->failed || token->kind != TOKEN_NUMBER || strchr(token->text, '.') || strlen(token->text) > 19) {
        return sql_syntax(call);
    }
    *number = strtoull(sql_take(call)->text, NULL, 10);
    return true;
}

/* One of "A|B|C" (n characters)? */
static bool one_of(const struct sql_token *token, const char *words, size_t n)
{
    if (token->kind != TOKEN_WORD) {
        return false;
    }
    size_t len = strlen(token->text);
    while (n > 0) {
        const char *bar = memchr(words, '|', n);
        size_t one = bar ? (size_t)(bar - words) : n;
        if (one == len && strncasecmp(words, token->text, len) == 0) {
            return true;
        }
        words += bar ? one + 1 : one;
        n -= bar ? one + 1 : one;
    }
    return false;
}

bool sql_match(struct sql_call *call, const char *words)
{
    size_t from = call->at;
    while (*words) {
        size_t n = strcspn(words, " ");
        bool optional = words[0] == '[';
        bool is = optional ? one_of(sql_peek(call), words + 1, n - 2) : one_of(sql_peek(call), words, n);
        if (is) {
            call->at++;
        } else if (!optional) {
            call->at = from;
            return false;
        }
        words += n + strspn(words + n, " ");
    }
    return true;
}

const char *sql_version(const struct view *view)
{
    static const char prefix[] = "5.5.5-";
    bool has = view->flavour == FLAVOUR_MARIADB && strncmp(view->version, prefix, sizeof prefix - 1) == 0;
    return view->version + (has ? sizeof prefix - 1 : 0);
}

bool sql_is_mariadb(const struct sql_call *call)
{
    return call->session->view->flavour == FLAVOUR_MARIADB;
}

struct env *sql_env(const struct sql_call *call)
{
    return call->control ? call->control->loop : call->session->env;
}

void sql_put_name(struct buf *b, const char *name)
{
    buf_u8(b, '`');
    for (; *name; name++) {
        if (*name == '`') {
            buf_u8(b, '`');
        }
        buf_u8(b, (uint8_t)*name);
    }
    buf_u8(b, '`');
}

static void take_current(struct sql_call *call, struct sql_who *who)
{
    if (sql_mark(call, "(")) {
        sql_need_mark(call, ")");
    }
    snprintf(who->name, sizeof who->name, "%s", call->session->user);
    snprintf(who->host, sizeof who->host, "%s", call->session->account_host);
}

static bool take_host(struct sql_call *call, struct sql_who *who)
{
    const char *host = sql_take(call)->text;
    if (strlen(host) >= sizeof who->host || !account_host_ok(host)) {
        return sql_error(call, 1470, "HY000",
                         "'%.60s' is no host that a client can come from: names are not looked up; an address, a pattern like "
                         "10.1.%%, a network like 10.1.0.0/16, localhost and %% are possible",
                         host);
    }
    snprintf(who->host, sizeof who->host, "%s", host);
    return true;
}

bool sql_account(struct sql_call *call, struct sql_who *who)
{
    const struct sql_token *token = sql_peek(call);
    bool is_name = token->kind == TOKEN_STRING || token->kind == TOKEN_WORD || token->kind == TOKEN_QUOTED;
    if (call->failed || !is_name) {
        return sql_syntax(call);
    }
    sql_take(call);
    if (sql_is_word(token, "CURRENT_USER")) {
        take_current(call, who);
        return !call->failed;
    }
    if (!token->text[0] || strlen(token->text) >= sizeof who->name) {
        return sql_error(call, 1470, "HY000", "an account's name has 1 to %zu bytes", sizeof who->name - 1);
    }
    snprintf(who->name, sizeof who->name, "%s", token->text);
    snprintf(who->host, sizeof who->host, "%%");
    return sql_peek(call)->kind != TOKEN_USER || take_host(call, who);
}

bool sql_is_own(const struct sql_call *call, const struct sql_who *who)
{
    return strcmp(who->name, call->session->user) == 0 && strcmp(who->host, call->session->account_host) == 0;
}

bool sql_may(struct sql_call *call, uint32_t roles)
{
    return call->session->roles & roles || sql_error(call, 1227, "42000",
                                                     "Access denied; you need (at least one of) the %s privilege(s) for this operation",
                                                     sql_needed(roles));
}
