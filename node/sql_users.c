/* sql_users.c: accounts and what they may do. They are replicated; a password is turned into its verifiers
 * here and kept nowhere else.
 *
 * An account is good from every host. Roles are named by the privileges that other servers know. */
#include "node/sql_impl.h"

#include <string.h>
#include <strings.h>

/* privilege, role; the first name of a role is the one that is shown */
static const struct {
    const char *words;
    uint32_t roles;
} privileges[] = {
    {"REPLICATION SLAVE", ROLE_REPLICA},
    {"REPLICATION REPLICA", ROLE_REPLICA},
    {"REPLICATION CLIENT", ROLE_MONITOR},
    {"BINLOG MONITOR", ROLE_MONITOR},
    {"CLUSTER_ADMIN", ROLE_ADMIN},
    {"ALL [PRIVILEGES]", SQL_ALL_ROLES},
    {"USAGE", 0},
};

static const struct {
    uint32_t role;
    const char *name, *privilege;
} roles_table[] = {
    {ROLE_REPLICA, "replica", "REPLICATION SLAVE"},
    {ROLE_MONITOR, "monitor", "REPLICATION CLIENT"},
    {ROLE_ADMIN, "admin", "CLUSTER_ADMIN"},
};

enum { N_ROLES = sizeof roles_table / sizeof *roles_table };

enum user_verb { USER_CREATE, USER_ALTER, USER_DROP, USER_GRANT, USER_REVOKE };

struct user_change {
    enum user_verb verb;
    bool tolerant; /* IF [NOT] EXISTS */
    char name[97];
    uint32_t roles;
    struct account_secret secret;
};

/* ---- the change ---- */

/* False: the account is there or is not, contrary to what the verb needs; answered. */
static bool fits(const struct user_change *change, const struct user_account *old, struct reply *reply)
{
    static const char *const operations[] = {"CREATE USER", "ALTER USER", "DROP USER"};
    if ((old != NULL) == (change->verb != USER_CREATE)) {
        return true;
    }
    if (change->tolerant) {
        reply_ok(reply);
        reply->warnings = 1;
    } else if (change->verb == USER_GRANT) {
        reply_error(reply, 1410, "42000",
                    "You are not allowed to create a user with GRANT; CREATE USER '%s' first", change->name);
    } else if (change->verb == USER_REVOKE) {
        reply_error(reply, 1141, "42000", "There is no such grant defined for user '%s' on host '%%'",
                    change->name);
    } else {
        reply_error(reply, 1396, "HY000", "Operation %s failed for '%s'@'%%': it %s",
                    operations[change->verb], change->name, old ? "exists already" : "does not exist");
    }
    return false;
}

static bool build_user(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct user_change *change = what;
    const struct user_account *old = state_user(cluster_state(control->cluster), change->name);
    if (!fits(change, old, reply)) {
        return false;
    }
    struct entry_user user = {.drop = change->verb == USER_DROP};
    if (old) {
        user.account = *old;
    }
    memcpy(user.account.name, change->name, sizeof user.account.name);
    switch (change->verb) {
    case USER_CREATE:
    case USER_ALTER:
        user.account.secret = change->secret;
        break;
    case USER_GRANT:
        user.account.roles |= change->roles;
        break;
    case USER_REVOKE:
        user.account.roles &= ~change->roles;
        break;
    case USER_DROP:
        break;
    }
    entry_put_user(entry, &user);
    explicit_bzero(&user, sizeof user);
    return true;
}

static void change_user(struct sql_call *call, struct user_change *change)
{
    if (sql_end(call)) {
        call->later = true;
        control_change(call->control, call->request, build_user, change, sizeof *change);
    }
    explicit_bzero(change, sizeof *change);
}

/* ---- statements ---- */

static void read_password(struct sql_call *call, struct user_change *change)
{
    sql_need_word(call, "IDENTIFIED");
    if (sql_word(call, "WITH")) {
        const struct sql_token *token = sql_peek(call);
        bool named = token->kind == TOKEN_WORD || token->kind == TOKEN_STRING || token->kind == TOKEN_QUOTED;
        if (!named || !auth_plugin_served(auth_plugin_of(token->text, strlen(token->text)))) {
            sql_error(
                call, 1524, "HY000",
                "Only caching_sha2_password and mysql_native_password are there; every account has both");
            return;
        }
        sql_take(call);
    }
    sql_need_word(call, "BY");
    const char *password = sql_string(call);
    if (password) {
        account_secret_set(&change->secret, password, strlen(password));
    }
}

