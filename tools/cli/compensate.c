/* compensate.c: `holdfast compensate`: brings a server what it lacks of what the cluster holds; `holdfast source check HOST`: only looks at
 * one, see rejoin.c.
 *
 * Happy path, one server: it is asked what it has; the difference is shown; it is pointed at a member (host and port change, the account
 * stays), replicates until it lacks nothing, and is stopped there; both sets are asked for again and compared. What it was told is printed,
 * and what an operator runs next to make it the source: that is not done here. --dry-run prints the statements and changes nothing.
 * Several servers: a table of what each lacks, the best one first; nothing is changed.
 *
 * Failure modes: one that is no replica (there is no account to keep) or has several channels is refused before anything is
 * changed. Replication that stops with an error, or the end of --wait: the reason, and how things stand. */
#include "tools/cli/rejoin.h"

#include "protocol/base/mem.h"
#include "protocol/gtid_lack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { TARGET_PORT = 3306, NAMED_MAX = 2000, CELL_MAX = 60, STATEMENTS_MAX = 64 << 10, WAIT_DEFAULT = 600, CA_MAX = 1 << 20, PASSWORD_FILE_MAX = 8192,
       READ_AT_ONCE = 4096 /* the buffer needs so much room behind the end, too */ };

/* ---- what is asked for ---- */

static int read_targets(struct work *w)
{
    struct cli *cli = w->cli;
    for (size_t i = 0; i < cli->nwords; i++) {
        struct errmsg em;
        if (w->n == TARGETS_MAX) {
            return cli_fail(CLI_USAGE, "compensate: more than %d servers", TARGETS_MAX);
        }
        if (env_addr_parse(cli->words[i], TARGET_PORT, &w->addrs[w->n], &em) || w->addrs[w->n].is_path) {
            return cli_fail(CLI_USAGE, "compensate: '%s' is no HOST or HOST:PORT", cli->words[i]);
        }
        w->n++;
    }
    return CLI_OK;
}

/* The whole file, with a NUL behind it; `what` is the option. */
static int read_file(const char *what, const char *path, struct buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        uint8_t *to = buf_reserve(text, READ_AT_ONCE);
        if (!to) {
            close(fd);
            return cli_fail(CLI_USAGE, "--%s: %s is too large", what, path);
        }
        n = read(fd, to, READ_AT_ONCE);
        text->len += n > 0 ? (size_t)n : 0;
    }
    int failed = errno;
    if (fd >= 0) {
        close(fd);
    }
    return n == 0 ? CLI_OK : cli_fail(CLI_USAGE, "--%s: cannot read %s: %s", what, path, strerror(failed));
}

