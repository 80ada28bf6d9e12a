/* fetch.c: see fetch.h.
 *
 * Happy path: an offer comes; its manifest is asked for, in pieces, then what it names file by file, oldest first: pieces are asked of all members
 * in turn, a window of them ahead, and written in order, and their indexes are made behind them. When the last file is whole and no newer offer
 * has come, everything is marked, and the owner hands it over. A newer offer that came meanwhile is fetched first: that is little.
 *
 * Failure modes: who does not have a piece, or does not answer, is left alone for a while; a file that is gone at a member (purged), or that nobody has
 * any more as the manifest says (its end was cut), waits for a newer offer. A wrong sum: the file is fetched again, all of it from one member, and
 * from another one if it is wrong again. When the log has gone on by itself, all of it is dropped, or, not so far, what that changed is fetched, too. */
#include "raft/fetch.h"

#include "raft/fetch_disk.h"
#include "raft/fetch_index.h"

#include "protocol/base/check.h"
#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "storage/filelist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 24,          /* pieces */
    TICK_MS = 50,
    PATIENCE_S = 20,      /* for a piece */
    LEFTOVER_S = 300,     /* after the start what an earlier life fetched is dropped, if nothing is fetched */
    REST_MS = 500,        /* of a member that has it not */
    STALL_S = 5,          /* nothing came: it is asked for again, and a newer offer is better */
    LOOK_MS = 300,        /* in which it is seen how fast it goes, at least; */
    LOOK_BYTES = 8 << 20, /* and of so much; */
    GAP_MS = 100,         /* of each pause in it at most: a member that does not answer says nothing */
    KEEP = 10,            /* so many times as long that holds, */
    KEEP_S = 10,          /* and so long at most */
    ANSWERS_MAX = 64,     /* pieces that other members wait for */
    ANSWER_RETRY_MS = 2,
};

enum phase { PHASE_IDLE, PHASE_MANIFEST, PHASE_PREPARE, PHASE_FILE, PHASE_FINISH, PHASE_INDEX, PHASE_MARK, PHASE_WHOLE, PHASE_TAKEN };

/* A snapshot as a leader offers it. */
struct offer {
    bool there;
    uint64_t leader;
    struct raft_message m; /* its configuration is ours */
    uint32_t sum;
};

/* A piece that was asked for. */
struct slot {
    uint64_t ticket; /* 0: not asked for */
    uint64_t peer, until;
    uint64_t offset;
    uint32_t n;
    struct fetch_piece *piece; /* NULL: it did not come yet */
};

struct rest { /* a member that is left alone */
    uint64_t id, until;
};

struct answer { /* a piece for another member that its connection did not take yet */
    struct answer *next;
    uint64_t peer;
    struct buf frame;
};

struct fetch {
    struct env *loop;
    const struct fetch_handler *handler;
    void *owner;
    struct fetch_disk *disk;
    struct fetch_index *index;
    struct env_timer tick;
    enum phase phase;
    struct offer offer;  /* that is being fetched */
    struct offer newest; /* that came last */
    struct buf manifest;
    struct state *target;
    struct install install;
    struct filelist_walk walk; /* over target's files, `walk.file` is at work */
    struct fetch_file file;
    struct {
        uint64_t era; /* 0: none */
        char name[FILELIST_NAME_SIZE];
    } whole_file; /* the last one of the manifest that is whole, and ended; those before it, from `from` on, are */
    size_t from;
    uint64_t end;              /* of what is being asked for, manifest or file */
    uint64_t next;             /* to be asked for */
    struct slot slots[WINDOW];
    unsigned head, n_slots;    /* a ring */
    struct fetch_piece *spare;
    unsigned busy;             /* pieces that the disk or the index has */
    uint64_t ticket;
    unsigned turn;             /* whom to ask */
    unsigned wrong;            /* so often the sum of the file at work was wrong */
    struct rest rests[FETCH_PEERS];
    struct {
        uint64_t rate; /* 0: it is being seen */
        uint64_t seen_at, seen, bytes, until;
    } pace;
    uint64_t allowance, allowed_at; /* bytes, by the rate */
    uint64_t moved_at;              /* something came, or was not to be asked for yet */
    uint64_t came_at;               /* something came, or was begun */
    uint64_t done, of, before;      /* bytes: done = files before + those of this one */
    bool gone;                 /* somebody has purged it */
    unsigned stale;            /* answers of the disk that nobody waits for any more */
    unsigned n_reading;
    struct answer *answers, **answers_tail;
    unsigned n_answers;
    struct env_timer retry;
};

