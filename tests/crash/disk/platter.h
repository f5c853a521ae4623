/* SPDX-License-Identifier: ISC */
/* A directory that is made to hold what a crash left, again and again: only what differs is written. */
#ifndef PLATTER_H
#define PLATTER_H

#include "image.h"

/* What lock.mdb and control are like, whose bytes are worth nothing: as the last one left them, empty, noise, or control
 * says that an earlier commit failed. */
enum condition { AS_LEFT, EMPTY, NOISE, NOISE_IN_LOCK, POISONED, CONDITIONS };

void platter_begin(const char *root);
/* The state of the chosen items; anew: files beside data.mdb may have changed since the last one. */
void platter_lay(struct image *i, const uint8_t *chosen, enum condition condition, bool anew);

#endif
