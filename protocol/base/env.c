/* env.c: what is built from the table: addresses, log lines, whole files. */
#include "protocol/base/env.h"

#include "protocol/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 2048, PATH_MAX_BYTES = 4096 };

static int parse_port(const char *text, uint16_t *port)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || v == 0 || v > UINT16_MAX) {
        return E_INVALID;
    }
    *port = (uint16_t)v;
    return 0;
}

int env_addr_parse(const char *text, uint16_t default_port, struct env_addr *addr, struct errmsg *em)
{
    const char *host = text, *port = NULL;
    size_t host_len = strlen(text);
    *addr = (struct env_addr){.port = default_port};
    if (text[0] == '/') {
        addr->is_path = true;
        addr->port = 0;
    } else if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (!close || (close[1] && close[1] != ':')) {
            return err_set(em, E_INVALID, "address '%s': expected [IPv6]:PORT", text);
        }
        host = text + 1;
        host_len = (size_t)(close - host);
        port = close[1] ? close + 2 : NULL;
    } else {
        const char *colon = strrchr(text, ':');
        if (colon && strchr(text, ':') == colon) { /* more than one colon: a bare IPv6 address */
            host_len = (size_t)(colon - text);
            port = colon + 1;
        }
    }
    if (host_len == 0 || host_len >= sizeof addr->host) {
        return err_set(em, E_INVALID, "address '%s': expected HOST:PORT", text);
    }
    memcpy(addr->host, host, host_len);
    addr->host[host_len] = 0;
    if (!addr->is_path && strpbrk(addr->host, "[]/")) { /* env_addr_format would make another address of it */
        return err_set(em, E_INVALID, "address '%s': expected HOST:PORT", text);
    }
    if (port && parse_port(port, &addr->port)) {
        return err_set(em, E_INVALID, "address '%s': '%s' is no port (1 to 65535)", text, port);
    }
    if (!addr->is_path && addr->port == 0) {
        return err_set(em, E_INVALID, "address '%s': the port is missing", text);
    }
    return 0;
}

void env_addr_format(const struct env_addr *addr, char *text, size_t size)
{
    if (addr->is_path) {
        snprintf(text, size, "%s", addr->host);
    } else if (strchr(addr->host, ':')) {
        snprintf(text, size, "[%s]:%u", addr->host, (unsigned)addr->port);
    } else {
        snprintf(text, size, "%s:%u", addr->host, (unsigned)addr->port);
    }
}

void env_log(struct env *env, enum env_level level, const char *fmt, ...)
{
    if (level > env->level) {
        return;
    }
    char line[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    env->ops->log(env, level, line);
}

_Noreturn void env_fatal(struct env *env, const char *fmt, ...)
{
    char line[LINE_MAX_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    env->ops->fatal(env, line);
    abort();
}

int env_read_file(struct env *env, const char *path, struct buf *out, struct errmsg *em)
{
    struct env_file *file;
    uint64_t size;
    size_t got = 0;
    int rv = env_open(env, path, ENV_READ, &file, em);
    if (rv) {
        return rv;
    }
    rv = env_size(file, &size, em);
    if (!rv) {
        uint8_t *to = size > SIZE_MAX ? NULL : buf_reserve(out, (size_t)size);
        if (to) {
            rv = env_pread(file, to, (size_t)size, 0, &got, em);
            out->len += got;
        } else {
            rv = err_set(em, E_TOOBIG, "%s: %llu bytes are more than expected", path, (unsigned long long)size);
        }
    }
    env_close(file);
    return rv;
}

static int write_whole(struct env *env, const char *path, const void *data, size_t n, struct errmsg *em)
{
    struct env_file *file;
    int rv = env_open(env, path, ENV_WRITE | ENV_CREATE | ENV_TRUNC, &file, em);
    if (rv) {
        return rv;
    }
    rv = env_pwrite(file, data, n, 0, em);
    if (!rv) {
        rv = env_sync(file, em);
    }
    env_close(file);
    return rv;
}

int env_replace_file(struct env *env, const char *dir, const char *name, const void *data, size_t n, struct errmsg *em)
{
    char path[PATH_MAX_BYTES], tmp[PATH_MAX_BYTES];
    int a = snprintf(path, sizeof path, "%s/%s", dir, name);
    int b = snprintf(tmp, sizeof tmp, "%s/%s.tmp", dir, name);
    if (a < 0 || b < 0 || (size_t)b >= sizeof tmp) {
        return err_set(em, E_INVALID, "%s/%s: the path is too long", dir, name);
    }
    int rv = write_whole(env, tmp, data, n, em);
    if (!rv) {
        rv = env_rename(env, tmp, path, em);
    }
    return rv ? rv : env_sync_dir(env, dir, em);
}

int env_make_dir(struct env *env, const char *parent, const char *name, struct errmsg *em)
{
    char path[PATH_MAX_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", parent, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return err_set(em, E_INVALID, "%s/%s: the path is too long", parent, name);
    }
    int rv = env_mkdir(env, path, em);
    if (rv == E_EXISTS) {
        return 0;
    }
    return rv ? rv : env_sync_dir(env, parent, em);
}
