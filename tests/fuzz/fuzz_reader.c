/* fuzz_reader: readers of the store over files that hold anything.
 *
 * Input: flags, a place to begin (position, or a GTID set), then one or two files; the checkpoint that names
 * them is made to fit. Checksums are put right when the flags say so. Properties: what is shown are whole
 * events, one behind the other, within the file; a reader by position shows all of them; an error has a
 * message; nothing is read twice. The same once more with events cut into pieces: these are the same bytes, unless a
 * checksum is wrong, which shows before the last piece. */
#include "protocol/base/buf.h"
#include "protocol/base/mem.h"
#include "protocol/event.h"
#include "storage/checkpoint.h"
#include "storage/filelist.h"
#include "storage/reader.h"
#include "storage/store.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"

enum {
    BY_GTID = 1,
    MARIADB = 2,
    FIX_CRC = 4,
    TWO_FILES = 8,
    NEW_ERA = 16,
    INSIDE = 32,
    FIRST = 64,
    SECOND = 128
};

enum { FILES_MAX = 2, STEPS_MAX = 1 << 16 };

struct given {
    unsigned flags;
    uint64_t position;
    struct gtid_set *have;
    struct gtid_set *before;
    size_t n_files, sizes[FILES_MAX];
};

static void fix_checksums(uint8_t *file, size_t n)
{
    struct event_format f;
    size_t at = EVENT_MAGIC_SIZE;
    struct event_header h;
    event_format_init(&f, FLAVOUR_MYSQL, CHECKSUM_CRC32);
    while (at < n && event_peek(file + at, n - at, &h, NULL) == 0 && h.size <= n - at) {
        if (h.size >= EVENT_HEADER_SIZE + EVENT_CRC_SIZE && event_crc_size(&f, h.type)) {
            event_crc_set(file + at, h.size);
        }
        (void)event_format_read(file + at, h.size, &f, NULL);
        at += h.size;
    }
}

static void put_file(struct env *env, struct given *g, const uint8_t *p, size_t n)
{
    static const char *const names[] = {"/d/binlog/1/b.000001", "/d/binlog/1/b.000002",
                                        "/d/binlog/2/b.000002"};
    size_t at = g->n_files && g->flags & NEW_ERA ? 2 : g->n_files;
    uint8_t *file = fuzz_exact(p, n);
    if (g->flags & FIX_CRC) {
        fix_checksums(file, n);
    }
    if (n >= EVENT_MAGIC_SIZE) {
        memory_env_put(env, names[at], file, n, n);
        g->sizes[g->n_files++] = n;
    }
    free(file);
}

static struct gtid_set *take_set(struct cur *in, enum flavour flavour)
{
    struct gtid_set *set = gtid_set_new(flavour);
    size_t n;
    const uint8_t *p = fuzz_piece(in, &n);
    (void)gtid_set_parse(set, (const char *)p, n, NULL);
    return set;
}

/* Files and checkpoint. False: there is nothing to open. */
static bool prepare(struct env *env, struct cur *in, struct given *g)
{
    struct errmsg em = {.text = ""};
    size_t n;
    g->flags = cur_u8(in);
    enum flavour flavour = g->flags & MARIADB ? FLAVOUR_MARIADB : FLAVOUR_MYSQL;
    g->position = cur_u16(in);
    g->have = take_set(in, flavour);
    g->before = take_set(in, flavour);
    if (g->flags & TWO_FILES) {
        const uint8_t *p = fuzz_piece(in, &n);
        put_file(env, g, p, n);
    }
    const uint8_t *rest = cur_rest(in, &n);
    put_file(env, g, rest, cur_ok(in) ? n : 0);
    if (!g->n_files) {
        return false;
    }
    uint64_t boundary = g->flags & INSIDE ? g->position : UINT64_MAX, size = g->sizes[g->n_files - 1];
    boundary = boundary < EVENT_MAGIC_SIZE ? EVENT_MAGIC_SIZE : boundary;
    struct checkpoint cp = {.index = 5, .boundary = boundary < size ? boundary : size, .size = size};
    struct filelist *files = filelist_new();
    for (size_t i = 0; i < g->n_files; i++) {
        bool era2 = i && g->flags & NEW_ERA;
        struct filelist *more = filelist_add(files, i ? g->sizes[i - 1] : 0, 0, era2 ? 2 : 1,
                                             i ? "b.000002" : "b.000001", i ? g->before : NULL);
        filelist_unref(files);
        files = more;
    }
    checkpoint_name_files(&cp, CHECKPOINT_FIRST_LIST, files);
    (void)env_make_dir(env, "/", "d", NULL);
    (void)env_make_dir(env, "/d", "binlog", NULL);
    MUST(checkpoint_extend_list(env, "/d/binlog", cp.list, 0, files, &em) == 0);
    MUST(checkpoint_save(env, "/d/binlog", &cp, &em) == 0);
    filelist_unref(files);
    return true;
}

