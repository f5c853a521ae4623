/* SPDX-License-Identifier: ISC */
/*
 * A reader's position: next, and runs of unsettled messages below it. Messages are mostly settled in order; then
 * there are no runs, and settling moves next. Settling out of order leaves a run for what was jumped over.
 */
#include "internal.h"

#include <string.h>

/* The run under the cursor, if it belongs to the space. */
static int run_load(lmq_store *s, uint32_t space, const MDB_val *key, const MDB_val *value, struct run *r)
{
	struct key k = key_run(space, 0);
	if (key->mv_size != RUN_KEY || memcmp(key->mv_data, k.bytes, RUN_PREFIX) != 0)
		return LMQ_END;
	memcpy(k.bytes, key->mv_data, RUN_KEY);
	r->first = get64(k.bytes + RUN_PREFIX);
	if (!number_get(&r->end, 8, &k, value->mv_data, value->mv_size) || r->end <= r->first)
		return fail_damaged(s, "a run of messages");
	return 0;
}

static int run_step(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, uint32_t space, uint64_t first,
	struct run *r)
{
	struct key k = key_run(space, first);
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(cursor, &key, &value, op);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	return rc == 0 ? run_load(s, space, &key, &value, r) : fail_lmdb(s, s->path, rc);
}

/* The stored run that contains from, or the first one behind it. */
static int run_find(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t from, struct run *r)
{
	struct run before;
	int rc = run_step(s, cursor, MDB_SET_RANGE, space, from, r), rc2;
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (rc == 0 && r->first == from)
		return 0;
	rc2 = run_step(s, cursor, MDB_PREV, space, from, &before);
	if (rc2 == 0 && before.end > from) {
		*r = before;
		return 0;
	}
	return rc2 != 0 && rc2 != LMQ_END ? rc2 : rc;
}

int group_unsettled(lmq_store *s, MDB_cursor *cursor, const struct group_record *g, uint64_t end,
	uint64_t from, struct run *r)
{
	if (from < g->next) {
		int rc = run_find(s, cursor, g->space, from, r);
		if (rc == 0 && r->first < from)
			r->first = from;
		if (rc != LMQ_END)
			return rc;
		from = g->next;
	}
	*r = (struct run){ from, end };
	return from < end ? 0 : LMQ_END;
}

static int put_run(struct txn *t, uint32_t space, uint64_t first, uint64_t end)
{
	struct key k = key_run(space, first);
	uint8_t value[RUN_RECORD];
	return first < end ? put_value(t, &k, value, number_put(end, 8, &k, value)) : 0;
}

static int with_cursor(struct txn *t, uint32_t space, uint64_t from, struct run *r)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = run_find(t->store, cursor, space, from, r);
	mdb_cursor_close(cursor);
	return rc;
}

/* r lies inside one stored run: what is left and right of it stays. */
static int settle_stored(struct txn *t, struct group_record *g, const struct run *r)
{
	struct run stored;
	struct key k;
	int rc = with_cursor(t, g->space, r->first, &stored);
	if (rc != 0)
		return rc;
	if (stored.first > r->first || stored.end < r->end)
		return LMQ_END;
	k = key_run(g->space, stored.first);
	rc = delete_key(t, &k);
	if (rc == 0)
		rc = put_run(t, g->space, stored.first, r->first);
	if (rc == 0)
		rc = put_run(t, g->space, r->end, stored.end);
	return rc;
}

int group_settle(struct txn *t, struct group_record *g, const struct run *r)
{
	int rc;
	if (r->first < g->next)
		rc = settle_stored(t, g, r);
	else if ((rc = put_run(t, g->space, g->next, r->first)) == 0)
		g->next = r->end;
	if (rc == 0)
		g->settled += r->end - r->first;
	return rc;
}

int group_floor(struct txn *t, const struct group_record *g, uint64_t *floor)
{
	struct run r;
	int rc = with_cursor(t, g->space, 0, &r);
	*floor = rc == 0 ? r.first : g->next;
	return rc == LMQ_END ? 0 : rc;
}

int group_first(struct txn *t, const struct group_record *g, uint64_t end, uint64_t from, struct run *r)
{
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = group_unsettled(t->store, cursor, g, end, from, r);
	mdb_cursor_close(cursor);
	return rc;
}
