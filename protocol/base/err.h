/* err.h: the one table of error codes, and the message a person reads.
 *
 * A function that can fail returns 0 or one of the negative codes below. Where a person will see the failure it takes a
 * `struct errmsg *`, in which the text is built on the way up: the innermost function says what failed
 * (err_set), each caller may put its own purpose in front of it (err_wrap). Both accept NULL: then only the code travels. */
#ifndef HOLDFAST_ERR_H
#define HOLDFAST_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* name, value, what it means in general */
#define ERR_TABLE(X)                                                                                               \
    X(NOMEM, -1, "out of memory")                                                                                  \
    X(IO, -2, "input/output error")                                                                                \
    X(NOSPACE, -3, "no space left on device")                                                                      \
    X(NOTFOUND, -4, "not found")                                                                                   \
    X(EXISTS, -5, "exists already")                                                                                \
    X(MALFORMED, -6, "malformed data")                                                                             \
    X(CORRUPT, -7, "corrupt data")                                                                                 \
    X(TOOBIG, -8, "larger than allowed")                                                                           \
    X(INVALID, -9, "invalid value")                                                                                \
    X(DENIED, -10, "access denied")                                                                                \
    X(REFUSED, -11, "connection refused")                                                                          \
    X(RESET, -12, "connection lost")                                                                               \
    X(TIMEOUT, -13, "timed out")                                                                                   \
    X(CANCELED, -14, "canceled")                                                                                   \
    X(CLOSED, -15, "closed")                                                                                       \
    X(AGAIN, -16, "not now")                                                                                       \
    X(NOTLEADER, -17, "not the leader")                                                                            \
    X(UNSUPPORTED, -18, "not supported")                                                                           \
    X(VERSION, -19, "format of a newer version")                                                                   \
    X(PEER, -20, "the peer reports an error")                                                                      \
    X(TLS, -21, "TLS failure")                                                                                     \
    X(BUSY, -22, "busy")                                                                                           \
    X(CONTRADICTION, -23, "histories contradict each other")

enum err {
    E_OK = 0,
#define ERR_ENUM(name, value, text) E_##name = value,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
};

#define ERRMSG_MAX 1024

struct errmsg {
    char text[ERRMSG_MAX];
};

/* The general meaning of a code: never NULL. */
const char *err_text(int code);

/* The name of a code without its prefix ("NOSPACE"): for logs and metrics. */
const char *err_name(int code);

/* Sets the message and returns `code`, so that a function can end with `return err_set(em, E_IO, "cannot …", …)`. */
int err_set(struct errmsg *em, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "what: " in front of the message that is there already; returns `code`. */
int err_wrap(struct errmsg *em, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Sets "<what>: <strerror(errno)>" and returns the code that fits errno. */
int err_errno(struct errmsg *em, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
