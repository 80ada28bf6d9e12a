/* cli_program.c: see cli_program.h. */
#include "tests/unit/cli_program.h"

#include "protocol/base/mem.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 24, OUTPUT_MAX = 1 << 20 };

const char *cli_program(void)
{
    static char path[4096];
    const char *dir = getenv("HOLDFAST_BUILDDIR");
    snprintf(path, sizeof path, "%s/holdfast", dir ? dir : ".");
    return path;
}

void cli_slurp(int fd, struct buf *b)
{
    ssize_t n = 1;
    while (n > 0) {
        uint8_t *to = buf_reserve(b, 4096);
        n = to ? read(fd, to, 4096) : -1;
        b->len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
}

int cli_spawn(char *const *argv, int in, int out, int err)
{
    int pid = fork();
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        execv(cli_program(), argv);
        _exit(127);
    }
    return pid;
}

void cli_ran_free(struct ran *ran)
{
    buf_free(&ran->out);
    buf_free(&ran->err);
}

/* Runs holdfast with the arguments up to a NULL. What it prints is small enough for a pipe. */
struct ran cli_run(const char *input, ...)
{
    struct ran ran;
    char *argv[ARGS_MAX + 2] = {mem_str("holdfast")};
    size_t n = 1;
    int in[2], out[2], err[2], status = 0;
    va_list ap;
    va_start(ap, input);
    for (const char *arg; (arg = va_arg(ap, const char *)) && n < ARGS_MAX;) {
        argv[n++] = mem_str(arg);
    }
    va_end(ap);
    buf_init(&ran.out, OUTPUT_MAX);
    buf_init(&ran.err, OUTPUT_MAX);
    ran.status = -1;
    if (UNIT_TRUE(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0)) {
        int pid = cli_spawn(argv, in[0], out[1], err[1]);
        close(in[0]);
        close(out[1]);
        close(err[1]);
        UNIT_TRUE(write(in[1], input, strlen(input)) == (ssize_t)strlen(input));
        close(in[1]);
        cli_slurp(out[0], &ran.out);
        cli_slurp(err[0], &ran.err);
        waitpid(pid, &status, 0);
        ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    while (n) {
        mem_free(argv[--n]);
    }
    return ran;
}

bool cli_has(struct buf *b, const char *text)
{
    bool found = strstr(buf_cstr(b), text) != NULL;
    if (!found) {
        printf("wanted \"%s\" in:\n%s\n", text, buf_cstr(b));
    }
    return found;
}

void cli_expect_log(const struct fake_node *node, const char *want)
{
    char *log = fake_node_log(node);
    UNIT_STR(log, want);
    mem_free(log);
}
