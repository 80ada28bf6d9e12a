/* catalog.c: the list of files, and how it reaches the readers' threads without a lock.
 *
 * Happy path: the storage env makes a new list, drops a reference to it into each subscriber's mail slot (an
 * atomic exchange; what lay there unread is released), then moves the watermark, then wakes the subscribers.
 * `woken` is set while a wake-up is under way, so there is one at a time; the subscriber clears it before it
 * looks, so a change after the look sends another.
 *
 * Leaving takes a round trip: subscriber -> storage env (off the list) -> subscriber. Messages between two
 * envs keep their order, so a wake-up that was under way arrives before, finds `leaving` and does nothing. */
#include "storage/catalog.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/gtid.h"
#include "storage/filelist.h"
#include "storage/impl.h"

#include <string.h>

/* ---- files and lists ----------------------------------------------------------------------------------- */

struct catalog_file *catalog_file_new(const char *binlog_dir, uint64_t era, const char *name,
                                      const struct gtid_set *state_before)
{
    struct catalog_file *file = mem_new(sizeof *file);
    atomic_init(&file->refs, 1);
    file->era = era;
    file->name = mem_str(name);
    file->path = mem_printf("%s/%llu/%s", binlog_dir, (unsigned long long)era, name);
    file->state_before = state_before ? gtid_set_copy(state_before) : NULL;
    return file;
}

void catalog_file_unref(struct catalog_file *file)
{
    if (file && atomic_fetch_sub(&file->refs, 1) == 1) {
        mem_free(file->name);
        mem_free(file->path);
        gtid_set_free(file->state_before);
        mem_free(file);
    }
}

struct catalog_file *catalog_file_ref(struct catalog_file *file)
{
    atomic_fetch_add(&file->refs, 1);
    return file;
}

/* Takes the list. */
static struct catalog *catalog_new(const char *binlog_dir, struct filelist *files, uint64_t first, unsigned generation)
{
    struct catalog *catalog = mem_new(sizeof *catalog);
    atomic_init(&catalog->refs, 1);
    catalog->n = filelist_count(files);
    catalog->first = first;
    catalog->generation = generation;
    catalog->files = files;
    catalog->binlog_dir = mem_str(binlog_dir);
    return catalog;
}

struct catalog *catalog_ref(struct catalog *catalog)
{
    atomic_fetch_add(&catalog->refs, 1);
    return catalog;
}

void catalog_unref(struct catalog *catalog)
{
    if (catalog && atomic_fetch_sub(&catalog->refs, 1) == 1) {
        catalog_entry_drop(&catalog->newest[0]);
        catalog_entry_drop(&catalog->newest[1]);
        filelist_unref(catalog->files);
        mem_free(catalog->binlog_dir);
        mem_free(catalog);
    }
}

void catalog_entry_drop(struct catalog_entry *entry)
{
    catalog_file_unref(entry->file);
    *entry = (struct catalog_entry){.file = NULL};
}

static int unpack(const struct catalog *catalog, size_t at, struct catalog_entry *entry, struct errmsg *em)
{
    struct filelist_file packed;
    struct gtid_set *before;
    *entry = (struct catalog_entry){.file = NULL};
    int rv = filelist_before(catalog->files, at, &before, em);
    if (rv) {
        return err_wrap(em, rv, "%s", catalog->binlog_dir);
    }
    filelist_get(catalog->files, at, &packed);
    struct catalog_file *file = catalog_file_new(catalog->binlog_dir, packed.era, packed.name, NULL);
    file->state_before = before;
    file->ordinal = catalog->first + at;
    file->follows_era = packed.follows_era;
    bool sealed = at + 1 < catalog->n;
    *entry = (struct catalog_entry){.file = file, .size = sealed ? packed.size : 0, .sealed = sealed};
    return 0;
}

static int load(const char *binlog_dir, const struct filelist *files, uint64_t first, unsigned generation, struct catalog **out, struct errmsg *em)
{
    struct catalog *catalog = catalog_new(binlog_dir, filelist_ref(files), first, generation);
    int rv = 0;
    for (size_t i = 0; i < 2 && !rv; i++) {
        if (catalog->n + i >= 2) {
            rv = unpack(catalog, catalog->n + i - 2, &catalog->newest[i], em);
        }
    }
    if (rv) {
        catalog_unref(catalog);
        catalog = NULL;
    }
    *out = catalog;
    return rv;
}

int catalog_load(const char *binlog_dir, const struct filelist *files, struct catalog **out, struct errmsg *em)
{
    return load(binlog_dir, files, 1, 0, out, em);
}

/* The newest file so far keeps its ordinal, so that who reads it goes on behind it. When it is gone, nothing follows it for its readers. */
int catalog_install(const struct catalog *old, const struct filelist *files, struct catalog **out, struct errmsg *em)
{
    const struct catalog_entry *newest = catalog_newest(old);
    uint64_t first = old->first;
    size_t at;
    if (newest && filelist_find(files, newest->file->era, newest->file->name, &at) && at < newest->file->ordinal) {
        first = newest->file->ordinal - at;
    } else if (newest) {
        first = newest->file->ordinal + 2;
    }
    return load(old->binlog_dir, files, first, old->generation + 1, out, em);
}

