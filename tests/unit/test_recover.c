/* test_recover: what is left of a cluster becomes a cluster of its own: all that its log holds stays, the members and the name are others, and whatever
 * call fails and wherever the process ends, there is the old cluster or the new one. */
#include "node/data_dir.h"
#include "node/identity.h"
#include "node/recover.h"
#include "raft/level.h"
#include "raft/memory.h"
#include "raft/recover.h"

#include "protocol/base/crc.h"
#include "protocol/base/mem.h"
#include "tests/unit/env_test.h"
#include "tests/unit/sim_life.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OLD_CLUSTER "3e11fa47-71ca-41e1-9e33-c80aa9429562"

enum { SELF = 3, RANDOM_PART = 0xabc, COUNTER = 2, TEXT_MAX = 4096, FAILED = 70, NOT_REACHED = 71, STEPS_MAX = 200 };

/* How the directory that is to be recovered differs from that of a voter of three. */
struct variation {
    enum formation_phase phase; /* 0: FORMED */
    unsigned voters;            /* 0: 3 */
    bool empty, retired, replaced, strange;
    uint32_t level; /* of the cluster's features */
    bool snapshot;  /* of all of the log */
};

static const struct rio_handler no_handler = {0};
static unsigned dirs;

/* ---- a data directory ---- */

static void address_of(uint64_t id, char *text, size_t size)
{
    struct formation_member m = {.id = id, .incarnation = id == SELF ? RANDOM_PART : 0x100 + id};
    snprintf(m.address, sizeof m.address, "10.0.0.%u:4307", (unsigned)id);
    formation_address(&m, text, size);
}

static struct wal_record configuration_record(const struct variation *v)
{
    struct raft_configuration configuration;
    struct raft_buffer bytes;
    raft_configuration_init(&configuration);
    for (unsigned id = SELF; id > SELF - (v->voters ? v->voters : 3); id--) {
        char address[FORMATION_ADDRESS + 32];
        address_of(v->replaced && id == SELF ? 9 : id, address, sizeof address);
        UNIT_INT(raft_configuration_add(&configuration, id, address, RAFT_VOTER), 0);
    }
    UNIT_INT(raft_configuration_encode(&configuration, &bytes), 0);
    raft_configuration_close(&configuration);
    return (struct wal_record){.type = RAFT_CHANGE, .data = bytes.base, .len = bytes.len};
}

static void put(struct rio *rio, struct buf *b)
{
    struct wal_record record = {.type = RAFT_COMMAND, .data = b->data, .len = b->len};
    UNIT_INT(b->err, 0);
    rio_extend(rio, &record, 1);
    buf_free(b);
}

static void put_member(struct rio *rio, uint64_t id, enum member_goal goal)
{
    struct entry_member m = {.verb = MEMBER_PLAN, .id = id, .goal = goal, .fresh = goal != MEMBER_GONE};
    struct buf b;
    snprintf(m.address, sizeof m.address, "%s", goal == MEMBER_GONE ? "" : "10.0.0.9:4307");
    buf_init(&b, ENTRY_MAX);
    entry_put_member(&b, &m);
    put(rio, &b);
}

static void put_log(struct rio *rio, const struct variation *v)
{
    struct wal_record first = configuration_record(v);
    struct buf b;
    rio_extend(rio, &first, 1);
    raft_free((void *)(uintptr_t)first.data);
    buf_init(&b, ENTRY_MAX);
    entry_put_setting(&b, "cluster_uuid", OLD_CLUSTER);
    put(rio, &b);
    for (unsigned i = 0; i < COUNTER; i++) { /* two that were replaced once */
        put_member(rio, 1 + i, MEMBER_VOTER);
    }
    put_member(rio, v->retired ? SELF : 8, MEMBER_GONE);
    if (v->level) {
        struct entry_member m = {.verb = MEMBER_LEVEL, .level = v->level};
        buf_init(&b, ENTRY_MAX);
        entry_put_member(&b, &m);
        put(rio, &b);
    }
    if (v->strange) {
        buf_init(&b, ENTRY_MAX);
        buf_str(&b, "no entry of any kind that is known here");
        put(rio, &b);
    }
}

