/* SPDX-License-Identifier: ISC */
/*
 * A pace: so many steps a second, evenly spread.
 *
 * Each step taken moves the time of the next one. Who wakes up a little late keeps the time it had
 * to keep, so that lateness does not add up; who comes much later starts afresh, so that what was
 * held up does not come in one go.
 */
#include "cmd.h"

#define SECOND 1e9
#define LATE INT64_C(10000000)	/* ns that are caught up with */

int64_t pace_next(const struct pace *pace)
{
	return pace->rate > 0 ? pace->next : 0;
}

void pace_take(struct pace *pace, uint64_t steps)
{
	int64_t now;
	double by;

	if (pace->rate <= 0)
		return;
	now = lmq_deadline(0);
	if (pace->next < now - LATE) {
		pace->next = now;
		pace->rest = 0;
	}
	by = (double)steps * SECOND / pace->rate + pace->rest;
	if (by >= (double)(LMQ_FOREVER - pace->next)) {
		pace->next = LMQ_FOREVER;
		return;
	}
	pace->next += (int64_t)by;
	pace->rest = by - (double)(int64_t)by;
}

size_t pace_batch(const struct pace *pace, size_t most)
{
	double batch = pace->rate / 20;

	if (pace->rate <= 0 || batch >= (double)most)
		return most;
	return batch > 1 ? (size_t)batch : 1;
}
