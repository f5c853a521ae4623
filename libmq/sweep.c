/* SPDX-License-Identifier: ISC */
/*
 * The sweeper: gives back the space of removed channels and dropped bodies, a bounded number of pages a step.
 * What is to be swept stands in table X until nothing of it is left, so a kill between two steps loses nothing.
 */
#include "internal.h"

#include <string.h>

enum { STEP_KEYS = 2048, STEP_BLOCKS = 1024 };

/* The first key at or behind from, if it has the prefix. */
static int next_key(struct txn *t, const struct key *from, const struct key *prefix, size_t size, struct key *found)
{
	MDB_val key = { from->size, (void *)from->bytes }, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == MDB_NOTFOUND || (rc == 0 && (key.mv_size < size || key.mv_size > KEY_MAX ||
			memcmp(key.mv_data, prefix->bytes, size) != 0)))
		rc = LMQ_END;
	if (rc == 0) {
		memcpy(found->bytes, key.mv_data, key.mv_size);
		found->size = key.mv_size;
	}
	mdb_cursor_close(cursor);
	return rc == 0 || rc == LMQ_END ? rc : fail_lmdb(t->store, t->store->path, rc);
}

static int first_key(struct txn *t, const struct key *prefix, size_t size, struct key *found)
{
	struct key from = *prefix;
	from.size = size;
	return next_key(t, &from, prefix, size, found);
}

/* Deletes keys with the prefix. LMQ_END when none is left. */
static int delete_prefix(struct txn *t, const struct key *prefix, size_t size, unsigned *budget)
{
	struct key found;
	int rc = 0;
	for (; rc == 0 && *budget > 0; --*budget) {
		rc = first_key(t, prefix, size, &found);
		if (rc == 0)
			rc = delete_key(t, &found);
	}
	return rc;
}

static int sweep_blob(struct txn *t, uint64_t number, unsigned *budget)
{
	struct key prefix = key_chunk(number, 0);
	return delete_prefix(t, &prefix, CHUNK_PREFIX, budget);
}

/* Its blocks by the log's own drop, which hands large bodies over; then the small records. */
static int sweep_channel(struct txn *t, uint32_t id, unsigned *budget)
{
	struct key blocks = key_block(id, 0, 0, 0), group = key_group(id, 0, ""), run = key_run(id, 0);
	struct key head_key = key_head(id, 0), found;
	struct head_record head;
	int rc = get_head(t->store, t->mdb, id, 0, &head);
	if (rc == 0) {
		rc = log_drop(t, id, 0, &head, head.end, STEP_BLOCKS);
		if (rc == 0)
			rc = put_head(t, id, 0, &head);
		if (rc == 0)
			rc = first_key(t, &blocks, BLOCK_PREFIX, &found);
		/* A damaged block cannot name its large bodies: they are lost space, the rest must still go. */
		if (rc == LMQ_EDAMAGED)
			rc = delete_prefix(t, &blocks, BLOCK_PREFIX, budget);
		if (rc != LMQ_END)
			return rc;
		rc = delete_key(t, &head_key);
	}
	if (rc == 0 || rc == LMQ_END)
		rc = delete_prefix(t, &run, RUN_PREFIX, budget);
	if (rc == LMQ_END)
		rc = delete_prefix(t, &group, group.size, budget);
	return rc;
}

static int sweep_entry(struct txn *t, const struct key *k, unsigned *budget)
{
	uint64_t number;
	int rc;
	if (k->size != SWEEP_KEY)
		return fail_damaged(t->store, "an entry of the sweeper");
	number = get64(k->bytes + 2);
	rc = k->bytes[1] == 'b' ? sweep_blob(t, number, budget) : sweep_channel(t, (uint32_t)number, budget);
	if (rc == LMQ_END)
		rc = delete_key(t, k);
	return rc;
}

bool sweep_due(struct txn *t)
{
	struct key table = { { 'X' }, 1 }, found;
	return first_key(t, &table, 1, &found) == 0;
}

static int sweep_step(struct txn *t, bool *more)
{
	struct key table = { { 'X' }, 1 }, found;
	unsigned budget = STEP_KEYS;
	int rc = first_key(t, &table, 1, &found);
	*more = rc == 0;
	if (rc == 0)
		rc = sweep_entry(t, &found, &budget);
	return rc == LMQ_END ? 0 : rc;
}

/* Bodies whose writers are gone become entries. */
static int sweep_orphans(struct txn *t)
{
	struct key table = { { 'T' }, 1 }, from = table, found;
	int rc;
	while ((rc = next_key(t, &from, &table, 1, &found)) == 0 && found.size == STAGING_KEY) {
		uint64_t number = get64(found.bytes + 1);
		if (blob_orphan(t->store, number)) {
			rc = delete_key(t, &found);
			if (rc == 0)
				rc = blob_drop(t, number);
			if (rc != 0)
				return rc;
		}
		from = key_staging(number + 1);
	}
	return rc == LMQ_END ? 0 : rc;
}

int lmq_store_sweep(lmq_store *s, bool *more)
{
	struct txn t;
	int rc = txn_begin(s, &t);
	*more = false;
	if (rc != 0)
		return rc;
	rc = sweep_orphans(&t);
	if (rc == 0)
		rc = sweep_step(&t, more);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_RELAXED);
	txn_abort(&t);
	return rc;
}

void sweep_aside(lmq_store *s)
{
	struct error kept = s->error;
	bool more;
	lmq_store_sweep(s, &more);
	s->error = kept;
}

int sweep_all(lmq_store *s)
{
	bool more = true;
	int rc = 0;
	while (rc == 0 && more)
		rc = lmq_store_sweep(s, &more);
	return rc;
}
