/* dump_error.c: how a dump ends, in the source's own numbers and texts.
 *
 * 1236 stops a replica until a person comes. So it is for what can never be better: the connection is closed
 * without a word for the rest, and the replica comes again by itself. So it does where a file of this node is damaged, with a
 * word that its log will show: other members have the file whole. */
#include "node/dump_impl.h"

#include "protocol/base/mem.h"
#include "protocol/gtid_lack.h"
#include "protocol/result.h"
#include "storage/filelist.h"

#include <stdio.h>
#include <string.h>

enum place { /* "; the first event ... the last event read ..." follows */
    PLACE_NONE,
    PLACE_ALL,
    PLACE_OLDER_AT_4 /* not from MySQL 8 and later; nothing was read: the file's beginning */
};

struct text {
    enum place place;
    const char *mysql, *mysql_5, *mariadb;
};

static const struct text texts[] = {
#define DUMP_ERROR_ROW(name, place, mysql, mysql_5, mariadb) [DUMP_ERROR_##name] = {place, mysql, mysql_5, mariadb},
    DUMP_ERRORS(DUMP_ERROR_ROW)
#undef DUMP_ERROR_ROW
};

static bool is_mariadb(const struct dump *d)
{
    return d->session->worker->view->flavour == FLAVOUR_MARIADB;
}

/* Of 5.5 to 5.7; their texts still speak of masters and slaves. */
static bool is_mysql_5(const struct dump *d)
{
    return !is_mariadb(d) && strncmp(d->session->worker->view->version, "5.", 2) == 0;
}

static void print_place(const struct dump *d, enum place how, char *text, size_t size)
{
    const char *file = d->at_file[0] ? d->at_file : d->file;
    uint64_t at = d->at ? d->at : how == PLACE_OLDER_AT_4 ? EVENT_MAGIC_SIZE : d->position;
    snprintf(text, size,
             "; the first event '%s' at %llu, the last event read from '%s' at %llu, the last byte read from "
             "'%s' at %llu.",
             d->file, (unsigned long long)d->position, file, (unsigned long long)at, file,
             (unsigned long long)at);
}

static void put(struct dump *d, unsigned code, enum place how, const char *text)
{
    char place[4 * DUMP_FILE_MAX] = "", who[400];
    if (how == PLACE_ALL || (how == PLACE_OLDER_AT_4 && (is_mariadb(d) || is_mysql_5(d)))) {
        print_place(d, how, place, sizeof place);
    }
    session_name(d->session, who, sizeof who);
    env_log(d->session->env, ENV_WARN, "dump fails id=%lu who=%s server_id=%lu code=%u why=\"%.300s\"",
            (unsigned long)d->session->sql.connection_id, who, (unsigned long)d->server_id, code, text);
    put_err(d->session->wire, code, NULL, "%s%s", text, place);
}

static void end(struct dump *d)
{
    session_flush(d->session);
    session_end(d->session);
}

void dump_put_error(struct dump *d, enum dump_error error)
{
    const struct text *t = &texts[error];
    bool mariadb = is_mariadb(d);
    unsigned code = error == DUMP_ERROR_DUPLICATE && mariadb ? ER_SAME_SLAVE : ER_DUMP_FATAL;
    const char *text = mariadb ? t->mariadb : is_mysql_5(d) ? t->mysql_5 : t->mysql;
    if (text) {
        put(d, code, t->place, text);
    } else {
        put_eof(d->session->wire, STATUS_AUTOCOMMIT, 0);
    }
}

void dump_fail(struct dump *d, enum dump_error error)
{
    dump_put_error(d, error);
    end(d);
}

/* MySQL names both sets; the packet is cut where MySQL cuts it. */
void dump_fail_purged(struct dump *d)
{
    if (d->gtid_flavour == FLAVOUR_MARIADB) {
        put(d, ER_DUMP_FATAL, PLACE_NONE,
            "Could not find GTID state requested by slave in any binlog files. Probably the slave state is "
            "too old and required "
            "binlog files have been purged.");
        end(d);
        return;
    }
    if (is_mysql_5(d)) {
        put(d, ER_DUMP_FATAL, PLACE_NONE,
            "The slave is connecting using CHANGE MASTER TO MASTER_AUTO_POSITION = 1, but the master has purged binary logs "
            "containing GTIDs that the slave requires.");
        end(d);
        return;
    }
    const struct catalog *catalog = d->session->worker->sub.catalog;
    struct gtid_set *missing = NULL;
    if (catalog && catalog->n > 0) {
        (void)filelist_before(catalog->files, 0, &missing, NULL);
    }
    missing = missing ? missing : gtid_set_new(FLAVOUR_MYSQL);
    struct buf text;
    buf_init(&text, DUMP_ARTIFICIAL_MAX);
    gtid_set_subtract(missing, d->have);
    buf_str(&text, "Cannot replicate because the source purged required binary logs. Replicate the missing "
                   "transactions from "
                   "elsewhere, or provision a new replica from backup. Consider increasing the source's "
                   "binary log expiration "
                   "period. The GTID set sent by the replica is '");
    gtid_set_print(d->have, &text);
    buf_str(&text, "', and the missing transactions are '");
    gtid_set_print(missing, &text);
    buf_str(&text, "'");
    put(d, ER_DUMP_FATAL, PLACE_NONE, buf_cstr(&text));
    buf_free(&text);
    gtid_set_free(missing);
    end(d);
}

