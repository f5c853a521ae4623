/* SPDX-License-Identifier: ISC */
/*
 * What may not be delivered now, or not any more, is moved aside by whoever looks for messages: there is nobody
 * else. Each call is one bounded transaction that looks at everything again; if another process was faster, it
 * finds nothing to do. A kill in between leaves the rest for the next who looks.
 *
 * On a full disk nothing could be received without it: so it is tried again with the ballast (ballast.c), and then a
 * much smaller step is made, which needs no more than that.
 */
#include "channel.h"

#include <limits.h>

enum { NEED_BYTES = 16 << 10 };	/* with the ballast's room */

/* Burials come after the queue's own records. LMQ_END: the channel is gone. */
static int once(const struct aside *a, uint64_t *missed)
{
	struct burial b = { .batch.count = 0 };
	struct queue q;
	struct txn t;
	int rc = txn_begin(a->store, &t);
	if (rc != 0)
		return rc;
	rc = queue_load(&t, a->id, a->lane, a->group, &q);
	if (rc == 0 && (rc = a->change(&q, &b, a->what)) == LMQ_END)
		rc = 0;
	if (rc == 0)
		rc = queue_store(&q);
	if (rc == 0)
		rc = burial_commit(&b, &q);
	burial_free(&b);
	if (rc == 0)
		rc = txn_commit(&t, LMQ_SYNC_RELAXED);
	else
		txn_abort(&t);
	*missed += rc == 0 ? q.missed : 0;
	return rc;
}

int aside(const struct aside *a, uint64_t *missed)
{
	int rc = once(a, missed);
	return rc == LMQ_ENOSPC && ballast_drop(a->store) ? once(a, missed) : rc;
}

/* The next look says that the channel is gone. */
static int aside_there(const struct aside *a, uint64_t *missed)
{
	int rc = aside(a, missed);
	return rc == LMQ_END ? 0 : rc;
}

bool aside_enough(const struct queue *q, const struct burial *b)
{
	return burial_full(b) || (q->t->in_need && b->batch.size >= NEED_BYTES);
}

/* About as many messages as one transaction may bury. */
static uint64_t step(const struct queue *q)
{
	uint64_t count = q->head.end - q->position.settled, size = count ? q->head.bytes / count + 1 : 1;
	uint64_t n = (q->t->in_need ? NEED_BYTES : ASIDE_BYTES) / size + 1;
	uint64_t most = q->t->in_need ? ASIDE_NEED : ASIDE_MESSAGES;
	return n < most ? n : most;
}

uint64_t aside_end(const struct queue *q, uint64_t first, uint64_t end)
{
	return end - first > step(q) ? first + step(q) : end;
}

/* ---- what has become due ------------------------------------------------------------------- */

