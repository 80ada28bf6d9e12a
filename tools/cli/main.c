/* main.c: the program `holdfast`: talks to a Holdfast node for people and scripts.
 *
 * Happy path: read the command line, ask for the password, run the command, write what it built, exit 0.
 * Failure modes, one exit status each (enum cli_exit): the command line is wrong; no node can be reached; the
 * node refused. The reason is on standard error, standard output is for results. */
#include "tools/cli/cli.h"

#include "build.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUT_MAX = 256 << 20 };

static int find_password(struct cli *cli)
{
    if (cli->ask_password) {
        struct errmsg em;
        if (password_ask("Password", cli->password, &em)) {
            return cli_fail(CLI_USAGE, "%s", em.text);
        }
    } else if (!cli->has_password) {
        const char *given = getenv("HOLDFAST_PASSWORD");
        size_t n = given ? strlen(given) : 0;
        if (n >= sizeof cli->password) {
            return cli_fail(CLI_USAGE, "HOLDFAST_PASSWORD is longer than %zu bytes",
                            sizeof cli->password - 1);
        }
        memcpy(cli->password, given ? given : "", n);
    }
    return CLI_OK;
}

static int run(struct cli *cli)
{
    if (cli->version) {
        buf_str(&cli->out, "holdfast " HOLDFAST_VERSION "\n");
        return CLI_OK;
    }
    if (cli->help && !cli->command) {
        if (cli->nwords) {
            help_group(&cli->out, cli->words[0]);
        } else {
            help_program(&cli->out);
        }
        return CLI_OK;
    }
    if (cli->help) {
        help_command(&cli->out, cli->command);
        return CLI_OK;
    }
    int rv = find_password(cli);
    return rv ? rv : cli->command->run(cli);
}

int main(int argc, char **argv)
{
    static struct cli cli;
    struct errmsg em;
    signal(SIGPIPE, SIG_IGN); /* a reader that has seen enough is no failure */
    buf_init(&cli.out, OUT_MAX);
    int rv = args_parse(&cli, argc, argv);
    if (!rv) {
        rv = run(&cli);
    }
    if (cli.out.len || cli.out.err) {
        if (out_write(STDOUT_FILENO, &cli.out, &em) && !rv) {
            rv = cli_fail(CLI_SERVER, "%s", em.text);
        }
    }
    conn_close(cli.conn);
    buf_free(&cli.out);
    args_free(&cli);
    return rv;
}
