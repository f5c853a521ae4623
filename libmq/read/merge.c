/* SPDX-License-Identifier: ISC */
/*
 * The lanes of a stream, merged by time, then by number: a heap of those that have something to read.
 *
 * What a lane has next is looked at only when it comes to the top. Until then its place is by a time that
 * this cannot come before, in the direction of reading: that of the message before it. Such a place is
 * too early or right, never too late, so a lane that is right when it stands at the top is the one to be
 * read. A renewed snapshot costs a look at each lane's head, and at a block of those lanes only that come
 * to the top.
 */
#include "reader.h"

/* Whether lane a comes before b. */
static bool comes_before(const lmq_reader *r, unsigned a, unsigned b)
{
	int64_t x = r->lanes[a].time, y = r->lanes[b].time;
	if (r->heap_direction == BACKWARD)
		return x > y || (x == y && a > b);
	return x < y || (x == y && a < b);
}

static void sift_down(lmq_reader *r, unsigned at)
{
	uint16_t *heap = r->heap, moving = heap[at];
	for (;;) {
		unsigned child = 2 * at + 1;
		if (child + 1 < r->heap_size && comes_before(r, heap[child + 1], heap[child]))
			child++;
		if (child >= r->heap_size || !comes_before(r, heap[child], moving))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = moving;
}

static void heap_build(lmq_reader *r, enum direction d)
{
	r->heap_size = 0;
	r->heap_direction = d;
	for (unsigned i = 0; i < r->lane_count; i++) {
		struct lane *lane = &r->lanes[i];
		if (r->times_direction != (int)d) {
			lane->time = d == FORWARD ? INT64_MIN : INT64_MAX;
			lane->sharp = false;
		}
		r->heap[r->heap_size++] = (uint16_t)i;
	}
	r->times_direction = d;
	for (unsigned i = r->heap_size / 2; i-- > 0;)
		sift_down(r, i);
}

void merge_renewed(lmq_reader *r)
{
	for (unsigned i = 0; i < r->lane_count; i++)
		r->lanes[i].sharp = false;
	r->heap_direction = 0;
}

void merge_moved(lmq_reader *r)
{
	r->heap_direction = 0;
	r->times_direction = 0;
}

static void scratch_pass(uint8_t **from, size_t *from_size, uint8_t **to, size_t *to_size)
{
	*to = *from;
	*to_size = *from_size;
	*from = NULL;
	*from_size = 0;
}

void lane_lend(lmq_reader *r, struct lane *lane)
{
	if (r->lane_count > 1)
		scratch_pass(&r->scratch, &r->scratch_size, &lane->cursor.scratch, &lane->cursor.scratch_size);
}

void lane_take_back(lmq_reader *r, struct lane *lane)
{
	if (r->lane_count > 1)
		scratch_pass(&lane->cursor.scratch, &lane->cursor.scratch_size, &r->scratch, &r->scratch_size);
}

static int lane_step(lmq_reader *r, struct lane *lane, enum direction d, struct record *record)
{
	int rc;
	lane_lend(r, lane);
	rc = d == FORWARD ? log_next(&lane->cursor, record) : log_previous(&lane->cursor, record);
	lane_take_back(r, lane);
	lane->sharp = false;
	return rc;
}

static int lane_look(lmq_reader *r, struct lane *lane, enum direction d)
{
	int rc;
	lane_lend(r, lane);
	rc = d == FORWARD ? log_peek(&lane->cursor, &lane->time) : log_peek_previous(&lane->cursor, &lane->time);
	lane_take_back(r, lane);
	lane->sharp = rc == 0;
	return rc;
}

int merge_step(lmq_reader *r, enum direction d, struct record *record, struct lane **from)
{
	int rc;
	if (r->heap_direction != (int)d)
		heap_build(r, d);
	while (r->heap_size > 0) {
		struct lane *lane = &r->lanes[r->heap[0]];
		if (lane->sharp) {
			*from = lane;
			return lane_step(r, lane, d, record);
		}
		rc = lane_look(r, lane, d);
		if (rc == LMQ_END)
			r->heap[0] = r->heap[--r->heap_size];
		else if (rc != 0)
			return rc;
		if (r->heap_size > 0)
			sift_down(r, 0);
	}
	return LMQ_END;
}
