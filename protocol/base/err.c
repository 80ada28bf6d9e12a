/* err.c: error codes to texts, and messages that grow on the way up. Nothing here can fail: a text that is too long is
 * cut at the end of the buffer. */
#include "protocol/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *err_text(int code)
{
    switch (code) {
    case E_OK:
        return "no error";
#define ERR_CASE(name, value, text)                                                                                \
    case value:                                                                                                    \
        return text;
        ERR_TABLE(ERR_CASE)
#undef ERR_CASE
    default:
        return "unknown error";
    }
}

const char *err_name(int code)
{
    switch (code) {
    case E_OK:
        return "OK";
#define ERR_CASE(name, value, text)                                                                                \
    case value:                                                                                                    \
        return #name;
        ERR_TABLE(ERR_CASE)
#undef ERR_CASE
    default:
        return "UNKNOWN";
    }
}

int err_set(struct errmsg *em, int code, const char *fmt, ...)
{
    if (em) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(em->text, sizeof em->text, fmt, ap);
        va_end(ap);
    }
    return code;
}

/* ": tail" behind the first n bytes, cut where the buffer ends. */
static void add_tail(struct errmsg *em, int n, const char *tail)
{
    const char *parts[] = {": ", tail};
    size_t at = n < 0 ? 0 : (size_t)n;
    for (size_t i = 0; i < 2 && at < sizeof em->text; i++) {
        size_t room = sizeof em->text - 1 - at;
        size_t len = strnlen(parts[i], room);
        memcpy(em->text + at, parts[i], len);
        at += len;
        em->text[at] = 0;
    }
}

int err_wrap(struct errmsg *em, int code, const char *fmt, ...)
{
    if (em) {
        char inner[ERRMSG_MAX];
        va_list ap;
        memcpy(inner, em->text, sizeof inner);
        va_start(ap, fmt);
        int n = vsnprintf(em->text, sizeof em->text, fmt, ap);
        va_end(ap);
        add_tail(em, n, inner);
    }
    return code;
}

static int code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return E_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return E_NOSPACE;
    case ENOENT:
        return E_NOTFOUND;
    case EEXIST:
        return E_EXISTS;
    case EACCES:
    case EPERM:
        return E_DENIED;
    case ECONNREFUSED:
        return E_REFUSED;
    case ECONNRESET:
    case EPIPE:
        return E_RESET;
    case ETIMEDOUT:
        return E_TIMEOUT;
    default:
        return E_IO;
    }
}

int err_errno(struct errmsg *em, int errnum, const char *fmt, ...)
{
    if (em) {
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(em->text, sizeof em->text, fmt, ap);
        va_end(ap);
        add_tail(em, n, strerror(errnum));
    }
    return code_of_errno(errnum);
}