/* As if all of it had been applied; the log stays. */
static void put_snapshot(struct env *env, const char *dir, struct rio *rio)
{
    const struct wal_found *found = rio_found(rio);
    const struct wal_record *last = &found->records[found->n - 1];
    struct snapshot s = {.index = last->index, .term = last->term, .configuration_index = 1};
    struct state *state = state_new();
    struct state_effect effect;
    struct errmsg em;
    for (size_t i = 1; i < found->n; i++) {
        UNIT_INT(state_apply(state, found->records[i].index, found->records[i].data, found->records[i].len, &effect), 0);
    }
    s.servers = mem_array(3, sizeof *s.servers);
    for (s.n_servers = 0; s.n_servers < 3; s.n_servers++) {
        s.servers[s.n_servers] = (struct snapshot_server){.id = s.n_servers + 1, .role = RAFT_VOTER};
        address_of(s.n_servers + 1, s.servers[s.n_servers].address, sizeof s.servers->address);
    }
    buf_init(&s.data, SNAPSHOT_DATA_MAX);
    state_encode(state, &s.data);
    UNIT_INT(snapshot_write(env, dir, &s, &em), 0);
    snapshot_free(&s);
    state_free(state);
}

static void prepare_in(struct env *env, const char *dir, const struct variation *v)
{
    char *raft = mem_printf("%s/raft", dir);
    struct formation_member members[3];
    struct formation f;
    struct errmsg em;
    struct rio *rio;
    memset(members, 0, sizeof members);
    UNIT_INT(env_make_dir(env, dir, "raft", &em), 0);
    for (uint64_t i = 0; i < 3; i++) {
        members[i] = (struct formation_member){.id = i + 1, .incarnation = i + 1 == SELF ? RANDOM_PART : 0x101 + i};
        snprintf(members[i].address, sizeof members[i].address, "10.0.0.%u:4307", (unsigned)i + 1);
    }
    UNIT_REQUIRE(rio_open(env, raft, &no_handler, NULL, &rio, &em) == 0);
    UNIT_REQUIRE(formation_open(env, raft, SELF, RANDOM_PART, members, 3, &f, &em) == 0);
    if (v->phase != FORMATION_EMPTY) {
        formation_joined(&f, OLD_CLUSTER, members, 3);
    }
    if (!v->phase) {
        formation_formed(&f);
    }
    if (v->phase == FORMATION_REMOVED) {
        formation_removed(&f, "was told to go");
    }
    if (!v->empty) {
        put_log(rio, v);
    }
    if (v->snapshot) {
        put_snapshot(env, raft, rio);
    }
    formation_close(&f);
    UNIT_INT(rio_remember(rio, &em), 0);
    memory_take(rio_memory(rio), &(struct memory_row){.id = 1, .incarnation = 0x101, .held = 9, .term = 9}, 1);
    memory_store(rio_memory(rio));
    rio_free(rio);
    mem_free(raft);
}

/* A real directory. */
static char *prepare(const struct variation *v)
{
    char *dir = mem_printf("%s/%u", unit_tmpdir(), ++dirs);
    struct env *env = test_env_new(1);
    UNIT_TRUE(mkdir(dir, 0700) == 0);
    prepare_in(env, dir, v);
    UNIT_UINT(test_env_open_files(env), 0);
    test_env_free(env);
    return dir;
}

/* ---- what it is afterwards ---- */

static bool says_alone(const struct raft_configuration *configuration, uint64_t incarnation)
{
    struct formation_member m = {0};
    const struct raft_server *me = configuration_find(configuration, SELF);
    return configuration->n == 1 && me && me->role == RAFT_VOTER && !formation_address_parse(me->address, &m) && m.incarnation == incarnation &&
           !strcmp(m.address, "10.0.0.3:4307");
}

static bool holds_all(const struct state *s)
{
    const char *name = state_setting(s, "cluster_uuid");
    return name && !strcmp(name, OLD_CLUSTER) && state_members_retired(&s->members, 8);
}