static void go_on(struct fetch *f);

/* ---- offers ---------------------------------------------------------------------------------------------- */

static void offer_free(struct offer *o)
{
    if (o->there) {
        raft_configuration_close(&o->m.install_snapshot.conf);
    }
    *o = (struct offer){.there = false};
}

static void move_offer(struct offer *to, struct offer *from)
{
    offer_free(to);
    *to = *from;
    *from = (struct offer){.there = false};
}

static uint64_t index_of(const struct offer *o)
{
    return o->m.install_snapshot.last_index;
}

static bool same_snapshot(const struct offer *a, const struct offer *b)
{
    return a->there && b->there && index_of(a) == index_of(b) && a->sum == b->sum;
}

/* ---- the window ------------------------------------------------------------------------------------------ */

static struct slot *slot_at(struct fetch *f, unsigned i)
{
    return &f->slots[(f->head + i) % WINDOW];
}

static struct fetch_piece *piece_take(struct fetch *f)
{
    struct fetch_piece *p = f->spare;
    if (!p) {
        return fetch_piece_new();
    }
    f->spare = p->next;
    return p;
}

static void piece_back(struct fetch *f, struct fetch_piece *p)
{
    if (p) {
        p->next = f->spare;
        f->spare = p;
    }
}

static void forget_slots(struct fetch *f)
{
    for (unsigned i = 0; i < WINDOW; i++) {
        piece_back(f, f->slots[i].piece);
        f->slots[i] = (struct slot){.ticket = 0};
    }
    f->head = f->n_slots = 0;
}

static void forget_spare(struct fetch *f)
{
    while (f->spare) {
        fetch_piece_free(piece_take(f));
    }
}

static bool is_up(struct fetch *f, uint64_t id)
{
    uint64_t ids[FETCH_PEERS];
    size_t n = f->handler->peers(f->owner, ids, FETCH_PEERS);
    bool up = false;
    for (size_t i = 0; i < n; i++) {
        up = up || ids[i] == id;
    }
    return up;
}

static bool rests(const struct fetch *f, uint64_t id)
{
    for (size_t i = 0; i < FETCH_PEERS; i++) {
        if (f->rests[i].id == id && env_now(f->loop) < f->rests[i].until) {
            return true;
        }
    }
    return false;
}

static void let_rest(struct fetch *f, uint64_t id)
{
    struct rest *place = &f->rests[0];
    for (size_t i = 0; i < FETCH_PEERS; i++) {
        if (f->rests[i].id == id) {
            place = &f->rests[i];
            break;
        }
        place = f->rests[i].until < place->until ? &f->rests[i] : place;
    }
    *place = (struct rest){.id = id, .until = env_now(f->loop) + REST_MS * ENV_MS};
}

/* Whom to ask next: the members in turn; for a file whose sum was wrong one of them, and another one the next time: what one has is damaged. For
 * a manifest only the leader that offered it. 0: nobody now. */
static uint64_t whom(struct fetch *f)
{
    uint64_t ids[FETCH_PEERS];
    size_t n = f->handler->peers(f->owner, ids, FETCH_PEERS), first = f->wrong ? f->wrong : f->turn;
    for (size_t i = 0; i < n; i++) {
        uint64_t id = ids[(first + i) % n];
        if (!rests(f, id) && (f->phase == PHASE_FILE || id == f->offer.leader)) {
            f->turn = (unsigned)((f->turn + i + 1) % n);
            return id;
        }
    }
    return 0;
}

/* Where no rate is set: four fifths of what goes, which is seen again and again, by what comes to the disk. It is the last fifth that costs the commits: they
 * wait many times, where disks and processors never rest. */
