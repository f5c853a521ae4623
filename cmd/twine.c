/* SPDX-License-Identifier: ISC */
/*
 * Several strands, twined into one by time: a heap of those that have a message. Who was at its top and
 * has handed it out gets the next one when that is asked for, so that it stays valid until then.
 */
#include "replay.h"

static bool comes_before(const struct replay *r, const struct strand *a, const struct strand *b)
{
	if (a->message.time != b->message.time)
		return (a->message.time < b->message.time) != r->reverse;
	return (a->number < b->number) != r->reverse;
}

static void sift_down(struct replay *r, size_t at)
{
	struct strand *moving = r->heap[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < r->heap_size && comes_before(r, r->heap[child + 1], r->heap[child]))
			child++;
		if (child >= r->heap_size || !comes_before(r, r->heap[child], moving))
			break;
		r->heap[at] = r->heap[child];
		at = child;
	}
	r->heap[at] = moving;
}

/* The strand at the top gets its next message, or goes. */
static int top_renew(struct replay *r)
{
	int status = strand_fetch(r, r->heap[0]);

	if (status == LMQ_END)
		r->heap[0] = r->heap[--r->heap_size];
	else if (status != 0)
		return status;
	if (r->heap_size > 0)
		sift_down(r, 0);
	return 0;
}

static int heap_fill(struct replay *r)
{
	r->heap_size = 0;
	for (size_t i = 0; i < r->strand_count; i++) {
		int status = r->strands[i]->over ? LMQ_END : strand_fetch(r, r->strands[i]);

		if (status == 0)
			r->heap[r->heap_size++] = r->strands[i];
		else if (status != LMQ_END)
			return status;
	}
	for (size_t i = r->heap_size / 2; i-- > 0;)
		sift_down(r, i);
	return 0;
}

int twine_next(struct replay *r, struct strand **next)
{
	int status = 0;

	if (r->strand_count == 1) {
		*next = r->strands[0];
		status = (*next)->over ? LMQ_END : strand_fetch(r, *next);
	} else {
		if (r->heap_size > 0 && !r->heap[0]->pending)
			status = top_renew(r);
		if (status == 0 && r->heap_size == 0)
			status = heap_fill(r);
		*next = r->heap[0];
		if (status == 0 && r->heap_size == 0)
			status = LMQ_END;
	}
	if (status == 0)
		(*next)->pending = false;
	return status;
}

/* ---- the begin ---------------------------------------------------------------------------------- */

static void reset(struct replay *r)
{
	r->heap_size = 0;
	for (size_t i = 0; i < r->strand_count; i++)
		r->strands[i]->pending = r->strands[i]->over = false;
}

static void seek_all(struct replay *r, enum lmq_seek how, int64_t value)
{
	for (size_t i = 0; i < r->strand_count; i++)
		replay_check(r, lmq_reader_seek(r->strands[i]->reader, how, value));
}

static void cut_at(struct replay *r, const struct strand *s)
{
	const struct lmq_message *m = &s->message;

	r->cut = (struct place){ m->time, s->number, m->partition, m->offset };
	r->cut_set = true;
}

/* One strand: the reader knows how. The cut is the message found. */
static void last_of_one(struct replay *r)
{
	struct strand *s = r->strands[0];
	int status;

	seek_all(r, LMQ_SEEK_LAST, r->range.last);
	if (!r->reverse)
		return;
	status = r->range.last > 0 ? lmq_reader_next(s->reader, &s->message) : LMQ_END;
	if (status == 0)
		cut_at(r, s);
	else if (status == LMQ_END)
		r->cut_all = true;
	else
		replay_check(r, status);
}

/* Several: back from the end so many messages; what was read ahead is given back, by reading it again. */
static void last_of_all(struct replay *r)
{
	bool reverse = r->reverse;
	struct strand *s;
	int status = 0;

	r->reverse = r->raw = true;
	r->cut_all = r->range.last == 0;
	seek_all(r, LMQ_SEEK_END, 0);
	for (int64_t i = 0; status == 0 && i < r->range.last; i++) {
		status = twine_next(r, &s);
		if (status == 0)
			cut_at(r, s);
	}
	if (status != LMQ_END && status != LMQ_EINTR)
		replay_check(r, status);
	for (size_t i = 0; i < r->strand_count; i++) {
		s = r->strands[i];
		s->kept = false;
		if (s->pending && (status = lmq_reader_next(s->reader, &s->message)) != LMQ_END)
			replay_check(r, status);
	}
	reset(r);
	r->reverse = reverse;
	r->raw = false;
}

void twine_begin(struct replay *r)
{
	reset(r);
	r->held = lmq_deadline(0);
	if (r->range.last >= 0 && r->strand_count == 1)
		last_of_one(r);
	else if (r->range.last >= 0)
		last_of_all(r);
	if (r->reverse && r->range.until != INT64_MAX)
		seek_all(r, LMQ_SEEK_TIME, r->range.until);
	else if (r->reverse)
		seek_all(r, LMQ_SEEK_END, 0);
	else if (r->range.last < 0)
		for (size_t i = 0; i < r->strand_count; i++)
			replay_check(r, range_seek(&r->range, r->strands[i]->reader, LMQ_SEEK_FIRST));
	if (r->strand_count > 1)
		strands_pause(r);
}
