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

/* NAME or NAME@HOST; the host begins behind the last @. */
struct who {
    char name[USER_NAME_MAX + 1];
    const char *host; /* "%" without one */
};

static int read_who(const char *text, struct who *who)
{
    const char *at = strrchr(text, '@');
    size_t n = at ? (size_t)(at - text) : strlen(text);
    if (n == 0 || n > USER_NAME_MAX) {
        return cli_fail(CLI_USAGE, "a user's name has 1 to %d characters", USER_NAME_MAX);
    }
    if (at && !at[1]) {
        return cli_fail(CLI_USAGE, "'%s': behind @ stands the host: an address, 10.1.%%, 10.1.0.0/16, localhost", text);
    }
    memcpy(who->name, text, n);
    who->name[n] = 0;
    who->host = at ? at + 1 : "%";
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

/* One statement about a user: what stands before the name, and a plugin and a password or none. */
static int run_statement(struct cli *cli, const char *verb, const struct who *who, const char *plugin, const char *password,
                         const char *done)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_printf(&sql, "%s ", verb);
    sql_literal(&sql, who->name);
    buf_u8(&sql, '@');
    sql_literal(&sql, who->host);
    if (password) {
        buf_printf(&sql, " IDENTIFIED %s%s%sBY ", plugin ? "WITH " : "", plugin ? plugin : "", plugin ? " " : "");
        sql_literal(&sql, password);
    }
    int rv = cli_change(cli, buf_cstr(&sql), done);
    sql_free(&sql);
    return rv;
}

static int grant(struct cli *cli, const struct who *who, unsigned grants)
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
    return run_statement(cli, verb, who, NULL, NULL, NULL);
}

/* --auth: a plugin, or NULL for what the node's setting default_auth says. */
static int read_auth(const struct cli *cli, const char **plugin)
{
    static const char *const plugins[] = {"caching_sha2_password", "mysql_native_password"};
    *plugin = NULL;
    if (!cli->auth || strcmp(cli->auth, "default") == 0) {
        return CLI_OK;
    }
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(cli->auth, plugins[i]) == 0) {
            *plugin = plugins[i];
            return CLI_OK;
        }
    }
    return cli_fail(CLI_USAGE, "--auth: '%s' is none of default, %s, %s", cli->auth, plugins[0], plugins[1]);
}

static int ask_new(const struct who *who, char password[PASSWORD_SIZE])
{
    char prompt[128];
    struct errmsg em;
    snprintf(prompt, sizeof prompt, "New password for %s", who->name);
    return password_ask_new(prompt, password, &em) ? cli_fail(CLI_USAGE, "%s", em.text) : CLI_OK;
}

/* Connects, then asks: nobody types a password for nothing. */
static int set_password(struct cli *cli, const char *verb, const struct who *who, const char *plugin, const char *done)
{
    char password[PASSWORD_SIZE] = "";
    int rv = cli_connect(cli);
    rv = rv ? rv : ask_new(who, password);
    rv = rv ? rv : run_statement(cli, verb, who, plugin, password, done);
    password_wipe(password, sizeof password);
    return rv;
}

int cmd_user_add(struct cli *cli)
{
    struct who who;
    unsigned grants;
    const char *plugin;
    int rv = read_who(cli->words[0], &who);
    rv = rv ? rv : read_roles(cli->role, &grants);
    rv = rv ? rv : read_auth(cli, &plugin);
    rv = rv ? rv : set_password(cli, "CREATE USER", &who, plugin, NULL);
    if (rv) {
        return rv;
    }
    rv = grant(cli, &who, grants);
    if (rv == CLI_SERVER) {
        int dropped = run_statement(cli, "DROP USER", &who, NULL, NULL, NULL);
        return cli_fail(rv, dropped ? "the account was made, but has no role" : "the account was not made");
    }
    if (!rv) {
        cli_done(cli, "The account is made.");
    }
    return rv;
}

int cmd_user_passwd(struct cli *cli)
{
    struct who who;
    int rv = read_who(cli->words[0], &who);
    return rv ? rv : set_password(cli, "ALTER USER", &who, NULL, "The password is changed.");
}

int cmd_user_drop(struct cli *cli)
{
    struct who who;
    int rv = read_who(cli->words[0], &who);
    return rv ? rv : run_statement(cli, "DROP USER", &who, NULL, NULL, "The account is gone.");
}

int cmd_user_list(struct cli *cli)
{
    return cli_list(cli, "SHOW USERS", "There are no accounts (holdfast user add NAME).");
}
