/* fuzz_checkpoint: the checkpoint and the list of files, and a store that starts with them.
 *
 * Input: flags, then the list (a piece), then the checkpoint. The list's sums are put right (RIGHT_SUMS); so is the
 * checkpoint's, or it is made to fit the list (FITS, which leaves boundary and size to the input). Properties: what
 * was read is encoded so that it is read again as the same; names stay in their directory; each file can be asked
 * for; a store opens or says why not, and what it shows stands in the list. */
#include "protocol/base/buf.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "protocol/gtid.h"
#include "storage/catalog.h"
#include "storage/checkpoint.h"
#include "storage/filelist.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"

enum { RIGHT_SUMS = 1, FITS = 2, WITH_FILE = 4, TORN = 8 };

/* ---- the list ------------------------------------------------------------------------------------------ */

/* Walks over the records as far as they can be told apart. */
static void fix_sums(uint8_t *p, size_t n)
{
    struct cur c = cur_of(p, n);
    uint32_t sum = 0;
    while (cur_left(&c) > 0) {
        size_t start = (size_t)(c.p - p), skipped;
        (void)cur_lenenc(&c);
        uint8_t flags = cur_u8(&c);
        if (flags & 1) {
            (void)cur_lenenc(&c);
        }
        for (uint8_t part = 2; part <= 4; part *= 2) {
            if (!(flags & part)) {
                (void)cur_lenenc_bytes(&c, &skipped);
            }
        }
        (void)cur_u32(&c);
        if (cur_ok(&c)) {
            size_t end = (size_t)(c.p - p);
            sum = crc32c_of(sum, p + start, end - start - 4);
            le_put(p + end - 4, sum, 4);
        }
    }
}

static bool admits(void *arg, const struct gtid_set *before)
{
    return arg != NULL && before == NULL;
}

static void check_list(const struct filelist *list)
{
    struct filelist_walk w;
    struct filelist *again, *more;
    struct buf bytes;
    struct errmsg em = {.text = ""};
    size_t n = 0, at;
    buf_init(&bytes, 64 << 20);
    filelist_bytes(list, 0, &bytes);
    MUST(bytes.len == filelist_size(list) && filelist_load(bytes.data, bytes.len, false, &again, NULL) == 0);
    MUST(filelist_count(again) == filelist_count(list) && filelist_sum(again) == filelist_sum(list));
    for (filelist_walk_begin(&w, list, 0); filelist_walk_next(&w); n++) {
        struct gtid_set *before;
        MUST(w.file.at == n && w.file.era > 0 && checkpoint_name_ok(w.file.name) && !strchr(w.file.name, '/'));
        if (n < 40) {
            MUST(filelist_before(list, n, &before, &em) == 0 || em.text[0]);
            gtid_set_free(before);
        }
        MUST(filelist_find(list, w.file.era, w.file.name, &at) || n > 0);
    }
    MUST(n == filelist_count(list));
    if (n > 0) {
        at = 0;
        int rv = filelist_search(list, n, admits, &at, &at, &em);
        MUST(rv == 0 ? at < n : em.text[0]);
        more = filelist_add(list, 5, 0, w.file.era, "fuzz-bin.000001", NULL);
        MUST(filelist_count(more) == n + 1);
        filelist_unref(more);
    }
    filelist_unref(again);
    buf_free(&bytes);
}

/* ---- a store ------------------------------------------------------------------------------------------- */

static void shown(void *arg, uint64_t era, const char *name, uint64_t size)
{
    size_t at;
    MUST(filelist_find(arg, era, name, &at));
    (void)size;
}

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void set(void *arg)
{
    *(bool *)arg = true;
}

static void left(struct store_sub *sub)
{
    set(sub->owner);
}

static void open_store(struct env *env)
{
    struct store *store;
    struct checkpoint cp;
    struct filelist *files, *later;
    struct errmsg em = {.text = ""};
    bool gone = false, closed = false, torn;
    if (store_open(env, "/d", &store, &em)) {
        MUST(em.text[0]);
        return;
    }
    MUST(checkpoint_load(env, "/d/binlog", &cp, &files, &later, &torn, NULL) == 0);
    MUST(filelist_size(later) == filelist_size(files) && !torn); /* it was cut */
    struct store_sub sub = {.owner = &gone};
    store_subscribe(store, &sub, env, changed);
    memory_env_run(env);
    store_sub_list(&sub, 0, shown, files);
    store_unsubscribe(&sub, left);
    memory_env_run(env);
    store_close(store, set, &closed);
    memory_env_run(env);
    MUST(gone && closed);
    filelist_unref(files);
    filelist_unref(later);
}

static void put_newest(struct env *env, const struct filelist *list, uint64_t size)
{
    struct filelist_file file;
    if (filelist_count(list) > 0 && size < 1 << 16) {
        filelist_get(list, filelist_count(list) - 1, &file);
        char *path = mem_printf("/d/binlog/%llu/%s", (unsigned long long)file.era, file.name);
        memory_env_put(env, path, "\xfe" "bin", 4, size);
        mem_free(path);
    }
}

static void check_checkpoint(const uint8_t *p, size_t n, struct checkpoint *cp)
{
    struct buf b;
    struct errmsg em = {.text = ""};
    buf_init(&b, CHECKPOINT_SIZE);
    int rv = checkpoint_decode(cp, p, n, &em);
    if (rv) {
        MUST(em.text[0] && (rv == E_CORRUPT || rv == E_VERSION) && cp->n == 0);
    } else {
        checkpoint_encode(cp, &b);
        MUST(!b.err && b.len == n && memcmp(b.data, p, n) == 0);
    }
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    uint8_t flags = cur_u8(&in);
    size_t n_list, n;
    const uint8_t *given = fuzz_piece(&in, &n_list);
    uint8_t *bytes = fuzz_exact(given, n_list);
    struct filelist *list;
    struct checkpoint cp;
    struct buf fits;
    if (flags & RIGHT_SUMS) {
        fix_sums(bytes, n_list);
    }
    (void)filelist_load(bytes, n_list, true, &list, NULL);
    check_list(list);
    buf_init(&fits, 1 << 20);
    if (flags & FITS) {
        cp = (struct checkpoint){.index = cur_u8(&in), .boundary = cur_u8(&in), .size = cur_u16(&in)};
        checkpoint_name_files(&cp, CHECKPOINT_FIRST_LIST, list);
        checkpoint_encode(&cp, &fits);
    }
    const uint8_t *rest = cur_rest(&in, &n);
    buf_bytes(&fits, rest, flags & FITS ? 0 : n);
    if (flags & RIGHT_SUMS && fits.len >= 4) {
        le_put(fits.data + fits.len - 4, crc32c_of(0, fits.data, fits.len - 4), 4);
    }
    uint8_t *file = fuzz_exact(fits.data, fits.len);
    check_checkpoint(file, fits.len, &cp);

    struct env *env = memory_env_new();
    (void)env_make_dir(env, "/", "d", NULL);
    (void)env_make_dir(env, "/d", "binlog", NULL);
    memory_env_put(env, "/d/binlog/checkpoint", file, fits.len, fits.len);
    memory_env_put(env, "/d/binlog/files.1", bytes, n_list - (flags & TORN && n_list), n_list);
    if (flags & WITH_FILE) {
        put_newest(env, list, cp.size);
    }
    open_store(env);
    memory_env_free(env);
    filelist_unref(list);
    buf_free(&fits);
    free(file);
    free(bytes);
    return 0;
}
