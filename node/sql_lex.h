/* sql_lex.h: a statement's text, cut into tokens.
 *
 * The whole text is read at once, so that nothing is begun of a statement that cannot be read. Comments (two
 * dashes and a blank, #, and slash-star) vanish; what stands in a version comment (slash-star-exclamation
 * mark) is read as if the comment were not there, as servers do. Owner: whoever called sql_lex; one thread at
 * a time; sql_tokens_free. */
#ifndef HOLDFAST_NODE_SQL_LEX_H
#define HOLDFAST_NODE_SQL_LEX_H

#include <stdbool.h>
#include <stddef.h>

enum { SQL_TOKENS_MAX = 65536 };

enum sql_token_kind {
    TOKEN_END,    /* behind the last one; text is "" */
    TOKEN_WORD,   /* an identifier or keyword, bare */
    TOKEN_QUOTED, /* an identifier in backquotes */
    TOKEN_STRING, /* in ' or " */
    TOKEN_NUMBER, /* digits, maybe a fraction and an exponent */
    TOKEN_USER,   /* @name, @'name', @`name` */
    TOKEN_SYSTEM, /* @@name, @@global.name, … : text has no scope */
    TOKEN_MARK    /* an operator or punctuation: text is = , ( ) . ; * & | + - / % < > <= >= <> != := ! ~ ^ */
};

enum sql_scope { SCOPE_NONE, SCOPE_SESSION, SCOPE_GLOBAL };

struct sql_token {
    enum sql_token_kind kind;
    enum sql_scope scope; /* of TOKEN_SYSTEM */
    size_t at, end;       /* where it stands in the statement's text */
    const char *text;     /* decoded: without quotes, escapes, @ */
};

struct sql_tokens {
    struct sql_token *tokens; /* the last one is TOKEN_END */
    size_t n;                 /* without TOKEN_END */
    char *texts;
};

/* 0, or E_MALFORMED / E_TOOBIG; *bad is the offset of what could not be read. On failure there is nothing to
 * free. */
int sql_lex(const char *text, size_t n, struct sql_tokens *tokens, size_t *bad);
void sql_tokens_free(struct sql_tokens *tokens);

#endif
