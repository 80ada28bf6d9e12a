/* sql_source.c: which source to follow: CHANGE REPLICATION SOURCE, START, STOP and RESET REPLICA. Each is a
 * change of the replicated settings, made from what they are when its turn comes; the source link hears of it
 * when the entry is applied.
 *
 * RESET REPLICA KEEP OLD is the way out where the source's history is another one for good: all files are put away, on every node.
 *
 * Refused: changes while the source is followed, options we do not have (by name, so that nothing is silently
 * ignored that matters). */
#include "node/purge.h"
#include "node/sql_impl.h"

#include "protocol/compress.h"
#include "protocol/tls.h"
#include "storage/filelist.h"
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NOT_SUPPORTED_CODE = 1235 };

/* Which fields of `settings` were given. */
enum {
    GIVEN_HOST = 1,
    GIVEN_PORT = 2,
    GIVEN_USER = 4,
    GIVEN_PASSWORD = 8,
    GIVEN_SSL_MODE = 16,
    GIVEN_START = 32,
    GIVEN_SSL_CA = 64,
    GIVEN_SSL_CERT = 128,
    GIVEN_SSL_KEY = 256,
    GIVEN_COMPRESSION = 512,
    GIVEN_EXACT_MODE = 1024 /* by its name, not by SOURCE_SSL=1 */
};

struct source_change {
    unsigned given;
    struct source_settings settings;
};

/* ---- reading CHANGE ... TO ---- */

static bool take_text(struct sql_call *call, const char *option, char *to, size_t size)
{
    const char *text = sql_string(call);
    if (!text) {
        return false;
    }
    if (strlen(text) >= size) {
        return sql_error(call, 1231, "42000", "the value of %s is longer than %zu bytes", option, size - 1);
    }
    snprintf(to, size, "%s", text);
    return true;
}

static bool take_number(struct sql_call *call, const char *option, unsigned long max, unsigned long *n)
{
    const struct sql_token *token = sql_peek(call);
    char *end = NULL;
    if (token->kind != TOKEN_NUMBER && token->kind != TOKEN_STRING) {
        return sql_syntax(call);
    }
    sql_take(call);
    *n = strtoul(token->text, &end, 10);
    if (!token->text[0] || strspn(token->text, "0123456789") != strlen(token->text) ||
        strlen(token->text) > 9 || *n > max) {
        return sql_error(call, 1231, "42000", "the value of %s must be a number from 0 to %lu", option, max);
    }
    return true;
}

static bool o_host(struct sql_call *call, const char *option, struct source_change *change)
{
    change->given |= GIVEN_HOST;
    return take_text(call, option, change->settings.host, sizeof change->settings.host) &&
           (change->settings.host[0] ||
            sql_error(call, 1231, "42000", "%s must not be empty; RESET REPLICA ALL forgets the source",
                      option));
}

static bool o_port(struct sql_call *call, const char *option, struct source_change *change)
{
    unsigned long port = 0;
    if (!take_number(call, option, UINT16_MAX, &port)) {
        return false;
    }
    change->given |= GIVEN_PORT;
    change->settings.port = (uint16_t)port;
    return port || sql_error(call, 1231, "42000", "%s must not be 0", option);
}

static bool o_user(struct sql_call *call, const char *option, struct source_change *change)
{
    change->given |= GIVEN_USER;
    return take_text(call, option, change->settings.user, sizeof change->settings.user);
}

static bool o_password(struct sql_call *call, const char *option, struct source_change *change)
{
    change->given |= GIVEN_PASSWORD;
    return take_text(call, option, change->settings.password, sizeof change->settings.password);
}

static bool o_ssl(struct sql_call *call, const char *option, struct source_change *change)
{
    unsigned long on = 0;
    if (!take_number(call, option, 1, &on)) {
        return false;
    }
    if (!on) {
        change->given |= GIVEN_EXACT_MODE;
    }
    if (!(change->given & GIVEN_SSL_MODE)) { /* the mode says more */
        change->given |= GIVEN_SSL_MODE;
        snprintf(change->settings.ssl_mode, sizeof change->settings.ssl_mode, "%s",
                 tls_mode_name(on ? TLS_REQUIRED : TLS_DISABLED));
    }
    return true;
}

