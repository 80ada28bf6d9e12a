/* user.c: `holdfast user …`: the cluster's accounts.
 *
 * Happy path of add: CREATE USER, then GRANT what its roles stand for. Failure modes: an account that could
 * be made but not given its roles is dropped again, and that is said; a password is refused when it is empty
 * or, on a terminal, not typed the same way twice. */
#include "tools/cli/cli.h"

#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { SQL_MAX = 16 << 10, USER_NAME_MAX = 32 };

static const struct {
    const char *role;
    unsigned grants; /* bits of GRANTS */
} ROLES[] = {{"replica", 1}, {"monitor", 2}, {"admin", 4}};
enum { NROLES = sizeof ROLES / sizeof ROLES[0] };

static const char *const GRANTS[] = {"REPLICATION SLAVE", "REPLICATION CLIENT", "CLUSTER_ADMIN"};
enum { NGRANTS = sizeof GRANTS / sizeof GRANTS[0] };

static int check_name(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > USER_NAME_MAX) {
        return cli_fail(CLI_USAGE, "a user's name has 1 to %d characters", USER_NAME_MAX);
    }
    if (strchr(name, '@')) {
        return cli_fail(CLI_USAGE, "'%s': give the name alone; accounts are good from every host", name);
    }
    return CLI_OK;
}

static int read_roles(const char *text, unsigned *grants)
{
    char *list = mem_str(text ? text : "replica"), *next = list, *one;
    int rv = CLI_OK;
    *grants = 0;
    while (!rv && (one = strsep(&next, ","))) {
        size_t i = 0;
        while (i < NROLES && strcmp(ROLES[i].role, one) != 0) {
            i++;
        }
        if (i == NROLES) {
            rv = cli_fail(CLI_USAGE, "--role: '%s' is none of replica, monitor, admin", one);
        } else {
            *grants |= ROLES[i].grants;
        }
    }
    mem_free(list);
    return rv;
}

/* One statement about a user: what stands before the name, the name, host, what stands before the password.
 */
static int run_statement(struct cli *cli, const char *verb, const char *name, const char *host,
                         const char *password, const char *done)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_printf(&sql, "%s ", verb);
    sql_literal(&sql, name);
    buf_str(&sql, host);
    if (password) {
        buf_str(&sql, " IDENTIFIED BY ");
        sql_literal(&sql, password);
    }
    int rv = cli_change(cli, buf_cstr(&sql), done);
    sql_free(&sql);
    return rv;
}

static int grant(struct cli *cli, const char *name, unsigned grants)
{
    char verb[128] = "GRANT ";
    size_t n = strlen(verb);
    const char *comma = "";
    for (size_t i = 0; i < NGRANTS; i++) {
        if (grants & 1u << i) {
            n += (size_t)snprintf(verb + n, sizeof verb - n, "%s%s", comma, GRANTS[i]);
            comma = ", ";
        }
    }
    snprintf(verb + n, sizeof verb - n, " ON *.* TO");
    return run_statement(cli, verb, name, "", NULL, NULL);
}

static int ask_new(const char *name, char password[PASSWORD_SIZE])
{
    char prompt[128];
    struct errmsg em;
    snprintf(prompt, sizeof prompt, "New password for %s", name);
    return password_ask_new(prompt, password, &em) ? cli_fail(CLI_USAGE, "%s", em.text) : CLI_OK;
}

int cmd_user_add(struct cli *cli)
{
    const char *name = cli->words[0];
    char password[PASSWORD_SIZE] = "";
    unsigned grants;
    int rv = check_name(name);
    if (!rv) {
        rv = read_roles(cli->role, &grants);
    }
    if (!rv) {
        rv = cli_connect(cli);
    }
    if (!rv) {
        rv = ask_new(name, password);
    }
    if (!rv) {
        rv = run_statement(cli, "CREATE USER", name, "@'%'", password, NULL);
    }
    password_wipe(password, sizeof password);
    if (rv) {
        return rv;
    }
    rv = grant(cli, name, grants);
    if (rv == CLI_SERVER) {
        int dropped = run_statement(cli, "DROP USER", name, "", NULL, NULL);
        return cli_fail(rv, dropped ? "the account was made, but has no role" : "the account was not made");
    }
    if (!rv) {
        cli_done(cli, "The account is made.");
    }
    return rv;
}

int cmd_user_passwd(struct cli *cli)
{
    char password[PASSWORD_SIZE] = "";
    int rv = check_name(cli->words[0]);
    if (!rv) {
        rv = cli_connect(cli);
    }
    if (!rv) {
        rv = ask_new(cli->words[0], password);
    }
    if (!rv) {
        rv = run_statement(cli, "ALTER USER", cli->words[0], "", password, "The password is changed.");
    }
    password_wipe(password, sizeof password);
    return rv;
}

int cmd_user_drop(struct cli *cli)
{
    int rv = check_name(cli->words[0]);
    return rv ? rv : run_statement(cli, "DROP USER", cli->words[0], "", NULL, "The account is gone.");
}

int cmd_user_list(struct cli *cli)
{
    return cli_list(cli, "SHOW USERS", "There are no accounts (holdfast user add NAME).");
}
