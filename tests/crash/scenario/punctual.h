/* SPDX-License-Identifier: ISC */
/* How long something took, time after time. */
#ifndef PUNCTUAL_H
#define PUNCTUAL_H

#include "crash.h"

struct punctual {
	const char *what;
	int limit;		/* ms */
	uint64_t count, late;
	int64_t most;		/* ns */
};
/* Breaks where it is late too often, or by as much as the slow re-check of every wait. */
void took(struct punctual *p, int64_t ns, const char *when);

#endif
