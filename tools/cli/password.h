/* password.h: asks a person, or standard input, for a secret. */
#ifndef HOLDFAST_CLI_PASSWORD_H
#define HOLDFAST_CLI_PASSWORD_H

#include "protocol/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { PASSWORD_SIZE = 1024 }; /* with the NUL */

/* With a terminal as standard input: "prompt: " and a line that is not echoed. Else: the next line of
 * standard input, without a prompt. E_INVALID (no line, too long, a NUL in it), E_CANCELED (interrupted),
 * E_IO. */
int password_ask(const char *prompt, char out[PASSWORD_SIZE], struct errmsg *em);

/* For a new password: on a terminal it is asked for twice and must be the same; it is never empty. */
int password_ask_new(const char *prompt, char out[PASSWORD_SIZE], struct errmsg *em);

void password_wipe(void *data, size_t n);

#endif
