/* result.h: what a server answers: OK, ERR, EOF and text result sets; written (server side) and read (client
 * side).
 *
 * `caps` is always what both sides have. Writers put into the wire and continue its sequence; their errors
 * are sticky in the wire's output. One thread; nothing here outlives its caller's struct. */
#ifndef HOLDFAST_RESULT_H
#define HOLDFAST_RESULT_H

#include "protocol/base/buf.h"
#include "protocol/base/err.h"
#include "protocol/packet.h"

#include <stdarg.h>
#include <stdbool.h>

struct wire;

/* ---- writing: single packets ---- */

enum { ERR_TEXT_MAX = 511 }; /* MySQL cuts there too */

struct ok_info {
    uint64_t affected;
    uint64_t insert_id;
    uint16_t status;   /* put_ok_info takes it as it is */
    uint16_t warnings;
    const char *info;  /* NULL: none */
};

int put_ok(struct wire *w, uint32_t caps); /* the 7 bytes that every SET is answered with */
int put_ok_info(struct wire *w, uint32_t caps, const struct ok_info *info);

/* sqlstate NULL: what belongs to the code. The text is cut at ERR_TEXT_MAX bytes, never inside a UTF-8
 * character. */
int put_err(struct wire *w, unsigned code, const char *sqlstate, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int put_err_text(struct wire *w, unsigned code, const char *sqlstate, const char *text);

/* The classic EOF packet (also the end of a non-blocking dump, whatever caps are). */
int put_eof(struct wire *w, uint16_t status, uint16_t warnings);

/* ---- writing: result sets ---- */

struct column {
    const char *name;
    uint8_t type;      /* enum packet_type */
    uint32_t length;
    uint16_t charset;  /* 0: utf8mb4 for texts, binary for numbers */
    uint16_t flags;
    uint8_t decimals;  /* texts: 31 in MySQL */
    const char *table; /* NULL: "" */
};

#define COLUMN_TEXT(name_, chars_)                                                                           \
    {.name = (name_), .type = TYPE_VAR_STRING, .length = (chars_) * 4u, .decimals = 31}
#define COLUMN_NUMBER(name_, flags_)                                                                         \
    {.name = (name_), .type = TYPE_LONGLONG, .length = 21,                                                   \
     .flags = COLUMN_NOT_NULL | COLUMN_BINARY | (flags_)}
#define COLUMN_U64(name_) COLUMN_NUMBER(name_, COLUMN_UNSIGNED)
#define COLUMN_I64(name_) COLUMN_NUMBER(name_, 0)

/* rowset_begin, then for each row rowset_row and a value for each column in order (CHECKed), then rowset_end.
 * The struct is the caller's; nothing to free. Only the wire's put functions may be called in between, none
 * of the caller's own. */
struct rowset {
    struct wire *w;
    uint32_t caps;
    size_t ncols;
    size_t at;       /* column that is next; ncols: row complete */
    bool in_row;
    uint64_t nrows;
    struct buf *row; /* the packet that is being built */
};

void rowset_begin(struct rowset *rs, struct wire *w, uint32_t caps, const struct column *columns,
                  size_t ncols);
void rowset_row(struct rowset *rs); /* ends the row before */
void rowset_null(struct rowset *rs);
void rowset_bytes(struct rowset *rs, const void *data, size_t n);
void rowset_str(struct rowset *rs, const char *s); /* NULL: rowset_null */
void rowset_u64(struct rowset *rs, uint64_t v);
void rowset_i64(struct rowset *rs, int64_t v);
void rowset_printf(struct rowset *rs, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int rowset_end(struct rowset *rs);
int rowset_end_with(struct rowset *rs, uint16_t status, uint16_t warnings);

/* ---- reading ---- */

enum { RESULT_MORE = 0, RESULT_DONE = 1 };
enum { RESULT_COLUMNS_MAX = 4096 };

/* The answer to one command. Feed packets until it is not RESULT_MORE. Kept whole, up to max bytes of values
 * and max bytes of bookkeeping (16 per value).
 * */
struct result {
    /* of OK packets (and what ends a result set) */
    uint64_t affected;
    uint64_t insert_id;
    uint16_t status;  /* STATUS_MORE_RESULTS: another result follows; result_reset and go on */
    uint16_t warnings;
    /* of ERR packets: result_packet gave E_PEER (E_DENIED for 1044, 1045, 1227) and em is "message (code)" */
    unsigned code;
    char sqlstate[6];
    char message[512];

    bool has_rows;    /* it is a result set, maybe with no rows */
    size_t ncols;
    size_t nrows;

    /* the rest is result.c's */
    int state;
    size_t seen_cols;
    struct buf text;   /* names and values, each with a NUL behind it */
    struct buf index;  /* of struct result_cell: columns, then the rows' values */
};

void result_init(struct result *r, size_t max);
void result_reset(struct result *r); /* for the next answer */
void result_free(struct result *r);

/* RESULT_MORE, RESULT_DONE, E_PEER / E_DENIED (the server's ERR; the connection goes on), E_MALFORMED,
 * E_TOOBIG (close it). */
int result_packet(struct result *r, uint32_t caps, const struct packet *p, struct errmsg *em);

const char *result_column_name(const struct result *r, size_t col); /* NULL beyond the last */
uint8_t result_column_type(const struct result *r, size_t col);
int result_column(const struct result *r, const char *name);        /* any case; -1: none */

/* NULL: SQL's NULL, or no such row or column. With a NUL behind it; n (may be NULL) is the length without.
 * Valid until reset or free. */
const char *result_value(const struct result *r, size_t row, size_t col, size_t *n);
const char *result_get(const struct result *r, size_t row, const char *column);

/* Reads an ERR packet (without a result): 0 or E_MALFORMED. */
int err_packet_parse(const struct packet *p, unsigned *code, char sqlstate[6], char *message, size_t size);

#endif
