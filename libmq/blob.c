/* SPDX-License-Identifier: ISC */
/*
 * Large bodies: chunks of one page each, written before the message that they belong to.
 *
 * A body of a gigabyte does not fit one bounded transaction, so its chunks are staged in several, under a
 * number that no message names yet; the commit of the message makes them part of it. While they are staged a
 * record T says so and the writer holds a lock that dies with it: staged chunks without that lock are an
 * orphan, which the sweeper removes. The staging commits need not be synced: the final one syncs the file.
 */
#include "internal.h"

#include <string.h>

enum { COPY_MAX = 128 << 20 };	/* bytes of a body copied within one transaction */

#include <string.h>

static off_t staging_lock(uint64_t number)
{
	return STAGING_LOCK + (off_t)(number % STAGING_LOCKS);
}

void blob_release(int owner, uint64_t number)
{
	range_unlock(owner, staging_lock(number), 1);
}

bool blob_orphan(lmq_store *s, uint64_t number)
{
	off_t start, end;
	return !range_taken(s->control_fd, staging_lock(number), 1, &start, &end);
}

static int blob_new(struct txn *t, int owner, uint64_t *number)
{
	struct store_record r;
	struct key k;
	uint8_t value[STAGING_RECORD];
	int rc = get_store_record(t->store, t->mdb, &r);
	if (rc != 0)
		return rc;
	*number = r.next_blob++;
	if (range_lock(owner, staging_lock(*number), 1) != 0)
		return fail(t->store, LMQ_ESYSTEM, "%s: cannot lock a body that is being written", t->store->path);
	k = key_staging(*number);
	rc = put_value(t, &k, value, number_put((uint64_t)lmq_now(), 8, &k, value));
	return rc == 0 ? put_store_record(t, &r) : rc;
}

static int put_chunk(struct txn *t, uint64_t number, uint32_t part, const uint8_t *data, size_t size)
{
	struct key k = key_chunk(number, part);
	uint8_t *room;
	int rc = put_reserve(t, &k, CHUNK_HEADER + size, &room);
	if (rc != 0)
		return rc;
	memcpy(room + CHUNK_HEADER, data, size);
	chunk_seal(room, CHUNK_HEADER + size, &k);
	return 0;
}

int blob_append(lmq_store *s, int owner, uint64_t *number, uint32_t *part, const uint8_t *data, size_t size)
{
	struct txn t;
	uint64_t mine = *number;
	uint32_t next = *part;
	int rc = txn_begin(s, &t);
	if (rc != 0)
		return rc;
	rc = txn_room(&t, size + size / 16);
	if (rc == 0 && mine == 0)
		rc = blob_new(&t, owner, &mine);
	while (rc == 0 && size > 0) {
		size_t n = size < CHUNK_ROOM ? size : CHUNK_ROOM;
		rc = put_chunk(&t, mine, next++, data, n);
		data += n;
		size -= n;
	}
	if (rc == 0)
		rc = txn_commit(&t, LMQ_SYNC_RELAXED);
	else
		txn_abort(&t);
	if (rc == 0) {
		*number = mine;
		*part = next;
	} else if (*number == 0 && mine != 0) {
		blob_release(owner, mine);
	}
	return rc;
}

int blob_commit(struct txn *t, uint64_t number)
{
	struct key k = key_staging(number);
	int rc = delete_key(t, &k);
	return rc == LMQ_END ? fail(t->store, LMQ_EGONE, "%s: a staged body was swept", t->store->path) : rc;
}

int blob_drop(struct txn *t, uint64_t number)
{
	struct key k = key_sweep('b', number);
	uint8_t value[SWEEP_RECORD];
	return put_value(t, &k, value, number_put(0, 0, &k, value));
}

int blob_piece(lmq_store *s, struct snapshot *p, const struct blob *b, uint64_t at, struct lmq_bytes *piece)
{
	struct key k;
	MDB_val v;
	size_t skip = at % CHUNK_ROOM;
	int rc;
	*piece = (struct lmq_bytes){ "", 0 };
	if (at >= b->size)
		return 0;
	rc = snapshot_begin(p);
	if (rc != 0)
		return rc;
	k = key_chunk(b->number, (uint32_t)(at / CHUNK_ROOM));
	rc = get_value(s, p->mdb, &k, &v);
	if (rc == LMQ_END)
		return fail(s, LMQ_EGONE, "%s: the message was removed while it was read", s->path);
	if (rc != 0)
		return rc;
	if (!chunk_check(v.mv_data, v.mv_size, &k) || v.mv_size <= CHUNK_HEADER + skip)
		return fail_damaged(s, "a chunk of a large message");
	piece->data = (const char *)v.mv_data + CHUNK_HEADER + skip;
	piece->size = v.mv_size - CHUNK_HEADER - skip;
	if (piece->size > b->size - at)
		piece->size = (size_t)(b->size - at);
	return 0;
}

int blob_copy(struct txn *t, struct blob *b)
{
	lmq_store *s = t->store;
	struct store_record store;
	uint64_t number;
	int rc = get_store_record(s, t->mdb, &store);
	if (rc != 0)
		return rc;
	if (b->size > COPY_MAX)
		return fail(s, LMQ_ELIMIT, "%s: a message of %llu bytes is more than one transaction takes", s->path,
			(unsigned long long)b->size);
	number = store.next_blob++;
	rc = put_store_record(t, &store);
	for (uint32_t part = 0; rc == 0 && (uint64_t)part * CHUNK_ROOM < b->size; part++) {
		struct key from = key_chunk(b->number, part), to = key_chunk(number, part);
		uint8_t value[BLOCK_MAX];
		MDB_val v;
		rc = get_value(s, t->mdb, &from, &v);
		if (rc == LMQ_END || (rc == 0 && !chunk_check(v.mv_data, v.mv_size, &from)))
			return fail_damaged(s, "a chunk of a large message");
		if (rc != 0)
			return rc;
		memcpy(value, v.mv_data, v.mv_size);
		chunk_seal(value, v.mv_size, &to);
		rc = put_value(t, &to, value, v.mv_size);
	}
	b->number = number;
	return rc;
}
