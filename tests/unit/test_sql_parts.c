/* test_sql_parts: what statements are made of and answered with: tables, user variables, tokens, patterns, and the first line of the status. */
#include "node/sql.h"
#include "node/sql_impl.h"
#include "node/sql_lex.h"
#include "node/verdict.h"
#include "tests/unit/unit.h"

#include "protocol/base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- tables, variables ---- */

static void tables_hold_rows(void)
{
    struct table *t = table_new();
    table_column(t, "a", TABLE_TEXT);
    table_column(t, "b", TABLE_NUMBER);
    for (unsigned i = 0; i < 100; i++) {
        table_row(t);
        table_printf(t, "row %u", i);
        table_number(t, i);
    }
    table_row(t);
    table_bytes(t, "x\0y", 3);
    table_text(t, NULL);
    struct reply reply = {0};
    reply_rows(&reply, t);
    size_t n;
    UNIT_INT(reply.kind, REPLY_ROWS);
    UNIT_UINT(table_rows(t), 101);
    UNIT_UINT(table_columns(t), 2);
    UNIT_STR(table_cell(t, 42, 0, &n), "row 42");
    UNIT_UINT(n, 6);
    UNIT_STR(table_cell(t, 42, 1, NULL), "42");
    UNIT_INT(table_type(t, 1), TABLE_NUMBER);
    UNIT_MEM(table_cell(t, 100, 0, &n), "x\0y", 3);
    UNIT_UINT(n, 3);
    UNIT_TRUE(table_cell(t, 100, 1, NULL) == NULL);
    reply_free(&reply);
    UNIT_TRUE(reply.table == NULL);
    reply_error(&reply, 1064, "42000", "%s", "x");
    UNIT_STR(reply.state, "42000");
    table_free(NULL);
}

static void table_too_large_is_an_error(void)
{
    struct table *t = table_new();
    size_t n = 100 << 20;
    char *big = mem_new(n);
    table_column(t, "a", TABLE_TEXT);
    for (unsigned i = 0; i < 3; i++) {
        table_row(t);
        table_bytes(t, big, n);
    }
    struct reply reply = {0};
    reply_rows(&reply, t);
    UNIT_INT(reply.kind, REPLY_ERROR);
    UNIT_TRUE(reply.table == NULL);
    mem_free(big);
}

static void user_variables_are_bounded(void)
{
    struct sql_vars *vars = sql_vars_new();
    char name[100], *big = mem_new(SQL_TEXT_MAX + 1);
    UNIT_TRUE(sql_vars_get(vars, "a") == NULL);
    UNIT_INT(sql_vars_set(vars, "a", "1"), 0);
    UNIT_INT(sql_vars_set(vars, "A", "2"), 0);
    UNIT_STR(sql_vars_get(vars, "a"), "2");
    UNIT_INT(sql_vars_set(vars, "a", sql_vars_get(vars, "a")), 0);
    UNIT_STR(sql_vars_get(vars, "a"), "2");
    for (unsigned i = 1; i < SQL_VARS_MAX; i++) {
        snprintf(name, sizeof name, "v%u", i);
        UNIT_INT(sql_vars_set(vars, name, NULL), 0);
    }
    UNIT_INT(sql_vars_set(vars, "one too many", "x"), E_TOOBIG);
    memset(big, 'x', SQL_TEXT_MAX);
    UNIT_INT(sql_vars_set(vars, "v1", big), E_TOOBIG);
    big[SQL_TEXT_MAX - 1] = '\0';
    UNIT_INT(sql_vars_set(vars, "v1", big), 0);
    UNIT_INT(sql_vars_set(vars, "v1", big), 0);
    UNIT_INT(sql_vars_set(vars, "v2", "x"), E_TOOBIG);
    memset(name, 'n', 65);
    name[65] = '\0';
    UNIT_INT(sql_vars_set(vars, name, "x"), E_TOOBIG);
    mem_free(big);
    sql_vars_free(vars);
    sql_vars_free(NULL);
}

/* ---- tokens ---- */

static const char *lexed(const char *text)
{
    static char out[2000];
    struct sql_tokens tokens;
    size_t bad = 0, at = 0;
    int rv = sql_lex(text, strlen(text), &tokens, &bad);
    if (rv) {
        snprintf(out, sizeof out, "%s at %zu", err_name(rv), bad);
        return out;
    }
    out[0] = '\0';
    for (size_t i = 0; i < tokens.n; i++) {
        at += (size_t)snprintf(out + at, sizeof out - at, "%s%c%s", i ? " " : "",
                               "?wqsnu@m"[tokens.tokens[i].kind], tokens.tokens[i].text);
    }
    UNIT_INT(tokens.tokens[tokens.n].kind, TOKEN_END);
    sql_tokens_free(&tokens);
    return out;
}

