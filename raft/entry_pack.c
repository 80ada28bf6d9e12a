/* entry_pack.c: EVENTS entries whose bytes are packed with lz4: once on the leader, carried so in logs and on links, unpacked by each
 * node's state machine.
 *
 * Happy path: the leader packs an entry that shrinks by an eighth or more; all nodes read it back into a block of their own. What a
 * node's own setting says does not matter to reading. Failure: a size that cannot be is refused before there is memory for it, bytes
 * that do not unpack to exactly that size are refused too. */
#include "raft/entry.h"

#include "protocol/base/check.h"
#include "protocol/base/err.h"
#include "protocol/base/mem.h"

#include <lz4.h>
#include <string.h>

enum { PACK_LEAST = 512, LZ4_RATIO_MAX = 255 };

/* Where the bytes of an entry that is not packed begin, and the byte that says how they lie. */
static bool find_bytes(const struct buf *entry, size_t *how_at, struct cur *txns, struct cur *bytes)
{
    struct entry_head head;
    struct entry_events e;
    struct cur body;
    if (entry->err || entry_read(entry->data, entry->len, &head, &body) || head.kind != ENTRY_EVENTS || entry_read_events(&body, &e)) {
        return false;
    }
    if (e.unpacked) {
        entry_events_free(&e);
        return false;
    }
    *how_at = e.how_at;
    *txns = e.txns;
    *bytes = cur_of(e.bytes, e.n);
    return true;
}

bool entry_pack(struct buf *entry)
{
    size_t how_at;
    struct cur txns, bytes;
    struct buf packed;
    if (!find_bytes(entry, &how_at, &txns, &bytes) || cur_left(&bytes) < PACK_LEAST) {
        return false;
    }
    size_t raw = cur_left(&bytes), room = raw - raw / 8, n_txns = cur_left(&txns);
    char *to = mem_new(room);
    int n = LZ4_compress_default((const char *)cur_bytes(&bytes, raw), to, (int)raw, (int)room);
    if (n <= 0) { /* does not save an eighth */
        mem_free(to);
        return false;
    }
    buf_init(&packed, ENTRY_MAX);
    buf_bytes(&packed, entry->data, how_at);
    buf_u8(&packed, ENTRY_LZ4);
    buf_lenenc_bytes(&packed, cur_bytes(&txns, n_txns), n_txns);
    buf_u32(&packed, (uint32_t)raw);
    buf_lenenc_bytes(&packed, to, (size_t)n);
    entry_end(&packed);
    mem_free(to);
    if (packed.err) {
        buf_free(&packed);
        return false;
    }
    buf_free(entry);
    buf_move(entry, &packed);
    return true;
}

int entry_unpack(struct entry_events *e, uint32_t raw, const uint8_t *packed, size_t n)
{
    if (raw > ENTRY_MAX || n > ENTRY_MAX || raw > n * LZ4_RATIO_MAX) {
        return E_TOOBIG;
    }
    e->unpacked = mem_new(raw ? raw : 1);
    int got = LZ4_decompress_safe((const char *)packed, (char *)e->unpacked, (int)n, (int)raw);
    if (got < 0 || (uint32_t)got != raw) {
        entry_events_free(e);
        return E_CORRUPT;
    }
    e->bytes = e->unpacked;
    e->n = raw;
    e->packed = n;
    return 0;
}

void entry_events_free(struct entry_events *e)
{
    mem_free(e->unpacked);
    e->unpacked = NULL;
    e->bytes = NULL;
    e->n = 0;
}
