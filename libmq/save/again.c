/* SPDX-License-Identifier: ISC */
/*
 * A repair: what messages had come to, where that is lost. What was settled long ago is not stored any more, so as long as
 * less is unsettled than the position had counted, whatever lies where runs are lost is delivered again.
 */
#include "states.h"

#include <string.h>

static void say_again(struct reader *p, uint64_t first, uint64_t end)
{
	rescue_say(p->r, p->name, "what had become of messages %llu to %llu is lost: they are delivered again%s",
		(unsigned long long)first, (unsigned long long)end - 1, p->ordered ? ", not in the order of their keys" : "");
}

/* Of a bound of a doubt, where it is a run's of this space. */
static bool bound_offset(const struct reader *p, const struct key *bound, uint64_t *offset)
{
	struct key space = key_run(p->g.space, 0);
	uint8_t bytes[KEY_MAX] = { 0 };
	if (bound->size < RUN_PREFIX || memcmp(bound->bytes, space.bytes, RUN_PREFIX) != 0)
		return false;
	memcpy(bytes, bound->bytes, bound->size);
	*offset = get64(bytes + RUN_PREFIX);
	return true;
}

/* The offsets of runs that may be lost there. */
static bool doubt_offsets(const struct reader *p, const struct doubt *d, uint64_t *first, uint64_t *end)
{
	struct key low = key_run(p->g.space, 0), high = key_run(p->g.space, p->g.next);
	if ((d->high.size > 0 && bound_compare(d->high.bytes, d->high.size, low.bytes, RUN_PREFIX) <= 0) ||
			bound_compare(d->low.bytes, d->low.size, high.bytes, high.size) >= 0)
		return false;
	if (!bound_offset(p, &d->low, first) || *first < p->head.first)
		*first = p->head.first;
	if (!bound_offset(p, &d->high, end) || *end > p->g.next)
		*end = p->g.next;
	return *first < *end;
}

/* A run that table D told of: of more than one message that is all it knows. */
static bool is_begin(const struct run_record *run)
{
	return run->state == RUN_RETRYING && run->history.attempts == 0 && run->end == run->first + 1;
}

/* Where one run is lost it goes on to the next one at most, for as many messages as are missed. */
static int go_on(struct reader *p, uint64_t first, uint64_t end)
{
	uint64_t missed = p->counted - unsettled(&p->g);
	struct run_record run;
	int rc = 0;
	while (first < end && (rc = run_from(p, first, &run)) == 0 && run.first < end && !is_begin(&run))
		first = run.end;
	if (rc != 0 || first >= end || run.first >= end)
		return rc == LMQ_END ? 0 : rc;
	run.first = run.end;
	run.end = end - run.first < missed ? end : run.first + missed;
	return put_where_none(p, run);
}

int deliver_again(struct reader *p)
{
	uint64_t first, end;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < p->r->doubt_count && unsettled(&p->g) < p->counted; i++) {
		const struct doubt *d = &p->r->doubts[i];
		if (!doubt_offsets(p, d, &first, &end))
			continue;
		if (d->values == 1 && p->counted != UINT64_MAX)
			rc = go_on(p, first, end);
		if (rc != 0 || unsettled(&p->g) >= p->counted)
			continue;
		rc = put_where_none(p, plain_run(first, end));
		say_again(p, first, end);
	}
	return rc;
}
