/* SPDX-License-Identifier: ISC */
/* How alike names are, for "did you mean". */
#ifndef NAME_H
#define NAME_H

#include <stddef.h>

/*
 * The number of edits that turn a into b: a byte inserted, dropped, replaced, or two neighbours
 * swapped. For a text longer than a name can be it is the longer one's length, the most there can
 * be.
 */
size_t name_distance(const char *a, const char *b);

#endif
