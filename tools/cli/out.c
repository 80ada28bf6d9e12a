/* out.c: tables, lines and JSON in a buffer.
 *
 * Widths count characters, not bytes; what would move a terminal's cursor is shown escaped in text, and what
 * is no UTF-8 becomes U+FFFD in JSON. Failure mode: the buffer's sticky error, reported by out_write. */
#include "tools/cli/out.h"

#include "protocol/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The length of the well-formed UTF-8 character at p, 0 if there is none. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
    size_t want = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (want == 0 || want > n) {
        return 0;
    }
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool beyond = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : want;
}

/* ---- text ---- */

void out_plain(struct buf *b, const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    while (n) {
        size_t length = utf8_length(p, n);
        bool control = length == 1 ? p[0] < 0x20 || p[0] == 0x7f : length == 2 && p[0] == 0xc2 && p[1] < 0xa0;
        if (length && !control) {
            buf_bytes(b, p, length);
        } else if (p[0] == '\n' || p[0] == '\t') {
            buf_str(b, p[0] == '\n' ? "\\n" : "\\t");
        } else {
            length = length ? length : 1;
            for (size_t i = 0; i < length; i++) {
                buf_printf(b, "\\x%02x", (unsigned)p[i]);
            }
        }
        length = length ? length : 1;
        p += length;
        n -= length;
    }
}

static void blanks(struct buf *b, size_t n)
{
    while (n--) {
        buf_u8(b, ' ');
    }
}

static size_t characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return count;
}

void out_pair(struct buf *b, unsigned indent, unsigned width, const char *title, const char *value)
{
    size_t used = characters(title, strlen(title)) + 1;
    blanks(b, indent);
    buf_str(b, title);
    buf_u8(b, ':');
    blanks(b, used < width ? width - used : 1);
    if (!value || !value[0]) {
        value = "-";
    }
    out_plain(b, value, strlen(value));
    buf_u8(b, '\n');
}

bool out_is_number(const struct result *r, size_t column)
{
    switch (result_column_type(r, column)) {
    case TYPE_TINY:
    case TYPE_SHORT:
    case TYPE_LONG:
    case TYPE_INT24:
    case TYPE_LONGLONG:
        return true;
    default:
        return false;
    }
}

/* A cell as it will be printed; row SIZE_MAX is the title. */
static void cell_text(struct buf *cell, const struct result *r, size_t row, size_t column,
                      enum out_titles titles)
{
    size_t n;
    buf_reset(cell);
    if (row == SIZE_MAX) {
        const char *name = result_column_name(r, column);
        out_plain(cell, name, strlen(name));
        for (size_t i = 0; titles == TITLES_HUMAN && i < cell->len; i++) {
            int c = toupper(cell->data[i]);
            cell->data[i] = (uint8_t)(c == '_' ? ' ' : c);
        }
        return;
    }
    const char *value = result_value(r, row, column, &n);
    if (!value) {
        buf_str(cell, titles == TITLES_RAW ? "NULL" : "-");
    } else if (n == 0 && titles == TITLES_HUMAN) {
        buf_str(cell, "-");
    } else {
        out_plain(cell, value, n);
    }
}

void out_table(struct buf *b, const struct result *r, enum out_titles titles, unsigned indent)
{
    struct buf cell;
    buf_init(&cell, b->max);
    size_t *width = mem_array(r->ncols, sizeof *width);
    for (size_t line = 0; line <= r->nrows; line++) {
        for (size_t i = 0; i < r->ncols; i++) {
            cell_text(&cell, r, line ? line - 1 : SIZE_MAX, i, titles);
            size_t n = characters(buf_cstr(&cell), cell.len);
            width[i] = n > width[i] ? n : width[i];
        }
    }
    for (size_t line = 0; line <= r->nrows; line++) {
        blanks(b, indent);
        for (size_t i = 0; i < r->ncols; i++) {
            cell_text(&cell, r, line ? line - 1 : SIZE_MAX, i, titles);
            size_t room = width[i] - characters(buf_cstr(&cell), cell.len);
            bool right = out_is_number(r, i), last = i + 1 == r->ncols;
            blanks(b, right ? room : 0);
            buf_bytes(b, cell.data, cell.len);
            blanks(b, last ? 0 : right ? 2 : room + 2);
        }
        buf_u8(b, '\n');
    }
    if (cell.err && !b->err) {
        b->err = cell.err;
    }
    mem_free(width);
    buf_free(&cell);
}

