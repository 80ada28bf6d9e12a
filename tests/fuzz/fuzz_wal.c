/* fuzz_wal: the recovery of the write-ahead log.
 *
 * Input: a list of steps that lay out segments. Checksums are made right unless a step says otherwise, or
 * nothing would come behind them: a segment (its header's fields as they should be, changed by what the input
 * says), records likewise, and bytes written over what is there. Properties: a log that is refused is left as
 * it was; one that opens gives the same records at the next open, takes another record and still has it;
 * numbers of entries have no holes. */
#include "tests/fuzz/small_wal.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "raft/wal_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"

enum { STORED_MAX = 48 << 10, /* the rest of a segment is zero */ SEGMENTS_MAX = 3, STEPS_MAX = 256 };

#define INDEX_MAX (UINT64_C(1) << 48) /* entries count from 1; no node ever writes another number */

/* What a step may change: bits of its flags. */
enum {
    ODD_PREV = 1,
    ODD_WRITE = 2,
    ODD_INDEX = 4,
    ODD_EPOCH = 8,
    ODD_TYPE = 16,
    NOT_LAST = 32,
    STAY = 64,
    BAD_CRC = 128
};

struct layout {
    struct env *env;
    uint8_t *bytes;
    size_t at;      /* of the next record */
    uint64_t epoch; /* 0: no segment yet */
    uint64_t size;
    size_t segments;
    uint32_t chain;
    uint64_t write_no, index;
    bool inside;
};

