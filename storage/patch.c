/* patch.c: see patch.h.
 *
 * Both strings are walked side by side. Where they differ, the nearest place is looked for from which on they
 * agree again: after as many bytes in both (a number changed), or after some in one of them (a part came or went).
 * None within WINDOW: the rest is put whole, so a patch is never much larger than its result, and the search
 * never costs more than WINDOW a byte that differs. */
#include "storage/patch.h"

#include "protocol/base/err.h"

#include <string.h>

enum { AGREE = 8, WINDOW = 512 };

struct string {
    const uint8_t *p;
    size_t n;
};

/* Do they agree from there on, for AGREE bytes or to both ends? */
static bool agree(struct string a, size_t i, struct string b, size_t k)
{
    if (i > a.n || k > b.n) {
        return false;
    }
    size_t left_a = a.n - i, left_b = b.n - k;
    if (left_a < AGREE || left_b < AGREE) {
        return left_a == left_b && (left_a == 0 || memcmp(a.p + i, b.p + k, left_a) == 0);
    }
    return memcmp(a.p + i, b.p + k, AGREE) == 0;
}

/* They differ at i and k. */
static void find_agreement(struct string a, size_t i, struct string b, size_t k, size_t *drop, size_t *put)
{
    for (size_t d = 1; d <= WINDOW; d++) {
        if (agree(a, i + d, b, k + d)) {
            *drop = *put = d;
            return;
        }
        if (agree(a, i, b, k + d)) {
            *drop = 0;
            *put = d;
            return;
        }
        if (agree(a, i + d, b, k)) {
            *drop = d;
            *put = 0;
            return;
        }
    }
    *drop = a.n - i;
    *put = b.n - k;
}

void patch_make(const void *from, size_t n_from, const void *to, size_t n_to, struct buf *out)
{
    struct string a = {.p = from, .n = n_from}, b = {.p = to, .n = n_to};
    size_t i = 0, k = 0;
    while (i < a.n || k < b.n) {
        size_t same = 0, drop, put;
        while (i + same < a.n && k + same < b.n && a.p[i + same] == b.p[k + same]) {
            same++;
        }
        i += same;
        k += same;
        if (i == a.n && k == b.n) {
            return;
        }
        find_agreement(a, i, b, k, &drop, &put);
        buf_lenenc(out, same);
        buf_lenenc(out, drop);
        buf_lenenc_bytes(out, b.p + k, put);
        i += drop;
        k += put;
    }
}

int patch_apply(const void *from, size_t n, struct cur patch, struct buf *out)
{
    struct cur rest = cur_of(from, n);
    size_t len;
    buf_reset(out);
    while (cur_left(&patch) > 0) {
        uint64_t same = cur_lenenc(&patch), drop = cur_lenenc(&patch);
        size_t put;
        const uint8_t *bytes = cur_lenenc_bytes(&patch, &put);
        const uint8_t *copied = cur_bytes(&rest, same);
        cur_skip(&rest, drop);
        if (!cur_ok(&patch) || !cur_ok(&rest)) {
            return E_CORRUPT;
        }
        buf_bytes(out, copied, (size_t)same);
        buf_bytes(out, bytes, put);
    }
    if (!cur_ok(&patch)) {
        return E_CORRUPT;
    }
    const uint8_t *tail = cur_rest(&rest, &len);
    buf_bytes(out, tail, len);
    return out->err;
}
