/* optfile.c: options from a file: --defaults-file, or ~/.holdfast.cnf if there is one.
 *
 *     [client]
 *     host = db-a, db-b          any option of the command line by its long name, - or _ in it
 *     user = ops
 *     password = ...             then nobody else may be able to read the file
 *
 * Only the part [client] is read; lines that begin with # or ; are comments. What the command line says comes
 * later and counts. Failure: a line that cannot be understood is CLI_USAGE with file and line; the value is
 * never shown. */
#include "tools/cli/cli.h"

#include "protocol/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_SIZE = 2048, OPTIONS_IN_FILE = 32 };

static char *trimmed(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n && isspace((unsigned char)text[n - 1])) {
        n--;
    }
    text[n] = 0;
    return text;
}

/* A long name, with _ or -. */
static const struct option_row *find(const char *name)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const char *a = OPTIONS[i].name, *b = name;
        while (*a && (*a == *b || (*a == '-' && *b == '_'))) {
            a++;
            b++;
        }
        if (!*a && !*b) {
            return &OPTIONS[i];
        }
    }
    return NULL;
}

static int take_line(struct cli *cli, char *line, const char *path, unsigned number)
{
    char *value = strchr(line, '=');
    if (value) {
        *value++ = 0;
        value = trimmed(value);
        size_t n = strlen(value);
        if (n > 1 && (value[0] == '"' || value[0] == '\'') && value[n - 1] == value[0]) {
            value[n - 1] = 0;
            value++;
        }
    }
    const struct option_row *row = find(trimmed(line));
    if (!row || row->takes == VALUE_NONE || row->only || row->set == args_set_defaults_file) {
        return cli_fail(CLI_USAGE, "%s:%u: '%.64s' is no option that a file may hold", path, number, trimmed(line));
    }
    if (!value) {
        return cli_fail(CLI_USAGE, "%s:%u: '%s' wants a value: %s = %s", path, number, row->name, row->name, row->value);
    }
    cli->args[cli->nargs] = mem_str(value);
    return row->set(cli, cli->args[cli->nargs++]);
}

static int read_lines(struct cli *cli, FILE *file, const char *path)
{
    char line[LINE_SIZE];
    bool ours = false;
    unsigned taken = 0;
    int rv = CLI_OK;
    for (unsigned number = 1; !rv && fgets(line, sizeof line, file); number++) {
        char *text = trimmed(line);
        if (strlen(line) + 1 == sizeof line) {
            rv = cli_fail(CLI_USAGE, "%s:%u: the line is too long", path, number);
        } else if (text[0] == '[') {
            ours = strcmp(text, "[client]") == 0;
        } else if (!ours || !text[0] || text[0] == '#' || text[0] == ';') {
            continue;
        } else if (++taken > OPTIONS_IN_FILE) {
            rv = cli_fail(CLI_USAGE, "%s:%u: more than %d options", path, number, OPTIONS_IN_FILE);
        } else {
            rv = take_line(cli, text, path, number);
        }
    }
    password_wipe(line, sizeof line);
    return rv;
}

static int check_secrecy(const struct cli *cli, FILE *file, const char *path)
{
    struct stat st;
    if (fstat(fileno(file), &st)) {
        return cli_fail(CLI_USAGE, "cannot read %s: %s", path, strerror(errno));
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        return cli_fail(CLI_USAGE, "%s may be changed by others, so it is not used; chmod 600 %s", path, path);
    }
    if (cli->has_password && st.st_mode & (S_IRGRP | S_IROTH)) {
        return cli_fail(CLI_USAGE, "%s holds a password and may be read by others, so it is not used; chmod 600 %s", path, path);
    }
    return CLI_OK;
}

int optfile_read(struct cli *cli, const char *given)
{
    char path[1024];
    const char *home = getenv("HOME");
    if (!given && !home) {
        return CLI_OK;
    }
    snprintf(path, sizeof path, "%s%s", given ? given : home, given ? "" : "/.holdfast.cnf");
    FILE *file = fopen(path, "re");
    if (!file && !given && (errno == ENOENT || errno == EACCES || errno == ENOTDIR)) {
        return CLI_OK;
    }
    if (!file) {
        return cli_fail(CLI_USAGE, "cannot read %s: %s", path, strerror(errno));
    }
    int rv = read_lines(cli, file, path);
    rv = rv ? rv : check_secrecy(cli, file, path);
    fclose(file);
    return rv;
}
