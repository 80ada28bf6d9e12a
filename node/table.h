/* table.h: the answer to a statement, before it is bytes: OK, an error, or rows of text. Built on a worker or on the loop, handed over whole. */
#ifndef HOLDFAST_NODE_TABLE_H
#define HOLDFAST_NODE_TABLE_H

#include "protocol/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As what a column's values are announced to clients; they are sent as text all the same. */
enum table_type {
    TABLE_TEXT,
    TABLE_NUMBER, /* 64 bits, not negative */
    TABLE_LONG,   /* 32 bits, not negative */
    TABLE_DOUBLE,
    TABLE_BLOB,   /* a long text */
    TABLE_NULL,   /* SELECT NULL */
    TABLE_SHORT,  /* 16 bits, not negative */
    TABLE_FLOAT,
    TABLE_DATETIME,
};

enum reply_kind { REPLY_OK, REPLY_ERROR, REPLY_ROWS };

/* What SHOW WARNINGS shows after the statement. */
struct reply_note {
    const char *level; /* a constant: Note, Warning, Error */
    uint16_t code;
    char text[256];
};

struct reply {
    enum reply_kind kind;
    uint64_t affected;
    uint16_t warnings;
    uint16_t code;     /* of an error: MySQL's number */
    char state[6];     /* its SQLSTATE */
    char message[512]; /* of an error; of an OK: its info, mostly "" */
    struct table *table;
    struct reply_note *notes; /* `warnings` of them, as far as they fit */
    bool keeps_notes;         /* SHOW WARNINGS: those of the statement before stay */
};

struct table;

enum { REPLY_NOTES_MAX = 64 };

struct table *table_new(void);
void table_free(struct table *table); /* NULL is fine */
void table_column(struct table *table, const char *name, enum table_type type); /* all columns before the first row */
/* The same for a name with its type in front: # NUMBER, ~ LONG, % SHORT, = DOUBLE, ^ FLOAT, @ DATETIME, & BLOB; else
 * TEXT. */
void table_head(struct table *table, const char *name);
bool table_has_null(const struct table *table, size_t column); /* in some row */
void table_row(struct table *table);                                            /* begins a row; cells follow in order */
void table_text(struct table *table, const char *text);                         /* NULL is SQL's NULL */
void table_bytes(struct table *table, const void *text, size_t n);
void table_number(struct table *table, uint64_t v);
void table_printf(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

size_t table_columns(const struct table *table);
size_t table_rows(const struct table *table);
const char *table_name(const struct table *table, size_t column);
enum table_type table_type(const struct table *table, size_t column);
const char *table_cell(const struct table *table, size_t row, size_t column, size_t *n); /* NULL: SQL's NULL */

void reply_ok(struct reply *reply);
void reply_error(struct reply *reply, uint16_t code, const char *state, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void reply_rows(struct reply *reply, struct table *table); /* takes the table */
/* reply_ok, reply_error and reply_rows begin a reply anew (of zeros, or one that was used) but keep its notes. */
void reply_note(struct reply *reply, const char *level, uint16_t code, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void reply_free(struct reply *reply);

#endif
