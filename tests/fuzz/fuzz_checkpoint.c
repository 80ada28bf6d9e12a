/* fuzz_checkpoint: the checkpoint of the binlog files.
 *
 * Input: flags (1: a right checksum is put in its last four bytes), then the file. Properties: what was read
 * is encoded so that it is read again as the same; names stay in their directory. */
#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "protocol/gtid.h"
#include "storage/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static void check_again(const struct checkpoint *cp)
{
    struct buf b;
    struct checkpoint again;
    buf_init(&b, 64 << 20);
    checkpoint_encode(cp, &b);
    MUST(!b.err && checkpoint_decode(&again, b.data, b.len, NULL) == 0);
    MUST(again.index == cp->index && again.boundary == cp->boundary && again.n == cp->n);
    for (size_t i = 0; i < cp->n; i++) {
        const struct checkpoint_file *x = &cp->files[i], *y = &again.files[i];
        MUST(x->era == y->era && x->size == y->size && x->follows_era == y->follows_era);
        MUST(!strcmp(x->name, y->name) && !strchr(x->name, '/') && x->name[0] != '.');
        MUST(!x->state_before == !y->state_before);
        MUST(!x->state_before || gtid_set_equal(x->state_before, y->state_before));
    }
    checkpoint_free(&again);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    size_t n = size ? size - 1 : 0;
    uint8_t *file = fuzz_exact(size ? data + 1 : data, n);
    struct checkpoint cp;
    struct errmsg em = {.text = ""};
    if (flags & 1 && n >= 4) {
        le_put(file + n - 4, crc32c_of(0, file, n - 4), 4);
    }
    int rc = checkpoint_decode(&cp, file, n, &em);
    if (rc) {
        MUST(em.text[0] && (rc == E_CORRUPT || rc == E_VERSION));
        MUST(cp.n == 0 && !cp.files);
    } else {
        check_again(&cp);
        checkpoint_free(&cp);
    }
    free(file);
    return 0;
}
