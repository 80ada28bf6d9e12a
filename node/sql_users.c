/* sql_users.c: CREATE, ALTER, DROP, RENAME USER, SET PASSWORD, GRANT, REVOKE. Accounts are replicated; a
 * password is turned into its verifiers here and kept nowhere else.
 *
 * Happy path: the statement is read into a struct user_change, a list of accounts with what is to become of
 * each; control_change builds one entry of it, against the state as it is then, so a statement about several
 * accounts takes effect for all of them or for none.
 *
 * Failure: an account that is there, or is not, contrary to what the statement needs (1396, 1410, 1141; with
 * IF [NOT] EXISTS a note); a host that no client can come from; a hash that is none (1827). What an account
 * may be asked to have in other servers and cannot have here is refused (1235) unless it is what they have by
 * default, so that the answer of a real server's SHOW CREATE USER can be pasted. */
#include "node/account.h"
#include "node/settings.h"
#include "node/sql_impl.h"

#include "protocol/base/err.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ITEMS_MAX = 16, USERS_MAX = 10000, ROUNDS_MAX = 50 /* thousands: one login must not hold up a worker */ };

enum user_verb { USER_CREATE, USER_ALTER, USER_DROP, USER_RENAME, USER_GRANT, USER_REVOKE };

enum tri { AS_IT_IS, TURN_OFF, TURN_ON };

struct user_item {
    struct sql_who who;
    struct sql_who to; /* of RENAME */
    bool has_secret;
    bool named; /* the plugin was: else it stays, or is the default one */
    enum auth_plugin plugin;
    struct account_secret secret;
};

struct user_change {
    enum user_verb verb;
    bool tolerant; /* IF [NOT] EXISTS */
    bool mariadb;
    uint32_t roles;
    enum tri locked, require_tls;
    size_t n;
    struct user_item items[ITEMS_MAX];
};

/* ---- the change ---- */

enum fit { FITS, LEFT_OUT, MISFIT };

static enum fit left_out(const struct user_change *change, const struct sql_who *who, bool there, struct reply *reply)
{
    if (change->mariadb) {
        reply_note(reply, "Note", there ? 1973 : 1974, "Can't %s user '%s'@'%s'; it %s", there ? "create" : "drop", who->name,
                   who->host, there ? "already exists" : "doesn't exist");
    } else {
        reply_note(reply, "Note", there ? 3163 : 3162, "Authorization ID '%s'@'%s' %s.", who->name, who->host,
                   there ? "already exists" : "does not exist");
    }
    return LEFT_OUT;
}

/* Is the account there, or not, as the verb needs it? Else the reply says so. */
static enum fit fits(const struct user_change *change, const struct user_item *item, const struct state *state, struct reply *reply)
{
    static const char *const operations[] = {"CREATE USER", "ALTER USER", "DROP USER", "RENAME USER"};
    const struct sql_who *who = &item->who;
    bool there = state_user(state, who->name, who->host) != NULL;
    bool taken = change->verb == USER_RENAME && state_user(state, item->to.name, item->to.host);
    if (change->verb == USER_GRANT ? there || item->has_secret : there == (change->verb != USER_CREATE) && !taken) {
        return FITS;
    }
    if (change->tolerant) {
        return left_out(change, who, there, reply);
    }
    reply_free(reply);
    if (change->verb == USER_GRANT) {
        reply_error(reply, 1410, "42000", "You are not allowed to create a user with GRANT; CREATE USER '%s'@'%s' first", who->name,
                    who->host);
    } else if (change->verb == USER_REVOKE) {
        reply_error(reply, 1141, "42000", "There is no such grant defined for user '%s' on host '%s'", who->name, who->host);
    } else {
        reply_error(reply, 1396, "HY000", "Operation %s failed for '%s'@'%s': it %s", operations[change->verb], who->name, who->host,
                    taken   ? "would get a name that is taken"
                    : there ? "exists already"
                            : "does not exist");
    }
    return MISFIT;
}

static bool switched(enum tri to, bool now)
{
    return to == AS_IT_IS ? now : to == TURN_ON;
}