static bool o_ssl_mode(struct sql_call *call, const char *option, struct source_change *change)
{
    char text[64];
    enum tls_mode mode;
    if (!take_text(call, option, text, sizeof text)) {
        return false;
    }
    if (tls_mode_parse(text, &mode)) {
        return sql_error(call, 1231, "42000",
                         "%s is one of disabled, preferred, required, verify_ca, verify_identity", option);
    }
    change->given |= GIVEN_SSL_MODE | GIVEN_EXACT_MODE;
    snprintf(change->settings.ssl_mode, sizeof change->settings.ssl_mode, "%s", tls_mode_name(mode));
    return true;
}

static bool o_ssl_verify(struct sql_call *call, const char *option, struct source_change *change)
{
    unsigned long on = 0;
    if (!take_number(call, option, 1, &on)) {
        return false;
    }
    if (on) {
        change->given |= GIVEN_SSL_MODE | GIVEN_EXACT_MODE;
        snprintf(change->settings.ssl_mode, sizeof change->settings.ssl_mode, "%s", tls_mode_name(TLS_VERIFY_IDENTITY));
    }
    return true;
}

/* Paths on the nodes: each of them may lead. The files are read at each connect. */
static bool take_path(struct sql_call *call, const char *option, char *to, size_t size)
{
    return take_text(call, option, to, size) &&
           (!to[0] || to[0] == '/' ||
            sql_error(call, 1231, "42000", "%s is the absolute path of a PEM file on each node, or '' for none", option));
}

static bool o_ssl_ca(struct sql_call *call, const char *option, struct source_change *change)
{
    change->given |= GIVEN_SSL_CA;
    return take_path(call, option, change->settings.ssl_ca, sizeof change->settings.ssl_ca);
}

static bool o_ssl_cert(struct sql_call *call, const char *option, struct source_change *change)
{
    change->given |= GIVEN_SSL_CERT;
    return take_path(call, option, change->settings.ssl_cert, sizeof change->settings.ssl_cert);
}

static bool o_ssl_key(struct sql_call *call, const char *option, struct source_change *change)
{
    change->given |= GIVEN_SSL_KEY;
    return take_path(call, option, change->settings.ssl_key, sizeof change->settings.ssl_key);
}

/* Also MySQL's list of algorithms: its first one counts, and where a source does not offer it there is none. */
static bool o_compression(struct sql_call *call, const char *option, struct source_change *change)
{
    char text[64];
    struct compress_choice choice;
    if (!take_text(call, option, text, sizeof text)) {
        return false;
    }
    text[strcspn(text, ",")] = 0;
    if (strcasecmp(text, "uncompressed") == 0) {
        snprintf(text, sizeof text, "none");
    }
    if (compress_parse(text, &choice)) {
        return sql_error(call, 1231, "42000", "%s is none, zlib, zstd or zstd:LEVEL (1 to %d)", option,
                         COMPRESS_ZSTD_LEVEL_MAX);
    }
    change->given |= GIVEN_COMPRESSION;
    char *to = change->settings.compression;
    size_t size = sizeof change->settings.compression;
    if (choice.kind == COMPRESS_ZSTD) {
        snprintf(to, size, "zstd:%d", choice.level);
    } else {
        snprintf(to, size, "%s", compress_name(choice.kind));
    }
    return true;
}

static bool o_start(struct sql_call *call, const char *option, struct source_change *change)
{
    char *start = change->settings.start;
    change->given |= GIVEN_START;
    if (!take_text(call, option, start, sizeof change->settings.start)) {
        return false;
    }
    if (strcasecmp(start, "oldest") == 0 || strcasecmp(start, "now") == 0) {
        for (; *start; start++) {
            *start = (char)(*start | 0x20);
        }
        return true;
    }
    return *start ||
           sql_error(call, 1231, "42000", "%s is oldest, now, a binlog file's name or a GTID set", option);
}

/* Positions are our own affair: the link continues where the files end. */
static bool o_ignored(struct sql_call *call, const char *option, struct source_change *change)
{
    (void)option;
    (void)change;
    enum sql_token_kind kind = sql_peek(call)->kind;
    if (kind != TOKEN_NUMBER && kind != TOKEN_STRING && kind != TOKEN_WORD) {
        return sql_syntax(call);
    }
    sql_take(call);
    return true;
}

/* Without SOURCE_ or MASTER_ in front. */
static const struct {
    const char *name;
    bool (*read)(struct sql_call *call, const char *option, struct source_change *change);
} options[] = {
    {"HOST", o_host},        {"PORT", o_port},         {"USER", o_user},   {"PASSWORD", o_password},
    {"SSL_CA", o_ssl_ca},    {"SSL_CERT", o_ssl_cert}, {"SSL_KEY", o_ssl_key},
    {"SSL_VERIFY_SERVER_CERT", o_ssl_verify},
    {"COMPRESSION", o_compression}, {"COMPRESSION_ALGORITHMS", o_compression},
    {"SSL", o_ssl},          {"SSL_MODE", o_ssl_mode}, {"START", o_start}, {"AUTO_POSITION", o_ignored},
    {"USE_GTID", o_ignored},
};

