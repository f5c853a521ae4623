/* SPDX-License-Identifier: ISC */
/*
 * Moving a group: what happened to its messages is forgotten. The runs below its next are removed from the top down to
 * the new position, and from the bottom up to it, in bounded transactions: after each one the position is a sound one,
 * somewhere on the way.
 */
#include "receiver.h"

enum { STEP_RUNS = 1024, NEED_RUNS = 16 };

/* The offset that is meant. */
static int target(struct queue *q, enum lmq_seek how, int64_t value, uint64_t floor, uint64_t *to)
{
	struct snapshot view;
	struct log_cursor c;
	int rc = log_cursor_within(q->t, q->id, q->lane, &q->head, &view, &c);
	if (rc == 0)
		rc = group_place(&c, how, value, floor, to);
	log_cursor_leave(&c);
	return rc;
}

/* What was blocked behind it is not any more: a kill after this transaction must not leave a key of which no message is
 * free. */
static int run_remove(struct queue *q, const struct run_record *r)
{
	int rc = run_delete(q->t, &q->position, r);
	return rc == 0 ? group_settled(q->t, &q->position, r) : rc;
}

/* Below next, what is in no run counts as settled, whatever happened to it before. */
static void recount(struct group_record *g)
{
	uint64_t waiting = 0;
	for (int i = 0; i < RUN_STATES; i++)
		waiting += g->state[i];
	g->settled = g->next > waiting ? g->next - waiting : 0;
}

static int last_run(struct queue *q, struct run_record *r)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(q->t->mdb, q->t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(q->t->store, q->t->store->path, rc);
	rc = run_before(q->t->store, cursor, q->position.space, UINT64_MAX, r);
	mdb_cursor_close(cursor);
	return rc;
}

/* Removes the highest run, or its part from to on: what lies there is plain from now on. LMQ_END: there is none. */
static int step_down(struct queue *q, uint64_t to)
{
	struct run_record r;
	int rc = last_run(q, &r);
	if (rc == 0 && r.end <= to)
		rc = LMQ_END;
	if (rc == 0)
		rc = run_remove(q, &r);
	if (rc != 0)
		return rc;
	if (r.first < to) {
		q->position.next = to;
		r.end = to;
		return run_put(q->t, &q->position, &r);
	}
	if (q->position.next > r.first)
		q->position.next = r.first;
	return 0;
}

/* Removes the lowest run: what lies there is settled. LMQ_END: none is left. */
static int step_up(struct queue *q)
{
	struct run_record r;
	int rc = group_first(q->t, &q->position, 0, 0, &r);
	return rc == 0 ? run_remove(q, &r) : rc;
}

/* A bounded part of the way. LMQ_END: it has arrived. */
static int move_step(struct queue *q, uint64_t to)
{
	int budget = q->t->in_need ? NEED_RUNS : STEP_RUNS, rc = 0;
	for (; rc == 0 && budget > 0; budget--)
		rc = step_down(q, to);
	if (rc != LMQ_END)
		return rc;
	if (q->position.next > to)
		q->position.next = to;
	for (rc = 0; rc == 0 && budget > 0; budget--)
		rc = step_up(q);
	if (rc == LMQ_END)
		q->position.next = to;
	return rc;
}

static int load(struct txn *t, lmq_channel *c, const char *group, uint16_t lane, struct queue *q)
{
	struct channel_record r;
	int rc = queue_load(t, c->id, lane, group, q);
	if (rc != LMQ_END)
		return rc;
	rc = channel_record(c, t->mdb, &r);
	return rc == 0 ? groups_missing(c, group) : rc;
}

static int move_begin(lmq_channel *c, const char *group, uint16_t lane, enum lmq_seek how, int64_t value,
	struct lmq_group_move *m)
{
	struct group_record g;
	struct queue q = { .id = c->id, .lane = lane };
	struct run_record r;
	struct snapshot p;
	struct txn t;
	int rc;
	snapshot_init(c->store, &p);
	rc = snapshot_begin(&p);
	t = (struct txn){ .store = c->store, .mdb = p.mdb };	/* only to look */
	q.t = &t;
	if (rc == 0)
		rc = get_head(c->store, p.mdb, c->id, lane, &q.head);
	if (rc == LMQ_END)
		rc = channel_gone(c);
	if (rc == 0 && (rc = get_group(c->store, p.mdb, c->id, lane, group, &g)) == LMQ_END)
		rc = groups_missing(c, group);
	if (rc == 0)
		rc = group_run(c->store, p.cursor, &g, q.head.end, q.head.first, &r);
	if (rc == 0 || rc == LMQ_END) {
		m->partition = lane;
		m->from = rc == 0 ? r.first : q.head.end;
		m->end = q.head.end;
		rc = target(&q, how, value, m->from, &m->to);
	}
	snapshot_close(&p);
	return rc;
}

static int move_on(lmq_channel *c, const char *group, uint16_t lane, uint64_t to, bool *there)
{
	struct queue q;
	struct txn t;
	int rc = txn_begin(c->store, &t);
	if (rc != 0)
		return rc;
	rc = load(&t, c, group, lane, &q);
	if (rc == 0)
		rc = move_step(&q, to);
	*there = rc == LMQ_END;
	if (rc == 0 || *there) {
		recount(&q.position);
		rc = queue_store(&q);
	}
	txn_wake(&t, c->id);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_FULL);
	txn_abort(&t);
	return rc;
}

static int move_lane(lmq_channel *c, const char *group, uint16_t lane, uint64_t to)
{
	bool there = false;
	int rc = 0;
	while (rc == 0 && !there) {
		rc = move_on(c, group, lane, to, &there);
		if (rc == LMQ_ENOSPC && ballast_drop(c->store))
			rc = move_on(c, group, lane, to, &there);
	}
	return rc;
}

int lmq_group_seek(lmq_channel *c, const char *group, int64_t partition, enum lmq_seek how, int64_t value,
	unsigned flags, struct lmq_group_move *moves, size_t *count)
{
	uint16_t first = partition < 0 ? 0 : (uint16_t)partition;
	uint16_t end = partition < 0 ? c->lanes : (uint16_t)(first + 1);
	int rc = groups_check(c, group);
	*count = 0;
	if (rc == 0 && partition >= c->lanes)
		rc = fail(c->store, LMQ_EINVAL, "%s: there is no partition %lld", c->name, (long long)partition);
	for (uint16_t lane = first; rc == 0 && lane < end; lane++) {
		rc = move_begin(c, group, lane, how, value, &moves[*count]);
		if (rc == 0 && !(flags & LMQ_SEEK_DRY_RUN))
			rc = move_lane(c, group, lane, moves[*count].to);
		*count += rc == 0;
	}
	return rc;
}
