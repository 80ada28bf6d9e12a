/* event_build.c: the few events that a source makes for its stream, and that never stand in a file.
 *
 * Happy path: header with a size of 0, body, then size and checksum are put in. Failure: the buffer's sticky
 * error, and nothing is patched. */
#include "protocol/event.h"

#include "protocol/base/check.h"

#include <string.h>

enum {
    SIZE_OFFSET = 9,
    LOG_POS_OFFSET = 13,
    FLAGS_OFFSET = 17,
    CREATED_OFFSET = EVENT_HEADER_SIZE + 2 + 50
};

/* Returns where the event begins. */
static size_t begin(struct buf *out, uint8_t type, uint32_t server_id, uint64_t log_pos, uint16_t flags)
{
    size_t start = out->len;
    buf_u32(out, 0); /* timestamp */
    buf_u8(out, type);
    buf_u32(out, server_id);
    buf_u32(out, 0);
    buf_u32(out, (uint32_t)log_pos);
    buf_u16(out, flags);
    return start;
}

static void finish(struct buf *out, size_t start, enum event_checksum checksum)
{
    if (checksum == CHECKSUM_CRC32) {
        buf_zero(out, EVENT_CRC_SIZE);
    }
    if (out->err) {
        return;
    }
    size_t n = out->len - start;
    if (n > UINT32_MAX) {
        out->err = E_TOOBIG;
        return;
    }
    buf_put_u32(out, start + SIZE_OFFSET, (uint32_t)n);
    if (checksum == CHECKSUM_CRC32) {
        event_crc_set(out->data + start, n);
    }
}

void event_build_rotate(struct buf *out, uint32_t server_id, enum event_checksum checksum, const char *name,
                        uint64_t pos)
{
    size_t start = begin(out, EVENT_ROTATE, server_id, 0, EVENT_FLAG_ARTIFICIAL);
    buf_u64(out, pos);
    buf_str(out, name);
    finish(out, start, checksum);
}

void event_build_heartbeat(struct buf *out, uint32_t server_id, enum event_checksum checksum,
                           const char *name, uint64_t pos)
{
    size_t start = begin(out, EVENT_HEARTBEAT, server_id, pos, 0);
    buf_str(out, name);
    finish(out, start, checksum);
}

static size_t lenenc_size(uint64_t v)
{
    return v < 251 ? 1 : v <= 0xffff ? 3 : v <= 0xffffff ? 4 : 9;
}

void event_build_heartbeat_v2(struct buf *out, uint32_t server_id, enum event_checksum checksum,
                              const char *name, uint64_t pos)
{
    size_t start = begin(out, EVENT_HEARTBEAT_V2, server_id, pos, 0);
    buf_u8(out, 1);
    buf_lenenc_str(out, name);
    buf_u8(out, 2);
    buf_lenenc(out, lenenc_size(pos));
    buf_lenenc(out, pos);
    buf_u8(out, 0);
    finish(out, start, checksum);
}

void event_build_gtid_list(struct buf *out, uint32_t server_id, enum event_checksum checksum,
                           const struct gtid_set *state, uint8_t flags, uint64_t pos)
{
    CHECK(gtid_set_flavour(state) == FLAVOUR_MARIADB && flags < 16);
    size_t start = begin(out, EVENT_GTID_LIST, server_id, pos, EVENT_FLAG_ARTIFICIAL);
    size_t count_at = out->len;
    gtid_set_encode(state, out);
    buf_put_u32(out, count_at, (uint32_t)gtid_set_intervals(state) | (uint32_t)flags << 28);
    finish(out, start, checksum);
}

int event_build_format(struct buf *out, const uint8_t *fde, size_t n, unsigned how, struct errmsg *em)
{
    struct event_format f;
    int rc = event_format_read(fde, n, &f, em);
    if (rc) {
        return rc;
    }
    size_t start = out->len;
    buf_bytes(out, fde, n);
    if (out->err) {
        return err_set(em, out->err, "cannot copy a format description: %s", err_text(out->err));
    }
    buf_put_u8(out, start + FLAGS_OFFSET, (uint8_t)(fde[FLAGS_OFFSET] & ~EVENT_FLAG_IN_USE));
    if (how & EVENT_FDE_CREATED_0) {
        buf_put_u32(out, start + CREATED_OFFSET, 0);
    }
    if (how & EVENT_FDE_LOG_POS_0) {
        buf_put_u32(out, start + LOG_POS_OFFSET, 0);
    }
    event_crc_set(out->data + start, n);
    return 0;
}
