/* SPDX-License-Identifier: ISC */
/*
 * What a receiver has in its hands: what it claimed, and what of that it is delivering.
 *
 * The locks on messages tell other processes that they are taken; the roster tells them by whom, and which of them
 * are being delivered. When this process dies the kernel gives the locks back, and whoever takes one of these
 * messages next finds the trace in the roster and counts the attempt. So a trace is laid before a message is
 * handed out, and taken away before its lock is given back.
 */
#include "receiver.h"

#include <string.h>

/* ---- traces -------------------------------------------------------------------------------- */

static uint32_t space_of(const lmq_receiver *r, uint16_t lane)
{
	return r->lanes[lane].group.space;
}

/* Consecutive ones of a run are one trace. */
void receiver_trace(lmq_receiver *r, uint64_t offset, uint32_t attempt)
{
	lmq_store *s = r->queue->store;
	uint16_t lane = r->runs[r->at].lane;
	bool same = lane == r->told_lane;
	if (!same)
		roster_turn(s, r->tracer, space_of(r, lane));
	if (same && r->told.end == offset && r->told.first < r->told.end && r->runs[r->at].first < offset)
		roster_extend(s, r->tracer, offset + 1);
	else
		roster_begin(s, r->tracer, r->told.first = offset, offset + 1, attempt);
	r->told.end = offset + 1;
	r->told_lane = lane;
}

/* An idle slot among those taken for begun work, or a new one; NULL: no memory. */
static struct work *work_idle(lmq_receiver *r, uint16_t lane)
{
	for (size_t i = 0; i < r->work_count; i++)
		if (r->works[i].first == r->works[i].end) {
			if (r->works[i].lane != lane)
				roster_turn(r->queue->store, r->works[i].slot, space_of(r, lane));
			r->works[i].lane = lane;
			return &r->works[i];
		}
	if (r->work_count == r->work_room) {
		size_t room = r->work_room ? 2 * r->work_room : 4;
		struct work *more = realloc(r->works, room * sizeof *more);
		if (!more)
			return NULL;
		r->works = more;
		r->work_room = room;
	}
	r->works[r->work_count] = (struct work){ 0, 0, lane, roster_join(r->queue->store, r->fd, ROSTER_WORK,
		space_of(r, lane), r->consumer) };
	return &r->works[r->work_count++];
}

void lmq_receiver_begin(lmq_receiver *r, uint32_t partition, uint64_t offset, uint64_t count, uint32_t attempt)
{
	struct work *w = partition < r->lane_count ? work_idle(r, (uint16_t)partition) : NULL;
	if (!w)
		return;	/* a crash would not be counted */
	w->first = offset;
	w->end = offset + count;
	roster_begin(r->queue->store, w->slot, w->first, w->end, attempt);
}

/* Takes the traces of [first, end) away. A work is settled or returned as a whole, or its rest is not traced. */
static void untrace(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end)
{
	lmq_store *s = r->queue->store;
	for (size_t i = 0; i < r->work_count; i++) {
		struct work *w = &r->works[i];
		if (w->lane == lane && w->first < end && first < w->end) {
			roster_begin(s, w->slot, 0, 0, 0);
			w->first = w->end = 0;
		}
	}
	if (r->told_lane == lane && r->told.first < end && first < r->told.end) {
		roster_begin(s, r->tracer, 0, 0, 0);
		r->told = (struct run){ 0, 0 };
	}
}

/* A member of several lanes always counts as holding something: its death concerns the others in any case. */
void receiver_holding(lmq_receiver *r, bool holding)
{
	if (r->lane_count == 1)
		roster_holding(r->queue->store, r->slot, holding);
}

/* ---- what is held -------------------------------------------------------------------------- */

void receiver_give(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end)
{
	lease_give(r->fd, space_of(r, lane), &(struct run){ first, end });
}

bool receiver_has(const lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t before = first;
		for (size_t i = 0; i < r->run_count; i++) {
			const struct claimed *c = &r->runs[i];
			if (c->lane == lane && c->first <= first && first < c->end && !c->leased)
				first = c->end;
		}
		if (first == before)
			return false;
	}
	return true;
}

bool receiver_busy(const lmq_receiver *r, uint16_t lane)
{
	for (size_t i = 0; i < r->run_count; i++)
		if (r->runs[i].lane == lane && !r->runs[i].leased)
			return true;
	return false;
}

