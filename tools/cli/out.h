/* out.h: what the CLI prints: aligned text for people, JSON for programs. Both are built in a buffer and
 * written at the end. Pure functions, but for out_write. */
#ifndef HOLDFAST_CLI_OUT_H
#define HOLDFAST_CLI_OUT_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"
#include "protocol/result.h"

#include <stdbool.h>

/* ---- text ---- */

/* Bytes of unknown origin as they may stand on a terminal: control characters as \n, \t, \xNN. */
void out_plain(struct buf *b, const char *text, size_t n);

/* "title:    value", the values beginning in one column; an empty or NULL value prints as "-". */
void out_pair(struct buf *b, unsigned indent, unsigned width, const char *title, const char *value);

enum out_titles {
    TITLES_RAW,   /* as the server calls them; NULL prints as NULL */
    TITLES_HUMAN, /* "LOG NAME" for Log_name; NULL prints as "-" */
};

/* A result set as a table, columns two blanks apart, numbers to the right. */
void out_table(struct buf *b, const struct result *r, enum out_titles titles, unsigned indent);

/* Each row as lines of "name: value". */
void out_vertical(struct buf *b, const struct result *r);

/* ---- JSON ---- */

/* A document being written: commas, line breaks and indentation come by themselves. Keys only in objects. */
struct json {
    struct buf *b;
    unsigned depth;
    bool first; /* nothing written yet at this depth */
};

void json_begin(struct json *j, struct buf *b);
void json_key(struct json *j, const char *key); /* before each value in an object; NULL: none (in a list) */
void json_open(struct json *j, const char *key, char bracket);                /* '{' or '[' */
void json_close(struct json *j, char bracket);                                /* '}' or ']' */
void json_text(struct json *j, const char *key, const char *value, size_t n); /* value NULL: null */
void json_str(struct json *j, const char *key, const char *value);            /* NULL: null */
void json_bool(struct json *j, const char *key, bool value);
/* A number if the text is a plain decimal integer, else a string; NULL and "": null. */
void json_number(struct json *j, const char *key, const char *digits);
/* One value of a result: a number in a numeric column, else a string or null. */
void json_cell(struct json *j, const char *key, const struct result *r, size_t row, size_t column);
/* Rows as a list of objects, keys as the columns in lower case; numeric columns are numbers. */
void json_rows(struct json *j, const char *key, const struct result *r);
void json_end(struct json *j);

/* ---- ---- */

/* A column whose values are numbers. */
bool out_is_number(const struct result *r, size_t column);

/* All of it to fd. A reader that has left early is no error. */
int out_write(int fd, struct buf *b, struct errmsg *em);

#endif
