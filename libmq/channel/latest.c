/* SPDX-License-Identifier: ISC */
/*
 * The newest messages of each key: table M.
 *
 * Nobody pays for it at a publish. A lane is indexed when somebody needs it, in the order of offsets, and head.indexed
 * says up to where: for an expected offset of a key, only the newest message of each is kept in the table; in a stream
 * with max-per-key=N the newest N, and the others become holes as they leave it (compaction).
 *
 * Indexing a message twice changes nothing: that is why head.indexed may go back to 0 when N is changed, and why a step
 * that had too much to remove may stop anywhere. What leaves the table as superseded has N newer messages of its key
 * that are stored, or a newer tombstone. An entry below head.first, which a crash cannot leave but a reset can,
 * is older than all that counts.
 */
#include "index.h"

#include <string.h>

/* ---- catching up ---------------------------------------------------------------------------- */

/* Whether so much is not indexed that it should not be left to the transaction that needs it. */
static int is_behind(lmq_store *s, uint32_t id, uint16_t lane, bool *behind)
{
	struct snapshot p;
	struct head_record head = { 0 };
	int rc;
	snapshot_init(s, &p);
	rc = snapshot_begin(&p);
	if (rc == 0)
		rc = get_head(s, p.mdb, id, lane, &head);
	*behind = rc == 0 && index_from(&head) < head.end && head.end - index_from(&head) > STEP_KEYED;
	snapshot_close(&p);
	return rc == LMQ_END ? 0 : rc;
}

static int catch_up_step(lmq_store *s, uint32_t id, uint16_t lane)
{
	struct channel_record r;
	struct head_record head;
	struct txn t;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = ballast_take(&t, STEP_KEYED * sizeof(struct key));
	if (rc == 0)
		rc = get_channel_record(s, t.mdb, id, &r);
	if (rc == 0)
		rc = get_head(s, t.mdb, id, lane, &head);
	if (rc == 0)
		rc = latest_step(&t, id, lane, &r, &head);
	if (rc == 0)
		rc = put_head(&t, id, lane, &head);
	if (rc == 0)
		return txn_commit(&t, LMQ_SYNC_RELAXED);
	txn_abort(&t);
	return rc == LMQ_END ? 0 : rc;
}

int latest_catch_up(lmq_store *s, uint32_t id, uint16_t lane)
{
	bool behind;
	int rc;
	while ((rc = is_behind(s, id, lane, &behind)) == 0 && behind)
		if ((rc = catch_up_step(s, id, lane)) != 0)
			break;
	return rc;
}

/* ---- looking -------------------------------------------------------------------------------- */

/* The last entry of the key that is stored. */
static int newest(struct txn *t, uint32_t id, uint16_t lane, const uint8_t hash[16], uint64_t *offset)
{
	struct key k = key_latest(id, lane, hash, UINT64_MAX);
	MDB_val key = { k.size, k.bytes }, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(t->mdb, t->store->table, &cursor);
	if (rc != 0)
		return fail_lmdb(t->store, t->store->path, rc);
	/* No message has the highest offset, so this is what lies behind. */
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	if (rc == 0 || rc == MDB_NOTFOUND)
		rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
	if (rc == MDB_NOTFOUND || (rc == 0 && (key.mv_size != LATEST_KEY ||
			memcmp(key.mv_data, k.bytes, LATEST_PREFIX) != 0)))
		rc = LMQ_END;
	if (rc == 0)
		*offset = get64((const uint8_t *)key.mv_data + LATEST_PREFIX);
	mdb_cursor_close(cursor);
	return rc == 0 || rc == LMQ_END ? rc : fail_lmdb(t->store, t->store->path, rc);
}

int latest_find(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, struct lmq_bytes key,
	uint64_t *offset)
{
	struct channel_record r;
	struct store_record store;
	uint8_t hash[16];
	int rc = get_channel_record(t->store, t->mdb, id, &r);
	if (rc != 0)
		return rc == LMQ_END ? fail_damaged(t->store, "a log without its channel") : rc;
	while ((rc = latest_step(t, id, lane, &r, head)) == 0)
		;
	if (rc == LMQ_END)
		rc = get_store_record(t->store, t->mdb, &store);
	if (rc != 0)
		return rc;
	hash128(store.uuid, key.data, key.size, hash);
	rc = newest(t, id, lane, hash, offset);
	return rc == 0 && *offset < head->first ? LMQ_END : rc;
}

/* ---- forgetting ----------------------------------------------------------------------------- */

/* Whether the lane has entries in the table. LMQ_END. */
static int any_entry(struct txn *t, uint32_t id, uint16_t lane)
{
	struct key k = key_latest(id, lane, (const uint8_t[16]){ 0 }, 0), found;
	return find_key(t, &k, BLOCK_PREFIX, &found, NULL);
}

int latest_forget(struct txn *t, uint32_t id, uint16_t lane, struct head_record *head, uint64_t *floor)
{
	struct step p;
	uint64_t holes;
	int rc;
	if (*floor > head->end)
		*floor = head->end;
	rc = any_entry(t, id, lane);
	if (rc == LMQ_END && head->holes == 0)
		return 0;
	if (rc == 0 || rc == LMQ_END)
		rc = index_begin(&p, t, id, lane, head);
	if (rc == 0)
		rc = index_gather(&p, head->first, *floor);
	for (size_t i = 0; rc == 0 && i < p.count; i++) {
		rc = index_leave(&p, p.keyed[i].hash, p.keyed[i].offset);
		if (rc == LMQ_END)
			rc = 0;
	}
	if (rc != 0)
		return rc;
	holes = p.to - head->first - p.live;
	head->holes -= holes < head->holes ? holes : head->holes;
	*floor = p.to;
	return 0;
}
