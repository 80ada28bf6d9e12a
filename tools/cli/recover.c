/* recover.c: holdfast recover. It is offline and needs what only the daemon can read, so it becomes holdfastd: the one beside this program, that of the
 * same installation, or the first one in PATH. */
#include "tools/cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Returns only when there is none. */
static void run_beside(char *const *args)
{
    static const char *const places[] = {"holdfastd", "../sbin/holdfastd"};
    char own[PATH_MAX], path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    char *slash = n > 0 ? memrchr(own, '/', (size_t)n) : NULL;
    if (!slash) {
        return;
    }
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", own, places[i]);
        execv(path, args);
    }
}

int cmd_recover(struct cli *cli)
{
    if (!cli->data_dir || !cli->force_new_cluster) {
        return cli_fail(CLI_USAGE, "recover: both --data-dir DIR and --force-new-cluster are needed; see: holdfast recover --help");
    }
    char *dir = (char *)(uintptr_t)cli->data_dir; /* exec changes nothing */
    char *args[] = {"holdfastd", "--force-new-cluster", "--data-dir", dir, cli->yes ? "--yes" : NULL, NULL};
    run_beside(args);
    execvp(args[0], args);
    return cli_fail(CLI_SERVER, "recover: holdfastd cannot be run: %s; it has to be installed on this machine", strerror(errno));
}
