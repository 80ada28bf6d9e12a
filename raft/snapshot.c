/* snapshot.c: the snapshot file: magic, version, CRC32C of all that follows, then the fields. A damaged one is E_CORRUPT: what it
 * stands for is gone from the log, so there is nothing to fall back to on this node. */
#include "raft/snapshot.h"

#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { SNAPSHOT_VERSION = 1, SNAPSHOT_HEAD = 16, PATH_BYTES = 4096 };

#define SNAPSHOT_MAGIC 0x31504e534c4448ull

void snapshot_free(struct snapshot *s)
{
    mem_free(s->servers);
    buf_free(&s->data);
    *s = (struct snapshot){0};
}

int snapshot_write(struct env *env, const char *dir, const struct snapshot *s, struct errmsg *em)
{
    struct buf b;
    buf_init(&b, SNAPSHOT_MAX);
    buf_u64(&b, SNAPSHOT_MAGIC);
    buf_u32(&b, SNAPSHOT_VERSION);
    buf_u32(&b, 0);
    buf_u64(&b, s->index);
    buf_u64(&b, s->term);
    buf_u64(&b, s->configuration_index);
    buf_u8(&b, s->replaces_log);
    buf_u32(&b, (uint32_t)s->n_servers);
    for (size_t i = 0; i < s->n_servers; i++) {
        buf_u64(&b, s->servers[i].id);
        buf_u32(&b, (uint32_t)s->servers[i].role);
        buf_lenenc_str(&b, s->servers[i].address);
    }
    buf_lenenc_bytes(&b, s->data.data, s->data.len);
    int rv = b.err;
    if (rv) {
        err_set(em, rv, "cannot build the snapshot: %s", err_text(rv));
    } else {
        buf_put_u32(&b, SNAPSHOT_HEAD - 4, crc32c_of(0, b.data + SNAPSHOT_HEAD, b.len - SNAPSHOT_HEAD));
        rv = env_replace_file(env, dir, "snapshot", b.data, b.len, em);
    }
    buf_free(&b);
    return rv;
}

static bool read_fields(struct cur *c, struct snapshot *s)
{
    s->index = cur_u64(c);
    s->term = cur_u64(c);
    s->configuration_index = cur_u64(c);
    s->replaces_log = cur_u8(c) != 0;
    uint32_t n = cur_u32(c);
    if (n > SNAPSHOT_SERVERS_MAX) {
        return false;
    }
    s->servers = mem_array(n, sizeof *s->servers);
    for (s->n_servers = 0; s->n_servers < n; s->n_servers++) {
        struct snapshot_server *server = &s->servers[s->n_servers];
        server->id = cur_u64(c);
        server->role = (int)cur_u32(c);
        cur_text(c, cur_lenenc(c), server->address, sizeof server->address);
    }
    size_t len;
    const uint8_t *data = cur_lenenc_bytes(c, &len);
    buf_init(&s->data, SNAPSHOT_MAX);
    buf_bytes(&s->data, data, len);
    return cur_done(c) && !s->data.err;
}

int snapshot_read(struct env *env, const char *dir, struct snapshot *s, struct errmsg *em)
{
    char path[PATH_BYTES];
    struct buf b;
    *s = (struct snapshot){0};
    snprintf(path, sizeof path, "%s/snapshot", dir);
    buf_init(&b, SNAPSHOT_MAX);
    int rv = env_read_file(env, path, &b, em);
    if (rv) {
        buf_free(&b);
        return rv;
    }
    struct cur c = cur_of(b.data, b.len);
    uint64_t magic = cur_u64(&c);
    uint32_t version = cur_u32(&c), crc = cur_u32(&c);
    if (magic == SNAPSHOT_MAGIC && version > SNAPSHOT_VERSION) {
        rv = err_set(em, E_VERSION, "%s was written by a newer version of holdfastd; install that one", path);
    } else if (!cur_ok(&c) || magic != SNAPSHOT_MAGIC || version == 0 || crc != crc32c_of(0, c.p, cur_left(&c)) || !read_fields(&c, s)) {
        snapshot_free(s);
        rv = err_set(em, E_CORRUPT, "%s is damaged; replace the member", path);
    }
    buf_free(&b);
    return rv;
}