static bool read_option(struct sql_call *call, struct source_change *change)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_WORD) {
        return sql_syntax(call);
    }
    sql_take(call);
    char option[64]; /* as it will be quoted: never longer */
    snprintf(option, sizeof option, "%s", token->text);
    if (!sql_need_mark(call, "=")) {
        return false;
    }
    bool prefix = strncasecmp(option, "SOURCE_", 7) == 0 || strncasecmp(option, "MASTER_", 7) == 0;
    for (size_t i = 0; prefix && i < sizeof options / sizeof *options; i++) {
        if (strcasecmp(option + 7, options[i].name) == 0) {
            return options[i].read(call, option, change);
        }
    }
    return sql_error(call, NOT_SUPPORTED_CODE, "42000",
                     "option %s is not supported; HELP CHANGE lists those that are", option);
}

static void running_reply(const struct control *control, struct reply *reply)
{
    const struct state_era *era = state_era(cluster_state(control->cluster));
    if (era && era->origin.flavour == FLAVOUR_MARIADB) {
        reply_error(reply, 1198, "HY000",
                    "This operation cannot be performed as you have a running replica; run STOP SLAVE first");
    } else {
        reply_error(
            reply, 3021, "HY000",
            "This operation cannot be performed with a running replica io thread; run STOP REPLICA first.");
    }
}

static const struct source_settings *settings_of(const struct control *control)
{
    const struct state *state = cluster_state(control->cluster);
    return state->has_source && state->source.host[0] ? &state->source : NULL;
}

/* Who names a CA and no mode wants the source's certificate to be signed by it, as MySQL understands it too. */
static void verify_by_ca(const struct source_change *change, struct source_settings *s)
{
    enum tls_mode mode;
    if (change->given & GIVEN_SSL_CA && !(change->given & GIVEN_EXACT_MODE) && s->ssl_ca[0] &&
        !tls_mode_parse(s->ssl_mode, &mode) && mode < TLS_VERIFY_CA) {
        snprintf(s->ssl_mode, sizeof s->ssl_mode, "%s", tls_mode_name(TLS_VERIFY_CA));
    }
}

static bool build_change(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct source_change *change = what;
    const struct source_settings *old = settings_of(control);
    struct source_settings s = {.port = 3306, .ssl_mode = "preferred", .start = "oldest"};
    if (old) {
        s = *old;
    }
    if (s.running) {
        running_reply(control, reply);
        return false;
    }
    if (!old && !(change->given & GIVEN_HOST)) {
        reply_error(reply, 1210, "HY000", "no source is set yet: SOURCE_HOST is needed");
        return false;
    }
#define TAKE(bit, field)                                                                                     \
    if (change->given & (bit)) {                                                                             \
        memcpy(&s.field, &change->settings.field, sizeof s.field);                                           \
    }
    TAKE(GIVEN_HOST, host)
    TAKE(GIVEN_PORT, port)
    TAKE(GIVEN_USER, user)
    TAKE(GIVEN_PASSWORD, password)
    TAKE(GIVEN_SSL_MODE, ssl_mode)
    TAKE(GIVEN_SSL_CA, ssl_ca)
    TAKE(GIVEN_SSL_CERT, ssl_cert)
    TAKE(GIVEN_SSL_KEY, ssl_key)
    TAKE(GIVEN_COMPRESSION, compression)
    TAKE(GIVEN_START, start)
#undef TAKE
    if (!s.ssl_cert[0] != !s.ssl_key[0]) {
        reply_error(reply, 1210, "HY000", "SOURCE_SSL_CERT and SOURCE_SSL_KEY are given together or not at all");
        return false;
    }
    verify_by_ca(change, &s);
    entry_put_source(entry, &s);
    explicit_bzero(&s, sizeof s);
    return true;
}

static void read_channel(struct sql_call *call)
{
    if (sql_match(call, "FOR CHANNEL")) {
        const char *name = sql_string(call);
        if (name && *name) {
            sql_error(call, 3074, "HY000", "Replica channel '%.64s' does not exist.", name);
        }
    }
}

