/* control_script.h: a node of its own on the simulator's disk (a real cluster of one, its source link, its serving part) that is given
 * statements, each with what its answer begins with.
 *
 * The script is the caller's and stays until it has run. One thread. */
#ifndef TESTS_UNIT_CONTROL_SCRIPT_H
#define TESTS_UNIT_CONTROL_SCRIPT_H

#include "protocol/event.h"
#include "tests/sim/env_sim.h"

#define CONTROL_UUID "85a05a83-e51f-11f1-a45c-02fc00000001"
enum { CONTROL_STATEMENTS_MAX = 400 };

#define STEPS(array) .steps = (array), .n = sizeof(array) / sizeof *(array)

/* What one run of the node does: its statements one after the other, or all at once and then the end. */
struct control_script {
    const char *const (*steps)[2]; /* statement, what its answer begins with */
    size_t n;
    enum flavour flavour;
    uint32_t roles;
    bool with_file;
    bool flood;   /* all at once, the node closes at once */
    bool patient; /* ... when all is answered */
    bool early;   /* begin before the node leads */
    unsigned answered, shutdowns;
    bool gone;
};

/* Fails the test when an answer is another one, or something is not answered. */
void control_script_run(struct sim_host *host, struct control_script *script);
void control_script_run_alone(struct control_script *script); /* on a disk of its own */

#endif
