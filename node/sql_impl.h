/* sql_impl.h: the inside of statements, for node/sql_*.c alone.
 *
 * A struct sql_call is one run of one statement. It lives on the stack; what it points to belongs to the
 * session (on a worker) or to the struct sql_statement (on the loop). Its error is sticky: the first one
 * stands in the reply, and all later parsing fails quietly. */
#ifndef HOLDFAST_NODE_SQL_IMPL_H
#define HOLDFAST_NODE_SQL_IMPL_H

#include "node/control.h"
#include "node/sql.h"
#include "node/sql_lex.h"

#include "protocol/base/buf.h"

enum {
    SQL_DEPTH_MAX = 64, /* of parentheses and calls in an expression */
    SQL_COLUMNS_MAX = 4096,
    SQL_VALUES_MAX = 64 << 20, /* bytes of all values that one statement computes */
    SQL_PATTERN_MAX = 256 /* of LIKE */
};

/* Who may: the roles of which one is enough; 0: everybody who is logged in. */
#define SQL_ANYBODY 0u
#define SQL_REPLICA (ROLE_REPLICA | ROLE_MONITOR | ROLE_ADMIN)
#define SQL_MONITOR (ROLE_MONITOR | ROLE_ADMIN)
#define SQL_ADMIN ((uint32_t)ROLE_ADMIN)
#define SQL_ALL_ROLES (ROLE_REPLICA | ROLE_MONITOR | ROLE_ADMIN)

enum sql_where {
    ON_WORKER,
    ON_LOOP,
    ON_EITHER /* begun on the worker; run again on the loop if it set needs_loop */
};

struct sql_call;

/* One row of the table of statements. */
struct sql_row {
    const char *words; /* what it begins with: "SHOW [GLOBAL|SESSION] STATUS" */
    const char *rest;  /* the rest of its syntax, for HELP */
    uint32_t roles;
    enum sql_where where;
    void (*run)(struct sql_call *call);
    const char *help;
    const char *example;
};

size_t sql_rows(const struct sql_row **rows); /* how many; for HELP and tests */

struct sql_statement {
    const struct sql_row *row;
    size_t at; /* the first token behind row->words */
    char *text;
    size_t n;
    struct sql_tokens tokens;
    struct sql_session
        session; /* a copy, with its own vars and reference to the view; for a run on the loop */
    struct view *view;
};

struct sql_call {
    const struct sql_row *row;
    const char *text;
    size_t n;
    const struct sql_tokens *tokens;
    size_t at; /* the next token */
    struct sql_session *session;
    struct control *control;         /* NULL on a worker */
    struct control_request *request; /* NULL on a worker */
    struct reply *reply;
    unsigned depth;
    size_t spent; /* of SQL_VALUES_MAX */
    bool failed;
    bool needs_loop; /* something was asked that only the loop knows */
    bool must_wait;  /* on the loop: run again later, see sql_wait.c */
    bool later;      /* control_change took the request: it answers */
    bool dry;        /* SET: reading only, to see that all of it can be read */
};

/* ---- sql_parse.c: reading tokens ---- */