static void change_later(struct sql_call *call, control_build *build, const void *what, size_t n)
{
    call->later = true;
    control_change(call->control, call->request, build, what, n);
}

void sql_change_source(struct sql_call *call)
{
    struct source_change change = {0};
    while (read_option(call, &change) && sql_mark(call, ",")) {
    }
    read_channel(call);
    if (sql_end(call)) {
        change_later(call, build_change, &change, sizeof change);
    }
    explicit_bzero(&change, sizeof change);
}

/* ---- START, STOP, RESET ---- */

static bool build_running(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    bool run = *(const bool *)what;
    const struct source_settings *old = settings_of(control);
    if (!old) {
        reply_error(
            reply, 1200, "HY000",
            "The server is not configured as replica; set a source with CHANGE REPLICATION SOURCE TO first");
        return false;
    }
    if (old->running == run) {
        reply_ok(reply);
        reply_note(reply, "Note", run ? 3083 : 3084, "Replication thread(s) for channel '' are already %s.", run ? "running" : "stopped");
        return false;
    }
    struct source_settings s = *old;
    s.running = run;
    entry_put_source(entry, &s);
    explicit_bzero(&s, sizeof s);
    return true;
}

static void set_running(struct sql_call *call, bool run)
{
    read_channel(call);
    if (sql_end(call)) {
        change_later(call, build_running, &run, sizeof run);
    }
}

void sql_start_replica(struct sql_call *call)
{
    set_running(call, true);
}

void sql_stop_replica(struct sql_call *call)
{
    set_running(call, false);
}

static bool build_reset(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    bool all = *(const bool *)what;
    const struct source_settings *old = settings_of(control);
    if (old && old->running) {
        running_reply(control, reply);
        return false;
    }
    if (!old || !all) { /* the position is the end of the files held: it stays */
        reply_ok(reply);
        if (old) {
            reply_note(reply, "Note", 1105, "the position is where the files held here end: it stays; RESET REPLICA ALL forgets the source");
        }
        return false;
    }
    struct source_settings none = {.port = 3306, .ssl_mode = "preferred", .start = "oldest"};
    entry_put_source(entry, &none);
    return true;
}

struct history_reset {
    struct entry_reset reset;
    bool force;
};

/* A replica that lacks something of the history cannot get it any more. */
static bool is_needed(struct control *control, struct reply *reply)
{
    size_t n = filelist_count(cluster_state(control->cluster)->files);
    struct purge_plan plan;
    if (n < 2) {
        return false;
    }
    purge_plan(control, n - 1, false, &plan);
    if (plan.n < plan.wanted) {
        reply_error(reply, 1105, "HY000", "file %s is needed: %s. FORCE puts it away all the same, and such a replica has to be set up again",
                    plan.file, plan.why);
    }
    return plan.n < plan.wanted;
}

static bool build_history_reset(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct history_reset *asked = what;
    const struct state *state = cluster_state(control->cluster);
    if (state->source.running) {
        running_reply(control, reply);
        return false;
    }
    if (!state_file(state)) {
        reply_ok(reply);
        reply_note(reply, "Note", 1105, "there are no files: nothing is put away");
        return false;
    }
    if (!asked->force && is_needed(control, reply)) {
        return false;
    }
    entry_put_reset(entry, &asked->reset);
    reply_ok(reply);
    reply_note(reply, "Note", 1105,
               "the files are in binlog/old/%s of each node's data directory. Replicas hold GTIDs of the old history: they have to be set up again",
               asked->reset.keep);
    return true;
}

static void reset_history(struct sql_call *call)
{
    struct history_reset asked = {.force = false};
    const char *name = sql_string(call);
    bool ok = name && store_keep_ok(name);
    asked.force = !call->failed && sql_word(call, "FORCE");
    if (!sql_end(call)) {
        return;
    }
    if (!ok) {
        sql_error(call, 1210, "HY000", "'%.64s' is no name to keep files under: letters, digits and behind the first one - _ ., at most %d", name ? name : "",
                  STORE_KEEP_SIZE - 1);
        return;
    }
    memcpy(asked.reset.keep, name, strlen(name) + 1);
    change_later(call, build_history_reset, &asked, sizeof asked);
}

void sql_reset_replica(struct sql_call *call)
{
    if (sql_match(call, "KEEP OLD")) {
        reset_history(call);
        return;
    }
    bool all = sql_word(call, "ALL");
    read_channel(call);
    if (sql_end(call)) {
        change_later(call, build_reset, &all, sizeof all);
    }
}
