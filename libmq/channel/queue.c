/* SPDX-License-Identifier: ISC */
/*
 * A queue, or a group of a topic or stream, within a write transaction: its records are read once, changed in
 * memory by everything that the transaction does to it, and stored at its end.
 *
 * Settling a message of a queue lets go of what it held: its large body at once, its block when nothing else
 * in it is unsettled. Of a topic or stream it only moves the position: retention decides what goes.
 *
 * What retention has dropped below a group's messages is settled for it by the first who loads the group, and counted
 * once: as missed, unless somebody had it. What is in somebody's hands is left to him.
 */
#include "channel.h"

enum { DROP_BLOCKS = 4096, CLIP_RUNS = 1024 };

/* Whether nobody has the first message of r. *nobodys, asked for once, is what nobody has; else *from is where to go on. */
static bool clip_free(struct queue *q, const struct run_record *r, struct run *nobodys, uint64_t *from)
{
	if (r->first < nobodys->end)
		return true;
	*from = lease_reach(r->first, q->head.first);
	if (lease_free(q->t->store, q->position.space, r->first, q->head.first, nobodys) != 0)
		*nobodys = (struct run){ 0, 0 };
	else
		*from = nobodys->first;
	return nobodys->end > 0 && nobodys->first == r->first;
}

/* A bounded part of it: the next transaction goes on. */
static int clip(struct queue *q)
{
	struct run nobodys = { 0, 0 };
	struct run_record r;
	uint64_t from = 0;
	int rc = 0;
	for (int i = 0; rc == 0 && i < CLIP_RUNS; i++) {
		rc = group_first(q->t, &q->position, q->head.first, from, &r);
		if (rc != 0 || r.first >= q->head.first)
			break;
		if (!clip_free(q, &r, &nobodys, &from))
			continue;
		rc = group_carve(q->t, &q->position, r.first, r.end < nobodys.end ? r.end : nobodys.end, &r);
		if (rc == 0)
			rc = group_settled(q->t, &q->position, &r);
		q->position.counter[COUNT_DROPPED] += r.end - r.first;
		q->missed += r.state == RUN_LEASED ? 0 : r.end - r.first;
		from = r.end;
	}
	return rc == LMQ_END ? 0 : rc;
}

int queue_load(struct txn *t, uint32_t id, uint16_t lane, const char *group, struct queue *q)
{
	lmq_store *s = t->store;
	int rc;
	*q = (struct queue){ .t = t, .id = id, .lane = lane, .group = group };
	rc = get_channel_record(s, t->mdb, id, &q->record);
	if (rc != 0)
		return rc;
	rc = get_head(s, t->mdb, id, lane, &q->head);
	if (rc == 0)
		rc = get_group(s, t->mdb, id, lane, group, &q->position);
	if (rc == LMQ_END && q->record.kind == LMQ_QUEUE)
		return fail_damaged(s, "a queue without its log");
	if (q->record.kind == LMQ_QUEUE)
		q->rules = q->record;
	else if (rc == 0)
		rc = get_settings(s, t->mdb, id, &q->record, group, &q->rules);
	return rc == 0 && q->record.kind != LMQ_QUEUE ? clip(q) : rc;
}

static bool has_limit(const struct channel_record *r)
{
	return limit_of(r, LIMIT_MAX_MESSAGES) != UINT64_MAX || limit_of(r, LIMIT_MAX_BYTES) != UINT64_MAX;
}

int queue_shed(struct queue *q)
{
	uint64_t floor;
	int rc = group_floor(q->t, &q->position, &floor);
	if (floor > q->head.end)
		floor = q->head.end;
	if (rc == 0 && floor > q->head.first)
		q->head.first = floor;
	return rc == 0 ? log_drop_blocks(q->t, q->id, q->lane, &q->head, DROP_BLOCKS) : rc;
}

static int store_queue(struct queue *q)
{
	int rc = queue_shed(q);
	/* Senders may wait for the room. */
	if (q->made_room && has_limit(&q->record))
		txn_wake(q->t, q->id);
	return rc == 0 ? put_head(q->t, q->id, q->lane, &q->head) : rc;
}

int queue_store(struct queue *q)
{
	int rc = q->record.kind == LMQ_QUEUE ? store_queue(q) : 0;
	if (q->record.kind == LMQ_TOPIC)
		rc = retain_floor(q->t, q->id, q->lane, q->group, &q->position);
	/* Publishers wait too, where full=block. */
	if (q->made_ready || (q->made_room && q->record.kind == LMQ_TOPIC && has_limit(&q->record)))
		txn_wake(q->t, q->id);
	return rc == 0 ? put_group(q->t, q->id, q->lane, q->group, &q->position) : rc;
}

int queue_put(struct queue *q, const struct run_record *r)
{
	/* Whoever sleeps until the first is due has to look again. */
	q->made_ready = true;
	return run_put(q->t, &q->position, r);
}

int queue_leave(struct queue *q, const struct run_record *r, enum counter why, bool keep_body)
{
	struct run part = { r->first, r->end };
	uint64_t ready = q->position.state[RUN_READY], delayed = q->position.state[RUN_DELAYED], low, high;
	int rc = 0;
	if (q->record.kind == LMQ_QUEUE)
		rc = log_leave(q->t, q->id, q->lane, &q->head, &part, keep_body);
	if (rc == 0)
		rc = group_settled(q->t, &q->position, r);
	q->position.counter[why] += r->end - r->first;
	q->made_room = true;
	if (q->position.state[RUN_READY] > ready || q->position.state[RUN_DELAYED] > delayed)
		q->made_ready = true;
	if (rc != 0 || q->record.kind != LMQ_QUEUE)
		return rc;
	rc = group_around(q->t, &q->position, r->first, r->end, q->head.end, &low, &high);
	/* What lies below everything unsettled goes at the end, in one walk. */
	return rc == 0 && low > 0 ? log_drop_between(q->t, q->id, q->lane, &q->head, &part, low, high) : rc;
}

int queue_unsettled(struct queue *q, uint64_t from, uint64_t end, struct run_record *r)
{
	uint64_t last = end < q->head.end ? end : q->head.end;
	int rc;
	/* Of a group with order=key only what has entered is anybody's: the rest came to lie there by a seek. */
	if (q->record.kind != LMQ_QUEUE && last > q->position.next && limit_of(&q->rules, LIMIT_ORDER_KEY) == 1)
		last = q->position.next;
	rc = group_first(q->t, &q->position, last, from, r);
	if (rc == 0 && r->first >= end)
		return LMQ_END;
	return rc == 0 ? group_carve(q->t, &q->position, r->first, r->end < end ? r->end : end, r) : rc;
}

int queue_settle(struct queue *q, uint64_t first, uint64_t end, enum counter why, bool keep_bodies)
{
	struct run_record r;
	int rc = 0;
	while (first < end && (rc = queue_unsettled(q, first, end, &r)) == 0) {
		rc = queue_leave(q, &r, why, keep_bodies);
		if (rc != 0)
			break;
		first = r.end;
	}
	return rc == LMQ_END ? 0 : rc;
}