static void changed(struct store_sub *sub)
{
    (void)sub;
}

static void flag(struct store_sub *sub)
{
    *(bool *)sub->owner = true;
}

static void closed(void *arg)
{
    *(bool *)arg = true;
}

enum { CUT_FROM = 25 };

/* Puts together what comes in pieces. NULL: it is corrupt. */
static uint8_t *put_together(struct reader *reader, const struct reader_event *ev)
{
    size_t at = 0, n;
    const uint8_t *piece;
    struct errmsg em = {.text = ""};
    uint8_t *all = fuzz_exact(NULL, 0);
    MUST(ev->n > CUT_FROM);
    all = realloc(all, ev->n);
    while (at < ev->n) {
        if (reader_more(reader, 7, &piece, &n, &em)) {
            MUST(em.text[0]);
            free(all);
            return NULL;
        }
        MUST(n > 0 && n <= 7 && n <= ev->n - at);
        memcpy(all + at, piece, n);
        at += n;
    }
    return all;
}

static void check_event(const struct given *g, const struct reader_event *ev, uint64_t *last, bool by_gtid)
{
    struct event_header h;
    MUST(event_header_read(ev->bytes, ev->n, &h, NULL) == 0 && ev->type == h.type);
    MUST(ev->start >= EVENT_MAGIC_SIZE && ev->end == ev->start + ev->n);
    MUST(ev->end <= g->sizes[0] || (g->n_files > 1 && ev->end <= g->sizes[1]));
    if (!ev->new_file) {
        MUST(by_gtid ? ev->start >= *last : ev->start == *last);
    }
    *last = ev->end;
    uint8_t *exact = fuzz_exact(ev->bytes, ev->n); /* all of it can be read */
    free(exact);
}

static void walk(struct store_sub *sub, const struct given *g, bool cut)
{
    struct reader *reader = NULL;
    struct reader_event ev;
    struct errmsg em = {.text = ""};
    bool by_gtid = g->flags & BY_GTID;
    const char *named = g->flags & FIRST ? "b.000001" : g->flags & SECOND ? "b.000002" : NULL;
    uint64_t last = 0, era, offset;
    const char *file;
    const uint8_t *fde;
    size_t n;
    int rc = by_gtid ? reader_open_gtid(sub, g->have, &reader, &em)
                     : reader_open_position(sub, 0, named, g->position, &reader, &em);
    if (rc) {
        MUST(em.text[0] && !reader);
        return;
    }
    if (cut) {
        reader_cut_large(reader, CUT_FROM);
    }
    for (int i = 0; i < STEPS_MAX; i++) {
        uint8_t *together = NULL;
        rc = reader_next(reader, &ev, &em);
        if (rc != 1) {
            break;
        }
        if (ev.in_pieces) {
            together = put_together(reader, &ev);
            if (!together) {
                reader_close(reader);
                return;
            }
            ev.bytes = together;
        }
        check_event(g, &ev, &last, by_gtid);
        free(together);
    }
    MUST(rc != 1 && (rc == 0 || em.text[0]));
    reader_where(reader, &era, &file, &offset);
    MUST(era >= 1 && file);
    (void)reader_format(reader, &fde, &n);
    (void)reader_take_skipped(reader, &file, &offset);
    reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    struct env *env = memory_env_new();
    struct given g = {0};
    struct store *store = NULL;
    struct errmsg em = {.text = ""};
    bool left = false, done = false;
    if (prepare(env, &in, &g)) {
        MUST(store_open(env, "/d", &store, &em) == 0);
        struct store_sub sub = {.owner = &left};
        store_subscribe(store, &sub, env, changed);
        memory_env_run(env);
        walk(&sub, &g, false);
        walk(&sub, &g, true);
        store_unsubscribe(&sub, flag);
        memory_env_run(env);
        MUST(left);
        store_close(store, closed, &done);
        memory_env_run(env);
        MUST(done);
    }
    gtid_set_free(g.have);
    gtid_set_free(g.before);
    memory_env_free(env);
    return 0;
}