static void see_pace(struct fetch *f, size_t n)
{
    uint64_t now = env_now(f->loop), gap = now - f->pace.seen_at;
    f->pace.seen_at = now;
    if (f->pace.rate || n < MESSAGE_PIECE_MAX) { /* many small files go slowly, and cost little */
        return;
    }
    if (f->pace.bytes) { /* what was before the first one says nothing */
        f->pace.seen += gap < GAP_MS * ENV_MS ? gap : GAP_MS * ENV_MS;
    }
    f->pace.bytes += n;
    if (f->pace.seen >= LOOK_MS * ENV_MS && f->pace.bytes >= LOOK_BYTES) {
        f->pace.rate = f->pace.bytes * ENV_S / f->pace.seen / 5 * 4;
        f->pace.until = now + (f->pace.seen < KEEP_S * ENV_S / KEEP ? KEEP * f->pace.seen : KEEP_S * ENV_S);
        f->allowance = 0;
        f->allowed_at = now;
    }
}

/* Bytes a second, as the cluster has it now; 0: as fast as it goes. */
static uint64_t rate_of(struct fetch *f, uint64_t now)
{
    const char *value = state_setting(f->target ? f->target : f->handler->state(f->owner), "fetch_rate");
    uint64_t rate = value ? strtoull(value, NULL, 10) : 0;
    if (f->pace.rate && now >= f->pace.until) {
        f->pace.rate = f->pace.seen = f->pace.bytes = 0;
    }
    return rate ? rate : f->pace.rate;
}

static bool may_ask(struct fetch *f, uint32_t n)
{
    uint64_t now = env_now(f->loop), rate = rate_of(f, now);
    if (!rate) {
        return true;
    }
    uint64_t passed = now - f->allowed_at < ENV_S ? now - f->allowed_at : ENV_S;
    f->allowance += passed * rate / ENV_S;
    f->allowance = f->allowance < rate + MESSAGE_PIECE_MAX ? f->allowance : rate + MESSAGE_PIECE_MAX;
    f->allowed_at = now;
    if (f->allowance < n) { /* it is not the others who let us wait, if all that may be asked for at a time came within its time */
        bool comes = now - f->came_at < STALL_S * ENV_S + WINDOW * (uint64_t)MESSAGE_PIECE_MAX * ENV_S / rate;
        f->moved_at = comes ? now : f->moved_at;
        return false;
    }
    f->allowance -= n;
    return true;
}

static bool ask(struct fetch *f, struct slot *s)
{
    struct message_fetch q = {.ticket = ++f->ticket, .offset = s->offset, .n = s->n};
    struct buf b;
    uint64_t peer = whom(f);
    if (!peer || !may_ask(f, s->n)) {
        return false;
    }
    if (f->phase == PHASE_MANIFEST) {
        q.manifest = index_of(&f->offer);
    } else {
        q.era = f->file.era;
        snprintf(q.name, sizeof q.name, "%s", f->file.name);
    }
    buf_init(&b, MESSAGE_HEAD + 1024);
    message_fetch_put(&b, &q);
    bool sent = f->handler->send(f->owner, peer, &b);
    buf_free(&b);
    if (!sent) {
        let_rest(f, peer);
        return false;
    }
    s->ticket = q.ticket;
    s->peer = peer;
    s->until = env_now(f->loop) + PATIENCE_S * ENV_S;
    return true;
}

/* A connection that was lost meanwhile took the question with it; on a slow one other pieces come first. */
static bool overdue(const struct fetch *f, const struct slot *s)
{
    uint64_t now = env_now(f->loop), asked = s->until - PATIENCE_S * ENV_S;
    return now >= s->until || now - (asked > f->moved_at ? asked : f->moved_at) > STALL_S * ENV_S;
}

/* Those that were asked for and did not come, again; then as many more as the window takes. */
static void ask_more(struct fetch *f)
{
    if (f->busy >= WINDOW) { /* it is not the others who let us wait */
        f->moved_at = f->came_at = env_now(f->loop);
    }
    for (unsigned i = 0; i < f->n_slots; i++) {
        struct slot *s = slot_at(f, i);
        if (!s->piece && s->ticket && (overdue(f, s) || !is_up(f, s->peer))) {
            let_rest(f, s->peer);
            s->ticket = 0;
        }
        if (!s->piece && !s->ticket && !ask(f, s)) {
            return;
        }
    }
    while (f->n_slots < WINDOW && f->next < f->end && f->busy < WINDOW) {
        uint64_t left = f->end - f->next, n = MESSAGE_PIECE_MAX - f->next % MESSAGE_PIECE_MAX; /* the disk has its blocks */
        struct slot *s = slot_at(f, f->n_slots);
        *s = (struct slot){.offset = f->next, .n = (uint32_t)(left < n ? left : n)};
        f->next += s->n;
        f->n_slots++;
        if (!ask(f, s)) {
            return;
        }
    }
}