struct catalog *catalog_extend(const struct catalog *old, uint64_t size, uint32_t sum, struct catalog_file *file)
{
    const struct catalog_entry *before = catalog_newest(old);
    struct catalog *catalog = catalog_new(
        old->binlog_dir, filelist_add(old->files, size, sum, file->era, file->name, file->state_before), old->first, old->generation);
    file->ordinal = old->first + old->n;
    file->follows_era = before && before->file->era != file->era;
    if (before) {
        catalog->newest[0] =
            (struct catalog_entry){.file = catalog_file_ref(before->file), .size = size, .sealed = true};
    }
    catalog->newest[1] = (struct catalog_entry){.file = file};
    return catalog;
}

int catalog_purge(const struct catalog *old, size_t at, struct catalog **out, struct errmsg *em)
{
    struct filelist *files;
    *out = NULL;
    int rv = filelist_from(old->files, at, &files, em);
    if (rv) {
        return rv;
    }
    struct catalog *catalog = catalog_new(old->binlog_dir, files, old->first + at, old->generation);
    for (size_t i = 0; i < 2; i++) {
        if (old->newest[i].file && old->newest[i].file->ordinal >= catalog->first) {
            catalog->newest[i] = old->newest[i];
            catalog_file_ref(catalog->newest[i].file);
        }
    }
    *out = catalog;
    return 0;
}

struct catalog *catalog_after_reset(const struct catalog *old)
{
    return catalog_new(old->binlog_dir, filelist_new(), old->first + old->n + 1, old->generation);
}

const struct catalog_entry *catalog_newest(const struct catalog *catalog)
{
    return catalog->n > 0 ? &catalog->newest[1] : NULL;
}

int catalog_at(const struct catalog *catalog, size_t at, struct catalog_entry *entry, struct errmsg *em)
{
    *entry = (struct catalog_entry){.file = NULL};
    if (at >= catalog->n) {
        return err_set(em, E_NOTFOUND, "there are %zu binlog files", catalog->n);
    }
    if (at + 2 >= catalog->n) {
        *entry = catalog->newest[at + 2 - catalog->n];
        catalog_file_ref(entry->file);
        return 0;
    }
    return unpack(catalog, at, entry, em);
}

int catalog_by_ordinal(const struct catalog *catalog, uint64_t ordinal, struct catalog_entry *entry,
                       struct errmsg *em)
{
    return catalog_at(catalog, ordinal >= catalog->first ? (size_t)(ordinal - catalog->first) : SIZE_MAX, entry, em);
}

bool catalog_sealed_size(const struct catalog *catalog, uint64_t ordinal, uint64_t *size)
{
    struct filelist_file file;
    if (ordinal < catalog->first || ordinal - catalog->first + 1 >= catalog->n) {
        return false;
    }
    filelist_get(catalog->files, (size_t)(ordinal - catalog->first), &file);
    *size = file.size;
    return true;
}

int catalog_find(const struct catalog *catalog, uint64_t era, const char *name, struct catalog_entry *entry,
                 struct errmsg *em)
{
    size_t at;
    *entry = (struct catalog_entry){.file = NULL};
    if (!filelist_find(catalog->files, era, name, &at)) {
        return err_set(em, E_NOTFOUND, "there is no binlog file '%s'", name);
    }
    return catalog_at(catalog, at, entry, em);
}

int catalog_first_of_era(const struct catalog *catalog, uint64_t era, struct catalog_entry *entry, struct errmsg *em)
{
    size_t at = 0;
    if (era && catalog->n && !filelist_after_era(catalog->files, era - 1, &at)) {
        *entry = (struct catalog_entry){.file = NULL};
        return err_set(em, E_NOTFOUND, "there is no era %llu", (unsigned long long)era);
    }
    int rv = catalog_at(catalog, era || !catalog->n ? at : filelist_newest_era(catalog->files), entry, em);
    if (!rv && era && entry->file->era != era) {
        catalog_entry_drop(entry);
        return err_set(em, E_NOTFOUND, "there is no era %llu", (unsigned long long)era);
    }
    return rv;
}

/* ---- subscription, storage env ------------------------------------------------------------------------- */

static void mail_to(struct store_sub *sub, struct catalog *catalog)
{
    catalog_unref(atomic_exchange(&sub->mail, catalog_ref(catalog)));
}

static void wake(struct store_sub *sub)
{
    if (!atomic_exchange(&sub->woken, true)) {
        env_post(sub->env, &sub->wake_msg);
    }
}

void catalog_mail(struct writer *writer)
{
    for (struct store_sub *sub = writer->subs; sub; sub = sub->next) {
        mail_to(sub, writer->catalog);
    }
}

