/* SPDX-License-Identifier: ISC */
/*
 * Leases: deliveries that outlive the process that made them, settled by name.
 *
 * A lease names the attempt. It holds while the run is leased for that attempt; and, the lease having run out, as
 * long as nobody has been given the message again: then its run is ready, the attempt is still the last, and
 * nobody has its lock, which whoever settles takes until the commit. All leases of one call are settled in one
 * transaction, sorted, so that neighbours with the same fate are one change.
 */
#include "receiver.h"

#include <stdio.h>
#include <string.h>

struct slip {			/* one lease of a call; sorted by channel, group, partition and offset */
	struct lmq_lease *lease;
	size_t order;
};

static int compare_names(const char *a, const char *b)
{
	return a == b ? 0 : !a ? -1 : !b ? 1 : strcmp(a, b);
}

/* Whether they are of the same queue, or group and partition: 0. */
static int compare_places(const struct lmq_lease *a, const struct lmq_lease *b)
{
	int c = compare_names(a->channel, b->channel);
	if (c == 0)
		c = compare_names(a->group, b->group);
	return c != 0 ? c : a->partition < b->partition ? -1 : a->partition > b->partition;
}

static int compare(const void *a, const void *b)
{
	const struct slip *x = a, *y = b;
	int c = compare_places(x->lease, y->lease);
	if (c != 0)
		return c;
	if (x->lease->offset != y->lease->offset)
		return x->lease->offset < y->lease->offset ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void lost(struct slip *s, size_t count, const char *why)
{
	for (size_t i = 0; i < count; i++) {
		s[i].lease->status = LMQ_ELOST;
		s[i].lease->why = why;
	}
}

/* ---- one queue ----------------------------------------------------------------------------- */

static bool same_fate(const struct lmq_lease *a, const struct lmq_lease *b)
{
	return a->outcome == b->outcome && a->attempt == b->attempt && a->delay == b->delay &&
		a->error.data == b->error.data && a->error.size == b->error.size;
}

/* How many slips from s on are consecutive messages with the same fate. */
static size_t neighbours(const struct slip *s, size_t count)
{
	size_t n = 1;
	while (n < count && s[n].lease->offset == s[0].lease->offset + n && same_fate(s[n].lease, s[0].lease))
		n++;
	return n;
}

/* By what the run says; NULL: the lease holds, if nobody has the run's lock. */
static const char *why_over(const struct run_record *r, const struct lmq_lease *l)
{
	uint32_t last = r->history.attempts + r->history.returned;
	if (r->state == RUN_LEASED)
		return last == l->attempt ? NULL : last > l->attempt ? "the message was delivered again" :
			"there was no such delivery";
	if (last > l->attempt)
		return "the message was delivered again";
	if (last < l->attempt)
		return "there was no such delivery, or a process holds it";
	if (r->state == RUN_RETRYING || r->state == RUN_DELAYED || r->history.reason != LMQ_TIMEOUT)
		return "the message was given back";
	return NULL;
}

/* The lease ran out. Of the run stays the first part that nobody has, or that somebody has: the rest is put back. */
static int hold_part(struct queue *q, struct run_record *r, const char **why)
{
	struct run_record rest = *r;
	struct run held;
	int rc = txn_hold(q->t, q->position.space, r->first, r->end, UINT64_MAX, &held);
	if (rc != 0 || held.first > r->first)
		*why = "the message was delivered again";
	if (rc != 0)
		return rc == LMQ_END ? 0 : rc;
	r->end = rest.first = *why ? held.first : held.end;
	return rest.first < rest.end ? queue_put(q, &rest) : 0;
}

/* *why: NULL where the lease holds, for what is left of the run then. */
static int why_lost(struct queue *q, struct run_record *r, const struct lmq_lease *l, const char **why)
{
	*why = why_over(r, l);
	return *why || r->state == RUN_LEASED ? 0 : hold_part(q, r, why);
}

static int extend(struct queue *q, struct run_record *r, const struct lmq_lease *l)
{
	struct term term = term_from(q->t->store, lmq_now(), l->delay);
	term_begin(r, &term);
	return queue_put(q, r);
}

static int give_back(struct queue *q, struct run_record *r)
{
	r->state = RUN_READY;
	r->due = 0;
	term_end(r);
	r->history.attempts--;
	r->history.returned++;
	r->history.reason = LMQ_REASON_NONE;
	return queue_put(q, r);
}

static int settle_run(struct queue *q, struct burial *b, struct run_record *r, struct lmq_lease *l)
{
	struct lmq_verdict v = { .outcome = l->outcome, .delay = l->delay, .exit_status = -1, .error = l->error };
	int rc;
	l->result = l->outcome;
	switch (l->outcome) {
	case LMQ_ACKNOWLEDGE:
		return queue_leave(q, r, COUNT_ACKNOWLEDGED, false);
	case LMQ_EXTEND:
		return extend(q, r, l);
	case LMQ_RETURN:
		return give_back(q, r);
	case LMQ_RETRY:
	case LMQ_BURY:
		break;
	}
	rc = queue_failed(q, b, r, &v);
	l->result = v.result;
	return rc;
}

/* Settles count consecutive messages with one fate. */
static int settle_span(struct queue *q, struct burial *b, struct slip *s, size_t count)
{
	uint64_t at = s[0].lease->offset, until = at + count, base = at;
	struct run_record r;
	int rc = 0;
	if (at > INT64_MAX) {
		lost(s, count, "there was no such delivery");
		return 0;
	}
	while (at < until && (rc = queue_unsettled(q, at, until, &r)) == 0) {
		const char *why;
		rc = why_lost(q, &r, s[0].lease, &why);
		if (rc != 0)
			return rc;
		lost(s + (at - base), (size_t)(r.first - at), "the message was settled");
		at = r.end;
		if (why) {
			lost(s + (r.first - base), (size_t)(r.end - r.first), why);
			rc = queue_put(q, &r);
		} else {
			rc = settle_run(q, b, &r, s[r.first - base].lease);
			for (uint64_t i = r.first; rc == 0 && i < r.end; i++)
				s[i - base].lease->result = s[r.first - base].lease->result;
		}
		if (rc != 0)
			return rc;
	}
	if (rc == LMQ_END)
		lost(s + (at - base), (size_t)(until - at), "the message was settled");
	return rc == LMQ_END ? 0 : rc;
}

static int settle_queue(struct queue *q, struct slip *s, size_t count)
{
	struct burial b = { .batch.count = 0 };
	int rc = 0;
	for (size_t i = 0, n; rc == 0 && i < count; i += n) {
		n = neighbours(s + i, count - i);
		rc = settle_span(q, &b, s + i, n);
	}
	if (rc == 0)
		rc = queue_store(q);
	if (rc == 0)
		rc = burial_commit(&b, q);
	burial_free(&b);
	return rc;
}

/* ---- all queues ---------------------------------------------------------------------------- */

static int refuse(struct slip *s, size_t count, int status)
{
	for (size_t i = 0; i < count; i++)
		s[i].lease->status = status;
	return 0;
}

/* Leases of one queue, or of one partition of a group. */
static int settle_place(struct txn *t, struct slip *s, size_t count)
{
	const struct lmq_lease *l = s[0].lease;
	struct channel_record record;
	struct queue q;
	uint32_t id;
	int rc = find_channel(t->store, t->mdb, l->channel, &id, &record);
	if (rc != 0)
		return rc == LMQ_END ? refuse(s, count, LMQ_ENOENT) : rc;
	if ((record.kind == LMQ_QUEUE) != (l->group == NULL))
		return refuse(s, count, LMQ_EKIND);
	if (l->partition >= lanes_of(&record)) {
		lost(s, count, "there is no such partition");
		return 0;
	}
	rc = queue_load(t, id, (uint16_t)l->partition, l->group ? l->group : "", &q);
	if (rc == LMQ_END)
		return refuse(s, count, LMQ_ENOENT);
	return rc == 0 ? settle_queue(&q, s, count) : rc;
}

static int settle_all(struct txn *t, struct slip *s, size_t count)
{
	int rc = 0;
	for (size_t i = 0, n; rc == 0 && i < count; i += n) {
		for (n = 1; i + n < count && compare_places(s[i + n].lease, s[i].lease) == 0; n++)
			;
		rc = settle_place(t, s + i, n);
	}
	return rc;
}

static bool in_order(const struct slip *s, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (compare(&s[i - 1], &s[i]) > 0)
			return false;
	return true;
}

static int settle(lmq_store *store, struct lmq_lease *leases, size_t count, enum lmq_sync sync)
{
	struct slip *s = malloc((count + 1) * sizeof *s);
	struct txn t;
	bool due = false;
	int rc = s ? txn_begin(store, &t) : fail(store, LMQ_ENOMEM, "%s: out of memory", store->path);
	if (rc != 0)
		goto out;
	for (size_t i = 0; i < count; i++) {
		leases[i].status = 0;
		leases[i].why = NULL;
		leases[i].result = leases[i].outcome;
		s[i] = (struct slip){ &leases[i], i };
	}
	if (!in_order(s, count))
		qsort(s, count, sizeof *s, compare);
	rc = settle_all(&t, s, count);
	due = rc == 0 && sweep_due(&t);
	if (rc == 0)
		rc = txn_commit(&t, sync);
	else
		txn_abort(&t);
	if (rc == 0 && due)
		sweep_aside(store);
out:
	free(s);
	return rc;
}

static int check_outcomes(lmq_store *store, const struct lmq_lease *leases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (leases[i].outcome > LMQ_EXTEND)
			return fail(store, LMQ_EINVAL, "%s:%llu: no such outcome", leases[i].channel,
				(unsigned long long)leases[i].offset);
	return 0;
}

int lmq_store_settle(lmq_store *store, struct lmq_lease *leases, size_t count, enum lmq_sync sync)
{
	int rc = check_outcomes(store, leases, count);
	if (rc == 0)
		rc = settle(store, leases, count, sync);
	return rc == LMQ_ENOSPC && ballast_drop(store) ? settle(store, leases, count, sync) : rc;
}