void out_vertical(struct buf *b, const struct result *r)
{
    size_t width = 0;
    for (size_t i = 0; i < r->ncols; i++) {
        size_t n = strlen(result_column_name(r, i));
        width = n > width ? n : width;
    }
    for (size_t row = 0; row < r->nrows; row++) {
        buf_printf(b, "---- row %zu ----\n", row + 1);
        for (size_t i = 0; i < r->ncols; i++) {
            size_t n;
            const char *name = result_column_name(r, i), *value = result_value(r, row, i, &n);
            blanks(b, width - strlen(name));
            out_plain(b, name, strlen(name));
            buf_str(b, ": ");
            out_plain(b, value ? value : "NULL", value ? n : 4);
            buf_u8(b, '\n');
        }
    }
}

/* ---- JSON ---- */

static void json_quote(struct buf *b, const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    buf_u8(b, '"');
    while (n) {
        size_t length = utf8_length(p, n);
        if (length == 0) {
            buf_str(b, "\\ufffd");
            length = 1;
        } else if (p[0] == '"' || p[0] == '\\') {
            buf_u8(b, '\\');
            buf_u8(b, p[0]);
        } else if (p[0] == '\n') {
            buf_str(b, "\\n");
        } else if (p[0] < 0x20 || p[0] == 0x7f) {
            buf_printf(b, "\\u%04x", (unsigned)p[0]);
        } else {
            buf_bytes(b, p, length);
        }
        p += length;
        n -= length;
    }
    buf_u8(b, '"');
}

static void json_line(struct json *j)
{
    if (j->depth) {
        buf_str(j->b, j->first ? "\n" : ",\n");
        blanks(j->b, (size_t)j->depth * 2);
    }
    j->first = false;
}

void json_begin(struct json *j, struct buf *b)
{
    *j = (struct json){.b = b, .first = true};
}

void json_key(struct json *j, const char *key)
{
    json_line(j);
    if (key) {
        json_quote(j->b, key, strlen(key));
        buf_str(j->b, ": ");
    }
}

void json_open(struct json *j, const char *key, char bracket)
{
    json_key(j, key);
    buf_u8(j->b, (uint8_t)bracket);
    j->depth++;
    j->first = true;
}

void json_close(struct json *j, char bracket)
{
    bool empty = j->first;
    j->depth--;
    if (!empty) {
        buf_u8(j->b, '\n');
        blanks(j->b, (size_t)j->depth * 2);
    }
    buf_u8(j->b, (uint8_t)bracket);
    j->first = false;
}

void json_text(struct json *j, const char *key, const char *value, size_t n)
{
    json_key(j, key);
    if (value) {
        json_quote(j->b, value, n);
    } else {
        buf_str(j->b, "null");
    }
}

void json_str(struct json *j, const char *key, const char *value)
{
    json_text(j, key, value, value ? strlen(value) : 0);
}

void json_bool(struct json *j, const char *key, bool value)
{
    json_key(j, key);
    buf_str(j->b, value ? "true" : "false");
}

/* As JSON writes integers: no sign but '-', no leading zero. */
static bool is_integer(const char *text)
{
    text += *text == '-';
    size_t n = strspn(text, "0123456789");
    return n > 0 && n <= 20 && !text[n] && (text[0] != '0' || n == 1);
}

void json_number(struct json *j, const char *key, const char *digits)
{
    if (digits && is_integer(digits)) {
        json_key(j, key);
        buf_str(j->b, digits);
    } else {
        json_str(j, key, digits && digits[0] ? digits : NULL);
    }
}

void json_cell(struct json *j, const char *key, const struct result *r, size_t row, size_t column)
{
    size_t n = 0;
    const char *value = result_value(r, row, column, &n);
    if (out_is_number(r, column)) {
        json_number(j, key, value);
    } else {
        json_text(j, key, value, n);
    }
}

void json_rows(struct json *j, const char *key, const struct result *r)
{
    json_open(j, key, '[');
    for (size_t row = 0; row < r->nrows; row++) {
        json_open(j, NULL, '{');
        for (size_t i = 0; i < r->ncols; i++) {
            char *name = mem_str(result_column_name(r, i));
            for (char *c = name; *c; c++) {
                *c = (char)(*c == ' ' ? '_' : tolower((unsigned char)*c));
            }
            json_cell(j, name, r, row, i);
            mem_free(name);
        }
        json_close(j, '}');
    }
    json_close(j, ']');
}

void json_end(struct json *j)
{
    buf_u8(j->b, '\n');
}

/* ---- writing ---- */

int out_write(int fd, struct buf *b, struct errmsg *em)
{
    if (b->err) {
        return err_set(em, b->err, "cannot print: %s", err_text(b->err));
    }
    while (b->len) {
        ssize_t n = write(fd, b->data, b->len);
        if (n > 0) {
            buf_consume(b, (size_t)n);
        } else if (n < 0 && errno == EPIPE) {
            return 0;
        } else if (n < 0 && errno != EINTR) {
            return err_errno(em, errno, "cannot print");
        }
    }
    return 0;
}
