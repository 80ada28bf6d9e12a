/* table.c: rows of text in two growing arrays: one of bytes, one of cells that point into it.
 *
 * Happy path: columns, then for each row table_row and as many cells. A row with fewer cells than columns, or
 * more, is our own mistake and stops the program. What is too large is not: reply_rows turns it into an error
 * for the client. */
#include "node/table.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TABLE_BYTES_MAX = 256 << 20, TABLE_FIRST = 16 };

#define CELL_NULL SIZE_MAX

struct table_cell {
    size_t at; /* in bytes; CELL_NULL */
    size_t n;
};

struct table_head {
    char *name;
    enum table_type type;
};

struct table {
    struct table_head *columns;
    size_t n_columns;
    struct table_cell *cells;
    size_t n_cells, cap_cells;
    size_t n_rows;
    struct buf bytes; /* each cell with a NUL behind it */
};

struct table *table_new(void)
{
    struct table *table = mem_new(sizeof *table);
    buf_init(&table->bytes, TABLE_BYTES_MAX);
    return table;
}

void table_free(struct table *table)
{
    if (!table) {
        return;
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        mem_free(table->columns[i].name);
    }
    mem_free(table->columns);
    mem_free(table->cells);
    buf_free(&table->bytes);
    mem_free(table);
}

void table_column(struct table *table, const char *name, enum table_type type)
{
    CHECK(table->n_rows == 0);
    table->columns = mem_grow(table->columns, table->n_columns + 1, sizeof *table->columns);
    table->columns[table->n_columns++] = (struct table_head){.name = mem_str(name), .type = type};
}

void table_head(struct table *table, const char *name)
{
    static const char marks[] = "#~=&%^@";
    static const enum table_type types[] = {TABLE_NUMBER, TABLE_LONG, TABLE_DOUBLE, TABLE_BLOB,
                                            TABLE_SHORT,  TABLE_FLOAT, TABLE_DATETIME};
    const char *mark = strchr(marks, name[0]);
    if (mark && *mark) {
        table_column(table, name + 1, types[mark - marks]);
    } else {
        table_column(table, name, TABLE_TEXT);
    }
}

bool table_has_null(const struct table *table, size_t column)
{
    for (size_t row = 0; row < table->n_rows; row++) {
        if (table->cells[row * table->n_columns + column].at == CELL_NULL) {
            return true;
        }
    }
    return false;
}

static bool row_is_whole(const struct table *table)
{
    return table->n_cells == table->n_rows * table->n_columns;
}

void table_row(struct table *table)
{
    CHECK(table->n_columns > 0 && row_is_whole(table));
    table->n_rows++;
}

static void add_cell(struct table *table, size_t at, size_t n)
{
    CHECK(table->n_rows > 0 && table->n_cells < table->n_rows * table->n_columns);
    if (table->n_cells == table->cap_cells) {
        table->cap_cells = table->cap_cells ? table->cap_cells * 2 : TABLE_FIRST;
        table->cells = mem_grow(table->cells, table->cap_cells, sizeof *table->cells);
    }
    table->cells[table->n_cells++] = (struct table_cell){.at = at, .n = n};
}

void table_bytes(struct table *table, const void *text, size_t n)
{
    size_t at = table->bytes.len;
    buf_bytes(&table->bytes, text, n);
    buf_u8(&table->bytes, 0);
    add_cell(table, at, n);
}

void table_text(struct table *table, const char *text)
{
    if (text) {
        table_bytes(table, text, strlen(text));
    } else {
        add_cell(table, CELL_NULL, 0);
    }
}

void table_number(struct table *table, uint64_t v)
{
    table_printf(table, "%llu", (unsigned long long)v);
}

void table_printf(struct table *table, const char *fmt, ...)
{
    size_t at = table->bytes.len;
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&table->bytes, fmt, ap);
    va_end(ap);
    size_t n = table->bytes.len - at;
    buf_u8(&table->bytes, 0);
    add_cell(table, at, n);
}

size_t table_columns(const struct table *table)
{
    return table->n_columns;
}

size_t table_rows(const struct table *table)
{
    return table->n_rows;
}

const char *table_name(const struct table *table, size_t column)
{
    CHECK(column < table->n_columns);
    return table->columns[column].name;
}

enum table_type table_type(const struct table *table, size_t column)
{
    CHECK(column < table->n_columns);
    return table->columns[column].type;
}

const char *table_cell(const struct table *table, size_t row, size_t column, size_t *n)
{
    CHECK(row < table->n_rows && column < table->n_columns && !table->bytes.err);
    const struct table_cell *cell = &table->cells[row * table->n_columns + column];
    if (n) {
        *n = cell->n;
    }
    return cell->at == CELL_NULL ? NULL : (const char *)table->bytes.data + cell->at;
}

/* A new content; notes that were made on the way stay. */
static void renew(struct reply *reply, enum reply_kind kind)
{
    *reply = (struct reply){.kind = kind, .notes = reply->notes, .warnings = reply->warnings};
}

void reply_ok(struct reply *reply)
{
    renew(reply, REPLY_OK);
}

void reply_error(struct reply *reply, uint16_t code, const char *state, const char *fmt, ...)
{
    renew(reply, REPLY_ERROR);
    reply->code = code;
    snprintf(reply->state, sizeof reply->state, "%s", state);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reply->message, sizeof reply->message, fmt, ap);
    va_end(ap);
}

void reply_rows(struct reply *reply, struct table *table)
{
    CHECK(row_is_whole(table));
    if (table->bytes.err) {
        reply_error(reply, 1105, "HY000", "cannot build the result: %s", err_text(table->bytes.err));
        table_free(table);
        return;
    }
    renew(reply, REPLY_ROWS);
    reply->table = table;
}

void reply_note(struct reply *reply, const char *level, uint16_t code, const char *fmt, ...)
{
    if (reply->warnings == REPLY_NOTES_MAX) {
        return;
    }
    reply->notes = mem_grow(reply->notes, reply->warnings + 1u, sizeof *reply->notes);
    struct reply_note *note = &reply->notes[reply->warnings++];
    *note = (struct reply_note){.level = level, .code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(note->text, sizeof note->text, fmt, ap);
    va_end(ap);
}

void reply_free(struct reply *reply)
{
    table_free(reply->table);
    mem_free(reply->notes);
    reply->table = NULL;
    reply->notes = NULL;
    reply->warnings = 0;
}
