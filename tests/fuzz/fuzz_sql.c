/* fuzz_sql: statements of clients, on a worker's side.
 *
 * Input: flavour and roles (one byte), then statements with a NUL between them, run one after the other in
 * one session. Properties: each is answered or handed to the loop; errors have number, state and text, and no
 * answer quotes a password; a statement that is handed over needs privileges that the session has. */
#include "node/sql.h"
#include "node/sql_impl.h"
#include "node/sql_lex.h"
#include "protocol/base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_env.h"

enum { STATEMENTS_MAX = 64 };

#define SECRET "s3cr3t-w0rd"

static struct view *make_view(unsigned flags)
{
    static const char *const versions[] = {"8.4.0-holdfast", "9.7.4-holdfast",
                                           "5.5.5-10.11.19-MariaDB-holdfast"};
    struct view *view = mem_new(sizeof *view);
    unsigned flavour = flags % 3;
    atomic_init(&view->refs, 1);
    view->node_id = 2;
    view->flavour = (enum flavour)flavour;
    snprintf(view->version, sizeof view->version, "%s", versions[flavour]);
    snprintf(view->server_uuid, sizeof view->server_uuid, "85a05a83-e51f-11f1-a45c-02fc00000001");
    view->server_id = 4711;
    view->leader = flags & 128;
    return view;
}

static void check_tokens(const char *text, size_t n)
{
    struct sql_tokens tokens;
    size_t bad = 0, last = 0;
    if (sql_lex(text, n, &tokens, &bad)) {
        MUST(bad <= n);
        return;
    }
    MUST(tokens.tokens[tokens.n].kind == TOKEN_END && tokens.n <= SQL_TOKENS_MAX);
    for (size_t i = 0; i < tokens.n; i++) {
        const struct sql_token *t = &tokens.tokens[i];
        MUST(t->kind != TOKEN_END && t->at >= last && t->end > t->at && t->end <= n);
        MUST(strlen(t->text) <= t->end - t->at);
        last = t->end;
    }
    sql_tokens_free(&tokens);
}

static void check_reply(const struct reply *r)
{
    MUST(strnlen(r->message, sizeof r->message) < sizeof r->message);
    if (r->kind == REPLY_ERROR) {
        MUST(r->code >= 1000 && strlen(r->state) == 5 && r->message[0]);
    }
    if (r->kind != REPLY_ROWS) {
        MUST(!r->table);
        return;
    }
    size_t columns = table_columns(r->table), rows = table_rows(r->table), n;
    MUST(columns > 0 && columns <= SQL_COLUMNS_MAX);
    for (size_t c = 0; c < columns; c++) {
        MUST(table_name(r->table, c));
        for (size_t row = 0; row < rows; row++) {
            const char *cell = table_cell(r->table, row, c, &n);
            MUST(!cell || cell[n] == '\0');
        }
    }
}

/* The password stands in a text of its own; whatever comes behind it, no error may quote it. */
static void check_secret(struct sql_session *session, const char *tail, size_t n)
{
    static const char head[] = "ALTER USER 'u' IDENTIFIED BY '" SECRET "' ";
    size_t len = sizeof head - 1 + n;
    char *text = malloc(len);
    struct reply reply = {0};
    struct sql_statement *statement = NULL;
    MUST(text);
    memcpy(text, head, sizeof head - 1);
    if (n) {
        memcpy(text + sizeof head - 1, tail, n);
    }
    if (sql_execute(session, text, len, &reply, &statement) == SQL_LOOP) {
        sql_statement_free(statement);
    } else {
        MUST(reply.kind != REPLY_ERROR || !strstr(reply.message, SECRET));
        reply_free(&reply);
    }
    free(text);
}

static void run(struct sql_session *session, const uint8_t *p, size_t n)
{
    struct reply reply = {0};
    struct sql_statement *statement = NULL;
    char *text = (char *)fuzz_exact(p, n);
    check_tokens(text, n);
    if (sql_execute(session, text, n, &reply, &statement) == SQL_LOOP) {
        MUST(statement && statement->row);
        MUST(statement->row->roles == 0 || statement->row->roles & session->roles);
        sql_statement_free(statement);
    } else {
        MUST(!statement);
        check_reply(&reply);
        reply_free(&reply);
    }
    check_secret(session, text, n);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cur in = cur_of(data, size);
    unsigned flags = cur_u8(&in);
    struct env *env = memory_env_new();
    struct view *view = make_view(flags);
    struct sql_session session = {.env = env,
                                  .view = view,
                                  .vars = sql_vars_new(),
                                  .connection_id = 17,
                                  .user = "repl",
                                  .host = "10.0.0.7",
                                  .roles = flags >> 4 & 7};
    for (int i = 0; i < STATEMENTS_MAX && cur_left(&in); i++) {
        const uint8_t *end = memchr(in.p, 0, cur_left(&in));
        size_t n = end ? (size_t)(end - in.p) : cur_left(&in);
        run(&session, cur_bytes(&in, n), n);
        cur_skip(&in, end ? 1 : 0);
    }
    sql_vars_free(session.vars);
    view_unref(view);
    memory_env_free(env);
    return 0;
}
