/* SPDX-License-Identifier: ISC */
/*
 * What a store holds, seen by a process of its own: as a text, for comparing with what it ought to be, and number by
 * number, for comparing with what was acknowledged. The store is checked on the way, and used: a message is sent and
 * received.
 */
#ifndef WITNESS_H
#define WITNESS_H

#include "prepared.h"

enum { TEXT = 1 << 16 };

struct view {			/* in shared memory */
	uint16_t count[NUMBERS];	/* stored messages of that number, in all channels together */
	uint16_t size;
	char text[TEXT];
};

/* Looks at the store. The text tells all but times, sizes, and what the queue "after" holds. Waits for patience. */
void witness_look(const char *path, struct view *v, int64_t patience, const char *when);
/* Only sends and receives. */
void witness_use(const char *path, int64_t patience, const char *when);
/* Breaks where the view does not agree with the notes: something is lost, was never sent, or is there again. */
void witness_compare(const struct view *v, const struct note *notes, const char *when);
/* The first line of a that b has not; "" if they are the same. In static memory. */
const char *witness_difference(const struct view *a, const struct view *b);

#endif