/* Of the account on the servers: from a file's first line, the environment, or asked for. */
static int find_password(struct work *w)
{
    const char *given = getenv("HOLDFAST_TARGET_PASSWORD");
    struct buf text;
    struct errmsg em;
    if (!w->cli->target_password_file && !given) {
        return password_ask("Password of the account on the server", w->password, &em) ? cli_fail(CLI_USAGE, "compensate: %s", em.text) : CLI_OK;
    }
    buf_init(&text, PASSWORD_FILE_MAX + READ_AT_ONCE);
    int rv = CLI_OK;
    if (w->cli->target_password_file) {
        rv = read_file("target-password-file", w->cli->target_password_file, &text);
    } else {
        buf_str(&text, given);
    }
    size_t n = strcspn(buf_cstr(&text), "\r\n");
    if (!rv && n >= PASSWORD_SIZE) {
        rv = cli_fail(CLI_USAGE, "compensate: the password is longer than %d bytes", PASSWORD_SIZE - 1);
    } else if (!rv) {
        memcpy(w->password, buf_cstr(&text), n);
        w->password[n] = 0;
    }
    sql_free(&text);
    return rv;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

/* The server reaches the member as we do, if we do by network; else somebody has to say how. */
static int find_member(struct work *w)
{
    struct cli *cli = w->cli;
    struct errmsg em;
    if (cli->via) {
        return env_addr_parse(cli->via, CLI_PORT, &w->via, &em) || w->via.is_path ? cli_fail(CLI_USAGE, "--via: '%s' is no HOST or HOST:PORT", cli->via)
                                                                                   : CLI_OK;
    }
    w->via = cli->conn_addr;
    if (w->via.is_path || (is_loopback(w->via.host) && !is_loopback(w->addrs[0].host))) {
        return cli_fail(CLI_USAGE, "compensate: by which address does %s reach a member of the cluster? Say it with --via HOST:PORT, or with "
                                   "-h HOST:PORT connect to the member in that way", w->targets[0].name);
    }
    return CLI_OK;
}

/* ---- what is held, and what is lacking ---- */

/* What a quorum holds: the leader answers. */
static int ask_cluster(struct work *w, enum flavour flavour)
{
    struct result r;
    struct errmsg em;
    cli_result_init(&r);
    int rv = cli_query(w->cli, "SHOW CLUSTER STATUS LIKE 'Holdfast_gtid_executed'", &r);
    const char *text = rv ? NULL : status_get(&r, "gtid_executed");
    gtid_set_free(w->held);
    w->held = gtid_set_new(flavour);
    if (!rv && (!text || gtid_set_parse(w->held, text, strlen(text), &em))) {
        rv = cli_fail(CLI_SERVER, "what the cluster holds are no GTIDs of %s: %s", flavour_name(flavour), text ? text : "nothing");
    } else if (!rv && gtid_set_is_empty(w->held)) {
        rv = cli_fail(CLI_SERVER, "the cluster holds no transaction with a GTID");
    }
    result_free(&r);
    return rv;
}

void work_compare(const struct work *w, const struct target *t, struct difference *d)
{
    d->lacking = gtid_lacking(w->held, t->has, t->applied);
    d->errant = gtid_lacking(t->has, w->held, NULL);
    d->common = gtid_set_copy(t->has); /* MariaDB's numbers of what is lacking begin behind it, not behind what is errant */
    (void)gtid_set_intersect(d->common, w->held);
    d->n_lacking = gtid_lacking_count(d->lacking, d->common);
    d->n_errant = gtid_lacking_count(d->errant, w->held);
}

void difference_free(struct difference *d)
{
    gtid_set_free(d->lacking);
    gtid_set_free(d->errant);
    gtid_set_free(d->common);
    d->lacking = d->errant = d->common = NULL;
}

/* ---- one server: its difference in words, or as members of an object ---- */

static void say_set(struct buf *b, const char *name, const char *verb, uint64_t n, const struct gtid_set *set, const struct gtid_set *other,
                    const char *nothing)
{
    if (!n) {
        buf_printf(b, "%s %s nothing%s.\n", name, verb, nothing);
        return;
    }
    buf_printf(b, "%s %s %" PRIu64 " transaction%s%s: ", name, verb, n, n == 1 ? "" : "s", nothing);
    gtid_lacking_print(set, other, NAMED_MAX, b);
    buf_str(b, "\n");
}

void work_say_difference(struct buf *b, const struct work *w, const struct target *t, const struct difference *d)
{
    say_set(b, t->name, "lacks", d->n_lacking, d->lacking, d->common, " that the cluster holds");
    if (d->n_errant) {
        say_set(b, t->name, "has", d->n_errant, d->errant, w->held, " that the cluster does not hold (errant)");
    }
}

static void json_set(struct json *j, const char *key, const struct gtid_set *set, const struct gtid_set *other)
{
    struct buf text;
    buf_init(&text, 64 << 20);
    gtid_lacking_print(set, other, SIZE_MAX, &text);
    json_str(j, key, buf_cstr(&text));
    buf_free(&text);
}

static void json_count(struct json *j, const char *key, uint64_t n)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, n);
    json_number(j, key, digits);
}

static void json_statements(struct json *j, const char *key, struct buf *sql)
{
    char *all = mem_str(buf_cstr(sql)), *next = all, *one;
    json_open(j, key, '[');
    while ((one = strsep(&next, "\n"))) {
        if (one[0]) {
            json_str(j, NULL, one);
        }
    }
    json_close(j, ']');
    mem_free(all);
}

void work_json_target(struct json *j, const struct work *w, const struct target *t, const struct difference *d)
{
    json_str(j, "server", t->name);
    json_str(j, "version", conn_version(t->conn));
    json_count(j, "lacks", d->n_lacking);
    json_set(j, "missing", d->lacking, d->common);
    json_count(j, "errant", d->n_errant);
    json_set(j, "errant_gtids", d->errant, w->held);
    json_str(j, "source", t->channels ? t->source : NULL);
}

