/* SPDX-License-Identifier: ISC */
/*
 * Settling what a receiver holds: one transaction changes the queue and, where the caller has outputs, appends them,
 * so that a consumer's input is gone exactly if its outputs are there.
 *
 * The locks are given back after the commit; a kill in between leaves settled messages that nobody looks at
 * again. A step of sweeping, if one is due, follows in a transaction of its own.
 */
#include "receiver.h"

#include "write/writer.h"

#include <stdio.h>

static int load(lmq_receiver *r, struct txn *t, uint16_t lane, struct queue *q)
{
	uint32_t space = r->lanes[lane].group.space;
	int rc = queue_load(t, r->queue->id, lane, r->group_name, q);
	if (rc == LMQ_END && q->record.kind == 0)
		return channel_gone(r->queue);
	/* Removed and made anew it is another group. */
	if (rc == LMQ_END || (rc == 0 && space != q->position.space))
		return fail(r->queue->store, LMQ_EGONE, "%s: the group '%s' was removed", r->queue->name,
			r->group_name);
	return rc;
}

/* Lanes of which something is settled. */
struct touched {
	uint64_t bits[LMQ_PARTITIONS_MAX / 64];
};

static void touch(struct touched *l, uint32_t lane)
{
	if (lane < LMQ_PARTITIONS_MAX)
		l->bits[lane / 64] |= (uint64_t)1 << lane % 64;
}

/* The lowest lane that is left, which is taken out; false: none. */
static bool touched_next(struct touched *l, uint16_t *lane)
{
	for (unsigned i = 0; i < LMQ_PARTITIONS_MAX / 64; i++)
		if (l->bits[i]) {
			*lane = (uint16_t)(i * 64 + (unsigned)__builtin_ctzll(l->bits[i]));
			l->bits[i] &= l->bits[i] - 1;
			return true;
		}
	return false;
}

/* Commits, or aborts if rc says so. missed: what the transaction found missing. */
static int end(lmq_receiver *r, struct txn *t, int rc, enum lmq_sync sync, uint64_t missed, bool *due)
{
	*due = rc == 0 && sweep_due(t);
	if (rc != 0) {
		txn_abort(t);
		return rc;
	}
	rc = txn_commit(t, sync);
	r->missed += rc == 0 ? missed : 0;
	return rc;
}

/* ---- all of them the same way --------------------------------------------------------------- */

static int acknowledge_lane(lmq_receiver *r, struct txn *t, uint16_t lane, size_t count, uint64_t *missed)
{
	struct queue q;
	struct run part;
	uint16_t its;
	size_t i = 0;
	int rc = load(r, t, lane, &q);
	while (rc == 0 && receiver_part(r, &i, &count, &part, &its))
		if (its == lane)
			rc = queue_settle(&q, part.first, part.end, COUNT_ACKNOWLEDGED, false);
	*missed += rc == 0 ? q.missed : 0;
	return rc == 0 ? queue_store(&q) : rc;
}

static int acknowledge(lmq_receiver *r, struct txn *t, size_t count, uint64_t *missed)
{
	struct touched lanes = { { 0 } };
	size_t i = 0, left = count;
	struct run part;
	uint16_t lane;
	int rc = 0;
	while (receiver_part(r, &i, &left, &part, &lane))
		touch(&lanes, lane);
	while (rc == 0 && touched_next(&lanes, &lane))
		rc = acknowledge_lane(r, t, lane, count, missed);
	return rc;
}

static int settle(lmq_receiver *r, size_t count, enum lmq_sync sync)
{
	uint64_t missed = 0;
	struct txn t;
	bool due;
	int rc;
	if (count == 0)
		return 0;
	snapshot_pause(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0)
		return rc;
	rc = acknowledge(r, &t, count, &missed);
	rc = end(r, &t, rc, sync, missed, &due);
	if (rc == 0) {
		receiver_forget_first(r, count);
		member_balance(r, false);
	}
	if (rc == 0 && due)
		sweep_aside(r->queue->store);
	return rc;
}

int lmq_receiver_settle(lmq_receiver *r, size_t count, enum lmq_sync sync)
{
	int rc = settle(r, count, sync);
	return rc == LMQ_ENOSPC && ballast_drop(r->queue->store) ? settle(r, count, sync) : rc;
}

