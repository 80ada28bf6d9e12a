/* source.c: `holdfast source …`: which source is followed.
 *
 * Happy path: KEY=VALUE words become one CHANGE REPLICATION SOURCE TO; all that is left out stays as it is.
 * The password is never part of a message. Failure modes: a key or value that cannot be is refused before
 * anything is asked or sent; what the node refuses (for one, a change while the source is followed) is said
 * in its words. */
#include "tools/cli/cli.h"

#include "protocol/compress.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SQL_MAX = 1 << 20 };

enum key_kind { KEY_FOLLOW, KEY_TEXT, KEY_PORT, KEY_SECRET, KEY_SSL_MODE, KEY_PATH, KEY_COMPRESSION };

static const struct source_key {
    const char *key;
    const char *sql;
    enum key_kind kind;
} KEYS[] = {
    {"host", "SOURCE_HOST", KEY_TEXT},
    {"port", "SOURCE_PORT", KEY_PORT},
    {"user", "SOURCE_USER", KEY_TEXT},
    {"password", "SOURCE_PASSWORD", KEY_SECRET},
    {"ssl_mode", "SOURCE_SSL_MODE", KEY_SSL_MODE},
    {"ssl_ca", "SOURCE_SSL_CA", KEY_PATH},
    {"ssl_cert", "SOURCE_SSL_CERT", KEY_PATH},
    {"ssl_key", "SOURCE_SSL_KEY", KEY_PATH},
    {"compression", "SOURCE_COMPRESSION", KEY_COMPRESSION},
    {"start", "SOURCE_START", KEY_TEXT},
    {"follow", "holdfast_follow", KEY_FOLLOW}, /* a setting, and the last one here */
};
enum { NKEYS = sizeof KEYS / sizeof KEYS[0], FOLLOW = NKEYS - 1 };

/* Finds the key of a word; *value is what stands behind the '='. */
static int find_key(const char *word, size_t *key, const char **value)
{
    const char *equals = strchr(word, '=');
    size_t n = equals ? (size_t)(equals - word) : strlen(word);
    for (size_t i = 0; i < NKEYS; i++) {
        if (strlen(KEYS[i].key) == n && strncasecmp(word, KEYS[i].key, n) == 0) {
            *key = i;
            *value = equals ? equals + 1 : NULL;
            return *value ? CLI_OK
                          : cli_fail(CLI_USAGE, "source set: %s wants a value: %s=...", KEYS[i].key,
                                     KEYS[i].key);
        }
    }
    return cli_fail(CLI_USAGE,
                    "source set: '%.*s' is no key; host, port, user, password, ssl_mode, ssl_ca, ssl_cert, "
                    "ssl_key, compression, start and follow are",
                    (int)n, word);
}

static int check_value(enum key_kind kind, const char *value)
{
    enum tls_mode mode;
    struct compress_choice compression;
    if (kind == KEY_PORT) {
        unsigned long port = 0;
        size_t n = strspn(value, "0123456789");
        for (size_t i = 0; i < n && port <= UINT16_MAX; i++) {
            port = port * 10 + (unsigned long)(value[i] - '0');
        }
        if (value[n] || port == 0 || port > UINT16_MAX) {
            return cli_fail(CLI_USAGE, "source set: port=%s is no port (1 to 65535)", value);
        }
    } else if (kind == KEY_SSL_MODE && tls_mode_parse(value, &mode)) {
        return cli_fail(CLI_USAGE,
                        "source set: ssl_mode=%s is none of disabled, preferred, required, verify_ca, "
                        "verify_identity",
                        value);
    } else if (kind == KEY_PATH && value[0] && value[0] != '/') {
        return cli_fail(CLI_USAGE, "source set: %s is no absolute path (of a PEM file on each node)", value);
    } else if (kind == KEY_COMPRESSION && compress_parse(value, &compression)) {
        return cli_fail(CLI_USAGE, "source set: compression=%s is none of none, zlib, zstd, zstd:LEVEL (1 to %d)", value,
                        COMPRESS_ZSTD_LEVEL_MAX);
    } else if (kind == KEY_FOLLOW && strcasecmp(value, "auto") != 0 && strcasecmp(value, "manual") != 0) {
        return cli_fail(CLI_USAGE, "source set: follow=%s is neither manual nor auto", value);
    } else if (kind == KEY_TEXT && !value[0]) {
        return cli_fail(CLI_USAGE, "source set: a value is empty; leave the key out to keep what is there");
    }
    return CLI_OK;
}

