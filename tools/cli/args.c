/* args.c: the command line.
 *
 * Options may stand anywhere, also behind the command; "--" ends them. Every argument is copied first, and
 * what may hold a secret (-pPASSWORD, password=…, the text of `sql`) is overwritten in argv, which is what ps
 * shows. Failure mode: a line that cannot be understood is CLI_USAGE with what is wrong and what would be
 * right. */
#include "tools/cli/cli.h"

#include "build.h"
#include "protocol/base/mem.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TIMEOUT_DEFAULT = 10, TIMEOUT_MAX = 86400, EVENTS_MAX = 100000, RATE_MAX = 1000000 };

/* ---- the options ---- */

static int set_host(struct cli *cli, const char *value)
{
    cli->hosts = value;
    return CLI_OK;
}

static int whole_number(const char *text, unsigned long max, unsigned long *number)
{
    char *end;
    *number = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && *number >= 1 && *number <= max ? 0 : E_INVALID;
}

static int set_port(struct cli *cli, const char *value)
{
    unsigned long number;
    if (whole_number(value, UINT16_MAX, &number)) {
        return cli_fail(CLI_USAGE, "--port: '%s' is no port (1 to 65535)", value);
    }
    cli->port = (uint16_t)number;
    cli->has_port = true;
    return CLI_OK;
}

static int set_user(struct cli *cli, const char *value)
{
    cli->user = value;
    return CLI_OK;
}

static int set_password(struct cli *cli, const char *value)
{
    cli->ask_password = !value;
    cli->has_password = value != NULL;
    if (value) {
        size_t n = strlen(value);
        if (n >= sizeof cli->password) {
            return cli_fail(CLI_USAGE, "--password: longer than %zu bytes", sizeof cli->password - 1);
        }
        memcpy(cli->password, value, n + 1);
    }
    return CLI_OK;
}

static int set_socket(struct cli *cli, const char *value)
{
    cli->socket = value;
    return CLI_OK;
}

static int set_format(struct cli *cli, const char *value)
{
    cli->json = strcmp(value, "json") == 0;
    return cli->json || strcmp(value, "table") == 0
               ? CLI_OK
               : cli_fail(CLI_USAGE, "--format: '%s' is neither table nor json", value);
}

static int set_timeout(struct cli *cli, const char *value)
{
    unsigned long number;
    if (whole_number(value, TIMEOUT_MAX, &number)) {
        return cli_fail(CLI_USAGE, "--timeout: '%s' is no number of seconds (1 to %d)", value, TIMEOUT_MAX);
    }
    cli->timeout = (unsigned)number;
    return CLI_OK;
}

static int set_ssl_mode(struct cli *cli, const char *value)
{
    if (tls_mode_parse(value, &cli->tls_mode)) {
        return cli_fail(
            CLI_USAGE,
            "--ssl-mode: '%s' is none of disabled, preferred, required, verify_ca, verify_identity", value);
    }
    cli->has_tls_mode = true;
    return CLI_OK;
}

static int set_ssl_ca(struct cli *cli, const char *value)
{
    cli->ssl_ca = value;
    return CLI_OK;
}

static int set_to(struct cli *cli, const char *value)
{
    cli->to = value;
    return CLI_OK;
}

static int set_role(struct cli *cli, const char *value)
{
    cli->role = value;
    return CLI_OK;
}

static int set_auth(struct cli *cli, const char *value)
{
    cli->auth = value;
    return CLI_OK;
}

int args_set_defaults_file(struct cli *cli, const char *value)
{
    (void)cli;
    (void)value; /* read already */
    return CLI_OK;
}

static int set_from(struct cli *cli, const char *value)
{
    if (whole_number(value, LONG_MAX, &cli->from)) {
        return cli_fail(CLI_USAGE, "--from: '%s' is no position in a file", value);
    }
    return CLI_OK;
}

