/* SPDX-License-Identifier: ISC */
/*
 * A small store that has a bit of everything, to be damaged and then used: by the library in a child, and by the tools.
 * What may be delivered of it is known, and what a look at it shows.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include "crash.h"

/* Makes it, and beside it a small one that nobody harms, with the tools that were built; learns what is in it. */
void victim_make(const char *path, const char *neighbour);

enum victim_end {
	VICTIM_SAME,		/* all of it is as it was made */
	VICTIM_REPORTED,	/* something was refused, or found damaged */
	VICTIM_DEAD,		/* LMDB died: the tools report that */
	VICTIM_WRONG,		/* something was delivered that was never sent */
	VICTIM_SILENT,		/* something is missing or different, and nobody says so */
	VICTIM_HARM,		/* the other store has changed */
	VICTIM_CHECK,		/* the check died, or did not end */
	VICTIM_HANG,
	VICTIM_GROWN,		/* more than so much memory, or disk */
	VICTIM_ENDS
};
extern const char *const victim_ends[VICTIM_ENDS];

/* Uses it in a child. deaf: believes that the check has found something. */
enum victim_end victim_use(bool deaf);
/* Saves what can be read of it in a store that must then be whole, and show nothing that was never sent. NULL, or what is
 * wrong. */
const char *victim_repair(void);

#endif
