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

enum { TOLD_MAX = 16 };

/* ---- traces -------------------------------------------------------------------------------- */

static uint32_t space_of(const lmq_receiver *r, uint16_t lane)
{
	return r->lanes[lane].group.space;
}

/* An idle slot among those taken for traces, or a new one, of which there are at most so many; NULL: none to be had. */
static struct work *work_idle(lmq_receiver *r, uint16_t lane, size_t most)
{
	for (size_t i = 0; i < r->work_count; i++)
		if (r->works[i].first == r->works[i].end) {
			if (r->works[i].lane != lane)
				roster_turn(r->queue->store, r->works[i].slot, space_of(r, lane));
			r->works[i].lane = lane;
			return &r->works[i];
		}
	if (r->work_count >= most)
		return NULL;
	if (r->work_count == r->work_room) {
		size_t room = r->work_room ? 2 * r->work_room : 4;
		struct work *more = realloc(r->works, room * sizeof *more);
		if (!more)
			return NULL;
		r->works = more;
		r->work_room = room;
	}
	r->works[r->work_count] = (struct work){ .lane = lane, .slot = roster_join(r->queue->store, r->fd, ROSTER_WORK,
		space_of(r, lane), r->consumer) };
	return &r->works[r->work_count++];
}

/* Without a slot a crash would not be counted. */
static void work_begin(lmq_receiver *r, struct work what, size_t most)
{
	struct work *w = work_idle(r, what.lane, most);
	if (!w)
		return;
	what.slot = w->slot;
	*w = what;
	roster_begin(r->queue->store, w->slot, w->first, w->end, w->attempt);
}

void lmq_receiver_begin(lmq_receiver *r, uint32_t partition, uint64_t offset, uint64_t count, uint32_t attempt)
{
	if (partition < r->lane_count)
		work_begin(r, (struct work){ .first = offset, .end = offset + count, .lane = (uint16_t)partition,
			.attempt = attempt }, SIZE_MAX);
}

/*
 * Consecutive ones of a run are one trace. What was handed out before and is not settled yet keeps its own, in another
 * slot; of more than TOLD_MAX such traces a crash counts only for the latest.
 */
void receiver_trace(lmq_receiver *r, uint64_t offset, uint32_t attempt)
{
	lmq_store *s = r->queue->store;
	struct work *told = &r->told;
	uint16_t lane = r->runs[r->at].lane;
	bool any = told->first < told->end;
	if (any && lane == told->lane && told->end == offset && r->runs[r->at].first < offset) {
		roster_extend(s, told->slot, told->end = offset + 1);
		return;
	}
	if (any)
		work_begin(r, *told, TOLD_MAX);
	if (lane != told->lane)
		roster_turn(s, told->slot, space_of(r, lane));
	roster_begin(s, told->slot, offset, offset + 1, attempt);
	*told = (struct work){ offset, offset + 1, lane, told->slot, attempt };
}

/* Takes [first, end) out of the trace. What lies behind gets one of its own. */
static void work_cut(lmq_receiver *r, struct work *w, uint64_t first, uint64_t end)
{
	lmq_store *s = r->queue->store;
	struct work behind = *w;
	if (first <= w->first && end >= w->end) {
		roster_begin(s, w->slot, 0, 0, 0);
		w->first = w->end = 0;
	} else if (first <= w->first) {
		roster_advance(s, w->slot, w->first = end);
	} else {
		roster_extend(s, w->slot, w->end = first);
		behind.first = end;
		if (behind.first < behind.end)
			work_begin(r, behind, TOLD_MAX);
	}
}

void receiver_untrace(lmq_receiver *r, uint16_t lane, uint64_t first, uint64_t end)
{
	struct work *told = &r->told;
	for (size_t i = 0; i < r->work_count; i++)
		if (r->works[i].lane == lane && r->works[i].first < end && first < r->works[i].end)
			work_cut(r, &r->works[i], first, end);
	if (told->lane == lane && told->first < end && first < told->end)
		work_cut(r, told, first, end);
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
	receiver_untrace(r, lane, first, end);
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
		receiver_untrace(r, c->lane, c->first, c->end);
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
