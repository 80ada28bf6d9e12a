/* cli.h: the parts of the program `holdfast`: its options, the table of commands, and what commands use.
 *
 * One thread, one struct cli from main() to the end. A command checks its arguments, asks for secrets, sends
 * SQL over one connection (made when it is first needed) and builds its output in `out`, which main() writes.
 */
#ifndef HOLDFAST_CLI_CLI_H
#define HOLDFAST_CLI_CLI_H

#include "protocol/base/buf.h"
#include "protocol/base/env.h"
#include "protocol/base/err.h"
#include "protocol/result.h"
#include "protocol/tls.h"
#include "tools/cli/conn.h"
#include "tools/cli/out.h"
#include "tools/cli/password.h"

#include <stdbool.h>

enum cli_exit {
    CLI_OK = 0,
    CLI_SERVER = 1,  /* the node refused, or the output could not be written */
    CLI_USAGE = 2,   /* the command line is wrong; nothing was sent */
    CLI_CONNECT = 3, /* no node could be reached, or the connection was lost */
};

enum { CLI_HOSTS_MAX = 16, CLI_WORDS_MAX = 64, CLI_PORT = 3307 };

struct command;

struct cli {
    /* options (args.c) */
    const char *hosts;  /* as given; NULL */
    const char *socket; /* as given; NULL */
    uint16_t port;
    bool has_port;
    const char *user;
    bool ask_password;
    bool has_password;
    char password[PASSWORD_SIZE];
    bool json;
    unsigned timeout; /* seconds */
    unsigned patience; /* seconds more for an answer, where the node itself waits */
    enum tls_mode tls_mode;
    bool has_tls_mode;
    const char *ssl_ca; /* path */
    const char *role;   /* of user add */
    const char *to;     /* of switchover and log purge */
    const char *before; /* of log purge */
    const char *keep_old; /* of source reset */
    bool force;         /* of both */
    const char *auth;   /* the same */
    unsigned long from, limit; /* of log events; 0: not given */
    unsigned long rate;        /* of log verify, MiB a second */
    bool has_rate, rebuild;
    /* of compensate */
    const char *target_user, *target_password_file, *target_ssl_ca, *via;
    enum tls_mode target_tls_mode;
    bool has_target_tls_mode, dry_run; /* dry_run: of log purge, too */
    unsigned long wait; /* seconds; 0: not given. Of member add ..., too */
    bool no_wait, standby; /* of member add ... */
    const char *data_dir; /* of recover */
    bool force_new_cluster, yes;
    bool help, version;

    /* the command, and what stands behind it */
    const struct command *command; /* NULL: none given */
    char *words[CLI_WORDS_MAX];
    size_t nwords;

    struct env_addr addrs[CLI_HOSTS_MAX];
    size_t naddrs;
    char *args[CLI_WORDS_MAX * 2 + 32]; /* copies of argv; those with secrets are wiped */
    size_t nargs;

    struct conn *conn;
    struct env_addr conn_addr; /* of conn */
    struct buf out;
};

/* ---- commands.c: the table ---- */

struct command {
    const char *name;     /* "user add": one word or two */
    const char *args;     /* as in the help; "" for none */
    const char *summary;  /* one line */
    const char *details;  /* paragraphs of the command's own help; "" */
    const char *examples; /* lines, without the leading blanks */
    const char *complete; /* words that may follow, for completion; "" */
    size_t min_words, max_words;
    int (*run)(struct cli *cli); /* an enum cli_exit; said on standard error why */
};

extern const struct command COMMANDS_TABLE[];
extern const size_t COMMANDS_COUNT;

/* The command whose name the first words are, and how many of them; NULL. */
const struct command *command_find(char *const *words, size_t nwords, size_t *used);
bool command_is_group(const char *word); /* "user": the first word of some */
/* The name that is nearest to what was typed, if it is near; NULL. */
const char *command_guess(const char *typed);

/* ---- help.c ---- */

void help_program(struct buf *b);
void help_command(struct buf *b, const struct command *command);
void help_group(struct buf *b, const char *word);
int cmd_help(struct cli *cli);

/* ---- completion.c ---- */

int cmd_completion(struct cli *cli);

/* ---- args.c ---- */

enum option_value { VALUE_NONE, VALUE_REQUIRED, VALUE_OPTIONAL };