static int read_keys(const struct cli *cli, const char *values[NKEYS])
{
    for (size_t i = 0; i < cli->nwords; i++) {
        size_t key = 0;
        const char *value;
        int rv = find_key(cli->words[i], &key, &value);
        if (!rv && values[key]) {
            rv = cli_fail(CLI_USAGE, "source set: %s is given twice", KEYS[key].key);
        }
        if (!rv) {
            rv = check_value(KEYS[key].kind, value);
        }
        if (rv) {
            return rv;
        }
        values[key] = value;
    }
    return CLI_OK;
}

static void build_change(struct buf *sql, const char *const values[NKEYS])
{
    const char *comma = "";
    buf_str(sql, "CHANGE REPLICATION SOURCE TO ");
    for (size_t i = 0; i < FOLLOW; i++) {
        if (!values[i]) {
            continue;
        }
        buf_printf(sql, "%s%s=", comma, KEYS[i].sql);
        if (KEYS[i].kind == KEY_PORT) {
            buf_str(sql, values[i]);
        } else {
            sql_literal(sql, values[i]);
        }
        comma = ", ";
    }
}

int cmd_source_set(struct cli *cli)
{
    const char *values[NKEYS] = {NULL};
    char password[PASSWORD_SIZE] = "";
    int rv = read_keys(cli, values);
    if (!rv) {
        rv = cli_connect(cli); /* nobody types a password for a node that does not answer */
    }
    for (size_t i = 0; !rv && i < NKEYS; i++) {
        struct errmsg em;
        if (KEYS[i].kind == KEY_SECRET && values[i] && strcmp(values[i], "-") == 0) {
            rv = password_ask("Password of the source's account", password, &em)
                     ? cli_fail(CLI_USAGE, "source set: %s", em.text)
                     : CLI_OK;
            values[i] = password;
        }
    }
    if (!rv && cli->nwords > (values[FOLLOW] != NULL)) {
        struct buf sql;
        buf_init(&sql, SQL_MAX);
        build_change(&sql, values);
        rv = cli_change(cli, buf_cstr(&sql), values[FOLLOW] ? NULL : "The source is set. To follow it: holdfast source start");
        sql_free(&sql);
    }
    if (!rv && values[FOLLOW]) {
        bool automatic = strcasecmp(values[FOLLOW], "auto") == 0;
        rv = cli_change(cli, automatic ? "SET GLOBAL holdfast_follow = 'auto'" : "SET GLOBAL holdfast_follow = 'manual'",
                        automatic ? "Set. One of several addresses is followed by itself when it is writable, waits for acknowledgements and holds everything."
                                  : "Set. Another server is followed only when it is named alone.");
    }
    password_wipe(password, sizeof password);
    return rv;
}

int cmd_source_start(struct cli *cli)
{
    return cli_change(cli, "START REPLICA",
                      "The source is being followed; holdfast status shows how it goes.");
}

int cmd_source_stop(struct cli *cli)
{
    return cli_change(cli, "STOP REPLICA", "The source is not followed any longer.");
}

int cmd_source_reset(struct cli *cli)
{
    enum { RESET_MAX = 4096 };
    struct buf sql;
    if (!cli->keep_old) {
        return cli_fail(CLI_USAGE, "source reset: say with --keep-old DIR where the old files go");
    }
    buf_init(&sql, RESET_MAX);
    buf_str(&sql, "RESET REPLICA KEEP OLD ");
    sql_literal(&sql, cli->keep_old);
    buf_str(&sql, cli->force ? " FORCE" : "");
    int rv = cli_change(cli, buf_cstr(&sql), "The old history is put away.");
    buf_free(&sql);
    return rv;
}

/* ---- show ---- */

/* What SHOW REPLICA STATUS knows beyond the status variables; both flavours' names. */
static const struct {
    const char *names[2];
    const char *title, *key;
    bool number;
} SHOWN[] = {
    {{"Source_User", "Master_User"}, "user", "user", false},
    {{"Replica_IO_State", "Slave_IO_State"}, "state", "state", false},
    {{"Replica_IO_Running", "Slave_IO_Running"}, "connected", "connected", false},
    {{"Source_UUID", "Master_UUID"}, "UUID", "uuid", false},
    {{"Source_Server_Id", "Master_Server_Id"}, "server id", "server_id", true},
    {{"Source_SSL_Allowed", "Master_SSL_Allowed"}, "TLS", "tls", false},
    {{"Last_IO_Errno", NULL}, "error number", "error_number", true},
    {{"Executed_Gtid_Set", "Gtid_IO_Pos"}, "GTIDs", "gtid_executed", false},
};
enum { NSHOWN = sizeof SHOWN / sizeof SHOWN[0], WIDTH = 15 };

static const char *shown_value(const struct result *replica, size_t row)
{
    const char *value = result_get(replica, 0, SHOWN[row].names[0]);
    if (!value && SHOWN[row].names[1]) {
        value = result_get(replica, 0, SHOWN[row].names[1]);
    }
    return value;
}

