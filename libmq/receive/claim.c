/* SPDX-License-Identifier: ISC */
/*
 * Claiming messages.
 *
 * A claim looks for ready messages in a snapshot, locks them (lease.c), and looks again in a fresh one: whoever
 * had them before may have settled them between the first look and the lock. From then on they are ours
 * until they are settled or given back, since nobody settles without the lock. So two receivers never hand out
 * the same message, and a receiver that dies has changed nothing.
 *
 * Between the second look and the hand-out stand two questions: did somebody die over one of them (the roster says
 * so: an attempt to be counted), and has one expired, or been compacted away? If so they are set aside (sift.c), and
 * what is left is looked at once more.
 *
 * Of several lanes a claim takes from one, in turn. In these lanes order matters most: nothing is handed out behind
 * a message that waits for its retry. In a group with order=key nothing is plain: messages are entered (enter.c), some
 * more whenever none of those that were is free.
 */
#include "receiver.h"

#include "channel/enter.h"

#include <string.h>

enum { RUNS_MAX = 4096, BARREN_MAX = 100 };

/* ---- taking ------------------------------------------------------------------------------- */

static int runs_add(lmq_receiver *r, const struct claimed *c)
{
	struct claimed *last = r->run_count > r->fresh ? &r->runs[r->run_count - 1] : NULL;
	if (last && last->end == c->first && last->lane == c->lane && last->attempts == c->attempts && last->returned == c->returned) {
		last->end = c->end;
		return 0;
	}
	if (r->run_count == r->run_room) {
		size_t room = r->run_room ? 2 * r->run_room : 4;
		struct claimed *more = realloc(r->runs, room * sizeof *more);
		if (!more)
			return receiver_no_memory(r);
		r->runs = more;
		r->run_room = room;
	}
	r->runs[r->run_count++] = *c;
	return 0;
}

static bool full(const lmq_receiver *r)
{
	return r->run_count - r->fresh >= RUNS_MAX;
}

/* Our own locks do not stop us: leaves out what is ours already. False: nothing is left. */
static bool skip_ours(const lmq_receiver *r, uint16_t lane, uint64_t *from, uint64_t *end)
{
	for (bool moved = true; moved && *from < *end;) {
		moved = false;
		for (size_t i = 0; i < r->fresh; i++) {
			const struct claimed *c = &r->runs[i];
			if (c->lane != lane)
				continue;
			if (c->first <= *from && *from < c->end) {
				*from = c->end;
				moved = true;
			} else if (*from < c->first && c->first < *end) {
				*end = c->first;
			}
		}
	}
	return *from < *end;
}

/* Locks what is free in [run->first, run->end), at most max messages; *taken is how many. */
static int take_run(lmq_receiver *r, struct lane *l, const struct run *run, size_t max, size_t *taken)
{
	uint16_t lane = lane_number(r, l);
	uint64_t from = run->first;
	struct run got;
	int rc = 0;
	*taken = 0;
	while (rc == 0 && *taken < max && !full(r) && from < run->end) {
		uint64_t end = lease_reach(from, run->end);
		if (!skip_ours(r, lane, &from, &end))
			continue;
		rc = lease_take(r->queue->store, r->fd, l->group.space, from, end, max - *taken, &got);
		if (rc == LMQ_END) {
			rc = 0;
			from = end;
			continue;
		}
		if (rc != 0)
			break;
		rc = runs_add(r, &(struct claimed){ .first = got.first, .end = got.end, .lane = lane });
		if (rc != 0)
			receiver_give(r, lane, got.first, got.end);
		*taken += (size_t)(got.end - got.first);
		from = got.end;
	}
	return rc;
}

/* The same; the part is empty afterwards. */
static int take_part(lmq_receiver *r, struct lane *l, struct run *part, size_t max, size_t *taken)
{
	size_t n = 0;
	int rc = take_run(r, l, part, max - *taken, &n);
	*taken += n;
	part->first = part->end;
	return rc;
}

/* Neighbours are locked at once. */
static int take_neighbour(lmq_receiver *r, struct lane *l, struct run *part, uint64_t offset, size_t max, size_t *taken)
{
	int rc = offset != part->end ? take_part(r, l, part, max, taken) : 0;
	if (offset != part->end)
		part->first = offset;
	part->end = offset + 1;
	return rc == 0 && part->end - part->first >= max - *taken ? take_part(r, l, part, max, taken) : rc;
}

