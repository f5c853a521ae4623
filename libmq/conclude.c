/* SPDX-License-Identifier: ISC */
/*
 * Settling what a receiver holds: one transaction changes the queue and, where the caller has outputs, appends them,
 * so that a consumer's input is gone exactly if its outputs are there.
 *
 * The locks are given back after the commit; a kill in between leaves settled messages that nobody looks at
 * again. A step of sweeping, if one is due, follows in a transaction of its own.
 */
#include "receiver.h"

#include "writer.h"

#include <stdio.h>

static int load(lmq_receiver *r, struct txn *t, struct queue *q)
{
	int rc = queue_load(t, r->queue->id, r->group_name, q);
	return rc == LMQ_END ? channel_gone(r->queue) : rc;
}

/* Commits, or aborts if rc says so. */
static int end(lmq_receiver *r, struct txn *t, int rc, enum lmq_sync sync, bool *due)
{
	*due = rc == 0 && sweep_due(t);
	if (rc == 0)
		return txn_commit(t, sync);
	txn_abort(t);
	(void)r;
	return rc;
}

/* ---- all of them the same way --------------------------------------------------------------- */

static int acknowledge(lmq_receiver *r, struct txn *t, size_t count)
{
	struct queue q;
	struct run part;
	size_t i = 0;
	int rc = load(r, t, &q);
	while (rc == 0 && receiver_part(r, &i, &count, &part))
		rc = queue_settle(&q, part.first, part.end, COUNT_ACKNOWLEDGED, false);
	return rc == 0 ? queue_store(&q) : rc;
}

void receiver_forget_first(lmq_receiver *r, size_t count)
{
	struct run part;
	size_t i = 0;
	while (receiver_part(r, &i, &count, &part))
		receiver_forget(r, part.first, part.end);
	receiver_tidy(r);
}

int lmq_receiver_settle(lmq_receiver *r, size_t count, enum lmq_sync sync)
{
	struct txn t;
	bool due;
	int rc;
	if (count == 0)
		return 0;
	snapshot_pause(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0)
		return rc;
	rc = end(r, &t, acknowledge(r, &t, count), sync, &due);
	if (rc == 0)
		receiver_forget_first(r, count);
	if (rc == 0 && due)
		sweep_aside(r->queue->store);
	return rc;
}

/* ---- each in its way ----------------------------------------------------------------------- */

static int apply_run(struct queue *q, struct burial *b, struct lmq_verdict *v, struct run_record *run)
{
	if (v->outcome == LMQ_ACKNOWLEDGE)
		return queue_leave(q, run, COUNT_ACKNOWLEDGED, false);
	if (v->outcome == LMQ_RETURN)
		return queue_put(q, run);
	if (run->history.first_time == 0)
		run->history.first_time = lmq_now();
	run->history.attempts++;
	return queue_failed(q, b, run, v);
}

static int apply(lmq_receiver *r, struct queue *q, struct burial *b, struct lmq_verdict *v)
{
	uint64_t at = v->offset, until = v->offset + v->count;
	struct run_record run;
	int rc = 0;
	if (v->outcome > LMQ_BURY || v->count == 0 || !receiver_has(r, v->offset, until))
		return fail(r->queue->store, LMQ_EINVAL, "%s:%llu: not claimed by this receiver", r->queue->name,
			(unsigned long long)v->offset);
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

static int apply_all(lmq_receiver *r, struct txn *t, struct lmq_verdict *v, size_t count, struct burial *b)
{
	struct queue q;
	int rc = load(r, t, &q);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = apply(r, &q, b, &v[i]);
	if (rc == 0)
		rc = queue_store(&q);
	return rc == 0 ? burial_commit(b, &q) : rc;
}

static void forget_all(lmq_receiver *r, const struct lmq_verdict *v, size_t count)
{
	bool woken = false;
	for (size_t i = 0; i < count; i++) {
		receiver_forget(r, v[i].offset, v[i].offset + v[i].count);
		woken |= v[i].result == LMQ_RETURN || (v[i].result == LMQ_RETRY && v[i].due == 0);
	}
	receiver_tidy(r);
	if (woken)
		receiver_wake(r);
}

int lmq_receiver_conclude(lmq_receiver *r, struct lmq_verdict *v, size_t count, lmq_writer *w, enum lmq_sync sync)
{
	struct burial b = { .batch.count = 0 };
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
	rc = apply_all(r, &t, v, count, &b);
	if (rc == 0 && w)
		rc = writer_append(w, &t);
	rc = end(r, &t, rc, sync, &due);
	burial_free(&b);
	if (w)
		writer_done(w, rc);
	if (rc == 0)
		forget_all(r, v, count);
	if (rc == 0 && due)
		sweep_aside(r->queue->store);
	return rc;
}

/* ---- leases -------------------------------------------------------------------------------- */

static int lease_run(lmq_receiver *r, struct queue *q, struct claimed *c, int64_t now, int64_t deadline)
{
	uint64_t at = c->first;
	struct run_record run;
	int rc = 0;
	while (at < c->end && (rc = queue_unsettled(q, at, c->end, &run)) == 0) {
		at = run.end;
		run.state = RUN_LEASED;
		run.due = deadline;
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

static int lease_all(lmq_receiver *r, struct txn *t, int64_t duration)
{
	struct queue q;
	int64_t now = lmq_now(), deadline;
	int rc = load(r, t, &q);
	if (rc != 0)
		return rc;
	if (duration <= 0)
		duration = (int64_t)limit_of(&q.record, LIMIT_LEASE);
	deadline = duration < INT64_MAX - now ? now + duration : INT64_MAX;
	for (size_t i = r->fresh; rc == 0 && i < r->run_count; i++)
		rc = lease_run(r, &q, &r->runs[i], now, deadline);
	return rc == 0 ? queue_store(&q) : rc;
}

int lmq_receiver_lease(lmq_receiver *r, int64_t duration, enum lmq_sync sync)
{
	struct txn t;
	bool due;
	int rc;
	snapshot_pause(&r->snapshot);
	rc = txn_begin(r->queue->store, &t);
	if (rc != 0)
		return rc;
	rc = end(r, &t, lease_all(r, &t, duration), sync, &due);
	if (rc != 0)
		return rc;
	for (size_t i = r->fresh; i < r->run_count; i++) {
		receiver_give(r, r->runs[i].first, r->runs[i].end);
		r->runs[i].leased = true;
		r->runs[i].attempts++;
	}
	return 0;
}
