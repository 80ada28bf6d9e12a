/* recover.c: see recover.h.
 *
 * Happy path: the data directory's owner's rights are taken, so that a root's hands leave no files that the daemon cannot read; the directory is locked; what it holds
 * is read and shown; an operator types yes; it is done.
 *
 * Failure modes: the node runs, its data cannot be read, it is no member, or needs nobody else: the reason, and nothing is changed. No terminal to ask on, or another
 * answer than yes: likewise. */
#include "node/recover.h"

#include "node/data_dir.h"
#include "node/env_uv.h"
#include "node/identity.h"

#include "protocol/base/buf.h"
#include "raft/memory.h"
#include "raft/recover.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_REFUSED = 2, GTIDS_SHOWN = 2000, ANSWER_SIZE = 16, LIST_SIZE = 200 };

static int refuse(const char *text)
{
    fflush(stdout);
    fprintf(stderr, "holdfastd: %s\n", text);
    return EXIT_REFUSED;
}

/* ---- what is there ---- */

static const char *role_text(int role)
{
    return role == RAFT_VOTER ? "voter" : role == RAFT_STANDBY ? "standby" : "spare";
}

/* By id: the one after that of `id`; NULL. */
static const struct raft_server *next_member(const struct recover *r, uint64_t id)
{
    const struct raft_server *next = NULL;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        const struct raft_server *s = &r->configuration.servers[i];
        if (s->id > id && (!next || s->id < next->id)) {
            next = s;
        }
    }
    return next;
}

static void show_members(const struct recover *r)
{
    const char *title = "members";
    for (const struct raft_server *s = next_member(r, 0); s; s = next_member(r, s->id)) {
        struct formation_member m = {0};
        (void)formation_address_parse(s->address, &m);
        printf("  %-12s %llu  %s  %s%s\n", title, s->id, m.address, role_text(s->role), s->id == r->formation.self ? ", this node" : "");
        title = "";
    }
}

static void show_files(const struct state *s)
{
    const struct state_era *era = state_era(s);
    const struct state_file *file = state_file(s);
    struct buf gtids;
    if (!file) {
        printf("  %-12s none\n", "files");
        return;
    }
    printf("  %-12s era %" PRIu64 ", %s %s; the newest is %s, its last transaction ends at %" PRIu64 "\n", "files", file->era,
           flavour_name(era->origin.flavour), era->origin.version, file->name, s->boundary);
    buf_init(&gtids, SIZE_MAX / 2);
    if (s->executed) {
        gtid_set_print(s->executed, &gtids);
    }
    const char *text = buf_cstr(&gtids);
    printf("  %-12s %.*s%s\n", "GTIDs", GTIDS_SHOWN, text[0] ? text : "none", strlen(text) > GTIDS_SHOWN ? " ..." : "");
    buf_free(&gtids);
}

static void show(const struct recover *r, const char *dir)
{
    const struct state *s = r->state;
    printf("Node %" PRIu64 " of cluster %s (%s)\n\n", r->formation.self, r->formation.cluster, dir);
    show_members(r);
    printf("  %-12s ends with entry %" PRIu64 " of term %" PRIu64 "\n", "log", r->last_index, r->last_term);
    show_files(s);
    if (s->has_source) {
        printf("  %-12s %s:%u%s\n", "source", s->source.host, s->source.port, s->source.running ? "" : ", not followed");
    }
}

/* ---- what may be lost ---- */

struct voters {
    size_t n, others;
    bool self;
    char list[LIST_SIZE]; /* "1 and 2" */
};

static struct voters count_voters(const struct recover *r)
{
    struct voters v = {0};
    size_t at = 0, left;
    for (unsigned i = 0; i < r->configuration.n; i++) {
        const struct raft_server *s = &r->configuration.servers[i];
        v.n += s->role == RAFT_VOTER;
        v.self = v.self || (s->role == RAFT_VOTER && s->id == r->formation.self);
    }
    left = v.others = v.n - v.self;
    for (const struct raft_server *s = next_member(r, 0); s; s = next_member(r, s->id)) {
        if (s->role == RAFT_VOTER && s->id != r->formation.self && at < sizeof v.list) {
            at += (size_t)snprintf(v.list + at, sizeof v.list - at, "%llu%s", s->id, --left > 1 ? ", " : left == 1 ? " and " : "");
        }
    }
    return v;
}

/* As this node heard it last. */
static void show_known(const struct recover *r)
{
    for (const struct raft_server *s = next_member(r, 0); s; s = next_member(r, s->id)) {
        struct formation_member m = {0};
        const struct memory_row *row = formation_address_parse(s->address, &m) ? NULL : memory_of(rio_memory(r->rio), s->id, m.incarnation);
        if (s->id == r->formation.self) {
            continue;
        }
        if (!row) {
            printf("  What node %llu had is not known here.\n", s->id);
        } else {
            printf("  Node %llu is known to have had all up to entry %" PRIu64 "%s; it may have had more.\n", s->id, row->held,
                   row->held > r->last_index ? ", which is more than this node has" : "");
        }
    }
}

