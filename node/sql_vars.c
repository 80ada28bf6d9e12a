/* sql_vars.c: the user variables of one session: a short list, searched from its start. Both the number of
 * variables and the bytes they hold are bounded, so a client cannot grow a session at will (E_TOOBIG). */
#include "node/sql.h"

#include "node/sql_impl.h"

#include "protocol/base/mem.h"

#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 64 };

struct sql_var {
    char *name;
    char *value; /* NULL: SQL's NULL */
};

struct sql_vars {
    struct sql_var vars[SQL_VARS_MAX];
    size_t n;
    size_t bytes;
};

struct sql_vars *sql_vars_new(void)
{
    return mem_new(sizeof(struct sql_vars));
}

void sql_vars_free(struct sql_vars *vars)
{
    if (!vars) {
        return;
    }
    for (size_t i = 0; i < vars->n; i++) {
        mem_free(vars->vars[i].name);
        mem_free(vars->vars[i].value);
    }
    mem_free(vars);
}

static size_t find(const struct sql_vars *vars, const char *name)
{
    size_t i = 0;
    while (i < vars->n && strcasecmp(vars->vars[i].name, name) != 0) {
        i++;
    }
    return i;
}

const char *sql_vars_get(const struct sql_vars *vars, const char *name)
{
    size_t at = find(vars, name);
    return at < vars->n ? vars->vars[at].value : NULL;
}

int sql_vars_set(struct sql_vars *vars, const char *name, const char *value)
{
    size_t at = find(vars, name);
    size_t old = at < vars->n && vars->vars[at].value ? strlen(vars->vars[at].value) : 0;
    size_t bytes = value ? strlen(value) : 0;
    if (at == SQL_VARS_MAX || strlen(name) > NAME_MAX_BYTES || bytes > SQL_TEXT_MAX ||
        vars->bytes - old > SQL_TEXT_MAX - bytes) {
        return E_TOOBIG;
    }
    if (at == vars->n) {
        vars->vars[vars->n++] = (struct sql_var){.name = mem_str(name)};
    }
    char *copy = mem_str(value); /* before the old one goes: it may be the same */
    mem_free(vars->vars[at].value);
    vars->vars[at].value = copy;
    vars->bytes = vars->bytes - old + bytes;
    return 0;
}

struct sql_vars *sql_vars_copy(const struct sql_vars *vars)
{
    struct sql_vars *copy = sql_vars_new();
    for (size_t i = 0; i < vars->n; i++) {
        sql_vars_set(copy, vars->vars[i].name, vars->vars[i].value);
    }
    return copy;
}
