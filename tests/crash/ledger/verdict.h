/* SPDX-License-Identifier: ISC */
/* The checker of the ledger. */
#ifndef VERDICT_H
#define VERDICT_H

#include "ledger.h"

struct verdict {
	uint64_t sent, delivered, settled, read, killed;
	uint64_t again;		/* deliveries that were not the first; their causes: */
	uint64_t died, ended, given, unknown;
	uint32_t id;		/* of the message that is wrong, 0: none */
	char wrong[256];	/* "": nothing */
};
/*
 * Whether what is noted can be true; all queues and groups were drained before, by a process that noted it. The first
 * thing that is wrong is in v->wrong, and then the answer is false.
 */
bool ledger_check(const struct ledger *l, struct verdict *v);

#endif
