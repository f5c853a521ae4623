/* SPDX-License-Identifier: ISC */
/*
 * What may not be handed out: whoever claims sets it aside (aside.c), before or after he has locked it.
 *
 * What has become due is made ready, what retention dropped is counted as missed. Of what was locked, a delivery
 * that somebody died over is counted as an attempt, expired messages go their way, and messages that compaction took
 * are settled. After each of these the claim is looked at once more.
 */
#include "receiver.h"

enum { PARTS_MAX = 256, LOOK_RUNS = 64 };

/* ---- before anything is locked ------------------------------------------------------------- */

static bool has_runs(const struct group_record *g)
{
	uint64_t sum = 0;
	for (int i = 0; i < RUN_STATES; i++)
		sum += g->state[i];
	return sum > 0;
}

/* The first unsettled message below the log's first that is in nobody's hands. LMQ_END. */
static int find_missed(lmq_receiver *r, struct lane *l)
{
	uint64_t first = l->cursor.head.first, from = 0;
	struct run_record run;
	struct run part;
	if (!has_runs(&l->group) && l->group.next >= first)
		return LMQ_END;
	for (int i = 0; i < LOOK_RUNS; i++) {
		int rc;
		l->cursor.placed = false;
		rc = group_run(r->queue->store, r->snapshot.cursor, &l->group, first, from, &run);
		if (rc != 0 || run.first >= first)
			return rc != 0 ? rc : LMQ_END;
		from = run.end < first ? run.end : first;
		if (lease_free(r->queue->store, l->group.space, run.first, from, &part) == 0)
			return 0;
	}
	return LMQ_END;
}