/* ---- each in its way ----------------------------------------------------------------------- */

static int apply_run(struct queue *q, struct burial *b, struct lmq_verdict *v, struct run_record *run)
{
	if (v->outcome == LMQ_ACKNOWLEDGE)
		return queue_leave(q, run, COUNT_ACKNOWLEDGED, false);
	/* Since a seek it may wait behind others of its key. */
	if (v->outcome == LMQ_RETURN || (v->outcome == LMQ_RETRY && run->state == RUN_BLOCKED))
		return queue_put(q, run);
	if (run->history.first_time == 0)
		run->history.first_time = lmq_now();
	run->history.attempts++;
	return queue_failed(q, b, run, v);
}

static int apply(struct queue *q, struct burial *b, struct lmq_verdict *v)
{
	uint64_t at = v->offset, until = v->offset + v->count;
	struct run_record run;
	int rc = 0;
	v->result = v->outcome;
	v->due = 0;
	if (v->outcome == LMQ_RETURN)
		return 0;
	while (at < until && (rc = queue_unsettled(q, at, until, &run)) == 0) {
		at = run.end;
		rc = apply_run(q, b, v, &run);
		if (rc != 0)
			break;
	}
	return rc == LMQ_END ? 0 : rc;
}

static bool is_claimed(const lmq_receiver *r, const struct lmq_verdict *v)
{
	return v->outcome <= LMQ_BURY && v->count > 0 && v->count <= UINT64_MAX - v->offset && v->partition < r->lane_count &&
		receiver_has(r, (uint16_t)v->partition, v->offset, v->offset + v->count);
}

static int apply_lane(lmq_receiver *r, struct txn *t, uint16_t lane, struct lmq_verdict *v, size_t count,
	uint64_t *missed)
{
	struct burial b = { .batch.count = 0 };
	struct queue q;
	int rc = load(r, t, lane, &q);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (v[i].partition == lane)
			rc = apply(&q, &b, &v[i]);
	*missed += rc == 0 ? q.missed : 0;
	if (rc == 0)
		rc = queue_store(&q);
	if (rc == 0)
		rc = burial_commit(&b, &q);
	burial_free(&b);
	return rc;
}

static int apply_all(lmq_receiver *r, struct txn *t, struct lmq_verdict *v, size_t count, uint64_t *missed)
{
	struct touched lanes = { { 0 } };
	uint16_t lane;
	int rc = 0;
	for (size_t i = 0; i < count; i++) {
		if (!is_claimed(r, &v[i]))
			return fail(r->queue->store, LMQ_EINVAL, "%s:%llu: not claimed by this receiver",
				r->queue->name, (unsigned long long)v[i].offset);
		touch(&lanes, v[i].partition);
	}
	while (rc == 0 && touched_next(&lanes, &lane))
		rc = apply_lane(r, t, lane, v, count, missed);
	return rc;
}

/* Of several lanes: what was claimed behind a message that is to be delivered again, and not handed out yet, has to wait
 * for that. */
static void hold_back(lmq_receiver *r, const struct lmq_verdict *v)
{
	if (r->lane_count == 1 || v->result != LMQ_RETRY)
		return;
	for (size_t i = r->at; i < r->run_count; i++) {
		const struct claimed *c = &r->runs[i];
		uint64_t from = i == r->at && r->next > c->first ? r->next : c->first;
		if (c->lane == v->partition && !c->leased && from > v->offset && from < c->end)
			receiver_forget(r, c->lane, from, c->end);
	}
}

static void forget_all(lmq_receiver *r, const struct lmq_verdict *v, size_t count)
{
	bool woken = false;
	for (size_t i = 0; i < count; i++) {
		receiver_forget(r, (uint16_t)v[i].partition, v[i].offset, v[i].offset + v[i].count);
		hold_back(r, &v[i]);
		woken |= v[i].result == LMQ_RETURN || (v[i].result == LMQ_RETRY && v[i].due == 0);
	}
	receiver_tidy(r);
	member_balance(r, false);
	if (woken)
		receiver_wake(r);
}

/* Who adds messages as well is not the one for whom the ballast is there. */
static bool has_outputs(const lmq_writer *w)
{
	return w && w->count > 0;
}