/* ---- phases ---------------------------------------------------------------------------------------------- */

static void drop_target(struct fetch *f)
{
    forget_slots(f);
    forget_spare(f);
    state_free(f->target);
    f->target = NULL;
    buf_free(&f->manifest);
}

static void end(struct fetch *f)
{
    f->stale += f->phase == PHASE_PREPARE || f->phase == PHASE_FINISH || f->phase == PHASE_MARK;
    drop_target(f);
    offer_free(&f->offer);
    offer_free(&f->newest);
    f->phase = PHASE_IDLE;
    f->whole_file.era = 0;
    f->handler->fetching(f->owner, 0, 0);
    fetch_index_drop(f->index);
    fetch_disk_drop(f->disk);
}

static void begin_manifest(struct fetch *f)
{
    struct offer next = {.there = false};
    move_offer(&next, &f->newest);
    forget_slots(f);
    move_offer(&f->offer, &next);
    buf_free(&f->manifest);
    f->phase = PHASE_MANIFEST;
    f->gone = false;
    f->moved_at = f->came_at = env_now(f->loop);
    f->next = 0;
    f->end = f->offer.m.install_snapshot.data.len;
    ask_more(f);
}

static bool is_newest(const struct fetch *f, const struct filelist_file *file)
{
    return file->at + 1 == filelist_count(f->target->files);
}

static uint64_t size_of(const struct fetch *f, const struct filelist_file *file)
{
    return is_newest(f, file) ? f->target->file.size : file->size;
}

static uint32_t sum_of(const struct fetch *f, const struct filelist_file *file)
{
    return is_newest(f, file) ? f->target->proof.all_crc : file->sum;
}

/* The first file of the manifest that is not here, or not whole. */
static size_t first_lacking(const struct fetch *f)
{
    const struct state *here = f->handler->state(f->owner);
    struct filelist_file file;
    size_t at = 0;
    if (!state_file(here) || !filelist_find(f->target->files, here->file.era, here->file.name, &at)) {
        return 0; /* nothing is here, or all of it was purged elsewhere */
    }
    filelist_get(f->target->files, at, &file);
    bool whole = here->file.size == size_of(f, &file) && here->proof.all_crc == sum_of(f, &file);
    return at + whole;
}

static void count_bytes(struct fetch *f, size_t from)
{
    struct filelist_walk w;
    f->of = f->before = f->done = 0;
    filelist_walk_begin(&w, f->target->files, from);
    while (filelist_walk_next(&w)) {
        f->of += size_of(f, &w.file);
    }
}

/* The newest file of the manifest before this one may have ended in a transaction that was cut since. */
static void take_safe(struct fetch_file *file, const struct state *before)
{
    if (before && state_file(before) && before->file.era == file->era && !strcmp(before->file.name, file->name) &&
        before->boundary < before->file.size) {
        file->safe = before->boundary;
        file->safe_sum = before->proof.boundary_crc;
    }
}

static void file_is_whole(struct fetch *f, uint64_t era, const char *name)
{
    f->whole_file.era = era;
    snprintf(f->whole_file.name, sizeof f->whole_file.name, "%s", name);
}

/* What was fetched whole by the manifest before this one is not even read again: the files that both have, up to the last one that is whole, from
 * the first one on; as few of them as there are, the last of these is the last one that is whole. */
static bool pass_whole_ones(struct fetch *f, const struct state *before)
{
    struct filelist_walk had;
    struct filelist_file *file = &f->walk.file;
    size_t at = 0, last = 0;
    bool any = filelist_walk_next(&f->walk), same = any && f->whole_file.era;
    same = same && filelist_find(before->files, f->whole_file.era, f->whole_file.name, &last) && filelist_find(before->files, file->era, file->name, &at);
    f->whole_file.era = 0;
    same = same && at >= f->from;
    if (same) {
        filelist_walk_begin(&had, before->files, at);
    }
    while (same && any && filelist_walk_next(&had)) {
        same = had.file.at <= last && had.file.era == file->era && !strcmp(had.file.name, file->name) && had.file.size == file->size &&
               had.file.sum == file->sum && !is_newest(f, file);
        if (same) {
            f->done = f->before += file->size;
            file_is_whole(f, file->era, file->name);
            any = filelist_walk_next(&f->walk);
        }
    }
    return any;
}

