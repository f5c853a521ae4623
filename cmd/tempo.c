/* SPDX-License-Identifier: ISC */
/* When a message leaves: at the distances in time at which messages were stored, or at most so many a second. */
#include "replay.h"

#define SECOND INT64_C(1000000000)
#define EARLY INT64_C(1000000)	/* with --rate: how early a message may leave, so that many leave at once */

static int64_t speed_start, rate_start;	/* as deadlines; -1: not yet */
static int64_t first_time;		/* of the message that left at speed_start */

void tempo_begin(struct replay *r)
{
	speed_start = -1;
	if (r->written == 0)
		rate_start = -1;
}

static int64_t later(int64_t from, double by)
{
	return by < (double)(INT64_MAX - from) ? from + (int64_t)by : LMQ_FOREVER;
}

static int64_t due_by_speed(const struct replay *r, int64_t time, int64_t now)
{
	if (speed_start < 0) {
		speed_start = now;
		first_time = time;
	}
	return later(speed_start, (double)(r->reverse ? first_time - time : time - first_time) / r->speed);
}

/* What was held up for long does not come in one go. */
static int64_t due_by_rate(const struct replay *r, int64_t now)
{
	int64_t due;

	if (rate_start < 0)
		rate_start = now;
	due = later(rate_start, (double)r->written * (double)SECOND / r->rate);
	if (now - due > SECOND)
		rate_start += now - due;
	return due - EARLY > now ? due : INT64_MIN;
}

int64_t tempo_due(const struct replay *r, const struct lmq_message *message)
{
	int64_t now = lmq_deadline(0), due = INT64_MIN, by_speed;

	if (r->rate > 0)
		due = due_by_rate(r, now);
	if (r->speed > 0) {
		by_speed = due_by_speed(r, message->time, now);
		due = by_speed > due ? by_speed : due;
	}
	return due;
}