/* Makes room for a run behind the i-th. */
static bool insert_behind(lmq_receiver *r, size_t i, const struct claimed *c)
{
	if (r->run_count == r->run_room) {
		size_t room = r->run_room ? 2 * r->run_room : 4;
		struct claimed *more = realloc(r->runs, room * sizeof *more);
		if (!more)
			return false;
		r->runs = more;
		r->run_room = room;
	}
	memmove(r->runs + i + 2, r->runs + i + 1, (r->run_count - i - 1) * sizeof *r->runs);
	r->runs[i + 1] = *c;
	r->run_count++;
	r->fresh += r->fresh > i;
	/* What was to be handed out next may lie in the second half. */
	r->at += r->at > i || (r->at == i && r->next >= c->first);
	return true;
}

static bool forget_part(lmq_receiver *r, size_t i, uint64_t first, uint64_t end)
{
	struct claimed *c = &r->runs[i], rest = *c;
	bool leased = c->leased;
	if (first < c->first)
		first = c->first;
	if (end > c->end)
		end = c->end;
	rest.first = end;
	if (first > c->first && end < c->end && !insert_behind(r, i, &rest))
		return false;
	c = &r->runs[i];
	if (first > c->first)
		c->end = first;
	else
		c->first = end;
	if (!leased)
		receiver_give(r, c->lane, first, end);
	return true;
}

bool receiver_forget(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end)
{
	bool good = true;
	untrace(r, lane, first, end);
	for (size_t i = 0; i < r->run_count; i++)
		if (r->runs[i].lane == lane && r->runs[i].first < end && first < r->runs[i].end)
			good = forget_part(r, i, first, end) && good;
	return good;
}

void receiver_tidy(lmq_receiver *r)
{
	size_t kept = 0, fresh = r->fresh, at = r->at;
	for (size_t i = 0; i < r->run_count; i++) {
		bool empty = r->runs[i].first >= r->runs[i].end;
		if (empty && i == r->at)
			r->next = r->checked = 0;	/* the next run may lie anywhere */
		fresh -= empty && i < r->fresh;
		at -= empty && i < r->at;
		if (!empty)
			r->runs[kept++] = r->runs[i];
	}
	r->run_count = kept;
	r->fresh = fresh;
	r->at = at;
	receiver_holding(r, kept > 0);
}

void receiver_forget_leased(lmq_receiver *r)
{
	for (size_t i = 0; i < r->run_count; i++)
		if (r->runs[i].leased)
			r->runs[i].first = r->runs[i].end;
	receiver_tidy(r);
}

bool receiver_part(const lmq_receiver *r, size_t *i, size_t *count, struct run *part, uint16_t *lane)
{
	const struct claimed *c;
	while (*i < r->run_count && r->runs[*i].leased)
		++*i;
	if (*i >= r->run_count || *count == 0)
		return false;
	c = &r->runs[(*i)++];
	*part = (struct run){ c->first, c->end - c->first > *count ? c->first + *count : c->end };
	*lane = c->lane;
	*count -= (size_t)(part->end - part->first);
	return true;
}

void receiver_forget_first(lmq_receiver *r, size_t count)
{
	struct run part;
	uint16_t lane;
	size_t i = 0;
	while (receiver_part(r, &i, &count, &part, &lane))
		receiver_forget(r, lane, part.first, part.end);
	receiver_tidy(r);
}

/* ---- giving back --------------------------------------------------------------------------- */

void receiver_wake(lmq_receiver *r)
{
	notify_wake(notify_channel(r->queue->store, r->queue->id));
	notify_wake(&r->queue->store->control->any);
}

void lmq_receiver_release(lmq_receiver *r)
{
	bool any = r->run_count > 0;
	for (size_t i = 0; i < r->run_count; i++) {
		const struct claimed *c = &r->runs[i];
		untrace(r, c->lane, c->first, c->end);
		if (!c->leased)
			receiver_give(r, c->lane, c->first, c->end);
	}
	r->run_count = r->fresh = r->at = 0;
	receiver_holding(r, false);
	member_balance(r, false);
	if (any)
		receiver_wake(r);
}

void lmq_receiver_return(lmq_receiver *r, uint32_t partition, uint64_t offset, uint64_t count)
{
	if (partition >= r->lane_count)
		return;
	receiver_forget(r, (uint16_t)partition, offset, offset + count);
	receiver_tidy(r);
	member_balance(r, false);
	receiver_wake(r);
}