void sql_create_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_CREATE, .tolerant = sql_match(call, "IF NOT EXISTS")};
    if (sql_account(call, change.name, sizeof change.name)) {
        read_password(call, &change);
    }
    change_user(call, &change);
}

void sql_alter_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_ALTER, .tolerant = sql_match(call, "IF EXISTS")};
    if (sql_account(call, change.name, sizeof change.name)) {
        read_password(call, &change);
    }
    change_user(call, &change);
}

void sql_drop_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_DROP, .tolerant = sql_match(call, "IF EXISTS")};
    sql_account(call, change.name, sizeof change.name);
    change_user(call, &change);
}

static bool read_privilege(struct sql_call *call, uint32_t *roles)
{
    for (size_t i = 0; i < sizeof privileges / sizeof *privileges; i++) {
        if (sql_match(call, privileges[i].words)) {
            *roles |= privileges[i].roles;
            return true;
        }
    }
    return sql_syntax(call);
}

static void grant_or_revoke(struct sql_call *call, enum user_verb verb)
{
    struct user_change change = {.verb = verb};
    while (read_privilege(call, &change.roles) && sql_mark(call, ",")) {
    }
    sql_need_word(call, "ON");
    if (!call->failed && !(sql_mark(call, "*") && sql_mark(call, ".") && sql_mark(call, "*"))) {
        sql_error(call, 1221, "HY000",
                  "Incorrect usage of DB GRANT and GLOBAL PRIVILEGES: privileges are granted ON *.*");
    }
    if (sql_need_word(call, verb == USER_GRANT ? "TO" : "FROM")) {
        sql_account(call, change.name, sizeof change.name);
    }
    change_user(call, &change);
}

void sql_grant(struct sql_call *call)
{
    grant_or_revoke(call, USER_GRANT);
}

void sql_revoke(struct sql_call *call)
{
    grant_or_revoke(call, USER_REVOKE);
}

/* ---- showing ---- */

static void put_roles(struct buf *b, uint32_t roles, bool as_privileges)
{
    const char *separator = "";
    for (size_t i = 0; i < N_ROLES; i++) {
        if (roles & roles_table[i].role) {
            buf_printf(b, "%s%s", separator, as_privileges ? roles_table[i].privilege : roles_table[i].name);
            separator = as_privileges ? ", " : ",";
        }
    }
}

void sql_show_users(struct sql_call *call)
{
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    struct table *table = table_new();
    table_column(table, "User", TABLE_TEXT);
    table_column(table, "Roles", TABLE_TEXT);
    for (size_t i = 0; i < state->n_users; i++) {
        struct buf roles;
        buf_init(&roles, 256);
        put_roles(&roles, state->users[i].roles, false);
        table_row(table);
        table_text(table, state->users[i].name);
        table_text(table, buf_cstr(&roles));
        buf_free(&roles);
    }
    reply_rows(call->reply, table);
}

static void answer_grants(struct sql_call *call, const char *name, uint32_t roles)
{
    struct buf text;
    buf_init(&text, 1024);
    struct table *table = table_new();
    buf_printf(&text, "Grants for %s@%%", name);
    table_column(table, buf_cstr(&text), TABLE_TEXT);
    buf_reset(&text);
    buf_str(&text, "GRANT ");
    if (roles) {
        put_roles(&text, roles, true);
    } else {
        buf_str(&text, "USAGE");
    }
    buf_str(&text, " ON *.* TO ");
    sql_put_quoted(&text, name);
    buf_str(&text, "@'%'");
    table_row(table);
    table_text(table, buf_cstr(&text));
    buf_free(&text);
    reply_rows(call->reply, table);
}

void sql_show_grants(struct sql_call *call)
{
    const struct sql_session *session = call->session;
    char name[97] = "";
    if (sql_word(call, "FOR")) {
        if (sql_word(call, "CURRENT_USER")) {
            if (sql_mark(call, "(")) {
                sql_need_mark(call, ")");
            }
        } else {
            sql_account(call, name, sizeof name);
        }
    }
    if (!sql_end(call)) {
        return;
    }
    if (!name[0] || strcmp(name, session->user) == 0) {
        answer_grants(call, session->user, session->roles);
        return;
    }
    if (!(session->roles & ROLE_ADMIN)) {
        sql_error(
            call, 1227, "42000",
            "Access denied; you need (at least one of) the CLUSTER_ADMIN privilege(s) for this operation");
        return;
    }
    const struct user_account *account = state_user(cluster_state(call->control->cluster), name);
    if (!account) {
        sql_error(call, 1141, "42000", "There is no such grant defined for user '%s' on host '%%'", name);
        return;
    }
    answer_grants(call, name, account->roles);
}
