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

static struct catalog *catalog_new(size_t n)
{
    struct catalog *catalog = mem_new(sizeof *catalog);
    atomic_init(&catalog->refs, 1);
    catalog->n = n;
    catalog->entries = n ? mem_array(n, sizeof *catalog->entries) : NULL;
    return catalog;
}

struct catalog *catalog_load(const char *binlog_dir, const struct checkpoint *cp)
{
    struct catalog *catalog = catalog_new(cp->n);
    for (size_t i = 0; i < cp->n; i++) {
        const struct checkpoint_file *from = &cp->files[i];
        struct catalog_file *file = catalog_file_new(binlog_dir, from->era, from->name, from->state_before);
        file->ordinal = i + 1;
        file->follows_era = from->follows_era;
        bool sealed = i + 1 < cp->n;
        catalog->entries[i] =
            (struct catalog_entry){.file = file, .size = sealed ? from->size : 0, .sealed = sealed};
    }
    return catalog;
}

struct catalog *catalog_ref(struct catalog *catalog)
{
    atomic_fetch_add(&catalog->refs, 1);
    return catalog;
}

void catalog_unref(struct catalog *catalog)
{
    if (!catalog || atomic_fetch_sub(&catalog->refs, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < catalog->n; i++) {
        catalog_file_unref(catalog->entries[i].file);
    }
    mem_free(catalog->entries);
    mem_free(catalog);
}

struct catalog *catalog_extend(const struct catalog *old, uint64_t size, struct catalog_file *file)
{
    struct catalog *catalog = catalog_new(old->n + 1);
    for (size_t i = 0; i < old->n; i++) {
        catalog->entries[i] = old->entries[i];
        catalog_file_ref(old->entries[i].file);
    }
    if (old->n > 0) {
        catalog->entries[old->n - 1].size = size;
        catalog->entries[old->n - 1].sealed = true;
    }
    const struct catalog_file *before = old->n > 0 ? old->entries[old->n - 1].file : NULL;
    file->ordinal = before ? before->ordinal + 1 : 1;
    file->follows_era = before && before->era != file->era;
    catalog->entries[old->n].file = file;
    return catalog;
}

const struct catalog_entry *catalog_newest(const struct catalog *catalog)
{
    return catalog->n > 0 ? &catalog->entries[catalog->n - 1] : NULL;
}

const struct catalog_entry *catalog_find(const struct catalog *catalog, uint64_t era, const char *name)
{
    for (size_t i = catalog->n; i-- > 0;) {
        const struct catalog_file *file = catalog->entries[i].file;
        if ((era == 0 || file->era == era) && strcmp(file->name, name) == 0) {
            return &catalog->entries[i];
        }
    }
    return NULL;
}

const struct catalog_entry *catalog_by_ordinal(const struct catalog *catalog, uint64_t ordinal)
{
    /* A purge takes from the head, so ordinals have no holes. */
    if (catalog->n == 0 || ordinal < catalog->entries[0].file->ordinal) {
        return NULL;
    }
    uint64_t at = ordinal - catalog->entries[0].file->ordinal;
    return at < catalog->n ? &catalog->entries[at] : NULL;
}

const struct catalog_entry *catalog_first_of_newest_era(const struct catalog *catalog)
{
    size_t i = catalog->n;
    while (i > 0 && catalog->entries[i - 1].file->era == catalog->entries[catalog->n - 1].file->era) {
        i--;
    }
    return catalog->n > 0 ? &catalog->entries[i] : NULL;
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
        wake(sub);
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
    sub->join_msg.run = joined;
    sub->wake_msg.run = woke;
    sub->leave_msg.run = leaving;
    sub->left_msg.run = left;
    env_post(store->env, &sub->join_msg);
}

void store_unsubscribe(struct store_sub *sub, void (*left_cb)(struct store_sub *sub))
{
    CHECK(!sub->leaving && sub->store);
    sub->leaving = true;
    sub->left = left_cb;
    env_post(sub->store->env, &sub->leave_msg);
}

bool store_sub_end(struct store_sub *sub, const struct catalog_entry **entry, uint64_t *offset)
{
    CHECK(sub->store);
    /* The watermark first: its file is then in the mail, or taken already. */
    uint64_t watermark = atomic_load(&sub->store->watermark);
    take_mail(sub);
    *entry = sub->catalog ? catalog_by_ordinal(sub->catalog, watermark_ordinal(watermark)) : NULL;
    *offset = watermark_offset(watermark);
    return *entry != NULL;
}

void store_sub_list(struct store_sub *sub, uint64_t era,
                    void (*each)(void *arg, const struct catalog_file *file, uint64_t size), void *arg)
{
    const struct catalog_entry *end;
    uint64_t offset;
    if (!store_sub_end(sub, &end, &offset)) {
        return;
    }
    uint64_t wanted = era ? era : end->file->era;
    for (size_t i = 0; i < sub->catalog->n; i++) {
        const struct catalog_entry *entry = &sub->catalog->entries[i];
        if (entry->file->era == wanted && entry <= end) {
            each(arg, entry->file, entry == end ? offset : entry->size);
        }
    }
}
