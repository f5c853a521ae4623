/* SPDX-License-Identifier: ISC */
/* Wall time for ages, monotonic time for waits. */
#include "base.h"

#include <time.h>

static int64_t clock_read(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t lmq_now(void)
{
	return clock_read(CLOCK_REALTIME);
}

int64_t clock_monotonic(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

int64_t lmq_deadline(int64_t duration)
{
	int64_t deadline;
	if (duration == LMQ_FOREVER)
		return LMQ_FOREVER;
	if (duration < 0)
		duration = 0;
	if (__builtin_add_overflow(clock_monotonic(), duration, &deadline))
		return LMQ_FOREVER;
	return deadline;
}
