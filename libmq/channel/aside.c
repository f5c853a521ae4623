/* SPDX-License-Identifier: ISC */
/*
 * What may not be delivered now, or not any more, is moved aside by whoever looks for messages: there is nobody
 * else. Each call is one bounded transaction that looks at everything again; if another process was faster, it
 * finds nothing to do. A kill in between leaves the rest for the next who looks.
 */
#include "channel.h"

enum { STEP_RUNS = 1024, STEP_MESSAGES = 4096, STEP_BYTES = 4 << 20 };

int aside_end(struct txn *t, struct queue *q, int rc, uint64_t *missed)
{
	if (rc != 0) {
		txn_abort(t);
		return rc == LMQ_END ? 0 : rc;	/* the channel is gone: the next look says so */
	}
	rc = txn_commit(t, LMQ_SYNC_RELAXED);
	*missed += rc == 0 ? q->missed : 0;
	return rc;
}

/* Burials come after the queue's own records. */
static int finish(struct txn *t, struct queue *q, struct burial *b, int rc, uint64_t *missed)
{
	if (rc == 0)
		rc = queue_store(q);
	if (rc == 0)
		rc = burial_commit(b, q);
	burial_free(b);
	return aside_end(t, q, rc, missed);
}

/* About as many messages as one transaction may bury. */
static uint64_t step(const struct queue *q)
{
	uint64_t count = q->head.end - q->position.settled, size = count ? q->head.bytes / count + 1 : 1;
	uint64_t n = STEP_BYTES / size + 1;
	return n < STEP_MESSAGES ? n : STEP_MESSAGES;
}

/* The end of [first, end), or of a first part of it. */
static uint64_t step_end(const struct queue *q, uint64_t first, uint64_t end)
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

/* The run of which the first message is due. A lease that ran out was an attempt, counted when it began. */
static int promote(struct queue *q, struct burial *b, uint64_t first)
{
	struct lmq_verdict v = { .outcome = LMQ_RETRY, .reason = LMQ_TIMEOUT, .exit_status = -1 };
	struct run_record r;
	int rc = group_carve(q->t, &q->position, first, first + step(q), &r);
	if (rc == LMQ_END)
		return fail_damaged(q->t->store, "an index of messages");
	if (rc == 0 && r.state == RUN_LEASED)
		return queue_failed(q, b, &r, &v);
	r.state = RUN_READY;
	r.due = 0;
	return rc == 0 ? queue_put(q, &r) : rc;
}

int aside_due(lmq_store *s, uint32_t id, uint16_t lane, const char *group, uint64_t *missed)
{
	struct burial b = { .batch.count = 0 };
	struct queue q;
	struct txn t;
	uint64_t first;
	int64_t now = lmq_now();
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = queue_load(&t, id, lane, group, &q);
	if (rc != 0)
		return finish(&t, &q, &b, rc, missed);
	for (unsigned i = 0; rc == 0 && i < STEP_RUNS && !burial_full(&b); i++) {
		rc = first_due(&q, now, &first);
		if (rc == 0)
			rc = promote(&q, &b, first);
	}
	return finish(&t, &q, &b, rc == LMQ_END ? 0 : rc, missed);
}

/* ---- crashes ------------------------------------------------------------------------------- */

static int crashed(struct queue *q, struct burial *b, struct run *part, uint32_t attempt)
{
	struct lmq_verdict v = { .outcome = LMQ_RETRY, .reason = LMQ_CRASHED, .exit_status = -1 };
	struct run_record r;
	int rc = 0;
	while (part->first < part->end && !burial_full(b) &&
			(rc = queue_unsettled(q, part->first, step_end(q, part->first, part->end), &r)) == 0) {
		part->first = r.end;
		if (r.state == RUN_READY && r.history.attempts < attempt) {
			r.history.attempts = attempt;
			if (r.history.first_time == 0)
				r.history.first_time = lmq_now();
			rc = queue_failed(q, b, &r, &v);
		} else {
			rc = queue_put(q, &r);
		}
		if (rc != 0)
			break;
	}
	if (rc != LMQ_END)
		return rc;
	part->first = step_end(q, part->first, part->end);
	return 0;
}

int aside_crashed(lmq_store *s, uint32_t id, uint16_t lane, const char *group, struct run *part, uint32_t attempt,
	uint64_t *missed)
{
	struct burial b = { .batch.count = 0 };
	struct queue q;
	struct txn t;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = queue_load(&t, id, lane, group, &q);
	if (rc == LMQ_END)
		part->first = part->end;
	if (rc == 0)
		rc = crashed(&q, &b, part, attempt);
	return finish(&t, &q, &b, rc, missed);
}

/* ---- expiry -------------------------------------------------------------------------------- */

bool message_expired(const struct lmq_message *m, uint64_t channel_ttl, int64_t now)
{
	int64_t ttl = m->ttl > 0 ? m->ttl : channel_ttl < INT64_MAX ? (int64_t)channel_ttl : INT64_MAX;
	return ttl < INT64_MAX - m->time && m->time + ttl <= now;
}

static int expire(struct queue *q, struct burial *b, struct run_record *r)
{
	struct lmq_verdict v = { .outcome = LMQ_BURY, .reason = LMQ_EXPIRED, .exit_status = -1 };
	if (q->record.kind == LMQ_QUEUE && can_bury(q))
		return queue_failed(q, b, r, &v);
	return queue_leave(q, r, COUNT_EXPIRED, false);
}

int aside_expired(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed)
{
	struct burial b = { .batch.count = 0 };
	struct queue q;
	struct txn t;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = queue_load(&t, id, lane, group, &q);
	for (size_t i = 0; rc == 0 && i < count && !burial_full(&b); i++) {
		uint64_t at = parts[i].first;
		struct run_record r;
		while (at < parts[i].end && !burial_full(&b) &&
				(rc = queue_unsettled(&q, at, step_end(&q, at, parts[i].end), &r)) == 0) {
			at = r.end;
			rc = r.state == RUN_READY ? expire(&q, &b, &r) : queue_put(&q, &r);
			if (rc != 0)
				break;
		}
		if (rc == LMQ_END)
			rc = 0;
	}
	return finish(&t, &q, &b, rc, missed);
}

/* ---- what is not there any more ------------------------------------------------------------ */

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

int aside_missing(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed)
{
	struct burial b = { .batch.count = 0 };
	unsigned runs = STEP_RUNS;
	struct queue q;
	struct txn t;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = queue_load(&t, id, lane, group, &q);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = settle_missing(&q, &parts[i], &runs);
	return finish(&t, &q, &b, rc, missed);
}
