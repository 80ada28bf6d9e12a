/* retention.h: removes binlog files by itself: those that are too old, or more than there is room for (settings
 * binlog_expire_logs_seconds, max_binlog_total_size). The leader looks; what replicas need stays, as with PURGE BINARY LOGS.
 *
 * Owner: the daemon; loop env. */
#ifndef HOLDFAST_NODE_RETENTION_H
#define HOLDFAST_NODE_RETENTION_H

#include "node/control.h"

struct retention;

struct retention *retention_new(struct control *control);
void retention_stop(struct retention *retention); /* proposes nothing any more */
void retention_free(struct retention *retention); /* after cluster_close: look-ups and proposals refer to it until then */
void retention_leading(struct retention *retention, bool leading);
void retention_settings_changed(struct retention *retention);

#endif
