/* reader_hash.c: compares what a reader is about to show with the hashes that were kept when it was written.
 *
 * Happy path: an event has a checksum, which is looked at before it is shown: no hash is needed. But a source may write none
 * (binlog_checksum=NONE), and of a large event pieces leave before the last one is read. There each block is read and hashed
 * once, when a reader comes to it, and then read again (from memory, mostly) for the replica. Sealed files have hashes of all
 * their bytes; of the newest one those of whole blocks that were there when the reader came are known.
 *
 * Failure modes: a hash that differs is READER_CORRUPT. An index that is missing or damaged is asked for where nothing else vouches
 * for the bytes: READER_INDEXING, and the reader's owner comes again; it is made only if the file's bytes have the sum that the
 * cluster agrees on. */
#include "storage/reader_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <string.h>
#include <xxhash.h>

enum { PART = 64 << 10 };

void reader_forget_hashes(struct reader *r)
{
    mem_free(r->hashes.hash);
    memset(&r->hashes, 0, sizeof r->hashes);
}

/* Up to `size`: what is behind it may be cut and become something else. */
static void take(struct reader *r, const struct buf *index, uint64_t size)
{
    struct index_walk w;
    struct index_record record;
    if (index_walk_begin(&w, index->data, index->len, r->file->era, r->file->name, NULL)) {
        return;
    }
    r->hashes.block = w.block;
    r->hashes.hash = mem_array(index->len / INDEX_HASH_SIZE + 1, INDEX_HASH_SIZE);
    while (index_walk_next(&w, &record, NULL) == 1) {
        if (record.hash && (record.kind == INDEX_SEAL || (r->hashes.n + 1) * r->hashes.block <= size)) {
            memcpy(r->hashes.hash + r->hashes.n++ * INDEX_HASH_SIZE, record.hash, INDEX_HASH_SIZE);
            r->hashes.size = record.kind == INDEX_SEAL ? record.size : r->hashes.n * r->hashes.block;
        }
    }
}

/* Those of the index, as it is now. */
static int learn(struct reader *r, struct errmsg *em)
{
    const struct catalog_entry *end;
    struct buf index;
    uint64_t size;
    bool bare = r->format.checksum == CHECKSUM_NONE;
    CHECK(store_sub_end(r->sub, &end, &size));
    bool sealed = end->file->ordinal != r->file->ordinal;
    int rv = sealed ? reader_sealed_size(r, &size, em) : 0;
    if (rv) {
        return rv;
    }
    buf_init(&index, INDEX_MAX);
    int there = reader_load_index(r, sealed, size, &index);
    if (!there) {
        take(r, &index, size);
    }
    buf_free(&index);
    if (there && sealed && bare) {
        return rebuild_ask(r->sub->store, r->file, size)
                   ? err_set(em, READER_INDEXING, "the index of %s is being made again", r->file->name)
                   : err_set(em, READER_CORRUPT, "the file is damaged, and its events have no checksums");
    }
    r->hashes.known = true;
    return 0;
}

static int compare(struct reader *r, uint64_t block, uint64_t end, struct errmsg *em)
{
    uint8_t hash[INDEX_HASH_SIZE], *bytes = mem_array(PART, 1);
    uint64_t at = block * r->hashes.block;
    XXH3_state_t *sum = XXH3_createState();
    int rv = 0;
    CHECK(sum && XXH3_128bits_reset(sum) == XXH_OK);
    while (at < end && !rv) {
        size_t n = end - at < PART ? (size_t)(end - at) : PART, got;
        rv = env_pread(r->handle, bytes, n, at, &got, em);
        if (!rv && got != n) {
            rv = err_set(em, READER_CORRUPT, "the file ends before %llu", (unsigned long long)end);
        }
        CHECK(rv || XXH3_128bits_update(sum, bytes, n) == XXH_OK);
        at += n;
    }
    index_hash(sum, hash);
    XXH3_freeState(sum);
    mem_free(bytes);
    if (!rv && memcmp(hash, r->hashes.hash + block * INDEX_HASH_SIZE, INDEX_HASH_SIZE) != 0) {
        rv = err_set(em, READER_CORRUPT, "the bytes from %llu to %llu are not those that were written",
                     (unsigned long long)(block * r->hashes.block), (unsigned long long)end);
    }
    return rv;
}

int reader_check_hashes(struct reader *r, uint64_t at, size_t n, struct errmsg *em)
{
    int rv = r->hashes.known ? 0 : learn(r, em);
    uint64_t last = at + n < r->hashes.size ? at + n : r->hashes.size;
    if (at < r->hashes.from || at > r->hashes.to) {
        r->hashes.from = r->hashes.to = at;
    }
    while (!rv && r->hashes.to < last) {
        uint64_t block = r->hashes.to / r->hashes.block, end = (block + 1) * r->hashes.block;
        end = end < r->hashes.size ? end : r->hashes.size;
        rv = compare(r, block, end, em);
        r->hashes.to = rv ? r->hashes.to : end;
    }
    return rv;
}