enum found { FOUND_WRONG, FOUND_OLD, FOUND_NEW };

/* As a start does it: what was decided is finished. Then it is the old cluster's node, untouched, or the new one's, whole. */
static enum found look_in(struct env *env, const char *dir)
{
    struct recover r;
    struct errmsg em = {""};
    int rv = recover_open(env, dir, SELF, RANDOM_PART, &r, &em);
    enum found found = FOUND_WRONG;
    if (rv && rv != E_INVALID) {
        fprintf(stderr, "%s: %s\n", dir, em.text);
        return found;
    }
    if (r.formation.phase == FORMATION_FORMED && !strcmp(r.formation.cluster, OLD_CLUSTER)) {
        found = !rv && r.formation.n == 3 && r.configuration.n == 3 && r.state->members.counter == COUNTER && holds_all(r.state) ? FOUND_OLD : FOUND_WRONG;
    } else if (r.formation.phase == FORMATION_ALONE) {
        found = !recover_finish(r.rio, &r.formation, &em) ? FOUND_NEW : FOUND_WRONG;
    } else if (r.formation.phase == FORMATION_FORMED && r.formation.cluster[0]) {
        found = FOUND_NEW;
    }
    recover_close(&r);
    if (found == FOUND_NEW) { /* read again: what stands on the disk */
        uint64_t incarnation = (COUNTER + 1ull) << INCARNATION_RANDOM_BITS | RANDOM_PART;
        rv = recover_open(env, dir, SELF, RANDOM_PART, &r, &em);
        bool same = rv == E_INVALID && strstr(em.text, "is the only voter") && r.formation.phase == FORMATION_FORMED && r.formation.n == 1 &&
                    r.formation.members[0].incarnation == incarnation && strcmp(r.formation.cluster, OLD_CLUSTER) != 0;
        found = same && says_alone(&r.configuration, incarnation) && r.state->members.counter == COUNTER + 1 && holds_all(r.state) ? FOUND_NEW : FOUND_WRONG;
        recover_close(&r);
    }
    return found;
}

static enum found look(const char *dir)
{
    struct env *env = test_env_new(1);
    enum found found = look_in(env, dir);
    UNIT_UINT(test_env_open_files(env), 0);
    test_env_free(env);
    return found;
}

static void run_command(const char *const *command)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(command[0], (char *const *)(uintptr_t)command);
        _exit(1);
    }
    UNIT_TRUE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void remove_dir(char *dir)
{
    run_command((const char *const[]){"rm", "-rf", dir, NULL});
    mem_free(dir);
}

static char *copy_of(const char *dir)
{
    char *copy = mem_printf("%s/%u", unit_tmpdir(), ++dirs);
    run_command((const char *const[]){"cp", "-a", "--sparse=always", dir, copy, NULL});
    return copy;
}

/* ---- it is done ---- */

/* In a process of its own, whose call `fail_at` fails. How it ended. */
static int life(const char *dir, uint64_t fail_at)
{
    int status = -1, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0) {
        struct recover r;
        struct errmsg em;
        struct env *env = test_env_new(fail_at + 1);
        test_env_fatal_to(env, null);
        test_env_fail(env, fail_at, EIO, true);
        int rv = recover_open(env, dir, SELF, RANDOM_PART, &r, &em);
        rv = rv ? rv : recover_force(&r, &em);
        _exit(rv ? FAILED : fail_at && !test_env_failed(env) ? NOT_REACHED : 0);
    }
    close(null);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void one_becomes_a_cluster(void)
{
    struct variation v = {0};
    struct recover r;
    struct errmsg em = {""};
    char *dir = prepare(&v);
    UNIT_INT(look(dir), FOUND_OLD);
    struct env *env = test_env_new(1);
    UNIT_REQUIRE(recover_open(env, dir, SELF, RANDOM_PART, &r, &em) == 0);
    uint64_t last = r.last_index, term = r.last_term;
    UNIT_UINT(r.configuration.n, 3);
    UNIT_UINT(last, 3 + COUNTER);
    UNIT_UINT(r.state->index, last);
    UNIT_INT(recover_force(&r, &em), 0);
    UNIT_TRUE(strcmp(r.formation.cluster, OLD_CLUSTER) != 0);
    recover_close(&r);
    UNIT_INT(recover_open(env, dir, SELF, RANDOM_PART, &r, &em), E_INVALID); /* the only voter: nothing to force */
    UNIT_UINT(r.last_index, last + 2);
    UNIT_UINT(r.last_term, term + 1);
    UNIT_TRUE(r.state->members.n_plans && state_members_plan(&r.state->members, 1)); /* who was awaited still is */
    recover_close(&r);
    UNIT_UINT(test_env_open_files(env), 0);
    test_env_free(env);
    UNIT_INT(look(dir), FOUND_NEW);
    remove_dir(dir);
}

