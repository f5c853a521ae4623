/* SPDX-License-Identifier: ISC */
/*
 * What has expired is moved aside (aside.c) by whoever claims it: gone, or a dead letter.
 *
 * Who wants one message of a queue of which thousands have expired would need a transaction for each of them. So
 * each looks on, in the order of delivery, at what the next claims would take, and what of it has expired and is in
 * nobody's hands goes as well.
 */
#include "channel.h"

#include <string.h>

enum {
	VAIN = 256,		/* messages in a row that have not expired, behind which none is looked for */
	ROUNDS = 512,		/* with keys in order, where each makes the next message of a key ready */
};

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
	while (at < part->end && !aside_enough(q, b) &&
			(rc = queue_unsettled(q, at, aside_end(q, at, part->end), &r)) == 0) {
		at = r.end;
		*place = place_of(&r);
		rc = r.state == RUN_READY ? expire(q, b, &r) : queue_put(q, &r);
		if (rc != 0)
			break;
	}
	return rc == LMQ_END ? 0 : rc;
}

struct outlook {		/* on what the next claims would take */
	struct log_cursor log;
	MDB_cursor *ready;
	struct decoded decoded;
	uint64_t ttl;
	int64_t now;
	uint64_t left, bytes;	/* that may still be looked at */
	unsigned vain;		/* messages in a row that have not expired */
	size_t count;
	struct run parts[ASIDE_RUNS];	/* that have */
};

static bool looked_enough(const struct outlook *o)
{
	return o->left == 0 || o->bytes >= ASIDE_BYTES || o->vain >= VAIN || o->count == ASIDE_RUNS;
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
	while (rc == 0 && !aside_enough(q, b) &&
			txn_hold(q->t, q->position.space, part->first, part->end, UINT64_MAX, &held) == 0) {
		rc = expire_part(q, b, &held, &place);
		part->first = held.end;
	}
	return rc;
}

/* What is ready in the present state, from place on. */
static int expire_round(struct queue *q, struct burial *b, struct outlook *o, struct ready place)
{
	int rc = 0;
	o->count = 0;
	o->vain = 0;
	look_on(q, o, &place);
	for (size_t i = 0; rc == 0 && i < o->count && !aside_enough(q, b); i++)
		rc = expire_free(q, b, &o->parts[i]);
	return rc;
}

static int expire_more(struct queue *q, struct burial *b, const struct ready *place, uint64_t done)
{
	struct outlook *o = done < ASIDE_MESSAGES ? malloc(sizeof *o) : NULL;
	unsigned rounds = limit_of(&q->rules, LIMIT_ORDER_KEY) == 1 ? ROUNDS : 1;
	uint64_t before = UINT64_MAX;
	int rc = 0;
	if (!o)
		return 0;
	memset(o, 0, offsetof(struct outlook, parts));
	o->left = ASIDE_MESSAGES - done;
	o->bytes = b->batch.size;
	o->ttl = limit_of(&q->record, LIMIT_TTL);
	o->now = lmq_now();
	while (rc == 0 && rounds-- > 0 && q->position.settled != before && !aside_enough(q, b)) {
		before = q->position.settled;
		rc = expire_round(q, b, o, *place);
	}
	free(o);
	return rc;
}

struct parts {
	const struct run *list;
	size_t count;
};

static int expire_parts(struct queue *q, struct burial *b, void *what)
{
	const struct parts *p = what;
	size_t most = q->t->in_need && p->count > ASIDE_NEED ? ASIDE_NEED : p->count;
	struct ready place = { .class = 0 };
	uint64_t done = 0;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < most && !aside_enough(q, b); i++) {
		rc = expire_part(q, b, &p->list[i], &place);
		done += p->list[i].end - p->list[i].first;
	}
	return rc == 0 && !q->t->in_need && !aside_enough(q, b) ? expire_more(q, b, &place, done) : rc;
}

int aside_expired(lmq_store *s, uint32_t id, uint16_t lane, const char *group, const struct run *parts, size_t count,
	uint64_t *missed)
{
	struct parts p = { parts, count };
	int rc = aside(&(struct aside){ s, id, lane, group, expire_parts, &p }, missed);
	return rc == LMQ_END ? 0 : rc;
}