/* ---- several servers ---- */

static void rank(const struct difference *d, size_t n, size_t order[TARGETS_MAX])
{
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && d[order[at - 1]].n_lacking > d[i].n_lacking; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

static void cell(struct buf *b, const struct gtid_set *set, const struct gtid_set *other)
{
    if (gtid_set_is_empty(set)) {
        buf_str(b, "-");
    } else {
        gtid_lacking_print(set, other, CELL_MAX, b);
    }
}

static void print_ranking(struct work *w, const struct difference *d, const size_t *order)
{
    struct buf *b = &w->cli->out;
    int width = 6;
    for (size_t i = 0; i < w->n; i++) {
        width = (int)strlen(w->targets[i].name) > width ? (int)strlen(w->targets[i].name) : width;
    }
    buf_printf(b, "%-*s  %8s  %8s  MISSING\n", width, "SERVER", "LACKS", "ERRANT");
    for (size_t i = 0; i < w->n; i++) {
        const struct target *t = &w->targets[order[i]];
        buf_printf(b, "%-*s  %8" PRIu64 "  %8" PRIu64 "  ", width, t->name, d[order[i]].n_lacking, d[order[i]].n_errant);
        cell(b, d[order[i]].lacking, d[order[i]].common);
        buf_str(b, "\n");
    }
    const char *best = w->targets[order[0]].name;
    if (d[order[0]].n_lacking) {
        buf_printf(b, "\n%s lacks the least. To bring it what it lacks: holdfast compensate %s\n", best, best);
    } else {
        buf_printf(b, "\n%s lacks nothing.\n", best);
    }
}

static int compare_all(struct work *w)
{
    struct difference d[TARGETS_MAX] = {{0}};
    size_t order[TARGETS_MAX];
    for (size_t i = 0; i < w->n; i++) {
        work_compare(w, &w->targets[i], &d[i]);
    }
    rank(d, w->n, order);
    if (w->cli->json) {
        struct json j;
        json_begin(&j, &w->cli->out);
        json_open(&j, NULL, '[');
        for (size_t i = 0; i < w->n; i++) {
            json_open(&j, NULL, '{');
            work_json_target(&j, w, &w->targets[order[i]], &d[order[i]]);
            json_close(&j, '}');
        }
        json_close(&j, ']');
        json_end(&j);
    } else {
        print_ranking(w, d, order);
    }
    for (size_t i = 0; i < w->n; i++) {
        difference_free(&d[i]);
    }
    return CLI_OK;
}

/* ---- one server ---- */

/* Before anything is changed. */
static int can_be_pointed(const struct target *t)
{
    if (!t->channels) {
        return cli_fail(CLI_SERVER, "%s is no replica, so it has no replication account to keep. Give it one, and the cluster as its source, with %s",
                        t->name, t->replica_words ? "CHANGE REPLICATION SOURCE TO" : "CHANGE MASTER TO");
    }
    if (t->channels > 1) {
        return cli_fail(CLI_SERVER, "%s replicates over %zu channels; point the right one at the cluster by hand", t->name, t->channels);
    }
    if (t->delay) {
        cli_fail(0, "warning: %s applies with a delay of %lu s; what it lacks comes as late", t->name, t->delay);
    }
    return CLI_OK;
}

static int64_t now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec;
}

/* Replication that ended with an error does not go on by itself. */
static const char *stopped(const struct target *t)
{
    if (!t->sql_runs && t->sql_error[0]) {
        return t->sql_error;
    }
    return !t->io_runs && t->io_error[0] ? t->io_error : NULL;
}

static void progress(const struct target *t, uint64_t lacks, uint64_t *shown, int64_t *shown_at)
{
    if (lacks != *shown && (now_s() > *shown_at || !lacks)) {
        fprintf(stderr, "%s lacks %" PRIu64 "\n", t->name, lacks);
        *shown = lacks;
        *shown_at = now_s();
    }
}

