/* member.c: who is in the cluster, and how that changes.
 *
 * Happy path: one statement says what is wanted; the cluster does it by itself, and this only watches: what a new member waits for stands on standard
 * error, each time that it is another thing. Failure: the node's own words; a wait that is over ends with what the cluster still waits for, and
 * the cluster goes on. */
#include "tools/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STATEMENT_MAX = 1024, LOOK_US = 200000, COME_S = 60, TEXT_SIZE = 700 };

struct watch {
    const char *id;
    const char *role; /* that it is to have; NULL: none */
    char said[TEXT_SIZE];
};

int cmd_member_list(struct cli *cli)
{
    return cli_list(cli, "SHOW CLUSTER MEMBERS", "The cluster has no members yet.");
}

static const char *get(const struct result *r, size_t row, const char *column)
{
    const char *text = result_get(r, row, column);
    return text ? text : "";
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Its row; r->nrows when it has none. */
static size_t find(const struct result *r, const char *id)
{
    size_t row = 0;
    while (row < r->nrows && strcmp(get(r, row, "Id"), id) != 0) {
        row++;
    }
    return row;
}

static void tell(const struct cli *cli, struct watch *w, const struct result *r, size_t row)
{
    char text[TEXT_SIZE];
    const char *note = get(r, row, "Note");
    snprintf(text, sizeof text, "node %s: %s%s%.400s", w->id, get(r, row, "Role"), note[0] ? ": " : "", note);
    if (!cli->json && strcmp(text, w->said) != 0) {
        fprintf(stderr, "%s\n", text);
        snprintf(w->said, sizeof w->said, "%s", text);
    }
}

/* *state: 0 it goes on, 1 done, 2 nobody has come yet, 3 this very node goes. */
static int look(struct cli *cli, struct watch *w, int *state)
{
    struct result r;
    cli_result_init(&r);
    int rv = cli_query(cli, "SHOW CLUSTER MEMBERS", &r);
    if (!rv) {
        size_t row = find(&r, w->id);
        bool there = row < r.nrows, goes_on = there && get(&r, row, "Goal")[0];
        *state = !there ? !w->role : !goes_on && w->role ? !strcmp(get(&r, row, "Role"), w->role) : 0;
        if (!*state && there) {
            tell(cli, w, &r, row);
            *state = !strcmp(get(&r, row, "State"), "awaited") ? 2 : !w->role && !strcmp(get(&r, row, "Self"), "yes") ? 3 : 0;
        }
    }
    result_free(&r);
    return rv;
}

static int watch(struct cli *cli, struct watch *w, const char *done)
{
    double begin = now_s();
    int state = 0;
    for (;;) {
        int rv = look(cli, w, &state);
        double spent = now_s() - begin;
        if (rv) {
            return rv;
        }
        if (state == 1 || state == 3) {
            cli_done(cli, state == 1 ? done : "It is done when this node ends.");
            return CLI_OK;
        }
        if ((cli->wait && spent > (double)cli->wait) || (state == 2 && !cli->wait && spent > COME_S)) {
            return cli_fail(CLI_SERVER, "node %s is not there yet, and the cluster goes on with it by itself: holdfast member list shows how far it is%s", w->id,
                            state == 2 ? "; start holdfastd there, with an empty data directory and join = in its configuration" : "");
        }
        usleep(LOOK_US);
    }
}

static bool is_id(const char *text)
{
    return text[0] >= '1' && text[0] <= '9' && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 10;
}

/* `role`: what to wait for; NULL: that it is gone. */
static int change(struct cli *cli, const char *verb, const char *role, const char *done_what)
{
    struct watch w = {.id = cli->words[0], .role = role};
    struct buf sql;
    char done[80];
    if (!is_id(w.id)) {
        return cli_fail(CLI_USAGE, "member: '%s' is no node's id; holdfast member list shows them", w.id);
    }
    buf_init(&sql, STATEMENT_MAX);
    buf_printf(&sql, "ALTER CLUSTER %s MEMBER %s", verb, w.id);
    if (cli->nwords > 1) {
        buf_str(&sql, " ");
        sql_literal(&sql, cli->words[1]);
    }
    buf_str(&sql, cli->standby ? " AS STANDBY" : "");
    buf_str(&sql, cli->dry_run ? " DRY RUN" : "");
    snprintf(done, sizeof done, "Node %s is %s.", w.id, done_what);
    int rv = sql.err ? cli_fail(CLI_USAGE, "member: the address is too long") : cli->dry_run ? cli_list(cli, buf_cstr(&sql), "Nothing.") : cli_change(cli, buf_cstr(&sql), NULL);
    buf_free(&sql);
    if (rv || cli->dry_run) {
        return rv;
    }
    if (cli->no_wait) {
        cli_done(cli, "The cluster does it by itself from here on (holdfast member list).");
        return CLI_OK;
    }
    return watch(cli, &w, done);
}

int cmd_member_add(struct cli *cli)
{
    return cli->standby ? change(cli, "ADD", "standby", "a standby") : change(cli, "ADD", "voter", "a voter");
}

int cmd_member_replace(struct cli *cli)
{
    return change(cli, "REPLACE", "voter", "a voter again");
}

int cmd_member_remove(struct cli *cli)
{
    return change(cli, "REMOVE", NULL, "removed; its id is never used again");
}

int cmd_member_promote(struct cli *cli)
{
    return change(cli, "PROMOTE", "voter", "a voter");
}

int cmd_member_demote(struct cli *cli)
{
    return change(cli, "DEMOTE", "standby", "a standby");
}