void catalog_wake(struct writer *writer)
{
    for (struct store_sub *sub = writer->subs; sub; sub = sub->next) {
        if (!atomic_load(&sub->resting)) { /* after the watermark was set: one of the two sees the other */
            wake(sub);
        }
    }
}

static void joined(struct env_msg *msg)
{
    struct store_sub *sub = CONTAINER_OF(msg, struct store_sub, join_msg);
    struct writer *writer = &sub->store->writer;
    sub->next = writer->subs;
    writer->subs = sub;
    mail_to(sub, writer->catalog);
    wake(sub);
}

static void leaving(struct env_msg *msg)
{
    struct store_sub *sub = CONTAINER_OF(msg, struct store_sub, leave_msg);
    struct store_sub **at = &sub->store->writer.subs;
    while (*at != sub) {
        CHECK(*at);
        at = &(*at)->next;
    }
    *at = sub->next;
    env_post(sub->env, &sub->left_msg);
}

/* ---- subscription, the subscriber's env ---------------------------------------------------------------- */

static void take_mail(struct store_sub *sub)
{
    struct catalog *catalog = atomic_exchange(&sub->mail, NULL);
    if (catalog) {
        catalog_unref(sub->catalog);
        sub->catalog = catalog;
    }
}

static void woke(struct env_msg *msg)
{
    struct store_sub *sub = CONTAINER_OF(msg, struct store_sub, wake_msg);
    atomic_store(&sub->woken, false); /* before the look: what changes from here on sends another */
    if (!sub->leaving) {
        take_mail(sub);
        sub->changed(sub);
    }
}

static void left(struct env_msg *msg)
{
    struct store_sub *sub = CONTAINER_OF(msg, struct store_sub, left_msg);
    catalog_unref(atomic_exchange(&sub->mail, NULL));
    catalog_unref(sub->catalog);
    sub->catalog = NULL;
    sub->store = NULL;
    sub->left(sub);
}

void store_subscribe(struct store *store, struct store_sub *sub, struct env *env,
                     void (*changed)(struct store_sub *sub))
{
    void *owner = sub->owner;
    memset(sub, 0, sizeof *sub);
    sub->owner = owner;
    sub->env = env;
    sub->store = store;
    sub->changed = changed;
    atomic_init(&sub->mail, NULL);
    atomic_init(&sub->woken, false);
    atomic_init(&sub->resting, false);
    sub->join_msg.run = joined;
    sub->wake_msg.run = woke;
    sub->leave_msg.run = leaving;
    sub->left_msg.run = left;
    env_post(store->env, &sub->join_msg);
}

void store_sub_rest(struct store_sub *sub, bool rest)
{
    atomic_store(&sub->resting, rest);
}

void store_unsubscribe(struct store_sub *sub, void (*left_cb)(struct store_sub *sub))
{
    CHECK(!sub->leaving && sub->store);
    sub->leaving = true;
    sub->left = left_cb;
    env_post(sub->store->env, &sub->leave_msg);
}

/* One of the two newest files has that ordinal. */
static const struct catalog_entry *newest_of(const struct catalog *catalog, uint64_t ordinal)
{
    for (size_t i = 0; catalog && i < 2; i++) {
        const struct catalog_entry *entry = &catalog->newest[i];
        if (entry->file && entry->file->ordinal == ordinal) {
            return entry;
        }
    }
    return NULL;
}

bool store_sub_end(struct store_sub *sub, const struct catalog_entry **entry, uint64_t *offset)
{
    CHECK(sub->store);
    for (;;) {
        /* The watermark first: its file is then in the mail, or taken already. Only when more than one file was made
         * between the two looks it is neither of the newest: then they are looked at again. */
        uint64_t watermark = atomic_load(&sub->store->watermark);
        take_mail(sub);
        *entry = newest_of(sub->catalog, watermark_ordinal(watermark));
        *offset = watermark_offset(watermark);
        if (*entry || !sub->catalog || watermark == 0) {
            return *entry != NULL;
        }
        CHECK(watermark_ordinal(watermark) < sub->catalog->first + sub->catalog->n); /* or its file was purged since */
    }
}

void store_sub_list(struct store_sub *sub, uint64_t era,
                    void (*each)(void *arg, uint64_t era, const char *name, uint64_t size), void *arg)
{
    const struct catalog_entry *end;
    uint64_t offset;
    struct filelist_walk w;
    if (!store_sub_end(sub, &end, &offset)) {
        return;
    }
    uint64_t wanted = era ? era : end->file->era;
    filelist_walk_begin(&w, sub->catalog->files, 0);
    size_t last = (size_t)(end->file->ordinal - sub->catalog->first);
    while (filelist_walk_next(&w) && w.file.at <= last) {
        if (w.file.era == wanted) {
            each(arg, w.file.era, w.file.name, w.file.at == last ? offset : w.file.size);
        }
    }
}
