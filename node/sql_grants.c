/* sql_grants.c: SHOW USERS, SHOW GRANTS, SHOW CREATE USER: accounts and what they may do.
 *
 * SHOW USERS holds no hashes. SHOW CREATE USER does, as other servers have it, for CLUSTER_ADMIN alone. */
#include "node/settings.h"
#include "node/sql_impl.h"

#include <stdio.h>
#include <string.h>

static const struct {
    uint32_t role;
    const char *name, *mysql, *mariadb;
} roles_table[] = {
    {ROLE_REPLICA, "replica", "REPLICATION SLAVE", "REPLICATION SLAVE"},
    {ROLE_MONITOR, "monitor", "REPLICATION CLIENT", "BINLOG MONITOR"},
    {ROLE_ADMIN, "admin", "CLUSTER_ADMIN", "CLUSTER_ADMIN"},
};

enum { N_ROLES = sizeof roles_table / sizeof *roles_table, TEXT_MAX = 4096 };

enum auth_plugin sql_default_plugin(const struct state *state)
{
    const struct state_era *era = state_era(state);
    const char *set = setting_text(state, SETTING_ID_default_auth);
    enum auth_plugin plugin = auth_plugin_of(set, strlen(set));
    if (auth_plugin_served(plugin)) {
        return plugin;
    }
    return era && era->origin.flavour == FLAVOUR_MARIADB ? AUTH_NATIVE : AUTH_SHA2;
}

static const char *plugin_of(const struct user_account *a, const struct state *state)
{
    return auth_plugin_name(a->plugin == AUTH_OTHER ? sql_default_plugin(state) : a->plugin);
}

/* ---- SHOW USERS ---- */

static void put_roles(struct buf *b, uint32_t roles)
{
    const char *comma = "";
    for (size_t i = 0; i < N_ROLES; i++) {
        if (roles & roles_table[i].role) {
            buf_printf(b, "%s%s", comma, roles_table[i].name);
            comma = ",";
        }
    }
}

void sql_show_users(struct sql_call *call)
{
    static const char *const names[] = {"User", "Host", "Roles", "Plugin", "Locked", "Require_ssl"};
    if (!sql_end(call)) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    struct table *table = table_new();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        table_column(table, names[i], TABLE_TEXT);
    }
    for (size_t i = 0; i < state->n_users; i++) {
        const struct user_account *a = &state->users[i];
        struct buf roles;
        buf_init(&roles, 256);
        put_roles(&roles, a->roles);
        table_row(table);
        table_text(table, a->name);
        table_text(table, a->host);
        table_text(table, buf_cstr(&roles));
        table_text(table, a->plugin == AUTH_OTHER ? "any" : plugin_of(a, state));
        table_text(table, a->locked ? "yes" : "no");
        table_text(table, a->require_tls ? "yes" : "no");
        buf_free(&roles);
    }
    reply_rows(call->reply, table);
}

/* ---- whom it is about ---- */

/* [FOR CURRENT_USER | 'user'@'host'], the session's own without it; an account of somebody else needs CLUSTER_ADMIN. */
static bool read_whom(struct sql_call *call, bool named, struct sql_who *who)
{
    const struct sql_session *session = call->session;
    snprintf(who->name, sizeof who->name, "%s", session->user);
    snprintf(who->host, sizeof who->host, "%s", session->account_host);
    if (named) {
        sql_account(call, who);
    }
    return sql_end(call) && (sql_is_own(call, who) || sql_may(call, SQL_ADMIN));
}

static const struct user_account *find(struct sql_call *call, const struct sql_who *who)
{
    const struct user_account *a = state_user(cluster_state(call->control->cluster), who->name, who->host);
    if (!a) {
        sql_error(call, 1141, "42000", "There is no such grant defined for user '%s' on host '%s'", who->name, who->host);
    }
    return a;
}

static void put_who(struct buf *b, const struct sql_who *who)
{
    sql_put_name(b, who->name);
    buf_u8(b, '@');
    sql_put_name(b, who->host);
}

/* ---- SHOW GRANTS ---- */

/* As MySQL has it: privileges of the server's own in one row, those that were added to it in another. */
static void grant_row(struct table *table, const struct sql_who *who, uint32_t roles, bool mariadb)
{
    struct buf text;
    const char *comma = "";
    buf_init(&text, TEXT_MAX);
    buf_str(&text, "GRANT ");
    for (size_t i = 0; i < N_ROLES; i++) {
        if (roles & roles_table[i].role) {
            buf_printf(&text, "%s%s", comma, mariadb ? roles_table[i].mariadb : roles_table[i].mysql);
            comma = ", ";
        }
    }
    buf_str(&text, roles ? " ON *.* TO " : "USAGE ON *.* TO ");
    put_who(&text, who);
    table_row(table);
    table_text(table, buf_cstr(&text));
    buf_free(&text);
}