static int first_due(struct queue *q, int64_t now, uint64_t *first)
{
	MDB_cursor *cursor;
	int64_t due;
	int rc = mdb_cursor_open(q->t->mdb, q->t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(q->t->store, q->t->store->path, rc);
	rc = run_first_due(q->t->store, cursor, q->position.space, 0, &due, first);
	mdb_cursor_close(cursor);
	return rc == 0 && due > now ? LMQ_END : rc;
}

/*
 * The run of which the first message is due. A lease that ran out was an attempt, counted when it began; one that goes
 * on is due later than now.
 */
static int promote(struct queue *q, struct burial *b, uint64_t first, int64_t now)
{
	struct lmq_verdict v = { .outcome = LMQ_RETRY, .reason = LMQ_TIMEOUT, .exit_status = -1 };
	struct run_record r;
	int rc = group_carve(q->t, &q->position, first, first + step(q), &r);
	if (rc == LMQ_END)
		return fail_damaged(q->t->store, "an index of messages");
	if (rc == 0 && term_goes_on(q->t->store, &r, now))
		return run_put(q->t, &q->position, &r);
	if (rc == 0 && r.state == RUN_LEASED)
		return queue_failed(q, b, &r, &v);
	r.state = RUN_READY;
	r.due = 0;
	return rc == 0 ? queue_put(q, &r) : rc;
}

static int promote_due(struct queue *q, struct burial *b, void *what)
{
	int64_t now = lmq_now();
	uint64_t first;
	int rc = 0;
	(void)what;
	for (unsigned left = q->t->in_need ? ASIDE_NEED : ASIDE_RUNS; rc == 0 && left > 0 && !aside_enough(q, b);
			left--) {
		rc = first_due(q, now, &first);
		if (rc == 0)
			rc = promote(q, b, first, now);
	}
	return rc;
}

int aside_due(lmq_store *s, uint32_t id, uint16_t lane, const char *group, uint64_t *missed)
{
	return aside_there(&(struct aside){ s, id, lane, group, promote_due, NULL }, missed);
}

/* ---- crashes ------------------------------------------------------------------------------- */

struct crash {
	struct run part;
	uint64_t end;		/* the same delivery goes on until there */
	uint32_t attempt;
	uint64_t left;		/* up to here it has been counted */
};

/*
 * The end of what one transaction counts: a first part of what is the caller's or, beyond it, of the same delivery and in
 * nobody's hands. Else each of thousands that nobody is to have again would be a transaction.
 */
static uint64_t crash_end(struct queue *q, const struct crash *c)
{
	uint64_t most = c->part.first + ASIDE_MESSAGES, end = c->end < most ? c->end : most;
	struct run held;
	if (c->part.end >= most)
		return most;
	if (q->t->in_need || c->part.end >= end ||
			txn_hold(q->t, q->position.space, c->part.end, end, UINT64_MAX, &held) != 0 || held.first > c->part.end)
		return c->part.end;
	return held.end;
}

static int crashed(struct queue *q, struct burial *b, void *what)
{
	struct lmq_verdict v = { .outcome = LMQ_RETRY, .reason = LMQ_CRASHED, .exit_status = -1 };
	struct crash *c = what;
	uint64_t end = crash_end(q, c);
	struct run_record r;
	int rc = 0;
	c->left = c->part.first;
	for (unsigned left = q->t->in_need ? ASIDE_NEED : UINT_MAX; left > 0 && c->left < end && !aside_enough(q, b) &&
			(rc = queue_unsettled(q, c->left, aside_end(q, c->left, end), &r)) == 0; left--) {
		c->left = r.end;
		if (r.state == RUN_READY && r.history.attempts < c->attempt) {
			r.history.attempts = c->attempt;
			if (r.history.first_time == 0)
				r.history.first_time = lmq_now();
			rc = queue_failed(q, b, &r, &v);
		} else {
			rc = queue_put(q, &r);
		}
		if (rc != 0)
			break;
	}
	if (rc == LMQ_END)
		c->left = aside_end(q, c->left, end);
	return rc;
}

int aside_crashed(lmq_store *s, uint32_t id, uint16_t lane, const char *group, struct run *part, uint64_t end,
	uint32_t attempt, uint64_t *missed)
{
	struct crash c = { .part = *part, .end = end, .attempt = attempt };
	int rc = aside(&(struct aside){ s, id, lane, group, crashed, &c }, missed);
	if (rc == 0)
		part->first = c.left;
	else if (rc == LMQ_END)
		part->first = part->end;
	return rc == LMQ_END ? 0 : rc;
}

/* ---- what is not there any more ------------------------------------------------------------ */

struct parts {
	const struct run *list;
	size_t count;
};

/* Nobody's loss: newer messages of their keys are there, or will have been. */
static int settle_missing(struct queue *q, const struct run *part, unsigned *runs)
{
	uint64_t at = part->first;
	struct run_record r;
	int rc = 0;
	for (; *runs > 0 && at < part->end && (rc = queue_unsettled(q, at, part->end, &r)) == 0; --*runs) {
		at = r.end;
		rc = group_settled(q->t, &q->position, &r);
		if (rc != 0)
			break;
	}
	q->made_ready = true;
	return rc == LMQ_END ? 0 : rc;
}

static int settle_parts(struct queue *q, struct burial *b, void *what)
{
	const struct parts *p = what;
	unsigned runs = q->t->in_need ? ASIDE_NEED : ASIDE_RUNS;
	int rc = 0;
	(void)b;
	for (size_t i = 0; rc == 0 && i < p->count; i++)
		rc = settle_missing(q, &p->list[i], &runs);
	return rc;
}

int aside_missing(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed)
{
	struct parts p = { parts, count };
	return aside_there(&(struct aside){ s, id, lane, group, settle_parts, &p }, missed);
}