static void take_secret(struct user_account *account, const struct user_item *item, const struct user_account *old,
                        const struct state *state)
{
    const char *set = setting_text(state, SETTING_ID_default_auth);
    enum auth_plugin chosen = auth_plugin_of(set, strlen(set));
    account->secret = item->secret;
    account->plugin = item->named ? item->plugin : old ? old->plugin : auth_plugin_served(chosen) ? chosen : AUTH_OTHER;
    if (!account->secret.empty) {
        account_secret_restrict(&account->secret, account->plugin);
    }
}

/* What is to become of the account; RENAME adds the one that goes. */
static void put_item(const struct user_change *change, const struct user_item *item, const struct state *state,
                     struct entry_user *users, size_t *n)
{
    const struct user_account *old = state_user(state, item->who.name, item->who.host);
    struct entry_user *u = &users[(*n)++];
    *u = (struct entry_user){.drop = change->verb == USER_DROP || change->verb == USER_RENAME};
    if (old) {
        u->account = *old;
    }
    memcpy(u->account.name, item->who.name, sizeof u->account.name);
    memcpy(u->account.host, item->who.host, sizeof u->account.host);
    if (change->verb == USER_RENAME) {
        struct entry_user *renamed = &users[(*n)++];
        *renamed = *u;
        renamed->drop = false;
        memcpy(renamed->account.name, item->to.name, sizeof renamed->account.name);
        memcpy(renamed->account.host, item->to.host, sizeof renamed->account.host);
        return;
    }
    if (item->has_secret) {
        take_secret(&u->account, item, old, state);
    }
    u->account.roles = change->verb == USER_REVOKE ? u->account.roles & ~change->roles : u->account.roles | change->roles;
    u->account.locked = switched(change->locked, u->account.locked);
    u->account.require_tls = switched(change->require_tls, u->account.require_tls);
}

static bool build_users(struct control *control, const void *what, struct reply *reply, struct buf *entry)
{
    const struct user_change *change = what;
    const struct state *state = cluster_state(control->cluster);
    struct entry_user users[ITEMS_MAX * 2];
    size_t n = 0;
    for (size_t i = 0; i < change->n; i++) {
        const struct user_item *item = &change->items[i];
        switch (fits(change, item, state, reply)) {
        case FITS:
            put_item(change, item, state, users, &n);
            break;
        case LEFT_OUT:
            break;
        case MISFIT:
            explicit_bzero(users, sizeof users);
            return false;
        }
    }
    if (state->n_users + n > USERS_MAX && change->verb != USER_DROP) {
        reply_free(reply);
        reply_error(reply, 1105, "HY000", "there are %zu accounts, more than %d are not kept", state->n_users, USERS_MAX);
        n = 0;
    } else if (n > 0) {
        entry_put_users(entry, users, n);
    } else {
        reply_ok(reply);
    }
    explicit_bzero(users, sizeof users);
    return n > 0;
}

static void change_users(struct sql_call *call, struct user_change *change)
{
    if (sql_end(call)) {
        change->mariadb = sql_is_mariadb(call);
        call->later = true;
        control_change(call->control, call->request, build_users, change, sizeof *change);
    }
    explicit_bzero(change, sizeof *change);
}

static struct user_item *next_item(struct sql_call *call, struct user_change *change)
{
    if (change->n == ITEMS_MAX) {
        sql_error(call, 1105, "HY000", "more than %d accounts in one statement", ITEMS_MAX);
        return NULL;
    }
    struct user_item *item = &change->items[change->n++];
    return sql_account(call, &item->who) ? item : NULL;
}

/* ---- IDENTIFIED … ---- */

static bool read_plugin(struct sql_call *call, enum auth_plugin *plugin)
{
    const struct sql_token *token = sql_peek(call);
    if (token->kind != TOKEN_WORD && token->kind != TOKEN_STRING && token->kind != TOKEN_QUOTED) {
        return sql_syntax(call);
    }
    *plugin = auth_plugin_of(token->text, strlen(token->text));
    if (!auth_plugin_served(*plugin)) {
        return sql_error(call, 1524, "HY000", /* not quoted: a password may stand in its place */
                         "Plugin is not loaded: caching_sha2_password and mysql_native_password are there");
    }
    sql_take(call);
    return true;
}