static void answer_grants(struct sql_call *call, const struct sql_who *who, uint32_t roles)
{
    bool mariadb = sql_is_mariadb(call);
    char head[USER_NAME_SIZE + USER_HOST_SIZE + 16];
    struct table *table = table_new();
    snprintf(head, sizeof head, "Grants for %s@%s", who->name, who->host);
    table_column(table, head, TABLE_TEXT);
    if (mariadb) {
        grant_row(table, who, roles, true);
    } else {
        grant_row(table, who, roles & ~(uint32_t)ROLE_ADMIN, false);
        if (roles & ROLE_ADMIN) {
            grant_row(table, who, ROLE_ADMIN, false);
        }
    }
    reply_rows(call->reply, table);
}

void sql_show_grants(struct sql_call *call)
{
    struct sql_who who;
    if (!read_whom(call, sql_word(call, "FOR"), &who)) {
        return;
    }
    if (sql_is_own(call, &who)) {
        answer_grants(call, &who, call->session->roles);
        return;
    }
    const struct user_account *a = find(call, &who);
    if (a) {
        answer_grants(call, &who, a->roles);
    }
}

/* ---- SHOW CREATE USER ---- */

static void put_native(struct buf *b, const struct account_secret *secret)
{
    buf_u8(b, '*');
    for (size_t i = 0; i < NATIVE_SIZE; i++) {
        buf_printf(b, "%02X", secret->native[i]);
    }
}

/* As a hex literal: salts hold bytes that terminals and quotes do not like. */
static void put_stored(struct buf *b, const struct sha2_stored *stored)
{
    char head[16];
    snprintf(head, sizeof head, "$A$%03X$", (unsigned)stored->thousands);
    buf_str(b, "0x");
    for (const char *c = head; *c; c++) {
        buf_printf(b, "%02X", (unsigned char)*c);
    }
    for (size_t i = 0; i < sizeof stored->salt; i++) {
        buf_printf(b, "%02X", stored->salt[i]);
    }
    for (size_t i = 0; i < sizeof stored->digest; i++) {
        buf_printf(b, "%02X", (unsigned char)stored->digest[i]);
    }
}

/* With the plugin that has something to show. */
static void put_secret(struct buf *b, const struct user_account *a, enum auth_plugin preferred, bool mariadb)
{
    const struct account_secret *s = &a->secret;
    bool has_native = !s->cold && !s->sha2_only, has_sha2 = s->stored.thousands > 0;
    bool native = preferred == AUTH_NATIVE ? has_native || !has_sha2 : !has_sha2;
    const char *plugin = auth_plugin_name(native ? AUTH_NATIVE : AUTH_SHA2);
    if (s->empty) {
        buf_printf(b, mariadb ? " IDENTIFIED VIA %s" : " IDENTIFIED WITH '%s'", plugin);
        return;
    }
    if (mariadb && native) {
        buf_str(b, " IDENTIFIED BY PASSWORD '");
    } else {
        buf_printf(b, mariadb ? " IDENTIFIED VIA %s USING " : " IDENTIFIED WITH '%s' AS ", plugin);
        buf_str(b, native ? "'" : "");
    }
    if (native) {
        put_native(b, s);
        buf_u8(b, '\'');
    } else {
        put_stored(b, &s->stored);
    }
}

void sql_show_create_user(struct sql_call *call)
{
    struct sql_who who;
    bool mariadb = sql_is_mariadb(call);
    if (!read_whom(call, sql_peek(call)->kind != TOKEN_END, &who) || !sql_may(call, SQL_ADMIN)) {
        return;
    }
    const struct user_account *a = find(call, &who);
    if (!a) {
        return;
    }
    const struct state *state = cluster_state(call->control->cluster);
    char head[USER_NAME_SIZE + USER_HOST_SIZE + 16];
    struct buf text;
    buf_init(&text, TEXT_MAX);
    buf_str(&text, "CREATE USER ");
    put_who(&text, &who);
    put_secret(&text, a, a->plugin == AUTH_OTHER ? sql_default_plugin(state) : a->plugin, mariadb);
    if (mariadb) {
        buf_str(&text, a->require_tls ? " REQUIRE SSL" : "");
        buf_str(&text, a->locked ? " ACCOUNT LOCK" : "");
    } else {
        buf_printf(&text, " REQUIRE %s PASSWORD EXPIRE DEFAULT ACCOUNT %s PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT "
                          "PASSWORD REQUIRE CURRENT DEFAULT",
                   a->require_tls ? "SSL" : "NONE", a->locked ? "LOCK" : "UNLOCK");
    }
    snprintf(head, sizeof head, "CREATE USER for %s@%s", who.name, who.host);
    struct table *table = table_new();
    table_column(table, head, TABLE_TEXT);
    table_row(table);
    table_text(table, buf_cstr(&text));
    buf_free(&text);
    reply_rows(call->reply, table);
}
