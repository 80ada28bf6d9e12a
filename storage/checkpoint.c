/* checkpoint.c: writes and reads the checkpoint and the list of files.
 *
 * Happy path: encode into a buffer, append its CRC32C, replace the file (temporary file, sync, rename, sync
 * of the directory). Reading goes through the cursor and wants every field plausible, and the list's bytes to have
 * the sum that the checkpoint gives.
 *
 * Failure modes: a wrong checksum, a length that does not fit or trailing bytes are E_CORRUPT; a higher
 * version is E_VERSION. Both end the start of the daemon: the files cannot be brought to a state that the log
 * goes on from. */
#include "storage/checkpoint.h"

#include "protocol/base/buf.h"
#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "storage/filelist.h"

#include <string.h>

#define CHECKPOINT_MAGIC "HFCP"

enum {
    CHECKPOINT_VERSION = 3,
    LIST_MAX = 1 << 30, /* bytes */
    NAME_MAX_BYTES = 255
};

bool checkpoint_name_ok(const char *name)
{
    size_t n = strlen(name);
    size_t digits = n;
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') {
        digits--;
    }
    if (n == 0 || n > NAME_MAX_BYTES || name[0] == '.' || digits == n || digits < 2 ||
        name[digits - 1] != '.') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == '/' || name[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* ---- the checkpoint ------------------------------------------------------------------------------------ */

void checkpoint_name_files(struct checkpoint *cp, uint64_t list, const struct filelist *files)
{
    cp->n = filelist_count(files);
    cp->list = list;
    cp->list_bytes = filelist_size(files);
    cp->list_sum = filelist_sum(files);
}

void checkpoint_encode(const struct checkpoint *cp, struct buf *out)
{
    size_t start = out->len;
    buf_str(out, CHECKPOINT_MAGIC);
    buf_u16(out, CHECKPOINT_VERSION);
    buf_u16(out, 0);
    buf_u64(out, cp->index);
    buf_u64(out, cp->boundary);
    buf_u64(out, cp->size);
    buf_u64(out, cp->n);
    buf_u64(out, cp->list);
    buf_u64(out, cp->list_bytes);
    buf_u32(out, cp->list_sum);
    if (!out->err) {
        buf_u32(out, crc32c_of(0, out->data + start, out->len - start));
    }
}

static bool can_be(const struct checkpoint *cp)
{
    if (cp->n == 0) {
        return cp->boundary == 0 && cp->size == 0 && cp->list_bytes == 0 && cp->list_sum == 0;
    }
    return cp->boundary >= EVENT_MAGIC_SIZE && cp->boundary <= cp->size && cp->list_bytes <= LIST_MAX &&
           cp->n < cp->list_bytes;
}

int checkpoint_decode(struct checkpoint *cp, const void *data, size_t n, struct errmsg *em)
{
    *cp = (struct checkpoint){0};
    if (n < 8 || memcmp(data, CHECKPOINT_MAGIC, 4) != 0) {
        return err_set(em, E_CORRUPT, "this is no checkpoint");
    }
    struct cur c = cur_of(data, n);
    cur_skip(&c, 4);
    uint16_t version = cur_u16(&c);
    if (version != CHECKPOINT_VERSION) {
        return err_set(em, E_VERSION, "version %u, this program knows %d; install another holdfastd", (unsigned)version,
                       CHECKPOINT_VERSION);
    }
    struct checkpoint got = {0};
    uint16_t zero = cur_u16(&c);
    got.index = cur_u64(&c);
    got.boundary = cur_u64(&c);
    got.size = cur_u64(&c);
    got.n = cur_u64(&c);
    got.list = cur_u64(&c);
    got.list_bytes = cur_u64(&c);
    got.list_sum = cur_u32(&c);
    uint32_t sum = cur_u32(&c);
    if (!cur_done(&c) || sum != crc32c_of(0, data, n - 4)) {
        return err_set(em, E_CORRUPT, "the checksum or the size is wrong");
    }
    if (zero || !can_be(&got)) {
        return err_set(em, E_CORRUPT, "a field cannot be");
    }
    *cp = got;
    return 0;
}

int checkpoint_save(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em)
{
    struct buf data;
    buf_init(&data, CHECKPOINT_SIZE);
    checkpoint_encode(cp, &data);
    CHECK(!data.err && data.len == CHECKPOINT_SIZE);
    int rv = env_replace_file(env, binlog_dir, "checkpoint", data.data, data.len, em);
    buf_free(&data);
    return rv;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

char *checkpoint_list_path(const char *binlog_dir, uint64_t list)
{
    return mem_printf("%s/files.%llu", binlog_dir, (unsigned long long)list);
}

static int load_list(const struct checkpoint *cp, const struct buf *data, struct filelist **files,
                     struct filelist **later, bool *torn, struct errmsg *em)
{
    if (data->len < cp->list_bytes) {
        return err_set(em, E_CORRUPT, "it has %zu bytes; the checkpoint names it with %llu", data->len,
                       (unsigned long long)cp->list_bytes);
    }
    int rv = filelist_load(data->data, (size_t)cp->list_bytes, false, files, em);
    if (!rv && (filelist_sum(*files) != cp->list_sum || filelist_count(*files) != cp->n)) {
        rv = err_set(em, E_CORRUPT, "it is not what the checkpoint names (%zu files, expected %llu)",
                     filelist_count(*files), (unsigned long long)cp->n);
    }
    rv = rv ? rv : filelist_load(data->data, data->len, true, later, em);
    *torn = !rv && filelist_size(*later) < data->len;
    return rv;
}

int checkpoint_load(struct env *env, const char *binlog_dir, struct checkpoint *cp, struct filelist **files,
                    struct filelist **later, bool *torn, struct errmsg *em)
{
    struct buf data;
    char *path = mem_printf("%s/checkpoint", binlog_dir);
    *cp = (struct checkpoint){0};
    *files = *later = NULL;
    *torn = false;
    buf_init(&data, LIST_MAX);
    int rv = env_read_file(env, path, &data, em);
    if (!rv) {
        rv = checkpoint_decode(cp, data.data, data.len, em);
        rv = rv ? err_wrap(em, rv, "%s", path) : 0;
    }
    mem_free(path);
    if (!rv) {
        path = checkpoint_list_path(binlog_dir, cp->list);
        buf_reset(&data);
        rv = env_read_file(env, path, &data, em);
        if (rv == E_NOTFOUND) { /* it is made with the first file */
            rv = cp->n ? err_set(em, E_CORRUPT, "%s is missing", path) : 0;
        }
        if (!rv) {
            rv = load_list(cp, &data, files, later, torn, em);
            rv = rv ? err_wrap(em, rv, "%s", path) : 0;
        }
        mem_free(path);
    }
    if (rv) {
        filelist_unref(*files);
        filelist_unref(*later);
        *files = *later = NULL;
    }
    buf_free(&data);
    return rv;
}

int checkpoint_cut_list(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em)
{
    struct env_file *file;
    uint64_t size;
    char *path = checkpoint_list_path(binlog_dir, cp->list);
    int rv = env_open(env, path, ENV_READ | ENV_WRITE, &file, em);
    if (!rv) {
        rv = env_size(file, &size, em);
        if (!rv && size > cp->list_bytes) {
            rv = env_truncate(file, cp->list_bytes, em);
            rv = rv ? rv : env_sync(file, em);
        }
        env_close(file);
    }
    mem_free(path);
    return rv == E_NOTFOUND && cp->n == 0 ? 0 : rv;
}

int checkpoint_put_list(struct env *env, const char *binlog_dir, uint64_t list, const struct filelist *files,
                        struct errmsg *em)
{
    struct buf data;
    char *path = checkpoint_list_path(binlog_dir, list);
    buf_init(&data, LIST_MAX);
    filelist_bytes(files, 0, &data);
    int rv = data.err ? err_set(em, data.err, "%s: %s", path, err_text(data.err))
                      : env_replace_file(env, binlog_dir, strrchr(path, '/') + 1, data.data, data.len, em);
    buf_free(&data);
    mem_free(path);
    return rv;
}

int checkpoint_extend_list(struct env *env, const char *binlog_dir, uint64_t list, uint64_t had,
                           const struct filelist *files, struct errmsg *em)
{
    struct env_file *file;
    struct buf more;
    char *path = checkpoint_list_path(binlog_dir, list);
    buf_init(&more, LIST_MAX);
    filelist_bytes(files, (size_t)had, &more);
    int rv = more.err ? err_set(em, more.err, "%s: %s", path, err_text(more.err))
                      : env_open(env, path, ENV_READ | ENV_WRITE | ENV_CREATE, &file, em);
    if (!rv) {
        rv = env_pwrite(file, more.data, more.len, had, em);
        rv = rv ? rv : env_sync(file, em);
        env_close(file);
    }
    if (!rv && had == 0) {
        rv = env_sync_dir(env, binlog_dir, em);
    }
    buf_free(&more);
    mem_free(path);
    return rv;
}
