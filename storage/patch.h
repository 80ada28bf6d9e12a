/* patch.h: how one string of bytes differs from the one before it.
 *
 *     { copy:lenenc drop:lenenc put:lenenc bytes }*        then the rest is copied
 *
 * Made for GTID sets of one file after the other: a few numbers grow, seldom a part comes or goes. No state, any
 * thread. */
#ifndef HOLDFAST_STORAGE_PATCH_H
#define HOLDFAST_STORAGE_PATCH_H

#include "protocol/base/buf.h"
#include "protocol/base/cursor.h"

/* Appends the patch that makes `to` of `from`; nothing when they are the same. */
void patch_make(const void *from, size_t n_from, const void *to, size_t n_to, struct buf *out);

/* Puts what `from` becomes into `out`, which is emptied first. E_CORRUPT: the patch does not fit; E_TOOBIG. */
int patch_apply(const void *from, size_t n, struct cur patch, struct buf *out);

#endif
