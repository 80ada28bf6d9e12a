/* loss.c: see loss.h. */
#include "node/loss.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum loss_step loss_take(struct loss *loss, const struct loss_sample *s)
{
    const struct source_counters *n = &s->counters;
    if (!n->known) {
        return LOSS_NONE; /* "semi_sync" among the checks says so */
    }
    if (!loss->protected_once) {
        loss->protected_once = s->streaming && n->on;
        loss->no_tx = n->no_tx;
        loss->yes_tx = n->yes_tx;
        if (!loss->protected_once && !s->open) {
            return LOSS_NONE;
        }
    }
    if (n->yes_tx < loss->yes_tx || n->no_tx < loss->no_tx) { /* it was restarted: it counts from zero */
        loss->no_tx = 0;
    }
    uint64_t more = n->no_tx - loss->no_tx;
    loss->yes_tx = n->yes_tx;
    loss->no_tx = n->no_tx;
    bool off = s->streaming && !n->on && s->streaming_s >= LOSS_GRACE_S;
    if (!s->open) {
        loss->lost = more;
        return more || off ? LOSS_BEGIN : LOSS_NONE;
    }
    loss->lost += more;
    return !more && n->on && s->streaming && s->level ? LOSS_END : LOSS_NONE;
}

void loss_write(const struct loss *loss, const char *source, char *text, size_t size)
{
    snprintf(text, size, "%" PRIu64 " %" PRIu64 " %.200s", loss->no_tx, loss->yes_tx, source);
}

void loss_read(struct loss *loss, const char *source, const char *text)
{
    char *end = NULL;
    *loss = (struct loss){0};
    if (!text) {
        return;
    }
    uint64_t no_tx = strtoull(text, &end, 10);
    if (*end != ' ') {
        return;
    }
    uint64_t yes_tx = strtoull(end + 1, &end, 10);
    if (*end == ' ' && !strncmp(end + 1, source, 200)) {
        *loss = (struct loss){.protected_once = true, .no_tx = no_tx, .yes_tx = yes_tx};
    }
}
