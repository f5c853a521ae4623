/* SPDX-License-Identifier: ISC */
/* Who writes anything into the control file of a store: while others share it, or when nobody does. */
#ifndef VANDAL_H
#define VANDAL_H

#include "crash.h"

struct vandal {			/* in shared memory */
	_Atomic uint64_t written;	/* words */
	_Atomic int64_t upset;	/* when all were last told to close the store, and to open it again; every 10 s */
	unsigned channels;	/* whose words are written to */
};
extern struct vandal *vandal;

void vandal_begin(unsigned channels);
int vandal_scribble(void *path);	/* for child(), until it is killed */

enum damage { GONE, ZEROED, NOISY, EMPTIED, CUT_OFF, DAMAGES };
void vandal_damage(const char *path, enum damage kind);

#endif