static size_t round_block(size_t n)
{
    return (n + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK;
}

static void end_segment(struct layout *l)
{
    char path[64];
    if (l->epoch) {
        snprintf(path, sizeof path, "/d/wal-%016llx", (unsigned long long)l->epoch);
        memory_env_put(l->env, path, l->bytes, STORED_MAX, l->size);
    }
    memset(l->bytes, 0, STORED_MAX);
}

static void step_segment(struct layout *l, struct cur *in)
{
    uint8_t flags = cur_u8(in);
    if (l->segments == SEGMENTS_MAX) {
        return;
    }
    end_segment(l);
    l->segments++;
    l->epoch += 1 + (flags & ODD_EPOCH ? cur_u8(in) : 0);
    l->size = flags & STAY ? cur_u32(in) % (2 * WAL_SEGMENT) : WAL_SEGMENT;
    uint32_t prev = flags & ODD_PREV ? cur_u32(in) : l->chain;
    uint64_t write_no = l->write_no + (flags & ODD_WRITE ? cur_u8(in) : 0);
    l->chain = wal_header_put(l->bytes, flags & ODD_TYPE ? cur_u8(in) : l->epoch, write_no, prev);
    l->write_no = write_no;
    l->inside = false;
    l->at = ENV_BLOCK;
    l->size = l->size > STORED_MAX ? l->size : STORED_MAX;
}

static void step_record(struct layout *l, struct cur *in)
{
    uint8_t flags = cur_u8(in);
    size_t n;
    const uint8_t *data = fuzz_piece(in, &n);
    if (!l->epoch || l->at + WAL_RECORD_HEAD + n > STORED_MAX) {
        return;
    }
    struct wal_head head = {.prev = flags & ODD_PREV ? cur_u32(in) : l->chain,
                            .epoch = l->epoch + (flags & ODD_EPOCH ? cur_u8(in) : 0),
                            .write_no = l->write_no + (flags & ODD_WRITE ? cur_u64(in) : 0),
                            .index = flags & ODD_INDEX ? 1 + cur_u64(in) % INDEX_MAX : l->index + 1,
                            .term = 1 + (uint64_t)flags / 128,
                            .len = (uint32_t)n,
                            .type = flags & ODD_TYPE ? cur_u16(in) : 1,
                            .flags = flags & NOT_LAST ? 0 : WAL_LAST_OF_WRITE};
    uint32_t crc = wal_record_put(l->bytes + l->at, &head, data);
    if (flags & BAD_CRC) {
        l->bytes[l->at + WAL_RECORD_HEAD / 2] ^= cur_u8(in);
    }
    if (!(flags & STAY)) {
        l->chain = crc;
        l->index =
            head.type == WAL_TYPE_TRUNCATE || head.type == WAL_TYPE_RESET ? head.index - 1 : head.index;
    }
    l->at += WAL_RECORD_HEAD + n;
    if (!(flags & NOT_LAST)) {
        l->at = round_block(l->at);
        l->write_no += !(flags & STAY);
    }
}

static void step_overwrite(struct layout *l, struct cur *in)
{
    size_t at = cur_u24(in) % STORED_MAX, n;
    const uint8_t *p = fuzz_piece(in, &n);
    n = n < STORED_MAX - at ? n : STORED_MAX - at;
    if (n) {
        memcpy(l->bytes + at, p, n);
    }
}

static void step_spare(struct layout *l, struct cur *in)
{
    char path[80], name[24];
    fuzz_text(in, name, sizeof name);
    if (!strchr(name, '/')) {
        snprintf(path, sizeof path, "/d/%s%s", cur_u8(in) & 1 ? "spare-" : "wal-", name);
        memory_env_put(l->env, path, NULL, 0, cur_u8(in) & 1 ? WAL_SEGMENT : 5);
    }
}

static void lay_out(struct layout *l, struct cur *in)
{
    for (int i = 0; i < STEPS_MAX && cur_left(in); i++) {
        uint8_t op = cur_u8(in);
        switch (op % 8) {
        case 0:
            step_segment(l, in);
            break;
        case 6:
            step_overwrite(l, in);
            break;
        case 7:
            step_spare(l, in);
            break;
        case 5: /* the place of the next record */
            l->at = l->epoch ? ENV_BLOCK + cur_u24(in) % (STORED_MAX / 2) : 0;
            break;
        default:
            step_record(l, in);
            break;
        }
    }
    end_segment(l);
}

static void same(const struct wal_found *a, const struct wal_found *b)
{
    MUST(a->n == b->n && (a->n == 0 || a->first == b->first));
    for (size_t i = 0; i < a->n; i++) {
        const struct wal_record *x = &a->records[i], *y = &b->records[i];
        MUST(x->index == a->first + i && x->index == y->index && x->term == y->term && x->type == y->type);
        MUST(x->len == y->len && (x->len == 0 || !memcmp(x->data, y->data, x->len)));
    }
}

/* Opens it once more: the records are those of `before`. (A write of which the first records are whole stays
 * without its end, and counts as torn, until another one follows.) */
static struct wal *reopen(struct env *env, const struct wal_found *before)
{
    struct wal *wal = NULL;
    struct wal_found found = {0};
    struct errmsg em = {.text = ""};
    int rc = wal_open(env, "/d", &wal, &found, &em);
    if (rc) {
        fprintf(stderr, "the second open: %s\n", em.text);
    }
    MUST(rc == 0);
    same(before, &found);
    wal_found_free(&found);
    return wal;
}

static void check_opened(struct env *env, struct wal *wal, struct wal_found *found)
{
    wal_close(wal);
    wal = reopen(env, found);
    uint64_t next = found->first ? found->first + found->n : 1;
    struct wal_record record = {.index = next, .term = 9, .type = 1, .data = "12345678", .len = 8};
    MUST(wal_append(wal, &record, 1, NULL) == 0);
    wal_close(wal);
    found->records = mem_grow(found->records, found->n + 1, sizeof *found->records);
    found->first = found->n ? found->first : next;
    found->records[found->n++] = record;
    wal = reopen(env, found);
    found->n--; /* its data is not found's own */
    wal_close(wal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    struct env *env = memory_env_new();
    struct layout l = {.env = env, .bytes = mem_new(STORED_MAX), .write_no = 1, .size = WAL_SEGMENT};
    struct wal *wal = NULL;
    struct wal_found found = {0};
    struct errmsg em = {.text = ""};
    memory_env_put(env, "/d/spare-900", NULL, 0, WAL_SEGMENT); /* making them takes long */
    memory_env_put(env, "/d/spare-901", NULL, 0, WAL_SEGMENT);
    lay_out(&l, &in);
    uint32_t before = memory_env_digest(env, "/wal-");
    int rc = wal_open(env, "/d", &wal, &found, &em);
    if (rc) {
        MUST(em.text[0] && (rc == E_CORRUPT || rc == E_VERSION));
        MUST(before == memory_env_digest(env, "/wal-"));
    } else {
        check_opened(env, wal, &found);
        wal_found_free(&found);
    }
    memory_env_free(env);
    mem_free(l.bytes);
    return 0;
}