struct option_row {
    char letter;      /* 0: none */
    const char *name; /* without the dashes */
    enum option_value takes;
    const char *value; /* its name in the help */
    const char *help;
    const char *only;     /* the commands that know it, with ", " between them; NULL: all do; the same name may have
                             another row for other commands */
    const char *complete; /* words for completion; "" */
    int (*set)(struct cli *cli, const char *value);
};

extern const struct option_row OPTIONS[];
extern const size_t OPTIONS_COUNT;

bool option_belongs(const struct option_row *row, const char *command); /* one that not all know */

/* Of --defaults-file: read before all others. */
int args_set_defaults_file(struct cli *cli, const char *value);

/* ---- optfile.c ---- */

/* Options from the file `given`, or from ~/.holdfast.cnf if there is one. CLI_OK or CLI_USAGE. */
int optfile_read(struct cli *cli, const char *given);

/* ---- args.c ---- */

/* Reads the command line and overwrites in argv what `ps` must not show. CLI_OK or CLI_USAGE. */
int args_parse(struct cli *cli, int argc, char **argv);
void args_free(struct cli *cli);

/* ---- run.c: what commands use ---- */

/* "holdfast: …" on standard error; returns `code`. */
int cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Connects if need be. CLI_OK, CLI_CONNECT, CLI_SERVER (the login was refused). */
int cli_connect(struct cli *cli);
void cli_be_patient(struct cli *cli, unsigned seconds); /* so much more than --timeout with each answer from now on */

/* A statement. CLI_OK; else the reason stands on standard error. */
int cli_query(struct cli *cli, const char *sql, struct result *result);
/* The same, but the server's own errors (CLI_SERVER) are left in em for the caller. */
int cli_try(struct cli *cli, const char *sql, struct result *result, struct errmsg *em);
/* A statement that changes something: shows warnings, and `done` or {"ok": true}. */
int cli_change(struct cli *cli, const char *sql, const char *done);
/* What cli_change prints at the end. */
void cli_done(struct cli *cli, const char *done);
/* Shows the warnings of the last statement on standard error. */
void cli_warnings(struct cli *cli);
/* The rows of a statement as a table or a JSON list; `none` stands for an empty table. */
int cli_list(struct cli *cli, const char *sql, const char *none);

/* A result large enough for what nodes answer. */
void cli_result_init(struct result *result);

/* Appends text as an SQL literal, in quotes. */
void sql_literal(struct buf *b, const char *text);
/* Wipes and frees a statement that may hold a secret. */
void sql_free(struct buf *b);

/* ---- the commands' files ---- */

int cmd_status(struct cli *cli);

int cmd_source_show(struct cli *cli);
int cmd_source_set(struct cli *cli);
int cmd_source_check(struct cli *cli);
int cmd_source_start(struct cli *cli);
int cmd_source_stop(struct cli *cli);
int cmd_source_reset(struct cli *cli);

int cmd_compensate(struct cli *cli);
int compensate_check(struct cli *cli); /* source check HOST */

int cmd_user_list(struct cli *cli);
int cmd_user_add(struct cli *cli);
int cmd_user_passwd(struct cli *cli);
int cmd_user_drop(struct cli *cli);

int cmd_member_list(struct cli *cli);
int cmd_member_add(struct cli *cli);
int cmd_member_replace(struct cli *cli);
int cmd_member_remove(struct cli *cli);
int cmd_member_promote(struct cli *cli);
int cmd_member_demote(struct cli *cli);
int cmd_switchover(struct cli *cli);
int cmd_recover(struct cli *cli);
int cmd_replica_list(struct cli *cli);
int cmd_log_list(struct cli *cli);
int cmd_log_verify(struct cli *cli);
int cmd_log_purge(struct cli *cli);
int cmd_log_events(struct cli *cli);
int cmd_alarm_list(struct cli *cli);
int cmd_alarm_ack(struct cli *cli);
int cmd_gtid_show(struct cli *cli);
int cmd_gtid_missing(struct cli *cli);
int cmd_gtid_wait(struct cli *cli);
int cmd_setting_list(struct cli *cli);
int cmd_setting_set(struct cli *cli);
int cmd_sql(struct cli *cli);

/* ---- status.c, for source.c too: the source's part of SHOW STATUS ---- */

/* Rows of SHOW STATUS LIKE 'Holdfast_%', by name without that prefix; NULL when not there. */
const char *status_get(const struct result *status, const char *name);
bool status_yes(const char *value); /* yes, on, 1, true */
void status_source_text(struct buf *b, unsigned indent, unsigned width, const struct result *status);
void status_source_json(struct json *j, const struct result *status); /* the members of an object */

#endif
