/* status.c: `holdfast status`: the verdict first, then everything that explains it.
 *
 * Happy path: SHOW STATUS LIKE 'Holdfast_%', SHOW CLUSTER MEMBERS, SHOW REPLICAS, put together. Failure
 * modes: without the first there is no status (and a server that has no such variables is no Holdfast node);
 * members or replicas that the node does not tell are reported in their place. */
#include "tools/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ALARMS_MAX = 72, ALARM_SIZE = 1600, TITLE_WIDTH = 15 };

struct alarms {
    char text[ALARMS_MAX][ALARM_SIZE];
    size_t n;
};

/* A part of the status that comes from its own statement. */
struct part {
    struct result rows;
    struct errmsg em; /* why there is none; "" */
};

static const char PREFIX[] = "Holdfast_";

const char *status_get(const struct result *status, const char *name)
{
    for (size_t i = 0; i < status->nrows; i++) {
        const char *key = result_value(status, i, 0, NULL);
        if (key && strncasecmp(key, PREFIX, strlen(PREFIX)) == 0 &&
            strcasecmp(key + strlen(PREFIX), name) == 0) {
            return result_value(status, i, 1, NULL);
        }
    }
    return NULL;
}

/* The same, but never NULL. */
static const char *get(const struct result *status, const char *name)
{
    const char *value = status_get(status, name);
    return value ? value : "";
}