static void show_loss(const struct recover *r)
{
    struct voters v = count_voters(r);
    size_t majority = v.n / 2 + 1;
    printf("\nWhat may be lost\n\n");
    if (v.others < majority) {
        printf("  Nothing that was acknowledged to the source: that took %zu of %zu voters, this node among them.\n", majority, v.n);
    } else {
        printf("  All that node%s %s had and this one has not. An acknowledgement takes %zu of %zu voters, and this node need not have been one of them%s:\n"
               "  what came behind entry %" PRIu64 " is gone, also if the source's clients were told that it is safe. The source, if it\n"
               "  lives, has it still, and sends it again.\n",
               v.others == 1 ? "" : "s", v.list, majority, v.n, v.self ? "" : " (it is no voter)", r->last_index);
        show_known(r);
    }
    printf("\n  As long as %zu of the %zu voters can be started with the data that they had, start them instead: that is a quorum, and nothing is lost.\n", majority, v.n);
    printf("\nWhat becomes of it\n\n"
           "  A new cluster with another name, node %" PRIu64 " its only voter, and all that this node's log holds. Accounts, settings and the source stay; the source sees\n"
           "  another replica (its server_id and server_uuid are new). Members of cluster %s are refused if they come back: their data\n"
           "  directories have to be emptied. New members join with: holdfast member add ID ADDR\n",
           r->formation.self, r->formation.cluster);
}

/* ---- the question ---- */

static bool is_confirmed(void)
{
    char answer[ANSWER_SIZE] = "";
    printf("\nThis cannot be taken back. Type yes to go on: ");
    fflush(stdout);
    if (!fgets(answer, sizeof answer, stdin)) {
        return false;
    }
    answer[strcspn(answer, "\n")] = 0;
    return !strcmp(answer, "yes");
}

static int force(struct recover *r, const char *dir, bool yes)
{
    struct errmsg em;
    char before[UUID_TEXT_SIZE];
    if (r->formation.phase == FORMATION_ALONE) {
        printf("It was decided before that node %" PRIu64 " is a cluster of its own; that is finished now.\n", r->formation.self);
    } else {
        show(r, dir);
        show_loss(r);
        if (!yes && !isatty(STDIN_FILENO)) {
            return refuse("nothing was changed: standard input is no terminal to ask on; --yes says that all of this is meant");
        }
        if (!yes && !is_confirmed()) {
            return refuse("nothing was changed");
        }
    }
    snprintf(before, sizeof before, "%s", r->formation.cluster);
    if (recover_force(r, &em)) {
        return refuse(em.text);
    }
    printf("\nNode %" PRIu64 " is cluster %s now, alone. Start holdfastd; then see: holdfast status\n", r->formation.self, r->formation.cluster);
    return EXIT_SUCCESS;
}

/* ---- the program ---- */

/* Files that are made here must be the daemon's. */
static int become_owner(const char *dir, struct errmsg *em)
{
    struct stat st;
    char *path = NULL;
    if (asprintf(&path, "%s/node", dir) < 0 || stat(path, &st)) {
        int failed = errno;
        free(path);
        return err_set(em, E_INVALID, "%s is no data directory of a node: %s/node: %s", dir, dir, strerror(failed));
    }
    free(path);
    bool other = geteuid() == 0 && st.st_uid != 0;
    if (other && (setgroups(0, NULL) || setgid(st.st_gid) || setuid(st.st_uid))) {
        return err_errno(em, errno, "cannot become the owner of %s", dir);
    }
    return 0;
}

static int in_env(struct env *env, const char *dir, bool yes)
{
    struct errmsg em;
    struct identity id = {0};
    struct recover r;
    if (identity_read(env, dir, &id, &em)) {
        return refuse(em.text);
    }
    int rv = recover_open(env, dir, id.node_id, id.incarnation, &r, &em);
    if (rv && rv != E_INVALID) {
        return refuse(em.text);
    }
    int code = rv ? refuse(em.text) : force(&r, dir, yes);
    recover_close(&r);
    return code;
}

int recover_data_dir(const char *dir, bool yes)
{
    struct errmsg em;
    if (become_owner(dir, &em)) {
        return refuse(em.text);
    }
    int lock = data_dir_lock(dir, false, &em);
    if (lock < 0) {
        return refuse(em.text);
    }
    struct env *env = env_uv_main(ENV_WARN);
    if (!env) {
        close(lock);
        return refuse(strerror(errno));
    }
    int code = in_env(env, dir, yes);
    env_uv_free(env);
    close(lock);
    return code;
}
