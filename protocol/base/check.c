/* check.c: the end of a program whose own state is wrong. */
#include "protocol/base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "holdfast: internal check failed: %s (%s:%d); please report this\n", what, file, line);
    fflush(stderr);
    abort();
}