bool status_yes(const char *value)
{
    return value && (strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0 ||
                     strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

/* ---- the source ---- */

static const struct {
    const char *name, *title, *key;
    enum { SHOWN_TEXT, SHOWN_NUMBER, SHOWN_BOOL } as;
} SOURCE_FIELDS[] = {
    {"source", "address", "address", SHOWN_TEXT},
    {"source_phase", "phase", "phase", SHOWN_TEXT},
    {"source_error", "last error", "error", SHOWN_TEXT},
    {"source_semi_sync", "semi-sync", "semi_sync", SHOWN_BOOL},
    {"source_status", "it waits", "status", SHOWN_TEXT},
    {"source_no_tx", "without ACK", "no_tx", SHOWN_NUMBER},
    {"source_checks", "settings", "checks", SHOWN_TEXT},
    {"source_identity", "identity", "identity", SHOWN_TEXT},
    {"received_position", "received", "received", SHOWN_TEXT},
    {"committed_position", "committed", "committed", SHOWN_TEXT},
    {"ack_position", "acknowledged", "acknowledged", SHOWN_TEXT},
    {"acks", "ACKs sent", "acks", SHOWN_NUMBER},
    {"transactions", "transactions", "transactions", SHOWN_NUMBER},
};
enum { NFIELDS = sizeof SOURCE_FIELDS / sizeof SOURCE_FIELDS[0] };

void status_source_text(struct buf *b, unsigned indent, unsigned width, const struct result *status)
{
    for (size_t i = 0; i < NFIELDS; i++) {
        const char *value = status_get(status, SOURCE_FIELDS[i].name);
        if (value) {
            out_pair(b, indent, width, SOURCE_FIELDS[i].title, value[0] ? value : "-");
        }
    }
}

void status_source_json(struct json *j, const struct result *status)
{
    for (size_t i = 0; i < NFIELDS; i++) {
        const char *value = status_get(status, SOURCE_FIELDS[i].name);
        if (value && SOURCE_FIELDS[i].as == SHOWN_BOOL) {
            json_bool(j, SOURCE_FIELDS[i].key, status_yes(value));
        } else if (SOURCE_FIELDS[i].as == SHOWN_NUMBER) {
            json_number(j, SOURCE_FIELDS[i].key, value);
        } else {
            json_str(j, SOURCE_FIELDS[i].key, value && value[0] ? value : NULL);
        }
    }
}

/* ---- alarms ---- */

static void __attribute__((format(printf, 2, 3))) alarm_add(struct alarms *alarms, const char *fmt, ...)
{
    va_list ap;
    if (alarms->n < ALARMS_MAX) {
        va_start(ap, fmt);
        vsnprintf(alarms->text[alarms->n++], ALARM_SIZE, fmt, ap);
        va_end(ap);
    }
}

/* Those that the cluster keeps, until they are over and acknowledged. */
static void kept_alarms(const struct part *kept, struct alarms *alarms)
{
    for (size_t i = 0; i < kept->rows.nrows && !kept->em.text[0]; i++) {
        const char *cells[8];
        static const char *const names[] = {"Id", "Kind", "State", "Acknowledged", "Since", "Until", "Source", "Text"};
        for (size_t c = 0; c < 8; c++) {
            const char *cell = result_get(&kept->rows, i, names[c]);
            cells[c] = cell ? cell : "";
        }
        bool open = strcmp(cells[2], "open") == 0;
        if (open || !status_yes(cells[3])) {
            bool moment = !open && strcmp(cells[4], cells[5]) == 0;
            alarm_add(alarms, "%s on %s %s %s%s%s: %s%s%s", cells[1], cells[6], moment ? "at" : "since", cells[4], open || moment ? "" : " until ",
                      open ? ", going on" : moment ? "" : cells[5], cells[7], open ? "" : ". When it is read: holdfast alarm ack ",
                      open ? "" : cells[0]);
        }
    }
}

/* What members say of themselves. One that cannot be reached is shown as such where they are listed. */
static void member_alarms(const struct part *members, struct alarms *alarms)
{
    for (size_t i = 0; i < members->rows.nrows && !members->em.text[0]; i++) {
        const char *note = result_get(&members->rows, i, "Note"), *state = result_get(&members->rows, i, "State");
        const char *id = result_get(&members->rows, i, "Id");
        if (note && note[0] && id && state && strcmp(state, "unreachable") != 0) {
            alarm_add(alarms, "node %s: %s", id, note);
        }
    }
}

/* "2 critical, 1 warn, 0 unknown, 10 ok": is there something to mend? */
static void settings_alarm(const struct result *status, struct alarms *alarms)
{
    const char *checks = get(status, "source_checks");
    const char *warn = strstr(checks, ", ");
    if (checks[0] && (checks[0] != '0' || (warn && warn[2] != '0'))) {
        alarm_add(alarms, "settings of %s: %s. Run: holdfast source check", get(status, "source"), checks);
    }
}

/* What somebody has to do something about. */
static void find_alarms(const struct result *status, struct alarms *alarms)
{
    const char *source = get(status, "source"), *phase = get(status, "source_phase");
    const char *error = get(status, "source_error");
    alarms->n = 0;
    if (strcmp(get(status, "leader_id"), "0") == 0) {
        alarm_add(alarms, "the cluster has no leader: no ACKs are sent, commits on the source wait");
    }
    if (!source[0]) {
        return;
    }
    bool streaming = strcasecmp(phase, "streaming") == 0;
    if (strcasecmp(phase, "off") == 0) {
        if (strcmp(get(status, "node_id"), get(status, "leader_id")) == 0) { /* it is off on all others */
            alarm_add(alarms, "%s is not followed: it was stopped. Run: holdfast source start", source);
        }
    } else if (strcasecmp(phase, "not following") == 0) { /* the follow rule: trying again is no help */
        alarm_add(alarms, "not following %s: %s", source, error[0] ? error : "the node does not say why");
    } else if (error[0] && !streaming) { /* else it is over */
        alarm_add(alarms, "source %s: %s", source, error);
    }
    if (streaming && status_get(status, "source_semi_sync") &&
        !status_yes(status_get(status, "source_semi_sync"))) {
        alarm_add(alarms,
                  "%s does not wait for acknowledgements. On it: SET GLOBAL rpl_semi_sync_source_enabled = 1 "
                  "(MariaDB, MySQL before 8.0.26: rpl_semi_sync_master_enabled)",
                  source);
    }
    settings_alarm(status, alarms);
}

/* ---- text ---- */

static void text_verdict(struct buf *b, const struct result *status)
{
    const char *reason = get(status, "protected_reason"), *since = get(status, "protected_since");
    if (status_yes(status_get(status, "protected"))) {
        buf_str(b, "protected: yes\n");
        return;
    }
    buf_str(b, "protected: no");
    if (since[0]) {
        buf_str(b, " since ");
        out_plain(b, since, strlen(since));
    }
    if (reason[0]) {
        buf_str(b, " (");
        out_plain(b, reason, strlen(reason));
        buf_str(b, ")");
    }
    buf_str(b, "\n");
}

static void text_part(struct buf *b, const char *title, const struct part *part)
{
    buf_printf(b, "\n%s:\n", title);
    if (part->em.text[0]) {
        buf_str(b, "  not known: ");
        out_plain(b, part->em.text, strlen(part->em.text));
        buf_str(b, "\n");
    } else if (part->rows.nrows == 0) {
        buf_str(b, "  none\n");
    } else {
        out_table(b, &part->rows, TITLES_HUMAN, 2);
    }
}

static void text_node(struct buf *b, const struct result *status)
{
    const char *leader = get(status, "leader_id");
    bool none = !leader[0] || strcmp(leader, "0") == 0;
    out_pair(b, 0, TITLE_WIDTH, "node", get(status, "node_id"));
    out_pair(b, 0, TITLE_WIDTH, "version", get(status, "version"));
    out_pair(b, 0, TITLE_WIDTH, "leader", none ? "none" : leader);
    out_pair(b, 0, TITLE_WIDTH, "term", get(status, "term"));
    out_pair(b, 0, TITLE_WIDTH, "applied index", get(status, "applied_index"));
    out_pair(b, 0, TITLE_WIDTH, "GTIDs", get(status, "gtid_executed"));
}

/* own: what the node that was asked says of itself; status: what the leader says. */
static void text_status(struct buf *b, const struct result *own, const struct result *status, const struct part *members,
                        const struct part *replicas, const struct alarms *alarms)
{
    text_verdict(b, status);
    buf_str(b, "\n");
    text_node(b, own);
    text_part(b, "Members", members);
    buf_str(b, "\nSource:\n");
    if (get(status, "source")[0]) {
        status_source_text(b, 2, TITLE_WIDTH, status);
    } else {
        buf_str(b, "  none is set (holdfast source set host=... user=... password=-)\n");
    }
    text_part(b, "Replicas", replicas);
    buf_str(b, "\nAlarms:\n");
    for (size_t i = 0; i < alarms->n; i++) {
        buf_str(b, "  ");
        out_plain(b, alarms->text[i], strlen(alarms->text[i]));
        buf_str(b, "\n");
    }
    if (alarms->n == 0) {
        buf_str(b, "  none\n");
    }
}

/* ---- JSON ---- */

static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

static void json_part(struct json *j, const char *key, const char *error_key, const struct part *part)
{
    if (part->em.text[0]) {
        json_str(j, key, NULL);
        json_str(j, error_key, part->em.text);
    } else {
        json_rows(j, key, &part->rows);
    }
}

static void json_status(struct buf *b, const struct result *own, const struct result *status, const struct part *members,
                        const struct part *replicas, const struct alarms *alarms)
{
    struct json j;
    json_begin(&j, b);
    json_open(&j, NULL, '{');
    json_bool(&j, "protected", status_yes(status_get(status, "protected")));
    json_str(&j, "protected_since", or_null(status_get(status, "protected_since")));
    json_str(&j, "protected_reason", or_null(status_get(status, "protected_reason")));
    json_number(&j, "node_id", status_get(own, "node_id"));
    json_str(&j, "version", status_get(own, "version"));
    json_number(&j, "leader_id", status_get(own, "leader_id"));
    json_number(&j, "term", status_get(own, "term"));
    json_number(&j, "applied_index", status_get(own, "applied_index"));
    json_str(&j, "gtid_executed", get(own, "gtid_executed"));
    json_part(&j, "members", "members_error", members);
    if (get(status, "source")[0]) {
        json_open(&j, "source", '{');
        status_source_json(&j, status);
        json_close(&j, '}');
    } else {
        json_str(&j, "source", NULL);
    }
    json_part(&j, "replicas", "replicas_error", replicas);
    json_open(&j, "alarms", '[');
    for (size_t i = 0; i < alarms->n; i++) {
        json_str(&j, NULL, alarms->text[i]);
    }
    json_close(&j, ']');
    json_close(&j, '}');
    json_end(&j);
}

/* ---- the command ---- */

static int read_part(struct cli *cli, const char *sql, struct part *part)
{
    int rv = cli_try(cli, sql, &part->rows, &part->em);
    if (rv == CLI_SERVER) {
        return CLI_OK;
    }
    part->em.text[0] = 0;
    return rv;
}

/* The source is known to the leader. Without one the node that was asked says what it knows. */
static int read_leader(struct cli *cli, const struct result *own, struct part *leader)
{
    const char *id = get(own, "leader_id");
    snprintf(leader->em.text, sizeof leader->em.text, "no leader");
    return strcmp(id, "0") != 0 && strcmp(id, get(own, "node_id")) != 0 ? read_part(cli, "SHOW CLUSTER STATUS LIKE 'Holdfast_%'", leader) : CLI_OK;
}

int cmd_status(struct cli *cli)
{
    struct result status;
    struct part leader = {.em = {""}};
    struct part members = {.em = {""}}, replicas = {.em = {""}}, kept = {.em = {""}};
    struct alarms alarms;
    cli_result_init(&status);
    cli_result_init(&leader.rows);
    cli_result_init(&members.rows);
    cli_result_init(&replicas.rows);
    cli_result_init(&kept.rows);
    int rv = cli_query(cli, "SHOW STATUS LIKE 'Holdfast_%'", &status);
    if (!rv && !status_get(&status, "protected")) {
        rv = cli_fail(CLI_SERVER, "this is no Holdfast node: the server calls itself %s",
                      conn_version(cli->conn));
    }
    if (!rv) {
        rv = read_leader(cli, &status, &leader);
    }
    if (!rv) {
        rv = read_part(cli, "SHOW CLUSTER MEMBERS", &members);
    }
    if (!rv) {
        rv = read_part(cli, "SHOW REPLICAS", &replicas);
    }
    if (!rv) {
        rv = read_part(cli, "SHOW ALARMS", &kept);
    }
    if (!rv) {
        const struct result *whole = leader.em.text[0] ? &status : &leader.rows;
        find_alarms(whole, &alarms);
        kept_alarms(&kept, &alarms);
        member_alarms(&members, &alarms);
        (cli->json ? json_status : text_status)(&cli->out, &status, whole, &members, &replicas, &alarms);
    }
    result_free(&status);
    result_free(&leader.rows);
    result_free(&members.rows);
    result_free(&replicas.rows);
    result_free(&kept.rows);
    return rv;
}
