/* retention.c: see retention.h.
 *
 * Happy path: every LOOK_S seconds, while leading and when a limit is set: how many of the oldest files are beyond the size, and
 * how many are too old (storage looks when the files began). Of the greater number goes what no replica needs: the members are asked.
 *
 * Failure modes: files that cannot be looked at stay, with a line in the log; so does what a replica needs: said once. */
#include "node/retention.h"

#include "node/purge.h"
#include "node/settings.h"
#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_S = 10 };

struct retention {
    struct control *control;
    struct env_timer timer;
    struct store_older older;
    bool leading, busy, stopped; /* busy: storage looks, members are asked, or an entry is proposed */
    struct filelist_file stays;  /* those before it are due */
    char said[FILE_NAME_SIZE];   /* the log was told that this file stays */
};

static const struct state *state_of(const struct retention *r)
{
    return cluster_state(r->control->cluster);
}

/* So many of the oldest files go, so that the others are not larger than this together; the newest stays. */
static size_t beyond_size(const struct state *state, uint64_t most)
{
    size_t n = filelist_count(state->files), go = 0;
    struct filelist_walk w;
    uint64_t sum = n ? state->file.size : 0;
    for (filelist_walk_begin(&w, state->files, 0); filelist_walk_next(&w);) {
        sum += w.file.size;
    }
    for (filelist_walk_begin(&w, state->files, 0); sum > most && go + 1 < n && filelist_walk_next(&w); go++) {
        sum -= w.file.size;
    }
    return go;
}

static void look_later(struct retention *r)
{
    r->busy = false;
    if (r->leading && !r->stopped) {
        env_timer_start(&r->timer, LOOK_S * ENV_S);
    }
}

static void proposed(void *arg, int status)
{
    (void)status; /* it looks again */
    look_later(arg);
}

static void say_stays(struct retention *r, const struct purge_plan *plan)
{
    if (plan->n < plan->wanted && strcmp(r->said, plan->file) != 0) {
        env_log(r->control->loop, ENV_WARN, "retention: files stay that are due file=%s why=\"%s\"", plan->file, plan->why);
        snprintf(r->said, sizeof r->said, "%s", plan->file);
    }
}

static void members_answered(void *arg)
{
    struct retention *r = arg;
    struct purge_plan plan = {.n = 0};
    struct filelist_file file;
    struct buf entry;
    size_t wanted;
    if (r->leading && !r->stopped && filelist_find(state_of(r)->files, r->stays.era, r->stays.name, &wanted) && wanted > 0) {
        purge_plan(r->control, wanted, false, &plan);
        say_stays(r, &plan);
    }
    if (plan.n == 0) {
        look_later(r);
        return;
    }
    filelist_get(state_of(r)->files, plan.n, &file);
    env_log(r->control->loop, ENV_INFO, "retention: binlog files are purged files=%zu up_to=%s", plan.n, file.name);
    buf_init(&entry, ENTRY_MAX);
    purge_entry(state_of(r), plan.n, &entry);
    cluster_propose(r->control->cluster, &entry, proposed, r);
    buf_free(&entry);
}

static void purge(struct retention *r, size_t wanted)
{
    if (wanted == 0 || !r->leading || r->stopped) {
        look_later(r);
        return;
    }
    filelist_get(state_of(r)->files, wanted, &r->stays);
    cluster_poll(r->control->cluster, members_answered, r);
}

static size_t due_by_size(const struct retention *r)
{
    uint64_t most = setting_number(state_of(r), SETTING_ID_max_binlog_total_size);
    return most ? beyond_size(state_of(r), most) : 0;
}

static void looked(void *arg)
{
    struct retention *r = arg;
    size_t old = 0, large;
    if (r->stopped) {
        return;
    }
    if (r->older.more && r->leading) {
        store_find_older(cluster_store(r->control->cluster), &r->older, looked, r);
        return;
    }
    if (r->older.em.text[0]) {
        env_log(r->control->loop, ENV_ERROR, "retention: it is not known which files are old why=\"%s\"", r->older.em.text);
    }
    if (r->older.name[0]) {
        (void)filelist_find(state_of(r)->files, r->older.era, r->older.name, &old);
    }
    large = due_by_size(r);
    purge(r, old > large ? old : large);
}

static void look(struct env_timer *timer)
{
    struct retention *r = CONTAINER_OF(timer, struct retention, timer);
    uint64_t age = setting_number(state_of(r), SETTING_ID_binlog_expire_logs_seconds);
    uint64_t now = env_wall(r->control->loop) / 1000000;
    if (!r->leading || r->stopped || r->busy) {
        return;
    }
    r->busy = true;
    if (age && now > age) {
        r->older = (struct store_older){.time = now - age > UINT32_MAX ? UINT32_MAX : (uint32_t)(now - age)};
        store_find_older(cluster_store(r->control->cluster), &r->older, looked, r);
    } else {
        purge(r, due_by_size(r));
    }
}

void retention_leading(struct retention *r, bool leading)
{
    r->leading = leading;
    r->said[0] = '\0';
    if (leading && !r->busy && !r->stopped) {
        env_timer_start(&r->timer, LOOK_S * ENV_S);
    }
}

void retention_settings_changed(struct retention *r)
{
    if (r->leading && !r->busy && !r->stopped) {
        env_timer_start(&r->timer, ENV_S);
    }
}

struct retention *retention_new(struct control *control)
{
    struct retention *r = mem_new(sizeof *r);
    r->control = control;
    CHECK(env_timer_open(control->loop, &r->timer, look) == 0);
    return r;
}

void retention_stop(struct retention *r)
{
    r->stopped = true;
    env_timer_close(&r->timer);
}

void retention_free(struct retention *r)
{
    mem_free(r);
}
