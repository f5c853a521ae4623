/* SPDX-License-Identifier: ISC */
/*
 * Runs: the state of messages below a reader's next that are not settled.
 *
 * A run is a range of messages in the same state with the same history; a batch leased together is one, a part
 * of it that is settled splits it. Table R knows runs by offset. Beside it stand two indexes, so that
 * finding what comes next never depends on how much waits: Q, the runs that are ready, by priority and offset;
 * D, those that wait for a time, by that time. run_put and run_delete keep the three and the reader's
 * counts of states together; nothing else writes them. The group record is the caller's to store.
 */
#include "log.h"

#include <string.h>

/* The key under the cursor, if it begins as prefix does; k gets a copy. */
static bool key_under(const MDB_val *key, const struct key *prefix, size_t prefix_size, size_t size, struct key *k)
{
	if (key->mv_size != size || memcmp(key->mv_data, prefix->bytes, prefix_size) != 0)
		return false;
	memcpy(k->bytes, key->mv_data, size);
	k->size = size;
	return true;
}

/* The first key of the same table and space, not before k. LMQ_END. */
static int space_key(lmq_store *s, MDB_cursor *cursor, const struct key *k, size_t size, struct key *found, MDB_val *value)
{
	MDB_val key = { k->size, (void *)k->bytes };
	int rc = mdb_cursor_get(cursor, &key, value, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND || (rc == 0 && !key_under(&key, k, RUN_PREFIX, size, found)))
		return LMQ_END;
	return rc == 0 ? 0 : fail_lmdb(s, s->path, rc);
}

static int run_step(lmq_store *s, MDB_cursor *cursor, MDB_cursor_op op, uint32_t space, uint64_t from,
	struct run_record *r)
{
	struct key k = key_run(space, from), found;
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(cursor, &key, &value, op);
	if (rc == MDB_NOTFOUND)
		return LMQ_END;
	if (rc != 0)
		return fail_lmdb(s, s->path, rc);
	if (!key_under(&key, &k, RUN_PREFIX, RUN_KEY, &found))
		return LMQ_END;
	return run_record_get(r, &found, value.mv_data, value.mv_size) ? 0 : fail_damaged(s, "a run of messages");
}

int run_before(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t offset, struct run_record *r)
{
	struct key k = key_run(space, offset);
	MDB_val key = { k.size, k.bytes }, value;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return fail_lmdb(s, s->path, rc);
	return run_step(s, cursor, rc == 0 ? MDB_PREV : MDB_LAST, space, offset, r);
}

int run_at(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint64_t from, struct run_record *r)
{
	int rc = run_step(s, cursor, MDB_SET_RANGE, space, from, r);
	struct run_record before;
	int rc2;
	if (rc != 0 && rc != LMQ_END)
		return rc;
	if (rc == 0 && r->first == from)
		return 0;
	rc2 = run_before(s, cursor, space, from, &before);
	if (rc2 == 0 && before.end > from) {
		*r = before;
		return 0;
	}
	return rc2 != 0 && rc2 != LMQ_END ? rc2 : rc;
}

/* ---- indexes ------------------------------------------------------------------------------ */

static uint8_t class_of(const struct run_record *r)
{
	return (uint8_t)(LMQ_PRIORITY_MAX - r->priority);
}

bool run_waits(const struct run_record *r)
{
	return r->state == RUN_LEASED || r->state == RUN_DELAYED || r->state == RUN_RETRYING;
}

int run_put(struct txn *t, struct group_record *g, const struct run_record *r)
{
	struct key k = key_run(g->space, r->first);
	uint8_t value[RUN_RECORD_MAX];
	int rc;
	if (r->first >= r->end)
		return 0;
	rc = put_value(t, &k, value, run_record_put(r, &k, value));
	g->state[r->state] += r->end - r->first;
	if (rc == 0 && r->state == RUN_READY) {
		k = key_ready(g->space, class_of(r), r->first);
		rc = put_value(t, &k, value, number_put(r->end, 8, &k, value));
	} else if (rc == 0 && run_waits(r)) {
		k = key_due(g->space, r->due, r->first);
		rc = put_value(t, &k, value, number_put(0, 0, &k, value));
	}
	return rc;
}

int run_delete(struct txn *t, struct group_record *g, const struct run_record *r)
{
	struct key k = key_run(g->space, r->first);
	uint64_t count = r->end - r->first;
	int rc = delete_key(t, &k);
	g->state[r->state] -= count < g->state[r->state] ? count : g->state[r->state];
	if (rc == 0 && r->state == RUN_READY) {
		k = key_ready(g->space, class_of(r), r->first);
		rc = delete_key(t, &k);
	} else if (rc == 0 && run_waits(r)) {
		k = key_due(g->space, r->due, r->first);
		rc = delete_key(t, &k);
	}
	return rc == LMQ_END ? fail_damaged(t->store, "an index of messages") : rc;
}

int run_first_ready(lmq_store *s, MDB_cursor *cursor, uint32_t space, uint8_t class, uint64_t from,
	uint8_t *found_class, struct run *r)
{
	struct key k = key_ready(space, class, from), found;
	MDB_val value;
	int rc = space_key(s, cursor, &k, READY_KEY, &found, &value);
	if (rc != 0)
		return rc;
	*found_class = found.bytes[RUN_PREFIX];
	r->first = get64(found.bytes + RUN_PREFIX + 1);
	if (!number_get(&r->end, 8, &found, value.mv_data, value.mv_size) || r->end <= r->first)
		return fail_damaged(s, "an index of messages");
	return 0;
}

int run_first_due(lmq_store *s, MDB_cursor *cursor, uint32_t space, int64_t from, int64_t *due, uint64_t *first)
{
	struct key k = key_due(space, from, 0), found;
	MDB_val value;
	int rc = space_key(s, cursor, &k, DUE_KEY, &found, &value);
	if (rc != 0)
		return rc;
	*due = (int64_t)get64(found.bytes + RUN_PREFIX);
	*first = get64(found.bytes + RUN_PREFIX + 8);
	return 0;
}

/* ---- keys in order ------------------------------------------------------------------------ */

int chain_put(struct txn *t, uint32_t space, uint64_t hash, uint64_t offset)
{
	struct key k = key_chain(space, hash, offset);
	uint8_t value[4];
	return put_value(t, &k, value, number_put(0, 0, &k, value));
}

int chain_delete(struct txn *t, uint32_t space, uint64_t hash, uint64_t offset)
{
	struct key k = key_chain(space, hash, offset);
	int rc = delete_key(t, &k);
	return rc == LMQ_END ? fail_damaged(t->store, "an index of messages") : rc;
}

int chain_first(struct txn *t, uint32_t space, uint64_t hash, uint64_t *offset)
{
	struct key k = key_chain(space, hash, 0), found;
	int rc = find_key(t, &k, CHAIN_PREFIX, &found, NULL);
	if (rc != 0)
		return rc;
	if (found.size != CHAIN_KEY)
		return fail_damaged(t->store, "an index of messages");
	*offset = get64(found.bytes + CHAIN_PREFIX);
	return 0;
}