static void show_text(struct buf *b, const struct result *status, const struct result *replica)
{
    status_source_text(b, 0, WIDTH, status);
    for (size_t i = 0; i < NSHOWN; i++) {
        const char *value = shown_value(replica, i);
        if (value && !(SHOWN[i].number && strcmp(value, "0") == 0)) {
            out_pair(b, 0, WIDTH, SHOWN[i].title, value);
        }
    }
}

static void show_json(struct buf *b, const struct result *status, const struct result *replica)
{
    struct json j;
    json_begin(&j, b);
    json_open(&j, NULL, '{');
    status_source_json(&j, status);
    for (size_t i = 0; i < NSHOWN; i++) {
        const char *value = shown_value(replica, i);
        if (SHOWN[i].number) {
            json_number(&j, SHOWN[i].key, value);
        } else {
            json_str(&j, SHOWN[i].key, value && value[0] ? value : NULL);
        }
    }
    json_close(&j, '}');
    json_end(&j);
}

int cmd_source_show(struct cli *cli)
{
    struct result status, replica;
    cli_result_init(&status);
    cli_result_init(&replica);
    int rv = cli_query(cli, "SHOW CLUSTER STATUS LIKE 'Holdfast_%'", &status);
    if (!rv) {
        rv = cli_query(cli, "SHOW REPLICA STATUS", &replica);
    }
    if (!rv && replica.nrows == 0) {
        buf_str(&cli->out, cli->json
                               ? "null\n"
                               : "No source is set (holdfast source set host=... user=... password=-)\n");
    } else if (!rv) {
        (cli->json ? show_json : show_text)(&cli->out, &status, &replica);
    }
    result_free(&status);
    result_free(&replica);
    return rv;
}

/* ---- check ---- */

/* What is not ok, with what to do about it, below the table. */
static void check_advice(struct buf *b, const struct result *r)
{
    size_t wrong = 0;
    for (size_t i = 0; i < r->nrows; i++) {
        const char *name = result_get(r, i, "Name"), *state = result_get(r, i, "State"), *why = result_get(r, i, "Why");
        const char *sql = result_get(r, i, "Statement"), *run = result_get(r, i, "Run");
        if (!name || !state || strcmp(state, "ok") == 0) {
            continue;
        }
        wrong++;
        buf_str(b, "\n");
        out_plain(b, name, strlen(name));
        buf_printf(b, " (%s): ", state);
        out_plain(b, why ? why : "", why ? strlen(why) : 0);
        buf_str(b, "\n");
        if (run && run[0]) {
            buf_str(b, "  ");
            out_plain(b, run, strlen(run));
            buf_str(b, sql && sql[0] ? ":\n" : "\n");
        }
        if (sql && sql[0]) {
            buf_str(b, "  ");
            out_plain(b, sql, strlen(sql));
            buf_str(b, ";\n");
        }
    }
    if (!wrong) {
        buf_str(b, "\nAll settings are as they should be.\n");
    }
}

static void check_table(struct buf *b, const struct result *r)
{
    unsigned width[3] = {4, 8, 5};
    static const char *const names[] = {"Name", "State", "Value", "Wanted"};
    for (size_t i = 0; i < r->nrows; i++) {
        for (size_t c = 0; c < 3; c++) {
            const char *v = result_get(r, i, names[c]);
            width[c] = v && strlen(v) > width[c] ? (unsigned)strlen(v) : width[c];
        }
    }
    buf_printf(b, "%-*s  %-*s  %-*s  WANTED\n", (int)width[0], "NAME", (int)width[1], "STATE", (int)width[2], "VALUE");
    for (size_t i = 0; i < r->nrows; i++) {
        for (size_t c = 0; c < 4; c++) {
            const char *v = result_get(r, i, names[c]);
            size_t n = v ? strlen(v) : 0;
            out_plain(b, v ? v : "", n);
            buf_printf(b, "%*s", c < 3 ? (int)(width[c] - n + 2) : 0, "");
        }
        buf_str(b, "\n");
    }
}

int cmd_source_check(struct cli *cli)
{
    struct result r;
    if (cli->nwords) {
        return compensate_check(cli);
    }
    cli_result_init(&r);
    int rv = cli_query(cli, "CHECK REPLICATION SOURCE", &r);
    if (!rv && cli->json) {
        struct json j;
        json_begin(&j, &cli->out);
        json_rows(&j, NULL, &r);
        json_end(&j);
    } else if (!rv) {
        check_table(&cli->out, &r);
        check_advice(&cli->out, &r);
    }
    result_free(&r);
    return rv;
}
