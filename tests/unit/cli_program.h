/* cli_program.h: runs the program holdfast as users run it, from the build directory (HOLDFAST_BUILDDIR, else "."), and looks at what it
 * printed and how it ended. */
#ifndef TESTS_UNIT_CLI_PROGRAM_H
#define TESTS_UNIT_CLI_PROGRAM_H

#include "protocol/base/buf.h"
#include "tests/unit/fake_node.h"

#include <stdbool.h>

struct ran {
    int status; /* negative: the signal that ended it */
    struct buf out, err;
};

/* Runs it with the arguments up to a NULL. What it prints is small enough for a pipe. To be freed with cli_ran_free. */
struct ran cli_run(const char *input, ...);
void cli_ran_free(struct ran *ran);

const char *cli_program(void); /* its path */
int cli_spawn(char *const *argv, int in, int out, int err);
void cli_slurp(int fd, struct buf *b); /* all there is; closes the descriptor */
bool cli_has(struct buf *b, const char *text); /* prints both when not */
void cli_expect_log(const struct fake_node *node, const char *want); /* the statements that the node got */

#define EXPECT(ran_, status_, out_, err_)                                                                    \
    do {                                                                                                     \
        UNIT_INT((ran_).status, (status_));                                                                  \
        UNIT_TRUE(cli_has(&(ran_).out, (out_)));                                                                 \
        UNIT_TRUE(cli_has(&(ran_).err, (err_)));                                                                 \
        cli_ran_free(&(ran_));                                                                                   \
    } while (0)

#define START(node, ...)                                                                                     \
    static const struct fake_answer answers_[] = {__VA_ARGS__};                                              \
    struct fake_node node;                                                                                   \
    fake_node_start(&node, answers_, sizeof answers_ / sizeof answers_[0], false, NULL)

#define STATUS_ROWS                                                                                          \
    "Variable_name\tValue\nHoldfast_protected\tno\nHoldfast_protected_reason\tone voter, no redundancy\n"    \
    "Holdfast_version\t0.1.0\nHoldfast_node_id\t1\nHoldfast_leader_id\t1\nHoldfast_term\t3\n"                \
    "Holdfast_applied_index\t42\nHoldfast_source\tdb1:3306\nHoldfast_source_phase\tstreaming\n"              \
    "Holdfast_source_error\t\nHoldfast_source_semi_sync\tno\nHoldfast_acks\t17\n"                            \
    "Holdfast_ack_position\tmysql-bin.000002:4711\nHoldfast_received_position\tmysql-bin.000002:4800\n"      \
    "Holdfast_committed_position\tmysql-bin.000002:4711\nHoldfast_transactions\t17\n"                        \
    "Holdfast_gtid_executed\t3f1c:1-17"

#define MEMBER_ROWS                                                                                          \
    "Id#\tAddress\tRole\tState\tVersion\tApplied#\tSelf\n1\t127.0.0.1:4307\tvoter\tleader\t0.1.0\t42\tyes"

#endif