int sift_missed(lmq_receiver *r, struct lane *l)
{
	int rc;
	if (!r->group_name[0])
		return 0;
	while ((rc = find_missed(r, l)) == 0) {
		snapshot_pause(&r->snapshot);
		rc = aside_missing(r->queue->store, r->queue->id, lane_number(r, l), r->group_name, NULL, 0,
			&r->missed);
		if (rc == 0)
			rc = view_fresh(r);
		if (rc == 0)
			rc = view_lane(r, l);
		if (rc != 0)
			break;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* When the next message becomes due; what is due already is made ready. */
int sift_due(lmq_receiver *r, struct lane *l)
{
	lmq_store *s = r->queue->store;
	uint64_t first;
	int rc;
	l->due = INT64_MAX;
	do {
		const uint64_t *state = l->group.state;
		if (state[RUN_LEASED] + state[RUN_DELAYED] + state[RUN_RETRYING] == 0)
			return 0;
		l->cursor.placed = false;
		rc = run_first_due(s, r->snapshot.cursor, l->group.space, 0, &l->due, &first);
		if (rc != 0) {
			l->due = INT64_MAX;
			return rc == LMQ_END ? 0 : rc;
		}
		if (l->due > lmq_now())
			return 0;
		snapshot_pause(&r->snapshot);
		rc = aside_due(s, r->queue->id, lane_number(r, l), r->group_name, &r->missed);
		if (rc == 0)
			rc = view_fresh(r);
		if (rc == 0)
			rc = view_lane(r, l);
	} while (rc == 0);
	return rc;
}

/* The runs before it are few: nothing behind it is handed out. */
int sift_barrier(lmq_receiver *r, struct lane *l, uint64_t *barrier)
{
	uint64_t from = 0;
	struct run_record run;
	int rc = 0;
	*barrier = UINT64_MAX;
	if (l->group.state[RUN_RETRYING] == 0)
		return 0;
	l->cursor.placed = false;
	while ((rc = run_at(r->queue->store, r->snapshot.cursor, l->group.space, from, &run)) == 0) {
		if (run.state == RUN_RETRYING) {
			*barrier = run.first;
			return 0;
		}
		from = run.end;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* ---- crashes ------------------------------------------------------------------------------- */

/* The trace of a dead delivery has been counted for part of it. */
static void trace_shorten(lmq_store *s, const struct roster_trace *t, const struct run *part)
{
	struct roster_slot *slot = &s->control->roster[t->slot];
	if (part->first <= t->first && part->end >= t->end)
		roster_clear(s, t->slot);
	else if (part->first <= t->first)
		atomic_store(&slot->first, part->end);
	else if (part->end >= t->end)
		atomic_store(&slot->end, part->first);
}

static int count_crashes(lmq_receiver *r, struct lane *l, const struct claimed *c, bool *changed)
{
	lmq_store *s = r->queue->store;
	struct roster_trace t;
	int from = 0, rc = 0;
	while (rc == 0 && roster_dead(s, l->group.space, c->first, c->end, &from, &t)) {
		struct run part = { t.first > c->first ? t.first : c->first, t.end < c->end ? t.end : c->end };
		struct run left = part;
		snapshot_pause(&r->snapshot);
		/* Also where it was counted before its owner died: the snapshot is paused. */
		*changed = true;
		while (rc == 0 && c->attempts < t.attempt && left.first < left.end)
			rc = aside_crashed(s, r->queue->id, c->lane, r->group_name, &left, t.end, t.attempt,
				&r->missed);
		if (left.first > part.end)
			part.end = left.first;
		if (rc == 0)
			trace_shorten(s, &t, &part);
	}
	/* Where it cannot be counted, on a full disk, the message can still be had: its trace stays. */
	return rc == LMQ_EGONE ? rc : 0;
}

int sift_crashed(lmq_receiver *r, struct lane *l, size_t *count)
{
	bool changed = false;
	int rc = 0;
	for (size_t i = r->fresh; rc == 0 && i < r->run_count; i++)
		rc = count_crashes(r, l, &r->runs[i], &changed);
	return rc == 0 && changed ? claim_look_again(r, l, count) : rc;
}

/* ---- what is expired, or gone -------------------------------------------------------------- */

struct sieve {
	struct run expired[PARTS_MAX], missing[PARTS_MAX];
	size_t expired_count, missing_count;
};

static void part_add(struct run *parts, size_t *count, uint64_t first, uint64_t end)
{
	if (*count > 0 && parts[*count - 1].end == first)
		parts[*count - 1].end = end;
	else
		parts[(*count)++] = (struct run){ first, end };
}

/* Only a message with fields can have a time to live of its own. */
static int find_expired(lmq_receiver *r, struct lane *l, struct sieve *v, const struct record *record, int64_t now)
{
	struct lmq_message m;
	struct blob blob;
	int rc;
	if (r->ttl == UINT64_MAX && !(*record->data & RECORD_FIELDS))
		return 0;
	rc = log_message(&l->cursor, record, &m, &r->decoded, &blob);
	if (rc == 0 && message_expired(&m, r->ttl, now))
		part_add(v->expired, &v->expired_count, record->offset, record->offset + 1);
	return rc;
}

/* The first parts of a run that are either. */
static int search(lmq_receiver *r, struct lane *l, const struct claimed *c, struct sieve *v)
{
	uint64_t at = c->first;
	int64_t now = lmq_now();
	struct record record;
	int rc = 0;
	log_seek(&l->cursor, c->first);
	while (at < c->end && v->expired_count < PARTS_MAX && v->missing_count < PARTS_MAX) {
		rc = log_next(&l->cursor, &record);
		if (rc != 0 && rc != LMQ_END)
			return rc;
		/* Beyond the end of what is ours too: so there are few steps, however many are missing. */
		if (rc == LMQ_END)
			record.offset = l->cursor.head.end;
		if (record.offset > at)
			part_add(v->missing, &v->missing_count, at, record.offset);
		at = record.offset + 1;
		if (record.offset < c->end)
			rc = find_expired(r, l, v, &record, now);
		if (rc != 0)
			break;
	}
	if (v->missing_count > 0 && r->queue->kind == LMQ_QUEUE)
		return fail_damaged(r->queue->store, "a claimed message is missing");
	return rc == LMQ_END ? 0 : rc;
}

static int set_aside(lmq_receiver *r, struct lane *l, const struct sieve *v)
{
	lmq_store *s = r->queue->store;
	uint32_t id = r->queue->id;
	uint16_t lane = lane_number(r, l);
	int rc = 0;
	snapshot_pause(&r->snapshot);
	if (v->missing_count > 0)
		rc = aside_missing(s, id, lane, r->group_name, v->missing, v->missing_count, &r->missed);
	if (rc == 0 && v->expired_count > 0)
		rc = aside_expired(s, id, lane, r->group_name, v->expired, v->expired_count, &r->missed);
	return rc;
}

/* What cannot be set aside, on a full disk, must not keep the others from being had. */
static int leave_out(lmq_receiver *r, struct lane *l, const struct sieve *v, size_t *count, int rc)
{
	uint16_t lane = lane_number(r, l);
	for (size_t i = 0; i < v->missing_count; i++)
		receiver_forget(r, lane, v->missing[i].first, v->missing[i].end);
	for (size_t i = 0; i < v->expired_count; i++)
		receiver_forget(r, lane, v->expired[i].first, v->expired[i].end);
	receiver_tidy(r);
	*count = 0;
	for (size_t i = r->fresh; i < r->run_count; i++)
		*count += (size_t)(r->runs[i].end - r->runs[i].first);
	return *count > 0 ? 0 : rc;
}

int sift_content(lmq_receiver *r, struct lane *l, size_t *count)
{
	struct sieve v;
	int rc = 0;
	if (r->ttl == UINT64_MAX && !(l->group.flags & GROUP_TTL) && r->queue->kind == LMQ_QUEUE)
		return 0;
	do {
		v.expired_count = v.missing_count = 0;
		for (size_t i = r->fresh; rc == 0 && i < r->run_count; i++)
			rc = search(r, l, &r->runs[i], &v);
		if (rc != 0 || v.expired_count + v.missing_count == 0)
			return rc;
		rc = set_aside(r, l, &v);
		if (rc != 0)
			return leave_out(r, l, &v, count, rc);
		rc = claim_look_again(r, l, count);
	} while (rc == 0 && *count > 0);
	return rc;
}
