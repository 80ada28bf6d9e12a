/* gtid_lack.h: what a server lacks of what is held elsewhere, for the follow rule and for those who mend it.
 *
 * MySQL: a difference of sets. MariaDB: `has` is the server's binlog state; `applied` (may be NULL) is where it stands as a replica
 * (gtid_slave_pos), which counts too for a server that does not log what it replicates: in a domain where that is exactly the end of
 * `held`, nothing is lacking.
 * Pure; the caller frees what it is given. */
#ifndef HOLDFAST_GTID_LACK_H
#define HOLDFAST_GTID_LACK_H

#include "protocol/gtid.h"

/* The part of `held` that the server lacks; never NULL. MariaDB: its pairs with the numbers that are held. */
struct gtid_set *gtid_lacking(const struct gtid_set *held, const struct gtid_set *has, const struct gtid_set *applied);

/* How many these are. MariaDB may leave numbers out: there it is the most that it can be. */
uint64_t gtid_lacking_count(const struct gtid_set *lacking, const struct gtid_set *has);

/* Names them: "uuid:101-117", "0-1-91 to 0-1-100"; what goes beyond `max` bytes becomes "...". */
void gtid_lacking_print(const struct gtid_set *lacking, const struct gtid_set *has, size_t max, struct buf *out);

#endif
