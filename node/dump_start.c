/* dump_start.c: from the command to the first packets: what is asked for, in which dialect, and where it
 * begins.
 *
 * Happy path: the session's variables and the command make a struct dump; the reader is opened; a ROTATE of
 * our own names the place, and in the middle of a file its format description follows. What is not here *yet*
 * (no file at all, a file or position after our end: the replica has read on from the source itself) is
 * waited for, with heartbeats that say what the replica believes already.
 *
 * Failure: what was never there, or is gone: dump_error.c. */
#include "node/dump_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"
#include "protocol/result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PERIOD_MIN ENV_MS

/* ---- opening ---- */

/* "base.000123": the part before the number, and the number. */
static bool split_name(const char *name, size_t *base, unsigned long long *number)
{
    const char *dot = strrchr(name, '.');
    if (!dot || !dot[1] || strspn(dot + 1, "0123456789") != strlen(dot + 1) || strlen(dot + 1) > 18) {
        return false;
    }
    *base = (size_t)(dot - name);
    *number = strtoull(dot + 1, NULL, 10);
    return true;
}

/* Would a source that goes on from our end come to this file? */
static bool may_come(struct dump *d)
{
    const struct catalog_entry *end;
    uint64_t offset;
    size_t base, our_base;
    unsigned long long number, our_number;
    if (!store_sub_end(&d->session->worker->sub, &end, &offset)) {
        return true;
    }
    return split_name(d->file, &base, &number) && split_name(end->file->name, &our_base, &our_number) &&
           base == our_base && memcmp(d->file, end->file->name, base) == 0 && number > our_number;
}

/* A position after the end of the file that is being written. */
static bool may_grow(struct dump *d)
{
    const struct catalog_entry *end;
    uint64_t offset;
    return store_sub_end(&d->session->worker->sub, &end, &offset) && strcmp(end->file->name, d->file) == 0;
}

static void wait_for_it(struct dump *d, const struct errmsg *why)
{
    if (d->mode != DUMP_BY_GTIDS && d->file[0] && !d->announced_asked) {
        env_log(d->session->env, ENV_INFO,
                "dump waits id=%lu peer=%s replica_ahead=1 file=%s position=%llu why=\"%s\"",
                (unsigned long)d->session->sql.connection_id, d->session->peer, d->file,
                (unsigned long long)d->position, why->text);
        d->announced_asked = true;
        worker_dump_stands(d);
        dump_put_rotate(d, d->file, d->position);
    }
}

/* No source sends a heartbeat before a format description, and how a heartbeat is read hangs on it. Where the replica waits there is none
 * yet: the newest file's stands in for it. The place's own follows when it is there. */
bool dump_put_stand_in(struct dump *d)
{
    struct store_sub *sub = &d->session->worker->sub;
    const struct catalog_entry *end;
    struct reader *reader;
    struct reader_event ev;
    struct errmsg em = {""};
    uint64_t offset;
    const uint8_t *fde;
    size_t n;
    if (d->stand_in || !store_sub_end(sub, &end, &offset) || offset <= EVENT_MAGIC_SIZE) {
        return d->stand_in;
    }
    int rv = reader_open_position(sub, end->file->era, end->file->name, EVENT_MAGIC_SIZE, &reader, &em);
    if (!rv) {
        rv = reader_next(reader, &ev, &em);
        const struct event_format *format = rv > 0 ? reader_format(reader, &fde, &n) : NULL;
        if (format && (format->checksum == CHECKSUM_NONE || d->knows_checksums)) {
            dump_put_format(d, format, fde, n, EVENT_FDE_CREATED_0 | EVENT_FDE_LOG_POS_0);
            d->stand_in = true;
        }
        reader_close(reader);
    }
    if (rv < 0) {
        env_log(d->session->env, ENV_WARN, "dump: cannot look into %s: %s", end->file->name, em.text);
    }
    return d->stand_in && !dump_is_over(d);
}