static int set_limit(struct cli *cli, const char *value)
{
    if (whole_number(value, EVENTS_MAX, &cli->limit)) {
        return cli_fail(CLI_USAGE, "--limit: '%s' is no number of events (1 to %d)", value, EVENTS_MAX);
    }
    return CLI_OK;
}

static int set_rate(struct cli *cli, const char *value)
{
    if (strcmp(value, "0") != 0 && whole_number(value, RATE_MAX, &cli->rate)) {
        return cli_fail(CLI_USAGE, "--rate: '%s' is no number of MiB a second (0, without limit, to %d)", value, RATE_MAX);
    }
    cli->has_rate = true;
    return CLI_OK;
}

static int set_rebuild(struct cli *cli, const char *value)
{
    (void)value;
    cli->rebuild = true;
    return CLI_OK;
}

static int set_target_user(struct cli *cli, const char *value)
{
    cli->target_user = value;
    return CLI_OK;
}

static int set_target_password_file(struct cli *cli, const char *value)
{
    cli->target_password_file = value;
    return CLI_OK;
}

static int set_target_ssl_mode(struct cli *cli, const char *value)
{
    if (tls_mode_parse(value, &cli->target_tls_mode)) {
        return cli_fail(CLI_USAGE, "--target-ssl-mode: '%s' is none of disabled, preferred, required, verify_ca, verify_identity", value);
    }
    cli->has_target_tls_mode = true;
    return CLI_OK;
}

static int set_target_ssl_ca(struct cli *cli, const char *value)
{
    cli->target_ssl_ca = value;
    return CLI_OK;
}

static int set_via(struct cli *cli, const char *value)
{
    cli->via = value;
    return CLI_OK;
}

static int set_before(struct cli *cli, const char *value)
{
    cli->before = value;
    return CLI_OK;
}

static int set_keep_old(struct cli *cli, const char *value)
{
    cli->keep_old = value;
    return CLI_OK;
}

static int set_force(struct cli *cli, const char *value)
{
    (void)value;
    cli->force = true;
    return CLI_OK;
}

static int set_dry_run(struct cli *cli, const char *value)
{
    (void)value;
    cli->dry_run = true;
    return CLI_OK;
}

static int set_wait(struct cli *cli, const char *value)
{
    if (whole_number(value, TIMEOUT_MAX, &cli->wait)) {
        return cli_fail(CLI_USAGE, "--wait: '%s' is no number of seconds (1 to %d)", value, TIMEOUT_MAX);
    }
    return CLI_OK;
}

static int set_no_wait(struct cli *cli, const char *value)
{
    (void)value;
    cli->no_wait = true;
    return CLI_OK;
}

static int set_data_dir(struct cli *cli, const char *value)
{
    cli->data_dir = value;
    return CLI_OK;
}

static int set_force_new_cluster(struct cli *cli, const char *value)
{
    (void)value;
    cli->force_new_cluster = true;
    return CLI_OK;
}

static int set_yes(struct cli *cli, const char *value)
{
    (void)value;
    cli->yes = true;
    return CLI_OK;
}

static int set_standby(struct cli *cli, const char *value)
{
    (void)value;
    cli->standby = true;
    return CLI_OK;
}

static int set_help(struct cli *cli, const char *value)
{
    (void)value;
    cli->help = true;
    return CLI_OK;
}

static int set_version(struct cli *cli, const char *value)
{
    (void)value;
    cli->version = true;
    return CLI_OK;
}

#define MEMBER_CHANGES "member add, member replace, member remove, member promote, member demote"

