/*
 * fake_node: a MySQL server in a child process, made from protocol/'s server side, that answers statements
 * from a list. For tests of clients. Admits root on its socket and the account ops/secret over TCP.
 *
 * Answers, chosen by the first row whose text the statement begins with (none: ERR 1064):
 *     "OK", "OK 2" (with two warnings), "ERR 1045 text", "HANG" (no answer), "CLOSE" (ends the connection),
 *     or rows: lines of cells between tabs, the first line the columns' names ("#" behind the name: a
 * number),
 *     "\\N" for NULL.
 */
#ifndef TESTS_UNIT_FAKE_NODE_H
#define TESTS_UNIT_FAKE_NODE_H

#include <stdbool.h>
#include <stddef.h>

struct fake_answer {
    const char *sql;
    const char *answer;
};

struct fake_node {
    int pid;
    unsigned port; /* on 127.0.0.1; 0: it listens on the socket */
    char socket[128];
    char log[128]; /* the statements it was sent, one a line, with "\n" inside shown as a blank */
};

/* Returns when it listens. tls: offers TLS with a certificate of its own, which is written to `certificate`.
 */
void fake_node_start(struct fake_node *node, const struct fake_answer *answers, size_t n, bool tcp,
                     const char *certificate);
void fake_node_stop(struct fake_node *node);

/* What was sent since the start; for the caller to free. */
char *fake_node_log(const struct fake_node *node);

#endif
