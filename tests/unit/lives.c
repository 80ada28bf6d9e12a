/* lives.c: see lives.h: stories, and calls that fail. Each life is a child process: a fatal error ends it. */
#include "tests/unit/lives.h"

#include "protocol/base/mem.h"
#include "tests/unit/env_test.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REFUSED = 90, NOT_REACHED = 92, TEXT_MAX = 2000 };

const struct store_options lives_options = {.index_step = 150, .index_block = 512};

/* ---- what stories are made of -------------------------------------------------------------------------- */

bool lives_put(struct telling *t, const struct binlog *b, uint64_t era, uint64_t least)
{
    if (t->at == 0) {
        store_file(t->store, ++t->index, 0, era, b->name, b->state_before);
        t->at = STORE_MAGIC;
        return true;
    }
    uint64_t n = least + (t->at * 7919 + t->round * 31) % 900;
    n = n < b->n - t->at ? n : b->n - t->at;
    uint64_t boundary = binlog_boundary(b, t->at + n);
    struct store_txns txns = binlog_txns(b, t->at, t->at + n);
    store_write_txns(t->store, ++t->index, t->at, b->bytes + t->at, n, boundary, &txns, NULL, NULL);
    t->at += n;
    if (t->round % 4 == 0) {
        store_checkpoint(t->store, t->index, NULL, NULL);
    }
    if (t->at > boundary && t->round % 3 == 0) {
        store_cut(t->store, ++t->index, boundary);
        t->at = boundary;
    }
    t->round++;
    return t->at < b->n;
}

/* ---- lives --------------------------------------------------------------------------------------------- */

struct fault {
    uint64_t at; /* 0: none */
    int errnum;
    bool for_good;
};

static int tell(const struct story *story, struct env *loop, const char *dir, struct errmsg *em)
{
    struct telling t = {.loop = loop, .dir = dir};
    int rv = story->open ? story->open(loop, dir, &t.store, em) : store_open_with(loop, dir, &lives_options, &t.store, em);
    for (rv = rv ? rv : 1; rv == 1;) {
        rv = story->step(&t, em);
        test_env_run(loop);
    }
    return rv;
}

/* What it said goes to `text`. */
static int life(const struct story *story, const char *dir, const struct fault *fault, char text[TEXT_MAX])
{
    int fds[2], status = -1;
    CU_ASSERT_TRUE_FATAL(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct errmsg em = {""};
        struct env *loop = test_env_new(1);
        close(fds[0]);
        test_env_fatal_to(loop, fds[1]);
        test_env_fail(loop, fault->at, fault->errnum, fault->for_good);
        if (tell(story, loop, dir, &em)) {
            dprintf(fds[1], "%s\n", em.text);
            _exit(REFUSED);
        }
        _exit(test_env_failed(loop) ? 0 : NOT_REACHED);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    CU_ASSERT_TRUE_FATAL(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Did it end as one may when that call fails? */
static bool ends_well(int end, const char *dir, const char *text, const struct fault *fault, struct lives_tally *tally)
{
    bool told = strstr(text, dir) && strstr(text, strerror(fault->errnum));
    tally->refused += end == REFUSED;
    tally->ended += end == TEST_ENV_FATAL;
    tally->passed += end == 0;
    return end == 0 || end == NOT_REACHED || ((end == REFUSED || end == TEST_ENV_FATAL) && told);
}

static bool is_right(const struct story *story, const char *dir)
{
    struct env *env = test_env_new(1);
    bool right = story->right(env, dir);
    test_env_free(env);
    return right;
}

/* NOT_REACHED: there are no more calls; -1: it was not right. */
static int fail_at(const struct story *story, const struct fault *fault, struct lives_tally *tally)
{
    char *name = mem_printf("%s-%d-%llu", story->name, fault->errnum, (unsigned long long)fault->at), *dir = binlog_dir(name);
    char first[TEXT_MAX], second[TEXT_MAX], last[TEXT_MAX];
    struct fault again = {.at = 1 + fault->at % 29, .errnum = fault->errnum}, none = {.at = 0};
    int end = life(story, dir, fault, first);
    bool right = ends_well(end, dir, first, fault, tally);
    if (end != NOT_REACHED) {
        right = ends_well(life(story, dir, &again, second), dir, second, &again, tally) && right;
        right = life(story, dir, &none, last) == NOT_REACHED && right;
        right = is_right(story, dir) && right;
    }
    if (!right) {
        fprintf(stderr, "%s: call %llu fails: ends with %d '%s', then '%s', then '%s', see %s\n", story->name, (unsigned long long)fault->at, end, first,
                second, last, dir);
    }
    mem_free(dir);
    mem_free(name);
    return right ? end : -1;
}

bool lives_fail(const struct story *story, int errnum, bool for_good, uint64_t first, uint64_t every, struct lives_tally *tally)
{
    struct fault fault = {.at = first, .errnum = errnum, .for_good = for_good};
    int end = 0;
    *tally = (struct lives_tally){0};
    for (unsigned missed = 0; missed < 4 && end >= 0; fault.at += every) { /* a name in a listing counts as a call, too */
        end = fail_at(story, &fault, tally);
        missed = end == NOT_REACHED ? missed + 1 : 0;
    }
    tally->calls = fault.at;
    printf("# %s, %s: to call %llu: %u not started, %u ended, %u went on\n", story->name, strerror(errnum), (unsigned long long)fault.at, tally->refused,
           tally->ended, tally->passed);
    return end >= 0;
}