const struct option_row OPTIONS[] = {
    {'h', "host", VALUE_REQUIRED, "HOST[:P],...",
     "nodes to try in this order; the first that answers is used", NULL, "", set_host},
    {'P', "port", VALUE_REQUIRED, "PORT", "port of hosts that name none (3307)", NULL, "", set_port},
    {'u', "user", VALUE_REQUIRED, "USER", "account (root on the local socket)", NULL, "", set_user},
    {'p', "password", VALUE_OPTIONAL, "PASSWORD",
     "its password; alone: ask for it, or read a line of standard input", NULL, "", set_password},
    {'S', "socket", VALUE_REQUIRED, "PATH", "the local socket of a node", NULL, "", set_socket},
    {0, "format", VALUE_REQUIRED, "table|json", "how results are printed (table)", NULL, "table json",
     set_format},
    {0, "timeout", VALUE_REQUIRED, "SECONDS", "patience with each connect and each answer (10)", NULL, "",
     set_timeout},
    {0, "ssl-mode", VALUE_REQUIRED, "MODE",
     "disabled, preferred (default), required, verify_ca, verify_identity", NULL,
     "disabled preferred required verify_ca verify_identity", set_ssl_mode},
    {0, "ssl-ca", VALUE_REQUIRED, "FILE", "certificates to trust (PEM); implies verify_ca", NULL, "",
     set_ssl_ca},
    {0, "defaults-file", VALUE_REQUIRED, "FILE", "options to begin with, instead of ~/.holdfast.cnf", NULL, "",
     args_set_defaults_file},
    {0, "role", VALUE_REQUIRED, "ROLE,...", "replica (default), monitor, admin", "user add",
     "replica monitor admin", set_role},
    {0, "auth", VALUE_REQUIRED, "PLUGIN", "default, caching_sha2_password, mysql_native_password", "user add",
     "default caching_sha2_password mysql_native_password", set_auth},
    {0, "to", VALUE_REQUIRED, "ID", "the node that shall lead", "switchover", "", set_to},
    {0, "to", VALUE_REQUIRED, "[ERA/]FILE", "the oldest file that stays", "log purge", "", set_to},
    {0, "before", VALUE_REQUIRED, "TIME", "purge files older than that, UTC; or than so long ago: 36h, 7d", "log purge", "", set_before},
    {0, "force", VALUE_NONE, NULL, "also what a replica needs", "log purge, source reset", "", set_force},
    {0, "keep-old", VALUE_REQUIRED, "DIR", "where the old files go, in binlog/old of each node", "source reset", "", set_keep_old},
    {0, "from", VALUE_REQUIRED, "POS", "where to begin in the file (4)", "log events", "", set_from},
    {0, "limit", VALUE_REQUIRED, "N", "at most so many events (1000)", "log events", "", set_limit},
    {0, "rate", VALUE_REQUIRED, "MIB", "read so many MiB a second (256), 0: as fast as it goes", "log verify", "",
     set_rate},
    {0, "rebuild", VALUE_NONE, NULL, "make damaged or missing indexes again", "log verify", "", set_rebuild},
    {0, "dry-run", VALUE_NONE, NULL, "print the statements, change nothing", "compensate", "", set_dry_run},
    {0, "dry-run", VALUE_NONE, NULL, "only show what would be purged", "log purge", "", set_dry_run},
    {0, "wait", VALUE_REQUIRED, "SECONDS", "how long to wait for what it lacks (600)", "compensate", "", set_wait},
    {0, "dry-run", VALUE_NONE, NULL, "only show what would be done", MEMBER_CHANGES, "", set_dry_run},
    {0, "wait", VALUE_REQUIRED, "SECONDS", "how long to wait until it is done (without end; a minute for a node that does not come)", MEMBER_CHANGES, "", set_wait},
    {0, "no-wait", VALUE_NONE, NULL, "do not wait until it is done", MEMBER_CHANGES, "", set_no_wait},
    {0, "standby", VALUE_NONE, NULL, "it stays a standby: it has everything, and does not count", "member add", "", set_standby},
    {0, "data-dir", VALUE_REQUIRED, "DIR", "the data directory of the node that is left", "recover", "", set_data_dir},
    {0, "force-new-cluster", VALUE_NONE, NULL, "it becomes a cluster of its own", "recover", "", set_force_new_cluster},
    {0, "yes", VALUE_NONE, NULL, "do not ask: all that it says is meant", "recover", "", set_yes},
    {0, "via", VALUE_REQUIRED, "HOST[:P]", "the member's address as the server reaches it (as given with -h)", "compensate, source check", "", set_via},
    {0, "target-user", VALUE_REQUIRED, "USER", "account on the server (root)", "compensate, source check", "", set_target_user},
    {0, "target-password-file", VALUE_REQUIRED, "FILE", "its password is the first line of FILE", "compensate, source check", "", set_target_password_file},
    {0, "target-ssl-mode", VALUE_REQUIRED, "MODE", "as --ssl-mode, for the server", "compensate, source check",
     "disabled preferred required verify_ca verify_identity", set_target_ssl_mode},
    {0, "target-ssl-ca", VALUE_REQUIRED, "FILE", "as --ssl-ca, for the server", "compensate, source check", "", set_target_ssl_ca},
    {0, "help", VALUE_NONE, NULL, "this text, or that of a command", NULL, "", set_help},
    {'V', "version", VALUE_NONE, NULL, "the version of this program", NULL, "", set_version},
};
const size_t OPTIONS_COUNT = sizeof OPTIONS / sizeof OPTIONS[0];

