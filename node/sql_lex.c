/* sql_lex.c: from characters to tokens. One pass, one character class at a time; every decoded text is no
 * longer than its source, so all of them fit a buffer of twice the statement's size (a NUL behind each).
 *
 * What it refuses, with the offset: a NUL anywhere (also as \0 in a string: texts become C strings), a
 * string, backquote or comment that does not end, an empty name, a character that begins no token. */
#include "node/sql_lex.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <string.h>
#include <strings.h>

struct lexer {
    const char *p;
    size_t n, at;
    bool in_version; /* inside a version comment */
    struct sql_tokens *out;
    size_t cap;
    size_t used; /* of out->texts */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' ||
           (unsigned char)c >= 0x80;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The character `ahead` of here; NUL at the end (a NUL in the text was refused before). */
static char peek(const struct lexer *x, size_t ahead)
{
    return ahead < x->n - x->at ? x->p[x->at + ahead] : '\0';
}

static void put(struct lexer *x, char c)
{
    x->out->texts[x->used++] = c;
}

static void skip_line(struct lexer *x)
{
    while (x->at < x->n && x->p[x->at] != '\n') {
        x->at++;
    }
}

/* At slash-star. A version comment is entered: only its opening is passed over. */
static int skip_comment(struct lexer *x)
{
    size_t from = x->at;
    bool version = !x->in_version && (peek(x, 2) == '!' || (peek(x, 2) == 'M' && peek(x, 3) == '!'));
    x->at += 2;
    if (version) {
        x->in_version = true;
        x->at += peek(x, 0) == 'M' ? 2 : 1;
        while (is_digit(peek(x, 0))) {
            x->at++;
        }
        return 0;
    }
    while (x->at < x->n) {
        if (peek(x, 0) == '*' && peek(x, 1) == '/') {
            x->at += 2;
            return 0;
        }
        x->at++;
    }
    x->at = from;
    return E_MALFORMED;
}

static int skip_blanks(struct lexer *x)
{
    while (x->at < x->n) {
        char c = peek(x, 0);
        if (is_blank(c)) {
            x->at++;
        } else if (c == '#' ||
                   (c == '-' && peek(x, 1) == '-' && (x->n - x->at == 2 || is_blank(peek(x, 2))))) {
            skip_line(x);
        } else if (c == '/' && peek(x, 1) == '*') {
            if (skip_comment(x)) {
                return E_MALFORMED;
            }
        } else if (x->in_version && c == '*' && peek(x, 1) == '/') {
            x->in_version = false;
            x->at += 2;
        } else {
            break;
        }
    }
    return 0;
}

static char unescape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'b':
        return '\b';
    case 'Z':
        return 26;
    default:
        return c;
    }
}

/* At an opening quote: the text up to the closing one, doubled quotes and (in strings) escapes resolved. */
static int quoted(struct lexer *x)
{
    size_t from = x->at;
    char quote = x->p[x->at++];
    while (x->at < x->n) {
        char c = x->p[x->at++];
        if (c == quote) {
            if (peek(x, 0) != quote) {
                return 0;
            }
            x->at++;
        } else if (c == '\\' && quote != '`') {
            char escaped = peek(x, 0);
            if (x->at == x->n || escaped == '0') {
                break;
            }
            x->at++;
            if (escaped == '%' || escaped == '_') { /* they keep their backslash: it is LIKE's */
                put(x, '\\');
            }
            c = unescape(escaped);
        }
        put(x, c);
    }
    x->at = from;
    return E_MALFORMED;
}

static bool is_quote(char c)
{
    return c == '\'' || c == '"' || c == '`';
}

static void word(struct lexer *x)
{
    while (is_word(peek(x, 0))) {
        put(x, x->p[x->at++]);
    }
}

/* A name behind @, @@ or a dot: quoted or bare, not empty. Bare user variables may hold dots. */
static int name(struct lexer *x, bool dots)
{
    size_t used = x->used;
    if (is_quote(peek(x, 0))) {
        if (quoted(x)) {
            return E_MALFORMED;
        }
    } else {
        word(x);
        while (dots && peek(x, 0) == '.') {
            put(x, x->p[x->at++]);
            word(x);
        }
    }
    return x->used > used ? 0 : E_MALFORMED;
}

