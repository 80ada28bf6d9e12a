/* source_nudge.c: acknowledges on a MySQL source that does not listen yet.
 *
 * MySQL's thread that reads acknowledgements looks for new connections only when its poll returns: when an old one says something, or after a
 * second. When a leader dies, its connection ends, that wakes the thread, and our new connection is not heard for the second that
 * follows, in which all commits wait. But the position that a dump is asked from acknowledges what lies before it, at once. So for that
 * first time each acknowledgement is also brought that way, by a short dump on a connection of its own, under a uuid of its own
 * (the same uuid would end the real dump). It asks for what is there and no more, so that it ends at the source too and is not counted
 * among the clients there until the next heartbeat finds nobody. But its thread there is only gone when that deaf thread has looked, too: so
 * they are few a second, or the source might have no connection left for its clients.
 *
 * Nothing depends on it: what goes wrong here ends it, and the commits wait for the second. */
#include "node/source_impl.h"

#include "protocol/base/check.h"
#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { DEAF_MS = 1500, LIMIT_S = 2, EVERY_MS = 40 };

static void open_client(struct source *s);

static void forget_client(struct source *s)
{
    client_free(s->nudge.client);
    s->nudge.client = NULL;
    s->nudge.ready = false;
}

static bool still_deaf(const struct source *s)
{
    return env_now(s->loop) < s->nudge.until && s->status.phase == SOURCE_STREAMING;
}

static void dumped(void *owner, int status, const struct result *result)
{
    struct source *s = owner;
    (void)result;
    forget_client(s);
    if (!status && still_deaf(s)) {
        open_client(s);
    }
}

static void bring(struct source *s)
{
    struct source_nudge *n = &s->nudge;
    if (!n->ready || !n->wanted || !still_deaf(s) || !client_idle(n->client)) { /* it may have ended, and tell so in the loop's next turn */
        return;
    }
    uint64_t next = n->brought + EVERY_MS * ENV_MS, now = env_now(s->loop);
    if (n->brought && now < next) {
        env_timer_start(&n->timer, next - now);
        return;
    }
    n->brought = now;
    struct binlog_dump dump = {.flags = DUMP_NON_BLOCK, .server_id = n->server_id, .pos = n->wanted};
    snprintf(dump.file, sizeof dump.file, "%s", n->file);
    n->wanted = 0;
    n->ready = false;
    env_log(s->loop, ENV_DEBUG, "source: acknowledged by a dump of its own file=%s position=%llu", dump.file, (unsigned long long)dump.pos);
    client_dump(n->client, &dump, LIMIT_S * ENV_S, dumped);
}

static void time_to_bring(struct env_timer *timer)
{
    bring(CONTAINER_OF(timer, struct source, nudge.timer));
}

static void prepared(void *owner, int status, const struct result *result)
{
    struct source *s = owner;
    (void)result;
    if (status) {
        forget_client(s);
        return;
    }
    s->nudge.ready = true;
    bring(s);
}

static void ready(void *owner)
{
    struct source *s = owner;
    char sql[512], text[UUID_TEXT_SIZE];
    uint8_t uuid[16];
    env_random(s->loop, uuid, sizeof uuid);
    uuid_text(uuid, text);
    snprintf(sql, sizeof sql,
             "SET @source_binlog_checksum= @@global.binlog_checksum, @master_binlog_checksum= @@global.binlog_checksum, @replica_uuid= '%s', "
             "@slave_uuid= '%s', @rpl_semi_sync_replica= 1, @rpl_semi_sync_slave= 1",
             text, text);
    client_query(s->nudge.client, sql, LIMIT_S * ENV_S, prepared);
}

static void failed(void *owner, uint16_t code, const char *why)
{
    struct source *s = owner;
    env_log(s->loop, ENV_DEBUG, "source: no connection for early acknowledgements code=%u: %s", code, why);
    forget_client(s);
}

static const struct client_handler handler = {.ready = ready, .failed = failed};

static void open_client(struct source *s)
{
    s->nudge.client = client_open(s->loop, &s->settings, s->addr.host, s->addr.port, &handler, s);
}

void source_nudge_begin(struct source *s, uint32_t server_id)
{
    s->nudge.begun = env_now(s->loop);
    bool old = !strncmp(s->peer.origin.version, "5.", 2); /* each dump thread reads its own acknowledgements there */
    if (s->peer.origin.flavour == FLAVOUR_MYSQL && s->peer.semi_sync && s->peer.semi_sync_on && !old) {
        s->nudge.until = env_now(s->loop) + DEAF_MS * ENV_MS;
        s->nudge.wanted = s->nudge.brought = 0;
        s->nudge.server_id = server_id;
        open_client(s);
    }
}

void source_nudge_ack(struct source *s, const char *file, uint64_t position)
{
    if (s->nudge.client && still_deaf(s)) {
        snprintf(s->nudge.file, sizeof s->nudge.file, "%s", file);
        s->nudge.wanted = position;
        bring(s);
    }
}

void source_nudge_end(struct source *s)
{
    env_timer_stop(&s->nudge.timer);
    forget_client(s);
}

int source_nudge_open(struct source *s)
{
    return env_timer_open(s->loop, &s->nudge.timer, time_to_bring);
}

void source_nudge_close(struct source *s)
{
    env_timer_close(&s->nudge.timer);
}

bool source_is_new(const struct source *s)
{
    enum { SETTLED_S = 2 }; /* MariaDB takes a second to see that the old leader's connection is over, MySQL until it is not deaf any more */
    return s->nudge.begun && env_now(s->loop) < s->nudge.begun + DEAF_MS * ENV_MS + SETTLED_S * ENV_S;
}