static void not_open(struct dump *d, int rv, const struct errmsg *em)
{
    bool wait = false;
    switch (rv) {
    case READER_NOT_YET: wait = !d->non_block || !d->session->worker->sub.catalog; break;
    case READER_UNKNOWN_FILE: wait = !d->non_block && may_come(d); break;
    case READER_BEYOND: wait = !d->non_block && may_grow(d); break;
    case READER_INDEXING: return; /* changed() comes when the place can be found without a long walk */
    default: break;
    }
    if (wait) {
        wait_for_it(d, em);
        return;
    }
    switch (rv) {
    case READER_NOT_YET: dump_finish(d); break;
    case READER_UNKNOWN_FILE: dump_fail(d, DUMP_ERROR_UNKNOWN_FILE); break;
    case READER_BEYOND: dump_fail(d, DUMP_ERROR_BEYOND); break;
    case READER_BAD_POSITION:
        dump_fail(d, d->position < EVENT_MAGIC_SIZE ? DUMP_ERROR_BELOW : DUMP_ERROR_NO_EVENT);
        break;
    case READER_PURGED: dump_fail_purged(d); break;
    default: dump_drop(d, rv, em); break;
    }
}

/* Has the replica the first transaction of the file where its reader stands? */
static bool has_first_transaction(struct dump *d)
{
    enum { LOOK_AT = 8 };
    struct reader *reader;
    struct reader_event ev;
    uint64_t era, offset;
    const char *file;
    struct errmsg em;
    bool has = false;
    int rv = 0;
    reader_where(d->reader, &era, &file, &offset);
    if (gtid_set_is_empty(d->have)) {
        return false;
    }
    if (reader_open_position(&d->session->worker->sub, era, file, EVENT_MAGIC_SIZE, &reader, &em)) {
        env_log(d->session->env, ENV_WARN, "dump: cannot look into the file: %s", em.text);
        return false;
    }
    for (int i = 0; i < LOOK_AT && (rv = reader_next(reader, &ev, &em)) > 0; i++) {
        const uint8_t *fde;
        size_t n;
        struct event_gtid g;
        if (event_is_gtid(ev.type)) {
            has = event_gtid_read(reader_format(reader, &fde, &n), ev.bytes, ev.n, &g, NULL) == 0 &&
                  g.gtid.flavour == FLAVOUR_MYSQL && gtid_set_contains(d->have, &g.gtid);
            break;
        }
    }
    if (rv < 0) {
        env_log(d->session->env, ENV_WARN, "dump: cannot look into the file: %s", em.text);
    }
    reader_close(reader);
    return has;
}

static void log_start(struct dump *d, const char *file, uint64_t offset)
{
    struct env *env = d->session->env;
    struct buf have;
    if (env->level < ENV_DEBUG) {
        return;
    }
    buf_init(&have, DUMP_ARTIFICIAL_MAX);
    if (d->have) {
        gtid_set_print_position(d->have, &have);
    }
    env_log(env, ENV_DEBUG, "dump reads id=%lu file=%s offset=%llu have=\"%s\"",
            (unsigned long)d->session->sql.connection_id, file, (unsigned long long)offset, buf_cstr(&have));
    buf_free(&have);
}

/* The reader stands: tell the replica where. */
static void opened(struct dump *d)
{
    uint64_t era, offset;
    const char *file;
    const uint8_t *fde;
    size_t n;
    reader_where(d->reader, &era, &file, &offset);
    log_start(d, file, offset);
    if (d->mode == DUMP_BY_GTIDS && d->gtid_flavour == FLAVOUR_MYSQL) {
        d->created_0 = has_first_transaction(d);
    }
    d->announced = true;
    d->at_era = era;
    snprintf(d->at_file, sizeof d->at_file, "%s", file);
    d->at = offset;
    worker_dump_stands(d);
    dump_put_rotate(d, file, offset);
    const struct event_format *format = reader_format(d->reader, &fde, &n);
    if (!dump_is_over(d) && offset > EVENT_MAGIC_SIZE && format) {
        dump_put_format(d, format, fde, n, EVENT_FDE_CREATED_0 | EVENT_FDE_LOG_POS_0);
    }
}