static bool set_password(struct sql_call *call, struct user_item *item, const char *password)
{
    size_t n = strlen(password);
    if (n > AUTH_PASSWORD_MAX) {
        return sql_error(call, 1105, "HY000", "a password has at most %d bytes", AUTH_PASSWORD_MAX);
    }
    account_secret_set(&item->secret, password, n);
    if (n > 0) { /* so that SHOW CREATE USER has something to show */
        uint8_t salt[SHA2_STORED_SALT];
        env_random(sql_env(call), salt, sizeof salt);
        auth_salt_fit(salt);
        sha2_stored_set(&item->secret.stored, password, n, salt);
    }
    item->has_secret = true;
    return true;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 0x… as bytes; 0 when it is none. */
static size_t hex_bytes(const char *text, char *out, size_t size)
{
    size_t n = strlen(text);
    if (n < 4 || n % 2 || n / 2 - 1 > size || text[0] != '0' || (text[1] != 'x' && text[1] != 'X')) {
        return 0;
    }
    for (size_t i = 2; i < n; i += 2) {
        int high = hex_value(text[i]), low = hex_value(text[i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }
        out[i / 2 - 1] = (char)(high << 4 | low);
    }
    return n / 2 - 1;
}

/* At a string or 0x…: what a server shows as the hash; for mysql_native_password when no plugin was named. */
static bool read_hash(struct sql_call *call, struct user_item *item)
{
    enum { HASH_MAX = 128 };
    char bytes[HASH_MAX];
    const struct sql_token *token = sql_peek(call);
    size_t n = token->kind == TOKEN_WORD ? hex_bytes(token->text, bytes, sizeof bytes) : 0;
    if (call->failed || (token->kind != TOKEN_STRING && n == 0)) {
        return sql_syntax(call);
    }
    sql_take(call);
    item->plugin = item->named ? item->plugin : AUTH_NATIVE;
    item->named = true;
    item->has_secret = true;
    const void *hash = n ? (const void *)bytes : token->text;
    if (account_secret_from_hash(&item->secret, item->plugin, hash, n ? n : strlen(token->text))) {
        return sql_error(call, 1827, "HY000", "The password hash doesn't have the expected format.");
    }
    if (item->secret.stored.thousands > ROUNDS_MAX) {
        return sql_error(call, 1105, "HY000", "a hash of more than %d rounds is too costly to check at each login", ROUNDS_MAX * 1000);
    }
    return true;
}

/* PASSWORD ('…') */
static bool read_called(struct sql_call *call, struct user_item *item)
{
    const char *password = sql_need_mark(call, "(") ? sql_string(call) : NULL;
    return password && sql_need_mark(call, ")") && set_password(call, item, password);
}

/* Behind IDENTIFIED, in the words of MySQL and of MariaDB. */
static bool read_secret(struct sql_call *call, struct user_item *item)
{
    item->named = sql_word(call, "WITH") || sql_word(call, "VIA");
    if (item->named && !read_plugin(call, &item->plugin)) {
        return false;
    }
    if (item->named && (sql_word(call, "AS") || sql_word(call, "USING"))) {
        return sql_word(call, "PASSWORD") ? read_called(call, item) : read_hash(call, item);
    }
    if (!sql_need_word(call, "BY")) {
        return false;
    }
    if (!item->named && sql_word(call, "PASSWORD")) {
        return read_hash(call, item);
    }
    const char *password = sql_string(call);
    return password && set_password(call, item, password);
}

/* REQUIRE …, ACCOUNT …, PASSWORD …: TLS and the lock are kept, of the rest only what changes nothing is taken. */
static bool read_option(struct sql_call *call, struct user_change *change)
{
    static const char *const nothing[] = {
        "PASSWORD EXPIRE DEFAULT|NEVER", "PASSWORD HISTORY DEFAULT", "PASSWORD REUSE INTERVAL DEFAULT",
        "PASSWORD REQUIRE CURRENT DEFAULT|OPTIONAL",
    };
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        if (sql_match(call, nothing[i])) {
            return true;
        }
    }
    if (sql_match(call, "REQUIRE NONE")) {
        change->require_tls = TURN_OFF;
    } else if (sql_match(call, "REQUIRE SSL")) {
        change->require_tls = TURN_ON;
    } else if (sql_match(call, "ACCOUNT LOCK")) {
        change->locked = TURN_ON;
    } else if (sql_match(call, "ACCOUNT UNLOCK")) {
        change->locked = TURN_OFF;
    } else if (sql_match(call, "REQUIRE|PASSWORD|ACCOUNT")) {
        return sql_error(call, 1235, "42000", "REQUIRE SSL and ACCOUNT LOCK are all that an account can be asked for here");
    } else {
        return false;
    }
    return true;
}

/* ---- statements ---- */

static void read_users(struct sql_call *call, struct user_change *change)
{
    do {
        struct user_item *item = next_item(call, change);
        if (!item) {
            return;
        }
        if (sql_word(call, "IDENTIFIED")) {
            read_secret(call, item);
        } else if (change->verb == USER_CREATE) {
            sql_need_word(call, "IDENTIFIED");
        }
    } while (sql_mark(call, ","));
    while (read_option(call, change)) {
    }
}

void sql_create_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_CREATE, .tolerant = sql_match(call, "IF NOT EXISTS")};
    read_users(call, &change);
    change_users(call, &change);
}