static int system_variable(struct lexer *x, struct sql_token *token)
{
    static const struct {
        const char *word;
        enum sql_scope scope;
    } scopes[] = {{"global", SCOPE_GLOBAL}, {"session", SCOPE_SESSION}, {"local", SCOPE_SESSION}};
    size_t used = x->used;
    x->at += 2;
    if (name(x, false)) {
        return E_MALFORMED;
    }
    if (peek(x, 0) != '.') {
        return 0;
    }
    x->out->texts[x->used] = '\0';
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        if (strcasecmp(x->out->texts + used, scopes[i].word) == 0) {
            token->scope = scopes[i].scope;
            x->used = used;
            x->at++;
            return name(x, false);
        }
    }
    put(x, x->p[x->at++]); /* @@group.name: unknown, but one name */
    return name(x, false);
}

static void number(struct lexer *x)
{
    while (is_digit(peek(x, 0))) {
        put(x, x->p[x->at++]);
    }
    if (peek(x, 0) == '.' && is_digit(peek(x, 1))) {
        do {
            put(x, x->p[x->at++]);
        } while (is_digit(peek(x, 0)));
    }
}

/* A word may begin with digits, as in 1st; then it is no number. */
static bool all_digits_ahead(const struct lexer *x)
{
    size_t i = 0;
    while (is_digit(peek(x, i))) {
        i++;
    }
    return i > 0 && !is_word(peek(x, i));
}

static int mark(struct lexer *x)
{
    static const char *const pairs[] = {"<=", ">=", "<>", "!=", ":=", "||", "&&"};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (peek(x, 0) == pairs[i][0] && peek(x, 1) == pairs[i][1]) {
            put(x, x->p[x->at++]);
            put(x, x->p[x->at++]);
            return 0;
        }
    }
    if (!strchr("=,().;*&|+-/%<>!~^", peek(x, 0))) {
        return E_MALFORMED;
    }
    put(x, x->p[x->at++]);
    return 0;
}

static int next(struct lexer *x, struct sql_token *token)
{
    char c = peek(x, 0);
    if (c == '@' && peek(x, 1) == '@') {
        token->kind = TOKEN_SYSTEM;
        return system_variable(x, token);
    }
    if (c == '@') {
        token->kind = TOKEN_USER;
        x->at++;
        return name(x, true);
    }
    if (c == '`') {
        token->kind = TOKEN_QUOTED;
        return name(x, false);
    }
    if (c == '\'' || c == '"') {
        token->kind = TOKEN_STRING;
        return quoted(x);
    }
    if (all_digits_ahead(x)) {
        token->kind = TOKEN_NUMBER;
        number(x);
        return 0;
    }
    if (is_word(c)) {
        token->kind = TOKEN_WORD;
        word(x);
        return 0;
    }
    token->kind = TOKEN_MARK;
    return mark(x);
}

static struct sql_token *add(struct lexer *x)
{
    if (x->out->n == x->cap) {
        x->cap = x->cap ? x->cap * 2 : 32;
        x->out->tokens = mem_grow(x->out->tokens, x->cap, sizeof *x->out->tokens);
    }
    struct sql_token *token = &x->out->tokens[x->out->n];
    *token = (struct sql_token){.at = x->at, .end = x->at, .text = x->out->texts + x->used};
    return token;
}

static int lex(struct lexer *x)
{
    for (;;) {
        int rv = skip_blanks(x);
        struct sql_token *token = add(x);
        if (!rv && x->at < x->n) {
            rv = x->out->n == SQL_TOKENS_MAX ? E_TOOBIG : next(x, token);
        } else if (!rv && x->in_version) {
            rv = E_MALFORMED;
        }
        if (rv) {
            x->at = token->at;
            return rv;
        }
        put(x, '\0');
        token->end = x->at;
        if (token->end == token->at) { /* TOKEN_END */
            return 0;
        }
        x->out->n++;
    }
}

int sql_lex(const char *text, size_t n, struct sql_tokens *tokens, size_t *bad)
{
    *tokens = (struct sql_tokens){0};
    const char *nul = n ? memchr(text, '\0', n) : NULL;
    if (nul) {
        *bad = (size_t)(nul - text);
        return E_MALFORMED;
    }
    struct lexer x = {.p = text, .n = n, .out = tokens};
    tokens->texts = mem_new(2 * n + 2);
    int rv = lex(&x);
    CHECK(x.used <= 2 * n + 2);
    if (rv) {
        *bad = x.at;
        sql_tokens_free(tokens);
    }
    return rv;
}

void sql_tokens_free(struct sql_tokens *tokens)
{
    if (tokens->texts) {
        mem_free(tokens->texts);
    }
    mem_free(tokens->tokens);
    *tokens = (struct sql_tokens){0};
}