/* ---- reading them ---- */

static void hide(char *text)
{
    size_t n = strlen(text);
    explicit_bzero(text, n);
    memcpy(text, "x", n ? 1 : 0);
}

/* Overwrites an argument as far as it may hold a secret. in_options: "--" did not come yet. */
static void hide_secret(char *arg, bool in_sql, bool in_options)
{
    static const char *const starts[] = {"--password=", "-p"};
    for (size_t i = 0; in_options && i < 2; i++) {
        size_t n = strlen(starts[i]);
        if (strncmp(arg, starts[i], n) == 0 && arg[n]) {
            hide(arg + n);
            return;
        }
    }
    char *value = strchr(arg, '=');
    if (value && (size_t)(value - arg) == strlen("password") && strncasecmp(arg, "password", 8) == 0) {
        hide(value + 1);
    } else if (in_sql && (arg[0] != '-' || !in_options)) {
        hide(arg);
    }
}

bool option_belongs(const struct option_row *row, const char *command)
{
    size_t n = strlen(command);
    for (const char *at = row->only; at; at = strstr(at, ", ")) {
        at += at == row->only ? 0 : 2;
        if (strncmp(at, command, n) == 0 && (!at[n] || at[n] == ',')) {
            return true;
        }
    }
    return false;
}

static const struct option_row *find_long(const char *name, size_t n)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (strlen(OPTIONS[i].name) == n && strncmp(OPTIONS[i].name, name, n) == 0) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

static const struct option_row *find_letter(char letter)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (OPTIONS[i].letter && OPTIONS[i].letter == letter) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

/* Those of a single command are remembered until it is known. */
struct scoped {
    const struct option_row *row;
};

static int take_option(struct cli *cli, size_t *at, size_t nargs, struct scoped *scoped)
{
    const char *arg = cli->args[*at], *value = NULL;
    const struct option_row *row;
    if (arg[1] == '-') {
        const char *equals = strchr(arg, '=');
        row = find_long(arg + 2, equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2));
        value = equals ? equals + 1 : NULL;
    } else {
        row = arg[1] == '?' && !arg[2] ? find_long("help", 4) : find_letter(arg[1]);
        value = row && row->letter && arg[2] ? arg + 2 : NULL;
    }
    if (!row) {
        const char *equals = strchr(arg, '='); /* behind it a secret may stand */
        return cli_fail(CLI_USAGE, "unknown option '%.*s' (holdfast --help lists them)",
                        equals ? (int)(equals - arg) : 64, arg);
    }
    if (value && row->takes == VALUE_NONE) {
        return cli_fail(CLI_USAGE, "--%s takes no value", row->name);
    }
    if (!value && row->takes == VALUE_REQUIRED) {
        if (*at + 1 == nargs) {
            return cli_fail(CLI_USAGE, "--%s wants a value: %s", row->name, row->value);
        }
        value = cli->args[++*at];
    }
    if (row->only) {
        scoped->row = row;
    }
    return row->set(cli, value);
}

