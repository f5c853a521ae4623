/* SPDX-License-Identifier: ISC */
/*
 * An ext4 of its own in a file, whose power can be cut: what was not written by then is gone, the journal's open
 * transaction too. It is mounted where only this process and its children see it, and goes with them.
 */
#ifndef VOLUME_H
#define VOLUME_H

#include <stdbool.h>

/* Makes it, below place, in a namespace of its own. NULL, or why that cannot be done here. */
const char *volume_make(const char *place);
void volume_mount(const char *options);
void volume_cut(void);
void volume_unmount(void);
extern char volume_path[4096];	/* where it is mounted */

#endif
