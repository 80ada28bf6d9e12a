/* config.c: the INI file, read with inih. One table of keys; a key that is not in it, or a value that does not fit, is an error that
 * names the line and what would be right. */
#include "node/config.h"

#include "build.h"
#include "protocol/base/buf.h"
#include "protocol/base/mem.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MYSQL_PORT = 3307, DEFAULT_RAFT_PORT = 4307, DEFAULT_HTTP_PORT = 8307, WORKERS_MAX = 64, CONFIG_MAX = 1 << 20 };

struct parsing {
    const char *name;
    struct config *config;
    struct errmsg *em;
    int rv;
};

static int put_text(char *to, size_t size, const char *value, struct errmsg *em)
{
    if (strlen(value) >= size) {
        return err_set(em, E_INVALID, "longer than %zu bytes", size - 1);
    }
    memcpy(to, value, strlen(value) + 1);
    return 0;
}

static int put_number(const char *value, uint64_t min, uint64_t max, uint64_t *to, struct errmsg *em)
{
    char *end;
    unsigned long long v = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end || v < min || v > max) {
        return err_set(em, E_INVALID, "'%s' is no number from %llu to %llu", value, (unsigned long long)min, (unsigned long long)max);
    }
    *to = v;
    return 0;
}

static int set_id(struct config *c, const char *v, struct errmsg *em)
{
    return put_number(v, 1, UINT32_MAX, &c->id, em);
}

static int set_data_dir(struct config *c, const char *v, struct errmsg *em)
{
    if (v[0] != '/') {
        return err_set(em, E_INVALID, "'%s' is no absolute path", v);
    }
    return put_text(c->data_dir, sizeof c->data_dir, v, em);
}

static int set_workers(struct config *c, const char *v, struct errmsg *em)
{
    uint64_t n = 0;
    int rv = put_number(v, 1, WORKERS_MAX, &n, em);
    c->workers = (unsigned)n;
    return rv;
}

static int set_mysql_listen(struct config *c, const char *v, struct errmsg *em)
{
    c->has_mysql_listen = true;
    return env_addr_parse(v, DEFAULT_MYSQL_PORT, &c->mysql_listen, em);
}

static int set_socket(struct config *c, const char *v, struct errmsg *em)
{
    if (v[0] != '/') {
        return err_set(em, E_INVALID, "'%s' is no absolute path", v);
    }
    return put_text(c->socket, sizeof c->socket, v, em);
}

static int set_ssl_ca(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->mysql_ssl_ca, sizeof c->mysql_ssl_ca, v, em);
}

static int set_ssl_cert(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->mysql_ssl_cert, sizeof c->mysql_ssl_cert, v, em);
}

static int set_ssl_key(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->mysql_ssl_key, sizeof c->mysql_ssl_key, v, em);
}

static int set_raft_ssl_ca(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->raft_ssl_ca, sizeof c->raft_ssl_ca, v, em);
}

static int set_raft_ssl_cert(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->raft_ssl_cert, sizeof c->raft_ssl_cert, v, em);
}

static int set_raft_ssl_key(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->raft_ssl_key, sizeof c->raft_ssl_key, v, em);
}

static int set_secret_file(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->raft_secret_file, sizeof c->raft_secret_file, v, em);
}

static int set_raft_listen(struct config *c, const char *v, struct errmsg *em)
{
    return env_addr_parse(v, DEFAULT_RAFT_PORT, &c->raft_listen, em);
}

static int set_advertise(struct config *c, const char *v, struct errmsg *em)
{
    return put_text(c->raft_advertise, sizeof c->raft_advertise, v, em);
}