/* Until it lacks nothing of what was held at the begin. */
static int await_all(struct work *w, struct target *t)
{
    static const struct timespec pause = {.tv_nsec = 200000000};
    int64_t end = now_s() + (w->cli->wait ? (int64_t)w->cli->wait : WAIT_DEFAULT), shown_at = 0;
    uint64_t shown = 0;
    for (;;) {
        struct difference d;
        struct errmsg em;
        if (target_look(t, &em)) {
            return cli_fail(CLI_CONNECT, "%s\nIt goes on replicating from %s.", em.text, w->via.host);
        }
        work_compare(w, t, &d);
        uint64_t lacks = d.n_lacking;
        difference_free(&d);
        progress(t, lacks, &shown, &shown_at);
        if (!lacks) {
            return CLI_OK;
        }
        if (stopped(t)) {
            return cli_fail(CLI_SERVER, "%s still lacks %" PRIu64 " transactions, and its replication stopped: %s", t->name, lacks, stopped(t));
        }
        if (now_s() >= end) {
            return cli_fail(CLI_SERVER, "%s still lacks %" PRIu64 " transactions after %lu s. It goes on replicating from the cluster; run this again to wait on.%s%s",
                            t->name, lacks, w->cli->wait ? w->cli->wait : (unsigned long)WAIT_DEFAULT, t->io_error[0] ? " Its last error: " : "", t->io_error);
        }
        (void)nanosleep(&pause, NULL);
    }
}

static int run(struct target *t, struct buf *sql)
{
    struct errmsg em;
    return target_run(t, sql, &em) ? cli_fail(CLI_SERVER, "%s", em.text) : CLI_OK;
}

static void print_statements(struct buf *out, const char *title, struct buf *sql)
{
    char *all = mem_str(buf_cstr(sql)), *next = all, *one;
    buf_printf(out, "%s\n", title);
    while ((one = strsep(&next, "\n"))) {
        if (one[0]) {
            buf_printf(out, "  %s;\n", one);
        }
    }
    mem_free(all);
}

/* What makes it the source, when it has everything. */
static void print_next(struct work *w, struct target *t)
{
    struct buf sql, *out = &w->cli->out;
    char title[400];
    buf_init(&sql, STATEMENTS_MAX);
    target_promote(t, &sql);
    snprintf(title, sizeof title, "\nTo make it the source, on %s:", t->name);
    print_statements(out, title, &sql);
    buf_printf(out, "and then:\n  holdfast source stop\n  holdfast source set host=%s port=%u\n  holdfast source start\n", w->addrs[0].host,
               (unsigned)w->addrs[0].port);
    buf_free(&sql);
}

struct statements {
    struct buf point, stop;
};

static void print_json(struct work *w, struct target *t, const struct difference *d, struct statements *s, bool done)
{
    struct json j;
    json_begin(&j, &w->cli->out);
    json_open(&j, NULL, '{');
    work_json_target(&j, w, t, d);
    json_open(&j, "statements", '{');
    json_statements(&j, "point", &s->point);
    json_statements(&j, "stop", &s->stop);
    json_close(&j, '}');
    json_bool(&j, "holds_everything", done);
    json_close(&j, '}');
    json_end(&j);
}

/* It is pointed at the member, waited for, stopped, and both sides are asked again. */
static int bring(struct work *w, struct target *t, struct statements *s)
{
    struct errmsg em;
    struct difference d;
    int rv = run(t, &s->point);
    rv = rv ? rv : await_all(w, t);
    rv = rv ? rv : run(t, &s->stop);
    rv = rv ? rv : ask_cluster(w, t->flavour);
    if (!rv && target_look(t, &em)) {
        rv = cli_fail(CLI_CONNECT, "%s", em.text);
    }
    if (!rv) {
        work_compare(w, t, &d);
        if (d.n_lacking) {
            rv = cli_fail(CLI_SERVER, "%s got all that was held when this began; meanwhile %" PRIu64 " transactions came from the source, which is still "
                                      "followed (holdfast source stop). Run this again", t->name, d.n_lacking);
        }
        difference_free(&d);
    }
    return rv;
}