/* Everybody may change his own password, and nothing else. */
static void check_own(struct sql_call *call, const struct user_change *change)
{
    bool own = change->n == 1 && sql_is_own(call, &change->items[0].who) && change->items[0].has_secret &&
               change->locked == AS_IT_IS && change->require_tls == AS_IT_IS;
    if (!own) {
        sql_may(call, SQL_ADMIN);
    }
}

void sql_alter_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_ALTER, .tolerant = sql_match(call, "IF EXISTS")};
    read_users(call, &change);
    bool does = change.locked != AS_IT_IS || change.require_tls != AS_IT_IS;
    for (size_t i = 0; i < change.n; i++) {
        does = does || change.items[i].has_secret;
    }
    if (sql_end(call) && !does) {
        sql_need_word(call, "IDENTIFIED");
    }
    check_own(call, &change);
    change_users(call, &change);
}

/* SET PASSWORD [FOR 'user'] = 'password' | PASSWORD('password') | '*HASH', the last on a MariaDB, where a bare text is no password. */
void sql_set_password(struct sql_call *call)
{
    struct user_change change = {.verb = USER_ALTER, .n = 1};
    struct user_item *item = &change.items[0];
    snprintf(item->who.name, sizeof item->who.name, "%s", call->session->user);
    snprintf(item->who.host, sizeof item->who.host, "%s", call->session->account_host);
    if (sql_word(call, "FOR")) {
        sql_account(call, &item->who);
    } else if (call->session->by_socket) {
        sql_error(call, 1396, "HY000", "the local socket's root has no password; SET PASSWORD FOR an account");
    }
    if (sql_word(call, "TO")) { /* RANDOM */
        sql_error(call, 1235, "42000", "random passwords are not made here");
    }
    sql_need_mark(call, "=");
    if (sql_word(call, "PASSWORD")) {
        read_called(call, item);
    } else if (sql_is_mariadb(call)) {
        read_hash(call, item);
    } else {
        const char *password = sql_string(call);
        if (password) {
            set_password(call, item, password);
        }
    }
    check_own(call, &change);
    change_users(call, &change);
}

void sql_drop_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_DROP, .tolerant = sql_match(call, "IF EXISTS")};
    while (next_item(call, &change) && sql_mark(call, ",")) {
    }
    change_users(call, &change);
}

void sql_rename_user(struct sql_call *call)
{
    struct user_change change = {.verb = USER_RENAME};
    struct user_item *item;
    do {
        item = next_item(call, &change);
    } while (item && sql_need_word(call, "TO") && sql_account(call, &item->to) && sql_mark(call, ","));
    change_users(call, &change);
}

/* ---- GRANT, REVOKE ---- */

/* Privileges, and the roles that they are here. NO_ROLE: other servers have it, it allows nothing here. */
enum { NO_ROLE = 1u << 31 };