static int copy_args(struct cli *cli, int argc, char **argv)
{
    if (argc - 1 > CLI_WORDS_MAX * 2) {
        return cli_fail(CLI_USAGE, "too many arguments");
    }
    bool in_sql = false, in_options = true;
    for (int i = 1; i < argc; i++) {
        cli->args[cli->nargs++] = mem_str(argv[i]);
        bool is_sql = strcmp(argv[i], "sql") == 0;
        in_options = in_options && strcmp(argv[i], "--") != 0;
        hide_secret(argv[i], in_sql, in_options);
        in_sql = in_sql || is_sql;
    }
    return CLI_OK;
}

/* ---- the command ---- */

static int unknown_command(const struct cli *cli)
{
    const char *first = cli->words[0];
    char typed[128];
    bool group = command_is_group(first);
    if (group && cli->nwords == 1) {
        struct buf b;
        buf_init(&b, 65536);
        help_group(&b, first);
        cli_fail(CLI_USAGE, "'%s' wants to know what to do:\n%s", first, buf_cstr(&b));
        buf_free(&b);
        return CLI_USAGE;
    }
    snprintf(typed, sizeof typed, "%s%s%s", first, group ? " " : "", group ? cli->words[1] : "");
    const char *guess = command_guess(typed);
    return guess ? cli_fail(CLI_USAGE, "unknown command '%s'; did you mean '%s'?", typed, guess)
                 : cli_fail(CLI_USAGE, "unknown command '%s' (holdfast --help lists them)", typed);
}

static int find_command(struct cli *cli, const struct scoped *scoped)
{
    size_t used = 0;
    if (cli->nwords == 0) {
        return cli->help || cli->version
                   ? CLI_OK
                   : cli_fail(CLI_USAGE, "what is to be done? Try: holdfast status, or holdfast --help");
    }
    cli->command = command_find(cli->words, cli->nwords, &used);
    if (!cli->command) {
        return cli->help && command_is_group(cli->words[0]) && cli->nwords == 1 ? CLI_OK
                                                                                : unknown_command(cli);
    }
    const struct command *c = cli->command;
    const struct option_row *row = scoped->row;
    for (size_t i = 0; row && i < OPTIONS_COUNT && !option_belongs(row, c->name); i++) {
        if (OPTIONS[i].only && strcmp(OPTIONS[i].name, row->name) == 0 && option_belongs(&OPTIONS[i], c->name)) {
            row = &OPTIONS[i];
        }
    }
    cli->nwords -= used;
    memmove(cli->words, cli->words + used, cli->nwords * sizeof cli->words[0]);
    if (row && !option_belongs(row, c->name)) {
        return cli_fail(CLI_USAGE, "--%s is for '%s' only, not for '%s'", scoped->row->name,
                        scoped->row->only, c->name);
    }
    if (!cli->help && (cli->nwords < c->min_words || cli->nwords > c->max_words)) {
        return cli_fail(CLI_USAGE, "usage: holdfast %s%s%s\nholdfast %s --help says more", c->name,
                        c->args[0] ? " " : "", c->args, c->name);
    }
    return CLI_OK;
}

/* ---- where to connect ---- */

static int read_hosts(struct cli *cli)
{
    char *list = mem_str(cli->hosts), *next = list, *one;
    int rv = CLI_OK;
    while (!rv && (one = strsep(&next, ","))) {
        struct errmsg em;
        if (cli->naddrs == CLI_HOSTS_MAX) {
            rv = cli_fail(CLI_USAGE, "--host: more than %d hosts", CLI_HOSTS_MAX);
        } else if (env_addr_parse(one, cli->port, &cli->addrs[cli->naddrs++], &em)) {
            rv = cli_fail(CLI_USAGE, "--host: %s", em.text);
        }
    }
    mem_free(list);
    return rv;
}

