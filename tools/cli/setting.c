/* setting.c: `holdfast setting …`, `holdfast gtid missing`, `holdfast gtid wait`.
 *
 * Happy path: a statement, its answer. GTID sets of both flavours are read here, so a set that cannot be read
 * is a wrong command line, and the difference of two is made here too: MariaDB has no function for it. */
#include "tools/cli/cli.h"

#include "protocol/gtid.h"

#include <stdio.h>
#include <string.h>

enum { SET_TEXT_MAX = 64 << 20, WAIT_PATIENCE = 5 };

int cmd_setting_list(struct cli *cli)
{
    return cli_list(cli, "SHOW SETTINGS", "This node has no settings.");
}

int cmd_setting_set(struct cli *cli)
{
    const char *text = cli->words[0], *value = strchr(text, '=');
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    size_t n = value ? (size_t)(value - text) : 0;
    if (n == 0 || strspn(text, letters) != n || !value[1]) {
        return cli_fail(CLI_USAGE, "setting set: '%s' is not NAME=VALUE; holdfast setting list shows them", text);
    }
    struct buf sql;
    buf_init(&sql, 4096);
    buf_printf(&sql, "SET GLOBAL holdfast_%.*s = ", (int)n, text);
    if (strcmp(value + 1, "DEFAULT") == 0) {
        buf_str(&sql, "DEFAULT");
    } else {
        sql_literal(&sql, value + 1);
    }
    int rv = sql.err ? cli_fail(CLI_USAGE, "setting set: the value is too long")
                     : cli_change(cli, buf_cstr(&sql), "The setting is changed.");
    sql_free(&sql);
    return rv;
}

/* ---- GTID sets ---- */

/* MySQL's have a colon in each part. NULL: it cannot be read, which is said. */
static struct gtid_set *read_set(const char *text, const char *what, enum flavour flavour)
{
    struct errmsg em = {""};
    if (flavour == FLAVOUR_NONE) {
        flavour = strchr(text, ':') ? FLAVOUR_MYSQL : FLAVOUR_MARIADB;
    }
    struct gtid_set *set = gtid_set_new(flavour);
    if (gtid_set_parse(set, text, strlen(text), &em)) {
        cli_fail(CLI_USAGE, "%s: %s", what, em.text);
        gtid_set_free(set);
        return NULL;
    }
    return set;
}

static int ask_held(struct cli *cli, enum flavour flavour, struct gtid_set **held)
{
    struct result r;
    cli_result_init(&r);
    int rv = cli_query(cli, "SHOW STATUS LIKE 'Holdfast_gtid_executed'", &r);
    const char *text = rv ? NULL : status_get(&r, "gtid_executed");
    if (!rv) {
        bool other = text && *text && (strchr(text, ':') != NULL) != (flavour == FLAVOUR_MYSQL);
        *held = text && !other ? read_set(text, "the node's GTIDs", flavour) : NULL;
        rv = *held     ? CLI_OK
             : other   ? cli_fail(CLI_USAGE, "the cluster holds GTIDs of the other flavour: %.80s", text)
                       : cli_fail(CLI_SERVER, "the node does not tell its GTIDs");
    }
    result_free(&r);
    return rv;
}

/* What `a` has and `b` lacks. */
static void put_difference(struct buf *b, const struct gtid_set *of, const struct gtid_set *without)
{
    struct gtid_set *rest = gtid_set_copy(of);
    (void)gtid_set_subtract(rest, without); /* one flavour, and each was read whole */
    gtid_set_print(rest, b);
    gtid_set_free(rest);
}

int cmd_gtid_missing(struct cli *cli)
{
    struct gtid_set *given = read_set(cli->words[0], "gtid missing", FLAVOUR_NONE), *held = NULL;
    int rv = given ? ask_held(cli, gtid_set_flavour(given), &held) : CLI_USAGE;
    if (!rv) {
        struct buf here, there;
        buf_init(&here, SET_TEXT_MAX);
        buf_init(&there, SET_TEXT_MAX);
        put_difference(&here, given, held);
        put_difference(&there, held, given);
        if (cli->json) {
            struct json j;
            json_begin(&j, &cli->out);
            json_open(&j, NULL, '{');
            json_str(&j, "missing_here", buf_cstr(&here));
            json_str(&j, "missing_there", buf_cstr(&there));
            json_close(&j, '}');
            json_end(&j);
        } else {
            buf_printf(&cli->out, "missing here:  %s\n", here.len ? buf_cstr(&here) : "nothing");
            buf_printf(&cli->out, "missing there: %s\n", there.len ? buf_cstr(&there) : "nothing");
        }
        buf_free(&here);
        buf_free(&there);
    }
    gtid_set_free(given);
    gtid_set_free(held);
    return rv;
}

static int wait_on(struct cli *cli, bool mysql)
{
    struct buf sql;
    struct result r;
    buf_init(&sql, SET_TEXT_MAX);
    cli_result_init(&r);
    buf_printf(&sql, "SELECT %s(", mysql ? "WAIT_FOR_EXECUTED_GTID_SET" : "MASTER_GTID_WAIT");
    sql_literal(&sql, cli->words[0]);
    buf_printf(&sql, ", %u) AS answer", cli->timeout);
    int rv = cli_query(cli, buf_cstr(&sql), &r);
    const char *answer = rv ? NULL : result_get(&r, 0, "answer");
    if (!rv && (!answer || strcmp(answer, "0") != 0)) {
        rv = cli_fail(CLI_SERVER, "gtid wait: not all of it is held after %u seconds; holdfast gtid missing shows what lacks",
                      cli->timeout);
    } else if (!rv) {
        cli_done(cli, "The cluster holds it.");
    }
    sql_free(&sql);
    result_free(&r);
    return rv;
}

int cmd_gtid_wait(struct cli *cli)
{
    struct gtid_set *set = read_set(cli->words[0], "gtid wait", FLAVOUR_NONE);
    if (!set) {
        return CLI_USAGE;
    }
    bool mysql = gtid_set_flavour(set) == FLAVOUR_MYSQL;
    gtid_set_free(set);
    cli->patience = WAIT_PATIENCE;
    return wait_on(cli, mysql);
}