void dump_fail_gtid(struct dump *d, int reader_code, const struct gtid *gtid)
{
    char name[GTID_TEXT_SIZE], text[400];
    gtid_text(gtid, name, sizeof name);
    if (reader_code == READER_HOLE) {
        snprintf(text, sizeof text,
                 "The binlog on the master is missing the GTID %s requested by the slave (even though both a "
                 "prior and a subsequent sequence number does exist), and GTID strict mode is enabled",
                 name);
    } else {
        snprintf(text, sizeof text,
                 "Error: connecting slave requested to start from GTID %s, which is not in the master's "
                 "binlog. Since the master's binlog contains GTIDs with higher sequence numbers, it probably "
                 "means that the slave has diverged due to executing extra erroneous transactions",
                 name);
    }
    put(d, ER_DUMP_FATAL, PLACE_NONE, text);
    end(d);
}

/* GTIDs that neither the cluster nor its source has: of MySQL's own text the beginning, which tools look for, then the GTIDs: the end of it is cut by
 * clients. */
static void errant_mysql(struct dump *d, const struct gtid_set *gtids, char *text, size_t size)
{
    enum { SHOWN = 200 };
    struct buf set;
    buf_init(&set, 2 * SHOWN);
    gtid_lacking_print(gtids, d->have, SHOWN, &set);
    snprintf(text, size, "%s. They are %s. No other server has them, so replicating would part it from the others for good. On a node: "
             "holdfast source check HOST shows what they contain.",
             is_mysql_5(d) ? "Slave has more GTIDs than the master has, using the master's SERVER_UUID"
                           : "Replica has more GTIDs than the source has, using the source's SERVER_UUID",
             buf_cstr(&set));
    buf_free(&set);
}

static void errant_mariadb(const struct gtid_set *gtids, char *text, size_t size)
{
    char name[GTID_TEXT_SIZE] = "";
    struct gtid gtid;
    size_t at = 0;
    if (gtid_set_next(gtids, &at, &gtid, NULL)) {
        gtid_text(&gtid, name, sizeof name);
    }
    snprintf(text, size,
             "Error: connecting slave requested to start from GTID %s, which is not in the master's binlog. No other server has it: the slave has diverged due to "
             "executing extra erroneous transactions. On a node: holdfast source check HOST shows what they contain",
             name);
}

void dump_fail_errant(struct dump *d, const struct gtid_set *gtids)
{
    char text[1000];
    if (gtid_set_flavour(gtids) == FLAVOUR_MARIADB) {
        errant_mariadb(gtids, text, sizeof text);
    } else {
        errant_mysql(d, gtids, text, sizeof text);
    }
    put(d, ER_DUMP_FATAL, PLACE_NONE, text);
    end(d);
}

void dump_fail_anonymous(struct dump *d, const struct reader_event *event)
{
    char text[2 * STORE_NAME_SIZE];
    snprintf(text, sizeof text,
             "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file %s, position %llu.",
             event->file, (unsigned long long)event->start);
    put(d, ER_DUMP_FATAL, PLACE_ALL, text);
    end(d);
}

void dump_finish(struct dump *d)
{
    put_eof(d->session->wire, STATUS_AUTOCOMMIT, 0);
    end(d);
}

void dump_drop(struct dump *d, int code, const struct errmsg *em)
{
    env_log(d->session->env, code == READER_CORRUPT ? ENV_ERROR : ENV_WARN,
            "dump closed id=%lu peer=%s code=%s why=\"%s\"", (unsigned long)d->session->sql.connection_id,
            d->session->peer, err_name(code), em->text);
    if (code == READER_CORRUPT && !d->left) { /* nothing fits into the middle of an event */
        put_err(d->session->wire, ER_UNKNOWN, NULL,
                "A binlog file of this Holdfast node is damaged: %.300s. Nothing from there on is sent. Use another member of the cluster until this one is "
                "replaced (holdfast member replace)",
                em->text);
    }
    end(d);
}