static int conclude(lmq_receiver *r, struct lmq_verdict *v, size_t count, lmq_writer *w, enum lmq_sync sync)
{
	uint64_t missed = 0;
	struct txn t;
	bool due;
	int rc;
	snapshot_pause(&r->snapshot);
	r->queue->store->queue_full = false;
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0 && w)
		writer_done(w, rc);
	if (rc != 0)
		return rc;
	if (has_outputs(w))
		rc = ballast_take(&t, w->bytes + w->bytes / 16);
	if (rc == 0)
		rc = apply_all(r, &t, v, count, &missed);
	if (rc == 0 && w)
		rc = writer_append(w, &t);
	rc = end(r, &t, rc, sync, missed, &due);
	if (w)
		writer_done(w, rc);
	if (rc == 0)
		forget_all(r, v, count);
	if (rc == 0 && due)
		sweep_aside(r->queue->store);
	return rc;
}

int lmq_receiver_conclude(lmq_receiver *r, struct lmq_verdict *v, size_t count, lmq_writer *w, enum lmq_sync sync)
{
	int rc = conclude(r, v, count, w, sync);
	return rc == LMQ_ENOSPC && !has_outputs(w) && ballast_drop(r->queue->store) ? conclude(r, v, count, w, sync) : rc;
}

/* ---- leases -------------------------------------------------------------------------------- */

static int lease_run(lmq_receiver *r, struct queue *q, struct claimed *c, int64_t now, const struct term *term)
{
	uint64_t at = c->first;
	struct run_record run;
	int rc = 0;
	while (at < c->end && (rc = queue_unsettled(q, at, c->end, &run)) == 0) {
		at = run.end;
		/* Since a seek it waits behind others of its key: the lease is lost from the start. */
		if (run.state == RUN_BLOCKED) {
			rc = queue_put(q, &run);
			if (rc != 0)
				break;
			continue;
		}
		term_begin(&run, term);
		run.history.attempts++;
		if (run.history.first_time == 0)
			run.history.first_time = now;
		run.history.last_time = now;
		snprintf(run.owner, sizeof run.owner, "%s", r->consumer);
		rc = queue_put(q, &run);
		if (rc != 0)
			break;
	}
	return rc == LMQ_END ? 0 : rc;
}

/* What was claimed last lies in one lane. */
static int lease_all(lmq_receiver *r, struct txn *t, int64_t duration, uint64_t *missed)
{
	struct queue q;
	struct term term;
	int64_t now = lmq_now();
	int rc = load(r, t, r->runs[r->fresh].lane, &q);
	if (rc != 0)
		return rc;
	if (duration <= 0)
		duration = (int64_t)limit_of(&q.rules, LIMIT_LEASE);
	term = term_from(r->queue->store, now, duration);
	for (size_t i = r->fresh; rc == 0 && i < r->run_count; i++)
		rc = lease_run(r, &q, &r->runs[i], now, &term);
	*missed += rc == 0 ? q.missed : 0;
	return rc == 0 ? queue_store(&q) : rc;
}

static int lease(lmq_receiver *r, int64_t duration, enum lmq_sync sync)
{
	uint64_t missed = 0;
	struct txn t;
	bool due;
	int rc;
	if (r->fresh >= r->run_count)
		return 0;
	snapshot_pause(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0)
		return rc;
	rc = lease_all(r, &t, duration, &missed);
	rc = end(r, &t, rc, sync, missed, &due);
	if (rc != 0)
		return rc;
	for (size_t i = r->fresh; i < r->run_count; i++) {
		struct claimed *c = &r->runs[i];
		receiver_untrace(r, c->lane, c->first, c->end);
		receiver_give(r, c->lane, c->first, c->end);
		c->leased = true;
		c->attempts++;
	}
	return 0;
}

/* Of a queue that is received by leases nothing could be acknowledged otherwise. */
int lmq_receiver_lease(lmq_receiver *r, int64_t duration, enum lmq_sync sync)
{
	int rc = lease(r, duration, sync);
	return rc == LMQ_ENOSPC && ballast_drop(r->queue->store) ? lease(r, duration, sync) : rc;
}