/* Sets the reply; false. */
bool sql_error(struct sql_call *call, uint16_t code, const char *state, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
bool sql_syntax(struct sql_call *call); /* 1064 at the next token */

const struct sql_token *sql_peek(const struct sql_call *call);
const struct sql_token *sql_take(struct sql_call *call); /* the next token; stays at the end */
bool sql_is_word(const struct sql_token *token, const char *word);
bool sql_word(struct sql_call *call, const char *word); /* takes it if it comes next */
bool sql_mark(struct sql_call *call, const char *mark);
bool sql_need_word(struct sql_call *call, const char *word); /* 1064 otherwise */
bool sql_need_mark(struct sql_call *call, const char *mark);
/* [LIMIT [offset,] count | LIMIT count OFFSET offset] */
void sql_read_range(struct sql_call *call, uint64_t *from, uint64_t *count);
bool sql_end(struct sql_call *call); /* 1064 unless all is read and nothing failed */
/* Takes a whole number; 1064 otherwise. */
bool sql_read_number(struct sql_call *call, uint64_t *number);
/* Takes a string; NULL and 1064 otherwise. */
const char *sql_string(struct sql_call *call);

/* Do the next tokens match row->words? Takes them, or none. */
bool sql_match(struct sql_call *call, const char *words);

/* 1064 for a text in which the place `at` cannot be read. Texts that may hold a password are not quoted. */
void sql_syntax_reply(struct reply *reply, const struct view *view, const char *text, size_t n, size_t at);

/* ---- values and expressions (sql_expr.c, sql_functions.c) ---- */

struct sql_value {
    char *text;  /* owned; NULL: SQL's NULL */
    bool number; /* shown as a number */
};

struct sql_value sql_value_text(const char *text);
struct sql_value sql_value_number(int64_t n);
void sql_value_free(struct sql_value *value);
int64_t sql_value_int(const struct sql_value *value);

/* Reads and computes one expression. false: failed. */
bool sql_expr(struct sql_call *call, struct sql_value *value);

/* A function by name, its arguments already computed; false when there is no such function (nothing is said
 * yet). */
bool sql_function(struct sql_call *call, const char *name, struct sql_value *args, size_t n,
                  struct sql_value *value);
enum { SQL_ARGS_MAX = 8 };
void sql_wait_mysql(struct sql_call *call, struct sql_value *args, size_t n, struct sql_value *value);
void sql_wait_mariadb(struct sql_call *call, struct sql_value *args, size_t n, struct sql_value *value);

/* ---- system variables (sql_variables.c) ---- */

struct sql_variable;

const struct sql_variable *sql_variable_find(const struct sql_call *call, const char *name);
/* What SELECT @@name gives; NULL and call->needs_loop where only the loop knows. */
struct sql_value sql_variable_value(struct sql_call *call, const struct sql_variable *variable);
bool sql_variable_find_fixed(const char *name); /* is it a variable and no setting of ours? */
bool sql_variable_settable(const struct sql_variable *variable);

/* SET of one of our settings comes next; then it is to be done by the other (sql_settings.c). */
bool sql_names_setting(const struct sql_call *call);
void sql_set_setting(struct sql_call *call);

/* ---- names and values: SHOW VARIABLES, SHOW STATUS (sql_filter.c) ---- */

/* [LIKE 'pattern' | WHERE condition]: what sql_filter_read found. The tokens stay the call's. */
struct sql_filter {
    const char *like; /* NULL: none */
    size_t where;     /* first token of the condition; 0: none */
    bool uses_value;
};

bool sql_filter_read(struct sql_call *call, struct sql_filter *filter); /* to the statement's end */
bool sql_filter_match(struct sql_call *call, const struct sql_filter *filter, const char *name,
                      const char *value);
bool sql_like(const char *text, const char *pattern); /* without regard to case */

/* The two columns Variable_name and Value. */
struct table *sql_names_table(void);

/* ---- helpers of several handlers ---- */

/* The version without what greetings of MariaDB put before it. */
const char *sql_version(const struct view *view);
bool sql_is_mariadb(const struct sql_call *call);
struct env *sql_env(const struct sql_call *call);
/* Whom a statement is about. */
struct sql_who {
    char name[USER_NAME_SIZE];
    char host[USER_HOST_SIZE];
};

/* "u" [@ "h"], CURRENT_USER [()]; 1064, or a refusal of hosts that no client can come from. */
bool sql_account(struct sql_call *call, struct sql_who *who);
/* Are they those of the session's own account? */
bool sql_is_own(const struct sql_call *call, const struct sql_who *who);
/* The privileges of which one is needed, as texts show them. */
const char *sql_needed(uint32_t roles);
/* 1227 without one of these roles. */
bool sql_may(struct sql_call *call, uint32_t roles);
/* `name` with its backticks doubled. */
void sql_put_name(struct buf *b, const char *name);
/* The plugin of accounts for which none was asked. */
enum auth_plugin sql_default_plugin(const struct state *state);
struct sql_vars *sql_vars_copy(const struct sql_vars *vars);
/* Wall clock in microseconds as 2026-11-21T03:12:07Z; "" for 0. */
enum { SQL_TIME_SIZE = 32 };
void sql_time_text(uint64_t wall, char text[SQL_TIME_SIZE]);

/* ---- handlers ---- */

#define SQL_HANDLERS(X)                                                                                      \
    X(help)                                                                                                  \
    X(nothing) X(select) X(set) X(use) X(show_variables) X(show_warnings) X(show_errors) X(show_count) X(show_databases) X(show_tables)   \
        X(show_status) X(show_members) X(show_replica_status) X(show_slave_status) X(show_log_status)        \
            X(show_all_slaves) X(show_named_slave)                                                                  \
            X(show_logs) X(show_replicas) X(show_slave_hosts) X(show_processlist) X(show_grants)             \
                X(show_users) X(show_settings) X(purge_logs) X(show_create_user) X(set_password) X(rename_user) X(flush_logs) X(kill) X(change_source) X(start_replica) X(stop_replica)        \
                    X(reset_replica) X(create_user) X(alter_user) X(drop_user) X(grant) X(revoke) X(check_source) X(check_replica) X(check_logs) X(show_all_logs) X(show_events)      \
                        X(show_alarms) X(acknowledge_alarm) X(show_cluster_status) X(switchover) X(flush_status)      \
                            X(add_member) X(replace_member) X(remove_member) X(promote_member) X(demote_member)

#define SQL_HANDLER(name) void sql_##name(struct sql_call *call);
SQL_HANDLERS(SQL_HANDLER)
#undef SQL_HANDLER

#endif
