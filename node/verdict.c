/* verdict.c: see verdict.h. Each reason is a condition of its own, so that mending one shows what is left. */
#include "node/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct reasons {
    char *text;
    size_t size;
};

static void add(struct reasons *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct reasons *r, const char *fmt, ...)
{
    size_t at = strlen(r->text);
    if (at) {
        snprintf(r->text + at, r->size - at, "; ");
        at = strlen(r->text);
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->text + at, r->size - at, fmt, ap);
    va_end(ap);
}

static void following(struct reasons *r, const struct source_settings *settings,
                      const struct source_status *status)
{
    if (status->phase != SOURCE_STREAMING) {
        add(r, "not following %s:%u (%s%s%s)", settings->host, settings->port,
            source_phase_text(status->phase), status->error[0] ? ": " : "", status->error);
    } else if (!status->semi_sync) {
        add(r, "the source %s:%u does not wait for acknowledgements (semi-sync is off)", settings->host,
            settings->port);
    }
}

bool verdict(const struct verdict_facts *facts, char *reason, size_t size)
{
    struct reasons r = {reason, size};
    reason[0] = '\0';
    if (facts->voters < 2) {
        add(&r, "one voter, no redundancy");
    }
    const struct state *state = facts->state;
    if (!state->has_source || !state->source.host[0]) {
        add(&r, "no source is set");
    } else if (!state->source.running) {
        add(&r, "following %s:%u is stopped", state->source.host, state->source.port);
    } else if (facts->leader == 0) {
        add(&r, "no leader is known");
    } else if (facts->leader != facts->self) {
        add(&r, "node %llu leads and knows the rest; ask it", (unsigned long long)facts->leader);
    } else {
        following(&r, &state->source, facts->source);
    }
    return !reason[0];
}