/* One "ID@HOST:PORT". */
static int set_member(struct config *c, const char *text, struct errmsg *em)
{
    struct env_addr addr;
    const char *at = strchr(text, '@');
    char id[24];
    if (!at || (size_t)(at - text) >= sizeof id) {
        return err_set(em, E_INVALID, "'%s': expected ID@HOST:PORT", text);
    }
    if (c->n_initial == CLUSTER_MEMBERS_MAX) {
        return err_set(em, E_INVALID, "more than %d members", CLUSTER_MEMBERS_MAX);
    }
    struct cluster_member *member = &c->initial[c->n_initial];
    snprintf(id, sizeof id, "%.*s", (int)(at - text), text);
    int rv = put_number(id, 1, UINT32_MAX, &member->id, em);
    rv = rv ? rv : env_addr_parse(at + 1, DEFAULT_RAFT_PORT, &addr, em);
    if (rv) {
        return rv;
    }
    env_addr_format(&addr, member->address, sizeof member->address);
    for (size_t i = 0; i < c->n_initial; i++) {
        if (c->initial[i].id == member->id || !strcmp(c->initial[i].address, member->address)) {
            return err_set(em, E_INVALID, "'%s': id or address stands there twice", text);
        }
    }
    c->n_initial++;
    return 0;
}

/* One "HOST:PORT". */
static int set_join_address(struct config *c, const char *text, struct errmsg *em)
{
    struct env_addr addr;
    if (c->n_join == CLUSTER_MEMBERS_MAX) {
        return err_set(em, E_INVALID, "more than %d members", CLUSTER_MEMBERS_MAX);
    }
    int rv = env_addr_parse(text, DEFAULT_RAFT_PORT, &addr, em);
    if (!rv) {
        env_addr_format(&addr, c->join[c->n_join++], sizeof *c->join);
    }
    return rv;
}

/* What stands between commas, one by one. */
static int set_each(struct config *c, const char *v, int (*set)(struct config *c, const char *text, struct errmsg *em), struct errmsg *em)
{
    char *copy = mem_str(v), *rest = copy;
    int rv = 0;
    while (rest && !rv) {
        char *comma = strchr(rest, ',');
        if (comma) {
            *comma = 0;
        }
        rest += strspn(rest, " \t");
        rest[strcspn(rest, " \t")] = 0;
        rv = set(c, rest, em);
        rest = comma ? comma + 1 : NULL;
    }
    mem_free(copy);
    return rv;
}

static int set_initial_cluster(struct config *c, const char *v, struct errmsg *em)
{
    return set_each(c, v, set_member, em);
}

static int set_join(struct config *c, const char *v, struct errmsg *em)
{
    return set_each(c, v, set_join_address, em);
}

static int set_http_listen(struct config *c, const char *v, struct errmsg *em)
{
    c->has_http_listen = true;
    return env_addr_parse(v, DEFAULT_HTTP_PORT, &c->http_listen, em);
}

static int set_level(struct config *c, const char *v, struct errmsg *em)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!strcmp(v, names[i])) {
            c->level = (enum env_level)i;
            return 0;
        }
    }
    return err_set(em, E_INVALID, "'%s' is none of error, warn, info, debug", v);
}

static const struct {
    const char *section, *key;
    int (*set)(struct config *c, const char *value, struct errmsg *em);
} keys[] = {
    {"node", "id", set_id},
    {"node", "data_dir", set_data_dir},
    {"node", "workers", set_workers},
    {"mysql", "listen", set_mysql_listen},
    {"mysql", "socket", set_socket},
    {"mysql", "ssl_ca", set_ssl_ca},
    {"mysql", "ssl_cert", set_ssl_cert},
    {"mysql", "ssl_key", set_ssl_key},
    {"raft", "listen", set_raft_listen},
    {"raft", "advertise", set_advertise},
    {"raft", "ssl_ca", set_raft_ssl_ca},
    {"raft", "ssl_cert", set_raft_ssl_cert},
    {"raft", "ssl_key", set_raft_ssl_key},
    {"raft", "secret_file", set_secret_file},
    {"raft", "initial_cluster", set_initial_cluster},
    {"raft", "join", set_join},
    {"http", "listen", set_http_listen},
    {"log", "level", set_level},
};

