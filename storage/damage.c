/* damage.c: which files of this node do not hold what was written, as far as anybody came across it.
 *
 * Happy path: there is none. Whoever finds damage (a reader on its worker, the making of an index, the start, CHECK BINARY
 * LOGS) says so to the loop, where it is logged once and kept by file: for the status, and for the other members. What is
 * intact before the damage is still served; the file is forgotten here when it is found sound, or purged. Who still reads one that was purged may
 * come across damage in it: nobody needs to hear of that.
 *
 * Failure modes: more files than DAMAGES_MAX: the later ones are logged and not kept. */
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/impl.h"
#include "storage/store.h"

#include <stdio.h>
#include <string.h>

struct damage_report {
    struct env_msg msg;
    struct store *store;
    struct store_damage damage;
};

static bool is_of(const struct store_damage *d, uint64_t era, const char *name)
{
    return d->era == era && strcmp(d->name, name) == 0;
}

void store_add_damage(struct store *store, const struct store_damage *damage)
{
    for (size_t i = 0; i < store->n_damages; i++) {
        if (is_of(&store->damages[i], damage->era, damage->name)) {
            return;
        }
    }
    env_log(store->loop, ENV_ERROR, "binlog file damaged, nothing from there on is served; replace the member (holdfast member replace) file=%llu/%s why=\"%s\"",
            (unsigned long long)damage->era, damage->name, damage->text);
    if (store->n_damages < DAMAGES_MAX) {
        store->damages[store->n_damages++] = *damage;
    }
}

/* Is it before that file, in the order of the log? */
static bool is_before(const struct store_damage *d, uint64_t era, const char *name)
{
    return d->era < era || (d->era == era && strlen(d->name) == strlen(name) && strcmp(d->name, name) < 0);
}

static void reported(struct env_msg *msg)
{
    struct damage_report *r = CONTAINER_OF(msg, struct damage_report, msg);
    atomic_fetch_sub(&r->store->damage_reports, 1);
    if (!is_before(&r->damage, r->store->purged_era, r->store->purged_name)) {
        store_add_damage(r->store, &r->damage);
    }
    mem_free(r);
}

void damage_found(struct store *store, uint64_t era, const char *name, const struct errmsg *em)
{
    struct damage_report *r = mem_new(sizeof *r);
    r->msg.run = reported;
    r->store = store;
    r->damage.era = era;
    snprintf(r->damage.name, sizeof r->damage.name, "%s", name);
    snprintf(r->damage.text, sizeof r->damage.text, "%s", em && em->text[0] ? em->text : "it does not hold what was written");
    atomic_fetch_add(&store->damage_reports, 1);
    env_post(store->loop, &r->msg);
}

void store_drop_damage(struct store *store, uint64_t era, const char *name)
{
    for (size_t i = 0; i < store->n_damages; i++) {
        if (is_of(&store->damages[i], era, name)) {
            env_log(store->loop, ENV_INFO, "binlog file is not damaged any more file=%llu/%s", (unsigned long long)era, name);
            memmove(&store->damages[i], &store->damages[i + 1], (--store->n_damages - i) * sizeof store->damages[0]);
            return;
        }
    }
}

void damage_purge(struct store *store, uint64_t era, const char *name)
{
    size_t stay = 0;
    for (size_t i = 0; i < store->n_damages; i++) {
        if (!is_before(&store->damages[i], era, name)) {
            store->damages[stay++] = store->damages[i];
        }
    }
    store->n_damages = stay;
    store->purged_era = era;
    snprintf(store->purged_name, sizeof store->purged_name, "%s", name);
}

size_t store_damages(const struct store *store, const struct store_damage **damages)
{
    *damages = store->damages;
    return store->n_damages;
}