static void tokens_are_read(void)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"SELECT 1", "wSELECT n1"},
        {" select\t@@Global.x , @y.z-- c\n;", "wselect @x m, uy.z m;"},
        {"'it''s' \"a\"\"b\" `c``d` 'x\\n\\'\\\\\\%'", "sit's sa\"b qc`d sx\n'\\\\%"},
        {"a/* b */c # d\n--\ne", "wa wc we"},
        {"1--1", "n1 m- m- n1"},
        {"/*!40101 SET NAMES x */;", "wSET wNAMES wx m;"},
        {"/*M!100100 a*/b", "wa wb"},
        {"/*!", "MALFORMED at 3"},
        {"1.5 1st .5", "n1.5 w1st m. n5"},
        {"a<=b<>c!=d:=e||f&&g", "wa m<= wb m<> wc m!= wd m:= we m|| wf m&& wg"},
        {"@'x y' @`z` @@session.`a` @@local.b @@a.b", "ux y uz @a @b @a.b"},
        {"*.*", "m* m. m*"},
        {"''", "s"},
        {"'abc", "MALFORMED at 0"},
        {"x 'a\\", "MALFORMED at 2"},
        {"x 'a\\0'", "MALFORMED at 2"},
        {"`a", "MALFORMED at 0"},
        {"``", "MALFORMED at 0"},
        {"/* x", "MALFORMED at 0"},
        {"/*! a", "MALFORMED at 5"},
        {"a @", "MALFORMED at 2"},
        {"a @@", "MALFORMED at 2"},
        {"@@global.", "MALFORMED at 0"},
        {"a [", "MALFORMED at 2"},
        {"a ?", "MALFORMED at 2"},
        {"\xc3\xa4 \x01", "MALFORMED at 3"},
        {"\xc3\xa4", "w\xc3\xa4"},
        {"*/", "m* m/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        UNIT_STR(lexed(cases[i][0]), cases[i][1]);
    }
    struct sql_tokens tokens;
    size_t bad = 0;
    UNIT_INT(sql_lex("a\0b", 3, &tokens, &bad), E_MALFORMED);
    UNIT_UINT(bad, 1);
}

/* ---- patterns, the verdict ---- */

static void like_matches(void)
{
    static const struct {
        const char *text, *pattern;
        bool is;
    } cases[] = {
        {"server_id", "SERVER_ID", true},
        {"server_id", "server%", true},
        {"server_id", "%id", true},
        {"server_id", "s%v%_d", true},
        {"server_id", "server", false},
        {"serverXid", "server_id", true},
        {"serverXid", "server\\_id", false},
        {"a_b", "a\\_b", true},
        {"", "%", true},
        {"", "", true},
        {"a", "", false},
        {"ab", "%b%", true},
        {"aab", "%ab", true},
        {"a%", "a\\%", true},
        {"ab", "a\\%", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!UNIT_INT(sql_like(cases[i].text, cases[i].pattern), cases[i].is)) {
            printf("# %s LIKE %s\n", cases[i].text, cases[i].pattern);
        }
    }
}

static void verdicts(void)
{
    struct state state = {0};
    struct source_status status = {.phase = SOURCE_WAITING, .host = "db1", .port = 3306, .error = "refused"};
    struct verdict_facts f = {.voters = 1, .self = 1, .leader = 1, .state = &state, .source = &status};
    char text[1024];
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_STR(text, "one voter, no redundancy; no source is set");
    state.has_source = true;
    snprintf(state.source.host, sizeof state.source.host, "db1");
    state.source.port = 3306;
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_STR(text, "one voter, no redundancy; following db1:3306 is stopped");
    state.source.running = true;
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_TRUE(strstr(text, "not following db1:3306 (") && strstr(text, ": refused)"));
    status = (struct source_status){.phase = SOURCE_STREAMING};
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_TRUE(strstr(text, "semi-sync is off") != NULL);
    status.semi_sync = true;
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_STR(text, "one voter, no redundancy");
    f.voters = 3;
    UNIT_TRUE(verdict(&f, text, sizeof text));
    UNIT_STR(text, "");
    f.leader = 2;
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    f.leader = 0;
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_STR(text, "no leader is known. No ACKs; commits on db1:3306 wait");
    f.quorum = "quorum lost since 03:12:07Z: 1 of 3 voters answers";
    UNIT_TRUE(!verdict(&f, text, sizeof text));
    UNIT_STR(text, "quorum lost since 03:12:07Z: 1 of 3 voters answers. No ACKs; commits on db1:3306 wait");
    char small[10];
    f.voters = 1;
    UNIT_TRUE(!verdict(&f, small, sizeof small));
    UNIT_STR(small, "one voter");
}

UNIT_MAIN("sql_parts", UNIT_TEST(tables_hold_rows), UNIT_TEST(table_too_large_is_an_error), UNIT_TEST(user_variables_are_bounded),
          UNIT_TEST(tokens_are_read), UNIT_TEST(like_matches), UNIT_TEST(verdicts))
