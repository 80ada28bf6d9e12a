/* dump_until.c: START SLAVE UNTIL master_gtid_pos: the dump of a MariaDB replica that ends by itself.
 *
 * Happy path: the replica names one GTID for each domain that it wants to be brought to. Transactions of other
 * domains, and of a domain that has reached its GTID, are left out. When the last domain is there the replica gets a
 * GTID_LIST that says so, and the EOF that ends a dump.
 *
 * A GTID that the log does not have although it has a higher one of the same server: the end of its domain too,
 * before that one. Failure: a list that cannot be read, see dump_start.c. */
#include "node/dump_impl.h"

#include "protocol/base/mem.h"

#include <string.h>

bool dump_until_set(struct dump *d, const char *text)
{
    struct gtid gtid, stands;
    size_t at = 0;
    bool newest;
    d->until_all = gtid_set_new(FLAVOUR_MARIADB);
    if (gtid_set_parse(d->until_all, text, strlen(text), NULL)) {
        return false;
    }
    d->until = mem_array(gtid_set_intervals(d->until_all) + 1, sizeof *d->until);
    while (gtid_set_next(d->until_all, &at, &gtid, &newest)) {
        if (!newest) {
            return false; /* two of one domain */
        }
        bool there = gtid_set_newest(d->have, gtid.domain, &stands) && stands.server == gtid.server &&
                     stands.gno >= gtid.gno;
        if (!there) {
            d->until[d->n_until++] = gtid;
        }
    }
    return true;
}

bool dump_until_leaves_out(struct dump *d, const struct gtid *gtid)
{
    size_t i = 0;
    while (i < d->n_until && d->until[i].domain != gtid->domain) {
        i++;
    }
    if (i == d->n_until) {
        return true;
    }
    if (d->until[i].server != gtid->server || gtid->gno < d->until[i].gno) {
        return false;
    }
    bool beyond = gtid->gno > d->until[i].gno;
    d->until[i] = d->until[--d->n_until];
    return beyond;
}

void dump_until_look(struct dump *d)
{
    if (d->until && d->n_until == 0 && !d->leaving_out) {
        dump_put_until_reached(d);
        dump_finish(d);
    }
}
