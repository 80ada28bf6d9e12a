/* settings.c: see settings.h. Bytes are kept as plain numbers; with K, M or G they are only written. */
#include "node/settings.h"

#include "protocol/base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct setting SETTINGS_TABLE[SETTING_COUNT] = {
#define SETTING_ROW(name, kind, min, max, choices, standard, help) {#name, kind, min, max, choices, standard, help},
    SETTINGS(SETTING_ROW)
#undef SETTING_ROW
};

const struct setting *setting_find(const char *name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strcasecmp(SETTINGS_TABLE[i].name, name) == 0) {
            return &SETTINGS_TABLE[i];
        }
    }
    return NULL;
}

static bool number_of(const char *text, bool bytes, uint64_t *number)
{
    static const char units[] = "KMG";
    size_t digits = strspn(text, "0123456789");
    const char *unit = bytes && text[digits] ? strchr(units, text[digits] & ~0x20) : NULL;
    if (digits == 0 || digits > 15 || text[digits + (unit != NULL)]) {
        return false;
    }
    *number = strtoull(text, NULL, 10);
    for (const char *u = units; unit && u <= unit; u++) {
        if (*number > UINT64_MAX >> 10) {
            return false;
        }
        *number <<= 10;
    }
    return true;
}

/* The choice that `text` is, in the table's spelling. */
static size_t choice_of(const struct setting *setting, const char *text, const char **choice)
{
    for (const char *at = setting->choices; *at;) {
        size_t n = strcspn(at, "|");
        if (strlen(text) == n && strncasecmp(at, text, n) == 0) {
            *choice = at;
            return n;
        }
        at += n + (at[n] != 0);
    }
    return 0;
}

int setting_read(const struct setting *setting, const char *text, char value[sizeof((struct entry_setting *)0)->value])
{
    enum { VALUE_SIZE = sizeof((struct entry_setting *)0)->value };
    uint64_t number;
    if (setting->kind == SETTING_CHOICE) {
        const char *choice = NULL;
        size_t n = choice_of(setting, text, &choice);
        snprintf(value, VALUE_SIZE, "%.*s", (int)n, choice ? choice : "");
        return n ? 0 : E_INVALID;
    }
    if (!number_of(text, setting->kind == SETTING_BYTES, &number) || number < setting->min || number > setting->max) {
        return E_INVALID;
    }
    snprintf(value, VALUE_SIZE, "%" PRIu64, number);
    return 0;
}

void setting_range(const struct setting *setting, struct buf *out)
{
    if (setting->kind != SETTING_CHOICE) {
        buf_printf(out, "%" PRIu64 " to %" PRIu64, setting->min, setting->max);
        return;
    }
    for (const char *at = setting->choices; *at;) {
        size_t n = strcspn(at, "|");
        buf_printf(out, "%.*s%s", (int)n, at, at[n] ? ", " : "");
        at += n + (at[n] != 0);
    }
}

const char *setting_text(const struct state *state, enum setting_id id)
{
    const char *set = state_setting(state, SETTINGS_TABLE[id].name);
    return set && *set ? set : SETTINGS_TABLE[id].standard;
}

uint64_t setting_number(const struct state *state, enum setting_id id)
{
    uint64_t number = 0;
    return number_of(setting_text(state, id), true, &number) ? number : 0;
}
