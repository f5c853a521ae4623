/* SPDX-License-Identifier: ISC */
/*
 * A reader's position: next, and runs of unsettled messages below it (run.c).
 *
 * Messages are mostly plain (of the default priority, waiting for nothing) and settled in order; then there are
 * no runs, and settling moves next. Whatever else happens to messages is: carve them out of where they stand,
 * which splits a run or moves next over them, leaving a run of what was jumped; then put them back in another
 * state, or settle them. Invariant: no run lies at or above next.
 */
#include "channel.h"

#include <string.h>

enum { PLAIN_CLASS = LMQ_PRIORITY_MAX - LMQ_PRIORITY_DEFAULT };

static struct run_record plain_run(uint64_t first, uint64_t end)
{
	struct run_record r = { .first = first, .end = end, .state = RUN_READY, .priority = LMQ_PRIORITY_DEFAULT,
		.history.exit_status = -1 };
	return r;
}

/* ---- looking ------------------------------------------------------------------------------ */

int group_run(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end, uint64_t from,
	struct run_record *r)
{
	if (from < g->next) {
		int rc = run_at(s, cursor, g->space, from, r);
		if (rc == 0 && r->first < from)
			r->first = from;
		if (rc != LMQ_END)
			return rc;
		from = g->next;
	}
	*r = plain_run(from, end);
	return from < end ? 0 : LMQ_END;
}

int group_ready(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end, struct ready *at,
	struct run *r)
{
	uint8_t class = LMQ_PRIORITY_MAX + 1;
	int rc = LMQ_END;
	if (g->state[RUN_READY] > 0)
		rc = run_first_ready(s, cursor, g->space, at->class, at->from, &class, r);
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (!at->plain && (rc == LMQ_END || class > PLAIN_CLASS)) {
		at->plain = true;
		if (g->next < end) {
			*r = (struct run){ g->next, end };
			return 0;
		}
	}
	if (rc == 0) {
		at->class = class;
		at->from = r->first + 1;
	}
	return rc;
}

int group_first(struct txn *t, const struct group_record *g, uint64_t end, uint64_t from, struct run_record *r)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = group_run(t->store, cursor, g, end, from, r);
	mdb_cursor_close(cursor);
	return rc;
}

int group_floor(struct txn *t, const struct group_record *g, uint64_t *floor)
{
	struct run_record r;
	int rc = group_first(t, g, UINT64_MAX, 0, &r);
	*floor = rc == 0 ? r.first : g->next;
	return rc == LMQ_END ? 0 : rc;
}

int group_around(struct txn *t, const struct group_record *g, uint64_t first, uint64_t end, uint64_t log_end,
	uint64_t *low, uint64_t *high)
{
	struct run_record r;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = run_before(t->store, cursor, g->space, first, &r);
	*low = rc == 0 ? r.end : 0;
	if (rc == 0 || rc == LMQ_END)
		rc = group_run(t->store, cursor, g, log_end, end, &r);
	*high = rc == 0 ? r.first : UINT64_MAX;
	mdb_cursor_close(cursor);
	return rc == LMQ_END ? 0 : rc;
}

/* ---- where to begin -------------------------------------------------------------------------- */

static uint64_t clamp(uint64_t n, const struct head_record *head)
{
	return n < head->first ? head->first : n > head->end ? head->end : n;
}

int group_place(struct log_cursor *c, enum lmq_seek how, int64_t value, uint64_t from, uint64_t *to)
{
	const struct head_record *head = &c->head;
	uint64_t number = value < 0 ? 0 : (uint64_t)value, back = value < 0 ? (uint64_t)-(value + 1) + 1 : 0;
	int rc = 0;
	*to = 0;
	if (how > LMQ_SEEK_SHIFT)
		return fail(c->snapshot->store, LMQ_EINVAL, "%s: no such way to seek", c->snapshot->store->path);
	switch (how) {
	case LMQ_SEEK_OFFSET:
		*to = number;
		break;
	case LMQ_SEEK_TIME:
		rc = log_seek_time(c, value);
		*to = c->offset;
		break;
	case LMQ_SEEK_FIRST:
		break;
	case LMQ_SEEK_END:
		*to = head->end;
		break;
	case LMQ_SEEK_LAST:
		*to = head->end > number ? head->end - number : 0;
		break;
	case LMQ_SEEK_SHIFT:
		*to = back > from ? 0 : from - back + number;
		break;
	}
	*to = clamp(*to, head);
	return rc;
}

/* ---- changing ----------------------------------------------------------------------------- */

int group_advance(struct txn *t, struct group_record *g, uint64_t to)
{
	struct run_record r;
	if (to <= g->next)
		return 0;
	r = plain_run(g->next, to);
	g->next = to;
	return run_put(t, g, &r);
}

static int carve_plain(struct txn *t, struct group_record *g, uint64_t first, uint64_t end, struct run_record *out)
{
	int rc = group_advance(t, g, first);
	g->next = end;
	*out = plain_run(first, end);
	return rc;
}

/* The stored run that contains offset. LMQ_END. */
static int stored_run(struct txn *t, const struct group_record *g, uint64_t offset, struct run_record *r)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = run_at(t->store, cursor, g->space, offset, r);
	mdb_cursor_close(cursor);
	return rc == 0 && r->first > offset ? LMQ_END : rc;
}

int group_carve(struct txn *t, struct group_record *g, uint64_t first, uint64_t end, struct run_record *out)
{
	struct run_record right;
	uint64_t left;
	int rc;
	if (first >= g->next)
		return carve_plain(t, g, first, end, out);
	rc = stored_run(t, g, first, out);
	if (rc == 0)
		rc = run_delete(t, g, out);
	if (rc != 0)
		return rc;
	left = out->first;
	out->first = first;
	if (out->end > end) {
		right = *out;
		right.first = end;
		out->end = end;
		rc = run_put(t, g, &right);
	}
	if (rc == 0 && left < first) {
		right = *out;
		right.first = left;
		right.end = first;
		rc = run_put(t, g, &right);
	}
	return rc;
}

/* ---- keys in order ------------------------------------------------------------------------ */

/* The next message of that key may go, unless its sender told it to wait. */
static int unblock(struct txn *t, struct group_record *g, uint64_t hash)
{
	struct run_record r;
	uint64_t offset;
	int rc = chain_first(t, g->space, hash, &offset);
	if (rc != 0)
		return rc == LMQ_END ? 0 : rc;
	rc = stored_run(t, g, offset, &r);
	if (rc == LMQ_END)
		return fail_damaged(t->store, "an index of messages");
	if (rc != 0 || r.state != RUN_BLOCKED)
		return rc;
	rc = run_delete(t, g, &r);
	r.state = r.due > lmq_now() ? RUN_DELAYED : RUN_READY;
	return rc == 0 ? run_put(t, g, &r) : rc;
}

int group_settled(struct txn *t, struct group_record *g, const struct run_record *r)
{
	int rc;
	g->settled += r->end - r->first;
	if (!r->key_hash)
		return 0;
	rc = chain_delete(t, g->space, r->key_hash, r->first);
	return rc == 0 && r->state != RUN_BLOCKED ? unblock(t, g, r->key_hash) : rc;
}