/* As take_run, but only messages that the filter lets through. */
static int take_matching(lmq_receiver *r, struct lane *l, const struct run *run, size_t max, size_t *taken)
{
	struct run part = { run->first, run->first };
	struct record record;
	struct lmq_message m;
	struct blob blob;
	uint64_t first;
	int rc = 0;
	*taken = 0;
	log_seek(&l->cursor, run->first);
	while (rc == 0 && *taken < max && !full(r) && filter_range(r->filter, l->cursor.offset, &first) &&
			first < run->end) {
		if (first > l->cursor.offset)
			log_seek(&l->cursor, first);
		rc = log_next(&l->cursor, &record);
		/* Behind what compaction took others begin, which may be somebody's, or settled. */
		if (rc == 0 && record.offset >= run->end)
			break;
		if (rc == 0)
			rc = log_message(&l->cursor, &record, &m, &r->decoded, &blob);
		if (rc == 0 && lmq_filter_match(r->filter, &m))
			rc = take_neighbour(r, l, &part, record.offset, max, taken);
	}
	return rc == 0 || rc == LMQ_END ? take_part(r, l, &part, max, taken) : rc;
}

static int take(lmq_receiver *r, struct lane *l, size_t max, size_t *taken)
{
	struct ready place = { .class = 0 };
	struct run run;
	int rc = 0;
	*taken = 0;
	while (*taken < max && !full(r)) {
		size_t n;
		l->cursor.placed = false;	/* the runs are found with the same cursor */
		rc = group_ready(r->queue->store, r->snapshot.cursor, &l->group, l->end, &place, &run);
		if (rc != 0)
			break;
		if (run.first < l->cursor.head.first)
			run.first = l->cursor.head.first;
		if (run.end > l->end)
			run.end = l->end;
		rc = r->filter ? take_matching(r, l, &run, max - *taken, &n) : take_run(r, l, &run, max - *taken, &n);
		if (rc != 0)
			break;
		*taken += n;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* ---- looking again ------------------------------------------------------------------------ */

/* Keeps the first ready messages of [*at, end), gives back what lies before them, and moves *at behind. */
static int verify_next(lmq_receiver *r, struct lane *l, uint64_t *at, uint64_t end, size_t *kept)
{
	struct run_record run;
	struct claimed c = { .first = end, .end = end, .lane = lane_number(r, l) };
	int rc;
	l->cursor.placed = false;
	rc = group_run(r->queue->store, r->snapshot.cursor, &l->group, l->cursor.head.end, *at, &run);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (rc == 0 && run.first < end) {
		c.end = run.end < end ? run.end : end;
		if (run.first < l->end && c.end > l->end)
			c.end = l->end;
		c.first = run.state == RUN_READY && run.first < l->end ? run.first : c.end;
		if (c.first < l->cursor.head.first)	/* retention was faster */
			c.first = l->cursor.head.first < c.end ? l->cursor.head.first : c.end;
		c.attempts = run.history.attempts;
		c.returned = run.history.returned;
	}
	receiver_give(r, c.lane, *at, c.first);
	*at = c.first;
	rc = c.first < c.end ? runs_add(r, &c) : 0;
	if (rc == 0) {
		*kept += (size_t)(c.end - c.first);
		*at = c.end;
	}
	return rc;
}

/* Keeps of the messages locked last those that are ready in the present snapshot. */
static int verify(lmq_receiver *r, struct lane *l, size_t *kept)
{
	size_t count = r->run_count - r->fresh;
	struct claimed *locked = malloc((count + 1) * sizeof *locked);
	int rc = 0;
	*kept = 0;
	if (!locked)
		return receiver_no_memory(r);
	memcpy(locked, r->runs + r->fresh, count * sizeof *locked);
	r->run_count = r->fresh;
	for (size_t i = 0; i < count; i++) {
		uint64_t at = locked[i].first;
		while (rc == 0 && at < locked[i].end)
			rc = verify_next(r, l, &at, locked[i].end, kept);
		receiver_give(r, lane_number(r, l), at, locked[i].end);
	}
	free(locked);
	return rc;
}

int claim_look_again(lmq_receiver *r, struct lane *l, size_t *count)
{
	int rc = view_fresh(r);
	if (rc == 0)
		rc = view_lane(r, l);
	return rc == 0 ? verify(r, l, count) : rc;
}

/* ---- the claim ---------------------------------------------------------------------------- */

/* About how many messages make up that many bytes. */
static size_t limit_bytes(const struct lane *l, size_t max_messages, size_t max_bytes)
{
	const struct head_record *h = &l->cursor.head;
	uint64_t stored = h->end - h->first - h->holes, size = stored ? h->bytes / stored + 1 : 1;
	uint64_t limit = max_bytes / size + 1;
	return limit < max_messages ? (size_t)limit : max_messages;
}

/* Gives back what the present claim has taken. */
static void give_up(lmq_receiver *r)
{
	bool any = r->run_count > r->fresh;
	for (size_t i = r->fresh; i < r->run_count; i++)
		receiver_give(r, r->runs[i].lane, r->runs[i].first, r->runs[i].end);
	r->run_count = r->fresh;
	receiver_tidy(r);
	if (any)
		receiver_wake(r);
}

/* With keys in order: enters more, as long as nothing is free and there is more to be entered. */
static int take_entered(lmq_receiver *r, struct lane *l, size_t max, size_t *taken)
{
	int rc = take(r, l, max, taken);
	while (rc == 0 && *taken == 0 && l->group.next < l->cursor.head.end &&
			l->group.state[RUN_BLOCKED] < BLOCKED_MAX) {
		snapshot_pause(&r->snapshot);
		rc = enter_more(r->queue->store, r->queue->id, lane_number(r, l), r->group_name, &r->missed);
		if (rc == 0)
			rc = view_fresh(r);
		if (rc == 0)
			rc = view_lane(r, l);
		if (rc == 0)
			rc = take(r, l, max, taken);
	}
	return rc;
}

/* What was taken was not ready after all: somebody was faster. If nobody has written meanwhile, the index is wrong. */
static int barren(lmq_receiver *r)
{
	uint64_t now = mdb_txn_id(r->snapshot.mdb);
	if (r->barren_at != now)
		r->barren = 0;
	r->barren_at = now;
	return ++r->barren < BARREN_MAX ? 0 : fail_damaged(r->queue->store, "an index of messages");
}

static int claim(lmq_receiver *r, struct lane *l, size_t max_messages, size_t max_bytes, size_t *count)
{
	int late, rc = view_lane(r, l);
	size_t taken = 0, max = rc == 0 ? limit_bytes(l, max_messages, max_bytes) : 0;
	*count = 0;
	if (rc != 0)
		return rc;
	/* On a full disk nothing can be set aside, but what is ready can still be had. */
	late = sift_missed(r, l);
	if (late == 0)
		late = sift_due(r, l);
	if (!r->snapshot.active && (rc = view_fresh(r)) == 0)
		rc = view_lane(r, l);
	if (rc == 0)
		rc = r->ordered ? take_entered(r, l, max, &taken) : take(r, l, max, &taken);
	if (rc == 0 && taken == 0)
		return late ? late : LMQ_END;
	if (rc == 0)
		rc = claim_look_again(r, l, count);
	if (rc == 0 && *count == 0)
		return barren(r);
	if (rc == 0 && *count > 0)
		rc = sift_crashed(r, l, count);
	if (rc == 0 && *count > 0)
		rc = sift_content(r, l, count);
	return rc;
}

/* From the lanes in turn, beginning behind that of the last claim. LMQ_END; 0 with *count 0: to be tried again. */
static int claim_any(lmq_receiver *r, size_t max_messages, size_t max_bytes, size_t *count)
{
	int late = LMQ_END, rc = view_fresh(r);
	for (uint16_t k = 1; rc == 0 && k <= r->lane_count; k++) {
		uint16_t lane = (uint16_t)((r->turn + k) % r->lane_count);
		if (!r->lanes[lane].owned || r->lanes[lane].leaving)
			continue;
		rc = claim(r, &r->lanes[lane], max_messages, max_bytes, count);
		if (rc == 0) {
			r->turn = lane;
			return 0;
		}
		if (rc == LMQ_EGONE)
			return rc;
		late = rc == LMQ_END ? late : rc;
		rc = r->lane_count == 1 || r->snapshot.active ? 0 : view_fresh(r);
		if (r->run_count > r->fresh)
			give_up(r);
	}
	return rc == 0 ? late : rc;
}

int lmq_receiver_claim(lmq_receiver *r, size_t max_messages, size_t max_bytes, size_t *count)
{
	int rc;
	*count = 0;
	receiver_forget_leased(r);
	rc = member_join(r);
	if (rc != 0)
		return rc;
	member_balance(r, true);
	r->fresh = r->run_count;
	receiver_holding(r, true);
	do {
		rc = claim_any(r, max_messages, max_bytes, count);
		/* Who is about to wait has looked closely what he could have: later wake-ups find him waiting. */
		if (rc == LMQ_END && !r->idle) {
			r->idle = true;
			rc = member_balance(r, true) ? 0 : rc;
		}
	} while (rc == 0 && *count == 0);
	r->at = r->fresh;
	r->next = 0;
	r->idle = rc == LMQ_END;
	if (rc != 0)
		give_up(r);
	if (rc == LMQ_END)
		snapshot_drop(&r->snapshot);
	return rc;
}