/* The next file that is to be fetched, or the end of them; the first one of a manifest behind another one, which was `before`. */
static void next_file(struct fetch *f, const struct state *before)
{
    const struct state *here = f->handler->state(f->owner);
    if (!(before ? pass_whole_ones(f, before) : filelist_walk_next(&f->walk))) {
        f->phase = PHASE_MARK;
        fetch_disk_mark(f->disk, index_of(&f->offer));
        return;
    }
    const struct filelist_file *file = &f->walk.file;
    f->file = (struct fetch_file){.era = file->era, .size = size_of(f, file), .sum = sum_of(f, file), .newest = is_newest(f, file)};
    memcpy(f->file.name, file->name, sizeof f->file.name);
    f->wrong = 0;
    if (state_file(here) && here->file.era == f->file.era && !strcmp(here->file.name, f->file.name)) {
        f->file.keep = here->boundary;
        f->file.keep_sum = here->proof.boundary_crc;
    }
    take_safe(&f->file, before);
    f->phase = PHASE_PREPARE;
    fetch_disk_prepare(f->disk, &f->file);
}

static void manifest_came(struct fetch *f)
{
    struct state *target, *before = f->target;
    struct cur c = cur_of(f->manifest.data, f->manifest.len);
    if (f->manifest.err || crc32c_of(0, f->manifest.data, f->manifest.len) != f->offer.sum || state_decode(&c, &target)) {
        env_log(f->loop, ENV_ERROR, "raft: node %" PRIu64 " sent a manifest that cannot be read; another one is waited for", f->offer.leader);
        end(f);
        return;
    }
    f->target = target;
    f->install = (struct install){.index = index_of(&f->offer), .boundary = target->boundary, .size = target->file.size, .files = target->files};
    if (!filelist_count(target->files)) {
        f->install.boundary = f->install.size = 0;
    }
    size_t from = first_lacking(f);
    count_bytes(f, from);
    env_log(f->loop, ENV_INFO, "raft: files are fetched that this node lacks index=%" PRIu64 " files=%zu bytes=%" PRIu64, f->install.index,
            filelist_count(target->files) - from, f->of);
    fetch_disk_keep(f->disk, target->files, from);
    filelist_walk_begin(&f->walk, target->files, from);
    next_file(f, before);
    f->from = from;
    state_free(before);
}

/* What came in order is taken. */
static void take_pieces(struct fetch *f)
{
    while (f->n_slots && slot_at(f, 0)->piece) {
        struct slot *s = slot_at(f, 0);
        if (f->phase == PHASE_MANIFEST) {
            buf_bytes(&f->manifest, s->piece->bytes, s->piece->n);
            piece_back(f, s->piece);
        } else {
            f->busy++;
            fetch_disk_write(f->disk, s->piece);
        }
        *s = (struct slot){.ticket = 0};
        f->head = (f->head + 1) % WINDOW;
        f->n_slots--;
    }
    if (f->n_slots || f->next < f->end) {
        return;
    }
    if (f->phase == PHASE_MANIFEST) {
        manifest_came(f);
    } else if (f->phase == PHASE_FILE) {
        f->phase = PHASE_FINISH;
        fetch_disk_finish(f->disk);
    }
}

/* A newer offer replaces the one at work where that costs nothing, or cannot go on. */
static bool replaced(struct fetch *f, bool now)
{
    if (!f->newest.there) {
        return false;
    }
    if (same_snapshot(&f->offer, &f->newest)) { /* of the next leader, perhaps */
        move_offer(&f->offer, &f->newest);
        return false;
    }
    if (now) {
        begin_manifest(f);
    }
    return now;
}

