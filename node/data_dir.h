/* data_dir.h: a data directory belongs to one process at a time. */
#ifndef HOLDFAST_NODE_DATA_DIR_H
#define HOLDFAST_NODE_DATA_DIR_H

#include "protocol/base/err.h"

#include <stdbool.h>

/* Locks it for as long as the descriptor is open and the process lives; -1: em says why. `make`: it is made, durably, if it is not there. */
int data_dir_lock(const char *dir, bool make, struct errmsg *em);

#endif
