/* identity.c: the node file: lines of name=value, for an operator's eye too; the last one is a checksum of those before it. A newer
 * format than this program's is an error, and so is a line that has changed. */
#include "node/identity.h"

#include "protocol/base/buf.h"
#include "protocol/base/crc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDENTITY_FORMAT = 1, IDENTITY_MAX = 4096, PATH_BYTES = 4096 };

void identity_uuid(struct env *env, char text[UUID_TEXT_SIZE])
{
    uint8_t uuid[16];
    env_random(env, uuid, sizeof uuid);
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
    uuid_text(uuid, text);
}

static int create(struct env *env, const char *data_dir, struct identity *id, struct errmsg *em)
{
    uint32_t number;
    struct buf b;
    identity_uuid(env, id->server_uuid);
    env_random(env, &number, sizeof number);
    env_random(env, &id->incarnation, sizeof id->incarnation);
    id->incarnation >>= 16; /* what the cluster gives stands before it */
    id->incarnation += !id->incarnation;
    id->server_id = 0x10000000u + number % 0x60000000u;
    buf_init(&b, IDENTITY_MAX);
    buf_printf(&b, "format=%d\nid=%" PRIu64 "\nincarnation=%016" PRIx64 "\nserver_uuid=%s\nserver_id=%" PRIu32 "\n", IDENTITY_FORMAT,
               id->node_id, id->incarnation, id->server_uuid, id->server_id);
    buf_printf(&b, "sum=%08" PRIx32 "\n", crc32c_of(0, b.data, b.len));
    int rv = b.err ? b.err : env_replace_file(env, data_dir, "node", b.data, b.len, em);
    buf_free(&b);
    return rv;
}

/* The value of a line "name=…"; NULL when there is none. */
static const char *find(const char *text, const char *name, char *value, size_t size)
{
    size_t n = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (!strncmp(line, name, n) && line[n] == '=') {
            snprintf(value, size, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
            return value;
        }
    }
    return NULL;
}

static bool sum_is_right(const char *text)
{
    char value[64];
    const char *line = strstr(text, "\nsum=");
    return line && find(text, "sum", value, sizeof value) &&
           crc32c_of(0, text, (size_t)(line + 1 - text)) == strtoul(value, NULL, 16);
}

static int parse(const char *path, const char *text, struct identity *id, struct errmsg *em)
{
    char value[64];
    uint8_t uuid[16];
    if (!find(text, "format", value, sizeof value)) {
        return err_set(em, E_CORRUPT, "%s is damaged: it has no format line; replace the member", path);
    }
    if (strtoul(value, NULL, 10) > IDENTITY_FORMAT) {
        return err_set(em, E_VERSION, "%s: the data directory is of a newer version of holdfastd; install that one", path);
    }
    if (!sum_is_right(text)) {
        return err_set(em, E_CORRUPT, "%s is damaged: its checksum is wrong; replace the member", path);
    }
    uint64_t node_id = find(text, "id", value, sizeof value) ? strtoull(value, NULL, 10) : 0;
    if (id->node_id && node_id != id->node_id) {
        return err_set(em, E_INVALID, "%s: the data directory belongs to node %" PRIu64 ", but the configuration says id = %" PRIu64, path,
                       node_id, id->node_id);
    }
    id->node_id = node_id;
    id->incarnation = find(text, "incarnation", value, sizeof value) ? strtoull(value, NULL, 16) : 0;
    id->server_id = find(text, "server_id", value, sizeof value) ? (uint32_t)strtoul(value, NULL, 10) : 0;
    if (!find(text, "server_uuid", id->server_uuid, sizeof id->server_uuid) || uuid_parse(uuid, id->server_uuid) || !id->server_id ||
        !id->incarnation) {
        return err_set(em, E_CORRUPT, "%s is damaged: incarnation, server_uuid or server_id is missing; replace the member", path);
    }
    return 0;
}

int identity_read(struct env *env, const char *data_dir, struct identity *id, struct errmsg *em)
{
    char path[PATH_BYTES];
    struct buf b;
    snprintf(path, sizeof path, "%s/node", data_dir);
    buf_init(&b, IDENTITY_MAX);
    int rv = env_read_file(env, path, &b, em);
    rv = rv ? rv : parse(path, buf_cstr(&b), id, em);
    buf_free(&b);
    return rv;
}

int identity_open(struct env *env, const char *data_dir, uint64_t node_id, struct identity *id, struct errmsg *em)
{
    *id = (struct identity){.node_id = node_id};
    int rv = identity_read(env, data_dir, id, em);
    return rv == E_NOTFOUND ? create(env, data_dir, id, em) : rv;
}
