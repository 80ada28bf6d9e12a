/* verdict.c: see verdict.h. Each reason is a condition of its own, so that mending one shows what is left. */
#include "node/verdict.h"

#include "node/monitor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct reasons {
    char *text;
    size_t size;
};

static void add(struct reasons *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Goes on with the last reason. */
static void add_to(struct reasons *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add_to(struct reasons *r, const char *fmt, ...)
{
    size_t at = strlen(r->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->text + at, r->size - at, fmt, ap);
    va_end(ap);
}

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

static void catching_up(struct reasons *r, const struct source_status *link, const struct monitor_report *report)
{
    add(r, "catching up: %llu bytes behind", (unsigned long long)link->behind);
    if (report && report->catch_up_s) {
        add_to(r, ", about %llu s", (unsigned long long)report->catch_up_s);
    }
}

/* What the source says of itself; only what breaks the promise. */
static void source_says(struct reasons *r, const struct source_status *link, const struct monitor_report *report)
{
    const struct checks *checks = report->checks;
    if (report->counters.known && !report->counters.on && link->semi_sync) {
        add(r, "the source %s:%u commits without waiting (its semi-sync status is OFF)", link->host, link->port);
    }
    if (!checks->n) {
        add(r, "the source's settings were not checked yet%s%s", report->error[0] ? ": " : "", report->error);
    }
    for (size_t i = 0; i < checks->n; i++) {
        const struct check_result *c = &checks->results[i];
        if (c->state == CHECK_CRITICAL) {
            add(r, "the source's %s is %s, not %s", c->name, c->value, c->wanted);
        }
    }
}

static void following(struct reasons *r, const struct source_status *link, const struct monitor_report *report)
{
    if (link->phase != SOURCE_STREAMING) {
        add(r, "not following %s:%u (%s%s%s)", link->host, link->port, source_phase_text(link->phase),
            link->error[0] ? ": " : "", link->error);
        return;
    }
    if (link->catching_up) {
        catching_up(r, link, report);
    } else if (!link->semi_sync) {
        add(r, "the source %s:%u does not wait for acknowledgements (semi-sync is off)", link->host, link->port);
    }
    if (report) {
        source_says(r, link, report);
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
    if (facts->leader == 0) {
        add(&r, "%s", facts->quorum ? facts->quorum : "no leader is known");
        if (state->has_source && state->source.running) {
            add_to(&r, ". No ACKs; commits on %s:%u wait", state->source.host, state->source.port);
        }
    } else if (!state->has_source || !state->source.host[0]) {
        add(&r, "no source is set");
    } else if (!state->source.running) {
        add(&r, "following %s:%u is stopped", state->source.host, state->source.port);
    } else if (facts->leader != facts->self) {
        add(&r, "node %llu leads and knows the rest; ask it (SHOW CLUSTER STATUS)", (unsigned long long)facts->leader);
    } else {
        following(&r, facts->source, facts->report);
    }
    return !reason[0];
}
