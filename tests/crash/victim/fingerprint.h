/* SPDX-License-Identifier: ISC */
#ifndef FINGERPRINT_H
#define FINGERPRINT_H

#include "crash.h"

/* Of a directory: names, modes, owners, times and contents of all there is in it, in whatever order. */
uint64_t fingerprint(int parent, const char *path);

#endif
