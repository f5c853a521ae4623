/* SPDX-License-Identifier: ISC */
/* The stories, each recorded once, and again with each of its writes and syncs failing in turn. */
#ifndef WORK_H
#define WORK_H

#include "image.h"
#include "story.h"

enum { WORKS = 2048 };

struct work {			/* one recording */
	const struct story *story;
	struct recording *record;
	uint64_t first_fault, faults;
	uint8_t how;
	uint64_t points;
	size_t first_point;
};
extern struct work works[WORKS];
extern unsigned work_count;

/* In the process that is recorded, else NULL; and its clock, which is the same at each run. */
extern struct recording *recorded_now;
extern int64_t recorded_time;

/* Those that the words of the trial name. */
void works_record(const struct trial *t);

#endif