/* A GTID set of one flavour says nothing about a log of the other. */
static bool other_flavour(struct dump *d)
{
    const struct catalog_entry *end;
    uint64_t offset;
    return d->have && store_sub_end(&d->session->worker->sub, &end, &offset) && end->file->state_before &&
           gtid_set_flavour(end->file->state_before) != d->gtid_flavour;
}

bool dump_open(struct dump *d)
{
    struct errmsg em = {""};
    struct store_sub *sub = &d->session->worker->sub;
    int rv;
    if (d->bad_name && d->mode != DUMP_BY_GTIDS) {
        dump_fail(d, DUMP_ERROR_UNKNOWN_FILE);
        return false;
    }
    if (other_flavour(d)) {
        rv = err_set(&em, E_INVALID, "the replica asks with GTIDs of %s, the log is of the other flavour",
                     flavour_name(d->gtid_flavour));
        dump_drop(d, rv, &em);
        return false;
    }
    rv = d->mode == DUMP_BY_GTIDS ? reader_open_gtid(sub, d->have, &d->reader, &em)
                                  : reader_open_position(sub, d->era, d->file, d->position, &d->reader, &em);
    if (rv) {
        not_open(d, rv, &em);
        return false;
    }
    if (d->strict) {
        reader_be_strict(d->reader);
    }
    reader_cut_large(d->reader, DUMP_EVENT);
    opened(d);
    return !dump_is_over(d);
}

/* ---- what is asked for ---- */

/* Of two names for the same variable, an older and a newer one. */
static const char *variable(const struct session *s, const char *newer, const char *older)
{
    const char *value = sql_vars_get(s->sql.vars, newer);
    return value ? value : sql_vars_get(s->sql.vars, older);
}

static unsigned long long number(const char *value)
{
    return value ? strtoull(value, NULL, 10) : 0;
}

static void take_variables(struct dump *d, bool mariadb_log)
{
    const struct session *s = d->session;
    const char *checksum = variable(s, "source_binlog_checksum", "master_binlog_checksum");
    const char *uuid_given = variable(s, "replica_uuid", "slave_uuid");
    uint8_t uuid[16];
    d->period = number(variable(s, "source_heartbeat_period", "master_heartbeat_period"));
    d->period = d->period > 0 && d->period < PERIOD_MIN ? PERIOD_MIN : d->period;
    d->semi_sync = number(variable(s, "rpl_semi_sync_replica", "rpl_semi_sync_slave")) > 0;
    d->capability = (unsigned)number(sql_vars_get(s->sql.vars, "mariadb_slave_capability"));
    d->knows_checksums = checksum != NULL;
    d->checksum = CHECKSUM_NONE;
    if (checksum &&
        (strcasecmp(checksum, "CRC32") == 0 || (mariadb_log && strcasecmp(checksum, "NONE") != 0))) {
        d->checksum = CHECKSUM_CRC32;
    }
    if (uuid_given && uuid_parse(uuid, uuid_given) == 0) {
        uuid_text(uuid, d->uuid);
    }
}

/* Answers for which there is no dump: the session goes on. */
static struct dump *refuse(struct dump *d, unsigned code, const char *text)
{
    put_err_text(d->session->wire, code, NULL, text);
    dump_free(d);
    return NULL;
}

static struct dump *by_mysql_set(struct dump *d, const struct binlog_dump *asked)
{
    struct cur c = cur_of(asked->gtids, asked->ngtids);
    d->gtid_flavour = FLAVOUR_MYSQL;
    d->have = gtid_set_new(FLAVOUR_MYSQL);
    d->mode = asked->file[0] ? DUMP_BY_POSITION_AND_GTIDS : DUMP_BY_GTIDS;
    d->skip_tagged = asked->flags & DUMP_SKIP_TAGGED;
    if (gtid_set_decode(d->have, &c, NULL) || !cur_done(&c)) {
        return refuse(d, ER_MALFORMED_GTID_ENCODING, "Malformed GTID set encoding.");
    }
    return d;
}

