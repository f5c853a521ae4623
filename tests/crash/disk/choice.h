/* SPDX-License-Identifier: ISC */
/*
 * Which part of what is unsynced is on the disk. Of few items all subsets are taken; of more, nothing, all, the first so
 * many, one, all but one, and then some that are drawn.
 */
#ifndef CHOICE_H
#define CHOICE_H

#include "platter.h"

enum { CHOICE_ALL = 8 };	/* items of which all subsets are taken */

/* Whether the hash was not given before. */
bool choice_new(uint64_t hash);
/* Variants that are taken in turn; what comes after them is drawn, where there are more items than CHOICE_ALL. */
uint64_t choice_systematic(size_t items);
/* The variant of that instant; the same at each run with the same seed. */
void choice_make(uint64_t point, uint64_t variant, size_t items, uint8_t *chosen);
enum condition choice_condition(uint64_t variant, uint64_t point);

#endif