static const struct {
    const char *words;
    uint32_t roles;
} privileges[] = {
    {"REPLICATION SLAVE|REPLICA ADMIN", NO_ROLE},
    {"REPLICATION MASTER|SOURCE ADMIN", NO_ROLE},
    {"REPLICATION SLAVE|REPLICA", ROLE_REPLICA},
    {"REPLICATION CLIENT", ROLE_MONITOR},
    {"BINLOG MONITOR", ROLE_MONITOR},
    {"SLAVE|REPLICA MONITOR", ROLE_MONITOR},
    {"CLUSTER_ADMIN", ROLE_ADMIN},
    {"ALL [PRIVILEGES]", SQL_ALL_ROLES},
    {"USAGE", 0},
    {"LOCK TABLES", NO_ROLE},
    {"SHOW DATABASES|VIEW", NO_ROLE},
    {"CREATE USER", NO_ROLE},
    {"BINLOG ADMIN|REPLAY", NO_ROLE},
    {"CONNECTION ADMIN", NO_ROLE},
    {"SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|INDEX|EXECUTE|EVENT|TRIGGER|PROCESS|RELOAD|SUPER|FILE|SHUTDOWN|BACKUP_ADMIN|"
     "CLONE_ADMIN|REPLICATION_SLAVE_ADMIN|REPLICATION_APPLIER|CONNECTION_ADMIN|SYSTEM_VARIABLES_ADMIN|BINLOG_ADMIN|SYSTEM_USER",
     NO_ROLE},
};

static bool read_privilege(struct sql_call *call, uint32_t *roles)
{
    const struct sql_token *first = sql_peek(call);
    for (size_t i = 0; i < sizeof privileges / sizeof *privileges; i++) {
        if (!sql_match(call, privileges[i].words)) {
            continue;
        }
        if (privileges[i].roles == NO_ROLE) {
            const struct sql_token *last = &call->tokens->tokens[call->at - 1];
            reply_note(call->reply, "Warning", 1105, "%.*s allows nothing here and was left out", (int)(last->end - first->at),
                       call->text + first->at);
        } else {
            *roles |= privileges[i].roles;
        }
        return true;
    }
    return sql_syntax(call);
}

static void read_everything(struct sql_call *call)
{
    sql_need_word(call, "ON");
    if (!call->failed && !(sql_mark(call, "*") && sql_mark(call, ".") && sql_mark(call, "*"))) {
        sql_error(call, 1221, "HY000", "Incorrect usage of DB GRANT and GLOBAL PRIVILEGES: privileges are granted ON *.*");
    }
}

void sql_grant(struct sql_call *call)
{
    struct user_change change = {.verb = USER_GRANT};
    while (read_privilege(call, &change.roles) && sql_mark(call, ",")) {
    }
    read_everything(call);
    sql_need_word(call, "TO");
    struct user_item *item;
    do {
        item = call->failed ? NULL : next_item(call, &change);
        if (item && sql_word(call, "IDENTIFIED")) { /* as MariaDB makes accounts, and old MySQLs */
            read_secret(call, item);
        }
    } while (item && sql_mark(call, ","));
    while (read_option(call, &change)) {
    }
    if (sql_match(call, "WITH GRANT OPTION") && !(change.roles & ROLE_ADMIN)) {
        sql_error(call, 1235, "42000", "only CLUSTER_ADMIN may grant, and may grant all: WITH GRANT OPTION is for that one");
    }
    change_users(call, &change);
}

void sql_revoke(struct sql_call *call)
{
    struct user_change change = {.verb = USER_REVOKE, .tolerant = sql_match(call, "IF EXISTS")};
    size_t from = call->at;
    if (sql_match(call, "ALL [PRIVILEGES]") && sql_mark(call, ",") && sql_match(call, "GRANT OPTION")) {
        change.roles = SQL_ALL_ROLES;
    } else {
        call->at = from;
        while (read_privilege(call, &change.roles) && sql_mark(call, ",")) {
        }
        read_everything(call);
    }
    sql_need_word(call, "FROM");
    while (!call->failed && next_item(call, &change) && sql_mark(call, ",")) {
    }
    change_users(call, &change);
}