/* Entries that the snapshot covers are not applied twice. */
static void what_the_snapshot_has_counts(void)
{
    struct variation v = {.snapshot = true, .level = FEATURE_LEVEL};
    char *dir = prepare(&v);
    UNIT_INT(look(dir), FOUND_OLD);
    UNIT_INT(life(dir, 0), 0);
    UNIT_INT(look(dir), FOUND_NEW);
    remove_dir(dir);
}

static void refused(const struct variation *v, int want, const char *text)
{
    struct recover r;
    struct errmsg em = {""};
    char *dir = prepare(v);
    struct env *env = test_env_new(1);
    int rv = recover_open(env, dir, SELF, RANDOM_PART, &r, &em);
    UNIT_INT(rv, want);
    if (!UNIT_TRUE(strstr(em.text, text) != NULL)) {
        printf("# expected '%s', got '%s'\n", text, em.text);
    }
    if (!rv || rv == E_INVALID) {
        recover_close(&r);
    }
    UNIT_UINT(test_env_open_files(env), 0);
    test_env_free(env);
    remove_dir(dir);
}

static void who_cannot_be_one_is_told(void)
{
    refused(&(struct variation){.phase = FORMATION_EMPTY, .empty = true}, E_INVALID, "has not been a member");
    refused(&(struct variation){.phase = FORMATION_JOINED, .empty = true}, E_INVALID, "has not got anything");
    refused(&(struct variation){.retired = true}, E_INVALID, "was removed from cluster");
    refused(&(struct variation){.phase = FORMATION_REMOVED}, E_INVALID, "was told to go"); /* and its log does not say so */
    refused(&(struct variation){.replaced = true}, E_INVALID, "removed or replaced");
    refused(&(struct variation){.voters = 1}, E_INVALID, "is the only voter");
    refused(&(struct variation){.strange = true}, E_MALFORMED, "cannot be read");
    refused(&(struct variation){.phase = FORMATION_JOINED}, 0, "");
}

/* The log of a cluster that has been upgraded: the older program does not touch it, a start does not either (raft/cluster.c asks the same). */
static void a_newer_level_is_refused(void)
{
    const char *text = "the cluster has feature level 2, this holdfastd knows 1: install";
    CU_ASSERT_TRUE_FATAL(FEATURE_LEVEL == 1);
    refused(&(struct variation){.level = 2}, E_VERSION, text);
    refused(&(struct variation){.level = 2, .snapshot = true}, E_VERSION, text);
    refused(&(struct variation){.level = 1}, 0, "");
    for (unsigned version = 0; version <= 2; version++) {
        struct entry_head head;
        struct cur body;
        struct buf b;
        buf_init(&b, ENTRY_MAX);
        entry_noop(&b);
        entry_set_level(&b, 2); /* no program writes what it cannot read */
        UNIT_INT(b.data[0], 1);
        b.data[0] = (uint8_t)version;
        UNIT_INT(entry_read(b.data, b.len, &head, &body), version == 1 ? 0 : E_VERSION);
        buf_free(&b);
    }
}

/* ---- at every call ---- */

#define SIM_DIR "/d"

static void sim_prepares(const struct sim_life *life, void *arg)
{
    struct variation v = {0};
    (void)arg;
    UNIT_INT(env_make_dir(life->env, "/", "d", NULL), 0);
    prepare_in(life->env, SIM_DIR, &v);
}