static int take_key(void *arg, const char *section, const char *key, const char *value)
{
    struct parsing *p = arg;
    if (p->rv) {
        return 1;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!strcmp(keys[i].section, section) && !strcmp(keys[i].key, key)) {
            p->rv = keys[i].set(p->config, value, p->em);
            if (p->rv) {
                err_wrap(p->em, p->rv, "%s: [%s] %s", p->name, section, key);
            }
            return 1;
        }
    }
    p->rv = err_set(p->em, E_INVALID, "%s: [%s] %s: no such key; see holdfast.conf(5)", p->name, section, key);
    return 1;
}

void config_defaults(struct config *c)
{
    *c = (struct config){.level = ENV_INFO, .workers = 2};
    snprintf(c->data_dir, sizeof c->data_dir, "%s", HOLDFAST_DATA_DIR);
    snprintf(c->socket, sizeof c->socket, "%s", HOLDFAST_SOCKET);
}

static int complete(const char *name, struct config *c, struct errmsg *em)
{
    bool listed = false;
    if (!c->id) {
        return err_set(em, E_INVALID, "%s: [node] id is missing: a number that no other member of the cluster has", name);
    }
    if (c->n_initial && c->n_join) {
        return err_set(em, E_INVALID, "%s: [raft] either initial_cluster (a new cluster) or join (one that exists)", name);
    }
    if (c->n_join && !c->raft_listen.port) {
        return err_set(em, E_INVALID, "%s: [raft] listen is missing: with join, where the other members reach this node", name);
    }
    if (!c->n_initial && !c->n_join) {
        return err_set(em, E_INVALID, "%s: [raft] initial_cluster or join is missing: for a new cluster of a single node, initial_cluster = %llu@127.0.0.1:%d", name,
                       (unsigned long long)c->id, DEFAULT_RAFT_PORT);
    }
    for (size_t i = 0; i < c->n_initial; i++) {
        listed = listed || c->initial[i].id == c->id;
    }
    if (!listed && !c->n_join) {
        return err_set(em, E_INVALID, "%s: [raft] initial_cluster does not list this node's id %llu", name, (unsigned long long)c->id);
    }
    int given = !!c->raft_ssl_ca[0] + !!c->raft_ssl_cert[0] + !!c->raft_ssl_key[0];
    if (given % 3) {
        return err_set(em, E_INVALID, "%s: [raft] ssl_ca, ssl_cert and ssl_key are given together or not at all", name);
    }
    if (given && c->raft_secret_file[0]) {
        return err_set(em, E_INVALID, "%s: [raft] either ssl_ca, ssl_cert and ssl_key, or secret_file", name);
    }
    if (!c->mysql_ssl_cert[0] != !c->mysql_ssl_key[0]) {
        return err_set(em, E_INVALID, "%s: [mysql] ssl_cert and ssl_key are given together or not at all", name);
    }
    return 0;
}

int config_parse(const char *name, const char *text, struct config *c, struct errmsg *em)
{
    struct parsing p = {.name = name, .config = c, .em = em};
    int line = ini_parse_string(text, take_key, &p);
    if (p.rv) {
        return p.rv;
    }
    if (line) {
        return err_set(em, E_INVALID, "%s: line %d cannot be read: expected [section] or key = value", name, line);
    }
    return complete(name, c, em);
}

static int read_whole(FILE *f, struct buf *b)
{
    size_t got;
    do {
        uint8_t *to = buf_reserve(b, 4096);
        if (!to) {
            return b->err;
        }
        got = fread(to, 1, 4096, f);
        b->len += got;
    } while (got);
    return ferror(f) ? E_IO : 0;
}

int config_read(const char *path, struct config *c, struct errmsg *em)
{
    struct buf b;
    FILE *f = fopen(path, "r");
    if (!f) {
        return err_set(em, E_INVALID, "cannot open %s: %m", path);
    }
    buf_init(&b, CONFIG_MAX);
    int rv = read_whole(f, &b);
    fclose(f);
    rv = rv ? err_set(em, E_INVALID, "cannot read %s: %s", path, err_text(rv)) : config_parse(path, buf_cstr(&b), c, em);
    buf_free(&b);
    return rv;
}
