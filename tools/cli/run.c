/* run.c: what commands use: errors, the connection, statements.
 *
 * Happy path: the first statement connects to the first node that answers; later ones use that connection.
 * Failure modes: no node can be reached (each address with its reason and an advice), the login is refused
 * (no other node is tried: accounts are the same on all), the node refuses a statement, the connection is
 * lost. */
#include "tools/cli/cli.h"

#include "protocol/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RESULT_MAX = 64 << 20, CA_MAX = 1 << 20, MESSAGES_MAX = 64 << 10 };

int cli_fail(int code, const char *fmt, ...)
{
    va_list ap;
    struct buf b;
    buf_init(&b, MESSAGES_MAX);
    buf_str(&b, "holdfast: ");
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    /* Line ends are ours or the server's; nothing else may move the cursor. */
    const char *text = buf_cstr(&b);
    struct buf plain;
    buf_init(&plain, MESSAGES_MAX * 4);
    while (*text) {
        size_t n = strcspn(text, "\n");
        out_plain(&plain, text, n);
        buf_u8(&plain, '\n');
        text += n + (text[n] != 0);
    }
    (void)out_write(STDERR_FILENO, &plain, NULL); /* there is no other place to complain */
    buf_free(&plain);
    sql_free(&b); /* wipes it */
    return code;
}

/* ---- the connection ---- */

static int read_ca(const char *path, struct buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        uint8_t *to = buf_reserve(text, 4096);
        if (!to) {
            close(fd);
            return cli_fail(CLI_USAGE, "--ssl-ca: %s is too large to be a certificate", path);
        }
        n = read(fd, to, 4096);
        text->len += n > 0 ? (size_t)n : 0;
    }
    int failed = errno;
    if (fd >= 0) {
        close(fd);
    }
    return n == 0 ? CLI_OK : cli_fail(CLI_USAGE, "--ssl-ca: cannot read %s: %s", path, strerror(failed));
}

/* Tries one address after the other; what went wrong is collected in `why`. */
static int connect_first(struct cli *cli, const char *ca, struct buf *why)
{
    unsigned share = cli->timeout * 1000 / (unsigned)cli->naddrs;
    int rv = CLI_CONNECT;
    for (size_t i = 0; i < cli->naddrs; i++) {
        struct errmsg em;
        char text[300];
        bool refused;
        struct conn_opts opts = {
            .addr = cli->addrs[i],
            .user = cli->user ? cli->user : "root",
            .password = cli->password,
            .tls_mode = cli->tls_mode,
            .ssl_ca = ca,
            .connect_ms = share < 1000 ? 1000 : share,
            .answer_ms = (cli->timeout + cli->patience) * 1000,
        };
        int code = conn_open(&opts, &cli->conn, &refused, &em);
        env_addr_format(&opts.addr, text, sizeof text);
        if (!code) {
            cli->conn_addr = opts.addr;
            return CLI_OK;
        }
        if (refused) {
            buf_reset(why);
            buf_printf(why, "%s refuses the login: %s", text, em.text);
            return CLI_SERVER;
        }
        buf_printf(why, "%scannot connect to %s: %s\n%s", i ? "\n" : "", text, em.text,
                   conn_advice(&opts.addr, code));
    }
    return rv;
}

int cli_connect(struct cli *cli)
{
    struct buf ca, why;
    if (cli->conn) {
        return CLI_OK;
    }
    buf_init(&ca, CA_MAX);
    buf_init(&why, MESSAGES_MAX);
    int rv = cli->ssl_ca ? read_ca(cli->ssl_ca, &ca) : CLI_OK;
    if (!rv) {
        rv = connect_first(cli, cli->ssl_ca ? buf_cstr(&ca) : NULL, &why);
        if (rv) {
            cli_fail(rv, "%s", buf_cstr(&why));
        }
    }
    buf_free(&ca);
    buf_free(&why);
    return rv;
}

void cli_be_patient(struct cli *cli, unsigned seconds)
{
    cli->patience = seconds;
    if (cli->conn) {
        conn_set_patience(cli->conn, (cli->timeout + cli->patience) * 1000);
    }
}

/* ---- statements ---- */

void cli_result_init(struct result *result)
{
    result_init(result, RESULT_MAX);
}

int cli_try(struct cli *cli, const char *sql, struct result *result, struct errmsg *em)
{
    int rv = cli_connect(cli);
    if (rv) {
        return rv;
    }
    rv = conn_query(cli->conn, sql, strlen(sql), result, em);
    if (!rv) {
        return CLI_OK;
    }
    if (rv == E_PEER || rv == E_DENIED) {
        return CLI_SERVER;
    }
    char text[300];
    env_addr_format(&cli->conn_addr, text, sizeof text);
    return cli_fail(CLI_CONNECT, "%s: %s\nWhether the node did what was asked is not known.", text, em->text);
}

int cli_query(struct cli *cli, const char *sql, struct result *result)
{
    struct errmsg em = {""};
    int rv = cli_try(cli, sql, result, &em);
    if (rv == CLI_SERVER && cli->conn) { /* without a connection cli_connect has said it */
        cli_fail(rv, "%s", em.text);
    }
    return rv;
}

void cli_done(struct cli *cli, const char *done)
{
    if (!cli->json) {
        buf_printf(&cli->out, "%s\n", done);
        return;
    }
    struct json j;
    json_begin(&j, &cli->out);
    json_open(&j, NULL, '{');
    json_bool(&j, "ok", true);
    json_close(&j, '}');
    json_end(&j);
}

void cli_warnings(struct cli *cli)
{
    struct result r;
    struct errmsg em;
    cli_result_init(&r);
    if (cli_try(cli, "SHOW WARNINGS", &r, &em) == CLI_OK) {
        for (size_t i = 0; i < r.nrows; i++) {
            const char *text = result_get(&r, i, "Message");
            cli_fail(0, "warning: %s", text ? text : "");
        }
    }
    result_free(&r);
}

int cli_change(struct cli *cli, const char *sql, const char *done)
{
    struct result r;
    cli_result_init(&r);
    int rv = cli_query(cli, sql, &r);
    if (!rv && r.warnings) {
        cli_warnings(cli);
    }
    if (!rv && done) {
        cli_done(cli, done);
    }
    result_free(&r);
    return rv;
}

int cli_list(struct cli *cli, const char *sql, const char *none)
{
    struct result r;
    cli_result_init(&r);
    int rv = cli_query(cli, sql, &r);
    if (!rv && cli->json) {
        struct json j;
        json_begin(&j, &cli->out);
        json_rows(&j, NULL, &r);
        json_end(&j);
    } else if (!rv && r.nrows == 0) {
        buf_printf(&cli->out, "%s\n", none);
    } else if (!rv) {
        out_table(&cli->out, &r, TITLES_HUMAN, 0);
    }
    result_free(&r);
    return rv;
}

/* ---- SQL texts ---- */

void sql_literal(struct buf *b, const char *text)
{
    buf_u8(b, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\') {
            buf_u8(b, (uint8_t)*text);
        }
        buf_u8(b, (uint8_t)*text);
    }
    buf_u8(b, '\'');
}

void sql_free(struct buf *b)
{
    if (b->data) {
        password_wipe(b->data, b->cap);
    }
    buf_free(b);
}