/* *arg: it is through. */
static void sim_forces(const struct sim_life *life, void *arg)
{
    struct recover r;
    struct errmsg em = {""};
    int rv = recover_open(life->env, SIM_DIR, SELF, RANDOM_PART, &r, &em);
    bool known = !rv || rv == E_INVALID;
    UNIT_TRUE(known);
    if (!rv) {
        UNIT_INT(recover_force(&r, &em), 0);
    }
    if (known) {
        recover_close(&r);
    }
    *(bool *)arg = !sim_process_is_ghost(life->process);
}

static void sim_looks(const struct sim_life *life, void *arg)
{
    *(enum found *)arg = look_in(life->env, SIM_DIR);
}

static void failure(void *arg, const char *text)
{
    (void)arg;
    printf("# %s\n", text);
}

/* A crash at that call, and one at a call of the next try, which finishes what the first one began. */
static enum found crash_twice(uint64_t seed, uint64_t call, uint64_t again, enum sim_crash kind, bool *through)
{
    struct sim *sim = sim_new(seed);
    struct sim_host *host = sim_host_new(sim, "a");
    enum found found = FOUND_WRONG;
    bool second = true;
    sim_on_failure(sim, failure, NULL);
    *through = false;
    (void)sim_life(host, sim_prepares, NULL);
    sim_crash_after(host, call, kind);
    (void)sim_life(host, sim_forces, through);
    sim_crash_after(host, again, kind);
    if (again) {
        (void)sim_life(host, sim_forces, &second);
        sim_crash_after(host, 0, kind);
    }
    (void)sim_life(host, sim_looks, &found);
    UNIT_TRUE(!sim_failed(sim));
    sim_free(sim);
    return found;
}

static void crashes(enum sim_crash kind)
{
    unsigned old = 0, new = 0;
    uint64_t call = 0;
    for (bool through = false; !through && call < STEPS_MAX;) {
        call++;
        for (uint64_t again = 0; again < 40; again += again ? 13 : 12) {
            bool this_one;
            enum found found = crash_twice(unit_seed() + call, call, again, kind, &this_one);
            through = through || this_one;
            old += found == FOUND_OLD;
            new += found == FOUND_NEW;
            if (!UNIT_TRUE(found == FOUND_OLD || found == FOUND_NEW) || !UNIT_TRUE(!this_one || found == FOUND_NEW)) {
                printf("# crash at call %u, then at %u\n", (unsigned)call, (unsigned)again);
            }
        }
    }
    printf("# %u calls; the old cluster was there %u times, the new one %u times\n", (unsigned)call - 1, old, new);
    UNIT_TRUE(old > 10 && new > 10);
    UNIT_TRUE(call < STEPS_MAX);
}

static void a_crash_at_any_call(void)
{
    crashes(SIM_KILL);
}

static void a_power_loss_at_any_call(void)
{
    crashes(SIM_POWER);
}

static void a_call_that_fails(void)
{
    unsigned failed = 0, new = 0, missed = 0; /* a name in a listing counts as a call that cannot fail */
    struct variation v = {0};
    uint64_t at = 0;
    char *whole = prepare(&v);
    for (int end = 0; missed < 10 && at < STEPS_MAX;) {
        char *dir = copy_of(whole);
        at++;
        end = life(dir, at);
        enum found found = look(dir);
        if (!UNIT_TRUE(found == FOUND_OLD || found == FOUND_NEW) || !UNIT_TRUE(end != 0 || found == FOUND_NEW)) {
            printf("# call %u fails: ends with %d\n", (unsigned)at, end);
        }
        missed = end == NOT_REACHED ? missed + 1 : 0;
        failed += end == FAILED || end == TEST_ENV_FATAL;
        new += found == FOUND_NEW;
        remove_dir(dir);
    }
    remove_dir(whole);
    printf("# %u calls; %u failures ended it, the new cluster was there %u times\n", (unsigned)at - 1, failed, new);
    UNIT_TRUE(failed > 10 && new > 2);
    UNIT_TRUE(at < STEPS_MAX);
}