static int compensate_one(struct work *w)
{
    struct target *t = &w->targets[0];
    struct buf *out = &w->cli->out;
    struct difference d;
    struct statements s;
    int rv = CLI_OK;
    bool lacks;
    buf_init(&s.point, STATEMENTS_MAX);
    buf_init(&s.stop, STATEMENTS_MAX);
    work_compare(w, t, &d);
    lacks = d.n_lacking > 0;
    if (lacks) {
        rv = can_be_pointed(t);
        rv = rv ? rv : find_member(w);
        if (!rv) {
            target_point(t, w->via.host, w->via.port, &s.point);
            target_stop(t, &s.stop);
        }
    }
    if (!w->cli->json) {
        work_say_difference(out, w, t, &d);
    }
    if (!rv && lacks && !w->cli->json) {
        print_statements(out, w->cli->dry_run ? "It would be told:" : "It is told:", &s.point);
        print_statements(out, "and, when it lacks nothing any more:", &s.stop);
    }
    if (!rv && lacks && !w->cli->dry_run) {
        rv = out_write(STDOUT_FILENO, out, NULL) ? CLI_SERVER : CLI_OK; /* before the waiting */
        buf_reset(out);
        rv = rv ? rv : bring(w, t, &s);
    }
    if (!rv && w->cli->json) {
        print_json(w, t, &d, &s, !lacks || !w->cli->dry_run);
    } else if (!rv && !(lacks && w->cli->dry_run)) {
        if (lacks) {
            buf_printf(out, "%s holds every transaction that the cluster holds, and is stopped there.\n", t->name);
        }
        print_next(w, t);
    }
    difference_free(&d);
    buf_free(&s.point);
    buf_free(&s.stop);
    return rv;
}

/* ---- the command ---- */

static struct conn_opts options(const struct work *w, size_t i)
{
    struct cli *cli = w->cli;
    return (struct conn_opts){
        .addr = w->addrs[i],
        .user = cli->target_user ? cli->target_user : "root",
        .password = w->password,
        .tls_mode = cli->has_target_tls_mode ? cli->target_tls_mode : cli->target_ssl_ca ? TLS_VERIFY_CA : TLS_PREFERRED,
        .ssl_ca = cli->target_ssl_ca ? buf_cstr((struct buf *)(uintptr_t)&w->ca) : NULL,
        .connect_ms = cli->timeout * 1000,
        .answer_ms = cli->timeout * 1000,
    };
}

int work_connect(const struct work *w, struct conn **conn, struct errmsg *em)
{
    struct conn_opts opts = options(w, 0);
    bool refused;
    return conn_open(&opts, conn, &refused, em);
}

static int open_targets(struct work *w)
{
    struct cli *cli = w->cli;
    int rv = cli->target_ssl_ca ? read_file("target-ssl-ca", cli->target_ssl_ca, &w->ca) : CLI_OK;
    for (size_t i = 0; !rv && i < w->n; i++) {
        struct errmsg em;
        bool refused = false;
        struct conn_opts opts = options(w, i);
        int code = target_open(&w->targets[i], &opts, &refused, &em);
        if (code) {
            bool answered = refused || code == E_PEER || code == E_DENIED || code == E_UNSUPPORTED || code == E_INVALID;
            rv = cli_fail(answered ? CLI_SERVER : CLI_CONNECT, "%s", em.text);
        } else if (w->targets[i].flavour != w->targets[0].flavour) {
            rv = cli_fail(CLI_SERVER, "%s and %s are of different flavours", w->targets[0].name, w->targets[i].name);
        }
    }
    return rv;
}

/* With the servers at hand, does the rest. */
static int with_targets(struct cli *cli, int (*rest)(struct work *w))
{
    struct work *w = mem_new(sizeof *w);
    w->cli = cli;
    buf_init(&w->ca, CA_MAX);
    int rv = read_targets(w);
    rv = rv ? rv : cli_connect(cli); /* nobody types a password for a node that does not answer */
    rv = rv ? rv : find_password(w);
    rv = rv ? rv : open_targets(w);
    rv = rv ? rv : ask_cluster(w, w->targets[0].flavour);
    rv = rv ? rv : rest(w);
    for (size_t i = 0; i < w->n; i++) {
        target_close(&w->targets[i]);
    }
    gtid_set_free(w->held);
    buf_free(&w->ca);
    password_wipe(w->password, sizeof w->password);
    mem_free(w);
    return rv;
}

static int compensate(struct work *w)
{
    return w->n > 1 ? compare_all(w) : compensate_one(w);
}

int cmd_compensate(struct cli *cli)
{
    return with_targets(cli, compensate);
}

int compensate_check(struct cli *cli)
{
    return with_targets(cli, rejoin_check);
}