static int read_socket(struct cli *cli, const char *path)
{
    struct env_addr *addr = &cli->addrs[cli->naddrs++];
    *addr = (struct env_addr){.is_path = true};
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof addr->host) {
        return cli_fail(CLI_USAGE, "--socket: the path is %s", n ? "too long" : "empty");
    }
    memcpy(addr->host, path, n + 1);
    return CLI_OK;
}

/* --defaults-file FILE, --defaults-file=FILE among the options. */
static const char *defaults_file(const struct cli *cli, size_t n)
{
    static const char name[] = "--defaults-file";
    for (size_t i = 0; i < n && strcmp(cli->args[i], "--") != 0; i++) {
        if (strncmp(cli->args[i], name, sizeof name - 1) == 0) {
            char end = cli->args[i][sizeof name - 1];
            if (end == '=' || (!end && i + 1 < n)) {
                return end ? cli->args[i] + sizeof name : cli->args[i + 1];
            }
        }
    }
    return NULL;
}

/* The command line says another way to the node than the file does: then only that counts. */
static void forget_file(struct cli *cli, const char *hosts, const char *socket, bool has_port)
{
    if (cli->socket != socket && cli->hosts == hosts) {
        cli->hosts = NULL;
        cli->has_port = cli->has_port && !has_port;
    } else if (cli->socket == socket && (cli->hosts != hosts || (cli->has_port && !has_port))) {
        cli->socket = NULL;
    }
}

static int find_addresses(struct cli *cli)
{
    if (cli->hosts && cli->socket) {
        return cli_fail(CLI_USAGE, "--host and --socket exclude each other");
    }
    if (cli->has_port && cli->socket) {
        return cli_fail(CLI_USAGE, "--port and --socket exclude each other");
    }
    if (cli->ssl_ca && !cli->has_tls_mode) {
        cli->tls_mode = TLS_VERIFY_CA;
    }
    if (cli->has_port && !cli->hosts) {
        cli->hosts = "127.0.0.1";
    }
    int rv = cli->hosts ? read_hosts(cli) : read_socket(cli, cli->socket ? cli->socket : HOLDFAST_SOCKET);
    for (size_t i = 0; !rv && !cli->user && i < cli->naddrs; i++) {
        if (!cli->addrs[i].is_path) {
            rv = cli_fail(CLI_USAGE, "--user: an account is needed to reach a node over the network");
        }
    }
    return rv;
}

int args_parse(struct cli *cli, int argc, char **argv)
{
    struct scoped scoped = {NULL};
    bool options = true;
    cli->port = CLI_PORT;
    cli->timeout = TIMEOUT_DEFAULT;
    cli->tls_mode = TLS_PREFERRED;
    int rv = copy_args(cli, argc, argv);
    size_t nargs = cli->nargs;
    rv = rv ? rv : optfile_read(cli, defaults_file(cli, nargs));
    const char *hosts = cli->hosts, *socket = cli->socket;
    bool has_port = cli->has_port;
    for (size_t i = 0; !rv && i < nargs; i++) {
        char *arg = cli->args[i];
        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && arg[0] == '-' && arg[1]) {
            rv = take_option(cli, &i, nargs, &scoped);
        } else if (cli->nwords == CLI_WORDS_MAX) {
            rv = cli_fail(CLI_USAGE, "too many arguments");
        } else {
            cli->words[cli->nwords++] = arg;
        }
    }
    if (!rv) {
        forget_file(cli, hosts, socket, has_port);
        rv = find_command(cli, &scoped);
    }
    if (!rv && !cli->help && !cli->version && cli->command->run != cmd_help &&
        cli->command->run != cmd_completion) {
        rv = find_addresses(cli);
    }
    return rv;
}

void args_free(struct cli *cli)
{
    for (size_t i = 0; i < cli->nargs; i++) {
        password_wipe(cli->args[i], strlen(cli->args[i]));
        mem_free(cli->args[i]);
    }
    cli->nargs = 0;
    password_wipe(cli->password, sizeof cli->password);
}
