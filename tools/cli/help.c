/* help.c: help, printed from the tables of commands and options. */
#include "tools/cli/cli.h"

#include "build.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 78, COLUMN = 34 };

/* Text broken at blanks; lines that begin with a blank, and line ends, stay as they are. */
static void wrapped(struct buf *b, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (n > WIDTH && text[0] != ' ') {
            size_t cut = WIDTH;
            while (cut && text[cut] != ' ') {
                cut--;
            }
            n = cut ? cut : n;
        }
        buf_bytes(b, text, n);
        buf_u8(b, '\n');
        text += n + (text[n] != 0);
    }
}

static void line(struct buf *b, const char *left, const char *right)
{
    if (strlen(left) + 4 > COLUMN) {
        buf_printf(b, "  %s\n%*s%s\n", left, COLUMN, "", right);
    } else {
        buf_printf(b, "  %-*s%s\n", COLUMN - 2, left, right);
    }
}

static void option_lines(struct buf *b, const char *only)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option_row *o = &OPTIONS[i];
        char left[128], letter[8] = "    ";
        if (only ? !option_belongs(o, only) : o->only != NULL) {
            continue;
        }
        if (o->letter) {
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        }
        snprintf(left, sizeof left, "%s--%s%s%s%s", letter, o->name,
                 o->takes == VALUE_OPTIONAL   ? "[="
                 : o->takes == VALUE_REQUIRED ? "="
                                              : "",
                 o->value ? o->value : "", o->takes == VALUE_OPTIONAL ? "]" : "");
        line(b, left, o->help);
    }
}

static void command_line(struct buf *b, const struct command *c)
{
    char left[128];
    snprintf(left, sizeof left, "%s%s%s", c->name, c->args[0] ? " " : "", c->args);
    line(b, left, c->summary);
}

void help_program(struct buf *b)
{
    buf_str(b, "usage: holdfast [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        command_line(b, &COMMANDS_TABLE[i]);
    }
    buf_str(b, "\nOptions:\n");
    option_lines(b, NULL);
    buf_str(b, "\n");
    wrapped(b, "Without --host the node on this machine is asked, through " HOLDFAST_SOCKET
               ". Without --password the environment's HOLDFAST_PASSWORD is used, if it is set.\n"
               "\n"
               "holdfast COMMAND --help says more about a command, with examples; so does holdfast(1).\n"
               "Exit status: 0 done, 1 the node refused, 2 wrong command line, 3 no node reached.\n");
}

void help_command(struct buf *b, const struct command *c)
{
    buf_printf(b, "usage: holdfast [OPTION]... %s%s%s\n\n", c->name, c->args[0] ? " " : "", c->args);
    buf_printf(b, "%s: %s\n", c->name, c->summary);
    if (c->details[0]) {
        buf_str(b, "\n");
        wrapped(b, c->details);
    }
    size_t before = b->len;
    buf_str(b, "\nOptions:\n");
    size_t none = b->len;
    option_lines(b, c->name);
    if (b->len == none) {
        b->len = before;
    }
    buf_str(b, "\nExamples:\n");
    for (const char *at = c->examples; *at;) {
        size_t n = strcspn(at, "\n");
        buf_printf(b, "  %.*s\n", (int)n, at);
        at += n + (at[n] != 0);
    }
    buf_str(b, "\nholdfast --help lists the options that all commands have.\n");
}

void help_group(struct buf *b, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const char *name = COMMANDS_TABLE[i].name;
        if (strncmp(name, word, n) == 0 && name[n] == ' ') {
            command_line(b, &COMMANDS_TABLE[i]);
        }
    }
}

int cmd_help(struct cli *cli)
{
    size_t used = 0;
    if (cli->nwords == 0) {
        help_program(&cli->out);
        return CLI_OK;
    }
    const struct command *c = command_find(cli->words, cli->nwords, &used);
    if (c && used == cli->nwords) {
        help_command(&cli->out, c);
    } else if (cli->nwords == 1 && command_is_group(cli->words[0])) {
        help_group(&cli->out, cli->words[0]);
    } else {
        return cli_fail(CLI_USAGE, "there is no command '%s%s%s' (holdfast --help lists them)", cli->words[0],
                        cli->nwords > 1 ? " " : "", cli->nwords > 1 ? cli->words[1] : "");
    }
    return CLI_OK;
}