/* ---- holdfastd --force-new-cluster ---- */

static void write_identity(const char *dir)
{
    struct env *env = test_env_new(1);
    struct buf b;
    struct errmsg em;
    buf_init(&b, 1000);
    buf_printf(&b, "format=1\nid=%d\nincarnation=%016x\nserver_uuid=%s\nserver_id=7\n", SELF, RANDOM_PART, OLD_CLUSTER);
    buf_printf(&b, "sum=%08x\n", crc32c_of(0, b.data, b.len));
    UNIT_INT(env_replace_file(env, dir, "node", b.data, b.len, &em), 0);
    buf_free(&b);
    test_env_free(env);
}

/* Without a terminal; what it says goes to `text`. */
static int run_on(const char *dir, bool yes, char text[TEXT_MAX])
{
    int fds[2], status = -1;
    size_t n = 0;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        close(fds[0]);
        if (dup2(null, 0) < 0 || dup2(fds[1], 1) < 0 || dup2(fds[1], 2) < 0) {
            _exit(FAILED);
        }
        int code = recover_data_dir(dir, yes);
        fflush(stdout);
        _exit(code);
    }
    close(fds[1]);
    for (ssize_t got = 1; got > 0 && n < TEXT_MAX - 1; n += got > 0 ? (size_t)got : 0) {
        got = read(fds[0], text + n, TEXT_MAX - 1 - n);
    }
    text[n] = 0;
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void says(const char *text, const char *what)
{
    if (!UNIT_TRUE(strstr(text, what) != NULL)) {
        printf("# '%s' is missing in:\n%s\n", what, text);
    }
}

static void it_says_what_may_be_lost_and_asks(void)
{
    struct variation v = {0};
    struct errmsg em;
    char text[TEXT_MAX];
    char *dir = prepare(&v);
    UNIT_INT(run_on(dir, true, text), 2);
    says(text, "is no data directory");
    write_identity(dir);
    int lock = data_dir_lock(dir, false, &em);
    UNIT_TRUE(lock >= 0);
    UNIT_INT(run_on(dir, true, text), 2);
    says(text, "is in use by another holdfastd");
    close(lock);
    UNIT_INT(run_on(dir, false, text), 2);
    says(text, "Node 3 of cluster " OLD_CLUSTER);
    says(text, "1  10.0.0.1:4307  voter\n");
    says(text, "3  10.0.0.3:4307  voter, this node\n");
    says(text, "ends with entry 5 of term ");
    says(text, "All that nodes 1 and 2 had and this one has not");
    says(text, "Node 1 is known to have had all up to entry 9, which is more than this node has; it may have had more");
    says(text, "What node 2 had is not known here");
    says(text, "--yes says that all of this is meant");
    UNIT_INT(look(dir), FOUND_OLD);
    UNIT_INT(run_on(dir, true, text), 0);
    says(text, "alone. Start holdfastd");
    UNIT_INT(look(dir), FOUND_NEW);
    UNIT_INT(run_on(dir, true, text), 2);
    says(text, "is the only voter of cluster");
    remove_dir(dir);
}

/* With two voters an acknowledgement takes both. */
static void nothing_is_lost_of_two(void)
{
    struct variation v = {.voters = 2};
    char text[TEXT_MAX];
    char *dir = prepare(&v);
    write_identity(dir);
    UNIT_INT(run_on(dir, true, text), 0);
    says(text, "Nothing that was acknowledged");
    UNIT_INT(look(dir), FOUND_NEW);
    remove_dir(dir);
}

UNIT_MAIN("recover", UNIT_TEST(one_becomes_a_cluster), UNIT_TEST(what_the_snapshot_has_counts), UNIT_TEST(who_cannot_be_one_is_told), UNIT_TEST(a_newer_level_is_refused), UNIT_TEST(a_crash_at_any_call), UNIT_TEST(a_power_loss_at_any_call),
          UNIT_TEST(a_call_that_fails), UNIT_TEST(it_says_what_may_be_lost_and_asks), UNIT_TEST(nothing_is_lost_of_two))
