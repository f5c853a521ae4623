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
#include <string.h>

enum { STEP_RUNS = 1024, STEP_MESSAGES = 4096, STEP_BYTES = 4 << 20 };
enum { VAIN = 256 };	/* messages in a row that have not expired, behind which none is looked for */
enum { NEED_RUNS = 8, NEED_BYTES = 16 << 10 };	/* with the ballast's room */

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

static bool enough(const struct queue *q, const struct burial *b)
{
	return burial_full(b) || (q->t->in_need && b->batch.size >= NEED_BYTES);
}

/* About as many messages as one transaction may bury. */
static uint64_t step(const struct queue *q)
{
	uint64_t count = q->head.end - q->position.settled, size = count ? q->head.bytes / count + 1 : 1;
	uint64_t n = (q->t->in_need ? NEED_BYTES : STEP_BYTES) / size + 1;
	uint64_t most = q->t->in_need ? NEED_RUNS : STEP_MESSAGES;
	return n < most ? n : most;
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
	for (unsigned left = q->t->in_need ? NEED_RUNS : STEP_RUNS; rc == 0 && left > 0 && !enough(q, b); left--) {
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
	uint64_t most = c->part.first + STEP_MESSAGES, end = c->end < most ? c->end : most;
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
	for (unsigned left = q->t->in_need ? NEED_RUNS : UINT_MAX; left > 0 && c->left < end && !enough(q, b) &&
			(rc = queue_unsettled(q, c->left, step_end(q, c->left, end), &r)) == 0; left--) {
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
		c->left = step_end(q, c->left, end);
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

struct parts {
	const struct run *list;
	size_t count;
};

/* Where in the order of delivery a message stands. */
static struct ready place_of(const struct run_record *r)
{
	return (struct ready){ .class = (uint8_t)(LMQ_PRIORITY_MAX - r->priority), .from = r->first };
}

/* What is ready of a part that nobody else can change; *place is where the last of it stood. */
static int expire_part(struct queue *q, struct burial *b, const struct run *part, struct ready *place)
{
	uint64_t at = part->first;
	struct run_record r;
	int rc = 0;
	while (at < part->end && !enough(q, b) &&
			(rc = queue_unsettled(q, at, step_end(q, at, part->end), &r)) == 0) {
		at = r.end;
		*place = place_of(&r);
		rc = r.state == RUN_READY ? expire(q, b, &r) : queue_put(q, &r);
		if (rc != 0)
			break;
	}
	return rc == LMQ_END ? 0 : rc;
}

/*
 * Who wants one message of a queue of which thousands have expired would need a transaction for each of them. So
 * each looks on, in the order of delivery, at what the next claims would take, and what of it has expired and is in
 * nobody's hands goes as well.
 */
struct outlook {
	struct log_cursor log;
	MDB_cursor *ready;
	struct decoded decoded;
	uint64_t ttl;
	int64_t now;
	uint64_t left, bytes;	/* that may still be looked at */
	unsigned vain;		/* messages in a row that have not expired */
	size_t count;
	struct run parts[STEP_RUNS];	/* that have */
};

static bool looked_enough(const struct outlook *o)
{
	return o->left == 0 || o->bytes >= STEP_BYTES || o->vain >= VAIN || o->count == STEP_RUNS;
}

/* Only a message with fields can have a time to live of its own. */
static int look_at(struct outlook *o, const struct record *record)
{
	struct run *last = o->count ? &o->parts[o->count - 1] : NULL;
	struct lmq_message m;
	struct blob blob;
	bool expired = false;
	int rc = 0;
	if (o->ttl != UINT64_MAX || *record->data & RECORD_FIELDS) {
		rc = log_message(&o->log, record, &m, &o->decoded, &blob);
		if (rc == 0)
			expired = message_expired(&m, o->ttl, o->now);
	}
	o->left--;
	o->bytes += (uint64_t)(record->end - record->data);
	o->vain = expired ? 0 : o->vain + 1;
	if (expired && last && last->end == record->offset)
		last->end++;
	else if (expired)
		o->parts[o->count++] = (struct run){ record->offset, record->offset + 1 };
	return rc;
}

static int look_through(struct outlook *o, const struct run *run)
{
	struct record record;
	int rc = 0;
	log_seek(&o->log, run->first);
	while (rc == 0 && !looked_enough(o) && o->log.offset < run->end && (rc = log_next(&o->log, &record)) == 0 &&
			record.offset < run->end)
		rc = look_at(o, &record);
	return rc == LMQ_END ? 0 : rc;
}

/* What cannot be read is for those to say who are to have it: the looking ends there. */
static void look_on(struct queue *q, struct outlook *o, struct ready *place)
{
	bool ordered = q->record.kind != LMQ_QUEUE && limit_of(&q->rules, LIMIT_ORDER_KEY) == 1;
	uint64_t end = ordered ? q->position.next : q->head.end;
	struct snapshot view;
	struct run run;
	int rc = log_cursor_within(q->t, q->id, q->lane, &q->head, &view, &o->log);
	if (rc == 0 && (rc = mdb_cursor_open(q->t->mdb, q->t->store->table, &o->ready)) == 0) {
		while (rc == 0 && !looked_enough(o) &&
				(rc = group_ready(q->t->store, o->ready, &q->position, end, place, &run)) == 0)
			rc = look_through(o, &run);
		mdb_cursor_close(o->ready);
	}
	log_cursor_leave(&o->log);
}

/* Some of it may be in somebody's hands. */
static int expire_free(struct queue *q, struct burial *b, struct run *part)
{
	struct ready place;
	struct run held;
	int rc = 0;
	while (rc == 0 && !enough(q, b) &&
			txn_hold(q->t, q->position.space, part->first, part->end, UINT64_MAX, &held) == 0) {
		rc = expire_part(q, b, &held, &place);
		part->first = held.end;
	}
	return rc;
}

static int expire_more(struct queue *q, struct burial *b, struct ready *place, uint64_t done)
{
	struct outlook *o = done < STEP_MESSAGES ? malloc(sizeof *o) : NULL;
	int rc = 0;
	if (!o)
		return 0;
	memset(o, 0, offsetof(struct outlook, parts));
	o->left = STEP_MESSAGES - done;
	o->bytes = b->batch.size;
	o->ttl = limit_of(&q->record, LIMIT_TTL);
	o->now = lmq_now();
	look_on(q, o, place);
	for (size_t i = 0; rc == 0 && i < o->count && !enough(q, b); i++)
		rc = expire_free(q, b, &o->parts[i]);
	free(o);
	return rc;
}

static int expire_parts(struct queue *q, struct burial *b, void *what)
{
	const struct parts *p = what;
	size_t most = q->t->in_need && p->count > NEED_RUNS ? NEED_RUNS : p->count;
	struct ready place = { .class = 0 };
	uint64_t done = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < most && !enough(q, b); i++) {
		rc = expire_part(q, b, &p->list[i], &place);
		done += p->list[i].end - p->list[i].first;
	}
	return rc == 0 && !q->t->in_need && !enough(q, b) ? expire_more(q, b, &place, done) : rc;
}

int aside_expired(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed)
{
	struct parts p = { parts, count };
	return aside_there(&(struct aside){ s, id, lane, group, expire_parts, &p }, missed);
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

static int settle_parts(struct queue *q, struct burial *b, void *what)
{
	const struct parts *p = what;
	unsigned runs = q->t->in_need ? NEED_RUNS : STEP_RUNS;
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
