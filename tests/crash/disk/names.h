/* SPDX-License-Identifier: ISC */
/* The names in the directories of an image: an array of at most IMAGE_FILES. */
#ifndef NAMES_H
#define NAMES_H

#include "image.h"

int names_find(const struct name *names, int count, int directory, const char *text);	/* -1: there is none */
/* What the item, of a name that was made, renamed or removed, makes of them; returns how many there are then. */
int names_apply(const struct item *item, struct name *names, int count);

#endif
