/* SPDX-License-Identifier: ISC */
/* A model of a queue, by our clocks: which message the next claim must give. */
#ifndef FORETOLD_H
#define FORETOLD_H

#include <stdbool.h>
#include <stdint.h>

struct foretold {		/* a message */
	uint64_t offset;
	uint32_t attempts;
	bool leased;
	int64_t due;		/* by the wall clock; 0: ready */
	int64_t steady;		/* leased: since the machine was started, */
	uint32_t start;		/* for that time */
};

extern uint64_t foretold_ended;	/* delays, retries and leases */
extern uint64_t foretold_kept;	/* leases that were over by the wall clock alone */

/* It is sent, and waits until due. NULL: the model is full. */
struct foretold *foretold_send(int64_t due);
/* What a claim makes ready, and which message it must then give; NULL: none. */
struct foretold *foretold_claim(void);
struct foretold *foretold_any(void);		/* NULL: none is there */
void foretold_lease(struct foretold *m, int64_t duration);
void foretold_retry(struct foretold *m, int64_t delay);
void foretold_acknowledge(struct foretold *m);
bool foretold_leases(void);			/* any */
bool foretold_waits(uint64_t offset);		/* that message may not come yet */

#endif
