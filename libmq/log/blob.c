/* SPDX-License-Identifier: ISC */
/*
 * Large bodies: chunks of one page each, written before the message that they belong to.
 *
 * A body of a gigabyte does not fit one bounded transaction, so its chunks are staged in several, under a
 * number that no message names yet; the commit of the message makes them part of it. While they are staged a
 * record T says so and the writer holds a lock that dies with it: staged chunks without that lock are an
 * orphan, which the sweeper removes. The staging commits need not be synced: the final one syncs the file.
 *
 * A message that is copied to other channels shares its chunks with the copies: a record V counts the messages
 * beyond the first, and the last one to go takes the chunks with it.
 */
#include "log.h"

#include <string.h>

enum { NUMBERS_TRIED = 64 };

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
	bool locked = false;
	int rc = get_store_record(t->store, t->mdb, &r);
	if (rc != 0)
		return rc;
	/* Somebody whose transaction failed may still have the lock of the number that he drew: it is drawn again. */
	for (int i = 0; i < NUMBERS_TRIED; i++) {
		*number = r.next_blob++;
		locked = range_lock(owner, staging_lock(*number), 1) == 0;
		if (locked)
			break;
	}
	if (!locked)
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
	rc = ballast_take(&t, size + size / 16);
	if (rc == 0)
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

/* How many more messages have the body; 0 where there is no record. */
static int get_shared(struct txn *t, const struct key *k, uint64_t *count)
{
	MDB_val v;
	int rc = get_value(t->store, t->mdb, k, &v);
	*count = 0;
	if (rc == 0 && (!number_get(count, 8, k, v.mv_data, v.mv_size) || *count == 0))
		return fail_damaged(t->store, "the count of a shared body");
	return rc == LMQ_END ? 0 : rc;
}

static int put_shared(struct txn *t, const struct key *k, uint64_t count)
{
	uint8_t value[NUMBER_RECORD];
	return count == 0 ? delete_key(t, k) : put_value(t, k, value, number_put(count, 8, k, value));
}

/* Where the message that had the body went in this transaction, as its stream keeps no more, the other one takes it over. */
int blob_share(struct txn *t, uint64_t number)
{
	struct key k = key_shared(number), swept = key_sweep('b', number);
	uint64_t count;
	int rc = delete_key(t, &swept);
	if (rc != LMQ_END)
		return rc;
	rc = get_shared(t, &k, &count);
	return rc == 0 ? put_shared(t, &k, count + 1) : rc;
}

int blob_drop(struct txn *t, uint64_t number)
{
	struct key shared = key_shared(number), k = key_sweep('b', number);
	uint8_t value[SWEEP_RECORD];
	uint64_t count;
	int rc = get_shared(t, &shared, &count);
	if (rc != 0)
		return rc;
	if (count > 0)
		return put_shared(t, &shared, count - 1);
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
