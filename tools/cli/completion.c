/* completion.c: scripts that teach bash and zsh to complete commands, printed from the tables of commands and
 * options. Both find the first two words that are no options, then offer what the tables have for them. */
#include "tools/cli/cli.h"

#include <string.h>


/* The first words, each once. */
static void first_words(struct buf *b)
{
    const char *last = "";
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const char *name = COMMANDS_TABLE[i].name;
        size_t n = strcspn(name, " ");
        if (strncmp(last, name, n) != 0 || (last[n] && last[n] != ' ')) {
            buf_printf(b, " %.*s", (int)n, name);
        }
        last = name;
    }
}

static void second_words(struct buf *b)
{
    for (size_t i = 0; i < COMMANDS_COUNT;) {
        const char *name = COMMANDS_TABLE[i].name;
        size_t n = strcspn(name, " ");
        if (!name[n]) {
            i++;
            continue;
        }
        buf_printf(b, "    %.*s) offered='", (int)n, name);
        const char *blank = "";
        for (; i < COMMANDS_COUNT && strncmp(COMMANDS_TABLE[i].name, name, n + 1) == 0; i++) {
            buf_printf(b, "%s%s", blank, COMMANDS_TABLE[i].name + n + 1);
            blank = " ";
        }
        buf_str(b, "' ;;\n");
    }
}

static void option_names(struct buf *b, const char *only)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (only ? option_belongs(&OPTIONS[i], only) : !OPTIONS[i].only) {
            buf_printf(b, " --%s", OPTIONS[i].name);
        }
    }
}

static void third_words(struct buf *b)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const struct command *c = &COMMANDS_TABLE[i];
        size_t before = b->len;
        buf_printf(b, "    '%s') offered=\"$offered %s", c->name, c->complete);
        size_t plain = b->len;
        option_names(b, c->name);
        if (b->len == plain && !c->complete[0]) {
            b->len = before;
        } else {
            buf_str(b, "\" ;;\n");
        }
    }
}

/* An option that takes a value, as a pattern of case: "--host|-h". */
static void option_pattern(struct buf *b, const struct option_row *o)
{
    buf_printf(b, "--%s", o->name);
    if (o->letter) {
        buf_printf(b, "|-%c", o->letter);
    }
}

/* What is offered for the value of an option, and nothing else then. */
static void option_values(struct buf *b, bool zsh)
{
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option_row *o = &OPTIONS[i];
        if (o->takes != VALUE_REQUIRED) {
            continue;
        }
        bool file = strcmp(o->value, "FILE") == 0 || strcmp(o->value, "PATH") == 0;
        buf_str(b, "    ");
        option_pattern(b, o);
        buf_str(b, ") ");
        if (o->complete[0] && zsh) {
            buf_printf(b, "compadd -- %s; ", o->complete);
        } else if (o->complete[0]) {
            buf_printf(b, "mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$current\"); ", o->complete);
        } else if (file) {
            buf_str(b, zsh ? "_files; " : "mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); ");
        }
        buf_str(b, "return ;;\n");
    }
}

/* The loop over the words before the one that is completed, which ends with first and second. */
static void find_words(struct buf *b, const char *words)
{
    buf_printf(b, "    for word in %s; do\n"
                  "        if [ -n \"$skip\" ]; then skip=; continue; fi\n"
                  "        case $word in\n"
                  "        ", words);
    const char *bar = "";
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (OPTIONS[i].takes == VALUE_REQUIRED) {
            buf_str(b, bar);
            option_pattern(b, &OPTIONS[i]);
            bar = "|";
        }
    }
    buf_str(b, ") skip=1 ;;\n"
               "        -*) ;;\n"
               "        *) if [ -z \"$first\" ]; then first=$word; elif [ -z \"$second\" ]; then "
               "second=$word; fi ;;\n"
               "        esac\n"
               "    done\n");
}

/* What may stand there, into `offered` and `options`. */
static void find_offers(struct buf *b)
{
    buf_str(b, "    options='");
    option_names(b, NULL);
    buf_str(b, "'\n    case $first in\n    '') offered='");
    first_words(b);
    buf_str(b, "' ;;\n");
    second_words(b);
    buf_str(b, "    esac\n"
               "    [ -z \"$second\" ] || offered=\n"
               "    case $first${second:+ $second} in\n");
    third_words(b);
    buf_str(b, "    esac\n");
}

static void bash_script(struct buf *b)
{
    buf_str(b, "# Completion of holdfast(1) for bash: source <(holdfast completion bash)\n"
               "_holdfast() {\n"
               "    local current=$2 before=$3 first='' second='' word skip='' offered='' options=''\n"
               "    COMPREPLY=()\n"
               "    case $before in\n");
    option_values(b, false);
    buf_str(b, "    esac\n");
    find_words(b, "\"${COMP_WORDS[@]:1:COMP_CWORD-1}\"");
    find_offers(b);
    buf_str(b, "    mapfile -t COMPREPLY < <(compgen -W \"$offered $options\" -- \"$current\")\n"
               "    case ${COMPREPLY[*]} in *=) compopt -o nospace ;; esac\n"
               "}\n"
               "complete -F _holdfast holdfast\n");
}

static void zsh_script(struct buf *b)
{
    buf_str(b, "#compdef holdfast\n"
               "# Completion of holdfast(1) for zsh: a file _holdfast in a directory of $fpath, or\n"
               "# source <(holdfast completion zsh)\n"
               "_holdfast() {\n"
               "    local before=${words[CURRENT-1]} first='' second='' word skip='' offered='' options=''\n"
               "    local -a keys plain\n"
               "    case $before in\n");
    option_values(b, true);
    buf_str(b, "    esac\n");
    find_words(b, "\"${(@)words[2,CURRENT-1]}\"");
    find_offers(b);
    buf_str(b, "    for word in ${=offered} ${=options}; do\n"
               "        case $word in *=) keys+=($word) ;; *) plain+=($word) ;; esac\n"
               "    done\n"
               "    compadd -- \"${plain[@]}\"\n"
               "    compadd -S '' -- \"${keys[@]}\"\n"
               "}\n"
               "if [ \"${funcstack[1]}\" = _holdfast ]; then _holdfast \"$@\"; else compdef _holdfast holdfast; fi\n");
}

int cmd_completion(struct cli *cli)
{
    const char *shell = cli->words[0];
    if (strcmp(shell, "bash") == 0) {
        bash_script(&cli->out);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh_script(&cli->out);
    } else {
        return cli_fail(CLI_USAGE, "completion: '%s' is no shell that is known here; bash and zsh are", shell);
    }
    return CLI_OK;
}