/* A position has one GTID in each domain. */
static bool is_position(const struct gtid_set *set)
{
    size_t at = 0;
    struct gtid gtid;
    bool newest, all = true;
    while (gtid_set_next(set, &at, &gtid, &newest)) {
        all = all && newest;
    }
    return all;
}

static struct dump *by_mariadb_position(struct dump *d, const char *text)
{
    d->gtid_flavour = FLAVOUR_MARIADB;
    d->have = gtid_set_new(FLAVOUR_MARIADB);
    d->state = gtid_set_new(FLAVOUR_MARIADB);
    d->mode = DUMP_BY_GTIDS;
    d->created_0 = d->position > EVENT_MAGIC_SIZE;
    if (gtid_set_parse(d->have, text, strlen(text), NULL) || !is_position(d->have)) {
        return refuse(d, ER_BAD_GTID_LIST, "Could not parse GTID list");
    }
    const char *until = sql_vars_get(d->session->sql.vars, "slave_until_gtid");
    if (until && !dump_until_set(d, until)) {
        return refuse(d, ER_BAD_GTID_LIST, "Could not parse GTID list");
    }
    d->strict = number(sql_vars_get(d->session->sql.vars, "slave_gtid_strict_mode")) > 0;
    return d;
}

static struct dump *dump_new(struct session *s, const struct binlog_dump *asked)
{
    enum flavour log = s->worker->view->flavour;
    struct dump *d = mem_new(sizeof *d);
    const char *state = sql_vars_get(s->sql.vars, "slave_connect_state");
    d->session = s;
    d->server_id = asked->server_id;
    d->non_block = (asked->flags & DUMP_NON_BLOCK) || asked->server_id == 0;
    d->position = asked->pos;
    d->bad_name = asked->file[0] && !store_name_ok(asked->file);
    snprintf(d->file, sizeof d->file, "%s", d->bad_name ? "" : asked->file);
    buf_init(&d->scratch, DUMP_ARTIFICIAL_MAX);
    d->era = number(sql_vars_get(s->sql.vars, "holdfast_era"));
    take_variables(d, log == FLAVOUR_MARIADB);
    d->heartbeat_v2 = (asked->flags & DUMP_HEARTBEAT_V2) && d->capability == 0 && log != FLAVOUR_MARIADB;
    d->annotate = asked->flags & DUMP_ANNOTATE_ROWS;
    if (asked->by_gtid) {
        return log == FLAVOUR_MARIADB ? refuse(d, ER_UNKNOWN_COM, "Unknown command") : by_mysql_set(d, asked);
    }
    if (state && log != FLAVOUR_MYSQL) {
        return by_mariadb_position(d, state);
    }
    return d;
}

void dump_command(struct session *s, const struct packet *p)
{
    struct binlog_dump asked;
    struct errmsg em = {""};
    if (command_binlog_dump(p, &asked, &em)) {
        put_err(s->wire, ER_MALFORMED_PACKET, NULL, "Malformed communication packet.");
        return;
    }
    if (!(s->sql.roles & ROLE_REPLICA)) {
        char who[400];
        session_name(s, who, sizeof who);
        env_log(s->env, ENV_WARN, "dump refused id=%lu who=%s why=\"no REPLICATION SLAVE\"",
                (unsigned long)s->sql.connection_id, who);
        put_err(s->wire, ER_SPECIFIC_ACCESS_DENIED, NULL,
                "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s) for this "
                "operation");
        return;
    }
    struct dump *d = dump_new(s, &asked);
    if (d) {
        dump_begin(d);
    }
}