static void go_on(struct fetch *f)
{
    if (f->phase == PHASE_MANIFEST || f->phase == PHASE_FILE) {
        bool deaf = f->phase == PHASE_MANIFEST && f->newest.leader != f->offer.leader;
        bool stalls = env_now(f->loop) - f->moved_at > STALL_S * ENV_S;
        if (!replaced(f, f->gone || deaf || stalls)) {
            ask_more(f);
            take_pieces(f);
        }
    }
}

/* A file that was whole here when the manifest came may have a tail since, which was cut before the snapshot: it is fetched after all. */
static bool lacks_more(const struct fetch *f)
{
    return first_lacking(f) < f->from;
}

static void say_whole(struct fetch *f)
{
    if (replaced(f, true)) {
        return;
    }
    if (lacks_more(f)) {
        move_offer(&f->newest, &f->offer);
        begin_manifest(f);
        return;
    }
    f->handler->whole(f->owner);
}

static void ticked(struct env_timer *timer)
{
    struct fetch *f = CONTAINER_OF(timer, struct fetch, tick);
    if (f->phase == PHASE_IDLE) {
        fetch_disk_drop(f->disk); /* LEFTOVER_S are over */
        return;
    }
    env_timer_start(timer, TICK_MS * ENV_MS);
    if (f->phase == PHASE_TAKEN) { /* it is being put in place */
        return;
    }
    if (f->phase != PHASE_WHOLE && f->handler->state(f->owner)->index >= index_of(&f->offer) &&
        (!f->newest.there || f->handler->state(f->owner)->index >= index_of(&f->newest))) {
        env_log(f->loop, ENV_INFO, "raft: the log has gone on by itself, no files are fetched any more");
        end(f);
        return;
    }
    if (f->phase == PHASE_WHOLE) {
        say_whole(f);
        return;
    }
    go_on(f);
}

/* ---- what the disk says ----------------------------------------------------------------------------------- */

static void disk_prepared(void *owner, uint64_t at)
{
    struct fetch *f = owner;
    if (f->stale) {
        f->stale--;
        return;
    }
    f->phase = PHASE_FILE;
    f->moved_at = f->came_at = env_now(f->loop);
    f->next = at;
    f->end = f->file.size;
    f->done = f->before + at;
    fetch_index_begin(f->index, &f->file, at);
    go_on(f);
}

static void disk_written(void *owner, struct fetch_piece *piece)
{
    struct fetch *f = owner;
    f->done += piece->n;
    see_pace(f, piece->n);
    fetch_index_there(f->index, piece);
    go_on(f);
}

static void disk_finished(void *owner, bool right)
{
    struct fetch *f = owner;
    if (f->stale) {
        f->stale--;
        return;
    }
    if (!right) {
        if (replaced(f, true)) {
            return;
        }
        f->wrong++;
        f->file.keep = f->file.safe = 0;
        f->phase = PHASE_PREPARE;
        fetch_disk_prepare(f->disk, &f->file);
        return;
    }
    f->before += f->file.size;
    f->done = f->before;
    if (!f->file.newest) {
        file_is_whole(f, f->file.era, f->file.name);
    }
    fetch_index_end(f->index, f->file.newest ? f->target->boundary : f->file.size);
    if (f->file.newest) {
        f->phase = PHASE_INDEX;
    } else {
        next_file(f, NULL);
    }
}

/* ---- and their indexes ------------------------------------------------------------------------------------ */

static void index_made(void *owner, const struct fetch_file *file, struct buf *index)
{
    struct fetch *f = owner;
    fetch_disk_index(f->disk, file, index);
    if (f->phase == PHASE_INDEX && file->newest) {
        next_file(f, NULL);
    }
}

static void index_passed(void *owner, struct fetch_piece *piece)
{
    struct fetch *f = owner;
    f->busy--;
    piece_back(f, piece);
    if (f->phase == PHASE_IDLE) {
        forget_spare(f);
    }
    go_on(f);
}

static void disk_marked(void *owner)
{
    struct fetch *f = owner;
    if (f->stale) {
        f->stale--;
        return;
    }
    f->phase = PHASE_WHOLE;
    env_log(f->loop, ENV_INFO, "raft: all fetched files are here index=%" PRIu64, f->install.index);
    say_whole(f);
}

/* ---- for other members ------------------------------------------------------------------------------------ */

/* To each member what its connection takes: one that reads no more holds up nobody else. A connection that has gone down takes nothing for
 * ever; its member asks again. */
