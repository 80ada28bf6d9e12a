/* checkpoint.c: writes and reads the checkpoint file.
 *
 * Happy path: encode into a buffer, append its CRC32C, replace the file (temporary file, sync, rename, sync
 * of the directory). Reading goes through the cursor and wants every field plausible.
 *
 * Failure modes: a wrong checksum, a length that does not fit or trailing bytes are E_CORRUPT; a higher
 * version is E_VERSION. Both end the start of the daemon: the files cannot be brought to a state that the log
 * goes on from. */
#include "storage/checkpoint.h"

#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "protocol/base/cursor.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "protocol/gtid.h"

#include <stdio.h>
#include <string.h>

#define CHECKPOINT_MAGIC "HFCP"

enum {
    CHECKPOINT_VERSION = 1,
    CHECKPOINT_MAX = 1 << 30, /* bytes */
    NAME_MAX_BYTES = 255,
    FILE_MIN_BYTES = 8 + 8 + 1 + 2 + 1 + 4
};

void checkpoint_free(struct checkpoint *cp)
{
    for (size_t i = 0; i < cp->n; i++) {
        mem_free(cp->files[i].name);
        gtid_set_free(cp->files[i].state_before);
    }
    mem_free(cp->files);
    *cp = (struct checkpoint){0};
}

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

static void encode_file(const struct checkpoint_file *file, struct buf *out)
{
    size_t name_len = strlen(file->name);
    buf_u64(out, file->era);
    buf_u64(out, file->size);
    buf_u8(out, file->follows_era);
    buf_u16(out, (uint16_t)name_len);
    buf_bytes(out, file->name, name_len);
    buf_u8(out, (uint8_t)(file->state_before ? gtid_set_flavour(file->state_before) : FLAVOUR_NONE));
    size_t at = out->len;
    buf_u32(out, 0);
    if (file->state_before) {
        gtid_set_encode(file->state_before, out);
        buf_put_u32(out, at, (uint32_t)(out->len - at - 4));
    }
}

void checkpoint_encode(const struct checkpoint *cp, struct buf *out)
{
    size_t start = out->len;
    buf_str(out, CHECKPOINT_MAGIC);
    buf_u16(out, CHECKPOINT_VERSION);
    buf_u16(out, 0);
    buf_u64(out, cp->index);
    buf_u64(out, cp->boundary);
    buf_u32(out, (uint32_t)cp->n);
    for (size_t i = 0; i < cp->n; i++) {
        encode_file(&cp->files[i], out);
    }
    if (!out->err) {
        buf_u32(out, crc32c_of(0, out->data + start, out->len - start));
    }
}

static int decode_state(struct checkpoint_file *file, struct cur *c, struct errmsg *em)
{
    uint8_t flavour = cur_u8(c);
    uint32_t n = cur_u32(c);
    struct cur state = cur_sub(c, n);
    if (!cur_ok(c) || flavour > FLAVOUR_MARIADB || (flavour == FLAVOUR_NONE && n != 0)) {
        return err_set(em, E_CORRUPT, "the GTID state of %s cannot be", file->name);
    }
    if (flavour == FLAVOUR_NONE) {
        return 0;
    }
    file->state_before = gtid_set_new((enum flavour)flavour);
    int rv = gtid_set_decode(file->state_before, &state, em);
    if (!rv && !cur_done(&state)) {
        rv = err_set(em, E_CORRUPT, "bytes are left over");
    }
    return rv ? err_wrap(em, E_CORRUPT, "the GTID state of %s", file->name) : 0;
}

static int decode_file(struct checkpoint_file *file, struct cur *c, struct errmsg *em)
{
    char name[NAME_MAX_BYTES + 1] = "";
    file->era = cur_u64(c);
    file->size = cur_u64(c);
    file->follows_era = cur_u8(c) != 0;
    cur_text(c, cur_u16(c), name, sizeof name);
    if (!cur_ok(c) || !checkpoint_name_ok(name) || file->era == 0 || file->size < EVENT_MAGIC_SIZE) {
        return err_set(em, E_CORRUPT, "an entry cannot be");
    }
    file->name = mem_str(name);
    return decode_state(file, c, em);
}

static int decode_files(struct checkpoint *cp, uint32_t count, struct cur *c, struct errmsg *em)
{
    if (count > cur_left(c) / FILE_MIN_BYTES) {
        return err_set(em, E_CORRUPT, "%lu files do not fit in it", (unsigned long)count);
    }
    cp->files = count ? mem_array(count, sizeof *cp->files) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        cp->n = i + 1;
        int rv = decode_file(&cp->files[i], c, em);
        if (rv) {
            return rv;
        }
    }
    if (!cur_done(c)) {
        return err_set(em, E_CORRUPT, "bytes are left over");
    }
    if (count ? cp->boundary < EVENT_MAGIC_SIZE || cp->boundary > cp->files[count - 1].size
              : cp->boundary != 0) {
        return err_set(em, E_CORRUPT, "the last transaction end cannot be");
    }
    return 0;
}

int checkpoint_decode(struct checkpoint *cp, const void *data, size_t n, struct errmsg *em)
{
    *cp = (struct checkpoint){0};
    if (n < 32 || memcmp(data, CHECKPOINT_MAGIC, 4) != 0) {
        return err_set(em, E_CORRUPT, "this is no checkpoint");
    }
    struct cur c = cur_of(data, n - 4), sum = cur_of((const uint8_t *)data + n - 4, 4);
    cur_skip(&c, 4);
    uint16_t version = cur_u16(&c);
    if (version > CHECKPOINT_VERSION) {
        return err_set(em, E_VERSION, "version %u, this program knows up to %d", (unsigned)version,
                       CHECKPOINT_VERSION);
    }
    if (cur_u32(&sum) != crc32c_of(0, data, n - 4)) {
        return err_set(em, E_CORRUPT, "the checksum is wrong");
    }
    cur_skip(&c, 2);
    cp->index = cur_u64(&c);
    cp->boundary = cur_u64(&c);
    uint32_t count = cur_u32(&c);
    int rv = decode_files(cp, count, &c, em);
    if (rv) {
        checkpoint_free(cp);
    }
    return rv;
}

int checkpoint_load(struct env *env, const char *binlog_dir, struct checkpoint *cp, struct errmsg *em)
{
    struct buf data;
    char *path = mem_printf("%s/checkpoint", binlog_dir);
    *cp = (struct checkpoint){0};
    buf_init(&data, CHECKPOINT_MAX);
    int rv = env_read_file(env, path, &data, em);
    if (!rv) {
        rv = checkpoint_decode(cp, data.data, data.len, em);
        if (rv) {
            rv = err_wrap(em, rv, "%s", path);
        }
    }
    buf_free(&data);
    mem_free(path);
    return rv;
}

int checkpoint_save(struct env *env, const char *binlog_dir, const struct checkpoint *cp, struct errmsg *em)
{
    struct buf data;
    buf_init(&data, CHECKPOINT_MAX);
    checkpoint_encode(cp, &data);
    int rv = data.err ? err_set(em, data.err, "%s/checkpoint: %s", binlog_dir, err_text(data.err))
                      : env_replace_file(env, binlog_dir, "checkpoint", data.data, data.len, em);
    buf_free(&data);
    return rv;
}