static void send_answers(struct fetch *f)
{
    struct answer **at = &f->answers;
    while (*at) {
        struct answer *a = *at;
        if (is_up(f, a->peer) && !f->handler->send(f->owner, a->peer, &a->frame)) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        f->n_answers--;
        buf_free(&a->frame);
        mem_free(a);
    }
    f->answers_tail = at;
    if (f->answers) {
        env_timer_start(&f->retry, ANSWER_RETRY_MS * ENV_MS);
    }
}

static void retry(struct env_timer *timer)
{
    send_answers(CONTAINER_OF(timer, struct fetch, retry));
}

static void answer_frame(struct fetch *f, uint64_t peer, struct buf *frame)
{
    struct answer *a = mem_new(sizeof *a);
    a->peer = peer;
    buf_move(&a->frame, frame);
    *f->answers_tail = a;
    f->answers_tail = &a->next;
    f->n_answers++;
    send_answers(f);
}

static void answer(struct fetch *f, uint64_t peer, const struct message_piece *p)
{
    struct buf frame;
    buf_init(&frame, MESSAGE_HEAD + MESSAGE_PIECE_MAX + 64);
    message_piece_put(&frame, p);
    answer_frame(f, peer, &frame);
}

static void disk_read(void *owner, uint64_t peer, uint64_t ticket, int status, struct buf *frame)
{
    struct fetch *f = owner;
    f->n_reading--;
    if (frame->len) {
        answer_frame(f, peer, frame);
    } else {
        struct message_piece p = {.ticket = ticket, .status = status == E_NOTFOUND ? PIECE_GONE : PIECE_LATER};
        answer(f, peer, &p);
    }
}

static void answer_manifest(struct fetch *f, uint64_t peer, const struct message_fetch *q)
{
    const struct snapshot *s = f->handler->snapshot(f->owner);
    struct message_piece p = {.ticket = q->ticket, .status = PIECE_GONE};
    if (s && s->index == q->manifest && q->offset <= s->data.len && q->n <= s->data.len - q->offset) {
        p = (struct message_piece){.ticket = q->ticket, .status = PIECE_HERE, .data = s->data.data + q->offset, .n = q->n};
    }
    answer(f, peer, &p);
}

/* Is it a file of ours, with so many committed bytes? One that has ended will not have more. */
static enum piece look_up(struct fetch *f, const struct message_fetch *q)
{
    const struct state *s = f->handler->state(f->owner);
    struct filelist_file file;
    size_t at;
    if (!q->era || !filelist_find(s->files, q->era, q->name, &at)) {
        return state_file(s) && q->era <= s->file.era ? PIECE_GONE : PIECE_LATER;
    }
    filelist_get(s->files, at, &file);
    bool grows = at + 1 == filelist_count(s->files);
    return q->offset + q->n <= (grows ? s->file.size : file.size) ? PIECE_HERE : grows ? PIECE_LATER : PIECE_GONE;
}

void fetch_asked(struct fetch *f, uint64_t peer, const struct message_fetch *q)
{
    struct message_piece p = {.ticket = q->ticket, .status = PIECE_LATER};
    if (f->n_answers + f->n_reading >= ANSWERS_MAX) {
        return; /* it asks again */
    }
    if (q->manifest) {
        answer_manifest(f, peer, q);
        return;
    }
    p.status = look_up(f, q);
    if (p.status == PIECE_HERE) {
        f->n_reading++;
        fetch_disk_read(f->disk, peer, q->ticket, q->era, q->name, q->offset, q->n);
    } else {
        answer(f, peer, &p);
    }
}

/* ---- what the owner calls --------------------------------------------------------------------------------- */

void fetch_offered(struct fetch *f, uint64_t leader, struct raft_message *m, uint32_t sum)
{
    struct offer o = {.there = true, .leader = leader, .m = *m, .sum = sum};
    if (!m->install_snapshot.data.len || m->install_snapshot.data.len > SNAPSHOT_DATA_MAX) {
        env_log(f->loop, ENV_ERROR, "raft: node %" PRIu64 " offers a manifest of %zu bytes, %u are allowed", leader, m->install_snapshot.data.len,
                (unsigned)SNAPSHOT_DATA_MAX);
        offer_free(&o);
        return;
    }
    f->handler->fetching(f->owner, leader, m->install_snapshot.term);
    move_offer(&f->newest, &o);
    if (f->phase == PHASE_IDLE) {
        f->allowed_at = env_now(f->loop);
        begin_manifest(f);
        env_timer_start(&f->tick, TICK_MS * ENV_MS);
    } else if (f->phase == PHASE_WHOLE) {
        (void)replaced(f, true);
    } else {
        go_on(f);
    }
}

void fetch_came(struct fetch *f, uint64_t peer, const struct message_piece *p)
{
    struct slot *s = NULL;
    for (unsigned i = 0; i < f->n_slots; i++) {
        s = slot_at(f, i)->ticket == p->ticket && slot_at(f, i)->peer == peer ? slot_at(f, i) : s;
    }
    if (!s || s->piece || !p->ticket) {
        return;
    }
    if (p->status == PIECE_HERE && p->n == s->n) {
        s->piece = piece_take(f);
        s->piece->n = p->n;
        s->piece->end = s->offset + p->n;
        memcpy(s->piece->bytes, p->data, p->n);
        f->moved_at = f->came_at = env_now(f->loop);
    } else {
        f->gone = f->gone || p->status == PIECE_GONE;
        let_rest(f, peer);
        s->ticket = 0;
    }
    take_pieces(f);
    go_on(f);
}

bool fetch_take(struct fetch *f, uint64_t term, struct raft_message *m, const struct install **install)
{
    if (f->phase != PHASE_WHOLE || f->offer.m.install_snapshot.term != term || lacks_more(f)) {
        return false;
    }
    *m = f->offer.m;
    m->server_id = f->offer.leader;
    struct raft_install_snapshot *s = &m->install_snapshot;
    s->data.base = raft_malloc(f->manifest.len ? f->manifest.len : 1);
    CHECK(s->data.base);
    memcpy(s->data.base, f->manifest.data, f->manifest.len);
    s->data.len = f->manifest.len;
    f->phase = PHASE_TAKEN;
    f->offer.there = false; /* the configuration is the message's */
    f->offer.m.install_snapshot.conf = (struct raft_configuration){.n = 0};
    *install = &f->install;
    return true;
}

void fetch_installed(struct fetch *f)
{
    if (f->phase != PHASE_IDLE) {
        end(f);
    }
}

struct fetch_progress fetch_progress(const struct fetch *f)
{
    return (struct fetch_progress){.active = f->phase != PHASE_IDLE, .index = index_of(&f->offer), .done = f->done, .of = f->of};
}

static const struct fetch_disk_handler disk_handler = {
    .prepared = disk_prepared, .written = disk_written, .finished = disk_finished, .marked = disk_marked, .read = disk_read};

static const struct fetch_index_handler index_handler = {.made = index_made, .passed = index_passed};

int fetch_open(struct env *loop, const char *data_dir, const struct fetch_handler *handler, void *owner, struct fetch **out, struct errmsg *em)
{
    struct fetch *f = mem_new(sizeof *f);
    f->loop = loop;
    f->handler = handler;
    f->owner = owner;
    f->answers_tail = &f->answers;
    buf_init(&f->manifest, SNAPSHOT_DATA_MAX);
    int rv = fetch_disk_open(loop, data_dir, &disk_handler, f, &f->disk);
    rv = rv ? rv : fetch_index_open(loop, data_dir, &index_handler, f, &f->index);
    rv = rv ? rv : env_timer_open(loop, &f->tick, ticked);
    rv = rv ? rv : env_timer_open(loop, &f->retry, retry);
    if (rv) {
        return err_set(em, rv, "cannot start the thread that fetches files: %s", err_text(rv));
    }
    env_timer_start(&f->tick, LEFTOVER_S * ENV_S);
    *out = f;
    return 0;
}

void fetch_close(struct fetch *f)
{
    env_timer_close(&f->tick);
    env_timer_close(&f->retry);
    fetch_index_close(f->index);
    fetch_disk_close(f->disk);
    drop_target(f);
    offer_free(&f->offer);
    offer_free(&f->newest);
    while (f->answers) {
        struct answer *a = f->answers;
        f->answers = a->next;
        buf_free(&a->frame);
        mem_free(a);
    }
    mem_free(f);
}
